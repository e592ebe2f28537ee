//! numpy arrays of shape (rows, dimension), format versions 1 to 3.
//!
//! ```text
//! 0x93 "NUMPY" · major u8 · minor u8 · header length u16 (v1) or u32 (v2, v3) LE
//! · header: a Python dict literal, e.g. {'descr': '<f4', 'fortran_order': False, 'shape': (9, 3), }
//! · the elements, row by row
//! ```
//! Never evaluates anything: object arrays, which are pickles, are refused. Source: numpy's
//! `numpy.lib.format`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::types::{MAX_DIMENSION, VectorType, Vectors};

/// Longest header that is read; numpy itself refuses headers above 10,000 bytes.
const MAX_HEADER_BYTES: u32 = 1 << 16;

#[derive(Debug)]
pub(super) struct Npy {
    path: PathBuf,
    input: BufReader<File>,
    element: Element,
    pub(super) rows: u64,
    pub(super) dimension: usize,
}

/// Numbers that vectors of a file consist of, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Element {
    /// bfloat16, which numpy has no name for.
    Bf16,
    F2,
    F4,
    F8,
    U1,
    U2,
    U4,
    U8,
    I1,
    I2,
    I4,
    I8,
}

impl Element {
    const ALL: [(&'static str, Self); 11] = [
        ("f2", Self::F2),
        ("f4", Self::F4),
        ("f8", Self::F8),
        ("u1", Self::U1),
        ("u2", Self::U2),
        ("u4", Self::U4),
        ("u8", Self::U8),
        ("i1", Self::I1),
        ("i2", Self::I2),
        ("i4", Self::I4),
        ("i8", Self::I8),
    ];

    pub(super) fn size_bytes(self) -> usize {
        match self {
            Self::U1 | Self::I1 => 1,
            Self::Bf16 | Self::F2 | Self::U2 | Self::I2 => 2,
            Self::F4 | Self::U4 | Self::I4 => 4,
            Self::F8 | Self::U8 | Self::I8 => 8,
        }
    }

    /// The type that holds them without loss where there is one, else f32.
    pub(super) fn vector_type(self) -> VectorType {
        match self {
            Self::Bf16 => VectorType::Bf16,
            Self::F2 => VectorType::F16,
            Self::I1 => VectorType::I8,
            Self::U1 => VectorType::U8,
            _ => VectorType::F32,
        }
    }

    pub(super) fn decode(self, bytes: Vec<u8>) -> Vectors<'static> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to f32 is meant; the engine refuses what becomes infinite"
        )]
        let double = |bytes: [u8; 8]| f64::from_le_bytes(bytes) as f32;
        match self {
            Self::U1 => bytes.into(),
            Self::Bf16 => numbers(&bytes, bf16::from_le_bytes).into(),
            Self::F2 => numbers(&bytes, f16::from_le_bytes).into(),
            Self::F4 => numbers(&bytes, f32::from_le_bytes).into(),
            Self::F8 => numbers(&bytes, double).into(),
            Self::I1 => numbers(&bytes, i8::from_le_bytes).into(),
            Self::U2 => numbers(&bytes, |bytes| f32::from(u16::from_le_bytes(bytes))).into(),
            Self::I2 => numbers(&bytes, |bytes| f32::from(i16::from_le_bytes(bytes))).into(),
            Self::U4 => numbers(&bytes, |bytes| u32::from_le_bytes(bytes) as f32).into(),
            Self::I4 => numbers(&bytes, |bytes| i32::from_le_bytes(bytes) as f32).into(),
            Self::U8 => numbers(&bytes, |bytes| u64::from_le_bytes(bytes) as f32).into(),
            Self::I8 => numbers(&bytes, |bytes| i64::from_le_bytes(bytes) as f32).into(),
        }
    }
}

impl Npy {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let error = |source| Error::io("read", path, source);
        let file = File::open(path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        let mut input = BufReader::with_capacity(1 << 16, file);
        let (text, start) = header(path, &mut input)?;
        let array = parse(path, &text)?;
        let row_bytes = array.dimension as u64 * array.element.size_bytes() as u64;
        let needed = array.rows.checked_mul(row_bytes).and_then(|data| data.checked_add(start));
        if needed.is_none_or(|needed| needed > length) {
            return Err(Error::corrupt(
                path,
                "data",
                format!(
                    "the header declares {} rows of {} elements, the file of {length} bytes ends \
                     before; was it cut short?",
                    array.rows, array.dimension
                ),
            ));
        }
        Ok(Self {
            path: path.into(),
            input,
            element: array.element,
            rows: array.rows,
            dimension: array.dimension,
        })
    }

    pub(super) fn vector_type(&self) -> VectorType {
        self.element.vector_type()
    }

    /// The next `rows` rows; the caller asks for no more than there are.
    pub(super) fn read(&mut self, rows: usize) -> Result<Vectors<'static>> {
        let mut bytes = vec![0; rows * self.dimension * self.element.size_bytes()];
        self.input
            .read_exact(&mut bytes)
            .map_err(|source| Error::io("read", &self.path, source))?;
        Ok(self.element.decode(bytes))
    }
}

/// Little-endian numbers of `N` bytes.
pub(super) fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
}

/// The header text and where the data starts.
fn header(path: &Path, input: &mut impl Read) -> Result<(String, u64)> {
    let cut = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::corrupt(path, "header", "the file ends within it")
        }
        _ => Error::io("read", path, source),
    };
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(cut)?;
    if !magic.starts_with(b"\x93NUMPY") {
        return Err(Error::corrupt(path, "header", "it does not start as an npy file"));
    }
    let (size, start) = match magic[6] {
        1 => {
            let mut size = [0; 2];
            input.read_exact(&mut size).map_err(cut)?;
            (u32::from(u16::from_le_bytes(size)), 10)
        }
        2 | 3 => {
            let mut size = [0; 4];
            input.read_exact(&mut size).map_err(cut)?;
            (u32::from_le_bytes(size), 12)
        }
        version => {
            return Err(Error::Incompatible {
                file: path.into(),
                reason: format!("it is of npy version {version}, versions 1 to 3 are known"),
            });
        }
    };
    if size > MAX_HEADER_BYTES {
        return Err(Error::corrupt(path, "header", format!("it declares {size} bytes of header")));
    }
    let mut text = Vec::new();
    input.take(u64::from(size)).read_to_end(&mut text).map_err(cut)?;
    if text.len() as u64 != u64::from(size) {
        return Err(Error::corrupt(path, "header", "the file ends within it"));
    }
    Ok((String::from_utf8_lossy(&text).into_owned(), start + u64::from(size)))
}

struct Array {
    element: Element,
    rows: u64,
    dimension: usize,
}

fn parse(path: &Path, header: &str) -> Result<Array> {
    let damaged = || Error::corrupt(path, "header", format!("it cannot be parsed: {header:.200}"));
    let refuse = |what: String| Err(Error::Incompatible { file: path.into(), reason: what });
    let descr = value_of(header, "descr").ok_or_else(damaged)?;
    if descr.starts_with('[') {
        return refuse(
            "its elements are records; save the vectors alone as a two-dimensional array"
                .to_owned(),
        );
    }
    let descr = descr
        .strip_prefix(['\'', '"'])
        .and_then(|descr| descr.split(['\'', '"']).next())
        .ok_or_else(damaged)?;
    let (order, name) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), name)) => (order, name),
        _ => ("=", descr),
    };
    if name.starts_with('O') {
        return refuse(
            "its elements are Python objects, which are never unpickled; save it as numpy.float32"
                .to_owned(),
        );
    }
    let Some((_, element)) = Element::ALL.into_iter().find(|(known, _)| *known == name) else {
        return refuse(format!(
            "its elements are of dtype {descr}; save it as float32, float16, uint8 or another \
             type of numbers"
        ));
    };
    if order == ">" && element.size_bytes() > 1 {
        return refuse(format!(
            "its elements are big-endian ({descr}); save array.astype(array.dtype.newbyteorder('<'))"
        ));
    }
    match value_of(header, "fortran_order").ok_or_else(damaged)? {
        order if order.starts_with("False") => {}
        order if order.starts_with("True") => {
            return refuse(
                "it is in Fortran order (column by column); save numpy.ascontiguousarray(array)"
                    .to_owned(),
            );
        }
        _ => return Err(damaged()),
    }
    let shape = value_of(header, "shape")
        .and_then(|shape| shape.strip_prefix('('))
        .and_then(|shape| shape.split(')').next())
        .ok_or_else(damaged)?;
    let sizes: Option<Vec<u64>> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect();
    let sizes = sizes.ok_or_else(damaged)?;
    let [rows, dimension] = sizes.as_slice() else {
        return refuse(format!(
            "its shape is ({shape}), the shape (rows, dimension) is expected; use array.reshape"
        ));
    };
    match usize::try_from(*dimension) {
        Ok(dimension) if (1..=MAX_DIMENSION).contains(&dimension) => {
            Ok(Array { element, rows: *rows, dimension })
        }
        _ => refuse(format!(
            "its vectors have {dimension} dimensions, from 1 to {MAX_DIMENSION} can be stored"
        )),
    }
}

/// What follows `'key':` in the header.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    ["'", "\""].iter().find_map(|quote| {
        let (_, value) = header.split_once(&format!("{quote}{key}{quote}"))?;
        Some(value.trim_start().strip_prefix(':')?.trim_start())
    })
}
