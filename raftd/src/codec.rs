//! One text format for disk and peers: a line is a checksum, a space, and a JSON object.
//!
//! ```text
//! 5f1c8a30 {"index":17,"term":3,"request":"c3@12:17","ack":12,"op":{"put":{"key":"x","value":"v"}}}
//! ```
//!
//! The checksum is the CRC-32C of the JSON text, as 8 lowercase hex digits: it notices any damage to a single byte, and
//! any burst of up to 32 bits. JSON escapes control characters, so a line never contains a line end but its own.
//!
//! An entry has the same text everywhere. It is made once ([`entry_json`]) by the leader; followers keep the text they
//! received, so that encoding costs nothing after that but copying.

mod entry;
mod frame;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;

use raft_core::types::{EntryId, NodeId};
use serde::{Deserialize, Deserializer, Serialize};

pub use entry::{check_op, decode_entry, entry_json};
pub use frame::{Frame, PeerHello, decode_frame, encode_envelope, encode_hello};
pub use record::{LogLine, SegmentStart, decode_log_line, encode_record, encode_segment_start};
pub use snapshot::{SNAPSHOT_LINE_BYTES_MAX, SnapshotDecoder, SnapshotError, encode_snapshot};

/// Longest line between members, bytes, its end included.
///
/// An append of [`APPEND_BYTES_MAX`] fits even if JSON escapes every character of its strings sixfold, and so does a
/// single entry with two values of the greatest length (cas), which may exceed that.
pub const FRAME_BYTES_MAX: usize = 24 << 20;

/// Most bytes of entries (by [`raft_core::types::Entry::weight_bytes`]) in one append that is sure to fit
/// [`FRAME_BYTES_MAX`] once encoded.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

const _: () = {
    use crate::api::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
    // A cas; a transaction has less text, and room for its parts.
    let entry = 6 * (KEY_BYTES_MAX + 2 * VALUE_BYTES_MAX) + 4096;
    assert!(entry < FRAME_BYTES_MAX && 6 * APPEND_BYTES_MAX + 4096 < FRAME_BYTES_MAX);
};

/// The greatest term, index or count that is accepted: every JSON tool reads numbers up to here exactly, and arithmetic
/// on them cannot overflow.
pub const COUNT_MAX: u64 = 1 << 53;

/// Longest address of a member in a configuration, bytes: the longest host name, and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// Why a line is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than any line that is ever written.
    #[error("it has {bytes} bytes; {FRAME_BYTES_MAX} is the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It does not start like a line of this format.
    #[error("it does not start with a checksum (8 lowercase hex digits and a space)")]
    NoChecksum,
    /// The text is not the one that the checksum was made of.
    #[error("its checksum is {computed:08x}, but it says {stated:08x}")]
    Checksum {
        /// What the line says.
        stated: u32,
        /// What its text gives.
        computed: u32,
    },
    /// The text is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// The text is not JSON, or not of a shape that is known here.
    #[error("its content is not understood: {0}")]
    Json(serde_json::Error),
    /// An entry without content, or with several kinds of it.
    #[error(
        "entry {0} must have exactly one of \"noop\":true, \"config\", and \"request\" with \"op\""
    )]
    EntryContent(EntryId),
    /// A key of an illegal length.
    #[error("the key has {bytes} bytes; 1 to {max} are allowed", max = crate::api::KEY_BYTES_MAX)]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// A value that is too long.
    #[error("the value has {bytes} bytes; {max} is the most", max = crate::api::VALUE_BYTES_MAX)]
    Value {
        /// Its length.
        bytes: usize,
    },
    /// A transaction of too many parts.
    #[error("the transaction has {parts} {what}; {parts_max} is the most")]
    TxnParts {
        /// Which parts.
        what: &'static str,
        /// How many there are.
        parts: usize,
        /// How many there may be.
        parts_max: usize,
    },
    /// A transaction of too many bytes.
    #[error("the transaction's keys and values have {bytes} bytes; {max} is the most", max = crate::api::VALUE_BYTES_MAX)]
    TxnBytes {
        /// How many there are.
        bytes: usize,
    },
    /// A configuration in which nobody can decide.
    #[error("the configuration has no voters")]
    NoVoters,
    /// A member with a number that not all readers take exactly.
    #[error("member {id}: {number} is over 2^53")]
    MemberNumber {
        /// The member.
        id: NodeId,
        /// Its id, or that of its data directory.
        number: u64,
    },
    /// A member with an address that is too long.
    #[error("member {id}: an address has {bytes} bytes; {ADDRESS_BYTES_MAX} is the most")]
    Address {
        /// The member.
        id: NodeId,
        /// The address's length.
        bytes: usize,
    },
    /// Text that would be stored as it stands, but that the log's reader would not know for an entry.
    #[error("an entry must begin with {{\"index\":")]
    EntryStart,
    /// A line that does not fit into the snapshot that it is part of.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An envelope that says nothing, or several things.
    #[error("a message must be of exactly one kind")]
    MessageKind,
    /// An envelope that nobody sends.
    #[error("no message goes from node {from} to node {to}")]
    Members {
        /// The sender it names.
        from: NodeId,
        /// The receiver it names.
        to: NodeId,
    },
    /// Entries of an append that do not follow one another.
    #[error("entry {found} cannot follow {previous} in an append of term {term}")]
    Gap {
        /// The entry before.
        previous: EntryId,
        /// The one that does not fit.
        found: EntryId,
        /// The sender's term.
        term: u64,
    },
}

impl Error {
    /// Whether the line may be part of what was written. If not, it is all of it: its checksum says so, only its content
    /// is not understood.
    pub fn is_incomplete(&self) -> bool {
        if let Error::Snapshot(error) = self {
            return error.is_damage();
        }
        matches!(self, Error::TooLong { .. } | Error::NoChecksum | Error::Checksum { .. })
    }
}

const CHECKSUM_DIGITS: usize = 8;

/// Appends a line around the JSON object that `json` appends.
fn write_line(out: &mut Vec<u8>, json: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    let text = out.len();
    json(out);
    let mut checksum = crc32c::crc32c(&out[text..]);
    for digit in out[start..start + CHECKSUM_DIGITS].iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(checksum.to_le_bytes()[0] & 15)];
        checksum >>= 4;
    }
    out.push(b'\n');
}

/// The JSON text of a line (given with or without its end), if it is undamaged.
fn read_line(line: &[u8]) -> Result<&str, Error> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (digits, rest) = line.split_first_chunk::<CHECKSUM_DIGITS>().ok_or(Error::NoChecksum)?;
    let text = rest.strip_prefix(b" ").ok_or(Error::NoChecksum)?;
    let mut stated = 0_u32;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(Error::NoChecksum),
        };
        stated = stated << 4 | u32::from(value);
    }
    let computed = crc32c::crc32c(text);
    if stated != computed {
        return Err(Error::Checksum { stated, computed });
    }
    Ok(std::str::from_utf8(text)?)
}

/// Appends `value` as JSON.
fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("memory takes everything, and all keys are strings");
}

/// Reads a number that may count things.
fn count<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    match u64::deserialize(input)? {
        n if n > COUNT_MAX => Err(over(n)),
        n => Ok(n),
    }
}

/// Reads a number that starts at 1.
fn positive<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    match count(input)? {
        0 => Err(zero()),
        n => Ok(n),
    }
}

/// Reads a number that may count things, or null.
fn maybe_count<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    match Option::deserialize(input)? {
        Some(n) if n > COUNT_MAX => Err(over(n)),
        n => Ok(n),
    }
}

/// Reads a number that starts at 1, or null.
fn maybe_positive<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    match maybe_count(input)? {
        Some(0) => Err(zero()),
        n => Ok(n),
    }
}

fn over<E: serde::de::Error>(n: u64) -> E {
    E::custom(format_args!("{n} is over 2^53"))
}

fn zero<E: serde::de::Error>() -> E {
    E::custom("0 where numbers start at 1")
}

/// [`EntryId`] as `[index, term]`.
mod pair {
    use raft_core::types::EntryId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::COUNT_MAX;

    pub(super) fn serialize<S: Serializer>(id: &EntryId, out: S) -> Result<S::Ok, S::Error> {
        (id.index, id.term).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<EntryId, D::Error> {
        let (index, term) = <(u64, u64)>::deserialize(input)?;
        if index > COUNT_MAX || term > COUNT_MAX || (index == 0) != (term == 0) {
            return Err(serde::de::Error::custom(format_args!("[{index},{term}] names no entry")));
        }
        Ok(EntryId { term, index })
    }
}
