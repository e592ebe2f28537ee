//! Power cuts, deaths of the process and failing disks at every operation of scripted scenarios.
//!
//! After each, the database must open and hold a prefix of what was acknowledged, with everything
//! in it that was durable; verification must find nothing; and writing must go on, through a
//! second crash as well. `NEARFIELD_CRASH_SEEDS=n` writes on from more images of each cut.

mod deep;
mod script;

use std::io;
use std::sync::OnceLock;
use std::time::Instant;

use nearfield::testing::{Fault, FaultDisk};
use nearfield::{Database, Durability, Error};

use self::script::{Player, Script, States, Step, open_at, recover, scripts, states};
use crate::oracle::Change;

/// Images of each cut that are looked at.
fn seeds() -> u64 {
    let text = std::env::var("NEARFIELD_CRASH_SEEDS").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// How many operations a scenario takes on a disk that does not fail.
fn operations(script: &Script) -> u64 {
    let disk = FaultDisk::new();
    let mut player = Player::new(disk.clone(), script.durability, States::new());
    for step in &script.steps {
        player.step(step).unwrap_or_else(|error| panic!("{}: {step:?}: {error}", script.name));
    }
    check_backups(&disk, &player).unwrap();
    disk.operations()
}

/// Plays a scenario until it fails.
fn play(script: &Script, disk: &FaultDisk) -> Player {
    let mut player = Player::new(disk.clone(), script.durability, States::new());
    for step in &script.steps {
        if player.step(step).is_err() {
            break;
        }
    }
    player.close_handles();
    player
}

/// Every copy that was finished opens and holds what it should.
fn check_backups(disk: &FaultDisk, player: &Player) -> Result<(), String> {
    for (path, expected) in &player.backups {
        let copy = open_at(disk, path, Durability::Sync, true);
        let found = copy.and_then(|db| states(&db)).map_err(|error| format!("{path}: {error}"))?;
        if found != *expected {
            return Err(format!("{path} holds something else"));
        }
    }
    Ok(())
}

/// Steps that can be taken from any state that holds `docs` or nothing.
fn next_steps(found: &States) -> Vec<Step> {
    static STEPS: OnceLock<Vec<Step>> = OnceLock::new();
    let mut steps = STEPS.get_or_init(|| scripts()[0].steps[..2].to_vec()).clone();
    if let Some(name) = found.keys().next()
        && name == "other"
    {
        steps.push(Step::Drop("other"));
    }
    steps.push(Step::Flush("docs"));
    steps
}

/// Recovers the disk of `player`, writes on, and crashes again after `again` operations.
fn crash_twice(mut player: Player, again: u64, seed: u64) -> Result<(), String> {
    player.disk.record();
    player.disk.plan(Some(Fault::PowerCut { at: again }));
    for step in next_steps(player.now()) {
        if player.step(&step).is_err() {
            break;
        }
    }
    player.close_handles();
    let (_, found) = recover(&player.disk.crash_image(seed), Durability::Sync)?;
    player.check(&found).map_err(|error| {
        let log = player.disk.log().join("\n  ");
        format!("after the second crash at {again}: {error}\n  {log}")
    })
}

/// Writes to a recovered database, whose handles are given, and opens it once more.
fn write_on(db: Database, disk: &FaultDisk, found: &States) -> Result<(), String> {
    drop(db);
    let mut player = Player::new(disk.clone(), Durability::Sync, found.clone());
    for step in next_steps(found) {
        player.step(&step).map_err(|error| format!("writing on, {step:?}: {error}"))?;
    }
    player.close_handles();
    for image in [disk.kill_image(), disk.crash_image(1)] {
        let (_, found) = recover(&image, Durability::Sync)?;
        player.check(&found).map_err(|error| format!("after writing on: {error}"))?;
    }
    Ok(())
}

fn check_cut(disk: &FaultDisk, player: &Player, cut: u64, seed: u64) -> Result<u64, String> {
    let image = disk.crash_image(seed);
    let copy = image.kill_image();
    let (db, found) = recover(&copy, player.durability)?;
    player.check(&found)?;
    check_backups(&copy, player)?;
    write_on(db, &copy, &found)?;
    let mut states = 1;
    if (cut + seed) % 3 == 0 {
        for again in [1 + cut % 3, 4 + cut % 5, 9 + cut % 7] {
            let second = Player::new(image.kill_image(), Durability::Sync, found.clone());
            crash_twice(second, again, seed)?;
            states += 1;
        }
    }
    Ok(states)
}

fn check_kill(disk: &FaultDisk, player: &Player, cut: u64, seed: u64) -> Result<u64, String> {
    // The death of the process first, recovery and a write, then the power.
    let image = disk.kill_image();
    let (db, found) = recover(&image, player.durability)?;
    player.check_killed(&found)?;
    write_on(db, &image, &found)?;
    for again in [1 + cut % 5, 6 + cut % 13] {
        crash_twice(player.after(disk.kill_image(), found.clone()), again, seed)?;
    }
    Ok(3)
}

/// Every cut of every scenario that `wanted` accepts.
fn sweep(wanted: impl Fn(&Script) -> bool) {
    let begun = Instant::now();
    let (mut cuts, mut states) = (0, 0);
    for script in scripts().iter().filter(|script| wanted(script)) {
        for cut in 0..operations(script) {
            let disk = FaultDisk::new();
            disk.plan(Some(Fault::PowerCut { at: cut }));
            let player = play(script, &disk);
            cuts += 1;
            for seed in 0..seeds() {
                let seed = cut * 1_000 + seed;
                match check_cut(&disk, &player, cut, seed) {
                    Ok(count) => states += count,
                    Err(error) => fail(script, cut, seed, &error),
                }
            }
            match check_kill(&disk, &player, cut, cut) {
                Ok(count) => states += count,
                Err(error) => fail(script, cut, 0, &format!("killed: {error}")),
            }
        }
    }
    eprintln!("{cuts} cuts, {states} states in {:.1} s", begun.elapsed().as_secs_f32());
    assert!(states > cuts);
}

/// Names the case with the operations before the cut.
fn fail(script: &Script, cut: u64, seed: u64, error: &str) {
    let disk = FaultDisk::new();
    disk.record();
    disk.plan(Some(Fault::PowerCut { at: cut }));
    drop(play(script, &disk));
    let log = disk.log();
    let last = log[log.len().saturating_sub(25)..].join("\n  ");
    panic!(
        "{} under {:?}, cut at operation {cut}, seed {seed}: {error}\n  {last}",
        script.name, script.durability
    );
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_when_writes_are_synced() {
    sweep(|script| script.durability == Durability::Sync);
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_when_writes_are_buffered() {
    sweep(|script| script.durability == Durability::Buffered);
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_when_writes_wait_for_a_flush() {
    sweep(|script| script.durability == Durability::None);
}

/// Plays a scenario on a disk that fails, through every error: what fails must leave the state as
/// it was, and what was acknowledged must be there after opening again.
fn play_through(script: &Script, disk: &FaultDisk, fault: Fault) -> Result<(), String> {
    disk.plan(Some(fault));
    let mut player = Player::new(disk.clone(), script.durability, States::new());
    let mut given_up = false;
    for step in &script.steps {
        if given_up {
            break;
        }
        let Err(error) = player.step(step) else { continue };
        if let Some(db) = player.db().filter(|_| !matches!(step, Step::Close | Step::Reopen)) {
            let found = states(db).map_err(|error| format!("reading after a failure: {error}"))?;
            let unchanged = found == *player.now();
            if !unchanged && !is_catalog(step) {
                return Err(format!("{step:?} failed with {error} and changed what is read"));
            }
        }
        // A second try; what comes after may build upon it.
        given_up = player.step(step).is_err();
    }
    disk.plan(None);
    disk.set_capacity(None);
    player.close_handles();
    for (image, how) in [(disk.crash_image(7), "power cut"), (disk.kill_image(), "kill")] {
        let (db, found) = recover(&image, script.durability).map_err(|e| format!("{how}: {e}"))?;
        let checked =
            if how == "kill" { player.check_killed(&found) } else { player.check(&found) };
        checked.map_err(|error| format!("{how}: {error}"))?;
        check_backups(&image, &player)?;
        write_on(db, &image, &found).map_err(|error| format!("{how}: {error}"))?;
    }
    Ok(())
}

fn is_catalog(step: &Step) -> bool {
    matches!(step, Step::Create(_) | Step::Drop(_) | Step::Rename(..))
}

/// `NEARFIELD_CRASH_ALL=1` takes all faults at each operation, and fails the reads of all scenarios.
fn is_thorough() -> bool {
    std::env::var_os("NEARFIELD_CRASH_ALL").is_some()
}

/// Fails the disk at every operation of every scenario, by one fault or another.
fn failures(faults: &[fn(u64) -> Fault]) {
    let begun = Instant::now();
    let mut cases = 0;
    for (number, script) in scripts().iter().enumerate() {
        for at in 0..operations(script) {
            let turn = (at as usize + number) % faults.len();
            let taken = if is_thorough() { faults } else { &faults[turn..=turn] };
            for fault in taken {
                cases += 1;
                if let Err(error) = play_through(script, &FaultDisk::new(), fault(at)) {
                    let disk = FaultDisk::new();
                    disk.record();
                    drop(play_through(script, &disk, fault(at)));
                    let log = disk.log();
                    let near: Vec<String> = (at.saturating_sub(12)..at + 25)
                        .filter_map(|line| log.get(line as usize).cloned())
                        .collect();
                    panic!(
                        "{} under {:?} with {:?}: {error}\n  {}",
                        script.name,
                        script.durability,
                        fault(at),
                        near.join("\n  ")
                    );
                }
            }
        }
    }
    eprintln!("{cases} failures in {:.1} s", begun.elapsed().as_secs_f32());
}

#[test]
fn one_failure_at_any_operation_loses_nothing_that_was_acknowledged() {
    failures(&[
        |at| Fault::Fail { at, kind: io::ErrorKind::Other, forever: false },
        |at| Fault::Fail { at, kind: io::ErrorKind::StorageFull, forever: false },
        |at| Fault::ShortWrite { at, kind: io::ErrorKind::StorageFull },
        |at| Fault::ShortWrite { at, kind: io::ErrorKind::Other },
    ]);
}

#[test]
fn a_disk_that_fails_for_ever_loses_nothing_that_was_acknowledged() {
    failures(&[
        |at| Fault::Fail { at, kind: io::ErrorKind::Other, forever: true },
        |at| Fault::Fail { at, kind: io::ErrorKind::StorageFull, forever: true },
    ]);
}

/// Reads that fail once, as where too many files are open or a cable is loose.
#[test]
fn a_read_that_fails_at_any_time_loses_nothing() {
    let begun = Instant::now();
    let mut cases = 0;
    let some = if is_thorough() { usize::MAX } else { 2 };
    for script in scripts().iter().filter(|script| script.durability == Durability::Sync).take(some)
    {
        let disk = FaultDisk::new();
        drop(play(script, &disk));
        for at in 0..disk.reads() {
            cases += 1;
            let fault = Fault::FailRead { at, kind: io::ErrorKind::Other };
            if let Err(error) = play_through(script, &FaultDisk::new(), fault) {
                panic!("{} with read {at} failing: {error}", script.name);
            }
        }
    }
    eprintln!("{cases} failures in {:.1} s", begun.elapsed().as_secs_f32());
    assert!(cases > 20);
}

/// Bytes that the files hold at most while a scenario runs.
fn most_bytes(script: &Script) -> u64 {
    let disk = FaultDisk::new();
    let mut player = Player::new(disk.clone(), script.durability, States::new());
    let mut most = 0;
    for step in &script.steps {
        player.step(step).unwrap();
        most = most.max(used_bytes(&disk));
    }
    most * 5 / 4
}

fn used_bytes(disk: &FaultDisk) -> u64 {
    use nearfield::testing::Disk;
    let len = |path: &std::path::PathBuf| disk.read(path, 0).map_or(0, |bytes| bytes.len() as u64);
    disk.files().iter().map(len).sum()
}

/// Runs a scenario on a disk of `capacity` bytes that grows whenever a step needs it.
fn fill(script: &Script, capacity: u64) -> Result<u64, String> {
    let disk = FaultDisk::new();
    let mut player = Player::new(disk.clone(), script.durability, States::new());
    let mut fulls = 0;
    for step in &script.steps {
        // What Durability::None keeps in the process goes with it.
        let is_end = matches!(step, Step::Close | Step::Reopen);
        let limited = !is_end || script.durability != Durability::None;
        disk.set_capacity(limited.then_some(capacity.max(512)));
        let Err(error) = player.step(step) else { continue };
        if !matches!(error, Error::Full { .. }) {
            return Err(format!("{step:?} on a full disk: {error}"));
        }
        fulls += 1;
        if player.is_open() {
            let found = player.db().map_or_else(|| Ok(States::new()), states);
            let found = found.map_err(|error| format!("reading on a full disk: {error}"))?;
            if found != *player.now() {
                return Err(format!("{step:?} failed for want of space and changed what is read"));
            }
            let image = disk.kill_image();
            image.set_capacity(Some(0));
            let (_, found) = recover(&image, script.durability)?;
            player.check_killed(&found).map_err(|e| format!("opened on a full disk: {e}"))?;
        }
        disk.set_capacity(None);
        player.step(step).map_err(|error| format!("{step:?} with space again: {error}"))?;
    }
    disk.set_capacity(None);
    player.step(&Step::Close).map_err(|error| format!("closing: {error}"))?;
    player.close_handles();
    let (_, found) = recover(&disk.crash_image(3), script.durability)?;
    player.check(&found)?;
    check_backups(&disk, &player)?;
    Ok(fulls)
}

#[test]
fn a_full_disk_refuses_reads_on_and_heals_when_space_is_back() {
    let begun = Instant::now();
    let (mut cases, mut fulls) = (0, 0);
    for script in &scripts() {
        let most = most_bytes(script);
        for part in 0..60 {
            // Odd amounts, so that appends are cut anywhere.
            let capacity = most * part / 60 + part * 7;
            cases += 1;
            match fill(script, capacity) {
                Ok(count) => fulls += count,
                Err(error) => panic!(
                    "{} under {:?} in {capacity} bytes: {error}",
                    script.name, script.durability
                ),
            }
        }
    }
    eprintln!("{cases} capacities, {fulls} times full, in {:.1} s", begun.elapsed().as_secs_f32());
    assert!(fulls > cases / 2);
}

/// The frames of a write that failed may be whole in the log; those of the next write, in a log of
/// its own, count instead: after a crash, and for a reader that had read the first.
#[test]
fn a_write_that_failed_stays_void_when_another_follows() {
    let [first, failing, next] = script::three_writes();
    let mut failures = 0;
    for durability in [Durability::Sync, Durability::Buffered] {
        for warm in [false, true] {
            for (at, short) in (0..8).flat_map(|at| [(at, false), (at, true)]) {
                let disk = FaultDisk::new();
                let mut player = Player::new(disk.clone(), durability, States::new());
                player.step(&Step::Create("docs")).unwrap();
                if warm {
                    player.step(&first).unwrap();
                    player.step(&Step::Flush("docs")).unwrap();
                }
                let reader = open_at(&disk, "/db", durability, true).unwrap();
                let docs = reader.open_collection("docs").unwrap();
                let (at, kind) = (disk.operations() + at, io::ErrorKind::StorageFull);
                disk.plan(Some(match short {
                    true => Fault::ShortWrite { at, kind },
                    false => Fault::Fail { at, kind, forever: false },
                }));
                let failed = player.step(&failing).is_err();
                disk.plan(None);
                docs.refresh().unwrap();
                assert_eq!(failed, !player.perhaps.is_empty());
                if !failed {
                    continue;
                }
                failures += 1;
                player.step(&next).unwrap();
                player.step(&Step::Flush("docs")).unwrap();
                docs.refresh().unwrap();
                assert_eq!(states(&reader).unwrap(), *player.now(), "a reader, {at} {short}");
                player.close_handles();
                for image in [disk.kill_image(), disk.crash_image(1), disk.crash_image(2)] {
                    let (_, found) = recover(&image, durability).unwrap();
                    assert_eq!(found, *player.now(), "{durability:?} {warm} {at} {short}");
                }
            }
        }
    }
    assert!(failures > 12, "{failures}");
}

#[test]
fn the_scenarios_make_segments_and_all_kinds_of_changes() {
    let script = scripts();
    let full = script.iter().find(|script| script.name == "full memtables").unwrap();
    let disk = FaultDisk::new();
    let mut player = Player::new(disk.clone(), full.durability, States::new());
    let mut segments = 0;
    for step in &full.steps {
        player.step(step).unwrap();
        let there = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "nfs");
        segments = segments.max(disk.files().iter().filter(there).count());
    }
    assert!(segments > 0, "no memtable became a segment");
    let writes = script.iter().flat_map(|script| &script.steps);
    let imports = writes.filter(|step| matches!(step, Step::Write(_, Change::Import(_))));
    assert!(imports.count() > 0);
}
