//! A filter as it was meant, before it meets the columns of a collection.
//!
//! > Invariant: the nodes are in postfix order, children before their parent, and make up exactly one
//! > tree. There is no pointer in it, so that no depth of nesting is too deep to be cloned, compared,
//! > printed or dropped.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::failure::Failure;
use super::{json, parse, print};
use crate::error::{Error, Result};

/// Which rows are wanted: a condition on their attributes and ids.
///
/// One meaning in three spellings: the text of an SQL `WHERE` clause ([`parse`](Self::parse)), a
/// builder ([`col`](crate::col)), and dictionaries as Chroma takes them
/// ([`from_json`](Self::from_json)). Wherever a filter is taken, its text is taken too.
///
/// ```
/// use nearfield::{Filter, col};
///
/// let text = Filter::parse("lang = 'en' AND year BETWEEN 2019 AND 2024 AND tags HAS 'rust'")?;
/// let built = col("lang").eq("en").and(col("year").between(2019, 2024)).and(col("tags").has("rust"));
/// let json = Filter::from_json(&serde_json::json!({"$and": [
///     {"lang": "en"}, {"year": {"$between": [2019, 2024]}}, {"tags": {"$has": "rust"}},
/// ]}))?;
/// assert_eq!(text, built);
/// assert_eq!(text, json);
/// assert_eq!(text.to_string(), "lang = 'en' AND year BETWEEN 2019 AND 2024 AND tags HAS 'rust'");
/// # Ok::<(), nearfield::Error>(())
/// ```
///
/// # The language
///
/// | condition | of columns | meaning |
/// |---|---|---|
/// | `=` `<>` `!=` `<` `<=` `>` `>=` | all but lists, `id` | numbers compare exactly, whole or not; text by its bytes |
/// | `x [NOT] BETWEEN a AND b` | the same | `x >= a AND x <= b` |
/// | `x [NOT] IN (a, b)` | the same | equal to one of them; nothing is in `()` |
/// | `x IS [NOT] NULL` | all | whether there is a value |
/// | `x [NOT] LIKE 'a%_' [ESCAPE '\']`, `ILIKE` | text, text `id` | `%` any text, `_` one character; `ILIKE` without regard to case |
/// | `x [NOT] STARTS WITH 'a'` | text, text `id` | a prefix, nothing in it is special |
/// | `x [NOT] CONTAINS 'a'` | text, text `id`, lists | a part of the text; of lists the same as `HAS` |
/// | `x [NOT] HAS 'a'`, `HAS ANY ('a', 'b')`, `HAS ALL ('a', 'b')` | lists | an element is equal to one of them, to each of them |
/// | `x` | bool | the same as `x = TRUE` |
/// | `NOT a`, `a AND b`, `a OR b`, `(a)`, `TRUE`, `FALSE` | | in this order of precedence |
///
/// Text is written in single quotes, a quote in it twice (`'it''s'`). A name that is no plain word is
/// written in double quotes (`"a b"`). Times are ISO 8601 text: `TIMESTAMP '2024-02-29T12:00:00Z'`, and
/// plain text beside a timestamp column; without an offset they are UTC. Words of the language are
/// understood in any case, names of columns as they are. `id` is the row's id.
///
/// Logic is that of SQL: a comparison with a null is unknown, `NOT` of unknown is unknown, and only
/// rows for which the filter is true are found. `HAS ANY ()` is false and `HAS ALL ()` true of any list,
/// and a null in a list is equal to nothing. Floats compare as IEEE 754 has it: NaN is equal to nothing,
/// itself included, and neither smaller nor larger (so `x <> 1` finds it, `NOT x < 1` too); `-0.0 = 0.0`.
/// NaN cannot be asked for.
///
/// docs/filters.md has the spellings side by side. Filters nest at most 256 deep; their length and the length of lists is limited by memory alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(super) nodes: Vec<Node>,
    /// Why the text that it was made of is no filter.
    pub(super) failure: Option<Arc<NoFilter>>,
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NoFilter {
    text: Box<str>,
    pub(super) failure: Failure,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Always(bool),
    Test(Test),
    /// Of one child.
    Not,
    /// Of so many children, two at least.
    And(usize),
    Or(usize),
}

/// A condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) column: Box<str>,
    pub(super) op: Op,
    pub(super) spot: Spot,
}

/// What is asked of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// The column alone.
    Truth,
    Compare(Comparison, Value),
    Between(Value, Value),
    In(Arc<[Value]>),
    Null,
    Like {
        pattern: Box<str>,
        escape: Option<char>,
        ignore_case: bool,
    },
    StartsWith(Box<str>),
    /// A part of a text, an element of a list.
    Contains(Box<str>),
    HasAny(Arc<[Box<str>]>),
    HasAll(Arc<[Box<str>]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("=", Self::Equal),
        ("<>", Self::NotEqual),
        ("<=", Self::LessEqual),
        (">=", Self::GreaterEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// The same with its sides exchanged.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }

    pub(super) fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("=", |(symbol, _)| symbol)
    }
}

/// Where a condition stands in a text: what errors point at. All places are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Spot {
    /// The text, of the column and of what follows it the first byte.
    pub(super) text: Option<(Arc<str>, usize, usize)>,
}

impl PartialEq for Spot {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// What a column is compared with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Unknown: a comparison with it never holds.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number; NaN is refused.
    Float(f64),
    /// Text, or a time or id written as text.
    Text(Box<str>),
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Timestamp(i64),
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $make:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self { $make }
        }
    )*};
}
value_from! {
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value.into());
    i128 => |value| Self::Int(value);
    u8 => |value| Self::Int(value.into());
    u16 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    u64 => |value| Self::Int(value.into());
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    &str => |value| Self::Text(value.into());
    &String => |value| Self::Text(value.as_str().into());
    String => |value| Self::Text(value.into());
}

impl From<crate::types::Id> for Value {
    fn from(id: crate::types::Id) -> Self {
        match id {
            crate::types::Id::U64(id) => id.into(),
            crate::types::Id::Utf8(id) => Self::Text(id),
        }
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Filter {
    /// Every row.
    #[must_use]
    pub fn always() -> Self {
        Self::of(vec![Node::Always(true)])
    }

    /// No row.
    #[must_use]
    pub fn never() -> Self {
        Self::of(vec![Node::Always(false)])
    }

    /// Reads the text of an SQL `WHERE` clause (without the word), as described at [`Filter`].
    ///
    /// # Errors
    /// [`Error::Filter`], with the place in the text.
    ///
    /// ```
    /// let error = nearfield::Filter::parse("year >= 2019 AMD lang = 'en'").unwrap_err();
    /// let nearfield::Error::Filter { position, hint, .. } = error else { panic!() };
    /// assert_eq!((position, hint.as_str()), (Some(13), "did you mean AND?"));
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text).map(Self::of).map_err(Error::from)
    }

    /// Reads a filter in the style of Chroma and MongoDB.
    ///
    /// `{"column": value}` is equality, `{"column": {"$op": value, …}}` a condition for each operator, and
    /// several columns in one object all have to agree. Operators: `$eq $ne $gt $gte $lt $lte`,
    /// `$in $nin`, `$between` (a pair), `$exists` (a bool), `$like $nlike $ilike $nilike`,
    /// `$starts_with` (or `$prefix`), `$contains $not_contains`, `$has`, `$has_any $has_all` (arrays), `$not`
    /// (the opposite of an object of operators); beside columns `$and $or $nor` (arrays of filters) and
    /// `$not` (a filter). `{"column": null}` and `{"$eq": null}` are `IS NULL`, `{"$ne": null}` is
    /// `IS NOT NULL`. Empty objects and arrays of filters are refused. Logic is that of SQL here too: `$ne` and `$nin` do not
    /// find nulls.
    ///
    /// # Errors
    /// [`Error::Filter`], with the path to what is wrong.
    pub fn from_json(json: &serde_json::Value) -> Result<Self> {
        json::parse(json).map_err(Error::from)
    }

    /// The rows that `self` and `other` both find.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        self.join(
            other.into(),
            |node| match node {
                Node::And(count) => Some(count),
                _ => None,
            },
            Node::And,
        )
    }

    /// The rows that `self` or `other` finds.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        self.join(
            other.into(),
            |node| match node {
                Node::Or(count) => Some(count),
                _ => None,
            },
            Node::Or,
        )
    }

    /// The rows for which this is false: neither true nor unknown.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "`!` is offered as well")]
    pub fn not(mut self) -> Self {
        match self.nodes.last() {
            Some(Node::Not) => drop(self.nodes.pop()),
            _ => self.nodes.push(Node::Not),
        }
        self
    }

    pub(super) fn of(nodes: Vec<Node>) -> Self {
        Self { nodes, failure: None }
    }

    pub(super) fn test(column: &str, op: Op) -> Self {
        Self::of(vec![Node::Test(Test { column: column.into(), op, spot: Spot::default() })])
    }

    /// All or any of several, one at least, as the text `a AND b AND c` is read.
    pub(super) fn joined(filters: impl IntoIterator<Item = Self>, node: fn(usize) -> Node) -> Self {
        let mut all = Self::of(Vec::new());
        let mut count = 0;
        for filter in filters {
            all.failure = all.failure.or(filter.failure);
            all.nodes.extend(filter.nodes);
            count += 1;
        }
        match count {
            0 => all.nodes.push(Node::Always(false)),
            1 => {}
            _ => all.nodes.push(node(count)),
        }
        all
    }

    fn join(
        mut self,
        other: Self,
        children: fn(&Node) -> Option<&usize>,
        node: fn(usize) -> Node,
    ) -> Self {
        let mut count = 1;
        if let Some(many) = self.nodes.last().and_then(children) {
            count = *many;
            self.nodes.pop();
        }
        self.failure = self.failure.or(other.failure);
        self.nodes.extend(other.nodes);
        self.nodes.push(node(count + 1));
        self
    }
}

impl std::ops::BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl std::ops::BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl std::ops::Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::not(self)
    }
}

impl From<&str> for Filter {
    /// [`Filter::parse`]; a text that is none is answered by whoever uses the filter.
    fn from(text: &str) -> Self {
        match parse::parse(text) {
            Ok(nodes) => Self::of(nodes),
            Err(failure) => {
                let failure = Some(Arc::new(NoFilter { text: text.into(), failure }));
                Self { nodes: vec![Node::Always(false)], failure }
            }
        }
    }
}

impl From<&String> for Filter {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Filter {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Self> for Filter {
    fn from(filter: &Self) -> Self {
        filter.clone()
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    /// The text that [`Filter::parse`] reads back as the same filter; a text that is none as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(none) = &self.failure {
            return f.write_str(&none.text);
        }
        print::print(&self.nodes, f)
    }
}
