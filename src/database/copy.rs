//! Copies of a whole database: backups, and databases restored from them.
//!
//! A copy grows under a name of its own beside its place and is renamed into it, so that nothing
//! unfinished is ever found there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Database, LOCK, NEW_PREFIX, OpenOptions, parent, remove_tree, sync_dir};
use crate::collection::backup;
use crate::collection::host::fresh_store_id;
use crate::error::{Error, Result};
use crate::storage::container::Watch;
use crate::storage::disk::Disk;

impl Database {
    /// Copies the whole database to `to`, which must not exist, while it stays open. The copy
    /// holds every write that returned before the call.
    ///
    /// # Errors
    /// `InvalidArgument` when `to` exists or is inside the database; `Full` or `Io`, and then
    /// nothing is left there.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<()> {
        self.backup_while(to, |_, _| true)
    }

    /// [`backup`](Self::backup) that tells how many bytes of how many in all it has dealt with (each is
    /// checked, then written), and asks whether to go on.
    ///
    /// # Errors
    /// As [`backup`](Self::backup); `Cancelled` after a "no".
    pub fn backup_while(
        &self,
        to: impl AsRef<Path>,
        keep_going: impl FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let total = self.work_bytes()?;
        self.copy(to.as_ref(), &mut watched(total, keep_going))
    }

    pub(super) fn work_bytes(&self) -> Result<u64> {
        let bytes = |name: &String| Ok(backup::work_bytes(&self.open_collection(name)?));
        self.collections()?.iter().map(bytes).sum()
    }

    fn copy(&self, to: &Path, watch: &mut Watch<'_>) -> Result<()> {
        self.host.check()?;
        if is_inside(to, self.path()) {
            return Err(Error::invalid(format!(
                "{} is inside the database itself; copy it to another place",
                to.display()
            )));
        }
        let disk = &self.host.disk;
        let staging = new_sibling(disk, to)?;
        disk.create_dir(&staging).map_err(|error| Error::io("create", &staging, error))?;
        let result = (|| {
            for name in self.collections()? {
                let collection = self.open_collection(&name)?;
                backup::copy_collection(&collection, &staging.join(&name), watch)?;
            }
            write_marker(disk, &staging)?;
            publish(disk, &staging, to)
        })();
        if result.is_err() {
            remove_tree(disk, &staging);
        }
        result
    }

    /// Verifies the backup at `from` and copies it to `to`, which must not exist.
    ///
    /// # Errors
    /// `Corrupt` when the backup does not verify; as [`backup`](Self::backup) otherwise.
    pub fn restore(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        Self::restore_while(from, to, |_, _| true)
    }

    /// [`restore`](Self::restore) that tells how many bytes of how many in all it has dealt with, and
    /// asks whether to go on.
    ///
    /// # Errors
    /// As [`restore`](Self::restore); `Cancelled` after a "no".
    pub fn restore_while(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        keep_going: impl FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let source = OpenOptions::new().read_only(true).open(from)?;
        let copied = source.work_bytes()?;
        let mut watch = watched(copied + copied / 2, keep_going);
        for name in source.collections()? {
            let mut before = 0;
            let verified = source.open_collection(&name)?.verify_while(|done, _| {
                let more = done - std::mem::replace(&mut before, done);
                watch(more).is_ok()
            });
            if let Some(problem) = verified?.problems.into_iter().next() {
                return Err(Error::corrupt(&source.path().join(&name), "backup", problem));
            }
        }
        source.copy(to.as_ref(), &mut watch)
    }
}

/// Adds up bytes and passes them on with how many there are in all.
pub(super) fn watched(
    total: u64,
    mut keep_going: impl FnMut(u64, u64) -> bool,
) -> impl FnMut(u64) -> Result<()> {
    let mut done = 0;
    move |bytes| {
        // Segments may have come since they were counted.
        done = total.min(done + bytes);
        if keep_going(done, total) { Ok(()) } else { Err(Error::Cancelled) }
    }
}

/// The file that makes a directory a database, for a copy that nobody has opened yet.
fn write_marker(disk: &Arc<dyn Disk>, path: &Path) -> Result<()> {
    let file = path.join(LOCK);
    disk.create(&file).map_err(|error| Error::io("create", &file, error))?;
    sync_dir(disk, path)
}

/// Whether `path` is `dir` or below it, as far as their names tell.
pub(super) fn is_inside(path: &Path, dir: &Path) -> bool {
    match (std::path::absolute(path), std::path::absolute(dir)) {
        (Ok(path), Ok(dir)) => path.starts_with(dir),
        _ => path.starts_with(dir),
    }
}

/// A name beside `to` under which a copy grows until it is whole.
pub(super) fn new_sibling(disk: &Arc<dyn Disk>, to: &Path) -> Result<PathBuf> {
    if is_taken(disk, to) {
        return Err(Error::invalid(format!("{} exists already; give a new name", to.display())));
    }
    Ok(parent(to).join(format!("{NEW_PREFIX}{:032x}", fresh_store_id())))
}

fn is_taken(disk: &Arc<dyn Disk>, path: &Path) -> bool {
    match disk.list(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            disk.read(path, u64::MAX).is_ok()
        }
        _ => true,
    }
}

/// Refuses the place of a collection where something else is.
pub(super) fn refuse_stranger(disk: &Arc<dyn Disk>, path: &Path) -> Result<()> {
    if !is_taken(disk, path) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no collection and in the way of one; move it, or give another name",
        path.display()
    )))
}

pub(super) fn publish(disk: &Arc<dyn Disk>, staging: &Path, to: &Path) -> Result<()> {
    disk.rename(staging, to).map_err(|error| Error::io("rename", staging, error))?;
    sync_dir(disk, &parent(to)).inspect_err(|_| remove_tree(disk, to))
}
