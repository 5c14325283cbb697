//! The clients at work, against a node that is scripted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::client::{Access, Values};
use harness::journal::Journal;
use harness::scenario::Scenario;
use harness::traffic::{Load, Traffic};
use harness::workload::Generator;
use history_checker::History;
use history_checker::history::{Event, Header, Kind, Outcome, Reader};
use raftctl::Endpoint;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A node that carries out everything, except that it leaves every tenth write without an answer.
#[derive(Clone, Default)]
struct Node {
    /// When each write arrived first, and as which one.
    arrivals: Arc<Mutex<BTreeMap<String, (Instant, usize)>>>,
    /// How many requests there were.
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
            self.requests.send_modify(|requests| *requests += 1);
            let answers = request["request"].as_str().is_none_or(|name| self.arrived(name));
            if answers {
                let answer = json!({ "tag": request["tag"], "ok": { "index": 7, "value": "0-0" } });
                output.write_all(format!("{answer}\n").as_bytes()).await?;
            }
        }
        Ok(())
    }

    /// Takes down a write's arrival. Whether it is to be answered.
    fn arrived(&self, name: &str) -> bool {
        let mut arrivals = self.arrivals.lock().unwrap();
        let number = arrivals.len();
        let (_, number) =
            arrivals.entry(name.to_owned()).or_insert_with(|| (Instant::now(), number));
        *number % 10 != 9
    }

    async fn listen(&self) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::of(1, listener.local_addr().unwrap().to_string());
        let node = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(node.clone().serve(stream));
            }
        });
        endpoint
    }
}

/// What four clients write down while they send `requests` requests to `node`.
async fn history(node: &Node, requests: u64, path: &Path, start: Instant) -> (History, Vec<Event>) {
    history_of(node, requests, path, start, false).await
}

/// The same, if they are perhaps one session.
async fn history_of(
    node: &Node,
    requests: u64,
    path: &Path,
    start: Instant,
    shared_sessions: bool,
) -> (History, Vec<Event>) {
    let scenario = Scenario::built_in("register").unwrap();
    let header = Header {
        workload: scenario.name.clone(),
        model: scenario.model.name().to_owned(),
        ..Header::default()
    };
    let journal = Arc::new(Journal::create(path, &header, start).unwrap());
    let access = Access {
        endpoints: vec![node.listen().await],
        timeout: Duration::from_millis(200),
        attempt_timeout: Duration::from_millis(50),
        consistency: scenario.consistency,
        values: Values::of(&scenario),
    };
    let generator = Generator::new(&scenario, 1);
    let load = Load { clients: 4, readers: 0, rate: 1000, shared_sessions };
    let mut traffic = Traffic::start(access, Arc::clone(&journal), generator, load).unwrap();
    node.requests.subscribe().wait_for(|count| *count >= requests).await.unwrap();
    traffic.stop().await.unwrap();
    journal.flush().unwrap();
    let file = std::fs::File::open(path).unwrap();
    let events = Reader::new(std::io::BufReader::new(file), "h").unwrap();
    (History::read(path).unwrap(), events.map(|event| event.unwrap()).collect())
}

#[tokio::test]
async fn write_is_on_record_before_it_is_sent_and_its_answer_after_it_came() {
    let directory = tempfile::tempdir().unwrap();
    let (node, start) = (Node::default(), Instant::now());
    let (history, _) = history(&node, 200, &directory.path().join("h"), start).await;
    let arrivals = node.arrivals.lock().unwrap();
    let mut writes = 0;
    for op in history.keys().iter().flat_map(|key| &key.ops) {
        let Some((arrival, _)) = history.request(op).and_then(|name| arrivals.get(name)) else {
            continue;
        };
        let arrival = arrival.duration_since(start).as_nanos();
        let called = history.called(op).expect("histories of runs have times");
        let completed = history.completed(op).expect("all operations were completed");
        assert!(u128::from(called) <= arrival, "{op:?} was sent before it was recorded");
        assert!(arrival <= u128::from(completed), "{op:?} was recorded before it came");
        writes += 1;
    }
    assert!(writes > 50, "{writes} writes");
    assert_eq!(writes, arrivals.len(), "a request was sent that is not on record");
}

#[tokio::test]
async fn client_that_lost_track_goes_on_under_a_new_number_and_session() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::default();
    let (history, events) = history(&node, 400, &directory.path().join("h"), Instant::now()).await;
    let ops = history.keys().iter().flat_map(|key| &key.ops);
    let open = ops.filter(|op| op.outcome == Outcome::Open);
    let lost: Vec<u64> = open.map(|op| history.client(op)).collect();
    assert!(lost.len() > 3, "{lost:?}");
    let mut sessions = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == Kind::Invoke) {
        let Some((session, _)) = event.request.as_ref().and_then(|name| name.split_once(':'))
        else {
            continue;
        };
        let of_process =
            sessions.entry(event.process.clone()).or_insert_with(|| session.to_owned());
        assert_eq!(of_process, session, "a process has one session");
    }
    let distinct: BTreeSet<_> = sessions.values().collect();
    assert_eq!(distinct.len(), sessions.len(), "a session belongs to one process");
    assert!(sessions.len() > 4, "four clients, and those who came after them: {sessions:?}");
}

#[tokio::test]
async fn clients_of_a_node_may_be_one_session_and_keep_it() {
    let directory = tempfile::tempdir().unwrap();
    let (node, path) = (Node::default(), directory.path().join("h"));
    let (history, events) = history_of(&node, 400, &path, Instant::now(), true).await;
    let ops = history.keys().iter().flat_map(|key| &key.ops);
    assert!(ops.filter(|op| op.outcome == Outcome::Open).count() > 3, "some lost track");
    let invoked = events.iter().filter(|event| event.kind == Kind::Invoke);
    let names: Vec<&str> = invoked.filter_map(|event| event.request.as_deref()).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len(), "each request has a name of its own");
    let sessions: BTreeSet<_> = names.iter().filter_map(|name| name.split_once(':')).collect();
    let sessions: BTreeSet<&str> = sessions.into_iter().map(|(session, _)| session).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}
