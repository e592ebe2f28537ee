//! `nearfield backup` and `nearfield restore`: copies of a whole database.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nearfield::Database;
use serde_json::json;

use crate::failure::Failure;
use crate::open;
use crate::output::Output;
use crate::progress::Spinner;
use crate::show;

/// Copy a database, also while another process writes to it
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// Database directory
    db: PathBuf,
    /// New directory for the copy
    to: PathBuf,
}

/// Verify a backup and copy it to a new place
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    from: PathBuf,
    /// New directory for the database
    to: PathBuf,
}

pub(crate) fn backup(args: &BackupArgs, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    copy("backed up", &args.db, &args.to, output, || db.backup(&args.to))
}

pub(crate) fn restore(args: &RestoreArgs, output: &Output) -> Result<(), Failure> {
    copy("restored", &args.from, &args.to, output, || Database::restore(&args.from, &args.to))
}

fn copy(
    done: &str,
    from: &Path,
    to: &Path,
    output: &Output,
    work: impl FnOnce() -> nearfield::Result<()>,
) -> Result<(), Failure> {
    let spinner = Spinner::start("copying");
    let start = Instant::now();
    work()?;
    let elapsed = start.elapsed();
    spinner.stop();
    let document = json!({
        "from": from.to_string_lossy(),
        "to": to.to_string_lossy(),
        "seconds": elapsed.as_secs_f64(),
    });
    output.answer(&document, |out| {
        writeln!(out, "{done} {} to {} in {}", from.display(), to.display(), show::time(elapsed))
    })
}
