//! How a reader in another process follows the writer.

use std::sync::{Arc, PoisonError};

use super::recover::{ATTEMPTS, Follower, State, is_outrun, list, state};
use super::snapshot::View;
use super::{Core, manifest};
use crate::error::{Error, Result};

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
    Err(failure.unwrap_or_else(|| {
        Error::Closed(format!("collection {:?} (dropped or renamed by its writer)", core.name))
    }))
}

fn advance(core: &Core, follower: &mut Option<Follower>, before: &Arc<View>) -> Result<bool> {
    let entries = list(&core.disk, &core.dir)?;
    if manifest::load(&core.disk, &core.dir, &entries)?.manifest.store != core.store {
        return Err(Error::Closed(format!(
            "collection {:?} (dropped and made anew by its writer; open it again)",
            core.name
        )));
    }
    let newest = entries.iter().filter_map(|entry| manifest::generation(&entry.name)).max();
    if let Some(follower) = follower
        && newest == Some(follower.generation)
    {
        let mut view = View::clone(before);
        follower.open_logs(&core.disk, &core.dir, core.store, &entries)?;
        let changed = follower.read(&mut view, false)?;
        if changed {
            core.publish(view);
        }
        return Ok(changed);
    }
    let State { view, writer, follower: renewed, .. } =
        state(&core.host, &core.disk, &core.dir, Some(before))?;
    *follower = Some(renewed);
    *core.writer() = writer;
    if view.seq < before.seq {
        // A damaged newest manifest was passed over: never move backwards.
        return Ok(false);
    }
    let changed = view.seq > before.seq;
    core.publish(view);
    Ok(changed)
}
