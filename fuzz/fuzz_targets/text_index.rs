//! Packed indexes of texts from any bytes: opened whole, and laid over a real one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearfield::testing::text_index(data));
