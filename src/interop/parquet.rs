//! Parquet in and out, by the parquet crate.
//!
//! Only the chosen columns are decoded, a batch of rows at a time, after `suspect` has compared
//! the sizes that the file declares with its length.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::collection::import::ImportBatch;
use crate::error::{Error, Result};
use crate::types::VectorType;

use super::convert::Converter;
use super::foreign::{guarded, open};
use super::suspect::Suspect;
use super::{ExportSchema, Info, ReadOptions};

pub(super) struct Parquet {
    path: PathBuf,
    rows: ParquetRecordBatchReader,
    converter: Converter,
    /// The first batch, read early to learn the dimension.
    first: Option<RecordBatch>,
}

impl fmt::Debug for Parquet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parquet").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Parquet {
    pub(super) fn open(
        path: &Path,
        options: &ReadOptions,
        want_vector: bool,
        info: &mut Info,
    ) -> Result<Self> {
        let (file, length) = open(path)?;
        guarded(path, "footer", || {
            let mut suspect = Suspect { path, file: &file, length };
            suspect.check_footer()?;
            let input = file.try_clone().map_err(|source| Error::io("read", path, source))?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(input)
                .map_err(|error| refused(path, "footer", &error))?;
            let schema = Arc::clone(builder.schema());
            let mut converter = Converter::new(path, &schema, options, want_vector, info)?;
            let mask = ProjectionMask::roots(builder.parquet_schema(), converter.projection());
            let dimension = suspect.check_chunks(builder.metadata(), &mask)?;
            info.total_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
            let rows = builder
                .with_batch_size(options.rows_of(converter.dimension().unwrap_or(dimension)))
                .with_projection(mask)
                .build()
                .map_err(|error| refused(path, "footer", &error))?;
            converter.project();
            let mut parquet = Self { path: path.into(), rows, converter, first: None };
            if want_vector && info.dimension.is_none() {
                parquet.first = parquet.decode()?;
                if let Some(first) = &parquet.first {
                    parquet.converter.peek(first);
                }
                info.dimension = parquet.converter.dimension();
            }
            Ok(parquet)
        })
    }

    pub(super) fn next(&mut self, info: &mut Info) -> Result<Option<ImportBatch>> {
        let path = self.path.clone();
        guarded(&path, "pages", || {
            let batch = match self.first.take() {
                Some(first) => Some(first),
                None => self.decode()?,
            };
            let converted = batch.map(|batch| self.converter.convert(&batch)).transpose()?;
            info.dimension = self.converter.dimension();
            Ok(converted)
        })
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.rows.next().transpose();
        next.map_err(|error| Error::corrupt(&self.path, "pages", error.to_string()))
    }
}

fn refused(path: &Path, section: &str, error: &ParquetError) -> Error {
    match error {
        ParquetError::NYI(what) => {
            Error::Incompatible { file: path.into(), reason: format!("its Parquet uses {what}") }
        }
        error => Error::corrupt(path, section, error.to_string()),
    }
}

/// Writes batches of one schema as a Parquet file.
pub(super) struct Writer<'a, W: Write + Send> {
    writer: ArrowWriter<W>,
    path: &'a Path,
}

impl<'a, W: Write + Send> Writer<'a, W> {
    pub(super) fn new(
        out: W,
        arrow: SchemaRef,
        schema: &ExportSchema,
        path: &'a Path,
    ) -> Result<Self> {
        const GROUP_BYTES: usize = 64 << 20;
        let row_bytes = schema.vector_type.row_bytes(schema.dimension).max(1);
        // Floats have nothing to gain from a dictionary or a codec; bytes are stored as 32-bit
        // integers, which the dictionary takes down to about a byte again.
        let bytes = matches!(schema.vector_type, VectorType::I8 | VectorType::U8 | VectorType::B1);
        let vector = ColumnPath::new(vec![
            schema.vector_name.clone(),
            "list".to_owned(),
            super::export::ITEM_NAME.to_owned(),
        ]);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("nearfield ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .set_column_compression(vector.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(vector.clone(), bytes)
            .set_column_statistics_enabled(vector, EnabledStatistics::None)
            .set_max_row_group_row_count(Some((GROUP_BYTES / row_bytes).clamp(1024, 1 << 20)))
            .build();
        let writer = ArrowWriter::try_new(out, arrow, Some(properties))
            .map_err(|error| write_error(path, error))?;
        Ok(Self { writer, path })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| write_error(self.path, error))
    }

    pub(super) fn finish(self) -> Result<()> {
        let mut out = self.writer.into_inner().map_err(|error| write_error(self.path, error))?;
        out.flush().map_err(|source| Error::io("write", self.path, source))
    }
}

fn write_error(path: &Path, error: ParquetError) -> Error {
    let refused = |error: String| {
        Error::invalid(format!("{} cannot be written as Parquet: {error}", path.display()))
    };
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::io("write", path, *source),
            Err(other) => refused(other.to_string()),
        },
        error => refused(error.to_string()),
    }
}
