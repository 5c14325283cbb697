//! The node's own time: since its start, at the rate of the machine's clock unless it was told another.

use std::time::{Duration, Instant};

/// A node's clock. What the core calls a time is what has passed on it since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
    /// So much passes on it while 100 passes on the machine's.
    percent: u32,
}

impl Clock {
    /// Starts now.
    pub(super) fn start(percent: u32) -> Clock {
        Clock { origin: Instant::now(), percent }
    }

    pub(super) fn origin(&self) -> Instant {
        self.origin
    }

    /// The time at a moment of the machine's.
    pub(super) fn at(&self, now: Instant) -> Duration {
        scaled(now.saturating_duration_since(self.origin), self.percent, 100)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.at(Instant::now())
    }

    /// The machine's own, for what is nobody's promise.
    pub(super) fn now() -> Instant {
        Instant::now()
    }

    /// When it will be that late, rounded up; none: never.
    pub(super) fn moment(&self, time: Duration) -> Option<Instant> {
        let passed = scaled(time, 100, self.percent);
        let up = if self.percent == 100 { Duration::ZERO } else { Duration::from_nanos(1) };
        self.origin.checked_add(passed.checked_add(up)?)
    }
}

/// The usual rate costs no division.
fn scaled(time: Duration, by: u32, per: u32) -> Duration {
    if by == per {
        return time;
    }
    let nanos = time.as_nanos().saturating_mul(u128::from(by)) / u128::from(per.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_of_a_time_is_the_first_at_which_it_has_come() {
        for percent in [10, 90, 97, 100, 103, 250, 1000] {
            let clock = Clock::start(percent);
            for micros in [0, 1, 149_999, 150_000, 3_600_000_000] {
                let time = Duration::from_micros(micros);
                let moment = clock.moment(time).unwrap();
                assert!(clock.at(moment) >= time, "{percent} %, {micros} us");
                let late = clock.at(moment).checked_sub(time).unwrap();
                assert!(
                    late <= Duration::from_nanos(20),
                    "{percent} %, {micros} us: {late:?} late"
                );
            }
        }
    }

    #[test]
    fn clock_that_runs_fast_is_ahead() {
        let clock = Clock::start(150);
        let later = clock.origin() + Duration::from_secs(2);
        assert_eq!(clock.at(later), Duration::from_secs(3));
        assert_eq!(Clock::start(100).moment(Duration::MAX), None);
    }
}
