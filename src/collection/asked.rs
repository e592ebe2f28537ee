//! What rows are compared with: vectors, or sparse vectors with those of a column.

use super::Snapshot;
use super::explain::Trace;
use super::snapshot::{Found, SearchParams, View};
use crate::codec::full;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::types::{Column, Metric, SparseVector, Vectors};

/// Queries as they were given.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    Vectors(Vectors<'a>),
    /// The column's name and what it is compared with.
    Sparse(String, &'a [SparseVector]),
}

impl<'a> From<Vectors<'a>> for Asked<'a> {
    fn from(vectors: Vectors<'a>) -> Self {
        Self::Vectors(vectors)
    }
}

/// Queries made ready.
#[derive(Debug)]
pub(super) enum Queries<'a> {
    Vectors(Vec<full::Query>),
    Sparse(Column, &'a [SparseVector]),
}

/// Some of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum SomeQueries<'a> {
    Vectors(&'a [full::Query]),
    Sparse(&'a Column, &'a [SparseVector]),
}

impl<'a> Asked<'a> {
    /// Refuses what is not one query.
    pub(super) fn check_one(&self, view: &View) -> Result<()> {
        let space = view.schema.space();
        match self {
            Self::Vectors(vectors) if vectors.len() != space.elements() => {
                Err(full::wrong_length(space, vectors.element_type(), 0, vectors.len()))
            }
            Self::Sparse(_, vectors) if vectors.len() != 1 => Err(Error::invalid(format!(
                "expected one sparse vector, given {}; run_batch takes many",
                vectors.len()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn prepare(&self, view: &View) -> Result<Queries<'a>> {
        match self {
            Self::Vectors(vectors) => {
                full::prepare_query(view.schema.space(), vectors).map(Queries::Vectors)
            }
            Self::Sparse(name, vectors) => {
                Ok(Queries::Sparse(view.sparse_column(name)?.clone(), vectors))
            }
        }
    }
}

impl Queries<'_> {
    pub(super) fn all(&self) -> SomeQueries<'_> {
        match self {
            Self::Vectors(queries) => SomeQueries::Vectors(queries),
            Self::Sparse(column, queries) => SomeQueries::Sparse(column, queries),
        }
    }
}

impl<'a> SomeQueries<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Vectors(queries) => queries.len(),
            Self::Sparse(_, queries) => queries.len(),
        }
    }

    /// What distances are by: those of sparse vectors are inner products.
    pub(super) fn metric(self, snapshot: &Snapshot) -> Metric {
        match self {
            Self::Vectors(_) => snapshot.view.schema.metric(),
            Self::Sparse(..) => Metric::Dot,
        }
    }

    /// One of them alone.
    pub(super) fn one(self, query: usize) -> Self {
        match self {
            Self::Vectors(queries) => Self::Vectors(&queries[query..=query]),
            Self::Sparse(column, queries) => Self::Sparse(column, &queries[query..=query]),
        }
    }

    /// All of them in pieces of at most `many`.
    pub(super) fn chunks(self, many: usize) -> impl Iterator<Item = Self> {
        let len = self.len();
        (0..len).step_by(many.max(1)).map(move |first| {
            let range = first..len.min(first.saturating_add(many.max(1)));
            match self {
                Self::Vectors(queries) => Self::Vectors(&queries[range]),
                Self::Sparse(column, queries) => Self::Sparse(column, &queries[range]),
            }
        })
    }

    /// For each the nearest rows that are not hidden.
    pub(super) fn search(
        self,
        snapshot: &Snapshot,
        params: &SearchParams,
        hidden: Option<&[RowSet]>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Vec<Found>>> {
        let view = &snapshot.view;
        match self {
            Self::Vectors(queries) => {
                view.search(snapshot.host.isa, queries, params, hidden, traces)
            }
            Self::Sparse(column, queries) => queries
                .iter()
                .map(|query| {
                    view.search_sparse(column, query, params, hidden, traces.as_deref_mut())
                })
                .collect(),
        }
    }
}
