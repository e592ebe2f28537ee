//! Streams of rows in and out of foreign files: Parquet, Arrow IPC, JSON lines, npy, fvecs, and out of
//! index files of hnswlib, faiss and usearch.
//!
//! [`read`] opens a file, finds its id, vector and attribute columns and iterates over
//! [`ImportBatch`]es; [`write()`] takes batches and leaves a whole file or none. Neither holds more
//! than a few batches in memory. Nothing here knows how a collection stores its rows.
//!
//! Foreign bytes are hostile: lengths are compared with the file before anything is allocated,
//! and a step of a foreign reader that panics becomes [`Error::Corrupt`].
//! A fault of one row is a [`Rejected`](crate::collection::import::Rejected) entry, a fault of
//! the file an error that ends the iteration.

mod choose;
#[cfg(feature = "parquet")]
mod convert;
mod dense;
mod export;
#[cfg(feature = "parquet")]
mod foreign;
mod format;
mod fvecs;
#[cfg(feature = "parquet")]
mod ids;
#[cfg(feature = "parquet")]
mod ipc;
mod json_columns;
mod json_line;
mod json_schema;
mod json_write;
mod jsonl;
mod npy;
mod options;
mod origin;
#[cfg(feature = "parquet")]
mod parquet;
mod peers;
mod rows;
#[cfg(feature = "parquet")]
mod suspect;
mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "parquet")]
mod thrift;
mod whole;

use std::path::{Path, PathBuf};

use crate::collection::import::ImportBatch;
use crate::error::{Error, Result};
use crate::types::{DataType, IdType, VectorType};

use dense::Dense;
use peers::Peer;
use table::Table;

pub use export::{ExportBatch, ExportSchema, write};
pub use format::Format;
pub use json_columns::attributes;
pub use options::ReadOptions;
#[doc(hidden)]
pub use whole::in_file;
pub use whole::{FileImport, export};

/// Opens `path` for reading; the format is found from its first bytes and its extension.
///
/// # Errors
/// `NotFound` for a column that is not there, `InvalidArgument` where the vector column cannot be
/// told or the format cannot be read by this build, `Incompatible` for an encoding that cannot be
/// read, `Corrupt` for a damaged file, `Io`.
///
/// ```no_run
/// use nearfield::interop::{ReadOptions, read};
///
/// let reader = read("articles.parquet", &ReadOptions::default().vector("embedding"))?;
/// println!("{:?} dimensions, columns {:?}", reader.dimension(), reader.columns());
/// for batch in reader {
///     println!("{} rows", batch?.len());
/// }
/// # Ok::<(), nearfield::Error>(())
/// ```
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Reader> {
    let path = path.as_ref();
    options.check()?;
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(path)?,
    };
    let mut info = Info::default();
    let source = match format {
        Format::Npy | Format::Fvecs | Format::Bvecs | Format::Ivecs => {
            Source::Dense(Box::new(Dense::open(path, format, options, &mut info)?))
        }
        Format::Parquet | Format::Arrow | Format::ArrowStream | Format::Jsonl => {
            if options.metadata.is_some() {
                return Err(Error::invalid(format!(
                    "{}: a metadata file goes with npy and fvecs files only; {format} has its \
                     attributes in itself",
                    path.display()
                )));
            }
            Source::Table(Box::new(Table::open(path, format, options, true, &mut info)?))
        }
        Format::Hnswlib | Format::Faiss | Format::Usearch => {
            Source::Peer(Box::new(Peer::open(path, format, options, &mut info)?))
        }
    };
    Ok(Reader { path: path.into(), format, source, info, finished: false })
}

/// An open file, as an iterator over its rows. After an error it yields nothing more.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    source: Source,
    info: Info,
    finished: bool,
}

#[derive(Debug)]
enum Source {
    Table(Box<Table>),
    Dense(Box<Dense>),
    Peer(Box<Peer>),
}

/// What is known of a file from its beginning.
#[derive(Debug, Default)]
struct Info {
    columns: Vec<(String, DataType)>,
    skipped: Vec<(String, String)>,
    dimension: Option<usize>,
    id_type: Option<IdType>,
    vector_type: Option<VectorType>,
    total_rows: Option<u64>,
    origin: origin::Origin,
}

impl Reader {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows in all as the file declares them, for showing progress; JSON lines do not.
    #[must_use]
    pub fn total_rows(&self) -> Option<u64> {
        self.info.total_rows
    }

    /// The attribute columns that are read, with the column types that hold them.
    #[must_use]
    pub fn columns(&self) -> &[(String, DataType)] {
        &self.info.columns
    }

    /// The columns that are not read, with their type or the reason. JSON lines may add to it
    /// while they are read: a field that first occurs late.
    #[must_use]
    pub fn skipped_columns(&self) -> &[(String, String)] {
        &self.info.skipped
    }

    /// Elements of each vector (of packed bits their bytes); none before the first good vector was seen.
    #[must_use]
    pub fn dimension(&self) -> Option<usize> {
        self.info.dimension
    }

    /// Kind of the ids.
    #[must_use]
    pub fn id_type(&self) -> IdType {
        self.info.id_type.unwrap_or(IdType::U64)
    }

    /// Element type that holds the vectors without loss where there is one, else f32.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.info.vector_type.unwrap_or(VectorType::F32)
    }
}

impl Iterator for Reader {
    type Item = Result<ImportBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = match &mut self.source {
            Source::Table(table) => table.next(&mut self.info),
            Source::Dense(dense) => dense.next(&mut self.info),
            Source::Peer(peer) => peer.next(),
        };
        self.finished = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
