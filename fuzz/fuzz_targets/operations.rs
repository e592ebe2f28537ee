//! Operations on a disk that fails and loses its power where the input says, against a plain map: what was
//! acknowledged is there, what failed is there whole or not at all.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use nearfield::testing::{Fault, FaultDisk};
use nearfield::{
    Collection, Database, Fields, Id, Metric, OpenOptions, ScanOptions, Schema, Settings,
};

/// First elements of the vectors, by id.
type Rows = BTreeMap<u64, u8>;

struct Run {
    disk: FaultDisk,
    open: Option<(Database, Collection)>,
    rows: Rows,
    /// What operations that failed since then may have made of the rows.
    perhaps: Vec<Rows>,
}

impl Run {
    /// The collection, opened if need be; nothing where the disk does not allow it now.
    fn docs(&mut self) -> Option<Collection> {
        if self.open.is_none() {
            let mut settings = Settings::default();
            settings.background = false;
            settings.memtable_bytes = 64 << 10;
            settings.graph_bytes = 1 << 10;
            settings.m = 4;
            settings.ef_construction = 8;
            settings.threads = 1;
            let options = OpenOptions::new().settings(settings).disk(Arc::new(self.disk.clone()));
            let db = options.open("db").ok()?;
            let docs = db.collection("docs", Schema::new(2, Metric::L2)).ok()?;
            let found = rows_of(&docs).ok()?;
            let known = found == self.rows || self.perhaps.contains(&found);
            assert!(known, "{found:?} is neither {:?} nor {:?}", self.rows, self.perhaps);
            self.rows = found;
            self.perhaps.clear();
            self.open = Some((db, docs));
        }
        self.open.as_ref().map(|(_, docs)| docs.clone())
    }

    fn write(&mut self, next: Rows, outcome: nearfield::Result<()>) {
        match outcome {
            Ok(()) => {
                self.rows = next;
                self.perhaps.clear();
            }
            Err(_) => self.perhaps.push(next),
        }
    }

    fn step(&mut self, [kind, a, b]: [u8; 3]) {
        // Opened before a fault is planned, so that most operations have something to work on.
        let Some(docs) = self.docs() else {
            self.disk.plan(None);
            return;
        };
        let at = self.disk.operations() + u64::from(b % 32);
        let ids: Vec<u64> =
            (0..=u64::from(b % 16)).map(|at| (u64::from(a) + at * 7) % 256).collect();
        match kind % 16 {
            0..4 => {
                let mut next = self.rows.clone();
                next.extend(ids.iter().map(|id| (*id, b)));
                let vectors: Vec<f32> =
                    ids.iter().flat_map(|id| [f32::from(b), *id as f32]).collect();
                self.write(next, docs.upsert(&ids, &vectors, ()).map(drop));
            }
            4..6 => {
                let mut next = self.rows.clone();
                next.retain(|id, _| !ids.contains(id));
                self.write(next, docs.delete(&ids).map(drop));
            }
            6 => drop(docs.flush()),
            7 => drop(docs.compact()),
            8 => self.disk.plan(Some(Fault::PowerCut { at })),
            9 => self.disk.plan(Some(Fault::Fail { at, kind: kind_of(a), forever: a > 127 })),
            10 => self.disk.plan(Some(Fault::ShortWrite { at, kind: kind_of(a) })),
            11 => {
                let at = self.disk.reads() + u64::from(b % 32);
                self.disk.plan(Some(Fault::FailRead { at, kind: io::ErrorKind::Other }));
            }
            12 => self.reopen(FaultDisk::kill_image),
            13 | 14 => self.reopen(|disk| disk.crash_image(u64::from(a) << 8 | u64::from(b))),
            _ => {
                if let Ok(found) = rows_of(&docs) {
                    assert_eq!(found, self.rows, "what is read");
                }
            }
        }
    }

    fn reopen(&mut self, image: impl FnOnce(&FaultDisk) -> FaultDisk) {
        self.open = None;
        self.disk = image(&self.disk);
    }
}

fn kind_of(a: u8) -> io::ErrorKind {
    if a.is_multiple_of(2) { io::ErrorKind::StorageFull } else { io::ErrorKind::Other }
}

/// All rows, found twice: by reading them, and by an exact search that tells how far they are from the origin of
/// the first element.
fn rows_of(docs: &Collection) -> nearfield::Result<Rows> {
    let mut rows = Rows::new();
    for records in docs.scan(ScanOptions::new().fields(Fields::none().with_vectors()))? {
        let records = records?;
        let vectors = records.vectors.expect("vectors were asked for");
        let values = vectors.to_f32(0..vectors.len());
        for (id, vector) in records.ids.iter().zip(values.chunks(2)) {
            let Id::U64(id) = id else { panic!("{id} was never written") };
            assert_eq!(vector[1], *id as f32, "the vector of row {id}");
            assert!(rows.insert(*id, vector[0] as u8).is_none(), "row {id} is there twice");
        }
    }
    let hits = docs.search(&[0.0, 0.0]).k(1_000).exact(true).run()?;
    assert_eq!(hits.len(), rows.len(), "hits of all rows");
    for hit in hits.iter() {
        let Id::U64(id) = hit.id else { panic!("{} was never written", hit.id) };
        let (first, second) = (f32::from(rows[&id]), id as f32);
        assert_eq!(hit.distance, first * first + second * second, "row {id}");
    }
    Ok(rows)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disk = FaultDisk::new();
    let mut run = Run { disk, open: None, rows: Rows::new(), perhaps: Vec::new() };
    for step in data.chunks_exact(3).take(64) {
        run.step([step[0], step[1], step[2]]);
    }
    run.disk.plan(None);
    run.reopen(|disk| disk.crash_image(7));
    let docs = run.docs().expect("a disk that does not fail any more");
    assert!(docs.verify().expect("files are read").problems.is_empty());
});
