//! Log indexes: one for each request, and one request for each.

use std::collections::BTreeMap;

use super::{Class, Findings};
use crate::check::text;
use crate::history::{Event, History, Outcome};
use crate::results::Violation;

/// A write that was acknowledged at a log index.
#[derive(Clone, Copy)]
struct Acknowledged<'h> {
    invocation: &'h Event,
    completion: &'h Event,
    index: u64,
    request: Option<&'h str>,
}

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut by_index: BTreeMap<u64, Acknowledged<'_>> = BTreeMap::new();
    let mut by_request: BTreeMap<&str, Acknowledged<'_>> = BTreeMap::new();
    for this in history.operations().iter().filter_map(|operation| {
        let (invocation, completion) =
            (history.invocation(operation), history.completion(operation)?);
        let request = completion.request.as_deref().or(invocation.request.as_deref());
        // A read reflects an index, it does not take one.
        let is_write = operation.outcome == Outcome::Ok && invocation.f != "read";
        let index = completion.log_index.filter(|_| is_write)?;
        Some(Acknowledged { invocation, completion, index, request })
    }) {
        let first = *by_index.entry(this.index).or_insert(this);
        let same = first.invocation.index == this.invocation.index
            || (first.request.is_some() && first.request == this.request);
        if !same {
            findings.add(Class::LogIndexTwice, || twice(first, this));
        }
        if let Some(request) = this.request {
            let first = *by_request.entry(request).or_insert(this);
            if first.index != this.index {
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
        first.index
    );
    violation(Class::LogIndexTwice, explanation, first, second)
}

fn two(request: &str, first: Acknowledged<'_>, second: Acknowledged<'_>) -> Violation {
    let explanation = format!(
        "Request {request} was acknowledged at log index {} and again at log index {}. It took effect \
         twice, or one of the answers is wrong.",
        first.index, second.index
    );
    violation(Class::TwoLogIndexes, explanation, first, second)
}

fn violation(
    class: Class,
    explanation: String,
    first: Acknowledged<'_>,
    second: Acknowledged<'_>,
) -> Violation {
    let mut events: Vec<u64> = [first, second]
        .iter()
        .flat_map(|one| [one.invocation.index, one.completion.index])
        .collect();
    events.sort_unstable();
    Violation {
        class: class.name().to_owned(),
        key: second.invocation.key.clone(),
        explanation,
        events,
        time: second.completion.time,
        stale: None,
    }
}

/// `the write of client 3 to k1 (n4, 1.010 s)`.
fn phrase(one: Acknowledged<'_>) -> String {
    let key = one.invocation.key.as_ref().map_or(String::new(), |key| format!(" to {key}"));
    let node = one.completion.node.map_or(String::new(), |id| format!("{}, ", text::node(id)));
    format!(
        "the {} of {}{key} ({node}{})",
        one.invocation.f,
        one.invocation.process,
        text::at(one.completion.time)
    )
}
