//! Readers of histories in every format: a stream of [`Record`]s that borrow from the line they stand in.
//!
//! Nothing here knows what an operation means: which value belongs to which model, whether a client may act again, or
//! whether times fall, is for whoever reads the records. What is here: where a record begins and ends, what its fields
//! are called, and where exactly a file is not what it claims to be.
//!
//! # [`Format::History`], our own `history.jsonl`
//!
//! Documented in [`crate::history`]. The first record is its header.
//!
//! # [`Format::Operations`], one operation a line
//!
//! ```text
//! {"process":3,"f":"write","key":"k0","value":"3-1","call":1200345,"return":2200345}
//! {"process":4,"f":"read","key":"k0","result":"3-1","call":1300000,"return":2300000}
//! {"process":3,"f":"cas","key":"k0","value":["3-1","3-2"],"type":"fail","call":2400000,"return":2500000}
//! {"process":5,"f":"write","key":"k0","value":"5-1","call":2400000,"return":null}
//! ```
//!
//! | field | meaning | also called |
//! |---|---|---|
//! | `process` | which client: a number or a name | `client`, `client_id` |
//! | `f` | what is done | `op`, `operation` |
//! | `key` | to which key; may be left out | |
//! | `value` | what was asked for; for reads that have no `result`, what was read | `input` |
//! | `result` | what was answered; may be left out | `output` |
//! | `call` | when it was invoked: a whole number, of any unit | `call_time`, `start`, `start_time` |
//! | `return` | when it returned; null, or left out, if it never did | `return_time`, `ret`, `end`, `end_time` |
//! | `type` | `ok`, `fail` (certainly not done) or `info` (unknown); if left out, `ok` with a return and `info` without | `outcome` |
//! | `log_index` | where in the log it claims to have taken effect | |
//! | `error`, `node` | why it failed, and the node that answered | |
//!
//! Names are compared without regard to case and underscores (`ClientId`, `callTime`). Other fields are let through.
//! Lines may stand in any order. Blank lines are skipped.
//!
//! # [`Format::JepsenEdn`], a Jepsen history
//!
//! Maps with `:process`, `:type`, `:f`, `:value` and perhaps `:time`, `:index`, `:error`, `:key`: all in one vector, or
//! one after another. Keywords and symbols become texts without their colon, sets and lists become lists, tagged values
//! and numbers that are not 64-bit integers stay as they are written.
//!
//! Where every client's value is a pair of a key and a value, as `jepsen.independent` writes them, the pair is taken
//! apart, see [`Independent`].
//!
//! # [`Format::JepsenLog`], lines of a Jepsen log
//!
//! ```text
//! INFO  jepsen.util - 3  :invoke  :write  4
//! INFO  jepsen.util - 3  :info    :write  :timed-out
//! ```
//!
//! Between tabs or blanks, and also without what stands before the process (`history.txt`). All other lines are skipped.
//!
//! # Limits
//!
//! A line, or a map of EDN, has at most [`LINE_BYTES_MAX`] bytes, and values nest at most [`DEPTH_MAX`] levels deep. The
//! memory used is a small multiple of the longest line; for EDN and logs, up to [`LOOK_AHEAD_BYTES`] are read ahead
//! while it is unclear whether values are pairs.

mod detect;
mod edn;
mod error;
mod forms;
mod history;
mod independent;
mod input;
mod jepsen;
mod json;
mod lists;
mod log;
mod operations;
mod records;
mod stream;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use detect::detect;
pub use error::{Problem, ReadError};
pub(crate) use lists::TextList;
#[cfg(test)]
pub(crate) use lists::testing;
pub use records::{Reading, Records};

use crate::datum::Datum;
use crate::history::{Event, Header, Kind};

/// Bytes of the longest line, or map of EDN, that is read.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// How deep values may nest.
pub const DEPTH_MAX: usize = 100;

/// How far is read ahead, at most, to find out what a file is.
pub const LOOK_AHEAD_BYTES: usize = 1 << 20;

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own: a header, then one event a line, as JSON.
    History,
    /// One operation a line, with its call and its return, as JSON.
    Operations,
    /// Jepsen's `history.edn`.
    JepsenEdn,
    /// Lines of `jepsen.util` in a log.
    JepsenLog,
}

/// Whether the values of clients are pairs `[key value]`, as `jepsen.independent` writes them.
///
/// In Jepsen's own files only a reader who knows the workload can tell `[3 4]`, key and value, from `[3 4]`, what a
/// compare-and-set expects and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Independent {
    /// They are if one is tagged as such a pair; or if, as far as is read ahead, every client's value is a pair and an
    /// invocation without a value of its own, such as a read's `[3 nil]`, or a nested pair, such as `[3 [0 1]]`, shows
    /// that the first is a key.
    #[default]
    Auto,
    /// They are.
    Yes,
    /// They are not.
    No,
}

/// What one line, or one map of EDN, says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// Our own format's first line.
    Header(Header),
    /// An invocation or completion of a client; in Jepsen's formats also an event of the nemesis.
    Event(RawEvent<'a>),
    /// Our own format: an event of the nemesis, a node, the runner.
    Other(Box<Event>),
    /// Invocation and completion in one.
    Operation(RawOperation<'a>),
}

/// An invocation or a completion.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEvent<'a> {
    /// Who.
    pub process: RawProcess<'a>,
    /// What kind of event.
    pub kind: Kind,
    /// What is done.
    pub f: Cow<'a, str>,
    /// To which key. A completion need not repeat it.
    pub key: Option<Datum<'a>>,
    /// With what, or with what result.
    pub value: Datum<'a>,
    /// When.
    pub time: Option<u64>,
    /// The event's number.
    pub index: Option<u64>,
    /// Why not, or why it is unknown.
    pub error: Option<Cow<'a, str>>,
    /// The node that was asked, or that answered.
    pub node: Option<u64>,
    /// The request's `client:seq`.
    pub request: Option<Cow<'a, str>>,
    /// Log index at which it claims to have taken effect.
    pub log_index: Option<u64>,
    /// Role of the node that served a read.
    pub role: Option<Cow<'a, str>>,
    /// Term of that node.
    pub term: Option<u64>,
}

/// An operation from its call to its return.
#[derive(Clone, Debug, PartialEq)]
pub struct RawOperation<'a> {
    /// Who.
    pub process: RawProcess<'a>,
    /// What is done.
    pub f: Cow<'a, str>,
    /// To which key.
    pub key: Option<Datum<'a>>,
    /// What was asked for; null if nothing is said.
    pub value: Datum<'a>,
    /// What was answered; none if nothing is said.
    pub result: Option<Datum<'a>>,
    /// What became of it: never [`Kind::Invoke`].
    pub outcome: Kind,
    /// When it was invoked.
    pub call: u64,
    /// When it returned; never before it was called.
    pub ret: Option<u64>,
    /// Log index at which it claims to have taken effect.
    pub log_index: Option<u64>,
    /// Why not, or why it is unknown.
    pub error: Option<Cow<'a, str>>,
    /// The node that answered.
    pub node: Option<u64>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawProcess<'a> {
    /// A client's number.
    Client(u64),
    /// In Jepsen's formats, what is no client (`nemesis`); in [`Format::Operations`], a client's name.
    Named(Cow<'a, str>),
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] =
        [Format::History, Format::Operations, Format::JepsenEdn, Format::JepsenLog];

    /// As `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::History => "history",
            Format::Operations => "operations",
            Format::JepsenEdn => "edn",
            Format::JepsenLog => "log",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        Format::named(name).ok_or_else(|| {
            format!("{name:?} is none of {}", Format::ALL.map(Format::name).join(", "))
        })
    }
}

impl fmt::Display for RawProcess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawProcess::Client(number) => write!(f, "client {number}"),
            RawProcess::Named(name) => f.write_str(name),
        }
    }
}

/// Where an event is filled in: it is large, and moving it about costs as much as reading it.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) event: RawEvent<'a>,
    /// Its value, if it is a list that is not taken apart yet; then the event's value is null.
    pub(crate) list: Option<TextList<'a>>,
}

/// What [`Records::fill`] has read.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box for each record of other formats costs more")]
pub(crate) enum Filled<'a> {
    /// The event in the slot.
    Slot,
    /// Something else, or an event of which nothing is in the slot.
    Other(Record<'a>),
}

impl Slot<'_> {
    #[inline]
    pub(crate) fn blank() -> Self {
        Slot { event: RawEvent::blank(), list: None }
    }

    /// Takes the list apart.
    pub(crate) fn resolve(&mut self) {
        if let Some(list) = self.list.take() {
            let items = list.items().map(|item| Datum::Text(Cow::Borrowed(item)));
            self.event.value = Datum::List(items.collect());
        }
    }
}

impl RawEvent<'_> {
    /// What there is before anything is read. No constant: to set the fields takes less than to copy all of them.
    #[inline]
    fn blank() -> Self {
        RawEvent {
            process: RawProcess::Client(0),
            kind: Kind::Info,
            f: Cow::Borrowed(""),
            key: None,
            value: Datum::Null,
            time: None,
            index: None,
            error: None,
            node: None,
            request: None,
            log_index: None,
            role: None,
            term: None,
        }
    }
}

/// Which fields have been read, each with a bit.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(u16);

impl Seen {
    /// Notes a field; false if it was noted before.
    #[inline]
    fn first(&mut self, bit: u16) -> bool {
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }

    /// Whether all of these have been noted.
    #[inline]
    fn all(self, bits: u16) -> bool {
        self.0 & bits == bits
    }
}

/// Jepsen's four types, without a colon.
fn kind_named(name: &[u8]) -> Option<Kind> {
    match name {
        b"invoke" => Some(Kind::Invoke),
        b"ok" => Some(Kind::Ok),
        b"fail" => Some(Kind::Fail),
        b"info" => Some(Kind::Info),
        _ => None,
    }
}

/// A whole number that is not negative.
fn whole(value: &Datum<'_>) -> Option<u64> {
    if let Datum::Other(written) = value {
        return written.parse().ok();
    }
    value.as_int().and_then(|number| u64::try_from(number).ok())
}
