//! Search of a column of sparse vectors, over all parts of a view.

use std::sync::Arc;
use std::time::Instant;

use super::asked::Asked;
use super::explain::{SearchList, Trace};
use super::query::Query;
use super::snapshot::{Found, PartView, Place, SearchParams, View};
use super::{Collection, Snapshot};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::search::SearchStats;
use crate::segment::sparse::SparseAsk;
use crate::types::{Column, DataType, SparseVector};

impl View {
    /// The column `name`, which must hold sparse vectors.
    pub(super) fn sparse_column(&self, name: &str) -> Result<&Column> {
        let column = self.schema.find(name)?;
        if column.data_type == DataType::Sparse {
            return Ok(column);
        }
        Err(Error::SchemaMismatch {
            what: format!("column {name:?}, to search by sparse vectors"),
            expected: DataType::Sparse.to_string(),
            given: column.data_type.to_string(),
        })
    }

    /// The `k` live rows of the largest scores, by (distance, id); as [`search`](Self::search).
    pub(super) fn search_sparse(
        &self,
        column: &Column,
        query: &SparseVector,
        params: &SearchParams,
        hidden: Option<&[RowSet]>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Found>> {
        let mut stats = SearchStats::default();
        let mut parts: Vec<(usize, &Arc<PartView>)> = self.parts().enumerate().collect();
        parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.part.len()));
        let mut ask = SparseAsk { column, query, k: params.k, max_distance: params.max_distance };
        let mut found: Vec<Found> = Vec::new();
        for (index, part) in parts {
            let hidden_here = hidden.and_then(|hidden| hidden.get(index)).unwrap_or(&part.dead);
            let left = part.part.len() - hidden_here.len();
            if left == 0 {
                continue;
            }
            let (start, before) = (Instant::now(), stats);
            let candidates = part.part.search_sparse(&ask, hidden_here, &part.patch, &mut stats)?;
            if let Some(traces) = &mut traces {
                traces.push(Trace {
                    list: SearchList::Sparse(column.name.clone()),
                    part: index,
                    matching: hidden.map(|_| left),
                    stats: stats.since(&before),
                    candidates: candidates.len(),
                    time: start.elapsed(),
                    words: None,
                });
            }
            for candidate in candidates {
                let (row, distance) = (candidate.row, candidate.distance);
                let id = part.part.id(row)?;
                found.push(Found { distance, id, place: Place { part: index, row } });
            }
            found.sort_by(super::shape::order);
            found.truncate(params.k);
            if let Some(worst) = params.k.checked_sub(1).and_then(|last| found.get(last)) {
                ask.max_distance = ask.max_distance.min(worst.distance);
            }
        }
        Ok(found)
    }
}

impl Snapshot {
    /// As [`Collection::search_sparse`].
    pub fn search_sparse<'a>(
        &self,
        column: impl Into<String>,
        query: &'a (impl AsRef<[SparseVector]> + ?Sized),
    ) -> Query<'a> {
        let checked = self.host.check().map(|()| self.clone());
        Query::new(checked, Asked::Sparse(column.into(), query.as_ref()))
    }
}

impl Collection {
    /// Begins a search for the rows whose sparse vectors in `column` have the largest inner product with
    /// that of `query` (`&vector` for [`Query::run`], a slice of any number for [`Query::run_batch`]).
    ///
    /// The product is a hit's score, its negation the distance, and hits are exact always: `ef` and
    /// `exact` change nothing, and `recall` is refused. Found are rows that have an index in common with the query, whatever the
    /// sign of their score, so that fewer than `k` may be. Filters, pages and groups are as for vectors;
    /// [`Query::mmr`] compares the rows' vectors, not their sparse ones.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// use nearfield::{DataType, Metric, Schema, SparseVector, arrow_array::RecordBatch};
    ///
    /// let docs = db.collection("docs", Schema::new(1, Metric::L2).column("words", DataType::Sparse))?;
    /// let rows = [SparseVector::new([3, 7], [0.5, 1.0])?, SparseVector::new([7], [3.0])?];
    /// let words = SparseVector::column(rows.iter().map(Some));
    /// let batch = RecordBatch::try_from_iter([("words", words)]).expect("a batch");
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0], &batch)?;
    /// let query = SparseVector::new([3, 7], [1.0, 2.0])?;
    /// let hits = docs.search_sparse("words", &query).run()?;
    /// assert_eq!((hits[0].id.clone(), hits[0].score, hits[1].score), (2.into(), 6.0, 2.5));
    /// # Ok(()) }
    /// ```
    pub fn search_sparse<'a>(
        &self,
        column: impl Into<String>,
        query: &'a (impl AsRef<[SparseVector]> + ?Sized),
    ) -> Query<'a> {
        Query::new(self.snapshot(), Asked::Sparse(column.into(), query.as_ref()))
    }
}
