//! Indexes that hnswlib saves (`HierarchicalNSW::saveIndex`), of vectors of f32.
//!
//! ```text
//! offset of level 0 (0) · capacity · rows · bytes of a row · offset of its label · of its vector
//! · top level i32 · entry u32 · links above level 0 · links on level 0 · M · 1/ln M f64
//! · ef_construction                                                         u64 where not said
//! rows:  links on level 0 (count u16, u8 whose lowest bit marks deleted rows, u8, u32 each)
//!        · vector · label u64
//! links above level 0 of each row: bytes u32 · links
//! ```
//! There is no magic and neither the metric nor the type of elements. Vectors are as hnswlib
//! keeps them: for its space `cosine` they are normalized.

use crate::error::Result;

use super::{IdPlace, Input, Layout, Run, dimension};
use crate::interop::npy::{Element, numbers};
use crate::interop::origin::Origin;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 96;
/// Most links of a row on level 0; hnswlib itself makes at most 20,000.
const MAX_LINKS: u64 = 1 << 16;

struct Header {
    rows: u64,
    stride: u64,
    label_at: u64,
    vector_at: u64,
}

impl Header {
    /// None for what hnswlib does not write.
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        // The two numbers of 32 bits that lie among them are read as one.
        let fields = numbers(bytes, u64::from_le_bytes);
        let [level0, capacity, rows, stride, label_at, vector_at, _, _, links, _, _, _] =
            *fields.first_chunk()?;
        let known = level0 == 0
            && rows <= capacity
            && (1..=MAX_LINKS).contains(&links)
            && vector_at == 4 * links + 4
            && label_at > vector_at
            && label_at.checked_add(8) == Some(stride);
        known.then_some(Self { rows, stride, label_at, vector_at })
    }
}

/// Whether a file begins as one of hnswlib.
pub(crate) fn recognised(first: &[u8]) -> bool {
    first.first_chunk().is_some_and(|header| Header::parse(header).is_some())
}

pub(super) fn parse(input: &mut Input) -> Result<Layout> {
    let header = Header::parse(&input.take()?)
        .ok_or_else(|| input.corrupt("it does not begin as an index that hnswlib saves"))?;
    let Header { rows, stride, label_at, vector_at } = header;
    let vector_bytes = label_at - vector_at;
    if !vector_bytes.is_multiple_of(4) {
        return Err(input.refuse(format!(
            "its vectors take {vector_bytes} bytes, no multiple of 4; those of 32-bit floats are \
             read"
        )));
    }
    let width = dimension(input, vector_bytes / 4)?;
    let run = Run { rows, at: input.at(), ids_at: 0 };
    input.skip(rows, stride)?;
    // Each row takes bytes of the file, so that the count is bounded by its length.
    for _ in 0..rows {
        let links = input.u32()?;
        input.skip(u64::from(links), 1)?;
    }
    input.end()?;
    // They are small now: links and dimensions are bounded.
    let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    Ok(Layout {
        element: Element::F4,
        width,
        stride: place(stride),
        start: place(vector_at),
        runs: vec![run],
        ids: IdPlace::Rows { id: place(label_at), mark: 2 },
        origin: Origin::of_peer(Err(
            "hnswlib does not save how vectors are compared; give the metric of its space: l2, \
             cosine, or dot for `ip`"
                .to_owned(),
        )),
    })
}
