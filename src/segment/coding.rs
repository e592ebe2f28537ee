//! Which code leads the walks of a segment: the smallest that keeps near rows near, measured on its
//! own rows.

use rayon::prelude::*;

use super::agreement::{self, Judged, K};
use super::room;
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::codes::{CodeKind, Codec};
use crate::codec::full::{self, Query, Rows, Space};
use crate::codec::product::{Crew, ProductCodec, Width};
use crate::codec::quantizer::{CodedSource, Quantizer};
use crate::codec::{QuerySource, STEPS, Scorer, ScorerOp};
use crate::error::{Error, Result};
use crate::types::{CodeChoice, Metric, Row, VectorType};

/// From this dimension on, four bits an element are tried first: below, rows are so short that
/// their bytes no longer matter.
const HALF_DIMENSION: usize = 200;
/// No code takes less.
const LINE_BYTES: usize = 64;
/// Rows that are looked at between two looks at whether to go on.
const PART: usize = 1 << 14;
/// Of a thousand near rows, how many must be among those that a search compares exactly.
pub(super) const LEAST_AGREEMENT: u32 = 970;
/// From this agreement on, no more rows are compared for a better one.
const GOOD_AGREEMENT: u32 = 995;
/// Squared lengths beyond these do not fit the sums of a code.
pub(super) const LONGEST: f64 = 1e30;
pub(super) const SHORTEST: f64 = 1e-20;

/// Which codes are wanted, and in how much memory those of all rows should fit with their parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) choice: CodeChoice,
    pub(crate) room: usize,
}

impl From<CodeChoice> for Wanted {
    /// In whatever memory they take.
    fn from(choice: CodeChoice) -> Self {
        Self { choice, room: usize::MAX }
    }
}

impl Wanted {
    /// Whether codes are chosen by the memory that they take.
    pub(super) fn is_limited(self) -> bool {
        self.choice == CodeChoice::Auto && self.room < usize::MAX
    }
}

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
    wanted: Wanted,
) -> Result<Option<Coding>> {
    let choice = wanted.choice;
    if wanted.is_limited()
        && space.takes_codes()
        && let Some(decided) = choose_within(crew, space, rows, count, wanted.room)?
    {
        return Ok(decided);
    }
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
    let all = product.map(Quantizer::Product).into_iter().chain(levels);
    let (best, good) = best_of(crew, all, space, rows, count)?;
    // A code that was asked for by name is taken, unless it tells nothing. One of few bytes has wider
    // ones to make place for.
    let forced = matches!(choice, CodeChoice::Byte | CodeChoice::Half);
    Ok(best.filter(|best| good || forced && best.agreement > 0))
}

/// The first code that is good of those that fit into `room`, the widest first, or of the others, the smallest
/// first, down from what [`Auto`](CodeChoice::Auto) takes at least. `None` within where the vectors fit and lead
/// themselves; without where nothing is good.
fn choose_within<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    room: usize,
) -> Result<Option<Option<Coding>>> {
    let usual = levels(space, CodeChoice::Auto);
    if usual.is_empty() && space.stride().saturating_mul(count) <= room {
        return Ok(Some(None));
    }
    if !fits(crew, space, rows, count)? {
        return Ok(None);
    }
    let half = (!usual.contains(&CodeKind::Half)).then_some(CodeKind::Half);
    let small = |kind: &CodeKind| {
        kind.stride(space) < space.stride() && room::of_levels(*kind, space, count) <= room
    };
    let levels = usual.iter().copied().chain(half).filter(small);
    let levels =
        levels.map(|kind| Ok(Some(Quantizer::Levels(Codec::train(kind, space, rows, count)))));
    let below = CodeKind::Half.stride(space).min(space.stride());
    let products = room::sizes(Width::Byte, space, count, room, below).into_iter().map(|bytes| {
        let codec = ProductCodec::train(crew, (Width::Byte, bytes), space, rows, count)?;
        Ok(codec.map(Quantizer::Product))
    });
    for codec in levels.chain(products) {
        let codec: Result<Option<Quantizer>> = codec;
        let Some(codec) = codec? else { continue };
        let coding = measured(crew, codec, space, rows, count)?;
        if coding.agreement >= LEAST_AGREEMENT {
            return Ok(Some(Some(coding)));
        }
    }
    Ok(None)
}

/// Bytes a row of codes that are made for the build of its graph and not kept: of the first that is tried.
pub(crate) fn bytes_to_build(space: Space) -> usize {
    levels_to_build(space).first().map_or(0, |kind| kind.stride(space))
}

/// The code by which a graph of rounded rows is built: as for rows of floats, of which many are compared at
/// once. None that takes more than `room` bytes a row.
///
/// # Errors
/// `Cancelled` when the crew is told to stop.
pub(crate) fn to_build<G: Guard>(
    crew: &Crew<'_>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    room: usize,
) -> Result<Option<Coding>> {
    let tried = levels_to_build(space).iter().filter(|kind| kind.stride(space) <= room);
    if !fits(crew, space, rows, count)? {
        return Ok(None);
    }
    let levels = tried.map(|kind| Quantizer::Levels(Codec::train(*kind, space, rows, count)));
    let (best, good) = best_of(crew, levels, space, rows, count)?;
    Ok(best.filter(|_| good))
}

/// The first code that is good, or the best, and whether it is good.
fn best_of<G: Guard>(
    crew: &Crew<'_>,
    codecs: impl Iterator<Item = Quantizer>,
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
) -> Result<(Option<Coding>, bool)> {
    let mut best: Option<Coding> = None;
    for codec in codecs {
        let coding = measured(crew, codec, space, rows, count)?;
        if coding.agreement >= LEAST_AGREEMENT {
            return Ok((Some(coding), true));
        }
        if best.as_ref().is_none_or(|best| best.agreement < coding.agreement) {
            best = Some(coding);
        }
    }
    Ok((best, false))
}

/// Which levels are tried, in this order.
fn levels(space: Space, choice: CodeChoice) -> &'static [CodeKind] {
    let low = space.dimension < HALF_DIMENSION;
    match choice {
        CodeChoice::Full => &[],
        CodeChoice::Byte => &[CodeKind::Byte],
        CodeChoice::Half => &[CodeKind::Half],
        // Rounded rows are bytes, and few enough to be walked by.
        _ if space.is_rounded() => &[],
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
        _ => of_floats(space),
    }
}

/// Those that are tried for the build of a graph of rounded rows.
fn levels_to_build(space: Space) -> &'static [CodeKind] {
    if !space.is_rounded() || space.metric == Metric::Dot && space.stride() <= LINE_BYTES {
        &[]
    } else {
        of_floats(space)
    }
}

fn of_floats(space: Space) -> &'static [CodeKind] {
    if space.dimension < HALF_DIMENSION {
        &[CodeKind::Byte]
    } else {
        &[CodeKind::Half, CodeKind::Byte]
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
    let encode = |judged: &[Row]| {
        let mut codes = AlignedBytes::zeroed(judged.len() * stride);
        for (row, out) in judged.iter().zip(codes.as_mut_slice().chunks_exact_mut(stride)) {
            codec.encode(isa, rows, *row as usize..*row as usize + 1, out);
        }
        codes
    };
    let score = |query: &Query, codes: &[u8], len: usize| {
        let mut coded = vec![0.0; len];
        let (codes, query) = (Guarded::trusted(codes), &codec.query(isa, query));
        CodedSource { codes, query, sketches: None }.run(isa, All(&mut coded));
        coded
    };
    let judged = Judged { stride, steps: codec.steps(K), encode: &encode, score: &score };
    let (step, agreement) = best_step(agreement::agreements(crew, space, rows, count, judged)?);
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

/// Scores every row.
struct All<'a>(&'a mut [f32]);

impl ScorerOp for All<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        scorer.score_run(0, self.0);
    }
}
