//! `nearfield import`: a file into a collection, which is made from the file's shape if absent.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nearfield::interop::{self, ReadOptions, Reader};
use nearfield::{
    CodeChoice, Collection, Column, DataType, Database, Error, ImportOptions, ImportReport, Metric,
    OnBad, Phase, Raw, Schema, TextOptions, VectorType,
};
use serde::Serialize;

use super::args::{self, FormatArg, MetricArg, Names, TypeArg};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::open::{self, Shape};
use super::output::{Output, note};
use super::progress::Meter;
use super::show;

/// Rejected rows that people are shown.
const SHOWN_REJECTED: usize = 20;
/// Column names that mean the row itself.
const RESERVED: [&str; 2] = ["id", "vector"];

/// Import a file; the collection is created from its shape if absent, rows of known ids replaced
///
/// Parquet, Arrow (Feather 2), JSON lines, npy, fvecs and bvecs, and the vectors and ids of index files
/// of hnswlib, faiss (flat, HNSW and IVF,Flat) and usearch. All rows become visible at once at the end;
/// an import that fails or is interrupted stores nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory; created if it is absent
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// File to import
    file: PathBuf,
    /// Format of the file [default: what its first bytes or its extension say]
    #[arg(long)]
    format: Option<FormatArg>,
    /// Column of the ids [default: `id` if there is one, else the rows are numbered from 0]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Column of the vectors [default: the only list of numbers]
    #[arg(long, value_name = "COLUMN")]
    vector: Option<String>,
    /// Attribute columns, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_parser = args::names)]
    columns: Option<Names>,
    /// Column of text to be indexed for search by words; repeatable
    #[arg(long = "text", value_name = "COLUMN")]
    texts: Vec<String>,
    /// Language of the --text columns, for stop words and endings: english, german, fr, …; none takes
    /// words as they are [default: that of the index there is, else english]
    #[arg(long, value_name = "LANGUAGE", value_parser = args::text_options, requires = "texts")]
    language: Option<TextOptions>,
    /// How vectors are compared, for a new collection [default: as in the collection that the file was
    /// exported from or the index that it is, else cosine; hamming for bits]. hnswlib does not save it
    #[arg(long)]
    metric: Option<MetricArg>,
    /// How elements are stored, for a new collection [default: as in the collection that the file was
    /// exported from, else as in the file; b1 for hamming and jaccard]
    #[arg(long = "type", value_name = "TYPE")]
    vector_type: Option<TypeArg>,
    /// What is kept of f32 vectors, for a new collection: f32, f16 for half the bytes, or none for rounded
    /// vectors in a quarter of them, of which distances then are [default: f32]
    #[arg(long, value_name = "RAW")]
    raw: Option<Raw>,
    /// Dimensions of a vector, for a new collection of bits [default: all bits of the bytes]
    #[arg(long, value_name = "N")]
    dim: Option<usize>,
    /// What leads searches of the segments that are written: auto, full, byte, half, bit, or product:64 for
    /// codes of 64 bytes a row (8 to 1024). Not kept: what is written later has codes of its own choice
    #[arg(long, value_name = "CODES", default_value = "auto")]
    codes: CodeChoice,
    /// Memory that searches should do with, as 64MiB or in bytes, by which codes are chosen. Not kept
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    serving_memory: Option<usize>,
    /// What to do with rows that cannot be stored
    #[arg(long, value_name = "HOW", default_value = "raise")]
    on_bad: OnBadArg,
    /// Parquet or JSON lines file with the ids and attributes of an npy or fvecs file
    #[arg(long, value_name = "FILE")]
    attributes: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnBadArg {
    /// Fail at the first one and store nothing
    Raise,
    /// Leave them out and list them
    Skip,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    shape: Shape,
    created: bool,
    rows: u64,
    replaced: u64,
    rejected_rows: u64,
    rejected: Vec<RejectedRow>,
    seconds: f64,
    rows_per_second: u64,
}

#[derive(Serialize)]
struct RejectedRow {
    row: u64,
    reason: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let interrupt = Interrupt::catch();
    let start = Instant::now();
    let existing = existing(args)?;
    let reader = read(args, existing.as_ref().map(|(_, collection)| collection))?;
    for (name, reason) in reader.skipped_columns() {
        note(format_args!("note: column {} is left out: {reason}", show::plain(name)));
    }
    let created = existing.is_none();
    let (db, collection, report) = match existing {
        Some((db, collection)) => {
            check(args, &collection, &reader)?;
            let texts = new_texts(args, &collection, &reader)?;
            let report = import(args, &collection, reader, &interrupt)?;
            for column in texts {
                collection.add_text_index(column, args.language.unwrap_or_default())?;
            }
            (db, collection, report)
        }
        None => create_and_import(args, reader, &interrupt)?,
    };
    let shape = Shape::of(&collection)?;
    db.close()?;
    let answer = Answer::new(shape, created, report, start.elapsed());
    output.answer(&answer, |out| answer.print(out))
}

/// The collection and its database, if they are there.
fn existing(args: &Args) -> Result<Option<(Database, Collection)>, Error> {
    let opened = open::with_codes(args.codes, args.serving_memory)
        .create(false)
        .open(&args.db)
        .and_then(|db| {
            let collection = db.open_collection(&args.name)?;
            Ok((db, collection))
        });
    match opened {
        Ok(pair) => Ok(Some(pair)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the file. Columns of a collection that is there are read as its types.
fn read(args: &Args, collection: Option<&Collection>) -> Result<Reader, Error> {
    let mut options = ReadOptions::default();
    options.format = args.format.map(Into::into);
    options.id = args.id.clone();
    options.vector = args.vector.clone();
    options.columns = args.columns.clone().map(|names| names.0);
    options.metadata = args.attributes.clone();
    if let Some(collection) = collection {
        for column in collection.schema()?.columns() {
            options = options.column_type(&column.name, column.data_type);
        }
    }
    let reader = interop::read(&args.file, &options)?;
    let reserved = |(name, _): &&(String, _)| RESERVED.contains(&name.as_str());
    if args.columns.is_some() || !reader.columns().iter().any(|column| reserved(&column)) {
        return Ok(reader);
    }
    for (name, _) in reader.columns().iter().filter(reserved) {
        note(format_args!("note: column {name} is left out: the name means the row itself"));
    }
    let others = reader.columns().iter().filter(|column| !reserved(column));
    options.columns = Some(others.map(|(name, _)| name.clone()).collect());
    interop::read(&args.file, &options)
}

/// Refuses a file of another shape than the collection's.
fn check(args: &Args, collection: &Collection, reader: &Reader) -> Result<(), Error> {
    let schema = collection.schema()?;
    let differs = |what: &str, expected: String, given: String| {
        if expected == given {
            return Ok(());
        }
        let what = format!("{what} of collection {:?}", args.name);
        Err(Error::SchemaMismatch { what, expected, given })
    };
    if let Some(given) = reader.dimension() {
        let what = match schema.vector_type() {
            VectorType::B1 => "bytes of a vector of bits",
            _ => "dimension",
        };
        differs(what, schema.row_elements().to_string(), given.to_string())?;
    }
    if let Some(given) = args.dim {
        differs("dimension", schema.dimension().to_string(), given.to_string())?;
    }
    if let Some(metric) = args.metric {
        differs("metric", schema.metric().to_string(), Metric::from(metric).to_string())?;
    }
    if let Some(given) = args.vector_type {
        let given = VectorType::from(given).to_string();
        differs("vector type", schema.vector_type().to_string(), given)?;
    }
    if let Some(given) = args.raw {
        let kept = schema.raw().map(|raw| raw.to_string());
        differs(
            "raw",
            kept.unwrap_or_else(|| schema.vector_type().to_string()),
            given.to_string(),
        )?;
    }
    if let Some(expected) = schema.id_type() {
        let given = reader.id_type().in_words().to_owned();
        differs("ids", expected.in_words().to_owned(), given)?;
    }
    Ok(())
}

/// The columns that are to be searched by words and are not yet. Refuses those that cannot be, before
/// anything is stored.
fn new_texts<'a>(
    args: &'a Args,
    collection: &Collection,
    reader: &Reader,
) -> Result<Vec<&'a str>, Failure> {
    let schema = collection.schema()?;
    let mut texts = Vec::new();
    for name in &args.texts {
        match (schema.text_options(name), args.language) {
            (Some(stored), Some(given)) if stored != given => {
                let what = format!("text options of column {name:?}");
                let given = format!("{given}; add_text_index has it indexed anew");
                let expected = stored.to_string();
                return Err(Error::SchemaMismatch { what, expected, given }.into());
            }
            (Some(_), _) => {}
            (None, _) => {
                let known = schema.columns().iter().find(|column| column.name == *name);
                check_text(name, known.map(|column| column.data_type), args, reader)?;
                texts.push(name.as_str());
            }
        }
    }
    Ok(texts)
}

/// Refuses to index a column of another type, or one that neither the file nor the collection has.
fn check_text(
    name: &str,
    stored: Option<DataType>,
    args: &Args,
    reader: &Reader,
) -> Result<(), Failure> {
    let in_file = || reader.columns().iter().find(|(known, _)| known == name);
    match stored.or_else(|| in_file().map(|(_, data_type)| *data_type)) {
        Some(DataType::Utf8) => Ok(()),
        Some(other) => Err(Failure::refused(format!(
            "--text {name}: the column is of type {other}; words are searched in columns of utf8"
        ))),
        None => {
            let names: Vec<&str> = reader.columns().iter().map(|(name, _)| &**name).collect();
            Err(Failure::refused(format!(
                "--text {name}: {} has no such column; it has {}",
                args.file.display(),
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )))
        }
    }
}

/// Creates what is absent and imports; after a failure nothing of it is left behind.
fn create_and_import(
    args: &Args,
    reader: Reader,
    interrupt: &Interrupt,
) -> Result<(Database, Collection, ImportReport), Failure> {
    let schema = schema(args, &reader)?;
    let fresh = !args.db.exists();
    let db = open::with_codes(args.codes, args.serving_memory).open(&args.db)?;
    let imported = db.create_collection(&args.name, schema).and_then(|collection| {
        let report = import(args, &collection, reader, interrupt).inspect_err(|_| {
            // The first failure counts.
            let _ = db.drop_collection(&args.name);
        })?;
        Ok((db.clone(), collection, report))
    });
    if imported.is_err() && fresh {
        let _ = db.close_and_remove_if_empty();
    }
    Ok(imported?)
}

/// A schema in the shape of the file.
fn schema(args: &Args, reader: &Reader) -> Result<Schema, Failure> {
    let metric = args.metric.map(Metric::from);
    // What is kept is said of f32 vectors alone, whatever type the file has.
    let of_raw = args.raw.map(|_| VectorType::F32);
    let vector_type = args.vector_type.map(Into::into).or(of_raw);
    let (metric, vector_type, dimension) = reader.shape(metric, vector_type, args.dim)?;
    let mut schema =
        Schema::new(dimension, metric).with_vector_type(vector_type).with_id_type(reader.id_type());
    if let Some(raw) = args.raw {
        schema = schema.with_raw(raw);
    }
    for name in &args.texts {
        check_text(name, None, args, reader)?;
    }
    for (name, data_type) in reader.columns() {
        schema = match args.texts.contains(name) {
            true => schema.text_with(name, args.language.unwrap_or_default()),
            false => schema.column(name, *data_type),
        };
    }
    Ok(schema)
}

fn import(
    args: &Args,
    collection: &Collection,
    reader: Reader,
    interrupt: &Interrupt,
) -> Result<ImportReport, Error> {
    let meter = Meter::start("importing", reader.total_rows());
    let mut phase = Phase::Reading;
    let column = |(name, data_type): &(String, DataType)| Column {
        name: name.clone(),
        data_type: *data_type,
        text: false,
    };
    let options = ImportOptions::new()
        .columns(reader.columns().iter().map(column))
        .on_bad(match args.on_bad {
            OnBadArg::Raise => OnBad::Raise,
            OnBadArg::Skip => OnBad::Skip,
        })
        .cancel(interrupt.flag())
        .progress(|progress| {
            if progress.phase == Phase::Reading {
                meter.rows(progress.rows);
            }
            if progress.phase != phase {
                phase = progress.phase;
                meter.turn_to(match phase {
                    Phase::Indexing => "building the graph",
                    Phase::Committing => "committing",
                    _ => "importing",
                });
            }
            !interrupt.raised()
        });
    collection.import(reader, options).map_err(interop::in_file)
}

impl Answer {
    fn new(shape: Shape, created: bool, report: ImportReport, elapsed: Duration) -> Self {
        let ImportReport { rows, replaced, rejected_rows, rejected, .. } = report;
        let listed = |rejected: nearfield::Rejected| RejectedRow {
            row: rejected.row,
            reason: rejected.reason,
        };
        Self {
            shape,
            created,
            rows,
            replaced,
            rejected_rows,
            rejected: rejected.into_iter().map(listed).collect(),
            seconds: elapsed.as_secs_f64(),
            rows_per_second: show::rate(rows, elapsed),
        }
    }

    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let Self { shape, rows, replaced, rejected_rows, .. } = self;
        let done = if self.created { "created" } else { "added to" };
        writeln!(out, "{done} {}: {}", shape.name, shape.words())?;
        writeln!(
            out,
            "imported {} in {} ({} rows/s), {} replaced",
            show::counted(*rows, "row"),
            show::time(Duration::try_from_secs_f64(self.seconds).unwrap_or_default()),
            show::count(self.rows_per_second),
            show::count(*replaced),
        )?;
        if *rejected_rows == 0 {
            return Ok(());
        }
        writeln!(out, "left out {}:", show::counted(*rejected_rows, "row"))?;
        let mut table = show::table(["row", "reason"]);
        let shown = self.rejected.iter().take(SHOWN_REJECTED);
        let more = rejected_rows.saturating_sub(shown.len() as u64);
        for rejected in shown {
            table.add_row(vec![
                show::right(rejected.row),
                comfy_table::Cell::new(show::plain(&rejected.reason)),
            ]);
        }
        writeln!(out, "{table}")?;
        if more > 0 {
            writeln!(out, "and {} more", show::count(more))?;
        }
        Ok(())
    }
}
