//! `nearfield text-index`: a column of a collection to be searched by words.

use std::path::PathBuf;

use nearfield::TextOptions;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::{args, open, show};

/// Index a text column for search by words, or index it anew in another language
///
/// The rows that are there are indexed when a search first asks for their words, and the index is kept
/// in their files when those are next written. `nearfield import --text` keeps it from the beginning.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// Column of text
    column: String,
    /// Language of the texts, for stop words and endings: english, german, fr, …; none takes words as
    /// they are
    #[arg(long, value_name = "LANGUAGE", default_value = "english", value_parser = args::text_options)]
    language: TextOptions,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::writer(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let changed = collection.add_text_index(&args.column, args.language)?;
    db.close()?;
    let Args { name, column, .. } = args;
    let document = json!({ "name": name, "column": column, "changed": changed });
    output.answer(&document, |out| {
        let (column, done) = (show::plain(column), if changed { "is" } else { "was already" });
        writeln!(out, "{column} of {name} {done} indexed for search by words")
    })
}
