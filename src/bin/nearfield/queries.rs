//! Query vectors: out of a file piece by piece, so that any number of them fits.

use std::ops::Range;
use std::path::Path;

use nearfield::interop::{self, Format, ReadOptions};
use nearfield::{Error, Ids, Vectors};

use crate::failure::Failure;

/// Query vectors and the rows of the file in which they stand.
pub(crate) struct Piece {
    pub(crate) rows: Vec<u64>,
    pub(crate) vectors: Vectors<'static>,
}

/// The vectors of `path`, all of `dimension` elements, or only the one in row `only`.
pub(crate) fn read(
    path: &Path,
    dimension: usize,
    only: Option<u64>,
) -> Result<impl Iterator<Item = Result<Piece, Failure>>, Failure> {
    let format = Format::detect(path)?;
    let mut options = ReadOptions::default().format(format).row_numbers();
    if !matches!(format, Format::Npy | Format::Fvecs | Format::Bvecs | Format::Ivecs) {
        options = options.columns(Vec::<String>::new());
    }
    let reader = interop::read(path, &options)?;
    match reader.dimension() {
        Some(given) if given != dimension => {
            return Err(Error::DimensionMismatch { expected: dimension, given, row: 0 }.into());
        }
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
        if vectors.len() != rows.len() * dimension {
            let given = vectors.len() / rows.len().max(1);
            return Err(Error::DimensionMismatch { expected: dimension, given, row: 0 }.into());
        }
        Ok(match only.map(|only| rows.iter().position(|row| *row == only)) {
            None => Piece { rows, vectors },
            Some(None) => Piece { rows: Vec::new(), vectors: Vec::<f32>::new().into() },
            Some(Some(at)) => Piece {
                rows: vec![rows[at]],
                vectors: owned(slice(&vectors, at * dimension..(at + 1) * dimension)),
            },
        })
    });
    Ok(pieces)
}

/// Some elements of `vectors`; the range must lie within them.
pub(crate) fn slice<'a>(vectors: &'a Vectors<'_>, range: Range<usize>) -> Vectors<'a> {
    match vectors {
        Vectors::F32(values) => (&values[range]).into(),
        Vectors::F16(values) => (&values[range]).into(),
        Vectors::U8(values) => (&values[range]).into(),
    }
}

fn owned(vectors: Vectors<'_>) -> Vectors<'static> {
    match vectors {
        Vectors::F32(values) => values.into_owned().into(),
        Vectors::F16(values) => values.into_owned().into(),
        Vectors::U8(values) => values.into_owned().into(),
    }
}
