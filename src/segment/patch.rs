//! Attribute values newer than those stored with a part: rows → whole attribute rows.
//!
//! An update of attributes never touches vectors: until the part's attribute file is written
//! anew, the new rows are kept here, over it. A patch is a value; changing it makes another one
//! that shares its layers, so a snapshot keeps the patch it was made with. Layers are ordered
//! newest first and shrink geometrically, so that n single updates cost O(n log n) copies and a
//! lookup asks O(log n) layers. Must never know an id, a vector or a file.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::columns;
use crate::error::{Error, Result};
use crate::types::Row;

/// Sequence number of the write that a row came with.
type SeqNo = u64;

/// Rows that have values together, and for each column asked for the index of their texts.
#[cfg(feature = "text")]
pub(crate) type TextLayer<'a> = (&'a [Row], Vec<Arc<crate::text::index::ColumnIndex>>);

/// Attribute rows laid over those of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    layers: Vec<Arc<Layer>>,
}

/// Rows updated together, or merged since.
#[derive(Debug)]
struct Layer {
    /// Ascending, each once.
    rows: Vec<Row>,
    /// Of each row, the write it came with.
    seqs: Vec<SeqNo>,
    /// One attribute row for each of `rows`, in the schema of its time.
    batch: RecordBatch,
    /// Columns in which the rows may differ from what is below; `None` when any may.
    touched: Option<Arc<BTreeSet<String>>>,
    #[cfg(feature = "text")]
    text: crate::text::cell::TextCell,
}

impl Patch {
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// This patch under the rows of the write `seq`; where `rows` names one twice, the last
    /// wins. `batch` has one row for each of `rows`, with all columns of its schema; all but those
    /// `touched` have the values that are below, and `None` says that any may differ.
    pub(crate) fn with_touched(
        &self,
        rows: &[Row],
        batch: &RecordBatch,
        seq: SeqNo,
        touched: Option<BTreeSet<String>>,
    ) -> Result<Self> {
        if rows.len() != batch.num_rows() {
            return Err(Error::invalid(format!(
                "{} rows were given {} rows of attributes",
                rows.len(),
                batch.num_rows()
            )));
        }
        if rows.is_empty() {
            return Ok(self.clone());
        }
        let mut order: Vec<(Row, usize)> = rows.iter().copied().zip(0..).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        order.dedup_by_key(|entry| entry.0);
        let picks = order
            .iter()
            .map(|(_, index)| (0, Row::try_from(*index).unwrap_or(Row::MAX)))
            .collect::<Vec<_>>();
        let layer = Layer::new(
            order.iter().map(|(row, _)| *row).collect(),
            vec![seq; order.len()],
            columns::gather(batch.schema_ref(), &[batch], &picks)?,
            touched.map(Arc::new),
        );
        self.under(Arc::new(layer))
    }

    #[cfg(test)]
    pub(crate) fn with(&self, rows: &[Row], batch: &RecordBatch, seq: SeqNo) -> Result<Self> {
        self.with_touched(rows, batch, seq, None)
    }

    /// Only the rows that came with a write after `seq`.
    pub(crate) fn after(&self, seq: SeqNo) -> Result<Self> {
        let mut layers = Vec::new();
        for layer in &self.layers {
            if layer.seqs.iter().all(|s| *s > seq) {
                layers.push(Arc::clone(layer));
                continue;
            }
            let kept: Vec<usize> =
                (0..layer.rows.len()).filter(|index| layer.seqs[*index] > seq).collect();
            if !kept.is_empty() {
                layers.push(Arc::new(layer.only(&kept)?));
            }
        }
        Ok(Self { layers })
    }

    /// The first write whose rows are here.
    pub(crate) fn oldest(&self) -> Option<SeqNo> {
        self.layers.iter().flat_map(|layer| layer.seqs.iter().copied()).min()
    }

    /// The attributes of `rows`: those of `stored` (one row for each of `rows`), replaced where
    /// this patch has newer ones, as columns of `wanted`.
    pub(crate) fn apply(
        &self,
        rows: &[Row],
        stored: &RecordBatch,
        wanted: &SchemaRef,
    ) -> Result<RecordBatch> {
        let mut picks = Vec::with_capacity(rows.len());
        let mut patched = false;
        for (index, row) in (0..).zip(rows) {
            let found = self.find(*row);
            patched |= found.is_some();
            picks.push(found.map_or((0, index), |(layer, at)| (layer + 1, at)));
        }
        if !patched {
            return columns::project(stored, wanted);
        }
        let sources: Vec<&RecordBatch> =
            std::iter::once(stored).chain(self.layers.iter().map(|layer| &layer.batch)).collect();
        columns::gather(wanted, &sources, &picks)
    }

    /// The rows this patch has values for, ascending.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows_where(|_| true)
    }

    /// Those whose value in `column` may be another than the stored one.
    pub(crate) fn rows_touching(&self, column: &str) -> Vec<Row> {
        self.rows_where(|layer| layer.touches(column))
    }

    fn rows_where(&self, counts: impl Fn(&Layer) -> bool) -> Vec<Row> {
        let layers = self.layers.iter().filter(|layer| counts(layer));
        let mut rows: Vec<Row> = layers.flat_map(|layer| layer.rows.iter().copied()).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// The same values under other row numbers: `renumber` says where a row went, each to a
    /// place of its own, `None` that it is gone.
    pub(crate) fn renumbered(&self, renumber: impl Fn(Row) -> Option<Row>) -> Result<Self> {
        let mut moved = Self::default();
        for layer in self.layers.iter().rev() {
            let mut kept: Vec<(Row, usize)> = layer
                .rows
                .iter()
                .enumerate()
                .filter_map(|(index, row)| Some((renumber(*row)?, index)))
                .collect();
            if kept.is_empty() {
                continue;
            }
            kept.sort_unstable();
            let indexes: Vec<usize> = kept.iter().map(|(_, index)| *index).collect();
            let mut copy = layer.only(&indexes)?;
            copy.rows = kept.into_iter().map(|(row, _)| row).collect();
            moved = moved.under(Arc::new(copy))?;
        }
        Ok(moved)
    }

    /// This patch and another one that has no row in common with it.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        Self { layers: self.layers.iter().chain(&other.layers).cloned().collect() }
    }

    /// Memory held by the values, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let layer = |layer: &Arc<Layer>| layer.rows.len() * 12 + columns::size_bytes(&layer.batch);
        let text = self.text_bytes();
        self.layers.iter().map(layer).sum::<usize>() + text
    }

    /// The part of it that indexes of texts hold.
    pub(crate) fn text_bytes(&self) -> usize {
        #[cfg(feature = "text")]
        return self.layers.iter().map(|layer| layer.text.memory_bytes()).sum();
        #[cfg(not(feature = "text"))]
        0
    }

    /// Newest first: rows that have texts together, and the index of a column of those, row after row.
    /// A row counts where it comes first; rows whose texts are the stored ones are in none.
    #[cfg(feature = "text")]
    pub(crate) fn text_layers(
        &self,
        columns: &[(&crate::types::Column, crate::text::options::Cutting)],
    ) -> Result<Vec<TextLayer<'_>>> {
        let layer = |layer: &'_ Arc<Layer>| {
            let index = |(column, cutting): &(&crate::types::Column, _)| {
                layer.text.get(&column.name, *cutting, || {
                    super::words::index_of(
                        layer.batch.column_by_name(&column.name),
                        column,
                        *cutting,
                        layer.rows.len(),
                    )
                })
            };
            columns.iter().map(index).collect::<Result<Vec<_>>>()
        };
        let touches =
            |layer: &&Arc<Layer>| columns.iter().any(|(column, _)| layer.touches(&column.name));
        let layers = self.layers.iter().filter(touches);
        layers.map(|found| Ok((found.rows.as_slice(), layer(found)?))).collect()
    }

    /// This patch under one layer, merged with those below that are not much larger.
    fn under(&self, layer: Arc<Layer>) -> Result<Self> {
        let mut layers = vec![layer];
        layers.extend(self.layers.iter().cloned());
        while let [newer, older, ..] = layers.as_slice() {
            if newer.rows.len() * 2 < older.rows.len() {
                break;
            }
            let merged = Arc::new(newer.over(older)?);
            layers.splice(0..2, [merged]);
        }
        Ok(Self { layers })
    }

    /// Layer and position of the newest values of `row`.
    fn find(&self, row: Row) -> Option<(usize, Row)> {
        self.layers.iter().enumerate().find_map(|(layer, values)| {
            let at = values.rows.binary_search(&row).ok()?;
            Some((layer, Row::try_from(at).ok()?))
        })
    }
}

impl Layer {
    fn new(
        rows: Vec<Row>,
        seqs: Vec<SeqNo>,
        batch: RecordBatch,
        touched: Option<Arc<BTreeSet<String>>>,
    ) -> Self {
        Self {
            rows,
            seqs,
            batch,
            touched,
            #[cfg(feature = "text")]
            text: crate::text::cell::TextCell::default(),
        }
    }

    /// Both layers in one; `self` wins.
    fn over(&self, older: &Self) -> Result<Self> {
        let (mut a, mut b) = (0, 0);
        let mut rows = Vec::with_capacity(self.rows.len() + older.rows.len());
        let mut seqs = Vec::with_capacity(rows.capacity());
        let mut picks: Vec<(usize, Row)> = Vec::with_capacity(rows.capacity());
        while a < self.rows.len() || b < older.rows.len() {
            let newer = self.rows.get(a);
            let other = older.rows.get(b);
            let own = other.is_none() || newer.is_some_and(|row| Some(row) <= other);
            let (source, layer, at) = if own { (0, self, a) } else { (1, older, b) };
            rows.push(layer.rows[at]);
            seqs.push(layer.seqs[at]);
            picks.push((source, Row::try_from(at).unwrap_or(Row::MAX)));
            if own {
                b += usize::from(newer == other);
                a += 1;
            } else {
                b += 1;
            }
        }
        let schema = wider(self.batch.schema_ref(), older.batch.schema_ref());
        let batch = columns::gather(schema, &[&self.batch, &older.batch], &picks)?;
        let touched = match (&self.touched, &older.touched) {
            (Some(a), Some(b)) if a == b => Some(Arc::clone(a)),
            (Some(a), Some(b)) => Some(Arc::new(a.union(b).cloned().collect())),
            _ => None,
        };
        Ok(Self::new(rows, seqs, batch, touched))
    }

    fn touches(&self, column: &str) -> bool {
        self.touched.as_ref().is_none_or(|touched| touched.contains(column))
    }

    fn only(&self, indexes: &[usize]) -> Result<Self> {
        let picks: Vec<Row> =
            indexes.iter().map(|index| Row::try_from(*index).unwrap_or(Row::MAX)).collect();
        Ok(Self::new(
            indexes.iter().map(|index| self.rows[*index]).collect(),
            indexes.iter().map(|index| self.seqs[*index]).collect(),
            columns::take(&self.batch, &picks)?,
            self.touched.clone(),
        ))
    }
}

/// The schema with more columns: columns are only ever added.
pub(crate) fn wider<'a>(a: &'a SchemaRef, b: &'a SchemaRef) -> &'a SchemaRef {
    if b.fields().len() > a.fields().len() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DataType;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Array, Int64Array};
    use std::collections::BTreeMap;

    fn batch(values: &[i64]) -> RecordBatch {
        let schema = columns::arrow_schema([("a", DataType::Int64)].into_iter());
        let array = Arc::new(Int64Array::from(values.to_vec()));
        columns::assemble(schema, vec![array], values.len()).expect("one column")
    }

    fn values(batch: &RecordBatch) -> Vec<Option<i64>> {
        batch.column(0).as_primitive::<Int64Type>().iter().collect()
    }

    fn read(patch: &Patch, rows: &[Row]) -> Vec<Option<i64>> {
        let stored = batch(&vec![-1; rows.len()]);
        values(&patch.apply(rows, &stored, stored.schema_ref()).expect("rows agree"))
    }

    #[test]
    fn the_newest_value_of_a_row_wins() {
        let patch = Patch::default().with(&[4, 2, 4], &batch(&[1, 2, 3]), 1).expect("rows agree");
        assert_eq!(read(&patch, &[0, 2, 4]), [Some(-1), Some(2), Some(3)]);
        let newer = patch.with(&[2], &batch(&[9]), 2).expect("rows agree");
        assert_eq!(read(&newer, &[4, 2, 2]), [Some(3), Some(9), Some(9)]);
        assert_eq!(read(&patch, &[2]), [Some(2)], "the older value of the patch is kept");
        assert!(patch.with(&[1, 2], &batch(&[1]), 3).is_err());
    }

    #[test]
    fn many_single_updates_stay_in_few_layers_and_agree_with_a_map() {
        let mut patch = Patch::default();
        let mut model = BTreeMap::new();
        for step in 0..500u32 {
            let row = step.wrapping_mul(7_919) % 97;
            let value = i64::from(step);
            patch = patch.with(&[row], &batch(&[value]), u64::from(step)).expect("rows agree");
            model.insert(row, value);
            assert!(patch.layers.len() <= 10, "{} layers", patch.layers.len());
        }
        let rows: Vec<Row> = (0..100).collect();
        let expected: Vec<_> =
            rows.iter().map(|row| Some(model.get(row).copied().unwrap_or(-1))).collect();
        assert_eq!(read(&patch, &rows), expected);
        assert_eq!(patch.rows(), model.keys().copied().collect::<Vec<_>>());
    }

    #[test]
    fn rows_are_told_by_the_columns_that_an_update_gave() {
        let given = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let one = batch(&[1]);
        let patch = Patch::default().with_touched(&[7], &one, 1, given(&["b"])).expect("agree");
        assert_eq!((patch.rows_touching("a"), patch.rows_touching("b")), (vec![], vec![7]));
        // Merged they may differ in what either gave.
        let both = patch.with_touched(&[9], &one, 2, given(&["a"])).expect("agree");
        assert_eq!(both.rows_touching("a"), [7, 9]);
        assert_eq!(both.rows_touching("c"), [0; 0]);
        assert_eq!(both.after(1).expect("agree").rows_touching("b"), [9]);
        assert_eq!(both.with(&[3], &one, 3).expect("agree").rows_touching("c"), [3, 7, 9]);
        assert_eq!(both.rows(), [7, 9]);
    }

    #[test]
    fn only_what_is_newer_than_a_write_is_kept() {
        let mut patch = Patch::default();
        for seq in 1..=6u32 {
            patch = patch
                .with(&[seq, 50], &batch(&[i64::from(seq); 2]), u64::from(seq))
                .expect("rows agree");
        }
        let newer = patch.after(4).expect("a selection");
        assert_eq!(newer.rows(), [5, 6, 50]);
        assert_eq!(read(&newer, &[50, 4]), [Some(6), Some(-1)]);
        assert!(patch.after(6).expect("a selection").is_empty());
        assert!(newer.memory_bytes() < patch.memory_bytes());
    }

    #[test]
    fn a_row_of_an_older_schema_has_null_in_a_newer_column() {
        let patch = Patch::default().with(&[1], &batch(&[5]), 1).expect("rows agree");
        let wide =
            columns::arrow_schema([("a", DataType::Int64), ("b", DataType::Utf8)].into_iter());
        let stored = columns::project(&batch(&[7, 8]), &wide).expect("a null column");
        let applied = patch.apply(&[0, 1], &stored, &wide).expect("rows agree");
        assert_eq!(values(&applied), [Some(7), Some(5)]);
        assert!(applied.column(1).is_null(1));
        let both = patch.with(&[2], &stored.slice(0, 1), 2).expect("rows agree");
        assert_eq!(both.layers.len(), 1);
        assert_eq!(both.layers[0].batch.num_columns(), 2);
    }

    #[test]
    fn renumbering_moves_values_and_drops_those_of_lost_rows() {
        let patch = Patch::default()
            .with(&[1, 2, 3, 4, 5], &batch(&[10, 20, 30, 40, 50]), 1)
            .and_then(|patch| patch.with(&[2], &batch(&[21]), 2))
            .expect("rows agree");
        let moved = patch.renumbered(|row| (row != 3).then(|| 10 - row)).expect("a selection");
        assert_eq!(moved.rows(), [5, 6, 8, 9]);
        assert_eq!(read(&moved, &[8, 9, 7]), [Some(21), Some(10), Some(-1)]);
        assert_eq!(moved.after(1).expect("a selection").rows(), [8]);
    }
}
