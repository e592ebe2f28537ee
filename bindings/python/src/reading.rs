//! Searches as a collection and a snapshot of one run them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nearfield::{Collection, IdType, Query, Result, ScanOptions, Schema, SparseVector, Vectors};
use pyo3::prelude::*;

use crate::batch_hits::BatchHits;
use crate::errors::call;
use crate::explain::Explanation;
use crate::filter::filter_arg;
use crate::hits::{Found, Hits};
use crate::ids::{id_from_python, id_type};
use crate::interrupt::long;
use crate::request::{Request, fields, kind};
use crate::sparse;
use crate::vectors::{Shape, VectorsArg};

/// Queries from which a batch looks for Ctrl-C.
const MANY: usize = 64;

/// Where rows are searched.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Collection(&'a Collection),
    Snapshot(&'a nearfield::Snapshot, &'a Schema),
}

impl Source<'_> {
    /// A search by vector, or of none by words.
    fn begin<'q>(self, vectors: Option<Vectors<'q>>, request: &Request) -> Query<'q> {
        let words = || request.words.words();
        match (vectors, self) {
            (Some(vectors), source) => source.search(vectors),
            (None, Self::Collection(collection)) => collection.search_words_each(words()),
            (None, Self::Snapshot(snapshot, _)) => snapshot.search_words_each(words()),
        }
    }

    fn search<'q>(self, vectors: Vectors<'q>) -> Query<'q> {
        match self {
            Self::Collection(collection) => collection.search(vectors),
            Self::Snapshot(snapshot, _) => snapshot.search(vectors),
        }
    }

    fn search_sparse<'q>(self, column: &str, vectors: &'q [SparseVector]) -> Query<'q> {
        match self {
            Self::Collection(collection) => collection.search_sparse(column, vectors),
            Self::Snapshot(snapshot, _) => snapshot.search_sparse(column, vectors),
        }
    }

    /// The answer to a query that finds nothing, with the columns of those that find something.
    fn nothing(
        self,
        py: Python<'_>,
        select: Option<Vec<String>>,
        vectors: bool,
    ) -> PyResult<nearfield::Hits> {
        let has_columns = select.as_ref().is_none_or(|names| !names.is_empty());
        let (ids, fields): ([u64; 0], _) = ([], fields(select, vectors));
        let none = call(py, || match self {
            Self::Collection(collection) => collection.get(&ids, &fields),
            Self::Snapshot(snapshot, _) => snapshot.get(&ids, &fields),
        })?;
        Ok(nearfield::Hits {
            hits: Vec::new(),
            ranks: None,
            attributes: has_columns.then_some(none.attributes),
            vectors: none.vectors,
            snippets: None,
            windows: None,
        })
    }

    /// The kind of ids that were found; only of none is the schema asked, which takes time.
    fn kind(self, py: Python<'_>, first: Option<&nearfield::Hit>) -> PyResult<IdType> {
        if let Some(found) = id_type(first.map(|hit| &hit.id)) {
            return Ok(found);
        }
        match self {
            Self::Collection(collection) => Ok(kind(None, &call(py, || collection.schema())?)),
            Self::Snapshot(_, schema) => Ok(kind(None, schema)),
        }
    }
}

/// A search by further columns as well.
fn with<'q>(query: Query<'q>, sparse: &'q [(String, Vec<SparseVector>)]) -> Query<'q> {
    sparse.iter().fold(query, |query, (column, vectors)| query.sparse_each(column, vectors))
}

pub(crate) fn search(
    py: Python<'_>,
    source: Source<'_>,
    query: Option<&VectorsArg<'_>>,
    shape: Shape,
    mut request: Request,
) -> PyResult<Hits> {
    request.check(py, query.is_some())?;
    let query = query.map(VectorsArg::vectors).transpose()?;
    let sparse = std::mem::take(&mut request.sparse);
    let hits = call(py, || {
        let begun = with(source.begin(query, &request), &sparse);
        request.apply(begun, shape.width).run()
    })?;
    let id_type = source.kind(py, hits.hits.first())?;
    Ok(Hits { found: Found::new(hits, id_type, shape.width) })
}

pub(crate) fn explain(
    py: Python<'_>,
    source: Source<'_>,
    query: Option<&VectorsArg<'_>>,
    shape: Shape,
    mut request: Request,
) -> PyResult<Explanation> {
    request.check(py, query.is_some())?;
    let query = query.map(VectorsArg::vectors).transpose()?;
    let sparse = std::mem::take(&mut request.sparse);
    let explained = call(py, || {
        let begun = with(source.begin(query, &request), &sparse);
        request.apply(begun, shape.width).explain()
    })?;
    explanation(py, source, explained, shape.width)
}

fn explanation(
    py: Python<'_>,
    source: Source<'_>,
    explained: nearfield::Explanation,
    width: usize,
) -> PyResult<Explanation> {
    let id_type = source.kind(py, explained.hits.hits.first())?;
    let times = [explained.prepare, explained.search, explained.read];
    let found = Found::new(explained.hits, id_type, width);
    let nearfield::Explanation { recall, parts, filter, words, rerank, .. } = explained;
    Ok(Explanation::new(found, (recall, parts), filter, words, times, rerank))
}

pub(crate) fn search_batch(
    py: Python<'_>,
    source: Source<'_>,
    queries: Option<&VectorsArg<'_>>,
    shape: Shape,
    mut request: Request,
) -> PyResult<BatchHits> {
    request.check(py, queries.is_some())?;
    let rows = queries.map_or_else(|| request.words.words().len(), |queries| queries.rows);
    let vectors = queries.map(VectorsArg::vectors).transpose()?;
    let sparse = std::mem::take(&mut request.sparse);
    let begin = |request: &Request| with(source.begin(vectors, request), &sparse);
    batch(py, source, rows, begin, shape.width, request)
}

/// The answers to `rows` queries.
fn batch<'q>(
    py: Python<'_>,
    source: Source<'_>,
    rows: usize,
    begin: impl FnOnce(&Request) -> Query<'q> + Send,
    width: usize,
    request: Request,
) -> PyResult<BatchHits> {
    let most = request.picks.most(request.k);
    let (select, with_vectors) = (request.select.clone(), request.vectors);
    let run = |cancel: Option<&Arc<AtomicBool>>| -> Result<_> {
        let begun = begin(&request);
        let mut query = request.apply(begun, width);
        if let Some(cancel) = cancel {
            query = query.cancel(cancel.clone());
        }
        query.run_batch()
    };
    let hits = if rows < MANY {
        call(py, || run(None))?
    } else {
        long(py, None, |task| run(Some(&task.cancel)))?
    };
    let id_type = source.kind(py, hits.iter().find_map(|hits| hits.hits.first()))?;
    let nothing = match hits.is_empty() {
        true => Some(source.nothing(py, select, with_vectors)?),
        false => None,
    };
    let found = |hits| Found::new(hits, id_type, width);
    let (hits, nothing) = (hits.into_iter().map(found).collect(), nothing.map(found));
    Ok(BatchHits::new(hits, nothing, most, id_type))
}

/// A search of a column of sparse vectors.
pub(crate) fn search_sparse(
    source: Source<'_>,
    column: &str,
    query: &Bound<'_, PyAny>,
    width: usize,
    mut request: Request,
) -> PyResult<Hits> {
    let py = query.py();
    request.check(py, true)?;
    let vector = [sparse::vector("query", query)?];
    let more = std::mem::take(&mut request.sparse);
    let begin = || with(source.search_sparse(column, &vector), &more);
    let hits = call(py, || request.apply(begin(), width).run())?;
    let id_type = source.kind(py, hits.hits.first())?;
    Ok(Hits { found: Found::new(hits, id_type, width) })
}

pub(crate) fn explain_sparse(
    source: Source<'_>,
    column: &str,
    query: &Bound<'_, PyAny>,
    width: usize,
    mut request: Request,
) -> PyResult<Explanation> {
    let py = query.py();
    request.check(py, true)?;
    let vector = [sparse::vector("query", query)?];
    let more = std::mem::take(&mut request.sparse);
    let begin = || with(source.search_sparse(column, &vector), &more);
    let explained = call(py, || request.apply(begin(), width).explain())?;
    explanation(py, source, explained, width)
}

pub(crate) fn search_sparse_batch(
    source: Source<'_>,
    column: &str,
    queries: &Bound<'_, PyAny>,
    width: usize,
    mut request: Request,
) -> PyResult<BatchHits> {
    request.check(queries.py(), true)?;
    let vectors = sparse::vectors("queries", queries)?;
    let more = std::mem::take(&mut request.sparse);
    let begin = |_: &Request| with(source.search_sparse(column, &vectors), &more);
    batch(queries.py(), source, vectors.len(), begin, width, request)
}

/// Where a scan begins and ends.
pub(crate) fn pages(
    mut options: ScanOptions,
    after: Option<&Bound<'_, PyAny>>,
    limit: Option<usize>,
    r#where: Option<&Bound<'_, PyAny>>,
) -> PyResult<ScanOptions> {
    if let Some(after) = after {
        options = options.after(id_from_python(after)?);
    }
    if let Some(filter) = filter_arg(r#where)? {
        options = options.filter(filter);
    }
    if let Some(limit) = limit {
        options = options.limit(limit);
    }
    Ok(options)
}
