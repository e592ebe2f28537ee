//! What writers put into the queue: operations that are not applied yet.

use arrow_array::RecordBatch;

use super::embed::Candidate;
use crate::filter::Filter;
use crate::segment::memtable::Batch;
use crate::text::options::TextOptions;
use crate::types::{Column, Ids};

/// What a writer asks for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Rows whose ids must be new.
    Add(Batch),
    /// Rows that replace those of the same ids.
    Upsert(Batch),
    /// New attributes for existing rows.
    Update { ids: Ids<'static>, attributes: RecordBatch },
    /// Rows to remove.
    Delete(Ids<'static>),
    /// Rows that a filter finds, to be removed.
    DeleteWhere(Filter),
    /// New attributes, one row, for the rows that a filter finds.
    UpdateWhere { filter: Filter, values: RecordBatch },
    /// Columns to add; those that exist with the same type are passed over.
    AddColumns(Vec<Column>),
    /// Columns to add with `work`, if it changes anything.
    Widen { columns: Vec<Column>, work: Box<Self> },
    /// A column of texts to index.
    IndexText { column: String, options: TextOptions },
    /// An embedder to remember, if it is the first.
    Remember(Candidate),
}

#[cfg(feature = "tracing")]
impl Work {
    /// Rows that it is known to be about before it is done.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Add(batch) | Self::Upsert(batch) => batch.ids.len(),
            Self::Update { ids, .. } | Self::Delete(ids) => ids.len(),
            Self::Widen { work, .. } => work.rows(),
            Self::DeleteWhere(_)
            | Self::UpdateWhere { .. }
            | Self::AddColumns(_)
            | Self::IndexText { .. }
            | Self::Remember(_) => 0,
        }
    }
}
