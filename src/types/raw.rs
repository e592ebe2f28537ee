//! What is kept of vectors that are given as f32.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spelling;
use crate::error::{Error, Result};

/// What a collection of f32 vectors keeps of them; fixed when it is created. Vectors come and go as f32
/// in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Raw {
    /// The vectors as they are given.
    #[default]
    F32,
    /// Their elements as 16-bit IEEE floats, half the bytes: rounded to eleven bits, those below 6e-5 to fewer, and
    /// to 0 below 3e-8. Numbers beyond ±65,504 are refused. Distances are those of the rounded vectors.
    F16,
    /// No raw vectors: segments hold rounded ones, a byte an element and a scale a row, a quarter of the
    /// bytes. What `get` and `scan` return is restored from these, mostly within 1 % of the length of what was
    /// given; written again it is rounded to the same. Distances are those of the restored vectors,
    /// estimates of the true ones, and `exact` searches compare all of them. Rows that are in no segment yet
    /// are held as they were given, until a flush.
    None,
}

const NAMED: [(&str, Raw); 3] = [("f32", Raw::F32), ("f16", Raw::F16), ("none", Raw::None)];

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMED.iter().find(|(_, known)| known == self);
        f.write_str(known.map_or("f32", |(name, _)| name))
    }
}

/// As [`Display`](fmt::Display) writes it.
///
/// ```
/// use nearfield::Raw;
/// assert_eq!("f16".parse::<Raw>()?, Raw::F16);
/// # Ok::<(), nearfield::Error>(())
/// ```
impl FromStr for Raw {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        if let Some((_, known)) = NAMED.iter().find(|(name, _)| *name == given) {
            return Ok(*known);
        }
        let names = NAMED.map(|(name, _)| name);
        let hint = spelling::nearest(given, names.into_iter());
        let expected = names.map(|name| format!("{name:?}")).join(", ");
        Err(Error::invalid(format!("raw is {given:?}, expected one of {expected}{hint}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_refused() {
        for (name, raw) in NAMED {
            assert_eq!(name.parse::<Raw>().expect("as written"), raw);
            assert_eq!(raw.to_string(), name);
            assert_eq!(serde_json::to_string(&raw).expect("JSON"), format!("{name:?}"));
        }
        for wrong in ["", "F16", "bf16", "f16 "] {
            let error = wrong.parse::<Raw>().expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("f16"), "{error}");
        }
    }
}
