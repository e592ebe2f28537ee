//! The exact scan: every row is scored, at the speed of memory.

use std::ops::Range;

use rayon::prelude::*;

use crate::bytes::Guard;
use crate::codec::full::{FullSource, Query, Rows};
use crate::codec::product::Crew;
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::topk::{Candidate, TopK};
use crate::kernel::Isa;
use crate::types::Row;

/// Rows scored before their distances are looked at.
const BLOCK: usize = 64;
/// Bytes of rows that several queries read one after the other.
const PIECE_BYTES: usize = 128 << 10;
/// Rows that a thread of a crew scans at a time: each finds as many as are wanted of all.
const LEAST_PART: usize = 1 << 12;
const MOST_PART: usize = 1 << 16;
/// Parts for each thread, where there are rows enough.
const PARTS: usize = 4;

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
    let end = Row::try_from(len).unwrap_or(Row::MAX);
    let row_bytes = rows.vectors.len() / len.max(1);
    scan_range(isa, queries, rows, (0..end, row_bytes), dead, tops);
}

/// The same of a range of rows of so many bytes.
fn scan_range<G: Guard>(
    isa: Isa,
    queries: &[&Query],
    rows: Rows<'_, G>,
    (range, row_bytes): (Range<Row>, usize),
    dead: &RowSet,
    tops: &mut [TopK<'_>],
) {
    let piece = match queries.len() {
        1 => Row::MAX,
        _ => Row::try_from(PIECE_BYTES / row_bytes.max(1)).unwrap_or(Row::MAX),
    };
    for first in range.clone().step_by(piece.max(1) as usize) {
        let piece = first..range.end.min(first.saturating_add(piece.max(1)));
        for (query, top) in queries.iter().zip(tops.iter_mut()) {
            scan(isa, query, rows, piece.clone(), dead, top);
        }
    }
}

/// For each query the `k` nearest of the first `len` rows, by (distance, row), found by all of a crew: the rows
/// are read once for all of the queries.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(crate) fn nearest<G: Guard>(
    crew: &Crew<'_>,
    queries: &[&Query],
    rows: Rows<'_, G>,
    len: usize,
    k: usize,
) -> Result<Vec<Vec<Candidate>>> {
    let threads = crew.pool.map_or(1, |pool| pool.current_num_threads());
    let part = len.div_ceil(PARTS * threads.max(1)).clamp(LEAST_PART, MOST_PART);
    let (end, row_bytes) =
        (Row::try_from(len).unwrap_or(Row::MAX), rows.vectors.len() / len.max(1));
    let of_part = |first: Row| {
        if !(crew.keep_going)() {
            return Err(Error::Cancelled);
        }
        let range = first..end.min(first.saturating_add(Row::try_from(part).unwrap_or(Row::MAX)));
        let top = |_: &&Query| TopK::new(k, f32::INFINITY, part, &|a, b| a < b);
        let mut tops: Vec<TopK<'_>> = queries.iter().map(top).collect();
        let dead = RowSet::default();
        scan_range(crew.isa, queries, rows, (range, row_bytes), &dead, &mut tops);
        Ok(tops.into_iter().map(TopK::into_sorted).collect())
    };
    let firsts: Vec<Row> = (0..end).step_by(part).collect();
    let found: Result<Vec<Vec<Vec<Candidate>>>> = match crew.pool {
        Some(pool) => pool.install(|| firsts.into_par_iter().map(of_part).collect()),
        None => firsts.into_iter().map(of_part).collect(),
    };
    let mut nearest = vec![Vec::new(); queries.len()];
    for part in found? {
        nearest.iter_mut().zip(part).for_each(|(nearest, part)| nearest.extend(part));
    }
    for nearest in &mut nearest {
        nearest.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        nearest.truncate(k);
    }
    Ok(nearest)
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
    use crate::codec::full::{Space, Stage, encode_rows};
    use crate::types::{Metric, VectorType};

    /// Rows on a line, each position held by three rows.
    fn line(count: usize) -> (Space, crate::bytes::AlignedBytes) {
        let space = Space {
            dimension: 1,
            vector_type: VectorType::F32,
            metric: Metric::L2,
            stage: Stage::Given,
        };
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
    #[test]
    fn a_crew_finds_what_one_scan_does_until_it_is_told_to_stop() {
        const ROWS: usize = 3 * LEAST_PART + 7;
        let (space, vectors) = line(ROWS);
        let rows = Rows {
            vectors: Guarded::trusted(vectors.as_slice()),
            inverse_norms: Guarded::trusted(&[]),
        };
        let at = [0.0, 1_365.0, 4_000.4, 1e9];
        let queries = at.map(|at| Query::new(space, &[at]));
        let queries: Vec<&Query> = queries.iter().collect();
        let isa = Isa::detect();
        let before = |a: Row, b: Row| a < b;
        let mut tops: Vec<_> =
            queries.iter().map(|_| TopK::new(5, f32::INFINITY, ROWS, &before)).collect();
        scan_all(isa, &queries, rows, ROWS, &RowSet::default(), &mut tops);
        let expected: Vec<_> = tops.into_iter().map(TopK::into_sorted).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        for pool in [None, Some(&pool)] {
            let crew = Crew { isa, pool, keep_going: &|| true };
            let found = nearest(&crew, &queries, rows, ROWS, 5).expect("nobody stops it");
            assert_eq!(found, expected);
            assert_eq!(nearest(&crew, &queries, rows, 2, 5).expect("as before")[0].len(), 2);
            let stopped = Crew { keep_going: &|| false, ..crew };
            let stopped = nearest(&stopped, &queries, rows, ROWS, 5);
            assert!(matches!(stopped, Err(Error::Cancelled)));
        }
    }
}
