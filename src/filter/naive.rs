//! Filters row by row, in three-valued logic and by trying everything: what tests and the fuzz target
//! compare an evaluation with.

use std::cmp::Ordering::{self, Equal, Greater, Less};
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, TimestampMicrosecondArray,
    UInt64Array,
};

use super::ast::{Comparison, Node, Op, Test};
use super::{BoundColumn, Filter, Known, Value};
use crate::error::Result;
use crate::types::{Column, DataType, IdType, SparseVector, time};

/// The columns of a row, one of each type at least.
pub(super) fn columns() -> Vec<Column> {
    let column = |name: &str, data_type| Column { name: name.into(), data_type, text: false };
    vec![
        column("flag", DataType::Bool),
        column("n", DataType::Int64),
        column("x", DataType::Float64),
        column("s", DataType::Utf8),
        column("t", DataType::Timestamp),
        column("tags", DataType::ListUtf8),
        column("splade", DataType::Sparse),
        column("a \"b\"", DataType::Int64),
    ]
}

/// A row of the columns above; the last of them is always null.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) flag: Option<bool>,
    pub(super) n: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) s: Option<String>,
    pub(super) t: Option<i64>,
    pub(super) tags: Option<Vec<Option<String>>>,
    pub(super) splade: Option<SparseVector>,
}

pub(super) fn array(rows: &[Row], column: &BoundColumn) -> ArrayRef {
    let name = match column {
        BoundColumn::Id(IdType::U64) => "id",
        BoundColumn::Id(IdType::Utf8) => "text id",
        BoundColumn::Attribute(column) => column.name.as_str(),
    };
    let rows = rows.iter();
    match name {
        "id" => Arc::new(rows.map(|row| row.id).collect::<UInt64Array>()),
        "text id" => {
            Arc::new(rows.map(|row| Some(row.id.to_string())).collect::<LargeStringArray>())
        }
        "flag" => Arc::new(rows.map(|row| row.flag).collect::<BooleanArray>()),
        "n" => Arc::new(rows.map(|row| row.n).collect::<Int64Array>()),
        "x" => Arc::new(rows.map(|row| row.x).collect::<Float64Array>()),
        "s" => Arc::new(rows.map(|row| row.s.clone()).collect::<LargeStringArray>()),
        "t" => Arc::new(
            rows.map(|row| row.t).collect::<TimestampMicrosecondArray>().with_timezone("UTC"),
        ),
        "tags" => {
            let mut lists = LargeListBuilder::new(LargeStringBuilder::new());
            for row in rows {
                for tag in row.tags.iter().flatten() {
                    lists.values().append_option(tag.as_ref());
                }
                lists.append(row.tags.is_some());
            }
            Arc::new(lists.finish())
        }
        "splade" => SparseVector::column(rows.map(|row| row.splade.as_ref())),
        _ => Arc::new(Int64Array::new_null(rows.len())),
    }
}

/// Of each row whether the evaluation of the engine finds it.
pub(super) fn found(filter: &Filter, rows: &[Row], id_type: IdType) -> Result<Vec<bool>> {
    let bound = filter.bind(&columns(), Some(id_type))?;
    let words = bound
        .evaluate(rows.len(), &mut |_, _| Ok(Known::Open), &mut |column| Ok(array(rows, column)))?;
    assert_eq!(words.len(), rows.len().div_ceil(64));
    let behind = words.iter().map(|word| word.count_ones()).sum::<u32>();
    let found: Vec<bool> =
        (0..rows.len()).map(|row| words[row / 64] >> (row % 64) & 1 == 1).collect();
    assert_eq!(behind as usize, found.iter().filter(|found| **found).count());
    Ok(found)
}

/// Of each row whether the filter is true there; it must be one that the columns agree with.
pub(super) fn expected(filter: &Filter, rows: &[Row], id_type: IdType) -> Vec<bool> {
    rows.iter().map(|row| truth(filter, row, id_type) == Some(true)).collect()
}

pub(super) type Truth = Option<bool>;

pub(super) fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

pub(super) fn and(a: Truth, b: Truth) -> Truth {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

pub(super) fn or(a: Truth, b: Truth) -> Truth {
    not(and(not(a), not(b)))
}

fn truth(filter: &Filter, row: &Row, id_type: IdType) -> Truth {
    let mut truths: Vec<Truth> = Vec::new();
    for node in &filter.nodes {
        let mut children = |count: usize| truths.split_off(truths.len() - count);
        let truth = match node {
            Node::Always(value) => Some(*value),
            Node::Test(test) => test_truth(test, row, id_type),
            Node::Not => not(children(1)[0]),
            Node::And(count) => children(*count).into_iter().fold(Some(true), and),
            Node::Or(count) => children(*count).into_iter().fold(Some(false), or),
        };
        truths.push(truth);
    }
    assert_eq!(truths.len(), 1, "one tree");
    truths[0]
}

fn test_truth(test: &Test, row: &Row, id_type: IdType) -> Truth {
    let cell = match (&*test.column, id_type) {
        ("id", IdType::Utf8) => row.id.to_string().into(),
        (column, _) => cell(row, column),
    };
    let compare = |op: &str, value: &Value| match (&cell, value) {
        // Beside times a text is one.
        (Value::Timestamp(_), Value::Text(text)) => {
            compare(&cell, op, &time::parse(text).map_or(Value::Null, Value::Timestamp))
        }
        _ => compare(&cell, op, value),
    };
    let text = |holds: &dyn Fn(&str) -> bool| match &cell {
        Value::Text(text) => Some(holds(text)),
        _ => None,
    };
    let tags = |holds: &dyn Fn(&[Option<String>]) -> bool| row.tags.as_deref().map(holds);
    let is_in = |tags: &[Option<String>], value: &str| {
        tags.iter().flatten().any(|tag| tag.as_str() == value)
    };
    match &test.op {
        Op::Truth => row.flag,
        Op::Compare(comparison, value) => compare(Comparison::symbol(*comparison), value),
        Op::Between(low, high) => and(compare(">=", low), compare("<=", high)),
        Op::In(values) => values.iter().map(|value| compare("=", value)).fold(Some(false), or),
        Op::Null => Some(match &*test.column {
            "tags" => row.tags.is_none(),
            "splade" => row.splade.is_none(),
            _ => cell == Value::Null,
        }),
        Op::Like { pattern, escape, ignore_case } => {
            text(&|text| like(pattern, *escape, *ignore_case, text))
        }
        Op::StartsWith(prefix) => text(&|text| text.starts_with(&**prefix)),
        Op::Contains(part) if *test.column == *"tags" => tags(&|tags| is_in(tags, part)),
        Op::Contains(part) => text(&|text| text.contains(&**part)),
        Op::HasAny(values) => tags(&|tags| values.iter().any(|value| is_in(tags, value))),
        Op::HasAll(values) => tags(&|tags| values.iter().all(|value| is_in(tags, value))),
    }
}

pub(super) fn cell(row: &Row, column: &str) -> Value {
    match column {
        "id" => row.id.into(),
        "flag" => row.flag.into(),
        "n" => row.n.into(),
        "x" => row.x.into(),
        "s" => row.s.clone().into(),
        "t" => row.t.map_or(Value::Null, Value::Timestamp),
        _ => Value::Null,
    }
}

/// The order of a whole number and a float, exactly.
fn order_int_float(int: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Below 2^127 the whole part of a float fits.
    let limit = 2f64.powi(127);
    if float >= limit {
        return Some(Less);
    }
    if float < -limit {
        return Some(Greater);
    }
    #[allow(clippy::cast_possible_truncation, reason = "a whole number in the range of i128")]
    let whole = float.trunc() as i128;
    Some(int.cmp(&whole).then(if float.fract() > 0.0 {
        Less
    } else if float.fract() < 0.0 {
        Greater
    } else {
        Equal
    }))
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => order_int_float(*a, *b),
        (Value::Float(a), Value::Int(b)) => order_int_float(*b, *a).map(Ordering::reverse),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        other => panic!("{other:?} should have been refused"),
    }
}

pub(super) fn compare(a: &Value, op: &str, b: &Value) -> Truth {
    if *a == Value::Null || *b == Value::Null {
        return None;
    }
    let order = order(a, b);
    Some(match op {
        "=" => order.is_some_and(Ordering::is_eq),
        "<>" => !order.is_some_and(Ordering::is_eq),
        "<" => order.is_some_and(Ordering::is_lt),
        "<=" => order.is_some_and(Ordering::is_le),
        ">" => order.is_some_and(Ordering::is_gt),
        _ => order.is_some_and(Ordering::is_ge),
    })
}

/// A piece of a pattern.
enum Piece {
    Any,
    One,
    This(char),
}

/// LIKE, from each place of the text on: those that the pattern so far may reach.
pub(super) fn like(pattern: &str, escape: Option<char>, ignore_case: bool, text: &str) -> bool {
    let fold = |c: char| {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(lower), None) if ignore_case => lower,
            _ => c,
        }
    };
    let text: Vec<char> = text.chars().map(fold).collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut pattern = pattern.chars();
    while let Some(c) = pattern.next() {
        let piece = match c {
            c if Some(c) == escape => Piece::This(pattern.next().map_or(c, fold)),
            '%' => Piece::Any,
            '_' => Piece::One,
            c => Piece::This(fold(c)),
        };
        if matches!(piece, Piece::Any) {
            let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
            reached[first..].fill(true);
            continue;
        }
        let fits = |at: usize| match piece {
            Piece::This(c) => text[at] == c,
            _ => true,
        };
        for at in (0..text.len()).rev() {
            reached[at + 1] = reached[at] && fits(at);
        }
        reached[0] = false;
    }
    reached[text.len()]
}
