//! Queries from any text: read, planned, and searched for in a small index, with snippets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(query) = std::str::from_utf8(data) {
        nearfield::testing::words(query);
    }
});
