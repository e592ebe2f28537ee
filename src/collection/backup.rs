//! Copying a collection while it is in use.
//!
//! A copy is the files that one manifest names, the logs after it, and the manifest itself, which
//! is written last. Segments are immutable and kept alive by the snapshot, so nothing waits while
//! they are copied.

use std::path::Path;
use std::sync::Arc;

use super::manifest::{self, Manifest, SegmentEntry};
use super::recover::{self, ATTEMPTS, is_outrun};
use super::segment_files::{self, FileName};
use super::snapshot::View;
use super::stats::file_bytes;
use super::{Collection, Core, flush};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::storage::container::Watch;
use crate::storage::disk::Disk;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// What is to be copied, at one moment.
pub(crate) struct Source {
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
    let source = source(collection)?;
    let disk = &collection.core().disk;
    disk.create_dir(to).map_err(|error| Error::io("create", to, error))?;
    for segment in source.segments() {
        segment.verify_checksums(watch)?;
        // Out of the maps: the names may be gone by now.
        for (path, bytes) in segment.files() {
            let name = path.file_name().unwrap_or_default();
            write(disk, &to.join(name), bytes, watch)?;
        }
    }
    for (name, bytes) in &source.contents {
        write(disk, &to.join(name), bytes, &mut |_| Ok(()))?;
    }
    source.manifest.commit(disk, to).map_err(Error::from)
}

impl Source {
    fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.view.segments.iter().filter_map(|part| part.as_segment()).map(|(segment, _)| segment)
    }

    /// Takes the manifest among the small files.
    pub(crate) fn with_manifest(mut self) -> Result<Self> {
        let generation = self.manifest.generation;
        let path = manifest::path(Path::new(""), generation);
        self.contents.push((path.to_string_lossy().into_owned(), self.manifest.encode()?));
        Ok(self)
    }

    /// Names and bytes of the files, the large ones checked; `watch` is told of these.
    pub(crate) fn files(&self, watch: &mut Watch<'_>) -> Result<Vec<(String, &[u8])>> {
        let mut files = Vec::new();
        for segment in self.segments() {
            segment.verify_checksums(watch)?;
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into();
            files.extend(segment.files().map(|(path, bytes)| (name(path), bytes)));
        }
        files.extend(self.contents.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())));
        Ok(files)
    }
}

/// What there is now. A writer in another process may remove files before they are read: then there is
/// something newer.
pub(crate) fn source(collection: &Collection) -> Result<Source> {
    let core = collection.core();
    core.check()?;
    if !core.host.read_only {
        flush::flush_all(core)?;
        return capture(core);
    }
    let mut attempt = 0;
    loop {
        collection.refresh()?;
        match capture(core) {
            Err(error) if attempt < ATTEMPTS && is_outrun(&error) => attempt += 1,
            captured => return captured,
        }
    }
}

/// Captures the newest manifest with its logs and tombstones.
fn capture(core: &Core) -> Result<Source> {
    let mut writer = core.writer();
    let view = core.slot.load_full();
    if !core.host.read_only {
        writer.sync_log(core, view.seq)?;
    }
    let mut manifest = writer.manifest.clone();
    // So that whoever only reads the copy sees all of it.
    manifest.logged = manifest.logged.max(view.seq);
    let mut contents = Vec::new();
    let mut take = |name: String| -> Result<()> {
        let path = core.dir.join(&name);
        let bytes = core.disk.read(&path, 0).map_err(|error| Error::io("read", &path, error))?;
        contents.push((name, bytes));
        Ok(())
    };
    let dead = |entry: &SegmentEntry| Some((entry.id, entry.tombstones.as_ref()?.generation));
    for (segment, generation) in manifest.segments.iter().filter_map(dead) {
        take(segment_files::tombstones_name(segment, generation))?;
    }
    let numbers = logs(core, &manifest)?;
    for number in &numbers {
        take(segment_files::log_name(*number))?;
    }
    // While a manifest is the newest, nothing goes that it names; a new log may void the end of another.
    if logs(core, &manifest)? != numbers {
        return Err(outrun(&manifest));
    }
    Ok(Source { manifest, view, contents })
}

fn outrun(manifest: &Manifest) -> Error {
    let what = format!("manifest {} as the newest", manifest.generation);
    Error::not_found(what, "; the writer is ahead, try again")
}

/// Numbers of the logs that count after `manifest`, which is the newest; `NotFound` when it no longer is.
fn logs(core: &Core, manifest: &Manifest) -> Result<Vec<u64>> {
    let entries = recover::list(&core.disk, &core.dir)?;
    let names = entries.iter().filter_map(|entry| segment_files::parse(&entry.name));
    let mut logs = Vec::new();
    for name in names {
        match name {
            FileName::Manifest(number) if number > manifest.generation => {
                return Err(outrun(manifest));
            }
            FileName::Log(number) if number >= manifest.log_start => logs.push(number),
            _ => {}
        }
    }
    Ok(logs)
}

fn write(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8], watch: &mut Watch<'_>) -> Result<()> {
    let mut file = disk.create(path).map_err(|error| Error::io("create", path, error))?;
    for piece in bytes.chunks(PIECE) {
        file.append(piece).map_err(|error| Error::io("write", path, error))?;
        watch(piece.len() as u64)?;
    }
    file.sync().map_err(|error| Error::io("sync", path, error))
}
