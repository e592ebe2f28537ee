//! What a check of a whole file finds: everything, not the first thing alone.

use super::{Container, Tag, Watch};
use crate::error::{Error, Result};

/// Sections that do not match their checksums, and to whom everything that is wrong is told.
pub(crate) struct Findings<'a> {
    damaged: Vec<Tag>,
    found: &'a mut dyn FnMut(Error),
}

impl<'a> Findings<'a> {
    /// Reads all of `container`; fails when `watch` does.
    pub(crate) fn of(
        container: &Container,
        watch: &mut Watch<'_>,
        found: &'a mut dyn FnMut(Error),
    ) -> Result<Self> {
        let mut findings = Self { damaged: Vec::new(), found };
        let read = container.verify_each(watch, &mut |tag, error| {
            findings.damaged.push(tag);
            (findings.found)(error);
            Ok(())
        });
        findings.note(read)?;
        Ok(findings)
    }

    /// Tells what is wrong; fails when the check was stopped.
    pub(crate) fn note(&mut self, checked: Result<()>) -> Result<()> {
        match checked {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                (self.found)(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether all of these match their checksums. Nothing is compared with what does not.
    pub(crate) fn whole(&self, tags: &[Tag]) -> bool {
        !tags.iter().any(|tag| self.damaged.contains(tag))
    }
}
