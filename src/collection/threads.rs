//! Background work: one thread that turns full memtables into segments, one that merges segments,
//! and how writers wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Core, compact, flush};
use crate::error::{Error, Result, panic_message};

/// Full memtables waiting for the disk before writers wait too.
const MAX_FROZEN: usize = 2;
/// Segments without a graph before writers wait for compaction.
const MAX_FLAT_SEGMENTS: usize = 64;
/// How long after the last write segments may be merged that are not yet due.
const IDLE: Duration = Duration::from_secs(2);
/// How often a waiting thread looks up.
const PAUSE: Duration = Duration::from_millis(500);
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
        let mut state = self.lock();
        state.last_write = Some(Instant::now());
        state.merge_due = true;
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `due`, stopped or `limit` has passed; false when stopped.
    fn wait(&self, limit: Duration, mut due: impl FnMut(&mut State) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !state.stop && !due(state))
            .unwrap_or_else(PoisonError::into_inner);
        !state.stop
    }

    /// Why background work does not get on, if it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        let state = self.lock();
        state.flush_failure.clone().or_else(|| state.merge_failure.clone())
    }

    /// Waits for anything to change, or a while; false when stopped.
    fn pause(&self) -> bool {
        let mut woken = false;
        // Asked once before the wait and again after each change.
        self.wait(PAUSE, |_| std::mem::replace(&mut woken, true))
    }

    /// Whether nobody has written for a while; then the next write wakes the merging thread.
    fn doze(&self) -> bool {
        let mut state = self.lock();
        state.dozing = state.last_write.is_none_or(|last| last.elapsed() >= IDLE);
        state.dozing
    }
}

impl Core {
    /// Waits while the memtables or segments that background work has yet to deal with are too
    /// many.
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        loop {
            let view = self.slot.load();
            let flat = view.segments.iter().filter(|part| !part.part.has_graph()).count();
            let settings = &self.host.settings;
            let merging = settings.compaction
                && settings.background
                && flat > MAX_FLAT_SEGMENTS
                && compact::is_due(&view, settings)
                && self.signals.lock().merge_failure.is_none();
            if view.frozen.len() <= MAX_FROZEN && !merging {
                return Ok(());
            }
            drop(view);
            self.check()?;
            let stuck = self.signals.lock().flush_failure.is_some();
            if stuck || !settings.background {
                // The caller gets the reason itself, and a disk with space again heals here.
                turn(|| flush::flush_frozen(self))?;
                self.signals.lock().flush_failure = None;
            } else {
                // A flush that failed elsewhere has left its memtable to the thread.
                self.signals.nudge();
                self.signals.pause();
            }
        }
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
        self.core.signals.changed.notify_all();
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
    std::thread::Builder::new()
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
        core.signals.lock().flush_failure = failure;
        core.signals.changed.notify_all();
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
        core.signals.lock().merge_failure = merged.as_ref().err().map(ToString::to_string);
        core.signals.changed.notify_all();
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
