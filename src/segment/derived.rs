//! What happens when sections are damaged that the rows of a segment give.
//!
//! Norms, the table of ids and their order are made anew in memory, once, when a damaged block of them
//! is touched. Graph, codes and sketches are passed over from then on: searches walk or compare by
//! what is left, at last row by row. The next merge writes all of them anew. Vectors and ids are given by
//! nothing else: damage there is `Corrupt` for whoever touches it.

use std::sync::OnceLock;

use zerocopy::IntoBytes;

use super::id_table::IdTable;
use super::ids::IdColumn;
use super::layout;
use super::{Codes, Core, Segment};
use crate::bytes::AlignedBytes;
use crate::codec::full::inverse_norm;
use crate::error::{Error, Result};
use crate::storage::container::{Section, Tag};
use crate::types::Row;

/// A section that can be made anew in memory.
#[derive(Debug)]
pub(super) struct Remade {
    pub(super) stored: Section,
    made: OnceLock<Section>,
}

impl Remade {
    pub(super) fn new(stored: Section) -> Self {
        Self { stored, made: OnceLock::new() }
    }

    /// The stored section, or what was made in its place.
    pub(super) fn current(&self) -> &Section {
        self.made.get().unwrap_or(&self.stored)
    }

    /// What `read` gives of the section, the bytes of which `make` gives where those touched turn out to be
    /// damaged.
    pub(super) fn read<'a, T>(
        &'a self,
        make: impl FnOnce() -> Result<AlignedBytes>,
        read: impl Fn(&'a Section) -> T,
    ) -> Result<T> {
        let section = self.current();
        let mark = section.failures();
        let answer = read(section);
        if section.status_since(mark).is_ok() {
            return Ok(answer);
        }
        self.remake(make).map(read)
    }

    fn remake(&self, make: impl FnOnce() -> Result<AlignedBytes>) -> Result<&Section> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = self.stored.remade(make()?);
        Ok(self.made.get_or_init(|| made))
    }
}

/// The sections by which one search is led.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aids<'a> {
    pub(super) graph: Option<&'a Section>,
    pub(super) codes: Option<&'a Codes>,
    pub(super) sketches: Option<&'a Section>,
    norms: Option<(&'a Section, u64)>,
}

/// Those of which no block is known to be damaged.
fn whole(section: Option<&Section>) -> Option<&Section> {
    section.filter(|section| !section.is_damaged())
}

impl Core {
    pub(super) fn graph(&self) -> Option<&Section> {
        whole(self.graph.as_ref())
    }

    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.as_ref().filter(|codes| !codes.section().is_damaged())
    }

    /// What may lead a search that begins now.
    pub(super) fn aids(&self) -> Aids<'_> {
        let norms = self.inverse_norms.as_ref().map(Remade::current);
        Aids {
            graph: self.graph(),
            codes: self.codes(),
            sketches: whole(self.sketches.as_ref()),
            norms: norms.map(|norms| (norms, norms.failures())),
        }
    }

    /// Whether a search led by `aids` met damage in none of them. If it did, the next one does without.
    pub(super) fn were_whole(&self, aids: &Aids<'_>) -> Result<bool> {
        let norms = aids.norms.is_none_or(|(norms, mark)| norms.status_since(mark).is_ok());
        if !norms && let Some(remade) = &self.inverse_norms {
            remade.remake(|| Ok(self.make_norms()))?;
        }
        let sections = [aids.graph, aids.codes.map(Codes::section), aids.sketches];
        Ok(norms && !sections.into_iter().flatten().any(Section::is_damaged))
    }

    /// 1/‖x‖ of every row; 0 where a vector is damaged, which whoever reads it is told.
    pub(super) fn make_norms(&self) -> AlignedBytes {
        let stride = self.space.stride();
        let norm = |row: usize| match self.vectors.read(row * stride, stride) {
            Ok(vector) => inverse_norm(self.space, vector),
            Err(_damaged) => 0.0,
        };
        AlignedBytes::from_slice((0..self.rows).map(norm).collect::<Vec<f32>>().as_bytes())
    }

    pub(super) fn make_table(&self) -> Result<AlignedBytes> {
        let (table, _) = IdTable::build(&self.all_ids()?);
        Ok(AlignedBytes::from_slice(table.as_bytes()))
    }

    pub(super) fn make_order(&self) -> Result<AlignedBytes> {
        Ok(AlignedBytes::from_slice(self.all_ids()?.sorted_rows().as_bytes()))
    }

    fn all_ids(&self) -> Result<IdColumn> {
        let mut ids = IdColumn::new(self.id_type);
        for row in 0..Row::try_from(self.rows).unwrap_or(Row::MAX) {
            ids.push(self.id_ref(row)?)?;
        }
        Ok(ids)
    }
}

/// Sections that nothing else gives.
const PRIMARY: [Tag; 5] = [layout::RAWV, layout::RNDV, layout::SCAL, layout::IDSC, layout::GRPS];

/// Whether a section can be made anew from others.
fn is_derived(tag: Tag) -> bool {
    !PRIMARY.contains(&tag)
}

/// Whether an error tells of damage to a section that others give: time is lost, and no row.
pub(crate) fn is_of_derived(error: &Error) -> bool {
    let Error::Corrupt { section, .. } = error else { return false };
    let tag = section.split_once('/').and_then(|(tag, _)| tag.as_bytes().try_into().ok());
    tag.is_some_and(is_derived)
}

impl Segment {
    /// The sections of both files in which damage was found so far.
    fn damaged(&self) -> impl Iterator<Item = Tag> {
        let attributes = self.attributes.as_ref().map(|attributes| attributes.damaged());
        self.core.container.damaged().into_iter().chain(attributes.unwrap_or_default())
    }

    /// Their names.
    pub(crate) fn damaged_sections(&self) -> Vec<String> {
        let mut names: Vec<_> = self.damaged().map(|tag| tag.escape_ascii().to_string()).collect();
        names.dedup();
        names
    }

    /// Whether vectors, ids or columns are known to be damaged: then nobody can copy all rows.
    pub(crate) fn is_broken(&self) -> bool {
        let blocks = self.attributes.as_ref().map(|attributes| attributes.blocks());
        [Some(&self.core.vectors), self.core.scales.as_ref(), Some(&self.core.ids), blocks]
            .into_iter()
            .flatten()
            .any(Section::is_damaged)
    }

    /// Whether a part of the vector file is known to be damaged that a merge writes anew.
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.core.container.damaged().into_iter().any(is_derived)
    }

    /// Has everything checked anew that a merge copies out of the vector file.
    pub(crate) fn forget_checks(&self) {
        let core = &*self.core;
        let norms = core.inverse_norms.as_ref().map(|norms| &norms.stored);
        let primary = [Some(&core.vectors), core.scales.as_ref(), Some(&core.ids)];
        let copied = primary.into_iter().chain([norms, core.graph.as_ref()]);
        copied.flatten().for_each(Section::forget);
    }

    /// `Corrupt` for what makes it [broken](Self::is_broken).
    pub(crate) fn check_primary(&self) -> Result<()> {
        self.core.vectors.read_all()?;
        if let Some(scales) = &self.core.scales {
            scales.read_all()?;
        }
        self.core.ids.read_all()?;
        if let Some(attributes) = &self.attributes {
            attributes.blocks().read_all()?;
        }
        Ok(())
    }

    /// Reads the derived sections of the vector file, so that damage in them is known.
    pub(crate) fn check_derived(&self) {
        let core = &*self.core;
        let norms = core.inverse_norms.as_ref().map(|norms| &norms.stored);
        let codes = core.codes.as_ref().map(Codes::section);
        let optional = [norms, core.graph.as_ref(), codes, core.sketches.as_ref()];
        let sections = [&core.table.stored, &core.sorted.stored];
        for section in sections.into_iter().chain(optional.into_iter().flatten()) {
            // What is found is remembered by the section.
            drop(section.read_all());
        }
    }
}
