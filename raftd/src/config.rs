//! `cluster.toml`: who the members are and how patient they are, checked on load.
//!
//! ```toml
//! cluster = "demo"
//! heartbeat_ms = 50                # optional; these are the defaults
//! election_timeout_ms = [150, 300]
//! snapshot_log_bytes = 16777216
//! lease_drift_percent = 5          # optional; left out, no read rests on clocks
//!
//! [[node]]
//! id = 1
//! peer = "127.0.0.1:7101"
//! client = "127.0.0.1:7201"
//!
//! [[node]]
//! id = 4
//! peer = "127.0.0.1:7104"
//! client = "127.0.0.1:7204"
//! joins = true                     # optional: no founder, but added to the running cluster
//! ```
//!
//! Every complaint names the file, the line and the remedy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

/// Most members a cluster file may name; those added later need not be in it.
pub const NODES_MAX: usize = 9;

/// Highest id of a node.
pub const NODE_ID_MAX: u64 = 1 << 32;

/// Longest cluster id, bytes.
pub const CLUSTER_ID_BYTES_MAX: usize = 64;

const HEARTBEAT_MS: u64 = 50;
const ELECTION_TIMEOUT_MS: [u64; 2] = [150, 300];
const TIMEOUT_MS_MAX: u64 = 600_000;
const SNAPSHOT_LOG_BYTES: u64 = 16 << 20;
const SNAPSHOT_LOG_BYTES_MAX: u64 = 1 << 40;
const LEASE_DRIFT_PERCENT_MAX: u32 = 50;

/// A cluster as its file describes it; every rule of the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name: what a node checks before it talks to another, or to a data directory.
    pub id: String,
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
    /// Shortest and longest time without a leader before a follower campaigns.
    pub election_timeout: (Duration, Duration),
    /// A snapshot is due when the log has grown by this much since the last one.
    pub snapshot_log_bytes: u64,
    /// Set: leaders may serve lease reads by their clocks, if no member's clock outruns another's by more than this many
    /// percent of the time passed. Whoever sets it vouches for the clocks, and must set it on all nodes.
    pub lease_drift_percent: Option<u32>,
    /// The members, in the order of the file: 1 to [`NODES_MAX`], ids and addresses unique.
    pub nodes: Vec<Member>,
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, at least 1.
    pub id: u64,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// It is no founder: it starts without knowing any members, and waits to be added by one of them.
    pub joins: bool,
}

impl Cluster {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Cluster, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Cluster::parse(path, &text)
    }

    /// Checks a file's text; `path` is for error messages only.
    pub fn parse(path: &Path, text: &str) -> Result<Cluster, Error> {
        let invalid = |(offset, fault)| Error::Invalid {
            path: path.to_owned(),
            line: line_at(text, offset),
            fault,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            invalid((offset, Fault::Syntax(error.message().to_owned())))
        })?;
        file.check(text).map_err(invalid)
    }

    /// The member with this id.
    pub fn member(&self, id: u64) -> Option<&Member> {
        self.nodes.iter().find(|member| member.id == id)
    }

    /// Those that the cluster begins with.
    pub fn founders(&self) -> BTreeSet<u64> {
        self.nodes.iter().filter(|member| !member.joins).map(|member| member.id).collect()
    }
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("cannot read the cluster file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It breaks a rule.
    #[error("{}:{line}: {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The rule.
        fault: Fault,
    },
}

/// A broken rule, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML, an unknown key, a missing key, a wrong type.
    #[error("{0}")]
    Syntax(String),
    /// The cluster's id cannot be used.
    #[error(
        "cluster id {0:?} is not 1 to {CLUSTER_ID_BYTES_MAX} letters, digits, '-', '_' or '.'; \
         choose another name"
    )]
    ClusterId(String),
    /// A duration is out of range.
    #[error("{key} is {value} ms; choose 1 to {TIMEOUT_MS_MAX}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
    },
    /// The election timeout leaves no room for chance.
    #[error(
        "election_timeout_ms is [{min}, {max}]; the second must be greater than the first, or nodes \
         campaign at the same moment again and again"
    )]
    NoSpread {
        /// Its first value.
        min: u64,
        /// Its second value.
        max: u64,
    },
    /// Snapshots without end, or none ever.
    #[error(
        "snapshot_log_bytes is {0}; choose 1 to {SNAPSHOT_LOG_BYTES_MAX} (16777216 is the default; tiny values are for tests)"
    )]
    SnapshotLogBytes(u64),
    /// A lease that no clock deserves.
    #[error(
        "lease_drift_percent is {0}; choose 1 to {LEASE_DRIFT_PERCENT_MAX}, by how much one member's clock may outrun \
         another's, or leave it out: then no read rests on clocks"
    )]
    LeaseDrift(u32),
    /// One lost heartbeat would start an election.
    #[error(
        "election_timeout_ms starts at {min}, which is less than twice heartbeat_ms ({heartbeat}), so \
         that one late heartbeat would start an election; raise it to {} or more, or lower heartbeat_ms",
        heartbeat * 2
    )]
    Impatient {
        /// Heartbeat, ms.
        heartbeat: u64,
        /// Shortest election timeout, ms.
        min: u64,
    },
    /// No member, or too many.
    #[error("{0} nodes; a cluster has 1 to {NODES_MAX} [[node]] sections")]
    NodeCount(usize),
    /// 0 stands for "nobody", and JSON's numbers end somewhere.
    #[error("node id {0} is not allowed; number the nodes from 1")]
    NodeId(u64),
    /// Two members have one id.
    #[error("node id {id} is taken by line {line}; every node needs its own")]
    DuplicateId {
        /// The id.
        id: u64,
        /// Where it came first.
        line: usize,
    },
    /// Not an address.
    #[error("{key} address {value:?} is not IP:PORT, such as \"127.0.0.1:7101\" or \"[::1]:7101\"")]
    Address {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// An address that nobody can be reached at.
    #[error(
        "{key} address {value} cannot be dialled; name the IP and the port where the node is reached \
         (to take any free port, start it with --listen {key}=127.0.0.1:0)"
    )]
    NotDialable {
        /// The key.
        key: &'static str,
        /// Its value.
        value: SocketAddr,
    },
    /// An address is used twice.
    #[error("address {address} is taken by line {line}; every peer and client address must differ")]
    DuplicateAddress {
        /// The address.
        address: SocketAddr,
        /// Where it came first.
        line: usize,
    },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster: Spanned<String>,
    heartbeat_ms: Option<Spanned<u64>>,
    election_timeout_ms: Option<Spanned<[u64; 2]>>,
    snapshot_log_bytes: Option<Spanned<u64>>,
    lease_drift_percent: Option<Spanned<u32>>,
    #[serde(default)]
    node: Vec<Spanned<Node>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    id: Spanned<u64>,
    peer: Spanned<String>,
    client: Spanned<String>,
    #[serde(default)]
    joins: bool,
}

/// A byte offset in the text, and what is wrong there.
type At = (usize, Fault);

impl File {
    fn check(self, text: &str) -> Result<Cluster, At> {
        let id_is_good = (1..=CLUSTER_ID_BYTES_MAX).contains(&self.cluster.get_ref().len())
            && self
                .cluster
                .get_ref()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !id_is_good {
            return Err((self.cluster.span().start, Fault::ClusterId(self.cluster.into_inner())));
        }
        let (heartbeat, election_timeout) = self.timing()?;
        let snapshot_log_bytes = self.snapshot_log_bytes()?;
        let lease_drift_percent = self.lease_drift_percent()?;
        let nodes = members(&self.node, text)?;
        Ok(Cluster {
            id: self.cluster.into_inner(),
            heartbeat,
            election_timeout,
            snapshot_log_bytes,
            lease_drift_percent,
            nodes,
        })
    }

    fn snapshot_log_bytes(&self) -> Result<u64, At> {
        match value_at(self.snapshot_log_bytes.as_ref(), SNAPSHOT_LOG_BYTES) {
            (bytes @ 1..=SNAPSHOT_LOG_BYTES_MAX, _) => Ok(bytes),
            (bytes, at) => Err((at, Fault::SnapshotLogBytes(bytes))),
        }
    }

    fn lease_drift_percent(&self) -> Result<Option<u32>, At> {
        let Some(percent) = &self.lease_drift_percent else { return Ok(None) };
        match *percent.get_ref() {
            percent @ 1..=LEASE_DRIFT_PERCENT_MAX => Ok(Some(percent)),
            too_much => Err((percent.span().start, Fault::LeaseDrift(too_much))),
        }
    }

    fn timing(&self) -> Result<(Duration, (Duration, Duration)), At> {
        let (heartbeat, heartbeat_at) = value_at(self.heartbeat_ms.as_ref(), HEARTBEAT_MS);
        let ([min, max], election_at) =
            value_at(self.election_timeout_ms.as_ref(), ELECTION_TIMEOUT_MS);
        let in_range = |key, value, at| match value {
            1..=TIMEOUT_MS_MAX => Ok(()),
            _ => Err((at, Fault::Range { key, value })),
        };
        in_range("heartbeat_ms", heartbeat, heartbeat_at)?;
        in_range("election_timeout_ms", min, election_at)?;
        in_range("election_timeout_ms", max, election_at)?;
        if min >= max {
            return Err((election_at, Fault::NoSpread { min, max }));
        }
        if min < heartbeat * 2 {
            // Whichever key stands in the file is the one to blame; the election timeout if both do.
            let at = if self.election_timeout_ms.is_some() { election_at } else { heartbeat_at };
            return Err((at, Fault::Impatient { heartbeat, min }));
        }
        let ms = Duration::from_millis;
        Ok((ms(heartbeat), (ms(min), ms(max))))
    }
}

/// A key's value and where it stands, or the default.
fn value_at<T: Copy>(key: Option<&Spanned<T>>, default: T) -> (T, usize) {
    key.map_or((default, 0), |key| (*key.get_ref(), key.span().start))
}

fn members(nodes: &[Spanned<Node>], text: &str) -> Result<Vec<Member>, At> {
    if !(1..=NODES_MAX).contains(&nodes.len()) {
        let at = nodes.get(NODES_MAX).map_or(text.len(), |node| node.span().start);
        return Err((at, Fault::NodeCount(nodes.len())));
    }
    let mut ids: Vec<(u64, usize)> = Vec::new();
    let mut addresses: Vec<(SocketAddr, usize)> = Vec::new();
    let mut members = Vec::new();
    for node in nodes {
        let node = node.get_ref();
        let (id, id_at) = (*node.id.get_ref(), node.id.span().start);
        if id == 0 || id > NODE_ID_MAX {
            return Err((id_at, Fault::NodeId(id)));
        }
        if let Some((_, first)) = ids.iter().find(|(other, _)| *other == id) {
            return Err((id_at, Fault::DuplicateId { id, line: line_at(text, *first) }));
        }
        ids.push((id, id_at));
        let mut address = |key, value: &Spanned<String>| {
            let at = value.span().start;
            let address = dialable(key, value.get_ref()).map_err(|fault| (at, fault))?;
            if let Some((_, first)) = addresses.iter().find(|(other, _)| *other == address) {
                return Err((at, Fault::DuplicateAddress { address, line: line_at(text, *first) }));
            }
            addresses.push((address, at));
            Ok(address)
        };
        let peer = address("peer", &node.peer)?;
        let client = address("client", &node.client)?;
        members.push(Member { id, peer, client, joins: node.joins });
    }
    Ok(members)
}

/// Reads an address at which a node is to be reached; `key` is for the complaint only.
pub fn dialable(key: &'static str, text: &str) -> Result<SocketAddr, Fault> {
    let value: SocketAddr =
        text.parse().map_err(|_| Fault::Address { key, value: text.to_owned() })?;
    if value.port() == 0 || value.ip().is_unspecified() {
        return Err(Fault::NotDialable { key, value });
    }
    Ok(value)
}

/// The line, from 1, of a byte offset.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"cluster = "demo"
heartbeat_ms = 20
election_timeout_ms = [100, 200]

[[node]]
id = 1
peer = "127.0.0.1:7101"
client = "127.0.0.1:7201"

[[node]]
id = 2
peer = "127.0.0.1:7102"
client = "127.0.0.1:7202"
"#;

    /// The complaint about the good file after one replacement.
    fn complaint(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        let text = GOOD.replacen(from, to, 1);
        Cluster::parse(Path::new("c.toml"), &text).unwrap_err().to_string()
    }

    fn check(from: &str, to: &str, line: usize, expected: &str) {
        let complaint = complaint(from, to);
        assert!(complaint.starts_with(&format!("c.toml:{line}: ")), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
    }

    #[test]
    fn good_file_is_read() {
        let cluster = Cluster::parse(Path::new("c.toml"), GOOD).unwrap();
        assert_eq!(cluster.id, "demo");
        assert_eq!(cluster.heartbeat, Duration::from_millis(20));
        assert_eq!(
            cluster.election_timeout,
            (Duration::from_millis(100), Duration::from_millis(200))
        );
        assert_eq!(cluster.nodes.len(), 2);
        assert_eq!(cluster.member(2).unwrap().client.port(), 7202);
        assert_eq!(cluster.member(3), None);
        assert_eq!((cluster.snapshot_log_bytes, cluster.lease_drift_percent), (16 << 20, None));
        assert_eq!(cluster.founders(), BTreeSet::from([1, 2]));
    }

    #[test]
    fn node_that_joins_is_no_founder() {
        let extra = "lease_drift_percent = 5\nsnapshot_log_bytes = 1000\n";
        let text = format!("{extra}{GOOD}joins = true\n");
        let cluster = Cluster::parse(Path::new("c.toml"), &text).unwrap();
        assert_eq!(cluster.founders(), BTreeSet::from([1]));
        assert!(cluster.member(2).unwrap().joins);
        assert_eq!((cluster.snapshot_log_bytes, cluster.lease_drift_percent), (1000, Some(5)));
    }

    #[test]
    fn timing_left_out_takes_defaults() {
        let text =
            GOOD.replace("heartbeat_ms = 20\n", "").replace("election_timeout_ms = [100, 200]", "");
        let cluster = Cluster::parse(Path::new("c.toml"), &text).unwrap();
        assert_eq!(cluster.heartbeat, Duration::from_millis(50));
        assert_eq!(
            cluster.election_timeout,
            (Duration::from_millis(150), Duration::from_millis(300))
        );
    }

    #[test]
    fn fault_is_named_with_its_line() {
        check("heartbeat_ms", "heartbeat", 2, "unknown field `heartbeat`");
        check("client = \"127.0.0.1:7202\"\n", "", 10, "missing field `client`");
        check("20", "\"20\"", 2, "expected u64");
        check("= 20", "= ", 2, "");
        check("\"demo\"", "\"de mo\"", 1, "letters, digits");
        check("\"demo\"", "\"\"", 1, "letters, digits");
        check("20", "0", 2, "choose 1 to");
        check("200]", "999999999]", 3, "choose 1 to");
        check("[100, 200]", "[100, 100]", 3, "greater than the first");
        check("[100, 200]", "[39, 200]", 3, "raise it to 40");
        check("id = 2", "id = 0", 11, "from 1");
        check("id = 2", "id = 1", 11, "taken by line 6");
        check("127.0.0.1:7202", "127.0.0.1:7101", 13, "taken by line 7");
        check("127.0.0.1:7202", "localhost", 13, "not IP:PORT");
        check("127.0.0.1:7202", "127.0.0.1:0", 13, "--listen client=127.0.0.1:0");
        check("127.0.0.1:7102", "0.0.0.0:7102", 12, "cannot be dialled");
        let drift = |percent: &str| format!("heartbeat_ms = 20\nlease_drift_percent = {percent}");
        check("heartbeat_ms = 20", &drift("0"), 3, "choose 1 to 50");
        check("heartbeat_ms = 20", &drift("51"), 3, "choose 1 to 50");
        check("heartbeat_ms = 20", &drift("-1"), 3, "");
        check("heartbeat_ms = 20", "snapshot_log_bytes = 0", 2, "16777216 is the default");
        check("id = 2", "id = 2\njoins = 1", 12, "expected a boolean");
    }

    #[test]
    fn node_count_out_of_bounds_is_refused() {
        let head = "cluster = \"demo\"\n";
        let nodes = |count: u64| {
            (1..=count).fold(head.to_owned(), |text, id| {
                let (peer, client) = (7100 + id, 7200 + id);
                text + &format!(
                    "[[node]]\nid = {id}\npeer = \"127.0.0.1:{peer}\"\nclient = \"127.0.0.1:{client}\"\n"
                )
            })
        };
        let parse = |text: String| Cluster::parse(Path::new("c.toml"), &text);
        assert!(parse(nodes(0)).unwrap_err().to_string().contains("0 nodes"));
        assert_eq!(parse(nodes(9)).unwrap().nodes.len(), 9);
        let many = parse(nodes(10)).unwrap_err().to_string();
        assert!(many.starts_with("c.toml:38: 10 nodes"), "{many}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = Cluster::load(Path::new("/nonexistent/c.toml")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/c.toml"), "{error}");
    }
}
