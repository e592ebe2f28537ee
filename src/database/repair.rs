//! Saving what is left of a damaged database into a new one.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::copy::{is_inside, new_sibling, publish, watched};
use super::{Database, OpenOptions, check_name, packed, remove_tree, sync_dir};
use crate::collection::options::{Durability, Schema, Settings};
use crate::collection::salvage::{RepairedCollection, salvage, source_bytes};
use crate::collection::{Collection, recover};
use crate::error::{Error, Result};
use crate::storage::disk::{Disk, OsDisk};

/// How to repair a database: given to [`Database::repair`].
#[must_use]
pub struct RepairOptions<'a> {
    keep_doubtful: bool,
    progress: Option<Box<dyn FnMut(u64, u64) -> bool + 'a>>,
    disk: Arc<dyn Disk>,
}

impl std::fmt::Debug for RepairOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("RepairOptions");
        shown.field("keep_doubtful", &self.keep_doubtful).finish_non_exhaustive()
    }
}

impl Default for RepairOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> RepairOptions<'a> {
    /// Leaves doubtful rows out, reports no progress.
    pub fn new() -> Self {
        Self { keep_doubtful: false, progress: None, disk: Arc::new(OsDisk) }
    }

    /// Whether to keep rows of which it is not known whether they had been deleted, because the file that
    /// says so is damaged. Default false: they are lost, and told of.
    pub fn keep_doubtful(mut self, keep: bool) -> Self {
        self.keep_doubtful = keep;
        self
    }

    /// Called now and then with how many bytes of how many have been read; a repair whose callback returns
    /// false ends with `Cancelled`.
    pub fn progress(mut self, callback: impl FnMut(u64, u64) -> bool + 'a) -> Self {
        self.progress = Some(Box::new(callback));
        self
    }

    /// Uses another file system than the operating system's.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }
}

/// What a repair saved and what it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// The collections of the new database, ascending by name.
    pub collections: Vec<RepairedCollection>,
    /// Collections of which nothing can be read, and why: they are not in the new database.
    pub lost: Vec<(String, String)>,
}

impl RepairReport {
    /// Whether everything was saved.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.collections.iter().all(|saved| saved.losses.is_empty())
    }
}

impl Database {
    /// Saves what is whole of the damaged database at `from` into a new one at `to`, which must not exist:
    /// every row whose vector, id and columns match their checksums, as the log leaves it. Indexes are made
    /// anew. `from` is only read; nobody may have it open for writing.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let (old, new) = (dir.path().join("old.nf"), dir.path().join("new.nf"));
    /// # let db = nearfield::Database::open(&old)?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// # docs.upsert(&[1, 2], &[0.0_f32, 1.0], ())?;
    /// # db.close()?;
    /// let report = nearfield::Database::repair(&old, &new, nearfield::RepairOptions::new())?;
    /// for saved in &report.collections {
    ///     println!("{}: {} rows, {:?}", saved.name, saved.rows, saved.losses);
    /// }
    /// # assert!(report.is_complete() && report.collections[0].rows == 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no collection at `from`; `InvalidArgument` when `to` exists, lies inside
    /// `from`, or somebody writes to `from`; `Cancelled`, `Full`, `Io`. Nothing is left at `to` then.
    pub fn repair(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        options: RepairOptions<'_>,
    ) -> Result<RepairReport> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let RepairOptions { keep_doubtful, progress, disk } = options;
        if is_inside(to, from) {
            return Err(Error::invalid(format!(
                "{} is inside the damaged database; give another place",
                to.display()
            )));
        }
        let disk = packed::look_into(&disk, from)?;
        let names = damaged_collections(&disk, from)?;
        let total: u64 = names.iter().map(|name| source_bytes(&disk, &from.join(name))).sum();
        let mut progress = progress;
        let keep_going = |done, total| progress.as_mut().is_none_or(|tell| tell(done, total));
        let mut watch = watched(total, keep_going);
        let staging = new_sibling(&disk, to)?;
        let settings =
            Settings { background: false, durability: Durability::None, ..Settings::default() };
        let repaired = (|| {
            let db = OpenOptions::new().settings(settings).disk(disk.clone()).open(&staging)?;
            let mut report = RepairReport { collections: Vec::new(), lost: Vec::new() };
            for name in names {
                let create = |schema| db.adopt(&name, schema);
                match salvage(&disk, &from.join(&name), keep_doubtful, &mut watch, create) {
                    Ok((rows, losses)) => {
                        report.collections.push(RepairedCollection { name, rows, losses });
                    }
                    // Of what was made of it nothing is left either.
                    Err(error) if is_of_source(&error, from) => {
                        if db.collections()?.contains(&name) {
                            db.drop_collection(&name)?;
                        }
                        report.lost.push((name, error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
            db.close()?;
            publish(&disk, &staging, to)?;
            Ok(report)
        })();
        if repaired.is_err() {
            remove_tree(&disk, &staging);
        }
        repaired
    }

    /// Creates a collection of a schema that may not be one for a new collection.
    fn adopt(&self, name: &str, schema: Schema) -> Result<Collection> {
        let (disk, dir) = (&self.host.disk, self.path().join(name));
        disk.create_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        recover::create(disk, &dir, schema)?;
        sync_dir(disk, self.path())?;
        self.open_collection(name)
    }
}

/// Whether it is the fault of the damaged database at `from` rather than of the place of the new one.
fn is_of_source(error: &Error, from: &Path) -> bool {
    match error {
        Error::Corrupt { .. } | Error::Incompatible { .. } | Error::NotFound { .. } => true,
        Error::Io { path, .. } => path.starts_with(from),
        _ => false,
    }
}

/// Names of the directories in `from` that are or were collections.
fn damaged_collections(disk: &Arc<dyn Disk>, from: &Path) -> Result<Vec<String>> {
    let missing =
        || Error::not_found(format!("a database with collections in {}", from.display()), "");
    let entries = disk.list(from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => missing(),
        _ => Error::io("list", from, error),
    })?;
    let names = entries.into_iter().filter(|entry| entry.is_dir && check_name(&entry.name).is_ok());
    let names: Vec<String> = names
        .map(|entry| entry.name)
        // One that does not list is to be named.
        .filter(|name| recover::has_files(disk, &from.join(name)).unwrap_or(true))
        .collect();
    if names.is_empty() { Err(missing()) } else { Ok(names) }
}
