//! What lives in the cluster as more than one value - sets, registers, queues, locks - against a store in this process that
//! keeps its promises, or one that does not: the verdict must be able to tell them apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::client::{Access, Values};
use harness::journal::Journal;
use harness::scenario::Scenario;
use harness::traffic::{Load, Traffic};
use harness::workload::Generator;
use history_checker::history::Header;
use history_checker::results::{Results, Verdict};
use history_checker::{History, Options, check};
use raftctl::{Consistency, Endpoint};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    None,
    /// Of every tenth transaction that writes, only the first write is done.
    HalfTransactions,
    /// Whatever is compared is as expected.
    NeverCompares,
    /// Every tenth write is acknowledged and forgotten.
    Forgets,
    /// Every tenth write is done twice.
    Repeats,
}

#[derive(Debug)]
struct Store {
    lie: Lie,
    texts: BTreeMap<String, String>,
    index: u64,
    writes: u64,
}

impl Store {
    /// The answer to a request, without its tag.
    fn answer(&mut self, op: &Value) -> Value {
        let (name, what) = op.as_object().unwrap().iter().next().unwrap();
        self.index += 1;
        if name == "get" {
            return json!({"ok": {"index": self.index, "value": self.text(&what["key"])}});
        }
        if name == "cas" {
            let actual = self.text(&what["key"]);
            if actual != what["expect"] && self.lie != Lie::NeverCompares {
                let error = json!({"code": "mismatch", "message": "", "actual": actual});
                return json!({ "error": error });
            }
            self.write("put", what);
            return json!({"ok": {"index": self.index}});
        }
        if name != "txn" {
            self.writes += 1;
            let tenth = self.writes.is_multiple_of(10);
            if !(tenth && self.lie == Lie::Forgets) {
                self.write(name, what);
            }
            if tenth && self.lie == Lie::Repeats {
                self.write(name, what);
            }
            return json!({"ok": {"index": self.index}});
        }
        self.transaction(what)
    }

    fn transaction(&mut self, txn: &Value) -> Value {
        let list = |name: &str| txn[name].as_array().cloned().unwrap_or_default();
        let holds =
            list("compare").iter().all(|compare| self.text(&compare["key"]) == compare["expect"]);
        let succeeded = holds || self.lie == Lie::NeverCompares;
        let mut results = Vec::new();
        let mut written = 0;
        let ops = list(if succeeded { "then" } else { "else" });
        let is_write = ops.iter().any(|op| op.get("get").is_none());
        self.writes += u64::from(is_write);
        let tenth = is_write && self.writes.is_multiple_of(10);
        for op in &ops {
            let (name, what) = op.as_object().unwrap().iter().next().unwrap();
            if name == "get" {
                results.push(json!({"value": self.text(&what["key"])}));
            } else if tenth && self.lie == Lie::HalfTransactions && written > 0 {
                results.push(json!("done"));
            } else {
                results.push(self.write(name, what));
                written += 1;
            }
        }
        json!({"ok": {"index": self.index, "succeeded": succeeded, "results": results}})
    }

    fn text(&self, key: &Value) -> Value {
        json!(self.texts.get(key.as_str().unwrap()))
    }

    fn write(&mut self, name: &str, what: &Value) -> Value {
        let key = what["key"].as_str().unwrap().to_owned();
        match name {
            "put" => {
                self.texts.insert(key, what["value"].as_str().unwrap().to_owned());
                json!("done")
            }
            "append" => {
                self.texts.entry(key).or_default().push_str(what["value"].as_str().unwrap());
                json!({"length": 1})
            }
            "delete" => json!({"deleted": self.texts.remove(&key).is_some()}),
            "incr" => {
                let text = self.texts.entry(key).or_insert_with(|| "0".to_owned());
                let number = text.parse::<i64>().unwrap() + what["by"].as_i64().unwrap();
                *text = number.to_string();
                json!({ "number": number })
            }
            other => panic!("no client of these workloads asks for {other}"),
        }
    }
}

/// A node in front of a store.
#[derive(Clone)]
struct Node {
    store: Arc<Mutex<Store>>,
    requests: Arc<watch::Sender<u64>>,
}

impl Node {
    async fn serve(self, stream: TcpStream) -> std::io::Result<()> {
        let (input, mut output) = stream.into_split();
        let mut lines = BufReader::new(input).lines();
        lines.next_line().await?;
        let hello = json!({ "hello": { "protocol": 1, "cluster": "c", "node": 1, "commit": 5 } });
        output.write_all(format!("{hello}\n").as_bytes()).await?;
        while let Some(line) = lines.next_line().await? {
            let request: Value = serde_json::from_str(&line)?;
            let mut answer = self.store.lock().unwrap().answer(&request["op"]);
            answer["tag"] = request["tag"].clone();
            output.write_all(format!("{answer}\n").as_bytes()).await?;
            self.requests.send_modify(|requests| *requests += 1);
        }
        Ok(())
    }
}

/// What the checks say after the clients of a built-in workload have sent so many requests to such a store.
async fn results(workload: &str, lie: Lie, requests: u64) -> Results {
    let store = Store { lie, texts: BTreeMap::new(), index: 5, writes: 0 };
    let node = Node { store: Arc::new(Mutex::new(store)), requests: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::of(1, listener.local_addr().unwrap().to_string());
    let serving = node.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serving.clone().serve(stream));
        }
    });
    let scenario = Scenario::built_in(workload).unwrap();
    let header = Header {
        workload: scenario.name.clone(),
        model: scenario.model.name().to_owned(),
        initial: scenario.initial(),
        total: scenario.total(),
        ..Header::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("h");
    let journal = Arc::new(Journal::create(&path, &header, Instant::now()).unwrap());
    let access = Access {
        endpoints: vec![endpoint],
        timeout: Duration::from_secs(20),
        attempt_timeout: Duration::from_secs(20),
        consistency: Consistency::Linearizable,
        values: Values::of(&scenario),
    };
    let generator = Generator::new(&scenario, 1);
    let (clients, readers) = (scenario.clients, scenario.readers());
    let load = Load { clients, readers, rate: 2000, shared_sessions: false };
    let mut traffic = Traffic::start(access, Arc::clone(&journal), generator, load).unwrap();
    node.requests.subscribe().wait_for(|count| *count >= requests).await.unwrap();
    traffic.stop().await.unwrap();
    traffic.final_reads().await.unwrap();
    journal.flush().unwrap();
    check(&History::read(&path).unwrap(), &Options::default())
}

fn verdict(results: &Results, name: &str) -> Verdict {
    results.checks.iter().find(|check| check.name == name).unwrap().verdict
}

async fn assert_told_apart(workload: &str, lies: &[Lie]) {
    let honest = results(workload, Lie::None, 1500).await;
    assert_eq!(honest.verdict, Verdict::Valid, "{workload}: {honest:#?}");
    for &lie in lies {
        let results = results(workload, lie, 1500).await;
        let found = verdict(&results, "linearizable");
        assert_eq!(found, Verdict::Invalid, "{workload} with {lie:?}: {}", results.headline);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_that_forgets_or_repeats_is_found_out() {
    assert_told_apart("set", &[Lie::Forgets]).await;
    let results = results("set", Lie::Repeats, 1500).await;
    assert_eq!(verdict(&results, "elements"), Verdict::Invalid);
    assert!(results.headline.contains("twice"), "{}", results.headline);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_are_half_done_are_found_out() {
    assert_told_apart("transactions", &[Lie::HalfTransactions]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bank_that_loses_money_is_found_out() {
    assert_told_apart("bank", &[Lie::HalfTransactions, Lie::NeverCompares]).await;
    let results = results("bank", Lie::HalfTransactions, 1500).await;
    assert_eq!(verdict(&results, "totals"), Verdict::Invalid);
    assert!(results.headline.contains("instead of 80"), "{}", results.headline);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_that_two_hold_is_found_out() {
    assert_told_apart("mutex", &[Lie::NeverCompares]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_loses_elements_is_found_out() {
    assert_told_apart("queue", &[Lie::HalfTransactions, Lie::NeverCompares]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counter_and_list_that_take_a_retry_for_another_request_are_found_out() {
    for workload in ["append", "counter"] {
        assert_told_apart(workload, &[Lie::Repeats]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_that_runs_out_guards_only_with_fencing() {
    let fenced = results("lock-fencing", Lie::None, 1000).await;
    assert_eq!(fenced.verdict, Verdict::Valid, "{fenced:#?}");
    for (workload, lie) in [("lock-canary", Lie::None), ("lock-fencing", Lie::NeverCompares)] {
        let results = results(workload, lie, 1000).await;
        assert_eq!(verdict(&results, "linearizable"), Verdict::Invalid, "{workload}");
    }
}
