//! Hits with the chunks around them, over the paragraphs of this repository's own pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{
    Collection, DataType, Database, Error, Hits, Id, ImportBatch, ImportOptions, Metric,
    OpenOptions, Query, Records, Schema, Settings,
};

use crate::common::{Random, Scratch};

const DIMENSION: usize = 64;

/// A paragraph of a page.
#[derive(Clone)]
struct Chunk {
    id: u64,
    page: String,
    place: i64,
    text: String,
}

/// The paragraphs of the decisions and of the page of formats.
fn chunks() -> Vec<Chunk> {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let decisions =
        fs::read_dir(docs.join("decisions")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = decisions.chain([docs.join("format.md")]).collect();
    pages.sort();
    let mut chunks = Vec::new();
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        let page = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for (place, text) in text.split("\n\n").enumerate() {
            let id = chunks.len() as u64 * 7 % 100_003;
            let (page, place) = (page.clone(), place as i64);
            chunks.push(Chunk { id, page, place, text: text.to_owned() });
        }
    }
    assert!(chunks.len() > 300, "{}", chunks.len());
    chunks
}

/// Counts of hashed words.
fn embed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.01; DIMENSION];
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| word.len() > 3) {
        let hash = word.bytes().fold(7_u64, |hash, byte| hash * 31 % 1_000_003 + u64::from(byte));
        vector[hash as usize % DIMENSION] += 1.0;
    }
    vector
}

fn columns(chunks: &[Chunk]) -> RecordBatch {
    let texts = |of: fn(&Chunk) -> &str| -> ArrayRef {
        Arc::new(chunks.iter().map(|chunk| Some(of(chunk))).collect::<LargeStringArray>())
    };
    let places: Int64Array = chunks.iter().map(|chunk| Some(chunk.place)).collect();
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("page", texts(|chunk| &chunk.page), true),
        ("place", Arc::new(places), true),
        ("text", texts(|chunk| &chunk.text), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn ids(chunks: &[Chunk]) -> Vec<u64> {
    chunks.iter().map(|chunk| chunk.id).collect()
}

fn vectors(chunks: &[Chunk]) -> Vec<f32> {
    chunks.iter().flat_map(|chunk| embed(&chunk.text)).collect()
}

fn upsert(docs: &Collection, chunks: &[Chunk]) {
    docs.upsert(ids(chunks), vectors(chunks), &columns(chunks)).unwrap();
}

/// All chunks in two segments and in memory, but for those deleted; what is left.
fn collection(scratch: &Scratch) -> (Database, Collection, Vec<Chunk>) {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = 1 << 10;
    let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
    let schema = Schema::new(DIMENSION, Metric::Cosine)
        .text("text")
        .column("page", DataType::Utf8)
        .column("place", DataType::Int64)
        .column("gap", DataType::Float64);
    let docs = db.collection("docs", schema).unwrap();
    let mut chunks = chunks();
    let mut order: Vec<Chunk> = chunks.clone();
    let mut random = Random::new(5);
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at as u64 + 1) as usize);
    }
    let (first, rest) = order.split_at(order.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    upsert(&docs, first);
    docs.compact().unwrap();
    let batch = ImportBatch {
        ids: ids(second).into(),
        vectors: vectors(second).into(),
        attributes: Some(columns(second)),
        source_rows: (0..second.len() as u64).collect(),
        rejected: Vec::new(),
    };
    docs.import([Ok(batch)], ImportOptions::new()).unwrap();
    upsert(&docs, third);
    assert_eq!(docs.stats().unwrap().segments.len(), 2);
    let gone: Vec<u64> = chunks.iter().map(|chunk| chunk.id).filter(|id| id % 11 == 3).collect();
    assert_eq!(docs.delete(&gone).unwrap(), gone.len() as u64);
    chunks.retain(|chunk| chunk.id % 11 != 3);
    (db, docs, chunks)
}

fn text_of(records: &Records, row: usize) -> &str {
    records.attributes.column_by_name("text").unwrap().as_string::<i64>().value(row)
}

/// The windows of hits are what a look at all chunks gives.
fn check(hits: &Hits, chunks: &[Chunk], reach: i64) {
    let windows = hits.windows.as_ref().unwrap();
    assert_eq!(windows.len(), hits.len());
    assert!(!hits.is_empty());
    let known: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, chunk)).collect();
    for (hit, window) in hits.iter().zip(windows) {
        let Id::U64(id) = hit.id else { panic!("{:?}", hit.id) };
        let own = known[&id];
        let near =
            |chunk: &&Chunk| chunk.page == own.page && (chunk.place - own.place).abs() <= reach;
        let mut expected: Vec<&Chunk> = chunks.iter().filter(near).collect();
        expected.sort_by_key(|chunk| chunk.place);
        let ids: Vec<Id> = expected.iter().map(|chunk| chunk.id.into()).collect();
        assert_eq!(window.ids, ids);
        for (row, chunk) in expected.iter().enumerate() {
            assert_eq!(text_of(window, row), chunk.text);
        }
    }
}

#[test]
fn each_hit_comes_with_the_paragraphs_around_it() {
    let scratch = Scratch::new();
    let (_db, docs, chunks) = collection(&scratch);
    let question = embed("how does a crash between the rename and the sync of the directory end");
    let ask = || docs.search(&question).k(8).select_all();
    for (window, reach) in [(0, 0), (1, 1), (3, 3), (usize::MAX, i64::MAX)] {
        check(&ask().window(window, "page", "place").run().unwrap(), &chunks, reach);
    }
    // Whatever picks and orders the hits.
    let plain = ask().group_by("page").per_group(2).mmr(0.5).run().unwrap();
    let shaped =
        ask().group_by("page").per_group(2).mmr(0.5).window(1, "page", "place").run().unwrap();
    assert_eq!(plain.hits, shaped.hits);
    check(&shaped, &chunks, 1);
    check(&ask().offset(4).window(2, "page", "place").run().unwrap(), &chunks, 2);
    let both = embed("a reader follows the log");
    let questions = [question.clone(), both].concat();
    let batch = docs.search(&questions).k(3).select_all();
    for hits in batch.window(1, "page", "place").run_batch().unwrap() {
        check(&hits, &chunks, 1);
    }
    #[cfg(feature = "text")]
    {
        let hybrid = || ask().words("crash rename directory").window(1, "page", "place");
        check(&hybrid().run().unwrap(), &chunks, 1);
        let rank = |hits: &Hits| Ok(hits.iter().map(|hit| hit.distance).collect());
        check(&hybrid().rerank(20, rank).run().unwrap(), &chunks, 1);
        let words = docs.search_words("crash OR manifest").k(5).select_all();
        check(&words.window(2, "page", "place").run().unwrap(), &chunks, 2);
    }
    docs.compact().unwrap();
    check(&ask().window(2, "page", "place").run().unwrap(), &chunks, 2);
    assert!(ask().run().unwrap().windows.is_none());
}

#[test]
fn the_filter_says_what_is_a_hit_and_not_what_is_around_it() {
    let scratch = Scratch::new();
    let (_db, docs, chunks) = collection(&scratch);
    let question = embed("a checksum of each block");
    let even: Vec<i64> = (0..200).map(|place| place * 2).collect();
    let ask = || docs.search(&question).k(10).filter(nearfield::col("place").is_in(even.clone()));
    let hits = ask().select(["text"]).window(1, "page", "place").run().unwrap();
    let own: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, chunk)).collect();
    assert!(hits.iter().all(|hit| matches!(hit.id, Id::U64(id) if own[&id].place % 2 == 0)));
    check(&hits, &chunks, 1);
    let odd = |id: &Id| matches!(id, Id::U64(id) if own[id].place % 2 == 1);
    assert!(hits.windows.as_ref().unwrap().iter().flat_map(|window| &window.ids).any(odd));
    // Columns and vectors as those of the hits; all columns where none are selected.
    let of = |hits: &Hits| hits.windows.as_ref().unwrap()[0].attributes.num_columns();
    assert_eq!(of(&hits), 1);
    let bare = ask().window(1, "page", "place").with_vectors().run().unwrap();
    assert_eq!((of(&bare), bare.attributes.is_none()), (4, true));
    let window = &bare.windows.as_ref().unwrap()[0];
    assert_eq!(window.vectors.as_ref().unwrap().len(), window.len() * DIMENSION);
}

#[test]
fn rows_without_a_document_or_a_place_stand_alone_and_the_last_numbers_are_numbers() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema =
        Schema::new(1, Metric::L2).column("doc", DataType::Int64).column("at", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    let column = |values: &[Option<i64>]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let (least, most) = (Some(i64::MIN), Some(i64::MAX));
    let at = [least, most, Some(0), None, Some(1), Some(1), Some(1)];
    let doc = [Some(1), Some(1), Some(1), Some(1), None, Some(2), Some(2)];
    let columns = [("doc", column(&doc), true), ("at", column(&at), true)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    docs.upsert(&[1, 2, 3, 4, 5, 7, 6], &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 7.0, 6.0], &batch).unwrap();
    let around = |row: u64, window: usize| {
        let query = [row as f32];
        let hits = docs.search(&query).k(1).window(window, "doc", "at").run().unwrap();
        assert_eq!(hits[0].id, row.into());
        hits.windows.unwrap()[0].ids.iter().map(|id| id.to_string().parse().unwrap()).collect()
    };
    let around = |row, window| -> Vec<u64> { around(row, window) };
    assert_eq!(around(1, 5), [1]);
    assert_eq!(around(2, 5), [2]);
    assert_eq!(around(3, usize::MAX), [3, 2]);
    assert_eq!((around(4, 5), around(5, 5)), (vec![4], vec![5]));
    // Of one place by id.
    assert_eq!((around(6, 0), around(7, 0)), (vec![6, 7], vec![6, 7]));
    assert!(
        docs.search(&[1.0_f32])
            .k(0)
            .window(1, "doc", "at")
            .run()
            .unwrap()
            .windows
            .unwrap()
            .is_empty()
    );
}

#[test]
fn columns_that_number_nothing_are_refused() {
    let scratch = Scratch::new();
    let (_db, docs, _) = collection(&scratch);
    let query = embed("x");
    let refuse = |ask: &dyn Fn(Query<'_>) -> nearfield::Result<()>, message: &str| {
        let error = ask(docs.search(&query)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(
            matches!(error, Error::SchemaMismatch { .. } | Error::NotFound { .. }),
            "{error:?}"
        );
    };
    let window = |document: &'static str, position: &'static str| {
        move |query: Query<'_>| query.window(1, document, position).run().map(drop)
    };
    refuse(&window("page", "plaec"), "\"plaec\", of the positions of a window, not found");
    refuse(&window("pgae", "place"), "\"pgae\", of the documents of a window, not found");
    refuse(&window("page", "text"), "of the positions of a window: expected int64, given utf8");
    refuse(&window("gap", "place"), "of the documents of a window: expected bool, int64");
    let batch = |query: Query<'_>| query.window(1, "page", "gap").run_batch().map(drop);
    refuse(&batch, "expected int64, given float64");
}
