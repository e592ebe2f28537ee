//! The write path: queue → log → memtable → publish.
//!
//! Every writer puts its operation into the queue and then asks for the writer mutex. Whoever gets
//! it takes the whole queue, applies the operations in order to a private copy of the state, hands
//! their frames to the log in one append and one sync, and only then publishes. So concurrent
//! writers share an fsync, nothing becomes visible before it is as durable as promised, and a
//! failure leaves the published state untouched.
//!
//! > Invariant: sequence numbers have no gap. Recovery relies on it to notice a missing log file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};

use super::manifest::Manifest;
use super::op::Op;
use super::options::Durability;
use super::snapshot::{Frozen, PartView, Place, View};
use super::{Core, flush, segment_files};
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::memtable::{Batch, Chunk, Source};
use crate::segment::part::Part;
use crate::storage::wal::{WalIdentity, WalWriter};
use crate::types::{IdRef, IdType, Ids, Row};

/// Small chunks are merged up to this many bytes, so that single-row writes do not leave a part
/// each.
const MERGE_BYTES: usize = 4 << 20;
/// A log buffer under [`Durability::None`] is handed to the system when it has grown this large.
const LAZY_BYTES: usize = 1 << 20;
/// Ids listed in a `DuplicateId` error.
const LISTED_IDS: usize = 100;
/// Largest operation that one log frame may carry.
pub(crate) const MAX_OP_BYTES: usize = 256 << 20;

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
    AddColumns(Vec<crate::types::Column>),
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
    /// The last operations, when they are not in a log file yet: all that [`Durability::None`]
    /// keeps back.
    pub(crate) pending: Pending,
    /// Log files whose frames may not be on disk yet; synced before anything is logged after them.
    pub(crate) unsynced_logs: Vec<PathBuf>,
    /// Bytes in logs that the next flush makes unnecessary.
    pub(crate) log_bytes: u64,
    /// Highest sequence number known to be on disk.
    pub(crate) durable: u64,
    /// Highest sequence number that a log or manifest tells readers to be on disk.
    pub(crate) told: u64,
    /// Why no further write is possible.
    pub(crate) poison: Option<String>,
    /// Files that the manifest before the last named and the last does not.
    pub(crate) limbo: Vec<super::retire::Retired>,
    /// Segments being merged, and the sequence number they were read at.
    pub(crate) compacting: Option<(Vec<u64>, u64)>,
    /// Bytes handed to the disk since opening, by purpose.
    pub(crate) written: Written,
}

/// Operations on their way to the log.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Sequence number of the first.
    first: u64,
    frames: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, first: u64, frames: Vec<Vec<u8>>) {
        if self.frames.is_empty() {
            self.first = first;
        }
        self.bytes += frames.iter().map(Vec::len).sum::<usize>();
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

    /// Makes everything logged so far durable.
    pub(crate) fn sync_log(&mut self, core: &Core, seq: u64) -> Result<()> {
        self.check()?;
        self.log_pending(core)?;
        self.sync_old_logs(core)?;
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
    fn sync_old_logs(&mut self, core: &Core) -> Result<()> {
        for path in std::mem::take(&mut self.unsynced_logs) {
            if let Err(error) = core.disk.sync_file(&path) {
                let error = Error::io("sync", &path, error);
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
        let log = self.log.take();
        self.unsynced_logs.extend(log.map(|log| log.path().to_path_buf()));
    }

    /// Deals with a log file that could not be appended to or synced. On a full disk its torn tail
    /// reads as its end, and the next write begins a new file; after any other failure there is no
    /// next write.
    fn leave_log(&mut self, error: &Error) {
        self.end_log();
        if !matches!(error, Error::Full { .. }) {
            self.poison(error);
        }
    }

    /// The log file to append to; `first` is the next operation.
    fn ensure_log(&mut self, core: &Core, first: u64) -> Result<&mut WalWriter> {
        if self.log.is_none() {
            // Otherwise a power cut could keep the new file and lose the end of the old one.
            self.sync_old_logs(core)?;
            let number = core.file_number();
            let path = core.dir.join(segment_files::log_name(number));
            let identity = WalIdentity { store: core.store, number };
            match WalWriter::create(&core.disk, &path, identity, first) {
                Ok(log) => self.log = Some(log),
                Err(error) => {
                    if core.disk.remove_file(&path).is_err() {
                        // It reads as an empty log.
                    }
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
        let logged = self.ensure_log(core, pending.first).and_then(|log| {
            let before = log.len();
            for (seq, payload) in (pending.first..).zip(&pending.frames) {
                log.append(seq, durable, payload);
            }
            log.flush()?;
            Ok(log.len() - before)
        });
        match logged {
            Ok(bytes) => {
                self.log_bytes += bytes;
                self.written.log += bytes;
                Ok(())
            }
            Err(error) => {
                self.pending = pending;
                self.leave_log(&error);
                Err(error)
            }
        }
    }

    /// Logs `frames` (numbered from `first`), as durably as the settings say.
    fn log_frames(&mut self, core: &Core, first: u64, frames: Vec<Vec<u8>>) -> Result<()> {
        let durability = core.host.settings.durability;
        let kept = self.pending.frames.len();
        let last = first + frames.len() as u64 - 1;
        self.pending.push(first, frames);
        if durability == Durability::None && self.pending.bytes < LAZY_BYTES {
            return Ok(());
        }
        if let Err(error) = self.log_pending(core) {
            // Those before were acknowledged; these are not going to be.
            self.pending.truncate(kept);
            return Err(error);
        }
        if durability == Durability::Sync {
            self.sync_frames(last)?;
        }
        Ok(())
    }

    /// Syncs the log and tells readers in other processes that its rows cannot be taken back.
    fn sync_frames(&mut self, last: u64) -> Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Err(error) = log.sync() {
            self.leave_log(&error);
            return Err(error);
        }
        self.durable = last;
        log.append(last, last, &[]);
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
            log.append(durable, durable, &[]);
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
    flush::secure(core)?;
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
        match apply(&mut view, work, &mut logged) {
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
    if let Err(error) = writer.log_frames(core, first, frames) {
        fail_group(&error, answers.into_iter().map(|(ticket, _)| ticket));
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
fn fail_group<'a>(error: &Error, tickets: impl Iterator<Item = &'a Arc<Ticket>>) {
    let message = error.to_string();
    for ticket in tickets {
        ticket.resolve(Err(match error {
            Error::Full { path } => Error::Full { path: path.clone() },
            _ => Error::Poisoned(message.clone()),
        }));
    }
}

/// Applies one operation to `view` and adds its log records; after an error both are void.
pub(crate) fn apply(view: &mut View, work: Work, log: &mut Vec<Vec<u8>>) -> Result<u64> {
    match work {
        Work::Add(rows) => {
            let ids = rows.ids.to_ids();
            refuse_known(view, &ids)?;
            upsert(view, rows, log)
        }
        Work::Upsert(rows) => upsert(view, rows, log),
        Work::Update { ids, attributes } => update(view, &ids, attributes, log),
        Work::Delete(ids) => delete(view, &ids, log),
        Work::AddColumns(added) => add_columns(view, added, log),
    }
}

fn record(view: &mut View, op: &Op, log: &mut Vec<Vec<u8>>) -> Result<()> {
    let bytes = op.encode(view.schema.space())?;
    if bytes.len() > MAX_OP_BYTES {
        return Err(Error::invalid(format!(
            "one write of {} bytes; at most {MAX_OP_BYTES} fit in one, use several or import",
            bytes.len()
        )));
    }
    log.push(bytes);
    view.seq += 1;
    Ok(())
}

fn require_id_type(view: &View, given: IdType) -> Result<()> {
    match view.schema.id_type() {
        Some(expected) if expected != given => Err(Error::SchemaMismatch {
            what: "kind of id".into(),
            expected: expected.to_string(),
            given: given.to_string(),
        }),
        _ => Ok(()),
    }
}

fn refuse_known(view: &View, ids: &Ids<'_>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    require_id_type(view, ids.id_type())?;
    let places = view.locate_all(ids)?;
    let mut seen = std::collections::HashSet::new();
    let twice = ids.iter().filter(|id| !seen.insert(*id));
    let known = places.iter().enumerate().filter(|(_, place)| place.is_some());
    let known = known.map(|(index, _)| ids.at(index));
    let duplicates: BTreeSet<IdRef<'_>> = known.chain(twice).collect();
    if duplicates.is_empty() {
        return Ok(());
    }
    let duplicates = duplicates.into_iter().take(LISTED_IDS).map(IdRef::to_id).collect();
    Err(Error::DuplicateId { ids: duplicates })
}

fn upsert(view: &mut View, rows: Batch, log: &mut Vec<Vec<u8>>) -> Result<u64> {
    if rows.ids.len() == 0 {
        return Ok(0);
    }
    let ids = rows.ids.to_ids();
    require_id_type(view, ids.id_type())?;
    let replaced = view.locate_all(&ids)?;
    if view.schema.id_type().is_none() {
        let mut schema = (*view.schema).clone();
        schema.fix_id_type(ids.id_type());
        record(view, &Op::Schema(schema.clone()), log)?;
        view.schema = Arc::new(schema);
    }
    let op = Op::Upsert(rows);
    record(view, &op, log)?;
    let Op::Upsert(rows) = op else { unreachable!("made above") };
    kill(view, replaced.into_iter().flatten());
    let (chunk, shadowed) = Chunk::new(view.schema.space(), rows)?;
    let mut part = PartView::chunk(chunk);
    for row in shadowed {
        part.dead.insert(row);
    }
    let written = part.live() as u64;
    view.active.push(Arc::new(part));
    merge_tail(view)?;
    Ok(written)
}

/// Marks rows dead; how many were alive.
pub(crate) fn kill(view: &mut View, places: impl Iterator<Item = Place>) -> u64 {
    let mut places: Vec<Place> = places.collect();
    places.sort_unstable();
    let mut killed = 0;
    for run in places.chunk_by(|a, b| a.part == b.part) {
        let part = view.part_mut(run[0].part);
        for place in run {
            killed += u64::from(part.dead.insert(place.row));
        }
    }
    killed
}

/// Keeps the chunk sizes of the active memtable falling by at least half from old to new, so that
/// there are few of them and each row is copied a bounded number of times.
fn merge_tail(view: &mut View) -> Result<()> {
    loop {
        let [.., older, newer] = view.active.as_slice() else { return Ok(()) };
        let bytes = older.part.memory_bytes() + newer.part.memory_bytes();
        if older.part.len() > 2 * newer.part.len() || bytes > MERGE_BYTES {
            return Ok(());
        }
        let (Some(id_type), Some(a), Some(b)) =
            (view.schema.id_type(), source(older), source(newer))
        else {
            return Ok(());
        };
        let (space, schema) = (view.schema.space(), view.schema.arrow());
        let (chunk, _) = Chunk::merge(space, id_type, &[a, b], &schema)?;
        view.active.truncate(view.active.len() - 2);
        if chunk.len() > 0 {
            view.active.push(Arc::new(PartView::chunk(chunk)));
        }
    }
}

fn source(part: &PartView) -> Option<Source<'_>> {
    match &part.part {
        Part::Chunk(chunk) => Some((chunk, &part.dead, &part.patch)),
        Part::Segment(_) => None,
    }
}

fn update(
    view: &mut View,
    ids: &Ids<'static>,
    attributes: RecordBatch,
    log: &mut Vec<Vec<u8>>,
) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    require_id_type(view, ids.id_type())?;
    let places = view.locate_all(ids)?;
    // Of ids given twice the last wins, as in an upsert.
    let mut last = std::collections::BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(place) = place {
            last.insert(*place, index);
        }
    }
    if last.is_empty() {
        return Ok(0);
    }
    record(view, &Op::Update { ids: ids.clone(), attributes: attributes.clone() }, log)?;
    let seq = view.seq;
    let wanted = view.schema.arrow();
    let updated = last.len() as u64;
    let entries: Vec<(Place, usize)> = last.into_iter().collect();
    for run in entries.chunk_by(|a, b| a.0.part == b.0.part) {
        let rows: Vec<u32> = run.iter().map(|(place, _)| place.row).collect();
        let from: Vec<u32> =
            run.iter().map(|(_, index)| row_number(*index)).collect::<Result<_>>()?;
        let part = view.part_mut(run[0].0.part);
        let old = part.attributes(&rows, &wanted)?;
        let given = columns::take(&attributes, &from)?;
        let new: Vec<ArrayRef> = old
            .schema_ref()
            .fields()
            .iter()
            .zip(old.columns())
            .map(|(field, old)| given.column_by_name(field.name()).unwrap_or(old).clone())
            .collect();
        let new = columns::assemble(wanted.clone(), new, rows.len())?;
        part.patch = part.patch.with(&rows, &new, seq)?;
    }
    Ok(updated)
}

fn delete(view: &mut View, ids: &Ids<'static>, log: &mut Vec<Vec<u8>>) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    require_id_type(view, ids.id_type())?;
    let places = view.locate_all(ids)?;
    if places.iter().all(Option::is_none) {
        return Ok(0);
    }
    record(view, &Op::Delete(ids.clone()), log)?;
    Ok(kill(view, places.into_iter().flatten()))
}

fn add_columns(
    view: &mut View,
    added: Vec<crate::types::Column>,
    log: &mut Vec<Vec<u8>>,
) -> Result<u64> {
    let mut schema = (*view.schema).clone();
    let mut count = 0;
    for column in added {
        match schema.columns().iter().find(|known| known.name == column.name) {
            Some(known) if known.data_type == column.data_type => {}
            Some(known) => {
                return Err(Error::SchemaMismatch {
                    what: format!("type of column {:?}", column.name),
                    expected: known.data_type.to_string(),
                    given: column.data_type.to_string(),
                });
            }
            None => {
                schema.push_column(column);
                count += 1;
            }
        }
    }
    schema.validate()?;
    if count > 0 {
        record(view, &Op::Schema(schema.clone()), log)?;
        view.schema = Arc::new(schema);
    }
    Ok(count)
}

/// Replays one logged operation; what it says about rows that are gone meanwhile is passed over.
pub(crate) fn replay(view: &mut View, op: Op) -> Result<()> {
    let mut ignored = Vec::new();
    let seq = view.seq + 1;
    match op {
        Op::Upsert(rows) => drop(upsert(view, rows, &mut ignored)?),
        Op::Update { ids, attributes } => drop(update(view, &ids, attributes, &mut ignored)?),
        Op::Delete(ids) => drop(delete(view, &ids, &mut ignored)?),
        Op::Schema(schema) => {
            // A manifest may know later columns already: replay must not take them back.
            if schema.columns().len() >= view.schema.columns().len() {
                view.schema = Arc::new(schema);
            }
        }
    }
    view.seq = seq;
    Ok(())
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
    let log_next = writer.roll_log(core)?;
    writer.log_bytes = 0;
    let parts = std::mem::take(&mut view.active);
    view.frozen.push(Frozen { seq: view.seq, log_next, parts });
    Ok(())
}

/// The number of a row as stored.
pub(crate) fn row_number(row: usize) -> Result<Row> {
    Row::try_from(row).map_err(|error| Error::invalid(format!("{row} rows at once: {error}")))
}
