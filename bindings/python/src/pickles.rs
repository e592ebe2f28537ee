//! Answers through `pickle`: what they hold as plain values, their columns and vectors as an Arrow
//! stream. `nearfield/_pickles.py` has the functions that a pickle names.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int8Type, UInt8Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType};
use nearfield::{Hit, Id, IdType, ListRank, SearchList, Snippet, Vectors};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch_hits::BatchHits;
use crate::errors::{guard, invalid};
use crate::explain::list;
use crate::hits::{Found, Hits};
use crate::ids::{id_from_python, id_to_python};
use crate::records::Records;
use crate::rows;

/// The name of the column that the vectors of rows are.
const VECTOR: &str = "vector";

/// Ids, whether they are strings, elements of a vector, and all columns.
type Rows<'py> = (Vec<Bound<'py, PyAny>>, bool, usize, Bound<'py, PyBytes>);
/// List, column, rank and score.
type Rank = (String, Option<String>, usize, f32);
/// Column, text, marks, and whether it is cut before and behind.
type Piece = (String, String, Vec<(usize, usize)>, bool, bool);
/// Rows, whether columns were read, distances, scores, ranks, snippets and windows.
type Answer<'py> = (
    Rows<'py>,
    bool,
    Vec<f32>,
    Vec<f32>,
    Option<Vec<Vec<Rank>>>,
    Option<Vec<Vec<Piece>>>,
    Option<Vec<Rows<'py>>>,
);

/// Hits as plain values.
pub(crate) fn answer<'py>(py: Python<'py>, found: &Found) -> PyResult<Answer<'py>> {
    let nearfield::Hits { hits, ranks, attributes, vectors, windows, snippets, .. } = &found.hits;
    let (id_type, width) = found.shape();
    let columns = attributes.as_ref();
    let ids = hits.iter().map(|hit| &hit.id);
    let rows = rows(py, ids, id_type, width, columns, vectors.as_ref())?;
    let rank = |rank: &ListRank| {
        let (list, column) = list(&rank.list);
        (list.to_owned(), column.map(ToOwned::to_owned), rank.rank, rank.score)
    };
    let ranks = ranks.as_ref().map(|all| {
        all.iter().map(|ranks| ranks.iter().map(rank).collect()).collect::<Vec<Vec<Rank>>>()
    });
    let piece = |(column, snippet): (&String, &Snippet)| {
        let Snippet { text, marks, cut_before, cut_after } = snippet.clone();
        let marks = marks.into_iter().map(|mark| (mark.start, mark.end)).collect();
        (column.clone(), text, marks, cut_before, cut_after)
    };
    let snippets = snippets.as_ref().map(|all| {
        all.iter().map(|pieces| pieces.iter().map(piece).collect()).collect::<Vec<Vec<Piece>>>()
    });
    let window = |window: &nearfield::Records| {
        let (ids, columns) = (window.ids.iter(), Some(&window.attributes));
        self::rows(py, ids, id_type, width, columns, window.vectors.as_ref())
    };
    let windows = windows.as_ref().map(|all| all.iter().map(window).collect()).transpose()?;
    let distances = hits.iter().map(|hit| hit.distance).collect();
    let scores = hits.iter().map(|hit| hit.score).collect();
    Ok((rows, columns.is_some(), distances, scores, ranks, snippets, windows))
}

/// Rows as plain values.
pub(crate) fn rows<'a, 'py>(
    py: Python<'py>,
    ids: impl Iterator<Item = &'a Id> + Clone,
    id_type: IdType,
    width: usize,
    columns: Option<&RecordBatch>,
    vectors: Option<&Vectors<'_>>,
) -> PyResult<Rows<'py>> {
    let vectors = vectors.map(|vectors| (vectors, width));
    let failed = |error: ArrowError| invalid(py, format!("the answer cannot be pickled: {error}"));
    let batch = rows::record_batch(ids.clone(), id_type, Vec::new(), columns, vectors);
    // The ids are beside it, so that each is known to be one.
    let batch = batch.and_then(|batch| {
        let others: Vec<usize> = (1..batch.num_columns()).collect();
        batch.project(&others)
    });
    let batch = batch.map_err(failed)?;
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, batch.schema_ref()).and_then(|mut stream| {
        stream.write(&batch)?;
        stream.finish()
    });
    written.map_err(failed)?;
    let ids: PyResult<Vec<_>> = ids.map(|id| id_to_python(py, id)).collect();
    Ok((ids?, id_type == IdType::Utf8, width, PyBytes::new(py, &bytes)))
}

/// The hits of one search.
#[pyfunction]
pub(crate) fn _hits(py: Python<'_>, answer: Answer<'_>) -> PyResult<Hits> {
    Ok(Hits { found: found(py, answer)? })
}

/// The hits of many.
#[pyfunction]
pub(crate) fn _batch_hits(
    py: Python<'_>,
    answers: Vec<Answer<'_>>,
    nothing: Option<Answer<'_>>,
    k: usize,
    text: bool,
) -> PyResult<BatchHits> {
    let nothing = nothing.map(|answer| found(py, answer)).transpose()?;
    let found = answers.into_iter().map(|answer| found(py, answer)).collect::<PyResult<_>>()?;
    Ok(BatchHits::new(found, nothing, k, id_type(text)))
}

/// Rows that were read back.
#[pyfunction]
pub(crate) fn _records(py: Python<'_>, rows: Rows<'_>) -> PyResult<Records> {
    let (ids, id_type, width, attributes, vectors) = read(py, rows)?;
    let records = nearfield::Records { ids, vectors, attributes };
    Ok(Records::new(records, id_type, width))
}

fn window(py: Python<'_>, rows: Rows<'_>) -> PyResult<nearfield::Records> {
    let (ids, _, _, attributes, vectors) = read(py, rows)?;
    Ok(nearfield::Records { ids, vectors, attributes })
}

fn found(py: Python<'_>, answer: Answer<'_>) -> PyResult<Arc<Found>> {
    let (rows, has_columns, distances, scores, ranks, snippets, windows) = answer;
    let (ids, id_type, width, columns, vectors) = read(py, rows)?;
    let hits: Vec<Hit> = ids
        .into_iter()
        .zip(distances.into_iter().zip(scores))
        .map(|(id, (distance, score))| Hit { id, distance, score })
        .collect();
    if hits.len() != columns.num_rows() {
        return Err(invalid(py, "the hits and their columns are of different lengths"));
    }
    let rank = |(list, column, rank, score): Rank| {
        let list = match (list.as_str(), column) {
            (_, Some(column)) => SearchList::Sparse(column),
            ("words", None) => SearchList::Words,
            _ => SearchList::Vector,
        };
        ListRank::new(list, rank, score)
    };
    let ranks = ranks
        .map(|all| all.into_iter().map(|ranks| ranks.into_iter().map(rank).collect()).collect());
    let piece = |(column, text, marks, cut_before, cut_after): Piece| {
        let marks = marks.into_iter().map(|(start, end)| start..end).collect();
        (column, Snippet { text, marks, cut_before, cut_after })
    };
    let snippets = snippets.map(|all| {
        let pieces = |pieces: Vec<Piece>| pieces.into_iter().map(piece).collect::<BTreeMap<_, _>>();
        all.into_iter().map(pieces).collect()
    });
    let attributes = has_columns.then_some(columns);
    let windows: Option<Vec<_>> = windows
        .map(|all| all.into_iter().map(|rows| window(py, rows)).collect::<PyResult<_>>())
        .transpose()?;
    if windows.as_ref().is_some_and(|windows| windows.len() != hits.len()) {
        return Err(invalid(py, "the hits and their windows are of different lengths"));
    }
    let hits = nearfield::Hits { hits, ranks, attributes, vectors, windows, snippets };
    Ok(Found::new(hits, id_type, width))
}

type Read = (Vec<Id>, IdType, usize, RecordBatch, Option<Vectors<'static>>);

fn read(py: Python<'_>, (ids, text, width, bytes): Rows<'_>) -> PyResult<Read> {
    let ids = ids.iter().map(id_from_python).collect::<PyResult<Vec<Id>>>()?;
    let read = || -> Result<(RecordBatch, Option<Vectors<'static>>), ArrowError> {
        let none = || ArrowError::IpcError("there is no record batch".into());
        let mut stream = StreamReader::try_new(bytes.as_bytes(), None)?;
        let batch = stream.next().unwrap_or_else(|| Err(none()))?;
        match batch.schema_ref().index_of(VECTOR) {
            Ok(at) => {
                let others: Vec<usize> =
                    (0..batch.num_columns()).filter(|index| *index != at).collect();
                Ok((batch.project(&others)?, Some(vectors(batch.column(at))?)))
            }
            Err(_) => Ok((batch, None)),
        }
    };
    let (columns, vectors) = guard(py, || catch_unwind(AssertUnwindSafe(read)))?
        .map_err(|error| invalid(py, format!("the pickle cannot be read: {error}")))?;
    if columns.num_rows() != ids.len() {
        return Err(invalid(py, "the ids and the columns are of different lengths"));
    }
    Ok((ids, id_type(text), width, columns, vectors))
}

fn id_type(text: bool) -> IdType {
    if text { IdType::Utf8 } else { IdType::U64 }
}

fn vectors(column: &ArrayRef) -> Result<Vectors<'static>, ArrowError> {
    let wrong = || ArrowError::SchemaError("the vectors are no vectors".into());
    let values = column.as_fixed_size_list_opt().ok_or_else(wrong)?.values();
    Ok(match values.data_type() {
        DataType::Float32 => values.as_primitive::<Float32Type>().values().to_vec().into(),
        DataType::Float16 => values.as_primitive::<Float16Type>().values().to_vec().into(),
        DataType::Int8 => values.as_primitive::<Int8Type>().values().to_vec().into(),
        DataType::UInt8 => values.as_primitive::<UInt8Type>().values().to_vec().into(),
        _ => return Err(wrong()),
    })
}
