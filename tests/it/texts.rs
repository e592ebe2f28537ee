//! Texts in: the embedder of a handle, what a collection remembers of it, and ids that are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use nearfield::{
    Collection, Column, DataType, Database, Embedder, Error, Fields, Id, IdType, Metric, Schema,
};

use crate::common::{Scratch, notes};

/// A text's vector is how often it has the letters a, b and c.
fn letters(model: &str) -> Embedder {
    Embedder::new(model, 3, |texts| Ok(texts.iter().flat_map(|text| count(text)).collect()))
}

fn count(text: &str) -> [f32; 3] {
    ["a", "b", "c"].map(|letter| text.matches(letter).count() as f32)
}

fn open(db: &Database) -> nearfield::Result<Collection> {
    db.collection("docs", Schema::new(3, Metric::L2).text("body"))?.with_embedder(&letters("abc"))
}

fn bodies(docs: &Collection) -> Vec<(Id, String)> {
    let mut found = Vec::new();
    for records in docs.scan(nearfield::ScanOptions::new()).unwrap() {
        let records = records.unwrap();
        let column = records.attributes.column_by_name("body").unwrap().clone();
        let texts = column.as_string::<i64>().iter().map(|text| text.unwrap().to_owned());
        found.extend(records.ids.into_iter().zip(texts));
    }
    found
}

fn row(id: impl Into<Id>, text: &str) -> (Id, String) {
    (id.into(), text.to_owned())
}

#[test]
fn texts_are_embedded_stored_and_found_after_reopening_and_merging() {
    let scratch = Scratch::new();
    let docs = open(&scratch.open()).unwrap();
    let ids = docs.add_texts(None, &["aaa", "bbb", "ccc"], ()).unwrap();
    assert_eq!(ids, [1, 2, 3].map(Id::from));
    let given = Some((&[2, 9]).into());
    assert_eq!(docs.upsert_texts(given, &["bb", "abc"], ()).unwrap(), [2, 9].map(Id::from));
    docs.compact().unwrap();
    drop(docs);

    let docs = open(&scratch.open()).unwrap();
    assert_eq!(bodies(&docs), [row(1, "aaa"), row(2, "bb"), row(3, "ccc"), row(9, "abc")]);
    let hits = docs.search_text("bb").k(2).select(["body"]).run().unwrap();
    assert_eq!((hits[0].id.clone(), hits[0].distance), (2.into(), 0.0));
    assert_eq!(hits.attributes.unwrap().column(0).as_string::<i64>().value(0), "bb");
    let records = docs.get(&[9], &Fields::all().with_vectors()).unwrap();
    assert!(matches!(records.vectors, Some(nearfield::Vectors::F32(v)) if *v == [1.0; 3]));
}

#[test]
fn another_model_or_dimension_is_refused_by_name() {
    let scratch = Scratch::new();
    let check = |docs: &Collection| {
        let wide = Embedder::new("abc", 4, |texts| Ok(vec![0.0; 4 * texts.len()]));
        for (other, name) in [(letters("xyz"), "\"xyz\" of 3"), (wide, "\"abc\" of 4")] {
            let error = docs.with_embedder(&other).unwrap_err();
            assert!(matches!(error, Error::SchemaMismatch { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains("\"abc\" of 3 dimensions"), "{message}");
            assert!(message.contains(name), "{message}");
        }
    };
    let db = scratch.open();
    check(&open(&db).unwrap());
    drop(db);
    // From the log, then from a manifest.
    for _ in 0..2 {
        let db = scratch.open();
        let docs = db.open_collection("docs").unwrap();
        check(&docs);
        let embedding = docs.schema().unwrap().embedding().unwrap().clone();
        assert_eq!((embedding.model.as_str(), embedding.column.as_str()), ("abc", "body"));
        open(&db).unwrap().add_texts(None, &["a"], ()).unwrap();
        docs.compact().unwrap();
    }
}

#[test]
fn two_threads_cannot_bring_two_models() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(3, Metric::L2)).unwrap();
    let models: Vec<String> = (0..8).map(|model| format!("model {model}")).collect();
    let joined = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for model in &models {
            let (docs, joined) = (&docs, &joined);
            scope.spawn(move || {
                if docs.with_embedder(&letters(model)).is_ok() {
                    joined.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(joined.into_inner(), 1);
    assert_eq!(docs.schema().unwrap().columns().len(), 1);
}

#[test]
fn a_handle_without_an_embedder_takes_vectors_and_says_what_it_lacks() {
    let scratch = Scratch::new();
    let db = scratch.open();
    open(&db).unwrap().add_texts(None, &["a", "bb"], ()).unwrap();
    let docs = db.open_collection("docs").unwrap();
    assert_eq!(docs.search(&[0.0_f32, 2.0, 0.0]).k(1).run().unwrap()[0].id, 2.into());
    let failures = [
        docs.add_texts(None, &["c"], ()).unwrap_err(),
        docs.search_text("c").run().unwrap_err(),
        docs.embedder().unwrap_err(),
    ];
    for error in failures {
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        assert!(error.to_string().contains("model \"abc\""), "{error}");
    }
    assert_eq!(docs.len().unwrap(), 2);
}

#[test]
fn what_the_function_fails_with_comes_back_and_nothing_is_stored() {
    #[derive(Debug, thiserror::Error)]
    #[error("no network")]
    struct Offline;

    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(3, Metric::L2).text("body")).unwrap();
    let broken = docs.with_embedder(&Embedder::new("abc", 3, |_| Err(Offline.into()))).unwrap();
    for error in [
        broken.add_texts(None, &["a"], ()).unwrap_err(),
        broken.upsert_texts(Some((&[1]).into()), &["a"], ()).unwrap_err(),
        broken.search_text("a").run().unwrap_err(),
    ] {
        let Error::Embed { model, source } = error else { panic!("{error:?}") };
        assert_eq!((model.as_str(), source.is::<Offline>()), ("abc", true));
    }
    for (given, part) in [
        (vec![1.0; 4], "returned 4 numbers; expected a vector of 3 dimensions for each"),
        (vec![1.0; 5], "was given 2 text(s) and returned 5 numbers"),
    ] {
        let wrong = Embedder::new("abc", 3, move |_| Ok(given.clone()));
        let wrong = docs.with_embedder(&wrong).unwrap();
        let error = wrong.add_texts(None, &["a", "b"], ()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let nan = docs.with_embedder(&Embedder::new("abc", 3, |_| Ok(vec![f32::NAN; 3]))).unwrap();
    let error = nan.add_texts(None, &["a"], ()).unwrap_err();
    assert!(matches!(error, Error::InvalidVector { row: 0, .. }), "{error:?}");
    assert_eq!(docs.len().unwrap(), 0);
}

#[test]
fn a_batch_that_is_wrong_is_refused_before_anything_is_embedded() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let embedder = Embedder::new("abc", 3, move |texts| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(vec![1.0; 3 * texts.len()])
    });
    let schema = Schema::new(3, Metric::L2).text("note").column("year", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap().with_embedder(&embedder).unwrap();
    let two = notes(&[Some("x"), None], &[Some(1), None]);
    let ids = || Some((&[1, 2]).into());
    let one_id = || Some((&[1]).into());
    let year = |rows: &RecordBatch| rows.project(&[1]).unwrap();
    assert!(docs.add_texts(one_id(), &["a", "b"], ()).is_err());
    assert!(docs.add_texts(ids(), &["a", "b"], &two).is_err(), "the text column is given twice");
    assert!(docs.add_texts(one_id(), &["a"], &year(&two)).is_err(), "two rows for one text");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(docs.add_texts(None, &[] as &[&str], ()).unwrap(), []);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    docs.add_texts(ids(), &["a", "b"], &year(&two)).unwrap();
    assert_eq!((calls.load(Ordering::Relaxed), docs.len().unwrap()), (1, 2));
    let error = docs.add_texts(ids(), &["a", "b"], ()).unwrap_err();
    assert!(matches!(error, Error::DuplicateId { .. }), "{error:?}");
}

#[test]
fn made_numbers_go_on_from_the_highest() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = open(&db).unwrap();
    docs.upsert(&[500, 7], &[0.0_f32; 6], ()).unwrap();
    let add = |docs: &Collection| docs.add_texts(None, &["a", "b"], ()).unwrap();
    assert_eq!(add(&docs), [501, 502].map(Id::from));
    docs.compact().unwrap();
    docs.upsert(&[600], &[0.0_f32; 3], ()).unwrap();
    assert_eq!(add(&docs), [601, 602].map(Id::from));
    drop((docs, db));
    let db = scratch.open();
    let docs = open(&db).unwrap();
    assert_eq!(add(&docs), [603, 604].map(Id::from));
    docs.upsert(&[u64::MAX - 1], &[0.0_f32; 3], ()).unwrap();
    let error = docs.add_texts(None, &["a", "b"], ()).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
}

#[test]
fn concurrent_writers_are_given_different_ids() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = open(&db).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    docs.add_texts(None, &["a", "b", "c"], ()).unwrap();
                }
            });
        }
    });
    assert_eq!(docs.len().unwrap(), 8 * 20 * 3);
}

#[test]
fn made_strings_ascend() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(3, Metric::L2).with_id_type(IdType::Utf8);
    let docs = db.collection("docs", schema).unwrap().with_embedder(&letters("abc")).unwrap();
    let ids = docs.add_texts(None, &["a", "b", "c"], ()).unwrap();
    assert!(ids.is_sorted() && ids[0] != ids[1], "{ids:?}");
    assert!(ids.iter().all(|id| matches!(id, Id::Utf8(id) if id.len() == 36)), "{ids:?}");
    // No column of text was declared.
    let text = Column { name: "text".into(), data_type: DataType::Utf8, text: true };
    assert_eq!(docs.schema().unwrap().columns(), [text]);
}

#[test]
fn a_reader_searches_by_text_and_writes_nothing() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let plain = db.collection("docs", Schema::new(3, Metric::L2)).unwrap();
    plain.upsert(&[4], &[1.0_f32, 0.0, 0.0], ()).unwrap();
    plain.flush().unwrap();
    let reader = scratch.reader().open_collection("docs").unwrap();
    let reader = reader.with_embedder(&letters("abc")).unwrap();
    assert_eq!(reader.search_text("a").run().unwrap()[0].id, 4.into());
    assert_eq!(reader.schema().unwrap().embedding(), None);
    let error = reader.add_texts(None, &["a"], ()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly(_)), "{error:?}");
}

#[test]
fn another_function_embeds_what_is_searched_for() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let both = letters("abc").with_queries(|texts| {
        Ok(texts.iter().flat_map(|text| count(&text.replace("query: ", ""))).collect())
    });
    let schema = Schema::new(3, Metric::L2);
    let docs = db.collection("docs", schema).unwrap().with_embedder(&both).unwrap();
    docs.add_texts(None, &["a", "c"], ()).unwrap();
    assert_eq!(docs.search_text("query: c").run().unwrap()[0].distance, 0.0);
    let vectors = both.embed_queries(&["query: a", "query: c"]).unwrap();
    let batch = docs.search(vectors).k(1).run_batch().unwrap();
    assert_eq!((batch[0][0].id.clone(), batch[1][0].id.clone()), (1.into(), 2.into()));
}

#[test]
fn collections_of_bits_take_no_embedder() {
    let scratch = Scratch::new();
    let bits = scratch.open().collection("bits", Schema::new(3, Metric::Hamming)).unwrap();
    let error = bits.with_embedder(&letters("abc")).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
}
