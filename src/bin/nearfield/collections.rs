//! `nearfield drop` and `nearfield rename`: collections as a whole.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::open;
use super::output::Output;
use super::show;

/// Drop a collection with all its rows
#[derive(Debug, clap::Args)]
pub(crate) struct DropArgs {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// Do it; nothing is dropped without
    #[arg(long)]
    yes: bool,
}

/// Rename a collection
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArgs {
    /// Database directory
    db: PathBuf,
    /// Its name
    from: String,
    /// Its new name
    to: String,
}

pub(crate) fn drop(args: &DropArgs, output: &Output) -> Result<(), Failure> {
    if !args.yes {
        let rows = open::reader(&args.db)?.open_collection(&args.name)?.len()?;
        return Err(Failure::usage(format!(
            "this would drop {} with {} for good; add --yes to do it",
            args.name,
            show::counted(rows as u64, "row")
        )));
    }
    let db = open::writer(&args.db)?;
    db.drop_collection(&args.name)?;
    db.close()?;
    output.answer(&json!({ "dropped": args.name }), |out| writeln!(out, "dropped {}", args.name))
}

pub(crate) fn rename(args: &RenameArgs, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
    db.rename_collection(&args.from, &args.to)?;
    db.close()?;
    output.answer(&json!({ "from": args.from, "to": args.to }), |out| {
        writeln!(out, "renamed {} to {}", args.from, args.to)
    })
}
