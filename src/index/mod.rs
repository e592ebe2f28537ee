//! Nearest-neighbour structures over stored rows: an exact scan, a scan by codes and a graph.
//!
//! Bytes in, candidates out. Knows rows and distances; never a file, an id or an attribute.
//! Graph bytes and rows come through guards and may be damaged: answers may then be wrong, but
//! every access stays inside its slice and every loop ends.

#[cfg(feature = "testing")]
pub mod bench;
pub(crate) mod bit_scan;
pub(crate) mod flat;
pub(crate) mod hnsw;
pub(crate) mod inverted;
pub(crate) mod nearest;
pub(crate) mod product_scan;
pub(crate) mod sparse;
pub(crate) mod topk;
mod visited;
