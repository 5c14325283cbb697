//! The report, drawn from made-up result directories. The pages stay in `target/tmp/report/` for a look.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::report::{self, RunSummary};
use serde_json::{Value, json};

mod synthetic;

use synthetic::{Handle, History, Indexes, MS, Story, directory, good_checks, header, results};

/// Largest page, bytes.
const PAGE_BYTES_MAX: usize = 2_000_000;

fn write_results(dir: &Path, results: &Value) {
    fs::write(dir.join("results.json"), results.to_string()).unwrap();
}

/// Draws the report and returns the page.
fn page(dir: &Path) -> String {
    let path = report::write(dir).unwrap();
    assert_eq!(path, dir.join("report.html"));
    let page = fs::read_to_string(path).unwrap();
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
    assert!(page.ends_with("</html>"), "the page is cut short");
    page
}

/// The part of the page with this id.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no section {id}"));
    let to = page[from..].find("</section>").unwrap();
    &page[from..from + to]
}

/// A small run in which everything held.
fn small_run(name: &str) -> PathBuf {
    let dir = directory(name);
    Story::tell(header("register", 1), 1, 10, 2, 50_000).write(&dir);
    write_results(&dir, &results("valid", "Valid: all is well.", &good_checks()));
    dir
}

/// A run of 30 seconds in which everything held.
fn valid_run(name: &str) -> (PathBuf, Story) {
    let dir = directory(name);
    let story = Story::tell(header("register", 1), 1, 30, 10, 9_000);
    story.write(&dir);
    let headline = "valid: 23,418 operations on 14 keys are linearizable, through 14 faults and 6 leader changes";
    write_results(&dir, &results("valid", headline, &good_checks()));
    (dir, story)
}

/// Adds the operations of a stale read to a story; the last one is the read.
fn stale_read(story: &mut Story, at: u64, key: &str) -> Vec<Handle> {
    let mut event = |time, process: u64, kind, f, value: Value, node: u64, more: &Value| {
        let mut fields = json!({ "key": key, "value": value, "node": node });
        for (name, value) in more.as_object().into_iter().flatten() {
            fields[name] = value.clone();
        }
        story.history.event(time, process, kind, f, &fields)
    };
    let none = json!({});
    vec![
        event(at - 2_410 * MS, 901, "invoke", "write", json!("901-41"), 3, &none),
        event(
            at - 2_396 * MS,
            901,
            "ok",
            "write",
            json!("901-41"),
            3,
            &json!({ "log_index": 8_812 }),
        ),
        event(at - 1_934 * MS, 902, "invoke", "write", json!("902-17"), 4, &none),
        event(
            at - 1_920 * MS,
            902,
            "ok",
            "write",
            json!("902-17"),
            4,
            &json!({ "log_index": 9_051 }),
        ),
        event(at, 907, "invoke", "read", Value::Null, 2, &none),
        event(
            at + 4 * MS,
            907,
            "ok",
            "read",
            json!("901-41"),
            2,
            &json!({ "log_index": 8_812, "role": "leader", "term": 4 }),
        ),
    ]
}

/// What the checker would write of such a read.
fn stale_violation(indexes: &Indexes, events: &[Handle], at: u64, key: &str) -> Value {
    json!({
        "class": "stale read", "key": key, "time": at,
        "explanation": "Client 907 read \"901-41\" from n2 at 14.200 s, but client 902 had overwritten that value with \
            \"902-17\", acknowledged by n4 at 12.280 s, 1.92 s before the read began. n2 still took itself for the leader \
            of term 4 while n4 led term 5, so it answered from a log that no longer counted.",
        "events": events.iter().map(|event| indexes.of(*event)).collect::<Vec<u64>>(),
        "stale": {
            "class": "real-time", "age_ms": 1920.0, "versions": 3, "node": 2, "role": "leader", "term": 4,
            "true_leader": [4, 5], "faults": ["pause n2, since 9.800 s"],
            "last_fault": "pause n2, 9.800–13.960 s, resumed 0.24 s before the read",
        },
    })
}

/// A run in which reads were stale.
fn stale_run(name: &str, key: &str) -> PathBuf {
    let dir = directory(name);
    let mut story = Story::tell(header("stale-canary", 7), 7, 30, 10, 9_000);
    let times = [14_200, 15_100, 21_000].map(|ms| ms * MS);
    let reads = times.map(|at| stale_read(&mut story, at, key));
    for ms in (13_800..14_600).step_by(37) {
        let text = json!({ "message": "read served", "key": key, "applied": 8_812 });
        story.log(2, ms * MS, if ms % 5 == 0 { "WARN" } else { "DEBUG" }, &text);
    }
    let indexes = story.write(&dir);
    let violations: Vec<Value> = reads
        .iter()
        .zip(times)
        .map(|(read, at)| stale_violation(&indexes, read, at, key))
        .collect();
    let headline = format!(
        "invalid: 3 stale reads; client 907 read {key} from n2 at 14.200 s, 1,920 ms and 3 versions behind"
    );
    let mut checks = good_checks();
    let disorder = json!({ "class": "not linearizable", "explanation": "There is no order.", "events": [], "time": 0 });
    checks[0] = json!({
        "name": "linearizable", "verdict": "invalid", "violations": [disorder], "summary": "1 key is not linearizable",
    });
    checks[1] = json!({
        "name": "stale-reads", "verdict": "invalid", "violations": violations,
        "summary": "3 of 11,702 reads were stale, all served by n2; ages 312 ms to 1,920 ms; the last at 21.000 s",
        "details": {
            "reads": 11_702, "stale": 3, "age_ms": { "p50": 312.0, "p95": 1920.0, "p99": 1920.0, "max": 1920.0 },
            "nodes": { "2": { "reads": 2_310, "stale": 3 } }, "classes": { "real-time": 3 },
        },
    });
    write_results(&dir, &results("invalid", &headline, &checks));
    dir
}

#[test]
fn report_of_a_valid_run_has_every_section_and_every_fault() {
    let (dir, story) = valid_run("valid");
    let page = page(&dir);
    for id in ["verdict", "run", "happened", "checks", "nodes", "closeup"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "no section {id}");
    }
    assert!(!page.contains("id=\"violation\""));
    assert!(story.faults.len() > 8, "{} faults", story.faults.len());
    for fault in &story.faults {
        assert!(
            section(&page, "run").contains(&format!("<title>{fault}, ")),
            "{fault} is not drawn"
        );
        assert!(
            section(&page, "happened").contains(&format!("{fault}</td>")),
            "{fault} is not told"
        );
    }
    assert!(page.contains("skipped: two nodes are down already"));
    assert!(page.contains("harness run register --nodes 5 --seed 1"), "no command to run it again");
    assert!(page.contains("nodes&#x2f;3&#x2f;stderr"));
    assert!(page.contains("ms stopped"));
}

#[test]
fn report_repeats_the_verdict_word_for_word() {
    for verdict in ["valid", "invalid", "unknown"] {
        let dir = directory(&format!("verdict-{verdict}"));
        Story::tell(header("register", 1), 1, 10, 2, 50_000).write(&dir);
        let sentence = "So the checkers said, and so it stands: word for word.";
        let headline = format!("{}{}: {sentence}", verdict[..1].to_uppercase(), &verdict[1..]);
        write_results(&dir, &results(verdict, &headline, &good_checks()));
        let page = page(&dir);
        assert!(page.contains(&format!("<p class=\"headline\">{sentence}</p>")));
        assert!(page.contains(&format!("<span class=\"word\">{verdict}</span>")));
    }
}

#[test]
fn report_of_a_violation_leads_with_its_explanation_and_evidence() {
    let dir = stale_run("stale", "k3");
    let page = page(&dir);
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?}"));
    assert!(place("id=\"violation\"") < place("id=\"run\""), "the explanation comes first");
    assert!(
        place("acknowledged by n4 at 12.280 s") < place("There is no order."),
        "the most telling comes first"
    );
    assert!(place("There is no order.") < place("id=\"run\""));
    for text in [
        "write k3 = &quot;902-17&quot;",
        "read k3 → &quot;901-41&quot;",
        "stale by 1,920 ms",
        "n2, as leader in term 4",
        "p50 312 ms, p95 1,920 ms, p99 1,920 ms, max 1,920 ms",
        "n4, of term 5",
        "resumed 0.24 s before the read",
        "3 of 11,702 reads were stale",
        "harness check",
        "read served",
    ] {
        assert!(page.contains(text), "no {text:?}");
    }
}

#[test]
fn report_of_a_misbehaving_node_shows_what_it_did() {
    let dir = directory("panic");
    let mut story = Story::tell(header("register", 4), 4, 10, 2, 50_000);
    let line = "panicked at raftd/core/src/log.rs:77: the log has no entry 12";
    let panic = json!({ "value": { "line": line } });
    let event = story.history.event(6_000 * MS, "node-4", "info", "panic", &panic);
    story.log(4, 5_998 * MS, "ERROR", &json!({ "message": "the last word of n4" }));
    let indexes = story.write(&dir);
    let violation = json!({
        "class": "panic", "time": 6_000 * MS, "events": [indexes.of(event)],
        "explanation": "n4 wrote to its log at 6.000 s that it panicked. No correct node writes that.",
    });
    let checks = json!([{ "name": "nodes", "verdict": "invalid", "summary": "Nodes misbehaved: 1 panic.", "violations": [violation] }]);
    write_results(&dir, &results("invalid", "Invalid: Nodes misbehaved: 1 panic.", &checks));
    let page = page(&dir);
    assert!(page.contains("the log has no entry 12"), "the evidence is shown");
    assert!(page.contains("the last word of n4"), "and the log of that node");
    assert!(
        page.contains(&format!("<td class=\"n\">{}</td>", indexes.of(event) + 2)),
        "and its line"
    );
}

#[test]
fn report_of_an_empty_run_is_a_page_that_says_so() {
    let dir = directory("empty");
    History::new(json!({ "history": 1, "workload": "register", "model": "register" })).write(&dir);
    write_results(&dir, &results("unknown", "unknown: nothing happened", &json!([])));
    let page = page(&dir);
    assert!(page.contains("No client did anything."));
    assert!(page.contains("<p class=\"headline\">nothing happened</p>"));
}

/// Texts that would break out of markup, attributes, scripts or styles.
const HOSTILE: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>' {{ 7*7 }} </style>\u{202e}\u{0}&amp;";

/// A result directory in which every text is hostile.
fn hostile_run() -> PathBuf {
    let dir = directory("hostile");
    let mut head = header(HOSTILE, 1);
    head["consistency"] = json!(HOSTILE);
    let mut story = Story::tell(head, 3, 10, 2, 50_000);
    let events = stale_read(&mut story, 6_000 * MS, HOSTILE);
    let value = json!({ "phase": "start", "fault": 77, "nodes": [2], "text": HOSTILE, "outcome": "installed", "unit": HOSTILE });
    story.history.event(5_000 * MS, "nemesis", "info", HOSTILE, &json!({ "value": value }));
    let mut skipped = value.clone();
    skipped["outcome"] = json!(format!("skipped: {HOSTILE}"));
    skipped["fault"] = json!(78);
    story.history.event(5_001 * MS, "nemesis", "info", HOSTILE, &json!({ "value": skipped }));
    let write = json!({ "key": HOSTILE, "value": HOSTILE, "error": HOSTILE });
    story.history.event(5_100 * MS, 950, "invoke", "write", &write);
    story.history.event(5_900 * MS, 950, "info", "write", &write);
    story.history.event(
        5_200 * MS,
        "node-2",
        "info",
        "panic",
        &json!({ "value": { "line": HOSTILE } }),
    );
    story.history.event(
        5_300 * MS,
        "node-2",
        "info",
        "exit",
        &json!({ "value": { "expected": false, "how": HOSTILE } }),
    );
    story.history.event(
        5_400 * MS,
        "node-4",
        "info",
        "role",
        &json!({ "value": { "role": HOSTILE, "term": 9 } }),
    );
    story.history.event(5_500 * MS, "runner", "info", "phase", &json!({ "value": HOSTILE }));
    story.log(2, 6_000 * MS, HOSTILE, &json!({ "message": HOSTILE, HOSTILE: HOSTILE }));
    let indexes = story.write(&dir);
    fs::write(dir.join("nodes/2/<script>x"), HOSTILE).unwrap();
    let mut violation = stale_violation(&indexes, &events, 6_000 * MS, HOSTILE);
    for field in ["class", "explanation"] {
        violation[field] = json!(HOSTILE);
    }
    for field in ["class", "role", "last_fault"] {
        violation["stale"][field] = json!(HOSTILE);
    }
    violation["stale"]["faults"] = json!([HOSTILE]);
    let checks = json!([{ "name": HOSTILE, "verdict": "invalid", "summary": HOSTILE, "violations": [violation, violation] }]);
    let mut results = results("invalid", HOSTILE, &checks);
    for field in ["started", "command_line", "versions"] {
        results[field] = json!(HOSTILE);
    }
    write_results(&dir, &results);
    dir
}

#[test]
fn report_of_a_hostile_history_runs_nothing_of_it() {
    let page = page(&hostile_run());
    assert!(!page.contains("<script>alert"), "a script of the history is in the page");
    assert!(!page.contains("<img"), "markup of the history is in the page");
    assert!(!page.contains("<script>x"));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{0}'));
    assert!(page.contains("{{ 7*7 }}"), "a template in the history is text");
    assert_eq!(page.matches("<script").count(), 3, "the page has scripts of its own, and no other");
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn report_of_a_long_history_stays_small() {
    let dir = directory("long");
    let mut text = format!("{}\n", header("register", 5));
    for i in 0..100_000_u64 {
        let (invoked, completed) = (i * 300_000, (i + 1) * 300_000 - 1);
        let (invoke, complete) = (2 * i, 2 * i + 1);
        let kind = if i % 97 == 0 { "fail" } else { "ok" };
        let rest =
            format!("\"process\":{},\"f\":\"write\",\"key\":\"k\",\"value\":\"{i}\"", i % 10);
        writeln!(text, "{{\"index\":{invoke},\"time\":{invoked},\"type\":\"invoke\",{rest}}}")
            .unwrap();
        writeln!(text, "{{\"index\":{complete},\"time\":{completed},\"type\":\"{kind}\",{rest}}}")
            .unwrap();
    }
    fs::write(dir.join("history.jsonl"), text).unwrap();
    write_results(&dir, &results("valid", "valid: a long run", &good_checks()));
    assert!(page(&dir).contains("98,969 operations ok"));
}

#[test]
fn report_of_countless_faults_and_violations_stays_small() {
    let dir = directory("countless");
    let mut history = History::new(header("register", 5));
    let long = "x".repeat(700);
    for i in 0..6_000_u64 {
        let value = json!({ "phase": "start", "fault": i, "nodes": [i % 90], "text": long, "outcome": "installed" });
        history.event(
            i * MS,
            "nemesis",
            "info",
            &format!("kind-{}", i % 50),
            &json!({ "value": value }),
        );
        let role = if i % 3 == 0 { "leader" } else { "follower" };
        history.event(
            i * MS,
            format!("node-{}", i % 90),
            "info",
            "role",
            &json!({ "value": { "role": role, "term": i } }),
        );
    }
    let event = history.event(3 * MS, 1, "invoke", "write", &json!({ "key": long, "value": long }));
    let index = history.write(&dir).of(event);
    let violation =
        json!({ "class": long, "explanation": long, "events": vec![index; 1000], "time": 3 * MS });
    let checks = json!([{ "name": "linearizable", "verdict": "invalid", "summary": long, "violations": vec![violation; 1_000] }]);
    write_results(&dir, &results("invalid", &long, &checks));
    let page = page(&dir);
    assert!(page.contains("further faults are counted but not drawn"));
    assert!(page.contains("991 more are in results.json"));
}

/// The failure to draw this directory's report, with its causes.
fn failure(dir: &Path) -> String {
    let error = report::write(dir).unwrap_err();
    assert!(!dir.join("report.html").exists(), "a failure leaves no page behind");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn missing_and_broken_files_are_named() {
    let dir = directory("broken");
    let good = results("valid", "valid", &json!([]));
    assert!(failure(&dir).contains("has no results.json"));
    fs::write(dir.join("results.json"), "{\"verdict\":").unwrap();
    assert!(
        failure(&dir).contains("results.json does not hold the results of a run: EOF"),
        "{}",
        failure(&dir)
    );
    fs::write(dir.join("results.json"), "{\"verdict\":\"splendid\"}").unwrap();
    assert!(failure(&dir).contains("splendid"), "{}", failure(&dir));
    write_results(&dir, &good);
    assert!(failure(&dir).contains("failed to read"), "{}", failure(&dir));
    let history = dir.join("history.jsonl");
    let head = "{\"history\":1,\"workload\":\"w\",\"model\":\"register\"}\n";
    for (text, complaint) in [
        (String::new(), "history.jsonl, line 1: is empty"),
        ("\u{0}garbage\n".to_owned(), "history.jsonl, line 1: no header of a history"),
        (format!("{head}{{}}\n"), "history.jsonl, line 2: no event of a history: missing field"),
        (
            format!(
                "{head}{{\"index\":4,\"time\":0,\"process\":\"runner\",\"type\":\"info\",\"f\":\"phase\"}}\n"
            ),
            "line 2: \"index\" is 4 where 0 is due",
        ),
        (
            format!(
                "{head}{{\"index\":0,\"time\":0,\"process\":\"runner\",\"type\":\"info\",\"f\":\"phase\",\"value\":7}}\n"
            ),
            "history.jsonl line 2 holds no such event: invalid type: integer",
        ),
    ] {
        fs::write(&history, text).unwrap();
        assert!(failure(&dir).contains(complaint), "{}", failure(&dir));
    }
}

#[test]
fn torn_last_line_is_told_and_left_out() {
    let dir = small_run("torn");
    let path = dir.join("history.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    assert!(page(&dir).contains("last line is torn"));
}

#[test]
fn older_report_is_replaced_whole() {
    let dir = small_run("replaced");
    fs::write(dir.join("report.html"), "old").unwrap();
    page(&dir);
    let names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("tmp")), "{names:?}");
}

/// A program that opens web pages, if this machine has one.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|run| run.status.success())
    })
}

#[test]
fn report_opens_without_console_errors() {
    let Some(browser) = browser() else {
        println!("skipped: no Chromium on this machine");
        return;
    };
    let dir = stale_run("console", "k3");
    page(&dir);
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--v=0",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", dir.join("report.html").display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(
        dom.contains("<html lang=\"en\" class=\"script\">"),
        "the page's script did not run: {log}"
    );
}

fn run_summary(workload: &str, seed: u64, outcome: Result<Value, &str>) -> RunSummary {
    RunSummary {
        workload: workload.to_owned(),
        seed,
        dir: format!("results/{workload}/x-{seed}").into(),
        must_be_rejected: workload.contains("canary"),
        took: Duration::from_millis(1_500),
        outcome: match outcome {
            Ok(results) => Ok(serde_json::from_value(results).unwrap()),
            Err(failure) => Err(failure.to_owned()),
        },
        failure: None,
    }
}

#[test]
fn junit_tells_failures_from_errors() {
    let dir = directory("junit");
    let path = dir.join("junit.xml");
    let good = || Ok(results("valid", "valid", &good_checks()));
    let violation = json!({ "class": "lost write", "key": "k1", "explanation": "It is gone <&>.", "events": [], "time": 5 });
    let bad = |violations: Value| {
        let checks = json!([
            { "name": "linearizable", "verdict": "invalid", "summary": "one lost write", "violations": violations },
            { "name": "coverage", "verdict": "unknown", "summary": "too little happened" },
        ]);
        Ok(results("invalid", "invalid", &checks))
    };
    let sick = json!([
        { "name": "stale-reads", "verdict": "invalid", "summary": "stale" },
        { "name": "exactly-once", "verdict": "invalid", "summary": "twice" },
    ]);
    let sick = Ok(results("invalid", "invalid", &sick));
    let runs = [
        run_summary("register", 1, good()),
        run_summary("register", 2, bad(json!([violation]))),
        run_summary("counter", 3, Err("raftd did not start")),
        run_summary("stale-canary", 4, bad(json!([]))),
        run_summary("deaf-canary", 5, good()),
        run_summary("sick-canary", 6, sick),
        RunSummary { failure: Some("no space".to_owned()), ..run_summary("append", 7, good()) },
    ];
    report::junit(&path, &runs).unwrap();
    let xml = fs::read_to_string(&path).unwrap();
    let suite = |name: &str| {
        let from = xml
            .find(&format!("<testsuite name=\"{name}\""))
            .unwrap_or_else(|| panic!("no suite {name}: {xml}"));
        let to = from + xml[from..].find("</testsuite>").unwrap();
        &xml[from..to]
    };
    let figures = |suite: &str| -> [usize; 3] {
        ["<testcase ", "<failure ", "<error "].map(|element| suite.matches(element).count())
    };
    assert_eq!(figures(suite("register")), [6, 1, 1]);
    assert!(suite("register").contains("It is gone &lt;&amp;&gt;."));
    assert!(suite("register").contains("harness check results/register/x-2/history.jsonl"));
    assert!(suite("register").contains("name=\"linearizable (seed 2)\""));
    assert_eq!(figures(suite("counter")), [1, 0, 1]);
    assert!(suite("counter").contains("raftd did not start"));
    assert_eq!(figures(suite("stale-canary")), [3, 0, 0], "a canary that is rejected is a success");
    assert_eq!(
        figures(suite("deaf-canary")),
        [5, 1, 0],
        "a canary that is not rejected is a failure"
    );
    assert_eq!(figures(suite("sick-canary")), [3, 1, 0], "a canary excuses stale reads only");
    assert!(suite("sick-canary").contains("<failure message=\"twice\""));
    assert_eq!(figures(suite("append")), [5, 0, 1], "that the harness failed is told");
}
