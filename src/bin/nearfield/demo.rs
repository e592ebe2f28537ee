//! `nearfield demo`: import, search and recall on the real data set that ships with the source. The program brings it
//! along, so that the demo works anywhere; the Python package, of which it would be a third, is told where it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nearfield::interop::{self, ReadOptions};
use nearfield::{
    Collection, Database, Hits, ImportOptions, Metric, OpenOptions, Schema, Settings, Vectors,
};
use serde::Serialize;

use super::cells::Cells;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use super::recall::{self, Measured};
use super::scratch::Scratch;
use super::show;

const ROWS: &str = "packages.parquet";
const QUERIES: &str = "queries.parquet";
const NEIGHBORS: &str = "neighbors.parquet";

const COLLECTION: &str = "packages";
/// Queries whose answers are shown.
const SHOWN_QUERIES: [usize; 3] = [16, 38, 86];
/// Hits that are shown of each.
const SHOWN_HITS: usize = 3;
/// Characters of a summary that are shown.
const SHOWN_CHARS: usize = 72;

/// Import, search and measure recall on a small real data set, in a few seconds
///
/// 4,000 packages of the Python Package Index, each with the embedding of its summary, and 200
/// queries with their exact nearest neighbours.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// New database directory to keep [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Directory of the demo's files, `examples/data` of the source; needed where they are not built in, as in
    /// the Python package
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The files of the demo, in Parquet.
pub(crate) struct Files {
    pub(crate) rows: &'static [u8],
    pub(crate) queries: &'static [u8],
    /// The exact nearest neighbours of the queries.
    pub(crate) neighbors: &'static [u8],
}

impl Files {
    fn write(&self, scratch: &Scratch) -> Result<(), Failure> {
        scratch.write(ROWS, self.rows)?;
        scratch.write(QUERIES, self.queries)?;
        scratch.write(NEIGHBORS, self.neighbors)?;
        Ok(())
    }
}

#[derive(Serialize)]
struct Answer {
    rows: u64,
    dimension: usize,
    queries: usize,
    import_seconds: f64,
    graph_seconds: f64,
    default: JsonMeasured,
    graph: JsonMeasured,
    exact: JsonMeasured,
    seconds: f64,
}

#[derive(Serialize)]
struct JsonMeasured {
    recall_at_10: f64,
    seconds_per_query: f64,
}

impl From<Measured> for JsonMeasured {
    fn from(measured: Measured) -> Self {
        Self { recall_at_10: measured.recall, seconds_per_query: measured.latency.as_secs_f64() }
    }
}

pub(crate) fn run(args: &Args, built_in: Option<&Files>, output: &Output) -> Result<(), Failure> {
    let interrupt = Interrupt::catch();
    let begin = Instant::now();
    if let Some(dir) = args.dir.as_ref().filter(|dir| dir.exists()) {
        return Err(Failure::refused(format!(
            "{} exists already; give the demo a new directory",
            dir.display()
        )));
    }
    let scratch = Scratch::new()?;
    let place = args.dir.clone().unwrap_or_else(|| scratch.path().join("demo.nf"));
    let data = data(args, built_in, &scratch)?;
    let truth = recall::truth(&data.join(NEIGHBORS))?;
    let asked = Asked::read(&data.join(QUERIES))?;

    output.line(
        "4,000 packages of the Python Package Index, each with the embedding of its summary",
    )?;
    let db = Database::open(&place)?;
    let file = data.join(ROWS);
    let (rows, import_time) = import(&db, &file, &interrupt)?;
    let collection = db.open_collection(COLLECTION)?;
    let dimension = collection.schema()?.dimension();
    output.line(format_args!(
        "imported {} of {dimension} dimensions from {} of Parquet in {} ({} rows/s)\n",
        show::counted(rows, "row"),
        show::size(file.metadata().map_or(0, |file| file.len())),
        show::time(import_time),
        show::count(show::rate(rows, import_time)),
    ))?;

    interrupt.check()?;
    asked.show_some(&collection, output)?;

    output
        .line("recall@10 against the exact neighbours, and the time of one query on one thread:")?;
    let default = recall::measure(&collection, &asked.vectors, &truth, false)?;
    tell("by default", default, "a scan, as long as there are so few rows", output)?;
    let exact = recall::measure(&collection, &asked.vectors, &truth, true)?;
    tell("exact", exact, "", output)?;
    drop(collection);
    db.close()?;
    drop(db);
    interrupt.check()?;
    let (graph, graph_time) = with_graph(&place, &asked, &truth)?;
    let built = format!("larger collections get one; built in {}", show::time(graph_time));
    tell("with a graph", graph, &built, output)?;

    let elapsed = begin.elapsed();
    output.line(format_args!("\ndone in {}", show::time(elapsed)))?;
    if let Some(dir) = &args.dir {
        output.line(format_args!(
            "try: nearfield search {} {COLLECTION} --like 42 --select name,summary",
            dir.display()
        ))?;
    }
    if !output.wants_json() {
        return Ok(());
    }
    let answer = Answer {
        rows,
        dimension,
        queries: truth.len(),
        import_seconds: import_time.as_secs_f64(),
        graph_seconds: graph_time.as_secs_f64(),
        default: default.into(),
        graph: graph.into(),
        exact: exact.into(),
        seconds: elapsed.as_secs_f64(),
    };
    output.answer(&answer, |_| Ok(()))
}

/// The directory of the files: the one that was given, or `scratch` with those that are built in.
fn data(args: &Args, built_in: Option<&Files>, scratch: &Scratch) -> Result<PathBuf, Failure> {
    match (&args.data, built_in) {
        (Some(dir), _) => Ok(dir.clone()),
        (None, Some(files)) => files.write(scratch).map(|()| scratch.path().to_owned()),
        (None, None) => Err(Failure::refused(
            "the Python package comes without the data of the demo; give --data the directory \
             examples/data of nearfield's source, or build the program there, which brings it along",
        )),
    }
}

/// Imports the rows into a new collection.
fn import(db: &Database, file: &Path, interrupt: &Interrupt) -> Result<(u64, Duration), Failure> {
    let start = Instant::now();
    let reader = interop::read(file, &ReadOptions::default())?;
    let mut schema = Schema::new(reader.dimension().unwrap_or(0), Metric::Cosine)
        .with_vector_type(reader.vector_type())
        .with_id_type(reader.id_type());
    for (name, data_type) in reader.columns() {
        schema = schema.column(name, *data_type);
    }
    let collection = db.create_collection(COLLECTION, schema)?;
    let report = collection.import(reader, ImportOptions::new().cancel(interrupt.flag()))?;
    Ok((report.rows, start.elapsed()))
}

/// Builds the graph that a collection of this size would go without, and measures it.
fn with_graph(
    place: &Path,
    asked: &Asked,
    truth: &[Vec<nearfield::Id>],
) -> Result<(Measured, Duration), Failure> {
    let mut settings = Settings::default();
    settings.graph_bytes = 1;
    let db = OpenOptions::new().settings(settings).open(place)?;
    let collection = db.open_collection(COLLECTION)?;
    let start = Instant::now();
    collection.compact()?;
    let elapsed = start.elapsed();
    let measured = recall::measure(&collection, &asked.vectors, truth, false)?;
    db.close()?;
    Ok((measured, elapsed))
}

fn tell(what: &str, measured: Measured, remark: &str, output: &Output) -> Result<(), Failure> {
    let Measured { recall, latency } = measured;
    let remark = if remark.is_empty() { String::new() } else { format!("  ({remark})") };
    output.line(format_args!("  {what:<13} {recall:.4}  {:>7}{remark}", show::time(latency)))
}

/// The queries that ship with the data.
struct Asked {
    vectors: Vectors<'static>,
    /// What each query says.
    texts: Vec<String>,
}

impl Asked {
    fn read(path: &Path) -> Result<Self, Failure> {
        let options = ReadOptions::default().row_numbers().columns(["name", "summary"]);
        let mut vectors = Vec::new();
        let mut texts = Vec::new();
        for batch in interop::read(path, &options)? {
            let batch = batch?;
            if let Vectors::F16(values) = batch.vectors {
                vectors.extend_from_slice(&values);
            }
            if let Some(attributes) = &batch.attributes {
                let rows = (0..attributes.num_rows()).map(|row| Cells { batch: attributes, row });
                texts.extend(rows.map(|cells| cells.named("summary").to_string()));
            }
        }
        Ok(Self { vectors: vectors.into(), texts })
    }

    /// Answers a few queries in words.
    fn show_some(&self, collection: &Collection, output: &Output) -> Result<(), Failure> {
        let dimension = collection.schema()?.dimension();
        for query in SHOWN_QUERIES {
            let Some(text) = self.texts.get(query) else { continue };
            let range = query * dimension..(query + 1) * dimension;
            let Some(vector) = self.vectors.get(range) else { continue };
            let search = collection.search(vector).k(SHOWN_HITS).select(["name", "summary"]);
            let start = Instant::now();
            let hits = search.run()?;
            output.line(format_args!(
                "nearest to {:?} ({})",
                show::short(text, SHOWN_CHARS),
                show::time(start.elapsed())
            ))?;
            show_hits(&hits, output)?;
        }
        Ok(())
    }
}

fn show_hits(hits: &Hits, output: &Output) -> Result<(), Failure> {
    for (row, hit) in hits.iter().enumerate() {
        let Some(batch) = &hits.attributes else { continue };
        let cells = Cells { batch, row };
        let name = show::plain(&cells.named("name").to_string());
        let summary = show::short(&cells.named("summary").to_string(), SHOWN_CHARS);
        output.line(format_args!("  {:.3}  {name}: {summary}", hit.distance))?;
    }
    output.line("")
}
