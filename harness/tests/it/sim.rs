//! The simulator: the same seed gives the same run, hundreds of seeds break no promise, and mistakes are noticed.

use harness::sim::campaign::run_all;
use harness::sim::{MODELS, Sabotage, Settings, run, shrink};
use predicates::prelude::*;
use predicates::str::contains;
use std::time::Duration;

use crate::support::harness;

/// Seeds for each test that looks for failures.
const SEEDS: u64 = 150;

#[test]
fn seed_gives_the_same_run_every_time() {
    for seed in 0..20 {
        let traces = [0; 2].map(|_| run(seed, &Settings::default(), true).trace);
        assert!(traces[0].len() > 100, "seed {seed} is no run to speak of");
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
    let [one, other] = [1, 2].map(|seed| run(seed, &Settings::default(), true).trace);
    assert_ne!(one, other);
}

#[test]
fn seeds_on_all_sizes_and_workloads_break_no_promise() {
    for (nodes, model) in [3, 4, 5, 7].into_iter().zip(MODELS) {
        let settings = Settings { nodes: Some(nodes), model: Some(model), ..Settings::default() };
        let campaign = run_all(0..SEEDS, &settings, 2, |_| {});
        assert_eq!(
            campaign.failure,
            None,
            "harness sim --seed N --trace --nodes {nodes} --workload {}",
            model.name()
        );
        assert_eq!(campaign.seeds, SEEDS);
    }
}

#[test]
fn every_fault_and_event_happens_in_a_thousand_seeds() {
    let campaign = run_all(0..1_000, &Settings::default(), 2, |_| {});
    assert_eq!(campaign.failure, None, "harness sim --seed N --trace");
    assert_eq!(campaign.missing(), [""; 0]);
}

/// A grant of a pre-vote came out of a link seconds after it was given, when its candidate campaigned for the same term
/// again: a leader that was well lost its place, and no rule was broken.
#[test]
fn frames_of_before_the_healing_are_waited_for() {
    let seed = 1_450_969_834_150;
    let run = run(seed, &Settings::default(), false);
    assert_eq!(run.violation, None, "harness sim --seed {seed} --trace");
}

#[test]
fn mistakes_of_the_driver_are_noticed_and_shrunk() {
    for sabotage in [Sabotage::ForgetSynced, Sabotage::AckBeforeSync] {
        let settings = Settings { sabotage, ..Settings::default() };
        let campaign = run_all(0..2_000, &settings, 1, |_| {});
        let (seed, violation) = campaign.failure.expect("the mistake is noticed");
        let shrunk = shrink(seed, &settings, Duration::from_secs(5)).expect("it fails again");
        assert!(shrunk.items_after < shrunk.items_before, "{sabotage:?}: {violation}");
        let again = shrunk.run.violation.expect("and still fails");
        assert_eq!(again.promise, violation.promise);
        assert!(shrunk.run.trace.last().is_some_and(|line| line.contains("VIOLATION")));
    }
}

#[test]
fn command_runs_the_seeds_it_is_told_and_sums_up() {
    harness()
        .args(["sim", "--seeds", "5..25", "--nodes", "3", "--workload", "append", "--jobs", "1"])
        .assert()
        .code(0)
        .stderr(contains("seeds 5..25"))
        .stdout(contains("valid: 20 seeds").and(contains("leaders elected")));
    harness()
        .args(["sim", "--seed", "5", "--trace"])
        .assert()
        .code(0)
        .stdout(contains("everything heals").and(contains("valid: seed 5")));
}

#[test]
fn command_with_bad_seeds_exits_64_and_names_the_remedy() {
    let cases: &[(&[&str], &str)] = &[
        (&["sim", "--seeds", "7"], "write it like 0..1000"),
        (&["sim", "--seeds", "7..7"], "the first must be lower"),
        (&["sim", "--seeds", "1..9", "--seed", "3"], "cannot be used with"),
        (&["sim", "--trace"], "--seed <N>"),
        (&["sim", "--nodes", "10"], "10 is not in 1..=9"),
        (&["sim", "--jobs", "0"], "must be 1 to 1024"),
        (&["sim", "--workload", "queue"], "possible values"),
    ];
    for (args, message) in cases {
        harness().args(*args).assert().code(64).stderr(contains(*message));
    }
}
