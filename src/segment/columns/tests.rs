use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt64Array,
};
use proptest::prelude::*;

use super::*;
use crate::types::SparseVector;

fn normalized(name: &str, array: &ArrayRef, wanted: DataType) -> Result<ArrayRef> {
    normalize(name, array, wanted, &|row| row as u64)
}

/// Rows with every column type, nulls, empty strings and several-byte characters.
pub(crate) fn sample(rows: usize) -> RecordBatch {
    let schema = arrow_schema(
        [
            ("flag", DataType::Bool),
            ("year", DataType::Int64),
            ("weight", DataType::Float64),
            ("title", DataType::Utf8),
            ("seen", DataType::Timestamp),
            ("tags", DataType::ListUtf8),
            ("words", DataType::Sparse),
        ]
        .into_iter(),
    );
    let unless = |row: usize, every: usize| row % every != every - 1;
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for row in 0..rows {
        for tag in 0..row % 4 {
            tags.values().append_option((tag != 2).then(|| format!("tag ü{row}")));
        }
        tags.append(unless(row, 9));
    }
    let count = |row: usize| i64::try_from(row).expect("small");
    let weights = |row: usize| (0..row as u32 % 5).map(move |at| (at * 1_000, row as f32 - 0.5));
    let vector = |row| SparseVector::from_pairs(weights(row)).expect("finite weights");
    let words: Vec<_> = (0..rows).map(|row| unless(row, 6).then(|| vector(row))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..rows).map(|r| unless(r, 5).then_some(r % 3 == 0)).collect::<BooleanArray>()),
        Arc::new((0..rows).map(|r| unless(r, 7).then_some(count(r) - 3)).collect::<Int64Array>()),
        Arc::new((0..rows).map(|r| Some(r as f64 / 7.0)).collect::<Float64Array>()),
        Arc::new(
            (0..rows)
                .map(|r| unless(r, 3).then(|| "né".repeat(r % 5)))
                .collect::<LargeStringArray>(),
        ),
        Arc::new(
            (0..rows)
                .map(|r| unless(r, 4).then_some(count(r) * 1_000_003))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(tags.finish()),
        SparseVector::column(words.iter().map(Option::as_ref)),
    ];
    assemble(schema, columns, rows).expect("columns of one length")
}

fn bytes_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes).expect("canonical columns");
    bytes
}

#[test]
fn every_column_type_comes_back_as_it_was() {
    for rows in [0, 1, 2, 7, 8, 9, 64, 65, 300] {
        let batch = sample(rows);
        let bytes = bytes_of(&batch);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(decode(&bytes).expect("valid"), batch, "{rows} rows");
    }
}

#[test]
fn a_slice_is_written_without_what_surrounds_it() {
    let whole = sample(100);
    let slice = whole.slice(13, 21);
    assert_eq!(decode(&bytes_of(&slice)).expect("valid"), slice);
    assert_eq!(bytes_of(&decode(&bytes_of(&slice)).expect("valid")), bytes_of(&slice));
    assert!(size_bytes(&slice) < size_bytes(&whole) / 3);
    assert!(size_bytes(&slice).abs_diff(bytes_of(&slice).len()) < 700);
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let batch = no_columns(12).expect("no column can disagree");
    assert_eq!(decode(&bytes_of(&batch)).expect("valid").num_rows(), 12);
}

#[test]
fn columns_of_another_type_are_not_encoded() {
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int8Array::from(vec![1])) as ArrayRef)])
        .expect("one column");
    assert!(matches!(encode(&batch, &mut Vec::new()), Err(Error::SchemaMismatch { .. })));
}

#[test]
fn truncation_at_every_length_is_an_error() {
    let bytes = bytes_of(&sample(17));
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    let mut longer = bytes;
    longer.extend_from_slice(&[0; 8]);
    assert!(decode(&longer).is_err());
}

#[test]
fn a_flip_of_any_bit_is_an_error_or_valid_columns() {
    let bytes = bytes_of(&sample(19));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(batch) = decode(&flipped) {
            // Whatever was accepted can be walked and written again.
            assert_eq!(decode(&bytes_of(&batch)).expect("valid").num_rows(), batch.num_rows());
        }
    }
}

#[test]
fn forged_lengths_allocate_nothing() {
    let forge = |rows: u64, columns: u32, directory: u64| {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&columns.to_le_bytes());
        bytes.extend_from_slice(&rows.to_le_bytes());
        bytes.extend_from_slice(&directory.to_le_bytes());
        bytes.extend_from_slice(&[0; 64]);
        bytes
    };
    for (rows, columns, directory) in [
        (u64::MAX, 1, 64),
        (1, u32::MAX, 64),
        (1, 1, u64::MAX),
        (1, 1, u64::MAX - 23),
        (1 << 31, 4, 64),
    ] {
        assert!(decode(&forge(rows, columns, directory)).is_err());
    }
}

#[test]
fn an_offset_inside_a_character_is_refused() {
    let strings: ArrayRef = Arc::new(LargeStringArray::from(vec!["né", "x"]));
    let batch = RecordBatch::try_from_iter([("t", strings)]).expect("one column");
    let mut bytes = bytes_of(&batch);
    let at = HEADER_BYTES + 16 + 8 + 8;
    assert_eq!(bytes[at], 3, "the second offset");
    bytes[at] = 2;
    assert_eq!(decode(&bytes), Err(Malformed("an offset splits a character")));
    bytes[at] = 200;
    assert_eq!(decode(&bytes), Err(Malformed("offsets descend")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn random_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&tail);
        let _ = decode(&bytes);
        let _ = decode(&tail);
    }

    #[test]
    fn several_damaged_bytes_never_panic(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = bytes_of(&sample(23));
        let len = bytes.len();
        for (at, value) in damage {
            bytes[at % len] = value;
        }
        if let Ok(batch) = decode(&bytes) {
            prop_assert!(encode(&batch, &mut Vec::new()).is_ok());
        }
    }
}

#[test]
fn integers_and_floats_of_any_width_are_widened() {
    let small: ArrayRef = Arc::new(Int8Array::from(vec![Some(-3), None]));
    let wide = normalized("n", &small, DataType::Int64).expect("fits");
    assert_eq!(wide.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(-3), None]));
    let float = normalized("n", &small, DataType::Float64).expect("fits");
    assert_eq!(float.as_ref(), &Float64Array::from(vec![Some(-3.0), None]) as &dyn Array);
    let half: ArrayRef = Arc::new(Float16Array::from(vec![half::f16::from_f32(0.5)]));
    let single: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
    for array in [half, single] {
        let float = normalized("n", &array, DataType::Float64).expect("fits");
        assert_eq!(float.as_ref(), &Float64Array::from(vec![0.5]) as &dyn Array);
    }
    let big: ArrayRef = Arc::new(UInt64Array::from(vec![1, u64::MAX]));
    let error = normalized("n", &big, DataType::Int64).expect_err("too big");
    assert!(error.to_string().contains("18446744073709551615"), "{error}");
    assert!(normalized("n", &big, DataType::Float64).is_ok());
}

#[test]
fn strings_of_every_kind_become_one_kind() {
    let expected = LargeStringArray::from(vec![Some("a"), None, Some("ü")]);
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("ü")]));
    let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("ü")]));
    let dictionary: ArrayRef = Arc::new(
        vec![Some("a"), None, Some("ü")].into_iter().collect::<DictionaryArray<Int32Type>>(),
    );
    for array in [plain, view, dictionary] {
        let strings = normalized("s", &array, DataType::Utf8).expect("strings");
        assert_eq!(strings.as_string::<i64>(), &expected, "{}", array.data_type());
    }
    let empty: ArrayRef =
        Arc::new(vec![None::<&str>, None].into_iter().collect::<DictionaryArray<Int32Type>>());
    assert_eq!(normalized("s", &empty, DataType::Utf8).expect("strings").null_count(), 2);
}

#[test]
fn instants_of_every_unit_become_microseconds() {
    let cases: [(ArrayRef, i64); 4] = [
        (Arc::new(TimestampSecondArray::from(vec![-2])), -2_000_000),
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), -1),
        (Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone("+02:00")), 5),
        (Arc::new(Date32Array::from(vec![2])), 172_800_000_000),
    ];
    for (array, expected) in cases {
        let normal = normalized("t", &array, DataType::Timestamp).expect("in range");
        assert_eq!(normal.data_type(), &DataType::Timestamp.to_arrow());
        assert_eq!(normal.as_primitive::<TimestampMicrosecondType>().value(0), expected);
    }
    let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    assert!(normalized("t", &far, DataType::Timestamp).is_err());
}

#[test]
fn lists_of_strings_keep_their_shape_when_sliced() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("left out")]);
    lists.append_value([Some("a"), None]);
    lists.append_null();
    lists.append_value([Some("c")]);
    let array: ArrayRef = Arc::new(lists.finish().slice(1, 3));
    let normal = normalized("l", &array, DataType::ListUtf8).expect("strings");
    let batch = RecordBatch::try_from_iter([("l", normal)]).expect("one column");
    let back = decode(&bytes_of(&batch)).expect("valid");
    let list = back.column(0).as_list::<i64>();
    assert_eq!(list.value(0).as_string::<i64>(), &LargeStringArray::from(vec![Some("a"), None]));
    assert!(list.is_null(1));
    assert_eq!(list.value(2).as_string::<i64>(), &LargeStringArray::from(vec!["c"]));
}

#[test]
fn a_null_array_fits_and_another_type_is_named() {
    let nulls: ArrayRef = Arc::new(NullArray::new(3));
    for data_type in [DataType::Bool, DataType::Utf8, DataType::ListUtf8, DataType::Timestamp] {
        let column = normalized("x", &nulls, data_type).expect("nulls fit");
        assert_eq!((column.len(), column.null_count()), (3, 3));
        assert_eq!(column.data_type(), &data_type.to_arrow());
    }
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let error = normalized("x", &number, DataType::Utf8).expect_err("not a string");
    assert_eq!(
        error.to_string(),
        "column \"x\": expected strings (utf8), given integers (int64); convert them, or use a column of another name"
    );
}

#[test]
fn gathering_picks_rows_in_order_and_fills_missing_columns() {
    let batch = sample(50);
    let narrow = batch.project(&[1, 3]).expect("two columns");
    let picked = gather(batch.schema_ref(), &[&batch, &narrow], &[(0, 4), (0, 5), (1, 5), (0, 0)])
        .expect("rows inside");
    assert_eq!(picked.slice(0, 2), batch.slice(4, 2));
    assert_eq!(picked.column(3).slice(2, 1).as_ref(), batch.column(3).slice(5, 1).as_ref());
    assert!(picked.column(0).is_null(2));
    assert_eq!(picked.slice(3, 1), batch.slice(0, 1));
    assert_eq!(take(&batch, &[]).expect("no row").num_rows(), 0);
    assert!(take(&batch, &[50]).is_err());
    let parts = [&batch.slice(0, 20), &batch.slice(20, 30)];
    assert_eq!(concat(batch.schema_ref(), &parts).expect("one schema"), batch);
    assert_eq!(concat(batch.schema_ref(), &[]).expect("nothing").num_rows(), 0);
}
