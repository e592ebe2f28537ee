//! One search by several lists, of vectors, words and sparse vectors, under one filter and at one snapshot.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;

use super::Snapshot;
use super::asked::SomeQueries;
use super::explain::{SearchList, Trace};
use super::matching::Chosen;
use super::query::{Query, Request};
use super::ranking::{Fusion, Ranked, fuse};
use super::shape::{MOST_LISTED, Shape};
use super::snapshot::{Found, Place, SearchParams};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::types::{Column, Metric, SparseVector};

/// Rows that each list gives to a fusion, unless told otherwise.
const LISTED: usize = 100;

impl<'a> Query<'a> {
    /// Searches this column of sparse vectors as well, in one order with the others; see
    /// [`fusion`](Self::fusion). May be called for several columns.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// use nearfield::{DataType, Metric, Schema, SparseVector, arrow_array::RecordBatch};
    ///
    /// let docs = db.collection("docs", Schema::new(1, Metric::L2).column("splade", DataType::Sparse))?;
    /// let rows = [SparseVector::new([3], [0.5])?, SparseVector::new([7], [3.0])?];
    /// let column = SparseVector::column(rows.iter().map(Some));
    /// let batch = RecordBatch::try_from_iter([("splade", column)]).expect("a batch");
    /// docs.upsert(&[1, 2], &[0.0_f32, 1.0], &batch)?;
    /// let query = SparseVector::new([7], [2.0])?;
    /// let hits = docs.search(&[0.2_f32]).sparse("splade", &query).run()?;
    /// assert_eq!(hits[0].id.clone(), 2.into());
    /// # Ok(()) }
    /// ```
    pub fn sparse(self, column: impl Into<String>, query: &'a SparseVector) -> Self {
        self.sparse_each(column, std::slice::from_ref(query))
    }

    /// As [`sparse`](Self::sparse), with a sparse vector for each query of [`run_batch`](Self::run_batch).
    pub fn sparse_each(mut self, column: impl Into<String>, queries: &'a [SparseVector]) -> Self {
        self.request.sparse.push((column.into(), queries));
        self
    }

    /// How several lists become one order. Default: reciprocal ranks.
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.request.fusion = fusion;
        self
    }

    /// Rows that the search by vector, that by words and those by sparse vectors each give to the fusion;
    /// at least k. Default 100.
    pub fn candidates(mut self, rows: usize) -> Self {
        self.request.candidates = Some(rows);
        self
    }
}

impl<'a> Request<'a> {
    /// Whether one search may answer many queries.
    pub(super) fn is_of_vectors_alone(&self) -> bool {
        !self.is_by_words() && self.sparse.is_empty() && self.rerank.is_none()
    }

    /// Whether several lists become one order.
    pub(super) fn is_by_lists(&self) -> bool {
        !self.sparse.is_empty() || self.has_query && self.is_by_words()
    }

    fn is_by_words(&self) -> bool {
        #[cfg(feature = "text")]
        return self.words.words.is_some();
        #[cfg(not(feature = "text"))]
        false
    }

    /// The hits in their order, before anything of them is read, and how long a function took to rank
    /// them.
    pub(super) fn rank(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        chosen: Option<&Chosen>,
        wanted: Option<&SchemaRef>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<(Vec<Ranked>, Option<Duration>)> {
        if self.k == 0 {
            return Ok((Vec::new(), None));
        }
        let Some(rerank) = &self.rerank else {
            let picked = (self.k, &self.shape);
            return Ok((self.list(snapshot, queries, picked, chosen, traces)?, None));
        };
        let many = self.shape.within(self.k, rerank.candidates)?;
        let distances = self.shape.of_distances();
        let mut list = |many| {
            let traces = traces.as_deref_mut();
            let rows = self.list(snapshot, queries, (many, &distances), chosen, traces)?;
            let full = rows.len() >= many;
            Ok((rows, full))
        };
        let (first, full) = list(many)?;
        let ranked = self.shape.reach(self.k, &snapshot.view, (many, full), first, list)?;
        let begun = Instant::now();
        let candidates = self.read(snapshot, ranked.clone(), wanted)?;
        let ranked = rerank.order(&candidates, ranked)?;
        let took = begun.elapsed();
        let (hits, _) = self.shape.arrange(ranked, self.k, &snapshot.view, snapshot.host.isa)?;
        Ok((hits, Some(took)))
    }

    /// The best rows, before they are ranked again: so many of them and picked so.
    fn list(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        picked: (usize, &Shape),
        chosen: Option<&Chosen>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        if self.is_by_lists() {
            return self.by_lists(snapshot, queries, picked, chosen, traces);
        }
        match queries {
            Some(queries) => self.near(snapshot, queries, picked, chosen, traces),
            None => self.by_words_alone(snapshot, picked, chosen, traces),
        }
    }

    /// The nearest rows.
    fn near(
        &self,
        snapshot: &Snapshot,
        queries: SomeQueries<'_>,
        picked: (usize, &Shape),
        chosen: Option<&Chosen>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        let metric = queries.metric(snapshot);
        let found = self.search(snapshot, queries, picked, chosen, traces)?;
        let found = found.into_iter().next().ok_or_else(|| Error::invalid("no query vector"))?;
        Ok(found.into_iter().map(|found| Ranked::near(found, metric)).collect())
    }

    /// The best rows of several lists.
    fn by_lists(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        (k, shape): (usize, &Shape),
        chosen: Option<&Chosen>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        if queries.is_none() {
            self.check_no_distance(shape)?;
        }
        let column = |(name, query): &(String, &'a [SparseVector])| {
            Ok((snapshot.view.sparse_column(name)?, *query))
        };
        let sparse = self.sparse.iter().map(column).collect::<Result<Vec<_>>>()?;
        let mut listed = shape.within(k, self.candidates.unwrap_or(LISTED))?;
        // Groups are looked for farther on, unless somebody said how far.
        let grows = shape.is_grouped_alone() && self.candidates.is_none();
        let mut fused = |listed| {
            let traces = traces.as_deref_mut();
            let lists =
                self.lists(snapshot, (queries, &sparse), (listed, shape), chosen, traces)?;
            let full = lists.iter().any(|(_, list)| list.len() >= listed);
            Ok((self.fused(snapshot, queries, lists, (k, shape))?, full))
        };
        loop {
            let (mut rows, full) = fused(listed)?;
            if shape.is_paged() {
                rows = shape.reach(k, &snapshot.view, (listed, full), rows, &mut fused)?;
            }
            let (hits, whole) = shape.arrange(rows, k, &snapshot.view, snapshot.host.isa)?;
            if whole || !full || !grows || listed >= MOST_LISTED {
                return Ok(hits);
            }
            listed = listed.saturating_mul(4);
        }
    }

    /// The `listed` best rows by each of what is searched by.
    fn lists(
        &self,
        snapshot: &Snapshot,
        (queries, sparse): (Option<SomeQueries<'_>>, &[(&Column, &[SparseVector])]),
        (listed, shape): (usize, &Shape),
        chosen: Option<&Chosen>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<(SearchList, Vec<Ranked>)>> {
        let mut lists = Vec::new();
        if let Some(queries) = queries {
            let (distances, traces) = (shape.of_distances(), traces.as_deref_mut());
            let near = self.near(snapshot, queries, (listed, &distances), chosen, traces)?;
            let list = match queries {
                SomeQueries::Sparse(column, _) => SearchList::Sparse(column.name.clone()),
                _ => SearchList::Vector,
            };
            lists.push((list, near));
        }
        let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
        #[cfg(feature = "text")]
        if self.is_by_words() {
            let plan = self.words.plan(&snapshot.view.schema)?;
            let (view, traces) = (&snapshot.view, traces.as_deref_mut());
            let found = view.words(&plan, listed, hidden, &|| self.check_cancel(), traces)?;
            lists.push((SearchList::Words, found));
        }
        let params = SearchParams::exact(listed);
        for (column, query) in sparse {
            self.check_cancel()?;
            let found = SomeQueries::Sparse(column, query).search(
                snapshot,
                &params,
                hidden,
                traces.as_deref_mut(),
            )?;
            // The distance of a hit is that of the vector.
            let ranked = |Found { distance, id, place }: Found| Ranked {
                id,
                place,
                score: Metric::Dot.score(distance),
                distance: None,
                ranks: Vec::new(),
            };
            let list = SearchList::Sparse(column.name.clone());
            lists.push((list, found.into_iter().flatten().map(ranked).collect()));
        }
        Ok(lists)
    }

    /// Lists in one order, all of the distances known that there are.
    fn fused(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        lists: Vec<(SearchList, Vec<Ranked>)>,
        (k, shape): (usize, &Shape),
    ) -> Result<Vec<Ranked>> {
        let shares = self.fusion.shares(lists.len());
        let mut fused = fuse(shares.into_iter().zip(lists).collect(), self.fusion);
        let limited = self.max_distance < f32::INFINITY || shape.limits_distance();
        if shape.is_plain() && !limited {
            fused.truncate(k);
        }
        let Some(queries) = queries else { return Ok(fused) };
        self.measure(snapshot, queries, &mut fused)?;
        if limited {
            let within = |distance| distance <= self.max_distance && shape.is_far_enough(distance);
            fused.retain(|ranked| ranked.distance.is_some_and(within));
        }
        Ok(fused)
    }

    /// Finds the distances that are not known.
    fn measure(
        &self,
        snapshot: &Snapshot,
        queries: SomeQueries<'_>,
        fused: &mut [Ranked],
    ) -> Result<()> {
        let unknown = (0..fused.len()).filter(|at| fused[*at].distance.is_none());
        let unknown: HashMap<Place, usize> = unknown.map(|at| (fused[at].place, at)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.check_cancel()?;
        let mut asked = vec![RowSet::default(); snapshot.view.part_count()];
        for place in unknown.keys() {
            asked[place.part].insert(place.row);
        }
        let parts = snapshot.view.parts().zip(&asked);
        let hidden: Vec<RowSet> =
            parts.map(|(part, asked)| asked.complement(part.part.len())).collect();
        let params = SearchParams::exact(unknown.len());
        let found = queries.search(snapshot, &params, Some(&hidden), None)?;
        for found in found.into_iter().flatten() {
            if let Some(at) = unknown.get(&found.place) {
                fused[*at].distance = Some(found.distance);
            }
        }
        if matches!(queries, SomeQueries::Sparse(..)) {
            // A product without an index in common is 0.
            fused.iter_mut().for_each(|ranked| ranked.distance = ranked.distance.or(Some(0.0)));
        }
        Ok(())
    }

    /// Refuses limits of distances where no vector is searched by.
    fn check_no_distance(&self, shape: &Shape) -> Result<()> {
        if self.max_distance == f32::INFINITY && !shape.limits_distance() {
            return Ok(());
        }
        Err(Error::invalid(
            "min_distance and max_distance are of a vector, and there is none to search by",
        ))
    }

    #[cfg(not(feature = "text"))]
    fn by_words_alone(
        &self,
        _: &Snapshot,
        _: (usize, &Shape),
        _: Option<&Chosen>,
        _: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        Err(Error::invalid("no query vector"))
    }
}

#[cfg(feature = "text")]
mod with_words {
    use super::*;
    use crate::collection::explain::WordsExplanation;
    use crate::collection::shape;
    use crate::collection::words::Snippets;
    use crate::text::words::Words;

    impl Query<'_> {
        /// Searches by these words as well, in one order with the vector; see [`fusion`](Self::fusion).
        /// A row may be found by either.
        ///
        /// ```
        /// # fn main() -> nearfield::Result<()> {
        /// # let dir = tempfile::tempdir().expect("temporary directory");
        /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
        /// use nearfield::arrow_array::{ArrayRef, LargeStringArray, RecordBatch};
        /// use nearfield::{Fusion, Metric, Schema};
        ///
        /// let docs = db.collection("docs", Schema::new(1, Metric::L2).text("body"))?;
        /// let texts = LargeStringArray::from(vec!["E0502", "E0499", "E0382"]);
        /// let texts: ArrayRef = std::sync::Arc::new(texts);
        /// let batch = RecordBatch::try_from_iter([("body", texts)]).expect("one column");
        /// docs.upsert(&[1, 2, 3], &[0.0_f32, 1.0, 2.0], &batch)?;
        ///
        /// let query = docs.search(&[0.9_f32]).words("E0382").filter("id < 9").k(2);
        /// let hits = query.fusion(Fusion::weighted(0.4)).run()?;
        /// assert_eq!((hits[0].id.clone(), hits[1].id.clone()), (3.into(), 2.into()));
        /// # Ok(()) }
        /// ```
        pub fn words(self, words: impl Into<Words>) -> Self {
            self.words_each([words])
        }

        /// As [`words`](Self::words), with words for each query of [`run_batch`](Self::run_batch).
        pub fn words_each<W: Into<Words>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
            self.request.words.words = Some(words.into_iter().map(Into::into).collect());
            self
        }

        /// The columns in which words are searched, each with a weight by which its scores are
        /// multiplied. Default: every column of texts, with 1.
        pub fn columns<S: Into<String>>(
            mut self,
            columns: impl IntoIterator<Item = (S, f32)>,
        ) -> Self {
            let columns = columns.into_iter().map(|(name, weight)| (name.into(), weight));
            self.request.words.columns = columns.collect();
            self
        }

        /// Reads of each hit the pieces of its texts in which the words stand, each of at most
        /// `characters` characters, into [`Hits::snippets`](crate::Hits::snippets).
        pub fn highlight(mut self, characters: usize) -> Self {
            self.request.highlight = Some(characters);
            self
        }
    }

    impl Request<'_> {
        /// Refuses what is of words where there are none.
        pub(in crate::collection) fn check_words(&self) -> Result<()> {
            if self.is_by_words() {
                return Ok(());
            }
            if !self.words.columns.is_empty() {
                return Err(Error::invalid("columns are searched by words, and none are given"));
            }
            if self.highlight.is_some() {
                return Err(Error::invalid(
                    "highlight shows where words stand, and none are given",
                ));
            }
            Ok(())
        }

        /// The best rows by words.
        pub(super) fn by_words_alone(
            &self,
            snapshot: &Snapshot,
            (k, shape): (usize, &Shape),
            chosen: Option<&Chosen>,
            traces: Option<&mut Vec<Trace>>,
        ) -> Result<Vec<Ranked>> {
            self.check_no_distance(shape)?;
            let plan = self.words.plan(&snapshot.view.schema)?;
            let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
            let search =
                |many: usize, hidden: Option<&[RowSet]>, traces: Option<&mut Vec<Trace>>| {
                    snapshot.view.words(&plan, many, hidden, &|| self.check_cancel(), traces)
                };
            if shape.is_plain() {
                return search(k, hidden, traces);
            }
            // A hit has no distance: the score serves to order it.
            let found =
                |Ranked { id, place, score, .. }: Ranked| Found { distance: -score, id, place };
            let blocks =
                |many: usize, hidden: Option<&[RowSet]>, traces: Option<&mut Vec<Trace>>| {
                    Ok(search(many, hidden, traces)?.into_iter().map(found).collect())
                };
            let (counts, isa) = ((k, 1), snapshot.host.isa);
            let (shape, view) = ((shape, true), &snapshot.view);
            let picked = shape::pick(shape, view, isa, counts, &blocks, hidden, traces)?;
            let ranked = |Found { distance, id, place }: Found| Ranked {
                id,
                place,
                score: -distance,
                distance: None,
                ranks: Vec::new(),
            };
            Ok(picked.into_iter().map(ranked).collect())
        }

        /// What was looked for by words, in the searches of `traces`.
        pub(in crate::collection) fn explain_words(
            &self,
            snapshot: &Snapshot,
            traces: &[Trace],
        ) -> Result<Option<WordsExplanation>> {
            if !self.is_by_words() {
                return Ok(None);
            }
            let plan = self.words.plan(&snapshot.view.schema)?;
            Ok(Some(WordsExplanation::new(&plan, traces)))
        }

        /// What stands around the words in each row, if that is wanted.
        pub(in crate::collection) fn snippets(
            &self,
            snapshot: &Snapshot,
            places: &[Place],
        ) -> Result<Option<Vec<Snippets>>> {
            let Some(most) = self.highlight else { return Ok(None) };
            let plan = self.words.plan(&snapshot.view.schema)?;
            snapshot.view.snippets(&plan, places, most).map(Some)
        }
    }
}
