//! What is written beside ids and vectors: values of columns, and columns that come with them.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::apply;
use super::options::Schema;
use super::work::Work;
use crate::error::Result;
use crate::types::Column;

/// Attributes of a batch: a `RecordBatch` with as many rows as there are ids, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub(super) batch: Option<&'a RecordBatch>,
    pub(super) columns: &'a [Column],
}

impl<'a> Attributes<'a> {
    /// Adds those of `columns` that the collection lacks together with the rows: a write that fails, or
    /// that finds no row to change, adds none.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// use nearfield::{Attributes, Column, DataType, arrow_array};
    ///
    /// let years = arrow_array::Int64Array::from(vec![2019]);
    /// let batch = arrow_array::RecordBatch::try_from_iter([("year", std::sync::Arc::new(years) as _)])
    ///     .expect("a batch");
    /// let columns = [Column { name: "year".into(), data_type: DataType::Int64, text: false }];
    /// docs.add(&[1], &[0.5_f32], Attributes::from(&batch).adding(&columns))?;
    /// assert_eq!(docs.schema()?.columns(), columns);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn adding(self, columns: &'a [Column]) -> Self {
        Self { columns, ..self }
    }

    /// `schema` with the columns that come with the rows.
    pub(super) fn schema(&self, schema: &Arc<Schema>) -> Result<Arc<Schema>> {
        if self.columns.is_empty() {
            return Ok(schema.clone());
        }
        Ok(apply::with_columns(schema, self.columns)?.map_or_else(|| schema.clone(), Arc::new))
    }

    /// `work` and the columns that come with it.
    pub(super) fn with_columns(&self, work: Work) -> Work {
        if self.columns.is_empty() {
            return work;
        }
        Work::Widen { columns: self.columns.to_vec(), work: Box::new(work) }
    }
}

impl<'a> From<&'a RecordBatch> for Attributes<'a> {
    fn from(batch: &'a RecordBatch) -> Self {
        Self::from(Some(batch))
    }
}

impl<'a> From<Option<&'a RecordBatch>> for Attributes<'a> {
    fn from(batch: Option<&'a RecordBatch>) -> Self {
        Self { batch, columns: &[] }
    }
}

impl From<()> for Attributes<'_> {
    fn from((): ()) -> Self {
        Self::from(None)
    }
}
