//! Opening a database for what a command does: readers take no lock and work beside a writer.

use std::path::Path;

use nearfield::{CodeChoice, Collection, Database, OpenOptions, Result, Schema, Settings};
use serde::Serialize;

/// An existing database, for reading.
pub(crate) fn reader(path: &Path) -> Result<Database> {
    OpenOptions::new().read_only(true).open(path)
}

/// An existing database, for writing.
pub(crate) fn writer(path: &Path) -> Result<Database> {
    writer_of(path, CodeChoice::Auto, None)
}

/// The same, whose new segments have these codes, or such that searches do with so many bytes.
pub(crate) fn writer_of(
    path: &Path,
    codes: CodeChoice,
    serving: Option<usize>,
) -> Result<Database> {
    // A reader refuses what is no database; a writer would make one of an empty directory.
    drop(reader(path)?);
    with_codes(codes, serving).create(false).open(path)
}

/// Options of a database whose new segments have these codes, or such that searches do with so many bytes.
pub(crate) fn with_codes(codes: CodeChoice, serving: Option<usize>) -> OpenOptions {
    let mut settings = Settings::default();
    settings.code = codes;
    settings.serving_budget = serving;
    OpenOptions::new().settings(settings)
}

/// What a collection is, for documents.
#[derive(Debug, Serialize)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) dimension: usize,
    pub(crate) metric: nearfield::Metric,
    pub(crate) vector_type: nearfield::VectorType,
    pub(crate) raw: Option<nearfield::Raw>,
    pub(crate) id_type: Option<nearfield::IdType>,
    pub(crate) columns: Vec<nearfield::Column>,
}

impl Shape {
    pub(crate) fn of(collection: &Collection) -> Result<Self> {
        Ok(Self::new(collection.name(), &collection.schema()?))
    }

    fn new(name: &str, schema: &Schema) -> Self {
        Self {
            name: name.to_owned(),
            dimension: schema.dimension(),
            metric: schema.metric(),
            vector_type: schema.vector_type(),
            raw: schema.raw(),
            id_type: schema.id_type(),
            columns: schema.columns().to_vec(),
        }
    }

    /// In words: `384 dimensions, f16, cosine`.
    pub(crate) fn words(&self) -> String {
        let raw = self.raw.filter(|raw| *raw != nearfield::Raw::F32);
        let kept = raw.map_or_else(String::new, |raw| format!(" (raw {raw})"));
        format!("{} dimensions, {}{kept}, {}", self.dimension, self.vector_type, self.metric)
    }

    /// The columns in words: `name utf8, year int64`.
    pub(crate) fn column_words(&self) -> String {
        let words = |column: &nearfield::Column| {
            let text = if column.text { " (text)" } else { "" };
            format!("{} {}{text}", super::show::plain(&column.name), column.data_type)
        };
        self.columns.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}
