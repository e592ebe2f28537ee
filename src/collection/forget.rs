//! Forgetting: rows are gone from every file, not only from every answer.
//!
//! A delete hides rows; their bytes stay in the log and in segments until merges pass by, and then in
//! files that are kept for a generation, or for a search. Forgetting does all of that at once: the
//! log becomes segments, segments that hold a row of the ids, dead or alive, are written anew, and
//! what the newest manifest does not name is removed by name, though maps of it may live on.
//!
//! > Nothing but the delete is new state, and each step leaves a whole collection: after a crash the
//! > same call finds what is left to do.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use super::compact;
use super::prepare::check_lengths;
use super::recover::{self, is_named};
use super::segment_files::{self, FileName};
use super::snapshot::{PartView, View};
use super::switch::{settle, switch};
use super::work::Work;
use super::write::{self, Writer};
use super::{Collection, Core, flush, owned};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::MutexGuard;
use crate::types::Ids;

impl Collection {
    /// Removes the rows of `ids` as [`delete`](Self::delete) does, and returns when their bytes are gone from the
    /// collection's directory: ids, vectors, columns and all that was made of them, in the log, in segments and
    /// in files that were to be removed later; also of rows that were deleted or replaced before. Ids
    /// that do not exist are passed over. Returns how many rows there were.
    ///
    /// Segments that hold one of the ids are written anew, which takes as long as merging them: give many
    /// ids at once. Out of reach are backups and packed files, what readers in other processes have
    /// mapped (until they refresh or close), rows that somebody writes under these ids meanwhile, and what
    /// file system and drive keep of removed files.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// assert_eq!(docs.forget(&[2, 3])?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`delete`](Self::delete) and [`compact`](Self::compact); `Corrupt` when a segment is so damaged that it
    /// cannot be written anew. The rows may be deleted then, and not forgotten: call again.
    pub fn forget<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<u64> {
        self.forget_until(ids, &self.core().cancel)
    }

    /// [`forget`](Self::forget) that ends soon after `cancel` is set.
    ///
    /// # Errors
    /// As [`forget`](Self::forget); `Cancelled`, with the rows deleted.
    pub fn forget_until<'a>(&self, ids: impl Into<Ids<'a>>, cancel: &AtomicBool) -> Result<u64> {
        let core = self.writable()?;
        let ids = ids.into();
        check_lengths(&ids, |row| row as u64)?;
        check_whole(&core.slot.load())?;
        let forgotten = write::submit(core, Work::Delete(owned(&ids)))?;
        if !ids.is_empty() {
            erase(core, &ids, cancel)?;
        }
        Ok(forgotten)
    }
}

/// Removes every trace of the rows of `ids`, which are deleted.
fn erase(core: &Core, ids: &Ids<'_>, cancel: &AtomicBool) -> Result<()> {
    flush::secure(core)?;
    flush::flush_all(core)?;
    let _compacting = core.compacting.lock().unwrap_or_else(PoisonError::into_inner);
    for number in concerned(&core.slot.load(), ids)? {
        let view = core.slot.load();
        let index = view.segments.iter().position(|part| part.segment_id() == Some(number));
        if let Some(index) = index {
            let plan = compact::rewriting(&view, index, &core.host.settings);
            compact::run(core, &plan, cancel)?;
        }
    }
    let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
    let mut writer = core.writer();
    flush::flush_locked(core, &mut writer)?;
    let view = View::clone(&core.slot.load());
    check_whole(&view)?;
    // The log may hold what was written and given up, beside what is in segments now.
    let (seq, log_start) = (view.seq, writer.roll_log(core)?);
    switch(core, &mut writer, view, seq, log_start)?;
    settle(core, &mut writer)?;
    sweep(core, &writer)
}

/// Numbers of the segments that hold a row of `ids`, dead or alive. What somebody writes under these ids
/// from now on is not forgotten.
fn concerned(view: &View, ids: &Ids<'_>) -> Result<Vec<u64>> {
    check_whole(view)?;
    let mut numbers = Vec::new();
    for part in &view.segments {
        for id in ids.iter() {
            if part.part.lookup(id)?.is_some() {
                numbers.extend(part.segment_id());
                break;
            }
        }
    }
    Ok(numbers)
}

/// Refuses where rows are damaged: what cannot be read cannot be written anew, and keeps the log.
fn check_whole(view: &View) -> Result<()> {
    let broken = |part: &&Arc<PartView>| part.is_broken();
    let segments = view.segments.iter().filter(broken).filter_map(|part| part.as_segment());
    segments.map(|(segment, _)| segment.as_ref()).try_for_each(Segment::check_primary)
}

/// Removes the files that the two newest manifests, which name the same, do not name and nobody is writing.
fn sweep(core: &Core, writer: &Writer) -> Result<()> {
    let importing = core.importing();
    let newest = &writer.manifest;
    let is_kept = |file| match file {
        FileName::Manifest(number) => number + 1 >= newest.generation,
        FileName::Segment(id) | FileName::Attributes(id, _) if importing.contains(&id) => true,
        file => is_named(file, &[newest]),
    };
    for entry in recover::list(&core.disk, &core.dir)? {
        let file = segment_files::parse(&entry.name);
        if !entry.is_dir && file.is_some_and(|file| !is_kept(file)) {
            let path = core.dir.join(&entry.name);
            core.disk.remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
    }
    core.disk.sync_dir(&core.dir).map_err(|error| Error::io("sync", &core.dir, error))
}

impl Core {
    /// Numbers of the segments that imports are writing, which no manifest names.
    pub(crate) fn importing(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.importing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
