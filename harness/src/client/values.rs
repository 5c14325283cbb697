//! How the cluster, which keeps texts under keys, keeps what the history has.
//!
//! | object | in the cluster |
//! |---|---|
//! | register | the value; padded, if the workload says so, three of four |
//! | list, set | its elements, a comma after each |
//! | counter | the number |
//! | registers `r0`, `r1` of key `k` | the values of `k.r0`, `k.r1`; an account with its opening balance: no value |
//! | queue `k` | its elements under `k.0`, `k.1`, …; in `k.head` and `k.tail` where it begins and ends; no value: 0 |
//! | lock | who holds it; free: no value |
//! | lock that guards the set `k` | in `k.lock`, its holder and how many there were |

use raftctl::{Compare, Txn, TxnOp, TxnResult};
use serde_json::{Value, json};

use super::TOKEN_END;
use crate::scenario::Scenario;
use crate::workload::{Hints, Object, Step, register_name};

/// What fills a value up: no digit and no dash, which values are made of.
const PADDING: &str = ":abcdefghijklmnopqrstuvwxyz";

/// How values are kept.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// What the keys hold.
    pub model: Object,
    /// Multi-register: how many a key has.
    pub registers: usize,
    /// What is on an account that nobody has touched.
    pub opening_balance: Option<i64>,
    /// How long values are made.
    pub bytes: Option<usize>,
}

impl Values {
    /// As the workload wants it.
    pub fn of(scenario: &Scenario) -> Values {
        Values {
            model: scenario.model,
            registers: scenario.registers,
            opening_balance: scenario.opening_balance,
            bytes: scenario.value_bytes,
        }
    }

    /// A value as it is stored. One of four stays short, so that long and short ones stand side by side.
    pub(super) fn stored(self, value: &str) -> String {
        let mut stored = value.to_owned();
        let is_padded = value.bytes().map(u32::from).sum::<u32>() % 4 != 0;
        if let Some(bytes) = self.bytes.filter(|_| is_padded) {
            stored.extend(PADDING.chars().cycle().take(bytes.saturating_sub(value.len())));
        }
        stored
    }

    /// What was read, in the model's terms.
    pub(super) fn read(self, value: Option<String>) -> Value {
        if self.bytes.is_none() {
            return read_value(self.model, value);
        }
        let Some(stored) = value else { return Value::Null };
        let short = stored.split(':').next().unwrap_or_default();
        if self.stored(short) == stored {
            return json!(short);
        }
        // Nobody wrote that: the checker will object.
        json!(format!("{short} with {} bytes that are not its padding", stored.len() - short.len()))
    }

    /// What a transaction asks the cluster for.
    pub(super) fn transaction(self, key: &str, steps: &[Step]) -> Txn {
        let name = |register: &str| format!("{key}.{register}");
        let mut txn = Txn::default();
        for step in steps {
            match step {
                Step::Read { register } => txn.then.push(TxnOp::Get { key: name(register) }),
                Step::Expect { register, value } => {
                    txn.compare.push(Compare { key: name(register), expect: self.text(value) });
                }
                Step::Write { register, value } => {
                    let key = name(register);
                    txn.then.push(match self.text(value) {
                        Some(value) => TxnOp::Put { key, value },
                        None => TxnOp::Delete { key },
                    });
                }
            }
        }
        if !txn.compare.is_empty() {
            let all = (0..self.registers).map(register_name);
            txn.otherwise = all.map(|register| TxnOp::Get { key: name(&register) }).collect();
        }
        txn
    }

    /// The steps of a transaction with what they read.
    pub(super) fn transacted(self, steps: &[Step], results: Option<&[TxnResult]>) -> Value {
        // Only reads and writes have results.
        let mut results = results.unwrap_or_default().iter();
        let with_result = |step: &Step| match step {
            Step::Expect { .. } => step.value(),
            Step::Write { .. } => {
                results.next();
                step.value()
            }
            Step::Read { register } => {
                let read = results.next().map_or(Value::Null, |result| self.register(result));
                json!(["r", register, read])
            }
        };
        steps.iter().map(with_result).collect()
    }

    /// What all accounts hold after a transaction that read all, or changed two.
    pub(super) fn balances(self, steps: &[Step], results: Option<&[TxnResult]>) -> Option<Hints> {
        let reads_all = steps.iter().all(|step| matches!(step, Step::Read { .. }));
        if reads_all { self.all_balances(results) } else { None }
    }

    /// What all accounts hold, as these reads of all of them say.
    pub(super) fn all_balances(self, results: Option<&[TxnResult]>) -> Option<Hints> {
        self.opening_balance?;
        let balance = |result: &TxnResult| self.register(result).as_i64();
        results?.iter().map(balance).collect::<Option<Vec<i64>>>().map(Hints::Balances)
    }

    /// The value of a register, as a transaction read it.
    fn register(self, result: &TxnResult) -> Value {
        match (result, self.opening_balance) {
            (TxnResult::Value(None), Some(opening)) => json!(opening),
            (TxnResult::Value(Some(text)), Some(_)) => {
                text.parse::<i64>().map_or_else(|_| json!(text), Value::from)
            }
            (TxnResult::Value(value), None) => json!(value),
            // No read is answered like that: the checker will object.
            (other, _) => json!(format!("{other:?}")),
        }
    }

    /// A register's value as it is stored.
    fn text(self, value: &Value) -> Option<String> {
        if let Some(text) = value.as_str() {
            return Some(text.to_owned());
        }
        let opened = self.opening_balance.is_some() && value.as_i64() == self.opening_balance;
        (!opened).then(|| value.to_string())
    }
}

/// A stored value in the model's terms; one that makes no sense there is kept as it is, for the checker to object to.
pub(crate) fn read_value(model: Object, value: Option<String>) -> Value {
    match (model, value) {
        (Object::Append | Object::Set, None) => json!([]),
        (Object::Append | Object::Set, Some(text)) => {
            let tokens = text.strip_suffix(TOKEN_END).unwrap_or(&text);
            json!(tokens.split(TOKEN_END).collect::<Vec<_>>())
        }
        (Object::Counter, Some(text)) => {
            text.parse::<i64>().map_or_else(|_| json!(text), Value::from)
        }
        (
            Object::Register
            | Object::CasRegister
            | Object::Counter
            | Object::MultiRegister
            | Object::FifoQueue
            | Object::Mutex,
            value,
        ) => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(model: Object) -> Values {
        Values { model, registers: 3, opening_balance: None, bytes: None }
    }

    #[test]
    fn read_value_splits_tokens_at_their_ends() {
        let read = |text: Option<&str>| read_value(Object::Append, text.map(str::to_owned));
        assert_eq!(read(None), json!([]));
        assert_eq!(read(Some("1-1,2-1,")), json!(["1-1", "2-1"]));
        assert_eq!(read(Some("1-1,2-")), json!(["1-1", "2-"]), "a torn token is not hidden");
        assert_eq!(read(Some("1-1,,2-1,")), json!(["1-1", "", "2-1"]));
    }

    #[test]
    fn read_value_of_a_counter_is_a_number_or_left_as_it_is() {
        let read = |text: Option<&str>| read_value(Object::Counter, text.map(str::to_owned));
        assert_eq!(read(None), Value::Null);
        assert_eq!(read(Some("-7")), json!(-7));
        assert_eq!(read(Some("seven")), json!("seven"));
    }

    #[test]
    fn padded_value_is_read_as_what_it_was_only_if_it_is_whole() {
        let values = Values { bytes: Some(64), ..values(Object::Register) };
        let stored = values.stored("12-346");
        assert_eq!(stored.len(), 64);
        assert_eq!(values.read(Some(stored.clone())), json!("12-346"));
        assert_eq!(values.read(None), Value::Null);
        for damaged in [&stored[..63], &stored.replace('k', "K"), "12-346", &stored[1..]] {
            let read = values.read(Some(damaged.to_owned()));
            assert!(read.as_str().is_some_and(|text| text.contains("not its padding")), "{read}");
        }

        let short = values.stored("12-345");
        assert_eq!((short.as_str(), values.read(Some(short.clone()))), ("12-345", json!("12-345")));
        let longer = format!("{short}{PADDING}");
        let read = values.read(Some(longer));
        assert!(read.as_str().is_some_and(|text| text.contains("not its padding")), "{read}");
    }

    #[test]
    fn account_with_its_opening_balance_has_no_value() {
        let values = Values { opening_balance: Some(20), ..values(Object::MultiRegister) };
        let expect = |register: &str, value: i64| {
            let (register, value) = (register.to_owned(), json!(value));
            Step::Expect { register, value }
        };
        let write = |register: &str, value: i64| {
            let (register, value) = (register.to_owned(), json!(value));
            Step::Write { register, value }
        };
        let steps = [expect("r0", 20), expect("r1", 15), write("r0", 15), write("r1", 20)];
        let txn = values.transaction("k1", &steps);
        assert_eq!(
            json!(txn),
            json!({
                "compare": [{"key": "k1.r0", "expect": null}, {"key": "k1.r1", "expect": "15"}],
                "then": [{"put": {"key": "k1.r0", "value": "15"}}, {"delete": {"key": "k1.r1"}}],
                "else": [{"get": {"key": "k1.r0"}}, {"get": {"key": "k1.r1"}}, {"get": {"key": "k1.r2"}}],
            })
        );
        let found = [None, Some("15".to_owned()), Some("25".to_owned())].map(TxnResult::Value);
        assert_eq!(values.all_balances(Some(&found)), Some(Hints::Balances(vec![20, 15, 25])));
    }

    #[test]
    fn transaction_says_what_its_reads_found_and_nothing_of_its_writes() {
        let steps = [
            Step::Read { register: "r1".to_owned() },
            Step::Write { register: "r0".to_owned(), value: json!("1-2") },
            Step::Read { register: "r2".to_owned() },
        ];
        let results =
            [TxnResult::Value(Some("3-4".to_owned())), TxnResult::Done, TxnResult::Value(None)];
        let value = values(Object::MultiRegister).transacted(&steps, Some(&results));
        assert_eq!(value, json!([["r", "r1", "3-4"], ["w", "r0", "1-2"], ["r", "r2", null]]));
    }
}
