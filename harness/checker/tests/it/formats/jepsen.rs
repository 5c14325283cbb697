//! Histories of Jepsen: EDN, and lines of logs.

use history_checker::formats::{Format, Independent, Reading, Records};

use super::{refused, told, told_with};

/// The value of an event, as JSON.
fn value(written: &str) -> String {
    let text = format!("{{:process 0 :type :ok :f :w :value {written}}}");
    let told = told(&text, Some(Format::JepsenEdn)).concat();
    told.strip_prefix("client 0 ok w ").expect("an event").to_owned()
}

#[test]
fn vector_and_single_maps_say_the_same() {
    let maps = [
        "{:process 0, :type :invoke, :f :read, :value nil, :time 7, :index 0}",
        "#jepsen.history.Op{:index 1,\n :type :ok, :f :read, :value 3\n, :process 0 :node \"n2\"}",
        "{:process :nemesis, :type :info, :f :start, :value \"Cut off [:n3 #[:n4]\"}",
        "{\"process\" 1 type \"fail\" :f \"write\" :key :x :value 1 :error [:not-found \"\"] :extra {:a [1 {}]}}",
    ];
    let expected = [
        "client 0 invoke read null time=7 index=0",
        "client 0 ok read 3 index=1 node=2",
        "nemesis info start \"Cut off [:n3 #[:n4]\"",
        "client 1 fail write 1 key=\"x\" error=[:not-found \"\"]",
    ];
    assert_eq!(told(maps.join("\n"), None), expected);
    assert_eq!(told(maps.concat(), Some(Format::JepsenEdn)), expected);
    assert_eq!(told(format!("[{}]", maps.join("")), None), expected);
    assert_eq!(told(format!("; c\n #_ [1 2] ({}) ; end", maps.join(",\n")), None), expected);
    assert_eq!(told("[]", None), [""; 0]);
}

#[test]
fn values_of_edn() {
    for (written, means) in [
        ("nil", "null"),
        ("true", "true"),
        ("false", "false"),
        ("-17", "-17"),
        ("+17", "17"),
        ("17N", "17"),
        ("9223372036854775808", "9223372036854775808"),
        ("9223372036854775808N", "9223372036854775808"),
        ("1.50", "1.50"),
        ("1.5e-3M", "1.5e-3M"),
        ("2/3", "2/3"),
        ("0x1F", "0x1F"),
        ("##Inf", "##Inf"),
        (":x", "\"x\""),
        (":jepsen/f", "\"jepsen/f\""),
        ("sym-bol.x/y", "\"sym-bol.x/y\""),
        ("-", "\"-\""),
        ("\"a\\tb\\\"\\\\\\u00e9\\ud83d\\ude00\\101\"", "\"a\\tb\\\"\\\\é😀A\""),
        ("\"two\nlines;\"", "\"two\\nlines;\""),
        ("\\a", "\"a\""),
        ("\\newline", "\"\\n\""),
        ("\\u0041", "\"A\""),
        ("[\\( \\) \\\" \\; \\é]", "[\"(\",\")\",\"\\\"\",\";\",\"é\"]"),
        ("(1, 2 #_3 #_ #_ 4 5 [])", "[1,2,[]]"),
        ("#{1 :a}", "[1,\"a\"]"),
        ("{:a 1, \"b\" [nil], 3 {}}", "{\"a\":1,\"b\":[null],3:{}}"),
        ("#inst \"2024-01-01\"", "#inst \"2024-01-01\""),
        ("#a #b/c [1 #_2 3]", "#a #b/c [1 #_2 3]"),
        ("#object[a.B 0x1f \"x\"]", "#object[a.B 0x1f \"x\"]"),
        ("#:ns{:a 1}", "#:ns{:a 1}"),
        ("[; comment )\n 1]", "[1]"),
        ("[[:read :x nil] [:w :y 2]]", "[[\"read\",\"x\",null],[\"w\",\"y\",2]]"),
    ] {
        assert_eq!(value(written), means, "{written}");
    }
}

#[test]
fn bad_edn_is_refused_with_its_place() {
    let event = |value: &str| {
        format!(
            "[{{:process 0 :type :ok :f :w}}\n {{:process 0 :type :ok :f :w\n :value {value}}}]"
        )
    };
    for (value, place, what) in [
        ("[1 2", "line 3: ", "expected `]`, found `}` (column 13)"),
        ("1 2", "line 3: ", "expected a value, found `}` (column 12)"),
        ("12abc", "line 3: ", "expected a number, found 12abc (column 9)"),
        ("012", "line 3: ", "expected a number, found 012 (column 9)"),
        (
            "\"é\\q\"",
            "line 3: ",
            "a string has \\t \\r \\n \\b \\f \\\\ \\\" \\u0041, and no other escapes (column 11)",
        ),
        ("\"\\ud800\"", "line 3: ", "half of a surrogate pair, which is no character (column 10)"),
        ("\\foo", "line 3: ", "expected a character, found \\foo (column 9)"),
        ("# ", "line 3: ", "expected a tag, such as #inst, after `#` (column 9)"),
        ("^a", "line 3: ", "expected a value, found `^` (column 9)"),
        (": ", "line 3: ", "a colon that names nothing (column 9)"),
        ("\0", "line 3: ", "expected a value, found byte 0x00 (column 9)"),
        ("1 :value 2", "line 3: ", ":value stands in the map twice (column 11)"),
        (
            "1 :type :read",
            "line 3: ",
            ":type must be :invoke, :ok, :fail or :info, not :read (column 17)",
        ),
    ] {
        let error = refused(event(value), None);
        assert_eq!(error, format!("h, {place}no event of a Jepsen history: {what}"), "{value}");
    }
    for (text, what) in [
        (
            "[{:process 0 :f :w}]",
            "line 1: no event of a Jepsen history: :type is missing, :invoke, :ok, :fail or :info (column 20)",
        ),
        (
            "[{:type :ok :f :w}]",
            "line 1: no event of a Jepsen history: :process is missing: who did it (column 19)",
        ),
        (
            "[{:type :ok :process 1}]",
            "line 1: no event of a Jepsen history: :f is missing: what is done, such as :read (column 24)",
        ),
        (
            "[{:type :ok :process -1}]",
            "line 1: no event of a Jepsen history: :process must be a number or a name, not -1 (column 22)",
        ),
        (
            "[\n7]",
            "line 2: no event of a Jepsen history: expected a map, {:process 0, :type :invoke, …}, found `7` (column 1)",
        ),
        ("[\n)]", "line 2: no event of a Jepsen history: expected a map, found `)` (column 1)"),
        (
            "[] []",
            "line 1: no event of a Jepsen history: expected nothing after the end of the history (column 4)",
        ),
    ] {
        assert_eq!(refused(text, Some(Format::JepsenEdn)), format!("h, {what}"));
    }
}

#[test]
fn pairs_of_key_and_value_are_taken_apart_where_they_are_sure() {
    let history = |events: &[(&str, &str, &str)]| {
        let event = |(kind, f, value): &(&str, &str, &str)| {
            format!("{{:process 0 :type :{kind} :f :{f} :value {value}}}\n")
        };
        let text: String = events.iter().map(event).collect();
        let keys = told(&text, None).iter().filter(|told| told.contains("key=")).count();
        (keys, events.len())
    };
    let all = |(keys, events): (usize, usize)| keys == events;
    let none = |(keys, _): (usize, usize)| keys == 0;
    assert!(all(history(&[("invoke", "read", "[3 nil]"), ("ok", "read", "[3 1]")])));
    assert!(all(history(&[("invoke", "write", "[:a 1]"), ("invoke", "read", "[:b nil]")])));
    assert!(all(history(&[("invoke", "cas", "[3 [0 1]]")])));
    assert!(all(history(&[
        ("ok", "write", "#jepsen.independent/tuple [3 4]"),
        ("ok", "write", "[3 4]")
    ])));
    assert!(none(history(&[("invoke", "cas", "[3 4]"), ("fail", "cas", "[3 4]")])));
    assert!(none(history(&[("invoke", "cas", "[3 nil]"), ("invoke", "cas", "[nil 3]")])));
    assert!(none(history(&[("invoke", "cas", "[3 4]"), ("invoke", "read", "nil")])));
    assert!(none(history(&[("invoke", "txn", "[[:r :x nil] [:w :y 1]]")])));
    assert!(none(history(&[("invoke", "read", "[3 nil]"), ("invoke", "read", "[1 2 3]")])));
}

#[test]
fn pair_keeps_nemesis_and_silent_completions() {
    let text = "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
                INFO  jepsen.util - 1\t:invoke\t:read\t[7 nil]\n\
                INFO  jepsen.util - 1\t:info\t:read\t:timed-out\n";
    assert_eq!(
        told(text, None),
        [
            "nemesis info start null",
            "client 1 invoke read null key=7",
            "client 1 info read null error=timed-out"
        ]
    );
}

#[test]
fn value_that_is_no_pair_is_refused_with_a_remedy() {
    let text = "{:process 0 :type :invoke :f :read :value [1 nil]}\n{:process 0 :type :ok :f :read :value 7}\n";
    let reading = Reading { independent: Independent::Yes, ..Reading::default() };
    assert_eq!(
        told_with(text, reading).unwrap_err().to_string(),
        "h, line 2: no event of a Jepsen history: expected a pair of a key and a value, as jepsen.independent writes \
         them, found 7; if values are not such pairs in this history, say --independent no (column 39)"
    );
}

#[test]
fn lines_of_a_log() {
    let text = "2024-01-01 12:00:00 INFO jepsen.core: starting\n\
        INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
        INFO [2024] jepsen worker 0 - jepsen.util 0   :ok   :read   \"a b\"\n\
        2024{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:invoke\t:cas\t[3 0]\n\
        INFO  jepsen.util - 1\t:info\t:cas\t[3 0]\t:timed-out\r\n\
        INFO  jepsen.util - 2\t:fail\t:write\tindeterminate: Connection refused (a.b)\n\
        INFO  jepsen.util - :nemesis\t:info\t:start\tCut off {:a #{}}\n\
        INFO  jepsen.util - Run complete, 3 :ok\n\
        INFO  jepsen.util - 3\t:invoke\t:acquire\n\
        3   :ok  :acquire nil\n";
    assert_eq!(
        told(text, None),
        [
            "client 0 invoke read null",
            "client 0 ok read \"a b\"",
            "client 1 invoke cas [3,0]",
            "client 1 info cas [3,0] error=timed-out",
            "client 2 fail write null error=indeterminate: Connection refused (a.b)",
            "nemesis info start null error=Cut off {:a #{}}",
            "client 3 invoke acquire null",
            "client 3 ok acquire null",
        ]
    );
}

#[test]
fn bad_line_of_a_log_is_refused_with_its_place() {
    let good = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n";
    for (line, what) in [
        ("INFO  jepsen.util - 0\t:ok\t:read\t[1\n", "expected a value, found the end (column 35)"),
        (
            "INFO  jepsen.util - 0\t:ok\t:read\t1 2 3\n",
            "expected the end of the line after the value and the error, found `3` (column 37)",
        ),
        (
            "99999999999999999999 :ok :read 1\n",
            "expected a process: a number of at most 64 bits (column 1)",
        ),
    ] {
        assert_eq!(
            refused(format!("{good}{line}{good}"), None),
            format!("h, line 2: no event of a Jepsen log: {what}")
        );
    }
    assert_eq!(
        refused("nothing\nof the kind\n", Some(Format::JepsenLog)),
        "h: has no line of a Jepsen log, such as: INFO  jepsen.util - 0 :invoke :read nil"
    );
}

#[test]
fn large_edn_streams_in_little_memory() {
    /// An endless vector of which so many bytes are read.
    struct Endless(usize);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            const EVENT: &[u8] = b" {:process 1, :type :ok, :f :read, :value nil}\n";
            for (n, byte) in buffer.iter_mut().enumerate() {
                *byte = EVENT[(self.0 + n) % EVENT.len()];
            }
            if self.0 == 0 {
                buffer[0] = b'[';
            }
            self.0 += buffer.len();
            assert!(buffer.len() <= 2 << 20, "a window of {} bytes", buffer.len());
            Ok(buffer.len())
        }
    }
    let mut records = Records::new(Endless(0), "h", None).unwrap();
    for _ in 0..60_000 {
        assert!(records.next().unwrap().is_some());
    }
    assert_eq!(records.line(), 60_000);
}
