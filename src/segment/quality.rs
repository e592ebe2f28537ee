//! How good a graph is that was just built: searches for rows of a sample, beside comparing all.

use crate::bytes::Guard;
use crate::codec::full::{self, Query, Space};
use crate::filter::rowset::RowSet;
use crate::index::flat;
use crate::index::nearest::{Effort, Indexed, nearest};
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows searched for, so many together, and the hits wanted of each.
const QUERIES: usize = 32;
const TOGETHER: usize = 16;
const K: usize = 10;
/// Candidates that a search keeps, as by default.
const EF: usize = 64;

/// Of a thousand of the [`K`] rows nearest to some rows, how many searches with the default effort
/// find. `None` when `keep_going` says no.
pub(super) fn sampled_recall<G: Guard>(
    isa: Isa,
    space: Space,
    indexed: Indexed<'_, G>,
    count: usize,
    keep_going: &dyn Fn() -> bool,
) -> Option<u32> {
    let all = Row::try_from(count).unwrap_or(Row::MAX);
    let askers: Vec<Row> = (0..all).step_by(count.div_ceil(QUERIES).max(1)).collect();
    let before = |a: Row, b: Row| a < b;
    let (mut wanted, mut found) = (0, 0);
    for askers in askers.chunks(TOGETHER) {
        if !keep_going() {
            return None;
        }
        let query = |asker: &Row| {
            let row = indexed.rows.vectors.get(*asker as usize * space.stride(), space.stride());
            let values = full::unpack_rows(space, &[row]);
            Query::new(space, &values.to_f32(0..space.elements()))
        };
        let queries: Vec<Query> = askers.iter().map(query).collect();
        // A row is always nearest to itself, and is no achievement.
        let top = |_: &Query| TopK::new(K + 1, f32::INFINITY, count, &before);
        let mut exact: Vec<_> = queries.iter().map(top).collect();
        let asked: Vec<&Query> = queries.iter().collect();
        let none = RowSet::default();
        flat::scan_all(isa, &asked, indexed.rows, count, &none, &mut exact);
        for ((query, exact), asker) in queries.iter().zip(exact).zip(askers) {
            let mut walked = top(query);
            nearest(isa, query, indexed, Effort::of(EF), &none, &mut walked);
            let mut exact = exact.into_sorted();
            exact.retain(|near| near.row != *asker);
            exact.truncate(K);
            let Some(worst) = exact.last().map(|last| last.distance) else { continue };
            wanted += exact.len();
            let walked = walked.into_sorted();
            let near = walked.iter().filter(|near| near.row != *asker && near.distance <= worst);
            found += near.count().min(exact.len());
        }
    }
    // A single row has no others to be missed.
    let recall = (found * 1000).checked_div(wanted).unwrap_or(1000);
    u32::try_from(recall).ok()
}
