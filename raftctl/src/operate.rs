//! get, put, del, cas, append, incr, txn.

use std::io::Read;

use anyhow::{Context, bail};
use raftctl::{
    Answer, Client, Code, Consistency, Error, ErrorKind, NodeId, Op, RequestId, Served, TxnResult,
};
use raftd::api::VALUE_BYTES_MAX;
use serde::Serialize;

use crate::args::{Connect, Operation};
use crate::connect::{client, runtime};
use crate::output::{Exit, Output};
use crate::shell::retry_command;

/// Stands for standard input.
const STDIN: &str = "-";

/// What is printed of an operation with `--output json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
    /// Txn: whether `then` was done, and not `else`.
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<TxnResult>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served: Option<Served>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// The command that repeats a write whose outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<String>,
}

#[derive(Debug, Serialize)]
struct Failure {
    code: String,
    definite: bool,
    message: String,
    /// Cas mismatch: what the value is; absent if the key has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<String>,
}

pub(crate) fn run(
    connect: &Connect,
    operation: Operation,
    output: &Output,
) -> anyhow::Result<Exit> {
    let is_read = matches!(operation, Operation::Get { .. });
    if is_read && connect.request_id.is_some() {
        bail!("--request-id is for writes; a read may be repeated without one");
    }
    let client = client(connect.options()?)?;
    let reads_stdin = operation.reads_stdin();
    let op = operation.into_op()?;
    let outcome = runtime()?.block_on(call(&client, connect.request_id.clone(), op));
    Ok(match outcome {
        Ok(answer) if is_read && answer.value.is_none() => no_such_key(answer, output),
        Ok(answer) => done(answer, output),
        Err(error) => failed(&error, reads_stdin, output),
    })
}

async fn call(client: &Client, request: Option<RequestId>, op: Op) -> Result<Answer, Error> {
    match request {
        Some(request) => client.call_as(request, op).await,
        None => client.call(op).await,
    }
}

impl Operation {
    fn reads_stdin(&self) -> bool {
        match self {
            Operation::Put { value, .. }
            | Operation::Append { value, .. }
            | Operation::Txn { txn: value } => value == STDIN,
            Operation::Get { .. }
            | Operation::Del { .. }
            | Operation::Cas { .. }
            | Operation::Incr { .. } => false,
        }
    }

    fn into_op(self) -> anyhow::Result<Op> {
        Ok(match self {
            Operation::Get { key, consistency, min_index } => {
                let consistency = consistency.into();
                if min_index.is_some() && consistency != Consistency::Stale {
                    bail!(
                        "--min-index is for --consistency stale; other reads reflect every write acknowledged before"
                    );
                }
                Op::Get { key, consistency, min_index: min_index.unwrap_or(0) }
            }
            Operation::Put { key, value } => Op::Put { key, value: value_of(value)? },
            Operation::Del { key } => Op::Delete { key },
            Operation::Append { key, value } => Op::Append { key, value: value_of(value)? },
            Operation::Incr { key, by } => Op::Incr { key, by },
            Operation::Txn { txn } => {
                let txn = value_of(txn)?;
                Op::Txn(serde_json::from_str(&txn).context(
                    "the transaction is not what it should be (raftctl txn --help shows one)",
                )?)
            }
            Operation::Cas { key, expect, new, absent } => match (absent, new) {
                (false, Some(value)) => Op::Cas { key, expect: Some(expect), value },
                (true, None) => Op::Cas { key, expect: None, value: expect },
                (true, Some(_)) => bail!("cas --absent takes the new value only"),
                (false, None) => bail!(
                    "cas takes the expected value and the new one; for a key without a value, --absent and the new one"
                ),
            },
        })
    }
}

fn value_of(value: String) -> anyhow::Result<String> {
    if value != STDIN {
        return Ok(value);
    }
    // One byte more than allowed is enough to be refused by name.
    let bytes_max = u64::try_from(VALUE_BYTES_MAX)? + 1;
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(bytes_max)
        .read_to_end(&mut bytes)
        .context("cannot read the value from standard input")?;
    let is_cut = bytes.len() > VALUE_BYTES_MAX;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) if is_cut => {
            bail!("the value on standard input has more than {VALUE_BYTES_MAX} bytes")
        }
        Err(error) => bail!(
            "the value on standard input is not UTF-8 (byte {}); encode it, for example with base64",
            error.utf8_error().valid_up_to() + 1
        ),
    }
}

fn done(answer: Answer, output: &Output) -> Exit {
    if output.is_json() {
        output.json(&report(answer));
        return Exit::Done;
    }
    let index = answer.index.map(|index| format!("index {index}"));
    if let Some(succeeded) = answer.succeeded {
        let done = if succeeded { "then" } else { "else" };
        output.line(&with_details(done, index, None));
        answer.results.iter().flatten().for_each(|result| output.line(&result_line(result)));
        return Exit::Done;
    }
    match (answer.value, answer.number, answer.length) {
        (Some(value), _, _) => output.line(&value),
        (None, Some(number), _) => output.line(&with_details(&number.to_string(), index, None)),
        (None, None, Some(length)) => {
            output.line(&with_details("ok", index, Some(format!("length {length}"))));
        }
        (None, None, None) => output.line(&with_details("ok", index, None)),
    }
    Exit::Done
}

/// What one operation of a transaction did.
fn result_line(result: &TxnResult) -> String {
    match result {
        TxnResult::Value(Some(value)) => value.clone(),
        TxnResult::Value(None) | TxnResult::Deleted(false) => "(no such key)".to_owned(),
        TxnResult::Done | TxnResult::Deleted(true) => "ok".to_owned(),
        TxnResult::Length(length) => format!("ok (length {length})"),
        TxnResult::Number(number) => number.to_string(),
    }
}

fn with_details(text: &str, index: Option<String>, more: Option<String>) -> String {
    let details: Vec<String> = index.into_iter().chain(more).collect();
    if details.is_empty() { text.to_owned() } else { format!("{text} ({})", details.join(", ")) }
}

fn report(answer: Answer) -> Report {
    Report {
        request: answer.request.map(|request| request.to_string()),
        node: Some(answer.node),
        index: answer.index,
        value: answer.value,
        length: answer.length,
        number: answer.number,
        succeeded: answer.succeeded,
        results: answer.results,
        served: answer.served,
        ..Report::default()
    }
}

fn no_such_key(answer: Answer, output: &Output) -> Exit {
    let message = "there is no such key".to_owned();
    output.error(&message);
    if output.is_json() {
        let code = "not_found".to_owned();
        let failure = Failure { code, definite: true, message, actual: None };
        output.json(&Report { error: Some(failure), ..report(answer) });
    }
    Exit::Failed
}

fn failed(error: &Error, reads_stdin: bool, output: &Output) -> Exit {
    let words = || std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let retry = error.request.as_ref().filter(|_| !error.is_definite());
    let retry = retry.map(|request| retry_command(words(), request));
    if output.is_json() {
        let refusal = error.refusal();
        output.json(&Report {
            request: error.request.as_ref().map(ToString::to_string),
            node: error.node(),
            index: refusal.and_then(|refusal| refusal.index),
            error: Some(Failure {
                code: error.code().to_owned(),
                definite: error.is_definite(),
                message: error.kind.to_string(),
                actual: refusal.and_then(|refusal| refusal.actual.clone()),
            }),
            retry: retry.clone(),
            ..Report::default()
        });
    }
    output.error(&explained(error));
    if let (Some(retry), false) = (&retry, output.is_json()) {
        let stdin = if reads_stdin { ", with the same standard input" } else { "" };
        eprintln!(
            "To learn the outcome, repeat the write under its id; it takes effect once at most{stdin}:"
        );
        eprintln!("  {retry}");
    }
    if error.is_definite() { Exit::Failed } else { Exit::Unknown }
}

/// The error, and the remedy where there is one that the error does not name itself.
fn explained(error: &Error) -> String {
    let ErrorKind::Refused { error: refusal, .. } = error.kind.as_ref() else {
        return error.to_string();
    };
    let remedy = match (refusal.code, &refusal.actual, refusal.leader) {
        (Code::Mismatch, Some(actual), _) => format!("; it is {actual:?}"),
        (Code::Mismatch, None, _) => "; the key has no value".to_owned(),
        (Code::NotLeader, _, Some(leader)) => {
            format!("; leave out --node, or ask the leader: --node {leader}")
        }
        (Code::NotLeader, _, None) => "; leave out --node, or wait for a leader".to_owned(),
        _ => String::new(),
    };
    format!("{error}{remedy}")
}
