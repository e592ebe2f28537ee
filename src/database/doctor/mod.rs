//! What can be told of a database without telling what is in it: for a report of a defect.
//!
//! > Every part is tried on its own: what fails is written down as a problem, and the rest goes on.
//!
//! > No data of a row is told, and no path but the one that was given: messages that speak of files name
//! > them from the database on, and what they quote of rows is left out.

mod collection;
mod machine;
mod message;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::message::Discretion;
use super::copy::watched;
use super::{Database, LOCK, NEW_PREFIX, OpenOptions, TRASH_PREFIX, check_name, packed, parent};
use crate::collection::segment_files::{self, FileName};
use crate::collection::{Stats, recover};
use crate::error::{Error, Result};
use crate::storage::container::Watch;
use crate::storage::disk::{DirEntry, Disk, OsDisk};

/// How to look at a database: given to [`Database::doctor`].
#[must_use]
pub struct DoctorOptions<'a> {
    names: bool,
    verify: bool,
    progress: Option<Box<dyn FnMut(u64, u64) -> bool + 'a>>,
    disk: Arc<dyn Disk>,
}

impl fmt::Debug for DoctorOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DoctorOptions");
        shown.field("names", &self.names).field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl Default for DoctorOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> DoctorOptions<'a> {
    /// Quick checks, no names of columns, no progress.
    pub fn new() -> Self {
        Self { names: false, verify: false, progress: None, disk: Arc::new(OsDisk) }
    }

    /// Whether columns are told by name. Default false: by type alone.
    pub fn names(mut self, names: bool) -> Self {
        self.names = names;
        self
    }

    /// Whether every byte is read and checked, as by [`Collection::verify`](crate::Collection::verify).
    /// Default false: what opening checks.
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Called before each collection and, with [`verify`](Self::verify), now and then with how many bytes of how
    /// many have been read. Once it has returned false nothing more is looked at, and a problem says so.
    pub fn progress(mut self, callback: impl FnMut(u64, u64) -> bool + 'a) -> Self {
        self.progress = Some(Box::new(callback));
        self
    }

    /// Uses another file system than the operating system's.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }
}

/// What [`Database::doctor`] found. Its text ([`Display`](fmt::Display)) is for people to send.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// This build and machine, the database, then each collection.
    pub parts: Vec<DoctorPart>,
    /// What is wrong; empty where nothing was found.
    pub problems: Vec<String>,
}

/// Some facts about one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DoctorPart {
    /// What they are about.
    pub name: String,
    /// Each with what it is of; several may be of the same.
    pub facts: Vec<(&'static str, String)>,
    /// The numbers of a collection that opens, from which facts are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

impl DoctorPart {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), facts: Vec::new(), stats: None }
    }

    fn tell(&mut self, what: &'static str, fact: impl Into<String>) {
        self.facts.push((what, fact.into()));
    }
}

impl DoctorReport {
    /// Tries something; a failure, or a panic, is a problem.
    fn attempt<T>(
        &mut self,
        discretion: &Discretion,
        what: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
            // A message that was put together may be of data.
            let message = payload.downcast_ref::<&str>().copied();
            let message = message.unwrap_or("what it says may be data, and is on standard error");
            Err(Error::invalid(format!("a panic: {message}")))
        });
        let problem = |error: &Error| format!("{what}: {}", discretion.say_error(error));
        done.inspect_err(|error| self.problems.push(problem(error))).ok()
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{}", part.name)?;
            for (what, fact) in &part.facts {
                writeln!(f, "  {what:<14} {fact}")?;
            }
        }
        match self.problems.as_slice() {
            [] => writeln!(f, "no problem was found"),
            problems => {
                writeln!(f, "problems: {}", problems.len())?;
                problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))
            }
        }
    }
}

impl Database {
    /// Looks at the database at `path`, whole or damaged, and reports what whoever looks into a defect asks
    /// first: this build and machine, files with their sizes, the schema and statistics of each collection,
    /// and what does not open. No data of a row is in the report, no name of a column unless asked for, and no
    /// path but the one given. Everything is only read, beside whoever writes; whoever opens the database for
    /// writing in the moment in which its lock is looked at finds it locked once, and tries again.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let path = dir.path().join("my.nf");
    /// # let db = nearfield::Database::open(&path)?;
    /// # db.collection("docs", nearfield::Schema::new(1, nearfield::Metric::L2))?;
    /// let report = nearfield::Database::doctor(&path, nearfield::DoctorOptions::new());
    /// println!("{report}");
    /// assert!(report.problems.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn doctor(path: impl AsRef<Path>, options: DoctorOptions<'_>) -> DoctorReport {
        let path = path.as_ref();
        let DoctorOptions { names, verify, mut progress, disk: outside } = options;
        let mut report = DoctorReport::default();
        report.parts.push(machine::part());
        let discretion = Discretion::new(path);
        let inside =
            report.attempt(&discretion, "packed file", || packed::look_into(&outside, path));
        let disk = inside.unwrap_or_else(|| outside.clone());
        let entries = directory(&mut report, path, &disk, &discretion);
        let db = report.attempt(&discretion, "opening", || {
            OpenOptions::new().read_only(true).disk(outside.clone()).open(path)
        });
        let mut collections: Vec<&String> = entries
            .iter()
            .filter(|entry| entry.is_dir && check_name(&entry.name).is_ok())
            .map(|entry| &entry.name)
            .collect();
        // One that does not list is to be named.
        collections.retain(|name| recover::has_files(&disk, &path.join(name)).unwrap_or(true));
        let bytes = |name: &&String| segment_bytes(&disk, &path.join(name));
        let total = if verify { collections.iter().map(bytes).sum() } else { 0 };
        let mut going = true;
        let mut watch = watched(total, |done, total| {
            going = going && progress.as_mut().is_none_or(|tell| tell(done, total));
            going
        });
        let disk = &disk;
        let mut look = Look { disk, path, db, names, verify, watch: &mut watch };
        for name in collections {
            if report.attempt(&discretion, name, || (look.watch)(0)).is_none() {
                break;
            }
            collection::examine(&mut report, &mut look, name, &discretion);
        }
        report
    }
}

/// Bytes of the files in `dir` that verifying tells of.
fn segment_bytes(disk: &Arc<dyn Disk>, dir: &Path) -> u64 {
    let entries = disk.list(dir).unwrap_or_default();
    let told = entries.iter().filter(|entry| {
        let file = segment_files::parse(&entry.name);
        matches!(file, Some(FileName::Segment(_) | FileName::Attributes(..)))
    });
    told.map(|entry| entry.len).sum()
}

/// What is looked at, and how.
struct Look<'a> {
    disk: &'a Arc<dyn Disk>,
    path: &'a Path,
    /// If it opens.
    db: Option<Database>,
    names: bool,
    verify: bool,
    /// Told of bytes that were read.
    watch: &'a mut Watch<'a>,
}

/// What there is beside the collections. Returns what is in the directory.
fn directory(
    report: &mut DoctorReport,
    path: &Path,
    disk: &Arc<dyn Disk>,
    discretion: &Discretion,
) -> Vec<DirEntry> {
    let mut part = DoctorPart::new("database");
    part.tell("directory", path.display().to_string());
    part.tell("file system", machine::file_system(path));
    let listed = report.attempt(discretion, "directory", || {
        disk.list(path).map_err(|error| Error::io("list", path, error))
    });
    let entries = listed.unwrap_or_default();
    if entries.iter().any(|entry| entry.name == LOCK) {
        let lock = path.join(LOCK);
        let writer = report.attempt(discretion, "lock", || {
            let locked =
                disk.is_locked(&lock).map_err(|error| Error::io("look at", &lock, error))?;
            let note = disk.read_range(&lock, 0, 512).unwrap_or_default();
            Ok(if locked {
                message::holder(&String::from_utf8_lossy(&note))
            } else {
                "nobody".into()
            })
        });
        part.tell("writer", writer.unwrap_or_else(|| "not known".into()));
    }
    for entry in entries.iter().filter(|entry| is_left(&entry.name)) {
        part.tell("left over", format!("{}, {}", entry.name, size(disk, path, entry)));
    }
    // Backups and restored databases grow beside their place.
    let beside = disk.list(&parent(path)).unwrap_or_default();
    for entry in beside.iter().filter(|entry| entry.is_dir && is_left(&entry.name)) {
        let size = size(disk, &parent(path), entry);
        part.tell("left beside it", format!("{}, {size}", entry.name));
    }
    let foreign = entries.iter().filter(|entry| {
        entry.name != LOCK
            && !is_left(&entry.name)
            && !(entry.is_dir && recover::has_files(disk, &path.join(&entry.name)).unwrap_or(true))
    });
    match foreign.count() {
        0 => {}
        many => part.tell("not ours", format!("{many} files or directories")),
    }
    report.parts.push(part);
    entries
}

/// Whether a name is one that we give to what we are about to finish or to remove.
fn is_left(name: &str) -> bool {
    let number = name.strip_prefix(NEW_PREFIX).or_else(|| name.strip_prefix(TRASH_PREFIX));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Bytes of a file, or of the files of a directory and of the directories in it.
fn size(disk: &Arc<dyn Disk>, dir: &Path, entry: &DirEntry) -> String {
    let within = |path: &Path| disk.list(path).unwrap_or_default();
    let path = dir.join(&entry.name);
    let bytes: u64 = if entry.is_dir {
        let below = |inner: &DirEntry| match inner.is_dir {
            true => within(&path.join(&inner.name)).iter().map(|file| file.len).sum(),
            false => inner.len,
        };
        within(&path).iter().map(below).sum()
    } else {
        entry.len
    };
    format!("{bytes} bytes")
}
