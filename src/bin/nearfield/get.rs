//! `nearfield get`: rows by id.

use std::path::PathBuf;

use nearfield::{Fields, Id};
use serde::Serialize;

use super::args::{self, Names};
use super::failure::Failure;
use super::output::{Output, note};
use super::rows::Rows;
use super::show::JsonId;
use super::{ids, open, show};

/// Show rows by id
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// Ids of the rows
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Columns to show, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_parser = args::names)]
    select: Option<Names>,
    /// Show the vectors as well
    #[arg(long)]
    vectors: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    rows: Rows<'a>,
    missing: Vec<JsonId>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let schema = collection.schema()?;
    let asked = ids::parse(&args.ids, &schema)?;
    let mut fields = match &args.select {
        Some(Names(names)) => Fields::columns(names),
        None => Fields::all(),
    };
    if args.vectors {
        fields = fields.with_vectors();
    }
    let records = collection.get(ids::batch(&asked), &fields)?;
    let missing: Vec<Id> = asked.into_iter().filter(|id| !records.ids.contains(id)).collect();
    if records.is_empty() {
        return Err(Failure::refused(format!(
            "no row of {} has the {}",
            args.name,
            named(&missing)
        )));
    }
    if !missing.is_empty() {
        note(format_args!("note: no row has the {}", named(&missing)));
    }
    let rows = Rows { records: &records, width: schema.row_elements() };
    let answer = Answer { rows, missing: missing.into_iter().map(JsonId).collect() };
    output.answer(&answer, |out| answer.rows.write_table(out))
}

fn named(ids: &[Id]) -> String {
    const NAMED: usize = 10;
    let shown: Vec<String> = ids.iter().take(NAMED).map(show::id).collect();
    let more = if ids.len() > NAMED { ", …" } else { "" };
    let plural = if ids.len() == 1 { "" } else { "s" };
    format!("id{plural} {}{more}", shown.join(", "))
}
