//! Says in two sentences why a core has no linearization.

use super::problem::{Part, state_of};
use super::reduce::Core;
use crate::check::keys::{Action, NOTHING, Op, Seen, Word};
use crate::check::text::{self, Words};
use crate::model::Model;
use crate::model::object::{State, UNSEEN};
use crate::results::Violation;

/// A core up to this size is told operation by operation.
const TOLD_MAX: usize = 6;

/// Most operations whose events are listed as proof.
const LISTED_MAX: usize = 40;

pub(super) fn violation(words: Words<'_, '_>, core: Option<&Core>) -> Violation {
    // The search that found the violation can be repeated, so there always is a core.
    let Some(core) = core else {
        return Violation {
            class: "not linearizable".to_owned(),
            key: words.key.key.map(str::to_owned),
            explanation: format!(
                "No order of the operations on {} explains what clients saw. The limits left no room \
                 to say which.",
                words.name()
            ),
            events: Vec::new(),
            time: 0,
            stale: None,
        };
    };
    let explainer = Explainer { words, part: &core.part };
    let blocked = &words.key.ops[core.blocked];
    let ops: Vec<&Op> = core.part.ids.iter().map(|&id| &words.key.ops[id]).collect();
    let (class, explanation) = if ops.len() <= TOLD_MAX {
        explainer.told(&ops)
    } else {
        explainer.summed_up(blocked, ops.len(), &core.states)
    };
    let listed: Vec<&Op> = if ops.len() <= LISTED_MAX {
        ops
    } else {
        // Too many to look at: the one that fits nowhere, and those that were under way together with it.
        let together = |op: &&Op| op.call < blocked.ret && op.ret > blocked.call;
        let near: Vec<&Op> = ops.into_iter().filter(together).collect();
        near.into_iter().rev().take(LISTED_MAX).collect()
    };
    Violation {
        class: class.to_owned(),
        key: words.key.key.map(str::to_owned),
        explanation,
        events: words.events(listed),
        time: words.invocation(blocked).time,
        stale: None,
    }
}

/// The value that a single operation found, although it did not make it itself.
fn phantom(ops: &[&Op]) -> Option<Word> {
    match ops {
        [op] => match op.seen {
            Seen::Word(word) if word != NOTHING && op.writes() != Some(word) => Some(word),
            Seen::Word(_) | Seen::Unknown | Seen::List(_) | Seen::Number(_) => None,
        },
        _ => None,
    }
}

struct Explainer<'e, 'c, 'h> {
    words: Words<'c, 'h>,
    part: &'e Part,
}

impl Explainer<'_, '_, '_> {
    /// All operations of a small core, in order of invocation, and what is wrong with them.
    fn told(&self, ops: &[&Op]) -> (&'static str, String) {
        let told: Vec<String> = ops.iter().map(|op| self.phrase(op)).collect();
        let first = text::capital(&text::list(&told));
        let (class, why) = self.why(ops);
        (class, format!("{first}. {why}"))
    }

    fn why(&self, ops: &[&Op]) -> (&'static str, String) {
        if let Some(word) = phantom(ops) {
            let value = self.words.value(word);
            let name = self.words.name();
            let why = format!(
                "No write of {value} to {name} that may have taken effect had begun by then, so it \
                 cannot have been there."
            );
            return ("phantom read", why);
        }
        if let Some(word) = self.split(ops) {
            let value = self.words.value(word);
            let why = format!(
                "Only one write left {value} there, and the first cas that succeeded took it away, so \
                 they cannot all have succeeded."
            );
            return ("split cas", why);
        }
        let what = match self.words.key.model {
            Model::Register | Model::CasRegister => {
                "gives each of them the value written last before it"
            }
            Model::Append => "gives each read exactly the tokens appended before it",
            Model::Counter => "gives each of them the sum of what was added before it",
        };
        let why =
            format!("What ended before another began must come first, and no such order {what}.");
        ("not linearizable", why)
    }

    /// A value that one operation made at most, and that several took away.
    fn split(&self, ops: &[&Op]) -> Option<Word> {
        let takes = |op: &&&Op, word: Word| {
            op.is_ok() && matches!(op.action, Action::Cas { expect, .. } if expect == word)
        };
        let made = |word: Word| ops.iter().filter(|op| op.writes() == Some(word)).count();
        (0..self.words.key.words.len()).find(|&word| {
            ops.iter().filter(|op| takes(op, word)).count() > 1
                && word != NOTHING
                && made(word) <= 1
        })
    }

    /// The operation that fits nowhere in a core that is too large to tell.
    fn summed_up(&self, blocked: &Op, size: usize, states: &[State]) -> (&'static str, String) {
        let name = self.words.name();
        let known: Vec<String> = states.iter().filter_map(|&state| self.state(state)).collect();
        let instead = match known.as_slice() {
            [] => String::new(),
            known if known.len() < states.len() => {
                format!(
                    ", where {name} can only have been {} or something never read",
                    text::list(known)
                )
            }
            known => format!(", where {name} can only have been {}", text::list(known)),
        };
        let explanation = format!(
            "{} fits nowhere: {} before it or together with it can be put in order, but only in \
             ways in which this one has no place{instead}. No order of all of them explains what \
             clients saw.",
            text::capital(&self.phrase(blocked)),
            text::count(size - 1, "operation"),
        );
        ("not linearizable", explanation)
    }

    /// A state in words; none for those that no words can tell apart.
    fn state(&self, state: State) -> Option<String> {
        match self.words.key.model {
            _ if state == UNSEEN => None,
            Model::Counter => Some(state.to_string()),
            Model::Append => None,
            Model::Register | Model::CasRegister => {
                let word = (0..self.words.key.words.len()).find(|&word| state_of(word) == state)?;
                Some(self.words.value(word))
            }
        }
    }

    /// `client 3 wrote k1="4-2" (n4, 1.000-1.010 s)`.
    fn phrase(&self, op: &Op) -> String {
        let (words, name) = (self.words, self.words.name());
        let returned = op.ret < self.part.cut;
        let what = match (op.action, &op.seen) {
            (Action::Read, Seen::Word(NOTHING)) => format!("found no value in {name}"),
            (Action::Read, Seen::Word(word)) => format!("read {name}={}", words.value(*word)),
            (Action::Read, Seen::Number(number)) => format!("read {name}={number}"),
            (Action::Read, Seen::List(list)) => format!("read {name}={}", self.list(list)),
            (Action::Read, Seen::Unknown) => format!("read {name}"),
            (Action::Write(NOTHING), _) => format!("deleted {name}"),
            (Action::Write(word), _) => format!("wrote {name}={}", words.value(word)),
            (Action::Cas { expect, .. }, Seen::Word(actual)) if !op.is_ok() => format!(
                "expected {name}={} and found {}",
                words.value(expect),
                words.value(*actual)
            ),
            (Action::Cas { expect, new }, _) => {
                format!("changed {name} from {} to {}", words.value(expect), words.value(new))
            }
            (Action::Append(token), _) => format!("appended {} to {name}", words.value(token)),
            (Action::Incr(by), Seen::Number(sum)) if returned => {
                format!("added {by} to {name} and got {sum}")
            }
            (Action::Incr(by), _) => format!("added {by} to {name}"),
        };
        let node =
            words.answered_by(op).map_or(String::new(), |id| format!("{}, ", text::node(id)));
        format!("client {} {what} ({node}{})", op.process, words.during(op))
    }

    /// The tokens that matter: those whose appends are in the core, or that nobody appended.
    fn list(&self, list: &[Word]) -> String {
        const SHOWN: usize = 8;
        let appended = |word: Word, op: &Op| op.may_count() && op.action == Action::Append(word);
        let matters = |word: &&Word| {
            self.part.ids.iter().any(|&id| appended(**word, &self.words.key.ops[id]))
                || !self.words.key.ops.iter().any(|op| appended(**word, op))
        };
        let shown: Vec<String> =
            list.iter().filter(matters).take(SHOWN).map(|&word| self.words.value(word)).collect();
        let shown_list = format!("[{}]", shown.join(", "));
        match list.len() - shown.len() {
            0 => shown_list,
            1 => format!("{shown_list} but for 1 other token that does not matter here"),
            more => {
                let more = text::number(more);
                format!("{shown_list} but for {more} other tokens that do not matter here")
            }
        }
    }
}
