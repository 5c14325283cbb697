//! A cluster of real processes does what it is for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Cluster, Daemon, wait_for};

#[test]
fn three_nodes_elect_a_leader_and_serve() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let mut leader = cluster.client(cluster.leader());
    let call =
        |leader: &mut Client, request: &str, op: Value| leader.call(Some(request), &op).unwrap();
    let append = call(&mut leader, "a:2", json!({"append": {"key": "x", "value": "23"}}));
    assert_eq!(append["ok"]["length"], 3, "{append}");
    let incr = call(&mut leader, "a:3", json!({"incr": {"key": "x", "by": -3}}));
    assert_eq!(incr["ok"]["number"], 120, "{incr}");
    let cas = call(&mut leader, "a:4", json!({"cas": {"key": "x", "expect": "1", "value": "2"}}));
    assert_eq!(
        (&cas["error"]["code"], &cas["error"]["actual"]),
        (&json!("mismatch"), &json!("120"))
    );
    let get = leader.get("x").unwrap();
    assert_eq!((&get["ok"]["value"], &get["ok"]["index"]), (&json!("120"), &cas["error"]["index"]));
    assert_eq!(get["ok"]["served"]["role"], "leader", "{get}");
    let delete = call(&mut leader, "a:5", json!({"delete": {"key": "x"}}));
    assert!(delete["ok"]["index"].as_u64() > cas["error"]["index"].as_u64(), "{delete}");
    let get = leader.get("x").unwrap();
    assert_eq!(
        (&get["error"]["code"], &get["error"]["index"]),
        (&json!("not_found"), &delete["ok"]["index"])
    );
    assert!(get["error"]["served"]["node"].is_u64(), "{get}");
    cluster.expect_equal_states();
}

#[test]
fn transaction_is_all_or_nothing_and_a_retry_gets_the_first_answer() {
    let cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    let mut client = cluster.client(1);
    let txn = json!({"txn": {
        "compare": [{"key": "x", "expect": "1"}, {"key": "y"}],
        "then": [{"put": {"key": "y", "value": "2"}}, {"incr": {"key": "x", "by": 9}}],
        "else": [{"get": {"key": "x"}}],
    }});
    let done = client.call(Some("a:2"), &txn).unwrap();
    assert_eq!(done["ok"]["succeeded"], true, "{done}");
    assert_eq!(done["ok"]["results"], json!(["done", {"number": 10}]), "{done}");
    let again = client.call(Some("a:2"), &txn).unwrap();
    assert_eq!(again["ok"], done["ok"]);
    let other = client.call(Some("a:3"), &txn).unwrap();
    assert_eq!(other["ok"]["succeeded"], false, "{other}");
    assert_eq!(other["ok"]["results"], json!([{"value": "10"}]), "{other}");
    let broken = json!({"txn": {"then": [{"put": {"key": "z", "value": "a"}}, {"incr": {"key": "z", "by": 1}}]}});
    let refused = client.call(Some("a:4"), &broken).unwrap();
    assert_eq!(refused["error"]["code"], "not_a_number", "{refused}");
    assert_eq!(cluster.get("z"), None, "nothing of it was done");
}

#[test]
fn write_to_a_follower_is_refused_with_the_leader_named() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    wait_for("a follower that names the leader", || {
        let leader = cluster.leader();
        let follower = cluster.running().into_iter().find(|id| *id != leader).unwrap();
        let answer = cluster.client(follower).put("a:2", "x", "2").unwrap();
        let error = &answer["error"];
        let names_leader = error["code"] == "not_leader"
            && error["leader"] == leader
            && error["leader_client"] == cluster.client_address(leader).to_string();
        if names_leader { Ok(()) } else { Err(answer.to_string()) }
    });
    assert_eq!(cluster.get("x").as_deref(), Some("1"));
}

#[test]
fn linearizable_read_at_a_follower_sees_the_latest_write() {
    let cluster = Cluster::start(3);
    for number in 1..=20_u64 {
        cluster.put(&format!("a:{number}"), "x", &number.to_string());
        for id in cluster.running() {
            let answer = wait_for("a confirmed read", || {
                let answer = cluster.client(id).get("x").unwrap();
                if answer["error"]["code"] == "read_failed" {
                    Err(answer.to_string())
                } else {
                    Ok(answer)
                }
            });
            assert_eq!(answer["ok"]["value"], number.to_string(), "{answer}");
        }
    }
}

#[test]
fn retry_gets_the_first_answer_even_after_all_nodes_were_restarted() {
    let mut cluster = Cluster::start(3);
    let append = json!({"append": {"key": "x", "value": "a"}});
    let done = |cluster: &Cluster, request: &str| {
        wait_for("an append", || {
            let answer = cluster.client(cluster.leader()).call(Some(request), &append).unwrap();
            if answer["ok"].is_object() {
                Ok(answer["ok"].clone())
            } else {
                Err(answer.to_string())
            }
        })
    };
    let first = done(&cluster, "a:1");
    assert_eq!(done(&cluster, "a:1"), first);
    cluster.kill_all();
    cluster.start_all();
    assert_eq!(done(&cluster, "a:1"), first);
    assert_eq!(cluster.get("x").as_deref(), Some("a"));
    assert_eq!(done(&cluster, "a:2")["length"], 2);
}

#[test]
fn all_nodes_killed_at_once_lose_no_acknowledged_write() {
    const WRITERS: usize = 4;
    let mut cluster = Cluster::start(3);
    for round in 0..3 {
        let leader = cluster.leader();
        let acknowledged: [AtomicU64; WRITERS] = std::array::from_fn(|_| AtomicU64::new(0));
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (writer, acknowledged) in acknowledged.iter().enumerate() {
                let mut client = cluster.client(leader);
                let killed = &killed;
                scope.spawn(move || {
                    let key = format!("round-{round}-writer-{writer}");
                    for number in 1.. {
                        let answer =
                            client.put(&format!("{key}:{number}"), &key, &number.to_string());
                        match answer {
                            Ok(answer) if answer["ok"].is_object() => {
                                acknowledged.store(number, Ordering::SeqCst);
                            }
                            Ok(answer) => panic!("{answer}"),
                            Err(error) => {
                                assert!(killed.load(Ordering::SeqCst), "{error}");
                                return;
                            }
                        }
                    }
                });
            }
            wait_for("writes from every writer", || {
                let counts = acknowledged.each_ref().map(|count| count.load(Ordering::SeqCst));
                if counts.iter().all(|count| *count >= 50) {
                    Ok(())
                } else {
                    Err(format!("{counts:?}"))
                }
            });
            killed.store(true, Ordering::SeqCst);
            cluster.kill_all();
        });
        cluster.start_all();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let found: u64 =
                cluster.get(&format!("round-{round}-writer-{writer}")).unwrap().parse().unwrap();
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            // The write after the last acknowledged one may have been under way.
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "writer {writer} of round {round}: {found} found, {acknowledged} acknowledged"
            );
        }
    }
    cluster.expect_equal_states();
}

#[test]
fn killed_node_catches_up_after_its_restart() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let leader = cluster.leader();
    cluster.kill(leader);
    for number in 2..=50 {
        cluster.put(&format!("a:{number}"), "x", &number.to_string());
    }
    cluster.start_node(leader);
    cluster.expect_equal_states();
    assert_eq!(cluster.client(leader).get("x").unwrap()["ok"]["value"], "50");
}

#[test]
fn single_node_serves_and_keeps_its_data() {
    let mut cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    cluster.kill(1);
    cluster.start_node(1);
    assert_eq!(cluster.get("x").as_deref(), Some("1"));
}

#[test]
fn sigterm_answers_who_waits_and_exits_with_0() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let leader = cluster.leader();
    for id in cluster.running() {
        if id != leader {
            cluster.kill(id);
        }
    }
    // Nobody is left to commit this with.
    let mut client = cluster.client(leader);
    let op = json!({"put": {"key": "x", "value": "2"}});
    let tag = client.ask(Some("a:2"), &op).unwrap();
    wait_for("the write to be proposed", || {
        let status = cluster.client(leader).status().unwrap();
        if status["proposals_waiting"] == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    let daemon = cluster.take(leader);
    daemon.signal(Signal::SIGTERM);
    let answer = client.receive().unwrap();
    // It tries to hand over first, and may notice meanwhile that it leads nobody any more.
    let code = answer["error"]["code"].as_str().unwrap();
    assert_eq!(answer["tag"], tag, "{answer}");
    assert!(["shutting_down", "leadership_lost"].contains(&code), "{answer}");
    client.expect_end();
    daemon.event("stopped", |_| true);
    assert_eq!(daemon.exit().0, Some(0));
    cluster.start_all();
    cluster.put("a:3", "y", "1");
}

#[test]
fn sigint_exits_with_0() {
    let mut cluster = Cluster::start(1);
    let daemon = cluster.take(1);
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.exit().0, Some(0));
}

#[test]
fn client_that_sends_all_and_hangs_up_gets_its_answers() {
    let cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    // As `printf '…' | nc` does.
    let mut client = Client::connect(cluster.client_address(1)).unwrap();
    client.send(b"{\"hello\":{\"protocol\":1}}\n").unwrap();
    client.send(b"{\"tag\":1,\"request\":\"b:1\",\"op\":{\"append\":{\"key\":\"x\",\"value\":\"2\"}}}\n").unwrap();
    client.send(b"{\"tag\":2,\"op\":{\"get\":{\"key\":\"x\"}}}\n").unwrap();
    client.finish();
    assert_eq!(client.receive().unwrap()["hello"]["cluster"], "test");
    let answers = [client.receive().unwrap(), client.receive().unwrap()];
    for (tag, member) in [(1, "length"), (2, "value")] {
        let answer = answers.iter().find(|answer| answer["tag"] == tag);
        assert!(answer.is_some_and(|answer| !answer["ok"][member].is_null()), "{answers:?}");
    }
    client.expect_end();
}

#[test]
fn client_that_does_not_take_its_answers_is_held_up_alone() {
    let cluster = Cluster::start(1);
    cluster.put("a:1", "x", &"v".repeat(1 << 20));
    let mut greedy = cluster.client(1);
    for _ in 0..200 {
        greedy.ask(None, &json!({"get": {"key": "x"}})).unwrap();
    }
    // Others are served meanwhile.
    cluster.put("a:2", "y", "1");
    assert_eq!(cluster.get("y").as_deref(), Some("1"));
    // It gets every answer once it reads them; those beyond what the node keeps for it were refused.
    let answers: Vec<Value> = (0..200).map(|_| greedy.receive().unwrap()).collect();
    assert!(answers.iter().any(|answer| answer["ok"]["value"].is_string()));
    assert!(answers.iter().any(|answer| answer["error"]["code"] == "overloaded"));
    let is_either = |answer: &Value| {
        answer["ok"]["value"].is_string() || answer["error"]["code"] == "overloaded"
    };
    assert!(answers.iter().all(is_either));
    assert_eq!(greedy.get("y").unwrap()["ok"]["value"], "1");
}

#[test]
fn role_changes_are_logged_for_programs() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let leader = cluster.leader();
    let event = cluster.node(leader).event("role", |event| event["role"] == "leader");
    assert_eq!((&event["node"], &event["leader"]), (&json!(leader), &json!(leader)), "{event}");
    let term = event["term"].as_u64().unwrap();
    let follower = cluster.running().into_iter().find(|id| *id != leader).unwrap();
    cluster
        .node(follower)
        .event("role", |event| event["leader"] == leader && event["term"] == term);
}

#[test]
fn log_for_people_that_is_no_terminal_has_no_colours() {
    let cluster = Cluster::new(1);
    let args = cluster.args(1).into_iter().map(|arg| arg.replace("json", "text"));
    let daemon = Daemon::start(args);
    wait_for("the node to listen", || Client::open(cluster.client_address(1)).map(drop));
    daemon.signal(Signal::SIGTERM);
    let (code, text) = daemon.exit();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("event=\"listening\"") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn help_shows_an_example_and_the_exit_codes() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_raftd")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "[[node]]",
        "raftd --config cluster.toml --id 1 --data",
        "Exit codes",
        "--log-format",
        "RUST_LOG",
    ] {
        assert!(help.contains(part), "no {part:?} in:\n{help}");
    }
}

#[test]
fn any_free_port_is_taken_and_told_on_request() {
    let cluster = Cluster::new(1);
    let listen = ["--listen", "peer=127.0.0.1:0", "--listen", "client=127.0.0.1:0"];
    let daemon = Daemon::start(cluster.args(1).into_iter().chain(listen.map(str::to_owned)));
    let (peer, client) = daemon.listening();
    assert!(peer.port() > 0 && client.port() > 0 && peer != client);
    Client::open(client).unwrap();
}
