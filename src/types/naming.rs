//! What messages call ids and columns of each type: words that a caller knows, whatever language
//! the values came from.

use arrow_schema::DataType as ArrowType;

use super::{DataType, IdType};
use crate::error::Error;

impl IdType {
    /// Many ids of this kind.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::U64 => "integers",
            Self::Utf8 => "strings",
        }
    }
}

impl DataType {
    /// Many values of this type, and its name.
    pub(crate) fn in_words(self) -> String {
        let values = match self {
            Self::Bool => "truth values",
            Self::Int64 => "integers",
            Self::Float64 => "floats",
            Self::Utf8 => "strings",
            Self::Timestamp => "times",
            Self::ListUtf8 => "lists of strings",
            Self::Sparse => "sparse vectors",
        };
        format!("{values} ({self})")
    }
}

/// What values of an Arrow type are; Arrow's own name for what no column keeps.
pub(crate) fn arrow_in_words(arrow: &ArrowType) -> String {
    let known = match arrow {
        ArrowType::Boolean => DataType::Bool,
        arrow if arrow.is_integer() => DataType::Int64,
        arrow if arrow.is_floating() => DataType::Float64,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::Utf8,
        ArrowType::Dictionary(_, values) => return arrow_in_words(values),
        ArrowType::Timestamp(..) | ArrowType::Date32 | ArrowType::Date64 => DataType::Timestamp,
        ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::FixedSizeList(item, _) => {
            match item.data_type() {
                ArrowType::Struct(_) => DataType::Sparse,
                item => return format!("lists of {}", arrow_in_words(item)),
            }
        }
        other => return other.to_string(),
    };
    known.in_words()
}

/// Ids of a kind that no row of a collection has.
pub(crate) fn wrong_kind_of_id(expected: IdType, given: IdType) -> Error {
    let (expected, given) = (expected.in_words(), given.in_words());
    Error::SchemaMismatch {
        what: "ids of this collection".into(),
        expected: expected.into(),
        given: format!("{given}; convert them, or use a collection whose ids are {given}"),
    }
}
