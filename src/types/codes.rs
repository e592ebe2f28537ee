//! Which codes lead searches, and what the choices are called.

use std::fmt;
use std::str::FromStr;

use super::spelling;
use crate::error::{Error, Result};

/// What leads a search to its candidates, which are then compared exactly: in segments with a graph
/// the code that it is walked by, in others the code that all rows are scanned by. Stored vectors stay
/// what they are. Vectors of bits have no code: they always lead themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodeChoice {
    /// The smallest code that keeps near rows near, measured on the rows of each segment: four bits
    /// an element from 200 dimensions on, else eight, else the vectors themselves. Scans go by one bit
    /// an element from some thousand rows on, else by the vectors themselves.
    #[default]
    Auto,
    /// The vectors themselves.
    Full,
    /// Eight bits an element in graphs, as [`Auto`](Self::Auto) in scans.
    Byte,
    /// Four bits an element, after a random rotation, in graphs, as [`Auto`](Self::Auto) in scans.
    Half,
    /// One bit an element, after a random rotation, in scans, as [`Auto`](Self::Auto) in graphs.
    Bit,
    /// A product code of so many bytes a row, in graphs and in scans. It makes what
    /// searches keep in memory small; they compare more rows exactly for it. A segment of fewer than 2,048
    /// rows, of vectors with fewer dimensions than bytes or more than 4,096, or whose near rows such a code
    /// does not keep near, is coded as by [`Auto`](Self::Auto).
    Product {
        /// Bytes of a row's code, 8 to 1,024; 48 to 96 suit embeddings of 384 to 1,024 dimensions.
        bytes: u16,
    },
}

/// The choices that have a name of one word.
const NAMED: [(&str, CodeChoice); 5] = [
    ("auto", CodeChoice::Auto),
    ("full", CodeChoice::Full),
    ("byte", CodeChoice::Byte),
    ("half", CodeChoice::Half),
    ("bit", CodeChoice::Bit),
];
const PRODUCT: &str = "product";
/// Bytes of a row's product code.
const PRODUCT_BYTES: std::ops::RangeInclusive<u16> = 8..=1_024;

impl CodeChoice {
    /// Refuses codes of a size that there is none of.
    pub(crate) fn validate(self) -> Result<()> {
        match self {
            Self::Product { bytes } if !PRODUCT_BYTES.contains(&bytes) => Err(Error::invalid(
                format!("product codes of {bytes} bytes a row, expected 8 to 1024"),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CodeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Product { bytes } => write!(f, "{PRODUCT}:{bytes}"),
            named => {
                let known = NAMED.iter().find(|(_, known)| known == named);
                f.write_str(known.map_or("auto", |(name, _)| name))
            }
        }
    }
}

/// As [`Display`](fmt::Display) writes it: `auto`, `full`, `byte`, `half`, `bit`, or `product:64` for codes of
/// 64 bytes a row.
///
/// ```
/// use nearfield::CodeChoice;
/// assert_eq!("product:64".parse::<CodeChoice>()?, CodeChoice::Product { bytes: 64 });
/// assert_eq!(CodeChoice::Half.to_string(), "half");
/// let error = "haf".parse::<CodeChoice>().unwrap_err().to_string();
/// assert!(error.ends_with("did you mean \"half\"?"));
/// # Ok::<(), nearfield::Error>(())
/// ```
impl FromStr for CodeChoice {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        if let Some((_, choice)) = NAMED.iter().find(|(name, _)| *name == given) {
            return Ok(*choice);
        }
        let bytes = given.strip_prefix(PRODUCT).and_then(|rest| rest.strip_prefix(':'));
        // Nothing but digits: no sign, no space.
        let digits = bytes.filter(|bytes| bytes.bytes().all(|byte| byte.is_ascii_digit()));
        let bytes = digits.and_then(|digits| digits.parse().ok());
        if let Some(bytes) = bytes.filter(|bytes| PRODUCT_BYTES.contains(bytes)) {
            return Ok(Self::Product { bytes });
        }
        let hint = if given.starts_with(PRODUCT) {
            String::new()
        } else {
            spelling::nearest(given, NAMED.iter().map(|(name, _)| *name))
        };
        Err(Error::invalid(format!(
            "code is {given:?}, expected \"auto\", \"full\", \"byte\", \"half\", \"bit\", or \"product:64\" for \
             product codes of 64 bytes a row (8 to 1024){hint}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written_and_others_are_refused() {
        let product = [8, 64, 1_024].map(|bytes| CodeChoice::Product { bytes });
        for choice in NAMED.iter().map(|(_, choice)| *choice).chain(product) {
            assert_eq!(choice.to_string().parse::<CodeChoice>().expect("as written"), choice);
        }
        for wrong in [
            "",
            "Auto",
            "pq",
            "product",
            "product:",
            "product:7",
            "product:1025",
            "product:+64",
            "product: 64",
            "product:64 ",
            "product:6e1",
            "product:-8",
            "product:99999999999999999999",
            "product64",
            "bits",
        ] {
            let error = wrong.parse::<CodeChoice>().expect_err(wrong).to_string();
            assert!(
                error.contains(&format!("{wrong:?}")) && error.contains("8 to 1024"),
                "{error}"
            );
        }
    }
}
