//! An inverted index over the sparse vectors of a block of rows: for each index the rows that have a
//! weight there, and the weights.
//!
//! ```text
//! indices u32 · 0 u32 · weights u64
//! the indices, ascending u32 × indices, padded | where each begins u32 × (indices + 1), padded
//! rows u16 × weights, padded | weights f32 × weights, padded
//! ```
//!
//! Padded to multiples of 8. A search adds up the scores of all rows of a block, index by index in
//! ascending order, so that the sums are those of [`types::sparse`](crate::types::sparse), bit by bit.
//! Trusts no byte: what is no index is answered by `None`, wrong rows fall on accumulators that
//! nobody reads. docs/decisions/024.

use std::ops::Range;

use zerocopy::IntoBytes;

use crate::bytes::{Guard, Guarded, view};

/// Most rows of a block.
pub(crate) const BLOCK_ROWS: usize = 1 << 16;
/// Indices below this are counted in a table.
const TABLE: usize = 1 << 22;
const HEADER_BYTES: usize = 16;

/// The score of a row that has no index in common with the query: no sum of products is -0.0, since
/// those of two f32 never underflow in f64, and 0.0 is what differences of equals are.
const UNTOUCHED: f64 = -0.0;

/// Scores of the rows of a block.
#[derive(Debug)]
pub(crate) struct Scores(Box<[f64; BLOCK_ROWS]>);

impl Default for Scores {
    fn default() -> Self {
        let zeros = vec![UNTOUCHED; BLOCK_ROWS].into_boxed_slice();
        match zeros.try_into() {
            Ok(scores) => Self(scores),
            Err(_) => unreachable!("the length is that of a block"),
        }
    }
}

impl Scores {
    /// Forgets all scores.
    pub(crate) fn clear(&mut self) {
        self.0.fill(UNTOUCHED);
    }

    /// Calls `each` with the rows below `rows` that have an index in common with the query and whose
    /// score is at least `least()`, which may rise.
    pub(crate) fn each(
        &self,
        rows: usize,
        least: impl Fn() -> f64,
        mut each: impl FnMut(usize, f64),
    ) {
        const PIECE: usize = 32;
        for (piece, scores) in self.0[..rows.min(BLOCK_ROWS)].chunks(PIECE).enumerate() {
            let bound = least();
            if !scores.iter().fold(false, |any, score| any | (*score >= bound)) {
                continue;
            }
            for (at, &score) in scores.iter().enumerate() {
                if score >= bound && score.to_bits() != UNTOUCHED.to_bits() {
                    each(piece * PIECE + at, score);
                }
            }
        }
    }
}

/// The index of rows, each given by its indices, ascending, and their weights. At most
/// [`BLOCK_ROWS`] rows, and fewer than 2³² weights in all; `None` otherwise.
pub(crate) fn encode<'a, R>(rows: &dyn Fn() -> R) -> Option<Vec<u8>>
where
    R: Iterator<Item = (&'a [u32], &'a [f32])>,
{
    if rows().count() > BLOCK_ROWS {
        return None;
    }
    let total = u32::try_from(rows().map(|row| row.0.len()).sum::<usize>()).ok()?;
    let most = rows().filter_map(|row| row.0.last()).max().map_or(0, |most| *most as usize);
    let (terms, mut starts) = count(rows, most);
    let place = places(&terms, most);
    let mut next = starts.clone();
    let mut places = vec![0_u16; total as usize];
    let mut weights = vec![0.0_f32; total as usize];
    for (row, (indices, values)) in rows().enumerate() {
        for (index, value) in indices.iter().zip(values) {
            let at = &mut next[place(*index)];
            places[*at as usize] = u16::try_from(row).unwrap_or(u16::MAX);
            weights[*at as usize] = *value;
            *at += 1;
        }
    }
    starts.push(total);
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u32::try_from(terms.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&u64::from(total).to_le_bytes());
    for piece in [terms.as_bytes(), starts.as_bytes(), places.as_bytes(), weights.as_bytes()] {
        bytes.extend_from_slice(piece);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    Some(bytes)
}

/// The indices there are, ascending, and how many weights lie before those of each.
fn count<'a, R>(rows: &dyn Fn() -> R, most: usize) -> (Vec<u32>, Vec<u32>)
where
    R: Iterator<Item = (&'a [u32], &'a [f32])>,
{
    let (mut terms, mut counts) = (Vec::new(), Vec::new());
    if most < TABLE {
        let mut table = vec![0_u32; most + 1];
        rows().flat_map(|row| row.0).for_each(|index| table[*index as usize] += 1);
        for (index, count) in (0..).zip(table).filter(|(_, count)| *count > 0) {
            terms.push(index);
            counts.push(count);
        }
    } else {
        let mut all: Vec<u32> = rows().flat_map(|row| row.0).copied().collect();
        all.sort_unstable();
        for same in all.chunk_by(|a, b| a == b) {
            terms.push(same[0]);
            counts.push(u32::try_from(same.len()).unwrap_or(u32::MAX));
        }
    }
    let mut before = 0;
    for count in &mut counts {
        (*count, before) = (before, before + *count);
    }
    (terms, counts)
}

/// Where an index lies among `terms`, which has it.
fn places(terms: &[u32], most: usize) -> impl Fn(u32) -> usize + '_ {
    let mut table = vec![0_u32; if most < TABLE { most + 1 } else { 0 }];
    if !table.is_empty() {
        (0..).zip(terms).for_each(|(place, index)| table[*index as usize] = place);
    }
    move |index| match table.get(index as usize) {
        Some(place) => *place as usize,
        None => terms.partition_point(|term| *term < index).min(terms.len().saturating_sub(1)),
    }
}

/// The index of a block, in place.
#[derive(Debug)]
pub(crate) struct Inverted<'a, G> {
    bytes: Guarded<'a, G>,
    /// How many indices there are, and how many weights.
    terms: usize,
    total: usize,
    /// Where in `bytes` the indices lie, where they begin, the rows and the weights.
    indices: usize,
    starts: usize,
    rows: usize,
    weights: usize,
}

impl<'a, G: Guard> Inverted<'a, G> {
    /// The index that `range` of `bytes` holds, which begins at a multiple of 8; `None` when it holds
    /// none.
    pub(crate) fn parse(bytes: Guarded<'a, G>, range: Range<usize>) -> Option<Self> {
        let outside = range.start > range.end || range.end > bytes.len();
        if outside || range.len() < HEADER_BYTES || !range.start.is_multiple_of(8) {
            return None;
        }
        let terms = bytes.u32_at(range.start / 4) as usize;
        let total = usize::try_from(bytes.u64_at(range.start / 8 + 1)).ok()?;
        let padded =
            |count: usize, width: usize| count.checked_mul(width)?.checked_next_multiple_of(8);
        let indices = range.start + HEADER_BYTES;
        let starts = indices.checked_add(padded(terms, 4)?)?;
        let rows = starts.checked_add(padded(terms.checked_add(1)?, 4)?)?;
        let weights = rows.checked_add(padded(total, 2)?)?;
        let end = weights.checked_add(padded(total, 4)?)?;
        let whole = end == range.end;
        whole.then_some(Self { bytes, terms, total, indices, starts, rows, weights })
    }

    /// Adds the products with the weight `by` at `index` to the scores of the rows; how many there are.
    /// `None` when the bytes are no index.
    pub(crate) fn add(&self, index: u32, by: f32, scores: &mut Scores) -> Option<usize> {
        let Some(range) = self.find(index)? else { return Some(0) };
        let rows: &[u16] = view(self.bytes.get(self.rows + range.start * 2, range.len() * 2));
        let weights: &[f32] = view(self.bytes.get(self.weights + range.start * 4, range.len() * 4));
        let by = f64::from(by);
        for (row, weight) in rows.iter().zip(weights) {
            scores.0[usize::from(*row)] += by * f64::from(*weight);
        }
        Some(range.len())
    }

    /// Which of the weights are those of `index`.
    fn find(&self, index: u32) -> Option<Option<Range<usize>>> {
        let term = |at: usize| self.bytes.u32_at(self.indices / 4 + at);
        let (mut low, mut high) = (0, self.terms);
        while low < high {
            let middle = low + (high - low) / 2;
            if term(middle) < index {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == self.terms || term(low) != index {
            return Some(None);
        }
        let start = self.bytes.u32_at(self.starts / 4 + low) as usize;
        let end = self.bytes.u32_at(self.starts / 4 + low + 1) as usize;
        (start <= end && end <= self.total).then_some(Some(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::AlignedBytes;
    use crate::types::sparse::dot;

    type Row = (Vec<u32>, Vec<f32>);

    /// Rows of weights of both signs, at indices that are small or of 32 bits.
    fn rows(count: usize, step: u32) -> Vec<Row> {
        let mut seed = 7_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let row = |_| {
            let indices: std::collections::BTreeSet<u32> =
                (0..random() % 9).map(|_| (random() % 40).wrapping_mul(step)).collect();
            let weights = indices.iter().map(|_| (random() % 8) as f32 - 3.5).collect();
            (indices.into_iter().collect(), weights)
        };
        (0..count).map(row).collect()
    }

    fn index(rows: &[Row]) -> AlignedBytes {
        let slices = || rows.iter().map(|(indices, weights)| (&indices[..], &weights[..]));
        AlignedBytes::from_slice(&encode(&slices).expect("a block"))
    }

    fn scores(bytes: &[u8], query: &Row, rows: usize) -> Option<Vec<(usize, f64)>> {
        let index = Inverted::parse(Guarded::trusted(bytes), 0..bytes.len())?;
        let mut scores = Scores::default();
        for (at, weight) in query.0.iter().zip(&query.1) {
            index.add(*at, *weight, &mut scores)?;
        }
        let mut found = Vec::new();
        scores.each(rows, || f64::NEG_INFINITY, |row, score| found.push((row, score)));
        Some(found)
    }

    #[test]
    fn scores_are_those_of_each_row_alone() {
        for step in [1, 1 << 20, 100_000_007] {
            let rows = rows(300, step);
            let bytes = index(&rows);
            for query in rows.iter().take(40) {
                let expected: Vec<_> = rows
                    .iter()
                    .enumerate()
                    .filter_map(|(row, (indices, weights))| {
                        Some((row, dot(&query.0, &query.1, indices, weights)?))
                    })
                    .collect();
                assert_eq!(scores(bytes.as_slice(), query, 300), Some(expected));
            }
        }
        assert_eq!(scores(index(&[]).as_slice(), &(vec![1], vec![1.0]), 0), Some(Vec::new()));
    }

    #[test]
    fn a_bound_leaves_out_what_is_below_and_more_rows_than_a_block_are_refused() {
        let rows: Vec<Row> = (0..100).map(|row| (vec![5], vec![row as f32 + 1.0])).collect();
        let bytes = index(&rows);
        let all = Guarded::trusted(bytes.as_slice());
        let index = Inverted::parse(all, 0..bytes.len()).expect("an index");
        let mut scores = Scores::default();
        assert_eq!(index.add(5, 2.0, &mut scores), Some(100));
        let mut found = Vec::new();
        scores.each(99, || 190.0, |row, score| found.push((row, score)));
        assert_eq!(found, [(94, 190.0), (95, 192.0), (96, 194.0), (97, 196.0), (98, 198.0)]);
        scores.clear();
        scores.each(99, || f64::NEG_INFINITY, |row, _| panic!("row {row} was cleared"));
        let many = || std::iter::repeat_n((&[1_u32][..], &[1.0_f32][..]), BLOCK_ROWS + 1);
        assert!(encode(&many).is_none());
    }

    #[test]
    fn any_damaged_byte_is_answered_without_a_panic() {
        let rows = rows(20, 3);
        let whole = index(&rows);
        let query = (0..120).map(|index| (index, 1.0)).unzip();
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes.as_mut_slice()[at] ^= flip;
                let _ = scores(bytes.as_slice(), &query, 20);
            }
            assert!(scores(&whole.as_slice()[..at], &query, 20).is_none(), "cut at {at}");
        }
    }
}
