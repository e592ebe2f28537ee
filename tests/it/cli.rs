//! The built command line, run as a person runs it: real small files in, answers and exit codes
//! out.

#![expect(clippy::disallowed_methods, reason = "input files, not files of a database")]

mod bench;
mod good;
mod pages;
mod refused;
mod shells;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A temporary directory with a command line that runs in it.
struct Shell {
    dir: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Shell {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// One with four rows of string ids in the collection `docs` of the database `db`.
    fn with_docs() -> Self {
        let shell = Self::new();
        shell.write("docs.jsonl", DOCS);
        shell.ok(&["import", "db", "docs", "docs.jsonl", "--metric", "l2"]);
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearfield"));
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command.env("TMPDIR", self.dir.path());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs what must succeed.
    fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    }

    /// Runs what must succeed and answer with one JSON document.
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Runs what must fail with an error that mentions `word`.
    fn fails(&self, args: &[&str], code: i32, word: &str) {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("error: "), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(word), "{args:?} does not mention {word:?}: {ran:?}");
        assert!(ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
}

impl Ran {
    /// Whatever happens, a panic is never the answer.
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout, stderr }
    }
}

/// Four rows on a line.
const DOCS: &str = r#"{"id": "a", "vector": [0, 0], "name": "origin", "year": 1990}
{"id": "b", "vector": [1, 0], "name": "one", "year": 1991, "tags": ["x", "y"]}
{"id": "c", "vector": [2, 0], "name": "two"}
{"id": "d", "vector": [3, 0], "name": "three", "seen": "2024-02-29T12:00:00Z"}
"#;

/// A file of the data set that ships with the source.
fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    path.to_str().unwrap().to_owned()
}

/// A numpy array of 32-bit floats.
fn npy(rows: &[&[f32]]) -> Vec<u8> {
    let mut bytes = npy_header(rows.len(), rows.first().map_or(0, |row| row.len()));
    bytes.extend(rows.concat().iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// What stands before the numbers of a numpy array.
fn npy_header(rows: usize, dimension: usize) -> Vec<u8> {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}");
    let padded = (header.len() + 11).next_multiple_of(64) - 11;
    let length = u16::try_from(padded + 1).unwrap();
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(format!("{header:padded$}\n").bytes());
    bytes
}

/// Vectors of 32-bit floats, each behind its length.
fn fvecs(rows: &[&[f32]]) -> Vec<u8> {
    let row = |row: &&[f32]| {
        let length = i32::try_from(row.len()).unwrap().to_le_bytes();
        let values = row.iter().flat_map(|value| value.to_le_bytes());
        length.into_iter().chain(values).collect::<Vec<u8>>()
    };
    rows.iter().flat_map(row).collect()
}

/// The ids of the hits of one answer.
fn hit_ids(query: &Value) -> Vec<&Value> {
    query["hits"].as_array().unwrap().iter().map(|hit| &hit["id"]).collect()
}
