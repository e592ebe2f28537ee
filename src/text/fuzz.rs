//! Doors for fuzzing: any text as a query over a small index, any bytes as a packed index.

use super::index::{Builder, ColumnIndex, PackBytes};
use super::options::TextOptions;
use super::search::{self, Searched, Source};
use super::words::Words;
use crate::filter::rowset::RowSet;

/// Searches two small indexes for `query`, in the language of queries and as plain text, and marks what was
/// found in a text.
///
/// # Panics
/// When a row is found twice, or has a score that is no number.
#[doc(hidden)]
pub fn words(query: &str) {
    let texts = ["page fault in mmap", "", "std::fs 東京都 über", "faults of a page, faults"];
    let options = TextOptions::new();
    let index = || {
        let texts = texts.iter().map(|text| Some(*text));
        ColumnIndex::of("body", options.cutting(), 100, texts)
    };
    let (Ok(first), Ok(second)) = (index(), index()) else { panic!("the texts are indexed") };
    let (first, second) = (std::sync::Arc::new(first), std::sync::Arc::new(second));
    let gone = RowSet::default();
    for words in [Words::new(query), Words::plain(query)] {
        let name = |name: &str| Searched { name: name.into(), options, weight: 1.5 };
        let Ok(plan) = search::plan(&words, vec![name("body"), name("title")]) else { continue };
        let source = Source { indexes: vec![first.clone(), second.clone()], gone: &gone };
        let mut seen = std::collections::HashSet::new();
        let found = plan.run(&[source], &|| Ok(()), |_, row, score| {
            assert!(seen.insert(row) && score.is_finite() && score >= 0.0, "{row} {score}");
            Ok(())
        });
        assert!(found.is_ok());
        for text in texts.iter().copied().chain([query]) {
            let snippet = plan.marker(0).snippet(text, query.len() % 40);
            assert!(snippet.marked("<", ">").len() >= snippet.text.len());
        }
    }
}

/// Opens `bytes` as a packed index, and an index in which they stand for some of the bytes.
#[doc(hidden)]
pub fn text_index(bytes: &[u8]) {
    let cutting = TextOptions::new().cutting();
    let open = |pack: Vec<u8>| {
        let packs = std::iter::once(PackBytes::new(pack));
        ColumnIndex::open(packs, "body", cutting, None)
    };
    drop(open(bytes.to_vec()));
    let mut builder = Builder::new("body", cutting, 100);
    let pushed = builder.push(Some("page fault in mmap"));
    let Ok(mut packs) = pushed.and_then(|()| builder.finish()) else { return };
    let (Some(pack), Some((at, over))) = (packs.pop(), bytes.split_first_chunk::<2>()) else {
        return;
    };
    let mut pack = pack;
    let at = usize::from(u16::from_le_bytes(*at)) % pack.len();
    let len = over.len().min(pack.len() - at);
    pack[at..at + len].copy_from_slice(&over[..len]);
    drop(open(pack));
}
