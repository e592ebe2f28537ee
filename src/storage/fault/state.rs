//! What a faulty disk holds, and the fate of each operation on it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::inode::Inode;
use super::tree::{Node, Tree};
use super::{Fault, Hook};

#[derive(Default)]
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) inodes: Vec<Inode>,
    pub(super) locked: BTreeSet<usize>,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) hook: Option<Hook>,
    pub(super) fault: Option<Fault>,
    pub(super) powerless: bool,
    pub(super) capacity: Option<u64>,
    pub(super) log: Option<Vec<String>>,
}

/// Kinds of operations, as far as faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Takes space: an append.
    Append,
    /// May take space: a new name, a sync.
    Grow,
    /// Takes none.
    Other,
}

pub(super) fn power_cut() -> io::Error {
    io::Error::other("simulated power cut")
}

/// Whether an operation goes ahead.
enum Verdict {
    Go,
    Fail(io::Error),
    Half(io::Error),
}

impl State {
    /// Counts an operation and decides its fate.
    fn operate(&mut self, kind: Kind, what: impl FnOnce() -> String) -> Verdict {
        if self.powerless {
            return Verdict::Fail(power_cut());
        }
        let number = self.operations;
        self.operations += 1;
        let verdict = self.judge(kind, number);
        if let Some(log) = &mut self.log {
            let end = match &verdict {
                Verdict::Go => String::new(),
                Verdict::Fail(error) => format!(" fails: {error}"),
                Verdict::Half(error) => format!(" is cut short: {error}"),
            };
            log.push(format!("{number} {}{end}", what()));
        }
        verdict
    }

    fn judge(&mut self, kind: Kind, number: u64) -> Verdict {
        match self.fault {
            Some(Fault::PowerCut { at }) if number >= at => {
                self.powerless = true;
                Verdict::Fail(power_cut())
            }
            Some(Fault::Fail { at, kind: error, forever })
                if number == at || forever && number > at =>
            {
                let space =
                    matches!(error, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if space && kind == Kind::Other { Verdict::Go } else { Verdict::Fail(error.into()) }
            }
            Some(Fault::ShortWrite { at, kind: error }) if number >= at && kind == Kind::Append => {
                self.fault = None;
                Verdict::Half(error.into())
            }
            _ => Verdict::Go,
        }
    }

    /// Counts a read and decides its fate.
    pub(super) fn read(&mut self) -> io::Result<()> {
        if self.powerless {
            return Err(power_cut());
        }
        let number = self.reads;
        self.reads += 1;
        match self.fault {
            Some(Fault::FailRead { at, kind }) if number == at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    /// The same for operations that either happen or do not.
    pub(super) fn attempt(&mut self, kind: Kind, what: impl FnOnce() -> String) -> io::Result<()> {
        match self.operate(kind, what) {
            Verdict::Go => Ok(()),
            Verdict::Fail(error) | Verdict::Half(error) => Err(error),
        }
    }

    pub(super) fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let verdict = self.operate(Kind::Append, || format!("append {} to #{file}", bytes.len()));
        let (mut fits, mut outcome) = match verdict {
            Verdict::Go => (bytes.len(), Ok(())),
            Verdict::Half(error) => (bytes.len() / 2, Err(error)),
            Verdict::Fail(error) => return Err(error),
        };
        if let Some(capacity) = self.capacity {
            let used: u64 = self.tree.file_ids().map(|id| self.inodes[id].len()).sum();
            let free = usize::try_from(capacity.saturating_sub(used)).unwrap_or(usize::MAX);
            if fits > free {
                (fits, outcome) = (free, Err(io::ErrorKind::StorageFull.into()));
            }
        }
        self.inodes[file].append(&bytes[..fits]);
        outcome
    }

    pub(super) fn new_file(&mut self, path: &Path) -> io::Result<usize> {
        let file = self.inodes.len();
        self.tree.add(path, Node::File(file))?;
        self.inodes.push(Inode::default());
        Ok(file)
    }
}
