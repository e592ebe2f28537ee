//! Codes of rows by which graphs are walked, of whatever kind: one arm each.

use std::ops::Range;

use crate::bytes::{Guard, Guarded};
use crate::codec::codes::{self, CodeKind, Codec, LevelQuery, LevelRows, LevelSource, Sketches};
use crate::codec::full::{self, Rows, Space};
use crate::codec::product::{self, ProductCodec, ProductQuery, ProductRows, ProductSource, Width};
use crate::codec::{QuerySource, STEPS, ScorerOp, compared};
use crate::kernel::Isa;

/// Makes codes of one row after the other, and reads them.
#[derive(Clone, Debug)]
pub(crate) enum Quantizer {
    /// Four or eight bits an element.
    Levels(Codec),
    /// A few dozen bytes a row.
    Product(ProductCodec),
}

/// What the codes of a quantizer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuantizerKind {
    Levels(CodeKind),
    Product,
}

impl Quantizer {
    pub(crate) fn kind(&self) -> QuantizerKind {
        match self {
            Self::Levels(codec) => QuantizerKind::Levels(codec.kind()),
            Self::Product(_) => QuantizerKind::Product,
        }
    }

    /// Bytes from one code row to the next.
    pub(crate) fn stride(&self) -> usize {
        match self {
            Self::Levels(codec) => codec.stride(),
            Self::Product(codec) => codec.stride(),
        }
    }

    /// How many of the nearest by code the `k` nearest are among.
    pub(crate) fn compared(&self, k: usize) -> usize {
        match self {
            Self::Levels(codec) => codec.compared(k),
            Self::Product(codec) => codec.compared(k),
        }
    }

    /// For each step, how many of the nearest by code are compared for `k` wanted ones.
    pub(crate) fn steps(&self, k: usize) -> [usize; STEPS] {
        self.choices().map(|step| compared(step, k))
    }

    /// The same quantizer comparing as many as the step of that number says.
    pub(crate) fn at_step(self, step: usize) -> Self {
        let compared = self.choices()[step.min(STEPS - 1)];
        match self {
            Self::Levels(codec) => Self::Levels(codec.comparing(compared)),
            Self::Product(codec) => Self::Product(codec.comparing(compared)),
        }
    }

    fn choices(&self) -> [u8; STEPS] {
        match self {
            Self::Levels(_) => codes::COMPARED,
            Self::Product(_) => product::COMPARED,
        }
    }

    /// Its parameters.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Levels(codec) => codec.to_bytes(),
            Self::Product(codec) => codec.to_bytes(),
        }
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` unless they are those of a quantizer of `space`.
    pub(crate) fn parse(bytes: &[u8], space: Space) -> Option<Self> {
        let product =
            || ProductCodec::parse(bytes, space).filter(|codec| codec.width() == Width::Byte);
        Codec::parse(bytes, space).map(Self::Levels).or_else(|| product().map(Self::Product))
    }

    /// Codes `range` of `rows` into `out`, [`stride`](Self::stride) bytes each.
    pub(crate) fn encode<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        range: Range<usize>,
        out: &mut [u8],
    ) {
        match self {
            Self::Levels(codec) => codec.encode(isa, rows, range, out),
            Self::Product(codec) => codec.encode(isa, rows, range, out),
        }
    }

    /// A query made ready for code rows.
    pub(crate) fn query(&self, isa: Isa, query: &full::Query) -> CodedQuery<'_> {
        match self {
            Self::Levels(codec) => CodedQuery::Levels(codec, codec.query(isa, query)),
            Self::Product(codec) => CodedQuery::Product(codec, codec.query(isa, query)),
        }
    }

    /// The codec of levels, where the codes are these and have sketches.
    pub(crate) fn sketched(&self) -> Option<&Codec> {
        match self {
            Self::Levels(codec) => Some(codec).filter(|codec| codec.is_sketched()),
            Self::Product(_) => None,
        }
    }
}

/// Code rows and how to read them.
#[derive(Debug)]
pub(crate) struct CodeRows<'a, G> {
    pub(crate) codec: &'a Quantizer,
    pub(crate) codes: Guarded<'a, G>,
}

impl<G> Clone for CodeRows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for CodeRows<'_, G> {}

/// A query made ready for code rows, and what made it.
#[derive(Clone, Debug)]
pub(crate) enum CodedQuery<'a> {
    Levels(&'a Codec, LevelQuery),
    Product(&'a ProductCodec, ProductQuery),
}

/// A query over code rows.
#[derive(Debug)]
pub(crate) struct CodedSource<'a, G> {
    pub(crate) codes: Guarded<'a, G>,
    pub(crate) query: &'a CodedQuery<'a>,
    /// Sketches of the rows, where they are to be looked at first and the codes have any.
    pub(crate) sketches: Option<Guarded<'a, G>>,
}

impl<G: Guard> QuerySource for CodedSource<'_, G> {
    fn run<O: ScorerOp>(&self, isa: Isa, op: O) -> O::Output {
        let codes = self.codes;
        match self.query {
            CodedQuery::Levels(codec, query) => {
                let sketches = self.sketches.filter(|_| codec.is_sketched());
                let sketches =
                    sketches.map(|rows| Sketches { rows, query: codec.sketch_query(query) });
                LevelSource { rows: LevelRows { codec, codes }, query, sketches }.run(isa, op)
            }
            CodedQuery::Product(codec, query) => {
                ProductSource { rows: ProductRows { codec, codes }, query }.run(isa, op)
            }
        }
    }
}
