//! How things look to people: tables, sizes, counts, times, text that may come from anywhere.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use nearfield::{Id, Vectors};
use serde::{Serialize, Serializer};

/// Characters of a text that a table shows.
const SHOWN_CHARS: usize = 160;
/// Elements of a vector that a table shows.
const SHOWN_ELEMENTS: usize = 6;

/// An empty table with these headings, as wide as the terminal.
pub(crate) fn table<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings.into_iter().map(plain));
    table
}

/// A cell of a table flush right.
pub(crate) fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Text fit for a terminal: no control characters, of bounded length.
pub(crate) fn plain(text: &str) -> String {
    short(text, SHOWN_CHARS)
}

/// As [`plain`], of at most `limit` characters.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let visible = |c: char| if c.is_control() || is_direction(c) { ' ' } else { c };
    let mut shown: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that change the direction of the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An id without quotes, fit for a terminal.
pub(crate) fn id(id: &Id) -> String {
    match id {
        Id::U64(id) => id.to_string(),
        Id::Utf8(id) => plain(id),
    }
}

/// The first elements of the vector in `row`.
pub(crate) fn vector(vectors: &Vectors<'_>, width: usize, row: usize) -> String {
    let elements = elements(vectors, width, row);
    let places = match vectors {
        Vectors::I8(_) | Vectors::U8(_) => 0,
        _ => 4,
    };
    let shown: Vec<String> =
        elements.iter().take(SHOWN_ELEMENTS).map(|element| format!("{element:.places$}")).collect();
    let more = if elements.len() > SHOWN_ELEMENTS { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The elements of the vector in `row`.
pub(crate) fn elements(vectors: &Vectors<'_>, width: usize, row: usize) -> Vec<f32> {
    vectors.to_f32(row * width..(row + 1) * width)
}

/// A number with thousands set apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things: `1 row`, `2 rows`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

/// A size: `3.2 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A duration: `1.24 s`, `3.1 ms`, `87 µs`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        long if long >= 100.0 => format!("{long:.0} s"),
        long if long >= 1.0 => format!("{long:.2} s"),
        short if short >= 0.001 => format!("{:.1} ms", short * 1e3),
        shorter => format!("{:.0} µs", shorter * 1e6),
    }
}

/// How many rows were done a second.
pub(crate) fn rate(rows: u64, duration: Duration) -> u64 {
    let rate = u128::from(rows) * 1_000_000 / duration.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// An id as JSON: a number or a string.
pub(crate) fn id_as_json<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Id::U64(id) => serializer.serialize_u64(*id),
        Id::Utf8(id) => serializer.serialize_str(id),
    }
}

/// An [`Id`] within a document.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct JsonId(#[serde(serialize_with = "id_as_json")] pub(crate) Id);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_line_ends_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}"), "a [31mb c ");
        assert_eq!(plain(&"é".repeat(200)).chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn numbers_are_set_in_units_people_read() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(size(3_355_443), "3.2 MiB");
        assert_eq!(time(Duration::from_micros(1_500)), "1.5 ms");
    }
}
