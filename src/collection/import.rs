//! Bulk import: rows go straight into segments, without the log, and appear all at once.
//!
//! The files of an import belong to no manifest until the last row is in; whatever interrupts it
//! leaves nothing behind but files that the next opening sweeps.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use arrow_array::RecordBatch;

use super::apply::{self, row_number};
use super::build::{Sink, until};
use super::options::Schema;
use super::snapshot::{PartView, View};
use super::switch::{settle, switch};
use super::write::Writer;
use super::{Collection, Core, check_ids, compact, flush, prepare_rows, serving};
use crate::bytes::AlignedBytes;
use crate::codec::full;
use crate::error::{Error, Result, element};
use crate::segment::columns;
use crate::segment::memtable::Batch;
use crate::span::span;
use crate::types::naming::wrong_kind_of_id;
use crate::types::{Column, IdType, Ids, Row, Vectors};

/// Rejected rows that a report lists.
const LISTED: usize = 1_000;

/// Some rows of a source, ready to be stored.
///
/// `ids`, `vectors` and `attributes` hold the good rows only, in source order: row `i` has id
/// `ids.at(i)`, the `i`-th vector of `vectors`, row `i` of `attributes`
/// and stood at `source_rows[i]` in the source. Rows that cannot be stored are in `rejected`.
#[derive(Clone, Debug)]
pub struct ImportBatch {
    /// One id a row.
    pub ids: Ids<'static>,
    /// Row-major vectors, all of one dimension.
    pub vectors: Vectors<'static>,
    /// One row of attributes a row; none when the source has no attribute column.
    pub attributes: Option<RecordBatch>,
    /// Where each row stood in the source, from 0.
    pub source_rows: Vec<u64>,
    /// The rows of this stretch of the source that are left out.
    pub rejected: Vec<Rejected>,
}

impl ImportBatch {
    /// How many rows are to be stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no row is to be stored (there may still be rejected ones).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A row of a source that was not stored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where the row stood in the source, from 0.
    pub row: u64,
    /// What is wrong with it, in words.
    pub reason: String,
}

/// What an import does with a row that cannot be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnBad {
    /// Fails, naming the row; nothing is stored.
    #[default]
    Raise,
    /// Leaves the row out and reports it.
    Skip,
}

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading and storing rows.
    Reading,
    /// Building the graph of a segment.
    Indexing,
    /// Making everything durable and visible.
    Committing,
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Rows stored so far.
    pub rows: u64,
}

/// How to import.
#[derive(Default)]
#[must_use]
pub struct ImportOptions<'a> {
    on_bad: OnBad,
    only_new: bool,
    columns: Vec<Column>,
    progress: Option<Box<dyn FnMut(Progress) -> bool + 'a>>,
    cancel: Option<Arc<AtomicBool>>,
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions").field("on_bad", &self.on_bad).finish_non_exhaustive()
    }
}

impl<'a> ImportOptions<'a> {
    /// Fails at the first bad row, reports no progress.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do with rows that cannot be stored.
    pub fn on_bad(mut self, on_bad: OnBad) -> Self {
        self.on_bad = on_bad;
        self
    }

    /// Refuses ids that exist, or stand in the source twice, with `DuplicateId`, as
    /// [`Collection::add`] does. Default false: rows replace those of the same ids.
    pub fn only_new(mut self, only_new: bool) -> Self {
        self.only_new = only_new;
        self
    }

    /// Adds those of these columns that the collection lacks, at the moment at which the rows
    /// appear: an import that fails adds none.
    pub fn columns(mut self, columns: impl IntoIterator<Item = Column>) -> Self {
        self.columns = columns.into_iter().collect();
        self
    }

    /// Called after every batch and at every phase; an import whose callback returns false ends
    /// with `Cancelled` and stores nothing.
    pub fn progress(mut self, callback: impl FnMut(Progress) -> bool + 'a) -> Self {
        self.progress = Some(Box::new(callback));
        self
    }

    /// Ends the import with `Cancelled` soon after this is set, also while a graph is built.
    pub fn cancel(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancel = Some(flag);
        self
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Rows stored; of an id that stands in the source twice, one.
    pub rows: u64,
    /// Rows that had been there under the same ids.
    pub replaced: u64,
    /// Rows left out.
    pub rejected_rows: u64,
    /// The first thousand of them.
    pub rejected: Vec<Rejected>,
}

impl Collection {
    /// Stores all rows of `source`, as an upsert of each would but without the log: nothing is
    /// visible before the end, then everything at once and durably. Memory stays within
    /// [`Settings::memory_budget`](crate::Settings::memory_budget) however long the source is.
    ///
    /// # Errors
    /// The source's own; for the first bad row under [`OnBad::Raise`] `InvalidVector`, with its place in
    /// the source, or `InvalidArgument`; `Cancelled`; `NotFound` for an unknown column, `SchemaMismatch`; `Full`, `Io`, `Poisoned`,
    /// `DuplicateId` under [`ImportOptions::only_new`]; `ReadOnly`, `Closed`, `Forked`. Nothing is
    /// stored then.
    pub fn import(
        &self,
        source: impl IntoIterator<Item = Result<ImportBatch>>,
        options: ImportOptions<'_>,
    ) -> Result<ImportReport> {
        let core = self.writable()?;
        span!(INFO, "import", collection = core.name());
        core.writer().check()?;
        let schema = core.slot.load().schema.clone();
        let schema = apply::with_columns(&schema, &options.columns)?.map_or(schema, Arc::new);
        let mut import = Import::new(core, schema, options);
        for batch in source {
            import.push(batch?)?;
        }
        let report = import.commit()?;
        core.meters.wrote();
        Ok(report)
    }
}

/// An import under way.
pub(super) struct Import<'a> {
    core: &'a Core,
    schema: Arc<Schema>,
    options: ImportOptions<'a>,
    id_type: Option<IdType>,
    sink: Option<Sink>,
    finished: Vec<PartView>,
    /// Numbers of the segments begun.
    numbers: Vec<u64>,
    stored: u64,
    report: ImportReport,
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        for (segment, _) in self.finished.iter().filter_map(PartView::as_segment) {
            segment.mark_obsolete();
        }
        self.core.importing().retain(|number| !self.numbers.contains(number));
    }
}

impl<'a> Import<'a> {
    pub(super) fn new(core: &'a Core, schema: Arc<Schema>, options: ImportOptions<'a>) -> Self {
        let id_type = schema.id_type();
        let report = ImportReport::default();
        let (sink, finished, numbers) = Default::default();
        Self { core, schema, options, id_type, sink, finished, numbers, stored: 0, report }
    }

    fn push(&mut self, mut batch: ImportBatch) -> Result<()> {
        for rejected in std::mem::take(&mut batch.rejected) {
            self.reject(rejected)?;
        }
        if !batch.is_empty() {
            let rows = self.prepare(&batch)?;
            if rows.ids.len() > 0 {
                self.store(&rows)?;
            }
        }
        self.tell(Phase::Reading)
    }

    fn tell(&mut self, phase: Phase) -> Result<()> {
        let progress = Progress { phase, rows: self.stored };
        let goes_on = self.options.progress.as_mut().is_none_or(|tell| tell(progress));
        let cancelled =
            self.options.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
        if !goes_on || cancelled || self.core.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    fn reject(&mut self, rejected: Rejected) -> Result<()> {
        if self.options.on_bad == OnBad::Raise {
            return Err(bad_row(rejected.row, &rejected.reason));
        }
        self.report.rejected_rows += 1;
        if self.report.rejected.len() < LISTED {
            self.report.rejected.push(rejected);
        }
        Ok(())
    }

    /// Encodes a batch; rows whose vectors or ids are bad are rejected one by one.
    fn prepare(&mut self, batch: &ImportBatch) -> Result<Batch> {
        let given = batch.ids.id_type();
        let expected = *self.id_type.get_or_insert(given);
        if expected != given {
            return Err(wrong_kind_of_id(expected, given));
        }
        if self.options.on_bad == OnBad::Raise {
            check_ids(&batch.ids, |row| place(batch, row))?;
        }
        match prepare_rows(
            &self.schema,
            &batch.ids,
            &batch.vectors,
            batch.attributes.as_ref(),
            AlignedBytes::zeroed,
            &|row| place(batch, row),
        ) {
            Err(Error::InvalidVector { row, column, value, expected })
                if self.options.on_bad == OnBad::Raise =>
            {
                let row = usize::try_from(place(batch, row)).unwrap_or(usize::MAX);
                Err(Error::InvalidVector { row, column, value, expected })
            }
            Err(Error::InvalidVector { .. } | Error::InvalidArgument(_)) => {
                self.prepare_singly(batch)
            }
            other => other,
        }
    }

    fn prepare_singly(&mut self, batch: &ImportBatch) -> Result<Batch> {
        let space = self.schema.space();
        let width = space.elements();
        let mut good: Vec<Row> = Vec::new();
        for row in 0..batch.len() {
            let ids = one_id(&batch.ids, row);
            let Some(vector) = batch.vectors.get(row * width..(row + 1) * width) else {
                let given = batch.vectors.len().saturating_sub(row * width);
                return Err(full::wrong_length(space, batch.vectors.element_type(), row, given));
            };
            let here = |_| place(batch, row);
            match prepare_rows(&self.schema, &ids, &vector, None, AlignedBytes::zeroed, &here) {
                Ok(_) => good.push(row_number(row)?),
                Err(error) => {
                    self.reject(Rejected { row: place(batch, row), reason: reason(&error) })?;
                }
            }
        }
        let ids = pick_ids(&batch.ids, &good);
        let vectors = batch.vectors.gather(good.iter().map(|row| *row as usize), width);
        let attributes =
            batch.attributes.as_ref().map(|batch| columns::take(batch, &good)).transpose()?;
        let there = |row: usize| good.get(row).map_or(0, |row| place(batch, *row as usize));
        prepare_rows(
            &self.schema,
            &ids,
            &vectors,
            attributes.as_ref(),
            AlignedBytes::zeroed,
            &there,
        )
    }

    /// Of the collection as it will be.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Takes rows in the form in which they are kept.
    pub(super) fn store(&mut self, rows: &Batch) -> Result<()> {
        if self.options.only_new {
            // Most are found here, before much is built; the rest when all is.
            apply::refuse_known(&self.core.slot.load(), &rows.ids.to_ids())?;
        }
        let limit = compact::max_rows(self.schema.space().kept(), &self.core.host.settings);
        if self.sink.as_ref().is_some_and(|sink| sink.rows() + rows.ids.len() as u64 > limit) {
            self.finish_segment()?;
        }
        if self.sink.is_none() {
            let id_type = rows.ids.id_type();
            let mut importing = self.core.importing();
            let sink = Sink::create(self.core, &self.schema, id_type)?;
            self.numbers.push(sink.number());
            importing.insert(sink.number());
            self.sink = Some(sink);
        }
        if let Some(sink) = &mut self.sink {
            sink.push(rows)?;
            self.stored += rows.ids.len() as u64;
        }
        Ok(())
    }

    fn finish_segment(&mut self) -> Result<()> {
        let Some(sink) = self.sink.take() else { return Ok(()) };
        let bytes = sink.rows() * self.schema.space().kept().stride() as u64;
        let graph = compact::wants_graph(sink.rows(), bytes, &self.core.host.settings);
        if graph {
            self.tell(Phase::Indexing)?;
        }
        let cancel = self.options.cancel.clone().unwrap_or_else(|| self.core.cancel.clone());
        let all = self.core.slot.load().len() as u64 + self.stored;
        self.finished.push(sink.finish(self.core, graph, all, &until(self.core, &cancel))?);
        Ok(())
    }

    /// Makes all rows durable and visible.
    pub(super) fn commit(mut self) -> Result<ImportReport> {
        self.finish_segment()?;
        self.tell(Phase::Committing)?;
        if self.finished.is_empty() {
            return Ok(std::mem::take(&mut self.report));
        }
        let core = self.core;
        flush::flush_all(core)?;
        let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = core.writer();
        // What was written since goes into a segment of its own first: the rows of the import
        // must come after it, and the log cannot say so.
        flush::flush_locked(core, &mut writer)?;
        let view = self.merged_view(&mut writer)?;
        let seq = view.seq;
        let log_start = writer.roll_log(core)?;
        let committed = switch(core, &mut writer, view, seq, log_start);
        if committed.is_ok() || writer.poison.is_some() {
            // Named by the manifest now, or perhaps.
            self.finished.clear();
        }
        committed?;
        if settle(core, &mut writer).is_err() {
            // The import is durable all the same; it is only that a damaged newest manifest would
            // lead back before it.
        }
        drop(writer);
        serving::hold_new(core);
        core.signals.rebuilt();
        Ok(std::mem::take(&mut self.report))
    }

    /// The state with the imported segments, rows of the same ids dead.
    fn merged_view(&mut self, writer: &mut Writer) -> Result<View> {
        let mut view = View::clone(&self.core.slot.load());
        if let Some(schema) = apply::with_columns(&view.schema, &self.options.columns)? {
            view.schema = Arc::new(schema);
        }
        if let Some(given) = self.id_type {
            let mut schema = (*view.schema).clone();
            match schema.id_type() {
                Some(expected) if expected != given => {
                    return Err(wrong_kind_of_id(expected, given));
                }
                _ => schema.fix_id_type(given),
            }
            view.schema = Arc::new(schema);
        }
        for (index, part) in self.finished.iter().enumerate() {
            let replaced = kill_replaced(&mut view, part, self.options.only_new)?;
            // Rows of this import that a later part of it replaces were not there before.
            let own = view.segments.len() - index..view.segments.len();
            self.report.replaced +=
                replaced.iter().filter(|part| !own.contains(*part)).count() as u64;
            view.segments.push(Arc::new(part.clone()));
            if let Some((segment, _)) = part.as_segment() {
                writer.written.import += segment.file_bytes();
            }
        }
        let imported = &view.segments[view.segments.len() - self.finished.len()..];
        self.report.rows = imported.iter().map(|part| part.live() as u64).sum();
        view.seq += 1;
        Ok(view)
    }
}

/// Marks the rows dead whose ids the live rows of `part` have; returns the parts they were in. With
/// `only_new` there must be none, and no id twice in `part`.
fn kill_replaced(view: &mut View, part: &PartView, only_new: bool) -> Result<Vec<usize>> {
    let mut places = Vec::new();
    let mut known = BTreeSet::new();
    if only_new {
        for row in part.dead.iter() {
            known.insert(part.part.id_ref(row)?);
        }
    }
    if view.len() > 0 {
        for row in 0..row_number(part.part.len())? {
            if part.dead.contains(row) {
                continue;
            }
            let id = part.part.id_ref(row)?;
            if let Some(place) = view.locate(id)? {
                places.push(place);
                if only_new {
                    known.insert(id);
                }
            }
        }
    }
    apply::no_duplicate(known)?;
    let parts = places.iter().map(|place| place.part).collect();
    apply::kill(view, places.into_iter());
    Ok(parts)
}

/// Where a row of a batch stood in the source.
fn place(batch: &ImportBatch, row: usize) -> u64 {
    batch.source_rows.get(row).copied().unwrap_or(row as u64)
}

/// The error of a single row, without the row number of the batch of one.
fn reason(error: &Error) -> String {
    match error {
        Error::InvalidVector { column, value, expected, .. } => {
            no_vector(*column, *value, expected)
        }
        other => other.to_string(),
    }
}

/// What is wrong with a vector, whichever row it is of.
pub(crate) fn no_vector(column: usize, value: f32, expected: &str) -> String {
    format!("{} in dimension {column}; {expected}", element(value))
}

/// The error of a row of a source from which rows may be left out.
pub(crate) fn bad_row(row: u64, reason: &str) -> Error {
    Error::invalid(format!(
        "row {row} cannot be stored: {reason}; mend the source, or skip bad rows"
    ))
}

fn one_id(ids: &Ids<'static>, row: usize) -> Ids<'static> {
    pick_ids(ids, &[Row::try_from(row).unwrap_or(Row::MAX)])
}

fn pick_ids(ids: &Ids<'static>, rows: &[Row]) -> Ids<'static> {
    match ids {
        Ids::U64(ids) => Ids::U64(rows.iter().map(|row| ids[*row as usize]).collect()),
        Ids::Utf8(ids) => Ids::Utf8(rows.iter().map(|row| ids[*row as usize].clone()).collect()),
    }
}
