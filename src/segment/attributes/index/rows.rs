//! Rows in ascending order.

use crate::types::Row;

/// So many rows are put in order by their digits rather than by comparing them.
const BY_DIGITS: usize = 256;
/// Bits of a digit: of few rows the places of longer ones are more work than a further round.
const DIGIT: u32 = 11;
const SHORT_DIGIT: u32 = 7;
/// Rows that are few.
const FEW: usize = 4_096;

/// The rows, ascending, each once; `None` unless all are below `total`.
pub(crate) fn ascending(mut rows: Vec<Row>, total: usize) -> Option<Vec<Row>> {
    if rows.iter().copied().max().is_some_and(|most| most as usize >= total) {
        return None;
    }
    if rows.is_sorted_by(|a, b| a < b) {
        return Some(rows);
    }
    if rows.len() < BY_DIGITS {
        rows.sort_unstable()
    } else {
        by_digits(&mut rows, total)
    }
    rows.dedup();
    Some(rows)
}

/// Whether `words`, of as many words as bits of `total` rows take, have none behind them.
pub(super) fn within(words: &[u64], total: usize) -> bool {
    words.get(total / 64).is_none_or(|last| last >> (total % 64) == 0)
}

/// Sorts rows below `total`, digit by digit from the last.
fn by_digits(rows: &mut Vec<Row>, total: usize) {
    match rows.len() < FEW {
        true => by_digits_of::<SHORT_DIGIT, { 1 << SHORT_DIGIT }>(rows, total),
        false => by_digits_of::<DIGIT, { 1 << DIGIT }>(rows, total),
    }
}

fn by_digits_of<const DIGIT: u32, const DIGITS: usize>(rows: &mut Vec<Row>, total: usize) {
    let mut other = vec![0; rows.len()];
    let bits = usize::BITS - total.leading_zeros();
    let mut shift = 0;
    while shift < bits.min(Row::BITS) {
        let digit = |row: Row| (row >> shift) as usize & (DIGITS - 1);
        let mut places = [0_u32; DIGITS];
        rows.iter().for_each(|row| places[digit(*row)] += 1);
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for row in &*rows {
            let place = &mut places[digit(*row)];
            other[*place as usize] = *row;
            *place += 1;
        }
        std::mem::swap(rows, &mut other);
        shift += DIGIT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::noise;

    #[test]
    fn rows_ascend_whatever_their_order_and_number() {
        let mut next = noise::bits(11);
        for (count, total) in [(0, 1), (1, 1), (200, 90), (256, 1 << 11), (3_000, (1 << 22) + 5)] {
            let rows: Vec<Row> = (0..count).map(|_| (next() % total) as Row).collect();
            let mut expected = rows.clone();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(ascending(rows, total as usize), Some(expected), "{count} of {total}");
        }
        assert_eq!(ascending(vec![3, 4], 4), None);
        let top = Row::MAX - 1;
        let rows: Vec<Row> = (0..300).map(|at| top - at).collect();
        let found = ascending(rows, Row::MAX as usize).expect("all are below");
        assert!(found.is_sorted() && found.len() == 300);
    }
}
