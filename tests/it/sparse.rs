//! Sparse vectors end to end: exact whatever the rows went through, the same by index and row by
//! row, and refused where they make no sense.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, LargeListArray, RecordBatch, StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use nearfield::{
    Collection, Column, DataType, Database, Durability, Error, Fields, Id, IdType, ImportBatch,
    ImportOptions, Metric, OpenOptions, Query, Schema, SearchPlan, Settings, SparseVector,
};

use crate::common::{Random, Scratch};

/// The sparse vector and the number of a row.
type Row = (Option<SparseVector>, i64);
type Model = BTreeMap<u64, Row>;

fn schema() -> Schema {
    Schema::new(1, Metric::L2)
        .with_id_type(IdType::U64)
        .column("n", DataType::Int64)
        .column("words", DataType::Sparse)
}

fn batch<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(rows.clone().map(|row| Some(row.1)).collect::<Int64Array>());
    let words = SparseVector::column(rows.map(|row| row.0.as_ref()));
    let columns = [("n", numbers, true), ("words", words, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Few indices, small and large, with weights of both signs that often cancel out.
fn vector(random: &mut Random) -> SparseVector {
    let count = random.below(6);
    let indices: BTreeSet<u32> = (0..count)
        .map(|_| {
            if random.below(5) == 0 {
                u32::MAX - random.below(3) as u32
            } else {
                random.below(12) as u32
            }
        })
        .collect();
    let weights: Vec<f32> = indices.iter().map(|_| random.below(9) as f32 / 2.0 - 2.0).collect();
    SparseVector::new(Vec::from_iter(indices), weights).unwrap()
}

fn open(path: &Path) -> Database {
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.compaction = false;
    OpenOptions::new().settings(settings).open(path).unwrap()
}

/// The best rows, one by one.
fn expected(model: &Model, query: &SparseVector, filter: bool) -> Vec<(f32, u64)> {
    let common = |row: &SparseVector| row.indices().iter().any(|i| query.indices().contains(i));
    let mut rows: Vec<(f32, u64)> = model
        .iter()
        .filter(|(_, (_, n))| !filter || *n < 3)
        .filter_map(|(id, (words, _))| {
            let words = words.as_ref().filter(|words| common(words))?;
            Some((words.dot(query), *id))
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    rows
}

fn found<'a>(hits: impl IntoIterator<Item = &'a nearfield::Hit>) -> Vec<(f32, u64)> {
    let number = |id: &Id| match id {
        Id::U64(id) => *id,
        Id::Utf8(id) => panic!("{id}"),
    };
    let hits = hits.into_iter().inspect(|hit| assert_eq!(hit.distance, -hit.score));
    hits.map(|hit| (hit.score, number(&hit.id))).collect()
}

fn check(docs: &Collection, model: &Model, random: &mut Random, trace: &[String]) {
    for _ in 0..4 {
        let queries = [vector(random), vector(random)];
        let filter = random.below(2) == 0;
        let search = |queries: &'static [SparseVector]| {
            let search = docs.search_sparse("words", queries);
            if filter { search.filter("n < 3") } else { search }
        };
        let queries: &'static [SparseVector] = Box::leak(Box::new(queries));
        let k = [1, 5, 1_000][random.below(3) as usize];
        let context = format!("k {k}, filter {filter}, {queries:?}\n{}", trace.join("\n"));
        let mut all = expected(model, &queries[0], filter);
        let hits = search(&queries[..1]).k(1_000).run().unwrap();
        assert_eq!(found(&hits), all, "{context}");
        let page = search(&queries[..1]).offset(3).k(k).run().unwrap();
        assert_eq!(found(&page), all.iter().copied().skip(3).take(k).collect::<Vec<_>>());
        let limited = search(&queries[..1]).k(k).max_distance(-1.0).min_distance(-4.0);
        let limits = all.iter().copied().filter(|(score, _)| (1.0..=4.0).contains(score));
        assert_eq!(found(&limited.run().unwrap()), limits.take(k).collect::<Vec<_>>(), "{context}");
        all.truncate(k);
        let explained = search(&queries[..1]).k(k).explain().unwrap();
        assert_eq!(found(&explained.hits), all, "{context}");
        for hits in search(queries).k(k).select(["n"]).run_batch().unwrap().iter().zip(queries) {
            let mut all = expected(model, hits.1, filter);
            all.truncate(k);
            assert_eq!(found(hits.0), all, "{context}");
        }
        let grouped = search(&queries[..1]).k(1_000).group_by("n").run().unwrap();
        let mut seen = BTreeSet::new();
        let best = expected(model, &queries[0], filter);
        let best = best.into_iter().filter(|(_, id)| seen.insert(model[id].1));
        assert_eq!(found(&grouped), best.collect::<Vec<_>>(), "{context}");
    }
}

/// The vectors come back as they were given.
fn check_rows(docs: &Collection, model: &Model) {
    let ids: Vec<u64> = model.keys().copied().collect();
    let records = docs.get(&ids, &Fields::columns(["words"])).unwrap();
    assert_eq!(records.len(), model.len());
    let expected = SparseVector::column(model.values().map(|row| row.0.as_ref()));
    assert_eq!(records.attributes.column(0), &expected);
}

#[test]
fn searches_are_exact_through_updates_deletions_flushes_compactions_and_reopening() {
    for seed in 0..10 {
        let mut random = Random::new(seed + 31);
        let scratch = Scratch::new();
        let mut db = open(&scratch.path());
        let mut docs = db.collection("docs", schema()).unwrap();
        let mut model = Model::new();
        let mut trace = vec![format!("seed {seed}")];
        for _ in 0..30 {
            let row = |random: &mut Random| {
                ((random.below(5) > 0).then(|| vector(random)), random.below(6) as i64)
            };
            match random.below(8) {
                0..=2 => {
                    let ids: BTreeSet<u64> = (0..60).map(|_| random.below(200)).collect();
                    let rows: Model = ids.into_iter().map(|id| (id, row(&mut random))).collect();
                    let ids: Vec<u64> = rows.keys().copied().collect();
                    docs.upsert(&ids, vec![0.0_f32; ids.len()], &batch(rows.values())).unwrap();
                    trace.push(format!("upsert {rows:?}"));
                    model.extend(rows);
                }
                3 => {
                    let ids: Vec<u64> = (0..15).map(|_| random.below(200)).collect();
                    let value = row(&mut random);
                    docs.update(&ids, &batch(ids.iter().map(|_| &value))).unwrap();
                    trace.push(format!("update {ids:?} {value:?}"));
                    for id in ids {
                        model.entry(id).and_modify(|row| *row = value.clone());
                    }
                }
                4 => {
                    let ids: Vec<u64> = (0..10).map(|_| random.below(200)).collect();
                    docs.delete(&ids).unwrap();
                    trace.push(format!("delete {ids:?}"));
                    model.retain(|id, _| !ids.contains(id));
                }
                5 | 6 => {
                    docs.flush().unwrap();
                    trace.push("flush".into());
                    if random.below(2) == 0 {
                        docs.compact().unwrap();
                        trace.push("compact".into());
                    }
                }
                _ => {
                    db.close().unwrap();
                    db = open(&scratch.path());
                    docs = db.open_collection("docs").unwrap();
                    trace.push("reopen".into());
                }
            }
            check(&docs, &model, &mut random, &trace);
        }
        check_rows(&docs, &model);
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    }
}

/// 300 rows in a segment.
fn segment(path: &Path) -> (Database, Collection, Model) {
    let mut random = Random::new(8);
    let db = open(path);
    let docs = db.collection("docs", schema()).unwrap();
    let model: Model =
        (0..300).map(|id| (id, (Some(vector(&mut random)), id as i64 % 5))).collect();
    let ids: Vec<u64> = model.keys().copied().collect();
    docs.upsert(&ids, &[0.0_f32; 300], &batch(model.values())).unwrap();
    docs.flush().unwrap();
    docs.compact().unwrap();
    (db, docs, model)
}

#[test]
fn segments_are_searched_by_postings_and_fresh_rows_one_by_one() {
    let scratch = Scratch::new();
    let (_db, docs, model) = segment(&scratch.path());
    docs.upsert(&[999], &[0.0_f32], &batch(std::iter::once(&model[&0]))).unwrap();
    let query = SparseVector::new([0, 3], [1.0, 1.0]).unwrap();
    let explained = docs.search_sparse("words", &query).explain().unwrap();
    let [segment, fresh] = explained.parts.as_slice() else { panic!("two parts") };
    assert_eq!((segment.plan, fresh.plan), (SearchPlan::Postings, SearchPlan::Scan));
    let postings = model.values().flat_map(|row| row.0.as_ref().unwrap().indices());
    let postings = postings.filter(|index| [0, 3].contains(*index)).count();
    assert_eq!(segment.postings_read, postings as u64);
    assert_eq!((segment.rows_compared, fresh.rows_compared), (0, 1));
    assert!(explained.filter.is_none() && segment.matching_rows.is_none());
}

fn attribute_file(dir: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "attr") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.pop().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done to the file itself")]
fn a_damaged_index_is_passed_over_and_a_damaged_column_is_an_error() {
    let scratch = Scratch::new();
    let (db, _docs, model) = segment(&scratch.path());
    db.close().unwrap();
    let file = attribute_file(&scratch.path());
    let whole = std::fs::read(&file).unwrap();
    let query = SparseVector::new([0, 1, 2, 3, 4, 5], [1.0, -1.0, 2.0, 0.5, 1.0, 1.0]).unwrap();
    let expected = expected(&model, &query, false);
    let (mut passed, mut refused) = (0, 0);
    for at in (4096..whole.len() - 4096).step_by(509) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&file, &damaged).unwrap();
        let db = open(&scratch.path());
        let searched = db
            .open_collection("docs")
            .and_then(|docs| docs.search_sparse("words", &query).k(1_000).run());
        match searched {
            Ok(hits) => assert_eq!(found(&hits), expected, "byte {at}"),
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
        passed += 1;
        drop(db);
    }
    assert!(passed > 10 && refused < passed, "{refused} of {passed}");
    std::fs::write(&file, &whole).unwrap();
    let db = open(&scratch.path());
    let docs = db.open_collection("docs").unwrap();
    assert!(docs.verify().unwrap().problems.is_empty());
}

#[test]
fn what_is_no_sparse_search_is_refused() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", schema()).unwrap();
    docs.upsert(&[1], &[0.0_f32], ()).unwrap();
    let query = SparseVector::new([1], [1.0]).unwrap();
    let none: &[SparseVector] = &[];
    assert!(docs.search_sparse("words", &query).run().unwrap().is_empty());
    assert!(docs.search_sparse("words", &SparseVector::default()).run().unwrap().is_empty());
    assert!(docs.search_sparse("words", none).run_batch().unwrap().is_empty());
    let refused: [(Query<'_>, &str); 5] = [
        (docs.search_sparse("word", &query), "did you mean \"words\""),
        (docs.search_sparse("n", &query), "expected sparse, given int64"),
        (docs.search_sparse("words", none), "expected one sparse vector, given 0"),
        (docs.search_sparse("words", &query).mmr(1.5), "mmr is 1.5"),
        (docs.search_sparse("words", &query).recall(0.9), "leave recall out"),
    ];
    for (query, expected) in refused {
        let error = query.run().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (filter, expected) in [("words = 1", "IS NULL"), ("words HAS 'a'", "NULL")] {
        let error = docs.count(filter).unwrap_err().to_string();
        assert!(error.contains(expected) || error.contains("asked whether"), "{error}");
    }
    assert_eq!(docs.count("words IS NULL").unwrap(), 1);
    assert_eq!(docs.count("words IN ()").unwrap(), 0);
    let snapshot = docs.snapshot().unwrap();
    assert!(snapshot.search_sparse("words", &query).run().unwrap().is_empty());
}

#[test]
fn a_column_added_later_is_searched_and_marks_the_collection() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 1.0], ()).unwrap();
    docs.flush().unwrap();
    docs.compact().unwrap();
    let column = Column { name: "words".into(), data_type: DataType::Sparse, text: false };
    assert_eq!(docs.add_columns(&[column]).unwrap(), 1);
    let query = SparseVector::new([7], [2.0]).unwrap();
    assert!(docs.search_sparse("words", &query).run().unwrap().is_empty());
    let words = SparseVector::column([Some(&query)]);
    docs.update(&[2], &RecordBatch::try_from_iter([("words", words)]).unwrap()).unwrap();
    for _ in 0..2 {
        let hits = docs.search_sparse("words", &query).run().unwrap();
        assert_eq!(found(&hits), [(4.0, 2)]);
        let records = docs.get(&[2], &Fields::all()).unwrap();
        assert_eq!(records.attributes.num_columns(), 1);
        docs.flush().unwrap();
        docs.compact().unwrap();
    }
}

#[test]
fn a_bad_row_of_an_import_is_named_by_its_place_in_the_source() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.create_collection("docs", schema()).unwrap();
    // Indices and weights of each row, of which row 5 has an index that is none.
    let batch = |first: u64| {
        let rows = first..first + 4;
        let index = |row: u64| if row == 5 { -1 } else { i64::try_from(row).unwrap() };
        let indices: ArrayRef = Arc::new(rows.clone().map(index).collect::<Int64Array>());
        let weights: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 4]));
        let list = |items: ArrayRef| -> ArrayRef {
            let item = Arc::new(Field::new("item", items.data_type().clone(), false));
            let offsets = OffsetBuffer::from_lengths(vec![1; 4]);
            Arc::new(LargeListArray::new(item, offsets, items, None))
        };
        let pairs =
            [("indices", list(indices)), ("weights", list(weights))].map(|(name, array)| {
                (Arc::new(Field::new(name, array.data_type().clone(), false)), array)
            });
        let words: ArrayRef = Arc::new(StructArray::from(pairs.to_vec()));
        Ok(ImportBatch {
            ids: rows.clone().collect::<Vec<u64>>().into(),
            vectors: vec![0.0_f32; 4].into(),
            attributes: Some(RecordBatch::try_from_iter([("words", words)]).unwrap()),
            source_rows: rows.collect(),
            rejected: Vec::new(),
        })
    };
    let error = docs.import([batch(0), batch(4)], ImportOptions::new()).unwrap_err().to_string();
    assert!(error.contains("column \"words\" row 5: index -1"), "{error}");
    assert_eq!(docs.len().unwrap(), 0);
    assert_eq!(docs.import([batch(0)], ImportOptions::new()).unwrap().rows, 4);
}
