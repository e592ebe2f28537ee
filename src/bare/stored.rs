//! Rows in memory: those in the graph, then those added since.
//!
//! Removed rows stay where they are, marked dead, until the next build moves the others together.

mod gather;

use std::cmp::Ordering;
use std::collections::HashMap;

use zerocopy::IntoBytes;

use super::IndexOptions;
use super::query::Neighbour;
use super::saved::Pieces;
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::full::{Rows, Space, encode_rows_into};
use crate::codec::quantizer::{CodeRows, Quantizer};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::{Seed, View};
use crate::segment::coding::{self, Coding};
use crate::segment::ids::IdsView;
use crate::segment::linking::GraphPlan;
use crate::segment::search::{self, Ask, SearchOptions, SearchStats, Target};
use crate::types::{Id, IdType, Row, Vectors};

/// Most rows of an index: a graph has room for no more.
pub(super) const MAX_ROWS: usize = (1 << 30) - 1;
/// Rows that are compared one by one before a search builds, and the share of those in the graph that
/// they must be.
const LEAST_UNBUILT: usize = 4_096;
const UNBUILT_SHARE: usize = 8;
/// Duplicate ids that an error lists.
const LISTED: usize = 100;

/// Rows, and a graph over the first of them.
#[derive(Debug)]
pub(super) struct Stored {
    space: Space,
    /// Room for at least as many rows as there are ids.
    vectors: AlignedBytes,
    /// One a row for cosine, else none.
    inverse_norms: Vec<f32>,
    ids: Vec<u64>,
    names: Names,
    /// The id of the next row that is given none.
    next: u64,
    built: Built,
    /// Dead rows of the graph, and of those behind it, counted from there.
    dead: [RowSet; 2],
}

/// How the live row of an id is found.
#[derive(Debug)]
enum Names {
    /// Every row is its own id and alive.
    Own,
    /// All rows are alive: as they were read from a file, in ascending order of id, or with the rows
    /// in that order.
    Ordered(Option<Vec<Row>>),
    /// The live row of each id.
    Table(HashMap<u64, Row>),
}

/// What is made of the first `rows` rows.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) rows: usize,
    pub(super) graph: AlignedBytes,
    pub(super) codes: Option<(Quantizer, AlignedBytes)>,
}

impl Stored {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            vectors: AlignedBytes::default(),
            inverse_norms: Vec::new(),
            ids: Vec::new(),
            names: Names::Own,
            next: 0,
            built: Built::default(),
            dead: Default::default(),
        }
    }

    /// Rows that were saved: `order` lists them by ascending id unless they stand so. `None` when it
    /// does not.
    pub(super) fn restore(
        space: Space,
        vectors: AlignedBytes,
        inverse_norms: Vec<f32>,
        (ids, order): (Vec<u64>, Option<Vec<Row>>),
        next: u64,
        built: Built,
    ) -> Option<Self> {
        let in_order = ids.iter().zip(0..).all(|(id, row): (&u64, u64)| *id == row);
        let ascends = match &order {
            None => ids.is_sorted_by(|a, b| a < b),
            Some(order) => {
                let known: Option<Vec<u64>> =
                    order.iter().map(|row| ids.get(*row as usize).copied()).collect();
                order.len() == ids.len() && known?.is_sorted_by(|a, b| a < b)
            }
        };
        if !ascends {
            return None;
        }
        let names = if in_order { Names::Own } else { Names::Ordered(order) };
        let dead = Default::default();
        // Whatever the file says, no number is given twice.
        let next = ids.iter().max().map_or(next, |most| next.max(most.saturating_add(1)));
        Some(Self { space, vectors, inverse_norms, ids, names, next, built, dead })
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len() - self.dead.iter().map(RowSet::len).sum::<usize>()
    }

    /// Rows behind the graph.
    pub(super) fn unbuilt(&self) -> usize {
        self.ids.len() - self.built.rows - self.dead[1].len()
    }

    /// Whether the graph holds the rows that there are and no others.
    pub(super) fn is_built(&self) -> bool {
        self.built.rows == self.ids.len() && self.dead.iter().all(RowSet::is_empty)
    }

    /// Whether searches lose more time on rows that are dead or not in the graph than they should.
    pub(super) fn wants_build(&self) -> bool {
        let waiting = self.ids.len() - self.built.rows;
        let (dead, half) = (self.dead[0].len(), self.built.rows / 2);
        (waiting > LEAST_UNBUILT && waiting > self.built.rows / UNBUILT_SHARE)
            || (dead > LEAST_UNBUILT && dead > half)
    }

    pub(super) fn row_of(&self, id: u64) -> Option<Row> {
        match &self.names {
            Names::Own => Row::try_from(id).ok().filter(|row| (*row as usize) < self.ids.len()),
            Names::Ordered(None) => self.ids.binary_search(&id).ok().map(row_number),
            Names::Ordered(Some(order)) => {
                let at = order.binary_search_by_key(&id, |row| self.ids[*row as usize]);
                at.ok().map(|at| order[at])
            }
            Names::Table(rows) => rows.get(&id).copied(),
        }
    }

    pub(super) fn add(&mut self, ids: Option<&[u64]>, vectors: &Vectors<'_>) -> Result<u64> {
        let rows = match ids {
            Some(ids) => ids.len(),
            None if vectors.is_empty() => 0,
            None => (vectors.len() / self.space.elements()).max(1),
        };
        if rows > MAX_ROWS - self.ids.len() {
            return Err(Error::invalid(format!("an index holds at most {MAX_ROWS} rows")));
        }
        let room = self.next.checked_add(rows as u64);
        if ids.is_none() && room.is_none() {
            return Err(Error::invalid("the largest id is in use; give ids for further rows"));
        }
        if let Some(ids) = ids {
            self.check_new(ids)?;
        }
        let encoded = encode_rows_into(self.space, vectors, rows, AlignedBytes::zeroed)?;
        // Nothing below fails.
        self.append(encoded.0, &encoded.1);
        let first = self.ids.len();
        match ids {
            Some(ids) => self.ids.extend_from_slice(ids),
            None => self.ids.extend(self.next..self.next + rows as u64),
        }
        let more = &self.ids[first..];
        let in_order = more.iter().zip(first as u64..).all(|(id, row)| *id == row);
        self.next = more.iter().fold(self.next, |next, id| next.max(id.saturating_add(1)));
        if matches!(self.names, Names::Own) && in_order {
            return Ok(rows as u64);
        }
        let added = self.ids[first..].iter().copied().zip(row_number(first)..);
        name_rows(&mut self.names, &self.ids[..first]).extend(added);
        Ok(rows as u64)
    }

    pub(super) fn remove(&mut self, ids: &[u64]) -> u64 {
        if !ids.iter().any(|id| self.row_of(*id).is_some()) {
            return 0;
        }
        let rows = name_rows(&mut self.names, &self.ids);
        let mut removed = 0;
        for id in ids {
            let Some(row) = rows.remove(id) else { continue };
            let graph_rows = row_number(self.built.rows);
            removed += u64::from(match row.checked_sub(graph_rows) {
                Some(behind) => self.dead[1].insert(behind),
                None => self.dead[0].insert(row),
            });
        }
        removed
    }

    /// Refuses ids that exist or are given twice, and the one that stands for none in results.
    fn check_new(&self, ids: &[u64]) -> Result<()> {
        if ids.contains(&u64::MAX) {
            return Err(Error::invalid("id 18446744073709551615 means no hit; give a smaller one"));
        }
        let mut met = std::collections::HashSet::with_capacity(ids.len());
        let mut known: Vec<Id> = Vec::new();
        for id in ids {
            if (self.row_of(*id).is_some() || !met.insert(*id)) && known.len() < LISTED {
                known.push(Id::U64(*id));
            }
        }
        if known.is_empty() { Ok(()) } else { Err(Error::DuplicateId { ids: known }) }
    }

    fn append(&mut self, vectors: AlignedBytes, inverse_norms: &[f32]) {
        self.inverse_norms.extend_from_slice(inverse_norms);
        let held = self.ids.len() * self.space.stride();
        if held == 0 {
            self.vectors = vectors;
            return;
        }
        let wanted = held + vectors.len();
        if wanted > self.vectors.len() {
            // Memory that is never written is never there.
            let mut larger = AlignedBytes::zeroed(wanted.max(held + held / 2));
            larger.as_mut_slice()[..held].copy_from_slice(&self.vectors.as_slice()[..held]);
            self.vectors = larger;
        }
        self.vectors.as_mut_slice()[held..wanted].copy_from_slice(vectors.as_slice());
    }

    /// Makes the graph one over all live rows. After `Cancelled` everything is as it was: searches walk
    /// the old graph.
    pub(super) fn build(&mut self, plan: &GraphPlan<'_>) -> Result<()> {
        if self.is_built() {
            return Ok(());
        }
        let old = std::mem::take(&mut self.built);
        let gone = self.gather(old.rows);
        let to = gone.moves(old.rows);
        let made =
            if self.ids.is_empty() { Ok(Built::default()) } else { self.make(plan, &old, &to) };
        match made {
            Ok(built) => {
                self.built = built;
                Ok(())
            }
            Err(error) => {
                self.scatter(gone, old.rows);
                self.built = old;
                Err(error)
            }
        }
    }

    fn make(&self, plan: &GraphPlan<'_>, old: &Built, to: &[Row]) -> Result<Built> {
        let (space, count) = (self.space, self.ids.len());
        let rows = self.rows_from(0, count);
        let coding = coding::choose(&plan.crew(), space, rows, count, plan.code.into())?;
        let codec = coding.map(|Coding { codec, .. }| codec);
        let coded = codec.map(|codec| plan.encode(&codec, rows, count).map(|codes| (codec, codes)));
        let codes = coded.transpose()?;
        let view = View::parse(Guarded::trusted(old.graph.as_slice()), old.rows);
        let seeds: Vec<_> = view.map(|view| Seed { view, to }).into_iter().collect();
        let coded = codes
            .as_ref()
            .map(|(codec, codes)| CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) });
        let graph = plan.link(space, rows, count, coded, &seeds)?.to_bytes();
        Ok(Built { rows: count, graph, codes })
    }

    /// The nearest rows into `found`.
    pub(super) fn search(&self, ask: Ask<'_>, options: &SearchOptions, found: &mut Vec<Neighbour>) {
        let (graph_rows, all) = (self.built.rows, self.ids.len());
        let graph = View::parse(Guarded::trusted(self.built.graph.as_slice()), graph_rows);
        let codes = self
            .built
            .codes
            .as_ref()
            .map(|(codec, codes)| CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) });
        for (range, graph, codes, dead) in [
            (0..graph_rows, graph, codes, &self.dead[0]),
            (graph_rows..all, None, None, &self.dead[1]),
        ] {
            let ids = &self.ids[range.clone()];
            let view = IdsView::section(IdType::U64, ids.len(), Guarded::trusted(ids.as_bytes()));
            let (Some(names), false) = (view, ids.is_empty()) else { continue };
            let rows = self.rows_from(range.start, range.end);
            let target = Target {
                rows,
                len: ids.len(),
                graph,
                codes,
                sketches: None,
                blocks: None,
                ids: names,
            };
            let nearest =
                search::search(&target, &[ask], options, dead, &mut SearchStats::default());
            found.extend(nearest.iter().flatten().map(|candidate| Neighbour {
                id: ids.get(candidate.row as usize).copied().unwrap_or(u64::MAX),
                distance: candidate.distance,
            }));
        }
        if graph_rows > 0 && graph_rows < all {
            found.sort_unstable_by(by_distance_and_id);
            found.truncate(options.k);
        }
    }

    fn rows_from(&self, first: usize, end: usize) -> Rows<'_, Trusted> {
        let stride = self.space.stride();
        let norms = self.inverse_norms.get(first..end).unwrap_or(&[]);
        Rows {
            vectors: Guarded::trusted(&self.vectors.as_slice()[first * stride..end * stride]),
            inverse_norms: Guarded::trusted(norms.as_bytes()),
        }
    }

    /// What a file of it holds.
    pub(super) fn pieces(&self, options: &IndexOptions) -> Pieces<'_> {
        let vectors = &self.vectors.as_slice()[..self.ids.len() * self.space.stride()];
        Pieces {
            space: self.space,
            rows: self.ids.len(),
            m: options.m,
            ef_construction: options.ef_construction,
            next: self.next,
            vectors,
            inverse_norms: self.inverse_norms.as_bytes(),
            ids: self.ids.as_bytes(),
            order: order_of(&self.ids).map(|rows| rows.as_bytes().to_vec()),
            codes: self.built.codes.as_ref().map(|(codec, codes)| (codec, codes.as_slice())),
            graph: self.built.graph.as_slice(),
        }
    }
}

fn by_distance_and_id(a: &Neighbour, b: &Neighbour) -> Ordering {
    a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id))
}

/// The table of rows by id, made of those of `ids`, which are all alive, where there is none yet.
fn name_rows<'a>(names: &'a mut Names, ids: &[u64]) -> &'a mut HashMap<u64, Row> {
    if !matches!(names, Names::Table(_)) {
        *names = Names::Table(ids.iter().copied().zip(0..).collect());
    }
    match names {
        Names::Table(rows) => rows,
        _ => unreachable!("made above"),
    }
}

/// The rows in ascending order of id; `None` where they stand so.
fn order_of(ids: &[u64]) -> Option<Vec<Row>> {
    if ids.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut rows: Vec<Row> = (0..row_number(ids.len())).collect();
    rows.sort_unstable_by_key(|row| ids[*row as usize]);
    Some(rows)
}

/// A position as a row; there are at most [`MAX_ROWS`].
fn row_number(position: usize) -> Row {
    Row::try_from(position).unwrap_or(Row::MAX)
}
