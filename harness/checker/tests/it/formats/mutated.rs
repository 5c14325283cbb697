//! A million damaged lines: no panic, no hang, no great memory.

use std::time::Instant;

use history_checker::formats::{Format, Reading, Records};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// A history in each format and style, with something of everything in it.
pub(super) const SAMPLES: [&str; 6] = [
    concat!(
        "{\"history\":1,\"workload\":\"w\",\"model\":\"register\"}\n",
        "{\"index\":0,\"time\":5,\"process\":3,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":\"3-1\"}\n",
        "{\"index\":1,\"time\":6,\"process\":3,\"type\":\"ok\",\"f\":\"cas\",\"value\":[null,\"\\u00e9\"],\"log_index\":7}\n",
    ),
    concat!(
        "{\"process\":3,\"f\":\"write\",\"key\":\"k\",\"value\":[1,-2.5],\"call\":12,\"return\":22}\n",
        "{\"client\":\"é\",\"f\":\"read\",\"type\":\"fail\",\"call\":1,\"end\":2,\"error\":\"a\\n\"}\n",
    ),
    "[{:process 7, :type :ok, :f :cas, :value [2 3N]}\n #_x {:process 8, :type :info, :f :w, :error [:e \"\\\"\"]}]\n",
    "#jepsen.history.Op{:process 0, :type :invoke, :f :txn, :value [[:r :x nil]]}\n; c\n{:process 0 :type :ok :f :txn :value #{\\a 1/2 #inst \"1\"}}\n",
    "INFO  jepsen.util - 0\t:invoke\t:cas\t[0 1]\nother\nINFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n",
    "{:process 0 :type :invoke :f :read :value #t/tuple [1 nil]}\n{:process 0 :type :ok :f :read :value [1 2]}\n",
];

/// Pieces that mean something in one format or another.
const PIECES: [&[u8]; 36] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud83d",
    b":",
    b",",
    b";",
    b"#",
    b"#_",
    b"#{",
    b"##",
    b"#a ",
    b"'",
    b"0",
    b"-",
    b"1e999",
    b"99999999999999999999",
    b"1/",
    b"nil",
    b"null",
    b"\n",
    b"\r\n",
    b"\t",
    b"\0",
    b"\xff",
    b"\xe2\x82",
    b"\xef\xbb\xbf",
    b":process",
    b"jepsen.util",
    b"[[[[[[[[[[[[[[[[[[[[[",
];

/// Damages a line, a little or a lot.
pub(super) fn mutate(line: &mut Vec<u8>, random: &mut SmallRng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=line.len());
        let end = (at + random.random_range(0..12)).min(line.len());
        match random.random_range(0..6) {
            0 => line.truncate(at),
            1 => drop(line.drain(at..end)),
            2 => {
                let copy = line[at..end].to_vec();
                line.splice(at..at, copy);
            }
            3 => {
                if let Some(byte) = line.get_mut(at) {
                    *byte = random.random();
                }
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                line.splice(
                    at..at.max(end.min(at + random.random_range(0..3))),
                    piece.iter().copied(),
                );
            }
        }
    }
}

/// Reads to the end or the first error, and says how many records there were.
fn read(text: &[u8], format: Option<Format>) -> usize {
    let reading = Reading { format, ..Reading::default() };
    let Ok(mut records) = Records::with(text, "h", reading) else { return 0 };
    let mut count = 0;
    while let Ok(Some(_)) = records.next() {
        count += 1;
        assert!(count <= text.len(), "more records than bytes");
    }
    count
}

#[test]
fn a_million_damaged_lines_are_read_or_refused() {
    const LINES: usize = 1_000_000;
    let seed = 0x5eed;
    let mut random = SmallRng::seed_from_u64(seed);
    eprintln!("seed {seed:#x}");
    let start = Instant::now();
    let (mut lines, mut records) = (0, 0);
    let mut text = Vec::new();
    while lines < LINES {
        let sample = random.random_range(0..SAMPLES.len());
        let format = match random.random_range(0..10) {
            0 => None,
            1 => Some(Format::ALL[random.random_range(0..Format::ALL.len())]),
            _ => detected(sample),
        };
        text.clear();
        for line in SAMPLES[sample].split_inclusive('\n') {
            let from = text.len();
            text.extend_from_slice(line.as_bytes());
            if random.random_range(0..3) > 0 {
                let mut line = text.split_off(from);
                mutate(&mut line, &mut random);
                text.append(&mut line);
                lines += 1;
            }
        }
        records += read(&text, format);
    }
    let elapsed = start.elapsed();
    eprintln!("{lines} damaged lines, {records} records in {elapsed:?}");
    assert!(
        records > LINES / 10,
        "most histories are to have a record before the damage: {records}"
    );
}

fn detected(sample: usize) -> Option<Format> {
    let formats = [
        Format::History,
        Format::Operations,
        Format::JepsenEdn,
        Format::JepsenEdn,
        Format::JepsenLog,
        Format::JepsenEdn,
    ];
    formats.get(sample).copied()
}
