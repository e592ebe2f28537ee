//! Text to nodes: the conditions one after the other, brackets on a stack of their own.
//!
//! ```text
//! filter    = term { OR term }            term = factor { AND factor }
//! factor    = { NOT } ( "(" filter ")" | condition )
//! condition = TRUE | FALSE | name test | value comparison name | name
//! ```
//!
//! Nothing recurses: a bracket is an entry of a vector, and their number is limited.

use std::sync::Arc;

use super::ast::{Comparison, Node, Op, Spot, Test, Value};
use super::bind::MAX_DEPTH;
use super::failure::{Failure, meant, short};
use super::lex::{Lexer, Token};
use crate::types::time;

/// What may follow a name.
const OPERATORS: [&str; 10] =
    ["IN", "NOT", "BETWEEN", "IS", "LIKE", "ILIKE", "STARTS WITH", "CONTAINS", "HAS", "AND"];
const JOINTS: [&str; 2] = ["AND", "OR"];

type Parsed<T> = Result<T, Failure>;

pub(super) fn parse(text: &str) -> Parsed<Vec<Node>> {
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.next()?;
    let mut parser = Parser { lexer, token, at, shared: None };
    if parser.token == Token::End {
        return Err(Failure::new("the text is empty")
            .hint("leave the filter out to find every row, or write TRUE"));
    }
    parser.filter()
}

/// What is open between two brackets.
#[derive(Default)]
struct Frame {
    /// Terms that are complete, and factors of the one that is not.
    terms: usize,
    factors: usize,
    /// Whether an odd number of `NOT` waits for its factor.
    negated: bool,
    /// Byte of the bracket.
    at: usize,
}

impl Frame {
    /// A factor was written.
    fn factor(&mut self, nodes: &mut Vec<Node>) {
        if std::mem::take(&mut self.negated) {
            match nodes.last() {
                Some(Node::Not) => drop(nodes.pop()),
                _ => nodes.push(Node::Not),
            }
        }
        self.factors += 1;
    }

    /// `OR`, or the end, was read.
    fn term(&mut self, nodes: &mut Vec<Node>) {
        if self.factors > 1 {
            nodes.push(Node::And(self.factors));
        }
        self.factors = 0;
        self.terms += 1;
    }

    fn end(&mut self, nodes: &mut Vec<Node>) {
        self.term(nodes);
        if self.terms > 1 {
            nodes.push(Node::Or(self.terms));
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token and its first byte.
    token: Token<'a>,
    at: usize,
    /// The text, once a condition points into it.
    shared: Option<Arc<str>>,
}

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        let mut open: Vec<Frame> = Vec::new();
        let mut frame = Frame::default();
        loop {
            // A factor begins.
            if self.skip("NOT")? {
                frame.negated = !frame.negated;
                continue;
            }
            if self.token == Token::Symbol("(") {
                if open.len() == MAX_DEPTH {
                    return Err(
                        self.fail(format!("brackets are nested more than {MAX_DEPTH} deep"))
                    );
                }
                let at = self.at;
                open.push(std::mem::replace(&mut frame, Frame { at, ..Frame::default() }));
                self.advance()?;
                continue;
            }
            self.condition(&mut nodes)?;
            frame.factor(&mut nodes);
            // A factor has ended.
            while self.token == Token::Symbol(")") {
                let Some(outer) = open.pop() else {
                    return Err(self.fail("this bracket closes nothing"));
                };
                frame.end(&mut nodes);
                frame = outer;
                frame.factor(&mut nodes);
                self.advance()?;
            }
            if self.skip("OR")? {
                frame.term(&mut nodes);
            } else if self.token == Token::End {
                if !open.is_empty() {
                    let failure = Failure::new("the bracket that opens here is not closed");
                    return Err(failure.at(self.lexer.text, frame.at));
                }
                frame.end(&mut nodes);
                return Ok(nodes);
            } else if !self.skip("AND")? {
                let given = self.token.describe();
                let hint = match &self.token {
                    Token::Word(word) => meant(&word.to_uppercase(), JOINTS.into_iter()),
                    _ => String::new(),
                };
                let failure = self.fail(format!("expected AND, OR or the end, found {given}"));
                return Err(failure.hint(hint));
            }
        }
    }

    fn condition(&mut self, nodes: &mut Vec<Node>) -> Parsed<()> {
        let start = self.at;
        let name = match &self.token {
            Token::Word(word) if self.token.is("TRUE") || self.token.is("FALSE") => {
                let value = word.eq_ignore_ascii_case("TRUE");
                self.advance()?;
                return match self.comparison()? {
                    Some(comparison) => {
                        self.backwards(Value::Bool(value), comparison, start, nodes)
                    }
                    None => {
                        nodes.push(Node::Always(value));
                        Ok(())
                    }
                };
            }
            Token::Word(word) => {
                let (word, keyword) = (*word, self.token.is("TIMESTAMP") || self.token.is("DATE"));
                if ["AND", "OR", "IN", "IS", "BETWEEN", "LIKE", "NULL"]
                    .iter()
                    .any(|k| self.token.is(k))
                {
                    return Err(self.fail(format!("expected a condition, found {word}")));
                }
                self.advance()?;
                if keyword && let Token::Text(text) = &self.token {
                    let value = self.time(text)?;
                    self.advance()?;
                    let comparison = self.expect_comparison()?;
                    return self.backwards(value, comparison, start, nodes);
                }
                word.to_owned()
            }
            Token::Quoted(name) => {
                let name = name.clone().into_owned();
                self.advance()?;
                name
            }
            Token::Text(_) | Token::Int(_) | Token::Float(_) => {
                let value = self.value()?;
                let comparison = self.expect_comparison()?;
                return self.backwards(value, comparison, start, nodes);
            }
            Token::Symbol(_) | Token::End => {
                let given = self.token.describe();
                return Err(self.fail(format!("expected a condition, found {given}")));
            }
        };
        let behind = self.at;
        let negated = self.skip("NOT")?;
        let (op, inverse) = self.op(negated)?;
        self.push(name, op, (start, behind), nodes);
        if negated != inverse {
            nodes.push(Node::Not);
        }
        Ok(())
    }

    /// What is asked of a column; whether the opposite of it.
    fn op(&mut self, negated: bool) -> Parsed<(Op, bool)> {
        if !negated && let Some(comparison) = self.comparison()? {
            return Ok((Op::Compare(comparison, self.value()?), false));
        }
        if !negated && self.skip("IS")? {
            let not = self.skip("NOT")?;
            if !self.skip("NULL")? {
                let given = self.token.describe();
                let failure = self.fail(format!("expected NULL, found {given}"));
                return Err(failure.hint("IS asks for NULL alone; compare with = otherwise"));
            }
            return Ok((Op::Null, not));
        }
        let op = if self.skip("IN")? {
            Op::In(self.list(Self::value)?.into())
        } else if self.skip("BETWEEN")? {
            let low = self.value()?;
            if !self.skip("AND")? {
                let given = self.token.describe();
                return Err(self.fail(format!("expected AND and the upper bound, found {given}")));
            }
            Op::Between(low, self.value()?)
        } else if self.token.is("LIKE") || self.token.is("ILIKE") {
            let ignore_case = self.token.is("ILIKE");
            self.advance()?;
            let pattern = self.text()?;
            Op::Like { pattern, escape: self.escape()?, ignore_case }
        } else if self.skip("STARTS")? {
            if !self.skip("WITH")? {
                let given = self.token.describe();
                return Err(self.fail(format!("expected WITH, found {given}")));
            }
            Op::StartsWith(self.text()?)
        } else if self.skip("CONTAINS")? {
            Op::Contains(self.text()?)
        } else if self.skip("HAS")? {
            if self.skip("ALL")? {
                Op::HasAll(self.list(Self::text)?.into())
            } else if self.skip("ANY")? {
                Op::HasAny(self.list(Self::text)?.into())
            } else {
                Op::HasAny([self.text()?].into())
            }
        } else {
            return self.no_op(negated);
        };
        Ok((op, false))
    }

    /// A column alone, or a word that is no operator.
    fn no_op(&self, negated: bool) -> Parsed<(Op, bool)> {
        let ends = matches!(self.token, Token::End | Token::Symbol(")"))
            || self.token.is("AND")
            || self.token.is("OR");
        if ends && !negated {
            return Ok((Op::Truth, false));
        }
        let given = self.token.describe();
        let hint = match &self.token {
            Token::Word(word) => meant(&word.to_uppercase(), OPERATORS.into_iter()),
            Token::Int(_) | Token::Float(_) => {
                "names with other characters than letters, digits, _ and . are quoted by \"".into()
            }
            _ => String::new(),
        };
        Err(self.fail(format!("expected an operator, found {given}")).hint(hint))
    }

    fn comparison(&mut self) -> Parsed<Option<Comparison>> {
        let Token::Symbol(symbol) = self.token else { return Ok(None) };
        let symbol = match symbol {
            "==" => "=",
            "!=" => "<>",
            other => other,
        };
        let known = Comparison::ALL.iter().find(|(known, _)| *known == symbol);
        if known.is_some() {
            self.advance()?;
        }
        Ok(known.map(|(_, comparison)| *comparison))
    }

    fn expect_comparison(&mut self) -> Parsed<Comparison> {
        match self.comparison()? {
            Some(comparison) => Ok(comparison),
            None => {
                let given = self.token.describe();
                Err(self.fail(format!("expected a comparison with a column, found {given}")))
            }
        }
    }

    /// The column behind a value.
    fn backwards(
        &mut self,
        value: Value,
        comparison: Comparison,
        start: usize,
        nodes: &mut Vec<Node>,
    ) -> Parsed<()> {
        let name = match &self.token {
            Token::Word(word) => (*word).to_owned(),
            Token::Quoted(name) => name.clone().into_owned(),
            other => {
                let given = other.describe();
                return Err(self.fail(format!("expected a column, found {given}")));
            }
        };
        let at = self.at;
        self.advance()?;
        self.push(name, Op::Compare(comparison.flipped(), value), (at, start), nodes);
        Ok(())
    }

    fn push(&mut self, name: String, op: Op, (name_at, at): (usize, usize), nodes: &mut Vec<Node>) {
        let text = self.shared.get_or_insert_with(|| self.lexer.text.into());
        let spot = Spot { text: Some((Arc::clone(text), name_at, at)) };
        nodes.push(Node::Test(Test { column: name.into(), op, spot }));
    }

    fn value(&mut self) -> Parsed<Value> {
        let value = match &self.token {
            Token::Text(text) => Value::Text(text.as_ref().into()),
            Token::Int(number) => Value::Int(*number),
            Token::Float(number) => Value::Float(*number),
            token if token.is("TRUE") => Value::Bool(true),
            token if token.is("FALSE") => Value::Bool(false),
            token if token.is("NULL") => Value::Null,
            token if token.is("TIMESTAMP") || token.is("DATE") => {
                self.advance()?;
                let Token::Text(text) = &self.token else {
                    return Err(self.no_value());
                };
                self.time(text)?
            }
            _ => return Err(self.no_value()),
        };
        self.advance()?;
        Ok(value)
    }

    fn no_value(&self) -> Failure {
        let given = self.token.describe();
        let hint = match &self.token {
            Token::Word(word) if word.eq_ignore_ascii_case("nan") => super::bind::NO_NAN.to_owned(),
            Token::Word(word) if word.parse::<f64>().is_ok() => {
                "infinity is written 1e999".to_owned()
            }
            Token::Word(word) => {
                format!("a column is compared with a value; text is written '{}'", short(word))
            }
            Token::Quoted(word) => {
                format!("\" is for names of columns; text is written '{}'", short(word))
            }
            _ => String::new(),
        };
        self.fail(format!("expected a value, found {given}")).hint(hint)
    }

    fn time(&self, text: &str) -> Parsed<Value> {
        // Plain microseconds are what times beyond the year 9999 are printed as: those alone are read so,
        // since a year or a count of seconds would be one too.
        let far = || text.parse().ok().filter(|micros| time::format(*micros) == text);
        let time = time::parse(text).or_else(far);
        time.map(Value::Timestamp).ok_or_else(|| {
            let given = self.token.describe();
            let failure = self.fail(format!("{given} is no time"));
            failure.hint("times are written as '2024-02-29' or '2024-02-29T12:34:56+01:00'")
        })
    }

    fn text(&mut self) -> Parsed<Box<str>> {
        let Token::Text(text) = &self.token else {
            let given = self.token.describe();
            return Err(self.fail(format!("expected text in single quotes, found {given}")));
        };
        let text = text.as_ref().into();
        self.advance()?;
        Ok(text)
    }

    fn escape(&mut self) -> Parsed<Option<char>> {
        if !self.skip("ESCAPE")? {
            return Ok(None);
        }
        let at = self.at;
        let text = self.text()?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(escape), None) => Ok(Some(escape)),
            _ => Err(Failure::new("ESCAPE takes one character").at(self.lexer.text, at)),
        }
    }

    /// Items between brackets, separated by commas.
    fn list<T>(&mut self, item: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let end = match self.token {
            Token::Symbol("(") => Token::Symbol(")"),
            Token::Symbol("[") => Token::Symbol("]"),
            _ => {
                let given = self.token.describe();
                return Err(self.fail(format!("expected a list in brackets, found {given}")));
            }
        };
        self.advance()?;
        let mut items = Vec::new();
        while self.token != end {
            items.push(item(self)?);
            if self.token == Token::Symbol(",") {
                self.advance()?;
            } else if self.token != end {
                let given = self.token.describe();
                let end = end.describe();
                return Err(self.fail(format!("expected , or {end} in a list, found {given}")));
            }
        }
        self.advance()?;
        Ok(items)
    }

    /// Passes over a keyword.
    fn skip(&mut self, keyword: &str) -> Parsed<bool> {
        let there = self.token.is(keyword);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn advance(&mut self) -> Parsed<()> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    fn fail(&self, message: impl Into<String>) -> Failure {
        Failure::new(message).at(self.lexer.text, self.at)
    }
}
