//! Recall: which share of the true nearest rows a search finds.

use std::path::Path;
use std::time::{Duration, Instant};

use nearfield::interop::{self, ReadOptions};
use nearfield::{Collection, Hits, Id, Vectors};

use super::failure::Failure;

/// The true nearest rows of each query, of a file with a column `ids` of lists.
pub(crate) fn truth(path: &Path) -> Result<Vec<Vec<Id>>, Failure> {
    let options = ReadOptions::default().row_numbers().vector("ids").columns(Vec::<String>::new());
    let reader = interop::read(path, &options)?;
    let Some(width) = reader.dimension() else { return Ok(Vec::new()) };
    let mut lists = Vec::new();
    for batch in reader {
        if let Vectors::F32(ids) = batch?.vectors {
            lists.extend(ids.chunks(width).map(|list| list.iter().copied().map(row_id).collect()));
        }
    }
    Ok(lists)
}

/// An id out of a list of numbers, which are whole and far below 2^24.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small whole numbers in a file that ships with this program"
)]
fn row_id(number: f32) -> Id {
    Id::U64(number as u64)
}

/// How well and how fast a collection answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) recall: f64,
    /// Of one query, on one thread.
    pub(crate) latency: Duration,
}

/// Searches for the neighbours of all queries, one after the other.
pub(crate) fn measure(
    collection: &Collection,
    vectors: &Vectors<'_>,
    truth: &[Vec<Id>],
    exact: bool,
) -> Result<Measured, Failure> {
    let width = collection.schema()?.row_elements();
    let mut recall = 0.0;
    let start = Instant::now();
    for (query, nearest) in truth.iter().enumerate() {
        let Some(vector) = vectors.get(query * width..(query + 1) * width) else { break };
        let hits = collection.search(vector).k(nearest.len()).exact(exact).run()?;
        recall += share(&hits, nearest);
    }
    let queries = u32::try_from(truth.len()).unwrap_or(u32::MAX).max(1);
    Ok(Measured { recall: recall / f64::from(queries), latency: start.elapsed() / queries })
}

/// The share of `nearest` that was found.
fn share(hits: &Hits, nearest: &[Id]) -> f64 {
    let found = hits.iter().filter(|hit| nearest.contains(&hit.id)).count();
    found as f64 / nearest.len().max(1) as f64
}
