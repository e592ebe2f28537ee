//! Search by words in Python: what is looked for and where, and how it makes one order with a vector.

use nearfield::{Fusion, Normalize, Query, Words};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{invalid, text_of, wrong_type};
use crate::numbers::{count, flag, mapping, number, string};
use crate::rerank::Rerank;
use crate::schema::named;
use crate::texts::Texts;

/// Ways to make one order of two.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    ReciprocalRank,
    Weighted,
}

const WAYS: [(&str, Way); 2] = [("rrf", Way::ReciprocalRank), ("weighted", Way::Weighted)];
const NORMALIZES: [(&str, Normalize); 2] =
    [("minmax", Normalize::MinMax), ("zscore", Normalize::ZScore)];
/// Characters of a snippet, unless told otherwise.
const SNIPPET: usize = 160;

/// Everything said of words, and of how hits are ordered.
#[derive(Default)]
pub(crate) struct WordsArg {
    /// The words of each query.
    texts: Option<Vec<String>>,
    plain: bool,
    columns: Option<Vec<(String, f32)>>,
    highlight: Option<usize>,
    fusing: Fusing,
    candidates: Option<usize>,
    rerank: Rerank,
}

/// What was said of fusion.
#[derive(Default)]
struct Fusing {
    way: Option<Way>,
    rrf_k: Option<f32>,
    alpha: Option<f32>,
    normalize: Option<Normalize>,
}

impl WordsArg {
    /// Takes a keyword argument, if it is one of these.
    pub(crate) fn take(
        &mut self,
        name: &str,
        value: &Bound<'_, PyAny>,
        batch: bool,
    ) -> PyResult<bool> {
        let given = !value.is_none();
        match name {
            "words" if given && batch => {
                let texts = Texts::from_python(name, value)?;
                self.texts = Some(texts.all().into_iter().map(ToOwned::to_owned).collect());
            }
            "words" if given => self.texts = Some(vec![string(name, value)?]),
            "plain" => self.plain = flag(name, value)?,
            "words_in" if given => self.columns = Some(weights(value)?),
            "highlight" if given => self.highlight = characters(value)?,
            "fusion" if given => self.fusing.way = Some(named(name, &WAYS, value)?),
            "rrf_k" if given => self.fusing.rrf_k = Some(number(name, value)?),
            "alpha" if given => self.fusing.alpha = Some(number(name, value)?),
            "normalize" if given => {
                self.fusing.normalize = Some(named(name, &NORMALIZES, value)?);
            }
            "candidates" if given => self.candidates = Some(count(name, value)?),
            "words" | "words_in" | "highlight" | "fusion" | "rrf_k" | "alpha" | "normalize"
            | "candidates" => {}
            _ => return self.rerank.take(name, value),
        }
        Ok(true)
    }

    /// Refuses what says something of words or functions that are not there, and what contradicts.
    pub(crate) fn check(&self, py: Python<'_>, lists: usize) -> PyResult<()> {
        let of_words = [
            ("plain", self.plain),
            ("words_in", self.columns.is_some()),
            ("highlight", self.highlight.is_some()),
        ];
        let of_both = [
            ("fusion", self.fusing.way.is_some()),
            ("rrf_k", self.fusing.rrf_k.is_some()),
            ("alpha", self.fusing.alpha.is_some()),
            ("normalize", self.fusing.normalize.is_some()),
            ("candidates", self.candidates.is_some()),
        ];
        let said = |all: &[(&'static str, bool)]| all.iter().find(|(_, said)| *said).map(|of| of.0);
        if self.texts.is_none()
            && let Some(name) = said(&of_words)
        {
            let message = format!("{name} says how words are searched; give words= too");
            return Err(invalid(py, message));
        }
        if lists < 2
            && let Some(name) = said(&of_both)
        {
            let message = format!(
                "{name} says how several lists become one order; give two of a vector (or text=), words= \
                 and sparse="
            );
            return Err(invalid(py, message));
        }
        self.fusing.read().map_err(|wrong| invalid(py, wrong))?;
        self.rerank.check(py)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.texts.is_some()
    }

    /// The words of each query; none where words are not searched.
    pub(crate) fn words(&self) -> Vec<Words> {
        let words = if self.plain { Words::plain } else { Words::new };
        self.texts.iter().flatten().map(words).collect()
    }

    /// The engine's search with all of it; `width` is the number of elements of a vector.
    pub(crate) fn apply<'a>(self, mut query: Query<'a>, width: usize) -> Query<'a> {
        if self.is_asked() {
            query = query.words_each(self.words());
        }
        if let Some(columns) = self.columns {
            query = query.columns(columns);
        }
        if let Some(characters) = self.highlight {
            query = query.highlight(characters);
        }
        if let Ok(Some(fusion)) = self.fusing.read() {
            query = query.fusion(fusion);
        }
        if let Some(candidates) = self.candidates {
            query = query.candidates(candidates);
        }
        self.rerank.apply(query, width)
    }
}

impl Fusing {
    /// The engine's fusion; `None` for its default.
    fn read(&self) -> Result<Option<Fusion>, &'static str> {
        let weighted = self.alpha.is_some() || self.normalize.is_some();
        match (self.way, self.rrf_k, self.alpha) {
            (Some(Way::ReciprocalRank), _, _) | (None, Some(_), _) if weighted => {
                Err("alpha and normalize are of fusion=\"weighted\", given with \"rrf\" or rrf_k; \
                     leave one of them out")
            }
            (Some(Way::Weighted), Some(_), _) => {
                Err("rrf_k is of fusion=\"rrf\", given with \"weighted\"; leave one of them out")
            }
            (Some(Way::Weighted), None, None) | (None, None, None) if self.is_weighted() => Err(
                "fusion=\"weighted\" needs alpha, the share of the vector, from 0 (words alone) \
                 to 1 (the vector alone)",
            ),
            (_, Some(k), _) => Ok(Some(Fusion::ReciprocalRank { k })),
            (_, None, Some(alpha)) => {
                let normalize = self.normalize.unwrap_or_default();
                Ok(Some(Fusion::Weighted { alpha, normalize }))
            }
            (_, None, None) => Ok(None),
        }
    }

    fn is_weighted(&self) -> bool {
        self.way == Some(Way::Weighted) || self.normalize.is_some()
    }
}

/// Columns to search by words: a name, names, or a dict of names and weights.
fn weights(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, f32)>> {
    const EXPECTED: &str = "a column, a list of columns, or a dict of columns and weights";
    let wrong = || wrong_type("words_in", EXPECTED, value);
    if let Ok(name) = value.cast::<PyString>() {
        return Ok(vec![(text_of("words_in", name)?.to_owned(), 1.0)]);
    }
    let columns: Vec<(String, f32)> = if let Some(dict) = mapping(value)? {
        let pair = |(name, weight): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let name = name.extract::<String>().map_err(|_wrong| wrong())?;
            let what = format!("words_in: weight of {name:?}");
            Ok((name, number(&what, &weight)?))
        };
        dict.iter().map(pair).collect::<PyResult<_>>()?
    } else {
        let names = value.extract::<Vec<String>>().map_err(|_wrong| wrong())?;
        names.into_iter().map(|name| (name, 1.0)).collect()
    };
    if columns.is_empty() {
        return Err(invalid(
            value.py(),
            "words_in names no column; leave it out for all columns of text",
        ));
    }
    Ok(columns)
}

/// Characters of a snippet: a number, or true for the usual.
fn characters(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    match value.extract::<bool>() {
        Ok(wanted) => Ok(wanted.then_some(SNIPPET)),
        Err(_) => count("highlight", value).map(Some),
    }
}
