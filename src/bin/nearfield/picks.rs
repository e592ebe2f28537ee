//! How hits are picked: pages, least distances, groups, diversity; and what is shown around them.

use nearfield::Query;

use super::failure::Failure;

/// The column of positions, unless another is named.
const POSITION: &str = "position";

/// How hits are picked.
#[derive(Debug, clap::Args)]
pub(crate) struct Picks {
    /// Only hits at least this far away
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    min_distance: Option<f32>,
    /// Hits to pass over, with --group-by groups: to read page by page, from 0 on
    #[arg(long, value_name = "N")]
    offset: Option<usize>,
    /// The best hits of each value of this column; -k counts values then
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
    /// With --group-by: most hits of a value [default: 1]
    #[arg(long, value_name = "N", requires = "group_by")]
    per_group: Option<usize>,
    /// Hits that are unlike each other too: from 1, nearness alone, to 0, unlikeness alone
    #[arg(long, value_name = "LAMBDA", allow_hyphen_values = true)]
    mmr: Option<f32>,
    /// With --mmr: nearest hits to pick from [default: 4 times -k]
    #[arg(long, value_name = "N", requires = "mmr")]
    mmr_candidates: Option<usize>,
    /// Show with each hit the rows of its document at most this many positions away: what stands around it
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// With --window: column that says which document a row is of [default: that of --group-by]
    #[arg(long, value_name = "COLUMN", requires = "window")]
    document: Option<String>,
    /// With --window: column of whole numbers that numbers the rows of a document [default: position]
    #[arg(long, value_name = "COLUMN", requires = "window")]
    position: Option<String>,
}

impl Picks {
    /// Refuses a window of no document.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.window.is_some() && self.document().is_none() {
            return Err(Failure::usage(
                "--window needs --document, the column that says which document a row is of (that of \
                 --group-by if that is given)",
            ));
        }
        Ok(())
    }

    fn document(&self) -> Option<&String> {
        self.document.as_ref().or(self.group_by.as_ref())
    }

    pub(crate) fn apply<'a>(&self, mut query: Query<'a>) -> Query<'a> {
        if let Some(distance) = self.min_distance {
            query = query.min_distance(distance);
        }
        if let Some(offset) = self.offset {
            query = query.offset(offset);
        }
        if let Some(column) = &self.group_by {
            query = query.group_by(column);
        }
        if let Some(hits) = self.per_group {
            query = query.per_group(hits);
        }
        if let Some(lambda) = self.mmr {
            query = query.mmr(lambda);
        }
        if let Some(candidates) = self.mmr_candidates {
            query = query.mmr_candidates(candidates);
        }
        if let Some((chunks, document)) = self.window.zip(self.document()) {
            let position = self.position.as_deref().unwrap_or(POSITION);
            query = query.window(chunks, document, position);
        }
        query
    }
}
