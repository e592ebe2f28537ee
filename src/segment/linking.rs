//! The graph over the rows of a segment: built on codes that tell how far two rows are from each
//! other, whatever code then leads walks over it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rayon::ThreadPool;

use super::coding::{self, Coding};
use crate::bytes::{AlignedBytes, Guard, Guarded, Trusted};
use crate::codec::centre::Centre;
use crate::codec::codes::{CodedPairs, LevelRows};
use crate::codec::full::{FullPairs, Rows, Space};
use crate::codec::product::Crew;
use crate::codec::quantizer::{CodeRows, Quantizer};
use crate::error::{Error, Result};
use crate::index::hnsw::{self, Graph, Merge, Params, Seed};
use crate::kernel::Isa;
use crate::types::CodeChoice;

/// Bytes of codes that a thread makes at a time.
const CODED_BYTES: usize = 128 << 10;

/// A graph to build when the rows are complete.
pub(crate) struct GraphPlan<'a> {
    pub(crate) params: Params,
    pub(crate) code: CodeChoice,
    /// Bytes of memory in which searches of the segment should find what leads them; `None` for no limit.
    pub(crate) share: Option<u64>,
    pub(crate) isa: Isa,
    pub(crate) pool: &'a ThreadPool,
    /// Asked now and then, from any thread; "no" gives `Error::Cancelled`. What said it once must keep to it
    /// ([`until_no`]): work is left out at any "no", and noticed at the last.
    pub(crate) keep_going: &'a (dyn Fn() -> bool + Sync),
}

/// `ask`, but what said "no" once is asked no more.
pub(crate) fn until_no(ask: impl Fn() -> bool + Sync) -> impl Fn() -> bool + Sync {
    let going = AtomicBool::new(true);
    move || {
        if going.load(Relaxed) && !ask() {
            going.store(false, Relaxed);
        }
        going.load(Relaxed)
    }
}

impl std::fmt::Debug for GraphPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphPlan").field("params", &self.params).finish_non_exhaustive()
    }
}

impl GraphPlan<'_> {
    /// Who learns codes.
    pub(crate) fn crew(&self) -> Crew<'_> {
        Crew { isa: self.isa, pool: Some(self.pool), keep_going: self.keep_going }
    }

    /// Links the first `count` of `rows`, whose `codes` will lead walks, from graphs over some of them.
    pub(crate) fn link<G: Guard>(
        &self,
        space: Space,
        rows: Rows<'_, Trusted>,
        count: usize,
        codes: Option<CodeRows<'_, Trusted>>,
        seeds: &[Seed<'_, G>],
    ) -> Result<Graph> {
        let centre = &Centre::new(space, rows, count);
        let Self { isa, pool, keep_going, .. } = self;
        let made = match codes {
            Some(CodeRows { codec: Quantizer::Levels(_), .. }) => None,
            None if !space.is_rounded() => None,
            _ => self.codes_to_build(space, rows, count)?,
        };
        let taken = made.as_ref().map_or(0, |(_, made)| made.as_slice().len());
        let params = &Params { memory: self.params.memory.saturating_sub(taken), ..self.params };
        let codes = match &made {
            Some((codec, made)) => Some((codec, Guarded::trusted(made.as_slice()))),
            None => codes.map(|CodeRows { codec, codes }| (codec, codes)),
        };
        let graph = match codes {
            Some((Quantizer::Levels(codec), codes)) => {
                let source = CodedPairs::new(*isa, LevelRows { codec, codes }, centre);
                match Merge::of(seeds).filter(|merge| merge.pays(count)) {
                    Some(merge) => merge.run(*isa, &source, count, params, pool, keep_going),
                    None => hnsw::build_in_bulk(*isa, &source, count, params, pool, keep_going),
                }
            }
            _ => {
                let source = FullPairs { space, rows, centre };
                hnsw::merge(*isa, &source, count, params, seeds, pool, keep_going)
            }
        };
        graph.ok_or(Error::Cancelled)
    }

    /// Codes for the build alone, where those that lead walks tell too little of two rows, or nothing does
    /// but rounded rows; `None` where none keep near rows near, or rounded ones leave no memory for them.
    fn codes_to_build(
        &self,
        space: Space,
        rows: Rows<'_, Trusted>,
        count: usize,
    ) -> Result<Option<(Quantizer, AlignedBytes)>> {
        let coding = match space.is_rounded() {
            true => {
                let room = self.params.memory / count.max(1);
                let room = room.saturating_sub(self.params.least_bytes_per_row());
                coding::to_build(&self.crew(), space, rows, count, room)?
            }
            false => coding::choose(&self.crew(), space, rows, count, CodeChoice::Auto.into())?,
        };
        let Some(Coding { codec, .. }) = coding else { return Ok(None) };
        let codes = self.encode(&codec, rows, count)?;
        Ok(Some((codec, codes)))
    }

    /// Codes of all rows, made on all threads.
    pub(crate) fn encode(
        &self,
        codec: &Quantizer,
        rows: Rows<'_, Trusted>,
        count: usize,
    ) -> Result<AlignedBytes> {
        let stride = codec.stride();
        let piece = (CODED_BYTES / stride).max(1);
        let mut codes = AlignedBytes::zeroed(count * stride);
        self.pool.scope(|scope| {
            for (index, codes) in codes.as_mut_slice().chunks_mut(stride * piece).enumerate() {
                let range = index * piece..index * piece + codes.len() / stride;
                scope.spawn(move |_| {
                    if (self.keep_going)() {
                        codec.encode(self.isa, rows, range, codes);
                    }
                });
            }
        });
        if (self.keep_going)() { Ok(codes) } else { Err(Error::Cancelled) }
    }
}
