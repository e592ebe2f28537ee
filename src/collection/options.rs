//! What a collection is (its [`Schema`], kept with the data) and how it is run (the [`Settings`],
//! kept nowhere).
//!
//! The schema names its vector fields, so that a later version may hold several; this version
//! creates exactly one, called `vector`.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::embed::Embedding;
use crate::codec::full::{Space, Stage};
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::writer::GraphParams;
use crate::text::options::TextOptions;
use crate::types::spelling::nearest_or_all;
use crate::types::{
    CodeChoice, Column, DataType, IdType, MAX_DIMENSION, Memory, Metric, Raw, VectorType,
};

/// Most attribute columns a collection may have.
pub const MAX_COLUMNS: usize = 4_096;
/// Longest column name, in bytes.
pub const MAX_COLUMN_NAME_BYTES: usize = 256;

/// Least memory for searches: less than that is not worth a setting.
const LEAST_SERVING: usize = 1 << 20;

/// Names that mean the row itself wherever columns are named.
const RESERVED: [&str; 2] = ["id", "vector"];

/// Names that mean what a hit says of its row. Older collections may have columns of these names.
const OF_HITS: [&str; 2] = ["distance", "score"];

/// One vector per row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VectorField {
    name: String,
    dimension: usize,
    vector_type: VectorType,
    metric: Metric,
    /// What is kept of f32 vectors, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<Raw>,
    /// The embedder that made the vectors of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedding: Option<Embedding>,
}

/// What a collection holds: fixed when it is created, except that columns may be added.
///
/// ```
/// use nearfield::{DataType, Metric, Schema};
/// let schema = Schema::new(384, Metric::Cosine).column("year", DataType::Int64).text("body");
/// assert_eq!(schema.dimension(), 384);
/// assert_eq!(schema.columns().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_type: Option<IdType>,
    fields: Vec<VectorField>,
    columns: Vec<Column>,
    /// Text columns that are indexed otherwise than by default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    texts: BTreeMap<String, TextOptions>,
}

impl Schema {
    /// Vectors of `dimension` elements (1 to 65,536) under `metric`, stored as f32, or as bits where
    /// the metric compares bits. The kind of id is that of the first batch, unless
    /// [`with_id_type`](Self::with_id_type) fixes it.
    #[must_use]
    pub fn new(dimension: usize, metric: Metric) -> Self {
        let vector_type = if metric.is_binary() { VectorType::B1 } else { VectorType::F32 };
        let name = "vector".into();
        let field =
            VectorField { name, dimension, vector_type, metric, raw: None, embedding: None };
        Self { id_type: None, fields: vec![field], columns: Vec::new(), texts: BTreeMap::new() }
    }

    /// Stores vectors as `vector_type` instead of f32.
    #[must_use]
    pub fn with_vector_type(mut self, vector_type: VectorType) -> Self {
        self.fields[0].vector_type = vector_type;
        self
    }

    /// Keeps of the vectors, which are f32, what `raw` says.
    #[must_use]
    pub fn with_raw(mut self, raw: Raw) -> Self {
        self.fields[0].raw = Some(raw);
        self
    }

    /// Fixes the kind of id.
    #[must_use]
    pub fn with_id_type(mut self, id_type: IdType) -> Self {
        self.id_type = Some(id_type);
        self
    }

    /// Adds a nullable column.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.columns.push(Column { name: name.into(), data_type, text: false });
        self
    }

    /// Adds a UTF-8 column meant to be searched by words. Searching, by `Collection::search_words` and
    /// `Query::words`, needs the feature `text`; without it the column is stored and filtered alone.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>) -> Self {
        self.columns.push(Column { name: name.into(), data_type: DataType::Utf8, text: true });
        self
    }

    /// Adds a UTF-8 column to be searched by words, its texts indexed as `options` say.
    #[must_use]
    pub fn text_with(mut self, name: impl Into<String>, options: TextOptions) -> Self {
        let name = name.into();
        self.texts.insert(name.clone(), options);
        self.text(name)
    }

    /// How the texts of a column are indexed; `None` for a column that is not.
    #[must_use]
    pub fn text_options(&self, column: &str) -> Option<TextOptions> {
        let column = self.columns.iter().find(|known| known.name == column && known.text)?;
        Some(self.texts.get(&column.name).copied().unwrap_or_default())
    }

    /// Dimensions of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.fields[0].dimension
    }

    /// Elements in which a vector is given and returned; see [`VectorType::row_elements`].
    #[must_use]
    pub fn row_elements(&self) -> usize {
        self.vector_type().row_elements(self.dimension())
    }

    /// How vectors are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.fields[0].metric
    }

    /// Type in which vectors are given and returned.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.fields[0].vector_type
    }

    /// What is kept of f32 vectors; `None` for vectors of another type, which are kept as they are.
    #[must_use]
    pub fn raw(&self) -> Option<Raw> {
        let raw = self.fields[0].raw.unwrap_or_default();
        (self.vector_type() == VectorType::F32).then_some(raw)
    }

    /// The kind of id; `None` before the first write of a collection that did not fix it.
    #[must_use]
    pub fn id_type(&self) -> Option<IdType> {
        self.id_type
    }

    /// What the collection remembers of the embedder that made vectors of texts, if one has; see
    /// [`Collection::with_embedder`](crate::Collection::with_embedder).
    #[must_use]
    pub fn embedding(&self) -> Option<&Embedding> {
        self.fields[0].embedding.as_ref()
    }

    /// The attribute columns in order of declaration.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// That of the vectors as they are logged and held in memory.
    pub(crate) fn space(&self) -> Space {
        let vector_type = match self.raw() {
            Some(Raw::F16) => VectorType::F16,
            _ => self.vector_type(),
        };
        let stage = if self.raw() == Some(Raw::None) { Stage::Rounding } else { Stage::Given };
        Space { dimension: self.dimension(), vector_type, metric: self.metric(), stage }
    }

    /// The column called `name`; otherwise `NotFound` with the nearest name, or those that there are.
    pub(crate) fn find(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let names = self.columns.iter().map(|column| column.name.as_str());
            let hint = match name {
                "id" => "; the id comes with every row and is no column".into(),
                "vector" => "; vectors are no column, they are read on request".into(),
                name => nearest_or_all(name, names),
            };
            Error::not_found(format!("column {name:?}"), hint)
        })
    }

    /// All columns as Arrow types.
    pub(crate) fn arrow(&self) -> SchemaRef {
        columns::arrow_schema(self.columns.iter().map(|c| (c.name.as_str(), c.data_type)))
    }

    /// Columns named by `names`, or all of them, as Arrow types.
    pub(crate) fn select(&self, names: Option<&[String]>) -> Result<SchemaRef> {
        let Some(names) = names else { return Ok(self.arrow()) };
        let found: Vec<&Column> =
            names.iter().map(|name| self.find(name)).collect::<Result<_>>()?;
        Ok(columns::arrow_schema(found.iter().map(|c| (c.name.as_str(), c.data_type))))
    }

    /// What a reader of the collection must know beyond the first version.
    pub(crate) fn required_features(&self) -> Vec<String> {
        let feature = match self.vector_type() {
            VectorType::F32 | VectorType::F16 | VectorType::U8 => None,
            VectorType::Bf16 => Some("vectors-bf16"),
            VectorType::I8 => Some("vectors-i8"),
            VectorType::B1 => Some("vectors-b1"),
        };
        let raw = match self.raw() {
            None | Some(Raw::F32) => None,
            Some(Raw::F16) => Some("raw-f16"),
            Some(Raw::None) => Some("raw-none"),
        };
        let sparse = self.columns.iter().any(|column| column.data_type == DataType::Sparse);
        let sparse = sparse.then_some("columns-sparse");
        feature.into_iter().chain(raw).chain(sparse).map(str::to_owned).collect()
    }

    pub(crate) fn push_column(&mut self, column: Column) {
        self.columns.push(column);
    }

    /// Has the texts of `column` indexed as `options` say; whether that is new.
    pub(crate) fn set_text(&mut self, column: &str, options: TextOptions) -> Result<bool> {
        self.find(column)?;
        let new = self.text_options(column) != Some(options);
        for known in self.columns.iter_mut().filter(|known| known.name == column) {
            known.text = true;
        }
        self.texts.insert(column.into(), options);
        Ok(new)
    }

    /// The columns that are searched by words, in order of declaration.
    #[cfg(feature = "text")]
    pub(crate) fn text_columns(&self) -> impl Iterator<Item = (&Column, TextOptions)> {
        self.columns.iter().filter_map(|column| Some((column, self.text_options(&column.name)?)))
    }

    pub(crate) fn set_embedding(&mut self, embedding: Embedding) {
        self.fields[0].embedding = Some(embedding);
    }

    pub(crate) fn fix_id_type(&mut self, id_type: IdType) {
        self.id_type = Some(id_type);
    }

    /// Refuses what no new collection can be.
    pub(crate) fn validate_new(&self) -> Result<()> {
        self.validate()?;
        self.columns.iter().try_for_each(validate_new_column)
    }

    /// Refuses what no collection can be.
    pub(crate) fn validate(&self) -> Result<()> {
        let [field] = self.fields.as_slice() else {
            return Err(Error::invalid(
                "a collection has exactly one vector field in this version",
            ));
        };
        if field.dimension == 0 || field.dimension > MAX_DIMENSION {
            return Err(Error::invalid(format!(
                "dimension {} is not allowed, expected 1 to 65,536",
                field.dimension
            )));
        }
        if field.metric.is_binary() != (field.vector_type == VectorType::B1) {
            return Err(Error::invalid(format!(
                "vectors stored as {} cannot be compared by {}: bits (b1) go with hamming or \
                 jaccard, other types with l2, cosine or dot",
                field.vector_type, field.metric
            )));
        }
        if let (Some(raw), None) = (field.raw, self.raw()) {
            return Err(Error::invalid(format!(
                "raw is {raw}, but vectors are {}: raw says what is kept of f32 vectors, others are kept as \
                 they are; leave it out",
                field.vector_type
            )));
        }
        if self.columns.len() > MAX_COLUMNS {
            return Err(Error::invalid(format!("more than {MAX_COLUMNS} columns")));
        }
        let mut names = std::collections::HashSet::new();
        for column in &self.columns {
            validate_column(column)?;
            if !names.insert(&column.name) {
                return Err(Error::invalid(format!("column {:?} is declared twice", column.name)));
            }
        }
        for (name, options) in &self.texts {
            self.find(name)?;
            options.validate(name)?;
        }
        field.embedding.as_ref().map_or(Ok(()), |embedding| embedding.validate(&self.columns))
    }

    /// Refuses to treat a collection of this schema as one of `asked`: dimension, vector type,
    /// metric and (where both say it) id type must agree, and the columns asked for must have
    /// their types.
    pub(crate) fn accepts(&self, name: &str, asked: &Self) -> Result<()> {
        let differs = |what: &str, stored: String, asked: String| {
            (stored != asked).then(|| Error::SchemaMismatch {
                what: format!("{what} of collection {name:?}"),
                expected: stored,
                given: asked,
            })
        };
        let ids = |schema: &Self| schema.id_type.map(|id_type| id_type.in_words().to_owned());
        let raw = |schema: &Self| asked.fields[0].raw.and(schema.raw()).map(|raw| raw.to_string());
        let model = |schema: &Self| schema.embedding().map(|known| format!("{:?}", known.model));
        let found =
            differs("dimension", self.dimension().to_string(), asked.dimension().to_string())
                .or_else(|| {
                    differs("metric", self.metric().to_string(), asked.metric().to_string())
                })
                .or_else(|| {
                    differs(
                        "vector type",
                        self.vector_type().to_string(),
                        asked.vector_type().to_string(),
                    )
                })
                .or_else(|| differs("raw", raw(self)?, raw(asked)?))
                .or_else(|| differs("ids", ids(self)?, ids(asked)?))
                .or_else(|| differs("embedding model", model(self)?, model(asked)?))
                .or_else(|| {
                    asked.texts.iter().find_map(|(name, options)| {
                        let stored = self.text_options(name)?;
                        let what = format!("text options of column {name:?}");
                        let given = format!("{options}; add_text_index has it indexed anew");
                        (stored != *options)
                            .then(|| differs(&what, stored.to_string(), given))
                            .flatten()
                    })
                })
                .or_else(|| {
                    asked.columns.iter().find_map(|column| {
                        let stored =
                            self.columns.iter().find(|stored| stored.name == column.name)?;
                        differs(
                            &format!("type of column {:?}", column.name),
                            stored.data_type.to_string(),
                            column.data_type.to_string(),
                        )
                    })
                });
        found.map_or(Ok(()), Err)
    }
}

/// Refuses to add a column whose values would stand where a hit has its own.
pub(crate) fn validate_new_column(column: &Column) -> Result<()> {
    let name = column.name.as_str();
    if OF_HITS.contains(&name) {
        return Err(Error::invalid(format!(
            "column name {name:?} is reserved for what a hit says of its row; choose another"
        )));
    }
    Ok(())
}

fn validate_column(column: &Column) -> Result<()> {
    let name = column.name.as_str();
    if name.is_empty() || name.len() > MAX_COLUMN_NAME_BYTES || name.contains('\0') {
        return Err(Error::invalid(format!(
            "column name of {} bytes; expected 1 to {MAX_COLUMN_NAME_BYTES} without NUL",
            name.len()
        )));
    }
    if RESERVED.contains(&name) {
        return Err(Error::invalid(format!(
            "column name {name:?} is reserved for the row itself; choose another"
        )));
    }
    if column.text && column.data_type != DataType::Utf8 {
        return Err(Error::invalid(format!(
            "text column {name:?} is {}, expected utf8",
            column.data_type
        )));
    }
    Ok(())
}

/// When a write is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Before the call returns: the log is fsynced, once for all writers waiting together.
    #[default]
    Sync,
    /// In the operating system's cache when the call returns: survives the death of the process,
    /// not of the machine. `flush` makes it durable.
    Buffered,
    /// In this process until `flush`, a full buffer or `close`: for bulk loads that can be
    /// repeated.
    None,
}

/// How a database is run; nothing of it is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// When writes are on disk. Default [`Durability::Sync`].
    pub durability: Durability,
    /// Threads for graph builds and batch searches; 0 means one a core. Default 0.
    pub threads: usize,
    /// Bytes of fresh rows held in memory before they become a segment. Default 64 MiB.
    pub memtable_bytes: usize,
    /// Bytes of anonymous memory an import may take. Default 1 GiB.
    pub memory_budget: usize,
    /// Bytes of vectors from which a segment gets a graph, where a vector counts for 512 at least,
    /// or for eight times its own where it has less than 64. Default 16 MiB.
    pub graph_bytes: u64,
    /// Neighbours per node and level of a graph (twice that on the lowest level): 2 to 64. Default 16.
    pub m: usize,
    /// Candidates considered when a row is linked into a graph. Default 200.
    pub ef_construction: usize,
    /// What leads searches to their candidates. Default [`CodeChoice::Auto`].
    pub code: CodeChoice,
    /// Bytes of memory that searches of a collection should do with: of each collection, for what they read
    /// of all its segments but columns and the few vectors that they compare at last. Default `None`, no limit.
    ///
    /// Segments written with [`CodeChoice::Auto`] get their share of it, by rows: codes of eight or four bits where
    /// these fit beside the graph, else product codes of as many bytes a row as fit and keep near rows near.
    /// With [`Memory::Ram`] it bounds what is held. What it does not bound are fresh rows
    /// ([`memtable_bytes`](Self::memtable_bytes)), builds ([`memory_budget`](Self::memory_budget)) and indexes
    /// of columns. Where nothing fits, segments have the smallest codes that will do, and
    /// [`Stats::serving_problem`](crate::Stats::serving_problem) tells.
    pub serving_budget: Option<usize>,
    /// Where searches find what they read of segments. Default [`Memory::Mapped`].
    pub memory: Memory,
    /// Candidates kept by a graph search that does not say `ef`. Default 100.
    pub ef_search: usize,
    /// Whether segments are merged in the background. Default true.
    pub compaction: bool,
    /// Whether there are background threads at all; without them a writer whose memtables are full
    /// does their work itself. Default true.
    pub background: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            threads: 0,
            memtable_bytes: 64 << 20,
            memory_budget: 1 << 30,
            graph_bytes: 16 << 20,
            m: 16,
            ef_construction: 200,
            code: CodeChoice::Auto,
            serving_budget: None,
            memory: Memory::Mapped,
            ef_search: 100,
            compaction: true,
            background: true,
        }
    }
}

impl Settings {
    /// Refuses settings that could not work.
    pub(crate) fn validate(&self) -> Result<()> {
        let range = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("{name} is {value}, expected {low} to {high}")))
        };
        range("threads", self.threads, 0, 1_024)?;
        range("memtable_bytes", self.memtable_bytes, 64 << 10, 16 << 30)?;
        range("memory_budget", self.memory_budget, 16 << 20, usize::MAX)?;
        range("m", self.m, *GraphParams::M.start(), *GraphParams::M.end())?;
        range("ef_construction", self.ef_construction, 4, 4_096)?;
        range("ef_search", self.ef_search, 1, 1 << 20)?;
        if let Some(bytes) = self.serving_budget.filter(|bytes| *bytes < LEAST_SERVING) {
            return Err(Error::invalid(format!(
                "serving_budget is {bytes} bytes, expected {LEAST_SERVING} at least, or none for no limit"
            )));
        }
        self.code.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_survives_its_json_form() {
        let schema = Schema::new(3, Metric::Dot)
            .with_vector_type(VectorType::U8)
            .with_id_type(IdType::Utf8)
            .column("year", DataType::Int64)
            .text("body");
        let json = serde_json::to_string(&schema).expect("json");
        assert_eq!(serde_json::from_str::<Schema>(&json).expect("parse"), schema);
    }

    #[test]
    fn impossible_schemas_are_refused() {
        for schema in [
            Schema::new(0, Metric::L2),
            Schema::new(70_000, Metric::L2),
            Schema::new(3, Metric::L2).with_vector_type(VectorType::B1),
            Schema::new(3, Metric::Hamming).with_vector_type(VectorType::U8),
            Schema::new(3, Metric::Jaccard).with_vector_type(VectorType::F32),
            Schema::new(3, Metric::L2).with_vector_type(VectorType::U8).with_raw(Raw::F16),
            Schema::new(3, Metric::Hamming).with_raw(Raw::F32),
            Schema::new(3, Metric::L2).column("id", DataType::Int64),
            Schema::new(3, Metric::L2).column("", DataType::Int64),
            Schema::new(3, Metric::L2).column("a", DataType::Int64).text("a"),
        ] {
            assert!(schema.validate().is_err(), "{schema:?}");
        }
    }

    #[test]
    fn an_unknown_column_names_the_nearest() {
        let schema = Schema::new(3, Metric::L2).column("year", DataType::Int64);
        let message = schema.find("yaer").expect_err("unknown").to_string();
        assert!(message.contains("did you mean \"year\""), "{message}");
    }

    #[test]
    fn more_links_than_a_graph_has_room_for_are_refused() {
        let checked = |m| Settings { m, ..Settings::default() }.validate();
        assert!(checked(2).is_ok() && checked(64).is_ok());
        for m in [0, 1, 65, 128, usize::MAX] {
            let message = checked(m).expect_err("out of range").to_string();
            assert!(message.contains(&format!("m is {m}, expected 2 to 64")), "{message}");
        }
    }
}
