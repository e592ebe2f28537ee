//! Writing segments: from parts of the collection (flush, merge) or from a stream (import).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Core;
use super::options::{Schema, Settings};
use super::serving;
use super::snapshot::PartView;
use crate::codec::product::Crew;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::Segment;
use crate::segment::attributes::{AttributeFile, AttributeWriter};
use crate::segment::layout::{self, SegmentMeta};
use crate::segment::linking::until_no;
use crate::segment::memtable::Batch;
use crate::segment::part::RowMap;
use crate::segment::writer::{BitPlan, GraphParams, GraphPlan, IndexPlan, SegmentWriter};
use crate::sync::{Bug, is_seeded};
use crate::types::{CodeChoice, IdType};

/// Seed of every graph: the same rows give the same graph, in the same memory.
const SEED: u64 = 0x6e65_6172_6669_656c;

/// How graphs are built. What else an import holds, and what is freed and not given back, takes the rest.
pub(super) fn graph_params(settings: &Settings) -> GraphParams {
    GraphParams {
        m: settings.m,
        ef_construction: settings.ef_construction,
        seed: SEED,
        memory: settings.memory_budget / 8 * 5,
    }
}

/// A segment being written.
#[derive(Debug)]
pub(crate) struct Sink {
    number: u64,
    schema: Arc<Schema>,
    id_type: IdType,
    writer: SegmentWriter,
    attributes: Option<AttributeWriter>,
}

impl Sink {
    pub(crate) fn create(core: &Core, schema: &Arc<Schema>, id_type: IdType) -> Result<Self> {
        core.check()?;
        let number = core.file_number();
        let disk = &core.disk;
        let space = schema.space();
        let writer = SegmentWriter::create(disk, &core.dir, core.store, number, space, id_type)?;
        let attributes = attribute_writer(core, schema, number, None)?;
        Ok(Self { number, schema: schema.clone(), id_type, writer, attributes })
    }

    /// Number of the segment.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn rows(&self) -> u64 {
        self.writer.rows() as u64
    }

    /// Appends rows that are in no part.
    pub(crate) fn push(&mut self, rows: &Batch) -> Result<()> {
        self.writer.push(&rows.ids, rows.vectors.as_slice(), &rows.inverse_norms)?;
        match &mut self.attributes {
            Some(attributes) => attributes.push(&rows.attributes),
            None => Ok(()),
        }
    }

    /// Appends the live rows of a part with their updates; where they went.
    fn push_part(&mut self, part: &PartView) -> Result<RowMap> {
        let map = self.writer.push_part(&part.part, &part.dead)?;
        if let Some(attributes) = &mut self.attributes {
            attributes.push_part(&part.part, &part.dead, &part.patch)?;
        }
        Ok(map)
    }

    /// Completes and opens the segment; rows whose id a later row repeats are dead in it. It is one of a collection
    /// of `all` rows or more. `Cancelled` when `keep_going` says no.
    pub(crate) fn finish(
        self,
        core: &Core,
        graph: bool,
        all: u64,
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Result<PartView> {
        let (settings, keep_going) = (&core.host.settings, &until_no(keep_going));
        // Threads are started for those alone who have work for them.
        let share = serving::share(settings, self.rows(), all);
        let busy = graph || share.is_some() || matches!(settings.code, CodeChoice::Product { .. });
        let pool = if busy { Some(core.host.pool()?) } else { None };
        let plan = match pool {
            Some(pool) if graph => Some(GraphPlan {
                params: graph_params(settings),
                code: settings.code,
                share,
                isa: core.host.isa,
                pool,
                keep_going,
            }),
            _ => None,
        };
        let crew = Crew { isa: core.host.isa, pool, keep_going };
        let bits = BitPlan { code: settings.code, share, crew };
        let plan = plan.as_ref().map_or(IndexPlan::Bits(bits), IndexPlan::Graph);
        let finished = self.writer.finish(plan)?;
        let path = core.dir.join(layout::vector_file(self.number));
        let attributes = self.attributes.map(AttributeWriter::finish).transpose();
        let attributes = attributes.inspect_err(|_| {
            // On a full disk, what a failed flush leaves would keep the next one from succeeding.
            let _ = core.disk.remove_file(&path);
        })?;
        let meta = SegmentMeta {
            segment: self.number,
            rows: finished.rows,
            seal: finished.seal,
            attributes,
        };
        let (disk, space) = (&core.disk, self.schema.space());
        let segment = Segment::open(disk, &core.dir, core.store, &meta, space, self.id_type)?;
        segment.read_through().inspect_err(|_| segment.mark_obsolete())?;
        let mut part = PartView::segment(Arc::new(segment), meta);
        for row in finished.shadowed {
            part.dead.insert(row);
        }
        Ok(part)
    }
}

/// A writer of the attributes of `segment`, and of the indexes of its texts; those that are the same in
/// the part before are copied.
fn attribute_writer(
    core: &Core,
    schema: &Schema,
    segment: u64,
    before: Option<&PartView>,
) -> Result<Option<AttributeWriter>> {
    let columns = schema.arrow();
    if columns.fields().is_empty() {
        return Ok(None);
    }
    let generation = core.file_number();
    let disk = &core.disk;
    let writer =
        AttributeWriter::create(disk, &core.dir, core.store, segment, generation, &columns)?;
    #[cfg(feature = "text")]
    let writer = writer.with_texts(super::words::writers(schema, before)?);
    #[cfg(not(feature = "text"))]
    let _ = before;
    Ok(Some(writer))
}

impl PartView {
    /// This segment, whose attributes were written anew, in the place of `old`: with its dead rows
    /// and those of its updates that came after operation `since`.
    pub(crate) fn over(&self, old: &Self, since: u64) -> Result<Self> {
        Ok(Self { dead: old.dead.clone(), patch: old.patch.after(since)?, ..self.clone() })
    }
}

/// A segment made of parts, not yet named by a manifest.
#[derive(Debug)]
pub(crate) struct Built {
    part: PartView,
    /// Of each part: which rows were dead when it was copied, and where the others went.
    sources: Vec<(RowSet, RowMap)>,
}

impl Built {
    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.part.as_segment().map_or(0, |(segment, _)| segment.file_bytes())
    }

    /// The new segment as of now: `now` are the parts it was made of, with the rows that died and
    /// the updates that came (after operation `since`) while it was written.
    pub(crate) fn carry(&self, now: &[Arc<PartView>], since: u64) -> Result<PartView> {
        let mut part = self.part.clone();
        for (source, (dead, map)) in now.iter().zip(&self.sources) {
            for row in source.dead.difference(dead) {
                if let Some(row) = map.at(row)
                    && !is_seeded(Bug::DeletesAreLeft)
                {
                    part.dead.insert(row);
                }
            }
            let newer = source.patch.after(since)?;
            if !newer.is_empty() {
                part.patch = part.patch.joined(&newer.renumbered(|row| map.at(row))?);
            }
        }
        Ok(part)
    }

    /// Removes the attribute file, when it was written anew.
    pub(crate) fn discard_attributes(&self) {
        self.part.discard_attributes();
    }

    /// Removes the files again.
    pub(crate) fn discard(&self) {
        if let Some((segment, _)) = self.part.as_segment() {
            segment.mark_obsolete();
        }
    }
}

/// Says no once `cancel` is set or the collection is being closed.
pub(crate) fn until<'a>(core: &'a Core, cancel: &'a AtomicBool) -> impl Fn() -> bool + Sync + 'a {
    || !cancel.load(Ordering::Relaxed) && !core.cancel.load(Ordering::Relaxed)
}

/// As [`write`], until `cancel` is set or the collection is being closed.
pub(crate) fn build(
    core: &Core,
    schema: &Arc<Schema>,
    parts: &[Arc<PartView>],
    graph: bool,
    cancel: &AtomicBool,
) -> Result<Option<Built>> {
    write(core, schema, parts, graph, &until(core, cancel))
}

/// Writes the live rows of `parts` as one segment; `None` when there is none. `Cancelled` when `keep_going`
/// says no.
pub(crate) fn write(
    core: &Core,
    schema: &Arc<Schema>,
    parts: &[Arc<PartView>],
    graph: bool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Built>> {
    let live: usize = parts.iter().map(|part| part.live()).sum();
    let (Some(id_type), true) = (schema.id_type(), live > 0) else { return Ok(None) };
    let mut sink = Sink::create(core, schema, id_type)?;
    let mut sources = Vec::with_capacity(parts.len());
    for part in parts {
        if !keep_going() {
            return Err(Error::Cancelled);
        }
        sources.push((part.dead.clone(), sink.push_part(part)?));
    }
    let part = sink.finish(core, graph, core.slot.load().len() as u64, keep_going)?;
    Ok(Some(Built { part, sources }))
}

/// Writes the attributes of a segment anew, updates applied.
pub(crate) fn rewrite_attributes(
    core: &Core,
    schema: &Schema,
    part: &PartView,
) -> Result<Option<PartView>> {
    let Some((segment, meta)) = part.as_segment() else { return Ok(None) };
    let Some(mut writer) = attribute_writer(core, schema, meta.segment, Some(part))? else {
        return Ok(None);
    };
    // Dead rows keep their place: the file is addressed by row.
    writer.push_part(&part.part, &RowSet::default(), &part.patch)?;
    let attributes = writer.finish()?;
    let rows = usize::try_from(meta.rows).unwrap_or(usize::MAX);
    let disk = &core.disk;
    let file = AttributeFile::open(disk, &core.dir, core.store, meta.segment, rows, attributes)?;
    let renewed = segment.with_attributes(Some(Arc::new(file)));
    let meta = SegmentMeta { attributes: Some(attributes), ..*meta };
    Ok(Some(PartView::segment(Arc::new(renewed), meta)))
}
