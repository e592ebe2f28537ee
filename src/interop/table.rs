//! Files whose rows have named columns, behind one face.

use std::path::Path;

use crate::collection::import::ImportBatch;
use crate::error::{Error, Result};

use super::{Format, Info, ReadOptions, jsonl::Jsonl};
#[cfg(feature = "parquet")]
use super::{ipc::Ipc, parquet::Parquet};

#[derive(Debug)]
pub(super) enum Table {
    #[cfg(feature = "parquet")]
    Parquet(Parquet),
    #[cfg(feature = "parquet")]
    Ipc(Ipc),
    Jsonl(Jsonl),
}

impl Table {
    /// Opens a table. Without `want_vector` its batches have no vectors.
    pub(super) fn open(
        path: &Path,
        format: Format,
        options: &ReadOptions,
        want_vector: bool,
        info: &mut Info,
    ) -> Result<Self> {
        Ok(match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => Self::Parquet(Parquet::open(path, options, want_vector, info)?),
            #[cfg(feature = "parquet")]
            Format::Arrow | Format::ArrowStream => {
                Self::Ipc(Ipc::open(path, options, want_vector, info)?)
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet | Format::Arrow | Format::ArrowStream => {
                return Err(format.not_built(path));
            }
            Format::Jsonl => Self::Jsonl(Jsonl::open(path, options, want_vector, info)?),
            Format::Npy
            | Format::Fvecs
            | Format::Bvecs
            | Format::Ivecs
            | Format::Hnswlib
            | Format::Faiss
            | Format::Usearch => {
                return Err(Error::invalid(format!(
                    "{}: {format} holds vectors only; ids and attributes are read from Parquet, \
                     Arrow or JSON lines",
                    path.display()
                )));
            }
        })
    }

    pub(super) fn next(&mut self, info: &mut Info) -> Result<Option<ImportBatch>> {
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.next(info),
            #[cfg(feature = "parquet")]
            Self::Ipc(ipc) => ipc.next(info),
            Self::Jsonl(jsonl) => jsonl.next(info),
        }
    }
}
