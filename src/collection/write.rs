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

use arrow_array::{ArrayRef, RecordBatch};

use super::manifest::Manifest;
use super::op::Op;
use super::options::Durability;
use super::snapshot::{Frozen, PartView, Place, View};
use super::{Core, segment_files};
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::memtable::{Batch, Chunk, Source};
use crate::segment::part::Part;
use crate::storage::wal::{WalIdentity, WalWriter};
use crate::types::{Id, IdType, Ids, Row};

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
    require_id_type(view, ids.id_type())?;
    let places = view.locate_all(ids)?;
    let mut seen = std::collections::HashSet::new();
    let twice = ids.iter().filter(|id| !seen.insert(*id)).map(|id| id.to_id());
    let known = places.iter().enumerate().filter(|(_, place)| place.is_some());
    let known = known.map(|(index, _)| ids.at(index).to_id());
    let mut duplicates: Vec<Id> = known.chain(twice).take(LISTED_IDS).collect();
    if duplicates.is_empty() {
        return Ok(());
    }
    duplicates.sort();
    duplicates.dedup();
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
    let log_next = writer.roll_log(core, view.seq)?;
    writer.log_bytes = 0;
    let parts = std::mem::take(&mut view.active);
    view.frozen.push(Frozen { seq: view.seq, log_next, parts });
    Ok(())
}

/// The number of a row as stored.
pub(crate) fn row_number(row: usize) -> Result<Row> {
    Row::try_from(row).map_err(|error| Error::invalid(format!("{row} rows at once: {error}")))
}
