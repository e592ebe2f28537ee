//! Long calls: the work runs on a thread of its own while the caller's looks after Python.
//!
//! The caller's thread calls the `progress` callable, makes what the work is fed with and, every few milliseconds, lets signals be
//! handled. When either raises, the engine is told to stop, is waited for, and the exception goes
//! on to the caller: Ctrl-C ends an import and the database is as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::errors::{self, guard, raise};

/// How long signals may wait.
const PATIENCE: Duration = Duration::from_millis(20);

/// A long call under way, as the engine's side sees it.
pub(crate) struct Task {
    /// Set when the work should end with `Cancelled`.
    pub(crate) cancel: Arc<AtomicBool>,
    news: SyncSender<News>,
    answers: Mutex<Receiver<bool>>,
    wanted: bool,
}

/// Makes the next thing that the work is fed with; false when there is no more.
pub(crate) type Feed<'a> = &'a mut (dyn FnMut(Python<'_>) -> PyResult<bool> + Send);

enum News {
    /// The next thing is wanted.
    Feed,
    /// What is being done, rows so far, rows in all.
    Progress(&'static str, u64, Option<u64>),
    Done,
}

impl Task {
    /// Tells the `progress` callable and waits until it has returned; false when the work should end.
    pub(crate) fn tell(&self, phase: &'static str, rows: u64, total: Option<u64>) -> bool {
        if self.is_cancelled() {
            return false;
        }
        if !self.wanted {
            return true;
        }
        self.ask(News::Progress(phase, rows, total))
    }

    /// Has the caller's thread make the next thing, and waits for it; false when there is none, or when
    /// the work should end.
    pub(crate) fn feed(&self) -> bool {
        !self.is_cancelled() && self.ask(News::Feed)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn ask(&self, news: News) -> bool {
        let sent = self.news.send(news);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        sent.is_ok() && answers.recv().unwrap_or(false)
    }
}

impl Task {
    /// Runs `work`, which tells bytes done and bytes in all, and asks whether to go on.
    pub(crate) fn watched<T>(
        &self,
        phase: &'static str,
        work: impl FnOnce(&mut dyn FnMut(u64, u64) -> bool) -> nearfield::Result<T>,
    ) -> nearfield::Result<T> {
        let (mut all, mut told) = (0, None);
        let done = work(&mut |bytes, total| {
            all = total;
            if self.is_cancelled() {
                return false;
            }
            // Not more often than anybody looks.
            if told.is_some_and(|told: Instant| told.elapsed() < PATIENCE) {
                return true;
            }
            told = Some(Instant::now());
            self.tell(phase, bytes, Some(total))
        })?;
        let total = all;
        self.tell("done", total, Some(total));
        Ok(done)
    }
}

/// Runs `work` without the interpreter lock, to be ended by signals and by `progress`.
pub(crate) fn long<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&Task) -> nearfield::Result<T> + Send,
) -> PyResult<T> {
    fed(py, progress, &mut |_py| Ok(false), work)
}

/// As `long`, with work that is fed by the caller's thread: what Python makes there may be bound to it.
pub(crate) fn fed<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    feed: Feed<'_>,
    work: impl FnOnce(&Task) -> nearfield::Result<T> + Send,
) -> PyResult<T> {
    let cancel = Arc::new(AtomicBool::new(false));
    let (news, told) = sync_channel(0);
    let (answer, answers) = sync_channel(1);
    let done = news.clone();
    let (cancelled, wanted) = (Arc::clone(&cancel), progress.is_some());
    let task = Task { cancel: cancelled, news, answers: Mutex::new(answers), wanted };
    let (joined, failure) = py.detach(move || {
        std::thread::scope(|scope| {
            let mut failure = None;
            let worker = scope.spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| work(&task)));
                drop(task);
                // The other side waits for this one.
                let _ = done.send(News::Done);
                result
            });
            loop {
                let (step, asked) = match told.recv_timeout(PATIENCE) {
                    Ok(News::Progress(phase, rows, total)) => {
                        let step = Python::attach(|py| {
                            py.check_signals()?;
                            call(py, progress.as_ref(), phase, rows, total)
                        });
                        (step.map(|()| true), true)
                    }
                    Ok(News::Feed) => {
                        let step = Python::attach(|py| {
                            py.check_signals()?;
                            feed(py)
                        });
                        (step, true)
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        (Python::attach(|py| py.check_signals()).map(|()| true), false)
                    }
                    Ok(News::Done) | Err(RecvTimeoutError::Disconnected) => break,
                };
                let more = step.unwrap_or_else(|error| {
                    cancel.store(true, Ordering::Relaxed);
                    // The first one counts.
                    failure.get_or_insert(error);
                    false
                });
                if asked {
                    // One that is gone needs no answer.
                    let _ = answer.send(more && failure.is_none());
                }
            }
            (worker.join().and_then(|result| result), failure)
        })
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    guard(py, || joined)?.map_err(|error| raise(py, &error))
}

fn call(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    phase: &'static str,
    rows: u64,
    total: Option<u64>,
) -> PyResult<()> {
    let Some(progress) = progress else { return Ok(()) };
    let step =
        py.import("nearfield._progress")?.getattr("Progress")?.call1((phase, rows, total))?;
    progress.call1(py, (step,)).map(|_ignored| ())
}

/// The callable that `progress=` stands for: none, a bar of our own, or the caller's.
pub(crate) fn progress_arg(value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<pyo3::types::PyBool>() {
        if !value.is_truthy()? {
            return Ok(None);
        }
        let bar = value.py().import("nearfield._progress")?.getattr("Bar")?;
        return bar.call0().map(|bar| Some(bar.unbind()));
    }
    if value.is_callable() {
        return Ok(Some(value.clone().unbind()));
    }
    Err(crate::errors::wrong_type("progress", "True or a callable", value))
}

/// How a write is run.
pub(crate) enum Run {
    /// It is over soon.
    Short,
    /// Somebody wants to hear of it, or to end it.
    Long(Option<Py<PyAny>>),
}

impl Run {
    pub(crate) fn run<T: Send>(
        self,
        py: Python<'_>,
        work: impl FnOnce(Option<&Task>) -> nearfield::Result<T> + Send,
    ) -> PyResult<T> {
        match self {
            Self::Short => errors::call(py, || work(None)),
            Self::Long(progress) => long(py, progress, |task| work(Some(task))),
        }
    }
}
