use super::*;

/// Reads to the end or the first error; every row that the file is said to hold must be either
/// there or rejected, which the caller does not check: only that it ends.
fn survive(path: &Path) {
    for options in [ReadOptions::default(), ReadOptions::default().row_numbers().batch_rows(2)] {
        if let Ok(reader) = read(path, &options) {
            for batch in reader.take(10_000) {
                if batch.is_err() {
                    break;
                }
            }
        }
    }
}

/// Sound files of every format.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = vec![
        ("a.fvecs", fvecs(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]])),
        ("a.bvecs", vec![2, 0, 0, 0, 9, 255, 2, 0, 0, 0, 1, 2]),
        ("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", &[1; 16])),
    ];
    for (format, name) in written_formats() {
        let (_folder, path) = file(name, b"");
        let batches = (0..3).map(|_| Ok(batch(vec![1, 2, 3].into(), vec![0.5_f32; 6].into())));
        write(&path, format, &schema(VectorType::F32, IdType::U64), batches).unwrap();
        seeds.push((name, std::fs::read(&path).unwrap()));
    }
    seeds
}

/// A small generator, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "input of a test")]
fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_cut_at_any_length_is_an_error_or_fewer_rows() {
    for (name, bytes) in seeds() {
        let (_folder, path) = file(name, b"");
        let step = (bytes.len() / 300).max(1);
        for length in (0..bytes.len()).step_by(step) {
            overwrite(&path, &bytes[..length]);
            survive(&path);
            let whole = read_all(&path, &ReadOptions::default().row_numbers());
            let rows = whole.map_or(0, |rows| rows.ids.len());
            // A last newline or end-of-stream mark may be missing.
            let whole = name.contains(".jsonl") || name.contains(".arrows");
            let most = if whole && length + 8 >= bytes.len() { 9 } else { 8 };
            assert!(rows <= most, "{name} cut to {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn flipped_and_forged_bytes_never_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, bytes) in seeds() {
        let (_folder, path) = file(name, b"");
        for _ in 0..100 {
            let mut forged = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(forged.len());
                match random.below(3) {
                    0 => forged[at] ^= 1 << random.below(8),
                    1 => forged[at] = 0xff,
                    _ => {
                        let end = (at + 8).min(forged.len());
                        let number =
                            [u64::MAX, 1 << 62, i64::MAX.cast_unsigned(), 1 << 31][random.below(4)];
                        forged[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                    }
                }
            }
            overwrite(&path, &forged);
            survive(&path);
        }
    }
}

#[test]
fn random_bytes_under_every_extension_and_magic_are_refused() {
    let mut random = Random(42);
    let magics: [&[u8]; 5] = [b"", b"PAR1", b"ARROW1\0\0", b"\x93NUMPY\x01\0", b"\xff\xff\xff\xff"];
    for (name, _) in seeds() {
        let (_folder, path) = file(name, b"");
        for magic in magics {
            for length in [0, 1, 8, 64, 1000] {
                let mut bytes = magic.to_vec();
                bytes.extend((0..length).map(|_| u8::try_from(random.next() & 0xff).unwrap()));
                if magic == b"PAR1" {
                    bytes.extend(u32::try_from(length / 2).unwrap().to_le_bytes());
                    bytes.extend(b"PAR1");
                }
                overwrite(&path, &bytes);
                survive(&path);
            }
        }
    }
}

#[test]
fn a_length_beyond_the_file_is_refused_before_it_is_allocated() {
    let huge = i32::MAX.to_le_bytes();
    let (_folder, path) = file("a.fvecs", &huge);
    assert!(matches!(read(&path, &ReadOptions::default()), Err(Error::Corrupt { .. })));
    let mut bytes = 65_536_i32.to_le_bytes().to_vec();
    bytes.extend([0; 100]);
    let (_folder, path) = file("a.fvecs", &bytes);
    let message = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("cut short"), "{message}");
    let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
    bytes.extend(u32::MAX.to_le_bytes());
    let (_folder, path) = file("a.npy", &bytes);
    assert!(matches!(read(&path, &ReadOptions::default()), Err(Error::Corrupt { .. })));
}

#[test]
fn deeply_nested_json_is_a_rejected_line() {
    let mut text = b"{\"v\": [1], \"x\": 1}\n{\"v\": [1], \"x\": ".to_vec();
    text.extend(vec![b'['; 1 << 20]);
    text.extend(b"\n{\"v\": [1], \"y\": ");
    text.extend(vec![b'['; 1 << 20]);
    text.push(b'\n');
    let (_folder, path) = file("a.jsonl", &text);
    let rows = read_all(&path, &ReadOptions::default()).unwrap();
    assert_eq!((rows.ids.len(), rows.rejected.len()), (1, 2));
}

#[cfg(feature = "parquet")]
#[test]
fn a_footer_that_claims_billions_of_row_groups_is_refused() {
    // FileMetaData {1: 1, 2: [], 3: 0, 4: list of 2^31 − 1 structs …
    let footer = [0x15, 2, 0x19, 0x0c, 0x16, 0, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0];
    let mut bytes = b"PAR1".to_vec();
    bytes.extend(footer);
    bytes.extend(u32::try_from(footer.len()).unwrap().to_le_bytes());
    bytes.extend(b"PAR1");
    let (_folder, path) = file("a.parquet", &bytes);
    let message = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("the footer is damaged"), "{message}");
}
