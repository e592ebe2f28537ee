//! What codes take in memory, and which of them fit.
//!
//! Bounds from shapes alone, known before anything is learnt: parameters count as much as they can.

use crate::codec::bits::{BitCodec, LEAST_DIMENSION};
use crate::codec::codes::CodeKind;
use crate::codec::full::Space;
use crate::codec::product::{self, Width};

/// Bytes a row of the product codes that are tried.
const SIZES: [usize; 10] = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256];
/// Of the parameters of other codes: a header, and an element more than rows have.
const HEADER_BYTES: usize = 64;

/// Bytes of codes of levels of `count` rows, and of their parameters.
pub(super) fn of_levels(kind: CodeKind, space: Space, count: usize) -> usize {
    let parameters = HEADER_BYTES + 4 * (space.dimension + 1);
    kind.stride(space).saturating_mul(count).saturating_add(parameters)
}

/// Sizes of product codes of fewer than `below` bytes a row, in the order in which they are tried for `count`
/// rows: the largest that fits into `room`, then larger ones, since a smaller one keeps near rows near no
/// better.
pub(super) fn sizes(
    width: Width,
    space: Space,
    count: usize,
    room: usize,
    below: usize,
) -> Vec<usize> {
    let most = |bytes: usize| product::most_bytes((width, bytes), space, count);
    let there = SIZES.iter().filter(|bytes| **bytes < below && most(**bytes).is_some());
    let there: Vec<usize> = there.copied().collect();
    let fit = there.iter().filter(|bytes| most(**bytes).is_some_and(|most| most <= room)).count();
    there[fit.saturating_sub(1)..].to_vec()
}

/// The fewest bytes in which codes of `count` rows, or the rows where these are smaller, can be.
pub(super) fn least(space: Space, count: usize, graph: bool) -> usize {
    let width = if graph { Width::Byte } else { Width::Half };
    let product = product::most_bytes((width, SIZES[0]), space, count);
    let wide = match graph {
        _ if !space.takes_codes() => None,
        true => Some(of_levels(CodeKind::Half, space, count)),
        false => (space.dimension >= LEAST_DIMENSION).then(|| BitCodec::most_bytes(space, count)),
    };
    let rows = space.stride().saturating_mul(count);
    product.into_iter().chain(wide).fold(rows, usize::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::full::Stage;
    use crate::types::{Metric, VectorType};

    fn space(dimension: usize) -> Space {
        let (vector_type, metric) = (VectorType::F32, Metric::Cosine);
        Space { dimension, vector_type, metric, stage: Stage::Given }
    }

    #[test]
    fn the_largest_size_that_fits_comes_first_and_then_larger_ones() {
        let sizes = |dimension, count, room| {
            sizes(Width::Byte, space(dimension), count, room, dimension / 2)
        };
        assert_eq!(sizes(384, 100_000, 100_000 * 70 + (1 << 20)), [64, 96, 128]);
        assert_eq!(sizes(384, 100_000, usize::MAX), [128]);
        assert_eq!(sizes(384, 100_000, 0), [8, 16, 24, 32, 48, 64, 96, 128]);
        assert_eq!(sizes(384, 2_047, usize::MAX), [0_usize; 0], "too few to learn from");
        assert_eq!(sizes(16, 100_000, usize::MAX), [0_usize; 0], "half a byte is as little");
    }

    #[test]
    fn the_least_is_never_more_than_what_any_code_takes() {
        for dimension in [1, 31, 64, 384, 5_000] {
            for count in [0, 1, 2_047, 2_048, 100_000] {
                let space = space(dimension);
                for graph in [true, false] {
                    let least = least(space, count, graph);
                    assert!(least <= space.stride() * count, "{dimension} × {count}");
                }
                let walk = least(space, count, true);
                assert!(walk <= of_levels(CodeKind::Half, space, count));
            }
        }
        assert!(least(space(384), 100_000, true) < 100_000 * 10);
    }
}
