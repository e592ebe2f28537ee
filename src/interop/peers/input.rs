//! A file that is read at places which it names itself, none of them beyond its end.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    at: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let error = |source| Error::io("read", path, source);
        let file = File::open(path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        let file = BufReader::with_capacity(1 << 16, file);
        Ok(Self { path: path.into(), file, length, at: 0 })
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes that are not read yet.
    pub(super) fn left(&self) -> u64 {
        self.length - self.at
    }

    pub(super) fn seek(&mut self, to: u64) -> Result<()> {
        if to > self.length {
            return Err(self.cut());
        }
        let moved = match (i64::try_from(to), i64::try_from(self.at)) {
            (Ok(to), Ok(at)) => self.file.seek_relative(to - at),
            _ => self.file.seek(SeekFrom::Start(to)).map(drop),
        };
        moved.map_err(|source| Error::io("read", &self.path, source))?;
        self.at = to;
        Ok(())
    }

    /// Passes over `count` things of `size` bytes.
    pub(super) fn skip(&mut self, count: u64, size: u64) -> Result<()> {
        let bytes = count.checked_mul(size).filter(|bytes| *bytes <= self.left());
        let Some(bytes) = bytes else {
            return Err(self.corrupt(&format!(
                "it declares {count} × {size} bytes where {} are left; was it cut short?",
                self.left()
            )));
        };
        self.seek(self.at + bytes)
    }

    /// The next `size` bytes.
    pub(super) fn read(&mut self, size: u64) -> Result<Vec<u8>> {
        let size = match usize::try_from(size) {
            Ok(fits) if size <= self.left() => fits,
            _ => return Err(self.cut()),
        };
        let mut bytes = vec![0; size];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        if N as u64 > self.left() {
            return Err(self.cut());
        }
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(|source| Error::io("read", &self.path, source))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// Refuses bytes behind what was read.
    pub(super) fn end(&self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.corrupt(&format!("{left} bytes follow its end"))),
        }
    }

    fn cut(&self) -> Error {
        self.corrupt("the file ends within it; was it cut short?")
    }

    pub(super) fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(&self.path, "index", what)
    }

    /// The error of a sound file that is not for us.
    pub(super) fn refuse(&self, reason: String) -> Error {
        Error::Incompatible { file: self.path.clone(), reason }
    }
}
