//! What becomes of an operation, decided against a node that is scripted.

use std::time::Duration;

use harness::client::{Access, Completion, Values};
use harness::workload::Object;
use harness::workload::Operation;
use history_checker::history::Kind;
use raftctl::{Consistency, Endpoint};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the node answers: a response without its tag, or nothing at all.
type Script = Option<Value>;

/// Says hello, then answers everything with the same.
async fn serve(stream: TcpStream, script: Script) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    lines.next_line().await?;
    output
        .write_all(b"{\"hello\":{\"protocol\":1,\"cluster\":\"c\",\"node\":1,\"commit\":5}}\n")
        .await?;
    while let Some(line) = lines.next_line().await? {
        let request: Value = serde_json::from_str(&line)?;
        if let Some(mut answer) = script.clone() {
            answer["tag"] = request["tag"].clone();
            output.write_all(format!("{answer}\n").as_bytes()).await?;
        }
    }
    Ok(())
}

/// What comes of `operation` at a node that follows the script.
async fn completion(model: Object, operation: &Operation, script: Script) -> Completion {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, script.clone()));
        }
    });
    let access = Access {
        endpoints: vec![Endpoint::of(1, address)],
        timeout: Duration::from_millis(300),
        attempt_timeout: Duration::from_millis(50),
        consistency: Consistency::Linearizable,
        values: Values { model, registers: 3, opening_balance: None, bytes: None },
    };
    let session = access.session(7, 1).unwrap();
    let call = session.begin(operation).await.unwrap();
    assert_eq!(call.request().is_some(), !operation.is_read());
    let completion = session.completion(operation, call.send().await);
    node.abort();
    completion
}

fn read() -> Operation {
    Operation::Read { key: "k".to_owned() }
}

fn write() -> Operation {
    Operation::Write { key: "k".to_owned(), value: "7-1".to_owned() }
}

fn cas() -> Operation {
    Operation::Cas { key: "k".to_owned(), expect: None, value: "7-1".to_owned() }
}

fn error(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "no" } })
}

#[tokio::test]
async fn answered_read_is_ok_and_says_who_served_it() {
    let served = json!({ "node": 1, "role": "follower", "term": 3 });
    let answer = json!({ "ok": { "index": 9, "value": "7-1", "served": served } });
    let read = completion(Object::Register, &read(), Some(answer)).await;
    assert_eq!((read.kind, read.value, read.error), (Kind::Ok, json!("7-1"), None));
    assert_eq!((read.node, read.log_index, read.term), (Some(1), Some(9), Some(3)));
    assert_eq!(read.role.as_deref(), Some("follower"));
}

#[tokio::test]
async fn read_of_a_missing_key_is_ok_with_nothing() {
    let kinds = [
        (Object::Register, Value::Null),
        (Object::Append, json!([])),
        (Object::Counter, Value::Null),
    ];
    for (model, nothing) in kinds {
        let read = completion(model, &read(), Some(error("not_found"))).await;
        assert_eq!((read.kind, read.value), (Kind::Ok, nothing), "{model}");
    }
}

#[tokio::test]
async fn read_that_times_out_fails_as_it_had_no_effect() {
    let read = completion(Object::Register, &read(), None).await;
    assert_eq!((read.kind, read.error.as_deref()), (Kind::Fail, Some("timeout")));
}

#[tokio::test]
async fn write_that_times_out_is_info() {
    let write = completion(Object::Register, &write(), None).await;
    assert_eq!((write.kind, write.error.as_deref()), (Kind::Info, Some("timeout")));
    assert_eq!(write.value, json!("7-1"));
}

#[tokio::test]
async fn write_whose_leader_fell_is_info() {
    let write = completion(Object::Register, &write(), Some(error("leadership_lost"))).await;
    assert_eq!(write.kind, Kind::Info);
}

#[tokio::test]
async fn write_with_an_unknown_error_is_info() {
    let write = completion(Object::Register, &write(), Some(error("error_of_a_newer_raftd"))).await;
    assert_eq!(write.kind, Kind::Info);
}

#[tokio::test]
async fn write_that_nobody_proposed_fails() {
    let write = completion(Object::Register, &write(), Some(error("disk_full"))).await;
    assert_eq!((write.kind, write.error.as_deref()), (Kind::Fail, Some("disk_full")));
}

#[tokio::test]
async fn cas_mismatch_fails_and_says_what_it_found() {
    let mismatch = json!({ "code": "mismatch", "message": "no", "index": 9, "actual": "3-2" });
    let cas = completion(Object::CasRegister, &cas(), Some(json!({ "error": mismatch }))).await;
    assert_eq!((cas.kind, cas.error.as_deref()), (Kind::Fail, Some("mismatch")));
    assert_eq!((cas.value, cas.log_index), (json!({ "actual": "3-2" }), Some(9)));
}

#[tokio::test]
async fn increment_is_ok_with_the_sum() {
    let incr = Operation::Incr { key: "k".to_owned(), by: 2 };
    let answer = json!({ "ok": { "index": 9, "number": 12 } });
    let incr = completion(Object::Counter, &incr, Some(answer)).await;
    assert_eq!((incr.kind, incr.value), (Kind::Ok, json!(12)));
}

#[tokio::test]
async fn list_is_split_into_its_tokens() {
    let answer = json!({ "ok": { "index": 9, "value": "1-1,2-1," } });
    let read = completion(Object::Append, &read(), Some(answer)).await;
    assert_eq!(read.value, json!(["1-1", "2-1"]));
}
