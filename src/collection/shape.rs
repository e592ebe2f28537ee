//! What is made of the rows in order of distance: pages, least distances, groups, diversity.
//!
//! All of them read a [`Stream`]: the nearest rows in blocks, each block searched with the rows of
//! those before it hidden. So the blocks tile one list whose order does not depend on how much of it
//! is read, however approximate a search is, and reading on always gets further. docs/decisions/023.

use std::borrow::Cow;
use std::collections::HashSet;

use super::diversity::{self, Mmr};
use super::explain::Trace;
use super::group::{GroupBy, Groups, Hide, Key};
use super::query::Query;
use super::ranking::Ranked;
use super::snapshot::{Found, Place, View};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::search::Isa;

/// Rows of the first block of a paged search, at least: the same for every page.
const PAGED_ROWS: usize = 128;
/// A block has so many times the rows of the one before.
const GROWTH: usize = 4;
/// Rows to which blocks grow.
const MOST_ROWS: usize = 1 << 16;
/// As many as a list is looked through for groups.
pub(super) const MOST_LISTED: usize = 1 << 14;
/// Rows looked at first for each hit of a group: neighbours tend to be of one group.
const ROWS_PER_HIT: usize = 4;

/// How hits are picked.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    offset: Option<usize>,
    min_distance: f32,
    group: Option<GroupBy>,
    per_group: usize,
    mmr: Option<f32>,
    mmr_candidates: Option<usize>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            offset: None,
            min_distance: f32::NEG_INFINITY,
            group: None,
            per_group: 1,
            mmr: None,
            mmr_candidates: None,
        }
    }
}

impl Query<'_> {
    /// Passes over the first `offset` hits (of a grouped search: groups), to read page by page: the
    /// k hits from there on. At one [`Snapshot`](crate::Snapshot) and with the same settings beside
    /// `k`, pages tile one list, however approximate the search is: no row is on two pages, none is
    /// left out between them, and together they hold as many rows as there are. Give the first page
    /// an offset of 0: without any, a search may stop looking earlier.
    ///
    /// By words alone pages tile in the same way. Where several orders are made one, or a function ranks,
    /// the pages are those of its candidates, and a page behind them is an error that says so.
    ///
    /// Within a page hits come nearest first. From page to page they do where search is exact; a graph
    /// may find a row on a later page than its distance would have it.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2, 3], &[1.0_f32, 2.0, 3.0], ())?;
    /// let snapshot = docs.snapshot()?;
    /// let page = |offset| snapshot.search(&[0.0_f32]).k(2).offset(offset).run();
    /// assert_eq!((page(0)?.len(), page(2)?[0].id.clone()), (2, 3.into()));
    /// # Ok(()) }
    /// ```
    pub fn offset(mut self, offset: usize) -> Self {
        self.shape().offset = Some(offset);
        self
    }

    /// Returns only hits at least this far away.
    pub fn min_distance(mut self, distance: f32) -> Self {
        self.shape().min_distance = distance;
        self
    }

    /// Returns the best [`per_group`](Self::per_group) hits of each value of `column` (bool, int64,
    /// timestamp or utf8): `k` counts groups, and if the rows searched have k values, k groups come
    /// back. Rows without a value are one group. The groups come in the order of their nearest hits,
    /// each with its hits together, nearest first.
    ///
    /// By words hits are grouped in the same way, by score. Where words and a vector are searched, as many
    /// candidates are looked at as k whole groups need, at most 16,384, unless `candidates` says how many. A
    /// function that ranks gets its candidates and, where they are of less than k groups, the nearest
    /// `per_group` rows of each further one, looked for as far. Pages of groups are made of their candidates:
    /// a page that comes short, although there are more groups within 16,384, is an error that says so.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// use nearfield::{DataType, Metric, Schema, arrow_array};
    ///
    /// let docs = db.collection("docs", Schema::new(1, Metric::L2).column("page", DataType::Int64))?;
    /// let pages = arrow_array::Int64Array::from(vec![7, 7, 8]);
    /// let batch = arrow_array::RecordBatch::try_from_iter([("page", std::sync::Arc::new(pages) as _)])
    ///     .expect("a batch");
    /// docs.upsert(&[1, 2, 3], &[1.0_f32, 2.0, 3.0], &batch)?;
    /// let hits = docs.search(&[0.0_f32]).k(2).group_by("page").run()?;
    /// assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>(), [1.into(), 3.into()]);
    /// # Ok(()) }
    /// ```
    pub fn group_by(mut self, column: impl Into<String>) -> Self {
        self.shape().group = Some(GroupBy(column.into()));
        self
    }

    /// Hits of each group of [`group_by`](Self::group_by), at most. Default 1.
    pub fn per_group(mut self, hits: usize) -> Self {
        self.shape().per_group = hits;
        self
    }

    /// Picks hits for being unlike each other too, by maximal marginal relevance (Carbonell and
    /// Goldstein 1998): each next hit has the largest `lambda · score − (1 − lambda) · s`, where `s`
    /// is the largest score between it and a hit picked before, both by the collection's metric. So 1
    /// orders by distance alone and 0 by unlikeness alone (the first is the nearest row even so). Of
    /// groups the nearest hits are compared. Hits come in the order in which they are picked.
    ///
    /// Where hits are ordered by words, by sparse vectors, by several lists or by a function, those scores
    /// and the likeness of hits, which is that of their vectors, are both made 0 to 1 first.
    ///
    /// They are picked from the nearest [`mmr_candidates`](Self::mmr_candidates); what is behind
    /// those follows by distance.
    pub fn mmr(mut self, lambda: f32) -> Self {
        self.shape().mmr = Some(lambda);
        self
    }

    /// Nearest hits that [`mmr`](Self::mmr) picks from, 1 to 4,096. Default 4 × `k`, within 20 and 4,096.
    /// Pages of several `k` tile one list only where this is set.
    pub fn mmr_candidates(mut self, candidates: usize) -> Self {
        self.shape().mmr_candidates = Some(candidates);
        self
    }
}

impl Shape {
    /// Whether hits are simply the nearest rows.
    pub(crate) fn is_plain(&self) -> bool {
        let unlimited = self.min_distance == f32::NEG_INFINITY;
        self.offset.is_none() && unlimited && self.group.is_none() && self.mmr.is_none()
    }

    /// Refuses what has no meaning.
    pub(crate) fn check(&self, view: &View) -> Result<()> {
        if self.min_distance.is_nan() {
            return Err(Error::invalid("min_distance is NaN; give a number"));
        }
        if self.per_group == 0 {
            return Err(Error::invalid("per_group is 0; expected 1 or more hits of a group"));
        }
        if self.per_group > 1 && self.group.is_none() {
            let given = self.per_group;
            return Err(Error::invalid(format!(
                "per_group is {given}, but nothing is grouped; say what by with group_by"
            )));
        }
        diversity::check(self.mmr, self.mmr_candidates)?;
        self.group.as_ref().map_or(Ok(()), |group| group.column(view).map(drop))
    }

    /// Its limit to distances alone.
    pub(super) fn of_distances(&self) -> Self {
        Self { min_distance: self.min_distance, ..Self::default() }
    }

    /// Whether near rows are left out.
    pub(super) fn limits_distance(&self) -> bool {
        self.min_distance > f32::NEG_INFINITY
    }

    pub(super) fn is_far_enough(&self, distance: f32) -> bool {
        distance >= self.min_distance
    }

    /// Whether hits are read page by page.
    pub(super) fn is_paged(&self) -> bool {
        self.offset.is_some()
    }

    /// Whether hits are grouped, and none of them is passed over.
    pub(super) fn is_grouped_alone(&self) -> bool {
        self.group.is_some() && self.offset.is_none()
    }

    /// The rows of which pages of a list are made: as many as there are `candidates`, and no page is
    /// behind them; at least `k` where there are no pages.
    pub(super) fn within(&self, k: usize, candidates: usize) -> Result<usize> {
        let picked = self.diversify(k).map_or(0, |mmr| mmr.candidates);
        let Some(offset) = self.offset else { return Ok(candidates.max(k).max(picked)) };
        let end = offset.saturating_add(k);
        if end <= candidates {
            return Ok(candidates);
        }
        Err(Error::invalid(format!(
            "offset {offset} and k {k} reach to hit {end}, but the pages are made of {candidates} candidates; \
             ask for at least {end} of them, the same for every page"
        )))
    }

    /// What a function ranks of a list of `listed` rows, which a `full` one is the beginning of: its rows
    /// and, of groups that it lacks and the hits reach to, the best rows of a `longer` one. A page stands
    /// among pages of the same list, and what it lacks is an error.
    pub(super) fn reach(
        &self,
        k: usize,
        view: &View,
        (mut listed, mut full): (usize, bool),
        first: Vec<Ranked>,
        mut longer: impl FnMut(usize) -> Result<(Vec<Ranked>, bool)>,
    ) -> Result<Vec<Ranked>> {
        let Some(group) = &self.group else { return Ok(first) };
        let end = self.offset.unwrap_or(0).saturating_add(k);
        let known: HashSet<Key> = group.keys_of(view, &first)?.into_iter().collect();
        let (given, mut further) = (listed, Vec::new());
        while full && known.len() + further.len() < end && listed < MOST_LISTED {
            listed = listed.saturating_mul(GROWTH).min(MOST_LISTED);
            let rows;
            (rows, full) = longer(listed)?;
            further = group.further(view, rows, &known, self.per_group)?;
        }
        if self.is_paged() && !further.is_empty() {
            let had = known.len();
            return Err(Error::invalid(format!(
                "offset and k reach to group {end}, but the pages are made of {given} candidates, which are \
                 of {had} groups, and there are more; ask for {listed} candidates, the same for every page"
            )));
        }
        further.truncate(end.saturating_sub(known.len()));
        Ok(first.into_iter().chain(further.into_iter().flatten()).collect())
    }

    /// The page of a list: its hits, and whether no longer list would give more.
    pub(super) fn arrange(
        &self,
        list: Vec<Ranked>,
        k: usize,
        view: &View,
        isa: Isa,
    ) -> Result<(Vec<Ranked>, bool)> {
        let mut items = match &self.group {
            None => list.into_iter().map(|ranked| vec![ranked]).collect(),
            Some(group) => group.further(view, list, &HashSet::new(), self.per_group)?,
        };
        let offset = self.offset.unwrap_or(0);
        if let Some(mmr) = self.diversify(k) {
            diversity::reorder_ranked(&mut items, mmr, offset.saturating_add(k), view, isa)?;
        }
        let page: Vec<_> = items.into_iter().skip(offset).take(k).collect();
        let full = |item: &Vec<Ranked>| self.group.is_none() || item.len() == self.per_group;
        let whole = page.len() == k && page.iter().all(full);
        Ok((page.into_iter().flatten().collect(), whole))
    }

    /// How `k` hits are diversified.
    fn diversify(&self, k: usize) -> Option<Mmr> {
        self.mmr.map(|lambda| Mmr::new(lambda, self.mmr_candidates, k))
    }

    /// Rows of the first block, when `count` hits or groups are needed.
    fn first_block(&self, count: usize, ef: usize) -> usize {
        let hits = match (self.offset, &self.group) {
            (Some(_), _) => return ef.max(PAGED_ROWS),
            (None, Some(_)) => count.saturating_mul(self.per_group).saturating_mul(ROWS_PER_HIT),
            (None, None) => count,
        };
        hits.max(1)
    }
}

/// A search for the nearest rows that are not hidden: how many, hidden rows of each part, traces.
pub(crate) type Search<'a> =
    dyn Fn(usize, Option<&[RowSet]>, Option<&mut Vec<Trace>>) -> Result<Vec<Found>> + 'a;

/// The `k` hits that `shape` makes of what `search` finds beside the rows in `hidden`. A graph
/// search keeps `ef` candidates. The distances are those of the vectors unless they are `foreign`.
pub(crate) fn pick(
    (shape, foreign): (&Shape, bool),
    view: &View,
    isa: Isa,
    (k, ef): (usize, usize),
    search: &Search<'_>,
    hidden: Option<&[RowSet]>,
    traces: Option<&mut Vec<Trace>>,
) -> Result<Vec<Found>> {
    let offset = shape.offset.unwrap_or(0);
    let end = offset.saturating_add(k);
    let mmr = shape.diversify(k);
    let count = mmr.map_or(end, |mmr| end.max(mmr.candidates));
    let step = shape.first_block(count, ef);
    let hidden = hidden.map(Cow::Borrowed);
    let filtered = hidden.is_some();
    let stream = Stream { view, search, hidden, filtered, traces, last: Vec::new(), step };
    let mut items = match &shape.group {
        Some(group) => groups(stream, Groups::new(group, shape.per_group, view), shape, count)?,
        None => rows(stream, shape, count)?,
    };
    if let Some(mmr) = mmr {
        diversity::reorder(&mut items, mmr, end, foreign, (view, isa))?;
    }
    let mut page: Vec<Vec<Found>> = items.into_iter().skip(offset).take(k).collect();
    if mmr.is_none() {
        page.sort_by(|a, b| order(&a[0], &b[0]));
    }
    Ok(page.into_iter().flatten().collect())
}

/// Nearest first, equal distances by id.
pub(crate) fn order(a: &Found, b: &Found) -> std::cmp::Ordering {
    a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id))
}

/// The first `count` rows, an item each.
fn rows(mut stream: Stream<'_>, shape: &Shape, count: usize) -> Result<Vec<Vec<Found>>> {
    let mut items = Vec::new();
    while items.len() < count {
        let Some(block) = stream.next()? else { break };
        let far = block.into_iter().filter(|found| found.distance >= shape.min_distance);
        items.extend(far.map(|found| vec![found]));
    }
    items.truncate(count);
    Ok(items)
}

/// The first `count` groups with all of their hits.
fn groups(
    mut stream: Stream<'_>,
    mut groups: Groups<'_>,
    shape: &Shape,
    count: usize,
) -> Result<Vec<Vec<Found>>> {
    while let Some(mut block) = stream.next()? {
        block.retain(|found| found.distance >= shape.min_distance);
        groups.take(block)?;
        let Some(hide) = groups.hide(count) else { break };
        stream.hide(hide)?;
    }
    Ok(groups.into_lists(count))
}

/// The nearest rows, block by block.
struct Stream<'a> {
    view: &'a View,
    search: &'a Search<'a>,
    /// Of each part the rows to pass over, where they are more than the dead.
    hidden: Option<Cow<'a, [RowSet]>>,
    /// Whether a filter has hidden rows.
    filtered: bool,
    traces: Option<&'a mut Vec<Trace>>,
    /// Rows of the last block, not hidden yet.
    last: Vec<Place>,
    /// Rows of the next block; 0 when there is none.
    step: usize,
}

impl Stream<'_> {
    /// The next block; none when all rows have been.
    fn next(&mut self) -> Result<Option<Vec<Found>>> {
        if self.step == 0 {
            return Ok(None);
        }
        if !self.last.is_empty() {
            let last = std::mem::take(&mut self.last);
            let hidden = self.hidden();
            for place in last {
                hidden[place.part].insert(place.row);
            }
        }
        let before = self.traces.as_ref().map_or(0, |traces| traces.len());
        let found = (self.search)(self.step, self.hidden.as_deref(), self.traces.as_deref_mut())?;
        if let (false, Some(traces)) = (self.filtered, &mut self.traces) {
            traces[before..].iter_mut().for_each(|trace| trace.matching = None);
        }
        let grown = self.step.max(self.step.saturating_mul(GROWTH).min(MOST_ROWS));
        self.step = if found.len() < self.step { 0 } else { grown };
        self.last = found.iter().map(|found| found.place).collect();
        Ok(Some(found))
    }

    /// Passes over further rows from now on.
    fn hide(&mut self, hide: Hide) -> Result<()> {
        if self.step == 0 {
            return Ok(());
        }
        let (filter, outside) = match hide {
            Hide::Nothing => return Ok(()),
            Hide::Of(filter) => (filter, false),
            Hide::AllBut(filter) => (filter, true),
        };
        let matches = self.view.matches(&self.view.bind(&filter)?)?;
        for (hidden, (len, others)) in self.hidden().iter_mut().zip(matches.parts) {
            let more = if outside { others } else { others.complement(len) };
            *hidden = hidden.union(&more);
        }
        Ok(())
    }

    fn hidden(&mut self) -> &mut Vec<RowSet> {
        let dead = || Cow::Owned(self.view.parts().map(|part| part.dead.clone()).collect());
        self.hidden.get_or_insert_with(dead).to_mut()
    }
}
