//! The write path: queue → log → memtable → publish.
//!
//! Every writer puts its operation into the queue and then asks for the writer mutex. Whoever gets
//! it takes the whole queue, applies the operations in order to a private copy of the state, hands
//! their frames to the log in one append and one sync, and only then publishes. So concurrent
//! writers share an fsync, nothing becomes visible before it is as durable as promised, and a
//! failure leaves the published state untouched.
//!
//! > Invariant: sequence numbers have no gap. Recovery relies on it to notice a missing log file.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;

use super::manifest::Manifest;
use super::options::Durability;
use super::snapshot::{Frozen, View};
use super::{Core, apply, segment_files};
use crate::error::{Error, Result};
use crate::segment::memtable::Batch;
use crate::storage::wal::{WalIdentity, WalWriter};
use crate::types::{Column, Ids};

/// A log buffer under [`Durability::None`] is handed to the system when it has grown this large.
const LAZY_BYTES: usize = 1 << 20;

/// What a writer asks for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Rows whose ids must be new.
    Add(Batch),
    /// Rows that replace those of the same ids.
    Upsert(Batch),
    /// New attributes for existing rows.
    Update { ids: Ids<'static>, attributes: RecordBatch },
    /// Rows to remove.
    Delete(Ids<'static>),
    /// Columns to add; those that exist with the same type are passed over.
    AddColumns(Vec<Column>),
}

/// A queued operation and, later, its answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    work: Mutex<Option<Work>>,
    answer: Mutex<Option<Result<u64>>>,
}

impl Ticket {
    fn new(work: Work) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(work)), answer: Mutex::new(None) })
    }

    fn resolve(&self, answer: Result<u64>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    fn answer(&self) -> Option<Result<u64>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn work(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Everything behind the writer mutex.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The manifest that is on disk.
    pub(crate) manifest: Manifest,
    /// The log file being appended to; created by the first write that needs it.
    pub(crate) log: Option<WalWriter>,
    /// Log files whose frames may not be on disk yet; synced before anything is logged after them.
    pub(crate) unsynced_logs: Vec<PathBuf>,
    /// Bytes in logs that the next flush makes unnecessary.
    pub(crate) log_bytes: u64,
    /// Highest sequence number known to be on disk.
    pub(crate) durable: u64,
    /// Why no further write is possible.
    pub(crate) poison: Option<String>,
    /// Files that the manifest before the last named and the last does not.
    pub(crate) limbo: Vec<super::retire::Retired>,
    /// Segments being merged, and the sequence number they were read at.
    pub(crate) compacting: Option<(Vec<u64>, u64)>,
    /// Bytes handed to the disk since opening, by purpose.
    pub(crate) written: Written,
}

/// Bytes written since opening.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) log: u64,
    pub(crate) flush: u64,
    pub(crate) compaction: u64,
    pub(crate) import: u64,
}

impl Writer {
    pub(crate) fn check(&self) -> Result<()> {
        self.poison.as_ref().map_or(Ok(()), |reason| Err(Error::Poisoned(reason.clone())))
    }

    /// Remembers a failure after which the log's tail is unknown.
    pub(crate) fn poison(&mut self, error: &Error) {
        self.poison.get_or_insert_with(|| error.to_string());
        self.log = None;
    }

    /// Makes everything logged so far durable.
    pub(crate) fn sync_log(&mut self, core: &Core, seq: u64) -> Result<()> {
        self.check()?;
        let synced = self.sync_old_logs(core).and_then(|()| match &mut self.log {
            Some(log) => log.sync(),
            None => Ok(()),
        });
        match synced {
            Ok(()) => {
                self.durable = self.durable.max(seq);
                Ok(())
            }
            Err(error) => {
                self.poison(&error);
                Err(error)
            }
        }
    }

    fn sync_old_logs(&mut self, core: &Core) -> Result<()> {
        for path in self.unsynced_logs.drain(..) {
            core.host.disk.sync_file(&path).map_err(|error| Error::io("sync", &path, error))?;
        }
        Ok(())
    }

    /// Ends the current log file, so that a flush of what it holds makes it unnecessary; returns
    /// the number of the next one.
    pub(crate) fn roll_log(&mut self, core: &Core, seq: u64) -> Result<u64> {
        if self.log.is_some() {
            if core.host.settings.durability == Durability::Sync {
                self.sync_log(core, seq)?;
            } else if let Some(log) = &mut self.log {
                log.flush()?;
                self.unsynced_logs.push(log.path().to_path_buf());
            }
            self.log = None;
        }
        Ok(core.next_file.load(Ordering::Relaxed))
    }

    /// The log file to append to; `first` is the next operation.
    fn ensure_log(&mut self, core: &Core, first: u64) -> Result<&mut WalWriter> {
        if self.log.is_none() {
            if core.host.settings.durability == Durability::Sync {
                self.sync_old_logs(core)?;
            }
            let number = core.file_number();
            let path = core.dir.join(segment_files::log_name(number));
            let identity = WalIdentity { store: core.store, number };
            self.log = Some(WalWriter::create(&core.host.disk, &path, identity, first)?);
        }
        match &mut self.log {
            Some(log) => Ok(log),
            None => unreachable!("created above"),
        }
    }

    /// Logs `frames` (numbered from `first`), as durably as the settings say.
    fn log_frames(&mut self, core: &Core, first: u64, frames: &[Vec<u8>]) -> Result<()> {
        let durability = core.host.settings.durability;
        let durable = self.durable;
        let log = self.ensure_log(core, first)?;
        let before = log.len();
        for (seq, payload) in (first..).zip(frames) {
            log.append(seq, durable, payload);
        }
        let last = first + frames.len() as u64 - 1;
        match durability {
            Durability::Sync => {
                log.sync()?;
                // Tells readers in other processes that these rows cannot be taken back.
                log.append(last, last, &[]);
                if log.flush().is_err() {
                    // The rows are safe; the next write begins a new file.
                    self.log = None;
                }
                self.durable = last;
            }
            Durability::Buffered => log.flush()?,
            Durability::None if log.buffered() >= LAZY_BYTES => log.flush()?,
            Durability::None => {}
        }
        let after = self.log.as_ref().map_or(before, WalWriter::len);
        self.log_bytes += after - before;
        self.written.log += after - before;
        Ok(())
    }
}

/// Runs one operation through the queue and returns how many rows it wrote or removed.
pub(crate) fn submit(core: &Core, work: Work) -> Result<u64> {
    core.wait_for_room()?;
    let ticket = Ticket::new(work);
    core.queue.lock().unwrap_or_else(PoisonError::into_inner).push(ticket.clone());
    let mut writer = core.writer.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = ticket.answer() {
        return answer;
    }
    let group = std::mem::take(&mut *core.queue.lock().unwrap_or_else(PoisonError::into_inner));
    commit_group(core, &mut writer, &group);
    drop(writer);
    core.signal();
    ticket.answer().unwrap_or_else(|| Err(Error::Closed(format!("collection {:?}", core.name))))
}

/// Applies a group of operations, logs them together and publishes the result.
fn commit_group(core: &Core, writer: &mut Writer, group: &[Arc<Ticket>]) {
    if let Err(error) = core.check().and_then(|()| writer.check()) {
        let message = error.to_string();
        for ticket in group {
            let error = core.check().and_then(|()| writer.check()).err();
            ticket.resolve(Err(error.unwrap_or_else(|| Error::Poisoned(message.clone()))));
        }
        return;
    }
    let mut view = View::clone(&core.slot.load());
    let mut frames = Vec::new();
    let mut answers = Vec::new();
    for ticket in group {
        let Some(work) = ticket.work() else { continue };
        let before = view.clone();
        let mut logged = Vec::new();
        match apply::apply(&mut view, work, &mut logged) {
            Ok(count) => {
                frames.append(&mut logged);
                answers.push((ticket, count));
            }
            Err(error) => {
                view = before;
                ticket.resolve(Err(error));
            }
        }
    }
    if frames.is_empty() {
        for (ticket, count) in answers {
            ticket.resolve(Ok(count));
        }
        return;
    }
    let first = core.slot.load().seq + 1;
    if let Err(error) = writer.log_frames(core, first, &frames) {
        fail_group(writer, &error, answers.into_iter().map(|(ticket, _)| ticket));
        return;
    }
    let frozen = freeze_if_full(core, writer, &mut view);
    core.publish(view);
    for (ticket, count) in answers {
        ticket.resolve(Ok(count));
    }
    if let Err(error) = frozen {
        writer.poison(&error);
    }
}

/// Answers a group whose frames could not be logged. A full disk is no poison: the torn tail of
/// the old file reads as its end, and the next write begins a new file.
fn fail_group<'a>(
    writer: &mut Writer,
    error: &Error,
    tickets: impl Iterator<Item = &'a Arc<Ticket>>,
) {
    let full = match error {
        Error::Full { path } => Some(path.clone()),
        _ => None,
    };
    writer.log = None;
    if full.is_none() {
        writer.poison(error);
    }
    let message = error.to_string();
    for ticket in tickets {
        ticket.resolve(Err(match &full {
            Some(path) => Error::Full { path: path.clone() },
            None => Error::Poisoned(message.clone()),
        }));
    }
}

/// Freezes the active memtable when it or its log is over the limit.
fn freeze_if_full(core: &Core, writer: &mut Writer, view: &mut View) -> Result<()> {
    let limit = core.host.settings.memtable_bytes;
    let active: usize = view.active.iter().map(|part| part.part.memory_bytes()).sum();
    let patches: usize = view.parts().map(|part| part.patch.memory_bytes()).sum();
    if active + patches < limit && writer.log_bytes < 4 * limit as u64 {
        return Ok(());
    }
    freeze(core, writer, view)
}

/// Ends the active memtable and its log.
pub(crate) fn freeze(core: &Core, writer: &mut Writer, view: &mut View) -> Result<()> {
    let log_next = writer.roll_log(core, view.seq)?;
    writer.log_bytes = 0;
    let parts = std::mem::take(&mut view.active);
    view.frozen.push(Frozen { seq: view.seq, log_next, parts });
    Ok(())
}
