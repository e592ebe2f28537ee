//! Recall as a parameter: what is asked for is found, by filters and among deleted rows too, and what
//! was chosen for it is told.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use nearfield::{
    Collection, DataType, EfSource, Error, MeasuredRecall, Metric, OpenOptions, Query, RecallQuery,
    Schema, SearchPlan, Settings,
};
use tempfile::TempDir;

use crate::common::Random;

const DIMENSION: usize = 24;
const ROWS: usize = 6_000;
/// So many that their graph is built in bulk.
const MANY_ROWS: usize = 9_000;
const QUERIES: usize = 150;

struct Data {
    _dir: TempDir,
    docs: Collection,
    random: Random,
}

/// Rows of numbers alone, hard to tell apart.
fn data(metric: Metric) -> Data {
    filled(metric, ROWS, 0)
}

/// So many rows; the first `equal` of them are the same.
fn filled(metric: Metric, rows: usize, equal: usize) -> Data {
    let mut random = Random::new(3);
    let one = random.vector(DIMENSION);
    let mut all = one.repeat(equal);
    all.extend(vectors(&mut random, rows - equal));
    holding(metric, &all, random, Settings::default())
}

fn vectors(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).flat_map(|_| random.vector(DIMENSION)).collect()
}

fn holding(metric: Metric, vectors: &[f32], mut random: Random, mut settings: Settings) -> Data {
    let rows = vectors.len() / DIMENSION;
    let dir = tempfile::tempdir().unwrap();
    settings.graph_bytes = 0;
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
    let schema = Schema::new(DIMENSION, metric).column("draw", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    let draws: Int64Array = (0..rows).map(|_| random.below(100) as i64).collect();
    let draws = RecordBatch::try_from_iter([("draw", Arc::new(draws) as ArrayRef)]).unwrap();
    let ids: Vec<u64> = (0..rows as u64).collect();
    docs.upsert(&ids, vectors, &draws).unwrap();
    docs.compact().unwrap();
    Data { _dir: dir, docs, random }
}

/// Vectors that were never rows.
fn queries(random: &mut Random) -> Vec<f32> {
    vectors(random, QUERIES)
}

fn measured(docs: &Collection, queries: &[f32], recall: f32, filter: Option<&str>) -> f64 {
    let measure = docs.measure_recall().queries(queries).recall(recall);
    let measure = if let Some(filter) = filter { measure.filter(filter) } else { measure };
    measure.run().unwrap().recall
}

#[test]
fn the_recall_asked_for_is_found_and_explained() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let Data { _dir, docs, mut random } = data(metric);
        let queries = queries(&mut random);
        let mut before = 0;
        for recall in [0.8, 0.9, 0.95] {
            let found = measured(&docs, &queries, recall, None);
            assert!(found >= f64::from(recall) - 0.02, "{found} of {recall} by {metric:?}");
            let explained = docs.search(&queries[..DIMENSION]).recall(recall).explain().unwrap();
            assert_eq!(explained.recall, Some(recall));
            let part = &explained.parts[0];
            assert_eq!((part.plan, part.ef_source), (SearchPlan::Walk, Some(EfSource::Measured)));
            assert_eq!(part.slack.is_some(), metric != Metric::Dot);
            let ef = part.ef.unwrap();
            assert!(ef > before, "{ef} candidates after {before}");
            before = ef;
        }
        let whole = docs.search(&queries[..DIMENSION]).recall(1.0).explain().unwrap();
        assert_eq!((whole.parts[0].plan, whole.parts[0].ef), (SearchPlan::Scan, None));
        assert_eq!(measured(&docs, &queries, 1.0, None), 1.0);
        let given = docs.search(&queries[..DIMENSION]).ef(30).explain().unwrap();
        assert_eq!((given.parts[0].ef, given.recall), (Some(30), None));
        assert_eq!(given.parts[0].ef_source, Some(EfSource::Given));
        let usual = docs.search(&queries[..DIMENSION]).explain().unwrap();
        assert_eq!(usual.parts[0].ef_source, Some(EfSource::Settings));
    }
}

#[test]
fn the_recall_asked_for_is_found_under_filters_and_among_deleted_rows() {
    let Data { _dir, docs, mut random } = data(Metric::L2);
    let queries = queries(&mut random);
    for filter in ["draw < 80", "draw < 50", "draw < 10"] {
        let found = measured(&docs, &queries, 0.9, Some(filter));
        assert!(found >= 0.88, "{found} of {filter}");
    }
    let third: Vec<u64> = (0..ROWS as u64).step_by(3).collect();
    docs.delete(&third).unwrap();
    let found = measured(&docs, &queries, 0.9, None);
    assert!(found >= 0.88, "{found} among deleted rows");
    let fresh: Vec<f32> = (0..200).flat_map(|_| random.vector(DIMENSION)).collect();
    docs.upsert(&third[..200], &fresh, ()).unwrap();
    let found = measured(&docs, &queries, 0.9, None);
    assert!(found >= 0.88, "{found} of a segment and fresh rows");
}

#[test]
fn a_quarter_of_equal_rows_does_not_mislead() {
    let Data { _dir, docs, mut random } = filled(Metric::L2, MANY_ROWS, MANY_ROWS / 4);
    let queries = queries(&mut random);
    let found = measured(&docs, &queries, 0.9, None);
    assert!(found >= 0.88, "{found}");
    let of_rows = docs.measure_recall().recall(0.9).run().unwrap();
    assert!(of_rows.recall >= 0.88 && of_rows.queries == 200, "{of_rows:?}");
}

#[test]
fn a_graph_that_is_known_to_find_little_is_searched_for_longer_by_default() {
    for metric in [Metric::L2, Metric::Dot] {
        let mut settings = Settings::default();
        settings.ef_search = 10;
        let mut random = Random::new(5);
        let vectors = vectors(&mut random, MANY_ROWS);
        let Data { docs, mut random, _dir } = holding(metric, &vectors, random, settings);
        let queries = queries(&mut random);
        let found = |measure: RecallQuery<'_>| measure.queries(&queries).run().unwrap().recall;
        let (given, usual) = (found(docs.measure_recall().ef(10)), found(docs.measure_recall()));
        assert!(given < 0.9 && usual >= 0.94, "{metric}: {given} by ef, {usual} by default");
        let source = |query: Query<'_>| query.explain().unwrap().parts[0].ef_source;
        let query = &queries[..DIMENSION];
        assert_eq!(source(docs.search(query)), Some(EfSource::Measured));
        assert_eq!(source(docs.search(query).ef(10)), Some(EfSource::Given));
    }
    let Data { docs, mut random, _dir } = data(Metric::L2);
    let query = random.vector(DIMENSION);
    let part = &docs.search(&query).explain().unwrap().parts[0];
    assert_eq!((part.ef, part.ef_source), (Some(100), Some(EfSource::Settings)));
}

#[test]
fn long_rows_are_found_by_inner_products() {
    for (rows, long) in [(ROWS, 50), (MANY_ROWS, 50), (ROWS, 7), (MANY_ROWS, 7)] {
        let mut random = Random::new(5);
        let mut vectors = vectors(&mut random, rows);
        for row in vectors.chunks_mut(DIMENSION).step_by(long) {
            row.iter_mut().for_each(|x| *x *= 10.0);
        }
        let Data { docs, mut random, _dir } =
            holding(Metric::Dot, &vectors, random, Settings::default());
        let queries = queries(&mut random);
        let found = docs.measure_recall().queries(&queries).ef(100).run().unwrap().recall;
        assert!(found >= 0.85, "{found} of {rows} rows, one in {long} long");
    }
}

#[test]
fn a_measurement_of_rows_tells_what_new_queries_find() {
    let Data { _dir, docs, mut random } = data(Metric::L2);
    let queries = queries(&mut random);
    let of_rows = docs.measure_recall().sample(400).ef(24).run().unwrap();
    let MeasuredRecall { recall, low, high, percentile_5, .. } = of_rows;
    assert!(low < recall && recall < high && high <= 1.0, "{of_rows:?}");
    assert!(percentile_5 <= recall && (percentile_5 * 10.0).fract().abs() < 1e-9, "{of_rows:?}");
    let of_queries = docs.measure_recall().queries(&queries).ef(24).run().unwrap().recall;
    // A graph built without the row would have linked its neighbours past it.
    let told = of_queries - 0.12..=of_queries + 0.02;
    assert!(told.contains(&recall), "{recall} of rows, {of_queries} of queries");
    let by_hand: f64 = queries
        .chunks(DIMENSION)
        .map(|query| {
            let ids = |query: Query<'_>| -> Vec<_> {
                query.run().unwrap().into_iter().map(|hit| hit.id).collect()
            };
            let exact = ids(docs.search(query).exact(true));
            let found = ids(docs.search(query).ef(24));
            found.iter().filter(|id| exact.contains(id)).count() as f64 / exact.len() as f64
        })
        .sum();
    assert!((by_hand / QUERIES as f64 - of_queries).abs() < 1e-9);
    let exact = docs.measure_recall().sample(50).recall(1.0).k(3).run().unwrap();
    assert_eq!((exact.recall, exact.low, exact.percentile_5, exact.k), (1.0, 1.0, 1.0, 3));
    let few = docs.measure_recall().filter("id < 5").sample(20).run().unwrap();
    assert_eq!((few.queries, few.recall), (20, 1.0));
}

#[test]
fn a_recall_that_is_no_share_is_refused() {
    let Data { _dir, docs, .. } = data(Metric::L2);
    let query = vec![0.5_f32; DIMENSION];
    let refused = |result: Result<(), Error>, names: &str| {
        let message = match result {
            Err(Error::InvalidArgument(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(message.contains(names), "{message}");
    };
    for recall in [0.0, -0.5, 1.000_1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let named = format!("recall is {recall}, expected");
        refused(docs.search(&query).recall(recall).run().map(drop), &named);
        refused(docs.search(&query).recall(recall).exact(true).run_batch().map(drop), &named);
        refused(docs.measure_recall().recall(recall).run().map(drop), &named);
    }
    refused(docs.search(&query).recall(0.9).ef(10).run().map(drop), "give one of them");
    for recall in [0.9, 1.0] {
        let both = || docs.search(&query).recall(recall).exact(true);
        let named = format!("recall {recall} and exact are given; give one of them");
        refused(both().run().map(drop), &named);
        refused(both().run_batch().map(drop), &named);
        refused(both().explain().map(drop), &named);
    }
    refused(docs.measure_recall().k(0).run().map(drop), "k of 1 or more");
    refused(docs.measure_recall().sample(0).run().map(drop), "sample is 0, expected 1 or more");
    refused(docs.measure_recall().queries(&[0.0_f32; 0]).run().map(drop), "no queries are given");
    refused(docs.measure_recall().filter("draw > 1000").run().map(drop), "leaves no row");
    let wrong = docs.measure_recall().queries(&query[1..]).run();
    assert!(matches!(wrong, Err(Error::DimensionMismatch { .. })), "{wrong:?}");
    let wrong = docs.measure_recall().queries(&[f32::NAN; DIMENSION]).run();
    assert!(matches!(wrong, Err(Error::InvalidVector { .. })), "{wrong:?}");
    docs.delete_where("id > 0").unwrap();
    refused(docs.measure_recall().run().map(drop), "none but that searched for");
    docs.delete(&[0_u64]).unwrap();
    refused(docs.measure_recall().run().map(drop), "no rows to search for");
    refused(docs.measure_recall().queries(&query).run().map(drop), "there is no row");
}

#[test]
fn a_calibration_makes_up_for_queries_unlike_the_rows_and_outlives_merges_and_openings() {
    let Data { _dir: dir, docs, mut random } = data(Metric::Cosine);
    // Between rows, and nearer to none: harder than any of them.
    let hard: Vec<f32> = queries(&mut random).iter().map(|value| value.powi(3)).collect();
    assert_eq!(docs.calibration().unwrap(), None);
    let learned = docs.calibrate(&hard).unwrap();
    assert_eq!(learned.queries, QUERIES);
    assert!(learned.points.iter().all(|point| point.found >= f64::from(point.asked)));
    assert_eq!(docs.calibration().unwrap(), Some(learned.clone()));
    let query = &hard[..DIMENSION];
    let source = |docs: &Collection| {
        docs.search(query).recall(0.9).explain().unwrap().parts[0].ef_source.unwrap()
    };
    assert_eq!(source(&docs), EfSource::Calibrated);
    assert!(measured(&docs, &hard, 0.9, None) >= 0.9);
    docs.upsert(&[0], query, ()).unwrap();
    docs.compact().unwrap();
    docs.close().unwrap();
    let path = dir.path().join("db");
    drop(docs);
    let db = OpenOptions::new().open(&path).unwrap();
    let docs = db.open_collection("docs").unwrap();
    assert_eq!((docs.calibration().unwrap(), source(&docs)), (Some(learned), EfSource::Calibrated));
    assert!(docs.forget_calibration().unwrap() && !docs.forget_calibration().unwrap());
    assert_eq!((docs.calibration().unwrap(), source(&docs)), (None, EfSource::Measured));
}

#[test]
fn queries_that_tell_nothing_calibrate_nothing() {
    let Data { _dir, docs, mut random } = data(Metric::L2);
    let queries = queries(&mut random);
    let refused = docs.calibrate(&queries[..DIMENSION * 49]).unwrap_err().to_string();
    assert!(
        refused.contains("49 queries are given") && refused.contains("50 or more"),
        "{refused}"
    );
    let wrong = docs.calibrate(&queries[1..]);
    assert!(matches!(wrong, Err(Error::DimensionMismatch { .. })), "{wrong:?}");
    let none = docs.calibrate(&queries[..0]);
    assert!(matches!(none, Err(Error::InvalidArgument(_))), "{none:?}");
    let mut bad = queries.clone();
    bad[7] = f32::NAN;
    let wrong = docs.calibrate(&bad);
    assert!(matches!(wrong, Err(Error::InvalidVector { .. })), "{wrong:?}");
    assert_eq!(docs.calibration().unwrap(), None);
    docs.delete_where("id >= 0").unwrap();
    let empty = docs.calibrate(&queries);
    assert!(matches!(empty, Err(Error::InvalidArgument(_))), "{empty:?}");
    assert!(matches!(docs.measure_recall().run(), Err(Error::InvalidArgument(_))));
}
