//! The whole check of a segment: every byte, and that its sections agree with each other.

use std::cmp::Ordering;

use super::{Codes, Segment, id_table, layout};
use crate::bytes::{AlignedBytes, view};
use crate::codec::blocks::BlockCodec;
use crate::codec::codes::SKETCH_BYTES;
use crate::codec::full::inverse_norm;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::BLOCK_ROWS;
use crate::index::hnsw;
use crate::kernel::Isa;
use crate::storage::container::{Findings, Section, Watch};
use crate::types::Row;

/// Rows that are checked between two questions whether to go on.
const WATCHED_ROWS: usize = 4_096;

impl Segment {
    /// Reads every byte of both files and compares checksums, no more: enough to copy them.
    pub(crate) fn verify_checksums(&self, watch: &mut Watch<'_>) -> Result<()> {
        self.core.container.verify_while(watch)?;
        self.attributes.as_ref().map_or(Ok(()), |attributes| attributes.verify_checksums(watch))
    }

    /// Reads and checks all but the attributes, block by block as searches do: what has just been
    /// written is found to be whole before what it replaces goes, and the first searches are not
    /// held up by checking it.
    pub(crate) fn read_through(&self) -> Result<()> {
        let core = &self.core;
        let norms = core.inverse_norms.as_ref().map(|norms| &norms.stored);
        let codes = core.codes.as_ref().map(Codes::section);
        let optional =
            [core.scales.as_ref(), norms, core.graph.as_ref(), codes, core.sketches.as_ref()];
        let sections = [&core.ids, &core.table.stored, &core.sorted.stored, &core.vectors];
        for section in sections.into_iter().chain(optional.into_iter().flatten()) {
            section.read_all()?;
        }
        Ok(())
    }

    /// Reads and checks everything: checksums, ids, tables, norms, graph, attributes. No two rows
    /// outside `dead` may have the same id. Tells `watch` of all bytes, once each, and `found` of
    /// everything that is wrong; fails when `watch` does.
    pub(crate) fn verify_each(
        &self,
        dead: &RowSet,
        watch: &mut Watch<'_>,
        found: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let mut findings = Findings::of(&self.core.container, watch, found)?;
        if findings.whole(&[layout::IDSC, layout::IDTB, layout::IDSO]) {
            findings.note(self.verify_ids(dead, watch))?;
        }
        if findings.whole(&[layout::RAWV, layout::NORM]) {
            findings.note(self.verify_norms(watch))?;
        }
        let rows = [layout::RAWV, layout::NORM, layout::RNDV, layout::SCAL];
        if findings.whole(&rows[2..]) {
            findings.note(self.verify_rounded(watch))?;
        }
        if findings.whole(&rows) && findings.whole(&[layout::QPAR, layout::CODE, layout::SKCH]) {
            findings.note(self.verify_codes(watch))?;
        }
        if findings.whole(&[layout::GRPH]) {
            findings.note(self.verify_graph())?;
        }
        match &self.attributes {
            Some(attributes) => attributes.verify_each(watch, found),
            None => Ok(()),
        }
    }

    /// [`verify_each`](Self::verify_each) up to the first thing that is wrong.
    #[cfg(test)]
    pub(crate) fn verify(&self, dead: &RowSet, watch: &mut Watch<'_>) -> Result<()> {
        let mut first = None;
        self.verify_each(dead, watch, &mut |error| first = first.take().or(Some(error)))?;
        first.map_or(Ok(()), Err)
    }

    fn verify_graph(&self) -> Result<()> {
        let Some(section) = self.core.graph() else { return Ok(()) };
        match self.core.graph_view(Some(section))? {
            Some(view) => hnsw::verify(&view).map_err(|reason| section.corrupt(reason)),
            None => Ok(()),
        }
    }

    /// Every id is readable and found through the table at its last row; the order lists each row
    /// once, ascending.
    fn verify_ids(&self, dead: &RowSet, watch: &mut Watch<'_>) -> Result<()> {
        let core = &*self.core;
        let (ids, sorted) = (core.ids_view()?, core.sorted.current().guarded());
        let mut seen = RowSet::default();
        let mut before: Option<Row> = None;
        for position in 0..core.rows {
            if position.is_multiple_of(WATCHED_ROWS) {
                watch(0)?;
            }
            let row = sorted.u32_at(position);
            let Some(id) = ids.at(row) else {
                return Err(core.ids.corrupt(&format!("row {row} has no readable id")));
            };
            if !seen.insert(row) {
                return Err(core.sorted.stored.corrupt(&format!("row {row} is listed twice")));
            }
            let order = before.map_or(Ordering::Less, |before| ids.compare(before, row));
            if order == Ordering::Greater {
                return Err(core.sorted.stored.corrupt("rows are not in the order of their ids"));
            }
            if let (Ordering::Equal, Some(earlier)) = (order, before)
                && (earlier > row || !dead.contains(earlier))
            {
                return Err(core.ids.corrupt(&format!("id {id} is given to two live rows")));
            }
            let found = id_table::lookup(core.table.current().guarded(), &ids, id);
            if found.is_none_or(|found| found < row || (found > row && !dead.contains(row))) {
                return Err(core.table.stored.corrupt(&format!("id {id} is not found at its row")));
            }
            before = Some(row);
        }
        Ok(())
    }

    /// Codes are the same bits wherever they are made.
    fn verify_codes(&self, watch: &mut Watch<'_>) -> Result<()> {
        const ROWS: usize = 64;
        let (codec, section) = match self.core.codes() {
            Some(Codes::Walk(codec, section)) => (codec, section),
            Some(Codes::Scan(codec, section)) => return self.verify_blocks(codec, section, watch),
            None => return Ok(()),
        };
        let stride = codec.stride();
        let mut expected = AlignedBytes::zeroed(ROWS * stride);
        let mut sketches = AlignedBytes::zeroed(ROWS * SKETCH_BYTES);
        for first in (0..self.core.rows).step_by(ROWS) {
            watch(0)?;
            let rows = first..self.core.rows.min(first + ROWS);
            let expected = &mut expected.as_mut_slice()[..rows.len() * stride];
            codec.encode(Isa::detect(), self.core.rows_view(), rows.clone(), expected);
            if section.read(first * stride, expected.len())? != expected {
                return Err(
                    section.corrupt(&format!("a code from row {first} on is another row's"))
                );
            }
            if let (Some(section), Some(codec)) = (&self.core.sketches, codec.sketched()) {
                let sketches = &mut sketches.as_mut_slice()[..rows.len() * SKETCH_BYTES];
                codec.sketch(expected, sketches);
                if section.read(first * SKETCH_BYTES, sketches.len())? != sketches {
                    let what = format!("a sketch from row {first} on is another row's");
                    return Err(section.corrupt(&what));
                }
            }
        }
        Ok(())
    }

    fn verify_blocks(
        &self,
        codec: &BlockCodec,
        section: &Section,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let bytes = codec.block_bytes();
        let mut expected = AlignedBytes::zeroed(bytes);
        for block in 0..self.core.rows.div_ceil(BLOCK_ROWS) {
            watch(0)?;
            let expected = expected.as_mut_slice();
            let rows = self.core.rows_view();
            codec.encode(Isa::detect(), rows, self.core.rows, block..block + 1, expected);
            if section.read(block * bytes, bytes)? != expected {
                let row = block * BLOCK_ROWS;
                return Err(section.corrupt(&format!("a code from row {row} on is another row's")));
            }
        }
        Ok(())
    }

    /// Rounded rows have levels from −127 to 127 and zeros behind them, and scales that are numbers.
    fn verify_rounded(&self, watch: &mut Watch<'_>) -> Result<()> {
        let core = &*self.core;
        if core.scales.is_none() {
            return Ok(());
        }
        let mut given = vec![0; core.given.stride()];
        for row in 0..Row::try_from(core.rows).unwrap_or(Row::MAX) {
            if (row as usize).is_multiple_of(WATCHED_ROWS) {
                watch(0)?;
            }
            let vector = self.vector_bytes(row, 1)?;
            let (levels, rest) = vector.split_at(core.space.dimension);
            if levels.contains(&0x80) || rest.iter().any(|byte| *byte != 0) {
                return Err(core.vectors.corrupt(&format!("row {row} is no rounded vector")));
            }
            self.copy_given(row, &mut given)?;
        }
        Ok(())
    }

    fn verify_norms(&self, watch: &mut Watch<'_>) -> Result<()> {
        let Some(section) = &self.core.inverse_norms else {
            return Ok(());
        };
        let section = section.current();
        let stored: &[f32] = view(section.read_all()?);
        for (row, stored) in (0..).zip(stored) {
            if (row as usize).is_multiple_of(WATCHED_ROWS) {
                watch(0)?;
            }
            let expected = inverse_norm(self.core.space, self.vector_bytes(row, 1)?);
            // Not bit for bit: the sum's order may change between versions.
            let agrees = (stored - expected).abs() <= expected * 1e-5;
            if !agrees {
                return Err(section.corrupt(&format!("row {row} has another norm than stored")));
            }
        }
        Ok(())
    }
}
