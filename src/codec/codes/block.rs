//! Code rows laid out to be compared all with all, a sixteenth of the loads that one by one would take.

use super::factors::unpack;
use super::pairs::half_product;
use super::scorer::{BYTE_PAIRS, HALF_PAIRS, Table};
use crate::bytes::Guard;
use crate::codec::{Block, BlockPairs, LINE};
use crate::kernel::panel::{PANEL_BYTES, PANEL_ROWS};
use crate::kernel::{CODE_BYTES, Kernel};
use crate::types::Row;

/// Code rows in panels, and what comparing them needs beside their levels.
#[derive(Debug, Default)]
pub(crate) struct CodeBlock {
    count: usize,
    /// Steps of a panel: its rows have [`PANEL_BYTES`] levels in each.
    steps: usize,
    levels: Vec<[u8; CODE_BYTES]>,
    /// The levels less 128, where they are bytes; half bytes are the same with and without a sign.
    signed: Vec<[u8; CODE_BYTES]>,
    panels: Vec<Panel>,
    /// One row, a level a byte.
    row: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Panel {
    factors: [f32; PANEL_ROWS],
    norms: [f32; PANEL_ROWS],
    sums: [f32; PANEL_ROWS],
    bits: [u32; PANEL_ROWS],
    offsets: [f32; PANEL_ROWS],
}

impl CodeBlock {
    fn levels_of(&self, panel: usize) -> &[[u8; CODE_BYTES]] {
        &self.levels[panel * self.steps..][..self.steps]
    }

    fn signed_of(&self, panel: usize) -> &[[u8; CODE_BYTES]] {
        let signed = if self.signed.is_empty() { &self.levels } else { &self.signed };
        &signed[panel * self.steps..][..self.steps]
    }
}

impl Block for CodeBlock {
    fn len(&self) -> usize {
        self.count
    }

    fn panels(&self) -> usize {
        self.panels.len()
    }
}

impl<K: Kernel, G: Guard, const FORM: u8> BlockPairs for Table<'_, K, G, FORM> {
    type Block = CodeBlock;

    #[inline(always)]
    fn lay_out(self, rows: &[Row], block: &mut CodeBlock) {
        let ratio = if FORM == HALF_PAIRS { 2 } else { 1 };
        block.count = rows.len();
        block.steps = self.stride * ratio / PANEL_BYTES;
        block.panels.clear();
        block.levels.clear();
        block.levels.resize(rows.len().div_ceil(PANEL_ROWS) * block.steps, [0; CODE_BYTES]);
        for (panel, rows) in rows.chunks(PANEL_ROWS).enumerate() {
            let mut own = Panel::default();
            let steps = &mut block.levels[panel * block.steps..][..block.steps];
            for (at, row) in rows.iter().enumerate() {
                let (levels, bits) = self.row(*row);
                block.row.clear();
                if FORM == HALF_PAIRS {
                    block.row.extend(levels.iter().map(|byte| byte & 15));
                    block.row.extend(levels.iter().map(|byte| byte >> 4));
                } else {
                    block.row.extend_from_slice(levels);
                }
                let (fours, _) = block.row.as_chunks::<PANEL_BYTES>();
                for (step, four) in steps.iter_mut().zip(fours) {
                    step[at * PANEL_BYTES..][..PANEL_BYTES].copy_from_slice(four);
                }
                let counted = self.own(*row);
                [own.factors[at], _] = unpack(bits);
                (own.norms[at], own.sums[at], own.bits[at]) = (counted.norm, counted.sum, bits);
                own.offsets[at] = self.offsets.get(*row as usize).copied().unwrap_or(0.0);
            }
            block.panels.push(own);
        }
        block.signed.clear();
        if FORM == BYTE_PAIRS {
            let signed = |step: &[u8; CODE_BYTES]| step.map(|level| level ^ 128);
            block.signed.extend(block.levels.iter().map(signed));
        }
    }

    #[inline(always)]
    fn at_most(self, line: &[f32; LINE], bound: f32) -> u32 {
        self.kernel.at_most(line, bound)
    }

    #[inline(always)]
    fn prefetch<T>(self, items: &[T]) {
        self.kernel.prefetch(items);
    }

    #[inline(always)]
    fn score_panel(self, a: &CodeBlock, panel: usize, b: &CodeBlock, out: &mut [[f32; LINE]]) {
        let (signed, own) = (a.signed_of(panel), &a.panels[panel]);
        for (at, other) in b.panels.iter().enumerate() {
            let products = self.kernel.panel_products(signed, b.levels_of(at));
            for (row, products) in products.iter().enumerate() {
                out[row * b.panels.len() + at] = self.finish(own, row, other, products);
            }
        }
    }
}

impl<K: Kernel, G: Guard, const FORM: u8> Table<'_, K, G, FORM> {
    /// The distances of one row to those of a panel, as its scorer finds them.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounds products above 2^24")]
    #[expect(clippy::cast_possible_truncation, reason = "a sum of bytes")]
    fn finish(
        &self,
        own: &Panel,
        row: usize,
        other: &Panel,
        products: &[i32; LINE],
    ) -> [f32; LINE] {
        let centred = !self.offsets.is_empty();
        let (sum, filling) = (own.sums[row], own.bits[row] & self.filling);
        let shift = 128_i32.wrapping_mul(sum as i32);
        let scale = if centred { own.factors[row] } else { 2.0 * own.factors[row] };
        let mut out = [0.0; LINE];
        for (lane, out) in out.iter_mut().enumerate() {
            let product = products[lane] - (other.bits[lane] & filling).count_ones().cast_signed();
            let product = if FORM == BYTE_PAIRS {
                product.wrapping_sub(shift) as f32
            } else {
                half_product(product, sum, other.sums[lane], self.constant)
            };
            *out = (scale * product) * other.factors[lane];
        }
        if centred {
            let (offset, inverse) = (own.offsets[row], self.inverse_longest);
            for (lane, out) in out.iter_mut().enumerate() {
                *out = (1.0 - *out * inverse * inverse + offset + other.offsets[lane]).max(0.0);
            }
        } else {
            for (lane, out) in out.iter_mut().enumerate() {
                *out = (own.norms[row] + other.norms[lane] - *out).max(0.0);
            }
        }
        out
    }
}
