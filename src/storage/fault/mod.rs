//! A file system in memory that fails where a test wants it to.
//!
//! It assumes no more of a disk than the engine may: what was synced stays, a rename is atomic.
//! Everything else is at the mercy of a seed when the power goes ([`FaultDisk::crash_image`]):
//! bytes appended since the last sync survive, vanish, turn to zeros, to garbage or to what another file
//! held, sector by sector; zeros follow the end of a log or not; each name created, renamed or removed since its directory was synced is there or not,
//! in no order. A failed sync drops what it should have written, and the next one reports
//! success. Only what changes the disk counts as an operation; reads (maps and lists are some) are counted by
//! themselves.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use self::inode::Inode;
use self::random::Random;
use self::state::{Kind, State};
use self::tree::Node;
use super::disk::{DirEntry, Disk, DiskFile, DiskLock};
use super::mmap::Mapped;
use crate::sync::{Mutex, MutexGuard};

mod inode;
mod random;
mod state;
#[cfg(test)]
mod tests;
mod tree;

/// What goes wrong, and when. Operations count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Operation `at` and everything after it fails and has no effect.
    PowerCut {
        /// Number of the operation.
        at: u64,
    },
    /// Operation `at` fails without effect. A fault of space (`StorageFull`, `QuotaExceeded`)
    /// spares removals, renames and directory syncs.
    Fail {
        /// Number of the operation.
        at: u64,
        /// The error it gives.
        kind: io::ErrorKind,
        /// Whether all later operations fail as well.
        forever: bool,
    },
    /// The first append that is not before operation `at` writes half of its bytes and fails.
    ShortWrite {
        /// Number of the operation.
        at: u64,
        /// The error it gives.
        kind: io::ErrorKind,
    },
    /// Read `at` fails, once.
    FailRead {
        /// Number of the read.
        at: u64,
        /// The error it gives.
        kind: io::ErrorKind,
    },
}

/// Called with the path of a file or directory before it is created, read, mapped or listed.
pub type Hook = Arc<dyn Fn(&Path) + Send + Sync>;

/// A file system in memory. Clones share it.
#[derive(Clone)]
pub struct FaultDisk(Arc<Mutex<State>>);

impl Default for FaultDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("FaultDisk")
            .field("operations", &state.operations)
            .field("fault", &state.fault)
            .finish_non_exhaustive()
    }
}

impl FaultDisk {
    /// An empty disk with a root directory, on which nothing fails.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Plans a fault, or none.
    pub fn plan(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Reads so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Has `hook` called from now on, outside of all locks of the disk.
    pub fn set_hook(&self, hook: Option<Hook>) {
        self.state().hook = hook;
    }

    /// Makes bytes of a file unreadable, or all of them readable again.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn spoil(&self, path: &Path, bytes: Option<Range<usize>>) -> io::Result<()> {
        let mut state = self.state();
        let file = state.tree.file(path)?;
        state.inodes[file].spoil(bytes);
        Ok(())
    }

    /// Whether a planned power cut has happened.
    #[must_use]
    pub fn is_powerless(&self) -> bool {
        self.state().powerless
    }

    /// Lets appends fail with `StorageFull` once the files hold so many bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Starts to write down operations for [`log`](Self::log).
    pub fn record(&self) {
        self.state().log.get_or_insert_default();
    }

    /// Operations since [`record`](Self::record), one line each.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone().unwrap_or_default()
    }

    /// The disk as a power cut at this moment may leave it. The same seed gives the same disk.
    #[must_use]
    pub fn crash_image(&self, seed: u64) -> Self {
        let state = self.state();
        let mut random = Random::new(seed);
        let tree = state.tree.crash(&mut random);
        let inodes =
            state.inodes.iter().map(|inode| inode.crash(&state.inodes, &mut random)).collect();
        Self(Arc::new(Mutex::new(State { tree, inodes, ..State::default() })))
    }

    /// The disk as the death of the process leaves it: everything written is there, and what was
    /// not synced is still not. After a planned power cut: as if the process had died there
    /// instead.
    #[must_use]
    pub fn kill_image(&self) -> Self {
        let state = self.state();
        let tree = state.tree.clone();
        let inodes = state.inodes.iter().map(Inode::left).collect();
        Self(Arc::new(Mutex::new(State { tree, inodes, ..State::default() })))
    }

    /// A number that two disks share, as good as surely, only if their files have the same names and bytes.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        let state = self.state();
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for path in state.tree.files() {
            hash.update(path.as_os_str().as_encoded_bytes());
            if let Ok(file) = state.tree.file(&path) {
                hash.update(&state.inodes[file].len().to_le_bytes());
                hash.update(state.inodes[file].bytes());
            }
        }
        hash.digest128()
    }

    /// Paths of all files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().tree.files()
    }

    /// Changes the bytes of a file behind the engine's back, durably: damage.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let file = state.tree.file(path)?;
        state.inodes[file].edit(change);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for a read, if that is not to fail.
    fn reading(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.read()?;
        Ok(state)
    }

    fn call_hook(&self, path: &Path) {
        let hook = self.state().hook.clone();
        if let Some(hook) = hook {
            hook(path);
        }
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call_hook(path);
        let mut state = self.state();
        state.attempt(Kind::Grow, || format!("create {}", path.display()))?;
        let id = state.new_file(path)?;
        Ok(Box::new(FaultFile { disk: self.clone(), id }))
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call_hook(path);
        let mut state = self.state();
        state.attempt(Kind::Grow, || format!("create log {}", path.display()))?;
        let id = state.new_file(path)?;
        state.inodes[id] = Inode::log();
        Ok(Box::new(FaultFile { disk: self.clone(), id }))
    }

    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.call_hook(path);
        let state = self.reading()?;
        Ok(state.inodes[state.tree.file(path)?].read(offset, len)?.to_vec())
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        self.read(path, 0).map(Mapped::from_vec)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call_hook(dir);
        let state = self.reading()?;
        let entries = state.tree.list(dir)?.into_iter().map(|(name, node)| match node {
            Node::File(id) => DirEntry { name, is_dir: false, len: state.inodes[id].len() },
            Node::Dir(_) => DirEntry { name, is_dir: true, len: 0 },
        });
        Ok(entries.collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Grow, || format!("create directory {}", path.display()))?;
        state.tree.add_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Other, || format!("rename {} to {}", from.display(), to.display()))?;
        state.tree.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Other, || format!("remove {}", path.display()))?;
        state.tree.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Other, || format!("remove directory {}", path.display()))?;
        state.tree.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let outcome = state.attempt(Kind::Other, || format!("sync directory {}", dir.display()));
        if !state.powerless {
            state.tree.sync(dir, outcome.is_ok())?;
        }
        outcome
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        let mut state = self.reading()?;
        let found = match state.tree.file(path) {
            Ok(id) => Some(id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if found.is_some_and(|id| state.locked.contains(&id)) {
            return Ok(None);
        }
        let id = match found {
            Some(id) => id,
            None => {
                state.attempt(Kind::Grow, || format!("create lock {}", path.display()))?;
                state.new_file(path)?
            }
        };
        state.inodes[id].rewrite(note.as_bytes());
        state.locked.insert(id);
        Ok(Some(Box::new(FaultLock { disk: self.clone(), id })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.reading()?;
        let id = state.tree.file(path)?;
        Ok(state.locked.contains(&id))
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    id: usize,
}

impl DiskFile for FaultFile {
    fn append_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        self.disk.state().append(self.id, &pieces.concat())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.attempt(Kind::Grow, || format!("sync #{}", self.id));
        if !state.powerless {
            state.inodes[self.id].sync(outcome.is_ok());
        }
        outcome
    }

    fn map(&self) -> io::Result<Mapped> {
        let state = self.disk.reading()?;
        Ok(Mapped::from_vec(state.inodes[self.id].bytes().to_vec()))
    }
}

#[derive(Debug)]
struct FaultLock {
    disk: FaultDisk,
    id: usize,
}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.id);
    }
}
