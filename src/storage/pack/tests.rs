use super::*;
use crate::storage::disk::OsDisk;
use crate::storage::fault::FaultDisk;
use crate::storage::tests::assert_documented;

fn disk() -> Arc<dyn Disk> {
    Arc::new(FaultDisk::new())
}

fn files() -> BTreeMap<String, &'static [u8]> {
    let files: [(&str, &[u8]); 4] =
        [("a/one", &[1; 5000]), ("a/two", &[]), ("b/one", &[2; 4096]), ("b/three", &[3])];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// The bytes of a pack of [`files`].
fn packed() -> Vec<u8> {
    let disk = disk();
    write(&disk, Path::new("/p"), &files(), &mut |_| Ok(())).unwrap();
    disk.read(Path::new("/p"), 0).unwrap()
}

fn open(bytes: &[u8], offset: u64) -> Result<Packed> {
    let disk = disk();
    disk.create(Path::new("/p")).unwrap().append(bytes).unwrap();
    Packed::open(&disk, Path::new("/p"), offset)
}

/// The directory and header of a pack, right again after a change to either.
fn reseal(bytes: &mut [u8], change: impl FnOnce(&mut Header)) {
    let mut header = Header::read_from_bytes(&bytes[..HEADER_BYTES as usize]).unwrap();
    change(&mut header);
    let end = (HEADER_BYTES as usize).saturating_add(header.directory.get() as usize);
    if let Some(directory) = bytes.get(HEADER_BYTES as usize..end) {
        header.digest = U128::new(xxh3_128(directory));
    }
    header.crc = U32::new(header.checksum());
    bytes[..HEADER_BYTES as usize].copy_from_slice(header.as_bytes());
}

#[test]
fn the_tables_of_the_format_page_are_those_of_the_code() {
    use std::mem::offset_of;
    assert_documented(
        "### Header of a pack",
        &[
            (offset_of!(Header, magic), "magic"),
            (offset_of!(Header, features), "version and features"),
            (offset_of!(Header, len), "length"),
            (offset_of!(Header, directory), "directory"),
            (offset_of!(Header, digest), "digest"),
            (offset_of!(Header, count), "files"),
            (offset_of!(Header, crc), "checksum"),
        ],
    );
}

#[test]
fn a_pack_is_a_directory_that_is_only_read_and_all_else_stays_as_it_is() {
    let bytes = packed();
    let around = [&[7; 64][..], &bytes, &[7; 100]].concat();
    for (bytes, offset) in [(&bytes, 0), (&around, 64)] {
        let packed = open(bytes, offset).unwrap();
        let at = |name: &str| Path::new("/p").join(name);
        for (name, wanted) in files() {
            assert_eq!(packed.read(&at(&name), 0).unwrap(), wanted, "{name}");
            assert_eq!(packed.map(&at(&name)).unwrap().as_slice(), wanted, "{name}");
            assert_eq!(packed.map(&at(&name)).unwrap().as_slice().as_ptr().addr() % 64, 0);
        }
        assert_eq!(packed.read_range(&at("a/one"), 4990, 100).unwrap(), [1; 10]);
        assert_eq!(packed.read_range(&at("a/one"), u64::MAX, u64::MAX).unwrap(), [0; 0]);
        let names = |dir: &Path| {
            let entries = packed.list(dir).unwrap().into_iter();
            entries.map(|entry| (entry.name, entry.is_dir, entry.len)).collect::<Vec<_>>()
        };
        assert_eq!(names(&at("")), [("a".into(), true, 0), ("b".into(), true, 0)]);
        assert_eq!(names(&at("b")), [("one".into(), false, 4096), ("three".into(), false, 1)]);
        for missing in ["c", "a/three", "a/one/x", "a/../b"] {
            assert_eq!(packed.list(&at(missing)).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(packed.read(&at(missing), 0).unwrap_err().kind(), ErrorKind::NotFound);
        }
        let refused = [
            packed.create(&at("a/new")).map(drop),
            packed.create_dir(&at("c")),
            packed.remove_file(&at("a/one")),
            packed.rename(&at("a/one"), Path::new("/q")),
            packed.rename(Path::new("/p"), Path::new("/q")),
            packed.lock(&at("LOCK"), "").map(drop),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        }
        packed.create(Path::new("/q")).unwrap().append(b"beside").unwrap();
        assert_eq!(packed.read(Path::new("/q"), 0).unwrap(), b"beside");
    }
}

#[test]
fn every_flipped_bit_outside_of_files_and_every_cut_is_refused() {
    let bytes = packed();
    open(&bytes, 0).unwrap();
    let head = HEADER_BYTES as usize + 4 * (10 + 5) + 2;
    for at in (0..head).chain([head, 4095, 4096 + 5000, 12_287]) {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            assert!(open(&bad, 0).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in (0..head).chain([head, 4096, bytes.len() - 1]) {
        assert!(open(&bytes[..len], 0).is_err(), "{len} bytes");
    }
    for offset in [1, 63, 65, u64::MAX] {
        let refused = open(&bytes, offset).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument(_)), "{refused}");
    }
    for offset in [64, 1 << 40, u64::MAX - 63] {
        let refused = open(&bytes, offset).unwrap_err();
        assert!(refused.to_string().contains("holds no packed database at offset"), "{refused}");
    }
}

#[test]
fn forged_entries_are_refused_whatever_their_checksums() {
    let bytes = packed();
    let first = HEADER_BYTES as usize;
    let refuse = |what: &str, edit: &dyn Fn(&mut Vec<u8>), change: fn(&mut Header)| {
        let mut bad = bytes.clone();
        edit(&mut bad);
        reseal(&mut bad, change);
        let refused = open(&bad, 0).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{what}: {refused}");
    };
    let len = |value: u64| {
        move |bad: &mut Vec<u8>| bad[first..first + 8].copy_from_slice(&value.to_le_bytes())
    };
    for value in [0, 4999, 1 << 20, u64::MAX, u64::MAX - 4096, i64::MAX as u64] {
        refuse("length", &len(value), |_| ());
    }
    let name = |name: &'static [u8; 5]| {
        move |bad: &mut Vec<u8>| bad[first + 10..first + 15].copy_from_slice(name)
    };
    for bad in [
        b"../..",
        b"/etc/",
        b"a/.on",
        b"a/b/c",
        b"a\\one",
        b"a/on\0",
        b"aaone",
        b"a/\xff\xffe",
        b"z/one",
    ] {
        refuse("name", &name(bad), |_| ());
    }
    let twice = |bad: &mut Vec<u8>| bad.copy_within(first + 10..first + 15, first + 25);
    refuse("two of a name", &twice, |_| ());
    let long = |bad: &mut Vec<u8>| bad[first + 8..first + 10].copy_from_slice(&[255, 255]);
    refuse("long name", &long, |_| ());
    let keep = |_: &mut Vec<u8>| ();
    refuse("count", &keep, |header| header.count = U32::new(5));
    refuse("no directory", &keep, |header| header.directory = U64::new(0));
    refuse("half a directory", &keep, |header| header.directory = U64::new(20));
    refuse("long directory", &keep, |header| header.directory = U64::new(u64::MAX));
    refuse("short pack", &keep, |header| header.len = U64::new(12_000));
    refuse("no pack", &keep, |header| header.len = U64::new(0));
    refuse("long pack", &keep, |header| header.len = U64::new(u64::MAX));
}

#[test]
fn an_empty_pack_has_no_directory_and_maps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let path = dir.path().join("empty");
    write(&disk, &path, &BTreeMap::new(), &mut |_| Ok(())).unwrap();
    let packed = Packed::open(&disk, &path, 0).unwrap();
    assert_eq!(packed.list(&path).unwrap(), []);
}
