//! `nearfield stats`: what collections are made of.

use std::io::{self, Write};
use std::path::PathBuf;

use nearfield::{CodeChoice, Stats};
use serde::Serialize;

use super::args;
use super::failure::Failure;
use super::open::{self, Shape};
use super::output::Output;
use super::show;

/// Show what collections are made of: rows, bytes, segments
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of one collection [default: all]
    name: Option<String>,
    /// Memory that searches should do with, as 64MiB or in bytes: tells whether it does
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    serving_memory: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    collections: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    shape: Shape,
    #[serde(flatten)]
    stats: Stats,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let serving = args.serving_memory;
    let db = open::with_codes(CodeChoice::Auto, serving).read_only(true).open(&args.db)?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => db.collections()?,
    };
    let entry = |name: &String| {
        let collection = db.open_collection(name)?;
        Ok(Entry { shape: Shape::of(&collection)?, stats: collection.stats()? })
    };
    let collections = names.iter().map(entry).collect::<Result<_, nearfield::Error>>()?;
    let answer = Answer { collections };
    output.answer(&answer, |out| {
        if answer.collections.is_empty() {
            return writeln!(out, "no collections");
        }
        answer.collections.iter().try_for_each(|entry| print(entry, out))
    })
}

fn print(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let Entry { shape, stats } = entry;
    writeln!(out, "{}: {}", shape.name, shape.words())?;
    let ids = shape.id_type.map_or_else(|| "not known yet".to_owned(), |kind| kind.to_string());
    let calibration = stats.calibration.as_ref().map(|learned| learned.queries as u64);
    let facts = [
        ("ids", ids),
        ("columns", shape.column_words()),
        ("rows", show::count(stats.rows)),
        ("dead rows", show::count(stats.dead_rows)),
        ("rows in memory", show::count(stats.memtable_rows)),
        ("on disk", show::size(stats.disk_bytes)),
        ("of it logs", show::size(stats.log_bytes)),
        ("searches read", show::size(stats.serving_bytes)),
        ("budget for it", stats.serving_budget.map_or_else(String::new, show::size)),
        ("operations", show::count(stats.seq)),
        (
            "calibrated by",
            calibration.map_or_else(String::new, |many| format!("{} queries", show::count(many))),
        ),
        ("manifest", show::count(stats.generation)),
        ("cpu", stats.cpu_tier.to_owned()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "  {name:<15} {value}")?;
    }
    if let Some(problem) = &stats.serving_problem {
        writeln!(out, "{problem}")?;
    }
    if let Some(reason) = &stats.passed_over {
        writeln!(out, "the newest manifest was passed over: {reason}")?;
    }
    if stats.segments.is_empty() {
        return Ok(());
    }
    let mut table = show::table(["segment", "rows", "dead", "bytes", "search by"]);
    for segment in &stats.segments {
        table.add_row(vec![
            show::right(segment.id),
            show::right(show::count(segment.rows)),
            show::right(show::count(segment.dead_rows)),
            show::right(show::size(segment.bytes)),
            format!("{}, {}", if segment.graph { "graph" } else { "scan" }, segment.code).into(),
        ]);
    }
    writeln!(out, "{table}")?;
    for segment in stats.segments.iter().filter(|segment| !segment.damaged.is_empty()) {
        writeln!(out, "segment {} is damaged in {}", segment.id, segment.damaged.join(", "))?;
    }
    Ok(())
}
