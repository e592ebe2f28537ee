//! What a collection tells of itself from outside: searches and how long they took, writes, what merges
//! have yet to take.

use nearfield::{
    Collection, ImportBatch, ImportOptions, Metric, OpenOptions, Schema, Settings, Vectors,
};

use crate::common::{Random, Scratch};

#[test]
fn searches_and_writes_are_counted_by_collection_and_since_opening() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    let other = db.collection("other", Schema::new(2, Metric::L2)).unwrap();
    assert_eq!((docs.stats().unwrap().writes, docs.stats().unwrap().searches.count), (0, 0));
    docs.upsert(&[1, 2], &[0.0_f32, 1.0, 2.0, 3.0], ()).unwrap();
    docs.add(&[3], &[4.0_f32, 4.0], ()).unwrap();
    docs.delete(&[3, 4]).unwrap();
    let batch = ImportBatch {
        ids: vec![5_u64].into(),
        vectors: Vectors::from(vec![5.0_f32, 5.0]),
        attributes: None,
        source_rows: vec![0],
        rejected: Vec::new(),
    };
    docs.import([Ok(batch)], ImportOptions::new()).unwrap();
    // Refused: nothing was written.
    docs.add(&[1], &[0.0_f32, 0.0], ()).unwrap_err();
    let snapshot = docs.snapshot().unwrap();
    let again = db.open_collection("docs").unwrap();
    docs.search(&[0.0_f32, 0.0]).run().unwrap();
    snapshot.search(&[0.0_f32, 0.0]).exact(true).run().unwrap();
    again.search(&[0.0_f32, 0.0]).explain().unwrap();
    docs.search(&[0.0_f32, 0.0, 1.0, 1.0, 2.0, 2.0]).run_batch().unwrap();
    docs.search(&[0.0_f32; 5]).run().unwrap_err();
    let stats = again.stats().unwrap();
    assert_eq!(stats.writes, 4);
    let searches = &stats.searches;
    assert_eq!((searches.count, searches.timed), (6, 3));
    assert!(0 < searches.p50_ns && searches.p50_ns <= searches.p95_ns);
    assert!(searches.p95_ns <= searches.p99_ns && searches.total_ns >= 3);
    assert_eq!(searches.histogram.iter().map(|(_, count)| count).sum::<u64>(), 3);
    assert_eq!((other.stats().unwrap().writes, other.stats().unwrap().searches.count), (0, 0));
    drop((docs, other, again, snapshot));
    db.close().unwrap();
    let docs = scratch.open().open_collection("docs").unwrap();
    assert_eq!((docs.stats().unwrap().writes, docs.stats().unwrap().searches.count), (0, 0));
}

#[test]
fn searches_of_many_threads_are_all_counted() {
    let scratch = Scratch::new();
    let docs = scratch.open().collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[1], &[0.0_f32, 1.0], ()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope
                .spawn(|| (0..250).for_each(|_| drop(docs.search(&[1.0_f32, 1.0]).run().unwrap())));
        }
    });
    assert_eq!(docs.stats().unwrap().searches.count, 1_000);
}

#[test]
fn what_merges_have_yet_to_take_is_told_and_gone_after_them() {
    let scratch = Scratch::new();
    let open = |graph_bytes: u64| {
        let mut settings = Settings::default();
        settings.background = false;
        settings.graph_bytes = graph_bytes;
        OpenOptions::new().settings(settings).open(scratch.path()).unwrap()
    };
    let mut random = Random::new(5);
    let mut import = |docs: &Collection, ids: std::ops::Range<u64>| {
        let vectors: Vec<f32> = ids.clone().flat_map(|_| random.vector(8)).collect();
        let ids: Vec<u64> = ids.collect();
        let batch = ImportBatch {
            source_rows: ids.clone(),
            ids: ids.into(),
            vectors: Vectors::from(vectors),
            attributes: None,
            rejected: Vec::new(),
        };
        docs.import([Ok(batch)], ImportOptions::new()).unwrap();
    };
    let db = open(1 << 40);
    import(&db.collection("docs", Schema::new(8, Metric::L2)).unwrap(), 0..300);
    db.close().unwrap();
    let docs = open(64 << 10).open_collection("docs").unwrap();
    let debt = || {
        let stats = docs.stats().unwrap();
        (stats.debt_rows.unwrap(), stats.debt_bytes.unwrap())
    };
    assert_eq!(debt(), (300, 300 * 32), "large enough for a graph, and without one");
    let reader = scratch.reader().open_collection("docs").unwrap().stats().unwrap();
    assert_eq!((reader.debt_rows, reader.debt_bytes), (None, None), "whose settings count?");
    docs.compact().unwrap();
    assert_eq!(debt(), (0, 0));
    import(&docs, 1_000..1_010);
    assert_eq!(debt(), (0, 0), "one small segment stays, unless somebody asks for more");
    docs.delete((0..100).collect::<Vec<u64>>()).unwrap();
    assert_eq!(debt(), (200, 200 * 32), "a third of the rows are dead");
    docs.compact().unwrap();
    assert_eq!(debt(), (0, 0));
    let calibration = docs.stats().unwrap().calibration;
    assert_eq!(calibration, None);
    let learned = docs.calibrate(&[0.25_f32; 8 * 60]).unwrap();
    assert_eq!(docs.stats().unwrap().calibration, Some(learned));
}
