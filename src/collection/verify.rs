//! Reading the files of a collection again that no segment in use is made of: manifests, tombstones, logs, and
//! what is kept for the manifest before the newest.

use super::manifest::{self, Loaded};
use super::recover::{ATTEMPTS, Follower, files_of, is_outrun, list, too_short};
use super::{Core, VerifyReport, tombstones};
use crate::error::Result;
use crate::storage::container::Container;

/// Reads the manifest, the tombstones and every log file again.
pub(super) fn logs(core: &Core, report: &mut VerifyReport) {
    // A writer holds still meanwhile, so that no frame is half written when it is read.
    let writer = core.writer();
    let mut attempt = 0;
    let found = loop {
        let mut read = VerifyReport { files: 0, bytes: 0, rows: 0, problems: Vec::new() };
        match read_logs(core, writer.durable, &mut read) {
            Err(error) if core.host.read_only && attempt < ATTEMPTS && is_outrun(&error) => {
                attempt += 1;
            }
            found => break found.map(|()| read),
        }
    };
    drop(writer);
    match found {
        Ok(read) => {
            report.files += read.files;
            report.bytes += read.bytes;
            report.problems.extend(read.problems);
        }
        Err(error) => report.problems.push(error.to_string()),
    }
}

/// `known` is an operation that is known to be on disk.
fn read_logs(core: &Core, known: u64, report: &mut VerifyReport) -> Result<()> {
    let entries = list(&core.disk, &core.dir)?;
    let loaded = manifest::load(&core.disk, &core.dir, &entries)?;
    let older = loaded.older_failure.as_ref().map(ToString::to_string);
    report.problems.extend(loaded.passed_over.iter().cloned().chain(older));
    report.files += 1;
    for entry in &loaded.manifest.segments {
        if let Some(file) = &entry.tombstones {
            tombstones::verify(&core.disk, &core.dir, loaded.manifest.store, entry.id, file)?;
            report.files += 1;
            report.bytes += file.len;
        }
    }
    let mut follower = Follower::of(&loaded.manifest);
    follower.open_logs(&core.disk, &core.dir, loaded.manifest.store, &entries)?;
    let mut last = loaded.manifest.seq;
    for (_, reader) in &mut follower.logs {
        report.files += 1;
        while let Some(frame) = reader.next()? {
            report.bytes += frame.payload.len() as u64;
            if !frame.payload.is_empty() {
                last = last.max(frame.seq);
            }
        }
    }
    let known = known.max(loaded.manifest.logged);
    if last < known {
        return Err(too_short(&core.dir, &loaded.manifest, last, known));
    }
    Ok(())
}

/// Reads what is kept for the manifest before the newest alone.
pub(super) fn kept(core: &Core, report: &mut VerifyReport) {
    let mut attempt = 0;
    loop {
        let mut read = VerifyReport { files: 0, bytes: 0, rows: 0, problems: Vec::new() };
        match read_kept(core, &mut read) {
            // It goes with the next switch, which may be now.
            Err(error) if attempt < ATTEMPTS && is_outrun(&error) => attempt += 1,
            found => {
                report.files += read.files;
                report.bytes += read.bytes;
                report.problems.extend(found.err().map(|error| {
                    format!("{error}; only the manifest before the newest needs the file")
                }));
                return;
            }
        }
    }
}

fn read_kept(core: &Core, report: &mut VerifyReport) -> Result<()> {
    let entries = list(&core.disk, &core.dir)?;
    let Loaded { manifest, previous, .. } = manifest::load(&core.disk, &core.dir, &entries)?;
    let needed = files_of(&core.dir, &manifest);
    let files = previous.iter().flat_map(|previous| files_of(&core.dir, previous));
    for (path, identity, seal) in files.filter(|file| !needed.contains(file)) {
        Container::open(&core.disk, &path, identity, Some(seal))?.verify()?;
        report.files += 1;
        report.bytes += seal.len;
    }
    Ok(())
}
