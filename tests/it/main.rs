//! The integration tests, one binary: each module is one subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lints spare test functions, not the helpers of a test crate"
)]

mod bad_input;
mod common;
mod crash;
mod damage;
mod lifecycle;
mod model;
mod oracle;
mod processes;
mod tidy;
