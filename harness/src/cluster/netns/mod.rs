//! The network that the kernel makes: each node in a network namespace of its own, and the harness as their router.
//!
//! ```text
//!   namespace of n1                 the harness's own namespace                namespace of n2
//!   eth0 127.77.1.1 ──── veth ──── 127.77.1.254  nftables  127.77.2.254 ──── veth ──── eth0 127.77.2.1
//! ```
//!
//! Every packet between nodes passes the harness's rules, and so does every packet of its clients. The harness itself
//! goes into a namespace of its own first ([`enter`]), with a user namespace around it where it has no privileges; so
//! nothing of this is to be seen from outside, and no rule can hit anybody else. No namespace has a name: each is there
//! for as long as a process is in it. That of a node is held by a child of the harness ([`hold`]) that ends when its
//! standard input does, which the kernel sees to even if the harness is killed.
//!
//! Nodes listen on loopback addresses only, so theirs are from 127.0.0.0/8, which the kernel routes if it is told to.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::sync::Mutex;

pub use self::rules::{Ban, Fate, Port};
pub use self::sandbox::{Unavailable, enter, probe, try_out};

pub(super) use self::sandbox::join_network_of;

use self::rules::Rules;
use super::{Error, NodeId};

mod rules;
mod sandbox;

/// The hidden subcommand of the harness that [`hold`] implements.
pub const HOLD_NETWORK: &str = "hold-network";

/// The hidden subcommand of the harness that [`sandbox::try_out`] implements.
pub const PROBE_NETWORK: &str = "probe-network";

/// Where nodes listen: their addresses are nobody else's, so the ports are free.
const PEER_PORT: u16 = 7100;
const CLIENT_PORT: u16 = 7200;

/// Whether the kernel routes what comes from or goes to 127.0.0.0/8; each namespace has its own.
const ROUTE_LOCALNET: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";

/// What a holder says when its namespace is there.
const READY: &str = "ready";

/// The network of a cluster.
#[derive(Debug)]
pub struct Net {
    holders: BTreeMap<NodeId, Holder>,
    rules: Mutex<Rules>,
}

/// A process that does nothing but be in a namespace.
#[derive(Debug)]
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill, and only its number is left to be collected.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Stays in a new network namespace until standard input ends. For the harness's subcommand `hold-network`.
pub fn hold() -> io::Result<()> {
    sandbox::new_network()?;
    std::fs::write(ROUTE_LOCALNET, "1")?;
    let mut out = io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

impl Net {
    /// Makes a namespace for each node and connects it. `program` is the harness's own executable. The harness must be in
    /// a namespace of its own; there can be one such network at a time.
    pub async fn set_up(nodes: u64, program: &Path) -> Result<Net, Error> {
        prepare_own().await?;
        let mut holders = BTreeMap::new();
        for node in 1..=nodes {
            let holder = Holder::start(program)?;
            let pid = holder.0.id();
            let batch = format!(
                "link add n{node} type veth peer name eth0 netns {pid}\n\
                 addr add {router}/24 dev n{node} scope global\n\
                 link set n{node} up\n",
                router = router(node),
            );
            run("ip", &["-batch", "-"], &batch).await?;
            inside(program, pid, node).await?;
            holders.insert(node, holder);
        }
        Ok(Net { holders, rules: Mutex::new(Rules::default()) })
    }

    /// Where a node listens, for peers and for clients.
    pub fn addresses(node: NodeId) -> (SocketAddr, SocketAddr) {
        let at = |port| SocketAddr::from((address(node), port));
        (at(PEER_PORT), at(CLIENT_PORT))
    }

    /// The process in whose namespace a node belongs.
    pub fn holder(&self, node: NodeId) -> Option<u32> {
        self.holders.get(&node).map(|holder| holder.0.id())
    }

    /// Makes the kernel treat packets so; returns a number by which to end that.
    pub async fn impose(&self, bans: Vec<Ban>) -> Result<u64, Error> {
        let mut rules = self.rules.lock().await;
        let number = rules.add(bans);
        nft(&rules.script()).await?;
        Ok(number)
    }

    /// How many packets have been treated so.
    pub async fn packets(&self, number: u64) -> Result<u64, Error> {
        let listing = run("nft", &["-j", "list", "counters"], "").await?;
        Ok(rules::packets(&listing, number))
    }

    /// Ends it; returns how many packets were treated so.
    pub async fn lift(&self, number: u64) -> Result<u64, Error> {
        let mut rules = self.rules.lock().await;
        if !rules.remove(number) {
            return Ok(0);
        }
        nft(&rules.script()).await?;
        self.packets(number).await
    }

    /// Lets everything pass.
    pub async fn lift_all(&self) -> Result<(), Error> {
        let mut rules = self.rules.lock().await;
        rules.clear();
        nft(&rules.script()).await
    }
}

impl Holder {
    fn start(program: &Path) -> Result<Holder, Error> {
        let failed = |source| Error::Namespace { source };
        let child = Command::new(program)
            .arg(HOLD_NETWORK)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the harness, which still needs it then.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut holder = Holder(child);
        let mut line = String::new();
        if let Some(out) = holder.0.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(failed)?;
        }
        if line.trim() == READY {
            Ok(holder)
        } else {
            Err(failed(io::Error::other("the process that is to hold it has ended")))
        }
    }
}

/// Addresses are unique within the harness's namespace only.
fn address(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, u8::try_from(node).unwrap_or(u8::MAX), 1)
}

fn router(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, u8::try_from(node).unwrap_or(u8::MAX), 254)
}

/// The kernel takes all of 127.0.0.0/8 for its own, unless it is told otherwise.
const LOOPBACK: &str = "link set lo up\naddr flush dev lo\naddr add 127.0.0.1/32 dev lo\n";

/// Makes the harness's namespace a router without rules, whatever an earlier network has left in it.
async fn prepare_own() -> Result<(), Error> {
    let links = run("ip", &["-o", "link", "show", "type", "veth"], "").await?;
    let names = links.lines().filter_map(|line| line.split([' ', '@', ':']).nth(2));
    let delete: Vec<String> = names.map(|name| format!("link del {name}")).collect();
    // One that has gone by itself meanwhile is no failure.
    drop(run("ip", &["-force", "-batch", "-"], &delete.join("\n")).await);
    run("ip", &["-batch", "-"], LOOPBACK).await?;
    for (setting, path) in
        [("ip_forward", "/proc/sys/net/ipv4/ip_forward"), ("route_localnet", ROUTE_LOCALNET)]
    {
        std::fs::write(path, "1").map_err(|source| Error::Setting {
            setting,
            path: PathBuf::from(path),
            source,
        })?;
    }
    nft(rules::TABLE).await
}

/// The node's side, by a process that goes there.
async fn inside(program: &Path, pid: u32, node: NodeId) -> Result<(), Error> {
    let program = program.display().to_string();
    let batch = format!(
        "{LOOPBACK}addr add {own}/24 dev eth0 scope global\nlink set eth0 up\n\
         route add default via {router}\n",
        own = address(node),
        router = router(node),
    );
    let pid = pid.to_string();
    let parent = std::process::id().to_string();
    let enter = [super::process::SUPERVISE_NODE, "--parent", &parent, "--network-of", &pid, "--"];
    run(&program, &[&enter[..], &["ip", "-batch", "-"]].concat(), &batch).await.map(drop)
}

async fn nft(script: &str) -> Result<(), Error> {
    run("nft", &["-f", "-"], script).await.map(drop)
}

/// Runs a tool to its end; returns what it printed.
async fn run(program: &str, args: &[&str], input: &str) -> Result<String, Error> {
    use tokio::io::AsyncWriteExt as _;
    let failed = |why: String| Error::Tool {
        command: format!("{program} {}", args.join(" ")),
        why: why.trim().to_owned(),
    };
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .env("PATH", sandbox::path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why itself.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))))
    }
}
