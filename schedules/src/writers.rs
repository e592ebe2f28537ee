//! Several writers share syncs: what one of them was told is on disk by then, whenever the power is cut; a failure
//! is everybody's of the group; and closing meanwhile leaves nobody waiting and nothing out.

use std::io::ErrorKind;

use nearfield::testing::{Fault, FaultDisk};
use nearfield::{Error, Result};
use shuttle::thread::JoinHandle;

use crate::explore;
use crate::store::{
    Progress, Store, Told, Width, check_between, cut, linger, random, reopened, spawn,
};

const WRITERS: usize = 3;

/// Starts threads that write `batches` batches each, or until one fails.
fn start(
    store: &Store,
    told: &Told,
    writers: usize,
    batches: usize,
) -> Vec<JoinHandle<Result<()>>> {
    let one = |writer| {
        let (docs, told, width) = (store.docs.clone(), told.clone(), store.width);
        spawn(move || (0..batches).try_for_each(|_| told.write(&docs, width, writer).map(drop)))
    };
    (0..writers).map(one).collect()
}

fn join<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
}

/// Disks as power cuts leave them, at moments of the scheduler's choice, and what had been told before.
fn cuts(store: &Store, told: &Told, count: usize) -> JoinHandle<Vec<(Vec<Progress>, FaultDisk)>> {
    let (disk, told) = (store.disk.clone(), told.clone());
    let one = move |_| {
        linger();
        let before = told.now();
        (before, cut(&disk))
    };
    spawn(move || (0..count).map(one).collect())
}

/// Opens each disk and looks what it holds.
fn check_cuts(cuts: JoinHandle<Vec<(Vec<Progress>, FaultDisk)>>, told: &Told) {
    for (before, disk) in cuts.join().unwrap() {
        let (_db, docs) = reopened(&disk);
        check_between(&docs, &before, &told.now());
    }
}

pub(crate) fn written_while_the_power_is_cut(width: Width, background: bool) {
    let store = Store::new(width, background);
    let told = Told::new(WRITERS);
    let cuts = cuts(&store, &told, 2);
    for written in join(start(&store, &told, WRITERS, 2)) {
        written.unwrap();
    }
    check_between(&store.docs, &told.now(), &told.now());
    check_cuts(cuts, &told);
}

#[test]
fn what_was_acknowledged_is_there_whenever_the_power_is_cut() {
    explore("power cuts", || written_while_the_power_is_cut(Width::Narrow, false));
}

#[test]
fn what_was_acknowledged_is_there_though_the_power_is_cut_while_memtables_are_flushed() {
    explore("power cuts and flushes", || written_while_the_power_is_cut(Width::Wide, true));
}

/// One operation of the disk fails.
pub(crate) fn one_operation_fails(kind: ErrorKind) {
    let store = Store::new(Width::Narrow, false);
    let told = Told::new(WRITERS);
    // So that there is a log.
    told.write(&store.docs, store.width, 0).unwrap();
    let operations = store.disk.operations();
    // An append, a sync and the append of a mark for each group.
    let at = operations + random(9);
    store.disk.plan(Some(Fault::Fail { at, kind, forever: false }));
    let cuts = cuts(&store, &told, 1);
    let results = join(start(&store, &told, WRITERS, 2));
    check_cuts(cuts, &told);
    // Where it has not come to it yet.
    store.disk.plan(None);
    let failed = results.iter().any(Result::is_err);
    for error in results.into_iter().filter_map(Result::err) {
        match (kind, error) {
            (ErrorKind::StorageFull, Error::Full { .. }) | (_, Error::Poisoned(_)) => {}
            (kind, error) => panic!("{kind}: {error:?}"),
        }
    }
    // What was refused is not seen, then and later.
    let now = told.now();
    let seen: Vec<Progress> =
        now.iter().map(|one| Progress { begun: one.written, ..*one }).collect();
    check_between(&store.docs, &seen, &seen);
    match told.write(&store.docs, store.width, WRITERS - 1) {
        Err(Error::Poisoned(_)) => assert!(failed && kind != ErrorKind::StorageFull),
        Ok(_) => assert!(!failed || kind == ErrorKind::StorageFull),
        Err(error) => panic!("{error:?}"),
    }
    let (_db, docs) = reopened(&cut(&store.disk));
    check_between(&docs, &told.now(), &told.now());
}

#[test]
fn a_failing_sync_fails_its_whole_group_and_all_writes_after_it() {
    explore("failing operations", || one_operation_fails(ErrorKind::Other));
}

#[test]
fn a_full_disk_refuses_a_whole_group_and_takes_what_comes_after_it() {
    explore("a full disk", || one_operation_fails(ErrorKind::StorageFull));
}

/// What a thread of a database that is closed meanwhile may be told.
fn check_closed(result: Result<()>) {
    match result {
        Ok(()) | Err(Error::Closed(_) | Error::Cancelled) => {}
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) fn closed_meanwhile(width: Width, background: bool) {
    let store = Store::new(width, background);
    let told = Told::new(2);
    let writers = start(&store, &told, 2, 2);
    let merges = {
        let docs = store.docs.clone();
        spawn(move || docs.compact().map(drop))
    };
    let cuts = cuts(&store, &told, 1);
    let closing = {
        let db = store.db.clone();
        spawn(move || db.close())
    };
    // Some close when all has been written: then there is nobody else to wake those who sleep.
    (0..random(8)).for_each(|_| linger());
    store.db.close().unwrap();
    let Err(Error::Closed(_)) = told.clone().write(&store.docs, width, 0) else {
        panic!("written after closing");
    };
    closing.join().unwrap().unwrap();
    join(writers).into_iter().for_each(check_closed);
    check_closed(merges.join().unwrap());
    check_cuts(cuts, &told);
    let now = told.now();
    for disk in [store.disk.kill_image(), cut(&store.disk)] {
        let (_db, docs) = reopened(&disk);
        check_between(
            &docs,
            &now,
            &now.iter().map(|one| Progress { begun: one.written, ..*one }).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn closing_while_threads_write_and_merge_ends_and_keeps_what_was_acknowledged() {
    explore("closing", || closed_meanwhile(Width::Narrow, true));
}

#[test]
fn closing_while_memtables_are_flushed_ends_and_keeps_what_was_acknowledged() {
    explore("closing and flushes", || closed_meanwhile(Width::Wide, true));
}
