//! Whether an index says of texts what they say: they are cut anew and compared, word by word.
//!
//! What is made anew is held one shard at a time, as while an index is written. Its shards need not be
//! those of the index: another version may have ended them elsewhere.

use std::cmp::Ordering;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tantivy::postings::{Postings as _, SegmentPostings, TermInfo};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet as _, TERMINATED};

use super::cursor::END;
use super::index::{Builder, ColumnIndex, Failure, PackBytes, Shard};
use super::options::Cutting;
use crate::types::Row;

/// Why an index could not be compared, or what it and its texts differ in.
#[derive(Debug)]
pub(crate) enum Fault {
    Unmade(Failure),
    Differs(Failure),
}

/// An index that is compared with its texts.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    index: &'a ColumnIndex,
    anew: Builder,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(index: &'a ColumnIndex, column: &str, cutting: Cutting) -> Self {
        Self { index, anew: Builder::new(column, cutting, usize::MAX) }
    }

    /// Takes the text of the next row.
    pub(crate) fn push(&mut self, text: Option<&str>) -> Result<(), Fault> {
        self.anew.push(text).map_err(Fault::Unmade)?;
        self.compare()
    }

    /// Ends with the last row; `Err` says what the index and the texts differ in.
    pub(crate) fn finish(mut self) -> Result<(), Fault> {
        self.anew.end().map_err(Fault::Unmade)?;
        self.compare()?;
        for shard in &self.index.shards {
            let lengths = || (0..shard.header.rows).map(|doc| shard.length(doc));
            let filled = lengths().filter(|length| *length > 0).count() as u64;
            let words: u64 = lengths().map(u64::from).sum();
            if (filled, words) != (shard.header.filled.into(), shard.header.words) {
                return Err(Fault::Differs("its sums are not those of its rows".into()));
            }
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Fault> {
        for pack in self.anew.finished.drain(..) {
            let anew = Shard::open(PackBytes::new(pack)).map_err(Fault::Unmade)?;
            for shard in &self.index.shards {
                let rows = overlap(shard, &anew);
                if rows.is_empty() {
                    continue;
                }
                let differs = |row: &Row| length(shard, *row) != length(&anew, *row);
                if let Some(row) = rows.clone().find(differs) {
                    return Err(Fault::Differs(format!("row {row} has another number of words")));
                }
                // What the library makes of bytes that somebody crafted may surprise.
                let word = catch_unwind(AssertUnwindSafe(|| other_word(shard, &anew, &rows)))
                    .map_err(|_panic| Fault::Differs("the library panicked".into()))?
                    .map_err(|error| Fault::Differs(error.to_string()))?;
                if let Some(word) = word {
                    let word = String::from_utf8_lossy(&word).into_owned();
                    return Err(Fault::Differs(format!("the word {word:?} stands elsewhere")));
                }
            }
        }
        Ok(())
    }
}

/// The rows that both have.
fn overlap(a: &Shard, b: &Shard) -> Range<Row> {
    let end = |shard: &Shard| shard.header.first.saturating_add(shard.header.rows);
    a.header.first.max(b.header.first)..end(a).min(end(b))
}

fn length(shard: &Shard, row: Row) -> u32 {
    shard.length(row - shard.header.first)
}

/// The first word whose places in `rows` differ between two shards.
fn other_word(a: &Shard, b: &Shard, rows: &Range<Row>) -> io::Result<Option<Vec<u8>>> {
    let (mut of_a, mut of_b) = (a.terms.terms().stream()?, b.terms.terms().stream()?);
    let (mut has_a, mut has_b) = (of_a.advance(), of_b.advance());
    while has_a || has_b {
        let order = match (has_a, has_b) {
            (true, true) => of_a.key().cmp(of_b.key()),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let in_a = (order != Ordering::Greater).then(|| of_a.value());
        let in_b = (order != Ordering::Less).then(|| of_b.value());
        let mut in_a = Places::new(a, in_a, rows)?;
        let mut in_b = Places::new(b, in_b, rows)?;
        if !in_a.are_those_of(&mut in_b) {
            let key = if order == Ordering::Greater { of_b.key() } else { of_a.key() };
            return Ok(Some(key.to_vec()));
        }
        if order != Ordering::Greater {
            has_a = of_a.advance();
        }
        if order != Ordering::Less {
            has_b = of_b.advance();
        }
    }
    Ok(None)
}

/// Where a word stands in some rows.
struct Places {
    /// `None` where it stands nowhere.
    postings: Option<SegmentPostings>,
    first: Row,
    end: Row,
    /// Those of the row.
    positions: Vec<u32>,
}

impl Places {
    fn new(shard: &Shard, term: Option<&TermInfo>, rows: &Range<Row>) -> io::Result<Self> {
        let option = IndexRecordOption::WithFreqsAndPositions;
        let open = |term| shard.terms.read_postings_from_terminfo(term, option);
        let mut postings = term.map(open).transpose()?;
        let first = shard.header.first;
        let from = rows.start - first;
        if let Some(postings) = postings.as_mut().filter(|postings| postings.doc() < from) {
            postings.seek(from);
        }
        Ok(Self { postings, first, end: rows.end, positions: Vec::new() })
    }

    fn row(&self) -> Row {
        match self.postings.as_ref().map(SegmentPostings::doc) {
            None | Some(TERMINATED) => END,
            Some(doc) => Some(self.first + doc).filter(|row| *row < self.end).unwrap_or(END),
        }
    }

    fn are_those_of(&mut self, other: &mut Self) -> bool {
        loop {
            let row = self.row();
            if row != other.row() {
                return false;
            }
            if row == END {
                return true;
            }
            for places in [&mut *self, &mut *other] {
                if let Some(postings) = &mut places.postings {
                    postings.positions(&mut places.positions);
                    places.positions.push(postings.term_freq());
                    postings.advance();
                }
            }
            if self.positions != other.positions {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::TextOptions;
    use super::*;

    const TEXTS: [Option<&str>; 5] =
        [Some("a page fault"), None, Some("pages, fault of pages"), Some(""), Some("mmap")];

    fn compare(stored: &[Option<&str>], texts: &[Option<&str>]) -> Result<(), Fault> {
        let cutting = TextOptions::new().cutting();
        let index = ColumnIndex::of("body", cutting, 100, stored.iter().copied());
        let index = index.map_err(Fault::Unmade)?;
        let mut comparison = Comparison::new(&index, "body", cutting);
        texts.iter().try_for_each(|text| comparison.push(*text))?;
        comparison.finish()
    }

    #[test]
    fn an_index_of_other_texts_is_told_from_that_of_its_own() {
        compare(&TEXTS, &TEXTS).expect("the same");
        let cases = [
            (0, Some("a page"), "another number"),
            (0, Some("a page mmap"), "elsewhere"),
            (0, Some("a fault page"), "elsewhere"),
            (1, Some("page"), "another number"),
            (2, Some("pages, fault of fault"), "elsewhere"),
            (4, Some("zzz"), "elsewhere"),
            (4, None, "another number"),
        ];
        for (row, text, expected) in cases {
            let mut other = TEXTS;
            other[row] = text;
            for (stored, texts) in [(&TEXTS, &other), (&other, &TEXTS)] {
                let found = compare(stored, texts);
                let Err(Fault::Differs(what)) = found else { panic!("{row} {text:?}: {found:?}") };
                assert!(what.contains(expected), "{row} {text:?}: {what}");
            }
        }
    }
}
