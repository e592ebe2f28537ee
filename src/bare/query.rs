//! Searches of a bare index: one query or many, into memory of the caller where that is wanted.

use std::sync::Arc;
use std::sync::RwLockReadGuard;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::aside;
use super::{Index, State};
use crate::codec::full::{self, Query};
use crate::error::{Error, Result};
use crate::kernel::Isa;
use crate::segment::search::{Ask, Breadth, SearchOptions};
use crate::types::Vectors;

/// A row that a search found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Neighbour {
    /// The row's id.
    pub id: u64,
    /// Its distance from the query under the index's metric: smaller is closer.
    pub distance: f32,
}

/// The answers of many searches, query by query.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Neighbours {
    /// Places of a query: `k`, or how many rows there are if those are fewer.
    pub width: usize,
    /// Row-major ids, `width` a query, nearest first; `u64::MAX` where there are fewer.
    pub ids: Vec<u64>,
    /// The distances likewise; infinite where there are fewer.
    pub distances: Vec<f32>,
    /// How many each query found.
    pub counts: Vec<usize>,
}

/// A search about to run: made by [`Index::search`].
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until run"]
pub struct IndexQuery<'a> {
    index: &'a Index,
    vectors: Vectors<'a>,
    k: usize,
    ef: Option<usize>,
    exact: bool,
    max_distance: f32,
    cancel: Option<Arc<AtomicBool>>,
}

impl<'a> IndexQuery<'a> {
    pub(super) fn new(index: &'a Index, vectors: Vectors<'a>) -> Self {
        let max_distance = f32::INFINITY;
        Self { index, vectors, k: 10, ef: None, exact: false, max_distance, cancel: None }
    }

    /// How many rows to find. Default 10; 0 finds none, more than there are finds all.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Nearest candidates that the search goes on from: more of them mean better recall and a slower
    /// search. Default [`IndexOptions::ef_search`](super::IndexOptions::ef_search); raised to `k` where below.
    pub fn ef(mut self, ef: usize) -> Self {
        self.ef = Some(ef);
        self
    }

    /// Compares with every row instead of walking the graph. Default false.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Finds only rows at most this far away.
    pub fn max_distance(mut self, distance: f32) -> Self {
        self.max_distance = distance;
        self
    }

    /// Ends the search with `Cancelled` soon after this is set.
    pub fn cancel(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Runs the search for one query vector; nearest first, rows at the same distance by id.
    ///
    /// # Errors
    /// `DimensionMismatch` unless exactly one vector of the index's dimension was given;
    /// `InvalidVector` for NaN or infinity; `Corrupt` when a mapped file is damaged where it was
    /// read; `Cancelled`, `Forked`.
    pub fn run(&self) -> Result<Vec<Neighbour>> {
        let mut found = Vec::new();
        self.run_into(&mut found)?;
        Ok(found)
    }

    /// [`run`](Self::run) into memory that is there: `found` is emptied first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_into(&self, found: &mut Vec<Neighbour>) -> Result<()> {
        found.clear();
        let space = self.index.space;
        if self.vectors.len() != space.elements() {
            let (element, given) = (self.vectors.element_type(), self.vectors.len());
            return Err(full::wrong_length(space, element, 0, given));
        }
        let queries = full::prepare_query(space, &self.vectors)?;
        let (Some(query), state) = (queries.first(), self.ready()?) else {
            return Err(Error::invalid("no query vector"));
        };
        self.one(&state, query, found)
    }

    /// Runs the search for every query vector given, on all threads of the index.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let index = nearfield::Index::new(1, nearfield::Metric::L2)?;
    /// index.add(None, &[0.0_f32, 1.0, 5.0])?;
    /// let found = index.search(&[4.0_f32, 0.0]).k(2).run_batch()?;
    /// assert_eq!(found.ids, [2, 1, 0, 1]);
    /// assert_eq!(found.distances, [1.0, 9.0, 0.0, 1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run); `DimensionMismatch` when the elements given are no whole number of
    /// vectors.
    pub fn run_batch(&self) -> Result<Neighbours> {
        let queries = full::prepare_query(self.index.space, &self.vectors)?;
        let state = self.ready()?;
        let width = self.k.min(state.len());
        let places = width.checked_mul(queries.len()).ok_or_else(|| {
            Error::invalid(format!("{} queries of {width} hits are too many", queries.len()))
        })?;
        let mut all = Neighbours {
            width,
            ids: vec![u64::MAX; places],
            distances: vec![f32::INFINITY; places],
            counts: vec![0; queries.len()],
        };
        if width == 0 {
            return Ok(all);
        }
        let state = &*state;
        let one = |((query, ids), (distances, count)): Slot<'_>| -> Result<()> {
            let mut found = Vec::new();
            self.one(state, query, &mut found)?;
            *count = found.len();
            for (at, neighbour) in found.iter().enumerate() {
                (ids[at], distances[at]) = (neighbour.id, neighbour.distance);
            }
            Ok(())
        };
        let (ids, distances) = (&mut all.ids, &mut all.distances);
        let alone = queries.len() < 2 || self.index.options.threads == 1;
        if alone || !self.index.is_own_process() {
            let places = queries.iter().zip(ids.chunks_mut(width));
            let mut slots = places.zip(distances.chunks_mut(width).zip(&mut all.counts));
            slots.try_for_each(one)?;
        } else {
            let (pool, counts) = (self.index.pool()?, &mut all.counts);
            let all = || {
                let places = queries.par_iter().zip(ids.par_chunks_mut(width));
                places.zip(distances.par_chunks_mut(width).zip(counts)).try_for_each(one)
            };
            aside(|| pool.install(all))??;
        }
        Ok(all)
    }

    /// The rows, built if that is due.
    fn ready(&self) -> Result<RwLockReadGuard<'_, State>> {
        if self.max_distance.is_nan() {
            return Err(Error::invalid("max_distance is NaN; give a number"));
        }
        let state = self.index.read()?;
        if self.exact || !state.wants_build() || !self.index.is_own_process() {
            return Ok(state);
        }
        drop(state);
        self.index.build_aside(&|| !self.is_cancelled())?;
        self.index.read()
    }

    fn one(&self, state: &State, query: &Query, found: &mut Vec<Neighbour>) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let breadth = Breadth::fixed(self.ef.unwrap_or(self.index.options.ef_search).max(1));
        let options = SearchOptions::new(Isa::detect(), self.k, breadth);
        let options = SearchOptions { exact: self.exact, ..options };
        let ask = Ask { max_distance: self.max_distance, ..Ask::from(query) };
        match state {
            State::Memory(stored) => {
                stored.search(ask, &options, found);
                Ok(())
            }
            State::Mapped(saved) => saved.search(ask, &options, found),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// A query, and where its answer goes: ids, distances, count.
type Slot<'a> = ((&'a Query, &'a mut [u64]), (&'a mut [f32], &'a mut usize));
