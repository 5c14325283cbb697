//! A node whose time passes at another rate than the others'. Proof: how far its clock has run off.
//!
//! The machine's clock is left alone, as that is everybody's: the daemon is told to go by another rate. The node says how long
//! it has been up by its own clock; how much later that is than a while ago, against how long that while was, is the proof.
//!
//! Or its clock is set while it runs, by a library that answers in the kernel's place. Then the time at which it says that it
//! stops is the proof, as it is not the time at which it does.

use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, interval, sleep};

use super::course::Running;
use super::members::{await_part, onlooker, status};
use crate::cluster::{Cluster, Error, NodeId};

/// Rates where nothing may rest on clocks, percent.
const ANY: std::ops::RangeInclusive<u64> = 50..=200;

/// How often it is looked at how far the clock has run off.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts a node with another clock, and sees that it runs off.
pub(super) async fn run_apart(
    running: &Running,
    cluster: &Cluster,
    node: NodeId,
    seed: u64,
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let percent = rate(cluster.lease_drift_percent(), &mut rng);
    let text = |error: Error| error.to_string();
    cluster.set_clock(node, Some(percent)).await.map_err(text)?;
    cluster.terminate(node).await.map_err(text)?;
    cluster.start_node(node).await.map_err(text)?;
    await_part(cluster, node).await?;
    let client = onlooker(cluster)?;
    let look = async || {
        let asked = Instant::now();
        let own = status(&client, node).await?;
        Ok::<_, String>((asked, Duration::from_micros(own.uptime_us), asked.elapsed()))
    };
    let (first, own_first, took_first) = look().await?;
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        // A node that does not answer now may do so later.
        let Ok((now, own, took)) = look().await else { continue };
        let apart = (own.saturating_sub(own_first)).abs_diff(now - first);
        // When within the question it was answered is not known.
        let proven = apart.saturating_sub(took_first + took);
        running.proves(u64::try_from(proven.as_millis()).unwrap_or(u64::MAX));
    }
}

/// How far a clock is set, milliseconds: beyond any election timeout.
const STEP_MS: std::ops::RangeInclusive<i64> = 500..=10_000;

/// How long a clock is left alone between two steps, and between two jumps, milliseconds.
const STEP_EVERY_MS: std::ops::RangeInclusive<u64> = 200..=500;
const JUMP_EVERY_MS: std::ops::RangeInclusive<u64> = 3..=40;

/// A clock that is less off than this may only be late with its log, milliseconds.
const OFF_MIN_MS: u64 = 250;

/// Starts a node with a clock that can be set, and sets it again and again.
pub(super) async fn set_often(
    cluster: &Cluster,
    node: NodeId,
    seed: u64,
    is_strobe: bool,
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let text = |error: Error| error.to_string();
    let clock = cluster.fake_clock(node).await.map_err(text)?;
    cluster.terminate(node).await.map_err(text)?;
    cluster.start_node(node).await.map_err(text)?;
    await_part(cluster, node).await?;
    let mut ahead = 0;
    loop {
        let off = rng.random_range(STEP_MS) * if rng.random() { 1 } else { -1 };
        ahead = if is_strobe && ahead != 0 { 0 } else { off };
        clock.set(ahead).map_err(|error| error.to_string())?;
        let every = if is_strobe { JUMP_EVERY_MS } else { STEP_EVERY_MS };
        sleep(Duration::from_millis(rng.random_range(every))).await;
    }
}

/// Has the node end with its clock off, so that its last words prove it, and gives it the machine's clock again.
pub(super) async fn prove_and_set_right(
    cluster: &Cluster,
    node: NodeId,
) -> (u64, Result<(), Error>) {
    let proven = match cluster.fake_clock(node).await {
        Ok(clock) => {
            // What cannot be set is not proven.
            drop(clock.set(*STEP_MS.end()));
            let ended = cluster.terminate(node).await;
            let said = cluster.last_logged(node).filter(|_| matches!(ended, Ok(Some(_))));
            said.map_or(0, |said| off_ms(said, SystemTime::now()))
        }
        Err(_) => 0,
    };
    (proven, set_right(cluster, node).await)
}

/// By how much two times are apart, as far as that proves something.
fn off_ms(said: SystemTime, now: SystemTime) -> u64 {
    let apart = said.duration_since(now).or_else(|_| now.duration_since(said));
    let ms = u64::try_from(apart.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    if ms < OFF_MIN_MS { 0 } else { ms }
}

/// One that no other node's outruns, or is outrun by, by more than leases allow for.
fn rate(drift_percent: Option<u64>, rng: &mut StdRng) -> u64 {
    let Some(drift) = drift_percent else {
        let rates = [rng.random_range(*ANY.start()..=80), rng.random_range(125..=*ANY.end())];
        return rates[rng.random_range(0..2)];
    };
    // The others run at 100: slower by 100 to 100 + drift, faster by the drift itself.
    let slow = (10_000_u64).div_ceil(100 + drift);
    if slow == 100 || rng.random() { 100 + drift } else { slow }
}

/// Gives the node the machine's clock again.
pub(super) async fn set_right(cluster: &Cluster, node: NodeId) -> Result<(), Error> {
    cluster.set_clock(node, None).await?;
    cluster.terminate(node).await?;
    cluster.start_nodes(&[node]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_stay_within_what_leases_allow_for() {
        let mut rng = StdRng::seed_from_u64(1);
        for drift in [1, 5, 10, 50] {
            for _ in 0..100 {
                let percent = rate(Some(drift), &mut rng);
                let (fast, slow) = (percent.max(100), percent.min(100));
                assert!(fast != slow && fast * 100 <= slow * (100 + drift), "{percent} of {drift}");
            }
        }
        for _ in 0..100 {
            let percent = rate(None, &mut rng);
            assert!(ANY.contains(&percent) && !(81..125).contains(&percent), "{percent}");
        }
    }
}
