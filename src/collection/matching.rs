//! Filters at work: which rows of a view one finds, counting them, deleting and updating them.
//!
//! > A write by filter finds its rows under the writer's lock, in the state that it changes, and is
//! > logged by the ids that it found: replaying it needs no filter.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use super::explain::{FilterAnswer, FilterExplanation};
use super::snapshot::{PartView, Place, View};
use super::work::Work;
use super::write;
use super::{Attributes, Collection, Snapshot};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::filter::{Bound, Filter};
use crate::segment::matching::{Matching, Ways};
use crate::types::{IdRef, Ids, Row};

/// Conditions of a write by filter, most: it looks for its rows while other writers wait.
const MOST_CONDITIONS: usize = 1_000;

/// The live rows that a filter finds.
#[derive(Debug)]
pub(crate) struct Matches {
    /// Of each part of the view, how many rows it has, and which of them are dead or not found.
    pub(crate) parts: Vec<(usize, RowSet)>,
}

/// What a search or scan passes over.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Of each part of the view, the rows that are dead or that the filter does not find.
    pub(crate) hidden: Vec<RowSet>,
    rows: usize,
    served: Vec<(String, FilterAnswer)>,
    time: Duration,
}

impl Chosen {
    /// Of the choice that `filter` made.
    pub(crate) fn explain(self, filter: &Filter) -> FilterExplanation {
        FilterExplanation {
            filter: filter.to_string(),
            matching_rows: self.rows as u64,
            served: self.served,
            time: self.time,
        }
    }
}

impl Matches {
    /// How many rows there are.
    fn rows(&self) -> usize {
        self.parts.iter().map(|(len, hidden)| len - hidden.len()).sum()
    }
}

/// What a filter leaves of the live rows of a part.
enum Left {
    /// All but these.
    Hidden(RowSet),
    /// These few, ascending.
    Listed(Vec<Row>),
}

impl PartView {
    /// The live rows that `filter` finds.
    fn left(&self, filter: &Bound, ways: &Ways) -> Result<Left> {
        if self.live() == 0 {
            return Ok(Left::Hidden(self.dead.clone()));
        }
        if let Some(known) = self.row_sets.get(filter) {
            filter.columns.iter().for_each(|column| ways.add(column, FilterAnswer::Remembered));
            return Ok(Left::Hidden(known));
        }
        match self.part.matching(filter, &self.patch, ways)? {
            Matching::Listed(mut rows) => {
                rows.retain(|row| !self.dead.contains(*row));
                Ok(Left::Listed(rows))
            }
            Matching::Set(rows) => {
                let len = self.part.len();
                let hidden = rows.without(&self.dead).complement(len);
                self.row_sets.put(len, filter, &hidden);
                Ok(Left::Hidden(hidden))
            }
        }
    }

    /// The rows that are dead or that `filter` does not find.
    fn hidden(&self, filter: &Bound, ways: &Ways) -> Result<RowSet> {
        Ok(match self.left(filter, ways)? {
            Left::Hidden(hidden) => hidden,
            Left::Listed(rows) => {
                let len = self.part.len();
                let hidden = RowSet::from_rows(&rows).complement(len);
                self.row_sets.put(len, filter, &hidden);
                hidden
            }
        })
    }
}

impl View {
    pub(super) fn bind(&self, filter: &Filter) -> Result<Bound> {
        filter.bind(self.schema.columns(), self.schema.id_type())
    }

    /// The live rows that `filter` finds, as those that are not.
    pub(super) fn matches(&self, filter: &Bound) -> Result<Matches> {
        self.matches_by(filter, &Ways::default())
    }

    fn matches_by(&self, filter: &Bound, ways: &Ways) -> Result<Matches> {
        let find = |part: &Arc<PartView>| Ok((part.part.len(), part.hidden(filter, ways)?));
        Ok(Matches { parts: self.parts().map(find).collect::<Result<_>>()? })
    }

    /// What to pass over in order to find what `filter` finds; `Cancelled` soon after `cancel` is set.
    pub(crate) fn choose(
        &self,
        filter: &Filter,
        cancel: Option<&Arc<AtomicBool>>,
    ) -> Result<Chosen> {
        let start = Instant::now();
        let ways = Ways::default();
        let bound = self.bind(filter)?.until(cancel.cloned());
        let matches = self.matches_by(&bound, &ways)?;
        let rows = matches.rows();
        let hidden = matches.parts.into_iter().map(|(_, hidden)| hidden).collect();
        Ok(Chosen { hidden, rows, served: ways.into_list(), time: start.elapsed() })
    }

    /// How many live rows `filter` finds.
    fn count(&self, filter: &Filter) -> Result<u64> {
        let (bound, ways) = (self.bind(filter)?, Ways::default());
        let mut count = 0;
        for part in self.parts() {
            count += match part.left(&bound, &ways)? {
                Left::Hidden(hidden) => part.part.len() - hidden.len(),
                Left::Listed(rows) => rows.len(),
            } as u64;
        }
        Ok(count)
    }

    /// The live rows that `filter` finds.
    pub(super) fn places(&self, filter: &Bound) -> Result<Vec<Place>> {
        let (mut places, ways) = (Vec::new(), Ways::default());
        for (number, part) in self.parts().enumerate() {
            let place = |row: Row| Place { part: number, row };
            match part.left(filter, &ways)? {
                Left::Hidden(hidden) => {
                    places.extend(hidden.absent(part.part.len()).map(place));
                }
                Left::Listed(rows) => places.extend(rows.into_iter().map(place)),
            }
        }
        Ok(places)
    }

    /// The live rows that `filter` finds, and what they are called, for a writer.
    pub(crate) fn found(&self, filter: &Filter) -> Result<(Vec<Place>, Ids<'static>)> {
        let bound = self.bind(filter)?;
        bound.refuse_longer(MOST_CONDITIONS)?;
        let places = self.places(&bound)?;
        let parts: Vec<_> = self.parts().collect();
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for place in &places {
            match parts[place.part].part.id_ref(place.row)? {
                IdRef::U64(id) => numbers.push(id),
                IdRef::Utf8(id) => texts.push(Cow::Owned(id.to_owned())),
            }
        }
        let ids = if texts.is_empty() { Ids::from(numbers) } else { Ids::Utf8(texts) };
        Ok((places, ids))
    }
}

impl Snapshot {
    /// As [`Collection::count`].
    ///
    /// # Errors
    /// As there.
    pub fn count(&self, filter: impl Into<Filter>) -> Result<u64> {
        self.host.check()?;
        self.view.count(&filter.into())
    }
}

impl Collection {
    /// How many rows `filter` finds.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2, 3], &[0.0_f32, 1.0, 2.0], ())?;
    /// assert_eq!(docs.count("id >= 2")?, 2);
    /// assert_eq!(docs.delete_where("id IN (1, 3, 5)")?, 2);
    /// assert_eq!(docs.len()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Filter` for an unknown column, a type that does not agree or a text that is no filter;
    /// `Corrupt`, `Closed`, `Forked`.
    pub fn count(&self, filter: impl Into<Filter>) -> Result<u64> {
        self.snapshot()?.count(filter)
    }

    /// Removes the rows that `filter` finds, all at once: those that are there when the write takes its
    /// turn. Returns how many there were.
    ///
    /// # Errors
    /// As [`count`](Self::count) and [`delete`](Self::delete); nothing is removed then.
    pub fn delete_where(&self, filter: impl Into<Filter>) -> Result<u64> {
        write::submit(self.writable()?, Work::DeleteWhere(filter.into()))
    }

    /// Sets the columns of `values`, a batch of one row, in the rows that `filter` finds, all at once; other
    /// columns and the vectors stay. Returns how many rows were updated.
    ///
    /// # Errors
    /// As [`count`](Self::count) and [`update`](Self::update); nothing is changed then.
    pub fn update_where<'a>(
        &self,
        filter: impl Into<Filter>,
        values: impl Into<Attributes<'a>>,
    ) -> Result<u64> {
        let (core, attributes) = (self.writable()?, values.into());
        let rows = attributes.batch.map_or(1, RecordBatch::num_rows);
        if rows != 1 {
            return Err(Error::invalid(format!(
                "{rows} rows of values; expected one row, which all rows found are given"
            )));
        }
        let values = self.given(1, attributes)?;
        let work = Work::UpdateWhere { filter: filter.into(), values };
        write::submit(core, attributes.with_columns(work))
    }
}
