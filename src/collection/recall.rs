//! Recall as a parameter of a search: what may be asked for, and what walks are told.

use super::query::{Query, Request};
use super::snapshot::View;
use crate::error::{Error, Result};
use crate::segment::search::WantedRecall;

/// What searches find of graphs that are known to find less with as many candidates as the settings say.
const USUAL_RECALL: f32 = 0.95;

impl Query<'_> {
    /// The share of the true `k` nearest rows that is to be found, on average over queries like the rows:
    /// above 0, at most 1; 1 compares with every row, as [`exact`](Self::exact) does. Walks go as far beyond
    /// what they find, in distance, as that took, with a margin, when their graph was built, corrected by what
    /// [`Collection::calibrate`](crate::Collection::calibrate) has learned; by inner product they keep as many
    /// candidates as it took. Where that is not known, they keep as many as a formula on the safe side says.
    /// Scans go by codes only where these keep that share of near rows near. Not together with
    /// [`ef`](Self::ef) or [`exact`](Self::exact), and not for sparse vectors, which are searched exactly.
    ///
    /// ```
    /// # fn main() -> nearfield::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temporary directory");
    /// # let db = nearfield::Database::open(dir.path().join("my.nf"))?;
    /// # let docs = db.collection("docs", nearfield::Schema::new(2, nearfield::Metric::L2))?;
    /// docs.upsert(&[1, 2], &[0.0_f32, 0.0, 3.0, 4.0], ())?;
    /// let hits = docs.search(&[0.0_f32, 1.0]).k(1).recall(0.99).run()?;
    /// assert_eq!(hits[0].id, 1.into());
    /// # Ok(()) }
    /// ```
    pub fn recall(mut self, recall: f32) -> Self {
        self.request.recall = Some(recall);
        self
    }
}

impl Request<'_> {
    /// Refuses a recall that has no meaning.
    pub(super) fn check_recall(&self) -> Result<()> {
        let Some(recall) = self.recall else { return Ok(()) };
        check(recall)?;
        let refused = |what| Err(Error::invalid(format!("recall {recall} {what}")));
        match self.ef {
            Some(ef) => refused(format!("and ef {ef} are given; give one of them")),
            None if self.exact => refused("and exact are given; give one of them".into()),
            None if self.is_sparse => refused(
                "is given, and sparse vectors are searched exactly; leave recall out".into(),
            ),
            None => Ok(()),
        }
    }

    /// Whether every row is to be compared.
    pub(super) fn is_exact(&self) -> bool {
        self.exact || self.recall.is_some_and(|recall| recall >= 1.0)
    }

    /// What walks are to find; `None` where it is said how far they go.
    pub(super) fn wanted_recall(&self, view: &View) -> Option<WantedRecall> {
        let raises = self.recall.is_none();
        if raises && self.ef.is_some() {
            return None;
        }
        let recall = self.recall.unwrap_or(USUAL_RECALL);
        let calibration = view.calibration.as_ref();
        let factor = calibration.map_or(1.0, |known| known.factor(recall));
        Some(WantedRecall { recall, factor, raises })
    }
}

/// Refuses what is no share of hits.
pub(super) fn check(recall: f32) -> Result<()> {
    if recall > 0.0 && recall <= 1.0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "recall is {recall}, expected a share above 0 and at most 1, as 0.95"
    )))
}
