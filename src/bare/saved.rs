//! The file of a bare index: a container like that of a segment, but for its name.
//!
//! ```text
//! kind INDX   RAWV [NORM] IDSC [IDSO] [QPAR CODE] [GRPH] STAT
//! ```
//! Sections are those of a segment file, byte for byte, with ids u64; `IDSO` is there unless ids
//! ascend with the rows. So an id is found where the file is mapped, by halving, and no table is made
//! when it is opened. `STAT` is JSON, see [`Facts`]. The file is written beside its place and renamed
//! into it.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::options::plausible;
use super::query::Neighbour;
use super::stored::{Built, MAX_ROWS, Stored};
use crate::bytes::{AlignedBytes, Guarded, view};
use crate::codec::full::{Rows, Space};
use crate::codec::quantizer::{CodeRows, Quantizer};
use crate::collection::options::Schema;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::View;
use crate::segment::ids::IdsView;
use crate::segment::layout::{self, FIELD};
use crate::segment::search::{self, Ask, SearchOptions, SearchStats, Target};
use crate::storage::container::{Container, ContainerWriter, Identity, Section, Tag};
use crate::storage::disk::{Disk, OsDisk};
use crate::storage::feature::PRODUCT_CODES;
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
    /// The rows in ascending order of id, unless they stand so.
    pub(super) order: Option<Vec<u8>>,
    pub(super) codes: Option<(&'a Quantizer, &'a [u8])>,
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
    let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Relaxed));
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
    let features = match pieces.codes {
        Some((Quantizer::Product(_), _)) => PRODUCT_CODES,
        _ => 0,
    };
    let mut file = ContainerWriter::create_needing(features, disk, part, IDENTITY)?;
    file.section(layout::RAWV, FIELD, pieces.vectors)?;
    if pieces.space.metric == Metric::Cosine {
        file.section(layout::NORM, FIELD, pieces.inverse_norms)?;
    }
    file.section(layout::IDSC, FIELD, pieces.ids)?;
    if let Some(order) = &pieces.order {
        file.section(layout::IDSO, FIELD, order)?;
    }
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
    order: Option<Section>,
    codes: Option<(Quantizer, Section)>,
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
        let order = match container.section(layout::IDSO, FIELD) {
            Some(_) => Some(sized(layout::IDSO, 4)?),
            None => None,
        };
        let codes = match facts.codes {
            true => {
                let parameters = container.require(layout::QPAR, FIELD)?;
                let codec = Quantizer::parse(parameters.read_all()?, space)
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
        let saved = Self { space, facts, vectors, inverse_norms, ids, order, codes, graph, nobody };
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
        let marks = self.marks();
        let found = self.find(id);
        self.check(marks)?;
        found
    }

    /// Looks for an id where the file is mapped. Ids that are met out of order tell of a wrong file.
    fn find(&self, id: u64) -> Result<bool> {
        let ids = self.ids.guarded();
        let order = self.order.as_ref().map(Section::guarded);
        let (mut low, mut high) = (0, self.facts.rows);
        let (mut below, mut above) = (None, None);
        while low < high {
            let middle = low.midpoint(high);
            let row = order.map_or(middle, |order| order.u32_at(middle) as usize);
            if row >= self.facts.rows {
                return Err(self.ids.corrupt(&format!("row {row} is listed, and there is none")));
            }
            let met = ids.u64_at(row);
            if below.is_some_and(|below| met <= below) || above.is_some_and(|above| met >= above) {
                return Err(self.ids.corrupt("rows are not in the order of their ids"));
            }
            match met.cmp(&id) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => (low, below) = (middle + 1, Some(met)),
                Ordering::Greater => (high, above) = (middle, Some(met)),
            }
        }
        Ok(false)
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
        let order = match &self.order {
            Some(section) => Some(view(section.read_all()?).to_vec()),
            None => None,
        };
        let codes = match &self.codes {
            Some((codec, section)) => Some((codec.clone(), copy(section)?)),
            None => None,
        };
        let graph = self.graph.as_ref().map(copy).transpose()?.unwrap_or_default();
        let built = Built { rows: self.facts.rows, graph, codes };
        let (vectors, next) = (copy(&self.vectors)?, self.facts.next);
        Stored::restore(self.space, vectors, inverse_norms, (ids, order), next, built)
            .ok_or_else(|| self.ids.corrupt("rows are not in the order of their ids"))
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
            order: self.order.as_ref().map(Section::read_all).transpose()?.map(<[u8]>::to_vec),
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
        let target = Target { rows, len, graph, codes, sketches: None, blocks: None, ids };
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

    fn sections(&self) -> [Option<&Section>; 6] {
        let codes = self.codes.as_ref().map(|(_, section)| section);
        let (norms, graph) = (self.inverse_norms.as_ref(), self.graph.as_ref());
        [Some(&self.vectors), Some(&self.ids), self.order.as_ref(), norms, codes, graph]
    }

    /// How many touches of each section have failed so far.
    fn marks(&self) -> [u64; 6] {
        self.sections().map(|section| section.map_or(0, Section::failures))
    }

    /// `Corrupt` when a touch has failed since.
    fn check(&self, marks: [u64; 6]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    /// The file of rows 0 to 6, each at its own id times ten unless `ids` says otherwise.
    fn file(path: &Path, ids: &[u64], order: Option<&[u32]>) {
        let space = Schema::new(1, Metric::L2).space();
        let index = super::super::Index::new(1, Metric::L2).expect("an index");
        let rows: Vec<f32> = ids.iter().zip(0_u8..).map(|(_, row)| f32::from(row)).collect();
        index.add(None, rows.as_slice()).expect("added");
        index.build().expect("built");
        let state = index.read().expect("own process");
        let super::super::State::Memory(stored) = &*state else { panic!("in memory") };
        let mut pieces = stored.pieces(index.options());
        assert_eq!(pieces.space.stride(), space.stride());
        pieces.ids = ids.as_bytes();
        pieces.order = order.map(|order| order.as_bytes().to_vec());
        write(path, &pieces).expect("written");
    }

    #[test]
    fn orders_of_ids_that_are_none_are_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.nfi");
        let shuffled = [30, 10, 50, 0, 20, 60, 40];
        let right = [3, 1, 4, 0, 6, 2, 5];
        file(&path, &shuffled, Some(&right));
        let saved = Saved::open(&path).expect("a right file");
        assert!((0..70).all(|id| saved.contains(id).expect("whole") == (id % 10 == 0)));
        assert!(saved.load().expect("a right file").row_of(50) == Some(2));
        for (what, ids, order) in [
            ("no order", &shuffled[..], None),
            ("a row that is not there", &shuffled, Some([3, 1, 4, 7, 6, 2, 5])),
            ("a row twice", &shuffled, Some([3, 1, 4, 4, 6, 2, 5])),
            ("two rows changed places", &shuffled, Some([1, 3, 4, 0, 6, 2, 5])),
            ("backwards", &shuffled, Some([5, 2, 6, 0, 4, 1, 3])),
            ("one id twice", &[30, 10, 50, 0, 20, 50, 40], Some(right)),
        ] {
            file(&path, ids, order.as_ref().map(|order| &order[..]));
            let saved = Saved::open(&path).expect("opened without looking at all ids");
            let loaded = saved.load();
            assert!(matches!(loaded, Err(Error::Corrupt { .. })), "{what}: {loaded:?}");
            // Where it is mapped, what is met on the way is checked.
            let found = (0..70).map(|id| saved.contains(id)).filter_map(Result::err);
            let refused = found.inspect(|error| assert!(matches!(error, Error::Corrupt { .. })));
            assert!(refused.count() > 0 || what == "two rows changed places", "{what}");
        }
        file(&path, &shuffled, Some(&right[..6]));
        assert!(matches!(Saved::open(&path), Err(Error::Corrupt { .. })), "too short");
    }
}
