//! What may be said of words in a search, and of the texts of a column: read from Python.

use std::sync::Arc;

use nearfield::{Fusion, Normalize, Query, TextOptions, Words};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::errors::{invalid, raise, wrong_type};
use crate::hits::{Found, Hits};
use crate::ids::id_type;
use crate::numbers::{count, flag};

/// Rows that a function sees, unless told otherwise.
const RERANKED: usize = 50;

/// Everything said of words, and of how hits are ordered.
#[derive(Default)]
pub(crate) struct WordsArg {
    text: Option<String>,
    plain: bool,
    columns: Option<Vec<(String, f32)>>,
    fusion: Option<Fusion>,
    candidates: Option<usize>,
    highlight: Option<usize>,
    rerank: Option<Arc<Py<PyAny>>>,
}

impl WordsArg {
    /// Takes a keyword argument, if it is one of these.
    pub(crate) fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "words" => self.text = text(value)?,
            "plain" => self.plain = flag("plain", value)?,
            "words_in" => self.columns = weights(value)?,
            "fusion" => self.fusion = fusion(value)?,
            "candidates" => self.candidates = candidates_count(value)?,
            "highlight" => self.highlight = highlight_count(value)?,
            "rerank" if value.is_none() => self.rerank = None,
            "rerank" if value.is_callable() => {
                self.rerank = Some(Arc::new(value.clone().unbind()));
            }
            "rerank" => return Err(wrong_type("rerank", "a function of hits", value)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses what says something of words that are not there.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        let said = self.plain || self.columns.is_some() || self.highlight.is_some();
        if self.text.is_some() || !said {
            return Ok(());
        }
        let message = "plain, words_in and highlight say how words are searched; give words=";
        Err(invalid(py, message))
    }

    /// The words, for a search that has no vector.
    pub(crate) fn words(&self) -> Option<Words> {
        let text = self.text.as_deref()?;
        Some(if self.plain { Words::plain(text) } else { Words::new(text) })
    }

    /// The engine's search with all of it; `width` is the number of elements of a vector.
    pub(crate) fn apply<'a>(self, mut query: Query<'a>, width: usize) -> Query<'a> {
        if let Some(words) = self.words() {
            query = query.words(words);
        }
        if let Some(columns) = self.columns {
            query = query.columns(columns);
        }
        if let Some(fusion) = self.fusion {
            query = query.fusion(fusion);
        }
        if let Some(candidates) = self.candidates {
            query = query.candidates(candidates);
        }
        if let Some(characters) = self.highlight {
            query = query.highlight(characters);
        }
        match self.rerank {
            Some(rank) => {
                let candidates = self.candidates.unwrap_or(RERANKED);
                query.rerank(candidates, move |hits| ranked(&rank, hits, width))
            }
            None => query,
        }
    }
}

/// The scores that a function gives to hits.
fn ranked(
    rank: &Py<PyAny>,
    hits: &nearfield::Hits,
    width: usize,
) -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
    Python::attach(|py| {
        let first = id_type(hits.hits.first().map(|hit| &hit.id));
        let kind = first.unwrap_or(nearfield::IdType::U64);
        let hits = Hits { found: Found::new(hits.clone(), kind, width) };
        let scores = rank.bind(py).call1((hits,))?;
        let kwargs = PyDict::new(py);
        kwargs.set_item("dtype", "float32")?;
        let array = py.import("numpy")?.call_method("asarray", (&scores,), Some(&kwargs))?;
        let array = array.call_method1("reshape", (-1,))?;
        let array = array.cast::<PyArray1<f32>>().map_err(PyErr::from)?;
        Ok::<_, PyErr>(array.to_vec()?)
    })
    .map_err(Into::into)
}

/// `"rrf"`, `("rrf", k)`, `("weighted", alpha)` or `("weighted", alpha, "minmax" | "zscore")`.
fn fusion(value: &Bound<'_, PyAny>) -> PyResult<Option<Fusion>> {
    const EXPECTED: &str = "\"rrf\", (\"rrf\", k), (\"weighted\", alpha) or (\"weighted\", alpha, \"minmax\" or \"zscore\")";
    let wrong = || wrong_type("fusion", EXPECTED, value);
    if value.is_none() {
        return Ok(None);
    }
    let name = |item: &Bound<'_, PyAny>| item.extract::<String>().ok();
    if let Ok(word) = value.cast::<PyString>() {
        return match word.to_str()? {
            "rrf" => Ok(Some(Fusion::default())),
            other => Err(invalid(value.py(), format!("fusion is {other:?}, expected {EXPECTED}"))),
        };
    }
    let parts: Vec<Bound<'_, PyAny>> = match value.cast::<PyTuple>() {
        Ok(parts) => parts.iter().collect(),
        Err(_) => value.extract().map_err(|_wrong| wrong())?,
    };
    let number = |at: usize| parts.get(at).and_then(|part| part.extract::<f32>().ok());
    let kind = parts.first().and_then(name);
    let fusion = match (kind.as_deref(), number(1), parts.get(2).map(name), parts.len()) {
        (Some("rrf"), Some(k), None, 2) => Fusion::ReciprocalRank { k },
        (Some("weighted"), Some(alpha), None, 2) => Fusion::weighted(alpha),
        (Some("weighted"), Some(alpha), Some(Some(how)), 3) => {
            let normalize = match how.as_str() {
                "minmax" => Normalize::MinMax,
                "zscore" => Normalize::ZScore,
                _ => return Err(wrong()),
            };
            Fusion::Weighted { alpha, normalize }
        }
        _ => return Err(wrong()),
    };
    Ok(Some(fusion))
}

/// Columns to search by words: a name, names, or a dict of names and weights.
fn weights(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<(String, f32)>>> {
    const EXPECTED: &str = "a column, a list of columns, or a dict of columns and weights";
    let wrong = || wrong_type("words_in", EXPECTED, value);
    if value.is_none() {
        return Ok(None);
    }
    if let Ok(name) = value.cast::<PyString>() {
        return Ok(Some(vec![(name.to_str()?.to_owned(), 1.0)]));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let pair = |(name, weight): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let name = name.extract::<String>().map_err(|_wrong| wrong())?;
            Ok((name, weight.extract::<f32>().map_err(|_wrong| wrong())?))
        };
        return dict.iter().map(pair).collect::<PyResult<_>>().map(Some);
    }
    let names = value.extract::<Vec<String>>().map_err(|_wrong| wrong())?;
    Ok(Some(names.into_iter().map(|name| (name, 1.0)).collect()))
}

fn candidates_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() { Ok(None) } else { count("candidates", value).map(Some) }
}

/// Characters of a snippet: a number, or true for 160.
fn highlight_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() {
        return Ok(None);
    }
    if let Ok(flag) = value.extract::<bool>() {
        return Ok(flag.then_some(160));
    }
    count("highlight", value).map(Some)
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() {
        return Ok(None);
    }
    let text = value.cast::<PyString>().map_err(|_wrong| wrong_type("words", "str", value))?;
    Ok(Some(text.to_str()?.to_owned()))
}

/// How texts are indexed: the name of a language, `None` for words as they are, or a dict of options.
pub(crate) fn text_options(value: &Bound<'_, PyAny>) -> PyResult<TextOptions> {
    const EXPECTED: &str = "a language, None, or a dict of language, stop_words, stem, k1 and b";
    let wrong = || wrong_type("options of a text column", EXPECTED, value);
    let language = |options: TextOptions, value: &Bound<'_, PyAny>| -> PyResult<TextOptions> {
        if value.is_none() {
            return Ok(options.no_language());
        }
        let name = value.extract::<String>().map_err(|_wrong| wrong())?;
        let language = name.parse().map_err(|error| raise(value.py(), &error))?;
        Ok(options.language(language))
    };
    let mut options = TextOptions::new();
    let Ok(dict) = value.cast::<PyDict>() else { return language(options, value) };
    for (name, value) in dict {
        let number = || value.extract::<f32>().map_err(|_wrong| wrong());
        options = match name.extract::<String>().map_err(|_wrong| wrong())?.as_str() {
            "language" => language(options, &value)?,
            "stop_words" => options.stop_words(flag("stop_words", &value)?),
            "stem" => options.stem(flag("stem", &value)?),
            "k1" => options.k1(number()?),
            "b" => options.b(number()?),
            other => {
                let message = format!("a text column has no option {other:?}, expected {EXPECTED}");
                return Err(invalid(value.py(), message));
            }
        };
    }
    Ok(options)
}

/// The options as `text_options` reads them.
pub(crate) fn options_to_python<'py>(
    py: Python<'py>,
    options: TextOptions,
) -> PyResult<Bound<'py, PyDict>> {
    let (language, stop_words, stem, k1, b) = options.values();
    let dict = PyDict::new(py);
    dict.set_item("language", language.map(|language| language.to_string()))?;
    dict.set_item("stop_words", stop_words)?;
    dict.set_item("stem", stem)?;
    // As it was written: the float that prints as the f32 does.
    dict.set_item("k1", k1.to_string().parse::<f64>().unwrap_or(k1.into()))?;
    dict.set_item("b", b.to_string().parse::<f64>().unwrap_or(b.into()))?;
    Ok(dict)
}
