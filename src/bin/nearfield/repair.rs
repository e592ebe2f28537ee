//! `nearfield repair`: saves what is left of a damaged database into a new one.

use std::io::{self, Write};
use std::path::PathBuf;

use nearfield::{Database, Loss, RepairOptions, RepairReport};

use super::failure::Failure;
use super::output::Output;
use super::progress::Spinner;
use super::show;

/// Ids of lost rows that people are shown; `--json` gives all.
const SHOWN_IDS: usize = 20;

/// Save every whole row of a damaged database into a new one, and say what is lost; exit code 3 if
/// anything is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the damaged database, which is only read; nobody may have it open for writing
    from: PathBuf,
    /// New directory for what is saved
    to: PathBuf,
    /// Keep rows of which it is not known whether they had been deleted
    #[arg(long)]
    keep_doubtful: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let spinner = Spinner::start("saving what is whole");
    let options = RepairOptions::new().keep_doubtful(args.keep_doubtful);
    let report = Database::repair(&args.from, &args.to, options)?;
    spinner.stop();
    output.answer(&report, |out| print(&report, out))?;
    if report.is_complete() { Ok(()) } else { Err(Failure::Damaged) }
}

fn print(report: &RepairReport, out: &mut dyn Write) -> io::Result<()> {
    for saved in &report.collections {
        let rows = show::counted(saved.rows, "row");
        match saved.losses.as_slice() {
            [] => writeln!(out, "{}: {rows}, nothing is lost", saved.name)?,
            losses => {
                writeln!(out, "{}: {rows} saved", saved.name)?;
                losses.iter().try_for_each(|loss| lost(loss, out))?;
            }
        }
    }
    for (name, reason) in &report.lost {
        writeln!(out, "{name}: nothing can be saved: {reason}")?;
    }
    Ok(())
}

fn lost(loss: &Loss, out: &mut dyn Write) -> io::Result<()> {
    let Loss { file, section, reason, rows, ids, operations, .. } = loss;
    writeln!(out, "  {} in {section}: {reason}", file.display())?;
    if *operations > 0 {
        let operations = show::counted(*operations, "operation");
        writeln!(out, "    at least {operations} of the log lost")?;
    }
    if *rows > 0 {
        writeln!(out, "    {} lost", show::counted(*rows, "row"))?;
    }
    if !ids.is_empty() {
        let mut shown: Vec<String> =
            ids.iter().take(SHOWN_IDS).map(|id| show::plain(&id.to_string())).collect();
        match ids.len().saturating_sub(SHOWN_IDS) {
            0 => {}
            more => shown.push(format!("and {more} more, which --json lists")),
        }
        writeln!(out, "    ids: {}", shown.join(", "))?;
    }
    Ok(())
}
