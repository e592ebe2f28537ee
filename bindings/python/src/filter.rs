//! Filters in Python: text, dictionaries, and expressions made by comparing columns.

use nearfield::FilterColumn;
use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::errors::{WHERE, no_filter_text, raise, wrong_type};
use crate::filter_values::{json, text, texts, value, values};
use crate::ids::IdsArg;
use crate::numbers::name_string;

/// Which rows are wanted. Made by comparing columns (`nf.col("year") >= 2019`), of the text of an SQL
/// WHERE clause or of a dict; taken as `where=` wherever rows are chosen, where the text and the
/// dict are taken too.
///
/// Filters are joined by `&`, `|` and `~` (with brackets: `(a == 1) & (b == 2)`), and printed as text.
///
/// In text there are `= <> != < <= > >=`, `IN`, `BETWEEN`, `IS NULL`, `LIKE`, `ILIKE` (`%` any text, `_` one
/// character; `LIKE '10!%' ESCAPE '!'` looks for the sign itself), `STARTS WITH`, `CONTAINS`, for lists `HAS`,
/// `HAS ANY`, `HAS ALL`, each with a `NOT`, joined by `AND`, `OR`, `NOT` and brackets. Text is quoted by `'`,
/// names that are no plain words by `"`, times are `TIMESTAMP '2024-02-29T12:00:00Z'`. The id of a row is `id`.
///
/// In dicts there are `$eq $ne $gt $gte $lt $lte $in $nin $between $exists $like $nlike $ilike $nilike
/// $starts_with` (or `$prefix`) `$contains $not_contains $has $has_any $has_all`, joined by
/// `$and $or $nor $not`. Any mapping is taken for a dict.
///
/// Logic is that of SQL: a comparison with null is neither true nor false, and rows are found for which
/// the filter is true. NaN is equal to nothing, neither smaller nor larger, and cannot be asked for.
///
/// >>> import nearfield as nf
/// >>> nf.Filter("title LIKE 'n%' and id in (1, 2)")
/// Filter("title LIKE 'n%' AND id IN (1, 2)")
/// >>> docs.count(where=nf.Filter({"title": {"$in": ["near", "far"]}}) & (nf.col("id") > 1))
/// 1
#[pyclass(frozen, module = "nearfield")]
#[derive(Clone)]
pub(crate) struct Filter(nearfield::Filter);

/// A column to be compared with something, or the id of the row (`nf.col("id")`). A bool column may
/// stand alone.
///
/// >>> import nearfield as nf
/// >>> (nf.col("year") >= 2019) & ~nf.col("lang").isin(["en", "de"])
/// Filter("year >= 2019 AND lang NOT IN ('en', 'de')")
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Column(String);

/// The column `name`, to be compared: `nf.col("year") >= 2019`. See `Column` and `Filter`.
///
/// >>> import nearfield as nf
/// >>> nf.col("tags").has("rust") | nf.col("year").between(2019, 2024)
/// Filter("tags HAS 'rust' OR year BETWEEN 2019 AND 2024")
#[pyfunction]
pub(crate) fn col(#[pyo3(from_py_with = name_string)] name: String) -> Column {
    Column(name)
}

/// The filter of an argument, if there is one: text, a dict or an expression.
pub(crate) fn filter_arg(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<nearfield::Filter>> {
    given.filter(|given| !given.is_none()).map(filter).transpose()
}

fn filter(given: &Bound<'_, PyAny>) -> PyResult<nearfield::Filter> {
    let py = given.py();
    if let Ok(text) = given.cast::<PyString>() {
        let text = text.to_str().map_err(|error| no_filter_text(WHERE, text, error))?;
        return nearfield::Filter::parse(text).map_err(|error| raise(py, &error));
    }
    if let Some(filter) = expression(given) {
        return Ok(filter);
    }
    if given.cast::<PyMapping>().is_ok() {
        return nearfield::Filter::from_json(&json(given, 0)?).map_err(|error| raise(py, &error));
    }
    Err(wrong_type(
        WHERE,
        "the text of a filter, a dict, or an expression such as nf.col(\"year\") >= 2019",
        given,
    ))
}

fn expression(given: &Bound<'_, PyAny>) -> Option<nearfield::Filter> {
    if let Ok(filter) = given.cast::<Filter>() {
        return Some(filter.get().0.clone());
    }
    given.cast::<Column>().ok().map(|column| column.get().filter_column().is_true())
}

/// The rows of a write.
pub(crate) enum Chosen<'py> {
    Ids(IdsArg<'py>),
    Where(nearfield::Filter),
}

/// What chooses the rows of the write `name`: ids, or a filter in their place.
pub(crate) fn one_of<'py>(
    name: &str,
    ids: Option<&Bound<'py, PyAny>>,
    r#where: Option<&Bound<'py, PyAny>>,
) -> PyResult<Chosen<'py>> {
    let filter = filter_arg(r#where)?;
    match (ids, filter) {
        (Some(ids), None) if expression(ids).is_some() => {
            Err(PyTypeError::new_err(format!("{name}() takes a filter as where=, given as ids")))
        }
        (Some(ids), None) => IdsArg::from_python(ids).map(Chosen::Ids),
        (None, Some(filter)) => Ok(Chosen::Where(filter)),
        (Some(_), Some(_)) => {
            Err(PyTypeError::new_err(format!("{name}() takes ids or where, not both")))
        }
        (None, None) => {
            Err(PyTypeError::new_err(format!("{name}() needs the ids of the rows, or where")))
        }
    }
}

/// Refuses `and`, `or` and `not`, which Python answers without asking what is compared.
fn no_truth() -> PyErr {
    PyTypeError::new_err(
        "a filter is neither true nor false before it meets a row; join filters by & | ~ with \
         brackets around comparisons: (nf.col(\"a\") == 1) & (nf.col(\"b\") == 2)",
    )
}

#[pymethods]
impl Filter {
    #[new]
    fn new(r#where: &Bound<'_, PyAny>) -> PyResult<Self> {
        filter(r#where).map(Self)
    }

    fn __and__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(self.0.clone().and(filter(other)?)))
    }

    fn __or__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(self.0.clone().or(filter(other)?)))
    }

    fn __rand__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(filter(other)?.and(&self.0)))
    }

    fn __ror__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(filter(other)?.or(&self.0)))
    }

    fn __invert__(&self) -> Self {
        Self(self.0.clone().not())
    }

    fn __bool__(&self) -> PyResult<bool> {
        Err(no_truth())
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.to_string().hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, (String,)) {
        (py.get_type::<Self>().into_any(), (self.0.to_string(),))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Filter({:?})", self.0.to_string())
    }
}

fn pattern_text(given: &Bound<'_, PyAny>) -> PyResult<String> {
    text("pattern", given)
}

fn prefix_text(given: &Bound<'_, PyAny>) -> PyResult<String> {
    text("prefix", given)
}

fn part_text(given: &Bound<'_, PyAny>) -> PyResult<String> {
    text("part", given)
}

impl Column {
    fn filter_column(&self) -> FilterColumn {
        nearfield::col(self.0.as_str())
    }
}

#[pymethods]
impl Column {
    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Filter> {
        let column = self.filter_column();
        if other.is_none() {
            return match op {
                CompareOp::Eq => Ok(Filter(column.is_null())),
                CompareOp::Ne => Ok(Filter(column.is_not_null())),
                _ => Err(PyTypeError::new_err("None has no order; use is_null() or == None")),
            };
        }
        let value = value(other)?;
        Ok(Filter(match op {
            CompareOp::Eq => column.eq(value),
            CompareOp::Ne => column.ne(value),
            CompareOp::Lt => column.lt(value),
            CompareOp::Le => column.le(value),
            CompareOp::Gt => column.gt(value),
            CompareOp::Ge => column.ge(value),
        }))
    }

    /// From `low` to `high`, both included.
    ///
    /// >>> nf.col("year").between(2019, 2024)
    /// Filter("year BETWEEN 2019 AND 2024")
    fn between(&self, low: &Bound<'_, PyAny>, high: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().between(value(low)?, value(high)?)))
    }

    /// Equal to one of `values`.
    ///
    /// >>> nf.col("lang").isin(["en", "de"])
    /// Filter("lang IN ('en', 'de')")
    fn isin(&self, values: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().is_in(self::values(values)?)))
    }

    /// Without a value; also `column == None`.
    ///
    /// >>> docs.count(where=nf.col("title").is_null())
    /// 0
    fn is_null(&self) -> Filter {
        Filter(self.filter_column().is_null())
    }

    /// With a value; also `column != None`.
    ///
    /// >>> docs.count(where=nf.col("title").is_not_null())
    /// 2
    fn is_not_null(&self) -> Filter {
        Filter(self.filter_column().is_not_null())
    }

    /// Text of the form of `pattern`: `%` is any text, `_` one character, `escape` takes the meaning from
    /// the one behind it.
    ///
    /// >>> docs.count(where=nf.col("title").like("%a%"))
    /// 2
    #[pyo3(signature = (pattern, escape=None))]
    fn like(
        &self,
        #[pyo3(from_py_with = pattern_text)] pattern: String,
        escape: Option<char>,
    ) -> Filter {
        let column = self.filter_column();
        Filter(match escape {
            Some(escape) => column.like_with_escape(&pattern, escape),
            None => column.like(&pattern),
        })
    }

    /// `like` without regard to case.
    ///
    /// >>> docs.count(where=nf.col("title").ilike("NEA_"))
    /// 1
    #[pyo3(signature = (pattern, escape=None))]
    fn ilike(
        &self,
        #[pyo3(from_py_with = pattern_text)] pattern: String,
        escape: Option<char>,
    ) -> Filter {
        let column = self.filter_column();
        Filter(match escape {
            Some(escape) => column.ilike_with_escape(&pattern, escape),
            None => column.ilike(&pattern),
        })
    }

    /// Text that begins with `prefix`.
    ///
    /// >>> docs.count(where=nf.col("title").starts_with("fa"))
    /// 1
    fn starts_with(&self, #[pyo3(from_py_with = prefix_text)] prefix: String) -> Filter {
        Filter(self.filter_column().starts_with(&prefix))
    }

    /// Text with `part` in it; a list that has it.
    ///
    /// >>> docs.count(where=nf.col("title").contains("ear"))
    /// 1
    fn contains(&self, #[pyo3(from_py_with = part_text)] part: String) -> Filter {
        Filter(self.filter_column().contains(&part))
    }

    /// The list has `value`.
    ///
    /// >>> nf.col("tags").has("rust")
    /// Filter("tags HAS 'rust'")
    fn has(&self, value: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().has(text("value", value)?)))
    }

    /// The list has one of `values`.
    ///
    /// >>> nf.col("tags").has_any(["rust", "c"])
    /// Filter("tags HAS ANY ('rust', 'c')")
    fn has_any(&self, values: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().has_any(texts(values)?)))
    }

    /// The list has each of `values`.
    ///
    /// >>> nf.col("tags").has_all(["rust", "c"])
    /// Filter("tags HAS ALL ('rust', 'c')")
    fn has_all(&self, values: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().has_all(texts(values)?)))
    }

    fn __and__(&self, other: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().is_true().and(filter(other)?)))
    }

    fn __or__(&self, other: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(self.filter_column().is_true().or(filter(other)?)))
    }

    fn __invert__(&self) -> Filter {
        Filter(self.filter_column().is_true().not())
    }

    fn __bool__(&self) -> PyResult<bool> {
        Err(no_truth())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let column = py.import("nearfield._pickles")?.getattr("column")?;
        Ok((column, (self.0.clone(),)))
    }

    fn __repr__(&self) -> String {
        format!("Column({:?})", self.0)
    }
}
