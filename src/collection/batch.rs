//! Many searches at once: by vectors alone together, so that scans read the rows once, by several lists or
//! with a function that ranks side by side.

use rayon::prelude::*;

use super::Snapshot;
use super::asked::{Asked, Queries, SomeQueries};
use super::query::{Hits, Query, Request, Select};
use super::ranking::Ranked;
use super::snapshot::Found;
use crate::error::{Error, Result};
use crate::span::span;
use crate::types::SparseVector;

/// Queries of a batch that one thread searches for together.
const TOGETHER: usize = 16;

impl Query<'_> {
    /// Runs the search for every query given, on all threads of the database: each vector, with its words
    /// ([`words_each`](Self::words_each)) and sparse vectors ([`sparse_each`](Self::sparse_each)) where
    /// those are searched too. A function that ranks is called once for each, by several threads at a time.
    ///
    /// # Errors
    /// As [`run`](Self::run); `DimensionMismatch` when the elements given are no whole number of
    /// vectors; `InvalidArgument` when the lists are of different numbers of queries; `Cancelled`.
    pub fn run_batch(self) -> Result<Vec<Hits>> {
        let Self { snapshot, asked, request } = self;
        let snapshot = snapshot?;
        let hits = request.run_batch(&snapshot, asked)?;
        snapshot.meters.searched_batch(hits.len());
        Ok(hits)
    }
}

impl<'a> Request<'a> {
    fn run_batch(&self, snapshot: &Snapshot, asked: Option<Asked<'a>>) -> Result<Vec<Hits>> {
        let queries = asked.map(|asked| asked.prepare(&snapshot.view)).transpose()?;
        let queries = queries.as_ref().map(Queries::all);
        let many = self.queries(queries.map(SomeQueries::len))?;
        span!(
            DEBUG,
            "search_batch",
            collection = snapshot.meters.name.as_str(),
            queries = many,
            k = self.k,
            rows = snapshot.len(),
        );
        let wanted = self.wanted(snapshot)?;
        let chosen = self.choose(snapshot)?;
        let queries = match queries {
            Some(queries) if self.is_of_vectors_alone() => queries,
            queries => {
                let one = |query| {
                    let vector = queries.map(|queries| queries.one(query));
                    let (request, wanted) = (self.one(query), wanted.as_ref());
                    let ranked = request.rank(snapshot, vector, chosen.as_ref(), wanted, None)?;
                    request.read_whole(snapshot, ranked.0, wanted)
                };
                let pool = snapshot.host.pool()?;
                return pool.install(|| (0..many).into_par_iter().map(one).collect());
            }
        };
        let some = |queries: SomeQueries<'_>| -> Result<Vec<Hits>> {
            let metric = queries.metric(snapshot);
            let found =
                self.search(snapshot, queries, (self.k, &self.shape), chosen.as_ref(), None)?;
            let read = |found: Vec<Found>| {
                let ranked = found.into_iter().map(|found| Ranked::near(found, metric)).collect();
                self.read_whole(snapshot, ranked, wanted.as_ref())
            };
            found.into_iter().map(read).collect()
        };
        if queries.len() < 2 {
            return some(queries);
        }
        let pool = snapshot.host.pool()?;
        // Together scans read the rows once; every thread has its part.
        let threads = pool.current_num_threads().max(1);
        let rounds = queries.len().div_ceil(threads * TOGETHER);
        let many = queries.len().div_ceil(threads * rounds).max(1);
        let hits: Result<Vec<_>> = {
            let chunks: Vec<_> = queries.chunks(many).collect();
            pool.install(|| chunks.into_par_iter().map(some).collect())
        };
        Ok(hits?.into_iter().flatten().collect())
    }

    /// How many queries there are, beside `vectors`: each list has something for every one.
    pub(super) fn queries(&self, vectors: Option<usize>) -> Result<usize> {
        #[cfg(feature = "text")]
        let words = self.words.words.as_ref().map(|words| ("words", words.len()));
        #[cfg(not(feature = "text"))]
        let words = None;
        let sparse = self.sparse.iter().map(|(column, queries)| (column.as_str(), queries.len()));
        let vectors = vectors.map(|many| ("vectors", many));
        let mut lists = vectors.into_iter().chain(words).chain(sparse);
        let Some((first, many)) = lists.next() else { return Ok(0) };
        match lists.find(|list| list.1 != many) {
            Some((other, given)) => Err(Error::invalid(format!(
                "{first} of {many} queries and {other} of {given}; give one for each query"
            ))),
            None => Ok(many),
        }
    }

    /// What is asked of one query, beside its vector and its filter.
    fn one(&self, query: usize) -> Self {
        let of_query = |(column, queries): &(String, &'a [SparseVector])| {
            (column.clone(), queries.get(query..=query).unwrap_or(&[]))
        };
        Self {
            cancel: self.cancel.clone(),
            #[cfg(feature = "text")]
            words: self.words.one(query),
            sparse: self.sparse.iter().map(of_query).collect(),
            shape: self.shape.clone(),
            rerank: self.rerank.clone(),
            window: self.window.clone(),
            select: Select::Nothing,
            filter: None,
            ..*self
        }
    }
}
