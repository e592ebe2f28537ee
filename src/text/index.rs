//! The index of one column of one part: made of texts in row order, opened from bytes.
//!
//! An index is one or several *shards*, each over consecutive rows, so that the memory for making it
//! is bounded. Document `d` of a shard is row `first + d`; a row without a text is a document without
//! words. A shard keeps the number of words of each row exactly, so that scores need no rounded lengths.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::index::{IndexSettings, SegmentReader};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::postings::Postings as _;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::{Directory as _, DocSet, Index, InvertedIndexReader, TERMINATED, TantivyDocument};

use super::analyze;
use super::directory::PackDirectory;
use super::options::Cutting;
use super::pack::{self, Header};

/// Name of the one field, and of its analyzer.
const FIELD: &str = "text";
/// Memory from which a shard is finished and another one begun.
const SHARD_BYTES: usize = 64 << 20;
/// Rows, and bytes of texts, between two looks at the memory.
const LOOK_ROWS: u32 = 256;
const LOOK_BYTES: usize = 1 << 20;
/// The first size of a writer's table of words grows with this many bytes.
const LEAST_BUDGET: usize = 64 << 10;
const MOST_BUDGET: usize = 16 << 20;
/// The file of lengths, u32 a row.
const LENGTHS: &str = "lengths";

pub(crate) use tantivy::directory::OwnedBytes as PackBytes;

/// Why there is no index.
pub(crate) type Failure = String;

/// The shards of a column of a part.
#[derive(Debug)]
pub(crate) struct ColumnIndex {
    pub(super) shards: Vec<Shard>,
}

impl ColumnIndex {
    /// The index of texts that are there, in row order.
    pub(crate) fn of<'a>(
        column: &str,
        cutting: Cutting,
        bytes: usize,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<Self, Failure> {
        let mut builder = Builder::new(column, cutting, bytes);
        for text in texts {
            builder.push(text)?;
        }
        builder.index()
    }

    /// The index that packs hold, which must be of this column, cut so, and of all `rows` where that
    /// is known.
    pub(crate) fn open(
        packs: impl Iterator<Item = OwnedBytes>,
        column: &str,
        cutting: Cutting,
        rows: Option<usize>,
    ) -> Result<Self, Failure> {
        let mut shards: Vec<Shard> = Vec::new();
        let mut next = 0u32;
        for packed in packs {
            let shard = Shard::open(packed)?;
            let header = &shard.header;
            if header.column != column || header.cutting != cutting || header.first != next {
                return Err("it is of another column, or was cut otherwise".into());
            }
            next = next.checked_add(header.rows).ok_or("it has too many rows")?;
            shards.push(shard);
        }
        match rows {
            Some(rows) if rows != next as usize => Err("it has another number of rows".into()),
            _ => Ok(Self { shards }),
        }
    }

    /// A number for each row, none of them found yet.
    pub(super) fn no_rows(&self) -> Vec<f32> {
        vec![0.0; self.shards.iter().map(|shard| shard.header.rows as usize).sum()]
    }

    /// Bytes of all packs.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }
}

/// The column that a pack says it is of, without reading all of it; `None` when it does not say so.
pub(crate) fn column_of(packed: &[u8]) -> Option<String> {
    pack::column_of(packed)
}

/// The rows that a pack says it indexes, if it is of this column cut so.
pub(crate) fn rows_of(packed: &[u8], column: &str, cutting: Cutting) -> Option<usize> {
    pack::rows_of(packed, column, cutting)
}

/// The column that a pack is of and how its texts were cut; `None` when another version wrote it, and
/// why it is no pack.
pub(crate) fn described(packed: &PackBytes) -> Result<Option<(String, Cutting)>, Failure> {
    if pack::is_of_another_version(packed) {
        return Ok(None);
    }
    let (header, _) = pack::unpack(packed)?;
    Ok(Some((header.column, header.cutting)))
}

/// An opened index of consecutive rows.
pub(super) struct Shard {
    pub(super) header: Header,
    pub(super) terms: Arc<InvertedIndexReader>,
    pub(super) field: Field,
    lengths: OwnedBytes,
    bytes: usize,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Shard {
    pub(super) fn open(packed: OwnedBytes) -> Result<Self, Failure> {
        let bytes = packed.len();
        let (header, mut files) = pack::unpack(&packed)?;
        let lengths = files.iter().position(|(name, _)| name == LENGTHS);
        let (_, lengths) = files.swap_remove(lengths.ok_or("it has no lengths")?);
        if lengths.len() != header.rows as usize * 4 {
            return Err("it has lengths of another number of rows".into());
        }
        // The bytes are those that were written; what the library makes of them may still surprise.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let index = Index::open(PackDirectory::new(files))?;
            let field = index.schema().get_field(FIELD)?;
            let segments = index.searchable_segments()?;
            let Some(segment) = segments.first() else { return Ok(None) };
            let reader = SegmentReader::open(segment)?;
            Ok(Some((reader.inverted_index(field)?, field, reader.max_doc())))
        }));
        let opened: tantivy::Result<_> = opened.map_err(|_panic| "the library panicked")?;
        let (terms, field, rows) =
            opened.map_err(|error| error.to_string())?.ok_or("it holds nothing")?;
        if rows != header.rows {
            return Err("it has another number of rows than it says".into());
        }
        Ok(Self { header, terms, field, lengths, bytes })
    }

    /// How many words a row has.
    #[inline]
    pub(super) fn length(&self, doc: u32) -> u32 {
        let at = doc as usize * 4;
        match self.lengths.get(at..at + 4) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        }
    }
}

/// Makes an index, shard by shard.
pub(crate) struct Builder {
    column: String,
    cutting: Cutting,
    budget: usize,
    /// First row of the shard that is being made, and its rows so far.
    first: u32,
    rows: u32,
    /// Bytes of texts since the memory was looked at.
    unseen: usize,
    shard: Option<Making>,
    pub(super) finished: Vec<Vec<u8>>,
}

struct Making {
    writer: SingleSegmentIndexWriter<TantivyDocument>,
    files: RamDirectory,
    field: Field,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("column", &self.column).finish_non_exhaustive()
    }
}

impl Builder {
    /// Of texts of about `bytes` bytes in all.
    pub(crate) fn new(column: &str, cutting: Cutting, bytes: usize) -> Self {
        Self {
            column: column.into(),
            cutting,
            budget: bytes.clamp(LEAST_BUDGET, MOST_BUDGET),
            first: 0,
            rows: 0,
            unseen: 0,
            shard: None,
            finished: Vec::new(),
        }
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, text: Option<&str>) -> Result<(), Failure> {
        guarded(|| self.push_row(text))
    }

    fn push_row(&mut self, text: Option<&str>) -> Result<(), Failure> {
        let making = match &mut self.shard {
            Some(making) => making,
            None => self.shard.insert(Making::begin(self.cutting, self.budget)?),
        };
        let mut document = TantivyDocument::default();
        if let Some(text) = text {
            document.add_text(making.field, text);
        }
        making.writer.add_document(document).map_err(|error| error.to_string())?;
        self.rows += 1;
        self.unseen += text.map_or(0, str::len);
        if self.unseen < LOOK_BYTES && !self.rows.is_multiple_of(LOOK_ROWS) {
            return Ok(());
        }
        self.unseen = 0;
        if making.writer.mem_usage() >= SHARD_BYTES { self.end() } else { Ok(()) }
    }

    /// The index of what was pushed, in memory.
    pub(crate) fn index(self) -> Result<ColumnIndex, Failure> {
        let (column, cutting) = (self.column.clone(), self.cutting);
        let packed = self.finish()?.into_iter().map(OwnedBytes::new);
        ColumnIndex::open(packed, &column, cutting, None)
    }

    /// The packs, one a shard, in row order; of no row there is none.
    pub(crate) fn finish(mut self) -> Result<Vec<Vec<u8>>, Failure> {
        self.end()?;
        Ok(self.finished)
    }

    /// Finishes the shard that is being made.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let Some(making) = self.shard.take() else { return Ok(()) };
        let header = Header::new(&self.column, self.cutting, self.first, self.rows);
        self.finished.push(guarded(|| making.end(header))?);
        self.first += self.rows;
        self.rows = 0;
        Ok(())
    }
}

impl Making {
    fn begin(cutting: Cutting, budget: usize) -> Result<Self, Failure> {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(FIELD)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let mut schema = Schema::builder();
        let options = TextOptions::default().set_indexing_options(indexing);
        let field = schema.add_text_field(FIELD, options);
        let analyzers = tantivy::tokenizer::TokenizerManager::new();
        analyzers.register(FIELD, analyze::text_analyzer(cutting));
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let files = RamDirectory::create();
        let writer = Index::builder()
            .schema(schema.build())
            .settings(settings)
            .tokenizers(analyzers)
            .single_segment_index_writer(files.clone(), budget)
            .map_err(|error| error.to_string())?;
        Ok(Self { writer, files, field })
    }

    fn end(self, mut header: Header) -> Result<Vec<u8>, Failure> {
        let failed = |error: tantivy::TantivyError| error.to_string();
        let index = self.writer.finalize().map_err(failed)?;
        let mut files = Vec::new();
        for segment in index.searchable_segments().map_err(failed)? {
            let reader = SegmentReader::open(&segment).map_err(failed)?;
            let lengths =
                lengths(&*reader.inverted_index(self.field).map_err(failed)?, header.rows)
                    .map_err(|error| error.to_string())?;
            header.filled = count(lengths.iter().filter(|length| **length > 0).count());
            header.words = lengths.iter().map(|length| u64::from(*length)).sum();
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
            files.push((LENGTHS.to_owned(), OwnedBytes::new(bytes)));
        }
        for path in index.load_metas().map_err(failed)?.list_segment_files() {
            // Files of kinds that this index does not have.
            let Ok(file) = self.files.open_read(&path) else { continue };
            let bytes = file.read_bytes().map_err(|error| error.to_string())?;
            files.push((path.to_string_lossy().into_owned(), bytes));
        }
        let meta = std::path::Path::new("meta.json");
        let bytes = self.files.atomic_read(meta).map_err(|error| error.to_string())?;
        files.push(("meta.json".into(), OwnedBytes::new(bytes)));
        files.sort_by(|a, b| a.0.cmp(&b.0));
        pack::pack(header, &files).ok_or_else(|| "its header cannot be written".into())
    }
}

/// Runs a step of the library, whose panics are failures: an index can be done without.
fn guarded<T>(step: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_panic| Err("the library panicked".into()))
}

/// How many words each document has: the sum of its frequencies over all terms.
fn lengths(terms: &InvertedIndexReader, rows: u32) -> std::io::Result<Vec<u32>> {
    let mut lengths = vec![0u32; rows as usize];
    let mut stream = terms.terms().stream()?;
    while stream.advance() {
        let option = IndexRecordOption::WithFreqs;
        let mut postings = terms.read_postings_from_terminfo(stream.value(), option)?;
        let mut doc = postings.doc();
        while doc != TERMINATED {
            if let Some(length) = lengths.get_mut(doc as usize) {
                *length += postings.term_freq();
            }
            doc = postings.advance();
        }
    }
    Ok(lengths)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
