//! A full disk: writes wait, nothing acknowledged is lost, and all goes on once there is room.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use raftd::storage::WriterEvent;
use tempfile::TempDir;

use super::writer::{DEADLINE, is_durable, put_write, spawn};
use super::*;

/// Small steps, so that the disk fills up in the midst of segments and at their ends.
const OPTIONS: Options = Options { segment_bytes: 50_000, padding_bytes: 16_384 };

/// Gives this thread (and those it starts) a file system of `kib` on `dir`, which goes when they end. Says why if that
/// is not possible: only root may mount.
fn small_disk(dir: &Path, kib: u32) -> Result<(), nix::Error> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(none, dir, Some("tmpfs"), MsFlags::empty(), Some(format!("size={kib}k").as_str()))
}

/// Writes until the disk is full; the last write that is durable.
fn fill(
    writer: &storage::Writer,
    events: &std::sync::mpsc::Receiver<WriterEvent>,
    first: u64,
) -> u64 {
    for seq in first.. {
        writer.submit(put_write(seq, &"v".repeat(3_000)));
        if !is_durable(events, seq) {
            return seq - 1;
        }
        assert!(seq < first + 1_000, "the disk never fills up");
    }
    unreachable!("the numbers do not end")
}

#[test]
fn full_disk_delays_writes_and_loses_none() {
    let dir = TempDir::new().unwrap();
    if let Err(error) = small_disk(dir.path(), 1024) {
        eprintln!("skipped: cannot mount a small file system: {error}");
        return;
    }
    let data = dir.path().join("data");
    let ballast = dir.path().join("ballast");
    let mut log = open_with(&data, OPTIONS).unwrap().log;
    write(&mut log, vec![hard_state(1, None)]);
    let (writer, events) = spawn(log);
    let mut durable = 0;
    // Less and less room, so that each time something else is what does not fit.
    for ballast_kib in [700, 500, 350, 237, 150] {
        fs::write(&ballast, vec![0; ballast_kib * 1024]).unwrap();
        durable = fill(&writer, &events, durable + 1);
        let waiting = durable + 2;
        writer.submit(put_write(waiting, "queued while the disk is full"));
        assert!(events.try_recv().is_err(), "nothing is acknowledged while the disk is full");
        fs::remove_file(&ballast).unwrap();
        let event = events.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(event, WriterEvent::DiskFull(false)), "{event:?}");
        assert!(is_durable(&events, waiting));
        durable = waiting;
    }
    // A node can be stopped on a full disk, and started: it has all that it acknowledged, and nothing else.
    durable = fill(&writer, &events, durable + 1);
    writer.close();
    fs::write(&ballast, vec![0; 1024 * 1024]).unwrap_err();
    let Opened { recovered, torn, .. } = open_with(&data, OPTIONS).unwrap();
    assert_eq!((recovered.entries.last().unwrap().id.index, torn), (durable, None));
}
