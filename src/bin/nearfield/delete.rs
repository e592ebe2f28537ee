//! `nearfield delete`: rows by id or by a filter.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::{ids, open, show};

/// Delete rows by id, or those that a filter finds; ids that do not exist are passed over
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    #[command(flatten)]
    rows: ids::Written,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let deleted = match &args.rows.filter {
        Some(filter) => collection.delete_where(filter)?,
        None => {
            let ids = ids::parse(&args.rows.ids, &collection.schema()?)?;
            collection.delete(ids::batch(&ids))?
        }
    };
    let rows = collection.len()?;
    db.close()?;
    let document = json!({ "name": args.name, "deleted": deleted, "rows": rows });
    output.answer(&document, |out| {
        writeln!(
            out,
            "deleted {}, {} left",
            show::counted(deleted, "row"),
            show::count(rows as u64)
        )
    })
}
