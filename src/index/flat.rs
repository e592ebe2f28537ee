//! The exact scan: every row is scored, at the speed of memory.

use std::ops::Range;

use crate::bytes::Guard;
use crate::codec::full::{FullSource, Query, Rows};
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::filter::rowset::RowSet;
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows scored before their distances are looked at.
const BLOCK: usize = 64;
/// Bytes of rows that several queries read one after the other.
const PIECE_BYTES: usize = 128 << 10;

/// Offers `top` every row of `range` that is not in `dead`. Rows behind the last are left out.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    rows: Rows<'_, G>,
    range: Range<Row>,
    dead: &RowSet,
    top: &mut TopK<'_>,
) {
    FullSource { query, rows }.run(isa, Scan { range, dead, top });
}

/// [`scan`]s all rows for several queries, which read them once: a piece that stays in the nearer
/// caches after the other.
pub(crate) fn scan_all<G: Guard>(
    isa: Isa,
    queries: &[&Query],
    rows: Rows<'_, G>,
    len: usize,
    dead: &RowSet,
    tops: &mut [TopK<'_>],
) {
    let len = Row::try_from(len).unwrap_or(Row::MAX);
    let row_bytes = rows.vectors.len() / (len as usize).max(1);
    let piece = match queries.len() {
        1 => len,
        _ => Row::try_from(PIECE_BYTES / row_bytes.max(1)).unwrap_or(Row::MAX),
    };
    for first in (0..len).step_by(piece.max(1) as usize) {
        let range = first..len.min(first.saturating_add(piece.max(1)));
        for (query, top) in queries.iter().zip(tops.iter_mut()) {
            scan(isa, query, rows, range.clone(), dead, top);
        }
    }
}

struct Scan<'a, 'b> {
    range: Range<Row>,
    dead: &'a RowSet,
    top: &'a mut TopK<'b>,
}

impl ScorerOp for Scan<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let end = scorer.rows().min(self.range.end as usize);
        let mut distances = [0.0_f32; BLOCK];
        let mut first = self.range.start as usize;
        while first < end {
            let len = BLOCK.min(end - first);
            #[expect(clippy::cast_possible_truncation, reason = "below the end of a row range")]
            let first_row = first as Row;
            let distances = &mut distances[..len];
            scorer.score_run(first_row, distances);
            offer(self.top, distances, first_row, self.dead);
            first += len;
        }
    }
}

/// Offers a block. Nearly always nothing in it is close enough, which one pass over the distances
/// tells.
#[inline(always)]
fn offer(top: &mut TopK<'_>, distances: &[f32], first: Row, dead: &RowSet) {
    let bound = top.bound();
    let any = distances.iter().fold(false, |any, &distance| any | (distance <= bound));
    if !any {
        return;
    }
    for (row, &distance) in (first..).zip(distances) {
        if distance <= top.bound() && !dead.contains(row) {
            top.offer(distance, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Guarded;
    use crate::codec::full::{Space, encode_rows};
    use crate::types::{Metric, VectorType};

    /// Rows on a line, each position held by three rows.
    fn line(count: usize) -> (Space, crate::bytes::AlignedBytes) {
        let space = Space { dimension: 1, vector_type: VectorType::F32, metric: Metric::L2 };
        let values: Vec<f32> = (0..count).map(|row| (row / 3) as f32).collect();
        let (vectors, _) = encode_rows(space, &values.into(), count).expect("valid");
        (space, vectors)
    }

    #[test]
    fn the_k_best_by_distance_and_tie_are_found_on_every_tier() {
        let (space, vectors) = line(1000);
        let rows = Rows {
            vectors: Guarded::trusted(vectors.as_slice()),
            inverse_norms: Guarded::trusted(&[]),
        };
        let query = Query::new(space, &[100.0]);
        let mut dead = RowSet::default();
        dead.insert(301);
        let before = |a: Row, b: Row| a > b;
        for isa in Isa::available() {
            let mut top = TopK::new(4, f32::INFINITY, 1000, &before);
            scan(isa, &query, rows, 0..Row::MAX, &dead, &mut top);
            let found: Vec<Row> = top.into_sorted().iter().map(|c| c.row).collect();
            assert_eq!(found, [302, 300, 305, 304], "{}", isa.name());

            let other = Query::new(space, &[33.0]);
            let mut tops = [4, 1].map(|k| TopK::new(k, f32::INFINITY, 1000, &before));
            scan_all(isa, &[&query, &other], rows, 1000, &dead, &mut tops);
            let found = tops.map(|top| top.into_sorted().iter().map(|c| c.row).collect::<Vec<_>>());
            assert_eq!(found, [vec![302, 300, 305, 304], vec![101]], "{}", isa.name());

            let mut top = TopK::new(2, f32::INFINITY, 1000, &before);
            scan(isa, &query, rows, 500..777, &dead, &mut top);
            let found: Vec<Row> = top.into_sorted().iter().map(|c| c.row).collect();
            assert_eq!(found, [500, 503], "{}", isa.name());
        }
    }
}
