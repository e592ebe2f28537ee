//! A database: a directory of named collections, opened by one writer process and any number of
//! readers.
//!
//! ```text
//! my.nf/
//! ├─ LOCK            held by the writer; names it for whoever comes second
//! ├─ docs/           a collection
//! ├─ .new-…          a collection being created, .trash-… one being dropped; swept on opening
//! ```
//!
//! Packed, all of it is one file, which is only read ([`packed`]).
//!
//! A collection appears, disappears and changes its name by one atomic rename of its directory.

mod copy;
pub(crate) mod doctor;
mod lock;
mod packed;
pub(crate) mod repair;

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::collection::host::{Host, fresh_store_id, packed_is_read_only};
use crate::collection::options::{Durability, Schema, Settings};
use crate::collection::{Collection, recover};
use crate::error::{Error, Result};
use crate::span::span;
use crate::storage::disk::{DirEntry, Disk, OsDisk};
use crate::sync::{Mutex, MutexGuard};
use crate::types::spelling;

const LOCK: &str = "LOCK";
const NEW_PREFIX: &str = ".new-";
const TRASH_PREFIX: &str = ".trash-";

/// Longest collection name.
pub const MAX_NAME_BYTES: usize = 128;

/// How to open a database.
///
/// ```no_run
/// # fn main() -> nearfield::Result<()> {
/// let reader = nearfield::OpenOptions::new().read_only(true).open("my.nf")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read_only: bool,
    create: bool,
    offset: Option<u64>,
    settings: Settings,
    disk: Arc<dyn Disk>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// A writer that creates the directory if it is absent, with default [`Settings`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            read_only: false,
            create: true,
            offset: None,
            settings: Settings::default(),
            disk: Arc::new(OsDisk),
        }
    }

    /// Opens for reading only: takes no lock, writes nothing, works beside a writer in another
    /// process and follows it on [`Collection::refresh`].
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether a writer may create the directory. Default true.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Where in the file a [packed](Database::pack) database begins, for one that was put into another file:
    /// a multiple of 64. Default 0. Of a directory there is none.
    #[must_use]
    pub fn offset(mut self, bytes: u64) -> Self {
        self.offset = Some(bytes);
        self
    }

    /// Replaces all settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// When writes are on disk. Default [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Threads for builds and batch searches; 0 means one a core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads;
        self
    }

    /// Uses another file system than the operating system's.
    #[doc(hidden)]
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// Opens the database at `path`: a directory or, for reading only, a file that [`Database::pack`] wrote.
    ///
    /// # Errors
    /// `Locked` at once when another process writes to it; `NotFound` when it does not exist and
    /// may not be created; `InvalidArgument` when the directory or file holds something else; `ReadOnly` for
    /// writing to a packed one; `Corrupt` or `Incompatible` for one that was cut, damaged or written by a later
    /// version.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        self.settings.validate()?;
        let path = path.as_ref();
        span!(INFO, "open", path = %path.display());
        if path.as_os_str().is_empty() {
            return Err(Error::invalid("the path of the database is empty; give a directory"));
        }
        if self.offset.is_some() && !self.read_only {
            return Err(packed_is_read_only(path));
        }
        let entries = match self.disk.list(path) {
            Ok(_) if self.offset.is_some() => {
                return Err(Error::invalid(format!(
                    "{} is a directory, and an offset is of a file that holds a packed database; \
                     leave the offset out",
                    path.display()
                )));
            }
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return self.open_file(path, error.kind());
            }
            Err(error) => return Err(Error::io("list", path, error)),
        };
        let known = entries.iter().flatten().any(|entry| entry.name == LOCK);
        match &entries {
            None if self.read_only || !self.create => {
                return Err(Error::not_found(format!("database {}", path.display()), ""));
            }
            // Somebody may be about to create it.
            Some(entries) if self.read_only && entries.is_empty() => {
                return Err(Error::not_found(format!("database {}", path.display()), ""));
            }
            None => self.disk.create_dir(path).map_err(|error| Error::io("create", path, error))?,
            Some(entries) if !known && (self.read_only || !entries.is_empty()) => {
                return Err(Error::invalid(format!(
                    "{} is not a nearfield database: it has no file LOCK; \
                     give a new name or an empty directory",
                    path.display()
                )));
            }
            Some(_) => {}
        }
        let lock = match self.read_only {
            true => None,
            false if known => Some(lock::take(&self.disk, path)?),
            false => Some(lock::found(&self.disk, path)?),
        };
        let host = Host::new(path.into(), self.disk, self.settings, lock, None);
        if !host.read_only {
            // A writer that died may have left names that are not durable yet.
            sync_dir(&host.disk, path)?;
            sweep(&host.disk, path);
        }
        Ok(Database::of(host))
    }
}

/// A directory of named collections. Cheap to clone; all clones are one database.
#[derive(Clone, Debug)]
pub struct Database {
    host: Arc<Host>,
    open: Arc<Mutex<HashMap<String, Collection>>>,
    doubtful: Arc<Mutex<HashSet<String>>>,
}

impl Database {
    fn of(host: Host) -> Self {
        Self { host: Arc::new(host), open: Arc::default(), doubtful: Arc::default() }
    }

    /// Opens the database at `path` for writing, creating the directory if it is absent.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open(path)
    }

    /// The directory, or the file of a packed database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.host.path
    }

    /// Whether the database was opened with [`OpenOptions::read_only`].
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.host.read_only
    }

    /// Whether it was closed by [`close`](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.host.is_closed()
    }

    /// Names of all collections, ascending.
    ///
    /// # Errors
    /// `Closed`, `Forked`, or `Io`.
    pub fn collections(&self) -> Result<Vec<String>> {
        self.host.check()?;
        let path = self.path();
        let entries = self.host.disk.list(path).map_err(|error| Error::unlisted(path, error))?;
        let doubtful = self.doubtful();
        let may_be = |entry: &DirEntry| {
            entry.is_dir && check_name(&entry.name).is_ok() && !doubtful.contains(&entry.name)
        };
        let mut names = Vec::new();
        for entry in entries.into_iter().filter(may_be) {
            // Somebody may keep something else beside them.
            if recover::has_files(&self.host.disk, &path.join(&entry.name))? {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    /// Opens the collection `name`, or creates it with `schema`.
    ///
    /// # Errors
    /// `SchemaMismatch` when it exists with another dimension, vector type, metric, id type or
    /// column type; `InvalidArgument` for a bad name or schema; `Corrupt` when it does not read.
    pub fn collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        schema.validate()?;
        let mut open = self.lock()?;
        match self.open_locked(&mut open, name) {
            Ok(collection) => {
                collection.schema()?.accepts(name, &schema)?;
                Ok(collection)
            }
            Err(Error::NotFound { .. }) if !self.host.read_only => {
                self.create_locked(&mut open, name, schema)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the collection `name`.
    ///
    /// # Errors
    /// `InvalidArgument` when the name is taken or bad, or the schema impossible.
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        let mut open = self.lock()?;
        check_name(name)?;
        if self.exists(name)? {
            return Err(Error::invalid(format!(
                "collection {name:?} exists already; open_collection opens it, \
                 collection gets or creates"
            )));
        }
        self.create_locked(&mut open, name, schema)
    }

    /// Opens the collection `name`.
    ///
    /// # Errors
    /// `NotFound`, naming the nearest; `Corrupt` when it does not read.
    pub fn open_collection(&self, name: &str) -> Result<Collection> {
        let mut open = self.lock()?;
        self.open_locked(&mut open, name)
    }

    /// Drops a collection with all its files. Handles to it answer `Closed` from then on.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`, or `Io`.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.host.check_writable()?;
        let mut open = self.lock()?;
        self.require(name)?;
        let dropped = open.remove(name);
        if let Some(collection) = &dropped {
            collection.shut(false)?;
        }
        let from = self.path().join(name);
        let to = self.path().join(format!("{TRASH_PREFIX}{:032x}", fresh_store_id()));
        self.rename_durably(&from, &to)?;
        if let Some(collection) = dropped {
            end(&collection, "was dropped".into());
        }
        remove_tree(&self.host.disk, &to);
        Ok(())
    }

    /// Renames a collection. Handles opened under the old name answer `Closed` from then on.
    ///
    /// # Errors
    /// `NotFound`, `InvalidArgument` when the new name is taken or bad, `ReadOnly`, or `Io`.
    pub fn rename_collection(&self, from: &str, to: &str) -> Result<()> {
        self.host.check_writable()?;
        let mut open = self.lock()?;
        self.require(from)?;
        check_name(to)?;
        if self.exists(to)? {
            return Err(Error::invalid(format!("collection {to:?} exists already")));
        }
        copy::refuse_stranger(&self.host.disk, &self.path().join(to))?;
        let renamed = open.remove(from);
        if let Some(collection) = &renamed {
            collection.shut(true)?;
        }
        self.rename_durably(&self.path().join(from), &self.path().join(to))?;
        if let Some(collection) = renamed {
            end(&collection, format!("was renamed to {to:?}; open it by that name"));
        }
        Ok(())
    }

    /// Closes the database and every collection opened through it: what is in memory is made
    /// durable, background work ends, the lock is released. In a forked child nothing is touched.
    /// Closing twice is allowed.
    ///
    /// # Errors
    /// The first failure of writing what was in memory; it is safe in the log all the same under
    /// [`Durability::Sync`].
    pub fn close(&self) -> Result<()> {
        if !self.host.is_own_process() {
            // The lock, and perhaps mutexes in the middle of something, are the parent's.
            self.host.mark_closed();
            return Ok(());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for (_, collection) in open.drain() {
            let closed = collection.shut(true);
            result = result.and(closed);
        }
        self.host.mark_closed();
        self.host.release_lock();
        result
    }

    /// Closes the database and, if it holds no collection, removes its directory: for whoever has
    /// created it for something that then failed. Returns whether it was removed.
    ///
    /// # Errors
    /// As [`close`](Self::close); `ReadOnly`, `Io`.
    pub fn close_and_remove_if_empty(&self) -> Result<bool> {
        self.host.check()?;
        self.host.check_writable()?;
        let (disk, path) = (&self.host.disk, self.path());
        let entries = disk.list(path).map_err(|error| Error::unlisted(path, error))?;
        if entries.iter().any(|entry| entry.name != LOCK) {
            return self.close().map(|()| false);
        }
        let file = path.join(LOCK);
        // While the lock is held, so that nobody else has opened what is removed.
        disk.remove_file(&file).map_err(|error| Error::io("remove", &file, error))?;
        self.close()?;
        disk.remove_dir(path).map_err(|error| Error::io("remove", path, error))?;
        sync_dir(disk, &parent(path)).map(|()| true)
    }

    fn lock(&self) -> Result<MutexGuard<'_, HashMap<String, Collection>>> {
        self.host.check()?;
        Ok(self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_locked(
        &self,
        open: &mut HashMap<String, Collection>,
        name: &str,
    ) -> Result<Collection> {
        check_name(name)?;
        if let Some(collection) = open.get(name).filter(|collection| !collection.is_shut()) {
            return Ok(collection.clone());
        }
        self.require(name)?;
        let collection = Collection::open(name, &self.host)?;
        open.insert(name.into(), collection.clone());
        Ok(collection)
    }

    fn create_locked(
        &self,
        open: &mut HashMap<String, Collection>,
        name: &str,
        schema: Schema,
    ) -> Result<Collection> {
        self.host.check_writable()?;
        check_name(name)?;
        schema.validate_new()?;
        let staging = self.path().join(format!("{NEW_PREFIX}{:032x}", fresh_store_id()));
        let disk = &self.host.disk;
        let path = self.path().join(name);
        if self.doubtful().contains(name) {
            remove_tree(disk, &path);
        } else {
            copy::refuse_stranger(disk, &path)?;
        }
        disk.create_dir(&staging)
            .map_err(|error| Error::io("create", &staging, error))
            .and_then(|()| recover::create(disk, &staging, schema))
            .and_then(|()| {
                disk.rename(&staging, &path).map_err(|error| Error::io("rename", &staging, error))
            })
            .inspect_err(|_| remove_tree(disk, &staging))?;
        // A name that is not durable must not be found by whoever tries again.
        if let Err(error) = sync_dir(disk, self.path()) {
            remove_tree(disk, &path);
            self.doubtful().insert(name.into());
            return Err(error);
        }
        self.doubtful().remove(name);
        self.open_locked(open, name)
    }

    /// Names whose creation failed after they had appeared: they count as absent.
    fn doubtful(&self) -> MutexGuard<'_, HashSet<String>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.collections()?.iter().any(|known| known == name))
    }

    fn require(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let names = self.collections()?;
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        let hint = match names.as_slice() {
            [] => format!("; {} has no collections: is the path right?", self.path().display()),
            _ => spelling::nearest_or_all(name, names.iter().map(String::as_str)),
        };
        Err(Error::not_found(format!("collection {name:?}"), hint))
    }

    fn rename_durably(&self, from: &Path, to: &Path) -> Result<()> {
        let disk = &self.host.disk;
        disk.rename(from, to).map_err(|error| Error::io("rename", from, error))?;
        sync_dir(disk, self.path())
    }
}

/// Accepts `[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}`: such a name can leave no directory and hide in
/// none.
fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || name.starts_with('.')
        || !name.bytes().all(allowed)
    {
        let shown: String = name.chars().take(40).collect();
        return Err(Error::invalid(format!(
            "collection name {shown:?} of {} bytes; expected 1 to {MAX_NAME_BYTES} ASCII letters, \
             digits, '.', '_' or '-', not starting with '.'",
            name.len()
        )));
    }
    Ok(())
}

fn sync_dir(disk: &Arc<dyn Disk>, path: &Path) -> Result<()> {
    disk.sync_dir(path).map_err(|error| Error::io("sync", path, error))
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        _ => PathBuf::from("."),
    }
}

/// Has the handles of a collection that was shut say why.
fn end(collection: &Collection, ending: String) {
    // The first reason is the one that counts.
    drop(collection.core().ending.set(ending));
}

/// Removes what an interrupted create or drop left behind.
fn sweep(disk: &Arc<dyn Disk>, path: &Path) {
    for entry in disk.list(path).unwrap_or_default() {
        if entry.name.starts_with(NEW_PREFIX) || entry.name.starts_with(TRASH_PREFIX) {
            remove_tree(disk, &path.join(entry.name));
        }
    }
}

/// Removes a collection's directory as far as it can: what stays is swept at the next opening.
fn remove_tree(disk: &Arc<dyn Disk>, path: &Path) {
    for entry in disk.list(path).unwrap_or_default() {
        let child = path.join(&entry.name);
        if entry.is_dir {
            remove_tree(disk, &child);
        } else if disk.remove_file(&child).is_err() {
            return;
        }
    }
    if disk.remove_dir(path).is_err() {
        // Swept at the next opening.
    }
}
