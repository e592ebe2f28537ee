//! The manifest: which files make up a collection, written whole at every durable change of state.
//!
//! `MANIFEST-000042` is one line of header and one JSON document:
//!
//! ```text
//! nearfield-manifest 1 <xxh3-128 of the document, 32 hex digits> <length in bytes>\n
//! { … }\n
//! ```
//!
//! A switch writes `MANIFEST-n.tmp`, syncs it, syncs the directory (so that every file it names is
//! there), renames it and syncs the directory again. The highest number that reads whole is the
//! state; the one before it is kept with its files until the next switch, so that a damaged newest
//! manifest loses nothing (see `docs/format.md`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::calibrate::Calibration;
use super::options::Schema;
use super::segment_files::{self, MOST};
use crate::error::{Error, Result};
use crate::segment::layout::{AttributeMeta, SegmentMeta};
use crate::storage::container::Seal;
use crate::storage::disk::{DirEntry, Disk, DiskFile};
use crate::storage::seeded::{self, SeededBug};

const MAGIC: &str = "nearfield-manifest";
const VERSION: u32 = 1;
const PREFIX: &str = "MANIFEST-";
/// A segment has product codes.
pub(crate) const PRODUCT_CODES: &str = "codes-product";
/// The features that this version knows: types of vectors, what is kept of them, columns and codes
/// that the first one had not.
const FEATURES: [&str; 7] = [
    "vectors-bf16",
    "vectors-i8",
    "vectors-b1",
    "raw-f16",
    "raw-none",
    "columns-sparse",
    PRODUCT_CODES,
];

/// The durable state of a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Identity of the collection, carried by each of its files.
    #[serde(with = "hex128")]
    pub(crate) store: u128,
    /// Number of this manifest.
    pub(crate) generation: u64,
    /// Features a reader must know to read the collection; see [`FEATURES`].
    pub(crate) required_features: Vec<String>,
    pub(crate) schema: Schema,
    /// Last operation contained in the segments; the log holds those after it.
    pub(crate) seq: u64,
    /// Last operation logged when this was written. Tombstones and attribute files may show
    /// effects of operations up to here, so nobody may stop before it, and all of them were on
    /// disk.
    #[serde(default)]
    pub(crate) logged: u64,
    /// Number of the first log file that may hold later operations.
    pub(crate) log_start: u64,
    /// Every file number used so far is below this.
    pub(crate) next_file: u64,
    pub(crate) segments: Vec<SegmentEntry>,
    /// What was learned from queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
}

/// What of a document is understood by every version.
#[derive(Deserialize)]
struct Needs {
    required_features: Vec<String>,
}

/// A segment and its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub(crate) id: u64,
    pub(crate) rows: u32,
    pub(crate) file: FileMeta,
    /// Absent when no row of the segment has had a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<FileMeta>,
    /// Absent while no row is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tombstones: Option<FileMeta>,
}

/// A file that belongs to a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMeta {
    /// Its number beside that of the segment; 0 for the vector file, which has none.
    pub(crate) generation: u64,
    /// Rows it speaks of.
    pub(crate) count: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// XXH3-128 of its section table.
    #[serde(with = "hex128")]
    pub(crate) digest: u128,
}

impl FileMeta {
    pub(crate) fn new(generation: u64, count: u64, seal: Seal) -> Self {
        Self { generation, count, len: seal.len, digest: seal.digest }
    }

    pub(crate) fn seal(&self) -> Seal {
        Seal { len: self.len, digest: self.digest }
    }
}

impl SegmentEntry {
    pub(crate) fn new(meta: &SegmentMeta, tombstones: Option<FileMeta>) -> Self {
        let count = u64::from(meta.rows);
        let attributes = |meta: AttributeMeta| FileMeta::new(meta.generation, count, meta.seal);
        Self {
            id: meta.segment,
            rows: meta.rows,
            file: FileMeta::new(0, count, meta.seal),
            attributes: meta.attributes.map(attributes),
            tombstones,
        }
    }

    pub(crate) fn meta(&self) -> SegmentMeta {
        let attributes =
            |file: &FileMeta| AttributeMeta { generation: file.generation, seal: file.seal() };
        SegmentMeta {
            segment: self.id,
            rows: self.rows,
            seal: self.file.seal(),
            attributes: self.attributes.as_ref().map(attributes),
        }
    }
}

impl Manifest {
    /// Whether a reader must know `feature`.
    pub(crate) fn requires(&self, feature: &str) -> bool {
        self.required_features.iter().any(|known| known == feature)
    }

    /// The bytes of its file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut document = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::invalid(format!("manifest cannot be written: {error}")))?;
        document.push(b'\n');
        let mut bytes = header_line(xxh3_128(&document), document.len()).into_bytes();
        bytes.append(&mut document);
        Ok(bytes)
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let corrupt = |reason: &str| Error::corrupt(path, "manifest", reason);
        let end = bytes
            .iter()
            .take(128)
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| corrupt("no header line"))?;
        let header = std::str::from_utf8(&bytes[..end])
            .map_err(|error| corrupt(&format!("header is not text: {error}")))?;
        let mut words = header.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(corrupt("not a nearfield manifest"));
        }
        let version = words.next().unwrap_or_default();
        if version != VERSION.to_string() {
            return Err(Error::Incompatible {
                file: path.into(),
                reason: format!(
                    "it has manifest version {version:?}, nearfield {} reads version {VERSION}; \
                     open it with a newer nearfield",
                    env!("CARGO_PKG_VERSION"),
                ),
            });
        }
        let document = &bytes[end + 1..];
        let expected = format!("{:032x} {}", xxh3_128(document), document.len());
        if words.collect::<Vec<_>>().join(" ") != expected {
            return Err(corrupt("length or checksum does not match"));
        }
        let unparsed = |error| corrupt(&format!("document does not parse: {error}"));
        // Before the rest, which may say what this version does not understand.
        let needs: Needs = serde_json::from_slice(document).map_err(unparsed)?;
        let unknown = |feature: &&String| !FEATURES.contains(&feature.as_str());
        if let Some(feature) = needs.required_features.iter().find(unknown) {
            return Err(Error::Incompatible {
                file: path.into(),
                reason: format!("it requires feature {feature:?}; open it with a newer nearfield"),
            });
        }
        let manifest: Self = serde_json::from_slice(document).map_err(unparsed)?;
        manifest.schema.validate()?;
        let Self { generation, seq, logged, log_start, next_file, .. } = &manifest;
        if [generation, seq, logged, log_start, next_file].into_iter().any(|number| *number > MOST)
        {
            return Err(corrupt("it holds a number that leaves none for what comes after"));
        }
        Ok(manifest)
    }

    /// Writes this manifest as the newest of `dir`. When this returns, the switch is durable.
    pub(crate) fn commit(&self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), Failure> {
        let path = path(dir, self.generation);
        let temporary = path.with_extension("tmp");
        let file = disk.create(&temporary);
        let file =
            file.map_err(|error| Failure::Refused(Error::io("create", &temporary, error)))?;
        let renamed = self.write(disk, dir, &temporary, file).and_then(|()| {
            disk.rename(&temporary, &path).map_err(|error| Error::io("rename", &temporary, error))
        });
        renamed.map_err(|error| {
            if disk.remove_file(&temporary).is_err() {
                // Swept at the next opening, if it is there.
            }
            Failure::Before(error)
        })?;
        seeded::sync(SeededBug::NamesAfterManifest, || disk.sync_dir(dir))
            .map_err(|error| Failure::Unknown(Error::io("sync", dir, error)))
    }

    fn write(
        &self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        path: &Path,
        mut file: Box<dyn DiskFile>,
    ) -> Result<()> {
        let bytes = self.encode()?;
        file.append(&bytes).map_err(|error| Error::io("write", path, error))?;
        seeded::sync(SeededBug::ManifestSync, || file.sync())
            .map_err(|error| Error::io("sync", path, error))?;
        drop(file);
        seeded::sync(SeededBug::NamesBeforeManifest, || disk.sync_dir(dir))
            .map_err(|error| Error::io("sync", dir, error))
    }
}

/// The first line of a file whose document has this checksum and so many bytes.
pub(crate) fn header_line(checksum: u128, len: usize) -> String {
    format!("{MAGIC} {VERSION} {checksum:032x} {len}\n")
}

/// How the commit of a manifest failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its file could not be created: nothing has changed.
    Refused(Error),
    /// The manifest before still counts.
    Before(Error),
    /// Only reopening can tell which one counts.
    Unknown(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) | Failure::Before(error) | Failure::Unknown(error) => error,
        }
    }
}

/// Path of manifest number `generation`.
pub(crate) fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{generation:06}"))
}

/// Number of a manifest by its file name.
pub(crate) fn generation(name: &str) -> Option<u64> {
    segment_files::number(name.strip_prefix(PREFIX)?)
}

/// What [`load`] found.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// The generation before it, when it is there and reads whole.
    pub(crate) previous: Option<Manifest>,
    /// Why a newer manifest was passed over.
    pub(crate) passed_over: Option<String>,
    /// Why the one before cannot be used though it is there.
    pub(crate) older_failure: Option<Error>,
}

impl Loaded {
    /// Whether files that neither manifest names are surely nobody's: no third one may name them that was
    /// not read, now or for good.
    pub(crate) fn is_settled(&self) -> bool {
        self.passed_over.is_none() && !matches!(self.older_failure, Some(Error::Io { .. }))
    }
}

/// Loads the newest manifest of `dir` that reads whole. A newer one that the disk does not deliver is an error:
/// next time it may.
pub(crate) fn load(disk: &Arc<dyn Disk>, dir: &Path, entries: &[DirEntry]) -> Result<Loaded> {
    newest(disk, dir, entries, false)
}

/// [`load`] that passes over what the disk does not deliver.
pub(crate) fn salvage(disk: &Arc<dyn Disk>, dir: &Path, entries: &[DirEntry]) -> Result<Loaded> {
    newest(disk, dir, entries, true)
}

fn newest(disk: &Arc<dyn Disk>, dir: &Path, entries: &[DirEntry], salvage: bool) -> Result<Loaded> {
    let mut generations: Vec<u64> =
        entries.iter().filter_map(|entry| generation(&entry.name)).collect();
    generations.sort_unstable_by(|a, b| b.cmp(a));
    let mut failure: Option<Error> = None;
    let mut found: Option<Loaded> = None;
    for number in generations {
        match (read(disk, dir, number), &mut found) {
            (Err(error @ Error::Incompatible { .. }), _) => return Err(error),
            (Ok(manifest), None) => {
                let passed_over = failure.take().filter(|error| !is_gone(error));
                let passed_over = passed_over.map(|error| error.to_string());
                let (previous, older_failure) = (None, None);
                found = Some(Loaded { manifest, previous, passed_over, older_failure });
            }
            (Ok(manifest), Some(found)) => {
                found.previous = Some(manifest);
                break;
            }
            (Err(error), Some(_)) if is_gone(&error) => {}
            (Err(error), Some(found)) => {
                found.older_failure.get_or_insert(error);
            }
            (Err(error @ Error::Io { .. }), None) if !salvage && !is_gone(&error) => {
                return Err(error);
            }
            (Err(error), None) => {
                failure.get_or_insert(error);
            }
        }
    }
    found.ok_or_else(|| failure.unwrap_or_else(|| missing(dir)))
}

/// Whether the writer has removed it since the directory was listed.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn read(disk: &Arc<dyn Disk>, dir: &Path, number: u64) -> Result<Manifest> {
    let path = path(dir, number);
    let bytes = disk.read(&path, 0).map_err(|error| Error::io("read", &path, error))?;
    let manifest = Manifest::decode(&path, &bytes)?;
    if manifest.generation != number {
        let reason = "it carries another number than its name";
        return Err(Error::corrupt(&path, "manifest", reason));
    }
    Ok(manifest)
}

fn missing(dir: &Path) -> Error {
    Error::not_found(
        format!("a collection in {}", dir.display()),
        "; the directory holds no manifest",
    )
}

/// u128 as 32 hex digits: JSON numbers do not reach that far.
mod hex128 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Metric;

    fn example() -> Manifest {
        Manifest {
            store: 7 << 100,
            generation: 3,
            required_features: Vec::new(),
            schema: Schema::new(4, Metric::L2),
            seq: 9,
            logged: 11,
            log_start: 2,
            next_file: 5,
            segments: Vec::new(),
            calibration: None,
        }
    }

    #[test]
    fn a_feature_that_is_not_known_is_refused_before_the_rest_is_read() {
        let path = Path::new("MANIFEST-000003");
        let decode = |document: &str| {
            let hash = xxh3_128(document.as_bytes());
            let head = format!("{MAGIC} {VERSION} {hash:032x} {}\n", document.len());
            Manifest::decode(path, (head + document).as_bytes())
        };
        let schema = Schema::new(12, Metric::Hamming);
        let bits = Manifest { required_features: schema.required_features(), schema, ..example() };
        assert_eq!(bits.required_features, ["vectors-b1"]);
        let document = serde_json::to_string(&bits).expect("JSON");
        assert_eq!(decode(&document).expect("known"), bits);
        // As a later version could write it: a metric and a type without a name here.
        let later = document.replace("vectors-b1", "vectors-b2").replace("hamming", "tanimoto");
        match decode(&later) {
            Err(Error::Incompatible { reason, .. }) => assert!(reason.contains("vectors-b2")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let bytes = example().encode().expect("encode");
        let path = Path::new("MANIFEST-000003");
        assert_eq!(Manifest::decode(path, &bytes).expect("decode"), example());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(path, &bad).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(path, &bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn names_that_are_not_manifests_have_no_generation() {
        assert_eq!(generation("MANIFEST-000042"), Some(42));
        for name in ["MANIFEST-000042.tmp", "MANIFEST-", "MANIFEST-+1", "seg-1.nfs"] {
            assert_eq!(generation(name), None, "{name}");
        }
    }
}
