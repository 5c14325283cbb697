//! How fast histories are read: `cargo bench -p history-checker --bench formats [OPERATIONS]`.
//!
//! Each line of the output: the format, its bytes, how long it takes to look at all of them (a sum over the bytes' newlines),
//! and how long to read all records.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use history_checker::formats::{Format, Record, Records};

fn main() {
    // `cargo test --all-targets` runs it too, but only to see that it works.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let count = std::env::args().find_map(|argument| argument.parse().ok());
    let operations = count.unwrap_or(if measures { 1_000_000 } else { 100 });
    for (format, text) in [
        (Format::Operations, operation_lines(operations)),
        (Format::History, history_lines(operations / 2)),
        (Format::JepsenEdn, edn_maps(operations / 2)),
        (Format::JepsenLog, log_lines(operations / 2)),
    ] {
        let scan = best(|| memchr::memchr_iter(b'\n', text.as_bytes()).count());
        let read = best(|| records(&text, format));
        println!(
            "{:11} {:>11} bytes {:>8} lines: line ends {:>6.1} ms, records {:>6.1} ms, {:.2} ns a byte",
            format.name(),
            text.len(),
            text.lines().count(),
            scan.as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e9 / f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX)),
        );
    }
}

fn best(run: impl Fn() -> usize) -> Duration {
    let once = || {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    };
    (0..5).map(|_| once()).min().unwrap_or_default()
}

fn records(text: &str, format: Format) -> usize {
    let mut records = Records::new(text.as_bytes(), "bench", Some(format)).expect("a history");
    let mut sum = 0;
    while let Some(record) = records.next().expect("a record") {
        sum += match record {
            Record::Operation(operation) => operation.f.len(),
            Record::Event(event) => event.f.len(),
            Record::Header(_) | Record::Other(_) => 0,
        };
    }
    sum
}

fn operation_lines(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (client, call) = (n % 50, 1_000_000 + n * 1000);
        writeln!(
            text,
            r#"{{"process":{client},"f":"write","key":"k{}","value":"{client}-{n}","call":{call},"return":{}}}"#,
            n % 1000,
            call + 1_000_000,
        )
        .expect("text");
    }
    text
}

fn history_lines(count: usize) -> String {
    let mut text = "{\"history\":1,\"workload\":\"w\",\"model\":\"register\"}\n".to_owned();
    for n in 0..count {
        for (half, kind) in ["invoke", "ok"].into_iter().enumerate() {
            let (index, client) = (2 * n + half, n % 50);
            write!(
                text,
                r#"{{"index":{index},"time":{},"process":{client},"type":"{kind}","f":"write","key":"k{}","value":"{client}-{n}","node":1,"request":"c{client}@0:{n}""#,
                1_000_000 + index * 1000,
                n % 1000,
            )
            .expect("text");
            text.push_str(if half == 0 { "}\n" } else { ",\"log_index\":1234}\n" });
        }
    }
    text
}

fn edn_maps(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        for (half, kind) in ["invoke", "ok"].into_iter().enumerate() {
            let (index, client) = (2 * n + half, n % 50);
            writeln!(
                text,
                "{{:type :{kind}, :f :write, :value {n}, :process {client}, :time {}, :index {index}}}",
                1_000_000 + index * 1000,
            )
            .expect("text");
        }
    }
    text
}

fn log_lines(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        for kind in ["invoke", "ok"] {
            writeln!(text, "INFO  jepsen.util - {}\t:{kind}\t:write\t{n}", n % 50).expect("text");
        }
    }
    text
}
