//! Made-up result directories: what a run would have left behind, without running anything.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// Wall-clock time at which made-up runs begin, seconds since 1970: 2025-11-20T17:42:11Z.
const STARTED_SECONDS: u64 = 1_763_660_531;

/// A history being made up; events may be added in any order of time.
#[derive(Default)]
pub(crate) struct History {
    header: Value,
    events: Vec<(u64, Value)>,
}

/// Names an event before its index is known.
#[derive(Clone, Copy)]
pub(crate) struct Handle(usize);

/// The indexes that events got when they were written.
pub(crate) struct Indexes(Vec<u64>);

impl Indexes {
    pub(crate) fn of(&self, event: Handle) -> u64 {
        self.0[event.0]
    }
}

impl History {
    pub(crate) fn new(header: Value) -> History {
        History { header, events: Vec::new() }
    }

    /// Adds an event; `rest` holds its other fields.
    pub(crate) fn event(
        &mut self,
        time: u64,
        process: impl Into<Value>,
        kind: &str,
        f: &str,
        rest: &Value,
    ) -> Handle {
        let mut event = json!({ "index": 0, "time": time, "process": process.into(), "type": kind, "f": f, "value": null });
        for (name, value) in rest.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        self.events.push((time, event));
        Handle(self.events.len() - 1)
    }

    /// The lines, and each event's index by handle.
    fn lines(&self) -> (String, Vec<u64>) {
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_by_key(|place| self.events[*place].0);
        let mut text = format!("{}\n", self.header);
        let mut indexes = vec![0; self.events.len()];
        for (index, place) in (0_u64..).zip(order) {
            let mut event = self.events[place].1.clone();
            event["index"] = index.into();
            indexes[place] = index;
            writeln!(text, "{event}").unwrap();
        }
        (text, indexes)
    }

    /// Writes `history.jsonl`.
    pub(crate) fn write(&self, dir: &Path) -> Indexes {
        let (text, indexes) = self.lines();
        fs::write(dir.join("history.jsonl"), text).unwrap();
        Indexes(indexes)
    }
}

/// The header of a made-up run.
pub(crate) fn header(workload: &str, seed: u64) -> Value {
    json!({
        "history": 1, "workload": workload, "model": "register", "seed": seed, "nodes": 5, "consistency": "linearizable",
        "expected": "valid", "minima": { "ok": 1000 },
    })
}

/// A `results.json` with nothing but verdicts.
pub(crate) fn results(verdict: &str, headline: &str, checks: &Value) -> Value {
    json!({
        "verdict": verdict, "headline": headline, "checks": checks,
        "counts": {
            "invoked": 0, "ok": 0, "fail": 0, "info": 0, "ok_by_f": {}, "faults": {}, "faults_without_proof": {},
            "leader_changes": 0, "keys": 0, "duration": 0,
        },
        "started": "2025-11-20T17:42:11Z",
        "command_line": ["harness", "run", "register", "--time-limit", "30s", "--seed", "1"],
        "versions": { "harness": "0.0.0", "raftd": "0.0.0" },
    })
}

/// The checks of a run in which all went well.
pub(crate) fn good_checks() -> Value {
    json!([
        { "name": "linearizable", "verdict": "valid", "summary": "each of 14 keys is linearizable: 23,418 operations, 0 keys capped" },
        { "name": "stale-reads", "verdict": "valid", "summary": "none of 11,702 reads missed a write that was acknowledged before" },
        { "name": "coverage", "verdict": "valid", "summary": "enough happened: 23,418 ok, 6 leader changes, every fault kind bit" },
        { "name": "nodes", "verdict": "valid", "summary": "no panic and no unexpected exit in 5 logs" },
    ])
}

/// An empty result directory that outlives the test, so that a person can look at the page.
pub(crate) fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A run that looks like a real one: five nodes, faults of every kind, leaders that fall, clients that notice.
pub(crate) struct Story {
    pub(crate) history: History,
    /// Texts of all faults.
    pub(crate) faults: Vec<String>,
    /// Log lines by node.
    logs: Vec<String>,
    rng: SmallRng,
    end: u64,
    /// Spans of time without a leader.
    gaps: Vec<(u64, u64)>,
    /// Spans of time in which a node does not answer.
    silent: Vec<(u64, u64, u64)>,
    leader: (u64, u64),
}

impl Story {
    pub(crate) fn tell(
        header: Value,
        seed: u64,
        seconds: u64,
        workers: u64,
        pause_us: u64,
    ) -> Story {
        let mut story = Story {
            history: History::new(header),
            faults: Vec::new(),
            logs: vec![String::new(); 5],
            rng: SmallRng::seed_from_u64(seed),
            end: seconds * 1000 * MS,
            gaps: vec![(0, 420 * MS)],
            silent: Vec::new(),
            leader: (0, 0),
        };
        story.beginning();
        story.trouble();
        for worker in 0..workers {
            story.client(worker, workers, pause_us);
        }
        story
    }

    /// Writes all files of the run, but for `results.json`.
    pub(crate) fn write(&self, dir: &Path) -> Indexes {
        for (place, log) in self.logs.iter().enumerate() {
            let node = dir.join("nodes").join((place + 1).to_string());
            fs::create_dir_all(node.join("data")).unwrap();
            let mut lines: Vec<&str> = log.lines().collect();
            lines.sort_unstable();
            fs::write(node.join("stderr"), lines.join("\n") + "\n").unwrap();
            fs::write(node.join("stdout"), "").unwrap();
        }
        fs::write(dir.join("schedule.jsonl"), "{}\n").unwrap();
        self.history.write(dir)
    }

    pub(crate) fn log(&mut self, node: u64, time: u64, level: &str, fields: &Value) {
        let micros = time / 1000;
        let line = json!({
            "timestamp": format!("{}.{:06}Z", clock(STARTED_SECONDS + micros / 1_000_000), micros % 1_000_000),
            "level": level, "fields": fields, "target": "raftd::server",
        });
        let place = usize::try_from(node - 1).unwrap();
        writeln!(self.logs[place], "{line}").unwrap();
    }

    fn role(&mut self, node: u64, time: u64, role: &str, term: u64) {
        let leader = if role == "leader" { Some(node) } else { None };
        let value = json!({ "value": { "role": role, "term": term, "leader": leader } });
        self.history.event(time + 2 * MS, format!("node-{node}"), "info", "role", &value);
        self.log(
            node,
            time,
            "INFO",
            &json!({ "message": "role changed", "role": role, "term": term }),
        );
    }

    fn elect(&mut self, node: u64, time: u64) {
        let term = self.leader.1 + 1;
        self.role(node, time.saturating_sub(18 * MS), "candidate", term);
        self.role(node, time, "leader", term);
        for other in (1..=5).filter(|other| *other != node) {
            let unreachable =
                self.silent.iter().any(|(n, from, to)| *n == other && (*from..*to).contains(&time));
            if !unreachable {
                self.role(other, time + 3 * MS, "follower", term);
            }
        }
        self.leader = (node, term);
    }

    fn phase(&mut self, time: u64, name: &str) {
        self.history.event(time, "runner", "info", "phase", &json!({ "value": name }));
    }

    fn beginning(&mut self) {
        for node in 1..=5 {
            let time = (20 + node * 11) * MS;
            self.history.event(
                time,
                format!("node-{node}"),
                "info",
                "start",
                &json!({ "value": { "pid": 4000 + node } }),
            );
            self.log(
                node,
                time,
                "INFO",
                &json!({ "message": "listening", "peer": "127.0.0.1:41003" }),
            );
        }
        self.elect(3, 400 * MS);
        self.phase(430 * MS, "clean");
        self.phase(3_500 * MS, "faults");
        self.phase(self.end - 3_500 * MS, "heal");
        self.phase(self.end - 2_900 * MS, "recovered");
        self.phase(self.end - 2_800 * MS, "final");
        self.phase(self.end, "end");
    }

    /// Faults one after the other, some at the same time.
    fn trouble(&mut self) {
        const KINDS: [&str; 9] = [
            "kill",
            "pause",
            "isolate-leader",
            "halves",
            "block-client",
            "one-way",
            "bridge",
            "isolate-one",
            "ring",
        ];
        let mut time = 3_600 * MS;
        let mut number = 0;
        while time + 4_500 * MS < self.end {
            let kind = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
            let lasts = self.rng.random_range(700..2_400) * MS;
            let at_leader = kind == "isolate-leader" || self.rng.random_bool(0.45);
            let node = if at_leader { self.leader.0 } else { self.leader.0 % 5 + 1 };
            self.fault(number, kind, node, time, lasts);
            time += lasts + self.rng.random_range(0..1_100) * MS - 150 * MS.min(lasts);
            number += 1;
        }
        let value = json!({ "phase": "start", "fault": number, "nodes": [], "text": "ring", "outcome": "skipped: two nodes are down already" });
        self.history.event(
            time.min(self.end - MS),
            "nemesis",
            "info",
            "ring",
            &json!({ "value": value }),
        );
    }

    fn fault(&mut self, number: u64, kind: &str, node: u64, from: u64, lasts: u64) {
        let to = from + lasts;
        let (text, nodes, proof, unit) = match kind {
            "kill" => (format!("kill n{node}"), vec![node], 1, "processes killed"),
            "pause" => (format!("pause n{node}"), vec![node], lasts / MS, "ms stopped"),
            "block-client" => (
                format!("block clients of n{node}"),
                vec![node],
                lasts / MS / 9,
                "connections refused",
            ),
            "halves" => (
                format!("partition {{n{node}, n{}}} from the rest", node % 5 + 1),
                vec![node, node % 5 + 1],
                lasts / 700,
                "bytes dropped",
            ),
            _ => (format!("{kind} n{node}"), vec![node], lasts / 900, "bytes dropped"),
        };
        let text = format!("{text} (fault {number})");
        self.faults.push(text.clone());
        let mut value = json!({ "phase": "start", "fault": number, "nodes": nodes, "text": text, "outcome": "installed" });
        self.history.event(from, "nemesis", "info", kind, &json!({ "value": value }));
        value["phase"] = "stop".into();
        value["proof"] = proof.into();
        value["unit"] = unit.into();
        self.history.event(to, "nemesis", "info", kind, &json!({ "value": value }));
        for node in nodes {
            self.silent.push((node, from, to));
        }
        if kind == "kill" {
            let name = format!("node-{node}");
            self.history.event(
                from + 3 * MS,
                name.clone(),
                "info",
                "exit",
                &json!({ "value": { "expected": true, "how": "signal 9" } }),
            );
            self.history.event(
                to,
                name,
                "info",
                "start",
                &json!({ "value": { "pid": 5000 + number } }),
            );
        }
        if node == self.leader.0 && !["block-client", "bridge"].contains(&kind) {
            let elected = from + self.rng.random_range(260..700) * MS;
            self.gaps.push((from, elected));
            self.elect(node % 5 + 1, elected);
            self.role(node, to.max(elected) + 30 * MS, "follower", self.leader.1);
        } else if kind == "kill" {
            self.role(node, to + 60 * MS, "follower", self.leader.1);
        }
    }

    /// One worker that reads and writes as fast as it may.
    fn client(&mut self, worker: u64, workers: u64, pause_us: u64) {
        let mut process = worker;
        let mut time = 440 * MS + worker * MS;
        let mut sequence = 0;
        while time < self.end - 20 * MS {
            sequence += 1;
            let node = worker % 5 + 1;
            let key = format!("k{}", self.rng.random_range(0..14));
            let (f, wanted) = if self.rng.random_bool(0.5) {
                ("read", Value::Null)
            } else {
                ("write", json!(format!("{process}-{sequence}")))
            };
            let fields = json!({ "key": key, "value": wanted, "node": node, "request": format!("c{process}@0:{sequence}") });
            self.history.event(time, process, "invoke", f, &fields);
            let (took, kind, error) = self.outcome(time, node, f);
            let mut fields = fields;
            if kind == "ok" {
                fields["log_index"] = (time / (900 * MS / 1000)).into();
                if f == "read" {
                    fields["value"] = json!(format!("{}-{}", process, sequence.max(2) - 1));
                }
            } else {
                fields["error"] = error.into();
            }
            time = (time + took).min(self.end - MS);
            self.history.event(time, process, kind, f, &fields);
            if kind == "info" {
                process += workers;
            }
            time += self.rng.random_range(pause_us / 2..pause_us * 3 / 2) * 1000;
        }
    }

    fn outcome(&mut self, time: u64, node: u64, f: &str) -> (u64, &'static str, &'static str) {
        let usual = self.rng.random_range(0.0_f64..1.0);
        let usual_us = 900.0 + 900.0 / (1.02 - usual);
        let usual = duration(usual_us * 1000.0);
        let inside = |from: u64, to: u64| (from..to).contains(&time);
        if let Some((_, _, to)) =
            self.silent.iter().find(|(n, from, to)| *n == node && inside(*from, *to))
        {
            let left = to - time;
            return match (left > 1000 * MS, f) {
                (false, _) => (left + usual, "ok", ""),
                (true, "read") => (1000 * MS, "fail", "timeout: no answer in 1 s"),
                (true, _) if self.rng.random_bool(0.3) => (MS, "fail", "connection refused"),
                (true, _) => (1000 * MS, "info", "timeout: no answer in 1 s"),
            };
        }
        if let Some((_, to)) = self.gaps.iter().find(|(from, to)| inside(*from, *to)) {
            return (to - time + usual, "ok", "");
        }
        if self.rng.random_bool(0.001) {
            (usual, "fail", "not_leader: n2 does not lead")
        } else {
            (usual, "ok", "")
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a latency, positive and small"
)]
fn duration(ns: f64) -> u64 {
    ns as u64
}

/// `2025-11-20T17:42:11`, for times of that day.
fn clock(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    format!("2025-11-20T{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}
