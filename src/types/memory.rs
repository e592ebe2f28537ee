//! Where searches find what they read of segments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spelling;
use crate::error::{Error, Result};

/// Where searches find what they read of segments. Answers are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Memory {
    /// In the files, which are mapped: what is read often stays in the system's cache, is shared by all
    /// processes, and is given up when others need memory.
    #[default]
    #[serde(rename = "mmap")]
    Mapped,
    /// In memory of this process: codes, graphs, norms and ids of segments are read and checked when a
    /// collection is opened, and stay. Searches then wait for no page of these, and what happens to the files
    /// cannot touch them; each process has a copy of its own. Vectors that are compared after the codes
    /// stay mapped, unless [`Settings::serving_budget`](crate::Settings::serving_budget) has room for them.
    #[serde(rename = "ram")]
    Ram,
}

const NAMED: [(&str, Memory); 2] = [("mmap", Memory::Mapped), ("ram", Memory::Ram)];

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMED.iter().find(|(_, known)| known == self);
        f.write_str(known.map_or("mmap", |(name, _)| name))
    }
}

/// As [`Display`](fmt::Display) writes it.
///
/// ```
/// use nearfield::Memory;
/// assert_eq!("ram".parse::<Memory>()?, Memory::Ram);
/// # Ok::<(), nearfield::Error>(())
/// ```
impl FromStr for Memory {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        if let Some((_, known)) = NAMED.iter().find(|(name, _)| *name == given) {
            return Ok(*known);
        }
        let hint = spelling::nearest(given, NAMED.iter().map(|(name, _)| *name));
        let reason = format!("memory is {given:?}, expected \"mmap\" or \"ram\"{hint}");
        Err(Error::invalid(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_refused() {
        for (name, memory) in NAMED {
            assert_eq!(name.parse::<Memory>().expect("as written"), memory);
            assert_eq!(memory.to_string(), name);
            assert_eq!(serde_json::to_string(&memory).expect("JSON"), format!("{name:?}"));
        }
        for wrong in ["", "RAM", "mapped", "ram "] {
            let error = wrong.parse::<Memory>().expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("mmap"), "{error}");
        }
    }
}
