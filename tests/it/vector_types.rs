//! Brain floats, signed bytes and packed bits through the whole life of a collection.

use half::bf16;
use nearfield::interop::{ExportBatch, ExportSchema, Format, ReadOptions, read, write};
use nearfield::{
    CodeChoice, Collection, Database, Fields, Hits, Id, ImportOptions, Metric, OpenOptions,
    ScanOptions, Schema, Settings, VectorType, Vectors,
};

use crate::common::{Random, Scratch, notes, notes_schema};

const ROWS: u64 = 600;
/// Candidates with which so few rows are still walked and not scanned.
const WALKED: usize = 16;
/// Of ten near rows, how many such a walk finds at least, and on average over the cases. Random rows are
/// the hardest there are.
const LEAST_FOUND: usize = 6;
const MEAN_FOUND: usize = 8;

/// A type and metric, and vectors in it as a user gives them.
struct Case {
    schema: Schema,
    vectors: Vectors<'static>,
    query: Vectors<'static>,
}

fn cases() -> Vec<Case> {
    cases_of(ROWS as usize, [19, 70, 301])
}

/// Cases of brain floats, signed bytes and bits, of these dimensions.
fn cases_of(rows: usize, [brain, signed, bits]: [usize; 3]) -> Vec<Case> {
    let mut random = Random::new(5);
    let mut cases = Vec::new();
    for (vector_type, dimension, metrics) in [
        (VectorType::Bf16, brain, [Metric::L2, Metric::Cosine, Metric::Dot].as_slice()),
        (VectorType::I8, signed, &[Metric::L2, Metric::Cosine, Metric::Dot]),
        (VectorType::B1, bits, &[Metric::Hamming, Metric::Jaccard]),
    ] {
        let width = vector_type.row_elements(dimension);
        for metric in metrics {
            let schema = notes_schema(dimension, *metric).with_vector_type(vector_type);
            let bytes: Vec<u8> =
                (0..(rows + 1) * width).map(|_| (random.next() >> 40) as u8).collect();
            let all: Vectors<'static> = match vector_type {
                VectorType::Bf16 => bytes
                    .iter()
                    .map(|b| bf16::from_f32(f32::from(*b) / 77.0 - 1.5))
                    .collect::<Vec<_>>()
                    .into(),
                VectorType::I8 => bytes.iter().map(|b| b.cast_signed()).collect::<Vec<_>>().into(),
                _ => {
                    let last = (0xFF00_u32 >> (dimension % 8)) as u8;
                    let mask = |at: usize| if at % width == width - 1 { last } else { 0xFF };
                    bytes.iter().enumerate().map(|(at, b)| b & mask(at)).collect::<Vec<_>>().into()
                }
            };
            cases.push(Case {
                schema,
                vectors: all.gather(0..rows, width),
                query: all.gather([rows], width),
            });
        }
    }
    cases
}

/// Distances in plain arithmetic.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| of(f64::from(*a), f64::from(*b))).sum()
    };
    let bits = |of: fn(u8, u8) -> u8| sum(&|a, b| f64::from(of(a as u8, b as u8).count_ones()));
    match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(&|a, b| a * b),
        Metric::Hamming => bits(|a, b| a ^ b),
        Metric::Jaccard => 1.0 - bits(|a, b| a & b) / bits(|a, b| a | b),
        _ => 1.0 - sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt(),
    }
}

/// The exact answer to the query of a case, by the distances alone.
fn expected(case: &Case, left_out: impl Fn(u64) -> bool) -> Vec<(f64, u64)> {
    let width = case.schema.row_elements();
    let query = case.query.to_f32(0..width);
    let rows = (case.vectors.len() / width) as u64;
    let mut all: Vec<(f64, u64)> = (0..rows)
        .filter(|id| !left_out(*id))
        .map(|id| {
            let row = case.vectors.to_f32(id as usize * width..(id as usize + 1) * width);
            (distance(case.schema.metric(), &query, &row), id)
        })
        .collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

fn agrees(case: &Case, hits: &Hits, expected: &[(f64, u64)], what: &str) {
    let name = format!("{} {} {what}", case.schema.vector_type(), case.schema.metric());
    assert_eq!(hits.len(), expected.len(), "{name}");
    let scale = if case.schema.vector_type() == VectorType::B1 { 1.0 } else { 100.0 };
    for (hit, (distance, _)) in hits.iter().zip(expected) {
        assert!((f64::from(hit.distance) - distance).abs() < 1e-5 * scale, "{name} {hit:?}");
    }
}

/// The vectors of all rows are those of `case`.
fn holds(case: &Case, docs: &Collection) {
    let element = match case.schema.vector_type() {
        VectorType::B1 => VectorType::U8,
        other => other,
    };
    let width = case.schema.row_elements();
    let options = ScanOptions::new().fields(Fields::none().with_vectors()).batch_rows(77);
    for records in docs.scan(options).unwrap() {
        let records = records.unwrap();
        let vectors = records.vectors.as_ref().unwrap();
        assert_eq!(vectors.element_type(), element);
        for (row, id) in records.ids.iter().enumerate() {
            let Id::U64(id) = id else { panic!("{id}") };
            let stored = vectors.to_f32(row * width..(row + 1) * width);
            let start = *id as usize * width;
            assert_eq!(stored, case.vectors.to_f32(start..start + width), "{id}");
        }
    }
}

fn open(scratch: &Scratch) -> Database {
    open_with(scratch, CodeChoice::Auto)
}

fn open_with(scratch: &Scratch, code: CodeChoice) -> Database {
    let mut settings = Settings::default();
    settings.code = code;
    // The same graph each time.
    settings.threads = 1;
    settings.graph_bytes = 0;
    settings.background = false;
    OpenOptions::new().settings(settings).open(scratch.path()).unwrap()
}

#[test]
fn every_type_lives_through_writes_graphs_and_reopening() {
    let mut walks = Vec::new();
    for case in cases() {
        let scratch = Scratch::new();
        let db = open(&scratch);
        let docs = db.create_collection("docs", case.schema.clone()).unwrap();
        let ids: Vec<u64> = (0..ROWS).collect();
        assert_eq!(docs.upsert(&ids, case.vectors.clone(), ()).unwrap(), ROWS);
        let all = expected(&case, |_| false);
        let search = |docs: &Collection, exact: bool| {
            docs.search(case.query.clone()).k(10).ef(WALKED).exact(exact).run().unwrap()
        };
        agrees(&case, &search(&docs, true), &all[..10], "in memory");
        db.close().unwrap();

        let db = open(&scratch);
        let docs = db.collection("docs", case.schema.clone()).unwrap();
        agrees(&case, &search(&docs, true), &all[..10], "from the log");
        holds(&case, &docs);
        docs.compact().unwrap();
        let stats = docs.stats().unwrap();
        assert!(stats.segments.iter().all(|segment| segment.graph));
        if case.schema.vector_type() == VectorType::B1 {
            assert!(stats.segments.iter().all(|segment| segment.code == "full"));
        }
        let found = search(&docs, false);
        assert_eq!(found.len(), 10);
        let worst = all[9].0 + 1e-3;
        let near = found.iter().filter(|hit| f64::from(hit.distance) <= worst).count();
        assert!(near >= LEAST_FOUND, "{} {near}", case.schema.metric());
        walks.push(near);
        holds(&case, &docs);

        docs.update(3, &notes(&[Some("new")], &[None])).unwrap();
        assert_eq!(docs.delete(&[all[0].1, all[1].1]).unwrap(), 2);
        let gone = |id| id == all[0].1 || id == all[1].1;
        let rest = expected(&case, gone);
        agrees(&case, &search(&docs, true), &rest[..10], "after deletes");
        docs.compact().unwrap();
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        db.close().unwrap();
        drop(db);

        let reader = scratch.reader().open_collection("docs").unwrap();
        agrees(&case, &search(&reader, true), &rest[..10], "read only");
        holds(&case, &reader);
    }
    assert!(walks.iter().sum::<usize>() >= MEAN_FOUND * walks.len(), "{walks:?}");
}

#[test]
fn what_is_exported_can_be_imported_again() {
    let formats: &[(Format, &str)] = if cfg!(feature = "parquet") {
        &[(Format::Jsonl, "a.jsonl"), (Format::Parquet, "a.parquet"), (Format::Arrow, "a.arrow")]
    } else {
        &[(Format::Jsonl, "a.jsonl")]
    };
    for case in cases() {
        for (format, name) in formats {
            let scratch = Scratch::new();
            let db = open(&scratch);
            let schema = Schema::new(case.schema.dimension(), case.schema.metric())
                .with_vector_type(case.schema.vector_type());
            let docs = db.create_collection("docs", schema.clone()).unwrap();
            let ids: Vec<u64> = (0..ROWS).collect();
            docs.upsert(&ids, case.vectors.clone(), ()).unwrap();
            let file = scratch.dir.path().join(name);
            let id_type = docs.schema().unwrap().id_type().unwrap();
            let shape = ExportSchema::new(schema.dimension(), schema.vector_type(), id_type);
            let options = ScanOptions::new().fields(Fields::none().with_vectors());
            let batches = docs.scan(options).unwrap().map(|records| {
                let records = records?;
                let id = |id: &Id| match id {
                    Id::U64(id) => *id,
                    Id::Utf8(_) => 0,
                };
                Ok(ExportBatch {
                    ids: records.ids.iter().map(id).collect::<Vec<u64>>().into(),
                    vectors: records.vectors.unwrap(),
                    attributes: arrow_array::RecordBatch::new_empty(
                        arrow_schema::Schema::empty().into(),
                    ),
                })
            });
            assert_eq!(write(&file, *format, &shape, batches).unwrap(), ROWS);
            let copy = db.create_collection("copy", schema).unwrap();
            let reader = read(&file, &ReadOptions::default()).unwrap();
            assert_eq!(reader.dimension(), Some(case.schema.row_elements()));
            assert_eq!(copy.import(reader, ImportOptions::new()).unwrap().rows, ROWS);
            holds(&case, &copy);
        }
    }
}

#[test]
fn codes_lead_walks_over_numbers_and_never_over_bits() {
    let mut walks = Vec::new();
    for case in cases() {
        for (choice, name) in [(CodeChoice::Half, "half"), (CodeChoice::Byte, "byte")] {
            let scratch = Scratch::new();
            let db = open_with(&scratch, choice);
            let docs = db.create_collection("docs", case.schema.clone()).unwrap();
            let ids: Vec<u64> = (0..ROWS).collect();
            docs.upsert(&ids, case.vectors.clone(), ()).unwrap();
            docs.compact().unwrap();
            let bits = case.schema.vector_type() == VectorType::B1;
            let stats = docs.stats().unwrap();
            let code = if bits { "full" } else { name };
            assert!(stats.segments.iter().all(|segment| segment.code == code), "{stats:?}");
            let hits = docs.search(case.query.clone()).k(10).ef(WALKED).run().unwrap();
            let expected = expected(&case, |_| false);
            let worst = expected[9].0 + 1e-3;
            let near = hits.iter().filter(|hit| f64::from(hit.distance) <= worst).count();
            assert!(near >= LEAST_FOUND, "{} {name} {near}", case.schema.metric());
            walks.push(near);
            assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        }
    }
    assert!(walks.iter().sum::<usize>() >= MEAN_FOUND * walks.len(), "{walks:?}");
}

#[test]
fn many_rows_without_a_graph_are_scanned_to_the_same_answer() {
    let rows = 5_000;
    for case in cases_of(rows, [160, 160, 1024]) {
        let scratch = Scratch::new();
        let db = scratch.open();
        let docs = db.create_collection("docs", case.schema.clone()).unwrap();
        let ids: Vec<u64> = (0..rows as u64).collect();
        docs.upsert(&ids, case.vectors.clone(), ()).unwrap();
        let expected = expected(&case, |_| false);
        for what in ["in memory", "in a segment"] {
            let hits = docs.search(case.query.clone()).run().unwrap();
            agrees(&case, &hits, &expected[..10], what);
            docs.compact().unwrap();
        }
        assert!(docs.stats().unwrap().segments.iter().all(|segment| !segment.graph));
    }
}
