//! How writes of a collection reach the engine: their arguments, and columns that it lacks.

use arrow_array::RecordBatch;
use nearfield::{Attributes, Column, DataType};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PySet};

use super::Collection;
use crate::errors::{call, invalid, type_name, wrong_type};
use crate::filter::{Chosen, one_of};
use crate::ids::IdsArg;
use crate::interrupt::{Run, Task, long, progress_arg};
use crate::vectors::VectorsArg;
use crate::{bulk, columns};

/// The other columns of a write, and those of them that the collection lacks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    pub(crate) batch: Option<&'a RecordBatch>,
    pub(crate) missing: &'a [Column],
}

impl<'a> Given<'a> {
    pub(crate) fn attributes(self) -> Attributes<'a> {
        Attributes::from(self.batch).adding(self.missing)
    }
}

impl Collection {
    /// Runs a write with `data` as a record batch. Columns that the collection lacks are added with it.
    pub(super) fn write(
        &self,
        data: Option<&Bound<'_, PyAny>>,
        rows: usize,
        py: Python<'_>,
        run: Run,
        work: impl FnOnce(Given<'_>, Option<&Task>) -> nearfield::Result<u64> + Send,
    ) -> PyResult<u64> {
        let Some(data) = data else { return run.run(py, |task| work(Given::default(), task)) };
        let batch = columns::from_python(data, rows)?;
        let schema = call(py, || self.inner.schema())?;
        let (batch, missing) = columns::missing(py, batch, &schema)?;
        run.run(py, |task| work(Given { batch: Some(&batch), missing: &missing }, task))
    }

    pub(super) fn put(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        data: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
        only_new: bool,
    ) -> PyResult<u64> {
        let py = ids.py();
        let progress = progress.map(progress_arg).transpose()?.flatten();
        let (ids, vectors) = self.rows(ids, vectors)?;
        let (rows, row_bytes) = (ids.len(), self.row_bytes);
        let write =
            bulk::Write { ids: ids.ids()?, vectors: vectors.vectors()?, row_bytes, only_new };
        let run = match progress {
            None if !bulk::is_long(rows, row_bytes) => Run::Short,
            progress => Run::Long(progress),
        };
        self.write(data, rows, py, run, |data, task| bulk::write(&self.inner, &write, data, task))
    }

    /// Removes the rows of `ids`, or those that a filter finds.
    pub(super) fn remove(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match one_of("delete", ids, r#where)? {
            Chosen::Where(filter) => call(py, || self.inner.delete_where(filter)),
            Chosen::Ids(ids) => {
                let ids = ids.ids()?;
                call(py, || self.inner.delete(ids))
            }
        }
    }

    /// Removes the rows of `ids` with their bytes.
    pub(super) fn erase(&self, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = ids.py();
        let ids = IdsArg::from_python(ids)?;
        let ids = ids.ids()?;
        long(py, None, |task| self.inner.forget_until(ids, &task.cancel))
    }

    /// Sets columns of the rows of `ids`, or of those that a filter finds.
    pub(super) fn set(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let Some(data) = data else {
            return Err(PyTypeError::new_err("update() needs data, the new values of the rows"));
        };
        let inner = &self.inner;
        let ids = match one_of("update", ids, r#where)? {
            Chosen::Ids(ids) => ids,
            Chosen::Where(filter) => {
                let row = self.one_row(data)?;
                return self.write(Some(row.as_any()), 1, py, Run::Short, |data, _| {
                    inner.update_where(&filter, data.attributes())
                });
            }
        };
        let (rows, ids) = (ids.len(), ids.ids()?);
        self.write(Some(data), rows, py, Run::Short, |data, _| inner.update(ids, data.attributes()))
    }

    /// The values that every row found by a filter is given, as rows.
    fn one_row<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = data.py();
        let Ok(values) = data.cast::<PyDict>() else {
            return Err(wrong_type("data", "a dict of the values that all rows found get", data));
        };
        let schema = call(py, || self.inner.schema())?;
        for (name, value) in values {
            let kind =
                schema.columns().iter().find(|column| name.eq(&column.name).unwrap_or(false));
            let one = kind.is_some_and(|column| {
                !matches!(column.data_type, DataType::ListUtf8 | DataType::Sparse)
            });
            if one
                && (value.is_instance_of::<PyList>() || value.hasattr("__array__")?)
                && value.len().is_ok()
            {
                return Err(PyTypeError::new_err(format!(
                    "data: all rows found get the same value, given {} for column {name}",
                    type_name(&value)
                )));
            }
        }
        PyList::new(py, [data])
    }

    fn rows<'py>(
        &self,
        ids: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
    ) -> PyResult<(IdsArg<'py>, VectorsArg<'py>)> {
        if ids.is_instance_of::<PySet>() || ids.is_instance_of::<PyFrozenSet>() {
            let expected = "an array or list, in the order of the vectors";
            return Err(wrong_type("ids", expected, ids));
        }
        let ids = IdsArg::from_python(ids)?;
        let rows = VectorsArg::from_python(vectors, self.shape)?;
        if ids.len() == rows.rows {
            return Ok((ids, rows));
        }
        let (given, rows) = (ids.len(), rows.rows);
        Err(invalid(vectors.py(), format!("{given} ids for {rows} vectors; give one for each")))
    }
}
