//! Files in a file: what is in a database, packed into one, and read there as if it were a directory.
//!
//! ```text
//! header 80 B | directory | file | file | …        each file at a multiple of 4096
//! ```
//!
//! The directory gives names and lengths alone: places follow from them, so that no two files can
//! overlap. Its digest covers it, and the files cover themselves. A pack may lie inside another
//! file, whatever is before and behind it. [`Packed`] shows it under the name of that file and
//! knows nothing of what the files hold. Byte for byte: format.md, "Packed database".

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::container::Watch;
use super::disk::{DirEntry, Disk, DiskFile, DiskLock};
use super::feature::Features;
use super::mmap::Mapped;
use crate::error::{Error, Result};

/// First eight bytes of a pack.
const MAGIC: [u8; 8] = *b"NEARFPAK";
const HEADER_BYTES: u32 = 80;
/// A file begins at a multiple of it, from the first byte of the pack.
const ALIGN: usize = 4096;
/// A pack begins at a multiple of it in another file: its numbers are read where they are.
const OFFSET_ALIGN: u64 = 64;
/// Longest name of a directory or of a file.
const MAX_NAME_BYTES: usize = 128;
/// Bytes written at a time.
const PIECE: usize = 1 << 20;

#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    features: Features,
    /// Bytes of the whole pack.
    len: U64,
    /// Bytes of the directory.
    directory: U64,
    digest: U128,
    count: U32,
    crc: U32,
}

/// An entry of the directory, before the name.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    len: U64,
    name_len: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES as usize);

impl Header {
    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<Self>() - 4])
    }
}

/// Whether a pack begins at `offset` of the file `path`.
pub(crate) fn is_pack(disk: &Arc<dyn Disk>, path: &Path, offset: u64) -> Result<bool> {
    let magic = disk.read_range(path, offset, MAGIC.len() as u64);
    Ok(magic.map_err(|error| Error::io("read", path, error))? == MAGIC)
}

/// Writes the new file `path`: a pack of `files`, named `DIRECTORY/FILE`, which is synced when this
/// returns. `watch` is told of bytes as they are written.
pub(crate) fn write(
    disk: &Arc<dyn Disk>,
    path: &Path,
    files: &BTreeMap<String, &[u8]>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut directory = Vec::new();
    for (name, bytes) in files {
        assert!(check_name(name).is_some(), "{name:?} cannot be the name of a packed file");
        let name_len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let entry = Entry { len: U64::new(bytes.len() as u64), name_len: U16::new(name_len) };
        directory.extend_from_slice(entry.as_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let head = u64::from(HEADER_BYTES) + directory.len() as u64;
    let len = files.values().fold(head, |end, bytes| place(end, bytes.len() as u64).end);
    let mut header = Header {
        magic: MAGIC,
        features: Features::new(HEADER_BYTES, 0),
        len: U64::new(len),
        directory: U64::new(directory.len() as u64),
        digest: U128::new(xxh3_128(&directory)),
        count: U32::new(u32::try_from(files.len()).unwrap_or(u32::MAX)),
        crc: U32::ZERO,
    };
    header.crc = U32::new(header.checksum());
    let mut file = disk.create(path).map_err(|error| Error::io("create", path, error))?;
    let mut append = |pieces: &[&[u8]]| {
        file.append_pieces(pieces).map_err(|error| Error::io("write", path, error))
    };
    append(&[header.as_bytes(), &directory])?;
    let mut end = head;
    for bytes in files.values() {
        let range = place(end, bytes.len() as u64);
        let gap = usize::try_from(range.start - end).unwrap_or(0);
        append(&[&[0; ALIGN][..gap]])?;
        for piece in bytes.chunks(PIECE) {
            append(&[piece])?;
            watch(piece.len() as u64)?;
        }
        end = range.end;
    }
    file.sync().map_err(|error| Error::io("sync", path, error))
}

/// Where a file of `len` bytes lies behind one that ends at `end`. For lengths that were checked.
fn place(end: u64, len: u64) -> Range<u64> {
    let start = end.next_multiple_of(ALIGN as u64);
    start..start + len
}

/// The directory and the file that a name says, when it may be one: such a name leaves no directory.
fn check_name(name: &str) -> Option<(&str, &str)> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let plain = |part: &str| {
        (1..=MAX_NAME_BYTES).contains(&part.len())
            && !part.starts_with('.')
            && part.bytes().all(allowed)
    };
    name.split_once('/').filter(|(dir, file)| plain(dir) && plain(file))
}

/// A disk on which the file `root`, which is a pack, is a directory that can only be read.
#[derive(Debug)]
pub(crate) struct Packed {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    map: Arc<Mapped>,
    /// Where files lie in the map, by directory and name.
    directories: BTreeMap<String, BTreeMap<String, Range<usize>>>,
}

/// What a path means to a pack.
enum Node<'a> {
    Root,
    Directory(&'a BTreeMap<String, Range<usize>>),
    File(&'a Range<usize>),
    Missing,
}

impl Packed {
    /// Reads the directory of the pack that begins at `offset` of the file `root`.
    pub(crate) fn open(disk: &Arc<dyn Disk>, root: &Path, offset: u64) -> Result<Self> {
        if !offset.is_multiple_of(OFFSET_ALIGN) {
            return Err(Error::invalid(format!(
                "offset {offset} of a packed database in {}: expected a multiple of {OFFSET_ALIGN}; \
                 align it where it is put in, or give it a file of its own",
                root.display()
            )));
        }
        if !is_pack(disk, root, offset)? {
            return Err(Error::invalid(format!(
                "{} holds no packed database at offset {offset}: there are no bytes {:?}; \
                 give the file that pack has written, and where it begins in it",
                root.display(),
                MAGIC.escape_ascii().to_string(),
            )));
        }
        let map = Arc::new(disk.map(root).map_err(|error| Error::io("map", root, error))?);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let directories = parse(root, map.as_slice(), start)?;
        Ok(Self { disk: Arc::clone(disk), root: root.into(), map, directories })
    }

    /// What `path` is in the pack; `None` when it is outside.
    fn find(&self, path: &Path) -> Option<Node<'_>> {
        let mut parts = path.strip_prefix(&self.root).ok()?.components();
        let mut next = || match parts.next() {
            None => Some(None),
            Some(Component::Normal(part)) => part.to_str().map(Some),
            Some(_) => None,
        };
        let (Some(dir), Some(file), Some(None)) = (next(), next(), next()) else {
            return Some(Node::Missing);
        };
        let Some(dir) = dir else { return Some(Node::Root) };
        let Some(files) = self.directories.get(dir) else { return Some(Node::Missing) };
        let Some(file) = file else { return Some(Node::Directory(files)) };
        Some(files.get(file).map_or(Node::Missing, Node::File))
    }

    /// Refuses a write into the pack.
    fn outside(&self, path: &Path) -> io::Result<&Arc<dyn Disk>> {
        match self.find(path) {
            None => Ok(&self.disk),
            Some(_) => Err(ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    /// Where a file of the pack lies in the map; `None` for a path outside.
    fn range(&self, path: &Path) -> io::Result<Option<&Range<usize>>> {
        match self.find(path) {
            None => Ok(None),
            Some(Node::File(range)) => Ok(Some(range)),
            Some(Node::Root | Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            Some(Node::Missing) => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for Packed {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.outside(path)?.create(path)
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.outside(path)?.create_log(path)
    }

    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let Some(range) = self.range(path)? else {
            return self.disk.read_range(path, offset, len);
        };
        let bytes = &self.map.as_slice()[range.clone()];
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let rest = &bytes[from..];
        Ok(rest[..usize::try_from(len).unwrap_or(usize::MAX).min(rest.len())].to_vec())
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        match self.range(path)? {
            None => self.disk.map(path),
            Some(range) => Ok(Mapped::part(&self.map, range.clone())),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |name: &String, is_dir, len| DirEntry { name: name.clone(), is_dir, len };
        Ok(match self.find(dir) {
            None => return self.disk.list(dir),
            Some(Node::Root) => self.directories.keys().map(|name| entry(name, true, 0)).collect(),
            Some(Node::Directory(files)) => {
                let file = |(name, range): (&String, &Range<usize>)| {
                    entry(name, false, range.len() as u64)
                };
                files.iter().map(file).collect()
            }
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            Some(Node::Missing) => return Err(ErrorKind::NotFound.into()),
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.outside(path)?.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.outside(from)?;
        self.outside(to)?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.outside(path)?.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.outside(path)?.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.outside(dir)?.sync_dir(dir)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        self.outside(path)?.lock(path, note)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.outside(path)?.is_locked(path)
    }

    fn holds(&self, lock: &DiskLock) -> bool {
        self.disk.holds(lock)
    }
}

type Directories = BTreeMap<String, BTreeMap<String, Range<usize>>>;

/// Checks header, directory and the zero bytes between files of the pack that begins at `start`.
fn parse(root: &Path, file: &[u8], start: usize) -> Result<Directories> {
    let corrupt = |section: &str, reason: String| Error::corrupt(root, section, reason);
    let there = file.get(start..).unwrap_or(&[]);
    let Ok((header, _)) = Header::ref_from_prefix(there) else {
        return Err(corrupt("header of the pack", "the file ends within it".into()));
    };
    if header.checksum() != header.crc.get() {
        return Err(corrupt("header of the pack", "it does not match its checksum".into()));
    }
    header.features.check(root, HEADER_BYTES)?;
    let len = header.len.get();
    let Some(pack) = usize::try_from(len).ok().and_then(|len| there.get(..len)) else {
        let reason = format!(
            "it has {len} bytes, and the file only {} from where it begins; it was cut, copy it again",
            there.len()
        );
        return Err(corrupt("pack", reason));
    };
    let refused = |reason: &str| corrupt("directory of the pack", reason.into());
    let head = usize::try_from(header.directory.get())
        .ok()
        .and_then(|len| len.checked_add(HEADER_BYTES as usize))
        .filter(|head| *head <= pack.len())
        .ok_or_else(|| refused("it is longer than the pack"))?;
    let directory = &pack[HEADER_BYTES as usize..head];
    if xxh3_128(directory) != header.digest.get() {
        return Err(refused("it does not match its digest"));
    }
    parse_directory(pack, directory, start, header.count.get()).map_err(refused)
}

fn parse_directory(
    pack: &[u8],
    mut rest: &[u8],
    start: usize,
    count: u32,
) -> Result<Directories, &'static str> {
    let mut directories = Directories::new();
    let (mut end, mut found, mut before) = (HEADER_BYTES as usize + rest.len(), 0_u32, "");
    while !rest.is_empty() {
        let (entry, behind) =
            Entry::ref_from_prefix(rest).map_err(|_short| "it ends in an entry")?;
        let name_len = usize::from(entry.name_len.get());
        let (name, behind) = behind.split_at_checked(name_len).ok_or("it ends in a name")?;
        let name = std::str::from_utf8(name).map_err(|_other| "a name is not text")?;
        let (dir, leaf) = check_name(name).ok_or("a name is none of a packed file")?;
        if name <= before {
            return Err("its names do not ascend");
        }
        let begin = end.checked_next_multiple_of(ALIGN).ok_or("a file ends nowhere")?;
        let range = usize::try_from(entry.len.get())
            .ok()
            .and_then(|len| Some(begin..begin.checked_add(len)?))
            .ok_or("a file ends nowhere")?;
        let gap = pack.get(end..begin).ok_or("a file lies behind the end of the pack")?;
        if range.end > pack.len() {
            return Err("a file lies behind the end of the pack");
        }
        if gap.iter().any(|byte| *byte != 0) {
            return Err("the bytes between two files are not zero");
        }
        let files = directories.entry(dir.to_owned()).or_default();
        files.insert(leaf.to_owned(), start + range.start..start + range.end);
        (rest, end, before) = (behind, range.end, name);
        found = found.saturating_add(1);
    }
    match (end == pack.len(), found == count) {
        (true, true) => Ok(directories),
        (false, _) => Err("the pack does not end with its last file"),
        (_, false) => Err("it has another number of files than the header says"),
    }
}

#[cfg(test)]
mod tests;
