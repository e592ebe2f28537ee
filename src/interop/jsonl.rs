//! JSON lines in: one object a line, blank lines passed over.
//!
//! The first thousand lines tell which fields there are and of which types; after that a line is
//! read straight into vectors and columns, and a line that does not fit is a rejected row. A line
//! is never held beyond [`MAX_LINE_BYTES`].

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::collection::import::{ImportBatch, Rejected};
use crate::error::{Error, Result};
use crate::types::{DataType, IdType, Ids};

use super::choose::{Kind, choose};
use super::json_columns::Columns;
use super::json_line::{Id, Line, Slot};
use super::json_schema::{MAX_FIELDS, Sampler};
use super::rows::ragged;
use super::{Info, ReadOptions};

/// Longest line that is read; 65,536 dimensions take about 1.5 MB.
const MAX_LINE_BYTES: usize = 16 << 20;
/// Lines, and bytes of lines, from which the schema is inferred.
const SAMPLE_LINES: usize = 1000;
const SAMPLE_BYTES: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Jsonl {
    lines: Lines,
    /// Lines that were sampled and are still to be read.
    sample: VecDeque<Text>,
    slots: HashMap<String, Slot>,
    columns: Vec<(String, DataType)>,
    has_id: bool,
    has_vector: bool,
    id_type: IdType,
    dimension: Option<usize>,
    options: ReadOptions,
    next_row: u64,
}

impl Jsonl {
    pub(super) fn open(
        path: &Path,
        options: &ReadOptions,
        want_vector: bool,
        info: &mut Info,
    ) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut sample = VecDeque::new();
        let mut sampler = Sampler::default();
        let mut bytes = 0;
        while sample.len() < SAMPLE_LINES && bytes < SAMPLE_BYTES {
            let Some(text) = lines.next()? else { break };
            if let Ok(line) = &text.line {
                bytes += line.len();
                sampler.see(line);
            }
            sample.push_back(text);
        }
        let found = sampler.found(options);
        if found.is_empty() && !sample.is_empty() {
            return Err(Error::corrupt(
                path,
                "lines",
                format!("none of the first {} is a JSON object with a field", sample.len()),
            ));
        }
        let choice = choose(path, &found, options, want_vector, info)?;
        let mut slots: HashMap<String, Slot> =
            found.iter().map(|found| (found.name.clone(), Slot::Skipped)).collect();
        let mut columns = Vec::new();
        for column in &choice.kept {
            if let Kind::Attribute(data_type) = found[*column].kind {
                slots.insert(found[*column].name.clone(), Slot::Column(columns.len()));
                columns.push((found[*column].name.clone(), data_type));
            }
        }
        if let Some(id) = choice.id {
            slots.insert(found[id].name.clone(), Slot::Id);
        }
        if let Some(vector) = choice.vector {
            slots.insert(found[vector].name.clone(), Slot::Vector);
        }
        let dimension = choice.vector.and_then(|vector| sampler.vector_length(vector));
        info.dimension = dimension;
        Ok(Self {
            lines,
            sample,
            slots,
            columns,
            has_id: choice.id.is_some(),
            has_vector: choice.vector.is_some(),
            id_type: info.id_type.unwrap_or(IdType::U64),
            dimension,
            options: options.clone(),
            next_row: 0,
        })
    }

    pub(super) fn next(&mut self, info: &mut Info) -> Result<Option<ImportBatch>> {
        let mut batch = Batch::new(self);
        let most = self.options.rows_of(self.dimension.unwrap_or(1)) as u64;
        let first = self.next_row;
        while self.next_row - first < most {
            let text = match self.sample.pop_front() {
                Some(text) => text,
                None => match self.lines.next()? {
                    Some(text) => text,
                    None => break,
                },
            };
            let row = self.next_row;
            self.next_row += 1;
            match self.read_line(&text, &mut batch, info) {
                Ok(()) => batch.source_rows.push(row),
                Err(reason) => {
                    let reason = format!("line {}: {reason}", text.number);
                    batch.rejected.push(Rejected { row, reason });
                }
            }
        }
        info.dimension = self.dimension;
        Ok((self.next_row > first).then(|| batch.finish(self.has_id)))
    }

    /// Adds a line to the batch, or leaves the batch as it was.
    fn read_line(&mut self, text: &Text, batch: &mut Batch, info: &mut Info) -> Result<(), String> {
        let line = text.line.as_ref().map_err(Clone::clone)?;
        let before = batch.vectors.len();
        let parsed = Line::parse(line, &self.slots, self.columns.len(), &mut batch.vectors);
        let judged = parsed.map_err(|error| error.to_string()).and_then(|parsed| {
            for name in &parsed.unknown {
                if self.slots.len() > MAX_FIELDS {
                    break;
                }
                if self.options.columns.is_none() {
                    let note = format!("first seen in line {}", text.number);
                    info.skipped.push((name.clone(), note));
                }
                self.slots.insert(name.clone(), Slot::Skipped);
            }
            self.judge(&parsed, batch.vectors.len() - before)?;
            batch.columns.push(parsed.cells)?;
            Ok(parsed.id)
        });
        match judged {
            Ok(Some(Id::U64(id))) => batch.numbers.push(id),
            Ok(Some(Id::Text(id))) => batch.texts.push(id),
            Ok(None) => {}
            Err(reason) => {
                batch.vectors.truncate(before);
                return Err(reason);
            }
        }
        Ok(())
    }

    fn judge(&mut self, line: &Line, given: usize) -> Result<(), String> {
        if self.has_id {
            match (&line.id, self.id_type) {
                (None, _) => return Err("id is null or missing".to_owned()),
                (Some(Id::U64(id)), IdType::Utf8) => {
                    return Err(format!("id is the number {id}, the ids before are strings"));
                }
                (Some(Id::Text(id)), IdType::U64) => {
                    return Err(format!("id is the string {id:.100?}, the ids before are numbers"));
                }
                _ => {}
            }
        }
        if self.has_vector {
            if given == 0 {
                return Err("vector is null, empty or missing".to_owned());
            }
            let expected = *self.dimension.get_or_insert(given);
            if given != expected {
                return Err(ragged(given, expected));
            }
        }
        Ok(())
    }
}

/// The good rows so far.
struct Batch {
    numbers: Vec<u64>,
    texts: Vec<String>,
    id_type: IdType,
    vectors: Vec<f32>,
    columns: Columns,
    source_rows: Vec<u64>,
    rejected: Vec<Rejected>,
}

impl Batch {
    fn new(source: &Jsonl) -> Self {
        Self {
            numbers: Vec::new(),
            texts: Vec::new(),
            id_type: source.id_type,
            vectors: Vec::new(),
            columns: Columns::new(&source.columns),
            source_rows: Vec::new(),
            rejected: Vec::new(),
        }
    }

    fn finish(self, has_id: bool) -> ImportBatch {
        let ids: Ids<'static> = match self.id_type {
            _ if !has_id => self.source_rows.clone().into(),
            IdType::U64 => self.numbers.into(),
            IdType::Utf8 => self.texts.into(),
        };
        ImportBatch {
            ids,
            vectors: self.vectors.into(),
            attributes: self.columns.finish(),
            source_rows: self.source_rows,
            rejected: self.rejected,
        }
    }
}

/// A line with its number from 1, or why it was not read.
#[derive(Debug)]
struct Text {
    number: u64,
    line: Result<Vec<u8>, String>,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    input: BufReader<File>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let start = input.fill_buf().map_err(|source| Error::io("read", path, source))?;
        if start.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        Ok(Self { path: path.into(), input, number: 0 })
    }

    /// The next line that is not blank.
    fn next(&mut self) -> Result<Option<Text>> {
        loop {
            let mut line = Vec::new();
            let error = |source| Error::io("read", &self.path, source);
            let read = (&mut self.input)
                .take(MAX_LINE_BYTES as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(error)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let number = self.number;
            if line.len() > MAX_LINE_BYTES && line.last() != Some(&b'\n') {
                self.input.skip_until(b'\n').map_err(error)?;
                let line = Err(format!("it is longer than {} MiB", MAX_LINE_BYTES >> 20));
                return Ok(Some(Text { number, line }));
            }
            if !line.trim_ascii().is_empty() {
                line.shrink_to_fit();
                return Ok(Some(Text { number, line: Ok(line) }));
            }
        }
    }
}
