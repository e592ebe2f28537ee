//! Arrow data to and from other Python libraries through the Arrow PyCapsule interface: anything
//! with `__arrow_c_array__` or `__arrow_c_stream__` (pyarrow, polars, pandas, duckdb …).
//!
//! The one place of `unsafe` in the bindings. What comes in is validated in full and then copied,
//! so that nothing the engine keeps points into memory that Python may change or free.
//!
//! Source: <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>.
#![expect(unsafe_code, reason = "the Arrow C data interface hands over raw structures")]

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type, to_ffi};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchIterator, StructArray, make_array};
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_schema::{ArrowError, DataType};
use pyo3::exceptions::{PyException, PyImportError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::errors::{guard, invalid, type_name, wrong_type};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// The value as one Arrow array (a table as a struct array), copied; `None` if it speaks no Arrow.
pub(crate) fn import(value: &Bound<'_, PyAny>) -> PyResult<Option<ArrayRef>> {
    let py = value.py();
    let read: Result<Vec<ArrayData>, ArrowError> = if value.hasattr("__arrow_c_array__")? {
        let (schema, array) = value
            .call_method0("__arrow_c_array__")?
            .extract::<(Bound<'_, PyCapsule>, Bound<'_, PyCapsule>)>()?;
        let (schema, array) = (take_schema(&schema)?, take_array(&array)?);
        guard(py, || catch_unwind(AssertUnwindSafe(|| Ok(vec![read_array(array, &schema)?]))))?
    } else if value.hasattr("__arrow_c_stream__")? {
        let capsule = match value.call_method0("__arrow_c_stream__") {
            Ok(capsule) => capsule.cast_into::<PyCapsule>()?,
            // pandas needs pyarrow for this; without it its arrays are read as NumPy's.
            Err(error) if error.is_instance_of::<PyImportError>(py) => return Ok(None),
            Err(error) => return Err(no_arrow(value, error)),
        };
        let mut stream = take_stream(&capsule)?;
        guard(py, || catch_unwind(AssertUnwindSafe(|| read_stream(&mut stream))))?
    } else {
        return Ok(None);
    };
    let joined = read.and_then(|chunks| {
        let joined = catch_unwind(AssertUnwindSafe(|| join(&chunks)));
        joined.map_err(|_panic| ArrowError::NotYetImplemented("joining these chunks".into()))?
    });
    match joined {
        Ok(array) => Ok(Some(array)),
        Err(error) => Err(invalid(py, format!("Arrow data cannot be read: {error}"))),
    }
}

/// What to say when an object that speaks Arrow has no Arrow for what it holds, as pandas and pyarrow
/// have none for a column of several types.
fn no_arrow(value: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let py = value.py();
    if !cause.is_instance_of::<PyException>(py) {
        return cause;
    }
    let reasons = cause.value(py).getattr("args").and_then(|args| args.extract::<Vec<String>>());
    let reason = match reasons {
        Ok(reasons) if !reasons.is_empty() => reasons.join("; "),
        _ => cause.value(py).to_string(),
    };
    let given = type_name(value);
    let message = format!("{given} gives no Arrow data ({reason}); give each column one type");
    let error = invalid(py, message);
    error.set_cause(py, Some(cause));
    error
}

/// A table as the pair of capsules that `__arrow_c_array__` returns.
pub(crate) fn export_array<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let data = StructArray::from(batch.clone()).into_data();
    let (array, schema) = to_ffi(&data).map_err(|error| invalid(py, error.to_string()))?;
    Ok((capsule(py, schema, SCHEMA)?, capsule(py, array, ARRAY)?))
}

/// A table of one batch as the capsule that `__arrow_c_stream__` returns.
pub(crate) fn export_stream(py: Python<'_>, batch: RecordBatch) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = batch.schema();
    let batches = RecordBatchIterator::new([Ok(batch)], schema);
    capsule(py, FFI_ArrowArrayStream::new(Box::new(batches)), STREAM)
}

/// A capsule that owns `value`: a consumer moves it out and leaves a released structure behind,
/// and dropping either is right.
fn capsule<'py, T: Send + 'static>(
    py: Python<'py>,
    value: T,
    name: &'static CStr,
) -> PyResult<Bound<'py, PyCapsule>> {
    PyCapsule::new_with_value(py, value, name)
}

fn pointer<T>(capsule: &Bound<'_, PyCapsule>, name: &CStr) -> PyResult<NonNull<T>> {
    let pointer = capsule.pointer_checked(Some(name))?.cast::<T>();
    if pointer.is_aligned() {
        return Ok(pointer);
    }
    Err(wrong_type("an Arrow capsule", "an aligned structure", capsule))
}

fn take_schema(capsule: &Bound<'_, PyCapsule>) -> PyResult<FFI_ArrowSchema> {
    let pointer = pointer(capsule, SCHEMA)?;
    // SAFETY: a capsule of this name owns an initialised ArrowSchema, of which this is the only
    // consumer; what is left in it is the released structure.
    Ok(unsafe { FFI_ArrowSchema::from_raw(pointer.as_ptr()) })
}

fn take_array(capsule: &Bound<'_, PyCapsule>) -> PyResult<FFI_ArrowArray> {
    let pointer = pointer(capsule, ARRAY)?;
    // SAFETY: as in `take_schema`, for ArrowArray.
    Ok(unsafe { FFI_ArrowArray::from_raw(pointer.as_ptr()) })
}

fn take_stream(capsule: &Bound<'_, PyCapsule>) -> PyResult<FFI_ArrowArrayStream> {
    let pointer = pointer(capsule, STREAM)?;
    // SAFETY: as in `take_schema`, for ArrowArrayStream.
    Ok(unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) })
}

fn read_array(array: FFI_ArrowArray, schema: &FFI_ArrowSchema) -> Result<ArrayData, ArrowError> {
    if array.is_released() {
        return Err(released());
    }
    read_typed(array, DataType::try_from(schema)?)
}

fn read_typed(mut array: FFI_ArrowArray, data_type: DataType) -> Result<ArrayData, ArrowError> {
    forget_buffers_of_nulls(&mut array, &data_type)?;
    // SAFETY: the producer vouches that the structure has the layout of the type it came with;
    // what that layout says of its buffers' contents is checked on the next line.
    let data = unsafe { from_ffi_and_data_type(array, data_type) }?;
    data.validate_full()?;
    Ok(data)
}

/// An array of type Null has no buffer, but polars says that it has one, which is not there.
fn forget_buffers_of_nulls(
    array: &mut FFI_ArrowArray,
    data_type: &DataType,
) -> Result<(), ArrowError> {
    let children: Vec<&DataType> = match data_type {
        DataType::Null => {
            array.n_buffers = 0;
            return Ok(());
        }
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            vec![item.data_type()]
        }
        _ => return Ok(()),
    };
    if children.is_empty() {
        return Ok(());
    }
    if usize::try_from(array.n_children) != Ok(children.len()) || array.children.is_null() {
        let given = array.n_children;
        let message = format!("{given} children for the type {data_type}");
        return Err(ArrowError::CDataInterface(message));
    }
    // SAFETY: the producer vouches for as many pointers as it says there are children.
    let pointers = unsafe { std::slice::from_raw_parts(array.children, children.len()) };
    for (index, (data_type, child)) in children.into_iter().zip(pointers).enumerate() {
        // SAFETY: it vouches too that each is null or leads to an initialised ArrowArray, which its parent
        // owns and nobody else reads.
        let Some(child) = (unsafe { child.as_mut() }) else {
            return Err(ArrowError::CDataInterface(format!("child {index} is missing")));
        };
        forget_buffers_of_nulls(child, data_type)?;
    }
    Ok(())
}

/// All arrays of a stream; one empty array if there is none.
fn read_stream(stream: &mut FFI_ArrowArrayStream) -> Result<Vec<ArrayData>, ArrowError> {
    let (Some(get_schema), Some(get_next)) = (stream.get_schema, stream.get_next) else {
        return Err(released());
    };
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: the stream is not released (its callbacks are there) and both pointers are valid.
    let code = unsafe { get_schema(stream, &raw mut schema) };
    if code != 0 {
        return Err(stream_error(stream, code));
    }
    let data_type = DataType::try_from(&schema)?;
    let mut chunks = Vec::new();
    loop {
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: as above.
        let code = unsafe { get_next(stream, &raw mut array) };
        if code != 0 {
            return Err(stream_error(stream, code));
        }
        if array.is_released() {
            break;
        }
        chunks.push(read_typed(array, data_type.clone())?);
    }
    if chunks.is_empty() {
        chunks.push(ArrayData::new_empty(&data_type));
    }
    Ok(chunks)
}

fn stream_error(stream: &mut FFI_ArrowArrayStream, code: i32) -> ArrowError {
    let unnamed = || ArrowError::CDataInterface(format!("the stream failed with code {code}"));
    let Some(last_error) = stream.get_last_error else { return unnamed() };
    // SAFETY: the stream is not released and its last call failed, as the interface demands.
    let message = unsafe { last_error(stream) };
    if message.is_null() {
        return unnamed();
    }
    // SAFETY: a message that is not null is a string ending with NUL that lives until the next
    // call on the stream; it is copied before.
    let message = unsafe { CStr::from_ptr(message) };
    ArrowError::CDataInterface(message.to_string_lossy().into_owned())
}

fn released() -> ArrowError {
    ArrowError::CDataInterface("the data was handed over before".into())
}

/// One batch with copies of the rows of all, which have the same columns; there is one at least.
pub(crate) fn concat(batches: Vec<RecordBatch>) -> Result<RecordBatch, ArrowError> {
    let data = |batch: RecordBatch| StructArray::from(batch).into_data();
    let chunks: Vec<ArrayData> = batches.into_iter().map(data).collect();
    Ok(StructArray::from(join(&chunks)?.to_data()).into())
}

/// One array with copies of all rows.
fn join(chunks: &[ArrayData]) -> Result<ArrayRef, ArrowError> {
    let rows = chunks.iter().map(ArrayData::len).sum();
    let mut joined = MutableArrayData::new(chunks.iter().collect(), false, rows);
    for (index, chunk) in chunks.iter().enumerate() {
        joined.try_extend(index, 0, chunk.len())?;
    }
    Ok(make_array(joined.freeze()))
}
