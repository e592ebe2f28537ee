//! How good a graph is that was just built: searches for rows of a sample, beside comparing all.
//!
//! A row of the graph is found along its own links, more easily than a query that never was in it. So
//! each is searched for as if the graph had been built without it: neither scored nor expanded.

use rayon::ThreadPool;

use super::curve::{Breadth, Curve, ONCE, Point, WHOLE};
use crate::bytes::Trusted;
use crate::codec::full::{self, Query, Space};
use crate::codec::product::Crew;
use crate::filter::rowset::RowSet;
use crate::index::flat;
use crate::index::nearest::{Effort, Indexed, nearest};
use crate::index::topk::{Candidate, TopK};
use crate::kernel::Isa;
use crate::types::{Metric, Row};

/// One row in so many is searched for, within these bounds: the time that takes stays a few parts in
/// a hundred of the build.
const SHARE: usize = 256;
const LEAST_QUERIES: usize = 64;
const MOST_QUERIES: usize = 256;
/// Rows searched for by a thread before it looks whether to go on.
const TOGETHER: usize = 16;
/// For so many hits, walks of these breadths, and for one in how many rows.
const SWEEPS: [Sweep; 2] = [
    Sweep {
        k: 10,
        slacks: &[1_000, 1_020, 1_045, 1_075, 1_110, 1_150, 1_200, 1_260, 1_340, 1_450, 1_600],
        efs: &[10, 16, 24, 40, 64, 100, 160, 256, 400],
        share: 1,
    },
    Sweep {
        k: 100,
        slacks: &[1_000, 1_020, 1_045, 1_075, 1_110, 1_150, 1_200],
        efs: &[100, 160, 256, 400],
        share: 4,
    },
];
/// Walks of more breadth are not tried for a row of which so many running found everything.
const FOUND_ALL: usize = 2;
/// A walk that is not tried would have expanded more than the one before by one part in so many.
const GROWTH: u64 = 3;

struct Sweep {
    k: usize,
    /// Thousandths.
    slacks: &'static [u32],
    /// Instead, where distances may be negative and have no multiples.
    efs: &'static [usize],
    share: usize,
}

/// For each row that was searched for, the nodes that each walk of a sweep expanded, and what it found of
/// ten thousand.
type Found = [Vec<Vec<(u64, u32)>>; SWEEPS.len()];

/// What walks over the graph find of the rows nearest to some rows. `None` when `keep_going` says no.
pub(super) fn curves(
    isa: Isa,
    space: Space,
    indexed: Indexed<'_, Trusted>,
    count: usize,
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<Vec<Curve>> {
    let all = Row::try_from(count).unwrap_or(Row::MAX);
    let queries = (count / SHARE).clamp(LEAST_QUERIES, MOST_QUERIES);
    let askers: Vec<Row> = (0..all).step_by(count.div_ceil(queries).max(1)).collect();
    let sample = Sample { isa, space, indexed, count };
    let queries: Vec<Query> = askers.iter().map(|asker| sample.query(*asker)).collect();
    let asked: Vec<&Query> = queries.iter().collect();
    // A row is always nearest to itself, and is no achievement.
    let most = 1 + SWEEPS.iter().map(|sweep| sweep.k).max().unwrap_or(0);
    let crew = Crew { isa, pool: Some(pool), keep_going };
    let near = flat::nearest(&crew, &asked, indexed.rows, count, most).ok()?;
    let searched = askers.into_iter().zip(queries).zip(near);
    let searched: Vec<Asker> =
        searched.map(|((row, query), near)| Asker::new(row, query, near)).collect();
    let mut parts: Vec<Option<Found>> = Vec::new();
    parts.resize_with(searched.len().div_ceil(TOGETHER), || None);
    pool.scope(|scope| {
        for (askers, part) in searched.chunks(TOGETHER).zip(&mut parts) {
            let sample = &sample;
            scope.spawn(move |_| *part = keep_going().then(|| sample.search(askers)));
        }
    });
    let mut found = Found::default();
    for part in parts {
        for (all, some) in found.iter_mut().zip(part?) {
            all.extend(some);
        }
    }
    let curve = |(sweep, found): (&Sweep, &Vec<_>)| sweep.curve(space.metric, found);
    Some(SWEEPS.iter().zip(&found).filter_map(curve).collect())
}

impl Sweep {
    fn breadths(&self, metric: Metric) -> Vec<Breadth> {
        if metric == Metric::Dot {
            return self.efs.iter().map(|ef| Breadth::fixed(*ef)).collect();
        }
        #[expect(clippy::cast_precision_loss, reason = "thousandths")]
        let slack = |slack: &u32| Some(*slack as f32 / ONCE as f32);
        self.slacks.iter().map(|one| Breadth { ef: self.k, slack: slack(one) }).collect()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "means of small numbers"
    )]
    fn curve(&self, metric: Metric, found: &[Vec<(u64, u32)>]) -> Option<Curve> {
        let point = |(at, breadth): (usize, Breadth)| {
            let walks = found.iter().filter_map(|row| row.get(at));
            let (expanded, shares): (Vec<f64>, Vec<f64>) =
                walks.map(|(expanded, share)| (*expanded as f64, f64::from(*share))).unzip();
            let (found, error) = mean_and_error(&shares)?;
            let (expanded, _) = mean_and_error(&expanded)?;
            let (ef, slack) = match breadth.slack {
                Some(_) => (expanded.ceil() as u32, self.slacks.get(at).copied()),
                None => (breadth.ef as u32, None),
            };
            Some(Point { ef, slack, found: found.floor() as u32, error: error.ceil() as u32 })
        };
        let points = self.breadths(metric).into_iter().enumerate().filter_map(point);
        let points: Vec<Point> = points.collect();
        (!points.is_empty()).then_some(Curve {
            k: self.k as u32,
            queries: found.len() as u32,
            points,
        })
    }
}

/// The mean of `values` and its standard error; none of no values.
pub(crate) fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "samples are small")]
    let count = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let square: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((mean, (square / (count - 1.0).max(1.0) / count).sqrt()))
}

/// A row that is searched for.
struct Asker {
    row: Row,
    query: Query,
    /// Those of its neighbours, nearest first.
    distances: Vec<f32>,
}

impl Asker {
    fn new(row: Row, query: Query, near: Vec<Candidate>) -> Self {
        let others = near.into_iter().filter(|near| near.row != row);
        Self { row, query, distances: others.map(|near| near.distance).collect() }
    }
}

/// What is searched.
struct Sample<'a> {
    isa: Isa,
    space: Space,
    indexed: Indexed<'a, Trusted>,
    count: usize,
}

impl Sample<'_> {
    fn query(&self, row: Row) -> Query {
        let Self { space, indexed, .. } = *self;
        if space.is_rounded() {
            let mut floats = vec![0.0; space.dimension];
            full::read_row(space, indexed.rows, row as usize, &mut floats);
            return Query::new(space, &floats);
        }
        let row = indexed.rows.vectors.get(row as usize * space.stride(), space.stride());
        let values = full::unpack_rows(space, &[row]);
        Query::new(space, &values.to_f32(0..space.elements()))
    }

    fn search(&self, askers: &[Asker]) -> Found {
        let mut found = Found::default();
        for (at, asker) in askers.iter().enumerate() {
            for (sweep, found) in SWEEPS.iter().zip(&mut found) {
                if at % sweep.share == 0 && !asker.distances.is_empty() {
                    found.push(self.walk(sweep, asker));
                }
            }
        }
        found
    }

    /// What walks for a row do and find of its neighbours.
    fn walk(&self, sweep: &Sweep, asker: &Asker) -> Vec<(u64, u32)> {
        let Self { isa, space, indexed, count } = *self;
        let Asker { row, query, distances } = asker;
        let before = |a: Row, b: Row| a < b;
        let wanted = &distances[..sweep.k.min(distances.len())];
        let worst = wanted.last().copied().unwrap_or(f32::INFINITY);
        let (mut walks, mut all, mut last) = (Vec::new(), 0, 0);
        for breadth in sweep.breadths(space.metric) {
            if all == FOUND_ALL {
                last += last / GROWTH;
                walks.push((last, WHOLE));
                continue;
            }
            let mut top = TopK::new(sweep.k, f32::INFINITY, count, &before);
            let Breadth { slack, .. } = breadth;
            let effort = Effort { without: Some(*row), slack, ..Effort::of(breadth.most(sweep.k)) };
            let counts = nearest(isa, query, indexed, effort, &RowSet::default(), &mut top);
            let walked = top.into_sorted();
            let hits = walked.iter().filter(|near| near.distance <= worst).count();
            let share = hits.min(wanted.len()) * WHOLE as usize / wanted.len();
            all = if hits >= wanted.len() { all + 1 } else { 0 };
            last = counts.walk.expanded;
            walks.push((last, u32::try_from(share).unwrap_or(WHOLE)));
        }
        walks
    }
}
