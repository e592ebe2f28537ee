//! Files that are no longer needed, and when they go.
//!
//! A manifest switch drops files. They stay for one more generation, so that a damaged newest
//! manifest can be passed over without loss, and then until the last search that uses them ends.

use std::path::PathBuf;
use std::sync::Arc;

use super::Core;
use crate::segment::Segment;
use crate::segment::attributes::AttributeFile;

/// Something that the last manifest switch dropped.
#[derive(Clone, Debug)]
pub(crate) enum Retired {
    /// Goes with the last snapshot that holds it.
    Segment(Arc<Segment>),
    /// Likewise.
    Attributes(Arc<AttributeFile>),
    /// Read once at opening; nobody holds it.
    File(PathBuf),
}

impl Retired {
    /// Gives the files up. A file that cannot be removed is swept at the next opening.
    pub(crate) fn release(self, core: &Core) {
        match self {
            Self::Segment(segment) => segment.mark_obsolete(),
            Self::Attributes(attributes) => attributes.mark_obsolete(),
            Self::File(path) => {
                if core.host.disk.remove_file(&path).is_err() {
                    // Swept at the next opening.
                }
            }
        }
    }
}
