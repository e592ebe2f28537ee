//! The graph's bytes.
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::error::Result;

/// A graph just built.
#[derive(Debug)]
pub(crate) struct Graph(());
impl Graph {
    /// Length in bytes of what `write` writes.
    pub(crate) fn size_bytes(&self) -> usize {
        todo!()
    }
    /// Writes the graph's bytes, in order, to `sink`.
    pub(crate) fn write(&self, _sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        todo!()
    }
    pub(crate) fn to_bytes(&self) -> AlignedBytes {
        todo!()
    }
}

/// A graph read in place.
#[derive(Debug)]
pub(crate) struct View<'a, G> {
    bytes: Guarded<'a, G>,
}
impl<'a, G: Guard> View<'a, G> {
    /// `None` unless the bytes are a graph of `rows` rows, as far as its header tells.
    pub(crate) fn parse(bytes: Guarded<'a, G>, _rows: usize) -> Option<Self> {
        Some(Self { bytes })
    }
}
