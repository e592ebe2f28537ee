//! How far a walk goes for the recall that is asked for: read off what walks over the same graph
//! found when it was built, or a formula where that is not known.
//!
//! Curves are measured by [`quality`](super::quality) and kept in `STAT`. Bytes from a file are
//! believed as far as they make sense: any curve gives a breadth, and never fewer candidates than
//! hits are wanted.

use serde::{Deserialize, Serialize};

/// What a found share is counted in.
pub(crate) const WHOLE: u32 = 10_000;
/// What a slack is counted in.
pub(crate) const ONCE: u32 = 1_000;
/// A graph without the row that is searched for would have linked its neighbours past it: of what walks with
/// a slack that pass the row by miss, those for queries that were never rows missed 1/1.4 to 1/2.3. Of
/// inner products, which have no slack, no less was missed.
const PASSED_BY: f64 = 1.25;
/// Least share of hits that a curve is asked to miss.
const LEAST_MISS: f64 = 1e-4;
/// Most candidates that a recall asks for.
const MOST: f64 = 1_048_576.0;
/// Without a curve: candidates times the share that may be missed, for ten hits.
const UNKNOWN: f64 = 4.0;
/// A walk with a slack keeps so many times the candidates that it is expected to expand, and as it would for
/// so many hits at least.
const ROOM: usize = 4;
const ROOM_LEAST: usize = 100;
/// Behind the last point of a curve, the slack that is added for a share e times smaller.
const SLACK_BEYOND: f64 = 0.1;

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Breadth {
    /// Candidates that it keeps or, with a slack, expands on average.
    pub(crate) ef: usize,
    /// How many times as far as the hits it goes on.
    pub(crate) slack: Option<f32>,
}

impl Breadth {
    /// `ef` candidates for every query.
    pub(crate) fn fixed(ef: usize) -> Self {
        Self { ef, slack: None }
    }

    /// Candidates that are kept at most for `k` hits.
    pub(crate) fn most(self, k: usize) -> usize {
        match self.slack {
            Some(_) => self.ef.max(k).max(ROOM_LEAST).saturating_mul(ROOM),
            None => self.ef,
        }
    }
}

/// What walks for `k` hits found, by how far they went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) k: u32,
    /// Rows that were searched for, each passed by as if the graph did not have it.
    pub(crate) queries: u32,
    /// By ascending breadth.
    pub(crate) points: Vec<Point>,
}

/// What walks of one breadth found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Candidates that were kept or, with a slack, expanded on average.
    pub(crate) ef: u32,
    /// Thousandths of the distance of the hits up to which nodes were expanded; until all that was kept was,
    /// where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slack: Option<u32>,
    /// Of ten thousand true hits.
    pub(crate) found: u32,
    /// Standard error of `found`.
    pub(crate) error: u32,
}

/// A breadth in numbers to reckon with; the slack is 0 where there is none.
#[derive(Clone, Copy, Debug)]
struct Reckoned {
    ef: f64,
    slack: f64,
}

impl Reckoned {
    /// What lies between this and `other`, at a share of the way: candidates grow by factors.
    fn towards(self, other: Self, part: f64) -> Self {
        let part = part.clamp(0.0, 1.0);
        let ef = self.ef * (other.ef / self.ef).max(1.0).powf(part);
        Self { ef, slack: self.slack + (other.slack - self.slack).max(0.0) * part }
    }
}

impl Point {
    /// The share that is missed, as far as is known: with the error of what was found.
    fn miss(self) -> f64 {
        let (found, error) = (f64::from(WHOLE.min(self.found)), f64::from(WHOLE.min(self.error)));
        let passed_by = if self.slack.is_some() { PASSED_BY } else { 1.0 };
        let missed = (f64::from(WHOLE) - found) / passed_by + error;
        (missed / f64::from(WHOLE)).clamp(LEAST_MISS, 1.0)
    }

    fn reckoned(self) -> Reckoned {
        let slack = self.slack.map_or(0.0, |slack| f64::from(slack.max(ONCE)) / f64::from(ONCE));
        Reckoned { ef: f64::from(self.ef.max(1)), slack }
    }
}

impl Curve {
    /// The breadth at which at most the share `miss` is missed. Between two points the share falls by a power
    /// of the candidates and exponentially with the slack; behind the last as candidates grow, which is
    /// slower than over any graph.
    fn breadth(&self, miss: f64) -> Reckoned {
        let mut before: Option<(Reckoned, f64)> = None;
        for point in &self.points {
            let here = (point.reckoned(), point.miss());
            match before {
                _ if here.1 > miss => {}
                None => return here.0,
                Some((breadth, missed)) => {
                    let part = (missed / miss).ln() / (missed / here.1).ln();
                    return breadth.towards(here.0, part);
                }
            }
            if before.is_none_or(|(_, missed)| here.1 < missed) {
                before = Some(here);
            }
        }
        before.map_or(Reckoned { ef: MOST, slack: 0.0 }, |(Reckoned { ef, slack }, missed)| {
            let beyond = if slack > 0.0 { SLACK_BEYOND * (missed / miss).ln() } else { 0.0 };
            Reckoned { ef: ef * missed / miss, slack: slack + beyond }
        })
    }
}

/// Of a thousand true hits, how many walks for `k` of them found that kept or expanded `ef` candidates.
pub(crate) fn found(curves: &[Curve], k: u32, ef: u32) -> Option<u32> {
    let curve = curves.iter().find(|curve| curve.k == k)?;
    let after = curve.points.iter().position(|point| point.ef >= ef);
    let here = curve.points.get(after.unwrap_or(curve.points.len() - 1))?;
    let before = after.and_then(|at| curve.points.get(at.checked_sub(1)?)).unwrap_or(here);
    let (wide, far) =
        (here.ef.saturating_sub(before.ef), ef.min(here.ef).saturating_sub(before.ef));
    let more = u64::from(here.found.saturating_sub(before.found)) * u64::from(far);
    let more = more.checked_div(u64::from(wide)).unwrap_or(0);
    Some((before.found + u32::try_from(more).unwrap_or(0)) * 1000 / WHOLE)
}

/// How far a walk for `k` hits goes to find the share `recall` of them, where `factor` times less may be missed
/// than `curves` say, and for `k` candidates at least.
pub(crate) fn breadth(curves: &[Curve], k: usize, recall: f32, factor: f32) -> Breadth {
    // A walk that goes by more candidates misses less, at least in proportion.
    let miss = (1.0 - f64::from(recall)) / f64::from(factor);
    let miss = miss.clamp(LEAST_MISS / 10.0, 1.0);
    let wanted = f64::from(u32::try_from(k).unwrap_or(u32::MAX).max(1));
    let of = |curve: &Curve| (f64::from(curve.k.max(1)), curve.breadth(miss));
    let below = curves.iter().filter(|curve| f64::from(curve.k) <= wanted).max_by_key(|c| c.k);
    let above = curves.iter().filter(|curve| f64::from(curve.k) >= wanted).min_by_key(|c| c.k);
    let Reckoned { ef, slack } = match (below.map(of), above.map(of)) {
        (None, None) => {
            let tens = (wanted / 10.0).max(1.0);
            Reckoned { ef: (UNKNOWN / miss * tens.sqrt()).max(2.0 * wanted), slack: 0.0 }
        }
        // The nearest few are found more surely than the next.
        (None, Some((_, breadth))) => breadth,
        (Some((k, breadth)), None) => Reckoned { ef: breadth.ef * wanted / k, ..breadth },
        (Some((fewer, low)), Some((more, high))) if fewer < more => {
            let part = (wanted / fewer).ln() / (more / fewer).ln();
            // Farther hits are more alike: a slack says less of them.
            let slack = low.slack + (high.slack - low.slack) * part;
            Reckoned { slack, ..low.towards(high, part) }
        }
        (Some((_, breadth)), Some(_)) => breadth,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a million; NaN gives 0"
    )]
    let (ef, slack) = (ef.min(MOST).ceil() as usize, slack as f32);
    Breadth { ef: ef.max(k), slack: (slack > 0.0).then_some(slack.max(1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(k: u32, points: &[(u32, Option<u32>, u32, u32)]) -> Curve {
        let point = |&(ef, slack, found, error): &_| Point { ef, slack, found, error };
        Curve { k, queries: 256, points: points.iter().map(point).collect() }
    }

    /// What rows find where a curve takes it that other queries find `found`.
    fn seen(found: u32) -> u32 {
        WHOLE - (f64::from(WHOLE - found) * PASSED_BY) as u32
    }

    #[test]
    fn candidates_are_read_off_the_curve_on_its_sure_side() {
        let points = [(10, None, 7_000, 0), (40, None, 9_000, 0), (160, None, 9_900, 0)];
        let ten = curve(10, &points);
        let ef = |recall, k| breadth(std::slice::from_ref(&ten), k, recall, 1.0).ef;
        assert_eq!((ef(0.9, 10), ef(0.5, 10)), (40, 10));
        assert!((160..=161).contains(&ef(0.99, 10)), "0.99 is no f32");
        let between = ef(0.95, 10);
        assert!((41..160).contains(&between), "{between}");
        assert!((1_599..=1_601).contains(&ef(0.999, 10)), "a tenth is missed of the last point");
        assert_eq!((ef(0.9, 1), ef(0.9, 20)), (40, 80));
        let unsure = curve(10, &points.map(|(ef, slack, found, _)| (ef, slack, found, 100)));
        assert!(breadth(&[unsure], 10, 0.9, 1.0).ef > 40);
        assert!(breadth(&[ten], 10, 0.9, 1.5).ef > 40);
    }

    #[test]
    fn a_slack_is_read_off_between_points_and_grows_behind_the_last() {
        let points = [(20, Some(1_000), seen(8_000), 0), (80, Some(1_200), seen(9_800), 0)];
        let ten = [curve(10, &points)];
        let slack = |recall| breadth(&ten, 10, recall, 1.0).slack.expect("a slack");
        assert!((slack(0.8) - 1.0).abs() < 1e-3 && (slack(0.98) - 1.2).abs() < 1e-3);
        assert!(slack(0.9) > 1.0 && slack(0.9) < slack(0.95) && slack(0.95) < 1.2);
        assert!(slack(0.99) > 1.2);
        let last = breadth(&ten, 10, 0.98, 1.0);
        assert!((80..=81).contains(&last.ef) && last.most(10) == 400, "{last:?}");
    }

    #[test]
    fn more_recall_or_more_hits_never_ask_for_less() {
        let ten =
            curve(10, &[(10, None, 7_000, 90), (16, None, 6_900, 95), (160, None, 9_900, 10)]);
        let hundred = curve(100, &[(100, None, 9_100, 60), (200, None, 9_700, 30)]);
        let near = [(14, Some(1_000), 7_000, 90), (90, Some(1_200), 9_700, 50)];
        let near = [curve(10, &near), curve(100, &[(150, Some(1_050), 9_700, 50)])];
        for curves in [&[][..], std::slice::from_ref(&ten), &[ten.clone(), hundred], &near] {
            let mut before = Breadth::fixed(10);
            for step in 1..=1_000_u16 {
                let now = breadth(curves, 10, f32::from(step) / 1_000.0, 1.0);
                assert!(now.ef >= before.ef && now.slack >= before.slack, "{now:?} at {step}");
                before = now;
            }
            let mut before = 0;
            for k in [1, 9, 10, 11, 50, 99, 100, 101, 1_000, usize::MAX] {
                let Breadth { ef, .. } = breadth(curves, k, 0.95, 1.0);
                assert!(ef >= before.max(k), "{ef} candidates for {k} hits");
                before = ef;
            }
        }
    }

    #[test]
    fn a_damaged_curve_still_gives_a_breadth() {
        let wild = u32::MAX;
        let last = (0, Some(0), wild, 0);
        for points in [&[][..], &[(0, None, 0, 0)], &[(wild, Some(wild), wild, wild), last]] {
            for k in [0, 10, wild] {
                for recall in [f32::MIN_POSITIVE, 0.5, 1.0] {
                    let Breadth { ef, slack } = breadth(&[curve(k, points)], 10, recall, 1.0);
                    assert!((10..=1 << 20).contains(&ef), "{ef} of {points:?}");
                    assert!(slack.is_none_or(|slack| slack >= 1.0), "{slack:?} of {points:?}");
                }
            }
        }
    }

    #[test]
    fn the_share_found_with_some_candidates_is_read_between_points() {
        let curves = [curve(10, &[(32, Some(1_020), 9_000, 0), (96, Some(1_100), 9_800, 0)])];
        assert_eq!(found(&curves, 10, 64), Some(940));
        assert_eq!((found(&curves, 10, 10), found(&curves, 10, 500)), (Some(900), Some(980)));
        assert_eq!(found(&curves, 100, 64), None);
    }
}
