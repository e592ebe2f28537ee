//! The rows of a part that a filter finds: of all its rows, dead or alive, updates applied.
//!
//! Three ways lead there. A filter that lists ids looks those up. Otherwise stored columns are read
//! whole, one group of rows after the other, and rows with newer values are asked again, apart.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::columns;
use super::layout::GROUP_ROWS;
use super::part::Part;
use super::patch::Patch;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::filter::{Bound, BoundColumn, Masks};
use crate::types::Row;

/// Ids are looked up when one in this many rows has to be, at most.
const LOOKUP_SHARE: usize = 16;

impl Part {
    /// The rows for which `filter` is true, with the values of `patch` over the stored ones. Rows whose id
    /// a later row repeats may be missing.
    pub(crate) fn matching(&self, filter: &Bound, patch: &Patch) -> Result<RowSet> {
        if let Some(ids) = filter.ids().filter(|ids| ids.len() <= self.len() / LOOKUP_SHARE) {
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(self.lookup(id.as_ref())?);
            }
            rows.sort_unstable();
            let mut set = RowSet::default();
            for (row, found) in rows.iter().zip(self.asked(&rows, filter, patch)?) {
                if found {
                    set.insert(*row);
                }
            }
            return Ok(set);
        }
        let mut masks = self.stored(filter)?;
        let patched = patch.rows();
        for (row, found) in patched.iter().zip(self.asked(&patched, filter, patch)?) {
            masks.set(*row as usize, found);
        }
        Ok(RowSet::from_words(masks.words()))
    }

    /// The rows for which the filter is true of the stored values.
    fn stored(&self, filter: &Bound) -> Result<Masks> {
        let mut masks = Masks::default();
        let mut first = 0;
        for (group, rows) in self.groups().into_iter().enumerate() {
            let words = filter.evaluate(rows, &mut |column| match column {
                BoundColumn::Id(_) => self.id_column(first, rows),
                BoundColumn::Attribute(column) => match self {
                    Self::Chunk(chunk) => Ok(chunk.column(column)),
                    Self::Segment(segment) => match segment.attribute_file() {
                        Some(file) => file.group_column(group, column),
                        None => Ok(columns::null_column(column.data_type, rows)),
                    },
                },
            })?;
            masks.push(&words, rows);
            first = first.saturating_add(Row::try_from(rows).unwrap_or(Row::MAX));
        }
        Ok(masks)
    }

    /// Rows that are evaluated together, in row order.
    fn groups(&self) -> Vec<usize> {
        let len = self.len();
        match self {
            Self::Chunk(_) => vec![len],
            Self::Segment(segment) => match segment.attribute_file() {
                Some(file) => file.group_rows().collect(),
                None => (0..len).step_by(GROUP_ROWS).map(|at| GROUP_ROWS.min(len - at)).collect(),
            },
        }
    }

    /// Of each of `rows` whether the filter is true.
    fn asked(&self, rows: &[Row], filter: &Bound, patch: &Patch) -> Result<Vec<bool>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let attributes = filter.columns.iter().filter_map(|column| match column {
            BoundColumn::Attribute(column) => Some((column.name.as_str(), column.data_type)),
            BoundColumn::Id(_) => None,
        });
        let wanted = columns::arrow_schema(attributes);
        let batch = patch.apply(rows, &self.attributes(rows, &wanted)?, &wanted)?;
        let words = filter.evaluate(rows.len(), &mut |column| match column {
            BoundColumn::Id(_) => self.ids_of(rows),
            BoundColumn::Attribute(column) => batch
                .column_by_name(&column.name)
                .cloned()
                .ok_or_else(|| Error::invalid(format!("column {:?} was not read", column.name))),
        })?;
        Ok((0..rows.len()).map(|at| words[at / 64] >> (at % 64) & 1 == 1).collect())
    }

    /// The ids of `rows` as an Arrow column.
    fn ids_of(&self, rows: &[Row]) -> Result<ArrayRef> {
        use crate::types::IdRef;
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for row in rows {
            match self.id_ref(*row)? {
                IdRef::U64(id) => numbers.push(id),
                IdRef::Utf8(id) => texts.push(id),
            }
        }
        Ok(if texts.is_empty() {
            Arc::new(arrow_array::UInt64Array::from(numbers))
        } else {
            Arc::new(arrow_array::LargeStringArray::from(texts))
        })
    }
}
