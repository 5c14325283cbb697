//! A full disk: writes wait, nothing acknowledged is lost, and all goes on once there is room.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use raft_core::effects::ReceivedChunk;
use raftd::storage::WriterEvent;
use tempfile::TempDir;

use super::writer::{DEADLINE, is_durable, put_write, spawn};
use super::*;

/// Small steps, so that the disk fills up in the midst of segments and at their ends.
const OPTIONS: Options = Options { segment_bytes: 50_000, padding_bytes: 16_384 };

/// A small file system that only this thread, and those it starts, can see.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Says why if it is not possible: only root may mount.
    fn new(kib: u32) -> Result<SmallDisk, nix::Error> {
        let none = None::<&str>;
        let dir = TempDir::new().unwrap();
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let size = format!("size={kib}k");
        mount(none, dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
        Ok(SmallDisk { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The directory below can be removed only once nothing is mounted there.
        if let Err(error) = umount2(self.dir.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.dir.path().display());
        }
    }
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

/// `None`, and a word about it, where no small disk can be had.
fn small_disk(kib: u32) -> Option<SmallDisk> {
    SmallDisk::new(kib)
        .map_err(|error| eprintln!("skipped: cannot mount a small file system: {error}"))
        .ok()
}

#[test]
fn full_disk_fails_a_snapshot_and_nothing_else() {
    let Some(disk) = small_disk(4096) else { return };
    let data = disk.dir.path().join("data");
    let ballast = disk.dir.path().join("ballast");
    let opened = open_with(&data, OPTIONS).unwrap();
    let Opened { mut log, mut saver, mut transfers, mut papers, .. } = opened;
    write(&mut log, vec![hard_state(1, None)]);
    let large = snapshot(id(7, 1), 100_000);
    saver.save(&large).unwrap();
    let (mut pieces, mut offset) = (Vec::new(), 0);
    while let Some((data, total)) = transfers.read(large.last, offset).unwrap()
        && offset < total
    {
        let end = offset + u64::try_from(data.len()).unwrap();
        pieces.push((offset, data, end == total));
        offset = end;
    }
    // The same file under another name is not what it is said to be, but that shows only at its end.
    let piece = |(offset, data, is_last): &(u64, Arc<str>, bool)| ReceivedChunk {
        snapshot: id(8, 1),
        offset: *offset,
        data: Arc::clone(data),
        is_last: *is_last,
    };
    fs::write(&ballast, vec![0; 8192 * 1024]).unwrap_err();
    let before = snapshots(&data);
    assert!(saver.save(&snapshot(id(9, 1), 100_000)).unwrap_err().is_disk_full());
    let refused = pieces.iter().find_map(|at| transfers.receive(&piece(at)).err()).unwrap();
    assert!(refused.is_disk_full(), "{refused}");
    assert!(papers.note_peer(2, 22).unwrap_err().is_disk_full());
    assert_eq!(snapshots(&data), before, "nothing is left behind");
    fs::remove_file(&ballast).unwrap();
    write(&mut log, vec![put(1, 1, "a")]);
    papers.note_peer(2, 22).unwrap();
    let refused = pieces.iter().find_map(|at| transfers.receive(&piece(at)).err()).unwrap();
    assert!(matches!(refused, Error::BadSnapshotReceived(_)), "{refused}");
    saver.save(&snapshot(id(9, 1), 100_000)).unwrap();
    assert_eq!(snapshots(&data), ["00000000000000000009-1.snap"]);
}

/// Room may come from a purge only, so a purge must not wait for what waits for room.
#[test]
fn full_disk_gets_room_from_a_purge() {
    let Some(disk) = small_disk(1024) else { return };
    let data = disk.dir.path().join("data");
    let Opened { mut log, mut saver, papers, transfers, .. } = open_with(&data, OPTIONS).unwrap();
    write(&mut log, vec![hard_state(1, None)]);
    let (writer, events) = spawn(log);
    for seq in 1..=50 {
        writer.submit(put_write(seq, &"v".repeat(3_000)));
    }
    assert!(is_durable(&events, 50));
    saver.save(&snapshot(id(50, 1), 40)).unwrap();
    let durable = fill(&writer, &events, 51);
    writer.purge(51);
    assert!(is_durable(&events, durable + 1));
    writer.close();
    drop((saver, papers, transfers));
    let recovered = open_with(&data, OPTIONS).unwrap().recovered;
    assert!((1..=50).contains(&recovered.base.index), "{}", recovered.base);
    assert_eq!(recovered.entries.last().unwrap().id.index, durable + 1);
}

#[test]
fn full_disk_delays_writes_and_loses_none() {
    let Some(disk) = small_disk(1024) else { return };
    let data = disk.dir.path().join("data");
    let ballast = disk.dir.path().join("ballast");
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
