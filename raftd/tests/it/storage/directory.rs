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
    let refused = storage::open(dir.path(), &other_cluster, &with_peers()).unwrap_err().to_string();
    assert!(
        refused.contains(r#"belongs to cluster "demo", but this node is to join cluster "prod""#),
        "{refused}"
    );
    let other_node = Identity { cluster: "demo".into(), node: 3 };
    let refused = storage::open(dir.path(), &other_node, &with_peers()).unwrap_err().to_string();
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
        assert!(refused.contains("log/segments.json is missing"), "{refused}");
        assert!(refused.contains("loses what was acknowledged since"), "{refused}");
    }
}

#[test]
fn log_without_node_json_is_refused() {
    let dir = used();
    fs::remove_file(dir.path().join("node.json")).unwrap();
    let refused = refusal(dir.path());
    assert!(
        refused.contains("node.json is missing, but there is a log or a snapshot beside it"),
        "{refused}"
    );
}

/// The first start may be cut short at each of its steps.
#[test]
fn directory_half_set_up_is_set_up_again() {
    let origin = scratch();
    drop(open(origin.path()));
    let steps = ["log", "snapshot", "log/00000000000000000001.tmp", "log/00000000000000000001.log"];
    let steps = [&steps[..], &["log/segments.tmp", "log/segments.json", "node.tmp"]].concat();
    for done in 0..=steps.len() {
        let dir = scratch();
        for step in &steps[..done] {
            let (from, to) = (origin.path().join(step), dir.path().join(step));
            if from.is_dir() {
                fs::create_dir(to).unwrap();
            } else if from.exists() {
                fs::remove_file(to.with_extension("tmp")).unwrap();
                fs::copy(from, to).unwrap();
            } else {
                fs::write(to, "{half").unwrap();
            }
        }
        let mut log = open(dir.path()).log;
        write(&mut log, vec![hard_state(1, None)]);
        drop(log);
        assert_eq!(open(dir.path()).recovered.term, 1, "cut short after {done} of {steps:?}");
        let names = |dir: &Path| {
            let relative = |(path, _): (PathBuf, _)| path.strip_prefix(dir).unwrap().to_owned();
            contents(dir).into_iter().map(relative).collect::<Vec<_>>()
        };
        assert_eq!(names(dir.path()), names(origin.path()), "after {done} of {steps:?}");
    }
}

/// A process may die between publishing a segment and noting that there is one more.
#[test]
fn segment_that_is_not_counted_yet_is_taken() {
    let dir = scratch();
    let options = Options { segment_bytes: 1, padding_bytes: 0 };
    let mut log = open_with(dir.path(), options).unwrap().log;
    write(&mut log, vec![hard_state(1, None)]);
    let counters = dir.path().join("log/segments.json");
    let before = fs::read_to_string(&counters).unwrap();
    write(&mut log, vec![put(1, 1, "a")]);
    drop(log);
    let after = fs::read_to_string(&counters).unwrap();
    assert!(before.starts_with(r#"{"first":1,"newest":2,"#) && after.contains(r#""newest":3,"#));
    fs::write(&counters, before).unwrap();
    assert_eq!(open(dir.path()).recovered.entries.len(), 1);
    assert_eq!(fs::read_to_string(&counters).unwrap(), after);
}

/// The object (without its closing brace) with the checksum that it must have.
pub(super) fn sealed(object: &str) -> String {
    format!("{object},\"checksum\":\"{:08x}\"}}\n", crc32c::crc32c(object.as_bytes()))
}

#[test]
fn small_file_that_is_not_what_was_written_is_refused() {
    let dir = used();
    for name in ["node.json", "log/segments.json"] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x01;
            cases.push(flipped);
        }
        for content in cases {
            fs::write(&path, &content).unwrap();
            let refused = refusal(dir.path());
            let content = String::from_utf8_lossy(&content);
            assert!(refused.contains(name), "{content}: {refused}");
        }
        fs::write(&path, &whole).unwrap();
    }
    open(dir.path());
}

#[test]
fn node_json_that_is_not_understood_is_refused_by_reason() {
    let dir = used();
    let path = dir.path().join("node.json");
    let cases = [
        (String::new(), "node.json is damaged: it does not end with a checksum"),
        (sealed(r#"{"format":2,"cluster":"demo""#), "missing field `node`"),
        (sealed(r#"{"format":2,"node":1,"x":0"#), "unknown field `x`"),
    ];
    for (content, expected) in cases {
        fs::write(&path, content).unwrap();
        let refused = refusal(dir.path());
        assert!(refused.contains(expected) && refused.contains("node.json"), "{refused}");
    }
}

#[test]
fn directory_of_another_format_is_refused_with_a_remedy_even_with_peers() {
    let dir = used();
    let path = dir.path().join("node.json");
    let old = "{\"format\":1,\"cluster\":\"demo\",\"node\":1,\"segments\":1}\n".to_owned();
    for (content, found) in [(old, 1), (sealed(r#"{"format":3,"anything":[]"#), 3)] {
        fs::write(&path, content).unwrap();
        let before = contents(dir.path());
        let refused = storage::open(dir.path(), &identity(), &with_peers()).unwrap_err();
        let refused = refused.to_string();
        let expected = format!("says format {found}; this version knows format 2 only: start the");
        assert!(refused.contains(&expected), "{refused}");
        assert_eq!(contents(dir.path()), before);
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
