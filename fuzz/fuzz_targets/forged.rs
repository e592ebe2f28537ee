//! A database whose files are changed as the input says and then given checksums that match, as a forger
//! would: whatever they say, opening, searching, verifying, copying and writing end in answers or errors.
#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use nearfield::testing::{FaultDisk, reseal_collection};
use nearfield::{
    CodeChoice, Collection, DataType, Database, Fields, Metric, OpenOptions, RepairOptions,
    ScanOptions, Schema, SearchPlan, Settings, SparseVector,
};

#[path = "../support/mod.rs"]
mod support;

const QUERY: [f32; 8] = [1.0, 2.0, 3.0, 4.0, 0.0, -1.0, -2.0, 0.5];
const NAMES: [&str; 2] = ["walked", "scanned"];

fn open(disk: FaultDisk, code: CodeChoice, read_only: bool) -> nearfield::Result<Database> {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = if code == CodeChoice::Bit { u64::MAX } else { 1 << 10 };
    settings.code = code;
    settings.threads = 1;
    OpenOptions::new().settings(settings).disk(Arc::new(disk)).read_only(read_only).open("db")
}

/// Two collections with every kind of file and section that a few hundred rows have.
fn image() -> &'static FaultDisk {
    static IMAGE: OnceLock<FaultDisk> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = FaultDisk::new();
        for (name, code) in NAMES.into_iter().zip([CodeChoice::Auto, CodeChoice::Bit]) {
            let db = open(disk.clone(), code, false).expect("a database opens");
            let schema = Schema::new(8, Metric::L2)
                .text("note")
                .column("year", DataType::Int64)
                .column("tags", DataType::ListUtf8)
                .column("splade", DataType::Sparse);
            let docs = db.collection(name, schema).expect("a new collection");
            support::fill(&docs, 0, 300).expect("rows are stored");
            docs.compact().expect("rows are merged");
            docs.delete(&["3", "5", "7"]).expect("rows are deleted");
            support::fill(&docs, 250, 40).expect("rows are stored");
            if name == NAMES[0] {
                let parts = docs.search(&QUERY).k(2).ef(2).explain().expect("a search").parts;
                assert!(
                    parts.iter().any(|part| part.plan == SearchPlan::Walk),
                    "a graph is walked"
                );
            }
        }
        disk.kill_image()
    })
}

fn read(docs: &Collection) -> nearfield::Result<()> {
    // What is damaged is told by verification, and costs others nothing.
    let _ = docs.verify();
    for exact in [false, true] {
        let _ = docs.search(&QUERY).k(3).ef(4).exact(exact).run();
    }
    let _ = docs.search(&QUERY).k(3).filter("year > 2 AND 'b' IN tags").run();
    let _ = docs.search_words("note rust~1 \"row of\"").k(3).run();
    let splade = SparseVector::new([1, 9], [0.5, 1.0])?;
    let _ = docs.search_sparse("splade", &splade).k(3).run();
    let _ = docs.get(&["1", "3", "260"], &Fields::all().with_vectors());
    let _ = docs.stats();
    docs.scan(ScanOptions::new())?.try_for_each(|batch| batch.map(drop))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disk = image().kill_image();
    let files = disk.files();
    for edit in data.chunks_exact(8) {
        let path = &files[edit[0] as usize % files.len()];
        let at = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize;
        let edited = disk.edit(path, |bytes| {
            if bytes.is_empty() {
                return;
            }
            let at = at % bytes.len();
            match edit[4] % 8 {
                0 => bytes[at] ^= 1 << (edit[5] % 8),
                1 => bytes[at] = edit[5],
                2 => bytes[at] = 0xff,
                // Near the end, where tables are.
                3 => {
                    let at = bytes.len() - 1 - at % bytes.len().min(1_000);
                    bytes[at] = edit[5];
                }
                kind => {
                    let end = (at + [2, 4, 8, 16][usize::from(kind % 4)]).min(bytes.len());
                    bytes[at..end].fill(edit[5]);
                }
            }
        });
        edited.expect("the file is there");
    }
    for name in NAMES {
        reseal_collection(&disk, Path::new(&format!("/db/{name}"))).expect("the files are there");
    }
    for read_only in [true, false] {
        let disk = disk.kill_image();
        let Ok(db) = open(disk, CodeChoice::Auto, read_only) else { continue };
        for name in NAMES {
            let Ok(docs) = db.open_collection(name) else { continue };
            let _ = read(&docs);
            if !read_only {
                let _ = support::fill(&docs, 280, 3);
                let _ = docs.compact();
            }
        }
    }
    let options = RepairOptions::new().disk(Arc::new(disk));
    let _ = Database::repair("db", "repaired", options);
});
