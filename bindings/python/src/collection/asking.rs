//! How a collection is asked: vectors or texts as queries, its own shape, what its recall is.

use nearfield::{MeasuredRecall, VerifyReport};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::to_string;

use super::Collection;
use crate::errors::{call, unknown_argument};
use crate::filter::filter_arg;
use crate::interrupt::{long, progress_arg};
use crate::log;
use crate::numbers::at_least;
use crate::reading::Source;
use crate::records::as_dict;
use crate::request::{Request, ef_count, recall_share};
use crate::texts;
use crate::vectors::VectorsArg;

impl Collection {
    /// Its rows and its shape.
    pub(super) fn held(&self, py: Python<'_>) -> PyResult<(usize, nearfield::Schema)> {
        call(py, || Ok((self.inner.len()?, self.inner.schema()?)))
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source::Collection(&self.inner)
    }

    pub(super) fn query<'py>(
        &self,
        py: Python<'py>,
        q: Option<&Bound<'py, PyAny>>,
        text: Option<&str>,
        request: &Request,
    ) -> PyResult<Option<VectorsArg<'py>>> {
        texts::query(py, || self.inner.embedder(), q, text, self.shape, request)
    }

    pub(super) fn verified(
        &self,
        py: Python<'_>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<VerifyReport> {
        let progress = progress.map(progress_arg).transpose()?.flatten();
        let what = || format!("verifying {:?}", self.inner.name());
        log::timed(py, what, || {
            long(py, progress, |task| {
                task.watched("verifying", |tell| self.inner.verify_while(tell))
            })
        })
    }

    pub(super) fn measured(
        &self,
        py: Python<'_>,
        queries: Option<&Bound<'_, PyAny>>,
        k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<MeasuredRecall> {
        const ARGUMENTS: [&str; 6] = ["queries", "k", "sample", "ef", "recall", "where"];
        let queries = queries.map(|queries| VectorsArg::from_python(queries, self.shape));
        let queries = queries.transpose()?;
        let mut measure = self.inner.measure_recall().k(k);
        if let Some(queries) = &queries {
            measure = measure.queries(queries.vectors()?);
        }
        for (name, value) in asked.into_iter().flatten() {
            measure = match name.cast::<PyString>()?.to_str()? {
                "sample" => measure.sample(at_least(1, "1 or more", "sample", &value)?),
                "ef" => match ef_count(&value)? {
                    Some(ef) => measure.ef(ef),
                    None => measure,
                },
                "recall" => match recall_share(&value)? {
                    Some(recall) => measure.recall(recall),
                    None => measure,
                },
                "where" => match filter_arg(Some(&value))? {
                    Some(filter) => measure.filter(filter),
                    None => measure,
                },
                name => {
                    return Err(unknown_argument(
                        py,
                        "Collection.measure_recall",
                        name,
                        &ARGUMENTS,
                    ));
                }
            };
        }
        long(py, None, |task| measure.cancel(task.cancel.clone()).run())
    }

    pub(super) fn learned<'py>(&self, queries: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = queries.py();
        if queries.is_none() {
            call(py, || self.inner.forget_calibration())?;
            return Ok(py.None().into_bound(py));
        }
        let queries = VectorsArg::from_python(queries, self.shape)?;
        let vectors = queries.vectors()?;
        let learned = long(py, None, |task| self.inner.calibrate_until(vectors, &task.cancel))?;
        as_dict(py, to_string(&learned))
    }
}
