//! Reproducible numbers without a pattern, for the tests of this floor and those above (xorshift64).

/// All bits of them.
pub(crate) fn bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// From -1 to 1.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut next = bits(seed);
    move || (next() >> 40) as f32 / (1 << 23) as f32 - 1.0
}
