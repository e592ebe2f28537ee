//! Product codes: rows in a few dozen bytes, whatever their dimension.
//!
//! A row, less the mean of all, is projected on the principal axes, those along which rows differ
//! most. The axes are shared out among subspaces, so that each has as much to tell, and in each the
//! nearest of its centroids, found by k-means, stands for the row. An axis that has more to tell than a
//! subspace can belongs to several, each of which codes what those before left. Axes along which rows
//! differ less than codes of that size can tell are left out.
//!
//! ```text
//! bytes   rows one after the other: a byte a subspace, the number of one of 256 centroids; factor,
//!         and for l2 square
//! halves  blocks of 32 rows, as one-bit codes have them: half a byte a subspace, the number of one of
//!         16 centroids; then the factor of each row, and for l2 the square
//! ```
//! Bytes tell more and are looked up row by row, in walks; halves are summed 32 rows at a time, in
//! scans. Centroids c, being means, are shorter than the rows x that they stand for, by more where
//! they fit less. Only their direction is believed, which finds far more of the nearest rows than
//! the distance from centroids does:
//!
//! ```text
//! ⟨x, q⟩ ≈ factor · ⟨c, q⟩              factor = ‖x‖ / ‖c‖, x relative to the mean
//! l2      ‖q‖² + square − 2⟨x, q⟩       square = ‖x‖², q relative to the mean
//! cosine  1 − ⟨mean, q⟩ − ⟨x, q⟩        rows and queries of length 1
//! dot     −⟨mean, q⟩ − ⟨x, q⟩
//! ```
//! ⟨c, q⟩ is a sum of lookups in a table of the query's products with the centroids, in whole steps of
//! one size: a sum of whole numbers, the same on every tier. Factor and square are bf16.
//!
//! Sources: Jégou, Douze and Schmid, "Product quantization for nearest neighbor search" (2011); Ge,
//! He, Ke and Sun, "Optimized product quantization" (2013), section 5, for sharing out the axes; Gao
//! and Long, "RaBitQ" (2024), for a factor a row.

use std::ops::Range;

use zerocopy::IntoBytes;

use self::encode::{Encode, EncodeBlocks};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows, Space};
use crate::codec::{STEPS, compared};
use crate::error::Result;
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, CODE_BYTES, Isa};
use crate::types::Metric;

mod axes;
mod crew;
mod encode;
mod kmeans;
mod query;
#[cfg(test)]
mod tests;
mod train;

pub(crate) use self::crew::Crew;
pub(crate) use self::query::{BlockQuery, ProductBlocks, ProductQuery, ProductRows, ProductSource};

/// What stands for a row in a subspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// A byte, in rows.
    Byte,
    /// Half a byte, in blocks of rows.
    Half,
}

/// Centroids that a byte and half a byte tell apart.
const BYTE: usize = 256;
const HALF: usize = 16;

impl Width {
    fn bits(self) -> usize {
        match self {
            Self::Byte => 8,
            Self::Half => 4,
        }
    }

    fn centroids(self) -> usize {
        1 << self.bits()
    }
}

/// How many rows may be compared exactly for every 16 that are wanted.
pub(crate) const COMPARED: [u8; STEPS] = [38, 80, 160, 240];
/// Most subspaces.
pub(crate) const MOST_SUBSPACES: usize = 1_024;
/// Above this dimension, the principal axes take too long to find.
pub(crate) const MOST_DIMENSION: usize = 4_096;
/// Most subspaces that an axis belongs to, on average: every axis to one, and as many more as there are
/// subspaces, two a dimension at most.
const MOST_TIMES: usize = 3;
const MAGIC: [u8; 8] = *b"NFCODE\0\0";
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 64;

/// Makes product codes and reads them.
#[derive(Clone, Debug)]
pub(crate) struct ProductCodec {
    space: Space,
    width: Width,
    mean: Vec<f32>,
    /// The axes of each subspace, those of one side by side.
    members: Vec<usize>,
    /// Where those of each subspace begin; behind the last, how many there are.
    starts: Vec<usize>,
    /// `space.dimension` elements an axis.
    axes: Vec<f32>,
    /// For each member, where the centroids of its subspace are along it.
    centroids: Vec<f32>,
    /// For every 16 rows wanted, how many of the nearest by code they are among.
    compared: u8,
}

impl ProductCodec {
    /// The codec of `bytes` bytes a row, or fewer where rows differ along fewer axes, for the first
    /// `count` of `rows`. `None` where that cannot be: too few rows to learn from, fewer dimensions
    /// than bytes or very many, rows that are all the same.
    ///
    /// # Errors
    /// `Cancelled` when the crew is told to stop.
    pub(crate) fn train<G: Guard>(
        crew: &Crew<'_>,
        (width, bytes): (Width, usize),
        space: Space,
        rows: Rows<'_, G>,
        count: usize,
    ) -> Result<Option<Self>> {
        let Some(subspaces) = train::subspaces(width, bytes, space, count) else {
            return Ok(None);
        };
        let mean = full::mean(space, rows, count);
        let sample = train::sample(space, rows, count, &mean);
        train::learn(crew, (width, subspaces), space, mean, sample)
    }

    /// What stands for a row in a subspace.
    pub(crate) fn width(&self) -> Width {
        self.width
    }

    fn subspace_count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes from one code row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.subspace_count() + factor_bytes(self.space)
    }

    /// Bytes of the numbers in a block.
    fn lookup_bytes(&self) -> usize {
        self.subspace_count().div_ceil(GROUPS) * CODE_BYTES
    }

    /// Bytes of a block of [`BLOCK_ROWS`] rows.
    pub(crate) fn block_bytes(&self) -> usize {
        self.lookup_bytes() + BLOCK_ROWS * factor_bytes(self.space)
    }

    /// Bytes of the blocks of `rows` rows.
    pub(crate) fn bytes(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK_ROWS).saturating_mul(self.block_bytes())
    }

    /// How many of the nearest by code the `k` nearest are among.
    pub(crate) fn compared(&self, k: usize) -> usize {
        compared(self.compared, k)
    }

    /// The same codec with one of [`COMPARED`] for how many are compared.
    pub(crate) fn comparing(self, compared: u8) -> Self {
        Self { compared, ..self }
    }

    /// How many axes rows are projected on.
    fn axis_count(&self) -> usize {
        self.axes.len() / self.space.dimension
    }

    /// The members of each subspace.
    fn subspaces(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.windows(2).map(|ends| ends[0]..ends[1])
    }

    /// Its parameters: a header, the mean, how many axes each subspace has and which, the axes and the
    /// centroids.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header().to_vec();
        bytes.extend_from_slice(self.mean.as_bytes());
        self.subspaces().for_each(|members| bytes.extend(word(members.len())));
        self.members.iter().for_each(|axis| bytes.extend(word(*axis)));
        bytes.extend_from_slice(self.axes.as_bytes());
        bytes.extend_from_slice(self.centroids.as_bytes());
        bytes
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12] = if self.width == Width::Byte { 8 } else { 4 };
        header[13] = self.compared;
        header[16..20].copy_from_slice(&word(self.space.dimension));
        header[20..24].copy_from_slice(&word(self.subspace_count()));
        header[24..28].copy_from_slice(&word(self.axis_count()));
        header[28..32].copy_from_slice(&word(self.members.len()));
        header
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` unless they are those of a codec of `space`.
    pub(crate) fn parse(bytes: &[u8], space: Space) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let width = match header[12] {
            8 => Width::Byte,
            4 => Width::Half,
            _ => return None,
        };
        let [subspaces, count, member_count] =
            [number(20)?, number(24)?, number(28)?].map(|number| number as usize);
        let dimension = space.dimension;
        let fits = space.takes_codes()
            && dimension <= MOST_DIMENSION
            && COMPARED.contains(&header[13])
            && (1..=MOST_SUBSPACES).contains(&subspaces)
            && (1..=dimension).contains(&count)
            && (subspaces.max(count)..=MOST_TIMES * dimension).contains(&member_count)
            && rest.len()
                == 4 * (dimension
                    + subspaces
                    + member_count
                    + count * dimension
                    + member_count * width.centroids());
        if !fits {
            return None;
        }
        let (mean, rest) = rest.split_at(4 * dimension);
        let (sizes, rest) = rest.split_at(4 * subspaces);
        let (members, floats_bytes) = rest.split_at(4 * member_count);
        let words = |bytes: &[u8]| -> Vec<usize> {
            bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word) as usize).collect()
        };
        let mut starts = vec![0_usize];
        for size in words(sizes) {
            let end = starts.last()?.checked_add(size);
            starts.push(end.filter(|end| *end <= member_count && size > 0)?);
        }
        let members = words(members);
        let floats = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
        };
        let (mean, floats) = (floats(mean), floats(floats_bytes));
        let (axes, centroids) = floats.split_at(count * dimension);
        let (axes, centroids) = (axes.to_vec(), centroids.to_vec());
        let fits = starts.last() == Some(&member_count)
            && members.iter().all(|axis| *axis < count)
            && mean.iter().chain(&floats).all(|value| value.is_finite());
        let compared = header[13];
        let codec = fits.then_some(Self {
            space,
            width,
            mean,
            members,
            starts,
            axes,
            centroids,
            compared,
        })?;
        // All other bytes of the header follow from these.
        (codec.header() == *header).then_some(codec)
    }

    /// Codes `range` of `rows` into `out`, [`stride`](Self::stride) bytes each.
    pub(crate) fn encode<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        range: Range<usize>,
        out: &mut [u8],
    ) {
        kernel::run(isa, Encode { codec: self, rows, range, out });
    }

    /// Codes the blocks in `blocks` of the first `count` of `rows` into `out`,
    /// [`block_bytes`](Self::block_bytes) each.
    pub(crate) fn encode_blocks<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        count: usize,
        blocks: Range<usize>,
        out: &mut [u8],
    ) {
        kernel::run(isa, EncodeBlocks { codec: self, rows, count, blocks, out });
    }

    /// A query made ready for blocks.
    pub(crate) fn block_query(&self, isa: Isa, query: &full::Query) -> BlockQuery {
        kernel::run(isa, query::PrepareBlocks { codec: self, query })
    }

    /// A query made ready for code rows.
    pub(crate) fn query(&self, isa: Isa, query: &full::Query) -> ProductQuery {
        kernel::run(isa, query::Prepare { codec: self, query })
    }
}

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

/// Bytes of a row's factor and, where it is needed, its square.
fn factor_bytes(space: Space) -> usize {
    if space.metric == Metric::L2 { 4 } else { 2 }
}

/// How many subspaces `bytes` bytes a row have room for; 0 where they have for none.
fn subspaces_in(bytes: usize, width: Width, space: Space) -> usize {
    let left = bytes.saturating_sub(factor_bytes(space));
    match width {
        Width::Byte => left,
        Width::Half => left * 2 / GROUPS * GROUPS,
    }
}

/// At most so many bytes are in memory of the codes of `count` rows, of `bytes` bytes each, and of their
/// parameters. `None` where there can be no such codes.
pub(crate) fn most_bytes(
    (width, bytes): (Width, usize),
    space: Space,
    count: usize,
) -> Option<usize> {
    let subspaces = train::subspaces(width, bytes, space, count)?;
    let dimension = space.dimension;
    let axes = train::most_axes(width, subspaces).min(dimension);
    let members = (axes + subspaces).min(MOST_TIMES * dimension);
    let numbers = dimension + subspaces + members + axes * dimension + members * width.centroids();
    let rows = if width == Width::Half { count.next_multiple_of(BLOCK_ROWS) } else { count };
    Some(rows.saturating_mul(bytes).saturating_add(HEADER_BYTES + 4 * numbers))
}

/// Subspaces of a block whose numbers lie together.
const GROUPS: usize = 4;
/// Elements summed in lanes of their own.
const LANES: usize = 16;

/// `Σ xᵢ · axisᵢ` for each axis, of as many elements as `x`, into `out`. Plain arithmetic in an order
/// of its own: the same bits on every tier.
#[inline(always)]
fn project(x: &[f32], axes: &[f32], out: &mut [f32]) {
    let length = x.len();
    let (fours, rest) = out.as_chunks_mut::<4>();
    let (axes_by_four, axes_rest) = axes.split_at(fours.len() * 4 * length);
    for (out, axes) in fours.iter_mut().zip(axes_by_four.chunks_exact(4 * length)) {
        let (low, high) = axes.split_at(2 * length);
        let ((a, b), (c, d)) = (low.split_at(length), high.split_at(length));
        *out = dots(x, [a, b, c, d]);
    }
    for (out, axis) in rest.iter_mut().zip(axes_rest.chunks_exact(length)) {
        [*out] = dots(x, [axis]);
    }
}

/// `Σ xᵢ · yᵢ` for each `y`, of as many elements as `x`.
#[inline(always)]
fn dots<const R: usize>(x: &[f32], ys: [&[f32]; R]) -> [f32; R] {
    let mut sums = [[0.0_f32; LANES]; R];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for (sums, y) in sums.iter_mut().zip(&ys) {
        let (_, y_rest) = y[..x.len()].as_chunks::<LANES>();
        for (sum, (x, y)) in sums.iter_mut().zip(rest.iter().zip(y_rest)) {
            *sum = x * y;
        }
    }
    let ys = ys.map(|y| y.as_chunks::<LANES>().0);
    for (at, x) in blocks.iter().enumerate() {
        for r in 0..R {
            let y = &ys[r][at];
            for lane in 0..LANES {
                sums[r][lane] += x[lane] * y[lane];
            }
        }
    }
    sums.map(|sums| sums.iter().sum())
}
