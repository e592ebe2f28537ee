//! How hits are picked: pages, least distances, groups, diversity; and what is read around them.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{invalid, text_of, wrong_type};
use crate::numbers::{count, number};

/// The column of positions, unless another is named.
const POSITION: &str = "position";

/// What was asked for of it.
#[derive(Debug, Default)]
pub(crate) struct Picks {
    offset: Option<usize>,
    min_distance: Option<f32>,
    group_by: Option<String>,
    per_group: Option<usize>,
    mmr: Option<f32>,
    mmr_candidates: Option<usize>,
    window: Option<usize>,
    document: Option<String>,
    position: Option<String>,
}

impl Picks {
    /// Takes a keyword argument, if it is one of these.
    pub(crate) fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let given = !value.is_none();
        match name {
            "offset" if given => self.offset = Some(count(name, value)?),
            "min_distance" if given => self.min_distance = Some(number(name, value)?),
            "group_by" if given => self.group_by = Some(column(name, value)?),
            "per_group" => self.per_group = Some(count(name, value)?),
            "mmr" if given => self.mmr = Some(number(name, value)?),
            "mmr_candidates" if given => self.mmr_candidates = Some(count(name, value)?),
            "window" if given => self.window = Some(count(name, value)?),
            "document" if given => self.document = Some(column(name, value)?),
            "position" if given => self.position = Some(column(name, value)?),
            "offset" | "min_distance" | "group_by" | "mmr" | "mmr_candidates" | "window"
            | "document" | "position" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses a window of nothing, and columns of no window.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        let wrong = match (self.window, &self.document, &self.position) {
            (Some(_), None, _) if self.group_by.is_none() => {
                "window is given without document=, the column that says which document a row is of (that of \
                 group_by= if that is given)"
            }
            (None, Some(_), _) | (None, _, Some(_)) => {
                "document and position are columns of a window, and window= is not given"
            }
            _ => return Ok(()),
        };
        Err(invalid(py, wrong))
    }

    /// The engine's search with all of it.
    pub(crate) fn apply<'a>(self, mut query: nearfield::Query<'a>) -> nearfield::Query<'a> {
        if let Some(offset) = self.offset {
            query = query.offset(offset);
        }
        if let Some(distance) = self.min_distance {
            query = query.min_distance(distance);
        }
        if let Some((chunks, document)) = self.window.zip(self.document.or(self.group_by.clone())) {
            query = query.window(chunks, document, self.position.unwrap_or(POSITION.into()));
        }
        if let Some(column) = self.group_by {
            query = query.group_by(column);
        }
        if let Some(hits) = self.per_group {
            query = query.per_group(hits);
        }
        if let Some(lambda) = self.mmr {
            query = query.mmr(lambda);
        }
        if let Some(candidates) = self.mmr_candidates {
            query = query.mmr_candidates(candidates);
        }
        query
    }

    /// Hits of an answer for `k`, at most.
    pub(crate) fn most(&self, k: usize) -> usize {
        k.saturating_mul(self.per_group.unwrap_or(1))
    }
}

fn column(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = value.cast::<PyString>();
    let name = name.map_err(|_wrong| wrong_type(argument, "the name of a column", value))?;
    Ok(text_of(argument, name)?.to_owned())
}
