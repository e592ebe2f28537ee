//! `nearfield list`: the collections of a database, or the rows of one in order of id.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use nearfield::{Fields, Id, Records, Scan, ScanOptions};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::args::{self, Names};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::open::Shape;
use super::output::{Output, note};
use super::rows::Rows;
use super::show::JsonId;
use super::{ids, open, show};

/// List the collections of a database, or the rows of one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Collection whose rows to list, in ascending order of id
    name: Option<String>,
    /// Most rows to list
    #[arg(long, value_name = "N", default_value_t = 20, requires = "name")]
    limit: usize,
    /// Begin behind this id
    #[arg(long, value_name = "ID", allow_hyphen_values = true, requires = "name")]
    after: Option<String>,
    /// Only rows for which this holds, as in SQL: "lang = 'en' AND year >= 2019"
    #[arg(long = "where", value_name = "FILTER", requires = "name")]
    filter: Option<String>,
    /// Columns to show, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_parser = args::names, requires = "name")]
    select: Option<Names>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    match &args.name {
        None => collections(&args.db, output),
        Some(name) => rows(args, name, output),
    }
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    shape: Shape,
    rows: u64,
}

#[derive(Serialize)]
struct Collections {
    collections: Vec<Entry>,
}

fn collections(path: &Path, output: &Output) -> Result<(), Failure> {
    let db = open::reader(path)?;
    let mut entries = Vec::new();
    let mut unreadable = None;
    for name in db.collections()? {
        let entry = db.open_collection(&name).and_then(|collection| {
            Ok(Entry { shape: Shape::of(&collection)?, rows: collection.len()? as u64 })
        });
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                note(format_args!("note: collection {name} is left out: {error}"));
                unreadable = Some(name);
            }
        }
    }
    let answer = Collections { collections: entries };
    output.answer(&answer, |out| {
        if answer.collections.is_empty() {
            return writeln!(out, "no collections");
        }
        let mut table = show::table(["collection", "rows", "vectors", "ids", "columns"]);
        for Entry { shape, rows } in &answer.collections {
            table.add_row(vec![
                shape.name.as_str().into(),
                show::right(show::count(*rows)),
                shape.words().into(),
                shape.id_type.map_or_else(String::new, |id_type| id_type.to_string()).into(),
                shape.column_words().into(),
            ] as Vec<comfy_table::Cell>);
        }
        writeln!(out, "{table}")
    })?;
    match unreadable {
        None => Ok(()),
        Some(name) => Err(Failure::refused(format!(
            "collection {name} cannot be read; `nearfield verify` says more"
        ))),
    }
}

/// The rows of a scan, read while they are written, so that any number of them fits.
struct Page<'a> {
    scan: RefCell<Scan>,
    width: usize,
    limit: usize,
    interrupt: &'a Interrupt,
    /// Rows read and the last id among them.
    read: RefCell<(usize, Option<Id>)>,
    failure: RefCell<Option<Failure>>,
}

impl Page<'_> {
    /// The next rows; none at the end and after a failure, which is kept.
    fn next(&self) -> Option<Records> {
        let next = match self.interrupt.check() {
            Ok(()) => self.scan.borrow_mut().next()?.map_err(Failure::from),
            Err(interrupted) => Err(interrupted),
        };
        match next {
            Ok(records) => {
                let mut read = self.read.borrow_mut();
                *read = (read.0 + records.len(), records.ids.last().cloned());
                Some(records)
            }
            Err(failure) => {
                *self.failure.borrow_mut() = Some(failure);
                None
            }
        }
    }

    /// The id to go on behind, if there may be more rows.
    fn next_after(&self) -> Option<Id> {
        let read = self.read.borrow();
        read.1.clone().filter(|_| read.0 == self.limit)
    }
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct List<'a>(&'a Page<'a>);
        impl Serialize for List<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut list = serializer.serialize_seq(None)?;
                while let Some(records) = self.0.next() {
                    Rows { records: &records, width: self.0.width }.write_json(&mut list)?;
                }
                list.end()
            }
        }
        let mut document = serializer.serialize_map(Some(2))?;
        document.serialize_entry("rows", &List(self))?;
        document.serialize_entry("next_after", &self.next_after().map(JsonId))?;
        document.end()
    }
}

fn rows(args: &Args, name: &str, output: &Output) -> Result<(), Failure> {
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(name)?;
    let schema = collection.schema()?;
    let mut options = ScanOptions::new().limit(args.limit).batch_rows(1_000);
    if let Some(after) = &args.after
        && let Some(after) = ids::parse(std::slice::from_ref(after), &schema)?.pop()
    {
        options = options.after(after);
    }
    if let Some(filter) = &args.filter {
        options = options.filter(filter);
    }
    if let Some(Names(names)) = &args.select {
        options = options.fields(Fields::columns(names));
    }
    let interrupt = Interrupt::catch();
    let page = Page {
        scan: RefCell::new(collection.scan(options)?),
        width: schema.row_elements(),
        limit: args.limit,
        interrupt: &interrupt,
        read: RefCell::new((0, None)),
        failure: RefCell::new(None),
    };
    output.answer(&page, |out| {
        while let Some(records) = page.next() {
            Rows { records: &records, width: page.width }.write_table(out)?;
        }
        match page.next_after() {
            Some(id) => writeln!(out, "more: --after {}", show::id(&id)),
            None if page.read.borrow().0 == 0 => writeln!(out, "no rows"),
            None => Ok(()),
        }
    })?;
    page.failure.into_inner().map_or(Ok(()), Err)
}
