//! What Raft promises, claim by claim, and the test or workload that shows it.
//!
//! The claims are those of the usual introductions to Raft and of the thesis (Ongaro, 2014), in the order in which a reader
//! meets them. Some introductions put a point loosely; the claim is then the point as the thesis has it. A proof is the name
//! of a test function anywhere in the workspace, `script NAME` (a worked example in `raftd/core/testdata`), `sim` (checked at
//! every step of every simulated schedule), or `workload NAME`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A claim, and what shows that it holds.
struct Claim(u32, &'static str, &'static [&'static str]);

const CLAIMS: &[Claim] = &[
    Claim(
        1,
        "nodes start as followers with a random timeout",
        &["script a_leader_is_elected_in_two_rounds"],
    ),
    Claim(
        2,
        "a timeout makes a candidate of the next term, which votes for itself and asks all",
        &["script a_leader_is_elected_in_two_rounds", "write_goes_on_when_the_leader_is_killed"],
    ),
    Claim(
        3,
        "a majority makes a leader; without one there is none",
        &[
            "node_that_is_alone_of_three_becomes_no_leader",
            "without_a_majority_nobody_leads_or_acknowledges",
            "script four_nodes_need_three",
        ],
    ),
    Claim(
        4,
        "heartbeats keep the leader in office",
        &["script idle_cluster_keeps_its_leader_and_term"],
    ),
    Claim(5, "a lost leader is noticed and replaced", &["write_goes_on_when_the_leader_is_killed"]),
    Claim(
        6,
        "one vote a term, first come first served, also across crashes",
        &["script node_votes_once_in_a_term", "script vote_survives_a_crash", "sim"],
    ),
    Claim(
        7,
        "even numbers of nodes work, and tolerate n - quorum",
        &[
            "script four_nodes_need_three",
            "script two_nodes_need_each_other",
            "clusters_of_every_size_serve_with_a_minority_down",
        ],
    ),
    Claim(
        8,
        "the log orders commands, and all apply the same",
        &["random_schedules_break_no_promise", "nodes_at_rest_agree_on_everything", "sim"],
    ),
    Claim(
        9,
        "a write is answered after a majority holds it and it is applied",
        &[
            "script leader_counts_itself_only_when_durable",
            "random_schedules_break_no_promise",
            "sim",
        ],
    ),
    Claim(
        10,
        "followers learn the commit index with the next message",
        &["script commit_index_travels_with_the_next_append", "nodes_at_rest_agree_on_everything"],
    ),
    Claim(11, "the slowest node is not waited for", &["paused_follower_holds_up_nobody"]),
    Claim(
        12,
        "the leader's disk and its followers work in parallel",
        &["script leader_disk_and_followers_work_in_parallel"],
    ),
    Claim(
        13,
        "logs are compared by index and term, never by content; bodies have checksums",
        &["script conflicting_suffix_is_replaced", "damaged_peer_message_is_noticed"],
    ),
    Claim(
        14,
        "a follower replaces what conflicts, and keeps what matches",
        &["script conflicting_suffix_is_replaced", "script old_append_does_not_truncate"],
    ),
    Claim(
        15,
        "applied <= commit <= last, none of the first two falls",
        &["random_schedules_break_no_promise", "sim"],
    ),
    Claim(
        16,
        "a snapshot replaces the beginning of the log, which stays bounded",
        &["endless_writes_on_few_keys_keep_the_directory_bounded"],
    ),
    Claim(
        17,
        "snapshots as slices of the log: not chosen (see the core's documentation)",
        &["core_says_what_is_chosen_where_there_is_a_choice"],
    ),
    Claim(
        18,
        "a follower that is too far behind gets the whole snapshot",
        &[
            "script lagging_follower_gets_a_snapshot_then_entries",
            "node_that_was_down_for_long_catches_up_by_a_snapshot",
        ],
    ),
    Claim(
        19,
        "a snapshot can be had on demand, while writes go on",
        &["snapshot_is_taken_by_every_node_or_by_one"],
    ),
    Claim(
        20,
        "learners get the log, have no vote, and can be promoted",
        &[
            "script learner_gets_the_log_and_does_not_count",
            "script learner_is_promoted_when_it_has_caught_up",
            "joiner_catches_up_by_a_snapshot_and_gets_a_vote",
        ],
    ),
    Claim(
        21,
        "other protocols have other roles: nothing to show",
        &["core_says_what_is_chosen_where_there_is_a_choice"],
    ),
    Claim(
        22,
        "without a majority the cluster refuses rather than errs",
        &["without_a_majority_nobody_leads_or_acknowledges"],
    ),
    Claim(
        23,
        "of two sides at most one goes on",
        &["script deposed_leader_serves_no_read", "workload register"],
    ),
    Claim(
        24,
        "what the minority side wrote is rolled back, and its clients are not told ok",
        &[
            "script conflicting_suffix_is_replaced",
            "script proposal_lost_with_the_leadership_is_unknown",
        ],
    ),
    Claim(
        25,
        "the minority side follows the new leader's log",
        &["script conflicting_suffix_is_replaced", "sim"],
    ),
    Claim(26, "three-way split: nobody goes on", &["script three_way_split_acknowledges_nothing"]),
    Claim(
        27,
        "nodes know each other by configuration; strangers are refused",
        &[
            "wrong_peer_hello_is_refused_and_logged",
            "members_with_different_cluster_files_both_say_so",
        ],
    ),
    Claim(
        28,
        "one-way cuts neither stop nor shake the cluster",
        &["script partial_mesh_of_five_stays_live", "sim", "workload register"],
    ),
    Claim(
        29,
        "changes of membership never allow two majorities",
        &[
            "script single_server_changes_lose_nothing_on_four_nodes",
            "script joint_change_needs_both_majorities",
            "sim",
        ],
    ),
    Claim(
        30,
        "followers do not write; they name the leader",
        &[
            "script write_at_a_follower_names_the_leader",
            "write_to_a_follower_is_refused_with_the_leader_named",
        ],
    ),
    Claim(
        31,
        "followers serve linearizable reads, and stale ones labelled so",
        &[
            "linearizable_read_at_a_follower_sees_the_latest_write",
            "script follower_asks_the_leader_for_a_read_index",
            "workload stale-canary",
        ],
    ),
    Claim(
        32,
        "every leader's death or isolation is survived",
        &["every_kind_of_fault_bites_and_the_cluster_works_again", "workload register"],
    ),
    Claim(
        33,
        "the network may delay, lose, repeat and reorder without bound",
        &["random_schedules_break_no_promise", "sim"],
    ),
    Claim(
        34,
        "no operator is needed after a failure",
        &["every_kind_of_fault_bites_and_the_cluster_works_again", "sim"],
    ),
    Claim(
        35,
        "agreement, validity, termination",
        &["random_schedules_break_no_promise", "sim", "workload register"],
    ),
    Claim(
        36,
        "no lie while there is no leader",
        &["workload register", "write_whose_leader_fell_is_info"],
    ),
    Claim(
        37,
        "a higher term in any message is adopted",
        &["script deposed_leader_learns_of_the_new_term"],
    ),
    Claim(
        38,
        "a vote request of an older term changes nothing",
        &[
            "script vote_request_with_an_old_log_is_refused",
            "script answers_to_an_older_campaign_count_for_nothing",
        ],
    ),
    Claim(
        39,
        "up to date: the last term first, then the length",
        &["script higher_last_term_beats_longer_log", "script longer_log_of_the_same_term_wins"],
    ),
    Claim(
        40,
        "four nodes: a leader that loses one link stays",
        &["script leader_that_loses_one_link_of_four_stays"],
    ),
    Claim(
        41,
        "four nodes: a leader with one follower left steps down (check-quorum), and the others elect",
        &[
            "script leader_with_one_follower_of_three_steps_down",
            "script one_answering_follower_of_four_is_not_a_quorum",
        ],
    ),
    Claim(
        42,
        "a former leader comes back as a follower",
        &[
            "script deposed_leader_learns_of_the_new_term",
            "killed_node_catches_up_after_its_restart",
        ],
    ),
    Claim(
        43,
        "one leader a term; two may lead in different terms",
        &["random_schedules_break_no_promise", "sim"],
    ),
    Claim(
        44,
        "reads are linearizable",
        &["script deposed_leader_serves_no_read", "workload register", "workload append"],
    ),
    Claim(
        45,
        "more nodes do not make it faster: measured with raftctl bench",
        &["bench_measures_a_real_cluster"],
    ),
    Claim(
        46,
        "the state is the log replayed",
        &[
            "cluster_killed_at_once_has_every_acknowledged_write_when_it_is_back",
            "state_hash_depends_on_the_state_alone",
        ],
    ),
    Claim(
        47,
        "a write that is repeated after a leader's death is applied once",
        &[
            "script retry_through_a_new_leader_gets_the_first_answer",
            "repeated_request_id_applies_once_even_after_kill_and_restart",
            "workload append",
        ],
    ),
    Claim(
        48,
        "slow, crashed and cut off look alike, and are faults of their own",
        &["every_kind_of_fault_bites_and_the_cluster_works_again"],
    ),
    Claim(
        49,
        "2k+1 nodes tolerate k",
        &[
            "clusters_of_every_size_serve_with_a_minority_down",
            "script nine_nodes_lose_four_and_go_on",
        ],
    ),
    Claim(
        50,
        "the log survives a restart of all",
        &["cluster_killed_at_once_has_every_acknowledged_write_when_it_is_back"],
    ),
    Claim(51, "the five invariants of figure 3.2", &["random_schedules_break_no_promise", "sim"]),
    Claim(
        52,
        "a leader's no-op commits what earlier terms left",
        &["script no_op_commits_older_entries"],
    ),
    Claim(
        53,
        "entries of older terms are not committed by counting",
        &[
            "script entries_of_older_terms_are_not_committed_by_counting",
            "script figure_8_loses_nothing",
        ],
    ),
    Claim(
        54,
        "a rejection's hint skips whole terms",
        &["script conflict_hint_skips_whole_terms", "script short_log_is_filled_in_one_round_trip"],
    ),
    Claim(
        55,
        "messages may be repeated and reordered",
        &["script duplicated_messages_change_nothing", "script reordered_appends_are_repaired"],
    ),
    Claim(
        56,
        "term, vote and log are durable before they are told",
        &[
            "script vote_is_durable_before_it_is_answered",
            "script follower_acknowledges_only_what_is_durable",
            "log_cut_at_every_byte_of_the_last_record_keeps_the_rest",
        ],
    ),
    Claim(
        57,
        "state and applied index change together",
        &["concurrent_increments_apply_once_each_though_the_leader_is_killed", "workload counter"],
    ),
    Claim(
        58,
        "a node that lost its disk does not vote as if it had not",
        &[
            "wiped_node_comes_back_as_a_learner_and_votes_again_once_it_has_caught_up",
            "wiped_node_gives_no_vote_even_where_its_vote_is_all_that_is_missing",
            "script forgotten_vote_elects_no_second_leader",
            "sim",
        ],
    ),
    Claim(
        59,
        "heartbeats are rarer than the network, and more frequent than timeouts",
        &["bad_cluster_file_is_refused_with_its_line"],
    ),
    Claim(
        60,
        "leadership can be handed over",
        &[
            "script leadership_is_handed_over_to_a_lagging_target",
            "script hand_over_that_is_not_taken_is_given_up",
            "transfers_under_load_lose_and_repeat_nothing",
            "leader_that_is_asked_to_stop_hands_over_first",
        ],
    ),
    Claim(
        61,
        "one change of membership at a time",
        &["script membership_changes_go_one_at_a_time"],
    ),
    Claim(
        62,
        "an uncommitted configuration can be rolled back",
        &["script configuration_rules_on_append_and_is_rolled_back"],
    ),
    Claim(
        63,
        "votes and entries are taken from outside the own configuration",
        &["script learner_votes_after_a_promotion_it_has_not_seen"],
    ),
    Claim(
        64,
        "no change before the leader's no-op is committed",
        &[
            "script membership_change_waits_for_the_terms_first_commit",
            "script single_server_changes_lose_nothing_on_four_nodes",
        ],
    ),
    Claim(
        65,
        "a configuration rules from when it is in the log (see the core's documentation)",
        &[
            "core_says_what_is_chosen_where_there_is_a_choice",
            "script configuration_rules_on_append_and_is_rolled_back",
        ],
    ),
    Claim(
        66,
        "a learner that does not come up harms nobody",
        &["dead_address_is_not_added", "node_that_does_not_catch_up_is_removed_again"],
    ),
    Claim(
        67,
        "the leader can be removed",
        &["script leader_removes_itself", "leader_that_is_removed_is_replaced"],
    ),
    Claim(
        68,
        "a removed node does not disturb",
        &[
            "script removed_server_does_not_disrupt",
            "removed_node_is_a_member_no_more_and_disturbs_nobody",
        ],
    ),
    Claim(
        69,
        "any set of voters can follow any other, by joint consensus",
        &[
            "script set_swaps_all_members",
            "swap_of_all_members_under_load_loses_and_repeats_nothing",
        ],
    ),
    Claim(
        70,
        "a cluster is founded once",
        &[
            "clusters_that_were_founded_apart_refuse_each_other",
            "founders_take_no_part_before_all_of_them_have_been_up_once",
            "cluster_of_one_grows",
        ],
    ),
    Claim(
        71,
        "a snapshot holds last index, term and configuration",
        &[
            "script restart_from_a_snapshot_keeps_sessions_and_members",
            "all_nodes_start_again_from_snapshots_alone",
        ],
    ),
    Claim(
        72,
        "an installed snapshot keeps a matching suffix, and drops any other",
        &[
            "script snapshot_keeps_a_matching_suffix",
            "script snapshot_voids_a_conflicting_log",
            "script old_snapshot_takes_nothing_back",
        ],
    ),
    Claim(
        73,
        "a snapshot is taken while writes go on",
        &["nodes_killed_amid_snapshots_lose_no_acknowledged_write"],
    ),
    Claim(
        74,
        "the log stays in proportion to the state",
        &["endless_writes_on_few_keys_keep_the_directory_bounded"],
    ),
    Claim(
        75,
        "a snapshot is there as a whole or not at all",
        &[
            "save_cut_short_anywhere_leaves_the_old_snapshot_or_the_new_one",
            "nodes_killed_amid_snapshots_lose_no_acknowledged_write",
        ],
    ),
    Claim(
        76,
        "clients find the leader by hints",
        &[
            "write_goes_to_the_leader_that_the_answer_names_and_stays_there",
            "leader_that_died_is_dropped_and_another_node_asked",
            "nodes_that_point_to_each_other_are_asked_once_in_a_round",
        ],
    ),
    Claim(
        77,
        "a leader without a quorum steps down",
        &["script leader_that_hears_no_quorum_steps_down"],
    ),
    Claim(
        78,
        "sessions survive restarts and snapshots",
        &[
            "retry_gets_the_first_answer_even_after_all_nodes_were_restarted",
            "script restart_from_a_snapshot_keeps_sessions_and_members",
        ],
    ),
    Claim(
        79,
        "many requests of a client may be under way",
        &[
            "requests_in_flight_may_arrive_in_any_order",
            "many_calls_share_one_connection_and_answers_find_their_callers",
        ],
    ),
    Claim(
        80,
        "expiry is decided by the log, and never applies twice",
        &[
            "unknown_client_is_new_exactly_when_born_after_all_expired_ones",
            "random_requests_with_retries_are_applied_at_most_once",
        ],
    ),
    Claim(
        81,
        "a read waits for the first commit of the leader's term",
        &["script read_waits_for_the_first_commit_of_the_term"],
    ),
    Claim(
        82,
        "lease reads trust clocks, and end with a transfer",
        &[
            "script lease_read_needs_no_round",
            "script lease_ends_with_silence",
            "script lease_is_given_up_with_the_first_hand_over",
            "lease_reads_are_served_where_they_are_allowed",
            "sim",
        ],
    ),
    Claim(
        83,
        "a client's reads never go back, at whichever node",
        &[
            "stale_reads_that_name_an_index_never_go_back_from_node_to_node",
            "stale_reads_of_a_monotonic_client_name_the_highest_index_seen",
        ],
    ),
    Claim(
        84,
        "a node that comes back does not disturb (pre-vote)",
        &["script pre_vote_leaves_terms_alone", "script removed_server_does_not_disrupt", "sim"],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Everything that a claim may name.
fn proofs() -> BTreeSet<String> {
    let mut found = BTreeSet::from(["sim".to_owned()]);
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("a folder can be read").path();
            let (name, stem) = (text(path.file_name()), text(path.file_stem()));
            if path.is_dir() {
                if !["target", "results"].contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
                continue;
            }
            match text(path.extension()) {
                "rs" => {
                    let source = fs::read_to_string(&path).expect("sources are text");
                    found.extend(test_names(&source));
                }
                "txt" => drop(found.insert(format!("script {stem}"))),
                "toml" => drop(found.insert(format!("workload {stem}"))),
                _ => {}
            }
        }
    }
    found
}

/// A part of a path.
fn text(part: Option<&OsStr>) -> &str {
    part.and_then(OsStr::to_str).unwrap_or_default()
}

/// The functions that stand under a `#[test]` or `#[tokio::test…]` line.
fn test_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            is_test = false;
        }
    }
    names
}

#[test]
fn core_says_what_is_chosen_where_there_is_a_choice() {
    let core = fs::read_to_string(root().join("raftd/core/src/lib.rs")).expect("a source file");
    for choice in ["shipped whole by the leader", "from when it is in the log"] {
        assert!(core.contains(choice), "the core's documentation does not say: {choice}");
    }
}

#[test]
fn every_claim_names_tests_that_exist() {
    let proofs = proofs();
    for (expected, Claim(number, text, names)) in (1..).zip(CLAIMS) {
        assert_eq!(*number, expected, "claims are numbered in order");
        assert!(!names.is_empty(), "claim {number} ({text}) has no proof");
        for name in *names {
            assert!(proofs.contains(*name), "claim {number} ({text}): there is no {name:?}");
        }
    }
}
