//! `results.json`: the verdict, what it rests on, and the circumstances. A function of the history alone.

use std::collections::BTreeMap;

use history_checker::History;
use history_checker::history::{Fault, Process};
use history_checker::results::{Results, Verdict};
use serde::Serialize;
use serde_json::Value;

/// What `results.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The verdict, every check's part, counts.
    #[serde(flatten)]
    pub results: Results,
    /// Name of the workload.
    pub workload: String,
    /// What the history was held against.
    pub model: String,
    /// What the workload's author expects; `invalid` for a canary.
    pub expected: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Number of nodes.
    pub nodes: u64,
    /// The stages of the run, in order.
    pub phases: Vec<Stage>,
    /// What the faults did, kind by kind.
    pub faults: BTreeMap<String, FaultRecord>,
    /// The faults' beginnings and ends, for `schedule.jsonl`.
    #[serde(skip)]
    pub schedule: Vec<Happened>,
    /// Command line, versions, options: whatever the history's header has beyond the above.
    #[serde(flatten)]
    pub run: BTreeMap<String, Value>,
}

/// When a stage of the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub phase: String,
    /// Nanoseconds since the run began.
    pub time: u64,
}

/// A line of `schedule.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Happened {
    /// Nanoseconds since the run began.
    pub time: u64,
    /// The kind of fault.
    pub kind: String,
    /// What there is to say of its beginning or its end.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What one kind of fault did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultRecord {
    /// How many were installed.
    pub installed: u64,
    /// How many could not be.
    pub skipped: u64,
    /// How many of the installed ones proved that they bit.
    pub bit: u64,
    /// The sum of their proofs, in `unit`.
    pub proof: u64,
    /// `processes killed`, `ms stopped`, …
    pub unit: String,
}

impl Record {
    /// Everything there is to say of a history whose verdict is `results`.
    pub fn new(history: &History, results: Results) -> Record {
        let header = history.header();
        let mut phases = Vec::new();
        let mut faults: BTreeMap<String, FaultRecord> = BTreeMap::new();
        let mut schedule = Vec::new();
        for event in history.others() {
            match &event.process {
                Process::Named(name) if name == "runner" && event.f == "phase" => {
                    let phase = event.value.as_str().unwrap_or_default().to_owned();
                    phases.push(Stage { phase, time: event.time });
                }
                Process::Named(name) if name == "nemesis" => {
                    // What is no fault was refused when the history was read.
                    let fault: Fault =
                        serde_json::from_value(event.value.clone()).unwrap_or_default();
                    faults.entry(event.f.clone()).or_default().count(&fault);
                    schedule.push(Happened { time: event.time, kind: event.f.clone(), fault });
                }
                Process::Named(_) | Process::Client(_) => {}
            }
        }
        Record {
            results,
            workload: header.workload.clone(),
            model: header.model.clone(),
            expected: header.expected.clone(),
            seed: header.seed,
            nodes: header.nodes,
            phases,
            faults,
            schedule,
            run: header.run.clone(),
        }
    }

    /// Whether something is proven wrong that clients were there to see: a cluster that did not even start proves
    /// nothing about what it promises.
    pub fn is_counterexample(&self) -> bool {
        self.results.verdict == Verdict::Invalid && !self.phases.is_empty()
    }

    /// As it stands in the file.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The faults as they happened, one line for each beginning and each end.
    pub fn schedule_lines(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut lines = Vec::new();
        for happened in &self.schedule {
            serde_json::to_writer(&mut lines, happened)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }
}

impl FaultRecord {
    fn count(&mut self, fault: &Fault) {
        match fault.phase.as_str() {
            "start" if fault.outcome.starts_with("skipped") => self.skipped += 1,
            "start" => self.installed += 1,
            _ if fault.proof > 0 => {
                self.bit += 1;
                // A history may say anything.
                self.proof = self.proof.saturating_add(fault.proof);
                self.unit.clone_from(&fault.unit);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use history_checker::results::Counts;

    use super::*;

    const HISTORY: &str = r#"{"history":1,"workload":"w","model":"register","seed":3,"nodes":5,"run":{"command":"harness run w"}}
{"index":0,"time":1,"process":"runner","type":"info","f":"phase","value":"clean"}
{"index":1,"time":2,"process":"nemesis","type":"info","f":"kill","value":{"phase":"start","fault":1,"nodes":[2],"text":"kill n2","outcome":"installed"}}
{"index":2,"time":3,"process":"nemesis","type":"info","f":"ring","value":{"phase":"start","fault":2,"outcome":"skipped: too few nodes"}}
{"index":3,"time":4,"process":"nemesis","type":"info","f":"kill","value":{"phase":"stop","fault":1,"nodes":[2],"proof":1,"unit":"processes killed"}}
{"index":4,"time":5,"process":"runner","type":"info","f":"phase","value":"end"}
"#;

    #[test]
    fn faults_that_add_up_to_nonsense_are_counted_without_panic() {
        let mut record = FaultRecord { installed: 1, ..FaultRecord::default() };
        let stop = Fault { phase: "stop".to_owned(), proof: u64::MAX, ..Fault::default() };
        record.count(&stop);
        record.count(&stop);
        assert_eq!((record.bit, record.proof), (2, u64::MAX));
    }

    #[test]
    fn record_gathers_phases_faults_and_circumstances() {
        let history = History::parse(HISTORY.as_bytes(), "test").unwrap();
        let results = Results {
            verdict: Verdict::Unknown,
            headline: "Too little.".to_owned(),
            checks: Vec::new(),
            counts: Counts::default(),
        };
        let record = Record::new(&history, results);
        let phases: Vec<_> =
            record.phases.iter().map(|stage| (stage.phase.as_str(), stage.time)).collect();
        assert_eq!(phases, [("clean", 1), ("end", 5)]);
        let kill = FaultRecord {
            installed: 1,
            bit: 1,
            proof: 1,
            unit: "processes killed".to_owned(),
            ..FaultRecord::default()
        };
        assert_eq!(record.faults["kill"], kill);
        assert_eq!(record.faults["ring"], FaultRecord { skipped: 1, ..FaultRecord::default() });
        let json: Value = serde_json::from_slice(&record.to_json().unwrap()).unwrap();
        assert_eq!(json["verdict"], "unknown");
        assert_eq!(json["command"], "harness run w");
        let lines = String::from_utf8(record.schedule_lines().unwrap()).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(
            lines.starts_with(r#"{"time":2,"kind":"kill","phase":"start","fault":1,"#),
            "{lines}"
        );
    }
}
