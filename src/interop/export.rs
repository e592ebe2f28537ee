//! Rows out: batches into a Parquet, Arrow or JSON lines file.
//!
//! The file is written under a temporary name beside the target, synced and renamed; an error on
//! the way leaves the target as it was and nothing else behind. What is exported reads back as
//! the same ids, vector bits, attributes and nulls (JSON has no NaN: an attribute that is NaN or
//! infinite is written as null).

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;

use crate::error::{Error, Result};
use crate::types::{DataType, IdType, Ids, Metric, VectorType, Vectors};

use super::Format;
use super::json_write::JsonWriter;

/// Name of the elements of list columns, as the Parquet format asks.
#[cfg(feature = "parquet")]
pub(super) const ITEM_NAME: &str = "element";

/// Shape of the rows to be written.
#[derive(Clone, Debug)]
pub struct ExportSchema {
    /// Dimensions of each vector.
    pub dimension: usize,
    /// Element type of the vectors. They are written as they are, bf16 as f32 (which holds it
    /// exactly) and b1 as bytes of eight bits.
    pub vector_type: VectorType,
    /// How vectors are compared. Parquet and Arrow files say so, and the type and dimension too, for a
    /// collection that is made of them.
    pub metric: Option<Metric>,
    /// Kind of the ids.
    pub id_type: IdType,
    /// Attribute columns, in the order of the batches.
    pub columns: Vec<(String, DataType)>,
    /// Name of the id column in the file.
    pub id_name: String,
    /// Name of the vector column in the file.
    pub vector_name: String,
}

impl ExportSchema {
    /// A schema without attributes, whose columns are named `id` and `vector`.
    #[must_use]
    pub fn new(dimension: usize, vector_type: VectorType, id_type: IdType) -> Self {
        Self {
            dimension,
            vector_type,
            metric: None,
            id_type,
            columns: Vec::new(),
            id_name: "id".to_owned(),
            vector_name: "vector".to_owned(),
        }
    }

    /// Adds an attribute column.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.columns.push((name.into(), data_type));
        self
    }

    /// Elements of a vector in a batch and in the file.
    pub(super) fn row_elements(&self) -> usize {
        self.vector_type.row_elements(self.dimension)
    }

    fn check(&self) -> Result<()> {
        let names = self.columns.iter().map(|(name, _)| name).chain([&self.vector_name]);
        match names.clone().find(|name| **name == self.id_name).or_else(|| {
            self.columns.iter().map(|(name, _)| name).find(|name| **name == self.vector_name)
        }) {
            Some(name) => Err(Error::invalid(format!(
                "two columns of the exported file would be named {name:?}; give the id or the \
                 vector another name"
            ))),
            None => Ok(()),
        }
    }
}

/// Some rows to be written.
#[derive(Clone, Debug)]
pub struct ExportBatch {
    /// One id a row, of the kind that the schema names.
    pub ids: Ids<'static>,
    /// Row-major vectors, of the element type that the schema names.
    pub vectors: Vectors<'static>,
    /// The attribute columns of the schema, in its order and in the Arrow types of
    /// [`DataType::to_arrow`].
    pub attributes: RecordBatch,
}

/// Writes all batches to `path`, replacing the file there; returns the number of rows.
///
/// # Errors
/// The first error of `batches`; `SchemaMismatch` for a batch of another shape;
/// `InvalidArgument` for a format that cannot be written; `Full`, `Io`.
pub fn write(
    path: impl AsRef<Path>,
    format: Format,
    schema: &ExportSchema,
    batches: impl IntoIterator<Item = Result<ExportBatch>>,
) -> Result<u64> {
    let path = path.as_ref();
    schema.check()?;
    let partial = Partial::create(path)?;
    let out = BufWriter::with_capacity(1 << 18, &partial.file);
    let rows = match format {
        Format::Jsonl => {
            let mut writer = JsonWriter::new(out, schema, path);
            let rows = drain(schema, batches, |batch| writer.write(&batch))?;
            writer.finish()?;
            rows
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            let arrow = columnar::schema_of(schema);
            let mut writer = super::parquet::Writer::new(out, arrow.clone(), schema, path)?;
            let rows =
                drain(schema, batches, |batch| writer.write(&columnar::join(&arrow, batch)?))?;
            writer.finish()?;
            rows
        }
        #[cfg(feature = "parquet")]
        Format::Arrow | Format::ArrowStream => {
            let arrow = columnar::schema_of(schema);
            let stream = format == Format::ArrowStream;
            let mut writer = super::ipc::Writer::new(out, &arrow, stream, path)?;
            let rows =
                drain(schema, batches, |batch| writer.write(&columnar::join(&arrow, batch)?))?;
            writer.finish()?;
            rows
        }
        #[cfg(not(feature = "parquet"))]
        Format::Parquet | Format::Arrow | Format::ArrowStream => return Err(format.not_built(path)),
        Format::Npy
        | Format::Fvecs
        | Format::Bvecs
        | Format::Ivecs
        | Format::Hnswlib
        | Format::Faiss
        | Format::Usearch => {
            return Err(Error::invalid(format!(
                "{}: {format} is not written, it has no place for ids and attributes; use \
                 .parquet, .arrow or .jsonl",
                path.display()
            )));
        }
    };
    partial.publish(path)?;
    Ok(rows)
}

fn drain(
    schema: &ExportSchema,
    batches: impl IntoIterator<Item = Result<ExportBatch>>,
    mut write: impl FnMut(ExportBatch) -> Result<()>,
) -> Result<u64> {
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        check_batch(schema, &batch)?;
        rows += batch.ids.len() as u64;
        write(batch)?;
    }
    Ok(rows)
}

fn check_batch(schema: &ExportSchema, batch: &ExportBatch) -> Result<()> {
    let differs = |what: &str, expected: String, given: String| {
        if expected == given {
            return Ok(());
        }
        let what = format!("{what} of an exported batch");
        Err(Error::SchemaMismatch { what, expected, given })
    };
    let rows = batch.ids.len();
    let element = match schema.vector_type {
        VectorType::B1 => VectorType::U8,
        other => other,
    };
    differs("id type", schema.id_type.to_string(), batch.ids.id_type().to_string())?;
    differs("vector type", element.to_string(), batch.vectors.element_type().to_string())?;
    differs(
        "vectors",
        format!("{} elements", rows * schema.row_elements()),
        format!("{} elements", batch.vectors.len()),
    )?;
    let columns: Vec<String> = schema
        .columns
        .iter()
        .map(|(name, data_type)| format!("{name}: {}", data_type.to_arrow()))
        .collect();
    let given = batch.attributes.schema();
    let given: Vec<String> = given
        .fields()
        .iter()
        .map(|field| format!("{}: {}", field.name(), field.data_type()))
        .collect();
    differs("columns", columns.join(", "), given.join(", "))?;
    if schema.columns.is_empty() {
        return Ok(());
    }
    differs("attributes", format!("{rows} rows"), format!("{} rows", batch.attributes.num_rows()))
}

/// A file that disappears unless it is published.
struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

#[expect(clippy::disallowed_methods, reason = "user files, not the database")]
impl Partial {
    fn create(target: &Path) -> Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| Error::invalid(format!("{} does not name a file", target.display())))?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        let path = target.with_file_name(partial);
        let file = File::create(&path).map_err(|source| Error::io("create", &path, source))?;
        Ok(Self { file, path, published: false })
    }

    fn publish(mut self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(|source| Error::io("sync", &self.path, source))?;
        std::fs::rename(&self.path, target)
            .map_err(|source| Error::io("rename to", target, source))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    #[expect(clippy::disallowed_methods, reason = "user files, not the database")]
    fn drop(&mut self) {
        if !self.published {
            // The error that led here is the one to report.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Batches as Arrow record batches: id, vector, attributes.
#[cfg(feature = "parquet")]
mod columnar {
    use std::borrow::Cow;
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int8Array, LargeStringArray,
        RecordBatch, UInt8Array, UInt64Array,
    };
    use arrow_schema::{DataType as ArrowType, Field, FieldRef, Schema, SchemaRef};

    use super::{ExportBatch, ExportSchema, ITEM_NAME};
    use crate::error::{Error, Result};
    use crate::interop::origin::metadata;
    use crate::types::{IdType, Ids, VectorType, Vectors};

    pub(super) fn schema_of(schema: &ExportSchema) -> SchemaRef {
        let id = match schema.id_type {
            IdType::U64 => ArrowType::UInt64,
            IdType::Utf8 => ArrowType::LargeUtf8,
        };
        let element = match schema.vector_type {
            VectorType::F16 => ArrowType::Float16,
            VectorType::I8 => ArrowType::Int8,
            VectorType::U8 | VectorType::B1 => ArrowType::UInt8,
            VectorType::F32 | VectorType::Bf16 => ArrowType::Float32,
        };
        let dimension = i32::try_from(schema.row_elements()).unwrap_or(i32::MAX);
        let item = Arc::new(Field::new(ITEM_NAME, element, false));
        let mut fields = vec![
            Field::new(&schema.id_name, id, false),
            Field::new(&schema.vector_name, ArrowType::FixedSizeList(item, dimension), false),
        ];
        fields.extend(
            schema
                .columns
                .iter()
                .map(|(name, data_type)| Field::new(name, data_type.to_arrow(), true)),
        );
        Arc::new(Schema::new(fields).with_metadata(metadata(schema)))
    }

    pub(super) fn join(schema: &SchemaRef, batch: ExportBatch) -> Result<RecordBatch> {
        let refused = |error: arrow_schema::ArrowError| {
            Error::invalid(format!("a batch cannot be exported: {error}"))
        };
        let ids: ArrayRef = match batch.ids {
            Ids::U64(ids) => Arc::new(UInt64Array::from(ids.into_owned())),
            Ids::Utf8(ids) => {
                Arc::new(LargeStringArray::from_iter_values(ids.iter().map(Cow::as_ref)))
            }
        };
        let values: ArrayRef = match batch.vectors {
            Vectors::F32(values) => Arc::new(Float32Array::from(values.into_owned())),
            Vectors::F16(values) => Arc::new(Float16Array::from(values.into_owned())),
            Vectors::Bf16(values) => {
                Arc::new(Float32Array::from_iter_values(values.iter().map(|value| value.to_f32())))
            }
            Vectors::I8(values) => Arc::new(Int8Array::from(values.into_owned())),
            Vectors::U8(values) => Arc::new(UInt8Array::from(values.into_owned())),
        };
        let (item, dimension): (FieldRef, i32) = match schema.field(1).data_type() {
            ArrowType::FixedSizeList(item, dimension) => (Arc::clone(item), *dimension),
            other => return Err(Error::invalid(format!("vectors cannot be of type {other}"))),
        };
        let vectors =
            FixedSizeListArray::try_new(item, dimension, values, None).map_err(refused)?;
        let mut columns = vec![ids, Arc::new(vectors) as ArrayRef];
        columns.extend(batch.attributes.columns().iter().map(Arc::clone));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(refused)
    }
}
