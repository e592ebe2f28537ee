//! Between the user's numbers and stored rows: checks, rounding, norms.
//!
//! Every element is checked to be finite here, once, so that nothing below meets a NaN.

use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bytes::{AlignedBytes, Guard, view};
use crate::codec::full::{Query, Rows, Space};
use crate::error::{Error, Result};
use crate::kernel::{self, Element, Isa, Kernel};
use crate::types::{Metric, VectorType, Vectors};

const FINITE: &str = "only finite numbers can be stored and compared";
const FITS_F16: &str =
    "vectors kept as f16 take numbers between -65504 and 65504; scale them, or keep them as f32";
const FITS_BF16: &str = "vectors stored as bf16 take numbers between -3.38e38 and 3.38e38";
const FITS_I8: &str = "vectors stored as i8 take whole numbers from -128 to 127";
const FITS_B1: &str = "vectors of bits (b1) are bytes of eight bits, whole numbers from 0 to 255";
const NO_SUCH_BIT: &str =
    "the last byte holds bits beyond the dimension, which must be 0 (numpy.packbits fills so)";
const FITS_U8: &str = "vectors stored as u8 take whole numbers from 0 to 255";

/// [`encode_rows_into`] memory of its own.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode_rows(
    space: Space,
    vectors: &Vectors<'_>,
    rows: usize,
) -> Result<(AlignedBytes, Vec<f32>)> {
    encode_rows_into(space, vectors, rows, AlignedBytes::zeroed)
}

/// Converts the row-major `vectors` of `rows` rows to stored bytes: strided, padded with zeros;
/// and 1/‖x‖ of each stored row for cosine (empty for other metrics).
///
/// f32 becomes f16 or bf16 by rounding to nearest, ties to even; what overflows is refused, as is
/// anything but a whole number in range for u8 and i8. The other conversions are exact. Written into
/// memory of any content that `allocate` gives for its length.
pub(crate) fn encode_rows_into(
    space: Space,
    vectors: &Vectors<'_>,
    rows: usize,
    allocate: impl FnOnce(usize) -> AlignedBytes,
) -> Result<(AlignedBytes, Vec<f32>)> {
    check_length(space, vectors, rows)?;
    let stride = space.stride();
    let row_bytes = space.vector_type.row_bytes(space.dimension);
    let total = stride.checked_mul(rows).ok_or_else(|| {
        Error::invalid(format!("{rows} rows of {stride} bytes are too many; split the batch"))
    })?;
    let mut bytes = allocate(total);
    let mut inverse_norms = Vec::new();
    for (row, out) in bytes.as_mut_slice().chunks_exact_mut(stride).enumerate() {
        encode_row(space, vectors, row, &mut out[..row_bytes])?;
        out[row_bytes..].fill(0);
        let unchecked = space.vector_type == VectorType::F32;
        if !unchecked && space.metric != Metric::Cosine {
            continue;
        }
        let square = squared_norm(space, out);
        // In f64 no square or sum of finite f32 overflows.
        if unchecked && !square.is_finite() {
            check_finite(view(&out[..row_bytes]), row)?;
        }
        if space.metric == Metric::Cosine {
            inverse_norms.push(inverse(square.sqrt()));
        }
    }
    Ok((bytes, inverse_norms))
}

/// Stored rows from unpadded elements, as a log keeps them; `None` when one of them is not finite
/// or a bit lies beyond the dimension. Also their inverse norms, as [`encode_rows_into`].
pub(crate) fn pack_rows(space: Space, elements: &[u8]) -> Option<(AlignedBytes, Vec<f32>)> {
    let (stride, row_bytes) = (space.stride(), space.vector_type.row_bytes(space.dimension));
    let rows = elements.len() / row_bytes;
    let mut bytes = AlignedBytes::zeroed(stride.checked_mul(rows)?);
    let mut inverse_norms = Vec::new();
    let stored = bytes.as_mut_slice().chunks_exact_mut(stride);
    for (elements, out) in elements.chunks_exact(row_bytes).zip(stored) {
        out[..row_bytes].copy_from_slice(elements);
        let good = match space.vector_type {
            VectorType::F16 => view::<f16>(&out[..row_bytes]).iter().all(|x| x.is_finite()),
            VectorType::Bf16 => view::<bf16>(&out[..row_bytes]).iter().all(|x| x.is_finite()),
            VectorType::F32 => squared_norm(space, out).is_finite(),
            VectorType::B1 => has_padding_clear(space, elements),
            VectorType::I8 | VectorType::U8 => true,
        };
        if !good {
            return None;
        }
        if space.metric == Metric::Cosine {
            inverse_norms.push(inverse_norm(space, out));
        }
    }
    Some((bytes, inverse_norms))
}

/// The elements of stored rows, row-major, in their stored type.
pub(crate) fn unpack_rows(space: Space, rows: &[&[u8]]) -> Vectors<'static> {
    let row_bytes = space.vector_type.row_bytes(space.dimension);
    fn collect<T: FromBytes + Immutable + Copy>(rows: &[&[u8]], row_bytes: usize) -> Vec<T> {
        rows.iter().flat_map(|row| view::<T>(&row[..row_bytes])).copied().collect()
    }
    match space.vector_type {
        VectorType::F32 => collect::<f32>(rows, row_bytes).into(),
        VectorType::F16 => collect::<f16>(rows, row_bytes).into(),
        VectorType::Bf16 => collect::<bf16>(rows, row_bytes).into(),
        VectorType::I8 => collect::<i8>(rows, row_bytes).into(),
        VectorType::U8 | VectorType::B1 => collect::<u8>(rows, row_bytes).into(),
    }
}

/// Queries from row-major vectors. Any finite numbers may ask, whatever the stored type.
pub(crate) fn prepare_query(space: Space, vectors: &Vectors<'_>) -> Result<Vec<Query>> {
    if vectors.is_empty() {
        return Ok(Vec::new());
    }
    let elements = space.elements();
    let rows = (vectors.len() / elements).max(1);
    check_length(space, vectors, rows)?;
    (0..rows)
        .map(|row| {
            let values = vectors.to_f32(row * elements..(row + 1) * elements);
            if space.vector_type == VectorType::B1 {
                check_bits(space, &values, row)?;
            } else {
                check_finite(&values, row)?;
            }
            Ok(Query::new(space, &values))
        })
        .collect()
}

/// 1/‖x‖ of a stored row, 0 for a zero vector; accumulated in f64. Held at `f32::MAX` for vectors
/// so short that it would overflow.
pub(crate) fn inverse_norm(space: Space, row: &[u8]) -> f32 {
    inverse(squared_norm(space, row).sqrt())
}

/// 1/x as f32: 0 for 0, at most `f32::MAX`.
pub(super) fn inverse(x: f64) -> f32 {
    if x == 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
    let inverse = (1.0 / x) as f32;
    inverse.min(f32::MAX)
}

/// The elements of a query as bytes like those of a row, when they are nothing else; of bits always.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(super) fn whole_query(space: Space, values: &[f32]) -> Option<AlignedBytes> {
    let byte = |value: f32| (value as u8, f32::from(value as u8));
    let signed = |value: f32| ((value as i8).cast_unsigned(), f32::from(value as i8));
    match space.vector_type {
        VectorType::U8 => whole_bytes(space, values, byte),
        VectorType::I8 => whole_bytes(space, values, signed),
        VectorType::B1 => whole_bytes(space, values, |value| (to_byte(value).unwrap_or(0), value)),
        VectorType::F32 | VectorType::F16 | VectorType::Bf16 => None,
    }
}

/// `to_byte` gives a byte and what it says.
fn whole_bytes(
    space: Space,
    values: &[f32],
    to_byte: impl Fn(f32) -> (u8, f32),
) -> Option<AlignedBytes> {
    let mut bytes = AlignedBytes::zeroed(space.stride());
    let mut exact = true;
    // Without a branch a number, so that it is one vectorised pass.
    for (byte, value) in bytes.as_mut_slice().iter_mut().zip(values) {
        let (nearest, says) = to_byte(*value);
        *byte = nearest;
        exact &= says == *value;
    }
    exact.then_some(bytes)
}

/// ‖x‖², accumulated in f64.
pub(super) fn squared_norm_of(values: &[f32]) -> f64 {
    kernel::run(Isa::detect(), SquaredNorm(values))
}

/// ‖x‖² of a stored row, accumulated in f64; of bits how many are set.
pub(super) fn squared_norm(space: Space, row: &[u8]) -> f64 {
    let isa = Isa::detect();
    match space.vector_type {
        VectorType::F16 => kernel::run(isa, SquaredNorm(view::<f16>(row))),
        VectorType::Bf16 => kernel::run(isa, SquaredNorm(view::<bf16>(row))),
        VectorType::I8 => kernel::run(isa, SquaredNorm(view::<i8>(row))),
        VectorType::U8 => kernel::run(isa, SquaredNorm(row)),
        VectorType::F32 => kernel::run(isa, SquaredNorm(view::<f32>(row))),
        VectorType::B1 => row.iter().map(|byte| f64::from(byte.count_ones())).sum(),
    }
}

/// A number as a byte, when it is one.
pub(super) fn to_byte(value: f32) -> Option<u8> {
    if !(0.0..=255.0).contains(&value) || value.fract() != 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number from 0 to 255"
    )]
    let byte = value as u8;
    Some(byte)
}

/// A number as the bits of a signed byte, when it is one.
pub(super) fn to_signed_byte(value: f32) -> Option<u8> {
    if !(-128.0..=127.0).contains(&value) || value.fract() != 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number in range")]
    let byte = value as i8;
    Some(byte.cast_unsigned())
}

/// Row `row` as numbers, a bit as 0 or 1; of length 1 (or 0) for cosine.
pub(crate) fn read_row<G: Guard>(space: Space, rows: Rows<'_, G>, row: usize, out: &mut [f32]) {
    let stride = space.stride();
    let bytes = rows.vectors.get(row * stride, stride);
    match space.vector_type {
        VectorType::F16 => widen(view::<f16>(bytes), out, f16::to_f32),
        VectorType::Bf16 => widen(view::<bf16>(bytes), out, bf16::to_f32),
        VectorType::I8 => widen(view::<i8>(bytes), out, f32::from),
        VectorType::U8 => widen(bytes, out, f32::from),
        VectorType::F32 => widen(view::<f32>(bytes), out, |x| x),
        VectorType::B1 => {
            for (out, byte) in out.chunks_mut(8).zip(bytes) {
                for (place, bit) in out.iter_mut().enumerate() {
                    *bit = f32::from(byte >> (7 - place) & 1);
                }
            }
        }
    }
    match (space.metric, space.is_rounded()) {
        (Metric::Cosine, true) => {
            let inverse = inverse(squared_norm(space, bytes).sqrt());
            out.iter_mut().for_each(|x| *x *= inverse);
        }
        (Metric::Cosine, false) => {
            let scale = f32::from_bits(rows.inverse_norms.u32_at(row));
            // Held at the largest, it is not that of the row.
            let norm = (scale == f32::MAX).then(|| squared_norm_of(out).sqrt());
            let divided = |x: f32, norm: f64| narrow(f64::from(x) / norm.max(f64::MIN_POSITIVE));
            out.iter_mut().for_each(|x| *x = norm.map_or(*x * scale, |norm| divided(*x, norm)));
        }
        (_, true) => {
            let scale = rows.scale(row);
            out.iter_mut().for_each(|x| *x *= scale);
        }
        (_, false) => {}
    }
}

#[inline(always)]
pub(super) fn narrow(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
    let narrow = value as f32;
    narrow
}

fn check_length(space: Space, vectors: &Vectors<'_>, rows: usize) -> Result<()> {
    let (len, expected) = (vectors.len(), space.elements());
    if rows.checked_mul(expected) == Some(len) {
        return Ok(());
    }
    let (row, given) = match len.checked_div(rows) {
        Some(given) if given * rows == len => (0, given),
        _ => {
            let row = (len / expected).min(rows.saturating_sub(1));
            (row, len - row * expected)
        }
    };
    Err(wrong_length(space, vectors.element_type(), row, given))
}

/// The refusal of a vector of `given` elements.
pub(crate) fn wrong_length(space: Space, element: VectorType, row: usize, given: usize) -> Error {
    let (bits, expected) = (space.vector_type == VectorType::B1, space.dimension);
    if bits && (element != VectorType::U8 || given == expected) {
        return Error::invalid(format!(
            "vector at row {row} has {given} elements of {element}; a vector of {expected} bits \
             (b1) is {} bytes (u8), eight bits to a byte, the first in the highest place: \
             numpy.packbits packs so",
            space.elements()
        ));
    }
    let given = if bits { given.saturating_mul(8) } else { given };
    Error::DimensionMismatch { expected, given, row }
}

/// Whether the bits of the last byte that belong to no dimension are zero.
fn has_padding_clear(space: Space, bits: &[u8]) -> bool {
    let used = space.dimension % 8;
    used == 0 || bits.last().is_none_or(|last| last & (0xFF >> used) == 0)
}

fn check_bits(space: Space, values: &[f32], row: usize) -> Result<()> {
    let invalid = |byte: usize, expected| {
        Err(Error::InvalidVector { row, column: 8 * byte, value: values[byte], expected })
    };
    if let Some(byte) = values.iter().position(|value| to_byte(*value).is_none()) {
        return invalid(byte, FITS_B1);
    }
    let last = values.last().and_then(|last| to_byte(*last));
    if !has_padding_clear(space, last.as_slice()) {
        return invalid(values.len() - 1, NO_SUCH_BIT);
    }
    Ok(())
}

fn check_finite(values: &[f32], row: usize) -> Result<()> {
    // Without a branch a number, so that the usual case is one vectorised pass.
    let all = values.iter().fold(true, |all, x| all & x.is_finite());
    if all {
        return Ok(());
    }
    let column = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
    Err(Error::InvalidVector { row, column, value: values[column], expected: FINITE })
}

/// Row `row` of `vectors` into `out`, `dimension` elements long. Whether elements stored as f32
/// are finite is left to the caller.
fn encode_row(space: Space, vectors: &Vectors<'_>, row: usize, out: &mut [u8]) -> Result<()> {
    let range = row * space.elements()..(row + 1) * space.elements();
    let not_finite =
        |column, value: f32| Err(Error::InvalidVector { row, column, value, expected: FINITE });
    match (vectors, space.vector_type) {
        (Vectors::F32(all), VectorType::F32) => out.copy_from_slice(all[range].as_bytes()),
        (Vectors::F16(all), VectorType::F16) => {
            let values = &all[range];
            if let Some(column) = values.iter().position(|x| !x.is_finite()) {
                return not_finite(column, values[column].to_f32());
            }
            out.copy_from_slice(values.as_bytes());
        }
        (Vectors::Bf16(all), VectorType::Bf16) => {
            let values = &all[range];
            if let Some(column) = values.iter().position(|x| !x.is_finite()) {
                return not_finite(column, values[column].to_f32());
            }
            out.copy_from_slice(values.as_bytes());
        }
        (Vectors::I8(all), VectorType::I8) => out.copy_from_slice(all[range].as_bytes()),
        (Vectors::U8(all), VectorType::U8) => out.copy_from_slice(&all[range]),
        (Vectors::U8(all), VectorType::B1) => {
            let bits = &all[range];
            if let (false, Some(last)) = (has_padding_clear(space, bits), bits.last()) {
                return Err(Error::InvalidVector {
                    row,
                    column: 8 * (bits.len() - 1),
                    value: f32::from(*last),
                    expected: NO_SUCH_BIT,
                });
            }
            out.copy_from_slice(bits);
        }
        (_, VectorType::B1) => {
            let values = vectors.to_f32(range);
            check_bits(space, &values, row)?;
            for (out, value) in out.iter_mut().zip(values) {
                *out = to_byte(value).unwrap_or(0);
            }
        }
        (Vectors::F32(all), _) => encode_values(space, all[range].iter().copied(), row, out)?,
        (Vectors::F16(all), _) => {
            encode_values(space, all[range].iter().map(|x| x.to_f32()), row, out)?;
        }
        (Vectors::Bf16(all), _) => {
            encode_values(space, all[range].iter().map(|x| x.to_f32()), row, out)?;
        }
        (Vectors::I8(all), _) => {
            encode_values(space, all[range].iter().map(|&x| f32::from(x)), row, out)?;
        }
        (Vectors::U8(all), _) => {
            encode_values(space, all[range].iter().map(|&x| f32::from(x)), row, out)?;
        }
    }
    Ok(())
}

/// Converts and stores number by number.
fn encode_values(
    space: Space,
    values: impl Iterator<Item = f32>,
    row: usize,
    out: &mut [u8],
) -> Result<()> {
    let size = space.vector_type.row_bytes(1);
    for (column, (value, out)) in values.zip(out.chunks_exact_mut(size)).enumerate() {
        let invalid = |expected| Err(Error::InvalidVector { row, column, value, expected });
        if !value.is_finite() {
            return invalid(FINITE);
        }
        match space.vector_type {
            VectorType::F16 => {
                let half = f16::from_f32(value);
                if !half.is_finite() {
                    return invalid(FITS_F16);
                }
                out.copy_from_slice(&half.to_le_bytes());
            }
            VectorType::Bf16 => {
                let half = bf16::from_f32(value);
                if !half.is_finite() {
                    return invalid(FITS_BF16);
                }
                out.copy_from_slice(&half.to_le_bytes());
            }
            VectorType::I8 => match to_signed_byte(value) {
                Some(byte) => out[0] = byte,
                None => return invalid(FITS_I8),
            },
            // Bits come here only as bytes, checked before.
            VectorType::U8 | VectorType::B1 => match to_byte(value) {
                Some(byte) => out[0] = byte,
                None => return invalid(FITS_U8),
            },
            VectorType::F32 => out.copy_from_slice(&value.to_le_bytes()),
        }
    }
    Ok(())
}

fn widen<T: Copy>(values: &[T], out: &mut [f32], to_f32: impl Fn(T) -> f32) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = to_f32(value);
    }
}

/// ‖x‖² of one row of elements, accumulated in f64; the same bits on every tier.
struct SquaredNorm<'a, E>(&'a [E]);

impl<E: Element> kernel::Op for SquaredNorm<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<K: Kernel>(self, _: K) -> f64 {
        // Eight sums, so that the additions do not wait for each other.
        let mut sums = [0.0_f64; 8];
        let (blocks, rest) = self.0.as_chunks::<8>();
        for block in blocks {
            for lane in 0..8 {
                let value = f64::from(block[lane].to_f32());
                sums[lane] += value * value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            let value = f64::from(value.to_f32());
            *sum += value * value;
        }
        sums.iter().sum()
    }
}
