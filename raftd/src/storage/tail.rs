//! Torn or damaged? What to make of a bad line in the newest segment.
//!
//! A batch reaches the disk in sectors, and after a power loss any of them may be missing: the file then shows what was
//! there before, which is padding (line ends) or nothing yet (zeros). So the last batch may well have a hole with intact
//! records after it. Nothing was acknowledged from it, and it can be cut from the hole on - but only if it *is* the last
//! batch, and if the hole is one that a lost sector leaves. Otherwise it is damage to what may have been acknowledged.

use crate::codec;

/// No disk writes less at a time.
const SECTOR_BYTES: u64 = 512;

/// Whether the end of the newest segment is a batch that the disk never finished.
///
/// `rest` is everything from the end of the intact lines on, and starts at `offset` of the file with a line that is bad,
/// or padding. `at_batch_start`: the intact lines before it are whole batches.
pub(super) fn is_torn(rest: &[u8], offset: u64, at_batch_start: bool) -> bool {
    let mut intact_end = 0;
    let mut at = 0;
    for line in rest.split_inclusive(|&b| b == b'\n') {
        let start = at;
        at += line.len();
        // Complete, that is: what is complete and not understood was not torn either.
        let is_intact = line.ends_with(b"\n")
            && codec::decode_log_line(line).map_or_else(|error| !error.is_incomplete(), |_| true);
        if !is_intact {
            continue;
        }
        let hole = &rest[intact_end..start];
        if begins_batch(hole) {
            return false;
        }
        let hole_offset = offset + position(intact_end);
        if !hole.is_empty() && !spans_sector(hole, hole_offset, at_batch_start && intact_end == 0) {
            return false;
        }
        intact_end = at;
    }
    true
}

/// Whether the record after the hole starts a new batch: then the batch with the hole had been durable. (A hole of
/// several empty lines says nothing: those are padding.)
fn begins_batch(hole: &[u8]) -> bool {
    matches!(hole, [.., last, b'\n', b'\n'] if *last != b'\n')
}

/// Whether the hole contains a whole sector (from the batch's beginning on) that was never written.
fn spans_sector(hole: &[u8], offset: u64, at_batch_start: bool) -> bool {
    let end = offset + position(hole.len());
    let first = if at_batch_start { offset } else { offset.next_multiple_of(SECTOR_BYTES) };
    let mut start = first;
    while start < end {
        let sector_end = (start + 1).next_multiple_of(SECTOR_BYTES);
        let range = index(start - offset)..index(sector_end - offset);
        let is_old =
            |sector: &[u8]| sector.iter().all(|&b| b == b'\n') || sector.iter().all(|&b| b == 0);
        if hole.get(range).is_some_and(is_old) {
            return true;
        }
        start = sector_end;
    }
    false
}

fn position(length: usize) -> u64 {
    u64::try_from(length).expect("lengths fit 64 bits")
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("positions inside a buffer are indexes")
}

#[cfg(test)]
mod tests {
    use raft_core::effects::Record;

    use super::*;

    fn record(term: u64) -> Vec<u8> {
        let mut line = Vec::new();
        codec::encode_record(&Record::HardState { term, vote: None }, &mut line);
        line
    }

    fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn tail_with_nothing_intact_is_torn() {
        assert!(is_torn(b"1a2b", 100, true));
        assert!(is_torn(&join(&[b"1a2b", &[b'\n'; 600]]), 100, true));
        assert!(is_torn(&[0; 5000], 100, false));
        assert!(is_torn(&record(1)[..20], 100, false));
    }

    #[test]
    fn tail_that_is_complete_but_not_understood_is_damaged() {
        let text = br#"{"from_a_later_version":1}"#;
        let line = format!("{:08x} {}\n", crc32c::crc32c(text), String::from_utf8_lossy(text));
        assert!(!is_torn(&join(&[b"bad\n", line.as_bytes()]), 100, true));
    }

    #[test]
    fn tail_that_another_batch_follows_is_damaged() {
        assert!(!is_torn(&join(&[b"bad\n\n", &record(1)]), 100, true));
        assert!(!is_torn(&join(&[b"bad\n\n", &record(1)]), 100, false));
        let lost = [b'\n'; 1024];
        let hole = join(&[&lost, b"half a line\n", &record(1)]);
        assert!(is_torn(&hole, 512, true));
        assert!(!is_torn(&join(&[&hole, b"\n", &record(2)]), 512, true));
        assert!(is_torn(&join(&[&hole, b"\n\n\n"]), 512, true));
        assert!(!is_torn(&join(&[&lost, b"half a line\n\n", &record(1)]), 512, true));
    }

    #[test]
    fn tail_with_intact_records_after_garbage_is_damaged() {
        assert!(!is_torn(&join(&[b"bad\n", &record(1)]), 100, true));
        assert!(!is_torn(&join(&[b"bad\n", &record(1)]), 100, false));
        // Not a sector's worth of nothing, and not at its place.
        assert!(!is_torn(&join(&[b"x\n", &[b'\n'; 600], b"x\n", &record(1)]), 100, true));
    }

    #[test]
    fn tail_with_a_lost_sector_is_torn() {
        for fill in [b'\n', 0] {
            // Inside a batch: from one sector boundary to the next.
            let hole = join(&[&[b'x'; 12], &[fill; 512], b"x\n", &record(1)]);
            assert!(is_torn(&hole, 500, false));
            assert!(!is_torn(&hole, 501, false));
            // At a batch's beginning: from there to the boundary.
            let hole = join(&[&[fill; 12], b"x\n", &record(1)]);
            assert!(is_torn(&hole, 500, true));
            assert!(!is_torn(&hole, 500, false));
            assert!(!is_torn(&hole, 499, true));
        }
    }

    #[test]
    fn tail_needs_a_reason_for_each_hole() {
        let lost = join(&[&[b'\n'; 512], b"x\n", &record(1)]);
        assert!(is_torn(&lost, 0, true));
        assert!(!is_torn(&join(&[&lost, b"bad\n", &record(2)]), 0, true));
    }
}
