//! Random lists of operations against a plain map with exact search.
//!
//! A sequence is made from its number alone; a failure names it together with the operations up to
//! there, and `NEARFIELD_MODEL_SEED=number` runs that one alone. `NEARFIELD_MODEL_SEQUENCES=n` runs
//! more of them than the commit budget allows.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use nearfield::testing::FaultDisk;
use nearfield::{
    Collection, Column, DataType, Database, Durability, Fields, Hits, Id, IdType, Metric,
    OpenOptions, Raw, ScanOptions, Schema, Settings, TextOptions, VectorType,
};

use crate::common::{Random, Scratch};
use crate::lists;
use crate::oracle::{Answer, Change, Maker, State, assert_rows, dump, rows_of, state_of};

const DATA_TYPES: [DataType; 7] = [
    DataType::Bool,
    DataType::Int64,
    DataType::Float64,
    DataType::Utf8,
    DataType::Timestamp,
    DataType::ListUtf8,
    DataType::Sparse,
];

const SPACES: [(VectorType, Metric); 17] = {
    use {Metric::*, VectorType::*};
    [
        (F32, L2),
        (F32, Cosine),
        (F32, Dot),
        (B1, Hamming),
        (F16, L2),
        (F16, Cosine),
        (F16, Dot),
        (Bf16, L2),
        (Bf16, Cosine),
        (Bf16, Dot),
        (B1, Jaccard),
        (I8, L2),
        (I8, Cosine),
        (I8, Dot),
        (U8, L2),
        (U8, Cosine),
        (U8, Dot),
    ]
};

/// What the sequences together have gone through, so that a sweep that tests nothing is noticed.
#[derive(Debug, Default)]
struct Seen {
    sequences: u64,
    operations: u64,
    searches: u64,
    segments: usize,
    graphs: usize,
    dead_rows: u64,
    wanted_hits: u64,
    found_hits: u64,
}

/// One sequence under way.
struct Run {
    random: Random,
    maker: Maker,
    metric: Metric,
    schema: Schema,
    settings: Settings,
    disk: Option<FaultDisk>,
    scratch: Scratch,
    db: Database,
    docs: Collection,
    reader: Option<(Database, Collection)>,
    state: State,
    trace: Vec<String>,
}

fn settings(random: &mut Random, real_disk: bool) -> Settings {
    let mut settings = Settings::default();
    settings.memtable_bytes = 64 << 10;
    settings.graph_bytes = 8 << 10;
    settings.memory_budget = 16 << 20;
    settings.m = 4;
    settings.ef_construction = 24;
    settings.ef_search = 2;
    settings.threads = 2;
    settings.background = real_disk;
    settings.durability = match random.below(if real_disk { 2 } else { 3 }) {
        0 => Durability::Buffered,
        1 => Durability::None,
        _ => Durability::Sync,
    };
    settings
}

fn maker(random: &mut Random, vector_type: VectorType) -> Maker {
    Maker {
        id_type: if random.below(2) == 0 { IdType::U64 } else { IdType::Utf8 },
        dimension: [1, 2, 3, 8, 33, 64][random.below(6) as usize],
        elements: match vector_type {
            VectorType::U8 => 0..=3,
            VectorType::B1 => 0..=63,
            _ => -2..=2,
        },
        ids: [20, 300, 3_000][random.below(3) as usize],
        long_texts: random.below(2) == 0,
    }
}

impl Run {
    fn new(seed: u64, real_disk: bool) -> Self {
        let mut random = Random::new(seed + 1);
        for _ in 0..8 {
            random.next();
        }
        let (vector_type, metric) = SPACES[seed as usize % SPACES.len()];
        let maker = maker(&mut random, vector_type);
        let dimension = match vector_type {
            // Whole bytes: what of the last one is no dimension must be zero.
            VectorType::B1 => 8 * maker.dimension,
            _ => maker.dimension,
        };
        let mut schema = Schema::new(dimension, metric).with_vector_type(vector_type);
        // Halves hold the elements exactly.
        if vector_type == VectorType::F32 && (seed / SPACES.len() as u64) % 2 == 1 {
            schema = schema.with_raw(Raw::F16);
        }
        if random.below(2) == 0 {
            schema = schema.with_id_type(maker.id_type);
        }
        for index in 0..random.below(3) {
            let data_type = DATA_TYPES[random.below(7) as usize];
            let name = format!("c{index}");
            schema = match data_type {
                DataType::Utf8 if random.below(2) == 0 => {
                    schema.text_with(name, TextOptions::new().no_language())
                }
                _ => schema.column(name, data_type),
            };
        }
        let settings = settings(&mut random, real_disk);
        let disk = (!real_disk).then(FaultDisk::new);
        let scratch = Scratch::new();
        let db = open(&scratch, disk.as_ref(), &settings, false);
        let docs = db.collection("docs", schema.clone()).unwrap();
        let state = State::new(&schema);
        let trace = vec![format!("{metric} {vector_type} {maker:?} {:?}", settings.durability)];
        let reader = None;
        Self {
            random,
            maker,
            metric,
            schema,
            settings,
            disk,
            scratch,
            db,
            docs,
            reader,
            state,
            trace,
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        let rows = match self.random.below(6) {
            0 => 0,
            1 => 1,
            2..5 => self.random.below(40),
            _ => 100 + self.random.below(300),
        };
        let random = &mut self.random;
        let (maker, columns) = (&self.maker, &self.state.columns);
        match random.below(36) {
            0..4 => {
                let batch = maker.new_rows(rows, &self.state, random);
                self.change(Change::Add(batch));
            }
            4 => {
                let batch = maker.batch(rows, columns, random);
                self.change(Change::Add(batch));
            }
            5..12 => {
                let batch = maker.batch(rows, columns, random);
                self.change(Change::Upsert(batch));
            }
            12..15 if !columns.is_empty() => {
                let mut batch = maker.batch(rows, columns, random);
                batch.vectors.clear();
                if !batch.columns.is_empty() {
                    self.change(Change::Update(batch));
                }
            }
            15..18 => {
                let batch = maker.batch(rows, &[], random);
                self.change(Change::Delete(batch));
            }
            18 if columns.len() < 6 => {
                let name = format!("c{}", columns.len());
                let data_type = DATA_TYPES[random.below(7) as usize];
                self.change(Change::AddColumn(Column { name, data_type, text: false }));
            }
            19 | 20 => {
                let count = 1 + random.below(3);
                let batches = (0..count).map(|_| maker.batch(rows.max(1), columns, random));
                let batches = batches.collect();
                self.change(Change::Import(batches));
            }
            21 => {
                self.note("flush".into());
                self.docs.flush().unwrap();
            }
            22 | 23 => {
                self.note("compact".into());
                let report = self.docs.compact().unwrap();
                assert_eq!(report.rows, self.state.rows.len() as u64);
                let stats = self.docs.stats().unwrap();
                assert_eq!((stats.dead_rows, stats.memtable_rows), (0, 0), "after compaction");
            }
            24 | 25 => self.reopen(),
            26 => self.refresh(),
            27 => self.scan_pages(),
            28 => self.check_rows(),
            29 => {
                let rule = maker.rule(columns, random);
                self.change(Change::DeleteWhere(rule));
            }
            30 if !columns.is_empty() => {
                let (rule, values) = (maker.rule(columns, random), maker.values(columns, random));
                self.change(Change::UpdateWhere(rule, values));
            }
            31 => {
                let text = |column: &&Column| column.data_type == DataType::Utf8;
                if let Some(column) = columns.iter().find(text) {
                    let name = column.name.clone();
                    self.change(Change::IndexText(name));
                }
            }
            _ => self.search(seen),
        }
    }

    fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    fn change(&mut self, change: Change) {
        self.note(change.summary());
        let expected = self.state.apply(&change);
        let found = change.run(&self.docs).unwrap();
        match (found, expected) {
            (Answer::Duplicates(found), Answer::Duplicates(all)) => {
                assert_eq!(found, all[..all.len().min(100)], "duplicates listed");
            }
            (found, expected) => assert_eq!(found, expected),
        }
        assert_eq!(self.docs.len().unwrap(), self.state.rows.len(), "len");
    }

    fn reopen(&mut self) {
        self.reader = None;
        if self.random.below(2) == 0 {
            self.note("close and reopen".into());
            self.db.close().unwrap();
        } else {
            self.note("drop and reopen".into());
        }
        let (disk, settings) = (self.disk.clone(), self.settings.clone());
        // The old handles go first: they hold the lock.
        let other = Scratch::new();
        let place = open(&other, None, &Settings::default(), false);
        self.docs = place.collection("placeholder", Schema::new(1, Metric::L2)).unwrap();
        self.db = place;
        self.db = open(&self.scratch, disk.as_ref(), &settings, false);
        self.docs = if self.random.below(2) == 0 {
            self.db.collection("docs", self.schema.clone()).unwrap()
        } else {
            self.db.open_collection("docs").unwrap()
        };
        self.check_rows();
    }

    fn refresh(&mut self) {
        self.note("reader refresh".into());
        if self.settings.durability != Durability::Sync {
            self.docs.flush().unwrap();
        }
        let (disk, settings) = (self.disk.as_ref(), &self.settings);
        let reader = match self.reader.take() {
            Some(reader) => {
                reader.1.refresh().unwrap();
                reader
            }
            None => {
                let db = open(&self.scratch, disk, settings, true);
                let docs = db.open_collection("docs").unwrap();
                (db, docs)
            }
        };
        let found = state_of(&reader.1).unwrap();
        assert_rows(&found.rows, &self.state.rows, "a reader after refresh");
        assert_eq!(found.columns, self.state.columns);
        self.reader = Some(reader);
    }

    fn scan_pages(&mut self) {
        self.note("scan in pages".into());
        let mut found = Vec::new();
        let limit = 1 + self.random.below(200) as usize;
        let mut options = ScanOptions::new().limit(limit).batch_rows(1 + limit / 2);
        options = options.fields(Fields::none());
        loop {
            let before = found.len();
            for records in self.docs.scan(options.clone()).unwrap() {
                found.extend(records.unwrap().ids);
            }
            assert!(found.len() - before <= limit);
            let Some(last) = found.last().filter(|_| found.len() > before) else { break };
            options = options.after(last.clone());
        }
        assert!(found.iter().eq(self.state.rows.keys()), "pages of a scan");
    }

    fn check_rows(&mut self) {
        self.note("check rows".into());
        let found = dump(&self.docs.snapshot().unwrap(), self.maker.dimension).unwrap();
        assert_rows(&found, &self.state.rows, "rows");
        assert_eq!(self.docs.schema().unwrap().columns(), self.state.columns);
        lists::agree(&self.docs, &self.state).unwrap();
        let ids: Vec<Id> = (0..30).map(|_| self.maker.id(&mut self.random)).collect();
        let given = crate::oracle::ids_of(self.maker.id_type, &ids);
        let records = self.docs.get(given, &Fields::all().with_vectors()).unwrap();
        let expected: Vec<_> = ids
            .iter()
            .filter_map(|id| Some((id.clone(), self.state.rows.get(id)?.clone())))
            .collect();
        assert!(rows_of(&records, self.maker.dimension) == expected, "get of {ids:?}");
        for id in &ids {
            let there = self.state.rows.contains_key(id);
            assert_eq!(self.docs.contains(id.clone()).unwrap(), there, "contains {id}");
        }
    }

    /// Exact search must be that of the map; the default must return as many live rows at their
    /// distances.
    fn search(&mut self, seen: &mut Seen) {
        let query = self.maker.vector(&mut self.random);
        let live = self.state.rows.len();
        let k = match self.random.below(5) {
            0 => 1,
            1 => live + 5,
            2 => usize::MAX,
            _ => 1 + self.random.below(20) as usize,
        };
        self.note(format!("search k {k}"));
        seen.searches += 1;
        let all = self.docs.search(&query).k(usize::MAX).exact(true).run().unwrap();
        assert_eq!(all.len(), live, "a search for everything");
        let mut expected: Vec<(f32, Id)> = Vec::new();
        for hit in &all {
            let row = self.state.rows.get(&hit.id).expect("a live row");
            let truth = distance(self.metric, &query, &row.vector);
            let rounded = matches!(self.metric, Metric::Cosine | Metric::Jaccard);
            let near = if rounded { 2e-6 } else { 0.0 };
            assert!((f64::from(hit.distance) - truth).abs() <= near, "{hit:?}, not {truth}");
            assert_eq!(hit.score, self.metric.score(hit.distance));
            expected.push((hit.distance, hit.id.clone()));
        }
        assert!(expected.is_sorted_by(|a, b| order(a, b).is_lt()), "by distance, then id");
        let known: BTreeMap<&Id, f32> = expected.iter().map(|(d, id)| (id, *d)).collect();
        let pairs = |hits: &Hits| -> Vec<(f32, Id)> {
            hits.iter().map(|hit| (hit.distance, hit.id.clone())).collect()
        };
        let exact = self.docs.search(&query).k(k).exact(true).with_vectors().run().unwrap();
        assert_eq!(pairs(&exact), expected[..k.min(live)], "exact");
        let vectors = crate::oracle::floats(exact.vectors.as_ref().unwrap());
        for (hit, vector) in exact.iter().zip(vectors.chunks(self.maker.dimension)) {
            assert_eq!(self.state.rows[&hit.id].vector, vector, "vector of {}", hit.id);
        }
        let found = self.docs.search(&query).k(k).run_batch().unwrap().remove(0);
        let found = pairs(&found);
        assert_eq!(found.len(), k.min(live), "hits of the default search");
        assert!(found.is_sorted_by(|a, b| order(a, b).is_lt()), "by distance, then id");
        for (distance, id) in &found {
            assert_eq!(known.get(id), Some(distance), "hit {id}");
        }
        if let Some((worst, _)) = expected.get(k.min(live).wrapping_sub(1)) {
            seen.wanted_hits += found.len() as u64;
            seen.found_hits += found.iter().filter(|hit| hit.0 <= *worst).count() as u64;
            let limit = expected[self.random.below(live as u64) as usize].0;
            let limited = self.docs.search(&query).k(k).exact(true).max_distance(limit);
            let within = expected.iter().take(k).filter(|hit| hit.0 <= limit).cloned();
            assert_eq!(pairs(&limited.run().unwrap()), within.collect::<Vec<_>>(), "limited");
        }
    }

    fn finish(&mut self, seen: &mut Seen) {
        let stats = self.docs.stats().unwrap();
        seen.segments += stats.segments.len();
        seen.graphs += stats.segments.iter().filter(|segment| segment.graph).count();
        seen.dead_rows += stats.dead_rows;
        seen.operations += self.trace.len() as u64;
        seen.sequences += 1;
        self.search(seen);
        self.check_rows();
        let report = self.docs.verify().unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.rows, self.state.rows.len() as u64);
        self.reopen();
        self.search(seen);
    }
}

fn open(
    scratch: &Scratch,
    disk: Option<&FaultDisk>,
    settings: &Settings,
    reader: bool,
) -> Database {
    let options = OpenOptions::new().settings(settings.clone()).read_only(reader);
    match disk {
        Some(disk) => options.disk(Arc::new(disk.clone())).open("/db").unwrap(),
        None => options.open(scratch.path()).unwrap(),
    }
}

fn order(a: &(f32, Id), b: &(f32, Id)) -> std::cmp::Ordering {
    a.0.partial_cmp(&b.0).expect("no NaN").then_with(|| a.1.cmp(&b.1))
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum()
    };
    match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(&|a, b| a * b),
        Metric::Hamming => sum(&|a, b| ones(a as u8 ^ b as u8)),
        Metric::Jaccard => {
            let either = sum(&|a, b| ones(a as u8 | b as u8));
            if either == 0.0 { 0.0 } else { 1.0 - sum(&|a, b| ones(a as u8 & b as u8)) / either }
        }
        _ => {
            let norms = sum(&|a, _| a * a) * sum(&|_, b| b * b);
            if norms == 0.0 { 1.0 } else { 1.0 - sum(&|a, b| a * b) / norms.sqrt() }
        }
    }
}

fn ones(byte: u8) -> f64 {
    f64::from(byte.count_ones())
}

fn sweep(default: u64, real_disk: bool) -> Seen {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("NEARFIELD_MODEL_SEED");
    let count = number("NEARFIELD_MODEL_SEQUENCES").unwrap_or(default);
    let mut seen = Seen::default();
    for seed in only.map_or(0..count, |only| only..only + 1) {
        let mut run = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let run = run.insert(Run::new(seed, real_disk));
            let steps = 10 + run.random.below(30);
            for _ in 0..steps {
                run.step(&mut seen);
            }
            run.finish(&mut seen);
        }));
        if let Err(panic) = outcome {
            let trace = run.map_or_else(Vec::new, |run| run.trace);
            eprintln!("sequence {seed} failed after:\n  {}", trace.join("\n  "));
            resume_unwind(panic);
        }
    }
    eprintln!("{seen:?}");
    if only.is_none() {
        assert!(seen.segments as u64 > seen.sequences / 2, "too few segments: {seen:?}");
        assert!(seen.graphs as u64 > seen.sequences / 8, "too few graphs: {seen:?}");
        assert!(seen.dead_rows > 0, "no dead row: {seen:?}");
        assert!(seen.found_hits * 100 > seen.wanted_hits * 90, "poor recall: {seen:?}");
    }
    seen
}

#[test]
fn random_operations_agree_with_a_plain_map_without_background_threads() {
    sweep(600, false);
}

#[test]
fn random_operations_agree_with_a_plain_map_on_the_real_disk_with_background_threads() {
    sweep(60, true);
}
