//! Where answers go: standard output, as text for people or as one JSON document.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::failure::Failure;

/// The form of answer that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answer is to be one JSON document.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// Prints an answer: `document` as JSON, or what `people` writes.
    pub(crate) fn answer(
        &self,
        document: &impl Serialize,
        people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = if self.json {
            serde_json::to_writer_pretty(&mut out, document)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
        } else {
            people(&mut out)
        };
        written.and_then(|()| out.flush()).map_err(Failure::Output)
    }

    /// Prints one line of an answer that grows; nothing when JSON is wanted.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{text}").map_err(Failure::Output)
    }
}

/// Prints a remark on standard error, which may be closed.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
