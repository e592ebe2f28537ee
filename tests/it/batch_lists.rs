//! A batch by words, by several lists or with a function that ranks finds what each of its queries finds.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{
    Collection, DataType, Error, Fusion, Hits, Metric, Query, Schema, Snapshot, SparseVector,
};

use crate::common::Scratch;

/// 200 rows at x = id of nine documents, with one of twenty words and one of thirty indices each.
fn texts(docs: &Collection) {
    let ids: Vec<u64> = (0..200).collect();
    let text = |id: &u64| format!("w{} {}", id % 20, "filler ".repeat((id % 7) as usize));
    let texts: ArrayRef = Arc::new(LargeStringArray::from_iter_values(ids.iter().map(text)));
    let of: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| *id as i64 % 9)));
    let terms: Vec<SparseVector> = ids.iter().map(|id| term(id % 30, *id as f32 + 1.0)).collect();
    let terms = SparseVector::column(terms.iter().map(Some));
    let batch =
        RecordBatch::try_from_iter([("body", texts), ("doc", of), ("terms", terms)]).unwrap();
    let vectors: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids, &vectors, &batch).unwrap();
}

fn term(index: u64, weight: f32) -> SparseVector {
    SparseVector::new([u32::try_from(index).unwrap()], [weight]).unwrap()
}

/// Queries of every list, and what else is asked of a search.
struct Asked {
    vectors: Vec<f32>,
    words: Vec<String>,
    terms: Vec<SparseVector>,
    /// Which of the three lists are searched.
    lists: [bool; 3],
}

impl Asked {
    fn search(&self, snapshot: &Snapshot, queries: std::ops::Range<usize>) -> Query<'_> {
        let [by_vector, by_words, by_terms] = self.lists;
        let words = || self.words[queries.clone()].iter().map(String::as_str);
        let terms = &self.terms[queries.clone()];
        match (by_vector, by_words) {
            (true, _) => {
                let query = snapshot.search(&self.vectors[queries.clone()]);
                let query = if by_words { query.words_each(words()) } else { query };
                if by_terms { query.sparse_each("terms", terms) } else { query }
            }
            (false, true) => {
                let query = snapshot.search_words_each(words());
                if by_terms { query.sparse_each("terms", terms) } else { query }
            }
            (false, false) => snapshot.search_sparse("terms", terms),
        }
    }
}

/// What is asked beside the queries.
type Complete = fn(Query<'_>) -> Query<'_>;

fn plain(query: Query<'_>) -> Query<'_> {
    query.k(7).filter("id > 20 OR id < 5").select_all()
}

fn by_document(query: Query<'_>) -> Query<'_> {
    query.k(3).group_by("doc").per_group(2).offset(1)
}

fn ranked(query: Query<'_>) -> Query<'_> {
    let farthest = |hits: &Hits| Ok(hits.iter().map(|hit| hit.distance).collect());
    query.k(4).rerank(9, farthest).with_vectors()
}

fn weighted(query: Query<'_>) -> Query<'_> {
    query.fusion(Fusion::weighted(0.3)).candidates(30)
}

fn marked(query: Query<'_>) -> Query<'_> {
    query.highlight(20)
}

#[test]
fn a_batch_by_any_lists_finds_what_each_query_finds_alone() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("doc", DataType::Int64);
    let docs = db.collection("docs", schema.column("terms", DataType::Sparse)).unwrap();
    texts(&docs);
    let many = 23;
    let mut asked = Asked {
        vectors: (0..many).map(|n| n as f32 * 8.3).collect(),
        words: (0..many).map(|n| format!("+w{} filler", n % 21)).collect(),
        terms: (0..many).map(|n| term(n as u64 % 31, 2.0)).collect(),
        lists: [false; 3],
    };
    for segment in [false, true] {
        if segment {
            docs.compact().unwrap();
        }
        let snapshot = docs.snapshot().unwrap();
        for lists in 1..8_u8 {
            asked.lists = [lists & 1 > 0, lists & 2 > 0, lists & 4 > 0];
            let several = lists.count_ones() > 1;
            let shapes: [Complete; 5] = [
                plain,
                by_document,
                ranked,
                if several { weighted } else { plain },
                if asked.lists[1] { marked } else { plain },
            ];
            for (shape, complete) in shapes.into_iter().enumerate() {
                let together = complete(asked.search(&snapshot, 0..many)).run_batch().unwrap();
                assert_eq!(together.len(), many);
                for (at, together) in together.iter().enumerate() {
                    let single = complete(asked.search(&snapshot, at..at + 1)).run().unwrap();
                    let place = format!("lists {lists}, shape {shape}, query {at}");
                    assert_eq!(together.hits, single.hits, "{place}");
                    assert_eq!(together.ranks, single.ranks, "{place}");
                    assert_eq!(together.attributes, single.attributes, "{place}");
                    assert_eq!(together.snippets, single.snippets, "{place}");
                }
                assert!(together.iter().filter(|hits| !hits.is_empty()).count() > 15);
            }
            assert!(asked.search(&snapshot, 0..0).run_batch().unwrap().is_empty());
        }
    }
}

#[test]
fn lists_of_different_numbers_of_queries_are_refused() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("terms", DataType::Sparse);
    let docs = db.collection("docs", schema.column("doc", DataType::Int64)).unwrap();
    texts(&docs);
    let two = [term(1, 1.0), term(2, 1.0)];
    let words = |words: &[&'static str]| docs.search_words_each(words.to_vec());
    for (query, says) in [
        (docs.search(&[0.0_f32, 1.0]).words("w1"), "vectors of 2 queries and words of 1; give one"),
        (docs.search(&[0.0_f32]).words_each(["w1"; 0]), "vectors of 1 queries and words of 0"),
        (words(&["w1"]).sparse_each("terms", &two), "words of 1 queries and terms of 2"),
        (docs.search_sparse("terms", &two).words("w1"), "vectors of 2 queries and words of 1"),
        (words(&["w1", "w2"]).columns([("nope", 1.0)]), "nope"),
        (words(&["w1", "\"w2"]), "\"w2"),
        (words(&["w1", "w2"]).max_distance(1.0), "are of a vector"),
        (words(&["w1", "w2"]).rerank(3, |_: &Hits| Err("no model".into())), "no model"),
    ] {
        let error = match query.run_batch().unwrap_err() {
            Error::Rerank { source } => source.to_string(),
            error => error.to_string(),
        };
        assert!(error.contains(says), "{error}");
    }
    for (query, says) in [
        (words(&["w1", "w2"]), "2 queries are given; run_batch takes many"),
        (words(&[]), "nothing to search for"),
        (docs.search(&[0.0_f32]).words_each(["w1", "w2"]), "vectors of 1 queries and words of 2"),
    ] {
        let error = query.run().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(true));
    assert!(matches!(words(&["w1", "w2"]).cancel(stop).run_batch(), Err(Error::Cancelled)));
}
