//! One logged operation and its bytes.
//!
//! ```text
//! op      = kind u8, version u8 (1), joined u8, reserved u8, ids
//!   1 upsert: vectors (element type u8, 3 × 0, dimension u32, rows × row bytes), attributes
//!   2 update: attributes
//!   3 delete: nothing
//!   4 schema: the schema as JSON, instead of ids
//! ids     = count u32, kind u8 (0 u64, 1 utf8), 3 × 0, then count × u64,
//!           or count × length u32 and the bytes
//! attributes = a column block (see `segment::columns`)
//! ```
//!
//! A schema that is joined (1) is part of one write with the operation behind it: where that is missing,
//! it counts as missing too. All integers little-endian, nothing aligned. The bytes come from a frame whose checksum was
//! right; they are checked again all the same, so that no log can make the engine panic.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::RecordBatch;

use super::options::Schema;
use crate::codec::full::{self, Space};
use crate::error::{Error, Result};
use crate::segment::columns::{self, Malformed};
use crate::segment::ids::IdColumn;
use crate::segment::memtable::Batch;
use crate::storage::wal::Payload;
use crate::types::{IdRef, Ids, MAX_ID_BYTES, VectorType};

const VERSION: u8 = 1;
const UPSERT: u8 = 1;
const UPDATE: u8 = 2;
const DELETE: u8 = 3;
const SCHEMA: u8 = 4;
/// Where an operation says that it is joined.
const JOINED_AT: usize = 2;

/// Vectors of fewer bytes are copied into the log record rather than shared with it.
const SHARED_BYTES: usize = 16 << 10;

/// A change of a collection.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Rows put in the place of those with the same ids.
    Upsert(Batch),
    /// New values of some attributes of existing rows.
    Update { ids: Ids<'static>, attributes: RecordBatch },
    /// Rows removed.
    Delete(Ids<'static>),
    /// The schema from here on.
    Schema(Schema),
}

impl Op {
    pub(crate) fn encode(&self, space: Space) -> Result<Payload> {
        let kind = match self {
            Self::Upsert(_) => UPSERT,
            Self::Update { .. } => UPDATE,
            Self::Delete(_) => DELETE,
            Self::Schema(_) => SCHEMA,
        };
        let mut payload = Payload::from(vec![kind, VERSION, 0, 0]);
        match self {
            Self::Upsert(rows) => {
                let count = rows.ids.len();
                put_ids(&mut payload.head, count, |row| rows.ids.at(row))?;
                put_vectors(&mut payload, space, rows);
                columns::encode(&rows.attributes, &mut payload.tail)?;
            }
            Self::Update { ids, attributes } => {
                put_ids(&mut payload.head, ids.len(), |row| ids.at(row))?;
                columns::encode(attributes, &mut payload.tail)?;
            }
            Self::Delete(ids) => put_ids(&mut payload.head, ids.len(), |row| ids.at(row))?,
            Self::Schema(schema) => serde_json::to_writer(&mut payload.head, schema)
                .map_err(|error| Error::invalid(format!("schema: {error}")))?,
        }
        Ok(payload)
    }

    /// Reads [`encode`](Self::encode); `Err` says what is wrong.
    pub(crate) fn decode(bytes: &[u8], space: Space) -> Result<Self, String> {
        let mut input = Input(bytes);
        let [kind, version, _, _] = input.array()?;
        if version != VERSION {
            return Err(format!("operation version {version}, expected {VERSION}"));
        }
        match kind {
            UPSERT => {
                let ids = input.ids(MAX_ID_BYTES)?;
                let (vectors, inverse_norms) = input.vectors(space, ids.len())?;
                let attributes = input.attributes(ids.len())?;
                let (ids, vectors) = (IdColumn::from_ids(&ids), Arc::new(vectors));
                Ok(Self::Upsert(Batch { ids, vectors, inverse_norms, attributes }))
            }
            UPDATE => {
                let ids = input.ids(MAX_ID_BYTES)?;
                let attributes = input.attributes(ids.len())?;
                Ok(Self::Update { ids, attributes })
            }
            DELETE => {
                // An id that no row can have was logged once all the same, and removes nothing.
                let ids = input.ids(usize::MAX)?;
                input.end()?;
                Ok(Self::Delete(ids))
            }
            SCHEMA => {
                let schema: Schema =
                    serde_json::from_slice(input.0).map_err(|error| error.to_string())?;
                schema.validate().map_err(|error| error.to_string())?;
                if schema.space() != space {
                    return Err("the schema has other vectors than the collection".into());
                }
                Ok(Self::Schema(schema))
            }
            _ => Err(format!("unknown operation kind {kind}")),
        }
    }
}

/// Says of the operations of one write that they are one.
pub(crate) fn join(payloads: &mut [Payload]) {
    if let Some((_, joined)) = payloads.split_last_mut() {
        joined.iter_mut().for_each(|payload| payload.head[JOINED_AT] = 1);
    }
}

/// Whether an operation counts only together with the one behind it.
pub(crate) fn is_joined(payload: &[u8]) -> bool {
    payload.first() == Some(&SCHEMA) && payload.get(JOINED_AT) == Some(&1)
}

fn length(value: usize) -> Result<[u8; 4]> {
    u32::try_from(value)
        .map(u32::to_le_bytes)
        .map_err(|error| Error::invalid(format!("{value} rows or bytes in one write: {error}")))
}

fn put_ids<'a>(out: &mut Vec<u8>, count: usize, at: impl Fn(usize) -> IdRef<'a>) -> Result<()> {
    out.extend(length(count)?);
    let text = count > 0 && matches!(at(0), IdRef::Utf8(_));
    out.extend([u8::from(text), 0, 0, 0]);
    for row in 0..count {
        match at(row) {
            IdRef::U64(id) => out.extend(id.to_le_bytes()),
            IdRef::Utf8(id) => out.extend(length(id.len())?),
        }
    }
    for row in 0..count {
        if let IdRef::Utf8(id) = at(row) {
            out.extend(id.as_bytes());
        }
    }
    Ok(())
}

fn type_code(vector_type: VectorType) -> u8 {
    match vector_type {
        VectorType::F32 => 0,
        VectorType::F16 => 1,
        VectorType::Bf16 => 2,
        VectorType::I8 => 3,
        VectorType::U8 => 4,
        VectorType::B1 => 5,
    }
}

fn put_vectors(payload: &mut Payload, space: Space, rows: &Batch) {
    let head = &mut payload.head;
    head.extend([type_code(space.vector_type), 0, 0, 0]);
    head.extend(u32::try_from(space.dimension).unwrap_or(u32::MAX).to_le_bytes());
    let bytes = space.vector_type.row_bytes(space.dimension);
    if bytes == space.stride() && rows.vectors.len() >= SHARED_BYTES {
        payload.body = Some(rows.vectors.clone());
        return;
    }
    for row in rows.vectors.as_slice().chunks_exact(space.stride()) {
        head.extend_from_slice(&row[..bytes]);
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("operation ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn count(&mut self) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn ids(&mut self, longest: usize) -> Result<Ids<'static>, String> {
        let count = self.count()?;
        match self.array()? {
            [0, 0, 0, 0] => {
                let bytes = self.take(count.checked_mul(8).ok_or("too many ids")?)?;
                let (ids, _) = bytes.as_chunks::<8>();
                Ok(Ids::U64(Cow::Owned(ids.iter().map(|id| u64::from_le_bytes(*id)).collect())))
            }
            [1, 0, 0, 0] => {
                let lengths = self.take(count.checked_mul(4).ok_or("too many ids")?)?;
                let (lengths, _) = lengths.as_chunks::<4>();
                let mut ids = Vec::with_capacity(count);
                for length in lengths {
                    let length = u32::from_le_bytes(*length) as usize;
                    if length > longest {
                        return Err(format!("id of {length} bytes"));
                    }
                    let id = std::str::from_utf8(self.take(length)?)
                        .map_err(|error| format!("id is not UTF-8: {error}"))?;
                    ids.push(Cow::Owned(id.to_owned()));
                }
                Ok(Ids::Utf8(ids))
            }
            kind => Err(format!("unknown kind of id {kind:?}")),
        }
    }

    fn vectors(
        &mut self,
        space: Space,
        rows: usize,
    ) -> Result<(crate::bytes::AlignedBytes, Vec<f32>), String> {
        let [code, _, _, _] = self.array()?;
        let dimension = self.count()?;
        if code != type_code(space.vector_type) || dimension != space.dimension {
            return Err(format!("vectors of type {code} and dimension {dimension}"));
        }
        let row_bytes = space.vector_type.row_bytes(dimension);
        let bytes = self.take(rows.checked_mul(row_bytes).ok_or("too many rows")?)?;
        full::pack_rows(space, bytes)
            .ok_or_else(|| "a vector holds NaN, infinity or bits beyond its dimension".to_owned())
    }

    fn attributes(&mut self, rows: usize) -> Result<RecordBatch, String> {
        let batch = columns::decode(std::mem::take(&mut self.0))
            .map_err(|Malformed(reason)| reason.to_owned())?;
        if batch.num_rows() != rows {
            return Err(format!("{} rows of attributes for {rows} ids", batch.num_rows()));
        }
        Ok(batch)
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err("operation has bytes left over".into()) }
    }
}
