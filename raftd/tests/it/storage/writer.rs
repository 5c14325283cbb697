//! The thread that writes.

use std::sync::mpsc;
use std::time::Duration;

use raft_core::effects::WriteSeq;
use raftd::storage::{Writer, WriterEvent};

use super::*;

/// Nothing here takes this long; it only ends a test that would hang.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

pub(super) fn spawn(log: LogFile) -> (Writer, mpsc::Receiver<WriterEvent>) {
    let (notify, events) = mpsc::channel();
    let writer = Writer::spawn(log, move |event| notify.send(event).unwrap()).unwrap();
    (writer, events)
}

/// Waits for the write's completion; `false` if the disk filled up first.
pub(super) fn is_durable(events: &mpsc::Receiver<WriterEvent>, seq: WriteSeq) -> bool {
    loop {
        match events.recv_timeout(DEADLINE).unwrap() {
            WriterEvent::Durable { seq: durable, .. } if durable >= seq => return true,
            WriterEvent::Durable { .. } | WriterEvent::DiskFull(false) => {}
            WriterEvent::DiskFull(true) => return false,
            WriterEvent::Failed(error) => panic!("{error}"),
        }
    }
}

pub(super) fn put_write(seq: WriteSeq, value: &str) -> Write {
    Write { seq, term: 1, records: vec![put(seq, 1, value)] }
}

#[test]
fn writer_reports_writes_in_order_and_loses_none() {
    let dir = scratch();
    let mut log = open_with(dir.path(), TINY).unwrap().log;
    write(&mut log, vec![hard_state(1, None)]);
    let (writer, events) = spawn(log);
    for seq in 1..=500 {
        writer.submit(put_write(seq, "value"));
    }
    assert!(is_durable(&events, 500));
    let stats = writer.stats().view();
    assert_eq!((stats.records, stats.writes_waiting), (500, 0));
    assert!((1..=500).contains(&stats.syncs), "{stats:?}");
    assert!(stats.bytes > 500 * 80 && stats.sync_us_p50 <= stats.sync_us_p99, "{stats:?}");
    for seq in 501..=600 {
        writer.submit(put_write(seq, "value"));
    }
    writer.close();
    let mut last = 500;
    for event in events {
        let WriterEvent::Durable { term: 1, seq } = event else { panic!("{event:?}") };
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
    assert_eq!(last, 600);
    assert_eq!(open(dir.path()).recovered.entries.len(), 600);
}

#[test]
fn writer_batches_what_waits_for_the_disk() {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, None)]);
    let (hold, held) = mpsc::channel::<()>();
    let (notify, events) = mpsc::channel();
    let writer = Writer::spawn(log, move |event| {
        notify.send(event).unwrap();
        held.recv().ok();
    })
    .unwrap();
    writer.submit(put_write(1, "first"));
    assert!(is_durable(&events, 1));
    // The thread is kept in `notify` until all of these are queued.
    for seq in 2..=100 {
        writer.submit(put_write(seq, "more"));
    }
    drop(hold);
    let event = events.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(event, WriterEvent::Durable { term: 1, seq: 100 }), "{event:?}");
    assert_eq!(writer.stats().view().syncs, 2);
    writer.close();
}

#[test]
fn writer_closed_releases_the_directory() {
    let dir = scratch();
    let (writer, _events) = spawn(open(dir.path()).log);
    writer.close();
    open(dir.path());
}
