//! Whatever may have been acknowledged and is not what was written keeps a node without peers from starting.

use raftd::codec::{LogLine, SegmentStart, decode_log_line, encode_segment_start};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tempfile::TempDir;

use super::*;

/// A directory with one segment: line 1 its start, 3 and 4 a batch, 6 to 8 another, 10 the last.
fn three_batches() -> TempDir {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a")]);
    write(&mut log, vec![put(2, 1, "b"), put(3, 1, "c"), put(4, 1, "d")]);
    write(&mut log, vec![put(5, 1, "e")]);
    dir
}

/// A directory with several closed segments.
fn many_segments() -> TempDir {
    let dir = scratch();
    let mut log = open_with(dir.path(), TINY).unwrap().log;
    write(&mut log, vec![hard_state(1, None)]);
    for index in 1..40 {
        write(&mut log, vec![put(index, 1, &"v".repeat(100))]);
    }
    log.close().unwrap();
    assert!(segment(dir.path(), 4).exists());
    dir
}

/// The line of a byte, from 1.
fn line_of(content: &[u8], at: usize) -> usize {
    content[..at].split(|&b| b == b'\n').count()
}

#[test]
fn last_line_that_is_complete_but_not_understood_is_refused_and_not_cut() {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a")]);
    drop(log);
    let text = br#"{"from_a_later_version":1}"#;
    edit(&segment(dir.path(), 1), |content| {
        content.truncate(content.trim_ascii_end().len() + 2);
        content.extend(
            format!("{:08x} {}\n\n", crc32c::crc32c(text), String::from_utf8_lossy(text)).bytes(),
        );
    });
    let before = fs::read(segment(dir.path(), 1)).unwrap();
    assert!(refusal(dir.path()).contains("not understood"), "{}", refusal(dir.path()));
    assert_eq!(fs::read(segment(dir.path(), 1)).unwrap(), before, "nothing was cut");
}

#[test]
fn damaged_byte_before_the_last_batch_is_refused_with_file_and_line() {
    let dir = three_batches();
    let file = segment(dir.path(), 1);
    let whole = fs::read(&file).unwrap();
    let last_batch = whole.windows(12).position(|w| w == b" {\"index\":5,").unwrap() - 8;
    // The empty line before the last batch is part of its frame: see the next test.
    for at in 0..last_batch - 1 {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            edit(&file, |content| content[at] ^= flip);
            let refused = refusal(dir.path());
            // A damaged line end shows in the line it should have ended.
            let line = line_of(&whole, at);
            let place = |line| format!("{}, line {line}: ", file.display());
            assert!(
                refused.contains(&place(line))
                    || whole[at] == b'\n' && refused.contains(&place(line + 1)),
                "byte {at} flipped by {flip:#x} in line {line}: {refused}"
            );
            assert!(
                refused.contains("an empty data directory under the same node id, loses what"),
                "{refused}"
            );
            fs::write(&file, &whole).unwrap();
        }
    }
    open(dir.path());
}

/// A batch with damage that is not a lost sector is no torn write, be it the last one.
#[test]
fn damaged_byte_inside_the_last_batch_is_refused() {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a"), put(2, 1, "b")]);
    drop(log);
    let file = segment(dir.path(), 1);
    let whole = fs::read(&file).unwrap();
    let batch = whole.windows(2).position(|w| w == b"\n\n").unwrap() + 2;
    let last = whole.windows(12).position(|w| w == b" {\"index\":2,").unwrap() - 8;
    // Without the line end before it, the last record is part of a bad last line, which may be a torn one.
    for at in batch..last - 1 {
        edit(&file, |content| content[at] ^= 0x01);
        let refused = refusal(dir.path());
        let line = line_of(&whole, at);
        assert!(refused.contains(&format!("{}, line {line}: ", file.display())), "{refused}");
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn lost_sectors_before_the_last_batch_are_damage() {
    const SECTOR: usize = 512;
    let origin = scratch();
    let mut log = open(origin.path()).log;
    let file = segment(origin.path(), 1);
    write(&mut log, vec![hard_state(1, None), put(1, 1, "a")]);
    let start = fs::read(&file).unwrap().len();
    write(&mut log, (2..30).map(|index| put(index, 1, &"v".repeat(300))).collect());
    let end = fs::read(&file).unwrap().len();
    write(&mut log, vec![put(30, 1, "b")]);
    drop(log);
    let whole = fs::read(&file).unwrap();
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let old = if rng.random() { b'\n' } else { 0 };
        let mut content = whole.clone();
        // Not the end of the last record: its line end and the empty line after it show that another batch follows.
        for sector in start / SECTOR..(end - 3) / SECTOR {
            if rng.random_bool(0.3) {
                content[start.max(sector * SECTOR)..(sector + 1) * SECTOR].fill(old);
            }
        }
        if content != whole {
            fs::write(&file, content).unwrap();
            let refused = refusal(origin.path());
            assert!(
                refused.contains(&format!("{}, line ", file.display())),
                "seed {seed}: {refused}"
            );
        }
    }
}

#[test]
fn intact_lines_that_cannot_follow_are_refused_by_reason() {
    let cases: [(Vec<Record>, &str); 5] = [
        (vec![put(3, 1, "gap")], "line 6: entry 3@1 stands where the entry with index 2 belongs"),
        (vec![put(1, 1, "again")], "line 6: entry 1@1 stands where the entry with index 2 belongs"),
        (vec![put(2, 2, "early")], "line 6: entry 2@2 is of a term above the current one, 1"),
        (vec![hard_state(1, Some(3))], "line 6: the vote of term 1 changes from node 2 to node 3"),
        (
            vec![Record::Truncate { from: 2 }],
            "line 6: entries from 2 on are declared void, but those that stand are 1 to 1",
        ),
    ];
    for (records, expected) in cases {
        let dir = scratch();
        let mut log = open(dir.path()).log;
        write(&mut log, vec![hard_state(1, Some(2)), put(1, 1, "a")]);
        drop(log);
        edit(&segment(dir.path(), 1), |content| {
            for record in &records {
                raftd::codec::encode_record(record, content);
            }
            content.push(b'\n');
        });
        let refused = refusal(dir.path());
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn line_that_is_no_record_is_refused_by_reason() {
    let cases = [
        (
            "hello\n",
            "line 6: this is no line that was ever written: it does not start with a checksum",
        ),
        ("00000000 {\"truncate\":1}\n", "its checksum is"),
        ("5F1C8A30 {}\n", "it does not start with a checksum (8 lowercase hex digits"),
    ];
    for (line, expected) in cases {
        let dir = three_batches();
        let file = segment(dir.path(), 1);
        edit(&file, |content| {
            let second_batch =
                content.windows(12).position(|w| w == b" {\"index\":2,").unwrap() - 8;
            content.splice(second_batch..second_batch, line.bytes());
        });
        let refused = refusal(dir.path());
        assert!(refused.contains(expected), "{refused}");
        assert!(refused.contains(&file.display().to_string()), "{refused}");
    }
}

#[test]
fn missing_segment_is_refused_by_name() {
    let origin = many_segments();
    let numbers = segments(origin.path());
    for &number in &numbers {
        let dir = copied(origin.path());
        fs::remove_file(segment(dir.path(), number)).unwrap();
        let refused = refusal(dir.path());
        let expected = format!("{} is missing", segment(dir.path(), number).display());
        assert!(refused.contains(&expected), "segment {number} of {numbers:?}: {refused}");
    }
}

#[test]
fn closed_segment_that_lost_its_end_is_refused() {
    let origin = many_segments();
    let whole = fs::read(segment(origin.path(), 2)).unwrap();
    for cut in [1, 2, 3, 100, whole.len() - 1, whole.len()] {
        let dir = copied(origin.path());
        edit(&segment(dir.path(), 2), |content| content.truncate(whole.len() - cut));
        let refused = refusal(dir.path());
        let named = [2, 3].map(|n| segment(dir.path(), n).display().to_string());
        assert!(named.iter().any(|name| refused.contains(name)), "{cut} bytes less: {refused}");
    }
    // Whole batches less: only the next segment can tell.
    let dir = copied(origin.path());
    let batch_end = whole[..whole.len() - 1].windows(2).rposition(|w| w == b"\n\n").unwrap() + 2;
    edit(&segment(dir.path(), 2), |content| content.truncate(batch_end));
    let refused = refusal(dir.path());
    let expected = format!(
        "line 1: the segment before had {} bytes when it was closed, and has {batch_end} now",
        whole.len()
    );
    assert!(refused.contains(&expected), "{refused}");
}

#[test]
fn segment_of_another_place_is_refused() {
    let dir = many_segments();
    fs::copy(segment(dir.path(), 3), segment(dir.path(), 2)).unwrap();
    let refused = refusal(dir.path());
    assert!(
        refused
            .contains("line 1: the file is segment 3 of node 1 of cluster \"demo\", not segment 2"),
        "{refused}"
    );
}

/// A copy of an older segment, or one from another time, would pass for intact by its checksums.
#[test]
fn segment_that_starts_elsewhere_than_the_one_before_ends_is_refused() {
    let changes: [fn(&mut SegmentStart); 4] = [
        |start| start.next += 1,
        |start| start.last_term += 1,
        |start| start.term += 1,
        |start| start.vote = Some(3),
    ];
    for change in changes {
        let dir = many_segments();
        edit(&segment(dir.path(), 2), |content| {
            let end = content.iter().position(|&b| b == b'\n').unwrap() + 1;
            let Ok(LogLine::Segment(mut start)) = decode_log_line(&content[..end]) else {
                panic!("a segment starts with its line");
            };
            change(&mut start);
            let mut line = Vec::new();
            encode_segment_start(&start, &mut line);
            content.splice(..end, line);
        });
        let refused = refusal(dir.path());
        assert!(refused.contains(".log, line 1: the segment starts at index"), "{refused}");
    }
}

#[test]
fn newest_segment_without_its_first_line_is_refused() {
    let origin = many_segments();
    let newest = segments(origin.path()).pop().unwrap();
    for content in [&b""[..], b"\n\n\n", &[0; 100], b"hello"] {
        let dir = copied(origin.path());
        fs::write(segment(dir.path(), newest), content).unwrap();
        let refused = refusal(dir.path());
        assert!(
            refused.contains(&format!("{}, line 1: ", segment(dir.path(), newest).display())),
            "{refused}"
        );
    }
}
