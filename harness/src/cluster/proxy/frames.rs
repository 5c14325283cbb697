//! Frames out of a stream of bytes: whole lines where somebody wants them, and untouched bytes where nobody does.

use std::mem;

use memchr::memchr;

/// The longest line that is handled as a whole, bytes: more than the longest frame of raftd. A longer one passes as it
/// is.
const FRAME_BYTES_MAX: usize = 32 << 20;

/// How much of a connection's first line is remembered, bytes. Hellos are shorter.
const HELLO_BYTES_MAX: usize = 4096;

/// What is to be done with the next bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many pass at once, as they are: then tell [`Splitter::passed`].
    Pass(usize),
    /// So many belong to a line that is gathered: give them to [`Splitter::gather`].
    Gather(usize),
}

/// A whole line, its end included.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// Whether it is the connection's first.
    pub(super) is_first: bool,
}

/// Takes one direction of a connection apart. A line that has begun to pass passes to its end, and one that was begun to
/// be gathered is gathered to its end, whatever is wanted meanwhile.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of the line that is being gathered.
    gathered: Vec<u8>,
    /// Whether the beginning of the current line has passed already.
    passing: bool,
    /// The first line, as far as it is remembered.
    first: Vec<u8>,
    has_first: bool,
}

impl Splitter {
    /// What is to be done with the first bytes of `rest`, which is not empty; with `framed`, lines that begin here are
    /// gathered.
    pub(super) fn next(&self, framed: bool, rest: &[u8]) -> Step {
        let to_line_end = || memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        match (self.passing, framed || !self.gathered.is_empty()) {
            (_, false) => Step::Pass(rest.len()),
            (true, true) => Step::Pass(to_line_end()),
            (false, true) => Step::Gather(to_line_end()),
        }
    }

    /// Notes that these bytes have passed.
    pub(super) fn passed(&mut self, bytes: &[u8]) {
        self.remember(bytes);
        if let Some(last) = bytes.last() {
            self.passing = *last != b'\n';
        }
    }

    /// Takes these bytes; returns the line if they end it.
    pub(super) fn gather(&mut self, bytes: &[u8]) -> Option<Frame> {
        let is_first = !self.has_first;
        self.remember(bytes);
        self.gathered.extend_from_slice(bytes);
        let is_whole = bytes.last() == Some(&b'\n');
        if !is_whole && self.gathered.len() <= FRAME_BYTES_MAX {
            return None;
        }
        self.passing = !is_whole;
        Some(Frame { bytes: mem::take(&mut self.gathered), is_first })
    }

    /// Whether the receiver has got the beginning of a line but not its end.
    pub(super) fn is_mid_line(&self) -> bool {
        self.passing
    }

    /// What has been gathered of a line that never ended.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        mem::take(&mut self.gathered)
    }

    /// The connection's first line, once it is there.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.has_first.then_some(&self.first)
    }

    fn remember(&mut self, bytes: &[u8]) {
        if self.has_first {
            return;
        }
        let line = memchr(b'\n', bytes);
        let part = &bytes[..line.unwrap_or(bytes.len())];
        let room = HELLO_BYTES_MAX.saturating_sub(self.first.len());
        self.first.extend_from_slice(&part[..part.len().min(room)]);
        self.has_first = line.is_some();
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn nothing_is_lost_and_frames_are_whole_lines_whatever_is_wanted_when() {
        for seed in 0..500 {
            let mut rng = StdRng::seed_from_u64(seed);
            let sent: Vec<u8> = (0..100)
                .flat_map(|n| format!("{n}{}\n", "x".repeat(rng.random_range(0..20))).into_bytes())
                .collect();
            let (mut splitter, mut framed, mut received) = (Splitter::default(), false, Vec::new());
            let (mut rest, mut frames): (&[u8], _) = (&sent, 0);
            while !rest.is_empty() {
                let (chunk, later) = rest.split_at(rng.random_range(1..=rest.len().min(40)));
                rest = later;
                let mut chunk = chunk;
                while !chunk.is_empty() {
                    framed ^= rng.random_ratio(1, 10);
                    let used = match splitter.next(framed, chunk) {
                        Step::Pass(length) => {
                            let length = rng.random_range(1..=length);
                            splitter.passed(&chunk[..length]);
                            received.extend_from_slice(&chunk[..length]);
                            length
                        }
                        Step::Gather(length) => {
                            if let Some(frame) = splitter.gather(&chunk[..length]) {
                                assert_eq!(frame.is_first, received.is_empty(), "seed {seed}");
                                assert!(received.last().is_none_or(|last| *last == b'\n'));
                                let end = memchr(b'\n', &frame.bytes);
                                assert_eq!(end, Some(frame.bytes.len() - 1));
                                received.extend_from_slice(&frame.bytes);
                                frames += 1;
                            }
                            length
                        }
                    };
                    chunk = &chunk[used..];
                }
            }
            assert!(frames > 0, "seed {seed}");
            assert_eq!(received, sent, "seed {seed}");
            let first = sent.split(|byte| *byte == b'\n').next();
            assert_eq!(splitter.first(), first, "seed {seed}");
        }
    }
}
