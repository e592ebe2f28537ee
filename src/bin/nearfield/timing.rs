//! Searches one after the other: what they find of the true nearest rows, and how long each takes.

use std::time::{Duration, Instant};

use nearfield::{Collection, Error, Hits, Id, Query};
use serde::Serialize;

use super::failure::Failure;
use super::interrupt::Interrupt;

/// Searches that a setting is timed by, or a few less: queries are asked again until there are so many.
const SEARCHES: usize = 1_000;
/// A setting is timed no longer than it takes to ask each query once, and this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Queries that comparing every row is timed by: it takes long, and finds all by what it is.
const EXACT: usize = 100;
/// Queries compared with every row between two looks at Ctrl-C.
const CHUNK: usize = 64;

/// Vectors to search for, each with its true nearest rows.
#[derive(Debug)]
pub(crate) struct Trial {
    width: usize,
    vectors: Vec<f32>,
    nearest: Vec<Nearest>,
}

#[derive(Debug)]
struct Nearest {
    ids: Vec<Id>,
    /// How far the last of them is.
    worst: f32,
}

/// How a search is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effort {
    /// As where nothing is said.
    Default,
    /// Keeping so many candidates.
    Ef(usize),
    /// Asking for this share of the true nearest rows.
    Recall(f32),
    /// Comparing every row.
    Exact,
}

impl Effort {
    fn apply<'a>(self, query: Query<'a>) -> Query<'a> {
        match self {
            Self::Default => query,
            Self::Ef(ef) => query.ef(ef),
            Self::Recall(recall) => query.recall(recall),
            Self::Exact => query.exact(true),
        }
    }

    /// In words: `ef 64`.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Ef(ef) => format!("ef {ef}"),
            Self::Recall(recall) => format!("recall {recall}"),
            Self::Exact => "exact".to_owned(),
        }
    }
}

/// How well and how fast a setting answers, on one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    /// The share of the true nearest rows that was found, on average.
    pub(crate) recall: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) per_second: f64,
}

impl Trial {
    /// Finds the true neighbours of `vectors`, row-major, by comparing them with every row on all threads.
    /// Vectors that cannot be compared are left out.
    pub(crate) fn new(
        collection: &Collection,
        mut vectors: Vec<f32>,
        k: usize,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let width = collection.schema()?.row_elements();
        let mut nearest = Vec::new();
        loop {
            interrupt.check()?;
            let first = nearest.len() * width;
            let last = vectors.len().min(first + CHUNK * width);
            if first == last {
                break;
            }
            match collection.search(&vectors[first..last]).k(k).exact(true).run_batch() {
                Ok(found) => nearest.extend(found.iter().map(Nearest::of)),
                Err(Error::InvalidVector { row, .. }) => {
                    vectors.drain(first + row * width..first + (row + 1) * width);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { width, vectors, nearest })
    }

    /// How many vectors there are.
    pub(crate) fn len(&self) -> usize {
        self.nearest.len()
    }

    /// Asks each query once without looking at the clock, then as often as there is time for.
    pub(crate) fn time(
        &self,
        collection: &Collection,
        k: usize,
        effort: Effort,
        interrupt: &Interrupt,
    ) -> Result<Timed, Failure> {
        let search = |vector| effort.apply(collection.search(vector).k(k)).run();
        let asked = self.len().min(if effort == Effort::Exact { EXACT } else { usize::MAX });
        let queries = || self.vectors.chunks_exact(self.width).zip(&self.nearest).take(asked);
        let mut recall = 0.0;
        let start = Instant::now();
        for (vector, nearest) in queries() {
            interrupt.check()?;
            recall += nearest.share(&search(vector)?);
        }
        let patience = start.elapsed() + PATIENCE;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < SEARCHES && start.elapsed() < patience {
            for (vector, _) in queries() {
                interrupt.check()?;
                let start = Instant::now();
                search(vector)?;
                times.push(start.elapsed());
            }
        }
        times.sort_unstable();
        let total: Duration = times.iter().sum();
        Ok(Timed {
            recall: recall / asked.max(1) as f64,
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
            per_second: times.len() as f64 / total.as_secs_f64().max(f64::MIN_POSITIVE),
        })
    }
}

impl Nearest {
    fn of(hits: &Hits) -> Self {
        let worst = hits.iter().last().map_or(f32::NEG_INFINITY, |hit| hit.distance);
        Self { ids: hits.iter().map(|hit| hit.id.clone()).collect(), worst }
    }

    /// The share of them that was found; a row as near as the last of them counts.
    fn share(&self, hits: &Hits) -> f64 {
        if self.ids.is_empty() {
            return 1.0;
        }
        let near =
            hits.iter().filter(|hit| hit.distance <= self.worst || self.ids.contains(&hit.id));
        near.count().min(self.ids.len()) as f64 / self.ids.len() as f64
    }
}

/// The time that `percent` of a hundred of the sorted `times` do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_taken() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
