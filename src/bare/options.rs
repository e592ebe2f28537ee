//! How a bare index is made.

use std::path::Path;

use super::stored::Stored;
use super::{Index, State, saved};
use crate::collection::options::Schema;
use crate::error::{Error, Result};
use crate::segment::writer::GraphParams;
use crate::types::{CodeChoice, Metric, VectorType};

/// How an [`Index`] is built and searched. The defaults are those of a collection.
///
/// ```
/// # fn main() -> nearfield::Result<()> {
/// use nearfield::{IndexOptions, Metric, VectorType};
///
/// let options = IndexOptions::new().m(24).ef_construction(400).vector_type(VectorType::F16);
/// let index = options.create(768, Metric::Cosine)?;
/// assert_eq!((index.dimension(), index.options().m), (768, 24));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IndexOptions {
    /// Element type in which vectors are stored. Default f32.
    pub vector_type: VectorType,
    /// Links of a node on upper levels, and half of those on level 0: 2 to 64. More of them make
    /// better recall, slower builds and larger graphs. Default 16.
    pub m: usize,
    /// Candidates kept while the neighbours of a new node are looked for. Default 200.
    pub ef_construction: usize,
    /// Candidates a search keeps unless it says otherwise. Default 100.
    pub ef_search: usize,
    /// Threads of builds and batch searches; 0 for one a core. Default 0.
    pub threads: usize,
    /// What leads searches to candidates. Default [`CodeChoice::Auto`].
    pub code: CodeChoice,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            vector_type: VectorType::F32,
            m: 16,
            ef_construction: 200,
            ef_search: 100,
            threads: 0,
            code: CodeChoice::Auto,
        }
    }
}

impl IndexOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`vector_type`](Self::vector_type).
    #[must_use]
    pub fn vector_type(mut self, vector_type: VectorType) -> Self {
        self.vector_type = vector_type;
        self
    }

    /// Sets [`m`](Self::m).
    #[must_use]
    pub fn m(mut self, m: usize) -> Self {
        self.m = m;
        self
    }

    /// Sets [`ef_construction`](Self::ef_construction).
    #[must_use]
    pub fn ef_construction(mut self, ef_construction: usize) -> Self {
        self.ef_construction = ef_construction;
        self
    }

    /// Sets [`ef_search`](Self::ef_search).
    #[must_use]
    pub fn ef_search(mut self, ef_search: usize) -> Self {
        self.ef_search = ef_search;
        self
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets [`code`](Self::code).
    #[must_use]
    pub fn code(mut self, code: CodeChoice) -> Self {
        self.code = code;
        self
    }

    /// An empty index.
    ///
    /// # Errors
    /// `InvalidArgument` for a dimension, metric or option that cannot be.
    pub fn create(self, dimension: usize, metric: Metric) -> Result<Index> {
        self.check()?;
        let schema = Schema::new(dimension, metric).with_vector_type(self.vector_type);
        schema.validate()?;
        let space = schema.space();
        Ok(Index::with(self, space, State::Memory(Stored::new(space))))
    }

    /// As [`Index::load`]; vector type, `m` and `ef_construction` are those of the file.
    ///
    /// # Errors
    /// As [`Index::load`].
    pub fn load(self, path: impl AsRef<Path>) -> Result<Index> {
        self.open(path.as_ref(), |saved| Ok(State::Memory(saved.load()?)))
    }

    /// As [`Index::view`]; vector type, `m` and `ef_construction` are those of the file.
    ///
    /// # Errors
    /// As [`Index::view`].
    pub fn view(self, path: impl AsRef<Path>) -> Result<Index> {
        self.open(path.as_ref(), |saved| Ok(State::Mapped(saved)))
    }

    fn open(
        mut self,
        path: &Path,
        state: impl FnOnce(saved::Saved) -> Result<State>,
    ) -> Result<Index> {
        self.check()?;
        let saved = saved::Saved::open(path)?;
        let space = saved.space();
        self.vector_type = space.vector_type;
        (self.m, self.ef_construction) = saved.parameters();
        Ok(Index::with(self, space, state(saved)?))
    }

    fn check(&self) -> Result<()> {
        if !GraphParams::M.contains(&self.m) {
            return Err(Error::invalid(format!("m is {}, it must be from 2 to 64", self.m)));
        }
        if self.ef_construction == 0 || self.ef_search == 0 {
            return Err(Error::invalid("ef_construction and ef_search must be at least 1"));
        }
        self.code.validate()
    }

    pub(super) fn params(&self) -> GraphParams {
        let defaults = GraphParams::default();
        GraphParams { m: self.m, ef_construction: self.ef_construction, ..defaults }
    }
}

/// Whether a graph can have been built so.
pub(super) fn plausible(m: usize, ef_construction: usize) -> bool {
    GraphParams::M.contains(&m) && ef_construction > 0
}
