//! `nearfield bench`: recall and speed on a file of the user's own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nearfield::interop::{self, Format, ReadOptions, Reader};
use nearfield::{
    CodeChoice, Collection, ImportOptions, ImportReport, Metric, OnBad, OpenOptions, Phase, Schema,
    SegmentStats, Settings, VectorType,
};
use serde::Serialize;

use super::args::{MetricArg, TypeArg};
use super::failure::Failure;
use super::held_out::{self, HeldOut};
use super::interrupt::Interrupt;
use super::memory::Memory;
use super::open::{self, Shape};
use super::output::Output;
use super::progress::{Meter, Spinner};
use super::scratch::Scratch;
use super::timing::{Effort, Timed, Trial};
use super::{queries, show};

const COLLECTION: &str = "bench";
/// Queries, where their number is not said.
const QUERIES: u64 = 1_000;
/// Rows to each query that is held out, at least, where their number is not said.
const ROWS_PER_QUERY: u64 = 10;
/// What is timed where nothing is said and there is a graph.
const EF: [usize; 6] = [16, 32, 64, 128, 256, 512];
const RECALL: [f32; 3] = [0.9, 0.95, 0.99];

/// Measure recall, speed, memory and disk on a file of your own
///
/// The file is imported into a temporary database (set TMPDIR to choose its place), which is removed at the end.
/// Queries are rows of the file that are held out, or those of another file. Their true nearest rows are found by
/// comparing every row; recall is the share of these that searches find. Each search is timed alone, on one
/// thread, with everything in memory that it has read before.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File of vectors: .npy, .fvecs, .parquet, .jsonl, …; other columns are left out
    file: PathBuf,
    /// Column of the vectors [default: the only list of numbers]
    #[arg(long, value_name = "COLUMN")]
    vector: Option<String>,
    /// File of queries [default: rows of FILE, held out]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// How many queries [default: 1000, at most a tenth of the rows; all of --queries]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Nearest rows to find
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// How vectors are compared [default: as in the collection that the file was exported from, else cosine;
    /// hamming for bits]
    #[arg(long)]
    metric: Option<MetricArg>,
    /// How elements are stored [default: as in the file; b1 for hamming and jaccard]
    #[arg(long = "type", value_name = "TYPE")]
    vector_type: Option<TypeArg>,
    /// Dimensions of a vector, for bits [default: all bits of the bytes]
    #[arg(long, value_name = "N")]
    dim: Option<usize>,
    /// What leads searches: auto, full, byte, half, bit, or product:64 for codes of 64 bytes a row (8 to 1024)
    #[arg(long, value_name = "CODES", default_value = "auto")]
    codes: CodeChoice,
    /// Build a graph also of few rows, where comparing all of them is as fast
    #[arg(long)]
    graph: bool,
    /// Candidates that graph searches keep [default: 16 to 512, where there is a graph]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    ef: Vec<usize>,
    /// Shares of the true nearest rows to ask for [default: 0.9,0.95,0.99, where there is a graph]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    recall: Vec<f32>,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    shape: Shape,
    rows: u64,
    /// Rows that cannot be stored.
    left_out: u64,
    queries: usize,
    /// Whether the queries are rows of the file.
    held_out: bool,
    k: usize,
    cpu_tier: &'static str,
    threads: usize,
    /// Of reading the file, coding, building and committing, on all threads.
    build_seconds: f64,
    graph: bool,
    codes: Vec<String>,
    disk_bytes: u64,
    vector_bytes: u64,
    memory: Memory,
    searches: Vec<Line>,
}

/// A line of the table.
#[derive(Serialize)]
struct Line {
    search: Effort,
    recall: f64,
    p50_seconds: f64,
    p99_seconds: f64,
    queries_per_second: f64,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    if args.k == 0 {
        return Err(Failure::usage("-k 0 asks for no rows; give 1 or more"));
    }
    let interrupt = Interrupt::catch();
    let scratch = Scratch::new()?;
    let place = scratch.path().join("bench.nf");
    let (report, mut queries, build) = build(args, &place, &interrupt)?;
    let peak = Memory::now().peak;

    let db = open::reader(&place)?;
    let collection = db.open_collection(COLLECTION)?;
    if let Some(file) = &args.queries {
        queries = read_queries(file, &collection.schema()?, args.count)?;
    }
    let spinner = Spinner::start("comparing every row with each query");
    let trial = Trial::new(&collection, queries, args.k, &interrupt)?;
    spinner.stop();
    if trial.len() == 0 {
        return Err(Failure::refused("there is no query that can be compared; give another file"));
    }
    let searches = time(args, &collection, &trial, &interrupt)?;
    let stats = collection.stats()?;
    let shape = Shape::of(&collection)?;
    let mut codes: Vec<String> = stats.segments.iter().map(|part| part.code.to_string()).collect();
    codes.dedup();
    let answer = Answer {
        rows: report.rows,
        left_out: report.rejected_rows,
        queries: trial.len(),
        held_out: args.queries.is_none(),
        k: args.k,
        cpu_tier: stats.cpu_tier,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        build_seconds: build.as_secs_f64(),
        graph: has_graph(&stats.segments),
        codes,
        disk_bytes: stats.disk_bytes,
        vector_bytes: shape.vector_type.row_bytes(shape.dimension) as u64,
        memory: Memory { peak, own: Memory::now().own },
        searches,
        shape,
    };
    output.answer(&answer, |out| answer.print(&args.file, build, out))
}

fn has_graph(segments: &[SegmentStats]) -> bool {
    segments.iter().any(|segment| segment.graph)
}

/// Imports the file into a database at `place`, all but the rows that are held out, whose vectors are returned, with
/// the time that it took.
fn build(
    args: &Args,
    place: &Path,
    interrupt: &Interrupt,
) -> Result<(ImportReport, Vec<f32>, Duration), Failure> {
    let reader = read(args)?;
    let (metric, vector_type) =
        (args.metric.map(Metric::from), args.vector_type.map(VectorType::from));
    let (metric, vector_type, dimension) = reader.shape(metric, vector_type, args.dim)?;
    let schema =
        Schema::new(dimension, metric).with_vector_type(vector_type).with_id_type(reader.id_type());
    let width = schema.row_elements();
    let mut held = match args.queries {
        Some(_) => HeldOut::default(),
        None => hold_out(args, &reader)?,
    };
    let mut settings = Settings::default();
    settings.code = args.codes;
    if args.graph {
        settings.graph_bytes = 1;
    }
    // Nothing else is to run while searches are timed.
    settings.background = false;
    let start = Instant::now();
    let db = OpenOptions::new().settings(settings).open(place)?;
    let collection = db.create_collection(COLLECTION, schema)?;
    let meter = Meter::start("importing", reader.total_rows());
    let mut reading = true;
    let options =
        ImportOptions::new().on_bad(OnBad::Skip).cancel(interrupt.flag()).progress(|progress| {
            match progress.phase {
                Phase::Reading => meter.rows(progress.rows),
                Phase::Indexing if reading => {
                    reading = false;
                    meter.turn_to("building the graph");
                }
                _ => {}
            }
            !interrupt.raised()
        });
    let batches = reader.map(|batch| batch.map(|batch| held.split(batch, width)));
    let report = collection.import(batches, options).map_err(interop::in_file)?;
    interrupt.check()?;
    if let (0, Some(first)) = (report.rows, report.rejected.first()) {
        let (file, reason) = (args.file.display(), &first.reason);
        let row = first.row;
        return Err(Failure::refused(format!(
            "no row of {file} can be stored; row {row}: {reason}"
        )));
    }
    collection.compact()?;
    db.close()?;
    Ok((report, held.vectors, start.elapsed()))
}

/// Opens the file; its rows are numbered.
fn read(args: &Args) -> Result<Reader, Failure> {
    let format = Format::detect(&args.file)?;
    let mut options = ReadOptions::default().format(format).row_numbers();
    if !matches!(format, Format::Npy | Format::Fvecs | Format::Bvecs | Format::Ivecs) {
        options = options.columns(Vec::<String>::new());
    }
    options.vector = args.vector.clone();
    Ok(interop::read(&args.file, &options)?)
}

fn hold_out(args: &Args, reader: &Reader) -> Result<HeldOut, Failure> {
    let rows = match reader.total_rows() {
        Some(rows) => rows,
        None => held_out::count(read(args)?)?,
    };
    let file = args.file.display();
    let held = show::counted(rows, "row");
    if rows < 2 {
        return Err(Failure::refused(format!(
            "{file} has {held}, and one at least must stay where others are held out; give a longer \
             file, or --queries"
        )));
    }
    match args.count.unwrap_or(QUERIES.min(rows / ROWS_PER_QUERY).max(1)) {
        count if count < rows => Ok(HeldOut::new(count, rows)),
        count => Err(Failure::refused(format!(
            "{file} has {held}, of which {count} cannot be held out as queries; give a --count of at most {}, or \
             --queries",
            rows - 1
        ))),
    }
}

/// The first `count` vectors of a file, or all.
fn read_queries(file: &Path, schema: &Schema, count: Option<u64>) -> Result<Vec<f32>, Failure> {
    let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let most = count.saturating_mul(schema.row_elements());
    let mut vectors = Vec::new();
    for piece in queries::read(file, schema, None)? {
        let piece = piece?.vectors;
        vectors.extend(piece.to_f32(0..piece.len().min(most - vectors.len())));
        if vectors.len() == most {
            break;
        }
    }
    Ok(vectors)
}

fn time(
    args: &Args,
    collection: &Collection,
    trial: &Trial,
    interrupt: &Interrupt,
) -> Result<Vec<Line>, Failure> {
    let graph = has_graph(&collection.stats()?.segments);
    // Without a graph they would all be one scan.
    let usual = graph && args.ef.is_empty() && args.recall.is_empty();
    let (ef, recall) =
        if usual { (&EF[..], &RECALL[..]) } else { (&args.ef[..], &args.recall[..]) };
    let efforts = std::iter::once(Effort::Default)
        .chain(ef.iter().copied().map(Effort::Ef))
        .chain(recall.iter().copied().map(Effort::Recall))
        .chain(std::iter::once(Effort::Exact));
    let line = |effort: Effort| {
        let spinner = Spinner::start(&format!("searching, {}", effort.words()));
        let timed = trial.time(collection, args.k, effort, interrupt)?;
        spinner.stop();
        Ok(Line::new(effort, timed))
    };
    efforts.map(line).collect()
}

impl Line {
    fn new(effort: Effort, timed: Timed) -> Self {
        Self {
            search: effort,
            recall: timed.recall,
            p50_seconds: timed.p50.as_secs_f64(),
            p99_seconds: timed.p99.as_secs_f64(),
            queries_per_second: timed.per_second,
        }
    }
}

impl Answer {
    fn print(&self, file: &Path, build: Duration, out: &mut dyn Write) -> io::Result<()> {
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "not known".to_owned(), show::size);
        let source = if self.held_out { "of its rows, held out" } else { "of another file" };
        let plan = if self.graph { "graph" } else { "scan: there are few rows" };
        let facts = [
            ("rows", show::count(self.rows)),
            (
                "left out",
                match self.left_out {
                    0 => String::new(),
                    rows => format!("{}, which cannot be stored", show::counted(rows, "row")),
                },
            ),
            (
                "built in",
                format!(
                    "{} on {} ({} rows/s)",
                    show::time(build),
                    show::counted(self.threads as u64, "thread"),
                    show::count(show::rate(self.rows, build)),
                ),
            ),
            (
                "on disk",
                format!(
                    "{}, {} bytes a row of which {} are the vector",
                    show::size(self.disk_bytes),
                    show::count(self.disk_bytes / self.rows.max(1)),
                    show::count(self.vector_bytes),
                ),
            ),
            (
                "building took",
                format!("{} of memory at most, mapped files included", known(self.memory.peak)),
            ),
            ("searching took", format!("{} of memory beside mapped files", known(self.memory.own))),
            (
                "searched by",
                format!("{plan}, {} codes, {}", self.codes.join(" and "), self.cpu_tier),
            ),
            ("queries", format!("{} {source}", show::count(self.queries as u64))),
        ];
        writeln!(out, "{}: {}", file.display(), self.shape.words())?;
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(out, "  {name:<15} {value}")?;
        }
        let recall = format!("recall@{}", self.k);
        let mut table = show::table(["search", &recall, "p50", "p99", "queries/s"]);
        let time =
            |seconds: f64| show::time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        for line in &self.searches {
            table.add_row(vec![
                comfy_table::Cell::new(line.search.words()),
                show::right(format!("{:.4}", line.recall)),
                show::right(time(line.p50_seconds)),
                show::right(time(line.p99_seconds)),
                show::right(format!("{:.0}", line.queries_per_second)),
            ]);
        }
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "one search after the other on one thread, warm; recall against comparing every row"
        )
    }
}
