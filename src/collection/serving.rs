//! Memory for searches: what each segment may take of it, and holding what they read.
//!
//! [`Settings::serving_budget`] is shared out by rows. Whoever writes a segment chooses codes by its share, and
//! what grows beyond it is chosen anew by the merges that come. With [`Memory::Ram`] all that searches read all
//! over is held when a collection is opened, or that fails; what is written later is held as far as the budget
//! has room. The budget is of the newest state: what snapshots of before still hold comes on top.

use std::sync::PoisonError;

use serde::Serialize;

use super::Core;
use super::options::Settings;
use super::snapshot::View;
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::segment::serving::Hot;
use crate::types::{CodeChoice, Memory};

/// Bytes held in memory of this process for searches, with [`Memory::Ram`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeldBytes {
    /// Codes of rows.
    pub codes: u64,
    /// Links of graphs.
    pub graph: u64,
    /// Norms, or scales of rounded vectors.
    pub norms: u64,
    /// Ids.
    pub ids: u64,
    /// Sketches of codes, by which filtered searches leave rows out.
    pub sketches: u64,
    /// Vectors.
    pub vectors: u64,
}

/// Of the memory for searches, bytes for a segment of `rows` rows in a collection of `all` rows or more; `None`
/// without a limit.
pub(super) fn share(settings: &Settings, rows: u64, all: u64) -> Option<u64> {
    let budget = settings.serving_budget.filter(|_| settings.code == CodeChoice::Auto)?;
    let share = budget as u128 * u128::from(rows) / u128::from(all.max(rows).max(1));
    Some(u64::try_from(share).unwrap_or(u64::MAX))
}

fn segments(view: &View) -> impl Iterator<Item = &Segment> {
    view.segments.iter().filter_map(|part| part.as_segment()).map(|(segment, _)| &**segment)
}

fn budget(settings: &Settings) -> u64 {
    settings.serving_budget.map_or(u64::MAX, |bytes| bytes as u64)
}

/// Bytes that searches read all over.
pub(super) fn bytes(view: &View) -> u64 {
    segments(view).map(Segment::serving_bytes).sum()
}

/// The fewest that they could be, were all segments written with the smallest codes.
pub(super) fn least_bytes(view: &View) -> u64 {
    segments(view).map(Segment::least_serving_bytes).sum()
}

/// Bytes held, by kind.
pub(super) fn held(view: &View) -> HeldBytes {
    let of = |hot: Hot| segments(view).map(|segment| segment.held_bytes(hot)).sum();
    HeldBytes {
        codes: of(Hot::Codes),
        graph: of(Hot::Graph),
        norms: of(Hot::Factors),
        ids: of(Hot::Ids),
        sketches: of(Hot::Sketches),
        vectors: of(Hot::Vectors),
    }
}

/// What is wrong where the budget does not do.
pub(super) fn problem(view: &View, settings: &Settings) -> Option<String> {
    let (budget, bytes) = (budget(settings), bytes(view));
    let over = bytes.checked_sub(budget).filter(|over| *over > 0)?;
    let least = least_bytes(view);
    let advice = if settings.code != CodeChoice::Auto {
        "; code \"auto\" chooses codes by it".to_owned()
    } else if least > budget {
        format!("; no codes take less than {least} bytes: give {bytes}, or {least} and compact")
    } else {
        format!("; compact in a writer with this budget, or give {bytes}")
    };
    Some(format!(
        "searches read {bytes} bytes all over, {over} more than serving_budget ({budget}){advice}"
    ))
}

/// Whether codes of a segment were chosen by more memory than it may have now, and it takes more.
pub(super) fn wants_smaller(view: &View, segment: &Segment, settings: &Settings) -> bool {
    let Some(share) = share(settings, segment.len() as u64, view.len() as u64) else {
        return false;
    };
    let chosen_by = segment.chosen_by().unwrap_or(u64::MAX);
    segment.serving_bytes() > share && chosen_by > share && bytes(view) > budget(settings)
}

/// Refuses to open a collection for whose rows the memory cannot do.
pub(super) fn check(core: &Core) -> Result<()> {
    let (settings, view) = (&core.host.settings, core.slot.load());
    let (budget, name) = (budget(settings), core.name());
    let least = least_bytes(&view);
    if !core.host.read_only && settings.code == CodeChoice::Auto && least > budget {
        return Err(Error::invalid(format!(
            "serving_budget is {budget} bytes, but no codes of the {} rows of collection {name:?} take less \
             than {least} with graphs and ids; give that at least, or none for no limit",
            view.len()
        )));
    }
    let bytes = bytes(&view);
    if settings.memory == Memory::Ram && bytes > budget {
        return Err(Error::invalid(format!(
            "memory is \"ram\" and serving_budget {budget} bytes, but searches of collection {name:?} read \
             {bytes} bytes all over; give that at least, or open with memory \"mmap\" and compact, which \
             chooses codes by the budget"
        )));
    }
    Ok(())
}

/// Holds what searches read of the newest state, as far as the budget has room: of all segments what they read all
/// over first; where a budget is given, vectors and sketches then.
pub(super) fn hold(core: &Core) -> Result<()> {
    let settings = &core.host.settings;
    if settings.memory != Memory::Ram {
        return Ok(());
    }
    let _holding = core.holding.lock().unwrap_or_else(PoisonError::into_inner);
    let view = core.slot.load_full();
    let all = || Hot::ALL.into_iter().flat_map(|hot| segments(&view).map(move |one| (hot, one)));
    let parameters: u64 = segments(&view).map(Segment::parameter_bytes).sum();
    let held: u64 = all().map(|(hot, segment)| segment.held_bytes(hot)).sum();
    let mut room = budget(settings).saturating_sub(parameters).saturating_sub(held);
    for read in [true, false] {
        // Vectors that are read here and there are held where somebody has said how much room there is.
        let kinds = all().filter(|(hot, segment)| {
            segment.is_served_by(*hot) == read
                && (read || *hot != Hot::Vectors || settings.serving_budget.is_some())
        });
        for (hot, segment) in kinds {
            room = room.saturating_sub(segment.hold(hot, room)?);
        }
    }
    Ok(())
}

/// [`hold`] after segments were written: what cannot be read stays mapped, and whoever reads it is told.
pub(super) fn hold_new(core: &Core) {
    drop(hold(core));
}
