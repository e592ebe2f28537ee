//! The files of an index as one run of bytes.
//!
//! ```text
//! magic "NFTEXT02" · header length u64 · digest u64 · header, JSON · zeros to a multiple of 8 · body
//! ```
//!
//! The header says what wrote the index and how texts were cut, and where each file lies in the
//! body. Bytes that do not agree with the digest, or that another version wrote, are no index: it is
//! made anew from the texts. Nothing is given to the library that was not compared with the digest.
//! docs/format.md, "Text index".

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;
use xxhash_rust::xxh3::xxh3_64;

use super::options::Cutting;

const MAGIC: [u8; 8] = *b"NFTEXT02";
const ALIGN: usize = 8;
/// Bytes before the header.
const FRONT: usize = 24;
/// Most bytes of a header.
const MAX_HEADER: usize = 1 << 20;
/// What writes the files: an index of another engine or way of cutting is made anew.
pub(super) const ENGINE: &str = "tantivy 0.27, cut 2";
const OTHER_VERSION: &str = "another version wrote it";

/// What a pack says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) engine: String,
    pub(super) column: String,
    pub(super) cutting: Cutting,
    /// The first row of the part that the index is of, and how many it holds.
    pub(super) first: u32,
    pub(super) rows: u32,
    /// Rows with a word, and words.
    pub(super) filled: u32,
    pub(super) words: u64,
    files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    start: usize,
    len: usize,
}

impl Header {
    pub(super) fn new(column: &str, cutting: Cutting, first: u32, rows: u32) -> Self {
        Self {
            engine: ENGINE.into(),
            column: column.into(),
            cutting,
            first,
            rows,
            filled: 0,
            words: 0,
            files: Vec::new(),
        }
    }
}

/// The files behind their header.
pub(super) fn pack(mut header: Header, files: &[Named]) -> Option<Vec<u8>> {
    let mut start = 0;
    for (name, bytes) in files {
        header.files.push(File { name: name.clone(), start, len: bytes.len() });
        start = (start + bytes.len()).next_multiple_of(ALIGN);
    }
    let head = serde_json::to_vec(&header).ok()?;
    let front = FRONT + head.len().next_multiple_of(ALIGN);
    let mut packed = Vec::with_capacity(front + start);
    packed.extend_from_slice(&MAGIC);
    packed.extend_from_slice(&(head.len() as u64).to_le_bytes());
    packed.extend_from_slice(&[0; 8]);
    packed.extend_from_slice(&head);
    packed.resize(front, 0);
    for (_, bytes) in files {
        packed.extend_from_slice(bytes);
        packed.resize(packed.len().next_multiple_of(ALIGN), 0);
    }
    let digest = xxh3_64(&packed[FRONT..]);
    packed[16..FRONT].copy_from_slice(&digest.to_le_bytes());
    Some(packed)
}

/// The u64 at `at`, in the front.
fn number(front: &[u8; FRONT], at: usize) -> u64 {
    front[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What every version's header says.
#[derive(Deserialize)]
struct Maker {
    engine: String,
}

/// The header of a pack, and where the body begins; or why it is none.
fn head(packed: &[u8]) -> Result<(Header, usize), &'static str> {
    let front: &[u8; FRONT] = packed.first_chunk().ok_or("it is cut short")?;
    if front[..8] != MAGIC {
        return Err("it does not begin as an index");
    }
    let len = usize::try_from(number(front, 8)).unwrap_or(usize::MAX);
    if len > MAX_HEADER {
        return Err("its header is too long");
    }
    let head = packed.get(FRONT..FRONT + len).ok_or("it is cut short")?;
    let unread = |_| "its header is no header";
    // Before all else: another version may say what this one cannot read.
    let Maker { engine } = serde_json::from_slice(head).map_err(unread)?;
    if engine != ENGINE {
        return Err(OTHER_VERSION);
    }
    let header: Header = serde_json::from_slice(head).map_err(unread)?;
    Ok((header, FRONT + len.next_multiple_of(ALIGN)))
}

/// Whether the first bytes say that another version wrote a pack.
pub(super) fn is_of_another_version(packed: &[u8]) -> bool {
    let other = packed.starts_with(&MAGIC[..6]) && !packed.starts_with(&MAGIC);
    other || head(packed).is_err_and(|reason| reason == OTHER_VERSION)
}

/// The column that a pack says it is of, by its first bytes.
pub(super) fn column_of(packed: &[u8]) -> Option<String> {
    head(packed).ok().map(|(header, _)| header.column)
}

/// The rows that a pack says it is of, by its first bytes, if it is of this column cut so.
pub(super) fn rows_of(packed: &[u8], column: &str, cutting: Cutting) -> Option<usize> {
    let (header, _) = head(packed).ok()?;
    (header.column == column && header.cutting == cutting).then_some(header.rows as usize)
}

/// A file and its name.
pub(super) type Named = (String, OwnedBytes);

/// The header of a pack, and its files; or why it is none.
pub(super) fn unpack(packed: &OwnedBytes) -> Result<(Header, Vec<Named>), &'static str> {
    let (front, rest) = packed.split_first_chunk().ok_or("it is cut short")?;
    if xxh3_64(rest) != number(front, 16) {
        return Err("its bytes do not agree with their digest");
    }
    let (header, start) = head(packed)?;
    if start > packed.len() {
        return Err("it is cut short");
    }
    let body = packed.slice(start..packed.len());
    let file = |file: &File| -> Option<Named> {
        let range: Range<usize> = file.start..file.start.checked_add(file.len)?;
        (range.end <= body.len()).then(|| (file.name.clone(), body.slice(range)))
    };
    let files = header.files.iter().map(file).collect::<Option<Vec<_>>>();
    files.map(|files| (header, files)).ok_or("a file lies outside it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::options::TextOptions;

    #[test]
    fn every_change_of_a_byte_and_every_truncation_is_noticed() {
        let header = Header::new("body", TextOptions::new().cutting(), 3, 5);
        let files = [("a", &b"twelve bytes"[..]), ("b", b""), ("c", b"x")];
        let files = files.map(|(name, bytes)| (name.to_owned(), OwnedBytes::new(bytes.to_vec())));
        let packed = pack(header.clone(), &files).unwrap();
        let (read, found) = unpack(&OwnedBytes::new(packed.clone())).unwrap();
        assert_eq!((read.first, read.rows, read.column.as_str()), (3, 5, "body"));
        assert!(found.iter().zip(&files).all(|(a, b)| a.0 == b.0 && a.1 == b.1));
        for len in 0..packed.len() {
            assert!(unpack(&OwnedBytes::new(packed[..len].to_vec())).is_err(), "{len}");
        }
        for at in 0..packed.len() {
            let mut bad = packed.clone();
            bad[at] ^= 1;
            assert!(unpack(&OwnedBytes::new(bad)).is_err(), "byte {at}");
        }
    }
}
