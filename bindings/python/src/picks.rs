//! How hits are picked: pages, least distances, groups, diversity.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{text_of, wrong_type};
use crate::numbers::{count, number};

/// What was asked for of it.
#[derive(Debug, Default)]
pub(crate) struct Picks {
    offset: Option<usize>,
    min_distance: Option<f32>,
    group_by: Option<String>,
    per_group: Option<usize>,
    mmr: Option<f32>,
    mmr_candidates: Option<usize>,
}

impl Picks {
    /// Takes a keyword argument, if it is one of these.
    pub(crate) fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let given = !value.is_none();
        match name {
            "offset" if given => self.offset = Some(count(name, value)?),
            "min_distance" if given => self.min_distance = Some(number(name, value)?),
            "group_by" if given => self.group_by = Some(column(value)?),
            "per_group" => self.per_group = Some(count(name, value)?),
            "mmr" if given => self.mmr = Some(number(name, value)?),
            "mmr_candidates" if given => self.mmr_candidates = Some(count(name, value)?),
            "offset" | "min_distance" | "group_by" | "mmr" | "mmr_candidates" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The engine's search with all of it.
    pub(crate) fn apply<'a>(self, mut query: nearfield::Query<'a>) -> nearfield::Query<'a> {
        if let Some(offset) = self.offset {
            query = query.offset(offset);
        }
        if let Some(distance) = self.min_distance {
            query = query.min_distance(distance);
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

fn column(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = value.cast::<PyString>();
    let name = name.map_err(|_wrong| wrong_type("group_by", "the name of a column", value))?;
    Ok(text_of("group_by", name)?.to_owned())
}
