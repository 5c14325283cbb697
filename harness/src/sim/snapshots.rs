//! Snapshot files: written, read in pieces and put together beside the nodes' steps, and each of that may fail.

use std::sync::Arc;

use raft_core::effects::{ReadChunk, ReceivedChunk};
use raft_core::node::Input;
use raft_core::snapshot::{Saved, Snapshot};
use raft_core::types::EntryId;

use super::host::Receiving;
use super::plan::{MS, Trigger};
use super::violation::{Violation, ensure};
use super::world::{Happening, Slot, World};

impl World<'_> {
    /// A node wants its state, as it is now, in a file.
    pub(super) fn save(&mut self, slot: Slot, snapshot: Snapshot) -> Result<(), Violation> {
        let host = &mut self.hosts[slot];
        let busy = host.saving.is_some();
        ensure!(!busy, "effects contract", "n{}: two snapshots at a time", host.id);
        self.safety.on_snapshot(host.id, &snapshot)?;
        let keys =
            host.node.as_ref().map_or(0, |node| node.store().len() + node.store().sessions());
        let text = || -> Arc<str> {
            let head = format!("{} {:016x} ", snapshot.last, snapshot.state.hash());
            (head.clone() + &head.repeat(keys)).into()
        };
        self.files.entry(snapshot.last).or_insert_with(|| (snapshot.clone(), text()));
        host.saving = Some(snapshot);
        self.trigger(Trigger::Snapshot, slot);
        let host = &mut self.hosts[slot];
        let (life, longest) = (host.life, self.plan.knobs.snapshot_max);
        let delay = host.rng.between(MS, longest);
        self.after(delay, Happening::Saved(slot, life));
        Ok(())
    }

    /// Whether something about a snapshot file goes wrong.
    fn fails(&mut self, slot: Slot) -> bool {
        let failures =
            if self.healing.since.is_some() { 0 } else { self.plan.knobs.snapshot_failures };
        let host = &mut self.hosts[slot];
        let fails = !host.bad_snapshots.is_empty() || host.rng.chance(failures);
        if fails {
            self.tally.count("snapshot files failed");
        }
        fails
    }

    pub(super) fn saved(&mut self, slot: Slot) -> Result<(), Violation> {
        let Some(snapshot) = self.hosts[slot].saving.take() else { return Ok(()) };
        let last = snapshot.last;
        if self.fails(slot) {
            return self.input(slot, Input::SnapshotFailed { last });
        }
        let bytes = self.length(last);
        self.hosts[slot].disk.publish(Saved { snapshot, bytes });
        self.input(slot, Input::SnapshotSaved { last, bytes })
    }

    fn length(&self, snapshot: EntryId) -> u64 {
        let length = self.files.get(&snapshot).map_or(0, |(_, text)| text.len());
        u64::try_from(length).expect("memory is smaller")
    }

    /// The newest file is there; one that was replaced may still be open, or not.
    pub(super) fn read_chunk(&mut self, slot: Slot, chunk: ReadChunk) -> Result<(), Violation> {
        let ReadChunk { to, snapshot, offset } = chunk;
        let host = &mut self.hosts[slot];
        let newest = host.disk.snapshot.as_ref().map(|saved| saved.snapshot.last);
        let is_there = newest == Some(snapshot) || newest > Some(snapshot) && host.rng.chance(700);
        if !is_there || self.fails(slot) {
            return self.input(slot, Input::ChunkFailed { to, snapshot });
        }
        let Some((_, text)) = self.files.get(&snapshot) else {
            return self.input(slot, Input::ChunkFailed { to, snapshot });
        };
        let total = self.length(snapshot);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let end = start.saturating_add(self.plan.knobs.chunk_bytes).min(text.len());
        let data: Arc<str> = text[start..end].into();
        self.input(slot, Input::ChunkRead { to, snapshot, offset, data, total })
    }

    pub(super) fn receive(&mut self, slot: Slot, chunk: ReceivedChunk) -> Result<(), Violation> {
        let ReceivedChunk { snapshot, offset, data, is_last } = chunk;
        self.tally.count("pieces of snapshots received");
        let fails = self.fails(slot);
        self.trigger(Trigger::Snapshot, slot);
        let host = &mut self.hosts[slot];
        if offset == 0 {
            host.receiving = Some(Receiving { snapshot, data: String::new() });
        }
        let Some(receiving) = &mut host.receiving else {
            // The piece before could not be stored.
            self.input_later(slot, Input::ReceiveFailed { snapshot });
            return Ok(());
        };
        let length = u64::try_from(receiving.data.len()).expect("memory is smaller");
        let follows = receiving.snapshot == snapshot && length == offset;
        ensure!(
            follows,
            "effects contract",
            "n{}: a piece at {offset} of {snapshot} after {length} bytes of {}",
            host.id,
            receiving.snapshot
        );
        receiving.data.push_str(&data);
        if fails {
            host.receiving = None;
            self.input_later(slot, Input::ReceiveFailed { snapshot });
            return Ok(());
        }
        if is_last && let Some(received) = host.receiving.take() {
            let (life, longest) = (host.life, self.plan.knobs.snapshot_max);
            let delay = host.rng.between(0, longest);
            self.after(delay, Happening::Verified(slot, life, received));
        }
        Ok(())
    }

    /// As `input`, for what is asked for in the middle of a step.
    fn input_later(&mut self, slot: Slot, input: Input) {
        let host = &mut self.hosts[slot];
        host.inbox.push(input);
        if !host.step_due {
            host.step_due = true;
            let life = host.life;
            self.after(MS, Happening::Step(slot, life));
        }
    }

    pub(super) fn verified(&mut self, slot: Slot, received: &Receiving) -> Result<(), Violation> {
        let (last, fails) = (received.snapshot, self.fails(slot));
        let host = &mut self.hosts[slot];
        let known = self.files.get(&last);
        let Some((snapshot, text)) = known.filter(|(_, text)| **text == *received.data) else {
            let evidence = format!("n{} put together {last}: {:?}", host.id, received.data);
            return Err(Violation::new("snapshots arrive whole", evidence));
        };
        if fails {
            return self.input(slot, Input::ReceiveFailed { snapshot: last });
        }
        let bytes = u64::try_from(text.len()).expect("memory is smaller");
        let saved = Saved { snapshot: snapshot.clone(), bytes };
        host.disk.publish(saved.clone());
        self.input(slot, Input::SnapshotReceived { saved })
    }
}
