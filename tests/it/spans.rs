//! Spans of `tracing`: what they are called and which fields they have.

use std::fmt::Debug;
use std::fmt::Write;
use std::sync::Mutex;
use std::thread::ThreadId;

use nearfield::{Metric, OpenOptions, Schema, Settings};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::Scratch;

/// What was entered, by which thread: other tests run meanwhile.
static ENTERED: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

/// Notes each span as text: its name and fields.
struct Listener;

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
        ENTERED.lock().unwrap().push((std::thread::current().id(), text));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn what_takes_time_is_in_a_span_with_its_collection_and_rows() {
    tracing::subscriber::set_global_default(Listener).unwrap();
    let scratch = Scratch::new();
    let mut settings = Settings::default();
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
    let docs = db.collection("docs", Schema::new(2, Metric::L2)).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 0.0, 1.0, 1.0], ()).unwrap();
    docs.delete(&[1]).unwrap();
    docs.search(&[0.0_f32, 0.0]).k(3).run().unwrap();
    docs.search(&[0.0_f32, 0.0, 1.0, 1.0]).k(1).run_batch().unwrap();
    docs.compact().unwrap();
    docs.add(&[3], &[3.0_f32, 3.0], ()).unwrap();
    docs.compact().unwrap();
    docs.import([], nearfield::ImportOptions::new()).unwrap();
    let own = std::thread::current().id();
    let entered = ENTERED.lock().unwrap();
    let entered: Vec<&str> = entered
        .iter()
        .filter(|(thread, _)| *thread == own)
        .map(|(_, text)| text.as_str())
        .collect();
    let path = format!("INFO open path={}", scratch.path().display());
    assert_eq!(
        entered,
        [
            path.as_str(),
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
}
