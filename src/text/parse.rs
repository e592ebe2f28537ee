//! The language of queries: text into a tree. Signs are operators only where they can be meant as such.

use super::words::Words;
use crate::error::{Error, Result};

/// Longest query, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Parentheses within parentheses.
const MAX_DEPTH: usize = 64;
/// Characters shown before and after the place of a mistake.
const SHOWN: usize = 30;

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Whatever a column makes of the text, in one column or in any.
    Text(Option<String>, String),
    Phrase(Option<String>, String),
    Prefix(Option<String>, String),
    /// A word and how many letters may differ.
    Fuzzy(Option<String>, String, u8),
    All(Clauses),
}

/// Parts of a query: all of `must`, more score for `should`, none of `not`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    pub(super) must: Vec<Node>,
    pub(super) should: Vec<Node>,
    pub(super) not: Vec<Node>,
}

/// Reads a query; `columns` are those that can be named in it.
pub(super) fn parse(words: &Words, columns: &[&str]) -> Result<Node> {
    let text = words.as_str();
    if text.len() > MAX_BYTES {
        let len = text.len();
        return Err(Error::invalid(format!("words: {len} bytes; at most {MAX_BYTES} are read")));
    }
    if words.is_plain() {
        return Ok(Node::Text(None, text.into()));
    }
    let mut parser = Parser { text, at: 0, depth: 0, columns };
    parser.sequence()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    columns: &'a [&'a str],
}

#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Must,
    Should,
    Not,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The operator word that comes next, if one does.
    fn next_is(&self, word: &str) -> bool {
        let ends = |rest: &str| {
            rest.is_empty()
                || rest.starts_with(|c: char| c.is_whitespace() || c == '(' || c == '"')
                || (rest.starts_with(')') && self.depth > 0)
        };
        self.rest().strip_prefix(word).is_some_and(ends)
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty() || (self.depth > 0 && self.rest().starts_with(')'))
    }

    /// Items side by side, perhaps with OR between them, up to the end or the closing parenthesis.
    fn sequence(&mut self) -> Result<Node> {
        let start = self.at;
        let mut clauses = Clauses::default();
        let mut joined: Option<usize> = None;
        loop {
            self.skip_blanks();
            if self.at_end() {
                break;
            }
            if self.next_is("OR") {
                if joined.is_some() || clauses == Clauses::default() {
                    return Err(self.error(self.at, "OR has nothing before it"));
                }
                joined = Some(self.at);
                self.at += 2;
                continue;
            }
            if self.next_is("AND") {
                return Err(self.error(self.at, "AND has nothing before it"));
            }
            let begin = self.at;
            let sign = self.sign();
            if joined.take().is_some() && sign != Sign::Should {
                let message = "what follows OR has no sign, since + - and NOT are of all words \
                               around; parentheses make it clear: a OR (b -c)";
                return Err(self.error(begin, message));
            }
            let node = self.conjunction(sign)?;
            match sign {
                Sign::Must => clauses.must.push(node),
                Sign::Should => clauses.should.push(node),
                Sign::Not => clauses.not.push(node),
            }
        }
        if let Some(at) = joined {
            return Err(self.error(at, "OR has nothing behind it"));
        }
        if !clauses.not.is_empty() && clauses.must.is_empty() && clauses.should.is_empty() {
            let message = "there are only words to leave out; add one to look for, or use a filter";
            return Err(self.error(start, message));
        }
        if clauses.must.is_empty() && clauses.not.is_empty() && clauses.should.len() == 1 {
            return Ok(clauses.should.remove(0));
        }
        Ok(Node::All(clauses))
    }

    /// `+`, `-` or NOT before an item.
    fn sign(&mut self) -> Sign {
        if self.next_is("NOT") {
            self.at += 3;
            self.skip_blanks();
            return Sign::Not;
        }
        let mut chars = self.rest().chars();
        let sign = match chars.next() {
            Some('+') => Sign::Must,
            Some('-') => Sign::Not,
            _ => return Sign::Should,
        };
        match chars.next() {
            Some(next) if next.is_alphanumeric() || next == '"' || next == '(' => {
                self.at += 1;
                sign
            }
            _ => Sign::Should,
        }
    }

    /// An item, or several with AND between them.
    fn conjunction(&mut self, sign: Sign) -> Result<Node> {
        let first = self.unit()?;
        let mut clauses = Clauses::default();
        loop {
            self.skip_blanks();
            if !self.next_is("AND") {
                break;
            }
            if sign == Sign::Not {
                let message = "NOT and - belong to one word; put what is behind AND in parentheses";
                return Err(self.error(self.at, message));
            }
            let at = self.at;
            self.at += 3;
            self.skip_blanks();
            if self.at_end() || self.next_is("AND") || self.next_is("OR") {
                return Err(self.error(at, "AND has nothing behind it"));
            }
            match self.sign() {
                Sign::Not => clauses.not.push(self.unit()?),
                Sign::Must | Sign::Should => clauses.must.push(self.unit()?),
            }
        }
        if clauses == Clauses::default() {
            return Ok(first);
        }
        clauses.must.insert(0, first);
        Ok(Node::All(clauses))
    }

    /// A group, a phrase or a word.
    fn unit(&mut self) -> Result<Node> {
        if self.at_end() || self.next_is("AND") || self.next_is("OR") || self.next_is("NOT") {
            return Err(self.error(self.at, "a word is missing"));
        }
        if self.rest().starts_with('(') {
            return self.group();
        }
        let column = self.column();
        if self.rest().starts_with('"') {
            return self.phrase(column);
        }
        self.word(column)
    }

    fn group(&mut self) -> Result<Node> {
        let open = self.at;
        if self.depth == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} parentheses within each other");
            return Err(self.error(open, &message));
        }
        self.at += 1;
        self.depth += 1;
        let inner = self.sequence()?;
        if !self.rest().starts_with(')') {
            return Err(self.error(open, "the parenthesis is not closed"));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(inner)
    }

    /// The name of a column and a colon, directly before something to look for.
    fn column(&mut self) -> Option<String> {
        let rest = self.rest();
        let named = |name: &&&str| {
            let behind = rest.strip_prefix(**name).and_then(|rest| rest.strip_prefix(':'));
            behind
                .and_then(|rest| rest.chars().next())
                .is_some_and(|c| c == '"' || c.is_alphanumeric())
        };
        let name = self.columns.iter().find(named)?;
        self.at += name.len() + 1;
        Some((*name).to_owned())
    }

    fn phrase(&mut self, column: Option<String>) -> Result<Node> {
        let open = self.at;
        let Some(len) = self.text[open + 1..].find('"') else {
            return Err(self.error(open, "the quotation mark is not closed"));
        };
        self.at = open + len + 2;
        Ok(Node::Phrase(column, self.text[open + 1..open + 1 + len].to_owned()))
    }

    fn word(&mut self, column: Option<String>) -> Result<Node> {
        let (start, mut open) = (self.at, 0usize);
        let end = self.rest().char_indices().find(|(_, c)| {
            match c {
                '(' => open += 1,
                ')' if open > 0 => open -= 1,
                ')' => return self.depth > 0,
                _ => return c.is_whitespace(),
            }
            false
        });
        let word = end.map_or(self.rest(), |(len, _)| &self.rest()[..len]);
        self.at += word.len();
        let wordlike = |body: &str| body.ends_with(char::is_alphanumeric);
        if let Some(body) = word.strip_suffix('*').filter(|body| wordlike(body)) {
            return Ok(Node::Prefix(column, body.to_owned()));
        }
        let Some((body, distance)) = word.rsplit_once('~').filter(|(body, _)| wordlike(body))
        else {
            return Ok(Node::Text(column, word.to_owned()));
        };
        match distance {
            "0" => Ok(Node::Text(column, body.to_owned())),
            "" | "1" => Ok(Node::Fuzzy(column, body.to_owned(), 1)),
            "2" => Ok(Node::Fuzzy(column, body.to_owned(), 2)),
            digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => Err(self.error(
                start + body.len() + 1,
                &format!("{digits} letters cannot differ; give 1 or 2 behind ~"),
            )),
            _ => Ok(Node::Text(column, word.to_owned())),
        }
    }

    /// An error that points at byte `at`.
    fn error(&self, at: usize, message: &str) -> Error {
        let (before, after) = self.text.split_at(at);
        let from = before.char_indices().rev().nth(SHOWN - 1).map_or(0, |(byte, _)| byte);
        let to = after.char_indices().nth(SHOWN).map_or(after.len(), |(byte, _)| byte);
        let plain = |text: &str| text.replace(char::is_control, " ");
        let (shown, rest) = (plain(&before[from..]), plain(&after[..to]));
        let dent = " ".repeat(shown.chars().count());
        let column = before.chars().count() + 1;
        Error::Words {
            message: message.to_owned(),
            position: at,
            column,
            excerpt: format!("  {shown}{rest}\n  {dent}^"),
        }
    }
}
