use super::*;

fn jsonl(text: &str, options: &ReadOptions) -> Rows {
    let (_folder, path) = file("a.jsonl", text.as_bytes());
    read_all(&path, options).unwrap()
}

#[test]
fn faulty_json_lines_are_rejected_with_their_line_number_and_the_rest_is_read() {
    let text = r#"
{"id": 1, "v": [1, 2.5], "n": 1, "s": "x", "tags": ["a"]}
not json
{"id": 2, "v": [1], "n": 2}

{"id": -3, "v": [1, 2]}
{"id": "four", "v": [1, 2]}
{"v": [1, 2]}
{"id": 6, "v": null}
{"id": 7, "v": [1, 2], "n": "seven"}
{"id": 8, "v": [1, "x"]}
{"id": 9, "v": [1, 2], "n": 2} trailing
[1, 2]
{"id": 10, "v": [3, 4], "s": null, "tags": []}
{"id": 11, "v": [3, 4], "tags": [1]}"#;
    let rows = jsonl(text, &ReadOptions::default());
    assert_eq!(rows.ids, ["1", "10"]);
    assert_eq!(rows.source_rows, [0, 11]);
    assert_eq!(rows.vectors, [1.0, 2.5, 3.0, 4.0]);
    let reasons = reasons(&rows);
    let expected = [
        (1, "line 3: expected"),
        (2, "line 4: vector has 1 dimensions, the rows before have 2"),
        (3, "line 6: id is -3"),
        (4, "line 7: id is the string \"four\""),
        (5, "line 8: id is null"),
        (6, "line 9: vector is null"),
        (7, "line 10: field \"n\" is \"seven\", expected int64"),
        (8, "line 11: invalid type: string \"x\""),
        (9, "line 12: trailing characters"),
        (10, "line 13: invalid type: sequence, expected a JSON object"),
        (12, "line 15: field \"tags\""),
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for ((row, reason), (expected_row, start)) in reasons.iter().zip(expected) {
        assert!(*row == expected_row && reason.starts_with(start), "{row}: {reason}");
    }
}

#[test]
fn json_types_widen_from_whole_numbers_and_late_fields_are_noted() {
    let mut text = String::new();
    for row in 0..1000 {
        text += &format!("{{\"vector\": [0, {row}], \"x\": {row}, \"o\": {{}}, \"z\": null}}\n");
    }
    text += "{\"vector\": [0, 1], \"x\": 0.5, \"late\": 1}\n";
    let (_folder, path) = file("a.jsonl", text.as_bytes());
    let mut reader = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!(reader.columns(), [("x".to_owned(), DataType::Int64)]);
    assert_eq!(reader.skipped_columns().len(), 2);
    let batches: Vec<ImportBatch> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(ImportBatch::len).sum::<usize>(), 1000);
    assert_eq!(batches[0].rejected.len(), 1);
    assert_eq!(reader.skipped_columns()[2], ("late".into(), "first seen in line 1001".into()));

    let rows = jsonl("{\"v\":[1],\"x\":1}\n{\"v\":[1],\"x\":0.5}\n", &ReadOptions::default());
    assert_eq!(rows.attributes[0].schema().field(0).data_type(), &DataType::Float64.to_arrow());
}

#[test]
fn a_line_that_is_too_long_is_rejected_without_being_held() {
    let mut text = b"{\"v\": [1], \"t\": \"".to_vec();
    text.resize(40 << 20, b'x');
    text.extend(b"\"}\n{\"v\": [2]}\n");
    let (_folder, path) = file("a.jsonl", &text);
    let rows = read_all(&path, &ReadOptions::default()).unwrap();
    assert_eq!(reasons(&rows), [(0, "line 1: it is longer than 16 MiB")]);
    assert_eq!(rows.vectors, [2.0]);
}

#[test]
fn fvecs_rows_of_another_length_are_rejected() {
    let (_folder, path) = file("a.fvecs", &fvecs(&[&[1.0, 2.0], &[3.0], &[4.0, 5.0]]));
    let reader = read(&path, &ReadOptions::default()).unwrap();
    let rows = drain(reader).unwrap();
    assert_eq!(rows.ids, ["0", "2"]);
    assert_eq!(rows.vectors, [1.0, 2.0, 4.0, 5.0]);
    assert_eq!(reasons(&rows), [(1, "vector has 1 dimensions, the rows before have 2")]);
}

#[test]
fn a_metadata_file_gives_ids_and_attributes_row_by_row() {
    let meta = b"{\"id\":\"a\",\"n\":1}\n{\"id\":null,\"n\":2}\n\n{\"id\":\"c\",\"n\":3}\n{\"id\":\"d\",\"n\":4}\n";
    let (_meta, beside) = file("meta.jsonl", meta);
    let (_folder, path) = file("a.fvecs", &fvecs(&[&[1.0, 1.0], &[2.0, 2.0], &[3.0], &[4.0, 4.0]]));
    for batch_rows in [1, 2, 100] {
        let options = ReadOptions::default().metadata(&beside).batch_rows(batch_rows);
        let reader = read(&path, &options).unwrap();
        assert_eq!(reader.id_type(), IdType::Utf8);
        assert_eq!(reader.columns(), [("n".to_owned(), DataType::Int64)]);
        let rows = drain(reader).unwrap();
        assert_eq!(rows.ids, ["\"a\"", "\"d\""]);
        assert_eq!(rows.vectors, [1.0, 1.0, 4.0, 4.0]);
        assert_eq!(rows.source_rows, [0, 3]);
        assert_eq!(rows.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [1, 2]);
        let numbers: Vec<i64> = rows
            .attributes
            .iter()
            .flat_map(|batch| {
                let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                column.iter().flatten().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(numbers, [1, 4]);
    }
}

#[test]
fn a_metadata_file_of_another_length_is_an_error() {
    let (_folder, path) = file("a.fvecs", &fvecs(&[&[1.0], &[2.0]]));
    for (meta, says) in
        [("{\"id\":1}\n", "more than 1"), ("{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n", "has 2 rows")]
    {
        let (_meta, beside) = file("meta.jsonl", meta.as_bytes());
        for batch_rows in [1, 100] {
            let options = ReadOptions::default().metadata(&beside).batch_rows(batch_rows);
            let message = read_all(&path, &options).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
    let message = read(&path, &ReadOptions::default().id("id")).unwrap_err().to_string();
    assert!(message.contains("metadata file"), "{message}");
}

#[test]
fn formats_are_told_by_their_bytes_and_unreadable_ones_are_named() {
    let (_folder, path) = file(
        "vectors.bin",
        &npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1), }", &[7]),
    );
    assert_eq!(read_all(&path, &ReadOptions::default()).unwrap().vectors, [7.0]);
    for (name, bytes, says) in [
        ("a.txt", &b"hello"[..], ".parquet"),
        ("a.json", b"[{\"v\": [1]}]", "one object a line"),
        ("a.jsonl", b"\x1f\x8b\x08\x00", "gzip"),
        ("a.npz", b"PK\x03\x04", "unpack"),
    ] {
        let (_folder, path) = file(name, bytes);
        let message = read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
    let missing = read("no-such-file.parquet", &ReadOptions::default());
    assert!(matches!(missing, Err(Error::Io { .. })), "{missing:?}");
}

#[cfg(feature = "parquet")]
mod columnar {
    use super::*;
    use arrow_array::types::{Float32Type, Int32Type};
    use arrow_array::{DictionaryArray, FixedSizeListArray, Int32Array, ListArray, StringArray};

    /// A file of each columnar format with these columns.
    fn files(columns: Vec<(&str, ArrayRef)>) -> Vec<(tempfile::TempDir, PathBuf)> {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut arrow = Vec::new();
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(&mut arrow, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let mut stream = Vec::new();
        let mut writer =
            arrow_ipc::writer::StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let mut parquet = Vec::new();
        let mut writer =
            ::parquet::arrow::ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        vec![file("a.arrow", &arrow), file("a.arrows", &stream), file("a.parquet", &parquet)]
    }

    fn list(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    #[test]
    fn faulty_rows_of_columns_are_rejected_and_the_rest_keeps_its_attributes() {
        let vectors = list(vec![
            None,
            Some(vec![]),
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![Some(1.0)]),
            Some(vec![Some(1.0), None]),
            Some(vec![Some(5.0), Some(6.0)]),
            Some(vec![Some(7.0), Some(8.0)]),
            Some(vec![Some(9.0), Some(f32::NAN)]),
        ]);
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![
            Some(0),
            Some(1),
            Some(2),
            Some(3),
            Some(4),
            None,
            Some(-6),
            Some(7),
        ]));
        let names: ArrayRef =
            Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e", "f", "g", "h"]));
        for (_folder, path) in files(vec![("vec", vectors), ("id", ids), ("name", names)]) {
            let reader = read(&path, &ReadOptions::default()).unwrap();
            assert_eq!(reader.dimension(), Some(2));
            let rows = drain(reader).unwrap();
            assert_eq!(rows.ids, ["2", "7"]);
            assert_eq!(rows.source_rows, [2, 7]);
            assert!(rows.vectors[..3] == [1.0, 2.0, 9.0] && rows.vectors[3].is_nan());
            let names = rows.attributes[0].column(0).as_any().downcast_ref::<StringArray>();
            assert_eq!(names.unwrap().iter().flatten().collect::<Vec<_>>(), ["c", "h"]);
            assert_eq!(
                reasons(&rows),
                [
                    (0, "vector is null"),
                    (1, "vector has 0 elements, from 1 to 65536 can be stored"),
                    (3, "vector has 1 dimensions, the rows before have 2"),
                    (4, "vector is null in dimension 1"),
                    (5, "id is null"),
                    (6, "id is -6, ids are not negative"),
                ],
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn string_ids_of_every_layout_are_read_and_unsupported_columns_are_noted() {
        let vectors = list(vec![Some(vec![Some(1.0)]); 3]);
        let ids: ArrayRef = Arc::new(
            vec![Some("x"), None, Some("y")].into_iter().collect::<DictionaryArray<Int32Type>>(),
        );
        let scores = list(vec![Some(vec![Some(1.0); 3]); 3]);
        let blob: ArrayRef = Arc::new(arrow_array::BinaryArray::from(vec![&b"a"[..]; 3]));
        let columns = vec![("emb", vectors), ("key", ids), ("scores", scores), ("blob", blob)];
        for (_folder, path) in files(columns) {
            let options = ReadOptions::default().id("key");
            let reader = read(&path, &options).unwrap();
            assert_eq!(reader.id_type(), IdType::Utf8);
            let skipped: Vec<&str> =
                reader.skipped_columns().iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(skipped, ["scores", "blob"]);
            let rows = drain(reader).unwrap();
            assert_eq!(rows.ids, ["\"x\"", "\"y\""]);
            let numbered = ReadOptions::default().row_numbers().columns(["key"]);
            let rows = read_all(&path, &numbered).unwrap();
            assert_eq!(rows.ids, ["0", "1", "2"]);
            assert_eq!(rows.attributes[0].num_columns(), 1);
        }
    }

    #[test]
    fn fixed_size_lists_of_other_numbers_become_f32() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, -2, 3, 4]));
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        let lists = FixedSizeListArray::new(item, 2, values, None);
        let sliced: ArrayRef = Arc::new(lists.slice(1, 1));
        for (_folder, path) in files(vec![("anything", sliced)]) {
            let reader = read(&path, &ReadOptions::default()).unwrap();
            assert_eq!((reader.vector_type(), reader.dimension()), (VectorType::F32, Some(2)));
            assert_eq!(drain(reader).unwrap().vectors, [3.0, 4.0]);
        }
    }
    use arrow_array::Array;
}
