//! What cannot be done is refused before anything is started.

use anyhow::{Context, bail};

use crate::cluster::{Builds, Network};
use crate::nemesis::Kind;
use crate::scenario::{Scenario, select_faults};
use crate::{disk, terminal};

/// What a command line's words for faults stand for with this network. Of words for several kinds, what it cannot do is
/// left out.
pub(super) fn possible_faults(words: &[String], network: Network) -> anyhow::Result<Vec<Kind>> {
    for word in words {
        let kinds = Kind::select(word)?;
        if let [kind] = kinds[..] {
            kind.check_here().with_context(|| format!("the fault {kind} cannot be made"))?;
        }
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind.is_possible_with(network)) {
            bail!(
                "the backend netns cannot do the fault {word}: it is about single messages or connections, and the \
                 kernel sees packets only; use --backend proxy, or leave it out of --faults"
            );
        }
    }
    let mut kinds = select_faults(words)?;
    kinds.retain(|kind| kind.is_possible_with(network) && kind.check_here().is_ok());
    Ok(kinds)
}

/// An error if a workload of its own accord has faults that cannot be made here.
pub(super) fn refuse_unavailable(scenario: &Scenario, network: Network) -> anyhow::Result<()> {
    refuse_without_proxy(scenario, network)?;
    if let Some(moment) = scenario.at.iter().find(|moment| !moment.is_possible_with(network)) {
        bail!(
            "{}: the backend netns cannot see the moment {moment}; use --backend proxy",
            scenario.name
        );
    }
    for kind in scenario.faults() {
        kind.check_here().with_context(|| format!("{} has the fault {kind}", scenario.name))?;
    }
    if scenario.needs_disks() {
        let own = std::env::current_exe().context("cannot find the harness's own executable")?;
        disk::check(&own).with_context(|| format!("{} cannot be run", scenario.name))?;
    }
    Ok(())
}

/// An error if a workload of its own accord has faults that this network cannot do.
fn refuse_without_proxy(scenario: &Scenario, network: Network) -> anyhow::Result<()> {
    let impossible: Vec<&str> =
        scenario.faults().filter(|kind| !kind.is_possible_with(network)).map(Kind::name).collect();
    if !impossible.is_empty() {
        bail!(
            "{} has faults that the backend netns cannot do, as the kernel sees packets only: {}; use --backend proxy, or \
             choose others with --faults",
            scenario.name,
            impossible.join(", ")
        );
    }
    Ok(())
}

/// An error if a build is named for a node that there is not.
pub(super) fn refuse_strangers(scenario: &Scenario, builds: &Builds) -> anyhow::Result<()> {
    if let Some(node) = builds.of.keys().find(|&&node| node == 0 || node > scenario.nodes) {
        let nodes = terminal::plural(scenario.nodes, "node");
        bail!(
            "--raftd {node}=… is about node {node}, and {} has {nodes}: 1 to {}",
            scenario.name,
            scenario.nodes
        );
    }
    Ok(())
}
