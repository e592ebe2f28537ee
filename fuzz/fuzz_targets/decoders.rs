//! Log operations, column blocks and row sets from any bytes, as if a checksum had been right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearfield::testing::decode(data));
