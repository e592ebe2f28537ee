//! Which code leads the walks of a segment: the smallest that keeps near rows near, measured on its
//! own rows.

use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::codes::{CodeKind, CodeRows, Codec, CodedSource};
use crate::codec::full::{self, Query, Rows, Space};
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::kernel::Isa;
use crate::types::{CodeChoice, Metric, Row, VectorType};

/// From this dimension on, four bits an element are tried first: below, rows are so short that
/// their bytes no longer matter.
const HALF_DIMENSION: usize = 200;
/// Rows and queries of the measurement.
const SAMPLE: usize = 8_192;
const QUERIES: usize = 24;
const K: usize = 10;
/// Of a thousand near rows, how many must be among those that a search compares exactly.
const LEAST_AGREEMENT: u32 = 970;
/// Squared lengths beyond these do not fit the sums of a code.
const LONGEST: f64 = 1e30;
const SHORTEST: f64 = 1e-20;

/// A codec and, in thousandths, how well it agreed.
#[derive(Debug)]
pub(super) struct Coding {
    pub(super) codec: Codec,
    pub(super) agreement: u32,
}

/// The code for the first `count` of `rows`; `None` when full vectors should lead.
pub(super) fn choose<G: Guard>(
    isa: Isa,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    choice: CodeChoice,
) -> Option<Coding> {
    let tried: &[CodeKind] = match choice {
        CodeChoice::Full => &[],
        CodeChoice::Byte => &[CodeKind::Byte],
        CodeChoice::Half => &[CodeKind::Half],
        // Bytes are as small as the code would be, and exact.
        CodeChoice::Auto if space.vector_type == VectorType::U8 => {
            if space.dimension < HALF_DIMENSION { &[] } else { &[CodeKind::Half] }
        }
        CodeChoice::Auto if space.dimension < HALF_DIMENSION => &[CodeKind::Byte],
        CodeChoice::Auto => &[CodeKind::Half, CodeKind::Byte],
    };
    if tried.is_empty() || !fits(space, rows, count) {
        return None;
    }
    let mut best: Option<Coding> = None;
    for kind in tried {
        let codec = Codec::train(*kind, space, rows, count);
        let agreement = agreement(isa, &codec, space, rows, count);
        if agreement >= LEAST_AGREEMENT {
            return Some(Coding { codec, agreement });
        }
        if best.as_ref().is_none_or(|best| best.agreement < agreement) {
            best = Some(Coding { codec, agreement });
        }
    }
    // A code that was asked for by name is taken, unless it tells nothing.
    best.filter(|best| choice != CodeChoice::Auto && best.agreement > 0)
}

/// Whether squared lengths are of a size that sums in f32 can hold.
fn fits<G: Guard>(space: Space, rows: Rows<'_, G>, count: usize) -> bool {
    if space.metric == Metric::Cosine {
        return true;
    }
    let mut floats = vec![0.0; space.dimension];
    let longest = (0..count).map(|row| {
        full::read_row(space, rows, row, &mut floats);
        floats.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>()
    });
    (SHORTEST..=LONGEST).contains(&longest.fold(0.0, f64::max))
}

/// Of the [`K`] rows nearest to a row among a sample, how many in a thousand are among those that
/// a search would compare exactly.
fn agreement<G: Guard>(
    isa: Isa,
    codec: &Codec,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
) -> u32 {
    let sample: Vec<Row> = (0..count)
        .step_by(count.div_ceil(SAMPLE).max(1))
        .filter_map(|row| Row::try_from(row).ok())
        .collect();
    let stride = codec.stride();
    let mut codes = AlignedBytes::zeroed(sample.len() * stride);
    for (row, out) in sample.iter().zip(codes.as_mut_slice().chunks_exact_mut(stride)) {
        codec.encode(isa, rows, *row as usize..*row as usize + 1, out);
    }
    let code_rows = CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) };
    let mut floats = vec![0.0; space.dimension];
    let mut exact = vec![0.0; sample.len()];
    let mut coded = vec![0.0; sample.len()];
    let (mut wanted, mut found) = (0_usize, 0_usize);
    for at in (0..sample.len()).step_by(sample.len().div_ceil(QUERIES).max(1)) {
        full::read_row(space, rows, sample[at] as usize, &mut floats);
        let query = Query::new(space, &floats);
        full::score_rows(isa, &query, rows, &sample, &mut exact);
        let source = CodedSource { rows: code_rows, query: &codec.query(isa, &query) };
        source.run(isa, All(&mut coded));
        let mut order: Vec<usize> = (0..sample.len()).collect();
        order.sort_by(|a, b| coded[*a].total_cmp(&coded[*b]));
        let mut sorted = exact.clone();
        sorted.sort_by(f32::total_cmp);
        let k = K.min(sample.len());
        let Some(worst) = k.checked_sub(1).map(|last| sorted[last]) else { break };
        let compared = order.iter().take(codec.reranked(K));
        wanted += k;
        found += compared.filter(|row| exact[**row] <= worst).count().min(k);
    }
    u32::try_from(found * 1000 / wanted.max(1)).unwrap_or(0)
}

/// Scores every row.
struct All<'a>(&'a mut [f32]);

impl ScorerOp for All<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        scorer.score_run(0, self.0);
    }
}
