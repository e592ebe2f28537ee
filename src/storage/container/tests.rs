use std::io;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use super::layout::{ALIGN, BLOCK_BYTES};
use super::*;
use crate::bytes::{Guard, Warms};
use crate::storage::disk::OsDisk;
use crate::storage::fault::{Fault, FaultDisk};

const IDENTITY: Identity = Identity { kind: *b"SEGM", store: 77, segment: 3, generation: 0 };
const PATH: &str = "/a.nfs";

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + seed).to_le_bytes()[0] | 1).collect()
}

/// Several sections: short, empty, of several blocks with a short last one, of whole blocks.
fn contents() -> Vec<(Tag, u16, Vec<u8>)> {
    vec![
        (*b"META", 0, pattern(100, 1)),
        (*b"NONE", 0, Vec::new()),
        (*b"RAWV", 0, pattern(BLOCK_BYTES * 2 + 7, 2)),
        (*b"RAWV", 1, pattern(BLOCK_BYTES, 3)),
        (*b"AAAA", 0, Vec::new()),
    ]
}

fn write(disk: &Arc<dyn Disk>, path: &Path) -> Seal {
    let mut writer = ContainerWriter::create(disk, path, IDENTITY).unwrap();
    for (tag, field, bytes) in contents() {
        writer.section(tag, field, &bytes).unwrap();
    }
    writer.finish().unwrap()
}

/// A disk with one container of two small sections, and its bytes.
fn small() -> (FaultDisk, Arc<dyn Disk>, Seal, Vec<u8>) {
    let fault = FaultDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(fault.clone());
    let mut writer = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY).unwrap();
    writer.section(*b"META", 0, &pattern(100, 1)).unwrap();
    writer.section(*b"RAWV", 2, &pattern(5000, 2)).unwrap();
    let seal = writer.finish().unwrap();
    let bytes = disk.read(Path::new(PATH), 0).unwrap();
    (fault, disk, seal, bytes)
}

fn replace(disk: &FaultDisk, bytes: &[u8]) {
    disk.edit(Path::new(PATH), |file| {
        file.clear();
        file.extend_from_slice(bytes);
    })
    .unwrap();
}

#[test]
fn the_format_page_gives_the_structures_as_they_are() {
    use std::mem::offset_of;

    use super::layout::{Entry, Header};
    use crate::storage::tests::assert_documented;
    assert_documented(
        "### Header",
        &[
            (offset_of!(Header, magic), "magic"),
            (offset_of!(Header, features), "version and features"),
            (offset_of!(Header, store), "store"),
            (offset_of!(Header, segment), "segment"),
            (offset_of!(Header, generation), "generation"),
            (offset_of!(Header, kind), "kind"),
            (offset_of!(Header, reserved), "reserved"),
            (offset_of!(Header, crc), "checksum"),
        ],
    );
    assert_documented(
        "### Section table",
        &[
            (offset_of!(Entry, tag), "tag"),
            (offset_of!(Entry, field), "field"),
            (offset_of!(Entry, reserved), "reserved"),
            (offset_of!(Entry, offset), "offset"),
            (offset_of!(Entry, len), "length"),
            (offset_of!(Entry, crcs_offset), "checksums"),
            (offset_of!(Entry, crcs_digest), "digest"),
        ],
    );
    assert_documented(
        "### Footer",
        &[
            (offset_of!(Footer, table_offset), "table"),
            (offset_of!(Footer, file_len), "length"),
            (offset_of!(Footer, digest), "digest"),
            (offset_of!(Footer, count), "entries"),
            (offset_of!(Footer, version), "format version"),
            (offset_of!(Footer, reserved), "reserved"),
            (offset_of!(Footer, crc), "checksum"),
            (offset_of!(Footer, magic), "magic"),
        ],
    );
}

#[test]
fn what_was_written_is_read_back_from_disk_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nfs");
    let disks: [(Arc<dyn Disk>, &Path); 2] =
        [(Arc::new(OsDisk), &path), (Arc::new(FaultDisk::new()), Path::new(PATH))];
    for (disk, path) in disks {
        let seal = write(&disk, path);
        let container = Container::open(&disk, path, IDENTITY, Some(seal)).unwrap();
        assert_eq!(container.len(), seal.len);
        assert_eq!(container.path(), path);
        assert!(!container.is_read_only());
        let mut found = container.sections();
        // Two empty sections may lie at one place.
        found.sort();
        let mut expected: Vec<_> = contents()
            .into_iter()
            .map(|(tag, field, bytes)| (tag, field, bytes.len() as u64))
            .collect();
        expected.sort();
        assert_eq!(found, expected);
        for (tag, field, bytes) in contents() {
            let section = container.require(tag, field).unwrap();
            assert_eq!(section.len(), bytes.len());
            assert_eq!(section.read_all().unwrap(), bytes);
            assert_eq!(section.guarded().len(), bytes.len());
        }
        container.verify().unwrap();
        assert!(container.section(*b"RAWV", 9).is_none());
        let missing = container.require(*b"RAWV", 9).unwrap_err().to_string();
        assert!(missing.contains("RAWV/9"), "{missing}");
    }
}

#[test]
fn a_container_without_sections_is_valid() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let writer = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY).unwrap();
    let seal = writer.finish().unwrap();
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, Some(seal)).unwrap();
    container.verify().unwrap();
    assert!(container.sections().is_empty());
}

#[test]
fn sections_are_aligned_and_the_last_has_zeros_behind_it() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let mut writer = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY).unwrap();
    writer.section(*b"META", 0, &[1; 5]).unwrap();
    writer.begin(*b"BIGA", 0, 1 << 16).unwrap();
    writer.write(&[2; 4096]).unwrap();
    writer.end().unwrap();
    writer.finish().unwrap();
    let bytes = disk.read(Path::new(PATH), 0).unwrap();
    assert_eq!(bytes[1 << 16], 2);
    assert_eq!(bytes[(1 << 16) + 4096..][..64], [0; 64]);
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap();
    container.verify().unwrap();
    assert_eq!(container.require(*b"BIGA", 0).unwrap().read_all().unwrap(), [2; 4096]);
}

#[test]
fn bytes_written_in_pieces_have_the_checksums_of_the_whole() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let bytes = pattern(BLOCK_BYTES * 40 + 123, 9);
    let mut writer = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY).unwrap();
    writer.begin(*b"RAWV", 0, ALIGN).unwrap();
    let mut rest = bytes.as_slice();
    for step in (1..).map(|i| i * 997) {
        let (piece, after) = rest.split_at(rest.len().min(step));
        writer.write(piece).unwrap();
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    writer.end().unwrap();
    let map = writer.map_section(*b"RAWV", 0).unwrap();
    assert_eq!(map.as_slice(), bytes);
    writer.section(*b"REST", 0, b"later").unwrap();
    assert_eq!(map.as_slice(), bytes);
    writer.finish().unwrap();
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap();
    container.verify().unwrap();
    assert_eq!(container.require(*b"RAWV", 0).unwrap().read_all().unwrap(), bytes);
}

#[test]
fn a_writer_used_out_of_order_says_so() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let mut writer = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY).unwrap();
    assert!(writer.write(&[1]).is_err());
    assert!(writer.end().is_err());
    assert!(writer.begin(*b"RAWV", 0, 64).is_err());
    assert!(writer.begin(*b"RAWV", 0, 5000).is_err());
    writer.begin(*b"RAWV", 0, ALIGN).unwrap();
    assert!(writer.begin(*b"RAWV", 1, ALIGN).is_err());
    assert!(writer.map_section(*b"RAWV", 0).is_err());
    writer.end().unwrap();
    assert!(writer.begin(*b"RAWV", 0, ALIGN).is_err());
    writer.begin(*b"RAWV", 1, ALIGN).unwrap();
    assert!(writer.finish().is_err());
}

#[test]
fn every_flipped_bit_is_found_on_opening_or_verifying() {
    let (fault, disk, seal, good) = small();
    let mut found_on_open = 0;
    for at in 0..good.len() {
        // Every bit of what opening checks and of a little data, one bit of every other byte.
        let dense = !(128..8192 - 32).contains(&at);
        for bit in (0..8).filter(|bit| dense && at % 7 == 0 || *bit == at % 8) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            replace(&fault, &bad);
            match Container::open(&disk, Path::new(PATH), IDENTITY, Some(seal)) {
                Err(Error::Corrupt { .. }) => found_on_open += 1,
                Err(other) => panic!("byte {at}: {other}"),
                Ok(container) => {
                    let outcome = container.verify();
                    assert!(
                        matches!(outcome, Err(Error::Corrupt { .. })),
                        "byte {at}: {outcome:?}"
                    );
                }
            }
        }
    }
    assert!(found_on_open > 4096);
}

#[test]
fn a_flipped_bit_of_a_section_is_found_on_reading_it_and_named() {
    let (fault, disk, seal, good) = small();
    for at in (8192..8192 + 5000).step_by(41) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        replace(&fault, &bad);
        let container = Container::open(&disk, Path::new(PATH), IDENTITY, Some(seal)).unwrap();
        container.require(*b"META", 0).unwrap().read_all().unwrap();
        let section = container.require(*b"RAWV", 2).unwrap();
        let message = section.read(0, 1).unwrap_err().to_string();
        assert!(message.contains("RAWV/2") && message.contains("a.nfs"), "{message}");
    }
}

#[test]
fn every_truncation_and_extension_is_an_error() {
    let (fault, disk, seal, good) = small();
    for len in (0..good.len()).filter(|len| len % 13 == 0 || *len > 13_000) {
        for seal in [Some(seal), None] {
            replace(&fault, &good[..len]);
            let opened = Container::open(&disk, Path::new(PATH), IDENTITY, seal);
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "{len}: {opened:?}");
        }
    }
    let mut longer = good;
    longer.push(0);
    replace(&fault, &longer);
    assert!(Container::open(&disk, Path::new(PATH), IDENTITY, Some(seal)).is_err());
    assert!(Container::open(&disk, Path::new(PATH), IDENTITY, None).is_err());
}

#[test]
fn a_file_in_the_wrong_place_is_refused() {
    let (_, disk, seal, _) = small();
    let open = |identity, seal| Container::open(&disk, Path::new(PATH), identity, seal);
    assert!(open(IDENTITY, Some(seal)).is_ok());
    assert!(open(Identity { kind: *b"ATTR", ..IDENTITY }, None).is_err());
    assert!(open(Identity { store: 78, ..IDENTITY }, None).is_err());
    assert!(open(Identity { segment: 4, ..IDENTITY }, None).is_err());
    assert!(open(Identity { generation: 1, ..IDENTITY }, None).is_err());
    assert!(open(IDENTITY, Some(Seal { digest: seal.digest ^ 1, ..seal })).is_err());
    assert!(open(IDENTITY, Some(Seal { len: seal.len + 1, ..seal })).is_err());
}

/// Changes bytes of the header and corrects its checksum.
fn forge_header(fault: &FaultDisk, at: usize, value: u8) {
    fault
        .edit(Path::new(PATH), |file| {
            file[at] = value;
            let crc = crc32c::crc32c(&file[..4092]);
            file[4092..4096].copy_from_slice(&crc.to_le_bytes());
        })
        .unwrap();
}

#[test]
fn unknown_features_are_told_apart() {
    let open = |at: usize, value: u8| {
        let (fault, disk, _, _) = small();
        forge_header(&fault, at, value);
        Container::open(&disk, Path::new(PATH), IDENTITY, None)
    };
    assert!(!open(16, 1).unwrap().is_read_only(), "compatible");
    assert!(open(24, 1).unwrap().is_read_only(), "read-only compatible");
    assert!(!open(32, 1).unwrap().is_read_only(), "product codes");
    for (at, value) in [(32, 2), (39, 128), (8, 2)] {
        let message = match open(at, value) {
            Err(error @ Error::Incompatible { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(message.contains("format version 1"), "{message}");
    }
}

/// Writes `table` as the section table, with a right digest and footer.
fn forge_table(fault: &FaultDisk, change: impl Fn(&mut [u8])) {
    fault
        .edit(Path::new(PATH), |file| {
            let footer = file.len() - 64;
            let table = footer - 80..footer;
            change(&mut file[table.clone()]);
            let digest = xxh3_128(&file[table]);
            file[footer + 16..footer + 32].copy_from_slice(&digest.to_le_bytes());
            let crc = crc32c::crc32c(&file[footer..footer + 52]);
            file[footer + 52..footer + 56].copy_from_slice(&crc.to_le_bytes());
        })
        .unwrap();
}

#[test]
fn a_forged_table_is_refused_without_a_panic() {
    let interesting = [0, 1, 4095, 4096, 8192, 12_288, 1 << 20, 1 << 40, i64::MAX as u64, u64::MAX];
    for entry in 0..2 {
        for field in [8, 16, 24, 32] {
            for value in interesting {
                let (fault, disk, _, _) = small();
                let at = entry * 40 + field;
                let mut same = false;
                let before = disk.read(Path::new(PATH), 0).unwrap();
                let table = before.len() - 64 - 80;
                same |= before[table + at..table + at + 8] == value.to_le_bytes();
                forge_table(&fault, |table| {
                    table[at..at + 8].copy_from_slice(&value.to_le_bytes());
                });
                let opened = Container::open(&disk, Path::new(PATH), IDENTITY, None);
                match opened {
                    Ok(container) if !same => {
                        // A place that is possible, but not where the data lie.
                        assert!(container.verify().is_err(), "{entry} {field} {value}");
                    }
                    Ok(_) => {}
                    Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
                }
            }
        }
    }
}

#[test]
fn a_table_that_overlaps_repeats_or_leaves_bytes_out_is_refused() {
    let refusal = |change: &dyn Fn(&mut [u8])| {
        let (fault, disk, _, _) = small();
        forge_table(&fault, change);
        Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap_err().to_string()
    };
    let overlap = refusal(&|table| table[48..56].copy_from_slice(&4096_u64.to_le_bytes()));
    assert!(overlap.contains("overlaps"), "{overlap}");
    let twice = refusal(&|table| table.copy_within(0..6, 40));
    assert!(twice.contains("twice"), "{twice}");
    let unfilled = refusal(&|table| {
        table[56..64].fill(0);
        table[72..80].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(&[]).to_le_bytes());
    });
    assert!(unfilled.contains("fill"), "{unfilled}");
}

#[test]
fn a_search_that_stays_clear_of_a_damaged_block_still_answers() {
    let fault = FaultDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(fault.clone());
    write(&disk, Path::new(PATH));
    // RAWV/0 follows META and the empty NONE.
    let start = 4096 * 2;
    fault.edit(Path::new(PATH), |file| file[start + BLOCK_BYTES + 5] ^= 1).unwrap();
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap();
    let section = container.require(*b"RAWV", 0).unwrap();
    section.touch(0, BLOCK_BYTES);
    section.touch(BLOCK_BYTES * 2, 7);
    section.touch(0, 0);
    section.touch(usize::MAX, 2);
    section.status_since(0).unwrap();
    section.touch(BLOCK_BYTES - 1, 2);
    assert!(section.status_since(0).is_err());
    let mark = section.failures();
    let clone = section.clone();
    clone.touch(3, 100);
    clone.read(BLOCK_BYTES * 2, 7).unwrap();
    section.status_since(mark).unwrap();
    clone.touch(BLOCK_BYTES + 100, 4);
    assert!(section.status_since(mark).is_err());
    assert!(section.read(BLOCK_BYTES, 1).is_err());
    assert!(section.read_all().is_err());
    assert!(container.verify().is_err());
}

#[test]
fn a_range_outside_of_a_section_is_an_error() {
    let (_, disk, _, _) = small();
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap();
    let section = container.require(*b"META", 0).unwrap();
    assert!(section.read(0, 100).is_ok());
    assert!(section.read(100, 0).is_ok());
    for (offset, len) in [(0, 101), (101, 0), (usize::MAX, 1), (1, usize::MAX)] {
        assert!(section.read(offset, len).is_err());
    }
}

#[test]
fn verifying_sees_damage_that_came_after_the_first_touch() {
    let (fault, disk, _, _) = small();
    let container = Container::open(&disk, Path::new(PATH), IDENTITY, None).unwrap();
    container.require(*b"RAWV", 2).unwrap().read_all().unwrap();
    fault.edit(Path::new(PATH), |file| file[8192] ^= 1).unwrap();
    container.require(*b"RAWV", 2).unwrap().read_all().unwrap();
    assert!(container.verify().is_err());
    disk.remove_file(Path::new(PATH)).unwrap();
    container.verify().unwrap();
}

#[test]
fn a_failed_write_is_reported_and_nothing_is_sealed() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for at in 0..3 {
            let fault = FaultDisk::new();
            fault.plan(Some(Fault::Fail { at, kind, forever: true }));
            let disk: Arc<dyn Disk> = Arc::new(fault.clone());
            let outcome = ContainerWriter::create(&disk, Path::new(PATH), IDENTITY)
                .and_then(|writer| writer.finish());
            match outcome {
                Err(Error::Full { .. }) => assert_eq!(kind, io::ErrorKind::StorageFull),
                Err(Error::Io { .. }) => assert_eq!(kind, io::ErrorKind::Other),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_disk_is_asked_after_searches_that_waited_for_it_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nfs");
    let disks: [(Arc<dyn Disk>, &Path); 2] =
        [(Arc::new(OsDisk), &path), (Arc::new(FaultDisk::new()), Path::new(PATH))];
    let (quick, slow) = (Duration::from_micros(100), Duration::from_micros(200));
    for (disk, path) in disks {
        write(&disk, path);
        let container = Container::open(&disk, path, IDENTITY, None).unwrap();
        let section = container.require(*b"RAWV", 0).unwrap();
        let rows = section.guarded();
        rows.took(quick, 100, Warms::Little);
        assert_eq!(section.asking(), 0, "a hundred places in a tenth of a millisecond");
        rows.took(slow, 100, Warms::Little);
        let asking = section.asking();
        assert!(asking > 0);
        for offset in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, rows.len() - 1, rows.len()] {
            rows.hint(offset, rows.len() - offset);
        }
        section.expect(usize::MAX, usize::MAX);
        assert_eq!(section.read_all().unwrap().len(), rows.len());
        (0..asking).for_each(|_| rows.took(quick, 100, Warms::Little));
        assert_eq!(section.asking(), 0);
        // What searches warm as a whole is asked for when they have waited for longer than that takes.
        let section = Container::open(&disk, path, IDENTITY, None).unwrap();
        let section = section.require(*b"RAWV", 0).unwrap();
        let took = |time| {
            section.took(time, 0, Warms::All);
            section.asking()
        };
        assert_eq!(took(slow + Duration::from_nanos(5 * section.len() as u64)), 0);
        assert!(took(slow) > 0);
    }
}
