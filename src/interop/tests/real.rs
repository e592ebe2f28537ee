use super::*;

/// The folder of real data, or a message that the test is skipped.
fn data(set: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("NEARFIELD_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join(set);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

#[test]
fn a_numpy_file_with_parquet_attributes_is_read_whole_and_survives_export() {
    if !cfg!(feature = "zstd") {
        println!("skipped: the metadata is compressed with zstd, which comes with feature `zstd`");
        return;
    }
    let Some(folder) = data("cisi-minilm-384") else { return };
    let path = folder.join("train.f16.npy");
    let options = ReadOptions::default().metadata(folder.join("meta.parquet"));
    let reader = read(&path, &options).unwrap();
    assert_eq!((reader.dimension(), reader.total_rows()), (Some(384), Some(1460)));
    assert_eq!(reader.vector_type(), VectorType::F16);
    let columns = reader.columns().to_vec();
    assert!(columns.contains(&("title".to_owned(), DataType::Utf8)), "{columns:?}");
    let first = drain(reader).unwrap();
    assert_eq!(first.source_rows.len(), 1460);
    assert!(first.rejected.is_empty());

    let titles = |rows: &Rows| -> Vec<Option<String>> {
        let texts = |batch: &RecordBatch| {
            let column = batch.column_by_name("title").unwrap();
            let text = |texts: &dyn arrow_array::Array| -> Vec<Option<String>> {
                if let Some(texts) = texts.as_any().downcast_ref::<LargeStringArray>() {
                    texts.iter().map(|text| text.map(str::to_owned)).collect()
                } else {
                    let texts = texts.as_any().downcast_ref::<arrow_array::StringArray>();
                    texts.unwrap().iter().map(|text| text.map(str::to_owned)).collect()
                }
            };
            text(column.as_ref())
        };
        rows.attributes.iter().flat_map(texts).collect()
    };
    let schema =
        ExportSchema::new(384, VectorType::F16, IdType::U64).column("title", DataType::Utf8);
    for (format, name) in written_formats() {
        let (_folder, copy) = file(name, b"");
        let all = titles(&first);
        let batches = (0..1460).step_by(500).map(|start| {
            let end = (start + 500).min(1460);
            let title = Field::new("title", DataType::Utf8.to_arrow(), true);
            let texts: ArrayRef = Arc::new(LargeStringArray::from(all[start..end].to_vec()));
            Ok(ExportBatch {
                ids: (start as u64..end as u64).collect::<Vec<_>>().into(),
                vectors: first.vectors[start * 384..end * 384]
                    .iter()
                    .map(|value| f16::from_f32(*value))
                    .collect::<Vec<_>>()
                    .into(),
                attributes: RecordBatch::try_new(Arc::new(Schema::new(vec![title])), vec![texts])
                    .unwrap(),
            })
        });
        assert_eq!(write(&copy, format, &schema, batches).unwrap(), 1460);
        let second = read_all(&copy, &ReadOptions::default()).unwrap();
        assert!(second.vectors == first.vectors, "{format}");
        assert_eq!(titles(&second), all, "{format}");
    }
}

#[test]
fn a_large_numpy_file_is_read_in_bounded_batches() {
    let Some(folder) = data("pypi-minilm-384-100k") else { return };
    let options = if cfg!(feature = "zstd") {
        ReadOptions::default().metadata(folder.join("meta.parquet")).columns(["name", "rank"])
    } else {
        ReadOptions::default()
    };
    let mut rows = 0;
    for batch in read(folder.join("train.f16.npy"), &options).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.len() <= 8192 && batch.rejected.is_empty());
        assert_eq!(batch.vectors.len(), batch.len() * 384);
        assert_eq!(batch.attributes.is_some(), cfg!(feature = "zstd"));
        rows += batch.len();
    }
    assert_eq!(rows, 100_000);
}
