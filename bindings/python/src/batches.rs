//! Imports of what Python iterates over: batches that are made while they are stored.

use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use nearfield::{Collection, Column, Error, ImportBatch};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::bulk::some_ids;
use crate::columns;
use crate::errors::{call, invalid, wrong_type};
use crate::files;
use crate::ids::IdsArg;
use crate::interrupt::fed;
use crate::vectors::{Shape, VectorsArg};

const ITEM: &str = "a tuple (ids, vectors) or (ids, vectors, data)";

/// Stores the rows of all batches or none; how many there were.
pub(crate) fn import(
    batches: &Bound<'_, PyAny>,
    collection: &Collection,
    shape: Shape,
    progress: Option<Py<PyAny>>,
) -> PyResult<u64> {
    let py = batches.py();
    let Ok(mut items) = batches.try_iter() else {
        return Err(wrong_type("batches", &format!("an iterable, each item {ITEM}"), batches));
    };
    let Some(first) = items.next() else { return Ok(0) };
    let first = batch(&first?, shape, 0)?;
    let columns = missing(py, collection, first.attributes.as_ref())?;
    let items: Py<PyIterator> = items.unbind();
    let mut row = first.len() as u64;
    let next = Mutex::new(None);
    let slot = || next.lock().unwrap_or_else(PoisonError::into_inner);
    let mut feed = |py: Python<'_>| {
        let Some(item) = items.bind(py).clone().next() else { return Ok(false) };
        let batch = batch(&item?, shape, row)?;
        row += batch.len() as u64;
        *slot() = Some(batch);
        Ok(true)
    };
    fed(py, progress, &mut feed, |task| {
        let rest = std::iter::from_fn(|| match task.feed() {
            true => slot().take().map(Ok),
            false => task.is_cancelled().then_some(Err(Error::Cancelled)),
        });
        let source = std::iter::once(Ok(first)).chain(rest);
        let options = files::options(task, None).columns(columns);
        let report = collection.import(source, options)?;
        task.tell("done", report.rows, Some(report.rows));
        Ok(report.rows)
    })
}

/// One batch: ids, vectors and perhaps data, the first of its rows being number `row`.
fn batch(item: &Bound<'_, PyAny>, shape: Shape, row: u64) -> PyResult<ImportBatch> {
    let Ok(parts) = item.cast::<PyTuple>() else {
        return Err(wrong_type("batches: an item", ITEM, item));
    };
    if !(2..=3).contains(&parts.len()) {
        let message = format!("batches: expected {ITEM}, given {} values", parts.len());
        return Err(invalid(item.py(), message));
    }
    let ids = IdsArg::from_python(&parts.get_item(0)?)?;
    let vectors = VectorsArg::from_python(&parts.get_item(1)?, shape)?;
    let rows = ids.len();
    if rows != vectors.rows {
        let message = format!("{rows} ids for {} vectors; give one for each", vectors.rows);
        return Err(invalid(item.py(), message));
    }
    let data = if parts.len() == 3 { Some(parts.get_item(2)?) } else { None };
    let data = data.filter(|data| !data.is_none());
    let attributes = data.map(|data| columns::from_python(&data, rows)).transpose()?;
    Ok(ImportBatch {
        ids: some_ids(&ids.ids()?, 0, rows),
        vectors: vectors.vectors()?.into_owned(),
        attributes,
        source_rows: (row..row + rows as u64).collect(),
        rejected: Vec::new(),
    })
}

/// The columns that the first batch has and the collection lacks: an import finds no others.
fn missing(
    py: Python<'_>,
    collection: &Collection,
    data: Option<&RecordBatch>,
) -> PyResult<Vec<Column>> {
    let Some(data) = data else { return Ok(Vec::new()) };
    let schema = call(py, || collection.schema())?;
    columns::missing(py, data.clone(), &schema).map(|(_, missing)| missing)
}
