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
        let Self { isa, params, pool, keep_going, .. } = self;
        let graph = match codes {
            None => {
                let source = FullPairs { space, rows, centre };
                hnsw::merge(*isa, &source, count, params, seeds, pool, keep_going)
            }
            Some(CodeRows { codec: Quantizer::Levels(codec), codes }) => {
                let source = CodedPairs::new(*isa, LevelRows { codec, codes }, centre);
                match Merge::of(seeds).filter(|merge| merge.pays(count)) {
                    Some(merge) => merge.run(*isa, &source, count, params, pool, keep_going),
                    None => hnsw::build_in_bulk(*isa, &source, count, params, pool, keep_going),
                }
            }
            // So few bytes tell too little of two rows: others are made for the build alone.
            Some(CodeRows { codec: Quantizer::Product(_), .. }) => {
                let coding = coding::choose(&self.crew(), space, rows, count, CodeChoice::Auto)?;
                let Some(Coding { codec, .. }) = coding else {
                    return self.link(space, rows, count, None, seeds);
                };
                let codes = self.encode(&codec, rows, count)?;
                let codes = CodeRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
                return self.link(space, rows, count, Some(codes), seeds);
            }
        };
        graph.ok_or(Error::Cancelled)
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
