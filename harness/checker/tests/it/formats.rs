//! Reading histories in every format: what the records say, where they stand, and what is refused.

mod broken;
mod fixtures;
mod jepsen;
mod mutated;
mod same_as_serde;

use history_checker::formats::{
    Format, Independent, RawEvent, RawOperation, ReadError, Reading, Record, Records, detect,
};
use history_checker::history::Kind;

pub(crate) const HEADER: &str = r#"{"history":1,"workload":"w","model":"cas-register"}"#;

/// Everything that a history says, each record in a line; and the line that is cut off.
pub(crate) fn told_with(
    text: impl AsRef<[u8]>,
    reading: Reading,
) -> Result<(Vec<String>, Option<u64>), ReadError> {
    let mut records = Records::with(text.as_ref(), "h", reading)?;
    let mut told = Vec::new();
    while let Some(record) = records.next()? {
        let record = match record {
            Record::Header(header) => format!("header {}", header.model),
            Record::Event(event) => told_event(&event),
            Record::Other(event) => format!("other {} {}", event.process, event.f),
            Record::Operation(operation) => told_operation(&operation),
        };
        told.push(record);
    }
    assert_eq!(records.next().expect("the end stays the end"), None);
    Ok((told, records.truncated_line()))
}

/// The same where nothing is cut off.
pub(crate) fn told(text: impl AsRef<[u8]>, format: Option<Format>) -> Vec<String> {
    let reading = Reading { format, ..Reading::default() };
    let (told, truncated) = told_with(text, reading).expect("a history");
    assert_eq!(truncated, None);
    told
}

pub(crate) fn refused(text: impl AsRef<[u8]>, format: Option<Format>) -> String {
    let reading = Reading { format, ..Reading::default() };
    told_with(text, reading).expect_err("a refusal").to_string()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    }
}

fn field(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or(String::new(), |value| format!(" {name}={value}"))
}

fn told_event(event: &RawEvent<'_>) -> String {
    [
        format!("{} {} {} {}", event.process, kind(event.kind), event.f, event.value),
        field("key", event.key.as_ref()),
        field("time", event.time),
        field("index", event.index),
        field("error", event.error.as_ref()),
        field("node", event.node),
        field("request", event.request.as_ref()),
        field("log_index", event.log_index),
        field("role", event.role.as_ref()),
        field("term", event.term),
    ]
    .concat()
}

fn told_operation(operation: &RawOperation<'_>) -> String {
    let RawOperation { process, f, value, call, .. } = operation;
    [
        format!("{process} {} {f} {value}", kind(operation.outcome)),
        field("result", operation.result.as_ref()),
        field("key", operation.key.as_ref()),
        format!(" {call}-{}", operation.ret.map_or("?".to_owned(), |ret| ret.to_string())),
        field("log_index", operation.log_index),
        field("error", operation.error.as_ref()),
        field("node", operation.node),
    ]
    .concat()
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!(
        "json".parse::<Format>(),
        Err("\"json\" is none of history, operations, edn, log".to_owned())
    );
}

#[test]
fn format_is_found_out_from_the_beginning() {
    let operation = r#"{"process":1,"f":"read","call":1,"return":2}"#;
    for (text, format) in [
        (HEADER, Format::History),
        ("\u{feff}{\"workload\": \"w\", \"history\" : 1}", Format::History),
        (r#"{"index":0,"time":1,"process":1,"type":"invoke","f":"read"}"#, Format::History),
        (operation, Format::Operations),
        (r#"  {"value":"\"history\"","process":1}"#, Format::Operations),
        ("{:process 0}", Format::JepsenEdn),
        ("; {\"history\":1}\n\n [ {:process 0}]", Format::JepsenEdn),
        ("#jepsen.history.Op{:process 0}", Format::JepsenEdn),
        ("({:process 0})", Format::JepsenEdn),
        ("[]", Format::JepsenEdn),
        ("[;\n{:process 0}]", Format::JepsenEdn),
        ("hello\nINFO  jepsen.util - 0\t:invoke\t:read\tnil", Format::JepsenLog),
        ("{not json}\n[12:00] INFO jepsen.util: 0 :ok :read 3", Format::JepsenLog),
        ("0 :invoke :read nil", Format::JepsenLog),
    ] {
        assert_eq!(detect(text.as_bytes()), Some(format), "{text}");
    }
    for text in ["", "\n", "hello", "{", "[1,2]", "[{\"process\":1}]", "{}", "; only a comment"] {
        assert_eq!(detect(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn operation_says_call_and_return() {
    let text = concat!(
        r#"{"process":3,"f":"write","key":"k0","value":"3-1","call":10,"return":20,"log_index":7,"node":2}"#,
        "\n\r\n",
        r#"{"process":4,"f":"read","key":"k0","result":null,"call":11,"return":11}"#,
        "\r\n",
        r#"{"process":"c5","f":"cas","value":["3-1",{"a":[true]}],"type":"fail","call":30,"return":40,"error":"mismatch"}"#,
        "\n",
        r#"{ "process" : 6 , "f" : "incr" , "value" : -2 , "call" : 30 , "return" : null , "key" : null , "comment" : {} }"#,
        "\n",
        r#"{"process":7,"f":"read","type":"info","call":18446744073709551615,"return":18446744073709551615}"#,
    );
    assert_eq!(
        told(text, None),
        [
            "client 3 ok write \"3-1\" key=\"k0\" 10-20 log_index=7 node=2",
            "client 4 ok read null result=null key=\"k0\" 11-11",
            "c5 fail cas [\"3-1\",{\"a\":[true]}] 30-40 error=mismatch",
            "client 6 info incr -2 30-?",
            "client 7 info read null 18446744073709551615-18446744073709551615",
        ]
    );
}

#[test]
fn operation_has_the_names_that_others_use() {
    for text in [
        r#"{"client":3,"op":"write","input":1,"output":2,"start":10,"end":20}"#,
        r#"{"ClientId":3,"Operation":"write","Input":1,"Output":2,"Call":10,"Return":20}"#,
        r#"{"client_id":3,"f":"write","value":1,"result":2,"call_time":10,"return_time":20}"#,
        r#"{"clientId":3,"f":"write","value":1,"result":2,"startTime":10,"endTime":20,"outcome":"ok"}"#,
        r#"{"pr\u006fcess":3,"f":"wr\u0069te","value":1,"result":2,"call":10,"ret":20}"#,
    ] {
        assert_eq!(told(text, None), ["client 3 ok write 1 result=2 10-20"], "{text}");
    }
}

#[test]
fn operation_keeps_numbers_exactly() {
    for (value, kept) in [
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.50", "1.50"),
        ("-1e-3", "-1e-3"),
        ("0", "0"),
        (r#""\u00e9\ud83d\ude00\n\/""#, r#""é😀\n/""#),
    ] {
        let text = format!(r#"{{"process":3,"f":"w","value":{value},"call":1,"return":2}}"#);
        assert_eq!(told(text, None), [format!("client 3 ok w {kept} 1-2")]);
    }
}

#[test]
fn bad_operation_is_refused_with_its_place() {
    let good = r#"{"process":3,"f":"read","call":1,"return":2}"#;
    for (line, what) in [
        (
            r#"{"f":"read","call":1,"return":2}"#,
            "\"process\" is missing, the client's number or name (column 33)",
        ),
        (
            r#"{"process":3,"call":1,"return":2}"#,
            "\"f\" is missing: what is done, such as \"read\" (column 34)",
        ),
        (
            r#"{"process":3,"f":"read","return":2}"#,
            "\"call\" is missing, the time of its invocation (column 36)",
        ),
        (
            r#"{"process":3,"f":"read","call":3,"return":2}"#,
            "it returns at 2, before it is called at 3 (column 45)",
        ),
        (
            r#"{"process":3,"f":"read","call":3,"retrun":4}"#,
            "\"return\" is missing; if \"retrun\" is not that, say \"return\":null for what never returned (column 33)",
        ),
        (
            r#"{"process":3,"f":"read","type":"ok","call":3}"#,
            "\"return\" is missing, though \"type\" is \"ok\"; if it never returned, it is \"info\" (column 46)",
        ),
        (
            r#"{"process":3,"f":"read","call":1,"start":1,"return":2}"#,
            "\"start\" is said a second time, perhaps by another name (column 42)",
        ),
        (
            r#"{"process":-3,"f":"read","call":1}"#,
            "\"process\" must be a whole number, 0 or more, not -3 (column 12)",
        ),
        (
            r#"{"process":3,"f":"é","call":"x"}"#,
            "\"call\" must be a whole number, 0 or more, such as nanoseconds since some moment that is the same for all, not \"x\" (column 29)",
        ),
        (
            r#"{"process":3,"type":"invoke"}"#,
            "\"type\" must be \"ok\", \"fail\" or \"info\", not \"invoke\" (column 21)",
        ),
        (r#"{"process":3 "f""#, "expected `,` or `}`, found `\"` (column 14)"),
        (r#"{"process":3,"f":"read"#, "a string without end (column 23)"),
        (r#"{"process":03}"#, "expected a digit, found `0` (column 12)"),
        (r#"{"process":3} x"#, "expected nothing after the object, found `x` (column 15)"),
        (
            "[]",
            "expected an object, {\"process\":…,\"f\":…,\"call\":…,\"return\":…}, found `[` (column 1)",
        ),
        ("{\"process\":3,\"f\":\"\0\"}", "byte 0x00 in a string: escape it (column 19)"),
        (r#"{"process":3,"f":"\ud800"}"#, "unexpected end of hex escape (column 25)"),
    ] {
        let error = refused(format!("{good}\n{line}\n{good}\n"), Some(Format::Operations));
        assert_eq!(error, format!("h, line 2: no operation: {what}"), "{line}");
    }
}

#[test]
fn history_has_a_header_events_and_others() {
    let text = format!(
        "{HEADER}\n{}\n{}\n{}\n",
        r#"{"index":0,"time":5,"process":3,"type":"invoke","f":"write","key":"x","value":"3-1","node":1,"request":"c3@0:1"}"#,
        r#"{"type":"ok","error":"e","role":"leader","term":4,"log_index":7,"process":3,"f":"write","value":["a",{"b":1}],"time":6,"index":1}"#,
        r#"{"index":2,"time":6,"process":"node-1","type":"info","f":"role","value":{"term":1}}"#,
    );
    assert_eq!(
        told(text, None),
        [
            "header cas-register",
            "client 3 invoke write \"3-1\" key=\"x\" time=5 index=0 node=1 request=c3@0:1",
            "client 3 ok write [\"a\",{\"b\":1}] time=6 index=1 error=e log_index=7 role=leader term=4",
            "other node-1 role",
        ]
    );
}

#[test]
fn records_know_where_they_stand() {
    let places = |text: &str| {
        let mut records = Records::new(text.as_bytes(), "h", None).unwrap();
        let mut places = Vec::new();
        while records.next().unwrap().is_some() {
            places.push((records.line(), records.column()));
        }
        places
    };
    let a = "{:process 0 :type :ok :f :read}";
    assert_eq!(places(&format!("; é\n[{a}\n\n #_é {a}{a},\n]")), [(2, 2), (4, 6), (4, 37)]);
    let b = r#"{"process":3,"f":"read","call":1,"return":2}"#;
    assert_eq!(places(&format!("\n{b}\n\n{b}")), [(2, 1), (4, 1)]);
}

#[test]
fn input_that_comes_byte_by_byte_reads_the_same() {
    struct Dripping<'a>(&'a [u8]);
    impl std::io::Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }
    for text in mutated::SAMPLES {
        let mut records = Records::new(Dripping(text.as_bytes()), "h", None).unwrap();
        let mut count = 0;
        while records.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, told(text, None).len(), "{text}");
    }
}

#[test]
fn marks_of_other_systems_change_nothing() {
    for text in mutated::SAMPLES {
        let expected = told(text, None);
        assert_eq!(
            told(format!("\u{feff}{text}"), None),
            expected,
            "with a mark of the byte order"
        );
        assert_eq!(
            told(text.replace('\n', "\r\n"), None),
            expected,
            "with other line ends: {text}"
        );
    }
}

#[test]
fn pairs_can_be_forced_and_forbidden() {
    let text = "{:process 0 :type :ok :f :write :value [1 2]}";
    let with = |independent| {
        told_with(text, Reading { independent, ..Reading::default() }).unwrap().0.concat()
    };
    assert_eq!(with(Independent::Auto), "client 0 ok write [1,2]");
    assert_eq!(with(Independent::No), "client 0 ok write [1,2]");
    assert_eq!(with(Independent::Yes), "client 0 ok write 2 key=1");
}
