//! `raftctl transfer-leader`.

use raftctl::{Client, NodeId, Status};
use tokio::time::Instant;

use super::{Done, Failure, conclude, leaders_client};
use crate::args::Connect;
use crate::connect::runtime;
use crate::output::{Exit, Output};

/// `raftctl transfer-leader [ID]`.
pub(crate) fn transfer(
    connect: &Connect,
    to: Option<NodeId>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let client = leaders_client(connect, "handing over")?;
    let outcome = runtime()?.block_on(async {
        let before = client.leader_status().await?;
        let from = before.node;
        if to == Some(from) {
            let sentence = format!("node {from} leads already");
            return Ok(Done { sentence, status: before });
        }
        let error = match client.transfer_leadership(to).await {
            Ok(_) => None,
            Err(error) if error.is_definite() => return Err(error.into()),
            Err(error) => Some(error),
        };
        // Who leads then is what counts: the answer may be lost, and who took over may have lost it again.
        let is_done = |status: &Status| to.map_or(status.node != from, |to| status.node == to);
        let seen = watch(&client, Instant::now() + connect.timeout, is_done).await;
        match (seen, error) {
            (Ok(status), _) => {
                let sentence = format!("node {} leads, in term {}", status.node, status.term);
                Ok(Done { sentence, status })
            }
            (Err(_), Some(error)) => Err(error.into()),
            (Err(failure), None) => Err(failure),
        }
    });
    Ok(conclude(outcome, output))
}

/// Waits until the right one leads.
async fn watch(
    client: &Client,
    deadline: Instant,
    is_done: impl Fn(&Status) -> bool,
) -> Result<Box<Status>, Failure> {
    loop {
        let status = client.leader_status().await?;
        if is_done(&status) {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            let message = format!("node {} leads", status.node);
            return Err(Failure::Unknown { message });
        }
        super::catch_up::pause().await;
    }
}
