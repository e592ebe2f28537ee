//! Hits that are unlike each other: maximal marginal relevance.
//!
//! J. Carbonell, J. Goldstein: The use of MMR, diversity-based reranking for reordering documents and
//! producing summaries. SIGIR 1998.

use super::ranking::Ranked;
use super::snapshot::{Found, Place, View};
use crate::bytes::{AlignedBytes, Guarded};
use crate::codec::full::{self, Rows};
use crate::error::{Error, Result};
use crate::segment::search::Isa;
use crate::types::{Metric, Row};
use zerocopy::IntoBytes;

/// Candidates for each hit, unless it is said how many.
const CANDIDATES_PER_HIT: usize = 4;
/// Candidates at least, unless it is said how many; and at most: each is compared with each hit.
const LEAST: usize = 20;
const MOST: usize = 4_096;

/// How hits are diversified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mmr {
    lambda: f32,
    pub(super) candidates: usize,
}

impl Mmr {
    pub(super) fn new(lambda: f32, candidates: Option<usize>, k: usize) -> Self {
        let usual = || k.saturating_mul(CANDIDATES_PER_HIT).clamp(LEAST, MOST);
        Self { lambda, candidates: candidates.unwrap_or_else(usual) }
    }
}

/// Refuses what has no meaning.
pub(super) fn check(lambda: Option<f32>, candidates: Option<usize>) -> Result<()> {
    if let Some(lambda) = lambda.filter(|lambda| !(0.0..=1.0).contains(lambda)) {
        return Err(Error::invalid(format!(
            "mmr is {lambda}, expected 0 (unlike each other) to 1 (near to the query)"
        )));
    }
    match candidates {
        Some(candidates) if !(1..=MOST).contains(&candidates) => {
            Err(Error::invalid(format!("mmr_candidates is {candidates}, expected 1 to {MOST}")))
        }
        Some(_) if lambda.is_none() => {
            Err(Error::invalid("mmr_candidates is given without mmr; give mmr as well"))
        }
        _ => Ok(()),
    }
}

/// Puts the candidates, which are the first of `items`, in the order in which they are picked, as
/// far as `end`. Distances that are `foreign` are of other things than the vectors: then scores and the
/// likeness of hits are both made 0 to 1.
pub(super) fn reorder(
    items: &mut [Vec<Found>],
    mmr: Mmr,
    end: usize,
    foreign: bool,
    (view, isa): (&View, Isa),
) -> Result<()> {
    let many = mmr.candidates.min(items.len());
    let candidates = &mut items[..many];
    candidates.sort_by(|a, b| super::shape::order(&a[0], &b[0]));
    let metric = if foreign { Metric::Dot } else { view.schema.space().metric };
    let places: Vec<Place> = candidates.iter().map(|item| item[0].place).collect();
    let mut scores: Vec<f32> =
        candidates.iter().map(|item| metric.score(item[0].distance)).collect();
    if foreign {
        scale(&mut scores);
    }
    let picks = picks((&places, &scores), mmr.lambda, end.min(many), foreign, (view, isa))?;
    rearrange(candidates, &picks);
    Ok(())
}

/// The same of a list by scores of any scale, best first: those and the likeness of hits are both made
/// 0 to 1.
pub(super) fn reorder_ranked(
    items: &mut [Vec<Ranked>],
    mmr: Mmr,
    end: usize,
    view: &View,
    isa: Isa,
) -> Result<()> {
    let many = mmr.candidates.min(items.len());
    let candidates = &mut items[..many];
    let places: Vec<Place> = candidates.iter().map(|item| item[0].place).collect();
    let mut scores: Vec<f32> = candidates.iter().map(|item| item[0].score).collect();
    scale(&mut scores);
    let picks = picks((&places, &scores), mmr.lambda, end.min(many), true, (view, isa))?;
    rearrange(candidates, &picks);
    Ok(())
}

/// Puts those that are picked first.
fn rearrange<T>(candidates: &mut [Vec<T>], picks: &[usize]) {
    let mut picked: Vec<Vec<T>> =
        picks.iter().map(|index| std::mem::take(&mut candidates[*index])).collect();
    picked.extend(candidates.iter_mut().filter(|item| !item.is_empty()).map(std::mem::take));
    candidates.iter_mut().zip(picked).for_each(|(place, item)| *place = item);
}

/// Scores from 0, the least, to 1; equal ones are 1.
fn scale(scores: &mut [f32]) {
    let finite = || scores.iter().copied().filter(|score| score.is_finite());
    let least = finite().fold(f32::INFINITY, f32::min);
    let by = finite().fold(f32::NEG_INFINITY, f32::max) - least;
    for score in scores {
        *score = if by > 0.0 { ((*score - least) / by).clamp(0.0, 1.0) } else { 1.0 };
    }
}

/// The first `count` picks from the hits at `places`, which come best first. With `scaled` the likeness
/// of hits goes from 0, as the first and what is most unlike it, to 1.
fn picks(
    (places, relevance): (&[Place], &[f32]),
    lambda: f32,
    count: usize,
    scaled: bool,
    (view, isa): (&View, Isa),
) -> Result<Vec<usize>> {
    let space = view.schema.space();
    let vectors = view.vectors(places)?;
    let (bytes, norms) =
        full::encode_rows_into(space, &vectors, places.len(), AlignedBytes::zeroed)?;
    let rows = Rows {
        vectors: Guarded::trusted(bytes.as_slice()),
        inverse_norms: Guarded::trusted(norms.as_bytes()),
    };
    let all: Vec<Row> = (0..).take(places.len()).collect();
    let mut distances = vec![0.0; places.len()];
    // Of each hit the largest score between it and one that is picked.
    let mut likest = vec![f32::NEG_INFINITY; places.len()];
    let mut left: Vec<usize> = (0..places.len()).collect();
    let mut picks = Vec::with_capacity(count);
    // The least score beside the first pick, and how far they go from there.
    let mut range = (0.0, 0.0);
    while picks.len() < count {
        let value = |index: usize| {
            f64::from(lambda) * f64::from(relevance[index])
                - (1.0 - f64::from(lambda)) * f64::from(likest[index])
        };
        // The nearest is the first; of equal ones the nearer.
        let mut best = 0;
        for at in 1..left.len() {
            if !picks.is_empty() && value(left[at]) > value(left[best]) {
                best = at;
            }
        }
        if left.is_empty() {
            break;
        }
        let pick = left.remove(best);
        picks.push(pick);
        let elements = space.elements();
        let Some(vector) = vectors.get(pick * elements..(pick + 1) * elements) else { break };
        for query in full::prepare_query(space, &vector)? {
            full::score_rows(isa, &query, rows, &all, &mut distances);
        }
        let scores = || distances.iter().map(|distance| space.metric.score(*distance));
        if scaled && picks.len() == 1 {
            let least = scores().filter(|score| score.is_finite()).fold(f32::INFINITY, f32::min);
            let by = scores().filter(|score| score.is_finite()).fold(f32::NEG_INFINITY, f32::max);
            range = (least, by - least);
        }
        let (least, by) = range;
        for (likest, score) in likest.iter_mut().zip(scores()) {
            let score = match scaled {
                false => score,
                true if by > 0.0 => ((score - least) / by).clamp(0.0, 1.0),
                true => 1.0,
            };
            *likest = likest.max(score);
        }
    }
    Ok(picks)
}
