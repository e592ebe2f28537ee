//! Pages, least distances, groups and diversity: what they pick, held against a sorted list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, LargeStringArray, RecordBatch, TimestampMicrosecondArray,
};
use nearfield::{
    Collection, DataType, Database, Durability, Error, Id, IdType, Metric, OpenOptions, Query,
    Schema, Settings,
};

use crate::common::{Random, Scratch};

const DIMENSION: usize = 3;

/// A number a row makes all of its columns of.
type Model = BTreeMap<u64, (Vec<f32>, Option<i64>)>;

fn schema() -> Schema {
    Schema::new(DIMENSION, Metric::L2)
        .with_id_type(IdType::U64)
        .column("n", DataType::Int64)
        .column("s", DataType::Utf8)
        .column("flag", DataType::Bool)
        .column("at", DataType::Timestamp)
        .column("x", DataType::Float64)
        .column("tags", DataType::ListUtf8)
}

fn batch(numbers: &[Option<i64>]) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let text = |n: &Option<i64>| n.map(|n| format!("doc '{n}'"));
    let s: ArrayRef = Arc::new(numbers.iter().map(text).collect::<LargeStringArray>());
    let odd = |n: &Option<i64>| n.map(|n| n % 2 == 1);
    let flag: ArrayRef = Arc::new(numbers.iter().map(odd).collect::<BooleanArray>());
    let at = TimestampMicrosecondArray::from(numbers.to_vec()).with_timezone("UTC");
    let columns = [("n", n), ("s", s), ("flag", flag), ("at", Arc::new(at) as ArrayRef)];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Mostly one value, some of others, some null.
fn value(random: &mut Random) -> Option<i64> {
    match random.below(10) {
        0 => None,
        1..=6 => Some(7),
        _ => Some(random.below(12) as i64),
    }
}

fn open(scratch: &Scratch) -> Database {
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.compaction = false;
    OpenOptions::new().settings(settings).open(scratch.path()).unwrap()
}

fn vector(random: &mut Random) -> Vec<f32> {
    (0..DIMENSION).map(|_| random.below(12) as f32).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Rows in several segments and in memory, some updated, some deleted.
fn filled(random: &mut Random) -> (Scratch, Collection, Model) {
    let scratch = Scratch::new();
    let docs = open(&scratch).collection("docs", schema()).unwrap();
    let mut model = Model::new();
    for round in 0..4 {
        let ids: BTreeSet<u64> = (0..250).map(|_| random.below(700)).collect();
        let ids: Vec<u64> = ids.into_iter().collect();
        let rows: Vec<_> = ids.iter().map(|_| (vector(random), value(random))).collect();
        let vectors: Vec<f32> = rows.iter().flat_map(|row| row.0.clone()).collect();
        let numbers: Vec<_> = rows.iter().map(|row| row.1).collect();
        docs.upsert(&ids, &vectors, &batch(&numbers)).unwrap();
        model.extend(ids.iter().copied().zip(rows));
        if round < 3 {
            docs.flush().unwrap();
            docs.compact().unwrap();
        }
        let some: Vec<u64> = (0..20).map(|_| random.below(700)).collect();
        docs.delete(&some[..10]).unwrap();
        model.retain(|id, _| !some[..10].contains(id));
        docs.update(&some[10..], &batch(&[Some(3); 10])).unwrap();
        for id in &some[10..] {
            model.entry(*id).and_modify(|row| row.1 = Some(3));
        }
    }
    (scratch, docs, model)
}

/// What a search must pick.
#[derive(Clone, Debug)]
struct Asked {
    k: usize,
    offset: Option<usize>,
    near: f32,
    far: f32,
    group: Option<(&'static str, usize)>,
    mmr: Option<(f32, usize)>,
    filter: bool,
}

fn asked(random: &mut Random) -> Asked {
    let columns = ["n", "s", "flag", "at"];
    let group = (columns[random.below(4) as usize], random.below(3) as usize + 1);
    let lambda = random.below(5) as f32 / 4.0;
    Asked {
        k: [1, 3, 10, 40, usize::MAX][random.below(5) as usize],
        offset: [None, Some(0), Some(5), Some(200)][random.below(4) as usize],
        near: [f32::NEG_INFINITY, 20.0, 60.0][random.below(3) as usize],
        far: [f32::INFINITY, 90.0][random.below(2) as usize],
        group: (random.below(2) == 0).then_some(group),
        mmr: (random.below(2) == 0).then_some((lambda, random.below(30) as usize + 1)),
        filter: random.below(2) == 0,
    }
}

impl Asked {
    fn apply<'a>(&self, mut query: Query<'a>) -> Query<'a> {
        query = query.k(self.k).max_distance(self.far).min_distance(self.near);
        if let Some(offset) = self.offset {
            query = query.offset(offset);
        }
        if let Some((column, per_group)) = self.group {
            query = query.group_by(column).per_group(per_group);
        }
        if let Some((lambda, candidates)) = self.mmr {
            query = query.mmr(lambda).mmr_candidates(candidates);
        }
        if self.filter { query.filter("n <> 4 OR n IS NULL") } else { query }
    }

    fn expected(&self, model: &Model, query: &[f32]) -> Vec<(u64, u64)> {
        let mut rows: Vec<(u64, u64)> = model
            .iter()
            .filter(|(_, (_, n))| !self.filter || *n != Some(4))
            .map(|(id, (vector, _))| (distance(vector, query) as u64, *id))
            .filter(|(distance, _)| (self.near..=self.far).contains(&(*distance as f32)))
            .collect();
        rows.sort_unstable();
        let mut items: Vec<Vec<(u64, u64)>> = Vec::new();
        let mut groups: Vec<Option<i64>> = Vec::new();
        for row in rows {
            let Some((column, per_group)) = self.group else {
                items.push(vec![row]);
                continue;
            };
            let n = model[&row.1].1;
            let key = if column == "flag" { n.map(|n| n % 2) } else { n };
            match groups.iter().position(|known| *known == key) {
                Some(group) if items[group].len() < per_group => items[group].push(row),
                Some(_) => {}
                None => {
                    groups.push(key);
                    items.push(vec![row]);
                }
            }
        }
        if let Some((lambda, candidates)) = self.mmr {
            items = diverse(items, lambda, candidates, model);
        }
        items.into_iter().skip(self.offset.unwrap_or(0)).take(self.k).flatten().collect()
    }
}

/// Maximal marginal relevance as its definition has it.
fn diverse(
    items: Vec<Vec<(u64, u64)>>,
    lambda: f32,
    candidates: usize,
    model: &Model,
) -> Vec<Vec<(u64, u64)>> {
    let mut left = items;
    let rest = left.split_off(candidates.min(left.len()));
    let mut picked: Vec<Vec<(u64, u64)>> = Vec::new();
    while !left.is_empty() {
        let value = |item: &Vec<(u64, u64)>| {
            let likest = picked
                .iter()
                .map(|other| -f64::from(distance(&model[&item[0].1].0, &model[&other[0].1].0)));
            let likest = likest.fold(f64::NEG_INFINITY, f64::max);
            -f64::from(lambda) * item[0].0 as f64 - (1.0 - f64::from(lambda)) * likest
        };
        let mut best = 0;
        for at in 1..left.len() {
            if !picked.is_empty() && value(&left[at]) > value(&left[best]) {
                best = at;
            }
        }
        let pick = left.remove(best);
        picked.push(pick);
    }
    picked.into_iter().chain(rest).collect()
}

fn found<'a>(hits: impl IntoIterator<Item = &'a nearfield::Hit>) -> Vec<(u64, u64)> {
    let number = |id: &Id| match id {
        Id::U64(id) => *id,
        Id::Utf8(id) => panic!("{id}"),
    };
    hits.into_iter().map(|hit| (hit.distance as u64, number(&hit.id))).collect()
}

#[test]
fn what_is_picked_agrees_with_a_sorted_list() {
    for seed in 1..=6 {
        let mut random = Random::new(seed);
        let (_scratch, docs, model) = filled(&mut random);
        for _ in 0..60 {
            let asked = asked(&mut random);
            let queries: Vec<f32> = (0..3).flat_map(|_| vector(&mut random)).collect();
            let expected = asked.expected(&model, &queries[..DIMENSION]);
            let search = || asked.apply(docs.search(&queries[..DIMENSION]));
            let context = format!("seed {seed}: {asked:?}");
            assert_eq!(found(&search().run().unwrap()), expected, "{context}");
            assert_eq!(found(&search().exact(true).run().unwrap()), expected, "{context}");
            let explained = search().explain().unwrap();
            assert_eq!(found(&explained.hits), expected, "{context}");
            let filtered = explained.parts.iter().all(|part| part.matching_rows.is_some());
            assert_eq!(filtered, asked.filter, "{context}");
            let batch = asked.apply(docs.search(&queries)).select(["n"]).run_batch().unwrap();
            for (hits, query) in batch.iter().zip(queries.chunks(DIMENSION)) {
                assert_eq!(found(hits), asked.expected(&model, query), "{context}");
                assert_eq!(hits.attributes.as_ref().unwrap().num_rows(), hits.len());
            }
        }
    }
}

/// 6,000 rows in a graph and 500 in memory, in 40 groups, most rows in one.
fn graph() -> (Scratch, Collection) {
    let scratch = Scratch::new();
    let mut settings = Settings::default();
    settings.graph_bytes = 0;
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
    let schema = Schema::new(32, Metric::Cosine).column("n", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    let mut random = Random::new(5);
    for (first, rows) in [(0, 6_000), (6_000, 500)] {
        let ids: Vec<u64> = (first..first + rows).collect();
        let vectors: Vec<f32> = ids.iter().flat_map(|_| random.vector(32)).collect();
        let group = |id: &u64| Some(if id % 50 == 0 { (id / 50 % 40) as i64 } else { 0 });
        let numbers: ArrayRef = Arc::new(ids.iter().map(group).collect::<Int64Array>());
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        docs.upsert(&ids, &vectors, &batch).unwrap();
        if first == 0 {
            docs.compact().unwrap();
        }
    }
    (scratch, docs)
}

#[test]
fn pages_tile_one_list_however_approximate_the_search_is() {
    let (_scratch, docs) = graph();
    let snapshot = docs.snapshot().unwrap();
    docs.delete((0..3_000).collect::<Vec<u64>>()).unwrap();
    let query = Random::new(77).vector(32);
    let search = || snapshot.search(&query).ef(20);
    let pages = |k: usize, most: usize, shape: &dyn Fn(Query<'static>) -> Query<'static>| {
        let mut ids = Vec::new();
        for page in 0.. {
            let search = snapshot.search(query.clone()).ef(20).k(k).offset(page * k);
            let hits = shape(search).run().unwrap();
            ids.extend(hits.iter().map(|hit| hit.id.clone()));
            if hits.len() < k || ids.len() >= most {
                break;
            }
        }
        ids
    };
    let plain = |query| query;
    let all: Vec<Id> = pages(1_000, usize::MAX, &plain);
    assert_eq!(all.len(), 6_500);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 6_500);
    // Pages of other sizes have the same rows; within a page they are sorted.
    for k in [7, 100] {
        let some = pages(k, 700, &plain);
        let (small, large) = (k * 3, 700 / k * k);
        let set = |ids: &[Id]| ids.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(set(&some[..small]), set(&pages(k * 3, small, &plain)[..small]));
        assert_eq!(set(&some[..large]).len(), large);
    }
    let mmr: &dyn Fn(Query<'static>) -> Query<'static> = &|query| query.mmr(0.3).mmr_candidates(50);
    let (diverse, other) = (pages(10, 300, mmr), pages(30, 300, mmr));
    assert_eq!(diverse[..50], other[..50]);
    assert_eq!(diverse.iter().collect::<BTreeSet<_>>().len(), diverse.len());
    let group: &dyn Fn(Query<'static>) -> Query<'static> = &|query| query.group_by("n");
    let groups = pages(7, 1_000, group);
    assert_eq!(groups.len(), 40);
    assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), 40);
    assert_eq!(search().k(5).run().unwrap().len(), 5);
}

#[test]
fn groups_come_back_though_one_of_them_has_nearly_all_rows() {
    let (_scratch, docs) = graph();
    let query = Random::new(3).vector(32);
    for (k, per_group, groups) in [(10, 1, 10), (40, 2, 40), (1_000, 1, 40)] {
        let hits = docs.search(&query).k(k).group_by("n").per_group(per_group).run().unwrap();
        assert_eq!(hits.len(), groups * per_group);
        let exact = docs.search(&query).k(k).group_by("n").per_group(per_group).exact(true);
        assert_eq!(exact.run().unwrap().len(), groups * per_group);
    }
    let many = docs.search(&query).k(3).group_by("n").per_group(50).run().unwrap();
    assert!((53..=150).contains(&many.len()), "{}", many.len());
}

#[test]
fn what_has_no_meaning_is_refused() {
    let scratch = Scratch::new();
    let docs = open(&scratch).collection("docs", schema()).unwrap();
    docs.upsert(&[1], &[0.0_f32; DIMENSION], ()).unwrap();
    let search = || docs.search(&[0.0_f32; DIMENSION]);
    let refused: [(Query<'_>, &str); 9] = [
        (search().min_distance(f32::NAN), "min_distance is NaN"),
        (search().group_by("n").per_group(0), "per_group is 0"),
        (search().per_group(2), "group_by"),
        (search().mmr(1.5), "mmr is 1.5"),
        (search().mmr(f32::NAN), "mmr is NaN"),
        (search().mmr(0.5).mmr_candidates(0), "1 to 4096"),
        (search().mmr(0.5).mmr_candidates(5_000), "1 to 4096"),
        (search().mmr_candidates(5), "without mmr"),
        (search().group_by("x"), "bool, int64, timestamp or utf8"),
    ];
    for (query, expected) in refused {
        let error = query.run().unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert!(matches!(search().group_by("m").run(), Err(Error::NotFound { .. })));
    assert!(matches!(search().group_by("tags").run(), Err(Error::SchemaMismatch { .. })));
    let none = [
        search().k(0).group_by("n").run().unwrap(),
        search().offset(usize::MAX).k(usize::MAX).run().unwrap(),
        search().min_distance(5.0).max_distance(4.0).run().unwrap(),
        search().offset(1).mmr(0.0).run().unwrap(),
    ];
    assert!(none.iter().all(|hits| hits.is_empty()));
    let hits = search().k(usize::MAX).group_by("n").per_group(usize::MAX).mmr(0.5).run().unwrap();
    assert_eq!(hits.len(), 1);
}

#[test]
fn pages_of_fresh_rows_tile_whatever_is_searched_between() {
    const DIMENSION: usize = 96;
    let scratch = Scratch::new();
    let db = open(&scratch);
    let schema = Schema::new(DIMENSION, Metric::L2).with_id_type(IdType::U64);
    let docs = db.collection("docs", schema).unwrap();
    let mut random = Random::new(5);
    let rows = 17_000;
    let mut number = || random.below(2_001) as f32 / 1_000.0 - 1.0;
    let vectors: Vec<f32> = (0..rows * DIMENSION).map(|_| number()).collect();
    let query: Vec<f32> = (0..DIMENSION).map(|_| number()).collect();
    let ids: Vec<u64> = (0..rows as u64).collect();
    docs.upsert(&ids, &vectors, ()).unwrap();
    let snapshot = docs.snapshot().unwrap();
    let mut seen = BTreeSet::new();
    for page in 0..40 {
        let hits = snapshot.search(&query).k(40).offset(page * 40).run().unwrap();
        let exact = snapshot.search(&query).k(40).offset(page * 40).exact(true).run().unwrap();
        assert_eq!(hits.hits, exact.hits, "page {page}");
        assert!(hits.iter().all(|hit| seen.insert(hit.id.clone())), "page {page}");
        // By now these rows have codes for others.
        snapshot.search(&query).k(3).run().unwrap();
    }
}
