//! Numbers about a collection, and the reading of everything to see whether it is whole.

use std::sync::Arc;

use serde::Serialize;

use super::calibrate::Calibration;
use super::meters::SearchStats;
use super::serving::{self, HeldBytes};
use super::snapshot::PartView;
use super::{Collection, Core, compact, verify};
use crate::error::{Error, Result};
use crate::segment::derived::is_of_derived;
use crate::segment::layout::Code;
use crate::storage::container::Watch;
use crate::types::{Memory, Raw};

/// What a collection is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Live rows.
    pub rows: u64,
    /// What is kept of f32 vectors; `None` for vectors of another type, which are kept as they are.
    pub raw: Option<Raw>,
    /// Rows deleted or replaced whose space is not back yet.
    pub dead_rows: u64,
    /// Rows not in a segment yet.
    pub memtable_rows: u64,
    /// Bytes of those rows in memory.
    pub memtable_bytes: u64,
    /// Bytes in memory of indexes of texts: of fresh rows, of updates, and of segments that have none
    /// of this version on disk. Those of fresh rows and updates are part of `memtable_bytes` too.
    pub text_index_bytes: u64,
    /// Bytes in memory of row sets that filters left, kept for the next search with the same filter.
    pub row_set_bytes: u64,
    /// Where searches find what they read of segments, by the settings of this handle.
    pub memory: Memory,
    /// Bytes of memory that searches should do with, by the settings of this handle; `None` for no limit.
    pub serving_budget: Option<u64>,
    /// Bytes of segments that searches read all over: codes and their parameters, links, norms, ids, and vectors
    /// where no codes lead. Searches are fast while these are in memory.
    pub serving_bytes: u64,
    /// The fewest that these could be: no codes take less.
    pub serving_least_bytes: u64,
    /// What is wrong with `serving_budget` where `serving_bytes` are more, and what to do.
    pub serving_problem: Option<String>,
    /// Bytes held in memory of this process with [`Memory::Ram`]; of mapped files the system decides.
    pub held_bytes: HeldBytes,
    /// Number of the last operation.
    pub seq: u64,
    /// Number of the manifest on disk.
    pub generation: u64,
    /// Bytes of all files of the collection.
    pub disk_bytes: u64,
    /// Bytes in logs that the next flush of the memtable makes unnecessary.
    pub log_bytes: u64,
    /// Rows that merges in the background have yet to take, by the settings of this handle: of segments that are
    /// to be merged, or are large enough for a graph and have none. Fresh rows, in no segment yet, are none of
    /// them, nor rows that only what comes of those merges will be merged with, nor indexes of texts that are yet
    /// to be written; [`Collection::compact`] merges all the same what need not be. `None` in a reader: it merges
    /// nothing, and does not know by which settings somebody else does.
    pub debt_rows: Option<u64>,
    /// Bytes of the vectors of those rows.
    pub debt_bytes: Option<u64>,
    /// Writes done since opening, through all handles of the [`Database`](crate::Database): each call that
    /// adds, replaces, updates or deletes rows or changes the schema, and each import.
    pub writes: u64,
    /// Searches since opening, of all handles and snapshots, and the times they took.
    pub searches: SearchStats,
    /// What [`Collection::calibrate`] learned, if it did.
    pub calibration: Option<Calibration>,
    /// Bytes written to logs since opening.
    pub written_log_bytes: u64,
    /// Bytes written by flushes since opening.
    pub written_flush_bytes: u64,
    /// Bytes written by merges since opening.
    pub written_compaction_bytes: u64,
    /// Bytes written by imports since opening.
    pub written_import_bytes: u64,
    /// Name of the CPU tier in use.
    pub cpu_tier: &'static str,
    /// Why the last flush or merge in the background failed, until the next one succeeds. It is tried
    /// again after ever longer pauses, up to five minutes.
    pub background_failure: Option<String>,
    /// Why the newest manifest was passed over on opening, if it was: it is damaged. The one before leads to the
    /// same rows, and nothing is removed that only the damaged one may name.
    pub passed_over: Option<String>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentStats>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number.
    pub id: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Rows of it that are dead.
    pub dead_rows: u64,
    /// Whether it has a graph; one without is scanned.
    pub graph: bool,
    /// What leads searches: `byte`, `half` or `product` codes over a graph, `bit` codes without one, `full`
    /// vectors or, with [`Raw::None`], the `rounded` ones.
    pub code: &'static str,
    /// For codes: of a thousand near rows in a sample, how many a search would compare exactly. Fewer, where
    /// the rows that a code confuses the most miss more than three times as many.
    pub code_agreement: Option<u32>,
    /// For a graph: of a thousand near rows in a sample, how many walks found when it was built that expanded
    /// 64 nodes on average (by inner product: kept 64 candidates), which is less than the default effort.
    pub graph_recall: Option<u32>,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes of them that searches read all over, as in [`Stats::serving_bytes`].
    pub serving_bytes: u64,
    /// Sections of its files in which damage was found so far, by their tags. `RAWV` (vectors; `RNDV`
    /// and `SCAL` where they are rounded), `IDSC` (ids) and `GRPS` (columns) hold rows: those that are damaged answer `Corrupt`, and the segment
    /// is merged no more. The others are made of these: searches do without, and a merge makes them anew.
    pub damaged: Vec<String>,
}

/// What [`Collection::verify`] read and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files read whole.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Live rows.
    pub rows: u64,
    /// What is wrong, naming file and section; empty when everything is whole.
    pub problems: Vec<String>,
}

impl Collection {
    /// Numbers about the collection.
    ///
    /// # Errors
    /// `Io`, `Closed`, `Forked`.
    pub fn stats(&self) -> Result<Stats> {
        let core = self.core();
        core.check()?;
        let view = core.slot.load_full();
        let writer = core.writer();
        let fresh = || view.frozen.iter().flat_map(|frozen| &frozen.parts).chain(&view.active);
        let size = |part: &Arc<PartView>| part.memory_bytes();
        let debt = (!core.host.read_only).then(|| compact::debt(&view, &core.host.settings));
        Ok(Stats {
            rows: view.len() as u64,
            raw: view.schema.raw(),
            dead_rows: view.parts().map(|part| part.dead.len() as u64).sum(),
            memtable_rows: fresh().map(|part| part.live() as u64).sum(),
            memtable_bytes: fresh().map(|part| size(part) as u64).sum(),
            row_set_bytes: view.parts().map(|part| part.row_sets.memory_bytes() as u64).sum(),
            text_index_bytes: view.parts().map(|part| part.text_bytes() as u64).sum(),
            memory: core.host.settings.memory,
            serving_budget: core.host.settings.serving_budget.map(|bytes| bytes as u64),
            serving_bytes: serving::bytes(&view),
            serving_least_bytes: serving::least_bytes(&view),
            serving_problem: serving::problem(&view, &core.host.settings),
            held_bytes: serving::held(&view),
            seq: view.seq,
            generation: writer.manifest.generation,
            disk_bytes: directory_bytes(core)?,
            log_bytes: writer.log_bytes,
            debt_rows: debt.map(|(rows, _)| rows),
            debt_bytes: debt.map(|(_, bytes)| bytes),
            writes: core.meters.writes(),
            searches: core.meters.searches(),
            calibration: view.calibration.clone(),
            written_log_bytes: writer.written.log,
            written_flush_bytes: writer.written.flush,
            written_compaction_bytes: writer.written.compaction,
            written_import_bytes: writer.written.import,
            cpu_tier: core.host.isa.name(),
            background_failure: core.signals.failure(),
            passed_over: writer.passed_over.clone(),
            segments: view.segments.iter().filter_map(segment_stats).collect(),
        })
    }

    /// Reads every byte of every file and checks checksums, ids, graphs, norms and columns, and
    /// that no id is live twice. Damage is reported, not repaired.
    ///
    /// # Errors
    /// `Closed`, `Forked`, `Io` when the directory does not list.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_while(|_, _| true)
    }

    /// [`verify`](Self::verify) that tells how many bytes of how many in all it has read, and asks
    /// whether to go on.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); `Cancelled` after a "no".
    pub fn verify_while(
        &self,
        mut keep_going: impl FnMut(u64, u64) -> bool,
    ) -> Result<VerifyReport> {
        let core = self.core();
        core.check()?;
        let view = core.slot.load_full();
        let mut report =
            VerifyReport { files: 0, bytes: 0, rows: view.len() as u64, problems: Vec::new() };
        let (mut done, total) = (0, file_bytes(&view));
        let mut watch = |bytes: u64| {
            done = total.min(done + bytes);
            if keep_going(done, total) { Ok(()) } else { Err(Error::Cancelled) }
        };
        for part in &view.segments {
            let Some((segment, meta)) = part.as_segment() else { continue };
            report.files += 1 + u64::from(meta.attributes.is_some());
            report.bytes += segment.file_bytes();
            segment.verify_each(&part.dead, &mut watch, &mut |error| report.note(&error))?;
        }
        if report.problems.is_empty() {
            report.found(check_ids(&view, &mut watch))?;
        }
        verify::logs(core, &mut report);
        verify::kept(core, &mut report);
        Ok(report)
    }
}

impl VerifyReport {
    /// Notes what a check has found; only that it was to stop is a failure.
    fn found(&mut self, checked: Result<()>) -> Result<()> {
        match checked {
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => self.note(&error),
            Ok(()) => {}
        }
        Ok(())
    }

    fn note(&mut self, error: &Error) {
        let consequence = match is_of_derived(error) {
            true => "; no row is lost: searches do without it, and compact makes it anew",
            false => "",
        };
        self.problems.push(format!("{error}{consequence}"));
    }
}

/// Bytes of the files of all segments.
pub(crate) fn file_bytes(view: &super::snapshot::View) -> u64 {
    let segments = view.segments.iter().filter_map(|part| part.as_segment());
    segments.map(|(segment, _)| segment.file_bytes()).sum()
}

/// Every live row is the one that its id leads to.
fn check_ids(view: &super::snapshot::View, watch: &mut Watch<'_>) -> Result<()> {
    for (index, part) in view.parts().enumerate() {
        for row in 0..u32::try_from(part.part.len()).unwrap_or(u32::MAX) {
            if row.is_multiple_of(4_096) {
                watch(0)?;
            }
            if part.dead.contains(row) {
                continue;
            }
            let id = part.part.id_ref(row)?;
            let place = view.locate(id)?;
            if place.is_none_or(|place| place.part != index || place.row != row) {
                return Err(Error::invalid(format!("id {id} is live twice or cannot be found")));
            }
        }
    }
    Ok(())
}

fn segment_stats(part: &Arc<PartView>) -> Option<SegmentStats> {
    let (segment, meta) = part.as_segment()?;
    Some(SegmentStats {
        id: meta.segment,
        rows: u64::from(meta.rows),
        dead_rows: part.dead.len() as u64,
        graph: segment.has_graph(),
        code: match segment.code().map(|code| code.kind) {
            None if segment.space().is_rounded() => "rounded",
            Some(Code::Byte) => "byte",
            Some(Code::Half) => "half",
            Some(Code::Bit) => "bit",
            Some(Code::Product) => "product",
            None => "full",
        },
        code_agreement: segment.code().map(|code| code.agreement),
        graph_recall: segment.graph_recall(),
        bytes: segment.file_bytes(),
        serving_bytes: segment.serving_bytes(),
        damaged: segment.damaged_sections(),
    })
}

/// Bytes of all files in the collection's directory.
pub(crate) fn directory_bytes(core: &Core) -> Result<u64> {
    let entries = core.disk.list(&core.dir).map_err(|error| Error::unlisted(&core.dir, error))?;
    Ok(entries.iter().map(|entry| entry.len).sum())
}
