//! Indexes that usearch saves, versions 2.10 and later of its `index_dense`.
//!
//! ```text
//! rows · bytes of a vector        u32, or u64 when made with `use_64_bit_dimensions`
//! vectors
//! head of 64 bytes: "usearch" · version 3 × u16 · metric u8 · kinds of elements, keys and slots
//!                   u8 · rows present u64 · removed u64 · dimensions u64 · multi u8
//! rows u64 · links u64 · links on level 0 u64 · top level u64 · entry u64
//! level of each row i16
//! nodes: key u64 · level i16 · links on level 0 (count u32, slots) · links of each level above
//! ```
//! The key of a removed row is all ones.

use crate::error::Result;
use crate::types::Metric;

use super::{Called, IdPlace, Input, Layout, Run, dimension};
use crate::interop::npy::{Element, numbers};
use crate::interop::origin::Origin;

const MAGIC: &[u8; 7] = b"usearch";
const HEAD_BYTES: usize = 64;
/// Bytes of a key and a level.
const NODE_HEAD_BYTES: u64 = 10;
/// Most links of a row on a level that are believed.
const MAX_LINKS: u64 = 1 << 20;

/// Whether the file is one of usearch, from the place where its head then lies.
pub(crate) fn recognised(path: &std::path::Path) -> Result<bool> {
    let mut input = Input::open(path)?;
    Ok(matrix(&mut input)?.is_some())
}

/// The rows and where they lie, and the bytes of a vector; the input stands at the head.
fn matrix(input: &mut Input) -> Result<Option<(Run, u64)>> {
    for size in [4, 8, 0] {
        input.seek(0)?;
        if input.left() < HEAD_BYTES as u64 + 2 * size {
            continue;
        }
        let (rows, bytes) = match size {
            4 => (u64::from(input.u32()?), u64::from(input.u32()?)),
            8 => (input.u64()?, input.u64()?),
            _ => (0, 0),
        };
        let at = input.at();
        let most = input.left() - HEAD_BYTES as u64;
        let Some(matrix) = rows.checked_mul(bytes).filter(|matrix| *matrix <= most) else {
            continue;
        };
        input.seek(at + matrix)?;
        if input.take::<7>()? == *MAGIC {
            input.seek(at + matrix)?;
            return Ok(Some((Run { rows, at, ids_at: 0 }, bytes)));
        }
    }
    Ok(None)
}

pub(super) fn parse(input: &mut Input) -> Result<Layout> {
    let Some((run, vector_bytes)) = matrix(input)? else {
        return Err(input.corrupt(
            "the head of an index of usearch is not where it should be; was it cut short?",
        ));
    };
    let head: [u8; HEAD_BYTES] = input.take()?;
    let version = [7, 9].map(|at| u16::from_le_bytes([head[at], head[at + 1]]));
    let [metric, kind, key, slot] = [13, 14, 15, 16].map(|at: usize| head[at]);
    let number = |at: usize| head[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (present, removed, dimensions) = (number(17), number(25), number(33));
    if version[0] != 2 || version[1] < 10 {
        return Err(input.refuse(format!(
            "it is of usearch {}.{}, versions 2.10 and later are read; save it again by one of \
             these",
            version[0], version[1]
        )));
    }
    if run.at == 0 {
        return Err(input.refuse("it was saved without its vectors; save them too".to_owned()));
    }
    if head[41] != 0 {
        return Err(input.refuse(
            "it may have several vectors a key (multi), a row has one; save the vectors as .npy \
             with a metadata file of ids of their own"
                .to_owned(),
        ));
    }
    if key != 14 {
        return Err(input.refuse(format!(
            "its keys are of kind {key}, unsigned integers of 64 bits (14) are read"
        )));
    }
    let slot_bytes = match slot {
        15 => 4,
        2 => 5,
        14 => 8,
        _ => return Err(input.corrupt(&format!("its slots are of an unknown kind, {slot}"))),
    };
    let (element, bits) = element(input, kind)?;
    let declared = dimension(input, dimensions)?;
    let width = if bits { declared.div_ceil(8) } else { declared };
    let stride = width * element.size_bytes();
    if stride as u64 != vector_bytes {
        return Err(input.corrupt(&format!(
            "vectors of {declared} dimensions take {stride} bytes, its own take {vector_bytes}"
        )));
    }
    if present.checked_add(removed) != Some(run.rows) {
        return Err(input.corrupt(&format!(
            "{present} rows and {removed} removed ones are not the {} that it has",
            run.rows
        )));
    }
    let mut origin = Origin::of_peer(metric_of(metric, bits));
    if bits {
        origin.bits(declared);
    }
    let nodes = Nodes::parse(input, run.rows, slot_bytes)?;
    Ok(Layout {
        element,
        width,
        stride,
        start: 0,
        runs: vec![run],
        ids: IdPlace::Nodes(nodes),
        origin,
    })
}

/// The kind of elements, and whether they are bits.
fn element(input: &Input, kind: u8) -> Result<(Element, bool)> {
    Ok(match kind {
        1 => (Element::U1, true),
        4 => (Element::Bf16, false),
        10 => (Element::F8, false),
        11 => (Element::F4, false),
        12 => (Element::F2, false),
        17 => (Element::U1, false),
        23 => (Element::I1, false),
        _ => {
            return Err(input.refuse(format!(
                "its elements are of kind {kind} of usearch; f64, f32, f16, bf16, i8, u8 and b1 \
                 are read. Copy the vectors into an index of one of these"
            )));
        }
    })
}

fn metric_of(metric: u8, bits: bool) -> Result<Metric, String> {
    Ok(match (metric, bits) {
        (b'i', false) => Metric::Dot,
        (b'c', false) => Metric::Cosine,
        (b'e', false) => Metric::L2,
        (b'b', true) => Metric::Hamming,
        (b't' | b'j', true) => Metric::Jaccard,
        _ => {
            return Err(format!(
                "it compares {} by a metric of usearch, {:?}, that is not known here; give the \
                 metric to use in its place",
                if bits { "bits" } else { "numbers" },
                char::from(metric)
            ));
        }
    })
}

/// The nodes of the graph, which begin with the keys.
#[derive(Debug)]
pub(super) struct Nodes {
    left: u64,
    /// Where the level of the next row lies, and its node.
    level_at: u64,
    node_at: u64,
    /// Bytes of a node on level 0 alone, and of the links of each level above.
    base_bytes: u64,
    level_bytes: u64,
}

impl Nodes {
    fn parse(input: &mut Input, rows: u64, slot_bytes: u64) -> Result<Self> {
        let (nodes, links, base) = (input.u64()?, input.u64()?, input.u64()?);
        input.skip(2, 8)?;
        if nodes != rows || links > MAX_LINKS || base > MAX_LINKS {
            return Err(input.corrupt(&format!(
                "its graph has {nodes} nodes of {links} and {base} links for {rows} rows"
            )));
        }
        let level_at = input.at();
        input.skip(rows, 2)?;
        let nodes = Self {
            left: rows,
            level_at,
            node_at: input.at(),
            base_bytes: NODE_HEAD_BYTES + 4 + base * slot_bytes,
            level_bytes: 4 + links * slot_bytes,
        };
        input.skip(rows, nodes.base_bytes)?;
        if rows == 0 {
            input.end()?;
        }
        Ok(nodes)
    }

    /// The keys of the next rows.
    pub(super) fn keys(
        &mut self,
        input: &mut Input,
        rows: u64,
        called: &mut Vec<Called>,
    ) -> Result<()> {
        input.seek(self.level_at)?;
        let levels = input.read(2 * rows)?;
        self.level_at += 2 * rows;
        for level in numbers(&levels, i16::from_le_bytes) {
            input.seek(self.node_at)?;
            let key = input.u64()?;
            let own = i16::from_le_bytes(input.take()?);
            let above = u64::try_from(level).ok().filter(|_| own == level);
            let above =
                above.ok_or_else(|| input.corrupt("a node is not on the level it should"))?;
            self.node_at += self.base_bytes + above * self.level_bytes;
            called.push(if key == u64::MAX { Called::Deleted } else { Called::Id(key) });
        }
        // The last node ends the file.
        input.seek(self.node_at)?;
        self.left -= rows;
        if self.left == 0 { input.end() } else { Ok(()) }
    }
}
