//! The one door to the file system.
//!
//! Files are created once, appended to, synced and from then on only read; names change by
//! rename and removal and are durable after `sync_dir`. Nothing here knows what a file holds.
//! A log alone runs ahead of itself: zeros are written behind its end before it grows into them,
//! so that most syncs find the file's length unchanged and need not write it as well.
//! Errors stay `io::Error`: the caller knows what was attempted and adds it.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::mmap::Mapped;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name without its directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes of a file.
    pub len: u64,
}

/// Keeps a lock until dropped.
pub type DiskLock = Box<dyn Any + Send + Sync>;

/// What the engine asks of a file system. Two implementations: [`OsDisk`], and `FaultDisk` in
/// tests.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file for appending; `AlreadyExists` if the name is taken. File mode 0600 where
    /// modes exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Like [`create`](Self::create), for a file that grows by small synced appends: zeros may
    /// follow what was appended.
    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }
    /// Reads at most `len` bytes from `offset`; fewer only at the end of the file, none past it.
    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Reads from `offset` to the end of the file (empty when `offset` is past it).
    fn read(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        self.read_range(path, offset, u64::MAX)
    }
    /// Maps a whole file read-only.
    fn map(&self, path: &Path) -> io::Result<Mapped>;
    /// Names in a directory, sorted. Names that are not UTF-8 are not nearfield's and are left
    /// out.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates one directory (mode 0700); `AlreadyExists` if the name is taken.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, created if absent; `None` when another process or
    /// handle has it. `note` is written into the file for whoever finds it locked, who reads it
    /// with [`read`](Self::read); a full disk costs the note, not the lock.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>>;
    /// Whether somebody holds the lock on a file, which is only read. Whoever asks for the lock in the same
    /// moment may find it taken.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
    /// Whether the file of a lock still has its name: false where somebody has removed it.
    fn holds(&self, lock: &DiskLock) -> bool {
        let _ = lock;
        true
    }
}

/// A file being appended to.
pub trait DiskFile: fmt::Debug + Send {
    /// Appends all bytes or fails; after a failure any part of them may have been appended.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append_pieces(&[bytes])
    }
    /// Appends the pieces one after the other, as one append.
    fn append_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()>;
    /// Makes everything appended durable (`fdatasync`). Never to be retried: after a failure the
    /// system may have dropped what it could not write and report success the second time.
    fn sync(&mut self) -> io::Result<()>;
    /// Maps what has been appended so far, read-only.
    fn map(&self) -> io::Result<Mapped>;
    /// Whether the file still has a name: what is appended to one that somebody has removed is gone
    /// with the handle.
    fn has_name(&self) -> bool {
        true
    }
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

#[expect(clippy::disallowed_methods, reason = "this is the one place that writes to disk")]
impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = private();
        Ok(Box::new(OsFile(options.read(true).append(true).create_new(true).open(path)?)))
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = private().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(OsLog { file, len: 0, filled: 0 }))
    }

    fn read_range(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let present = file.metadata()?.len().saturating_sub(offset).min(len);
        let mut bytes = Vec::with_capacity(usize::try_from(present).unwrap_or(0));
        if present > 0 {
            file.seek(SeekFrom::Start(offset))?;
            file.take(len).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        Mapped::from_file(&File::open(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(here(dir))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match entry.metadata() {
                Ok(found) => {
                    entries.push(DirEntry { name, is_dir: found.is_dir(), len: found.len() });
                }
                // Removed between the two calls, by the writer while a reader lists.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Windows has no such call; its journal orders names by itself.
        if cfg!(unix) { File::open(here(dir))?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        let mut options = private();
        // Not truncated on opening: the note of a holder must survive those who fail.
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The note is a courtesy: opening must work on a full disk.
        let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
        Ok(Some(Box::new(file)))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        match File::open(path)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn holds(&self, lock: &DiskLock) -> bool {
        lock.downcast_ref().is_none_or(has_name)
    }
}

/// Whether somebody has not removed a file that is open.
#[cfg(unix)]
fn has_name(file: &File) -> bool {
    file.metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::nlink(&found) > 0)
}

/// Files that are open cannot be removed.
#[cfg(not(unix))]
fn has_name(_: &File) -> bool {
    true
}

/// Options under which files are created for their owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The parent of a bare file name is the empty path, which no system call takes.
fn here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn append_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        write_pieces(&mut self.0, pieces)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn map(&self) -> io::Result<Mapped> {
        Mapped::from_file(&self.0)
    }
}

/// Zeros written ahead at a time, at most; as much as the file has, at least a page.
static AHEAD: [u8; 256 << 10] = [0; 256 << 10];
/// Appends of more bytes are not made cheaper by it.
const SMALL: u64 = 64 << 10;
const PAGE: u64 = 4096;

/// A log: what was appended, then zeros up to `filled` or nothing.
#[derive(Debug)]
struct OsLog {
    file: File,
    len: u64,
    filled: u64,
}

impl DiskFile for OsLog {
    fn has_name(&self) -> bool {
        has_name(&self.file)
    }

    fn append_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let end = self.len + bytes;
        write_pieces(&mut self.file, pieces)?;
        self.len = end;
        // The first append is the header, which is whole or at the end of its file.
        if end > self.filled && bytes <= SMALL && end > bytes {
            let ahead = end.max(PAGE).next_multiple_of(PAGE);
            let zeros = &AHEAD[..usize::try_from(ahead).unwrap_or(usize::MAX).min(AHEAD.len())];
            let filled = self.file.write_all(zeros).or_else(without_room);
            self.filled = end + zeros.len() as u64;
            self.file.seek(SeekFrom::Start(end))?;
            filled?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn map(&self) -> io::Result<Mapped> {
        Mapped::from_file(&self.file)
    }
}

/// What it means that zeros could not be written: without room for them the file grows as others do, any
/// other failure is one of the disk.
fn without_room(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Ok(())
        }
        _ => Err(error),
    }
}

fn write_pieces(file: &mut File, pieces: &[&[u8]]) -> io::Result<()> {
    let filled = pieces.iter().filter(|piece| !piece.is_empty());
    let mut slices: Vec<IoSlice<'_>> = filled.map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        // Some systems take no more than 2 GiB at once.
        let mut bytes = 0;
        let many = left.iter().take_while(|slice| {
            bytes += slice.len();
            bytes <= 1 << 30
        });
        let many = many.count().max(1);
        match file.write_vectored(&left[..many]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_read_and_mapped_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = OsDisk.create(&path).unwrap();
        file.append(b"hello ").unwrap();
        file.append_pieces(&[b"", b"wor", b"", b"ld"]).unwrap();
        assert_eq!(file.map().unwrap().as_slice(), b"hello world");
        file.sync().unwrap();
        OsDisk.sync_dir(dir.path()).unwrap();
        assert_eq!(OsDisk.map(&path).unwrap().as_slice(), b"hello world");
        assert_eq!(OsDisk.read(&path, 6).unwrap(), b"world");
        assert_eq!(OsDisk.read_range(&path, 6, 3).unwrap(), b"wor");
        assert!(OsDisk.read(&path, 600).unwrap().is_empty());
        assert!(OsDisk.read(&path, u64::MAX).unwrap().is_empty());
        assert_eq!(OsDisk.read(&path, 0).unwrap(), b"hello world");
        let taken = OsDisk.create(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_log_reads_as_what_was_appended_and_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = OsDisk.create_log(&path).unwrap();
        let mut expected = Vec::new();
        for (number, len) in [88, 1_000, 5_000, 0, 70_000, 3, 200_000, 100].into_iter().enumerate()
        {
            let bytes = vec![number.to_le_bytes()[0] + 1; len];
            log.append(&bytes).unwrap();
            log.sync().unwrap();
            expected.extend(bytes);
            let found = OsDisk.read(&path, 0).unwrap();
            let (found, zeros) = found.split_at(expected.len());
            assert!(found == expected && zeros.iter().all(|byte| *byte == 0));
            assert_eq!(zeros.is_empty(), number == 0 || len > 64 << 10, "append {number}");
        }
    }

    #[test]
    fn zeros_that_find_no_room_are_no_failure_and_a_disk_that_fails_is_one() {
        assert!(without_room(io::ErrorKind::StorageFull.into()).is_ok());
        assert!(without_room(io::ErrorKind::QuotaExceeded.into()).is_ok());
        assert!(without_room(io::Error::other("EIO")).is_err());
    }

    #[test]
    fn names_are_listed_in_order_renamed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        OsDisk.create(&at("b")).unwrap().append(b"12").unwrap();
        OsDisk.create_dir(&at("a")).unwrap();
        let names = OsDisk.list(dir.path()).unwrap();
        assert_eq!(names.len(), 2);
        assert!(names[0].name == "a" && names[0].is_dir);
        assert_eq!(names[1], DirEntry { name: "b".into(), is_dir: false, len: 2 });
        drop(OsDisk.create(&at("c")).unwrap());
        OsDisk.rename(&at("b"), &at("c")).unwrap();
        assert_eq!(OsDisk.read(&at("c"), 0).unwrap(), b"12");
        OsDisk.remove_file(&at("c")).unwrap();
        OsDisk.remove_dir(&at("a")).unwrap();
        assert!(OsDisk.list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn the_second_to_lock_gets_nothing_and_reads_the_note_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = OsDisk.lock(&path, "first, a long note").unwrap().unwrap();
        assert!(OsDisk.is_locked(&path).unwrap());
        assert!(OsDisk.lock(&path, "second").unwrap().is_none());
        assert_eq!(OsDisk.read(&path, 0).unwrap(), b"first, a long note");
        drop(held);
        assert!(!OsDisk.is_locked(&path).unwrap());
        assert!(OsDisk.lock(&path, "third").unwrap().is_some());
        assert_eq!(OsDisk.read(&path, 0).unwrap(), b"third");
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_private_to_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode =
            |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        OsDisk.create_dir(&dir.path().join("d")).unwrap();
        OsDisk.create(&dir.path().join("f")).unwrap();
        OsDisk.lock(&dir.path().join("LOCK"), "").unwrap();
        assert_eq!((mode("d"), mode("f"), mode("LOCK")), (0o700, 0o600, 0o600));
    }
}
