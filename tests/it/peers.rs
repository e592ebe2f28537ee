//! Index files of hnswlib, faiss and usearch, written by these libraries (tests/fixtures/peers).

#![expect(clippy::disallowed_methods, reason = "files of others, not of a database")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nearfield::interop::{FileImport, Format, ReadOptions, read};
use nearfield::{Error, ImportOptions, Metric, OnBad, VectorType, Vectors};
use serde_json::Value;

use crate::common::{Random, Scratch};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peers")
}

/// What the libraries themselves say of their files.
fn expected() -> Vec<Value> {
    let lines = fs::read_to_string(folder().join("expected.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

fn word<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// Ids, vectors and rejected rows of a file.
type Rows = (Vec<u64>, Vec<f32>, usize);

fn rows(path: &Path, options: &ReadOptions) -> Result<Rows, Error> {
    let (mut ids, mut vectors, mut rejected) = (Vec::new(), Vec::new(), 0);
    for batch in read(path, options)? {
        let batch = batch?;
        assert_eq!(batch.source_rows.len(), batch.len());
        ids.extend(batch.ids.iter().map(|id| id.to_string().parse::<u64>().unwrap()));
        vectors.extend(batch.vectors.to_f32(0..batch.vectors.len()));
        rejected += batch.rejected.len();
    }
    Ok((ids, vectors, rejected))
}

fn format_of(name: &str) -> Format {
    match name.split_once(['-', '.']).unwrap().0 {
        "hnswlib" => Format::Hnswlib,
        "usearch" => Format::Usearch,
        _ if name.ends_with("usearch") => Format::Usearch,
        _ => Format::Faiss,
    }
}

/// Every index file.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| [".bin", ".index", ".usearch"].iter().any(|end| name.ends_with(end)))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read(folder().join(name)).unwrap())).collect()
}

#[test]
fn index_files_of_others_are_known_by_their_content_and_give_ids_and_vectors() {
    let folder = folder();
    assert!(expected().len() >= 18);
    let scratch = Scratch::new();
    for case in expected() {
        let name = case["file"].as_str().unwrap();
        // Under another name, so that the extension says nothing.
        let path = scratch.dir.path().join("a.bin");
        fs::copy(folder.join(name), &path).unwrap();
        assert_eq!(Format::detect(&path).unwrap(), format_of(name), "{name}");
        for options in [ReadOptions::default(), ReadOptions::default().batch_rows(7)] {
            let (ids, vectors, rejected) = rows(&path, &options).unwrap();
            assert_eq!(ids, list::<u64>(&case["ids"]), "{name}");
            assert_eq!(vectors, list::<f32>(&case["vectors"]), "{name}");
            assert_eq!(rejected, 0, "{name}");
        }
        let numbered = rows(&path, &ReadOptions::default().row_numbers()).unwrap();
        assert!(numbered.0.is_sorted() && *numbered.0.last().unwrap() < 40, "{name}");
    }
}

#[test]
fn imported_index_files_answer_as_their_libraries_do() {
    let scratch = Scratch::new();
    let db = scratch.open();
    for case in expected() {
        let name = case["file"].as_str().unwrap();
        let collection = name.replace('.', "-");
        let mut import = FileImport::new(folder().join(name));
        if !case["said"].as_bool().unwrap() {
            import.metric = Some(word(&case["metric"]));
        }
        let report = import.run(&db, &collection, ImportOptions::new()).unwrap();
        assert_eq!(report.rows, list::<u64>(&case["ids"]).len() as u64, "{name}");
        let docs = db.open_collection(&collection).unwrap();
        let schema = docs.schema().unwrap();
        assert_eq!(schema.metric(), word::<Metric>(&case["metric"]), "{name}");
        assert_eq!(schema.vector_type(), word::<VectorType>(&case["dtype"]), "{name}");
        assert_eq!(schema.dimension() as u64, case["dim"].as_u64().unwrap(), "{name}");
        for asked in case["queries"].as_array().unwrap() {
            let query: Vectors<'static> = match schema.vector_type() {
                VectorType::B1 => list::<u8>(&asked["vector"]).into(),
                _ => list::<f32>(&asked["vector"]).into(),
            };
            let hits = docs.search(query).k(5).exact(true).run().unwrap();
            let found: Vec<String> = hits.iter().map(|hit| hit.id.to_string()).collect();
            let known: Vec<String> =
                list::<u64>(&asked["ids"]).iter().map(ToString::to_string).collect();
            assert_eq!(found, known, "{name}");
        }
    }
}

#[test]
fn a_metric_that_a_file_does_not_say_must_be_given_and_nothing_is_left_behind() {
    let scratch = Scratch::new();
    let db = scratch.open();
    for (name, says) in [
        ("hnswlib-l2.bin", "give the metric of its space: l2, cosine, or dot for `ip`"),
        ("faiss-l1.index", "metric type 2 of faiss"),
        ("usearch-haversine.usearch", "'h'"),
    ] {
        let mut import = FileImport::new(folder().join(name));
        let error = import.run(&db, "docs", ImportOptions::new()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(name), "{error}");
        assert!(db.open_collection("docs").is_err());
        import.metric = Some(Metric::L2);
        import.run(&db, "docs", ImportOptions::new()).unwrap();
        // A collection that is there says it.
        import.metric = None;
        let again = import.run(&db, "docs", ImportOptions::new()).unwrap();
        assert_eq!(again.rows, again.replaced, "{name}");
        db.drop_collection("docs").unwrap();
    }
}

#[test]
fn negative_ids_are_bad_rows_unless_rows_are_numbered() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let mut import = FileImport::new(folder().join("faiss-negative.index"));
    let error = import.run(&db, "docs", ImportOptions::new()).unwrap_err().to_string();
    assert!(error.contains("row 1") && error.contains("its id is -5"), "{error}");
    let skip = ImportOptions::new().on_bad(OnBad::Skip);
    let report = import.run(&db, "docs", skip).unwrap();
    assert_eq!((report.rows, report.rejected_rows), (2, 1));
    import.read = ReadOptions::default().row_numbers();
    assert_eq!(import.run(&db, "numbered", ImportOptions::new()).unwrap().rows, 3);
    let numbered = db.open_collection("numbered").unwrap();
    assert!((0..3_u64).all(|id| numbered.contains(id).unwrap()));
}

#[test]
fn index_files_without_whole_vectors_or_with_others_are_refused_by_name() {
    for (name, says) in [
        ("refused-bits.index", "an index of bits (IBxF)"),
        ("refused-codes.index", "an index of scalar codes (IxSQ)"),
        ("refused-ivf-codes.index", "an index of scalar codes (IwSq)"),
        ("refused-product.index", "an index of product codes (IxPq)"),
        ("refused-transformed.index", "an index of transformed vectors (IxPT)"),
        ("refused-multi.usearch", "several vectors a key"),
    ] {
        let error = read(folder().join(name), &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(says) && error.contains(".npy"), "{error}");
    }
    for options in [
        ReadOptions::default().id("id"),
        ReadOptions::default().columns(["title"]),
        ReadOptions::default().metadata("beside.jsonl"),
    ] {
        let error = read(folder().join("hnswlib-l2.bin"), &options).unwrap_err().to_string();
        assert!(error.contains("no columns"), "{error}");
    }
    let empty = rows(&folder().join("hnswlib-empty.bin"), &ReadOptions::default()).unwrap();
    assert_eq!(empty, (vec![], vec![], 0));
}

#[test]
fn a_file_of_one_peer_named_as_another_is_an_error() {
    let formats = [Format::Hnswlib, Format::Faiss, Format::Usearch];
    for (name, _) in files() {
        for format in formats.into_iter().filter(|format| *format != format_of(&name)) {
            let error = read(folder().join(&name), &ReadOptions::default().format(format));
            assert!(matches!(error, Err(Error::Corrupt { .. })), "{name} as {format}");
        }
    }
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("a.bin");
    let mut random = Random::new(3);
    for length in [0, 1, 7, 8, 63, 96, 97, 1000] {
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        fs::write(&path, bytes).unwrap();
        assert!(Format::detect(&path).is_err());
        for format in formats {
            let error = read(&path, &ReadOptions::default().format(format));
            assert!(matches!(error, Err(Error::Corrupt { .. } | Error::Incompatible { .. })));
        }
    }
}

#[test]
fn an_index_file_cut_at_any_length_or_with_more_behind_it_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("a.bin");
    for (name, bytes) in files() {
        let options = ReadOptions::default().format(format_of(&name));
        fs::write(&path, &bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for length in (0..bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            assert!(rows(&path, &options).is_err(), "{name} cut to {length} of {}", bytes.len());
            // Whatever it is taken for then, nothing panics.
            let _ = rows(&path, &ReadOptions::default());
        }
        fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
        assert!(rows(&path, &options).is_err(), "{name} and a byte");
    }
}

#[test]
fn forged_index_files_are_errors_or_rows_of_bounded_number() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("a.bin");
    let mut random = Random::new(11);
    for (name, bytes) in files() {
        let options = ReadOptions::default().format(format_of(&name));
        fs::write(&path, &bytes).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut put = |at: usize, part: &[u8]| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(part).unwrap();
        };
        let mut forge = |at: usize, part: &[u8]| {
            put(at, part);
            if let Ok((ids, vectors, rejected)) = rows(&path, &options) {
                let rows = ids.len() + rejected;
                assert!(rows * 2 <= bytes.len(), "{name} at {at}: {rows} rows");
                assert!(ids.is_empty() || vectors.len() % ids.len() == 0, "{name} at {at}");
            }
            put(at, &bytes[at..at + part.len()]);
        };
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 1000) {
            forge(at, &[bytes[at] ^ (1 << random.below(8))]);
        }
        // Numbers as large as they can be, in headers and sometimes elsewhere.
        let header = 0..160.min(bytes.len() - 8);
        let elsewhere = (160..bytes.len().saturating_sub(8)).step_by(1 + bytes.len() / 200);
        for at in header.chain(elsewhere) {
            for number in [u64::MAX, i64::MAX as u64, 1 << 62, 1 << 32, u64::from(u32::MAX), 0] {
                forge(at, &number.to_le_bytes()[..[8, 4][random.below(2) as usize]]);
            }
        }
        assert!(fs::read(&path).unwrap() == bytes);
    }
}
