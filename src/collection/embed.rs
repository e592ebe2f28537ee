//! Text in: the [`Embedder`] that makes vectors of texts, and what a collection remembers of it.
//!
//! The function itself lives in the caller's program and is kept nowhere. The schema stores the name
//! of its model, beside the dimension that it has anyway, and the column that texts go to; a handle
//! with an embedder of another name or dimension is refused, since distances between the vectors of
//! two models mean nothing. Must not know what a model is or where it runs.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::options::{MAX_COLUMN_NAME_BYTES, Schema};
use crate::error::{Error, Result};
use crate::types::{Column, DataType, VectorType};

/// Name of the column that texts go to where the schema declares none.
const TEXT: &str = "text";

/// What an embedding function may fail with.
type Failure = Box<dyn StdError + Send + Sync>;
type Embed = dyn Fn(&[&str]) -> Result<Vec<f32>, Failure> + Send + Sync;

/// Makes vectors of texts: a function, the name of its model and the dimension of its vectors.
///
/// ```
/// # fn main() -> nearfield::Result<()> {
/// # let dir = tempfile::tempdir().expect("temporary directory");
/// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
/// use nearfield::{Embedder, Metric, Schema};
///
/// // As a model would, but by counting vowels.
/// let vowels = Embedder::new("vowels-1", 5, |texts| {
///     let count = |text: &str, vowel| text.matches(vowel).count() as f32;
///     let vector = |text| ["a", "e", "i", "o", "u"].map(|vowel| count(text, vowel));
///     Ok(texts.iter().flat_map(|text| vector(text)).collect())
/// });
/// let schema = Schema::new(vowels.dimension(), Metric::Cosine).text("body");
/// let docs = db.collection("docs", schema)?.with_embedder(&vowels)?;
/// docs.add_texts(None, &["banana", "cherry", "kiwi"], ())?;
/// let hits = docs.search_text("papaya").k(1).select(["body"]).run()?;
/// assert_eq!(hits[0].id, 1.into());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Embedder {
    model: Arc<str>,
    dimension: usize,
    documents: Arc<Embed>,
    queries: Option<Arc<Embed>>,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, dimension, .. } = self;
        write!(f, "Embedder({model:?}, {dimension})")
    }
}

impl Embedder {
    /// An embedder whose function returns, for each text in order, `dimension` numbers. `model` is
    /// what the collection remembers: change it whenever equal texts may get other vectors.
    ///
    /// What the function fails with comes back as the source of [`Error::Embed`].
    pub fn new(
        model: impl Into<String>,
        dimension: usize,
        embed: impl Fn(&[&str]) -> Result<Vec<f32>, Box<dyn StdError + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let model: String = model.into();
        Self { model: model.into(), dimension, documents: Arc::new(embed), queries: None }
    }

    /// Another function for texts that are searched for, as some models want it.
    #[must_use]
    pub fn with_queries(
        mut self,
        embed: impl Fn(&[&str]) -> Result<Vec<f32>, Box<dyn StdError + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.queries = Some(Arc::new(embed));
        self
    }

    /// Name of the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The vectors of texts that are stored, row-major.
    ///
    /// # Errors
    /// `Embed` when the function fails; `InvalidArgument` when it returns another number of numbers
    /// than it should.
    pub fn embed_documents<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<f32>> {
        self.embed(&self.documents, texts)
    }

    /// The vectors of texts that are searched for, row-major.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_queries<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<f32>> {
        self.embed(self.queries.as_ref().unwrap_or(&self.documents), texts)
    }

    /// Whether a collection of this schema could take this embedder.
    ///
    /// # Errors
    /// As [`Collection::with_embedder`](crate::Collection::with_embedder).
    pub fn check_schema(&self, schema: &Schema) -> Result<()> {
        Candidate::of(self).join(schema).map(drop)
    }

    fn embed<S: AsRef<str>>(&self, embed: &Arc<Embed>, texts: &[S]) -> Result<Vec<f32>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let vectors = embed(&texts)
            .map_err(|source| Error::Embed { model: self.model.to_string(), source })?;
        let (expected, given) = (self.dimension, vectors.len());
        if texts.len().checked_mul(expected) == Some(given) {
            return Ok(vectors);
        }
        // How many vectors these are the function alone knows.
        Err(Error::invalid(format!(
            "embedder {:?} was given {} text(s) and returned {given} numbers; expected a vector of \
             {expected} dimensions for each",
            self.model,
            texts.len()
        )))
    }
}

/// What a collection remembers of its embedder, beside the dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Embedding {
    /// Name of the model.
    pub model: String,
    /// The text column whose values were embedded.
    pub column: String,
}

impl Embedding {
    /// Refuses what no collection can remember.
    pub(crate) fn validate(&self, columns: &[Column]) -> Result<()> {
        let Self { model, column } = self;
        if model.is_empty() || model.len() > MAX_COLUMN_NAME_BYTES || model.contains('\0') {
            return Err(Error::invalid(format!(
                "name of a model of {} bytes; expected 1 to {MAX_COLUMN_NAME_BYTES} without NUL",
                model.len()
            )));
        }
        let texts = |known: &Column| known.name == *column && known.data_type == DataType::Utf8;
        if columns.iter().any(texts) {
            return Ok(());
        }
        Err(Error::invalid(format!("embedded column {column:?} is no column of text")))
    }
}

/// What asks to be a collection's embedder.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) model: String,
    pub(crate) dimension: usize,
}

impl Candidate {
    pub(crate) fn of(embedder: &Embedder) -> Self {
        Self { model: embedder.model().to_owned(), dimension: embedder.dimension() }
    }

    /// The schema that remembers this embedder; `None` if the given one does.
    pub(crate) fn join(&self, schema: &Schema) -> Result<Option<Schema>> {
        let Self { model, dimension } = self;
        if schema.vector_type() == VectorType::B1 {
            return Err(Error::invalid(
                "embedders make floats and the vectors of this collection are bits; pack the bits \
                 of each text and use upsert",
            ));
        }
        let known = schema.embedding();
        if known.is_some_and(|known| known.model != *model) || schema.dimension() != *dimension {
            let stored = known.map_or("any model".into(), |known| format!("{:?}", known.model));
            return Err(Error::SchemaMismatch {
                what: "embedder of the collection".into(),
                expected: format!("{stored} of {} dimensions", schema.dimension()),
                given: format!("{model:?} of {dimension} dimensions"),
            });
        }
        if known.is_some() {
            return Ok(None);
        }
        let mut joined = schema.clone();
        let column = text_column(schema);
        match schema.columns().iter().find(|known| known.name == column) {
            Some(known) if known.data_type != DataType::Utf8 => {
                return Err(Error::SchemaMismatch {
                    what: format!("type of column {column:?}, where texts go"),
                    expected: DataType::Utf8.to_string(),
                    given: format!("{}; declare another column of text", known.data_type),
                });
            }
            Some(_) => {}
            None => joined.push_column(Column {
                name: column.clone(),
                data_type: DataType::Utf8,
                text: true,
            }),
        }
        joined.set_embedding(Embedding { model: model.clone(), column });
        joined.validate()?;
        Ok(Some(joined))
    }
}

/// The column that texts go to: the first one declared as text, else `text`.
fn text_column(schema: &Schema) -> String {
    let declared = schema.columns().iter().find(|column| column.text);
    declared.map_or(TEXT, |column| &column.name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Metric;

    fn candidate(model: &str, dimension: usize) -> Candidate {
        Candidate { model: model.into(), dimension }
    }

    #[test]
    fn texts_go_to_the_first_text_column_or_to_a_new_one() {
        let column = |schema: Schema| {
            let joined = candidate("m", 3).join(&schema).expect("joins").expect("changes");
            joined.embedding().expect("remembered").column.clone()
        };
        let schema = Schema::new(3, Metric::L2).column("year", DataType::Int64);
        assert_eq!(column(schema.clone()), "text");
        assert_eq!(column(schema.clone().text("body").text("more")), "body");
        let taken = schema.column("text", DataType::Bool);
        assert!(matches!(candidate("m", 3).join(&taken), Err(Error::SchemaMismatch { .. })));
    }

    #[test]
    fn an_embedder_that_is_remembered_changes_nothing() {
        let schema = Schema::new(3, Metric::L2);
        let joined = candidate("m", 3).join(&schema).expect("joins").expect("changes");
        assert_eq!(candidate("m", 3).join(&joined).expect("joins"), None);
        for other in [candidate("n", 3), candidate("m", 4)] {
            let error = other.join(&joined).expect_err("refused").to_string();
            assert!(error.contains("\"m\" of 3 dim") && error.contains(&other.model), "{error}");
        }
    }

    #[test]
    fn a_schema_with_a_bad_memory_is_refused() {
        let joined = candidate("m", 3).join(&Schema::new(3, Metric::L2)).expect("joins");
        let good = serde_json::to_string(&joined.expect("changes")).expect("json");
        for (from, to) in [("\"model\":\"m\"", "\"model\":\"\""), ("n\":\"text\"", "n\":\"txt\"")] {
            assert!(good.contains(from), "{good}");
            let bad: Schema = serde_json::from_str(&good.replace(from, to)).expect("parse");
            assert!(bad.validate().is_err(), "{from}");
        }
    }
}
