//! What the engine does in long calls, told to the logger "nearfield" of Python's `logging`.

use std::time::Instant;

use pyo3::prelude::*;

/// Runs `work`, then logs what was done and how long it took, or why it failed, at level INFO: what
/// fails is raised too.
pub(crate) fn timed<T>(
    py: Python<'_>,
    what: impl Fn() -> String,
    work: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let start = Instant::now();
    let result = work();
    tell(py, "info", || match &result {
        Ok(_) => format!("{} took {:.3} s", what(), start.elapsed().as_secs_f64()),
        Err(error) => format!("{} failed: {error}", what()),
    });
    result
}

/// Logs a failure that is not raised.
pub(crate) fn hidden(py: Python<'_>, what: &str, error: &PyErr) {
    tell(py, "warning", || format!("{what} failed: {error}"));
}

/// Without `logging` loaded nobody listens. A logger that fails does not undo what was done.
fn tell(py: Python<'_>, level: &str, message: impl FnOnce() -> String) {
    let told = || -> PyResult<()> {
        let modules = py.import("sys")?.getattr("modules")?;
        let logging = modules.call_method1("get", ("logging",))?;
        if logging.is_none() {
            return Ok(());
        }
        let logger = logging.call_method1("getLogger", ("nearfield",))?;
        logger.call_method1(level, ("%s", message())).map(|_ignored| ())
    };
    if let Err(failure) = told() {
        failure.write_unraisable(py, None);
    }
}
