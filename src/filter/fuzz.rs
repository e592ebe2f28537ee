//! A door for fuzzing: bytes as a small group of rows and the text of a filter over them.

use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, LargeStringArray, UInt64Array};

use super::{BoundColumn, Filter, Known};
use crate::types::{Column, DataType, IdType};

/// Rows of the group.
const ROWS: usize = 70;

/// Reads the bytes behind the first 16 as a filter, prints it, reads that again, and evaluates it over rows
/// made of the first 16.
///
/// # Panics
/// When what was printed is read as another filter.
#[doc(hidden)]
pub fn filter(bytes: &[u8]) {
    let Some((seed, text)) = bytes.split_at_checked(16) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let read = match serde_json::from_str(text) {
        Ok(json) => Filter::from_json(&json),
        Err(_) => Filter::parse(text),
    };
    let Ok(read) = read else { return };
    let printed = read.to_string();
    assert_eq!(Filter::parse(&printed).ok().as_ref(), Some(&read), "{printed}");
    let column = |name: &str, data_type| Column { name: name.into(), data_type, text: false };
    let columns = [
        column("n", DataType::Int64),
        column("x", DataType::Float64),
        column("s", DataType::Utf8),
        column("tags", DataType::ListUtf8),
    ];
    let Ok(bound) = read.bind(&columns, Some(IdType::U64)) else { return };
    let words =
        bound.evaluate(ROWS, &mut |_, _| Ok(Known::Open), &mut |column| Ok(values(seed, column)));
    assert!(words.is_ok_and(|words| words.len() == ROWS.div_ceil(64)), "{printed}");
}

fn values(seed: &[u8], column: &BoundColumn) -> ArrayRef {
    let byte = |row: usize| seed[row % seed.len()] ^ u8::try_from(row).unwrap_or(0);
    let bytes = (0..ROWS).map(|row| (!byte(row).is_multiple_of(5)).then(|| byte(row)));
    let text = |byte: u8| char::from(byte % 128).to_string();
    match column {
        BoundColumn::Id(_) => Arc::new((0..70).collect::<UInt64Array>()),
        BoundColumn::Attribute(column) => match column.data_type {
            DataType::Int64 => {
                Arc::new(bytes.map(|byte| byte.map(i64::from)).collect::<Int64Array>())
            }
            DataType::Float64 => {
                let float = |byte: u8| f64::from(byte) / f64::from(byte % 7);
                Arc::new(bytes.map(|byte| byte.map(float)).collect::<Float64Array>())
            }
            DataType::Utf8 => {
                Arc::new(bytes.map(|byte| byte.map(text)).collect::<LargeStringArray>())
            }
            _ => {
                let mut lists = LargeListBuilder::new(LargeStringBuilder::new());
                for byte in bytes {
                    for at in 0..byte.unwrap_or(0) % 4 {
                        lists.values().append_value(text(at + 95));
                    }
                    lists.append(byte.is_some());
                }
                Arc::new(lists.finish())
            }
        },
    }
}
