//! The file of a snapshot.

use raft_core::kv::{Compare, Limits, State, Store, Txn, TxnOp};
use raft_core::membership::{Address, Change, Configuration};
use raft_core::snapshot::Snapshot;

use super::*;

fn command(request: &str, op: Op) -> Command {
    Command { request: request.parse().unwrap(), ack: 0, op }
}

/// Two keys, and two sessions with answers of every kind.
fn small() -> Snapshot {
    let op = |json: &str| serde_json::from_str::<Op>(json).unwrap();
    let mut store = Store::new(Limits::DEFAULT);
    let ops = [
        ("a:1", r#"{"put":{"key":"x","value":"1"}}"#),
        ("a:2", r#"{"append":{"key":"x","value":"\u00fc\n"}}"#),
        ("b@2:1", r#"{"incr":{"key":"n","by":-7}}"#),
        ("b@2:2", r#"{"incr":{"key":"x","by":1}}"#),
        ("a:3", r#"{"cas":{"key":"x","expect":null,"value":""}}"#),
        ("a:4", r#"{"delete":{"key":"none"}}"#),
        ("a:5", r#"{"txn":{"then":[{"get":{"key":"n"}},{"get":{"key":"y"}}]}}"#),
    ];
    for (index, (request, json)) in (1..).zip(ops) {
        store.apply(index, &command(request, op(json)));
    }
    let address = Address { peer: "h:1".into(), client: "h:2".into() };
    let config = Configuration::founding([1, 2, 3].into())
        .after(&Change::AddLearner { id: 4, address, incarnation: 77 })
        .unwrap();
    let last = EntryId { term: 3, index: 9 };
    Snapshot { last, config_index: 8, config: Arc::new(config), state: store.freeze() }
}

fn lines_of(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    encode_snapshot(snapshot, "demo", |line| {
        lines.push(line.to_owned());
        Ok(())
    })
    .unwrap();
    lines
}

fn decode<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Snapshot, Error> {
    let mut decoder = SnapshotDecoder::new("demo");
    for line in lines {
        decoder.line(line)?;
    }
    decoder.finish()
}

fn decode_bytes(bytes: &[u8]) -> Result<Snapshot, Error> {
    decode(bytes.split_inclusive(|&byte| byte == b'\n'))
}

/// What a state says of itself, in full.
fn told(state: &State) -> String {
    let values: Vec<_> = state.iter_values().collect();
    let sessions: Vec<_> = state
        .iter_sessions()
        .map(|it| (it.client(), it.used(), it.floor(), it.answers().collect::<Vec<_>>()))
        .collect();
    let numbers = (state.applied(), state.births_expired(), state.hash());
    format!("{numbers:?} {values:?} {sessions:?}")
}

fn assert_same(found: &Snapshot, expected: &Snapshot) {
    assert_eq!(found.last, expected.last);
    assert_eq!((found.config_index, &found.config), (expected.config_index, &expected.config));
    assert_eq!(told(&found.state), told(&expected.state));
}

#[test]
fn snapshot_is_written_in_the_documented_shape() {
    let lines = lines_of(&small());
    let json = |line: &Vec<u8>| read_line(line).unwrap().to_owned();
    let found: Vec<String> = lines.iter().map(json).collect();
    let crc = crc32c::crc32c(&lines[..5].concat());
    let expected = [
        r#"{"snapshot":{"format":1,"cluster":"demo","index":9,"term":3,"config_index":8,"config":{"voters":[1,2,3],"learners":[4],"members":{"4":{"address":{"peer":"h:1","client":"h:2"},"incarnation":77}}},"applied":7,"births_expired":0}}"#,
        r#"{"key":"n","value":"-7"}"#,
        r#"{"key":"x","value":"1ü\n"}"#,
        r#"{"client":"a","used":7,"floor":0,"answers":[{"seq":1,"index":1,"ok":"done"},{"seq":2,"index":2,"ok":{"length":4}},{"seq":3,"index":5,"refused":{"mismatch":{"actual":"1ü\n"}}},{"seq":4,"index":6,"refused":"not_found"},{"seq":5,"index":7,"ok":{"txn":{"succeeded":true,"results":[{"value":"-7"},{"value":null}]}}}]}"#,
        r#"{"client":"b@2","used":4,"floor":0,"answers":[{"seq":1,"index":3,"ok":{"number":-7}},{"seq":2,"index":4,"refused":"not_a_number"}]}"#,
        &format!(
            r#"{{"end":{{"lines":5,"crc":"{crc:08x}","state_hash":"{:016x}"}}}}"#,
            small().state.hash()
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn snapshot_round_trips_to_the_same_bytes() {
    let lines = lines_of(&small());
    let again = decode_bytes(&lines.concat()).unwrap();
    assert_same(&again, &small());
    assert_eq!(lines_of(&again), lines);
}

#[test]
fn snapshot_with_any_byte_changed_is_refused() {
    let file = lines_of(&small()).concat();
    for at in 0..file.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, file[at] ^ b'\n', file[at] ^ b' '] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            if flip != 0 {
                assert!(decode_bytes(&damaged).is_err(), "byte {at} ^ {flip:#x} is accepted");
            }
        }
    }
}

#[test]
fn snapshot_cut_anywhere_or_followed_by_anything_is_refused() {
    let file = lines_of(&small()).concat();
    for length in 0..file.len() {
        assert!(decode_bytes(&file[..length]).is_err(), "{length} bytes are accepted");
    }
    for rest in ["\n", "x", "00000000 {}\n"] {
        let refused = decode_bytes(&[&file, rest.as_bytes()].concat()).unwrap_err();
        assert!(refused.to_string().len() > 10, "{refused}");
    }
    let twice = decode_bytes(&[&file[..], &file].concat()).unwrap_err().to_string();
    assert!(twice.contains("goes on after"), "{twice}");
}

#[test]
fn snapshot_with_lines_missing_doubled_or_moved_is_refused() {
    let lines = lines_of(&small());
    let refused = |what: &str, lines: &[Vec<u8>]| {
        let error = decode_bytes(&lines.concat()).expect_err(what);
        assert!(error.is_incomplete(), "{what}: {error} is no damage");
    };
    let mut mixed = lines.clone();
    mixed.swap(2, 3);
    let found = decode_bytes(&mixed.concat()).unwrap_err().to_string();
    assert!(found.contains("keys come before sessions"), "{found}");
    for at in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(at);
        refused(&format!("without line {at}"), &missing);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        refused(&format!("line {at} doubled"), &doubled);
        for other in 0..at {
            let mut moved = lines.clone();
            moved.swap(at, other);
            refused(&format!("lines {at} and {other} swapped"), &moved);
        }
    }
}

/// Well checksummed files that nobody writes.
#[test]
fn snapshot_that_no_node_has_is_refused_with_what_is_wrong() {
    let lines = lines_of(&small());
    let with = |at: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        let json = read_line(&lines[at]).unwrap().to_owned();
        assert!(json.contains(from), "{json} has no {from}");
        lines[at] = sealed(&json.replacen(from, to, 1));
        decode_bytes(&lines.concat()).unwrap_err()
    };
    let long_key = format!(r#""key":"{}""#, "k".repeat(1025));
    let cases = [
        (with(0, r#""format":1"#, r#""format":2"#), "snapshot format 2 is unknown", false),
        (with(0, "demo", "other"), "of cluster \"other\", not of \"demo\"", false),
        (with(0, r#""index":9"#, r#""index":0"#), "0 where numbers start at 1", false),
        (with(0, r#""index":9"#, r#""index":7"#), "config_index is 8, beyond", true),
        (with(0, r#""applied":7"#, r#""applied":10"#), "applied is 10, beyond", true),
        (with(0, r#""applied":7"#, r#""applied":6"#), "used after the last command", true),
        (with(0, r#"expired":0"#, r#"expired":1"#), "5 with checksum", true),
        (with(0, "[1,2,3]", "[]"), "nobody has a vote", false),
        (with(0, r#""peer":"h:1""#, r#""x":1"#), "unknown field", false),
        (with(0, "77", "9007199254740993"), "over 2^53", false),
        (with(1, r#""key":"n""#, &long_key), "the key has 1025 bytes", false),
        (with(2, "1ü", "2ü"), "with checksum", true),
        (with(3, r#""ok":"done""#, r#""refused":"expired""#), "never remembered", true),
        (with(3, r#","ok":"done""#, ""), "either \"ok\" or \"refused\"", true),
        (with(4, "b@2", "b@4"), "before the client was born", true),
        (with(4, r#""used":4"#, r#""used":7"#), "an entry that used another", true),
        (with(5, r#""lines":5"#, r#""lines":6"#), "the lines before are 5", true),
        (with(5, r#"hash":""#, r#"hash":"+"#), "is no state hash", true),
        (with(5, r#""state_hash""#, r#""hash""#), "unknown field `hash`", false),
    ];
    for (error, expected, is_damage) in cases {
        let found = error.to_string();
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
        assert_eq!(error.is_incomplete(), is_damage, "{found}");
    }
}

#[test]
fn snapshot_decoder_that_refused_a_line_stays_refusing() {
    let lines = lines_of(&small());
    let mut decoder = SnapshotDecoder::new("demo");
    decoder.line(&lines[0]).unwrap();
    decoder.line(b"garbage\n").unwrap_err();
    decoder.line(&lines[1]).unwrap_err();
    decoder.finish().unwrap_err();
}

#[test]
fn largest_lines_of_a_snapshot_fit() {
    let mut store = Store::new(Limits::DEFAULT);
    let value = "\u{1}".repeat(crate::api::VALUE_BYTES_MAX);
    let key = "\u{1}".repeat(crate::api::KEY_BYTES_MAX);
    let client = "\"".repeat(128);
    let mut index = 0;
    let mut send = |seq: u64, op: Op| {
        index += 1;
        let request = RequestId { client: client.clone(), seq: (1 << 63) + seq };
        store.apply(index, &Command { request, ack: 0, op });
    };
    send(0, Op::Put { key: key.clone(), value });
    // Fills the session: many answers, and in the end one that takes all the room for texts that is left.
    let small = Txn { then: vec![TxnOp::Get { key: "none".into() }; 30], ..Txn::default() };
    for seq in 1..1_000 {
        send(seq, Op::Txn(small.clone()));
    }
    let compare = vec![Compare { key: key.clone(), expect: None }];
    send(1_000, Op::Txn(Txn { compare, ..Txn::default() }));
    send(1_001, Op::Cas { key, expect: None, value: String::new() });
    let last = EntryId { term: 1, index };
    let config = Arc::new(Configuration::founding([1].into()));
    let snapshot = Snapshot { last, config_index: 0, config, state: store.freeze() };
    assert_same(&decode_bytes(&lines_of(&snapshot).concat()).unwrap(), &snapshot);
}

prop_compose! {
    /// What a store comes to by any commands.
    fn any_snapshot()(
        commands in vec((0..4_u8, 1..20_u64, 0..10_u64, any_op()), 0..30),
        noops in 1..5_u64,
        term in any_positive(),
    ) -> Snapshot {
        let mut store = Store::new(Limits { sessions_max: 3, ..Limits::DEFAULT });
        let mut index = 0;
        for (client, seq, ack, op) in commands {
            index += 1;
            let request = RequestId { client: format!("c{client}@{}", index / 2), seq };
            store.apply(index, &Command { request, ack: ack.min(seq), op });
        }
        let last = EntryId { term, index: index + noops };
        let config = Arc::new(Configuration::founding([1, 2].into()));
        Snapshot { last, config_index: 0, config, state: store.freeze() }
    }
}

proptest! {
    #[test]
    fn any_snapshot_round_trips(snapshot in any_snapshot()) {
        let lines = lines_of(&snapshot);
        let again = decode_bytes(&lines.concat()).unwrap();
        assert_same(&again, &snapshot);
        prop_assert_eq!(lines_of(&again), lines);
    }

    #[test]
    fn garbage_is_no_snapshot(bytes in vec(any::<u8>(), 0..200), text in any::<String>(), after in 0..6_usize) {
        for line in [bytes, sealed(&text)] {
            let lines = lines_of(&small());
            let file = lines[..after].iter().map(Vec::as_slice).chain([&line[..]]);
            prop_assert!(decode(file).is_err());
        }
    }
}
