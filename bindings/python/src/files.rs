//! Files into collections and collections into files.

use std::path::PathBuf;

use nearfield::interop::{self, FileImport, Format};
use nearfield::{Fields, Filter, ImportOptions, ImportReport, OnBad, Phase, ScanOptions};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::{invalid, unknown_argument};
use crate::interrupt::{Task, long, progress_arg};
use crate::numbers::{dimension, string};
use crate::request::names;
use crate::schema::{METRICS, named, vector_type};

const FORMATS: [(&str, Format); 11] = [
    ("parquet", Format::Parquet),
    ("arrow", Format::Arrow),
    ("arrow_stream", Format::ArrowStream),
    ("jsonl", Format::Jsonl),
    ("npy", Format::Npy),
    ("fvecs", Format::Fvecs),
    ("bvecs", Format::Bvecs),
    ("ivecs", Format::Ivecs),
    ("hnswlib", Format::Hnswlib),
    ("faiss", Format::Faiss),
    ("usearch", Format::Usearch),
];
const ARGUMENTS: [&str; 10] = [
    "id",
    "vector",
    "columns",
    "attributes",
    "format",
    "metric",
    "dtype",
    "dim",
    "on_bad",
    "progress",
];
const ON_BAD: [(&str, OnBad); 2] = [("raise", OnBad::Raise), ("skip", OnBad::Skip)];

/// The keyword arguments of an import.
pub(crate) struct Asked {
    file: FileImport,
    on_bad: OnBad,
    progress: Option<Py<PyAny>>,
}

impl Asked {
    pub(crate) fn from_python(file: PathBuf, rest: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut asked = Self { file: FileImport::new(file), on_bad: OnBad::Raise, progress: None };
        for (name, value) in rest.into_iter().flatten() {
            let name: String = name.extract()?;
            asked.apply(&name, &value)?;
        }
        Ok(asked)
    }

    fn apply(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let file = &mut self.file;
        match name {
            "on_bad" => self.on_bad = named("on_bad", &ON_BAD, value)?,
            "progress" => self.progress = progress_arg(value)?,
            _ if value.is_none() => {}
            "id" if value.extract::<bool>().is_ok_and(|wanted| !wanted) => {
                file.read.row_numbers = true;
            }
            "id" => file.read.id = Some(string(name, value)?),
            "vector" => file.read.vector = Some(string(name, value)?),
            "columns" => file.read.columns = names(value)?,
            "attributes" => file.read.metadata = Some(value.extract()?),
            "format" => file.read.format = Some(named("format", &FORMATS, value)?),
            "metric" => file.metric = Some(named("metric", &METRICS, value)?),
            "dtype" => file.vector_type = Some(vector_type(value)?),
            "dim" => file.dimension = Some(dimension(value)?),
            _ => {
                return Err(unknown_argument(value.py(), "import_file", name, &ARGUMENTS));
            }
        }
        Ok(())
    }

    /// Imports the file; the report as a dict.
    pub(crate) fn run<'py>(
        self,
        py: Python<'py>,
        db: &nearfield::Database,
        name: &str,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Self { file, on_bad, progress } = self;
        let report = long(py, progress, |task| {
            let total = file.total_rows()?;
            let options = options(task, total).on_bad(on_bad);
            let report = file.run(db, name, options)?;
            task.tell("done", report.rows, total);
            Ok(report)
        })?;
        to_python(py, &report)
    }
}

/// Options of an import that is told to stop by `task` and tells it where it is.
pub(crate) fn options(task: &Task, total: Option<u64>) -> ImportOptions<'_> {
    ImportOptions::new().cancel(task.cancel.clone()).progress(move |progress| {
        let phase = match progress.phase {
            Phase::Reading => "reading",
            Phase::Indexing => "indexing",
            Phase::Committing => "committing",
            _ => "working",
        };
        task.tell(phase, progress.rows, total)
    })
}

fn to_python<'py>(py: Python<'py>, report: &ImportReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("rows", report.rows)?;
    dict.set_item("replaced", report.replaced)?;
    dict.set_item("rejected_rows", report.rejected_rows)?;
    let rejected = report.rejected.iter().map(|row| (row.row, &row.reason));
    dict.set_item("rejected", PyList::new(py, rejected.collect::<Vec<_>>())?)?;
    Ok(dict)
}

/// Writes a collection to a file; how many rows there were.
pub(crate) fn export(
    py: Python<'_>,
    collection: &nearfield::Collection,
    path: PathBuf,
    format: Option<&Bound<'_, PyAny>>,
    select: Option<Vec<String>>,
    filter: Option<Filter>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<u64> {
    let progress = progress.map(progress_arg).transpose()?.flatten();
    let format = format.map(|format| named("format", &FORMATS, format)).transpose()?;
    if matches!(format, Some(Format::Ivecs)) {
        return Err(invalid(py, "ivecs files hold whole numbers of 32 bits, which no vector is"));
    }
    let mut options = ScanOptions::new().fields(select.map_or_else(Fields::all, Fields::columns));
    if let Some(filter) = &filter {
        options = options.filter(filter);
    }
    long(py, progress, |task| {
        let total = match filter {
            Some(filter) => collection.count(filter)?,
            None => collection.len()? as u64,
        };
        let rows = interop::export(collection, path, format, options, |rows| {
            task.tell("writing", rows, Some(total))
        })?;
        task.tell("done", rows, Some(rows));
        Ok(rows)
    })
}
