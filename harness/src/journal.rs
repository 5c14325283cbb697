//! The history as it is written: one clock, one order, one file.
//!
//! Everything that happens is taken down under one lock, which gives it its time and its place in the file together: an
//! invocation before its request is sent, a completion after its answer has come. The file can be read at any moment
//! of the run, and is complete up to a tenth of a second ago.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use history_checker::Watcher;
use history_checker::history::{
    Committed, Event, Fault, Header, Kind, NodeLog, NodeState, Process, WriteError, Writer,
};
use raftctl::NodeId;
use serde_json::{Value, json};

use crate::client::Completion;
use crate::cluster;
use crate::workload::Operation;

/// How often the file is brought up to date.
pub const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Stages of a run: the runner's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Traffic without faults.
    #[default]
    Clean,
    /// Traffic and faults.
    Faults,
    /// All faults are taken back.
    Heal,
    /// Every node serves again.
    Recovered,
    /// Some node did not serve in time.
    NotRecovered,
    /// The run was cut short by whoever started it.
    Interrupted,
    /// Every key is read.
    Final,
    /// Nothing more will come.
    End,
}

impl Phase {
    /// Its name in the history.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Clean => "clean",
            Phase::Faults => "faults",
            Phase::Heal => "heal",
            Phase::Recovered => "recovered",
            Phase::NotRecovered => "not-recovered",
            Phase::Interrupted => "interrupted",
            Phase::Final => "final",
            Phase::End => "end",
        }
    }
}

/// What has happened so far, for the status line.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The stage.
    pub phase: Phase,
    /// Client operations with `ok`.
    pub ok: u64,
    /// With `fail`.
    pub fail: u64,
    /// With `info`.
    pub info: u64,
    /// Certain violations: what the check will find wrong whatever is still to come.
    pub anomalies: u64,
    /// The highest term that has a leader, and who that is.
    pub leader: Option<(NodeId, u64)>,
    /// Active faults in words, by number.
    pub faults: BTreeMap<u64, String>,
    /// Faults begun.
    pub faults_begun: u64,
    /// Faults that proved that they bit, per kind.
    pub bites: BTreeMap<&'static str, u64>,
}

/// Writes the history of one run.
#[derive(Debug)]
pub struct Journal {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writer: Writer<BufWriter<File>>,
    /// Time of the last event.
    time: u64,
    /// The first error of the file; nothing is written after it.
    failed: Option<WriteError>,
    live: Live,
    /// Who was first to say that it leads a term; nobody else may (Thesis §3.4).
    leaders: BTreeMap<u64, NodeId>,
    /// Until it cannot follow any more, which would be a defect of this program and is no reason to stop.
    watcher: Option<Watcher>,
}

impl Journal {
    /// Creates the file and writes its first line. Times are counted from `start`.
    pub fn create(path: &Path, header: &Header, start: Instant) -> Result<Journal, WriteError> {
        let writer = Writer::new(BufWriter::new(File::create_new(path)?), header)?;
        let state = State {
            writer,
            time: 0,
            failed: None,
            live: Live::default(),
            leaders: BTreeMap::new(),
            watcher: Watcher::new(header).ok(),
        };
        Ok(Journal { start, state: Mutex::new(state) })
    }

    /// A client is about to send its request. Returns the time.
    pub fn invoked(
        &self,
        process: u64,
        node: NodeId,
        operation: &Operation,
        request: Option<&str>,
    ) -> u64 {
        let mut event = Event::new(0, Process::Client(process), Kind::Invoke, operation.name());
        event.key = Some(operation.key().to_owned());
        event.value = operation.value();
        event.node = Some(node);
        event.request = request.map(str::to_owned);
        let mut state = self.lock();
        state.write(event, self.now());
        state.time
    }

    /// A client's request has come to an end.
    pub fn completed(
        &self,
        process: u64,
        operation: &Operation,
        request: Option<&str>,
        completion: Completion,
    ) {
        let kind = completion.kind;
        let mut event = Event::new(0, Process::Client(process), kind, operation.name());
        event.key = Some(operation.key().to_owned());
        event.value = completion.value;
        event.error = completion.error;
        event.node = completion.node;
        event.request = request.map(str::to_owned);
        event.log_index = completion.log_index;
        event.role = completion.role;
        event.term = completion.term;
        let mut state = self.lock();
        match kind {
            Kind::Ok => state.live.ok += 1,
            Kind::Fail => state.live.fail += 1,
            Kind::Info | Kind::Invoke => state.live.info += 1,
        }
        state.write(event, self.now());
    }

    /// The run enters a stage.
    pub fn phase(&self, phase: Phase) {
        self.phase_because(phase, None);
    }

    /// The run enters the stage in which it is clear that the cluster did not recover.
    pub fn not_recovered(&self, why: &str) {
        self.phase_because(Phase::NotRecovered, Some(why.to_owned()));
    }

    fn phase_because(&self, phase: Phase, why: Option<String>) {
        let mut event = Event::new(0, Process::Named("runner".to_owned()), Kind::Info, "phase");
        event.value = json!(phase.name());
        event.error = why;
        let mut state = self.lock();
        state.live.phase = phase;
        state.write(event, self.now());
    }

    /// What a node said of itself in the end.
    pub fn node_state(&self, node: NodeId, state: &NodeState) {
        self.told(format!("node-{node}"), "state", json!(state));
    }

    /// What a stopped node's files say.
    pub fn node_log(&self, node: NodeId, log: &NodeLog) {
        self.told(format!("node-{node}"), "log", json!(log));
    }

    /// A piece of the log that some node has committed.
    pub fn committed(&self, piece: &Committed) {
        self.told("runner".to_owned(), "committed", json!(piece));
    }

    fn told(&self, process: String, f: &str, value: Value) {
        let mut event = Event::new(0, Process::Named(process), Kind::Info, f);
        event.value = value;
        self.lock().write(event, self.now());
    }

    /// What has happened so far.
    pub fn live(&self) -> Live {
        self.lock().live.clone()
    }

    /// Brings the file up to date; the first error of any kind since the last call.
    pub fn flush(&self) -> Result<(), WriteError> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => state.writer.flush(),
        }
    }

    /// Nanoseconds since the start. To be called with the lock held: events' times then follow their order.
    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held is a defect; the history so far is what can still be saved.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl cluster::Recorder for Journal {
    fn record(&self, at: Instant, event: cluster::Event) {
        let mut line = Event::new(0, Process::Named(event.process()), Kind::Info, event.f());
        line.value = event.value();
        let mut state = self.lock();
        match &event {
            cluster::Event::Role { node, role, term, .. } if role == "leader" => {
                let leader = *state.leaders.entry(*term).or_insert(*node);
                state.live.anomalies += u64::from(leader != *node);
                if state.live.leader.is_none_or(|(_, known)| *term > known) {
                    state.live.leader = Some((*node, *term));
                }
            }
            cluster::Event::Fault { f, fault } => state.live.fault(f, fault),
            // No correct node does either.
            cluster::Event::Panic { .. } => state.live.anomalies += 1,
            cluster::Event::Exit { exit, .. } if !exit.expected => state.live.anomalies += 1,
            cluster::Event::Role { .. }
            | cluster::Event::Start { .. }
            // Whether anybody has damaged its disk is for the checks to say.
            | cluster::Event::Damaged { .. }
            | cluster::Event::Exit { .. } => {}
        }
        state.write(line, nanoseconds(at.saturating_duration_since(self.start)));
    }
}

impl State {
    /// Appends an event that happened at `time`; something later may have been taken down in the meantime.
    fn write(&mut self, mut event: Event, time: u64) {
        self.time = self.time.max(time);
        event.time = self.time;
        match self.watcher.as_mut().map(|watcher| watcher.add(&event)) {
            Some(Ok(found)) => self.live.anomalies += u64::from(found.is_some()),
            Some(Err(_)) => self.watcher = None,
            None => {}
        }
        if let Err(error) = self.writer.write(event) {
            self.failed.get_or_insert(error);
        }
    }
}

impl Live {
    fn fault(&mut self, kind: &'static str, fault: &Fault) {
        if fault.phase == "start" {
            if !fault.outcome.starts_with("skipped") {
                self.faults.insert(fault.fault, fault.text.clone());
                self.faults_begun += 1;
            }
        } else {
            self.faults.remove(&fault.fault);
            *self.bites.entry(kind).or_default() += u64::from(fault.proof > 0);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use history_checker::history::Exit;

    use super::*;
    use crate::cluster::{Event as ClusterEvent, Recorder};

    #[test]
    fn nodes_that_do_what_no_correct_node_does_are_anomalies() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let header = Header { workload: "w".into(), model: "register".into(), ..Header::default() };
        let journal = Journal::create(&dir.path().join("history"), &header, start).unwrap();
        let after = |event: ClusterEvent| {
            journal.record(start, event);
            journal.live().anomalies
        };
        let leads = |node, term| ClusterEvent::Role {
            is_asked: false,
            node,
            role: "leader".to_owned(),
            term,
            leader: Some(node),
        };
        let exit =
            |expected| ClusterEvent::Exit { node: 1, exit: Exit { expected, ..Exit::default() } };
        assert_eq!([leads(1, 4), leads(1, 4), leads(2, 5), exit(true)].map(after), [0; 4]);
        let panic = ClusterEvent::Panic { node: 1, line: "panicked at".to_owned() };
        assert_eq!([leads(3, 4), exit(false), panic].map(after), [1, 2, 3]);
    }
}
