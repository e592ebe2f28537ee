//! What a collection has learned from queries of its users: how much harder they are than its rows.
//!
//! Curves of segments are measured with rows in the place of queries. Questions in other words than the
//! documents, or images searched for by text, find less with the same effort. A calibration says how
//! many times less may be missed of rows, so that of such queries as much is found as is asked for. It
//! is no property of a segment: it stays when segments are merged.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::Collection;
use super::asked::Asked;
use super::measure::Trial;
use super::query::Query;
use super::snapshot::View;
use super::switch::switch;
use crate::error::{Error, Result};
use crate::segment::mean_and_error;
use crate::segment::search::WantedRecall;
use crate::types::Vectors;

/// Queries that tell enough.
const LEAST_QUERIES: usize = 50;
/// Recalls that are tried, and how many times less may be missed for each.
const ASKED: [f32; 4] = [0.8, 0.9, 0.95, 0.99];
const FACTORS: [f32; 13] = [0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 32.0];

/// What [`Collection::calibrate`] learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Queries that it learned from.
    pub queries: usize,
    /// By ascending recall.
    pub points: Vec<CalibrationPoint>,
}

/// What it takes for queries like those given to find a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationPoint {
    /// The recall that is asked for.
    pub asked: f32,
    /// How many times less may be missed of rows for it; below 1 where queries are easier than rows.
    pub factor: f32,
    /// The mean recall of the queries with it. Below what is asked for where no effort was enough.
    pub found: f64,
}

impl Calibration {
    /// How many times less may be missed of rows where `recall` is asked for.
    pub(super) fn factor(&self, recall: f32) -> f32 {
        let sane = |point: &&CalibrationPoint| {
            (0.0..1.0).contains(&point.asked) && (0.01..=100.0).contains(&point.factor)
        };
        let points = || self.points.iter().filter(sane);
        let below = points().rfind(|point| point.asked <= recall);
        let above = points().find(|point| point.asked >= recall);
        match (below, above) {
            (Some(low), Some(high)) if low.asked < high.asked => {
                let miss = |recall: f32| (1.0 - recall).ln();
                let part = (miss(low.asked) - miss(recall)) / (miss(low.asked) - miss(high.asked));
                low.factor * (high.factor / low.factor).powf(part)
            }
            (Some(point), _) | (None, Some(point)) => point.factor,
            (None, None) => 1.0,
        }
    }
}

impl Collection {
    /// Learns from `queries`, row-major, 50 at least and as users ask them, how far searches must go for the
    /// recall that is asked for. What it learns is durable, takes the place of what it learned before, and is
    /// no part of a segment, so that merges leave it. Compares every row with every query.
    ///
    /// # Errors
    /// `InvalidArgument` for too few queries, or where there are no rows; `DimensionMismatch`,
    /// `InvalidVector`; `Full`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`.
    pub fn calibrate<'a>(&self, queries: impl Into<Vectors<'a>>) -> Result<Calibration> {
        self.calibrate_until(queries, &Arc::default())
    }

    /// [`calibrate`](Self::calibrate) that ends with `Cancelled`, having changed nothing, soon after `cancel`
    /// is set.
    ///
    /// # Errors
    /// As [`calibrate`](Self::calibrate); `Cancelled`.
    pub fn calibrate_until<'a>(
        &self,
        queries: impl Into<Vectors<'a>>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Calibration> {
        self.writable()?;
        let query = Query::of(self.snapshot(), None).cancel(cancel.clone());
        let Query { snapshot, request, .. } = query;
        let snapshot = snapshot?;
        let trial = Trial::new(&snapshot, &request, Some(Asked::Vectors(queries.into())), 0)?;
        let given = trial.len();
        if given < LEAST_QUERIES {
            return Err(Error::invalid(format!(
                "{given} queries are given to calibrate with; give {LEAST_QUERIES} or more, as users ask them"
            )));
        }
        let trial = trial.compare()?;
        let mut points = Vec::new();
        for asked in ASKED {
            points.push(point(asked, |factor| {
                let recall = Some(WantedRecall { recall: asked, factor, raises: false });
                let params = request.params(&snapshot, request.k).with_recall(recall);
                let none = || Error::invalid("there are no rows to calibrate with");
                mean_and_error(&trial.shares(params)?).ok_or_else(none)
            })?);
        }
        let calibration = Calibration { queries: given, points };
        self.keep(Some(calibration.clone()))?;
        Ok(calibration)
    }

    /// What [`calibrate`](Self::calibrate) learned last; `None` where it did not.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn calibration(&self) -> Result<Option<Calibration>> {
        Ok(self.snapshot()?.view.calibration.clone())
    }

    /// Forgets what [`calibrate`](Self::calibrate) learned; whether there was anything.
    ///
    /// # Errors
    /// `Full`, `Poisoned`, `ReadOnly`, `Closed`, `Forked`.
    pub fn forget_calibration(&self) -> Result<bool> {
        self.writable()?;
        let known = self.calibration()?.is_some();
        if known {
            self.keep(None)?;
        }
        Ok(known)
    }

    fn keep(&self, calibration: Option<Calibration>) -> Result<()> {
        let core = self.writable()?;
        let _flushing = core.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = core.writer();
        let mut view = View::clone(&core.slot.load());
        view.calibration = calibration;
        let (seq, log_start) = (writer.manifest.seq, writer.manifest.log_start);
        switch(core, &mut writer, view, seq, log_start)
    }
}

/// The least factor with which `asked` is found for sure, looked for by halves.
fn point(asked: f32, found: impl Fn(f32) -> Result<(f64, f64)>) -> Result<CalibrationPoint> {
    let (mut least, mut most) = (0, FACTORS.len() - 1);
    let mut best = None;
    while least < most {
        let middle = usize::midpoint(least, most);
        let (mean, error) = found(FACTORS[middle])?;
        if mean - error >= f64::from(asked) {
            (most, best) = (middle, Some(mean));
        } else {
            least = middle + 1;
        }
    }
    let factor = FACTORS[most];
    let found = match best {
        Some(found) => found,
        None => found(factor)?.0,
    };
    Ok(CalibrationPoint { asked, factor, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_factor_that_is_enough_is_found() {
        let linear = |factor: f32| Ok((1.0 - 0.4 / f64::from(factor), 0.0));
        let found = point(0.9, linear).expect("no failure");
        assert!((found.factor - 4.0).abs() < 1e-6 && (found.found - 0.9).abs() < 1e-9);
        let never = point(0.9, |_| Ok((0.5, 0.0))).expect("no failure");
        assert!((never.factor - 32.0).abs() < 1e-6 && (never.found - 0.5).abs() < 1e-9);
        let easy = point(0.9, |_| Ok((1.0, 0.0))).expect("no failure");
        assert!((easy.factor - 0.35).abs() < 1e-6);
    }

    #[test]
    fn factors_between_points_lie_between_theirs_whatever_a_file_says() {
        let point = |asked, factor| CalibrationPoint { asked, factor, found: 0.0 };
        let points = vec![point(0.8, 1.0), point(0.9, 2.0), point(0.99, 4.0)];
        let known = Calibration { queries: 100, points };
        for (recall, factor) in [(0.5, 1.0), (0.8, 1.0), (0.9, 2.0), (0.99, 4.0), (0.999, 4.0)] {
            assert!((known.factor(recall) - factor).abs() < 1e-3, "{recall}");
        }
        assert!(known.factor(0.95) > 2.0 && known.factor(0.95) < 4.0);
        let points = vec![point(f32::NAN, 1.0), point(0.9, f32::NAN), point(2.0, 0.0)];
        assert!((Calibration { queries: 0, points }.factor(0.9) - 1.0).abs() < 1e-6);
    }
}
