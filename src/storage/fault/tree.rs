//! Names and directories: as processes see them, and as the disk has them.
//!
//! Every change of names goes into a journal and stays there until all directories it concerns
//! have been synced. A power cut applies the synced changes and, of the others, any subset.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::random::Random;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Dir(usize),
}

/// Names by directory.
type Names = BTreeMap<(usize, String), Node>;

const ROOT: usize = 0;

/// The directories of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    live: Names,
    durable: Names,
    journal: VecDeque<Change>,
    /// Directories made so far, besides the root.
    dirs: usize,
}

/// One atomic change of names.
#[derive(Clone, Debug)]
struct Change {
    removed: Option<(usize, String)>,
    added: Option<(usize, String)>,
    node: Node,
    /// Directories whose sync is still to come.
    unsynced: Vec<usize>,
    /// A sync has failed, and later ones do not make up for it.
    dropped: bool,
}

impl Change {
    fn apply(&self, names: &mut Names) {
        if let Some(removed) = &self.removed
            && names.get(removed) == Some(&self.node)
        {
            names.remove(removed);
        }
        if let Some(added) = &self.added {
            names.insert(added.clone(), self.node);
        }
    }

    fn is_durable(&self) -> bool {
        self.unsynced.is_empty()
    }
}

impl Tree {
    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path)? {
            Node::File(id) => Ok(id),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(String, Node)>> {
        let dir = self.dir(dir)?;
        Ok(self.children(dir).map(|(name, node)| (name.to_owned(), node)).collect())
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = dirs.pop() {
            for (name, node) in self.children(dir) {
                match node {
                    Node::File(_) => files.push(path.join(name)),
                    Node::Dir(inner) => dirs.push((inner, path.join(name))),
                }
            }
        }
        files.sort();
        files
    }

    pub(super) fn file_ids(&self) -> impl Iterator<Item = usize> {
        self.live.values().filter_map(|node| match node {
            Node::File(id) => Some(*id),
            Node::Dir(_) => None,
        })
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let place = self.place(path)?;
        if self.live.contains_key(&place) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(None, Some(place), node);
        Ok(())
    }

    pub(super) fn add_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, Node::Dir(self.dirs + 1))?;
        self.dirs += 1;
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.node(from)?;
        let (from, to) = (self.place(from)?, self.place(to)?);
        match (node, self.live.get(&to)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::File(_), Some(Node::Dir(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Dir(_), Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        if from != to {
            self.change(Some(from), Some(to), node);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let node = Node::File(self.file(path)?);
        let place = self.place(path)?;
        self.change(Some(place), None, node);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir(path)?;
        if self.children(dir).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let place = self.place(path)?;
        self.change(Some(place), None, Node::Dir(dir));
        Ok(())
    }

    /// Makes the names of a directory durable, or never again if the sync fails.
    pub(super) fn sync(&mut self, path: &Path, succeeds: bool) -> io::Result<()> {
        let dir = self.dir(path)?;
        for change in &mut self.journal {
            change.dropped |= !succeeds && change.unsynced.contains(&dir);
            if !change.dropped {
                change.unsynced.retain(|&unsynced| unsynced != dir);
            }
        }
        while self.journal.front().is_some_and(Change::is_durable) {
            if let Some(change) = self.journal.pop_front() {
                change.apply(&mut self.durable);
            }
        }
        Ok(())
    }

    /// What a power cut leaves.
    pub(super) fn crash(&self, random: &mut Random) -> Self {
        let mut names = self.durable.clone();
        let mode = random.below(4);
        for change in &self.journal {
            let kept = match mode {
                0 => false,
                1 => true,
                _ => random.below(2) == 0,
            };
            if change.is_durable() || kept {
                change.apply(&mut names);
            }
        }
        Self { live: names.clone(), durable: names, journal: VecDeque::new(), dirs: self.dirs }
    }

    fn change(
        &mut self,
        removed: Option<(usize, String)>,
        added: Option<(usize, String)>,
        node: Node,
    ) {
        let mut unsynced: Vec<usize> =
            [&removed, &added].into_iter().flatten().map(|p| p.0).collect();
        unsynced.dedup();
        let change = Change { removed, added, node, unsynced, dropped: false };
        change.apply(&mut self.live);
        self.journal.push_back(change);
    }

    fn children(&self, dir: usize) -> impl Iterator<Item = (&str, Node)> {
        self.live
            .range((dir, String::new())..(dir + 1, String::new()))
            .map(|((_, name), node)| (name.as_str(), *node))
    }

    fn dir(&self, path: &Path) -> io::Result<usize> {
        match self.node(path)? {
            Node::Dir(id) => Ok(id),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                Component::Prefix(_) | Component::ParentDir => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            };
            let Node::Dir(dir) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let found = self.live.get(&(dir, text(name)?));
            node = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// Directory and name of a path that may not exist yet.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(path.parent().unwrap_or(path))?, text(name)?))
    }
}

fn text(name: &OsStr) -> io::Result<String> {
    name.to_str().map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
