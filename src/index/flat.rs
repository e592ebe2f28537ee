//! The exact scan: every row is scored, at the speed of memory.

use std::ops::Range;

use crate::bytes::Guard;
use crate::codec::full::{Query, Rows, with_scorer};
use crate::codec::{Scorer, ScorerOp};
use crate::filter::rowset::RowSet;
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows scored before their distances are looked at.
const BLOCK: usize = 64;

/// Offers `top` every row of `range` that is not in `dead`. Rows behind the last are left out.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    rows: Rows<'_, G>,
    range: Range<Row>,
    dead: &RowSet,
    top: &mut TopK<'_>,
) {
    with_scorer(isa, query, rows, Scan { range, dead, top });
}

struct Scan<'a, 'b> {
    range: Range<Row>,
    dead: &'a RowSet,
    top: &'a mut TopK<'b>,
}

impl ScorerOp for Scan<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let end = scorer.rows().min(self.range.end as usize);
        let mut distances = [0.0_f32; BLOCK];
        let mut first = self.range.start as usize;
        while first < end {
            let len = BLOCK.min(end - first);
            #[expect(clippy::cast_possible_truncation, reason = "below the end of a row range")]
            let first_row = first as Row;
            let distances = &mut distances[..len];
            scorer.score_run(first_row, distances);
            offer(self.top, distances, |index| first_row + index, self.dead);
            first += len;
        }
    }
}

/// Offers a block. Nearly always nothing in it is close enough, which one pass over the distances
/// tells.
#[inline(always)]
fn offer(top: &mut TopK<'_>, distances: &[f32], row: impl Fn(Row) -> Row, dead: &RowSet) {
    let bound = top.bound();
    let any = distances.iter().fold(false, |any, &distance| any | (distance <= bound));
    if !any {
        return;
    }
    for (index, &distance) in (0..).zip(distances) {
        if distance <= top.bound() && !dead.contains(row(index)) {
            top.offer(distance, row(index));
        }
    }
}
