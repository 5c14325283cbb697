//! Whose directory it is, and who has it.

use tempfile::TempDir;

use super::*;

fn used() -> TempDir {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a")]);
    dir
}

#[test]
fn directory_of_another_cluster_or_node_is_refused_with_both_names() {
    let dir = used();
    let other_cluster = Identity { cluster: "prod".into(), node: 1 };
    let refused = storage::open(dir.path(), &other_cluster).unwrap_err().to_string();
    assert!(
        refused.contains(r#"belongs to cluster "demo", but this node is to join cluster "prod""#),
        "{refused}"
    );
    let other_node = Identity { cluster: "demo".into(), node: 3 };
    let refused = storage::open(dir.path(), &other_node).unwrap_err().to_string();
    assert!(refused.contains("belongs to node 1, but this is to be node 3"), "{refused}");
}

#[test]
fn directory_in_use_is_refused_with_the_process_named() {
    let dir = scratch();
    let holder = open(dir.path());
    let refused = open_with(dir.path(), PLAIN).unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    let expected = format!("is in use by process {}", std::process::id());
    assert!(refused.to_string().contains(&expected), "{refused}");
    drop(holder);
    open(dir.path());
}

/// A node that lost its log has forgotten its votes, and must not give them again.
#[test]
fn wiped_log_is_refused() {
    for wipe_directory_too in [false, true] {
        let dir = used();
        let log_dir = dir.path().join("log");
        fs::remove_dir_all(&log_dir).unwrap();
        if !wipe_directory_too {
            fs::create_dir(&log_dir).unwrap();
        }
        let refused = refusal(dir.path());
        assert!(refused.contains("00000000000000000001.log is missing"), "{refused}");
        assert!(refused.contains("is not safe"), "{refused}");
    }
}

#[test]
fn log_without_node_json_is_refused() {
    let dir = used();
    fs::remove_file(dir.path().join("node.json")).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("node.json is missing, but there is a log beside it"), "{refused}");
}

/// The first start may be cut short at each of its steps.
#[test]
fn directory_half_set_up_is_set_up_again() {
    let origin = scratch();
    drop(open(origin.path()));
    let first_line = fs::read(segment(origin.path(), 1)).unwrap();
    let half: [fn(&Path, &[u8]); 4] = [
        |_, _| {},
        |dir, _| fs::create_dir(dir.join("log")).unwrap(),
        |dir, content| {
            fs::create_dir(dir.join("log")).unwrap();
            fs::write(segment(dir, 1).with_extension("tmp"), &content[..20]).unwrap();
        },
        |dir, content| {
            fs::create_dir(dir.join("log")).unwrap();
            fs::write(segment(dir, 1), content).unwrap();
            fs::write(dir.join("node.tmp"), "{").unwrap();
        },
    ];
    for (step, set_up) in half.into_iter().enumerate() {
        let dir = scratch();
        set_up(dir.path(), &first_line);
        let mut log = open(dir.path()).log;
        write(&mut log, vec![hard_state(1, None)]);
        drop(log);
        assert_eq!(open(dir.path()).recovered.term, 1, "cut short at step {step}");
    }
}

/// A process may die between publishing a segment and noting that there is one more.
#[test]
fn segment_that_node_json_does_not_know_yet_is_taken() {
    let dir = scratch();
    let options = Options { segment_bytes: 1, padding_bytes: 0 };
    let mut log = open_with(dir.path(), options).unwrap().log;
    write(&mut log, vec![hard_state(1, None)]);
    let node_json = dir.path().join("node.json");
    let before = fs::read_to_string(&node_json).unwrap();
    write(&mut log, vec![put(1, 1, "a")]);
    drop(log);
    let after = fs::read_to_string(&node_json).unwrap();
    assert_ne!(before, after);
    fs::write(&node_json, before).unwrap();
    assert_eq!(open(dir.path()).recovered.entries.len(), 1);
    assert_eq!(fs::read_to_string(&node_json).unwrap(), after);
}

#[test]
fn node_json_that_is_not_understood_is_refused() {
    let dir = used();
    let path = dir.path().join("node.json");
    let cases = [
        ("", "is not a node.json that this version knows"),
        ("{\"format\":1,\"cluster\":\"demo\"}", "missing field `node`"),
        (
            "{\"format\":1,\"cluster\":\"demo\",\"node\":1,\"segments\":1,\"x\":0}",
            "unknown field `x`",
        ),
        ("{\"format\":2,\"anything\":[]}", "says format 2; this version knows format 1 only"),
    ];
    for (content, expected) in cases {
        fs::write(&path, content).unwrap();
        let refused = refusal(dir.path());
        assert!(refused.contains(expected) && refused.contains("node.json"), "{refused}");
    }
}

#[test]
fn data_path_that_is_a_file_is_refused() {
    let dir = scratch();
    let path = dir.path().join("data");
    fs::write(&path, "").unwrap();
    let refused = open_with(&path, PLAIN).unwrap_err().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
}
