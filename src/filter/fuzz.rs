//! A door for fuzzing: bytes as a small group of rows and the text of a filter over them.

use super::Filter;
use super::naive::{self, Row};
use crate::types::{IdType, SparseVector, time};

/// Rows of the group: more than a word of bits.
const ROWS: u8 = 70;
/// Longest text whose rows are looked at one by one.
const MOST_BYTES: usize = 4_096;

const INTS: [i64; 10] =
    [0, 1, 2, -1, 2019, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN, i64::MIN + 1];
const FLOATS: [f64; 12] = [
    0.0,
    -0.0,
    0.5,
    1.0,
    2.0,
    2019.0,
    9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e300,
];
const PIECES: [&str; 12] = ["a", "A", "b", "é", "É", "ß", "İ", "K", "%", "_", "'", "\u{10000}"];
const TIMES: [&str; 5] =
    ["2024-02-29", "2024-02-29T12:30:00.000001Z", "1969-12-31", "1970-01-01", "9999-12-31"];

/// Reads the bytes behind the first 16 as a filter, prints it, reads that again, and evaluates it over rows
/// made of the first 16, whose ids the first of them makes numbers or texts.
///
/// # Panics
/// When what was printed is read as another filter, and when the rows found are others than those that
/// are found one by one.
#[doc(hidden)]
pub fn filter(bytes: &[u8]) {
    let Some((seed, text)) = bytes.split_at_checked(16) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let read = match serde_json::from_str(text) {
        Ok(json) => Filter::from_json(&json),
        Err(_) => Filter::parse(text),
    };
    let Ok(read) = read else { return };
    let printed = read.to_string();
    assert_eq!(Filter::parse(&printed).ok().as_ref(), Some(&read), "{printed}");
    let rows: Vec<Row> = (0..ROWS).map(|at| row(seed, at)).collect();
    let id_type = if seed[0].is_multiple_of(2) { IdType::U64 } else { IdType::Utf8 };
    let Ok(found) = naive::found(&read, &rows, id_type) else { return };
    if text.len() <= MOST_BYTES {
        assert_eq!(found, naive::expected(&read, &rows, id_type), "{printed}");
    }
}

/// The row at a place, null where its byte says so.
fn row(seed: &[u8], at: u8) -> Row {
    // Different for each column and place, the same for the same seed.
    let byte = |column: u8| {
        let mixed = seed[usize::from(at.wrapping_add(column)) % seed.len()] ^ at;
        let mixed = mixed.wrapping_mul(167).wrapping_add(column.wrapping_mul(29));
        (!mixed.is_multiple_of(5)).then_some(mixed / 5)
    };
    let of = |from: usize, byte: u8| usize::from(byte) % from;
    let text = |byte: u8| -> String {
        let piece = |at: u8| PIECES[of(PIECES.len(), byte.wrapping_add(at * 5))];
        (0..byte / 13 % 4).map(piece).collect()
    };
    let tag = |byte: u8| (!byte.is_multiple_of(7)).then(|| text(byte));
    let tags = |byte: u8| (0..byte % 4).map(|at| tag(byte.wrapping_add(at * 61))).collect();
    Row {
        id: if at % 9 == 8 { u64::MAX - u64::from(at) } else { at.into() },
        flag: byte(0).map(|byte| byte.is_multiple_of(2)),
        n: byte(1).map(|byte| INTS[of(INTS.len(), byte)]),
        x: byte(2).map(|byte| FLOATS[of(FLOATS.len(), byte)]),
        s: byte(3).map(text),
        t: byte(4).and_then(|byte| time::parse(TIMES[of(TIMES.len(), byte)])),
        tags: byte(5).map(tags),
        splade: byte(6).and_then(|byte| SparseVector::from_pairs([(byte.into(), 1.0)]).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_filters_of_every_type_of_column() {
        let texts = [
            "flag AND NOT n = 2019",
            "x >= 0.5 OR x IS NULL",
            "s ILIKE '%É_' OR s STARTS WITH 'a'",
            "t BETWEEN '1970-01-01' AND TIMESTAMP '2024-02-29'",
            "tags HAS ANY ('a', 'b') AND splade IS NOT NULL",
            "tags CONTAINS 'a'",
        ];
        for text in texts {
            let mut all = Vec::new();
            for seed in 0..8 {
                let seed: Vec<u8> =
                    (0..16).map(|at: u8| at.wrapping_mul(77) ^ (seed * 31)).collect();
                let rows: Vec<Row> = (0..ROWS).map(|at| row(&seed, at)).collect();
                all.extend(
                    naive::found(&Filter::parse(text).unwrap(), &rows, IdType::U64).unwrap(),
                );
                filter(&[&seed, text.as_bytes()].concat());
            }
            assert!(all.contains(&true) && all.contains(&false), "{text}");
        }
    }
}
