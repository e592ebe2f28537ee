//! Searches as a collection and a snapshot of one run them.

use nearfield::{Error, Filter, ScanOptions};
use nearfield::{Query, Schema, Vectors};
use pyo3::prelude::*;

use crate::batch_hits::BatchHits;
use crate::errors::{call, invalid};
use crate::explain::Explanation;
use crate::hits::{Found, Hits};
use crate::ids::id_from_python;
use crate::interrupt::long;
use crate::request::{Request, kind};
use crate::vectors::{Shape, VectorsArg};

/// Queries from which a batch looks for Ctrl-C.
const MANY: usize = 64;

/// A search about to run, and the schema of what it searches.
type Begun<'q> = Result<(Schema, Query<'q>), Error>;

pub(crate) fn search(
    q: &Bound<'_, PyAny>,
    shape: Shape,
    request: Request,
    begin: impl for<'q> Fn(Vectors<'q>) -> Begun<'q> + Send + Sync,
) -> PyResult<Hits> {
    let query = one(q, shape)?;
    let query = query.vectors()?;
    let (schema, hits) = call(q.py(), || {
        let (schema, query) = begin(query)?;
        let hits = request.apply(query, &schema).run()?;
        Ok((schema, hits))
    })?;
    let id_type = kind(hits.hits.first().map(|hit| &hit.id), &schema);
    Ok(Hits { found: Found::new(hits, id_type, shape.width) })
}

pub(crate) fn explain(
    q: &Bound<'_, PyAny>,
    shape: Shape,
    request: Request,
    begin: impl for<'q> Fn(Vectors<'q>) -> Begun<'q> + Send + Sync,
) -> PyResult<Explanation> {
    let query = one(q, shape)?;
    let query = query.vectors()?;
    let (schema, explained) = call(q.py(), || {
        let (schema, query) = begin(query)?;
        let explained = request.apply(query, &schema).explain()?;
        Ok((schema, explained))
    })?;
    let id_type = kind(explained.hits.hits.first().map(|hit| &hit.id), &schema);
    let times = [explained.prepare, explained.search, explained.read];
    let found = Found::new(explained.hits, id_type, shape.width);
    Ok(Explanation::new(found, explained.parts, explained.filter, times))
}

pub(crate) fn search_batch(
    queries: &Bound<'_, PyAny>,
    shape: Shape,
    request: Request,
    begin: impl for<'q> Fn(Vectors<'q>) -> Begun<'q> + Send + Sync,
) -> PyResult<BatchHits> {
    let py = queries.py();
    let queries = VectorsArg::from_python(queries, shape)?;
    let (rows, k, vectors) = (queries.rows, request.k, queries.vectors()?);
    let run = |cancel: Option<&std::sync::Arc<std::sync::atomic::AtomicBool>>| {
        let (schema, query) = begin(vectors)?;
        if rows == 0 {
            return Ok((schema, Vec::new()));
        }
        let mut query = request.apply(query, &schema);
        if let Some(cancel) = cancel {
            query = query.cancel(cancel.clone());
        }
        let hits = query.run_batch()?;
        Ok((schema, hits))
    };
    let (schema, hits) = if rows < MANY {
        call(py, || run(None))?
    } else {
        long(py, None, |task| run(Some(&task.cancel)))?
    };
    let first = hits.iter().find_map(|hits| hits.hits.first()).map(|hit| &hit.id);
    let id_type = kind(first, &schema);
    Ok(BatchHits::new(hits, k, id_type, shape.width))
}

/// Where a scan begins and ends.
pub(crate) fn pages(
    mut options: ScanOptions,
    after: Option<&Bound<'_, PyAny>>,
    limit: Option<usize>,
    filter: Option<Filter>,
) -> PyResult<ScanOptions> {
    if let Some(after) = after {
        options = options.after(id_from_python(after)?);
    }
    if let Some(filter) = filter {
        options = options.filter(filter);
    }
    if let Some(limit) = limit {
        options = options.limit(limit);
    }
    Ok(options)
}

fn one<'py>(q: &Bound<'py, PyAny>, shape: Shape) -> PyResult<VectorsArg<'py>> {
    let query = VectorsArg::from_python(q, shape)?;
    if query.rows == 1 {
        return Ok(query);
    }
    let given = query.rows;
    Err(invalid(q.py(), format!("q: expected one vector, given {given}; use search_batch")))
}
