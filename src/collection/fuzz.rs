//! Doors for fuzzing: decoders that otherwise only see bytes with a right checksum.

use super::op::Op;
use crate::codec::blocks::BlockCodec;
use crate::codec::full::{Space, Stage};
use crate::codec::quantizer::Quantizer;
use crate::filter::rowset::RowSet;
use crate::segment::columns;
use crate::types::{Metric, VectorType};

/// Decodes `bytes` as everything they could be; what comes of it does not matter.
#[doc(hidden)]
pub fn decode(bytes: &[u8]) {
    for vector_type in [
        VectorType::F32,
        VectorType::F16,
        VectorType::Bf16,
        VectorType::I8,
        VectorType::U8,
        VectorType::B1,
    ] {
        let metric = if vector_type == VectorType::B1 { Metric::Hamming } else { Metric::Cosine };
        let space = Space { dimension: 3, vector_type, metric, stage: Stage::Given };
        drop(Op::decode(bytes, space));
        drop(Quantizer::parse(bytes, space));
        drop(BlockCodec::parse(bytes, space));
    }
    drop(columns::decode(bytes));
    drop(RowSet::from_bytes(bytes, 1_000));
}
