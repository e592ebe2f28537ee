//! Which of the near nodes become links: the near ones that lie in different directions.
//!
//! Source: algorithm 4 of the paper. A candidate is kept if it is nearer to the owner than to every
//! node kept before it, so that a list spreads instead of gathering on one side.

use crate::codec::{Pairs, Scorer};
use crate::index::hnsw::graph::MAX_CAP;
use crate::index::hnsw::walk::Links;

/// A candidate for a list, or a member: a node and its distance from the list's owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) distance: f32,
    pub(super) node: u32,
}

/// Distances looked at before a candidate may be dropped.
const STEP: usize = 4;

/// Chooses at most `max` (no more than [`MAX_CAP`]) of `candidates`, which ascend by distance.
///
/// Copies of the owner take at most half of a list: any number of them would pass the rule, and the
/// owner would know nothing else.
#[inline(always)]
pub(super) fn select<P: Pairs, L: Links>(
    pairs: P,
    links: &L,
    candidates: &[Link],
    max: usize,
    out: &mut Vec<Link>,
) {
    out.clear();
    if candidates.len() <= max {
        out.extend_from_slice(candidates);
        return;
    }
    let mut kept_rows = [0; MAX_CAP];
    let mut distances = [0.0_f32; STEP];
    let mut copies = 0;
    for candidate in candidates {
        if out.len() == max {
            return;
        }
        let is_copy = candidate.distance == 0.0;
        if is_copy && copies == max / 2 {
            continue;
        }
        let row = links.row(candidate.node);
        let scorer = pairs.scorer(row);
        let mut spreads = true;
        for rows in kept_rows[..out.len()].chunks(STEP) {
            scorer.score_batch(rows, &mut distances);
            for distance in &distances[..rows.len()] {
                spreads &= *distance >= candidate.distance;
            }
            if !spreads {
                break;
            }
        }
        if spreads {
            kept_rows[out.len()] = row;
            copies += usize::from(is_copy);
            out.push(*candidate);
        }
    }
}
