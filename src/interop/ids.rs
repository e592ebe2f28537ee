//! Ids out of Arrow columns: integers of any width, strings of any layout.
//!
//! Judges every row; the caller takes the good ones.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types};
use arrow_schema::DataType as ArrowType;

use crate::types::Ids;

use super::rows::text_id;

/// A verdict a row: none = good.
pub(super) type Faults = Vec<Option<String>>;

/// Ids of all rows of a batch, good or not.
pub(super) enum FoundIds<'a> {
    U64(Vec<u64>),
    Utf8(Vec<&'a str>),
}

impl FoundIds<'_> {
    pub(super) fn take(self, good: &[usize]) -> Ids<'static> {
        match self {
            Self::U64(ids) => good.iter().map(|row| ids[*row]).collect::<Vec<u64>>().into(),
            Self::Utf8(ids) => {
                good.iter().map(|row| ids[*row].to_owned()).collect::<Vec<String>>().into()
            }
        }
    }
}

pub(super) fn judge_ids<'a>(column: &'a ArrayRef, faults: &mut Faults) -> FoundIds<'a> {
    macro_rules! integers {
        ($($arrow:ident => $type:ty),*) => {
            match column.data_type() {
                $(ArrowType::$arrow => {
                    let values = column.as_primitive::<$type>();
                    FoundIds::U64(judge(column.len(), faults, |row| {
                        integer_id((!values.is_null(row)).then(|| values.value(row)))
                    }))
                })*
                _ => FoundIds::Utf8(judge_texts(column, faults)),
            }
        };
    }
    integers!(
        Int8 => types::Int8Type, Int16 => types::Int16Type,
        Int32 => types::Int32Type, Int64 => types::Int64Type,
        UInt8 => types::UInt8Type, UInt16 => types::UInt16Type,
        UInt32 => types::UInt32Type, UInt64 => types::UInt64Type
    )
}

fn judge<T: Default>(
    rows: usize,
    faults: &mut Faults,
    id: impl Fn(usize) -> Result<T, String>,
) -> Vec<T> {
    (0..rows)
        .map(|row| {
            id(row).unwrap_or_else(|reason| {
                faults[row] = Some(reason);
                T::default()
            })
        })
        .collect()
}

fn integer_id<T: TryInto<u64> + Copy + std::fmt::Display>(id: Option<T>) -> Result<u64, String> {
    let id = id.ok_or("id is null")?;
    id.try_into().map_err(|_unfit| format!("id is {id}, ids are not negative"))
}

fn judge_texts<'a>(column: &'a ArrayRef, faults: &mut Faults) -> Vec<&'a str> {
    let rows = column.len();
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        let keys = dictionary.keys();
        if dictionary.values().is_empty() {
            return judge(rows, faults, |_| Err("id is null".to_owned()));
        }
        let positions = dictionary.normalized_keys();
        let mut unused = vec![None; dictionary.values().len()];
        let values = judge_texts(dictionary.values(), &mut unused);
        return judge(rows, faults, |row| {
            if keys.is_null(row) {
                return Err("id is null".to_owned());
            }
            let position = positions[row];
            unused[position].clone().map_or(Ok(values[position]), Err)
        });
    }
    let text = |row: usize| {
        if column.is_null(row) {
            None
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            Some(texts.value(row))
        } else if let Some(texts) = column.as_string_opt::<i64>() {
            Some(texts.value(row))
        } else {
            column.as_string_view_opt().map(|texts| texts.value(row))
        }
    };
    judge(rows, faults, |row| text_id(text(row)))
}
