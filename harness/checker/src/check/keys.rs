//! The operations of one key, with their values as numbers: what every check per key works on.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Event, History, Operation, Outcome, Process};
use crate::model::{Answer, BadOperation, Call, Model};

/// A text among the key's [`KeyOps::words`].
pub(crate) type Word = usize;

/// No value: a key that was never written, or was deleted.
pub(crate) const NOTHING: Word = 0;

/// Return position of what never returned.
pub(crate) const NEVER: usize = usize::MAX;

/// One key's operations, in order of invocation.
#[derive(Debug)]
pub(crate) struct KeyOps<'h> {
    pub(crate) model: Model,
    pub(crate) key: Option<&'h str>,
    /// All texts that its operations mention; the first stands for [`NOTHING`].
    pub(crate) words: Vec<&'h str>,
    pub(crate) ops: Vec<Op>,
}

/// An operation.
#[derive(Debug)]
pub(crate) struct Op {
    /// Its number among [`History::operations`].
    pub(crate) operation: usize,
    /// Position of its invocation.
    pub(crate) call: usize,
    /// Position of its completion; [`NEVER`] if the outcome is open.
    pub(crate) ret: usize,
    /// The client.
    pub(crate) process: u64,
    pub(crate) outcome: Outcome,
    pub(crate) action: Action,
    pub(crate) seen: Seen,
}

/// What it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    /// A write, or a delete as the write of [`NOTHING`].
    Write(Word),
    Cas {
        expect: Word,
        new: Word,
    },
    Append(Word),
    Incr(i64),
}

/// What it learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Unknown,
    /// The register's value: what a read returned, what a cas expected or failed on.
    Word(Word),
    List(Vec<Word>),
    /// The counter's number: what a read returned, or the sum after an increment.
    Number(i64),
}

impl Op {
    /// It certainly took effect.
    pub(crate) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// It took effect, or may have.
    pub(crate) fn may_count(&self) -> bool {
        self.outcome != Outcome::Fail
    }

    /// A read that returned.
    pub(crate) fn is_ok_read(&self) -> bool {
        self.is_ok() && self.action == Action::Read
    }

    /// The token that it appends, whether it did or not.
    pub(crate) fn appends(&self) -> Option<Word> {
        if let Action::Append(token) = self.action { Some(token) } else { None }
    }

    /// What it adds to a counter, whether it did or not.
    pub(crate) fn adds(&self) -> Option<i64> {
        if let Action::Incr(by) = self.action { Some(by) } else { None }
    }

    /// The value that it gives a register, unless it certainly had no effect.
    pub(crate) fn writes(&self) -> Option<Word> {
        match self.action {
            Action::Write(word) | Action::Cas { new: word, .. } if self.may_count() => Some(word),
            Action::Write(_)
            | Action::Cas { .. }
            | Action::Read
            | Action::Append(_)
            | Action::Incr(_) => None,
        }
    }
}

/// Splits a history by key, in order of the keys' names.
pub(crate) fn split<'h>(
    history: &'h History,
    model: Model,
) -> Result<Vec<KeyOps<'h>>, BadOperation> {
    let mut builders: BTreeMap<Option<&'h str>, Builder<'h>> = BTreeMap::new();
    for (number, operation) in history.operations().iter().enumerate() {
        let invocation = history.invocation(operation);
        builders.entry(invocation.key.as_deref()).or_insert_with(Builder::new).add(
            model,
            number,
            operation,
            invocation,
            history.completion(operation),
        )?;
    }
    Ok(builders
        .into_iter()
        .map(|(key, builder)| KeyOps { model, key, words: builder.words, ops: builder.ops })
        .collect())
}

struct Builder<'h> {
    words: Vec<&'h str>,
    numbers: HashMap<&'h str, Word>,
    ops: Vec<Op>,
}

impl<'h> Builder<'h> {
    fn new() -> Builder<'h> {
        Builder { words: vec![""], numbers: HashMap::new(), ops: Vec::new() }
    }

    fn add(
        &mut self,
        model: Model,
        number: usize,
        operation: &Operation,
        invocation: &'h Event,
        completion: Option<&'h Event>,
    ) -> Result<(), BadOperation> {
        let call = model.call(invocation)?;
        let answer = match (operation.outcome, completion) {
            (Outcome::Ok, Some(completion)) => Some(model.answer(&call, completion)?),
            (Outcome::Fail, Some(completion)) => Model::answer_of_failure(&call, completion),
            (Outcome::Ok | Outcome::Fail | Outcome::Open, _) => None,
        };
        let action = match call {
            Call::Read => Action::Read,
            Call::Write(text) => Action::Write(self.word(text)),
            Call::Delete => Action::Write(NOTHING),
            Call::Cas { expect, new } => {
                Action::Cas { expect: self.optional(expect), new: self.word(new) }
            }
            Call::Append(text) => Action::Append(self.word(text)),
            Call::Incr(by) => Action::Incr(by),
        };
        let seen = match (answer, action) {
            (Some(Answer::Value(value)), _) => Seen::Word(self.optional(value)),
            (Some(Answer::List(tokens)), _) => Seen::List(
                tokens.iter().filter_map(|token| token.as_str()).map(|t| self.word(t)).collect(),
            ),
            (Some(Answer::Number(None)), Action::Read) => Seen::Number(0),
            (Some(Answer::Number(Some(number))), _) => Seen::Number(number),
            (Some(Answer::Done), Action::Cas { expect, .. }) => Seen::Word(expect),
            (Some(Answer::Done | Answer::Number(None)) | None, _) => Seen::Unknown,
        };
        let ret = match operation.outcome {
            Outcome::Ok | Outcome::Fail => operation.complete.unwrap_or(NEVER),
            Outcome::Open => NEVER,
        };
        let process = match invocation.process {
            Process::Client(client) => client,
            Process::Named(_) => 0, // operations are clients' alone
        };
        self.ops.push(Op {
            operation: number,
            call: operation.invoke,
            ret,
            process,
            outcome: operation.outcome,
            action,
            seen,
        });
        Ok(())
    }

    fn word(&mut self, text: &'h str) -> Word {
        let next = self.words.len();
        let word = *self.numbers.entry(text).or_insert(next);
        if word == next {
            self.words.push(text);
        }
        word
    }

    fn optional(&mut self, text: Option<&'h str>) -> Word {
        text.map_or(NOTHING, |text| self.word(text))
    }
}
