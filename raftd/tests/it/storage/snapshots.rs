//! Snapshots of a node's own: saved, found again, and checked.

use raft_core::node::{Compaction, Node};
use raft_core::types::Time;
use tempfile::TempDir;

use super::*;

/// Five entries of term 1, in term 3.
fn logged() -> TempDir {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    let entries = (1..=5).map(|index| put(index, 1, "a"));
    write(&mut log, [hard_state(1, None)].into_iter().chain(entries).collect());
    write(&mut log, vec![hard_state(3, Some(2))]);
    dir
}

fn save(dir: &Path, last: EntryId) -> Snapshot {
    let snapshot = snapshot(last, 40);
    open(dir).saver.save(&snapshot).unwrap();
    snapshot
}

/// Starts a node with what was recovered: it decides what of the log is void.
fn start(recovered: Recovered) -> Node {
    let options = raft_core::node::Options {
        id: 1,
        founders: [1, 2, 3].into(),
        heartbeat: Time::from_millis(50),
        election_timeout_min: Time::from_millis(150),
        election_timeout_max: Time::from_millis(300),
        append_bytes_max: 1 << 20,
        inflight_messages_max: 4,
        uncommitted_bytes_max: 1 << 20,
        compaction: Compaction {
            log_bytes_min: 1 << 20,
            log_percent_of_snapshot: 100,
            trailing_bytes: 0,
        },
        lease: None,
        limits: Limits::default(),
        seed: 1,
    };
    Node::new(Time::ZERO, options, recovered)
}

#[test]
fn snapshot_saved_comes_back_and_replaces_older_ones() {
    let dir = logged();
    let mut saver = open(dir.path()).saver;
    for index in 1..=5 {
        let saved = snapshot(id(index, 1), 40);
        let bytes = saver.save(&saved).unwrap();
        let name = format!("{index:020}-1.snap");
        assert_eq!(snapshots(dir.path()), [name]);
        let path = snapshot_path(dir.path(), saved.last);
        assert_eq!(fs::metadata(path).unwrap().len(), bytes);
    }
    drop(saver);
    let recovered = open(dir.path()).recovered;
    let found = recovered.snapshot.unwrap();
    assert_same(&found.snapshot, &snapshot(id(5, 1), 40));
    let path = snapshot_path(dir.path(), id(5, 1));
    assert_eq!(found.bytes, fs::metadata(path).unwrap().len());
    assert_eq!((recovered.base, recovered.entries.len()), (EntryId::ZERO, 5));
}

#[test]
fn equal_states_give_equal_files() {
    let (one, other) = (logged(), logged());
    for dir in [&one, &other] {
        save(dir.path(), id(5, 1));
    }
    let file = |dir: &TempDir| fs::read(snapshot_path(dir.path(), id(5, 1))).unwrap();
    assert_eq!(file(&one), file(&other));
}

/// A crash may come between the snapshot and whatever of the log it makes void.
#[test]
fn log_that_overlaps_with_ends_before_or_contradicts_the_snapshot_is_legal() {
    // The last entry, in index and term, that the node starts with.
    let cases = [
        ("inside the log", id(3, 1), id(5, 1)),
        ("the log's end", id(5, 1), id(5, 1)),
        ("newer than the log", id(9, 2), id(9, 2)),
        ("of a later term than any in the log", id(9, 4), id(9, 4)),
        ("contradicts the log", id(4, 3), id(4, 3)),
    ];
    for (case, last, expected) in cases {
        let dir = logged();
        let saved = save(dir.path(), last);
        let recovered = open(dir.path()).recovered;
        assert_same(&recovered.snapshot.as_ref().unwrap().snapshot, &saved);
        assert_eq!((recovered.base, recovered.entries.len()), (EntryId::ZERO, 5), "{case}");
        let view = start(recovered).view();
        assert_eq!((view.commit, view.last), (last.index, expected), "{case}");
    }
}

#[test]
fn log_goes_on_after_a_snapshot() {
    let dir = logged();
    let mut opened = open(dir.path());
    opened.saver.save(&snapshot(id(9, 3), 40)).unwrap();
    write(&mut opened.log, vec![Record::Snapshot { last: id(9, 3) }, put(10, 3, "b")]);
    drop(opened);
    let recovered = open(dir.path()).recovered;
    assert_eq!((recovered.term, recovered.vote), (3, Some(2)));
    assert_eq!((recovered.base, recovered.entries.len()), (id(9, 3), 1));
    assert_eq!(start(recovered).view().last, id(10, 3));
    let text = fs::read_to_string(segment(dir.path(), 1)).unwrap();
    assert!(text.contains(r#" {"snapshot":{"index":9,"term":3}}"#), "{text}");
}

#[test]
fn log_that_begins_after_the_newest_snapshot_is_damage() {
    let dir = logged();
    let mut opened = open(dir.path());
    opened.saver.save(&snapshot(id(9, 3), 40)).unwrap();
    write(&mut opened.log, vec![Record::Snapshot { last: id(9, 3) }, put(10, 3, "b")]);
    drop(opened);
    let newest = snapshot_path(dir.path(), id(9, 3));
    let content = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    let refused = refusal(dir.path());
    let expected =
        "snapshot holds no snapshot up to entry 9@3, after which the log begins; there is";
    assert!(refused.contains(expected), "{refused}");

    let other = logged();
    save(other.path(), id(3, 1));
    let older = snapshot_path(dir.path(), id(3, 1));
    fs::copy(snapshot_path(other.path(), id(3, 1)), &older).unwrap();
    assert!(refusal(dir.path()).contains("the newest ends with 3@1"));

    fs::write(&newest, content).unwrap();
    open(dir.path());
    assert!(!older.exists());
}

#[test]
fn snapshot_with_any_byte_damaged_is_noticed() {
    let dir = logged();
    let path = snapshot_path(dir.path(), id(5, 1));
    save(dir.path(), id(5, 1));
    let whole = fs::read(&path).unwrap();
    let names_it = |case: &str| {
        let refused = refusal(dir.path());
        assert!(refused.contains(&format!("{}, line ", path.display())), "{case}: {refused}");
    };
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80] {
            edit(&path, |content| content[at] ^= flip);
            names_it(&format!("byte {at} flipped by {flip:#x}"));
            fs::write(&path, &whole).unwrap();
        }
    }
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        names_it(&format!("cut after {end} bytes"));
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|&b| b == b'\n').collect();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        let twice = [&lines[..=at], &lines[at..]].concat().concat();
        for content in [without, twice] {
            fs::write(&path, content).unwrap();
            names_it(&format!("line {at} missing or there twice"));
        }
    }
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    names_it("an empty line at the end");
    fs::write(&path, &whole).unwrap();
    open(dir.path());
}

#[test]
fn snapshot_in_another_ones_place_is_noticed() {
    let dir = logged();
    save(dir.path(), id(5, 1));
    let other = scratch();
    let prod = Identity { cluster: "prod".into(), node: 1 };
    storage::open(other.path(), &prod, &alone())
        .unwrap()
        .saver
        .save(&snapshot(id(7, 1), 40))
        .unwrap();
    let path = snapshot_path(dir.path(), id(5, 1));
    fs::rename(&path, snapshot_path(dir.path(), id(6, 1))).unwrap();
    assert!(refusal(dir.path()).contains("the file holds snapshot 5@1"), "{}", refusal(dir.path()));
    fs::rename(snapshot_path(dir.path(), id(6, 1)), &path).unwrap();
    let foreign = snapshot_path(dir.path(), id(7, 1));
    fs::copy(snapshot_path(other.path(), id(7, 1)), &foreign).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains(&format!("{}, line 1: ", foreign.display())), "{refused}");
}

#[test]
fn damaged_snapshot_with_peers_is_moved_away_with_the_log() {
    let dir = scratch();
    let open = || storage::open_with(dir.path(), &identity(), &with_peers(), PLAIN).unwrap();
    open().saver.save(&snapshot(id(5, 1), 40)).unwrap();
    let incarnation = open().papers.incarnation();
    edit(&snapshot_path(dir.path(), id(5, 1)), |content| content[50] ^= 1);
    let Opened { damage, recovered, .. } = open();
    let damage = damage.unwrap();
    assert!(damage.reason.contains("-1.snap, line 1: "), "{}", damage.reason);
    assert_ne!(damage.incarnation, incarnation);
    assert!(recovered.snapshot.is_none());
    assert!(snapshot_path(&damage.dir, id(5, 1)).exists());
    assert!(snapshots(dir.path()).is_empty());
}

/// A process may die between any two steps of saving.
#[test]
fn save_cut_short_anywhere_leaves_the_old_snapshot_or_the_new_one() {
    type Step<'a> = &'a dyn Fn(&Path);
    let (old, new) = (id(3, 1), id(5, 1));
    let origin = logged();
    save(origin.path(), old);
    let after = copied(origin.path());
    save(after.path(), new);
    let content = fs::read(snapshot_path(after.path(), new)).unwrap();
    let unfinished = |dir: &Path| snapshot_path(dir, new).with_extension("tmp");
    let half = content.len() / 2;
    let steps: [(Step<'_>, EntryId); 4] = [
        (&|dir| fs::write(unfinished(dir), &content[..half]).unwrap(), old),
        (&|dir| fs::write(unfinished(dir), &content).unwrap(), old),
        (&|dir| fs::rename(unfinished(dir), snapshot_path(dir, new)).unwrap(), new),
        (&|dir| fs::remove_file(snapshot_path(dir, old)).unwrap(), new),
    ];
    let dir = copied(origin.path());
    for (step, expected) in steps {
        step(dir.path());
        let crashed = copied(dir.path());
        let recovered = open(crashed.path()).recovered;
        assert_eq!(recovered.snapshot.unwrap().snapshot.last, expected);
        let expected = snapshot_path(crashed.path(), expected);
        assert_eq!(snapshots(crashed.path()), [expected.file_name().unwrap().to_str().unwrap()]);
    }
}

#[test]
fn save_that_fails_leaves_everything_as_it_was() {
    let dir = logged();
    save(dir.path(), id(3, 1));
    let mut saver = open(dir.path()).saver;
    // A directory in the place of the unfinished file.
    let in_the_way = snapshot_path(dir.path(), id(5, 1)).with_extension("tmp");
    fs::create_dir(&in_the_way).unwrap();
    let refused = saver.save(&snapshot(id(5, 1), 40)).unwrap_err().to_string();
    assert!(refused.contains(&in_the_way.display().to_string()), "{refused}");
    assert_eq!(snapshots(dir.path()), ["00000000000000000003-1.snap"]);
    fs::remove_dir(&in_the_way).unwrap();
    saver.save(&snapshot(id(5, 1), 40)).unwrap();
}

/// Neither damage nor a reason to move anything away: an older program was started on a newer one's files.
#[test]
fn snapshot_of_another_version_is_refused_even_with_peers() {
    let dir = scratch();
    let open = || storage::open_with(dir.path(), &identity(), &with_peers(), PLAIN);
    open().unwrap().saver.save(&snapshot(id(5, 1), 40)).unwrap();
    let path = snapshot_path(dir.path(), id(5, 1));
    let whole = fs::read_to_string(&path).unwrap();
    for (old, new) in [("{\"format\":1,", "{\"format\":2,"), ("{\"format\":1,", "{\"news\":0,")] {
        let (first, rest) = whole.split_once('\n').unwrap();
        let object = first[9..].replace(old, new);
        let line = format!("{:08x} {object}\n", crc32c::crc32c(object.as_bytes()));
        fs::write(&path, line + rest).unwrap();
        let before = contents(dir.path());
        let refused = open().unwrap_err().to_string();
        assert!(refused.contains("intact, but not understood: "), "{refused}");
        assert!(refused.contains("; start the version that wrote it"), "{refused}");
        assert_eq!(contents(dir.path()), before);
    }
}
