//! Segments without a graph that are scanned by one-bit codes: what they find, and what of their bytes
//! is refused.

use std::path::Path;

use tempfile::TempDir;

use super::ids::IdColumn;
use super::layout::{Code, FIELD, SegmentMeta, Statistics};
use super::memtable::{Batch, Chunk};
use super::part::Part;
use super::search::Breadth;
use super::writer::{BitPlan, IndexPlan, SegmentWriter};
use super::*;
use crate::codec::full::Stage;
use crate::codec::full::{encode_rows, prepare_query};
use crate::codec::product::Crew;
use crate::error::Error;
use crate::kernel::Isa;
use crate::segment::columns::tests::sample;
use crate::storage::container::{ContainerWriter, Tag};
use crate::storage::disk::{Disk, OsDisk};
use crate::types::{CodeChoice, Ids, Metric, VectorType, Vectors};

const STORE: u128 = 12;
const ROWS: usize = 5_000;
const DIMENSION: usize = 48;

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn space(metric: Metric) -> Space {
    Space { dimension: DIMENSION, vector_type: VectorType::F32, metric, stage: Stage::Given }
}

/// Rows around a hundred centres.
fn values(rows: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..100 * DIMENSION).map(|_| next()).collect();
    let element = |at: usize| centres[at / DIMENSION % 100 * DIMENSION + at % DIMENSION];
    (0..rows * DIMENSION).map(|at| element(at) + 0.2 * next()).collect()
}

/// Rows far apart and all as far as each other: no code tells which are nearest.
fn far() -> Vec<f32> {
    let mut state = 7_u64;
    let element = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    element.take(ROWS * DIMENSION).collect()
}

fn chunk(metric: Metric, values: &[f32]) -> Part {
    let rows = values.len() / DIMENSION;
    let (vectors, inverse_norms) =
        encode_rows(space(metric), &Vectors::from(values), rows).expect("finite numbers");
    let ids: Vec<u64> = (0..rows as u64).map(|row| row * 7_919 % 10_007).collect();
    let ids = IdColumn::from_ids(&Ids::from(&ids));
    let batch = Batch { ids, vectors: Arc::new(vectors), inverse_norms, attributes: sample(rows) };
    Chunk::new(space(metric), batch).expect("lengths agree").0.into()
}

fn write(dir: &Path, part: &Part, code: CodeChoice) -> SegmentMeta {
    let space = part.space();
    let mut writer =
        SegmentWriter::create(&disk(), dir, STORE, 1, space, IdType::U64).expect("a new file");
    writer.push_part(part, &RowSet::default()).expect("room on the disk");
    let plan = IndexPlan::Bits(BitPlan { code, share: None, crew: Crew::alone(Isa::detect()) });
    let finished = writer.finish(plan).expect("room on the disk");
    SegmentMeta { segment: 1, rows: finished.rows, seal: finished.seal, attributes: None }
}

fn open(dir: &Path, meta: &SegmentMeta, metric: Metric) -> Result<Segment> {
    Segment::open(&disk(), dir, STORE, meta, space(metric), IdType::U64)
}

fn search(
    part: &Part,
    query: &[f32],
    options: &SearchOptions,
    dead: &RowSet,
) -> Result<(Vec<(f32, Id)>, SearchStats)> {
    within(part, query, f32::INFINITY, options, dead)
}

fn within(
    part: &Part,
    query: &[f32],
    max_distance: f32,
    options: &SearchOptions,
    dead: &RowSet,
) -> Result<(Vec<(f32, Id)>, SearchStats)> {
    let queries = prepare_query(part.space(), &Vectors::from(query)).expect("finite");
    let mut stats = SearchStats::default();
    let hits =
        part.search(&[Ask { max_distance, ..Ask::from(&queries[0]) }], options, dead, &mut stats)?;
    let hits = hits[0].iter().map(|hit| Ok((hit.distance, part.id(hit.row)?)));
    Ok((hits.collect::<Result<_>>()?, stats))
}

fn options(k: usize, exact: bool) -> SearchOptions {
    SearchOptions { exact, ..SearchOptions::new(Isa::detect(), k, Breadth::fixed(10)) }
}

#[test]
fn a_segment_is_scanned_by_codes_and_finds_what_comparing_all_finds() {
    let values = values(ROWS);
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let dir = TempDir::new().expect("a directory");
        let meta = write(dir.path(), &chunk(metric, &values), CodeChoice::Auto);
        let segment = open(dir.path(), &meta, metric).expect("just written");
        segment.verify(&RowSet::default(), &mut |_| Ok(())).expect("undamaged");
        let code = segment.code().expect("near rows are told from far ones");
        assert!(code.kind == Code::Bit && code.agreement >= 970 && !segment.has_graph());
        let segment = Part::from(segment);
        let mut dead = RowSet::default();
        (0..ROWS as Row).step_by(10).for_each(|row| _ = dead.insert(row));
        let (mut found, mut wanted) = (0, 0);
        for query in values[..30 * DIMENSION].chunks(DIMENSION) {
            let (exact, stats) = search(&segment, query, &options(10, true), &dead).expect("sound");
            assert_eq!((stats.codes_compared, stats.rows_scanned), (0, 4_500));
            let (near, stats) = search(&segment, query, &options(10, false), &dead).expect("sound");
            assert!(
                stats.codes_compared >= ROWS as u64 && stats.rows_compared < 2_000,
                "{metric} {stats:?}"
            );
            assert_eq!((stats.scans, stats.walks, stats.rows_scanned), (1, 0, 0));
            assert!(near.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && a.1 < b.1)));
            wanted += exact.len();
            found += near.iter().filter(|hit| exact.contains(hit)).count();
            let limit = exact[4].0;
            let (near, _) =
                within(&segment, query, limit, &options(10, false), &dead).expect("sound");
            assert!(near.iter().all(|hit| hit.0 <= limit));
            wanted += 5;
            found += near.len();
        }
        assert!(found * 100 >= wanted * 98, "{metric}: {found} of {wanted}");
    }
}

#[test]
fn codes_are_made_where_they_pay_unless_one_is_asked_for_by_name() {
    let few = values(1_000);
    let far = far();
    let same = vec![0.5; ROWS * DIMENSION];
    let huge: Vec<f32> = values(ROWS).iter().map(|x| x * 1e30).collect();
    for (name, values, auto, bit) in [
        ("few", &few, false, true),
        ("far", &far, false, true),
        ("same", &same, false, true),
        ("huge", &huge, false, false),
    ] {
        for (code, made) in
            [(CodeChoice::Auto, auto), (CodeChoice::Bit, bit), (CodeChoice::Full, false)]
        {
            let dir = TempDir::new().expect("a directory");
            let part = chunk(Metric::L2, values);
            let meta = write(dir.path(), &part, code);
            let segment = open(dir.path(), &meta, Metric::L2).expect("just written");
            segment.verify(&RowSet::default(), &mut |_| Ok(())).expect("undamaged");
            assert_eq!(segment.code().is_some(), made, "{name} {code:?}");
            let segment = Part::from(segment);
            for query in values[..3 * DIMENSION].chunks(DIMENSION) {
                let none = RowSet::default();
                let (exact, _) = search(&part, query, &options(10, true), &none).expect("sound");
                let (near, _) = search(&segment, query, &options(10, false), &none).expect("sound");
                assert!(near.len() == 10 && near[0] == exact[0], "{name} {code:?}");
                if name == "same" {
                    assert_eq!(near, exact, "ties go to the least ids");
                }
            }
        }
    }
}

#[test]
fn a_chunk_that_is_searched_again_and_again_is_scanned_by_codes() {
    let values = values(ROWS);
    let part = chunk(Metric::Cosine, &values);
    let none = RowSet::default();
    let before = part.memory_bytes();
    let (mut by_codes, mut found, mut wanted) = (0, 0, 0);
    for query in values[..60 * DIMENSION].chunks(DIMENSION) {
        let (exact, _) = search(&part, query, &options(10, true), &none).expect("in memory");
        let (near, stats) = search(&part, query, &options(10, false), &none).expect("in memory");
        assert!(near[0] == exact[0] && stats.scans == 1);
        by_codes += usize::from(stats.codes_compared > 0);
        assert_eq!(stats.rows_scanned > 0, stats.codes_compared == 0, "{stats:?}");
        wanted += exact.len();
        found += near.iter().filter(|hit| exact.contains(hit)).count();
    }
    assert!((40..57).contains(&by_codes), "{by_codes}");
    assert!(part.memory_bytes() > before + ROWS * DIMENSION / 8);
    assert!(found * 100 >= wanted * 98, "{found} of {wanted}");
}

#[test]
fn chunks_whose_rows_codes_cannot_tell_are_compared_row_by_row_again() {
    let part = chunk(Metric::L2, &[0.5; ROWS * DIMENSION]);
    let none = RowSet::default();
    let query = [0.25; DIMENSION];
    let (exact, _) = search(&part, &query, &options(10, true), &none).expect("in memory");
    let mut tried = 0;
    for _ in 0..40 {
        let (near, stats) = search(&part, &query, &options(10, false), &none).expect("in memory");
        assert_eq!(near, exact, "ties go to the least ids");
        tried += usize::from(stats.codes_compared > 0);
    }
    assert_eq!(tried, 0, "no row differs from the mean");
    // More copies of the nearest than a scan keeps.
    let mut mixed = values(ROWS);
    mixed[..3_000 * DIMENSION].fill(0.5);
    let part = chunk(Metric::L2, &mixed);
    let query = [0.51; DIMENSION];
    let (exact, _) = search(&part, &query, &options(10, true), &none).expect("in memory");
    let tried = (0..40).filter(|_| {
        let (near, stats) = search(&part, &query, &options(10, false), &none).expect("in memory");
        assert_eq!(near, exact, "ties go to the least ids");
        stats.codes_compared > 0
    });
    assert_eq!(tried.count(), 4, "then they are given up");
    let huge: Vec<f32> = values(ROWS).iter().map(|x| x * 1e30).collect();
    let part = chunk(Metric::L2, &huge);
    for _ in 0..20 {
        let (_, stats) = search(&part, &query, &options(10, false), &none).expect("in memory");
        assert_eq!(stats.codes_compared, 0);
    }
}

/// The file written anew, checksums and all, with one section changed.
fn rewrite(
    from: &Path,
    to: &Path,
    meta: &SegmentMeta,
    wanted: Tag,
    change: &dyn Fn(&mut Vec<u8>),
) -> SegmentMeta {
    let identity = layout::vector_identity(STORE, 1);
    let path = from.join(layout::vector_file(1));
    let container = Container::open(&disk(), &path, identity, Some(meta.seal)).expect("written");
    let mut writer = ContainerWriter::create(&disk(), &to.join(layout::vector_file(1)), identity)
        .expect("a new file");
    let tags = [
        layout::RAWV,
        layout::IDSC,
        layout::IDTB,
        layout::IDSO,
        layout::QPAR,
        layout::CODE,
        layout::STAT,
    ];
    for tag in tags {
        let section = container.require(tag, FIELD).expect("of every such segment");
        let mut bytes = section.read_all().expect("undamaged").to_vec();
        if tag == wanted {
            change(&mut bytes);
        }
        writer.begin(tag, FIELD, 4096).expect("room on the disk");
        writer.write(&bytes).expect("room on the disk");
        writer.end().expect("room on the disk");
    }
    SegmentMeta { seal: writer.finish().expect("room on the disk"), ..*meta }
}

#[test]
fn codes_of_other_rows_fail_the_check_and_hostile_parameters_do_not_open() {
    let values = values(4_200);
    let dir = TempDir::new().expect("a directory");
    let meta = write(dir.path(), &chunk(Metric::L2, &values), CodeChoice::Bit);
    let rewritten = |tag: Tag, change: &dyn Fn(&mut Vec<u8>)| {
        let other = TempDir::new().expect("a directory");
        let meta = rewrite(dir.path(), other.path(), &meta, tag, change);
        open(other.path(), &meta, Metric::L2)
    };
    let none = RowSet::default();
    rewritten(layout::STAT, &|_| ())
        .expect("the same")
        .verify(&none, &mut |_| Ok(()))
        .expect("the same");
    // Any numbers in the codes: the answers are some rows, and the check tells.
    for fill in [0x00, 0x7f, 0x80, 0xff] {
        let segment = rewritten(layout::CODE, &|bytes| bytes.fill(fill)).expect("of its length");
        assert!(
            matches!(segment.verify(&none, &mut |_| Ok(())), Err(Error::Corrupt { .. })),
            "{fill}"
        );
        let query = &values[..DIMENSION];
        let (hits, _) = search(&segment.into(), query, &options(10, false), &none).expect("rows");
        assert!(hits.len() <= 10);
    }
    let last = rewritten(layout::CODE, &|bytes| *bytes.last_mut().expect("codes") = 1);
    assert!(matches!(
        last.expect("of its length").verify(&none, &mut |_| Ok(())),
        Err(Error::Corrupt { .. })
    ));
    for refused in [
        rewritten(layout::CODE, &|bytes| bytes.truncate(bytes.len() - 4)),
        rewritten(layout::CODE, &Vec::clear),
        rewritten(layout::QPAR, &Vec::clear),
        rewritten(layout::QPAR, &|bytes| bytes[12] = 4),
        rewritten(layout::QPAR, &|bytes| bytes[16] = 47),
        rewritten(layout::QPAR, &|bytes| {
            bytes[64..68].copy_from_slice(&f32::INFINITY.to_le_bytes())
        }),
        rewritten(layout::STAT, &|bytes| {
            let mut statistics: Statistics = serde_json::from_slice(bytes).expect("JSON");
            statistics.code =
                statistics.code.map(|code| CodeStatistics { kind: Code::Half, ..code });
            *bytes = serde_json::to_vec(&statistics).expect("JSON");
        }),
    ] {
        assert!(matches!(refused, Err(Error::Corrupt { .. })));
    }
}

#[test]
fn damage_to_codes_is_noticed_by_the_search_that_touches_them_which_does_without() {
    let values = values(4_200);
    let dir = TempDir::new().expect("a directory");
    let meta = write(dir.path(), &chunk(Metric::L2, &values), CodeChoice::Bit);
    let path = dir.path().join(layout::vector_file(1));
    let segment = open(dir.path(), &meta, Metric::L2).expect("just written");
    let codes = segment.core.codes.as_ref().expect("asked for").section();
    let codes = codes.read_all().expect("undamaged")[..4_096].to_vec();
    drop(segment);
    let mut bytes = std::fs::read(&path).expect("just written");
    let at = bytes.windows(codes.len()).position(|window| window == codes).expect("in the file");
    bytes[at + 1_000] ^= 1;
    disk().remove_file(&path).expect("it is there");
    disk().create(&path).expect("it is gone").append(&bytes).expect("room on the disk");
    let segment = Part::from(open(dir.path(), &meta, Metric::L2).expect("codes are not read yet"));
    let none = RowSet::default();
    let query = &values[..DIMENSION];
    let damaged = |part: &Part| match part {
        Part::Segment(segment) => segment.damaged_sections(),
        Part::Chunk(_) => unreachable!("it was opened"),
    };
    let exact = search(&segment, query, &options(10, true), &none).expect("not touched");
    assert!(damaged(&segment).is_empty());
    let found = search(&segment, query, &options(10, false), &none).expect("it does without");
    assert!(found == exact && damaged(&segment) == ["CODE"]);
}
