//! What a fixture must answer: one JSON object a line, in the file beside it.
//!
//! ```text
//! {"in": "docs", "rows": 3, "memtable_rows": 0, "schema": {…}, "segments": [{…}], "calibration": null}
//! {"in": "docs", "row": {"id": 1, "vector": […], …}}
//! {"in": "codes", "digest": "3f0e…"}
//! {"in": "docs", "by": "vector", "query": […], "k": 5, "where": "n > 3", "hits": [[1, 0.5], …]}
//! ```
//!
//! A search is `by` `vector` (perhaps up to a `max_distance`), `words` (in a `column`) or `sparse`; its hits are
//! ids with their distances.

use std::path::Path;

use nearfield::interop::{self, Format};
use nearfield::{
    Collection, Database, Id, Metric, Query, Result, ScanOptions, SparseVector, VectorType,
};
use serde_json::{Value, json};

/// The facts of a file, line by line.
pub fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those about one collection.
pub fn of<'a>(facts: &'a [Value], name: &str) -> Vec<&'a Value> {
    facts.iter().filter(|fact| fact["in"] == name).collect()
}

/// Names of the collections that facts are about.
pub fn names(facts: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = facts.iter().filter_map(|fact| fact["in"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a collection is made of, and its rows.
pub fn describe(docs: &Collection) -> Vec<Value> {
    let stats = docs.stats().unwrap();
    let segment = |segment: &nearfield::SegmentStats| {
        json!({
            "rows": segment.rows,
            "dead_rows": segment.dead_rows,
            "graph": segment.graph,
            "code": segment.code,
        })
    };
    let calibration = docs.calibration().unwrap();
    let mut facts = vec![json!({
        "in": docs.name(),
        "rows": stats.rows,
        "memtable_rows": stats.memtable_rows,
        "schema": docs.schema().unwrap(),
        "segments": stats.segments.iter().map(segment).collect::<Vec<_>>(),
        "calibration": calibration,
    })];
    let all = rows(docs);
    match digest(&all) {
        Some(digest) => facts.push(json!({"in": docs.name(), "digest": digest})),
        None => facts.extend(all.into_iter().map(|row| json!({"in": docs.name(), "row": row}))),
    }
    facts
}

/// What stands for the ids and vectors of rows that are too many to be written down.
fn digest(rows: &[Value]) -> Option<String> {
    let lines: String =
        rows.iter().map(|row| format!("{} {}\n", row["id"], row["vector"])).collect();
    (lines.len() > 8_000).then(|| format!("{:032x}", xxhash_rust::xxh3::xxh3_128(lines.as_bytes())))
}

/// Fails unless the rows are those of the facts.
pub fn check_rows(docs: &Collection, facts: &[&Value]) {
    let all = rows(docs);
    match digest(&all) {
        Some(digest) => assert!(facts.iter().any(|fact| fact["digest"] == digest.as_str())),
        None => {
            let wanted = facts.iter().filter_map(|fact| fact.get("row"));
            assert!(all.iter().eq(wanted), "rows of {}", docs.name());
        }
    }
}

/// All rows, as they are exported.
pub fn rows(docs: &Collection) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows");
    let all = ScanOptions::new();
    interop::export(docs, &path, Some(Format::Jsonl), all, |_| true).unwrap();
    read(&path)
}

/// Whether a fact is a question.
pub fn is_search(fact: &Value) -> bool {
    fact.get("by").is_some()
}

/// Whether this build can be asked it.
pub fn is_possible(fact: &Value) -> bool {
    cfg!(feature = "text") || fact["by"] != "words"
}

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Exactly,
    AsByDefault,
    /// By vectors with so few candidates that walking the graph of a fixture is less work than comparing its
    /// rows.
    ByWalking,
    /// For a recall so low that walking is less work as well.
    ByRecall,
}

/// Candidates of [`Way::ByWalking`].
pub const WALK: usize = 12;

/// Asks a question, by running the search or by having it explained.
pub fn ask<T>(
    docs: &Collection,
    fact: &Value,
    way: Way,
    answer: impl FnOnce(Query<'_>) -> Result<T>,
) -> T {
    let run = |query: Query<'_>| {
        let query = query.k(fact["k"].as_u64().unwrap() as usize);
        let query = match way {
            Way::Exactly => query.exact(true),
            Way::AsByDefault => query,
            Way::ByWalking => query.ef(WALK),
            Way::ByRecall => query.recall(0.5),
        };
        let query = match fact.get("where").and_then(Value::as_str) {
            Some(filter) => query.filter(filter),
            None => query,
        };
        let query = match fact.get("max_distance").and_then(Value::as_f64) {
            Some(distance) => query.max_distance(distance as f32),
            None => query,
        };
        answer(query).unwrap_or_else(|error| panic!("{fact}, {way:?}: {error}"))
    };
    match fact["by"].as_str().unwrap() {
        "vector" if docs.schema().unwrap().vector_type() == VectorType::B1 => {
            let bytes: Vec<u8> = floats(&fact["query"]).iter().map(|byte| *byte as u8).collect();
            run(docs.search(&bytes))
        }
        "vector" => run(docs.search(floats(&fact["query"]))),
        "sparse" => {
            let query = sparse(&fact["query"]);
            run(docs.search_sparse(fact["column"].as_str().unwrap(), &query))
        }
        #[cfg(feature = "text")]
        "words" => {
            let words = docs.search_words(fact["query"].as_str().unwrap());
            run(words.columns([(fact["column"].as_str().unwrap(), 1.0)]))
        }
        other => panic!("{other}"),
    }
}

/// Fails unless the question is answered as it was.
pub fn check(docs: &Collection, fact: &Value, way: Way) {
    let hits = ask(docs, fact, way, |query| query.run());
    let expected = fact["hits"].as_array().unwrap();
    let found: Vec<Value> = hits.iter().map(|hit| id(&hit.id)).collect();
    let wanted: Vec<&Value> = expected.iter().map(|hit| &hit[0]).collect();
    assert!(found.iter().eq(wanted.iter().copied()), "{fact}, {way:?}: {found:?}");
    for (hit, expected) in hits.iter().zip(expected) {
        let (found, wanted) = (f64::from(hit.distance), expected[1].as_f64().unwrap());
        let near = (found - wanted).abs() <= 2e-6 * wanted.abs().max(1.0);
        assert!(near, "{fact}, {way:?}: {found} for {wanted}");
    }
}

/// Asks and writes down the answer.
pub fn answered(db: &Database, mut fact: Value) -> Value {
    let docs = db.open_collection(fact["in"].as_str().unwrap()).unwrap();
    let hits = ask(&docs, &fact, Way::Exactly, |query| query.run());
    let pair = |hit: &nearfield::Hit| json!([id(&hit.id), hit.distance]);
    fact["hits"] = hits.iter().map(pair).collect();
    check(&docs, &fact, Way::AsByDefault);
    fact
}

/// The nearest of `rows`, found without the engine: distances with their ids.
pub fn nearest(rows: &[Value], metric: Metric, query: &Value, k: usize) -> Vec<(f64, Value)> {
    let query: Vec<f64> = serde_json::from_value(query.clone()).unwrap();
    let mut found: Vec<(f64, Value)> = rows
        .iter()
        .map(|row| {
            let vector: Vec<f64> = serde_json::from_value(row["vector"].clone()).unwrap();
            (distance(metric, &query, &vector), row["id"].clone())
        })
        .collect();
    // Stable, and rows come by ascending id; what differs by rounding alone is equal.
    found.sort_by_key(|(distance, _)| (distance * 1e9).round() as i64);
    found.truncate(k);
    found
}

fn distance(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    let sum =
        |term: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| term(*a, *b)).sum::<f64>();
    let bits =
        |term: &dyn Fn(u8, u8) -> u8| sum(&|a, b| f64::from(term(a as u8, b as u8).count_ones()));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -dot(a, b),
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        Metric::Hamming => bits(&|a, b| a ^ b),
        Metric::Jaccard => 1.0 - bits(&|a, b| a & b) / bits(&|a, b| a | b),
        other => panic!("{other}"),
    }
}

fn id(id: &Id) -> Value {
    match id {
        Id::U64(id) => json!(id),
        Id::Utf8(id) => json!(id.to_string()),
    }
}

pub fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn sparse(value: &Value) -> SparseVector {
    let pairs: Vec<(u32, f32)> = serde_json::from_value(value.clone()).unwrap();
    SparseVector::from_pairs(pairs).unwrap()
}
