//! `nearfield create`: an empty collection.

use std::path::PathBuf;

use nearfield::{Column, Database, Raw, Schema, TextOptions};

use super::args::{self, IdArg, MetricArg, TypeArg};
use super::failure::Failure;
use super::open::Shape;
use super::output::Output;

/// Create an empty collection (import creates one from the shape of a file)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory; created if it is absent
    db: PathBuf,
    /// Name of the new collection
    name: String,
    /// Dimensions of a vector
    #[arg(long, value_name = "N")]
    dim: usize,
    /// How vectors are compared
    #[arg(long)]
    metric: MetricArg,
    /// How elements are stored [default: f32; b1 for hamming and jaccard]
    #[arg(long = "type", value_name = "TYPE")]
    vector_type: Option<TypeArg>,
    /// What is kept of f32 vectors: f32, f16 for half the bytes, or none for rounded
    /// vectors in a quarter of them, of which distances then are [default: f32]
    #[arg(long, value_name = "RAW")]
    raw: Option<Raw>,
    /// Kind of id; that of the first rows unless given
    #[arg(long)]
    ids: Option<IdArg>,
    /// Attribute column: bool, int64, float64, utf8, timestamp, list_utf8 or sparse; repeatable
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = args::column)]
    columns: Vec<Column>,
    /// Attribute column of text to be searched by words; repeatable
    #[arg(long = "text", value_name = "NAME")]
    texts: Vec<String>,
    /// Language of the text columns, for stop words and endings: english, german, fr, …; none takes
    /// words as they are
    #[arg(long, value_name = "LANGUAGE", default_value = "english", value_parser = args::text_options)]
    language: TextOptions,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut schema = Schema::new(args.dim, args.metric.into());
    if let Some(vector_type) = args.vector_type {
        schema = schema.with_vector_type(vector_type.into());
    }
    if let Some(raw) = args.raw {
        schema = schema.with_raw(raw);
    }
    if let Some(id_type) = args.ids {
        schema = schema.with_id_type(id_type.into());
    }
    for column in &args.columns {
        schema = schema.column(&column.name, column.data_type);
    }
    for name in &args.texts {
        schema = schema.text_with(name, args.language);
    }
    let db = Database::open(&args.db)?;
    if db.collections()?.contains(&args.name) {
        return Err(Failure::refused(format!(
            "collection {:?} exists already; choose another name, or drop it first",
            args.name
        )));
    }
    let collection = db.create_collection(&args.name, schema)?;
    let shape = Shape::of(&collection)?;
    db.close()?;
    output.answer(&shape, |out| writeln!(out, "created {}: {}", shape.name, shape.words()))
}
