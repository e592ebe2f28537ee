//! What a search says of itself: the plan of each part and what it has done.

use nearfield::{CodeChoice, Collection, Metric, OpenOptions, Schema, SearchPlan, Settings};
use tempfile::TempDir;

use crate::common::Random;

const DIMENSION: usize = 64;
const ROWS: usize = 6_000;

fn rows(code: CodeChoice, graph_bytes: u64) -> (TempDir, Collection, Vec<f32>) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.graph_bytes = graph_bytes;
    settings.background = false;
    settings.code = code;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
    let rows = db.collection("rows", Schema::new(DIMENSION, Metric::L2)).unwrap();
    let mut random = Random::new(7);
    let values: Vec<f32> = (0..ROWS * DIMENSION).map(|_| random.unit()).collect();
    let ids: Vec<u64> = (0..ROWS as u64).collect();
    rows.upsert(&ids, &values, ()).unwrap();
    rows.compact().unwrap();
    (dir, rows, values)
}

#[test]
fn every_plan_is_told_with_what_it_did() {
    let cases = [
        (CodeChoice::Byte, 0, SearchPlan::Walk),
        (CodeChoice::Full, 0, SearchPlan::Walk),
        (CodeChoice::Full, u64::MAX, SearchPlan::Scan),
        (CodeChoice::Bit, u64::MAX, SearchPlan::ScanCodes),
    ];
    for (code, graph_bytes, plan) in cases {
        let (_dir, rows, values) = rows(code, graph_bytes);
        let query = &values[..DIMENSION];
        let explained = rows.search(query).k(5).explain().unwrap();
        assert_eq!(explained.hits.hits, rows.search(query).k(5).run().unwrap().hits);
        let [part] = explained.parts.as_slice() else { panic!("{} parts", explained.parts.len()) };
        assert_eq!(part.plan, plan, "{code:?}");
        assert_eq!((part.rows, part.live_rows), (ROWS as u64, ROWS as u64));
        assert!(part.segment.is_some() && part.candidates >= 5);
        assert!(part.time <= explained.search);
        let coded = [CodeChoice::Byte, CodeChoice::Bit].contains(&code);
        assert_eq!(part.codes_compared > 0, coded, "{part:?}");
        assert_eq!(part.nodes_expanded > 0, plan == SearchPlan::Walk, "{part:?}");
        match plan {
            SearchPlan::Scan => assert_eq!(part.rows_compared, ROWS as u64),
            // Some twice: a second pass may follow.
            SearchPlan::ScanCodes => assert!(part.codes_compared >= ROWS as u64, "{part:?}"),
            _ => assert!(part.codes_compared + part.rows_compared < ROWS as u64),
        }
        assert!(part.bytes_touched >= part.rows_compared * DIMENSION as u64 * 4, "{part:?}");
        let exact = rows.search(query).exact(true).explain().unwrap();
        assert_eq!(exact.parts[0].plan, SearchPlan::Scan);
    }
}

#[test]
fn fresh_rows_are_a_part_without_a_segment_and_an_empty_collection_has_none() {
    let (_dir, rows, values) = rows(CodeChoice::Auto, u64::MAX);
    rows.upsert(&[1], &values[..DIMENSION], ()).unwrap();
    let explained = rows.search(&values[..DIMENSION]).explain().unwrap();
    let [segment, fresh] = explained.parts.as_slice() else { panic!("two parts") };
    assert_eq!((segment.rows, segment.live_rows), (ROWS as u64, ROWS as u64 - 1));
    assert_eq!((fresh.segment, fresh.rows, fresh.plan), (None, 1, SearchPlan::Scan));
    assert!(rows.search(&values[..DIMENSION]).k(0).explain().unwrap().parts.is_empty());
    let wrong = rows.search(&values[..3]).explain().unwrap_err();
    assert!(wrong.to_string().contains('3'), "{wrong}");
}
