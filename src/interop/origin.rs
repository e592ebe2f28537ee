//! What a file says of the collection that its rows were exported from, and what a new one for them is
//! like.
//!
//! Parquet and Arrow files carry it as metadata of their Arrow schema, under the keys below; JSON lines
//! have no place for it.

#[cfg(feature = "parquet")]
use std::collections::HashMap;

use serde::de::DeserializeOwned;

#[cfg(feature = "parquet")]
use super::ExportSchema;
use super::Reader;
use crate::error::{Error, Result};
use crate::types::{Metric, VectorType};

const METRIC: &str = "nearfield.metric";
const VECTOR_TYPE: &str = "nearfield.vector_type";
#[cfg(feature = "parquet")]
const DIMENSION: &str = "nearfield.dimension";

/// What was found, unread: an argument in its place is asked first.
#[derive(Debug, Default)]
pub(super) struct Origin {
    metric: Option<String>,
    vector_type: Option<String>,
    dimension: Option<String>,
    /// Why the metric is not known though it is needed.
    unknown: Option<String>,
}

impl Origin {
    /// What an index file of another library says of the metric, or why it says nothing that could be used.
    pub(super) fn of_peer(metric: Result<Metric, String>) -> Self {
        match metric {
            Ok(metric) => Self { metric: Some(metric.to_string()), ..Self::default() },
            Err(reason) => Self { unknown: Some(reason), ..Self::default() },
        }
    }

    /// Says that vectors are of so many bits.
    pub(super) fn bits(&mut self, dimension: usize) {
        self.vector_type = Some(VectorType::B1.to_string());
        self.dimension = Some(dimension.to_string());
    }
}

#[cfg(feature = "parquet")]
impl Origin {
    pub(super) fn of(metadata: &HashMap<String, String>) -> Self {
        let said = |key| metadata.get(key).cloned();
        Self {
            metric: said(METRIC),
            vector_type: said(VECTOR_TYPE),
            dimension: said(DIMENSION),
            unknown: None,
        }
    }
}

/// The metadata that an export is given.
#[cfg(feature = "parquet")]
pub(super) fn metadata(schema: &ExportSchema) -> HashMap<String, String> {
    let vector_type = (VECTOR_TYPE, schema.vector_type.to_string());
    let known = [vector_type, (DIMENSION, schema.dimension.to_string())];
    let metric = schema.metric.map(|metric| (METRIC, metric.to_string()));
    known.into_iter().chain(metric).map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Reader {
    /// What a new collection for these rows is like: how it compares vectors, what they are stored in, and
    /// their dimensions. What is asked for comes first, then what the collection was that a file was
    /// exported from, then what the file holds; where nothing says it, cosine, and hamming of bits.
    ///
    /// # Errors
    /// `InvalidArgument` before the first good vector was seen, and for another number of dimensions than
    /// the file has, and without a metric for an index file of another library that says none that there
    /// is; `Incompatible` for what a later version has exported and this one does not know.
    pub fn shape(
        &self,
        metric: Option<Metric>,
        vector_type: Option<VectorType>,
        dimension: Option<usize>,
    ) -> Result<(Metric, VectorType, usize)> {
        let path = self.path.display();
        let Some(elements) = self.dimension() else {
            return Err(Error::invalid(format!(
                "{path} has no row with a vector, so its dimension is not known; create the \
                 collection first, or import another file"
            )));
        };
        let origin = &self.info.origin;
        let agrees = |known| metric.is_none_or(|metric| agree(metric, known));
        let vector_type = match vector_type {
            Some(vector_type) => vector_type,
            None => match self.said(VECTOR_TYPE, origin.vector_type.as_ref())? {
                Some(known) if self.holds(known) && agrees(known) => known,
                _ if metric.is_some_and(Metric::is_binary) => VectorType::B1,
                _ => self.vector_type(),
            },
        };
        let metric = match (metric, &origin.unknown) {
            (Some(metric), _) => metric,
            (None, Some(reason)) => return Err(Error::invalid(format!("{path}: {reason}"))),
            (None, None) => match self.said(METRIC, origin.metric.as_ref())? {
                Some(known) if agree(known, vector_type) => known,
                _ if vector_type == VectorType::B1 => Metric::Hamming,
                _ => Metric::Cosine,
            },
        };
        let whole = match vector_type {
            VectorType::B1 => {
                let said = origin.dimension.as_ref().and_then(|said| said.parse().ok());
                said.filter(|said| vector_type.row_elements(*said) == elements)
                    .unwrap_or(elements.saturating_mul(8))
            }
            _ => elements,
        };
        let dimension = dimension.unwrap_or(whole);
        if vector_type.row_elements(dimension) != elements {
            return Err(Error::invalid(format!(
                "a vector of {dimension} dimensions ({vector_type}) has {} elements, those of \
                 {path} have {elements}; give another dimension, or none",
                vector_type.row_elements(dimension)
            )));
        }
        Ok((metric, vector_type, dimension))
    }

    /// Whether vectors of a type are written as the file has them: others may have written it anew.
    fn holds(&self, vector_type: VectorType) -> bool {
        let written = match vector_type {
            VectorType::Bf16 => VectorType::F32,
            VectorType::B1 => VectorType::U8,
            same => same,
        };
        written == self.vector_type()
    }

    /// The word under a key of the file, if there is one.
    fn said<T: DeserializeOwned>(&self, key: &str, word: Option<&String>) -> Result<Option<T>> {
        let Some(word) = word else { return Ok(None) };
        let known = serde_json::from_value(word.as_str().into());
        known.map(Some).map_err(|_unknown| Error::Incompatible {
            file: self.path.clone(),
            reason: format!("its {key} is {word:?}; say which to use in its place"),
        })
    }
}

/// Whether vectors of a type are compared by a metric.
fn agree(metric: Metric, vector_type: VectorType) -> bool {
    metric.is_binary() == (vector_type == VectorType::B1)
}
