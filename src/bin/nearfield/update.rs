//! `nearfield update`: attributes of rows by id or by a filter.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::{ids, open, show};

/// Set columns of rows by id, or of those that a filter finds; other columns and the vectors stay
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    #[command(flatten)]
    rows: ids::Written,
    /// The columns and what to set them to, as JSON: '{"lang": "en", "year": null}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    set: serde_json::Map<String, serde_json::Value>,
}

fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let object = serde_json::from_str(text).map_err(|error| {
        format!("{error}; expected a JSON object such as {{\"lang\": \"en\", \"year\": null}}")
    })?;
    if serde_json::Map::is_empty(&object) {
        return Err("it names no column; give one at least".into());
    }
    Ok(object)
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let schema = collection.schema()?;
    let values = nearfield::interop::attributes(&args.set, &schema)?;
    let updated = match &args.rows.filter {
        Some(filter) => collection.update_where(filter, &values)?,
        None => {
            let ids = ids::parse(&args.rows.ids, &schema)?;
            collection.update_where(nearfield::col("id").is_in(ids), &values)?
        }
    };
    db.close()?;
    let document = json!({ "name": args.name, "updated": updated });
    output.answer(&document, |out| writeln!(out, "updated {}", show::counted(updated, "row")))
}
