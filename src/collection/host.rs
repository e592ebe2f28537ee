//! What a collection runs on: the disk, the settings, the thread pool and the process that opened
//! it. Shared by all collections of a database; the database's lock lives as long as this.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError};

use super::options::Settings;
use crate::error::{Error, Result};
use crate::segment::search::Isa;
use crate::storage::disk::{Disk, DiskLock};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Everything a collection borrows from its database.
#[derive(Debug)]
pub(crate) struct Host {
    /// The database's directory.
    pub(crate) path: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) settings: Settings,
    pub(crate) read_only: bool,
    /// Where the database begins in a file that it is packed into.
    pub(crate) packed: Option<u64>,
    pub(crate) isa: Isa,
    pool: OnceLock<rayon::ThreadPool>,
    process: u32,
    closed: AtomicBool,
    lock: Mutex<Option<DiskLock>>,
}

impl Host {
    pub(crate) fn new(
        path: PathBuf,
        disk: Arc<dyn Disk>,
        settings: Settings,
        lock: Option<DiskLock>,
        packed: Option<u64>,
    ) -> Self {
        Self {
            path,
            disk,
            settings,
            read_only: lock.is_none(),
            packed,
            isa: Isa::detect(),
            pool: OnceLock::new(),
            process: std::process::id(),
            closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
        }
    }

    /// Refuses a handle that was closed or crossed a `fork`.
    pub(crate) fn check(&self) -> Result<()> {
        if self.process != std::process::id() {
            return Err(Error::Forked(self.process));
        }
        if self.is_closed() {
            return Err(Error::closed(format_args!("database {}", self.path.display())));
        }
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether this process is the one that opened the database.
    pub(crate) fn is_own_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// Refuses a write where none is allowed.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match (self.read_only, self.packed) {
            (_, Some(_)) => Err(packed_is_read_only(&self.path)),
            (true, None) => Err(Error::ReadOnly(format!(
                "database {} (opened for reading)",
                self.path.display()
            ))),
            (false, None) => Ok(()),
        }
    }

    /// Whether the directory is still there: somebody may remove it while it is open.
    pub(crate) fn is_there(&self) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().is_none_or(|lock| self.disk.holds(lock))
    }

    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets another process write.
    pub(crate) fn release_lock(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The database's own thread pool, started at its first use.
    pub(crate) fn pool(&self) -> Result<&rayon::ThreadPool> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.settings.threads)
            .thread_name(|index| format!("nearfield-{index}"))
            .build()
            .map_err(|error| Error::invalid(format!("threads cannot be started: {error}")))?;
        Ok(self.pool.get_or_init(|| pool))
    }
}

/// What to do for a write into a packed database.
pub(crate) fn packed_is_read_only(path: &Path) -> Error {
    Error::ReadOnly(format!(
        "packed database {} (open it for reading; to write, unpack it into a directory)",
        path.display()
    ))
}

/// A number no other store has.
pub(crate) fn fresh_store_id() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::time::SystemTime::now()));
    half() << 64 | half()
}
