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
        let many = self.rerank.as_ref().map_or(self.k, |rerank| rerank.candidates.max(self.k));
        if self.k == 0 {
            return Ok(Vec::new());
        }
        let mut ranked = self.list(snapshot, queries, many, chosen, traces)?;
        if let Some(rerank) = &self.rerank {
            let candidates = self.read(snapshot, ranked.clone(), wanted)?;
            ranked = rerank.order(&candidates, ranked)?;
            ranked.truncate(self.k);
        }
        Ok(ranked)
    }

    /// The `many` best rows.
    fn list(
        &self,
        snapshot: &Snapshot,
        queries: Option<SomeQueries<'_>>,
        many: usize,
        chosen: Option<&Chosen>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        #[cfg(feature = "text")]
        if let Some(ask) = &self.words {
            return self.by_words(ask, snapshot, queries, many, chosen, traces);
        }
        let queries = queries.ok_or_else(|| Error::invalid("no query vector"))?;
        self.near(snapshot, queries, many, chosen, traces)
    }

    /// The `many` nearest rows.
    fn near(
        &self,
        snapshot: &Snapshot,
        queries: SomeQueries<'_>,
        many: usize,
        chosen: Option<&Chosen>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        let metric = queries.metric(snapshot);
        let found = self.search(snapshot, queries, many, chosen, traces)?.into_iter().next();
        let found = found.ok_or_else(|| Error::invalid("no query vector"))?;
        Ok(found.into_iter().map(|found| Ranked::near(found, metric)).collect())
    }
}

#[cfg(feature = "text")]
mod with_words {
    use super::*;
    use crate::collection::query::Query;
    use crate::collection::ranking::Fusion;
    use crate::collection::snapshot::{Place, SearchParams};
    use crate::collection::words::{Snippets, WordAsk};
    use crate::filter::rowset::RowSet;
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
        /// The `many` best rows by words, or by words and vector.
        pub(super) fn by_words(
            &self,
            ask: &WordAsk,
            snapshot: &Snapshot,
            queries: Option<SomeQueries<'_>>,
            many: usize,
            chosen: Option<&Chosen>,
            traces: Option<&mut Vec<Trace>>,
        ) -> Result<Vec<Ranked>> {
            let plan = ask.plan(&snapshot.view.schema)?;
            let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
            let Some(queries) = queries else {
                if self.max_distance < f32::INFINITY {
                    return Err(Error::invalid(
                        "max_distance is of a search by vector, words alone have no distances; leave it \
                         out, or give a vector too",
                    ));
                }
                return snapshot.view.words(&plan, many, hidden);
            };
            let listed = self.candidates.unwrap_or(LISTED).max(many);
            let near = self.near(snapshot, queries, listed, chosen, traces)?;
            let words = snapshot.view.words(&plan, listed, hidden)?;
            let [first, second] = self.fusion.shares();
            let mut fused = fuse(vec![(first, near), (second, words)], self.fusion);
            if self.max_distance == f32::INFINITY {
                fused.truncate(many);
            }
            self.measure(snapshot, queries, &mut fused)?;
            let far = |ranked: &Ranked| {
                ranked.distance.is_none_or(|distance| distance <= self.max_distance)
            };
            fused.retain(far);
            fused.truncate(many);
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
