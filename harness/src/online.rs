//! Anomalies so far: a cheap look at the operations while the run goes on.
//!
//! Counts reads that are certainly wrong, whatever the rest of the history will say; the full check comes after the
//! run and finds more. What makes a read certainly wrong is an effect acknowledged before the read was invoked and
//! missing in its answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::workload::Operation;

/// Nanoseconds since the run began.
type Time = u64;

/// What was acknowledged, key by key.
#[derive(Debug, Default)]
pub struct Online {
    keys: BTreeMap<String, Key>,
    anomalies: u64,
}

#[derive(Debug, Default)]
struct Key {
    /// Acknowledged writes and successful cas: value, invoked, acknowledged.
    writes: BTreeMap<String, Time>,
    /// Acknowledgements in order of time, each with the latest invocation among the writes acknowledged up to then.
    overwritten: Vec<(Time, Time)>,
    /// Acknowledged tokens in order of time.
    tokens: Vec<(Time, String)>,
    /// Acknowledgements of increments in order of time, each with the sum up to then.
    sums: Vec<(Time, i64)>,
}

impl Online {
    /// How many reads so far were certainly wrong.
    pub fn anomalies(&self) -> u64 {
        self.anomalies
    }

    /// An operation was completed with `ok`: invoked and acknowledged when, answer what. To be called in order of
    /// acknowledgement.
    pub fn completed(
        &mut self,
        operation: &Operation,
        invoked: Time,
        acknowledged: Time,
        answer: &Value,
    ) {
        let key = self.keys.entry(operation.key().to_owned()).or_default();
        match operation {
            Operation::Read { .. } => self.anomalies += u64::from(key.contradicts(invoked, answer)),
            Operation::Write { value, .. } | Operation::Cas { value, .. } => {
                key.writes.insert(value.clone(), acknowledged);
                let latest = key.overwritten.last().map_or(0, |&(_, latest)| latest);
                key.overwritten.push((acknowledged, latest.max(invoked)));
            }
            Operation::Append { token, .. } => key.tokens.push((acknowledged, token.clone())),
            Operation::Incr { by, .. } => {
                let sum = key.sums.last().map_or(0, |&(_, sum)| sum);
                key.sums.push((acknowledged, sum + by));
            }
        }
    }
}

impl Key {
    /// Whether a read invoked then cannot have given this answer.
    fn contradicts(&self, invoked: Time, answer: &Value) -> bool {
        match answer {
            Value::Null => {
                let before =
                    |acknowledged: Option<&Time>| acknowledged.is_some_and(|&t| t < invoked);
                before(self.overwritten.first().map(|(t, _)| t))
                    || before(self.tokens.first().map(|(t, _)| t))
                    || before(self.sums.first().map(|(t, _)| t))
            }
            // Write 1 was acknowledged, then write 2 invoked and acknowledged, then the read invoked: it cannot return
            // write 1. Of a write that was not acknowledged nothing is certain: it may have landed late.
            Value::String(value) => {
                let before = self.overwritten.partition_point(|&(t, _)| t < invoked);
                let latest_invocation = before.checked_sub(1).map(|last| self.overwritten[last].1);
                self.writes
                    .get(value)
                    .zip(latest_invocation)
                    .is_some_and(|(&acknowledged, latest)| acknowledged < latest)
            }
            Value::Array(list) => {
                let list: BTreeSet<_> = list.iter().filter_map(Value::as_str).collect();
                let mut before = self.tokens.iter().take_while(|(t, _)| *t < invoked);
                before.any(|(_, token)| !list.contains(token.as_str()))
            }
            // Increments are positive, so the sum of those acknowledged before is the least there can be.
            Value::Number(number) => {
                let before = self.sums.partition_point(|&(t, _)| t < invoked);
                let least = before.checked_sub(1).map_or(0, |last| self.sums[last].1);
                number.as_i64().is_some_and(|number| number < least)
            }
            Value::Bool(_) | Value::Object(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read() -> Operation {
        Operation::Read { key: "k".to_owned() }
    }

    fn write(value: &str) -> Operation {
        Operation::Write { key: "k".to_owned(), value: value.to_owned() }
    }

    /// Replays `(operation, invoked, acknowledged, answer)` and returns the number of anomalies.
    fn anomalies(operations: &[(Operation, Time, Time, Value)]) -> u64 {
        let mut online = Online::default();
        for (operation, invoked, acknowledged, answer) in operations {
            online.completed(operation, *invoked, *acknowledged, answer);
        }
        online.anomalies()
    }

    #[test]
    fn read_of_an_overwritten_value_is_an_anomaly() {
        let writes = [(write("1"), 1, 2, json!("1")), (write("2"), 3, 4, json!("2"))];
        let old = [&writes[..], &[(read(), 5, 6, json!("1"))]].concat();
        assert_eq!(anomalies(&old), 1);
        let new = [&writes[..], &[(read(), 5, 6, json!("2"))]].concat();
        assert_eq!(anomalies(&new), 0);
    }

    #[test]
    fn read_that_overlaps_the_overwriting_write_is_none() {
        let history = [
            (write("1"), 1, 2, json!("1")),
            (write("2"), 3, 6, json!("2")),
            (read(), 5, 7, json!("1")),
        ];
        assert_eq!(anomalies(&history), 0);
    }

    #[test]
    fn read_between_overlapping_writes_is_none() {
        let history = [
            (write("1"), 1, 3, json!("1")),
            (write("2"), 2, 4, json!("2")),
            (read(), 5, 6, json!("1")),
        ];
        assert_eq!(anomalies(&history), 0, "write 1 may have taken effect after write 2");
    }

    #[test]
    fn read_of_nothing_after_an_acknowledged_write_is_an_anomaly() {
        assert_eq!(anomalies(&[(write("1"), 1, 2, json!("1")), (read(), 3, 4, Value::Null)]), 1);
        assert_eq!(anomalies(&[(write("1"), 1, 3, json!("1")), (read(), 2, 4, Value::Null)]), 0);
    }

    #[test]
    fn list_without_an_acknowledged_token_is_an_anomaly() {
        let append = Operation::Append { key: "k".to_owned(), token: "1".to_owned() };
        let history = |answer| [(append.clone(), 1, 2, json!("1")), (read(), 3, 4, answer)];
        assert_eq!(anomalies(&history(json!([]))), 1);
        assert_eq!(anomalies(&history(json!(["0", "1"]))), 0);
    }

    #[test]
    fn counter_below_the_acknowledged_sum_is_an_anomaly() {
        let incr = |by| Operation::Incr { key: "k".to_owned(), by };
        let history =
            |answer| [(incr(2), 1, 2, json!(2)), (incr(3), 1, 4, json!(5)), (read(), 3, 5, answer)];
        assert_eq!(anomalies(&history(json!(1))), 1);
        assert_eq!(
            anomalies(&history(json!(2))),
            0,
            "the second increment was not acknowledged yet"
        );
    }
}
