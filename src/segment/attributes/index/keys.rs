//! Keys: numbers that order like the values of a column, and the spans of keys that checks ask for.

use crate::filter::{Check, KeySet, Limit, TextSet, signed_key};
use crate::types::DataType;

/// Keys outside of which a check does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u64,
    pub(super) high: u64,
    /// Whether it holds of all values whose key is inside.
    pub(super) exact: bool,
}

/// The span of a check of a column; `None` where it asks for something else than an order.
pub(super) fn span(check: &Check, data_type: DataType) -> Option<Span> {
    let exact = |low, high| Some(Span { low, high, exact: true });
    let about = |low, high| Some(Span { low, high, exact: false });
    match check {
        Check::Bool(value) => exact(u64::from(*value), u64::from(*value)),
        Check::Keys { low, high } => exact(*low, *high),
        Check::Floats { low, high } if low <= high => exact(float_key(*low), float_key(*high)),
        Check::Floats { .. } => exact(1, 0),
        Check::KeyIn(KeySet::Few(keys)) => about(*keys.first()?, *keys.last()?),
        Check::Text { low, high } => about(limit(low, 0), limit(high, u64::MAX)),
        Check::TextIn(TextSet::Few(texts)) if data_type == DataType::Utf8 => {
            about(text_key(texts.first()?), text_key(texts.last()?))
        }
        Check::Prefix(prefix) => {
            let (low, high) = prefix_span(prefix);
            about(low, high)
        }
        _ => None,
    }
}

fn limit(limit: &Limit, without: u64) -> u64 {
    limit.text.as_deref().map_or(without, text_key)
}

/// The keys of texts that begin with `prefix`, the least and the greatest.
pub(super) fn prefix_span(prefix: &str) -> (u64, u64) {
    let low = text_key(prefix);
    let bits = u32::try_from(prefix.len().min(8) * 8).unwrap_or(u64::BITS);
    (low, low | u64::MAX.checked_shr(bits).unwrap_or(0))
}

/// The key of a whole number or a time.
pub(super) fn int_key(value: i64) -> u64 {
    signed_key(value)
}

pub(super) fn int_of_key(key: u64) -> i64 {
    (key ^ 1 << 63).cast_signed()
}

/// The key of a float that is not NaN; both zeros have the same.
pub(super) fn float_key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    let negative = (bits.cast_signed() >> 63).cast_unsigned();
    bits ^ (negative | 1 << 63)
}

pub(super) fn float_of_key(key: u64) -> f64 {
    let positive = (key.cast_signed() >> 63).cast_unsigned();
    f64::from_bits(key ^ (!positive | 1 << 63))
}

/// The first eight bytes: texts with a smaller key are smaller.
pub(super) fn text_key(text: &str) -> u64 {
    bytes_key(text.as_bytes())
}

pub(super) fn bytes_key(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[..len].copy_from_slice(&text[..len]);
    u64::from_le_bytes(bytes).swap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_values() {
        let floats = [f64::NEG_INFINITY, -1e300, -1.0, -1e-310, 0.0, 1e-310, 2.0, f64::INFINITY];
        assert!(floats.windows(2).all(|pair| float_key(pair[0]) < float_key(pair[1])));
        assert_eq!(float_key(-0.0), float_key(0.0));
        assert!(floats.iter().all(|float| float_of_key(float_key(*float)) == *float));
        let ints = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(ints.iter().all(|int| int_of_key(int_key(*int)) == *int));
        assert!(ints.windows(2).all(|pair| int_key(pair[0]) < int_key(pair[1])));
        let texts = ["", "a", "a\u{0}b", "ab", "abcdefgh", "abcdefgi", "é", "😀"];
        assert!(texts.windows(2).all(|pair| text_key(pair[0]) <= text_key(pair[1])));
        let inside = |prefix: &str, text: &str| {
            let span = span(&Check::Prefix(prefix.into()), DataType::Utf8).expect("a span");
            (span.low..=span.high).contains(&text_key(text))
        };
        assert!(inside("", "é") && inside("ab", "abz") && inside("abcdefghij", "abcdefgh"));
        assert!(!inside("ab", "ac") && !inside("b", "a"));
    }
}
