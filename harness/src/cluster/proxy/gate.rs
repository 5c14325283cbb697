//! What of a stream of lines passes, at the grain of whole lines.

use memchr::memchr;

/// What becomes of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are passed on.
    Kept,
    /// They vanish.
    Dropped,
}

/// Decides for one direction of one connection. Whatever the mode does meanwhile, the receiver gets whole lines of the
/// sender's, in order: a line's fate is that of its first byte.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Fate of the line that has begun and not ended yet.
    line: Option<Fate>,
    kept_any: bool,
    lost_first: bool,
}

impl Gate {
    /// The fate of the first bytes of `rest` (which is not empty), and of how many of them.
    pub(super) fn next(&self, open: bool, rest: &[u8]) -> (Fate, usize) {
        let to_line_end = || memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        match (self.line, open) {
            (None | Some(Fate::Kept), true) => (Fate::Kept, rest.len()),
            (None | Some(Fate::Dropped), false) => (Fate::Dropped, rest.len()),
            (Some(Fate::Kept), false) => (Fate::Kept, to_line_end()),
            (Some(Fate::Dropped), true) => (Fate::Dropped, to_line_end()),
        }
    }

    /// Notes that these bytes, the first of what `next` spoke of, have met their fate.
    pub(super) fn advance(&mut self, fate: Fate, bytes: &[u8]) {
        let Some(last) = bytes.last() else {
            return;
        };
        self.line = (*last != b'\n').then_some(fate);
        match fate {
            Fate::Kept => self.kept_any = true,
            Fate::Dropped => self.lost_first |= !self.kept_any,
        }
    }

    /// Whether the receiver never got the stream's first line, so that it cannot make sense of the others.
    pub(super) fn lost_first(&self) -> bool {
        self.lost_first
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Sends numbered lines through a gate in random pieces, while it opens and closes, and the receiver takes only
    /// some of what it could have. Returns what came out and how many bytes did not.
    fn run(seed: u64) -> (Vec<u8>, Vec<u8>, usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sent = Vec::new();
        for line in 0..200 {
            let padding = "x".repeat(rng.random_range(0..20));
            sent.extend_from_slice(format!("{line}{padding}\n").as_bytes());
        }
        let (mut gate, mut open, mut received, mut dropped) = (Gate::default(), true, vec![], 0);
        let mut rest: &[u8] = &sent;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(rng.random_range(1..=rest.len().min(60)));
            rest = later;
            let mut chunk = chunk;
            while !chunk.is_empty() {
                open ^= rng.random_ratio(1, 10);
                let (fate, length) = gate.next(open, chunk);
                let done = match fate {
                    Fate::Kept => rng.random_range(0..=length),
                    Fate::Dropped => length,
                };
                gate.advance(fate, &chunk[..done]);
                match fate {
                    Fate::Kept => received.extend_from_slice(&chunk[..done]),
                    Fate::Dropped => dropped += done,
                }
                chunk = &chunk[done..];
            }
        }
        (sent, received, dropped)
    }

    #[test]
    fn gate_that_opens_and_closes_passes_whole_lines_in_order() {
        for seed in 0..2000 {
            let (sent, received, dropped) = run(seed);
            assert_eq!(received.len() + dropped, sent.len(), "seed {seed}");
            assert!(dropped > 0 && !received.is_empty(), "seed {seed}");
            let mut sent = sent.split_inclusive(|byte| *byte == b'\n');
            for line in received.split_inclusive(|byte| *byte == b'\n') {
                assert!(sent.any(|other| other == line), "seed {seed}: {:?}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn stream_without_its_first_line_is_known() {
        let mut gate = Gate::default();
        gate.advance(Fate::Kept, b"hello\n");
        gate.advance(Fate::Dropped, b"more\n");
        assert!(!gate.lost_first());
        let mut gate = Gate::default();
        gate.advance(Fate::Dropped, b"hello\n");
        gate.advance(Fate::Kept, b"more\n");
        assert!(gate.lost_first());
    }
}
