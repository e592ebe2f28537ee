//! One collection: its manifest and files as they lie there, and what it says once it is open.

use std::path::Path;

use super::message::Discretion;
use super::{DoctorOptions, DoctorPart, DoctorReport};
use crate::collection::manifest::{self, Manifest};
use crate::collection::options::Schema;
use crate::collection::{Collection, Stats, recover, segment_files};
use crate::database::Database;
use crate::error::Error;
use crate::storage::disk::DirEntry;

/// Adds what is found of the collection `name` to `report`.
pub(super) fn examine(
    report: &mut DoctorReport,
    db: Option<&Database>,
    path: &Path,
    name: &str,
    options: &DoctorOptions,
    discretion: &mut Discretion,
) {
    let (disk, dir) = (&options.disk, path.join(name));
    let mut part = DoctorPart::new(format!("collection {name}"));
    let listed = report.attempt(discretion, name, || {
        disk.list(&dir).map_err(|error| Error::io("list", &dir, error))
    });
    let entries = listed.unwrap_or_default();
    let loaded = report.attempt(discretion, name, || manifest::salvage(disk, &dir, &entries));
    let (mut named, mut docs) = (Vec::new(), None);
    if let Some(loaded) = &loaded {
        discretion.know(&loaded.manifest.schema, options.names);
        tell_manifest(&mut part, &loaded.manifest);
        // What does not open for want of a whole manifest has been told.
        docs = db.and_then(|db| report.attempt(discretion, name, || db.open_collection(name)));
        // The log alone may have the type of ids, columns and indexes.
        let schema = docs.as_ref().and_then(|docs| docs.schema().ok());
        let schema = schema.unwrap_or_else(|| loaded.manifest.schema.clone());
        discretion.know(&schema, options.names);
        tell_schema(&mut part, &schema, options.names);
        let older = loaded.older_failure.as_ref().map(ToString::to_string);
        for why in loaded.passed_over.iter().chain(&older) {
            let why = discretion.say(why);
            part.tell("passed over", why.clone());
            report.problems.push(format!("{name}: a manifest is passed over: {why}"));
        }
        named = [Some(&loaded.manifest), loaded.previous.as_ref()].into_iter().flatten().collect();
    }
    if let Some(docs) = docs {
        let stats = report.attempt(discretion, name, || docs.stats());
        if let Some(stats) = stats {
            tell_stats(&mut part, &stats);
            tell_segments(&mut part, report, &stats, name);
        }
        if options.verify {
            verify(&mut part, report, &docs, discretion);
        }
    }
    tell_files(&mut part, &entries, &named);
    report.parts.push(part);
}

fn tell_manifest(part: &mut DoctorPart, manifest: &Manifest) {
    let Manifest { generation, seq, logged, log_start, next_file, .. } = manifest;
    part.tell(
        "manifest",
        format!(
            "number {generation}, operations {seq} in segments and {logged} logged, \
             logs from {log_start}, files below {next_file}"
        ),
    );
    if !manifest.required_features.is_empty() {
        part.tell("requires", manifest.required_features.join(" "));
    }
}

fn tell_schema(part: &mut DoctorPart, schema: &Schema, names: bool) {
    let (dimension, vector_type, metric) =
        (schema.dimension(), schema.vector_type(), schema.metric());
    part.tell("vectors", format!("{dimension} dimensions, {vector_type}, {metric}"));
    let ids = schema.id_type().map_or_else(|| "not known yet".into(), |kind| kind.to_string());
    part.tell("ids", ids);
    let column = |column: &crate::types::Column| {
        let name = if names { format!("{:?} ", column.name) } else { String::new() };
        let text = schema.text_options(&column.name).map_or_else(String::new, |options| {
            let language = options.values().0.map_or_else(|| "none".into(), |one| one.to_string());
            format!(" (indexed, language {language})")
        });
        format!("{name}{}{text}", column.data_type)
    };
    let columns: Vec<String> = schema.columns().iter().map(column).collect();
    part.tell("columns", if columns.is_empty() { "none".into() } else { columns.join(", ") });
    if schema.embedding().is_some() {
        part.tell("embedder", "remembered");
    }
}

fn tell_stats(part: &mut DoctorPart, stats: &Stats) {
    part.tell("rows", format!("{}, {} dead", stats.rows, stats.dead_rows));
    part.tell("in memory", format!("{} rows, {} bytes", stats.memtable_rows, stats.memtable_bytes));
    part.tell("on disk", format!("{} bytes, {} of logs", stats.disk_bytes, stats.log_bytes));
    part.tell("operations", stats.seq.to_string());
    part.tell("to be merged", format!("{} rows, {} bytes", stats.debt_rows, stats.debt_bytes));
    let learned = stats.calibration.as_ref().map(|learned| learned.queries);
    part.tell(
        "calibration",
        learned.map_or_else(|| "none".into(), |many| format!("by {many} queries")),
    );
}

fn tell_segments(part: &mut DoctorPart, report: &mut DoctorReport, stats: &Stats, name: &str) {
    for segment in &stats.segments {
        let by = if segment.graph { "graph" } else { "scan" };
        let mut fact = format!(
            "{}: {} rows, {} dead, {} bytes, {by} by {}",
            segment.id, segment.rows, segment.dead_rows, segment.bytes, segment.code
        );
        let measures =
            [(segment.code_agreement, "agreement"), (segment.graph_recall, "recall when built")];
        for (thousandths, what) in measures {
            if let Some(thousandths) = thousandths {
                fact += &format!(", {what} {thousandths} of 1000");
            }
        }
        part.tell("segment", fact);
        if !segment.damaged.is_empty() {
            let (id, sections) = (segment.id, segment.damaged.join(", "));
            report.problems.push(format!("{name}: segment {id} is damaged in {sections}"));
        }
    }
}

fn verify(
    part: &mut DoctorPart,
    report: &mut DoctorReport,
    docs: &Collection,
    discretion: &Discretion,
) {
    let Some(found) = report.attempt(discretion, docs.name(), || docs.verify()) else { return };
    let problems = found.problems.len();
    part.tell(
        "verified",
        format!("{} files, {} bytes, {problems} problems", found.files, found.bytes),
    );
    let problem = |problem: &String| format!("{}: {}", docs.name(), discretion.say(problem));
    report.problems.extend(found.problems.iter().map(problem));
}

/// The files, and whether the manifests that count name them.
fn tell_files(part: &mut DoctorPart, entries: &[DirEntry], named: &[&Manifest]) {
    for DirEntry { name, is_dir, len } in entries {
        let fact = match segment_files::parse(name) {
            // Their names are not ours to tell.
            _ if *is_dir => "a directory, not ours".into(),
            None => format!("{len} bytes, not ours"),
            Some(file) if named.is_empty() || recover::is_named(file, named) => {
                format!("{name}, {len} bytes")
            }
            Some(_) => format!("{name}, {len} bytes, named by no manifest that counts"),
        };
        part.tell("file", fact);
    }
}
