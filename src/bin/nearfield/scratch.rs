//! A directory of this process alone, removed at its end.

#![expect(clippy::disallowed_methods, reason = "files of the user, not of a database")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::failure::Failure;

/// A fresh directory among the temporary files of the system.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("nearfield-{}-{}", std::process::id(), now.as_nanos());
        let path = std::env::temp_dir().join(name);
        // Fails if anything of that name is there, a link included.
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(refused("create", &path, &error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|error| refused("write", &path, &error))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system clears its temporary files where this fails.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn refused(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(format!(
        "cannot {action} {}: {error}; set TMPDIR to a directory that can be written to",
        path.display()
    ))
}
