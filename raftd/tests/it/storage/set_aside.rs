//! Damage, where there are peers to recover from: it is moved out of the way, and the node is one that lost its disk.

use raft_core::node::Standing;
use raftd::storage::PapersStanding;

use tempfile::TempDir;

use super::directory::sealed;
use super::*;

fn open_peer(dir: &Path) -> Opened {
    storage::open_with(dir, &identity(), &with_peers(), PLAIN).unwrap()
}

/// A founder that has full standing, has noted a peer, and has a log of several segments.
fn used() -> TempDir {
    let dir = scratch();
    let options = Options { segment_bytes: 300, padding_bytes: 0 };
    let opened = storage::open_with(dir.path(), &identity(), &with_peers(), options).unwrap();
    let Opened { mut log, mut papers, .. } = opened;
    papers.note_peer(2, 22).unwrap();
    papers.set_standing(PapersStanding::Full).unwrap();
    write(&mut log, vec![hard_state(3, Some(1))]);
    for index in 1..10 {
        write(&mut log, vec![put(index, 3, "value")]);
    }
    dir
}

/// A kind of damage: what it is called, how it comes about, and what is said of it.
type Case = (&'static str, fn(&Path), &'static str);

const CASES: [Case; 7] = [
    ("bad line", |dir| edit(&segment(dir, 2), |content| content[200] ^= 1), ".log, line "),
    ("missing segment", |dir| fs::remove_file(segment(dir, 2)).unwrap(), "2.log is missing"),
    (
        "missing newest segment",
        |dir| fs::remove_file(segment(dir, *segments(dir).last().unwrap())).unwrap(),
        ".log is missing",
    ),
    ("missing log", |dir| fs::remove_dir_all(dir.join("log")).unwrap(), "segments.json is missing"),
    (
        "bad counters",
        |dir| edit(&dir.join("log/segments.json"), |content| content[3] ^= 1),
        "segments.json is damaged",
    ),
    (
        "missing papers",
        |dir| fs::remove_file(dir.join("node.json")).unwrap(),
        "node.json is missing, but there is a log",
    ),
    (
        "bad papers",
        |dir| edit(&dir.join("node.json"), |content| content[30] ^= 1),
        "node.json is damaged",
    ),
];

#[test]
fn damage_with_peers_is_moved_away_and_the_node_is_lost() {
    let origin = used();
    let old_incarnation = open_peer(origin.path()).papers.incarnation();
    for (case, damage, reason) in CASES {
        let dir = copied(origin.path());
        damage(dir.path());
        let before = contents(dir.path());
        let Opened { recovered, damage, log, papers, .. } = open_peer(dir.path());
        let found = damage.unwrap_or_else(|| panic!("{case}: not noticed"));
        assert!(found.reason.contains(reason), "{case}: {}", found.reason);
        assert_eq!(found.dir, dir.path().join("damaged-1"), "{case}");
        let incarnation = papers.incarnation();
        assert_ne!(incarnation, old_incarnation, "{case}");
        assert_eq!(found.incarnation, incarnation, "{case}");
        assert_eq!(recovered.standing, Standing::Lost { incarnation }, "{case}");
        assert_eq!(papers.standing(), PapersStanding::Lost, "{case}");
        assert_eq!(*papers.founders(), [1, 2, 3].into(), "{case}");
        assert_eq!(Model::from(recovered), Model::default(), "{case}");
        drop((log, papers));
        for (path, content) in before {
            let kept = found.dir.join(path.strip_prefix(dir.path()).unwrap());
            assert_eq!(fs::read(&kept).unwrap(), content, "{case}: {}", kept.display());
        }
    }
}

#[test]
fn node_that_is_lost_stays_lost_and_goes_on() {
    let dir = used();
    let old_incarnation = open_peer(dir.path()).papers.incarnation();
    edit(&segment(dir.path(), 2), |content| content[200] ^= 1);
    let Opened { mut log, papers, damage, .. } = open_peer(dir.path());
    assert!(damage.is_some());
    let incarnation = papers.incarnation();
    assert_ne!(incarnation, old_incarnation);
    assert_eq!(papers.known(2), Some(22), "what is known of others is not lost");
    drop(papers);
    write(&mut log, vec![hard_state(5, None), put(1, 4, "from the leader")]);
    drop(log);
    let Opened { recovered, damage, papers, .. } = open_peer(dir.path());
    assert_eq!((damage, papers.incarnation()), (None, incarnation), "it happens once");
    assert_eq!((recovered.term, recovered.entries.len()), (5, 1));
    drop(papers);
    // Again, and beside what was moved before.
    edit(&segment(dir.path(), 1), |content| content[20] ^= 1);
    let damage = open_peer(dir.path()).damage.unwrap();
    assert_eq!(damage.dir, dir.path().join("damaged-2"));
    assert!(dir.path().join("damaged-1/log").exists());
}

#[test]
fn damage_without_peers_is_refused() {
    let origin = scratch();
    let Opened { mut log, .. } = open(origin.path());
    write(&mut log, vec![hard_state(3, Some(1)), put(1, 3, "a")]);
    write(&mut log, vec![put(2, 3, "b")]);
    drop(log);
    edit(&segment(origin.path(), 1), |content| content[150] ^= 1);
    assert!(refusal(origin.path()).contains("has no peers to recover it from"));
    // The file may have been written before others joined; their directories are known.
    let dir = scratch();
    let Opened { mut log, mut papers, .. } = open(dir.path());
    papers.note_peer(2, 22).unwrap();
    write(&mut log, vec![hard_state(3, Some(1)), put(1, 3, "a")]);
    drop((log, papers));
    fs::remove_file(segment(dir.path(), 1)).unwrap();
    let Opened { damage, papers, .. } = open(dir.path());
    assert!(damage.is_some());
    assert_eq!(papers.standing(), PapersStanding::Lost);
}

#[test]
fn foreign_log_is_refused_even_with_peers() {
    let dir = used();
    let node_json = dir.path().join("node.json");
    let refused = |identity: &Identity| {
        let before = contents(dir.path());
        let refused = storage::open(dir.path(), identity, &with_peers()).unwrap_err().to_string();
        assert_eq!(contents(dir.path()), before, "{refused}");
        refused
    };
    let other_cluster = Identity { cluster: "prod".into(), node: 1 };
    let other_node = Identity { cluster: "demo".into(), node: 2 };
    edit(&node_json, |content| content[30] ^= 1);
    for _ in 0..2 {
        assert!(refused(&other_cluster).contains("belongs to cluster \"demo\""));
        assert!(refused(&other_node).contains("belongs to node 1"));
        // Not being there is no better than being damaged.
        fs::remove_file(&node_json).ok();
    }
}

#[test]
fn line_of_another_version_is_refused_even_with_peers() {
    let dir = used();
    let text = r#"{"from_a_later_version":1}"#;
    let line = format!("{:08x} {text}\n\n", crc32c::crc32c(text.as_bytes()));
    let newest = segment(dir.path(), *segments(dir.path()).last().unwrap());
    edit(&newest, |content| content.extend(line.bytes()));
    let before = contents(dir.path());
    let refused = storage::open(dir.path(), &identity(), &with_peers()).unwrap_err().to_string();
    assert!(refused.contains("intact, but not understood: "), "{refused}");
    assert!(refused.contains("; start the version that wrote it"), "{refused}");
    assert_eq!(contents(dir.path()), before);
}

/// A process may die between any two steps of moving things away; whatever it left is finished.
#[test]
fn moving_away_cut_short_anywhere_is_finished() {
    type Step<'a> = &'a dyn Fn(&Path);
    let dir = used();
    fs::create_dir_all(dir.path().join("snapshot")).unwrap();
    let old_incarnation = open_peer(dir.path()).papers.incarnation();
    edit(&segment(dir.path(), 2), |content| content[200] ^= 1);
    let damaged = copied(dir.path());
    drop(open_peer(dir.path()));
    let after = dir;
    let new_log = after.path().join("log");

    // As the first step leaves it: the papers say what is to be done.
    let declared = || {
        let dir = copied(damaged.path());
        fs::create_dir(dir.path().join("damaged-1")).unwrap();
        let text = fs::read_to_string(after.path().join("node.json")).unwrap();
        let (object, _) = text.split_once(",\"checksum\"").unwrap();
        let object = format!(r#"{object},"set_aside":{{"number":1,"reason":"a bad line"}}"#);
        fs::write(dir.path().join("node.json"), sealed(&object)).unwrap();
        dir
    };
    let rename = |dir: &Path, name: &str| {
        fs::rename(dir.join(name), dir.join("damaged-1").join(name)).unwrap();
    };
    let steps: [Step<'_>; 6] = [
        &|dir| rename(dir, "log"),
        &|dir| rename(dir, "snapshot"),
        &|dir| fs::create_dir(dir.join("log")).unwrap(),
        &|dir| fs::create_dir(dir.join("snapshot")).unwrap(),
        &|dir| copy_file(&segment(after.path(), 1), &segment(dir, 1)),
        &|dir| copy_file(&new_log.join("segments.json"), &dir.join("log/segments.json")),
    ];
    let incarnation = open_peer(after.path()).papers.incarnation();
    assert_ne!(incarnation, old_incarnation);
    for done in 0..=steps.len() {
        let dir = declared();
        steps[..done].iter().for_each(|step| step(dir.path()));
        let Opened { damage, recovered, papers, .. } = open_peer(dir.path());
        let found = damage.unwrap_or_else(|| panic!("cut short after {done} steps: forgotten"));
        assert_eq!(found.reason, "a bad line");
        assert_eq!(papers.incarnation(), incarnation);
        assert_eq!(recovered.standing, Standing::Lost { incarnation });
        assert_eq!(Model::from(recovered), Model::default());
        drop(papers);
        let kept = contents(&dir.path().join("damaged-1/log")).len();
        assert_eq!(kept, contents(&damaged.path().join("log")).len(), "after {done} steps");
        let again = open_peer(dir.path());
        assert_eq!((again.damage, again.papers.incarnation()), (None, incarnation));
    }

    // Before the first step nothing is declared: it is begun again, in another place.
    let dir = copied(damaged.path());
    fs::create_dir(dir.path().join("damaged-1")).unwrap();
    assert_ne!(open_peer(dir.path()).papers.incarnation(), old_incarnation);
    assert!(dir.path().join("damaged-2/log").exists());
}
