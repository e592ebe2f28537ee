//! Factor and squared length of a code row, in the lowest bits of its last 32 bytes, so that a row
//! takes whole cache lines and nothing beside them.
//!
//! ```text
//! 32 bits: factor (17: those of an f32 below its sign) · square / factor² (15: 5 of exponent, from
//!          2⁴ on, and 10 of mantissa), the first of the 32 bytes in the lowest bit
//! ```
//! A level whose lowest bit is given is the nearest one that has it, so that what is lost is one
//! bit of 32 elements.

/// Bytes of a row whose lowest bits are taken.
pub(super) const CARRIERS: usize = 32;

/// Bits of `square / factor²`, those of them that are mantissa, and what their exponents start at.
const RATIO_BITS: u32 = 15;
const RATIO_MANTISSA: u32 = 10;
const LEAST_RATIO: u32 = (127 + 4) << 23;
/// The mantissa of an f32, and what is kept of it in a factor.
const MANTISSA: u32 = 23;
const FACTOR_CUT: u32 = 31 - (32 - RATIO_BITS);

/// The largest ratio of square to factor², short of the next power of two.
pub(super) const MOST_RATIO: f32 = 6.8e10;

/// A factor as it is kept. They count upwards like the floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Factor(u32);

impl Factor {
    const MOST: u32 = (f32::MAX.to_bits()) >> FACTOR_CUT;
    /// The smallest normal number; what is below counts as 0.
    const LEAST: u32 = f32::MIN_POSITIVE.to_bits() >> FACTOR_CUT;

    /// The nearest one to a number that is not negative; the largest for infinity and NaN.
    pub(super) fn nearest(value: f32) -> Self {
        Self((value.to_bits() + (1 << (FACTOR_CUT - 1))) >> FACTOR_CUT).checked()
    }

    /// The first one at or above a number that is not negative; the largest for infinity and NaN.
    pub(super) fn above(value: f32) -> Self {
        Self(value.to_bits().div_ceil(1 << FACTOR_CUT)).checked()
    }

    fn checked(self) -> Self {
        if self.0 < Self::LEAST { Self(0) } else { Self(self.0.min(Self::MOST)) }
    }

    /// The one `steps` further.
    pub(super) fn step(self, steps: i32) -> Self {
        Self(self.0.saturating_add_signed(steps)).checked()
    }

    pub(super) fn value(self) -> f32 {
        f32::from_bits(self.0 << FACTOR_CUT)
    }

    /// The bits of this factor and the nearest to a square, which is not negative.
    pub(super) fn with_square(self, square: f32) -> u32 {
        let factor = f64::from(self.value());
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest float")]
        let ratio = (f64::from(square) / (factor * factor)) as f32;
        let most = (1 << RATIO_BITS) - 1;
        // NaN, of nothing by nothing, is the least.
        let above = ratio.max(f32::from_bits(LEAST_RATIO)).to_bits() - LEAST_RATIO;
        let cut = MANTISSA - RATIO_MANTISSA;
        let ratio = ((above + (1 << (cut - 1))) >> cut).min(most);
        self.0 << RATIO_BITS | ratio
    }
}

/// Factor and square of the bits of a row.
#[inline(always)]
pub(super) fn unpack(bits: u32) -> [f32; 2] {
    let factor = f32::from_bits((bits >> RATIO_BITS) << FACTOR_CUT);
    let ratio = (bits & ((1 << RATIO_BITS) - 1)) << (MANTISSA - RATIO_MANTISSA);
    let ratio = f32::from_bits(ratio + LEAST_RATIO);
    [factor, (factor * ratio) * factor]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_squares_come_back_nearly() {
        for exponent in -37..38 {
            for mantissa in [1.0, 1.37, 1.999_999, 3.2, 9.99] {
                let value = mantissa * 10.0_f32.powi(exponent);
                let factor = Factor::nearest(value);
                assert!((factor.value() / value - 1.0).abs() <= 1.0 / 1024.0, "{value}");
                assert!(Factor::above(value).value() >= value, "{value}");
                assert!(Factor::above(value).value() <= value * (1.0 + 1.0 / 512.0), "{value}");
                for ratio in [16.0, 127.0, 12_345.0, 1e6, 4e9, MOST_RATIO] {
                    let square = factor.value() * ratio * factor.value();
                    if square.is_finite() && square > 1e-30 {
                        let [back, again] = unpack(factor.with_square(square));
                        assert_eq!(back, factor.value());
                        assert!((again / square - 1.0).abs() <= 1.0 / 2048.0, "{square} {again}");
                    }
                }
            }
        }
    }

    #[test]
    fn extremes_stay_numbers() {
        let nothing = unpack(Factor::nearest(0.0).with_square(0.0));
        assert_eq!(nothing, [0.0, 0.0]);
        assert_eq!(unpack(Factor::nearest(1e-40).with_square(0.0)), [0.0, 0.0]);
        for value in [f32::INFINITY, f32::NAN, f32::MAX] {
            let [factor, square] = unpack(Factor::nearest(value).with_square(f32::INFINITY));
            assert!(factor.is_finite() && factor > 3e38 && square == f32::INFINITY);
        }
    }
}
