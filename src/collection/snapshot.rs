//! A collection at one moment: segments, frozen memtables and the active memtable, each part with
//! the rows that are dead in it and the attributes that were updated since it was written.
//!
//! A snapshot never changes. A writer makes the next one from it, sharing every part, and puts it
//! into the collection's slot; whoever cloned the old one keeps reading it. Parts are ordered from
//! old to new, so that the newest live row of an id is found last-first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::calibrate::Calibration;
use super::explain::{SearchList, Trace};
use super::hints::Hints;
use super::options::Schema;
use super::row_sets::RowSets;
use crate::bytes::AlignedBytes;
use crate::codec::full;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::layout::SegmentMeta;
use crate::segment::memtable::Chunk;
use crate::segment::part::{Part, live_rows};
use crate::segment::patch::Patch;
use crate::segment::search::{
    Ask, Breadth, Candidate, Isa, SearchOptions, SearchStats, WantedRecall,
};
use crate::segment::{Segment, columns};
use crate::types::{Id, IdRef, Ids, Row, Vectors};

/// One part as a snapshot sees it.
#[derive(Clone, Debug)]
pub(crate) struct PartView {
    pub(crate) part: Part,
    pub(crate) dead: RowSet,
    pub(crate) patch: Patch,
    /// The files of a segment; `None` for a chunk.
    pub(crate) meta: Option<SegmentMeta>,
    /// Sequence number of a chunk's last rows: its name in the hints.
    pub(crate) serial: u64,
    /// What filters have left of it.
    pub(crate) row_sets: RowSets,
}

impl PartView {
    pub(crate) fn chunk(chunk: Chunk, serial: u64) -> Self {
        let part = Part::Chunk(Arc::new(chunk));
        let (dead, patch, row_sets) = Default::default();
        Self { part, dead, patch, meta: None, serial, row_sets }
    }

    pub(crate) fn segment(segment: Arc<Segment>, meta: SegmentMeta) -> Self {
        let part = Part::Segment(segment);
        let (dead, patch, row_sets) = Default::default();
        Self { part, dead, patch, meta: Some(meta), serial: 0, row_sets }
    }

    /// Its segment, unless it is a chunk.
    pub(crate) fn as_segment(&self) -> Option<(&Arc<Segment>, &SegmentMeta)> {
        match (&self.part, &self.meta) {
            (Part::Segment(segment), Some(meta)) => Some((segment, meta)),
            _ => None,
        }
    }

    /// Memory held by rows and updates, without mapped files.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.part.memory_bytes() + self.patch.memory_bytes()
    }

    /// The part of it, and of what segments hold, that is indexes of texts.
    pub(crate) fn text_bytes(&self) -> usize {
        self.part.text_bytes() + self.patch.text_bytes()
    }

    /// Rows that are not dead.
    pub(crate) fn live(&self) -> usize {
        self.part.len() - self.dead.len()
    }

    /// The live row of `id`.
    pub(crate) fn locate(&self, id: IdRef<'_>) -> Result<Option<Row>> {
        Ok(self.part.lookup(id)?.filter(|row| !self.dead.contains(*row)))
    }

    /// Attributes of `rows` in that order, updates applied.
    pub(crate) fn attributes(&self, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        let stored = self.part.attributes(rows, wanted)?;
        self.patch.apply(rows, &stored, wanted)
    }
}

/// A memtable on its way to a segment.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// Last operation it contains.
    pub(crate) seq: u64,
    /// First log file of the operations after it.
    pub(crate) log_next: u64,
    pub(crate) parts: Vec<Arc<PartView>>,
    pub(crate) hints: Arc<Hints>,
}

/// A row of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index of the part, in the order of [`View::parts`].
    pub(crate) part: usize,
    pub(crate) row: Row,
}

/// The state of a collection at one sequence number.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) seq: u64,
    pub(crate) schema: Arc<Schema>,
    pub(crate) segments: Vec<Arc<PartView>>,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) active: Vec<Arc<PartView>>,
    /// Of the active memtable.
    pub(crate) hints: Arc<Hints>,
    /// Whether operations of the log are about rows that damage hides: then the log is kept for them.
    pub(crate) waits: bool,
    /// What was learned from queries.
    pub(crate) calibration: Option<Calibration>,
}

/// What a search is asked for, beside the query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchParams {
    pub(crate) k: usize,
    pub(crate) ef: usize,
    /// As [`SearchOptions::recall`].
    pub(crate) recall: Option<WantedRecall>,
    pub(crate) exact: bool,
    pub(crate) max_distance: f32,
    /// As [`SearchOptions::stable`].
    pub(crate) stable: bool,
    /// As [`SearchOptions::without`].
    pub(crate) without: Option<Place>,
}

impl SearchParams {
    /// For the exact `k` nearest at any distance.
    pub(crate) fn exact(k: usize) -> Self {
        let max_distance = f32::INFINITY;
        let (ef, recall, without) = (1, None, None);
        Self { k, ef, recall, exact: true, max_distance, stable: true, without }
    }

    pub(crate) fn with_recall(self, recall: Option<WantedRecall>) -> Self {
        Self { recall, ..self }
    }
}

/// A hit before its attributes are read.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) distance: f32,
    pub(crate) id: Id,
    pub(crate) place: Place,
}

impl View {
    /// Adds the newest chunk of the active memtable.
    pub(crate) fn push_chunk(&mut self, part: PartView) -> Result<()> {
        let mut hints = self.hints.open();
        #[expect(clippy::cast_possible_truncation, reason = "a chunk has below 2^32 rows")]
        for row in 0..part.part.len() as Row {
            hints.set(part.part.id_ref(row)?, part.serial);
        }
        drop(hints);
        self.active.push(Arc::new(part));
        Ok(())
    }

    /// [`locate_all`](Self::locate_all) for a writer, who asks for many ids and changes them all:
    /// by the hints of the memtables.
    pub(crate) fn locate_latest(&self, ids: &Ids<'_>) -> Result<Vec<Option<Place>>> {
        let mut places = vec![None; ids.len()];
        let mut missing: Vec<usize> = (0..ids.len()).collect();
        let frozen = self.frozen.iter().rev().map(|frozen| (&frozen.parts, &frozen.hints));
        let memtables = std::iter::once((&self.active, &self.hints)).chain(frozen);
        let mut first = self.part_count();
        for (parts, hints) in memtables {
            first -= parts.len();
            if parts.is_empty() {
                continue;
            }
            let hints = hints.open();
            let mut still = Vec::with_capacity(missing.len());
            for index in missing {
                let id = ids.at(index);
                let Some(serial) = hints.get(id) else {
                    still.push(index);
                    continue;
                };
                let hinted = parts.binary_search_by_key(&serial, |part| part.serial).ok();
                let others = (0..parts.len()).rev().filter(|part| Some(*part) != hinted);
                let mut found = None;
                for part in hinted.into_iter().chain(others) {
                    if let Some(row) = parts[part].locate(id)? {
                        found = Some(Place { part: first + part, row });
                        break;
                    }
                }
                match found {
                    Some(place) => places[index] = Some(place),
                    None => still.push(index),
                }
            }
            missing = still;
        }
        locate(self.segments.iter().enumerate().collect(), ids, missing, &mut places)?;
        Ok(places)
    }

    /// [`locate_latest`](Self::locate_latest) for an operation that was logged. A row whose id is damaged by now
    /// counts as gone, and the operation waits for it in the log.
    pub(crate) fn locate_logged(&mut self, ids: &Ids<'_>) -> Result<Vec<Option<Place>>> {
        match self.locate_latest(ids) {
            Err(Error::Corrupt { .. }) => {}
            located => return located,
        }
        let mut places = vec![None; ids.len()];
        let mut hidden: HashMap<IdRef<'_>, Vec<usize>> = HashMap::new();
        for (index, id) in ids.iter().enumerate() {
            match self.locate(id) {
                Ok(place) => places[index] = place,
                Err(Error::Corrupt { .. }) => hidden.entry(id).or_default().push(index),
                Err(error) => return Err(error),
            }
        }
        // An id may be whole itself, and only not be told from a damaged one by the table.
        for (part, view) in self.segments.iter().enumerate().filter(|(_, view)| view.is_broken()) {
            for row in live_rows(view.part.len(), &view.dead) {
                let found = view.part.id_ref(row).ok().and_then(|id| hidden.remove(&id));
                for index in found.into_iter().flatten() {
                    places[index] = Some(Place { part, row });
                }
            }
        }
        self.waits |= !hidden.is_empty();
        Ok(places)
    }

    /// All parts, oldest first.
    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = &Arc<PartView>> {
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.parts.iter());
        self.segments.iter().chain(frozen).chain(self.active.iter())
    }

    /// How many parts there are.
    pub(crate) fn part_count(&self) -> usize {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.parts.len()).sum();
        self.segments.len() + frozen + self.active.len()
    }

    /// The part at `index`, to be changed; shared parts are copied first (their rows are not).
    pub(crate) fn part_mut(&mut self, index: usize) -> &mut PartView {
        let frozen = self.frozen.iter_mut().flat_map(|frozen| frozen.parts.iter_mut());
        let part = self.segments.iter_mut().chain(frozen).chain(self.active.iter_mut()).nth(index);
        match part {
            Some(part) => {
                let part = Arc::make_mut(part);
                part.row_sets = RowSets::default();
                part
            }
            None => unreachable!("a place names a part of its own view"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts().map(|part| part.live()).sum()
    }

    /// Where the live row of `id` is.
    pub(crate) fn locate(&self, id: IdRef<'_>) -> Result<Option<Place>> {
        let count = self.part_count();
        let mut damage = None;
        for (back, part) in self.parts().rev().enumerate() {
            match part.locate(id) {
                Ok(Some(row)) => return Ok(Some(Place { part: count - 1 - back, row })),
                Ok(None) => {}
                Err(error) => damage = damage.or(Some(error)),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// Where the live rows of `ids` are, part by part rather than id by id, so that each part's
    /// table stays in cache.
    pub(crate) fn locate_all(&self, ids: &Ids<'_>) -> Result<Vec<Option<Place>>> {
        let mut places = vec![None; ids.len()];
        let missing = (0..ids.len()).collect();
        locate(self.parts().enumerate().collect(), ids, missing, &mut places)?;
        Ok(places)
    }

    /// For each query the `k` nearest live rows by (distance, id), where `hidden` names for each part
    /// all the rows that do not count, those of them; how each part was searched for all queries, into
    /// `traces`.
    pub(crate) fn search(
        &self,
        isa: Isa,
        queries: &[full::Query],
        params: &SearchParams,
        hidden: Option<&[RowSet]>,
        mut traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Vec<Found>>> {
        let mut stats = SearchStats::default();
        let parts: Vec<&Arc<PartView>> = self.parts().collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(parts[*index].part.len()));
        let SearchParams { k, ef, recall, exact, max_distance, stable, without } = *params;
        let options = SearchOptions::new(isa, k, Breadth::fixed(ef));
        let options = SearchOptions { recall, exact, stable, ..options };
        let ask = |query| Ask { query, max_distance };
        let mut asks: Vec<_> = queries.iter().map(ask).collect();
        let mut found: Vec<Vec<(f32, Place)>> = vec![Vec::new(); queries.len()];
        for index in order {
            let part = parts[index];
            let dead = hidden.and_then(|hidden| hidden.get(index)).unwrap_or(&part.dead);
            let left = part.part.len() - dead.len();
            if left == 0 {
                continue;
            }
            let without = without.filter(|place| place.part == index).map(|place| place.row);
            let options = SearchOptions { without, ..options };
            let start = traces.is_some().then(|| (Instant::now(), stats));
            let candidates = part.part.search(&asks, &options, dead, &mut stats)?;
            if let (Some(traces), Some((start, before))) = (&mut traces, start) {
                traces.push(Trace {
                    list: SearchList::Vector,
                    part: index,
                    matching: hidden.map(|_| left),
                    stats: stats.since(&before),
                    candidates: candidates.iter().map(Vec::len).sum(),
                    time: start.elapsed(),
                    words: None,
                });
            }
            for ((ask, found), candidates) in asks.iter_mut().zip(&mut found).zip(candidates) {
                let of_part = |Candidate { distance, row }| (distance, Place { part: index, row });
                found.extend(candidates.into_iter().map(of_part));
                found.sort_by(|a, b| a.0.total_cmp(&b.0));
                if let Some((worst, _)) = k.checked_sub(1).and_then(|last| found.get(last)) {
                    // Farther rows of the other parts are no hits.
                    ask.max_distance = ask.max_distance.min(*worst);
                    let keep = found.partition_point(|(distance, _)| *distance <= ask.max_distance);
                    found.truncate(keep);
                }
            }
        }
        let name = |found: Vec<(f32, Place)>| {
            let name = |(distance, place): (f32, Place)| {
                let id = parts[place.part].part.id(place.row)?;
                Ok(Found { distance, id, place })
            };
            let mut hits = found.into_iter().map(name).collect::<Result<Vec<_>>>()?;
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
            hits.truncate(k);
            Ok(hits)
        };
        found.into_iter().map(name).collect()
    }

    /// Attributes of rows anywhere in the view, in the order of `places`.
    pub(crate) fn attributes(&self, places: &[Place], wanted: &SchemaRef) -> Result<RecordBatch> {
        let parts: Vec<&Arc<PartView>> = self.parts().collect();
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|index| places[*index].part);
        let mut batches = Vec::new();
        let mut picks = vec![(0, 0); places.len()];
        for run in order.chunk_by(|a, b| places[*a].part == places[*b].part) {
            let rows: Vec<Row> = run.iter().map(|index| places[*index].row).collect();
            for (row, index) in (0..).zip(run) {
                picks[*index] = (batches.len(), row);
            }
            batches.push(parts[places[run[0]].part].attributes(&rows, wanted)?);
        }
        columns::gather(wanted, &batches.iter().collect::<Vec<_>>(), &picks)
    }

    /// Vectors of rows anywhere in the view, row-major, in the type in which they are given.
    pub(crate) fn vectors(&self, places: &[Place]) -> Result<Vectors<'static>> {
        let parts: Vec<&Arc<PartView>> = self.parts().collect();
        let space = self.schema.space();
        let mut bytes = AlignedBytes::zeroed(space.stride() * places.len());
        let rows = bytes.as_mut_slice().chunks_exact_mut(space.stride());
        for (place, row) in places.iter().zip(rows) {
            parts[place.part].part.copy_given(place.row, row)?;
        }
        let rows: Vec<&[u8]> = bytes.as_slice().chunks_exact(space.stride()).collect();
        let vectors = full::unpack_rows(space, &rows);
        Ok(match self.schema.raw() {
            Some(_) => vectors.into_f32(),
            None => vectors,
        })
    }
}

/// Looks for those of `ids` that are `missing` in `parts`, numbered and oldest first. An id has one live
/// row at most: where it is found, a part that cannot tell because it is damaged need not.
fn locate(
    parts: Vec<(usize, &Arc<PartView>)>,
    ids: &Ids<'_>,
    mut missing: Vec<usize>,
    places: &mut [Option<Place>],
) -> Result<()> {
    let (Some(least), Some(most)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(());
    };
    let mut damage = Vec::new();
    for (number, part) in parts.into_iter().rev() {
        if missing.is_empty() || !part.part.overlaps(least, most) {
            continue;
        }
        let mut still = Vec::with_capacity(missing.len());
        for index in missing {
            match part.locate(ids.at(index)) {
                Ok(Some(row)) => places[index] = Some(Place { part: number, row }),
                Ok(None) => still.push(index),
                Err(error) => {
                    damage.push((index, error));
                    still.push(index);
                }
            }
        }
        missing = still;
    }
    let unknown = damage.into_iter().find(|(index, _)| places[*index].is_none());
    unknown.map_or(Ok(()), |(_, error)| Err(error))
}
