//! Takes invocations and completions one by one, holds them to the rules, and keeps them as operations of keys.

use super::intern::{self, Intake, Interner, Texts};
use super::operations::{Broken, Clients, Details, Outcome, Times};
use super::{Kind, NilRead, ReadOptions};
use crate::datum::Datum;
use crate::formats::TextList;
use crate::model::spec::Values;
use crate::model::{BadOperation, Model};
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, Words, index};

/// An invocation or a completion, as any format has it.
#[derive(Clone, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) client: u64,
    pub(crate) kind: Kind,
    pub(crate) f: &'a str,
    /// With whether it is a text.
    pub(crate) key: Option<(bool, &'a str)>,
    pub(crate) value: &'a Datum<'a>,
    /// What a read returned, if it is a list that is not taken apart; then the value is null. Only for models that
    /// [read lists](Model::reads_lists).
    pub(crate) list: Option<&'a TextList<'a>>,
    /// Nanoseconds; none if the format has no times.
    pub(crate) time: Option<u64>,
    pub(crate) log_index: Option<u64>,
    pub(crate) extra: Extra<'a>,
}

/// What only explanations look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra<'a> {
    pub(crate) error: Option<&'a str>,
    pub(crate) node: Option<u64>,
    pub(crate) request: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    pub(crate) term: Option<u64>,
}

/// Invocation and completion at once.
#[derive(Clone, Debug)]
pub(crate) struct Whole<'a> {
    pub(crate) client: u64,
    pub(crate) f: &'a str,
    /// With whether it is a text.
    pub(crate) key: Option<(bool, &'a str)>,
    /// What it asked for.
    pub(crate) value: &'a Datum<'a>,
    /// What it was answered; none: of a read it stands where others say what they ask for.
    pub(crate) result: Option<&'a Datum<'a>>,
    pub(crate) outcome: Kind,
    pub(crate) call: u64,
    /// None: it never completed.
    pub(crate) ret: Option<u64>,
    pub(crate) log_index: Option<u64>,
    pub(crate) extra: Extra<'a>,
}

/// Where an operation is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) key: u32,
    pub(crate) op: u32,
    /// Position of the invocation, to be named in errors.
    call: Position,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Idle,
    Busy(Place),
    /// Its last outcome is unknown.
    Retired,
}

/// No key's number.
const NO_KEY: u32 = u32::MAX;

/// Everything that was said so far.
#[derive(Debug)]
pub(crate) struct Builder {
    model: Model,
    nil_read: NilRead,
    initial: Datum<'static>,
    /// A client of unknown outcome must not come back.
    strict: bool,
    keys: Vec<KeyOps>,
    /// The keys' names; the object without a name is 0.
    names: Texts,
    /// By name: the key's number, and [`NO_KEY`] if nothing was said about it yet.
    key_numbers: Vec<u32>,
    /// By key.
    key_names: Vec<u32>,
    interner: Interner,
    client_numbers: intern::Clients,
    clients: Clients,
    /// By the client's number.
    standings: Vec<Standing>,
    operations: u32,
    position: Position,
    times: Times,
    details: Details,
    texts: Texts,
    /// Of operations that came as a whole: call and return times stand in for positions until the end.
    whole: Vec<(u64, u64)>,
}

/// What a builder has built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) keys: Vec<KeyOps>,
    pub(super) clients: Clients,
    pub(super) operations: u32,
    pub(super) times: Times,
    pub(super) details: Details,
    pub(super) texts: Texts,
}

impl Builder {
    pub(crate) fn new(model: Model, options: &ReadOptions, strict: bool) -> Builder {
        Builder {
            model,
            nil_read: options.nil_read,
            initial: options.initial.as_ref().map_or(Datum::Null, Datum::from),
            strict,
            keys: Vec::new(),
            names: Texts::default(),
            key_numbers: Vec::new(),
            key_names: Vec::new(),
            interner: Interner::default(),
            client_numbers: intern::Clients::default(),
            clients: Clients::default(),
            standings: Vec::new(),
            operations: 0,
            position: 0,
            times: Times::default(),
            details: Details::default(),
            texts: Texts::default(),
            whole: Vec::new(),
        }
    }

    /// About so many operations are to come. Room that turns out not to be needed is never touched, so it costs nothing.
    pub(crate) fn expect(&mut self, operations: usize) {
        self.times.reserve(operations);
    }

    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// Something happened that is no client's doing, and takes a position.
    pub(crate) fn pass(&mut self) -> Result<Position, Broken> {
        let position = self.position;
        self.position =
            position.checked_add(1).filter(|&next| next != NEVER).ok_or(Broken::TooLong)?;
        Ok(position)
    }

    /// Takes the next invocation or completion of a client; tells which operation it is of.
    pub(crate) fn add(&mut self, said: &Said<'_>) -> Result<Place, Broken> {
        let client = self.client(said.client)?;
        let place = match said.kind {
            Kind::Invoke => self.invoke(client, said)?,
            Kind::Ok | Kind::Fail | Kind::Info => self.complete(client, said)?,
        };
        self.pass()?;
        Ok(place)
    }

    /// The objects, in order of appearance.
    pub(crate) fn keys(&self) -> &[KeyOps] {
        &self.keys
    }

    /// Takes an operation with both its ends.
    pub(crate) fn add_whole(&mut self, whole: &Whole<'_>) -> Result<(), Broken> {
        if let Some(ret) = whole.ret.filter(|&ret| ret < whole.call) {
            return Err(Broken::Ends { call: whole.call, ret });
        }
        let client = self.client(whole.client)?;
        let key = self.key(whole.key)?;
        let action = self.action(key, whole.f, whole.value)?;
        let result = match (whole.result, action) {
            (Some(result), _) => result,
            (None, Action::Read | Action::Dequeue | Action::Txn(_)) => whole.value,
            (None, _) => &Datum::Null,
        };
        let number = self.next_number()?;
        let outcome = match whole.outcome {
            Kind::Ok if whole.ret.is_some() => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Ok | Kind::Info | Kind::Invoke => Outcome::Open,
        };
        let seen = match outcome {
            Outcome::Ok => self.answer(key, whole.f, result, action)?,
            Outcome::Fail => self.answer_of_failure(key, result, whole.extra.error, action),
            Outcome::Open => Seen::Unknown,
        };
        let ret = if outcome == Outcome::Open { u64::MAX } else { whole.ret.unwrap_or(u64::MAX) };
        self.whole.push((whole.call, ret));
        self.keys[index(key)].ops.push(Op {
            number,
            call: 0,
            ret: NEVER,
            process: client,
            outcome,
            action,
            seen,
            log_index: whole.log_index.unwrap_or(0),
        });
        self.times.push(Some(whole.call), None);
        if let Some(ret) = whole.ret {
            self.times.complete(number, Some(ret), None);
        }
        self.detail(number, &whole.extra, Kind::Ok);
        Ok(())
    }

    fn client(&mut self, name: u64) -> Result<u32, Broken> {
        if let Some(number) = self.client_numbers.find(name) {
            return Ok(number);
        }
        let number = self.client_numbers.add(name).ok_or(Broken::TooLong)?;
        self.clients.push(name);
        self.standings.push(Standing::Idle);
        Ok(number)
    }

    fn next_number(&mut self) -> Result<u32, Broken> {
        let number = self.operations;
        self.operations = number.checked_add(1).ok_or(Broken::TooLong)?;
        Ok(number)
    }

    fn key(&mut self, name: Option<(bool, &str)>) -> Result<u32, Broken> {
        let word = match name {
            None => 0,
            Some((is_text, name)) => self
                .names
                .tagged(if is_text { b's' } else { b'v' }, name)
                .map_err(|_| Broken::TooLong)?,
        };
        match self.key_numbers.get(index(word)) {
            Some(&number) if number != NO_KEY => return Ok(number),
            Some(_) => {}
            None => self.key_numbers.resize(index(word) + 1, NO_KEY),
        }
        let number = u32::try_from(self.keys.len()).map_err(|_| Broken::TooLong)?;
        self.keys.push(KeyOps::new(self.model, name.map(|(_, name)| name)));
        self.key_numbers[index(word)] = number;
        self.key_names.push(word);
        let initial = self.initial.clone();
        let model = self.model;
        let mut values = Values { f: "initial", value: &initial, intake: self.intake(number) };
        let initial = (model.spec().initial)(&mut values)
            .map_err(|bad| BadOperation::of(&bad, model, "--initial", &initial))?;
        self.keys[index(number)].initial = initial;
        Ok(number)
    }

    fn intake(&mut self, number: u32) -> Intake<'_> {
        Intake { number, keys: &mut self.keys, interner: &mut self.interner }
    }

    fn action(&mut self, key: u32, f: &str, value: &Datum<'_>) -> Result<Action, BadOperation> {
        let model = self.model;
        let mut values = Values { f, value, intake: self.intake(key) };
        (model.spec().call)(&mut values).map_err(|bad| BadOperation::of(&bad, model, f, value))
    }

    fn answer(
        &mut self,
        key: u32,
        f: &str,
        value: &Datum<'_>,
        action: Action,
    ) -> Result<Seen, BadOperation> {
        let model = self.model;
        let is_read = matches!(action, Action::Read);
        if is_read && value.is_null() && self.nil_read == NilRead::Any {
            return Ok(Seen::Unknown);
        }
        let any = self.nil_read == NilRead::Any;
        let mut values = Values { f, value, intake: self.intake(key) };
        let seen = (model.spec().answer)(&mut values, action)
            .map_err(|bad| BadOperation::of(&bad, model, f, value))?;
        if any && let (Action::Txn(_), Seen::List(list)) = (action, seen) {
            self.keys[index(key)].forget_nil_reads(list);
        }
        Ok(seen)
    }

    /// What the model's answer would be with the list taken apart.
    fn read_list(&mut self, key: u32, list: &TextList<'_>) -> Result<Seen, BadOperation> {
        self.intake(key).text_list(list).map(Seen::List).map_err(BadOperation::Full)
    }

    /// What a failed operation learnt nevertheless: a cas that mismatched may say what it found, as a read would.
    fn answer_of_failure(
        &mut self,
        key: u32,
        value: &Datum<'_>,
        error: Option<&str>,
        action: Action,
    ) -> Seen {
        if !matches!(action, Action::Cas { .. }) || error != Some("mismatch") {
            return Seen::Unknown;
        }
        match value.get("actual") {
            Some(actual @ (Datum::Null | Datum::Text(_) | Datum::Int(_) | Datum::Bool(_))) => {
                self.intake(key).word(actual).map_or(Seen::Unknown, Seen::Word)
            }
            Some(Datum::Other(_) | Datum::List(_) | Datum::Map(_)) | None => Seen::Unknown,
        }
    }

    fn invoke(&mut self, client: u32, said: &Said<'_>) -> Result<Place, Broken> {
        match self.standings[index(client)] {
            Standing::Busy(place) => {
                return Err(Broken::StillOpen { client: said.client, open: u64::from(place.call) });
            }
            Standing::Retired if self.strict => {
                return Err(Broken::Retired { client: said.client });
            }
            Standing::Idle | Standing::Retired => {}
        }
        let key = self.key(said.key)?;
        let action = self.action(key, said.f, said.value)?;
        let number = self.next_number()?;
        let ops = &mut self.keys[index(key)].ops;
        let op = u32::try_from(ops.len()).map_err(|_| Broken::TooLong)?;
        ops.push(Op {
            number,
            call: self.position,
            ret: NEVER,
            process: client,
            outcome: Outcome::Open,
            action,
            seen: Seen::Unknown,
            log_index: 0,
        });
        self.times.push(said.time, Some(self.position));
        self.detail(number, &said.extra, Kind::Invoke);
        let place = Place { key, op, call: self.position };
        self.standings[index(client)] = Standing::Busy(place);
        Ok(place)
    }

    fn complete(&mut self, client: u32, said: &Said<'_>) -> Result<Place, Broken> {
        let place = match self.standings[index(client)] {
            Standing::Busy(place) => place,
            Standing::Retired if self.strict => {
                return Err(Broken::Retired { client: said.client });
            }
            Standing::Retired | Standing::Idle => {
                return Err(Broken::NotOpen { client: said.client, f: said.f.to_owned() });
            }
        };
        let op = self.keys[index(place.key)].ops[index(place.op)];
        self.same(said, place, op.action)?;
        let (outcome, seen) = match said.kind {
            Kind::Ok => {
                let seen = match said.list {
                    Some(list) => self.read_list(place.key, list)?,
                    None => self.answer(place.key, said.f, said.value, op.action)?,
                };
                (Outcome::Ok, seen)
            }
            Kind::Fail => (
                Outcome::Fail,
                self.answer_of_failure(place.key, said.value, said.extra.error, op.action),
            ),
            Kind::Info | Kind::Invoke => (Outcome::Open, Seen::Unknown),
        };
        let ret = if outcome == Outcome::Open { NEVER } else { self.position };
        let op = &mut self.keys[index(place.key)].ops[index(place.op)];
        (op.outcome, op.seen, op.ret) = (outcome, seen, ret);
        op.log_index = said.log_index.unwrap_or(0);
        let number = op.number;
        self.times.complete(number, said.time, Some(self.position));
        self.detail(number, &said.extra, said.kind);
        let standing = if outcome == Outcome::Open { Standing::Retired } else { Standing::Idle };
        self.standings[index(client)] = standing;
        Ok(place)
    }

    /// A completion repeats what was asked for.
    fn same(&mut self, said: &Said<'_>, place: Place, action: Action) -> Result<(), Broken> {
        let differs = |what, found: String, expected: String| {
            let open = u64::from(place.call);
            Err(Broken::Differs { client: said.client, what, found, expected, open })
        };
        let key = &self.keys[index(place.key)];
        let f = self.model.function(&action);
        if said.f != f && !(said.f == "add" && f == "incr") {
            return differs("f", said.f.to_owned(), f.to_owned());
        }
        let key_said = said.key.map(|(_, name)| name);
        let key_name = self.names.text(self.key_names[index(place.key)]);
        if key_said.is_some() && key_said != key_name {
            let name = |key: Option<&str>| key.map_or("none".to_owned(), |key| format!("{key:?}"));
            return differs("key", name(key_said), name(key_name));
        }
        let repeats = matches!(action, Action::Write(_) | Action::Cas { .. } | Action::Append(_))
            || matches!(action, Action::Add(_) | Action::Remove(_) | Action::Enqueue(_));
        let says = said.kind == Kind::Ok && !said.value.is_null() && said.f != "delete";
        if repeats && says && !is_written(&key.words, &action, said.value) {
            // The same value may be written in another way: as a number, say.
            let again = self.action(place.key, said.f, said.value)?;
            if again != action {
                let expected = self.keys[index(place.key)].written(&action);
                return differs("value", said.value.to_string(), expected);
            }
        }
        Ok(())
    }

    /// Keeps what explanations may want to know.
    fn detail(&mut self, number: u32, extra: &Extra<'_>, kind: Kind) {
        let Builder { details, texts, .. } = self;
        let mut kept = |text: Option<&str>| text.map_or(0, |text| texts.number(text));
        details.error.set(number, kept(extra.error));
        details.request.set(number, kept(extra.request));
        details.role.set(number, kept(extra.role));
        details.term.set(number, extra.term.map_or(0, |term| term.saturating_add(1)));
        let nodes = if kind == Kind::Invoke { &mut details.asked } else { &mut details.answered };
        let node = extra.node.and_then(|node| u32::try_from(node).ok()?.checked_add(1));
        nodes.set(number, node.unwrap_or(0));
    }

    pub(super) fn finish(mut self) -> Result<Built, Broken> {
        if !self.whole.is_empty() {
            self.rank()?;
        }
        self.keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Built {
            keys: self.keys,
            clients: self.clients,
            operations: self.operations,
            times: self.times,
            details: self.details,
            texts: self.texts,
        })
    }

    /// Positions for operations that came with times: at equal times invocations stand before returns, as then both
    /// were under way.
    fn rank(&mut self) -> Result<(), Broken> {
        let whole = std::mem::take(&mut self.whole);
        if whole.len() > index(NEVER / 2) {
            return Err(Broken::TooLong);
        }
        let numbers = || 0..self.operations;
        let sorted = |time: fn(&(u64, u64)) -> u64| {
            let mut times: Vec<(u64, u32)> = whole.iter().map(time).zip(numbers()).collect();
            times.retain(|&(time, _)| time != u64::MAX);
            times.sort_unstable();
            times
        };
        let (calls, rets) = (sorted(|&(call, _)| call), sorted(|&(_, ret)| ret));
        let mut positions = vec![(0, NEVER); whole.len()];
        drop(whole);
        let (mut next_call, mut next_ret) = (calls.iter().peekable(), rets.iter().peekable());
        loop {
            let is_call = match (next_call.peek(), next_ret.peek()) {
                (Some((call, _)), Some((ret, _))) => call <= ret,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if is_call && let Some(&(_, number)) = next_call.next() {
                positions[index(number)].0 = self.position;
            } else if let Some(&(_, number)) = next_ret.next() {
                positions[index(number)].1 = self.position;
            }
            self.position += 1;
        }
        for op in self.keys.iter_mut().flat_map(|key| &mut key.ops) {
            (op.call, op.ret) = positions[index(op.number)];
        }
        for key in &mut self.keys {
            // Operations are large: they are moved once each, and not as often as they are compared.
            key.ops.sort_by_cached_key(|op| op.call);
        }
        Ok(())
    }
}

/// Whether what an operation writes certainly is this value. It is known, so there is no need to search for it.
fn is_written(words: &Words, action: &Action, value: &Datum<'_>) -> bool {
    match (*action, value) {
        (
            Action::Write(word)
            | Action::Append(word)
            | Action::Add(word)
            | Action::Remove(word)
            | Action::Enqueue(word),
            value,
        ) => intern::is_text(words, word, value),
        (Action::Cas { expect, new }, Datum::List(pair)) => {
            matches!(pair.as_slice(), [known, value] if intern::is_text(words, expect, known)
                && intern::is_text(words, new, value))
        }
        _ => false,
    }
}
