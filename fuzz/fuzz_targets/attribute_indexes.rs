//! Indexes over columns from any bytes, as if a checksum had been right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearfield::testing::attribute_indexes(data));
