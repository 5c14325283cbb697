//! The state at one index, in place of the log up to there (Thesis §5).

use std::sync::Arc;

use crate::kv;
use crate::membership::Configuration;
use crate::types::{EntryId, Index};

/// All that the log up to `last` amounts to. Cheap to clone: the state is shared, and goes on unchanged while the node
/// applies more (Thesis §5.1.1).
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last entry in it.
    pub last: EntryId,
    /// Index of the configuration's entry; 0: that of the founding.
    pub config_index: Index,
    /// The configuration that ruled there.
    pub config: Arc<Configuration>,
    /// The state machine's state: keys, sessions and answers.
    pub state: kv::State,
}

/// A snapshot as it lies on the disk.
#[derive(Clone, Debug)]
pub struct Saved {
    /// What is in it.
    pub snapshot: Snapshot,
    /// How long its file is.
    pub bytes: u64,
}
