//! Which code leads the walks of a segment: the smallest that keeps near rows near, measured on its
//! own rows.

use rayon::prelude::*;

use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::codes::{CodeKind, Codec};
use crate::codec::full::{self, Query, Rows, Space};
use crate::codec::product::{Crew, ProductCodec, Width};
use crate::codec::quantizer::{CodedSource, Quantizer};
use crate::codec::{QuerySource, STEPS, Scorer, ScorerOp};
use crate::error::{Error, Result};
use crate::index::flat;
use crate::index::topk::Candidate;
use crate::types::{CodeChoice, Metric, Row, VectorType};

/// From this dimension on, four bits an element are tried first: below, rows are so short that
/// their bytes no longer matter.
const HALF_DIMENSION: usize = 200;
/// No code takes less.
const LINE_BYTES: usize = 64;
/// Queries of the measurement, and the rows that each is judged on.
const QUERIES: usize = 32;
/// Fewer where each of them reads more than this.
const FEW_QUERIES: usize = 16;
const FEW_QUERIES_BYTES: usize = 512 << 20;
const NEAR: usize = 400;
const SAMPLE: usize = 2_048;
pub(super) const K: usize = 10;
/// Bytes of codes made for a query at a time.
const MEASURED_BYTES: usize = 16 << 20;
/// Rows that are looked at between two looks at whether to go on.
const PART: usize = 1 << 14;
/// Of a thousand near rows, how many must be among those that a search compares exactly.
pub(super) const LEAST_AGREEMENT: u32 = 970;
/// From this agreement on, no more rows are compared for a better one.
const GOOD_AGREEMENT: u32 = 995;
/// Squared lengths beyond these do not fit the sums of a code.
pub(super) const LONGEST: f64 = 1e30;
pub(super) const SHORTEST: f64 = 1e-20;

/// A quantizer and, in thousandths, how well it agreed.
#[derive(Debug)]
pub(crate) struct Coding {
    pub(crate) codec: Quantizer,
    pub(crate) agreement: u32,
}

/// The code for the first `count` of `rows`; `None` when full vectors should lead.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(crate) fn choose<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    choice: CodeChoice,
) -> Result<Option<Coding>> {
    let few_bytes = match choice {
        CodeChoice::Product { bytes } => Some(usize::from(bytes)),
        _ => None,
    };
    let tried = levels(space, choice);
    if (tried.is_empty() && few_bytes.is_none())
        || !space.takes_codes()
        || !fits(crew, space, rows, count)?
    {
        return Ok(None);
    }
    let product = match few_bytes {
        Some(bytes) => ProductCodec::train(crew, (Width::Byte, bytes), space, rows, count)?,
        None => None,
    };
    let levels =
        tried.iter().map(|kind| Quantizer::Levels(Codec::train(*kind, space, rows, count)));
    let mut best: Option<Coding> = None;
    for codec in product.map(Quantizer::Product).into_iter().chain(levels) {
        let coding = measured(crew, codec, space, rows, count)?;
        if coding.agreement >= LEAST_AGREEMENT {
            return Ok(Some(coding));
        }
        if best.as_ref().is_none_or(|best| best.agreement < coding.agreement) {
            best = Some(coding);
        }
    }
    // A code that was asked for by name is taken, unless it tells nothing. One of few bytes has wider
    // ones to make place for.
    let forced = matches!(choice, CodeChoice::Byte | CodeChoice::Half);
    Ok(best.filter(|best| forced && best.agreement > 0))
}

/// Which levels are tried, in this order.
fn levels(space: Space, choice: CodeChoice) -> &'static [CodeKind] {
    let low = space.dimension < HALF_DIMENSION;
    match choice {
        CodeChoice::Full => &[],
        CodeChoice::Byte => &[CodeKind::Byte],
        CodeChoice::Half => &[CodeKind::Half],
        // Codes take as much, and equal ones keep the longest rows from each other.
        _ if space.metric == Metric::Dot && space.stride() <= LINE_BYTES => &[],
        // Bytes are as small as the code would be, and exact.
        _ if matches!(space.vector_type, VectorType::I8 | VectorType::U8) => {
            if low {
                &[]
            } else {
                &[CodeKind::Half]
            }
        }
        _ if low => &[CodeKind::Byte],
        _ => &[CodeKind::Half, CodeKind::Byte],
    }
}

/// The first step of a quantizer that is good, or the last one, and how well it agrees.
fn measured<G: Guard>(
    crew: &Crew<'_>,
    codec: Quantizer,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
) -> Result<Coding> {
    let (isa, stride) = (crew.isa, codec.stride());
    let score = |query: &Query, judged: &[Row]| {
        let mut codes = AlignedBytes::zeroed(judged.len() * stride);
        for (row, out) in judged.iter().zip(codes.as_mut_slice().chunks_exact_mut(stride)) {
            codec.encode(isa, rows, *row as usize..*row as usize + 1, out);
        }
        let mut coded = vec![0.0; judged.len()];
        let (codes, query) = (Guarded::trusted(codes.as_slice()), &codec.query(isa, query));
        CodedSource { codes, query, sketches: None }.run(isa, All(&mut coded));
        coded
    };
    let steps = (stride, codec.steps(K));
    let (step, agreement) = best_step(agreements(crew, space, rows, count, steps, &score)?);
    Ok(Coding { codec: codec.at_step(step), agreement })
}

/// The first step that is good, or the last one, and how well it agrees.
pub(super) fn best_step(agreements: [u32; STEPS]) -> (usize, u32) {
    let good = agreements.iter().position(|agreement| *agreement >= GOOD_AGREEMENT);
    let step = good.unwrap_or(STEPS - 1);
    (step, agreements[step])
}

/// Whether squared lengths are of a size that sums in f32 can hold.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(super) fn fits<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
) -> Result<bool> {
    if space.metric == Metric::Cosine {
        return Ok(true);
    }
    let of_part = |first: usize| {
        if !(crew.keep_going)() {
            return Err(Error::Cancelled);
        }
        let mut floats = vec![0.0; space.dimension];
        let squares = (first..count.min(first + PART)).map(|row| {
            full::read_row(space, rows, row, &mut floats);
            // Over lanes of their own, as one sum would wait for each addition.
            let mut sums = [0.0_f64; 8];
            for floats in floats.chunks(8) {
                for (sum, x) in sums.iter_mut().zip(floats) {
                    *sum += f64::from(*x) * f64::from(*x);
                }
            }
            sums.iter().sum::<f64>()
        });
        Ok(squares.fold(0.0, f64::max))
    };
    let firsts: Vec<usize> = (0..count).step_by(PART).collect();
    let longest: Result<Vec<f64>> = match crew.pool {
        Some(pool) => pool.install(|| firsts.into_par_iter().map(of_part).collect()),
        None => firsts.into_iter().map(of_part).collect(),
    };
    Ok((SHORTEST..=LONGEST).contains(&longest?.into_iter().fold(0.0, f64::max)))
}

/// Of the [`K`] rows nearest to a row of the segment, how many in a thousand are among the nearest by
/// code, for each of `steps`, how many these are. Judged among the nearest few hundred of all rows and
/// a sample, whose codes take `stride` bytes each; `score` tells in what order codes put rows.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(super) fn agreements<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    (stride, steps): (usize, [usize; STEPS]),
    score: &(dyn Fn(&Query, &[Row]) -> Vec<f32> + Sync),
) -> Result<[u32; STEPS]> {
    let room = MEASURED_BYTES / stride;
    let (near, sample) = (NEAR.min(room / 2).max(2 * K), SAMPLE.min(room / 2).max(1));
    let all = Row::try_from(count).unwrap_or(Row::MAX);
    let sample: Vec<Row> = (0..all).step_by(count.div_ceil(sample).max(1)).collect();
    let queries = if count * space.stride() > FEW_QUERIES_BYTES { FEW_QUERIES } else { QUERIES };
    let askers: Vec<Row> = (0..all).step_by(count.div_ceil(queries).max(1)).collect();
    let query = |asker: &Row| {
        let mut floats = vec![0.0; space.dimension];
        full::read_row(space, rows, *asker as usize, &mut floats);
        Query::new(space, &floats)
    };
    let queries: Vec<Query> = askers.iter().map(query).collect();
    let asked: Vec<&Query> = queries.iter().collect();
    let nearest = flat::nearest(crew, &asked, rows, count, near)?;
    let judge = |(asker, (query, nearest)): (&Row, (&Query, &Vec<Candidate>))| {
        if !(crew.keep_going)() {
            return Err(Error::Cancelled);
        }
        let mut judged: Vec<Row> = nearest.iter().map(|near| near.row).collect();
        judged.extend(&sample);
        judged.sort_unstable();
        judged.dedup();
        // A row is always nearest to itself.
        judged.retain(|row| row != asker);
        let mut exact = vec![0.0; judged.len()];
        full::score_rows(crew.isa, query, rows, &judged, &mut exact);
        let coded = score(query, &judged);
        let mut order: Vec<usize> = (0..judged.len()).collect();
        order.sort_by(|a, b| coded[*a].total_cmp(&coded[*b]));
        let mut sorted = exact.clone();
        sorted.sort_by(f32::total_cmp);
        let k = K.min(judged.len());
        let Some(worst) = k.checked_sub(1).map(|last| sorted[last]) else {
            return Ok((0, [0; STEPS]));
        };
        let found = steps.map(|compared| {
            let compared = order.iter().take(compared);
            compared.filter(|row| exact[**row] <= worst).count().min(k)
        });
        Ok((k, found))
    };
    let judged: Result<Vec<(usize, [usize; STEPS])>> = match crew.pool {
        Some(pool) => pool.install(|| {
            askers.par_iter().zip(queries.par_iter().zip(&nearest)).map(judge).collect()
        }),
        None => askers.iter().zip(queries.iter().zip(&nearest)).map(judge).collect(),
    };
    let (mut wanted, mut found) = (0, [0; STEPS]);
    for (k, of_query) in judged? {
        wanted += k;
        found.iter_mut().zip(of_query).for_each(|(found, more)| *found += more);
    }
    Ok(found.map(|found: usize| {
        // A single row has no others to be mistaken for.
        let agreement = (found * 1000).checked_div(wanted).unwrap_or(1000);
        u32::try_from(agreement).unwrap_or(0)
    }))
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
