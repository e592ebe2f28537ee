//! How a reader in another process follows the writer.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::recover::{ATTEMPTS, Follower, State, is_outrun, list, state};
use super::snapshot::View;
use super::{Core, manifest, serving};
use crate::error::{Error, Result};
use crate::storage::disk::DirEntry;
use crate::sync::{Bug, is_seeded};

/// Moves a reader to the newest durable state; returns whether anything changed.
pub(crate) fn refresh(core: &Core) -> Result<bool> {
    let mut guard = core.follower.lock().unwrap_or_else(PoisonError::into_inner);
    let before = core.slot.load_full();
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match advance(core, &mut guard, &before) {
            Err(error) if is_outrun(&error) => {
                *guard = None;
                failure = Some(error);
            }
            other => return other,
        }
    }
    let failure = failure.filter(|error| matches!(error, Error::Corrupt { .. }));
    Err(failure.unwrap_or_else(|| ending(core)))
}

/// Why the directory of a collection holds it no longer.
fn ending(core: &Core) -> Error {
    let Ok(entries) = core.disk.list(&core.host.path) else {
        return Error::removed("read", &core.host.path);
    };
    let is_renamed = |entry: &&DirEntry| {
        let dir = core.host.path.join(&entry.name);
        let store = || stored(core, &dir, &list(&core.disk, &dir).ok()?).ok();
        entry.is_dir && !entry.name.starts_with('.') && store() == Some(core.store)
    };
    let name = core.name();
    Error::Closed(match entries.iter().find(is_renamed) {
        Some(DirEntry { name: new, .. }) => format!(
            "collection {name:?} was renamed to {new:?} by its writer; open it by that name"
        ),
        None => format!("collection {name:?} was dropped by its writer"),
    })
}

/// Identity of the collection in a directory of these entries.
fn stored(core: &Core, dir: &Path, entries: &[DirEntry]) -> Result<u128> {
    Ok(manifest::load(&core.disk, dir, entries)?.manifest.store)
}

fn advance(core: &Core, follower: &mut Option<Follower>, before: &Arc<View>) -> Result<bool> {
    let entries = list(&core.disk, &core.dir)?;
    if stored(core, &core.dir, &entries)? != core.store {
        return Err(Error::Closed(format!(
            "collection {:?} was replaced by another of its name by its writer; open it again",
            core.name()
        )));
    }
    let newest = entries.iter().filter_map(|entry| manifest::generation(&entry.name)).max();
    if let Some(follower) = follower
        && newest == Some(follower.generation)
    {
        let mut view = View::clone(before);
        follower.open_logs(&core.disk, &core.dir, core.store, &entries)?;
        let changed = follower.read(&mut view, is_seeded(Bug::ReaderIsAhead))?;
        if changed {
            core.publish(view);
        }
        return Ok(changed);
    }
    let State { view, writer, follower: renewed, .. } =
        state(&core.host, &core.disk, &core.dir, Some(before))?;
    *follower = Some(renewed);
    if view.seq < before.seq {
        // A damaged newest manifest was passed over: never move backwards.
        return Ok(false);
    }
    let changed = view.seq > before.seq;
    // A backup takes both as they belong together.
    let mut now = core.writer();
    *now = writer;
    core.publish(view);
    drop(now);
    serving::hold_new(core);
    Ok(changed)
}
