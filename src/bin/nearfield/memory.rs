//! What the system says of this process's memory.

use serde::Serialize;

/// Bytes of this process, where the system tells them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// The most that was resident at once so far, mapped files included.
    #[serde(rename = "peak_bytes")]
    pub(crate) peak: Option<u64>,
    /// What is its own now: nothing of files.
    #[serde(rename = "own_bytes")]
    pub(crate) own: Option<u64>,
}

impl Memory {
    /// Reads it from Linux; elsewhere nothing is known.
    pub(crate) fn now() -> Self {
        std::fs::read_to_string("/proc/self/status")
            .map_or_else(|_| Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 =
                line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()?;
            kilobytes.checked_mul(1024)
        };
        Self { peak: bytes("VmHWM"), own: bytes("RssAnon") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_linux_is_read_and_others_are_nothing() {
        let read =
            Memory::parse("Name:\tx\nVmHWM:\t   16 kB\nRssAnon:\t       3 kB\nRssFile:\t 9 kB\n");
        assert_eq!((read.peak, read.own), (Some(16_384), Some(3_072)));
        let other = Memory::parse("VmHWM: 16 MB\nRssAnon: 99999999999999999999 kB\n");
        assert_eq!((other.peak, other.own), (None, None));
    }
}
