//! The rows of one lookup in one part, ascending, each with how often it has the words.

use std::collections::BTreeMap;
use std::io;

use tantivy::postings::{Postings as _, SegmentPostings, TermInfo};
use tantivy::query::FuzzyTermQuery;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet as _, TERMINATED, Term};

use super::index::{ColumnIndex, Shard};
use super::plan::Kind;
use crate::filter::rowset::RowSet;
use crate::types::Row;

/// What a word that differs by one letter, or by two, counts of one that does not.
const NEAR: [f32; 3] = [1.0, 0.5, 0.25];

/// No further row.
pub(super) const END: Row = Row::MAX;

/// A place among the rows of a lookup. Rows are those of the part, over all shards.
pub(super) enum Cursor {
    Terms(Box<Terms>),
    List { rows: Vec<(Row, f32)>, at: usize },
}

/// The postings of a term, shard after shard.
pub(super) struct Terms {
    /// First row of a shard and its postings, the last one first.
    later: Vec<(Row, SegmentPostings)>,
    first: Row,
    now: SegmentPostings,
    /// How many there are in all.
    postings: u64,
}

/// A lookup of a part, and how many of the rows that count have it.
pub(super) struct Found {
    pub(super) cursor: Cursor,
    pub(super) rows: u64,
    /// For a phrase the numbers of rows that have each of its terms, for the others nothing.
    pub(super) terms: Vec<u64>,
    /// Entries of the words that were looked up, of rows that do not count too.
    pub(super) postings: u64,
}

impl Cursor {
    fn list(rows: Vec<(Row, f32)>) -> Self {
        Self::List { rows, at: 0 }
    }

    #[inline]
    pub(super) fn row(&self) -> Row {
        match self {
            Self::Terms(terms) => terms.row(),
            Self::List { rows, at } => rows.get(*at).map_or(END, |(row, _)| *row),
        }
    }

    #[inline]
    pub(super) fn times(&self) -> f32 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a text has below 2^24 words mostly")]
            Self::Terms(terms) => terms.now.term_freq() as f32,
            Self::List { rows, at } => rows.get(*at).map_or(0.0, |(_, times)| *times),
        }
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        match self {
            Self::Terms(terms) => {
                terms.now.advance();
                terms.settle();
            }
            Self::List { at, .. } => *at += 1,
        }
    }

    /// Moves to the first row from `row` on.
    pub(super) fn seek(&mut self, row: Row) {
        match self {
            Self::Terms(terms) => terms.seek(row),
            Self::List { rows, at } => *at += rows[*at..].partition_point(|found| found.0 < row),
        }
    }
}

impl Terms {
    fn new(mut shards: Vec<(Row, SegmentPostings)>, postings: u64) -> Self {
        shards.reverse();
        let (first, now) = shards.pop().unwrap_or_else(|| (0, SegmentPostings::empty()));
        let mut terms = Self { later: shards, first, now, postings };
        terms.settle();
        terms
    }

    #[inline]
    fn row(&self) -> Row {
        match self.now.doc() {
            TERMINATED => END,
            doc => self.first + doc,
        }
    }

    /// Goes on to the next shard at the end of one.
    #[inline]
    fn settle(&mut self) {
        while self.now.doc() == TERMINATED {
            let Some((first, next)) = self.later.pop() else { return };
            (self.first, self.now) = (first, next);
        }
    }

    fn seek(&mut self, row: Row) {
        while self.row() < row {
            self.now.seek(row.saturating_sub(self.first).min(TERMINATED));
            self.settle();
        }
    }
}

/// Looks up `kind` in a part, of whose rows those in `gone` do not count.
pub(super) fn look_up(kind: &Kind, index: &ColumnIndex, gone: &RowSet) -> io::Result<Found> {
    match kind {
        Kind::Term(term) => {
            let (terms, rows) = term_rows(term, index, gone, IndexRecordOption::WithFreqs)?;
            let postings = terms.postings;
            let cursor = Cursor::Terms(Box::new(terms));
            Ok(Found { cursor, rows, terms: Vec::new(), postings })
        }
        Kind::Phrase(words) => phrase(words, index, gone),
        Kind::Prefix(prefix, whole) => {
            let (mut rows, mut postings) = (index.no_rows(), 0);
            for shard in &index.shards {
                let mut stream = shard.terms.terms().range().ge(prefix).into_stream()?;
                while stream.advance() && stream.key().starts_with(prefix.as_bytes()) {
                    postings += gather(shard, stream.value(), 1.0, &mut rows)?;
                }
                let whole = whole.as_ref().filter(|whole| !whole.starts_with(prefix));
                if let Some(whole) = whole
                    && let Some(info) = shard.terms.terms().get(whole)?
                {
                    postings += gather(shard, &info, 1.0, &mut rows)?;
                }
            }
            Ok(Found::gathered(rows, gone, postings))
        }
        Kind::Fuzzy(forms, distance) => {
            let (mut rows, mut postings) = (index.no_rows(), 0);
            for shard in &index.shards {
                for (info, times) in near(shard, forms, *distance)?.into_values() {
                    postings += gather(shard, &info, times, &mut rows)?;
                }
            }
            Ok(Found::gathered(rows, gone, postings))
        }
    }
}

impl Found {
    fn gathered(times: Vec<f32>, gone: &RowSet, postings: u64) -> Self {
        let rows = (0..).zip(times).filter(|(row, times)| *times > 0.0 && !gone.contains(*row));
        let rows: Vec<_> = rows.collect();
        let count = rows.len() as u64;
        Self { cursor: Cursor::list(rows), rows: count, terms: Vec::new(), postings }
    }
}

/// The terms of a shard that differ from one of `forms` by at most `distance` letters, and what they
/// count.
fn near(
    shard: &Shard,
    forms: &[String],
    distance: u8,
) -> io::Result<BTreeMap<Vec<u8>, (TermInfo, f32)>> {
    let mut found: BTreeMap<Vec<u8>, (TermInfo, f32)> = BTreeMap::new();
    for form in forms {
        for within in (0..=distance).rev() {
            let term = Term::from_field_text(shard.field, form);
            let automaton = FuzzyTermQuery::new(term, within, true).automaton();
            let automaton = automaton.map_err(io::Error::other)?;
            let times = NEAR.get(usize::from(within)).copied().unwrap_or(0.0);
            let mut stream = shard.terms.terms().search(automaton).into_stream()?;
            while stream.advance() {
                let entry = found.entry(stream.key().to_vec());
                let (_, known) = entry.or_insert_with(|| (stream.value().clone(), times));
                *known = known.max(times);
            }
        }
    }
    Ok(found)
}

/// Adds the rows of a term, each with `times` for one of its words; how many there are.
fn gather(shard: &Shard, info: &TermInfo, times: f32, rows: &mut [f32]) -> io::Result<u64> {
    let option = IndexRecordOption::WithFreqs;
    let mut postings = shard.terms.read_postings_from_terminfo(info, option)?;
    let mut doc = postings.doc();
    while doc != TERMINATED {
        #[expect(clippy::cast_precision_loss, reason = "a text has below 2^24 words mostly")]
        let words = postings.term_freq() as f32;
        if let Some(row) = rows.get_mut((shard.header.first + doc) as usize) {
            *row += words * times;
        }
        doc = postings.advance();
    }
    Ok(info.doc_freq.into())
}

/// The postings of a term in all shards, and how many rows that count have it.
fn term_rows(
    term: &str,
    index: &ColumnIndex,
    gone: &RowSet,
    option: IndexRecordOption,
) -> io::Result<(Terms, u64)> {
    let mut shards = Vec::new();
    let (mut rows, mut postings) = (0, 0);
    for shard in &index.shards {
        let Some(info) = shard.terms.terms().get(term)? else { continue };
        let open = || shard.terms.read_postings_from_terminfo(&info, option);
        rows += match gone.is_empty() {
            true => u64::from(info.doc_freq),
            false => count(open()?, shard.header.first, gone),
        };
        postings += u64::from(info.doc_freq);
        shards.push((shard.header.first, open()?));
    }
    Ok((Terms::new(shards, postings), rows))
}

fn count(mut postings: SegmentPostings, first: Row, gone: &RowSet) -> u64 {
    let mut rows = 0;
    let mut doc = postings.doc();
    while doc != TERMINATED {
        rows += u64::from(!gone.contains(first + doc));
        doc = postings.advance();
    }
    rows
}

/// The rows in which words stand at their distances.
fn phrase(words: &[(u32, String)], index: &ColumnIndex, gone: &RowSet) -> io::Result<Found> {
    let option = IndexRecordOption::WithFreqsAndPositions;
    let mut places = Vec::with_capacity(words.len());
    let mut terms = Vec::with_capacity(words.len());
    for (offset, word) in words {
        let (found, rows) = term_rows(word, index, gone, option)?;
        terms.push(rows);
        places.push((*offset, found));
    }
    let (mut rows, mut row) = (Vec::new(), 0);
    let (mut starts, mut next) = (Vec::new(), Vec::new());
    loop {
        let highest = places.iter_mut().map(|(_, terms)| {
            terms.seek(row);
            terms.row()
        });
        let highest = highest.max().unwrap_or(END);
        if highest == END {
            break;
        }
        if highest > row {
            row = highest;
            continue;
        }
        for (index, (offset, terms)) in places.iter_mut().enumerate() {
            if index > 0 && starts.is_empty() {
                break;
            }
            terms.now.positions(&mut next);
            next.retain(|position| position >= offset);
            next.iter_mut().for_each(|position| *position -= *offset);
            if index == 0 {
                std::mem::swap(&mut starts, &mut next);
            } else {
                starts.retain(|start| next.binary_search(start).is_ok());
            }
        }
        if !starts.is_empty() && !gone.contains(row) {
            #[expect(clippy::cast_precision_loss, reason = "a text has below 2^24 words mostly")]
            rows.push((row, starts.len() as f32));
        }
        row += 1;
    }
    let count = rows.len() as u64;
    let postings = places.iter().map(|(_, terms)| terms.postings).sum();
    Ok(Found { cursor: Cursor::list(rows), rows: count, terms, postings })
}
