//! Files that are no longer needed, and when they go.
//!
//! A manifest switch drops files. They stay for one more generation, so that a damaged newest
//! manifest can be passed over without loss, and then until the last search that uses them ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Core;
use crate::segment::Segment;
use crate::segment::attributes::AttributeFile;
use crate::storage::disk::{DirEntry, Disk, DiskFile, DiskLock};
use crate::storage::mmap::Mapped;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Bug, is_seeded};

/// Something that the last manifest switch dropped.
#[derive(Clone, Debug)]
pub(crate) enum Retired {
    /// Goes with the last snapshot that holds it.
    Segment(Arc<Segment>),
    /// Likewise.
    Attributes(Arc<AttributeFile>),
    /// Read once at opening; nobody holds it.
    File(PathBuf),
}

impl Retired {
    /// Whether it is more than an old manifest.
    pub(crate) fn is_data(&self) -> bool {
        let Self::File(path) = self else { return true };
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(super::manifest::generation).is_none()
    }

    /// Gives the files up. A file that cannot be removed is swept at the next opening.
    pub(crate) fn release(self, core: &Core) {
        match self {
            Self::Segment(segment) if is_seeded(Bug::FilesGoEarly) => {
                for (path, _) in segment.files() {
                    Self::File(path.into()).release(core);
                }
            }
            Self::Segment(segment) => segment.mark_obsolete(),
            Self::Attributes(attributes) => attributes.mark_obsolete(),
            Self::File(path) => {
                if core.disk.remove_file(&path).is_err() {
                    // Swept at the next opening.
                }
            }
        }
    }
}

#[cfg(all(shuttle, feature = "testing"))]
impl super::Snapshot {
    /// The files that it reads.
    #[doc(hidden)]
    pub fn files(&self) -> Vec<PathBuf> {
        let segments = self.view.segments.iter().filter_map(|part| part.as_segment());
        segments.flat_map(|(segment, _)| segment.files()).map(|(path, _)| path.into()).collect()
    }
}

/// The disk as the files of one open collection know it: once the collection is closed, they can
/// be removed no more, since another collection may have its directory by then, with files of the
/// same names. What stays is swept at the next opening.
#[derive(Debug)]
pub(crate) struct Tenancy {
    disk: Arc<dyn Disk>,
    ended: AtomicBool,
}

impl Tenancy {
    pub(crate) fn new(disk: &Arc<dyn Disk>) -> Self {
        Self { disk: disk.clone(), ended: AtomicBool::new(false) }
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl Disk for Tenancy {
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        self.disk.remove_file(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_log(path)
    }

    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.disk.read_range(path, offset, len)
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        self.disk.map(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }

    fn holds(&self, lock: &DiskLock) -> bool {
        self.disk.holds(lock)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        self.disk.lock(path, note)
    }
}
