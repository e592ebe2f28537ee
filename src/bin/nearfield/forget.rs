//! `nearfield forget`: rows by id, gone from every file when it returns.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::progress::Spinner;
use super::{ids, open, show};

/// Delete rows by id and erase their bytes from the files of the collection, also those of rows that were deleted
/// or replaced before; segments that hold one are written anew
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// Ids of the rows; those that do not exist are passed over
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let ids = ids::parse(&args.ids, &collection.schema()?)?;
    let spinner = Spinner::start("erasing");
    let forgotten = collection.forget(ids::batch(&ids))?;
    spinner.stop();
    let rows = collection.len()?;
    db.close()?;
    let document = json!({ "name": args.name, "forgotten": forgotten, "rows": rows });
    output.answer(&document, |out| {
        writeln!(
            out,
            "forgot {}, {} left",
            show::counted(forgotten, "row"),
            show::count(rows as u64)
        )
    })
}
