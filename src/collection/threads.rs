//! Background work: one thread that turns full memtables into segments, one that merges segments,
//! and how writers wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Core, compact, flush};
use crate::error::{Error, Result, panic_message};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Bug, Condvar, Mutex, MutexGuard, has_passed, is_seeded, wait_while};

/// Full memtables waiting for the disk before writers wait too.
const MAX_FROZEN: usize = 2;
/// Segments without a graph before writers wait for compaction.
const MAX_FLAT_SEGMENTS: usize = 64;
/// How long after the last write segments may be merged that are not yet due.
const IDLE: Duration = Duration::from_secs(2);
/// How often a writer that waits for room looks up, should nobody wake it. Where schedules are tried, somebody must.
const PAUSE: Duration = if cfg!(shuttle) { NAP } else { Duration::from_millis(500) };
/// Pause after a failure of background work; the next is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long a background thread sleeps that has nothing to do.
const NAP: Duration = Duration::from_secs(3_600);

/// Wakes background threads and writers waiting for them.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// How often something has changed that a writer may wait for.
    changes: u64,
    /// Why the last background flush failed, until one succeeds.
    flush_failure: Option<String>,
    /// Why the last merge failed, until one succeeds: then nobody waits for the next.
    merge_failure: Option<String>,
    last_write: Option<Instant>,
    /// A memtable was frozen since the flushing thread last looked.
    flush_due: bool,
    /// Segments changed since the merging thread last looked.
    merge_due: bool,
    /// The merging thread has done all there was to do when nobody wrote, and the next write must
    /// wake it.
    dozing: bool,
}

impl Signals {
    /// Rows were written; `frozen` says whether a memtable waits for its flush. Wakes no thread
    /// that would find nothing to do: that would cost more than a small write.
    pub(crate) fn wrote(&self, frozen: bool) {
        let mut state = self.lock();
        state.last_write = Some(Instant::now());
        let wake = (frozen && !state.flush_due) || state.dozing;
        state.flush_due |= frozen;
        state.merge_due |= std::mem::take(&mut state.dozing);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// There is something to do beside flushing and merging.
    pub(crate) fn nudge(&self) {
        // Taken and left, so that nobody misses it between looking and falling asleep.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Segments were added or replaced.
    pub(crate) fn rebuilt(&self) {
        self.change(|state| {
            state.last_write = Some(Instant::now());
            state.merge_due = true;
        });
    }

    /// Changes what a writer may wait for.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.changes += 1;
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `due`, stopped or `limit` has passed; false when stopped.
    fn wait(&self, limit: Duration, mut due: impl FnMut(&mut State) -> bool) -> bool {
        let waits = |state: &mut State| !state.stop && !due(state);
        let state = wait_while(&self.changed, &self.state, limit, waits);
        !state.stop
    }

    /// Why background work does not get on, if it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        let state = self.lock();
        state.flush_failure.clone().or_else(|| state.merge_failure.clone())
    }

    /// Waits for more than `seen` changes, or a while; false when stopped.
    fn pause(&self, seen: u64) -> bool {
        self.wait(PAUSE, |state| state.changes != seen)
    }

    /// Whether nobody has written for a while; then the next write wakes the merging thread.
    fn doze(&self) -> bool {
        let mut state = self.lock();
        state.dozing = state.last_write.is_none_or(|last| has_passed(last, IDLE));
        state.dozing
    }
}

impl Core {
    /// Waits while the memtables or segments that background work has yet to deal with are too
    /// many.
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        if self.has_room() {
            return Ok(());
        }
        loop {
            // Before the look, so that what changes after it ends the pause at once.
            let mut seen = self.signals.lock().changes;
            if self.has_room() {
                return Ok(());
            }
            self.check()?;
            let state = self.signals.lock();
            let stuck = state.flush_failure.is_some();
            if is_seeded(Bug::RoomIsMissed) {
                seen = state.changes;
            }
            drop(state);
            if stuck || !self.host.settings.background {
                // The caller gets the reason itself, and a disk with space again heals here.
                turn(|| flush::flush_frozen(self))?;
                self.signals.lock().flush_failure = None;
            } else {
                // A flush that failed elsewhere has left its memtable to the thread.
                self.signals.nudge();
                if !self.signals.pause(seen) && !is_seeded(Bug::ClosingSpins) {
                    // Nobody makes room any more; the queue tells how closing ended.
                    return Ok(());
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        let view = self.slot.load();
        let flat = view.segments.iter().filter(|part| !part.part.has_graph()).count();
        let settings = &self.host.settings;
        let merging = settings.compaction
            && settings.background
            && flat > MAX_FLAT_SEGMENTS
            && compact::is_due(&view, settings)
            && self.signals.lock().merge_failure.is_none();
        view.frozen.len() <= MAX_FROZEN && !merging
    }
}

/// Owns the threads of an open collection; the last handle to go stops them.
#[derive(Debug)]
pub(crate) struct Keeper {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Keeper {
    pub(crate) fn start(core: Arc<Core>) -> Result<Self> {
        let mut threads = Vec::new();
        let settings = &core.host.settings;
        if !core.host.read_only && settings.background {
            threads.push(spawn("nearfield-flush", core.clone(), flush_loop)?);
            if settings.compaction {
                threads.push(spawn("nearfield-compact", core.clone(), compact_loop)?);
            }
        }
        Ok(Self { core, threads: Mutex::new(threads) })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Stops background work; with `keep`, what is in memory is made durable first.
    pub(crate) fn stop(&self, keep: bool) -> Result<()> {
        if !self.core.host.is_own_process() {
            // The threads and locks belong to the parent of this fork.
            return Ok(());
        }
        self.core.cancel.store(true, Ordering::Release);
        self.core.signals.lock().stop = true;
        if !is_seeded(Bug::ClosingWakesNobody) {
            self.core.signals.changed.notify_all();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                // It has said so on its way.
            }
        }
        if keep && !self.core.host.read_only { flush::on_close(&self.core) } else { Ok(()) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.core.is_shut() && self.stop(true).is_err() {
            // Nobody is left to tell; the log holds what was acknowledged.
        }
    }
}

fn spawn(name: &str, core: Arc<Core>, run: fn(&Core)) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.into())
        .spawn(move || run(&core))
        .map_err(|error| Error::invalid(format!("a thread cannot be started: {error}")))
}

/// Runs a turn of background work. A panic in it is a failure like any other: if it ended the thread, writers
/// would wait for it for ever.
fn turn<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = panic_message(&*payload);
        Err(Error::invalid(format!(
            "a panic: {message}; this is a defect of nearfield, please report it"
        )))
    })
}

fn flush_loop(core: &Core) {
    let mut pauses = Pauses::default();
    loop {
        core.spare.refill();
        if core.slot.load().frozen.is_empty() {
            let due = |state: &mut State| {
                std::mem::take(&mut state.flush_due)
                    | core.spare.is_wanted()
                    | !core.slot.load().frozen.is_empty()
            };
            if !core.signals.wait(NAP, due) {
                return;
            }
            continue;
        }
        let failure = turn(|| flush::flush_frozen(core)).err().map(|error| error.to_string());
        let pause = pauses.after(failure.is_some());
        core.signals.change(|state| state.flush_failure = failure);
        // A writer that waits for room tries by itself meanwhile.
        if !core.signals.wait(pause, |_| false) {
            return;
        }
    }
}

fn compact_loop(core: &Core) {
    let mut pauses = Pauses::default();
    loop {
        let idle = core.signals.doze();
        let merged = turn(|| {
            if idle {
                flush::flush_idle(core)?;
            }
            compact::step(core, idle)
        });
        let pause = pauses.after(merged.is_err());
        let failure = merged.as_ref().err().map(ToString::to_string);
        core.signals.change(|state| state.merge_failure = failure);
        let limit = match merged {
            Ok(true) => continue,
            Ok(false) if idle => NAP,
            Ok(false) => IDLE,
            // Whatever is due meanwhile would most likely fail as well.
            Err(_) if core.signals.wait(pause, |_| false) => continue,
            Err(_) => return,
        };
        if !core.signals.wait(limit, |state| std::mem::take(&mut state.merge_due)) {
            return;
        }
    }
}

/// Ever longer pauses between failures.
#[derive(Debug, Default)]
struct Pauses {
    failures: u32,
}

impl Pauses {
    /// How long to wait now that work was done, or `failed` once more.
    fn after(&mut self, failed: bool) -> Duration {
        if !failed {
            self.failures = 0;
            return Duration::ZERO;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        pause.min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_failures_grow_to_minutes_and_end_with_success() {
        let mut pauses = Pauses::default();
        let waited: Vec<Duration> = (0..30).map(|_| pauses.after(true)).collect();
        assert!(waited.is_sorted() && waited[1] == 2 * waited[0]);
        assert_eq!((waited[0], waited[29]), (FIRST_PAUSE, LONGEST_PAUSE));
        assert_eq!(pauses.after(false), Duration::ZERO);
        assert_eq!(pauses.after(true), FIRST_PAUSE);
    }
}
