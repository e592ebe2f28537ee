//! Hits in an order: by distance, by score, by several orders made one, or by a function of the caller.
//!
//! An order is a list of rows, best first, each with a score of which bigger is better. Any number of
//! lists is made one: a row counts in each list that has it. Ties go to the smaller id, always.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::explain::SearchList;
use super::query::Hits;
use super::snapshot::{Found, Place};
use crate::error::{Error, Result};
use crate::types::{Id, Metric};

/// A row with its place in an order.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) score: f32,
    /// `None` while it is not known.
    pub(crate) distance: Option<f32>,
    /// Where it stands in the lists that one order was made of.
    pub(crate) ranks: Vec<ListRank>,
}

/// Where a hit stands in one of the lists of its search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ListRank {
    /// The list.
    pub list: SearchList,
    /// Its place in it, from 1 on.
    pub rank: usize,
    /// Its score there, before scores are made comparable: bigger is better.
    pub score: f32,
}

impl ListRank {
    /// A place in a list, for those who keep answers elsewhere and bring them back.
    #[must_use]
    pub fn new(list: SearchList, rank: usize, score: f32) -> Self {
        Self { list, rank, score }
    }
}

impl Ranked {
    /// A row found by its distance.
    pub(crate) fn near(found: Found, metric: Metric) -> Self {
        let Found { distance, id, place } = found;
        Self {
            id,
            place,
            score: metric.score(distance),
            distance: Some(distance),
            ranks: Vec::new(),
        }
    }
}

/// Descending scores, equal ones by ascending id.
pub(crate) fn by_score(a: &Ranked, b: &Ranked) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id))
}

/// How a search by vector and one by words become one order.
///
/// Each gives its best rows ([`Query::candidates`](crate::Query::candidates)), best first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fusion {
    /// The sum of `1 / (k + rank)` over the lists that have the row; ranks begin with 1. Needs no
    /// tuning, since it does not look at scores (Cormack, Clarke and Büttcher, 2009).
    ReciprocalRank {
        /// The larger, the less the first ranks stand out.
        k: f32,
    },
    /// `alpha · v + (1 − alpha) · w`, where v and w are the row's scores in the lists, made comparable.
    /// A row that a list lacks gets there what [`Normalize`] says. With more than two lists, those
    /// behind the first share `1 − alpha` equally: words, then sparse vectors in the order in which they
    /// were given.
    Weighted {
        /// Share of the first list, that of the vector where there is one; 0 to 1.
        alpha: f32,
        /// How scores are made comparable.
        normalize: Normalize,
    },
}

/// How the scores of a list are made comparable to those of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Normalize {
    /// `(score − least) / (most − least)` over the list: 0 to 1. 1 when all are equal, 0 for a row that
    /// is not in it.
    #[default]
    MinMax,
    /// `(score − mean) / deviation` over the list. 0 when all are equal. A row that is not in it gets what
    /// its last row has, or −1 if that is more.
    ZScore,
}

impl Default for Fusion {
    /// Reciprocal ranks with k = 60.
    fn default() -> Self {
        Self::ReciprocalRank { k: 60.0 }
    }
}

impl Fusion {
    /// Weighted scores between the least and the most of each list.
    #[must_use]
    pub fn weighted(alpha: f32) -> Self {
        Self::Weighted { alpha, normalize: Normalize::MinMax }
    }

    pub(crate) fn validate(self) -> Result<()> {
        match self {
            Self::ReciprocalRank { k } if !(k.is_finite() && k >= 0.0) => {
                Err(Error::invalid(format!("k of reciprocal ranks is {k}, expected 0 or more")))
            }
            Self::Weighted { alpha, .. } if !(0.0..=1.0).contains(&alpha) => {
                Err(Error::invalid(format!("alpha is {alpha}, expected 0 to 1")))
            }
            _ => Ok(()),
        }
    }

    /// What each of the lists counts.
    pub(crate) fn shares(self, lists: usize) -> Vec<f32> {
        match self {
            Self::ReciprocalRank { .. } => vec![1.0; lists],
            Self::Weighted { alpha, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "lists are few")]
                let other = (1.0 - alpha) / lists.saturating_sub(1).max(1) as f32;
                (0..lists).map(|list| if list == 0 { alpha } else { other }).collect()
            }
        }
    }
}

/// One order of several, each with what it counts.
pub(crate) fn fuse(lists: Vec<(f32, (SearchList, Vec<Ranked>))>, fusion: Fusion) -> Vec<Ranked> {
    let absent: Vec<f32> = lists
        .iter()
        .map(|(share, (_, list))| match fusion {
            Fusion::ReciprocalRank { .. } => 0.0,
            Fusion::Weighted { normalize: Normalize::MinMax, .. } => 0.0,
            Fusion::Weighted { normalize, .. } => {
                share * normalized(list, normalize).last().copied().unwrap_or(0.0).min(-1.0)
            }
        })
        .collect();
    let nothing: f32 = absent.iter().sum();
    let mut rows: HashMap<Place, usize> = HashMap::new();
    let mut fused: Vec<Ranked> = Vec::new();
    for ((share, (name, list)), absent) in lists.into_iter().zip(absent) {
        let values = match fusion {
            Fusion::ReciprocalRank { k } => {
                #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
                let value = |rank: usize| 1.0 / (k + rank as f32);
                (1..=list.len()).map(value).collect()
            }
            Fusion::Weighted { normalize, .. } => normalized(&list, normalize),
        };
        for ((rank, mut ranked), value) in (1..).zip(list).zip(values) {
            let score = ranked.score;
            let at = *rows.entry(ranked.place).or_insert_with(|| {
                ranked.score = nothing;
                fused.push(ranked.clone());
                fused.len() - 1
            });
            fused[at].score += share * value - absent;
            fused[at].distance = fused[at].distance.or(ranked.distance);
            fused[at].ranks.push(ListRank { list: name.clone(), rank, score });
        }
    }
    fused.sort_by(by_score);
    fused
}

fn normalized(list: &[Ranked], normalize: Normalize) -> Vec<f32> {
    // A distance may have overflowed: then it is as bad as the worst that has not.
    let finite = || list.iter().map(|ranked| f64::from(ranked.score)).filter(|s| s.is_finite());
    let least = finite().fold(f64::INFINITY, f64::min).min(f64::from(f32::MAX));
    let most = finite().fold(f64::NEG_INFINITY, f64::max).max(least);
    let scores = || list.iter().map(|ranked| f64::from(ranked.score).clamp(least, most));
    #[expect(clippy::cast_precision_loss, reason = "lists are short")]
    let count = (list.len() as f64).max(1.0);
    let (from, by, equal) = match normalize {
        Normalize::MinMax => (least, most - least, 1.0),
        Normalize::ZScore => {
            let mean = scores().sum::<f64>() / count;
            let square = scores().map(|score| (score - mean).powi(2)).sum::<f64>();
            (mean, (square / count).sqrt(), 0.0)
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    let value = |score: f64| if by > 0.0 { ((score - from) / by) as f32 } else { equal };
    scores().map(value).collect()
}

/// What a function that ranks may fail with.
type Failure = Box<dyn StdError + Send + Sync>;
type Hook<'a> = dyn Fn(&Hits) -> Result<Vec<f32>, Failure> + Send + Sync + 'a;

/// A function of the caller that gives candidates their scores, and how many it is given.
#[derive(Clone)]
pub(crate) struct Rerank<'a> {
    pub(crate) candidates: usize,
    hook: Arc<Hook<'a>>,
}

impl fmt::Debug for Rerank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rerank({})", self.candidates)
    }
}

impl<'a> Rerank<'a> {
    pub(crate) fn new(
        candidates: usize,
        hook: impl Fn(&Hits) -> Result<Vec<f32>, Failure> + Send + Sync + 'a,
    ) -> Self {
        Self { candidates, hook: Arc::new(hook) }
    }

    /// The candidates in the order of the function's scores.
    pub(crate) fn order(&self, hits: &Hits, mut ranked: Vec<Ranked>) -> Result<Vec<Ranked>> {
        if ranked.is_empty() {
            return Ok(ranked);
        }
        let scores = (self.hook)(hits).map_err(|source| Error::Rerank { source })?;
        if scores.len() != ranked.len() {
            return Err(Error::invalid(format!(
                "the function that ranks gave {} scores for {} candidates; give one for each",
                scores.len(),
                ranked.len()
            )));
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            let id = &ranked[at].id;
            return Err(Error::invalid(format!("the function that ranks gave NaN for id {id}")));
        }
        for (ranked, score) in ranked.iter_mut().zip(scores) {
            ranked.score = score;
        }
        ranked.sort_by(by_score);
        Ok(ranked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scores: &[(u64, f32)]) -> Vec<Ranked> {
        let ranked = |&(id, score): &(u64, f32)| Ranked {
            id: id.into(),
            place: Place { part: 0, row: u32::try_from(id).unwrap() },
            score,
            distance: None,
            ranks: Vec::new(),
        };
        scores.iter().map(ranked).collect()
    }

    fn fused(lists: &[(f32, &[(u64, f32)])], fusion: Fusion) -> Vec<(u64, f32)> {
        let lists = lists
            .iter()
            .map(|(share, scores)| (*share, (SearchList::Words, list(scores))))
            .collect();
        let number = |id: &Id| match id {
            Id::U64(id) => *id,
            Id::Utf8(_) => 0,
        };
        fuse(lists, fusion).iter().map(|ranked| (number(&ranked.id), ranked.score)).collect()
    }

    #[test]
    fn ranks_count_by_their_reciprocals_in_any_number_of_lists() {
        let a: &[_] = &[(1, 9.0), (2, 8.0), (3, 7.0)];
        let b: &[_] = &[(3, 0.5), (4, 0.4)];
        let found = fused(&[(1.0, a), (1.0, b), (1.0, &[])], Fusion::default());
        let score = |ranks: &[f32]| ranks.iter().map(|rank| 1.0 / (60.0 + rank)).sum::<f32>();
        let expected =
            [(3, score(&[3.0, 1.0])), (1, score(&[1.0])), (2, score(&[2.0])), (4, score(&[2.0]))];
        assert_eq!(found.len(), 4);
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-7, "{found:?}");
        }
        let c: &[_] = &[(4, 1.0), (1, 0.0)];
        let three = fused(&[(1.0, a), (1.0, b), (1.0, c)], Fusion::ReciprocalRank { k: 0.0 });
        assert_eq!(three.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 4, 3, 2]);
    }

    #[test]
    fn weighted_scores_are_those_of_the_formula() {
        let v: &[_] = &[(1, 0.9), (2, 0.7), (3, 0.5)];
        let w: &[_] = &[(3, 12.0), (1, 2.0)];
        let found = fused(&[(0.25, v), (0.75, w)], Fusion::weighted(0.25));
        let expected = [(3, 0.75), (1, 0.25), (2, 0.125)];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-6, "{found:?}");
        }
        let z = Fusion::Weighted { alpha: 0.5, normalize: Normalize::ZScore };
        let found = fused(&[(0.5, v), (0.5, w)], z);
        // v: mean 0.7, deviation 0.1633; w: mean 7, deviation 5. Row 2 gets the last of w.
        let expected = [(1, 0.5 * 1.2247 - 0.5), (3, 0.5 - 0.5 * 1.2247), (2, -0.5)];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-3, "{found:?}");
        }
        let equal = fused(&[(0.5, &[(1, 2.0), (2, 2.0)]), (0.5, &[])], Fusion::weighted(0.5));
        assert_eq!(equal, [(1, 0.5), (2, 0.5)]);
        // One row found by words stands out from those that are not.
        let found = fused(&[(0.5, v), (0.5, &[(3, 7.0)])], Fusion::weighted(0.5));
        assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 3, 2]);
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for fusion in [
            Fusion::weighted(-0.1),
            Fusion::weighted(f32::NAN),
            Fusion::ReciprocalRank { k: -1.0 },
            Fusion::ReciprocalRank { k: f32::INFINITY },
        ] {
            assert!(fusion.validate().is_err(), "{fusion:?}");
        }
    }
}
