//! What a fault does to a link, and what that looks like in a report.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A time drawn anew for each frame or connection, from one bound to the other.
pub type Span = RangeInclusive<Duration>;

/// What a fault does to the frames or the connections of a link. A frame is a line of the one who dialled; the first of
/// a connection, by which it introduces itself, is not lost, doubled or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Each frame arrives later, in order. Both ways.
    Delay {
        /// By how much.
        by: Span,
    },
    /// Some frames vanish.
    Drop {
        /// How many of a hundred.
        percent: u32,
    },
    /// Some frames arrive twice, the copy so much later: after others, perhaps on a later connection.
    Duplicate {
        /// How many of a hundred.
        percent: u32,
        /// How much later; half of the copies follow at once.
        after: Span,
    },
    /// Some frames are overtaken by those behind them.
    Reorder {
        /// How many of a hundred.
        percent: u32,
        /// How long they stay back.
        by: Span,
    },
    /// All frames are kept, and let go when the fault ends.
    Hold {
        /// How they are let go.
        release: Release,
    },
    /// One bit of some frames is flipped.
    Corrupt {
        /// How many of a hundred.
        percent: u32,
    },
    /// So many bytes a second pass, each way; whoever sends more must wait.
    Rate {
        /// How many, above 0.
        bytes_per_second: u32,
    },
    /// Each connection is reset (RST at both ends) when it has lasted so long.
    Reset {
        /// How long, from the start of the fault or of the connection.
        after: Span,
    },
    /// One end of each connection goes away without the other being told: what that one says is swallowed.
    HalfOpen {
        /// The end that is left alone.
        left: End,
        /// When, from the start of the fault or of the connection.
        after: Span,
    },
    /// Each connection is closed in the ordinary way at the end of the one who dialled, and at the other only later.
    SlowClose {
        /// When, from the start of the fault or of the connection.
        after: Span,
        /// How much later the other end is closed.
        by: Span,
    },
}

/// How held frames are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// All at once, in order.
    InOrder,
    /// All at once, in any order.
    Shuffled,
    /// After the connection was reset, on the next one, while that is in use.
    AfterReconnect,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one who dialled.
    Dialler,
    /// The one who listens.
    Listener,
}

impl Effect {
    /// What its proof counts.
    pub fn unit(&self) -> &'static str {
        match self {
            Effect::Delay { .. } => "frames delayed",
            Effect::Drop { .. } => "frames dropped",
            Effect::Duplicate { .. } => "frames duplicated",
            Effect::Reorder { .. } => "frames overtaken",
            Effect::Hold { .. } => "frames held",
            Effect::Corrupt { .. } => "frames corrupted",
            Effect::Rate { .. } => "bytes throttled",
            Effect::Reset { .. } => "connections reset",
            Effect::HalfOpen { .. } => "connections left half-open",
            Effect::SlowClose { .. } => "connections closed slowly",
        }
    }
}
