//! Texts into words: at what is neither letter, digit nor mark, in lower case, without stop words and
//! endings.
//!
//! Characters of scripts that are written without spaces (Han, Hiragana, Katakana) become pairs that
//! overlap, one alone stays one. Of a text that is searched the last of a run is a word too, so that a
//! query of one character finds it at the beginning of a word or there. Words longer than [`MAX_WORD_BYTES`] are left out, by texts and by
//! queries alike.

use std::str::CharIndices;

use tantivy::tokenizer::{
    LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream,
    Tokenizer,
};

use super::options::Cutting;

/// Words of this many bytes or more are no words: encoded data, mostly.
const MAX_WORD_BYTES: usize = 256;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Its number among the words, stop words counted.
    pub(super) position: usize,
    /// Its bytes in the text.
    pub(super) range: (usize, usize),
}

/// What cuts the queries of a column.
pub(super) fn analyzer(cutting: Cutting) -> TextAnalyzer {
    analyzer_of(Cutter::default(), cutting)
}

/// What cuts its texts.
pub(super) fn text_analyzer(cutting: Cutting) -> TextAnalyzer {
    analyzer_of(Cutter { tails: true, ..Cutter::default() }, cutting)
}

fn analyzer_of(cutter: Cutter, cutting: Cutting) -> TextAnalyzer {
    let builder = TextAnalyzer::builder(cutter)
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
        .dynamic();
    let Some(language) = cutting.language else { return builder.build() };
    let stop_words = StopWordFilter::new(language.into()).filter(|_| cutting.stop_words);
    let builder = match stop_words {
        Some(filter) => builder.filter_dynamic(filter),
        None => builder,
    };
    if !cutting.stem {
        return builder.build();
    }
    builder.filter_dynamic(Stemmer::new(language.into())).build()
}

/// The words of a text.
pub(super) fn words(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut stream = analyzer.token_stream(text);
    while stream.advance() {
        let token = stream.token_mut();
        words.push(Word {
            text: std::mem::take(&mut token.text),
            position: token.position,
            range: (token.offset_from, token.offset_to),
        });
    }
    words
}

/// Cuts at whatever is neither letter nor digit, and between characters that are words themselves.
#[derive(Clone, Default)]
struct Cutter {
    token: Token,
    /// Whether the last of a run of characters is a word.
    tails: bool,
}

impl Tokenizer for Cutter {
    type TokenStream<'a> = Cuts<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Cuts<'a> {
        self.token.reset();
        let (chars, tails) = (text.char_indices(), self.tails);
        Cuts { text, chars, next: None, paired: false, tails, token: &mut self.token }
    }
}

struct Cuts<'a> {
    text: &'a str,
    chars: CharIndices<'a>,
    /// A character read but not cut.
    next: Option<(usize, char)>,
    /// Whether `next` is the second of the pair before.
    paired: bool,
    tails: bool,
    token: &'a mut Token,
}

impl Cuts<'_> {
    fn read(&mut self) -> Option<(usize, char)> {
        self.next.take().or_else(|| self.chars.next())
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = from;
        self.token.offset_to = to;
        self.token.text.clear();
        self.token.text.push_str(&self.text[from..to]);
    }

    /// A pair that begins with the character at `from`; false when it is the end of one already.
    fn pair(&mut self, from: usize, first: char) -> bool {
        let was_paired = std::mem::take(&mut self.paired);
        let end = from + first.len_utf8();
        self.next = self.chars.next();
        match self.next {
            Some((at, second)) if is_word_itself(second) => {
                self.paired = true;
                self.cut(from, at + second.len_utf8());
                true
            }
            _ if was_paired => {
                if self.tails {
                    self.cut(from, end);
                    // Beside the pair before, not behind it: what follows keeps its place.
                    self.token.position = self.token.position.wrapping_sub(1);
                }
                self.tails
            }
            _ => {
                self.cut(from, end);
                true
            }
        }
    }

    fn run(&mut self, from: usize) {
        for (at, c) in self.chars.by_ref() {
            if !(c.is_alphanumeric() || is_mark(c)) || is_word_itself(c) {
                self.next = Some((at, c));
                return self.cut(from, at);
            }
        }
        self.cut(from, self.text.len());
    }
}

impl TokenStream for Cuts<'_> {
    fn advance(&mut self) -> bool {
        while let Some((from, c)) = self.read() {
            if is_word_itself(c) {
                if self.pair(from, c) {
                    return true;
                }
            } else if c.is_alphanumeric() {
                self.run(from);
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Whether a character is of a script written without spaces.
pub(super) fn is_word_itself(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{323af}')
        && c.is_alphanumeric()
}

/// Whether a character goes with the letter before it: accents, signs of vowels and their absence,
/// joiners.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5bd}' | '\u{5bf}'
        | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}'
        | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{93c}' | '\u{94d}' | '\u{9bc}'
        | '\u{9cd}' | '\u{a3c}' | '\u{a4d}' | '\u{abc}' | '\u{acd}' | '\u{b3c}' | '\u{b4d}'
        | '\u{bcd}' | '\u{c4d}' | '\u{cbc}' | '\u{ccd}' | '\u{d4d}' | '\u{e31}'
        | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}' | '\u{eb4}'..='\u{ebc}'
        | '\u{ec8}'..='\u{ece}' | '\u{200c}' | '\u{200d}' | '\u{3099}' | '\u{309a}'
        | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::options::{Language, TextOptions};

    fn cut(options: TextOptions, text: &str) -> Vec<String> {
        let words = words(&mut analyzer(options.cutting()), text);
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn stop_words_and_endings_go_by_the_language() {
        let english = TextOptions::new();
        assert_eq!(cut(english, "The searches were Searching"), ["search", "were", "search"]);
        let german = TextOptions::new().language(Language::German);
        assert_eq!(cut(german, "Die Häuser und das Haus"), ["haus", "haus"]);
        assert_eq!(cut(english.no_language(), "The Häuser"), ["the", "häuser"]);
        assert_eq!(cut(english.stem(false), "The searches"), ["searches"]);
        assert_eq!(cut(english.stop_words(false), "The searches"), ["the", "search"]);
        for language in Language::ALL {
            assert!(!cut(TextOptions::new().language(*language), "nearfield 42").is_empty());
        }
    }

    #[test]
    fn words_end_at_what_is_neither_letter_nor_digit() {
        let plain = TextOptions::new().no_language();
        assert_eq!(
            cut(plain, "std::fs E0502, IL-2 a_b"),
            ["std", "fs", "e0502", "il", "2", "a", "b"]
        );
        assert!(cut(plain, " …—!\u{0}").is_empty() && cut(plain, "").is_empty());
        assert!(cut(plain, &"x".repeat(MAX_WORD_BYTES)).is_empty());
    }

    #[test]
    fn marks_go_with_their_letter() {
        let plain = TextOptions::new().no_language();
        assert_eq!(cut(plain, "cafe\u{301}s பள்ளி हिन्दी"), ["cafe\u{301}s", "பள்ளி", "हिन्दी"]);
        assert!(cut(plain, "\u{301} \u{200d}").is_empty());
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        let plain = TextOptions::new().no_language();
        assert_eq!(cut(plain, "東京都"), ["東京", "京都"]);
        assert_eq!(cut(plain, "rust東京の本, 猫"), ["rust", "東京", "京の", "の本", "猫"]);
        assert_eq!(cut(plain, "猫cat犬"), ["猫", "cat", "犬"]);
        let text = words(&mut text_analyzer(plain.cutting()), "黒猫がa 猫");
        let text: Vec<_> = text.iter().map(|word| (word.text.as_str(), word.position)).collect();
        assert_eq!(text, [("黒猫", 0), ("猫が", 1), ("が", 1), ("a", 2), ("猫", 3)]);
        let ranges = words(&mut analyzer(plain.cutting()), "a東京");
        assert_eq!(ranges.last().map(|word| (word.position, word.range)), Some((1, (1, 7))));
    }
}
