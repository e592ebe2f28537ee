//! What a filter is made into: conditions on columns under AND and OR, two-valued.

use std::collections::HashMap;

use super::check::Check;
use super::fold::fold;

/// Which rows count. Rows that are unknown to SQL do not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    Always(bool),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// The column is null, or is not.
    Null {
        column: usize,
        wanted: bool,
    },
    /// The column is not null and the check says what is wanted.
    Check {
        column: usize,
        check: Check,
        wanted: bool,
    },
}

impl Rule {
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Always(_) | Self::Null { .. } => 0,
                Self::Check { check, .. } => check.memory_bytes(),
                Self::All(rules) | Self::Any(rules) => rules.iter().map(Self::memory_bytes).sum(),
            }
    }

    fn cost(&self) -> u32 {
        match self {
            Self::Always(_) => 0,
            Self::Null { .. } => 1,
            Self::Check { check, .. } => check.cost(),
            Self::All(rules) | Self::Any(rules) => {
                rules.iter().map(Self::cost).fold(0, u32::saturating_add)
            }
        }
    }

    /// All or any of `rules`, the cheap ones first.
    pub(super) fn of(rules: Vec<Self>, all: bool) -> Self {
        let mut rules = fold(if all { Self::narrowed(rules) } else { rules }, all);
        if rules.len() == 1
            && let Some(only) = rules.pop()
        {
            return only;
        }
        rules.sort_by_cached_key(Self::cost);
        if all { Self::All(rules) } else { Self::Any(rules) }
    }

    /// How many conditions a row may have to be compared with.
    pub(super) fn conditions(&self) -> usize {
        match self {
            Self::All(rules) | Self::Any(rules) => rules.iter().map(Self::conditions).sum(),
            _ => 1,
        }
    }

    /// Rules all of which have to hold, with one range for each column instead of several.
    fn narrowed(rules: Vec<Self>) -> Vec<Self> {
        let mut narrowed: Vec<Self> = Vec::with_capacity(rules.len());
        // Where the range of a column is.
        let mut ranges = HashMap::new();
        let flat = rules.into_iter().flat_map(|rule| match rule {
            Self::All(rules) => rules,
            rule => vec![rule],
        });
        for rule in flat {
            if let Self::Check { column, check, wanted: true } = &rule
                && check.is_range()
            {
                let known = ranges.get(column).and_then(|at: &usize| narrowed.get_mut(*at));
                if let Some(Self::Check { check: known, .. }) = known
                    && known.narrow(check)
                {
                    continue;
                }
                ranges.insert(*column, narrowed.len());
            }
            narrowed.push(rule);
        }
        narrowed
    }
}
