//! What has been done since a collection was opened: searches with the times they took, and writes.
//!
//! A search costs two additions to atomic numbers: one in a histogram of times whose buckets grow by an
//! eighth of a power of two, so that a percentile is told within an eighth, and one for the sum; and a look at
//! the longest time, which it may replace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Buckets of one doubling, as a power of two.
const STEPS_LOG2: u32 = 3;
const STEPS: usize = 1 << STEPS_LOG2;
/// Nanoseconds below which times are not told apart, as a power of two: about a microsecond.
const LEAST_LOG2: u32 = 10;
/// Doublings from there on, to about two minutes; what took longer is in the last bucket, whose limit is the
/// longest time.
const DOUBLINGS: usize = 27;
const BUCKETS: usize = DOUBLINGS * STEPS;

/// Times of the searches of a collection since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SearchStats {
    /// Searches that were answered, each query of a batch one.
    pub count: u64,
    /// Of these, those that were asked one by one: the times below are theirs.
    pub timed: u64,
    /// Nanoseconds that they took in all.
    pub total_ns: u64,
    /// Nanoseconds that the longest of them took.
    pub max_ns: u64,
    /// Nanoseconds within which half of them were answered, an eighth too many at most; 0 before the first.
    /// What took more than two minutes is told as the longest.
    pub p50_ns: u64,
    /// The same for 95 of a hundred.
    pub p95_ns: u64,
    /// The same for 99 of a hundred.
    pub p99_ns: u64,
    /// The histogram, without its empty buckets: nanoseconds within which, and above the bucket before
    /// or seven eighths of it, so many of them were answered. Ascending; those of more than two minutes are
    /// one bucket, up to the longest.
    pub histogram: Vec<(u64, u64)>,
}

/// The name and the counters of an open collection, shared by its handles and snapshots.
#[derive(Debug)]
pub(crate) struct Meters {
    /// Name of the collection.
    pub(crate) name: String,
    times: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
    max_ns: AtomicU64,
    batched: AtomicU64,
    writes: AtomicU64,
}

impl Meters {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            times: [const { AtomicU64::new(0) }; BUCKETS],
            total_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
            batched: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// A search was answered.
    pub(crate) fn searched(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(nanos, Ordering::Relaxed);
        }
        // Whoever sees it counted sees the longest time, too.
        self.times[bucket(nanos)].fetch_add(1, Ordering::Release);
        self.total_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// A batch of queries was answered.
    pub(crate) fn searched_batch(&self, queries: usize) {
        self.batched.fetch_add(queries as u64, Ordering::Relaxed);
    }

    /// A write was done.
    pub(crate) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    pub(crate) fn searches(&self) -> SearchStats {
        let counts = self.times.iter().map(|count| count.load(Ordering::Acquire));
        let mut histogram: Vec<(u64, u64)> =
            (0..).map(limit).zip(counts).filter(|(_, count)| *count > 0).collect();
        let max_ns = self.max_ns.load(Ordering::Relaxed);
        if let Some((last, _)) = histogram.last_mut().filter(|(at, _)| *at == limit(BUCKETS - 1)) {
            *last = max_ns.max(*last);
        }
        let timed = histogram.iter().map(|(_, count)| count).sum();
        SearchStats {
            count: timed + self.batched.load(Ordering::Relaxed),
            timed,
            total_ns: self.total_ns.load(Ordering::Relaxed),
            max_ns,
            p50_ns: quantile(&histogram, timed, 50),
            p95_ns: quantile(&histogram, timed, 95),
            p99_ns: quantile(&histogram, timed, 99),
            histogram,
        }
    }
}

/// The bucket of a time.
fn bucket(nanos: u64) -> usize {
    let Some(above) = nanos.checked_ilog2().and_then(|log2| log2.checked_sub(LEAST_LOG2)) else {
        return 0;
    };
    let step = (nanos >> (above + LEAST_LOG2 - STEPS_LOG2)) % STEPS as u64;
    (above as usize * STEPS + usize::try_from(step).unwrap_or(0)).min(BUCKETS - 1)
}

/// Nanoseconds below which the times of a bucket are; of the last, but for those beyond two minutes.
fn limit(bucket: usize) -> u64 {
    let (doubling, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step + 1) as u64) << (doubling + (LEAST_LOG2 - STEPS_LOG2) as usize)
}

/// The limit of the first bucket up to which so many of a hundred are.
fn quantile(histogram: &[(u64, u64)], all: u64, percent: u64) -> u64 {
    let mut seen = 0;
    let reached = histogram.iter().find(|(_, count)| {
        seen += count;
        seen * 100 >= all * percent
    });
    reached.map_or(0, |(limit, _)| *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_below_the_limit_of_its_bucket_and_not_below_that_of_the_one_before() {
        let mut last = 0;
        let below = (18..=37).map(|log2| (1 << log2) - 1);
        for nanos in (0..200_000).chain(below).chain((18..37).map(|log2| 1 << log2)) {
            let bucket = bucket(nanos);
            assert!(nanos < limit(bucket), "{nanos}");
            assert!(bucket == 0 || nanos >= limit(bucket - 1), "{nanos}");
            if nanos > 1_024 {
                assert!(limit(bucket) <= nanos + nanos / 8 + 1, "{nanos}");
            }
            last = last.max(bucket);
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_times_within_an_eighth() {
        let meters = Meters::new("docs");
        assert_eq!(meters.searches(), SearchStats::default());
        for micros in 1..=1_000 {
            meters.searched(Duration::from_micros(micros));
        }
        meters.searched_batch(7);
        let found = meters.searches();
        assert_eq!((found.count, found.timed), (1_007, 1_000));
        assert_eq!((found.total_ns, found.max_ns), (500_500_000, 1_000_000));
        for (told, right) in
            [(found.p50_ns, 500_000), (found.p95_ns, 950_000), (found.p99_ns, 990_000)]
        {
            assert!((right..=right + right / 8).contains(&told), "{told} for {right}");
        }
        assert!(found.histogram.is_sorted());
        assert_eq!(found.histogram.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
    }

    #[test]
    fn one_slow_search_in_a_hundred_shows_in_no_percentile_but_the_last() {
        let meters = Meters::new("docs");
        for _ in 0..98 {
            meters.searched(Duration::from_micros(10));
        }
        meters.searched(Duration::from_secs(2));
        meters.searched(Duration::from_secs(3_600));
        let found = meters.searches();
        assert!(found.p50_ns == found.p95_ns && found.p95_ns < 12_000);
        assert!((2_000_000_000..2_250_000_000).contains(&found.p99_ns));
        assert_eq!((found.histogram.len(), found.max_ns), (3, 3_600_000_000_000));
    }

    #[test]
    fn what_is_longer_than_the_buckets_go_is_told_as_the_longest() {
        let meters = Meters::new("docs");
        meters.searched(Duration::from_secs(130));
        let last = limit(BUCKETS - 1);
        assert_eq!(meters.searches().p99_ns, last);
        for seconds in [140, 3_600] {
            meters.searched(Duration::from_secs(seconds));
        }
        let found = meters.searches();
        let longest = 3_600_000_000_000;
        assert_eq!((found.p50_ns, found.p99_ns, found.max_ns), (longest, longest, longest));
        assert_eq!(found.histogram, [(longest, 3)]);
    }
}
