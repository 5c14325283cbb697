//! Entries as JSON.

use std::sync::Arc;

use raft_core::kv::{Command, Op, RequestId, Txn};
use raft_core::membership::Configuration;
use raft_core::types::{Entry, EntryId, Index, Payload, Term};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ADDRESS_BYTES_MAX, COUNT_MAX, Error, count, positive, write_json};
use crate::api::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// How every entry begins; in the log this tells entries from all other lines.
pub(super) const ENTRY_START: &str = r#"{"index":"#;

/// The entry's JSON text. Made at the first call and kept with the entry.
pub fn entry_json(entry: &Entry) -> &str {
    entry.encoded.get_or_init(|| {
        let mut text = Vec::with_capacity(entry.weight_bytes() + 64);
        let EntryId { term, index } = entry.id;
        match &entry.payload {
            Payload::Noop => write_json(&mut text, &NoopOut { index, term, noop: true }),
            Payload::Command(Command { request, ack, op }) => {
                write_json(&mut text, &CommandOut { index, term, request, ack: *ack, op });
            }
            Payload::Configuration(config) => {
                write_json(&mut text, &ConfigurationOut { index, term, config });
            }
        }
        String::from_utf8(text).expect("JSON is UTF-8").into_boxed_str()
    })
}

/// Reads an entry's JSON text. Whoever will send it on stores the text in [`Entry::encoded`]; after a restart it is
/// left out, because most entries that a restart reads are never sent again.
pub fn decode_entry(text: &str) -> Result<Entry, Error> {
    let EntryIn { index, term, noop, request, ack, op, config } =
        serde_json::from_str(text).map_err(Error::Json)?;
    let id = EntryId { term, index };
    let payload = match (noop, request, op, config) {
        (true, None, None, None) if ack == 0 => Payload::Noop,
        (false, Some(RequestIn(request)), Some(op), None) => {
            check_op(&op)?;
            Payload::Command(Command { request, ack, op })
        }
        (false, None, None, Some(config)) if ack == 0 => {
            check_configuration(&config)?;
            Payload::Configuration(Arc::new(config))
        }
        _ => return Err(Error::EntryContent(id)),
    };
    Ok(Entry { id, payload, encoded: std::sync::OnceLock::new() })
}

/// Reads an entry and keeps its text with it.
pub(super) fn decode_entry_keep(text: &str) -> Result<Arc<Entry>, Error> {
    let entry = decode_entry(text)?;
    entry.encoded.get_or_init(|| text.into());
    Ok(Arc::new(entry))
}

/// What clients are held to, and so holds for entries too: keys of a legal length, values that are not too long, and
/// transactions of a bounded size.
pub fn check_op(op: &Op) -> Result<(), Error> {
    match op {
        Op::Put { key, value } | Op::Append { key, value } => {
            check_key(key)?;
            check_value(value)
        }
        Op::Cas { key, expect, value } => {
            check_key(key)?;
            check_value(value)?;
            expect.as_deref().map_or(Ok(()), check_value)
        }
        Op::Delete { key } | Op::Incr { key, .. } => check_key(key),
        Op::Txn(txn) => check_txn(txn),
    }
}

fn check_txn(txn: &Txn) -> Result<(), Error> {
    for (what, parts, parts_max) in [
        ("comparisons", txn.compare.len(), Txn::COMPARES_MAX),
        ("operations in \"then\"", txn.then.len(), Txn::OPS_MAX),
        ("operations in \"else\"", txn.otherwise.len(), Txn::OPS_MAX),
    ] {
        if parts > parts_max {
            return Err(Error::TxnParts { what, parts, parts_max });
        }
    }
    let mut bytes = 0;
    for (key, value) in txn.texts() {
        check_key(key)?;
        bytes += key.len() + value.map_or(0, str::len);
    }
    if bytes > VALUE_BYTES_MAX {
        return Err(Error::TxnBytes { bytes });
    }
    Ok(())
}

pub(super) fn check_key(key: &str) -> Result<(), Error> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(Error::Key { bytes }),
    }
}

pub(super) fn check_value(value: &str) -> Result<(), Error> {
    match value.len() {
        0..=VALUE_BYTES_MAX => Ok(()),
        bytes => Err(Error::Value { bytes }),
    }
}

/// Beyond what every configuration holds by its type: somebody can decide, and the numbers are ones that all readers
/// take exactly.
pub(super) fn check_configuration(config: &Configuration) -> Result<(), Error> {
    if config.incoming().is_empty() {
        return Err(Error::NoVoters);
    }
    for (&id, member) in config.members() {
        if let Some(number) = [id, member.incarnation].into_iter().find(|&n| n > COUNT_MAX) {
            return Err(Error::MemberNumber { id, number });
        }
        let texts = member.address.iter().flat_map(|address| [&address.peer, &address.client]);
        if let Some(text) = texts.into_iter().find(|text| text.len() > ADDRESS_BYTES_MAX) {
            return Err(Error::Address { id, bytes: text.len() });
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct NoopOut {
    index: Index,
    term: Term,
    noop: bool,
}

#[derive(Serialize)]
struct ConfigurationOut<'a> {
    index: Index,
    term: Term,
    config: &'a Configuration,
}

#[derive(Serialize)]
struct CommandOut<'a> {
    index: Index,
    term: Term,
    #[serde(serialize_with = "display")]
    request: &'a RequestId,
    #[serde(skip_serializing_if = "is_zero")]
    ack: u64,
    op: &'a Op,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn display<S: Serializer>(value: &impl std::fmt::Display, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryIn {
    #[serde(deserialize_with = "positive")]
    index: Index,
    #[serde(deserialize_with = "positive")]
    term: Term,
    #[serde(default)]
    noop: bool,
    #[serde(default)]
    request: Option<RequestIn>,
    #[serde(default, deserialize_with = "count")]
    ack: u64,
    #[serde(default)]
    op: Option<Op>,
    #[serde(default)]
    config: Option<Configuration>,
}

/// A request ID, read without an intermediate copy.
struct RequestIn(RequestId);

impl<'de> Deserialize<'de> for RequestIn {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<RequestIn, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = RequestIn;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a request ID, CLIENT:SEQ")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RequestIn, E> {
                text.parse().map(RequestIn).map_err(E::custom)
            }
        }
        input.deserialize_str(Text)
    }
}
