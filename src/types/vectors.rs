//! Row-major vectors as they come and go, in any element type.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};

use super::VectorType;

/// Row-major vectors of a batch, borrowed from the caller where possible.
///
/// They are converted to the collection's [`VectorType`] when written: to f16 and bf16 by rounding
/// to nearest (overflow is an error), to u8 and i8 only from whole numbers in their range. For b1
/// they are bytes of eight bits, see [`VectorType::B1`].
#[derive(Clone, Debug)]
pub enum Vectors<'a> {
    /// 32-bit floats.
    F32(Cow<'a, [f32]>),
    /// 16-bit floats.
    F16(Cow<'a, [f16]>),
    /// 16-bit brain floats.
    Bf16(Cow<'a, [bf16]>),
    /// Signed bytes.
    I8(Cow<'a, [i8]>),
    /// Unsigned bytes, or eight bits each.
    U8(Cow<'a, [u8]>),
}

/// The same of every element type.
macro_rules! each {
    ($vectors:expr, $values:ident => $make:expr) => {
        match $vectors {
            Vectors::F32($values) => $make,
            Vectors::F16($values) => $make,
            Vectors::Bf16($values) => $make,
            Vectors::I8($values) => $make,
            Vectors::U8($values) => $make,
        }
    };
}

impl Vectors<'_> {
    /// Elements in all (rows × [`VectorType::row_elements`]).
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements; packed bits are [`VectorType::U8`].
    #[must_use]
    pub fn element_type(&self) -> VectorType {
        match self {
            Self::F32(_) => VectorType::F32,
            Self::F16(_) => VectorType::F16,
            Self::Bf16(_) => VectorType::Bf16,
            Self::I8(_) => VectorType::I8,
            Self::U8(_) => VectorType::U8,
        }
    }

    /// The elements of `range`, borrowed; `None` when there are not so many.
    #[must_use]
    pub fn get(&self, range: Range<usize>) -> Option<Vectors<'_>> {
        Some(each!(self, values => values.get(range)?.into()))
    }

    /// The rows numbered `rows`, of `width` elements each; rows that are not there are left out.
    #[must_use]
    pub fn gather(&self, rows: impl IntoIterator<Item = usize>, width: usize) -> Vectors<'static> {
        fn pick<T: Copy>(
            values: &[T],
            rows: impl IntoIterator<Item = usize>,
            width: usize,
        ) -> Vec<T> {
            let row = |row: usize| {
                let start = row.checked_mul(width)?;
                values.get(start..start.checked_add(width)?)
            };
            rows.into_iter().filter_map(row).flatten().copied().collect()
        }
        each!(self, values => pick(values, rows, width).into())
    }

    /// The elements of `range` as f32, exactly; none when there are not so many.
    #[must_use]
    pub fn to_f32(&self, range: Range<usize>) -> Vec<f32> {
        match self {
            Self::F32(values) => values.get(range).unwrap_or(&[]).to_vec(),
            Self::F16(values) => floats(values, range, f16::to_f32),
            Self::Bf16(values) => floats(values, range, bf16::to_f32),
            Self::I8(values) => floats(values, range, f32::from),
            Self::U8(values) => floats(values, range, f32::from),
        }
    }

    /// The same as f32, exactly.
    pub(crate) fn into_f32(self) -> Self {
        match self {
            Self::F32(_) => self,
            other => other.to_f32(0..other.len()).into(),
        }
    }

    /// The same, owned.
    #[must_use]
    pub fn into_owned(self) -> Vectors<'static> {
        each!(self, values => values.into_owned().into())
    }
}

fn floats<T: Copy>(values: &[T], range: Range<usize>, float: impl Fn(T) -> f32) -> Vec<f32> {
    values.get(range).unwrap_or(&[]).iter().map(|value| float(*value)).collect()
}

macro_rules! vectors_from {
    ($($variant:ident($element:ty)),*) => {$(
        impl<'a> From<&'a [$element]> for Vectors<'a> {
            fn from(values: &'a [$element]) -> Self { Self::$variant(Cow::Borrowed(values)) }
        }
        impl<'a> From<&'a Vec<$element>> for Vectors<'a> {
            fn from(values: &'a Vec<$element>) -> Self { Self::$variant(Cow::Borrowed(values)) }
        }
        impl From<Vec<$element>> for Vectors<'_> {
            fn from(values: Vec<$element>) -> Self { Self::$variant(Cow::Owned(values)) }
        }
        impl<'a, const N: usize> From<&'a [$element; N]> for Vectors<'a> {
            fn from(values: &'a [$element; N]) -> Self { Self::$variant(Cow::Borrowed(values)) }
        }
    )*};
}
vectors_from!(F32(f32), F16(f16), Bf16(bf16), I8(i8), U8(u8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_there_are_left_out() {
        let vectors = Vectors::from(vec![1_i8, 2, 3, -4, 5]);
        assert_eq!(vectors.gather([1, 0, 2, usize::MAX], 2).to_f32(0..4), [3.0, -4.0, 1.0, 2.0]);
        assert!(vectors.get(4..6).is_none() && vectors.to_f32(4..6).is_empty());
        assert_eq!(vectors.get(3..5).map(|some| some.to_f32(0..2)), Some(vec![-4.0, 5.0]));
    }
}
