//! Registers: values that came from nowhere, and writes that did not last.

use super::{Class, Findings, acknowledged, read_from};
use crate::check::stale_reads::find::Found;
use crate::check::text::{self, Words};
use crate::ops::{Action, NEVER, NOTHING, Op, Position, Seen, Word, index};

pub(super) fn check(words: Words<'_>, found: &Found, last: &[usize], findings: &mut Findings) {
    let writers = Writers::of(words);
    for op in &words.key.ops {
        if let Seen::Word(word) = op.seen
            && word != NOTHING
            && op.ret != NEVER
        {
            origin(words, &writers, op, word, findings);
        }
    }
    lost(words, found, last, findings);
}

/// By word.
struct Writers {
    /// Position of the first invocation of a write that took effect, or may have.
    first_call: Vec<Position>,
    /// A write that certainly failed.
    failed: Vec<Option<usize>>,
}

impl Writers {
    fn of(words: Words<'_>) -> Writers {
        let count = words.key.words.len();
        let mut writers = Writers { first_call: vec![NEVER; count], failed: vec![None; count] };
        for (id, op) in words.key.ops.iter().enumerate() {
            match op.action {
                Action::Write(word) | Action::Cas { new: word, .. } => {
                    if op.may_count() {
                        let first = &mut writers.first_call[index(word)];
                        *first = op.call.min(*first);
                    } else {
                        writers.failed[index(word)] = writers.failed[index(word)].or(Some(id));
                    }
                }
                _ => {}
            }
        }
        writers
    }
}

/// Where a value came from that somebody saw.
fn origin(words: Words<'_>, writers: &Writers, op: &Op, word: Word, findings: &mut Findings) {
    if writers.first_call[index(word)] < op.ret {
        return;
    }
    let saw = || {
        let verb = if op.action == Action::Read { "read" } else { "found" };
        let at = text::at(words.called(op));
        let from = words.answered_from(op);
        let value = words.value(word);
        format!("Client {} {verb} {}={value}{from} at {at}", words.history.client(op), words.name())
    };
    if let Some(failed) = writers.failed[index(word)].map(|id| &words.key.ops[id])
        && failed.call < op.ret
    {
        findings.add_on_key(Class::AbortedRead, words, &[failed, op], || {
            let error = words.history.error(failed);
            let why = error.map_or(String::new(), |error| format!(" ({error})"));
            format!(
                "{}. Client {} had been told that its write of that value certainly failed{why}, and \
                 nobody else wrote it.",
                saw(),
                words.history.client(failed)
            )
        });
    } else {
        findings.add_on_key(Class::PhantomRead, words, &[op], || {
            let never = writers.first_call[index(word)] == NEVER;
            let when = if never { "ever wrote it" } else { "had asked to write it by then" };
            format!("{}. Nobody {when}.", saw())
        });
    }
}

/// Writes whose effect is gone at the end: all final reads are older than they are.
fn lost(words: Words<'_>, found: &Found, last: &[usize], findings: &mut Findings) {
    let stale = |id: &usize| found.stale.iter().find(|stale| stale.read == *id);
    let Some(first) = last.first().and_then(stale) else { return };
    if !last.iter().all(|id| stale(id).is_some()) {
        return;
    }
    let ops = &words.key.ops;
    let (write, proof) = (&ops[first.missed.write], &ops[first.missed.proof]);
    let read = &ops[first.read];
    findings.add_on_key(Class::LostWrite, words, &[write, proof, read], || {
        let now = match read.seen {
            Seen::Word(word) => words.value(word),
            Seen::Unknown | Seen::List(_) | Seen::Number(_) => String::new(),
        };
        let what = match write.writes() {
            Some(NOTHING) | None => format!("deleted {}", words.name()),
            Some(word) => format!("wrote {}={}", words.name(), words.value(word)),
        };
        // A write of unknown outcome may be known by somebody who saw it.
        let known = if proof.number == write.number {
            acknowledged(words, write)
        } else {
            seen_by(words, proof)
        };
        format!(
            "Client {} {what} and {known}. When all faults were over, {} and found the older {now}, and no \
             final read saw anything newer.",
            words.history.client(write),
            read_from(words, read),
        )
    });
}

/// `client 7 saw that from n2 at 12.841 s`.
fn seen_by(words: Words<'_>, proof: &Op) -> String {
    let at = words
        .history
        .completed(proof)
        .map_or(String::new(), |time| format!(" at {}", text::at(time)));
    format!("{} saw that{}{at}", words.client(proof), words.answered_from(proof))
}
