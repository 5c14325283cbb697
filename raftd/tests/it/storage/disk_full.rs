//! A full disk: writes wait, nothing acknowledged is lost, and all goes on once there is room.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
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

#[test]
fn full_disk_delays_writes_and_loses_none() {
    let disk = match SmallDisk::new(1024) {
        Ok(disk) => disk,
        Err(error) => return eprintln!("skipped: cannot mount a small file system: {error}"),
    };
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
