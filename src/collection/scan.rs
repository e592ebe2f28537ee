//! Walking through all rows in ascending order of their ids: the one order that flushes and
//! compactions do not change.

use arrow_schema::SchemaRef;

use super::query::{Records, ScanOptions};
use super::snapshot::Place;
use super::{Collection, Snapshot};
use crate::error::Result;
use crate::types::Id;

/// Batches of rows in ascending order of id, at one snapshot.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    wanted: SchemaRef,
    options: ScanOptions,
    /// Next position in the id order of each part.
    positions: Vec<usize>,
    left: usize,
    failed: bool,
}

impl Scan {
    fn new(snapshot: Snapshot, options: ScanOptions) -> Result<Self> {
        let wanted = snapshot.view.schema.select(options.fields.column_names())?;
        let mut positions = Vec::new();
        for part in snapshot.view.parts() {
            positions.push(part.part.seek(options.after.as_ref().map(Id::as_ref))?);
        }
        let left = options.limit;
        Ok(Self { snapshot, wanted, options, positions, left, failed: false })
    }

    /// The next live row of the part at `index` at or behind its position, which moves there.
    fn head(&mut self, index: usize) -> Result<Option<Place>> {
        let Some(part) = self.snapshot.view.parts().nth(index) else { return Ok(None) };
        while self.positions[index] < part.part.len() {
            let row = part.part.sorted_row(self.positions[index])?;
            if !part.dead.contains(row) {
                return Ok(Some(Place { part: index, row }));
            }
            self.positions[index] += 1;
        }
        Ok(None)
    }

    fn batch(&mut self) -> Result<Option<Records>> {
        let mut heads = Vec::new();
        for index in 0..self.positions.len() {
            if let Some(place) = self.head(index)? {
                heads.push((self.id(place)?, place));
            }
        }
        let mut ids = Vec::new();
        let mut places = Vec::new();
        while ids.len() < self.options.batch_rows.min(self.left) {
            let smallest = heads.iter().enumerate().min_by(|a, b| a.1.0.cmp(&b.1.0));
            let Some((slot, _)) = smallest else { break };
            let (id, place) = heads[slot].clone();
            ids.push(id);
            places.push(place);
            self.positions[place.part] += 1;
            match self.head(place.part)? {
                Some(next) => heads[slot] = (self.id(next)?, next),
                None => drop(heads.swap_remove(slot)),
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        self.left -= ids.len();
        let view = &self.snapshot.view;
        let vectors =
            self.options.fields.wants_vectors().then(|| view.vectors(&places)).transpose()?;
        let attributes = view.attributes(&places, &self.wanted)?;
        Ok(Some(Records { ids, vectors, attributes }))
    }

    fn id(&self, place: Place) -> Result<Id> {
        match self.snapshot.view.parts().nth(place.part) {
            Some(part) => Ok(part.part.id(place.row)?),
            None => unreachable!("a place names a part of its own view"),
        }
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
