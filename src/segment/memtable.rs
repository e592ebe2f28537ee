//! A chunk of the memtable: rows of one or several acknowledged batches, immutable, in memory.
//!
//! The memtable is a list of chunks, merged as it grows. A chunk holds what a segment holds, in
//! the same form, so that both are searched and copied by the same code. Must never know a lock,
//! a log or a policy.

use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use zerocopy::IntoBytes;

use super::columns;
use super::fresh_codes::FreshCodes;
use super::id_table::{self, IdTable};
use super::ids::IdColumn;
use super::part::{RowMap, live_rows, live_runs};
use super::patch::Patch;
use super::search::{self, Ask, SearchOptions, SearchStats, Target};
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::blocks::BlockRows;
use crate::codec::full::{Rows, Space};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::topk::Candidate;
use crate::types::{Column, IdRef, IdType, Metric, Row};

/// A checked batch, in stored form: what [`Chunk::new`] takes.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) ids: IdColumn,
    /// `Space::stride` bytes a row.
    pub(crate) vectors: Arc<AlignedBytes>,
    /// One a row for cosine, none otherwise.
    pub(crate) inverse_norms: Vec<f32>,
    /// Canonical columns of the schema of its time.
    pub(crate) attributes: RecordBatch,
}

/// Rows in memory.
#[derive(Debug)]
pub(crate) struct Chunk {
    space: Space,
    batch: Batch,
    table: IdTable,
    /// Smallest and largest id, as rows; none without rows.
    ends: Option<(Row, Row)>,
    /// Memory held, without `sorted`.
    bytes: usize,
    /// Rows by ascending id, made when first asked for.
    sorted: OnceLock<Vec<Row>>,
    /// Made by searches.
    codes: FreshCodes,
    #[cfg(feature = "text")]
    pub(super) text: crate::text::cell::TextCell,
}

/// A live chunk to merge: with its dead rows and its patch.
pub(crate) type Source<'a> = (&'a Chunk, &'a RowSet, &'a Patch);

impl Chunk {
    /// A chunk of the rows of `batch`; also the rows whose id a later row of the batch repeats,
    /// which the caller counts as dead from the start.
    pub(crate) fn new(space: Space, batch: Batch) -> Result<(Self, Vec<Row>)> {
        let rows = batch.ids.len();
        let norms = if space.metric == Metric::Cosine { rows } else { 0 };
        let vectors = space.stride().checked_mul(rows);
        if vectors != Some(batch.vectors.len())
            || batch.inverse_norms.len() != norms
            || batch.attributes.num_rows() != rows
            || Row::try_from(rows).is_err()
        {
            return Err(Error::invalid(format!(
                "a batch of {rows} ids has {} bytes of vectors, {} norms and {} rows of attributes",
                batch.vectors.len(),
                batch.inverse_norms.len(),
                batch.attributes.num_rows()
            )));
        }
        let (table, shadowed) = IdTable::build(&batch.ids);
        let ends = ends(&batch.ids);
        let bytes = size_of::<Self>()
            + batch.ids.memory_bytes()
            + batch.vectors.len()
            + batch.inverse_norms.capacity() * 4
            + columns::size_bytes(&batch.attributes)
            + table.memory_bytes();
        let (sorted, codes) = (OnceLock::new(), FreshCodes::default());
        let chunk = Self {
            space,
            batch,
            table,
            ends,
            bytes,
            sorted,
            codes,
            #[cfg(feature = "text")]
            text: crate::text::cell::TextCell::default(),
        };
        Ok((chunk, shadowed))
    }

    /// One chunk of the live rows of several, patches applied, with the columns of `schema`; and
    /// where the rows of each went.
    ///
    /// No two live rows have the same id.
    pub(crate) fn merge(
        space: Space,
        id_type: IdType,
        sources: &[Source<'_>],
        schema: &SchemaRef,
    ) -> Result<(Self, Vec<RowMap>)> {
        let live: usize = sources.iter().map(|(chunk, dead, _)| live_count(chunk, dead)).sum();
        let stride = space.stride();
        let mut ids = IdColumn::new(id_type);
        let mut vectors = AlignedBytes::zeroed(live * stride);
        let mut inverse_norms = Vec::new();
        let mut attributes = Vec::with_capacity(sources.len());
        let mut maps = Vec::with_capacity(sources.len());
        let mut at = 0;
        for (chunk, dead, patch) in sources {
            let first = Row::try_from(at).map_err(|_overflow| {
                Error::invalid("a chunk of more than 2^32 rows cannot be made")
            })?;
            maps.push(RowMap::new(chunk.len(), dead, first));
            for (row, count) in live_runs(chunk.len(), dead, usize::MAX) {
                let bytes = chunk.vector_bytes(row, count)?;
                vectors.as_mut_slice()[at * stride..][..bytes.len()].copy_from_slice(bytes);
                chunk.inverse_norms(row, count, &mut inverse_norms)?;
                for row in row as usize..row as usize + count {
                    ids.push(chunk.batch.ids.at(row))?;
                }
                at += count;
            }
            let rows: Vec<Row> = live_rows(chunk.len(), dead).collect();
            let stored = chunk.attributes(&rows, schema)?;
            attributes.push(patch.apply(&rows, &stored, schema)?);
        }
        let attributes = columns::concat(schema, &attributes.iter().collect::<Vec<_>>())?;
        let vectors = Arc::new(vectors);
        let (chunk, _) = Self::new(space, Batch { ids, vectors, inverse_norms, attributes })?;
        Ok((chunk, maps))
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.ids.len()
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn overlaps(&self, least: IdRef<'_>, most: IdRef<'_>) -> bool {
        let ids = &self.batch.ids;
        self.ends
            .is_some_and(|ends| least <= ids.at(ends.1 as usize) && most >= ids.at(ends.0 as usize))
    }

    pub(crate) fn lookup(&self, id: IdRef<'_>) -> Result<Option<Row>> {
        if !self.overlaps(id, id) {
            return Ok(None);
        }
        let ids = self.batch.ids.view();
        Ok(id_table::lookup(Guarded::trusted(self.table.as_bytes()), &ids, id))
    }

    pub(crate) fn id_ref(&self, row: Row) -> Result<IdRef<'_>> {
        self.inside(row, 1)?;
        Ok(self.batch.ids.at(row as usize))
    }

    pub(crate) fn id_column(&self, first: Row, count: usize) -> Result<ArrayRef> {
        self.inside(first, count)?;
        let column = self.batch.ids.view().column(first, count);
        column.ok_or_else(|| Error::invalid("an id of a chunk cannot be read"))
    }

    /// A column of all rows; null when the chunk lacks it.
    pub(crate) fn column(&self, column: &Column) -> ArrayRef {
        let stored = self.batch.attributes.column_by_name(&column.name);
        stored.cloned().unwrap_or_else(|| columns::null_column(column.data_type, self.len()))
    }

    pub(crate) fn vector_bytes(&self, first: Row, count: usize) -> Result<&[u8]> {
        self.inside(first, count)?;
        let stride = self.space.stride();
        Ok(&self.batch.vectors.as_slice()[first as usize * stride..][..count * stride])
    }

    pub(crate) fn inverse_norms(&self, first: Row, count: usize, out: &mut Vec<f32>) -> Result<()> {
        self.inside(first, count)?;
        if self.space.metric == Metric::Cosine {
            out.extend_from_slice(&self.batch.inverse_norms[first as usize..][..count]);
        }
        Ok(())
    }

    pub(crate) fn factors(&self, first: Row, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut norms = Vec::new();
        self.inverse_norms(first, count, &mut norms)?;
        out.extend_from_slice(norms.as_bytes());
        Ok(())
    }

    pub(crate) fn attributes(&self, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        let picks: Vec<_> = rows.iter().map(|row| (0, *row)).collect();
        columns::gather(wanted, &[&self.batch.attributes], &picks)
    }

    pub(crate) fn search(
        &self,
        asks: &[Ask<'_>],
        options: &SearchOptions,
        dead: &RowSet,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Candidate>>> {
        let rows = Rows {
            vectors: Guarded::trusted(self.batch.vectors.as_slice()),
            inverse_norms: Guarded::trusted(self.batch.inverse_norms.as_bytes()),
        };
        let ids = self.batch.ids.view();
        // Codes come and go between searches.
        let blocks = self.codes.rows().filter(|_| !options.stable).map(BlockRows::Bits);
        let len = self.len();
        let target =
            Target::<Trusted> { rows, len, graph: None, codes: None, sketches: None, blocks, ids };
        let mut own = SearchStats::default();
        let found = search::search(&target, asks, options, dead, &mut own);
        if blocks.is_none() && !options.exact && !options.stable && own.rows_scanned > 0 {
            let may = stats.rows_coded == 0;
            let (isa, many) = (options.isa, asks.len());
            let coded = self.codes.searched(isa, self.space, rows, len, (many, may));
            own.rows_coded += coded as u64;
        }
        for _ in 0..own.vain_scans {
            self.codes.failed();
        }
        stats.add(&own);
        Ok(found)
    }

    pub(crate) fn seek(&self, after: Option<IdRef<'_>>) -> Result<usize> {
        let sorted = Guarded::trusted(self.sorted().as_bytes());
        Ok(after.map_or(0, |after| self.batch.ids.view().seek(sorted, after)))
    }

    pub(crate) fn sorted_rows(&self, position: usize, count: usize) -> Result<Vec<Row>> {
        let sorted = self.sorted();
        let from = position.min(sorted.len());
        Ok(sorted[from..from + count.min(sorted.len() - from)].to_vec())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let sorted = self.sorted.get().map_or(0, |sorted| sorted.capacity() * 4);
        #[cfg(feature = "text")]
        let text = self.text.memory_bytes();
        #[cfg(not(feature = "text"))]
        let text = 0;
        self.bytes + sorted + self.codes.memory_bytes() + text
    }

    fn sorted(&self) -> &[Row] {
        self.sorted.get_or_init(|| self.batch.ids.sorted_rows())
    }

    fn inside(&self, first: Row, count: usize) -> Result<()> {
        if (first as usize).checked_add(count).is_none_or(|end| end > self.len()) {
            return Err(Error::invalid("a row outside its chunk was asked for"));
        }
        Ok(())
    }
}

fn live_count(chunk: &Chunk, dead: &RowSet) -> usize {
    live_rows(chunk.len(), dead).count()
}

/// Rows of the smallest and the largest id.
fn ends(ids: &IdColumn) -> Option<(Row, Row)> {
    let rows = Row::try_from(ids.len()).unwrap_or(Row::MAX);
    let least = (0..rows).min_by_key(|row| ids.at(*row as usize))?;
    let most = (0..rows).max_by_key(|row| ids.at(*row as usize))?;
    Some((least, most))
}

impl From<Chunk> for super::part::Part {
    fn from(chunk: Chunk) -> Self {
        Self::Chunk(Arc::new(chunk))
    }
}
