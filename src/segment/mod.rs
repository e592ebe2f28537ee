//! Segments and memtable chunks: the only place where files and vectors meet.

pub(crate) mod columns;
