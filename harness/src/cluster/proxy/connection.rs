//! One proxied connection: two pumps, and what its link's mode does to it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::{Fate, Gate};
use super::{Mode, Shared};

/// Read at a time, bytes. Enough for a batch of entries.
const BUFFER_BYTES: usize = 64 << 10;

/// How long no connection is accepted after a failure to do so, such as no file descriptor being left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Accepts connections until aborted, which ends all of them.
pub(super) async fn accept(link: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                count(&link.counters.accepted, 1);
                connections.spawn(serve(Arc::clone(&link), stream));
            }
            Err(error) => {
                tracing::warn!(%error, address = %link.address, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(link: Arc<Shared>, mut down: TcpStream) {
    let mode = link.mode.subscribe();
    let opened_in = *mode.borrow();
    let up = match opened_in {
        Mode::Refuse => {
            count(&link.counters.refused, 1);
            return reset_on_close(&down);
        }
        Mode::Cut => return swallow(&link, &mut down, mode).await,
        Mode::Pass => connect(&link).await,
    };
    let Ok(mut up) = up else {
        count(&link.counters.unreachable, 1);
        return reset_on_close(&down);
    };
    // Latency is what makes faults interesting; a link without this option still works.
    drop(down.set_nodelay(true));
    let shares = Shares { link: &link, lost_first: AtomicBool::new(false) };
    let (down_reader, down_writer) = down.split();
    let (up_reader, up_writer) = up.split();
    let ended = tokio::select! {
        ended = async {
            tokio::try_join!(
                pump(&shares, mode.clone(), down_reader, up_writer),
                pump(&shares, mode.clone(), up_reader, down_writer),
            )
        } => ended.is_ok(),
        never = broken(&shares, mode.clone()) => never.is_ok(),
    };
    if !ended {
        reset_on_close(&down);
        reset_on_close(&up);
    }
}

async fn connect(link: &Shared) -> io::Result<TcpStream> {
    let upstream = link.upstream().ok_or(io::ErrorKind::ConnectionRefused)?;
    let up = TcpStream::connect(upstream).await?;
    up.set_nodelay(true)?;
    Ok(up)
}

/// What both directions of a connection share.
struct Shares<'a> {
    link: &'a Shared,
    /// Whether one of them never got through its first line.
    lost_first: AtomicBool,
}

/// Why a connection must be reset.
struct Broken;

/// Returns when the link's mode breaks the connection.
async fn broken(
    shares: &Shares<'_>,
    mut mode: watch::Receiver<Mode>,
) -> Result<Infallible, Broken> {
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Refuse => {
                count(&shares.link.counters.reset, 1);
                return Err(Broken);
            }
            Mode::Pass if shares.lost_first.load(Ordering::Relaxed) => return Err(Broken),
            Mode::Pass | Mode::Cut => {}
        }
        if mode.changed().await.is_err() {
            return Err(Broken);
        }
    }
}

/// A connection that was opened while the link was cut: nobody is at its other end.
async fn swallow(link: &Shared, down: &mut TcpStream, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        tokio::select! {
            _ = mode.wait_for(|mode| *mode != Mode::Cut) => return reset_on_close(down),
            read = down.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => link.dropped(&buffer[..length]),
            },
        }
    }
}

/// Moves bytes in one direction until its end, and passes that on.
async fn pump(
    shares: &Shares<'_>,
    mut mode: watch::Receiver<Mode>,
    mut reader: ReadHalf<'_>,
    mut writer: WriteHalf<'_>,
) -> io::Result<()> {
    let mut gate = Gate::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => {
                not_cut(&mut mode).await;
                return writer.shutdown().await;
            }
            Ok(length) => {
                let passed =
                    pass(shares, &mut gate, &mut mode, &buffer[..length], &mut writer).await;
                if let Err(error) = passed {
                    not_cut(&mut mode).await;
                    return Err(error);
                }
            }
            Err(error) => {
                not_cut(&mut mode).await;
                return Err(error);
            }
        }
    }
}

/// A cut hides the end of a connection, too.
async fn not_cut(mode: &mut watch::Receiver<Mode>) {
    // An error means that the link is gone, and so are its cuts.
    drop(mode.wait_for(|mode| *mode != Mode::Cut).await);
}

/// Writes what passes the gate of these bytes.
async fn pass(
    shares: &Shares<'_>,
    gate: &mut Gate,
    mode: &mut watch::Receiver<Mode>,
    bytes: &[u8],
    writer: &mut WriteHalf<'_>,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let open = *mode.borrow_and_update() == Mode::Pass;
        let (fate, length) = gate.next(open, rest);
        let done = match fate {
            Fate::Dropped => length,
            Fate::Kept => tokio::select! {
                biased;
                written = writer.write(&rest[..length]) => written?,
                // The receiver does not read for now. If the link was cut meanwhile, what is left is lost.
                changed = mode.changed() => changed.map(|()| 0).map_err(io::Error::other)?,
            },
        };
        let (met, left) = rest.split_at(done);
        gate.advance(fate, met);
        match fate {
            Fate::Kept => shares.link.passed(met),
            Fate::Dropped => {
                shares.link.dropped(met);
                if gate.lost_first() {
                    shares.lost_first.store(true, Ordering::Relaxed);
                }
            }
        }
        rest = left;
    }
    Ok(())
}

impl Shared {
    fn passed(&self, bytes: &[u8]) {
        count(&self.counters.bytes, bytes.len());
        count(&self.counters.lines, lines(bytes));
    }

    fn dropped(&self, bytes: &[u8]) {
        count(&self.counters.bytes_dropped, bytes.len());
        count(&self.counters.lines_dropped, lines(bytes));
    }
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// When it is dropped, the other end will see an error, not an end.
fn reset_on_close(stream: &TcpStream) {
    // Without the option it is closed in the ordinary way.
    drop(stream.set_zero_linger());
}
