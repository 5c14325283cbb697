//! Registers: values that came from nowhere, and writes that did not last.

use super::{Class, Findings, acknowledged, read_from};
use crate::check::keys::{Action, NEVER, NOTHING, Op, Seen, Word};
use crate::check::stale_reads::find::Found;
use crate::check::text::{self, Words};

pub(super) fn check(words: Words<'_, '_>, found: &Found, last: &[usize], findings: &mut Findings) {
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
    first_call: Vec<usize>,
    /// A write that certainly failed.
    failed: Vec<Option<usize>>,
}

impl Writers {
    fn of(words: Words<'_, '_>) -> Writers {
        let count = words.key.words.len();
        let mut writers = Writers { first_call: vec![NEVER; count], failed: vec![None; count] };
        for (id, op) in words.key.ops.iter().enumerate() {
            match op.action {
                Action::Write(word) | Action::Cas { new: word, .. } => {
                    if op.may_count() {
                        writers.first_call[word] = writers.first_call[word].min(op.call);
                    } else {
                        writers.failed[word] = writers.failed[word].or(Some(id));
                    }
                }
                Action::Read | Action::Append(_) | Action::Incr(_) => {}
            }
        }
        writers
    }
}

/// Where a value came from that somebody saw.
fn origin(words: Words<'_, '_>, writers: &Writers, op: &Op, word: Word, findings: &mut Findings) {
    if writers.first_call[word] < op.ret {
        return;
    }
    let saw = || {
        let verb = if op.action == Action::Read { "read" } else { "found" };
        let at = text::at(words.invocation(op).time);
        let from = words.answered_from(op);
        let value = words.value(word);
        format!("Client {} {verb} {}={value}{from} at {at}", op.process, words.name())
    };
    if let Some(failed) = writers.failed[word].map(|id| &words.key.ops[id])
        && failed.call < op.ret
    {
        findings.add_on_key(Class::AbortedRead, words, &[failed, op], || {
            let error = words.completion(failed).and_then(|event| event.error.clone());
            let why = error.map_or(String::new(), |error| format!(" ({error})"));
            format!(
                "{}. Client {} had been told that its write of that value certainly failed{why}, and \
                 nobody else wrote it.",
                saw(),
                failed.process
            )
        });
    } else {
        findings.add_on_key(Class::PhantomRead, words, &[op], || {
            let never = writers.first_call[word] == NEVER;
            let when = if never { "ever wrote it" } else { "had asked to write it by then" };
            format!("{}. Nobody {when}.", saw())
        });
    }
}

/// Writes whose effect is gone at the end: all final reads are older than they are.
fn lost(words: Words<'_, '_>, found: &Found, last: &[usize], findings: &mut Findings) {
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
        let known = if proof.operation == write.operation {
            acknowledged(words, write)
        } else {
            seen_by(words, proof)
        };
        format!(
            "Client {} {what} and {known}. When all faults were over, {} and found the older {now}, and no \
             final read saw anything newer.",
            write.process,
            read_from(words, read),
        )
    });
}

/// `client 7 saw that from n2 at 12.841 s`.
fn seen_by(words: Words<'_, '_>, proof: &Op) -> String {
    let at = words
        .completion(proof)
        .map_or(String::new(), |event| format!(" at {}", text::at(event.time)));
    format!("client {} saw that{}{at}", proof.process, words.answered_from(proof))
}
