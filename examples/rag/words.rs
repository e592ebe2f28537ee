//! An embedder without a model: the words of a text, each counted in one of a thousand places. It
//! finds sections that share words with the question, and is the same on every machine.

use nearfield::Embedder;

const DIMENSION: usize = 1_024;
/// Shorter words say little.
const LEAST_CHARS: usize = 4;

pub(crate) fn embedder() -> Embedder {
    Embedder::new("hashed-words-1024", DIMENSION, |texts| {
        Ok(texts.iter().flat_map(|text| count(text)).collect())
    })
}

fn count(text: &str) -> Vec<f32> {
    let mut counts = vec![0.0_f32; DIMENSION];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        if word.chars().count() >= LEAST_CHARS {
            // A plural is the same word.
            counts[place(word.trim_end_matches('s'))] += 1.0;
        }
    }
    // The tenth time that a word comes says less than the first.
    counts.iter().map(|count| count.sqrt()).collect()
}

/// FNV-1a.
fn place(word: &str) -> usize {
    let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % DIMENSION as u64).unwrap_or_default()
}
