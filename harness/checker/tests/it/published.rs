//! Histories from elsewhere with published verdicts.
//!
//! None are kept here. To check some, put them into a directory with a `VERDICTS.tsv`, and name the directory:
//!
//! ```sh
//! HISTORY_FIXTURES=/path/to/histories cargo test -p history-checker --test it published
//! ```
//!
//! The first line of `VERDICTS.tsv` names its columns, separated by tabs: `file` (relative to the directory), `model`,
//! `initial` (JSON, or a bare word), `nil_read` (`unset` or `any`) and `verdict` (`valid` or `invalid`).

use std::path::Path;

use history_checker::history::{NilRead, ReadOptions};
use history_checker::model::Model;
use history_checker::results::Verdict;
use history_checker::{History, Options, check};

use crate::support::part;

#[test]
fn published_verdicts_are_ours() {
    let Some(directory) = std::env::var_os("HISTORY_FIXTURES") else {
        eprintln!("skipped: HISTORY_FIXTURES names no directory with histories and a VERDICTS.tsv");
        return;
    };
    let directory = Path::new(&directory);
    let list = directory.join("VERDICTS.tsv");
    let text = std::fs::read_to_string(&list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let mut checked = 0;
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, model, initial, nil_read, verdict] = columns.as_slice() else {
            panic!("{}: not five columns: {line:?}", list.display());
        };
        let bare = || serde_json::Value::String((*initial).to_owned());
        let options = ReadOptions {
            model: Some(Model::named(model).unwrap_or_else(|| panic!("{line:?}: no such model"))),
            initial: Some(serde_json::from_str(initial).unwrap_or_else(|_| bare())),
            nil_read: if *nil_read == "any" { NilRead::Any } else { NilRead::Unset },
            ..ReadOptions::default()
        };
        let history = History::read_as(&directory.join(file), &options)
            .unwrap_or_else(|error| panic!("{error}"));
        let results = check(&history, &Options::default());
        let expected = if *verdict == "valid" { Verdict::Valid } else { Verdict::Invalid };
        assert_eq!(part(&results, "linearizable").verdict, expected, "{file}: {results:#?}");
        assert_eq!(results.verdict, expected, "{file}: {results:#?}");
        checked += 1;
    }
    assert!(checked > 0, "{} lists no history", list.display());
}
