//! Locks, atomic numbers, threads and the waits of background work: those of the standard library. Built with
//! `--cfg shuttle` they are those of the crate `shuttle`, whose scheduler runs one thread at a time and decides
//! at each of them which goes on; `schedules/` tries many schedules.
//!
//! > Time does not pass there: a wait of an hour or more ends when somebody wakes the thread, any other
//! > whenever the scheduler likes, and whether something is long ago is the scheduler's choice too.
//!
//! What is never held or changed across one of these may come from `std::sync`: such a lock must not be
//! waited for there, since all threads are one.

/// A defect that the tests of schedules put in, to see that they find it. Other builds have none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "exported to the tests of schedules only")]
pub enum Bug {
    /// A write is acknowledged before its log is synced.
    SyncIsSkipped,
    /// Rows are seen before they are in the log.
    SeenBeforeLogged,
    /// Who leaves the queue of writers wakes nobody.
    QueueSleeps,
    /// Writes go on after a failed sync.
    PoisonIsForgotten,
    /// What was written during a flush is not in the state after it.
    FlushIsStale,
    /// Rows that were deleted during a flush or a merge come back.
    DeletesAreLeft,
    /// Rows that were updated during a merge, and flushed, are as before.
    UpdatesAreLeft,
    /// Files go although a snapshot reads them.
    FilesGoEarly,
    /// A reader shows what may not be on disk yet.
    ReaderIsAhead,
    /// Closing wakes no thread.
    ClosingWakesNobody,
    /// A writer that waits for room sleeps through what makes some.
    RoomIsMissed,
    /// A writer that waits for room does not rest while the collection is closed.
    ClosingSpins,
}

#[cfg(not(shuttle))]
pub(crate) use self::real::*;

#[cfg(all(shuttle, feature = "testing"))]
#[allow(unreachable_pub, reason = "exported to the tests of schedules only")]
pub use self::modelled::seed;
#[cfg(shuttle)]
pub(crate) use self::modelled::*;

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(crate) use std::thread;

    use std::sync::PoisonError;
    use std::time::{Duration, Instant};

    /// A value that is replaced whole and read without a lock.
    pub(crate) type Slot<T> = arc_swap::ArcSwap<T>;

    /// Waits while `condition` holds, for `limit` at most.
    pub(crate) fn wait_while<'a, T>(
        condvar: &Condvar,
        mutex: &'a Mutex<T>,
        limit: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = condvar.wait_timeout_while(guard, limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether the engine is to have a defect.
    pub(crate) const fn is_seeded(_: super::Bug) -> bool {
        false
    }

    /// Whether `time` has passed since `since`.
    pub(crate) fn has_passed(since: Instant, time: Duration) -> bool {
        since.elapsed() >= time
    }
}

#[cfg(shuttle)]
mod modelled {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(crate) use shuttle::thread;

    use std::cell::Cell;
    use std::sync::{Arc, PoisonError};
    use std::time::{Duration, Instant};

    use shuttle::rand::Rng;

    use super::Bug;

    std::thread_local! {
        static SEEDED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Puts a defect into the engine, for schedules that this thread of the system runs.
    #[allow(unreachable_pub, reason = "exported to the tests of schedules only")]
    pub fn seed(bug: Option<Bug>) {
        SEEDED.set(bug);
    }

    pub(crate) fn is_seeded(bug: Bug) -> bool {
        SEEDED.get() == Some(bug)
    }

    /// Waits at least this long do not end by themselves.
    const ENDLESS: Duration = Duration::from_secs(3_600);

    /// As `ArcSwap`, with a choice of the scheduler before each use.
    #[derive(Debug)]
    pub(crate) struct Slot<T>(arc_swap::ArcSwap<T>);

    impl<T: Default> Default for Slot<T> {
        fn default() -> Self {
            Self::from_pointee(T::default())
        }
    }

    impl<T> Slot<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(arc_swap::ArcSwap::from_pointee(value))
        }

        pub(crate) fn load(&self) -> arc_swap::Guard<Arc<T>> {
            choose();
            self.0.load()
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            choose();
            self.0.load_full()
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            choose();
            self.0.store(value);
        }
    }

    /// Lets the scheduler choose who goes on.
    fn choose() {
        thread::sleep(Duration::ZERO);
    }

    pub(crate) fn wait_while<'a, T>(
        condvar: &Condvar,
        mutex: &'a Mutex<T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let mut guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        if limit >= ENDLESS {
            return condvar.wait_while(guard, condition).unwrap_or_else(PoisonError::into_inner);
        }
        if condition(&mut guard) && !limit.is_zero() {
            drop(guard);
            thread::yield_now();
            guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            condition(&mut guard);
        }
        guard
    }

    pub(crate) fn has_passed(_: Instant, _: Duration) -> bool {
        shuttle::rand::thread_rng().r#gen()
    }
}
