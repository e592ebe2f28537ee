//! Index files of other libraries (hnswlib, faiss, usearch), read for their vectors and ids.
//!
//! Each format has a parser that checks every count and place against the length of the file and
//! gives a [`Layout`]: where the rows lie. One reader goes through all layouts, a block at a time.
//! Graphs and coarse quantizers are passed over: a segment builds its own graph. The formats are
//! those of x86-64 and ARM: little-endian, `size_t` of 8 bytes.

pub(super) mod faiss;
pub(super) mod hnswlib;
mod input;
pub(super) mod usearch;

use std::path::Path;

use crate::collection::import::{ImportBatch, Rejected};
use crate::error::{Error, Result};
use crate::types::{IdType, MAX_DIMENSION};

use super::npy::{Element, numbers};
use super::origin::Origin;
use super::rows::take_vectors;
use super::{Format, Info, ReadOptions};
use input::Input;

/// Where the rows of a file lie.
#[derive(Debug)]
struct Layout {
    element: Element,
    /// Elements of a vector; of bits their bytes.
    width: usize,
    /// Bytes from the start of a row to that of the next, and where in it the vector starts.
    stride: usize,
    start: usize,
    runs: Vec<Run>,
    ids: IdPlace,
    origin: Origin,
}

/// Rows that lie one behind the other.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    rows: u64,
    at: u64,
    /// Where their ids lie, if these are [`IdPlace::Arrays`].
    ids_at: u64,
}

/// Where the ids of rows lie.
#[derive(Debug)]
enum IdPlace {
    /// Nowhere: rows are called by their position.
    Positions,
    /// In the row itself; the lowest bit of the byte at `mark` says that it is deleted.
    Rows { id: usize, mark: usize },
    /// An array of i64 for each run.
    Arrays,
    /// The same, but what it holds are places in these ids.
    Mapped(Vec<i64>),
    /// In the nodes of the graph.
    Nodes(usearch::Nodes),
}

/// What a row is called.
enum Called {
    Id(u64),
    Negative(i64),
    Deleted,
}

impl From<i64> for Called {
    fn from(id: i64) -> Self {
        u64::try_from(id).map_or(Self::Negative(id), Self::Id)
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    input: Input,
    layout: Layout,
    row_numbers: bool,
    batch_rows: usize,
    /// Rows that are read, and where: in which run, after how many of its rows.
    next_row: u64,
    run: usize,
    done: u64,
}

impl Peer {
    pub(super) fn open(
        path: &Path,
        format: Format,
        options: &ReadOptions,
        info: &mut Info,
    ) -> Result<Self> {
        if options.id.is_some() || options.columns.is_some() || options.metadata.is_some() {
            return Err(Error::invalid(format!(
                "{}: {format} files hold ids and vectors only, and no columns; import those, then \
                 update the rows",
                path.display()
            )));
        }
        let mut input = Input::open(path)?;
        let mut layout = match format {
            Format::Hnswlib => hnswlib::parse(&mut input)?,
            Format::Faiss => faiss::parse(&mut input)?,
            _ => usearch::parse(&mut input)?,
        };
        let rows = layout.runs.iter().map(|run| run.rows).sum();
        info.dimension = Some(layout.width);
        info.total_rows = Some(rows);
        info.vector_type = Some(layout.element.vector_type());
        info.id_type = Some(IdType::U64);
        info.origin = std::mem::take(&mut layout.origin);
        let batch_rows = options.rows_of(layout.stride / 4);
        let row_numbers = options.row_numbers;
        Ok(Self { input, layout, row_numbers, batch_rows, next_row: 0, run: 0, done: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<ImportBatch>> {
        let first = self.next_row;
        let (mut bytes, mut called) = (Vec::new(), Vec::new());
        while let Some(run) = self.layout.runs.get(self.run).copied() {
            let rows = (run.rows - self.done).min((self.batch_rows - called.len()) as u64);
            if rows > 0 {
                self.block(run, rows, &mut bytes, &mut called)?;
                self.done += rows;
                self.next_row += rows;
            }
            if self.done < run.rows {
                break;
            }
            self.run += 1;
            self.done = 0;
        }
        if called.is_empty() {
            return Ok(None);
        }
        let (mut good, mut ids) = (Vec::new(), Vec::new());
        let (mut source_rows, mut rejected) = (Vec::new(), Vec::new());
        for (row, called) in called.into_iter().enumerate() {
            let position = first + row as u64;
            let id = match called {
                Called::Deleted => continue,
                _ if self.row_numbers => position,
                Called::Id(id) => id,
                Called::Negative(id) => {
                    let reason = format!(
                        "its id is {id}, ids are from 0; have the rows numbered, or give others"
                    );
                    rejected.push(Rejected { row: position, reason });
                    continue;
                }
            };
            good.push(row);
            ids.push(id);
            source_rows.push(position);
        }
        let vectors = self.layout.element.decode(bytes);
        Ok(Some(ImportBatch {
            ids: ids.into(),
            vectors: take_vectors(vectors, self.layout.width, &good),
            attributes: None,
            source_rows,
            rejected,
        }))
    }

    /// The next `rows` rows of a run: the bytes of their vectors and what they are called.
    fn block(
        &mut self,
        run: Run,
        rows: u64,
        bytes: &mut Vec<u8>,
        called: &mut Vec<Called>,
    ) -> Result<()> {
        let Self { input, layout, done, next_row, .. } = self;
        let (stride, vector) = (layout.stride, layout.width * layout.element.size_bytes());
        input.seek(run.at + *done * stride as u64)?;
        let block = input.read(rows * stride as u64)?;
        for row in block.chunks_exact(stride) {
            bytes.extend_from_slice(&row[layout.start..layout.start + vector]);
            if let IdPlace::Rows { id, mark } = layout.ids {
                let deleted = row[mark] & 1 == 1;
                let id = row[id..].first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
                called.push(if deleted { Called::Deleted } else { Called::Id(id) });
            }
        }
        match &mut layout.ids {
            IdPlace::Rows { .. } => {}
            IdPlace::Positions => called.extend((*next_row..*next_row + rows).map(Called::Id)),
            IdPlace::Arrays => {
                called.extend(array(input, run, *done, rows)?.into_iter().map(Called::from));
            }
            IdPlace::Mapped(ids) => {
                for place in array(input, run, *done, rows)? {
                    let id = usize::try_from(place).ok().and_then(|place| ids.get(place));
                    let id = id.ok_or_else(|| input.corrupt("a list leads out of the ids"))?;
                    called.push((*id).into());
                }
            }
            IdPlace::Nodes(nodes) => nodes.keys(input, rows, called)?,
        }
        Ok(())
    }
}

/// Ids of a run, `done` of which were read.
fn array(input: &mut Input, run: Run, done: u64, rows: u64) -> Result<Vec<i64>> {
    input.seek(run.ids_at + 8 * done)?;
    Ok(numbers(&input.read(8 * rows)?, i64::from_le_bytes))
}

/// A number of dimensions that can be stored.
fn dimension(input: &Input, given: u64) -> Result<usize> {
    let known = usize::try_from(given).ok().filter(|given| (1..=MAX_DIMENSION).contains(given));
    known.ok_or_else(|| {
        input.corrupt(&format!(
            "it declares vectors of {given} dimensions, from 1 to {MAX_DIMENSION} can be stored"
        ))
    })
}
