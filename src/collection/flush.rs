//! Memtables become a segment; updated attributes become a new attribute file.
//!
//! > Updates of a segment whose columns are damaged have no file to go to. They stay in memory and in the
//! > log, which keeps all operations from then on until the segment is gone. So do operations about rows
//! > whose ids are damaged.

use std::sync::{Arc, PoisonError};

use super::Core;
use super::build::{self, Built};
use super::retire::Retired;
use super::serving;
use super::snapshot::{PartView, View};
use super::switch::{settle, switch};
use super::write::{self, Writer};
use crate::error::{Error, Result};
use crate::span::span;
use crate::sync::atomic::Ordering;
use crate::sync::{Bug, is_seeded};

/// An active memtable at least this full becomes a segment when the user flushes.
const FLUSH_BYTES: usize = 8 << 20;
/// At least this full, it becomes one when the collection is closed, so that opening it again need
/// not replay the log.
const CLOSE_BYTES: u64 = 1 << 20;

/// Writes anew what was replayed from a log that may not be on disk. To be called before the first
/// write.
pub(crate) fn secure(core: &Core) -> Result<()> {
    if core.doubtful.load(Ordering::Acquire) {
        flush_all(core)?;
        core.doubtful.store(false, Ordering::Release);
    }
    Ok(())
}

/// Makes everything written so far durable.
pub(crate) fn flush(core: &Core) -> Result<()> {
    secure(core)?;
    let mut writer = core.writer();
    let view = View::clone(&core.slot.load());
    writer.sync_log(core, view.seq)?;
    writer.tell_durable(core);
    let bytes: usize = view.active.iter().map(|part| part.memory_bytes()).sum();
    if bytes < FLUSH_BYTES {
        return Ok(());
    }
    freeze(core, &mut writer, view)?;
    drop(writer);
    flush_frozen(core)
}

/// Makes everything durable before the collection is closed.
pub(crate) fn on_close(core: &Core) -> Result<()> {
    let mut writer = core.writer();
    writer.check_files(core)?;
    if let Err(poisoned) = writer.check() {
        let safe = writer.durable >= core.slot.load().seq;
        return if safe { Ok(()) } else { Err(poisoned) };
    }
    drop(writer);
    secure(core)?;
    let mut writer = core.writer();
    let view = View::clone(&core.slot.load());
    writer.sync_log(core, view.seq)?;
    if view.frozen.is_empty() && writer.log_bytes < CLOSE_BYTES {
        seal(core, &mut writer, view.seq)?;
    } else {
        freeze(core, &mut writer, view)?;
        drop(writer);
        flush_frozen(core)?;
        writer = core.writer();
    }
    // Else the logs of rows that are in segments now stay as long as nobody writes.
    if writer.limbo.iter().any(Retired::is_data) {
        settle_if_room(core, &mut writer)?;
    }
    Ok(())
}

/// Has a manifest say how far the logs go, all of which is on disk: one that is cut or gone afterwards is missed
/// then.
pub(crate) fn seal(core: &Core, writer: &mut Writer, seq: u64) -> Result<()> {
    if writer.manifest.logged >= seq {
        return Ok(());
    }
    settle_if_room(core, writer)
}

fn settle_if_room(core: &Core, writer: &mut Writer) -> Result<()> {
    match settle(core, writer) {
        // Everything is on disk as it is.
        Err(Error::Full { .. }) => {
            writer.tell_durable(core);
            Ok(())
        }
        settled => settled,
    }
}

fn freeze(core: &Core, writer: &mut Writer, mut view: View) -> Result<()> {
    let last = view.frozen.last().map_or(writer.manifest.seq, |frozen| frozen.seq);
    if view.active.is_empty() && view.seq == last {
        return Ok(());
    }
    write::freeze(core, writer, &mut view)?;
    core.publish(view);
    Ok(())
}

/// Freezes what there is and flushes it.
pub(crate) fn flush_all(core: &Core) -> Result<()> {
    let mut writer = core.writer();
    writer.check()?;
    writer.check_files(core)?;
    let view = View::clone(&core.slot.load());
    freeze(core, &mut writer, view)?;
    drop(writer);
    flush_frozen(core)
}

/// Flushes what has been written when nobody writes any more, if it is so much that searches would
/// rather find it in a segment, which merges and gets a graph.
pub(crate) fn flush_idle(core: &Core) -> Result<()> {
    let view = core.slot.load();
    let bytes: usize = view.active.iter().map(|part| part.memory_bytes()).sum();
    let due = bytes >= FLUSH_BYTES;
    drop(view);
    if due { flush_all(core) } else { Ok(()) }
}

/// Turns every frozen memtable into one segment and writes the attributes that were updated.
pub(crate) fn flush_frozen(core: &Core) -> Result<()> {
    let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
    let before = core.slot.load_full();
    if before.frozen.is_empty() {
        return Ok(());
    }
    span!(INFO, "flush", collection = core.name(), rows = rows_of(&before));
    let flushed = Files::write(core, &before)
        .and_then(|mut files| files.commit(core, &mut core.writer(), &before));
    // Also after a failure: the flushing thread tries again.
    core.signals.rebuilt();
    serving::hold_new(core);
    flushed
}

#[cfg(feature = "tracing")]
fn rows_of(view: &View) -> usize {
    view.frozen.iter().flat_map(|frozen| &frozen.parts).map(|part| part.live()).sum()
}

/// Freezes and flushes what there is while nobody can write. The caller holds `flushing`.
pub(crate) fn flush_locked(core: &Core, writer: &mut Writer) -> Result<()> {
    freeze(core, writer, View::clone(&core.slot.load()))?;
    let before = core.slot.load_full();
    if before.frozen.is_empty() {
        return Ok(());
    }
    Files::write(core, &before)?.commit(core, writer, &before)
}

/// The files of a flush, written but named by no manifest.
struct Files {
    built: Option<Built>,
    /// Segments with their new attribute files.
    renewed: Vec<PartView>,
    /// Whether there are updates that have none.
    stuck: bool,
}

impl Files {
    fn write(core: &Core, before: &View) -> Result<Self> {
        let parts: Vec<Arc<PartView>> =
            before.frozen.iter().flat_map(|frozen| frozen.parts.iter().cloned()).collect();
        // To its end also while the collection is being closed.
        let built = build::write(core, &before.schema, &parts, false, &|| true)?;
        let mut files = Self { built, renewed: Vec::new(), stuck: false };
        for part in before.segments.iter().filter(|part| !part.patch.is_empty()) {
            match build::rewrite_attributes(core, &before.schema, part) {
                Ok(renewed) => files.renewed.extend(renewed),
                Err(_damaged) if part.is_broken() => files.stuck = true,
                Err(error) => {
                    files.discard();
                    return Err(error);
                }
            }
        }
        Ok(files)
    }

    fn commit(&mut self, core: &Core, writer: &mut Writer, before: &View) -> Result<()> {
        let committed = writer.check().and_then(|()| self.switch(core, writer, before));
        // With a poisoned writer it is unknown whether the new manifest counts: its files stay.
        if committed.is_err() && writer.poison.is_none() {
            self.discard();
        }
        committed
    }

    fn switch(&mut self, core: &Core, writer: &mut Writer, before: &View) -> Result<()> {
        let Some(last) = before.frozen.last() else { return Ok(()) };
        let now = core.slot.load();
        let mut view = View::clone(if is_seeded(Bug::FlushIsStale) { before } else { &now });
        for part in &mut view.segments {
            let Some((segment, _)) = part.as_segment() else { continue };
            let number = segment.number();
            // A merge that runs now has read the old file: it still needs later updates.
            let merging = writer
                .compacting
                .as_ref()
                .filter(|(ids, _)| ids.contains(&number) && !is_seeded(Bug::UpdatesAreLeft));
            let since = |seq: u64| merging.map_or(seq, |(_, merged)| seq.min(*merged));
            let renewed = self.renewed.iter().find(|renewed| {
                renewed.as_segment().is_some_and(|(segment, _)| segment.number() == number)
            });
            if let Some(renewed) = renewed {
                *part = Arc::new(renewed.over(part, since(before.seq))?);
            } else if part.patch.oldest().is_some_and(|oldest| oldest <= last.seq)
                && !part.is_broken()
                && let Some(renewed) = build::rewrite_attributes(core, &view.schema, part)?
            {
                // It is the result of a merge that ended meanwhile, and the log of these updates
                // is about to go.
                self.renewed.push(renewed.clone());
                *part = Arc::new(renewed.over(part, since(view.seq))?);
            }
        }
        let frozen = view.frozen.drain(..before.frozen.len());
        let frozen: Vec<Arc<PartView>> = frozen.flat_map(|frozen| frozen.parts).collect();
        if let Some(built) = &self.built {
            writer.written.flush += built.bytes();
            view.segments.push(Arc::new(built.carry(&frozen, before.seq)?));
        }
        let logged = (writer.manifest.seq, writer.manifest.log_start);
        let stuck = self.stuck || view.waits;
        let (seq, log_start) = if stuck { logged } else { (last.seq, last.log_next) };
        switch(core, writer, view, seq, log_start)
    }

    /// Removes the files again.
    fn discard(&self) {
        if let Some(built) = &self.built {
            built.discard();
        }
        self.renewed.iter().for_each(PartView::discard_attributes);
    }
}
