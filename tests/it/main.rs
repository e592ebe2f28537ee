//! The integration tests, one binary: each module is one subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::manual_is_multiple_of,
    unreachable_pub,
    reason = "the lints spare test functions, not the helpers of a test crate, whose numbers are small"
)]

mod bad_input;
mod bare;
mod batch;
#[cfg(feature = "text")]
mod batch_lists;
#[cfg(feature = "cli")]
mod cli;
mod codes;
mod common;
mod contract;
mod crash;
mod damage;
mod derived;
mod doctor;
mod explain;
mod faults;
mod filters;
mod forget;
mod formats;
#[cfg(feature = "text")]
mod hybrid;
mod indexes;
mod lifecycle;
mod lists;
mod model;
mod oracle;
mod pack;
mod peers;
mod picks;
mod planner;
mod processes;
mod rag;
mod raw;
mod recall;
mod repair;
mod sections;
mod seen;
mod serving;
mod soak;
#[cfg(feature = "tracing")]
mod spans;
mod sparse;
mod texts;
mod tidy;
mod vector_types;
mod window;
#[cfg(feature = "text")]
mod words;
