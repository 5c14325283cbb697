//! Small histories, right and wrong, as files for another checker.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Shape, generate, is_linearizable, mutate};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Seen, Word};

/// To compare another checker's verdicts with the oracle's:
///
/// ```text
/// CHECKER_EXPORT=/tmp/histories cargo test -p history-checker --lib export
/// ```
///
/// writes 10,000 files of plain operations there, and `VERDICTS.tsv` with file, model and verdict. Times are positions.
#[test]
fn export_histories_and_verdicts_if_a_directory_is_named() {
    let Ok(directory) = std::env::var("CHECKER_EXPORT") else {
        eprintln!("skipped: CHECKER_EXPORT names no directory");
        return;
    };
    let directory = Path::new(&directory);
    fs::create_dir_all(directory).unwrap();
    let mut verdicts = String::new();
    for seed in 0..10_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model = [Model::Register, Model::CasRegister, Model::Append][rng.random_range(0..3)];
        // Plain operations have no way to say what was there before, or that a read says nothing.
        let shape = Shape { initial: 0, silent: 0, ..Shape::draw(14, &mut rng) };
        let mut key = generate(model, shape, &mut rng);
        for _ in 0..rng.random_range(0..6) {
            mutate(&mut key, &mut rng);
        }
        let name = format!("{seed}.jsonl");
        fs::write(directory.join(&name), lines(&key)).unwrap();
        let verdict = if is_linearizable(&key) { "valid" } else { "invalid" };
        writeln!(verdicts, "{name}\t{model}\t{verdict}").unwrap();
    }
    fs::write(directory.join("VERDICTS.tsv"), verdicts).unwrap();
}

fn lines(key: &KeyOps) -> String {
    let mut text = String::new();
    for op in &key.ops {
        line(key, op, &mut text);
    }
    text
}

fn line(key: &KeyOps, op: &Op, text: &mut String) {
    let word = |word| json(key, word);
    let (f, value) = match op.action {
        Action::Read => ("read", answer(key, op.seen)),
        Action::Write(NOTHING) => ("delete", "null".to_owned()),
        Action::Write(value) => ("write", word(value)),
        Action::Append(token) => ("append", word(token)),
        Action::Cas { expect, new } => ("cas", format!("[{},{}]", word(expect), word(new))),
        Action::Incr(_)
        | Action::Add(_)
        | Action::Remove(_)
        | Action::Enqueue(_)
        | Action::Dequeue
        | Action::Acquire
        | Action::Release
        | Action::Txn(_) => unreachable!("no such operation in these models"),
    };
    let kind = match op.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Open => "info",
    };
    let (process, call) = (op.process, op.call);
    write!(text, r#"{{"process":{process},"f":"{f}","value":{value},"type":"{kind}""#).unwrap();
    if let (Outcome::Fail, Seen::Word(found)) = (op.outcome, op.seen) {
        write!(text, r#","error":"mismatch","result":{{"actual":{}}}"#, word(found)).unwrap();
    }
    if op.ret != NEVER {
        write!(text, r#","return":{}"#, op.ret).unwrap();
    }
    writeln!(text, r#","call":{call}}}"#).unwrap();
}

fn answer(key: &KeyOps, seen: Seen) -> String {
    match seen {
        Seen::Word(value) => json(key, value),
        Seen::List(list) => {
            let tokens: Vec<String> = key.list(list).iter().map(|&word| json(key, word)).collect();
            format!("[{}]", tokens.join(","))
        }
        Seen::Unknown | Seen::Number(_) => "null".to_owned(),
    }
}

fn json(key: &KeyOps, word: Word) -> String {
    if word == NOTHING { "null".to_owned() } else { format!("{:?}", key.words.text(word)) }
}
