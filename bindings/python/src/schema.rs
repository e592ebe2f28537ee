//! What `collection` and `create` are given about a collection's shape, and the same as a dict.

use nearfield::{
    Collection, Column, DataType, IdType, Metric, Raw, Schema, TextOptions, VectorType,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyType};

use crate::errors::{close, invalid, text_of, wrong_type};
use crate::numbers::{dimension, mapping};
use crate::rows::{escape, paragraph};
use crate::text_options::{self, text_options};

pub(crate) const METRICS: [(&str, Metric); 5] = [
    ("l2", Metric::L2),
    ("cosine", Metric::Cosine),
    ("dot", Metric::Dot),
    ("hamming", Metric::Hamming),
    ("jaccard", Metric::Jaccard),
];
const DTYPES: [(&str, VectorType); 11] = [
    ("f32", VectorType::F32),
    ("f16", VectorType::F16),
    ("bf16", VectorType::Bf16),
    ("i8", VectorType::I8),
    ("u8", VectorType::U8),
    ("b1", VectorType::B1),
    ("float32", VectorType::F32),
    ("float16", VectorType::F16),
    ("bfloat16", VectorType::Bf16),
    ("int8", VectorType::I8),
    ("uint8", VectorType::U8),
];
const DTYPE: &str = "the name of a type (\"f32\", \"f16\", \"i8\" …) or a dtype of NumPy";
const RAWS: [(&str, Raw); 3] = [("f32", Raw::F32), ("f16", Raw::F16), ("none", Raw::None)];
const ID_TYPES: [(&str, IdType); 2] = [("u64", IdType::U64), ("utf8", IdType::Utf8)];
const COLUMN_TYPES: [(&str, DataType); 7] = [
    ("bool", DataType::Bool),
    ("int64", DataType::Int64),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("timestamp", DataType::Timestamp),
    ("list_utf8", DataType::ListUtf8),
    ("sparse", DataType::Sparse),
];

/// The shape asked for; what is `None` was left out.
#[derive(Default)]
pub(crate) struct Shape {
    pub(crate) dimension: Option<usize>,
    metric: Option<Metric>,
    vector_type: Option<VectorType>,
    raw: Option<Raw>,
    id_type: Option<IdType>,
    columns: Vec<Column>,
    /// Columns to be searched by words, and how they are indexed where that is said.
    texts: Vec<(String, Option<TextOptions>)>,
}

impl Shape {
    pub(crate) fn from_python(
        dim: Option<&Bound<'_, PyAny>>,
        metric: Option<&Bound<'_, PyAny>>,
        (dtype, raw): (Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
        text: Option<&Bound<'_, PyAny>>,
        columns: Option<&Bound<'_, PyAny>>,
        id_type: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let given = text.map(text_columns).transpose()?.unwrap_or_default();
        let names: Vec<String> = given.iter().map(|(name, _)| name.clone()).collect();
        let mut all = columns.map(|columns| typed_columns(columns, &names)).transpose()?;
        let columns = all.get_or_insert_default();
        for name in names {
            if !columns.iter().any(|column| column.name == name) {
                columns.push(Column { name, data_type: DataType::Utf8, text: true });
            }
        }
        Ok(Self {
            dimension: dim.map(dimension).transpose()?,
            metric: metric.map(|metric| named("metric", &METRICS, metric)).transpose()?,
            vector_type: dtype.map(vector_type).transpose()?,
            raw: raw.map(|raw| named("raw", &RAWS, raw)).transpose()?,
            id_type: id_type.map(id_kind).transpose()?,
            columns: all.unwrap_or_default(),
            texts: given,
        })
    }

    /// The schema to get or create; what was left out is as in `stored`, or else cosine and f32,
    /// or hamming with b1 and b1 with hamming or jaccard.
    pub(crate) fn schema(&self, dimension: usize, stored: Option<&Schema>) -> Schema {
        let bits = self.vector_type == Some(VectorType::B1);
        let usual = if bits { Metric::Hamming } else { Metric::Cosine };
        let metric = self.metric.or(stored.map(Schema::metric)).unwrap_or(usual);
        let mut schema = Schema::new(dimension, metric);
        if let Some(vector_type) = self.vector_type.or(stored.map(Schema::vector_type)) {
            schema = schema.with_vector_type(vector_type);
        }
        if let Some(raw) = self.raw {
            schema = schema.with_raw(raw);
        }
        if let Some(id_type) = self.id_type {
            schema = schema.with_id_type(id_type);
        }
        for Column { name, data_type, text } in &self.columns {
            schema = match self.texts.iter().find(|(said, _)| said == name) {
                Some((_, Some(options))) => schema.text_with(name, *options),
                _ if *text => schema.text(name),
                _ => schema.column(name, *data_type),
            };
        }
        schema
    }

    /// Adds the columns and the indexes of texts that `collection` lacks; how many columns were added.
    pub(crate) fn widen(&self, collection: &Collection) -> nearfield::Result<u64> {
        for (name, options) in &self.texts {
            options.map_or(Ok(()), |options| options.validate(name))?;
        }
        let stored = collection.schema()?;
        let is_known = |asked: &Column| {
            let same =
                |known: &Column| (&known.name, known.data_type) == (&asked.name, asked.data_type);
            stored.columns().iter().any(same)
        };
        let all_known = self.columns.iter().all(is_known);
        let added = if all_known { 0 } else { collection.add_columns(&self.columns)? };
        for (name, options) in &self.texts {
            let indexed = collection.schema()?.text_options(name);
            match (indexed, options) {
                (Some(_), None) => {}
                (Some(indexed), Some(options)) if indexed == *options => {}
                _ => drop(collection.add_text_index(name, options.unwrap_or_default())?),
            }
        }
        Ok(added)
    }
}

/// The schema as the keyword arguments that make it.
pub(crate) fn to_python<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("dim", schema.dimension())?;
    dict.set_item("metric", schema.metric().to_string())?;
    dict.set_item("dtype", schema.vector_type().to_string())?;
    dict.set_item("raw", schema.raw().map(|raw| raw.to_string()))?;
    dict.set_item("id_type", schema.id_type().map(|id_type| id_type.to_string()))?;
    let columns = PyDict::new(py);
    for column in schema.columns() {
        columns.set_item(&column.name, column.data_type.to_string())?;
    }
    dict.set_item("columns", columns)?;
    let texts: Vec<&Column> = schema.columns().iter().filter(|column| column.text).collect();
    let options = |column: &&Column| schema.text_options(&column.name).unwrap_or_default();
    if texts.iter().all(|column| options(column) == TextOptions::new()) {
        let names = texts.iter().map(|column| &column.name);
        dict.set_item("text", PyList::new(py, names.collect::<Vec<_>>())?)?;
    } else {
        let all = PyDict::new(py);
        for column in &texts {
            all.set_item(&column.name, text_options::to_python(py, options(column))?)?;
        }
        dict.set_item("text", all)?;
    }
    Ok(dict)
}

/// The collection in a line, also of one that is not open.
pub(crate) fn describe(py: Python<'_>, name: &str, held: PyResult<(usize, Schema)>) -> String {
    let (rows, schema) = match held {
        Ok(held) => held,
        Err(error) => return format!("Collection('{name}', not open: {})", error.value(py)),
    };
    format!(
        "Collection('{name}', {rows} rows, dim={}, metric='{}', dtype='{}')",
        schema.dimension(),
        schema.metric(),
        schema.vector_type()
    )
}

/// The collection as an HTML table, for notebooks.
pub(crate) fn html(py: Python<'_>, name: &str, held: PyResult<(usize, Schema)>) -> String {
    let (rows, schema) = match held {
        Ok(held) => held,
        closed => return paragraph(&describe(py, name, closed)),
    };
    let mut html = format!(
        "<table><thead><tr><th>{}</th><th>{rows} rows</th></tr></thead><tbody>\
         <tr><td>vector</td><td>{} × {}, {}</td></tr>",
        escape(name),
        schema.dimension(),
        schema.vector_type(),
        schema.metric()
    );
    for column in schema.columns() {
        let text = if column.text { ", text" } else { "" };
        let name = escape(&column.name);
        html.push_str(&format!("<tr><td>{name}</td><td>{}{text}</td></tr>", column.data_type));
    }
    html.push_str("</tbody></table>");
    html
}

/// One of a few words.
pub(crate) fn named<T: Copy>(
    what: &str,
    names: &[(&str, T)],
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    let expected = || {
        let names: Vec<String> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
        names.join(", ")
    };
    let Ok(given) = value.cast::<PyString>() else {
        return Err(wrong_type(what, &format!("one of {}", expected()), value));
    };
    let given = text_of(what, given)?;
    let found = names.iter().find(|(name, _)| *name == given);
    found.map(|(_, known)| *known).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let meant = meant(value.py(), given, &known);
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
        invalid(value.py(), format!("{what} is {given:?}, expected one of {}{hint}", expected()))
    })
}

/// Which of the known words was meant: that for what other libraries call it, or a close one.
fn meant(py: Python<'_>, given: &str, known: &[&str]) -> Option<String> {
    const ELSEWHERE: [(&str, &str); 20] = [
        ("euclidean", "l2"),
        ("euclid", "l2"),
        ("sqeuclidean", "l2"),
        ("ip", "dot"),
        ("inner_product", "dot"),
        ("innerproduct", "dot"),
        ("angular", "cosine"),
        ("cos", "cosine"),
        ("float64", "f32"),
        ("double", "f32"),
        ("int", "int64"),
        ("integer", "int64"),
        ("int", "u64"),
        ("float", "float64"),
        ("str", "utf8"),
        ("string", "utf8"),
        ("text", "utf8"),
        ("datetime", "timestamp"),
        ("read", "r"),
        ("write", "w"),
    ];
    let small = given.to_lowercase();
    let same = known.iter().find(|known| **known == small);
    let elsewhere =
        || ELSEWHERE.iter().find(|(theirs, ours)| *theirs == small && known.contains(ours));
    same.copied()
        .or_else(|| elsewhere().map(|(_, ours)| *ours))
        .map(ToOwned::to_owned)
        .or_else(|| close(py, &small, known))
}

/// A name of ours, or the Python type of ids.
fn id_kind(value: &Bound<'_, PyAny>) -> PyResult<IdType> {
    let py = value.py();
    if value.is(py.get_type::<PyInt>()) {
        return Ok(IdType::U64);
    }
    if value.is(py.get_type::<PyString>()) {
        return Ok(IdType::Utf8);
    }
    named("id_type", &ID_TYPES, value)
}

/// A name of ours, or anything that NumPy takes for a dtype.
pub(crate) fn vector_type(value: &Bound<'_, PyAny>) -> PyResult<VectorType> {
    if value.is_instance_of::<PyString>() {
        return named("dtype", &DTYPES, value);
    }
    let dtype = value.py().import("numpy")?.call_method1("dtype", (value,));
    let name = dtype.map_err(|_wrong| wrong_type("dtype", DTYPE, value))?.getattr("name")?;
    named("dtype", &DTYPES, &name)
}

/// Columns of text, and how they are indexed where that is said.
fn text_columns(text: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Option<TextOptions>)>> {
    const EXPECTED: &str =
        "the name of a column, a list of names, or a dict of names and languages";
    let wrong = || wrong_type("text", EXPECTED, text);
    if let Ok(name) = text.cast::<PyString>() {
        return Ok(vec![(text_of("text", name)?.to_owned(), None)]);
    }
    if let Some(dict) = mapping(text)? {
        let column = |(name, options): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let name = name.extract::<String>().map_err(|_wrong| wrong())?;
            Ok((name, Some(text_options(&options)?)))
        };
        return dict.iter().map(column).collect();
    }
    let names = text.extract::<Vec<String>>().map_err(|_wrong| wrong())?;
    Ok(names.into_iter().map(|name| (name, None)).collect())
}

fn typed_columns(columns: &Bound<'_, PyAny>, texts: &[String]) -> PyResult<Vec<Column>> {
    const EXPECTED: &str = "a dict of column names and types";
    let columns = mapping(columns)?.ok_or_else(|| wrong_type("columns", EXPECTED, columns))?;
    let mut all = Vec::with_capacity(columns.len());
    for (name, kind) in columns {
        let Ok(name) = name.extract::<String>() else {
            return Err(wrong_type("columns: a name", "str", &name));
        };
        let data_type = column_type(&name, &kind)?;
        let text = texts.contains(&name);
        if text && data_type != DataType::Utf8 {
            let message = format!("text column {name:?} is {data_type}, expected utf8");
            return Err(invalid(kind.py(), message));
        }
        all.push(Column { name, data_type, text });
    }
    Ok(all)
}

/// A name of ours, or the Python type of the values.
fn column_type(name: &str, kind: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let what = format!("type of column {name:?}");
    let py = kind.py();
    if kind.cast::<PyType>().is_ok() {
        let datetime = py.import("datetime")?;
        let known = [
            (py.get_type::<PyBool>().into_any(), DataType::Bool),
            (py.get_type::<PyInt>().into_any(), DataType::Int64),
            (py.get_type::<PyFloat>().into_any(), DataType::Float64),
            (py.get_type::<PyString>().into_any(), DataType::Utf8),
            (datetime.getattr("datetime")?, DataType::Timestamp),
            (datetime.getattr("date")?, DataType::Timestamp),
        ];
        if let Some((_, data_type)) = known.iter().find(|(known, _)| known.is(kind)) {
            return Ok(*data_type);
        }
    }
    let lists = py.get_type::<PyList>().get_item(py.get_type::<PyString>())?;
    if kind.eq(lists)? {
        return Ok(DataType::ListUtf8);
    }
    named(&what, &COLUMN_TYPES, kind)
}
