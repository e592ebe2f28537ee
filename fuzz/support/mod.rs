//! Rows for the databases of targets.

use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{Collection, Result, SparseVector};

/// Rows with a value of every kind, `count` of them from the number `from` on.
pub(crate) fn fill(docs: &Collection, from: u64, count: u64) -> Result<()> {
    let numbers = from..from + count;
    let ids: Vec<String> = numbers.clone().map(|number| number.to_string()).collect();
    let vectors: Vec<f32> =
        (from * 8..(from + count) * 8).map(|at| (at * 37 % 101) as f32 - 50.0).collect();
    let notes = numbers.clone().map(|number| {
        (number % 5 > 0).then(|| format!("note {number} of a row, rust and {}", number % 17))
    });
    let years = numbers.clone().map(|number| (number % 7 > 0).then_some(number as i64 % 23));
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    let mut weights = Vec::new();
    for number in numbers {
        tags.append_value((0..number % 4).map(|at| Some(["a", "b", "c"][at as usize])));
        let pairs = (0..number % 6).map(|at| ((at * 3 + number % 2) as u32, at as f32 + 0.5));
        weights.push(SparseVector::from_pairs(pairs)?);
    }
    let columns: [(&str, ArrayRef); 4] = [
        ("note", Arc::new(LargeStringArray::from_iter(notes))),
        ("year", Arc::new(Int64Array::from_iter(years))),
        ("tags", Arc::new(tags.finish())),
        ("splade", SparseVector::column(weights.iter().map(Some))),
    ];
    let attributes = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    docs.upsert(&ids[..], &vectors, &attributes).map(drop)
}
