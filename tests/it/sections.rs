//! Where the sections of a file lie, read as docs/format.md says: for tests that damage one of them.

/// A section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub tag: String,
    pub offset: usize,
    pub len: usize,
    /// Where the checksums of its blocks begin.
    pub checksums: usize,
}

/// Bytes of a block.
pub const BLOCK: usize = 16_384;

/// The sections of a container, in the order of the file.
pub fn sections(file: &[u8]) -> Vec<Section> {
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let footer = file.len() - 64;
    let table = number(footer)..footer;
    let entry = |at: usize| Section {
        tag: String::from_utf8(file[at..at + 4].to_vec()).unwrap(),
        offset: number(at + 8),
        len: number(at + 16),
        checksums: number(at + 24),
    };
    table.step_by(40).map(entry).collect()
}
