//! Files of others: set `HISTORY_FIXTURES` to a directory that has them, with a `VERDICTS.tsv` whose first column is
//! their paths.

use std::path::PathBuf;

use history_checker::formats::{Reading, Record, Records};
use history_checker::history::Kind;

#[test]
fn files_of_others_read_completely() {
    let Some(directory) = std::env::var_os("HISTORY_FIXTURES").map(PathBuf::from) else {
        eprintln!("skipped: HISTORY_FIXTURES names no directory with a VERDICTS.tsv");
        return;
    };
    let list = std::fs::read_to_string(directory.join("VERDICTS.tsv")).expect("VERDICTS.tsv");
    let files = list.lines().skip(1).filter_map(|line| line.split('\t').next());
    let mut count = 0;
    for file in files.filter(|file| !file.is_empty()) {
        let path = directory.join(file);
        let mut records = Records::open(&path, Reading::default()).expect("a format");
        let (mut invoked, mut completed) = (0, 0);
        while let Some(record) = records.next().expect("a record") {
            match record {
                Record::Event(event) if event.kind == Kind::Invoke => invoked += 1,
                Record::Event(_) => completed += 1,
                Record::Operation(_) => invoked += 1,
                Record::Header(_) | Record::Other(_) => {}
            }
        }
        assert_eq!(records.truncated_line(), None, "{file}");
        assert!(!records.independent(), "{file} has plain values");
        // Each line of a log or each `:process` of EDN is an event.
        let text = std::fs::read_to_string(&path).expect("text");
        let word = if text.contains("jepsen.util") { "jepsen.util" } else { ":process" };
        assert_eq!(invoked + completed, text.matches(word).count(), "{file}");
        count += 1;
    }
    assert!(count > 0, "VERDICTS.tsv names no file");
    eprintln!("{count} files read");
}
