//! The `data` of a write as a record batch: a dict of columns, a list of dicts, or an Arrow table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray, make_array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType as ArrowType, Field, Schema as ArrowSchema};
use nearfield::{Column, DataType, Error, Schema};
use numpy::{PyArray1, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};

use crate::errors::{invalid, raise, text_of, type_name, wrong_type};
use crate::ids::{contiguous, is_masked};
use crate::numbers::mapping;
use crate::{arrow_ffi, infer, sparse};

/// How deep dicts may lie within each other; one that contains itself has no end.
const MAX_DEPTH: usize = 16;
const EXPECTED: &str = "a dict of columns, a list of dicts, or a table that speaks Arrow";

/// Reads `data` for `rows` rows.
pub(crate) fn from_python(data: &Bound<'_, PyAny>, rows: usize) -> PyResult<RecordBatch> {
    let columns = if let Ok(columns) = data.cast::<PyDict>() {
        from_dict(columns)?
    } else if data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>() {
        from_dicts(data)?
    } else if let Some(array) = arrow_ffi::import(data)? {
        from_table(data, &array)?
    } else if let Some(columns) = mapping(data)? {
        from_dict(&columns)?
    } else {
        return Err(wrong_type("data", EXPECTED, data));
    };
    batch(data.py(), columns, rows)
}

/// Which columns of `batch` the schema lacks, as what they would be; and the batch without those
/// of them that hold nothing but `None`, whose type cannot be known yet.
pub(crate) fn missing(
    py: Python<'_>,
    batch: RecordBatch,
    schema: &Schema,
) -> PyResult<(RecordBatch, Vec<Column>)> {
    let known = |name: &str| schema.columns().iter().any(|column| column.name == name);
    let mut missing = Vec::new();
    let mut kept = Vec::new();
    for (index, field) in batch.schema_ref().fields().iter().enumerate() {
        let asked = missing.iter().any(|column: &Column| column.name == *field.name());
        if !known(field.name()) && !asked {
            if *field.data_type() == ArrowType::Null {
                continue;
            }
            let Some(data_type) = data_type(field.data_type()) else {
                return Err(raise(
                    py,
                    &Error::SchemaMismatch {
                        what: format!("column {:?}", field.name()),
                        expected: "bool, int64, float64, utf8, timestamp, list_utf8 or sparse"
                            .into(),
                        given: field.data_type().to_string(),
                    },
                ));
            };
            missing.push(Column { name: field.name().clone(), data_type, text: false });
        }
        kept.push(index);
    }
    match batch.project(&kept) {
        Ok(batch) => Ok((batch, missing)),
        Err(error) => Err(invalid(py, error.to_string())),
    }
}

/// The column type in which values of an Arrow type are kept.
fn data_type(arrow: &ArrowType) -> Option<DataType> {
    match arrow {
        ArrowType::Boolean => Some(DataType::Bool),
        arrow if arrow.is_integer() => Some(DataType::Int64),
        arrow if arrow.is_floating() => Some(DataType::Float64),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Some(DataType::Utf8),
        ArrowType::Dictionary(_, values) => {
            data_type(values).filter(|values| *values == DataType::Utf8)
        }
        ArrowType::Timestamp(_, _) | ArrowType::Date32 | ArrowType::Date64 => {
            Some(DataType::Timestamp)
        }
        ArrowType::List(items)
        | ArrowType::LargeList(items)
        | ArrowType::FixedSizeList(items, _) => match data_type(items.data_type()) {
            Some(DataType::Utf8) => Some(DataType::ListUtf8),
            _ if is_weight(items.data_type()) => Some(DataType::Sparse),
            _ => None,
        },
        ArrowType::Map(items, _) if is_weight(items.data_type()) => Some(DataType::Sparse),
        pair if is_pair(pair) => Some(DataType::Sparse),
        _ => None,
    }
}

/// An index and its weight: the items of a sparse vector that is a list or a map.
fn is_weight(arrow: &ArrowType) -> bool {
    let ArrowType::Struct(fields) = arrow else { return false };
    matches!(&fields[..], [index, weight]
        if index.data_type().is_integer() && weight.data_type().is_floating())
}

/// A list of indices and one of weights: a sparse vector in two parts.
fn is_pair(arrow: &ArrowType) -> bool {
    let items = |field: &Field| match field.data_type() {
        ArrowType::List(items) | ArrowType::LargeList(items) => Some(items.data_type().clone()),
        _ => None,
    };
    let ArrowType::Struct(fields) = arrow else { return false };
    let [indices, weights] = &fields[..] else { return false };
    items(indices).is_some_and(|indices| indices.is_integer())
        && items(weights).is_some_and(|weights| weights.is_floating())
}

/// A column, or where it is of dicts the columns that they are, named `outer.inner` as those of a list
/// of dicts are.
fn spread(
    py: Python<'_>,
    (name, array): (String, ArrayRef),
    depth: usize,
    columns: &mut Vec<(String, ArrayRef)>,
) -> PyResult<()> {
    let Some(dicts) = array.as_struct_opt().filter(|dicts| !is_pair(dicts.data_type())) else {
        columns.push((name, array));
        return Ok(());
    };
    if depth == MAX_DEPTH {
        return Err(invalid(py, format!("column {name:?} has dicts more than {MAX_DEPTH} deep")));
    }
    for (field, values) in dicts.fields().iter().zip(dicts.columns()) {
        let inner = format!("{name}.{}", field.name());
        let values = within(values, dicts.nulls())
            .map_err(|error| invalid(py, format!("column {inner:?}: {error}")))?;
        spread(py, (inner, values), depth + 1, columns)?;
    }
    Ok(())
}

/// The values of dicts, null where the dict is.
fn within(values: &ArrayRef, dicts: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
    if dicts.is_none() || *values.data_type() == ArrowType::Null {
        return Ok(ArrayRef::clone(values));
    }
    let nulls = NullBuffer::union(values.nulls(), dicts);
    Ok(make_array(values.to_data().into_builder().nulls(nulls).build()?))
}

fn batch(py: Python<'_>, given: Vec<(String, ArrayRef)>, rows: usize) -> PyResult<RecordBatch> {
    let mut columns = Vec::with_capacity(given.len());
    for column in given {
        spread(py, column, 0, &mut columns)?;
    }
    for (name, array) in &columns {
        if array.len() != rows {
            let given = array.len();
            return Err(invalid(py, format!("column {name:?} has {given} values for {rows} ids")));
        }
    }
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
        .map_err(|error| invalid(py, error.to_string()))
}

fn from_dict(columns: &Bound<'_, PyDict>) -> PyResult<Vec<(String, ArrayRef)>> {
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, values) in columns {
        let name = column_name(&name)?;
        let array = column(&name, &values)?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// Rows as dicts: a column for each key, `None` where a row lacks it.
fn from_dicts(rows: &Bound<'_, PyAny>) -> PyResult<Vec<(String, ArrayRef)>> {
    let py = rows.py();
    let mut order = HashMap::new();
    let mut columns: Vec<(String, Vec<Bound<'_, PyAny>>)> = Vec::new();
    let mut nested = HashMap::new();
    let mut count = 0;
    for row in rows.try_iter()? {
        let row = row?;
        let Some(row) = mapping(&row)? else {
            return Err(wrong_type(&format!("data: row {count}"), "a dict", &row));
        };
        let mut fields = Vec::with_capacity(row.len());
        let mut dicts = Vec::new();
        flatten(&row, "", 0, count, (&mut fields, &mut dicts))?;
        for name in dicts {
            let seen: Option<&usize> = order.get(&name).filter(|_| !nested.contains_key(&name));
            let value = seen.and_then(|slot| columns[*slot].1.iter().position(|v| !v.is_none()));
            if let Some(row) = value {
                return Err(mixed(py, &name, (count, row)));
            }
            nested.entry(name).or_insert(count);
        }
        for (name, value) in fields {
            if let Some(dict) = nested.get(&name)
                && !value.is_none()
            {
                return Err(mixed(py, &name, (*dict, count)));
            }
            let next = order.len();
            let slot = *order.entry(name.clone()).or_insert(next);
            if slot == columns.len() {
                columns.push((name, Vec::new()));
            }
            let values = &mut columns[slot].1;
            values.resize(count, py.None().into_bound(py));
            values.push(value);
        }
        count += 1;
    }
    let finish = |(name, mut values): (String, Vec<Bound<'_, PyAny>>)| {
        values.resize(count, py.None().into_bound(py));
        let array = infer::array(&name, values)?;
        Ok((name, array))
    };
    columns.into_iter().map(finish).collect()
}

/// What to say of a name under which one row has a dict and another a value.
fn mixed(py: Python<'_>, name: &str, (dict, value): (usize, usize)) -> PyErr {
    let message = format!(
        "data: {name:?} is a dict in row {dict} and a value in row {value}; a dict within a row is \
         columns named \"{name}.…\", so give a dict or None in each row, or use another name"
    );
    invalid(py, message)
}

/// The values of a row under their names. A dict within it is not a value unless its keys are the
/// indices of a sparse vector: they are columns of their own, named `outer.inner`, to any depth up to
/// [`MAX_DEPTH`], and the names of such dicts are noted. One without any is `None`.
fn flatten<'py>(
    dict: &Bound<'py, PyDict>,
    prefix: &str,
    depth: usize,
    row: usize,
    (fields, dicts): (&mut Vec<(String, Bound<'py, PyAny>)>, &mut Vec<String>),
) -> PyResult<()> {
    for (name, value) in dict {
        let name = format!("{prefix}{}", column_name(&name)?);
        let inner = value.cast::<PyDict>().ok().filter(|inner| !has_indices(inner));
        let Some(inner) = inner else {
            // Only names with a dot can meet others.
            if name.contains('.') && fields.iter().any(|(known, _)| *known == name) {
                let message = format!("data: row {row} has two values for column {name:?}");
                return Err(invalid(dict.py(), message));
            }
            fields.push((name, value));
            continue;
        };
        if inner.is_empty() {
            fields.push((name, dict.py().None().into_bound(dict.py())));
            continue;
        }
        if depth == MAX_DEPTH {
            let message = format!("data: row {row} has dicts more than {MAX_DEPTH} deep");
            return Err(invalid(dict.py(), message));
        }
        flatten(inner, &format!("{name}."), depth + 1, row, (fields, dicts))?;
        dicts.push(name);
    }
    Ok(())
}

/// Whether the keys of a dict are indices of a sparse vector: none is a name.
fn has_indices(dict: &Bound<'_, PyDict>) -> bool {
    !dict.is_empty() && dict.keys().iter().all(|key| !key.is_instance_of::<PyString>())
}

fn from_table(data: &Bound<'_, PyAny>, table: &ArrayRef) -> PyResult<Vec<(String, ArrayRef)>> {
    let Some(table) = table.as_struct_opt() else {
        return Err(wrong_type("data", EXPECTED, data));
    };
    if table.null_count() > 0 {
        return Err(PyTypeError::new_err("data: expected a table, given rows that are null"));
    }
    let names = table.fields().iter().map(|field| field.name().clone());
    let columns = names.zip(table.columns().iter().cloned());
    Ok(columns.filter(|(name, _)| !is_pandas_index(name)).collect())
}

/// Whether a column is the index without a name of a pandas frame: where the rows of a frame stand in it is
/// no attribute of theirs, and only some frames tell.
fn is_pandas_index(name: &str) -> bool {
    let level = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
    level.is_some_and(|level| !level.is_empty() && level.bytes().all(|c| c.is_ascii_digit()))
}

/// Times of NumPy, an array or one, as microseconds; refused where 64 bits of these do not hold them.
pub(crate) fn microseconds<'py>(
    name: &str,
    times: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = times.py().import("numpy")?;
    let micros = times.call_method1("astype", ("datetime64[us]",))?;
    let unit = numpy.call_method1("datetime_data", (times.getattr("dtype")?,))?.get_item(0)?;
    if ["ns", "ps", "fs", "as"].contains(&unit.extract::<String>()?.as_str()) {
        return Ok(micros);
    }
    // What overflows wraps round silently, and does not come back.
    let back = micros.call_method1("astype", (times.getattr("dtype")?,))?;
    let lost = numpy.call_method1("not_equal", (back, times))?;
    let lost = lost.bitand(numpy.call_method1("isnat", (times,))?.call_method0("__invert__")?)?;
    if !lost.call_method0("any")?.extract::<bool>()? {
        return Ok(micros);
    }
    let row: usize = lost.call_method0("argmax")?.extract()?;
    let time = numpy.call_method1("atleast_1d", (times,))?.get_item(row)?;
    let message = format!(
        "column {name:?}: {time} at row {row} is beyond what microseconds in 64 bits can tell, the years \
         -290307 to 294247; leave it out or make it None"
    );
    Err(invalid(times.py(), message))
}

fn column_name(name: &Bound<'_, PyAny>) -> PyResult<String> {
    match name.cast::<PyString>() {
        Ok(name) => Ok(text_of("data: a column name", name)?.to_owned()),
        Err(_) => Err(wrong_type("data: a column name", "str", name)),
    }
}

/// One column of a dict.
fn column(name: &str, values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    if let Ok(array) = values.cast::<PyUntypedArray>() {
        return from_ndarray(name, array);
    }
    if let Some(array) = arrow_ffi::import(values)? {
        return Ok(array);
    }
    if let Some(array) = sparse::matrix(name, values)? {
        return Ok(array);
    }
    if values.hasattr("__array__")? {
        let array = values.py().import("numpy")?.call_method1("asarray", (values,))?;
        return from_ndarray(name, array.cast::<PyUntypedArray>()?);
    }
    let scalar = values.is_instance_of::<PyString>() || values.is_instance_of::<PyBytes>();
    match values.try_iter() {
        Ok(items) if !scalar && values.cast::<PyMapping>().is_err() => {
            infer::array(name, items.collect::<PyResult<_>>()?)
        }
        _ => {
            let hint = match values.cast::<PyMapping>() {
                Ok(_) => format!("; a dict within is columns of their own: name them \"{name}.…\""),
                Err(_) => String::new(),
            };
            Err(PyTypeError::new_err(format!(
                "column {name:?}: expected a list or array with one value for each id, given {}{hint}",
                type_name(values)
            )))
        }
    }
}

fn from_ndarray(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<ArrayRef> {
    let py = array.py();
    let dtype = array.dtype();
    if array.ndim() != 1 {
        let message =
            format!("column {name:?}: expected one dimension, given shape {:?}", array.shape());
        return Err(invalid(py, message));
    }
    match (dtype.kind(), dtype.itemsize()) {
        // As a list what is masked is None.
        _ if is_masked(array)? => {
            let items = array.call_method0("tolist")?;
            infer::array(name, items.try_iter()?.collect::<PyResult<_>>()?)
        }
        (b'i', _) | (b'u', 1..8) => {
            let array = contiguous(array, "int64")?;
            let values = array.cast::<PyArray1<i64>>()?.to_vec()?;
            Ok(Arc::new(Int64Array::from(values)))
        }
        (b'f', _) => {
            let array = contiguous(array, "float64")?;
            let values = array.cast::<PyArray1<f64>>()?.to_vec()?;
            Ok(Arc::new(Float64Array::from(values)))
        }
        (b'M', _) => {
            let micros = microseconds(name, array)?.call_method1("view", ("int64",))?;
            let values = micros.cast::<PyArray1<i64>>()?.to_vec()?;
            // NumPy's NaT.
            let gap = |value: i64| (value != i64::MIN).then_some(value);
            let values: TimestampMicrosecondArray = values.into_iter().map(gap).collect();
            Ok(Arc::new(values.with_timezone("UTC")))
        }
        _ => {
            let items = array.call_method0("tolist")?;
            infer::array(name, items.try_iter()?.collect::<PyResult<_>>()?)
        }
    }
}
