//! Defects put into the engine, one at a time: each is found by the model that is there for it, by one of the schedulers
//! at least.

use std::io::ErrorKind;
use std::panic::catch_unwind;

use nearfield::testing::{Bug, seed};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{FailurePersistence, Runner};

use crate::store::Width::{Narrow, Wide};
use crate::{DEPTH, config, snapshots, writers};

/// Schedules within which a defect is to be found.
const SCHEDULES: usize = 2_000;

/// How many schedules a scheduler takes to find the defect.
fn found(scheduler: impl shuttle::scheduler::Scheduler + 'static, model: fn()) -> Option<usize> {
    let tried = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = tried.clone();
    let mut config = config();
    config.failure_persistence = FailurePersistence::None;
    let runner = std::panic::AssertUnwindSafe(Runner::new(scheduler, config));
    let outcome = catch_unwind(move || {
        let runner = runner;
        runner.0.run(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model();
        })
    });
    outcome.is_err().then(|| tried.load(std::sync::atomic::Ordering::Relaxed))
}

fn find(bug: Bug, model: fn()) {
    seed(Some(bug));
    let random = found(RandomScheduler::new_from_seed(1, SCHEDULES), model);
    let priorities = found(PctScheduler::new_from_seed(1, DEPTH, SCHEDULES), model);
    seed(None);
    eprintln!("{bug:?}: found after {random:?} random schedules, {priorities:?} by priority");
    assert!(random.or(priorities).is_some(), "{bug:?} is not found");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident, $model:expr;)*) => {
        $(#[test] fn $name() { find(Bug::$bug, || $model); })*
    };
}

bugs! {
    a_write_acknowledged_before_its_sync_is_found:
        SyncIsSkipped, writers::written_while_the_power_is_cut(Narrow, false);
    rows_seen_before_they_are_logged_are_found:
        SeenBeforeLogged, writers::one_operation_fails(ErrorKind::Other);
    a_queue_that_wakes_nobody_is_found:
        QueueSleeps, writers::written_while_the_power_is_cut(Narrow, false);
    a_forgotten_failure_is_found:
        PoisonIsForgotten, writers::one_operation_fails(ErrorKind::Other);
    a_flush_that_loses_what_was_written_meanwhile_is_found:
        FlushIsStale, snapshots::searched_while_written(Narrow, false);
    rows_that_come_back_are_found:
        DeletesAreLeft, snapshots::searched_while_written(Narrow, false);
    updates_that_are_lost_are_found:
        UpdatesAreLeft, snapshots::updated_while_merged(Narrow);
    files_that_go_too_early_are_found:
        FilesGoEarly, snapshots::searched_while_written(Narrow, false);
    a_reader_that_is_ahead_is_found:
        ReaderIsAhead, snapshots::read_while_written(Narrow, false);
    closing_that_wakes_nobody_is_found:
        ClosingWakesNobody, writers::closed_meanwhile(Narrow, true);
    a_writer_that_sleeps_through_room_is_found:
        RoomIsMissed, writers::written_while_the_power_is_cut(Wide, true);
    a_writer_that_does_not_rest_while_the_collection_is_closed_is_found:
        ClosingSpins, writers::closed_meanwhile(Wide, true);
}
