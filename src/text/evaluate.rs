//! Rows and scores of a query in one part, window by window.
//!
//! A window is [`WINDOW`] rows; a clause sets the bits of its rows in a frame and adds to their scores.
//! Windows in which no row can be found are passed over. The score of a lookup in a row is
//!
//! ```text
//! weight · idf · tf · (k1 + 1) / (tf + k1 · (1 − b + b · length / mean length))
//! idf = ln(1 + (rows − found + 0.5) / (found + 0.5))
//! ```
//!
//! (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009).

use super::cursor::{Cursor, END};
use super::index::ColumnIndex;
use super::plan::Clause;
use crate::types::Row;

/// Rows of a window.
const WINDOW: usize = 4_096;
const WORDS: usize = WINDOW / 64;

/// The numbers of a lookup that are the same in all parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// weight · idf · (k1 + 1)
    pub(super) most: f32,
    /// k1 · (1 − b)
    pub(super) floor: f32,
    /// k1 · b / mean length
    pub(super) slope: f32,
}

/// A lookup in one part.
pub(super) struct Lookup<'a> {
    pub(super) cursor: Cursor,
    pub(super) scale: Scale,
    pub(super) index: &'a ColumnIndex,
}

struct Frame {
    rows: [u64; WORDS],
    scores: [f32; WINDOW],
}

impl Frame {
    fn new() -> Box<Self> {
        Box::new(Self { rows: [0; WORDS], scores: [0.0; WINDOW] })
    }

    fn clear(&mut self) {
        self.rows = [0; WORDS];
        self.scores = [0.0; WINDOW];
    }

    fn add_scores(&mut self, other: &Self) {
        for (score, more) in self.scores.iter_mut().zip(&other.scores) {
            *score += more;
        }
    }
}

/// The lookups of a query in one part.
pub(super) struct Evaluation<'a> {
    pub(super) lookups: Vec<Lookup<'a>>,
    spare: Vec<Box<Frame>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(lookups: Vec<Lookup<'a>>) -> Self {
        Self { lookups, spare: Vec::new() }
    }

    /// Every row that `root` finds, ascending, with its score.
    pub(super) fn run<E>(
        &mut self,
        root: &Clause,
        mut hit: impl FnMut(Row, f32) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut frame = Frame::new();
        loop {
            let next = self.next(root);
            if next == END {
                return Ok(());
            }
            #[expect(clippy::cast_possible_truncation, reason = "a window has 4,096 rows")]
            let base = next - next % WINDOW as Row;
            frame.clear();
            self.fill(root, base, &mut frame);
            for (word, bits) in frame.rows.iter().enumerate() {
                let mut bits = *bits;
                while bits != 0 {
                    let at = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    #[expect(clippy::cast_possible_truncation, reason = "inside the window")]
                    hit(base + at as Row, frame.scores[at])?;
                }
            }
        }
    }

    /// A row before which `clause` finds none any more.
    fn next(&self, clause: &Clause) -> Row {
        let first = |clauses: &[Clause]| {
            clauses.iter().map(|clause| self.next(clause)).min().unwrap_or(END)
        };
        match clause {
            Clause::Leaf(leaf) => self.lookups[*leaf].cursor.row(),
            Clause::Any(clauses) => first(clauses),
            Clause::Both { must, should, .. } if must.is_empty() => first(should),
            Clause::Both { must, .. } => {
                must.iter().map(|clause| self.next(clause)).max().unwrap_or(END)
            }
        }
    }

    /// Adds what `clause` finds in the window from `base` on.
    fn fill(&mut self, clause: &Clause, base: Row, frame: &mut Frame) {
        match clause {
            Clause::Leaf(leaf) => self.lookups[*leaf].fill(base, frame),
            Clause::Any(clauses) => {
                clauses.iter().for_each(|clause| self.fill(clause, base, frame));
            }
            Clause::Both { must, should, not } => {
                let mut both = self.frame();
                let mut one = self.frame();
                let (first, rest) = match must.split_first() {
                    Some((first, rest)) => (std::slice::from_ref(first), rest),
                    None => (should.as_slice(), &[][..]),
                };
                first.iter().for_each(|clause| self.fill(clause, base, &mut both));
                for clause in rest {
                    one.clear();
                    self.fill(clause, base, &mut one);
                    both.rows.iter_mut().zip(&one.rows).for_each(|(rows, these)| *rows &= these);
                    both.add_scores(&one);
                }
                one.clear();
                if !must.is_empty() {
                    should.iter().for_each(|clause| self.fill(clause, base, &mut one));
                    both.add_scores(&one);
                    one.clear();
                }
                not.iter().for_each(|clause| self.fill(clause, base, &mut one));
                both.rows.iter_mut().zip(&one.rows).for_each(|(rows, these)| *rows &= !these);
                for (word, bits) in both.rows.iter().enumerate() {
                    frame.rows[word] |= bits;
                    let mut bits = *bits;
                    while bits != 0 {
                        let at = word * 64 + bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        frame.scores[at] += both.scores[at];
                    }
                }
                self.spare.extend([both, one]);
            }
        }
    }

    fn frame(&mut self) -> Box<Frame> {
        match self.spare.pop() {
            Some(mut frame) => {
                frame.clear();
                frame
            }
            None => Frame::new(),
        }
    }
}

impl Lookup<'_> {
    fn fill(&mut self, base: Row, frame: &mut Frame) {
        let Scale { most, floor, slope } = self.scale;
        if self.cursor.row() < base {
            self.cursor.seek(base);
        }
        let mut shards = self.index.shards.iter();
        let Some(mut shard) = shards.next() else { return };
        loop {
            let row = self.cursor.row();
            let at = (row - base) as usize;
            if row == END || at >= WINDOW {
                return;
            }
            while row - shard.header.first >= shard.header.rows {
                let Some(next) = shards.next() else { return };
                shard = next;
            }
            let times = self.cursor.times();
            #[expect(clippy::cast_precision_loss, reason = "a text has below 2^24 words mostly")]
            let length = shard.length(row - shard.header.first) as f32;
            frame.rows[at / 64] |= 1 << (at % 64);
            frame.scores[at] += most * times / (times + floor + slope * length);
            self.cursor.advance();
        }
    }
}
