//! The scan of some rows: those that count are scored, by codes where there are any, in the order of
//! rows and asked for ahead; the others cost a bit each.

use crate::bytes::Guard;
use crate::codec::codes::{CodeRows, CodedSource};
use crate::codec::full::{FullSource, Query, Rows, score_rows};
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::filter::rowset::{Absent, RowSet};
use crate::index::nearest::LEAST_COMPARED;
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows asked for while as many are scored.
const BLOCK: usize = 32;
/// Bytes of rows in flight at most.
const FLIGHT_BYTES: usize = 16 << 10;

/// What a scan has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) by_codes: u64,
    /// Rows compared exactly.
    pub(crate) compared: u64,
}

/// Offers `top` the nearest of the first `len` rows that are not in `dead`: all of them where there
/// are no codes, else those with the nearest codes.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    (rows, codes): (Rows<'_, G>, Option<CodeRows<'_, G>>),
    len: usize,
    dead: &RowSet,
    top: &mut TopK<'_>,
) -> Counts {
    let live = len.saturating_sub(dead.len());
    let wanted = codes.map(|codes| (codes, codes.codec.compared(top.k()).max(LEAST_COMPARED)));
    let Some((codes, wanted)) = wanted.filter(|(_, wanted)| live > *wanted) else {
        FullSource { query, rows }.run(isa, Scan { rows: dead.absent(len), top });
        return Counts { by_codes: 0, compared: live as u64 };
    };
    let coded = codes.codec.query(isa, query);
    let mut near = TopK::new(wanted, f32::INFINITY, live, &|a, b| a < b);
    let scan = Scan { rows: dead.absent(len), top: &mut near };
    CodedSource { rows: codes, query: &coded }.run(isa, scan);
    let wanted: Vec<Row> = near.into_sorted().iter().map(|near| near.row).collect();
    let mut distances = vec![0.0; wanted.len()];
    score_rows(isa, query, rows, &wanted, &mut distances);
    for (row, distance) in wanted.iter().zip(distances) {
        top.offer(distance, *row);
    }
    Counts { by_codes: live as u64, compared: wanted.len() as u64 }
}

struct Scan<'a, 'b> {
    rows: Absent<'a>,
    top: &'a mut TopK<'b>,
}

impl ScorerOp for Scan<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let Self { mut rows, top } = self;
        let most = (FLIGHT_BYTES / scorer.stride().max(1)).clamp(4, BLOCK);
        let mut fill = |out: &mut [Row; BLOCK]| {
            let mut count = 0;
            while count < most
                && let Some(row) = rows.next()
                && (row as usize) < scorer.rows()
            {
                scorer.prefetch(row);
                out[count] = row;
                count += 1;
            }
            count
        };
        let (mut now, mut next) = ([0; BLOCK], [0; BLOCK]);
        let mut distances = [0.0; BLOCK];
        let mut count = fill(&mut now);
        while count > 0 {
            let more = fill(&mut next);
            scorer.score_batch(&now[..count], &mut distances);
            for (row, distance) in now[..count].iter().zip(&distances) {
                top.offer(*distance, *row);
            }
            std::mem::swap(&mut now, &mut next);
            count = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{AlignedBytes, Guarded};
    use crate::codec::codes::{CodeKind, Codec};
    use crate::codec::full::{Space, encode_rows};
    use crate::kernel::noise::noise;
    use crate::types::{Metric, VectorType};

    #[test]
    fn the_nearest_of_the_rows_that_count_are_found_with_codes_and_without() {
        const ROWS: usize = 700;
        for dimension in [8, 3_000] {
            let space = Space { dimension, vector_type: VectorType::F32, metric: Metric::L2 };
            let mut next = noise(7);
            let values: Vec<f32> = (0..ROWS * dimension).map(|_| next()).collect();
            let (vectors, _) = encode_rows(space, &values.as_slice().into(), ROWS).expect("finite");
            let rows = Rows {
                vectors: Guarded::trusted(vectors.as_slice()),
                inverse_norms: Guarded::trusted(&[]),
            };
            let codec = Codec::train(CodeKind::Byte, space, rows, ROWS);
            let query = Query::new(space, &values[..dimension]);
            for isa in Isa::available() {
                let mut codes = AlignedBytes::zeroed(ROWS * codec.stride());
                codec.encode(isa, rows, 0..ROWS, codes.as_mut_slice());
                let coded = CodeRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
                for step in [1, 3, 50, 699] {
                    let live: Vec<Row> = (0..ROWS as Row).filter(|row| row % step == 0).collect();
                    let mut dead = RowSet::default();
                    (0..ROWS as Row).filter(|row| row % step > 0).for_each(|row| {
                        dead.insert(row);
                    });
                    let before = |a: Row, b: Row| a < b;
                    let top = || TopK::new(5, f32::INFINITY, ROWS, &before);
                    let mut exact = vec![0.0; live.len()];
                    score_rows(isa, &query, rows, &live, &mut exact);
                    let mut wanted = top();
                    live.iter().zip(exact).for_each(|(row, distance)| wanted.offer(distance, *row));
                    let wanted = wanted.into_sorted();
                    for codes in [None, Some(coded)] {
                        let mut found = top();
                        let counts = scan(isa, &query, (rows, codes), ROWS, &dead, &mut found);
                        assert_eq!(found.into_sorted(), wanted, "{} {step}", isa.name());
                        let by_codes = codes.is_some() && live.len() > LEAST_COMPARED;
                        assert_eq!(counts.by_codes > 0, by_codes);
                        assert!(counts.compared >= wanted.len() as u64);
                    }
                }
            }
        }
    }
}
