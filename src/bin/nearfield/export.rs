//! `nearfield export`: a collection as a file that other tools read.

use std::path::PathBuf;
use std::time::Instant;

use nearfield::interop::{self, ExportBatch, ExportSchema, Format};
use nearfield::{Error, Fields, IdType, Records, ScanOptions};
use serde_json::json;

use super::args::{self, Names};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Meter;
use super::{ids, open, show};

/// Write a collection to a Parquet, Arrow or JSON lines file, which import reads back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    /// File to write or replace: .parquet, .arrow, .arrows or .jsonl
    file: PathBuf,
    /// Only rows for which this holds, as in SQL: "lang = 'en' AND year >= 2019"
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Columns to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_parser = args::names)]
    select: Option<Names>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let Some(format) = Format::from_extension(&args.file) else {
        return Err(Failure::usage(format!(
            "{}: the extension names no format; give the file one of .parquet, .arrow, .arrows \
             or .jsonl",
            args.file.display()
        )));
    };
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let (schema, snapshot) = (collection.schema()?, collection.snapshot()?);
    let fields = match &args.select {
        Some(Names(names)) => Fields::columns(names),
        None => Fields::all(),
    };
    let mut options = ScanOptions::new().fields(fields.with_vectors());
    let mut total = snapshot.len() as u64;
    if let Some(filter) = &args.filter {
        total = snapshot.count(filter)?;
        options = options.filter(filter);
    }
    let scan = snapshot.scan(options)?;
    let id_type = schema.id_type().unwrap_or(IdType::U64);
    let mut shape = ExportSchema::new(schema.dimension(), schema.vector_type(), id_type);
    shape.metric = Some(schema.metric());
    let all = || schema.columns().iter().map(|column| &column.name).collect();
    let names: Vec<&String> =
        args.select.as_ref().map_or_else(all, |names| names.0.iter().collect());
    for name in names {
        // The scan has refused names that are not there.
        let named = schema.columns().iter().find(|column| column.name == *name);
        if let Some(column) = named {
            shape = shape.column(&column.name, column.data_type);
        }
    }
    let interrupt = Interrupt::catch();
    let meter = Meter::start("writing", Some(total));
    let mut rows = 0;
    let batches = scan.map(|records| {
        if interrupt.raised() {
            return Err(Error::Cancelled);
        }
        let Records { ids, vectors, attributes, .. } = records?;
        rows += ids.len() as u64;
        meter.rows(rows);
        let vectors = vectors.unwrap_or_else(|| Vec::<f32>::new().into());
        Ok(ExportBatch { ids: ids::batch(&ids), vectors, attributes })
    });
    let start = Instant::now();
    let rows = interop::write(&args.file, format, &shape, batches)?;
    let elapsed = start.elapsed();
    drop(meter);
    let document = json!({
        "name": args.name,
        "file": args.file.to_string_lossy(),
        "format": format.to_string(),
        "rows": rows,
        "seconds": elapsed.as_secs_f64(),
    });
    output.answer(&document, |out| {
        writeln!(
            out,
            "wrote {} of {} to {} ({format}) in {}",
            show::counted(rows, "row"),
            args.name,
            args.file.display(),
            show::time(elapsed)
        )
    })
}
