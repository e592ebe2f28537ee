//! Bytes on disk: files, maps, containers, the log, the lock.
//!
//! Knows no vector, id or column. Everything it writes is append-only and checksummed, everything
//! it reads is hostile until checked; `docs/format.md` gives every byte. [`disk`] is the one door
//! to the file system, so that the tests can put a failing one behind it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::SystemTime;

pub(crate) mod container;
// Public for the fault injection of the integration tests only.
#[allow(unreachable_pub, reason = "exported with the feature `testing` only")]
pub(crate) mod disk;
#[cfg(any(test, feature = "testing"))]
#[allow(unreachable_pub, reason = "exported with the feature `testing` only")]
pub(crate) mod fault;
pub(crate) mod feature;
#[allow(unreachable_pub, reason = "exported with the feature `testing` only")]
pub(crate) mod mmap;
pub(crate) mod pack;
pub(crate) mod salvage;
#[allow(unreachable_pub, reason = "exported with the feature `testing` only")]
pub(crate) mod seeded;
pub(crate) mod wal;

/// Version of the formats of container and log that this code writes and reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// A random number for salts and store identities; not for secrets.
pub(crate) fn random() -> u64 {
    // Each RandomState has keys of its own, seeded by the operating system.
    let mut hasher = RandomState::new().build_hasher();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    hasher.write_u128(now.as_nanos());
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// The directory that holds a name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::random;

    /// Asserts that a table of format.md, found by its heading, gives each field at its offset.
    pub(super) fn assert_documented(heading: &str, fields: &[(usize, &str)]) {
        let page = include_str!("../../docs/format.md");
        let (_, part) = page.split_once(&format!("\n{heading}\n")).expect(heading);
        let table: Vec<&str> = part
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .collect();
        for (row, (offset, name)) in table.iter().zip(fields) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!((cells[1], cells[3]), (offset.to_string().as_str(), *name), "{heading}");
        }
        assert!(table.len() >= fields.len(), "{heading}");
    }

    #[test]
    fn random_numbers_differ() {
        let numbers: std::collections::HashSet<u64> = (0..1000).map(|_| random()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
