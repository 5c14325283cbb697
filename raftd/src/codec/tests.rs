use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::effects::Record;
use raft_core::kv::{Command, Compare, Op, RequestId, Txn, TxnOp};
use raft_core::membership::{Address, Change, Configuration};
use raft_core::message::{Envelope, Message, ReadQuestion, Stand};
use raft_core::types::{Entry, EntryId, Payload};

use super::*;

mod snapshot;

fn entry(index: u64, term: u64, payload: Payload) -> Arc<Entry> {
    Entry::new(EntryId { term, index }, payload)
}

fn put(key: &str, value: &str) -> Payload {
    let request = RequestId { client: "c3@12".into(), seq: 17 };
    let op = Op::Put { key: key.into(), value: value.into() };
    Payload::Command(Command { request, ack: 12, op })
}

fn founding(ids: &[NodeId]) -> Configuration {
    Configuration::founding(ids.iter().copied().collect())
}

/// One part of every kind.
fn txn() -> Payload {
    let compare = |key: &str, expect: Option<&str>| Compare {
        key: key.into(),
        expect: expect.map(Into::into),
    };
    let txn = Txn {
        compare: vec![compare("x", Some("1")), compare("y", None)],
        then: vec![
            TxnOp::Put { key: "x".into(), value: "2".into() },
            TxnOp::Incr { key: "n".into(), by: -1 },
        ],
        otherwise: vec![
            TxnOp::Get { key: "x".into() },
            TxnOp::Delete { key: "x".into() },
            TxnOp::Append { key: "l".into(), value: "a".into() },
        ],
    };
    let request = RequestId { client: "c3@12".into(), seq: 18 };
    Payload::Command(Command { request, ack: 0, op: Op::Txn(txn) })
}

fn record_line(record: &Record) -> String {
    let mut out = Vec::new();
    encode_record(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn envelope_line(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::new();
    encode_envelope(envelope, &mut out);
    out
}

/// A line around any text, so that tests reach what lies behind the checksum.
fn sealed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_line(&mut out, |out| out.extend_from_slice(json.as_bytes()));
    out
}

fn refusal(json: &str) -> String {
    decode_frame(&sealed(json)).unwrap_err().to_string()
}

#[test]
fn records_are_written_in_the_documented_shape() {
    let cases = [
        (
            Record::Entry(entry(17, 3, put("x", "v"))),
            r#"{"index":17,"term":3,"request":"c3@12:17","ack":12,"op":{"put":{"key":"x","value":"v"}}}"#,
        ),
        (
            Record::Entry(entry(18, 3, Payload::Configuration(Arc::new(founding(&[1, 2]))))),
            r#"{"index":18,"term":3,"config":{"voters":[1,2]}}"#,
        ),
        (
            Record::Entry(entry(19, 3, txn())),
            r#"{"index":19,"term":3,"request":"c3@12:18","op":{"txn":{"compare":[{"key":"x","expect":"1"},{"key":"y","expect":null}],"then":[{"put":{"key":"x","value":"2"}},{"incr":{"key":"n","by":-1}}],"else":[{"get":{"key":"x"}},{"delete":{"key":"x"}},{"append":{"key":"l","value":"a"}}]}}}"#,
        ),
        (Record::Entry(entry(1, 1, Payload::Noop)), r#"{"index":1,"term":1,"noop":true}"#),
        (Record::HardState { term: 3, vote: Some(2) }, r#"{"hard_state":{"term":3,"vote":2}}"#),
        (Record::HardState { term: 4, vote: None }, r#"{"hard_state":{"term":4}}"#),
        (Record::Truncate { from: 17 }, r#"{"truncate":17}"#),
        (
            Record::Snapshot { last: EntryId { term: 3, index: 17 } },
            r#"{"snapshot":{"index":17,"term":3}}"#,
        ),
    ];
    for (record, json) in cases {
        assert_eq!(
            record_line(&record),
            format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
        );
    }
}

#[test]
fn checksum_is_crc_32c() {
    // The check value that RFC 3720 and every catalogue of CRCs give for this text.
    assert!(sealed("123456789").starts_with(b"e3069283 "));
}

#[test]
fn segment_start_round_trips() {
    let start = SegmentStart {
        number: 2,
        cluster: "demo \"1\"\n".into(),
        node: 3,
        previous_bytes: 4096,
        next: 18,
        last_term: 3,
        term: 4,
        vote: Some(1),
    };
    let mut line = Vec::new();
    encode_segment_start(&start, &mut line);
    assert_eq!(decode_log_line(&line).unwrap(), LogLine::Segment(start));
}

#[test]
fn peer_lines_are_written_in_the_documented_shape() {
    let append = Message::Append {
        prev: EntryId { term: 3, index: 17 },
        entries: vec![entry(18, 3, Payload::Noop), entry(19, 3, put("x", "v"))],
        commit: 16,
        round: 4,
        stand: Stand { session: 9, voter: true, incarnation: 0 },
    };
    let line = envelope_line(&Envelope { from: 1, to: 2, term: 3, message: append });
    let json = r#"{"from":1,"to":2,"term":3,"append":{"prev":[17,3],"commit":16,"round":4,"stand":{"session":9,"voter":true,"incarnation":0},"entries":[{"index":18,"term":3,"noop":true},{"index":19,"term":3,"request":"c3@12:17","ack":12,"op":{"put":{"key":"x","value":"v"}}}]}}"#;
    assert_eq!(line, sealed(json));
    let mut hello = PeerHello {
        protocol: 1,
        cluster: "demo".into(),
        from: 1,
        to: 2,
        incarnation: 77,
        knows: None,
        founders: [].into(),
        address: None,
    };
    let mut line = Vec::new();
    encode_hello(&hello, &mut line);
    let json = r#"{"hello":{"protocol":1,"cluster":"demo","from":1,"to":2,"incarnation":77}}"#;
    assert_eq!(line, sealed(json));
    assert_eq!(decode_frame(&line).unwrap(), Frame::Hello(hello.clone()));
    (hello.knows, hello.founders) = (Some(78), [1, 2].into());
    hello.address = Some("127.0.0.1:7101".to_owned());
    line.clear();
    encode_hello(&hello, &mut line);
    let json = r#"{"hello":{"protocol":1,"cluster":"demo","from":1,"to":2,"incarnation":77,"knows":78,"founders":[1,2],"address":"127.0.0.1:7101"}}"#;
    assert_eq!(line, sealed(json));
    assert_eq!(decode_frame(&line).unwrap(), Frame::Hello(hello));
}

#[test]
fn rare_peer_messages_are_written_in_the_documented_shape() {
    let last = EntryId { term: 3, index: 900 };
    let stand = Stand { session: 9, voter: false, incarnation: 77 };
    let cases = [
        (
            Message::Install {
                last,
                offset: 5,
                data: "{\"a\":1}\n".into(),
                total: 100,
                round: 4,
                stand,
            },
            r#""install":{"last":[900,3],"offset":5,"total":100,"round":4,"stand":{"session":9,"voter":false,"incarnation":77},"data":"{\"a\":1}\n"}"#,
        ),
        (
            Message::InstallReply { last, offset: 13, round: 4, session: 9 },
            r#""install_reply":{"last":[900,3],"offset":13,"round":4,"session":9}"#,
        ),
        (
            Message::AppendAccepted { matched: 18, round: 4, session: 9, lost: false },
            r#""append_accepted":{"matched":18,"round":4,"session":9}"#,
        ),
        (
            Message::AppendAccepted { matched: 18, round: 4, session: 9, lost: true },
            r#""append_accepted":{"matched":18,"round":4,"session":9,"lost":true}"#,
        ),
        (Message::Lost { incarnation: 77, session: 9 }, r#""lost":{"incarnation":77,"session":9}"#),
        (Message::TimeoutNow, r#""timeout_now":{}"#),
        (Message::Vote { last, transfer: false }, r#""vote":{"last":[900,3]}"#),
        (Message::Vote { last, transfer: true }, r#""vote":{"last":[900,3],"transfer":true}"#),
    ];
    for (message, json) in cases {
        let envelope = Envelope { from: 1, to: 2, term: 4, message };
        assert_eq!(
            envelope_line(&envelope),
            sealed(&format!(r#"{{"from":1,"to":2,"term":4,{json}}}"#))
        );
    }
}

#[test]
fn pieces_of_a_snapshot_are_bounded() {
    let piece = |last: &str, data: &str| {
        let stand = r#"{"session":1,"voter":true,"incarnation":0}"#;
        let install = format!(
            r#"{{"last":{last},"offset":0,"total":9,"round":0,"stand":{stand},"data":"{data}"}}"#
        );
        decode_frame(&sealed(&format!(r#"{{"from":1,"to":2,"term":3,"install":{install}}}"#)))
    };
    let longest = "x".repeat(APPEND_BYTES_MAX);
    assert!(piece("[9,1]", &longest).is_ok());
    let refused = piece("[9,1]", &format!("{longest}x")).unwrap_err().to_string();
    assert!(refused.contains("a piece of 1048577 bytes"), "{refused}");
    let refused = piece("[0,0]", "x").unwrap_err().to_string();
    assert!(refused.contains("a snapshot of nothing"), "{refused}");
}

#[test]
fn received_entries_keep_the_senders_text() {
    let append = |text: &str| {
        sealed(&format!(
            r#"{{"from":1,"to":2,"term":3,"append":{{"prev":[17,3],"commit":0,"round":0,"stand":{{"session":0,"voter":true,"incarnation":0}},"entries":[{text}]}}}}"#
        ))
    };
    // It would be stored as it stands, and be no entry to the log's reader.
    for text in [r#"{"term":3,"index":18,"noop":true}"#, r#"{ "index":18,"term":3,"noop":true}"#] {
        assert!(matches!(decode_frame(&append(text)), Err(Error::EntryStart)), "{text}");
    }
    let text = r#"{"index":18,  "term":3, "noop":true}"#;
    let line = append(text);
    let Frame::Envelope(Envelope { message: Message::Append { entries, .. }, .. }) =
        decode_frame(&line).unwrap()
    else {
        panic!("an append was sent");
    };
    assert_eq!(entry_json(&entries[0]), text);
    assert_eq!(entries[0].id, EntryId { term: 3, index: 18 });
}

#[test]
fn recovered_entries_keep_no_text() {
    let line = record_line(&Record::Entry(entry(1, 1, put("x", "v"))));
    let LogLine::Record(Record::Entry(entry)) = decode_log_line(line.as_bytes()).unwrap() else {
        panic!("an entry was written");
    };
    assert!(entry.encoded.get().is_none());
}

#[test]
fn malformed_messages_are_refused_by_name() {
    let append = |prev: &str, entries: &str| {
        refusal(&format!(
            r#"{{"from":1,"to":2,"term":3,"append":{{"prev":{prev},"commit":0,"round":0,"stand":{{"session":0,"voter":true,"incarnation":0}},"entries":[{entries}]}}}}"#
        ))
    };
    let noop = |index: u64, term: u64| format!(r#"{{"index":{index},"term":{term},"noop":true}}"#);
    let command = |request: &str, op: &str| {
        append("[0,0]", &format!(r#"{{"index":1,"term":1,"request":"{request}","op":{op}}}"#))
    };
    let long = "k".repeat(1025);
    let cases = [
        (append("[17,3]", &noop(19, 3)), "entry 19@3 cannot follow 17@3"),
        (append("[17,3]", &noop(17, 3)), "entry 17@3 cannot follow 17@3"),
        (append("[17,3]", &noop(18, 2)), "entry 18@2 cannot follow 17@3"),
        (append("[17,3]", &noop(18, 4)), "entry 18@4 cannot follow 17@3 in an append of term 3"),
        (append("[17,0]", ""), "[17,0] names no entry"),
        (append("[9007199254740993,3]", ""), "names no entry"),
        (append("[0,0]", &noop(0, 1)), "0 where numbers start at 1"),
        (append("[0,0]", r#"{"index":1,"term":1}"#), "entry 1@1 must have exactly one of"),
        (append("[0,0]", r#"{"index":1,"term":1,"noop":true,"ack":1}"#), "must have exactly one"),
        (append("[0,0]", r#"{"index":1,"term":1,"noop":true,"x":1}"#), "unknown field `x`"),
        (command("c:0", r#"{"delete":{"key":"x"}}"#), "bad request id \"c:0\""),
        (command("c:1", r#"{"delete":{"key":""}}"#), "the key has 0 bytes"),
        (command("c:1", &format!(r#"{{"delete":{{"key":"{long}"}}}}"#)), "the key has 1025 bytes"),
        (command("c:1", r#"{"erase":{"key":"x"}}"#), "unknown variant `erase`"),
        (refusal(r#"{"from":1,"to":2,"term":3}"#), "exactly one kind"),
        (
            refusal(
                r#"{"from":1,"to":2,"term":3,"vote_reply":{"granted":true},"read_index":{"question":[1,1]}}"#,
            ),
            "exactly one kind",
        ),
        (
            refusal(r#"{"from":2,"to":2,"term":3,"vote_reply":{"granted":true}}"#),
            "no message goes from node 2 to node 2",
        ),
        (
            refusal(r#"{"from":0,"to":2,"term":3,"vote_reply":{"granted":true}}"#),
            "0 where numbers start at 1",
        ),
        (
            refusal(r#"{"from":1,"to":2,"term":9007199254740993,"vote_reply":{"granted":true}}"#),
            "over 2^53",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
}

#[test]
fn entry_with_too_long_a_value_is_refused() {
    let value = "v".repeat(crate::api::VALUE_BYTES_MAX + 1);
    let long = Entry::new(EntryId { term: 1, index: 1 }, put("x", &value));
    let refused = decode_entry(entry_json(&long)).unwrap_err();
    assert_eq!(refused.to_string(), "the value has 1048577 bytes; 1048576 is the most");
}

#[test]
fn transactions_beyond_their_bounds_are_refused() {
    let ops = |count| vec![TxnOp::Get { key: "x".into() }; count];
    let put = |key: &str, bytes| TxnOp::Put { key: key.into(), value: "v".repeat(bytes) };
    let compare = |count| vec![Compare { key: "x".into(), expect: None }; count];
    let max = crate::api::VALUE_BYTES_MAX;
    let check = |txn| check_op(&Op::Txn(txn)).map_err(|error| error.to_string());
    let none = Txn::default;
    let full = Txn { compare: compare(64), then: ops(64), otherwise: ops(64) };
    assert_eq!(check(full), Ok(()));
    assert_eq!(check(Txn { then: vec![put("x", max - 1)], ..none() }), Ok(()));
    let cases = [
        (Txn { compare: compare(65), ..none() }, "65 comparisons; 64 is the most"),
        (Txn { then: ops(65), ..none() }, "65 operations in \"then\"; 64"),
        (Txn { otherwise: ops(65), ..none() }, "65 operations in \"else\"; 64"),
        (Txn { then: vec![put("x", max)], ..none() }, "have 1048577 bytes; 1048576"),
        (
            Txn { then: vec![put("x", max / 2)], otherwise: vec![put("x", max / 2)], ..none() },
            "have 1048578 bytes",
        ),
        (Txn { otherwise: vec![put("", 1)], ..none() }, "the key has 0 bytes"),
        (
            Txn { compare: vec![Compare { key: "k".repeat(1025), expect: None }], ..none() },
            "the key has 1025 bytes",
        ),
    ];
    for (txn, expected) in cases {
        let request = RequestId { client: "c".into(), seq: 1 };
        let command = Command { request, ack: 0, op: Op::Txn(txn.clone()) };
        let stored = entry(1, 1, Payload::Command(command));
        for refused in
            [check(txn), decode_entry(entry_json(&stored)).map(|_| ()).map_err(|e| e.to_string())]
        {
            let found = refused.unwrap_err();
            assert!(found.contains(expected), "{found:?} does not say {expected:?}");
        }
    }
}

#[test]
fn configurations_of_nobody_or_with_impossible_members_are_refused() {
    let refused = |config: &str| {
        let text = format!(r#"{{"index":1,"term":1,"config":{config}}}"#);
        decode_entry(&text).unwrap_err().to_string()
    };
    let address = |bytes| {
        let peer = "h".repeat(bytes);
        refused(&format!(
            r#"{{"voters":[1],"members":{{"1":{{"address":{{"peer":"{peer}","client":"h:1"}}}}}}}}"#
        ))
    };
    let cases = [
        (refused(r#"{"voters":[]}"#), "the configuration has no voters"),
        (refused(r#"{"voters":[0]}"#), "node ids start at 1"),
        (refused(r#"{"voters":[1],"learners":[1]}"#), "both a voter and a learner"),
        (refused(r#"{"voters":[9007199254740993]}"#), "9007199254740993 is over 2^53"),
        (
            refused(r#"{"voters":[1],"members":{"1":{"incarnation":9007199254740993}}}"#),
            "member 1: 9007199254740993 is over 2^53",
        ),
        (address(260), "member 1: an address has 260 bytes; 259 is the most"),
        (refused(r#"{"voters":[1]},"noop":true"#), "must have exactly one of"),
        (refused(r#"{"voters":[1]},"ack":1"#), "must have exactly one of"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
}

#[test]
fn frame_over_the_limit_is_refused_unread() {
    let line = vec![b'x'; FRAME_BYTES_MAX + 1];
    assert!(matches!(decode_frame(&line), Err(Error::TooLong { .. })));
}

#[test]
fn largest_append_fits_a_frame() {
    // Escaped sixfold, this is the longest entry there can be; it is sent alone.
    let value = "\u{1}".repeat(crate::api::VALUE_BYTES_MAX);
    let key = "\u{1}".repeat(crate::api::KEY_BYTES_MAX);
    let request = RequestId { client: "\"".repeat(128), seq: COUNT_MAX };
    let op = Op::Cas { key, expect: Some(value.clone()), value };
    let entries = vec![entry(1, 1, Payload::Command(Command { request, ack: COUNT_MAX, op }))];
    let (prev, most) = (EntryId::ZERO, COUNT_MAX);
    let stand = Stand { session: most, voter: false, incarnation: most };
    let message = Message::Append { prev, entries, commit: most, round: most, stand };
    let envelope = Envelope { from: 1, to: 2, term: 1, message };
    assert_eq!(decode_frame(&envelope_line(&envelope)).unwrap(), Frame::Envelope(envelope));
}

#[test]
fn single_damaged_byte_is_refused() {
    let message = Message::Append {
        prev: EntryId::ZERO,
        entries: vec![entry(1, 1, put("key", "a value \u{fc} \" \\"))],
        commit: 0,
        round: 7,
        stand: Stand { session: 1, voter: true, incarnation: 0 },
    };
    let line = envelope_line(&Envelope { from: 1, to: 2, term: 1, message });
    for at in 0..line.len() {
        for flip in 1..=255_u8 {
            let mut damaged = line.clone();
            damaged[at] ^= flip;
            assert!(decode_frame(&damaged).is_err(), "byte {at} flipped by {flip:#x} is accepted");
        }
    }
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, 0..=COUNT_MAX]
}

fn any_positive() -> impl Strategy<Value = u64> {
    any_count().prop_map(|n| n.max(1))
}

fn any_id() -> impl Strategy<Value = EntryId> {
    prop_oneof![
        Just(EntryId::ZERO),
        (any_positive(), any_positive()).prop_map(|(term, index)| EntryId { term, index })
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let key = || ".{1,20}";
    let value = || any::<String>();
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Op::Put { key, value }),
        key().prop_map(|key| Op::Delete { key }),
        (key(), any::<Option<String>>(), value()).prop_map(|(key, expect, value)| Op::Cas {
            key,
            expect,
            value
        }),
        (key(), value()).prop_map(|(key, value)| Op::Append { key, value }),
        (key(), any::<i64>()).prop_map(|(key, by)| Op::Incr { key, by }),
        any_txn().prop_map(Op::Txn),
    ]
}

fn any_txn() -> impl Strategy<Value = Txn> {
    let key = || ".{1,20}";
    let compare =
        (key(), any::<Option<String>>()).prop_map(|(key, expect)| Compare { key, expect });
    let op = || {
        prop_oneof![
            key().prop_map(|key| TxnOp::Get { key }),
            (key(), any::<String>()).prop_map(|(key, value)| TxnOp::Put { key, value }),
            key().prop_map(|key| TxnOp::Delete { key }),
            (key(), any::<String>()).prop_map(|(key, value)| TxnOp::Append { key, value }),
            (key(), any::<i64>()).prop_map(|(key, by)| TxnOp::Incr { key, by }),
        ]
    };
    (vec(compare, 0..3), vec(op(), 0..4), vec(op(), 0..4))
        .prop_map(|(compare, then, otherwise)| Txn { compare, then, otherwise })
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let voters = proptest::collection::btree_set(1..20_u64, 1..6);
    let learner = (20..COUNT_MAX, ".{0,20}", ".{0,20}", any_count());
    (voters, vec(learner, 0..4), any::<bool>(), any_count()).prop_map(
        |(voters, learners, is_joint, lost)| {
            let first = *voters.first().unwrap();
            let mut config = Configuration::founding(voters);
            for (id, peer, client, incarnation) in learners {
                let address = Address { peer, client };
                let change = Change::AddLearner { id, address, incarnation };
                config = config.after(&change).unwrap_or(config);
            }
            config = config.after_loss(first, lost).unwrap_or(config);
            if is_joint {
                config = config.after(&Change::Set { voters: [first].into() }).unwrap();
            }
            config
        },
    )
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let command = ("[^:\\pC]{1,20}(@[0-9]{1,4})?", 1..u64::MAX, any_count(), any_op()).prop_map(
        |(client, seq, ack, op)| {
            Payload::Command(Command { request: RequestId { client, seq }, ack, op })
        },
    );
    let config = any_configuration().prop_map(|config| Payload::Configuration(Arc::new(config)));
    prop_oneof![1 => Just(Payload::Noop), 4 => command, 1 => config]
}

prop_compose! {
    /// Entries that follow `prev`, with terms that rise now and then.
    fn any_append()(
        prev in any_id().prop_filter("room for more", |id| id.index < COUNT_MAX - 10 && id.term < COUNT_MAX - 10),
        payloads in vec((any_payload(), 0..2_u64), 0..6),
        commit in any_count(),
        round in any_count(),
        stand in any_stand(),
    ) -> (u64, Message) {
        let mut last = prev;
        let mut entries = Vec::new();
        for (payload, rise) in payloads {
            last = EntryId { term: (last.term + rise).max(1), index: last.index + 1 };
            entries.push(Entry::new(last, payload));
        }
        (last.term, Message::Append { prev, entries, commit, round, stand })
    }
}

fn any_stand() -> impl Strategy<Value = Stand> {
    (any_count(), any::<bool>(), any_count()).prop_map(|(session, voter, incarnation)| Stand {
        session,
        voter,
        incarnation,
    })
}

fn any_snapshot_message() -> impl Strategy<Value = Message> {
    let last =
        || (any_positive(), any_positive()).prop_map(|(term, index)| EntryId { term, index });
    prop_oneof![
        (last(), any_count(), any::<String>(), any_count(), any_count(), any_stand()).prop_map(
            |(last, offset, data, total, round, stand)| {
                Message::Install { last, offset, data: data.into(), total, round, stand }
            }
        ),
        (last(), any_count(), any_count(), any_count()).prop_map(
            |(last, offset, round, session)| Message::InstallReply { last, offset, round, session }
        ),
        (any_positive(), any_count())
            .prop_map(|(incarnation, session)| Message::Lost { incarnation, session }),
        Just(Message::TimeoutNow),
    ]
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let question = || {
        any::<(u64, u64)>().prop_map(|(incarnation, number)| ReadQuestion { incarnation, number })
    };
    let other = prop_oneof![
        (any_positive(), any_id())
            .prop_map(|(next_term, last)| Message::PreVote { next_term, last }),
        (any_positive(), any::<bool>())
            .prop_map(|(next_term, granted)| Message::PreVoteReply { next_term, granted }),
        (any_id(), any::<bool>()).prop_map(|(last, transfer)| Message::Vote { last, transfer }),
        any::<bool>().prop_map(|granted| Message::VoteReply { granted }),
        (any_count(), any_count(), any_count(), any::<bool>()).prop_map(
            |(matched, round, session, lost)| Message::AppendAccepted {
                matched,
                round,
                session,
                lost
            }
        ),
        (any_count(), any_id(), any_count(), any_count()).prop_map(
            |(prev_index, hint, round, session)| {
                Message::AppendRejected { prev_index, hint, round, session }
            }
        ),
        question().prop_map(|question| Message::ReadIndex { question }),
        (question(), proptest::option::of(any_count()))
            .prop_map(|(question, index)| Message::ReadIndexReply { question, index }),
    ];
    let snapshot = (any_count(), any_snapshot_message());
    let said = prop_oneof![any_append(), snapshot, (any_count(), other)];
    (1..10_u64, 11..20_u64, said).prop_map(|(from, to, (term, message))| Envelope {
        from,
        to,
        term,
        message,
    })
}

proptest! {
    #[test]
    fn envelope_round_trips(envelope in any_envelope()) {
        let line = envelope_line(&envelope);
        prop_assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
        prop_assert_eq!(decode_frame(&line).unwrap(), Frame::Envelope(envelope.clone()));
        prop_assert_eq!(decode_frame(&line[..line.len() - 1]).unwrap(), Frame::Envelope(envelope));
    }

    #[test]
    fn record_round_trips(
        record in prop_oneof![
            (any_positive(), any_positive(), any_payload())
                .prop_map(|(index, term, payload)| Record::Entry(entry(index, term, payload))),
            (any_count(), proptest::option::of(any_positive()))
                .prop_map(|(term, vote)| Record::HardState { term, vote }),
            any_positive().prop_map(|from| Record::Truncate { from }),
        (any_positive(), any_positive())
            .prop_map(|(term, index)| Record::Snapshot { last: EntryId { term, index } }),
        ]
    ) {
        let line = record_line(&record);
        prop_assert_eq!(decode_log_line(line.as_bytes()).unwrap(), LogLine::Record(record));
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        prop_assert!(decode_frame(&bytes).is_err());
        prop_assert!(decode_log_line(&bytes).is_err());
        prop_assert!(decode_frame(&sealed(&text)).is_err());
        prop_assert!(decode_log_line(&sealed(&text)).is_err());
    }

    /// Well checksummed nonsense that looks nearly right: characters of a good line, replaced at random.
    #[test]
    fn mangled_json_never_panics(envelope in any_envelope(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let line = envelope_line(&envelope);
        let mut text: Vec<char> = std::str::from_utf8(&line[9..]).unwrap().trim_end().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let mangled = sealed(&text.into_iter().collect::<String>());
        if let Ok(frame) = decode_frame(&mangled) {
            prop_assert!(matches!(frame, Frame::Envelope(_)));
        }
    }
}
