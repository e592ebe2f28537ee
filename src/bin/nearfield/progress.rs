//! Progress on standard error, drawn only when that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A call that does not say how far it is.
#[derive(Debug)]
pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    pub(crate) fn start(what: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_style(spinner_style());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    pub(crate) fn stop(self) {}
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Rows a second, whole.
fn write_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A progress bar that cannot be drawn is no reason to fail.
    let _ = write!(out, "{:.0} rows/s", state.per_sec());
}

/// Rows that are read or written, of a number that may be known.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: ProgressBar,
}

impl Meter {
    pub(crate) fn start(what: &str, total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} rows, {rate}, {eta} left",
            None => "{spinner} {msg} {human_pos} rows, {rate}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", write_rate));
        }
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// So many rows are done.
    pub(crate) fn rows(&self, rows: u64) {
        self.bar.set_position(rows);
    }

    /// No more rows come; something else takes time now.
    pub(crate) fn turn_to(&self, what: &str) {
        self.bar.set_style(spinner_style());
        self.bar.set_message(what.to_owned());
        self.bar.enable_steady_tick(TICK);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
