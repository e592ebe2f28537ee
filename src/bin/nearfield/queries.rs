//! Query vectors: out of a file piece by piece, so that any number of them fits.

use std::path::Path;

use nearfield::interop::{self, Format, ReadOptions};
use nearfield::{Error, Ids, Schema, VectorType, Vectors};

use super::failure::Failure;

/// Query vectors and the rows of the file in which they stand.
pub(crate) struct Piece {
    pub(crate) rows: Vec<u64>,
    pub(crate) vectors: Vectors<'static>,
}

/// The vectors of `path`, all for a collection of `schema`, or only the one in row `only`.
pub(crate) fn read(
    path: &Path,
    schema: &Schema,
    only: Option<u64>,
) -> Result<impl Iterator<Item = Result<Piece, Failure>>, Failure> {
    let format = Format::detect(path)?;
    let mut options = ReadOptions::default().format(format).row_numbers();
    if matches!(format, Format::Parquet | Format::Arrow | Format::ArrowStream | Format::Jsonl) {
        options = options.columns(Vec::<String>::new());
    }
    let reader = interop::read(path, &options)?;
    let (expected, width) = (schema.dimension(), schema.row_elements());
    let dimensions = if schema.vector_type() == VectorType::B1 { 8 } else { 1 };
    let mismatch = move |given: usize| {
        let given = given.saturating_mul(dimensions);
        Failure::from(Error::DimensionMismatch { expected, given, row: 0 })
    };
    match reader.dimension() {
        Some(given) if given != width => return Err(mismatch(given)),
        _ => {}
    }
    let shown = path.display().to_string();
    let pieces = reader.map(move |batch| {
        let batch = batch?;
        let wanted = |row: u64| only.is_none_or(|only| only == row);
        if let Some(bad) = batch.rejected.iter().find(|rejected| wanted(rejected.row)) {
            return Err(Failure::refused(format!(
                "row {} of {shown} is no query: {}",
                bad.row, bad.reason
            )));
        }
        let Ids::U64(rows) = batch.ids else {
            return Err(Failure::refused(format!("the rows of {shown} cannot be numbered")));
        };
        let (rows, vectors) = (rows.into_owned(), batch.vectors);
        if vectors.len() != rows.len() * width {
            return Err(mismatch(vectors.len() / rows.len().max(1)));
        }
        Ok(match only.map(|only| rows.iter().position(|row| *row == only)) {
            None => Piece { rows, vectors },
            Some(None) => Piece { rows: Vec::new(), vectors: Vec::<f32>::new().into() },
            Some(Some(at)) => Piece { rows: vec![rows[at]], vectors: vectors.gather([at], width) },
        })
    });
    Ok(pieces)
}
