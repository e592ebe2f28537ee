//! A database as one file: packed, opened where it lies, unpacked.
//!
//! The file shows its content as a directory ([`Packed`]), so that everything that reads one reads
//! the other. It is a backup in another form: the files of each collection as a reader finds them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::copy::{is_inside, new_sibling, watched};
use super::{Database, OpenOptions, parent, sync_dir};
use crate::collection::backup;
use crate::collection::host::{Host, packed_is_read_only};
use crate::error::{Error, Result};
use crate::storage::container::Watch;
use crate::storage::disk::Disk;
use crate::storage::pack::{self, Packed};

impl Database {
    /// Writes the whole database as one file to `to`, which must not exist: checksummed, opened by
    /// [`OpenOptions::read_only`] in milliseconds without a lock, by any number of processes, and as fast as the
    /// directory. To be shipped: in an application, a package, an image. It may be put into another file at a
    /// multiple of 64 bytes, of 4,096 for the least memory ([`OpenOptions::offset`]).
    ///
    /// Like a [`backup`](Self::backup) it holds every write that returned before the call, and it takes the
    /// segments as they are: [`compact`](crate::Collection::compact) the collections first for the smallest and fastest file.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let (path, file) = (dir.path().join("my.nf"), dir.path().join("my.nfpack"));
    /// let db = nearfield::Database::open(&path)?;
    /// let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// db.pack(&file)?;
    /// let packed = nearfield::OpenOptions::new().read_only(true).open(&file)?;
    /// let hits = packed.open_collection("docs")?.search(&[0.0_f32, 1.0]).k(1).run()?;
    /// assert_eq!(hits[0].id, 1.into());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` when `to` exists or is inside the database; `Corrupt` when a segment is damaged; `Full`
    /// or `Io`, and then nothing is left there.
    pub fn pack(&self, to: impl AsRef<Path>) -> Result<()> {
        self.pack_while(to, |_, _| true)
    }

    /// [`pack`](Self::pack) that tells how many bytes of how many in all it has dealt with (each is checked,
    /// then written), and asks whether to go on.
    ///
    /// # Errors
    /// As [`pack`](Self::pack); `Cancelled` after a "no".
    pub fn pack_while(
        &self,
        to: impl AsRef<Path>,
        keep_going: impl FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let total = self.work_bytes()?;
        self.write_pack(to.as_ref(), &mut watched(total, keep_going))
    }

    /// Where the database begins in the file that it is packed into; `None` for one in a directory.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.host.packed
    }

    fn write_pack(&self, to: &Path, watch: &mut Watch<'_>) -> Result<()> {
        if is_inside(to, self.path()) {
            return Err(Error::invalid(format!(
                "{} is inside the database itself; pack it to another place",
                to.display()
            )));
        }
        let disk = &self.host.disk;
        let staging = new_sibling(disk, to)?;
        let mut sources = Vec::new();
        for name in self.collections()? {
            let source = backup::source(&self.open_collection(&name)?)?;
            sources.push((name, source.with_manifest()?));
        }
        let mut files = BTreeMap::new();
        for (collection, source) in &sources {
            for (name, bytes) in source.files(watch)? {
                files.insert(format!("{collection}/{name}"), bytes);
            }
        }
        let written = pack::write(disk, &staging, &files, watch).and_then(|()| {
            disk.rename(&staging, to).map_err(|error| Error::io("rename", &staging, error))
        });
        let remove = |path: &Path| {
            if disk.remove_file(path).is_err() {
                // It is not there, or the disk fails altogether.
            }
        };
        written.inspect_err(|_| remove(&staging))?;
        sync_dir(disk, &parent(to)).inspect_err(|_| remove(to))
    }

    /// Turns the packed database in the file `from` back into one in a directory, which is open for writes then: checks
    /// it and copies it to `to`, which must not exist. One that lies in another file is unpacked by
    /// [`backup`](Self::backup).
    ///
    /// # Errors
    /// As [`OpenOptions::open`] and [`backup`](Self::backup); `InvalidArgument` when `from` is no packed database.
    pub fn unpack(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        Self::unpack_while(from, to, |_, _| true)
    }

    /// [`unpack`](Self::unpack) that tells how many bytes of how many in all it has dealt with, and asks
    /// whether to go on.
    ///
    /// # Errors
    /// As [`unpack`](Self::unpack); `Cancelled` after a "no".
    pub fn unpack_while(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        keep_going: impl FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let source = OpenOptions::new().read_only(true).open(from)?;
        if source.host.packed.is_none() {
            return Err(Error::invalid(format!(
                "{} is a directory, not a file that pack has written; backup copies it",
                source.path().display()
            )));
        }
        source.backup_while(to, keep_going)
    }
}

impl OpenOptions {
    /// Opens the packed database in a file; `found` is what the system says of one that is no directory.
    pub(super) fn open_file(self, path: &Path, found: ErrorKind) -> Result<Database> {
        let is_pack = || pack::is_pack(&self.disk, path, 0).unwrap_or(false);
        if self.offset.is_none() && !is_pack() {
            let why = "it is a file, or lies within one, and a database is a directory, or a file that \
                       pack has written; give another path";
            return Err(Error::io("open", path, std::io::Error::new(found, why)));
        }
        if !self.read_only {
            return Err(packed_is_read_only(path));
        }
        let offset = self.offset.unwrap_or(0);
        let disk = Arc::new(Packed::open(&self.disk, path, offset)?);
        Ok(Database::of(Host::new(path.into(), disk, self.settings, None, Some(offset))))
    }
}

/// A disk on which the database at `path` is a directory.
pub(super) fn look_into(disk: &Arc<dyn Disk>, path: &Path) -> Result<Arc<dyn Disk>> {
    match disk.list(path) {
        Err(error)
            if error.kind() == ErrorKind::NotADirectory
                && pack::is_pack(disk, path, 0).unwrap_or(false) =>
        {
            Ok(Arc::new(Packed::open(disk, path, 0)?))
        }
        _ => Ok(Arc::clone(disk)),
    }
}
