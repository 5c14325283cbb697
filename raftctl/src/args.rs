//! What may stand on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use raftctl::{Consistency, RequestId};

use crate::member::{MEMBER_HELP, MemberCommand};

use crate::bench::{BENCH_HELP, BenchArgs};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, and certainly had no effect: no such key, value not as
     expected, no node in reach, change refused … (status: no node answered;
     inspect: damage found; bench: no operation succeeded; member add and set
     say what they undid, or left to be repeated)
  2  wrong usage; nothing was sent
  3  the outcome is unknown: the write or change may or may not have taken
     effect

Every write has a request id, CLIENT:SEQ, and takes effect at most once
under it. If the outcome is unknown, raftctl prints the command that repeats
the write under the same id: it then gets the answer to the first attempt.

Examples:
  export RAFTCTL_CONFIG=cluster.toml
  raftctl put colour blue
  raftctl get colour
  raftctl get colour --consistency stale --node 3   what node 3 has, however old
  raftctl cas colour blue green                     only if it is blue now
  raftctl cas lock --absent me                      only if nobody has it
  raftctl incr visits
  raftctl put text - < README.md                    a value from standard input
  raftctl status
  raftctl members                                   who they are, and who lags
  raftctl member add 4 --peer 127.0.0.1:7104 --client 127.0.0.1:7204
  raftctl transfer-leader 2
  raftctl --endpoints 127.0.0.1:7201 --output json incr visits -1
  raftctl inspect data/1 --records                  a stopped node's files
  raftctl bench --clients 64 --duration 10s";

const TXN_HELP: &str = r#"If all of "compare" hold, "then" is done, otherwise "else"; either way this
exits with 0, and the first line of the output says which. Each list may be left
out. Operations are get, put, delete, append and incr; a comparison without
"expect" holds if there is no such key.

Example: move 5 from a to b if a is 7, else show a.
  raftctl txn '{"compare": [{"key": "a", "expect": "7"}],
    "then": [{"incr": {"key": "a", "by": -5}}, {"incr": {"key": "b", "by": 5}}],
    "else": [{"get": {"key": "a"}}]}'"#;

const TRANSFER_HELP: &str = "\
The leader takes no more writes, brings the other one's log up to date, and
tells it to campaign at once. If that does not work out within an election
timeout, it leads on. Clients see a pause of a round trip or two.

Example:
  raftctl transfer-leader 2       and then, say, stop node 1 for maintenance";

const SNAPSHOT_HELP: &str = "\
Nodes take snapshots by themselves when their logs have grown; this has them do
it now, so that the log before it can go. Writes go on meanwhile.

Example:
  raftctl snapshot --node 3 --timeout 1m";

/// Talks to a cluster of raftd nodes.
#[derive(Debug, Parser)]
#[command(name = "raftctl", version, after_help = AFTER_HELP, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connect: Connect,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Whom to talk to, and how.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Connect {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "The cluster file; if left out, the one that RAFTCTL_CONFIG names"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Client addresses of nodes, instead of a cluster file
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,

    /// The cluster's id: a node of another cluster is refused (default: what the cluster file says)
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) cluster: Option<String>,

    /// Talk to this node and no other, whether it leads or not
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) node: Option<u64>,

    /// How long to try, in all
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// The write's request id: repeats a write whose outcome is unknown
    #[arg(long, global = true, value_name = "CLIENT:SEQ")]
    pub(crate) request_id: Option<RequestId>,

    /// How to print
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON value, on standard output, errors too
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Operation(Operation),

    /// Print every node's view of itself; exit 1 if no node answers
    Status,

    /// Print the members as the leader sees them: who has a vote, who lags behind
    Members,

    /// Add, promote or remove members, or set all voters at once
    #[command(subcommand, after_help = MEMBER_HELP)]
    Member(MemberCommand),

    /// Hand the leadership over, and see who leads then
    #[command(after_help = TRANSFER_HELP)]
    TransferLeader {
        /// Whom to; if left out, the voter whose log lacks least
        id: Option<u64>,
    },

    /// Have every node, or the one that --node names, write a snapshot of all it has applied
    #[command(after_help = SNAPSHOT_HELP)]
    Snapshot,

    /// Read and check a stopped node's data directory; exit 1 if it is damaged
    Inspect(InspectArgs),

    /// Load the cluster and print throughput, latency, and what an operation costs the nodes
    #[command(long_about = BENCH_HELP)]
    Bench(BenchArgs),
}

/// What a client may ask of the store.
#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Print a key's value
    Get {
        /// The key
        key: String,
        /// How fresh the value must be
        #[arg(long, value_enum, default_value = "linearizable")]
        consistency: Freshness,
        /// Stale reads: wait until the node has applied the log up to this index, such as one that an earlier answer
        /// showed; so that reads never go back in time, whichever node answers
        #[arg(long, value_name = "N")]
        min_index: Option<u64>,
    },

    /// Set a key
    Put {
        /// The key
        key: String,
        /// Its new value; - reads it from standard input, to the last byte
        #[arg(allow_hyphen_values = true)]
        value: String,
    },

    /// Remove a key; exit 1 if there is none
    #[command(visible_alias = "delete")]
    Del {
        /// The key
        key: String,
    },

    /// Set a key if its value is EXPECT; exit 1 if it is not
    #[command(
        override_usage = "raftctl cas <KEY> <EXPECT> <NEW>\n       raftctl cas <KEY> --absent <NEW>"
    )]
    Cas {
        /// The key
        key: String,
        /// The value that it must have now; with --absent, the new one
        #[arg(allow_hyphen_values = true)]
        expect: String,
        /// The new value
        #[arg(allow_hyphen_values = true)]
        new: Option<String>,
        /// Set the key only if it has no value
        #[arg(long)]
        absent: bool,
    },

    /// Add to the end of a key's value; a missing key counts as empty
    Append {
        /// The key
        key: String,
        /// What to add; - reads it from standard input, to the last byte
        #[arg(allow_hyphen_values = true)]
        value: String,
    },

    /// Add to a key's value as a decimal 64-bit integer; a missing key counts as 0
    Incr {
        /// The key
        key: String,
        /// What to add; may be negative
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },

    /// Compare several keys, and do one list of operations or the other, all at once
    #[command(after_help = TXN_HELP)]
    Txn {
        /// The transaction, as JSON; - reads it from standard input
        #[arg(value_name = "JSON")]
        txn: String,
    },
}

/// [`Consistency`], for the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Freshness {
    /// Reflects every write acknowledged before
    Linearizable,
    /// The same, as long as clocks are right: the leader need not ask around (if the cluster file has
    /// `lease_drift_percent`)
    Lease,
    /// Whatever the node has, however old
    Stale,
}

impl From<Freshness> for Consistency {
    fn from(freshness: Freshness) -> Consistency {
        match freshness {
            Freshness::Linearizable => Consistency::Linearizable,
            Freshness::Lease => Consistency::Lease,
            Freshness::Stale => Consistency::Stale,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// The data directory (raftd --data)
    pub(crate) dir: PathBuf,
    /// Print every record before the summary
    #[arg(long)]
    pub(crate) records: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("raftctl").chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for line in ["--node 2 get k --output json", "get --output json k --node 2"] {
            let args = parse(line).unwrap();
            assert_eq!((args.connect.node, args.connect.output), (Some(2), Format::Json));
        }
    }

    #[test]
    fn values_may_look_like_flags() {
        let put = |line: &str| {
            let command = parse(line).unwrap().command;
            if let Command::Operation(Operation::Put { value, .. }) = command {
                Some(value)
            } else {
                None
            }
        };
        assert_eq!(put("put k -").as_deref(), Some("-"));
        assert_eq!(put("put k -5 --timeout 1s").as_deref(), Some("-5"));
        assert_eq!(put("put k -- --x").as_deref(), Some("--x"));
        for line in ["cas k -1 -2 --node 1", "cas --node 1 k -1 -2", "cas k -1 --node 1 -2"] {
            let args = parse(line).unwrap();
            assert_eq!(args.connect.node, Some(1));
            assert!(matches!(
                args.command,
                Command::Operation(Operation::Cas { expect, new: Some(new), absent: false, .. })
                    if expect == "-1" && new == "-2"
            ));
        }
        let command = parse("incr k -3").unwrap().command;
        assert!(matches!(command, Command::Operation(Operation::Incr { by: -3, .. })));
    }

    #[test]
    fn bad_values_are_named() {
        for (line, expected) in [
            ("get k --timeout soon", "soon"),
            ("put k v --request-id nobody", "CLIENT:SEQ"),
            ("incr k x", "invalid digit"),
            ("get k --consistency lazy", "linearizable"),
            ("frobnicate", "unrecognized subcommand"),
            ("get", "<KEY>"),
        ] {
            let complaint = parse(line).unwrap_err();
            assert!(complaint.contains(expected), "{line}: {complaint}");
        }
    }
}
