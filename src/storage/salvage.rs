//! Reading files of which the disk does not deliver every byte.
//!
//! Zeros stand for what it does not: they match no checksum. A page of a map that is not delivered would end
//! the process, so that a file is mapped only after all of it was read.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory_of;
use super::disk::Disk;
use super::mmap::Mapped;
use crate::bytes::AlignedBytes;

/// Bytes given up together.
const PIECE: u64 = 4096;
/// Bytes read at a time where nothing is amiss.
const READ_BYTES: u64 = 1 << 20;

/// [`Disk::read_range`], and where the last of the bytes ends that are zeros in the place of others.
pub(super) fn read_range(
    disk: &Arc<dyn Disk>,
    path: &Path,
    offset: u64,
    len: u64,
) -> io::Result<(Vec<u8>, Option<u64>)> {
    match disk.read_range(path, offset, len) {
        Err(error) if is_unread(&error) => {}
        read => return read.map(|bytes| (bytes, None)),
    }
    let there = file_len(disk, path)?.saturating_sub(offset).min(len);
    let mut bytes = vec![0; usize::try_from(there).map_err(io::Error::other)?];
    let (_, unread) = fill(disk, path, offset, &mut bytes);
    Ok((bytes, unread))
}

/// Maps a file, or reads what can be read of it.
pub(super) fn map(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Mapped> {
    let refused = match read_through(disk, path) {
        Ok(()) => return disk.map(path),
        Err(error) if is_unread(&error) => error,
        Err(error) => return Err(error),
    };
    let len = usize::try_from(file_len(disk, path)?).map_err(io::Error::other)?;
    let mut bytes = AlignedBytes::zeroed(len);
    let (any, _) = fill(disk, path, 0, bytes.as_mut_slice());
    if any { Ok(Mapped::from_aligned(bytes)) } else { Err(refused) }
}

/// Reads all of a file.
pub(crate) fn read_through(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<()> {
    let mut at = 0;
    loop {
        match disk.read_range(path, at, READ_BYTES)?.len() {
            0 => return Ok(()),
            read => at += read as u64,
        }
    }
}

/// Whether it is the bytes that cannot be had, rather than the file.
fn is_unread(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Reads what there is of `bytes`, which are zeros, piece by piece; whether there is anything, and where the
/// last piece ends of which there is not.
fn fill(disk: &Arc<dyn Disk>, path: &Path, offset: u64, bytes: &mut [u8]) -> (bool, Option<u64>) {
    let (mut any, mut unread) = (false, None);
    let end = offset + bytes.len() as u64;
    let mut at = offset;
    let mut rest = bytes;
    while at < end {
        let next = (at / PIECE + 1).saturating_mul(PIECE).min(end);
        let Ok(len) = usize::try_from(next - at) else { break };
        let (piece, behind) = rest.split_at_mut(len);
        match disk.read_range(path, at, next - at) {
            Ok(read) if read.len() == len => {
                piece.copy_from_slice(&read);
                any = true;
            }
            _ => unread = Some(next),
        }
        (at, rest) = (next, behind);
    }
    (any, unread)
}

fn file_len(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<u64> {
    let entries = disk.list(directory_of(path))?;
    let name = path.file_name().and_then(|name| name.to_str());
    let found = entries.into_iter().find(|entry| Some(entry.name.as_str()) == name);
    found.map(|entry| entry.len).ok_or_else(|| io::ErrorKind::NotFound.into())
}
