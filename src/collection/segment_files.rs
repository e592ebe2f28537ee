//! Names of the files in a collection's directory.

use std::path::{Path, PathBuf};

/// What a file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileName {
    Manifest(u64),
    Log(u64),
    Segment(u64),
    /// Segment and generation.
    Attributes(u64, u64),
    Tombstones(u64, u64),
    Temporary,
}

pub(crate) fn log_name(number: u64) -> String {
    format!("wal-{number:06}.log")
}

pub(crate) fn tombstones_name(segment: u64, generation: u64) -> String {
    format!("seg-{segment:06}.{generation:06}.del")
}

pub(crate) fn tombstones_path(dir: &Path, segment: u64, generation: u64) -> PathBuf {
    dir.join(tombstones_name(segment, generation))
}

/// Reads a file name; `None` when it is not one of ours.
pub(crate) fn parse(name: &str) -> Option<FileName> {
    if let Some(generation) = super::manifest::generation(name) {
        return Some(FileName::Manifest(generation));
    }
    if let Some(name) = name.strip_suffix(".tmp") {
        return super::manifest::generation(name).map(|_| FileName::Temporary);
    }
    if let Some(rest) = name.strip_prefix("wal-") {
        return Some(FileName::Log(number(rest.strip_suffix(".log")?)?));
    }
    let rest = name.strip_prefix("seg-")?;
    if let Some(segment) = rest.strip_suffix(".nfs") {
        return Some(FileName::Segment(number(segment)?));
    }
    let (rest, kind) = rest.rsplit_once('.')?;
    let (segment, generation) = rest.split_once('.')?;
    let (segment, generation) = (number(segment)?, number(generation)?);
    match kind {
        "attr" => Some(FileName::Attributes(segment, generation)),
        "del" => Some(FileName::Tombstones(segment, generation)),
        _ => None,
    }
}

impl FileName {
    /// The largest number in the name.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Manifest(_) | Self::Temporary => 0,
            Self::Log(number) | Self::Segment(number) => number,
            Self::Attributes(segment, generation) | Self::Tombstones(segment, generation) => {
                segment.max(generation)
            }
        }
    }
}

/// The largest number that is taken for one of ours: there is always a next one.
pub(super) const MOST: u64 = u64::MAX >> 2;

/// The number that a name ends in.
pub(super) fn number(digits: &str) -> Option<u64> {
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    number.filter(|number| *number <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::layout;

    #[test]
    fn names_are_read_as_they_are_written() {
        let dir = Path::new("");
        let name = |path: PathBuf| path.to_string_lossy().into_owned();
        assert_eq!(parse(&log_name(7)), Some(FileName::Log(7)));
        assert_eq!(parse(&layout::vector_file(7)), Some(FileName::Segment(7)));
        let attributes = layout::attribute_file(7, 9);
        assert_eq!(parse(&attributes), Some(FileName::Attributes(7, 9)));
        let tombstones = name(tombstones_path(dir, 7, 1_234_567));
        assert_eq!(parse(&tombstones), Some(FileName::Tombstones(7, 1_234_567)));
        let last = log_name(u64::MAX);
        for foreign in ["notes.txt", "seg-x.nfs", "seg-1.nfs.bak", "wal-1", "wal--1.log", &last] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
