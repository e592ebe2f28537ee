//! Makes the fixtures anew: `tests/fixtures/README.md` says when that is allowed.
//!
//! ```text
//! cargo test --features cli --test it formats::make -- --ignored
//! ```
//!
//! Elements are small whole numbers, so that distances are exact whatever adds them up.

use std::fs;
use std::path::PathBuf;

use nearfield::interop::{ReadOptions, read};
use nearfield::{
    CodeChoice, Collection, Column, DataType, Database, ImportBatch, ImportOptions, Index,
    IndexOptions, Language, Metric, OpenOptions, Raw, Schema, Settings, TextOptions, VectorType,
    Vectors,
};
use serde_json::{Value, json};

use super::{copy_tree, facts, fixtures};
use crate::common::Random;

/// A database on its way to become a fixture.
struct Making {
    name: &'static str,
    dir: tempfile::TempDir,
}

impl Making {
    fn new(name: &'static str) -> Self {
        Self { name, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    /// Opens it with graphs from so many bytes of vectors on.
    fn open(&self, code: CodeChoice, graph_bytes: u64) -> Database {
        let mut settings = Settings::default();
        settings.background = false;
        settings.threads = 1;
        settings.m = 4;
        settings.ef_construction = 32;
        settings.graph_bytes = graph_bytes;
        settings.code = code;
        OpenOptions::new().settings(settings).open(self.path()).unwrap()
    }

    /// Puts the database into the repository as it lies there now, with the answers to `questions`.
    fn keep(&self, questions: Vec<Value>) {
        let target = fixtures().join(self.name);
        drop(fs::remove_dir_all(&target));
        copy_tree(&self.path(), &target);
        // Who held it last is nobody's business.
        fs::write(target.join("LOCK"), "").unwrap();
        let copy = self.dir.path().join("copy");
        copy_tree(&target, &copy);
        let db = OpenOptions::new().read_only(true).open(&copy).unwrap();
        let mut lines = Vec::new();
        for name in db.collections().unwrap() {
            lines.extend(facts::describe(&db.open_collection(&name).unwrap()));
        }
        lines.extend(questions.into_iter().map(|question| facts::answered(&db, question)));
        write_facts(self.name, &lines);
    }
}

fn write_facts(name: &str, facts: &[Value]) {
    let lines: String = facts.iter().map(|fact| format!("{fact}\n")).collect();
    fs::write(fixtures().join(format!("{name}.jsonl")), lines).unwrap();
}

fn whole(random: &mut Random, len: usize, low: i64, high: i64) -> Vec<f32> {
    (0..len).map(|_| (low + random.below((high - low + 1) as u64) as i64) as f32).collect()
}

/// Rows as JSON, in batches of the types of `schema`.
fn batches(rows: &[Value], schema: &Schema) -> Vec<ImportBatch> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, lines).unwrap();
    let options = ReadOptions::default().vector("vector");
    let columns = schema.columns().iter();
    let options = columns
        .fold(options, |options, column| options.column_type(&column.name, column.data_type));
    read(&path, &options).unwrap().map(Result::unwrap).collect()
}

fn upsert(docs: &Collection, rows: &[Value]) {
    for batch in batches(rows, &docs.schema().unwrap()) {
        docs.upsert(batch.ids, batch.vectors, batch.attributes.as_ref().unwrap()).unwrap();
    }
}

fn import(docs: &Collection, rows: &[Value]) {
    let batches = batches(rows, &docs.schema().unwrap()).into_iter().map(Ok);
    docs.import(batches, ImportOptions::new()).unwrap();
}

fn by_vector(collection: &str, query: &[f32], k: usize) -> Value {
    json!({"in": collection, "by": "vector", "query": query, "k": k})
}

fn by_filter(collection: &str, query: &[f32], k: usize, filter: &str) -> Value {
    json!({"in": collection, "by": "vector", "query": query, "k": k, "where": filter})
}

#[test]
#[ignore = "it writes the fixtures anew"]
fn fixtures_are_made() {
    fs::create_dir_all(fixtures()).unwrap();
    types(
        "floats",
        &[
            ("f32-l2", Metric::L2, VectorType::F32),
            ("f32-cosine", Metric::Cosine, VectorType::F32),
            ("f32-dot", Metric::Dot, VectorType::F32),
            ("f16-cosine", Metric::Cosine, VectorType::F16),
            ("bf16-l2", Metric::L2, VectorType::Bf16),
        ],
    );
    types(
        "integers",
        &[
            ("i8-dot", Metric::Dot, VectorType::I8),
            ("u8-l2", Metric::L2, VectorType::U8),
            ("b1-hamming", Metric::Hamming, VectorType::B1),
            ("b1-jaccard", Metric::Jaccard, VectorType::B1),
        ],
    );
    kept();
    codes();
    docs();
    backup();
    unclosed();
    index();
}

/// Rows of every type under every metric, in segments without a graph.
fn types(name: &'static str, collections: &[(&str, Metric, VectorType)]) {
    let making = Making::new(name);
    let db = making.open(CodeChoice::Auto, 1 << 40);
    let mut questions = Vec::new();
    let mut random = Random::new(1);
    for (name, metric, vector_type) in collections {
        let schema = Schema::new(12, *metric).with_vector_type(*vector_type);
        let docs = db.create_collection(name, schema).unwrap();
        let ids: Vec<u64> = (0..20).map(|row| row * 7 + 3).collect();
        if *vector_type == VectorType::B1 {
            // 12 bits a row, those behind them zero; one bit at least.
            let bytes = |_| [random.below(256) as u8 | 1, (random.below(16) << 4) as u8];
            let rows: Vec<u8> = ids.iter().flat_map(bytes).collect();
            docs.upsert(&ids, &rows, ()).unwrap();
            questions.push(by_vector(name, &[90.0, 48.0], 6));
        } else {
            let low = if *vector_type == VectorType::U8 { 0 } else { -100 };
            let rows = whole(&mut random, 12 * ids.len(), low, 100);
            docs.upsert(&ids, Vectors::from(rows), ()).unwrap();
            let query = whole(&mut random, 12, low, 100);
            questions.push(by_vector(name, &query, 6));
            questions.push(by_filter(name, &query, 3, "id > 40"));
        }
        docs.compact().unwrap();
    }
    db.close().unwrap();
    making.keep(questions);
}

#[test]
#[ignore = "it writes a fixture anew"]
fn what_is_kept_of_vectors_is_made() {
    kept();
}

/// What may be kept of f32 vectors, with a graph and without.
fn kept() {
    let making = Making::new("kept");
    let mut random = Random::new(5);
    let mut questions = Vec::new();
    for (name, raw, metric, graph) in [
        ("f16", Raw::F16, Metric::L2, false),
        ("none", Raw::None, Metric::Cosine, false),
        // Of odd dimension, with which rounded vectors have an element more.
        ("none-graph", Raw::None, Metric::Cosine, true),
    ] {
        let db = making.open(CodeChoice::Auto, if graph { 0 } else { 1 << 40 });
        let docs = db.create_collection(name, Schema::new(13, metric).with_raw(raw)).unwrap();
        let ids: Vec<u64> = (0..40).collect();
        docs.upsert(&ids, whole(&mut random, 13 * ids.len(), -90, 90), ()).unwrap();
        docs.compact().unwrap();
        let query = whole(&mut random, 13, -90, 90);
        questions.push(by_vector(name, &query, 6));
        questions.push(by_filter(name, &query, 3, "id > 20"));
        db.close().unwrap();
    }
    making.keep(questions);
}

/// Rows that differ along a few directions more than along others, so that a coarse code tells them apart.
fn leaning(random: &mut Random, rows: usize, dimension: usize) -> Vec<f32> {
    let directions = whole(random, 8 * dimension, -10, 10);
    let mut row = || {
        let weights = whole(random, 8, -9, 9);
        let along = |at: usize| {
            let steps = weights.iter().zip(directions[at..].iter().step_by(dimension));
            steps.map(|(weight, step)| weight * step).sum::<f32>()
        };
        (0..dimension).map(|at| (along(at) / 6.0).round().clamp(-127.0, 127.0)).collect::<Vec<_>>()
    };
    (0..rows).flat_map(|_| row()).collect()
}

/// A collection for each kind of code, with a graph and without.
fn codes() {
    let making = Making::new("codes");
    let mut random = Random::new(2);
    let product = CodeChoice::Product { bytes: 16 };
    let mut questions = Vec::new();
    for (name, code, graph, rows, dimension) in [
        // So many rows that a short walk is less work than comparing them all.
        ("full-graph", CodeChoice::Full, true, 420, 12),
        ("byte-graph", CodeChoice::Byte, true, 420, 12),
        ("half-graph", CodeChoice::Half, true, 420, 12),
        // Rows so long that codes have sketches.
        ("sketched-graph", CodeChoice::Half, true, 48, 600),
        // As few rows as may have product codes.
        ("product-graph", product, true, 2_100, 16),
        // So many that a scan by codes up to a distance is less work than comparing them all.
        ("bit", CodeChoice::Bit, false, 300, 40),
        ("product", product, false, 2_500, 16),
    ] {
        let db = making.open(code, if graph { 0 } else { 1 << 40 });
        let schema = Schema::new(dimension, Metric::L2).with_vector_type(VectorType::I8);
        let docs = db.create_collection(name, schema).unwrap();
        let ids: Vec<u64> = (0..rows as u64).collect();
        let vectors = leaning(&mut random, rows, dimension);
        docs.upsert(&ids, &vectors, ()).unwrap();
        docs.compact().unwrap();
        for row in [0, 7] {
            let query = &vectors[row * dimension..][..dimension];
            let mut question = by_vector(name, query, 4);
            if code == CodeChoice::Bit {
                let hits = docs.search(query).k(4).exact(true).run().unwrap();
                question["max_distance"] = json!(hits[3].distance);
            }
            questions.push(question);
            questions.push(by_filter(name, query, 3, "id BETWEEN 10 AND 200"));
        }
        db.close().unwrap();
    }
    making.keep(questions);
}

const LANGUAGES: [&str; 3] = ["en", "de", "日本"];
const WORDS: [&str; 6] = ["running", "stores", "pages", "mapped", "segfault", "the"];

/// A row with every type of attribute; some have none of them.
fn doc(row: i64) -> Value {
    let mut random = Random::new(row as u64 + 40);
    let vector = whole(&mut random, 4, -9, 9);
    let id = format!("doc-{row:02}");
    if row % 9 == 8 {
        return json!({"id": id, "vector": vector});
    }
    let pick = |random: &mut Random, len: usize| random.below(len as u64) as usize;
    let body: Vec<&str> = (0..4).map(|_| WORDS[pick(&mut random, WORDS.len())]).collect();
    let terms: serde_json::Map<String, Value> = (0..3)
        .map(|step| {
            (format!("{}", step * 100 + random.below(4)), json!(random.below(8) as f32 / 2.0 + 0.5))
        })
        .collect();
    json!({
        "id": id,
        "vector": vector,
        "flag": row % 3 == 0,
        "n": if row % 7 == 6 { Value::Null } else { json!(row * 1_000_003 - 20_000_000) },
        "x": f64::from(row as i32) / 4.0 - 3.0,
        "lang": LANGUAGES[pick(&mut random, 3)],
        "day": if row % 2 == 0 { "1969-07-20T20:17:40Z" } else { "2024-02-29T12:00:00.000001Z" },
        "tags": if row % 4 == 3 { json!([]) } else { json!(["a", Value::Null, format!("t{}", row % 3)]) },
        "terms": terms,
        "body": body.join(" "),
        "titel": format!("Häuser und {}", WORDS[pick(&mut random, 5)]),
    })
}

fn doc_schema() -> Schema {
    Schema::new(4, Metric::L2)
        .column("flag", DataType::Bool)
        .column("n", DataType::Int64)
        .column("x", DataType::Float64)
        .column("lang", DataType::Utf8)
        .column("day", DataType::Timestamp)
        .column("tags", DataType::ListUtf8)
        .column("terms", DataType::Sparse)
        .text("body")
        .text_with("titel", TextOptions::new().language(Language::German).k1(1.5).b(0.5))
}

/// Segments with and without a graph, dead rows, attributes updated, and operations in the log.
fn docs() {
    let making = Making::new("docs");
    let rows = |range: std::ops::Range<i64>| range.map(doc).collect::<Vec<_>>();
    let db = making.open(CodeChoice::Auto, 0);
    let docs = db.create_collection("docs", doc_schema()).unwrap();
    import(&docs, &rows(0..40));
    let learned = db.create_collection("learned", Schema::new(6, Metric::Cosine)).unwrap();
    let mut random = Random::new(3);
    let ids: Vec<u64> = (100..620).collect();
    learned.upsert(&ids, whole(&mut random, 6 * 520, -9, 9), ()).unwrap();
    learned.compact().unwrap();
    let query = whole(&mut random, 6, -9, 9);
    learned.calibrate(whole(&mut random, 6 * 50, -9, 9)).unwrap();
    db.close().unwrap();

    let db = making.open(CodeChoice::Auto, 1 << 40);
    let docs = db.open_collection("docs").unwrap();
    upsert(&docs, &rows(40..60));
    docs.delete(&["doc-05", "doc-17", "doc-44"]).unwrap();
    change(&docs, "id = 'doc-12'", json!({"lang": "fr"}));
    change(
        &docs,
        "id IN ('doc-10', 'doc-11')",
        json!({"lang": "fr", "n": 7, "body": "pages of France"}),
    );
    import(&docs, &rows(60..72));
    // From here on in the log alone.
    upsert(&docs, &rows(72..76));
    upsert(&docs, &rows(3..4));
    change(&docs, "id = 'doc-20'", json!({"titel": "Segfault", "tags": ["z"]}));
    docs.delete(&["doc-30", "doc-61", "doc-73"]).unwrap();
    docs.add_columns(&[Column { name: "late".into(), data_type: DataType::Int64, text: false }])
        .unwrap();
    change(&docs, "id = 'doc-21'", json!({"late": 5}));
    db.close().unwrap();
    let query_4 = [1.0, -2.0, 3.0, 0.0];
    let mut questions = vec![
        by_vector("docs", &query_4, 8),
        by_vector("learned", &query, 5),
        json!({"in": "docs", "by": "words", "column": "body", "query": "segfault page", "k": 6}),
        json!({"in": "docs", "by": "words", "column": "titel", "query": "haus +segfault", "k": 4}),
        json!({"in": "docs", "by": "sparse", "column": "terms", "query": [[1, 1.0], [102, 2.0], [203, 0.5]], "k": 7}),
    ];
    for filter in [
        "flag AND n IS NOT NULL",
        "n < -10000000 OR x >= 10.25",
        "lang = 'fr'",
        "lang = '日本' AND NOT flag",
        "day < TIMESTAMP '1970-01-01'",
        "tags HAS 't1'",
        "tags IS NULL",
        "late = 5",
        "terms IS NULL",
        "id LIKE 'doc-7%'",
    ] {
        questions.push(by_filter("docs", &query_4, 6, filter));
    }
    making.keep(questions);
}

/// A copy of a segment with dead rows and a log, as `Database::backup` makes it.
fn backup() {
    let source = Making::new("source");
    let db = source.open(CodeChoice::Auto, 1 << 40);
    let schema = Schema::new(5, Metric::Cosine).with_vector_type(VectorType::F16);
    let docs = db.create_collection("docs", schema.column("n", DataType::Int64)).unwrap();
    let row =
        |row: i64| json!({"id": row, "vector": [row, 2, row % 4 - 1, 1, -row % 7], "n": row % 6});
    import(&docs, &(0..30).map(row).collect::<Vec<_>>());
    docs.delete(&[3_u64, 20]).unwrap();
    upsert(&docs, &(28..33).map(row).collect::<Vec<_>>());
    let backup = Making::new("backup");
    db.backup(backup.path()).unwrap();
    let query = [3.0, 1.0, 2.0, 0.0, 1.0];
    backup.keep(vec![by_vector("docs", &query, 5), by_filter("docs", &query, 5, "n >= 3")]);
    db.close().unwrap();
}

fn change(docs: &Collection, filter: &str, values: Value) {
    let schema = docs.schema().unwrap();
    let row = nearfield::interop::attributes(values.as_object().unwrap(), &schema).unwrap();
    assert!(docs.update_where(filter, &row).unwrap() > 0, "{filter}");
}

/// What a process leaves that was killed: everything in the log, no manifest that says how far it goes.
fn unclosed() {
    let making = Making::new("unclosed");
    let db = making.open(CodeChoice::Auto, 0);
    let schema = Schema::new(3, Metric::Dot).column("n", DataType::Int64);
    let docs = db.create_collection("docs", schema).unwrap();
    let row = |row: i64| json!({"id": row, "vector": [row, row % 3, -row], "n": row % 5});
    upsert(&docs, &(0..12).map(row).collect::<Vec<_>>());
    docs.delete(&[4_u64]).unwrap();
    upsert(&docs, &[json!({"id": 2, "vector": [9, 9, 9], "n": null})]);
    let questions = vec![
        by_vector("docs", &[1.0, 2.0, 3.0], 4),
        by_filter("docs", &[1.0, 2.0, 3.0], 4, "n >= 3"),
    ];
    making.keep(questions);
    db.close().unwrap();
}

/// Bare indexes: with codes and ids out of order, without, and with product codes.
fn index() {
    let mut random = Random::new(4);
    let mut facts = Vec::new();
    for (name, code, rows, numbered) in [
        ("half.index", CodeChoice::Half, 420, false),
        ("full.index", CodeChoice::Full, 420, true),
        ("product.index", CodeChoice::Product { bytes: 16 }, 2_100, false),
    ] {
        let options = IndexOptions::new().code(code).m(4).ef_construction(32).threads(1);
        let options = options.vector_type(VectorType::I8);
        let index: Index = options.create(16, Metric::L2).unwrap();
        let ids: Vec<u64> = (0..rows).map(|row| (row as u64 * 37) % 10_007 + 1).collect();
        let vectors = leaning(&mut random, rows, 16);
        index.add((!numbered).then_some(&ids[..]), &vectors).unwrap();
        index.save(fixtures().join(name)).unwrap();
        for row in [0, 9] {
            let query = &vectors[row * 16..][..16];
            let hits = index.search(query).k(3).exact(true).run().unwrap();
            let hits: Vec<_> = hits.iter().map(|hit| json!([hit.id, hit.distance])).collect();
            facts.push(json!({"in": name, "len": rows, "query": query, "k": 3, "hits": hits}));
        }
    }
    write_facts("index", &facts);
}
