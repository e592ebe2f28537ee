//! Replaying the logs of a damaged collection: what is whole in them, in the order of its numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::Manifest;
use super::op::Op;
use super::salvage::Losses;
use super::segment_files::{self, FileName};
use crate::error::{Error, Result};
use crate::storage::disk::{DirEntry, Disk};
use crate::storage::wal::{WalIdentity, WalReader};

/// Hands `each` the operations that `manifest` does not contain and that can be read; those that cannot are
/// noted. The number of the last one.
pub(super) fn replay(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    manifest: &Manifest,
    entries: &[DirEntry],
    losses: &mut Losses,
    each: &mut dyn FnMut(Op) -> Result<()>,
) -> Result<u64> {
    let mut logs = open(disk, dir, manifest, entries);
    let first = |log: &Log| log.reader.as_ref().ok().and_then(WalReader::first_seq);
    let firsts: Vec<Option<u64>> = logs.iter().map(first).collect();
    let mut last = manifest.seq;
    // What was met since the last operation that was read.
    let mut damage: Option<(PathBuf, Error)> = None;
    for (index, Log { path, reader }) in logs.iter_mut().enumerate() {
        // A later file that numbers an operation again says that the write of this one failed.
        let given_up = |seq| firsts[index + 1..].iter().flatten().any(|first| *first <= seq);
        loop {
            let next = match &mut *reader {
                Ok(reader) => reader.next(),
                Err(error) => Err(std::mem::replace(error, Error::Cancelled)),
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error @ (Error::Corrupt { .. } | Error::Io { .. })) => {
                    damage.get_or_insert_with(|| (path.clone(), error));
                    if reader.as_mut().is_ok_and(|reader| reader.skip().unwrap_or(false)) {
                        continue;
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
            if frame.payload.is_empty() || frame.seq <= last || given_up(frame.seq) {
                continue;
            }
            let missing = frame.seq - last - 1;
            last = frame.seq;
            if let Some(what) = damage.take().filter(|_| missing > 0) {
                losses.of(&what.0, &what.1).operations += missing;
            } else if missing > 0 {
                let what = Error::corrupt(path, LOG, "the log before it is missing");
                losses.of(path, &what).operations += missing;
            }
            match Op::decode(&frame.payload, manifest.schema.space()) {
                Ok(op) => each(op)?,
                Err(reason) => {
                    losses.of(path, &Error::corrupt(path, LOG, reason)).operations += 1;
                }
            }
        }
    }
    let missing = manifest.logged.saturating_sub(last);
    match damage {
        // Of operations at the end nobody knows how many there were.
        Some((path, what)) => losses.of(&path, &what).operations += missing.max(1),
        None if missing > 0 => {
            let reason = "it ends before the last operation that the manifest knows";
            losses.of(dir, &Error::corrupt(dir, LOG, reason)).operations += missing;
        }
        None => {}
    }
    Ok(last)
}

/// What a log is called in errors.
const LOG: &str = "log";

/// A log from its beginning, or why it cannot be read.
struct Log {
    path: PathBuf,
    reader: Result<WalReader>,
}

/// The logs that count, in order.
fn open(disk: &Arc<dyn Disk>, dir: &Path, manifest: &Manifest, entries: &[DirEntry]) -> Vec<Log> {
    let number = |entry: &DirEntry| match segment_files::parse(&entry.name) {
        Some(FileName::Log(number)) if number >= manifest.log_start => Some(number),
        _ => None,
    };
    let mut numbers: Vec<u64> = entries.iter().filter_map(number).collect();
    numbers.sort_unstable();
    let log = |number| {
        let path = dir.join(segment_files::log_name(number));
        let identity = WalIdentity { store: manifest.store, number };
        let reader = WalReader::salvage(disk, &path, identity);
        Log { path, reader }
    };
    numbers.into_iter().map(log).collect()
}
