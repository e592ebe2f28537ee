//! Rows read back: by id, or by walking through all of them.

use std::sync::{Mutex, OnceLock, PoisonError};

use arrow_array::RecordBatch;
use nearfield::{Id, IdType};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList, PySlice};

use crate::errors::{call, invalid};
use crate::hits::position;
use crate::ids::id_type;
use crate::{arrow_ffi, pickles, rows};

/// Rows read back: a sequence of dicts.
///
/// >>> records = docs.get([2, 1, 7])
/// >>> len(records), records[0], records.ids.tolist()
/// (2, {'id': 2, 'title': 'far'}, [2, 1])
///
/// Takes part in the Arrow PyCapsule interface: `pyarrow.table(records)` and
/// `polars.DataFrame(records)` read it without a copy.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Records {
    records: nearfield::Records,
    id_type: IdType,
    width: usize,
    /// Everything as one record batch, made when first asked for.
    batch: OnceLock<RecordBatch>,
}

impl Records {
    pub(crate) fn new(records: nearfield::Records, id_type: IdType, width: usize) -> Self {
        Self { records, id_type, width, batch: OnceLock::new() }
    }

    fn batch(&self, py: Python<'_>) -> PyResult<&RecordBatch> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch);
        }
        let vectors = self.records.vectors.as_ref().map(|vectors| (vectors, self.width));
        let ids = self.records.ids.iter();
        let attributes = Some(&self.records.attributes);
        let batch = rows::record_batch(ids, self.id_type, Vec::new(), attributes, vectors)
            .map_err(|error| invalid(py, error.to_string()))?;
        Ok(self.batch.get_or_init(|| batch))
    }
}

#[pymethods]
impl Records {
    fn __len__(&self) -> usize {
        self.records.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            return PyList::new(py, self.to_dicts(py)?)?.as_any().get_item(slice);
        }
        let row = position(index, self.__len__(), "record")?;
        Ok(rows::dict(py, self.batch(py)?, row)?.into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.to_dicts(py)?)?.try_iter()
    }

    /// The ids as an array: int64 (uint64 if an id is 2**63 or more), or objects of `str`.
    ///
    /// >>> docs.get([2, 1]).ids.tolist()
    /// [2, 1]
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ids: Vec<Option<&Id>> = self.records.ids.iter().map(Some).collect();
        rows::id_array(py, self.id_type, &ids)
    }

    /// The vectors as they are stored, of shape (rows, elements); `None` unless asked for.
    ///
    /// >>> docs.get([2], vectors=True).vectors.tolist()
    /// [[3.0, 4.0]]
    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let vectors = self.records.vectors.as_ref();
        let array = |vectors| rows::vector_array(py, vectors, self.__len__(), self.width);
        vectors.map(array).transpose()
    }

    /// A list with a dict for each row: id, the columns and, if read, vector.
    ///
    /// >>> docs.get([2]).to_dicts()
    /// [{'id': 2, 'title': 'far'}]
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let batch = self.batch(py)?;
        (0..batch.num_rows()).map(|row| rows::dict(py, batch, row)).collect()
    }

    /// The rows as a `pyarrow.Table`.
    ///
    /// >>> docs.get([2]).to_arrow().column_names  # doctest: +SKIP
    /// ['id', 'title']
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_arrow(slf.as_any())
    }

    /// The rows as a `pandas.DataFrame`.
    ///
    /// >>> docs.get([2]).to_pandas()["title"].tolist()  # doctest: +SKIP
    /// ['far']
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_pandas(slf.as_any())
    }

    /// The rows as a `polars.DataFrame`.
    ///
    /// >>> docs.get([2]).to_polars()["title"].to_list()  # doctest: +SKIP
    /// ['far']
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_polars(slf.as_any())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // The interface lets a producer ignore the wish for another schema.
        let _ = requested_schema;
        arrow_ffi::export_array(py, self.batch(py)?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        arrow_ffi::export_stream(py, self.batch(py)?.clone())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let batch = self.batch(py)?;
        let mut lines = Vec::new();
        for row in 0..batch.num_rows().min(rows::SHOWN_ROWS) {
            lines.push(format!("  ({}),", rows::describe(py, batch, row)?));
        }
        match batch.num_rows() - lines.len() {
            _ if lines.is_empty() => Ok("Records([])".into()),
            0 => Ok(format!("Records([\n{}\n])", lines.join("\n"))),
            more => Ok(format!("Records([\n{}\n  … {more} more\n])", lines.join("\n"))),
        }
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        rows::html(py, self.batch(py)?)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let nearfield::Records { ids, vectors, attributes } = &self.records;
        let (columns, vectors) = (Some(attributes), vectors.as_ref());
        let rows = pickles::rows(py, ids.iter(), self.id_type, self.width, columns, vectors)?;
        let pickles = py.import("nearfield._pickles")?;
        pickles.call_method1("reduce_records", (rows,))
    }
}

/// An iterator of `Records`, in ascending order of id, over the rows there were when it was made.
///
/// >>> [records.ids.tolist() for records in docs.scan(batch_size=1)]
/// [[1], [2]]
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Scan {
    scan: Mutex<nearfield::Scan>,
    id_type: IdType,
    width: usize,
}

impl Scan {
    pub(crate) fn new(scan: nearfield::Scan, id_type: IdType, width: usize) -> Self {
        Self { scan: Mutex::new(scan), id_type, width }
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Records>> {
        let next = call(py, || {
            self.scan.lock().unwrap_or_else(PoisonError::into_inner).next().transpose()
        })?;
        Ok(next.map(|records| {
            let id_type = id_type(records.ids.first()).unwrap_or(self.id_type);
            Records::new(records, id_type, self.width)
        }))
    }
}

/// A report of the library as a dict.
pub(crate) fn as_dict(
    py: Python<'_>,
    json: serde_json::Result<String>,
) -> PyResult<Bound<'_, PyAny>> {
    let json = json.map_err(|error| invalid(py, error.to_string()))?;
    py.import("json")?.call_method1("loads", (json,))
}
