use std::collections::BTreeSet;

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new("/").join(name)
}

fn write(disk: &FaultDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let mut file = disk.create(&path(name)).unwrap();
    file.append(bytes).unwrap();
    file
}

/// A file that is durable, name and bytes.
fn settle(disk: &FaultDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let mut file = write(disk, name, bytes);
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file
}

fn images(disk: &FaultDisk) -> impl Iterator<Item = FaultDisk> {
    (0..300).map(|seed| disk.crash_image(seed))
}

#[test]
fn synced_bytes_survive_and_unsynced_ones_may_be_kept_cut_zeroed_or_garbage() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", &[1; 700]);
    file.append(&[2; 3000]).unwrap();
    let mut lens = BTreeSet::new();
    let mut values: BTreeSet<u8> = BTreeSet::new();
    for image in images(&disk) {
        let bytes = image.read(&path("a"), 0).unwrap();
        assert_eq!(bytes[..700], [1; 700]);
        assert!(bytes.len() <= 3700);
        lens.insert(bytes.len());
        values.extend(&bytes[700..]);
    }
    assert!(lens.contains(&700) && lens.contains(&3700) && lens.len() > 20);
    assert!(values.len() > 200);
    file.sync().unwrap();
    assert!(images(&disk).all(|image| image.read(&path("a"), 0).unwrap().len() == 3700));
    file.append(&[3; 1000]).unwrap();
    file.sync().unwrap();
    assert!(images(&disk).all(|image| image.read(&path("a"), 0).unwrap().len() == 4700));
}

#[test]
fn a_name_is_durable_only_after_its_directory_is_synced() {
    let disk = FaultDisk::new();
    write(&disk, "a", b"1").sync().unwrap();
    let there = images(&disk).filter(|image| image.read(&path("a"), 0).is_ok()).count();
    assert!((50..250).contains(&there), "{there}");
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(images(&disk).all(|image| image.read(&path("a"), 0).is_ok()));
    disk.remove_file(&path("a")).unwrap();
    assert!(disk.read(&path("a"), 0).is_err());
    let there = images(&disk).filter(|image| image.read(&path("a"), 0).is_ok()).count();
    assert!((50..250).contains(&there), "{there}");
}

#[test]
fn a_rename_is_atomic_and_may_revert() {
    let disk = FaultDisk::new();
    settle(&disk, "old", b"old");
    settle(&disk, "new", b"new");
    disk.rename(&path("new"), &path("old")).unwrap();
    let mut seen = BTreeSet::new();
    for image in images(&disk) {
        let is_renamed = image.read(&path("new"), 0).is_err();
        let found = image.read(&path("old"), 0).unwrap();
        assert_eq!(found, if is_renamed { b"new" } else { b"old" });
        seen.insert(is_renamed);
    }
    assert_eq!(seen.len(), 2);
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(images(&disk).all(|image| image.read(&path("old"), 0).unwrap() == b"new"));
}

#[test]
fn changes_of_names_survive_in_any_combination() {
    let disk = FaultDisk::new();
    for name in ["a", "b", "c"] {
        write(&disk, name, b"").sync().unwrap();
    }
    let kept: BTreeSet<Vec<PathBuf>> = images(&disk).map(|image| image.files()).collect();
    assert_eq!(kept.len(), 8);
}

#[test]
fn a_removal_takes_only_the_file_that_it_removed() {
    let disk = FaultDisk::new();
    settle(&disk, "a", b"1");
    settle(&disk, "b", b"2");
    disk.rename(&path("b"), &path("a")).unwrap();
    disk.remove_file(&path("a")).unwrap();
    for image in images(&disk) {
        let is_reverted = image.read(&path("b"), 0).is_ok();
        assert_eq!(is_reverted, image.read(&path("a"), 0).is_ok_and(|bytes| bytes == b"1"));
    }
}

#[test]
fn a_renamed_directory_takes_its_files_along() {
    let disk = FaultDisk::new();
    disk.create_dir(&path("d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let mut file = write(&disk, "d/f", b"1");
    file.sync().unwrap();
    disk.sync_dir(&path("d")).unwrap();
    disk.rename(&path("d"), &path("e")).unwrap();
    file.append(b"2").unwrap();
    assert_eq!(disk.read(&path("e/f"), 0).unwrap(), b"12");
    assert_eq!(disk.list(Path::new("/")).unwrap().len(), 1);
    for image in images(&disk) {
        let (d, e) = (image.read(&path("d/f"), 0), image.read(&path("e/f"), 0));
        assert!(d.is_ok() != e.is_ok());
    }
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let disk = FaultDisk::new();
    for name in ["a", "b", "c", "d"] {
        write(&disk, name, &[7; 2000]);
    }
    for seed in 0..50 {
        let (one, two) = (disk.crash_image(seed), disk.crash_image(seed));
        assert_eq!(one.files(), two.files());
        for file in one.files() {
            assert_eq!(one.read(&file, 0).unwrap(), two.read(&file, 0).unwrap());
        }
    }
}

#[test]
fn an_image_is_durable_and_independent() {
    let disk = FaultDisk::new();
    write(&disk, "a", &[1; 5000]);
    for image in images(&disk) {
        let files = image.files();
        let bytes = image.read(&path("a"), 0).ok();
        for again in [image.crash_image(1), image.crash_image(2)] {
            assert_eq!(again.files(), files);
            assert_eq!(again.read(&path("a"), 0).ok(), bytes);
        }
        if bytes.is_some() {
            image.remove_file(&path("a")).unwrap();
        }
    }
    assert_eq!(disk.read(&path("a"), 0).unwrap().len(), 5000);
}

#[test]
fn a_killed_process_loses_nothing_yet_a_power_cut_after_it_may() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", b"1");
    file.append(b"2").unwrap();
    let _held = disk.lock(&path("LOCK"), "me").unwrap().unwrap();
    let killed = disk.kill_image();
    assert_eq!(killed.read(&path("a"), 0).unwrap(), b"12");
    assert!(killed.lock(&path("LOCK"), "you").unwrap().is_some());
    assert!(images(&killed).any(|image| image.read(&path("a"), 0).unwrap() == b"1"));
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", b"1");
    file.append(b"2").unwrap();
    let at = disk.operations();
    disk.plan(Some(Fault::Fail { at, kind: io::ErrorKind::Other, forever: false }));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert!(images(&disk).any(|image| image.read(&path("a"), 0).unwrap() == b"1"));

    let disk = FaultDisk::new();
    write(&disk, "b", b"1").sync().unwrap();
    let at = disk.operations();
    disk.plan(Some(Fault::Fail { at, kind: io::ErrorKind::Other, forever: false }));
    assert!(disk.sync_dir(Path::new("/")).is_err());
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(images(&disk).any(|image| image.files().is_empty()));
}

#[test]
fn after_a_power_cut_nothing_works() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", b"1");
    disk.plan(Some(Fault::PowerCut { at: disk.operations() + 1 }));
    file.append(b"2").unwrap();
    assert!(file.append(b"3").is_err());
    assert!(disk.is_powerless());
    assert!(file.sync().is_err() && file.map().is_err());
    assert!(disk.read(&path("a"), 0).is_err() && disk.list(Path::new("/")).is_err());
    assert!(disk.lock(&path("LOCK"), "").is_err());
    assert!(images(&disk).all(|image| image.read(&path("a"), 0).unwrap().len() <= 2));
}

#[test]
fn planned_errors_come_once_for_ever_or_cut_short() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", b"");
    let now = disk.operations();
    disk.plan(Some(Fault::Fail { at: now + 1, kind: io::ErrorKind::Interrupted, forever: false }));
    file.append(b"1").unwrap();
    assert_eq!(file.append(b"2").unwrap_err().kind(), io::ErrorKind::Interrupted);
    file.append(b"3").unwrap();
    let at = disk.operations() + 1;
    disk.plan(Some(Fault::ShortWrite { at, kind: io::ErrorKind::StorageFull }));
    file.append(b"4").unwrap();
    file.sync().unwrap();
    assert_eq!(file.append(b"5678").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(&path("a"), 0).unwrap(), b"13456");
    let kind = io::ErrorKind::StorageFull;
    disk.plan(Some(Fault::Fail { at: 0, kind, forever: true }));
    assert!(file.append(b"9").is_err() && disk.create(&path("b")).is_err());
    disk.remove_file(&path("a")).unwrap();
    let kind = io::ErrorKind::Other;
    disk.plan(Some(Fault::Fail { at: 0, kind, forever: true }));
    assert!(disk.sync_dir(Path::new("/")).is_err());
}

#[test]
fn a_full_disk_takes_what_fits_and_works_again_when_space_returns() {
    let disk = FaultDisk::new();
    let mut file = settle(&disk, "a", &[0; 10]);
    settle(&disk, "b", &[0; 10]);
    disk.set_capacity(Some(25));
    assert_eq!(file.append(&[1; 10]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(&path("a"), 0).unwrap().len(), 15);
    disk.remove_file(&path("b")).unwrap();
    file.append(&[1; 10]).unwrap();
}

#[test]
fn errors_are_those_of_a_file_system() {
    let disk = FaultDisk::new();
    settle(&disk, "a", b"1");
    disk.create_dir(&path("d")).unwrap();
    drop(write(&disk, "d/f", b""));
    let kind = |outcome: io::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(disk.create(&path("a")).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(&path("x/a")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create_dir(&path("d"))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.remove_file(&path("x"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove_dir(&path("d"))), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(disk.rename(&path("x"), &path("y"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.read(&path("d"), 0).map(drop)), io::ErrorKind::IsADirectory);
}

#[test]
fn operations_are_written_down_on_request() {
    let disk = FaultDisk::new();
    disk.record();
    let mut file = write(&disk, "a", b"123");
    disk.plan(Some(Fault::PowerCut { at: 2 }));
    file.sync().unwrap_err();
    let log = ["0 create /a", "1 append 3 to #0", "2 sync #0 fails: simulated power cut"];
    assert_eq!(disk.log(), log);
}

#[test]
fn reads_fail_where_they_are_told_to_and_count_by_themselves() {
    let disk = FaultDisk::new();
    settle(&disk, "a", &[1; 700]);
    let (operations, reads) = (disk.operations(), disk.reads());
    disk.spoil(&path("a"), Some(512..600)).unwrap();
    assert_eq!(disk.read_range(&path("a"), 0, 512).unwrap().len(), 512);
    assert_eq!(disk.read_range(&path("a"), 600, 500).unwrap().len(), 100);
    assert!(disk.read_range(&path("a"), 0, 513).is_err() && disk.map(&path("a")).is_err());
    assert!(disk.kill_image().read(&path("a"), 599).is_err());
    disk.spoil(&path("a"), None).unwrap();
    assert_eq!((disk.operations(), disk.reads()), (operations, reads + 4));
    disk.plan(Some(Fault::FailRead { at: reads + 5, kind: io::ErrorKind::Interrupted }));
    assert!(disk.read(&path("a"), 0).is_ok());
    let failed = disk.list(Path::new("/")).unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::Interrupted);
    assert_eq!(disk.list(Path::new("/")).unwrap().len(), 1);
}
