//! Foreign files of every format the default build reads: rows, rejected rows or an error.
#![no_main]

use nearfield::interop::{Format, ReadOptions, read};

/// The first byte of an input, which seeds have too, chooses one.
const FORMATS: [Format; 8] = [
    Format::Jsonl,
    Format::Npy,
    Format::Fvecs,
    Format::Bvecs,
    Format::Ivecs,
    Format::Hnswlib,
    Format::Faiss,
    Format::Usearch,
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), data).expect("the file is written");
    let _ = Format::detect(file.path());
    let options = ReadOptions::default().format(FORMATS[*choice as usize % FORMATS.len()]);
    if let Ok(reader) = read(file.path(), &options) {
        for batch in reader {
            if batch.is_err() {
                return;
            }
        }
    }
});
