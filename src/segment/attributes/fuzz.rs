//! A door for fuzzing: any bytes as the inverted index of a sparse column, and sparse rows made of them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{AttributeFile, AttributeWriter, sparse};
use crate::bytes::{AlignedBytes, Guarded};
use crate::error::Result;
use crate::index::inverted::{self, Inverted, Scores};
use crate::segment::columns;
use crate::segment::layout::{self, AttributeMeta, FIELD, GDIR, GRPS, SPDR, SPIX};
use crate::storage::container::{Container, ContainerWriter, Section};
use crate::storage::disk::Disk;
use crate::storage::fault::FaultDisk;
use crate::types::sparse::dot;
use crate::types::{DataType, SparseVector};

const ROWS: usize = 300;
const STORE: u128 = 9;
const NAME: &str = "words";

/// Indexes sparse rows made of `bytes` and searches them; opens files whose inverted index, or what says
/// where it lies, is `bytes`, wholly or in part, and searches those.
///
/// # Panics
/// When a score is not that of the rows, a row is found that is not there, or a check passes an index
/// over that is not that of its rows.
#[doc(hidden)]
pub fn sparse_index(bytes: &[u8]) {
    round_trip(bytes);
    static FILE: OnceLock<Option<Pieces>> = OnceLock::new();
    let Some(pieces) = FILE.get_or_init(|| Pieces::make().ok()) else {
        panic!("a file of a few rows was not written")
    };
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(8), 0);
    pieces.ask(&sparse::directory_of(NAME, &[padded.len() as u64]), &padded);
    pieces.ask(bytes, &pieces.blocks);
    let Some((at, over)) = bytes.split_first_chunk::<2>() else { return };
    let lay = |whole: &[u8]| {
        let mut changed = whole.to_vec();
        let from = usize::from(u16::from_le_bytes(*at)) % changed.len();
        let len = over.len().min(changed.len() - from);
        changed[from..from + len].copy_from_slice(&over[..len]);
        changed
    };
    pieces.ask(&pieces.directory, &lay(&pieces.blocks));
    pieces.ask(&lay(&pieces.directory), &pieces.blocks);
}

/// Rows of sparse vectors: of each a byte for how many weights it has, then three for each of them.
fn vectors(mut bytes: &[u8]) -> Vec<SparseVector> {
    let mut vectors = Vec::new();
    while let Some((count, rest)) = bytes.split_first() {
        let (given, rest) = rest.split_at(rest.len().min(usize::from(count % 8) * 3));
        let pairs = given.as_chunks::<3>().0.iter().map(|[low, high, weight]| {
            // Some indices are small, others take all of 32 bits.
            let index = u32::from(u16::from_le_bytes([*low, *high]));
            let index = if high % 2 == 0 { index } else { index.wrapping_mul(0x0101_0101) };
            (index, f32::from(weight.cast_signed()) / 4.0)
        });
        vectors.push(SparseVector::from_pairs(pairs).unwrap_or_default());
        bytes = rest;
    }
    vectors
}

fn round_trip(bytes: &[u8]) {
    let rows = vectors(bytes);
    let Some(index) = inverted::encode(&|| rows.iter().map(|row| (row.indices(), row.weights())))
    else {
        assert!(rows.len() > inverted::BLOCK_ROWS, "{} rows are not indexed", rows.len());
        return;
    };
    let index = AlignedBytes::from_slice(&index);
    let index = Guarded::trusted(index.as_slice());
    let Some(index) = Inverted::parse(index, 0..index.len()) else { panic!("it is an index") };
    let mut scores = Scores::default();
    for query in rows.iter().take(3) {
        scores.clear();
        for (at, by) in query.indices().iter().zip(query.weights()) {
            assert!(index.add(*at, *by, &mut scores).is_some(), "{at}");
        }
        let product = |(row, vector): (usize, &SparseVector)| {
            let (a, b) = (query.indices(), query.weights());
            Some((row, dot(a, b, vector.indices(), vector.weights())?))
        };
        let expected: Vec<(usize, f64)> = rows.iter().enumerate().filter_map(product).collect();
        let mut found = Vec::new();
        scores.each(rows.len(), || f64::NEG_INFINITY, |row, score| found.push((row, score)));
        assert_eq!(found, expected);
    }
}

/// The sections of an attribute file.
struct Pieces {
    columns: Vec<u8>,
    groups: Vec<u8>,
    directory: Vec<u8>,
    blocks: Vec<u8>,
}

impl Pieces {
    fn make() -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let schema = columns::arrow_schema([(NAME, DataType::Sparse)].into_iter());
        let mut writer = AttributeWriter::create(&disk, Path::new("/"), STORE, 3, 1, &schema)?;
        let index = |row: usize, at: usize| u32::try_from(row * 31 % 97 + at * 100).unwrap_or(0);
        let row = |row: usize| {
            let weights = (0..row % 5).map(|at| (index(row, at), row as f32 - 150.5));
            if row.is_multiple_of(7) {
                Ok(None)
            } else {
                SparseVector::from_pairs(weights).map(Some)
            }
        };
        let rows = (0..ROWS).map(row).collect::<Result<Vec<_>>>()?;
        let column = SparseVector::column(rows.iter().map(Option::as_ref));
        writer.push(&columns::assemble(schema, vec![column], ROWS)?)?;
        let meta = writer.finish()?;
        let path = Path::new("/").join(layout::attribute_file(3, 1));
        let identity = layout::attribute_identity(STORE, 3, 1);
        let container = Container::open(&disk, &path, identity, Some(meta.seal))?;
        let section = |tag| container.require(tag, FIELD)?.read_all().map(<[u8]>::to_vec);
        Ok(Self {
            columns: section(GRPS)?,
            groups: section(GDIR)?,
            directory: section(SPDR)?,
            blocks: section(SPIX)?,
        })
    }

    /// The file with another index.
    fn open(&self, directory: &[u8], blocks: &[u8]) -> Result<AttributeFile> {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let path = Path::new("/").join(layout::attribute_file(3, 1));
        let identity = layout::attribute_identity(STORE, 3, 1);
        let mut writer = ContainerWriter::create(&disk, &path, identity)?;
        let sections =
            [(GRPS, &*self.columns), (GDIR, &*self.groups), (SPIX, blocks), (SPDR, directory)];
        for (tag, bytes) in sections {
            writer.section(tag, FIELD, bytes)?;
        }
        let meta = AttributeMeta { generation: 1, seal: writer.finish()? };
        AttributeFile::open(&disk, Path::new("/"), STORE, 3, ROWS, meta)
    }

    fn ask(&self, directory: &[u8], blocks: &[u8]) {
        let file = self.open(directory, blocks).unwrap_or_else(|error| panic!("{error}"));
        let add = |index: &Inverted<'_, Section>| {
            let mut scores = Scores::default();
            for (term, by) in [(0, 1.0), (31, -2.0), (131, 0.5), (u32::MAX, 3.0)] {
                index.add(term, by, &mut scores)?;
            }
            Some(scores)
        };
        if let Some(scores) = file.sparse_index(NAME).and_then(|index| index.with(0, add)) {
            scores.each(ROWS, || f64::NEG_INFINITY, |row, _| assert!(row < ROWS, "{row}"));
        }
        let is_own = file.sparse.is_empty() || blocks == self.blocks;
        let agrees = file.verify(&mut |_| Ok(())).is_ok();
        assert!(is_own || !agrees, "an index that is not that of its rows was passed over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::noise;

    #[test]
    fn bytes_that_are_no_sparse_index_find_no_row_that_is_not_there() {
        let mut next = noise::bits(8);
        for round in 0..400 {
            let len = if round % 3 == 0 { 300 } else { 3 + next() % 12 };
            let bytes: Vec<u8> = (0..len).map(|_| (next() >> 20) as u8).collect();
            sparse_index(&bytes);
        }
        let pieces = Pieces::make().expect("room");
        let file = pieces.open(&pieces.directory, &pieces.blocks).expect("the file is whole");
        assert!(file.sparse_index(NAME).is_some() && file.verify(&mut |_| Ok(())).is_ok());
    }
}
