//! One JSON line into its id, its vector and the cells of its columns, without a tree of the
//! whole line: the numbers of a vector go straight to the batch.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use super::rows::text_id;

/// Fields of a line that may be unknown and are noted.
const MAX_UNKNOWN: usize = 16;

/// What a field is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Id,
    Vector,
    Column(usize),
    Skipped,
}

#[derive(Debug)]
pub(super) enum Id {
    U64(u64),
    Text(String),
}

/// A parsed line but for its vector.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: Option<Id>,
    /// One value a column, null where the field is missing.
    pub(super) cells: Vec<Value>,
    /// Names of fields that have no slot.
    pub(super) unknown: Vec<String>,
}

impl Line {
    /// Parses a line; the elements of its vector are added to `vectors`, even if it then fails.
    pub(super) fn parse(
        line: &[u8],
        slots: &HashMap<String, Slot>,
        columns: usize,
        vectors: &mut Vec<f32>,
    ) -> serde_json::Result<Self> {
        let start = vectors.len();
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let fields = Fields { slots, columns, vectors, start };
        let line = deserializer.deserialize_map(fields)?;
        deserializer.end()?;
        Ok(line)
    }
}

struct Fields<'a> {
    slots: &'a HashMap<String, Slot>,
    columns: usize,
    vectors: &'a mut Vec<f32>,
    start: usize,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut line =
            Line { id: None, cells: vec![Value::Null; self.columns], unknown: Vec::new() };
        while let Some(Name(name)) = map.next_key()? {
            match self.slots.get(name.as_ref()) {
                Some(Slot::Id) => line.id = id(map.next_value()?).map_err(A::Error::custom)?,
                Some(Slot::Vector) => {
                    self.vectors.truncate(self.start);
                    map.next_value_seed(Elements(self.vectors))?;
                }
                Some(Slot::Column(column)) => line.cells[*column] = map.next_value()?,
                Some(Slot::Skipped) => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    if line.unknown.len() < MAX_UNKNOWN {
                        line.unknown.push(name.into_owned());
                    }
                }
            }
        }
        Ok(line)
    }
}

/// A field name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn id(value: Value) -> Result<Option<Id>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(id) => text_id(Some(&id)).map(|_| ()).map(|()| Some(Id::Text(id))),
        Value::Number(number) => match number.as_u64() {
            Some(id) => Ok(Some(Id::U64(id))),
            None => Err(format!("id is {number}, number ids are whole and not negative")),
        },
        other => Err(format!("id is {other:.100}, ids are numbers or strings")),
    }
}

/// Numbers of an array, added to a vector of numbers; null adds none.
struct Elements<'a>(&'a mut Vec<f32>);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector as an array of numbers")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<f32>()? {
            self.0.push(element);
        }
        Ok(())
    }
}
