//! What a collection keeps of f32 vectors: rows of the examples through its whole life, each answer beside plain
//! arithmetic over the vectors that it gives back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield::interop::{self, Format, ReadOptions};
use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    CodeChoice, Collection, Database, Error, Fields, Filter, Id, ImportOptions, Metric,
    OpenOptions, Raw, RepairOptions, ScanOptions, Schema, Settings, VectorType, Vectors,
};

use crate::common::{Random, Scratch, notes, notes_schema};
use crate::sections::sections;

const DIMENSION: usize = 384;
const ROWS: usize = 900;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::Dot];
const RAWS: [Raw; 2] = [Raw::F16, Raw::None];

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
    let width = docs.schema().unwrap().dimension();
    let mut rows = BTreeMap::new();
    for records in docs.scan(options).unwrap() {
        let records = records.unwrap();
        let vectors = records.vectors.unwrap();
        assert_eq!(vectors.element_type(), VectorType::F32);
        for (row, id) in records.ids.iter().enumerate() {
            rows.insert(id.clone(), vectors.to_f32(row * width..(row + 1) * width));
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
        Raw::None => 1.5e-2,
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
            let [backup, packed, unpacked] =
                ["backup.nf", "packed", "unpacked.nf"].map(|name| scratch.dir.path().join(name));
            db.backup(&backup).unwrap();
            db.pack(&packed).unwrap();
            Database::unpack(&packed, &unpacked).unwrap();
            db.close().unwrap();
            drop((docs, db));
            for path in [scratch.path(), backup, unpacked] {
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
    for raw in [Raw::F32, Raw::F16, Raw::None] {
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

/// A database on a disk in memory: one segment of rounded vectors.
fn rounded(metric: Metric, vectors: &[f32]) -> FaultDisk {
    let disk = FaultDisk::new();
    let (db, docs) = on(&disk, Some(metric));
    fill(&docs, vectors, 0);
    docs.compact().unwrap();
    db.close().unwrap();
    disk
}

/// Opens the collection of such a disk, or makes it.
fn on(disk: &FaultDisk, new: Option<Metric>) -> (Database, Collection) {
    let options = OpenOptions::new().settings(settings()).disk(Arc::new(disk.clone()));
    let db = options.open("/db").unwrap();
    let docs = match new {
        Some(metric) => {
            db.collection("docs", notes_schema(DIMENSION, metric).with_raw(Raw::None)).unwrap()
        }
        None => db.open_collection("docs").unwrap(),
    };
    (db, docs)
}

fn segment(disk: &FaultDisk) -> PathBuf {
    let mut files = disk.files().into_iter();
    files.find(|path| path.extension().is_some_and(|end| end == "nfs")).unwrap()
}

#[test]
fn damaged_rounded_vectors_are_told_of_and_the_others_are_saved() {
    let rows = 120;
    let all = examples("packages.parquet", rows);
    for metric in METRICS {
        let disk = rounded(metric, &all);
        let path = segment(&disk);
        let file = disk.read(&path, 0).unwrap();
        let tags: Vec<String> = sections(&file).into_iter().map(|one| one.tag).collect();
        assert!(!tags.iter().any(|tag| tag == "RAWV" || tag == "NORM"), "{tags:?}");
        let before = kept(&on(&disk, None).1);
        for tag in ["RNDV", "SCAL"] {
            let section = sections(&file).into_iter().find(|one| one.tag == tag).unwrap();
            let image = disk.kill_image();
            image.edit(&path, |bytes| bytes[section.offset + section.len - 1] ^= 0x10).unwrap();
            let (db, docs) = on(&image, None);
            let what = format!("{metric} {tag}");
            match docs.search(&all[..DIMENSION]).exact(true).k(rows).run() {
                Err(Error::Corrupt { section, .. }) => {
                    assert!(section.starts_with(tag), "{what}: {section}");
                }
                // The scale is no part of an angle.
                Ok(hits) => assert_eq!((metric, tag, hits.len()), (Metric::Cosine, "SCAL", rows)),
                Err(error) => panic!("{what}: {error}"),
            }
            let problems = docs.verify().unwrap().problems;
            assert!(problems.iter().any(|one| one.contains(tag)), "{what}: {problems:?}");
            // Nobody has met it yet where scales are no part of distances, and there is nothing to merge.
            let met = (metric, tag) != (Metric::Cosine, "SCAL");
            assert_eq!(matches!(docs.compact(), Err(Error::Corrupt { .. })), met, "{what}");
            // Columns alone can be changed all the same.
            docs.update(&[3], &notes(&[Some("late")], &[None])).unwrap();
            drop((docs, db));
            let options = RepairOptions::new().disk(Arc::new(image.clone()));
            let report = Database::repair("/db", "/new", options).unwrap();
            let [saved] = report.collections.as_slice() else { panic!("{report:?}") };
            let lost: u64 = saved.losses.iter().map(|loss| loss.rows).sum();
            assert!(lost > 0 && saved.rows + lost == rows as u64, "{what}: {report:?}");
            let options = OpenOptions::new().settings(settings()).disk(Arc::new(image.clone()));
            let docs = options.open("/new").unwrap().open_collection("docs").unwrap();
            for (id, row) in kept(&docs) {
                assert_eq!(row, before[&id], "{what}: {id}");
            }
        }
    }
}

#[test]
fn rounded_vectors_take_a_quarter_and_are_no_codes_of_which_merges_lose() {
    let all = examples("packages.parquet", ROWS);
    let disk = rounded(Metric::Cosine, &all);
    let file = disk.read(&segment(&disk), 0).unwrap();
    let bytes =
        |tag: &str| sections(&file).iter().filter(|one| one.tag == tag).map(|one| one.len).sum();
    let [vectors, scales, codes]: [usize; 3] = ["RNDV", "SCAL", "CODE"].map(bytes);
    assert_eq!((vectors, scales, codes), (ROWS * DIMENSION, ROWS * 2, 0));
    // Merged with other rows, again and again, a row stays as it was rounded first.
    let (_db, docs) = on(&disk, None);
    let first = kept(&docs);
    for round in 1..4 {
        fill(&docs, &all[..50 * DIMENSION], 1_000 * round);
        docs.compact().unwrap();
    }
    let last = kept(&docs);
    assert_eq!((last.len(), docs.stats().unwrap().segments.len()), (ROWS + 150, 1));
    for (id, row) in first {
        assert_eq!(last[&id], row, "{id}");
    }
    let explained = docs.search(&all[..DIMENSION]).k(3).explain().unwrap();
    assert!(explained.parts.iter().all(|part| part.rounded), "{explained:?}");
    assert_eq!(docs.stats().unwrap().segments[0].code, "rounded");
    // Rows in memory are as they were given, and their distances true.
    docs.upsert(&[5_000], &all[..DIMENSION], &notes(&[None], &[None])).unwrap();
    let fresh = docs.get(&[5_000], &Fields::none().with_vectors()).unwrap().vectors.unwrap();
    assert_eq!(fresh.to_f32(0..DIMENSION), &all[..DIMENSION]);
}

#[test]
fn rounded_rows_are_found_within_a_distance_and_beside_each_other_and_forgotten() {
    let all = examples("packages.parquet", 600);
    let (query, rest) = all.split_at(DIMENSION);
    for metric in METRICS {
        let disk = rounded(metric, rest);
        let path = segment(&disk);
        let file = disk.read(&path, 0).unwrap();
        let section = sections(&file).into_iter().find(|one| one.tag == "RNDV").unwrap();
        let (_db, docs) = on(&disk, None);
        let rows = kept(&docs);
        let mut known: Vec<f64> = rows.values().map(|row| distance(metric, query, row)).collect();
        known.sort_by(f64::total_cmp);
        let limit = known[20] as f32 + 1e-4;
        let within = known.iter().filter(|distance| **distance <= f64::from(limit)).count();
        let hits = docs.search(query).k(600).max_distance(limit).exact(true).run().unwrap();
        assert_eq!(hits.len(), within, "{metric}");
        let near = docs.search(query).k(5).with_vectors().run().unwrap();
        let vectors = near.vectors.as_ref().unwrap().to_f32(0..5 * DIMENSION);
        for (hit, vector) in near.iter().zip(vectors.chunks(DIMENSION)) {
            assert_eq!(vector, rows[&hit.id], "{metric}");
        }
        // Rows are kept apart by what is kept of them.
        let diverse = docs.search(query).k(5).mmr(0.3).run().unwrap();
        assert_eq!(diverse.len(), 5, "{metric}");
        let levels = file[section.offset + 5 * DIMENSION..][..DIMENSION].to_vec();
        let holds = |disk: &FaultDisk| {
            let mut files = disk.files().into_iter();
            files.any(|path| {
                let bytes = disk.read(&path, 0).unwrap();
                bytes.windows(levels.len()).any(|bytes| bytes == levels)
            })
        };
        assert!(holds(&disk), "{metric}");
        assert_eq!(docs.forget(&[5_u64]).unwrap(), 1);
        assert!(!holds(&disk), "{metric}");
        let left = kept(&docs);
        assert!(left.len() == rows.len() - 1 && left.iter().all(|(id, row)| rows[id] == *row));
    }
}

#[test]
fn codes_that_are_asked_for_lead_to_rounded_vectors() {
    let all = examples("packages.parquet", 2_400);
    let queries = examples("queries.parquet", 8);
    for (code, graph, name) in [
        (CodeChoice::Half, 0, "half"),
        (CodeChoice::Product { bytes: 48 }, 0, "product"),
        (CodeChoice::Bit, u64::MAX, "bit"),
    ] {
        let scratch = Scratch::new();
        let mut settings = settings();
        settings.code = code;
        settings.graph_bytes = graph;
        let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
        let schema = notes_schema(DIMENSION, Metric::L2).with_raw(Raw::None);
        let docs = db.collection("docs", schema).unwrap();
        fill(&docs, &all, 0);
        docs.compact().unwrap();
        assert_eq!(docs.stats().unwrap().segments[0].code, name);
        agrees(&docs, &queries, name);
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn whatever_is_written_exact_answers_are_those_over_what_is_given_back() {
    for seed in 0..12 {
        let mut random = Random::new(seed + 1);
        let dimension = [1, 3, 8, 33, 130][random.below(5) as usize];
        let metric = METRICS[random.below(3) as usize];
        let scratch = Scratch::new();
        let mut db = open(&scratch.path());
        let schema = notes_schema(dimension, metric).with_raw(Raw::None);
        let mut docs = db.collection("docs", schema).unwrap();
        let mut alive = std::collections::BTreeSet::new();
        for step in 0..24 {
            let what = format!("seed {seed}, step {step}: {dimension} {metric}");
            let many = 1 + random.below(40);
            let ids: Vec<u64> = (0..many).map(|_| random.below(120)).collect();
            match random.below(6) {
                0 => {
                    docs.delete(&ids).unwrap();
                    alive.retain(|id| !ids.contains(id));
                }
                1 => drop(docs.compact().unwrap()),
                2 => {
                    db.close().unwrap();
                    drop((docs, db));
                    db = open(&scratch.path());
                    docs = db.open_collection("docs").unwrap();
                }
                _ => {
                    let rows = random.vector(ids.len() * dimension);
                    let years = vec![Some(1); ids.len()];
                    docs.upsert(&ids, &rows, &notes(&vec![None; ids.len()], &years)).unwrap();
                    alive.extend(ids);
                }
            }
            let rows = kept(&docs);
            assert!(rows.keys().eq(alive.iter().map(|id| Id::U64(*id)).collect::<Vec<_>>().iter()));
            let query = random.vector(dimension);
            let hits = docs.search(&query).k(7).exact(true).run().unwrap();
            let mut all: Vec<f64> =
                rows.values().map(|row| distance(metric, &query, row)).collect();
            all.sort_by(f64::total_cmp);
            assert_eq!(hits.len(), all.len().min(7), "{what}");
            for (hit, expected) in hits.iter().zip(&all) {
                let own = distance(metric, &query, &rows[&hit.id]);
                let given = f64::from(hit.distance);
                let near = (given - own).abs() < 1e-4 && (given - expected).abs() < 1e-4;
                assert!(near, "{what}: {given}, {own}, {expected}");
            }
        }
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new(), "seed {seed}");
    }
}
