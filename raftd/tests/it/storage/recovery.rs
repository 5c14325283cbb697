//! What was made durable comes back, whatever happened to the end of the file.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

#[test]
fn log_reopened_at_any_time_holds_everything() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = scratch();
        let mut model = Model::default();
        for life in 0..6 {
            let Opened { recovered, mut log, torn, .. } = open_with(dir.path(), TINY).unwrap();
            assert_eq!(Model::from(recovered), model, "seed {seed}, life {life}");
            assert_eq!(torn, None, "seed {seed}, life {life}");
            for _ in 0..rng.random_range(0..20) {
                write(&mut log, model.random_records(&mut rng, 0));
            }
            if rng.random() {
                log.close().unwrap();
            }
        }
        let segments = segments(dir.path()).len();
        assert!(segments > 3, "seed {seed}: only {segments} segments, too few to mean anything");
    }
}

#[test]
fn log_of_a_new_directory_is_empty() {
    let parent = scratch();
    let dir = parent.path().join("a/b");
    assert_eq!(Model::from(open(&dir).recovered), Model::default());
    assert_eq!(Model::from(open(&dir).recovered), Model::default());
}

#[test]
fn void_suffix_stays_in_the_file_and_out_of_the_log() {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(
        &mut log,
        vec![hard_state(1, None), put(1, 1, "a"), put(2, 1, "lost"), put(3, 1, "lost")],
    );
    write(&mut log, vec![hard_state(2, None), Record::Truncate { from: 2 }, put(2, 2, "b")]);
    drop(log);
    let recovered = open(dir.path()).recovered;
    let mut expected = Model { term: 2, ..Model::default() };
    expected.apply_all(&[put(1, 1, "a"), put(2, 2, "b")]);
    assert_eq!(Model::from(recovered), expected);
    let text = fs::read_to_string(segment(dir.path(), 1)).unwrap();
    assert_eq!(text.matches("lost").count(), 2);
}

#[test]
fn batches_are_paragraphs_of_text() {
    let dir = scratch();
    let mut log = open(dir.path()).log;
    write(&mut log, vec![hard_state(1, Some(1)), put(1, 1, "a")]);
    write(&mut log, vec![put(2, 1, "line\nend")]);
    log.close().unwrap();
    let text = fs::read_to_string(segment(dir.path(), 1)).unwrap();
    let without_checksums: Vec<&str> =
        text.lines().map(|line| line.split_once(' ').map_or("", |(_, json)| json)).collect();
    assert_eq!(
        without_checksums,
        [
            r#"{"segment":{"number":1,"cluster":"demo","node":1,"previous_bytes":0,"next":1,"last_term":0,"term":0}}"#,
            "",
            r#"{"hard_state":{"term":1,"vote":1}}"#,
            r#"{"index":1,"term":1,"request":"c1@0:1","op":{"put":{"key":"key","value":"a"}}}"#,
            "",
            r#"{"index":2,"term":1,"request":"c1@0:2","ack":1,"op":{"put":{"key":"key","value":"line\nend"}}}"#,
            "",
        ]
    );
}

#[test]
fn padding_is_empty_lines_and_goes_when_the_log_is_closed() {
    let dir = scratch();
    let options = Options { segment_bytes: u64::MAX, padding_bytes: 4096 };
    let file = segment(dir.path(), 1);
    let mut log = open_with(dir.path(), options).unwrap().log;
    write(&mut log, vec![hard_state(1, None), put(1, 1, "a")]);
    let killed = fs::read(&file).unwrap();
    assert_eq!(killed.len(), 4096);
    assert!(killed.ends_with(&[b'\n'; 1000]));
    log.close().unwrap();
    let closed = fs::read_to_string(&file).unwrap();
    assert!(closed.ends_with("}\n\n") && killed.starts_with(closed.as_bytes()));

    // A killed process leaves the padding; the next one sees that it means nothing.
    fs::write(&file, killed).unwrap();
    let Opened { recovered, mut log, torn, .. } = open_with(dir.path(), options).unwrap();
    assert_eq!((recovered.entries.len(), torn), (1, None));
    write(&mut log, vec![put(2, 1, "b")]);
    drop(log);
    assert_eq!(open(dir.path()).recovered.entries.len(), 2);
}

/// A batch is cut at each of its bytes, in each way a crash may leave the rest of the file.
#[test]
fn log_cut_at_every_byte_of_the_last_record_keeps_the_rest() {
    let origin = scratch();
    let mut log = open(origin.path()).log;
    write(&mut log, vec![hard_state(1, None), put(1, 1, "a"), put(2, 1, "b")]);
    let start = fs::read(segment(origin.path(), 1)).unwrap().len();
    write(&mut log, vec![put(3, 1, "c")]);
    drop(log);
    let whole = fs::read(segment(origin.path(), 1)).unwrap();
    let complete = whole.len() - 1;
    for cut in start..=whole.len() {
        for fill in [&[][..], &[b'\n'; 700], &[0; 700]] {
            let case = format!("cut at byte {cut}, then {} times {:?}", fill.len(), fill.first());
            let dir = scratch();
            copy(origin.path(), dir.path());
            let mut content = whole[..cut].to_vec();
            content.extend_from_slice(fill);
            fs::write(segment(dir.path(), 1), content).unwrap();

            let Opened { recovered, mut log, torn, .. } = open(dir.path());
            // The record's own line end may be one of the padding.
            let is_intact = cut >= complete || cut + 1 == complete && fill.first() == Some(&b'\n');
            assert_eq!(recovered.entries.len(), if is_intact { 3 } else { 2 }, "{case}");
            let leftover =
                (start + 1..complete).contains(&cut) && !is_intact || fill.first() == Some(&0);
            assert_eq!(torn.is_some(), leftover, "{case}");
            if let Some(torn) = torn {
                assert_eq!(torn.file, segment(dir.path(), 1), "{case}");
                let keep = usize::try_from(torn.keep_bytes).unwrap();
                let lines = whole[..keep].split(|&b| b == b'\n').count();
                assert_eq!(torn.line, u64::try_from(lines).unwrap(), "{case}");
                assert!(torn.cut_bytes > 0, "{case}");
            }
            write(&mut log, vec![put(recovered.entries.last().unwrap().id.index + 1, 1, "next")]);
            drop(log);
            let text = fs::read_to_string(segment(dir.path(), 1)).unwrap();
            let last_batch = text.trim_end().rsplit("\n\n").next().unwrap();
            assert!(last_batch.lines().count() == 1 && last_batch.contains("next"), "{case}");
            let again = open(dir.path());
            assert_eq!(
                (again.recovered.entries.len(), again.torn),
                (recovered.entries.len() + 1, None),
                "{case}"
            );
        }
    }
}

/// The disk writes sectors, in any order: after a power loss, any of the last batch's may be missing.
#[test]
fn batch_with_lost_sectors_is_cut_at_the_first() {
    const SECTOR: usize = 512;
    let origin = scratch();
    let mut log = open(origin.path()).log;
    write(&mut log, vec![hard_state(1, None), put(1, 1, "a")]);
    write(&mut log, vec![put(2, 1, "b")]);
    let file = segment(origin.path(), 1);
    let start = fs::read(&file).unwrap().len();
    write(&mut log, (3..30).map(|index| put(index, 1, &"v".repeat(100))).collect());
    drop(log);
    let whole = fs::read(&file).unwrap();
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let old = if rng.random() { b'\n' } else { 0 };
        let loss = rng.random_range(0.05..0.95);
        let mut content = whole.clone();
        let mut first_lost = whole.len();
        for sector in start / SECTOR..=whole.len() / SECTOR {
            if rng.random_bool(loss) {
                let range = start.max(sector * SECTOR)..whole.len().min((sector + 1) * SECTOR);
                first_lost = first_lost.min(range.start);
                content[range].fill(old);
            }
        }
        let dir = scratch();
        copy(origin.path(), dir.path());
        fs::write(segment(dir.path(), 1), &content).unwrap();
        let Opened { recovered, mut log, .. } = open(dir.path());
        let intact = whole[start..first_lost].split_inclusive(|&b| b == b'\n');
        let intact = 2 + intact.filter(|line| line.len() > 1 && line.ends_with(b"\n")).count();
        // A lost line end may be replaced by one of the padding.
        let found = recovered.entries.len();
        assert!(
            found == intact || found == intact + 1,
            "seed {seed}: {found} entries, not {intact}"
        );
        write(&mut log, vec![put(recovered.entries.last().unwrap().id.index + 1, 1, "next")]);
        drop(log);
        assert_eq!(open(dir.path()).recovered.entries.len(), found + 1, "seed {seed}");
    }
}
