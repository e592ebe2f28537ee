//! What to say of a database in a report of a defect.

use std::path::PathBuf;

use nearfield::DoctorOptions;
use pyo3::prelude::*;

use crate::interrupt::{long, progress_arg};
use crate::log;
use crate::records::as_dict;

/// Looks at the database in the directory `path`, whole or damaged, and returns what a report of a defect should
/// say of it, to be printed and pasted: this build and machine, files with their sizes, schema and statistics of each
/// collection, and what does not open. No data of a row is in it, and no name of a column unless `names=True`.
/// `verify=True` reads and checks every byte; Ctrl-C ends that, and `progress` is as for `Collection.upsert`, and
/// counts bytes. Everything is only read, beside whoever writes.
///
/// >>> import nearfield as nf
/// >>> report = nf.doctor(db.path)
/// >>> "no problem was found" in str(report)
/// True
#[pyfunction]
#[pyo3(signature = (path, *, names=false, verify=false, progress=None))]
pub(crate) fn doctor(
    py: Python<'_>,
    path: PathBuf,
    names: bool,
    verify: bool,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<DoctorReport> {
    let progress = progress.map(progress_arg).transpose()?.flatten();
    let what = || format!("looking at {}", path.display());
    let report = log::timed(py, what, || {
        long(py, progress, |task| {
            task.watched("verifying", |tell| {
                let options = DoctorOptions::new().names(names).verify(verify).progress(tell);
                Ok(nearfield::Database::doctor(&path, options))
            })
        })
    })?;
    Ok(DoctorReport { report })
}

/// What `nearfield.doctor` found. `print` shows all of it.
///
/// >>> report = nf.doctor(db.path)
/// >>> report.problems
/// []
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct DoctorReport {
    report: nearfield::DoctorReport,
}

#[pymethods]
impl DoctorReport {
    /// What is wrong, a text each; empty where nothing was found.
    ///
    /// >>> nf.doctor(db.path, verify=True).problems
    /// []
    #[getter]
    fn problems(&self) -> Vec<String> {
        self.report.problems.clone()
    }

    /// All of it as a dict: "problems", and "parts", each a dict of its "name", its "facts" (pairs of what and
    /// text) and, of a collection that opens, its "stats" as of `Collection.stats`.
    ///
    /// >>> nf.doctor(db.path).to_dict()["parts"][2]["stats"]["rows"]
    /// 2
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        as_dict(py, serde_json::to_string(&self.report))
    }

    fn __repr__(&self) -> String {
        self.report.to_string()
    }
}
