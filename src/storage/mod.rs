//! Bytes on disk: files, maps, containers, the log, the lock. Knows no vector, id or column.
pub mod disk;
pub(crate) mod container;
pub(crate) mod mmap;
pub(crate) mod wal;

/// A random number, for salts and store identities; not for secrets.
pub(crate) fn random() -> u64 { todo!() }
