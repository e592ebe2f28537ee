//! A collection: rows of id, vector and attributes, durable, searchable, changed in batches.
//!
//! The only room with locks, threads and policy. What is read is a [`View`] in an atomic slot;
//! what is written goes through [`write`]; memtables become segments in [`flush`], segments are
//! merged in [`compact`], and every durable change of state is one manifest [`switch`](switch).
//!
//! > Locks, in the order they may be taken: `compacting`, `flushing`, `writer`, `queue`, then those of
//! > signals, hints, spare memory, `importing` and `holding`. A search takes none.

mod apply;
mod asked;
mod attributes;
pub(crate) mod backup;
mod batch;
mod build;
pub(crate) mod calibrate;
mod compact;
mod diversity;
pub(crate) mod embed;
pub(crate) mod explain;
mod flush;
mod follow;
#[cfg(feature = "testing")]
pub(crate) mod forge;
mod forget;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod group;
mod hints;
pub(crate) mod host;
mod hybrid;
pub(crate) mod import;
mod made_ids;
pub(crate) mod manifest;
mod matching;
pub(crate) mod measure;
pub(crate) mod meters;
mod op;
pub(crate) mod options;
mod prepare;
pub(crate) mod query;
pub(crate) mod ranking;
pub(crate) mod reading;
mod recall;
pub(crate) mod recover;
mod renew;
mod retire;
mod row_sets;
pub(crate) mod salvage;
mod salvage_log;
mod scan;
pub(crate) mod segment_files;
mod serving;
mod shape;
mod snapshot;
mod spare;
mod sparse;
mod stats;
mod switch;
mod texts;
mod threads;
mod tombstones;
mod verify;
mod window;
#[cfg(feature = "text")]
pub(crate) mod words;
mod work;
mod write;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError};

use arrow_array::RecordBatch;

use self::host::Host;
use self::options::Schema;
use self::prepare::{check_ids, check_lengths, check_rows, normalize_given, prepare_rows};
use self::reading::{Fields, Records};
use self::snapshot::View;
use self::work::Work;
use self::write::{Queue, Writer};
use crate::bytes::AlignedBytes;
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::memtable::Batch;
use crate::span::span;
use crate::storage::disk::Disk;
use crate::sync::atomic::{self, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, Slot};
use crate::text::options::TextOptions;
use crate::types::naming::wrong_kind_of_id;
use crate::types::{Column, Id, Ids, Vectors};

pub use self::attributes::Attributes;
pub use self::compact::CompactReport;
pub use self::meters::SearchStats;
pub use self::scan::Scan;
pub use self::serving::HeldBytes;
pub use self::stats::{SegmentStats, Stats, VerifyReport};

const OPEN: u8 = 0;
const SHUT: u8 = 1;

/// The shared state of an open collection.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) dir: PathBuf,
    /// Identity of the collection, in each of its files.
    pub(crate) store: u128,
    pub(crate) host: Arc<Host>,
    /// The host's disk, for as long as the collection is open.
    pub(crate) disk: Arc<dyn Disk>,
    tenancy: Arc<retire::Tenancy>,
    pub(crate) slot: Slot<View>,
    queue: Queue,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) flushing: Mutex<()>,
    pub(crate) compacting: Mutex<()>,
    importing: Mutex<std::collections::BTreeSet<u64>>,
    /// While segments are read into memory.
    holding: Mutex<()>,
    pub(crate) signals: threads::Signals,
    spare: spare::Spare,
    pub(crate) meters: Arc<meters::Meters>,
    made_ids: made_ids::MadeIds,
    /// Next number for a file.
    pub(crate) next_file: AtomicU64,
    /// Whether the log held operations, when it was opened, that nobody knew to be on disk.
    pub(crate) doubtful: atomic::AtomicBool,
    /// Asks background work to give up.
    pub(crate) cancel: Arc<AtomicBool>,
    /// A reader's place in the log.
    pub(crate) follower: Mutex<Option<recover::Follower>>,
    state: AtomicU8,
    /// Why it is shut, when it was dropped or renamed.
    pub(crate) ending: OnceLock<String>,
}

impl Core {
    pub(crate) fn name(&self) -> &str {
        &self.meters.name
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.host.check()?;
        if self.state.load(Ordering::Acquire) != OPEN {
            return Err(self.closed());
        }
        Ok(())
    }

    /// What every handle answers from the end on.
    pub(crate) fn closed(&self) -> Error {
        let name = self.name();
        match self.ending.get() {
            Some(ending) => Error::Closed(format!("collection {name:?} {ending}")),
            None => Error::closed(format_args!("collection {name:?}")),
        }
    }

    pub(crate) fn publish(&self, view: View) {
        self.slot.store(Arc::new(view));
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            self.writer.clear_poison();
            let mut writer = poisoned.into_inner();
            // Nobody knows how far it came with what it was about.
            writer.poison(&Error::invalid("a panic while writing"));
            writer
        })
    }

    /// A file number that was never used.
    pub(crate) fn file_number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.state.load(Ordering::Acquire) != OPEN
    }

    /// Memory for the vectors of a batch.
    fn memory(&self, len: usize) -> AlignedBytes {
        let (bytes, refill) = self.spare.take(len);
        if refill {
            self.signals.nudge();
        }
        bytes
    }

    /// Tells background work that rows were written.
    fn signal(&self) {
        self.signals.wrote(!self.slot.load().frozen.is_empty());
    }
}

/// A handle to an open collection. Cheap to clone; all clones are one collection; all methods take
/// `&self` and may be called from any thread.
#[derive(Clone, Debug)]
pub struct Collection {
    keeper: Arc<threads::Keeper>,
    /// Makes vectors of texts, for this handle and its clones.
    embedder: Option<embed::Embedder>,
}

impl Collection {
    pub(crate) fn open(name: &str, host: &Arc<Host>) -> Result<Self> {
        span!(INFO, "open_collection", collection = name);
        let core = Arc::new(recover::open(name, host)?);
        serving::check(&core)?;
        serving::hold(&core)?;
        Ok(Self { keeper: Arc::new(threads::Keeper::start(core)?), embedder: None })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.keeper.core()
    }

    /// Ends the collection: background work stops, and with `keep` what is in memory is made
    /// durable. Every handle answers `Closed` afterwards.
    pub(crate) fn shut(&self, keep: bool) -> Result<()> {
        let core = self.core();
        if core.is_shut() {
            return Ok(());
        }
        if !core.host.is_own_process() {
            // Threads, locks and files are the parent's, who goes on with them.
            core.state.store(SHUT, Ordering::Release);
            return Ok(());
        }
        let stopped = self.keeper.stop(keep);
        // Merges that other threads have asked for end soon, since they are told to; they must not
        // leave files where the collection is open again.
        let _compacting = core.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits for the writer finds the collection shut; what came in since it was
        // stopped is made durable like the rest.
        let mut writer = core.writer();
        let kept = if keep && !core.host.read_only && stopped.is_ok() {
            let seq = core.slot.load().seq;
            if writer.durable < seq {
                let synced = writer.sync_log(core, seq);
                synced.and_then(|()| flush::seal(core, &mut writer, seq))
            } else {
                Ok(())
            }
        } else {
            Ok(())
        };
        core.state.store(SHUT, Ordering::Release);
        core.tenancy.end();
        stopped.and(kept)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.core().is_shut()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core().name()
    }

    /// What it holds, with the columns added so far.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn schema(&self) -> Result<Schema> {
        Ok((*self.snapshot()?.view.schema).clone())
    }

    /// The state of the collection now, to be read as often as wanted while writers go on.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let core = self.core();
        core.check()?;
        let (host, meters) = (core.host.clone(), core.meters.clone());
        Ok(Snapshot { host, view: core.slot.load_full(), meters })
    }

    /// Adds rows whose ids are new. `vectors` is row-major, one vector per id; `attributes` a
    /// `RecordBatch` with one row per id, or `()`. Returns how many rows were added.
    ///
    /// The batch is atomic: after an error, and after a crash, none of it or all of it is there.
    ///
    /// # Errors
    /// `DuplicateId` when an id exists or is given twice; `DimensionMismatch`, `InvalidVector`;
    /// `NotFound` for an unknown column, `SchemaMismatch` for a column or id of the wrong type;
    /// `Full`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`. Nothing is stored then.
    pub fn add<'a>(
        &self,
        ids: impl Into<Ids<'a>>,
        vectors: impl Into<Vectors<'a>>,
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<u64> {
        let attributes = attributes.into();
        let rows = self.prepare(&ids.into(), &vectors.into(), attributes)?;
        write::submit(self.core(), attributes.with_columns(Work::Add(rows)))
    }

    /// Adds rows, replacing those whose ids exist (columns that the batch lacks become null). Of
    /// an id given twice the last row wins. Returns how many rows were written.
    ///
    /// # Errors
    /// As [`add`](Self::add), but for `DuplicateId`.
    pub fn upsert<'a>(
        &self,
        ids: impl Into<Ids<'a>>,
        vectors: impl Into<Vectors<'a>>,
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<u64> {
        let attributes = attributes.into();
        let rows = self.prepare(&ids.into(), &vectors.into(), attributes)?;
        write::submit(self.core(), attributes.with_columns(Work::Upsert(rows)))
    }

    /// Refuses ids that [`add`](Self::add) would refuse. For bindings, which ask before much is written.
    #[doc(hidden)]
    pub fn check_new(&self, ids: &Ids<'_>) -> Result<()> {
        check_ids(ids, |row| row as u64)?;
        apply::refuse_known(&self.snapshot()?.view, ids)
    }

    /// Sets the columns of `attributes` in the rows of `ids`; other columns and the vectors stay.
    /// Ids that do not exist are passed over. Returns how many rows were updated.
    ///
    /// # Errors
    /// As [`add`](Self::add), but for `DuplicateId` and the vectors.
    pub fn update<'a>(
        &self,
        ids: impl Into<Ids<'a>>,
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<u64> {
        let core = self.writable()?;
        let (ids, attributes) = (ids.into(), attributes.into());
        check_lengths(&ids, |row| row as u64)?;
        let values = self.given(ids.len(), attributes)?;
        let work = Work::Update { ids: owned(&ids), attributes: values };
        write::submit(core, attributes.with_columns(work))
    }

    /// Removes the rows of `ids`. Returns how many there were.
    ///
    /// # Errors
    /// `SchemaMismatch` for ids of the wrong kind; `Full`, `Poisoned`, `ReadOnly`, `Closed`,
    /// `Forked`.
    pub fn delete<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<u64> {
        let core = self.writable()?;
        let ids = ids.into();
        check_lengths(&ids, |row| row as u64)?;
        write::submit(core, Work::Delete(owned(&ids)))
    }

    /// Adds columns, null in every row there is; a column that exists with the same type is
    /// passed over. Returns how many were added. No vector is rewritten.
    ///
    /// # Errors
    /// `SchemaMismatch` when a column exists with another type; `InvalidArgument` for a bad name.
    pub fn add_columns(&self, columns: &[Column]) -> Result<u64> {
        write::submit(self.writable()?, Work::AddColumns(columns.to_vec()))
    }

    /// Has the texts of a UTF-8 column indexed for search by words, or indexed anew with other options.
    /// Returns whether that is a change. The index of rows that are there is made when a search first
    /// wants it, and written when their segment is: by [`compact`](Self::compact), or in the background
    /// when nobody writes.
    ///
    /// # Errors
    /// `NotFound` for an unknown column; `InvalidArgument` for one that is not UTF-8, and for options
    /// out of range; `Full`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`.
    pub fn add_text_index(&self, column: &str, options: TextOptions) -> Result<bool> {
        let work = Work::IndexText { column: column.into(), options };
        Ok(write::submit(self.writable()?, work)? > 0)
    }

    /// Rows that exist among `ids`, in the order asked for; ids that do not exist are left out.
    ///
    /// # Errors
    /// `NotFound` for an unknown column; `SchemaMismatch` for ids of the wrong kind; `Corrupt`.
    pub fn get<'a>(&self, ids: impl Into<Ids<'a>>, fields: &Fields) -> Result<Records> {
        self.snapshot()?.get(ids, fields)
    }

    /// Whether a row of this id exists.
    ///
    /// # Errors
    /// `SchemaMismatch` for an id of the wrong kind; `Corrupt`, `Closed`, `Forked`.
    pub fn contains(&self, id: impl Into<Id>) -> Result<bool> {
        self.snapshot()?.contains(id)
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn len(&self) -> Result<usize> {
        Ok(self.snapshot()?.len())
    }

    /// Whether there is no row.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes everything written so far durable, whatever the durability setting, and visible to
    /// readers in other processes.
    ///
    /// # Errors
    /// `Full`, `Io`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`.
    pub fn flush(&self) -> Result<()> {
        flush::flush(self.writable()?)
    }

    /// Merges all segments into as few as the memory budget allows, drops dead rows, builds
    /// graphs, writes indexes of texts that are missing and gives the space back. Runs in the calling thread; reads and writes go on.
    ///
    /// # Errors
    /// `Full`, `Io`, `Corrupt`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`; the collection stays
    /// as it was.
    pub fn compact(&self) -> Result<CompactReport> {
        let core = self.writable()?;
        compact::compact(core, &core.cancel)
    }

    /// [`compact`](Self::compact) that ends soon after `cancel` is set; segments that were merged by then
    /// stay merged.
    ///
    /// # Errors
    /// As [`compact`](Self::compact); `Cancelled`.
    pub fn compact_until(&self, cancel: &AtomicBool) -> Result<CompactReport> {
        compact::compact(self.writable()?, cancel)
    }

    /// In a reader: moves to the newest state that the writer has made durable. Returns whether
    /// anything changed; false always in a writer, which is never behind.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed` when the collection was dropped, `Forked`.
    pub fn refresh(&self) -> Result<bool> {
        let core = self.core();
        core.check()?;
        if !core.host.read_only {
            return Ok(false);
        }
        follow::refresh(core)
    }

    /// Writes what is in memory and closes the collection for all its handles.
    ///
    /// # Errors
    /// The failure of that last write.
    pub fn close(&self) -> Result<()> {
        self.shut(true)
    }

    pub(crate) fn writable(&self) -> Result<&Arc<Core>> {
        let core = self.core();
        core.check()?;
        core.host.check_writable()?;
        Ok(core)
    }

    fn prepare(
        &self,
        ids: &Ids<'_>,
        vectors: &Vectors<'_>,
        attributes: Attributes<'_>,
    ) -> Result<Batch> {
        let core = self.writable()?;
        let schema = attributes.schema(&core.slot.load().schema)?;
        let allocate = |len| core.memory(len);
        prepare_rows(&schema, ids, vectors, attributes.batch, allocate, &|row| row as u64)
    }

    /// The attributes of `rows` rows, each column in the type of the schema.
    fn given(&self, rows: usize, attributes: Attributes<'_>) -> Result<RecordBatch> {
        let schema = attributes.schema(&self.core().slot.load().schema)?;
        match attributes.batch {
            Some(batch) => {
                check_rows(rows, batch)?;
                normalize_given(&schema, batch, &|row| row as u64)
            }
            None => columns::no_columns(rows),
        }
    }
}

fn owned(ids: &Ids<'_>) -> Ids<'static> {
    use std::borrow::Cow;
    match ids {
        Ids::U64(ids) => Ids::U64(Cow::Owned(ids.to_vec())),
        Ids::Utf8(ids) => Ids::Utf8(ids.iter().map(|id| Cow::Owned(id.to_string())).collect()),
    }
}

/// A collection at one moment. Cheap to clone, never changes, takes no lock; it keeps the files it
/// reads alive.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) host: Arc<Host>,
    pub(crate) view: Arc<View>,
    meters: Arc<meters::Meters>,
}

impl Snapshot {
    /// Number of the last operation it contains.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.view.seq
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a search, as [`Collection::search`].
    pub fn search<'a>(&self, query: impl Into<Vectors<'a>>) -> query::Query<'a> {
        let snapshot = self.host.check().map(|()| self.clone());
        query::Query::new(snapshot, query.into())
    }

    /// As [`Collection::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get<'a>(&self, ids: impl Into<Ids<'a>>, fields: &Fields) -> Result<Records> {
        self.host.check()?;
        let ids = ids.into();
        self.check_kind(ids.id_type(), ids.is_empty())?;
        let wanted = self.view.schema.select(fields.column_names())?;
        let found = self.view.locate_all(&ids)?;
        let (ids, places): (Vec<Id>, Vec<_>) = found
            .into_iter()
            .enumerate()
            .filter_map(|(index, place)| Some((ids.at(index).to_id(), place?)))
            .unzip();
        let vectors = fields.wants_vectors().then(|| self.view.vectors(&places)).transpose()?;
        let attributes = self.view.attributes(&places, &wanted)?;
        Ok(Records { ids, vectors, attributes })
    }

    /// As [`Collection::contains`].
    ///
    /// # Errors
    /// As there.
    pub fn contains(&self, id: impl Into<Id>) -> Result<bool> {
        self.host.check()?;
        let id = id.into();
        self.check_kind(id_type(&id), false)?;
        Ok(self.view.locate(id.as_ref())?.is_some())
    }

    /// Refuses ids of a kind that no row can have.
    pub(crate) fn check_kind(&self, given: crate::types::IdType, empty: bool) -> Result<()> {
        match self.view.schema.id_type() {
            Some(expected) if expected != given && !empty => Err(wrong_kind_of_id(expected, given)),
            _ => Ok(()),
        }
    }
}

pub(crate) fn id_type(id: &Id) -> crate::types::IdType {
    match id {
        Id::U64(_) => crate::types::IdType::U64,
        Id::Utf8(_) => crate::types::IdType::Utf8,
    }
}
