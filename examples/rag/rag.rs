//! From a folder to a prompt: index the sections, retrieve the nearest, cite them.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use nearfield::arrow_array::cast::AsArray;
use nearfield::arrow_array::types::Int64Type;
use nearfield::arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{
    Collection, DataType, Database, Embedder, Id, IdType, Metric, ScanOptions, Schema,
};

use super::markdown::{self, Section};

/// Texts embedded and written at once.
const BATCH: usize = 64;

/// A section found, nearest first.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) section: Section,
    pub(crate) score: f32,
}

/// Brings the collection to what the folder holds now: new and changed sections are embedded, those
/// that are gone are deleted, all others are left alone.
pub(crate) fn index(
    db: &Database,
    folder: &Path,
    embedder: &Embedder,
) -> Result<Collection, Box<dyn Error>> {
    let schema = Schema::new(embedder.dimension(), Metric::Cosine)
        .with_id_type(IdType::Utf8)
        .text("text")
        .column("file", DataType::Utf8)
        .column("line", DataType::Int64)
        .column("heading", DataType::Utf8);
    let sections = db.collection("sections", schema)?.with_embedder(embedder)?;
    let mut known = HashMap::new();
    for records in sections.scan(ScanOptions::new())? {
        let records = records?;
        let texts = records.attributes.column_by_name("text").ok_or("no column text")?;
        for (id, text) in records.ids.into_iter().zip(texts.as_string::<i64>()) {
            known.insert(id, text.unwrap_or_default().to_owned());
        }
    }
    let mut changed = Vec::new();
    for section in markdown::read(folder)? {
        let id = format!("{}:{}", section.file, section.line);
        if known.remove(&Id::from(id.as_str())).as_ref() != Some(&section.text) {
            changed.push((id, section));
        }
    }
    let gone: Vec<String> = known.into_keys().filter_map(text_of).collect();
    sections.delete(&gone)?;
    for batch in changed.chunks(BATCH) {
        let ids: Vec<&str> = batch.iter().map(|(id, _)| id.as_str()).collect();
        let texts: Vec<&str> = batch.iter().map(|(_, section)| section.text.as_str()).collect();
        sections.upsert_texts(Some((&ids).into()), &texts, &columns(batch)?)?;
    }
    Ok(sections)
}

fn text_of(id: Id) -> Option<String> {
    match id {
        Id::Utf8(id) => Some(id.into()),
        Id::U64(_) => None,
    }
}

fn columns(batch: &[(String, Section)]) -> Result<RecordBatch, Box<dyn Error>> {
    let sections = || batch.iter().map(|(_, section)| section);
    let files = LargeStringArray::from_iter_values(sections().map(|section| &section.file));
    let lines = sections().map(|section| i64::try_from(section.line)).collect::<Result<_, _>>()?;
    let headings = LargeStringArray::from_iter_values(sections().map(|section| &section.heading));
    let columns: [(&str, ArrayRef); 3] = [
        ("file", Arc::new(files)),
        ("line", Arc::new(Int64Array::from_iter_values::<Vec<i64>>(lines))),
        ("heading", Arc::new(headings)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The `k` sections nearest to a question.
pub(crate) fn retrieve(
    sections: &Collection,
    question: &str,
    k: usize,
) -> Result<Vec<Source>, Box<dyn Error>> {
    let select = ["file", "line", "heading", "text"];
    let hits = sections.search_text(question).k(k).select(select).run()?;
    let Some(rows) = &hits.attributes else { return Ok(Vec::new()) };
    let text = |column: usize, row| rows.column(column).as_string::<i64>().value(row).to_owned();
    let source = |(row, score)| {
        let line = rows.column(1).as_primitive::<Int64Type>().value(row);
        let section = Section {
            file: text(0, row),
            line: usize::try_from(line)?,
            heading: text(2, row),
            text: text(3, row),
        };
        Ok(Source { section, score })
    };
    hits.iter().map(|hit| hit.score).enumerate().map(source).collect()
}

/// What a language model is to be asked, with numbered sources that it can cite.
pub(crate) fn prompt(question: &str, sources: &[Source]) -> String {
    let mut prompt = String::from(
        "Answer the question from the sources alone, and cite them as [1], [2] and so on.\n",
    );
    for (index, Source { section, score }) in sources.iter().enumerate() {
        let Section { file, line, heading, text } = section;
        let number = index + 1;
        let written =
            write!(prompt, "\n[{number}] {file}:{line} \"{heading}\" ({score:.2})\n{text}\n");
        if written.is_err() {
            break;
        }
    }
    prompt.push_str("\nQuestion: ");
    prompt.push_str(question);
    prompt
}
