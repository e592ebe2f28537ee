//! A query as the columns read it: which terms of which column are looked up, and how their rows go
//! together.

use std::collections::HashMap;

use tantivy::tokenizer::TextAnalyzer;

use super::analyze::{Word, analyzer, is_word_itself, words};
use super::options::TextOptions;
use super::parse::{Clauses, Node};
use crate::error::{Error, Result};

/// Most words of a query, counted in each column.
const MAX_WORDS: usize = 1_024;
/// Most of them one behind the other.
const MAX_PHRASE: usize = 64;
/// Most beginnings and words that may differ: each holds all of its rows.
const MAX_GATHERED: usize = 32;

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

impl std::fmt::Display for Kind {
    /// As a query would have it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term(term) => f.write_str(term),
            Self::Phrase(words) => {
                let words: Vec<&str> = words.iter().map(|(_, word)| word.as_str()).collect();
                write!(f, "\"{}\"", words.join(" "))
            }
            Self::Prefix(prefix, None) => write!(f, "{prefix}*"),
            Self::Prefix(prefix, Some(form)) => write!(f, "{prefix}* or {form}"),
            Self::Fuzzy(forms, distance) => write!(f, "{}~{distance}", forms.join(" or ")),
        }
    }
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
    /// Of a query that is any text and `lenient`, words beyond those that are looked for are left out.
    pub(super) fn new(node: &Node, columns: Vec<Searched>, lenient: bool) -> Result<Self> {
        let analyzers = columns.iter().map(|column| analyzer(column.options.cutting())).collect();
        let leaves = Vec::new();
        let mut planner =
            Planner { columns: &columns, analyzers, leaves, words: 0, gathered: 0, lenient };

        let root = planner.clause(node, false)?;
        let leaves = planner.leaves;
        Ok(Self { columns, leaves, root })
    }
}

struct Planner<'a> {
    columns: &'a [Searched],
    analyzers: Vec<TextAnalyzer>,
    leaves: Vec<Leaf>,
    /// Words so far, and those of [`MAX_GATHERED`].
    words: usize,
    gathered: usize,
    lenient: bool,
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
                Node::Prefix(..) => self.prefix(index, text, &words, whole)?,
                Node::Fuzzy(_, _, distance) => self.fuzzy(index, text, &words, *distance, whole)?,
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
        self.words += match &kind {
            Kind::Phrase(words) if words.len() > MAX_PHRASE => {
                return Err(Error::invalid(format!(
                    "words: {} words one behind the other, expected at most {MAX_PHRASE}; ask for a part of \
                     them",
                    words.len()
                )));
            }
            Kind::Phrase(words) => words.len(),
            _ => 1,
        };
        if self.words > MAX_WORDS {
            return Err(Error::invalid(format!(
                "words: the query has more than {MAX_WORDS} words, counted in each column; give fewer, or \
                 Words::plain, which takes the first of them"
            )));
        }
        self.gathered += usize::from(matches!(kind, Kind::Prefix(..) | Kind::Fuzzy(..)));
        if self.gathered > MAX_GATHERED {
            return Err(Error::invalid(format!(
                "words: the query has more than {MAX_GATHERED} words with * or ~, counted in each column; \
                 give fewer"
            )));
        }
        self.leaves.push(Leaf { column, kind, times: 1.0 });
        Ok(Clause::Leaf(self.leaves.len() - 1))
    }

    /// Any of the words; one that is given twice counts twice.
    fn terms(&mut self, column: usize, words: Vec<Word>) -> Result<Vec<Clause>> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut clauses = Vec::new();
        for word in words {
            if let Some(leaf) = known.get(&word.text) {
                self.leaves[*leaf].times += 1.0;
                continue;
            }
            let kind = one(word.text.clone());
            let full = self.words == MAX_WORDS
                || self.gathered == MAX_GATHERED && !matches!(kind, Kind::Term(_));
            if self.lenient && full {
                continue;
            }
            known.insert(word.text, self.leaves.len());
            clauses.push(self.leaf(column, kind)?);
        }
        Ok(clauses)
    }

    fn phrase(&mut self, column: usize, words: &[Word]) -> Result<Vec<Clause>> {
        let Some(first) = words.first() else { return Ok(Vec::new()) };
        let kind = match words {
            [only] => one(only.text.clone()),
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
    fn prefix(
        &mut self,
        column: usize,
        text: &str,
        words: &[Word],
        whole: bool,
    ) -> Result<Vec<Clause>> {
        let plain = plain(text);
        let Some(last) = plain.last() else { return Ok(Vec::new()) };
        let form = words.last().map(|word| word.text.clone()).filter(|word| *word != last.text);
        let kind = Kind::Prefix(last.text.clone(), form);
        self.last_of(column, (words, last), kind, whole)
    }

    fn fuzzy(
        &mut self,
        column: usize,
        text: &str,
        words: &[Word],
        distance: u8,
        whole: bool,
    ) -> Result<Vec<Clause>> {
        let plain = plain(text);
        let Some(last) = plain.last() else { return Ok(Vec::new()) };
        let mut forms: Vec<String> =
            words.last().map(|word| word.text.clone()).into_iter().collect();
        if !forms.contains(&last.text) {
            forms.push(last.text.clone());
        }
        self.last_of(column, (words, last), Kind::Fuzzy(forms, distance), whole)
    }

    /// The lookup of the last word of a text, and those before it: any of them, or when `whole` all
    /// in a row.
    fn last_of(
        &mut self,
        column: usize,
        (words, last): (&[Word], &Word),
        kind: Kind,
        whole: bool,
    ) -> Result<Vec<Clause>> {
        let before = words.iter().filter(|word| word.range.0 < last.range.0);
        let before: Vec<Word> = before.cloned().collect();
        if !whole {
            let mut clauses = self.terms(column, before)?;
            clauses.push(self.leaf(column, kind)?);
            return Ok(clauses);
        }
        let mut must = self.phrase(column, &before)?;
        must.push(self.leaf(column, kind)?);
        if must.len() == 1 {
            return Ok(must);
        }
        Ok(vec![Clause::Both { must, should: Vec::new(), not: Vec::new() }])
    }
}

/// What finds a word: one character of a script without spaces stands at the beginning of pairs.
fn one(word: String) -> Kind {
    let mut chars = word.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if is_word_itself(c) => Kind::Prefix(word, None),
        _ => Kind::Term(word),
    }
}

/// The words of a text with their endings, stop words among them.
fn plain(text: &str) -> Vec<Word> {
    words(&mut analyzer(TextOptions::new().no_language().cutting()), text)
}

/// Rows of any of `clauses`.
fn joined(mut clauses: Vec<Clause>) -> Option<Clause> {
    match clauses.len() {
        0 => None,
        1 => clauses.pop(),
        _ => Some(Clause::Any(clauses)),
    }
}
