//! Operations for messages of failed tests.

use std::fmt::Write;

use crate::history::Outcome;
use crate::ops::{Action, KeyOps, List, Micro, NEVER, NOTHING, Op, Seen, UNREAD, Word};

/// One operation a line, in order of invocation, numbered as indexes into [`KeyOps::ops`].
pub(crate) fn print(key: &KeyOps) -> String {
    let mut text = format!("model {}, initially {}\n", key.model, seen(key, key.initial));
    for (index, op) in key.ops.iter().enumerate() {
        line(key, index, op, &mut text);
    }
    text
}

fn line(key: &KeyOps, index: usize, op: &Op, text: &mut String) {
    let ret = if op.ret == NEVER { "never".to_owned() } else { op.ret.to_string() };
    let outcome = match op.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "FAIL",
        Outcome::Open => "OPEN",
    };
    let log = if op.log_index == 0 { String::new() } else { format!(" log {}", op.log_index) };
    let answer = seen(key, op.seen);
    let process = op.process;
    let call = op.call;
    let asked = action(key, op.action);
    writeln!(text, "#{index} [{call}, {ret}] p{process} {asked} -> {answer} {outcome}{log}")
        .expect("a string takes everything");
}

fn action(key: &KeyOps, action: Action) -> String {
    let word = |word| word_text(key, word);
    match action {
        Action::Read => "read".to_owned(),
        Action::Write(value) => format!("write {}", word(value)),
        Action::Cas { expect, new } => format!("cas {} {}", word(expect), word(new)),
        Action::Append(token) => format!("append {}", word(token)),
        Action::Incr(by) => format!("incr {by}"),
        Action::Add(element) => format!("add {}", word(element)),
        Action::Remove(element) => format!("remove {}", word(element)),
        Action::Enqueue(element) => format!("enqueue {}", word(element)),
        Action::Dequeue => "dequeue".to_owned(),
        Action::Acquire => "acquire".to_owned(),
        Action::Release => "release".to_owned(),
        Action::Txn(steps) => format!("txn {}", micros(key, steps)),
    }
}

fn seen(key: &KeyOps, seen: Seen) -> String {
    match seen {
        Seen::Unknown => "?".to_owned(),
        Seen::Word(word) => word_text(key, word),
        Seen::Number(number) => number.to_string(),
        Seen::List(list) if key.model == crate::model::Model::MultiRegister => micros(key, list),
        Seen::List(list) => {
            let words: Vec<String> =
                key.list(list).iter().map(|&word| word_text(key, word)).collect();
            format!("[{}]", words.join(" "))
        }
    }
}

fn micros(key: &KeyOps, list: List) -> String {
    let step = |micro: Micro| {
        let value =
            if micro.value == UNREAD { "?".to_owned() } else { word_text(key, micro.value) };
        let sign = if micro.writes { ":=" } else { "=" };
        format!("{}{sign}{value}", word_text(key, micro.register))
    };
    format!("[{}]", key.micros(list).map(step).collect::<Vec<_>>().join(" "))
}

fn word_text(key: &KeyOps, word: Word) -> String {
    if word == NOTHING { "nothing".to_owned() } else { key.words.text(word).to_owned() }
}
