//! The words of a filter's text, one after the other.

use std::borrow::Cow;

use super::failure::{Failure, short};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword or a plain name.
    Word(&'a str),
    /// A name in double quotes.
    Quoted(Cow<'a, str>),
    /// Text in single quotes.
    Text(Cow<'a, str>),
    Int(i128),
    Float(f64),
    Symbol(&'static str),
    End,
}

impl Token<'_> {
    /// Whether this is the word `keyword`, in any case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => short(word),
            Self::Quoted(name) => format!("{:?}", short(name)),
            Self::Text(text) => format!("'{}'", short(text)),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Symbol(symbol) => (*symbol).to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones come first.
const SYMBOLS: [&str; 12] = ["<>", "<=", ">=", "!=", "==", "=", "<", ">", "(", ")", "[", "]"];

/// What is written elsewhere for words of this language.
const FOREIGN: [(&str, &str); 6] = [
    ("-", "names with other characters than letters, digits, _ and . are quoted by \""),
    ("&", "write AND"),
    ("|", "write OR"),
    ("!", "write NOT"),
    ("`", "names are quoted by \""),
    ("\u{2019}", "text is quoted by '"),
];

/// Cuts a text into tokens.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and its first byte.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize), Failure> {
        let rest = self.text[self.at..].trim_start();
        let start = self.text.len() - rest.len();
        self.at = start;
        let Some(first) = rest.chars().next() else { return Ok((Token::End, start)) };
        let digit_follows =
            |rest: &str| rest.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
        let token = match first {
            '\'' => Token::Text(self.quoted(rest, '\'')?),
            '"' => Token::Quoted(self.quoted(rest, '"')?),
            ',' => {
                self.at += 1;
                Token::Symbol(",")
            }
            '0'..='9' => self.number(rest)?,
            '-' | '+' | '.' if digit_follows(&rest[1..]) => self.number(rest)?,
            _ if is_start(first) => {
                let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
                self.at += end;
                Token::Word(&rest[..end])
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Token::Symbol(symbol)
                }
                None => {
                    let hint = FOREIGN.iter().find(|(foreign, _)| rest.starts_with(foreign));
                    let hint = hint.map_or("", |(_, hint)| hint);
                    let failure = Failure::new(format!("{first:?} means nothing here"));
                    return Err(failure.hint(hint).at(self.text, start));
                }
            },
        };
        Ok((token, start))
    }

    /// What is between a quote and the next single one.
    fn quoted(&mut self, rest: &'a str, quote: char) -> Result<Cow<'a, str>, Failure> {
        let start = self.at;
        let mut text = String::new();
        let mut from = 1;
        while let Some(len) = rest[from..].find(quote) {
            let (part, end) = (&rest[from..from + len], from + len + 1);
            if !rest[end..].starts_with(quote) {
                self.at = start + end;
                if text.is_empty() {
                    return Ok(Cow::Borrowed(part));
                }
                text.push_str(part);
                return Ok(Cow::Owned(text));
            }
            text.push_str(&rest[from..end]);
            from = end + 1;
        }
        Err(Failure::new(format!("what is quoted by {quote} from here on has no end"))
            .hint(format!("close it by {quote}; a quote in it is written twice"))
            .at(self.text, start))
    }

    fn number(&mut self, rest: &'a str) -> Result<Token<'a>, Failure> {
        let bytes = rest.as_bytes();
        let mut end = usize::from(matches!(bytes[0], b'-' | b'+'));
        while let Some(&byte) = bytes.get(end) {
            let sign = matches!(byte, b'-' | b'+') && matches!(bytes[end - 1], b'e' | b'E');
            if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || sign) {
                break;
            }
            end += 1;
        }
        let word = &rest[..end];
        let start = self.at;
        self.at += end;
        if let Ok(number) = word.parse() {
            return Ok(Token::Int(number));
        }
        match word.parse() {
            Ok(number) => Ok(Token::Float(number)),
            Err(_) => Err(Failure::new(format!("{} is no number", short(word)))
                .hint("numbers are written as 12, -3.5 or 1e6, text as 'text'")
                .at(self.text, start)),
        }
    }
}

fn is_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn is_inside(c: char) -> bool {
    is_start(c) || c.is_numeric() || c == '.'
}

/// Words that are no names unless quoted.
const RESERVED: [&str; 20] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "null",
    "like",
    "ilike",
    "between",
    "has",
    "any",
    "all",
    "starts",
    "with",
    "contains",
    "escape",
    "true",
    "false",
    "timestamp",
    "date",
];

/// Whether `name` can be written without quotes.
pub(super) fn is_plain(name: &str) -> bool {
    name.starts_with(is_start)
        && name.chars().all(is_inside)
        && !RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word))
}
