//! The graph's bytes, written once and read in place.
//!
//! ```text
//! header   128 B  magic "NFHNSW\0\0" · version u32 · n u32 · m u32 · cap u32 · levels u32 ·
//!                 entry u32 · count of level 1..=8 u32 × 8 · zeros
//! level 0         row i at 128 + i × cap × 4: at most `cap` rows u32, ended by 0xFFFF_FFFF if fewer
//! level l ≥ 1     row at each position   u32 × count, zero bytes up to a multiple of 64
//!                 position in the level below (a row for level 1)   likewise
//!                 at most `width` neighbour positions a node, ended by 0xFFFF_FFFF if fewer
//! ```
//! `cap` is a multiple of 16, `width` is m rounded up to 16; all numbers are little-endian. `entry`
//! is a position in the topmost level, or a row when there are no levels. Links of an upper level
//! name positions in it, so that a walk needs no lookup from rows to nodes.
//!
//! The bytes may be damaged: [`View::parse`] checks the header against the length, and a list
//! ends at the first link that is not below its bound, so no walk leaves the graph.

use std::time::Duration;

use zerocopy::IntoBytes;

use crate::bytes::{Guard, Guarded, Warms, view};
use crate::error::Result;
use crate::index::hnsw::Params;
use crate::types::Row;

/// Ends a list that is not full.
pub(super) const END: u32 = u32::MAX;
/// Most links of a node.
pub(super) const MAX_CAP: usize = 128;
/// Most levels above level 0.
pub(super) const MAX_LEVELS: usize = 8;
/// Rows of a graph are below 2³⁰: a search packs two marks beside a row.
pub(super) const MAX_ROWS: usize = 1 << 30;

const MAGIC: [u8; 8] = *b"NFHNSW\0\0";
const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 128;
const HEADER_WORDS: usize = HEADER_BYTES / 4;

/// A graph just built.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(super) m: usize,
    pub(super) cap: usize,
    /// Position in the topmost level, or a row.
    pub(super) entry: u32,
    /// `cap` links a row.
    pub(super) base: Vec<u32>,
    /// Level 1 first.
    pub(super) levels: Vec<Level>,
}

/// A level above level 0.
#[derive(Debug)]
pub(super) struct Level {
    /// Row of each node, ascending.
    pub(super) rows: Vec<u32>,
    /// Position of each node in the level below.
    pub(super) below: Vec<u32>,
    /// `width(m)` links a node.
    pub(super) links: Vec<u32>,
}

/// Room for the links of a node on an upper level.
pub(super) fn width(m: usize) -> usize {
    m.next_multiple_of(16)
}

/// Room for the links of a node on level 0.
pub(super) fn cap(m: usize) -> usize {
    (2 * m).next_multiple_of(16)
}

impl Graph {
    /// How many rows it links.
    pub(crate) fn len(&self) -> usize {
        self.base.len() / self.cap
    }

    /// How many bytes `write` gives out.
    pub(crate) fn size_bytes(&self) -> usize {
        let upper =
            |level: &Level| 2 * (level.rows.len() * 4).next_multiple_of(64) + level.links.len() * 4;
        HEADER_BYTES + self.base.len() * 4 + self.levels.iter().map(upper).sum::<usize>()
    }

    /// Gives the graph's bytes to `sink`, in order.
    pub(crate) fn write(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        sink(&self.header())?;
        for links in self.base.chunks(1 << 18) {
            sink(links.as_bytes())?;
        }
        for level in &self.levels {
            for words in [&level.rows, &level.below] {
                sink(words.as_bytes())?;
                let padding = (words.len() * 4).next_multiple_of(64) - words.len() * 4;
                sink(&[0; 64][..padding])?;
            }
            sink(level.links.as_bytes())?;
        }
        Ok(())
    }

    /// The graph's bytes in one piece.
    pub(crate) fn to_bytes(&self) -> crate::bytes::AlignedBytes {
        let mut bytes = crate::bytes::AlignedBytes::zeroed(self.size_bytes());
        let mut at = 0;
        let written = self.write(&mut |part| {
            bytes.as_mut_slice()[at..at + part.len()].copy_from_slice(part);
            at += part.len();
            Ok(())
        });
        debug_assert!(written.is_ok() && at == bytes.len());
        bytes
    }

    #[expect(clippy::cast_possible_truncation, reason = "a build refuses what is not below 2³⁰")]
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut words = [0_u32; HEADER_WORDS];
        words[2] = VERSION;
        words[3] = self.len() as u32;
        words[4] = self.m as u32;
        words[5] = self.cap as u32;
        words[6] = self.levels.len() as u32;
        words[7] = self.entry;
        for (word, level) in words[8..].iter_mut().zip(&self.levels) {
            *word = level.rows.len() as u32;
        }
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(words.as_bytes());
        header[..MAGIC.len()].copy_from_slice(&MAGIC);
        header
    }
}

/// A graph read in place.
#[derive(Debug)]
pub(crate) struct View<'a, G> {
    bytes: Guarded<'a, G>,
    len: usize,
    cap: usize,
    width: usize,
    entry: u32,
    levels: usize,
    parts: [Part; MAX_LEVELS],
}

/// Where the parts of a level start.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    count: usize,
    rows: usize,
    below: usize,
    links: usize,
}

impl<G> Clone for View<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for View<'_, G> {}

impl<'a, G: Guard> View<'a, G> {
    /// `None` unless the bytes start with the header of a graph of `rows` rows that fills them.
    pub(crate) fn parse(bytes: Guarded<'a, G>, rows: usize) -> Option<Self> {
        if bytes.len() < HEADER_BYTES || bytes.get(0, MAGIC.len()) != MAGIC {
            return None;
        }
        let header: &[u32] = view(bytes.get(0, HEADER_BYTES));
        let word = |index: usize| header.get(index).map(|&word| word as usize);
        let (len, m, cap, levels) = (word(3)?, word(4)?, word(5)?, word(6)?);
        let valid = word(2)? == VERSION as usize
            && len == rows
            && len < MAX_ROWS
            && (1..=MAX_CAP).contains(&m)
            && (16..=MAX_CAP).contains(&cap)
            && cap % 16 == 0
            && levels <= MAX_LEVELS;
        if !valid {
            return None;
        }
        let width = width(m);
        let mut at = HEADER_BYTES.checked_add(len.checked_mul(cap * 4)?)?;
        let mut parts = [Part::default(); MAX_LEVELS];
        let mut above_bound = len;
        for (level, part) in parts.iter_mut().enumerate().take(levels) {
            let count = word(8 + level)?;
            if count == 0 || count > above_bound {
                return None;
            }
            let column = count.checked_mul(4)?.checked_next_multiple_of(64)?;
            let below = at.checked_add(column)?;
            *part = Part { count, rows: at, below, links: below.checked_add(column)? };
            at = part.links.checked_add(count.checked_mul(width * 4)?)?;
            above_bound = count;
        }
        let entry = *header.get(7)?;
        let inside = (entry as usize) < above_bound || len == 0;
        (inside && at == bytes.len()).then_some(Self {
            bytes,
            len,
            cap,
            width,
            entry,
            levels,
            parts,
        })
    }

    /// How many rows it links.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of a row's links.
    pub(crate) fn list_bytes(&self) -> usize {
        self.cap * 4
    }

    /// Whether a graph built with `params` has room for as many links of a row.
    pub(crate) fn fits(&self, params: &Params) -> bool {
        self.cap == cap(params.held_m())
    }

    #[inline(always)]
    pub(super) fn levels(&self) -> usize {
        self.levels
    }

    /// Position in the topmost level, or a row when there is none.
    #[inline(always)]
    pub(super) fn entry(&self) -> u32 {
        self.entry
    }

    /// Links of `row` on level 0. A list ends before the first that is not below [`len`](Self::len).
    #[inline(always)]
    pub(super) fn links(&self, row: Row) -> &'a [u32] {
        view(self.bytes.get(HEADER_BYTES + row as usize * self.cap * 4, self.cap * 4))
    }

    /// Told what a walk took that read `ranges` places.
    pub(crate) fn took(&self, time: Duration, ranges: u64) {
        self.bytes.took(time, ranges, Warms::All);
    }

    /// The bytes of [`links`](Self::links), for a prefetch.
    #[inline(always)]
    pub(super) fn links_hint(&self, row: Row) -> &'a [u8] {
        self.bytes.hint(HEADER_BYTES + row as usize * self.cap * 4, self.cap * 4)
    }

    /// How many nodes level `level` (1 or more) has.
    #[inline(always)]
    pub(super) fn count(&self, level: usize) -> usize {
        self.parts[level - 1].count
    }

    /// Row of a node; clamped to the graph.
    #[inline(always)]
    pub(super) fn row(&self, level: usize, position: u32) -> Row {
        let part = &self.parts[level - 1];
        self.clamped(part.rows, position, self.len)
    }

    /// Position of a node in the level below; clamped to that level.
    #[inline(always)]
    pub(super) fn below(&self, level: usize, position: u32) -> u32 {
        let bound = if level == 1 { self.len } else { self.count(level - 1) };
        self.clamped(self.parts[level - 1].below, position, bound)
    }

    /// Links of a node. A list ends before the first that is not below [`count`](Self::count).
    #[inline(always)]
    pub(super) fn upper_links(&self, level: usize, position: u32) -> &'a [u32] {
        let size = self.width * 4;
        view(self.bytes.get(self.parts[level - 1].links + position as usize * size, size))
    }

    #[inline(always)]
    fn clamped(&self, start: usize, position: u32, bound: usize) -> u32 {
        let value = self.bytes.u32_at(start / 4 + position as usize);
        if (value as usize) < bound { value } else { 0 }
    }
}
