//! Looking at files without touching them.

use raftd::codec::LogLine;
use raftd::storage::{PapersStanding, inspect};
use tempfile::TempDir;

use super::*;

fn story() -> TempDir {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a"), put(2, 1, "b")]);
    write(&mut log, vec![hard_state(3, None), Record::Truncate { from: 2 }, put(2, 3, "c")]);
    dir
}

#[test]
fn inspection_lists_every_line_and_sums_up() {
    let dir = story();
    let before = contents(dir.path());
    let lines: Vec<_> = inspect(dir.path()).unwrap().collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line.line).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 7, 8, 9]);
    assert!(matches!(lines[0].content, LogLine::Segment(_)));
    assert_eq!(lines[5].content, LogLine::Record(Record::Truncate { from: 2 }));
    assert!(lines[5].text.ends_with(r#" {"truncate":2}"#), "{}", lines[5].text);
    let file = fs::read_to_string(segment(dir.path(), 1)).unwrap();
    for line in &lines {
        assert!(file[usize::try_from(line.offset).unwrap()..].starts_with(&line.text));
    }
    let summary = inspect(dir.path()).unwrap().finish();
    assert_eq!((summary.cluster.as_str(), summary.node), ("demo", 1));
    assert_eq!((summary.term, summary.vote), (3, None));
    assert_eq!((summary.first, summary.last), (1, EntryId { term: 3, index: 2 }));
    assert_eq!((summary.segments, summary.records), (1, 6));
    assert!(summary.torn.is_none() && summary.problem.is_none());
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn inspection_of_a_torn_log_says_what_will_be_cut() {
    let dir = story();
    let file = segment(dir.path(), 1);
    let mut content = fs::read(&file).unwrap();
    content.extend_from_slice(b"5f1c8a30 {\"ind");
    fs::write(&file, &content).unwrap();
    let summary = inspect(dir.path()).unwrap().finish();
    let torn = summary.torn.unwrap();
    assert_eq!((torn.line, torn.cut_bytes), (11, 14));
    assert!(summary.problem.is_none());
    assert_eq!(fs::read(&file).unwrap(), content);
    assert_eq!(open(dir.path()).torn, Some(torn));
}

#[test]
fn inspection_of_a_damaged_log_says_what_the_start_would_say() {
    let dir = story();
    let file = segment(dir.path(), 1);
    let content = fs::read_to_string(&file).unwrap();
    fs::write(&file, content.replacen("\"index\":2", "\"index\":9", 1)).unwrap();
    let inspection = inspect(dir.path()).unwrap();
    let summary = inspection.finish();
    assert_eq!(summary.last.index, 1);
    assert_eq!(summary.problem.unwrap().to_string(), refusal(dir.path()));
}

#[test]
fn inspection_shows_papers_snapshot_and_what_is_left_over() {
    let dir = story();
    let Opened { mut papers, mut saver, mut log, .. } = open_with(dir.path(), TINY).unwrap();
    papers.note_peer(2, 22).unwrap();
    saver.save(&snapshot(id(9, 3), 40)).unwrap();
    write(&mut log, vec![Record::Snapshot { last: id(9, 3) }, put(10, 3, &"v".repeat(3_000))]);
    write(&mut log, vec![put(11, 3, "a")]);
    saver.save(&snapshot(id(10, 3), 40)).unwrap();
    log.purge(11).unwrap();
    let incarnation = papers.incarnation();
    drop((papers, saver, log));
    let leftovers = ["snapshot/00000000000000000010-3.part", "log/00000000000000000001.log"];
    for name in leftovers {
        fs::write(dir.path().join(name), "half").unwrap();
    }
    fs::create_dir(dir.path().join("damaged-1")).unwrap();
    let before = contents(dir.path());
    let summary = inspect(dir.path()).unwrap().finish();
    assert_eq!((summary.incarnation, summary.standing), (incarnation, PapersStanding::Full));
    assert_eq!((summary.founders, summary.known), ([1].into(), [(2, 22)].into()));
    let found = summary.snapshot.unwrap();
    assert_eq!((found.last, found.keys, found.sessions), (id(10, 3), 4, 1));
    assert_eq!(found.state_hash, snapshot(id(10, 3), 40).state.hash());
    assert_eq!((summary.base, summary.first, summary.last), (id(10, 3), 11, id(11, 3)));
    assert_eq!(summary.leftovers, leftovers.map(|name| dir.path().join(name)));
    assert_eq!(summary.damaged, [dir.path().join("damaged-1")]);
    assert!(summary.problem.is_none(), "{:?}", summary.problem);
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn inspection_of_a_damaged_snapshot_says_what_the_start_would_say() {
    let dir = story();
    open(dir.path()).saver.save(&snapshot(id(2, 3), 40)).unwrap();
    edit(&snapshot_path(dir.path(), id(2, 3)), |content| content[20] ^= 1);
    let summary = inspect(dir.path()).unwrap().finish();
    assert!(summary.snapshot.is_none());
    assert_eq!(summary.last.index, 2, "the log is read all the same");
    assert_eq!(summary.problem.unwrap().to_string(), refusal(dir.path()));
}

#[test]
fn inspection_of_a_running_node_works() {
    let dir = scratch();
    let mut log = open_with(dir.path(), TINY).unwrap().log;
    write(&mut log, vec![hard_state(1, None), put(1, 1, "a")]);
    let summary = inspect(dir.path()).unwrap().finish();
    assert_eq!((summary.last.index, summary.records), (1, 2));
    write(&mut log, vec![put(2, 1, "b")]);
}

#[test]
fn inspection_of_anything_else_is_refused() {
    let dir = scratch();
    for path in [dir.path(), &dir.path().join("missing")] {
        let refused = inspect(path).unwrap_err().to_string();
        let expected = format!("{} is no data directory", path.display());
        assert!(refused.contains(&expected), "{refused}");
    }
    let dir = story();
    fs::remove_file(dir.path().join("node.json")).unwrap();
    let refused = inspect(dir.path()).unwrap_err().to_string();
    assert_eq!(refused, refusal(dir.path()));
}
