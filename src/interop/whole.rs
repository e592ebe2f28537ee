//! Whole files into collections and whole collections into files.

use std::path::{Path, PathBuf};

use super::{ExportBatch, ExportSchema, Format, ReadOptions, Reader, read, write};
use crate::collection::Collection;
use crate::collection::import::{ImportOptions, ImportReport, bad_row, no_vector};
use crate::collection::options::Schema;
use crate::collection::reading::ScanOptions;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::types::{Column, DataType, Id, IdType, Ids, Metric, VectorType, Vectors};

/// The error of an import, which names the row in the file and the way past it.
#[must_use]
pub fn in_file(error: Error) -> Error {
    let Error::InvalidVector { row, column, value, expected } = error else { return error };
    bad_row(row as u64, &no_vector(column, value, expected))
}

/// Column names that mean the row itself.
const RESERVED: [&str; 2] = ["id", "vector"];

/// A file to be imported and, where the collection is new, what the file does not say of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileImport {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub read: ReadOptions,
    /// How vectors are compared; none: as stored, in a new collection as in the one that the file was
    /// exported from or the index that it is, else cosine, of bits hamming. hnswlib does not save it, so
    /// it must be given for a new collection.
    pub metric: Option<Metric>,
    /// How elements are stored; none: as stored, in a new collection as in the one that the file was
    /// exported from, else as in the file.
    pub vector_type: Option<VectorType>,
    /// Dimensions of a vector; none: as stored, in a new collection as in the file.
    pub dimension: Option<usize>,
}

impl FileImport {
    /// The file at `path`, everything else found by itself.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let read = ReadOptions::default();
        Self { path: path.into(), read, metric: None, vector_type: None, dimension: None }
    }

    /// Imports the file into the collection `name` of `db`, which is created in the shape of the file
    /// if it is absent (and dropped again when nothing could be stored). Columns that it lacks are
    /// added; columns named `id` or `vector` beside those of the row are left out. Everything is stored
    /// or nothing, as by [`Collection::import`].
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let file = dir.path().join("points.jsonl");
    /// # std::fs::write(&file, "{\"id\": 7, \"at\": [1.0, 2.0]}\n").expect("written");
    /// use nearfield::interop::FileImport;
    /// use nearfield::{Database, ImportOptions};
    ///
    /// let db = Database::open(dir.path().join("my.nf"))?;
    /// let report = FileImport::new(&file).run(&db, "points", ImportOptions::new())?;
    /// assert_eq!((report.rows, db.open_collection("points")?.contains(7)?), (1, true));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`read`] and [`Collection::import`]; `SchemaMismatch` when the collection is of another
    /// shape than the file or what is asked for.
    pub fn run(
        &self,
        db: &Database,
        name: &str,
        options: ImportOptions<'_>,
    ) -> Result<ImportReport> {
        let existing = match db.open_collection(name) {
            Ok(collection) => Some(collection),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let reader = self.reader(existing.as_ref())?;
        if let Some(collection) = existing {
            self.check(&collection, &reader)?;
            let columns = reader_columns(&reader);
            return collection.import(reader, options.columns(columns)).map_err(in_file);
        }
        let collection = db.create_collection(name, self.schema(&reader)?)?;
        collection.import(reader, options).map_err(in_file).inspect_err(|_| {
            // Nothing was stored, so nothing is left behind; the first failure counts.
            let _ = db.drop_collection(name);
        })
    }

    /// How many rows the file says it has.
    ///
    /// # Errors
    /// As [`read`].
    pub fn total_rows(&self) -> Result<Option<u64>> {
        Ok(read(&self.path, &self.read)?.total_rows())
    }

    /// Opens the file. Columns of a collection that is there are read as its types.
    fn reader(&self, collection: Option<&Collection>) -> Result<Reader> {
        let mut options = self.read.clone();
        if let Some(collection) = collection {
            for column in collection.schema()?.columns() {
                options = options.column_type(&column.name, column.data_type);
            }
        }
        let reader = read(&self.path, &options)?;
        let reserved = |name: &str| RESERVED.contains(&name);
        if options.columns.is_some() || !reader.columns().iter().any(|(name, _)| reserved(name)) {
            return Ok(reader);
        }
        let others = reader.columns().iter().filter(|(name, _)| !reserved(name));
        options.columns = Some(others.map(|(name, _)| name.clone()).collect());
        read(&self.path, &options)
    }

    /// Refuses a file of another shape than the collection's.
    fn check(&self, collection: &Collection, reader: &Reader) -> Result<()> {
        let schema = collection.schema()?;
        let differs = |what: &str, expected: String, given: Option<String>| match given {
            Some(given) if given != expected => {
                let what = format!("{what} of collection {:?}", collection.name());
                Err(Error::SchemaMismatch { what, expected, given })
            }
            _ => Ok(()),
        };
        let given = |number: Option<usize>| number.map(|number| number.to_string());
        let elements = match schema.vector_type() {
            VectorType::B1 => "bytes of a vector of bits",
            _ => "dimension",
        };
        differs(elements, schema.row_elements().to_string(), given(reader.dimension()))?;
        differs("dimension", schema.dimension().to_string(), given(self.dimension))?;
        let metric = self.metric.map(|metric| metric.to_string());
        differs("metric", schema.metric().to_string(), metric)?;
        let vector_type = self.vector_type.map(|vector_type| vector_type.to_string());
        differs("vector type", schema.vector_type().to_string(), vector_type)?;
        if let Some(expected) = schema.id_type() {
            let given = reader.id_type().in_words().to_owned();
            differs("ids", expected.in_words().to_owned(), Some(given))?;
        }
        Ok(())
    }

    /// A schema in the shape of the file.
    fn schema(&self, reader: &Reader) -> Result<Schema> {
        let (metric, vector_type, dimension) =
            reader.shape(self.metric, self.vector_type, self.dimension)?;
        let schema = Schema::new(dimension, metric).with_vector_type(vector_type);
        let schema = schema.with_id_type(reader.id_type());
        Ok(reader
            .columns()
            .iter()
            .fold(schema, |schema, (name, data_type)| schema.column(name, *data_type)))
    }
}

/// The columns of a file, to be added where a collection lacks them.
fn reader_columns(reader: &Reader) -> Vec<Column> {
    let column = |(name, data_type): &(String, DataType)| Column {
        name: name.clone(),
        data_type: *data_type,
        text: false,
    };
    reader.columns().iter().map(column).collect()
}

/// Writes the rows of `collection` that `options` choose, as they are now, to `path`: ids, vectors and
/// the columns of its fields. Without a `format`, the extension says it. `keep_going` is told how many
/// rows were written, and asked. Returns how many there were.
///
/// # Errors
/// `InvalidArgument` for an extension that names no format; `NotFound` for an unknown column;
/// `Filter` for a filter that does not fit; `Cancelled`; `Corrupt`, `Full`, `Io`, `Closed`, `Forked`. What was at `path` is still there then.
pub fn export(
    collection: &Collection,
    path: impl AsRef<Path>,
    format: Option<Format>,
    options: ScanOptions,
    mut keep_going: impl FnMut(u64) -> bool,
) -> Result<u64> {
    let path = path.as_ref();
    let format = format.or_else(|| Format::from_extension(path)).ok_or_else(|| {
        Error::invalid(format!(
            "{}: the extension names no format; give the file one of .parquet, .arrow, .arrows or \
             .jsonl",
            path.display()
        ))
    })?;
    let (schema, snapshot) = (collection.schema()?, collection.snapshot()?);
    let fields = options.fields.clone();
    let scan = snapshot.scan(options.fields(fields.clone().with_vectors()))?;
    let id_type = schema.id_type().unwrap_or(IdType::U64);
    let mut shape = ExportSchema::new(schema.dimension(), schema.vector_type(), id_type);
    shape.metric = Some(schema.metric());
    // In the order asked for; the scan has refused names that are not there.
    let all = || schema.columns().iter().map(|column| column.name.clone()).collect();
    for name in fields.column_names().map_or_else(all, <[String]>::to_vec) {
        let column = schema.columns().iter().find(|column| column.name == name);
        shape = column
            .into_iter()
            .fold(shape, |shape, column| shape.column(&column.name, column.data_type));
    }
    let mut rows = 0;
    let batches = scan.map(|records| {
        let records = records?;
        rows += records.ids.len() as u64;
        if !keep_going(rows) {
            return Err(Error::Cancelled);
        }
        let vectors: Vectors<'static> = records.vectors.unwrap_or_else(|| Vec::<f32>::new().into());
        Ok(ExportBatch { ids: batch_ids(&records.ids), vectors, attributes: records.attributes })
    });
    write(path, format, &shape, batches)
}

/// The ids of a batch, which are of one kind.
fn batch_ids(ids: &[Id]) -> Ids<'static> {
    let numbers: Option<Vec<u64>> = ids
        .iter()
        .map(|id| match id {
            Id::U64(id) => Some(*id),
            Id::Utf8(_) => None,
        })
        .collect();
    numbers.map_or_else(
        || {
            let text = |id: &Id| match id {
                Id::Utf8(id) => id.to_string(),
                Id::U64(id) => id.to_string(),
            };
            Ids::from(ids.iter().map(text).collect::<Vec<String>>())
        },
        Ids::from,
    )
}
