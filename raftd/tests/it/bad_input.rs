//! Whatever comes in, the node says what is wrong, exits with the right code or serves on, and loses nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use raftd::codec::{self, PeerHello};
use serde_json::{Value, json};

use crate::support::{Client, Cluster, Daemon, wait_for};

/// Starts `raftd`, which must refuse with this exit code and name these things.
fn check_refusal(args: &[String], code: i32, names: &[&str]) {
    let (exit_code, text) = Daemon::start(args).exit();
    assert_eq!(exit_code, Some(code), "{text}");
    for name in names {
        assert!(text.contains(name), "no {name:?} in: {text}");
    }
    assert!(!text.contains("panic"), "{text}");
}

/// The arguments with one more.
fn with(mut args: Vec<String>, more: &[&str]) -> Vec<String> {
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

/// The cluster still does its work.
fn expect_service(cluster: &Cluster) {
    cluster.put("service:1", "service", "1");
    assert_eq!(cluster.get("service").as_deref(), Some("1"));
}

#[test]
fn unknown_flag_is_refused_with_exit_code_2() {
    let cluster = Cluster::new(1);
    check_refusal(&with(cluster.args(1), &["--frobnicate"]), 2, &["--frobnicate", "--help"]);
    check_refusal(&with(cluster.args(1), &["--listen", "here"]), 2, &["peer=IP:PORT"]);
    let twice = ["--listen", "peer=127.0.0.1:0", "--listen", "peer=127.0.0.1:0"];
    check_refusal(&with(cluster.args(1), &twice), 2, &["--listen peer", "twice"]);
}

#[test]
fn bad_log_filter_is_refused_with_exit_code_2() {
    let cluster = Cluster::new(1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftd"));
    let output = command.args(cluster.args(1)).env("RUST_LOG", "raftd=loud").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("RUST_LOG"), "{text}");
}

#[test]
fn bad_cluster_file_is_refused_with_its_line() {
    let cluster = Cluster::new(1);
    let file = std::fs::read_to_string(cluster.config()).unwrap();
    std::fs::write(cluster.config(), file.replace("client =", "klient =")).unwrap();
    check_refusal(&cluster.args(1), 2, &["cluster.toml:5: ", "klient"]);
    for (setting, complaint) in [
        ("snapshot_log_bytes = 0\n", "snapshot_log_bytes is 0"),
        ("lease_drift_percent = 99\n", "lease_drift_percent is 99"),
        ("joins = true\n", "unknown field `joins`"),
    ] {
        let (head, nodes) = file.split_at(file.find("[[node]]").unwrap());
        std::fs::write(cluster.config(), format!("{head}{setting}{nodes}")).unwrap();
        check_refusal(&cluster.args(1), 2, &["cluster.toml:2: ", complaint]);
    }
    std::fs::remove_file(cluster.config()).unwrap();
    check_refusal(&cluster.args(1), 2, &["cannot read", "cluster.toml"]);
}

#[test]
fn id_that_is_not_in_the_cluster_file_is_refused() {
    let cluster = Cluster::new(3);
    let args: Vec<String> = cluster
        .args(1)
        .into_iter()
        .map(|arg| if arg == "1" { "4".to_owned() } else { arg })
        .collect();
    check_refusal(&args, 2, &["--id 4", "1, 2, 3"]);
}

#[test]
fn address_that_others_reach_is_refused() {
    let cluster = Cluster::new(1);
    for address in ["0.0.0.0:0", "192.0.2.1:7101", "[::]:0"] {
        let listen = format!("client={address}");
        check_refusal(
            &with(cluster.args(1), &["--listen", &listen]),
            2,
            &[address, "not authenticated"],
        );
    }
    let file = std::fs::read_to_string(cluster.config()).unwrap();
    let peer = cluster.peer(1).to_string();
    std::fs::write(cluster.config(), file.replace(&peer, "192.0.2.1:7101")).unwrap();
    check_refusal(&cluster.args(1), 2, &["192.0.2.1:7101", "not authenticated"]);
}

#[test]
fn port_in_use_is_refused_with_exit_code_1() {
    let cluster = Cluster::new(1);
    let _holder = std::net::TcpListener::bind(cluster.client_address(1)).unwrap();
    let address = cluster.client_address(1).to_string();
    check_refusal(&cluster.args(1), 1, &[&address, "--listen client="]);
}

#[test]
fn data_directory_in_use_is_refused_and_its_user_serves_on() {
    let cluster = Cluster::start(1);
    let args =
        with(cluster.args(1), &["--listen", "peer=127.0.0.1:0", "--listen", "client=127.0.0.1:0"]);
    check_refusal(&args, 1, &[cluster.data(1).to_str().unwrap(), "in use"]);
    expect_service(&cluster);
}

#[test]
fn data_directory_of_another_cluster_or_node_is_refused() {
    let mut cluster = Cluster::start(2);
    cluster.kill_all();
    let data = [cluster.data(1), cluster.data(2)];
    std::fs::rename(&data[0], cluster.dir().join("aside")).unwrap();
    std::fs::rename(&data[1], &data[0]).unwrap();
    check_refusal(&cluster.args(1), 1, &["node 2", "--data"]);
    std::fs::rename(&data[0], &data[1]).unwrap();
    let file = std::fs::read_to_string(cluster.config()).unwrap();
    std::fs::write(cluster.config(), file.replace("\"test\"", "\"other\"")).unwrap();
    check_refusal(&cluster.args(2), 1, &["cluster", "test", "other", "--data"]);
}

/// The only segment of a node's log.
fn segment(data: &Path) -> PathBuf {
    std::fs::read_dir(data.join("log")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn corrupted_middle_record_is_refused_with_its_line_and_nothing_is_changed() {
    let mut cluster = Cluster::start(1);
    for number in 1..=20 {
        cluster.put(&format!("a:{number}"), "x", &format!("value-{number}-"));
    }
    cluster.kill(1);
    let path = segment(&cluster.data(1));
    let intact = std::fs::read_to_string(&path).unwrap();
    let line = 1 + intact.lines().position(|line| line.contains("value-10-")).unwrap();
    let damaged = intact.replace("value-10-", "value-1x-");
    std::fs::write(&path, &damaged).unwrap();
    let place = format!("line {line}");
    check_refusal(&cluster.args(1), 1, &[path.to_str().unwrap(), &place, "intact copy"]);
    assert!(std::fs::read_to_string(&path).unwrap() == damaged, "the log was changed");
    std::fs::write(&path, &intact).unwrap();
    cluster.start_node(1);
    assert_eq!(cluster.get("x").as_deref(), Some("value-20-"));
}

/// Says this first line at a port, which must be refused with this code and these words.
fn check_hello(address: SocketAddr, hello: &[u8], code: &str, names: &str) {
    let mut client = Client::connect(address).unwrap();
    client.send(hello).unwrap();
    let answer = client.receive().unwrap();
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains(names), "{answer}");
    client.expect_end();
}

#[test]
fn wrong_client_hello_is_refused() {
    let cluster = Cluster::start(1);
    let check = |hello: &str, code: &str, names: &str| {
        check_hello(cluster.client_address(1), format!("{hello}\n").as_bytes(), code, names);
    };
    check(r#"{"hello":{"protocol":1,"cluster":"other"}}"#, "wrong_hello", "\"test\"");
    check(r#"{"hello":{"protocol":1,"node":2}}"#, "wrong_hello", "node 1");
    check(r#"{"hello":{"protocol":2}}"#, "wrong_hello", "protocol 1");
    check(r#"{"hello":{"protocol":1,"frob":2}}"#, "bad_request", "frob");
    check(r#"{"tag":1,"op":"status"}"#, "bad_request", "hello");
    check("GET / HTTP/1.1\r", "bad_request", "hello");
    cluster.node(1).event("refused", |event| event["port"] == "client");
    expect_service(&cluster);
}

/// A member's hello, with one thing changed.
fn peer_hello(change: impl FnOnce(&mut PeerHello)) -> Vec<u8> {
    let mut hello = PeerHello {
        protocol: 1,
        cluster: "test".to_owned(),
        from: 2,
        to: 1,
        incarnation: 1,
        knows: None,
        founders: BTreeSet::new(),
        address: None,
    };
    change(&mut hello);
    let mut line = Vec::new();
    codec::encode_hello(&hello, &mut line);
    line
}

#[test]
fn wrong_peer_hello_is_refused_and_logged() {
    let mut cluster = Cluster::new(3);
    cluster.start_node(1);
    let check = |hello: Vec<u8>, code: &str, names: &str| {
        check_hello(cluster.peer(1), &hello, code, names);
    };
    check(peer_hello(|hello| hello.cluster = "other".to_owned()), "wrong_hello", "\"other\"");
    check(peer_hello(|hello| hello.protocol = 7), "wrong_hello", "protocol 7");
    check(peer_hello(|hello| hello.to = 3), "wrong_hello", "not node 3");
    check(peer_hello(|hello| hello.from = 9), "wrong_hello", "node 9 is no member");
    let nowhere = peer_hello(|hello| hello.address = Some("127.0.0.1:0".to_owned()));
    check(nowhere, "bad_request", "cannot be dialled");
    let other_founders = peer_hello(|hello| hello.founders = [1, 2].into());
    check(other_founders, "wrong_hello", "two clusters");
    check(peer_hello(|hello| hello.from = 1), "wrong_hello", "node 1");
    check(b"{\"hello\":{\"protocol\":1}}\n".to_vec(), "bad_request", "client port");
    cluster.node(1).event("refused", |event| {
        event["port"] == "peer" && event["reason"].as_str().unwrap().contains("\"other\"")
    });
    let status = cluster.client(1).status().unwrap();
    assert_eq!(status["messages_refused"], 8, "{status}");
    assert_eq!(status["standing"], "new", "nothing of it was believed: {status}");
}

#[test]
fn members_with_different_cluster_files_both_say_so() {
    let cluster = Cluster::new(2);
    let node = Daemon::start(cluster.args(1));
    // By then it has read the file.
    node.listening();
    let file = std::fs::read_to_string(cluster.config()).unwrap();
    std::fs::write(cluster.config(), file.replace("\"test\"", "\"other\"")).unwrap();
    let other = Daemon::start(cluster.args(2));
    for node in [node, other] {
        let names = |event: &Value, word: &str| event["reason"].as_str().unwrap().contains(word);
        node.event("refused", |event| names(event, "not of"));
        node.event("link_down", |event| names(event, "refused: this is node"));
    }
}

/// Bytes that are no text in any encoding, with line ends among them; always the same.
fn garbage(bytes: usize) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(state.to_le_bytes()[7])
    };
    std::iter::repeat_n((), bytes).scan(1, |state, ()| step(state)).collect()
}

#[test]
fn garbage_on_either_port_is_refused_and_the_node_serves_on() {
    let cluster = Cluster::start(3);
    for port in [cluster.client_address(1), cluster.peer(1)] {
        let mut client = Client::connect(port).unwrap();
        // The node may close before all is sent.
        client.send(&garbage(100_000)).ok();
        client.send(b"\n").ok();
        if let Ok(answer) = client.receive() {
            assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
        }
        client.expect_end();
    }
    // After a proper hello as well.
    let mut member = Client::connect(cluster.peer(1)).unwrap();
    member.send(&peer_hello(|_| {})).unwrap();
    member.send(&garbage(100_000)).ok();
    member.send(b"\n").ok();
    member.expect_end();
    cluster.node(1).event("refused", |event| {
        event["port"] == "peer" && event["reason"].as_str().unwrap().starts_with("from node 2")
    });
    expect_service(&cluster);
}

#[test]
fn damaged_peer_message_is_noticed() {
    let mut cluster = Cluster::new(2);
    cluster.start_node(1);
    let mut hello = peer_hello(|_| {});
    let mut message = hello.clone();
    // Valid JSON, and still not what was sent.
    let digit = message.iter().rposition(|byte| *byte == b'1').unwrap();
    message[digit] = b'2';
    hello.extend(message);
    let mut member = Client::connect(cluster.peer(1)).unwrap();
    member.send(&hello).unwrap();
    member.expect_end();
    cluster
        .node(1)
        .event("refused", |event| event["reason"].as_str().unwrap().contains("checksum"));
}

#[test]
fn bad_request_is_answered_and_the_connection_lives_on() {
    let cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    let mut client = cluster.client(1);
    let mut check = |line: &[u8], tag: u64, code: &str, names: &str| {
        client.send(line).unwrap();
        client.send(b"\n").unwrap();
        let answer = client.receive().unwrap();
        assert_eq!(
            (&answer["tag"], &answer["error"]["code"]),
            (&json!(tag), &json!(code)),
            "{answer}"
        );
        assert!(answer["error"]["message"].as_str().unwrap().contains(names), "{answer}");
    };
    check(b"\xff\xfe", 0, "bad_request", "UTF-8");
    check(b"{\"tag\":5,", 0, "bad_request", "EOF");
    check(br#"{"tag":5,"op":{"dance":{}}}"#, 5, "bad_request", "dance");
    check(br#"{"tag":6,"op":{"put":{"key":"x","value":"2"}}}"#, 6, "bad_request", "request id");
    check(
        br#"{"tag":7,"request":"no-number","op":{"delete":{"key":"x"}}}"#,
        7,
        "bad_request",
        "CLIENT:SEQ",
    );
    check(br#"{"tag":8,"op":{"get":{"key":""}}}"#, 8, "bad_request", "key is empty");
    let birth = br#"{"tag":9,"request":"c@999999:1","op":{"delete":{"key":"x"}}}"#;
    check(birth, 9, "bad_request", "future");
    let ack = br#"{"tag":12,"request":"c:1","ack":9007199254740993,"op":{"delete":{"key":"x"}}}"#;
    check(ack, 12, "bad_request", "9007199254740992 is the most");
    let long = json!({"tag": 10, "op": {"get": {"key": "k".repeat(1025)}}}).to_string();
    check(long.as_bytes(), 10, "too_large", "1025");
    let put = json!({"put": {"key": "x", "value": "v".repeat((1 << 20) + 1)}});
    let long = json!({"tag": 11, "request": "a:2", "op": put}).to_string();
    check(long.as_bytes(), 11, "too_large", "1048577");
    assert_eq!(client.get("x").unwrap()["ok"]["value"], "1");
}

#[test]
fn longest_values_pass() {
    // Patient, as an unoptimised build takes its time over megabytes.
    let mut cluster = Cluster::new(3);
    let timing = "heartbeat_ms = 500\nelection_timeout_ms = [2000, 4000]\n";
    let file = std::fs::read_to_string(cluster.config()).unwrap();
    std::fs::write(cluster.config(), format!("{timing}{file}")).unwrap();
    cluster.start_all();
    // Each of these characters takes six in JSON.
    let value = "\u{1}".repeat(1 << 20);
    cluster.put("a:1", &"k".repeat(1024), &value);
    cluster.expect_equal_states();
    assert!(cluster.get(&"k".repeat(1024)) == Some(value));
}

/// Sends a line without an end until the node has had enough; its answer, if it gives one.
fn flood(client: &mut Client) -> Option<Value> {
    let chunk = vec![b'7'; 1 << 20];
    for _ in 0..32 {
        if client.send(&chunk).is_err() {
            break;
        }
    }
    client.receive().ok()
}

#[test]
fn oversized_line_on_either_port_closes_the_connection_and_the_node_serves_on() {
    let cluster = Cluster::start(3);
    let mut client = Client::connect(cluster.client_address(1)).unwrap();
    let answer = flood(&mut client).unwrap();
    assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
    let mut client = cluster.client(1);
    let answer = flood(&mut client).unwrap();
    assert_eq!(answer["error"]["code"], "too_large", "{answer}");
    let mut member = Client::connect(cluster.peer(1)).unwrap();
    let answer = flood(&mut member).unwrap();
    assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
    let mut member = Client::connect(cluster.peer(1)).unwrap();
    member.send(&peer_hello(|_| {})).unwrap();
    assert_eq!(flood(&mut member), None);
    cluster.node(1).event("refused", |event| event["reason"].as_str().unwrap().contains("exceeds"));
    expect_service(&cluster);
}

#[test]
fn stranger_who_says_nothing_is_sent_away() {
    let cluster = Cluster::start(1);
    let mut silent = [cluster.client_address(1), cluster.peer(1)]
        .map(|address| Client::connect(address).unwrap());
    for client in &mut silent {
        let answer = client.receive().unwrap();
        assert!(
            answer["error"]["message"].as_str().unwrap().contains("no hello within"),
            "{answer}"
        );
        client.expect_end();
    }
    // Who has said hello may be silent for as long as it likes.
    expect_service(&cluster);
}

#[test]
fn more_connections_than_fit_are_refused_as_overload() {
    let cluster = Cluster::start(1);
    let strangers: Vec<Client> =
        (0..80).map(|_| Client::connect(cluster.peer(1)).unwrap()).collect();
    let refused = strangers.into_iter().filter_map(|mut stranger| stranger.receive().ok());
    assert!(refused.filter(|answer| answer["error"]["code"] == "overloaded").count() >= 8);
    expect_service(&cluster);
}

/// A node whose data directory is a file system of a few megabytes, if this machine lets us make one.
struct SmallDisk {
    node: Daemon,
    client: SocketAddr,
    /// The mount, seen from outside the node's mount namespace.
    root: PathBuf,
}

impl SmallDisk {
    /// `unshare` makes a mount namespace, which goes away with the process: nothing to clean up.
    fn start(cluster: &Cluster) -> Option<SmallDisk> {
        let mount = cluster.dir().join("mount");
        std::fs::create_dir_all(&mount).unwrap();
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&mount);
            command
        };
        if !unshare("mount -t tmpfs -o size=4m tmpfs \"$1\"")
            .status()
            .is_ok_and(|status| status.success())
        {
            eprintln!(
                "skipped: this machine lets nobody mount a tmpfs in a namespace of his own (unshare)"
            );
            return None;
        }
        let mut command = unshare(
            "mount -t tmpfs -o size=4m tmpfs \"$1\" && head -c 1500000 /dev/zero > \"$1/ballast\" && shift && exec \"$@\"",
        );
        let args = cluster.args(1).into_iter().map(|arg| {
            if Path::new(&arg) == cluster.data(1) {
                mount.join("data").to_str().unwrap().to_owned()
            } else {
                arg
            }
        });
        let node = {
            command.arg(env!("CARGO_BIN_EXE_raftd")).args(args);
            Daemon::spawn(command)
        };
        let (_, client) = node.listening();
        let root = PathBuf::from(format!("/proc/{}/root", node.pid()))
            .join(mount.strip_prefix("/").unwrap());
        Some(SmallDisk { node, client, root })
    }
}

#[test]
fn full_disk_refuses_writes_serves_reads_and_loses_nothing() {
    let cluster = Cluster::new(1);
    let Some(disk) = SmallDisk::start(&cluster) else { return };
    let value = |number: u64| format!("{number}-{}", "v".repeat(50_000));
    let mut client = Client::open(disk.client).unwrap();
    wait_for("the node to lead", || {
        let status = client.status().unwrap();
        if status["role"] == "leader" { Ok(()) } else { Err(status.to_string()) }
    });
    let mut acknowledged = 0;
    // The write that finds the disk full waits; the others are refused from then on.
    for number in 1.. {
        let put = json!({"put": {"key": format!("key-{number}"), "value": value(number)}});
        client.ask(Some(&format!("a:{number}")), &put).unwrap();
        let full = wait_for("an answer or a full disk", || {
            let status = Client::open(disk.client).unwrap().status().unwrap();
            let is_full = status["disk_full"] == true;
            if is_full || status["commit"].as_u64() > Some(number) {
                Ok(is_full)
            } else {
                Err(status.to_string())
            }
        });
        if full {
            break;
        }
        assert!(client.receive().unwrap()["ok"].is_object());
        acknowledged = number;
    }
    assert!(acknowledged > 5, "the disk was full after {acknowledged} writes");
    let mut other = Client::open(disk.client).unwrap();
    let refused = other.put("b:1", "y", "1").unwrap();
    assert_eq!(refused["error"]["code"], "disk_full", "{refused}");
    let read = other.get("key-1").unwrap();
    assert_eq!(read["ok"]["value"], value(1));

    std::fs::remove_file(disk.root.join("ballast")).unwrap();
    // The one that waited is done after all, and new ones are taken.
    let late = client.receive().unwrap();
    assert!(late["ok"].is_object(), "{late}");
    let done = wait_for("writes to be taken again", || {
        let answer = other.put("b:2", "y", "2").unwrap();
        if answer["ok"].is_object() { Ok(answer) } else { Err(answer.to_string()) }
    });
    assert!(done["ok"]["index"].as_u64() > late["ok"]["index"].as_u64());

    // All of it is on the disk: another node on a copy of it knows it.
    copy(&disk.root.join("data"), &cluster.data(1));
    disk.node.kill();
    let mut cluster = cluster;
    cluster.start_node(1);
    for number in 1..=acknowledged + 1 {
        assert!(cluster.get(&format!("key-{number}")) == Some(value(number)), "key-{number}");
    }
    assert_eq!(cluster.get("y").as_deref(), Some("2"));
}

#[test]
fn leader_whose_disk_is_full_hands_over_to_one_with_room() {
    let mut cluster = Cluster::new(3);
    let Some(disk) = SmallDisk::start(&cluster) else { return };
    cluster.start_node(2);
    cluster.start_node(3);
    cluster.put_at(vec![1, 2, 3], "a:1", "x", "1");
    wait_for("node 1 to lead", || {
        let status = Client::open(disk.client).unwrap().status().unwrap();
        if status["role"] == "leader" {
            return Ok(());
        }
        let to_1 = json!({"transfer": {"to": 1}});
        let asked = [2, 3].map(|id| cluster.client(id).call(None, &to_1).unwrap());
        Err(format!("{asked:?}"))
    });
    let value = "v".repeat(50_000);
    let mut number = 1;
    wait_for("the full disk to be noticed", || {
        number += 1;
        let mut client = Client::open(disk.client).unwrap();
        client.put(&format!("a:{number}"), "x", &value).unwrap();
        let status = client.status().unwrap();
        if status["disk_full"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    disk.node.event("transfer_started", |_| true);
    assert!([2, 3].contains(&cluster.leader()));
    cluster.put_at(vec![2, 3], "b:1", "y", "1");
    assert_eq!(cluster.get("y").as_deref(), Some("1"));
}

#[test]
fn failed_write_stops_the_node_unanswered_with_exit_code_1() {
    let mut cluster = Cluster::new(1);
    // With the signal ignored, a file that has grown to the limit gives an error, as a broken disk would.
    let mut command = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 5000; exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_raftd")]).args(cluster.args(1));
    let node = Daemon::spawn(command);
    let mut client = Client::open(node.listening().1).unwrap();
    let value = |number: u64| format!("{number}-{}", "v".repeat(100_000));
    let mut acknowledged = 0;
    for number in 1..1000 {
        let request = format!("a:{number}");
        match client.put(&request, "x", &value(number)) {
            Ok(answer) if answer["ok"].is_object() => acknowledged = number,
            Ok(answer) => assert_eq!(answer["error"]["code"], "not_leader", "{answer}"),
            Err(_) => break,
        }
    }
    let (code, text) = node.exit();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("\"failed\"") && text.contains("data-1/log"), "{text}");
    assert!(
        (1..999).contains(&acknowledged),
        "{acknowledged} writes of 100 kB into a file of 5 MB"
    );
    cluster.start_node(1);
    let found = cluster.get("x").unwrap();
    assert!(found == value(acknowledged) || found == value(acknowledged + 1), "{acknowledged}");
}

#[test]
fn node_whose_log_nobody_reads_serves_on() {
    let cluster = Cluster::new(1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftd"));
    command.args(cluster.args(1));
    let _node = Daemon::spawn_unheard(command);
    wait_for("the node to serve", || {
        let answer = Client::open(cluster.client_address(1))
            .and_then(|mut client| client.put("a:1", "x", "1"))
            .map_err(|error| error.to_string())?;
        if answer["ok"].is_object() { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// Copies a directory of files and directories.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
