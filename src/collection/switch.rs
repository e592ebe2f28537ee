//! The one durable change of state: a new manifest.
//!
//! > Invariant: before a manifest is written, everything logged so far is on disk. Tombstones and
//! > attribute files may then hold effects of operations that the log will replay: replay is
//! > idempotent because it always reaches at least the state those files were written from.

use std::path::PathBuf;

use super::manifest::{self, Failure, SegmentEntry};
use super::retire::Retired;
use super::segment_files;
use super::snapshot::View;
use super::write::Writer;
use super::{Core, tombstones};
use crate::error::{Error, Result};
use crate::sync::atomic::Ordering;

/// Makes `view`'s segments the durable state and publishes it. `seq` and `log_start` say which
/// operations the segments contain and which log files still count.
pub(crate) fn switch(
    core: &Core,
    writer: &mut Writer,
    view: View,
    seq: u64,
    log_start: u64,
) -> Result<()> {
    if core.is_shut() {
        // The directory may be another collection's by now.
        return Err(core.closed());
    }
    writer.check()?;
    writer.sync_log(core, view.seq)?;
    let mut next = writer.manifest.clone();
    next.generation = writer.manifest.generation + 1;
    next.schema = (*view.schema).clone();
    next.required_features = view.schema.required_features();
    next.calibration.clone_from(&view.calibration);
    next.seq = seq;
    next.logged = view.seq;
    next.log_start = log_start;
    next.segments.clear();
    let mut written = Vec::new();
    // On a full disk what a failed switch leaves would keep the next one from succeeding.
    let undo = |written: Vec<PathBuf>| {
        written.into_iter().for_each(|path| Retired::File(path).release(core));
    };
    if let Err(error) = name_segments(core, writer, &view, &mut next, &mut written) {
        undo(written);
        return Err(error);
    }
    next.next_file = core.next_file.load(Ordering::Relaxed);
    if let Err(failure) = next.commit(&core.disk, &core.dir) {
        writer.manifest.generation += 1;
        match &failure {
            Failure::Refused(_) | Failure::Before(Error::Full { .. }) => undo(written),
            Failure::Before(error) | Failure::Unknown(error) => writer.poison(error),
        }
        return Err(failure.into());
    }
    writer.told = next.logged;
    let old = std::mem::replace(&mut writer.manifest, next);
    let dropped = dropped(core, writer, &old, &core.slot.load(), &view);
    core.publish(view);
    for retired in std::mem::replace(&mut writer.limbo, dropped) {
        retired.release(core);
    }
    Ok(())
}

/// Names the segments of `view` in `next`, and writes the tombstones that no file holds; adds the files
/// that it makes to `written`.
fn name_segments(
    core: &Core,
    writer: &mut Writer,
    view: &View,
    next: &mut manifest::Manifest,
    written: &mut Vec<PathBuf>,
) -> Result<()> {
    for part in &view.segments {
        let Some((segment, meta)) = part.as_segment() else {
            unreachable!("the segments of a view are segments");
        };
        let known = writer.manifest.segments.iter().find(|known| known.id == segment.number());
        let mut dead = known.and_then(|known| known.tombstones.clone());
        if part.dead.len() as u64 != dead.as_ref().map_or(0, |dead| dead.count) {
            let generation = core.file_number();
            let (disk, number) = (&core.disk, segment.number());
            let (dir, store) = (&core.dir, core.store);
            written.push(segment_files::tombstones_path(dir, number, generation));
            let file = tombstones::write(disk, dir, store, number, generation, &part.dead)?;
            writer.written.flush += file.len;
            dead = Some(file);
        }
        next.segments.push(SegmentEntry::new(meta, dead));
        let product = segment.has_product_codes() && !next.requires(manifest::PRODUCT_CODES);
        next.required_features.extend(product.then(|| manifest::PRODUCT_CODES.to_owned()));
    }
    Ok(())
}

/// Repeats the newest manifest under the next number, so that what the one before named can go at
/// once.
pub(crate) fn settle(core: &Core, writer: &mut Writer) -> Result<()> {
    let view = View::clone(&core.slot.load());
    let (seq, log_start) = (writer.manifest.seq, writer.manifest.log_start);
    switch(core, writer, view, seq, log_start)
}

/// What `old` named and the new manifest does not.
fn dropped(
    core: &Core,
    writer: &Writer,
    old: &manifest::Manifest,
    before: &View,
    after: &View,
) -> Vec<Retired> {
    let new = &writer.manifest;
    let mut dropped = vec![Retired::File(manifest::path(&core.dir, old.generation))];
    for meta in &old.segments {
        let kept = new.segments.iter().find(|kept| kept.id == meta.id);
        if let Some(tombstones) = &meta.tombstones
            && kept.and_then(|kept| kept.tombstones.as_ref()) != Some(tombstones)
        {
            dropped.push(Retired::File(segment_files::tombstones_path(
                &core.dir,
                meta.id,
                tombstones.generation,
            )));
        }
    }
    for (segment, meta) in before.segments.iter().filter_map(|part| part.as_segment()) {
        let mut after = after.segments.iter().filter_map(|part| part.as_segment());
        match after.find(|(kept, _)| kept.number() == segment.number()) {
            None => dropped.push(Retired::Segment(segment.clone())),
            Some((_, kept)) if kept.attributes != meta.attributes => {
                dropped.extend(segment.attribute_file().cloned().map(Retired::Attributes));
            }
            Some(_) => {}
        }
    }
    if let Ok(entries) = core.disk.list(&core.dir) {
        for entry in entries {
            if let Some(segment_files::FileName::Log(number)) = segment_files::parse(&entry.name)
                && (old.log_start..new.log_start).contains(&number)
            {
                dropped.push(Retired::File(core.dir.join(entry.name)));
            }
        }
    }
    dropped
}
