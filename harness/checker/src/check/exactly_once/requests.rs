//! Log indexes: one for each request, and one request for each.

use hashbrown::HashMap;

use super::{Class, Findings};
use crate::check::text::{self, Words};
use crate::history::History;
use crate::ops::{Action, Op};
use crate::results::Violation;

/// A write that was acknowledged at a log index.
#[derive(Clone, Copy)]
struct Acknowledged<'h> {
    words: Words<'h>,
    op: &'h Op,
}

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut by_index: HashMap<u64, Acknowledged<'_>> = HashMap::new();
    let mut by_request: HashMap<&str, Acknowledged<'_>> = HashMap::new();
    let words = history.keys().iter().map(|key| Words { history, key });
    // A read reflects an index, it does not take one.
    let takes = |op: &&Op| op.is_ok() && op.log_index != 0 && op.action != Action::Read;
    for this in words.flat_map(|words| {
        words.key.ops.iter().filter(takes).map(move |op| Acknowledged { words, op })
    }) {
        let request = history.request(this.op);
        let first = *by_index.entry(this.op.log_index).or_insert(this);
        let same = first.op.number == this.op.number
            || (request.is_some() && history.request(first.op) == request);
        if !same {
            findings.add(Class::LogIndexTwice, || twice(first, this));
        }
        if let Some(request) = request {
            let first = *by_request.entry(request).or_insert(this);
            if first.op.log_index != this.op.log_index {
                findings.add(Class::TwoLogIndexes, || two(request, first, this));
            }
        }
    }
}

fn twice(first: Acknowledged<'_>, second: Acknowledged<'_>) -> Violation {
    let explanation = format!(
        "{} and {} were both acknowledged at log index {}. An index of the log holds one request only, \
         so one of them is not where its node says.",
        text::capital(&phrase(first)),
        phrase(second),
        first.op.log_index
    );
    violation(Class::LogIndexTwice, explanation, first, second)
}

fn two(request: &str, first: Acknowledged<'_>, second: Acknowledged<'_>) -> Violation {
    let explanation = format!(
        "Request {request} was acknowledged at log index {} and again at log index {}. It took effect \
         twice, or one of the answers is wrong.",
        first.op.log_index, second.op.log_index
    );
    violation(Class::TwoLogIndexes, explanation, first, second)
}

fn violation(
    class: Class,
    explanation: String,
    first: Acknowledged<'_>,
    second: Acknowledged<'_>,
) -> Violation {
    Violation {
        class: class.name().to_owned(),
        key: second.words.key.name.as_deref().map(str::to_owned),
        explanation,
        events: second.words.events([first.op, second.op]),
        time: second.words.completed(second.op),
        core: None,
        stale: None,
    }
}

/// `the write of client 3 to k1 (n4, 1.010 s)`.
fn phrase(one: Acknowledged<'_>) -> String {
    let Acknowledged { words, op } = one;
    let key = words.key.name.as_ref().map_or(String::new(), |key| format!(" to {key}"));
    let node = words.history.node(op).map_or(String::new(), |id| format!("{}, ", text::node(id)));
    format!(
        "the {} of {}{key} ({node}{})",
        words.key.model.function(&op.action),
        words.client(op),
        text::at(words.completed(op))
    )
}
