//! A walk over a graph, by codes where there are any, and the exact distances of what it found.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::bytes::{Guard, Warms};
use crate::codec::full::{FullSource, Query, Rows, score_rows};
use crate::codec::quantizer::{CodeRows, CodedSource};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::{self, KEPT_ENTRIES, Keep, Reach, View, Want};
use crate::index::topk::{Candidate, TopK};
use crate::kernel::Isa;
use crate::types::Row;

/// Rows compared exactly at least, where codes led the walk and found so many.
pub(crate) const LEAST_COMPARED: usize = 16;
/// Of `ef` candidates, one in so many is, so that a larger `ef` also corrects the codes.
const COMPARED_SHARE: usize = 8;

/// By codes, a walk ends so much beyond the limit of its hits: more than codes of near rows are off.
const CODED_MARGIN: f32 = 0.25;

/// What a search by graph has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By codes, where there are any.
    pub(crate) walk: hnsw::Counts,
    /// Rows compared exactly that the walk found by codes.
    pub(crate) compared: u64,
}

/// Rows with a graph over them.
#[derive(Debug)]
pub(crate) struct Indexed<'a, G> {
    pub(crate) rows: Rows<'a, G>,
    /// Codes of all rows, to walk by.
    pub(crate) codes: Option<CodeRows<'a, G>>,
    pub(crate) graph: View<'a, G>,
}

impl<G> Clone for Indexed<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Indexed<'_, G> {}

/// How much a walk does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effort {
    /// Candidates, raised to what the hits need.
    pub(crate) keep: Keep,
    /// A walk that has scored more rows than this gives up.
    pub(crate) most_scored: u64,
    /// So does one that meets fewer rows of a thousand near the query that count.
    pub(crate) least_visible: u32,
    /// A row that is passed by as if the graph had been built without it.
    pub(crate) without: Option<Row>,
    /// How many times as far as the hits a walk goes on, rather than until all candidates are expanded.
    pub(crate) slack: Option<f32>,
}

/// A walk with a slack goes by the row at this place at least: the nearest few tell too little.
pub(crate) const LEAST_RANK: usize = 10;

impl Effort {
    /// `ef` candidates, however long it takes.
    pub(crate) fn of(ef: usize) -> Self {
        Self {
            keep: Keep::all(ef),
            most_scored: u64::MAX,
            least_visible: 0,
            without: None,
            slack: None,
        }
    }

    fn raised(self, ef: usize, visible: usize) -> Keep {
        let Keep { ef: given, visible: seen, hidden } = self.keep;
        Keep { ef: given.max(ef), visible: seen.max(visible), hidden }
    }
}

/// Offers `top` the nearest rows that a walk finds.
///
/// Rows in `dead` are walked through and not offered. The limit of `top` ends a walk early.
pub(crate) fn nearest<G: Guard>(
    isa: Isa,
    query: &Query,
    Indexed { rows, codes, graph }: Indexed<'_, G>,
    effort: Effort,
    dead: &RowSet,
    top: &mut TopK<'_>,
) -> Counts {
    if top.k() == 0 {
        return Counts::default();
    }
    let Effort { most_scored, least_visible, without, slack, .. } = effort;
    let rank = top.k().max(LEAST_RANK);
    let mut buffers = BUFFERS.take();
    let Buffers { found, wanted, distances } = &mut buffers;
    let mut counts = Counts::default();
    if let Some(codes) = codes {
        let compared = codes.codec.compared(top.k()).max(LEAST_COMPARED).max(top.k());
        let compared = match slack {
            None => compared.max(effort.keep.ef.max(top.k()) / COMPARED_SHARE),
            Some(_) => compared,
        };
        let keep = effort.raised(compared, compared);
        // More rows may be compared than a short walk goes on from.
        let nearest = if dead.is_empty() { effort.keep.ef.max(top.k()) } else { usize::MAX };
        let bound = top.bound();
        let limit = bound + CODED_MARGIN * bound.abs();
        let reach = slack.map(|slack| Reach { slack, rank, least: compared.max(rank) });
        let want = Want { keep, nearest, limit, most_scored, least_visible, dead, without, reach };
        let coded = codes.codec.query(isa, query);
        let source = CodedSource { codes: codes.codes, query: &coded, sketches: None };
        let clock = Clock::<G>::start();
        counts.walk = hnsw::search(isa, &source, &graph, want, found);
        let walked = clock.time();
        codes.codes.took(walked, counts.walk.scored, Warms::All);
        graph.took(walked, counts.walk.scored);
        let expanded = usize::try_from(counts.walk.expanded).unwrap_or(usize::MAX);
        let compared = match slack {
            None => compared,
            Some(_) => compared.max(expanded / COMPARED_SHARE),
        };
        wanted.clear();
        wanted.extend(found.iter().take(compared).map(|candidate| candidate.row));
        distances.clear();
        distances.resize(wanted.len(), 0.0);
        score_rows(isa, query, rows, wanted, distances);
        counts.compared = wanted.len() as u64;
        rows.vectors.took(clock.time() - walked, counts.compared, Warms::Little);
        for (row, distance) in wanted.iter().zip(distances) {
            top.offer(*distance, *row);
        }
    } else {
        let keep = effort.raised(top.k(), top.k());
        let (limit, nearest) = (top.bound(), usize::MAX);
        let reach = slack.map(|slack| Reach { slack, rank, least: rank });
        let want = Want { keep, nearest, limit, most_scored, least_visible, dead, without, reach };
        let clock = Clock::<G>::start();
        counts.walk = hnsw::search(isa, &FullSource { query, rows }, &graph, want, found);
        let walked = clock.time();
        rows.vectors.took(walked, counts.walk.scored, Warms::All);
        graph.took(walked, counts.walk.scored);
        for candidate in found {
            top.offer(candidate.distance, candidate.row);
        }
    }
    if buffers.found.capacity().max(buffers.wanted.capacity()) <= KEPT_ENTRIES {
        BUFFERS.set(buffers);
    }
    counts
}

/// Tells time where bytes may wait for a disk; elsewhere none passes.
struct Clock<G>(Option<Instant>, PhantomData<G>);

impl<G: Guard> Clock<G> {
    fn start() -> Self {
        Self(G::IN_FILE.then(Instant::now), PhantomData)
    }

    fn time(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

/// Memory of a search, kept for the thread's next.
#[derive(Default)]
struct Buffers {
    found: Vec<Candidate>,
    wanted: Vec<Row>,
    distances: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}
