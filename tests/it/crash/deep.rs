//! Many images of each cut, for runs of minutes and hours; and proof that such runs find what is wrong.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Instant;

use nearfield::Durability;
use nearfield::testing::{Fault, FaultDisk, SeededBug};

use super::script::{Player, Script, recover, scripts};
use super::{check_backups, crash_twice, is_thorough, operations, play};

const SEEDED: &str = "NEARFIELD_TEST_SEEDED_BUG";
/// States within which a mistake is to be found.
const ENOUGH: u64 = 100_000;

/// What a search for violations has been through.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Crashes.
    states: u64,
    /// States of the disk after them, as far as they differ from others of the same cut.
    distinct: u64,
    /// Crashes in the recovery from one, or in the writes that followed it.
    double: u64,
}

/// One image of a cut: what recovery finds there, and what it finds after another crash in it.
fn look(
    disk: &FaultDisk,
    player: &Player,
    cut: u64,
    seed: u64,
    seen: &mut Seen,
) -> Result<(), String> {
    let image = disk.crash_image(seed);
    let again = image.kill_image();
    let (db, found) = recover(&image, player.durability)?;
    player.check(&found)?;
    check_backups(&image, player)?;
    drop(db);
    if seed.is_multiple_of(4) {
        let second = Player::new(again, Durability::Sync, found);
        let at = (seed / 4 + cut) % 24;
        seen.double += 1;
        crash_twice(second, at, seed)?;
    }
    Ok(())
}

/// Every cut of the scenarios, `images` of each, until one of them is wrong.
fn search(scripts: &[Script], images: u64, most: u64, seen: &mut Seen) -> Result<(), String> {
    for script in scripts {
        for cut in 0..operations(script) {
            let disk = FaultDisk::new();
            disk.plan(Some(Fault::PowerCut { at: cut }));
            let player = play(script, &disk);
            let mut known = BTreeSet::new();
            for seed in 0..images {
                if seen.states == most {
                    return Ok(());
                }
                seen.states += 1;
                if !known.insert(disk.crash_image(seed).fingerprint()) {
                    continue;
                }
                seen.distinct += 1;
                let looked =
                    catch_unwind(AssertUnwindSafe(|| look(&disk, &player, cut, seed, seen)));
                let place = || {
                    format!(
                        "{} under {:?}, cut at operation {cut}, seed {seed}",
                        script.name, script.durability
                    )
                };
                match looked {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(format!("{}: {error}", place())),
                    Err(_) => return Err(format!("{}: a panic", place())),
                }
            }
        }
    }
    Ok(())
}

/// `NEARFIELD_CRASH_IMAGES=n` looks at n images of each cut, which a fourth of them suffer again while
/// they recover; `NEARFIELD_CRASH_PART=i/n` at every n-th scenario alone, so that several processes share the work.
#[test]
fn no_image_of_a_power_cut_loses_what_was_acknowledged() {
    let images = std::env::var("NEARFIELD_CRASH_IMAGES").map_or(2, |text| text.parse().unwrap());
    let part = std::env::var("NEARFIELD_CRASH_PART").unwrap_or_else(|_| "0/1".into());
    let (part, parts) = part.split_once('/').expect("i/n");
    let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
    let only = std::env::var("NEARFIELD_CRASH_ONLY").unwrap_or_default();
    let mine: Vec<Script> = scripts()
        .into_iter()
        .filter(|script| format!("{}, {:?}", script.name, script.durability).contains(&only))
        .skip(part)
        .step_by(parts)
        .collect();
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let outcome = search(&mine, images, u64::MAX, &mut seen);
    eprintln!("{} scenarios, {seen:?} in {:.1} s", mine.len(), begun.elapsed().as_secs_f32());
    outcome.unwrap();
    assert!(seen.distinct * 4 > seen.states && seen.double * 8 > seen.states);
}

/// Syncs and comparisons that are left out, one at a time, in processes of their own.
#[test]
fn each_sync_and_each_comparison_that_is_left_out_is_found() {
    let rare = is_thorough().then_some(SeededBug::StaleFrame);
    for bug in SeededBug::OF_CRASHES.into_iter().chain(rare) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::deep::seeded", "--nocapture", "--test-threads=1", "-q"]);
        command.env(SEEDED, format!("{bug:?}")).stdout(Stdio::piped()).stderr(Stdio::null());
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let found = said.lines().find_map(|line| line.strip_prefix("@found "));
        let found = found.unwrap_or_else(|| panic!("{bug:?} is not found: {said}"));
        eprintln!("{bug:?}: {}", found.get(..200).unwrap_or(found));
    }
}

/// The body of such a process; nothing in an ordinary run.
#[test]
fn seeded() {
    let Ok(name) = std::env::var(SEEDED) else { return };
    let mut all = SeededBug::OF_CRASHES.into_iter().chain([SeededBug::StaleFrame]);
    let bug = all.find(|bug| format!("{bug:?}") == name).unwrap();
    SeededBug::seed(Some(bug));
    let mut seen = Seen::default();
    // Few images of all cuts first: most mistakes show in many of them.
    for images in [4, 64, 1024] {
        let most = ENOUGH;
        if let Err(error) = search(&scripts(), images, most, &mut seen) {
            println!("\n@found after {} states: {}", seen.states, error.replace('\n', " "));
            return;
        }
    }
    println!("\n@missed in {seen:?}");
}
