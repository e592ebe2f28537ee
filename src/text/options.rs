//! How the texts of a column are cut into words and scored: kept in the schema.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::spelling::nearest;

macro_rules! languages {
    ($($name:ident $code:literal $word:literal,)*) => {
        /// A language of texts: which words carry no meaning, and which endings words have.
        ///
        /// There are lists of stop words for Danish, Dutch, English, Finnish, French, German, Hungarian,
        /// Italian, Norwegian, Portuguese, Russian, Spanish and Swedish; endings are cut in all of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "a variant is the language of its name")]
        pub enum Language {
            $($name,)*
        }

        impl Language {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its English name in lower case, and its code of two letters (ISO 639-1).
            #[must_use]
            pub fn names(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($word, $code),)*
                }
            }
        }

        #[cfg(feature = "text")]
        impl From<Language> for tantivy::tokenizer::Language {
            fn from(language: Language) -> Self {
                match language {
                    $(Language::$name => Self::$name,)*
                }
            }
        }
    };
}

languages! {
    Arabic "ar" "arabic",
    Danish "da" "danish",
    Dutch "nl" "dutch",
    English "en" "english",
    Finnish "fi" "finnish",
    French "fr" "french",
    German "de" "german",
    Greek "el" "greek",
    Hungarian "hu" "hungarian",
    Italian "it" "italian",
    Norwegian "no" "norwegian",
    Portuguese "pt" "portuguese",
    Romanian "ro" "romanian",
    Russian "ru" "russian",
    Spanish "es" "spanish",
    Swedish "sv" "swedish",
    Tamil "ta" "tamil",
    Turkish "tr" "turkish",
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().0)
    }
}

impl FromStr for Language {
    type Err = Error;

    /// Reads a name or a code, in any case.
    fn from_str(text: &str) -> Result<Self> {
        let asked = text.to_lowercase();
        let named = |language: &&Self| language.names().0 == asked || language.names().1 == asked;
        if let Some(language) = Self::ALL.iter().find(named) {
            return Ok(*language);
        }
        let names = || Self::ALL.iter().map(|language| language.names().0);
        let hint = nearest(&asked, names());
        let known = names().collect::<Vec<_>>().join(", ");
        Err(Error::invalid(format!("language {text:?} is not known{hint}; there are {known}")))
    }
}

/// How the texts of a column are indexed for search by words, and scored.
///
/// Texts are cut into words at whatever is neither letter nor digit, and put in lower case. Chinese
/// and Japanese, which have no spaces, are cut into pairs of characters that overlap. Then stop words
/// of the language are left out and endings are cut, so that "searches" finds "searching".
///
/// ```
/// use nearfield::{Language, Metric, Schema, TextOptions};
/// let german = TextOptions::default().language(Language::German);
/// let schema = Schema::new(384, Metric::Cosine).text("title").text_with("body", german);
/// assert_eq!(schema.text_options("title"), Some(TextOptions::default()));
/// assert_eq!(schema.text_options("body"), Some(german));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextOptions {
    language: Option<Language>,
    stop_words: bool,
    stem: bool,
    k1: f32,
    b: f32,
}

impl Eq for TextOptions {}

impl fmt::Display for TextOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.language {
            Some(language) => write!(f, "{language}")?,
            None => f.write_str("no language")?,
        }
        if !self.stop_words {
            f.write_str(", stop words kept")?;
        }
        if !self.stem {
            f.write_str(", endings kept")?;
        }
        write!(f, ", k1 {}, b {}", self.k1, self.b)
    }
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { language: Some(Language::English), stop_words: true, stem: true, k1: 1.2, b: 0.75 }
    }
}

impl TextOptions {
    /// English, without its stop words and endings, scored with k1 = 1.2 and b = 0.75.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the stop words and endings of `language`. Default English.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Takes words as they are, in lower case: for texts of several languages, names or codes.
    #[must_use]
    pub fn no_language(mut self) -> Self {
        self.language = None;
        self
    }

    /// Whether stop words of the language are left out. Default true.
    #[must_use]
    pub fn stop_words(mut self, left_out: bool) -> Self {
        self.stop_words = left_out;
        self
    }

    /// Whether endings of words are cut. Default true.
    #[must_use]
    pub fn stem(mut self, cut: bool) -> Self {
        self.stem = cut;
        self
    }

    /// How much a word that is repeated counts, from 0 (not at all) to 100. Default 1.2.
    #[must_use]
    pub fn k1(mut self, k1: f32) -> Self {
        self.k1 = k1;
        self
    }

    /// How much longer texts are held back, from 0 (not at all) to 1. Default 0.75.
    #[must_use]
    pub fn b(mut self, b: f32) -> Self {
        self.b = b;
        self
    }

    /// The language, stop words, endings, k1 and b as they were set.
    #[must_use]
    pub fn values(&self) -> (Option<Language>, bool, bool, f32, f32) {
        (self.language, self.stop_words, self.stem, self.k1, self.b)
    }

    /// Refuses numbers outside their range; `column` is named in the error.
    ///
    /// # Errors
    /// `InvalidArgument` for `k1` or `b` out of range.
    pub fn validate(&self, column: &str) -> Result<()> {
        let range = |name: &str, value: f32, most: f32| {
            if (0.0..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!(
                "{name} of text column {column:?} is {value}, expected 0 to {most}"
            )))
        };
        range("k1", self.k1, 100.0)?;
        range("b", self.b, 1.0)
    }

    /// The options by which texts are cut into words, which an index depends on; not those of the
    /// scoring.
    #[cfg(feature = "text")]
    pub(crate) fn cutting(&self) -> Cutting {
        let language = self.language.filter(|_| self.stop_words || self.stem);
        let told = language.is_some();
        Cutting { language, stop_words: told && self.stop_words, stem: told && self.stem }
    }
}

/// How texts are cut into words.
#[cfg(feature = "text")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Cutting {
    pub(super) language: Option<Language>,
    pub(super) stop_words: bool,
    pub(super) stem: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_read_by_name_and_code_and_an_unknown_one_names_the_nearest() {
        for language in Language::ALL {
            let (name, code) = language.names();
            assert_eq!(name.to_uppercase().parse::<Language>().unwrap(), *language);
            assert_eq!(code.parse::<Language>().unwrap(), *language);
            assert_eq!(serde_json::to_string(language).unwrap(), format!("{name:?}"));
        }
        let message = "germn".parse::<Language>().unwrap_err().to_string();
        assert!(message.contains("did you mean \"german\""), "{message}");
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for options in [
            TextOptions::new().k1(-0.1),
            TextOptions::new().k1(f32::NAN),
            TextOptions::new().b(1.01),
            TextOptions::new().b(f32::INFINITY),
        ] {
            assert!(options.validate("body").is_err(), "{options:?}");
        }
        TextOptions::new().k1(0.0).b(0.0).validate("body").unwrap();
    }
}
