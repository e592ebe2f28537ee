//! Every bad input that the interface promises an answer to, and that answer: an error of the
//! right kind with the data unchanged, or a documented result.

#![allow(clippy::disallowed_methods, reason = "strangers do not go through storage::Disk")]

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use nearfield::testing::FaultDisk;
use nearfield::{
    Collection, Column, DataType, Database, Error, Fields, Id, IdType, Metric, OpenOptions, Result,
    ScanOptions, Schema, VectorType,
};

use crate::common::{Scratch, notes, notes_schema};
use crate::oracle::state_of;

/// What an error must be.
type Expected = fn(&Error) -> bool;

/// A call and the error it must give.
type Case = (&'static str, Box<dyn Fn(&Collection) -> Result<()>>, Expected);

fn case<T>(
    name: &'static str,
    run: impl Fn(&Collection) -> Result<T> + 'static,
    expected: Expected,
) -> Case {
    (name, Box::new(move |docs| run(docs).map(drop)), expected)
}

fn mismatch(error: &Error) -> bool {
    matches!(error, Error::DimensionMismatch { .. })
}

fn invalid_vector(error: &Error) -> bool {
    matches!(error, Error::InvalidVector { .. })
}

fn invalid(error: &Error) -> bool {
    matches!(error, Error::InvalidArgument(_))
}

fn not_found(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

fn schema_mismatch(error: &Error) -> bool {
    matches!(error, Error::SchemaMismatch { .. })
}

fn closed(error: &Error) -> bool {
    matches!(error, Error::Closed(_))
}

/// Rows 1 to 4 of dimension 3, some in a segment and some in memory.
fn docs(db: &Database) -> Collection {
    let docs = db.collection("docs", notes_schema(3, Metric::L2)).unwrap();
    let batch = notes(&[Some("a"), None, Some("c")], &[Some(1), Some(2), None]);
    docs.upsert(&[1, 2, 3], &[0.0_f32, 0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 0.0], &batch).unwrap();
    docs.compact().unwrap();
    docs.upsert(4, &[4.0_f32, 4.0, 4.0], ()).unwrap();
    docs
}

/// Runs every case, on the same collection: each must give its error and change nothing.
fn check(docs: &Collection, cases: Vec<Case>) {
    let before = state_of(docs).unwrap();
    for (name, run, expected) in cases {
        match run(docs) {
            Ok(()) => panic!("{name}: accepted"),
            Err(error) => assert!(expected(&error), "{name}: {error:?}"),
        }
        assert_eq!(state_of(docs).unwrap(), before, "{name} changed something");
    }
}

/// Attributes without a column.
fn no_columns(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(arrow_schema::Schema::empty());
    RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap()
}

fn column(name: &str, array: impl arrow_array::Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter([(name, Arc::new(array) as ArrayRef)]).unwrap()
}

#[test]
fn bad_vectors_are_refused_by_row_and_column_and_nothing_of_the_batch_is_stored() {
    let scratch = Scratch::new();
    let docs = docs(&scratch.open());
    let nan = |at: usize, value: f32| {
        let mut vectors = vec![0.0_f32; 6];
        vectors[at] = value;
        vectors
    };
    let mut cases = vec![
        case("short", |d| d.upsert(7, &[1.0_f32, 2.0], ()), mismatch),
        case("long", |d| d.upsert(7, &[1.0_f32; 4], ()), mismatch),
        case("one row too many", |d| d.add(&[7, 8], &[1.0_f32; 9], ()), mismatch),
        case("no vector", |d| d.upsert(7, Vec::<f32>::new(), ()), mismatch),
        case("short query", |d| d.search(&[1.0_f32, 2.0]).run(), mismatch),
        case("two queries for one", |d| d.search(&[1.0_f32; 6]).run(), mismatch),
        case("no query", |d| d.search(Vec::<f32>::new()).run(), mismatch),
        case("a query and a half", |d| d.search(&[1.0_f32; 4]).run_batch(), mismatch),
        case("limit", |d| d.search(&[1.0_f32; 3]).max_distance(f32::NAN).run(), invalid),
    ];
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        cases.push(case("add", move |d| d.add(&[7, 8], nan(4, value), ()), invalid_vector));
        cases.push(case("upsert", move |d| d.upsert(&[1, 8], nan(4, value), ()), invalid_vector));
        cases.push(case("query", move |d| d.search(&nan(2, value)[..3]).run(), invalid_vector));
        cases.push(case("batch", move |d| d.search(nan(5, value)).run_batch(), invalid_vector));
    }
    check(&docs, cases);
    match docs.add(&[7, 8], nan(4, f32::NAN), ()).unwrap_err() {
        Error::InvalidVector { row, column, value, .. } => {
            assert_eq!((row, column), (1, 1));
            assert!(value.is_nan());
        }
        other => panic!("{other:?}"),
    }
    match docs.upsert(7, &[1.0_f32; 4], ()).unwrap_err() {
        Error::DimensionMismatch { expected, given, .. } => assert_eq!((expected, given), (3, 4)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_that_the_stored_type_cannot_hold_are_refused() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = |vector_type| Schema::new(2, Metric::L2).with_vector_type(vector_type);
    let half = db.collection("half", schema(VectorType::F16)).unwrap();
    half.upsert(1, &[65_504.0_f32, -65_504.0], ()).unwrap();
    check(
        &half,
        vec![
            case("overflow", |d| d.upsert(2, &[0.0_f32, 65_520.0], ()), invalid_vector),
            case("negative overflow", |d| d.upsert(2, &[-1e6_f32, 0.0], ()), invalid_vector),
        ],
    );
    let bytes = db.collection("bytes", schema(VectorType::U8)).unwrap();
    bytes.upsert(1, &[0.0_f32, 255.0], ()).unwrap();
    check(
        &bytes,
        vec![
            case("fraction", |d| d.upsert(2, &[0.5_f32, 1.0], ()), invalid_vector),
            case("above", |d| d.upsert(2, &[0.0_f32, 256.0], ()), invalid_vector),
            case("below", |d| d.upsert(2, &[-1.0_f32, 0.0], ()), invalid_vector),
        ],
    );
    // A query may be any finite vector whatever is stored.
    assert_eq!(bytes.search(&[-0.5_f32, 255.0]).run().unwrap()[0].distance, 0.25);
    assert_eq!(half.search(&[1e6_f32, 0.0]).run().unwrap().len(), 1);
    let signed = db.collection("signed", schema(VectorType::I8)).unwrap();
    signed.upsert(1, &[-128.0_f32, 127.0], ()).unwrap();
    let brain = db.collection("brain", schema(VectorType::Bf16)).unwrap();
    brain.upsert(1, &[3e38_f32, -3e38], ()).unwrap();
    check(
        &signed,
        vec![
            case("fraction", |d| d.upsert(2, &[0.5_f32, 1.0], ()), invalid_vector),
            case("above", |d| d.upsert(2, &[0.0_f32, 128.0], ()), invalid_vector),
            case("below", |d| d.upsert(2, &[-129.0_f32, 0.0], ()), invalid_vector),
            case("too large a byte", |d| d.upsert(2, &[0, 128_u8], ()), invalid_vector),
        ],
    );
    check(
        &brain,
        vec![
            case("overflow", |d| d.upsert(2, &[0.0, f32::MAX], ()), invalid_vector),
            case("infinite", |d| d.upsert(2, &[f32::INFINITY, 0.0], ()), invalid_vector),
        ],
    );
    assert_eq!(signed.search(&[-127.5_f32, 127.0]).run().unwrap()[0].distance, 0.25);
}

#[test]
fn bits_come_packed_and_are_compared_as_bits_alone() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let bits = db.collection("bits", Schema::new(12, Metric::Jaccard)).unwrap();
    assert_eq!(bits.schema().unwrap().vector_type(), VectorType::B1);
    bits.upsert(1, &[0xAB_u8, 0xC0], ()).unwrap();
    let mismatch = |error: &Error| matches!(error, Error::DimensionMismatch { expected: 12, .. });
    check(
        &bits,
        vec![
            case("a bit too many", |d| d.upsert(2, &[0_u8, 0x08], ()), invalid_vector),
            case("unpacked", |d| d.upsert(2, &[1_u8; 12], ()), invalid),
            case("numbers", |d| d.upsert(2, &[0.5_f32; 12], ()), invalid),
            case("no bytes", |d| d.upsert(2, &[0.5_f32; 2], ()), invalid_vector),
            case("signed", |d| d.upsert(2, &[-1_i8, 0], ()), invalid_vector),
            case("a byte too many", |d| d.upsert(2, &[1_u8; 3], ()), mismatch),
        ],
    );
    assert!(mismatch(&bits.search(&[1_u8]).run().unwrap_err()));
    assert!(invalid_vector(&bits.search(&[1_u8, 1]).run().unwrap_err()));
    assert!(invalid(&bits.search(&[1.0_f32; 12]).run().unwrap_err()));
    for (metric, vector_type) in [
        (Metric::Hamming, VectorType::F32),
        (Metric::Jaccard, VectorType::U8),
        (Metric::L2, VectorType::B1),
        (Metric::Cosine, VectorType::B1),
    ] {
        let schema = Schema::new(8, metric).with_vector_type(vector_type);
        let error = db.create_collection("wrong", schema).unwrap_err();
        assert!(invalid(&error) && error.to_string().contains("b1"), "{error}");
    }
}

#[test]
fn a_zero_vector_under_cosine_is_stored_at_distance_one() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(2, Metric::Cosine)).unwrap();
    docs.upsert(&[1, 2, 3], &[0.0_f32, 0.0, 1.0, 0.0, -1.0, 0.0], ()).unwrap();
    for _ in 0..2 {
        let distances = |query: &[f32]| -> Vec<(Id, f32)> {
            let hits = docs.search(query).run().unwrap();
            hits.iter().map(|hit| (hit.id.clone(), hit.distance)).collect()
        };
        let found = distances(&[2.0, 0.0]);
        assert_eq!(found, [(Id::U64(2), 0.0), (Id::U64(1), 1.0), (Id::U64(3), 2.0)]);
        let found = distances(&[0.0, 0.0]);
        assert_eq!(found, [1, 2, 3].map(|id| (Id::U64(id), 1.0)));
        docs.compact().unwrap();
    }
}

#[test]
fn vectors_at_the_limits_of_f32_give_distances_that_order() {
    let scratch = Scratch::new();
    let db = scratch.open();
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let docs = db.collection(&metric.to_string(), Schema::new(2, metric)).unwrap();
        let (max, tiny) = (f32::MAX, f32::from_bits(1));
        let vectors = [max, max, max, -max, -max, max, tiny, tiny, 0.0, -0.0, tiny, -tiny];
        docs.upsert(&[1, 2, 3, 4, 5, 6], &vectors, ()).unwrap();
        for query in vectors.chunks(2) {
            let hits = docs.search(query).run().unwrap();
            assert_eq!(hits.len(), 6);
            assert!(hits.iter().all(|hit| !hit.distance.is_nan()), "{metric} {query:?} {hits:?}");
            let sorted = hits.hits.is_sorted_by(|a, b| a.distance <= b.distance);
            assert!(sorted, "{metric} {query:?} {hits:?}");
            if metric == Metric::Cosine && query[0] != 0.0 {
                assert!(hits[0].distance < 1e-5, "{query:?} {hits:?}");
            }
        }
    }
}

#[test]
fn ids_given_twice_fail_an_add_and_the_last_wins_in_an_upsert() {
    let scratch = Scratch::new();
    let docs = docs(&scratch.open());
    let twice = |d: &Collection| d.add(&[8, 9, 8], &[0.0_f32; 9], ());
    let known = |d: &Collection| d.add(&[8, 1, 4], &[0.0_f32; 9], ());
    let duplicate = |error: &Error| matches!(error, Error::DuplicateId { .. });
    check(&docs, vec![case("twice", twice, duplicate), case("known", known, duplicate)]);
    assert!(matches!(twice(&docs), Err(Error::DuplicateId { ids }) if ids == [Id::U64(8)]));
    assert!(matches!(known(&docs), Err(Error::DuplicateId { ids }) if ids == [1, 4].map(Id::U64)));
    let vectors = [1.0_f32, 0.0, 0.0, 2.0, 0.0, 0.0, 9.0, 0.0, 0.0];
    let batch = notes(&[Some("first"), None, Some("last")], &[None, None, None]);
    assert_eq!(docs.upsert(&[8, 7, 8], &vectors, &batch).unwrap(), 2);
    let records = docs.get(&[8], &Fields::columns(["note"]).with_vectors()).unwrap();
    assert_eq!(crate::oracle::floats(&records.vectors.unwrap()), [9.0, 0.0, 0.0]);
    let note = records.attributes.column(0).clone();
    assert_eq!(note.as_ref(), notes(&[Some("last")], &[None]).column(0).as_ref());
}

#[test]
fn any_k_is_answered_and_none_allocates_by_its_size() {
    let scratch = Scratch::new();
    let docs = docs(&scratch.open());
    for exact in [false, true] {
        for (k, hits) in [(0, 0), (1, 1), (4, 4), (5, 4), (10_000_000_000, 4), (usize::MAX, 4)] {
            let query = docs.search(&[0.0_f32; 3]).k(k).exact(exact).ef(usize::MAX);
            assert_eq!(query.run().unwrap().len(), hits, "k {k}");
        }
        let query = docs.search(&[0.0_f32; 3]).ef(0).exact(exact).select(["year"]).with_vectors();
        let hits = query.run().unwrap();
        assert_eq!((hits.len(), hits.attributes.unwrap().num_rows()), (4, 4));
        let limited = docs.search(&[0.0_f32; 3]).exact(exact);
        assert_eq!(limited.max_distance(f32::NEG_INFINITY).run().unwrap().len(), 0);
    }
    assert!(docs.search(Vec::<f32>::new()).run_batch().unwrap().is_empty());
}

#[test]
fn nothing_is_a_fine_amount() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", notes_schema(3, Metric::Dot)).unwrap();
    for round in 0..2 {
        let none: [u64; 0] = [];
        let nobody: [&str; 0] = [];
        assert_eq!(docs.search(&[0.0_f32; 3]).select(["note"]).run().unwrap().len(), 0);
        assert_eq!(docs.scan(ScanOptions::new()).unwrap().count(), 0);
        assert_eq!(docs.get(&[1, 2], &Fields::all()).unwrap().len(), 0);
        for empty in [nearfield::Ids::from(&none), nearfield::Ids::from(&nobody)] {
            assert_eq!(docs.add(empty.clone(), Vec::<f32>::new(), ()).unwrap(), 0);
            assert_eq!(docs.upsert(empty.clone(), Vec::<f32>::new(), ()).unwrap(), 0);
            assert_eq!(docs.delete(empty.clone()).unwrap(), 0);
            assert_eq!(docs.update(empty.clone(), &notes(&[], &[])).unwrap(), 0);
            assert_eq!(docs.get(empty, &Fields::all()).unwrap().len(), 0);
        }
        assert_eq!(docs.delete(&[1, 2, 1]).unwrap(), 0);
        assert_eq!(docs.update(&[1], &no_columns(1)).unwrap(), 0);
        assert_eq!(docs.add_columns(&[]).unwrap(), 0);
        docs.flush().unwrap();
        docs.compact().unwrap();
        assert!(docs.is_empty().unwrap());
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        if round == 0 {
            docs.upsert(&[1, 2], &[0.0_f32; 6], ()).unwrap();
            assert_eq!(docs.delete(&[1, 2]).unwrap(), 2);
        }
    }
}

#[test]
fn ids_of_the_wrong_kind_or_too_long_are_refused() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let numbers = docs(&db);
    let years = column("year", Int64Array::from(vec![1]));
    let vector = [0.0_f32; 3];
    check(
        &numbers,
        vec![
            case("add", move |d| d.add(&["x"], &vector, ()), schema_mismatch),
            case("upsert", move |d| d.upsert(&["x"], &vector, ()), schema_mismatch),
            case("update", move |d| d.update(&["x"], &years), schema_mismatch),
            case("delete", |d| d.delete(&["x"]), schema_mismatch),
            case("get", |d| d.get(&["x"], &Fields::all()), schema_mismatch),
            case("contains", |d| d.contains("x"), schema_mismatch),
            case("scan", |d| d.scan(ScanOptions::new().after("x")), schema_mismatch),
        ],
    );
    let schema = Schema::new(1, Metric::L2).with_id_type(IdType::Utf8);
    let texts = db.collection("texts", schema).unwrap();
    let longest = "é".repeat(32_768);
    assert_eq!(texts.add(longest.as_str(), &[1.0_f32], ()).unwrap(), 1);
    assert!(texts.contains(longest.as_str()).unwrap());
    let longer = format!("{longest}x");
    check(
        &texts,
        vec![
            case("number", |d| d.add(1, &[0.0_f32], ()), schema_mismatch),
            case("long", move |d| d.add(longer.as_str(), &[0.0_f32], ()), invalid),
        ],
    );
    texts.compact().unwrap();
    assert!(texts.contains(longest.as_str()).unwrap());
}

#[test]
fn unknown_columns_and_columns_of_the_wrong_type_are_refused() {
    let scratch = Scratch::new();
    let docs = docs(&scratch.open());
    let unknown = column("yaer", Int64Array::from(vec![1]));
    let (texts, floats) = (StringArray::from(vec!["1"]), Float32Array::from(vec![1.0]));
    let (texts, floats) = (column("year", texts), column("note", floats));
    let two_rows = column("year", Int64Array::from(vec![1, 2]));
    let twice = notes(&[Some("a")], &[Some(1)]);
    let twice = RecordBatch::try_from_iter_with_nullable([
        ("year", twice.column(1).clone(), true),
        ("year", twice.column(1).clone(), true),
    ]);
    let twice = twice.unwrap();
    let vector = [0.0_f32; 3];
    let new = |name: &str, data_type| Column { name: name.into(), data_type, text: false };
    let retyped = new("year", DataType::Utf8);
    let mut text = new("body", DataType::Int64);
    text.text = true;
    let mut cases = vec![
        case(
            "update",
            {
                let u = unknown.clone();
                move |d| d.update(&[1], &u)
            },
            not_found,
        ),
        case("upsert", move |d| d.upsert(1, &vector, &unknown), not_found),
        case("text as number", move |d| d.upsert(9, &vector, &texts), schema_mismatch),
        case("number as text", move |d| d.update(&[1], &floats), schema_mismatch),
        case("two for one", move |d| d.add(9, &vector, &two_rows), invalid),
        case("twice", move |d| d.update(&[1], &twice), invalid),
        case("select", move |d| d.search(&vector).select(["yaer"]).run(), not_found),
        case("get", |d| d.get(&[1], &Fields::columns(["yaer"])), not_found),
        case("scan", |d| d.scan(ScanOptions::new().fields(Fields::columns(["x"]))), not_found),
        case("retype", move |d| d.add_columns(std::slice::from_ref(&retyped)), schema_mismatch),
        case("text of numbers", move |d| d.add_columns(std::slice::from_ref(&text)), invalid),
    ];
    for name in ["", "id", "vector", "nul\0", &"x".repeat(10_000)] {
        let column = new(name, DataType::Bool);
        cases.push(case("name", move |d| d.add_columns(std::slice::from_ref(&column)), invalid));
    }
    check(&docs, cases);
    let message = docs.get(&[1], &Fields::columns(["yaer"])).unwrap_err().to_string();
    assert!(message.contains("did you mean \"year\""), "{message}");
}

#[test]
fn bad_names_of_collections_are_refused_and_touch_nothing() {
    let scratch = Scratch::new();
    let db = scratch.open();
    docs(&db);
    let long = "x".repeat(10_000);
    let names =
        ["", ".", "..", ".hidden", "a/b", "../x", "a\\b", "/x", "nul\0", "é", " ", "a b", &long];
    for name in names {
        let schema = || Schema::new(1, Metric::L2);
        assert!(invalid(&db.collection(name, schema()).unwrap_err()), "{name:?}");
        assert!(invalid(&db.create_collection(name, schema()).unwrap_err()), "{name:?}");
        assert!(invalid(&db.open_collection(name).unwrap_err()), "{name:?}");
        assert!(invalid(&db.drop_collection(name).unwrap_err()), "{name:?}");
        assert!(invalid(&db.rename_collection("docs", name).unwrap_err()), "{name:?}");
        assert!(invalid(&db.rename_collection(name, "fine").unwrap_err()), "{name:?}");
    }
    assert_eq!(db.collections().unwrap(), ["docs"]);
    assert!(!db.open_collection("docs").unwrap().is_empty().unwrap());
    assert!(not_found(&db.open_collection("dosc").unwrap_err()));
    assert!(not_found(&db.drop_collection("dosc").unwrap_err()));
    assert!(not_found(&db.rename_collection("dosc", "x").unwrap_err()));
    assert!(invalid(&db.create_collection("docs", notes_schema(3, Metric::L2)).unwrap_err()));
    assert!(invalid(&db.rename_collection("docs", "docs").unwrap_err()));
    assert!(db.collection(&"x".repeat(128), Schema::new(1, Metric::L2)).is_ok());
}

#[test]
fn another_shape_than_that_of_the_collection_is_refused() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = docs(&db);
    for schema in [
        notes_schema(4, Metric::L2),
        notes_schema(3, Metric::Dot),
        notes_schema(3, Metric::L2).with_vector_type(VectorType::U8),
        notes_schema(3, Metric::L2).with_id_type(IdType::Utf8),
        Schema::new(3, Metric::L2).column("year", DataType::Bool),
    ] {
        assert!(schema_mismatch(&db.collection("docs", schema).unwrap_err()));
    }
    for schema in [Schema::new(0, Metric::L2), Schema::new(65_537, Metric::L2)] {
        assert!(invalid(&db.collection("docs", schema.clone()).unwrap_err()));
        assert!(invalid(&db.create_collection("new", schema).unwrap_err()));
    }
    assert_eq!(docs.len().unwrap(), 4);
    assert_eq!(db.collections().unwrap(), ["docs"]);
}

/// All that a handle can be asked.
fn everything() -> Vec<Case> {
    let years = column("year", Int64Array::from(vec![1]));
    let extra = Column { name: "extra".into(), data_type: DataType::Bool, text: false };
    vec![
        case("add", |d| d.add(9, &[0.0_f32; 3], ()), closed),
        case("upsert", |d| d.upsert(9, &[0.0_f32; 3], ()), closed),
        case("update", move |d| d.update(&[1], &years), closed),
        case("delete", |d| d.delete(1), closed),
        case("add_columns", move |d| d.add_columns(std::slice::from_ref(&extra)), closed),
        case("get", |d| d.get(&[1], &Fields::all()), closed),
        case("contains", |d| d.contains(1), closed),
        case("len", Collection::len, closed),
        case("schema", Collection::schema, closed),
        case("scan", |d| d.scan(ScanOptions::new()), closed),
        case("search", |d| d.search(&[0.0_f32; 3]).run(), closed),
        case("search_batch", |d| d.search(&[0.0_f32; 6]).run_batch(), closed),
        case("flush", Collection::flush, closed),
        case("compact", Collection::compact, closed),
        case("verify", Collection::verify, closed),
        case("stats", Collection::stats, closed),
        case("refresh", Collection::refresh, closed),
        case("snapshot", Collection::snapshot, closed),
        case("import", |d| d.import(Vec::new(), nearfield::ImportOptions::new()), closed),
    ]
}

fn all_closed(docs: &Collection, how: &str) {
    for (name, run, expected) in everything() {
        let error = run(docs).map_or_else(|error| error, |()| panic!("{how}: {name} was accepted"));
        assert!(expected(&error), "{how}: {name}: {error:?}");
    }
    docs.close().unwrap();
}

#[test]
fn closed_dropped_and_renamed_collections_say_so_and_their_snapshots_go_on() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let first = docs(&db);
    let snapshot = first.snapshot().unwrap();
    first.close().unwrap();
    all_closed(&first, "closed");
    let second = db.open_collection("docs").unwrap();
    assert_eq!(second.len().unwrap(), 4);
    db.rename_collection("docs", "notes").unwrap();
    all_closed(&second, "renamed");
    let third = db.open_collection("notes").unwrap();
    assert_eq!(third.len().unwrap(), 4);
    db.drop_collection("notes").unwrap();
    all_closed(&third, "dropped");
    assert!(db.collections().unwrap().is_empty());
    assert_eq!(snapshot.search(&[0.0_f32; 3]).run().unwrap().len(), 4);
    let fourth = docs(&db);
    db.close().unwrap();
    all_closed(&fourth, "database closed");
    db.close().unwrap();
    assert!(closed(&db.collections().unwrap_err()));
    assert!(closed(&db.collection("docs", notes_schema(3, Metric::L2)).unwrap_err()));
    assert!(closed(&db.backup(scratch.dir.path().join("copy")).unwrap_err()));
    assert_eq!(scratch.open().open_collection("docs").unwrap().len().unwrap(), 4);
}

/// A snapshot that outlives its collection must not remove files of the next one of that name.
#[test]
fn a_snapshot_of_a_dropped_collection_leaves_its_successor_alone() {
    let scratch = Scratch::new();
    let db = scratch.open();
    for rename in [false, true] {
        let old = docs(&db);
        let first = old.snapshot().unwrap();
        for _ in 0..3 {
            // The segment of the snapshot goes when the snapshot does.
            old.upsert(1, &[0.0_f32, 0.0, 1.0], ()).unwrap();
            old.compact().unwrap();
        }
        if rename {
            db.rename_collection("docs", "old").unwrap();
        } else {
            db.drop_collection("docs").unwrap();
        }
        let new = docs(&db);
        assert_eq!(first.len(), 4);
        drop(first);
        new.close().unwrap();
        let new = db.open_collection("docs").unwrap();
        assert_eq!(new.len().unwrap(), 4);
        assert_eq!(new.verify().unwrap().problems, Vec::<String>::new());
        db.drop_collection("docs").unwrap();
    }
}

#[test]
fn what_is_no_database_is_not_opened_and_not_changed() {
    let scratch = Scratch::new();
    let dir = scratch.dir.path().join("other");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("thesis.txt"), "years of work").unwrap();
    assert!(invalid(&Database::open(&dir).unwrap_err()));
    assert!(Database::open(dir.join("thesis.txt")).is_err());
    assert_eq!(std::fs::read(dir.join("thesis.txt")).unwrap(), b"years of work");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    let reader = |path| OpenOptions::new().read_only(true).open(path).unwrap_err();
    assert!(not_found(&reader(scratch.path())));
    assert!(invalid(&reader(dir.clone())));
    let strict = OpenOptions::new().create(false).open(scratch.path());
    assert!(not_found(&strict.unwrap_err()));
    assert!(!scratch.path().exists());
    assert!(Database::open(dir.join("no").join("such").join("parent")).is_err());
    // A directory inside a database that is no collection.
    let db = scratch.open();
    std::fs::create_dir(scratch.path().join("stray")).unwrap();
    std::fs::write(scratch.path().join("stray").join("keep.txt"), "mine").unwrap();
    assert!(db.open_collection("stray").is_err());
    assert!(db.collection("stray", Schema::new(1, Metric::L2)).is_err());
    assert_eq!(std::fs::read(scratch.path().join("stray").join("keep.txt")).unwrap(), b"mine");
}

#[test]
fn a_second_writer_is_locked_out_and_a_reader_may_not_write() {
    let scratch = Scratch::new();
    let db = scratch.open();
    docs(&db);
    for _ in 0..2 {
        let error = Database::open(scratch.path()).unwrap_err();
        let pid = format!("pid {}", std::process::id());
        assert!(
            matches!(&error, Error::Locked { holder, .. } if holder.contains(&pid)),
            "{error:?}"
        );
    }
    let reader = scratch.reader();
    let docs = reader.open_collection("docs").unwrap();
    let read_only = |error: &Error| matches!(error, Error::ReadOnly(_));
    let years = column("year", Int64Array::from(vec![1]));
    let extra = Column { name: "extra".into(), data_type: DataType::Bool, text: false };
    check(
        &docs,
        vec![
            case("add", |d| d.add(9, &[0.0_f32; 3], ()), read_only),
            case("update", move |d| d.update(&[1], &years), read_only),
            case("delete", |d| d.delete(1), read_only),
            case("add_columns", move |d| d.add_columns(std::slice::from_ref(&extra)), read_only),
            case("flush", Collection::flush, read_only),
            case("compact", Collection::compact, read_only),
            case("import", |d| d.import(Vec::new(), nearfield::ImportOptions::new()), read_only),
        ],
    );
    assert!(read_only(&reader.drop_collection("docs").unwrap_err()));
    assert!(read_only(&reader.rename_collection("docs", "x").unwrap_err()));
    assert!(read_only(&reader.create_collection("x", Schema::new(1, Metric::L2)).unwrap_err()));
    db.close().unwrap();
    assert_eq!(scratch.open().open_collection("docs").unwrap().len().unwrap(), 4);
}

#[test]
fn copies_go_only_where_nothing_is_and_never_into_the_database() {
    let scratch = Scratch::new();
    let db = scratch.open();
    docs(&db);
    let there = scratch.dir.path().join("there");
    std::fs::create_dir(&there).unwrap();
    assert!(invalid(&db.backup(&there).unwrap_err()));
    assert!(invalid(&db.backup(scratch.path()).unwrap_err()));
    assert!(db.backup(there.join("no").join("parent")).is_err());
    assert!(invalid(&db.backup(scratch.path().join("inside")).unwrap_err()));
    assert!(invalid(&db.backup(scratch.path().join("docs").join("inside")).unwrap_err()));
    assert_eq!(db.collections().unwrap(), ["docs"]);
    let copy = scratch.dir.path().join("copy");
    db.backup(&copy).unwrap();
    let again = scratch.dir.path().join("again");
    Database::restore(&copy, &again).unwrap();
    assert!(invalid(&Database::restore(&copy, &again).unwrap_err()));
    assert!(Database::restore(&there, scratch.dir.path().join("x")).is_err());
    let found = Database::open(&again).unwrap().open_collection("docs").unwrap();
    let expected = state_of(&db.open_collection("docs").unwrap()).unwrap();
    assert_eq!(state_of(&found).unwrap(), expected);
    let left: Vec<_> = std::fs::read_dir(scratch.dir.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_read_only_directory_is_an_error_and_no_more() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let dir = scratch.dir.path().join("locked");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(dir.join("probe"), "").is_ok() {
        eprintln!("skipped: permissions do not bind this user");
        return;
    }
    let error = Database::open(dir.join("db")).unwrap_err();
    assert!(matches!(error, Error::Io { .. } | Error::ReadOnly(_)), "{error:?}");
}

#[test]
fn a_full_disk_stores_nothing_of_a_write_and_takes_it_later() {
    let disk = FaultDisk::new();
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open("/db").unwrap();
    let docs = docs(&db);
    disk.set_capacity(Some(0));
    let full = |error: &Error| matches!(error, Error::Full { .. });
    check(
        &docs,
        vec![
            case("upsert", |d| d.upsert(9, &[0.0_f32; 3], ()), full),
            case("delete", |d| d.delete(1), full),
            case("compact", Collection::compact, full),
        ],
    );
    assert!(full(&db.create_collection("x", Schema::new(1, Metric::L2)).unwrap_err()));
    assert!(full(&db.backup("/copy").unwrap_err()));
    disk.set_capacity(None);
    assert_eq!(db.collections().unwrap(), ["docs"]);
    docs.upsert(9, &[0.0_f32; 3], ()).unwrap();
    docs.compact().unwrap();
    assert_eq!(docs.len().unwrap(), 5);
    // Dropping needs no space.
    disk.set_capacity(Some(0));
    db.drop_collection("docs").unwrap();
}

#[test]
fn arrow_ids_with_nulls_are_refused_naming_the_row() {
    use arrow_array::{LargeStringArray, UInt64Array};
    use nearfield::Ids;
    let numbers = UInt64Array::from(vec![Some(1), None, Some(3)]);
    let texts = StringArray::from(vec![Some("a"), Some("b"), None]);
    let large = LargeStringArray::from(vec![None, Some("b")]);
    for (refused, row) in
        [(Ids::try_from(&numbers), 1), (Ids::try_from(&texts), 2), (Ids::try_from(&large), 0)]
    {
        let error = refused.unwrap_err();
        assert!(invalid(&error), "{error:?}");
        assert!(error.to_string().contains(&format!("null at row {row}")), "{error}");
    }
    let scratch = Scratch::new();
    let db = Database::open(scratch.path()).unwrap();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let whole = StringArray::from(vec!["a", "b"]);
    docs.upsert(Ids::try_from(&whole).unwrap(), &[1.0_f32, 2.0], ()).unwrap();
    assert!(docs.contains("b").unwrap());
}
