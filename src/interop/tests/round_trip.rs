use super::*;

/// f32 values whose shortest decimal text is easily read back wrongly.
const BITS: [f32; 6] = [0.1, -0.0, 1e-45, f32::MAX, f32::MIN_POSITIVE, 16_777_217.0 / 3.0];

fn typed() -> ReadOptions {
    COLUMNS
        .iter()
        .fold(ReadOptions::default(), |options, (name, kind)| options.column_type(*name, *kind))
}

#[test]
fn what_is_exported_reads_back_the_same() {
    let cases: Vec<(VectorType, Vectors<'static>)> = vec![
        (VectorType::F32, BITS.to_vec().into()),
        (VectorType::F16, BITS.iter().map(|v| f16::from_f32(v / 8e34)).collect::<Vec<_>>().into()),
        (VectorType::Bf16, BITS.iter().map(|v| bf16::from_f32(v / 2.0)).collect::<Vec<_>>().into()),
        (VectorType::I8, vec![0_i8, -128, 127, -1, 3, 4].into()),
        (VectorType::U8, vec![0_u8, 255, 1, 2, 3, 4].into()),
    ];
    for (format, name) in written_formats() {
        for (vector_type, vectors) in &cases {
            for ids in [
                Ids::from(vec![0, u64::MAX, 7]),
                Ids::from(vec!["a".to_owned(), String::new(), "ö\u{0}".to_owned()]),
            ] {
                let (_folder, path) = file(name, b"");
                let schema = schema(*vector_type, ids.id_type());
                let given = batch(ids.clone(), vectors.clone());
                let count = write(&path, format, &schema, [Ok(given)]).unwrap();
                assert_eq!(count, 3);
                let reader = read(&path, &typed()).unwrap();
                assert_eq!((reader.dimension(), reader.id_type()), (Some(2), ids.id_type()));
                assert!(reader.skipped_columns().is_empty());
                let columns: Vec<(&str, DataType)> =
                    reader.columns().iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
                assert_eq!(columns, COLUMNS);
                if format != Format::Jsonl {
                    // Arrow has no bf16; f32 holds it.
                    let wide = *vector_type == VectorType::Bf16;
                    let kept = if wide { VectorType::F32 } else { *vector_type };
                    assert_eq!(reader.vector_type(), kept);
                    assert_eq!(reader.total_rows(), Some(3));
                }
                let rows = drain(reader).unwrap();
                let expected: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
                assert_eq!(rows.ids, expected);
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let original = ImportBatch {
                    ids: ids.clone(),
                    vectors: vectors.clone(),
                    attributes: None,
                    source_rows: Vec::new(),
                    rejected: Vec::new(),
                };
                assert_eq!(bits(&rows.vectors), bits(&floats(&original)), "{format}");
                assert_eq!(rows.attributes.len(), 1);
                assert_eq!(rows.attributes[0].columns(), attributes().columns(), "{format}");
                assert!(rows.rejected.is_empty());
            }
        }
    }
}

#[test]
fn packed_bits_are_written_as_bytes() {
    for (format, name) in written_formats() {
        let (_folder, path) = file(name, b"");
        let mut schema = schema(VectorType::B1, IdType::U64);
        schema.dimension = 12;
        let bits = vec![0_u8, 0x10, 0xFF, 0xF0, 1, 0];
        let given = batch(vec![1, 2, 3].into(), bits.clone().into());
        assert_eq!(write(&path, format, &schema, [Ok(given)]).unwrap(), 3);
        let reader = read(&path, &typed()).unwrap();
        assert_eq!(reader.dimension(), Some(2));
        let expected: Vec<f32> = bits.iter().map(|byte| f32::from(*byte)).collect();
        assert_eq!(drain(reader).unwrap().vectors, expected, "{format}");
        let unpacked = batch(vec![1, 2, 3].into(), vec![0_u8; 36].into());
        assert!(write(&path, format, &schema, [Ok(unpacked)]).is_err());
    }
}

#[test]
fn many_batches_become_one_file_that_is_read_in_batches_of_any_size() {
    for (format, name) in written_formats() {
        let (_folder, path) = file(name, b"");
        let schema = schema(VectorType::F32, IdType::U64);
        let batches = (0..50_u64).map(|index| {
            let ids = vec![index * 3, index * 3 + 1, index * 3 + 2];
            Ok(batch(ids.into(), vec![index as f32; 6].into()))
        });
        assert_eq!(write(&path, format, &schema, batches).unwrap(), 150);
        for batch_rows in [1, 7, 150, 1000] {
            let rows = read_all(&path, &typed().batch_rows(batch_rows)).unwrap();
            let expected: Vec<String> = (0..150).map(|id| id.to_string()).collect();
            assert_eq!(rows.ids, expected, "{format} by {batch_rows}");
            assert_eq!(rows.source_rows, (0..150).collect::<Vec<u64>>());
            assert_eq!(rows.vectors[149 * 2], 49.0);
        }
    }
}

#[test]
fn a_file_without_rows_keeps_its_columns() {
    for (format, name) in written_formats() {
        let (_folder, path) = file(name, b"");
        write(&path, format, &schema(VectorType::F32, IdType::Utf8), []).unwrap();
        if format == Format::Jsonl {
            continue;
        }
        let reader = read(&path, &ReadOptions::default()).unwrap();
        assert_eq!(reader.dimension(), Some(2));
        assert_eq!(reader.columns().len(), COLUMNS.len());
        assert_eq!(drain(reader).unwrap().ids.len(), 0);
    }
}

#[test]
fn a_failed_export_leaves_the_old_file_and_nothing_else() {
    for (format, name) in written_formats() {
        let (folder, path) = file(name, b"old");
        let batches =
            [Ok(batch(vec![1, 2, 3].into(), vec![0.0_f32; 6].into())), Err(Error::Cancelled)];
        let error = write(&path, format, &schema(VectorType::F32, IdType::U64), batches);
        assert!(matches!(error, Err(Error::Cancelled)));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{format}");
    }
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let (_folder, path) = file("a.jsonl", b"");
    let schema = schema(VectorType::F32, IdType::U64);
    for wrong in [
        batch(vec!["a".to_owned(); 3].into(), vec![0.0_f32; 6].into()),
        batch(vec![1, 2, 3].into(), vec![0.0_f32; 5].into()),
        batch(vec![1, 2, 3].into(), vec![0_u8; 6].into()),
        batch(vec![1, 2].into(), vec![0.0_f32; 4].into()),
    ] {
        let error = write(&path, Format::Jsonl, &schema, [Ok(wrong)]);
        assert!(matches!(error, Err(Error::SchemaMismatch { .. })), "{error:?}");
    }
    let clash = ExportSchema::new(2, VectorType::F32, IdType::U64).column("id", DataType::Utf8);
    assert!(write(&path, Format::Jsonl, &clash, []).is_err());
    assert!(write(&path, Format::Npy, &schema, []).is_err());
}

#[test]
fn npy_elements_of_every_type_are_read() {
    let header = |descr: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 1), }}\n")
    };
    let cases: Vec<(&str, Vec<u8>, [f32; 2])> = vec![
        ("<f2", [f16::from_f32(0.5), f16::MIN].map(f16::to_le_bytes).concat(), [0.5, -65504.0]),
        ("<f4", [0.1_f32, -2.0].map(f32::to_le_bytes).concat(), [0.1, -2.0]),
        ("<f8", [0.1_f64, -2.0].map(f64::to_le_bytes).concat(), [0.1, -2.0]),
        ("|u1", vec![0, 255], [0.0, 255.0]),
        ("|i1", vec![1, 255], [1.0, -1.0]),
        ("<u2", [1_u16, 65535].map(u16::to_le_bytes).concat(), [1.0, 65535.0]),
        ("<i2", [1_i16, -2].map(i16::to_le_bytes).concat(), [1.0, -2.0]),
        ("<u4", [1_u32, 4].map(u32::to_le_bytes).concat(), [1.0, 4.0]),
        ("<i4", [1_i32, -4].map(i32::to_le_bytes).concat(), [1.0, -4.0]),
        ("<u8", [1_u64, 4].map(u64::to_le_bytes).concat(), [1.0, 4.0]),
        ("<i8", [1_i64, -4].map(i64::to_le_bytes).concat(), [1.0, -4.0]),
    ];
    for (descr, data, expected) in cases {
        let (_folder, path) = file("a.npy", &npy(&header(descr), &data));
        let rows = read_all(&path, &ReadOptions::default().batch_rows(1)).unwrap();
        assert_eq!(rows.vectors, expected, "{descr}");
        assert_eq!(rows.ids, ["0", "1"]);
    }
}

#[test]
fn npy_of_version_three_is_read_and_other_layouts_are_refused_with_advice() {
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }";
    let mut bytes = b"\x93NUMPY\x03\x00".to_vec();
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(1.0_f32.to_le_bytes());
    let (_folder, path) = file("a.npy", &bytes);
    assert_eq!(read_all(&path, &ReadOptions::default()).unwrap().vectors, [1.0]);
    for (header, advice) in [
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1), }", "newbyteorder"),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", "ascontiguousarray"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", "Python objects"),
        ("{'descr': '<U4', 'fortran_order': False, 'shape': (1, 1), }", "float32"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "records"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", "reshape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 0), }", "0 dimensions"),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000, 4), }",
            "cut short",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 4)}", "cut"),
    ] {
        let (_folder, path) = file("a.npy", &npy(header, &[0; 8]));
        let message = read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn the_three_texmex_formats_are_read() {
    let (_folder, path) = file("a.fvecs", &fvecs(&[&[0.5, -1.0], &[2.0, 3.0]]));
    let reader = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!((reader.dimension(), reader.total_rows()), (Some(2), Some(2)));
    assert_eq!(drain(reader).unwrap().vectors, [0.5, -1.0, 2.0, 3.0]);
    let (_folder, path) = file("a.bvecs", &[2, 0, 0, 0, 9, 255]);
    let reader = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!(reader.vector_type(), VectorType::U8);
    assert_eq!(drain(reader).unwrap().vectors, [9.0, 255.0]);
    let (_folder, path) = file("a.ivecs", &[1, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(read_all(&path, &ReadOptions::default()).unwrap().vectors, [-1.0]);
    let (_folder, path) = file("a.fvecs", &[]);
    assert_eq!(read_all(&path, &ReadOptions::default()).unwrap().ids.len(), 0);
}

#[cfg(feature = "parquet")]
#[test]
fn a_file_says_what_it_was_exported_from_and_an_argument_comes_first() {
    for (format, name) in written_formats().into_iter().filter(|of| of.0 != Format::Jsonl) {
        let (_folder, path) = file(name, b"");
        let mut made = schema(VectorType::B1, IdType::U64);
        (made.dimension, made.metric) = (12, Some(Metric::Jaccard));
        write(&path, format, &made, []).unwrap();
        let reader = read(&path, &ReadOptions::default()).unwrap();
        assert_eq!(reader.vector_type(), VectorType::U8);
        let bits = (Metric::Jaccard, VectorType::B1, 12);
        assert_eq!(reader.shape(None, None, None).unwrap(), bits, "{format}");
        for (metric, vector_type, dimension, expected) in [
            (Some(Metric::Hamming), None, Some(16), (Metric::Hamming, VectorType::B1, 16)),
            (Some(Metric::L2), None, None, (Metric::L2, VectorType::U8, 2)),
            (None, Some(VectorType::F32), None, (Metric::Cosine, VectorType::F32, 2)),
        ] {
            let shape = reader.shape(metric, vector_type, dimension).unwrap();
            assert_eq!(shape, expected, "{format}");
        }
        assert!(reader.shape(None, None, Some(17)).is_err());
        let mut none = schema(VectorType::F16, IdType::U64);
        none.metric = None;
        write(&path, format, &none, []).unwrap();
        let reader = read(&path, &ReadOptions::default()).unwrap();
        let plain = (Metric::Cosine, VectorType::F16, 2);
        assert_eq!(reader.shape(None, None, None).unwrap(), plain, "{format}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn what_a_later_version_has_exported_asks_for_an_argument() {
    let (_folder, path) = file("a.arrows", b"");
    let said = [("nearfield.metric".to_owned(), "minkowski".to_owned())];
    let item = Arc::new(Field::new("item", arrow_schema::DataType::Float32, false));
    let vector = arrow_schema::DataType::FixedSizeList(item, 2);
    let fields = vec![Field::new("vector", vector, false)];
    let arrow = Schema::new(fields).with_metadata(said.into());
    let out = std::fs::File::options().write(true).open(&path).unwrap();
    arrow_ipc::writer::StreamWriter::try_new(out, &arrow).unwrap().finish().unwrap();
    let reader = read(&path, &ReadOptions::default()).unwrap();
    let error = reader.shape(None, None, None).unwrap_err();
    assert!(matches!(&error, Error::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("nearfield.metric is \"minkowski\""), "{error}");
    let asked = reader.shape(Some(Metric::Dot), None, None).unwrap();
    assert_eq!(asked, (Metric::Dot, VectorType::F32, 2));
}
