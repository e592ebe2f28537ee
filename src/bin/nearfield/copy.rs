//! `nearfield backup`, `restore`, `pack` and `unpack`: copies of a whole database.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nearfield::{Database, OpenOptions};
use serde_json::json;

use super::failure::Failure;
use super::open;
use super::output::Output;
use super::progress::Spinner;
use super::show;

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

/// Write a database as one file, which every command that reads takes in place of a directory
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// Database directory; compact its collections first for the smallest file
    db: PathBuf,
    /// New file
    to: PathBuf,
}

/// Turn a packed database back into a directory, to write to it
#[derive(Debug, clap::Args)]
pub(crate) struct UnpackArgs {
    /// File that holds the packed database
    from: PathBuf,
    /// New directory for the database
    to: PathBuf,
    /// Byte of the file at which the packed database begins
    #[arg(long)]
    offset: Option<u64>,
}

pub(crate) fn backup(args: &BackupArgs, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    copy("backed up", &args.db, &args.to, output, || db.backup(&args.to))
}

pub(crate) fn restore(args: &RestoreArgs, output: &Output) -> Result<(), Failure> {
    copy("restored", &args.from, &args.to, output, || Database::restore(&args.from, &args.to))
}

pub(crate) fn pack(args: &PackArgs, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    copy("packed", &args.db, &args.to, output, || db.pack(&args.to))
}

pub(crate) fn unpack(args: &UnpackArgs, output: &Output) -> Result<(), Failure> {
    copy("unpacked", &args.from, &args.to, output, || match args.offset {
        None => Database::unpack(&args.from, &args.to),
        Some(offset) => {
            OpenOptions::new().read_only(true).offset(offset).open(&args.from)?.backup(&args.to)
        }
    })
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
