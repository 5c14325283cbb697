//! The clients: sessions, retries through any node, and the history of what they saw.

use std::collections::BTreeMap;

use history_checker::history::{Event, Header, History, Kind as Completed, Process};
use history_checker::results::Verdict;
use history_checker::{Options, check};
use raft_core::effects::{Outcome, Token};
use raft_core::kv::{Command, Op, Refusal, RequestId};
use raft_core::node::Input;
use raft_core::types::{Index, NodeId};
use serde_json::{Value, json};

use super::plan::{ClientOperation, Kind, MS, Plan};
use super::rng::{Micros, Rng};
use super::safety::Asked;
use super::violation::Violation;
use super::world::{Happening, Slot, World, say};
use crate::client::{TOKEN_END, read_value};
use crate::workload::{Object, Operation};

/// All clients, and what they saw.
#[derive(Debug)]
pub(super) struct Clients {
    model: Object,
    sessions: Vec<Client>,
    pub(super) operations: Vec<Running>,
    /// Which operation and attempt a question stands for.
    tokens: BTreeMap<Token, (usize, u64)>,
    last_token: Token,
    last_process: u64,
    events: Vec<Event>,
}

/// A client: one session at a time, any number of requests in flight.
#[derive(Debug, Default)]
struct Client {
    name: String,
    /// How many names it has had.
    sessions: u64,
    last_seq: u64,
    /// Sequence numbers of this session that it may still repeat.
    in_flight: BTreeMap<u64, usize>,
    /// Highest index in an answer.
    seen: Index,
    /// The value that it last saw at a key.
    values: BTreeMap<String, Option<String>>,
    /// Processes of the history that have nothing to do.
    idle: Vec<u64>,
}

/// An operation under way, or done.
#[derive(Debug)]
pub(super) struct Running {
    client: usize,
    kind: Kind,
    operation: Operation,
    /// Writes: the request's name, and what it asks for.
    write: Option<(RequestId, Op)>,
    process: u64,
    /// The only node to ask.
    pinned: Option<NodeId>,
    /// Whom to ask next.
    hint: Option<NodeId>,
    attempts: u64,
    /// A request may have taken effect without an answer.
    uncertain: bool,
    pub(super) state: State,
    rng: Rng,
}

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Ok,
    Fail,
    Info,
}

impl Clients {
    pub(super) fn new(plan: &Plan) -> Clients {
        Clients {
            model: plan.model,
            sessions: (0..plan.knobs.clients).map(|_| Client::default()).collect(),
            operations: Vec::new(),
            tokens: BTreeMap::new(),
            last_token: 0,
            last_process: 0,
            events: Vec::new(),
        }
    }

    pub(super) fn next_token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }

    fn process(&mut self, client: usize) -> u64 {
        self.sessions[client].idle.pop().unwrap_or_else(|| {
            self.last_process += 1;
            self.last_process
        })
    }

    fn record(&mut self, now: Micros, mut event: Event) {
        event.index = u64::try_from(self.events.len()).expect("memory is smaller");
        event.time = now * 1_000;
        self.events.push(event);
    }

    /// A stage of the run begins.
    pub(super) fn phase(&mut self, now: Micros, name: &str) {
        let runner = Process::Named("runner".to_owned());
        let mut event = Event::new(0, runner, Completed::Info, "phase");
        event.value = json!(name);
        self.record(now, event);
    }

    /// Holds the history to its model. `None`: too little happened to tell.
    pub(super) fn judge(&mut self, plan: &Plan) -> Result<Option<()>, Violation> {
        let header = Header {
            history: history_checker::history::FORMAT,
            workload: "sim".to_owned(),
            model: self.model.name().to_owned(),
            seed: plan.seed,
            nodes: plan.nodes,
            ..Header::default()
        };
        let history = History::new(header, std::mem::take(&mut self.events))
            .map_err(|error| Violation::new("the history is well formed", error.to_string()))?;
        let results = check(&history, &Options { violations_max: 1, ..Options::default() });
        match results.verdict {
            Verdict::Valid => Ok(Some(())),
            Verdict::Unknown => Ok(None),
            Verdict::Invalid => {
                let found = results.checks.iter().find_map(|check| check.violations.first());
                let evidence = found.map_or(String::new(), |found| found.explanation.clone());
                let promise = found.map_or("history", |found| found.class.as_str());
                let headline = &results.headline;
                Err(Violation::new(format!("history: {promise}"), format!("{headline} {evidence}")))
            }
        }
    }
}

impl Client {
    /// Everything below has been answered, or will not be repeated.
    fn ack(&self) -> u64 {
        self.in_flight.first_key_value().map_or(self.last_seq + 1, |(&seq, _)| seq)
    }

    /// Takes a name that nobody ever had, born at what it has seen.
    fn renew(&mut self, number: usize) {
        self.sessions += 1;
        self.name = format!("c{number}.{}@{}", self.sessions, self.seen);
        self.last_seq = 0;
        self.in_flight.clear();
    }
}

impl World<'_> {
    /// A client begins what the plan says.
    pub(super) fn operate(&mut self, number: u64, what: &ClientOperation) {
        let (key, value) = (format!("k{}", what.key), format!("{}-{number}", what.client));
        let client = &self.clients.sessions[what.client];
        let operation = match what.kind {
            Kind::Write => Operation::Write { key, value },
            Kind::Cas => {
                let expect = client.values.get(&key).cloned().flatten();
                Operation::Cas { key, expect, value }
            }
            Kind::Append => Operation::Append { key, token: value },
            Kind::Incr => Operation::Incr { key, by: 1 + (what.draw % 5).cast_signed() },
            Kind::Read | Kind::LeaseRead | Kind::StaleRead => Operation::Read { key },
        };
        let rng = Rng::stream(what.draw, &[4]);
        let timeout = self.plan.knobs.operation_timeout;
        self.begin(what.client, what.kind, operation, None, timeout, rng);
    }

    /// Begins an operation; tells its number.
    pub(super) fn begin(
        &mut self,
        client: usize,
        kind: Kind,
        operation: Operation,
        pinned: Option<NodeId>,
        timeout: Micros,
        rng: Rng,
    ) -> usize {
        let number = self.clients.operations.len();
        let process = self.clients.process(client);
        let write = op(&operation).map(|op| (self.name_request(client, number), op));
        let running = Running {
            client,
            kind,
            operation,
            write,
            process,
            pinned,
            hint: pinned,
            attempts: 0,
            uncertain: false,
            state: State::Open,
            rng,
        };
        if kind != Kind::StaleRead {
            let event = running.event(Completed::Invoke, running.operation.value());
            self.clients.record(self.now, event);
        }
        say!(self, "client {client} begins #{number}: {kind:?} {}", running.words());
        self.clients.operations.push(running);
        self.after(timeout, Happening::GiveUp { operation: number });
        self.attempt(number);
        number
    }

    fn name_request(&mut self, client: usize, number: usize) -> RequestId {
        let most = self.plan.knobs.requests_per_session;
        let this = &mut self.clients.sessions[client];
        if this.name.is_empty() || this.last_seq >= most {
            this.renew(client);
        }
        this.last_seq += 1;
        this.in_flight.insert(this.last_seq, number);
        RequestId { client: this.name.clone(), seq: this.last_seq }
    }

    /// Asks a node, once.
    pub(super) fn attempt(&mut self, operation: usize) {
        let hosts = u64::try_from(self.hosts.len()).expect("few nodes");
        let healing = self.healing.since.is_some();
        let running = &mut self.clients.operations[operation];
        if running.state != State::Open {
            return;
        }
        running.attempts += 1;
        let attempt = running.attempts;
        let anyone = running.rng.between(1, hosts);
        let node = running.pinned.or(running.hint.take()).unwrap_or(anyone);
        let loss = if healing { 0 } else { self.plan.knobs.client_loss };
        let (lost, delay) = (running.rng.chance(loss), running.rng.between(MS / 10, 5 * MS));
        if lost {
            self.tally.count("requests lost");
        } else {
            self.after(delay, Happening::Ask { operation, attempt, node });
        }
        let patience = self.plan.knobs.attempt_timeout;
        self.after(patience, Happening::Silence { operation, attempt });
    }

    /// A request reaches its node.
    pub(super) fn ask(
        &mut self,
        operation: usize,
        attempt: u64,
        node: NodeId,
    ) -> Result<(), Violation> {
        let slot = Self::slot(node);
        if !self.hosts[slot].is_up() {
            let told = Happening::Told { operation, attempt, node, outcome: None };
            self.after(MS, told);
            return Ok(());
        }
        let token = self.clients.next_token();
        self.clients.tokens.insert(token, (operation, attempt));
        let running = &self.clients.operations[operation];
        let (client, key) =
            (&self.clients.sessions[running.client], running.operation.key().to_owned());
        if attempt > 1 {
            self.tally.count("requests repeated");
        }
        let (asked, input) = match (&running.write, running.kind) {
            (Some((request, op)), _) => {
                // A name that the client has given up says nothing about the requests of the next one.
                let ack = if request.client == client.name { client.ack() } else { 0 };
                let command = Command { request: request.clone(), ack, op: op.clone() };
                let asked = self.safety.on_write_request(request);
                (asked, Input::Propose { token, command })
            }
            (None, Kind::StaleRead) => {
                let at_least = client.seen;
                let asked = Asked::Read { key: key.clone(), at_least, linearizable: false };
                (asked, Input::StaleRead { token, key, at_least })
            }
            (None, Kind::LeaseRead) => {
                (self.safety.on_read_request(key.clone()), Input::LeaseRead { token, key })
            }
            (None, _) => (self.safety.on_read_request(key.clone()), Input::Read { token, key }),
        };
        self.asking.insert(token, (slot, self.hosts[slot].life, asked));
        say!(self, "{} is asked #{operation}, attempt {attempt}", self.status(slot));
        self.input(slot, input)
    }

    /// A node answers a client; the answer may get lost.
    pub(super) fn on_answer(&mut self, token: Token, slot: Slot, outcome: Outcome) {
        let Some((operation, attempt)) = self.clients.tokens.remove(&token) else { return };
        let loss = if self.healing.since.is_some() { 0 } else { self.plan.knobs.client_loss };
        let running = &mut self.clients.operations[operation];
        let (lost, delay) = (running.rng.chance(loss), running.rng.between(MS / 10, 5 * MS));
        if lost {
            self.tally.count("answers lost");
            return;
        }
        let (node, outcome) = (self.hosts[slot].id, Some(outcome));
        self.after(delay, Happening::Told { operation, attempt, node, outcome });
    }

    /// No answer has come for too long.
    pub(super) fn silence(&mut self, operation: usize, attempt: u64) {
        let running = &mut self.clients.operations[operation];
        if running.state == State::Open && running.attempts == attempt {
            running.uncertain |= running.write.is_some();
            self.attempt(operation);
        }
    }

    /// The client has waited long enough for the operation as a whole.
    pub(super) fn give_up(&mut self, operation: usize) {
        let running = &mut self.clients.operations[operation];
        if running.state != State::Open {
            return;
        }
        // The latest attempt is under way still.
        let state = if running.write.is_some() { State::Info } else { State::Fail };
        let value = running.operation.value();
        self.complete(operation, state, value, None, Some("timeout"));
    }

    /// An answer reaches its client.
    pub(super) fn told(
        &mut self,
        operation: usize,
        attempt: u64,
        node: NodeId,
        outcome: Option<Outcome>,
    ) {
        let running = &mut self.clients.operations[operation];
        if running.state != State::Open {
            return;
        }
        match outcome {
            Some(Outcome::Written(written)) => self.on_written(operation, written),
            Some(Outcome::Read { value, index }) => {
                let (client, key) = (running.client, running.operation.key().to_owned());
                let read = read_value(self.clients.model, value.clone());
                self.clients.sessions[client].values.insert(key, value);
                self.complete(operation, State::Ok, read, Some(index), None);
            }
            Some(Outcome::LeadershipLost) => {
                running.uncertain = true;
                self.try_again(operation, attempt, None, node);
            }
            Some(Outcome::NotLeader { leader }) => {
                self.try_again(operation, attempt, leader, node);
            }
            Some(Outcome::Transferring { to }) => {
                self.try_again(operation, attempt, Some(to), node);
            }
            _ => self.try_again(operation, attempt, None, node),
        }
    }

    fn try_again(&mut self, operation: usize, attempt: u64, hint: Option<NodeId>, node: NodeId) {
        let running = &mut self.clients.operations[operation];
        if running.attempts != attempt {
            return;
        }
        running.hint = hint.filter(|&hint| hint != node);
        // Nothing is under way: the patience with this attempt has come to an end.
        running.attempts += 1;
        let delay = running.rng.between(5 * MS, 100 * MS);
        self.after(delay, Happening::Again { operation });
    }

    fn on_written(&mut self, operation: usize, written: raft_core::kv::Written) {
        let running = &self.clients.operations[operation];
        let (client, index) = (running.client, Some(written.index));
        let value = running.operation.value();
        match written.result {
            Ok(raft_core::kv::Output::Number(sum)) => {
                self.complete(operation, State::Ok, json!(sum), index, None);
            }
            Ok(_) => {
                let (key, new) = (running.operation.key().to_owned(), running.written_value());
                self.clients.sessions[client].values.insert(key, new);
                self.complete(operation, State::Ok, value, index, None);
            }
            Err(Refusal::Mismatch { actual }) => {
                let found = json!({ "actual": actual });
                let key = running.operation.key().to_owned();
                self.clients.sessions[client].values.insert(key, actual);
                self.complete(operation, State::Fail, found, index, Some("mismatch"));
            }
            Err(Refusal::Expired) => {
                self.tally.count("sessions found expired");
                let certain = !running.uncertain && running.attempts == 1;
                let state = if certain { State::Fail } else { State::Info };
                self.complete(operation, state, value, index, Some("expired"));
                self.clients.sessions[client].renew(client);
            }
            Err(refusal) => {
                let why = format!("{refusal:?}");
                self.complete(operation, State::Fail, value, index, Some(&why));
            }
        }
    }

    fn complete(
        &mut self,
        operation: usize,
        state: State,
        value: Value,
        index: Option<Index>,
        error: Option<&str>,
    ) {
        let running = &mut self.clients.operations[operation];
        running.state = state;
        let (kind, count) = match state {
            State::Ok => (Completed::Ok, "operations ok"),
            State::Fail => (Completed::Fail, "operations failed"),
            State::Info | State::Open => (Completed::Info, "operations of unknown outcome"),
        };
        let mut event = running.event(kind, value);
        event.log_index = index;
        event.error = error.map(str::to_owned);
        say!(self, "client {} ends #{operation}: {state:?} {}", event.process, event.value);
        let running = &self.clients.operations[operation];
        let client = &mut self.clients.sessions[running.client];
        client.seen = client.seen.max(index.unwrap_or(0));
        if let Some((request, _)) = &running.write
            && request.client == client.name
        {
            client.in_flight.remove(&request.seq);
        }
        if state != State::Info {
            client.idle.push(running.process);
        }
        self.tally.count(count);
        if running.kind != Kind::StaleRead {
            self.clients.record(self.now, event);
        }
    }
}

impl Running {
    fn event(&self, kind: Completed, value: Value) -> Event {
        let process = Process::Client(self.process);
        let mut event = Event::new(0, process, kind, self.operation.name());
        event.key = Some(self.operation.key().to_owned());
        event.value = value;
        event.request = self.write.as_ref().map(|(request, _)| request.to_string());
        event
    }

    fn words(&self) -> String {
        match &self.write {
            Some((request, op)) => format!("{request} {op}"),
            None => self.operation.key().to_owned(),
        }
    }

    /// What the key holds after a write that says nothing of it.
    fn written_value(&self) -> Option<String> {
        if let Operation::Write { value, .. } | Operation::Cas { value, .. } = &self.operation {
            Some(value.clone())
        } else {
            None
        }
    }
}

/// What an operation writes.
fn op(operation: &Operation) -> Option<Op> {
    Some(match operation.clone() {
        Operation::Write { key, value } => Op::Put { key, value },
        Operation::Cas { key, expect, value } => Op::Cas { key, expect, value },
        Operation::Append { key, token } => {
            Op::Append { key, value: format!("{token}{TOKEN_END}") }
        }
        Operation::Incr { key, by } => Op::Incr { key, by },
        // But for reads, the simulator draws none of these.
        Operation::Read { .. }
        | Operation::Add { .. }
        | Operation::Txn { .. }
        | Operation::Enqueue { .. }
        | Operation::Dequeue { .. }
        | Operation::Acquire { .. }
        | Operation::Release { .. } => return None,
    })
}
