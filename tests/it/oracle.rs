//! The oracle: what a collection must hold, as a plain map, and the changes that both it and the
//! engine are put through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, LargeListArray,
    LargeStringArray, RecordBatch, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use nearfield::{
    Collection, Column, DataType, Error, Fields, Id, IdType, Ids, ImportBatch, ImportOptions, Raw,
    Records, Result, ScanOptions, Schema, Snapshot, SparseVector, TextOptions, Vectors,
};

use crate::common::Random;

/// One attribute that is not null.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    Time(i64),
    List(Vec<Option<String>>),
    Sparse(Vec<(u32, f32)>),
}

/// A row beside its id; null attributes are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub vector: Vec<f32>,
    pub values: BTreeMap<String, Value>,
}

/// What a collection must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub dimension: usize,
    pub columns: Vec<Column>,
    pub rows: BTreeMap<Id, Row>,
}

/// Values of one column, a row each.
#[derive(Clone, Debug)]
pub struct Values {
    pub name: String,
    pub data_type: DataType,
    pub values: Vec<Option<Value>>,
}

/// Rows on their way in.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id_type: IdType,
    pub ids: Vec<Id>,
    /// Row-major.
    pub vectors: Vec<f32>,
    pub columns: Vec<Values>,
}

/// A change of a collection.
#[derive(Clone, Debug)]
pub enum Change {
    Add(Batch),
    Upsert(Batch),
    /// The vectors of the batch are empty.
    Update(Batch),
    Delete(Batch),
    AddColumn(Column),
    Import(Vec<Batch>),
    DeleteWhere(Rule),
    /// The batch is of one row without vector, which all rows found are given.
    UpdateWhere(Rule, Batch),
    /// Has a column of texts indexed for search by words.
    IndexText(String),
}

/// A filter, and which rows it finds.
#[derive(Clone, Debug)]
pub enum Rule {
    /// The whole number of the column is less.
    Below(String, i64),
    Null(String),
    /// The text of the column begins so.
    Begins(String, String),
    Ids(Vec<Id>),
}

impl Rule {
    fn finds(&self, id: &Id, row: &Row) -> bool {
        match self {
            Self::Below(column, limit) => {
                matches!(row.values.get(column), Some(Value::Int(value)) if value < limit)
            }
            Self::Null(column) => !row.values.contains_key(column),
            Self::Begins(column, prefix) => {
                matches!(row.values.get(column), Some(Value::Text(text)) if text.starts_with(prefix))
            }
            Self::Ids(ids) => ids.contains(id),
        }
    }

    /// The filter.
    pub fn text(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Below(column, limit) => format!("{column} < {limit}"),
            Self::Null(column) => format!("{column} IS NULL"),
            Self::Begins(column, prefix) => format!("{column} STARTS WITH {}", quoted(prefix)),
            Self::Ids(ids) => {
                let spelled = ids.iter().map(|id| match id {
                    Id::U64(id) => id.to_string(),
                    Id::Utf8(id) => quoted(id),
                });
                format!("id IN ({})", spelled.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The answer to a change, as far as both sides must agree.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Count(u64),
    Imported { rows: u64, replaced: u64 },
    Duplicates(Vec<Id>),
}

impl State {
    pub fn new(schema: &Schema) -> Self {
        Self {
            dimension: schema.row_elements(),
            columns: schema.columns().to_vec(),
            rows: BTreeMap::new(),
        }
    }

    /// Applies a change and says what the engine must answer.
    pub fn apply(&mut self, change: &Change) -> Answer {
        match change {
            Change::Add(batch) => {
                let mut seen = BTreeSet::new();
                let known = |id: &&Id| self.rows.contains_key(*id);
                let twice: BTreeSet<&Id> =
                    batch.ids.iter().filter(|id| !seen.insert(*id)).collect();
                let mut all: BTreeSet<&Id> = batch.ids.iter().filter(known).collect();
                all.extend(twice);
                if !all.is_empty() {
                    return Answer::Duplicates(all.into_iter().cloned().collect());
                }
                self.put(batch);
                Answer::Count(batch.ids.len() as u64)
            }
            Change::Upsert(batch) => Answer::Count(self.put(batch).0),
            Change::Update(batch) => Answer::Count(self.update(batch)),
            Change::Delete(batch) => {
                let gone = batch.ids.iter().filter(|id| self.rows.remove(*id).is_some());
                Answer::Count(gone.count() as u64)
            }
            Change::AddColumn(column) => {
                let new = self.columns.iter().all(|known| known.name != column.name);
                if new {
                    self.columns.push(column.clone());
                }
                Answer::Count(u64::from(new))
            }
            Change::Import(batches) => {
                let before: BTreeSet<Id> = self.rows.keys().cloned().collect();
                let mut ids = BTreeSet::new();
                for batch in batches {
                    self.put(batch);
                    ids.extend(batch.ids.iter().cloned());
                }
                let replaced = ids.iter().filter(|id| before.contains(*id)).count() as u64;
                Answer::Imported { rows: ids.len() as u64, replaced }
            }
            Change::DeleteWhere(rule) => {
                let before = self.rows.len();
                self.rows.retain(|id, row| !rule.finds(id, row));
                Answer::Count((before - self.rows.len()) as u64)
            }
            Change::UpdateWhere(rule, batch) => {
                let found = self.rows.iter_mut().filter(|(id, row)| rule.finds(id, row));
                Answer::Count(found.map(|(_, row)| row.take(batch, 0)).count() as u64)
            }
            Change::IndexText(name) => {
                let column = self.columns.iter_mut().find(|column| column.name == *name);
                let indexed = std::mem::replace(&mut column.expect("a column").text, true);
                Answer::Count(u64::from(!indexed))
            }
        }
    }

    fn put(&mut self, batch: &Batch) -> (u64, u64) {
        let (mut ids, mut replaced) = (BTreeSet::new(), 0);
        for (row, id) in batch.ids.iter().enumerate() {
            let vector = batch.vectors[row * self.dimension..][..self.dimension].to_vec();
            let known = self.rows.insert(id.clone(), Row { vector, values: batch.values(row) });
            replaced += u64::from(known.is_some() && !ids.contains(id));
            ids.insert(id.clone());
        }
        (ids.len() as u64, replaced)
    }

    fn update(&mut self, batch: &Batch) -> u64 {
        let mut updated = BTreeSet::new();
        for (row, id) in batch.ids.iter().enumerate() {
            let Some(known) = self.rows.get_mut(id) else { continue };
            known.take(batch, row);
            updated.insert(id);
        }
        updated.len() as u64
    }
}

impl Row {
    /// Takes the columns of a row of `batch`.
    fn take(&mut self, batch: &Batch, row: usize) {
        for column in &batch.columns {
            match &column.values[row] {
                Some(value) => self.values.insert(column.name.clone(), value.clone()),
                None => self.values.remove(&column.name),
            };
        }
    }
}

impl Batch {
    pub fn ids(&self) -> Ids<'static> {
        ids_of(self.id_type, &self.ids)
    }

    fn values(&self, row: usize) -> BTreeMap<String, Value> {
        let values = self.columns.iter();
        values.filter_map(|c| Some((c.name.clone(), c.values[row].clone()?))).collect()
    }

    pub fn attributes(&self) -> Option<RecordBatch> {
        if self.columns.is_empty() {
            return None;
        }
        let arrays = self.columns.iter().map(|c| (c.name.as_str(), c.array(), true));
        Some(RecordBatch::try_from_iter_with_nullable(arrays).unwrap())
    }
}

pub fn ids_of(id_type: IdType, ids: &[Id]) -> Ids<'static> {
    match id_type {
        IdType::U64 => {
            let number = |id: &Id| if let Id::U64(id) = id { *id } else { panic!("a string id") };
            ids.iter().map(number).collect::<Vec<u64>>().into()
        }
        IdType::Utf8 => {
            let text =
                |id: &Id| if let Id::Utf8(id) = id { id.to_string() } else { panic!("a number") };
            ids.iter().map(text).collect::<Vec<String>>().into()
        }
    }
}

impl Values {
    fn array(&self) -> ArrayRef {
        macro_rules! column {
            ($array:ident, $kind:ident) => {
                Arc::new(
                    self.values
                        .iter()
                        .map(|value| match value {
                            Some(Value::$kind(value)) => Some(value.clone()),
                            _ => None,
                        })
                        .collect::<$array>(),
                )
            };
        }
        match self.data_type {
            DataType::Bool => column!(BooleanArray, Bool),
            DataType::Int64 => column!(Int64Array, Int),
            DataType::Float64 => column!(Float64Array, Real),
            DataType::Utf8 => column!(LargeStringArray, Text),
            DataType::Timestamp => column!(TimestampMicrosecondArray, Time),
            DataType::ListUtf8 => {
                let mut list = LargeListBuilder::new(LargeStringBuilder::new());
                for value in &self.values {
                    match value {
                        Some(Value::List(texts)) => {
                            list.append_value(texts.iter().map(Option::as_deref))
                        }
                        _ => list.append_null(),
                    }
                }
                Arc::new(list.finish())
            }
            DataType::Sparse => {
                let vectors: Vec<Option<SparseVector>> = self
                    .values
                    .iter()
                    .map(|value| match value {
                        Some(Value::Sparse(pairs)) => {
                            Some(SparseVector::from_pairs(pairs.iter().copied()).unwrap())
                        }
                        _ => None,
                    })
                    .collect();
                SparseVector::column(vectors.iter().map(Option::as_ref))
            }
            other => panic!("no such column: {other}"),
        }
    }
}

fn value_at(array: &ArrayRef, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    let any = array.as_any();
    macro_rules! read {
        ($array:ident, $kind:ident) => {
            if let Some(array) = any.downcast_ref::<$array>() {
                return Some(Value::$kind(array.value(row).into()));
            }
        };
    }
    read!(BooleanArray, Bool);
    read!(Int64Array, Int);
    read!(Float64Array, Real);
    read!(LargeStringArray, Text);
    read!(TimestampMicrosecondArray, Time);
    let list = any.downcast_ref::<LargeListArray>().expect("a type of the engine").value(row);
    if let Some(items) = list.as_any().downcast_ref::<StructArray>() {
        let indices = items.column(0).as_any().downcast_ref::<UInt32Array>().expect("indices");
        let weights = items.column(1).as_any().downcast_ref::<Float32Array>().expect("weights");
        let pairs = indices.values().iter().copied().zip(weights.values().iter().copied());
        return Some(Value::Sparse(pairs.collect()));
    }
    let texts = list.as_any().downcast_ref::<LargeStringArray>().expect("texts");
    Some(Value::List(texts.iter().map(|text| text.map(str::to_owned)).collect()))
}

/// The elements as f32, in which every stored type is exact.
pub fn floats(vectors: &Vectors<'_>) -> Vec<f32> {
    vectors.to_f32(0..vectors.len())
}

/// The rows of `records`, which hold vectors.
pub fn rows_of(records: &Records, dimension: usize) -> Vec<(Id, Row)> {
    let vectors = floats(records.vectors.as_ref().expect("asked for"));
    assert_eq!(vectors.len(), records.len() * dimension);
    assert_eq!(records.attributes.num_rows(), records.len());
    let schema = records.attributes.schema();
    let row = |row: usize| {
        let columns = schema.fields().iter().zip(records.attributes.columns());
        let values = columns
            .filter_map(|(field, array)| Some((field.name().clone(), value_at(array, row)?)));
        Row { vector: vectors[row * dimension..][..dimension].to_vec(), values: values.collect() }
    };
    (0..records.len()).map(|index| (records.ids[index].clone(), row(index))).collect()
}

/// Everything a snapshot holds, by a scan, whose order is checked.
pub fn dump(snapshot: &Snapshot, dimension: usize) -> Result<BTreeMap<Id, Row>> {
    let mut rows = BTreeMap::new();
    let options = ScanOptions::new().fields(Fields::all().with_vectors()).batch_rows(97);
    for records in snapshot.scan(options)? {
        for (id, row) in rows_of(&records?, dimension) {
            let last = rows.last_key_value().map(|(id, _)| id);
            assert!(last.is_none_or(|last| last < &id), "a scan gave {id} after {last:?}");
            rows.insert(id, row);
        }
    }
    assert_eq!(rows.len(), snapshot.len(), "len differs from what a scan finds");
    Ok(rows)
}

/// Where two sets of rows differ, in a few lines; empty when they are equal.
pub fn difference(found: &BTreeMap<Id, Row>, wanted: &BTreeMap<Id, Row>) -> Vec<String> {
    let ids: BTreeSet<&Id> = found.keys().chain(wanted.keys()).collect();
    let differ = |id: &&Id| found.get(*id) != wanted.get(*id);
    let show = |rows: &BTreeMap<Id, Row>, id: &Id| match rows.get(id) {
        Some(row) => format!("{:.40}… {:?}", format!("{:?}", row.vector), row.values),
        None => "absent".into(),
    };
    let mut lines: Vec<String> = ids
        .into_iter()
        .filter(differ)
        .map(|id| format!("{id}: found {}, wanted {}", show(found, id), show(wanted, id)))
        .collect();
    let more = lines.len().saturating_sub(8);
    lines.truncate(8);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Fails unless two sets of rows are equal.
pub fn assert_rows(found: &BTreeMap<Id, Row>, wanted: &BTreeMap<Id, Row>, what: &str) {
    let lines = difference(found, wanted);
    assert!(lines.is_empty(), "{what}:\n  {}", lines.join("\n  "));
}

/// What `collection` holds now.
pub fn state_of(collection: &Collection) -> Result<State> {
    let schema = collection.schema()?;
    let dimension = schema.row_elements();
    let mut rows = dump(&collection.snapshot()?, dimension)?;
    if schema.raw() == Some(Raw::None) {
        // The whole numbers that were written are the nearest.
        let vectors = rows.values_mut().flat_map(|row| &mut row.vector);
        vectors.for_each(|x| *x = x.round());
    }
    Ok(State { dimension, columns: schema.columns().to_vec(), rows })
}

impl Change {
    /// Puts the engine through the change. What is no answer is an error.
    pub fn run(&self, collection: &Collection) -> Result<Answer> {
        let answer = match self {
            Self::Add(batch) => {
                collection.add(batch.ids(), &batch.vectors, batch.attributes().as_ref())
            }
            Self::Upsert(batch) => {
                collection.upsert(batch.ids(), &batch.vectors, batch.attributes().as_ref())
            }
            Self::Update(batch) => {
                collection.update(batch.ids(), &batch.attributes().expect("columns"))
            }
            Self::Delete(batch) => collection.delete(batch.ids()),
            Self::AddColumn(column) => collection.add_columns(std::slice::from_ref(column)),
            Self::Import(batches) => {
                let source = batches.iter().map(|batch| Ok(import_batch(batch)));
                let report = collection.import(source, ImportOptions::new())?;
                return Ok(Answer::Imported { rows: report.rows, replaced: report.replaced });
            }
            Self::DeleteWhere(rule) => collection.delete_where(rule.text().as_str()),
            Self::UpdateWhere(rule, batch) => {
                let values = batch.attributes().expect("columns");
                collection.update_where(rule.text().as_str(), &values)
            }
            Self::IndexText(column) => {
                collection.add_text_index(column, TextOptions::new().no_language()).map(u64::from)
            }
        };
        match answer {
            Ok(count) => Ok(Answer::Count(count)),
            Err(Error::DuplicateId { ids }) => Ok(Answer::Duplicates(ids)),
            Err(error) => Err(error),
        }
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::Add(batch) => format!("add {}", batch.ids.len()),
            Self::Upsert(batch) => format!("upsert {}", batch.ids.len()),
            Self::Update(batch) => format!("update {}", batch.ids.len()),
            Self::Delete(batch) => format!("delete {}", batch.ids.len()),
            Self::AddColumn(column) => format!("add column {}", column.name),
            Self::DeleteWhere(rule) => format!("delete where {}", rule.text()),
            Self::UpdateWhere(rule, _) => format!("update where {}", rule.text()),
            Self::IndexText(column) => format!("index the texts of {column}"),
            Self::Import(batches) => {
                format!(
                    "import {:?}",
                    batches.iter().map(|batch| batch.ids.len()).collect::<Vec<_>>()
                )
            }
        }
    }
}

fn import_batch(batch: &Batch) -> ImportBatch {
    ImportBatch {
        ids: batch.ids(),
        vectors: batch.vectors.clone().into(),
        attributes: batch.attributes(),
        source_rows: (0..batch.ids.len() as u64).collect(),
        rejected: Vec::new(),
    }
}

/// Words that many texts have.
pub const WORDS: [&str; 4] = ["page", "fault", "of", "mmap"];

/// Makes changes at random, with small whole numbers in the vectors so that distances are exact
/// and often equal.
#[derive(Debug)]
pub struct Maker {
    pub id_type: IdType,
    /// Elements of a vector.
    pub dimension: usize,
    /// Elements are whole numbers in this range.
    pub elements: std::ops::RangeInclusive<i64>,
    /// How many different ids there are.
    pub ids: u64,
    /// Whether a text among the values is long.
    pub long_texts: bool,
}

impl Maker {
    pub fn id(&self, random: &mut Random) -> Id {
        let number = random.below(self.ids);
        match self.id_type {
            // Spread over the whole range, so that byte orders show; the largest number is no id.
            IdType::U64 => Id::U64(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_sub(2)),
            IdType::Utf8 if number == 0 => Id::from(""),
            IdType::Utf8 if number % 7 == 0 => Id::from(format!("é{number}/\u{10000}").as_str()),
            IdType::Utf8 => Id::from(format!("{number:x}").as_str()),
        }
    }

    pub fn vector(&self, random: &mut Random) -> Vec<f32> {
        let (low, high) = (*self.elements.start(), *self.elements.end());
        let span = u64::try_from(high - low + 1).unwrap();
        let element = |random: &mut Random| (low + random.below(span) as i64) as f32;
        if random.below(40) == 0 {
            return vec![0.0; self.dimension];
        }
        (0..self.dimension).map(|_| element(random)).collect()
    }

    fn value(&self, data_type: DataType, random: &mut Random) -> Option<Value> {
        if random.below(4) == 0 {
            return None;
        }
        let number = random.next();
        let text = |number: u64| match number % 5 {
            0 => String::new(),
            1 if self.long_texts => "long ".repeat(number as usize % 90),
            _ => {
                let words = WORDS.iter().zip(0..).filter(|(_, bit)| number >> (8 + bit) & 1 == 1);
                words.fold(format!("ü{number}"), |text, (word, _)| format!("{text} {word}"))
            }
        };
        Some(match data_type {
            DataType::Bool => Value::Bool(number % 2 == 0),
            DataType::Int64 => Value::Int(number as i64),
            DataType::Float64 => Value::Real(number as f64 / 3.0),
            DataType::Utf8 => Value::Text(text(number)),
            DataType::Timestamp => Value::Time((number >> 20) as i64),
            DataType::ListUtf8 => {
                let item = |i| (i % 3 != 1).then(|| text(number.rotate_left(i)));
                Value::List((0..number as u32 % 4).map(item).collect())
            }
            DataType::Sparse => {
                let pair = |at: u32| (at * 3 + number as u32 % 2, at as f32 - 3.5);
                Value::Sparse(
                    (0..number as u32 % 8).filter(|at| number >> at & 1 == 1).map(pair).collect(),
                )
            }
            other => panic!("no such column: {other}"),
        })
    }

    pub fn batch(&self, rows: u64, columns: &[Column], random: &mut Random) -> Batch {
        let ids: Vec<Id> = (0..rows).map(|_| self.id(random)).collect();
        let vectors = ids.iter().flat_map(|_| self.vector(random)).collect();
        let given: Vec<&Column> = columns.iter().filter(|_| random.below(3) > 0).collect();
        let columns = given
            .into_iter()
            .map(|column| Values {
                name: column.name.clone(),
                data_type: column.data_type,
                values: ids.iter().map(|_| self.value(column.data_type, random)).collect(),
            })
            .collect();
        Batch { id_type: self.id_type, ids, vectors, columns }
    }

    /// A filter of some of the rows, of a column if one is of the right type.
    pub fn rule(&self, columns: &[Column], random: &mut Random) -> Rule {
        let wanted = random.below(columns.len() as u64 + 1) as usize;
        let Some(column) = columns.get(wanted) else {
            return Rule::Ids((0..1 + self.ids / 8).map(|_| self.id(random)).collect());
        };
        let name = column.name.clone();
        match column.data_type {
            DataType::Int64 => Rule::Below(name, (random.next() as i64).saturating_mul(2)),
            DataType::Utf8 => Rule::Begins(name, format!("ü{}", 1 + random.below(9))),
            _ => Rule::Null(name),
        }
    }

    /// Values of one row for some of the columns, at least one of them.
    pub fn values(&self, columns: &[Column], random: &mut Random) -> Batch {
        loop {
            let mut batch = self.batch(1, columns, random);
            batch.vectors.clear();
            if !batch.columns.is_empty() {
                return batch;
            }
        }
    }

    /// A batch of new ids, unless `ids` is nearly used up.
    pub fn new_rows(&self, rows: u64, state: &State, random: &mut Random) -> Batch {
        let mut batch = self.batch(rows, &state.columns, random);
        let mut taken: BTreeSet<Id> = state.rows.keys().cloned().collect();
        for id in &mut batch.ids {
            for _ in 0..20 {
                if taken.insert(id.clone()) {
                    break;
                }
                *id = self.id(random);
            }
        }
        batch
    }
}
