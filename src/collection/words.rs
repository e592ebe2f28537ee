//! Search by words at work: the indexes of all parts of a view, the best rows by score, snippets.
//!
//! > Statistics are those of all live rows, whatever a filter leaves and wherever the rows lie: a score
//! > does not change when rows move from memory to a segment, or segments are merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::explain::{SearchList, Trace};
use super::options::Schema;
use super::query::Query;
use super::ranking::{Ranked, by_score};
use super::snapshot::{PartView, Place, View};
use super::{Collection, Snapshot};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::segment::attributes::texts::TextWriter;
use crate::segment::columns;
use crate::segment::search::SearchStats;
use crate::text::index::ColumnIndex;
use crate::text::options::Cutting;
use crate::text::search::{self, LookedUp, Searched, Source};
use crate::text::snippet::Snippet;
use crate::text::words::Words;
use crate::types::{Column, Row};

/// Rows found between two looks at whether the search goes on.
const CHECKED_HITS: u32 = 1 << 16;
/// Hits kept before the worst of them go.
const LEAST_KEPT: usize = 1_024;

/// The snippets of a hit, by column.
pub type Snippets = BTreeMap<String, Snippet>;

/// Words to look for, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct WordAsk {
    /// Those of each query.
    pub(crate) words: Option<Vec<Words>>,
    /// Columns with their weights; none for all columns of texts.
    pub(crate) columns: Vec<(String, f32)>,
}

impl WordAsk {
    /// The query as the columns of `schema` read it.
    pub(crate) fn plan(&self, schema: &Schema) -> Result<search::Plan> {
        let mut columns: Vec<Searched> = Vec::new();
        for (name, weight) in &self.columns {
            schema.find(name)?;
            let Some(options) = schema.text_options(name) else {
                return Err(Error::invalid(format!(
                    "column {name:?} is not indexed for search by words; add_text_index does that"
                )));
            };
            if !weight.is_finite() || *weight < 0.0 {
                return Err(Error::invalid(format!(
                    "the weight of column {name:?} is {weight}, expected a number of 0 or more"
                )));
            }
            if columns.iter().any(|column| column.name == *name) {
                return Err(Error::invalid(format!("column {name:?} is given twice")));
            }
            columns.push(Searched { name: name.clone(), options, weight: *weight });
        }
        if self.columns.is_empty() {
            let all = schema.text_columns();
            columns.extend(all.map(|(column, options)| Searched {
                name: column.name.clone(),
                options,
                weight: 1.0,
            }));
        }
        if columns.is_empty() {
            return Err(Error::invalid(
                "no column is indexed for search by words; declare one as text, or call add_text_index",
            ));
        }
        match self.words.iter().flatten().next() {
            Some(words) => search::plan(words, columns),
            None => search::plan(&Words::new(""), columns),
        }
    }

    /// What is asked of one query.
    pub(crate) fn one(&self, query: usize) -> Self {
        let of_query = |words: &Vec<Words>| words.get(query).into_iter().cloned().collect();
        Self { words: self.words.as_ref().map(of_query), columns: self.columns.clone() }
    }
}

/// Rows that are searched together: those of a part as they are stored, or those updated together.
struct Piece {
    part: usize,
    /// The rows of the part that these are; `None` for all of them.
    rows: Option<Vec<Row>>,
    indexes: Vec<Arc<ColumnIndex>>,
    gone: RowSet,
    /// How long it took to find, or to make, its indexes.
    time: Duration,
}

impl View {
    /// The `k` rows of most score, of which those that `hidden` names for each part are none.
    pub(crate) fn words(
        &self,
        plan: &search::Plan,
        k: usize,
        hidden: Option<&[RowSet]>,
        check: &dyn Fn() -> Result<()>,
        traces: Option<&mut Vec<Trace>>,
    ) -> Result<Vec<Ranked>> {
        if k == 0 || plan.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<(&Column, Cutting)> = Vec::new();
        for column in plan.columns() {
            wanted.push((self.schema.find(&column.name)?, column.options.cutting()));
        }
        let mut pieces = Vec::new();
        for (index, part) in self.parts().enumerate().filter(|(_, part)| part.live() > 0) {
            check()?;
            pieces_of(index, part, &wanted, &mut pieces)?;
        }
        let sources: Vec<Source<'_>> = pieces
            .iter()
            .map(|piece| Source { indexes: piece.indexes.clone(), gone: &piece.gone })
            .collect();
        let mut best = Best::new(self.parts().collect(), k);
        let mut seen: u32 = 0;
        // Rows that each piece gives.
        let mut given = vec![0_usize; pieces.len()];
        let looked = plan.run(&sources, check, |source, row, score| {
            seen = seen.wrapping_add(1);
            if seen.is_multiple_of(CHECKED_HITS) {
                check()?;
            }
            let piece: &Piece = &pieces[source];
            let row = match &piece.rows {
                Some(rows) => rows.get(row as usize).copied().unwrap_or(Row::MAX),
                None => row,
            };
            match hidden.and_then(|hidden| hidden.get(piece.part)) {
                Some(hidden) if hidden.contains(row) => Ok(()),
                _ => {
                    given[source] += 1;
                    best.offer(score, Place { part: piece.part, row })
                }
            }
        })?;
        if let Some(traces) = traces {
            self.trace(&pieces, &looked, &given, hidden, traces);
        }
        best.finish()
    }

    /// Says of each part what was looked up in its pieces and what they gave.
    fn trace(
        &self,
        pieces: &[Piece],
        looked: &[LookedUp],
        given: &[usize],
        hidden: Option<&[RowSet]>,
        traces: &mut Vec<Trace>,
    ) {
        let parts: Vec<&Arc<PartView>> = self.parts().collect();
        let before = traces.len();
        for ((piece, looked), given) in pieces.iter().zip(looked).zip(given) {
            let same = traces[before..].iter().rposition(|trace| trace.part == piece.part);
            let at = same.map_or(traces.len(), |at| before + at);
            if at == traces.len() {
                let hidden = hidden.and_then(|hidden| hidden.get(piece.part));
                traces.push(Trace {
                    list: SearchList::Words,
                    part: piece.part,
                    matching: hidden.map(|hidden| parts[piece.part].part.len() - hidden.len()),
                    stats: SearchStats::default(),
                    candidates: 0,
                    time: Duration::ZERO,
                    words: Some(vec![0; looked.rows.len()]),
                });
            }
            let trace = &mut traces[at];
            trace.stats.postings += looked.postings;
            trace.candidates += given;
            trace.time += piece.time + looked.time;
            let counts = trace.words.iter_mut().flatten().zip(&looked.rows);
            counts.for_each(|(count, rows)| *count += rows);
        }
    }

    /// For each place what stands around the words of the query, by column.
    pub(crate) fn snippets(
        &self,
        plan: &search::Plan,
        places: &[Place],
        most: usize,
    ) -> Result<Vec<Snippets>> {
        let names: Vec<String> = plan.columns().iter().map(|column| column.name.clone()).collect();
        let texts = self.attributes(places, &self.schema.select(Some(&names))?)?;
        let mut snippets = vec![Snippets::new(); places.len()];
        for (column, name) in names.iter().enumerate() {
            let mut marker = plan.marker(column);
            let array = texts.column_by_name(name).and_then(|array| array.as_string_opt::<i64>());
            let Some(array) = array else { continue };
            for (at, snippets) in snippets.iter_mut().enumerate() {
                if array.is_valid(at) {
                    snippets.insert(name.clone(), marker.snippet(array.value(at), most));
                }
            }
        }
        Ok(snippets)
    }
}

fn pieces_of(
    index: usize,
    part: &PartView,
    wanted: &[(&Column, Cutting)],
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    let mut start = Instant::now();
    let mut took = || std::mem::replace(&mut start, Instant::now()).elapsed();
    let mut gone = part.dead.clone();
    for (rows, indexes) in part.patch.text_layers(wanted)? {
        let mut hidden = RowSet::default();
        for (at, row) in (0..).zip(rows) {
            if !gone.insert(*row) {
                hidden.insert(at);
            }
        }
        let (rows, gone, time) = (Some(rows.to_vec()), hidden, took());
        pieces.push(Piece { part: index, rows, indexes, gone, time });
    }
    let indexes = wanted.iter().map(|(column, cutting)| part.part.text_index(column, *cutting));
    let indexes = indexes.collect::<Result<_>>()?;
    pieces.push(Piece { part: index, rows: None, indexes, gone, time: took() });
    Ok(())
}

/// The rows of most score so far, equal ones by ascending id.
struct Best<'a> {
    parts: Vec<&'a Arc<PartView>>,
    k: usize,
    found: Vec<(f32, Place)>,
    /// Rows of less score are none of them.
    least: f32,
    /// Rows kept before the worst go.
    most: usize,
}

impl<'a> Best<'a> {
    fn new(parts: Vec<&'a Arc<PartView>>, k: usize) -> Self {
        let most = k.saturating_mul(2).max(LEAST_KEPT);
        Self { parts, k, found: Vec::new(), least: f32::NEG_INFINITY, most }
    }

    #[inline]
    fn offer(&mut self, score: f32, place: Place) -> Result<()> {
        if score < self.least {
            return Ok(());
        }
        self.found.push((score, place));
        if self.found.len() >= self.most { self.prune() } else { Ok(()) }
    }

    /// Drops all but the best `k`.
    fn prune(&mut self) -> Result<()> {
        let order = |a: &(f32, Place), b: &(f32, Place)| b.0.total_cmp(&a.0);
        let Some(last) = self.k.checked_sub(1).filter(|last| *last < self.found.len()) else {
            return Ok(());
        };
        self.found.select_nth_unstable_by(last, order);
        let least = self.found[last].0;
        self.least = least;
        let (mut kept, ties): (Vec<_>, Vec<_>) = self
            .found
            .drain(..)
            .filter(|(score, _)| *score >= least)
            .partition(|(score, _)| *score > least);
        let room = self.k - kept.len();
        if ties.len() > room {
            let mut ties = self.named(ties)?;
            ties.sort_by(|a, b| a.id.cmp(&b.id));
            kept.extend(ties.iter().take(room).map(|tie| (least, tie.place)));
        } else {
            kept.extend(ties);
        }
        self.found = kept;
        Ok(())
    }

    fn named(&self, found: Vec<(f32, Place)>) -> Result<Vec<Ranked>> {
        let name = |(score, place): (f32, Place)| {
            let id = self.parts[place.part].part.id(place.row)?;
            Ok(Ranked { id, place, score, distance: None, ranks: Vec::new() })
        };
        found.into_iter().map(name).collect()
    }

    fn finish(mut self) -> Result<Vec<Ranked>> {
        self.prune()?;
        let found = std::mem::take(&mut self.found);
        let mut ranked = self.named(found)?;
        ranked.sort_by(by_score);
        Ok(ranked)
    }
}

/// What writes the indexes of a segment's texts; those that are the same in `before` are copied.
pub(crate) fn writers(schema: &Schema, before: Option<&PartView>) -> Result<Vec<TextWriter>> {
    let writer = |(column, options): (&Column, crate::text::options::TextOptions)| {
        let file = before.and_then(|part| part.as_segment()?.0.attribute_file());
        match (before, file) {
            (Some(part), Some(file)) if is_same(part, column)? => {
                Ok(TextWriter::copied(&column.name, options.cutting(), file))
            }
            _ => Ok(TextWriter::new(&column.name, options.cutting())),
        }
    };
    schema.text_columns().map(writer).collect()
}

/// Whether updates have left the texts of a column as they were.
fn is_same(part: &PartView, column: &Column) -> Result<bool> {
    let rows = part.patch.rows();
    let wanted = columns::arrow_schema([(column.name.as_str(), column.data_type)].into_iter());
    let stored = part.part.attributes(&rows, &wanted)?;
    let now = part.patch.apply(&rows, &stored, &wanted)?;
    Ok(stored.column(0) == now.column(0))
}

impl Snapshot {
    /// As [`Collection::search_words`].
    pub fn search_words(&self, words: impl Into<Words>) -> Query<'static> {
        self.search_words_each([words])
    }

    /// As [`Collection::search_words_each`].
    pub fn search_words_each<W: Into<Words>>(
        &self,
        words: impl IntoIterator<Item = W>,
    ) -> Query<'static> {
        let snapshot = self.host.check().map(|()| self.clone());
        Query::of(snapshot, None).words_each(words)
    }
}

impl Collection {
    /// Begins a search for the rows whose texts match `words` best: a query in the language of
    /// [`Words`], or with [`Words::plain`] any text.
    ///
    /// Scores are BM25, summed over the columns searched; a hit has no distance, and `-score` stands in
    /// its place. A query of which nothing is left, because it is empty or of stop words alone, finds
    /// nothing.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// use nearfield::arrow_array::{ArrayRef, LargeStringArray, RecordBatch};
    /// use nearfield::{Metric, Schema};
    ///
    /// let docs = db.collection("docs", Schema::new(2, Metric::L2).text("body"))?;
    /// let texts = LargeStringArray::from(vec!["a page fault", "pages of a book"]);
    /// let texts: ArrayRef = std::sync::Arc::new(texts);
    /// let batch = RecordBatch::try_from_iter([("body", texts)]).expect("one column");
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], &batch)?;
    ///
    /// let hits = docs.search_words("page +fault").highlight(40).run()?;
    /// assert_eq!((hits.len(), hits[0].id.clone()), (1, 1.into()));
    /// let snippets = hits.snippets.expect("asked for");
    /// assert_eq!(snippets[0]["body"].marked("<", ">"), "a <page> <fault>");
    /// # Ok(()) }
    /// ```
    pub fn search_words(&self, words: impl Into<Words>) -> Query<'static> {
        self.search_words_each([words])
    }

    /// Begins many searches by words, for [`Query::run_batch`].
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2).text("body"))?;
    /// let answers = docs.search_words_each(["page fault", "+segfault -windows"]).k(3).run_batch()?;
    /// assert_eq!(answers.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn search_words_each<W: Into<Words>>(
        &self,
        words: impl IntoIterator<Item = W>,
    ) -> Query<'static> {
        Query::of(self.snapshot(), None).words_each(words)
    }
}
