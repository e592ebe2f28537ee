//! Sketches in a segment: what filtered scans find by them, and what of their bytes is refused.

use std::path::Path;

use tempfile::TempDir;

use super::ids::IdColumn;
use super::layout::SegmentMeta;
use super::memtable::{Batch, Chunk};
use super::part::Part;
use super::search::Breadth;
use super::writer::{GraphPlan, IndexPlan, SegmentWriter};
use super::*;
use crate::codec::full::Stage;
use crate::codec::full::{encode_rows, prepare_query};
use crate::error::Error;
use crate::index::hnsw;
use crate::kernel::Isa;
use crate::kernel::noise::noise;
use crate::segment::columns::tests::sample;
use crate::storage::container::{ContainerWriter, Tag};
use crate::storage::disk::{Disk, OsDisk};
use crate::types::{CodeChoice, Ids, Metric, VectorType, Vectors};

const STORE: u128 = 13;
const ROWS: usize = 1_500;
const DIMENSION: usize = 520;

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn space(metric: Metric) -> Space {
    Space { dimension: DIMENSION, vector_type: VectorType::F32, metric, stage: Stage::Given }
}

/// Rows around ten centres.
fn values() -> Vec<f32> {
    let mut next = noise(4);
    let centres: Vec<f32> = (0..10 * DIMENSION).map(|_| next()).collect();
    let element = |at: usize| centres[at / DIMENSION % 10 * DIMENSION + at % DIMENSION];
    (0..ROWS * DIMENSION).map(|at| element(at) + 0.4 * next()).collect()
}

/// Writes the rows as a segment with a graph on codes of halves.
fn write(dir: &Path, metric: Metric, values: &[f32]) -> SegmentMeta {
    let space = space(metric);
    let (vectors, inverse_norms) =
        encode_rows(space, &Vectors::from(values), ROWS).expect("finite numbers");
    let ids: Vec<u64> = (0..ROWS as u64).collect();
    let ids = IdColumn::from_ids(&Ids::from(&ids));
    let batch = Batch { ids, vectors: Arc::new(vectors), inverse_norms, attributes: sample(ROWS) };
    let part = Chunk::new(space, batch).expect("lengths agree").0.into();
    let mut writer =
        SegmentWriter::create(&disk(), dir, STORE, 1, space, IdType::U64).expect("a new file");
    writer.push_part(&part, &RowSet::default()).expect("room on the disk");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let plan = GraphPlan {
        params: hnsw::Params { ef_construction: 40, ..hnsw::Params::default() },
        code: CodeChoice::Half,
        share: None,
        isa: Isa::detect(),
        pool: &pool,
        keep_going: &|| true,
    };
    let finished = writer.finish(IndexPlan::Graph(&plan)).expect("room on the disk");
    SegmentMeta { segment: 1, rows: finished.rows, seal: finished.seal, attributes: None }
}

fn open(dir: &Path, meta: &SegmentMeta, metric: Metric) -> Result<Segment> {
    Segment::open(&disk(), dir, STORE, meta, space(metric), IdType::U64)
}

/// Searches with all but every third row dead.
fn search(part: &Part, query: &[f32], exact: bool) -> Result<(Vec<Row>, SearchStats)> {
    let mut dead = RowSet::default();
    (0..ROWS as Row).filter(|row| row % 3 > 0).for_each(|row| {
        dead.insert(row);
    });
    let queries = prepare_query(part.space(), &Vectors::from(query)).expect("finite");
    let options = SearchOptions::new(Isa::detect(), 3, Breadth::fixed(64));
    let options = SearchOptions { exact, ..options };
    let mut stats = SearchStats::default();
    let hits = part.search(&[Ask::from(&queries[0])], &options, &dead, &mut stats)?;
    Ok((hits[0].iter().map(|hit| hit.row).collect(), stats))
}

/// The file written anew, checksums and all, with one section changed or left out.
fn rewrite(
    from: &Path,
    to: &Path,
    meta: &SegmentMeta,
    wanted: Tag,
    change: &dyn Fn(&mut Vec<u8>) -> bool,
) -> SegmentMeta {
    let identity = layout::vector_identity(STORE, 1);
    let path = from.join(layout::vector_file(1));
    let container = Container::open(&disk(), &path, identity, Some(meta.seal)).expect("written");
    let mut writer = ContainerWriter::create(&disk(), &to.join(layout::vector_file(1)), identity)
        .expect("a new file");
    for (tag, field, _) in container.sections() {
        let section = container.require(tag, field).expect("listed");
        let mut bytes = section.read_all().expect("undamaged").to_vec();
        if tag != wanted || change(&mut bytes) {
            writer.begin(tag, field, 4096).expect("room on the disk");
            writer.write(&bytes).expect("room on the disk");
            writer.end().expect("room on the disk");
        }
    }
    SegmentMeta { seal: writer.finish().expect("room on the disk"), ..*meta }
}

#[test]
fn scans_read_sketches_first_and_find_what_comparing_all_finds() {
    let values = values();
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let dir = TempDir::new().expect("a directory");
        let meta = write(dir.path(), metric, &values);
        let segment = open(dir.path(), &meta, metric).expect("just written");
        segment.verify(&RowSet::default(), &mut |_| Ok(())).expect("undamaged");
        assert_eq!(segment.core.sketches.is_some(), metric != Metric::Dot);
        let part = Part::from(segment);
        let (mut found, mut touched) = (0, 0);
        for query in values.chunks_exact(DIMENSION).step_by(50) {
            let (hits, stats) = search(&part, query, false).expect("undamaged");
            let (exact, _) = search(&part, query, true).expect("undamaged");
            assert_eq!((stats.sparse_scans, stats.codes_compared), (1, ROWS as u64 / 3));
            found += exact.iter().filter(|row| hits.contains(row)).count();
            touched += stats.bytes_touched - stats.rows_compared * 4 * 528;
        }
        assert!(found >= 88, "{metric}: {found} of 90");
        let all_codes = 30 * ROWS as u64 / 3 * 320;
        assert_eq!(touched < all_codes * 3 / 4, metric != Metric::Dot, "{metric}: {touched} bytes");
    }
}

#[test]
fn sketches_of_other_rows_fail_the_check_and_those_of_a_wrong_length_do_not_open() {
    let values = values();
    let dir = TempDir::new().expect("a directory");
    let meta = write(dir.path(), Metric::L2, &values);
    let none = RowSet::default();
    let rewritten = |change: &dyn Fn(&mut Vec<u8>) -> bool| {
        let other = TempDir::new().expect("a directory");
        let meta = rewrite(dir.path(), other.path(), &meta, layout::SKCH, change);
        open(other.path(), &meta, Metric::L2)
    };
    // A file written before there were sketches has none.
    for kept in [true, false] {
        let segment = rewritten(&|_| kept).expect("whole");
        segment.verify(&none, &mut |_| Ok(())).expect("undamaged");
        assert_eq!(segment.core.sketches.is_some(), kept);
        let (hits, _) = search(&segment.into(), &values[..DIMENSION], false).expect("undamaged");
        assert_eq!(hits[0], 0);
    }
    // Any numbers: the answers are some rows, and the check tells.
    for fill in [0x00, 0x7f, 0x80, 0xff] {
        let filled = rewritten(&|bytes| {
            bytes.fill(fill);
            true
        });
        let segment = filled.expect("of its length");
        let checked = segment.verify(&none, &mut |_| Ok(()));
        assert!(matches!(checked, Err(Error::Corrupt { .. })), "{fill}");
        let (hits, _) = search(&segment.into(), &values[..DIMENSION], false).expect("rows");
        assert!(hits.len() == 3 && hits.iter().all(|row| row % 3 == 0), "{hits:?}");
    }
    for refused in [
        rewritten(&|bytes| {
            bytes.truncate(bytes.len() - 64);
            true
        }),
        rewritten(&|bytes| {
            bytes.clear();
            true
        }),
    ] {
        assert!(matches!(refused, Err(Error::Corrupt { .. })));
    }
}
