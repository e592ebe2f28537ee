//! Merging segments: what to merge (`plan`, pure) and how (`run`).
//!
//! Segments are grouped by size in tiers of factor four; four of one tier become one of the next,
//! so that a row is rewritten once per tier. A segment with many dead rows is rewritten alone. A
//! merged segment gets a graph once its vectors are large enough to pay for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use super::Core;
use super::build;
use super::flush;
use super::options::Settings;
use super::renew;
use super::serving;
use super::snapshot::{PartView, View};
use super::switch::{settle, switch};
use crate::codec::full::Space;
use crate::error::{Error, Result};
use crate::segment::coding;
use crate::span::span;

/// Segments of one tier that are merged together.
const TIER_WIDTH: usize = 4;
/// Dead rows of a segment, in percent, from which it is rewritten.
const DEAD_PERCENT: u64 = 20;

/// What a [`Collection::compact`](super::Collection::compact) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// Segments before.
    pub segments_before: usize,
    /// Segments after.
    pub segments_after: usize,
    /// Bytes of all files before.
    pub bytes_before: u64,
    /// Bytes of all files after.
    pub bytes_after: u64,
    /// Rows there are.
    pub rows: u64,
}

/// A segment as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: u64,
    pub(crate) live: u64,
    /// Bytes of its live vectors.
    pub(crate) bytes: u64,
    /// Most rows of one segment.
    pub(crate) most: u64,
    pub(crate) graph: bool,
    /// Whether something in it is damaged that a merge makes anew.
    pub(crate) damaged: bool,
    /// Whether rows of it are, so that nobody can copy it.
    pub(crate) broken: bool,
}

/// Segments to be merged into one, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<usize>,
    pub(crate) graph: bool,
}

/// Bytes that a row counts for at least, since a scan spends time on each, however short; but no more
/// than so many times its own, since a graph over a few dimensions gains little.
const LEAST_ROW_BYTES: u64 = 512;
const MOST_TIMES: u64 = 8;

/// Whether a segment of `rows` vectors of `bytes` in all gets a graph.
pub(crate) fn wants_graph(rows: u64, bytes: u64, settings: &Settings) -> bool {
    let counted = rows.saturating_mul(LEAST_ROW_BYTES).min(bytes.saturating_mul(MOST_TIMES));
    bytes.max(counted) >= settings.graph_bytes
}

impl Shape {
    fn lacks_graph(&self, settings: &Settings) -> bool {
        !self.graph && !self.broken && wants_graph(self.live, self.bytes, settings)
    }
}

impl Plan {
    fn of(shapes: &[Shape], inputs: Vec<usize>, settings: &Settings) -> Self {
        let bytes: u64 = inputs.iter().map(|index| shapes[*index].bytes).sum();
        let rows = inputs.iter().map(|index| shapes[*index].live).sum();
        Self { inputs, graph: wants_graph(rows, bytes, settings) }
    }
}

/// The next merge that is due, if any. With `idle`, segments that are large enough get the graph
/// they lack.
pub(crate) fn plan(shapes: &[Shape], settings: &Settings, idle: bool) -> Option<Plan> {
    let dirty = shapes.iter().position(|shape| {
        let many_dead = (shape.rows - shape.live) * 100 >= shape.rows * DEAD_PERCENT;
        !shape.broken && (shape.live == 0 || many_dead || shape.damaged)
    });
    if let Some(index) = dirty {
        return Some(Plan::of(shapes, vec![index], settings));
    }
    let tier = |shape: &Shape| {
        let base = (settings.memtable_bytes as u64 / 2).max(1);
        std::iter::successors(Some(shape.bytes / base), |bytes| Some(bytes / 4))
            .take_while(|bytes| *bytes > 0)
            .count()
    };
    let tiers = shapes.iter().map(tier).max().map_or(0, |highest| highest + 1);
    for wanted in 0..tiers {
        let wanted = |index: &usize| !shapes[*index].broken && tier(&shapes[*index]) == wanted;
        let inputs: Vec<usize> = (0..shapes.len()).filter(wanted).collect();
        if inputs.len() >= TIER_WIDTH {
            let inputs = that_fit(shapes, inputs);
            if inputs.len() > 1 {
                return Some(Plan::of(shapes, inputs, settings));
            }
        }
    }
    if !idle {
        return None;
    }
    let flat = |index: &usize| shapes[*index].lacks_graph(settings);
    let inputs = that_fit(shapes, (0..shapes.len()).filter(flat).collect());
    (!inputs.is_empty()).then(|| Plan::of(shapes, inputs, settings))
}

/// The first of `inputs` that one segment can hold; at least one of them.
fn that_fit(shapes: &[Shape], mut inputs: Vec<usize>) -> Vec<usize> {
    let mut rows = 0;
    let fit = inputs.iter().take_while(|index| {
        rows += shapes[**index].live;
        rows <= shapes[**index].most
    });
    let fit = fit.count().max(1);
    inputs.truncate(fit);
    inputs
}

/// Most rows of one segment: what a graph build may hold within the memory budget.
pub(crate) fn max_rows(space: Space, settings: &Settings) -> u64 {
    let params = build::graph_params(settings);
    let rows = params.memory / (params.least_bytes_per_row() + coding::bytes_to_build(space));
    (rows as u64).clamp(1_000, u64::from(u32::MAX / 2))
}

fn shapes(view: &View, settings: &Settings) -> Vec<Shape> {
    let space = view.schema.space().kept();
    let (stride, most) = (space.stride() as u64, max_rows(space, settings));
    let shape = |part: &Arc<PartView>| Shape {
        rows: part.part.len() as u64,
        live: part.live() as u64,
        bytes: part.live() as u64 * stride,
        most,
        graph: part.part.has_graph(),
        damaged: part.as_segment().is_some_and(|(segment, _)| segment.wants_rewrite()),
        broken: part.is_broken(),
    };
    view.segments.iter().map(shape).collect()
}

/// Whether a merge is due whatever else happens.
pub(crate) fn is_due(view: &View, settings: &Settings) -> bool {
    plan(&shapes(view, settings), settings, false).is_some()
}

/// Live rows that merges have yet to take as [`step`] plans them, and bytes of their vectors: of segments whose
/// merging is due, and of those that lack a graph.
pub(crate) fn debt(view: &View, settings: &Settings) -> (u64, u64) {
    let shapes = shapes(view, settings);
    let owed = owed(shapes.clone(), settings);
    let sum = |of: fn(&Shape) -> u64| owed.iter().map(|index| of(&shapes[*index])).sum();
    (sum(|shape| shape.live), sum(|shape| shape.bytes))
}

/// The segments that merges have yet to take, by index.
fn owed(mut shapes: Vec<Shape>, settings: &Settings) -> Vec<usize> {
    let mut owed = Vec::new();
    while let Some(plan) = plan(&shapes, settings, true) {
        for index in plan.inputs {
            owed.push(index);
            // So that it is in no further plan.
            shapes[index].broken = true;
        }
    }
    owed
}

/// Runs one merge if one is due; returns whether it did.
pub(crate) fn step(core: &Core, idle: bool) -> Result<bool> {
    // What was replayed and perhaps never synced must be in a segment before a manifest says that
    // it was on disk.
    flush::secure(core)?;
    let _compacting = core.compacting.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = &core.host.settings;
    let Some(plan) = plan(&shapes(&core.slot.load(), settings), settings, idle) else {
        return if idle { renew::indexes(core, &core.cancel, false) } else { Ok(false) };
    };
    run(core, &plan, &core.cancel)?;
    settle(core, &mut core.writer())?;
    serving::hold_new(core);
    Ok(true)
}

/// Merges everything into as few segments as the memory budget allows, until `cancel` is set.
pub(crate) fn compact(core: &Core, cancel: &AtomicBool) -> Result<CompactReport> {
    let bytes_before = super::stats::directory_bytes(core)?;
    flush::secure(core)?;
    flush::flush_all(core)?;
    let _compacting = core.compacting.lock().unwrap_or_else(PoisonError::into_inner);
    let before = core.slot.load_full();
    let segments_before = before.segments.len();
    for (segment, _) in before.segments.iter().filter_map(|part| part.as_segment()) {
        segment.check_derived();
    }
    let broken = match all_but_broken(core, cancel) {
        Ok(()) => None,
        Err(error @ Error::Corrupt { .. }) => Some(error),
        Err(error) => return Err(error),
    };
    settle(core, &mut core.writer())?;
    drop(before);
    settle(core, &mut core.writer())?;
    serving::hold_new(core);
    if let Some(error) = broken {
        return Err(error);
    }
    let view = core.slot.load();
    Ok(CompactReport {
        segments_before,
        segments_after: view.segments.len(),
        bytes_before,
        bytes_after: super::stats::directory_bytes(core)?,
        rows: view.len() as u64,
    })
}

/// Merges what can be merged. Segments with damaged rows stay as they are, and are the error once
/// everything else is done.
fn all_but_broken(core: &Core, cancel: &AtomicBool) -> Result<()> {
    let broken = || core.slot.load().segments.iter().filter(|part| part.is_broken()).count();
    loop {
        let (before, known) = (core.slot.load_full(), broken());
        let mut plans = full_plan(&before, &core.host.settings).into_iter().rev();
        let merged = plans.try_for_each(|plan| run(core, &plan, cancel)).and_then(|()| {
            while renew::indexes(core, cancel, true)? {}
            Ok(())
        });
        match merged {
            // Without the segments that turned out to be broken the others merge.
            Err(Error::Corrupt { .. }) if broken() > known => {}
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    let view = core.slot.load();
    let broken = view.segments.iter().filter(|part| part.is_broken());
    broken.filter_map(|part| part.as_segment()).try_for_each(|(segment, _)| segment.check_primary())
}

/// Groups all segments, in order, into runs of at most [`max_rows`] rows; runs that are as they should
/// be are left out. A run's plan names no index that an earlier run's does.
fn full_plan(view: &View, settings: &Settings) -> Vec<Plan> {
    let shapes = shapes(view, settings);
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut rows = 0;
    for (index, shape) in shapes.iter().enumerate().filter(|(_, shape)| !shape.broken) {
        match runs.last_mut() {
            Some(run) if rows + shape.live <= shape.most => run.push(index),
            _ => {
                rows = 0;
                runs.push(vec![index]);
            }
        }
        rows += shape.live;
    }
    let finished = |run: &Vec<usize>| {
        let [only] = run.as_slice() else { return false };
        let shape = shapes[*only];
        let patched = !view.segments[*only].patch.is_empty();
        let whole = !shape.damaged && !shape.lacks_graph(settings);
        let segment = view.segments[*only].as_segment();
        let large =
            segment.is_some_and(|(segment, _)| serving::wants_smaller(view, segment, settings));
        !large && shape.rows == shape.live && !patched && whole
    };
    runs.retain(|run| !finished(run));
    runs.into_iter().map(|run| Plan::of(&shapes, run, settings)).collect()
}

/// The plan that writes a segment of `view` anew by itself.
pub(super) fn rewriting(view: &View, index: usize, settings: &Settings) -> Plan {
    Plan::of(&shapes(view, settings), vec![index], settings)
}

/// Merges the segments of `plan` into one. The caller holds `compacting`.
pub(super) fn run(core: &Core, plan: &Plan, cancel: &AtomicBool) -> Result<()> {
    let Begun { before, inputs, ids } = begin(core, plan)?;
    span!(
        INFO,
        "merge",
        collection = core.name(),
        segments = inputs.len(),
        rows = inputs.iter().map(|part| part.live()).sum::<usize>(),
        graph = plan.graph,
    );
    let built = build::build(core, &before.schema, &inputs, plan.graph, cancel);
    let mut writer = core.writer();
    writer.compacting = None;
    let built = built?;
    if core.cancel.load(Ordering::Acquire) || cancel.load(Ordering::Acquire) {
        if let Some(built) = &built {
            built.discard();
        }
        return Err(Error::Cancelled);
    }
    let mut view = View::clone(&core.slot.load());
    let (merged, kept): (Vec<_>, Vec<_>) = view
        .segments
        .drain(..)
        .partition(|part| part.segment_id().is_some_and(|id| ids.contains(&id)));
    view.segments = kept;
    let mut renewed = None;
    let committed = (|| {
        if let Some(built) = &built {
            writer.written.compaction += built.bytes();
            let at = plan.inputs.first().copied().unwrap_or(0).min(view.segments.len());
            let mut part = built.carry(&merged, before.seq)?;
            // Updates that came meanwhile and that a flush has taken out of the log need a file.
            if part.patch.oldest().is_some_and(|oldest| oldest <= writer.manifest.seq) {
                renewed = build::rewrite_attributes(core, &view.schema, &part)?;
            }
            if let Some(renewed) = &renewed {
                part = renewed.over(&part, view.seq)?;
            }
            view.segments.insert(at, Arc::new(part));
        }
        let (seq, log_start) = (writer.manifest.seq, writer.manifest.log_start);
        switch(core, &mut writer, view, seq, log_start)
    })();
    if let Some(built) = &built {
        if committed.is_ok() && renewed.is_some() {
            built.discard_attributes();
        } else if committed.is_err() && writer.poison.is_none() {
            built.discard();
            renewed.iter().for_each(PartView::discard_attributes);
        }
    }
    committed
}

/// A merge about to run.
struct Begun {
    before: Arc<View>,
    inputs: Vec<Arc<PartView>>,
    ids: Vec<u64>,
}

/// The state to merge from, its inputs and their ids; a flush that runs meanwhile is told of them.
fn begin(core: &Core, plan: &Plan) -> Result<Begun> {
    let mut writer = core.writer();
    writer.check()?;
    let before = core.slot.load_full();
    let inputs: Vec<Arc<PartView>> =
        plan.inputs.iter().filter_map(|index| before.segments.get(*index).cloned()).collect();
    let ids: Vec<u64> = inputs.iter().filter_map(|part| part.segment_id()).collect();
    writer.compacting = Some((ids.clone(), before.seq));
    Ok(Begun { before, inputs, ids })
}

impl PartView {
    /// Whether it is a segment of which rows are known to be damaged.
    pub(crate) fn is_broken(&self) -> bool {
        self.as_segment().is_some_and(|(segment, _)| segment.is_broken())
    }

    pub(crate) fn segment_id(&self) -> Option<u64> {
        self.as_segment().map(|(segment, _)| segment.number())
    }

    /// Removes its attribute file once nobody uses it any more.
    pub(crate) fn discard_attributes(&self) {
        if let Some(attributes) =
            self.as_segment().and_then(|(segment, _)| segment.attribute_file())
        {
            attributes.mark_obsolete();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::options::Schema;
    use crate::types::{Metric, Raw};

    fn shape(mib: u64, dead_percent: u64, graph: bool) -> Shape {
        let rows = mib * 1_000;
        let live = rows - rows * dead_percent / 100;
        let space = Schema::new(2, Metric::L2).space();
        let most = max_rows(space, &Settings::default());
        Shape { rows, live, bytes: mib << 20, most, graph, damaged: false, broken: false }
    }

    #[test]
    fn four_segments_of_a_size_are_merged_and_three_are_not() {
        let settings = Settings::default();
        let mut shapes = vec![shape(64, 0, false); 3];
        assert_eq!(plan(&shapes, &settings, false), None);
        shapes.push(shape(64, 0, false));
        let due = plan(&shapes, &settings, false);
        assert_eq!(due, Some(Plan { inputs: vec![0, 1, 2, 3], graph: true }));
    }

    #[test]
    fn more_segments_than_one_can_hold_are_merged_as_many_as_fit() {
        let settings = Settings::default();
        let shape = Shape { rows: 125_000, live: 125_000, ..shape(64, 0, false) };
        for count in [14, 100] {
            let shapes = vec![shape; count];
            for idle in [false, true] {
                let due = plan(&shapes, &settings, idle).expect("far too many");
                let rows = due.inputs.len() as u64 * shape.live;
                assert!(due.inputs.len() > 4 && rows <= shape.most, "{due:?}");
            }
        }
        let large = vec![Shape { rows: 1_600_000, live: 1_600_000, ..shape }; 6];
        assert_eq!(plan(&large, &settings, false), None);
        assert_eq!(plan(&large, &settings, true).map(|due| due.inputs), Some(vec![0]));
    }

    #[test]
    fn codes_that_are_made_for_a_build_take_of_its_memory() {
        let settings = Settings::default();
        let rows = |raw| {
            let schema = Schema::new(768, Metric::L2).with_raw(raw);
            max_rows(schema.space().kept(), &settings)
        };
        let least = build::graph_params(&settings).least_bytes_per_row() as u64;
        assert_eq!(rows(Raw::F16), rows(Raw::F32));
        // Four bits an element.
        assert_eq!(rows(Raw::None), rows(Raw::F32) * least / (least + 384));
    }

    #[test]
    fn each_segment_that_merges_have_yet_to_take_is_owed_once() {
        let owed = |shapes: &[Shape]| {
            let mut owed = owed(shapes.to_vec(), &Settings::default());
            owed.sort_unstable();
            owed
        };
        let (flat, graph) = (shape(64, 0, false), shape(64, 0, true));
        assert_eq!(owed(&[]), [0; 0]);
        assert_eq!(owed(&[graph, shape(1, 0, false)]), [0; 0]);
        assert_eq!(owed(&[graph, flat, shape(200, 30, true)]), [1, 2]);
        assert_eq!(owed(&[flat, graph, flat, graph, shape(300, 0, true)]), [0, 1, 2, 3]);
        assert_eq!(owed(&[Shape { broken: true, ..flat }]), [0; 0]);
    }

    #[test]
    fn a_segment_with_a_fifth_of_its_rows_dead_is_rewritten_alone() {
        let shapes = [shape(200, 0, true), shape(64, 20, true), shape(64, 19, true)];
        let due = plan(&shapes, &Settings::default(), false);
        assert_eq!(due.map(|plan| plan.inputs), Some(vec![1]));
    }

    #[test]
    fn a_large_flat_segment_gets_its_graph_when_nobody_writes() {
        let shapes = [shape(300, 0, true), shape(64, 0, false), shape(2, 0, false)];
        assert_eq!(plan(&shapes, &Settings::default(), false), None);
        let due = plan(&shapes, &Settings::default(), true);
        assert_eq!(due, Some(Plan { inputs: vec![1], graph: true }));
        // Short vectors count for more than their bytes.
        let short = |rows, bytes| Shape { rows, live: rows, bytes, ..shape(0, 0, false) };
        let tiny = short(400_000, 400_000 * 4);
        assert!(!tiny.lacks_graph(&Settings::default()), "a number a row");
        let short = |rows| short(rows, rows * 200);
        assert_eq!(plan(&[short(32_767)], &Settings::default(), true), None);
        assert!(plan(&[short(32_768)], &Settings::default(), true).is_some());
    }
}
