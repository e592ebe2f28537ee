//! Attribute files written anew for an index that they lack: it was asked for after they were written,
//! another version or other options made it, or it is damaged.
//!
//! > The file is written while nobody waits. What a flush has put in its place meanwhile stays: a
//! > flush writes the indexes as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use super::Core;
use super::build;
use super::options::Schema;
use super::snapshot::{PartView, View};
use super::switch::switch;
use crate::error::{Error, Result};
use crate::segment::attributes::AttributeFile;

/// Writes the indexes of one segment that lacks some; whether there was one. With `deep` they are
/// read whole to see that they are there. The caller holds `compacting`.
pub(super) fn indexes(core: &Core, cancel: &AtomicBool, deep: bool) -> Result<bool> {
    let cancelled = || core.cancel.load(Ordering::Acquire) || cancel.load(Ordering::Acquire);
    let before = core.slot.load_full();
    let wanted = |part: &&Arc<PartView>| !part.is_broken() && lacks(part, &before.schema, deep);
    let Some(old) = before.segments.iter().find(wanted) else {
        return Ok(false);
    };
    core.writer().check()?;
    if cancelled() {
        return Err(Error::Cancelled);
    }
    let Some(new) = build::rewrite_attributes(core, &before.schema, old)? else {
        return Ok(false);
    };
    if lacks(&new, &before.schema, deep) {
        let file = old.as_segment().and_then(|(segment, _)| segment.attribute_file());
        file.into_iter().for_each(|file| file.give_up());
        new.discard_attributes();
        return Ok(true);
    }
    if cancelled() {
        new.discard_attributes();
        return Err(Error::Cancelled);
    }
    let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
    let mut writer = core.writer();
    let mut view = View::clone(&core.slot.load());
    let Some(at) = view.segments.iter().position(|now| file_of(now) == file_of(old)) else {
        new.discard_attributes();
        return Ok(true);
    };
    let committed = new.over(&view.segments[at], before.seq).and_then(|part| {
        writer.written.compaction += new.attribute_bytes();
        view.segments[at] = part.into();
        let (seq, log_start) = (writer.manifest.seq, writer.manifest.log_start);
        switch(core, &mut writer, view, seq, log_start)
    });
    if committed.is_err() && writer.poison.is_none() {
        new.discard_attributes();
    }
    committed.map(|()| true)
}

/// The segment of a part and the generation of its attribute file.
fn file_of(part: &PartView) -> Option<(u64, u64)> {
    let (segment, meta) = part.as_segment()?;
    Some((segment.number(), meta.attributes?.generation))
}

/// Whether the part's file has no index of a column of texts, or not those of other columns.
fn lacks(part: &PartView, schema: &Schema, deep: bool) -> bool {
    let file = part.as_segment().and_then(|(segment, _)| segment.attribute_file());
    file.filter(|file| !file.is_given_up())
        .is_some_and(|file| lacks_texts(file, schema, deep) || file.lacks_indexes(deep))
}

#[cfg(feature = "text")]
fn lacks_texts(file: &AttributeFile, schema: &Schema, deep: bool) -> bool {
    let mut columns = schema.text_columns();
    columns.any(|(column, options)| file.lacks_text(column, options.cutting(), deep))
}

#[cfg(not(feature = "text"))]
fn lacks_texts(_: &AttributeFile, _: &Schema, _: bool) -> bool {
    false
}

impl PartView {
    fn attribute_bytes(&self) -> u64 {
        let file = self.as_segment().and_then(|(segment, _)| segment.attribute_file());
        file.map_or(0, |file| file.file_bytes())
    }
}
