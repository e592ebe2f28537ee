//! The bare index: vectors and numbers for ids in memory, without a database.
//!
//! For those who keep their rows elsewhere and want the nearest of them: no directory, no log, no
//! columns. Rows go in with [`Index::add`]; a graph and codes like those of a segment are made by
//! [`Index::build`], or by the first search that finds many rows without them; [`Index::save`]
//! writes one checksummed file that [`Index::load`] reads and [`Index::view`] maps. What is in
//! memory when the process ends is gone unless it was saved.
//!
//! | file | what |
//! |---|---|
//! | `options` | how an index is made |
//! | `query` | [`IndexQuery`], one search or many |
//! | `stored` | rows in memory: adding, removing, building |
//! | `saved` | the file: writing, reading, mapping; format.md, "Index file" |

mod options;
mod query;
mod saved;
mod stored;

use std::path::Path;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use rayon::ThreadPool;

pub use self::options::IndexOptions;
pub use self::query::{IndexQuery, Neighbour, Neighbours};
use self::saved::Saved;
use self::stored::Stored;
use crate::codec::full::Space;
use crate::error::{Error, Result};
use crate::kernel::Isa;
use crate::segment::linking::{GraphPlan, until_no};
use crate::types::{Metric, VectorType, Vectors};

/// An index of vectors in memory, each under a number. All methods take `&self` and may be called
/// from any thread; searches run beside each other, changes one at a time.
///
/// ```
/// # fn main() -> nearfield::Result<()> {
/// # let dir = tempfile::tempdir().expect("temporary directory");
/// # let path = dir.path().join("points.nfi");
/// use nearfield::{Index, Metric};
///
/// let index = Index::new(2, Metric::L2)?;
/// index.add(None, &[0.0_f32, 0.0, 3.0, 4.0])?;        // ids 0 and 1
/// index.add(Some(&[70]), &[9.0_f32, 9.0])?;           // an id of one's own
/// let nearest = index.search(&[2.0_f32, 3.0]).k(1).run()?;
/// assert_eq!((nearest[0].id, nearest[0].distance), (1, 2.0));
///
/// index.save(&path)?;
/// assert_eq!(Index::view(&path)?.len()?, 3);
/// # Ok(()) }
/// ```
///
/// After a `fork` the child may search what the parent had built, one thread a search; everything
/// else answers `Forked`, as does a search when the parent was changing the index at that moment.
#[derive(Debug)]
pub struct Index {
    options: IndexOptions,
    space: Space,
    state: RwLock<State>,
    pool: OnceLock<ThreadPool>,
    process: u32,
}

/// Where the rows are.
#[derive(Debug)]
enum State {
    Memory(Stored),
    Mapped(Saved),
}

impl State {
    fn wants_build(&self) -> bool {
        match self {
            Self::Memory(stored) => stored.wants_build(),
            Self::Mapped(_) => false,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Memory(stored) => stored.len(),
            Self::Mapped(saved) => saved.len(),
        }
    }
}

impl Index {
    /// An empty index of f32 vectors with the default options; [`IndexOptions::create`] for others.
    ///
    /// # Errors
    /// `InvalidArgument` for a dimension of 0 or above
    /// [`MAX_DIMENSION`](crate::MAX_DIMENSION), and for hamming and jaccard, which compare bits.
    pub fn new(dimension: usize, metric: Metric) -> Result<Self> {
        IndexOptions::new().create(dimension, metric)
    }

    /// Reads a file of [`save`](Self::save) into memory and checks all of it; the index may be
    /// changed. With the default options; [`IndexOptions::load`] for others.
    ///
    /// # Errors
    /// `Corrupt`, `Incompatible`, `Io`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        IndexOptions::new().load(path)
    }

    /// Maps a file of [`save`](Self::save): ready at once whatever its size, checked where it is
    /// read, shared between processes, and not to be changed. The file must stay as it is while it
    /// is mapped; [`save`](Self::save) replaces files as a whole, which is safe. With the default
    /// options; [`IndexOptions::view`] for others.
    ///
    /// # Errors
    /// `Corrupt`, `Incompatible`, `Io`. Damage that is met later makes searches answer `Corrupt`.
    pub fn view(path: impl AsRef<Path>) -> Result<Self> {
        IndexOptions::new().view(path)
    }

    fn with(options: IndexOptions, space: Space, state: State) -> Self {
        let (state, pool) = (RwLock::new(state), OnceLock::new());
        Self { options, space, state, pool, process: std::process::id() }
    }

    /// Dimensions of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.space.dimension
    }

    /// How vectors are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.space.metric
    }

    /// Element type in which vectors are stored.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.space.vector_type
    }

    /// How it is built and searched.
    #[must_use]
    pub fn options(&self) -> &IndexOptions {
        &self.options
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// `Forked`.
    pub fn len(&self) -> Result<usize> {
        Ok(self.read()?.len())
    }

    /// Whether there is no row.
    ///
    /// # Errors
    /// `Forked`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Rows that the graph does not hold yet: searches compare each of them.
    ///
    /// # Errors
    /// `Forked`.
    pub fn unbuilt(&self) -> Result<usize> {
        Ok(match &*self.read()? {
            State::Memory(stored) => stored.unbuilt(),
            State::Mapped(_) => 0,
        })
    }

    /// Whether a row has this id.
    ///
    /// # Errors
    /// `Forked`; `Corrupt` for a mapped file whose ids are damaged.
    pub fn contains(&self, id: u64) -> Result<bool> {
        match &*self.read()? {
            State::Memory(stored) => Ok(stored.row_of(id).is_some()),
            State::Mapped(saved) => saved.contains(id),
        }
    }

    /// Adds row-major `vectors`, one for each of `ids`; without ids they are numbered on from the
    /// largest there has been, from 0 in an empty index. Returns how many were added. After an error
    /// none of them is there.
    ///
    /// # Errors
    /// `DuplicateId` when an id exists or is given twice; `DimensionMismatch`, `InvalidVector`;
    /// `ReadOnly` when the index is a mapped file; `Forked`.
    pub fn add<'a>(&self, ids: Option<&[u64]>, vectors: impl Into<Vectors<'a>>) -> Result<u64> {
        self.change(|stored| stored.add(ids, &vectors.into()))
    }

    /// Removes the rows of `ids`. Returns how many there were.
    ///
    /// # Errors
    /// `ReadOnly` when the index is a mapped file; `Forked`.
    pub fn remove(&self, ids: &[u64]) -> Result<u64> {
        self.change(|stored| Ok(stored.remove(ids)))
    }

    /// Brings all rows into the graph, on the threads of the index, and forgets removed ones. Does
    /// nothing when that is so already. Searches wait meanwhile.
    ///
    /// A search does this by itself where many rows were added: more than 4,096, and more than an
    /// eighth of those in the graph.
    ///
    /// # Errors
    /// `Forked`; `InvalidArgument` when threads cannot be started.
    pub fn build(&self) -> Result<()> {
        self.build_while(|| true)
    }

    /// [`build`](Self::build) that asks now and then whether to go on, from any thread. The index
    /// stays usable after a "no": rows that are not in the graph are compared one by one.
    ///
    /// # Errors
    /// As [`build`](Self::build); `Cancelled` after a "no".
    pub fn build_while(&self, keep_going: impl Fn() -> bool + Sync) -> Result<()> {
        if matches!(&*self.read()?, State::Mapped(_)) {
            return Ok(());
        }
        self.build_aside(&keep_going)
    }

    /// Whether the next search builds first: many rows are not in the graph, or removed from it.
    ///
    /// # Errors
    /// `Forked` where the index was changing when the process was forked.
    pub fn wants_build(&self) -> Result<bool> {
        Ok(self.is_own_process() && self.read()?.wants_build())
    }

    fn build_aside(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let (pool, keep_going) = (self.pool()?, &until_no(keep_going));
        aside(|| self.change(|stored| stored.build(&self.plan(pool, keep_going))))?
    }

    /// Writes the index to `path` as one file, replacing what is there at once, and durably. Rows are
    /// [built](Self::build) first.
    ///
    /// # Errors
    /// `Full`, `Io`, `Forked`; `Corrupt` when a mapped file is copied that is damaged. What was at
    /// `path` is still there then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        loop {
            self.build()?;
            let state = self.read()?;
            match &*state {
                State::Mapped(saved) => return saved.save(path.as_ref()),
                State::Memory(stored) if stored.is_built() => {
                    return saved::write(path.as_ref(), &stored.pieces(&self.options));
                }
                // Rows came in between.
                State::Memory(_) => {}
            }
        }
    }

    /// Begins a search for the rows nearest to `query`: one vector for [`IndexQuery::run`], any
    /// number for [`IndexQuery::run_batch`].
    pub fn search<'a>(&'a self, query: impl Into<Vectors<'a>>) -> IndexQuery<'a> {
        IndexQuery::new(self, query.into())
    }

    fn plan<'a>(
        &self,
        pool: &'a ThreadPool,
        keep_going: &'a (dyn Fn() -> bool + Sync),
    ) -> GraphPlan<'a> {
        let (params, code) = (self.options.params(), self.options.code);
        GraphPlan { params, code, share: None, isa: Isa::detect(), pool, keep_going }
    }

    fn is_own_process(&self) -> bool {
        self.process == std::process::id()
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>> {
        if self.is_own_process() {
            return Ok(self.state.read().unwrap_or_else(PoisonError::into_inner));
        }
        // A thread that changed the index at the fork does not exist here to let go of it.
        match self.state.try_read() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(state)) => Ok(state.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Error::Forked(self.process)),
        }
    }

    /// Runs `work` on the rows while nobody else does anything with them.
    fn change<T>(&self, work: impl FnOnce(&mut Stored) -> Result<T>) -> Result<T> {
        if !self.is_own_process() {
            return Err(Error::Forked(self.process));
        }
        match &mut *self.state.write().unwrap_or_else(PoisonError::into_inner) {
            State::Memory(stored) => work(stored),
            State::Mapped(_) => {
                Err(Error::ReadOnly("an index that is a mapped file (load it instead)".into()))
            }
        }
    }

    fn pool(&self) -> Result<&ThreadPool> {
        if !self.is_own_process() {
            return Err(Error::Forked(self.process));
        }
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.threads)
            .thread_name(|index| format!("nearfield-index-{index}"))
            .build()
            .map_err(|error| Error::invalid(format!("threads cannot be started: {error}")))?;
        Ok(self.pool.get_or_init(|| pool))
    }
}

/// Runs `work` on a thread of its own. A caller that belongs to another pool of threads would take up
/// other work of that pool while it waits for ours, which may want the index, whose lock it holds.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| {
            Error::invalid(format!("the system gives no thread to build or search on: {error}"))
        })?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}
