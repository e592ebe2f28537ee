//! Whether a segment without a graph is scanned by codes, of one bit an element or of few bytes: where
//! they find what comparing all rows finds, with less work, measured on its own rows.

use super::agreement::{self, Judged};
use super::coding::{self, LEAST_AGREEMENT, Wanted};
use super::room;
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::bits::{BitCodec, BitRows, LEAST_DIMENSION};
use crate::codec::blocks::BlockCodec;
use crate::codec::compared;
use crate::codec::full::{self, Query, Rows, Space};
use crate::codec::product::{self, Crew, ProductBlocks, ProductCodec, Width};
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, Asked, BitTarget};
use crate::index::flat;
use crate::index::product_scan;
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::{CodeChoice, Row};

/// From so many rows on, codes are made unasked: fewer are compared in less time than a search by
/// codes takes beside its scan.
const LEAST_ROWS: usize = 4_096;
/// Queries of the measurement, and most rows and bytes of vectors that it is made on.
const QUERIES: usize = 16;
const SAMPLE: usize = 1 << 13;
const SAMPLE_BYTES: usize = 16 << 20;
const K: usize = 10;
/// Rows compared at random places take so many times as long as rows compared one after the other.
const RANDOM_COST: usize = 12;

/// A codec and, in thousandths, how well scans by its codes agreed.
#[derive(Debug)]
pub(super) struct BlockCoding {
    pub(super) codec: BlockCodec,
    pub(super) agreement: u32,
}

/// The code to scan the first `count` of `rows` by; `None` when they should be compared as they are.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(super) fn choose<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    wanted: Wanted,
) -> Result<Option<BlockCoding>> {
    let choice = wanted.choice;
    // Whether memory is too little for the vectors, and for a bit an element.
    let tight = wanted.is_limited() && space.stride().saturating_mul(count) > wanted.room;
    let bits = BitCodec::most_bytes(space, count);
    if tight && bits > wanted.room {
        let below = bits.div_ceil(count.max(1));
        for bytes in room::sizes(Width::Half, space, count, wanted.room, below) {
            if let Some(coding) = choose_product(crew, space, rows, count, bytes)? {
                return Ok(Some(coding));
            }
        }
    }
    if let CodeChoice::Product { bytes } = choice
        && let Some(coding) = choose_product(crew, space, rows, count, usize::from(bytes))?
    {
        return Ok(Some(coding));
    }
    let forced = choice == CodeChoice::Bit;
    let enough = count >= if forced || tight { 1 } else { LEAST_ROWS };
    let wanted = enough
        && choice != CodeChoice::Full
        && space.takes_codes()
        && space.dimension >= LEAST_DIMENSION;
    if !wanted || !coding::fits(crew, space, rows, count)? {
        return Ok(None);
    }
    let codec = BitCodec::train(space, rows, count);
    let Measured { agreement, pays } = measure(crew.isa, &codec, space, rows, count);
    // A code that was asked for by name is taken.
    let taken = forced || (agreement >= LEAST_AGREEMENT && (pays || tight));
    Ok(taken.then_some(BlockCoding { codec: BlockCodec::Bits(codec), agreement }))
}

/// The product code of `bytes` bytes a row for the first `count` of `rows`; `None` where it does not
/// keep near rows near, or too many rows would be compared after it.
fn choose_product<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    bytes: usize,
) -> Result<Option<BlockCoding>> {
    if !space.takes_codes() || !coding::fits(crew, space, rows, count)? {
        return Ok(None);
    }
    let isa = crew.isa;
    let codec = ProductCodec::train(crew, (Width::Half, bytes), space, rows, count)?;
    let Some(codec) = codec else { return Ok(None) };
    let encode = |judged: &[Row]| {
        let (vectors, norms) = gather(space, rows, judged.iter().map(|row| *row as usize));
        let rows = Rows {
            vectors: Guarded::trusted(vectors.as_slice()),
            inverse_norms: Guarded::trusted(&norms),
        };
        let mut codes = AlignedBytes::zeroed(codec.bytes(judged.len()));
        let blocks = 0..codes.len() / codec.block_bytes();
        codec.encode_blocks(isa, rows, judged.len(), blocks, codes.as_mut_slice());
        codes
    };
    let score = |query: &Query, codes: &[u8], len: usize| {
        let blocks = ProductBlocks { codec: &codec, blocks: Guarded::trusted(codes) };
        product_scan::estimates(isa, query, blocks, len)
    };
    let steps = product::COMPARED.map(|step| compared(step, agreement::K));
    let judged = Judged { stride: bytes, steps, encode: &encode, score: &score };
    let agreements = agreement::agreements(crew, space, rows, count, judged)?;
    let (step, agreement) = coding::best_step(agreements);
    let good = agreement >= LEAST_AGREEMENT && product_scan::pays(steps[step], count);
    let codec = codec.comparing(product::COMPARED[step]);
    Ok(good.then_some(BlockCoding { codec: BlockCodec::Product(codec), agreement }))
}

/// Copies of some rows, and of their norms or scales.
fn gather<G: Guard>(
    space: Space,
    rows: Rows<'_, G>,
    wanted: impl ExactSizeIterator<Item = usize>,
) -> (AlignedBytes, Vec<u8>) {
    let (stride, factor) = (space.stride(), space.factor_bytes());
    let mut vectors = AlignedBytes::zeroed(wanted.len() * stride);
    let mut norms = Vec::new();
    for (row, out) in wanted.zip(vectors.as_mut_slice().chunks_exact_mut(stride)) {
        out.copy_from_slice(rows.vectors.get(row * stride, stride));
        norms.extend_from_slice(rows.inverse_norms.get(row * factor, factor));
    }
    (vectors, norms)
}

struct Measured {
    agreement: u32,
    pays: bool,
}

/// Scans a sample of the rows for the nearest to some of them, by codes and by comparing all.
fn measure<G: Guard>(
    isa: Isa,
    codec: &BitCodec,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
) -> Measured {
    let many = count.min(SAMPLE).min((SAMPLE_BYTES / space.stride()).max(2 * K));
    let (vectors, norms) = gather(space, rows, (0..many).map(|at| at * count / many));
    let rows = Rows {
        vectors: Guarded::trusted(vectors.as_slice()),
        inverse_norms: Guarded::trusted(&norms),
    };
    let mut codes = AlignedBytes::zeroed(codec.bytes(many));
    let blocks = 0..codes.len() / codec.block_bytes();
    codec.encode(isa, rows, many, blocks, codes.as_mut_slice());
    let bits = BitRows { codec, blocks: Guarded::trusted(codes.as_slice()) };
    let target = BitTarget { bits, rows, len: many };
    let mut floats = vec![0.0; space.dimension];
    let all = Row::try_from(many).unwrap_or(Row::MAX);
    let (mut wanted, mut found, mut work, mut queries) = (0, 0, 0, 0);
    for asker in (0..all).step_by(many.div_ceil(QUERIES).max(1)) {
        full::read_row(space, rows, asker as usize, &mut floats);
        let query = Query::new(space, &floats);
        // A row is always nearest to itself.
        let mut dead = RowSet::default();
        dead.insert(asker);
        let mut top = TopK::new(K, f32::INFINITY, many, &|a, b| a < b);
        flat::scan(isa, &query, rows, 0..all, &dead, &mut top);
        let exact = top.into_sorted();
        queries += 1;
        wanted += exact.len();
        let mut top = TopK::new(K, f32::INFINITY, many, &|a, b| a < b);
        let scanned = codec.query(isa, &query).map(|coded| {
            let mut asked = [Asked::new(&query, &coded, &mut top)];
            bit_scan::scan(isa, &mut asked, &target, &dead);
            asked[0].scanned
        });
        let Some(scanned) = scanned.filter(|scanned| scanned.decided) else {
            // All rows would be compared after all.
            found += exact.len();
            work += 2 * many;
            continue;
        };
        let worst = exact.last().map_or(0.0, |last| last.distance);
        found += top.into_sorted().iter().filter(|found| found.distance <= worst).count();
        work += usize::try_from(scanned.compared).unwrap_or(many).saturating_mul(RANDOM_COST);
    }
    let agreement = (found * 1000).checked_div(wanted).unwrap_or(1000).min(1000);
    Measured { agreement: u32::try_from(agreement).unwrap_or(0), pays: work <= queries * many }
}
