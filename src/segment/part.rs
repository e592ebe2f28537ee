//! A part of a collection: a chunk of the memtable or a segment, behind one set of questions.
//!
//! A part answers for all its rows; which of them are dead and which attributes are patched is
//! known to the collection, which passes it in.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use super::Segment;
use super::columns;
use super::memtable::Chunk;
use super::search::{Ask, SearchOptions, SearchStats};
use crate::codec::full::Space;
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::index::hnsw::GONE;
use crate::index::topk::Candidate;
use crate::types::{Id, IdRef, Row};

/// A chunk or a segment; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Chunk(Arc<Chunk>),
    Segment(Arc<Segment>),
}

/// Asks whichever part it is.
macro_rules! ask {
    ($part:expr, $inner:ident => $answer:expr) => {
        match $part {
            Part::Chunk($inner) => $answer,
            Part::Segment($inner) => $answer,
        }
    };
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        ask!(self, part => part.len())
    }

    pub(crate) fn space(&self) -> Space {
        ask!(self, part => part.space())
    }

    /// Whether an id from `least` to `most` may be here.
    pub(crate) fn overlaps(&self, least: IdRef<'_>, most: IdRef<'_>) -> bool {
        ask!(self, part => part.overlaps(least, most))
    }

    /// The last row called `id`, dead or alive.
    pub(crate) fn lookup(&self, id: IdRef<'_>) -> Result<Option<Row>> {
        ask!(self, part => part.lookup(id))
    }

    /// What `row` is called.
    pub(crate) fn id_ref(&self, row: Row) -> Result<IdRef<'_>> {
        ask!(self, part => part.id_ref(row))
    }

    /// What `row` is called, owned.
    pub(crate) fn id(&self, row: Row) -> Result<Id> {
        self.id_ref(row).map(IdRef::to_id)
    }

    /// The ids of `count` rows from `first` on, as an Arrow column.
    pub(crate) fn id_column(&self, first: Row, count: usize) -> Result<ArrayRef> {
        ask!(self, part => part.id_column(first, count))
    }

    /// Stored bytes of `count` rows from `first` on, `Space::stride` bytes each.
    pub(crate) fn vector_bytes(&self, first: Row, count: usize) -> Result<&[u8]> {
        ask!(self, part => part.vector_bytes(first, count))
    }

    /// What rows have beside their vectors, `Space::factor_bytes` each, appended to `out`.
    pub(crate) fn factors(&self, first: Row, count: usize, out: &mut Vec<u8>) -> Result<()> {
        ask!(self, part => part.factors(first, count, out))
    }

    /// Copies the vector of a row as it was given, `Space::stride` bytes; restored, where it was rounded.
    pub(crate) fn copy_given(&self, row: Row, out: &mut [u8]) -> Result<()> {
        match self {
            Self::Chunk(chunk) => out.copy_from_slice(chunk.vector_bytes(row, 1)?),
            Self::Segment(segment) => segment.copy_given(row, out)?,
        }
        Ok(())
    }

    /// The stored columns `wanted` of `rows`, in that order; columns not stored are null. Patches
    /// are laid over by [`Patch::apply`](super::patch::Patch::apply).
    pub(crate) fn attributes(&self, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        ask!(self, part => part.attributes(rows, wanted))
    }

    /// For each query the nearest live rows, by (distance, id).
    pub(crate) fn search(
        &self,
        asks: &[Ask<'_>],
        options: &SearchOptions,
        dead: &RowSet,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Candidate>>> {
        ask!(self, part => part.search(asks, options, dead, stats))
    }

    /// Position, in the order of ids, of the first row whose id comes after `after`.
    pub(crate) fn seek(&self, after: Option<IdRef<'_>>) -> Result<usize> {
        ask!(self, part => part.seek(after))
    }

    /// At most `count` rows by ascending id, dead or alive, from `position` on.
    pub(crate) fn sorted_rows(&self, position: usize, count: usize) -> Result<Vec<Row>> {
        ask!(self, part => part.sorted_rows(position, count))
    }

    /// Memory held, without mapped files.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.memory_bytes(),
            Self::Segment(_) => 0,
        }
    }

    /// Memory that indexes of texts hold, mapped files aside.
    pub(crate) fn text_bytes(&self) -> usize {
        #[cfg(feature = "text")]
        match self {
            Self::Chunk(chunk) => chunk.text.memory_bytes(),
            Self::Segment(segment) => segment.attribute_file().map_or(0, |file| file.text_bytes()),
        }
        #[cfg(not(feature = "text"))]
        0
    }

    /// Whether searches walk a graph.
    pub(crate) fn has_graph(&self) -> bool {
        match self {
            Self::Chunk(_) => false,
            Self::Segment(segment) => segment.has_graph(),
        }
    }
}

/// Rows below `len` that are not in `dead`, ascending.
pub(crate) fn live_rows(len: usize, dead: &RowSet) -> impl Iterator<Item = Row> + '_ {
    let rows = Row::try_from(len).unwrap_or(Row::MAX);
    (0..rows).filter(|row| !dead.contains(*row))
}

/// Maximal runs (first, count) of consecutive live rows, none longer than `most`.
pub(crate) fn live_runs(len: usize, dead: &RowSet, most: usize) -> Vec<(Row, usize)> {
    let mut runs: Vec<(Row, usize)> = Vec::new();
    for row in live_rows(len, dead) {
        match runs.last_mut() {
            Some((first, count)) if *count < most && *first as usize + *count == row as usize => {
                *count += 1;
            }
            _ => runs.push((row, 1)),
        }
    }
    runs
}

/// Where the live rows of a part went when it was copied: to consecutive rows, in order.
#[derive(Clone, Debug)]
pub(crate) struct RowMap {
    to: Vec<Row>,
}

impl RowMap {
    /// The rows of a part of `len` rows, of which those in `dead` stay behind, from `first` on.
    pub(crate) fn new(len: usize, dead: &RowSet, first: Row) -> Self {
        let mut to = vec![GONE; len];
        for (row, target) in live_rows(len, dead).zip(first..) {
            to[row as usize] = target;
        }
        Self { to }
    }

    /// The new row of each old one, [`GONE`] for those that stayed behind.
    pub(crate) fn as_slice(&self) -> &[Row] {
        &self.to
    }

    /// Where `row` is now.
    pub(crate) fn at(&self, row: Row) -> Option<Row> {
        self.to.get(row as usize).copied().filter(|row| *row != GONE)
    }
}

/// The columns `wanted` of `rows` rows that have none.
pub(crate) fn absent(rows: usize, wanted: &SchemaRef) -> Result<RecordBatch> {
    columns::project(&columns::no_columns(rows)?, wanted)
}
