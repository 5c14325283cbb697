//! What the nodes' own logs said when the run was over: `value` of the events `log`, `state` and `committed`.

use serde::{Deserialize, Serialize};

/// `value` of a node's `state`, just before the node was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// How far its log was committed, as it knew: a log index.
    pub commit: u64,
    /// How far it had applied it: a log index.
    pub applied: u64,
    /// A number for its state: the same for the same state.
    pub state_hash: String,
}

/// `value` of a node's `log`, after the node was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeLog {
    /// Why its files could not be read; empty: they could.
    pub problem: String,
    /// That is because they are damaged, and not because nobody could look.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// The first entry that is in its log, and known to be committed; 0: there is none.
    pub first: u64,
    /// The last such entry; 0: there is none.
    pub last: u64,
    /// The last index that the node has at all, committed or not, in a snapshot or not.
    pub end: u64,
    /// The last index in its newest snapshot; 0: there is none.
    pub snapshot: u64,
    /// The index of the configuration in that snapshot; none: not known.
    pub snapshot_config: Option<u64>,
    /// The votes that it gave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// The first term whose vote would be among them; none: not known.
    pub votes_since: Option<u64>,
    /// Where its committed entries are others than a node's before it: the first few.
    pub differs: Vec<Difference>,
}

/// A vote in a node's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vote {
    /// In which term.
    pub term: u64,
    /// For which node.
    pub node: u64,
    /// Of a vote for itself: by whom it had to be elected, going by its own log; none: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub electorate: Option<Electorate>,
}

/// Who had a vote: a majority of each of these must agree, unless it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Electorate {
    /// The voters; of a joint change, those that it leads to.
    pub voters: Vec<u64>,
    /// Those that a joint change leads away from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<u64>,
}

/// Two nodes have committed different entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// Where in the log.
    pub index: u64,
    /// The entry here, as it stands in the file.
    pub here: String,
    /// The other node.
    pub node: u64,
    /// Its entry.
    pub there: String,
}

/// `value` of the runner's `committed`: consecutive entries of one term that some node has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Committed {
    /// The node whose log it is taken from.
    pub node: u64,
    /// Index of the first.
    pub first: u64,
    /// Their term.
    pub term: u64,
    /// For each entry the request it was made for; none: it is no client's.
    pub requests: Vec<Option<String>>,
    /// The indexes of those that say who the members are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<u64>,
}
