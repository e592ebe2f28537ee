//! Spans of `tracing`: what they are called, which fields they have, and that they last as long as what they
//! are about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearfield::testing::FaultDisk;
use nearfield::{Hits, ImportBatch, ImportOptions, Metric, OpenOptions, Schema, Settings, Vectors};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Listens to the spans of one thread.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Heard>>);

#[derive(Clone, Default)]
struct Heard {
    /// The spans that were made, with their fields; their ids count from 1.
    made: Vec<String>,
    /// Those that are entered, outermost first.
    open: Vec<u64>,
    /// The spans in the order in which they were entered, each below that around it.
    lines: Vec<String>,
    /// What was done in the spans, by the name of the innermost.
    done: BTreeMap<String, BTreeSet<String>>,
    /// Spans that were left before those within them.
    crossed: usize,
}

impl Listener {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is being done.
    fn note(&self, what: &str) {
        let mut heard = self.heard();
        let span = heard.open.last().map_or("", |id| heard.made[*id as usize - 1].as_str());
        let name = span.split(' ').nth(1).unwrap_or_default().to_owned();
        heard.done.entry(name).or_default().insert(what.into());
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("nearfield::")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = format!("{} {}", span.metadata().level(), span.metadata().name());
        span.record(&mut Fields(&mut text));
        let mut heard = self.heard();
        heard.made.push(text);
        Id::from_u64(heard.made.len() as u64)
    }

    fn enter(&self, id: &Id) {
        let mut heard = self.heard();
        let line = "  ".repeat(heard.open.len()) + &heard.made[id.into_u64() as usize - 1];
        heard.lines.push(line);
        heard.open.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let mut heard = self.heard();
        let left = heard.open.pop();
        heard.crossed += usize::from(left != Some(id.into_u64()));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
}

#[test]
fn what_takes_time_is_in_a_span_with_its_collection_and_rows() {
    let listener = Listener::default();
    let files = listener.clone();
    let disk = FaultDisk::new();
    disk.set_hook(Some(Arc::new(move |path: &Path| {
        let end = path.extension().map_or("directory", |end| end.to_str().unwrap());
        files.note(if path.to_string_lossy().contains("MANIFEST") { "manifest" } else { end });
    })));
    let order = |hits: &Hits| {
        listener.note("order");
        Ok(vec![0.0; hits.len()])
    };
    let path = Path::new("/my.nf");
    let mut settings = Settings::default();
    settings.background = false;
    let listening = tracing::subscriber::set_default(listener.clone());
    let db = OpenOptions::new().settings(settings).disk(Arc::new(disk)).open(path).unwrap();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 0.0, 1.0, 1.0], ()).unwrap();
    docs.delete(&[1]).unwrap();
    docs.search(&[0.0_f32, 0.0]).k(3).rerank(3, order).run().unwrap();
    docs.search(&[0.0_f32, 0.0, 1.0, 1.0]).k(1).rerank(1, order).run_batch().unwrap();
    docs.compact().unwrap();
    docs.add(&[3], &[3.0_f32, 3.0], ()).unwrap();
    docs.compact().unwrap();
    let batch = ImportBatch {
        ids: vec![5_u64].into(),
        vectors: Vectors::from(vec![5.0_f32, 5.0]),
        attributes: None,
        source_rows: vec![0],
        rejected: Vec::new(),
    };
    docs.import([Ok(batch)], ImportOptions::new()).unwrap();
    drop(listening);
    let heard = listener.heard().clone();
    assert_eq!(
        heard.lines,
        [
            "INFO open path=/my.nf",
            "INFO open_collection collection=\"docs\"",
            "DEBUG write collection=\"docs\" rows=2",
            "DEBUG write collection=\"docs\" rows=1",
            "DEBUG search collection=\"docs\" k=3 rows=1",
            "DEBUG search_batch collection=\"docs\" queries=2 k=1 rows=1",
            "INFO flush collection=\"docs\" rows=1",
            "DEBUG write collection=\"docs\" rows=1",
            "INFO flush collection=\"docs\" rows=1",
            "INFO merge collection=\"docs\" segments=2 rows=2 graph=false",
            "INFO import collection=\"docs\"",
        ]
    );
    for (span, what) in [
        ("open", "nf"),
        ("open_collection", "manifest"),
        ("write", "log"),
        ("search", "order"),
        ("search_batch", "order"),
        ("flush", "nfs"),
        ("flush", "manifest"),
        ("merge", "nfs"),
        ("merge", "manifest"),
        ("import", "nfs"),
        ("import", "manifest"),
    ] {
        let done = heard.done.get(span);
        assert!(done.is_some_and(|done| done.contains(what)), "{span} {what}: {:?}", heard.done);
    }
    assert_eq!((heard.crossed, heard.open.len()), (0, 0));
}
