//! The commands of scripts.
//!
//! | command | what happens |
//! |---|---|
//! | `cluster nodes=N [SETTING=…]` | all nodes start with empty disks; settings: see `new_cluster` |
//! | `join N` | node N starts with an empty disk, and knows nobody |
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
//! | `read N KEY`, `lease-read N KEY`, `stale-read N KEY [at-least=I]` | a client's read at N |
//! | `change N add M`, `… promote M`, `… remove M`, `… set M,M…` | an operator wants other members |
//! | `transfer N [M]` | an operator wants another leader |
//! | `snapshot N` | an operator wants a snapshot |
//! | `save N` | N's snapshot is written; or one that has come in is verified, and is durable |
//! | `wipe N` | N crashes and comes back with an empty disk |
//! | `forget N` | N's crash prevented it from storing that it was readmitted |
//! | `close N` | N can read no snapshot but its newest |
//! | `cut A->B…`, `cut A--B…`, `isolate N`, `split M,M… M,M…`, `heal` | links lose everything, or work again |
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
use super::safety::ReadKind;
use crate::effects::Role;
use crate::kv::{Command, Op};
use crate::membership::{Address, Change};
use crate::message::{Envelope, Message};
use crate::node::{Input, Lease, Node, Standing, View};
use crate::types::{Entry, EntryId, Index, NodeId, Payload, Time};

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
            ["read", id, key] => self.read(node(id), ReadKind::Confirmed, key, 0),
            ["lease-read", id, key] => self.read(node(id), ReadKind::Lease, key, 0),
            ["stale-read", id, key] => self.read(node(id), ReadKind::Stale, key, 0),
            ["stale-read", id, key, at_least] => {
                self.read(node(id), ReadKind::Stale, key, setting(at_least, "at-least"));
            }
            ["cut" | "isolate" | "split", links @ ..] => self.cut(words[0], links),
            ["heal"] => self.cluster().heal(),
            ["inject", envelope @ ..] => self.inject(envelope),
            [
                "join" | "change" | "transfer" | "snapshot" | "save" | "wipe" | "forget" | "close",
                ..,
            ] => {
                self.operate(words);
            }
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
                    let line = notation::envelope(&envelope, &self.cluster().noops);
                    self.say(format!("{line} (dropped)"));
                }
                _ => {
                    let again = self.cluster().network[at].clone();
                    let line = notation::envelope(&again, &self.cluster().noops);
                    self.say(format!("{line} (duplicated)"));
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

    fn cut(&mut self, how: &str, words: &[&str]) {
        let all: Vec<NodeId> = self.cluster().ids().collect();
        let mut links = Vec::new();
        if how == "cut" {
            for word in words {
                let both = word.split_once("--").map(|(a, b)| (node(a), node(b)));
                let (a, b) = both.or_else(|| notation::parse_link(word)).expect("a link like 1->2");
                links.push((a, b));
                links.extend(both.map(|_| (b, a)));
            }
        } else {
            let sides: Vec<Vec<NodeId>> =
                words.iter().map(|word| word.split(',').map(node).collect()).collect();
            let side = |id| sides.iter().position(|side| side.contains(id));
            let pairs = all.iter().flat_map(|a| all.iter().map(move |b| (a, b)));
            links.extend(pairs.filter(|(a, b)| side(a) != side(b)).map(|(&a, &b)| (a, b)));
        }
        for (from, to) in links {
            self.cluster().cut(from, to);
        }
    }

    fn propose(&mut self, id: NodeId, request: &str, op: &[&str]) {
        let mut op = op.to_vec();
        let ack = op.pop_if(|word| word.starts_with("ack=")).map_or(0, |ack| setting(ack, "ack"));
        let op = parse_op(&op);
        self.say(format!("n{id} is asked {request} {op}"));
        let request = request.parse().expect("a request like c:1");
        self.cluster().propose(id, Command { request, ack, op });
    }

    fn read(&mut self, id: NodeId, kind: ReadKind, key: &str, at_least: Index) {
        let bound = if at_least > 0 { format!(" at-least={at_least}") } else { String::new() };
        self.say(format!("n{id} is asked {} {key}{bound}", kind.name()));
        self.cluster().read(id, kind, key, at_least);
    }

    /// What operators and disks do.
    fn operate(&mut self, words: &[&str]) {
        let [what, id, rest @ ..] = words else { panic!("{words:?}: at which node?") };
        let id = node(id);
        match (*what, rest) {
            ("join", []) => {
                assert_eq!(self.cluster().join(), id, "nodes are numbered in order");
                let status = self.status(id);
                self.say(status.trim_end().to_owned());
            }
            ("change", rest) => {
                let text = notation::list(rest.iter(), " ");
                self.say(format!("n{id} is asked {text}"));
                let change = self.parse_change(rest);
                let _answered_later = self.cluster().change(id, change, text);
            }
            ("transfer", rest) => {
                let to = rest.first().map(|to| node(to));
                let text = notation::list(std::iter::once(what).chain(rest), " ");
                self.say(format!("n{id} is asked {text}"));
                let _answered_later = self.cluster().transfer(id, to, text);
            }
            ("snapshot", []) => {
                self.say(format!("n{id} is asked snapshot"));
                let _answered_later = self.cluster().take_snapshot(id);
            }
            ("save", []) => self.cluster().work(id),
            ("wipe", []) => {
                self.say(format!("n{id} loses its disk"));
                self.cluster().wipe(id);
                let status = self.status(id);
                self.say(status.trim_end().to_owned());
            }
            ("forget", []) => self.cluster().forget_standing(id),
            ("close", []) => self.cluster().member_mut(id).disk.close_replaced(),
            _ => panic!("unknown command"),
        }
    }

    fn parse_change(&mut self, words: &[&str]) -> Change {
        match words {
            ["add", id] => {
                let id = node(id);
                let incarnation = self.cluster().member(id).disk.incarnation;
                let address = Address { peer: format!("n{id}"), client: format!("n{id}") };
                Change::AddLearner { id, address, incarnation }
            }
            ["promote", id] => Change::Promote { id: node(id) },
            ["remove", id] => Change::Remove { id: node(id) },
            ["set", voters] => Change::Set { voters: voters.split(',').map(node).collect() },
            _ => panic!("unknown change"),
        }
    }

    fn inject(&mut self, words: &[&str]) {
        let noops = &self.cluster().noops;
        let envelope =
            notation::parse_envelope(words, noops).expect("a message as scripts print it");
        let line = format!("{} (injected)", notation::envelope(&envelope, noops));
        self.say(line);
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
        line + &newer_news(&view) + "\n"
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
        let cluster = self.cluster();
        let line =
            |envelope: &Envelope| format!("{}\n", notation::envelope(envelope, &cluster.noops));
        cluster.network.iter().map(line).collect()
    }
}

/// What there is to say of snapshots and members, if anything.
fn newer_news(view: &View) -> String {
    let mut line = String::new();
    if view.snapshot != EntryId::ZERO {
        write!(line, " snapshot={} first={}", view.snapshot, view.first).unwrap();
    }
    if let Some((bytes, total)) = view.receiving {
        write!(line, " receiving={bytes}/{total}").unwrap();
    }
    if view.config_index > 0 {
        write!(line, " members={}:{}", view.config_index, notation::members(&view.config)).unwrap();
    }
    if let Standing::Lost { incarnation } = view.standing {
        write!(line, " lost=#{incarnation}").unwrap();
    }
    if let Some(to) = view.transferring {
        write!(line, " transferring=n{to}").unwrap();
    }
    if view.lease {
        line += " lease";
    }
    line
}

fn new_cluster(settings: &[&str]) -> Cluster {
    let [nodes, rest @ ..] = settings else { panic!("cluster nodes=N") };
    let mut options = options(setting(nodes, "nodes"), 1);
    let mut pieces = 3;
    for word in rest {
        match word.split_once('=').expect("NAME=VALUE").0 {
            "inflight" => options.inflight_messages_max = setting(word, "inflight"),
            "append-bytes" => options.append_bytes_max = setting(word, "append-bytes"),
            "uncommitted-bytes" => {
                options.uncommitted_bytes_max = setting(word, "uncommitted-bytes");
            }
            "sessions" => options.limits.sessions_max = setting(word, "sessions"),
            // How much log a snapshot takes, and leaves.
            "log-bytes" => options.compaction.log_bytes_min = setting(word, "log-bytes"),
            "trailing-bytes" => options.compaction.trailing_bytes = setting(word, "trailing-bytes"),
            "pieces" => pieces = setting(word, "pieces"),
            // By how many percent a clock may outrun another.
            "lease" => options.lease = Some(Lease { drift_percent_max: setting(word, "lease") }),
            other => panic!("unknown setting {other}"),
        }
    }
    Cluster::new(options, pieces)
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
