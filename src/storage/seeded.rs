//! Mistakes that the tests of crashes have to find, made on purpose.
//!
//! A sweep over simulated crashes that has never found anything shows little unless it finds what is known to
//! be wrong. So each sync, and each comparison that tells written frames from others, can be left out: in
//! builds with the feature `testing` alone, for the whole process, and only once a test says so. Other builds
//! have none of it.

use std::io;

/// A sync or a comparison that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SeededBug {
    /// Files of segments, tombstones and attributes are not synced before a manifest names them.
    FileSync = 1,
    /// A manifest is not synced before it gets its name.
    ManifestSync,
    /// New names of a directory are not synced before the manifest that needs them gets its own.
    NamesBeforeManifest,
    /// The name of a manifest is not synced.
    NamesAfterManifest,
    /// The log is not synced before a write is acknowledged.
    LogSync,
    /// The name of a new log is not synced.
    LogName,
    /// Checksums of frames are not compared.
    FrameChecksum,
    /// Frames of other logs are taken for those of this one. What these say is mostly known already, and passed over.
    StaleFrame,
    /// Blocks of files that are opened from now on are not compared with their checksums before they are used.
    BlockChecksum,
}

/// The checksums that are made of bytes on their way to a file, for measuring what they cost.
#[cfg(feature = "testing")]
#[must_use]
pub fn checksums(bytes: &[u8]) -> u32 {
    bytes.chunks(16 << 10).fold(0, |sum, block| sum ^ crc32c::crc32c(block))
}

#[cfg(feature = "testing")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::SeededBug;

    static SEEDED: AtomicU8 = AtomicU8::new(0);

    impl SeededBug {
        /// Those that crashes bring to light soon.
        pub const OF_CRASHES: [Self; 7] = [
            Self::FileSync,
            Self::ManifestSync,
            Self::NamesBeforeManifest,
            Self::NamesAfterManifest,
            Self::LogSync,
            Self::LogName,
            Self::FrameChecksum,
        ];

        /// Has this process make the mistake from now on, or none any more.
        pub fn seed(bug: Option<Self>) {
            SEEDED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
        }
    }

    pub(super) fn seeded(bug: SeededBug) -> bool {
        SEEDED.load(Ordering::Relaxed) == bug as u8
    }
}

/// Whether a test has asked for this mistake.
#[inline(always)]
pub(crate) fn seeded(bug: SeededBug) -> bool {
    #[cfg(feature = "testing")]
    return switch::seeded(bug);
    #[cfg(not(feature = "testing"))]
    {
        let _ = bug;
        false
    }
}

/// A sync, unless a test has it left out.
pub(crate) fn sync(bug: SeededBug, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if seeded(bug) { Ok(()) } else { sync() }
}
