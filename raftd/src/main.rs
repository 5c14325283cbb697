//! The `raftd` command.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use raftd::config::Cluster;
use raftd::server::{self, Setup};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const EXAMPLE: &str = r#"A cluster of three on one machine. cluster.toml:

  cluster = "demo"

  [[node]]
  id = 1
  peer = "127.0.0.1:7101"      # other nodes connect here
  client = "127.0.0.1:7201"    # clients connect here

  [[node]]
  id = 2
  peer = "127.0.0.1:7102"
  client = "127.0.0.1:7202"

  [[node]]
  id = 3
  peer = "127.0.0.1:7103"
  client = "127.0.0.1:7203"

Start each node in a terminal of its own, then talk to them:

  raftd --config cluster.toml --id 1 --data data/1
  raftd --config cluster.toml --id 2 --data data/2
  raftd --config cluster.toml --id 3 --data data/3
  raftctl --config cluster.toml put greeting hello

Optional in cluster.toml, with the defaults:

  heartbeat_ms = 50
  election_timeout_ms = [150, 300]
  snapshot_log_bytes = 16777216   # a snapshot is due when the log has grown by this much
  lease_drift_percent = 5         # not set by default: lease reads trust clocks that run this evenly

At the first start of a cluster all of its nodes must be up once. A node that is added later says so in its own cluster
file, and is started before it is added (its id must never have been used):

  [[node]]
  id = 4
  peer = "127.0.0.1:7104"
  client = "127.0.0.1:7204"
  joins = true

  raftd --config cluster-4.toml --id 4 --data data/4
  raftctl --config cluster.toml member add 4 --peer 127.0.0.1:7104 --client 127.0.0.1:7204

Exit codes:
  0  stopped by SIGTERM or SIGINT: everything acknowledged is on disk
  1  cannot start or go on: disk, fsync, damaged data, data directory in use, port in use
  2  wrong usage or cluster file
  A broken invariant aborts the process (SIGABRT): a replica may stop, but not lie.

RUST_LOG sets what is logged to stderr (default: info)."#;

/// One node of a small Raft key-value store that keeps its log in plain files.
#[derive(Debug, Parser)]
#[command(name = "raftd", version, after_help = EXAMPLE)]
struct Args {
    /// The cluster file: who the members are
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Which member of the cluster this node is
    #[arg(long, value_name = "N")]
    id: u64,

    /// Where this node keeps its data; created if it does not exist
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Listen elsewhere than the cluster file says: peer=IP:PORT or client=IP:PORT; port 0 takes any free one
    #[arg(long, value_name = "PORT=IP:PORT")]
    listen: Vec<Listen>,

    /// Let the node's time pass at so many percent of the machine's clock: for tests of what rests on clocks
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    clock_percent: u32,

    /// How to log
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// One `--listen`.
#[derive(Clone, Copy, Debug)]
enum Listen {
    Peer(SocketAddr),
    Client(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let expected = "expected peer=IP:PORT or client=IP:PORT, such as client=127.0.0.1:7201";
        let (port, address) = text.split_once('=').ok_or(expected)?;
        let address =
            address.parse().map_err(|_| format!("{address:?} is not IP:PORT; {expected}"))?;
        match port {
            "peer" => Ok(Listen::Peer(address)),
            "client" => Ok(Listen::Client(address)),
            _ => Err(expected.to_owned()),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let started = setup(&args).and_then(|setup| start_logging(args.log_format).map(|()| setup));
    let setup = match started {
        Ok(setup) => setup,
        Err(error) => {
            eprintln!("raftd: {error:#}");
            return ExitCode::from(2);
        }
    };
    abort_on_panic();
    match server::run(setup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::error!(
                event = "failed",
                node = args.id,
                error = format!("{error:#}"),
                "cannot go on"
            );
            ExitCode::FAILURE
        }
    }
}

/// What the arguments mean, once they and the cluster file are found to be in order.
fn setup(args: &Args) -> anyhow::Result<Setup> {
    let cluster = Cluster::load(&args.config)?;
    let member = cluster.member(args.id).with_context(|| {
        let ids: Vec<String> = cluster.nodes.iter().map(|node| node.id.to_string()).collect();
        let file = args.config.display();
        format!("--id {}: {file} has no such node; it has {}", args.id, ids.join(", "))
    })?;
    let (mut peer, mut client) = (None, None);
    for listen in &args.listen {
        let (name, slot, address) = match listen {
            Listen::Peer(address) => ("peer", &mut peer, *address),
            Listen::Client(address) => ("client", &mut client, *address),
        };
        anyhow::ensure!(slot.is_none(), "--listen {name}=… is given twice; give it once");
        *slot = Some(address);
    }
    let (peer, client) = (peer.unwrap_or(member.peer), client.unwrap_or(member.client));
    for (name, address) in [("peer", peer), ("client", client)] {
        anyhow::ensure!(
            address.ip().is_loopback(),
            "refusing to listen for {name}s on {address}: peers and clients are not authenticated, so that anyone \
             who reaches this port could read and write everything; listen on a loopback address such as \
             127.0.0.1, and put a tunnel with authentication in front of it if others must get here"
        );
    }
    let clock_percent = args.clock_percent;
    Ok(Setup { id: args.id, data: args.data.clone(), peer, client, cluster, clock_percent })
}

fn start_logging(format: LogFormat) -> anyhow::Result<()> {
    let info = LevelFilter::INFO.into();
    let filter =
        EnvFilter::builder().with_default_directive(info).from_env().context("RUST_LOG")?;
    // If nobody reads stderr any more, that is no reason to stop, and complaining there would be one.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

/// A replica may stop, but not lie: after a panic, in whichever thread, nothing may go on.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let reason = panic.payload_as_str().unwrap_or("no reason given").replace('\n', " | ");
        tracing::error!(event = "panic", place, reason, "a broken invariant: aborting");
        std::process::abort();
    }));
}
