//! One text format for disk and peers: a line is a checksum and a JSON object.

use raft_core::effects::Record;
use raft_core::message::Envelope;
use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};

/// Longest line between members, bytes, its end included.
pub const FRAME_BYTES_MAX: usize = 24 << 20;

/// Most bytes of entries (by [`raft_core::types::Entry::weight_bytes`]) in one append that is sure to fit
/// [`FRAME_BYTES_MAX`] once encoded.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

/// One line between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first line of a connection.
    Hello(PeerHello),
    /// Any other.
    Envelope(Envelope),
}

/// Who dials, and whom it means to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerHello {
    /// [`crate::api::PROTOCOL`].
    pub protocol: u32,
    /// The cluster's id.
    pub cluster: String,
    /// Who dials.
    pub from: NodeId,
    /// Whom it means to reach.
    pub to: NodeId,
}

/// Why a line is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The line does not start with a checksum.
    #[error("the line does not start with 8 hex digits and a space")]
    NoChecksum,
}

/// Appends the hello as a line, its end included.
pub fn encode_hello(hello: &PeerHello, out: &mut Vec<u8>) {
    let _ = (hello, out);
    unimplemented!()
}

/// Appends the envelope as a line, its end included.
pub fn encode_envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    let _ = (envelope, out);
    unimplemented!()
}

/// Reads a line between members, with or without its end.
pub fn decode_frame(line: &[u8]) -> Result<Frame, Error> {
    let _ = line;
    Err(Error::NoChecksum)
}

/// Appends the record as a line, its end included.
pub fn encode_record(record: &Record, out: &mut Vec<u8>) {
    let _ = (record, out);
    unimplemented!()
}
