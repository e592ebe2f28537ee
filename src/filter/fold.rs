//! Alternatives on one column become one look into a set. `n = 1
//! OR n = 2` is `n IN (1, 2)`, and so is the opposite of both: however many there are, each value is looked
//! up once.

use std::collections::BTreeMap;

use super::bind::Bound;
use super::check::{Check, KeySet, TextSet, float_bits};
use super::failure::Failure;
use super::rule::Rule;
use crate::error::Result;

/// What the values of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Keys,
    Floats,
    Texts,
    Elements,
}

impl Form {
    /// Of a check that asks whether a value is one of some.
    fn of(check: &Check) -> Option<Self> {
        match check {
            Check::Bool(_) | Check::KeyIn(_) => Some(Self::Keys),
            // Equal to one value, or to none.
            Check::Keys { low, high } if low >= high => Some(Self::Keys),
            Check::Floats { low, high } if low >= high => Some(Self::Floats),
            Check::FloatIn(_) => Some(Self::Floats),
            Check::TextIn(_) => Some(Self::Texts),
            Check::HasAny(_) => Some(Self::Elements),
            _ => None,
        }
    }

    /// Whether a value is one of those of any of `checks`, all of this form.
    fn union(self, mut checks: Vec<Check>) -> Option<Check> {
        if checks.len() == 1 {
            return checks.pop();
        }
        let (mut keys, mut texts) = (Vec::new(), Vec::new());
        for check in checks {
            match check {
                Check::Bool(value) => keys.push(value.into()),
                Check::Keys { low, high } => keys.extend((low == high).then_some(low)),
                Check::Floats { low, high } => {
                    keys.extend(float_bits(low).filter(|_| low == high));
                }
                Check::KeyIn(set) | Check::FloatIn(set) => keys.extend(set.all()),
                Check::TextIn(set) | Check::HasAny(set) => match set {
                    TextSet::Few(few) => texts.extend(few),
                    TextSet::Many(many) => texts.extend(many),
                },
                _ => return None,
            }
        }
        Some(match self {
            Self::Keys => Check::KeyIn(KeySet::new(keys)),
            Self::Floats => Check::FloatIn(KeySet::new(keys)),
            Self::Texts => Check::TextIn(TextSet::new(texts)),
            Self::Elements => Check::HasAny(TextSet::new(texts)),
        })
    }
}

/// Rules of which all or any have to hold: the same in fewer, where some are alternatives.
pub(super) fn fold(rules: Vec<Rule>, all: bool) -> Vec<Rule> {
    let mut sets: BTreeMap<(usize, Form), Vec<Check>> = BTreeMap::new();
    let mut left = Vec::new();
    for rule in rules {
        match rule {
            // Any that is wanted, or all that are not.
            Rule::Check { column, check, wanted } if wanted != all => match Form::of(&check) {
                Some(form) => sets.entry((column, form)).or_default().push(check),
                None => left.push(Rule::Check { column, check, wanted }),
            },
            rule => left.push(rule),
        }
    }
    for ((column, form), checks) in sets {
        let union = form.union(checks);
        left.extend(union.map(|check| Rule::Check { column, check, wanted: !all }));
    }
    left
}

impl Bound {
    /// How many conditions a row may have to be compared with.
    pub(crate) fn conditions(&self) -> usize {
        self.rule.conditions()
    }

    /// Refuses a filter of more than `most` conditions, for a write that others wait for.
    ///
    /// # Errors
    /// `Error::Filter`.
    pub(crate) fn refuse_longer(&self, most: usize) -> Result<()> {
        let count = self.conditions();
        if count <= most {
            return Ok(());
        }
        let failure = Failure::new(format!(
            "{count} conditions in a write, for which other writes wait; at most {most} are taken"
        ));
        Err(failure
            .hint("write values of one column as IN (…), or scan by the filter and write by ids")
            .into())
    }
}
