//! What a client process does with an operation: asks raftd through `raftctl`, and says what came of it.
//!
//! The one place that decides between ok, fail and info:
//!
//! | the call ended with | read | anything else |
//! |---|---|---|
//! | an answer | ok | ok |
//! | a definite error (see [`raftctl::Error::is_definite`]), a cas mismatch among them | fail | fail |
//! | an indefinite error, a timeout among them | fail: it had no effect in any case | info |

mod several;
mod values;

use std::time::Duration;

use history_checker::history::Kind;
use raftctl::{Answer, Call, Client, Code, Consistency, Endpoint, NodeId, Op, Options};
use serde_json::{Value, json};

pub use self::values::Values;
pub(crate) use self::values::read_value;
use crate::workload::{Hints, Operation};

/// Ends a token in the value of an append workload's key; `raftd` appends text to text.
pub(crate) const TOKEN_END: char = ',';

/// How the clients of a run reach the cluster.
#[derive(Clone, Debug)]
pub struct Access {
    /// The cluster's client ports, as the clients reach them.
    pub endpoints: Vec<Endpoint>,
    /// How long an operation may take, retries included.
    pub timeout: Duration,
    /// How long to wait for one answer before asking again.
    pub attempt_timeout: Duration,
    /// How fresh reads are asked to be.
    pub consistency: Consistency,
    /// How the cluster keeps what the history has.
    pub values: Values,
}

/// One client process: a session of its own, pinned to a node.
///
/// Reads are served by that node, whatever it takes itself for; writes start there and follow the leader that it names.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    consistency: Consistency,
    values: Values,
}

/// What came of an operation: the history's completion, except for who, when and what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// `ok`, `fail` or `info`.
    pub kind: Kind,
    /// `ok`: the result; cas mismatch: what it found instead; otherwise what the operation was invoked with.
    pub value: Value,
    /// `fail` and `info`: why.
    pub error: Option<String>,
    /// The node that answered, or whose answer did not come.
    pub node: Option<NodeId>,
    /// Where in the log, as the node says.
    pub log_index: Option<u64>,
    /// Reads: what the node took itself for.
    pub role: Option<String>,
    /// Reads: its term.
    pub term: Option<u64>,
    /// Whether nothing was sent because the node could not be reached: trying again at once is of no use.
    pub unreachable: bool,
    /// What was learnt of the key.
    pub hints: Option<Hints>,
}

impl Access {
    /// The session of the client called `process`, pinned to `node`.
    pub fn session(&self, process: u64, node: NodeId) -> Result<Session, raftctl::Error> {
        let client = self.client(Some(format!("p{process}")), Some(node))?;
        Ok(Session { client, consistency: self.consistency, values: self.values })
    }

    /// A client beside those of the workload: looks at nodes and tries whether they serve.
    pub fn caretaker(&self, node: Option<NodeId>) -> Result<Client, raftctl::Error> {
        self.client(None, node)
    }

    fn client(&self, name: Option<String>, pin: Option<NodeId>) -> Result<Client, raftctl::Error> {
        Client::new(Options {
            pin,
            timeout: self.timeout,
            attempt_timeout: Some(self.attempt_timeout.min(self.timeout)),
            connect_timeout: self.timeout,
            name,
            ..Options::new(self.endpoints.clone())
        })
    }
}

impl Session {
    /// Names the request, without sending it: the name is to be written down first.
    pub async fn begin(&self, operation: &Operation) -> Result<Call, raftctl::Error> {
        self.client.begin(self.op(operation)).await
    }

    /// What came of a request for `operation`.
    pub fn completion(
        &self,
        operation: &Operation,
        outcome: Result<Answer, raftctl::Error>,
    ) -> Completion {
        match outcome {
            Ok(answer) => self.done(operation, answer),
            Err(error) => self.failed(operation, &error),
        }
    }

    /// The request that makes up `operation`, or is the last one of it.
    fn op(&self, operation: &Operation) -> Op {
        match operation.clone() {
            // Queues begin with a look.
            Operation::Read { key }
            | Operation::Enqueue { key, .. }
            | Operation::Dequeue { key } => self.get(key),
            Operation::Write { key, value } => Op::Put { key, value: self.values.stored(&value) },
            Operation::Cas { key, expect, value } => {
                let expect = expect.map(|expect| self.values.stored(&expect));
                Op::Cas { key, expect, value: self.values.stored(&value) }
            }
            Operation::Append { key, token: item } | Operation::Add { key, element: item, .. } => {
                Op::Append { key, value: format!("{item}{TOKEN_END}") }
            }
            Operation::Incr { key, by } => Op::Incr { key, by },
            Operation::Txn { key, steps } => Op::Txn(self.values.transaction(&key, &steps)),
            Operation::Acquire { key, holder } => Op::Cas { key, expect: None, value: holder },
            Operation::Release { key, holder } => Op::Txn(several::release(key, holder)),
        }
    }

    fn get(&self, key: String) -> Op {
        Op::Get { key, consistency: self.consistency, min_index: 0 }
    }

    fn done(&self, operation: &Operation, answer: Answer) -> Completion {
        if answer.succeeded == Some(false) {
            return self.refused(operation, answer);
        }
        let node = answer.node;
        let log_index = answer.index;
        let (role, term) = answer.served.map(|served| (served.role, served.term)).unzip();
        let mut hints = None;
        let value = match operation {
            Operation::Read { .. } => {
                let value = self.values.read(answer.value);
                hints = Some(Hints::Value(value.as_str().map(str::to_owned)));
                value
            }
            Operation::Incr { .. } => json!(answer.number),
            Operation::Txn { key: _, steps } => {
                hints = self.values.balances(steps, answer.results.as_deref());
                self.values.transacted(steps, answer.results.as_deref())
            }
            Operation::Write { value, .. } | Operation::Cas { value, .. } => {
                hints = Some(Hints::Value(Some(value.clone())));
                operation.value()
            }
            Operation::Append { .. }
            | Operation::Add { .. }
            | Operation::Enqueue { .. }
            | Operation::Dequeue { .. }
            | Operation::Acquire { .. }
            | Operation::Release { .. } => operation.value(),
        };
        Completion {
            kind: Kind::Ok,
            value,
            error: None,
            node: Some(node),
            log_index,
            role,
            term,
            unreachable: false,
            hints,
        }
    }

    /// A transaction found something else than it expected, and said what.
    fn refused(&self, operation: &Operation, answer: Answer) -> Completion {
        let Answer { node, index, results, .. } = answer;
        let hints = self.values.all_balances(results.as_deref());
        Completion {
            node: Some(node),
            log_index: index,
            hints,
            ..Completion::fail(operation, Code::Mismatch)
        }
    }

    fn failed(&self, operation: &Operation, error: &raftctl::Error) -> Completion {
        let certain = operation.is_read() || error.is_definite();
        // A cas that mismatched says what it found, as a read would.
        let found = error.refusal().filter(|refusal| refusal.code == Code::Mismatch);
        let found = found.map(|refusal| self.values.read(refusal.actual.clone()));
        let hints = found.as_ref().map(|actual| Hints::Value(actual.as_str().map(str::to_owned)));
        Completion {
            kind: if certain { Kind::Fail } else { Kind::Info },
            value: found.map_or_else(|| operation.value(), |actual| json!({ "actual": actual })),
            error: Some(error.code().to_owned()),
            node: error.node(),
            log_index: error.refusal().and_then(|refusal| refusal.index),
            role: None,
            term: None,
            unreachable: error.code() == "unreachable",
            hints,
        }
    }
}

impl Completion {
    /// Nothing was done, and nothing will be.
    fn fail(operation: &Operation, code: Code) -> Completion {
        let word = serde_json::to_value(code).ok();
        Completion {
            kind: Kind::Fail,
            value: operation.value(),
            error: word.and_then(|word| word.as_str().map(str::to_owned)),
            node: None,
            log_index: None,
            role: None,
            term: None,
            unreachable: false,
            hints: None,
        }
    }
}
