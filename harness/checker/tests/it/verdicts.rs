//! Histories with known verdicts: the files in `testdata/histories`, and what is easier said in a line.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use history_checker::history::Minima;
use history_checker::results::{Results, Verdict};
use history_checker::{History, Options, check};

use crate::support::{events, header, history, parse, part, results, verdicts};

fn testdata(folder: &str) -> Vec<(PathBuf, Results)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/histories").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "{} has lost its histories", folder.display());
    paths
        .into_iter()
        .map(|path| {
            let history = History::read(&path).unwrap_or_else(|error| panic!("{error}"));
            let results = check(&history, &Options::default());
            let expected = &history.header().run;
            for (name, verdict) in
                expected.get("checks").and_then(|checks| checks.as_object()).into_iter().flatten()
            {
                let found = serde_json::to_value(part(&results, name).verdict).expect("a string");
                assert_eq!(&found, verdict, "{}, {name}: {results:#?}", path.display());
            }
            let found: Vec<&str> = results
                .checks
                .iter()
                .flat_map(|check| &check.violations)
                .map(|v| v.class.as_str())
                .collect();
            for class in
                expected.get("classes").and_then(|classes| classes.as_array()).into_iter().flatten()
            {
                let class = class.as_str().expect("a string");
                assert!(found.contains(&class), "{}: no {class} among {found:?}", path.display());
            }
            (path, results)
        })
        .collect()
}

#[test]
fn good_histories_are_valid() {
    for (path, results) in testdata("good") {
        assert_eq!(results.verdict, Verdict::Valid, "{}: {results:#?}", path.display());
        assert!(results.headline.starts_with("Valid: "), "{}", results.headline);
    }
}

#[test]
fn lost_write_of_unknown_outcome_is_told_by_whom_it_was_seen() {
    let acknowledged = include_str!("../../testdata/histories/bad/register_lost_write.jsonl");
    let explained = |text: &str| {
        let history = History::parse(text.as_bytes(), "test").expect("a history");
        let results = check(&history, &Options::default());
        let lost = part(&results, "exactly-once").violations.first().expect("a lost write");
        (lost.explanation.clone(), lost.events.clone())
    };
    let (text, events) = explained(acknowledged);
    assert!(text.starts_with("Client 2 wrote k1=\"b\" and n2 acknowledged that at "), "{text}");
    assert_eq!(events, [3, 4, 8, 9]);

    // The answer to the write is lost, but client 5 sees its value.
    let seen: String = acknowledged
        .lines()
        .enumerate()
        .map(|(line, text)| match line {
            5 => text.replace("\"type\":\"ok\"", "\"type\":\"info\""),
            6 => r#"{"index":5,"time":4000000,"process":5,"type":"invoke","f":"read","key":"k1","value":null,"node":5}"#.to_owned(),
            7 => r#"{"index":6,"time":5000000,"process":5,"type":"ok","f":"read","key":"k1","value":"b","node":5}"#.to_owned(),
            _ => text.to_owned(),
        } + "\n")
        .collect();
    let (text, events) = explained(&seen);
    assert!(
        text.starts_with("Client 2 wrote k1=\"b\" and client 5 saw that from n5 at "),
        "{text}"
    );
    assert_eq!(events, [3, 4, 5, 6, 8, 9]);
}

#[test]
fn bad_histories_are_invalid_and_explained_in_two_sentences() {
    for (path, results) in testdata("bad") {
        assert_eq!(results.verdict, Verdict::Invalid, "{}: {results:#?}", path.display());
        assert!(results.headline.starts_with("Invalid: "), "{}", results.headline);
        for check in &results.checks {
            assert_eq!(
                check.verdict == Verdict::Invalid,
                !check.violations.is_empty(),
                "{check:#?}"
            );
            for violation in &check.violations {
                let text = &violation.explanation;
                let sentences = text.matches(". ").count() + usize::from(text.ends_with('.'));
                assert_eq!(sentences, 2, "{}: {text}", path.display());
                assert!(violation.events.is_sorted(), "{violation:?}");
                assert!(!violation.events.is_empty(), "{violation:?}");
            }
        }
    }
}

#[test]
fn linearizable_violation_is_reduced_to_what_contradicts() {
    // Among much else: b overwrote a, then a was read.
    let mut text = String::from("1 write a 0-1; 2 write b 2-3; 9 read a 40-41;");
    for n in 0..20 {
        use std::fmt::Write as _;
        write!(
            text,
            "3 read b {0}-{0}; 4 write x{n} {1}-{1}; 5 read x{n} {2}-{2};",
            4 + n,
            50 + 2 * n,
            51 + 2 * n
        )
        .unwrap();
    }
    let results = results("register", &text);
    let violation = &part(&results, "linearizable").violations[0];
    assert_eq!(violation.events.len(), 6, "{violation:#?}");
    assert_eq!(
        violation.explanation,
        "Client 9 read k=\"a\" at 0.040 s, but client 2 had overwritten it with \"b\" and that had been acknowledged \
         37.0 ms earlier. Client 1 wrote k=\"a\" (0.000-0.001 s)."
    );
}

/// The operations that the violation of a history without stale reads cites.
fn core(model: &str, text: &str) -> Vec<u64> {
    let results = results(model, text);
    let violations = &part(&results, "linearizable").violations;
    assert_eq!(violations.len(), 1, "{results:#?}");
    violations[0].events.clone()
}

#[test]
fn violation_without_a_stale_read_is_reduced_to_the_first_contradiction() {
    // Two readers see two concurrent writes in opposite orders (ten events), after much else and before more of the
    // same.
    let mut text = String::new();
    for n in 0..10 {
        use std::fmt::Write as _;
        write!(text, "1 write x{n} {0}-{0}; 2 read x{n} {1}-{1};", 2 * n, 2 * n + 1).unwrap();
    }
    text.push_str("1 write a 100-200; 2 write b 100-200; 3 read a 110-111; 4 read b 112-113; 3 read a 114-115;");
    text.push_str("1 write c 300-400; 2 write d 300-400; 3 read c 310-311; 4 read d 312-313; 3 read c 314-315;");
    let expected: Vec<u64> = (40..50).collect();
    assert_eq!(core("register", &text), expected);
}

#[test]
fn violation_with_a_stale_read_cites_no_more_than_it_must() {
    // Somebody saw a early, but its acknowledgement came early enough.
    let text = "1 write a 0-5; 2 read a 2-3; 3 write b 6-7; 4 read a 8-9";
    assert_eq!(core("register", text), [0, 3, 4, 5, 6, 7]);
}

#[test]
fn violation_with_a_stale_read_leaves_out_no_write_that_others_need() {
    // The cas shows that a is gone, but only if e was there before.
    let text = "1 write a 0-3; 2 write e 1-2; 2 cas e>c 4-5; 3 read a 6-7";
    assert_eq!(core("cas-register", text), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn undecided_key_does_not_hide_a_violation_on_another() {
    let text = format!("{}; 5 read z @j 0-1", hard("i"));
    let options =
        Options { configurations_max: 1, configurations_per_operation: 0, ..Options::default() };
    let results = check(&history("register", &text), &options);
    let linearizable = part(&results, "linearizable");
    assert_eq!(linearizable.details["keys_undecided"], 1);
    assert_eq!(linearizable.verdict, Verdict::Invalid);
}

/// Operations on a key that only a search can decide, as values are written several times: linearizable.
fn hard(key: &str) -> String {
    let writes = (10..16).map(|client| {
        format!("{client} write {} @{key} 0-100", if client % 2 == 0 { "a" } else { "b" })
    });
    let reads = (0..6).map(|n| {
        let (value, at) = (if n % 2 == 0 { "a" } else { "b" }, 1 + 2 * n);
        format!("16 read {value} @{key} {at}-{}", at + 1)
    });
    writes.chain(reads).collect::<Vec<_>>().join("; ")
}

#[test]
fn search_is_exact_with_any_number_of_open_operations() {
    for open in [60, 70, 200, 700] {
        use std::fmt::Write as _;
        let mut text = String::new();
        for client in 0..open {
            write!(text, "{client} incr 1 0-?;").unwrap();
        }
        for (read, verdict) in [(open, Verdict::Valid), (open + 1, Verdict::Invalid)] {
            let results = results("counter", &format!("{text} 9999 read {read} 5-6"));
            assert_eq!(part(&results, "linearizable").verdict, verdict, "{open} open, {read} read");
        }
    }
}

#[test]
fn open_writes_that_are_not_needed_are_not_tried_in_all_combinations() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for n in 0..20 {
        // Two of each, so that neither is spared for the last reads.
        write!(text, "{n} write v{} 0-?;", n / 2).unwrap();
    }
    for n in 0..20 {
        let at = 200 + 4 * n;
        write!(text, "90 write a{n} {at}-{at}; 91 read a{n} {0}-{0};", at + 2).unwrap();
    }
    for n in 0..10 {
        write!(text, "91 read v{n} {0}-{0};", 400 + n).unwrap();
    }
    let results = results("register", &text);
    let details = &part(&results, "linearizable").details;
    assert_eq!(part(&results, "linearizable").verdict, Verdict::Valid);
    assert!(details["configurations"].as_u64().unwrap() < 2000, "{details}");
}

#[test]
fn capped_search_is_unknown_and_says_how_far_it_got() {
    let text = hard("k");
    let options =
        Options { configurations_max: 1, configurations_per_operation: 0, ..Options::default() };
    let results = check(&history("register", &text), &options);
    let linearizable = part(&results, "linearizable");
    assert_eq!(linearizable.verdict, Verdict::Unknown);
    assert_eq!(
        linearizable.summary,
        "0 of 1 key proven, 1 undecided; \"k\" is linearizable up to 0.003 s, then the limit of configurations was reached."
    );
    assert_eq!(results.verdict, Verdict::Unknown);
    assert_eq!(results.headline, format!("Unknown: {}", linearizable.summary));
}

#[test]
fn cap_grows_with_the_operations_of_a_key() {
    let history = history("register", &hard("k"));
    let verdict = |configurations_per_operation| {
        let options =
            Options { configurations_max: 1, configurations_per_operation, ..Options::default() };
        check(&history, &options).verdict
    };
    assert_eq!((verdict(0), verdict(100)), (Verdict::Unknown, Verdict::Valid));
}

#[test]
fn capped_memory_is_unknown() {
    let options = Options { memory_bytes_max: 100_000, ..Options::default() };
    let results = check(&history("counter", &subset_sum("k")), &options);
    let summary = &part(&results, "linearizable").summary;
    assert!(summary.ends_with("the limit of memory was reached."), "{summary}");
    assert_eq!(results.verdict, Verdict::Unknown);
}

/// A number that some of many open increments add up to: which ones takes a long search.
fn subset_sum(key: &str) -> String {
    let increments =
        (100..124).map(|client| format!("{client} incr {} @{key} 0-?", 1 << (client - 100)));
    let reads = [format!("90 read 9000000 @{key} 5-6"), format!("90 read 9000001 @{key} 7-8")];
    increments.chain(reads).collect::<Vec<_>>().join("; ")
}

#[test]
fn cancelled_search_is_unknown_but_what_is_proven_stays() {
    let cancelled = || true;
    let options = Options { cancelled: Some(&cancelled), ..Options::default() };
    // The first key needs no search; the second does.
    let text = format!("1 incr 1 @k1 0-1; 2 read 0 @k1 2-3; {}", subset_sum("k2"));
    let results = check(&history("counter", &text), &options);
    assert_eq!(part(&results, "linearizable").details["keys_undecided"], 1);
    assert_eq!(part(&results, "linearizable").verdict, Verdict::Invalid);
    assert_eq!(part(&results, "stale-reads").verdict, Verdict::Invalid);
    assert_eq!(results.verdict, Verdict::Invalid);
}

#[test]
fn thousands_of_open_operations_are_decided() {
    let mut text = String::from("1 read 0 0-1;");
    for client in 2..=5000 {
        use std::fmt::Write as _;
        write!(text, "{client} incr {client} 2-?;").unwrap();
    }
    assert_eq!(part(&results("counter", &text), "linearizable").verdict, Verdict::Valid);
}

#[test]
fn many_open_writes_that_nobody_saw_cost_nothing() {
    let mut text = String::from("1 write a 0-1;");
    for client in 2..=5000 {
        use std::fmt::Write as _;
        write!(text, "{client} write v{client} 2-?;").unwrap();
    }
    text.push_str("1 read a 3-4");
    let results = results("register", &text);
    assert_eq!(results.verdict, Verdict::Valid);
    assert!(part(&results, "linearizable").details["configurations"].as_u64().unwrap() <= 1);
}

/// 2^30 sets of writes could be done by the time of the first return; all but a few are no better than others.
#[test]
fn search_among_many_concurrent_writes_stays_small() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for n in 0..30 {
        // Half of the values are read at once, some after all writes, the rest never.
        write!(text, "{n} write v{n} 0-{};", 100 + n).unwrap();
        let (start, end) = (200 + 2 * n, 201 + 2 * n);
        match n % 4 {
            0 | 1 => write!(text, "{} read v{n} 1-99;", 100 + n).unwrap(),
            2 if n == 2 => write!(text, "{} read v{n} {start}-{end};", 100 + n).unwrap(),
            _ => {}
        }
    }
    let results = results("register", &text);
    let details = &part(&results, "linearizable").details;
    assert_eq!(part(&results, "linearizable").verdict, Verdict::Valid);
    assert!(details["configurations"].as_u64().unwrap() < 300, "{details}");
}

#[test]
fn search_leaves_no_value_that_is_still_to_be_read() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for n in 0..12 {
        write!(text, "{n} write v{n} 0-500; {} read v{n} {}-{};", 100 + n, 20 * n + 1, 20 * n + 2)
            .unwrap();
    }
    let results = results("register", &text);
    let details = &part(&results, "linearizable").details;
    assert_eq!(part(&results, "linearizable").verdict, Verdict::Valid);
    assert!(details["configurations"].as_u64().unwrap() < 200, "{details}");
}

#[test]
fn empty_history_is_unknown() {
    let results = results("register", "");
    assert_eq!(results.verdict, Verdict::Unknown);
    assert_eq!(
        results.headline,
        "Unknown: Too little happened to tell: 0 of at least 1 operations succeeded."
    );
}

#[test]
fn check_twice_gives_the_same_results() {
    let text = "1 write a 0-9; 2 write b 0-9; 3 read a 10-11; 4 read b 12-13; 3 read a 14-15; 5 write z @j 1-2; 5 read - @j 3-4";
    let first = serde_json::to_string(&results("register", text)).unwrap();
    let second = serde_json::to_string(&results("register", text)).unwrap();
    assert_eq!(first, second);
}

const RUN: &str =
    "* 0 runner phase \"clean\"; * 50 runner phase \"final\"; * 90 runner phase \"end\";";

fn coverage(text: &str, minima: Minima) -> (Verdict, String) {
    let (told, others) = parse(text);
    let header = history_checker::history::Header { minima, ..header("cas-register") };
    let history = History::new(header, events(&told, &others)).expect("a well-formed history");
    let results = check(&history, &Options::default());
    let coverage = part(&results, "coverage");
    assert_eq!(coverage.verdict, results.verdict, "{results:#?}");
    (coverage.verdict, coverage.summary.clone())
}

fn assert_missing(text: &str, minima: Minima, missing: &str) {
    let expected = format!("Too little happened to tell: {missing}.");
    assert_eq!(coverage(text, minima), (Verdict::Unknown, expected));
}

#[test]
fn coverage_with_all_that_was_demanded_is_valid() {
    // A key that nobody wrote needs no final read.
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61; 2 read - @k2 3-4");
    assert_eq!(coverage(&text, Minima { ok: 3, ..Minima::default() }).0, Verdict::Valid);
}

#[test]
fn coverage_with_too_few_operations_is_unknown() {
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61");
    let minima = Minima { ok: 3, ..Minima::default() };
    assert_missing(&text, minima, "2 of at least 3 operations succeeded");
}

#[test]
fn coverage_with_too_few_leader_changes_is_unknown() {
    let text = format!(
        "{RUN} 1 write a 1-2; 2 read a 60-61; * 1 node-1 role {{\"role\":\"leader\",\"term\":1}}; \
         * 2 node-1 role {{\"role\":\"follower\",\"term\":2}}"
    );
    let minima = Minima { leader_changes: 1, ..Minima::default() };
    assert_missing(&text, minima, "the leader changed 0 of at least 1 times");
}

#[test]
fn coverage_with_a_fault_that_never_bit_is_unknown() {
    let minima = Minima { faults: [("kill".to_owned(), 1)].into(), ..Minima::default() };
    let fault = |phase: &str, proof: u64| {
        format!(
            "* 5 nemesis kill {{\"phase\":\"{phase}\",\"fault\":1,\"nodes\":[2],\"outcome\":\"installed\",\"proof\":{proof}}};"
        )
    };
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61; {}", fault("start", 0));
    let missing = "fault kill bit 0 of at least 1 times (1 more did not prove that they bit)";
    assert_missing(&text, minima.clone(), missing);
    assert_missing(&format!("{text}{}", fault("stop", 0)), minima.clone(), missing);
    assert_eq!(coverage(&format!("{text}{}", fault("stop", 1)), minima).0, Verdict::Valid);
}

#[test]
fn coverage_of_a_kind_of_operation_that_never_succeeded_is_unknown() {
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61; 3 cas x>y 3-4!");
    assert_missing(&text, Minima::default(), "no cas succeeded");
}

#[test]
fn coverage_of_a_cluster_that_did_not_recover_is_unknown() {
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61; * 45 runner phase \"not-recovered\"");
    assert_missing(
        &text,
        Minima::default(),
        "the cluster did not recover after the faults were healed",
    );
}

#[test]
fn coverage_of_a_run_cut_short_is_unknown() {
    let text = "* 0 runner phase \"clean\"; 1 write a 1-2; 2 read a 3-4";
    assert_missing(text, Minima::default(), "the run was cut short, its last phase is missing");
}

#[test]
fn coverage_without_final_reads_is_unknown() {
    let text = format!("{RUN} 1 write a 1-2; 2 read a 60-61; 1 write b @k2 3-4; 2 read b @k2 5-6");
    assert_missing(&text, Minima::default(), "no final read of \"k2\"");
}

#[test]
fn counts_tell_what_happened() {
    let text = "1 write a 0-1; 2 cas x>y 2-3!; 3 write b @k2 4-?; 4 read a 5-6; \
         * 1 node-1 role {\"role\":\"leader\",\"term\":2}; * 2 node-2 role {\"role\":\"leader\",\"term\":5}; \
         * 3 nemesis pause {\"phase\":\"start\",\"fault\":1,\"outcome\":\"skipped: no node\"}; \
         * 4 nemesis pause {\"phase\":\"start\",\"fault\":2,\"outcome\":\"installed\"}; \
         * 7 nemesis pause {\"phase\":\"stop\",\"fault\":2,\"proof\":3}; \
         * 8 nemesis kill {\"phase\":\"start\",\"fault\":3,\"outcome\":\"installed\"}";
    let counts = results("cas-register", text).counts;
    let by_f = [("read".to_owned(), 1), ("write".to_owned(), 1)].into();
    assert_eq!((counts.invoked, counts.ok, counts.fail, counts.info), (4, 2, 1, 1));
    assert_eq!(counts.ok_by_f, by_f);
    assert_eq!(counts.faults, [("pause".to_owned(), 1)].into());
    assert_eq!(counts.faults_without_proof, [("kill".to_owned(), 1)].into());
    assert_eq!((counts.leader_changes, counts.keys, counts.duration), (1, 2, 8_000_000));
}

#[test]
fn every_check_has_its_part() {
    let results = results("register", "1 write a 0-1");
    let names: Vec<&str> = verdicts(&results).into_keys().collect();
    assert_eq!(names, ["coverage", "exactly-once", "linearizable", "nodes", "stale-reads"]);
}

#[test]
fn violations_listed_are_bounded_and_all_are_counted() {
    let mut text = String::from("1 write a 0-1; 1 write b 2-3;");
    for n in 0..50 {
        use std::fmt::Write as _;
        write!(text, "3 read a {0}-{0};", 4 + n).unwrap();
    }
    let listed = Cell::new(0);
    let results = results("register", &text);
    let stale = part(&results, "stale-reads");
    listed.set(stale.violations.len());
    assert_eq!(listed.get(), 20);
    assert!(stale.summary.starts_with("50 of 50 reads are stale"), "{}", stale.summary);
    assert!(
        stale.violations.windows(2).all(|pair| pair[0].time > pair[1].time),
        "the worst come first"
    );
}
