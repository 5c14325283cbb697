//! The museum of seeded bugs: every patch applies, every page is complete, and wrong usage is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use harness::mutants::museum::{Exposure, Mutant};
use predicates::str::contains;

use crate::support::harness;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn patch_of_every_bug_applies() {
    for Mutant { name, patch, .. } in Mutant::all(root()).unwrap() {
        let mut git = Command::new("git");
        let applied =
            git.args(["apply", "--check"]).arg(&patch).current_dir(root()).output().unwrap();
        let error = String::from_utf8_lossy(&applied.stderr);
        assert!(
            applied.status.success(),
            "{name} does not apply any more; change its patch with the code: {error}"
        );
    }
}

#[test]
fn museum_shows_every_part_of_raft_and_where_its_bugs_come_from() {
    let all = Mutant::all(root()).unwrap();
    let mut sections: BTreeMap<&str, u32> = BTreeMap::new();
    for mutant in &all {
        *sections.entry(mutant.section()).or_default() += 1;
        let about = &mutant.about;
        for text in [&about.title, &about.source, &about.property, &about.finder] {
            assert!(!text.is_empty(), "{} leaves something out", mutant.name);
        }
        let cites = |word| about.property.contains(word);
        assert!(cites("Thesis §") || cites("Paper §"), "{} cites no rule of Raft", mutant.name);
    }
    let parts = [
        "commit",
        "election",
        "members",
        "reads",
        "replication",
        "sessions",
        "snapshot",
        "storage",
    ];
    assert_eq!(sections.keys().copied().collect::<Vec<_>>(), parts);
    let is_found = |mutant: &Mutant| {
        matches!(mutant.about.run, Exposure::How(_)) || matches!(mutant.about.sim, Exposure::How(_))
    };
    assert!(all.iter().filter(|mutant| is_found(mutant)).count() >= 45);
}

#[test]
fn wrong_usage_is_refused_before_anything_is_built() {
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = |at: &Path, args: &[&str], message: &str| {
        harness()
            .arg("mutants")
            .args(args)
            .current_dir(at)
            .assert()
            .code(64)
            .stderr(contains(message));
    };
    refused(
        root(),
        &["writes-"],
        "no bug's name begins with \"writes-\"; there are clean, commit-",
    );
    refused(root(), &["--check", "--sim"], "cannot be used with");
    refused(root(), &["--runs", "0"], "0 is not in 1..");
    refused(elsewhere.path(), &[], "is in no checkout of this project");
}
