//! The file of a bare index: a container like that of a segment, but for its name.
//!
//! ```text
//! kind INDX   RAWV [NORM] IDSC [QPAR CODE] [GRPH] STAT
//! ```
//! Sections are those of a segment file, byte for byte, with ids u64. `STAT` is JSON, see
//! [`Facts`]. The file is written beside its place and renamed into it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::options::plausible;
use super::query::Neighbour;
use super::stored::{Built, MAX_ROWS, Stored};
use crate::bytes::{AlignedBytes, Guarded, view};
use crate::codec::codes::{CodeRows, Codec};
use crate::codec::full::{Rows, Space};
use crate::collection::options::Schema;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::View;
use crate::segment::ids::IdsView;
use crate::segment::layout::{self, FIELD};
use crate::segment::search::{self, Ask, SearchOptions, SearchStats, Target};
use crate::storage::container::{Container, ContainerWriter, Identity, Section, Tag};
use crate::storage::disk::{Disk, OsDisk};
use crate::types::{IdType, Metric, VectorType};

const IDENTITY: Identity = Identity { kind: *b"INDX", store: 0, segment: 0, generation: 0 };

/// The `STAT` section.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Facts {
    rows: usize,
    dimension: usize,
    vector_type: VectorType,
    metric: Metric,
    m: usize,
    ef_construction: usize,
    /// The id of the next row that is given none.
    next: u64,
    /// Whether there is a `GRPH` section, and whether `QPAR` and `CODE`.
    graph: bool,
    codes: bool,
}

/// Everything that is written.
pub(super) struct Pieces<'a> {
    pub(super) space: Space,
    pub(super) rows: usize,
    pub(super) m: usize,
    pub(super) ef_construction: usize,
    pub(super) next: u64,
    pub(super) vectors: &'a [u8],
    pub(super) inverse_norms: &'a [u8],
    pub(super) ids: &'a [u8],
    pub(super) codes: Option<(&'a Codec, &'a [u8])>,
    /// Empty when there are no rows.
    pub(super) graph: &'a [u8],
}

/// Writes the file and puts it at `path`.
pub(super) fn write(path: &Path, pieces: &Pieces<'_>) -> Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let Some(name) = path.file_name() else {
        return Err(Error::invalid(format!("{} is not the name of a file", path.display())));
    };
    let mut part = name.to_os_string();
    let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
    part.push(format!(".{process}.{number}.part"));
    let part = path.with_file_name(part);
    let written = write_part(&disk, &part, pieces).and_then(|()| {
        disk.rename(&part, path).map_err(|error| Error::io("rename to", path, error))
    });
    if written.is_err() {
        // The first failure counts.
        let _ = disk.remove_file(&part);
        return written;
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    disk.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
}

fn write_part(disk: &Arc<dyn Disk>, part: &Path, pieces: &Pieces<'_>) -> Result<()> {
    let mut file = ContainerWriter::create(disk, part, IDENTITY)?;
    file.section(layout::RAWV, FIELD, pieces.vectors)?;
    if pieces.space.metric == Metric::Cosine {
        file.section(layout::NORM, FIELD, pieces.inverse_norms)?;
    }
    file.section(layout::IDSC, FIELD, pieces.ids)?;
    if let Some((codec, codes)) = pieces.codes {
        file.section(layout::QPAR, FIELD, &codec.to_bytes())?;
        file.section(layout::CODE, FIELD, codes)?;
    }
    if !pieces.graph.is_empty() {
        file.section(layout::GRPH, FIELD, pieces.graph)?;
    }
    let facts = Facts {
        rows: pieces.rows,
        dimension: pieces.space.dimension,
        vector_type: pieces.space.vector_type,
        metric: pieces.space.metric,
        m: pieces.m,
        ef_construction: pieces.ef_construction,
        next: pieces.next,
        graph: !pieces.graph.is_empty(),
        codes: pieces.codes.is_some(),
    };
    let facts = serde_json::to_vec(&facts)
        .map_err(|error| Error::invalid(format!("statistics cannot be written: {error}")))?;
    file.section(layout::STAT, FIELD, &facts)?;
    file.finish().map(|_seal| ())
}

/// A file, mapped.
#[derive(Debug)]
pub(super) struct Saved {
    space: Space,
    facts: Facts,
    vectors: Section,
    inverse_norms: Option<Section>,
    ids: Section,
    codes: Option<(Codec, Section)>,
    graph: Option<Section>,
    nobody: RowSet,
}

impl Saved {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let container = Container::open(&disk, path, IDENTITY, None)?;
        let stat = container.require(layout::STAT, FIELD)?;
        let facts: Facts = serde_json::from_slice(stat.read_all()?)
            .map_err(|error| stat.corrupt(&format!("not the statistics of an index: {error}")))?;
        let schema = Schema::new(facts.dimension, facts.metric).with_vector_type(facts.vector_type);
        if schema.validate().is_err()
            || facts.rows > MAX_ROWS
            || facts.graph != (facts.rows > 0)
            || !plausible(facts.m, facts.ef_construction)
        {
            return Err(stat.corrupt("no index can be of this shape"));
        }
        let (space, rows) = (schema.space(), facts.rows);
        let sized = |tag, row_bytes| sized(&container, tag, rows, row_bytes);
        let vectors = sized(layout::RAWV, space.stride())?;
        let inverse_norms = match space.metric {
            Metric::Cosine => Some(sized(layout::NORM, 4)?),
            _ => None,
        };
        let ids = sized(layout::IDSC, 8)?;
        let codes = match facts.codes {
            true => {
                let parameters = container.require(layout::QPAR, FIELD)?;
                let codec = Codec::parse(parameters.read_all()?, space)
                    .ok_or_else(|| parameters.corrupt("not the parameters of the index's codes"))?;
                let codes = sized(layout::CODE, codec.stride())?;
                Some((codec, codes))
            }
            false => None,
        };
        let graph = match facts.graph {
            true => Some(container.require(layout::GRPH, FIELD)?),
            false => None,
        };
        let nobody = RowSet::default();
        let saved = Self { space, facts, vectors, inverse_norms, ids, codes, graph, nobody };
        let marks = saved.marks();
        saved.graph_view()?;
        saved.check(marks)?;
        Ok(saved)
    }

    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// `m` and `ef_construction`.
    pub(super) fn parameters(&self) -> (usize, usize) {
        (self.facts.m, self.facts.ef_construction)
    }

    pub(super) fn len(&self) -> usize {
        self.facts.rows
    }

    pub(super) fn contains(&self, id: u64) -> Result<bool> {
        let ids: &[u64] = view(self.ids.read_all()?);
        // The place where it is unless ids were given.
        let own = usize::try_from(id).ok().and_then(|row| ids.get(row)).is_some_and(|at| *at == id);
        Ok(own || ids.contains(&id))
    }

    /// The same in memory, all of it checked.
    pub(super) fn load(&self) -> Result<Stored> {
        let copy = |section: &Section| section.read_all().map(AlignedBytes::from_slice);
        let inverse_norms = match &self.inverse_norms {
            Some(section) => view(section.read_all()?).to_vec(),
            None => Vec::new(),
        };
        let ids: Vec<u64> = view(self.ids.read_all()?).to_vec();
        if ids.len() != self.facts.rows {
            return Err(self.ids.corrupt("its length does not agree with the number of rows"));
        }
        let codes = match &self.codes {
            Some((codec, section)) => Some((codec.clone(), copy(section)?)),
            None => None,
        };
        let graph = self.graph.as_ref().map(copy).transpose()?.unwrap_or_default();
        let built = Built { rows: self.facts.rows, graph, codes };
        let (vectors, next) = (copy(&self.vectors)?, self.facts.next);
        Stored::restore(self.space, vectors, inverse_norms, ids, next, built)
            .ok_or_else(|| self.ids.corrupt("two rows have one id"))
    }

    /// Copies the file, all of it checked.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let all = |section: &'_ Option<Section>| -> Result<Vec<u8>> {
            Ok(section.as_ref().map(Section::read_all).transpose()?.unwrap_or_default().to_vec())
        };
        let (inverse_norms, graph) = (all(&self.inverse_norms)?, all(&self.graph)?);
        let codes = match &self.codes {
            Some((codec, section)) => Some((codec, section.read_all()?)),
            None => None,
        };
        let pieces = Pieces {
            space: self.space,
            rows: self.facts.rows,
            m: self.facts.m,
            ef_construction: self.facts.ef_construction,
            next: self.facts.next,
            vectors: self.vectors.read_all()?,
            inverse_norms: &inverse_norms,
            ids: self.ids.read_all()?,
            codes,
            graph: &graph,
        };
        write(path, &pieces)
    }

    /// The nearest rows into `found`.
    pub(super) fn search(
        &self,
        ask: Ask<'_>,
        options: &SearchOptions,
        found: &mut Vec<Neighbour>,
    ) -> Result<()> {
        let marks = self.marks();
        let ids = IdsView::section(IdType::U64, self.facts.rows, self.ids.guarded());
        let ids = ids.ok_or_else(|| self.ids.corrupt("not as long as there are rows"))?;
        let codes = self
            .codes
            .as_ref()
            .map(|(codec, section)| CodeRows { codec, codes: section.guarded() });
        let inverse_norms = match &self.inverse_norms {
            Some(section) => section.guarded(),
            None => Guarded::new(&[], &self.vectors),
        };
        let rows = Rows { vectors: self.vectors.guarded(), inverse_norms };
        let (graph, len) = (self.graph_view()?, self.facts.rows);
        let target = Target { rows, len, graph, codes, bits: None, ids };
        let mut stats = SearchStats::default();
        let nearest = search::search(&target, &[ask], options, &self.nobody, &mut stats);
        found.extend(nearest.iter().flatten().map(|candidate| Neighbour {
            id: self.ids.guarded().u64_at(candidate.row as usize),
            distance: candidate.distance,
        }));
        self.check(marks)
    }

    fn graph_view(&self) -> Result<Option<View<'_, Section>>> {
        let Some(section) = &self.graph else { return Ok(None) };
        match View::parse(section.guarded(), self.facts.rows) {
            Some(view) => Ok(Some(view)),
            None => Err(section.corrupt("not a graph of the index's rows")),
        }
    }

    fn sections(&self) -> [Option<&Section>; 5] {
        let codes = self.codes.as_ref().map(|(_, section)| section);
        let (norms, graph) = (self.inverse_norms.as_ref(), self.graph.as_ref());
        [Some(&self.vectors), Some(&self.ids), norms, codes, graph]
    }

    /// How many touches of each section have failed so far.
    fn marks(&self) -> [u64; 5] {
        self.sections().map(|section| section.map_or(0, Section::failures))
    }

    /// `Corrupt` when a touch has failed since.
    fn check(&self, marks: [u64; 5]) -> Result<()> {
        for (section, mark) in self.sections().into_iter().zip(marks) {
            if let Some(section) = section {
                section.status_since(mark)?;
            }
        }
        Ok(())
    }
}

/// A section of `row_bytes` for each of `rows` rows.
fn sized(container: &Container, tag: Tag, rows: usize, row_bytes: usize) -> Result<Section> {
    let section = container.require(tag, FIELD)?;
    if rows.checked_mul(row_bytes) != Some(section.len()) {
        return Err(section.corrupt("its length does not agree with the number of rows"));
    }
    Ok(section)
}
