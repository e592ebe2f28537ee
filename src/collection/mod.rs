//! The only place with locks, threads and policy.

pub mod import;
