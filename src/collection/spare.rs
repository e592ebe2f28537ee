//! Memory for the vectors of the next batch, made ready while a writer waits for the disk.
//!
//! Fresh memory costs a page fault every 4 KiB, in a virtual machine more than writing the same
//! bytes to a log. The flushing thread takes them beforehand, for one batch of the last one's
//! size; a writer that finds nothing ready takes memory as it comes.

use std::sync::PoisonError;

use crate::bytes::AlignedBytes;
use crate::sync::{Mutex, MutexGuard};

/// Batches of fewer bytes take memory as it comes, as do those of more.
const LEAST: usize = 256 << 10;
const MOST: usize = 8 << 20;

#[derive(Debug, Default)]
pub(crate) struct Spare {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: Option<AlignedBytes>,
    /// Bytes of the last batch, until memory for another is ready.
    wanted: Option<usize>,
}

impl Spare {
    /// `len` bytes of any content, and whether [`refill`](Self::refill) should be called.
    pub(crate) fn take(&self, len: usize) -> (AlignedBytes, bool) {
        if !(LEAST..=MOST).contains(&len) {
            return (AlignedBytes::zeroed(len), false);
        }
        let mut state = self.lock();
        state.wanted = Some(len);
        let ready = state.ready.take_if(|ready| (len..=len + len / 4).contains(&ready.len()));
        drop(state);
        let bytes = ready.map_or_else(|| AlignedBytes::zeroed(len), |ready| ready.truncated(len));
        (bytes, true)
    }

    /// Whether memory is to be made ready.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().wanted.is_some()
    }

    /// Makes memory ready for the next batch, if that is wanted.
    pub(crate) fn refill(&self) {
        let mut state = self.lock();
        let Some(wanted) = state.wanted.take() else { return };
        if state.ready.as_ref().is_some_and(|ready| ready.len() == wanted) {
            return;
        }
        drop(state);
        let ready = AlignedBytes::resident(wanted);
        self.lock().ready = Some(ready);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gets_its_size_from_what_was_made_ready_for_the_last() {
        let spare = Spare::default();
        let (first, due) = spare.take(LEAST + 100);
        assert!(first.len() == LEAST + 100 && due && spare.is_wanted());
        spare.refill();
        assert!(!spare.is_wanted() && spare.lock().ready.is_some());
        let (second, _) = spare.take(LEAST);
        assert!(second.len() == LEAST && spare.lock().ready.is_none());
        assert!(second.as_slice().as_ptr().addr().is_multiple_of(64));
        let (small, due) = spare.take(LEAST - 1);
        assert!(small.len() == LEAST - 1 && !due);
    }
}
