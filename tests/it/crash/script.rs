//! Scripted scenarios: what the engine is put through while the disk fails, and the states that
//! may be found afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nearfield::testing::FaultDisk;
use nearfield::{
    Column, DataType, Database, Durability, Error, IdType, Metric, OpenOptions, Raw, Result,
    Schema, Settings, TextOptions,
};

use crate::common::Random;
use crate::lists;
use crate::oracle::{Answer, Change, Maker, Rule, State, difference, state_of};

/// One step of a scenario.
#[derive(Clone)]
pub enum Step {
    Create(&'static str),
    Write(&'static str, Change),
    Flush(&'static str),
    Compact(&'static str),
    Drop(&'static str),
    Rename(&'static str, &'static str),
    Backup(&'static str),
    Close,
    /// Drops every handle without closing and opens again.
    Reopen,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(name) => write!(f, "create {name}"),
            Self::Write(name, change) => write!(f, "{name}: {}", change.summary()),
            Self::Flush(name) => write!(f, "flush {name}"),
            Self::Compact(name) => write!(f, "compact {name}"),
            Self::Drop(name) => write!(f, "drop {name}"),
            Self::Rename(from, to) => write!(f, "rename {from} to {to}"),
            Self::Backup(to) => write!(f, "back up to {to}"),
            Self::Close => f.write_str("close"),
            Self::Reopen => f.write_str("reopen"),
        }
    }
}

/// All collections of a database.
pub type States = BTreeMap<String, State>;

/// A scenario and how it is run.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: &'static str,
    pub durability: Durability,
    pub steps: Vec<Step>,
}

pub fn settings(durability: Durability) -> Settings {
    let mut settings = Settings::default();
    settings.durability = durability;
    settings.background = false;
    settings.memtable_bytes = 64 << 10;
    settings.graph_bytes = 4 << 10;
    settings.m = 4;
    settings.ef_construction = 8;
    settings.threads = 1;
    settings
}

/// The schema of a collection of this name.
pub fn schema(name: &str) -> Schema {
    let schema = Schema::new(DIMENSION, Metric::L2);
    let schema = match name {
        HALVES => schema.with_raw(Raw::F16),
        ROUNDED => schema.with_raw(Raw::None),
        _ => schema,
    };
    let schema = match name {
        LISTS => schema
            .text_with("note", TextOptions::new().no_language())
            .column("title", DataType::Utf8)
            .column("splade", DataType::Sparse),
        _ => schema.column("note", DataType::Utf8),
    };
    schema.column("year", DataType::Int64)
}

const DIMENSION: usize = 16;

pub fn open(disk: &FaultDisk, durability: Durability) -> Result<Database> {
    open_at(disk, "/db", durability, false)
}

pub fn open_at(
    disk: &FaultDisk,
    path: &str,
    durability: Durability,
    read_only: bool,
) -> Result<Database> {
    OpenOptions::new()
        .settings(settings(durability))
        .read_only(read_only)
        .disk(Arc::new(disk.clone()))
        .open(path)
}

/// The collections of an open database.
pub fn states(db: &Database) -> Result<States> {
    let mut states = States::new();
    for name in db.collections()? {
        let collection = db.open_collection(&name)?;
        let state = state_of(&collection)?;
        states.insert(name, state);
    }
    Ok(states)
}

impl Step {
    /// What the step makes of `states`; false when it cannot be taken from there.
    pub fn apply(&self, states: &mut States) -> bool {
        match self {
            Self::Create(name) => {
                states.entry((*name).into()).or_insert_with(|| State::new(&schema(name)));
                true
            }
            Self::Write(name, change) => match states.get_mut(*name) {
                Some(state) => !matches!(state.apply(change), Answer::Duplicates(_)),
                None => false,
            },
            Self::Drop(name) => states.remove(*name).is_some(),
            Self::Rename(from, to) => match states.remove(*from) {
                Some(state) => states.insert((*to).into(), state).is_none(),
                None => false,
            },
            _ => true,
        }
    }

    /// The collections that the step changes.
    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Create(name) | Self::Write(name, _) | Self::Drop(name) => vec![name],
            Self::Rename(from, to) => vec![from, to],
            _ => Vec::new(),
        }
    }

    /// Whether everything before is durable, whatever the setting, once the step is done.
    fn is_barrier(&self) -> bool {
        !matches!(
            self,
            Self::Write(
                _,
                Change::Add(_)
                    | Change::Upsert(_)
                    | Change::Update(_)
                    | Change::Delete(_)
                    | Change::AddColumn(_)
                    | Change::DeleteWhere(_)
                    | Change::UpdateWhere(..)
                    | Change::IndexText(_)
            )
        )
    }
}

/// A scenario under way.
pub struct Player {
    pub disk: FaultDisk,
    pub durability: Durability,
    db: Option<Database>,
    /// The states after each step that was acknowledged; the first is that of no database.
    pub history: Vec<States>,
    /// The first of `history` that may be found after a power cut.
    pub durable: usize,
    /// The states that the steps failed since then may have led to.
    pub perhaps: Vec<States>,
    pub backups: Vec<(String, States)>,
    /// The states that a killed process may have left. Until this player changes a collection, the
    /// power may take back what that process had not made durable of it.
    left: Vec<States>,
    changed: BTreeSet<&'static str>,
}

impl Player {
    pub fn new(disk: FaultDisk, durability: Durability, states: States) -> Self {
        let history = vec![states];
        Self {
            disk,
            durability,
            db: None,
            history,
            durable: 0,
            perhaps: Vec::new(),
            backups: Vec::new(),
            left: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// A player on the disk that another one left without a cut of the power, where `found` was
    /// found.
    pub fn after(&self, disk: FaultDisk, found: States) -> Self {
        let mut left = self.history[self.durable..].to_vec();
        left.extend(self.perhaps.iter().cloned());
        Self { left, ..Self::new(disk, Durability::Sync, found) }
    }

    pub fn now(&self) -> &States {
        self.history.last().expect("never empty")
    }

    /// Whether the database is open.
    pub fn is_open(&self) -> bool {
        self.db.is_some()
    }

    pub fn db(&self) -> Option<&Database> {
        self.db.as_ref()
    }

    pub fn close_handles(&mut self) {
        self.db = None;
    }

    /// Takes one step and keeps account of it.
    pub fn step(&mut self, step: &Step) -> Result<()> {
        if self.db.is_none() {
            self.open()?;
        }
        let mut next = self.now().clone();
        let possible = step.apply(&mut next);
        match self.run(step, &next) {
            Ok(()) => {
                assert!(possible, "{step:?} succeeded");
                if matches!(step, Step::Reopen) {
                    return Ok(());
                }
                let changed = next != *self.now();
                let found = matches!(step, Step::Create(_)) && !changed;
                self.history.push(next);
                if changed {
                    self.perhaps.clear();
                    self.changed.extend(step.names());
                }
                if !found && (self.durability == Durability::Sync || step.is_barrier()) {
                    self.durable = self.history.len() - 1;
                }
                Ok(())
            }
            Err(error) => {
                if possible && next != *self.now() {
                    self.perhaps.push(next);
                }
                Err(error)
            }
        }
    }

    /// Opens the database. What failed before may have come about, and what was not synced may be
    /// gone after a failed closing: from here on, what is found counts.
    fn open(&mut self) -> Result<()> {
        let db = open(&self.disk, self.durability)?;
        let found = states(&db)?;
        self.check_killed(&found).unwrap_or_else(|error| panic!("opening again: {error}"));
        if found != *self.now() {
            self.history.push(found);
            self.perhaps.clear();
        }
        self.db = Some(db);
        Ok(())
    }

    fn run(&mut self, step: &Step, next: &States) -> Result<()> {
        let db = self.db.clone().expect("open");
        match step {
            Step::Create(name) => db.collection(name, schema(name)).map(drop),
            Step::Write(name, change) => {
                let collection = db.open_collection(name)?;
                let mut state = self.now().get(*name).cloned();
                let expected = state.as_mut().map(|state| state.apply(change));
                let answer = change.run(&collection)?;
                assert_eq!(Some(answer), expected, "{step:?}");
                Ok(())
            }
            Step::Flush(name) => db.open_collection(name)?.flush(),
            Step::Compact(name) => db.open_collection(name)?.compact().map(drop),
            Step::Drop(name) => db.drop_collection(name),
            Step::Rename(from, to) => db.rename_collection(from, to),
            Step::Backup(to) => {
                db.backup(to)?;
                self.backups.push(((*to).into(), next.clone()));
                Ok(())
            }
            Step::Close => {
                self.db = None;
                db.close()
            }
            Step::Reopen => {
                self.db = None;
                drop(db);
                self.open()
            }
        }
    }

    /// Whether `found` may be what a power cut left: a prefix of what was acknowledged that
    /// contains what was durable, or that and the step under way.
    pub fn check(&self, found: &States) -> Result<(), String> {
        self.check_from(found, self.durable)
    }

    /// The same after the death of the process alone, which costs less.
    pub fn check_killed(&self, found: &States) -> Result<(), String> {
        let durable =
            if self.durability == Durability::None { self.durable } else { self.history.len() - 1 };
        self.check_from(found, durable)
    }

    /// Whether `found` is `states`, collections aside that are as the killed process left them.
    fn explains(&self, states: &States, found: &States) -> bool {
        let names: BTreeSet<&String> = states.keys().chain(found.keys()).collect();
        names.into_iter().all(|name| {
            let same = |states: &States| states.get(name) == found.get(name);
            same(states) || !self.changed.contains(name.as_str()) && self.left.iter().any(same)
        })
    }

    fn check_from(&self, found: &States, durable: usize) -> Result<(), String> {
        let mut may = self.history[durable..].iter().chain(&self.perhaps);
        if may.any(|states| self.explains(states, found)) {
            return Ok(());
        }
        let mut report = format!(
            "found collections {:?}; acknowledged {:?}, of {} states from {durable} on, {} perhaps",
            found.keys().collect::<Vec<_>>(),
            self.now().keys().collect::<Vec<_>>(),
            self.history.len(),
            self.perhaps.len()
        );
        for (name, state) in self.now() {
            if let Some(found) = found.get(name) {
                let lines = difference(&found.rows, &state.rows);
                report +=
                    &format!("\n{name}, against the last state: {} rows\n  ", found.rows.len());
                report += &lines.join("\n  ");
                report += &format!("\n  columns {:?}", found.columns.len());
            }
        }
        Err(report)
    }
}

/// Opens the database on `disk` and says what it holds, after a check of every file.
pub fn recover(disk: &FaultDisk, durability: Durability) -> Result<(Database, States), String> {
    let text = |error: Error| format!("opening after the crash: {error}");
    let db = open(disk, durability).map_err(text)?;
    let found = states(&db).map_err(text)?;
    for (name, state) in &found {
        let collection = db.open_collection(name).map_err(text)?;
        lists::agree(&collection, state).map_err(text)?;
        let report = collection.verify().map_err(text)?;
        if !report.problems.is_empty() {
            return Err(format!("verify of {name}: {:?}", report.problems));
        }
    }
    Ok((db, found))
}

fn maker(ids: u64) -> Maker {
    Maker { id_type: IdType::U64, dimension: DIMENSION, elements: -9..=9, ids, long_texts: false }
}

/// Makes the changes of a scenario, each possible after those before it.
struct Author {
    random: Random,
    maker: Maker,
    state: State,
    steps: Vec<Step>,
    name: &'static str,
}

impl Author {
    fn new(seed: u64, ids: u64) -> Self {
        Self::of(DOCS, seed, ids)
    }

    fn of(name: &'static str, seed: u64, ids: u64) -> Self {
        let steps = vec![Step::Create(name)];
        let state = State::new(&schema(name));
        Self { random: Random::new(seed), maker: maker(ids), state, steps, name }
    }

    fn push(&mut self, change: Change) -> &mut Self {
        self.state.apply(&change);
        self.steps.push(Step::Write(self.name, change));
        self
    }

    fn then(&mut self, step: Step) -> &mut Self {
        self.steps.push(step);
        self
    }

    fn upsert(&mut self, rows: u64) -> &mut Self {
        let batch = self.maker.batch(rows, &self.state.columns, &mut self.random);
        self.push(Change::Upsert(batch))
    }

    fn add(&mut self, rows: u64) -> &mut Self {
        let batch = self.maker.new_rows(rows, &self.state, &mut self.random);
        let mut ids = batch.ids.clone();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), batch.ids.len(), "the ids are used up");
        self.push(Change::Add(batch))
    }

    fn import(&mut self, rows: &[u64]) -> &mut Self {
        let columns = self.state.columns.clone();
        let batch = |rows: &u64| self.maker.batch(*rows, &columns, &mut self.random);
        let batches = rows.iter().map(batch).collect();
        self.push(Change::Import(batches))
    }

    /// Updates rows, at least one of which is there.
    fn update(&mut self, rows: u64) -> &mut Self {
        let mut batch = self.maker.batch(rows, &[], &mut self.random);
        batch.ids[0] = self.state.rows.keys().next().expect("a row").clone();
        let columns = self.state.columns.clone();
        batch.columns = self.maker.batch(rows, &columns, &mut self.random).columns;
        while batch.columns.is_empty() {
            batch.columns = self.maker.batch(rows, &columns, &mut self.random).columns;
        }
        batch.vectors.clear();
        self.push(Change::Update(batch))
    }

    fn delete(&mut self, rows: u64) -> &mut Self {
        let mut batch = self.maker.batch(rows, &[], &mut self.random);
        batch.ids[0] = self.state.rows.keys().next().expect("a row").clone();
        self.push(Change::Delete(batch))
    }

    /// Deletes by a filter that finds some of the rows, not all.
    fn delete_where(&mut self) -> &mut Self {
        let rule = self.rule();
        self.push(Change::DeleteWhere(rule))
    }

    fn update_where(&mut self) -> &mut Self {
        let values = self.maker.values(&self.state.columns, &mut self.random);
        let rule = self.rule();
        self.push(Change::UpdateWhere(rule, values))
    }

    fn rule(&mut self) -> Rule {
        let rows = self.state.rows.len() as u64;
        loop {
            let rule = self.maker.rule(&self.state.columns, &mut self.random);
            let count = self.state.clone().apply(&Change::DeleteWhere(rule.clone()));
            if matches!(count, Answer::Count(count) if 0 < count && count <= rows / 2) {
                return rule;
            }
        }
    }

    fn index(&mut self, column: &str) -> &mut Self {
        self.push(Change::IndexText(column.into()))
    }

    fn column(&mut self, name: &str) -> &mut Self {
        let name = name.to_owned();
        self.push(Change::AddColumn(Column { name, data_type: DataType::ListUtf8, text: false }))
    }

    fn script(&mut self, name: &'static str, durability: Durability) -> Script {
        Script { name, durability, steps: std::mem::take(&mut self.steps) }
    }
}

const DOCS: &str = "docs";
/// A collection with an index of texts and a sparse column.
const LISTS: &str = "lists";
/// Collections that keep less of their vectors.
const HALVES: &str = "halves";
const ROUNDED: &str = "rounded";

/// The scenarios. Rows are few and small, but for those that must fill a memtable.
pub fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for durability in [Durability::Sync, Durability::Buffered, Durability::None] {
        scripts.push(
            Author::new(1, 40)
                .upsert(5)
                .add(3)
                .update(4)
                .delete(2)
                .then(Step::Flush(DOCS))
                .upsert(30)
                .column("tags")
                .update(9)
                .upsert(2)
                .script("small writes", durability),
        );
        scripts.push(
            Author::new(2, 500)
                .upsert(60)
                .then(Step::Compact(DOCS))
                .upsert(20)
                .delete(30)
                .update(30)
                .then(Step::Compact(DOCS))
                .column("tags")
                .update(8)
                .delete(9)
                .then(Step::Reopen)
                .upsert(4)
                .then(Step::Compact(DOCS))
                .delete(3)
                .script("compaction", durability),
        );
        scripts.push(
            Author::new(3, 4_000)
                .upsert(300)
                .upsert(300)
                .update(40)
                .upsert(300)
                .delete(50)
                .upsert(300)
                .upsert(300)
                .update(300)
                .upsert(10)
                .then(Step::Close)
                .upsert(10)
                .delete(200)
                .script("full memtables", durability),
        );
        scripts.push(
            Author::new(4, 100)
                .upsert(5)
                .import(&[30, 40])
                .upsert(20)
                .update(5)
                .import(&[5])
                .delete(5)
                .script("import", durability),
        );
        scripts.push(
            Author::new(5, 100)
                .upsert(5)
                .then(Step::Reopen)
                .upsert(5)
                .then(Step::Reopen)
                .delete(5)
                .then(Step::Close)
                .update(5)
                .then(Step::Reopen)
                .then(Step::Reopen)
                .upsert(5)
                .script("reopening", durability),
        );
    }
    scripts.extend(catalog_scripts());
    scripts.push(lists_script());
    for (name, seed) in [(HALVES, 10), (ROUNDED, 11)] {
        scripts.push(
            Author::of(name, seed, 60)
                .upsert(20)
                .then(Step::Compact(name))
                .upsert(9)
                .update(5)
                .then(Step::Reopen)
                .delete(4)
                .import(&[8])
                .then(Step::Compact(name))
                .upsert(3)
                .script(name, Durability::Sync),
        );
    }
    scripts
}

/// Words, sparse vectors and writes by filter: with every write synced, since searching all of it after
/// each cut takes time.
fn lists_script() -> Script {
    Author::of(LISTS, 9, 60)
        .upsert(16)
        .delete_where()
        .update_where()
        .then(Step::Flush(LISTS))
        .then(Step::Compact(LISTS))
        .update_where()
        .delete_where()
        .index("title")
        .then(Step::Compact(LISTS))
        .upsert(4)
        .update(6)
        .delete_where()
        .then(Step::Reopen)
        .then(Step::Compact(LISTS))
        .update_where()
        .script("words, sparse vectors and writes by filter", Durability::Sync)
}

/// Creating, renaming, dropping and copying, with every write synced.
fn catalog_scripts() -> Vec<Script> {
    let mut author = Author::new(6, 60);
    author.upsert(5).then(Step::Create("other")).then(Step::Rename(DOCS, "notes"));
    author.name = "notes";
    author.upsert(9).then(Step::Compact("notes"));
    author.then(Step::Drop("other")).then(Step::Create(DOCS)).upsert(3);
    author.then(Step::Rename("notes", "other")).then(Step::Drop("other"));
    let catalog = author.script("catalog", Durability::Sync);
    let mut author = Author::new(7, 60);
    author.upsert(9).then(Step::Compact(DOCS)).delete(3).update(3);
    author.then(Step::Create("empty")).then(Step::Backup("/copy")).upsert(3);
    let backup = author.script("backup", Durability::Sync);
    vec![catalog, backup]
}

/// Three writes, each possible after the creation of `docs`. The second is two operations when it
/// is the first of all.
pub fn three_writes() -> [Step; 3] {
    let mut author = Author::new(8, 60);
    author.upsert(3).upsert(9).column("tags");
    let [_, first, second, third] = author.steps.try_into().expect("four steps");
    [first, second, third]
}
