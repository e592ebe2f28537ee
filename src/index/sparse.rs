//! The scan of some rows: those that count are scored, by codes where there are any, in the order of
//! rows and asked for ahead; the others cost a bit each.

use crate::bytes::{Guard, Guarded};
use crate::codec::full::{FullSource, Query, Rows, score_rows};
use crate::codec::quantizer::{CodeRows, CodedSource};
use crate::codec::{BATCH, QuerySource, Scorer, ScorerOp};
use crate::filter::rowset::{Absent, RowSet};
use crate::index::nearest::LEAST_COMPARED;
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows asked for while as many are scored.
const BLOCK: usize = 64;
/// Bytes of rows in flight at most.
const FLIGHT_BYTES: usize = 16 << 10;

/// Rows, and what tells of them in fewer bytes.
#[derive(Debug)]
pub(crate) struct Source<'a, G> {
    pub(crate) rows: Rows<'a, G>,
    pub(crate) codes: Option<CodeRows<'a, G>>,
    /// Sketches of the codes.
    pub(crate) sketches: Option<Guarded<'a, G>>,
}

/// What a scan has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rows of which sketches were read, rows of which codes were, and rows compared exactly.
    pub(crate) sketched: u64,
    pub(crate) by_codes: u64,
    pub(crate) compared: u64,
}

/// Offers `top` the nearest of the first `len` rows that are not in `dead`: all of them where there
/// are no codes, else those with the nearest codes.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    Source { rows, codes, sketches }: Source<'_, G>,
    len: usize,
    dead: &RowSet,
    top: &mut TopK<'_>,
) -> Counts {
    let live = len.saturating_sub(dead.len());
    let wanted = codes.map(|codes| (codes, codes.codec.compared(top.k()).max(LEAST_COMPARED)));
    let Some((codes, wanted)) = wanted.filter(|(_, wanted)| live > *wanted) else {
        FullSource { query, rows }.run(isa, Scan { rows: dead.absent(len), top });
        return Counts { compared: live as u64, ..Counts::default() };
    };
    let coded = codes.codec.query(isa, query);
    let sketches = sketches.filter(|_| codes.codec.sketched().is_some());
    let mut near = TopK::new(wanted, f32::INFINITY, live, &|a, b| a < b);
    let scan = Scan { rows: dead.absent(len), top: &mut near };
    let source = CodedSource { codes: codes.codes, query: &coded, sketches };
    let by_codes = source.run(isa, scan);
    let wanted: Vec<Row> = near.into_sorted().iter().map(|near| near.row).collect();
    let mut distances = vec![0.0; wanted.len()];
    score_rows(isa, query, rows, &wanted, &mut distances);
    for (row, distance) in wanted.iter().zip(distances) {
        top.offer(distance, *row);
    }
    let sketched = if sketches.is_some() { live as u64 } else { 0 };
    Counts { sketched, by_codes, compared: wanted.len() as u64 }
}

/// Scores rows; how many of them.
struct Scan<'a, 'b> {
    rows: Absent<'a>,
    top: &'a mut TopK<'b>,
}

impl ScorerOp for Scan<'_, '_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) -> u64 {
        let Self { mut rows, top } = self;
        let (sketched, count) = (scorer.is_sketched(), scorer.rows());
        let most = (FLIGHT_BYTES / scorer.stride().max(1)).clamp(4, BLOCK);
        let mut fill = |block: &mut Block| {
            block.count = 0;
            while block.count < most
                && let Some(row) = rows.next()
                && (row as usize) < count
            {
                if sketched {
                    scorer.prefetch_sketch(row);
                } else {
                    scorer.prefetch(row);
                }
                block.push(row);
            }
        };
        let (mut now, mut next, mut near) = (Block::default(), Block::default(), Block::default());
        let mut scored = 0;
        fill(&mut now);
        while now.count > 0 {
            fill(&mut next);
            if sketched {
                // The codes of a block are scored when those of the next are asked for.
                scored += near.offer(&scorer, top);
                now.sift(&scorer, top.bound(), &mut near);
            } else {
                scored += now.offer(&scorer, top);
            }
            std::mem::swap(&mut now, &mut next);
        }
        scored + near.offer(&scorer, top)
    }
}

/// Rows that are asked for together.
struct Block {
    rows: [Row; BLOCK],
    count: usize,
}

impl Default for Block {
    fn default() -> Self {
        Self { rows: [0; BLOCK], count: 0 }
    }
}

impl Block {
    #[inline(always)]
    fn push(&mut self, row: Row) {
        self.rows[self.count] = row;
        self.count += 1;
    }

    /// Scores all rows; how many there are.
    #[inline(always)]
    fn offer<S: Scorer>(&self, scorer: &S, top: &mut TopK<'_>) -> u64 {
        let mut distances = [0.0; BLOCK];
        let rows = &self.rows[..self.count];
        scorer.score_batch(rows, &mut distances);
        for (row, distance) in rows.iter().zip(&distances) {
            top.offer(*distance, *row);
        }
        self.count as u64
    }

    /// Puts into `near` the rows that may be within `bound`, and asks for their codes.
    #[inline(always)]
    fn sift<S: Scorer>(&mut self, scorer: &S, bound: f32, near: &mut Self) {
        near.count = 0;
        let (count, first) = (self.count, self.rows[0]);
        self.rows[count..count.next_multiple_of(BATCH)].fill(first);
        for (four, rows) in self.rows[..count].chunks(BATCH).zip(self.rows.as_chunks().0) {
            let least = scorer.least_four(*rows);
            for (row, least) in four.iter().zip(least) {
                if least <= bound || least.is_nan() {
                    scorer.prefetch(*row);
                    near.push(*row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{AlignedBytes, Guarded};
    use crate::codec::codes::{CodeKind, Codec, SKETCH_BYTES};
    use crate::codec::full::{Space, Stage, encode_rows};
    use crate::codec::quantizer::Quantizer;
    use crate::kernel::noise::noise;
    use crate::types::{Metric, VectorType};

    #[test]
    fn the_nearest_of_the_rows_that_count_are_found_with_codes_and_without() {
        const ROWS: usize = 700;
        for dimension in [8, 1_000, 3_000] {
            let space = Space {
                dimension,
                vector_type: VectorType::F32,
                metric: Metric::L2,
                stage: Stage::Given,
            };
            let mut next = noise(7);
            let values: Vec<f32> = (0..ROWS * dimension).map(|_| next()).collect();
            let (vectors, _) = encode_rows(space, &values.as_slice().into(), ROWS).expect("finite");
            let rows = Rows {
                vectors: Guarded::trusted(vectors.as_slice()),
                inverse_norms: Guarded::trusted(&[]),
            };
            let kind = if dimension == 1_000 { CodeKind::Half } else { CodeKind::Byte };
            let codec = Quantizer::Levels(Codec::train(kind, space, rows, ROWS));
            let query = Query::new(space, &values[..dimension]);
            for isa in Isa::available() {
                let mut codes = AlignedBytes::zeroed(ROWS * codec.stride());
                codec.encode(isa, rows, 0..ROWS, codes.as_mut_slice());
                let coded = CodeRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
                let mut sketches = AlignedBytes::zeroed(ROWS * SKETCH_BYTES);
                if let Some(codec) = codec.sketched() {
                    codec.sketch(codes.as_slice(), sketches.as_mut_slice());
                }
                let sketches = Guarded::trusted(sketches.as_slice());
                let sketches = codec.sketched().is_some().then_some(sketches);
                let source = |codes| Source { rows, codes, sketches };
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
                        let counts = scan(isa, &query, source(codes), ROWS, &dead, &mut found);
                        assert_eq!(found.into_sorted(), wanted, "{} {step}", isa.name());
                        let by_codes = codes.is_some() && live.len() > LEAST_COMPARED;
                        assert_eq!(counts.by_codes > 0, by_codes);
                        let sketched = if by_codes && sketches.is_some() { live.len() } else { 0 };
                        assert_eq!(counts.sketched, sketched as u64);
                        assert!(counts.by_codes <= live.len() as u64);
                        assert!(counts.compared >= wanted.len() as u64);
                    }
                }
            }
        }
    }
}
