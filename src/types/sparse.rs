//! Sparse vectors: a few weights among billions of places that are zero.

use super::DataType;
use crate::error::{Error, Result};
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::{ArrayRef, Float32Array, LargeListArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType as ArrowType, Field, Fields};

/// Most weights that one sparse vector may have.
pub const MAX_SPARSE_WEIGHTS: usize = 65_536;

/// A sparse vector, such as SPLADE and other learned weightings of words make: weights at a few
/// indices, zero everywhere else.
///
/// Indices are whatever the model counts by (tokens of a vocabulary, hashes), from 0 to 2³² − 1, each
/// given once, in any order. Weights are finite; zeros are left out. A vector without a weight may be
/// stored, and is found by no search.
///
/// ```
/// use nearfield::SparseVector;
///
/// let vector = SparseVector::new([7, 2, 9], [0.5, 1.5, 0.0])?;
/// assert_eq!((vector.indices(), vector.weights()), (&[2, 7][..], &[1.5, 0.5][..]));
/// assert_eq!(vector.dot(&SparseVector::new([2], [2.0])?), 3.0);
/// assert!(SparseVector::new([2, 2], [1.0, 1.0]).is_err());
/// # Ok::<(), nearfield::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    indices: Vec<u32>,
    weights: Vec<f32>,
}

impl AsRef<[Self]> for SparseVector {
    /// The vector alone.
    fn as_ref(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

/// Why weights are no sparse vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SparseFault {
    Twice(u32),
    NotFinite(u32, f32),
    TooMany(usize),
}

impl std::fmt::Display for SparseFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Twice(index) => {
                write!(f, "index {index} is given twice; give each once, their weights summed up")
            }
            Self::NotFinite(index, weight) => {
                write!(f, "the weight at index {index} is {weight}; expected a finite number")
            }
            Self::TooMany(count) => {
                write!(f, "{count} weights are given, expected at most {MAX_SPARSE_WEIGHTS}")
            }
        }
    }
}

/// Puts pairs of index and weight in stored form: by ascending index, without zeros.
pub(crate) fn canonical(pairs: &mut Vec<(u32, f32)>) -> Result<(), SparseFault> {
    if pairs.len() > MAX_SPARSE_WEIGHTS {
        return Err(SparseFault::TooMany(pairs.len()));
    }
    if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
        pairs.sort_unstable_by_key(|(index, _)| *index);
        if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            return Err(SparseFault::Twice(twice[0].0));
        }
    }
    if let Some((index, weight)) = pairs.iter().find(|(_, weight)| !weight.is_finite()) {
        return Err(SparseFault::NotFinite(*index, *weight));
    }
    pairs.retain(|(_, weight)| *weight != 0.0);
    Ok(())
}

impl SparseVector {
    /// A vector of `weights` at `indices`.
    ///
    /// # Errors
    /// `InvalidArgument` when there are not as many of both, when an index is given twice, a weight
    /// is not finite, or there are more than [`MAX_SPARSE_WEIGHTS`].
    pub fn new(indices: impl AsRef<[u32]>, weights: impl AsRef<[f32]>) -> Result<Self> {
        let (indices, weights) = (indices.as_ref(), weights.as_ref());
        if indices.len() != weights.len() {
            return Err(Error::invalid(format!(
                "sparse vector of {} indices and {} weights; give a weight for each index",
                indices.len(),
                weights.len()
            )));
        }
        Self::from_pairs(indices.iter().copied().zip(weights.iter().copied()))
    }

    /// A vector of pairs of index and weight.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u32, f32)>) -> Result<Self> {
        let mut pairs: Vec<(u32, f32)> = pairs.into_iter().collect();
        canonical(&mut pairs).map_err(|fault| Error::invalid(format!("sparse vector: {fault}")))?;
        let (indices, weights) = pairs.into_iter().unzip();
        Ok(Self { indices, weights })
    }

    /// The indices that have a weight, ascending.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The weight at each of the [`indices`](Self::indices); none is zero.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// How many weights there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The inner product of two vectors: products of f32 summed up in f64 by ascending index, rounded
    /// to f32. What a search scores by.
    #[must_use]
    pub fn dot(&self, other: &Self) -> f32 {
        narrow(dot(&self.indices, &self.weights, &other.indices, &other.weights).unwrap_or(0.0))
    }

    /// Vectors as the Arrow array of a [`DataType::Sparse`] column, `None` for null.
    #[must_use]
    pub fn column<'a>(rows: impl IntoIterator<Item = Option<&'a Self>>) -> ArrayRef {
        let (mut lengths, mut valid) = (Vec::new(), BooleanBufferBuilder::new(0));
        let (mut indices, mut weights) = (Vec::new(), Vec::new());
        for row in rows {
            valid.append(row.is_some());
            lengths.push(row.map_or(0, Self::len));
            if let Some(row) = row {
                indices.extend_from_slice(&row.indices);
                weights.extend_from_slice(&row.weights);
            }
        }
        let nulls = NullBuffer::new(valid.finish());
        list(OffsetBuffer::from_lengths(lengths), indices, weights, Some(nulls))
    }
}

/// The sum of products at common indices, by ascending index; `None` where there is none.
pub(crate) fn dot(
    a_indices: &[u32],
    a_weights: &[f32],
    b_indices: &[u32],
    b_weights: &[f32],
) -> Option<f64> {
    let (mut a, mut b) = (0, 0);
    let mut sum = None;
    while let (Some(left), Some(right)) = (a_indices.get(a), b_indices.get(b)) {
        if left == right {
            let product = f64::from(a_weights[a]) * f64::from(b_weights[b]);
            sum = Some(sum.unwrap_or(0.0) + product);
        }
        a += usize::from(left <= right);
        b += usize::from(right <= left);
    }
    sum
}

/// A score as f32; what is too large becomes infinite.
#[expect(clippy::cast_possible_truncation, reason = "a score is rounded to f32 by definition")]
pub(crate) fn narrow(score: f64) -> f32 {
    score as f32
}

/// The fields of one weight.
pub(crate) fn fields() -> Fields {
    let (index, value) = (ArrowType::UInt32, ArrowType::Float32);
    vec![Field::new("index", index, false), Field::new("value", value, false)].into()
}

/// A column of stored form.
pub(crate) fn list(
    offsets: OffsetBuffer<i64>,
    indices: Vec<u32>,
    weights: Vec<f32>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let indices: ArrayRef = Arc::new(UInt32Array::from(indices));
    let weights: ArrayRef = Arc::new(Float32Array::from(weights));
    let items = StructArray::new(fields(), vec![indices, weights], None);
    let ArrowType::LargeList(item) = DataType::Sparse.to_arrow() else {
        unreachable!("a sparse column is a list");
    };
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    Arc::new(LargeListArray::new(item, offsets, Arc::new(items), nulls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_weights_at_indices_of_their_own_make_a_vector() {
        let refused = [
            (vec![1, 1], vec![1.0, 2.0], "index 1 is given twice"),
            (vec![3], vec![f32::NAN], "index 3 is NaN"),
            (vec![3], vec![f32::NEG_INFINITY], "index 3 is -inf"),
            (vec![1, 2], vec![1.0], "2 indices and 1 weights"),
            ((0..70_000).collect(), vec![1.0; 70_000], "at most 65536"),
        ];
        for (indices, weights, expected) in refused {
            let error = SparseVector::new(indices, weights).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let zeros = SparseVector::new([9, 5, 1], [-0.0, -2.0, 0.0]).expect("finite");
        assert_eq!((zeros.indices(), zeros.weights()), (&[5][..], &[-2.0][..]));
        assert!(SparseVector::new([], []).expect("no weight").is_empty());
    }

    #[test]
    fn products_of_any_finite_weights_have_a_sum() {
        let vector = |weights: [f32; 2]| SparseVector::new([1, u32::MAX], weights).expect("finite");
        let large = vector([f32::MAX, -f32::MAX]);
        assert_eq!(large.dot(&vector([f32::MAX, f32::MAX])), 0.0);
        assert_eq!(large.dot(&vector([f32::MAX, 1.0])), f32::INFINITY);
        assert_eq!(large.dot(&SparseVector::default()), 0.0);
        assert_eq!(vector([2.0, 3.0]).dot(&vector([0.5, -1.0])), -2.0);
    }
}
