//! Links, with tasks of this process at both ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::cluster::proxy::{Link, Mode};
use harness::cluster::wait::wait_for;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};

const DEADLINE: Duration = Duration::from_secs(10);

/// The listening end of a link: hands over what arrives on all its connections.
pub(crate) struct Sink {
    address: SocketAddr,
    bytes: UnboundedReceiver<Vec<u8>>,
    received: Vec<u8>,
    accepted: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

impl Sink {
    async fn bind() -> Sink {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, bytes) = mpsc::unbounded_channel();
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let ended = Arc::new(AtomicU64::new(0));
        let ends = Arc::clone(&ended);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (sender, ends) = (sender.clone(), Arc::clone(&ends));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        if sender.send(buffer[..length].to_vec()).is_err() {
                            return;
                        }
                    }
                    ends.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Sink { address, bytes, received: Vec::new(), accepted, ended }
    }

    /// How many connections have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// What has arrived since the last call, once it ends with this.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        while !self.received.ends_with(end.as_bytes()) {
            self.more().await;
        }
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }

    /// What has arrived since the last call, once it is so many bytes.
    pub(crate) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            self.more().await;
        }
        std::mem::take(&mut self.received)
    }

    async fn more(&mut self) {
        let more = tokio::time::timeout(DEADLINE, self.bytes.recv()).await;
        let seen = || String::from_utf8_lossy(&self.received).into_owned();
        let more = more.unwrap_or_else(|_| panic!("no more than {:?}", seen()));
        self.received.extend(more.unwrap());
    }

    /// Waits until this is what has arrived since the last call.
    pub(crate) async fn expect(&mut self, expected: &str) {
        while self.received != expected.as_bytes() {
            let seen = String::from_utf8_lossy(&self.received).into_owned();
            let more = tokio::time::timeout(DEADLINE, self.bytes.recv()).await;
            let more = more.unwrap_or_else(|_| panic!("expected {expected:?}, got {seen:?}"));
            self.received.extend(more.unwrap());
            assert!(
                self.received.len() <= expected.len(),
                "expected {expected:?}, got {:?}",
                self.received
            );
        }
        self.received.clear();
    }
}

/// A link, its listening end, and a connection through it.
pub(crate) async fn linked() -> (Link, Sink, TcpStream) {
    let link = Link::bind().await.unwrap();
    let sink = Sink::bind().await;
    link.set_upstream(Some(sink.address));
    let stream = TcpStream::connect(link.address()).await.unwrap();
    (link, sink, stream)
}

pub(crate) async fn until(link: &Link, what: &str, condition: impl Fn(&Link) -> bool) {
    let seen = || {
        std::future::ready(if condition(link) {
            Ok(())
        } else {
            Err(format!("{:?}", link.traffic()))
        })
    };
    wait_for(what, DEADLINE, seen).await.unwrap();
}

async fn dropped(link: &Link, bytes: u64) {
    until(link, &format!("{bytes} bytes dropped"), |link| link.traffic().bytes_dropped == bytes)
        .await;
}

/// Waits until the other end resets the connection, or (if it was reset before it could be used) says so otherwise.
pub(crate) async fn is_reset(mut stream: TcpStream) {
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("still open");
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn link_that_passes_counts_what_it_passes() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"one\ntwo\nthr").await.unwrap();
    sink.expect("one\ntwo\nthr").await;
    until(&link, "traffic", |link| link.traffic().bytes == 11).await;
    let traffic = link.traffic();
    assert_eq!((traffic.lines, traffic.accepted), (2, 1));
    assert_eq!((traffic.bytes_dropped, traffic.lines_dropped, traffic.refused), (0, 0, 0));
}

#[tokio::test]
async fn cut_link_swallows_and_counts_and_resumes_with_a_whole_line() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"before\n").await.unwrap();
    sink.expect("before\n").await;
    link.set_mode(Mode::Cut);
    stream.write_all(b"lost\nlost ha").await.unwrap();
    dropped(&link, 12).await;
    assert_eq!(link.traffic().lines_dropped, 1);
    link.set_mode(Mode::Pass);
    stream.write_all(b"lf\nafter\n").await.unwrap();
    sink.expect("after\n").await;
    assert_eq!(link.traffic().bytes_dropped, 15);
}

#[tokio::test]
async fn line_under_way_when_the_link_is_cut_arrives_whole() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"under ").await.unwrap();
    sink.expect("under ").await;
    link.set_mode(Mode::Cut);
    stream.write_all(b"way\nlost\n").await.unwrap();
    sink.expect("way\n").await;
    dropped(&link, 5).await;
    link.set_mode(Mode::Pass);
    stream.write_all(b"after\n").await.unwrap();
    sink.expect("after\n").await;
}

/// Sends numbered lines in random pieces while the link is cut and healed at random; what arrives must be whole lines
/// in order.
async fn whole_lines_arrive(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    let lines: Vec<String> =
        (0..300).map(|line| format!("{line}{}\n", "x".repeat(rng.random_range(0..2000)))).collect();
    let text = lines.concat();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rng.random_range(1..=rest.len().min(9000)));
        rest = later;
        stream.write_all(piece).await.unwrap();
        if rng.random_ratio(1, 4) {
            link.set_mode(if rng.random() { Mode::Cut } else { Mode::Pass });
        }
    }
    let through = |link: &Link| link.traffic().bytes + link.traffic().bytes_dropped;
    let sent = u64::try_from("hello\n".len() + text.len()).unwrap();
    until(&link, "all bytes to be passed or dropped", |link| through(link) == sent).await;
    link.set_mode(Mode::Pass);
    stream.write_all(b"end\n").await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"end\n") {
        received.extend(tokio::time::timeout(DEADLINE, sink.bytes.recv()).await.unwrap().unwrap());
    }
    let mut sent = lines.iter().map(String::as_str).chain(["end\n"]);
    for line in String::from_utf8(received).unwrap().split_inclusive('\n') {
        assert!(
            sent.any(|other| other == line),
            "not a line that was sent, or out of order: {line:?}"
        );
    }
}

#[tokio::test]
async fn link_cut_at_random_moments_passes_whole_lines_in_order() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..20).collect(),
    };
    for seed in seeds {
        eprintln!(
            "to repeat: SEED={seed} cargo test -p harness --test it link_cut_at_random_moments"
        );
        whole_lines_arrive(seed).await;
    }
}

#[tokio::test]
async fn bytes_that_wait_for_a_slow_receiver_are_lost_with_a_cut() {
    let link = Link::bind().await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    link.set_upstream(Some(listener.local_addr().unwrap()));
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    let (mut slow, _) = listener.accept().await.unwrap();
    let line = format!("{}\n", "x".repeat(9999));
    // More than all socket buffers on the way hold, until nothing moves any more.
    let sending = tokio::spawn(async move {
        for _ in 0..2000 {
            stream.write_all(line.as_bytes()).await.unwrap();
        }
        stream
    });
    let mut moved = 0;
    let standstill = || {
        let before = std::mem::replace(&mut moved, link.traffic().bytes);
        std::future::ready(if moved > 0 && moved == before {
            Ok(())
        } else {
            Err(moved.to_string())
        })
    };
    wait_for("the receiver's buffers to be full", DEADLINE, standstill).await.unwrap();
    let before = link.traffic().bytes;
    link.set_mode(Mode::Cut);
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        slow.read_to_end(&mut received).await.unwrap();
        received
    });
    let mut stream = tokio::time::timeout(DEADLINE, sending).await.unwrap().unwrap();
    let through = |link: &Link| link.traffic().bytes + link.traffic().bytes_dropped;
    until(&link, "all to be gone", |link| through(link) == 2000 * 10_000).await;
    link.set_mode(Mode::Pass);
    stream.write_all(b"end\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let received = tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
    assert!(received.ends_with(b"x\nend\n"));
    let lines = u64::try_from(received.len() - 4).unwrap();
    assert_eq!(lines % 10_000, 0, "a line was torn");
    assert!(lines - before < 10_000, "more was passed after the cut than the end of a line");
}

#[tokio::test]
async fn connection_opened_during_a_cut_is_swallowed_and_then_reset() {
    let (link, mut sink, mut old) = linked().await;
    old.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    link.set_mode(Mode::Cut);
    let mut new = TcpStream::connect(link.address()).await.unwrap();
    new.write_all(b"hello\n").await.unwrap();
    dropped(&link, 6).await;
    link.set_mode(Mode::Pass);
    is_reset(new).await;
    old.write_all(b"still here\n").await.unwrap();
    sink.expect("still here\n").await;
    assert_eq!(sink.accepted.load(Ordering::Relaxed), 1, "it was passed on");
}

#[tokio::test]
async fn connection_whose_first_line_was_swallowed_is_reset() {
    let (link, mut sink, mut stream) = linked().await;
    until(&link, "the connection", |link| link.traffic().accepted == 1).await;
    link.set_mode(Mode::Cut);
    stream.write_all(b"hello\n").await.unwrap();
    dropped(&link, 6).await;
    link.set_mode(Mode::Pass);
    is_reset(stream).await;
    let mut next = TcpStream::connect(link.address()).await.unwrap();
    next.write_all(b"hello again\n").await.unwrap();
    sink.expect("hello again\n").await;
}

#[tokio::test]
async fn end_of_a_connection_is_hidden_by_a_cut() {
    let link = Link::bind().await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    link.set_upstream(Some(listener.local_addr().unwrap()));
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    stream.write_all(b"hello\n").await.unwrap();
    other.read_exact(&mut [0; 6]).await.unwrap();
    link.set_mode(Mode::Cut);
    drop(stream);
    let reading = async { other.read(&mut [0; 1]).await.unwrap() };
    let healing = async {
        // The link has certainly seen the end when it has swallowed a later connection's bytes.
        let mut later = TcpStream::connect(link.address()).await.unwrap();
        later.write_all(b"later\n").await.unwrap();
        dropped(&link, 6).await;
        link.set_mode(Mode::Pass);
        link.mode()
    };
    tokio::select! {
        biased;
        length = reading => panic!("the cut let {length} bytes or an end through"),
        mode = healing => assert_eq!(mode, Mode::Pass),
    }
    let read = tokio::time::timeout(DEADLINE, other.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn refusing_link_resets_all_connections_and_counts_them() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    link.set_mode(Mode::Refuse);
    is_reset(stream).await;
    is_reset(TcpStream::connect(link.address()).await.unwrap()).await;
    let traffic = link.traffic();
    assert_eq!((traffic.reset, traffic.refused, traffic.accepted), (1, 1, 2));
    link.set_mode(Mode::Pass);
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    stream.write_all(b"hello again\n").await.unwrap();
    sink.expect("hello again\n").await;
}

#[tokio::test]
async fn link_to_nowhere_refuses_and_does_not_count_that_as_a_fault() {
    let link = Link::bind().await.unwrap();
    is_reset(TcpStream::connect(link.address()).await.unwrap()).await;
    let traffic = link.traffic();
    assert_eq!((traffic.unreachable, traffic.refused, traffic.reset), (1, 0, 0));
}

#[tokio::test]
async fn link_cut_one_way_leaves_the_other_way_alone() {
    let (there, mut there_sink, mut to) = linked().await;
    let (back, mut back_sink, mut from) = linked().await;
    for (stream, sink) in [(&mut to, &mut there_sink), (&mut from, &mut back_sink)] {
        stream.write_all(b"hello\n").await.unwrap();
        sink.expect("hello\n").await;
    }
    there.set_mode(Mode::Cut);
    to.write_all(b"lost\n").await.unwrap();
    from.write_all(b"heard\n").await.unwrap();
    back_sink.expect("heard\n").await;
    dropped(&there, 5).await;
    assert_eq!(back.traffic().bytes_dropped, 0);
    there.set_mode(Mode::Pass);
    to.write_all(b"heard, too\n").await.unwrap();
    there_sink.expect("heard, too\n").await;
}

#[tokio::test]
async fn half_closed_connection_still_gets_its_answer() {
    let link = Link::bind().await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    link.set_upstream(Some(listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        stream.write_all(format!("{question} yourself\n").as_bytes()).await.unwrap();
    });
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello yourself\n");
    server.await.unwrap();
}

#[tokio::test]
async fn dropped_link_ends_its_connections() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    drop(link);
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
}
