//! A small database whose files are damaged as the input says: opening, verifying and searching it
//! gives an answer or an error, never a panic.
#![no_main]

use std::sync::{Arc, OnceLock};

use nearfield::testing::FaultDisk;
use nearfield::{Database, Fields, Metric, OpenOptions, ScanOptions, Schema, SearchPlan, Settings};

const PATH: &str = "db";
const PACKED: &str = "db.pack";
const QUERY: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

fn open(disk: FaultDisk, path: &str) -> nearfield::Result<Database> {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = 1 << 10;
    settings.threads = 1;
    OpenOptions::new().settings(settings).disk(Arc::new(disk)).read_only(path == PACKED).open(path)
}

/// A database with a graph segment, tombstones, columns and a log; and the same packed.
fn image() -> &'static FaultDisk {
    static IMAGE: OnceLock<FaultDisk> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = FaultDisk::new();
        let db = open(disk.clone(), PATH).expect("a new database opens");
        let docs = db.collection("docs", Schema::new(4, Metric::L2)).expect("a new collection");
        let vectors = |from: u64| (from * 4..(from + 200) * 4).map(|x| (x * 37 % 101) as f32);
        let add = |from: u64| {
            let ids: Vec<u64> = (from..from + 200).collect();
            docs.upsert(&ids, &vectors(from).collect::<Vec<f32>>(), ()).expect("rows are stored")
        };
        add(0);
        docs.compact().expect("rows are merged");
        docs.delete(&[3, 5, 7]).expect("rows are deleted");
        add(150);
        let settings = OpenOptions::new().disk(Arc::new(disk.clone())).read_only(true);
        settings.open(PATH).expect("it opens for reading").pack(PACKED).expect("it is packed");
        let search = docs.search(&QUERY).k(2).ef(2);
        let parts = search.explain().expect("a search").parts;
        assert!(parts.iter().any(|part| part.plan == SearchPlan::Walk), "a graph is walked");
        disk.kill_image()
    })
}

fn read(disk: FaultDisk, path: &str) -> nearfield::Result<()> {
    let db = open(disk, path)?;
    let docs = db.open_collection("docs")?;
    docs.verify()?;
    docs.search(&QUERY).k(2).ef(2).run()?;
    docs.search(&QUERY).k(5).exact(true).run()?;
    docs.get(&[1, 3, 160], &Fields::all().with_vectors())?;
    docs.scan(ScanOptions::new())?.try_for_each(|batch| batch.map(drop))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disk = image().kill_image();
    let files = disk.files();
    for edit in data.chunks_exact(6) {
        let path = &files[edit[0] as usize % files.len()];
        let at = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize;
        let edited = disk.edit(path, |bytes| match edit[4] % 4 {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(&edit[1..6]),
            _ if bytes.is_empty() => {}
            _ => {
                let at = at % bytes.len();
                bytes[at] ^= edit[5] | 1;
            }
        });
        edited.expect("the file is there");
    }
    for path in [PACKED, PATH] {
        if read(disk.clone(), path).is_err() {
            // The right answer to damage.
        }
    }
});
