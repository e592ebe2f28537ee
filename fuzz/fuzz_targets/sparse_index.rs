//! Inverted indexes of sparse vectors: of rows made of the input, and from any bytes as if a checksum had
//! been right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearfield::testing::sparse_index(data));
