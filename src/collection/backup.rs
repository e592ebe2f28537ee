//! Copying a collection while it is in use.
//!
//! A copy is the files that one manifest names, the logs after it, and the manifest itself, which
//! is written last. Segments are immutable and kept alive by the snapshot, so nothing waits while
//! they are copied.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::Manifest;
use super::segment_files::{self, FileName};
use super::snapshot::View;
use super::stats::file_bytes;
use super::{Collection, Core, flush};
use crate::error::{Error, Result};
use crate::segment::layout;
use crate::storage::container::Watch;
use crate::storage::disk::Disk;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// What is to be copied, at one moment.
struct Source {
    manifest: Manifest,
    view: Arc<View>,
    /// Small files that may go while the large ones are copied.
    contents: Vec<(String, Vec<u8>)>,
}

/// Bytes that copying a collection reads and writes, as told to a watch.
pub(crate) fn work_bytes(collection: &Collection) -> u64 {
    2 * file_bytes(&collection.core().slot.load())
}

/// Copies `collection` into the new directory `to`; `watch` is told of bytes when they are checked, and
/// again when they are written.
pub(crate) fn copy_collection(
    collection: &Collection,
    to: &Path,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let core = collection.core();
    core.check()?;
    if core.host.read_only {
        collection.refresh()?;
    } else {
        flush::flush_all(core)?;
    }
    let source = capture(core)?;
    let disk = &core.disk;
    disk.create_dir(to).map_err(|error| Error::io("create", to, error))?;
    for (segment, meta) in source.view.segments.iter().filter_map(|part| part.as_segment()) {
        segment.verify_checksums(watch)?;
        let mut names = vec![layout::vector_file(meta.segment)];
        let attributes = meta.attributes.map(|file| file.generation);
        names.extend(attributes.map(|file| layout::attribute_file(meta.segment, file)));
        for name in names {
            let path = core.dir.join(&name);
            let map = disk.map(&path).map_err(|error| Error::io("read", &path, error))?;
            write(disk, &to.join(name), map.as_slice(), watch)?;
        }
    }
    for (name, bytes) in &source.contents {
        write(disk, &to.join(name), bytes, &mut |_| Ok(()))?;
    }
    source.manifest.commit(disk, to).map_err(Error::from)
}

/// Captures the newest manifest with its logs and tombstones.
fn capture(core: &Core) -> Result<Source> {
    let mut writer = core.writer();
    let view = core.slot.load_full();
    if !core.host.read_only {
        writer.sync_log(core, view.seq)?;
    }
    let manifest = writer.manifest.clone();
    let disk = &core.disk;
    let mut contents = Vec::new();
    let entries = disk.list(&core.dir).map_err(|error| Error::unlisted(&core.dir, error))?;
    let named = |segment: u64, generation: u64| {
        let mut entries = manifest.segments.iter().filter(|entry| entry.id == segment);
        entries.any(|entry| entry.tombstones.as_ref().is_some_and(|t| t.generation == generation))
    };
    for entry in entries {
        let wanted = match segment_files::parse(&entry.name) {
            Some(FileName::Log(number)) => number >= manifest.log_start,
            Some(FileName::Tombstones(segment, generation)) => named(segment, generation),
            _ => false,
        };
        if wanted {
            let path: PathBuf = core.dir.join(&entry.name);
            let bytes = disk.read(&path, 0).map_err(|error| Error::io("read", &path, error))?;
            contents.push((entry.name, bytes));
        }
    }
    Ok(Source { manifest, view, contents })
}

fn write(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8], watch: &mut Watch<'_>) -> Result<()> {
    let mut file = disk.create(path).map_err(|error| Error::io("create", path, error))?;
    for piece in bytes.chunks(PIECE) {
        file.append(piece).map_err(|error| Error::io("write", path, error))?;
        watch(piece.len() as u64)?;
    }
    file.sync().map_err(|error| Error::io("sync", path, error))
}
