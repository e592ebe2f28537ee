//! One collection: its manifest and files as they lie there, and what it says once it is open.

use super::message::Discretion;
use super::{DoctorPart, DoctorReport, Look};
use crate::collection::manifest::{self, Loaded, Manifest};
use crate::collection::options::Schema;
use crate::collection::{Collection, SegmentStats, Stats, recover, segment_files};
use crate::error::{Error, Result};
use crate::storage::disk::DirEntry;

/// Adds what is found of the collection `name` to `report`.
pub(super) fn examine(
    report: &mut DoctorReport,
    look: &mut Look<'_>,
    name: &str,
    discretion: &Discretion,
) {
    let mut discretion = discretion.clone();
    let mut part = DoctorPart::new(format!("collection {name}"));
    let mut entries = Vec::new();
    let loaded = report.attempt(&discretion, name, || manifests(look, name, &mut entries));
    let mut named = Vec::new();
    if let Some(loaded) = &loaded {
        named = [Some(&loaded.manifest), loaded.previous.as_ref()].into_iter().flatten().collect();
        discretion.know(&loaded.manifest.schema, look.names);
        tell_manifest(&mut part, &loaded.manifest);
        // What does not open for want of a whole manifest has been told.
        let docs = look
            .db
            .as_ref()
            .and_then(|db| report.attempt(&discretion, name, || db.open_collection(name)));
        // The log alone may have the type of ids, columns and indexes.
        let schema = docs.as_ref().and_then(|docs| docs.schema().ok());
        let schema = schema.unwrap_or_else(|| loaded.manifest.schema.clone());
        discretion.know(&schema, look.names);
        tell_schema(&mut part, &schema, look.names);
        let passed_over = tell_passed_over(&mut part, report, loaded, name, &discretion);
        if let Some(docs) = docs {
            tell_opened(&mut part, report, look, &docs, (&passed_over, &discretion));
        }
    }
    tell_files(&mut part, &entries, &named);
    report.parts.push(part);
}

/// What is in the directory, and the manifests that count: once more where a writer has removed them in between.
fn manifests(look: &Look<'_>, name: &str, entries: &mut Vec<DirEntry>) -> Result<Loaded> {
    let (disk, dir) = (look.disk, look.path.join(name));
    let mut attempt = 0;
    loop {
        *entries = disk.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
        match manifest::salvage(disk, &dir, entries) {
            Err(error) if attempt < recover::ATTEMPTS && recover::is_outrun(&error) => attempt += 1,
            loaded => return loaded,
        }
    }
}

/// Returns why manifests are passed over.
fn tell_passed_over(
    part: &mut DoctorPart,
    report: &mut DoctorReport,
    loaded: &Loaded,
    name: &str,
    discretion: &Discretion,
) -> Vec<String> {
    let older = loaded.older_failure.as_ref().map(ToString::to_string);
    let reasons: Vec<String> = loaded.passed_over.iter().cloned().chain(older).collect();
    for why in &reasons {
        let why = discretion.say(why);
        part.tell("passed over", why.clone());
        report.problems.push(format!("{name}: a manifest is passed over: {why}"));
    }
    reasons
}

fn tell_opened(
    part: &mut DoctorPart,
    report: &mut DoctorReport,
    look: &mut Look<'_>,
    docs: &Collection,
    (told, discretion): (&[String], &Discretion),
) {
    let stats = report.attempt(discretion, docs.name(), || docs.stats()).map(|mut stats| {
        let texts = [&mut stats.passed_over, &mut stats.background_failure];
        texts.into_iter().flatten().for_each(|text| *text = discretion.say(text));
        stats
    });
    if let Some(stats) = &stats {
        tell_stats(part, stats);
        stats.segments.iter().for_each(|segment| tell_segment(part, segment));
    }
    // What is known of damage is what verifying finds, too.
    let verified = look.verify && verify(part, report, look, docs, (told, discretion));
    for segment in stats.iter().filter(|_| !verified).flat_map(|stats| &stats.segments) {
        if !segment.damaged.is_empty() {
            let (name, id, sections) = (docs.name(), segment.id, segment.damaged.join(", "));
            report.problems.push(format!("{name}: segment {id} is damaged in {sections}"));
        }
    }
    part.stats = stats;
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
    if let Some(raw) = schema.raw() {
        part.tell("raw", raw.to_string());
    }
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
    part.tell(
        "searches read",
        format!(
            "{} bytes all over, {} at least by other codes",
            stats.serving_bytes, stats.serving_least_bytes
        ),
    );
    part.tell("operations", stats.seq.to_string());
    let learned = stats.calibration.as_ref().map(|learned| learned.queries);
    part.tell(
        "calibration",
        learned.map_or_else(|| "none".into(), |many| format!("by {many} queries")),
    );
}

fn tell_segment(part: &mut DoctorPart, segment: &SegmentStats) {
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
}

/// Reads every byte; whether it came to its end. Problems that are `told` already are not told again.
fn verify(
    part: &mut DoctorPart,
    report: &mut DoctorReport,
    look: &mut Look<'_>,
    docs: &Collection,
    (told, discretion): (&[String], &Discretion),
) -> bool {
    let mut last = 0;
    let read = |done, _| {
        let step = done - std::mem::replace(&mut last, done);
        (look.watch)(step).is_ok()
    };
    let found = report.attempt(discretion, docs.name(), || docs.verify_while(read));
    let Some(found) = found else { return false };
    let problems = found.problems.len();
    part.tell(
        "verified",
        format!("{} files, {} bytes, {problems} problems", found.files, found.bytes),
    );
    for problem in found.problems.iter().filter(|problem| !told.contains(problem)) {
        report.problems.push(format!("{}: {}", docs.name(), discretion.say(problem)));
    }
    true
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
