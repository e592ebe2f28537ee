//! Whatever Arrow array a caller has, turned into the canonical array of a column type.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, LargeListArray, LargeStringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType as ArrowType, Field, TimeUnit};

use super::{null_column, sparse};
use crate::error::{Error, Result};
use crate::types::DataType;
use crate::types::naming::arrow_in_words;

/// Converts `array` to the canonical form of `wanted`; `place` is where a row stands for its writer.
///
/// Accepted: booleans as `bool`; integers of any width as `int64` (u64 where it fits); integers
/// and floats of any width as `float64`; every kind of string array, dictionaries of strings
/// included, as `utf8`; timestamps of any unit and dates as `timestamp` (a time zone names only
/// how to show the instant, an absent one means UTC); lists of strings as `list_utf8`; lists of structs
/// of an index and a weight, maps from index to weight and structs of a list of indices and one of weights as
/// `sparse`; a null array as anything.
pub(crate) fn normalize(
    name: &str,
    array: &ArrayRef,
    wanted: DataType,
    place: &dyn Fn(usize) -> u64,
) -> Result<ArrayRef> {
    if *array.data_type() == wanted.to_arrow() {
        return if wanted == DataType::Sparse {
            sparse::check(name, array, place)
        } else {
            Ok(Arc::clone(array))
        };
    }
    if *array.data_type() == ArrowType::Null {
        return Ok(null_column(wanted, array.len()));
    }
    let converted = match wanted {
        DataType::Bool => None,
        DataType::Int64 => int64(name, array)?.map(|array| Arc::new(array) as ArrayRef),
        DataType::Float64 => float64(array).map(|array| Arc::new(array) as ArrayRef),
        DataType::Utf8 => strings(array.as_ref()).map(|array| Arc::new(array) as ArrayRef),
        DataType::Timestamp => timestamps(name, array)?,
        DataType::ListUtf8 => lists(array).map(|array| Arc::new(array) as ArrayRef),
        DataType::Sparse => sparse::normalize(name, array, place)?,
    };
    converted.ok_or_else(|| Error::SchemaMismatch {
        what: format!("column {name:?}"),
        expected: wanted.in_words(),
        given: format!(
            "{}; convert them, or use a column of another name",
            arrow_in_words(array.data_type())
        ),
    })
}

fn int64(name: &str, array: &ArrayRef) -> Result<Option<Int64Array>> {
    fn widen<T: ArrowPrimitiveType>(array: &ArrayRef) -> Int64Array
    where
        T::Native: Into<i64>,
    {
        array.as_primitive::<T>().unary(Into::into)
    }
    Ok(Some(match array.data_type() {
        ArrowType::Int8 => widen::<Int8Type>(array),
        ArrowType::Int16 => widen::<Int16Type>(array),
        ArrowType::Int32 => widen::<Int32Type>(array),
        ArrowType::UInt8 => widen::<UInt8Type>(array),
        ArrowType::UInt16 => widen::<UInt16Type>(array),
        ArrowType::UInt32 => widen::<UInt32Type>(array),
        ArrowType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            values.try_unary(|value| {
                i64::try_from(value).map_err(|_overflow| {
                    Error::invalid(format!(
                        "column {name:?} holds {value}, which does not fit int64; \
                         the largest is {}",
                        i64::MAX
                    ))
                })
            })?
        }
        _ => return Ok(None),
    }))
}

fn float64(array: &ArrayRef) -> Option<Float64Array> {
    fn widen<T: ArrowPrimitiveType>(array: &ArrayRef) -> Float64Array
    where
        T::Native: Into<f64>,
    {
        array.as_primitive::<T>().unary(Into::into)
    }
    Some(match array.data_type() {
        ArrowType::Float16 => array.as_primitive::<Float16Type>().unary(half::f16::to_f64),
        ArrowType::Float32 => widen::<Float32Type>(array),
        ArrowType::Float64 => array.as_primitive::<Float64Type>().clone(),
        ArrowType::Int8 => widen::<Int8Type>(array),
        ArrowType::Int16 => widen::<Int16Type>(array),
        ArrowType::Int32 => widen::<Int32Type>(array),
        ArrowType::Int64 => array.as_primitive::<Int64Type>().unary(|value| value as f64),
        ArrowType::UInt8 => widen::<UInt8Type>(array),
        ArrowType::UInt16 => widen::<UInt16Type>(array),
        ArrowType::UInt32 => widen::<UInt32Type>(array),
        ArrowType::UInt64 => array.as_primitive::<UInt64Type>().unary(|value| value as f64),
        _ => return None,
    })
}

fn strings(array: &dyn Array) -> Option<LargeStringArray> {
    Some(match array.data_type() {
        ArrowType::Utf8 => array.as_string::<i32>().iter().collect(),
        ArrowType::LargeUtf8 => array.as_string::<i64>().clone(),
        ArrowType::Utf8View => array.as_string_view().iter().collect(),
        ArrowType::Null => LargeStringArray::new_null(array.len()),
        ArrowType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary_opt()?;
            if matches!(dictionary.values().data_type(), ArrowType::Dictionary(_, _)) {
                return None;
            }
            let values = strings(dictionary.values().as_ref())?;
            if values.is_empty() {
                return Some(LargeStringArray::new_null(array.len()));
            }
            let keys = dictionary.normalized_keys();
            let nulls = dictionary.keys().logical_nulls();
            let value = |(row, key): (usize, &usize)| {
                let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                (!null && !values.is_null(*key)).then(|| values.value(*key))
            };
            keys.iter().enumerate().map(value).collect()
        }
        _ => return None,
    })
}

fn timestamps(name: &str, array: &ArrayRef) -> Result<Option<ArrayRef>> {
    const DAY_US: i64 = 86_400_000_000;
    let scaled = |value: i64, factor: i64| {
        value.checked_mul(factor).ok_or_else(|| {
            Error::invalid(format!(
                "column {name:?} holds an instant outside the range of 64-bit microseconds"
            ))
        })
    };
    let values: TimestampMicrosecondArray = match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive::<TimestampSecondType>().try_unary(|v| scaled(v, 1_000_000))?
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().try_unary(|v| scaled(v, 1_000))?
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().clone()
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().unary(|v: i64| v.div_euclid(1_000))
        }
        ArrowType::Date32 => {
            array.as_primitive::<Date32Type>().try_unary(|v| scaled(i64::from(v), DAY_US))?
        }
        ArrowType::Date64 => array.as_primitive::<Date64Type>().try_unary(|v| scaled(v, 1_000))?,
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(values.with_timezone("UTC"))))
}

fn lists(array: &ArrayRef) -> Option<LargeListArray> {
    let rows = array.len();
    let (lengths, values): (Vec<usize>, ArrayRef) = match array.data_type() {
        ArrowType::List(_) => {
            let list = array.as_list::<i32>();
            let range = index(list.value_offsets());
            (list.offsets().lengths().collect(), list.values().slice(range.0, range.1 - range.0))
        }
        ArrowType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let range = index(list.value_offsets());
            (list.offsets().lengths().collect(), list.values().slice(range.0, range.1 - range.0))
        }
        ArrowType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            (vec![width; rows], Arc::clone(list.values()))
        }
        _ => return None,
    };
    let strings = strings(values.as_ref())?;
    let item = Arc::new(Field::new("item", ArrowType::LargeUtf8, true));
    let nulls: Option<NullBuffer> = array.nulls().cloned();
    let offsets = OffsetBuffer::from_lengths(lengths);
    LargeListArray::try_new(item, offsets, Arc::new(strings), nulls).ok()
}

/// First and last offset, as positions.
pub(super) fn index<T: Copy + TryInto<usize>>(offsets: &[T]) -> (usize, usize) {
    let at = |offset: Option<&T>| offset.and_then(|o| (*o).try_into().ok()).unwrap_or(0);
    (at(offsets.first()), at(offsets.last()))
}
