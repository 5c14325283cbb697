//! What a run's history says of how it was run.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use history_checker::History;
use history_checker::history::{Event, Fault, FaultPlan, Process};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use crate::cluster::{Builds, Network};
use crate::nemesis::Kind;
use crate::nemesis::schedule::{Aim, Planned};
use crate::scenario::{Changes, Scenario};
use crate::store;

/// A run that can be had again.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    pub(super) time_limit: Duration,
    pub(super) builds: Builds,
    pub(super) network: Network,
    /// In order of their beginnings.
    pub(super) faults: Vec<Planned>,
    /// How it failed, if it did.
    pub(super) failure: Failure,
}

impl Recording {
    /// Of the run in this directory.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Recording> {
        let path = directory.join(store::HISTORY);
        if !path.exists() {
            bail!(
                "{} is no directory of a run: there is no {} in it",
                directory.display(),
                store::HISTORY
            );
        }
        let history = History::read(&path)?;
        let told = |name: &str| history.header().run.get(name);
        let faults = faults(&history)?;
        let changes = Changes {
            nodes: Some(history.header().nodes),
            clients: number(told("clients")),
            rate: number(told("rate")),
            faults: Some(kinds(&faults)),
            // Each fault says what it waited for.
            at: None,
            // The limit, that is: which faults there are is decided.
            quorum_safe: said(told("quorum_safe")).unwrap_or(false),
        };
        let text: String = said(told("scenario")).with_context(|| {
            format!(
                "{} does not say which scenario it ran: it is of an older harness",
                path.display()
            )
        })?;
        let scenario = Scenario::parse("the recorded scenario", &text)?.with(&changes);
        let time_limit = number(told("time_limit_ms")).map(Duration::from_millis);
        let backend: Option<String> = said(told("backend"));
        Ok(Recording {
            scenario,
            seed: history.header().seed,
            time_limit: time_limit.context("the history does not say how long the run was")?,
            builds: Builds {
                all: said(told("raftd"))
                    .context("the history does not say which raftd it tested")?,
                of: said(told("raftd_of")).unwrap_or_default(),
                upgrade: said(told("upgrade_to")).unwrap_or_default(),
            },
            network: if backend.as_deref() == Some("netns") {
                Network::Netns
            } else {
                Network::Proxy
            },
            faults,
            failure: Failure::recorded(directory)?,
        })
    }
}

fn said<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_u64()
}

fn kinds(faults: &[Planned]) -> Vec<Kind> {
    faults.iter().map(|planned| planned.kind).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The faults that were there, as plans: each begins as long after the first phase as it did.
fn faults(history: &History) -> anyhow::Result<Vec<Planned>> {
    let events = history.others();
    let begin = events.iter().find(|event| event.f == "phase").map_or(0, |event| event.time);
    let last = history.duration();
    let mut faults = Vec::new();
    for (position, event) in events.iter().enumerate().filter(|(_, event)| is_nemesis(event)) {
        let fault: Fault = serde_json::from_value(event.value.clone())?;
        let is_part = fault.leads_to.is_some();
        if fault.phase != "start" || fault.outcome.starts_with("skipped") || is_part {
            continue;
        }
        let [kind] = Kind::select(&event.f)?[..] else {
            bail!("{} is no single kind of fault", event.f)
        };
        let Some(FaultPlan { aim, count, seed, moment }) = fault.plan else {
            bail!(
                "the history does not say how fault {} was chosen: it is of an older harness",
                fault.fault
            );
        };
        let is_end = |other: &&Event| {
            is_nemesis(other)
                && other.value["phase"] == "stop"
                && other.value["fault"] == fault.fault
        };
        let end = events[position..].iter().find(is_end).map_or(last, |event| event.time);
        faults.push(Planned {
            kind,
            start: Duration::from_nanos(event.time.saturating_sub(begin)),
            duration: Duration::from_nanos(end.saturating_sub(event.time)),
            aim: Aim::named(&aim)
                .with_context(|| format!("{aim:?} is nothing that a fault aims at"))?,
            count,
            seed,
            moment: moment.as_deref().map(str::parse).transpose()?,
        });
    }
    Ok(faults)
}

fn is_nemesis(event: &Event) -> bool {
    matches!(&event.process, Process::Named(name) if name == "nemesis")
}
