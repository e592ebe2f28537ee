//! How well the order of codes agrees with that of the vectors, measured on rows of a segment.
//!
//! Two kinds of rows ask for their nearest. Rows at even distances stand for all. A few rows that lie so
//! close together that one code stands for many are lost among these, so the rows that look the worst
//! in a sample ask too, and agree on their own.

use rayon::prelude::*;

use crate::bytes::{AlignedBytes, Guard};
use crate::codec::STEPS;
use crate::codec::full::{self, Query, Rows, Space};
use crate::codec::product::Crew;
use crate::error::{Error, Result};
use crate::index::flat;
use crate::index::topk::Candidate;
use crate::types::Row;

/// Rows at even distances that ask, and the rows that each is judged on.
const QUERIES: usize = 32;
/// Fewer where each of them reads more than this.
const FEW_QUERIES: usize = 16;
const FEW_QUERIES_BYTES: usize = 512 << 20;
const NEAR: usize = 400;
const SAMPLE: usize = 2_048;
pub(super) const K: usize = 10;
/// Bytes of codes made for a query at a time.
const MEASURED_BYTES: usize = 16 << 20;
/// Rows that are looked at for doubtful ones: of so many one, and how many of them at least and at most.
const LOOKED_AT: usize = 16;
const LEAST_LOOKED_AT: usize = 64;
const MOST_LOOKED_AT: usize = 512;
/// How many of these ask, and how many of their nearest in the sample they are chosen by.
const DOUBTFUL: usize = 8;
const DOUBTED_BY: usize = 4;
/// Rows chosen for being the worst may miss so many times as much.
const DOUBTFUL_MISS: u32 = 3;

/// Puts so many rows in an order, for a query and by their codes.
type Score<'a> = dyn Fn(&Query, &[u8], usize) -> Vec<f32> + Sync + 'a;

/// Codes whose order is judged.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    /// Bytes of the code of a row.
    pub(super) stride: usize,
    /// How many of the nearest by code may be compared for [`K`] near rows.
    pub(super) steps: [usize; STEPS],
    /// The codes of some rows.
    pub(super) encode: &'a (dyn Fn(&[Row]) -> AlignedBytes + Sync),
    /// In what order a query puts so many rows by their codes.
    pub(super) score: &'a Score<'a>,
}

/// All rows of a segment.
#[derive(Debug)]
struct Whole<'a, G> {
    space: Space,
    rows: Rows<'a, G>,
    count: usize,
}

/// Of the [`K`] rows nearest to a row of the segment, how many in a thousand are among the nearest by
/// code, for each of the steps, how many these are. Judged among the nearest few hundred of all rows and
/// a sample.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(super) fn agreements<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    judged: Judged<'_>,
) -> Result<[u32; STEPS]> {
    let whole = Whole { space, rows, count };
    let room = MEASURED_BYTES / judged.stride;
    let (near, sample) = (NEAR.min(room / 2).max(2 * K), SAMPLE.min(room / 2).max(1));
    let sample = scattered(count, sample);
    let queries = if count * space.stride() > FEW_QUERIES_BYTES { FEW_QUERIES } else { QUERIES };
    let mut askers = every(count, queries);
    let even = askers.len();
    askers.extend(whole.doubtful(crew, judged, &sample)?);
    let queries: Vec<Query> = askers.iter().map(|asker| whole.query(*asker)).collect();
    let asked: Vec<&Query> = queries.iter().collect();
    let nearest = flat::nearest(crew, &asked, rows, count, near)?;
    let ask = |at: usize| {
        let nearest = nearest[at].iter().map(|Candidate { row, .. }| *row);
        let mut others: Vec<Row> = nearest.chain(sample.iter().copied()).collect();
        others.sort_unstable();
        others.dedup();
        // A row is always nearest to itself.
        others.retain(|row| *row != askers[at]);
        whole.ask(crew, judged, &queries[at], &others)
    };
    let found = all(crew, askers.len(), ask)?;
    let (even, doubtful) = found.split_at(even);
    let (mut agreements, doubtful) = (thousandths(even), thousandths(doubtful));
    for (agreement, doubtful) in agreements.iter_mut().zip(doubtful) {
        *agreement = 1000 - (1000 - *agreement).max((1000 - doubtful) / DOUBTFUL_MISS);
    }
    Ok(agreements)
}

impl<G: Guard> Whole<'_, G> {
    fn query(&self, row: Row) -> Query {
        let mut floats = vec![0.0; self.space.dimension];
        full::read_row(self.space, self.rows, row as usize, &mut floats);
        Query::new(self.space, &floats)
    }

    /// Distances of `others` and, on another scale, of their codes.
    fn distances(
        &self,
        crew: &Crew<'_>,
        judged: Judged<'_>,
        query: &Query,
        others: (&[Row], &[u8]),
    ) -> (Vec<f32>, Vec<f32>) {
        let (others, codes) = others;
        let mut exact = vec![0.0; others.len()];
        full::score_rows(crew.isa, query, self.rows, others, &mut exact);
        (exact, (judged.score)(query, codes, others.len()))
    }

    /// How many of its nearest among `others` a query has, and finds by codes for each step.
    fn ask(
        &self,
        crew: &Crew<'_>,
        judged: Judged<'_>,
        query: &Query,
        others: &[Row],
    ) -> (usize, [usize; STEPS]) {
        let codes = (judged.encode)(others);
        let (exact, coded) = self.distances(crew, judged, query, (others, codes.as_slice()));
        let mut order: Vec<usize> = (0..others.len()).collect();
        order.sort_by(|a, b| coded[*a].total_cmp(&coded[*b]));
        let mut sorted = exact.clone();
        sorted.sort_by(f32::total_cmp);
        let k = K.min(others.len());
        let Some(worst) = k.checked_sub(1).map(|last| sorted[last]) else {
            return (0, [0; STEPS]);
        };
        let found = judged.steps.map(|compared| {
            let compared = order.iter().take(compared);
            compared.filter(|row| exact[**row] <= worst).count().min(k)
        });
        (k, found)
    }

    /// The rows that codes tell apart the worst from those of `sample` that are near, of some that are
    /// looked at; none where all are told apart.
    fn doubtful(&self, crew: &Crew<'_>, judged: Judged<'_>, sample: &[Row]) -> Result<Vec<Row>> {
        let many = (self.count / LOOKED_AT).clamp(LEAST_LOOKED_AT, MOST_LOOKED_AT);
        let rows = scattered(self.count, many);
        let codes = (judged.encode)(sample);
        let confused = all(crew, rows.len(), |at| {
            let (query, codes) = (self.query(rows[at]), codes.as_slice());
            let (exact, coded) = self.distances(crew, judged, &query, (sample, codes));
            let mut order: Vec<usize> = (0..sample.len()).collect();
            order.retain(|other| sample[*other] != rows[at]);
            let by_distance = |a: &usize, b: &usize| exact[*a].total_cmp(&exact[*b]);
            if order.len() > DOUBTED_BY {
                order.select_nth_unstable_by(DOUBTED_BY - 1, by_distance);
            }
            let (near, _) = order.split_at(DOUBTED_BY.min(order.len()));
            // Rows further away that codes do not put behind it.
            let before = |near: usize| {
                let others = exact.iter().zip(&coded);
                others.filter(|(e, c)| **e > exact[near] && **c <= coded[near]).count()
            };
            near.iter().map(|near| before(*near)).sum::<usize>()
        })?;
        let mut worst: Vec<(usize, Row)> = confused.into_iter().zip(rows).collect();
        worst.retain(|(confused, _)| *confused > 0);
        worst.sort_by(|a, b| b.cmp(a));
        Ok(worst.into_iter().take(DOUBTFUL).map(|(_, row)| row).collect())
    }
}

/// At most `many` of `count` rows, as far from each other.
fn every(count: usize, many: usize) -> Vec<Row> {
    let all = Row::try_from(count).unwrap_or(Row::MAX);
    (0..all).step_by(count.div_ceil(many).max(1)).collect()
}

/// The same, each moved by less than that, so that rows which come in turns are met as often.
fn scattered(count: usize, many: usize) -> Vec<Row> {
    let all = Row::try_from(count).unwrap_or(Row::MAX);
    let step = Row::try_from(count.div_ceil(many).max(1)).unwrap_or(Row::MAX);
    let moved = |first: Row| {
        // The fraction of multiples of the golden ratio (Knuth, 6.4) is even over any few of them.
        let fraction = u64::from((first / step).wrapping_mul(0x9e37_79b9));
        first.saturating_add(Row::try_from((fraction * u64::from(step)) >> 32).unwrap_or(0))
    };
    (0..all).step_by(step as usize).map(moved).filter(|row| *row < all).collect()
}

/// What `of` gives for the numbers below `count`, by all of a crew.
fn all<T: Send>(crew: &Crew<'_>, count: usize, of: impl Fn(usize) -> T + Sync) -> Result<Vec<T>> {
    let of = |at: usize| {
        if !(crew.keep_going)() {
            return Err(Error::Cancelled);
        }
        Ok(of(at))
    };
    match crew.pool {
        Some(pool) => pool.install(|| (0..count).into_par_iter().map(of).collect()),
        None => (0..count).map(of).collect(),
    }
}

/// Of a thousand wanted rows, how many were found for each step.
fn thousandths(askers: &[(usize, [usize; STEPS])]) -> [u32; STEPS] {
    let wanted: usize = askers.iter().map(|(wanted, _)| wanted).sum();
    std::array::from_fn(|step| {
        let found: usize = askers.iter().map(|(_, found)| found[step]).sum();
        // A single row has no others to be mistaken for.
        let agreement = (found * 1000).checked_div(wanted).unwrap_or(1000);
        u32::try_from(agreement).unwrap_or(0)
    })
}
