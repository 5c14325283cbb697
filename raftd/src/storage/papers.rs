//! `node.json`: whose directory it is, which one of that node's it is, and what is known of the peers' directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use raft_core::node::Standing;
use raft_core::types::NodeId;
use rand::rngs::OsRng;
use rand::{TryRngCore, rand_core};
use serde::{Deserialize, Serialize};

use super::directory::{Directory, Lock, publish};
use super::{Error, Founding, Identity, sealed};

/// The only format there is.
pub(super) const FORMAT: u32 = 2;

/// Whether the node may be believed, as far as its own disk knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PapersStanding {
    /// A founder with an empty directory: either its cluster is just being founded, or it was wiped. The other founders
    /// can tell.
    New,
    /// It holds all that it ever promised.
    Full,
    /// It lost its directory, or joins: nobody may rely on it before the cluster has taken note.
    Lost,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    pub(super) format: u32,
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) founders: BTreeSet<NodeId>,
    pub(super) standing: PapersStanding,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) known: BTreeMap<NodeId, u64>,
    /// Set while damaged files are being moved away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) set_aside: Option<SettingAside>,
}

/// Damaged files that are being moved away: log and snapshots of this directory count for nothing until that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingAside {
    /// To `damaged-<number>`.
    pub(super) number: u64,
    /// What was damaged.
    pub(super) reason: String,
}

impl NodeFile {
    /// For a directory in which nothing was ever recorded.
    pub(super) fn found(identity: &Identity, founding: &Founding) -> Result<NodeFile, Error> {
        let Identity { cluster, node } = identity.clone();
        let is_founder = founding.founders.contains(&node);
        let founders = if is_founder { founding.founders.clone() } else { BTreeSet::new() };
        let standing = match founders.len() {
            // It joins: somebody of its number may have been here before.
            0 => PapersStanding::Lost,
            1 => PapersStanding::Full,
            _ => PapersStanding::New,
        };
        let incarnation = draw_incarnation()?;
        let known = BTreeMap::new();
        let format = FORMAT;
        Ok(NodeFile {
            format,
            cluster,
            node,
            incarnation,
            founders,
            standing,
            known,
            set_aside: None,
        })
    }

    /// Reads the file, whoever's it is; `None` if there is none.
    pub(super) fn read(path: &std::path::Path) -> Result<Option<NodeFile>, Error> {
        /// What every version's file has.
        #[derive(Deserialize)]
        struct AnyFormat {
            format: u32,
        }
        let Some(content) = sealed::read_bytes(path)? else { return Ok(None) };
        if let Ok(AnyFormat { format: found }) = serde_json::from_slice(&content)
            && found != FORMAT
        {
            return Err(Error::OtherFormat { path: path.to_owned(), found, known: FORMAT });
        }
        sealed::read(path)
    }

    /// Makes it the directory's, durably.
    pub(super) fn publish(&self, directory: &Directory) -> Result<(), Error> {
        publish(&directory.node_path(), sealed::seal(self).as_bytes())
    }

    /// Whether there is anybody to recover from.
    pub(super) fn has_peers(&self) -> bool {
        self.founders.iter().chain(self.known.keys()).any(|&id| id != self.node)
    }

    pub(super) fn core_standing(&self) -> Standing {
        match self.standing {
            PapersStanding::Full => Standing::Full,
            PapersStanding::New | PapersStanding::Lost => {
                Standing::Lost { incarnation: self.incarnation }
            }
        }
    }
}

/// A number that no other directory has.
pub(super) fn draw_incarnation() -> Result<u64, Error> {
    let number = OsRng.try_next_u64().map_err(|error: rand_core::OsError| Error::Io {
        operation: "draw a random number from",
        path: PathBuf::from("the system"),
        source: std::io::Error::other(error),
    })?;
    Ok(1 + number % ((1 << 53) - 1))
}

/// `node.json` in memory. Whatever is changed is durable when the call returns. One owner.
#[derive(Debug)]
pub struct Papers {
    directory: Directory,
    _lock: Arc<Lock>,
    file: NodeFile,
}

impl Papers {
    pub(super) fn new(directory: Directory, lock: Arc<Lock>, file: NodeFile) -> Papers {
        Papers { directory, _lock: lock, file }
    }

    /// The number of this data directory, from 1 to 2^53.
    pub fn incarnation(&self) -> u64 {
        self.file.incarnation
    }

    /// The voters that the cluster was founded with; empty at a node that joins. As the directory has it: what
    /// `cluster.toml` says counts only when a directory is created.
    pub fn founders(&self) -> &BTreeSet<NodeId> {
        &self.file.founders
    }

    /// Whether this node may be believed.
    pub fn standing(&self) -> PapersStanding {
        self.file.standing
    }

    /// The number of the data directory that `peer` had when it first spoke to this node.
    pub fn known(&self, peer: NodeId) -> Option<u64> {
        self.file.known.get(&peer).copied()
    }

    /// Remembers what became of the standing.
    pub fn set_standing(&mut self, standing: PapersStanding) -> Result<(), Error> {
        self.change(|file| file.standing = standing)
    }

    /// Remembers a peer's directory, unless one is remembered already: the first one counts for good.
    pub fn note_peer(&mut self, peer: NodeId, incarnation: u64) -> Result<(), Error> {
        self.change(|file| {
            file.known.entry(peer).or_insert(incarnation);
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut NodeFile)) -> Result<(), Error> {
        let mut file = self.file.clone();
        change(&mut file);
        if file != self.file {
            file.publish(&self.directory)?;
            self.file = file;
        }
        Ok(())
    }
}
