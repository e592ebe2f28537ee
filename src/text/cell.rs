//! Indexes of one part, made or opened when a search first wants them, and kept with it.
//!
//! > A search that finds an index here waits for nobody. Of those that come while there is none, one
//! > makes it and the others wait for it: without it there is no right answer.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use super::index::ColumnIndex;
use super::options::Cutting;
use crate::error::Result;
use crate::sync::{Mutex, Slot};

/// The indexes of a part by column.
#[derive(Debug, Default)]
pub(crate) struct TextCell {
    made: Slot<Vec<Made>>,
    making: Mutex<()>,
    bytes: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Made {
    column: String,
    cutting: Cutting,
    index: Arc<ColumnIndex>,
}

impl TextCell {
    /// The index of `column` cut so; `make` makes it, and says how many bytes of memory it holds.
    pub(crate) fn get(
        &self,
        column: &str,
        cutting: Cutting,
        make: impl FnOnce() -> Result<(ColumnIndex, usize)>,
    ) -> Result<Arc<ColumnIndex>> {
        let find = || {
            let made = self.made.load();
            let mut of = made.iter().filter(|made| made.column == column);
            of.find(|made| made.cutting == cutting).map(|made| made.index.clone())
        };
        if let Some(index) = find() {
            return Ok(index);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = find() {
            return Ok(index);
        }
        let (index, bytes) = make()?;
        let index = Arc::new(index);
        let new = Made { column: column.into(), cutting, index: index.clone() };
        let mut all = Vec::clone(&self.made.load());
        all.push(new);
        self.made.store(Arc::new(all));
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(index)
    }

    /// Memory that the indexes hold, mapped files aside.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}
