//! `nearfield compact`: merged segments, built graphs, space given back.

use std::path::PathBuf;
use std::time::Instant;

use nearfield::{CodeChoice, CompactReport};
use serde::Serialize;

use super::args;
use super::failure::Failure;
use super::open;
use super::output::Output;
use super::progress::Spinner;
use super::show;

/// Merge the segments of a collection, build its graphs and give space back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// What leads searches of the segments that are written: auto, full, byte, half, bit, or product:64 for
    /// codes of 64 bytes a row (8 to 1024). Not kept: what is written later has codes of its own choice
    #[arg(long, value_name = "CODES", default_value = "auto")]
    codes: CodeChoice,
    /// Memory that searches should do with, as 64MiB or in bytes, by which codes are chosen. Segments that take
    /// more than their share are written anew
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    serving_memory: Option<usize>,
}

#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    seconds: f64,
    #[serde(flatten)]
    report: CompactReport,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer_of(&args.db, args.codes, args.serving_memory)?;
    let collection = db.open_collection(&args.name)?;
    let spinner = Spinner::start("compacting");
    let start = Instant::now();
    let report = collection.compact()?;
    let elapsed = start.elapsed();
    spinner.stop();
    db.close()?;
    let answer = Answer { name: &args.name, seconds: elapsed.as_secs_f64(), report };
    output.answer(&answer, |out| {
        writeln!(
            out,
            "compacted {} in {}: {}, {} -> {}, {} -> {}",
            args.name,
            show::time(elapsed),
            show::counted(report.rows, "row"),
            show::counted(report.segments_before as u64, "segment"),
            report.segments_after,
            show::size(report.bytes_before),
            show::size(report.bytes_after),
        )
    })
}
