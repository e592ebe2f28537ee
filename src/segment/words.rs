//! The indexes of texts of a part: of a chunk made when a search wants them, of a segment read from
//! its attribute file.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};

use super::attributes::texts::unmade;
use super::part::Part;
use crate::error::Result;
use crate::text::index::ColumnIndex;
use crate::text::options::Cutting;
use crate::types::Column;

impl Part {
    /// The index of a column of texts as they are stored, updates aside.
    pub(crate) fn text_index(&self, column: &Column, cutting: Cutting) -> Result<Arc<ColumnIndex>> {
        match self {
            Self::Chunk(chunk) => chunk.text.get(&column.name, cutting, || {
                index_of(Some(&chunk.column(column)), column, cutting, chunk.len())
            }),
            Self::Segment(segment) => match segment.attribute_file() {
                Some(file) => file.text_index(column, cutting),
                None => {
                    index_of(None, column, cutting, segment.len()).map(|(index, _)| index.into())
                }
            },
        }
    }
}

/// The index of an array of texts, or of as many rows without any, and its bytes.
pub(super) fn index_of(
    texts: Option<&ArrayRef>,
    column: &Column,
    cutting: Cutting,
    rows: usize,
) -> Result<(ColumnIndex, usize)> {
    let Some(texts) = texts.and_then(|texts| texts.as_string_opt::<i64>()) else {
        let none = (0..0).map(|_| None);
        return Ok((ColumnIndex::of(&column.name, cutting, 0, none).map_err(unmade)?, 0));
    };
    debug_assert_eq!(texts.len(), rows, "a text or null for each row");
    let bytes = texts.value_data().len();
    let index = ColumnIndex::of(&column.name, cutting, bytes, texts.iter()).map_err(unmade)?;
    let bytes = index.bytes();
    Ok((index, bytes))
}
