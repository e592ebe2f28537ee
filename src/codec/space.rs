//! What vectors are to a codec: their [`Space`], and a [`Query`] in the forms that kernels take.

use std::sync::OnceLock;

use zerocopy::IntoBytes;

use crate::bytes::{AlignedBytes, view};
use crate::codec::convert::{inverse, narrow, squared_norm_of, whole_query};
use crate::codec::rounded::Rounding;
use crate::kernel::Isa;
use crate::types::{Metric, VectorType};

/// How the vectors of a collection are laid out and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) dimension: usize,
    pub(crate) vector_type: VectorType,
    pub(crate) metric: Metric,
    pub(crate) stage: Stage,
}

/// On the way to segments, where rows stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// They are as they were given, and stay so.
    #[default]
    Given,
    /// They are as they were given, and will be rounded.
    Rounding,
    /// They are rounded ones; see [`rounded`](super::rounded).
    Rounded,
}

impl Space {
    /// That of the rows of segments.
    pub(crate) fn kept(self) -> Self {
        if self.stage == Stage::Rounding { self.rounded() } else { self }
    }

    /// That of the same rows rounded.
    pub(crate) fn rounded(self) -> Self {
        Self { vector_type: VectorType::I8, stage: Stage::Rounded, ..self }
    }

    /// Whether its rows are rounded ones.
    pub(crate) fn is_rounded(self) -> bool {
        self.stage == Stage::Rounded
    }

    /// Bytes that a row has beside its vector: its scale, or its inverse norm.
    pub(crate) fn factor_bytes(self) -> usize {
        match self.metric {
            _ if self.is_rounded() => 2,
            Metric::Cosine => 4,
            _ => 0,
        }
    }

    /// Bytes from one stored row to the next.
    pub(crate) fn stride(self) -> usize {
        self.vector_type.stride(self.dimension)
    }

    /// Elements of a row as it is given: numbers, or bytes of eight bits.
    pub(crate) fn elements(self) -> usize {
        self.vector_type.row_elements(self.dimension)
    }

    /// Whether rows can be coded: bits are the smallest code there is.
    pub(crate) fn takes_codes(self) -> bool {
        self.vector_type != VectorType::B1
    }

    /// Elements of a row with its padding.
    fn lanes(self) -> usize {
        self.stride() / self.vector_type.row_bytes(1)
    }
}

/// A query made ready: its elements in the forms that the kernels take.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(super) space: Space,
    /// f32 elements, zero-padded like a row; of length 1 (or 0) for cosine. None of bits.
    pub(super) floats: AlignedBytes,
    /// The elements as bytes, padded like a row, where rows are bytes too and it is exact; bits
    /// always are.
    pub(super) whole: Option<AlignedBytes>,
    /// 1/‖query‖, what `whole` lacks to be of length 1 for cosine.
    pub(super) inverse_norm: f32,
    /// ‖query‖², for rounded rows.
    pub(super) square: f64,
    /// The query of the same rows rounded, made when it is first needed.
    rounded: OnceLock<Box<Self>>,
}

impl Query {
    /// Its elements, zero-padded like a row; of length 1 (or 0) for cosine.
    pub(super) fn floats(&self) -> &[f32] {
        view(self.floats.as_slice())
    }

    /// Takes the elements of one vector: finite numbers, for bits whole bytes (checked by
    /// [`prepare_query`] for those of a user).
    pub(crate) fn new(space: Space, values: &[f32]) -> Self {
        assert_eq!(values.len(), space.elements(), "a query has the shape of its space");
        let whole = if space.is_rounded() { None } else { whole_query(space, values) };
        let (square, rounded) = (0.0, OnceLock::new());
        if space.vector_type == VectorType::B1 {
            let floats = AlignedBytes::default();
            return Self { space, floats, whole, inverse_norm: 1.0, square, rounded };
        }
        let square = if space.is_rounded() { squared_norm_of(values) } else { square };
        let mut floats = AlignedBytes::zeroed(space.lanes() * size_of::<f32>());
        let mut inverse_norm = 1.0;
        let bytes = &mut floats.as_mut_slice()[..size_of_val(values)];
        if space.metric == Metric::Cosine {
            let norm = squared_norm_of(values).sqrt();
            inverse_norm = inverse(norm);
            let divisor = norm.max(f64::MIN_POSITIVE);
            for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = narrow(f64::from(*value) / divisor).to_le_bytes();
            }
        } else {
            bytes.copy_from_slice(values.as_bytes());
        }
        Self { space, floats, whole, inverse_norm, square, rounded }
    }

    /// The same query for rounded rows.
    pub(crate) fn rounded(&self, isa: Isa, rounding: &Rounding) -> &Self {
        self.rounded.get_or_init(|| {
            let rotated = rounding.rotated(isa, &self.floats()[..self.space.dimension]);
            Box::new(Self::new(self.space.rounded(), &rotated))
        })
    }
}
