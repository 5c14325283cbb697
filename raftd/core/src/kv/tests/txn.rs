//! Transactions by example.

use super::*;

fn compare(key: &str, expect: Option<&str>) -> Compare {
    Compare { key: key.into(), expect: expect.map(str::to_owned) }
}

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::Put { key: key.into(), value: value.into() }
}

fn get(key: &str) -> TxnOp {
    TxnOp::Get { key: key.into() }
}

fn value(text: &str) -> TxnResult {
    TxnResult::Value(Some(text.into()))
}

fn then(ops: Vec<TxnOp>) -> Op {
    Op::Txn(Txn { then: ops, ..Txn::default() })
}

#[test]
fn transaction_takes_the_branch_that_the_comparison_says() {
    let mut bench = Bench::new(ROOMY);
    let swap = Op::Txn(Txn {
        compare: vec![compare("x", Some("1")), compare("y", None)],
        then: vec![put("x", "2"), put("y", "3")],
        otherwise: vec![put("x", "1"), get("x"), get("z"), TxnOp::Delete { key: "y".into() }],
    });
    let otherwise = |y_was_there| {
        let results = vec![
            TxnResult::Done,
            value("1"),
            TxnResult::Value(None),
            TxnResult::Deleted(y_was_there),
        ];
        Ok(Output::Txn { succeeded: false, results })
    };
    assert_eq!(bench.run(swap.clone()), otherwise(false), "x has no value");
    let done = vec![TxnResult::Done, TxnResult::Done];
    assert_eq!(bench.run(swap.clone()), Ok(Output::Txn { succeeded: true, results: done }));
    assert_eq!((bench.x(), bench.store.get("y")), (Some("2"), Some("3")));
    assert_eq!(bench.run(swap), otherwise(true), "y has one");
}

#[test]
fn operations_of_a_transaction_see_the_ones_before() {
    let mut bench = Bench::new(ROOMY);
    let results = bench.run(then(vec![
        put("x", "1"),
        TxnOp::Append { key: "x".into(), value: "1".into() },
        TxnOp::Incr { key: "x".into(), by: 31 },
        get("x"),
    ]));
    let expected = vec![TxnResult::Done, TxnResult::Length(2), TxnResult::Number(42), value("42")];
    assert_eq!(results, Ok(Output::Txn { succeeded: true, results: expected }));
}

#[test]
fn refused_operation_undoes_all_before_it_and_the_refusal_is_remembered() {
    for (last, refusal) in [
        (TxnOp::Incr { key: "word".into(), by: 1 }, Refusal::NotANumber),
        (TxnOp::Incr { key: "x".into(), by: i64::MAX }, Refusal::Overflow),
        (TxnOp::Append { key: "x".into(), value: "v".repeat(100) }, Refusal::TooLarge),
    ] {
        let mut bench = Bench::new(ROOMY);
        bench.run(super::put("1")).unwrap();
        let delete = TxnOp::Delete { key: "x".into() };
        let ops = vec![put("word", "a"), put("x", "7"), put("x", "8"), delete, put("x", "9"), last];
        let refused = bench.send("d:1", 0, then(ops));
        assert_eq!(refused.result, Err(refusal));
        assert_eq!((bench.x(), bench.store.get("word"), bench.store.len()), (Some("1"), None, 1));
        assert_eq!(bench.send("d:1", 0, super::put("2")), refused, "a retry, whatever it says");
    }
}

#[test]
fn transaction_that_reads_too_much_is_refused() {
    let mut bench = Bench::new(ROOMY);
    bench.run(super::put(&"v".repeat(50))).unwrap();
    assert!(bench.run(then(vec![get("x"), get("x")])).is_ok());
    assert_eq!(bench.run(then(vec![get("x"); 3])), Err(Refusal::TooLarge));
}

#[test]
fn answer_to_a_transaction_is_remembered_and_takes_room() {
    let mut bench = Bench::new(Limits { answer_bytes_max: 150, ..ROOMY });
    let first = bench.send("c:1", 0, then(vec![put("x", &"v".repeat(50)), get("x")]));
    bench.send("c:2", 0, super::put("1"));
    assert_eq!(bench.send("c:1", 0, then(vec![])), first);
    bench.send("c:3", 0, then(vec![get("x"), get("x")]));
    assert_eq!(bench.send("c:1", 0, then(vec![])).result, Err(Refusal::Expired));
}

#[test]
fn state_hash_sees_each_result_of_a_transaction() {
    let by = |op: Op| {
        let mut bench = Bench::new(ROOMY);
        bench.send("c:1", 0, op);
        bench.store.state_hash()
    };
    let delete = || TxnOp::Delete { key: "x".into() };
    let failed = |ops| {
        Op::Txn(Txn { compare: vec![compare("x", Some("1"))], otherwise: ops, ..Txn::default() })
    };
    let hashes: BTreeSet<u64> = [
        by(then(vec![])),
        by(failed(vec![])),
        by(then(vec![get("x")])),
        by(then(vec![delete()])),
        by(then(vec![get("x"), delete()])),
        by(then(vec![delete(), get("x")])),
        by(then(vec![put("x", "1"), get("x"), delete()])),
        by(then(vec![put("x", "2"), get("x"), delete()])),
    ]
    .into_iter()
    .collect();
    assert_eq!(hashes.len(), 8);
    // Replicas of different builds compare hashes: if this number changes, so does the protocol.
    let all = vec![put("x", "1"), get("x"), delete(), get("x")];
    assert_eq!(by(then(all)), 10_070_459_831_322_350_324);
}
