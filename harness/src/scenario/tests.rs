use super::*;

const GOOD: &str = "\
# Hypothesis: it holds.
# Expected: valid.
name = \"mine\"
model = \"register\"
expected = \"valid\"
nodes = 3
clients = 4
rate = 100
faults = [\"kill\"]
operations = { read = 1, write = 1 }
[minima]
ok = 3000
leader_changes = 3
each_fault = 3
";

fn error(text: &str) -> String {
    Scenario::parse("mine.toml", text).unwrap_err().to_string()
}

#[test]
fn built_ins_parse_and_are_named_like_their_files() {
    for ((file, _), scenario) in BUILT_IN.iter().zip(Scenario::all_built_in().unwrap()) {
        assert_eq!(*file, format!("{}.toml", scenario.name));
        assert!(scenario.hypothesis.starts_with("Hypothesis: "), "{file}");
        assert!(scenario.hypothesis.contains(" Expected verdict: "), "{file}");
        let canary = scenario.name.ends_with("canary");
        assert_eq!(scenario.expected == Verdict::Invalid, canary, "{file}");
    }
}

#[test]
fn every_file_in_workloads_is_built_in() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut built_in = BUILT_IN.map(|(file, _)| file.to_owned()).to_vec();
    built_in.sort();
    assert_eq!(files, built_in);
}

#[test]
fn parse_reads_defaults_and_hypothesis() {
    let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
    assert_eq!(scenario.hypothesis, "Hypothesis: it holds. Expected: valid.");
    assert_eq!(scenario.op_timeout, Duration::from_secs(1));
    assert_eq!(scenario.consistency, Consistency::Linearizable);
    assert_eq!(scenario.keys.operations, [100, 200]);
    assert_eq!((scenario.initial(), scenario.total()), (None, None));
}

#[test]
fn parse_of_bad_text_names_file_and_line() {
    let cases = [
        ("nodes = 3", "nods = 3", "mine.toml:6: unknown field `nods`, expected one of `name`"),
        ("nodes = 3", "nodes = 10", "mine.toml:6: 10 is out of range: 1 to 9"),
        ("nodes = 3", "nodes = -1", "mine.toml:6: invalid value: integer `-1`"),
        ("rate = 100", "rate = ", "mine.toml:8: "),
        (
            "\"register\"",
            "\"registre\"",
            "mine.toml:4: no workload is about \"registre\"; there are register, cas-register",
        ),
        ("\"valid\"", "\"unknown\"", "mine.toml:5: expect `valid` or `invalid`"),
        ("\"mine\"", "\"../mine\"", "mine.toml:3: \"../mine\" is no workload name"),
        ("write = 1", "cas = 1", "mine.toml:10: the model register has no operation \"cas\""),
        ("read = 1, write = 1", "read = 0", "mine.toml:10: no operation has a share"),
        ("ok = 3000", "okay = 3000", "mine.toml:12: unknown field `okay`"),
        ("rate = 100", "rate = 100\nop_timeout = \"1x\"", "mine.toml:9: "),
        ("\"kill\"", "\"kil\"", "mine.toml:9: no fault is called \"kil\"; there are kill, pause"),
        ("rate = 100", "rate = 100\nkeys = { operations = [9, 1] }", "mine.toml:9: [9, 1]"),
        ("rate = 100", "rate = 100\nkeys = { live = 0 }", "mine.toml:9: 0 is out of range: 1 to"),
        ("rate = 100", "rate = 100\nkeys = { live = 9000000000000 }", "is out of range: 1 to"),
        ("rate = 100", "rate = 100\nop_timeout = \"0s\"", "mine.toml:9: \"0s\" is out of range"),
        ("rate = 100", "rate = 100\nrecovery = \"9999y\"", "mine.toml:9: \"9999y\" is out of"),
        ("read = 1, write = 1", "read = 4294967295, write = 1", "mine.toml:10: the shares of"),
        (
            "# Hypothesis: it holds.\n# Expected: valid.\n",
            "",
            "mine.toml:1: the first line must be",
        ),
        ("name = \"mine\"", "", "missing field `name`"),
        (
            "rate = 100",
            "rate = 100\nlock = { lease = \"1s\", pause = \"1s\", pauses_percent = 1, fencing = true }",
            "mine.toml:1: lock needs the model set",
        ),
        ("rate = 100", "rate = 100\nopening_balance = 5", "opening_balance needs the model multi"),
        ("rate = 100", "rate = 100\nvalue_bytes = 63", "mine.toml:9: 63 is out of range: 64 to"),
        (
            "model = \"register\"",
            "model = \"mutex\"\nreaders_percent = 50",
            "the model mutex has no operation \"read\"",
        ),
    ];
    for (good, bad, expected) in cases {
        assert!(GOOD.contains(good), "{good}");
        let message = error(&GOOD.replacen(good, bad, 1));
        assert!(message.contains(expected), "{bad:?}: {message}");
    }
}

#[test]
fn minima_scale_with_the_time_limit() {
    let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
    let minima = scenario.minima(Duration::from_secs(20));
    assert_eq!((minima.ok, minima.leader_changes), (2000, 2));
    assert_eq!(minima.faults, [("kill".to_owned(), 2)].into());
}

#[test]
fn minima_demand_that_every_fault_bites_once_unless_the_run_is_too_short() {
    let (text, _) = GOOD.split_once("[minima]").unwrap();
    let scenario = Scenario::parse("mine.toml", text).unwrap();
    let kills = |limit: Duration| scenario.minima(limit).faults["kill"];
    assert_eq!(kills(EACH_FAULT_FROM), 1);
    assert_eq!(kills(EACH_FAULT_FROM.saturating_sub(Duration::from_millis(1))), 0);
}

#[test]
fn faults_that_so_few_nodes_cannot_have_are_refused_by_name_only() {
    let scenario = Scenario::parse("mine.toml", &GOOD.replace("nodes = 3", "nodes = 1"));
    let refuse = |word: &str| scenario.as_ref().unwrap().refuse_impossible(&[word.to_owned()]);
    let error = refuse("ring").unwrap_err().to_string();
    assert!(error.contains("has 1 node, and the fault ring takes at least 3"), "{error}");
    for word in ["kill", "partition", "all", "none"] {
        refuse(word).unwrap();
    }
}

#[test]
fn minima_do_not_demand_what_the_command_line_made_impossible() {
    let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
    let changes = Changes { rate: Some(10), faults: Some(vec![]), ..Changes::default() };
    let minima = scenario.clone().with(&changes).minima(MINIMA_PER);
    assert_eq!(minima, Minima { ok: 300, ..Minima::default() });
    let alone = Changes {
        nodes: Some(1),
        faults: Some(select_faults(&["kill", "pause", "partition"].map(str::to_owned)).unwrap()),
        ..Changes::default()
    };
    let minima = scenario.with(&alone).minima(MINIMA_PER);
    assert_eq!(minima.leader_changes, 0);
    assert_eq!(minima.faults.into_keys().collect::<Vec<_>>(), ["block-client", "kill", "pause"]);
}

#[test]
fn named_knows_all_and_paths_and_says_what_there_is() {
    let named = |name: &str| Scenario::named(&[name.to_owned()]);
    assert_eq!(named("all").unwrap().len(), BUILT_IN.len());
    let error = named("registre").unwrap_err().to_string();
    assert!(error.contains("register, cas-register, append"), "{error}");
    let error = named("./none.toml").unwrap_err().to_string();
    assert_eq!(error, "cannot read scenario ./none.toml");
}

#[test]
fn bank_says_what_is_on_its_accounts_at_first() {
    let bank = Scenario::built_in("bank").unwrap();
    let accounts = serde_json::json!({"r0": 20, "r1": 20, "r2": 20, "r3": 20});
    assert_eq!((bank.initial(), bank.total()), (Some(accounts), Some(80)));
}

#[test]
fn readers_need_something_to_read_and_transfers_an_opening_balance() {
    let of = |name: &str| BUILT_IN.iter().find(|(file, _)| *file == name).unwrap().1;
    let readers =
        format!("{}\n", of("mutex.toml")).replace("rate =", "readers_percent = 9\nrate =");
    assert!(error(&readers).contains("readers_percent needs a model with reads"));
    let poor: Vec<_> = of("bank.toml").lines().filter(|line| !line.starts_with("open")).collect();
    assert!(error(&poor.join("\n")).contains("transfers need it"));
}

#[test]
fn moments_are_known_by_name_and_exclude_quorum_safety() {
    let at = |names: &str| GOOD.replace("[minima]", &format!("at = {names}\n[minima]"));
    let scenario = Scenario::parse("mine.toml", &at("[\"new-leader\", \"first-ack\"]")).unwrap();
    assert_eq!(scenario.at, [fault::Moment::NewLeader, fault::Moment::FirstAck]);
    let unknown = error(&at("[\"noon\"]"));
    assert!(unknown.contains("\"noon\"") && unknown.contains("new-leader, first-ack"), "{unknown}");
    let both = error(&at("[\"snapshot\"]\nquorum_safe = true"));
    assert!(both.contains("quorum_safe"), "{both}");
    let few = Scenario { nodes: 2, ..scenario };
    assert!(few.refuse_unsafe().unwrap_err().to_string().contains("raise --nodes"));
}
