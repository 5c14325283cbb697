//! The fields of a scenario: what they may say, and what they are if nothing is said.

use std::ops::RangeInclusive;
use std::time::Duration;

use history_checker::results::Verdict;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::select_faults;
use crate::nemesis as fault;
use crate::workload::Object;

/// Bounds of the time limits in a scenario. Far beyond the upper one, points in time could not be calculated.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

pub(super) fn one_second() -> Duration {
    Duration::from_secs(1)
}

pub(super) fn a_tenth_of_a_second() -> Duration {
    Duration::from_millis(100)
}

/// Faults last one and a half seconds at most, and an election takes a fraction of that, even on a slow machine.
pub(super) fn eight_seconds() -> Duration {
    Duration::from_secs(8)
}

pub(super) fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// A number within bounds: the parser adds the line to the message.
pub(super) fn between<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (LEAST..=MOST).contains(&number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("{number} is out of range: {LEAST} to {MOST}")))
    }
}

pub(super) fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = || {
        let names = Object::ALL.map(Object::name).join(", ");
        D::Error::custom(format!("no workload is about {name:?}; there are {names}"))
    };
    Object::named(&name).ok_or_else(unknown)
}

pub(super) fn number_of_keys<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    usize::try_from(between::<1, 100_000, D>(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn lease_drift_percent<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    between::<1, 50, D>(deserializer).map(Some)
}

pub(super) fn snapshot_log_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    between::<1, { 1 << 40 }, D>(deserializer).map(Some)
}

pub(super) fn three() -> usize {
    3
}

pub(super) fn accounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    usize::try_from(between::<2, 16, D>(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn balance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::try_from(between::<1, 1_000_000, D>(deserializer)?).map(Some).map_err(D::Error::custom)
}

/// From room for what makes a value unique to the longest that the daemon takes.
pub(super) fn value_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    let bytes = between::<64, { 1 << 20 }, D>(deserializer)?;
    usize::try_from(bytes).map(Some).map_err(D::Error::custom)
}

pub(super) fn ascending<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u32; 2], D::Error> {
    let [fewest, most] = <[u32; 2]>::deserialize(deserializer)?;
    if fewest >= 1 && fewest <= most {
        Ok([fewest, most])
    } else {
        Err(D::Error::custom(format!("[{fewest}, {most}]: write [fewest, most], from 1 up")))
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("{error}; write it like \"1s\" or \"500ms\"")))?;
    if TIMEOUTS.contains(&duration) {
        Ok(duration)
    } else {
        Err(D::Error::custom(format!("{text:?} is out of range: 1ms to 1h")))
    }
}

pub(super) fn some_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn fault_kinds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<fault::Kind>, D::Error> {
    select_faults(&Vec::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Only canaries are expected to be invalid, and nothing is expected to be unknown.
pub(super) fn decided<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verdict, D::Error> {
    match Verdict::deserialize(deserializer)? {
        Verdict::Unknown => Err(D::Error::custom("expect `valid` or `invalid`")),
        verdict @ (Verdict::Valid | Verdict::Invalid) => Ok(verdict),
    }
}

/// The name becomes a directory's.
pub(super) fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 100 && name.chars().all(good) && name != "latest" {
        Ok(name)
    } else {
        Err(D::Error::custom(format!("{name:?} is no workload name: use a-z, 0-9 and -")))
    }
}
