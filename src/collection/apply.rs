//! What an operation does to a view: a private copy in the write path, the state being rebuilt in
//! recovery. Knows no lock and no file.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

use super::embed::Candidate;
use super::op::{self, Op};
use super::options::{Schema, validate_new_column};
use super::snapshot::{PartView, Place, View};
use super::work::Work;
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::memtable::{Batch, Chunk, Source};
use crate::segment::part::Part;
use crate::storage::wal::Payload;
use crate::text::options::TextOptions;
use crate::types::naming::wrong_kind_of_id;
use crate::types::{Column, IdRef, IdType, Ids, Row};

/// Small chunks are merged up to this many bytes, so that single-row writes do not leave a part
/// each.
const MERGE_BYTES: usize = 1 << 20;
/// Chunks that are merged into one.
const FAN_IN: usize = 8;
/// Ids listed in a `DuplicateId` error.
const LISTED_IDS: usize = 100;
/// Largest operation that one log frame may carry.
pub(crate) const MAX_OP_BYTES: usize = 256 << 20;

/// Applies one operation to `view` and adds its log records, of which a crash leaves all or none; after an
/// error both are void.
pub(crate) fn apply(view: &mut View, work: Work, log: &mut Vec<Payload>) -> Result<u64> {
    let logged = log.len();
    let count = run(view, work, log)?;
    op::join(&mut log[logged..]);
    Ok(count)
}

fn run(view: &mut View, work: Work, log: &mut Vec<Payload>) -> Result<u64> {
    match work {
        Work::Add(rows) => {
            let ids = rows.ids.to_ids();
            refuse_known(view, &ids)?;
            upsert(view, rows, Some(log))
        }
        Work::Upsert(rows) => upsert(view, rows, Some(log)),
        Work::Update { ids, attributes } => update(view, &ids, attributes, Some(log)),
        Work::Delete(ids) => delete(view, &ids, Some(log)),
        Work::DeleteWhere(filter) => {
            let (places, ids) = view.found(&filter)?;
            if places.is_empty() {
                return Ok(0);
            }
            record(view, &Op::Delete(ids), Some(log))?;
            Ok(kill(view, places.into_iter()))
        }
        Work::UpdateWhere { filter, values } => {
            let (_, ids) = view.found(&filter)?;
            // The values of each row are logged.
            let bytes = columns::size_bytes(&values).saturating_mul(ids.len());
            if bytes > MAX_OP_BYTES {
                return Err(too_large(&format!("{} rows, {bytes} bytes", ids.len())));
            }
            let values = columns::take(&values, &vec![0; ids.len()])?;
            update(view, &ids, values, Some(log))
        }
        Work::AddColumns(added) => add_columns(view, &added, log),
        Work::Widen { columns, work } => {
            let (before, logged) = (view.clone(), log.len());
            add_columns(view, &columns, log)?;
            let count = run(view, *work, log)?;
            if count == 0 {
                *view = before;
                log.truncate(logged);
            }
            Ok(count)
        }
        Work::IndexText { column, options } => index_text(view, &column, options, log),
        Work::Remember(candidate) => remember(view, &candidate, log),
    }
}

/// The records of an operation, or none when they are what it was read from.
type Log<'a> = Option<&'a mut Vec<Payload>>;

fn record(view: &mut View, op: &Op, log: Log<'_>) -> Result<()> {
    if let Some(log) = log {
        let payload = op.encode(view.schema.space())?;
        if payload.len() > MAX_OP_BYTES {
            return Err(too_large(&format!("{} bytes", payload.len())));
        }
        log.push(payload);
    }
    view.seq += 1;
    Ok(())
}

/// Where the rows of `ids` are that are to be changed.
fn locate(view: &mut View, ids: &Ids<'_>, log: &Log<'_>) -> Result<Vec<Option<Place>>> {
    if log.is_some() { view.locate_latest(ids) } else { view.locate_logged(ids) }
}

fn too_large(size: &str) -> Error {
    Error::invalid(format!(
        "one write of {size}; at most {MAX_OP_BYTES} bytes fit in one: use several, a narrower filter \
         where one chose the rows, or import"
    ))
}

fn require_id_type(view: &View, given: IdType) -> Result<()> {
    match view.schema.id_type() {
        Some(expected) if expected != given => Err(wrong_kind_of_id(expected, given)),
        _ => Ok(()),
    }
}

pub(crate) fn refuse_known(view: &View, ids: &Ids<'_>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    require_id_type(view, ids.id_type())?;
    let places = view.locate_latest(ids)?;
    let mut seen = std::collections::HashSet::new();
    let twice = ids.iter().filter(|id| !seen.insert(*id));
    let known = places.iter().enumerate().filter(|(_, place)| place.is_some());
    let known = known.map(|(index, _)| ids.at(index));
    no_duplicate(known.chain(twice).collect())
}

/// `DuplicateId` with the first of `duplicates`, if there is one.
pub(crate) fn no_duplicate(duplicates: BTreeSet<IdRef<'_>>) -> Result<()> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let ids = duplicates.into_iter().take(LISTED_IDS).map(IdRef::to_id).collect();
    Err(Error::DuplicateId { ids })
}

fn upsert(view: &mut View, rows: Batch, mut log: Log<'_>) -> Result<u64> {
    if rows.ids.len() == 0 {
        return Ok(0);
    }
    let ids = rows.ids.to_ids();
    require_id_type(view, ids.id_type())?;
    let replaced = locate(view, &ids, &log)?;
    if view.schema.id_type().is_none() {
        let mut schema = (*view.schema).clone();
        schema.fix_id_type(ids.id_type());
        record(view, &Op::Schema(schema.clone()), log.as_deref_mut())?;
        view.schema = Arc::new(schema);
    }
    let op = Op::Upsert(rows);
    record(view, &op, log)?;
    let Op::Upsert(rows) = op else { unreachable!("made above") };
    kill(view, replaced.into_iter().flatten());
    let (chunk, shadowed) = Chunk::new(view.schema.space(), rows)?;
    let mut part = PartView::chunk(chunk, view.seq);
    for row in shadowed {
        part.dead.insert(row);
    }
    let written = part.live() as u64;
    view.push_chunk(part)?;
    merge_tail(view)?;
    Ok(written)
}

/// Marks rows dead; how many were alive.
pub(crate) fn kill(view: &mut View, places: impl Iterator<Item = Place>) -> u64 {
    let mut places: Vec<Place> = places.collect();
    places.sort_unstable();
    let mut killed = 0;
    for run in places.chunk_by(|a, b| a.part == b.part) {
        let part = view.part_mut(run[0].part);
        for place in run {
            killed += u64::from(part.dead.insert(place.row));
        }
    }
    killed
}

/// Merges the newest chunks of the active memtable once there are several of about one size, so
/// that there are few of them and each row is copied a bounded number of times. What is large
/// already stays: copying it would cost a writer more than searches gain.
fn merge_tail(view: &mut View) -> Result<()> {
    loop {
        let Some(first) = view.active.len().checked_sub(FAN_IN) else { return Ok(()) };
        let [oldest, .., newest] = &view.active[first..] else { return Ok(()) };
        let bytes: usize = view.active[first..].iter().map(|part| part.part.memory_bytes()).sum();
        if oldest.part.len() > 2 * newest.part.len() || bytes > MERGE_BYTES {
            return Ok(());
        }
        let sources = view.active[first..].iter().map(|part| source(part));
        let (Some(id_type), Some(sources)) =
            (view.schema.id_type(), sources.collect::<Option<Vec<_>>>())
        else {
            return Ok(());
        };
        let (space, schema) = (view.schema.space(), view.schema.arrow());
        let (chunk, _) = Chunk::merge(space, id_type, &sources, &schema)?;
        let serial = newest.serial;
        view.active.truncate(first);
        if chunk.len() > 0 {
            view.push_chunk(PartView::chunk(chunk, serial))?;
        }
    }
}

fn source(part: &PartView) -> Option<Source<'_>> {
    match &part.part {
        Part::Chunk(chunk) => Some((chunk, &part.dead, &part.patch)),
        Part::Segment(_) => None,
    }
}

fn update(
    view: &mut View,
    ids: &Ids<'static>,
    attributes: RecordBatch,
    log: Log<'_>,
) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    require_id_type(view, ids.id_type())?;
    let places = locate(view, ids, &log)?;
    // Of ids given twice the last wins, as in an upsert.
    let mut last = std::collections::BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(place) = place {
            last.insert(*place, index);
        }
    }
    if last.is_empty() {
        return Ok(0);
    }
    record(view, &Op::Update { ids: ids.clone(), attributes: attributes.clone() }, log)?;
    let seq = view.seq;
    let wanted = view.schema.arrow();
    let updated = last.len() as u64;
    let entries: Vec<(Place, usize)> = last.into_iter().collect();
    for run in entries.chunk_by(|a, b| a.0.part == b.0.part) {
        let rows: Vec<u32> = run.iter().map(|(place, _)| place.row).collect();
        let from: Vec<u32> =
            run.iter().map(|(_, index)| row_number(*index)).collect::<Result<_>>()?;
        let part = view.part_mut(run[0].0.part);
        let old = part.attributes(&rows, &wanted)?;
        let given = columns::take(&attributes, &from)?;
        let new: Vec<ArrayRef> = old
            .schema_ref()
            .fields()
            .iter()
            .zip(old.columns())
            .map(|(field, old)| given.column_by_name(field.name()).unwrap_or(old).clone())
            .collect();
        let new = columns::assemble(wanted.clone(), new, rows.len())?;
        let touched = given.schema_ref().fields().iter().map(|field| field.name().clone());
        part.patch = part.patch.with_touched(&rows, &new, seq, Some(touched.collect()))?;
    }
    Ok(updated)
}

fn delete(view: &mut View, ids: &Ids<'static>, log: Log<'_>) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    require_id_type(view, ids.id_type())?;
    let places = locate(view, ids, &log)?;
    if places.iter().all(Option::is_none) {
        return Ok(0);
    }
    record(view, &Op::Delete(ids.clone()), log)?;
    Ok(kill(view, places.into_iter().flatten()))
}

fn add_columns(view: &mut View, added: &[Column], log: &mut Vec<Payload>) -> Result<u64> {
    let Some(schema) = with_columns(&view.schema, added)? else { return Ok(0) };
    let count = schema.columns().len() - view.schema.columns().len();
    record(view, &Op::Schema(schema.clone()), Some(log))?;
    view.schema = Arc::new(schema);
    Ok(count as u64)
}

/// `schema` with those of `added` that it lacks; `None` when it has all of them.
pub(crate) fn with_columns(schema: &Schema, added: &[Column]) -> Result<Option<Schema>> {
    let mut wider = schema.clone();
    for column in added {
        match wider.columns().iter().find(|known| known.name == column.name) {
            Some(known) if known.data_type == column.data_type => {}
            Some(known) => {
                return Err(Error::SchemaMismatch {
                    what: format!("type of column {:?}", column.name),
                    expected: known.data_type.to_string(),
                    given: column.data_type.to_string(),
                });
            }
            None => {
                validate_new_column(column)?;
                wider.push_column(column.clone());
            }
        }
    }
    wider.validate()?;
    Ok((wider.columns().len() > schema.columns().len()).then_some(wider))
}

/// Has a column of texts indexed; 1 when that is new.
fn index_text(
    view: &mut View,
    column: &str,
    options: TextOptions,
    log: &mut Vec<Payload>,
) -> Result<u64> {
    let mut schema = (*view.schema).clone();
    if !schema.set_text(column, options)? {
        return Ok(0);
    }
    schema.validate()?;
    record(view, &Op::Schema(schema.clone()), Some(log))?;
    view.schema = Arc::new(schema);
    Ok(1)
}

/// Remembers an embedder; how many were remembered.
fn remember(view: &mut View, candidate: &Candidate, log: &mut Vec<Payload>) -> Result<u64> {
    let Some(schema) = candidate.join(&view.schema)? else { return Ok(0) };
    record(view, &Op::Schema(schema.clone()), Some(log))?;
    view.schema = Arc::new(schema);
    Ok(1)
}

/// Replays one logged operation; what it says about rows that are gone meanwhile, or whose ids are damaged, is
/// passed over.
pub(crate) fn replay(view: &mut View, op: Op) -> Result<()> {
    let seq = view.seq + 1;
    match op {
        Op::Upsert(rows) => drop(upsert(view, rows, None)?),
        Op::Update { ids, attributes } => drop(update(view, &ids, attributes, None)?),
        Op::Delete(ids) => drop(delete(view, &ids, None)?),
        Op::Schema(schema) => {
            if let Some(schema) = followed_by(&view.schema, schema) {
                view.schema = Arc::new(schema);
            }
        }
    }
    view.seq = seq;
    Ok(())
}

/// What a logged schema makes of the one before; none where that knows more. A manifest may know later
/// columns, or an embedder, already: replay must not take them back.
pub(crate) fn followed_by(before: &Schema, mut logged: Schema) -> Option<Schema> {
    if logged.columns().len() < before.columns().len() {
        return None;
    }
    if let (None, Some(known)) = (logged.embedding(), before.embedding()) {
        logged.set_embedding(known.clone());
    }
    Some(logged)
}

/// The number of a row as stored.
pub(crate) fn row_number(row: usize) -> Result<Row> {
    Row::try_from(row).map_err(|error| Error::invalid(format!("{row} rows at once: {error}")))
}
