//! What the caller says about a file that is read.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::types::DataType;

use super::Format;

/// Most rows of a batch that may be asked for.
const MAX_BATCH_ROWS: usize = 1 << 20;

/// How to read a file. The default finds everything by itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Format of the file; none: found from its first bytes and its extension.
    pub format: Option<Format>,
    /// Column of the ids; none: a column named `id` if there is one, else row numbers from 0. Index
    /// files have no columns but ids of their own.
    pub id: Option<String>,
    /// Number the rows from 0 even if there is a column named `id`, or ids in an index file.
    pub row_numbers: bool,
    /// Column of the vectors; none: the only column of lists of numbers, or else the one named
    /// `vector`, `embedding`, `emb` or `values`.
    pub vector: Option<String>,
    /// Attribute columns to read; none: all that a collection can hold.
    pub columns: Option<Vec<String>>,
    /// Types of attribute columns that are known beforehand, as those of the collection that is
    /// imported into. JSON lines are read as these types instead of inferring them.
    pub types: Vec<(String, DataType)>,
    /// Parquet or JSON lines file with the ids and attributes of an npy or fvecs file, row by
    /// row.
    pub metadata: Option<PathBuf>,
    /// Most rows of a batch; batches of long vectors are shorter, so that one takes at most
    /// about 32 MiB.
    pub batch_rows: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            id: None,
            row_numbers: false,
            vector: None,
            columns: None,
            types: Vec::new(),
            metadata: None,
            batch_rows: 8192,
        }
    }
}

impl ReadOptions {
    /// Sets [`format`](Self::format).
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets [`id`](Self::id).
    #[must_use]
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.id = Some(column.into());
        self
    }

    /// Sets [`row_numbers`](Self::row_numbers).
    #[must_use]
    pub fn row_numbers(mut self) -> Self {
        self.row_numbers = true;
        self
    }

    /// Sets [`vector`](Self::vector).
    #[must_use]
    pub fn vector(mut self, column: impl Into<String>) -> Self {
        self.vector = Some(column.into());
        self
    }

    /// Sets [`columns`](Self::columns).
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Adds to [`types`](Self::types).
    #[must_use]
    pub fn column_type(mut self, column: impl Into<String>, data_type: DataType) -> Self {
        self.types.push((column.into(), data_type));
        self
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, path: impl Into<PathBuf>) -> Self {
        self.metadata = Some(path.into());
        self
    }

    /// Sets [`batch_rows`](Self::batch_rows).
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.row_numbers && self.id.is_some() {
            return Err(Error::invalid("give either an id column or row numbers, not both"));
        }
        if !(1..=MAX_BATCH_ROWS).contains(&self.batch_rows) {
            return Err(Error::invalid(format!(
                "batch_rows is {}, it must be from 1 to {MAX_BATCH_ROWS}",
                self.batch_rows
            )));
        }
        Ok(())
    }

    /// Rows of a batch of vectors of `dimension` elements.
    pub(super) fn rows_of(&self, dimension: usize) -> usize {
        const BATCH_BYTES: usize = 32 << 20;
        self.batch_rows.min(BATCH_BYTES / dimension.saturating_mul(4).max(1)).max(1)
    }
}
