use std::io;
use std::path::Path;
use std::sync::Arc;

use super::reader::READ_BYTES;
use super::*;
use crate::error::{Error, Result};
use crate::storage::disk::Disk;
use crate::storage::fault::{Fault, FaultDisk};

const IDENTITY: WalIdentity = WalIdentity { store: 5, number: 9 };
const PATH: &str = "/wal-9.log";

fn disk() -> (FaultDisk, Arc<dyn Disk>) {
    let fault = FaultDisk::new();
    (fault.clone(), Arc::new(fault))
}

fn try_create(disk: &Arc<dyn Disk>) -> Result<WalWriter> {
    let path = Path::new(PATH);
    let file = disk.create_log(path).map_err(|error| Error::io("create", path, error))?;
    WalWriter::begin(disk, path, file, IDENTITY, 1)
}

fn create(disk: &Arc<dyn Disk>) -> WalWriter {
    try_create(disk).unwrap()
}

fn open(disk: &Arc<dyn Disk>) -> Result<WalReader> {
    WalReader::open(disk, Path::new(PATH), IDENTITY)
}

fn payload(seq: u64) -> Vec<u8> {
    (0..seq * 13 % 200).map(|i| (i * seq).to_le_bytes()[0]).collect()
}

/// The bytes in pieces, as the engine gives them.
fn pieces(bytes: &[u8]) -> Payload {
    let (head, rest) = bytes.split_at(bytes.len() / 3);
    let (body, tail) = rest.split_at(rest.len() / 2);
    let body = (!body.is_empty()).then(|| Arc::new(AlignedBytes::from_slice(body)));
    Payload { head: head.into(), body, tail: tail.into() }
}

fn append(writer: &mut WalWriter, seq: u64) {
    writer.append(seq, seq.saturating_sub(1), &pieces(&payload(seq)));
}

/// Reads to the end; the sequence numbers, whose payloads must be right.
fn read_all(disk: &Arc<dyn Disk>) -> Result<Vec<u64>> {
    let mut reader = open(disk)?;
    let mut seqs = Vec::new();
    while let Some(frame) = reader.next()? {
        assert_eq!(frame.payload, payload(frame.seq));
        assert_eq!(frame.durable, frame.seq.saturating_sub(1));
        seqs.push(frame.seq);
    }
    Ok(seqs)
}

fn is_prefix(seqs: &[u64]) -> bool {
    seqs.iter().copied().eq(1..=seqs.len() as u64)
}

/// A log of synced frames 1..=n, and where each ends.
fn synced(n: u64) -> (FaultDisk, Arc<dyn Disk>, Vec<u64>) {
    let (fault, disk) = disk();
    let mut writer = create(&disk);
    let mut ends = vec![writer.len()];
    for seq in 1..=n {
        append(&mut writer, seq);
        writer.sync().unwrap();
        ends.push(writer.len());
    }
    (fault, disk, ends)
}

#[test]
fn the_format_page_gives_the_structures_as_they_are() {
    use std::mem::offset_of;

    use crate::storage::tests::assert_documented;
    assert_documented(
        "### Header of a log",
        &[
            (offset_of!(Header, magic), "magic"),
            (offset_of!(Header, features), "version and features"),
            (offset_of!(Header, store), "store"),
            (offset_of!(Header, number), "number"),
            (offset_of!(Header, first_seq), "first"),
            (offset_of!(Header, salt), "salt"),
            (offset_of!(Header, reserved), "reserved"),
            (offset_of!(Header, crc), "checksum"),
        ],
    );
    assert_documented(
        "### Frame",
        &[
            (offset_of!(FrameHeader, salt), "salt"),
            (offset_of!(FrameHeader, seq), "sequence"),
            (offset_of!(FrameHeader, durable), "durable"),
            (offset_of!(FrameHeader, synced), "synced"),
            (offset_of!(FrameHeader, len), "length"),
            (offset_of!(FrameHeader, payload_crc), "payload checksum"),
            (offset_of!(FrameHeader, previous), "previous"),
            (offset_of!(FrameHeader, crc), "checksum"),
        ],
    );
}

#[test]
fn frames_are_read_back_in_order() {
    let (_, disk, _) = synced(40);
    assert_eq!(open(&disk).unwrap().first_seq(), Some(1));
    assert!(read_all(&disk).unwrap().into_iter().eq(1..=40));
}

#[test]
fn nothing_reaches_the_file_before_flush() {
    let (_, disk) = disk();
    let mut writer = create(&disk);
    append(&mut writer, 1);
    assert!(read_all(&disk).unwrap().is_empty());
    writer.flush().unwrap();
    append(&mut writer, 2);
    append(&mut writer, 3);
    writer.flush().unwrap();
    assert_eq!(writer.len(), disk.read(Path::new(PATH), 0).unwrap().len() as u64);
    assert_eq!(read_all(&disk).unwrap(), [1, 2, 3]);
}

#[test]
fn a_marker_carries_what_is_durable() {
    let (_, disk) = disk();
    let mut writer = create(&disk);
    writer.append(8, 3, &pieces(b"x"));
    writer.append(8, 8, &Payload::default());
    writer.flush().unwrap();
    let mut reader = open(&disk).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().durable, 3);
    let marker = reader.next().unwrap().unwrap();
    assert_eq!(marker, Frame { seq: 8, durable: 8, payload: Vec::new() });
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_log_cut_anywhere_reads_as_a_prefix() {
    let (fault, disk, ends) = synced(12);
    let good = disk.read(Path::new(PATH), 0).unwrap();
    for len in (0..=good.len()).rev() {
        fault.edit(Path::new(PATH), |file| file.truncate(len)).unwrap();
        let whole = ends.iter().filter(|&&end| end <= len as u64).count().saturating_sub(1);
        let seqs = read_all(&disk).unwrap();
        assert!(is_prefix(&seqs) && seqs.len() == whole, "{len}: {seqs:?}");
    }
}

#[test]
fn a_torn_tail_of_zeros_or_garbage_is_the_end_of_the_log() {
    let (fault, disk, _) = synced(6);
    let good = disk.read(Path::new(PATH), 0).unwrap();
    for tail in [vec![0; 5000], vec![0xa5; 5000], good[100..].to_vec()] {
        fault
            .edit(Path::new(PATH), |file| {
                file.clone_from(&good);
                file.extend_from_slice(&tail);
            })
            .unwrap();
        assert_eq!(read_all(&disk).unwrap().len(), 6);
    }
}

#[test]
fn every_flipped_bit_is_corruption_or_the_loss_of_the_last_frame() {
    let (fault, disk, ends) = synced(8);
    let good = disk.read(Path::new(PATH), 0).unwrap();
    let last = ends[ends.len() - 2];
    for at in 0..good.len() {
        for bit in 0..8 {
            fault.edit(Path::new(PATH), |file| file[at] ^= 1 << bit).unwrap();
            match read_all(&disk) {
                Err(Error::Corrupt { .. }) => assert!((at as u64) < last),
                Ok(seqs) => assert!(at as u64 >= last && is_prefix(&seqs) && seqs.len() == 7),
                Err(other) => panic!("{other}"),
            }
            fault.edit(Path::new(PATH), |file| file[at] ^= 1 << bit).unwrap();
        }
    }
}

#[test]
fn a_marker_after_the_last_sync_shows_damage_to_the_last_frame() {
    let (fault, disk) = disk();
    let mut writer = create(&disk);
    append(&mut writer, 1);
    writer.sync().unwrap();
    let end = usize::try_from(writer.len()).unwrap();
    writer.append(1, 1, &Payload::default());
    writer.sync().unwrap();
    fault.edit(Path::new(PATH), |file| file[end - 1] ^= 1).unwrap();
    let error = read_all(&disk).unwrap_err().to_string();
    assert!(error.contains("frame at offset 88"), "{error}");
}

#[test]
fn frames_that_were_never_synced_may_be_lost_in_any_order() {
    let (_, disk) = disk();
    let mut writer = create(&disk);
    append(&mut writer, 1);
    writer.sync().unwrap();
    let start = usize::try_from(writer.len()).unwrap();
    append(&mut writer, 2);
    append(&mut writer, 3);
    writer.flush().unwrap();
    // Frame 3 has reached the disk, frame 2 has not.
    let (fault, disk2) = self::disk();
    let bytes = disk.read(Path::new(PATH), 0).unwrap();
    drop(disk2.create(Path::new(PATH)).unwrap());
    fault
        .edit(Path::new(PATH), |file| {
            file.extend_from_slice(&bytes);
            file[start..start + 40].fill(0);
        })
        .unwrap();
    assert_eq!(read_all(&disk2).unwrap(), [1]);
}

#[test]
fn after_a_power_cut_the_log_is_a_prefix_that_holds_all_that_was_synced() {
    for mode in 0..3_u64 {
        let mut states = 0;
        for at in 3..200 {
            let (fault, disk) = disk();
            let mut writer = create(&disk);
            fault.plan(Some(Fault::PowerCut { at }));
            let (mut acknowledged, mut written) = (0, 0);
            for seq in 1..=40 {
                append(&mut writer, seq);
                written = seq;
                let outcome = match seq % 5 < mode {
                    true => writer.flush(),
                    false => writer.sync().inspect(|()| acknowledged = seq),
                };
                if outcome.is_err() {
                    break;
                }
            }
            for seed in 0..20 {
                let image = fault.crash_image(seed);
                let disk: Arc<dyn Disk> = Arc::new(image);
                let seqs = read_all(&disk).unwrap();
                assert!(
                    is_prefix(&seqs) && (acknowledged..=written).contains(&(seqs.len() as u64))
                );
                states += 1;
            }
            if !fault.is_powerless() {
                break;
            }
        }
        assert!(states > 500);
    }
}

#[test]
fn a_crash_while_a_log_is_created_leaves_none_or_an_empty_one() {
    for at in 0..4 {
        let (fault, disk) = disk();
        fault.plan(Some(Fault::PowerCut { at }));
        assert!(try_create(&disk).is_err());
        for seed in 0..100 {
            let image: Arc<dyn Disk> = Arc::new(fault.crash_image(seed));
            match read_all(&image) {
                Ok(seqs) => assert!(seqs.is_empty()),
                Err(Error::Io { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::NotFound);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_reader_follows_a_growing_log() {
    let (fault, disk) = disk();
    let mut writer = create(&disk);
    let mut reader = open(&disk).unwrap();
    let grown = FaultDisk::new();
    let copy: Arc<dyn Disk> = Arc::new(grown.clone());
    drop(copy.create(Path::new(PATH)).unwrap());
    let mut slow = open(&copy).unwrap();
    let mut next = 1;
    for seq in 1..=30 {
        assert!(reader.next().unwrap().is_none());
        append(&mut writer, seq);
        if seq % 3 == 0 {
            writer.sync().unwrap();
        } else {
            writer.flush().unwrap();
        }
        assert_eq!(reader.next().unwrap().unwrap().seq, seq);
        // The other sees the file grow byte by byte.
        let bytes = fault.read(Path::new(PATH), 0).unwrap();
        let known = grown.read(Path::new(PATH), 0).unwrap().len();
        for byte in &bytes[known..] {
            grown.edit(Path::new(PATH), |file| file.push(*byte)).unwrap();
            if let Some(frame) = slow.next().unwrap() {
                assert_eq!(frame.seq, next);
                next += 1;
            }
        }
    }
    assert_eq!(next, 31);
}

#[test]
fn a_frame_stands_only_at_its_place_and_after_its_predecessor() {
    let (fault, disk, ends) = synced(3);
    let bytes = disk.read(Path::new(PATH), 0).unwrap();
    let at = usize::try_from(ends[1]).unwrap();
    let mut frame = FrameHeader::read_from_bytes(&bytes[at..at + FRAME_BYTES]).unwrap();
    let salt = frame.salt.get();
    assert!(frame.is_authentic(salt, ends[1]));
    assert!(!frame.is_authentic(salt, ends[1] + 8) && !frame.is_authentic(salt + 1, ends[1]));
    // Authentic, but written after another frame than the one that stands there.
    frame.previous.set(frame.previous.get() ^ 1);
    frame.crc.set(frame.checksum(ends[1]));
    fault
        .edit(Path::new(PATH), |file| {
            file.truncate(usize::try_from(ends[2]).unwrap());
            file[at..at + FRAME_BYTES].copy_from_slice(frame.as_bytes());
        })
        .unwrap();
    assert_eq!(read_all(&disk).unwrap(), [1]);
}

#[test]
fn a_frame_longer_than_a_read_is_read() {
    let (_, disk) = disk();
    let mut writer = create(&disk);
    let long: Vec<u8> = (0..3 * READ_BYTES + 5).map(|i| i.to_le_bytes()[0]).collect();
    for seq in 1..=3 {
        writer.append(seq, 0, &pieces(&long));
    }
    writer.sync().unwrap();
    let mut reader = open(&disk).unwrap();
    for _ in 0..3 {
        assert_eq!(reader.next().unwrap().unwrap().payload, long);
    }
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn corruption_is_seen_across_reads() {
    let (fault, disk) = disk();
    let mut writer = create(&disk);
    writer.append(1, 0, &pieces(b"first"));
    writer.append(2, 0, &pieces(&vec![7; 5 * READ_BYTES]));
    writer.sync().unwrap();
    writer.append(3, 2, &pieces(b"proof"));
    writer.sync().unwrap();
    fault.edit(Path::new(PATH), |file| file[500] ^= 1).unwrap();
    let mut reader = open(&disk).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().seq, 1);
    assert!(matches!(reader.next(), Err(Error::Corrupt { .. })));
}

#[test]
fn a_log_of_another_store_or_number_is_refused() {
    let (fault, disk, _) = synced(2);
    for other in [WalIdentity { store: 6, ..IDENTITY }, WalIdentity { number: 8, ..IDENTITY }] {
        let opened = WalReader::open(&disk, Path::new(PATH), other);
        assert!(matches!(opened, Err(Error::Corrupt { .. })));
    }
    fault
        .edit(Path::new(PATH), |file| {
            file[39] = 128;
            let crc = crc32c::crc32c(&file[..84]);
            file[84..88].copy_from_slice(&crc.to_le_bytes());
        })
        .unwrap();
    assert!(matches!(open(&disk), Err(Error::Incompatible { .. })));
}

/// A file system may commit the length of a file before its bytes, and show what was in their place.
#[test]
fn a_log_whose_header_was_not_synced_is_empty_whatever_stands_there() {
    let (fault, disk, _) = synced(3);
    let header = disk.read_range(Path::new(PATH), 0, HEADER_BYTES.into()).unwrap();
    let path = Path::new("/wal-10.log");
    let identity = WalIdentity { number: 10, ..IDENTITY };
    drop(disk.create_log(path).unwrap());
    fault.edit(path, |bytes| bytes.extend_from_slice(&header)).unwrap();
    let mut log = WalReader::open(&disk, path, identity).unwrap();
    assert!(log.next().unwrap().is_none() && log.first_seq().is_none());
    // Where something follows, a header was synced.
    fault.edit(path, |bytes| bytes.push(0)).unwrap();
    let error = WalReader::open(&disk, path, identity).unwrap_err().to_string();
    assert!(error.contains("the file is in the wrong place"), "{error}");
}

#[test]
fn after_a_failure_the_writer_is_dead_and_never_syncs_again() {
    for (skip, kind) in [(0, io::ErrorKind::StorageFull), (1, io::ErrorKind::Other)] {
        let (fault, disk) = disk();
        let mut writer = create(&disk);
        append(&mut writer, 1);
        writer.sync().unwrap();
        let at = fault.operations() + skip;
        fault.plan(Some(Fault::Fail { at, kind, forever: false }));
        append(&mut writer, 2);
        match writer.sync() {
            Err(Error::Full { .. }) => assert_eq!(skip, 0),
            Err(Error::Io { .. }) => assert_eq!(skip, 1),
            other => panic!("{other:?}"),
        }
        let operations = fault.operations();
        append(&mut writer, 3);
        assert!(matches!(writer.sync(), Err(Error::Poisoned(_))));
        assert!(matches!(writer.flush(), Err(Error::Poisoned(_))));
        assert!(matches!(writer.sync(), Err(Error::Poisoned(_))));
        assert_eq!(fault.operations(), operations);
        assert!(is_prefix(&read_all(&disk).unwrap()));
    }
}

#[test]
fn a_payload_beyond_the_limit_fails_the_writer_and_writes_nothing() {
    let (_, disk) = disk();
    let mut writer = create(&disk);
    writer.append(1, 0, &vec![0; MAX_PAYLOAD_BYTES + 1].into());
    assert!(matches!(writer.sync(), Err(Error::Poisoned(_))));
    assert!(read_all(&disk).unwrap().is_empty());
}

/// Whole headers of frames that overlap, as only somebody makes them who wants every one read to the end.
#[test]
fn a_log_of_overlapping_frames_is_read_past_its_damage_in_one_pass() {
    let (fault, disk) = disk();
    drop(create(&disk));
    let bytes = disk.read(Path::new(PATH), 0).unwrap();
    let salt = Header::ref_from_prefix(&bytes).unwrap().0.salt;
    let mut frames = Vec::new();
    for number in 0..20_000 {
        let offset = u64::from(HEADER_BYTES) + number * FRAME_BYTES as u64;
        let mut header = FrameHeader {
            salt,
            seq: U64::new(number + 1),
            durable: U64::ZERO,
            synced: U64::new(offset),
            len: U32::new(100 << 20),
            payload_crc: U32::ZERO,
            previous: U32::ZERO,
            crc: U32::ZERO,
        };
        header.crc = U32::new(header.checksum(offset));
        frames.extend_from_slice(header.as_bytes());
    }
    fault.edit(Path::new(PATH), |log| log.extend(frames)).unwrap();
    let before = fault.reads();
    let mut reader = WalReader::salvage(&disk, Path::new(PATH), IDENTITY).unwrap();
    let mut damaged = 0;
    while reader.next().is_err() {
        damaged += 1;
        if !reader.skip().unwrap() {
            break;
        }
    }
    assert!(damaged > 0 && fault.reads() - before < 20, "{}", fault.reads() - before);
}
