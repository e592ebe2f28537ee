//! The operating system's disk with its syncs counted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield::testing::{DirEntry, Disk, DiskFile, DiskLock, Mapped, OsDisk};

/// Counts every sync of a file; passes everything on.
#[derive(Clone, Debug, Default)]
pub struct CountingDisk {
    syncs: Arc<AtomicU64>,
}

impl CountingDisk {
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl DiskFile for CountingFile {
    fn append_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        self.file.append_pieces(pieces)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }

    fn map(&self) -> io::Result<Mapped> {
        self.file.map()
    }
}

impl Disk for CountingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CountingFile { file: OsDisk.create(path)?, syncs: self.syncs.clone() }))
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CountingFile { file: OsDisk.create_log(path)?, syncs: self.syncs.clone() }))
    }

    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_range(path, offset, len)
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        OsDisk.map(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        OsDisk.lock(path, note)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        OsDisk.is_locked(path)
    }
}
