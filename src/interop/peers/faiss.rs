//! Indexes that faiss writes (`faiss.write_index`), those that keep whole vectors of f32.
//!
//! ```text
//! index    = four characters · header · …                               numbers little-endian
//! header   = dimensions i32 · rows i64 · 2 × i64 · trained u8 · metric i32 (· argument f32 if > 1)
//! vector   = count u64 · elements
//! IxF2, IxFI, IxFl   flat: header · vector of f32
//! IxMp, IxM2         ids: header · index · vector of i64
//! IHNf               graph: header · 5 vectors (f64, i32, i32, u64, i32) · 5 × i32 · index
//! IwFl               lists: header · lists u64 · probed u64 · index of centroids
//!                    · map u8, vector of i64 (, vector of 16 bytes if it is 2)
//!                    · "ilar" · lists u64 · bytes of a vector u64
//!                    · "full" · vector of sizes u64, or "sprs" · vector of pairs of list and size
//!                    · of each list that is not empty: vectors · ids i64
//! ```

use crate::error::{Error, Result};
use crate::types::Metric;

use super::{IdPlace, Input, Layout, Run, dimension};
use crate::interop::npy::{Element, numbers};
use crate::interop::origin::Origin;

/// Indexes within an index that are gone into; faiss makes four (ids of lists of a graph of vectors).
const MAX_DEPTH: u32 = 6;
const ADVICE: &str = "write index.reconstruct_n(0, index.ntotal) as .npy and import that, with the \
                      ids as a metadata file";

/// Whether a file begins as an index of faiss, of those that are refused too.
pub(crate) fn recognised(first: &[u8]) -> bool {
    const MAX_DIMENSION: u32 = 1 << 20;
    match first {
        [b'I', b'x' | b'w' | b'v' | b'H' | b'B' | b'N' | b'P' | b'R' | b'S' | b'L', rest @ ..] => {
            let named = rest.iter().take(2).all(u8::is_ascii_alphanumeric);
            let dimensions = rest.get(2..).and_then(<[u8]>::first_chunk);
            let dimensions = dimensions.map_or(0, |bytes| u32::from_le_bytes(*bytes));
            named && (1..=MAX_DIMENSION).contains(&dimensions)
        }
        _ => false,
    }
}

pub(super) fn parse(input: &mut Input) -> Result<Layout> {
    let Index { header, runs, ids } = index(input, 0)?;
    input.end()?;
    let width = dimension(input, header.dimensions)?;
    let metric = match header.metric {
        0 => Ok(Metric::Dot),
        1 => Ok(Metric::L2),
        other => Err(format!(
            "it compares vectors by metric type {other} of faiss, which is not known here; give \
             the metric to use in its place"
        )),
    };
    let (element, stride) = (Element::F4, 4 * width);
    Ok(Layout { element, width, stride, start: 0, runs, ids, origin: Origin::of_peer(metric) })
}

#[derive(Clone, Copy)]
struct Header {
    dimensions: u64,
    rows: u64,
    metric: u32,
}

/// An index whose rows were found; the input stands behind it.
struct Index {
    header: Header,
    runs: Vec<Run>,
    ids: IdPlace,
}

fn index(input: &mut Input, depth: u32) -> Result<Index> {
    if depth == MAX_DEPTH {
        return Err(input.corrupt(&format!("more than {MAX_DEPTH} indexes lie in each other")));
    }
    let kind: [u8; 4] = input.take()?;
    match &kind {
        b"IxF2" | b"IxFI" | b"IxFl" => flat(input),
        b"IxMp" | b"IxM2" => mapped(input, depth),
        b"IHNf" => graph(input, depth),
        b"IwFl" => lists(input, depth),
        _ => Err(unread(input, &kind)),
    }
}

fn header(input: &mut Input) -> Result<Header> {
    let dimensions = u64::from(input.u32()?);
    let rows = input.u64()?;
    input.skip(17, 1)?;
    let metric = input.u32()?;
    if metric > 1 {
        input.skip(1, 4)?;
    }
    Ok(Header { dimensions, rows, metric })
}

fn flat(input: &mut Input) -> Result<Index> {
    let header = header(input)?;
    let values = input.u64()?;
    if header.rows.checked_mul(header.dimensions) != Some(values) {
        return Err(input.corrupt(&format!(
            "{} rows of {} dimensions are not the {values} numbers that it has",
            header.rows, header.dimensions
        )));
    }
    let run = Run { rows: header.rows, at: input.at(), ids_at: 0 };
    input.skip(values, 4)?;
    Ok(Index { header, runs: vec![run], ids: IdPlace::Positions })
}

fn mapped(input: &mut Input, depth: u32) -> Result<Index> {
    let outer = header(input)?;
    let Index { header, mut runs, ids } = inner(input, depth, outer)?;
    let rows = input.u64()?;
    if rows != header.rows {
        return Err(input.corrupt(&format!("it has {rows} ids for {} rows", header.rows)));
    }
    let at = input.at();
    input.skip(rows, 8)?;
    let ids = match ids {
        IdPlace::Positions => {
            runs.iter_mut().for_each(|run| run.ids_at = at);
            IdPlace::Arrays
        }
        IdPlace::Arrays => {
            input.seek(at)?;
            IdPlace::Mapped(numbers(&input.read(8 * rows)?, i64::from_le_bytes))
        }
        _ => return Err(input.refuse(format!("its ids are ids of ids of ids; {ADVICE}"))),
    };
    Ok(Index { header, runs, ids })
}

fn graph(input: &mut Input, depth: u32) -> Result<Index> {
    let outer = header(input)?;
    for size in [8, 4, 4, 8, 4] {
        pass(input, size)?;
    }
    input.skip(5, 4)?;
    inner(input, depth, outer)
}

/// The index that lies in one, and has the same rows.
fn inner(input: &mut Input, depth: u32, outer: Header) -> Result<Index> {
    let index = index(input, depth + 1)?;
    let Header { dimensions, rows, .. } = index.header;
    if (dimensions, rows) != (outer.dimensions, outer.rows) {
        return Err(input.corrupt(&format!(
            "an index of {} rows of {} dimensions has {rows} rows of {dimensions} in it",
            outer.rows, outer.dimensions
        )));
    }
    Ok(Index { header: outer, ..index })
}

fn lists(input: &mut Input, depth: u32) -> Result<Index> {
    let header = header(input)?;
    let (count, _probed) = (input.u64()?, input.u64()?);
    index(input, depth + 1)?;
    let [map] = input.take()?;
    pass(input, 8)?;
    if map == 2 {
        pass(input, 16)?;
    }
    match &input.take()? {
        b"ilar" => {}
        b"il00" => {
            return Err(input.refuse("it was written without its lists of vectors".to_owned()));
        }
        other => {
            return Err(input.refuse(format!(
                "its lists of vectors are of kind {}, not in this file or not as arrays; {ADVICE}",
                other.escape_ascii()
            )));
        }
    }
    let (again, vector_bytes) = (input.u64()?, input.u64()?);
    if again != count || header.dimensions.checked_mul(4) != Some(vector_bytes) {
        return Err(input.corrupt(&format!(
            "{again} lists of vectors of {vector_bytes} bytes are not {count} of {} dimensions",
            header.dimensions
        )));
    }
    let runs = runs(input, count, vector_bytes)?;
    let rows = runs.iter().map(|run| run.rows).sum::<u64>();
    if rows != header.rows {
        return Err(input.corrupt(&format!("its lists have {rows} rows, not {}", header.rows)));
    }
    Ok(Index { header, runs, ids: IdPlace::Arrays })
}

/// The lists that are not empty.
fn runs(input: &mut Input, count: u64, vector_bytes: u64) -> Result<Vec<Run>> {
    let kind: [u8; 4] = input.take()?;
    let sizes = input.u64()?;
    let sparse = match &kind {
        b"full" if sizes == count => false,
        b"sprs" if sizes.is_multiple_of(2) && sizes / 2 <= count => true,
        _ => return Err(input.corrupt(&format!("it has {sizes} sizes of {count} lists"))),
    };
    // First only passed over: so many sizes there are.
    let sizes_at = input.at();
    input.skip(sizes, 8)?;
    let mut at = input.at();
    let end = at + input.left();
    input.seek(sizes_at)?;
    let mut runs = Vec::new();
    for number in 0..sizes {
        let rows = input.u64()?;
        if rows == 0 || (sparse && number.is_multiple_of(2)) {
            continue;
        }
        let vectors = rows.checked_mul(vector_bytes).and_then(|bytes| bytes.checked_add(at));
        let ids_at = vectors.unwrap_or(u64::MAX);
        let next = rows.checked_mul(8).and_then(|bytes| bytes.checked_add(ids_at));
        let next = next.filter(|next| *next <= end).ok_or_else(|| {
            input.corrupt(&format!("a list of {rows} rows ends behind it; was it cut short?"))
        })?;
        runs.push(Run { rows, at, ids_at });
        at = next;
    }
    input.seek(at)?;
    Ok(runs)
}

/// Passes over a vector of elements of `size` bytes.
fn pass(input: &mut Input, size: u64) -> Result<()> {
    let count = input.u64()?;
    input.skip(count, size)
}

/// The error of an index of another kind.
fn unread(input: &Input, kind: &[u8; 4]) -> Error {
    let what = match kind {
        b"null" => return input.refuse("a graph was written without its vectors".to_owned()),
        [b'I', b'B', ..] => "an index of bits",
        b"IxPT" => "an index of transformed vectors",
        b"IxRF" | b"IxRP" => "an index of codes, refined by another",
        b"IxSQ" | b"IwSQ" | b"IwSq" | b"IHNs" | b"INSs" => "an index of scalar codes",
        b"IxPQ" | b"IxPo" | b"IxPq" | b"IvPQ" | b"IvQR" | b"IwPQ" | b"IwQR" | b"IHNp" | b"INSp"
        | b"IPfs" | b"IwPf" => "an index of product codes",
        [b'I', ..] => "an index of a kind that is not read",
        _ => return input.corrupt("it does not begin as an index that faiss writes"),
    };
    let kind = kind.escape_ascii();
    input.refuse(format!(
        "it is, or has in it, {what} ({kind}); flat vectors, their graphs (HNSW) and lists \
         (IVF,Flat) are read, with ids or without. From another, {ADVICE}"
    ))
}
