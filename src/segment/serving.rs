//! What of a segment searches read, and holding it in memory.
//!
//! A walk reads codes and links here and there all over their sections, exact comparisons norms or scales, and
//! hits their ids. Filtered searches read sketches before codes. Vectors that codes lead to are few a search;
//! those of segments without codes lead themselves, and are read like these.

use super::{Codes, Segment, layout, room};
use crate::error::Result;
use crate::storage::container::Section;

/// What a section holds, by how much of a search is spent on a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hot {
    Codes,
    /// Norms or scales.
    Factors,
    Ids,
    Graph,
    Sketches,
    Vectors,
}

impl Hot {
    pub(crate) const ALL: [Self; 6] =
        [Self::Codes, Self::Factors, Self::Ids, Self::Graph, Self::Sketches, Self::Vectors];
}

impl Segment {
    /// The section of a kind, if there is one.
    fn hot(&self, hot: Hot) -> Option<&Section> {
        let core = &*self.core;
        match hot {
            Hot::Codes => core.codes.as_ref().map(Codes::section),
            Hot::Factors => match &core.scales {
                Some(scales) => Some(scales),
                None => core.inverse_norms.as_ref().map(|norms| &norms.stored),
            },
            Hot::Ids => Some(&core.ids),
            Hot::Graph => core.graph.as_ref(),
            Hot::Sketches => core.sketches.as_ref(),
            Hot::Vectors => Some(&core.vectors),
        }
    }

    /// Whether searches read all over the sections of a kind, whatever they look for.
    pub(crate) fn is_served_by(&self, hot: Hot) -> bool {
        match hot {
            Hot::Codes | Hot::Factors | Hot::Ids | Hot::Graph => true,
            Hot::Sketches => false,
            Hot::Vectors => self.core.codes.is_none(),
        }
    }

    /// Bytes of parameters of codes, which are in memory in any case.
    pub(crate) fn parameter_bytes(&self) -> u64 {
        let parameters = self.core.container.section(layout::QPAR, layout::FIELD);
        parameters.map_or(0, |section| section.len() as u64)
    }

    /// Bytes of a kind.
    fn bytes_of(&self, hot: Hot) -> u64 {
        self.hot(hot).map_or(0, |section| section.len() as u64)
    }

    /// Bytes that searches read all over.
    pub(crate) fn serving_bytes(&self) -> u64 {
        let read = Hot::ALL.into_iter().filter(|hot| self.is_served_by(*hot));
        self.parameter_bytes() + read.map(|hot| self.bytes_of(hot)).sum::<u64>()
    }

    /// The fewest that they could be with other codes.
    pub(crate) fn least_serving_bytes(&self) -> u64 {
        let (space, rows, graph) = (self.core.space, self.core.rows, self.core.graph.is_some());
        let besides = [Hot::Factors, Hot::Ids, Hot::Graph].map(|hot| self.bytes_of(hot));
        let least = room::least(space, rows, graph) as u64 + besides.iter().sum::<u64>();
        least.min(self.serving_bytes())
    }

    /// The bytes of memory by which its code was chosen, where there was a limit.
    pub(crate) fn chosen_by(&self) -> Option<u64> {
        self.core.statistics.share
    }

    /// Bytes of a kind held in memory of this process.
    pub(crate) fn held_bytes(&self, hot: Hot) -> u64 {
        let held = self.hot(hot).filter(|section| section.is_held());
        held.map_or(0, |section| section.len() as u64)
    }

    /// Holds what there is of a kind, where it is at most `room` bytes and whole; the bytes that are held now and
    /// were not before.
    pub(crate) fn hold(&self, hot: Hot, room: u64) -> Result<u64> {
        let (before, bytes) = (self.held_bytes(hot), self.bytes_of(hot));
        match self.hot(hot) {
            Some(section) if before == 0 && bytes > 0 && bytes <= room => {
                section.hold(self.core.container.disk())?;
                Ok(self.held_bytes(hot))
            }
            _ => Ok(0),
        }
    }
}
