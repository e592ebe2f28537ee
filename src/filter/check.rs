//! What is asked of the values of one column, in the form in which it is evaluated.
//!
//! Whole numbers, times and number ids are compared as keys: unsigned, in the same order.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::ast::{Comparison, Value};
use super::like::Pattern;
use super::masks;
use crate::types::Id;

/// Longest set that is searched value by value.
const FEW: usize = 8;

/// A condition on a value that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Check {
    Bool(bool),
    /// A key from `low` to `high`, both included; none when `low > high`.
    Keys {
        low: u64,
        high: u64,
    },
    KeyIn(KeySet),
    /// A float from `low` to `high`, both included; none when `low > high`.
    Floats {
        low: f64,
        high: f64,
    },
    /// [`float_bits`] of the floats.
    FloatIn(KeySet),
    Text {
        low: Limit,
        high: Limit,
    },
    TextIn(TextSet),
    Prefix(Box<str>),
    Like(Pattern),
    HasAny(TextSet),
    /// Each once.
    HasAll(Vec<Box<str>>),
}

/// An end of a range of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limit {
    /// `None` for no limit.
    pub(crate) text: Option<Box<str>>,
    /// Whether the text itself is outside.
    pub(crate) open: bool,
}

impl Limit {
    const NONE: Self = Self { text: None, open: false };

    /// Becomes the other, where it is `wider` than that.
    fn narrow(&mut self, other: &Self, wider: Ordering) {
        match (&self.text, &other.text) {
            (_, None) => {}
            (Some(own), Some(text)) if own == text => self.open |= other.open,
            (Some(own), Some(text)) if own.cmp(text) != wider => {}
            _ => self.clone_from(other),
        }
    }
}

impl Check {
    pub(super) fn is_range(&self) -> bool {
        matches!(self, Self::Keys { .. } | Self::Floats { .. } | Self::Text { .. })
    }

    /// Leaves what is in the other range as well; false when they are not of the same values.
    pub(super) fn narrow(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys { low, high }, Self::Keys { low: from, high: to }) => {
                (*low, *high) = ((*low).max(*from), (*high).min(*to));
            }
            (Self::Floats { low, high }, Self::Floats { low: from, high: to }) => {
                (*low, *high) = (low.max(*from), high.min(*to));
            }
            (Self::Text { low, high }, Self::Text { low: from, high: to }) => {
                low.narrow(from, Ordering::Less);
                high.narrow(to, Ordering::Greater);
            }
            _ => return false,
        }
        true
    }

    /// How long it takes for a row, roughly: the cheaper is done first.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Bool(_) => 1,
            Self::Keys { .. } | Self::Floats { .. } => 2,
            Self::KeyIn(set) | Self::FloatIn(set) => {
                if set.is_small() {
                    4
                } else {
                    16
                }
            }
            Self::Prefix(_) | Self::Text { .. } => 20,
            Self::TextIn(set) => {
                if set.is_small() {
                    20
                } else {
                    40
                }
            }
            Self::Like(_) => 60,
            Self::HasAny(_) | Self::HasAll(_) => 80,
        }
    }

    /// About how much memory the values take.
    pub(super) fn memory_bytes(&self) -> usize {
        let text = |text: &str| size_of::<Box<str>>() + text.len();
        let limit = |limit: &Limit| limit.text.as_deref().map_or(0, text);
        match self {
            Self::Bool(_) | Self::Keys { .. } | Self::Floats { .. } => 0,
            Self::KeyIn(set) | Self::FloatIn(set) => match set {
                KeySet::Few(keys) => size_of_val(keys.as_slice()),
                KeySet::Dense(dense) => size_of_val(dense.words.as_slice()),
                KeySet::Many(keys) => keys.capacity() * size_of::<u64>(),
            },
            Self::Text { low, high } => limit(low) + limit(high),
            Self::TextIn(set) | Self::HasAny(set) => match set {
                TextSet::Few(texts) => texts.iter().map(|one| text(one)).sum(),
                TextSet::Many(texts) => texts.iter().map(|one| text(one)).sum(),
            },
            Self::Prefix(prefix) => text(prefix),
            Self::Like(pattern) => pattern.memory_bytes(),
            Self::HasAll(texts) => texts.iter().map(|one| text(one)).sum(),
        }
    }

    /// The ids for which this holds, where they are listed and at most so many.
    pub(super) fn all(&self, most: usize) -> Option<Vec<Id>> {
        let texts = |texts: &mut dyn ExactSizeIterator<Item = &Box<str>>| {
            (texts.len() <= most).then(|| texts.cloned().map(Id::Utf8).collect())
        };
        match self {
            Self::Keys { low, high } if low == high && most > 0 => Some(vec![Id::U64(*low)]),
            Self::KeyIn(keys) => Some(keys.listed(most)?.into_iter().map(Id::U64).collect()),
            Self::TextIn(TextSet::Few(few)) => texts(&mut few.iter()),
            Self::TextIn(TextSet::Many(many)) => texts(&mut many.iter()),
            _ => None,
        }
    }

    /// Of columns whose keys are whole numbers from `least` on.
    pub(super) fn whole(comparison: Comparison, value: &Value, domain: Domain) -> Option<Self> {
        let (low, high) = whole_range(comparison, value)?;
        Some(domain.keys(low, high))
    }

    pub(super) fn float(comparison: Comparison, value: &Value) -> Option<Self> {
        let (low, high) = float_range(comparison, value)?;
        Some(Self::Floats { low, high })
    }

    pub(super) fn text(comparison: Comparison, text: &str) -> Self {
        let limit = |open| Limit { text: Some(text.into()), open };
        let (low, high) = match comparison {
            Comparison::Equal | Comparison::NotEqual => {
                return Self::TextIn(TextSet::new([text.into()]));
            }
            Comparison::Less => (Limit::NONE, limit(true)),
            Comparison::LessEqual => (Limit::NONE, limit(false)),
            Comparison::Greater => (limit(true), Limit::NONE),
            Comparison::GreaterEqual => (limit(false), Limit::NONE),
        };
        Self::Text { low, high }
    }
}

/// Which whole numbers a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Domain {
    Signed,
    Unsigned,
}

impl Domain {
    fn ends(self) -> (i128, i128) {
        match self {
            Self::Signed => (i64::MIN.into(), i64::MAX.into()),
            Self::Unsigned => (0, u64::MAX.into()),
        }
    }

    /// The key of a number, when there is one.
    pub(super) fn key(self, number: i128) -> Option<u64> {
        let (least, most) = self.ends();
        if number > most { None } else { u64::try_from(number.checked_sub(least)?).ok() }
    }

    fn keys(self, low: i128, high: i128) -> Check {
        let (least, most) = self.ends();
        match (self.key(low.max(least)), self.key(high.min(most))) {
            (Some(low), Some(high)) => Check::Keys { low, high },
            _ => Check::Keys { low: 1, high: 0 },
        }
    }
}

/// The key of a signed number.
#[inline(always)]
pub(crate) fn signed_key(number: i64) -> u64 {
    number.cast_unsigned() ^ 1 << 63
}

/// The bits by which floats are equal or not; `None` for NaN, which is equal to nothing.
#[inline(always)]
pub(crate) fn float_bits(number: f64) -> Option<u64> {
    // Adding 0 makes -0 a 0.
    (!number.is_nan()).then(|| (number + 0.0).to_bits())
}

/// The whole number that `value` is; `Err` when it is none.
pub(super) fn whole_number(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Timestamp(micros) => Some((*micros).into()),
        Value::Float(number) if number.is_finite() && number.fract() == 0.0 => {
            Some(truncated(*number))
        }
        _ => None,
    }
}

/// The float that `value` is exactly.
pub(super) fn exact_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64).filter(|float| order(*float, *number).is_eq()),
        _ => None,
    }
}

/// The least and the greatest whole number that compare so; `NotEqual` is told as `Equal`.
fn whole_range(comparison: Comparison, value: &Value) -> Option<(i128, i128)> {
    const NONE: (i128, i128) = (1, 0);
    let (floor, ceil) = match value {
        Value::Float(number) => (truncated(number.floor()), truncated(number.ceil())),
        other => whole_number(other).map(|number| (number, number))?,
    };
    Some(match comparison {
        Comparison::Equal | Comparison::NotEqual => match whole_number(value) {
            Some(number) => (number, number),
            None => NONE,
        },
        Comparison::Less => (i128::MIN, ceil.saturating_sub(1)),
        Comparison::LessEqual => (i128::MIN, floor),
        Comparison::Greater => (floor.saturating_add(1), i128::MAX),
        Comparison::GreaterEqual => (ceil, i128::MAX),
    })
}

/// The least and the greatest float that compare so; `NotEqual` is told as `Equal`.
fn float_range(comparison: Comparison, value: &Value) -> Option<(f64, f64)> {
    const NONE: (f64, f64) = (1.0, 0.0);
    let least = f64::NEG_INFINITY;
    let most = f64::INFINITY;
    let (below, above) = match (exact_float(value), value) {
        (Some(number), _) => {
            return Some(match comparison {
                Comparison::Equal | Comparison::NotEqual => (number, number),
                Comparison::LessEqual => (least, number),
                Comparison::GreaterEqual => (number, most),
                Comparison::Less if number == least => NONE,
                Comparison::Less => (least, number.next_down()),
                Comparison::Greater if number == most => NONE,
                Comparison::Greater => (number.next_up(), most),
            });
        }
        // Between two floats that are next to each other.
        (None, Value::Int(number)) => {
            let near = *number as f64;
            if order(near, *number).is_gt() {
                (near.next_down(), near)
            } else {
                (near, near.next_up())
            }
        }
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal | Comparison::NotEqual => NONE,
        Comparison::Less | Comparison::LessEqual => (least, below),
        Comparison::Greater | Comparison::GreaterEqual => (above, most),
    })
}

/// How a float without decimals compares with a number near it.
fn order(float: f64, number: i128) -> Ordering {
    // 2^127 itself is no number of 128 bits.
    if float >= i128::MAX as f64 { Ordering::Greater } else { truncated(float).cmp(&number) }
}

/// The number without decimals, or the nearest one that there is.
#[expect(clippy::cast_possible_truncation, reason = "floats saturate")]
fn truncated(number: f64) -> i128 {
    number as i128
}

/// Keys to be found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeySet {
    /// Ascending, each once.
    Few(Vec<u64>),
    /// Keys that lie close together, as bits.
    Dense(Dense),
    Many(HashSet<u64>),
}

/// Bits of the keys from `first` on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    first: u64,
    words: Vec<u64>,
}

impl Dense {
    /// Of `keys`; `None` where bits would take more memory than they do.
    fn new(keys: &HashSet<u64>) -> Option<Self> {
        let (first, last) = (*keys.iter().min()?, *keys.iter().max()?);
        let words = usize::try_from((last - first) / 64).ok().filter(|most| *most <= keys.len())?;
        let mut words = vec![0u64; words + 1];
        for key in keys {
            let (word, bit) = Self::place(key - first);
            words[word] |= 1 << bit;
        }
        Some(Self { first, words })
    }

    #[inline(always)]
    pub(crate) fn contains(&self, key: u64) -> bool {
        let (word, bit) = Self::place(key.wrapping_sub(self.first));
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    #[inline(always)]
    fn place(offset: u64) -> (usize, u32) {
        let bit = (offset % 64) as u32;
        (usize::try_from(offset / 64).unwrap_or(usize::MAX), bit)
    }
}

impl KeySet {
    pub(super) fn new(keys: impl IntoIterator<Item = u64>) -> Self {
        let keys: HashSet<u64> = keys.into_iter().collect();
        if keys.len() > FEW {
            return Dense::new(&keys).map_or(Self::Many(keys), Self::Dense);
        }
        let mut few: Vec<u64> = keys.into_iter().collect();
        few.sort_unstable();
        Self::Few(few)
    }

    fn is_small(&self) -> bool {
        matches!(self, Self::Few(_) | Self::Dense(_))
    }

    /// All of them, ascending.
    pub(super) fn all(&self) -> Vec<u64> {
        match self {
            Self::Few(few) => few.clone(),
            Self::Dense(dense) => {
                let mut keys = Vec::new();
                masks::for_each(&dense.words, |at| keys.push(dense.first + at as u64));
                keys
            }
            Self::Many(many) => {
                let mut keys: Vec<u64> = many.iter().copied().collect();
                keys.sort_unstable();
                keys
            }
        }
    }

    /// All of them, ascending; `None` when there are more than `most`.
    pub(crate) fn listed(&self, most: usize) -> Option<Vec<u64>> {
        let len = match self {
            Self::Few(few) => few.len(),
            Self::Dense(dense) => dense.words.iter().map(|word| word.count_ones() as usize).sum(),
            Self::Many(many) => many.len(),
        };
        (len <= most).then(|| self.all())
    }

    #[inline(always)]
    pub(crate) fn contains(&self, key: u64) -> bool {
        match self {
            Self::Few(few) => few.contains(&key),
            Self::Dense(dense) => dense.contains(key),
            Self::Many(many) => many.contains(&key),
        }
    }
}

/// Texts to be found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextSet {
    /// Ascending, each once.
    Few(Vec<Box<str>>),
    Many(HashSet<Box<str>>),
}

impl TextSet {
    pub(super) fn new(texts: impl IntoIterator<Item = Box<str>>) -> Self {
        let texts: HashSet<Box<str>> = texts.into_iter().collect();
        if texts.len() > FEW {
            return Self::Many(texts);
        }
        let mut few: Vec<Box<str>> = texts.into_iter().collect();
        few.sort_unstable();
        Self::Few(few)
    }

    fn is_small(&self) -> bool {
        matches!(self, Self::Few(_))
    }

    #[inline]
    pub(crate) fn contains(&self, text: &str) -> bool {
        match self {
            Self::Few(few) => few.iter().any(|known| known.as_ref() == text),
            Self::Many(many) => many.contains(text),
        }
    }
}
