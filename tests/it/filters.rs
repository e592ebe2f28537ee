//! Filters end to end: the right rows in searches, counts, scans and writes, whatever the rows went
//! through before.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
};
use nearfield::{
    Collection, DataType, Database, Durability, Error, Filter, IdType, Metric, OpenOptions,
    ScanOptions, Schema, Settings, col,
};

use crate::common::{Random, Scratch};

const DIMENSION: usize = 4;

/// The attributes of a row.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    n: Option<i64>,
    x: Option<f64>,
    s: Option<String>,
    flag: Option<bool>,
    tags: Option<Vec<String>>,
}

/// A row and its vector of small whole numbers, whose distances are exact.
type Model = BTreeMap<u64, (Vec<f32>, Row)>;

fn schema() -> Schema {
    Schema::new(DIMENSION, Metric::L2)
        .with_id_type(IdType::U64)
        .column("n", DataType::Int64)
        .column("x", DataType::Float64)
        .column("s", DataType::Utf8)
        .column("flag", DataType::Bool)
        .column("tags", DataType::ListUtf8)
}

fn batch(rows: &[&Row]) -> RecordBatch {
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for row in rows {
        row.tags.iter().flatten().for_each(|tag| tags.values().append_value(tag));
        tags.append(row.tags.is_some());
    }
    let rows = rows.iter();
    let n: ArrayRef = Arc::new(rows.clone().map(|row| row.n).collect::<Int64Array>());
    let x: ArrayRef = Arc::new(rows.clone().map(|row| row.x).collect::<Float64Array>());
    let s: ArrayRef = Arc::new(rows.clone().map(|row| row.s.clone()).collect::<LargeStringArray>());
    let flag: ArrayRef = Arc::new(rows.map(|row| row.flag).collect::<BooleanArray>());
    let tags: ArrayRef = Arc::new(tags.finish());
    let columns = [("n", n), ("x", x), ("s", s), ("flag", flag), ("tags", tags)];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn some<T>(random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
    if random.below(4) == 0 { None } else { Some(make(random)) }
}

fn row(random: &mut Random) -> Row {
    let word =
        |random: &mut Random| ["a", "ab", "b", "ba", ""][random.below(5) as usize].to_owned();
    Row {
        n: some(random, |random| random.below(7) as i64 - 3),
        x: some(random, |random| random.below(7) as f64 / 2.0 - 1.0),
        s: some(random, word),
        flag: some(random, |random| random.below(2) == 1),
        tags: some(random, |random| (0..random.below(3)).map(|_| word(random)).collect()),
    }
}

type Truth = Option<bool>;

fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

fn and(a: Truth, b: Truth) -> Truth {
    if a == Some(false) || b == Some(false) { Some(false) } else { a.zip(b).map(|(a, b)| a && b) }
}

/// What a filter says of the row of an id.
type Holds = Box<dyn Fn(u64, &Row) -> Truth>;

/// A random filter as text, and what it says of a row.
fn condition(random: &mut Random, depth: u64) -> (String, Holds) {
    let n = random.below(7) as i64 - 3;
    let id = random.below(300);
    let kinds = if depth == 0 { 9 } else { 12 };
    match random.below(kinds) {
        0 => (format!("n >= {n}"), Box::new(move |_, row| row.n.map(|value| value >= n))),
        1 => (format!("x < {n}"), Box::new(move |_, row| row.x.map(|value| value < n as f64))),
        2 => ("s LIKE 'a%'".into(), Box::new(|_, row| row.s.as_ref().map(|s| s.starts_with('a')))),
        3 => ("flag".into(), Box::new(|_, row| row.flag)),
        4 => (
            "tags HAS 'ab'".into(),
            Box::new(|_, row| row.tags.as_ref().map(|tags| tags.iter().any(|tag| tag == "ab"))),
        ),
        5 => ("s IS NULL".into(), Box::new(|_, row| Some(row.s.is_none()))),
        6 => (
            format!("n IN ({n}, 3, 1.0)"),
            Box::new(move |_, row| row.n.map(|value| value == n || value == 3 || value == 1)),
        ),
        7 => (format!("id < {id}"), Box::new(move |given, _| Some(given < id))),
        8 => (
            format!("id IN ({id}, {}, 7)", id + 1),
            Box::new(move |given, _| Some([id, id + 1, 7].contains(&given))),
        ),
        9 => {
            let (text, holds) = condition(random, depth - 1);
            (format!("NOT ({text})"), Box::new(move |id, row| not(holds(id, row))))
        }
        10 => {
            let (a, b) = (condition(random, depth - 1), condition(random, depth - 1));
            (
                format!("({}) AND ({})", a.0, b.0),
                Box::new(move |id, row| and((a.1)(id, row), (b.1)(id, row))),
            )
        }
        _ => {
            let (a, b) = (condition(random, depth - 1), condition(random, depth - 1));
            let or = move |id: u64, row: &Row| not(and(not((a.1)(id, row)), not((b.1)(id, row))));
            (format!("({}) OR ({})", a.0, b.0), Box::new(or))
        }
    }
}

fn numbers(ids: impl IntoIterator<Item = nearfield::Id>) -> Vec<u64> {
    let number = |id| match id {
        nearfield::Id::U64(id) => id,
        nearfield::Id::Utf8(_) => panic!("ids are numbers"),
    };
    ids.into_iter().map(number).collect()
}

/// The collection answers as the model does.
fn check(docs: &Collection, model: &Model, random: &mut Random, trace: &[String]) {
    for _ in 0..4 {
        let (text, holds) = condition(random, 2);
        let matching: Vec<u64> = model
            .iter()
            .filter(|(id, (_, row))| holds(**id, row) == Some(true))
            .map(|(id, _)| *id)
            .collect();
        let context = || format!("{text}\n{}", trace.join("\n"));
        assert_eq!(docs.count(&text).unwrap(), matching.len() as u64, "{}", context());
        let scan = docs.scan(ScanOptions::new().filter(&text).batch_rows(7)).unwrap();
        let scanned: Vec<u64> = scan.flat_map(|records| numbers(records.unwrap().ids)).collect();
        assert_eq!(scanned, matching, "{}", context());
        let query: Vec<f32> = (0..DIMENSION).map(|_| random.below(9) as f32).collect();
        let distance = |vector: &[f32]| -> f32 {
            vector.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let mut nearest: Vec<(u64, u64)> =
            matching.iter().map(|id| (distance(&model[id].0) as u64, *id)).collect();
        nearest.sort_unstable();
        nearest.truncate(5);
        let hits = docs.search(&query).k(5).exact(true).filter(&text).run().unwrap();
        let found: Vec<(u64, u64)> =
            hits.iter().map(|hit| (hit.distance as u64, numbers([hit.id.clone()])[0])).collect();
        assert_eq!(found, nearest, "{}", context());
        let batch = docs.search(&query).k(5).filter(text.as_str()).run_batch().unwrap();
        assert_eq!(batch[0].len(), nearest.len(), "{}", context());
        let explained = docs.search(&query).k(5).filter(&text).explain().unwrap();
        assert_eq!(explained.hits.len(), nearest.len(), "{}", context());
        assert_eq!(explained.filter.unwrap().matching_rows, matching.len() as u64);
    }
}

fn open(scratch: &Scratch) -> Database {
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.graph_bytes = 2_000;
    settings.compaction = false;
    OpenOptions::new().settings(settings).open(scratch.path()).unwrap()
}

#[test]
fn filters_find_the_right_rows_through_updates_deletions_flushes_compactions_and_reopening() {
    for seed in 0..12 {
        let mut random = Random::new(seed + 1);
        let scratch = Scratch::new();
        let mut db = open(&scratch);
        let mut docs = db.collection("docs", schema()).unwrap();
        let mut model = Model::new();
        let mut trace = vec![format!("seed {seed}")];
        for _ in 0..40 {
            match random.below(10) {
                0..=3 => {
                    let count = random.below(60) + 1;
                    let mut written = Model::new();
                    for _ in 0..count {
                        let vector = (0..DIMENSION).map(|_| random.below(9) as f32).collect();
                        written.insert(random.below(300), (vector, row(&mut random)));
                    }
                    let ids: Vec<u64> = written.keys().copied().collect();
                    let vectors: Vec<f32> =
                        written.values().flat_map(|row| row.0.clone()).collect();
                    let rows: Vec<&Row> = written.values().map(|row| &row.1).collect();
                    docs.upsert(&ids, &vectors, &batch(&rows)).unwrap();
                    trace.push(format!("upsert {ids:?}"));
                    model.extend(written);
                }
                4 => {
                    let ids: Vec<u64> = (0..20).map(|_| random.below(300)).collect();
                    let value = row(&mut random);
                    docs.update(&ids, &batch(&vec![&value; ids.len()])).unwrap();
                    trace.push(format!("update {ids:?} {value:?}"));
                    for id in ids {
                        model.entry(id).and_modify(|row| row.1 = value.clone());
                    }
                }
                5 => {
                    let (text, holds) = condition(&mut random, 1);
                    let value = Row { n: Some(2), ..row(&mut random) };
                    let values = batch(&[&value]).project(&[0, 2]).unwrap();
                    let updated = docs.update_where(&text, &values).unwrap();
                    trace.push(format!("update where {text} {value:?}"));
                    let found =
                        model.iter_mut().filter(|(id, row)| holds(**id, &row.1) == Some(true));
                    let mut count = 0;
                    for (_, (_, row)) in found {
                        (row.n, row.s) = (value.n, value.s.clone());
                        count += 1;
                    }
                    assert_eq!(updated, count, "{}", trace.join("\n"));
                }
                6 => {
                    let ids: Vec<u64> = (0..10).map(|_| random.below(300)).collect();
                    docs.delete(&ids).unwrap();
                    trace.push(format!("delete {ids:?}"));
                    model.retain(|id, _| !ids.contains(id));
                }
                7 => {
                    let (text, holds) = condition(&mut random, 1);
                    let text = format!("({text}) AND id < 60");
                    let before = model.len();
                    model.retain(|id, row| *id >= 60 || holds(*id, &row.1) != Some(true));
                    trace.push(format!("delete where {text}"));
                    let deleted = docs.delete_where(&text).unwrap();
                    assert_eq!(deleted, (before - model.len()) as u64, "{}", trace.join("\n"));
                }
                8 => {
                    docs.flush().unwrap();
                    trace.push("flush".into());
                    if random.below(2) == 0 {
                        docs.compact().unwrap();
                        trace.push("compact".into());
                    }
                }
                _ => {
                    db.close().unwrap();
                    db = open(&scratch);
                    docs = db.open_collection("docs").unwrap();
                    trace.push("reopen".into());
                }
            }
            check(&docs, &model, &mut random, &trace);
        }
    }
}

fn small(scratch: &Scratch) -> (Database, Collection) {
    let db = scratch.open();
    let docs = db.collection("docs", schema()).unwrap();
    let rows: Vec<Row> = (0..10)
        .map(|n| Row { n: Some(n), s: Some(format!("row {n}")), ..Row::default() })
        .collect();
    let ids: Vec<u64> = (0..10).collect();
    let vectors: Vec<f32> = ids.iter().flat_map(|id| [*id as f32; DIMENSION]).collect();
    docs.upsert(&ids, &vectors, &batch(&rows.iter().collect::<Vec<_>>())).unwrap();
    (db, docs)
}

#[test]
fn a_filter_that_does_not_fit_is_refused_everywhere_and_changes_nothing() {
    let scratch = Scratch::new();
    let (_db, docs) = small(&scratch);
    let values = batch(&[&Row::default()]);
    let query = [0.0_f32; DIMENSION];
    for filter in ["m = 1", "n = 'x'", "n =", "s HAS 'a'"] {
        let refusals = [
            docs.count(filter).map(drop),
            docs.delete_where(filter).map(drop),
            docs.update_where(filter, &values).map(drop),
            docs.search(&query).filter(filter).run().map(drop),
            docs.search(&query).filter(filter).run_batch().map(drop),
            docs.search(&query).filter(filter).explain().map(drop),
            docs.scan(ScanOptions::new().filter(filter)).map(drop),
            docs.snapshot().unwrap().count(filter).map(drop),
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            assert!(matches!(error, Error::Filter { position: Some(_), .. }), "{filter}: {error}");
        }
    }
    let two = batch(&[&Row::default(), &Row::default()]);
    assert!(matches!(docs.update_where("n = 1", &two), Err(Error::InvalidArgument(_))));
    assert_eq!((docs.len().unwrap(), docs.count("n IS NOT NULL").unwrap()), (10, 10));
}

#[test]
fn filters_of_two_calls_have_to_agree_and_none_finds_more_than_there_is() {
    let scratch = Scratch::new();
    let (_db, docs) = small(&scratch);
    let query = [0.0_f32; DIMENSION];
    let hits = docs.search(&query).filter(col("n").ge(3)).filter("n < 5").run().unwrap();
    assert_eq!(numbers(hits.into_iter().map(|hit| hit.id)), [3, 4]);
    let hits = docs.search(&query).filter("FALSE").run().unwrap();
    assert!(hits.is_empty());
    let hits = docs.search(&query).k(usize::MAX).filter(Filter::always()).run().unwrap();
    assert_eq!(hits.len(), 10);
    let empty = Database::open(scratch.dir.path().join("empty.nf")).unwrap();
    let none = empty.collection("none", Schema::new(2, Metric::L2)).unwrap();
    assert_eq!((none.count("id = 1").unwrap(), none.delete_where("id = 'a'").unwrap()), (0, 0));
    for filter in ["id IN (1, 2)", "id BETWEEN 1 AND 5", "id > 1.5", "id IN ('a', NULL)"] {
        assert_eq!(none.count(filter).unwrap(), 0, "{filter}");
        assert_eq!(none.delete_where(filter).unwrap(), 0, "{filter}");
        assert_eq!(none.scan(ScanOptions::new().filter(filter)).unwrap().count(), 0, "{filter}");
        assert!(none.search(&[0.0_f32; 2]).filter(filter).run().unwrap().is_empty(), "{filter}");
    }
}

#[test]
fn a_write_by_filter_that_would_take_too_much_is_refused_before_it_takes_it() {
    let scratch = Scratch::new();
    let (_db, docs) = small(&scratch);
    let text = Row { s: Some("a".repeat(30 << 20)), ..Row::default() };
    let values = batch(&[&text]).project(&[2]).unwrap();
    let error = docs.update_where("TRUE", &values).unwrap_err().to_string();
    assert!(error.contains("10 rows") && error.contains("narrower filter"), "{error}");
    assert_eq!(docs.count("s STARTS WITH 'row'").unwrap(), 10);
    let many = |count| (0..count).map(|n| col("x").gt(n)).reduce(|a, b| a.or(b)).unwrap();
    let error = docs.delete_where(many(1_001)).unwrap_err();
    assert!(matches!(error, Error::Filter { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("1001 conditions") && error.contains("at most 1000"), "{error}");
    assert!(docs.update_where(many(1_001), &values).is_err());
    assert_eq!(docs.delete_where(many(1_000)).unwrap(), 0);
    assert_eq!(docs.count(many(1_001)).unwrap(), 0, "reading holds nobody up");
    let equal = (0..5_000).map(|n| col("n").eq(2 * n)).reduce(|a, b| a.or(b)).unwrap();
    assert_eq!(docs.delete_where(equal).unwrap(), 5);
}

#[test]
fn a_search_that_is_cancelled_does_not_look_for_the_rows_of_its_filter() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let ids: Vec<u64> = (0..5_000).collect();
    docs.upsert(&ids, vec![0.0_f32; ids.len()], ()).unwrap();
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let search = || docs.search(&[0.0_f32]).filter("id > 100").cancel(flag.clone());
    assert!(matches!(search().run(), Err(Error::Cancelled)));
    assert!(matches!(search().run_batch(), Err(Error::Cancelled)));
    assert_eq!(docs.stats().unwrap().row_set_bytes, 0);
    flag.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(search().run().unwrap().len(), 10);
    assert!(docs.stats().unwrap().row_set_bytes > 0, "remembered");
}

#[test]
fn rows_are_filtered_by_string_ids_too() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let ids: Vec<String> = (0..100).map(|n| format!("{}/{n:03}", ["a", "b"][n % 2])).collect();
    let vectors: Vec<f32> = (0..100).map(|n| n as f32).collect();
    docs.upsert(&ids, &vectors, ()).unwrap();
    for flushed in [false, true] {
        if flushed {
            docs.flush().unwrap();
        }
        assert_eq!(docs.count("id STARTS WITH 'a/'").unwrap(), 50);
        assert_eq!(docs.count("id IN ('a/000', 'b/001', 'c')").unwrap(), 2);
        assert_eq!(docs.count("id >= 'b/051' AND id <> 'b/053'").unwrap(), 24);
        assert!(docs.count("id = 5").is_err());
    }
    let removed = docs.delete_where("id LIKE 'a/0_2' OR id = 'b/001'").unwrap();
    assert_eq!((removed, docs.len().unwrap()), (11, 89));
}

#[test]
fn lists_of_ids_are_looked_up_however_long() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let ids: Vec<u64> = (0..2_000).map(|n| n * 3).collect();
    docs.upsert(&ids, vec![0.0_f32; ids.len()], ()).unwrap();
    let near: Vec<u64> = (10..40).collect();
    let far: Vec<u64> = (0..20).map(|n| n << 50).chain([6, 7, 8, 9, u64::MAX]).collect();
    for flushed in [false, true] {
        if flushed {
            docs.flush().unwrap();
        }
        assert_eq!(docs.count(col("id").is_in(near.clone())).unwrap(), 10);
        assert_eq!(docs.count(col("id").is_in(far.clone())).unwrap(), 3);
        assert_eq!(docs.count(col("id").not_in(near.clone())).unwrap(), 1_990);
        assert_eq!(docs.count(col("id").is_in(0_u64..6_000)).unwrap(), 2_000);
    }
    assert_eq!(docs.delete_where(col("id").is_in(far)).unwrap(), 3);
    assert_eq!(docs.len().unwrap(), 1_997);
}

#[test]
fn a_deletion_by_filter_is_atomic_and_survives_reopening() {
    let scratch = Scratch::new();
    let (db, docs) = small(&scratch);
    let before = docs.snapshot().unwrap();
    assert_eq!(docs.delete_where("n BETWEEN 2 AND 4").unwrap(), 3);
    assert_eq!(docs.delete_where("n BETWEEN 2 AND 4").unwrap(), 0);
    assert_eq!((before.count("TRUE").unwrap(), docs.count("TRUE").unwrap()), (10, 7));
    db.close().unwrap();
    let docs = scratch.open().open_collection("docs").unwrap();
    assert_eq!(docs.count("n < 5").unwrap(), 2);
}

/// Numbers of a NumPy file behind its header.
#[cfg(feature = "cli")]
fn npy(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].to_vec()
}

#[cfg(feature = "cli")]
#[test]
fn filtered_neighbours_of_real_rows_are_the_exact_ones() {
    use nearfield::half::f16;
    use nearfield::interop::FileImport;
    use nearfield::{ImportOptions, Vectors};

    const QUERIES: usize = 8;
    let data = std::env::var_os("NEARFIELD_DATA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        Into::into,
    );
    let folder = data.join("pypi-minilm-384-100k");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let scratch = Scratch::new();
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.graph_bytes = u64::MAX;
    let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
    let mut file = FileImport::new(folder.join("train.f16.npy"));
    file.metric = Some(Metric::Cosine);
    file.read.metadata = Some(folder.join("meta.parquet"));
    file.run(&db, "pypi", ImportOptions::new()).unwrap();
    let docs = db.open_collection("pypi").unwrap();
    let queries: Vec<f16> = npy(&folder.join("queries.f16.npy"))
        .chunks_exact(2)
        .take(QUERIES * 384)
        .map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]))
        .collect();
    for (name, filter, matching) in [
        ("bucket_lt_500", "bucket < 500", 49_879),
        ("bucket_lt_100", "bucket < 100", 9_889),
        ("bucket_lt_10", "bucket < 10", 974),
        ("bucket_lt_1", "bucket < 1", 101),
        ("year_eq_2026", "year = 2026", 43_820),
        ("year_le_2012", "year <= 2012", 1_339),
        ("month_eq_2026-10", "month = '2026-10'", 11_108),
        ("rank_not_null", "rank IS NOT NULL", 1_632),
        ("name_prefix_django", "name ILIKE 'django%'", 2_230),
        ("name_prefix_mypy-boto3", "name ILIKE 'mypy-boto3%'", 92),
    ] {
        assert_eq!(docs.count(filter).unwrap(), matching, "{filter}");
        let exact: Vec<i32> = npy(&folder.join(format!("filters/{name}.neighbors10.npy")))
            .chunks_exact(4)
            .take(QUERIES * 10)
            .map(|bytes| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let vectors = Vectors::from(queries.as_slice());
        let found = docs.search(vectors).k(10).filter(filter).run_batch().unwrap();
        let mut right = 0;
        for (hits, exact) in found.iter().zip(exact.chunks(10)) {
            let wanted: Vec<u64> = exact.iter().filter_map(|id| u64::try_from(*id).ok()).collect();
            assert_eq!(hits.len(), wanted.len(), "{filter}");
            right += numbers(hits.iter().map(|hit| hit.id.clone()))
                .iter()
                .filter(|id| wanted.contains(id))
                .count();
        }
        // But for rows that are equally far.
        assert!(right * 100 >= QUERIES * 10 * 98, "{filter}: {right} of {}", QUERIES * 10);
    }
}

#[test]
fn filters_of_a_megabyte_and_lists_of_a_million_are_answered() {
    let scratch = Scratch::new();
    let db = open(&scratch);
    let docs = db.collection("large", schema()).unwrap();
    const ROWS: u64 = 3_000;
    let ids: Vec<u64> = (0..ROWS).collect();
    let rows: Vec<Row> = ids
        .iter()
        .map(|id| Row { n: Some(*id as i64), s: Some(format!("x{id}")), ..Row::default() })
        .collect();
    docs.upsert(
        &ids,
        vec![0.0_f32; ids.len() * DIMENSION],
        &batch(&rows.iter().collect::<Vec<_>>()),
    )
    .unwrap();
    let listed = |of: &dyn Fn(u64) -> String| {
        (0..1_000_000).map(|at| of(at * 3)).collect::<Vec<_>>().join(",")
    };
    let numbers = listed(&|n| n.to_string());
    let texts = listed(&|n| format!("'x{n}'"));
    let ranges: Vec<String> =
        (0..36_000).map(|at| format!("n BETWEEN {} AND {}", at * 10, at * 10 + 3)).collect();
    let long = "x".repeat(1 << 20);
    let found = [
        (format!("n IN ({numbers})"), 1_000),
        (format!("NOT n IN ({numbers})"), 2_000),
        (format!("s IN ({texts})"), 1_000),
        (format!("NOT s IN ({texts})"), 2_000),
        (format!("id IN ({numbers})"), 1_000),
        (ranges.join(" OR "), 1_200),
        (format!("s = '{long}' OR n = 7"), 1),
        (format!("s < '{long}'"), 3_000),
        (format!("s LIKE '{}' OR n < 2", "%a".repeat(1 << 19)), 2),
        (format!("{}n = 1", "NOT ".repeat(10_000)), 1),
    ];
    let failing = [
        (format!("s = '{long}"), "has no end at column 5"),
        (format!("{long} = 1"), "there is no column"),
        (format!("n = '{long}'"), "compare it with a number"),
        (format!("{}n = 1{}", "(".repeat(10_000), ")".repeat(10_000)), "more than 256 deep"),
        (format!("n IN ({numbers}, 'a')"), "the text 'a'"),
    ];
    for indexed in [false, true] {
        if indexed {
            docs.compact().unwrap();
        }
        for (filter, expected) in &found {
            assert_eq!(docs.count(filter).unwrap(), *expected, "{}", &filter[..40]);
        }
        for (filter, expected) in &failing {
            let error = docs.count(filter).unwrap_err().to_string();
            assert!(error.contains(expected) && error.len() < 1_000, "{error}");
        }
    }
}
