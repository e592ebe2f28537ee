//! How a command ends when it does not succeed: the message on standard error and the exit code.

use std::io::{self, Write};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library refused or failed.
    Engine(nearfield::Error),
    /// This command line refused or failed; the message says what to do.
    Refused(String),
    /// Arguments that cannot be meant.
    Usage(String),
    /// Damage that has been printed already.
    Damaged,
    /// Ctrl-C.
    Interrupted,
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Prints the message and returns the exit code.
    pub(crate) fn report(self) -> u8 {
        let (code, message) = match self {
            Self::Engine(error) => (1, format!("error: {}", in_commands(&error.to_string()))),
            Self::Refused(message) => (1, format!("error: {message}")),
            Self::Usage(message) => (2, format!("error: {message}")),
            Self::Damaged => return 3,
            Self::Interrupted => (130, "interrupted".to_owned()),
            // Whoever reads has seen enough, as in `nearfield list db docs | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return 0;
            }
            Self::Output(error) => (1, format!("error: cannot write the answer: {error}")),
        };
        // Nothing can be done about a closed standard error.
        let _ = writeln!(io::stderr().lock(), "{message}");
        code
    }
}

/// A message of the library, with the command in place of the function that it says to call.
fn in_commands(message: &str) -> String {
    let command = "`nearfield text-index`";
    message
        .replace("or call add_text_index", &format!("or call {command}"))
        .replace("; add_text_index ", &format!("; {command} "))
}

impl From<nearfield::Error> for Failure {
    fn from(error: nearfield::Error) -> Self {
        match error {
            nearfield::Error::Cancelled => Self::Interrupted,
            error => Self::Engine(error),
        }
    }
}
