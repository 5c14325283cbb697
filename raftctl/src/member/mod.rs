//! `raftctl member …`, `members`, `transfer-leader`: who the members are, and who of them leads.

mod catch_up;
mod change;
mod leader;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use raftctl::{Client, NodeId, Status};
use serde::Serialize;

use crate::args::Connect;
use crate::connect::{client, runtime};
use crate::output::{Exit, Output};

use change::{Place, Task};
pub(crate) use leader::transfer;

/// What `raftctl member --help` ends with.
pub(crate) const MEMBER_HELP: &str = "\
All of these may be repeated after any interruption: what is done already is
seen, and what is missing is done.

Examples:
  A fourth node. Its cluster.toml lists the others, and itself with joins = true:
    raftd --config cluster.toml --id 4 --data data/4 &
    raftctl member add 4 --peer 127.0.0.1:7104 --client 127.0.0.1:7204
  It is first a learner, without a vote, until it has the log.

  Replace node 1, which is broken, in one change:
    raftctl member set 2 3 4=127.0.0.1:7104,127.0.0.1:7204

  Have the leader go, whoever it is; another one takes over:
    raftctl member remove 1";

/// What to change.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Add a node that runs: as a learner first, and with a vote when it has caught up
    Add {
        /// Its id (raftd --id): never one that another node had before
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// Where the other members reach it
        #[arg(long, value_name = "HOST:PORT")]
        peer: String,
        /// Where clients reach it; it is asked there first, and nothing is changed if it does not answer
        #[arg(long, value_name = "HOST:PORT")]
        client: String,
        /// Leave it without a vote: it gets the log, and serves reads
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        patience: Patience,
    },

    /// Give a learner a vote, as soon as it has caught up
    Promote {
        /// Which
        id: u64,
    },

    /// Have a member leave, voter or learner, the leader included; exit 0 if there is no such member
    Remove {
        /// Which
        id: u64,
    },

    /// Make these the voters, in one change; all other members leave
    ///
    /// Nodes that are no members yet are named with their addresses, ID=PEER,CLIENT. They are added as learners, and when
    /// they all have the log, the voters are changed by joint consensus. If one does not get there in time, those that
    /// were added are removed again.
    Set {
        /// ID, or ID=PEER,CLIENT for a node that is no member yet
        #[arg(required = true, value_name = "ID[=PEER,CLIENT]")]
        voters: Vec<Target>,
        #[command(flatten)]
        patience: Patience,
    },
}

/// How long to wait for logs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Patience {
    /// How long a new member may take to get the log; then it is removed again
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    catch_up_timeout: Duration,
}

/// A voter to be, and where it is if it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    id: NodeId,
    place: Option<Place>,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let bad = || {
            format!(
                "{text:?}: expected ID, or ID=PEER,CLIENT such as 4=127.0.0.1:7104,127.0.0.1:7204"
            )
        };
        let (id, place) = text.split_once('=').map_or((text, None), |(id, at)| (id, Some(at)));
        let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
        let Some(place) = place else { return Ok(Target { id, place: None }) };
        let (peer, client) = place.split_once(',').ok_or_else(bad)?;
        let (peer, client) = (peer.to_owned(), client.to_owned());
        Ok(Target { id, place: Some(Place { peer, client }) })
    }
}

/// What is printed of a change with `--output json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voters: Option<Vec<NodeId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learners: Option<Vec<NodeId>>,
    /// Index of the configuration that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: String,
    definite: bool,
    message: String,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The cluster, or a node, did not do it.
    #[error("{}", .0)]
    Call(#[from] raftctl::Error),
    /// It makes no sense as things are. Nothing was done.
    #[error("{message}")]
    Refused { code: &'static str, message: String },
    /// It is not known whether it was done.
    #[error("{message}")]
    Unknown { message: String },
}

impl Failure {
    fn refused(code: &'static str, message: impl Into<String>) -> Failure {
        Failure::Refused { code, message: message.into() }
    }

    fn is_definite(&self) -> bool {
        match self {
            Failure::Call(error) => error.is_definite(),
            Failure::Refused { .. } => true,
            Failure::Unknown { .. } => false,
        }
    }

    /// What happened, without what it means.
    fn message(&self) -> String {
        match self {
            Failure::Call(error) => error.kind.to_string(),
            Failure::Refused { message, .. } | Failure::Unknown { message } => message.clone(),
        }
    }

    fn reason(&self) -> Reason {
        let code = match self {
            Failure::Call(error) => error.code(),
            Failure::Refused { code, .. } => code,
            Failure::Unknown { .. } => "unknown",
        };
        Reason { code: code.to_owned(), definite: self.is_definite(), message: self.message() }
    }
}

/// Whoever changes members talks to the leader.
fn leaders_client(connect: &Connect, what: &str) -> anyhow::Result<Client> {
    if let Some(node) = connect.node {
        bail!("{what} is the leader's business, wherever it is: leave out --node {node}");
    }
    client(connect.options()?)
}

/// `raftctl member …`.
pub(crate) fn run(
    connect: &Connect,
    command: &MemberCommand,
    output: &Output,
) -> anyhow::Result<Exit> {
    let client = leaders_client(connect, "a change of membership")?;
    let task = Task::new(client, connect, output);
    let outcome = runtime()?.block_on(async {
        match command {
            MemberCommand::Add { id, peer, client, learner, patience } => {
                let place = Place { peer: peer.clone(), client: client.clone() };
                task.add(*id, place, *learner, patience.catch_up_timeout).await
            }
            MemberCommand::Promote { id } => task.promote(*id).await,
            MemberCommand::Remove { id } => task.remove(*id).await,
            MemberCommand::Set { voters, patience } => {
                task.set(&by_id(voters)?, patience.catch_up_timeout).await
            }
        }
    });
    Ok(conclude(outcome, output))
}

fn by_id(targets: &[Target]) -> Result<BTreeMap<NodeId, Option<Place>>, Failure> {
    let mut all = BTreeMap::new();
    for Target { id, place } in targets {
        if all.insert(*id, place.clone()).is_some_and(|before| before != *place) {
            let message = format!("node {id} is named twice, at different places");
            return Err(Failure::refused("bad_request", message));
        }
    }
    Ok(all)
}

/// What was done, and who the members are then.
struct Done {
    sentence: String,
    status: Box<Status>,
}

fn conclude(outcome: Result<Done, Failure>, output: &Output) -> Exit {
    let failure = match outcome {
        Ok(Done { sentence, status }) => {
            if output.is_json() {
                output.json(&Report {
                    leader: status.leader,
                    voters: Some(status.voters.clone()),
                    learners: Some(status.learners.clone()),
                    index: Some(status.config_index),
                    error: None,
                });
            } else {
                output.line(&format!("{sentence}; {}", table::who(&status)));
            }
            return Exit::Done;
        }
        Err(failure) => failure,
    };
    if output.is_json() {
        output.json(&Report { error: Some(failure.reason()), ..Report::default() });
    }
    if failure.is_definite() {
        output.error(&failure.message());
        return Exit::Failed;
    }
    output.error(&format!(
        "{}; it may or may not have taken effect: see raftctl members, and repeat the command",
        failure.message()
    ));
    Exit::Unknown
}

/// `raftctl members`.
pub(crate) fn print(connect: &Connect, output: &Output) -> anyhow::Result<Exit> {
    let client = client(connect.options()?)?;
    let outcome = runtime()?.block_on(async {
        let status = match connect.node {
            Some(_) => client.status().await?,
            None => client.leader_status().await?,
        };
        Ok::<_, raftctl::Error>((status, client.status_of_all().await))
    });
    Ok(match outcome {
        Ok((status, all)) => {
            if output.is_json() {
                output.json(&table::json(&status, &all));
            } else {
                output.line(&table::text(&status, &all));
            }
            Exit::Done
        }
        Err(error) => conclude(Err(error.into()), output),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_an_id_perhaps_with_a_place() {
        let target: Target = "4=a:1,b:2".parse().unwrap();
        let place = Some(Place { peer: "a:1".to_owned(), client: "b:2".to_owned() });
        assert_eq!(target, Target { id: 4, place });
        assert_eq!("7".parse(), Ok(Target { id: 7, place: None }));
        for text in ["", "x", "0", "4=", "4=a:1", "=a:1,b:2"] {
            let complaint = text.parse::<Target>().unwrap_err();
            assert!(complaint.contains("ID=PEER,CLIENT"), "{text}: {complaint}");
        }
    }

    #[test]
    fn node_at_two_places_is_refused() {
        let targets = |all: &[&str]| {
            let all: Vec<Target> = all.iter().map(|text| text.parse().unwrap()).collect();
            by_id(&all).map(|all| all.len())
        };
        assert_eq!(targets(&["1", "2=a:1,b:2", "1"]).unwrap(), 2);
        assert!(targets(&["2=a:1,b:2", "2=a:1,b:3"]).is_err());
    }
}
