//! Values that are pairs of a key and a value.

use super::error::{Fault, excerpt};
use super::{RawEvent, RawProcess};
use crate::datum::Datum;
use crate::history::Kind;

/// Finds out whether they are, from the first events.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// Whether something showed that the first of a pair is a key.
    shown: bool,
}

impl Detector {
    /// Takes an event; `tagged` says that its value is marked as a pair. Says the answer once it is certain.
    pub(super) fn see(&mut self, event: &RawEvent<'_>, tagged: bool) -> Option<bool> {
        if tagged {
            return Some(true);
        }
        if matches!(event.process, RawProcess::Named(_)) {
            return None;
        }
        if event.key.is_some() {
            return Some(false);
        }
        let silent = matches!(event.kind, Kind::Info | Kind::Fail) && event.value.is_null();
        if silent {
            return None;
        }
        let Some([key, value]) = event.value.as_list() else { return Some(false) };
        if matches!(key, Datum::Null | Datum::List(_) | Datum::Map(_)) {
            return Some(false);
        }
        // A compare-and-set has two values of its own, [expected new], of which one may be nil.
        let compares = event.f.starts_with("cas") || event.f.starts_with("compare");
        let nested = value.as_list().is_some_and(|pair| pair.len() == 2);
        let asks = event.kind == Kind::Invoke && value.is_null();
        self.shown |= if compares { nested } else { asks };
        None
    }

    /// The answer if there are no more events to see.
    pub(super) fn answer(&self) -> bool {
        self.shown
    }
}

/// Takes the pair of an event apart.
pub(super) fn split(event: &mut RawEvent<'_>, at: usize) -> Result<(), Fault> {
    let silent = matches!(event.kind, Kind::Info | Kind::Fail) && event.value.is_null();
    if silent || event.key.is_some() || matches!(event.process, RawProcess::Named(_)) {
        return Ok(());
    }
    if let Datum::List(pair) = &mut event.value
        && pair.len() == 2
    {
        let value = pair.pop();
        event.key = pair.pop();
        event.value = value.unwrap_or_default();
        return Ok(());
    }
    let what = format!(
        "expected a pair of a key and a value, as jepsen.independent writes them, found {}; \
                 if values are not such pairs in this history, say --independent no",
        excerpt(&event.value.to_string())
    );
    Err(Fault::meaning(at, what))
}
