//! What is printed at the end: for people, on stdout.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write, stderr, stdout};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use console::{Term, style};
use history_checker::results::{Core, Results, Verdict, Violation};
use indicatif::HumanCount;

use crate::record::Record;
use crate::report::amount;

/// Width of wrapped text where there is no terminal to say it, characters.
const COLUMNS: u16 = 110;

/// Writes to stdout. Whoever reads it may stop reading; that is no failure.
pub fn print(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> io::Result<()> {
    let mut out = stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Writes a line to stderr. If nobody reads it, nobody misses it.
pub fn note(line: impl Display) {
    drop(writeln!(stderr(), "{line}"));
}

/// The verdict on one history and what it rests on, down to the first violation.
pub fn verdict(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let results = &record.results;
    writeln!(out, "\n{}\n", headline(results))?;
    let mut checks = table();
    for check in &results.checks {
        checks.add_row([&check.name, word(check.verdict), &check.summary]);
    }
    writeln!(out, "{}\n", checks.trim_fmt())?;
    let mut facts = table();
    facts.add_row(["operations", &operations(record)]);
    if !record.faults.is_empty() {
        facts.add_row(["faults", &faults(record)]);
    }
    if results.checks.iter().any(|check| check.name == "nodes") {
        facts.add_row(["leaders", &plural(results.counts.leader_changes, "change")]);
    }
    writeln!(out, "{}", facts.trim_fmt())?;
    if let Some(violation) = violation(results) {
        writeln!(
            out,
            "\n{}\n{}",
            style(title(violation)).bold(),
            paragraph(&violation.explanation)
        )?;
        if let Some(core) = core(results, violation) {
            let minimal = if core.is_minimal { " (none of them can be left out)" } else { "" };
            let operations = plural(core.operations, "operation");
            writeln!(out, "\n {operations} that contradict each other{minimal}:\n")?;
            for line in core.timeline.trim_end().lines() {
                writeln!(out, " {line}")?;
            }
        }
    }
    Ok(())
}

/// The verdict as a word that catches the eye, and the sentence that goes with it.
fn headline(results: &Results) -> String {
    let plain = word(results.verdict).to_uppercase();
    let badge = style(format!(" {plain} "));
    let badge = match results.verdict {
        Verdict::Valid => badge.black().on_green(),
        Verdict::Unknown => badge.black().on_yellow(),
        Verdict::Invalid => badge.white().on_red(),
    };
    let (before, sentence) = results.headline.split_once(": ").unwrap_or_default();
    let says_it_twice = before.eq_ignore_ascii_case(&plain);
    let sentence = if says_it_twice { sentence } else { &results.headline };
    let mut line = table();
    line.add_row([&plain, sentence]);
    // The colours go in last: they would count as characters.
    line.trim_fmt().replacen(&format!(" {plain} "), &badge.bold().to_string(), 1)
}

/// What stands where a verdict would if there is none.
pub fn failure_badge() -> String {
    style(" HARNESS FAILED ").white().on_magenta().bold().to_string()
}

/// Words as a shell takes them.
pub fn shell(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A verdict as a word.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Unknown => "unknown",
        Verdict::Invalid => "invalid",
    }
}

/// Texts in columns that wrap where the terminal ends.
pub fn table() -> Table {
    let columns = Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| columns);
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(columns);
    table
}

/// A text that wraps where the terminal ends.
fn paragraph(text: &str) -> String {
    let mut table = table();
    table.add_row([text]);
    table.trim_fmt()
}

fn operations(record: &Record) -> String {
    let counts = &record.results.counts;
    let by_f: Vec<_> =
        counts.ok_by_f.iter().map(|(f, n)| format!("{f} {}", HumanCount(*n))).collect();
    // Some histories from elsewhere have no times.
    let seconds = match counts.duration / 1_000_000_000 {
        0 => String::new(),
        seconds => format!(" in {seconds} s"),
    };
    format!(
        "{} ok ({}), {} failed, {} of unknown outcome, on {}{seconds}",
        HumanCount(counts.ok),
        by_f.join(", "),
        HumanCount(counts.fail),
        HumanCount(counts.info),
        plural(counts.keys, "key"),
    )
}

/// `kill 4 (4 processes killed), ring 3 (5,120 bytes dropped), bridge skipped`.
fn faults(record: &Record) -> String {
    let kinds = record.faults.iter().map(|(kind, fault)| {
        if fault.installed == 0 {
            return format!("{kind} skipped");
        }
        let proof = amount(fault.proof, &fault.unit);
        match fault.installed.saturating_sub(fault.bit) {
            0 => format!("{kind} {} ({proof})", fault.bit),
            all if all == fault.installed => format!("{kind} {all} without proof"),
            some => format!("{kind} {} ({proof}; {some} more without proof)", fault.bit),
        }
    });
    kinds.collect::<Vec<_>>().join(", ")
}

/// `1 node`, `5 nodes`.
pub fn plural(count: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// The violation to show: of the check that the headline is about, else of the first that found one.
fn violation(results: &Results) -> Option<&Violation> {
    let rejecting = || results.checks.iter().filter(|check| check.verdict == Verdict::Invalid);
    let headline = rejecting().filter(|check| results.headline.contains(&check.summary));
    headline.chain(rejecting()).flat_map(|check| &check.violations).next()
}

/// The fewest operations that contradict each other on the violation's key.
fn core<'r>(results: &'r Results, violation: &'r Violation) -> Option<&'r Core> {
    let all = || results.checks.iter().flat_map(|check| &check.violations);
    let of_key = || all().filter(|other| other.key == violation.key);
    violation.core.as_ref().or_else(|| of_key().find_map(|other| other.core.as_ref()))
}

/// ` Stale read of k12`.
fn title(violation: &Violation) -> String {
    let key = violation.key.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
    let mut class = violation.class.chars();
    let first = class.next().into_iter().flat_map(char::to_uppercase);
    format!(" {}{}{key}", first.collect::<String>(), class.as_str())
}

#[cfg(test)]
mod tests {
    use history_checker::History;
    use history_checker::results::{Check, Counts};

    use super::*;

    fn results(headline: &str, checks: Vec<Check>) -> Results {
        let headline = headline.to_owned();
        Results { verdict: Verdict::Invalid, headline, checks, counts: Counts::default() }
    }

    fn check(name: &str, summary: &str, class: &str) -> Check {
        let violation = Violation {
            class: class.to_owned(),
            key: Some("k1".to_owned()),
            explanation: format!("{class}, explained."),
            events: Vec::new(),
            time: 0,
            core: None,
            stale: None,
        };
        Check {
            name: name.to_owned(),
            verdict: Verdict::Invalid,
            summary: summary.to_owned(),
            violations: vec![violation],
            details: serde_json::Value::Null,
        }
    }

    /// What is printed of these results and the nemesis events that follow.
    fn printed(results: Results, events: &str) -> String {
        let header = r#"{"history":1,"workload":"w","model":"register"}"#;
        let history = History::parse(format!("{header}\n{events}").as_bytes(), "test").unwrap();
        let mut out = Vec::new();
        verdict(&mut out, &Record::new(&history, results)).unwrap();
        console::strip_ansi_codes(&String::from_utf8(out).unwrap()).into_owned()
    }

    #[test]
    fn verdict_is_said_once_and_explained_by_the_check_that_it_is_about() {
        let checks = vec![
            check("linearizable", "2 of 3 keys.", "not linearizable"),
            check("stale-reads", "7 of 9 reads are stale.", "stale read"),
        ];
        let text = printed(results("Invalid: 7 of 9 reads are stale.", checks), "");
        assert!(text.starts_with("\n INVALID  7 of 9 reads are stale.\n\n"), "{text}");
        assert!(text.ends_with("\n Stale read of k1\n stale read, explained.\n"), "{text}");
    }

    #[test]
    fn faults_that_end_more_often_than_they_begin_are_told_without_panic() {
        let line = |index: u64, value: &str| {
            format!(
                r#"{{"index":{index},"time":1,"process":"nemesis","type":"info","f":"kill","value":{value}}}"#
            ) + "\n"
        };
        let stop = r#"{"phase":"stop","fault":1,"nodes":[1],"proof":1,"unit":"processes killed"}"#;
        let start =
            r#"{"phase":"start","fault":1,"nodes":[1],"text":"kill n1","outcome":"installed"}"#;
        let events = line(0, start) + &line(1, stop) + &line(2, stop);
        let text = printed(results("Invalid: it is.", Vec::new()), &events);
        assert!(text.contains("kill 2 (2 processes killed)"), "{text}");
    }

    #[test]
    fn faults_are_told_with_their_proof() {
        let line = |index: u64, f: &str, rest: &str| {
            format!(
                r#"{{"index":{index},"time":1,"process":"nemesis","type":"info","f":"{f}","value":{{{rest}}}}}"#
            ) + "\n"
        };
        let stop =
            |proof| format!(r#""phase":"stop","fault":1,"proof":{proof},"unit":"ms stopped""#);
        let start = r#""phase":"start","fault":1,"outcome":"installed""#;
        let skipped = r#""phase":"start","fault":2,"outcome":"skipped: too few nodes""#;
        let events = line(0, "pause", start)
            + &line(1, "pause", &stop(1200))
            + &line(2, "pause", start)
            + &line(3, "pause", &stop(0))
            + &line(4, "kill", start)
            + &line(5, "kill", &stop(0))
            + &line(6, "ring", skipped);
        let text = printed(results("Invalid: no.", Vec::new()), &events);
        let expected = "faults      kill 1 without proof, pause 1 (1,200 ms stopped; 1 more without proof), ring skipped";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn shell_words_are_quoted_where_they_must_be() {
        let words = ["harness", "--results", "my runs", "it's"].map(str::to_owned);
        assert_eq!(shell(&words), r"harness --results 'my runs' 'it'\''s'");
    }
}
