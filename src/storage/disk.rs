//! The one door to the file system.
use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;

use super::mmap::Mapped;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name without its directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes of a file.
    pub len: u64,
}

/// Keeps a lock until dropped.
pub type DiskLock = Box<dyn Any + Send + Sync>;

/// What the engine asks of a file system. Two implementations: [`OsDisk`], and `FaultDisk` in tests.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file for appending; `AlreadyExists` if the name is taken. File mode 0600 where modes exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads at most `len` bytes from `offset`; fewer only at the end of the file, none past it.
    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Reads from `offset` to the end of the file (empty when `offset` is past it).
    fn read(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        self.read_range(path, offset, u64::MAX)
    }
    /// Maps a whole file read-only.
    fn map(&self, path: &Path) -> io::Result<Mapped>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates one directory (mode 0700); `AlreadyExists` if the name is taken.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, created if absent; `None` when another process or handle has it. `note` is written into the file
    /// for whoever finds it locked.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>>;
}

/// A file being appended to.
pub trait DiskFile: fmt::Debug + Send {
    /// Appends all bytes or fails.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
    /// Reserves space for `bytes` more, without changing the length; best effort.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;
    /// Maps what has been appended so far, read-only.
    fn map(&self) -> io::Result<Mapped>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> { todo!() }
    fn read_range(&self, _: &Path, _: u64, _: u64) -> io::Result<Vec<u8>> { todo!() }
    fn map(&self, _: &Path) -> io::Result<Mapped> { todo!() }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> { todo!() }
    fn create_dir(&self, _: &Path) -> io::Result<()> { todo!() }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> { todo!() }
    fn remove_file(&self, _: &Path) -> io::Result<()> { todo!() }
    fn remove_dir(&self, _: &Path) -> io::Result<()> { todo!() }
    fn sync_dir(&self, _: &Path) -> io::Result<()> { todo!() }
    fn lock(&self, _: &Path, _: &str) -> io::Result<Option<DiskLock>> { todo!() }
}
