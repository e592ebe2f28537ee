//! `nearfield count`: how many rows there are, or how many a filter finds.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::{open, show};

/// Count the rows of a collection, or those that a filter finds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// Only rows for which this holds, as in SQL: "lang = 'en' AND year >= 2019"
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let rows = match &args.filter {
        Some(filter) => collection.count(filter)?,
        None => collection.len()? as u64,
    };
    output.answer(&json!({ "name": args.name, "rows": rows }), |out| {
        writeln!(out, "{}", show::counted(rows, "row"))
    })
}
