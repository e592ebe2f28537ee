//! Segments and memtable chunks: the only place where files and vectors meet.

pub(crate) mod columns;
pub(crate) mod id_table;
pub(crate) mod ids;
pub(crate) mod patch;
