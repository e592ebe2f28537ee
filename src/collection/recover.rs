//! Opening a collection: manifest → segments → log replay → sweep; and following a live writer.
//!
//! A writer replays every whole frame. Of those that the log does not say to be on disk it cannot
//! know: they may stand in the cache of the system alone, which after a failed sync reports success
//! to the next one. Such frames become a segment before anything is written that builds upon them.
//! A reader applies frames only up to the sequence number that
//! the log itself says is on disk: it never shows a row that a power cut could take back.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Host, fresh_store_id};
use super::manifest::{self, FileMeta, Loaded, Manifest, SegmentEntry};
use super::op::{self, Op};
use super::options::Schema;
use super::retire::{Retired, Tenancy};
use super::segment_files::{self, FileName};
use super::snapshot::{PartView, View};
use super::write::{Pending, Writer, Written};
use super::{Core, OPEN, apply, tombstones};
use crate::error::{Error, Result};
use crate::segment::{Segment, layout};
use crate::storage::container::{Identity, Seal};
use crate::storage::disk::{DirEntry, Disk};
use crate::storage::salvage;
use crate::storage::wal::{Frame, WalIdentity, WalReader};
use crate::sync::atomic::{self, AtomicU8, AtomicU64};
use crate::sync::{Mutex, Slot};

/// How often a reader starts over when the writer removes files under it.
pub(crate) const ATTEMPTS: usize = 20;

/// Writes the first manifest of a new collection into the empty directory `dir`.
pub(crate) fn create(disk: &Arc<dyn Disk>, dir: &Path, schema: Schema) -> Result<()> {
    let manifest = Manifest {
        store: fresh_store_id(),
        generation: 1,
        required_features: schema.required_features(),
        schema,
        seq: 0,
        logged: 0,
        log_start: 1,
        next_file: 1,
        segments: Vec::new(),
        calibration: None,
    };
    manifest.commit(disk, dir).map_err(Error::from)
}

/// A reader's place in the logs of one manifest.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(super) generation: u64,
    pub(super) logs: Vec<(PathBuf, WalReader)>,
    /// Highest log number opened.
    newest_log: u64,
    /// Frames read but not known to be on disk, with the index of their log.
    waiting: VecDeque<(usize, Frame)>,
    durable: u64,
}

/// Opens the collection `name` of `host`.
pub(crate) fn open(name: &str, host: &Arc<Host>) -> Result<Core> {
    let dir = host.path.join(name);
    let tenancy = Arc::new(Tenancy::new(&host.disk));
    let disk: Arc<dyn Disk> = tenancy.clone();
    let mut attempt = 0;
    let State { view, writer, follower, next_file } = loop {
        match state(host, &disk, &dir, None) {
            Err(error) if host.read_only && attempt < ATTEMPTS && is_outrun(&error) => attempt += 1,
            other => break other?,
        }
    };
    let doubtful = !host.read_only && view.seq > writer.told;
    Ok(Core {
        dir,
        store: writer.manifest.store,
        host: host.clone(),
        disk,
        tenancy,
        slot: Slot::from_pointee(view),
        queue: super::write::Queue::default(),
        writer: Mutex::new(writer),
        flushing: Mutex::default(),
        compacting: Mutex::default(),
        importing: Mutex::default(),
        holding: Mutex::default(),
        signals: super::threads::Signals::default(),
        spare: super::spare::Spare::default(),
        meters: Arc::new(super::meters::Meters::new(name)),
        made_ids: super::made_ids::MadeIds::default(),
        next_file: AtomicU64::new(next_file),
        doubtful: atomic::AtomicBool::new(doubtful),
        cancel: Arc::new(AtomicBool::new(false)),
        follower: Mutex::new(Some(follower)),
        state: AtomicU8::new(OPEN),
        ending: std::sync::OnceLock::new(),
    })
}

/// Whether a reader may have listed the directory while the writer changed it: a file is gone that
/// a manifest names, a log is missing that was created before it, or every manifest listed was
/// removed while the list was made, which need not show those that took their place.
pub(crate) fn is_outrun(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        Error::Corrupt { section, .. } => section == LOG,
        Error::NotFound { .. } => true,
        _ => false,
    }
}

pub(super) fn list(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<DirEntry>> {
    disk.list(dir).map_err(|error| Error::unlisted(dir, error))
}

/// Whether `dir` has a file that only a collection has; not when it is gone.
pub(crate) fn has_files(disk: &Arc<dyn Disk>, dir: &Path) -> Result<bool> {
    let entries = match disk.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        listed => listed.map_err(|error| Error::io("list", dir, error))?,
    };
    Ok(entries.iter().any(|entry| !entry.is_dir && segment_files::parse(&entry.name).is_some()))
}

/// A collection as its files say.
pub(super) struct State {
    pub(super) view: View,
    pub(super) writer: Writer,
    pub(super) follower: Follower,
    next_file: u64,
}

pub(super) fn state(
    host: &Arc<Host>,
    disk: &Arc<dyn Disk>,
    dir: &Path,
    known: Option<&View>,
) -> Result<State> {
    let entries = list(disk, dir)?;
    let loaded = manifest::load(disk, dir, &entries)?;
    let mut view = open_segments(disk, dir, &loaded.manifest, known, !host.read_only)?;
    let mut follower = Follower::of(&loaded.manifest);
    follower.open_logs(disk, dir, loaded.manifest.store, &entries)?;
    follower.read(&mut view, !host.read_only)?;
    if view.seq < loaded.manifest.logged {
        return Err(too_short(dir, &loaded.manifest, view.seq, loaded.manifest.logged));
    }
    let (writer, next_file) = writer(host, dir, &loaded, &entries, &follower, &view)?;
    Ok(State { view, writer, follower, next_file })
}

/// That the logs of `manifest` end at operation `last`, though `known` was on disk.
pub(super) fn too_short(dir: &Path, manifest: &Manifest, last: u64, known: u64) -> Error {
    let path = manifest::path(dir, manifest.generation);
    let reason = format!(
        "the log ends at operation {last}, yet operation {known} had been written; a log was cut or removed"
    );
    Error::corrupt(&path, LOG, reason)
}

/// Whether nothing is damaged that `manifest` names and that only it can give, and the logs lead from it
/// to operation `logged`.
pub(super) fn is_whole(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    manifest: &Manifest,
    entries: &[DirEntry],
    logged: u64,
) -> bool {
    let replayed = || -> Result<u64> {
        // Before any of them is mapped.
        for (path, ..) in files_of(dir, manifest) {
            salvage::read_through(disk, &path).map_err(|error| Error::io("read", &path, error))?;
        }
        let mut view = open_segments(disk, dir, manifest, None, false)?;
        for (segment, _) in view.segments.iter().filter_map(|part| part.as_segment()) {
            segment.check_primary()?;
        }
        let mut follower = Follower::of(manifest);
        follower.open_logs(disk, dir, manifest.store, entries)?;
        follower.read(&mut view, true)?;
        Ok(view.seq)
    };
    replayed().is_ok_and(|seq| seq >= logged)
}

/// The files of the segments of `manifest`, and what they should be.
pub(super) fn files_of(dir: &Path, manifest: &Manifest) -> Vec<(PathBuf, Identity, Seal)> {
    let mut files = Vec::new();
    let store = manifest.store;
    for SegmentEntry { id, file, attributes, tombstones, .. } in &manifest.segments {
        let path = dir.join(layout::vector_file(*id));
        files.push((path, layout::vector_identity(store, *id), file.seal()));
        if let Some(file) = attributes {
            let path = dir.join(layout::attribute_file(*id, file.generation));
            files.push((
                path,
                layout::attribute_identity(store, *id, file.generation),
                file.seal(),
            ));
        }
        if let Some(file) = tombstones {
            let path = segment_files::tombstones_path(dir, *id, file.generation);
            files.push((path, tombstones::identity(store, *id, file.generation), file.seal()));
        }
    }
    files
}

fn open_segments(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    manifest: &Manifest,
    known: Option<&View>,
    writable: bool,
) -> Result<View> {
    let schema = Arc::new(manifest.schema.clone());
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let segment = open_segment(disk, dir, manifest, entry, known)?;
        if writable && segment.is_read_only() {
            return Err(Error::Incompatible {
                file: dir.into(),
                reason: "it has features that this version can only read; open it with read_only, \
                          or use a newer nearfield"
                    .into(),
            });
        }
        let mut part = PartView::segment(segment, entry.meta());
        part.dead = tombstones::read(disk, dir, manifest.store, entry)?;
        segments.push(Arc::new(part));
    }
    Ok(View {
        seq: manifest.seq,
        schema,
        segments,
        frozen: Vec::new(),
        active: Vec::new(),
        hints: Arc::default(),
        waits: false,
        calibration: manifest.calibration.clone(),
    })
}

/// Opens a segment, or takes it from the view that a reader has already.
fn open_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    manifest: &Manifest,
    entry: &SegmentEntry,
    known: Option<&View>,
) -> Result<Arc<Segment>> {
    let meta = entry.meta();
    let known = known.into_iter().flat_map(|view| &view.segments);
    let same = known.filter_map(|part| part.as_segment()).find(|(_, known)| **known == meta);
    if let Some((segment, _)) = same {
        return Ok(segment.clone());
    }
    let Some(id_type) = manifest.schema.id_type() else {
        let path = manifest::path(dir, manifest.generation);
        return Err(Error::corrupt(&path, "manifest", "segments without a kind of id"));
    };
    let space = manifest.schema.space();
    Segment::open(disk, dir, manifest.store, &meta, space, id_type).map(Arc::new)
}

fn writer(
    host: &Arc<Host>,
    dir: &Path,
    loaded: &Loaded,
    entries: &[DirEntry],
    follower: &Follower,
    view: &View,
) -> Result<(Writer, u64)> {
    let manifest = loaded.manifest.clone();
    let logs: Vec<PathBuf> = follower.logs.iter().map(|(path, _)| path.clone()).collect();
    let told = follower.durable;
    let used = entries.iter().filter_map(|entry| Some(segment_files::parse(&entry.name)?.number()));
    let next_file = used.max().map_or(1, |used| used + 1).max(manifest.next_file);
    let log_bytes = entries
        .iter()
        .filter(|entry| logs.iter().any(|path| path.ends_with(&entry.name)))
        .map(|entry| entry.len)
        .sum();
    let mut limbo = Vec::new();
    if !host.read_only && loaded.is_settled() {
        sweep(host, dir, loaded, entries);
        limbo = dropped_before(dir, loaded, entries);
    }
    let highest = entries.iter().filter_map(|entry| manifest::generation(&entry.name)).max();
    let mut manifest = manifest;
    // A damaged newest manifest keeps its name; the next one must sort after it.
    manifest.generation = manifest.generation.max(highest.unwrap_or(0));
    let writer = Writer {
        durable: told.min(view.seq),
        told,
        manifest,
        log: None,
        pending: Pending::default(),
        unsynced_logs: Vec::new(),
        log_bytes,
        poison: None,
        lost: false,
        limbo,
        compacting: None,
        written: Written::default(),
        passed_over: loaded.passed_over.clone(),
    };
    Ok((writer, next_file))
}

/// Removes files that neither the newest manifest nor the one before names.
fn sweep(host: &Arc<Host>, dir: &Path, loaded: &Loaded, entries: &[DirEntry]) {
    let kept: Vec<&Manifest> =
        std::iter::once(&loaded.manifest).chain(loaded.previous.as_ref()).collect();
    for entry in entries {
        let file = segment_files::parse(&entry.name);
        let orphan = file.is_some_and(|file| !is_named(file, &kept));
        if orphan && host.disk.remove_file(&dir.join(&entry.name)).is_err() {
            // It stays for the next opening.
            continue;
        }
    }
}

/// Files that the manifest before the newest names and this does not.
fn dropped_before(dir: &Path, loaded: &Loaded, entries: &[DirEntry]) -> Vec<Retired> {
    let before: Vec<&Manifest> = loaded.previous.iter().collect();
    let is_dropped = |name: &str| {
        let file = segment_files::parse(name);
        file.is_some_and(|file| is_named(file, &before) && !is_named(file, &[&loaded.manifest]))
    };
    let dropped = entries.iter().filter(|entry| is_dropped(&entry.name));
    dropped.map(|entry| Retired::File(dir.join(&entry.name))).collect()
}

/// Whether one of the manifests `kept` names a file, or may need a log.
pub(crate) fn is_named(file: FileName, kept: &[&Manifest]) -> bool {
    let segment = |id: u64| {
        let segments = kept.iter().flat_map(|manifest| &manifest.segments);
        segments.filter(move |segment| segment.id == id)
    };
    let is = |file: &Option<FileMeta>, generation: u64| {
        file.as_ref().is_some_and(|file| file.generation == generation)
    };
    match file {
        FileName::Manifest(number) => kept.iter().any(|manifest| manifest.generation == number),
        FileName::Log(number) => kept.iter().any(|manifest| number >= manifest.log_start),
        FileName::Segment(id) => segment(id).next().is_some(),
        FileName::Attributes(id, number) => segment(id).any(|found| is(&found.attributes, number)),
        FileName::Tombstones(id, number) => segment(id).any(|found| is(&found.tombstones, number)),
        FileName::Temporary => false,
    }
}

impl Follower {
    /// At the beginning of the logs of `manifest`.
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            generation: manifest.generation,
            logs: Vec::new(),
            newest_log: manifest.log_start.saturating_sub(1),
            waiting: VecDeque::new(),
            durable: manifest.seq.max(manifest.logged),
        }
    }

    /// Opens the logs that have appeared since the last call.
    pub(super) fn open_logs(
        &mut self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        entries: &[DirEntry],
    ) -> Result<()> {
        let mut numbers: Vec<u64> = entries
            .iter()
            .filter_map(|entry| match segment_files::parse(&entry.name) {
                Some(FileName::Log(number)) if number > self.newest_log => Some(number),
                _ => None,
            })
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            let path = dir.join(segment_files::log_name(number));
            let identity = WalIdentity { store, number };
            let reader = WalReader::open(disk, &path, identity)?;
            self.logs.push((path, reader));
            self.newest_log = number;
        }
        Ok(())
    }

    /// Applies what the logs hold: every whole frame with `all`, else only what is on disk.
    /// Returns whether the view changed.
    pub(super) fn read(&mut self, view: &mut View, all: bool) -> Result<bool> {
        let before = view.seq;
        for (index, (_, reader)) in self.logs.iter_mut().enumerate() {
            while let Some(frame) = reader.next()? {
                self.durable = self.durable.max(frame.durable);
                if !frame.payload.is_empty() {
                    self.waiting.push_back((index, frame));
                }
            }
        }
        while let Some((index, frame)) = self.waiting.front() {
            if !self.is_given_up(*index, frame.seq) {
                if !all && frame.seq > self.durable || self.is_cut_off() {
                    break;
                }
                apply_frame(view, &self.logs[*index].0, frame)?;
            }
            self.waiting.pop_front();
        }
        Ok(view.seq != before)
    }

    /// Whether the first of the waiting operations is joined to one that is not there: the write that they
    /// are of was torn, and counts as not logged.
    fn is_cut_off(&self) -> bool {
        let rest = self.waiting.iter().skip(1);
        let mut pairs = self.waiting.iter().zip(rest);
        let broken = pairs.find_map(|((log, frame), (next_log, next))| match frame {
            frame if !op::is_joined(&frame.payload) => Some(false),
            frame if log != next_log || next.seq != frame.seq + 1 => Some(true),
            _ => None,
        });
        let last = || self.waiting.back().is_some_and(|(_, frame)| op::is_joined(&frame.payload));
        broken.unwrap_or_else(last)
    }

    /// Whether a later file numbers an operation again: then the write of this one failed.
    fn is_given_up(&self, log: usize, seq: u64) -> bool {
        let mut later = self.logs[log + 1..].iter().filter_map(|(_, reader)| reader.first_seq());
        later.any(|first| first <= seq)
    }
}

/// What a log is called in errors.
const LOG: &str = "log";

fn apply_frame(view: &mut View, path: &Path, frame: &Frame) -> Result<()> {
    if frame.seq <= view.seq {
        // Contained in the segments already.
        return Ok(());
    }
    if frame.seq != view.seq + 1 {
        return Err(Error::corrupt(
            path,
            LOG,
            format!(
                "operation {} follows operation {}: a log file is missing",
                frame.seq, view.seq
            ),
        ));
    }
    let op = Op::decode(&frame.payload, view.schema.space())
        .map_err(|reason| Error::corrupt(path, format!("log operation {}", frame.seq), reason))?;
    apply::replay(view, op)
}
