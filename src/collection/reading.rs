//! Which parts of which rows are read back, and what comes of it.

use arrow_array::RecordBatch;

use crate::filter::Filter;
use crate::types::{Id, Vectors};

/// Which parts of rows to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// `None` for all columns.
    columns: Option<Vec<String>>,
    vectors: bool,
}

impl Fields {
    /// All columns, no vectors.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Neither columns nor vectors: ids alone.
    #[must_use]
    pub fn none() -> Self {
        Self { columns: Some(Vec::new()), vectors: false }
    }

    /// These columns and no others.
    #[must_use]
    pub fn columns<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { columns: Some(names.into_iter().map(Into::into).collect()), vectors: false }
    }

    /// Vectors as well.
    #[must_use]
    pub fn with_vectors(mut self) -> Self {
        self.vectors = true;
        self
    }

    pub(crate) fn column_names(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    pub(crate) fn wants_vectors(&self) -> bool {
        self.vectors
    }
}

/// Rows read back.
#[derive(Clone, Debug)]
pub struct Records {
    /// Their ids.
    pub ids: Vec<Id>,
    /// Their vectors, row-major, in the type in which they are given; `None` unless asked for.
    pub vectors: Option<Vectors<'static>>,
    /// Their columns.
    pub attributes: RecordBatch,
}

impl Records {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// How to walk through a collection: given to [`Collection::scan`](crate::Collection::scan) or
/// [`Snapshot::scan`](crate::Snapshot::scan).
#[derive(Clone, Debug)]
#[must_use]
pub struct ScanOptions {
    pub(crate) after: Option<Id>,
    pub(crate) limit: usize,
    pub(crate) batch_rows: usize,
    pub(crate) fields: Fields,
    pub(crate) filter: Option<Filter>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            after: None,
            limit: usize::MAX,
            batch_rows: 4_096,
            fields: Fields::all(),
            filter: None,
        }
    }
}

impl ScanOptions {
    /// Every row, all columns, no vectors, in batches of 4,096.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins behind this id: the last one of the page before.
    pub fn after(mut self, id: impl Into<Id>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// Ends after this many rows.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Rows per batch, 1 to 65,536.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.clamp(1, 65_536);
        self
    }

    /// Passes over rows that `filter` does not find: a [`Filter`], or its text.
    pub fn filter(mut self, filter: impl Into<Filter>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// What to read of each row.
    pub fn fields(mut self, fields: Fields) -> Self {
        self.fields = fields;
        self
    }
}
