//! Walking through all rows in ascending order of their ids: the one order that flushes and
//! compactions do not change.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::query::{Records, ScanOptions};
use super::snapshot::{PartView, Place};
use super::{Collection, Snapshot};
use crate::error::Result;
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
    /// The live row at the cursor, which moves over dead ones.
    fn head(&mut self, part: &PartView) -> Result<Option<Row>> {
        loop {
            while let Some(&row) = self.ahead.front() {
                if !part.dead.contains(row) {
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
        let mut cursors = Vec::new();
        for part in snapshot.view.parts() {
            let position = part.part.seek(options.after.as_ref().map(Id::as_ref))?;
            cursors.push(Cursor { position, ahead: VecDeque::new() });
        }
        let left = options.limit;
        Ok(Self { snapshot, wanted, options, cursors, left, failed: false })
    }

    fn batch(&mut self) -> Result<Option<Records>> {
        let view = self.snapshot.view.clone();
        let parts: Vec<&Arc<PartView>> = view.parts().collect();
        let mut heads = BinaryHeap::new();
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            if let Some(row) = cursor.head(parts[index])? {
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
            if let Some(row) = cursor.head(part)? {
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
    /// `NotFound` for an unknown column; `Corrupt`, `Closed`, `Forked`; each batch may fail too.
    pub fn scan(&self, options: ScanOptions) -> Result<Scan> {
        self.snapshot()?.scan(options)
    }
}
