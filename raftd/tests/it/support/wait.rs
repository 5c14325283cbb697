//! Waiting for a condition, never for a while.

#![expect(clippy::disallowed_methods, reason = "deadlines need a clock")]

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a condition may take to come true. Long, because it is only reached when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Probes until there is a result, and panics with the last status if there is none in time.
pub(crate) fn wait_for<T, Status: Display>(
    what: &str,
    mut probe: impl FnMut() -> Result<T, Status>,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = match probe() {
            Ok(result) => return result,
            Err(status) => status,
        };
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}; last seen: {status}");
        // Between two probes, not instead of one.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
