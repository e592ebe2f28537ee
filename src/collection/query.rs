//! Searches: the builder of one, what it asks for, and the hits that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::asked::{Asked, Queries, SomeQueries};
use super::explain::{Explanation, Trace};
use super::matching::Chosen;
use super::ranking::{Fusion, ListRank, Ranked, Rerank};
use super::reading::Records;
use super::shape::{self, Shape};
use super::snapshot::{Found, SearchParams};
use super::window::Window;
use super::{Collection, Snapshot};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::filter::rowset::RowSet;
use crate::span::span;
use crate::types::{Id, SparseVector, Vectors};

/// One answer of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The row's id.
    pub id: Id,
    /// Distance under the collection's metric: smaller is closer.
    pub distance: f32,
    /// The same as a score: bigger is better (see [`Metric::score`](crate::Metric::score)). Of a search
    /// by words, of one by both, and of a function that ranks, the score that gave the order; without a
    /// vector the distance is the negated score.
    pub score: f32,
}

/// The answers of one search, best first and equal ones by ascending id, unless
/// [`Query::group_by`] or [`Query::mmr`] have them in another order.
#[derive(Clone, Debug)]
pub struct Hits {
    /// The hits, at most `k`; of a grouped search those of at most `k` groups.
    pub hits: Vec<Hit>,
    /// For each hit where it stands in the lists that have it; `None` unless the search was by several:
    /// vector, words, sparse vectors.
    pub ranks: Option<Vec<Vec<ListRank>>>,
    /// The selected columns of the hits, row by row; `None` unless [`Query::select`] or
    /// [`Query::select_all`] was called.
    pub attributes: Option<RecordBatch>,
    /// The vectors of the hits, row-major; `None` unless [`Query::with_vectors`] was called.
    pub vectors: Option<Vectors<'static>>,
    /// For each hit the chunks around it and itself, in order; `None` unless [`Query::window`] was called.
    pub windows: Option<Vec<Records>>,
    /// For each hit, by column, the piece of its text in which the words stand; `None` unless
    /// [`Query::highlight`] was called.
    #[cfg(feature = "text")]
    pub snippets: Option<Vec<super::words::Snippets>>,
}

impl Hits {
    /// How many hits there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hits.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// The hits, nearest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Hit> {
        self.hits.iter()
    }
}

impl<'a> IntoIterator for &'a Hits {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl std::ops::Index<usize> for Hits {
    type Output = Hit;

    fn index(&self, index: usize) -> &Hit {
        &self.hits[index]
    }
}

/// A search about to run: made by [`Collection::search`] or [`Snapshot::search`].
#[derive(Debug)]
#[must_use = "a query does nothing until run"]
pub struct Query<'a> {
    pub(super) snapshot: Result<Snapshot>,
    /// `None` for a search by words alone.
    pub(super) asked: Option<Asked<'a>>,
    pub(super) request: Request<'a>,
}

/// Everything asked for beside the vectors.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) k: usize,
    /// Whether there is a vector, or a sparse one, beside words and further lists.
    pub(super) has_query: bool,
    /// Whether it is a sparse one.
    pub(super) is_sparse: bool,
    pub(super) ef: Option<usize>,
    pub(super) recall: Option<f32>,
    pub(super) exact: bool,
    pub(super) max_distance: f32,
    pub(super) shape: Shape,
    pub(super) select: Select,
    pub(super) with_vectors: bool,
    pub(super) filter: Option<Filter>,
    pub(super) cancel: Option<Arc<AtomicBool>>,
    #[cfg(feature = "text")]
    pub(super) words: super::words::WordAsk,
    /// Columns of sparse vectors that are searched as well.
    pub(super) sparse: Vec<(String, &'a [SparseVector])>,
    pub(super) fusion: Fusion,
    /// Rows that each list gives to a fusion.
    pub(super) candidates: Option<usize>,
    /// Characters of a snippet.
    #[cfg(feature = "text")]
    pub(super) highlight: Option<usize>,
    pub(super) rerank: Option<Rerank<'a>>,
    pub(super) window: Option<Window>,
}

/// Which columns of the hits to read.
#[derive(Debug)]
pub(super) enum Select {
    Nothing,
    All,
    Named(Vec<String>),
}

impl<'a> Query<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot>, asked: impl Into<Asked<'a>>) -> Self {
        Self::of(snapshot, Some(asked.into()))
    }

    pub(super) fn of(snapshot: Result<Snapshot>, asked: Option<Asked<'a>>) -> Self {
        let request = Request {
            k: 10,
            has_query: asked.is_some(),
            is_sparse: matches!(asked, Some(Asked::Sparse(..))),
            ef: None,
            recall: None,
            exact: false,
            max_distance: f32::INFINITY,
            shape: Shape::default(),
            select: Select::Nothing,
            with_vectors: false,
            filter: None,
            cancel: None,
            #[cfg(feature = "text")]
            words: super::words::WordAsk::default(),
            sparse: Vec::new(),
            fusion: Fusion::default(),
            candidates: None,
            #[cfg(feature = "text")]
            highlight: None,
            rerank: None,
            window: None,
        };
        Self { snapshot, asked, request }
    }

    /// How many hits to return. Default 10; 0 gives none, more than there are rows gives all.
    pub fn k(mut self, k: usize) -> Self {
        self.request.k = k;
        self
    }

    /// Nearest candidates that a graph search goes on from: more of them mean better recall and a
    /// slower search.
    /// Default [`Settings::ef_search`](crate::Settings::ef_search), and more over a graph that is known to find
    /// less than 95 of 100 with so many; raised to `k` where below, and to as many rows as are compared exactly
    /// where codes lead a walk among rows that are deleted or that a filter hides.
    pub fn ef(mut self, ef: usize) -> Self {
        self.request.ef = Some(ef);
        self
    }

    /// Compares with every row instead of walking graphs. Default false.
    pub fn exact(mut self, exact: bool) -> Self {
        self.request.exact = exact;
        self
    }

    /// Returns only hits at most this far away.
    pub fn max_distance(mut self, distance: f32) -> Self {
        self.request.max_distance = distance;
        self
    }

    pub(super) fn shape(&mut self) -> &mut Shape {
        &mut self.request.shape
    }

    /// Returns only hits that `filter` finds: a [`Filter`], or its text. If k rows of the collection
    /// match, k rows come back. Called again, both filters have to agree.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// let hits = docs.search(&[0.0_f32, 1.0]).filter("id > 1").run()?;
    /// assert_eq!((hits.len(), hits[0].id.clone()), (1, 2.into()));
    /// # Ok(()) }
    /// ```
    pub fn filter(mut self, filter: impl Into<Filter>) -> Self {
        let filter = filter.into();
        self.request.filter = Some(match self.request.filter.take() {
            Some(before) => before.and(filter),
            None => filter,
        });
        self
    }

    /// Reads these columns of the hits as well.
    pub fn select<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.request.select = Select::Named(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Reads all columns of the hits as well.
    pub fn select_all(mut self) -> Self {
        self.request.select = Select::All;
        self
    }

    /// Reads the vectors of the hits as well.
    pub fn with_vectors(mut self) -> Self {
        self.request.with_vectors = true;
        self
    }

    /// Gives the `candidates` best rows (at least k) to `rank`, which returns a score for each, bigger
    /// being better; the k of most score are the hits. The function sees what the query selects.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2, 3], &[0.0_f32, 1.0, 2.0], ())?;
    /// let farthest = |hits: &nearfield::Hits| Ok(hits.iter().map(|hit| hit.distance).collect());
    /// let hits = docs.search(&[0.0_f32]).k(1).rerank(10, farthest).run()?;
    /// assert_eq!((hits[0].id.clone(), hits[0].score), (3.into(), 4.0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the function fails with is the source of [`Error::Rerank`], which the search answers.
    pub fn rerank(
        mut self,
        candidates: usize,
        rank: impl Fn(&Hits) -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'a,
    ) -> Self {
        self.request.rerank = Some(Rerank::new(candidates, rank));
        self
    }

    /// Ends a batch of searches with `Cancelled` soon after this is set; a single one while it looks for the
    /// rows of its filter.
    pub fn cancel(mut self, flag: Arc<AtomicBool>) -> Self {
        self.request.cancel = Some(flag);
        self
    }

    /// Runs the search for one query vector.
    ///
    /// # Errors
    /// `DimensionMismatch` unless exactly one vector of the collection's dimension was given;
    /// `InvalidVector` for NaN or infinity; `NotFound` for an unknown column to select; `Filter` for a
    /// filter that cannot be read or does not fit the columns; `Words` for words that cannot be read; `Corrupt` when bytes that the search
    /// touched are damaged; `Closed`, `Forked`.
    pub fn run(self) -> Result<Hits> {
        self.one(None).map(|answer| answer.hits)
    }

    /// Runs the search like [`run`](Self::run), and says how it was done: the plan of each part,
    /// distances computed by kind, bytes touched, and times.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// let explained = docs.search(&[0.0_f32, 1.0]).k(1).explain()?;
    /// assert_eq!(explained.parts[0].plan, nearfield::SearchPlan::Scan);
    /// assert_eq!(explained.parts[0].rows_compared, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn explain(self) -> Result<Explanation> {
        let mut traces = Vec::new();
        let Answer { hits, snapshot, chosen, request, rerank, times: [prepare, search, read] } =
            self.one(Some(&mut traces))?;
        #[cfg(feature = "text")]
        let words = request.explain_words(&snapshot, &traces)?;
        let filter = chosen.zip(request.filter.as_ref());
        let filter = filter.map(|(chosen, filter)| chosen.explain(filter));
        let part = |trace: &Trace| trace.explain(&snapshot, &request);
        let parts = traces.iter().filter_map(part).collect();
        let recall = request.recall;
        Ok(Explanation {
            hits,
            recall,
            parts,
            #[cfg(feature = "text")]
            words,
            filter,
            prepare,
            search,
            rerank,
            read,
        })
    }

    fn one(self, traces: Option<&mut Vec<Trace>>) -> Result<Answer<'a>> {
        let start = Instant::now();
        let Self { snapshot, asked, request } = self;
        let snapshot = snapshot?;
        span!(
            DEBUG,
            "search",
            collection = snapshot.meters.name.as_str(),
            k = request.k,
            rows = snapshot.len(),
        );
        match request.queries(asked.as_ref().map(|_| 1))? {
            1 => {}
            0 => return Err(Error::invalid("there is nothing to search for")),
            many => {
                return Err(Error::invalid(format!(
                    "{many} queries are given; run_batch takes many"
                )));
            }
        }
        let one = |asked: &Asked<'a>| {
            asked.check_one(&snapshot.view)?;
            asked.prepare(&snapshot.view)
        };
        let queries = asked.as_ref().map(one).transpose()?;
        let queries = queries.as_ref().map(Queries::all);
        let wanted = request.wanted(&snapshot)?;
        let chosen = request.choose(&snapshot)?;
        let prepared = start.elapsed();
        let (ranked, rerank) =
            request.rank(&snapshot, queries, chosen.as_ref(), wanted.as_ref(), traces)?;
        let searched = start.elapsed().saturating_sub(prepared);
        let hits = request.read_whole(&snapshot, ranked, wanted.as_ref())?;
        let all = start.elapsed();
        snapshot.meters.searched(all);
        let times = [prepared, searched, all.saturating_sub(prepared + searched)];
        Ok(Answer { hits, snapshot, chosen, request, rerank, times })
    }
}

impl Request<'_> {
    pub(super) fn wanted(&self, snapshot: &Snapshot) -> Result<Option<SchemaRef>> {
        if self.max_distance.is_nan() {
            return Err(Error::invalid("max_distance is NaN; give a number"));
        }
        self.check_recall()?;
        self.fusion.validate()?;
        self.shape.check(&snapshot.view)?;
        self.window.as_ref().map_or(Ok(()), |window| window.check(&snapshot.view))?;
        #[cfg(feature = "text")]
        self.check_words()?;
        let names = match &self.select {
            Select::Nothing => return Ok(None),
            Select::All => None,
            Select::Named(names) => Some(names.as_slice()),
        };
        snapshot.view.schema.select(names).map(Some)
    }

    /// What the filter leaves; `None` without one.
    pub(super) fn choose(&self, snapshot: &Snapshot) -> Result<Option<Chosen>> {
        let cancel = self.cancel.as_ref();
        self.filter.as_ref().map(|filter| snapshot.view.choose(filter, cancel)).transpose()
    }

    /// For each query the `k` nearest rows, or what `shape` makes of them.
    pub(super) fn search(
        &self,
        snapshot: &Snapshot,
        queries: SomeQueries<'_>,
        (k, shape): (usize, &Shape),
        chosen: Option<&Chosen>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Vec<Found>>> {
        self.check_cancel()?;
        let params = self.params(snapshot, k);
        let hidden = chosen.map(|chosen| chosen.hidden.as_slice());
        match k {
            0 => Ok(vec![Vec::new(); queries.len()]),
            _ if !shape.is_plain() => {
                self.pick(snapshot, queries, (&params, shape), hidden, traces)
            }
            _ => queries.search(snapshot, &params, hidden, traces),
        }
    }

    pub(super) fn params(&self, snapshot: &Snapshot, k: usize) -> SearchParams {
        SearchParams {
            k,
            ef: self.ef.unwrap_or(snapshot.host.settings.ef_search).max(1),
            recall: self.wanted_recall(&snapshot.view),
            exact: self.is_exact(),
            max_distance: self.max_distance,
            stable: self.shape.is_paged(),
            without: None,
        }
    }

    /// Searches with a shape, query by query.
    fn pick(
        &self,
        snapshot: &Snapshot,
        queries: SomeQueries<'_>,
        (params, shape): (&SearchParams, &Shape),
        hidden: Option<&[RowSet]>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Vec<Found>>> {
        let (view, isa) = (&*snapshot.view, snapshot.host.isa);
        let pick = |query: SomeQueries<'_>| {
            let search = |k, hidden: Option<&[RowSet]>, traces: Option<&mut Vec<Trace>>| {
                self.check_cancel()?;
                let params = SearchParams { k, ..*params };
                let found = query.search(snapshot, &params, hidden, traces)?;
                Ok(found.into_iter().flatten().collect())
            };
            let counts = (params.k, params.ef);
            let shape = (shape, matches!(query, SomeQueries::Sparse(..)));
            shape::pick(shape, view, isa, counts, &search, hidden, traces.as_deref_mut())
        };
        queries.chunks(1).map(pick).collect()
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        match &self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// The hits with what is wanted of their rows and around them.
    pub(super) fn read_whole(
        &self,
        snapshot: &Snapshot,
        ranked: Vec<Ranked>,
        wanted: Option<&SchemaRef>,
    ) -> Result<Hits> {
        let places: Vec<_> = ranked.iter().map(|ranked| ranked.place).collect();
        let windows = self.windows(&snapshot.view, &places, wanted)?;
        Ok(Hits { windows, ..self.read(snapshot, ranked, wanted)? })
    }

    /// The hits with what is wanted of their rows.
    pub(super) fn read(
        &self,
        snapshot: &Snapshot,
        ranked: Vec<Ranked>,
        wanted: Option<&SchemaRef>,
    ) -> Result<Hits> {
        let places: Vec<_> = ranked.iter().map(|ranked| ranked.place).collect();
        let attributes =
            wanted.map(|wanted| snapshot.view.attributes(&places, wanted)).transpose()?;
        let vectors = self.with_vectors.then(|| snapshot.view.vectors(&places)).transpose()?;
        #[cfg(feature = "text")]
        let snippets = self.snippets(snapshot, &places)?;
        let ranks =
            self.is_by_lists().then(|| ranked.iter().map(|one| one.ranks.clone()).collect());
        let hit = |Ranked { id, score, distance, .. }| Hit {
            id,
            distance: distance.unwrap_or(-score),
            score,
        };
        Ok(Hits {
            hits: ranked.into_iter().map(hit).collect(),
            ranks,
            attributes,
            vectors,
            windows: None,
            #[cfg(feature = "text")]
            snippets,
        })
    }
}

/// The answer to one query.
struct Answer<'a> {
    hits: Hits,
    snapshot: Snapshot,
    chosen: Option<Chosen>,
    request: Request<'a>,
    rerank: Option<Duration>,
    /// To prepare the query, to search, to read.
    times: [Duration; 3],
}

impl Collection {
    /// Begins a search for the rows nearest to `query` (one vector for [`Query::run`], any number
    /// for [`Query::run_batch`]).
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// let schema = nearfield::Schema::new(2, nearfield::Metric::L2);
    /// let docs = db.collection("docs", schema)?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// let hits = docs.search(&[0.0_f32, 1.0]).k(1).run()?;
    /// assert_eq!((hits[0].id.clone(), hits[0].distance), (1.into(), 1.0));
    /// # Ok(()) }
    /// ```
    pub fn search<'a>(&self, query: impl Into<Vectors<'a>>) -> Query<'a> {
        Query::new(self.snapshot(), query.into())
    }
}
