//! Arrow record batches of foreign files → [`ImportBatch`]es.
//!
//! Judges each row (null or ragged vector, null or negative id), then gathers the good ones.
//! Attribute arrays of supported kinds pass through as they are; the engine brings them to the
//! column types. Whatever the arrays claim, a row is read through checked ranges.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch, types};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType as ArrowType, Field, Schema};

use crate::collection::import::{ImportBatch, Rejected};
use crate::error::Result;
use crate::types::{DataType, IdType, MAX_DIMENSION, VectorType, Vectors};

use super::choose::{Choice, Found, Kind, choose};
use super::ids::{Faults, judge_ids};
use super::origin::Origin;
use super::rows::{ragged, take, ungathered};
use super::{Info, ReadOptions};

/// How the record batches of one file become import batches.
#[derive(Debug)]
pub(super) struct Converter {
    choice: Choice,
    dimension: Option<usize>,
    next_row: u64,
}

impl Converter {
    pub(super) fn new(
        path: &Path,
        schema: &Schema,
        options: &ReadOptions,
        want_vector: bool,
        info: &mut Info,
    ) -> Result<Self> {
        let found: Vec<Found> = schema.fields().iter().map(|field| describe(field)).collect();
        let choice = choose(path, &found, options, want_vector, info)?;
        let dimension = choice.vector.and_then(|at| match schema.field(at).data_type() {
            ArrowType::FixedSizeList(_, length) => usize::try_from(*length).ok(),
            _ => None,
        });
        info.dimension = dimension;
        info.origin = Origin::of(schema.metadata());
        Ok(Self { choice, dimension, next_row: 0 })
    }

    /// Positions of the columns that are read, ascending.
    pub(super) fn projection(&self) -> Vec<usize> {
        let Choice { id, vector, kept } = &self.choice;
        let mut columns: Vec<usize> = kept.iter().chain(id).chain(vector).copied().collect();
        columns.sort_unstable();
        columns
    }

    /// Renumbers the chosen columns for batches that hold only those of
    /// [`projection`](Self::projection).
    pub(super) fn project(&mut self) {
        let projection = self.projection();
        let renumber = |column: &mut usize| {
            *column = projection.binary_search(column).unwrap_or(*column);
        };
        let Choice { id, vector, kept } = &mut self.choice;
        kept.iter_mut().chain(id).chain(vector).for_each(renumber);
    }

    /// Elements of each vector, once known.
    pub(super) fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    /// Learns the dimension from the first good vector of a batch that is converted later.
    pub(super) fn peek(&mut self, batch: &RecordBatch) {
        if let (Some(vector), None) = (self.choice.vector, self.dimension) {
            let mut faults = vec![None; batch.num_rows()];
            self.judge_vectors(batch.column(vector), &mut faults);
        }
    }

    pub(super) fn convert(&mut self, batch: &RecordBatch) -> Result<ImportBatch> {
        let rows = batch.num_rows();
        let mut faults: Faults = vec![None; rows];
        let ids = self.choice.id.map(|id| judge_ids(batch.column(id), &mut faults));
        let ranges =
            self.choice.vector.map(|vector| self.judge_vectors(batch.column(vector), &mut faults));
        let mut good = Vec::with_capacity(rows);
        let mut source_rows = Vec::with_capacity(rows);
        let mut rejected = Vec::new();
        for (index, fault) in faults.into_iter().enumerate() {
            let row = self.next_row + index as u64;
            match fault {
                None => {
                    good.push(index);
                    source_rows.push(row);
                }
                Some(reason) => rejected.push(Rejected { row, reason }),
            }
        }
        self.next_row += rows as u64;
        let vectors = match (self.choice.vector, ranges) {
            (Some(vector), Some(ranges)) => {
                gather(batch.column(vector), &ranges, &good, self.dimension.unwrap_or(0))
            }
            _ => Vec::<f32>::new().into(),
        };
        let ids = match ids {
            None => source_rows.clone().into(),
            Some(ids) => ids.take(&good),
        };
        let attributes = self.attributes(batch, &good)?;
        Ok(ImportBatch { ids, vectors, attributes, source_rows, rejected })
    }

    fn attributes(&self, batch: &RecordBatch, good: &[usize]) -> Result<Option<RecordBatch>> {
        if self.choice.kept.is_empty() {
            return Ok(None);
        }
        let schema = batch.schema();
        let fields: Vec<Field> = self
            .choice
            .kept
            .iter()
            .map(|column| {
                let field = schema.field(*column);
                Field::new(field.name(), field.data_type().clone(), true)
            })
            .collect();
        let columns: Result<Vec<ArrayRef>> =
            self.choice.kept.iter().map(|column| take(batch.column(*column), good)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns?).map(Some).map_err(ungathered)
    }

    /// Where each vector lies in the child array; faults are noted.
    fn judge_vectors(&mut self, lists: &ArrayRef, faults: &mut Faults) -> Vec<(usize, usize)> {
        let (child, ranges) = list_parts(lists);
        let nulls = child.nulls().filter(|nulls| nulls.null_count() > 0);
        for (index, (start, end)) in ranges.iter().copied().enumerate() {
            let fault = &mut faults[index];
            if fault.is_some() {
                continue;
            }
            let given = end.saturating_sub(start);
            if lists.is_null(index) {
                *fault = Some("vector is null".to_owned());
            } else if given == 0 || given > MAX_DIMENSION || end > child.len() {
                *fault = Some(format!(
                    "vector has {given} elements, from 1 to {MAX_DIMENSION} can be stored"
                ));
            } else if let Some(element) = null_within(nulls, start, end) {
                *fault = Some(format!("vector is null in dimension {element}"));
            } else {
                let expected = *self.dimension.get_or_insert(given);
                if given != expected {
                    *fault = Some(ragged(given, expected));
                }
            }
        }
        ranges
    }
}

fn null_within(nulls: Option<&NullBuffer>, start: usize, end: usize) -> Option<usize> {
    nulls.and_then(|nulls| (start..end).find(|at| nulls.is_null(*at)).map(|at| at - start))
}

fn describe(field: &Field) -> Found {
    let arrow = field.data_type();
    let kind = match (attribute_type(arrow), vector_type(arrow)) {
        (Some(data_type), _) => Kind::Attribute(data_type),
        (None, Some(vector_type)) => Kind::Vector(vector_type),
        (None, None) => Kind::Unsupported,
    };
    let id_type = match kind {
        Kind::Attribute(DataType::Int64) => Some(IdType::U64),
        Kind::Attribute(DataType::Utf8) => Some(IdType::Utf8),
        _ => None,
    };
    Found { name: field.name().clone(), type_name: arrow.to_string(), kind, id_type }
}

fn is_text(arrow: &ArrowType) -> bool {
    matches!(arrow, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View)
}

/// Whether arrays of this type are taken for sparse vectors: lists of structs of an index and a weight,
/// maps from index to weight, structs of a list of indices and one of weights.
fn is_sparse(arrow: &ArrowType) -> bool {
    let pair = |fields: &arrow_schema::Fields, list: bool| {
        let element = |field: &Field| match field.data_type() {
            ArrowType::List(item) | ArrowType::LargeList(item) if list => {
                Some(item.data_type().clone())
            }
            _ if list => None,
            plain => Some(plain.clone()),
        };
        let [index, weight] = &fields[..] else { return false };
        use ArrowType::{Float32, Float64, Int32, Int64, UInt32, UInt64};
        matches!(element(index), Some(Int32 | Int64 | UInt32 | UInt64))
            && matches!(element(weight), Some(Float32 | Float64))
    };
    match arrow {
        ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::Map(item, _) => {
            matches!(item.data_type(), ArrowType::Struct(fields) if pair(fields, false))
        }
        ArrowType::Struct(fields) => pair(fields, true),
        _ => false,
    }
}

/// The column type that holds arrays of this Arrow type.
fn attribute_type(arrow: &ArrowType) -> Option<DataType> {
    Some(match arrow {
        ArrowType::Boolean => DataType::Bool,
        integer if integer.is_integer() => DataType::Int64,
        ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64 => DataType::Float64,
        text if is_text(text) => DataType::Utf8,
        ArrowType::Dictionary(_, values) if is_text(values) => DataType::Utf8,
        ArrowType::Timestamp(..) | ArrowType::Date32 | ArrowType::Date64 => DataType::Timestamp,
        ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::FixedSizeList(item, _)
            if is_text(item.data_type()) =>
        {
            DataType::ListUtf8
        }
        list if is_sparse(list) => DataType::Sparse,
        _ => return None,
    })
}

/// The element type that holds vectors of this Arrow type.
fn vector_type(arrow: &ArrowType) -> Option<VectorType> {
    let (ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::FixedSizeList(item, _)) =
        arrow
    else {
        return None;
    };
    Some(match item.data_type() {
        ArrowType::Float16 => VectorType::F16,
        ArrowType::Int8 => VectorType::I8,
        ArrowType::UInt8 => VectorType::U8,
        ArrowType::Float32 | ArrowType::Float64 => VectorType::F32,
        integer if integer.is_integer() => VectorType::F32,
        _ => return None,
    })
}

/// The child of a list array and each row's range in it.
fn list_parts(lists: &ArrayRef) -> (&ArrayRef, Vec<(usize, usize)>) {
    fn pairs<O: Copy + TryInto<usize>>(offsets: &[O]) -> Vec<(usize, usize)> {
        let at = |offset: O| offset.try_into().unwrap_or(usize::MAX);
        offsets.windows(2).map(|pair| (at(pair[0]), at(pair[1]))).collect()
    }
    if let Some(list) = lists.as_list_opt::<i32>() {
        (list.values(), pairs(list.value_offsets()))
    } else if let Some(list) = lists.as_list_opt::<i64>() {
        (list.values(), pairs(list.value_offsets()))
    } else if let Some(list) = lists.as_fixed_size_list_opt() {
        let length = usize::try_from(list.value_length()).unwrap_or(0);
        let ranges = (0..list.len()).map(|row| (row * length, (row + 1) * length)).collect();
        (list.values(), ranges)
    } else {
        (lists, vec![(0, 0); lists.len()])
    }
}

/// The vectors of the good rows, in the type that keeps them best.
fn gather(
    lists: &ArrayRef,
    ranges: &[(usize, usize)],
    good: &[usize],
    dimension: usize,
) -> Vectors<'static> {
    fn rows<T: ArrowPrimitiveType, V>(
        child: &ArrayRef,
        ranges: impl Iterator<Item = (usize, usize)>,
        size: usize,
        value: impl Fn(T::Native) -> V,
    ) -> Vec<V> {
        let mut out = Vec::with_capacity(size);
        let values = child.as_primitive_opt::<T>().map_or(&[][..], |child| child.values());
        for (start, end) in ranges {
            out.extend(values.get(start..end).unwrap_or(&[]).iter().map(|element| value(*element)));
        }
        out
    }
    let (child, _) = list_parts(lists);
    let size = good.len() * dimension;
    let ranges = good.iter().map(|row| ranges[*row]);
    macro_rules! to_f32 {
        ($($arrow:ident => $type:ty),*) => {
            match child.data_type() {
                ArrowType::Float16 => rows::<types::Float16Type, _>(child, ranges, size, |v| v).into(),
                ArrowType::Int8 => rows::<types::Int8Type, _>(child, ranges, size, |v| v).into(),
                ArrowType::UInt8 => rows::<types::UInt8Type, _>(child, ranges, size, |v| v).into(),
                $(ArrowType::$arrow => rows::<$type, _>(child, ranges, size, |v| v as f32).into(),)*
                _ => Vec::<f32>::new().into(),
            }
        };
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to f32 is meant; the engine refuses what becomes infinite"
    )]
    {
        to_f32!(
            Float32 => types::Float32Type, Float64 => types::Float64Type,
            Int16 => types::Int16Type,
            Int32 => types::Int32Type, Int64 => types::Int64Type,
            UInt16 => types::UInt16Type, UInt32 => types::UInt32Type, UInt64 => types::UInt64Type
        )
    }
}
