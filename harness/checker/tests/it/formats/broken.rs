//! Files that are cut off, or are no history at all.

use history_checker::formats::{Format, Reading, Records};

use super::mutated::SAMPLES;
use super::{HEADER, refused, told, told_with};

const INVOKE: &str =
    r#"{"index":0,"time":5,"process":3,"type":"invoke","f":"write","key":"x","value":"3-1"}"#;
const OPERATION: &str = r#"{"process":3,"f":"read","call":1,"return":2}"#;
const MAP: &str = "{:process 0, :type :invoke, :f :read, :value nil}";
const LINE: &str = "INFO  jepsen.util - 0\t:invoke\t:read\tnil";

/// How many records there are, and the line that is cut off.
fn read(text: impl AsRef<[u8]>, format: Format) -> (usize, Option<u64>) {
    let reading = Reading { format: Some(format), ..Reading::default() };
    let (told, truncated) = told_with(text, reading).expect("a history");
    (told.len(), truncated)
}

#[test]
fn cut_last_line_is_left_out_and_reported() {
    for (format, whole) in [
        (Format::History, format!("{HEADER}\n{INVOKE}\n{INVOKE}")),
        (Format::Operations, format!("{OPERATION}\n{OPERATION}\n{OPERATION}")),
        (Format::JepsenEdn, format!("{MAP}\n{MAP}\n{MAP}")),
    ] {
        let start = whole.rfind('\n').unwrap() + 1;
        assert_eq!(read(&whole, format), (3, None), "only the line's end is missing");
        assert_eq!(read(&whole[..start], format), (2, None));
        for cut in start + 1..whole.len() {
            assert_eq!(read(&whole[..cut], format), (2, Some(3)), "{format} cut at {cut}");
        }
        let zeros = [&whole.as_bytes()[..start + 9], &[0; 50]].concat();
        assert_eq!(read(zeros, format), (2, Some(3)), "{format} filled up with zeros");
    }
}

#[test]
fn cut_line_of_a_log_is_left_out_unless_it_is_surely_whole() {
    let read = |last: &str| read(format!("{LINE}\nother\n{last}"), Format::JepsenLog);
    for whole in [LINE, "1 :ok :cas [1 2]", "1 :ok :read \"x\"", "1 :info :write :timed-out"] {
        assert_eq!(read(whole), (2, None), "{whole}");
    }
    for cut in [
        "1 :ok :read 4",
        "1 :ok :cas [1",
        "1 :ok :re",
        "1 :ok",
        "1 :o",
        "1",
        "INFO  jepsen.util - 1",
    ] {
        assert_eq!(read(cut), (1, Some(3)), "{cut}");
    }
    assert_eq!(read("INFO  jepsen.util - Run comp"), (1, None));
}

#[test]
fn vector_without_end_is_reported() {
    assert_eq!(read(format!("[{MAP}\n {MAP}\n"), Format::JepsenEdn), (2, Some(3)));
    assert_eq!(read(format!("[{MAP}\n {}", &MAP[..20]), Format::JepsenEdn), (1, Some(2)));
    assert_eq!(read(format!("[{MAP}\n ; comment"), Format::JepsenEdn), (1, Some(2)));
}

#[test]
fn damage_that_swallows_events_is_no_cut() {
    let damaged = MAP.replace('}', "");
    let error = refused(format!("{MAP}\n{damaged}\n{MAP}\n{MAP}\n"), None);
    assert_eq!(
        error,
        "h, line 2: no event of a Jepsen history: what begins here has no end: a bracket or a quote is missing (column 1)"
    );
    assert!(refused(&MAP[..20], None).contains("what begins here has no end"));
}

#[test]
fn whole_line_that_breaks_a_rule_is_no_cut() {
    let error = refused(format!("{HEADER}\n{{\"index\":0}}"), None);
    assert_eq!(error, "h, line 2: no event of a history: missing field `time` (column 11)");
    let error = refused(format!("{OPERATION}\n{{\"process\":0}}"), None);
    assert!(error.contains("\"f\" is missing"), "{error}");
}

#[test]
fn errors_of_our_own_format_stay_as_they_were() {
    assert_eq!(
        refused("", Some(Format::History)),
        "h, line 1: is empty: the first line of a history is its header, {\"history\":1,…}"
    );
    assert_eq!(
        refused(format!("{HEADER}\n{}\n{INVOKE}", &INVOKE[..40]), None),
        "h, line 2: no event of a history: EOF while parsing a string (column 40)"
    );
    assert_eq!(
        refused(INVOKE, None),
        "h, line 1: no header of a history ({\"history\":1,\"workload\":…,\"model\":…}): missing field `history` (column 84)"
    );
}

#[test]
fn what_is_no_history_is_refused_with_what_was_looked_for() {
    let error = refused("hello\n", None);
    assert!(
        error.starts_with("h: is no history in a format that is known. A history begins with"),
        "{error}"
    );
    assert!(error.ends_with("Say which it is with --format history|operations|edn|log"), "{error}");
    for (text, what) in [
        (&b"\x1f\x8b\x08"[..], "compressed: unpack it first"),
        (b"PK\x03\x04", "zip archive"),
        (b"\xff\xfe{\0", "UTF-16"),
        (
            b"[{\"process\":1}]",
            "array of JSON: put each element on a line of its own, as jq -c '.[]' does",
        ),
    ] {
        assert!(refused(text, None).contains(what), "{what}");
    }
    assert_eq!(refused("\n \n", None), "h: is empty: there is no history in it");
    for format in [Format::Operations, Format::JepsenEdn] {
        assert!(refused(" \n", Some(format)).starts_with("h: is empty"), "{format}");
    }
    let error = Records::open("/nowhere/h".as_ref(), Reading::default()).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/h: cannot be read: "), "{error}");
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_place() {
    let bad = |good: &str, text: &str| {
        let line = text.replace("read", "\u{1}");
        let line = line.bytes().map(|byte| if byte == 1 { 0xff } else { byte });
        [good.as_bytes(), b"\n", &line.collect::<Vec<u8>>(), b"\n"].concat()
    };
    for (text, column) in [
        (bad(OPERATION, OPERATION), 19),
        (bad(MAP, MAP), 33),
        (bad(LINE, &LINE.replace("nil", "read")), 32),
    ] {
        let error = refused(text, None);
        let what = format!("expected a text in UTF-8, found byte 0xff (column {column})");
        assert!(error.starts_with("h, line 2: ") && error.ends_with(&what), "{error}");
    }
    let bytes = [HEADER.as_bytes(), b"\n\"\xff\"\n"].concat();
    assert!(refused(bytes, None).starts_with("h, line 2: no event of a history: "));
}

#[test]
fn lines_without_end_are_refused() {
    for (format, start, piece) in [
        (Format::History, "{\"", "history"),
        (Format::Operations, "{\"process\":\"", "x"),
        (Format::JepsenEdn, "{:process \"", "x"),
        (Format::JepsenLog, "", "jepsen.util"),
    ] {
        let text = format!("{start}{}", piece.repeat(300_000));
        let reading =
            Reading { format: Some(format), line_bytes_max: 100_000, ..Reading::default() };
        let error = told_with(text, reading).unwrap_err().to_string();
        assert!(error.starts_with("h, line 1: "), "{error}");
        assert!(
            error.ends_with("is longer than 100000 bytes, the most that is read at once"),
            "{error}"
        );
    }
    // What is just short enough is read.
    let text = OPERATION.replace("read", &"x".repeat(300_000));
    assert_eq!(told(&text, None).len(), 1);
}

#[test]
fn values_nest_only_so_deep() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let operation =
        |levels| OPERATION.replace("\"call\"", &format!("\"value\":{},\"call\"", nested(levels)));
    let map = |levels| MAP.replace("nil", &nested(levels));
    let line = |levels| LINE.replace("nil", &nested(levels));
    let texts: [&dyn Fn(usize) -> String; 3] = [&operation, &map, &line];
    for text in texts {
        assert_eq!(told(text(90), None).len(), 1);
        for levels in [101, 200_000] {
            let error = refused(text(levels), None);
            assert!(error.contains("nest deeper than 100 levels"), "{error}");
        }
    }
    for deep in ["#_ ", "#a ", "#{", "{:a "] {
        let error = refused(MAP.replace("nil", &deep.repeat(100_000)), Some(Format::JepsenEdn));
        assert!(error.contains("nest deeper") || error.contains("has no end"), "{error}");
    }
    let discards = format!("{}{} {MAP}", "#_ ".repeat(100_000), "x ".repeat(100_000));
    assert_eq!(told(discards, None).len(), 1);
}

#[test]
fn every_prefix_is_read_or_refused() {
    for text in SAMPLES {
        for length in 0..text.len() {
            for format in [None, Some(Format::JepsenEdn), Some(Format::JepsenLog)] {
                let reading = Reading { format, ..Reading::default() };
                drop(told_with(&text.as_bytes()[..length], reading));
            }
        }
    }
}

/// What is not known yet of a line may change what it is.
#[test]
fn half_of_a_line_does_not_decide_on_the_format() {
    #[derive(Debug)]
    struct Halves<'a>(&'a [u8], &'a [u8]);
    impl std::io::Read for Halves<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (length, rest) = (self.0.len(), self.1);
            buffer[..length].copy_from_slice(self.0);
            (self.0, self.1) = (rest, &[]);
            Ok(length)
        }
    }
    let halves = Halves(b"hello\n0 :ok :read 1", b" said jepsen.util - nobody\n");
    let error = Records::new(halves, "h", None).unwrap_err().to_string();
    assert!(error.starts_with("h: is no history in a format that is known."), "{error}");
}
