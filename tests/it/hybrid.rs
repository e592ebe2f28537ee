//! Searches by vector and words in one order, and functions that rank.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{
    Collection, DataType, Error, Fusion, Hits, Id, Metric, Normalize, Query, Schema, SearchList,
    Snapshot, SparseVector,
};

use crate::common::Scratch;

/// Rows 0 to 19 at x = id, with the texts of their numbers; 5 and 15 share a rare word.
fn filled(docs: &Collection) {
    let text = |id: u64| match id {
        5 => "five rare".to_owned(),
        15 => "fifteen rare word".to_owned(),
        id => format!("number {id}"),
    };
    let ids: Vec<u64> = (0..20).collect();
    let texts: ArrayRef =
        Arc::new(LargeStringArray::from_iter_values(ids.iter().map(|id| text(*id))));
    let batch = RecordBatch::try_from_iter([("body", texts)]).unwrap();
    let vectors: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids, &vectors, &batch).unwrap();
}

fn ids(hits: &Hits) -> Vec<u64> {
    let number = |id: &Id| match id {
        Id::U64(id) => *id,
        Id::Utf8(_) => panic!("ids are numbers"),
    };
    hits.iter().map(|hit| number(&hit.id)).collect()
}

#[test]
fn a_row_may_be_found_by_vector_or_by_words_and_has_its_distance() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2).text("body")).unwrap();
    filled(&docs);
    for segment in [false, true] {
        if segment {
            docs.compact().unwrap();
        }
        let query = || docs.search(&[0.0_f32]).words("rare").candidates(3);
        let hits = query().k(10).run().unwrap();
        // Ranks of the vector 0, 1, 2, …; of the words 5, 15.
        assert_eq!(ids(&hits), [5, 0, 1, 15, 2, 3, 4, 6, 7, 8], "at least k of each list");
        let distances: Vec<f32> = hits.iter().map(|hit| hit.distance).collect();
        assert_eq!(distances[..4], [25.0, 0.0, 1.0, 225.0]);
        assert!((hits[0].score - (1.0 / 66.0 + 1.0 / 61.0)).abs() < 1e-7);
        let alone = docs.search_words("rare").run().unwrap();
        assert!(alone.ranks.is_none() && docs.search(&[0.0_f32]).run().unwrap().ranks.is_none());
        let ranks = hits.ranks.as_ref().unwrap();
        let of = |at: usize| -> Vec<(SearchList, usize, f32)> {
            ranks[at].iter().map(|one| (one.list.clone(), one.rank, one.score)).collect()
        };
        let (vector, words) = (SearchList::Vector, SearchList::Words);
        assert_eq!(of(0), [(vector.clone(), 6, -25.0), (words.clone(), 1, alone[0].score)]);
        assert_eq!(of(1), [(vector, 1, 0.0)]);
        assert_eq!((of(3), ranks.len()), (vec![(words, 2, alone[1].score)], 10));
        let hits = query().k(2).filter("id >= 10").run().unwrap();
        assert_eq!(ids(&hits), [10, 15]);
        let hits = query().k(20).max_distance(30.0).run().unwrap();
        assert_eq!(ids(&hits), [5, 0, 1, 2, 3, 4]);
        let near = query().k(3).fusion(Fusion::weighted(1.0)).run().unwrap();
        assert_eq!(ids(&near), [0, 1, 2]);
        let worded = query().k(2).fusion(Fusion::weighted(0.0)).run().unwrap();
        assert_eq!(ids(&worded)[0], 5);
        let z = Fusion::Weighted { alpha: 0.5, normalize: Normalize::ZScore };
        assert_eq!(query().k(100).fusion(z).run().unwrap().len(), 20);
        let none = docs.search(&[0.0_f32]).words("absent the").k(3).run().unwrap();
        assert_eq!(ids(&none), [0, 1, 2]);
    }
    let snapshot = docs.snapshot().unwrap();
    docs.delete(&[5]).unwrap();
    let both = |hits: Hits| ids(&hits).contains(&5);
    assert!(both(snapshot.search(&[0.0_f32]).words("rare").k(2).run().unwrap()));
    assert!(!both(docs.search(&[0.0_f32]).words("rare").k(20).run().unwrap()));
    assert!(docs.search(&[0.0_f32]).words("a").fusion(Fusion::weighted(2.0)).run().is_err());
    assert!(docs.search(&[0.0_f32, 1.0]).words("a").run_batch().is_err());
    assert!(docs.search(&[f32::NAN]).words("a").run().is_err());
}

#[test]
fn words_beside_a_sparse_vector_and_alone_have_the_distances_there_are() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("terms", DataType::Sparse);
    let docs = db.collection("docs", schema).unwrap();
    let texts: ArrayRef = Arc::new(LargeStringArray::from(vec!["rare", "rare too", "common"]));
    let vector = |index| SparseVector::new(vec![index], vec![2.0]).unwrap();
    let vectors = [Some(vector(7)), Some(vector(8)), None];
    let terms = SparseVector::column(vectors.iter().map(Option::as_ref));
    let batch = RecordBatch::try_from_iter([("body", texts), ("terms", terms)]).unwrap();
    docs.upsert(&[1, 2, 3], &[0.0_f32; 3], &batch).unwrap();
    let hits = docs.search_sparse("terms", &vector(7)).words("rare").run().unwrap();
    assert_eq!(ids(&hits), [1, 2]);
    assert_eq!((hits[0].distance, hits[1].distance), (-4.0, 0.0));
    let near = docs.search_sparse("terms", &vector(7)).words("rare").max_distance(-1.0).run();
    assert_eq!(ids(&near.unwrap()), [1]);

    let alone = docs.search_words("rare").run().unwrap();
    assert!(alone.iter().all(|hit| hit.distance == -hit.score));
    let refused = docs.search_words("rare").max_distance(1.0).run().unwrap_err().to_string();
    assert!(refused.contains("max_distance are of a vector"), "{refused}");
}

#[test]
fn a_function_ranks_the_candidates_by_what_it_sees() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", Schema::new(1, Metric::L2).text("body")).unwrap();
    filled(&docs);
    let longest = |hits: &Hits| {
        let texts = hits.attributes.as_ref().unwrap().column(0).as_string::<i64>();
        Ok(texts.iter().map(|text| text.unwrap().len() as f32).collect())
    };
    let query = || docs.search(&[0.0_f32]).words("rare").select(["body"]).k(2);
    let hits = query().rerank(20, longest).run().unwrap();
    assert_eq!(ids(&hits), [15, 5]);
    assert_eq!((hits[0].score, hits[0].distance), (17.0, 225.0));
    assert_eq!(hits.attributes.unwrap().num_rows(), 2);
    let reversed = |hits: &Hits| Ok((0..hits.len()).map(|at| at as f32).collect());
    let words = docs.search_words("rare").k(1).rerank(9, reversed).run().unwrap();
    assert_eq!(ids(&words), [15]);
    let near = docs.search(&[0.0_f32]).k(2).rerank(5, reversed).run().unwrap();
    assert_eq!(ids(&near), [4, 3]);
    let equal = docs.search(&[0.0_f32]).k(2).rerank(5, |hits: &Hits| Ok(vec![0.0; hits.len()]));
    assert_eq!(ids(&equal.run().unwrap()), [0, 1], "ties by id");

    let few = query().rerank(20, |_: &Hits| Ok(vec![1.0])).run().unwrap_err().to_string();
    assert!(few.contains("1 scores for 20 candidates"), "{few}");
    let nan = |hits: &Hits| Ok(vec![f32::NAN; hits.len()]);
    assert!(query().rerank(20, nan).run().unwrap_err().to_string().contains("NaN"));
    let failed = query().rerank(20, |_: &Hits| Err("no model".into())).run();
    match failed {
        Err(Error::Rerank { source }) => assert_eq!(source.to_string(), "no model"),
        other => panic!("{other:?}"),
    }
    let never = |_: &Hits| panic!("nothing to rank");
    assert!(docs.search_words("absent").rerank(5, never).run().unwrap().is_empty());
}

/// 60 rows at x = id, three of each document, every fourth with a rarer word.
fn documents(docs: &Collection) {
    let ids: Vec<u64> = (0..60).collect();
    let text = |id: &u64| {
        let rare = if id.is_multiple_of(4) { " rare" } else { "" };
        format!("common{rare}{}", " filler".repeat(*id as usize * 7 % 11))
    };
    let texts: ArrayRef = Arc::new(LargeStringArray::from_iter_values(ids.iter().map(text)));
    let of: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| *id as i64 / 3)));
    let batch = RecordBatch::try_from_iter([("body", texts), ("doc", of)]).unwrap();
    let vectors: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids, &vectors, &batch).unwrap();
}

/// The first two of each document in a list, documents in the order of their first.
fn grouped(list: &[u64], documents: usize) -> Vec<u64> {
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for id in list {
        match groups.iter_mut().find(|group| group[0] / 3 == id / 3) {
            Some(group) if group.len() < 2 => group.push(*id),
            Some(_) => {}
            None => groups.push(vec![*id]),
        }
    }
    groups.into_iter().take(documents).flatten().collect()
}

/// A search of one kind over a snapshot.
type Search = fn(&Snapshot) -> Query<'static>;

fn by_words(snapshot: &Snapshot) -> Query<'static> {
    snapshot.search_words("common rare")
}

fn by_both(snapshot: &Snapshot) -> Query<'static> {
    snapshot.search(&[20.0_f32]).words("common rare").candidates(60)
}

fn by_a_function(snapshot: &Snapshot) -> Query<'static> {
    let scattered = |hits: &Hits| Ok(ids(hits).iter().map(|id| (id * 37 % 60) as f32).collect());
    snapshot.search(&[20.0_f32]).rerank(60, scattered)
}

#[test]
fn every_list_has_pages_and_groups() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("doc", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    documents(&docs);
    for segment in [false, true] {
        if segment {
            docs.compact().unwrap();
        }
        let snapshot = docs.snapshot().unwrap();
        let searches: [Search; 3] = [by_words, by_both, by_a_function];
        for (kind, search) in searches.into_iter().enumerate() {
            for filter in ["id >= 0", "id < 20 OR id > 40"] {
                let query = || search(&snapshot).filter(filter);
                let all = ids(&query().k(60).run().unwrap());
                assert!(all.len() >= 39, "{kind} {all:?}");
                let mut pages = Vec::new();
                while pages.len() < all.len() {
                    let k = 7.min(60 - pages.len());
                    pages.extend(ids(&query().k(k).offset(pages.len()).run().unwrap()));
                }
                assert_eq!(pages, all, "{kind} {filter}");
                let groups = || query().group_by("doc").per_group(2);
                assert_eq!(ids(&groups().k(5).run().unwrap()), grouped(&all, 5), "{kind}");
                let later = ids(&groups().k(4).offset(3).run().unwrap());
                assert_eq!(later, grouped(&all, 7)[grouped(&all, 3).len()..], "{kind}");
            }
        }
        // As many candidates as the groups need.
        let few = snapshot.search(&[0.0_f32]).words("absent").group_by("doc").k(20);
        assert_eq!(few.run().unwrap().len(), 20);
        let far = snapshot.search(&[0.0_f32]).words("common").min_distance(400.0).k(60);
        assert_eq!(far.run().unwrap().iter().filter(|hit| hit.distance >= 400.0).count(), 40);
        let ranked = by_a_function(&snapshot).min_distance(400.0).k(60).run().unwrap();
        assert_eq!(ranked.len(), 21, "0, and 40 to 59");
    }
    let snapshot = docs.snapshot().unwrap();
    let refused = |query: Query<'_>, says: &str| {
        let error = query.run().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(by_both(&snapshot).offset(55).k(6), "ask for at least 61 of them");
    refused(by_a_function(&snapshot).offset(60).k(1), "ask for at least 61 of them");
    refused(by_words(&snapshot).max_distance(3.0), "there is none to search by");
    refused(by_words(&snapshot).min_distance(3.0), "there is none to search by");
}

/// Rows 0 to 399 at x = id of the documents 0, 1 and 2 in turn, then 200 rows of a document each.
fn few_documents_first(docs: &Collection) {
    let ids: Vec<u64> = (0..600).collect();
    let of = |id: &u64| if *id < 400 { *id as i64 % 3 } else { *id as i64 };
    let of: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.iter().map(of)));
    let texts: ArrayRef =
        Arc::new(LargeStringArray::from_iter_values(ids.iter().map(|_| "common")));
    let batch = RecordBatch::try_from_iter([("body", texts), ("doc", of)]).unwrap();
    let vectors: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids, &vectors, &batch).unwrap();
}

#[test]
fn groups_are_looked_for_behind_the_first_candidates() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("doc", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    few_documents_first(&docs);
    let expected: Vec<u64> = (0..3).chain(400..407).collect();
    for segment in [false, true] {
        if segment {
            docs.compact().unwrap();
        }
        let snapshot = docs.snapshot().unwrap();
        let both = || snapshot.search(&[0.0_f32]).words("common").group_by("doc").k(10);
        assert_eq!(ids(&both().run().unwrap()), expected);
        let seen = AtomicUsize::new(0);
        let rank = |hits: &Hits| {
            seen.store(hits.len(), Ordering::Relaxed);
            Ok(hits.iter().map(|hit| -hit.distance).collect())
        };
        let near = || snapshot.search(&[0.0_f32]).group_by("doc").k(10);
        for ranked in [near().rerank(50, rank), both().rerank(50, rank)] {
            assert_eq!(ids(&ranked.run().unwrap()), expected);
            assert_eq!(seen.load(Ordering::Relaxed), 57, "of each further document its best row");
        }
        let pairs = near().per_group(2).k(4).rerank(50, rank);
        assert_eq!(ids(&pairs.run().unwrap()), [0, 3, 1, 4, 2, 5, 400]);

        // Pages are of the same candidates.
        for short in [both().offset(0), both().offset(2).k(2), near().rerank(50, rank).offset(0)] {
            let error = short.run().unwrap_err().to_string();
            assert!(error.contains("are of 3 groups, and there are more; ask for "), "{error}");
        }
        assert_eq!(ids(&both().offset(1).k(2).run().unwrap()), [1, 2]);
        let page = |offset| ids(&both().candidates(500).offset(offset).k(5).run().unwrap());
        assert_eq!([page(0), page(5)].concat(), expected);
        // There are no more, so a page may be short.
        let three = |query: Query<'_>| ids(&query.filter("id < 400").run().unwrap());
        assert_eq!(three(both().offset(0)), [0, 1, 2]);
        assert_eq!(three(near().rerank(50, rank).offset(1)), [1, 2]);
        assert_eq!(three(near().rerank(50, rank)), [0, 1, 2]);
    }
}

#[test]
fn sparse_vectors_are_one_more_list() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let schema = Schema::new(1, Metric::L2).text("body").column("splade", DataType::Sparse);
    let docs = db.collection("docs", schema).unwrap();
    let ids_of: Vec<u64> = (0..40).collect();
    // Row n has index n and, of every tenth, index 100.
    let sparse = |id: &u64| {
        let mut pairs = vec![(*id as u32, 1.0)];
        pairs.extend(id.is_multiple_of(10).then_some((100, *id as f32 + 1.0)));
        SparseVector::from_pairs(pairs).unwrap()
    };
    let vectors: Vec<SparseVector> = ids_of.iter().map(sparse).collect();
    let texts: ArrayRef =
        Arc::new(LargeStringArray::from_iter_values(ids_of.iter().map(|id| format!("w{id}"))));
    let columns = [("body", texts), ("splade", SparseVector::column(vectors.iter().map(Some)))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let places: Vec<f32> = ids_of.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids_of, &places, &batch).unwrap();
    let wanted = SparseVector::new([100], [1.0]).unwrap();
    for segment in [false, true] {
        if segment {
            docs.compact().unwrap();
        }
        // The vector: 0, 1, 2, …; the sparse one: 30, 20, 10, 0.
        let both = docs.search(&[0.0_f32]).sparse("splade", &wanted).candidates(4).k(3);
        let hits = both.run().unwrap();
        assert_eq!(ids(&hits), [0, 30, 1], "{hits:?}");
        assert_eq!(hits[1].distance, 900.0);
        // Words and both kinds of vectors: 7 has a rank of each list but the sparse one.
        let three = || docs.search(&[5.0_f32]).words("w7 w20").sparse("splade", &wanted);
        assert_eq!(ids(&three().candidates(5).k(2).run().unwrap()), [20, 7]);
        let alone = three().fusion(Fusion::weighted(1.0)).k(2).run().unwrap();
        assert_eq!(ids(&alone), [5, 4]);
        let shared = Fusion::weighted(0.0);
        let hits = three().fusion(shared).candidates(40).k(40).run().unwrap();
        let score = |id: u64| hits.iter().find(|hit| hit.id == id.into()).unwrap().score;
        assert_eq!((score(30), score(20)), (0.5, 0.5 + 0.5 * 20.0 / 30.0));
        // Without a vector there is no distance.
        let query = || docs.search_words("w7").sparse("splade", &wanted).k(9);
        let hits = query().run().unwrap();
        assert_eq!(ids(&hits), [7, 30, 20, 10, 0]);
        assert!(hits.iter().all(|hit| hit.distance == -hit.score));
        assert!(query().max_distance(1.0).run().is_err());
        let hits = docs.search_sparse("splade", &wanted).words("w7").k(9).run().unwrap();
        assert_eq!(hits.iter().find(|hit| hit.id == 7.into()).unwrap().distance, 0.0);
        let near = docs.search_sparse("splade", &wanted).words("w7").max_distance(-1.0).k(9);
        assert_eq!(ids(&near.run().unwrap()), [30, 20, 10, 0]);
        let filtered = docs.search(&[0.0_f32]).sparse("splade", &wanted).filter("id >= 20").k(2);
        assert_eq!(ids(&filtered.run().unwrap()), [20, 30]);
    }
    let columns = docs.search(&[7.0_f32]).columns([("body", 2.0)]).words("w1").k(1);
    assert_eq!(columns.run().unwrap().len(), 1);
    for (query, says) in [
        (docs.search(&[0.0_f32]).sparse("nope", &wanted), "nope"),
        (docs.search(&[0.0_f32]).sparse("body", &wanted), "body"),
        (docs.search(&[0.0_f32]).highlight(3), "highlight shows"),
        (docs.search(&[0.0_f32]).columns([("body", 2.0)]), "columns are searched by words"),
    ] {
        let error = query.run().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn hits_of_any_list_can_be_unlike_each_other() {
    let scratch = Scratch::new();
    let db = scratch.open();
    for metric in [Metric::Cosine, Metric::L2, Metric::Dot] {
        let schema = Schema::new(2, metric).text("body").column("splade", DataType::Sparse);
        let docs = db.collection(&format!("{metric:?}"), schema).unwrap();
        // Three texts say the word thrice and lie together, one says it once and lies elsewhere.
        let texts = ["rare rare rare", "rare rare rare", "rare rare rare", "rare a few more", "no"];
        let body: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
        let splade = [3.0, 3.0, 3.0, 1.0].map(|by| SparseVector::new([7], [by]).unwrap());
        let splade = SparseVector::column(splade.iter().map(Some).chain([None]));
        let batch = RecordBatch::try_from_iter([("body", body), ("splade", splade)]).unwrap();
        let vectors = [1.0_f32, 0.0, 1.0, 0.01, 1.0, 0.02, 0.0, 1.0, -1.0, 0.0];
        docs.upsert(&[1, 2, 3, 4, 5], &vectors, &batch).unwrap();
        let words = || docs.search_words("rare").k(2);
        assert_eq!(ids(&words().run().unwrap()), [1, 2]);
        assert_eq!(ids(&words().mmr(1.0).run().unwrap()), [1, 2], "{metric:?}");
        assert_eq!(ids(&words().mmr(0.3).run().unwrap()), [1, 4], "{metric:?}");
        let both = || docs.search(&[1.0_f32, 0.0]).words("rare").k(2);
        assert_eq!(ids(&both().mmr(1.0).run().unwrap()), ids(&both().run().unwrap()));
        assert!(ids(&both().mmr(0.2).run().unwrap())[1] > 3, "{metric:?}");
        let ranked = docs.search(&[1.0_f32, 0.0]).rerank(5, |hits| Ok(vec![1.0; hits.len()])).k(2);
        assert!(ids(&ranked.mmr(0.5).run().unwrap())[1] > 3, "{metric:?}");
        let pages = |offset| ids(&words().mmr(0.3).mmr_candidates(4).offset(offset).run().unwrap());
        assert_eq!([pages(0), pages(2)].concat().len(), 4);
        let wanted = SparseVector::new([7], [1000.0]).unwrap();
        let sparse = || docs.search_sparse("splade", &wanted).k(2);
        assert_eq!(ids(&sparse().mmr(1.0).run().unwrap()), [1, 2], "{metric:?}");
        assert_eq!(ids(&sparse().mmr(0.3).run().unwrap()), [1, 4], "{metric:?}");
        assert_eq!(ids(&sparse().mmr(0.3).run_batch().unwrap()[0]), [1, 4], "{metric:?}");
        let beside = || sparse().words("rare");
        assert_eq!(ids(&beside().mmr(0.3).run().unwrap()), [1, 4], "{metric:?}");
        let pages =
            |offset| ids(&sparse().mmr(0.3).mmr_candidates(4).offset(offset).run().unwrap());
        // The third is farther from the first than the second is, and its product with it the same.
        let unlike = if metric == Metric::Dot { [1, 4, 2, 3] } else { [1, 4, 3, 2] };
        assert_eq!([pages(0), pages(2)].concat(), unlike, "{metric:?}");
    }
}
