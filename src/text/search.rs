//! A query over all parts of a collection: statistics first, then rows and scores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{self, Found};
use super::evaluate::{Evaluation, Lookup, Scale};
use super::index::ColumnIndex;
use super::parse;
use super::plan::{Kind, Leaf};
pub(crate) use super::plan::{Plan, Searched};
use super::snippet::Marker;
use super::words::Words;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::types::Row;

/// A part that is searched: for each column its index, all of the same rows.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) indexes: Vec<Arc<ColumnIndex>>,
    /// Rows that are not there any more, or are found in another part.
    pub(crate) gone: &'a RowSet,
}

/// What a query looked up in a source.
#[derive(Clone, Debug)]
pub(crate) struct LookedUp {
    /// For each of [`Plan::terms`] the rows that have it and are not gone.
    pub(crate) rows: Vec<u64>,
    /// Entries of all lookups, those of rows that are gone too.
    pub(crate) postings: u64,
    pub(crate) time: Duration,
}

/// Reads a query for these columns.
pub(crate) fn plan(words: &Words, columns: Vec<Searched>) -> Result<Plan> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let node = parse::parse(words, &names)?;
    Plan::new(&node, columns, words.is_plain())
}

impl Plan {
    /// Whether a word is left to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The columns that are searched.
    pub(crate) fn columns(&self) -> &[Searched] {
        &self.columns
    }

    /// What is looked up, each with its column: words as the column cuts them.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&str, String)> {
        self.leaves.iter().map(|leaf| (&*self.columns[leaf.column].name, leaf.kind.to_string()))
    }

    /// Every row that the query finds: number of the source, row, score, source by source and row by
    /// row. Rows that are gone are not among them. `check` is asked now and then whether to go on. Says of
    /// each source what was looked up; nothing when no word is left to look for.
    pub(crate) fn run(
        &self,
        sources: &[Source<'_>],
        check: &dyn Fn() -> Result<()>,
        hit: impl FnMut(usize, Row, f32) -> Result<()>,
    ) -> Result<Vec<LookedUp>> {
        // An index that somebody crafted, digest and all, may surprise the library.
        catch_unwind(AssertUnwindSafe(|| self.evaluate(sources, check, hit))).unwrap_or_else(
            |_panic| Err(Error::invalid("an index of texts cannot be read: the library panicked")),
        )
    }

    fn evaluate(
        &self,
        sources: &[Source<'_>],
        check: &dyn Fn() -> Result<()>,
        mut hit: impl FnMut(usize, Row, f32) -> Result<()>,
    ) -> Result<Vec<LookedUp>> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let mut found: Vec<Vec<Found>> = Vec::with_capacity(sources.len());
        let mut looked = Vec::with_capacity(sources.len());
        for source in sources {
            let start = Instant::now();
            let look_up = |leaf: &Leaf| {
                check()?;
                cursor::look_up(&leaf.kind, &source.indexes[leaf.column], source.gone).map_err(
                    |error| Error::invalid(format!("an index of texts cannot be read: {error}")),
                )
            };
            let of_leaves = self.leaves.iter().map(look_up).collect::<Result<Vec<_>>>()?;
            looked.push(LookedUp {
                rows: of_leaves.iter().map(|found| found.rows).collect(),
                postings: of_leaves.iter().map(|found| found.postings).sum(),
                time: start.elapsed(),
            });
            found.push(of_leaves);
        }
        let scales = self.scales(sources, &found);
        for (number, (source, found)) in sources.iter().zip(found).enumerate() {
            let start = Instant::now();
            let lookups = found.into_iter().zip(&self.leaves).zip(&scales);
            let lookups = lookups.map(|((found, leaf), scale)| Lookup {
                cursor: found.cursor,
                scale: *scale,
                index: &source.indexes[leaf.column],
            });
            let mut evaluation = Evaluation::new(lookups.collect());
            evaluation.run(root, |row, score| match source.gone.contains(row) {
                true => Ok(()),
                false => hit(number, row, score),
            })?;
            looked[number].time += start.elapsed();
        }
        Ok(looked)
    }

    /// The numbers of each lookup, over all sources.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn scales(&self, sources: &[Source<'_>], found: &[Vec<Found>]) -> Vec<Scale> {
        let columns: Vec<(u64, u64)> =
            (0..self.columns.len()).map(|column| totals(column, sources)).collect();
        let scale = |(number, leaf): (usize, &Leaf)| {
            let (rows, words) = columns[leaf.column];
            let idf = |found: u64| {
                let (rows, found) = (rows as f64, found as f64);
                (1.0 + (rows - found + 0.5).max(0.0) / (found + 0.5)).ln()
            };
            let idf = match &leaf.kind {
                Kind::Phrase(terms) => (0..terms.len())
                    .map(|term| idf(found.iter().map(|found| found[number].terms[term]).sum()))
                    .sum(),
                _ => idf(found.iter().map(|found| found[number].rows).sum()),
            };
            let Searched { options, weight, .. } = &self.columns[leaf.column];
            let (.., k1, b) = options.values();
            let (k1, b) = (f64::from(k1), f64::from(b));
            let mean = words as f64 / (rows as f64).max(1.0);
            Scale {
                most: (f64::from(*weight) * f64::from(leaf.times) * idf * (k1 + 1.0)) as f32,
                floor: (k1 * (1.0 - b)) as f32,
                slope: (k1 * b / mean.max(1e-9)) as f32,
            }
        };
        self.leaves.iter().enumerate().map(scale).collect()
    }

    /// What marks the words of a text of `column` that the query looks for.
    pub(crate) fn marker(&self, column: usize) -> Marker {
        let kinds = self.leaves.iter().filter(|leaf| leaf.column == column).map(|leaf| &leaf.kind);
        Marker::new(self.columns[column].options.cutting(), kinds)
    }
}

/// Rows with a word in a column, and words, of what is not gone.
fn totals(column: usize, sources: &[Source<'_>]) -> (u64, u64) {
    let (mut rows, mut words) = (0, 0);
    for source in sources {
        for shard in &source.indexes[column].shards {
            rows += u64::from(shard.header.filled);
            words += shard.header.words;
            if source.gone.is_empty() {
                continue;
            }
            let end = shard.header.first + shard.header.rows;
            for row in source.gone.iter() {
                if (shard.header.first..end).contains(&row) {
                    let length = shard.length(row - shard.header.first);
                    rows = rows.saturating_sub(u64::from(length > 0));
                    words = words.saturating_sub(u64::from(length));
                }
            }
        }
    }
    (rows, words)
}
