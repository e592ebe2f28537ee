//! `nearfield compact`: merged segments, built graphs, space given back.

use std::path::PathBuf;
use std::time::Instant;

use nearfield::CompactReport;
use serde::Serialize;

use crate::failure::Failure;
use crate::open;
use crate::output::Output;
use crate::progress::Spinner;
use crate::show;

/// Merge the segments of a collection, build its graphs and give space back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    seconds: f64,
    #[serde(flatten)]
    report: CompactReport,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
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
