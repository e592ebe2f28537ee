//! The integration tests, one binary: each module is one subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lints spare test functions, not the helpers of a test crate"
)]

#[cfg(feature = "cli")]
mod cli;
mod common;
mod crash;
mod lifecycle;
mod model;
mod oracle;
mod tidy;
