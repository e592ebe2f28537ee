//! Vectors: from whatever the caller has, without a copy where it can be.
//!
//! The rule: a NumPy array of float32, float16, int8 or uint8, C-contiguous, aligned and in native
//! byte order, is read where it is, as is one whose dtype calls itself bfloat16 (`ml_dtypes`, JAX);
//! an Arrow list array of the types it has likewise; every other array of numbers, and lists,
//! become float32 first, as `numpy.require(x, numpy.float32, "CA")` does it. Two dimensions are
//! rows of vectors, one dimension is one vector. A vector of bits is bytes of eight bits.
//!
//! The read-only borrow of `rust-numpy` is held while the engine reads without the interpreter
//! lock; a caller that writes to the array from another thread meanwhile gets old or new numbers.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int8Type, UInt8Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use half::f16;
use half::slice::HalfBitsSliceExt;
use nearfield::{Error, Schema, VectorType, Vectors};
use numpy::{
    PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::arrow_ffi;
use crate::errors::{invalid, raise, type_name, wrong_type};
use crate::ids::{contiguous, from_dlpack, refuse_masked};

const EXPECTED: &str = "numbers (an array, or a list of numbers for each vector)";

/// What one vector is.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    dimension: usize,
    /// Elements in which it is given and returned.
    pub(crate) width: usize,
    bits: bool,
}

impl Shape {
    pub(crate) fn of(schema: &Schema) -> Self {
        Self::new(schema.dimension(), schema.vector_type())
    }

    pub(crate) fn new(dimension: usize, vector_type: VectorType) -> Self {
        let width = vector_type.row_elements(dimension);
        Self { dimension, width, bits: vector_type == VectorType::B1 }
    }

    fn check(self, py: Python<'_>, row: usize, given: usize) -> PyResult<()> {
        let Self { dimension, width, bits } = self;
        if given == width {
            return Ok(());
        }
        if bits && given == dimension {
            return Err(invalid(
                py,
                format!(
                    "vectors: row {row} has {given} elements; a vector of {dimension} bits (b1) is \
                     {width} bytes of eight bits, as numpy.packbits packs them"
                ),
            ));
        }
        let given = if bits { given.saturating_mul(8) } else { given };
        Err(raise(py, &Error::DimensionMismatch { expected: dimension, given, row }))
    }
}

impl Shape {
    /// Refuses no rows of another dimension, which are a mistake all the same.
    fn check_none(self, py: Python<'_>, given: usize) -> PyResult<()> {
        let Err(error) = self.check(py, 0, given) else { return Ok(()) };
        let width = self.width;
        let message = format!(
            "vectors: no rows of {given} elements; expected {width} elements, shape (0, {width})"
        );
        error.value(py).setattr("args", (message,))?;
        Err(error)
    }
}

/// The vectors of one call, in a form that the engine can borrow.
pub(crate) struct VectorsArg<'py> {
    elements: Elements<'py>,
    /// How many vectors there are.
    pub(crate) rows: usize,
}

enum Elements<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    F16(PyReadonlyArrayDyn<'py, f16>),
    /// The bits of bfloat16, which only other packages have a type for.
    Bf16(PyReadonlyArrayDyn<'py, u16>),
    I8(PyReadonlyArrayDyn<'py, i8>),
    U8(PyReadonlyArrayDyn<'py, u8>),
    Arrow(ArrayRef),
    Owned(Vec<f32>),
}

impl<'py> VectorsArg<'py> {
    /// Reads `value` as vectors of `shape` each.
    pub(crate) fn from_python(value: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Self> {
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            return Self::from_ndarray(array, shape);
        }
        let refused = value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>();
        if refused || value.is_none() {
            return Err(wrong_type("vectors", EXPECTED, value));
        }
        if let Some(array) = arrow_ffi::import(value)?
            && !matches!(array.data_type(), DataType::Struct(_))
        {
            return Self::from_arrow(value.py(), &array, shape);
        }
        let numpy = value.py().import("numpy")?;
        let array = if value.hasattr("__array__")? {
            numpy.call_method1("asarray", (value,))?
        } else if value.hasattr("__dlpack__")? {
            from_dlpack("vectors", value)?
        } else if value.try_iter().is_err() || value.cast::<PyMapping>().is_ok() {
            return Err(wrong_type("vectors", EXPECTED, value));
        } else {
            let array =
                numpy.call_method1("asarray", (value,)).map_err(|error| ragged(value, error))?;
            only_numbers(value, array.cast()?)?;
            array
        };
        Self::from_ndarray(array.cast::<PyUntypedArray>()?, shape)
    }

    /// Reads `value` as one vector to search for.
    pub(crate) fn one(value: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Self> {
        // A search is so short that the bookkeeping of a borrow would be felt: a vector is copied
        // in less time.
        if let Ok(array) = value.cast::<PyArrayDyn<f32>>()
            && array.shape() == [shape.width]
            && array.is_aligned()
            && array.is_exact_instance_of::<PyUntypedArray>()
            && let Ok(values) = array.to_vec()
        {
            return Ok(Self::owned(values, 1));
        }
        let query = Self::from_python(value, shape)?;
        if query.rows == 1 {
            return Ok(query);
        }
        let dimension = shape.dimension;
        let message = match query.rows {
            0 => format!("q: expected one vector of {dimension} dimensions, given none"),
            given => format!("q: expected one vector, given {given}; use search_batch"),
        };
        Err(invalid(value.py(), message))
    }

    /// `rows` vectors, behind each other.
    pub(crate) fn owned(values: Vec<f32>, rows: usize) -> Self {
        Self { elements: Elements::Owned(values), rows }
    }

    pub(crate) fn vectors(&self) -> PyResult<Vectors<'_>> {
        Ok(match &self.elements {
            Elements::F32(array) => Vectors::F32(Cow::Borrowed(array.as_slice()?)),
            Elements::F16(array) => Vectors::F16(Cow::Borrowed(array.as_slice()?)),
            Elements::Bf16(array) => {
                Vectors::Bf16(Cow::Borrowed(array.as_slice()?.reinterpret_cast()))
            }
            Elements::I8(array) => Vectors::I8(Cow::Borrowed(array.as_slice()?)),
            Elements::U8(array) => Vectors::U8(Cow::Borrowed(array.as_slice()?)),
            Elements::Arrow(array) => match array.data_type() {
                DataType::Float16 => {
                    Vectors::F16(Cow::Borrowed(array.as_primitive::<Float16Type>().values()))
                }
                DataType::Int8 => {
                    Vectors::I8(Cow::Borrowed(array.as_primitive::<Int8Type>().values()))
                }
                DataType::UInt8 => {
                    Vectors::U8(Cow::Borrowed(array.as_primitive::<UInt8Type>().values()))
                }
                _ => Vectors::F32(Cow::Borrowed(array.as_primitive::<Float32Type>().values())),
            },
            Elements::Owned(values) => Vectors::F32(Cow::Borrowed(values)),
        })
    }

    fn from_ndarray(array: &Bound<'py, PyUntypedArray>, shape: Shape) -> PyResult<Self> {
        let py = array.py();
        refuse_masked("vectors", array)?;
        let usable = array.is_c_contiguous() && array.is_aligned() && !array.is_empty();
        // Before anything else is asked: a search is so short that it would be felt.
        if usable && let Some(elements) = borrow(array)? {
            return Ok(Self { elements, rows: rows(py, array.shape(), shape)? });
        }
        let brain = array.dtype().getattr("name")?.eq("bfloat16")?;
        if !brain && !matches!(array.dtype().kind(), b'f' | b'i' | b'u') && !array.is_empty() {
            let hint = match array.dtype().kind() {
                b'O' => "; give it as a list, by tolist(), if its elements are rows or numbers",
                b'b' if shape.bits => "; pack bits by numpy.packbits(x, axis=1)",
                b'b' => "; make it numbers by astype(numpy.float32)",
                _ => "",
            };
            return Err(PyTypeError::new_err(format!(
                "vectors: expected {EXPECTED}, given an array of {}{hint}",
                array.dtype()
            )));
        }
        let rows = rows(py, array.shape(), shape)?;
        if rows == 0 {
            // An empty list becomes an array of whatever type NumPy likes.
            return Ok(Self { elements: Elements::Owned(Vec::new()), rows });
        }
        if brain {
            // By its name NumPy does not know the type.
            let numpy = py.import("numpy")?;
            let bits = numpy.call_method1("require", (array, array.dtype(), "CA"))?;
            let bits = bits.call_method1("view", ("uint16",))?;
            let bits = bits.cast::<PyArrayDyn<u16>>()?.try_readonly()?;
            return Ok(Self { elements: Elements::Bf16(bits), rows });
        }
        let array = contiguous(array, "float32")?;
        match borrow(array.cast::<PyUntypedArray>()?)? {
            Some(elements) => Ok(Self { elements, rows }),
            None => Err(wrong_type("vectors", EXPECTED, &array)),
        }
    }

    fn from_arrow(py: Python<'_>, array: &ArrayRef, shape: Shape) -> PyResult<Self> {
        let (rows, elements) = match array.data_type() {
            DataType::FixedSizeList(_, length) => {
                let list = array.as_fixed_size_list();
                check_nulls(list)?;
                let length = usize::try_from(*length).unwrap_or_default();
                shape.check(py, 0, length)?;
                let start = usize::try_from(list.value_offset(0)).unwrap_or_default();
                (list.len(), list.values().slice(start, list.len() * length))
            }
            DataType::List(_) => flatten(py, array.as_list::<i32>(), shape)?,
            DataType::LargeList(_) => flatten(py, array.as_list::<i64>(), shape)?,
            _ => (1, ArrayRef::clone(array)),
        };
        check_nulls(&elements)?;
        if rows == 1 {
            shape.check(py, 0, elements.len())?;
        }
        let elements = match elements.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Int8 | DataType::UInt8 => {
                Elements::Arrow(elements)
            }
            DataType::Float64 => {
                #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
                let narrow = |value: &f64| *value as f32;
                let values = elements.as_primitive::<Float64Type>().values();
                Elements::Owned(values.iter().map(narrow).collect())
            }
            _ if rows == 0 => Elements::Owned(Vec::new()),
            other => {
                return Err(PyTypeError::new_err(format!(
                    "vectors: expected {EXPECTED}, given an Arrow array of {other}"
                )));
            }
        };
        Ok(Self { elements, rows })
    }
}

/// The number of vectors in an array of this many elements each way.
fn rows(py: Python<'_>, sizes: &[usize], shape: Shape) -> PyResult<usize> {
    match *sizes {
        [] => Err(PyTypeError::new_err(format!("vectors: expected {EXPECTED}, given one number"))),
        // NumPy makes (0, 0) of an empty list of lists.
        [0] | [0, 0] => Ok(0),
        [0, length] => shape.check_none(py, length).map(|()| 0),
        [length] => shape.check(py, 0, length).map(|()| 1),
        [rows, length] => shape.check(py, 0, length).map(|()| rows),
        _ => Err(invalid(
            py,
            format!("vectors: expected one or two dimensions, given shape {sizes:?}"),
        )),
    }
}

fn check_nulls(array: &dyn Array) -> PyResult<()> {
    if array.null_count() == 0 {
        return Ok(());
    }
    let at = (0..array.len()).find(|at| array.is_null(*at)).unwrap_or_default();
    Err(PyTypeError::new_err(format!("vectors: expected {EXPECTED}, given null at {at}")))
}

/// The array where it is, if its type is one that the engine reads.
fn borrow<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Option<Elements<'py>>> {
    if let Ok(array) = array.cast::<PyArrayDyn<f32>>() {
        return Ok(Some(Elements::F32(array.try_readonly()?)));
    }
    if let Ok(array) = array.cast::<PyArrayDyn<f16>>() {
        return Ok(Some(Elements::F16(array.try_readonly()?)));
    }
    if let Ok(array) = array.cast::<PyArrayDyn<i8>>() {
        return Ok(Some(Elements::I8(array.try_readonly()?)));
    }
    if let Ok(array) = array.cast::<PyArrayDyn<u8>>() {
        return Ok(Some(Elements::U8(array.try_readonly()?)));
    }
    Ok(None)
}

/// The rows of an Arrow list array, all of one length, behind each other.
fn flatten<O: arrow_array::OffsetSizeTrait>(
    py: Python<'_>,
    list: &arrow_array::GenericListArray<O>,
    shape: Shape,
) -> PyResult<(usize, ArrayRef)> {
    check_nulls(list)?;
    for row in 0..list.len() {
        shape.check(py, row, list.value_length(row).as_usize())?;
    }
    let start = list.value_offsets().first().map_or(0, |offset| offset.as_usize());
    Ok((list.len(), list.values().slice(start, list.len() * shape.width)))
}

/// Refuses what NumPy makes an array of strings or objects of, naming the first that is no number.
fn only_numbers(value: &Bound<'_, PyAny>, array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    if array.is_empty() || !matches!(array.dtype().kind(), b'O' | b'U' | b'S') {
        return Ok(());
    }
    if array.ndim() == 0 {
        return Err(wrong_type("vectors", EXPECTED, value));
    }
    let number = value.py().import("numbers")?.getattr("Number")?;
    let mut rows = vec![value.clone()];
    if array.ndim() > 1 {
        rows = value.try_iter()?.collect::<PyResult<_>>()?;
    }
    for (row, items) in rows.iter().enumerate() {
        for (column, item) in items.try_iter()?.enumerate() {
            let item = item?;
            if !item.is_instance(&number)? {
                let given = type_name(&item);
                return Err(PyTypeError::new_err(format!(
                    "vectors: expected {EXPECTED}, given {given} at row {row}, element {column}"
                )));
            }
        }
    }
    Ok(())
}

/// What to say of a list that NumPy makes no array of: rows of different lengths, mostly.
fn ragged(value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = value.py();
    if !error.is_instance_of::<PyValueError>(py) {
        return error;
    }
    let length = |index: usize| value.get_item(index).and_then(|row| row.len());
    let Ok(first) = length(0) else { return error };
    for row in 1..value.len().unwrap_or_default() {
        match length(row) {
            Ok(given) if given == first => {}
            Ok(given) => {
                return invalid(
                    py,
                    format!(
                        "vectors: row {row} has {given} elements, row 0 has {first}; \
                         expected rows of one length"
                    ),
                );
            }
            Err(_) => {
                let given =
                    value.get_item(row).map_or_else(|_| "nothing".into(), |row| type_name(&row));
                return PyTypeError::new_err(format!(
                    "vectors: row {row} is {given}, expected {first} numbers as in row 0"
                ));
            }
        }
    }
    error
}
