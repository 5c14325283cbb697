//! Steps from a history to a smaller one that are sound: if the larger has a linearization, so has the smaller. So a
//! contradiction in what is left is one of the whole history.
//!
//! Below, L is a linearization of the larger history: an order of operations, all certain ones among them, that keeps
//! the order of real time and that the model accepts. Each step says how to get one of the smaller history from it.
//!
//! | step | models | from L to one of what is left |
//! |---|---|---|
//! | [`cut`]: stop early | all | the shortest beginning of L with all that had returned by then: nothing in it began later |
//! | [`start_at`]: begin with an operation that tells the state before it | all | the rest of L from that operation on; what was under way together with it may stand on either side, so its outcome becomes unknown |
//! | [`weaken`]: forget an operation's outcome | all | L |
//! | leave out what changes nothing | all | L without it |
//! | leave out what makes a value that nothing left looks at | registers | L without it: until the next change the value before stands longer, and nobody looks |
//! | leave out a write that certainly was overwritten before anybody can have looked at its value | registers, kv | the same |
//! | leave out what makes a text that is not the beginning of any that is looked at, or appends what is in none | kv | the same |
//! | leave out a token or an element, wherever it is mentioned | append, set, queues | L with each state without it; see [`lists`] and [`queues`] |
//! | leave out a register of transactions, a read in one | multi-register | L with each state without the register |
//! | count increments that certainly came before all reads to the initial number | counter | L without them: nobody saw a state that lacked them |
//! | keep only so many operations of unknown outcome that do the same as can matter | all but append, counter | L without those whose effect nobody sees, with the earliest ones in the places of the others |
//!
//! To leave out just any write would not do: its readers would then contradict, although the history does not.

mod counter;
mod kv;
mod lists;
mod mutex;
mod queues;
pub(super) mod registers;
mod txns;
mod unseen;

use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{
    Action, KeyOps, List, NEVER, NOTHING, Op, Position, Seen, UNREAD, Word, Words, index,
};

/// So many operations are told one by one; a state at the beginning then need not stand for those that led to it.
pub(super) const TOLD: usize = 6;

/// A unit of what can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// An operation, by its index.
    Op(u32),
    /// A token, an element or a register, wherever it is mentioned.
    Word(Word),
    /// A step of a transaction, counted through all of them.
    Micro(u32),
}

/// What to leave out, as far as that is sound.
#[derive(Clone, Debug, Default)]
pub(super) struct Out {
    ops: Vec<bool>,
    words: Vec<bool>,
    micros: Vec<bool>,
}

impl Out {
    pub(super) fn of(key: &KeyOps, atoms: &[Atom]) -> Out {
        let mut out = Out::nothing(key);
        for &atom in atoms {
            let (place, number) = match atom {
                Atom::Op(op) => (&mut out.ops, op),
                Atom::Word(word) => (&mut out.words, word),
                Atom::Micro(step) => (&mut out.micros, step),
            };
            if let Some(place) = place.get_mut(index(number)) {
                *place = true;
            }
        }
        out
    }

    fn nothing(key: &KeyOps) -> Out {
        Out {
            ops: vec![false; key.ops.len()],
            words: vec![false; key.words.len()],
            micros: vec![false; key.ops.iter().map(|op| index(in_force(op).len) / 3).sum()],
        }
    }

    /// All but these operations and what they mention. Words that nobody brings in stay: they are what a phantom is.
    pub(super) fn all_but(key: &KeyOps, kept: &[u32]) -> Out {
        let mut out = Out::nothing(key);
        out.ops.fill(true);
        for &op in kept {
            if let Some(op) = out.ops.get_mut(index(op)) {
                *op = false;
            }
        }
        for is_kept in [false, true] {
            for (op, &is_out) in key.ops.iter().zip(&out.ops) {
                if is_out != is_kept && op.may_count() {
                    brings_in(key, op, |word| out.words[index(word)] = !is_kept);
                }
            }
        }
        out
    }

    fn op(&self, number: usize) -> bool {
        self.ops.get(number).copied().unwrap_or(false)
    }

    fn word(&self, word: Word) -> bool {
        self.words.get(index(word)).copied().unwrap_or(false)
    }

    fn micro(&self, step: usize) -> bool {
        self.micros.get(step).copied().unwrap_or(false)
    }
}

/// The words of models in which words are left out as such.
fn brings_in(key: &KeyOps, op: &Op, mut with: impl FnMut(Word)) {
    match (op.action, op.seen) {
        (Action::Append(word), _) if key.model == Model::Append => with(word),
        (Action::Add(word) | Action::Remove(word) | Action::Enqueue(word), _)
        | (Action::Dequeue, Seen::Word(word)) => with(word),
        (Action::Txn(list), _) => key.micros(list).for_each(|micro| with(micro.register)),
        _ => {}
    }
}

/// What could be left out, roughly in order of time.
pub(super) fn atoms(key: &KeyOps) -> Vec<Atom> {
    let mut known = vec![false; key.words.len()];
    if let Some(nothing) = known.first_mut() {
        *nothing = true;
    }
    let by_word =
        matches!(key.model, Model::Append | Model::Set | Model::FifoQueue | Model::UnorderedQueue);
    let mut atoms = Vec::new();
    let mut steps = 0;
    let mut word = |atoms: &mut Vec<Atom>, word: Word| {
        if let Some(known) = known.get_mut(index(word)).filter(|known| !**known) {
            *known = true;
            atoms.push(Atom::Word(word));
        }
    };
    if let (true, Seen::List(list)) = (by_word, key.initial) {
        key.list(list).iter().for_each(|&token| word(&mut atoms, token));
    }
    for (number, op) in (0..).zip(&key.ops) {
        if op.may_count() {
            brings_in(key, op, |brought| word(&mut atoms, brought));
        }
        if let (true, Seen::List(list)) = (by_word, op.seen) {
            key.list(list).iter().for_each(|&token| word(&mut atoms, token));
        }
        if !by_word || key.model == Model::Set || changes_nothing(key, op) {
            atoms.push(Atom::Op(number));
        }
        let of_op = in_force(op).len / 3;
        atoms.extend((steps..steps + of_op).map(Atom::Micro));
        steps += of_op;
    }
    atoms
}

/// The history without as much of `out` as is sound; `None` if that is nothing.
pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let smaller = match key.model {
        Model::Register | Model::CasRegister => registers::without(key, out),
        Model::Append => lists::without_tokens(key, out),
        Model::Counter => counter::without(key, out),
        Model::MultiRegister => txns::without(key, out),
        Model::Kv => kv::without(key, out),
        Model::Set => lists::without_elements(key, out),
        Model::FifoQueue | Model::UnorderedQueue => queues::without(key, out),
        Model::Mutex => mutex::without(key, out),
    }?;
    Some(tidy(smaller))
}

/// Leaves out what can never be part of a contradiction: operations that failed and saw nothing, reads that say
/// nothing, and more operations of unknown outcome than can matter.
pub(super) fn tidy(key: KeyOps) -> KeyOps {
    let silent = |op: &Op| changes_nothing(&key, op) && op.seen == Seen::Unknown;
    let key = if key.ops.iter().any(silent) {
        retain(&key, |_, op| !(changes_nothing(&key, op) && op.seen == Seen::Unknown))
    } else {
        key
    };
    let kept = match key.model {
        Model::Register | Model::CasRegister => registers::that_can_matter(&key),
        Model::Kv => kv::that_can_matter(&key),
        Model::FifoQueue | Model::UnorderedQueue => queues::that_can_matter(&key),
        Model::Mutex => mutex::that_can_matter(&key),
        Model::Append | Model::Counter | Model::MultiRegister | Model::Set => None,
    };
    match kept {
        Some(kept) if kept.iter().any(|kept| !kept) => retain(&key, |number, _| kept[number]),
        _ => key,
    }
}

/// Only what happened before this position: an operation that had not returned by then may have happened or not.
pub(super) fn cut(key: &KeyOps, end: Position) -> KeyOps {
    let mut shorter = retain(key, |_, op| {
        op.call < end && (op.ret < end || op.may_count() && !changes_nothing(key, op))
    });
    for op in &mut shorter.ops {
        if op.ret >= end {
            *op = weaken(*op);
        }
    }
    tidy(shorter)
}

/// The history from an operation on that tells which state it found; `None` if it does not.
///
/// If that is a write, the state before it is of no matter and left as it was.
pub(super) fn start_at(key: &KeyOps, first: usize) -> Option<KeyOps> {
    let op = key.ops.get(first).filter(|op| op.ret != NEVER)?;
    let (initial, key) = found(key, op)?;
    let (call, ret) = (op.call, op.ret);
    let mut later = retain(&key, |_, other| {
        other.call == call
            || other.ret > call
                && (other.call > ret || other.may_count() && !changes_nothing(&key, other))
    });
    for other in &mut later.ops {
        if other.call != call && other.call < ret {
            *other = weaken(*other);
        }
    }
    later.initial = match initial {
        Found::Any => key.initial,
        Found::This(seen) => seen,
        Found::Items(items) => {
            let start = u32::try_from(later.items.len()).ok()?;
            let len = u32::try_from(items.len()).ok()?;
            later.items.extend(items);
            Seen::List(List { start, len })
        }
    };
    Some(tidy(later))
}

/// The state that an operation found.
enum Found {
    /// It would do in any.
    Any,
    This(Seen),
    Items(Vec<Word>),
}

/// The state that an operation found, of those registers that it says something about.
fn found<'k>(key: &'k KeyOps, op: &Op) -> Option<(Found, std::borrow::Cow<'k, KeyOps>)> {
    use std::borrow::Cow;
    let found = match (key.model, op.action, op.seen) {
        _ if !op.may_count() && !matches!(op.seen, Seen::Word(_)) => return None,
        (Model::Register | Model::CasRegister | Model::Kv, action, seen) => match (action, seen) {
            (Action::Read, Seen::Word(word)) => Found::This(Seen::Word(word)),
            (_, Seen::Word(word)) if !op.may_count() => Found::This(Seen::Word(word)),
            (Action::Write(_), _) => Found::Any,
            (Action::Cas { expect, .. }, _) => Found::This(Seen::Word(expect)),
            _ => return None,
        },
        _ if !op.is_ok() => return None,
        (Model::Append | Model::Set, Action::Read, Seen::List(list)) => {
            Found::This(Seen::List(list))
        }
        (Model::Counter, Action::Read, Seen::Number(number)) => Found::This(Seen::Number(number)),
        (Model::Counter, Action::Incr(by), Seen::Number(sum)) => {
            Found::This(Seen::Number(sum.checked_sub(by)?))
        }
        (Model::FifoQueue | Model::UnorderedQueue, Action::Dequeue, Seen::Word(NOTHING)) => {
            Found::This(Seen::Unknown)
        }
        (Model::Mutex, Action::Acquire, _) => Found::This(Seen::Number(0)),
        (Model::Mutex, Action::Release, _) => Found::This(Seen::Number(1)),
        (Model::MultiRegister, Action::Txn(_), _) => {
            let (items, fewer) = txns::found(key, op);
            return Some((Found::Items(items), Cow::Owned(fewer)));
        }
        _ => return None,
    };
    // Lists of a state stay where they are among the items, which `retain` moves.
    let found = match found {
        Found::This(Seen::List(list)) => Found::Items(key.list(list).to_vec()),
        Found::Any | Found::This(_) | Found::Items(_) => found,
    };
    Some((found, Cow::Borrowed(key)))
}

/// The same operation, of unknown outcome.
pub(super) fn weaken(op: Op) -> Op {
    Op { ret: NEVER, outcome: Outcome::Open, seen: Seen::Unknown, ..op }
}

/// In every state in which it can happen it leaves that state as it is. What failed did not happen.
fn changes_nothing(key: &KeyOps, op: &Op) -> bool {
    match (op.action, op.seen) {
        _ if !op.may_count() => true,
        (Action::Read, _) | (Action::Dequeue, Seen::Word(NOTHING)) => true,
        (Action::Cas { expect, new }, _) => expect == new,
        (Action::Incr(0), _) => key.model == Model::Counter,
        (Action::Txn(_), _) => key.micros(in_force(op)).all(|micro| !micro.writes),
        _ => false,
    }
}

/// The steps of a transaction, with what is known about them.
fn in_force(op: &Op) -> List {
    match (op.action, op.seen) {
        (Action::Txn(_), Seen::List(list)) | (Action::Txn(list), _) => list,
        _ => List { start: 0, len: 0 },
    }
}

/// Without some of the operations.
fn retain(key: &KeyOps, mut keep: impl FnMut(usize, &Op) -> bool) -> KeyOps {
    rebuild(key, |number, op| keep(number, op).then_some(*op), |_, _, _| true)
}

/// Without some of the operations, with others changed, and without some items in lists: `keep_item` is asked with the
/// operation, none for the initial state, the item's place in its list, and the item; of a transaction's steps with the
/// step's place, and its register.
fn rebuild(
    key: &KeyOps,
    mut change: impl FnMut(usize, &Op) -> Option<Op>,
    keep_item: impl Fn(Option<usize>, usize, Word) -> bool,
) -> KeyOps {
    let mut smaller = KeyOps {
        model: key.model,
        name: key.name.clone(),
        words: Words::default(),
        items: Vec::new(),
        initial: key.initial,
        ops: Vec::new(),
    };
    let (width, name) = if key.model == Model::MultiRegister { (3, 1) } else { (1, 0) };
    let copy = |items: &mut Vec<Word>, op: Option<usize>, list: List, forget_reads: bool| {
        let start = u32::try_from(items.len()).unwrap_or(u32::MAX);
        for (number, step) in key.list(list).chunks_exact(width).enumerate() {
            if keep_item(op, number, step[name]) {
                let from = items.len();
                items.extend_from_slice(step);
                if let (true, [0, _, value]) = (forget_reads, &mut items[from..]) {
                    *value = UNREAD;
                }
            }
        }
        List { start, len: u32::try_from(items.len()).unwrap_or(u32::MAX) - start }
    };
    let items = &mut smaller.items;
    if let Seen::List(list) = key.initial {
        smaller.initial = Seen::List(copy(items, None, list, false));
    }
    for (number, op) in key.ops.iter().enumerate() {
        let Some(mut op) = change(number, op) else { continue };
        // Before what was asked for is changed, as the answers may be all that is known of the steps.
        let steps = in_force(&op);
        if let Seen::List(list) = op.seen {
            op.seen = Seen::List(copy(items, Some(number), list, false));
        }
        if let Action::Txn(_) = op.action {
            let asked = copy(items, Some(number), steps, true);
            if asked.len == 0 {
                continue;
            }
            op.action = Action::Txn(asked);
        }
        smaller.ops.push(op);
    }
    smaller.words = key.words.clone();
    smaller
}

/// Without words that no operation mentions any more.
pub(super) fn compact(mut key: KeyOps) -> KeyOps {
    let mut words = Words::default();
    let mut new = vec![NOTHING; key.words.len()];
    let mut renumber = |word: &mut Word| {
        let Some(known) = new.get_mut(index(*word)).filter(|_| *word != NOTHING) else { return };
        if *known == NOTHING {
            let bytes = key.words.bytes(*word);
            let tag = bytes.first().copied().unwrap_or(b's');
            // There was room for more of them.
            *known = words.push(tag, key.words.text(*word)).unwrap_or(NOTHING);
        }
        *word = *known;
    };
    if key.model == Model::MultiRegister {
        for step in key.items.chunks_exact_mut(3) {
            renumber(&mut step[1]);
            if step[2] != UNREAD {
                renumber(&mut step[2]);
            }
        }
    } else {
        key.items.iter_mut().for_each(&mut renumber);
    }
    let mut seen = |seen: &mut Seen| {
        if let Seen::Word(word) = seen {
            renumber(word);
        }
    };
    seen(&mut key.initial);
    key.ops.iter_mut().for_each(|op| seen(&mut op.seen));
    for op in &mut key.ops {
        match &mut op.action {
            Action::Write(word)
            | Action::Append(word)
            | Action::Add(word)
            | Action::Remove(word)
            | Action::Enqueue(word) => renumber(word),
            Action::Cas { expect, new } => {
                renumber(expect);
                renumber(new);
            }
            Action::Read
            | Action::Incr(_)
            | Action::Dequeue
            | Action::Acquire
            | Action::Release
            | Action::Txn(_) => {}
        }
    }
    key.words = words;
    key
}

/// How many operations are kept of those of unknown outcome that do the same: the earliest ones, as those can do
/// whatever a later one can.
#[derive(Default)]
struct Alike {
    kept: std::collections::HashMap<Action, usize>,
}

impl Alike {
    /// Whether to keep one more, if this many can matter.
    fn keep(&mut self, op: &Op, can_matter: usize) -> bool {
        let kept = self.kept.entry(op.action).or_default();
        *kept += 1;
        *kept <= can_matter
    }
}
