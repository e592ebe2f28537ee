//! Tombstone files: which rows of a segment are dead, as one roaring bitmap.
//!
//! `seg-000007.000012.del` is a container of kind `TOMB` with one section `ROWS`. A new set is a
//! new file; the manifest says which one counts.

use std::path::Path;
use std::sync::Arc;

use super::manifest::{FileMeta, SegmentEntry};
use super::segment_files;
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::storage::container::{Container, ContainerWriter, Identity, Tag};
use crate::storage::disk::Disk;

const KIND: Tag = *b"TOMB";
const ROWS: Tag = *b"ROWS";

pub(super) fn identity(store: u128, segment: u64, generation: u64) -> Identity {
    Identity { kind: KIND, store, segment, generation }
}

/// Writes the dead rows of a segment to a new file and syncs it (not its directory).
pub(crate) fn write(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: u128,
    segment: u64,
    generation: u64,
    dead: &RowSet,
) -> Result<FileMeta> {
    let path = segment_files::tombstones_path(dir, segment, generation);
    let mut file = ContainerWriter::create(disk, &path, identity(store, segment, generation))?;
    file.section(ROWS, 0, &dead.to_bytes())?;
    Ok(FileMeta::new(generation, dead.len() as u64, file.finish()?))
}

/// Reads the dead rows of a segment as its manifest entry names them.
pub(crate) fn read(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: u128,
    entry: &SegmentEntry,
) -> Result<RowSet> {
    let Some(meta) = &entry.tombstones else { return Ok(RowSet::default()) };
    let path = segment_files::tombstones_path(dir, entry.id, meta.generation);
    let identity = identity(store, entry.id, meta.generation);
    rows(&Container::open(disk, &path, identity, Some(meta.seal()))?, entry, meta)
}

/// [`read`] for a file whose header or footer may be damaged.
pub(crate) fn salvage(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: u128,
    entry: &SegmentEntry,
) -> Result<RowSet> {
    let Some(meta) = &entry.tombstones else { return Ok(RowSet::default()) };
    let path = segment_files::tombstones_path(dir, entry.id, meta.generation);
    let identity = identity(store, entry.id, meta.generation);
    rows(&Container::salvage(disk, &path, identity, meta.seal())?, entry, meta)
}

fn rows(container: &Container, entry: &SegmentEntry, meta: &FileMeta) -> Result<RowSet> {
    let section = container.require(ROWS, 0)?;
    let rows = usize::try_from(entry.rows).unwrap_or(usize::MAX);
    match RowSet::from_bytes(section.read_all()?, rows) {
        Some(dead) if dead.len() as u64 == meta.count => Ok(dead),
        Some(_) => Err(section.corrupt("it holds another number of rows than the manifest says")),
        None => Err(section.corrupt("it is no set of rows of its segment")),
    }
}

/// Reads every byte of a tombstone file again.
pub(crate) fn verify(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: u128,
    segment: u64,
    file: &FileMeta,
) -> Result<()> {
    let path = segment_files::tombstones_path(dir, segment, file.generation);
    let identity = identity(store, segment, file.generation);
    Container::open(disk, &path, identity, Some(file.seal()))?.verify()
}
