//! Reading a section by calls, into memory that stays: no map is touched for it, so that nothing that happens
//! to the file later is felt.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use crate::storage::disk::Disk;

/// Bytes read at a time.
const PIECE_BYTES: usize = 4 << 20;

/// Fills `bytes` with what lies at `start` of the file `path`; with what is `mapped` where the file has lost its
/// name, since a newer one took its place.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    path: &Path,
    start: usize,
    mapped: &[u8],
    bytes: &mut [u8],
) -> io::Result<()> {
    let pieces = bytes.chunks_mut(PIECE_BYTES).zip(mapped.chunks(PIECE_BYTES));
    for (at, (piece, mapped)) in pieces.enumerate() {
        let offset = start + at * PIECE_BYTES;
        match disk.read_range(path, offset as u64, piece.len() as u64) {
            Ok(read) if read.len() == piece.len() => piece.copy_from_slice(&read),
            Ok(read) => {
                let reason = format!(
                    "the file ends {} bytes behind offset {offset}, expected {}",
                    read.len(),
                    piece.len()
                );
                return Err(io::Error::new(ErrorKind::UnexpectedEof, reason));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => piece.copy_from_slice(mapped),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
