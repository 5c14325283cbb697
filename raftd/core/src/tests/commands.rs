//! The commands of scripts.
//!
//! | command | what happens |
//! |---|---|
//! | `cluster nodes=N [inflight=N] [append-bytes=N] [uncommitted-bytes=N]` | all nodes start with empty disks |
//! | `disk N [term=T] [vote=V] [log=I@T,…]` | N restarts with a disk that an earlier life left |
//! | `timeout N` | N's clock moves to when N wants to be woken |
//! | `elect N` | N times out, everything is delivered and synced |
//! | `lead N with A B…` | N is elected with the votes of A, B…; all its requests to others get lost |
//! | `pass TIME [N]` | all clocks (or N's) move; nobody is woken |
//! | `run TIME` | time passes for all; everything is delivered and synced at once |
//! | `deliver WHICH`, `drop WHICH`, `duplicate WHICH` | messages in flight: see below |
//! | `stabilize` | everything is delivered and synced until all are quiet; no time passes |
//! | `sync N [COUNT]` | N's oldest pending writes (or all) become durable |
//! | `crash N [keep=COUNT]`, `restart N` | power loss; the first COUNT unsynced records happen to survive |
//! | `propose N CLIENT:SEQ OP… [ack=A]` | a client's write at N |
//! | `read N KEY`, `stale-read N KEY` | a client's read at N |
//! | `cut A->B`, `isolate N`, `heal` | links lose everything, or work again |
//! | `inject A->B KIND FIELD=…` | a hand-made message arrives |
//! | `status [N]`, `log N`, `network` | what is |
//! | `quietly COMMAND…` | as the command, printing answers only |
//!
//! WHICH: `A->B` with `*` for any node, then optionally a kind of message, then optionally `newest` instead of the
//! oldest, or `all` (of those that are in flight now), or `together` (all, in one step of their receiver).

use std::fmt::Write as _;

use super::cluster::{Cluster, options};
use super::disk::Contents;
use super::notation;
use crate::effects::Role;
use crate::kv::{Command, Op};
use crate::message::{Envelope, Message};
use crate::node::{Input, Node};
use crate::types::{Entry, NodeId, Payload, Time};

/// Where a script plays.
#[derive(Debug, Default)]
pub(super) struct Stage {
    cluster: Option<Cluster>,
}

impl Stage {
    /// Runs one command; tells what it prints.
    pub(super) fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (quietly, words) = match words.as_slice() {
            ["quietly", rest @ ..] => (true, rest),
            all => (false, all),
        };
        if let ["cluster", settings @ ..] = words {
            self.cluster = Some(new_cluster(settings));
            return String::new();
        }
        let cluster = self.cluster.as_mut().expect("the first command is `cluster`");
        cluster.trace = Some(Vec::new());
        let printed = self.command(words);
        let trace = self.cluster().trace.take().expect("set above");
        let traced = trace.iter().filter(|line| !quietly || line.contains(" answers "));
        notation::list(traced.map(|line| format!("{line}\n")), "") + &printed
    }

    /// What the command has printed when it panicked.
    pub(super) fn output_so_far(&self) -> String {
        let trace = self.cluster.as_ref().and_then(|cluster| cluster.trace.as_ref());
        trace.map_or(String::new(), |lines| lines.join("\n"))
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("the first command is `cluster`")
    }

    fn command(&mut self, words: &[&str]) -> String {
        match words {
            ["disk", id, fields @ ..] => self.cluster().set_disk(node(id), contents(fields)),
            ["timeout", id] => self.cluster().time_out(node(id)),
            ["elect", id] => {
                self.cluster().time_out(node(id));
                self.cluster().stabilize();
            }
            ["lead", id, "with", voters @ ..] => self.lead(node(id), voters),
            ["pass", duration] => self.cluster().pass(time(duration)),
            ["pass", duration, id] => self.cluster().member_mut(node(id)).clock += time(duration),
            ["run", duration] => self.cluster().run_for(time(duration)),
            ["deliver" | "drop" | "duplicate", which @ ..] => self.messages(words[0], which),
            ["stabilize"] => self.cluster().stabilize(),
            ["sync", id] => self.cluster().sync(node(id), usize::MAX),
            ["sync", id, count] => self.cluster().sync(node(id), number(count)),
            ["crash", id] => self.crash(node(id), 0),
            ["crash", id, keep] => self.crash(node(id), setting(keep, "keep")),
            ["restart", id] => self.restart(node(id)),
            ["propose", id, request, op @ ..] => self.propose(node(id), request, op),
            ["read", id, key] => self.read(node(id), key, false),
            ["stale-read", id, key] => self.read(node(id), key, true),
            ["cut", link] => {
                let (from, to) = notation::parse_link(link).expect("a link like 1->2");
                self.cluster().cut(from, to);
            }
            ["isolate", id] => self.isolate(node(id)),
            ["heal"] => self.cluster().heal(),
            ["inject", envelope @ ..] => self.inject(envelope),
            ["status"] => return self.cluster().ids().map(|id| self.status(id)).collect(),
            ["status", id] => return self.status(node(id)),
            ["log", id] => return self.log(node(id)),
            ["network"] => return self.network(),
            _ => panic!("unknown command"),
        }
        String::new()
    }

    fn lead(&mut self, id: NodeId, voters: &[&str]) {
        let cluster = self.cluster();
        cluster.time_out(id);
        let leads = |cluster: &Cluster| cluster.node(id).map(Node::role) == Some(Role::Leader);
        for _pre_vote_then_vote in 0..2 {
            cluster.sync(id, usize::MAX);
            for voter in voters.iter().map(|voter| node(voter)) {
                let between = |envelope: &Envelope| {
                    [(id, voter), (voter, id)].contains(&(envelope.from, envelope.to))
                };
                while !leads(cluster) {
                    cluster.sync(voter, usize::MAX);
                    let Some(at) = cluster.network.iter().position(between) else { break };
                    cluster.deliver(at);
                }
            }
        }
        assert!(leads(cluster), "n{id} is not elected");
        cluster.network.retain(|envelope| {
            !matches!(envelope.message, Message::PreVote { .. } | Message::Vote { .. })
        });
    }

    fn say(&mut self, line: String) {
        self.cluster().trace.as_mut().expect("set before each command").push(line);
    }

    fn messages(&mut self, what: &str, which: &[&str]) {
        let [link, rest @ ..] = which else { panic!("{what} which messages?") };
        let (from, to) = link.split_once("->").expect("a link like 1->2 or *->2");
        let mut rest = rest.to_vec();
        let newest = rest.pop_if(|word| *word == "newest").is_some();
        let together = rest.pop_if(|word| *word == "together").is_some();
        let all = together || rest.pop_if(|word| *word == "all").is_some();
        let any = |pattern: &str, id: NodeId| pattern == "*" || node(pattern) == id;
        let matches = |envelope: &Envelope| {
            any(from, envelope.from)
                && any(to, envelope.to)
                && rest.iter().all(|kind| notation::name(&envelope.message) == *kind)
        };
        let network = &self.cluster().network;
        let mut chosen: Vec<usize> =
            (0..network.len()).filter(|&at| matches(&network[at])).collect();
        assert!(!chosen.is_empty(), "no such message is in flight");
        if newest {
            chosen.drain(..chosen.len() - 1);
        } else if !all {
            chosen.truncate(1);
        }
        if together {
            let batch = chosen.iter().rev().map(|&at| self.cluster().network.remove(at));
            let batch: Vec<Envelope> = batch.collect::<Vec<_>>().into_iter().rev().collect();
            return self.cluster().receive(node(to), batch);
        }
        for (removed, at) in chosen.into_iter().enumerate() {
            match what {
                "deliver" => self.cluster().deliver(at - removed),
                "drop" => {
                    let envelope = self.cluster().network.remove(at - removed);
                    self.say(format!("{} (dropped)", notation::envelope(&envelope)));
                }
                _ => {
                    let again = self.cluster().network[at].clone();
                    self.say(format!("{} (duplicated)", notation::envelope(&again)));
                    self.cluster().network.push(again);
                }
            }
        }
    }

    fn crash(&mut self, id: NodeId, survivors: usize) {
        let lost: Vec<String> =
            self.cluster().member(id).disk.pending().map(|seq| format!("w{seq}")).collect();
        let lost = match (lost.as_slice(), survivors) {
            ([], _) => String::new(),
            (lost, 0) => format!(" and loses {}", lost.join(", ")),
            (lost, _) => format!(" and loses {} but for {survivors} records", lost.join(", ")),
        };
        self.say(format!("n{id} crashes{lost}"));
        self.cluster().crash(id, survivors);
    }

    fn restart(&mut self, id: NodeId) {
        self.cluster().restart(id);
        let status = self.status(id);
        self.say(status.trim_end().to_owned());
    }

    fn isolate(&mut self, id: NodeId) {
        let others: Vec<NodeId> = self.cluster().ids().filter(|&other| other != id).collect();
        for other in others {
            self.cluster().cut(id, other);
            self.cluster().cut(other, id);
        }
    }

    fn propose(&mut self, id: NodeId, request: &str, op: &[&str]) {
        let mut op = op.to_vec();
        let ack = op.pop_if(|word| word.starts_with("ack=")).map_or(0, |ack| setting(ack, "ack"));
        let op = parse_op(&op);
        self.say(format!("n{id} is asked {request} {}", notation::op(&op)));
        let request = request.parse().expect("a request like c:1");
        self.cluster().propose(id, Command { request, ack, op });
    }

    fn read(&mut self, id: NodeId, key: &str, stale: bool) {
        let what = if stale { "stale-read" } else { "read" };
        self.say(format!("n{id} is asked {what} {key}"));
        self.cluster().read(id, key, stale);
    }

    fn inject(&mut self, words: &[&str]) {
        let envelope = notation::parse_envelope(words).expect("a message as scripts print it");
        self.say(format!("{} (injected)", notation::envelope(&envelope)));
        let to = envelope.to;
        let to = if self.cluster().ids().any(|id| id == to) { to } else { 1 };
        self.cluster().step(to, [Input::Peer(envelope)]);
    }

    fn status(&mut self, id: NodeId) -> String {
        let Some(node) = self.cluster().node(id) else { return format!("n{id} is down\n") };
        let view = node.view();
        let name = |id: Option<NodeId>| id.map_or("-".to_owned(), |id| format!("n{id}"));
        let mut line = format!(
            "n{id} {} term={} vote={} leader={} last={} commit={}",
            view.role.name(),
            view.term,
            name(view.vote),
            name(view.leader),
            view.last,
            view.commit
        );
        let optional = [
            ("proposals", view.proposals_waiting.to_string()),
            ("reads", view.reads_waiting.to_string()),
            ("refused", view.messages_refused.to_string()),
        ];
        for (what, count) in optional.iter().filter(|(_, count)| count != "0") {
            write!(line, " {what}={count}").unwrap();
        }
        line + "\n"
    }

    fn log(&mut self, id: NodeId) -> String {
        let disk = &self.cluster().member(id).disk;
        let durable = disk.durable.clone();
        let entry = |entry: &std::sync::Arc<Entry>| {
            let unsynced = if durable.holds(entry.id) { "" } else { " (not durable)" };
            format!("n{id} {} {}{unsynced}\n", entry.id, notation::payload(entry))
        };
        disk.written.log.iter().map(entry).collect()
    }

    fn network(&mut self) -> String {
        let line = |envelope: &Envelope| format!("{}\n", notation::envelope(envelope));
        self.cluster().network.iter().map(line).collect()
    }
}

fn new_cluster(settings: &[&str]) -> Cluster {
    let [nodes, rest @ ..] = settings else { panic!("cluster nodes=N") };
    let mut options = options(setting(nodes, "nodes"), 1);
    for word in rest {
        match word.split_once('=').expect("NAME=VALUE").0 {
            "inflight" => options.inflight_messages_max = setting(word, "inflight"),
            "append-bytes" => options.append_bytes_max = setting(word, "append-bytes"),
            "uncommitted-bytes" => {
                options.uncommitted_bytes_max = setting(word, "uncommitted-bytes");
            }
            "sessions" => options.limits.sessions_max = setting(word, "sessions"),
            other => panic!("unknown setting {other}"),
        }
    }
    Cluster::new(options)
}

fn contents(fields: &[&str]) -> Contents {
    let mut contents = Contents::default();
    for field in fields {
        match field.split_once('=').expect("NAME=VALUE") {
            ("term", term) => contents.term = number(term),
            ("vote", vote) => contents.vote = Some(node(vote)),
            ("log", ids) => {
                for id in ids.split(',') {
                    let id = notation::parse_entry_id(id).expect("an entry like 2@1");
                    contents.log.push(Entry::new(id, Payload::Noop));
                }
            }
            (other, _) => panic!("a disk has no {other}"),
        }
    }
    contents.term = contents.term.max(contents.last().term);
    contents
}

fn parse_op(words: &[&str]) -> Op {
    let text = |word: &&str| (*word).to_owned();
    match words {
        ["put", key, value] => Op::Put { key: text(key), value: text(value) },
        ["delete", key] => Op::Delete { key: text(key) },
        ["cas", key, expect, value] => Op::Cas {
            key: text(key),
            expect: (*expect != "none").then(|| text(expect)),
            value: text(value),
        },
        ["append", key, value] => Op::Append { key: text(key), value: text(value) },
        ["incr", key, by] => Op::Incr { key: text(key), by: number(by) },
        _ => panic!("unknown operation {words:?}"),
    }
}

fn node(text: &str) -> NodeId {
    notation::parse_node(text).expect("a node's number")
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().ok().unwrap_or_else(|| panic!("{text:?} is not the number it should be"))
}

fn setting<N: std::str::FromStr>(text: &str, name: &str) -> N {
    let (found, value) = text.split_once('=').expect("NAME=VALUE");
    assert_eq!(found, name, "unknown setting");
    number(value)
}

/// `150ms` or `3s`
fn time(text: &str) -> Time {
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => Time::from_millis(number(ms)),
        (None, Some(s)) => Time::from_secs(number(s)),
        (None, None) => panic!("a duration like 150ms or 3s"),
    }
}
