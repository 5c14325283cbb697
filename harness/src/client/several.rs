//! Operations that take several requests: queues, and sets that a lock guards.
//!
//! Only the last request that matters changes what the history's object holds. Whatever goes wrong before it, nothing was
//! done; what it does is answered in the one place that decides between ok, fail and info.

use history_checker::history::Kind;
use raftctl::{Code, Compare, Op, Txn, TxnOp, TxnResult};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{Completion, Session, TOKEN_END};
use crate::workload::{Hold, Operation};

/// How often a client looks whether a lock is free.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// For how many leases it waits before it gives up.
const LEASES_MAX: u32 = 4;

/// A lock as it was found: what its key holds, and how many holders there were.
struct Found {
    text: Option<String>,
    number: u64,
    is_free: bool,
}

impl Session {
    /// Carries out an operation of several requests.
    pub async fn perform(&self, operation: &Operation) -> Completion {
        match operation {
            Operation::Enqueue { key, value } => self.enqueue(operation, key, value).await,
            Operation::Dequeue { key } => self.dequeue(operation, key).await,
            Operation::Add { key, element, hold: Some(hold) } => {
                self.add_under_lock(operation, key, element, *hold).await
            }
            Operation::Read { .. }
            | Operation::Write { .. }
            | Operation::Cas { .. }
            | Operation::Append { .. }
            | Operation::Incr { .. }
            | Operation::Add { .. }
            | Operation::Txn { .. }
            | Operation::Acquire { .. }
            | Operation::Release { .. } => {
                let outcome = self.ask(self.op(operation)).await;
                self.completion(operation, outcome)
            }
        }
    }

    async fn ask(&self, op: Op) -> Result<raftctl::Answer, raftctl::Error> {
        self.client.begin(op).await?.send().await
    }

    async fn look(&self, key: String) -> Result<Option<String>, raftctl::Error> {
        Ok(self.ask(self.get(key)).await?.value)
    }

    /// A request before the last one went wrong: nothing was done.
    fn not_begun(&self, operation: &Operation, error: &raftctl::Error) -> Completion {
        Completion { kind: Kind::Fail, ..self.failed(operation, error) }
    }

    async fn enqueue(&self, operation: &Operation, key: &str, value: &str) -> Completion {
        let tail = format!("{key}.tail");
        let end = match self.look(tail.clone()).await {
            Ok(end) => end,
            Err(error) => return self.not_begun(operation, &error),
        };
        let txn = Txn {
            compare: vec![Compare { key: tail.clone(), expect: end.clone() }],
            then: vec![
                TxnOp::Put { key: slot(key, end.as_deref()), value: value.to_owned() },
                TxnOp::Incr { key: tail, by: 1 },
            ],
            otherwise: Vec::new(),
        };
        let outcome = self.ask(Op::Txn(txn)).await;
        self.completion(operation, outcome)
    }

    async fn dequeue(&self, operation: &Operation, key: &str) -> Completion {
        let (head, tail) = (format!("{key}.head"), format!("{key}.tail"));
        let get = |key: &String| TxnOp::Get { key: key.clone() };
        let ends = Txn { then: vec![get(&head), get(&tail)], ..Txn::default() };
        let answer = match self.ask(Op::Txn(ends)).await {
            Ok(answer) => answer,
            Err(error) => return self.not_begun(operation, &error),
        };
        let begin = match answer.results.as_deref() {
            Some([TxnResult::Value(begin), TxnResult::Value(end)]) if begin == end => {
                // Empty: null, at the moment of the look.
                return self.completion(operation, Ok(answer));
            }
            Some([TxnResult::Value(begin), _]) => begin.clone(),
            _ => None,
        };
        let first = slot(key, begin.as_deref());
        let txn = Txn {
            compare: vec![Compare { key: head.clone(), expect: begin }],
            then: vec![
                TxnOp::Get { key: first.clone() },
                TxnOp::Delete { key: first },
                TxnOp::Incr { key: head, by: 1 },
            ],
            otherwise: Vec::new(),
        };
        let outcome = self.ask(Op::Txn(txn)).await;
        let taken = match outcome.as_ref().ok().and_then(|answer| answer.results.as_deref()) {
            Some([TxnResult::Value(taken), ..]) => json!(taken),
            _ => Value::Null,
        };
        let completion = self.completion(operation, outcome);
        if completion.kind == Kind::Ok {
            Completion { value: taken, ..completion }
        } else {
            completion
        }
    }

    /// Takes the lock, reads the set, writes it back with one element more, and gives the lock back.
    async fn add_under_lock(
        &self,
        operation: &Operation,
        key: &str,
        element: &str,
        hold: Hold,
    ) -> Completion {
        let lock = format!("{key}.lock");
        let held = match self.take(&lock, element, hold).await {
            Ok(Some(held)) => held,
            Ok(None) => return Completion::fail(operation, Code::Mismatch),
            Err(error) => return self.not_begun(operation, &error),
        };
        let before = match self.look(key.to_owned()).await {
            Ok(before) => before.unwrap_or_default(),
            Err(error) => return self.not_begun(operation, &error),
        };
        if let Some(pause) = hold.pause {
            sleep(pause).await;
        }
        let (key, value) = (key.to_owned(), format!("{before}{element}{TOKEN_END}"));
        let write = if hold.fencing {
            let compare = vec![Compare { key: lock.clone(), expect: Some(held.clone()) }];
            Op::Txn(Txn { compare, then: vec![TxnOp::Put { key, value }], otherwise: Vec::new() })
        } else {
            Op::Put { key, value }
        };
        let outcome = self.ask(write).await;
        let number = held.split(' ').next().unwrap_or_default().to_owned();
        let back = TxnOp::Put { key: lock.clone(), value: number };
        let compare = vec![Compare { key: lock, expect: Some(held) }];
        // If it is not given back it runs out.
        drop(self.ask(Op::Txn(Txn { compare, then: vec![back], otherwise: Vec::new() })).await);
        self.completion(operation, outcome)
    }

    /// Takes a lock that is free, or has been held by the same holder for longer than it may be. What its key holds then:
    /// the fencing token. `None` if others were faster.
    async fn take(
        &self,
        lock: &str,
        holder: &str,
        hold: Hold,
    ) -> Result<Option<String>, raftctl::Error> {
        let begin = Instant::now();
        let mut same: (Option<String>, Instant) = (None, begin);
        while begin.elapsed() < hold.lease * LEASES_MAX {
            let found = Found::new(self.look(lock.to_owned()).await?);
            if found.text != same.0 {
                same = (found.text.clone(), Instant::now());
            }
            if !found.is_free && same.1.elapsed() < hold.lease {
                sleep(LOOK_AGAIN).await;
                continue;
            }
            let held = format!("{} {holder}", found.number + 1);
            let (key, value) = (lock.to_owned(), held.clone());
            match self.ask(Op::Cas { key, expect: found.text, value }).await {
                Ok(_) => return Ok(Some(held)),
                Err(error) if error.code() == "mismatch" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Found {
    /// `7 3-15`: held, the seventh time; `7`: free.
    fn new(text: Option<String>) -> Found {
        let (number, holder) = match text.as_deref() {
            Some(text) => {
                text.split_once(' ').map_or((text, None), |(n, holder)| (n, Some(holder)))
            }
            None => ("0", None),
        };
        let number = number.parse().unwrap_or(0);
        let is_free = holder.is_none();
        Found { text, number, is_free }
    }
}

/// Where a queue keeps the element with this number.
fn slot(key: &str, number: Option<&str>) -> String {
    format!("{key}.{}", number.unwrap_or("0"))
}

/// Gives a lock back, if it is one's own.
pub(super) fn release(key: String, holder: String) -> Txn {
    Txn {
        compare: vec![Compare { key: key.clone(), expect: Some(holder) }],
        then: vec![TxnOp::Delete { key }],
        otherwise: Vec::new(),
    }
}
