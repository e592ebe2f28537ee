//! The bare index: against exact answers, through its file, and with bad input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nearfield::{CodeChoice, Error, Index, IndexOptions, Metric, Neighbour, VectorType, Vectors};

use crate::common::{Random, Scratch};

/// Rows around a few centres, as embeddings lie.
fn clustered(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut number = || (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let centres: Vec<f32> = (0..20 * dimension).map(|_| number()).collect();
    let mut values = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        let centre = &centres[row % 20 * dimension..][..dimension];
        values.extend(centre.iter().map(|at| at + number() * 0.5));
    }
    values
}

/// The share of true neighbours among those that searches find.
fn recall(index: &Index, queries: &[f32], k: usize, ef: usize) -> f64 {
    let exact = index.search(queries).k(k).exact(true).run_batch().unwrap();
    let found = index.search(queries).k(k).ef(ef).run_batch().unwrap();
    let pairs = exact.ids.chunks(k).zip(found.ids.chunks(k));
    let hits: usize =
        pairs.map(|(exact, found)| found.iter().filter(|id| exact.contains(id)).count()).sum();
    hits as f64 / exact.ids.len() as f64
}

fn ids(found: &[Neighbour]) -> Vec<u64> {
    found.iter().map(|neighbour| neighbour.id).collect()
}

#[test]
fn a_built_index_finds_nearly_all_true_neighbours_under_every_metric_type_and_code() {
    let (rows, dimension) = (6_000, 64);
    let mut all = clustered(rows + 60, dimension, 1);
    let queries = all.split_off(rows * dimension);
    for (metric, vector_type, code) in [
        (Metric::L2, VectorType::F32, CodeChoice::Auto),
        (Metric::Cosine, VectorType::F16, CodeChoice::Half),
        (Metric::Dot, VectorType::Bf16, CodeChoice::Full),
    ] {
        let options = IndexOptions::new().vector_type(vector_type).code(code).threads(2);
        let index = options.create(dimension, metric).unwrap();
        assert_eq!(index.add(None, &all).unwrap(), rows as u64);
        assert_eq!((index.len().unwrap(), index.unbuilt().unwrap()), (rows, rows));
        index.build().unwrap();
        assert_eq!(index.unbuilt().unwrap(), 0);
        let recall = recall(&index, &queries, 10, 100);
        assert!(recall >= 0.93, "{metric} {vector_type}: {recall}");
    }
}

#[test]
fn rows_of_the_examples_are_found_as_by_comparing_all() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/packages.parquet");
    let index = Index::new(384, Metric::Cosine).unwrap();
    for batch in nearfield::interop::read(path, &Default::default()).unwrap() {
        index.add(None, batch.unwrap().vectors).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/queries.parquet");
    let queries = nearfield::interop::read(path, &Default::default()).unwrap();
    let queries: Vec<f32> = queries
        .flat_map(|batch| {
            let vectors = batch.unwrap().vectors;
            vectors.to_f32(0..vectors.len())
        })
        .collect();
    assert!(index.len().unwrap() > 1_000 && queries.len() >= 384, "{} rows", index.len().unwrap());
    let recall = recall(&index, &queries, 10, 100);
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn the_first_search_of_many_rows_builds_and_later_rows_are_found_beside_the_graph() {
    let index = IndexOptions::new().threads(1).create(16, Metric::L2).unwrap();
    let all = clustered(5_000, 16, 3);
    index.add(None, &all[..4_900 * 16]).unwrap();
    assert_eq!(index.unbuilt().unwrap(), 4_900);
    assert_eq!(ids(&index.search(&all[..16]).k(1).run().unwrap()), [0]);
    assert_eq!(index.unbuilt().unwrap(), 0, "the search has built");
    index.add(None, &all[4_900 * 16..]).unwrap();
    assert_eq!(index.unbuilt().unwrap(), 100);
    for row in [0, 17, 4_899, 4_900, 4_999] {
        let found = index.search(&all[row * 16..][..16]).k(3).run().unwrap();
        assert_eq!((found[0].id, found[0].distance), (row as u64, 0.0));
        assert!(found.is_sorted_by(|a, b| (a.distance, a.id) < (b.distance, b.id)));
    }
    assert_eq!(index.unbuilt().unwrap(), 100, "so few rows are compared one by one");
    index.build().unwrap();
    assert!(recall(&index, &all[..50 * 16], 10, 100) >= 0.95);
}

#[test]
fn whatever_is_added_removed_and_built_the_exact_answer_is_that_of_a_plain_map() {
    let mut random = Random::new(9);
    let index = IndexOptions::new().threads(1).create(3, Metric::L2).unwrap();
    let mut model: BTreeMap<u64, [f32; 3]> = BTreeMap::new();
    let mut next = 0;
    for step in 0..400 {
        let mut point = || [0; 3].map(|_: u8| (random.next() >> 60) as f32);
        let (a, b) = (point(), point());
        match random.next() % 6 {
            0 | 1 => {
                index.add(None, [a, b].concat()).unwrap();
                model.extend([(next, a), (next + 1, b)]);
                next += 2;
            }
            2 => {
                let id = random.next() % 1_000;
                let added = index.add(Some(&[id]), &a);
                assert_eq!(added.is_err(), model.contains_key(&id), "step {step}");
                if added.is_ok() {
                    model.insert(id, a);
                    next = next.max(id + 1);
                }
            }
            3 | 4 => {
                let id = random.next() % (next + 2);
                let removed = index.remove(&[id, id]).unwrap();
                assert_eq!(removed, u64::from(model.remove(&id).is_some()));
            }
            _ => index.build().unwrap(),
        }
        assert_eq!(index.len().unwrap(), model.len());
        let distance = |p: &[f32; 3]| p.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>();
        let mut expected: Vec<_> = model.iter().map(|(id, p)| (distance(p), *id)).collect();
        expected.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
        expected.truncate(7);
        for exact in [true, false] {
            let found = index.search(&b).k(7).exact(exact).run().unwrap();
            let found: Vec<_> = found.iter().map(|near| (near.distance, near.id)).collect();
            assert_eq!(found, expected, "step {step}");
        }
        assert!(model.keys().all(|id| index.contains(*id).unwrap()));
        assert!(!index.contains(next).unwrap());
    }
    assert!(model.len() > 20, "{} rows", model.len());
}

#[test]
fn a_saved_index_answers_the_same_loaded_viewed_and_copied() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.dir.path().join(name);
    for (metric, vector_type, dimension) in [
        (Metric::Cosine, VectorType::F32, 96),
        (Metric::L2, VectorType::U8, 30),
        (Metric::Hamming, VectorType::B1, 64),
    ] {
        let options = IndexOptions::new().vector_type(vector_type).m(8).ef_construction(60);
        let index = options.create(dimension, metric).unwrap();
        let width = vector_type.row_elements(dimension);
        let mut random = Random::new(4);
        let all: Vectors<'static> = match vector_type {
            VectorType::F32 => clustered(1_500, width, 5).into(),
            _ => (0..1_500 * width).map(|_| random.next() as u8).collect::<Vec<_>>().into(),
        };
        let given: Vec<u64> = (0..1_500).map(|row| row * 7 % 1_500).collect();
        index.add(Some(&given), all.clone()).unwrap();
        assert_eq!(index.remove(&[3, 4, 5]).unwrap(), 3);
        index.save(at("a")).unwrap();
        index.save(at("a")).unwrap();
        let loaded = Index::load(at("a")).unwrap();
        let viewed = IndexOptions::new().threads(1).view(at("a")).unwrap();
        viewed.save(at("b")).unwrap();
        let copied = Index::view(at("b")).unwrap();
        let queries = all.gather((0..40).map(|row| row * 31), width);
        let expected = index.search(queries.clone()).k(5).run_batch().unwrap();
        for other in [&loaded, &viewed, &copied] {
            assert_eq!(
                (other.len().unwrap(), other.metric(), other.vector_type()),
                (1_497, metric, vector_type)
            );
            assert_eq!((other.options().m, other.options().ef_construction), (8, 60));
            assert_eq!(other.search(queries.clone()).k(5).run_batch().unwrap(), expected);
            assert!(other.contains(6).unwrap() && !other.contains(4).unwrap());
            assert!(!other.contains(1 << 40).unwrap());
        }
        assert_eq!(loaded.add(None, all.gather([0], width)).unwrap(), 1);
        assert!(loaded.contains(1_500).unwrap(), "numbers go on where they were");
        assert!(matches!(viewed.add(None, all.gather([0], width)), Err(Error::ReadOnly(_))));
        assert!(matches!(viewed.remove(&[1]), Err(Error::ReadOnly(_))));
        let left: Vec<_> = std::fs::read_dir(scratch.dir.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "nothing is left beside the files");
    }
}

#[test]
fn an_empty_index_is_saved_and_searched_like_any_other() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("empty");
    let index = Index::new(4, Metric::Dot).unwrap();
    index.build().unwrap();
    index.save(&path).unwrap();
    for other in [index, Index::load(&path).unwrap(), Index::view(&path).unwrap()] {
        assert!(other.is_empty().unwrap());
        assert_eq!(other.search(&[0.0_f32; 4]).run().unwrap(), []);
        let many = other.search(&[0.0_f32; 8]).k(usize::MAX).run_batch().unwrap();
        assert_eq!((many.width, many.counts), (0, vec![0, 0]));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damages files behind the engine's back")]
fn every_damaged_byte_of_a_file_is_refused_or_changes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("whole");
    let index = IndexOptions::new().m(2).ef_construction(10).create(2, Metric::Cosine).unwrap();
    index.add(None, clustered(300, 2, 6)).unwrap();
    index.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let query = [0.3_f32, 0.4];
    let expected = index.search(&query).k(3).run().unwrap();
    let damaged = scratch.dir.path().join("damaged");
    let mut refused = 0;
    let mut random = Random::new(8);
    for turn in 0..whole.len() / 16 {
        let mut bytes = whole.clone();
        let at = turn * 16 + random.next() as usize % 16;
        bytes[at] ^= 1 << (random.next() % 8);
        std::fs::write(&damaged, &bytes).unwrap();
        let loaded = Index::load(&damaged);
        let viewed = Index::view(&damaged).and_then(|index| index.search(&query).k(3).run());
        match viewed {
            Ok(found) => assert_eq!(found, expected, "byte {at}"),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. } | Error::Incompatible { .. }))
            }
        }
        refused += usize::from(loaded.is_err());
    }
    assert!(refused > whole.len() / 80, "{refused} of {}", whole.len() / 16);
    for cut in [0, 1, 100, 4_095, 4_096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&damaged, &whole[..cut]).unwrap();
        assert!(matches!(Index::load(&damaged), Err(Error::Corrupt { .. })), "cut at {cut}");
    }
}

#[test]
fn what_no_index_can_take_is_refused_in_words_and_changes_nothing() {
    let index = Index::new(2, Metric::L2).unwrap();
    index.add(None, &[0.0_f32, 1.0, 2.0, 3.0]).unwrap();
    let message = |result: Result<u64, Error>| result.unwrap_err().to_string();
    assert!(message(index.add(None, &[1.0_f32; 3])).contains("dimension"));
    assert!(message(index.add(Some(&[8]), &[1.0_f32; 4])).contains("dimension"));
    assert!(message(index.add(None, &[1.0_f32, f32::NAN])).contains("NaN"));
    let twice = index.add(Some(&[9, 1, 9]), &[0.0_f32; 6]);
    assert!(matches!(twice, Err(Error::DuplicateId { ids }) if ids == [1.into(), 9.into()]));
    assert_eq!((index.len().unwrap(), index.add(Some(&[]), Vec::<f32>::new()).unwrap()), (2, 0));
    assert_eq!(index.remove(&[7, 8]).unwrap(), 0);

    let refused = |vectors: &[f32]| index.search(vectors).run().unwrap_err();
    assert!(matches!(refused(&[1.0]), Error::DimensionMismatch { expected: 2, given: 1, .. }));
    assert!(matches!(refused(&[f32::INFINITY, 0.0]), Error::InvalidVector { .. }));
    assert!(index.search(&[0.0_f32; 2]).max_distance(f32::NAN).run().is_err());
    assert_eq!(index.search(&[0.0_f32; 2]).k(0).run().unwrap(), []);
    assert_eq!(index.search(&[0.0_f32; 2]).k(usize::MAX).run().unwrap().len(), 2);
    assert_eq!(ids(&index.search(&[0.0_f32; 2]).max_distance(1.0).run().unwrap()), [0]);

    for (dimension, metric) in [(0, Metric::L2), (1 << 20, Metric::L2), (8, Metric::Hamming)] {
        assert!(matches!(Index::new(dimension, metric), Err(Error::InvalidArgument(_))));
    }
    for options in [IndexOptions::new().m(1), IndexOptions::new().ef_construction(0)] {
        assert!(matches!(options.create(2, Metric::L2), Err(Error::InvalidArgument(_))));
    }
    let scratch = Scratch::new();
    assert!(matches!(Index::load(scratch.dir.path().join("none")), Err(Error::Io { .. })));
    assert!(index.save(scratch.dir.path().join("no").join("place")).is_err());
    assert!(index.save("/").is_err());
    let last = index.add(Some(&[u64::MAX - 1]), &[5.0_f32; 2]).unwrap();
    assert_eq!(last, 1);
    assert!(index.add(None, &[5.0_f32; 2]).is_err(), "there is no next number");
}

#[test]
fn a_build_or_batch_that_is_told_to_stop_leaves_an_index_that_answers() {
    let index = IndexOptions::new().threads(2).create(8, Metric::L2).unwrap();
    let all = clustered(6_000, 8, 7);
    index.add(None, &all).unwrap();
    assert!(matches!(index.build_while(|| false), Err(Error::Cancelled)));
    let stop = Arc::new(AtomicBool::new(true));
    let stopped = index.search(&all[..80]).cancel(stop.clone()).run_batch();
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let exact = index.search(&all[..8]).k(1).exact(true).run().unwrap();
    assert_eq!((exact[0].id, index.unbuilt().unwrap()), (0, 6_000));
    index.build().unwrap();
    index.remove(&(0..3_000).collect::<Vec<_>>()).unwrap();
    assert!(matches!(index.build_while(|| false), Err(Error::Cancelled)));
    assert_eq!(index.len().unwrap(), 3_000);
    let found = index.search(&all[3_000 * 8..][..8]).k(1).run().unwrap();
    assert_eq!((found[0].id, found[0].distance), (3_000, 0.0));
}

#[test]
fn ids_of_saved_files_are_found_mapped_and_loaded_and_the_loaded_index_goes_on() {
    let scratch = Scratch::new();
    let mut random = Random::new(4);
    let shuffled: Vec<u64> = (0..500).map(|at| (at * 7_919 + 13) % 5_003 * 3).collect();
    let ascending: Vec<u64> = (0..500).map(|at| at * 5 + 2).collect();
    for (name, given) in [("own", (0..500).collect()), ("up", ascending), ("mixed", shuffled)] {
        let path = scratch.dir.path().join(name);
        let index = IndexOptions::new().threads(1).create(2, Metric::L2).unwrap();
        index.add(Some(&given), random.vector(1_000)).unwrap();
        index.remove(&[given[7]]).unwrap();
        index.save(&path).unwrap();
        let (viewed, loaded) = (Index::view(&path).unwrap(), Index::load(&path).unwrap());
        let known = |index: &Index, id: u64| index.contains(id).unwrap();
        for id in 0..3_000 {
            let there = given.contains(&id) && id != given[7];
            assert_eq!((known(&viewed, id), known(&loaded, id)), (there, there), "{name} {id}");
        }
        assert!(!known(&viewed, u64::MAX) && !known(&loaded, u64::MAX));
        // As it was saved, and as it goes on.
        let again = scratch.dir.path().join("again");
        viewed.save(&again).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        let duplicate = loaded.add(Some(&[given[3], 999_983]), &[0.0_f32; 4]);
        assert!(matches!(duplicate, Err(Error::DuplicateId { ids }) if ids == [given[3].into()]));
        assert_eq!(loaded.remove(&[given[7], 999_983]).unwrap(), 0);
        assert_eq!(loaded.add(Some(&[given[7], 999_983]), &[0.5_f32; 4]).unwrap(), 2);
        assert_eq!(loaded.remove(&[given[3], given[7]]).unwrap(), 2);
        assert!(!known(&loaded, given[3]) && known(&loaded, given[4]) && known(&loaded, 999_983));
        loaded.save(&path).unwrap();
        let last = Index::load(&path).unwrap();
        assert!(known(&last, 999_983) && !known(&last, given[3]) && known(&last, given[499]));
        assert_eq!(last.len().unwrap(), 499);
    }
}

#[test]
fn a_build_told_to_stop_after_removals_keeps_the_graph_there_was() {
    for metric in [Metric::L2, Metric::Cosine] {
        let index = IndexOptions::new().threads(2).create(8, metric).unwrap();
        let all = clustered(7_000, 8, 7);
        index.add(None, &all[..6_000 * 8]).unwrap();
        index.build().unwrap();
        index.add(None, &all[6_000 * 8..]).unwrap();
        let gone: Vec<u64> = (0..7_000).filter(|id| id % 3 == 0 || *id < 500).collect();
        index.remove(&gone).unwrap();
        let answers =
            |exact: bool| index.search(&all[..800]).k(10).exact(exact).run_batch().unwrap();
        let (walked, exact) = (answers(false), answers(true));
        let unbuilt = index.unbuilt().unwrap();
        assert!((1..1_000).contains(&unbuilt), "{unbuilt}");
        let calls = std::sync::atomic::AtomicUsize::new(0);
        for limit in [0, 3, 30] {
            calls.store(0, std::sync::atomic::Ordering::Relaxed);
            let more = || calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < limit;
            assert!(matches!(index.build_while(more), Err(Error::Cancelled)), "{limit}");
            assert_eq!((answers(false), answers(true)), (walked.clone(), exact.clone()));
            assert_eq!(index.unbuilt().unwrap(), unbuilt, "the old graph is there");
            assert_eq!(index.contains(3).unwrap(), index.contains(499).unwrap());
            assert!(index.contains(500).unwrap() && !index.contains(501).unwrap());
        }
        assert_eq!(index.add(Some(&[3]), &all[24..32]).unwrap(), 1);
        assert_eq!(index.remove(&[3]).unwrap(), 1);
        index.build().unwrap();
        assert_eq!((index.unbuilt().unwrap(), index.len().unwrap()), (0, 7_000 - gone.len()));
        assert_eq!(answers(true), exact);
    }
}

#[test]
fn a_build_in_bulk_told_once_to_stop_is_cancelled_whatever_is_said_later() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    let index = IndexOptions::new().threads(2).create(8, Metric::L2).unwrap();
    index.add(None, clustered(9_000, 8, 7)).unwrap();
    let (asked, no) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let more = || asked.fetch_add(1, Relaxed) != no.load(Relaxed);
    for at in [0, 1, 2, 10, 30, 60, 100, 200, 400, 700] {
        asked.store(0, Relaxed);
        no.store(at, Relaxed);
        assert!(matches!(index.build_while(more), Err(Error::Cancelled)), "no at question {at}");
        assert_eq!(index.unbuilt().unwrap(), 9_000);
        assert!(asked.load(Relaxed) <= at + 2, "both threads may have been asking");
    }
    no.store(usize::MAX, Relaxed);
    index.build_while(more).unwrap();
    assert!(asked.load(Relaxed) > 700 && index.unbuilt().unwrap() == 0);
}

#[test]
fn searches_from_another_pool_of_threads_build_once_and_all_end() {
    use rayon::prelude::*;
    const ROWS: usize = 6_000;
    let mut random = Random::new(3);
    let values: Vec<f32> = (0..ROWS * 8).map(|_| random.unit()).collect();
    let index = Index::new(8, Metric::L2).unwrap();
    index.add(None, values.as_slice()).unwrap();
    assert!(index.wants_build().unwrap());
    // The first to come builds, and waits for it on a thread that could take up another's search.
    let found: Vec<usize> = (0..64_usize)
        .into_par_iter()
        .map(|at| {
            let query = &values[at * 8..][..8];
            let alone = index.search(query).k(1).run().unwrap().len();
            alone + index.search(&values[..16]).k(1).run_batch().unwrap().counts.len()
        })
        .collect();
    assert_eq!(found, vec![3; 64]);
    assert!(!index.wants_build().unwrap());
    let refused = index.add(Some(&[u64::MAX]), &values[..8]).unwrap_err();
    assert!(refused.to_string().contains("smaller"), "{refused}");
}
