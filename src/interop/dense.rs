//! Files that hold vectors alone (npy, fvecs), with ids and attributes from a metadata file
//! beside them, or row numbers for ids.
//!
//! Rows of the two files pair by position; a fault in either leaves the pair out.

use std::path::{Path, PathBuf};

use crate::collection::import::{ImportBatch, Rejected};
use crate::error::{Error, Result};
use crate::types::{IdType, Ids};

use super::fvecs::{Fvecs, Stretch};
use super::npy::Npy;
use super::rows::{take_rows, take_vectors};
use super::table::Table;
use super::{Format, Info, ReadOptions};

#[derive(Debug)]
pub(super) struct Dense {
    path: PathBuf,
    vectors: VectorFile,
    beside: Option<(PathBuf, Table)>,
    dimension: usize,
    batch_rows: usize,
    next_row: u64,
}

#[derive(Debug)]
enum VectorFile {
    Npy(Npy),
    Fvecs(Fvecs),
}

impl Dense {
    pub(super) fn open(
        path: &Path,
        format: Format,
        options: &ReadOptions,
        info: &mut Info,
    ) -> Result<Self> {
        let vectors = if format == Format::Npy {
            VectorFile::Npy(Npy::open(path)?)
        } else {
            VectorFile::Fvecs(Fvecs::open(path, format)?)
        };
        let (dimension, rows, vector_type) = match &vectors {
            VectorFile::Npy(npy) => (Some(npy.dimension), Some(npy.rows), npy.vector_type()),
            VectorFile::Fvecs(fvecs) => (fvecs.dimension, fvecs.rows, fvecs.vector_type()),
        };
        let batch_rows = options.rows_of(dimension.unwrap_or(1));
        let beside = match &options.metadata {
            Some(metadata) => {
                let format = Format::detect(metadata)?;
                let options = options.clone().batch_rows(batch_rows);
                let table = Table::open(metadata, format, &options, false, info)?;
                Some((metadata.clone(), table))
            }
            None if options.id.is_some() || options.columns.is_some() => {
                return Err(Error::invalid(format!(
                    "{}: {format} has no columns; name a metadata file with the ids and \
                     attributes, row by row",
                    path.display()
                )));
            }
            None => None,
        };
        if let (Some((beside, _)), Some(rows), Some(given)) = (&beside, rows, info.total_rows)
            && rows != given
        {
            return Err(unpaired(path, beside, &rows.to_string(), &given.to_string()));
        }
        info.dimension = dimension;
        info.total_rows = rows;
        info.vector_type = Some(vector_type);
        info.id_type.get_or_insert(IdType::U64);
        Ok(Self {
            path: path.into(),
            vectors,
            beside,
            dimension: dimension.unwrap_or(1),
            batch_rows,
            next_row: 0,
        })
    }

    pub(super) fn next(&mut self, info: &mut Info) -> Result<Option<ImportBatch>> {
        let Some((beside, table)) = &mut self.beside else {
            let stretch = self.vectors.read(self.batch_rows, self.next_row)?;
            return Ok(stretch.map(|stretch| self.numbered(stretch)));
        };
        let total = info.total_rows;
        let batch = table.next(info)?;
        info.dimension = Some(self.dimension);
        info.total_rows = total;
        let rows = batch.as_ref().map_or(0, |batch| batch.len() + batch.rejected.len());
        let stretch = self.vectors.read(rows.max(1), self.next_row)?;
        let read = stretch.as_ref().map_or(0, |stretch| stretch.rows);
        if read != rows {
            let (read, rows) = (self.next_row + read as u64, self.next_row + rows as u64);
            let (vectors, given) = if read > rows {
                (format!("more than {rows}"), rows.to_string())
            } else {
                (read.to_string(), format!("at least {rows}"))
            };
            return Err(unpaired(&self.path, beside, &vectors, &given));
        }
        match (batch, stretch) {
            (Some(batch), Some(stretch)) => self.paired(batch, stretch).map(Some),
            _ => Ok(None),
        }
    }

    fn numbered(&mut self, stretch: Stretch) -> ImportBatch {
        let first = self.next_row;
        self.next_row += stretch.rows as u64;
        let mut faults = stretch.faults.iter().map(|(row, _)| first + *row as u64).peekable();
        let source_rows: Vec<u64> =
            (first..self.next_row).filter(|row| faults.next_if_eq(row).is_none()).collect();
        ImportBatch {
            ids: source_rows.clone().into(),
            vectors: stretch.vectors,
            attributes: None,
            source_rows,
            rejected: rejected(first, stretch.faults),
        }
    }

    /// The rows that are good on both sides.
    fn paired(&mut self, batch: ImportBatch, stretch: Stretch) -> Result<ImportBatch> {
        let first = self.next_row;
        self.next_row += stretch.rows as u64;
        let offset = |row: u64| usize::try_from(row - first).unwrap_or(usize::MAX);
        // Position of each row among the good vectors, and among the good rows of the table.
        let mut of_vectors = vec![Some(0); stretch.rows];
        for (row, _) in &stretch.faults {
            of_vectors[*row] = None;
        }
        for (position, of_vector) in of_vectors.iter_mut().flatten().enumerate() {
            *of_vector = position;
        }
        let (mut vectors, mut rows) = (Vec::new(), Vec::new());
        for (position, row) in batch.source_rows.iter().enumerate() {
            if let Some(Some(vector)) = of_vectors.get(offset(*row)) {
                vectors.push(*vector);
                rows.push(position);
            }
        }
        let mut rejected = rejected(first, stretch.faults);
        rejected.extend(batch.rejected);
        rejected.sort_by_key(|rejected| rejected.row);
        rejected.dedup_by_key(|rejected| rejected.row);
        let attributes =
            batch.attributes.map(|attributes| take_rows(&attributes, &rows)).transpose()?;
        Ok(ImportBatch {
            vectors: take_vectors(stretch.vectors, self.dimension, &vectors),
            ids: take_ids(batch.ids, &rows),
            attributes,
            source_rows: rows.iter().map(|row| batch.source_rows[*row]).collect(),
            rejected,
        })
    }
}

impl VectorFile {
    /// The next rows, at most `most`; `done` were read before.
    fn read(&mut self, most: usize, done: u64) -> Result<Option<Stretch>> {
        match self {
            Self::Fvecs(fvecs) => fvecs.read(most),
            Self::Npy(npy) => {
                let left = usize::try_from(npy.rows - done).unwrap_or(usize::MAX);
                let rows = left.min(most);
                if rows == 0 {
                    return Ok(None);
                }
                Ok(Some(Stretch { rows, vectors: npy.read(rows)?, faults: Vec::new() }))
            }
        }
    }
}

fn rejected(first: u64, faults: Vec<(usize, String)>) -> Vec<Rejected> {
    let rejected = |(row, reason)| Rejected { row: first + row as u64, reason };
    faults.into_iter().map(rejected).collect()
}

fn take_ids(ids: Ids<'static>, rows: &[usize]) -> Ids<'static> {
    if rows.len() == ids.len() {
        return ids;
    }
    match ids {
        Ids::U64(ids) => rows.iter().map(|row| ids[*row]).collect::<Vec<u64>>().into(),
        Ids::Utf8(ids) => Ids::Utf8(rows.iter().map(|row| ids[*row].clone()).collect()),
    }
}

fn unpaired(vectors: &Path, beside: &Path, rows: &str, given: &str) -> Error {
    Error::invalid(format!(
        "{} has {rows} rows and its metadata file {} has {given}; they pair by position and must \
         have as many",
        vectors.display(),
        beside.display()
    ))
}
