//! Hits by the values of a column: the best few of each.

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};

use super::ranking::Ranked;
use super::shape::order;
use super::snapshot::{Found, Place, View};
use crate::error::{Error, Result};
use crate::filter::{Filter, Value, col};
use crate::segment::columns;
use crate::types::{Column, DataType};

/// The column whose values make the groups.
#[derive(Clone, Debug)]
pub(crate) struct GroupBy(pub(crate) String);

impl GroupBy {
    /// The column, which must be there and of a type whose values are equal or not.
    pub(super) fn column<'v>(&self, view: &'v View) -> Result<&'v Column> {
        self.column_for(view, "to group by")
    }

    /// The same for another purpose.
    pub(super) fn column_for<'v>(&self, view: &'v View, purpose: &str) -> Result<&'v Column> {
        let column = view.schema.find(&self.0)?;
        match column.data_type {
            DataType::Bool | DataType::Int64 | DataType::Timestamp | DataType::Utf8 => Ok(column),
            other => Err(Error::SchemaMismatch {
                what: format!("column {:?}, {purpose}", self.0),
                expected: "bool, int64, timestamp or utf8".into(),
                given: other.to_string(),
            }),
        }
    }

    /// The groups of the rows of a list.
    pub(super) fn keys_of(&self, view: &View, list: &[Ranked]) -> Result<Vec<Key>> {
        let places: Vec<Place> = list.iter().map(|ranked| ranked.place).collect();
        self.keys(view, &places)
    }

    /// The first `per_group` rows of each group of a list that is not `known`, groups in the order of
    /// their first rows.
    pub(super) fn further(
        &self,
        view: &View,
        list: Vec<Ranked>,
        known: &HashSet<Key>,
        per_group: usize,
    ) -> Result<Vec<Vec<Ranked>>> {
        let mut groups: Vec<Vec<Ranked>> = Vec::new();
        let mut places = HashMap::new();
        let keys = self.keys_of(view, &list)?;
        for (ranked, key) in list.into_iter().zip(keys).filter(|(_, key)| !known.contains(key)) {
            let at = *places.entry(key).or_insert(groups.len());
            match groups.get_mut(at) {
                Some(group) if group.len() < per_group => group.push(ranked),
                Some(_) => {}
                None => groups.push(vec![ranked]),
            }
        }
        Ok(groups)
    }

    /// The groups of some rows.
    pub(super) fn keys(&self, view: &View, places: &[Place]) -> Result<Vec<Key>> {
        let column = self.column(view)?;
        let wanted = columns::arrow_schema([(&*column.name, column.data_type)].into_iter());
        let batch = view.attributes(places, &wanted)?;
        let key = |row| Key::at(batch.column(0), column.data_type, row);
        Ok((0..places.len()).map(key).collect())
    }
}

/// What a group has in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Null,
    Bool(bool),
    Int(i64),
    Time(i64),
    Text(Box<str>),
}

impl Key {
    /// That of a row of the column.
    fn at(column: &ArrayRef, data_type: DataType, row: usize) -> Self {
        if column.is_null(row) {
            return Self::Null;
        }
        match data_type {
            DataType::Bool => Self::Bool(column.as_boolean().value(row)),
            DataType::Int64 => Self::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Timestamp => {
                Self::Time(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            _ => Self::Text(column.as_string::<i64>().value(row).into()),
        }
    }

    pub(super) fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Time(micros) => Value::Timestamp(*micros),
            Self::Text(text) => Value::Text(text.clone()),
        })
    }
}

/// Rows that can add nothing to the groups.
#[derive(Debug)]
pub(super) enum Hide {
    Nothing,
    /// Those that it finds.
    Of(Filter),
    /// Those that it does not find.
    AllBut(Filter),
}

/// Groups in the order in which they were met.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    view: &'a View,
    by: &'a GroupBy,
    per_group: usize,
    known: HashMap<Key, usize>,
    lists: Vec<(Key, Vec<Found>)>,
    /// Those that have become full and are not hidden yet.
    full: Vec<usize>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(by: &'a GroupBy, per_group: usize, view: &'a View) -> Self {
        let (known, lists, full) = (HashMap::new(), Vec::new(), Vec::new());
        Self { view, by, per_group, known, lists, full }
    }

    /// Adds rows, each to its group unless that is full.
    pub(super) fn take(&mut self, block: Vec<Found>) -> Result<()> {
        let places: Vec<_> = block.iter().map(|found| found.place).collect();
        for (found, key) in block.into_iter().zip(self.by.keys(self.view, &places)?) {
            let next = self.lists.len();
            let group = *self.known.entry(key.clone()).or_insert(next);
            if group == next {
                self.lists.push((key, Vec::new()));
            }
            let list = &mut self.lists[group].1;
            if list.len() < self.per_group {
                list.push(found);
                if list.len() == self.per_group {
                    self.full.push(group);
                }
            }
        }
        Ok(())
    }

    /// What is to be hidden before more is taken; none when the first `count` groups are whole.
    pub(super) fn hide(&mut self, count: usize) -> Option<Hide> {
        if self.lists.len() < count {
            let full = std::mem::take(&mut self.full);
            let filter = self.filter(full.iter().map(|group| &self.lists[*group].0));
            return Some(filter.map_or(Hide::Nothing, Hide::Of));
        }
        let lacking = self.lists[..count].iter().filter(|(_, list)| list.len() < self.per_group);
        self.filter(lacking.map(|(key, _)| key)).map(Hide::AllBut)
    }

    /// The hits of the first `count` groups, each nearest first.
    pub(super) fn into_lists(self, count: usize) -> Vec<Vec<Found>> {
        let mut lists: Vec<_> = self.lists.into_iter().take(count).map(|(_, list)| list).collect();
        lists.iter_mut().for_each(|list| list.sort_by(order));
        lists
    }

    /// Finds the rows of some groups; none for no group.
    fn filter<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Option<Filter> {
        let (mut values, mut null) = (Vec::new(), false);
        for key in keys {
            match key.value() {
                Some(value) => values.push(value),
                None => null = true,
            }
        }
        let column = || col(self.by.0.as_str());
        let is_null = null.then(|| column().is_null());
        match (values.is_empty(), is_null) {
            (true, is_null) => is_null,
            (false, None) => Some(column().is_in(values)),
            (false, Some(is_null)) => Some(column().is_in(values).or(is_null)),
        }
    }
}
