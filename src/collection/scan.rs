//! Walking through all rows in ascending order of their ids: the one order that flushes and
//! compactions do not change.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::reading::{Records, ScanOptions};
use super::snapshot::{PartView, Place};
use super::{Collection, Snapshot};
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::types::{Id, Row};

/// Rows read at a time from the id order of a part.
const READ_AHEAD: usize = 1_024;

/// Batches of rows in ascending order of id, at one snapshot.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    wanted: SchemaRef,
    options: ScanOptions,
    cursors: Vec<Cursor>,
    /// Of each part the rows to pass over, when there is a filter.
    hidden: Option<Vec<RowSet>>,
    left: usize,
    failed: bool,
}

/// A place in the id order of one part.
#[derive(Debug, Default)]
struct Cursor {
    /// Next position to read.
    position: usize,
    /// Rows read and not yet passed.
    ahead: VecDeque<Row>,
}

impl Cursor {
    /// The row at the cursor, which moves over those that are `hidden`.
    fn head(&mut self, part: &PartView, hidden: &RowSet) -> Result<Option<Row>> {
        loop {
            while let Some(&row) = self.ahead.front() {
                if !hidden.contains(row) {
                    return Ok(Some(row));
                }
                self.ahead.pop_front();
            }
            let rows = part.part.sorted_rows(self.position, READ_AHEAD)?;
            if rows.is_empty() {
                return Ok(None);
            }
            self.position += rows.len();
            self.ahead.extend(rows);
        }
    }
}

impl Scan {
    fn new(snapshot: Snapshot, options: ScanOptions) -> Result<Self> {
        let wanted = snapshot.view.schema.select(options.fields.column_names())?;
        if let Some(after) = &options.after {
            snapshot.check_kind(super::id_type(after), false)?;
        }
        let mut cursors = Vec::new();
        for part in snapshot.view.parts() {
            let position = part.part.seek(options.after.as_ref().map(Id::as_ref))?;
            cursors.push(Cursor { position, ahead: VecDeque::new() });
        }
        let filter = options.filter.as_ref();
        let chosen = filter.map(|filter| snapshot.view.choose(filter, None)).transpose()?;
        let hidden = chosen.map(|chosen| chosen.hidden);
        let left = options.limit;
        Ok(Self { snapshot, wanted, options, cursors, hidden, left, failed: false })
    }

    fn batch(&mut self) -> Result<Option<Records>> {
        let view = self.snapshot.view.clone();
        let parts: Vec<&Arc<PartView>> = view.parts().collect();
        let hidden: Vec<&RowSet> = match &self.hidden {
            Some(hidden) => hidden.iter().collect(),
            None => parts.iter().map(|part| &part.dead).collect(),
        };
        let mut heads = BinaryHeap::new();
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            if let Some(row) = cursor.head(parts[index], hidden[index])? {
                heads.push(Reverse((parts[index].part.id(row)?, Place { part: index, row })));
            }
        }
        let mut ids = Vec::new();
        let mut places = Vec::new();
        while ids.len() < self.options.batch_rows.min(self.left) {
            let Some(Reverse((id, place))) = heads.pop() else { break };
            ids.push(id);
            places.push(place);
            let (part, cursor) = (parts[place.part], &mut self.cursors[place.part]);
            cursor.ahead.pop_front();
            if let Some(row) = cursor.head(part, hidden[place.part])? {
                heads.push(Reverse((part.part.id(row)?, Place { part: place.part, row })));
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        self.left -= ids.len();
        let vectors =
            self.options.fields.wants_vectors().then(|| view.vectors(&places)).transpose()?;
        let attributes = view.attributes(&places, &self.wanted)?;
        Ok(Some(Records { ids, vectors, attributes }))
    }
}

impl Iterator for Scan {
    type Item = Result<Records>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Snapshot {
    /// As [`Collection::scan`].
    ///
    /// # Errors
    /// As there.
    pub fn scan(&self, options: ScanOptions) -> Result<Scan> {
        self.host.check()?;
        Scan::new(self.clone(), options)
    }
}

impl Collection {
    /// Walks through all rows in ascending order of id, at a snapshot taken now. For pages over
    /// several calls, begin the next one [`after`](ScanOptions::after) the last id of this one.
    ///
    /// # Errors
    /// `NotFound` for an unknown column; `SchemaMismatch` for an id of the wrong kind; `Filter`, `Corrupt`,
    /// `Closed`, `Forked`; each batch may fail too.
    pub fn scan(&self, options: ScanOptions) -> Result<Scan> {
        self.snapshot()?.scan(options)
    }
}
