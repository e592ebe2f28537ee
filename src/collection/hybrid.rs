//! One search by vector, by words or by both, under one filter and at one snapshot.

use arrow_schema::SchemaRef;

use super::Snapshot;
use super::asked::SomeQueries;
use super::explain::Trace;
use super::matching::Chosen;
use super::query::Request;
use super::ranking::Ranked;
#[cfg(feature = "text")]
use super::ranking::fuse;
use super::shape::Shape;
use crate::error::{Error, Result};

impl Request<'_> {
    /// Whether one search may answer many queries.
    pub(super) fn is_of_vectors_alone(&self) -> bool {
        #[cfg(feature = "text")]
        let words = self.words.is_some();
        #[cfg(not(feature = "text"))]
        let words = false;
        !words && self.rerank.is_none()
    }

    /// The hits in their order, before anything of them is read.
    pub(super) fn rank(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        chosen: Option<&Chosen>,
        wanted: Option<&SchemaRef>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        if self.k == 0 {
            return Ok(Vec::new());
        }
        let Some(rerank) = &self.rerank else {
            return self.list(snapshot, queries, (self.k, &self.shape), chosen, traces);
        };
        let many = self.shape.within(self.k, rerank.candidates, "rerank")?;
        let distances = self.shape.of_distances();
        let ranked = self.list(snapshot, queries, (many, &distances), chosen, traces)?;
        let candidates = self.read(snapshot, ranked.clone(), wanted)?;
        let ranked = rerank.order(&candidates, ranked)?;
        Ok(self.shape.arrange(ranked, self.k, &snapshot.view)?.0)
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
        #[cfg(feature = "text")]
        if let Some(ask) = &self.words {
            return self.by_words(ask, snapshot, queries, picked, chosen, traces);
        }
        let queries = queries.ok_or_else(|| Error::invalid("no query vector"))?;
        self.near(snapshot, queries, picked, chosen, traces)
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
}

#[cfg(feature = "text")]
mod with_words {
    use super::*;
    use crate::collection::query::Query;
    use crate::collection::ranking::Fusion;
    use crate::collection::shape;
    use crate::collection::snapshot::{Found, Place, SearchParams};
    use crate::collection::words::{Snippets, WordAsk};
    use crate::filter::rowset::RowSet;
    use crate::text::search::Plan;
    use crate::text::words::Words;

    /// Rows that each list gives to a fusion, unless told otherwise.
    const LISTED: usize = 100;

    impl<'a> Query<'a> {
        pub(crate) fn of_words(snapshot: Result<Snapshot>, words: Words) -> Self {
            Self::of(snapshot, None).words(words)
        }

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
        pub fn words(mut self, words: impl Into<Words>) -> Self {
            let columns = self.request.words.take().map_or_else(Vec::new, |ask| ask.columns);
            self.request.words = Some(WordAsk { words: words.into(), columns });
            self
        }

        /// The columns in which words are searched, each with a weight by which its scores are
        /// multiplied. Default: every column of texts, with 1. To be called after
        /// [`words`](Self::words).
        pub fn columns<S: Into<String>>(
            mut self,
            columns: impl IntoIterator<Item = (S, f32)>,
        ) -> Self {
            if let Some(ask) = &mut self.request.words {
                ask.columns =
                    columns.into_iter().map(|(name, weight)| (name.into(), weight)).collect();
            }
            self
        }

        /// How the vector and the words become one order. Default: reciprocal ranks.
        pub fn fusion(mut self, fusion: Fusion) -> Self {
            self.request.fusion = fusion;
            self
        }

        /// Rows that the search by vector and that by words each give to the fusion; at least k.
        /// Default 100.
        pub fn candidates(mut self, rows: usize) -> Self {
            self.request.candidates = Some(rows);
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
        /// The best rows by words, or by words and vector.
        pub(super) fn by_words(
            &self,
            ask: &WordAsk,
            snapshot: &Snapshot,
            queries: Option<SomeQueries<'_>>,
            (k, shape): (usize, &Shape),
            chosen: Option<&Chosen>,
            mut traces: Option<&mut Vec<Trace>>,
        ) -> Result<Vec<Ranked>> {
            let plan = ask.plan(&snapshot.view.schema)?;
            let Some(queries) = queries else {
                return self.by_words_alone(&plan, snapshot, (k, shape), chosen);
            };
            let mut listed = shape.within(k, self.candidates.unwrap_or(LISTED), "candidates")?;
            // Groups are looked for farther on, unless somebody said how far.
            let grows = shape.is_grouped_alone() && self.candidates.is_none();
            loop {
                let traces = traces.as_deref_mut();
                let fused =
                    self.fused(&plan, snapshot, (queries, listed), (k, shape), chosen, traces)?;
                let (hits, items) = shape.arrange(fused, k, &snapshot.view)?;
                if !grows || items >= k || listed >= snapshot.view.len() {
                    return Ok(hits);
                }
                listed = listed.saturating_mul(4);
            }
        }

        /// The best rows by words.
        fn by_words_alone(
            &self,
            plan: &Plan,
            snapshot: &Snapshot,
            (k, shape): (usize, &Shape),
            chosen: Option<&Chosen>,
        ) -> Result<Vec<Ranked>> {
            if self.max_distance < f32::INFINITY || shape.limits_distance() {
                return Err(Error::invalid(
                    "min_distance and max_distance are of a vector, and there is none to search by",
                ));
            }
            let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
            if shape.is_plain() {
                return snapshot.view.words(plan, k, hidden);
            }
            // A hit has no distance: the score serves to order it.
            let found =
                |Ranked { id, place, score, .. }: Ranked| Found { distance: -score, id, place };
            let search = |many: usize, hidden: Option<&[RowSet]>, _: Option<&mut Vec<Trace>>| {
                self.check_cancel()?;
                let ranked = snapshot.view.words(plan, many, hidden)?;
                Ok(ranked.into_iter().map(found).collect())
            };
            let (counts, isa) = ((k, 1), snapshot.host.isa);
            let picked = shape::pick(shape, &snapshot.view, isa, counts, &search, hidden, None)?;
            let ranked = |Found { distance, id, place }: Found| Ranked {
                id,
                place,
                score: -distance,
                distance: None,
            };
            Ok(picked.into_iter().map(ranked).collect())
        }

        /// At most `listed` rows by words and `listed` by the vector in one order, all of their
        /// distances known.
        fn fused(
            &self,
            plan: &Plan,
            snapshot: &Snapshot,
            (queries, listed): (SomeQueries<'_>, usize),
            (k, shape): (usize, &Shape),
            chosen: Option<&Chosen>,
            traces: Option<&mut Vec<Trace>>,
        ) -> Result<Vec<Ranked>> {
            let distances = shape.of_distances();
            let near = self.near(snapshot, queries, (listed, &distances), chosen, traces)?;
            let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
            let words = snapshot.view.words(plan, listed, hidden)?;
            let [first, second] = self.fusion.shares();
            let mut fused = fuse(vec![(first, near), (second, words)], self.fusion);
            let limited = self.max_distance < f32::INFINITY || shape.limits_distance();
            if shape.is_plain() && !limited {
                fused.truncate(k);
            }
            self.measure(snapshot, queries, &mut fused)?;
            if limited {
                let within =
                    |distance| distance <= self.max_distance && shape.is_far_enough(distance);
                fused.retain(|ranked| ranked.distance.is_none_or(within));
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
            let unknown: Vec<Place> = fused
                .iter()
                .filter(|ranked| ranked.distance.is_none())
                .map(|ranked| ranked.place)
                .collect();
            if unknown.is_empty() {
                return Ok(());
            }
            let mut asked = vec![RowSet::default(); snapshot.view.part_count()];
            for place in &unknown {
                asked[place.part].insert(place.row);
            }
            let parts = snapshot.view.parts().zip(&asked);
            let hidden: Vec<RowSet> =
                parts.map(|(part, asked)| asked.complement(part.part.len())).collect();
            let max_distance = f32::INFINITY;
            let params = SearchParams { k: unknown.len(), ef: 1, exact: true, max_distance };
            let found = queries.search(snapshot, &params, Some(&hidden), None)?;
            for found in found.into_iter().flatten() {
                let ranked = fused.iter_mut().find(|ranked| ranked.place == found.place);
                if let Some(ranked) = ranked {
                    ranked.distance = Some(found.distance);
                }
            }
            if let SomeQueries::Sparse(..) = queries {
                // Not found for want of a common index: the inner product is 0.
                fused.iter_mut().for_each(|ranked| _ = ranked.distance.get_or_insert(0.0));
            }
            Ok(())
        }

        /// What stands around the words in each row, if that is wanted.
        pub(in crate::collection) fn snippets(
            &self,
            snapshot: &Snapshot,
            places: &[Place],
        ) -> Result<Option<Vec<Snippets>>> {
            let (Some(most), Some(ask)) = (self.highlight, &self.words) else { return Ok(None) };
            let plan = ask.plan(&snapshot.view.schema)?;
            snapshot.view.snippets(&plan, places, most).map(Some)
        }
    }
}
