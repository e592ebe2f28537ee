//! Types of JSON fields, inferred from some lines.
//!
//! The first kind that a field is seen with decides; whole numbers widen to numbers with
//! decimals. Fields keep the order in which they are first seen.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::types::{DataType, IdType, VectorType};

use super::ReadOptions;
use super::choose::{Found, Kind};
use super::json_columns::sparse;

/// Most fields that are told apart.
pub(super) const MAX_FIELDS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Sampler {
    fields: Vec<Field>,
    positions: std::collections::HashMap<String, usize>,
}

#[derive(Debug)]
struct Field {
    name: String,
    seen: Seen,
    /// Length of the first list of numbers.
    length: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Null,
    Bool,
    /// Whole and not negative: the only numbers that are ids.
    Unsigned,
    Int,
    Float,
    Text,
    EmptyList,
    Texts,
    Numbers,
    /// An object whose keys are indices and whose values are numbers.
    Weights,
    Other,
}

impl Sampler {
    /// Takes a line into account; one that is not a JSON object tells nothing.
    pub(super) fn see(&mut self, line: &[u8]) {
        let Ok(Object(object)) = serde_json::from_slice(line) else {
            return;
        };
        for (name, value) in object {
            let seen = Seen::of(&value);
            let position = match self.positions.get(&name) {
                Some(position) => *position,
                None if self.fields.len() >= MAX_FIELDS => continue,
                None => {
                    self.positions.insert(name.clone(), self.fields.len());
                    self.fields.push(Field { name, seen: Seen::Null, length: None });
                    self.fields.len() - 1
                }
            };
            let field = &mut self.fields[position];
            field.seen = field.seen.widened(seen);
            if let (Seen::Numbers, Value::Array(list)) = (seen, &value) {
                field.length.get_or_insert(list.len());
            }
        }
    }

    pub(super) fn vector_length(&self, field: usize) -> Option<usize> {
        self.fields.get(field).and_then(|field| field.length)
    }

    pub(super) fn found(&self, options: &ReadOptions) -> Vec<Found> {
        let unseen = options.types.iter().filter(|(name, _)| !self.positions.contains_key(name));
        let unseen = unseen.map(|(name, data_type)| Found {
            name: name.clone(),
            type_name: data_type.to_string(),
            kind: Kind::Attribute(*data_type),
            id_type: None,
        });
        self.fields.iter().map(|field| describe(field, options)).chain(unseen).collect()
    }
}

fn describe(field: &Field, options: &ReadOptions) -> Found {
    let known = options.types.iter().find(|(name, _)| *name == field.name);
    let named = options.columns.iter().flatten().any(|name| *name == field.name);
    let kind = match (known, field.seen) {
        (_, Seen::Numbers) => Kind::Vector(VectorType::F32),
        (Some((_, data_type)), _) => Kind::Attribute(*data_type),
        (None, Seen::Null) if named => Kind::Attribute(DataType::Utf8),
        (None, Seen::Null | Seen::Other) => Kind::Unsupported,
        (None, Seen::Bool) => Kind::Attribute(DataType::Bool),
        (None, Seen::Unsigned | Seen::Int) => Kind::Attribute(DataType::Int64),
        (None, Seen::Float) => Kind::Attribute(DataType::Float64),
        (None, Seen::Text) => Kind::Attribute(DataType::Utf8),
        (None, Seen::EmptyList | Seen::Texts) => Kind::Attribute(DataType::ListUtf8),
        (None, Seen::Weights) => Kind::Attribute(DataType::Sparse),
    };
    let id_type = match field.seen {
        Seen::Unsigned | Seen::Int => Some(IdType::U64),
        Seen::Text => Some(IdType::Utf8),
        _ => None,
    };
    Found { name: field.name.clone(), type_name: field.seen.to_string(), kind, id_type }
}

impl Seen {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_u64() => Self::Unsigned,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(list) if list.is_empty() => Self::EmptyList,
            Value::Array(list) if list.iter().all(Value::is_number) => Self::Numbers,
            Value::Array(list) if list.iter().all(|item| item.is_string() || item.is_null()) => {
                Self::Texts
            }
            Value::Object(object) if !object.is_empty() && sparse(value).is_some() => Self::Weights,
            Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }

    fn widened(self, seen: Self) -> Self {
        match (self, seen) {
            (Self::Null, seen) => seen,
            (Self::EmptyList, list @ (Self::Texts | Self::Numbers)) => list,
            (Self::Unsigned, Self::Int) => Self::Int,
            (Self::Unsigned | Self::Int, Self::Float) => Self::Float,
            (first, _) => first,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null in the first lines",
            Self::Bool => "boolean",
            Self::Unsigned | Self::Int => "integer",
            Self::Float => "number",
            Self::Text => "string",
            Self::EmptyList => "empty list",
            Self::Texts => "list of strings",
            Self::Numbers => "list of numbers",
            Self::Weights => "object of indices and weights",
            Self::Other => "object or mixed list",
        })
    }
}

/// The fields of an object in their order.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
