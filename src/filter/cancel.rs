//! A flag by which a caller ends an evaluation: looked at for each group of rows and condition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bind::Bound;
use crate::error::{Error, Result};

/// The flag, if there is one. It is no part of what a filter means: all are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancel(Option<Arc<AtomicBool>>);

impl PartialEq for Cancel {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Cancel {
    pub(super) fn check(&self) -> Result<()> {
        match &self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}

impl Bound {
    /// The same filter, whose evaluation ends with `Cancelled` soon after `flag` is set.
    pub(crate) fn until(mut self, flag: Option<Arc<AtomicBool>>) -> Self {
        self.cancel = Cancel(flag);
        self
    }
}
