//! Which format a file has: by its first bytes where they tell, else by its extension.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::peers::{faiss, hnswlib, usearch};
use crate::error::{Error, Result};

/// A file format that rows are read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC file, also called Feather 2.
    Arrow,
    /// Arrow IPC stream.
    ArrowStream,
    /// One JSON object a line.
    Jsonl,
    /// A numpy array of shape (rows, dimension).
    Npy,
    /// Rows of a 32-bit length and 32-bit floats.
    Fvecs,
    /// Rows of a 32-bit length and bytes.
    Bvecs,
    /// Rows of a 32-bit length and 32-bit integers.
    Ivecs,
    /// Index of hnswlib: vectors of f32 by label, without rows that are deleted. It does not say the
    /// metric; vectors of the space `cosine` are normalized.
    Hnswlib,
    /// Flat, HNSW or IVF index of faiss that keeps whole vectors, with a map of ids or without.
    Faiss,
    /// Index of usearch 2.10 or later, without keys that are removed; vectors as it keeps them.
    Usearch,
}

const KNOWN: &str = ".parquet, .arrow, .feather, .arrows, .jsonl, .ndjson, .npy, .fvecs, .bvecs, \
                     .ivecs, .hnsw, .faiss or .usearch";

impl Format {
    /// The format that the extension of `path` names.
    #[must_use]
    pub fn from_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            "arrows" => Self::ArrowStream,
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "npy" => Self::Npy,
            "fvecs" => Self::Fvecs,
            "bvecs" => Self::Bvecs,
            "ivecs" => Self::Ivecs,
            "hnsw" | "hnswlib" => Self::Hnswlib,
            "faiss" => Self::Faiss,
            "usearch" => Self::Usearch,
            _ => return None,
        })
    }

    /// The format of an existing file.
    ///
    /// # Errors
    /// `InvalidArgument` where neither its first bytes nor its extension tell, `Io`.
    pub fn detect(path: &Path) -> Result<Self> {
        let mut first = Vec::new();
        File::open(path)
            .and_then(|file| file.take(hnswlib::HEADER_BYTES as u64).read_to_end(&mut first))
            .map_err(|source| Error::io("read", path, source))?;
        if let Some(format) = Self::from_magic(&first, path)? {
            return Ok(format);
        }
        if let Some(format) = Self::from_extension(path) {
            return Ok(format);
        }
        if first.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::Jsonl);
        }
        if usearch::recognised(path)? {
            return Ok(Self::Usearch);
        }
        Err(Error::invalid(format!(
            "{}: the format is not known; give the file the extension {KNOWN}, or name the format",
            path.display()
        )))
    }

    fn from_magic(first: &[u8], path: &Path) -> Result<Option<Self>> {
        let refuse = |what: &str, instead: &str| {
            Err(Error::invalid(format!("{}: {what}; {instead}", path.display())))
        };
        Ok(Some(match first {
            [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Self::Arrow,
            [0xff, 0xff, 0xff, 0xff, ..] => Self::ArrowStream,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Self::Npy,
            [b'F', b'E', b'A', b'1', ..] => {
                return refuse("Feather version 1 is not read", "save it again as version 2");
            }
            [0x1f, 0x8b, 8, ..] => {
                return refuse("the file is compressed by gzip", "unpack it first");
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return refuse("the file is compressed by zstd", "unpack it first");
            }
            [b'P', b'K', 3, 4, ..] => {
                return refuse("the file is a zip archive (npz?)", "unpack it first");
            }
            _ if hnswlib::recognised(first) => Self::Hnswlib,
            _ if faiss::recognised(first) => Self::Faiss,
            _ if first.trim_ascii_start().starts_with(b"[") && is_json(path) => {
                return refuse(
                    "the file is one JSON array",
                    "write one object a line (jq -c '.[]' does that)",
                );
            }
            _ => return Ok(None),
        }))
    }

    /// The answer of a build that was made without the readers of this format.
    #[cfg(not(feature = "parquet"))]
    pub(super) fn not_built(self, path: &Path) -> Error {
        Error::invalid(format!(
            "{}: this build does not read or write {self}; build nearfield with the feature \
             `parquet`, or use .jsonl",
            path.display()
        ))
    }
}

fn is_json(path: &Path) -> bool {
    Format::from_extension(path) == Some(Format::Jsonl)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::ArrowStream => "Arrow IPC stream",
            Self::Jsonl => "JSON lines",
            Self::Npy => "npy",
            Self::Fvecs => "fvecs",
            Self::Bvecs => "bvecs",
            Self::Ivecs => "ivecs",
            Self::Hnswlib => "hnswlib",
            Self::Faiss => "faiss",
            Self::Usearch => "usearch",
        })
    }
}
