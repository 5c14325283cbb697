//! Waiting, always for a condition and never for a while.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How often a condition is probed that cannot announce itself.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// The condition did not come about in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {after:?} for {what}; last seen: {last}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub after: Duration,
    /// What the last probe saw instead.
    pub last: String,
}

/// Probes until `Ok`, but no longer than `deadline`. The probe's `Err` says what it sees instead.
pub async fn wait_for<T, S, P, F>(
    what: &str,
    deadline: Duration,
    mut probe: P,
) -> Result<T, TimedOut>
where
    S: Display,
    P: FnMut() -> F,
    F: Future<Output = Result<T, S>>,
{
    let end = Instant::now() + deadline;
    let mut last = None;
    let mut tick = interval(PROBE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let probing = async {
        loop {
            tick.tick().await;
            match probe().await {
                Ok(value) => return value,
                Err(status) => last = Some(status.to_string()),
            }
        }
    };
    let found = timeout_at(end, probing).await;
    found.map_err(|_| TimedOut {
        what: what.to_owned(),
        after: deadline,
        last: last.unwrap_or_else(|| "nothing: the first probe did not return".to_owned()),
    })
}

/// Looks at every new value until `Ok`, but no longer than `deadline`. The probe's `Err` says what it sees instead.
pub async fn wait_for_value<V, T, S: Display>(
    what: &str,
    deadline: Duration,
    values: &mut watch::Receiver<V>,
    mut probe: impl FnMut(&V) -> Result<T, S>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + deadline;
    loop {
        let last = match probe(&values.borrow_and_update()) {
            Ok(value) => return Ok(value),
            Err(status) => status.to_string(),
        };
        let timed_out = |last| TimedOut { what: what.to_owned(), after: deadline, last };
        match timeout_at(end, values.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                return Err(timed_out(format!("{last}, and it will not change any more")));
            }
            Err(_) => return Err(timed_out(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn condition_that_comes_about_ends_the_wait() {
        let mut left = 3;
        let value = wait_for("zero", Duration::from_secs(1), || {
            left -= 1;
            ready(if left == 0 { Ok(7) } else { Err(format!("{left} left")) })
        });
        assert_eq!(value.await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn condition_that_never_holds_is_reported_with_what_was_seen_last() {
        let mut probes = 0;
        let outcome: Result<(), TimedOut> = wait_for("a leader", Duration::from_secs(1), || {
            probes += 1;
            ready(Err(if probes < 5 { "starting" } else { "no leader" }))
        })
        .await;
        let error = outcome.unwrap_err().to_string();
        assert_eq!(error, "waited 1s for a leader; last seen: no leader");
    }

    #[tokio::test(start_paused = true)]
    async fn probe_that_hangs_does_not_outlast_the_deadline() {
        let outcome: Result<(), TimedOut> = wait_for(
            "an answer",
            Duration::from_secs(1),
            std::future::pending::<Result<(), String>>,
        )
        .await;
        assert!(outcome.unwrap_err().last.contains("did not return"));
    }

    #[tokio::test(start_paused = true)]
    async fn value_that_changes_in_time_ends_the_wait() {
        let (sender, mut values) = watch::channel(1);
        let probe = |value: &i32| if *value > 1 { Ok(*value) } else { Err("still 1") };
        let wait = wait_for_value("more", Duration::from_secs(1), &mut values, probe);
        let change = async { sender.send_replace(2) };
        assert_eq!(tokio::join!(wait, change).0, Ok(2));
        let wait = wait_for_value("even more", Duration::from_secs(1), &mut values, |value| {
            if *value > 2 { Ok(()) } else { Err(format!("still {value}")) }
        });
        assert_eq!(wait.await.unwrap_err().last, "still 2");
    }
}
