//! What a search says of itself: the plan of each part and what it has done.

use std::sync::Arc;

use nearfield::arrow_array::{ArrayRef, LargeStringArray, RecordBatch};
use nearfield::{
    CodeChoice, Collection, DataType, Hits, Metric, OpenOptions, Schema, SearchList, SearchPlan,
    Settings, SparseVector,
};
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

#[test]
fn words_are_told_with_their_columns_terms_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
    let schema = Schema::new(1, Metric::L2).text("title").text("body");
    let docs = db.collection("docs", schema.column("splade", DataType::Sparse)).unwrap();
    let put = |ids: &[u64], title: &[&str], body: &[&str]| {
        let column = |texts: &[&str]| Arc::new(LargeStringArray::from(texts.to_vec())) as ArrayRef;
        let weights = SparseVector::new([3], [1.0]).unwrap();
        let splade = SparseVector::column(ids.iter().map(|_| Some(&weights)));
        let columns = [("title", column(title)), ("body", column(body)), ("splade", splade)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        docs.upsert(ids, vec![0.0_f32; ids.len()], &batch).unwrap();
    };
    put(&[1, 2, 3], &["pages", "a fault", "x"], &["page faults", "page fault", "the end"]);
    docs.compact().unwrap();
    put(&[3, 4], &["faults", "y"], &["a page", "nothing"]);

    let query = || docs.search_words("the faults +page").columns([("body", 1.0), ("title", 2.0)]);
    let explained = query().filter("id > 1").explain().unwrap();
    assert_eq!(explained.hits.hits, query().filter("id > 1").run().unwrap().hits);
    let words = explained.words.unwrap();
    assert_eq!(words.columns, [("body".to_owned(), 1.0), ("title".to_owned(), 2.0)]);
    let terms: Vec<_> =
        words.terms.iter().map(|one| (one.column.as_str(), one.term.as_str(), one.rows)).collect();
    let expected =
        [("body", "page", 3), ("title", "page", 1), ("body", "fault", 2), ("title", "fault", 2)];
    assert_eq!(terms, expected, "whatever the filter leaves");
    let parts: Vec<_> = explained
        .parts
        .iter()
        .map(|part| (part.segment.is_some(), part.plan, part.rows, part.live_rows, part.candidates))
        .collect();
    assert_eq!(parts, [(true, SearchPlan::Words, 3, 2, 1), (false, SearchPlan::Words, 2, 2, 1)]);
    assert_eq!(explained.parts[0].matching_rows, Some(1));
    let postings: Vec<u64> = explained.parts.iter().map(|part| part.postings_read).collect();
    assert_eq!(postings, [2 + 1 + 2 + 1, 1 + 1]);
    assert!(explained.parts.iter().all(|part| part.time <= explained.search));

    // Pages search a part again; what has a word is counted once.
    let paged = query().offset(0).k(1).explain().unwrap().words.unwrap();
    assert_eq!(paged.terms, words.terms);
    let none = docs.search_words("the").explain().unwrap();
    assert!(none.words.unwrap().terms.is_empty() && none.parts.is_empty());
    assert!(docs.search(&[0.0_f32]).explain().unwrap().words.is_none());

    let wanted = SparseVector::new([3], [1.0]).unwrap();
    let three = docs.search(&[0.0_f32]).words("\"page fault\" en*").sparse("splade", &wanted);
    let three = three.explain().unwrap();
    let plans: Vec<_> = three.parts.iter().map(|part| part.plan).collect();
    use SearchPlan::{Postings, Scan, Words};
    assert_eq!(plans, [Scan, Scan, Words, Words, Postings, Scan]);
    let lists: Vec<_> = three.parts.iter().map(|part| part.list.clone()).collect();
    use SearchList::{Sparse, Vector};
    let by_words = SearchList::Words;
    let by = [
        Vector,
        Vector,
        by_words.clone(),
        by_words,
        Sparse("splade".into()),
        Sparse("splade".into()),
    ];
    assert_eq!(lists, by);
    assert_eq!(three.rerank, None);
    let pause = std::time::Duration::from_millis(3);
    let slow = |hits: &Hits| {
        std::thread::sleep(pause);
        Ok(vec![0.0; hits.len()])
    };
    let ranked = docs.search(&[0.0_f32]).rerank(3, slow).explain().unwrap();
    assert!(ranked.rerank.is_some_and(|took| took >= pause && took <= ranked.search));
    let terms = three.words.unwrap().terms;
    let terms: Vec<_> = terms.iter().map(|one| (one.term.as_str(), one.rows)).collect();
    assert_eq!(terms, [("\"page fault\"", 0), ("\"page fault\"", 2), ("en*", 0), ("en*", 0)]);
}

#[test]
fn a_limit_ends_walks_early_by_codes_too() {
    for code in [CodeChoice::Byte, CodeChoice::Full] {
        let (_dir, rows, values) = rows(code, 0);
        for query in values.chunks_exact(DIMENSION).step_by(ROWS / 20) {
            let search = || rows.search(query).k(100);
            let part = |limit| {
                let explained = search().max_distance(limit).explain().unwrap();
                (explained.hits.len(), explained.parts[0].nodes_expanded)
            };
            let ((all, far), (one, near)) = (part(f32::INFINITY), part(1e-3));
            assert_eq!((all, one), (100, 1), "{code:?}");
            assert!(2 * near < far, "{code:?}: {near} of {far} nodes");
        }
    }
}
