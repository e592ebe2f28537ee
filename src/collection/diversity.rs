//! Hits that are unlike each other: maximal marginal relevance.
//!
//! J. Carbonell, J. Goldstein: The use of MMR, diversity-based reranking for reordering documents and
//! producing summaries. SIGIR 1998.

use super::snapshot::{Found, View};
use crate::bytes::{AlignedBytes, Guarded};
use crate::codec::full::{self, Rows};
use crate::error::{Error, Result};
use crate::segment::search::Isa;
use crate::types::Row;
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
/// far as `end`.
pub(super) fn reorder(
    items: &mut [Vec<Found>],
    mmr: Mmr,
    end: usize,
    view: &View,
    isa: Isa,
) -> Result<()> {
    let many = mmr.candidates.min(items.len());
    let candidates = &mut items[..many];
    candidates.sort_by(|a, b| super::shape::order(&a[0], &b[0]));
    let picks = {
        let hits: Vec<&Found> = candidates.iter().map(|item| &item[0]).collect();
        picks(&hits, mmr.lambda, end.min(many), view, isa)?
    };
    let mut picked: Vec<Vec<Found>> =
        picks.iter().map(|index| std::mem::take(&mut candidates[*index])).collect();
    picked.extend(candidates.iter_mut().filter(|item| !item.is_empty()).map(std::mem::take));
    candidates.iter_mut().zip(picked).for_each(|(place, item)| *place = item);
    Ok(())
}

/// The first `count` picks from `hits`, which come nearest first.
fn picks(hits: &[&Found], lambda: f32, count: usize, view: &View, isa: Isa) -> Result<Vec<usize>> {
    let space = view.schema.space();
    let places: Vec<_> = hits.iter().map(|hit| hit.place).collect();
    let vectors = view.vectors(&places)?;
    let (bytes, norms) = full::encode_rows_into(space, &vectors, hits.len(), AlignedBytes::zeroed)?;
    let rows = Rows {
        vectors: Guarded::trusted(bytes.as_slice()),
        inverse_norms: Guarded::trusted(norms.as_bytes()),
    };
    let all: Vec<Row> = (0..).take(hits.len()).collect();
    let mut distances = vec![0.0; hits.len()];
    // Of each hit the largest score between it and one that is picked.
    let mut likest = vec![f32::NEG_INFINITY; hits.len()];
    let mut left: Vec<usize> = (0..hits.len()).collect();
    let mut picks = Vec::with_capacity(count);
    while picks.len() < count {
        let value = |index: usize| {
            let score = space.metric.score(hits[index].distance);
            f64::from(lambda) * f64::from(score)
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
        for (likest, distance) in likest.iter_mut().zip(&distances) {
            *likest = likest.max(space.metric.score(*distance));
        }
    }
    Ok(picks)
}
