//! Writes of any size: what is too large for one record of the log goes in as an import, which is
//! atomic as well and needs no second copy of the whole.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use nearfield::{Collection, Error, Ids, ImportBatch, ImportOptions, Result, Vectors};

use crate::collection::Given;
use crate::files;
use crate::interrupt::Task;

/// Bytes of a batch up to which it is written through the log, which takes 256 MiB in one record.
const LOGGED_BYTES: usize = 192 << 20;
/// Bytes of vectors from which a write looks for Ctrl-C.
const LONG_BYTES: usize = 16 << 20;
/// Bytes of vectors that are copied at a time for an import.
const CHUNK_BYTES: usize = 8 << 20;

/// Whether so many rows take so long that somebody may want to end it.
pub(crate) fn is_long(rows: usize, row_bytes: usize) -> bool {
    rows.saturating_mul(row_bytes) > LONG_BYTES
}

/// Rows to be written.
pub(crate) struct Write<'a> {
    pub(crate) ids: Ids<'a>,
    pub(crate) vectors: Vectors<'a>,
    /// Bytes that a vector takes in the collection.
    pub(crate) row_bytes: usize,
    /// Whether ids that exist are refused instead of replaced.
    pub(crate) only_new: bool,
}

/// Stores all rows or none.
pub(crate) fn write(
    collection: &Collection,
    rows: &Write<'_>,
    data: Given<'_>,
    task: Option<&Task>,
) -> Result<u64> {
    let total = Some(rows.ids.len() as u64);
    if task.is_some_and(|task| !task.tell("writing", 0, total)) {
        return Err(Error::Cancelled);
    }
    let written = store(collection, rows, data, task)?;
    if let Some(task) = task {
        task.tell("done", written, total);
    }
    Ok(written)
}

fn store(
    collection: &Collection,
    rows: &Write<'_>,
    data: Given<'_>,
    task: Option<&Task>,
) -> Result<u64> {
    let Write { ids, vectors, row_bytes, only_new } = rows;
    let id_bytes = match ids {
        Ids::U64(ids) => size_of_val(&**ids),
        Ids::Utf8(ids) => ids.iter().map(|id| id.len() + size_of::<u64>()).sum(),
    };
    let data_bytes = data.batch.map_or(0, RecordBatch::get_array_memory_size);
    let bytes = ids.len().saturating_mul(*row_bytes) + id_bytes + data_bytes;
    if bytes <= LOGGED_BYTES {
        return match only_new {
            true => collection.add(ids.clone(), vectors.clone(), data.attributes()),
            false => collection.upsert(ids.clone(), vectors.clone(), data.attributes()),
        };
    }
    if *only_new {
        // The import finds them too, but late.
        collection.check_new(ids)?;
    }
    let rows = ids.len();
    let step = (CHUNK_BYTES / row_bytes.max(&1)).max(1);
    let width = vectors.len() / rows.max(1);
    let chunks = (0..rows).step_by(step).map(|start| {
        let end = rows.min(start + step);
        Ok(ImportBatch {
            ids: some_ids(ids, start, end),
            vectors: vectors.gather(start..end, width),
            attributes: data.batch.map(|data| data.slice(start, end - start)),
            source_rows: (start as u64..end as u64).collect(),
            rejected: Vec::new(),
        })
    });
    let options =
        task.map_or_else(ImportOptions::new, |task| files::options(task, Some(rows as u64)));
    let options = options.only_new(*only_new).columns(data.missing.iter().cloned());
    Ok(collection.import(chunks, options)?.rows)
}

pub(crate) fn some_ids(ids: &Ids<'_>, start: usize, end: usize) -> Ids<'static> {
    match ids {
        Ids::U64(ids) => Ids::U64(Cow::Owned(ids[start..end].to_vec())),
        Ids::Utf8(ids) => {
            Ids::Utf8(ids[start..end].iter().map(|id| Cow::Owned(id.to_string())).collect())
        }
    }
}
