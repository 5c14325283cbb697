//! Who a node is, and whether it may be believed, survives.

use raft_core::node::Standing;
use raftd::storage::{Papers, PapersStanding};

use super::*;

fn open_as(dir: &Path, node: NodeId, founders: &[NodeId]) -> Opened {
    let founding = Founding {
        founders: founders.iter().copied().collect(),
        has_peers: founders.iter().any(|&id| id != node),
    };
    storage::open(dir, &Identity { cluster: "demo".into(), node }, &founding).unwrap()
}

fn reopened(dir: &Path) -> Papers {
    open_as(dir, 1, &[1, 2, 3]).papers
}

#[test]
fn papers_of_a_new_directory_say_how_the_node_begins() {
    let cases: [(&[NodeId], PapersStanding, &[NodeId]); 4] = [
        (&[1, 2, 3], PapersStanding::New, &[1, 2, 3]),
        (&[1], PapersStanding::Full, &[1]),
        (&[2, 3], PapersStanding::Lost, &[]),
        (&[], PapersStanding::Lost, &[]),
    ];
    for (founders, standing, remembered) in cases {
        let dir = scratch();
        let Opened { papers, recovered, .. } = open_as(dir.path(), 1, founders);
        assert_eq!(papers.standing(), standing, "founders {founders:?}");
        assert_eq!(*papers.founders(), remembered.iter().copied().collect());
        let incarnation = papers.incarnation();
        assert!((1..1 << 53).contains(&incarnation));
        let expected = match standing {
            PapersStanding::Full => Standing::Full,
            PapersStanding::New | PapersStanding::Lost => Standing::Lost { incarnation },
        };
        assert_eq!(recovered.standing, expected);
        drop(papers);
    }
}

#[test]
fn papers_survive_what_the_configuration_file_says_later() {
    let dir = scratch();
    let incarnation = {
        let mut papers = reopened(dir.path());
        papers.note_peer(2, 22).unwrap();
        papers.note_peer(3, 33).unwrap();
        papers.note_peer(2, 99).unwrap();
        papers.set_standing(PapersStanding::Full).unwrap();
        assert_eq!((papers.known(2), papers.known(4)), (Some(22), None), "the first one counts");
        papers.incarnation()
    };
    let Opened { papers, recovered, .. } = open_as(dir.path(), 1, &[7, 8]);
    assert_eq!(papers.incarnation(), incarnation);
    assert_eq!(*papers.founders(), [1, 2, 3].into());
    assert_eq!((papers.standing(), recovered.standing), (PapersStanding::Full, Standing::Full));
    assert_eq!((papers.known(2), papers.known(3)), (Some(22), Some(33)));
}

#[test]
fn papers_are_one_line_of_json() {
    let dir = scratch();
    let mut papers = reopened(dir.path());
    papers.note_peer(2, 22).unwrap();
    let text = fs::read_to_string(dir.path().join("node.json")).unwrap();
    let incarnation = papers.incarnation();
    let expected = format!(
        r#"{{"format":2,"cluster":"demo","node":1,"incarnation":{incarnation},"founders":[1,2,3],"standing":"new","known":{{"2":22}},"checksum":""#
    );
    assert!(text.starts_with(&expected) && text.ends_with("\"}\n"), "{text}");
}

#[test]
fn papers_of_two_directories_have_different_numbers() {
    let (one, other) = (scratch(), scratch());
    assert_ne!(reopened(one.path()).incarnation(), reopened(other.path()).incarnation());
}

/// A process may die at any step of changing them.
#[test]
fn papers_half_written_are_the_old_ones() {
    let dir = scratch();
    drop(reopened(dir.path()));
    let leftover = dir.path().join("node.tmp");
    fs::write(&leftover, r#"{"format":2,"clus"#).unwrap();
    let papers = reopened(dir.path());
    assert_eq!(papers.standing(), PapersStanding::New);
    assert!(!leftover.exists(), "what was never finished is removed");
}

#[test]
fn papers_that_cannot_be_written_stay_as_they_are() {
    let dir = scratch();
    let mut papers = reopened(dir.path());
    // A directory in the place of the temporary file.
    fs::create_dir(dir.path().join("node.tmp")).unwrap();
    let refused = papers.set_standing(PapersStanding::Full).unwrap_err().to_string();
    assert!(refused.contains("node.tmp"), "{refused}");
    assert_eq!(papers.standing(), PapersStanding::New, "what is not durable is not so");
    fs::remove_dir(dir.path().join("node.tmp")).unwrap();
    papers.set_standing(PapersStanding::Full).unwrap();
}

/// The lock goes with the last part of the directory that is in use.
#[test]
fn directory_whose_papers_are_in_use_is_not_opened_again() {
    let dir = scratch();
    let Opened { papers, saver, transfers, .. } = open_as(dir.path(), 1, &[1, 2, 3]);
    let again = || storage::open(dir.path(), &identity(), &with_peers());
    assert!(matches!(again(), Err(Error::InUse { .. })));
    drop((papers, saver));
    assert!(matches!(again(), Err(Error::InUse { .. })));
    drop(transfers);
    again().unwrap();
}
