//! `results/TRACK-RECORD.md`, and the same in short for a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::ledger::{Ledger, Measured};
use super::museum::{Expected, Exposure, Mutant};
use crate::terminal;

/// The file, among the results.
pub(super) const FILE: &str = "TRACK-RECORD.md";

const INTRODUCTION: &str = "\
# Track record

Bugs that Raft implementations really had, put into this project's daemon one by one, and what the bench saw of them. Each is a
small patch in [`harness/mutants/`](../harness/mutants), with a TOML that says where it comes from and what exposes it. This page
is written by `harness mutants` and `harness mutants --sim`, which build each bug and look for it; a row stays as it is until it
is measured again.

- **found**: in how many of the runs. **seconds**: from the start of a run until the bug was seen, median of those in which it
  was. **by**: the checks that saw it; `availability`: the cluster did not serve again after all faults had ended.
- A dash: it cannot be looked for in this way; the reason stands below, as does that of each bug that is not found.
";

/// How a bug fared, in a few characters.
fn mark(measured: Option<&Measured>, is_possible: bool) -> [String; 3] {
    match measured {
        Some(Measured { runs, found, seconds, by, .. }) => {
            let seconds = seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
            let by = if by.is_empty() { "not found".to_owned() } else { by.clone() };
            [format!("{found} of {runs}"), seconds, by]
        }
        None if is_possible => ["not tried yet".to_owned(), String::new(), String::new()],
        None => ["—".to_owned(), String::new(), String::new()],
    }
}

/// The whole page.
pub(super) fn page(mutants: &[Mutant], ledger: &Ledger) -> String {
    let mut page = INTRODUCTION.to_owned();
    page += &score(mutants, ledger);
    page += "\n## Bugs\n\n| bug | real processes: found | seconds | by | simulator: found | seconds | by |\n";
    page += "|---|---|---|---|---|---|---|\n";
    for mutant in mutants {
        let real = mark(ledger.real.get(&mutant.name), is_possible(&mutant.about.run));
        let sim = mark(ledger.sim.get(&mutant.name), is_possible(&mutant.about.sim));
        line(&mut page, &[std::slice::from_ref(&mutant.name), &real, &sim].concat());
    }
    page += "\n## The build without a bug\n\nThe same workloads, and the same number of simulated schedules. Nothing may be found here.\n\n";
    page += "| what was run | found | by | commit, day |\n|---|---|---|---|\n";
    for (what, measured) in ledger.clean_real.iter().chain(&ledger.clean_sim) {
        let Measured { runs, found, by, commit, date, .. } = measured;
        let cells =
            [what.clone(), format!("{found} of {runs}"), by.clone(), format!("{commit}, {date}")];
        line(&mut page, &cells);
    }
    page += "\n## Where they come from\n\n| bug | what is wrong | source | breaks |\n|---|---|---|---|\n";
    for Mutant { name, about, .. } in mutants {
        line(&mut page, &[name, &about.title, &about.source, &about.property].map(Clone::clone));
    }
    page += "\n## What is not found, and why\n\n";
    for mutant in mutants {
        page += &reasons(mutant);
    }
    page +=
        "\n## When and from which commit\n\n| bug | real processes | simulator |\n|---|---|---|\n";
    for Mutant { name, .. } in mutants {
        let when = |measured: Option<&Measured>| {
            measured.map_or_else(String::new, |Measured { commit, date, seed, .. }| {
                format!("{commit}, {date}, seed {seed}")
            })
        };
        line(&mut page, &[name.clone(), when(ledger.real.get(name)), when(ledger.sim.get(name))]);
    }
    page
}

/// How many of how many.
fn score(mutants: &[Mutant], ledger: &Ledger) -> String {
    let found = |measured: Option<&Measured>| measured.is_some_and(|measured| measured.found > 0);
    let real = mutants.iter().filter(|mutant| found(ledger.real.get(&mutant.name))).count();
    let sim = mutants.iter().filter(|mutant| found(ledger.sim.get(&mutant.name))).count();
    let either = mutants.iter().filter(|mutant| {
        found(ledger.real.get(&mutant.name)) || found(ledger.sim.get(&mutant.name))
    });
    format!(
        "\n**{} of {} bugs are found: {real} on real processes, {sim} in the simulator.**\n",
        either.count(),
        mutants.len()
    )
}

fn is_possible<T>(exposure: &Exposure<T>) -> bool {
    matches!(exposure, Exposure::How(_))
}

fn reasons(mutant: &Mutant) -> String {
    let mut text = String::new();
    let real = match &mutant.about.run {
        Exposure::How(run) => run.because.as_ref().filter(|_| run.expected == Expected::NotFound),
        Exposure::Impossible(why) => Some(why),
    };
    let sim = match &mutant.about.sim {
        Exposure::How(sim) => sim.because.as_ref().filter(|_| sim.expected == Expected::NotFound),
        Exposure::Impossible(why) => Some(why),
    };
    for (where_, why) in [("on real processes", real), ("in the simulator", sim)] {
        if let Some(why) = why {
            let written = writeln!(text, "- `{}` {where_}: {why}", mutant.name);
            written.expect("strings take everything");
        }
    }
    text
}

/// A line of a table. What stands in a cell must not end it.
fn line(page: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let written = writeln!(page, "| {} |", cells.join(" | "));
    written.expect("strings take everything");
}

/// What a terminal gets to see of this command's own measurements: name, what came of it, and whether that was expected.
pub(super) fn print(out: &mut impl Write, rows: &[[String; 5]]) -> io::Result<()> {
    let mut table = terminal::table();
    table.set_header(["bug", "found", "seconds", "by", ""]);
    table.add_rows(rows.iter().cloned());
    writeln!(out, "\n{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn page_tells_found_from_not_found_and_from_impossible() {
        let about = |rest: &str| {
            let text = "title = \"t\"\nsource = \"a|b\"\nproperty = \"p\"\nfinder = \"f\"\n";
            toml::from_str(&format!("{text}{rest}")).unwrap()
        };
        let how = "[run]\nworkload = \"append\"\ntime_limit = \"20s\"\nexpected = \"not found\"\nbecause = \"it hides.\"\n";
        let mutant = |name: &str, rest: &str| Mutant {
            name: name.to_owned(),
            patch: PathBuf::new(),
            about: about(rest),
        };
        let mutants = [
            mutant("a", &format!("{how}[sim]\nseeds = 9\n")),
            mutant("b", "[run]\nimpossible = \"no disk.\"\n[sim]\nseeds = 9\n"),
        ];
        let mut ledger = Ledger::default();
        let measured = Measured { runs: 3, ..Measured::default() };
        ledger.real.insert("a".into(), measured.clone());
        let (by, seconds) = ("log matching".to_owned(), Some(1.25));
        ledger.sim.insert("b".into(), Measured { found: 2, by, seconds, ..measured });
        let page = page(&mutants, &ledger);
        for expected in [
            "1 of 2 bugs are found: 0 on real processes, 1 in the simulator",
            "| a | 0 of 3 |  | not found | not tried yet |  |  |",
            "| b | — |  |  | 2 of 3 | 1.2 | log matching |",
            "| a | t | a\\|b | p |",
            "- `a` on real processes: it hides.\n- `b` on real processes: no disk.\n",
        ] {
            assert!(page.contains(expected), "no {expected:?} in:\n{page}");
        }
    }
}
