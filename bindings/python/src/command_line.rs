//! The command `nearfield`, which the package installs: the modules of the program in `src/bin/nearfield`, called
//! by `nearfield/_cli.py`. Nothing of it is Python's, so that it needs neither NumPy nor the interpreter lock.

#[path = "../../../src/bin/nearfield/cli.rs"]
mod cli;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

/// What a program of Rust's ends with when it panics.
const PANICKED: u8 = 101;

/// Does what the arguments say, behind the program's name; returns the exit code.
#[pyfunction]
pub(crate) fn _run_command_line(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let all = std::iter::once(OsString::from("nearfield")).chain(arguments);
    let program = cli::Program { demo: None };
    py.detach(|| catch_unwind(AssertUnwindSafe(|| cli::main(all, &program))).unwrap_or(PANICKED))
}
