//! Hits with what stands around them: chunks of the same document at positions near theirs.
//!
//! > The filter says what may be a hit. What is around a hit is there to be read with it, and comes from
//! > all live rows of the snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;

use super::group::{GroupBy, Key};
use super::query::{Query, Request};
use super::reading::Records;
use super::snapshot::{Place, View};
use crate::error::{Error, Result};
use crate::filter::{Filter, col};
use crate::segment::columns;
use crate::types::{DataType, Id};

/// What is read around each hit.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    chunks: i64,
    document: GroupBy,
    position: String,
}

/// Chunks of one document: position, id, place; in that order.
type Chunks = Vec<(i64, Id, Place)>;
/// A document, and the first and last position that are wanted of it.
type Wanted<'k> = (&'k Key, (i64, i64));

impl Query<'_> {
    /// Reads around each hit the rows of the same document whose positions are at most `chunks` away from its own:
    /// those before it, itself and those behind it, in order of position ([`Hits::windows`](crate::Hits::windows)).
    /// `document` names the column that says which document a row is of (bool, int64, timestamp or
    /// utf8), `position` the int64 column that numbers the rows of each.
    ///
    /// They are rows of the same snapshot, whether the filter finds them or not: it says what is a hit, and a window
    /// is what to read with it. Deleted rows are not among them. A hit without a document or a
    /// position is alone in its window. The columns are those selected, all where none is.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// use std::sync::Arc;
    /// use nearfield::arrow_array::{Int64Array, LargeStringArray, RecordBatch};
    ///
    /// use nearfield::{DataType, Metric, Schema};
    ///
    /// let schema = Schema::new(1, Metric::L2).column("book", DataType::Utf8).column("page", DataType::Int64);
    /// let docs = db.collection("docs", schema)?;
    /// let pages = RecordBatch::try_from_iter([
    ///     ("book", Arc::new(LargeStringArray::from(vec!["a", "a", "a", "b"])) as _),
    ///     ("page", Arc::new(Int64Array::from(vec![1, 2, 3, 3])) as _),
    /// ]).expect("a batch");
    /// docs.upsert(&[1, 2, 3, 4], &[1.0_f32, 2.0, 3.0, 4.0], &pages)?;
    /// let hits = docs.search(&[3.1_f32]).k(1).window(1, "book", "page").run()?;
    /// assert_eq!(hits.windows.expect("asked for")[0].ids, [2, 3].map(nearfield::Id::from));
    /// # Ok(()) }
    /// ```
    pub fn window(
        mut self,
        chunks: usize,
        document: impl Into<String>,
        position: impl Into<String>,
    ) -> Self {
        let chunks = i64::try_from(chunks).unwrap_or(i64::MAX);
        let (document, position) = (GroupBy(document.into()), position.into());
        self.request.window = Some(Window { chunks, document, position });
        self
    }
}

impl Request<'_> {
    /// The windows of hits at `places`, if they are asked for.
    pub(super) fn windows(
        &self,
        view: &View,
        places: &[Place],
        wanted: Option<&SchemaRef>,
    ) -> Result<Option<Vec<Records>>> {
        let Some(window) = &self.window else { return Ok(None) };
        let wanted =
            wanted.map_or_else(|| view.schema.select(None), |wanted| Ok(wanted.clone()))?;
        let read = |chunks: Vec<(Id, Place)>| {
            let (ids, places): (Vec<Id>, Vec<Place>) = chunks.into_iter().unzip();
            let vectors = self.with_vectors.then(|| view.vectors(&places)).transpose()?;
            Ok(Records { ids, vectors, attributes: view.attributes(&places, &wanted)? })
        };
        let around = window.around(view, places, self.cancel.as_ref())?;
        around.into_iter().map(read).collect::<Result<_>>().map(Some)
    }
}

impl Window {
    /// Refuses columns that number nothing.
    pub(super) fn check(&self, view: &View) -> Result<()> {
        let unknown = |purpose: &'static str| {
            move |error| match error {
                Error::NotFound { what, hint } => {
                    Error::NotFound { what: format!("{what}, {purpose},"), hint }
                }
                other => other,
            }
        };
        let purpose = "of the documents of a window";
        self.document.column_for(view, purpose).map_err(unknown(purpose))?;
        let purpose = "of the positions of a window";
        match view.schema.find(&self.position).map_err(unknown(purpose))?.data_type {
            DataType::Int64 => Ok(()),
            other => Err(Error::SchemaMismatch {
                what: format!("column {:?}, {purpose}", self.position),
                expected: DataType::Int64.to_string(),
                given: other.to_string(),
            }),
        }
    }

    /// What is around each of `places`, in order.
    fn around(
        &self,
        view: &View,
        places: &[Place],
        cancel: Option<&Arc<AtomicBool>>,
    ) -> Result<Vec<Vec<(Id, Place)>>> {
        let keys = self.document.keys(view, places)?;
        let positions = self.positions(view, places)?;
        let range = |position: i64| {
            (position.saturating_sub(self.chunks), position.saturating_add(self.chunks))
        };
        let wanted: Vec<Option<Wanted<'_>>> = (keys.iter().zip(&positions))
            .map(|(key, position)| Some((key, range((*position)?))))
            .map(|wanted| wanted.filter(|(key, _)| **key != Key::Null))
            .collect();
        let chunks = match self.filter(wanted.iter().flatten()) {
            Some(filter) => self.chunks_of(view, &filter, cancel)?,
            None => HashMap::new(),
        };
        let parts: Vec<_> = view.parts().collect();
        let window = |(place, wanted): (&Place, &Option<Wanted<'_>>)| {
            let of_document = wanted.and_then(|(key, range)| Some((chunks.get(key)?, range)));
            let Some((chunks, (low, high))) = of_document else {
                return Ok(vec![(parts[place.part].part.id(place.row)?, *place)]);
            };
            let start = chunks.partition_point(|(position, ..)| *position < low);
            let near = chunks[start..].iter().take_while(|(position, ..)| *position <= high);
            Ok(near.map(|(_, id, place)| (id.clone(), *place)).collect())
        };
        places.iter().zip(&wanted).map(window).collect()
    }

    /// Finds all rows of the windows, and some others of their documents.
    fn filter<'k>(&self, wanted: impl Iterator<Item = &'k Wanted<'k>>) -> Option<Filter> {
        let (keys, mut ranges): (Vec<&Key>, Vec<(i64, i64)>) = wanted.copied().unzip();
        ranges.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (low, high) in ranges {
            match joined.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        let near = |(low, high): (i64, i64)| col(self.position.as_str()).between(low, high);
        let near = joined.into_iter().map(near).reduce(Filter::or)?;
        let documents = keys.into_iter().filter_map(Key::value);
        Some(col(self.document.0.as_str()).is_in(documents).and(near))
    }

    /// The rows that `filter` finds, by document.
    fn chunks_of(
        &self,
        view: &View,
        filter: &Filter,
        cancel: Option<&Arc<AtomicBool>>,
    ) -> Result<HashMap<Key, Chunks>> {
        let places = view.places(&view.bind(filter)?.until(cancel.cloned()))?;
        let keys = self.document.keys(view, &places)?;
        let positions = self.positions(view, &places)?;
        let parts: Vec<_> = view.parts().collect();
        let mut chunks: HashMap<Key, Chunks> = HashMap::new();
        for ((place, key), position) in places.into_iter().zip(keys).zip(positions) {
            if let Some(position) = position {
                let id = parts[place.part].part.id(place.row)?;
                chunks.entry(key).or_default().push((position, id, place));
            }
        }
        chunks.values_mut().for_each(|chunks| chunks.sort_unstable());
        Ok(chunks)
    }

    fn positions(&self, view: &View, places: &[Place]) -> Result<Vec<Option<i64>>> {
        let wanted = columns::arrow_schema([(&*self.position, DataType::Int64)].into_iter());
        let batch = view.attributes(places, &wanted)?;
        let column = batch.column(0);
        let position =
            |row| column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row));
        Ok((0..places.len()).map(position).collect())
    }
}
