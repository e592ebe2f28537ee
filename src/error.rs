//! The one error type of the crate. Coarse and prescriptive: a message says what was given, what
//! was expected and what to do; a variant exists only where a caller would act differently.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use crate::types::Id;

/// Result of every fallible operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A vector has another length than the collection's dimension.
    #[error("vector at row {row} has {given} dimensions, expected {expected}")]
    DimensionMismatch {
        /// Dimensions the collection was created with.
        expected: usize,
        /// Dimensions that were given.
        given: usize,
        /// First row of the batch that is wrong.
        row: usize,
    },
    /// A vector holds a value that cannot be stored or compared.
    #[error("vector at row {row} has {} in dimension {column}; {expected}", element(*.value))]
    InvalidVector {
        /// Row of the batch.
        row: usize,
        /// Dimension of the row.
        column: usize,
        /// The value found.
        value: f32,
        /// What is accepted instead.
        expected: &'static str,
    },
    /// `add` was given ids that exist already, or the same id twice.
    #[error("{}; use upsert to replace rows", known(.ids))]
    DuplicateId {
        /// The ids concerned, at most the first hundred.
        ids: Vec<Id>,
    },
    /// A database, collection, column or id that does not exist.
    #[error("{what} not found{hint}")]
    NotFound {
        /// What was looked for, in words.
        what: String,
        /// What to do, or the nearest name; empty, or starts with a separator.
        hint: String,
    },
    /// An existing collection, column or batch has another shape than the one asked for.
    #[error("{what}: expected {expected}, given {given}")]
    SchemaMismatch {
        /// What differs.
        what: String,
        /// What is stored.
        expected: String,
        /// What was given.
        given: String,
    },
    /// An argument that no state of the database could satisfy.
    #[error("{0}")]
    InvalidArgument(String),
    /// A filter that cannot be read, or that the columns of the collection do not allow.
    #[error("filter: {message}{}{}", place(*.column, .hint), below(.excerpt))]
    Filter {
        /// What is wrong, with what was given and what was expected.
        message: String,
        /// Byte of the filter's text, from 0, when it was given as one.
        position: Option<usize>,
        /// Character of the filter's text, from 1, when it was given as one: what the message says.
        column: Option<usize>,
        /// What was probably meant, or what to write; may be empty.
        hint: String,
        /// The line of the text with a mark below the place; empty without a text.
        excerpt: String,
    },
    /// A query by words that cannot be read.
    #[error("words: {message} at column {column}\n{excerpt}")]
    Words {
        /// What is wrong.
        message: String,
        /// Byte of the query, from 0.
        position: usize,
        /// Character of the query, from 1: what the message says.
        column: usize,
        /// The line of the query with a mark below the place.
        excerpt: String,
    },
    /// Another process, or another handle of this one, has the database open for writing.
    #[error(
        "database {} is open for writing {} ({holder}); close it there, or open it for reading alone",
        path.display(), whose(holder)
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// Process id, command and start time of the holder, as far as known.
        holder: String,
    },
    /// The handle, its database or its collection was closed, or the collection dropped or renamed.
    #[error("{0}")]
    Closed(String),
    /// A write through a read-only handle, or into a read-only directory.
    #[error("{0} is read-only")]
    ReadOnly(String),
    /// An earlier write to the log or manifest failed; what was acknowledged is safe.
    #[error("an earlier write failed ({0}); reads go on, reopen the database to write again")]
    Poisoned(String),
    /// A file does not hold what was written.
    #[error("{} is corrupt in {section}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Its section, or part.
        section: String,
        /// What was found.
        reason: String,
    },
    /// A file of a newer or foreign format.
    #[error("{} cannot be read by this version: {reason}", file.display())]
    Incompatible {
        /// The file.
        file: PathBuf,
        /// What is unknown, with both versions.
        reason: String,
    },
    /// No space is left on the disk, or a quota is exceeded. Nothing of the operation is stored.
    #[error("no space left for {}; free space and try again, nothing of this operation was stored", path.display())]
    Full {
        /// The file being written.
        path: PathBuf,
    },
    /// The handle was used in a forked child.
    #[error(
        "this handle was opened before fork by process {0}; open the database again in the child"
    )]
    Forked(u32),
    /// The function of an [`Embedder`](crate::Embedder) failed. Nothing was stored.
    #[error("embedder {model:?} failed: {source}; nothing of this operation was stored")]
    Embed {
        /// Name of the embedder's model.
        model: String,
        /// What the function returned.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The function that ranks the candidates of a search failed.
    #[error("the function that ranks candidates failed: {source}")]
    Rerank {
        /// What the function returned.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller's callback or token asked to stop.
    #[error("cancelled; nothing of this operation was stored")]
    Cancelled,
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, in words.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What a panic that was caught says.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("of an unknown kind")
}

/// Ids that exist already, of which at most a hundred are listed.
fn known(ids: &[Id]) -> String {
    let first = ids.first().map_or_else(String::new, ToString::to_string);
    match ids.len() {
        ..2 => format!("id {first} exists already or is given twice"),
        many @ ..100 => format!("{many} ids exist already or are given twice, {first} among them"),
        _ => format!("100 ids or more exist already or are given twice, {first} among them"),
    }
}

/// An element of a vector. What is too large for its 32 bits is infinite by the time it is refused.
pub(crate) fn element(value: f32) -> String {
    let limit =
        if value.is_infinite() { " (infinite, or beyond 3.4e38 of 32-bit floats)" } else { "" };
    format!("{value}{limit}")
}

/// Where and what to do, behind a message.
fn place(column: Option<usize>, hint: &str) -> String {
    let place = column.map_or_else(String::new, |column| format!(" at column {column}"));
    if hint.is_empty() { place } else { format!("{place}; {hint}") }
}

/// The lines of an excerpt under a message.
fn below(lines: &str) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{lines}") }
}

/// Who holds a lock, as its note says.
fn whose(holder: &str) -> &'static str {
    let own = format!("pid {},", std::process::id());
    if holder.starts_with(&own) { "in this process already" } else { "by another process" }
}

impl Error {
    /// Wraps an I/O error with what was attempted; a full disk becomes [`Error::Full`], a
    /// read-only file system [`Error::ReadOnly`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path: path.into() }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path.display().to_string()),
            _ => Self::Io { action, path: path.into(), source },
        }
    }

    /// Wraps what the system says of a directory that should be there.
    pub(crate) fn unlisted(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::removed("read", path),
            _ => Self::io("list", path, source),
        }
    }

    /// `what` is closed, and can be opened again.
    pub(crate) fn closed(what: impl std::fmt::Display) -> Self {
        Self::Closed(format!("{what} is closed; open it again"))
    }

    /// Files that are in use were removed by somebody else.
    pub(crate) fn removed(action: &'static str, path: &Path) -> Self {
        let lost = "it was removed while it was open, and what was not written elsewhere is lost; \
                    open the database again, or restore a backup";
        let source = io::Error::new(io::ErrorKind::NotFound, lost);
        Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn corrupt(
        file: &Path,
        section: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Corrupt { file: file.into(), section: section.into(), reason: reason.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }

    pub(crate) fn not_found(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NotFound { what: what.into(), hint: hint.into() }
    }
}
