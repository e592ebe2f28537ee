//! A forger's work, for tests: a database whose files were changed, under checksums that match.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::manifest::header_line;
use super::segment_files::{self, FileName};
use crate::storage::container::forge::reseal;
use crate::storage::fault::FaultDisk;
use crate::storage::wal::forge::reseal_log;

/// Makes all checksums in the directory of a collection agree with its files, those that manifests keep of
/// segments too.
///
/// # Errors
/// `NotFound` when a file goes away meanwhile.
pub fn reseal_collection(disk: &FaultDisk, dir: &Path) -> io::Result<()> {
    let files: Vec<PathBuf> =
        disk.files().into_iter().filter(|file| file.starts_with(dir)).collect();
    let kind = |file: &PathBuf| file.file_name()?.to_str().and_then(segment_files::parse);
    let mut digests = Vec::new();
    for file in &files {
        match kind(file) {
            Some(FileName::Log(_)) => disk.edit(file, |bytes| reseal_log(bytes))?,
            Some(FileName::Manifest(_)) | None => {}
            Some(_) => disk.edit(file, |bytes| digests.extend(reseal(bytes)))?,
        }
    }
    for file in &files {
        if let Some(FileName::Manifest(_)) = kind(file) {
            disk.edit(file, |bytes| reseal_manifest(bytes, &digests))?;
        }
    }
    Ok(())
}

fn reseal_manifest(bytes: &mut Vec<u8>, digests: &[(u128, u128)]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let mut document = bytes[end + 1..].to_vec();
    for (old, new) in digests {
        let (old, new) = (format!("{old:032x}"), format!("{new:032x}"));
        let places: Vec<usize> = document
            .windows(32)
            .enumerate()
            .filter(|(_, found)| *found == old.as_bytes())
            .map(|(at, _)| at)
            .collect();
        for at in places {
            document[at..at + 32].copy_from_slice(new.as_bytes());
        }
    }
    *bytes = header_line(xxh3_128(&document), document.len()).into_bytes();
    bytes.append(&mut document);
}
