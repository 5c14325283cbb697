//! What a client process does with an operation: asks raftd through `raftctl`, and says what came of it.
//!
//! The one place that decides between ok, fail and info:
//!
//! | the call ended with | read | anything else |
//! |---|---|---|
//! | an answer | ok | ok |
//! | a definite error (see [`raftctl::Error::is_definite`]), a cas mismatch among them | fail | fail |
//! | an indefinite error, a timeout among them | fail: it had no effect in any case | info |

use std::time::Duration;

use history_checker::history::Kind;
use raftctl::{Answer, Call, Client, Code, Consistency, Endpoint, NodeId, Op, Options};
use serde_json::{Value, json};

use crate::workload::{Object, Operation};

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
    /// Tells what the values are.
    pub model: Object,
}

/// One client process: a session of its own, pinned to a node.
///
/// Reads are served by that node, whatever it takes itself for; writes start there and follow the leader that it names.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    consistency: Consistency,
    model: Object,
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
}

impl Access {
    /// The session of the client called `process`, pinned to `node`.
    pub fn session(&self, process: u64, node: NodeId) -> Result<Session, raftctl::Error> {
        let client = self.client(Some(format!("p{process}")), Some(node))?;
        Ok(Session { client, consistency: self.consistency, model: self.model })
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
            Err(error) => failed(operation, &error),
        }
    }

    fn op(&self, operation: &Operation) -> Op {
        match operation.clone() {
            Operation::Read { key } => Op::Get { key, consistency: self.consistency, min_index: 0 },
            Operation::Write { key, value } => Op::Put { key, value },
            Operation::Cas { key, expect, value } => Op::Cas { key, expect, value },
            Operation::Append { key, token } => {
                Op::Append { key, value: format!("{token}{TOKEN_END}") }
            }
            Operation::Incr { key, by } => Op::Incr { key, by },
        }
    }

    fn done(&self, operation: &Operation, answer: Answer) -> Completion {
        let value = match operation {
            Operation::Read { .. } => read_value(self.model, answer.value),
            Operation::Incr { .. } => json!(answer.number),
            Operation::Write { .. } | Operation::Cas { .. } | Operation::Append { .. } => {
                operation.value()
            }
        };
        let (role, term) = answer.served.map(|served| (served.role, served.term)).unzip();
        Completion {
            kind: Kind::Ok,
            value,
            error: None,
            node: Some(answer.node),
            log_index: answer.index,
            role,
            term,
            unreachable: false,
        }
    }
}

/// A stored value in the model's terms; one that makes no sense there is kept as it is, for the checker to object to.
pub(crate) fn read_value(model: Object, value: Option<String>) -> Value {
    match (model, value) {
        (Object::Append, None) => json!([]),
        (Object::Append, Some(text)) => {
            let tokens = text.strip_suffix(TOKEN_END).unwrap_or(&text);
            json!(tokens.split(TOKEN_END).collect::<Vec<_>>())
        }
        (Object::Counter, Some(text)) => {
            text.parse::<i64>().map_or_else(|_| json!(text), Value::from)
        }
        (Object::Register | Object::CasRegister | Object::Counter, value) => json!(value),
    }
}

fn failed(operation: &Operation, error: &raftctl::Error) -> Completion {
    let certain = operation.is_read() || error.is_definite();
    // A cas that mismatched says what it found, as a read would.
    let found = error.refusal().filter(|refusal| refusal.code == Code::Mismatch);
    let value =
        found.map_or_else(|| operation.value(), |refusal| json!({ "actual": refusal.actual }));
    Completion {
        kind: if certain { Kind::Fail } else { Kind::Info },
        value,
        error: Some(error.code().to_owned()),
        node: error.node(),
        log_index: error.refusal().and_then(|refusal| refusal.index),
        role: None,
        term: None,
        unreachable: error.code() == "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_value_splits_tokens_at_their_ends() {
        let read = |text: Option<&str>| read_value(Object::Append, text.map(str::to_owned));
        assert_eq!(read(None), json!([]));
        assert_eq!(read(Some("1-1,2-1,")), json!(["1-1", "2-1"]));
        assert_eq!(read(Some("1-1,2-")), json!(["1-1", "2-"]), "a torn token is not hidden");
        assert_eq!(read(Some("1-1,,2-1,")), json!(["1-1", "", "2-1"]));
    }

    #[test]
    fn read_value_of_a_counter_is_a_number_or_left_as_it_is() {
        let read = |text: Option<&str>| read_value(Object::Counter, text.map(str::to_owned));
        assert_eq!(read(None), Value::Null);
        assert_eq!(read(Some("-7")), json!(-7));
        assert_eq!(read(Some("seven")), json!("seven"));
    }
}
