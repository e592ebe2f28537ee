//! Arrow IPC files and streams in and out, by the arrow-ipc crate.
//!
//! The crate allocates what a message declares, so every message is walked before it is read:
//! a file by the blocks of its footer, a stream from its start. Record batches may be as long as
//! the file; they are cut into batches of the asked size.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, StreamReader, read_footer_length};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_ipc::{Block, Message, MessageHeader, convert, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use crate::collection::import::ImportBatch;
use crate::error::{Error, Result};

use super::convert::Converter;
use super::foreign::{guarded, open};
use super::{Info, ReadOptions};

const CONTINUATION: [u8; 4] = [0xff; 4];

pub(super) struct Ipc {
    path: PathBuf,
    frames: Frames,
    converter: Converter,
    batch_rows: usize,
    /// What is left of the record batch that was read last.
    rest: Option<RecordBatch>,
}

enum Frames {
    File { file: File, decoder: FileDecoder, blocks: std::vec::IntoIter<Block> },
    Stream(StreamReader<BufReader<File>>),
}

impl fmt::Debug for Ipc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ipc").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Ipc {
    pub(super) fn open(
        path: &Path,
        options: &ReadOptions,
        want_vector: bool,
        info: &mut Info,
    ) -> Result<Self> {
        let (file, length) = open(path)?;
        guarded(path, "schema", || {
            let checked = Checked { path, file, length };
            let (frames, schema, rows) = if checked.bytes(0, 6.min(length))?.as_slice() == b"ARROW1"
            {
                checked.into_file()?
            } else {
                checked.into_stream()?
            };
            let converter = Converter::new(path, &schema, options, want_vector, info)?;
            info.total_rows = Some(rows);
            let mut ipc = Self {
                path: path.into(),
                frames,
                batch_rows: options.rows_of(converter.dimension().unwrap_or(1)),
                converter,
                rest: None,
            };
            if want_vector && info.dimension.is_none() {
                ipc.rest = ipc.decode()?;
                if let Some(first) = &ipc.rest {
                    ipc.converter.peek(first);
                }
                info.dimension = ipc.converter.dimension();
                ipc.batch_rows = options.rows_of(info.dimension.unwrap_or(1));
            }
            Ok(ipc)
        })
    }

    pub(super) fn next(&mut self, info: &mut Info) -> Result<Option<ImportBatch>> {
        let path = self.path.clone();
        guarded(&path, "record batch", || {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.decode()? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
            };
            let rows = batch.num_rows().min(self.batch_rows);
            if rows < batch.num_rows() {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            let converted = self.converter.convert(&batch.slice(0, rows))?;
            info.dimension = self.converter.dimension();
            Ok(Some(converted))
        })
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>> {
        match &mut self.frames {
            Frames::Stream(stream) => {
                stream.next().transpose().map_err(|error| damaged(&self.path, &error))
            }
            Frames::File { file, decoder, blocks } => {
                let Some(block) = blocks.next() else {
                    return Ok(None);
                };
                let bytes = read_block(&self.path, file, &block)?;
                decoder
                    .read_record_batch(&block, &bytes)
                    .map_err(|error| damaged(&self.path, &error))
            }
        }
    }
}

fn damaged(path: &Path, error: &ArrowError) -> Error {
    Error::corrupt(path, "record batch", error.to_string())
}

/// Reads a block that was checked to lie in the file.
fn read_block(path: &Path, file: &File, block: &Block) -> Result<Buffer> {
    let size = block.bodyLength().saturating_add(i64::from(block.metaDataLength()));
    let bytes = read_at(path, file, block.offset().unsigned_abs(), size.unsigned_abs())?;
    Ok(Buffer::from_vec(bytes))
}

fn read_at(path: &Path, mut file: &File, start: u64, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.take(size).read_to_end(&mut bytes))
        .map_err(|source| Error::io("read", path, source))?;
    if bytes.len() as u64 != size {
        return Err(Error::corrupt(path, "record batch", "the file ends within it"));
    }
    Ok(bytes)
}

/// A file whose messages are walked before the crate reads them.
struct Checked<'a> {
    path: &'a Path,
    file: File,
    length: u64,
}

impl Checked<'_> {
    fn lie(&self, section: &str, what: &str) -> Error {
        Error::corrupt(self.path, section, what)
    }

    fn bytes(&self, start: u64, size: u64) -> Result<Vec<u8>> {
        if start.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(self.lie("message", "it lies outside the file; was the file cut short?"));
        }
        read_at(self.path, &self.file, start, size)
    }

    fn into_file(self) -> Result<(Frames, SchemaRef, u64)> {
        let cut = || self.lie("footer", "it does not end as an Arrow file; was it cut short?");
        let end = self.length.checked_sub(10).ok_or_else(cut)?;
        let tail = self.bytes(end, 10)?;
        let size = tail.first_chunk().and_then(|tail| read_footer_length(*tail).ok());
        let size = size.ok_or_else(cut)? as u64;
        let start = end.checked_sub(size).ok_or_else(cut)?;
        let bytes = self.bytes(start, size)?;
        let footer =
            root_as_footer(&bytes).map_err(|error| self.lie("footer", &format!("{error:?}")))?;
        let schema = footer.schema().ok_or_else(|| self.lie("footer", "it has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(self.incompatible("its numbers are big-endian; write it little-endian"));
        }
        let schema: SchemaRef = Arc::new(convert::fb_to_schema(schema));
        let mut decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
        for block in footer.dictionaries().iter().flatten() {
            self.check_block(block)?;
            let bytes = read_block(self.path, &self.file, block)?;
            decoder.read_dictionary(block, &bytes).map_err(|error| damaged(self.path, &error))?;
        }
        let mut rows = 0_u64;
        let mut blocks = Vec::new();
        for block in footer.recordBatches().iter().flatten() {
            rows = rows.saturating_add(self.check_block(block)?);
            blocks.push(*block);
        }
        Ok((Frames::File { file: self.file, decoder, blocks: blocks.into_iter() }, schema, rows))
    }

    /// One block of the footer; returns the rows of its record batch.
    fn check_block(&self, block: &Block) -> Result<u64> {
        let lie = || self.lie("footer", "a block of it lies outside the file");
        let start = u64::try_from(block.offset()).map_err(|_negative| lie())?;
        let head = u64::try_from(block.metaDataLength()).map_err(|_negative| lie())?;
        let body = u64::try_from(block.bodyLength()).map_err(|_negative| lie())?;
        let end = start.checked_add(head).and_then(|end| end.checked_add(body));
        if head < 8 || end.is_none_or(|end| end > self.length) {
            return Err(lie());
        }
        let bytes = self.bytes(start, head)?;
        let prefix = if bytes.starts_with(&CONTINUATION) { 8 } else { 4 };
        let message = root_as_message(&bytes[prefix..])
            .map_err(|error| self.lie("message", &format!("{error:?}")))?;
        self.check_message(&message)
    }

    fn into_stream(self) -> Result<(Frames, SchemaRef, u64)> {
        let (mut at, mut rows) = (0, 0_u64);
        while at + 4 <= self.length {
            let mut head = self.bytes(at, 4)?;
            at += 4;
            if head == CONTINUATION {
                head = self.bytes(at, 4)?;
                at += 4;
            }
            let size = head.first_chunk().map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
            if size == 0 {
                break;
            }
            let bytes = self.bytes(at, size)?;
            let message = root_as_message(&bytes)
                .map_err(|error| self.lie("message", &format!("{error:?}")))?;
            rows = rows.saturating_add(self.check_message(&message)?);
            let body = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
            at = at.saturating_add(size).saturating_add(body);
            if at > self.length {
                return Err(self.lie("message", "its body ends outside the file"));
            }
        }
        let mut file = self.file;
        file.seek(SeekFrom::Start(0)).map_err(|source| Error::io("read", self.path, source))?;
        let stream = StreamReader::try_new(BufReader::new(file), None)
            .map_err(|error| Error::corrupt(self.path, "schema", error.to_string()))?;
        let schema = stream.schema();
        Ok((Frames::Stream(stream), schema, rows))
    }

    /// Refuses what cannot be decoded; returns the rows of a record batch.
    fn check_message(&self, message: &Message<'_>) -> Result<u64> {
        let (data, rows) = match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch();
                (batch, batch.map_or(0, |batch| u64::try_from(batch.length()).unwrap_or(0)))
            }
            MessageHeader::DictionaryBatch => {
                (message.header_as_dictionary_batch().and_then(|batch| batch.data()), 0)
            }
            MessageHeader::Schema => {
                let little = message
                    .header_as_schema()
                    .is_none_or(|schema| schema.endianness().equals_to_target_endianness());
                if !little {
                    return Err(
                        self.incompatible("its numbers are big-endian; write it little-endian")
                    );
                }
                (None, 0)
            }
            _ => (None, 0),
        };
        let body = message.bodyLength();
        let inside = data.is_none_or(|data| {
            let buffers = data.buffers().iter().flatten().all(|buffer| {
                let end = buffer.offset().checked_add(buffer.length());
                buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= body)
            });
            let nodes = data.nodes().iter().flatten().all(|node| node.length() >= 0);
            buffers && nodes && data.length() >= 0
        });
        if !inside {
            return Err(self.lie("message", "it declares buffers outside its body"));
        }
        if data.is_some_and(|data| data.compression().is_some()) {
            return Err(self.incompatible(
                "its record batches are compressed; write it with compression=\"uncompressed\", \
                 or as Parquet",
            ));
        }
        Ok(rows)
    }

    fn incompatible(&self, reason: &str) -> Error {
        Error::Incompatible { file: self.path.into(), reason: reason.to_owned() }
    }
}

/// Writes batches of one schema as an Arrow file or stream.
pub(super) struct Writer<'a, W: Write> {
    form: Form<W>,
    path: &'a Path,
}

enum Form<W: Write> {
    File(FileWriter<W>),
    Stream(StreamWriter<W>),
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn new(out: W, schema: &Schema, stream: bool, path: &'a Path) -> Result<Self> {
        let form = if stream {
            StreamWriter::try_new(out, schema).map(Form::Stream)
        } else {
            FileWriter::try_new(out, schema).map(Form::File)
        };
        Ok(Self { form: form.map_err(|error| write_error(path, error))?, path })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.form {
            Form::File(writer) => writer.write(batch),
            Form::Stream(writer) => writer.write(batch),
        }
        .map_err(|error| write_error(self.path, error))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        match &mut self.form {
            Form::File(writer) => writer.finish().and_then(|()| writer.flush()),
            Form::Stream(writer) => writer.finish().and_then(|()| writer.flush()),
        }
        .map_err(|error| write_error(self.path, error))
    }
}

fn write_error(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", path, source),
        error => {
            Error::invalid(format!("{} cannot be written as Arrow IPC: {error}", path.display()))
        }
    }
}
