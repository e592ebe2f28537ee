//! Reading what is left of a damaged collection into a new one.
//!
//! A row is whole when the bytes of its vector, its id and its columns match their checksums. Rows come
//! from the segments of the newest manifest that reads; the log is replayed over them, and what is damaged
//! in it is passed over. Where the newest manifest leads to damage and the one before does not, that one is
//! followed: it loses nothing. The damaged collection is only read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::import::{Import, ImportOptions};
use super::manifest::{self, Manifest, SegmentEntry};
use super::op::Op;
use super::options::Schema;
use super::segment_files::{self, FileName};
use super::work::Work;
use super::write;
use super::{Collection, Core, apply, flush, recover, salvage_log, tombstones};
use crate::bytes::AlignedBytes;
use crate::codec::full::inverse_norm;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::Segment;
use crate::segment::ids::IdColumn;
use crate::segment::memtable::Batch;
use crate::segment::part::live_rows;
use crate::storage::container::Watch;
use crate::storage::disk::{DirEntry, Disk};
use crate::types::{Id, IdRef, Metric, Row};

/// Rows read at once where nothing is damaged.
const ROWS: usize = 4_096;

/// What was saved of a collection, and what was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairedCollection {
    /// Its name.
    pub name: String,
    /// Rows that were saved.
    pub rows: u64,
    /// What was lost, by file and section; nothing when no row is.
    pub losses: Vec<Loss>,
}

/// What damage to one section of one file has cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Its section, or part.
    pub section: String,
    /// What was found there first.
    pub reason: String,
    /// Rows that were not saved for it.
    pub rows: u64,
    /// The ids of those, as far as they can be read, ascending.
    pub ids: Vec<Id>,
    /// Operations of the log that were not, at least. The rows that they wrote are missing or as they were before,
    /// those that they deleted may be there.
    pub operations: u64,
}

/// A path as text, whatever it is made of.
fn lossy<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// Losses so far.
#[derive(Debug, Default)]
pub(super) struct Losses {
    all: Vec<Loss>,
    /// Ids of lost rows, and which loss they are of.
    ids: BTreeMap<Id, usize>,
}

impl Losses {
    /// The loss that `error` tells of, whose file is `path` unless it names one.
    pub(super) fn of(&mut self, path: &Path, error: &Error) -> &mut Loss {
        let index = self.index(path, error);
        &mut self.all[index]
    }

    fn index(&mut self, path: &Path, error: &Error) -> usize {
        let (file, section, reason) = match error {
            Error::Corrupt { file, section, reason } => {
                (file.as_path(), &**section, reason.clone())
            }
            Error::Io { path, source, .. } => (path.as_path(), "file", source.to_string()),
            error => (path, "file", error.to_string()),
        };
        let same = |loss: &Loss| loss.file == file && loss.section == section;
        self.all.iter().position(same).unwrap_or_else(|| {
            let (file, section) = (file.into(), section.into());
            self.all.push(Loss { file, section, reason, rows: 0, ids: Vec::new(), operations: 0 });
            self.all.len() - 1
        })
    }

    fn row(&mut self, path: &Path, error: &Error, id: Option<Id>) {
        let index = self.index(path, error);
        match id {
            Some(id) => drop(self.ids.insert(id, index)),
            None => self.all[index].rows += 1,
        }
    }

    /// These ids were written or deleted later: rows of theirs that were lost before do not count.
    fn forget<'a>(&mut self, ids: impl Iterator<Item = IdRef<'a>>) {
        if !self.ids.is_empty() {
            for id in ids {
                self.ids.remove(&id.to_id());
            }
        }
    }

    fn into_all(mut self) -> Vec<Loss> {
        for (id, index) in self.ids {
            self.all[index].rows += 1;
            self.all[index].ids.push(id);
        }
        self.all.retain(|loss| loss.rows > 0 || loss.operations > 0);
        self.all
    }
}

/// Saves the collection in `dir` into the one that `create` makes with its schema. With `keep_doubtful`
/// also rows of which it is not known whether they had been deleted.
pub(crate) fn salvage(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    keep_doubtful: bool,
    watch: &mut Watch<'_>,
    create: impl FnOnce(Schema) -> Result<Collection>,
) -> Result<(u64, Vec<Loss>)> {
    let entries = recover::list(disk, dir)?;
    let manifest = manifest(disk, dir, &entries)?;
    let mut losses = Losses::default();
    let mut schema = manifest.schema.clone();
    let before =
        salvage_log::replay(disk, dir, &manifest, &entries, &mut Losses::default(), &mut |op| {
            if let Op::Schema(logged) = op {
                schema = apply::followed_by(&schema, logged).unwrap_or_else(|| schema.clone());
            }
            Ok(())
        })?;
    let target = create(schema)?;
    let core = target.core();
    let mut saving = Saving { disk, dir, core, manifest: &manifest, losses: &mut losses };
    let unsure = saving.segments(watch)?;
    saving.doubtful(unsure, keep_doubtful)?;
    let mut lost = Losses::default();
    let after = salvage_log::replay(disk, dir, &manifest, &entries, &mut lost, &mut |op| {
        match &op {
            Op::Upsert(rows) => losses.forget((0..rows.ids.len()).map(|row| rows.ids.at(row))),
            Op::Delete(ids) => losses.forget(ids.iter()),
            Op::Update { .. } | Op::Schema(_) => {}
        }
        let work = match op {
            Op::Upsert(rows) => Work::Upsert(rows),
            Op::Update { ids, attributes } => Work::Update { ids, attributes },
            Op::Delete(ids) => Work::Delete(ids),
            Op::Schema(_) => return Ok(()),
        };
        write::submit(core, work).map(drop)
    })?;
    flush::flush_all(core)?;
    if before != after || written(&recover::list(disk, dir)?) != written(&entries) {
        let what = format!("{} is written to; close it first, and repair it then", dir.display());
        return Err(Error::invalid(what));
    }
    let mut losses = losses.into_all();
    losses.extend(lost.into_all());
    Ok((target.snapshot()?.len() as u64, losses))
}

/// The manifests and logs that there are: a writer makes others.
fn written(entries: &[DirEntry]) -> Vec<FileName> {
    let names = entries.iter().filter_map(|entry| segment_files::parse(&entry.name));
    names.filter(|name| matches!(name, FileName::Manifest(_) | FileName::Log(_))).collect()
}

/// Bytes of the files of rows in `dir`: what [`salvage`] tells its watch of.
pub(crate) fn source_bytes(disk: &Arc<dyn Disk>, dir: &Path) -> u64 {
    let entries = disk.list(dir).unwrap_or_default();
    let of_rows =
        |entry: &&DirEntry| matches!(segment_files::parse(&entry.name), Some(FileName::Segment(_)));
    entries.iter().filter(of_rows).map(|entry| entry.len).sum()
}

/// The manifest to follow.
fn manifest(disk: &Arc<dyn Disk>, dir: &Path, entries: &[DirEntry]) -> Result<Manifest> {
    let loaded = manifest::salvage(disk, dir, entries)?;
    let logged = loaded.manifest.logged;
    let whole = |manifest: &Manifest| recover::is_whole(disk, dir, manifest, entries, logged);
    match loaded.previous {
        Some(previous) if !whole(&loaded.manifest) && whole(&previous) => Ok(previous),
        _ => Ok(loaded.manifest),
    }
}

/// A segment of which it is not known which rows are deleted, and why.
struct Unsure<'a> {
    entry: &'a SegmentEntry,
    segment: Segment,
    attributes: Result<()>,
    damage: Error,
    /// Of an id given twice the last row: the others are dead.
    candidates: BTreeMap<Id, Row>,
    /// Rows whose ids cannot be read.
    unread: Vec<Row>,
}

impl<'a> Unsure<'a> {
    fn new(
        entry: &'a SegmentEntry,
        segment: Segment,
        attributes: Result<()>,
        damage: Error,
    ) -> Self {
        let (mut candidates, mut unread) = (BTreeMap::new(), Vec::new());
        for row in live_rows(segment.len(), &RowSet::default()) {
            match segment.id_ref(row) {
                Ok(id) => drop(candidates.insert(id.to_id(), row)),
                Err(_damaged) => unread.push(row),
            }
        }
        Self { entry, segment, attributes, damage, candidates, unread }
    }

    /// Whether there are no more rows left than are alive.
    fn is_certain(&self) -> bool {
        let dead = self.entry.tombstones.as_ref().map_or(0, |dead| dead.count);
        let left = (self.candidates.len() + self.unread.len()) as u64;
        left == u64::from(self.entry.rows).saturating_sub(dead)
    }
}

/// The saving of rows out of segments.
struct Saving<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    core: &'a Core,
    manifest: &'a Manifest,
    losses: &'a mut Losses,
}

impl<'a> Saving<'a> {
    /// Saves the live rows of all segments but those returned.
    fn segments(&mut self, watch: &mut Watch<'_>) -> Result<Vec<Unsure<'a>>> {
        let (disk, dir, manifest) = (self.disk, self.dir, self.manifest);
        let schema = self.core.slot.load().schema.clone();
        let mut unsure = Vec::new();
        for entry in &manifest.segments {
            let dead = tombstones::salvage(disk, dir, manifest.store, entry);
            let (space, meta) = (manifest.schema.space(), entry.meta());
            let id_type = manifest.schema.id_type().ok_or_else(|| {
                let path = manifest::path(dir, manifest.generation);
                Error::corrupt(&path, "manifest", "segments without a kind of id")
            })?;
            match (Segment::salvage(disk, dir, manifest.store, &meta, space, id_type), dead) {
                (Err(error), _) => {
                    let dead = entry.tombstones.as_ref().map_or(0, |dead| dead.count);
                    let rows = u64::from(entry.rows).saturating_sub(dead);
                    self.losses.of(dir, &error).rows += rows;
                }
                (Ok((segment, attributes)), Err(damage)) => {
                    unsure.push(Unsure::new(entry, segment, attributes, damage));
                }
                (Ok((segment, attributes)), Ok(dead)) => {
                    let import = Import::new(self.core, schema.clone(), ImportOptions::new());
                    let (dir, losses) = (self.dir, &mut *self.losses);
                    let mut taking = Taking { segment, attributes, import, dir, losses };
                    let rows: Vec<Row> = live_rows(taking.segment.len(), &dead).collect();
                    for rows in rows.chunks(ROWS) {
                        taking.take(rows)?;
                        watch(0)?;
                    }
                    drop(taking.import.commit()?);
                }
            }
            watch(entry.file.len)?;
        }
        Ok(unsure)
    }

    /// Saves rows of segments whose tombstones are damaged: those that are surely alive, or with `keep`
    /// all that are not surely dead.
    fn doubtful(&mut self, unsure: Vec<Unsure<'a>>, keep: bool) -> Result<()> {
        let mut unsure = self.certain(unsure)?;
        // Each may be dead, so that none of them says anything about another. Of an id with several rows
        // nobody knows which one counts.
        let mut rows_of: BTreeMap<Id, u32> = BTreeMap::new();
        for one in &unsure {
            for id in one.candidates.keys() {
                *rows_of.entry(id.clone()).or_default() += 1;
            }
        }
        for one in &mut unsure {
            let candidates = std::mem::take(&mut one.candidates);
            let (kept, lost): (Vec<_>, Vec<_>) =
                candidates.into_iter().partition(|(id, _)| keep && rows_of.get(id) == Some(&1));
            for (id, _) in lost {
                self.losses.row(self.dir, &one.damage, Some(id));
            }
            one.candidates = kept.into_iter().collect();
            if !keep {
                for _ in one.unread.drain(..) {
                    self.losses.row(self.dir, &one.damage, None);
                }
            }
        }
        unsure.into_iter().try_for_each(|one| self.take(one))
    }

    /// Saves those of which all rows are known to be alive that are not alive elsewhere, until no other
    /// becomes known by it; the rest.
    fn certain(&mut self, mut unsure: Vec<Unsure<'a>>) -> Result<Vec<Unsure<'a>>> {
        loop {
            for one in &mut unsure {
                let alive = self.core.slot.load_full();
                let mut dead = Vec::new();
                for id in one.candidates.keys() {
                    if self.losses.ids.contains_key(id) || alive.locate(id.as_ref())?.is_some() {
                        dead.push(id.clone());
                    }
                }
                for id in dead {
                    one.candidates.remove(&id);
                }
            }
            let Some(at) = unsure.iter().position(Unsure::is_certain) else { return Ok(unsure) };
            self.take(unsure.swap_remove(at))?;
        }
    }

    /// Saves the candidates of a segment.
    fn take(&mut self, one: Unsure<'_>) -> Result<()> {
        let Unsure { segment, attributes, candidates, unread, .. } = one;
        let schema = self.core.slot.load().schema.clone();
        let import = Import::new(self.core, schema, ImportOptions::new());
        let (dir, losses) = (self.dir, &mut *self.losses);
        let mut taking = Taking { segment, attributes, import, dir, losses };
        let mut rows: Vec<Row> = candidates.into_values().collect();
        rows.sort_unstable();
        rows.chunks(ROWS).try_for_each(|rows| taking.take(rows))?;
        taking.take(&unread)?;
        taking.import.commit().map(drop)
    }
}

/// The saving of rows out of one segment.
struct Taking<'a> {
    segment: Segment,
    /// Why it has no columns though it should.
    attributes: Result<()>,
    import: Import<'a>,
    dir: &'a Path,
    losses: &'a mut Losses,
}

impl Taking<'_> {
    /// Saves the rows that are whole, and notes the others.
    fn take(&mut self, rows: &[Row]) -> Result<()> {
        match (self.read(rows), rows) {
            (_, []) => Ok(()),
            (Ok(batch), _) => self.import.store(&batch),
            (Err(damage), [row]) => {
                let id = self.segment.id_ref(*row).ok().map(IdRef::to_id);
                self.losses.row(self.dir, &damage, id);
                Ok(())
            }
            (Err(_), _) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.take(first)?;
                self.take(second)
            }
        }
    }

    fn read(&self, rows: &[Row]) -> Result<Batch> {
        let segment = &self.segment;
        let (space, stride) = (segment.given_space(), segment.given_space().stride());
        let mut ids = IdColumn::new(segment.id_type());
        let mut vectors = AlignedBytes::zeroed(rows.len() * stride);
        let mut inverse_norms = Vec::new();
        let places = vectors.as_mut_slice().chunks_exact_mut(stride);
        for (row, place) in rows.iter().zip(places) {
            ids.push(segment.id_ref(*row)?)?;
            segment.copy_given(*row, place)?;
            if space.metric == Metric::Cosine {
                inverse_norms.push(inverse_norm(space, place));
            }
        }
        match &self.attributes {
            Ok(()) => {}
            Err(Error::Corrupt { file, section, reason }) => {
                return Err(Error::corrupt(file, section.as_str(), reason.as_str()));
            }
            Err(Error::Io { path, source, .. }) => {
                return Err(Error::corrupt(path, "file", source.to_string()));
            }
            Err(error) => return Err(Error::corrupt(self.dir, "file", error.to_string())),
        }
        let attributes = segment.attributes(rows, &self.import.schema().arrow())?;
        Ok(Batch { ids, vectors: Arc::new(vectors), inverse_norms, attributes })
    }
}
