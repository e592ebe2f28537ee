//! The write path: queue → log → memtable → publish.
//!
//! Every writer puts its operation into the queue and then asks for the writer mutex. Whoever gets
//! it takes the whole queue, applies the operations in order to a private copy of the state, hands
//! their frames to the log in one append and one sync, and only then publishes. So concurrent
//! writers share an fsync, nothing becomes visible before it is as durable as promised, and a
//! failure leaves the published state untouched.
//!
//! > Invariant: sequence numbers have no gap. Recovery relies on it to notice a missing log file.

use std::io;
use std::sync::{Arc, PoisonError};

use super::manifest::Manifest;
use super::options::Durability;
use super::snapshot::{Frozen, View};
use super::work::Work;
use super::{Core, apply, flush, segment_files};
use crate::error::{Error, Result};
use crate::span::span;
use crate::storage::wal::{Payload, WalIdentity, WalWriter};
use crate::sync::atomic::Ordering;
use crate::sync::{Bug, Condvar, Mutex, MutexGuard, is_seeded};

/// A log buffer under [`Durability::None`] is handed to the system when it has grown this large.
const LAZY_BYTES: usize = 1 << 20;

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

    fn is_answered(&self) -> bool {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn work(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Operations waiting to be committed. One of the threads that brought them leads: it commits all
/// that wait by the time it has the writer, and the others sleep until theirs is answered.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    waiting: Vec<Arc<Ticket>>,
    led: bool,
}

/// Leads the queue until dropped.
struct Lead<'a>(&'a Queue);

impl Queue {
    /// Brings an operation. `None` once another thread has answered it.
    fn enter(&self, ticket: &Arc<Ticket>) -> Option<Lead<'_>> {
        let mut line = self.line();
        line.waiting.push(ticket.clone());
        while line.led {
            line = self.answered.wait(line).unwrap_or_else(PoisonError::into_inner);
            if ticket.is_answered() {
                return None;
            }
        }
        line.led = true;
        Some(Lead(self))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// The operations that wait.
    fn group(&self) -> Vec<Arc<Ticket>> {
        std::mem::take(&mut self.0.line().waiting)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.line().led = false;
        if !is_seeded(Bug::QueueSleeps) {
            self.0.answered.notify_all();
        }
    }
}

/// Everything behind the writer mutex.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The manifest that is on disk.
    pub(crate) manifest: Manifest,
    /// The log file being appended to; created by the first write that needs it.
    pub(crate) log: Option<WalWriter>,
    /// The last operations, when they are not in a log file yet: all that [`Durability::None`]
    /// keeps back.
    pub(crate) pending: Pending,
    /// Ended logs whose frames may not be on disk yet; synced before anything is logged after them. They stay
    /// open: the system tells of bytes that it lost to those who had the file open then.
    pub(crate) unsynced_logs: Vec<WalWriter>,
    /// Bytes in logs that the next flush makes unnecessary.
    pub(crate) log_bytes: u64,
    /// Highest sequence number known to be on disk.
    pub(crate) durable: u64,
    /// Highest sequence number that a log or manifest tells readers to be on disk.
    pub(crate) told: u64,
    /// Why no further write is possible.
    pub(crate) poison: Option<String>,
    /// Somebody has removed the files: what was acknowledged is gone.
    pub(crate) lost: bool,
    /// Files that the manifest before the last named and the last does not.
    pub(crate) limbo: Vec<super::retire::Retired>,
    /// Segments being merged, and the sequence number they were read at.
    pub(crate) compacting: Option<(Vec<u64>, u64)>,
    /// Bytes handed to the disk since opening, by purpose.
    pub(crate) written: Written,
    /// Why the newest manifest was not the one that counts, on opening.
    pub(crate) passed_over: Option<String>,
}

/// Operations on their way to the log.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Sequence number of the first.
    first: u64,
    frames: Vec<Payload>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, first: u64, frames: Vec<Payload>) {
        if self.frames.is_empty() {
            self.first = first;
        }
        self.bytes += frames.iter().map(Payload::len).sum::<usize>();
        self.frames.extend(frames);
    }

    /// Forgets all but the first `kept`.
    fn truncate(&mut self, kept: usize) {
        let gone = self.frames.drain(kept..);
        self.bytes -= gone.map(|frame| frame.len()).sum::<usize>();
    }
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

    /// Refuses to write where nobody will find it again.
    pub(crate) fn check_files(&mut self, core: &Core) -> Result<()> {
        let named = self.log.as_ref().is_none_or(WalWriter::has_name);
        if !self.lost && named && core.host.is_there() {
            return Ok(());
        }
        let error = Error::removed("write to", &core.dir);
        self.lost = true;
        self.poison(&error);
        Err(error)
    }

    /// Makes everything logged so far durable.
    pub(crate) fn sync_log(&mut self, core: &Core, seq: u64) -> Result<()> {
        self.check()?;
        self.check_files(core)?;
        self.log_pending(core)?;
        self.sync_old_logs()?;
        if let Some(log) = &mut self.log
            && let Err(error) = log.sync()
        {
            self.poison(&error);
            return Err(error);
        }
        self.durable = self.durable.max(seq);
        Ok(())
    }

    /// Syncs the logs before the present one. A failure leaves it unknown what they hold, whatever
    /// its kind, and nothing may be built upon that.
    fn sync_old_logs(&mut self) -> Result<()> {
        for mut log in std::mem::take(&mut self.unsynced_logs) {
            if let Err(error) = log.sync_written() {
                self.poison(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the current log file, so that a flush of what it holds makes it unnecessary; returns
    /// the number of the next one.
    pub(crate) fn roll_log(&mut self, core: &Core) -> Result<u64> {
        self.check()?;
        self.log_pending(core)?;
        self.end_log();
        Ok(core.next_file.load(Ordering::Relaxed))
    }

    fn end_log(&mut self) {
        self.unsynced_logs.extend(self.log.take());
    }

    /// Deals with a log file that could not be begun, appended to or synced. On a full disk its torn tail
    /// reads as its end, and the next write begins a new file; after any other failure there is no
    /// next write.
    fn leave_log(&mut self, error: &Error) {
        self.log = None;
        if !matches!(error, Error::Full { .. }) && !is_seeded(Bug::PoisonIsForgotten) {
            self.poison(error);
        }
    }

    /// The log file to append to; `first` is the next operation.
    fn ensure_log(&mut self, core: &Core, first: u64) -> Result<&mut WalWriter> {
        if self.log.is_none() {
            // Otherwise a power cut could keep the new file and lose the end of the old one.
            self.sync_old_logs()?;
            let number = core.file_number();
            let path = core.dir.join(segment_files::log_name(number));
            let identity = WalIdentity { store: core.store, number };
            // Where that fails nothing has changed, and the next write may fare better.
            let file = core.disk.create_log(&path);
            let file = file.map_err(|error| Error::io("create", &path, error))?;
            match WalWriter::begin(&core.disk, &path, file, identity, first) {
                Ok(log) => self.log = Some(log),
                Err(error) => {
                    if core.disk.remove_file(&path).is_err() {
                        // It reads as an empty log.
                    }
                    self.leave_log(&error);
                    return Err(error);
                }
            }
        }
        match &mut self.log {
            Some(log) => Ok(log),
            None => unreachable!("created above"),
        }
    }

    /// Hands what is pending to the log file; after a failure it is pending still.
    fn log_pending(&mut self, core: &Core) -> Result<()> {
        if self.pending.frames.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let durable = self.durable;
        let log = match self.ensure_log(core, pending.first) {
            Ok(log) => log,
            Err(error) => {
                self.pending = pending;
                return Err(error);
            }
        };
        let before = log.len();
        for (seq, payload) in (pending.first..).zip(&pending.frames) {
            log.append(seq, durable, payload);
        }
        let logged = log.flush().map(|()| log.len() - before);
        match logged {
            Ok(bytes) => {
                self.log_bytes += bytes;
                self.written.log += bytes;
                Ok(())
            }
            Err(error) => {
                self.pending = pending;
                // What was appended before may have to be synced yet.
                self.end_log();
                self.leave_log(&error);
                Err(error)
            }
        }
    }

    /// Logs `frames` (numbered from `first`), as durably as the settings say.
    fn log_frames(&mut self, core: &Core, first: u64, frames: Vec<Payload>) -> Result<()> {
        let durability = core.host.settings.durability;
        let kept = self.pending.frames.len();
        let last = first + frames.len() as u64 - 1;
        self.check_files(core)?;
        self.pending.push(first, frames);
        if durability == Durability::None && self.pending.bytes < LAZY_BYTES {
            return Ok(());
        }
        if let Err(error) = self.log_pending(core) {
            // Those before were acknowledged; these are not going to be.
            self.pending.truncate(kept);
            return Err(error);
        }
        if durability == Durability::Sync && !is_seeded(Bug::SyncIsSkipped) {
            self.sync_frames(last)?;
            // Removed in between, it would be acknowledged and gone.
            self.check_files(core)?;
        }
        Ok(())
    }

    /// Syncs the log and tells readers in other processes that its rows cannot be taken back.
    fn sync_frames(&mut self, last: u64) -> Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Err(error) = log.sync() {
            // All that was acknowledged has been synced before. A second sync would prove nothing.
            self.leave_log(&error);
            return Err(error);
        }
        self.durable = last;
        log.append(last, last, &Payload::default());
        match log.flush() {
            Ok(()) => self.told = last,
            // The rows are safe; the next write begins a new file.
            Err(_) => self.end_log(),
        }
        Ok(())
    }

    /// Tells readers in other processes how much is on disk.
    pub(crate) fn tell_durable(&mut self, core: &Core) {
        let durable = self.durable;
        if self.told >= durable || self.poison.is_some() {
            return;
        }
        let told = self.ensure_log(core, durable + 1).and_then(|log| {
            log.append(durable, durable, &Payload::default());
            log.flush()
        });
        match told {
            Ok(()) => self.told = durable,
            // Only readers miss it, until the next write, which begins a new file.
            Err(_) => self.end_log(),
        }
    }
}

/// Runs one operation through the queue and returns how many rows it wrote or removed.
pub(crate) fn submit(core: &Core, work: Work) -> Result<u64> {
    span!(DEBUG, "write", collection = core.name(), rows = work.rows());
    let rows = queued(core, work)?;
    core.meters.wrote();
    Ok(rows)
}

fn queued(core: &Core, work: Work) -> Result<u64> {
    flush::secure(core)?;
    core.wait_for_room()?;
    let ticket = Ticket::new(work);
    let Some(lead) = core.queue.enter(&ticket) else {
        return ticket.answer().unwrap_or_else(|| unanswered(core));
    };
    let mut writer = core.writer();
    let group = lead.group();
    commit_group(core, &mut writer, &group);
    drop(writer);
    drop(lead);
    core.signal();
    ticket.answer().unwrap_or_else(|| unanswered(core))
}

fn unanswered(core: &Core) -> Result<u64> {
    Err(core.closed())
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
        // A group of one, the usual case, finds the state before it in the slot.
        let before = (group.len() > 1).then(|| view.clone());
        let mut logged = Vec::new();
        match apply::apply(&mut view, work, &mut logged) {
            Ok(count) => {
                frames.append(&mut logged);
                answers.push((ticket, count));
            }
            Err(error) => {
                view = before.unwrap_or_else(|| View::clone(&core.slot.load()));
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
    if is_seeded(Bug::SeenBeforeLogged) {
        core.publish(view.clone());
    }
    if let Err(error) = writer.log_frames(core, first, frames) {
        fail_group(&error, writer, answers.into_iter().map(|(ticket, _)| ticket));
        return;
    }
    if freeze_if_full(core, writer, &mut view).is_err() {
        // What was asked for is done. The next write tries again, or says that none can be.
    }
    core.publish(view);
    for (ticket, count) in answers {
        ticket.resolve(Ok(count));
    }
}

/// Answers a group whose frames could not be logged.
fn fail_group<'a>(error: &Error, writer: &Writer, tickets: impl Iterator<Item = &'a Arc<Ticket>>) {
    let message = error.to_string();
    for ticket in tickets {
        ticket.resolve(Err(match error {
            Error::Full { path } => Error::Full { path: path.clone() },
            Error::Io { path, .. } if writer.lost => Error::removed("write to", path),
            Error::Io { action, path, source } if writer.poison.is_none() => {
                let source = io::Error::new(source.kind(), source.to_string());
                Error::io(action, path, source)
            }
            _ => Error::Poisoned(message.clone()),
        }));
    }
}

/// Freezes the active memtable when it or its log is over the limit.
fn freeze_if_full(core: &Core, writer: &mut Writer, view: &mut View) -> Result<()> {
    let limit = core.host.settings.memtable_bytes;
    let active: usize = view.active.iter().map(|part| part.part.memory_bytes()).sum();
    // Those of a broken part stay, whatever is flushed.
    let parts = view.parts().filter(|part| !part.is_broken());
    let patches: usize = parts.map(|part| part.patch.memory_bytes()).sum();
    if active + patches < limit && writer.log_bytes < 4 * limit as u64 {
        return Ok(());
    }
    freeze(core, writer, view)
}

/// Ends the active memtable and its log.
pub(crate) fn freeze(core: &Core, writer: &mut Writer, view: &mut View) -> Result<()> {
    let log_next = writer.roll_log(core)?;
    writer.log_bytes = 0;
    let parts = std::mem::take(&mut view.active);
    let hints = std::mem::take(&mut view.hints);
    view.frozen.push(Frozen { seq: view.seq, log_next, parts, hints });
    Ok(())
}
