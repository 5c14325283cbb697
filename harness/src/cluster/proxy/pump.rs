//! One direction of a connection: from what is read to what is written, past its link's gate and faults.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Mode;
use super::connection::Shares;
use super::effect::End;
use super::faults::{Origin, Sentence, until};
use super::frames::{Frame, Splitter, Step};
use super::gate::{Fate, Gate};

/// Read at a time, bytes. Enough for a batch of entries.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// No more is read while so much is under way, bytes: a slow link makes its sender wait.
const UNDER_WAY_BYTES_MAX: usize = 256 << 10;

/// Moves bytes in one direction until its end, and passes that on.
pub(super) struct Pump<'a> {
    shares: &'a Shares<'a>,
    mode: watch::Receiver<Mode>,
    /// For strays, and for frames under way.
    stirred: [watch::Receiver<()>; 2],
    speaker: End,
    gate: Gate,
    splitter: Splitter,
    /// Frames in their order, with ascending times.
    under_way: VecDeque<UnderWay>,
    under_way_bytes: usize,
    /// Once the receiver knows who speaks.
    origin: Option<Origin>,
}

struct UnderWay {
    due: Instant,
    frame: Frame,
    number: u64,
}

/// What a pump has to do next.
enum Next {
    Arrival,
    Stray(Vec<u8>),
    Read(usize),
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        shares: &'a Shares<'a>,
        mode: watch::Receiver<Mode>,
        speaker: End,
    ) -> Pump<'a> {
        Pump {
            shares,
            mode,
            stirred: [shares.link.faults.subscribe(), shares.link.faults.subscribe()],
            speaker,
            gate: Gate::default(),
            splitter: Splitter::default(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            origin: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut reader: ReadHalf<'_>,
        mut writer: WriteHalf<'_>,
    ) -> io::Result<()> {
        let moved = self.move_all(&mut reader, &mut writer).await;
        not_cut(&mut self.mode).await;
        moved?;
        writer.shutdown().await
    }

    async fn move_all(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.next(reader, &mut buffer).await? {
                Next::Arrival => self.arrive(writer).await?,
                Next::Stray(bytes) => self.write(writer, &bytes).await?,
                Next::Read(0) => return self.finish(writer).await,
                Next::Read(length) => self.pass(&buffer[..length], writer).await?,
            }
        }
    }

    async fn next(&mut self, reader: &mut ReadHalf<'_>, buffer: &mut [u8]) -> io::Result<Next> {
        let Pump { shares, mode, stirred, splitter, under_way, origin, .. } = self;
        let [strays_stirred, stirred] = stirred;
        let due = async {
            let Some(front) = under_way.front() else { return std::future::pending().await };
            // Where nothing is slow any more, what is under way arrives at once.
            tokio::select! {
                biased;
                () = until(Some(front.due)) => {}
                _ = stirred.wait_for(|()| !shares.link.faults.is_slow()) => {}
            }
        };
        // Nothing else is said between a line's beginning and its end.
        let may_stray = self.speaker == End::Dialler && !splitter.is_mid_line();
        let stray = async {
            match *origin {
                Some(origin) if may_stray => {
                    not_cut(mode).await;
                    shares.link.faults.stray(shares.number, origin, strays_stirred).await
                }
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => Ok(Next::Arrival),
            bytes = stray => Ok(Next::Stray(bytes)),
            read = reader.read(buffer), if self.under_way_bytes < UNDER_WAY_BYTES_MAX => {
                read.map(Next::Read)
            }
        }
    }

    /// Writes the first frame under way.
    async fn arrive(&mut self, writer: &mut WriteHalf<'_>) -> io::Result<()> {
        let Some(UnderWay { frame, number, .. }) = self.under_way.pop_front() else {
            return Ok(());
        };
        self.under_way_bytes -= frame.bytes.len();
        self.write(writer, &frame.bytes).await?;
        self.shares.link.faults.arrived(number);
        if frame.is_first {
            self.introduced();
        }
        Ok(())
    }

    async fn write(&self, writer: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
        writer.write_all(bytes).await?;
        self.shares.link.passed(bytes);
        Ok(())
    }

    fn introduced(&mut self) {
        self.origin = self.splitter.first().map(Origin::of);
    }

    /// The sender has ended: what is under way still arrives.
    async fn finish(&mut self, writer: &mut WriteHalf<'_>) -> io::Result<()> {
        while let Some(front) = self.under_way.front() {
            let faults = &self.shares.link.faults;
            tokio::select! {
                () = until(Some(front.due)) => {}
                _ = self.stirred[1].wait_for(|()| !faults.is_slow()) => {}
            }
            self.arrive(writer).await?;
        }
        let rest = self.splitter.take_rest();
        self.write(writer, &rest).await
    }

    /// Sends what passes the gate of these bytes on its way.
    async fn pass(&mut self, bytes: &[u8], writer: &mut WriteHalf<'_>) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let open = *self.mode.borrow_and_update() == Mode::Pass;
            let (fate, length) = self.gate.next(open, rest);
            let done = match fate {
                Fate::Dropped => length,
                Fate::Kept => self.forward(&rest[..length], writer).await?,
            };
            let (met, left) = rest.split_at(done);
            self.gate.advance(fate, met);
            if fate == Fate::Dropped {
                self.shares.link.dropped(met);
                if self.gate.lost_first() {
                    self.shares.lost_first.store(true, Ordering::Relaxed);
                }
            }
            rest = left;
        }
        Ok(())
    }

    /// Sends the first of these bytes on their way; returns how many.
    async fn forward(&mut self, bytes: &[u8], writer: &mut WriteHalf<'_>) -> io::Result<usize> {
        let framed = self.shares.link.faults.is_busy() || !self.under_way.is_empty();
        match self.splitter.next(framed, bytes) {
            Step::Gather(length) => {
                if let Some(frame) = self.splitter.gather(&bytes[..length]) {
                    self.judge(frame);
                }
                Ok(length)
            }
            Step::Pass(length) => {
                // Only the rest of a line of absurd length can have anything before it that is still under way.
                while !self.under_way.is_empty() {
                    self.arrive(writer).await?;
                }
                let written = tokio::select! {
                    biased;
                    written = writer.write(&bytes[..length]) => written?,
                    // The receiver does not read for now. If the link was cut meanwhile, what is left is lost.
                    changed = self.mode.changed() => changed.map(|()| 0).map_err(io::Error::other)?,
                };
                let written = &bytes[..written];
                self.shares.link.passed(written);
                self.splitter.passed(written);
                if self.origin.is_none() && self.splitter.first().is_some() {
                    self.introduced();
                }
                Ok(written.len())
            }
        }
    }

    fn judge(&mut self, frame: Frame) {
        let origin = self.splitter.first().map(Origin::of).unwrap_or_default();
        match self.shares.link.faults.judge(frame, self.speaker, origin) {
            Sentence::Pass { due, frame, number } => {
                let due = self.under_way.back().map_or(due, |last| due.max(last.due));
                self.under_way_bytes += frame.bytes.len();
                self.under_way.push_back(UnderWay { due, frame, number });
            }
            Sentence::Dropped(bytes) => self.shares.link.dropped(&bytes),
            Sentence::Strayed => {}
        }
    }
}

/// Waits until the link is not cut: a cut hides the end of a connection, too.
async fn not_cut(mode: &mut watch::Receiver<Mode>) {
    // An error means that the link is gone, and so are its cuts.
    drop(mode.wait_for(|mode| *mode != Mode::Cut).await);
}
