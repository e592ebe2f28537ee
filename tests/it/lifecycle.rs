//! What a person does first: open, write, search, close, reopen.

use nearfield::{Error, Fields, Id, Metric, ScanOptions, Schema};

use crate::common::{Random, Scratch, notes, notes_schema};

#[test]
fn rows_written_are_found_again_after_reopening() {
    let scratch = Scratch::new();
    {
        let db = scratch.open();
        let docs = db.collection("docs", notes_schema(2, Metric::L2)).unwrap();
        let batch = notes(&[Some("near"), Some("far"), None], &[Some(1), None, Some(3)]);
        let written = docs.upsert(&[7, 8, 9], &[0.0_f32, 0.0, 3.0, 4.0, 6.0, 8.0], &batch).unwrap();
        assert_eq!(written, 3);
        db.close().unwrap();
    }
    let db = scratch.open();
    let docs = db.open_collection("docs").unwrap();
    assert_eq!(docs.len().unwrap(), 3);
    let hits = docs.search(&[0.0_f32, 0.0]).k(2).select(["note"]).run().unwrap();
    let found: Vec<_> = hits.iter().map(|hit| (hit.id.clone(), hit.distance, hit.score)).collect();
    assert_eq!(found, [(Id::U64(7), 0.0, 0.0), (Id::U64(8), 25.0, -25.0)]);
    let records = docs.get(&[9, 1, 7], &Fields::all().with_vectors()).unwrap();
    assert_eq!(records.ids, [Id::U64(9), Id::U64(7)]);
    let expected = notes(&[None, Some("near")], &[Some(3), Some(1)]);
    assert_eq!(records.attributes.columns(), expected.columns());
}

#[test]
fn an_upsert_replaces_an_update_keeps_and_a_delete_counts() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", notes_schema(1, Metric::L2)).unwrap();
    let batch = notes(&[Some("a"), Some("b")], &[Some(1), Some(2)]);
    docs.upsert(&["x", "y"], &[1.0_f32, 2.0], &batch).unwrap();
    docs.upsert(&["x"], &[5.0_f32], ()).unwrap();
    let year: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from(vec![9]));
    let years = arrow_array::RecordBatch::try_from_iter([("year", year)]).unwrap();
    assert_eq!(docs.update(&["y"], &years).unwrap(), 1);
    assert_eq!(docs.update(&["nobody"], &years).unwrap(), 0);
    let records = docs.get(&["x", "y"], &Fields::all()).unwrap();
    let expected = notes(&[None, Some("b")], &[None, Some(9)]);
    assert_eq!(records.attributes.columns(), expected.columns());
    assert_eq!(docs.delete(&["x", "nobody", "x"]).unwrap(), 1);
    assert!(!docs.contains("x").unwrap());
    assert!(matches!(
        docs.add(&["y"], &[1.0_f32], ()),
        Err(Error::DuplicateId { ids }) if ids == [Id::from("y")]
    ));
    assert!(matches!(docs.delete(&[1]), Err(Error::SchemaMismatch { .. })));
}

#[test]
fn compaction_keeps_rows_and_gives_space_back() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(64, Metric::Cosine)).unwrap();
    let mut random = Random::new(1);
    let ids: Vec<u64> = (0..8_000).collect();
    let vectors: Vec<f32> = ids.iter().flat_map(|_| random.vector(64)).collect();
    for (ids, vectors) in ids.chunks(1_000).zip(vectors.chunks(64_000)) {
        docs.upsert(ids, vectors, ()).unwrap();
    }
    docs.compact().unwrap();
    let gone: Vec<u64> = ids.iter().copied().filter(|id| id % 5 == 0).collect();
    assert_eq!(docs.delete(&gone).unwrap(), 1_600);
    let before = docs.stats().unwrap().disk_bytes;
    docs.compact().unwrap();
    let stats = docs.stats().unwrap();
    assert!(stats.disk_bytes * 100 <= before * 83, "{} of {before}", stats.disk_bytes);
    assert_eq!(stats.rows, 6_400);
    assert_eq!(stats.dead_rows, 0);
    let hits = docs.search(&vectors[64..128]).k(1).run().unwrap();
    assert_eq!(hits[0].id, Id::U64(1));
    assert!(!docs.contains(5).unwrap());
    let report = docs.verify().unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[test]
fn a_scan_walks_in_order_of_id_and_pages_join() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    for id in [5_u64, 3, 9, 1, 7, 2] {
        docs.upsert(id, &[id as f32], ()).unwrap();
    }
    docs.delete(3).unwrap();
    let mut seen = Vec::new();
    let mut options = ScanOptions::new().limit(2).fields(Fields::none());
    loop {
        let page: Vec<Id> =
            docs.scan(options.clone()).unwrap().flat_map(|batch| batch.unwrap().ids).collect();
        let Some(last) = page.last() else { break };
        options = options.after(last.clone());
        seen.extend(page);
    }
    assert_eq!(seen, [1, 2, 5, 7, 9].map(Id::U64));
}

#[test]
fn a_second_writer_is_refused_at_once_and_a_reader_follows() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    docs.upsert(1, &[1.0_f32], ()).unwrap();
    assert!(matches!(
        nearfield::Database::open(scratch.path()),
        Err(Error::Locked { holder, .. }) if holder.contains("pid")
    ));
    let reader = scratch.reader().open_collection("docs").unwrap();
    assert_eq!(reader.len().unwrap(), 1);
    docs.upsert(2, &[2.0_f32], ()).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.len().unwrap(), 2);
    docs.compact().unwrap();
    docs.delete(1).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.len().unwrap(), 1);
    assert!(!reader.refresh().unwrap());
    assert!(matches!(reader.upsert(3, &[1.0_f32], ()), Err(Error::ReadOnly(_))));
}

#[test]
fn an_id_too_long_for_any_row_is_refused_by_a_delete_and_leaves_the_log_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let long = "x".repeat(70_000);
    {
        let db = nearfield::Database::open(&path).unwrap();
        let rows = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
        rows.upsert(&["a", "b"], &[1.0_f32, 0.0, 0.0, 1.0], ()).unwrap();
        let error = rows.delete(&["a", long.as_str()]).unwrap_err();
        assert!(matches!(error, nearfield::Error::InvalidArgument(_)), "{error}");
        assert_eq!(rows.len().unwrap(), 2);
        assert_eq!(rows.delete(&["a"]).unwrap(), 1);
        db.close().unwrap();
    }
    let db = nearfield::Database::open(&path).unwrap();
    assert_eq!(db.open_collection("docs").unwrap().len().unwrap(), 1);
}

#[test]
fn a_reader_is_told_when_its_collection_was_dropped_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = nearfield::Database::open(&path).unwrap();
    let rows = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    rows.upsert(&[1_u64], &[1.0_f32, 0.0], ()).unwrap();
    let readers = nearfield::OpenOptions::new().read_only(true).open(&path).unwrap();
    let reader = readers.open_collection("docs").unwrap();
    assert_eq!(reader.len().unwrap(), 1);
    db.drop_collection("docs").unwrap();
    let rows = db.collection("docs", Schema::new(3, Metric::L2)).unwrap();
    rows.upsert(&[7_u64, 8], &[0.0_f32; 6], ()).unwrap();
    rows.flush().unwrap();
    assert!(matches!(reader.refresh(), Err(nearfield::Error::Closed(_))));
    assert_eq!(reader.len().unwrap(), 1, "what it had seen stays what it is");
}
