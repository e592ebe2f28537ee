//! Recall as it is: searches of a sample beside comparing every row.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use serde::Serialize;

use super::asked::{Asked, Queries};
use super::query::{Query, Request};
use super::snapshot::{Found, Place, SearchParams, View};
use super::{Collection, Snapshot};
use crate::codec::full;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::filter::rowset::RowSet;
use crate::segment::mean_and_error;
use crate::segment::part::live_rows;
use crate::types::Vectors;

/// Queries compared together with every row.
const TOGETHER: usize = 16;
/// Rows searched for where no queries are given.
const SAMPLE: usize = 200;
/// Standard errors to either side of a mean, for 95 of a hundred samples.
const WIDTH: f64 = 1.96;

/// What searches found of the rows that they should have.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MeasuredRecall {
    /// Queries that had something to find.
    pub queries: usize,
    /// Hits that each was to find.
    pub k: usize,
    /// The share that was found, the mean over the queries; a row as near as the last true one counts.
    pub recall: f64,
    /// Ends of the interval in which the mean over all such queries lies, for 95 of a hundred samples.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The recall that only one query in twenty falls short of.
    pub percentile_5: f64,
}

/// A measurement about to run: made by [`Collection::measure_recall`].
#[derive(Debug)]
#[must_use = "nothing is measured until run"]
pub struct RecallQuery<'a> {
    query: Query<'a>,
    sample: usize,
}

impl<'a> RecallQuery<'a> {
    /// How many rows to search for, each as if the collection did not have it. Default 200; all where there
    /// are fewer.
    pub fn sample(mut self, rows: usize) -> Self {
        self.sample = rows;
        self
    }

    /// Searches for these, row-major, instead of rows of the collection.
    pub fn queries(mut self, vectors: impl Into<Vectors<'a>>) -> Self {
        self.query.asked = Some(Asked::Vectors(vectors.into()));
        self
    }

    /// As [`Query::k`].
    pub fn k(mut self, k: usize) -> Self {
        self.query = self.query.k(k);
        self
    }

    /// As [`Query::ef`].
    pub fn ef(mut self, ef: usize) -> Self {
        self.query = self.query.ef(ef);
        self
    }

    /// As [`Query::recall`].
    pub fn recall(mut self, recall: f32) -> Self {
        self.query = self.query.recall(recall);
        self
    }

    /// As [`Query::filter`].
    pub fn filter(mut self, filter: impl Into<Filter>) -> Self {
        self.query = self.query.filter(filter);
        self
    }

    /// Ends with `Cancelled` soon after this is set.
    pub fn cancel(mut self, flag: Arc<AtomicBool>) -> Self {
        self.query = self.query.cancel(flag);
        self
    }

    /// Searches, and compares every row for every query, on all threads of the database.
    ///
    /// # Errors
    /// `InvalidArgument` for a sample of 0, and when there is nothing to search for or nothing to find; else
    /// as [`Query::run_batch`].
    pub fn run(self) -> Result<MeasuredRecall> {
        let Query { snapshot, asked, request } = self.query;
        let snapshot = snapshot?;
        request.wanted(&snapshot)?;
        if request.k == 0 {
            return Err(Error::invalid("recall of 0 hits is asked for; give a k of 1 or more"));
        }
        if self.sample == 0 {
            return Err(Error::invalid("sample is 0, expected 1 or more"));
        }
        let trial = Trial::new(&snapshot, &request, asked, self.sample)?.compare()?;
        let shares = trial.shares(request.params(&snapshot, request.k))?;
        let none = || {
            Error::invalid(match request.filter {
                Some(_) => "no query has anything to find: the filter leaves no row",
                None => {
                    "no query has anything to find: there is no row, or none but that searched for"
                }
            })
        };
        MeasuredRecall::of(request.k, shares).ok_or_else(none)
    }
}

impl MeasuredRecall {
    /// Of the share that each query found.
    pub(super) fn of(k: usize, mut shares: Vec<f64>) -> Option<Self> {
        let (recall, error) = mean_and_error(&shares)?;
        shares.sort_by(f64::total_cmp);
        Some(Self {
            queries: shares.len(),
            k,
            recall,
            low: (recall - WIDTH * error).max(0.0),
            high: (recall + WIDTH * error).min(1.0),
            percentile_5: shares[(shares.len() - 1) / 20],
        })
    }
}

/// Queries, and what they should find.
pub(super) struct Trial<'a> {
    snapshot: &'a Snapshot,
    request: &'a Request<'a>,
    hidden: Option<Vec<RowSet>>,
    queries: Vec<full::Query>,
    /// The rows that the queries are of.
    rows: Option<Vec<Place>>,
    /// For each query the rows that it should find, and how far the last of them is.
    truth: Vec<(HashSet<Place>, f32)>,
}

impl<'a> Trial<'a> {
    /// Of the queries `asked`, or of a `sample` of rows.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        request: &'a Request<'a>,
        asked: Option<Asked<'_>>,
        sample: usize,
    ) -> Result<Self> {
        let view = &snapshot.view;
        let (asked, rows, missing) = match asked {
            Some(asked) => (asked, None, "no queries are given; give one or more"),
            None => {
                let rows = sampled(view, sample);
                let asked = Asked::Vectors(view.vectors(&rows)?);
                (asked, Some(rows), "there are no rows to search for; store some, or give queries")
            }
        };
        let Queries::Vectors(queries) = asked.prepare(view)? else {
            return Err(Error::invalid("recall is measured of vectors"));
        };
        if queries.is_empty() {
            return Err(Error::invalid(missing));
        }
        let hidden = request.choose(snapshot)?.map(|chosen| chosen.hidden);
        Ok(Self { snapshot, request, hidden, queries, rows, truth: Vec::new() })
    }

    /// Compares every row for every query.
    pub(super) fn compare(mut self) -> Result<Self> {
        // A row finds itself besides.
        let wanted = self.request.k.saturating_add(usize::from(self.rows.is_some()));
        let params = SearchParams::exact(wanted);
        let chunks: Vec<usize> = (0..self.queries.len()).step_by(TOGETHER).collect();
        let exact = |first: &usize| -> Result<Vec<_>> {
            let last = self.queries.len().min(first + TOGETHER);
            let found = self.search(&self.queries[*first..last], &params)?;
            Ok((*first..).zip(found).map(|(at, found)| self.true_hits(at, found)).collect())
        };
        let pool = self.snapshot.host.pool()?;
        let truth: Result<Vec<_>> = pool.install(|| chunks.par_iter().map(exact).collect());
        self.truth = truth?.into_iter().flatten().collect();
        Ok(self)
    }

    pub(super) fn len(&self) -> usize {
        self.queries.len()
    }

    fn search(&self, queries: &[full::Query], params: &SearchParams) -> Result<Vec<Vec<Found>>> {
        self.request.check_cancel()?;
        let Snapshot { host, view, .. } = self.snapshot;
        view.search(host.isa, queries, params, self.hidden.as_deref(), None)
    }

    /// The row that query number `at` is of.
    fn own(&self, at: usize) -> Option<Place> {
        self.rows.as_ref().map(|rows| rows[at])
    }

    fn true_hits(&self, at: usize, mut hits: Vec<Found>) -> (HashSet<Place>, f32) {
        hits.retain(|hit| self.own(at) != Some(hit.place));
        hits.truncate(self.request.k);
        let worst = hits.last().map_or(f32::NEG_INFINITY, |last| last.distance);
        (hits.into_iter().map(|hit| hit.place).collect(), worst)
    }

    /// For each query that has something to find, which share of it searches with `params` find.
    pub(super) fn shares(&self, params: SearchParams) -> Result<Vec<f64>> {
        let share = |at: usize| -> Result<Option<f64>> {
            let (truth, worst) = &self.truth[at];
            if truth.is_empty() {
                return Ok(None);
            }
            let params = SearchParams { without: self.own(at), ..params };
            let found = self.search(&self.queries[at..=at], &params)?;
            let hits = found.into_iter().flatten();
            let near = |hit: &Found| hit.distance <= *worst || truth.contains(&hit.place);
            let near = hits.filter(near).count().min(truth.len());
            #[expect(clippy::cast_precision_loss, reason = "hits are few")]
            let share = near as f64 / truth.len() as f64;
            Ok(Some(share))
        };
        let pool = self.snapshot.host.pool()?;
        let shares: Result<Vec<_>> =
            pool.install(|| (0..self.queries.len()).into_par_iter().map(share).collect());
        Ok(shares?.into_iter().flatten().collect())
    }
}

/// Live rows from all over the view, `count` or all.
fn sampled(view: &View, count: usize) -> Vec<Place> {
    let step = view.len().div_ceil(count.max(1)).max(1);
    let live = view.parts().enumerate().flat_map(|(index, part)| {
        live_rows(part.part.len(), &part.dead).map(move |row| Place { part: index, row })
    });
    live.skip(step / 2).step_by(step).take(count).collect()
}

impl Collection {
    /// Begins a measurement of recall: which share of the true nearest rows searches find, for rows of the
    /// collection or for [`queries`](RecallQuery::queries) given.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2, 3], &[0.0_f32, 1.0, 2.0], ())?;
    /// let measured = docs.measure_recall().k(2).recall(0.95).run()?;
    /// assert_eq!((measured.queries, measured.recall), (3, 1.0));
    /// # Ok(()) }
    /// ```
    pub fn measure_recall<'a>(&self) -> RecallQuery<'a> {
        RecallQuery { query: Query::of(self.snapshot(), None), sample: SAMPLE }
    }
}
