use std::fs;
use std::path::Path;

use arrow_array::Array;
use tempfile::TempDir;

use super::attributes::AttributeWriter;
use super::ids::IdColumn;
use super::layout::{AttributeMeta, SegmentMeta};
use super::memtable::{Batch, Chunk};
use super::part::Part;
use super::patch::Patch;
use super::search::Breadth;
use super::writer::{Finished, GraphPlan, IndexPlan, SegmentWriter};
use super::*;
use crate::codec::full::Stage;
use crate::codec::full::{encode_rows, prepare_query};
use crate::error::Error;
use crate::index::hnsw;
use crate::kernel::Isa;
use crate::segment::columns::tests::sample;
use crate::storage::container::{ContainerWriter, Tag};
use crate::storage::disk::{Disk, OsDisk};
use crate::storage::fault::{Fault, FaultDisk};
use crate::types::{CodeChoice, DataType, Ids, Metric, VectorType, Vectors};

const STORE: u128 = 11;

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn space(metric: Metric, vector_type: VectorType) -> Space {
    // Five elements, of bits too.
    let dimension = if vector_type == VectorType::B1 { 40 } else { 5 };
    Space { dimension, vector_type, metric, stage: Stage::Given }
}

fn spaces() -> Vec<Space> {
    let mut spaces = Vec::new();
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for vector_type in
            [VectorType::F32, VectorType::F16, VectorType::Bf16, VectorType::I8, VectorType::U8]
        {
            spaces.push(space(metric, vector_type));
        }
    }
    spaces.extend([Metric::Hamming, Metric::Jaccard].map(|metric| space(metric, VectorType::B1)));
    spaces
}

/// Small whole numbers, exact in every vector type; the same row for the same seed.
fn vector(seed: usize) -> [f32; 5] {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 12345;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f32::from(u8::try_from(state >> 59).expect("five bits"))
    })
}

fn batch(space: Space, ids: &Ids<'_>) -> Batch {
    let rows = ids.len();
    let values: Vec<f32> = (0..rows).flat_map(vector).collect();
    let (vectors, inverse_norms) =
        encode_rows(space, &Vectors::from(&values), rows).expect("finite numbers");
    let vectors = Arc::new(vectors);
    Batch { ids: IdColumn::from_ids(ids), vectors, inverse_norms, attributes: sample(rows) }
}

fn chunk(space: Space, ids: &Ids<'_>) -> Part {
    Chunk::new(space, batch(space, ids)).expect("lengths agree").0.into()
}

fn names(rows: usize) -> Vec<String> {
    // Neither in the order of rows nor in that of numbers.
    (0..rows).map(|row| format!("id-{}", row * 7919 % 10_007)).collect()
}

/// Writes a part as a segment, with a graph when there is a plan.
fn write(
    dir: &Path,
    part: &Part,
    id_type: IdType,
    dead: &RowSet,
    plan: IndexPlan<'_>,
) -> (SegmentMeta, Finished) {
    let mut writer =
        SegmentWriter::create(&disk(), dir, STORE, 1, part.space(), id_type).expect("a new file");
    writer.push_part(part, dead).expect("room on the disk");
    let finished = writer.finish(plan).expect("room on the disk");
    let schema = sample(0).schema();
    let mut writer =
        AttributeWriter::create(&disk(), dir, STORE, 1, 0, &schema).expect("a new file");
    writer.push_part(part, dead, &Patch::default()).expect("room on the disk");
    let attributes = Some(writer.finish().expect("room on the disk"));
    let meta = SegmentMeta { segment: 1, rows: finished.rows, seal: finished.seal, attributes };
    (meta, finished)
}

fn open(dir: &Path, meta: &SegmentMeta, space: Space, id_type: IdType) -> Result<Segment> {
    Segment::open(&disk(), dir, STORE, meta, space, id_type)
}

fn options(k: usize, exact: bool) -> SearchOptions {
    SearchOptions { exact, ..SearchOptions::new(Isa::detect(), k, Breadth::fixed(32)) }
}

fn found(part: &Part, query: usize, options: &SearchOptions, dead: &RowSet) -> Vec<(f32, Id)> {
    within(part, query, f32::INFINITY, options, dead)
}

fn within(
    part: &Part,
    query: usize,
    max_distance: f32,
    options: &SearchOptions,
    dead: &RowSet,
) -> Vec<(f32, Id)> {
    let queries = prepare_query(part.space(), &Vectors::from(&vector(query))).expect("finite");
    let mut stats = SearchStats::default();
    let ask = Ask { max_distance, ..Ask::from(&queries[0]) };
    let hits = part.search(&[ask], options, dead, &mut stats).expect("undamaged");
    assert_eq!(stats.scans + stats.walks, 1);
    hits[0].iter().map(|hit| (hit.distance, part.id(hit.row).expect("undamaged"))).collect()
}

#[test]
fn a_segment_answers_like_the_chunk_it_was_written_from() {
    let ids = names(300);
    for space in spaces() {
        let dir = TempDir::new().expect("a directory");
        let chunk = chunk(space, &Ids::from(&ids));
        let mut dead = RowSet::default();
        for row in (0..300).step_by(11) {
            dead.insert(row);
        }
        let (meta, finished) = write(dir.path(), &chunk, IdType::Utf8, &dead, IndexPlan::Nothing);
        assert!(finished.shadowed.is_empty());
        let segment = open(dir.path(), &meta, space, IdType::Utf8).expect("just written");
        segment.verify(&RowSet::default(), &mut |_| Ok(())).expect("undamaged");
        let segment = Part::from(segment);
        assert_eq!(segment.len(), 300 - dead.len());
        let schema = sample(0).schema();
        for (row, id) in (0..).zip(&ids) {
            let there = segment.lookup(IdRef::Utf8(id)).expect("undamaged");
            assert_eq!(there.is_none(), dead.contains(row), "{id}");
            let Some(there) = there else { continue };
            assert_eq!(segment.id_ref(there).expect("undamaged"), IdRef::Utf8(id));
            assert_eq!(
                segment.vector_bytes(there, 1).expect("undamaged"),
                chunk.vector_bytes(row, 1).expect("inside")
            );
            assert_eq!(
                segment.attributes(&[there], &schema).expect("undamaged"),
                chunk.attributes(&[row], &schema).expect("inside")
            );
        }
        for query in 1000..1010 {
            let expected = found(&chunk, query, &options(9, false), &dead);
            let given = found(&segment, query, &options(9, false), &RowSet::default());
            assert_eq!(given, expected, "{space:?}");
            let limit = expected[4].0;
            let given = within(&segment, query, limit, &options(9, false), &RowSet::default());
            assert!(given.len() >= 5 && given.iter().all(|hit| hit.0 <= limit));
        }
    }
}

#[test]
fn hits_of_equal_distance_come_by_id() {
    let space = space(Metric::L2, VectorType::F32);
    let zeros = vec![0.0f32; 5 * 40];
    let ids: Vec<u64> = (0..40).map(|row| row * 17 % 41).collect();
    let (vectors, inverse_norms) =
        encode_rows(space, &Vectors::from(&zeros), 40).expect("finite numbers");
    let ids = IdColumn::from_ids(&Ids::from(&ids));
    let batch = Batch { ids, vectors: Arc::new(vectors), inverse_norms, attributes: sample(40) };
    let part = Part::from(Chunk::new(space, batch).expect("lengths agree").0);
    let hits = found(&part, 3, &options(5, true), &RowSet::default());
    let expected: Vec<Id> = [0, 1, 2, 3, 4].map(Id::U64).to_vec();
    assert_eq!(hits.into_iter().map(|hit| hit.1).collect::<Vec<_>>(), expected);
}

#[test]
fn rows_are_listed_by_ascending_id_in_both_kinds_of_part() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::L2, VectorType::U8);
    let ids: Vec<u64> = (0..100).map(|row| row * 37 % 101).collect();
    let chunk = chunk(space, &Ids::from(&ids));
    let none = RowSet::default();
    let (meta, _) = write(dir.path(), &chunk, IdType::U64, &none, IndexPlan::Nothing);
    let segment = Part::from(open(dir.path(), &meta, space, IdType::U64).expect("just written"));
    for part in [chunk, segment] {
        let after = part.seek(Some(IdRef::U64(40))).expect("undamaged");
        let rows = part.sorted_rows(after, 3).expect("undamaged");
        let listed: Vec<Id> = rows.iter().map(|row| part.id(*row).expect("undamaged")).collect();
        assert_eq!(listed, [41, 42, 43].map(Id::U64));
        assert_eq!(part.sorted_rows(0, usize::MAX).expect("undamaged").len(), 100);
        assert!(part.sorted_rows(100, 5).expect("undamaged").is_empty());
        assert_eq!(part.seek(None).expect("undamaged"), 0);
        assert_eq!(part.lookup(IdRef::U64(500)).expect("undamaged"), None);
        assert_eq!(part.lookup(IdRef::Utf8("x")).expect("undamaged"), None);
    }
}

#[test]
fn a_segment_without_rows_opens_and_answers() {
    for id_type in [IdType::U64, IdType::Utf8] {
        let dir = TempDir::new().expect("a directory");
        let space = space(Metric::Cosine, VectorType::F16);
        let writer = SegmentWriter::create(&disk(), dir.path(), STORE, 1, space, id_type)
            .expect("a new file");
        let finished = writer.finish(IndexPlan::Nothing).expect("room on the disk");
        let meta = SegmentMeta { segment: 1, rows: 0, seal: finished.seal, attributes: None };
        let segment = open(dir.path(), &meta, space, id_type).expect("just written");
        segment.verify(&RowSet::default(), &mut |_| Ok(())).expect("undamaged");
        assert_eq!(segment.lookup(IdRef::U64(1)).expect("undamaged"), None);
        assert_eq!(segment.seek(Some(IdRef::U64(1))).expect("undamaged"), 0);
        let queries = prepare_query(space, &Vectors::from(&vector(1))).expect("finite");
        let hits = segment.search(
            &[Ask::from(&queries[0])],
            &options(3, false),
            &RowSet::default(),
            &mut SearchStats::default(),
        );
        assert_eq!(hits.expect("undamaged"), [[]]);
    }
}

#[test]
fn repeated_ids_are_reported_and_the_last_row_is_found() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::Dot, VectorType::F32);
    let batch = batch(space, &Ids::from(&["a", "b", "a", "c", "b", "a"]));
    let mut writer = SegmentWriter::create(&disk(), dir.path(), STORE, 1, space, IdType::Utf8)
        .expect("a new file");
    writer
        .push(&batch.ids, batch.vectors.as_slice(), &batch.inverse_norms)
        .expect("room on the disk");
    assert!(writer.push(&batch.ids, &[], &[]).is_err());
    let finished = writer.finish(IndexPlan::Nothing).expect("room on the disk");
    assert_eq!(finished.shadowed, [0, 1, 2]);
    let meta = SegmentMeta { segment: 1, rows: 6, seal: finished.seal, attributes: None };
    let segment = open(dir.path(), &meta, space, IdType::Utf8).expect("just written");
    assert_eq!(segment.lookup(IdRef::Utf8("a")).expect("undamaged"), Some(5));
    assert_eq!(segment.lookup(IdRef::Utf8("b")).expect("undamaged"), Some(4));
    let mut dead = RowSet::default();
    for row in finished.shadowed {
        assert!(matches!(segment.verify(&dead, &mut |_| Ok(())), Err(Error::Corrupt { .. })));
        dead.insert(row);
    }
    segment.verify(&dead, &mut |_| Ok(())).expect("the shadowed rows are dead");
    let wanted = columns::arrow_schema([("year", DataType::Int64)].into_iter());
    assert_eq!(segment.attributes(&[0, 5], &wanted).expect("nulls").column(0).null_count(), 2);
    let (chunk, mut shadowed) = Chunk::new(space, batch).expect("lengths agree");
    shadowed.sort_unstable();
    assert_eq!(shadowed, [0, 1, 2]);
    assert_eq!(chunk.lookup(IdRef::Utf8("a")).expect("in memory"), Some(5));
}

#[test]
fn merging_chunks_drops_dead_rows_and_applies_patches() {
    let space = space(Metric::Cosine, VectorType::F16);
    let (a, b) = (names(20), (100..130).collect::<Vec<u64>>());
    let b: Vec<String> = b.iter().map(|id| format!("b{id}")).collect();
    let first = Chunk::new(space, batch(space, &Ids::from(&a))).expect("lengths agree").0;
    let second = Chunk::new(space, batch(space, &Ids::from(&b))).expect("lengths agree").0;
    let mut dead = RowSet::default();
    for row in [0, 7, 8, 19] {
        dead.insert(row);
    }
    let newer = sample(200).slice(150, 2);
    let patch = Patch::default().with(&[3, 7], &newer, 5).expect("rows agree");
    let none = (RowSet::default(), Patch::default());
    let sources = [(&first, &dead, &patch), (&second, &none.0, &none.1)];
    let schema = sample(0).schema();
    let (merged, maps) =
        Chunk::merge(space, IdType::Utf8, &sources, &schema).expect("lengths agree");
    assert_eq!(merged.len(), 46);
    assert!(merged.memory_bytes() > 46 * 64 / 2);
    for (source, (map, ids)) in maps.iter().zip([&a, &b]).enumerate() {
        let chunk = sources[source].0;
        for (row, id) in (0..).zip(ids) {
            let now = merged.lookup(IdRef::Utf8(id)).expect("in memory");
            assert_eq!(now, map.at(row), "{id}");
            let Some(now) = now else { continue };
            assert_eq!(
                merged.vector_bytes(now, 1).expect("inside"),
                chunk.vector_bytes(row, 1).expect("inside")
            );
            let expected = match (source, row) {
                (0, 3) => newer.slice(0, 1),
                _ => chunk.attributes(&[row], &schema).expect("inside"),
            };
            assert_eq!(merged.attributes(&[now], &schema).expect("inside"), expected);
        }
    }
    assert_eq!(merged.lookup(IdRef::Utf8(&a[7])).expect("in memory"), None);
    let (mut norms, mut expected) = (Vec::new(), Vec::new());
    merged.inverse_norms(16, 30, &mut norms).expect("inside");
    second.inverse_norms(0, 30, &mut expected).expect("inside");
    assert_eq!(norms, expected);
}

#[test]
fn a_new_generation_of_attributes_replaces_the_old_file_only() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::L2, VectorType::F32);
    let ids = names(50);
    let chunk = chunk(space, &Ids::from(&ids));
    let none = RowSet::default();
    let (meta, _) = write(dir.path(), &chunk, IdType::Utf8, &none, IndexPlan::Nothing);
    let old = Arc::new(open(dir.path(), &meta, space, IdType::Utf8).expect("just written"));
    let newer = sample(99).slice(98, 1);
    let patch = Patch::default().with(&[9], &newer, 1).expect("rows agree");
    let schema = sample(0).schema();
    let mut writer =
        AttributeWriter::create(&disk(), dir.path(), STORE, 1, 1, &schema).expect("a new file");
    writer.push_part(&Part::Segment(Arc::clone(&old)), &none, &patch).expect("room");
    let generation: AttributeMeta = writer.finish().expect("room on the disk");
    let file =
        AttributeFile::open(&disk(), dir.path(), STORE, 1, 50, generation).expect("just written");
    let new = old.with_attributes(Some(Arc::new(file)));
    assert_eq!(new.attributes(&[9], &schema).expect("undamaged"), newer);
    assert_eq!(
        new.attributes(&[10], &schema).expect("undamaged"),
        old.attributes(&[10], &schema).expect("undamaged")
    );
    let files = || {
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
            .collect();
        names.sort();
        names
    };
    old.attribute_file().expect("written above").mark_obsolete();
    assert_eq!(files().len(), 3);
    drop(old);
    assert_eq!(files(), ["seg-000001.000001.attr", "seg-000001.nfs"]);
    new.verify(&none, &mut |_| Ok(())).expect("undamaged");
    new.mark_obsolete();
    let other = new.clone();
    drop(new);
    assert_eq!(files().len(), 2, "still in use");
    drop(other);
    assert_eq!(files(), [""; 0]);
}

#[test]
fn a_segment_of_another_shape_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::Cosine, VectorType::F32);
    let ids = names(30);
    let none = RowSet::default();
    let (meta, _) =
        write(dir.path(), &chunk(space, &Ids::from(&ids)), IdType::Utf8, &none, IndexPlan::Nothing);
    let corrupt = |result: Result<Segment>| match result {
        Err(Error::Corrupt { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    for other in [
        Space { dimension: 6, ..space },
        Space { vector_type: VectorType::F16, ..space },
        Space { metric: Metric::Dot, ..space },
    ] {
        let reason = corrupt(open(dir.path(), &meta, other, IdType::Utf8));
        assert!(reason.contains("another shape"), "{reason}");
    }
    corrupt(open(dir.path(), &meta, space, IdType::U64));
    corrupt(open(dir.path(), &SegmentMeta { rows: 29, ..meta }, space, IdType::Utf8));
    assert!(open(dir.path(), &SegmentMeta { segment: 2, ..meta }, space, IdType::Utf8).is_err());
    open(dir.path(), &meta, space, IdType::Utf8).expect("the right shape");
}

#[test]
fn a_flip_anywhere_is_an_error_or_changes_no_answer() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::Cosine, VectorType::F32);
    let ids = names(60);
    let original = chunk(space, &Ids::from(&ids));
    let none = RowSet::default();
    let (meta, _) = write(dir.path(), &original, IdType::Utf8, &none, IndexPlan::Nothing);
    let schema = sample(0).schema();
    let rows: Vec<Row> = (0..60).collect();
    let stored = original.attributes(&rows, &schema).expect("inside");
    let query = &prepare_query(space, &Vectors::from(&vector(77))).expect("finite")[0];
    let ask = |part: &Segment| -> Result<()> {
        let mut stats = SearchStats::default();
        let hits = part.search(&[query.into()], &options(7, false), &none, &mut stats)?;
        let expected = original.search(&[query.into()], &options(7, false), &none, &mut stats)?;
        assert_eq!(hits, expected);
        for (row, id) in (0..).zip(&ids) {
            assert_eq!(part.lookup(IdRef::Utf8(id))?, Some(row));
        }
        assert_eq!(part.attributes(&rows, &schema)?, stored);
        assert_eq!(part.attributes(&rows[3..5], &schema)?, stored.slice(3, 2));
        assert_eq!(part.sorted_rows(0, 60)?, original.sorted_rows(0, 60)?);
        Ok(())
    };
    ask(&open(dir.path(), &meta, space, IdType::Utf8).expect("just written")).expect("undamaged");
    let mut refused = 0;
    for name in ["seg-000001.nfs", "seg-000001.000000.attr"] {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).expect("just written");
        for at in (0..bytes.len()).step_by(41) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            replace(&path, &flipped);
            match open(dir.path(), &meta, space, IdType::Utf8) {
                Ok(segment) => {
                    let answered = ask(&segment);
                    let verified = segment.verify(&none, &mut |_| Ok(()));
                    assert!(answered.is_ok() || verified.is_err(), "byte {at} of {name}");
                    assert!(
                        segment.verify_checksums(&mut |_| Ok(())).is_err(),
                        "byte {at} of {name}"
                    );
                    assert!(verified.is_err(), "verify overlooks byte {at} of {name}");
                    refused += usize::from(answered.is_err());
                }
                Err(_) => refused += 1,
            }
        }
        replace(&path, &bytes);
    }
    assert!(refused > 100, "{refused} flips were noticed");
}

/// Writes a file anew, as another file: the old one may still be mapped.
fn replace(path: &Path, bytes: &[u8]) {
    let disk = disk();
    disk.remove_file(path).expect("it is there");
    disk.create(path).expect("it is gone").append(bytes).expect("room on the disk");
}

/// A segment of 3,000 rows with a graph, and the chunk that it was written from.
fn linked(dir: &Path, space: Space) -> (Part, Part) {
    let (segment, chunk, _) = linked_as(dir, space);
    (segment, chunk)
}

/// The same, and how its files are named.
fn linked_as(dir: &Path, space: Space) -> (Part, Part, SegmentMeta) {
    let ids: Vec<u64> = (0..3000).map(|row| row * 5).collect();
    let chunk = chunk(space, &Ids::from(&ids));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let keep_going = || true;
    let params = hnsw::Params { ef_construction: 60, ..hnsw::Params::default() };
    let plan = GraphPlan {
        params,
        code: CodeChoice::Auto,
        share: None,
        isa: Isa::detect(),
        pool: &pool,
        keep_going: &keep_going,
    };
    let none = RowSet::default();
    let (meta, _) = write(dir, &chunk, IdType::U64, &none, IndexPlan::Graph(&plan));
    let segment = open(dir, &meta, space, IdType::U64).expect("just written");
    segment.verify(&none, &mut |_| Ok(())).expect("undamaged");
    assert!(segment.has_graph());
    (Part::from(segment), chunk, meta)
}

/// The file of a segment written anew with other bytes in one section, under checksums that hold.
fn resealed(
    dir: &Path,
    meta: &SegmentMeta,
    tag: Tag,
    change: impl Fn(&mut Vec<u8>),
) -> SegmentMeta {
    let disk = disk();
    let (path, identity) = (dir.join(layout::vector_file(1)), layout::vector_identity(STORE, 1));
    let whole = Container::open(&disk, &path, identity, None).expect("undamaged");
    let anew = dir.join("anew");
    let mut writer = ContainerWriter::create(&disk, &anew, identity).expect("a new file");
    for (found, field, _) in whole.sections() {
        let section = whole.require(found, field).expect("it is listed");
        let mut bytes = section.read_all().expect("undamaged").to_vec();
        if found == tag {
            change(&mut bytes);
        }
        writer.section(found, field, &bytes).expect("room on the disk");
    }
    let seal = writer.finish().expect("room on the disk");
    disk.rename(&anew, &path).expect("the same directory");
    SegmentMeta { seal, ..*meta }
}

#[test]
fn a_graph_that_makes_no_sense_under_its_checksum_is_corrupt_and_walked_in_bounds() {
    let space = space(Metric::L2, VectorType::F32);
    let dir = TempDir::new().expect("a directory");
    let (_, chunk, meta) = linked_as(dir.path(), space);
    let (none, header) = (RowSet::default(), 128);
    for (wrong, reason) in [
        (3_000_u32, "a link leads outside the graph"),
        (0, "a node links to itself"),
        (u32::MAX, "a list goes on behind its end"),
    ] {
        let meta = resealed(dir.path(), &meta, layout::GRPH, |graph| {
            graph[header..header + 4].copy_from_slice(&wrong.to_le_bytes());
        });
        let segment = open(dir.path(), &meta, space, IdType::U64).expect("a whole header");
        let verified = segment.verify(&none, &mut |_| Ok(())).expect_err("a damaged graph");
        assert!(matches!(verified, Error::Corrupt { .. }));
        let said = verified.to_string();
        assert!(said.contains("GRPH") && said.contains(reason), "{said}");
        let segment = Part::from(segment);
        for query in 0..20 {
            let walked = found(&segment, query, &options(10, false), &none);
            let all = found(&chunk, query, &options(3_000, true), &none);
            assert!(walked.len() == 10 && walked.iter().all(|hit| all.contains(hit)));
        }
    }
}

#[test]
fn a_row_that_is_not_to_be_found_makes_room_for_the_next_in_walks_and_scans() {
    let dir = TempDir::new().expect("a directory");
    let (segment, chunk) = linked(dir.path(), space(Metric::L2, VectorType::F32));
    let none = RowSet::default();
    for row in 0..20 {
        let mut expected = found(&chunk, row, &options(11, true), &none);
        expected.retain(|hit| hit.1 != Id::U64(row as u64 * 5));
        expected.truncate(10);
        let without = |exact| SearchOptions {
            without: Some(row.try_into().expect("a row")),
            ..options(10, exact)
        };
        for part in [&segment, &chunk] {
            assert_eq!(found(part, row, &without(true), &none), expected);
        }
        let walked = found(&segment, row, &without(false), &none);
        assert!(walked.len() == 10 && walked.iter().all(|hit| hit.1 != Id::U64(row as u64 * 5)));
        let all = SearchOptions { k: 3000, ..without(false) };
        assert_eq!(found(&segment, row, &all, &none).len(), 2999);
    }
}

#[test]
fn a_graph_finds_nearly_what_a_scan_finds_and_skips_dead_rows() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::L2, VectorType::F32);
    let (segment, chunk) = linked(dir.path(), space);
    let mut dead = RowSet::default();
    for row in (0..3000).step_by(3) {
        dead.insert(row);
    }
    let mut hits = 0;
    for query in 5000..5020 {
        let near = found(&segment, query, &options(10, false), &dead);
        let exact = found(&segment, query, &options(10, true), &dead);
        assert_eq!(exact, found(&chunk, query, &options(10, true), &dead));
        assert_eq!(near.len(), 10);
        assert!(near.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && a.1 < b.1)));
        // Few dead rows let the limit end the walk; here there are many.
        let none = RowSet::default();
        for dead in [&dead, &none] {
            let limit = found(&segment, query, &options(10, true), dead)[6].0;
            let near = within(&segment, query, limit, &options(10, false), dead);
            assert!(near.len() >= 4 && near.iter().all(|hit| hit.0 <= limit), "{near:?}");
        }
        hits += near.iter().filter(|hit| hit.0 <= exact[9].0).count();
    }
    assert!(hits >= 190, "{hits} of 200");
    for row in 1..3000 {
        dead.insert(row);
    }
    dead.insert(0);
    let queries = prepare_query(space, &Vectors::from(&vector(1))).expect("finite");
    let mut stats = SearchStats::default();
    let hits = segment.search(&[Ask::from(&queries[0])], &options(10, false), &dead, &mut stats);
    assert_eq!(hits.expect("undamaged"), [[]]);
}

#[test]
fn a_cancelled_graph_leaves_no_file() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::L2, VectorType::F32);
    let ids: Vec<u64> = (0..2000).collect();
    let batch = batch(space, &Ids::from(&ids));
    let mut writer = SegmentWriter::create(&disk(), dir.path(), STORE, 1, space, IdType::U64)
        .expect("a new file");
    writer.push(&batch.ids, batch.vectors.as_slice(), &[]).expect("room on the disk");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("threads");
    let params = hnsw::Params::default();
    let plan = GraphPlan {
        params,
        code: CodeChoice::Auto,
        share: None,
        isa: Isa::detect(),
        pool: &pool,
        keep_going: &|| false,
    };
    assert!(matches!(writer.finish(IndexPlan::Graph(&plan)), Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
}

#[test]
fn a_write_that_fails_anywhere_leaves_no_file_and_says_why() {
    let space = space(Metric::Cosine, VectorType::F32);
    let ids = names(400);
    let part = chunk(space, &Ids::from(&ids));
    let none = RowSet::default();
    let schema = sample(0).schema();
    let dir = Path::new("/");
    let write = |disk: &Arc<dyn Disk>| -> Result<()> {
        let mut writer = SegmentWriter::create(disk, dir, STORE, 1, space, IdType::Utf8)?;
        writer.push_part(&part, &none)?;
        writer.finish(IndexPlan::Nothing)?;
        let mut writer = AttributeWriter::create(disk, dir, STORE, 1, 0, &schema)?;
        writer.push_part(&part, &none, &Patch::default())?;
        writer.finish()?;
        Ok(())
    };
    let mut failures = 0;
    for at in 0.. {
        let fault = FaultDisk::new();
        let kind = std::io::ErrorKind::StorageFull;
        fault.plan(Some(Fault::Fail { at, kind, forever: true }));
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let result = write(&disk);
        let left: Vec<String> =
            disk.list(dir).expect("a directory").into_iter().map(|entry| entry.name).collect();
        match result {
            Ok(()) => break,
            Err(Error::Full { .. }) => failures += 1,
            Err(other) => panic!("{other}"),
        }
        // What was finished before stays: it is whole.
        assert!(left.iter().all(|name| name.ends_with(".nfs")), "{left:?}");
    }
    assert!(failures >= 6, "{failures} operations failed");
}

#[test]
fn a_norm_that_is_not_its_vectors_is_found_by_verify() {
    let dir = TempDir::new().expect("a directory");
    let space = space(Metric::Cosine, VectorType::F32);
    let mut batch = batch(space, &Ids::from(&[1, 2, 3]));
    batch.inverse_norms[1] *= 1.01;
    let mut writer = SegmentWriter::create(&disk(), dir.path(), STORE, 1, space, IdType::U64)
        .expect("a new file");
    writer
        .push(&batch.ids, batch.vectors.as_slice(), &batch.inverse_norms)
        .expect("room on the disk");
    let finished = writer.finish(IndexPlan::Nothing).expect("room on the disk");
    let meta = SegmentMeta { segment: 1, rows: 3, seal: finished.seal, attributes: None };
    let segment = open(dir.path(), &meta, space, IdType::U64).expect("just written");
    segment.verify_checksums(&mut |_| Ok(())).expect("every byte is as written");
    let error = segment.verify(&RowSet::default(), &mut |_| Ok(())).expect_err("a wrong norm");
    assert!(error.to_string().contains("row 1 has another norm"), "{error}");
}
