//! Snapshots on their way from one node's disk to another's.

use raft_core::effects::ReceivedChunk;
use raft_core::snapshot::Saved;
use raftd::storage::{PIECE_BYTES_MAX, Transfers};

use super::*;

/// A snapshot of several pieces.
fn large(last: EntryId) -> Snapshot {
    snapshot(last, 150_000)
}

fn sender(dir: &Path, last: EntryId) -> Opened {
    let mut opened = open(dir);
    opened.saver.save(&large(last)).unwrap();
    opened
}

/// All pieces, as they come.
fn pieces(transfers: &mut Transfers, snapshot: EntryId) -> Vec<ReceivedChunk> {
    let mut pieces = Vec::new();
    let mut offset = 0;
    loop {
        let (data, total) = transfers.read(snapshot, offset).unwrap().unwrap();
        assert!(!data.is_empty() && data.len() <= PIECE_BYTES_MAX, "{} bytes", data.len());
        let end = offset + u64::try_from(data.len()).unwrap();
        pieces.push(ReceivedChunk { snapshot, offset, data, is_last: end == total });
        offset = end;
        if end == total {
            return pieces;
        }
    }
}

fn receive(transfers: &mut Transfers, pieces: &[ReceivedChunk]) -> Result<Option<Saved>, Error> {
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        assert!(transfers.receive(piece)?.is_none());
    }
    transfers.receive(last)
}

/// The pieces of a snapshot that ends with entry 7 of term 2.
fn sent() -> Vec<ReceivedChunk> {
    let dir = scratch();
    pieces(&mut sender(dir.path(), id(7, 2)).transfers, id(7, 2))
}

#[test]
fn snapshot_sent_in_pieces_is_the_same_on_the_other_side() {
    let (from, to) = (scratch(), scratch());
    let mut sender = sender(from.path(), id(7, 2));
    let mut receiver = open(to.path());
    receiver.saver.save(&snapshot(id(3, 1), 40)).unwrap();
    let pieces = pieces(&mut sender.transfers, id(7, 2));
    assert!(pieces.len() > 2);
    let cut = pieces.iter().filter(|piece| !piece.is_last && piece.data.len() < PIECE_BYTES_MAX);
    assert!(cut.count() > 0, "no piece was cut before a character: this shows too little");
    let saved = receive(&mut receiver.transfers, &pieces).unwrap().unwrap();
    assert_same(&saved.snapshot, &large(id(7, 2)));
    let file = |dir: &Path| fs::read(snapshot_path(dir, id(7, 2))).unwrap();
    assert_eq!(file(from.path()), file(to.path()));
    assert_eq!(saved.bytes, u64::try_from(file(to.path()).len()).unwrap());
    assert_eq!(snapshots(to.path()), ["00000000000000000007-2.snap"], "the older one is gone");
    drop(receiver);
    let recovered = open(to.path()).recovered;
    assert_same(&recovered.snapshot.unwrap().snapshot, &saved.snapshot);
}

#[test]
fn snapshot_that_is_replaced_stays_readable_for_who_reads_it() {
    let dir = scratch();
    let mut opened = sender(dir.path(), id(7, 2));
    let whole = fs::read_to_string(snapshot_path(dir.path(), id(7, 2))).unwrap();
    let (first, total) = opened.transfers.read(id(7, 2), 0).unwrap().unwrap();
    opened.saver.save(&large(id(8, 2))).unwrap();
    opened.saver.save(&large(id(9, 2))).unwrap();
    assert!(opened.transfers.read(id(8, 2), 0).unwrap().is_none(), "nobody was reading that one");
    opened.transfers.read(id(9, 2), 0).unwrap().unwrap();
    let mut text = first.to_string();
    while text.len() < usize::try_from(total).unwrap() {
        let offset = u64::try_from(text.len()).unwrap();
        text.push_str(&opened.transfers.read(id(7, 2), offset).unwrap().unwrap().0);
    }
    assert_eq!(text, whole);
    assert!(opened.transfers.read(id(7, 2), 0).unwrap().is_none(), "it is not kept for good");
}

#[test]
fn piece_at_an_impossible_place_is_refused_or_empty() {
    let dir = scratch();
    let mut opened = sender(dir.path(), id(7, 2));
    let whole = fs::read_to_string(snapshot_path(dir.path(), id(7, 2))).unwrap();
    let inside = (0..whole.len()).find(|&at| !whole.is_char_boundary(at)).unwrap();
    let offset = u64::try_from(inside).unwrap();
    let refused = opened.transfers.read(id(7, 2), offset).unwrap_err().to_string();
    assert!(refused.contains(&format!("no piece can begin at byte {inside}")), "{refused}");
    let length = u64::try_from(whole.len()).unwrap();
    for beyond in [length, length + 1, u64::MAX] {
        let (data, total) = opened.transfers.read(id(7, 2), beyond).unwrap().unwrap();
        assert_eq!((&*data, total), ("", length));
    }
    assert!(opened.transfers.read(id(7, 3), 0).unwrap().is_none());
}

#[test]
fn piece_out_of_order_is_refused_and_the_rest_goes_on() {
    let dir = scratch();
    let mut receiver = open(dir.path()).transfers;
    let pieces = sent();
    let refused = receiver.receive(&pieces[1]).unwrap_err().to_string();
    assert!(refused.contains("where byte 0 was due"), "{refused}");
    receiver.receive(&pieces[0]).unwrap();
    receiver.receive(&pieces[2]).unwrap_err();
    let other = ReceivedChunk { snapshot: id(8, 2), ..pieces[1].clone() };
    receiver.receive(&other).unwrap_err();
    receiver.receive(&pieces[1]).unwrap();
    receiver.receive(&pieces[1]).unwrap_err();
    // From the beginning, too.
    assert!(receive(&mut receiver, &pieces).unwrap().is_some());
    assert_eq!(snapshots(dir.path()), ["00000000000000000007-2.snap"]);
}

#[test]
fn snapshot_that_is_not_valid_gets_no_name() {
    type Spoil = fn(&mut Vec<ReceivedChunk>);
    fn rewrite(piece: &mut ReceivedChunk, change: impl FnOnce(&mut String)) {
        let mut text = piece.data.to_string();
        change(&mut text);
        piece.data = text.into();
    }
    let cases: [(&str, Spoil); 7] = [
        ("a byte", |pieces| {
            let flip = |text: &mut String| {
                let at = text.find(|c: char| c.is_ascii_digit()).unwrap();
                text.replace_range(at..=at, "x");
            };
            rewrite(&mut pieces[1], flip);
        }),
        ("another name", |pieces| {
            for piece in pieces {
                piece.snapshot = id(8, 2);
            }
        }),
        ("no end", |pieces| {
            pieces.pop();
            pieces.last_mut().unwrap().is_last = true;
        }),
        ("no last line", |pieces| {
            let end = |text: &mut String| {
                text.truncate(text.trim_end().rfind('\n').unwrap() + 1);
            };
            rewrite(pieces.last_mut().unwrap(), end);
        }),
        ("no last line end", |pieces| {
            rewrite(pieces.last_mut().unwrap(), |text| text.truncate(text.len() - 1));
        }),
        ("the beginning of more", |pieces| {
            rewrite(pieces.last_mut().unwrap(), |text| text.push_str("{}"));
        }),
        ("more than the end", |pieces| {
            rewrite(pieces.last_mut().unwrap(), |text| text.push_str("{}\n"));
        }),
    ];
    let dir = scratch();
    let Opened { mut saver, mut transfers, .. } = open(dir.path());
    saver.save(&snapshot(id(3, 1), 40)).unwrap();
    for (case, spoil) in cases {
        let mut pieces = sent();
        spoil(&mut pieces);
        let refused = receive(&mut transfers, &pieces).unwrap_err();
        assert!(matches!(refused, Error::BadSnapshotReceived(_)), "{case}: {refused}");
        assert_eq!(snapshots(dir.path()), ["00000000000000000003-1.snap"], "{case}");
    }
    assert!(receive(&mut transfers, &sent()).unwrap().is_some());
}

#[test]
fn snapshot_of_another_cluster_is_refused() {
    let dir = scratch();
    let prod = Identity { cluster: "prod".into(), node: 2 };
    let mut receiver = storage::open(dir.path(), &prod, &alone()).unwrap().transfers;
    let refused = receive(&mut receiver, &sent()).unwrap_err();
    assert!(matches!(refused, Error::BadSnapshotReceived(_)), "{refused}");
    assert!(snapshots(dir.path()).is_empty());
}

#[test]
fn transfer_cut_short_by_a_crash_begins_again() {
    let dir = scratch();
    let pieces = sent();
    let mut receiver = open(dir.path()).transfers;
    receiver.receive(&pieces[0]).unwrap();
    assert_eq!(snapshots(dir.path()), ["00000000000000000007-2.part"]);
    drop(receiver);
    let Opened { mut transfers, recovered, .. } = open(dir.path());
    assert!(recovered.snapshot.is_none());
    assert!(snapshots(dir.path()).is_empty(), "the unfinished file is removed");
    transfers.receive(&pieces[1]).unwrap_err();
    assert!(receive(&mut transfers, &pieces).unwrap().is_some());
}
