//! What a person does first: open, write, search, close, reopen.

use std::path::Path;

use nearfield::{
    Attributes, Column, DataType, Error, Fields, Id, ImportBatch, ImportOptions, Metric,
    ScanOptions, Schema,
};

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
    let one = docs.add(&["y"], &[1.0_f32], ()).unwrap_err().to_string();
    assert!(one.starts_with("id \"y\" exists already or is given twice; use upsert"), "{one}");
    let three = docs.add(&["a", "a", "b", "b", "y"], &[1.0_f32; 5], ()).unwrap_err().to_string();
    assert!(
        three.starts_with("3 ids exist already or are given twice, \"a\" among them"),
        "{three}"
    );
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

/// Somebody removes the files of an open database, or those of one collection.
#[cfg(unix)]
#[test]
#[expect(clippy::disallowed_methods, reason = "removes files behind the engine's back")]
fn writes_into_a_directory_that_was_removed_are_errors_and_closing_says_so_once() {
    use nearfield::{Durability, OpenOptions};
    for (removed, durability) in [
        ("", Durability::Sync),
        ("", Durability::Buffered),
        ("", Durability::None),
        ("docs", Durability::Sync),
    ] {
        let scratch = Scratch::new();
        let db = OpenOptions::new().durability(durability).open(scratch.path()).unwrap();
        let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
        docs.upsert(&[1], &[0.0_f32, 0.0], ()).unwrap();
        docs.flush().unwrap();
        std::fs::remove_dir_all(scratch.path().join(removed)).unwrap();
        let lost = |error: Error| {
            let told = error.to_string();
            assert!(told.contains("removed while it was open"), "{removed:?}: {told}");
            error
        };
        let first = lost(docs.upsert(&[2], &[3.0_f32, 4.0], ()).unwrap_err());
        assert!(matches!(first, Error::Io { .. }), "{first:?}");
        assert!(matches!(lost(docs.delete(&[1]).unwrap_err()), Error::Poisoned(_)));
        assert!(matches!(lost(docs.flush().unwrap_err()), Error::Poisoned(_)));
        // Reads go on with what is mapped and in memory.
        assert_eq!(docs.search(&[3.0_f32, 4.0]).k(5).run().unwrap().hits[0].id, Id::U64(1));
        assert!(matches!(lost(db.close().unwrap_err()), Error::Io { .. }));
        db.close().unwrap();
    }
}

#[cfg(unix)]
#[test]
#[expect(clippy::disallowed_methods, reason = "removes files behind the engine's back")]
fn closing_tells_of_a_removed_directory_though_nothing_was_written_since() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[1], &[0.0_f32, 0.0], ()).unwrap();
    std::fs::remove_dir_all(scratch.path()).unwrap();
    assert!(matches!(docs.flush(), Err(Error::Io { .. })));
    assert!(matches!(docs.close(), Err(Error::Io { .. })));
    docs.close().unwrap();
    db.close().unwrap();
    assert!(matches!(docs.upsert(&[1], &[0.0_f32, 0.0], ()), Err(Error::Closed(_))));
}

/// As somebody finds it who looks while another process creates the database.
#[test]
fn a_reader_finds_no_database_in_an_empty_directory_and_a_writer_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let read = || nearfield::OpenOptions::new().read_only(true).open(dir.path());
    assert!(matches!(read(), Err(Error::NotFound { .. })));
    nearfield::Database::open(dir.path()).unwrap();
    assert_eq!(read().unwrap().collections().unwrap(), Vec::<String>::new());
}

#[test]
fn a_database_made_for_nothing_is_removed_again_and_no_other() {
    let scratch = Scratch::new();
    let db = scratch.open();
    db.create_collection("docs", Schema::new(2, Metric::L2)).unwrap();
    assert!(!db.close_and_remove_if_empty().unwrap());
    let db = scratch.open();
    assert_eq!(db.collections().unwrap(), ["docs"]);
    db.drop_collection("docs").unwrap();
    assert!(db.close_and_remove_if_empty().unwrap());
    assert!(!scratch.path().exists());
    assert!(matches!(db.close_and_remove_if_empty(), Err(Error::Closed(_))));
}

fn batch_of(ids: std::ops::Range<u64>, years: bool) -> ImportBatch {
    let rows = ids.clone().count();
    let year: arrow_array::ArrayRef =
        std::sync::Arc::new(arrow_array::Int64Array::from(vec![2026; rows]));
    let attributes = arrow_array::RecordBatch::try_from_iter([("year", year)]).unwrap();
    ImportBatch {
        vectors: ids.clone().flat_map(|id| [id as f32, 0.0]).collect::<Vec<f32>>().into(),
        source_rows: ids.clone().collect(),
        ids: ids.collect::<Vec<u64>>().into(),
        attributes: years.then_some(attributes),
        rejected: Vec::new(),
    }
}

#[test]
fn an_import_of_new_rows_refuses_known_ids_and_stores_nothing() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[5, 600], &[9.0_f32, 9.0, 8.0, 8.0], ()).unwrap();
    let import = |batches: Vec<ImportBatch>| {
        let options = ImportOptions::new().only_new(true);
        docs.import(batches.into_iter().map(Ok), options)
    };
    let known = |result: nearfield::Result<_>, expected: &[u64]| {
        let Err(Error::DuplicateId { ids }) = result else { panic!("{result:?}") };
        assert_eq!(ids, expected.iter().map(|id| Id::U64(*id)).collect::<Vec<_>>());
    };
    known(import(vec![batch_of(0..10, false)]), &[5]);
    known(import(vec![batch_of(10..20, false), batch_of(600..601, false)]), &[600]);
    // Twice in the source, in one batch and in two.
    let mut twice = batch_of(10..12, false);
    twice.ids = vec![10, 10].into();
    known(import(vec![twice]), &[10]);
    known(import(vec![batch_of(10..20, false), batch_of(15..17, false)]), &[15, 16]);
    assert_eq!(docs.len().unwrap(), 2);
    // A row that somebody adds while the import runs.
    let between = [batch_of(10..20, false), batch_of(20..30, false)].into_iter().map(|batch| {
        if batch.ids.at(0) == nearfield::IdRef::U64(20) {
            docs.upsert(&[12], &[1.0_f32, 1.0], ())?;
        }
        Ok(batch)
    });
    known(docs.import(between, ImportOptions::new().only_new(true)), &[12]);
    assert_eq!(docs.len().unwrap(), 3);
    assert_eq!(import(vec![batch_of(700..800, false)]).unwrap().rows, 100);
    assert_eq!(docs.len().unwrap(), 103);
    assert!(docs.verify().unwrap().problems.is_empty());
}

#[test]
fn columns_of_an_import_appear_with_its_rows_or_not_at_all() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[500], &[0.0_f32, 0.0], ()).unwrap();
    let year = |data_type| Column { name: "year".into(), data_type, text: false };
    let import = |batches: Vec<nearfield::Result<ImportBatch>>, data_type| {
        docs.import(batches, ImportOptions::new().columns([year(data_type)]))
    };
    let broken = vec![Ok(batch_of(0..10, true)), Err(Error::Cancelled)];
    assert!(matches!(import(broken, DataType::Int64), Err(Error::Cancelled)));
    assert!(docs.schema().unwrap().columns().is_empty());
    import(vec![Ok(batch_of(0..10, true))], DataType::Int64).unwrap();
    let all = docs.get(&[3, 500], &Fields::all()).unwrap();
    assert_eq!(all.attributes, years(&[Some(2026), None]));
    let again = import(vec![Ok(batch_of(10..20, true))], DataType::Utf8);
    assert!(matches!(again, Err(Error::SchemaMismatch { .. })), "{again:?}");
    import(vec![Ok(batch_of(10..20, true))], DataType::Int64).unwrap();
    db.close().unwrap();
    let docs = scratch.open().open_collection("docs").unwrap();
    assert_eq!(docs.schema().unwrap().columns(), [year(DataType::Int64)]);
    assert_eq!(docs.get(&[500], &Fields::all()).unwrap().attributes, years(&[None]));
}

#[test]
fn columns_of_a_write_are_added_with_its_rows_or_not_at_all() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 1.0], ()).unwrap();
    let columns = [Column { name: "year".into(), data_type: DataType::Int64, text: false }];
    let year = years(&[Some(2026)]);
    let given = Attributes::from(&year).adding(&columns);
    let seq = docs.snapshot().unwrap().seq();
    assert!(matches!(docs.add(&[1], &[0.0_f32], given), Err(Error::DuplicateId { .. })));
    assert!(matches!(docs.upsert(&["a"], &[0.0_f32], given), Err(Error::SchemaMismatch { .. })));
    assert!(matches!(docs.upsert(&[3], &[f32::NAN], given), Err(Error::InvalidVector { .. })));
    assert_eq!(docs.update(&[9], given).unwrap(), 0);
    assert_eq!(docs.update_where("id > 9", given).unwrap(), 0);
    assert_eq!((docs.schema().unwrap().columns(), docs.snapshot().unwrap().seq()), (&[][..], seq));
    assert_eq!(docs.update_where("id = 2", given).unwrap(), 1);
    docs.add(&[3], &[0.0_f32], given).unwrap();
    db.close().unwrap();
    let docs = scratch.open().open_collection("docs").unwrap();
    assert_eq!(docs.schema().unwrap().columns(), columns);
    let all = docs.get(&[1, 2, 3], &Fields::all()).unwrap();
    assert_eq!(all.attributes, years(&[None, Some(2026), Some(2026)]));
}

fn years(years: &[Option<i64>]) -> arrow_array::RecordBatch {
    let year: arrow_array::ArrayRef =
        std::sync::Arc::new(arrow_array::Int64Array::from(years.to_vec()));
    arrow_array::RecordBatch::try_from_iter_with_nullable([("year", year, true)]).unwrap()
}

/// Bytes of the logs and of all other files in and below `dir`.
fn bytes_of_files(dir: &Path) -> (u64, u64) {
    let (mut logs, mut others) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        let (name, kind) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
        if kind.is_dir() {
            let below = bytes_of_files(&entry.path());
            (logs, others) = (logs + below.0, others + below.1);
        } else if name.starts_with("wal-") {
            logs += kind.len();
        } else {
            others += kind.len();
        }
    }
    (logs, others)
}

#[test]
fn a_closed_database_keeps_its_rows_once() {
    let scratch = Scratch::new();
    let values = vec![0.5_f32; 2_000 * 256];
    for round in 0..2 {
        let db = scratch.open();
        let rows = db.collection("rows", Schema::new(256, Metric::L2)).unwrap();
        let ids: Vec<u64> = (round * 2_000..(round + 1) * 2_000).collect();
        rows.upsert(&ids, &values, ()).unwrap();
        db.close().unwrap();
        let (logs, others) = bytes_of_files(&scratch.path());
        let vectors = (round + 1) * 4 * values.len() as u64;
        assert!(logs == 0 && others < vectors * 5 / 4, "{logs} bytes of logs, {others} of others");
    }
}
