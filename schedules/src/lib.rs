//! The engine under many schedules of its threads: the crate `shuttle` runs one thread at a time and decides at each
//! lock, atomic number and operation of the disk which one goes on, at random or by priorities that change at a few
//! random moments (PCT, which finds what needs few changes). What is checked is said by each module; that
//! nobody waits for ever is checked by the scheduler.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --release -p nearfield-schedules
//! ```
//!
//! Without that flag there is nothing here. `NEARFIELD_SCHEDULES=n` tries n schedules of each model by each scheduler,
//! `NEARFIELD_SCHEDULES_SEED=n` others. A failure tells its schedule, which `NEARFIELD_SCHEDULE=…` repeats with the same test.
//! `bugs` breaks the engine in one place after another and sees each found.

#![cfg(all(test, shuttle))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    unreachable_pub,
    reason = "the lints spare test functions, not the helpers of a test crate, whose numbers are small"
)]

mod bugs;
mod snapshots;
mod store;
mod writers;

use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Changes of priority, and one more, that a failure found by priorities may need.
const DEPTH: usize = 3;
/// Schedules of each model by each scheduler.
const SCHEDULES: usize = 400;
/// Bytes of a thread's stack.
const STACK_BYTES: usize = 1 << 20;
/// More steps are taken for threads that go on without an end.
const STEPS: usize = 200_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")))
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    config
}

/// Runs `model` under many schedules.
pub(crate) fn explore(name: &str, model: fn()) {
    if let Ok(schedule) = std::env::var("NEARFIELD_SCHEDULE") {
        let scheduler = shuttle::scheduler::ReplayScheduler::new_from_encoded(&schedule);
        Runner::new(scheduler, config()).run(model);
        return;
    }
    let schedules = number("NEARFIELD_SCHEDULES").map_or(SCHEDULES, |given| given as usize);
    let seed = number("NEARFIELD_SCHEDULES_SEED").unwrap_or(1);
    run(name, "random", RandomScheduler::new_from_seed(seed, schedules), model);
    run(name, "by priority", PctScheduler::new_from_seed(seed, DEPTH, schedules), model);
}

fn run(name: &str, how: &str, scheduler: impl Scheduler + 'static, model: fn()) {
    let began = Instant::now();
    let schedules = Runner::new(scheduler, config()).run(model);
    let seconds = began.elapsed().as_secs_f64();
    let rate = schedules as f64 / seconds;
    eprintln!("{name}, {how}: {schedules} schedules in {seconds:.1} s, {rate:.0} a second");
}
