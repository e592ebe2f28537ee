//! Memtables become a segment; updated attributes become a new attribute file.

use std::sync::Arc;
use std::sync::PoisonError;

use super::build::{self, Built};
use super::snapshot::{PartView, View};
use super::switch::switch;
use super::write::{self, Writer};
use super::Core;
use crate::error::Result;
use crate::segment::attributes::AttributeFile;
use crate::segment::{Part, Segment};

/// An active memtable at least this full becomes a segment when the user flushes.
const FLUSH_BYTES: usize = 8 << 20;
/// At least this full, it becomes one when the collection is closed, so that opening it again need
/// not replay the log.
const CLOSE_BYTES: u64 = 1 << 20;

/// Makes everything written so far durable.
pub(crate) fn flush(core: &Core) -> Result<()> {
    let mut writer = core.writer();
    let view = View::clone(&core.slot.load());
    writer.sync_log(core, view.seq)?;
    writer.mark_durable();
    let bytes: usize = view.active.iter().map(|part| part.part.size_bytes()).sum();
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
    let view = View::clone(&core.slot.load());
    if writer.poison.is_some() {
        return Ok(());
    }
    writer.sync_log(core, view.seq)?;
    writer.mark_durable();
    if view.frozen.is_empty() && writer.log_bytes < CLOSE_BYTES {
        return Ok(());
    }
    freeze(core, &mut writer, view)?;
    drop(writer);
    flush_frozen(core)
}

fn freeze(core: &Core, writer: &mut Writer, mut view: View) -> Result<()> {
    if view.active.is_empty() && view.seq == writer.manifest.seq {
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
    let view = View::clone(&core.slot.load());
    freeze(core, &mut writer, view)?;
    drop(writer);
    flush_frozen(core)
}

/// Turns every frozen memtable into one segment and writes the attributes that were updated.
pub(crate) fn flush_frozen(core: &Core) -> Result<()> {
    let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
    let before = core.slot.load_full();
    let Some(last) = before.frozen.last() else { return Ok(()) };
    let (seq, log_next, count) = (last.seq, last.log_next, before.frozen.len());
    let work = Flush::run(core, &before)?;
    let mut writer = core.writer();
    writer.check()?;
    let committed = work.commit(core, &mut writer, &before, seq, log_next, count);
    // With a poisoned writer it is unknown whether the new manifest counts: its files stay.
    if committed.is_err() && writer.poison.is_none() {
        work.discard();
    }
    drop(writer);
    core.signals.notify();
    committed
}

/// The files of a flush, written but named by no manifest.
struct Flush {
    built: Option<Built>,
    /// New attribute files, by the index of their segment.
    attributes: Vec<(u64, Arc<Segment>)>,
}

impl Flush {
    fn run(core: &Core, before: &View) -> Result<Self> {
        let parts: Vec<Arc<PartView>> =
            before.frozen.iter().flat_map(|frozen| frozen.parts.iter().cloned()).collect();
        let built = build::build(core, &before.schema, &parts, false)?;
        let mut flush = Self { built, attributes: Vec::new() };
        for part in &before.segments {
            if part.patch.is_empty() {
                continue;
            }
            let Part::Segment(segment) = &part.part else { continue };
            let generation = core.writer().file_number();
            match build::rewrite_attributes(core, &before.schema, part, segment, generation) {
                Ok(renewed) => flush.attributes.push((segment.meta().id, Arc::new(renewed))),
                Err(error) => {
                    flush.discard();
                    return Err(error);
                }
            }
        }
        Ok(flush)
    }

    fn commit(
        &self,
        core: &Core,
        writer: &mut Writer,
        before: &View,
        seq: u64,
        log_next: u64,
        count: usize,
    ) -> Result<()> {
        let mut view = View::clone(&core.slot.load());
        let captured = before.seq;
        for part in &mut view.segments {
            let Part::Segment(segment) = &part.part else { continue };
            let id = segment.meta().id;
            if let Some((_, renewed)) = self.attributes.iter().find(|(known, _)| *known == id) {
                // A merge that runs now has read the old file: it still needs the newer updates.
                let keep = writer.compacting.as_ref().filter(|(ids, _)| ids.contains(&id));
                let keep = keep.map_or(captured, |(_, seq)| captured.min(*seq));
                let part = Arc::make_mut(part);
                part.part = Part::Segment(renewed.clone());
                part.patch = part.patch.after(keep);
            }
        }
        let frozen: Vec<_> = view.frozen.drain(..count).flat_map(|frozen| frozen.parts).collect();
        if let Some(built) = &self.built {
            writer.written.flush += built.bytes;
            view.segments.push(Arc::new(built.carry(&frozen, captured)?));
        }
        switch(core, writer, view, seq, log_next)
    }

    /// Removes the files again.
    fn discard(&self) {
        if let Some(built) = &self.built {
            built.segment.mark_obsolete();
        }
        for (_, segment) in &self.attributes {
            if let Some(attributes) = segment.attribute_file() {
                AttributeFile::mark_obsolete(attributes);
            }
        }
    }
}

impl Writer {
    /// Tells readers in other processes that everything logged is on disk.
    pub(crate) fn mark_durable(&mut self) {
        let durable = self.durable;
        if let Some(log) = &mut self.log {
            log.append(durable, durable, &[]);
            if log.flush().is_err() {
                // Only readers miss it, until the next frame; the next write begins a new file.
                self.log = None;
            }
        }
    }
}
