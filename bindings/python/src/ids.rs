//! Ids: from whatever the caller has, and back.
//!
//! Accepted: an array of NumPy or by DLPack of integers or strings, an Arrow array of either, a list or other
//! iterable of `int` or of `str`, and one `int` or `str` alone. The ids of one call are of one kind.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use nearfield::{Id, IdType, Ids};
use numpy::{
    PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString};

use crate::arrow_ffi;
use crate::errors::{invalid, no_text, text_of, type_name, wrong_type};
use crate::numbers::index;

/// What may be ids: an index keeps numbers alone.
#[derive(Clone, Copy, PartialEq)]
enum Kinds {
    Both,
    Integers,
}

impl Kinds {
    fn many(self) -> &'static str {
        match self {
            Self::Both => "integers or strings (an array or a list of them, or one alone)",
            Self::Integers => "integers (an array or a list of them, or one alone)",
        }
    }

    fn one(self) -> &'static str {
        match self {
            Self::Both => "an integer or a string",
            Self::Integers => "an integer",
        }
    }

    fn wrong(self, given: &str) -> PyErr {
        PyTypeError::new_err(format!("ids: expected {}, given {given}", self.many()))
    }
}

/// The ids of one call, in a form that the engine can borrow.
pub(crate) enum IdsArg<'py> {
    Borrowed(PyReadonlyArray1<'py, u64>),
    Numbers(Vec<u64>),
    Texts(Vec<PyBackedStr>),
    Arrow(ArrayRef),
}

impl<'py> IdsArg<'py> {
    pub(crate) fn from_python(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::read(value, Kinds::Both)
    }

    /// The ids of an index.
    pub(crate) fn integers(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::read(value, Kinds::Integers)
    }

    fn read(value: &Bound<'py, PyAny>, kinds: Kinds) -> PyResult<Self> {
        if let Ok(text) = value.cast::<PyString>() {
            return Ok(Self::Texts(vec![kept(text, 0)?]));
        }
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            return Self::from_ndarray(array, kinds);
        }
        if let Some(array) = arrow_ffi::import(value)? {
            return Self::from_arrow(value.py(), array, kinds);
        }
        if value.is_instance_of::<PyBytes>() || value.cast::<PyMapping>().is_ok() {
            return Err(wrong_type("ids", kinds.many(), value));
        }
        if value.hasattr("__array__")? {
            let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
            return Self::from_ndarray(array.cast::<PyUntypedArray>()?, kinds);
        }
        if value.hasattr("__dlpack__")? {
            return Self::from_ndarray(from_dlpack("ids", value)?.cast()?, kinds);
        }
        match value.try_iter() {
            Ok(items) => Self::from_items(items, kinds),
            Err(_) if value.hasattr("__index__")? => {
                Ok(Self::Numbers(vec![number(value, 0, kinds)?]))
            }
            Err(_) => Err(wrong_type("ids", kinds.many(), value)),
        }
    }

    pub(crate) fn ids(&self) -> PyResult<Ids<'_>> {
        Ok(match self {
            Self::Borrowed(array) => array.as_slice()?.into(),
            Self::Numbers(ids) => ids.into(),
            Self::Texts(ids) => Ids::Utf8(ids.iter().map(|id| (&**id).into()).collect()),
            Self::Arrow(array) => match array.data_type() {
                DataType::Utf8 => Ids::try_from(array.as_string::<i32>()).map_err(null)?,
                DataType::LargeUtf8 => Ids::try_from(array.as_string::<i64>()).map_err(null)?,
                DataType::UInt64 => {
                    Ids::try_from(array.as_primitive::<UInt64Type>()).map_err(null)?
                }
                _ => Ids::Utf8(array.as_string_view().iter().flatten().map(Into::into).collect()),
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Borrowed(array) => array.len(),
            Self::Numbers(ids) => ids.len(),
            Self::Texts(ids) => ids.len(),
            Self::Arrow(array) => array.len(),
        }
    }

    fn from_ndarray(array: &Bound<'py, PyUntypedArray>, kinds: Kinds) -> PyResult<Self> {
        let py = array.py();
        refuse_masked("ids", array)?;
        match array.ndim() {
            0 => return Self::read(&array.call_method0("item")?, kinds),
            1 => {}
            n => return Err(invalid(py, format!("ids: expected one dimension, given {n}"))),
        }
        let dtype = array.dtype();
        match dtype.kind() {
            b'u' => {
                let array = contiguous(array, "uint64")?;
                Ok(Self::Borrowed(array.cast::<PyArray1<u64>>()?.try_readonly()?))
            }
            b'i' => {
                let array = contiguous(array, "int64")?;
                let array = array.cast::<PyArray1<i64>>()?.try_readonly()?;
                let convert = |(row, id): (usize, &i64)| {
                    u64::try_from(*id).map_err(|_overflow| negative(py, row, &id.to_string()))
                };
                let ids: PyResult<Vec<u64>> =
                    array.as_slice()?.iter().enumerate().map(convert).collect();
                Ok(Self::Numbers(ids?))
            }
            b'U' | b'O' | b'T' => {
                Self::from_items(array.call_method0("tolist")?.try_iter()?, kinds)
            }
            _ if array.is_empty() => Ok(Self::Numbers(Vec::new())),
            _ => Err(kinds.wrong(&format!("an array of {dtype}"))),
        }
    }

    fn from_arrow(py: Python<'_>, array: ArrayRef, kinds: Kinds) -> PyResult<Self> {
        if let Some(row) = (0..array.len()).find(|row| array.is_null(*row)) {
            return Err(kinds.wrong(&format!("null at row {row}")));
        }
        macro_rules! numbers {
            ($($variant:ident => $primitive:ty),*) => {
                match array.data_type() {
                    $(DataType::$variant => array
                        .as_primitive::<$primitive>()
                        .values()
                        .iter()
                        .enumerate()
                        .map(|(row, id)| {
                            u64::try_from(*id)
                                .map_err(|_overflow| negative(py, row, &id.to_string()))
                        })
                        .collect::<PyResult<Vec<u64>>>()
                        .map(Self::Numbers),)*
                    DataType::Null => Ok(Self::Numbers(Vec::new())),
                    other => Err(kinds.wrong(&format!("an Arrow array of {other}"))),
                }
            };
        }
        match array.data_type() {
            DataType::UInt64 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Ok(Self::Arrow(array))
            }
            _ => numbers!(
                Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
                UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type
            ),
        }
    }

    fn from_items(items: Bound<'py, pyo3::types::PyIterator>, kinds: Kinds) -> PyResult<Self> {
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for (row, item) in items.enumerate() {
            let item = item?;
            let mixed = |earlier: &str| {
                PyTypeError::new_err(format!(
                    "ids: row {row} is {}, earlier rows are {earlier}; the ids of one collection \
                     are all integers or all strings",
                    type_name(&item)
                ))
            };
            let is_text = item.is_instance_of::<PyString>();
            if kinds == Kinds::Integers && texts.is_empty() && (row > 0 || !is_text) {
                numbers.push(number(&item, row, kinds)?);
            } else if let Ok(text) = item.cast::<PyString>() {
                if !numbers.is_empty() {
                    return Err(mixed("integers"));
                }
                texts.push(kept(text, row)?);
            } else if !texts.is_empty() {
                return Err(mixed("strings"));
            } else {
                numbers.push(number(&item, row, kinds)?);
            }
        }
        Ok(if texts.is_empty() { Self::Numbers(numbers) } else { Self::Texts(texts) })
    }
}

/// The id of `row`, a string, without a copy.
fn kept(text: &Bound<'_, PyString>, row: usize) -> PyResult<PyBackedStr> {
    let kept = text.clone().try_into();
    kept.map_err(|error| no_text(&format!("ids: row {row}"), text, error))
}

/// Which kind an id is, if there is one.
pub(crate) fn id_type(id: Option<&Id>) -> Option<IdType> {
    Some(match id? {
        Id::U64(_) => IdType::U64,
        Id::Utf8(_) => IdType::Utf8,
    })
}

/// One id, as for `contains`.
pub(crate) fn id_from_python(value: &Bound<'_, PyAny>) -> PyResult<Id> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(Id::from(text_of("id", text)?)),
        Err(_) if value.hasattr("__index__")? => Ok(Id::from(number(value, 0, Kinds::Both)?)),
        Err(_) => Err(wrong_type("id", "an integer or a string", value)),
    }
}

/// Whether there is a row, when its id is looked for by `in`: one of another kind has none.
pub(crate) fn has(found: nearfield::Result<bool>) -> nearfield::Result<bool> {
    match found {
        Err(nearfield::Error::SchemaMismatch { .. }) => Ok(false),
        found => found,
    }
}

pub(crate) fn id_to_python<'py>(py: Python<'py>, id: &Id) -> PyResult<Bound<'py, PyAny>> {
    Ok(match id {
        Id::U64(id) => id.into_pyobject(py)?.into_any(),
        Id::Utf8(id) => PyString::new(py, id).into_any(),
    })
}

/// What speaks DLPack, as an array of NumPy.
pub(crate) fn from_dlpack<'py>(
    what: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    py.import("numpy")?.call_method1("from_dlpack", (value,)).map_err(|cause| {
        if !cause.is_instance_of::<PyException>(py) {
            return cause;
        }
        let given = type_name(value);
        let message = format!(
            "{what}: {given} gives no array by DLPack ({}); copy it to an array of NumPy on the CPU",
            cause.value(py)
        );
        let error = invalid(py, message);
        error.set_cause(py, Some(cause));
        error
    })
}

/// `array` with the wanted type (its own of none), in one run of aligned memory; itself if it is so
/// already. Numbers that the type cannot hold become infinite, without a warning: who reads them says so.
pub(crate) fn contiguous<'py>(
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = array.py().import("numpy")?;
    let options = PyDict::new(array.py());
    options.set_item("over", "ignore")?;
    let quiet = numpy.getattr("errstate")?.call((), Some(&options))?;
    quiet.call_method0("__enter__")?;
    let required = numpy.call_method1("require", (array, dtype, "CA"));
    quiet.call_method1("__exit__", (array.py().None(), array.py().None(), array.py().None()))?;
    required
}

/// Refuses an array of which some elements do not count.
pub(crate) fn refuse_masked(what: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    if !is_masked(array)? {
        return Ok(());
    }
    let given = "given a masked array; fill what is masked, or leave it out";
    Err(invalid(array.py(), format!("{what}: {given}")))
}

/// Whether some elements of an array do not count.
pub(crate) fn is_masked(array: &Bound<'_, PyUntypedArray>) -> PyResult<bool> {
    // Nearly always; a search is so short that more questions would be felt.
    if array.is_exact_instance_of::<PyUntypedArray>() {
        return Ok(false);
    }
    let py = array.py();
    let masked = py.import("numpy.ma")?.call_method1("is_masked", (array,))?;
    masked.is_truthy()
}

fn number(value: &Bound<'_, PyAny>, row: usize, kinds: Kinds) -> PyResult<u64> {
    if let Ok(id) = value.extract::<u64>()
        && !value.is_instance_of::<pyo3::types::PyBool>()
    {
        return Ok(id);
    }
    let index = index(&format!("ids: row {row}"), value)
        .map_err(|_wrong| wrong_type(&format!("ids: row {row}"), kinds.one(), value))?;
    index.extract::<u64>().map_err(|_overflow| negative(value.py(), row, &index.to_string()))
}

fn negative(py: Python<'_>, row: usize, id: &str) -> PyErr {
    invalid(py, format!("ids: row {row} is {id}, expected 0 to 2**64 - 1"))
}

fn null(error: nearfield::Error) -> PyErr {
    PyTypeError::new_err(error.to_string())
}
