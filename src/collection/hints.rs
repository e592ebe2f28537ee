//! Which chunk of a memtable had an id last: what keeps overwriting fast when there are many chunks.
//!
//! Belongs to a memtable and grows with it, across snapshots. It is a hint: an id that is in a chunk
//! always has an entry, but the chunk named may be gone, merged, or newer than the snapshot that
//! asks. Whoever does not find the id there looks through all chunks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::PoisonError;

use crate::segment::id_table;
use crate::sync::{Mutex, MutexGuard};
use crate::types::IdRef;

/// Hash of an id to the serial number of a chunk. Ids of one hash share an entry.
type Map = HashMap<u64, u64, BuildHasherDefault<AsItIs>>;

#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<Map>);

/// The hints, locked for several questions.
pub(crate) struct Open<'a>(MutexGuard<'a, Map>);

impl Hints {
    pub(crate) fn open(&self) -> Open<'_> {
        Open(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Open<'_> {
    /// The chunk that had `id` last; `None` when none has it.
    pub(crate) fn get(&self, id: IdRef<'_>) -> Option<u64> {
        self.0.get(&id_table::hash(id)).copied()
    }

    pub(crate) fn set(&mut self, id: IdRef<'_>, serial: u64) {
        self.0.insert(id_table::hash(id), serial);
    }
}

/// Takes a hash for its own.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_the_chunk_that_had_it_last() {
        let hints = Hints::default();
        let mut open = hints.open();
        assert_eq!(open.get(IdRef::U64(7)), None);
        open.set(IdRef::U64(7), 1);
        open.set(IdRef::Utf8("seven"), 2);
        open.set(IdRef::U64(7), 3);
        assert_eq!((open.get(IdRef::U64(7)), open.get(IdRef::Utf8("seven"))), (Some(3), Some(2)));
    }
}
