//! Columns of sparse vectors: what others have, made canonical, and a view of the canonical form.
//!
//! Canonical is `LargeList<Struct{index: uint32, value: float32}>`, indices ascending and no weight
//! zero.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType as ArrowType;

use super::normalize::index as ends;
use crate::error::{Error, Result};
use crate::types::sparse::{canonical, list};

/// The rows of a canonical column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SparseRows<'a> {
    array: &'a dyn Array,
    offsets: &'a [i64],
    indices: &'a [u32],
    weights: &'a [f32],
}

impl<'a> SparseRows<'a> {
    /// Those of `array`; `None` when it is no canonical column.
    pub(crate) fn of(array: &'a dyn Array) -> Option<Self> {
        let lists = array.as_list_opt::<i64>()?;
        let items = lists.values().as_struct_opt()?;
        let [indices, weights] = items.columns() else { return None };
        let indices = indices.as_primitive_opt::<UInt32Type>()?.values();
        let weights = weights.as_primitive_opt::<Float32Type>()?.values();
        Some(Self { array, offsets: lists.value_offsets(), indices, weights })
    }

    pub(crate) fn len(&self) -> usize {
        self.array.len()
    }

    /// Indices and weights of a row; none of a null.
    pub(crate) fn at(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        if self.array.is_null(row) {
            return (&[], &[]);
        }
        let at = |offset: Option<&i64>| offset.map_or(0, |at| usize::try_from(*at).unwrap_or(0));
        let range = at(self.offsets.get(row))..at(self.offsets.get(row + 1));
        let indices = self.indices.get(range.clone()).unwrap_or(&[]);
        (indices, self.weights.get(range).unwrap_or(&[]))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u32], &'a [f32])> {
        (0..self.len()).map(move |row| self.at(row))
    }
}

/// A canonical column of what `array` holds: lists of (index, weight) structs, maps from index to
/// weight, or structs of a list of indices and a list of weights; `None` for anything else.
pub(super) fn normalize(
    name: &str,
    array: &ArrayRef,
    place: &dyn Fn(usize) -> u64,
) -> Result<Option<ArrayRef>> {
    let Some(pairs) = Pairs::of(array) else { return Ok(None) };
    let (mut lengths, mut indices, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let mut row_pairs = Vec::new();
    for row in 0..array.len() {
        row_pairs.clear();
        if array.is_valid(row) {
            let wrong = |what: String| {
                Error::invalid(format!("column {name:?} row {}: {what}", place(row)))
            };
            pairs.read(row, &mut row_pairs).map_err(wrong)?;
            canonical(&mut row_pairs).map_err(|fault| wrong(fault.to_string()))?;
        }
        lengths.push(row_pairs.len());
        indices.extend(row_pairs.iter().map(|pair| pair.0));
        weights.extend(row_pairs.iter().map(|pair| pair.1));
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Some(list(offsets, indices, weights, array.logical_nulls())))
}

/// Checks a column that has the canonical type already.
pub(super) fn check(
    name: &str,
    array: &ArrayRef,
    place: &dyn Fn(usize) -> u64,
) -> Result<ArrayRef> {
    let good = |(indices, weights): (&[u32], &[f32])| {
        indices.is_sorted_by(|a, b| a < b)
            && weights.iter().all(|weight| weight.is_finite() && *weight != 0.0)
            && indices.len() <= crate::types::sparse::MAX_SPARSE_WEIGHTS
    };
    match SparseRows::of(array.as_ref()) {
        Some(rows) if rows.iter().all(good) => Ok(array.clone()),
        _ => Ok(normalize(name, array, place)?.unwrap_or_else(|| array.clone())),
    }
}

/// Lists of indices and of weights, which may be one list.
struct Pairs {
    lists: [Lists; 2],
}

/// Where the elements of each row lie, and what they are.
struct Lists {
    starts: Vec<usize>,
    values: ArrayRef,
}

impl Pairs {
    fn of(array: &ArrayRef) -> Option<Self> {
        let pair = |items: &StructArray| match items.columns() {
            [indices, weights] => Some([indices.clone(), weights.clone()]),
            _ => None,
        };
        let known = |values: &[ArrayRef; 2]| {
            use ArrowType::{Float32, Float64, Int32, Int64, UInt32, UInt64};
            matches!(values[0].data_type(), Int32 | Int64 | UInt32 | UInt64)
                && matches!(values[1].data_type(), Float32 | Float64)
        };
        if let Some(both) = array.as_struct_opt() {
            let lists = pair(both)?;
            let [indices, weights] = [Lists::of(&lists[0])?, Lists::of(&lists[1])?];
            return known(&[indices.values.clone(), weights.values.clone()])
                .then_some(Self { lists: [indices, weights] });
        }
        let lists = Lists::of(array)?;
        let values = pair(lists.values.as_struct_opt()?)?;
        if !known(&values) || lists.values.null_count() > 0 {
            return None;
        }
        let lists = values.map(|values| Lists { starts: lists.starts.clone(), values });
        Some(Self { lists })
    }

    /// Appends the pairs of a row.
    fn read(&self, row: usize, pairs: &mut Vec<(u32, f32)>) -> Result<(), String> {
        let range = |list: &Lists| list.starts[row]..list.starts[row + 1];
        let [indices, weights] = &self.lists;
        if range(indices).len() != range(weights).len() {
            let (indices, weights) = (range(indices).len(), range(weights).len());
            return Err(format!("{indices} indices and {weights} weights; give a weight for each"));
        }
        for (index, weight) in range(indices).zip(range(weights)) {
            let null = indices.values.is_null(index) || weights.values.is_null(weight);
            if null {
                return Err("an index or weight is null; leave it out instead".into());
            }
            pairs.push((number(&indices.values, index)?, float(&weights.values, weight)));
        }
        Ok(())
    }
}

impl Lists {
    fn of(array: &ArrayRef) -> Option<Self> {
        fn starts<T: Copy + TryInto<usize>>(offsets: &[T]) -> Vec<usize> {
            offsets.iter().map(|at| (*at).try_into().unwrap_or(0)).collect()
        }
        let (starts, values): (Vec<usize>, ArrayRef) = match array.data_type() {
            ArrowType::List(_) => {
                let list = array.as_list::<i32>();
                (starts(list.value_offsets()), list.values().clone())
            }
            ArrowType::LargeList(_) => {
                let list = array.as_list::<i64>();
                (starts(list.value_offsets()), list.values().clone())
            }
            ArrowType::Map(_, _) => {
                let map = array.as_map();
                (starts(map.value_offsets()), std::sync::Arc::new(map.entries().clone()))
            }
            _ => return None,
        };
        let (_, end) = ends(&starts);
        (end <= values.len() && starts.is_sorted()).then_some(Self { starts, values })
    }
}

/// An index as u32.
fn number(values: &ArrayRef, at: usize) -> Result<u32, String> {
    let number = match values.data_type() {
        ArrowType::UInt32 => return Ok(values.as_primitive::<UInt32Type>().value(at)),
        ArrowType::Int32 => i128::from(values.as_primitive::<Int32Type>().value(at)),
        ArrowType::UInt64 => i128::from(values.as_primitive::<UInt64Type>().value(at)),
        _ => i128::from(values.as_primitive::<Int64Type>().value(at)),
    };
    u32::try_from(number).map_err(|_range| format!("index {number} is outside 0 to {}", u32::MAX))
}

/// A weight as f32, infinite when it is too large.
#[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
fn float(values: &ArrayRef, at: usize) -> f32 {
    match values.data_type() {
        ArrowType::Float32 => values.as_primitive::<Float32Type>().value(at),
        _ => values.as_primitive::<Float64Type>().value(at) as f32,
    }
}
