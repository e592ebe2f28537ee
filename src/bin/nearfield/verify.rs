//! `nearfield verify`: reads everything and reports what is damaged.

use std::path::PathBuf;

use nearfield::{Database, Error, VerifyReport};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::progress::Spinner;
use super::{open, show};

/// Read every byte and report damage; exit code 3 if there is any
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of one collection [default: all]
    name: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
    collections: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    files: u64,
    bytes: u64,
    rows: u64,
    problems: Vec<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => db.collections()?,
    };
    let mut collections = Vec::new();
    for name in names {
        let spinner = Spinner::start(&format!("reading {name}"));
        collections.push(verify(&db, name)?);
        spinner.stop();
    }
    let ok = collections.iter().all(|entry| entry.problems.is_empty());
    let answer = Answer { ok, collections };
    output.answer(&answer, |out| {
        if answer.collections.is_empty() {
            return writeln!(out, "no collections");
        }
        let mut table = show::table(["collection", "rows", "files", "read", "result"]);
        for entry in &answer.collections {
            let result = match entry.problems.len() {
                0 => "whole".to_owned(),
                problems => show::counted(problems as u64, "problem"),
            };
            table.add_row(vec![
                entry.name.as_str().into(),
                show::right(show::count(entry.rows)),
                show::right(show::count(entry.files)),
                show::right(show::size(entry.bytes)),
                result.into(),
            ] as Vec<comfy_table::Cell>);
        }
        writeln!(out, "{table}")?;
        for entry in &answer.collections {
            for problem in &entry.problems {
                writeln!(out, "{}: {problem}", entry.name)?;
            }
        }
        Ok(())
    })?;
    if ok { Ok(()) } else { Err(Failure::Damaged) }
}

/// Verifies one collection; one so damaged that it does not open is a finding, not a failure.
fn verify(db: &Database, name: String) -> Result<Entry, Failure> {
    match db.open_collection(&name).and_then(|collection| collection.verify()) {
        Ok(report) => {
            let VerifyReport { files, bytes, rows, problems, .. } = report;
            Ok(Entry { name, files, bytes, rows, problems })
        }
        Err(error @ Error::Corrupt { .. }) => {
            Ok(Entry { name, files: 0, bytes: 0, rows: 0, problems: vec![error.to_string()] })
        }
        Err(error) => Err(error.into()),
    }
}
