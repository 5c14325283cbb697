//! Old segments go, whole, and nothing that is needed goes with them.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tempfile::TempDir;

use super::writer::{is_durable, put_write, spawn};
use super::*;

/// Entries 1 to 39 of term 2, in several segments, and a snapshot of all of them.
fn many_segments() -> TempDir {
    let dir = scratch();
    let Opened { mut log, mut saver, .. } = open_with(dir.path(), TINY).unwrap();
    write(&mut log, vec![hard_state(2, Some(3))]);
    for index in 1..40 {
        write(&mut log, vec![put(index, 2, &"v".repeat(200))]);
    }
    saver.save(&snapshot(id(39, 2), 40)).unwrap();
    assert!(segments(dir.path()).len() > 4);
    dir
}

fn recovered(dir: &Path) -> Model {
    Model::from(open_with(dir, TINY).unwrap().recovered)
}

#[test]
fn purge_keeps_all_from_its_index_on() {
    let origin = many_segments();
    let all = recovered(origin.path());
    let mut firsts = Vec::new();
    for index in 1..=45 {
        let dir = copied(origin.path());
        let mut log = open_with(dir.path(), TINY).unwrap().log;
        log.purge(index).unwrap();
        drop(log);
        let found = recovered(dir.path());
        let base = found.base.index;
        assert!(base < index, "entry {index} is gone: the log begins after {base}");
        assert_eq!(found.base.term, if base == 0 { 0 } else { 2 });
        assert_eq!((found.term, found.vote), (2, Some(3)));
        assert_eq!(found.entries, all.entries[usize::try_from(base).unwrap()..]);
        firsts.push(segments(dir.path())[0]);
        let mut log = open_with(dir.path(), TINY).unwrap().log;
        write(&mut log, vec![put(40, 2, "next")]);
        drop(log);
        assert_eq!(recovered(dir.path()).last(), id(40, 2));
    }
    assert!(firsts.is_sorted());
    assert_eq!(firsts[0], 1);
    assert_eq!(firsts.last(), segments(origin.path()).last(), "only the newest one is left");
}

#[test]
fn purge_cut_short_anywhere_is_finished() {
    let origin = many_segments();
    let after = copied(origin.path());
    open_with(after.path(), TINY).unwrap().log.purge(30).unwrap();
    let expected = recovered(after.path());
    let first = segments(after.path())[0];
    assert!(first > 3);
    let dir = copied(origin.path());
    let counters = "log/segments.json";
    fs::write(dir.path().join("log/segments.tmp"), "{\"first\":").unwrap();
    assert_eq!(recovered(copied(dir.path()).path()), recovered(origin.path()));
    fs::copy(after.path().join(counters), dir.path().join(counters)).unwrap();
    for number in 1..=first {
        // The system may have forgotten any of the removals.
        for remembered in [number, first] {
            let crashed = copied(dir.path());
            (number..remembered).for_each(|n| fs::remove_file(segment(crashed.path(), n)).unwrap());
            assert_eq!(recovered(crashed.path()), expected, "cut short at segment {number}");
            assert_eq!(segments(crashed.path())[0], first);
            assert!(!crashed.path().join("log/segments.tmp").exists());
        }
        fs::remove_file(segment(dir.path(), number)).unwrap();
    }
}

#[test]
fn segment_missing_after_purges_is_noticed() {
    let origin = many_segments();
    open_with(origin.path(), TINY).unwrap().log.purge(25).unwrap();
    let numbers = segments(origin.path());
    assert!(numbers[0] > 1 && numbers.len() > 2, "{numbers:?}");
    for &number in &numbers {
        let dir = copied(origin.path());
        fs::remove_file(segment(dir.path(), number)).unwrap();
        let refused = refusal(dir.path());
        let expected = format!("{} is missing", segment(dir.path(), number).display());
        assert!(refused.contains(&expected), "{refused}");
    }
    open(origin.path());
}

/// The first segment may be the newest one, and is not known to be the log's beginning by its number.
#[test]
fn first_segment_after_purges_is_checked() {
    let origin = many_segments();
    open_with(origin.path(), TINY).unwrap().log.purge(45).unwrap();
    let only = segments(origin.path())[0];
    let path = segment(origin.path(), only);
    let whole = fs::read(&path).unwrap();
    let line_end = whole.iter().position(|&b| b == b'\n').unwrap();
    for at in 0..line_end {
        edit(&path, |content| content[at] ^= 0x01);
        assert!(refusal(origin.path()).contains(".log, line 1: "));
        fs::write(&path, &whole).unwrap();
    }
}

/// What is declared void may reach back over the beginning of a segment: the log cannot begin there then.
#[test]
fn segment_that_goes_back_behind_its_first_line_is_no_beginning() {
    let dir = scratch();
    let options = Options { segment_bytes: 1, padding_bytes: 0 };
    let Opened { mut log, mut saver, .. } = open_with(dir.path(), options).unwrap();
    write(&mut log, vec![hard_state(1, None)]); // Segment 2.
    write(&mut log, vec![put(1, 1, "a"), put(2, 1, "a")]); // 3
    write(&mut log, vec![put(3, 1, "void"), put(4, 1, "void")]); // 4
    let entries = (3..=6).map(|index| put(index, 2, "b"));
    let records = [hard_state(2, None), Record::Truncate { from: 3 }];
    write(&mut log, records.into_iter().chain(entries).collect()); // 5
    saver.save(&snapshot(id(6, 2), 40)).unwrap();
    // At 5 it would begin after entry 4, in the midst of what is void.
    log.purge(6).unwrap();
    let path = dir.path().to_owned();
    assert_eq!(segments(&path), [4, 5]);
    drop((log, saver));
    let found = recovered(&path);
    assert_eq!((found.base, found.last()), (id(2, 1), id(6, 2)));
    let mut log = open_with(&path, options).unwrap().log;
    log.purge(6).unwrap();
    write(&mut log, vec![put(7, 2, "c")]); // 6
    assert_eq!(segments(&path), [4, 5, 6]);
    log.purge(7).unwrap();
    assert_eq!(segments(&path), [6]);
    drop(log);
    assert_eq!(recovered(&path).base, id(6, 2));
}

#[test]
fn log_purged_at_any_time_holds_everything_from_there() {
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = scratch();
        let mut model = Model::default();
        // All up to here is in the newest snapshot, and committed.
        let mut saved = EntryId::ZERO;
        for life in 0..6 {
            let case = format!("seed {seed}, life {life}");
            let Opened { recovered, mut log, mut saver, .. } = open_with(dir.path(), TINY).unwrap();
            let found = Model::from(recovered);
            assert_eq!((found.term, found.vote), (model.term, model.vote), "{case}");
            assert!(found.base.index <= saved.index, "{case}: {} is gone", saved.index);
            assert_eq!(found.last(), model.last(), "{case}");
            let from = found.base.index.max(model.base.index);
            let live = |model: &Model| {
                let live = model.entries.iter().filter(|entry| entry.id.index > from);
                live.cloned().collect::<Vec<_>>()
            };
            assert_eq!(live(&found), live(&model), "{case}");
            for _ in 0..rng.random_range(0..20) {
                write(&mut log, model.random_records(&mut rng, saved.index));
                match rng.random_range(0..8) {
                    // A snapshot of its own.
                    0 | 1 if model.last().index > saved.index => {
                        let upto = rng.random_range(saved.index + 1..=model.last().index);
                        let mut entries = model.entries.iter();
                        saved = entries.find(|entry| entry.id.index == upto).unwrap().id;
                        saver.save(&snapshot(saved, 10)).unwrap();
                    }
                    // Another node's: anywhere after what is committed.
                    2 if model.term > 0 => {
                        let upto = saved.index + rng.random_range(1..9);
                        saved = id(upto, rng.random_range(saved.term.max(1)..=model.term));
                        saver.save(&snapshot(saved, 10)).unwrap();
                        if !model.entries.iter().any(|entry| entry.id == saved) {
                            let record = Record::Snapshot { last: saved };
                            model.apply(&record);
                            write(&mut log, vec![record]);
                        }
                    }
                    3 | 4 => log.purge(saved.index + 1 - rng.random_range(0..2)).unwrap(),
                    _ => {}
                }
            }
            if rng.random() {
                log.close().unwrap();
            }
        }
        let first = segments(dir.path())[0];
        assert!(first > 1 || saved.index == 0, "seed {seed}: nothing was purged");
    }
}

#[test]
fn writer_purges_behind_its_writes() {
    let dir = scratch();
    let Opened { mut log, mut saver, papers, transfers, .. } = open_with(dir.path(), TINY).unwrap();
    write(&mut log, vec![hard_state(1, None)]);
    let (writer, events) = spawn(log);
    for seq in 1..=100 {
        writer.submit(put_write(seq, &"v".repeat(300)));
        if seq % 10 == 0 {
            assert!(is_durable(&events, seq));
            saver.save(&snapshot(id(seq, 1), 40)).unwrap();
            writer.purge(seq + 1);
        }
    }
    writer.close();
    assert!(segments(dir.path()).len() <= 2, "{:?}", segments(dir.path()));
    drop((saver, papers, transfers));
    assert_eq!(recovered(dir.path()).last(), id(100, 1));
}

/// A snapshot that is due after so many bytes finds a whole segment to let go of.
#[test]
fn snapshots_after_few_bytes_let_go_of_what_they_hold() {
    let log_bytes = 50_000;
    let options = Options::for_snapshots_after(log_bytes);
    let dir = scratch();
    let Opened { mut log, mut saver, .. } = open_with(dir.path(), options).unwrap();
    write(&mut log, vec![hard_state(1, None)]);
    let mut written = 0;
    let mut index = 0;
    while written < log_bytes {
        index += 1;
        let record = put(index, 1, &"v".repeat(1000));
        write(&mut log, vec![record]);
        written += 1000;
    }
    let before = segments(dir.path());
    assert!(before.len() > 1, "{before:?}");
    saver.save(&snapshot(id(index, 1), 40)).unwrap();
    log.purge(index + 1).unwrap();
    assert_eq!(segments(dir.path()), before[before.len() - 1..]);
    // Whatever the setting, segments are neither tiny nor larger than they are otherwise.
    let sizes = [0, 1, 50_000, 1 << 20, 16 << 20, u64::MAX]
        .map(|log_bytes| Options::for_snapshots_after(log_bytes).segment_bytes);
    assert_eq!(sizes, [16 << 10, 16 << 10, 25_000, 512 << 10, 8 << 20, 8 << 20]);
}
