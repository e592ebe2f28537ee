//! Ctrl-C: the first one asks the command to stop, the second one ends the process. The database
//! is valid after either.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::Failure;

/// Whether Ctrl-C was pressed. Made by the commands that look at it; the others end at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Begins to catch Ctrl-C. Where that fails, Ctrl-C ends the process, which is safe too.
    pub(crate) fn catch() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        let raised = flag.clone();
        let _ = ctrlc::set_handler(move || {
            if raised.swap(true, Ordering::SeqCst) {
                end();
            }
            let _ = writeln!(io::stderr().lock(), "\nstopping; press Ctrl-C again to end at once");
        });
        Self { flag }
    }

    /// The flag itself, for calls that watch it.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.flag.clone()
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn raised(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Fails once Ctrl-C was pressed.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.raised() { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

#[expect(clippy::exit, reason = "asked for twice; the main thread may be busy for long")]
fn end() {
    std::process::exit(130);
}
