//! fvecs, bvecs and ivecs: each row is its length as i32 LE, then that many f32, u8 or i32.
//!
//! Source: the TEXMEX corpus of INRIA. The format has no header; the first row tells the
//! dimension, rows of another length are passed over as faults.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::types::{MAX_DIMENSION, VectorType, Vectors};

use super::Format;
use super::npy::numbers;
use super::rows::ragged;

#[derive(Debug)]
pub(super) struct Fvecs {
    path: PathBuf,
    input: BufReader<File>,
    format: Format,
    /// Bytes that are not read yet.
    left: u64,
    pub(super) dimension: Option<usize>,
    /// Rows in all, if they are all of one length.
    pub(super) rows: Option<u64>,
}

/// Rows with the faults among them, by their position in the stretch that was read.
pub(super) struct Stretch {
    pub(super) rows: usize,
    pub(super) vectors: Vectors<'static>,
    pub(super) faults: Vec<(usize, String)>,
}

impl Fvecs {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self> {
        let error = |source| Error::io("read", path, source);
        let file = File::open(path).map_err(error)?;
        let left = file.metadata().map_err(error)?.len();
        let input = BufReader::with_capacity(1 << 16, file);
        let mut fvecs =
            Self { path: path.into(), input, format, left, dimension: None, rows: None };
        if left == 0 {
            fvecs.rows = Some(0);
            return Ok(fvecs);
        }
        let dimension = fvecs.row_length()?;
        let row_bytes = 4 + fvecs.element_bytes() * dimension as u64;
        fvecs.rows = left.is_multiple_of(row_bytes).then_some(left / row_bytes);
        fvecs.dimension = Some(dimension);
        fvecs.input = BufReader::with_capacity(1 << 16, File::open(path).map_err(error)?);
        fvecs.left = left;
        Ok(fvecs)
    }

    pub(super) fn vector_type(&self) -> VectorType {
        if self.format == Format::Bvecs { VectorType::U8 } else { VectorType::F32 }
    }

    fn element_bytes(&self) -> u64 {
        if self.format == Format::Bvecs { 1 } else { 4 }
    }

    /// The next rows, at most `most`; none at the end.
    pub(super) fn read(&mut self, most: usize) -> Result<Option<Stretch>> {
        let Some(dimension) = self.dimension else {
            return Ok(None);
        };
        let (mut rows, mut bytes, mut faults) = (0, Vec::new(), Vec::new());
        while rows < most && self.left > 0 {
            let given = self.row_length()?;
            let size = given as u64 * self.element_bytes();
            let kept = bytes.len();
            let read = (&mut self.input)
                .take(size)
                .read_to_end(&mut bytes)
                .map_err(|source| Error::io("read", &self.path, source))?;
            if read as u64 != size {
                return Err(self.cut());
            }
            self.left -= size;
            if given != dimension {
                bytes.truncate(kept);
                faults.push((rows, ragged(given, dimension)));
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let vectors = match self.format {
            Format::Bvecs => bytes.into(),
            Format::Ivecs => numbers(&bytes, |bytes| i32::from_le_bytes(bytes) as f32).into(),
            _ => numbers(&bytes, f32::from_le_bytes).into(),
        };
        Ok(Some(Stretch { rows, vectors, faults }))
    }

    /// The length of the next row, which then fits in what is left of the file.
    fn row_length(&mut self) -> Result<usize> {
        if self.left < 4 {
            return Err(self.cut());
        }
        let mut length = [0; 4];
        self.input
            .read_exact(&mut length)
            .map_err(|source| Error::io("read", &self.path, source))?;
        self.left -= 4;
        let length = i32::from_le_bytes(length);
        let dimension = usize::try_from(length)
            .ok()
            .filter(|dimension| (1..=MAX_DIMENSION).contains(dimension))
            .ok_or_else(|| {
                Error::corrupt(
                    &self.path,
                    "rows",
                    format!(
                        "a row declares {length} dimensions, from 1 to {MAX_DIMENSION} are \
                         expected; is it a {} file?",
                        self.format
                    ),
                )
            })?;
        if dimension as u64 * self.element_bytes() > self.left {
            return Err(self.cut());
        }
        Ok(dimension)
    }

    fn cut(&self) -> Error {
        Error::corrupt(&self.path, "rows", "the file ends within a row; was it cut short?")
    }
}
