//! A query as the columns read it: which terms of which column are looked up, and how their rows go
//! together.

use tantivy::tokenizer::TextAnalyzer;

use super::analyze::{Word, analyzer, words};
use super::options::TextOptions;
use super::parse::{Clauses, Node};
use crate::error::{Error, Result};

/// Most lookups of a query: words times columns.
const MAX_LEAVES: usize = 1_024;

/// A column that is searched.
#[derive(Clone, Debug)]
pub(crate) struct Searched {
    pub(crate) name: String,
    pub(crate) options: TextOptions,
    /// By which scores in this column are multiplied.
    pub(crate) weight: f32,
}

/// One lookup in one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) column: usize,
    pub(super) kind: Kind,
    /// How often the query has it.
    pub(super) times: f32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Term(String),
    /// Terms and their distance from the first.
    Phrase(Vec<(u32, String)>),
    /// Terms that begin so, or are the second.
    Prefix(String, Option<String>),
    /// Terms that differ from one of these by so many letters.
    Fuzzy(Vec<String>, u8),
}

/// How the rows of lookups go together.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Clause {
    Leaf(usize),
    /// Rows of any, with the sum of their scores.
    Any(Vec<Self>),
    /// Rows of all of `must` (of any of `should` without one) and of none of `not`.
    Both {
        must: Vec<Self>,
        should: Vec<Self>,
        not: Vec<Self>,
    },
}

/// A query that can be looked up.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) columns: Vec<Searched>,
    pub(super) leaves: Vec<Leaf>,
    /// `None` when no word is left to look for.
    pub(super) root: Option<Clause>,
}

impl Plan {
    pub(super) fn new(node: &Node, columns: Vec<Searched>) -> Result<Self> {
        let analyzers = columns.iter().map(|column| analyzer(column.options.cutting())).collect();
        let mut planner = Planner { columns: &columns, analyzers, leaves: Vec::new() };
        let root = planner.clause(node, false)?;
        let leaves = planner.leaves;
        Ok(Self { columns, leaves, root })
    }
}

struct Planner<'a> {
    columns: &'a [Searched],
    analyzers: Vec<TextAnalyzer>,
    leaves: Vec<Leaf>,
}

impl Planner<'_> {
    /// What a node looks up; `whole` when all words of a text must follow each other.
    fn clause(&mut self, node: &Node, whole: bool) -> Result<Option<Clause>> {
        let (column, text) = match node {
            Node::All(clauses) => return self.both(clauses),
            Node::Text(column, text)
            | Node::Phrase(column, text)
            | Node::Prefix(column, text)
            | Node::Fuzzy(column, text, _) => (column, text),
        };
        let mut any = Vec::new();
        for index in 0..self.columns.len() {
            if column.as_ref().is_some_and(|column| *column != self.columns[index].name) {
                continue;
            }
            let words = words(&mut self.analyzers[index], text);
            let found = match node {
                Node::Prefix(..) => self.prefix(index, text, &words)?,
                Node::Fuzzy(_, _, distance) => self.fuzzy(index, text, &words, *distance)?,
                Node::Phrase(..) => self.phrase(index, &words)?,
                _ if whole => self.phrase(index, &words)?,
                _ => self.terms(index, words)?,
            };
            any.extend(found);
        }
        Ok(joined(any))
    }

    fn both(&mut self, clauses: &Clauses) -> Result<Option<Clause>> {
        let mut all = |nodes: &[Node], whole| -> Result<Vec<Clause>> {
            let clauses = nodes.iter().map(|node| self.clause(node, whole));
            Ok(clauses.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let must = all(&clauses.must, true)?;
        let should = all(&clauses.should, false)?;
        let not = all(&clauses.not, true)?;
        if must.is_empty() && (should.is_empty() || not.is_empty()) {
            return Ok(joined(should));
        }
        Ok(Some(Clause::Both { must, should, not }))
    }

    fn leaf(&mut self, column: usize, kind: Kind) -> Result<Clause> {
        if self.leaves.len() == MAX_LEAVES {
            return Err(Error::invalid(format!(
                "words: the query has more than {MAX_LEAVES} words, counted in each column; give \
                 fewer"
            )));
        }
        self.leaves.push(Leaf { column, kind, times: 1.0 });
        Ok(Clause::Leaf(self.leaves.len() - 1))
    }

    /// Any of the words; one that is given twice counts twice.
    fn terms(&mut self, column: usize, words: Vec<Word>) -> Result<Vec<Clause>> {
        let first = self.leaves.len();
        let mut clauses = Vec::new();
        for word in words {
            let kind = Kind::Term(word.text);
            match self.leaves[first..].iter_mut().find(|leaf| leaf.kind == kind) {
                Some(leaf) => leaf.times += 1.0,
                None => clauses.push(self.leaf(column, kind)?),
            }
        }
        Ok(clauses)
    }

    fn phrase(&mut self, column: usize, words: &[Word]) -> Result<Vec<Clause>> {
        let Some(first) = words.first() else { return Ok(Vec::new()) };
        let kind = match words {
            [only] => Kind::Term(only.text.clone()),
            _ => Kind::Phrase(
                words
                    .iter()
                    .map(|word| {
                        let offset = word.position.saturating_sub(first.position);
                        (u32::try_from(offset).unwrap_or(u32::MAX), word.text.clone())
                    })
                    .collect(),
            ),
        };
        Ok(vec![self.leaf(column, kind)?])
    }

    /// Words before the last stand as they are; the last one is a beginning.
    fn prefix(&mut self, column: usize, text: &str, words: &[Word]) -> Result<Vec<Clause>> {
        let plain = plain(text);
        let Some(last) = plain.last() else { return Ok(Vec::new()) };
        let whole = words.last().map(|word| word.text.clone()).filter(|word| word != last);
        let heads = plain_heads(&mut self.analyzers[column], text);
        let mut clauses = self.terms(column, heads)?;
        clauses.push(self.leaf(column, Kind::Prefix(last.clone(), whole))?);
        Ok(clauses)
    }

    fn fuzzy(
        &mut self,
        column: usize,
        text: &str,
        words: &[Word],
        distance: u8,
    ) -> Result<Vec<Clause>> {
        let plain = plain(text);
        let Some(last) = plain.last() else { return Ok(Vec::new()) };
        let mut forms: Vec<String> =
            words.last().map(|word| word.text.clone()).into_iter().collect();
        if !forms.contains(last) {
            forms.push(last.clone());
        }
        let heads = plain_heads(&mut self.analyzers[column], text);
        let mut clauses = self.terms(column, heads)?;
        clauses.push(self.leaf(column, Kind::Fuzzy(forms, distance))?);
        Ok(clauses)
    }
}

/// The words of a text with their endings, stop words among them.
fn plain(text: &str) -> Vec<String> {
    let mut analyzer = analyzer(TextOptions::new().no_language().cutting());
    words(&mut analyzer, text).into_iter().map(|word| word.text).collect()
}

/// All words of a text but the last.
fn plain_heads(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Word> {
    let end = text.char_indices().rev().find(|(_, c)| !c.is_alphanumeric());
    end.map_or_else(Vec::new, |(at, _)| words(analyzer, &text[..at]))
}

/// Rows of any of `clauses`.
fn joined(mut clauses: Vec<Clause>) -> Option<Clause> {
    match clauses.len() {
        0 => None,
        1 => clauses.pop(),
        _ => Some(Clause::Any(clauses)),
    }
}
