//! What the engine does in long calls, told to the logger "nearfield" of Python's `logging`.

use std::time::Instant;

use pyo3::prelude::*;

/// Runs `work`, then logs what was done and how long it took, or why it failed. Without `logging`
/// loaded nobody listens.
pub(crate) fn timed<T>(
    py: Python<'_>,
    what: impl Fn() -> String,
    work: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let start = Instant::now();
    let result = work();
    let logger = py.import("sys")?.getattr("modules")?.call_method1("get", ("logging",)).and_then(
        |logging| {
            if logging.is_none() {
                Ok(None)
            } else {
                logging.call_method1("getLogger", ("nearfield",)).map(Some)
            }
        },
    )?;
    let Some(logger) = logger else { return result };
    let took = start.elapsed();
    // A logger that fails does not undo what was done.
    let told = match &result {
        Ok(_) => logger.call_method1("info", ("%s took %.3f s", what(), took.as_secs_f64())),
        Err(error) => {
            let error = error.to_string();
            logger.call_method1("warning", ("%s failed: %s", what(), error))
        }
    };
    if let Err(failure) = told {
        failure.write_unraisable(py, None);
    }
    result
}
