//! Filters written in Rust: `col("year").ge(2019).and(col("lang").eq("en"))`.

use super::ast::{Comparison, Filter, Op, Value};

/// A column to be compared: made by [`col`].
#[derive(Clone, Debug)]
#[must_use = "a column alone finds nothing; compare it"]
pub struct FilterColumn(Box<str>);

/// The column `name`, to be compared with something; `"id"` is the id of the row.
///
/// ```
/// use nearfield::col;
///
/// let filter = col("year").ge(2019).and(col("lang").is_in(["en", "de"]).or(col("id").lt(1000)));
/// assert_eq!(filter.to_string(), "year >= 2019 AND (lang IN ('en', 'de') OR id < 1000)");
/// ```
pub fn col(name: impl Into<String>) -> FilterColumn {
    FilterColumn(name.into().into())
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $comparison:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(self, value: impl Into<Value>) -> Filter {
            self.test(Op::Compare(Comparison::$comparison, value.into()))
        }
    )*};
}

/// A comparison with `None` holds for no row, as one with `NULL` does in SQL: `col("a").eq(None::<i64>)`
/// finds nothing, and rows without a value are found by [`is_null`](Self::is_null).
impl FilterColumn {
    comparisons! {
        /// Equal to `value`.
        eq => Equal;
        /// Neither equal to `value` nor null.
        ne => NotEqual;
        /// Smaller than `value`.
        lt => Less;
        /// At most `value`.
        le => LessEqual;
        /// Larger than `value`.
        gt => Greater;
        /// At least `value`.
        ge => GreaterEqual;
    }

    /// From `low` to `high`, both included.
    #[must_use]
    pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> Filter {
        self.test(Op::Between(low.into(), high.into()))
    }

    /// Equal to one of `values`.
    #[must_use]
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        self.test(Op::In(values.into_iter().map(Into::into).collect()))
    }

    /// Equal to none of `values`, and not null.
    #[must_use]
    pub fn not_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        self.is_in(values).not()
    }

    /// Without a value.
    #[must_use]
    pub fn is_null(self) -> Filter {
        self.test(Op::Null)
    }

    /// With a value.
    #[must_use]
    pub fn is_not_null(self) -> Filter {
        self.test(Op::Null).not()
    }

    /// The bool column is true.
    #[must_use]
    pub fn is_true(self) -> Filter {
        self.test(Op::Truth)
    }

    /// Text of the form of `pattern`: `%` is any text, `_` one character.
    #[must_use]
    pub fn like(self, pattern: impl Into<String>) -> Filter {
        self.matching(pattern.into(), None, false)
    }

    /// [`like`](Self::like) without regard to case.
    #[must_use]
    pub fn ilike(self, pattern: impl Into<String>) -> Filter {
        self.matching(pattern.into(), None, true)
    }

    /// [`like`](Self::like) with a character that takes the meaning from the one behind it.
    #[must_use]
    pub fn like_with_escape(self, pattern: impl Into<String>, escape: char) -> Filter {
        self.matching(pattern.into(), Some(escape), false)
    }

    /// [`ilike`](Self::ilike) with a character that takes the meaning from the one behind it.
    #[must_use]
    pub fn ilike_with_escape(self, pattern: impl Into<String>, escape: char) -> Filter {
        self.matching(pattern.into(), Some(escape), true)
    }

    /// Text that begins with `prefix`.
    #[must_use]
    pub fn starts_with(self, prefix: impl Into<String>) -> Filter {
        self.test(Op::StartsWith(prefix.into().into()))
    }

    /// Text with `part` in it; a list that has it.
    #[must_use]
    pub fn contains(self, part: impl Into<String>) -> Filter {
        self.test(Op::Contains(part.into().into()))
    }

    /// The list has `value`.
    #[must_use]
    pub fn has(self, value: impl Into<String>) -> Filter {
        self.has_any([value])
    }

    /// The list has one of `values`.
    #[must_use]
    pub fn has_any<S: Into<String>>(self, values: impl IntoIterator<Item = S>) -> Filter {
        self.test(Op::HasAny(values.into_iter().map(|value| value.into().into()).collect()))
    }

    /// The list has each of `values`.
    #[must_use]
    pub fn has_all<S: Into<String>>(self, values: impl IntoIterator<Item = S>) -> Filter {
        self.test(Op::HasAll(values.into_iter().map(|value| value.into().into()).collect()))
    }

    fn matching(self, pattern: String, escape: Option<char>, ignore_case: bool) -> Filter {
        self.test(Op::Like { pattern: pattern.into(), escape, ignore_case })
    }

    fn test(self, op: Op) -> Filter {
        Filter::test(&self.0, op)
    }
}
