//! Every bit of every file of a database flipped, and every length of each, one at a time.
//!
//! All of it takes hours: `NEARFIELD_DAMAGE_STEP=n` takes each n-th of them (1: all), and
//! `NEARFIELD_DAMAGE_PART=i/n` shares them between n processes.

use std::time::Instant;

use nearfield::testing::{Disk, FaultDisk, SeededBug};
use nearfield::{DataType, Durability, IdType, Metric, Schema};

use super::{Counts, DIMENSION, check, database, database_of};
use crate::oracle::State;

/// Every so many-th case in an ordinary run.
const STEP: usize = 1_009;
/// So many times as seldom where there are texts.
const TEXT_STEP: usize = 29;

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// A small database without texts, of which an opening takes a fraction of a millisecond.
fn small() -> (FaultDisk, Vec<State>) {
    let schema = Schema::new(DIMENSION, Metric::L2)
        .column("note", DataType::Utf8)
        .column("splade", DataType::Sparse)
        .column("year", DataType::Int64);
    database_of(schema, 150, IdType::U64, Durability::Sync)
}

/// Each `step`-th case of a database that is this process's.
fn sweep(disk: &FaultDisk, states: &[State], step: usize) -> Counts {
    let part = std::env::var("NEARFIELD_DAMAGE_PART").unwrap_or_else(|_| "0/1".into());
    let (part, parts) = part.split_once('/').expect("i/n");
    let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
    let begun = Instant::now();
    let mut counts = Counts::default();
    let mut cases = 0;
    let mut mine = || {
        cases += 1;
        cases % step == 0 && cases / step % parts == part
    };
    for path in &disk.files() {
        let len = disk.read(path, 0).unwrap().len();
        for case in (0..9 * len).filter(|_| mine()) {
            let image = disk.kill_image();
            let what = match case.checked_sub(len) {
                None => {
                    image.edit(path, |bytes| bytes.truncate(case)).unwrap();
                    format!("cut to {case} of {len}")
                }
                Some(bit) => {
                    image.edit(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
                    format!("bit {bit} of {len} bytes")
                }
            };
            check(&image, path, states, &what, &mut counts);
        }
    }
    eprintln!("of {cases}: {counts:?} in {:.1} s", begun.elapsed().as_secs_f32());
    assert!(counts.refused > counts.cases / 4);
    counts
}

#[test]
fn every_bit_and_every_length_of_every_file_is_noticed_or_changes_nothing() {
    let step = number("NEARFIELD_DAMAGE_STEP", STEP);
    let (disk, states) = small();
    sweep(&disk, &states, step);
    // Fewer of a database with indexes of texts: each opening takes as long as a hundred others.
    let (disk, states) = database(IdType::U64, Durability::Sync);
    let counts = sweep(&disk, &states, step * TEXT_STEP);
    assert!(counts.words > 0 || counts.cases < 500, "{counts:?}");
}

const SEEDED: &str = "NEARFIELD_TEST_SEEDED_DAMAGE";

/// In a process of its own, which reads without comparing checksums.
#[test]
fn blocks_that_are_not_compared_with_their_checksums_are_found() {
    if std::env::var_os(SEEDED).is_some() {
        SeededBug::seed(Some(SeededBug::BlockChecksum));
        every_bit_and_every_length_of_every_file_is_noticed_or_changes_nothing();
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "damage::every::blocks_that_are_not_compared_with_their_checksums_are_found";
    let output = command.args(["--exact", name, "--nocapture"]).env(SEEDED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let signs = ["wrong rows", "exact search", "a wrong hit", "by the sparse vectors", "a panic"];
    let found = signs.iter().any(|text| said.contains(text));
    assert!(!output.status.success() && found, "{said}");
}
