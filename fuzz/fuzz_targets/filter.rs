//! Filters from any text: read, printed, read again, evaluated over a few rows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nearfield::testing::filter(data));
