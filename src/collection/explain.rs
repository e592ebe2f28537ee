//! What a search did: plans, counts and times, part by part.

use std::time::Duration;

use super::Snapshot;
use super::query::{Hits, Request};
use super::snapshot::PartView;
use crate::segment::search::SearchStats;
use crate::types::Metric;

pub use crate::segment::matching::FilterAnswer;

/// What a search found, how it was done and what that took: made by
/// [`Query::explain`](crate::Query::explain).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// What [`Query::run`](crate::Query::run) would have given.
    pub hits: Hits,
    /// The recall that was asked for.
    pub recall: Option<f32>,
    /// The parts that were searched by vectors, in that order: the largest first; then those searched by
    /// words, and those by each sparse vector beside them. A part that was searched several times is there
    /// as often.
    pub parts: Vec<PartExplanation>,
    /// What was looked for by words; `None` where none were given.
    #[cfg(feature = "text")]
    pub words: Option<WordsExplanation>,
    /// What was filtered; `None` without a filter.
    pub filter: Option<FilterExplanation>,
    /// Checking and converting the query, and finding the rows that the filter leaves.
    pub prepare: Duration,
    /// Searching the parts, merging what they gave, reading ids; with `rerank` in it.
    pub search: Duration,
    /// The function that ranks, with the reading of its candidates; `None` without one.
    pub rerank: Option<Duration>,
    /// Reading columns and vectors of the hits.
    pub read: Duration,
}

/// What a search looked for by words.
#[cfg(feature = "text")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WordsExplanation {
    /// The columns in which words were looked for, each with its weight.
    pub columns: Vec<(String, f32)>,
    /// What was looked up in them. Nothing when the query is empty or has stop words alone.
    pub terms: Vec<TermExplanation>,
}

/// What a search by words looked up in a column.
#[cfg(feature = "text")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TermExplanation {
    /// The column.
    pub column: String,
    /// The word as the column cuts it (`fault`), `"words in a row"`, a beginning (`segm*`), or a word from
    /// which others may differ by so many letters (`mmap~1`).
    pub term: String,
    /// Live rows of the collection that have it, whatever a filter leaves of them.
    pub rows: u64,
}

/// What a filter did in a search.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterExplanation {
    /// The filter as text.
    pub filter: String,
    /// Rows of the collection that it found.
    pub matching_rows: u64,
    /// What answered for each of its columns: several things where parts of the collection differ.
    pub served: Vec<(String, FilterAnswer)>,
    /// How long finding them took, part of `prepare`.
    pub time: Duration,
}

/// The search of one part: a segment, or fresh rows in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartExplanation {
    /// By what it was searched.
    pub list: SearchList,
    /// The segment's number; `None` for rows in memory.
    pub segment: Option<u64>,
    /// Rows of the part, and those of them that are neither deleted nor replaced.
    pub rows: u64,
    /// See `rows`.
    pub live_rows: u64,
    /// Rows of them that the filter found; `None` without a filter.
    pub matching_rows: Option<u64>,
    /// How it was searched.
    pub plan: SearchPlan,
    /// Candidates that the walk was planned for; `None` where no graph was walked.
    pub ef: Option<u64>,
    /// How many times as far as the `k` nearest rows found it went on, rather than for all of its candidates, in
    /// thousandths.
    pub slack: Option<u64>,
    /// Why so many.
    pub ef_source: Option<EfSource>,
    /// Nodes of the graph whose links were followed.
    pub nodes_expanded: u64,
    /// Distances computed by codes, and rows that a sketch of their code has ruled out.
    pub codes_compared: u64,
    /// Distances computed by the vectors as they are stored; a scan also computes those of deleted
    /// rows, which are not counted.
    pub rows_compared: u64,
    /// Entries of inverted indexes: weights of sparse vectors, rows of words.
    pub postings_read: u64,
    /// Bytes of links, sketches, codes and vectors that these took, an estimate.
    pub bytes_touched: u64,
    /// What walking the graph and what comparing rows would have cost by the estimate that the plan
    /// was chosen by, counted in distances; 0 where there was nothing to choose.
    pub walk_cost: u64,
    /// See `walk_cost`.
    pub scan_cost: u64,
    /// Rows that the part gave to be merged; of words all that it found.
    pub candidates: u64,
    /// Whether distances of vectors are estimates, since the part holds rounded ones ([`Raw::None`](crate::Raw)).
    pub rounded: bool,
    /// Sections of the part in which damage was found so far, as in
    /// [`SegmentStats`](crate::SegmentStats): the search did without those that are not rows.
    pub damaged: Vec<String>,
    /// How long it took. Rows in memory may have been coded, and their words indexed, for later searches in
    /// it.
    pub time: Duration,
}

/// Why a walk keeps as many candidates as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EfSource {
    /// [`Query::ef`](crate::Query::ef) says so.
    Given,
    /// [`Settings::ef_search`](crate::Settings::ef_search) does.
    Settings,
    /// What walks over the graph found when it was built, for the recall that was asked for, or for the 0.95
    /// that the settings are not enough for.
    Measured,
    /// The same, corrected by what [`Collection::calibrate`](crate::Collection::calibrate) has learned.
    Calibrated,
    /// The graph is of a version that did not measure that: a formula on the safe side.
    Formula,
}

impl std::fmt::Display for EfSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Given => "what is given",
            Self::Settings => "the settings",
            Self::Measured => "what was measured",
            Self::Calibrated => "what was measured and calibrated",
            Self::Formula => "a formula",
        })
    }
}

impl EfSource {
    /// `raised` says that walks go farther than the settings say.
    fn of(part: &PartView, request: &Request<'_>, calibrated: bool, raised: bool) -> Self {
        match (request.recall, request.ef) {
            (None, Some(_)) => Self::Given,
            (None, None) if !raised => Self::Settings,
            _ if part.as_segment().is_some_and(|(segment, _)| segment.has_curves()) => {
                if calibrated { Self::Calibrated } else { Self::Measured }
            }
            _ => Self::Formula,
        }
    }
}

/// By what a part is searched; a search by several of these makes their lists one order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchList {
    /// By the vectors of the rows.
    Vector,
    /// By words, in the columns of [`WordsExplanation`](crate::WordsExplanation).
    Words,
    /// By the sparse vectors of this column.
    Sparse(String),
}

/// How a part is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchPlan {
    /// Every row is compared.
    Scan,
    /// The rows that a filter found, or that are left of many deleted ones, are compared: by codes
    /// first where there are any to walk the graph by.
    ScanMatching,
    /// Every code is compared, and the rows that may be near.
    ScanCodes,
    /// The graph is walked.
    Walk,
    /// The graph was walked, rows that do not count were in the way, and those that do were compared.
    WalkThenScan,
    /// Codes did not tell the rows apart, and every row was compared.
    ScanCodesThenScan,
    /// The inverted index of a sparse column is read at the indices of the query.
    Postings,
    /// The inverted indexes of columns of texts are read at the words of the query.
    Words,
}

/// The search of one part as it was done.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) list: SearchList,
    /// Place among the parts of the view.
    pub(crate) part: usize,
    /// Rows that a filter left.
    pub(crate) matching: Option<usize>,
    pub(crate) stats: SearchStats,
    pub(crate) candidates: usize,
    pub(crate) time: Duration,
    /// Of a search by words the rows that have each of its terms.
    pub(crate) words: Option<Vec<u64>>,
}

impl Trace {
    pub(super) fn explain(
        &self,
        snapshot: &Snapshot,
        request: &Request<'_>,
    ) -> Option<PartExplanation> {
        let (view, settings) = (&snapshot.view, &snapshot.host.settings);
        let part = view.parts().nth(self.part)?;
        let stats = &self.stats;
        let scanned = stats.rows_scanned > 0 || stats.sparse_scans > 0;
        let plan = match (stats.walks > 0, stats.codes_compared > 0, scanned) {
            _ if self.words.is_some() => SearchPlan::Words,
            _ if stats.postings > 0 => SearchPlan::Postings,
            (true, _, false) => SearchPlan::Walk,
            (true, _, true) => SearchPlan::WalkThenScan,
            (false, _, true) if stats.sparse_scans > 0 => SearchPlan::ScanMatching,
            (false, true, false) => SearchPlan::ScanCodes,
            (false, true, true) => SearchPlan::ScanCodesThenScan,
            (false, false, _) => SearchPlan::Scan,
        };
        // Inner products know no slack.
        let dot = view.schema.metric() == Metric::Dot;
        let usual = stats.walks * settings.ef_search.max(request.k) as u64;
        let raised = stats.slack > 0 || dot && stats.candidates > usual;
        Some(PartExplanation {
            list: self.list.clone(),
            segment: part.segment_id(),
            rows: part.part.len() as u64,
            live_rows: part.live() as u64,
            matching_rows: self.matching.map(|rows| rows as u64),
            plan,
            ef: stats.candidates.checked_div(stats.walks),
            slack: stats.slack.checked_div(stats.walks).filter(|slack| *slack > 0),
            ef_source: (stats.walks > 0)
                .then(|| EfSource::of(part, request, view.calibration.is_some(), raised)),
            nodes_expanded: stats.nodes_expanded,
            codes_compared: stats.codes_compared,
            rows_compared: stats.rows_compared + stats.rows_scanned,
            postings_read: stats.postings,
            bytes_touched: stats.bytes_touched,
            walk_cost: stats.walk_cost,
            scan_cost: stats.scan_cost,
            candidates: self.candidates as u64,
            rounded: self.list == SearchList::Vector
                && part.as_segment().is_some_and(|(segment, _)| segment.space().is_rounded()),
            damaged: part
                .as_segment()
                .map_or_else(Vec::new, |(segment, _)| segment.damaged_sections()),
            time: self.time,
        })
    }
}

#[cfg(feature = "text")]
impl WordsExplanation {
    /// Of `plan` and the searches that were done by it.
    pub(crate) fn new(plan: &crate::text::search::Plan, traces: &[Trace]) -> Self {
        let mut counts: Vec<u64> = Vec::new();
        let mut counted = std::collections::HashSet::new();
        // Pages and groups search a part several times.
        let by_words = traces.iter().filter_map(|trace| Some((trace.part, trace.words.as_ref()?)));
        for (_, rows) in by_words.filter(|(part, _)| counted.insert(*part)) {
            counts.resize(rows.len().max(counts.len()), 0);
            counts.iter_mut().zip(rows).for_each(|(count, rows)| *count += rows);
        }
        let counts = counts.into_iter().chain(std::iter::repeat(0));
        let term = |((column, term), rows): ((&str, String), u64)| TermExplanation {
            column: column.to_owned(),
            term,
            rows,
        };
        Self {
            columns: plan.columns().iter().map(|one| (one.name.clone(), one.weight)).collect(),
            terms: plan.terms().zip(counts).map(term).collect(),
        }
    }
}
