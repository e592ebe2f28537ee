//! `nearfield doctor`: what to say of a database in a report of a defect.

use std::path::PathBuf;

use nearfield::{Database, DoctorOptions};

use super::failure::Failure;
use super::output::Output;
use super::progress::Spinner;

/// Report on a database, whole or damaged, without its data: to paste into a report of a defect; exit code 3
/// if there is a problem
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Tell columns by name too, not by type alone
    #[arg(long)]
    names: bool,
    /// Read and check every byte, as verify does
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let options = DoctorOptions::new().names(args.names).verify(args.verify);
    let spinner = Spinner::start("looking at the database");
    let report = Database::doctor(&args.db, options);
    spinner.stop();
    output.answer(&report, |out| write!(out, "{report}"))?;
    if report.problems.is_empty() { Ok(()) } else { Err(Failure::Damaged) }
}
