//! Words that several commands take as arguments.

use clap::ValueEnum;
use nearfield::interop::Format;
use nearfield::{Column, DataType, IdType, Metric, SparseVector, TextOptions, VectorType};

/// How vectors are compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MetricArg {
    /// Squared Euclidean distance
    L2,
    /// One minus the cosine of the angle
    Cosine,
    /// The negated inner product
    Dot,
    /// The number of bits that differ; stored as b1
    Hamming,
    /// The part of the bits set in either that is not set in both; stored as b1
    Jaccard,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::L2 => Self::L2,
            MetricArg::Cosine => Self::Cosine,
            MetricArg::Dot => Self::Dot,
            MetricArg::Hamming => Self::Hamming,
            MetricArg::Jaccard => Self::Jaccard,
        }
    }
}

/// How elements of vectors are stored.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TypeArg {
    /// 32-bit floats
    F32,
    /// 16-bit floats
    F16,
    /// 16-bit floats with the range of 32-bit ones
    Bf16,
    /// Whole numbers from -128 to 127
    I8,
    /// Whole numbers from 0 to 255
    U8,
    /// Bits, eight to a byte, the first in the highest place (numpy.packbits)
    B1,
}

impl From<TypeArg> for VectorType {
    fn from(vector_type: TypeArg) -> Self {
        match vector_type {
            TypeArg::F32 => Self::F32,
            TypeArg::F16 => Self::F16,
            TypeArg::Bf16 => Self::Bf16,
            TypeArg::I8 => Self::I8,
            TypeArg::U8 => Self::U8,
            TypeArg::B1 => Self::B1,
        }
    }
}

/// Format of a file that is imported.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    /// Apache Parquet
    Parquet,
    /// Arrow IPC file (Feather 2)
    Arrow,
    /// Arrow IPC stream
    ArrowStream,
    /// One JSON object a line
    Jsonl,
    /// numpy array of rows × dimension
    Npy,
    /// Rows of a 32-bit length and 32-bit floats
    Fvecs,
    /// Rows of a 32-bit length and bytes
    Bvecs,
    /// Index that hnswlib saved
    Hnswlib,
    /// Index that faiss wrote: flat, HNSW or IVF,Flat
    Faiss,
    /// Index that usearch saved
    Usearch,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Parquet => Self::Parquet,
            FormatArg::Arrow => Self::Arrow,
            FormatArg::ArrowStream => Self::ArrowStream,
            FormatArg::Jsonl => Self::Jsonl,
            FormatArg::Npy => Self::Npy,
            FormatArg::Fvecs => Self::Fvecs,
            FormatArg::Bvecs => Self::Bvecs,
            FormatArg::Hnswlib => Self::Hnswlib,
            FormatArg::Faiss => Self::Faiss,
            FormatArg::Usearch => Self::Usearch,
        }
    }
}

/// What rows are called by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IdArg {
    /// Unsigned 64-bit integers
    U64,
    /// Strings
    Utf8,
}

impl From<IdArg> for IdType {
    fn from(id_type: IdArg) -> Self {
        match id_type {
            IdArg::U64 => Self::U64,
            IdArg::Utf8 => Self::Utf8,
        }
    }
}

/// Names separated by commas. An empty text names nothing; a name given twice counts once.
#[derive(Clone, Debug)]
pub(crate) struct Names(pub(crate) Vec<String>);

pub(crate) fn names(text: &str) -> Result<Names, String> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(Names(names))
}

/// A column as `name:type`; the last colon separates.
pub(crate) fn column(text: &str) -> Result<Column, String> {
    const TYPES: [DataType; 7] = [
        DataType::Bool,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Timestamp,
        DataType::ListUtf8,
        DataType::Sparse,
    ];
    let known = || TYPES.map(|data_type| data_type.to_string()).join(", ");
    let Some((name, type_name)) = text.rsplit_once(':') else {
        return Err(format!("expected NAME:TYPE, where TYPE is one of {}", known()));
    };
    match TYPES.into_iter().find(|data_type| data_type.to_string() == type_name) {
        Some(data_type) => Ok(Column { name: name.to_owned(), data_type, text: false }),
        None => Err(format!("{type_name:?} is no column type; there are {}", known())),
    }
}

/// How texts of a language are indexed; `none` for words as they are.
pub(crate) fn text_options(text: &str) -> Result<TextOptions, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(TextOptions::new().no_language());
    }
    let language = text.parse().map_err(|error: nearfield::Error| error.to_string())?;
    Ok(TextOptions::new().language(language))
}

/// Columns to search by words, each with its weight.
#[derive(Clone, Debug)]
pub(crate) struct Weights(pub(crate) Vec<(String, f32)>);

/// Units of a number of bytes.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A number of bytes: `67108864`, `64MiB`, `1.5 GB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let refused = || format!("{text:?} is no number of bytes: give it as 67108864, 64MiB or 1.5GB");
    let text = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, times) = match unit {
        Some((unit, times)) => (text[..text.len() - unit.len()].trim_end(), *times),
        None => (text, 1),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(refused());
    }
    let tens = 10_u64.pow(u32::try_from(part.len()).unwrap_or(9));
    let whole: u64 = whole.parse().map_err(|_too_many| refused())?;
    let part: u64 = part.parse().map_err(|_too_many| refused())?;
    let part = u128::from(part) * u128::from(times) / u128::from(tens);
    let bytes = u128::from(whole) * u128::from(times) + part;
    usize::try_from(bytes).map_err(|_too_many| refused())
}

/// Reads `title=2,body`; the last `=` separates, and a column without one weighs 1.
pub(crate) fn weights(text: &str) -> Result<Weights, String> {
    let Names(names) = names(text)?;
    let weight = |name: String| match name.rsplit_once('=') {
        None => Ok((name, 1.0)),
        Some((column, weight)) => match weight.trim().parse() {
            Ok(weight) => Ok((column.trim().to_owned(), weight)),
            Err(error) => Err(format!("the weight {weight:?} of {column:?} is no number: {error}")),
        },
    };
    names.into_iter().map(weight).collect::<Result<_, _>>().map(Weights)
}

/// Numbers separated by commas or blanks, with or without brackets around them.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(pub(crate) Vec<f32>);

pub(crate) fn numbers(text: &str) -> Result<Numbers, String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(inner);
    let parts =
        inner.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    let values: Result<Vec<f32>, String> = parts
        .enumerate()
        .map(|(position, part)| {
            part.parse()
                .map_err(|error| format!("{part:?} at position {position} is no number: {error}"))
        })
        .collect();
    match values? {
        empty if empty.is_empty() => Err("no number is given".to_owned()),
        values => Ok(Numbers(values)),
    }
}

/// A sparse vector and the column it is compared with.
#[derive(Clone, Debug)]
pub(crate) struct SparseWeights {
    pub(crate) column: String,
    pub(crate) vector: SparseVector,
}

/// `column=3:0.5,7:1`; the last `=` separates.
pub(crate) fn sparse_weights(text: &str) -> Result<SparseWeights, String> {
    let expected = || "expected COLUMN=INDEX:WEIGHT,…, such as words=3:0.5,7:1".to_owned();
    let (column, list) = text.rsplit_once('=').ok_or_else(expected)?;
    let pair = |pair: &str| {
        let (index, weight) = pair.split_once(':').ok_or_else(expected)?;
        let wrong = |error: &dyn std::fmt::Display| format!("{pair:?}: {error}");
        let index = index.trim().parse::<u32>().map_err(|error| wrong(&error))?;
        let weight = weight.trim().parse::<f32>().map_err(|error| wrong(&error))?;
        Ok((index, weight))
    };
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty()).map(pair);
    let vector = SparseVector::from_pairs(pairs.collect::<Result<Vec<_>, String>>()?);
    let vector = vector.map_err(|error| error.to_string())?;
    Ok(SparseWeights { column: column.to_owned(), vector })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_separates_a_column_from_its_type() {
        let parsed = column("a:b:int64").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.data_type), ("a:b", DataType::Int64));
        assert!(column("year").unwrap_err().contains("NAME:TYPE"));
        assert!(column("year:int").unwrap_err().contains("int64"));
    }

    #[test]
    fn a_number_of_bytes_may_have_a_unit() {
        assert_eq!(size("67108864"), Ok(64 << 20));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!((size("1.5 GB"), size(" 10KB ")), (Ok(1_500_000_000), Ok(10_000)));
        assert_eq!(size("0"), Ok(0));
        for wrong in
            ["", "MiB", "-1", "1e9", "64mib", "64 M", "1.2.3", ".5GB", "1.", "99999999999999999999"]
        {
            assert!(size(wrong).expect_err(wrong).contains("64MiB"), "{wrong}");
        }
        assert!(size("99999999999999999GiB").is_err());
    }

    #[test]
    fn numbers_are_separated_by_commas_or_blanks() {
        for text in ["1,-2.5", "[1, -2.5]", " 1\t-2.5 "] {
            assert_eq!(numbers(text).unwrap().0, [1.0, -2.5], "{text}");
        }
        assert!(numbers("1,x").unwrap_err().contains("position 1"));
        assert!(numbers("[]").is_err());
    }

    #[test]
    fn columns_have_their_weights_behind_a_sign() {
        let Weights(found) = weights("title=2.5, body,a=b=0").unwrap();
        let expected = [("title", 2.5), ("body", 1.0), ("a=b", 0.0)];
        assert_eq!(found, expected.map(|(name, weight)| (name.to_owned(), weight)));
        assert!(weights("title=x").unwrap_err().contains("title"));
        assert!(text_options("none").unwrap().values().0.is_none());
        assert!(text_options("klingon").unwrap_err().contains("english"));
    }

    #[test]
    fn a_sparse_vector_names_its_column_first() {
        let parsed = sparse_weights("a=b=7:1,3:-0.5,").unwrap();
        assert_eq!(parsed.column, "a=b");
        assert_eq!(
            (parsed.vector.indices(), parsed.vector.weights()),
            (&[3, 7][..], &[-0.5, 1.0][..])
        );
        for (text, expected) in
            [("a", "COLUMN"), ("a=7", "COLUMN"), ("a=x:1", "x:1"), ("a=1:1,1:2", "twice")]
        {
            assert!(sparse_weights(text).unwrap_err().contains(expected), "{text}");
        }
    }

    #[test]
    fn names_count_once_and_an_empty_text_names_nothing() {
        assert_eq!(names("b, a,b").unwrap().0, ["b", "a"]);
        assert!(names("").unwrap().0.is_empty());
    }
}
