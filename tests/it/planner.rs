//! Filtered searches of segments with a graph: enough hits and the right ones, however few rows match
//! and wherever they lie, and row sets that are remembered without ever being out of date.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use nearfield::{
    CodeChoice, Collection, DataType, Metric, OpenOptions, Schema, SearchPlan, Settings,
};
use tempfile::TempDir;

use crate::common::Random;

const DIMENSION: usize = 48;
const ROWS: usize = 12_000;
const CLUSTERS: usize = 12;

/// Rows around some centres: which of them, and a random number below 10,000.
struct Data {
    _dir: TempDir,
    docs: Collection,
    centres: Vec<Vec<f32>>,
}

fn near(centre: &[f32], random: &mut Random) -> Vec<f32> {
    centre.iter().map(|value| value + 0.6 * random.unit()).collect()
}

fn columns(cluster: &[i64], draw: &[i64]) -> RecordBatch {
    let column = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    RecordBatch::try_from_iter([("cluster", column(cluster)), ("draw", column(draw))]).unwrap()
}

fn data(code: CodeChoice, graph_bytes: u64) -> Data {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.graph_bytes = graph_bytes;
    settings.background = false;
    settings.code = code;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
    let schema = Schema::new(DIMENSION, Metric::L2)
        .column("cluster", DataType::Int64)
        .column("draw", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    let mut random = Random::new(5);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| random.vector(DIMENSION)).collect();
    let (mut vectors, mut cluster, mut draw) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..ROWS {
        vectors.extend(near(&centres[row % CLUSTERS], &mut random));
        cluster.push((row % CLUSTERS) as i64);
        draw.push(random.below(10_000) as i64);
    }
    let ids: Vec<u64> = (0..ROWS as u64).collect();
    docs.upsert(&ids, &vectors, &columns(&cluster, &draw)).unwrap();
    docs.compact().unwrap();
    Data { _dir: dir, docs, centres }
}

/// Share of the nearest matching rows found, and the plans of the searches.
fn recall(data: &Data, filter: &dyn Fn(usize) -> String) -> (f64, Vec<SearchPlan>) {
    const K: usize = 10;
    let mut random = Random::new(9);
    let (mut found, mut wanted) = (0, 0);
    let mut plans = Vec::new();
    for cluster in 0..CLUSTERS {
        for _ in 0..4 {
            let query = near(&data.centres[cluster], &mut random);
            let search = || data.docs.search(&query).k(K).filter(filter(cluster));
            let matching = data.docs.count(filter(cluster)).unwrap() as usize;
            let exact = search().exact(true).run().unwrap();
            assert_eq!(exact.len(), matching.min(K));
            let explained = search().explain().unwrap();
            assert_eq!(explained.hits.len(), matching.min(K), "{}", filter(cluster));
            plans.extend(explained.parts.iter().map(|part| part.plan));
            let worst = exact.iter().last().map_or(0.0, |hit| hit.distance);
            wanted += exact.len();
            found += explained.hits.iter().filter(|hit| hit.distance <= worst * 1.000_001).count();
        }
    }
    let share = if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 };
    (share, plans)
}

#[test]
fn filtered_searches_find_the_nearest_rows_at_every_share_and_place() {
    for (code, graph_bytes) in
        [(CodeChoice::Byte, 0), (CodeChoice::Full, 0), (CodeChoice::Bit, u64::MAX)]
    {
        let data = data(code, graph_bytes);
        for most in [9_000, 5_000, 2_000, 1_000, 500, 100, 10, 1, 0] {
            let (recall, plans) = recall(&data, &|_| format!("draw < {most}"));
            assert!(recall >= 0.97, "{code:?} {most}: {recall}");
            if graph_bytes == 0 && most >= 9_000 {
                assert!(plans.contains(&SearchPlan::Walk), "{code:?} {most}: {plans:?}");
            }
            if (1..=100).contains(&most) {
                let picked = |plan: &SearchPlan| *plan == SearchPlan::ScanMatching;
                assert!(plans.iter().all(picked), "{code:?} {most}: {plans:?}");
            }
        }
        for sign in ["=", "<>"] {
            let (recall, plans) = recall(&data, &|cluster| format!("cluster {sign} {cluster}"));
            assert!(recall >= 0.95, "{code:?} {sign}: {recall} {plans:?}");
        }
        let (recall, _) = recall(&data, &|cluster| format!("cluster <> {cluster} AND draw < 3000"));
        assert!(recall >= 0.95, "{code:?}: {recall}");
    }
}

#[test]
fn a_plan_says_what_it_was_chosen_by() {
    let data = data(CodeChoice::Byte, 0);
    let query = &data.centres[0];
    let part =
        |filter: &str| data.docs.search(query).filter(filter).explain().unwrap().parts.remove(0);
    let few = part("draw < 100");
    assert_eq!(few.plan, SearchPlan::ScanMatching, "{few:?}");
    assert!(0 < few.scan_cost && few.scan_cost <= few.walk_cost, "{few:?}");
    assert_eq!(Some(few.codes_compared), few.matching_rows);
    let most = part("draw < 9000");
    assert_eq!(most.plan, SearchPlan::Walk, "{most:?}");
    assert!(0 < most.walk_cost && most.walk_cost < most.scan_cost, "{most:?}");
    let exact = data.docs.search(query).exact(true).filter("draw < 100").explain().unwrap();
    let exact = &exact.parts[0];
    assert_eq!((exact.plan, exact.codes_compared), (SearchPlan::ScanMatching, 0));
    assert_eq!((exact.walk_cost, exact.scan_cost), (0, 0));
}

#[test]
fn deleted_rows_are_passed_over_like_those_that_do_not_match() {
    let data = data(CodeChoice::Byte, 0);
    data.docs.delete_where("draw >= 200").unwrap();
    let left = data.docs.len().unwrap();
    assert!((100..500).contains(&left), "{left}");
    let query = &data.centres[3];
    let explained = data.docs.search(query).k(left + 5).explain().unwrap();
    assert_eq!(explained.hits.len(), left);
    assert_eq!(explained.parts[0].plan, SearchPlan::ScanMatching, "{:?}", explained.parts);
    let nearest = data.docs.search(query).run().unwrap().hits;
    assert_eq!(nearest, data.docs.search(query).exact(true).run().unwrap().hits);
}

#[test]
fn a_limit_takes_no_hits_where_more_rows_are_hidden_than_a_walk_keeps() {
    const LEFT: usize = 5;
    let data = data(CodeChoice::Full, 0);
    let docs = &data.docs;
    for centre in &data.centres[4..6] {
        for (ef, hidden) in [(32, 250), (64, 500), (100, 800)] {
            let nearest = docs.search(centre).k(hidden + LEFT).exact(true).run().unwrap().hits;
            let filter =
                nearfield::col("id").not_in(nearest[..hidden].iter().map(|hit| hit.id.clone()));
            let most = nearest[hidden + LEFT - 1].distance;
            let search = || docs.search(centre).ef(ef).filter(&filter);
            let mut within = search().run().unwrap().hits;
            within.retain(|hit| hit.distance <= most);
            assert!(within.len() + 1 >= LEFT, "ef {ef}: {}", within.len());
            let limited = search().max_distance(most).explain().unwrap();
            assert_eq!(limited.parts[0].plan, SearchPlan::Walk);
            assert_eq!(limited.hits.hits, within, "ef {ef}");
        }
    }
}

#[test]
fn a_filter_asked_again_sees_every_write_in_between() {
    let data = data(CodeChoice::Byte, 0);
    let docs = &data.docs;
    let filter = "draw < 2000 AND cluster = 3";
    let count = |snapshot: &nearfield::Snapshot| snapshot.count(filter).unwrap();
    let first = docs.snapshot().unwrap();
    let before = count(&first);
    let ids = || -> Vec<u64> {
        let hits = docs.search(&data.centres[3]).k(ROWS).filter(filter).run().unwrap();
        let number = |hit: &nearfield::Hit| match hit.id {
            nearfield::Id::U64(id) => id,
            nearfield::Id::Utf8(_) => panic!("ids are numbers"),
        };
        hits.iter().map(number).collect()
    };
    assert_eq!(ids().len() as u64, before);
    assert_eq!(ids().len() as u64, before, "remembered");
    let gone = ids()[0];
    docs.delete(&[gone]).unwrap();
    assert_eq!(ids().len() as u64, before - 1);
    assert!(!ids().contains(&gone));
    let moved = ids()[0];
    docs.update(&[moved], &columns(&[4], &[1])).unwrap();
    assert_eq!(ids().len() as u64, before - 2);
    let came = (0..ROWS as u64).find(|id| id % CLUSTERS as u64 == 4 && *id != moved).unwrap();
    docs.update(&[came], &columns(&[3], &[1])).unwrap();
    assert!(ids().contains(&came));
    docs.upsert(&[came], &data.centres[3], &columns(&[3], &[9_999])).unwrap();
    assert!(!ids().contains(&came));
    docs.compact().unwrap();
    assert_eq!(ids().len() as u64, before - 2);
    assert_eq!(count(&first), before, "a snapshot keeps what it saw");
}

#[test]
fn a_batch_answers_as_single_searches_do() {
    let data = data(CodeChoice::Byte, 0);
    let queries: Vec<f32> = data.centres.concat();
    for filter in ["draw < 30", "draw < 3000", "draw < 9000"] {
        let batch = data.docs.search(&queries).filter(filter).run_batch().unwrap();
        assert_eq!(batch.len(), CLUSTERS);
        for (centre, hits) in data.centres.iter().zip(batch) {
            let alone = data.docs.search(centre).filter(filter).run().unwrap();
            assert_eq!(hits.hits, alone.hits, "{filter}");
        }
    }
}
