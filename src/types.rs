//! Words every floor shares: ids, rows, sequence numbers, metrics and column types.
//!
//! Nothing here allocates for a search, touches a file or knows a vector's bytes. A `Row` is a
//! position inside one segment or memtable chunk; an [`Id`] is what the user calls a row; the two
//! are never mixed.

use std::borrow::Cow;
use std::fmt;

use arrow_array::{Array, LargeStringArray, StringArray, UInt64Array};
use arrow_schema::{DataType as ArrowType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

mod codes;
mod memory;
pub(crate) mod naming;
mod raw;
pub(crate) mod sparse;
pub(crate) mod spelling;
pub(crate) mod time;
mod vectors;

pub use codes::CodeChoice;
pub use memory::Memory;
pub use raw::Raw;
pub use sparse::{MAX_SPARSE_WEIGHTS, SparseVector};
pub use vectors::Vectors;

use crate::error::{Error, Result};

/// Position of a row inside one segment or memtable chunk.
pub(crate) type Row = u32;

/// Most dimensions a vector may have.
pub const MAX_DIMENSION: usize = 65_536;
/// Longest string id, in bytes.
pub const MAX_ID_BYTES: usize = 65_536;

/// How two vectors are compared. Every distance ascends: smaller is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Metric {
    /// Squared Euclidean distance, `Σ (aᵢ − bᵢ)²`.
    L2,
    /// `1 − cos(a, b)`; 1 when either vector is zero.
    Cosine,
    /// `−⟨a, b⟩`.
    Dot,
    /// Bits that differ (only [`VectorType::B1`]).
    Hamming,
    /// `1 − |a ∧ b| / |a ∨ b|` of the bits set; 0 when neither vector has any (only
    /// [`VectorType::B1`]).
    Jaccard,
}

impl Metric {
    /// Turns a distance of this metric into a score, where bigger is better: `1 − d` for cosine and
    /// jaccard, `−d` for the others.
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Cosine | Self::Jaccard => 1.0 - distance,
            Self::L2 | Self::Dot | Self::Hamming => -distance,
        }
    }

    /// Whether this metric compares bits, and so only [`VectorType::B1`].
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Hamming | Self::Jaccard)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Hamming => "hamming",
            Self::Jaccard => "jaccard",
        })
    }
}

/// Element type in which vectors are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VectorType {
    /// 32-bit IEEE float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// 16-bit brain float: the range of f32 with eight bits of precision.
    Bf16,
    /// Signed byte.
    I8,
    /// Unsigned byte.
    U8,
    /// One bit a dimension, eight to a byte, the first in the highest place (as `numpy.packbits`
    /// makes them). Bits beyond the dimension are zero. Compared by [`Metric::Hamming`] and
    /// [`Metric::Jaccard`] only.
    B1,
}

impl VectorType {
    /// Elements in which a vector of `dimension` dimensions is given and returned: `dimension`, but
    /// a byte for eight of them in [`B1`](Self::B1).
    #[must_use]
    pub fn row_elements(self, dimension: usize) -> usize {
        if self == Self::B1 { dimension.div_ceil(8) } else { dimension }
    }

    /// Bytes that a vector of `dimension` dimensions takes, without padding.
    #[must_use]
    pub fn row_bytes(self, dimension: usize) -> usize {
        match self {
            Self::F32 => dimension * 4,
            Self::F16 | Self::Bf16 => dimension * 2,
            Self::I8 | Self::U8 => dimension,
            Self::B1 => dimension.div_ceil(8),
        }
    }

    /// Bytes from one stored row to the next: the row padded so that it straddles as few cache
    /// lines as it can (a multiple of 64, or a power of two below that).
    #[must_use]
    pub(crate) fn stride(self, dimension: usize) -> usize {
        let bytes = self.row_bytes(dimension);
        if bytes >= 64 { bytes.next_multiple_of(64) } else { bytes.next_power_of_two().max(4) }
    }
}

impl fmt::Display for VectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::B1 => "b1",
        })
    }
}

/// Kind of id a collection uses, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdType {
    /// Unsigned 64-bit integers.
    U64,
    /// UTF-8 strings of at most [`MAX_ID_BYTES`] bytes.
    Utf8,
}

impl fmt::Display for IdType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U64 => "u64",
            Self::Utf8 => "utf8",
        })
    }
}

/// What the user calls a row. Ids of one collection are all of one kind; they order numerically
/// or by bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer id.
    U64(u64),
    /// A string id.
    Utf8(Box<str>),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(id) => write!(f, "{id}"),
            Self::Utf8(id) => write!(f, "{id:?}"),
        }
    }
}

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self::U64(id)
    }
}

impl From<&str> for Id {
    fn from(id: &str) -> Self {
        Self::Utf8(id.into())
    }
}

impl From<String> for Id {
    fn from(id: String) -> Self {
        Self::Utf8(id.into())
    }
}

impl Id {
    /// The same id, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> IdRef<'_> {
        match self {
            Self::U64(id) => IdRef::U64(*id),
            Self::Utf8(id) => IdRef::Utf8(id),
        }
    }
}

/// A borrowed [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdRef<'a> {
    /// An integer id.
    U64(u64),
    /// A string id.
    Utf8(&'a str),
}

impl IdRef<'_> {
    /// The same id, owned.
    #[must_use]
    pub fn to_id(self) -> Id {
        match self {
            Self::U64(id) => Id::U64(id),
            Self::Utf8(id) => Id::Utf8(id.into()),
        }
    }
}

impl fmt::Display for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(id) => write!(f, "{id}"),
            Self::Utf8(id) => write!(f, "{id:?}"),
        }
    }
}

/// The ids of a batch, borrowed from the caller where possible.
#[derive(Clone, Debug)]
pub enum Ids<'a> {
    /// Integer ids.
    U64(Cow<'a, [u64]>),
    /// String ids.
    Utf8(Vec<Cow<'a, str>>),
}

impl Ids<'_> {
    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U64(ids) => ids.len(),
            Self::Utf8(ids) => ids.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which kind they are.
    #[must_use]
    pub fn id_type(&self) -> IdType {
        match self {
            Self::U64(_) => IdType::U64,
            Self::Utf8(_) => IdType::Utf8,
        }
    }

    /// The id at `index`, which must be below [`len`](Self::len).
    #[must_use]
    pub fn at(&self, index: usize) -> IdRef<'_> {
        match self {
            Self::U64(ids) => IdRef::U64(ids[index]),
            Self::Utf8(ids) => IdRef::Utf8(&ids[index]),
        }
    }

    /// All ids in order.
    pub fn iter(&self) -> impl Iterator<Item = IdRef<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }
}

macro_rules! ids_from {
    ($($from:ty => |$ids:ident| $make:expr;)*) => {$(
        impl<'a> From<$from> for Ids<'a> {
            fn from($ids: $from) -> Self { $make }
        }
    )*};
}
ids_from! {
    &'a [u64] => |ids| Self::U64(Cow::Borrowed(ids));
    &'a Vec<u64> => |ids| Self::U64(Cow::Borrowed(ids));
    Vec<u64> => |ids| Self::U64(Cow::Owned(ids));
    &'a [&'a str] => |ids| Self::Utf8(ids.iter().map(|id| Cow::Borrowed(*id)).collect());
    &'a Vec<&'a str> => |ids| Self::Utf8(ids.iter().map(|id| Cow::Borrowed(*id)).collect());
    &'a [String] => |ids| Self::Utf8(ids.iter().map(|id| Cow::Borrowed(id.as_str())).collect());
    &'a Vec<String> => |ids| Self::Utf8(ids.iter().map(|id| Cow::Borrowed(id.as_str())).collect());
    Vec<String> => |ids| Self::Utf8(ids.into_iter().map(Cow::Owned).collect());
    u64 => |id| Self::U64(Cow::Owned(vec![id]));
    &'a str => |id| Self::Utf8(vec![Cow::Borrowed(id)]);
}

macro_rules! ids_from_arrow {
    ($($from:ty => |$ids:ident| $make:expr;)*) => {$(
        /// Refuses nulls with `InvalidArgument`: a row without an id cannot be found again.
        impl<'a> TryFrom<$from> for Ids<'a> {
            type Error = Error;

            fn try_from($ids: $from) -> Result<Self> {
                no_null($ids)?;
                Ok($make)
            }
        }
    )*};
}
ids_from_arrow! {
    &'a UInt64Array => |ids| Self::U64(Cow::Borrowed(ids.values()));
    &'a StringArray => |ids| Self::Utf8((0..ids.len()).map(|i| Cow::Borrowed(ids.value(i))).collect());
    &'a LargeStringArray => |ids| Self::Utf8((0..ids.len()).map(|i| Cow::Borrowed(ids.value(i))).collect());
}

fn no_null(ids: &dyn Array) -> Result<()> {
    match (0..ids.len()).find(|row| ids.null_count() > 0 && ids.is_null(*row)) {
        Some(row) => Err(Error::invalid(format!(
            "ids: null at row {row}, expected an id for every row; fill it in or leave the row out"
        ))),
        _ => Ok(()),
    }
}

impl<'a, const N: usize> From<&'a [u64; N]> for Ids<'a> {
    fn from(ids: &'a [u64; N]) -> Self {
        Self::U64(Cow::Borrowed(ids))
    }
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for Ids<'a> {
    fn from(ids: &'a [&'a str; N]) -> Self {
        ids.as_slice().into()
    }
}

/// Type of an attribute column. Every column is nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataType {
    /// `true` or `false`.
    Bool,
    /// Signed 64-bit integer.
    Int64,
    /// 64-bit IEEE float.
    Float64,
    /// UTF-8 text.
    Utf8,
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Timestamp,
    /// A list of UTF-8 strings.
    ListUtf8,
    /// A [`SparseVector`], searched by [`Collection::search_sparse`](crate::Collection::search_sparse). In
    /// Arrow a list of structs of an index (uint32) and a value (float32).
    Sparse,
}

impl DataType {
    /// The Arrow type in which such a column is held and returned.
    #[must_use]
    pub fn to_arrow(self) -> ArrowType {
        match self {
            Self::Bool => ArrowType::Boolean,
            Self::Int64 => ArrowType::Int64,
            Self::Float64 => ArrowType::Float64,
            Self::Utf8 => ArrowType::LargeUtf8,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::ListUtf8 => {
                ArrowType::LargeList(Field::new("item", ArrowType::LargeUtf8, true).into())
            }
            Self::Sparse => {
                let item = ArrowType::Struct(sparse::fields());
                ArrowType::LargeList(Field::new("item", item, false).into())
            }
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
            Self::Timestamp => "timestamp",
            Self::ListUtf8 => "list_utf8",
            Self::Sparse => "sparse",
        })
    }
}

/// One attribute column. Every column is nullable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, unique in the collection.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it is declared as text to be searched by words (only [`DataType::Utf8`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text: bool,
}
