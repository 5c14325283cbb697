//! How operations and values are called in sentences.

use std::time::Duration;

use crate::check::explain::facts::Facts;
use crate::check::explain::reduce::Core;
use crate::check::text;
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, List, Micro, NEVER, NOTHING, Op, Seen, UNREAD, Word};

/// Elements of a list that are shown.
const SHOWN: usize = 8;

#[derive(Clone, Copy)]
pub(in crate::check::explain) struct Words<'c> {
    pub(in crate::check::explain) core: &'c Core,
    pub(in crate::check::explain) facts: &'c dyn Facts,
}

impl<'c> Words<'c> {
    pub(super) fn ops(&self) -> &'c [Op] {
        &self.core.key.ops
    }

    /// `k41`, or what kind of object it is.
    pub(super) fn name(&self) -> &'c str {
        self.core.key.name.as_deref().unwrap_or(match self.core.key.model {
            Model::Register | Model::CasRegister => "the register",
            Model::Kv => "the key",
            Model::Append => "the list",
            Model::Counter => "the counter",
            Model::Set => "the set",
            Model::FifoQueue | Model::UnorderedQueue => "the queue",
            Model::Mutex => "the lock",
            Model::MultiRegister => "the registers",
        })
    }

    /// `client 7`.
    pub(in crate::check::explain) fn client(&self, op: &Op) -> String {
        format!("client {}", self.facts.client(op.number))
    }

    /// A value: in quotes if it is a text.
    pub(super) fn value(&self, word: Word) -> String {
        let words = &self.core.key.words;
        if word == NOTHING {
            "nothing".to_owned()
        } else if words.is_text(word) {
            text::quote(words.text(word))
        } else {
            words.text(word).to_owned()
        }
    }

    /// Of a read: ` from n2`, or nothing if it is not known.
    pub(super) fn from(&self, op: &Op) -> String {
        if !matches!(op.action, Action::Read | Action::Txn(_)) {
            return String::new();
        }
        self.facts.node(op.number).map_or(String::new(), |id| format!(" from {}", text::node(id)))
    }

    /// ` at 12.841 s`, or nothing if it is not known.
    pub(super) fn at(&self, op: &Op) -> String {
        let time = self.facts.invoked_ns(op.number);
        time.map_or(String::new(), |time| format!(" at {}", text::at(time)))
    }

    /// When one had ended before the other began: `1.92 s earlier`, or `before that`.
    pub(super) fn earlier(&self, one: &Op, other: &Op) -> String {
        let times = (self.facts.completed_ns(one.number), self.facts.invoked_ns(other.number));
        match times {
            (Some(end), Some(start)) if start > end => {
                format!("{} earlier", text::span(start - end))
            }
            _ => "before that".to_owned(),
        }
    }

    /// When one began after the other had ended: `1.92 s later`, or `after that`.
    pub(super) fn later(&self, one: &Op, other: &Op) -> String {
        let times = (self.facts.completed_ns(other.number), self.facts.invoked_ns(one.number));
        match times {
            (Some(end), Some(start)) if start > end => format!("{} later", text::span(start - end)),
            _ => "after that".to_owned(),
        }
    }

    /// `and n4 had acknowledged that 1.92 s earlier`.
    pub(super) fn acknowledged(&self, one: &Op, other: &Op) -> String {
        let earlier = self.earlier(one, other);
        match self.facts.node(one.number) {
            Some(node) => format!("and {} had acknowledged that {earlier}", text::node(node)),
            None => format!("and that had been acknowledged {earlier}"),
        }
    }

    /// What the one who answered took itself for, if it is known: `n2 answered as leader of term 3`.
    pub(super) fn circumstances(&self, op: &Op) -> Option<String> {
        let node = text::node(self.facts.node(op.number)?);
        match (self.facts.role(op.number), self.facts.term(op.number)) {
            (Some("leader"), Some(term)) => {
                Some(format!("{node} took itself for leader of term {term}"))
            }
            (Some(role), Some(term)) => Some(format!("{node} answered as {role} in term {term}")),
            (Some(role), None) => Some(format!("{node} answered as {role}")),
            (None, _) => None,
        }
    }

    /// `client 3 wrote k1="4-2" (n4, 1.000-1.010 s)`.
    pub(in crate::check::explain) fn phrase(&self, op: &Op) -> String {
        let node = self.facts.node(op.number).map_or(String::new(), text::node);
        let around = [node, self.during(op)];
        let around: Vec<&str> =
            around.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let around =
            if around.is_empty() { String::new() } else { format!(" ({})", around.join(", ")) };
        format!("{} {}{around}", self.client(op), self.did(op))
    }

    /// `write "4-2"`: for drawings, where the object's name is known.
    pub(in crate::check::explain) fn label(&self, op: &Op) -> String {
        let label = match (op.action, op.seen) {
            (Action::Cas { expect, new }, Seen::Word(actual)) if !op.may_count() => format!(
                "cas {} {} found {}",
                self.value(expect),
                self.value(new),
                self.value(actual)
            ),
            (Action::Read, Seen::Word(word)) => format!("read {}", self.value(word)),
            (Action::Read, Seen::Number(number)) => format!("read {number}"),
            (Action::Read, Seen::List(list)) => {
                let hidden = if self.hidden(op) > 0 { " .." } else { "" };
                let words: Vec<String> = self
                    .core
                    .key
                    .list(list)
                    .iter()
                    .take(SHOWN)
                    .map(|&word| self.value(word))
                    .collect();
                format!("read [{}{hidden}]", words.join(" "))
            }
            (Action::Read, Seen::Unknown) => "read".to_owned(),
            (Action::Write(NOTHING), _) => "delete".to_owned(),
            (Action::Write(word), _) => format!("write {}", self.value(word)),
            (Action::Cas { expect, new }, _) => {
                format!("cas {} {}", self.value(expect), self.value(new))
            }
            (Action::Append(word), _) => format!("append {}", self.value(word)),
            (Action::Incr(by), Seen::Number(sum)) => format!("incr {by} = {sum}"),
            (Action::Incr(by), _) => format!("incr {by}"),
            (Action::Add(word), _) => format!("add {}", self.value(word)),
            (Action::Remove(word), _) => format!("remove {}", self.value(word)),
            (Action::Enqueue(word), _) => format!("enqueue {}", self.value(word)),
            (Action::Dequeue, Seen::Word(word)) => format!("dequeue {}", self.value(word)),
            (Action::Dequeue, _) => "dequeue".to_owned(),
            (Action::Acquire, _) => "acquire".to_owned(),
            (Action::Release, _) => "release".to_owned(),
            (Action::Txn(asked), seen) => {
                self.steps(if let Seen::List(list) = seen { list } else { asked }, "write")
            }
        };
        if op.may_count() || op.seen != Seen::Unknown { label } else { format!("{label} (failed)") }
    }

    /// `1.000-1.010 s`, or `from 1.000 s on, outcome unknown`.
    pub(super) fn during(&self, op: &Op) -> String {
        let start = self.facts.invoked_ns(op.number);
        let end = self.facts.completed_ns(op.number);
        match (start, end) {
            (Some(start), Some(end)) => {
                let start = Duration::from_nanos(start).as_secs_f64();
                format!("{start:.3}-{}", text::at(end))
            }
            (Some(start), None) if op.ret == NEVER => {
                format!("from {} on, outcome unknown", text::at(start))
            }
            (Some(start), None) => format!("from {} on", text::at(start)),
            (None, _) if op.ret == NEVER => "outcome unknown".to_owned(),
            (None, _) => String::new(),
        }
    }

    /// `wrote k1="4-2"`.
    pub(super) fn did(&self, op: &Op) -> String {
        let name = self.name();
        match (op.action, op.seen) {
            (Action::Cas { expect, .. }, Seen::Word(actual)) if !op.may_count() => {
                format!("expected {name}={} and found {}", self.value(expect), self.value(actual))
            }
            _ if op.outcome == Outcome::Fail => format!("failed to {}", self.asked(op)),
            (Action::Read, Seen::Word(NOTHING)) => format!("found no value in {name}"),
            (Action::Read, Seen::Word(word)) => format!("read {name}={}", self.value(word)),
            (Action::Read, Seen::Number(number)) => format!("read {name}={number}"),
            (Action::Read, Seen::List(list)) => format!("read {name}={}", self.elements(op, list)),
            (Action::Read, Seen::Unknown) => format!("read {name}"),
            (Action::Write(NOTHING), _) => format!("deleted {name}"),
            (Action::Write(word), _) => format!("wrote {name}={}", self.value(word)),
            (Action::Cas { expect, new }, _) => {
                format!("changed {name} from {} to {}", self.value(expect), self.value(new))
            }
            (Action::Append(token), _) => format!("appended {} to {name}", self.value(token)),
            (Action::Incr(by), Seen::Number(sum)) => format!("added {by} to {name} and got {sum}"),
            (Action::Incr(by), _) => format!("added {by} to {name}"),
            (Action::Add(word), _) => format!("added {} to {name}", self.value(word)),
            (Action::Remove(word), _) => format!("removed {} from {name}", self.value(word)),
            (Action::Enqueue(word), _) => format!("put {} into {name}", self.value(word)),
            (Action::Dequeue, Seen::Word(NOTHING)) => format!("found {name} empty"),
            (Action::Dequeue, Seen::Word(word)) => {
                format!("took {} out of {name}", self.value(word))
            }
            (Action::Dequeue, _) => format!("took something unknown out of {name}, or nothing"),
            (Action::Acquire, _) => format!("acquired {name}"),
            (Action::Release, _) => format!("released {name}"),
            (Action::Txn(asked), seen) => {
                let list = if let Seen::List(list) = seen { list } else { asked };
                self.steps(list, "wrote")
            }
        }
    }

    /// `write k1="4-2"`.
    fn asked(&self, op: &Op) -> String {
        let name = self.name();
        match op.action {
            Action::Read => format!("read {name}"),
            Action::Write(NOTHING) => format!("delete {name}"),
            Action::Write(word) => format!("write {name}={}", self.value(word)),
            Action::Cas { expect, new } => {
                format!("change {name} from {} to {}", self.value(expect), self.value(new))
            }
            Action::Append(token) => format!("append {} to {name}", self.value(token)),
            Action::Incr(by) => format!("add {by} to {name}"),
            Action::Add(word) => format!("add {} to {name}", self.value(word)),
            Action::Remove(word) => format!("remove {} from {name}", self.value(word)),
            Action::Enqueue(word) => format!("put {} into {name}", self.value(word)),
            Action::Dequeue => format!("take an element out of {name}"),
            Action::Acquire => format!("acquire {name}"),
            Action::Release => format!("release {name}"),
            Action::Txn(list) => self.steps(list, "write"),
        }
    }

    /// `wrote x="1" and read y=nothing in one transaction`.
    fn steps(&self, list: List, write: &str) -> String {
        let step = |micro: Micro| {
            let register = self.core.key.words.text(micro.register);
            match (micro.writes, micro.value) {
                (true, value) => format!("{write} {register}={}", self.value(value)),
                (false, UNREAD) => format!("read {register}"),
                (false, value) => format!("read {register}={}", self.value(value)),
            }
        };
        let steps: Vec<String> = self.core.key.micros(list).map(step).collect();
        let together = if steps.len() > 1 { " in one transaction" } else { "" };
        format!("{}{together}", text::list(&steps))
    }

    /// The elements that are left of what was seen, and how many were left out.
    fn elements(&self, op: &Op, list: List) -> String {
        let all = self.core.key.list(list);
        let shown: Vec<String> = all.iter().take(SHOWN).map(|&word| self.value(word)).collect();
        let more = if all.len() > SHOWN { ", …" } else { "" };
        let shown = format!("[{}{more}]", shown.join(", "));
        match self.hidden(op) {
            0 => shown,
            hidden => format!("{shown} but for {} that do not matter here", others(hidden)),
        }
    }

    /// How many elements of what it saw were left out.
    fn hidden(&self, op: &Op) -> u32 {
        let ops = self.ops().iter().zip(&self.core.context.hidden);
        ops.filter(|(other, _)| other.call == op.call)
            .map(|(_, &hidden)| hidden)
            .next()
            .unwrap_or(0)
    }

    /// What the object was before the core's first operation, if that is not what such objects are when they are new,
    /// and who says so.
    pub(super) fn initially(&self) -> Option<String> {
        let state = self.initial_state()?;
        let context = &self.core.context;
        Some(match context.start {
            Some(start) => format!("before that {state}, as {} shows", self.phrase(&start)),
            None if context.ops_before > 0 && self.is_summed_up() => format!(
                "what {} did before left it so that {state}",
                text::count(context.ops_before, "operation")
            ),
            None => format!("at first {state}"),
        })
    }

    /// The initial number is a sum that the history does not begin with.
    fn is_summed_up(&self) -> bool {
        self.core.context.is_summed_up
    }

    fn initial_state(&self) -> Option<String> {
        let name = self.name();
        let key = &self.core.key;
        match key.initial {
            Seen::Unknown | Seen::Word(NOTHING) | Seen::Number(0) => None,
            Seen::Word(word) => Some(format!("{name} was {}", self.value(word))),
            Seen::Number(_) if key.model == Model::Mutex => Some(format!("{name} was held")),
            Seen::Number(number) => Some(format!("{name} was {number}")),
            Seen::List(list) if list.len == 0 => None,
            Seen::List(list) if key.model == Model::MultiRegister => {
                let set = |micro: Micro| {
                    format!("{} was {}", key.words.text(micro.register), self.value(micro.value))
                };
                Some(text::list(&key.micros(list).map(set).collect::<Vec<_>>()))
            }
            Seen::List(list) => {
                let shown: Vec<String> =
                    key.list(list).iter().take(SHOWN).map(|&word| self.value(word)).collect();
                let more = if key.list(list).len() > SHOWN { ", …" } else { "" };
                Some(format!("{name} was [{}{more}]", shown.join(", ")))
            }
        }
    }

    /// Whether anybody ever saw it.
    pub(super) fn was_seen(&self, word: Word) -> bool {
        self.core.context.seen.contains(&word)
    }

    /// What became of an effect that an operation missed.
    pub(super) fn fate(&self, word: Word) -> Fate {
        let context = &self.core.context;
        if context.seen_later.contains(&word) {
            Fate::Back
        } else if context.looks_later > 0 {
            Fate::Gone(context.looks_later)
        } else {
            Fate::Unknown
        }
    }

    /// Where a value comes from that the core does not bring in: see [`crate::check::explain::Context::ops`].
    pub(super) fn origin(&self, word: Word) -> Option<&'c Op> {
        let key = &self.core.key;
        self.core.context.ops.iter().find(|op| {
            let mut brings = false;
            super::super::context::brings(key, op, |_, brought| brings |= brought == word);
            brings
        })
    }
}

/// What later looks say about an effect that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Somebody saw it.
    Back,
    /// Somebody looked, so many times, and nobody saw it.
    Gone(u32),
    /// Nobody looked.
    Unknown,
}

pub(super) fn list(items: &[String]) -> String {
    text::list(items)
}

/// `1 other`, `5 others`.
pub(super) fn others(n: u32) -> String {
    text::count(n, "other")
}
