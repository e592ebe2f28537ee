//! One-bit codes of a chunk, made by the searches that want them.
//!
//! Writers and most chunks never pay: a chunk is either searched so often that its codes cost less than
//! they save, or it is soon part of a segment. So a chunk is first compared row by row; from some
//! searches on, each codes a few more rows, of one chunk, and once all are coded they are scanned by.
//! Searches that come together do not wait for each other: one codes, the others go on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};

use super::coding;
use crate::bytes::{AlignedBytes, Guard, Guarded, Trusted};
use crate::codec::bits::{BitCodec, BitRows, LEAST_DIMENSION};
use crate::codec::full::{Rows, Space};
use crate::index::bit_scan::BLOCK_ROWS;
use crate::kernel::Isa;

/// Fewer rows are compared as fast as they are scanned.
const LEAST_ROWS: usize = 512;
/// Searches that compare all rows before codes are begun.
const SEARCHES: u32 = 4;
/// Searches of a batch that count at most.
const MOST_SEARCHES: u32 = 64;
/// Elements coded by one search: about a millisecond.
const CODED_ELEMENTS: usize = 1 << 17;
/// Scans that had to compare all rows after all, or many, before codes are given up.
const FAILURES: u32 = 4;

/// The codes of a chunk, if it has any.
#[derive(Debug, Default)]
pub(super) struct FreshCodes {
    searches: AtomicU32,
    failures: AtomicU32,
    making: Mutex<Option<Making>>,
    /// `None` once it is known that codes do not fit the rows.
    made: OnceLock<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    codec: BitCodec,
    codes: AlignedBytes,
}

/// Codes of the first blocks.
#[derive(Debug)]
struct Making {
    made: Made,
    blocks: usize,
    /// Largest squared length in them.
    longest: f32,
}

impl Making {
    /// Codes the share of `searches` searches.
    fn further<G: Guard>(
        mut self,
        isa: Isa,
        space: Space,
        rows: Rows<'_, G>,
        count: usize,
        searches: usize,
    ) -> Self {
        let codec = &self.made.codec;
        let bytes = codec.block_bytes();
        let share = (CODED_ELEMENTS / space.dimension / BLOCK_ROWS).max(1) * searches;
        let blocks = self.blocks..count.div_ceil(BLOCK_ROWS).min(self.blocks + share);
        self.blocks = blocks.end;
        let out = &mut self.made.codes.as_mut_slice()[blocks.start * bytes..blocks.end * bytes];
        let longest = codec.encode(isa, rows, count, blocks, out);
        self.longest = self.longest.max(longest);
        self
    }
}

impl FreshCodes {
    /// The codes of all rows, when there are any.
    pub(super) fn rows(&self) -> Option<BitRows<'_, Trusted>> {
        let made = self.made.get()?.as_ref()?;
        let given_up = self.failures.load(Relaxed) >= FAILURES;
        (!given_up).then(|| BitRows {
            codec: &made.codec,
            blocks: Guarded::trusted(made.codes.as_slice()),
        })
    }

    /// A search by codes did not save much.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// So many searches together have compared all of `count` rows: codes some for each, if they were
    /// not the first and `may`; how many.
    pub(super) fn searched<G: Guard>(
        &self,
        isa: Isa,
        space: Space,
        rows: Rows<'_, G>,
        count: usize,
        (searches, may): (usize, bool),
    ) -> usize {
        let small = count < LEAST_ROWS || space.dimension < LEAST_DIMENSION || !space.takes_codes();
        let searches = u32::try_from(searches).unwrap_or(u32::MAX).clamp(1, MOST_SEARCHES);
        let early =
            || self.searches.fetch_add(searches, Relaxed).saturating_add(searches) <= SEARCHES;
        if small || self.made.get().is_some() || early() || !may {
            return 0;
        }
        let mut making = match self.making.try_lock() {
            Ok(making) => making,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return 0,
        };
        let now = match making.take() {
            Some(now) => now,
            None if self.made.get().is_some() => return 0,
            None => {
                let codec = BitCodec::train(space, rows, count);
                let codes = AlignedBytes::zeroed(codec.bytes(count));
                Making { made: Made { codec, codes }, blocks: 0, longest: 0.0 }
            }
        };
        let (before, all) = (now.blocks, count.div_ceil(BLOCK_ROWS));
        let now = now.further(isa, space, rows, count, searches as usize);
        let coded = now.blocks - before;
        if now.blocks < all {
            *making = Some(now);
        } else {
            let fits = (coding::SHORTEST..=coding::LONGEST).contains(&f64::from(now.longest))
                && f64::from(now.made.codec.mean_square()) <= coding::LONGEST;
            let _ = self.made.set(fits.then_some(now.made));
        }
        coded * BLOCK_ROWS
    }

    /// Memory held by codes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.made.get().and_then(Option::as_ref).map_or(0, |made| made.codes.len())
    }
}
