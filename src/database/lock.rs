//! The lock of a database: held by its one writer, and what makes a directory a database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{LOCK, parent, sync_dir};
use crate::error::{Error, Result};
use crate::storage::disk::{Disk, DiskLock};
use crate::sync::thread;
use crate::types::time;

/// How long somebody may look at the lock, and how often it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 100;

/// Takes the lock of a directory that is no database yet, which makes it one: durably, since what
/// is written into it later relies on that. After a failure it is none still.
pub(super) fn found(disk: &Arc<dyn Disk>, path: &Path) -> Result<DiskLock> {
    let undo = |_: &Error| {
        let unlocked = disk.remove_file(&path.join(LOCK));
        if disk.remove_dir(path).or(unlocked).is_err() {
            // Somebody has put something there meanwhile, or the disk fails altogether.
        }
    };
    sync_dir(disk, &parent(path)).inspect_err(undo)?;
    let lock = take(disk, path)?;
    sync_dir(disk, path).inspect_err(undo)?;
    Ok(lock)
}

/// Takes the lock of a database, with a note that names this process.
pub(super) fn take(disk: &Arc<dyn Disk>, path: &Path) -> Result<DiskLock> {
    let file = path.join(LOCK);
    let program = std::env::args_os()
        .next()
        .map_or_else(|| "unknown".into(), |arg| arg.to_string_lossy().into_owned());
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or_default());
    let since = time::format(since.saturating_mul(1_000_000));
    let note = format!("pid {}, command {program}, since {since}", std::process::id());
    let lock_it = || disk.lock(&file, &note).map_err(|error| Error::io("lock", &file, error));
    let mut lock = lock_it()?;
    // Whoever only looks whether it is held has it for a moment, and shares it.
    for _ in 0..LOOKS {
        if lock.is_some() || disk.is_locked(&file).unwrap_or(true) {
            break;
        }
        thread::sleep(LOOK);
        lock = lock_it()?;
    }
    match lock {
        Some(lock) => Ok(lock),
        None => {
            let note = disk.read(&file, 0).unwrap_or_default();
            let holder = String::from_utf8_lossy(&note[..note.len().min(512)]).into_owned();
            Err(Error::Locked { path: path.into(), holder })
        }
    }
}
