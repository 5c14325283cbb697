//! One proxied connection: two pumps, and what its link's mode and faults do to it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::effect::End;
use super::faults::{Doom, Fall};
use super::pump::{BUFFER_BYTES, Pump};
use super::{Mode, Shared};

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
                sleep(ACCEPT_AGAIN_AFTER).await;
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
    let number = link.faults.next_connection();
    let shares = Shares { link: &link, number, lost_first: AtomicBool::new(false) };
    let (down_reader, down_writer) = down.split();
    let (up_reader, up_writer) = up.split();
    let end = tokio::select! {
        ended = async {
            tokio::try_join!(
                Pump::new(&shares, mode.clone(), End::Dialler).run(down_reader, up_writer),
                Pump::new(&shares, mode.clone(), End::Listener).run(up_reader, down_writer),
            )
        } => if ended.is_ok() { Ending::Proper } else { Ending::Broken },
        never = broken(&shares, mode.clone()) => match never {
            Ok(never) => match never {},
            Err(Broken) => Ending::Broken,
        },
        doom = link.faults.doom(number) => Ending::Doomed(doom),
    };
    match end {
        Ending::Proper => {}
        Ending::Broken => {
            reset_on_close(&down);
            reset_on_close(&up);
        }
        Ending::Doomed(doom) => fall(&link, doom, down, up).await,
    }
}

/// How a connection comes to its end.
enum Ending {
    /// Both ends have closed it.
    Proper,
    /// It must be reset.
    Broken,
    /// A fault ends it.
    Doomed(Doom),
}

/// Ends a connection in the way of a fault.
async fn fall(link: &Shared, doom: Doom, mut down: TcpStream, mut up: TcpStream) {
    match doom.how {
        Fall::Reset => {
            count(&link.counters.reset, 1);
            reset_on_close(&down);
            reset_on_close(&up);
        }
        Fall::HalfOpen { left } => {
            let (mut left, gone) = match left {
                End::Dialler => (down, up),
                End::Listener => (up, down),
            };
            reset_on_close(&gone);
            drop(gone);
            tokio::select! {
                () = link.faults.lifted(doom) => {}
                () = drain(link, &mut left) => {}
            }
            // What comes now is answered by an end that knows nothing of the connection.
            reset_on_close(&left);
        }
        Fall::SlowClose { by } => {
            // An error means that this end is closed already.
            drop(down.shutdown().await);
            tokio::select! {
                () = sleep(by) => {}
                () = link.faults.lifted(doom) => {}
            }
            drop(up.shutdown().await);
        }
    }
}

/// Swallows what somebody says until they end.
async fn drain(link: &Shared, stream: &mut TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        link.dropped(&buffer[..length]);
    }
}

async fn connect(link: &Shared) -> io::Result<TcpStream> {
    let upstream = link.upstream().ok_or(io::ErrorKind::ConnectionRefused)?;
    let up = TcpStream::connect(upstream).await?;
    up.set_nodelay(true)?;
    Ok(up)
}

/// What both directions of a connection share.
pub(super) struct Shares<'a> {
    pub(super) link: &'a Shared,
    /// The connection's number among those of the link.
    pub(super) number: u64,
    /// Whether one of them never got through its first line.
    pub(super) lost_first: AtomicBool,
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

impl Shared {
    pub(super) fn passed(&self, bytes: &[u8]) {
        count(&self.counters.bytes, bytes.len());
        count(&self.counters.lines, lines(bytes));
    }

    pub(super) fn dropped(&self, bytes: &[u8]) {
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
