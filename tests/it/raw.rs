//! What a collection keeps of f32 vectors: rows of the examples through its whole life, each answer beside plain
//! arithmetic over the vectors that it gives back.

use std::collections::BTreeMap;
use std::path::Path;

use nearfield::interop::{self, Format, ReadOptions};
use nearfield::{
    Collection, Database, Error, Fields, Filter, Id, ImportOptions, Metric, OpenOptions, Raw,
    RepairOptions, ScanOptions, Schema, Settings, VectorType, Vectors,
};

use crate::common::{Scratch, notes, notes_schema};

const DIMENSION: usize = 384;
const ROWS: usize = 900;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::Dot];
const RAWS: [Raw; 1] = [Raw::F16];

/// Vectors of a file of the examples, the first so many, row-major. Of other lengths, so that metrics differ.
fn examples(file: &str, rows: usize) -> Vec<f32> {
    let path = format!("{}/examples/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let batches = interop::read(path, &ReadOptions::default()).unwrap();
    let vectors = batches.flat_map(|batch| {
        let vectors = batch.unwrap().vectors;
        vectors.to_f32(0..vectors.len())
    });
    let mut all: Vec<f32> = vectors.take(rows * DIMENSION).collect();
    assert_eq!(all.len(), rows * DIMENSION, "{file}");
    for (row, vector) in all.chunks_mut(DIMENSION).enumerate() {
        vector.iter_mut().for_each(|x| *x *= 0.5 + (row % 7) as f32 / 3.0);
    }
    all
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.threads = 1;
    settings.memtable_bytes = 256 << 10;
    settings.graph_bytes = 128 << 10;
    settings
}

fn open(path: &Path) -> Database {
    OpenOptions::new().settings(settings()).open(path).unwrap()
}

/// Distances in plain arithmetic.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| of(f64::from(*a), f64::from(*b))).sum()
    };
    match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(&|a, b| a * b),
        _ => 1.0 - sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt(),
    }
}

/// All rows as the collection gives them back.
fn kept(docs: &Collection) -> BTreeMap<Id, Vec<f32>> {
    let options = ScanOptions::new().fields(Fields::none().with_vectors());
    let mut rows = BTreeMap::new();
    for records in docs.scan(options).unwrap() {
        let records = records.unwrap();
        let vectors = records.vectors.unwrap();
        assert_eq!(vectors.element_type(), VectorType::F32);
        for (row, id) in records.ids.iter().enumerate() {
            rows.insert(id.clone(), vectors.to_f32(row * DIMENSION..(row + 1) * DIMENSION));
        }
    }
    rows
}

/// Exact answers are those of plain arithmetic over what the collection gives back, with a filter and without;
/// others find most of them.
fn agrees(docs: &Collection, queries: &[f32], what: &str) {
    let metric = docs.schema().unwrap().metric();
    let rows = kept(docs);
    assert_eq!(rows.len(), docs.len().unwrap(), "{what}");
    let (mut wanted, mut found) = (0, 0);
    for query in queries.chunks(DIMENSION) {
        for filter in [None, Some("year < 4")] {
            let search = || {
                let search = docs.search(query).k(10);
                filter.map_or(docs.search(query).k(10), |text| {
                    search.filter(text.parse::<Filter>().unwrap())
                })
            };
            let matching: Option<Vec<Id>> = filter.map(|text| {
                let options = ScanOptions::new().fields(Fields::none()).filter(text);
                docs.scan(options).unwrap().flat_map(|records| records.unwrap().ids).collect()
            });
            let counts = |id: &Id| matching.as_ref().is_none_or(|matching| matching.contains(id));
            let all = rows.iter().filter(|(id, _)| counts(id));
            let mut all: Vec<(f64, &Id)> =
                all.map(|(id, row)| (distance(metric, query, row), id)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let exact = search().exact(true).run().unwrap();
            assert_eq!(exact.len(), all.len().min(10), "{what}");
            for (hit, (expected, _)) in exact.iter().zip(&all) {
                let own = distance(metric, query, &rows[&hit.id]);
                let given = f64::from(hit.distance);
                assert!((given - expected).abs() < 1e-5 && (given - own).abs() < 1e-5, "{what}");
            }
            let worst = all[exact.len() - 1].0 + 1e-5;
            wanted += exact.len();
            let hits = search().run().unwrap();
            found += hits.iter().filter(|hit| f64::from(hit.distance) <= worst).count();
        }
    }
    assert!(found * 100 >= wanted * 95, "{what}: {found} of {wanted}");
}

/// How far a vector may be from what was given, as a part of its length.
fn error_of(raw: Raw) -> f64 {
    match raw {
        Raw::F16 => 5e-4,
        _ => 0.0,
    }
}

fn same(given: &[f32], kept: &[f32], raw: Raw) {
    let length = distance(Metric::Dot, given, given).abs().sqrt();
    let off = distance(Metric::L2, given, kept).sqrt();
    assert!(off <= length * error_of(raw), "{off} of {length}");
}

fn fill(docs: &Collection, vectors: &[f32], first: u64) {
    for (batch, vectors) in vectors.chunks(100 * DIMENSION).enumerate() {
        let rows = (vectors.len() / DIMENSION) as u64;
        let ids: Vec<u64> = (first + batch as u64 * 100..).take(rows as usize).collect();
        let years: Vec<Option<i64>> = ids.iter().map(|id| Some((id % 10) as i64)).collect();
        docs.upsert(&ids, vectors, &notes(&vec![None; ids.len()], &years)).unwrap();
    }
}

#[test]
fn rows_live_through_everything_whatever_is_kept_of_them() {
    let all = examples("packages.parquet", ROWS);
    let queries = examples("queries.parquet", 50);
    let asked = &queries[..6 * DIMENSION];
    for raw in RAWS {
        for metric in METRICS {
            let what = format!("{raw} {metric}");
            let scratch = Scratch::new();
            let db = open(&scratch.path());
            let docs =
                db.collection("docs", notes_schema(DIMENSION, metric).with_raw(raw)).unwrap();
            fill(&docs, &all[..300 * DIMENSION], 0);
            agrees(&docs, asked, &format!("{what} in memory"));
            fill(&docs, &all[300 * DIMENSION..], 300);
            let batch = notes(&[Some("changed"), None], &[Some(77), Some(78)]);
            docs.update(&[5, 6], &batch).unwrap();
            docs.delete(&[7, 8, 350, 899]).unwrap();
            agrees(&docs, asked, &format!("{what} in segments"));
            docs.compact().unwrap();
            agrees(&docs, asked, &format!("{what} compacted"));
            let stats = docs.stats().unwrap();
            assert_eq!((stats.raw, stats.segments.len()), (Some(raw), 1), "{what}");
            assert!(stats.segments[0].graph, "{what}");
            // Columns alone: vectors are neither read nor written.
            docs.update(&[9], &notes(&[Some("late")], &[Some(79)])).unwrap();
            let before = kept(&docs);
            for (id, row) in &before {
                let Id::U64(id) = id else { panic!("{id}") };
                same(&all[*id as usize * DIMENSION..][..DIMENSION], row, raw);
            }
            docs.compact().unwrap();
            assert_eq!(kept(&docs), before, "{what}: a merge changes no row");
            let recall = docs.measure_recall().sample(40).run().unwrap();
            assert!(recall.recall > 0.9, "{what}: {recall:?}");
            docs.calibrate(&queries[..]).unwrap();
            let found = docs.search(&queries[..DIMENSION]).k(5).recall(0.95).run().unwrap();
            assert_eq!(found.len(), 5, "{what}");
            let backup = scratch.dir.path().join("backup.nf");
            db.backup(&backup).unwrap();
            db.close().unwrap();
            drop((docs, db));
            for path in [scratch.path(), backup] {
                let db = open(&path);
                let docs = db.open_collection("docs").unwrap();
                assert_eq!(docs.schema().unwrap().raw(), Some(raw));
                assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new(), "{what}");
                assert_eq!(kept(&docs), before, "{what} reopened");
                agrees(&docs, asked, &format!("{what} reopened"));
            }
        }
    }
}

#[test]
fn what_is_read_of_a_collection_and_written_to_another_is_kept_as_it_was() {
    let all = examples("packages.parquet", 300);
    for raw in RAWS {
        for metric in METRICS {
            let what = format!("{raw} {metric}");
            let scratch = Scratch::new();
            let db = open(&scratch.path());
            let schema = notes_schema(DIMENSION, metric).with_raw(raw);
            let docs = db.collection("docs", schema.clone()).unwrap();
            fill(&docs, &all, 0);
            docs.compact().unwrap();
            let rows = kept(&docs);
            let file = scratch.dir.path().join("rows.parquet");
            interop::export(&docs, &file, Some(Format::Parquet), ScanOptions::new(), |_| true)
                .unwrap();
            let again = db.collection("again", schema).unwrap();
            let reader = interop::read(&file, &ReadOptions::default()).unwrap();
            again.import(reader, ImportOptions::new()).unwrap();
            assert_eq!(kept(&again), rows, "{what}: of a file");
            db.close().unwrap();
            drop((docs, again, db));
            let repaired = scratch.dir.path().join("repaired.nf");
            let report = Database::repair(scratch.path(), &repaired, RepairOptions::new()).unwrap();
            assert!(report.collections.iter().all(|one| one.rows == 300 && one.losses.is_empty()));
            let db = open(&repaired);
            let docs = db.open_collection("docs").unwrap();
            assert_eq!(docs.schema().unwrap().raw(), Some(raw));
            assert_eq!(kept(&docs), rows, "{what}: repaired");
        }
    }
}

#[test]
fn what_is_kept_is_fixed_when_a_collection_is_created() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let schema = Schema::new(2, Metric::L2);
    for raw in [Raw::F32, Raw::F16] {
        let name = raw.to_string();
        db.collection(&name, schema.clone().with_raw(raw)).unwrap();
        // Who does not say gets what there is.
        let docs = db.collection(&name, schema.clone()).unwrap();
        assert_eq!(docs.schema().unwrap().raw(), Some(raw));
    }
    match db.collection("f16", schema.clone().with_raw(Raw::F32)) {
        Err(Error::SchemaMismatch { what, expected, given }) => {
            assert_eq!((expected.as_str(), given.as_str()), ("f16", "f32"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    let bytes = schema.with_vector_type(VectorType::U8);
    assert_eq!(db.collection("u8", bytes.clone()).unwrap().schema().unwrap().raw(), None);
    let error = db.collection("no", bytes.with_raw(Raw::F16)).unwrap_err().to_string();
    assert!(error.contains("u8") && error.contains("leave it out"), "{error}");
}

#[test]
fn a_number_beyond_halves_is_refused_and_nothing_of_its_batch_is_stored() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", Schema::new(2, Metric::L2).with_raw(Raw::F16)).unwrap();
    for wrong in [65_520.0_f32, -1e9, f32::MAX] {
        let vectors = [1.0, 2.0, 3.0, wrong];
        let error = docs.upsert(&[1, 2], &vectors, ()).unwrap_err().to_string();
        for part in ["65504", "f16", "row 1"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(docs.is_empty().unwrap());
    docs.upsert(&[1], &[65_504.0_f32, 1.0 + 1.0 / 4_096.0], ()).unwrap();
    let rows = docs.get(&[1], &Fields::none().with_vectors()).unwrap();
    let vectors: Vectors<'static> = rows.vectors.unwrap();
    assert_eq!(vectors.to_f32(0..2), [65_504.0, 1.0], "the nearest half");
    // A query is no row.
    assert_eq!(docs.search(&[1e30_f32, 0.0]).run().unwrap().len(), 1);
}
