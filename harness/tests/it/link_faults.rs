//! What faults do to frames and connections of a link, with tasks of this process at both ends. Each must prove itself,
//! and have no proof where it did nothing.

use std::time::Duration;

use harness::cluster::proxy::{Effect, End, Link, Release};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::proxy::{Sink, linked, until};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Says hello, and then so many numbered lines.
async fn say(stream: &mut TcpStream, sink: &mut Sink, lines: u64) -> Vec<String> {
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    let lines: Vec<String> = (0..lines).map(|n| format!("line {n}\n")).collect();
    stream.write_all(lines.concat().as_bytes()).await.unwrap();
    lines
}

async fn bites(link: &Link, fault: u64, bites: u64) {
    until(link, &format!("{bites} bites"), |link| link.bites(fault) >= bites).await;
}

/// All effects, each so that it hits everything.
fn effects() -> Vec<Effect> {
    let soon = ms(1)..=ms(5);
    vec![
        Effect::Delay { by: soon.clone() },
        Effect::Drop { percent: 100 },
        Effect::Duplicate { percent: 100, after: soon.clone() },
        Effect::Reorder { percent: 50, by: soon.clone() },
        Effect::Hold { release: Release::InOrder },
        Effect::Corrupt { percent: 100 },
        Effect::Rate { bytes_per_second: 1000 },
        Effect::Reset { after: soon.clone() },
        Effect::HalfOpen { left: End::Dialler, after: soon.clone() },
        Effect::SlowClose { after: soon.clone(), by: soon },
    ]
}

#[tokio::test]
async fn fault_of_a_link_that_nobody_uses_has_no_proof() {
    for effect in effects() {
        let link = Link::bind().await.unwrap();
        let fault = link.inflict(effect.clone(), 1);
        tokio::time::timeout(ms(20), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!((link.bites(fault), link.lift(fault)), (0, 0), "{effect:?}");
    }
}

#[tokio::test]
async fn fault_that_changes_nothing_has_no_proof() {
    let no_time = Duration::ZERO..=Duration::ZERO;
    for effect in [
        Effect::Delay { by: no_time.clone() },
        Effect::Drop { percent: 0 },
        Effect::Duplicate { percent: 0, after: no_time.clone() },
        Effect::Reorder { percent: 0, by: no_time },
        Effect::Corrupt { percent: 0 },
        Effect::Rate { bytes_per_second: u32::MAX },
    ] {
        let (link, mut sink, mut stream) = linked().await;
        let fault = link.inflict(effect.clone(), 1);
        let lines = say(&mut stream, &mut sink, 50).await;
        sink.expect(&lines.concat()).await;
        assert_eq!(link.lift(fault), 0, "{effect:?}");
    }
}

#[tokio::test]
async fn delayed_frames_are_late_and_in_order() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Delay { by: ms(30)..=ms(60) }, 1);
    let start = Instant::now();
    let lines = say(&mut stream, &mut sink, 20).await;
    sink.expect(&lines.concat()).await;
    assert!(start.elapsed() >= ms(60), "{:?}", start.elapsed());
    assert_eq!(link.lift(fault), 21);
}

#[tokio::test]
async fn what_is_under_way_arrives_when_the_delay_ends() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    let hour = Duration::from_hours(1);
    let fault = link.inflict(Effect::Delay { by: hour..=hour }, 1);
    stream.write_all(b"slow\n").await.unwrap();
    bites(&link, fault, 1).await;
    link.lift(fault);
    sink.expect("slow\n").await;
}

#[tokio::test]
async fn dropped_frames_vanish_whole_and_the_hello_never() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Drop { percent: 50 }, 7);
    let lines = say(&mut stream, &mut sink, 200).await;
    until(&link, "all lines", |link| link.traffic().lines + link.traffic().lines_dropped == 201)
        .await;
    let dropped = link.lift(fault);
    assert!((50..150).contains(&dropped), "{dropped}");
    stream.write_all(b"end\n").await.unwrap();
    let received = sink.until("end\n").await;
    let mut sent = lines.iter();
    let arrived: Vec<&str> =
        received.split_inclusive('\n').filter(|line| *line != "end\n").collect();
    assert!(arrived.iter().all(|line| sent.any(|other| other == line)), "{received}");
    assert_eq!(u64::try_from(arrived.len()).unwrap() + dropped, 200);
}

#[tokio::test]
async fn same_seed_drops_the_same_frames() {
    let mut outcomes = Vec::new();
    for seed in [3, 3, 4] {
        let (link, mut sink, mut stream) = linked().await;
        link.inflict(Effect::Drop { percent: 50 }, seed);
        say(&mut stream, &mut sink, 100).await;
        until(&link, "lines", |link| link.traffic().lines + link.traffic().lines_dropped == 101)
            .await;
        link.heal();
        stream.write_all(b"end\n").await.unwrap();
        outcomes.push(sink.until("end\n").await);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

#[tokio::test]
async fn doubled_frames_arrive_twice() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Duplicate { percent: 100, after: ms(1)..=ms(30) }, 1);
    let lines = say(&mut stream, &mut sink, 20).await;
    bites(&link, fault, 20).await;
    stream.write_all(b"end\n").await.unwrap();
    link.lift(fault);
    let received = sink.until("end\n").await;
    for line in &lines {
        assert_eq!(received.matches(line.as_str()).count(), 2, "{line} of {received}");
    }
}

#[tokio::test]
async fn overtaken_frames_arrive_once_and_late() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Reorder { percent: 30, by: ms(5)..=ms(20) }, 1);
    let lines = say(&mut stream, &mut sink, 50).await;
    until(&link, "all lines", |link| link.traffic().lines == 51).await;
    let overtaken = link.lift(fault);
    stream.write_all(b"end\n").await.unwrap();
    let received = sink.until("end\n").await;
    let mut arrived: Vec<&str> =
        received.split_inclusive('\n').filter(|line| *line != "end\n").collect();
    assert_ne!(arrived, lines);
    let mut sent: Vec<&str> = lines.iter().map(String::as_str).collect();
    arrived.sort_unstable();
    sent.sort_unstable();
    assert_eq!(arrived, sent);
    assert!(overtaken > 0);
}

#[tokio::test]
async fn held_frames_are_let_go_in_order_when_the_fault_ends() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Hold { release: Release::InOrder }, 1);
    let lines = say(&mut stream, &mut sink, 10).await;
    bites(&link, fault, 10).await;
    assert_eq!(link.traffic().lines, 1, "only the hello has arrived");
    assert_eq!(link.lift(fault), 10);
    sink.expect(&lines.concat()).await;
    stream.write_all(b"after\n").await.unwrap();
    sink.expect("after\n").await;
}

#[tokio::test]
async fn held_frames_arrive_on_the_next_connection_after_its_hello() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Hold { release: Release::AfterReconnect }, 1);
    let lines = say(&mut stream, &mut sink, 10).await;
    bites(&link, fault, 10).await;
    link.lift(fault);
    let read = stream.read(&mut [0; 1]).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut again = TcpStream::connect(link.address()).await.unwrap();
    again.write_all(b"hello again\n").await.unwrap();
    sink.expect(&format!("hello again\n{}", lines.concat())).await;
}

#[tokio::test]
async fn frames_of_another_data_directory_are_thrown_away() {
    let hello = |n: u64| format!("0 {{\"hello\":{{\"incarnation\":{n}}}}}\n");
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Hold { release: Release::AfterReconnect }, 1);
    stream.write_all(format!("{}old\n", hello(1)).as_bytes()).await.unwrap();
    sink.expect(&hello(1)).await;
    bites(&link, fault, 1).await;
    link.lift(fault);
    let mut again = TcpStream::connect(link.address()).await.unwrap();
    again.write_all(hello(2).as_bytes()).await.unwrap();
    sink.expect(&hello(2)).await;
    let mut third = TcpStream::connect(link.address()).await.unwrap();
    third.write_all(format!("{}end\n", hello(1)).as_bytes()).await.unwrap();
    sink.expect(&format!("{}end\n", hello(1))).await;
}

#[tokio::test]
async fn corrupt_frames_differ_in_one_bit_and_stay_lines() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Corrupt { percent: 100 }, 1);
    let sent: Vec<u8> = (0..100).flat_map(|n| format!("{n:08}\n").into_bytes()).collect();
    stream.write_all(&sent).await.unwrap();
    bites(&link, fault, 100).await;
    let received = sink.bytes(sent.len()).await;
    let lines = sent.split(|byte| *byte == b'\n').zip(received.split(|byte| *byte == b'\n'));
    for (sent, received) in lines.take(100) {
        let bits: u32 = sent.iter().zip(received).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((sent.len(), bits), (received.len(), 1), "{received:?}");
    }
}

#[tokio::test]
async fn slow_line_throttles() {
    let (link, mut sink, mut stream) = linked().await;
    let fault = link.inflict(Effect::Rate { bytes_per_second: 2000 }, 1);
    let start = Instant::now();
    let lines = say(&mut stream, &mut sink, 40).await.concat();
    sink.expect(&lines).await;
    let least = Duration::from_millis(u64::try_from(lines.len()).unwrap() / 2);
    assert!(start.elapsed() >= least, "{:?} of {least:?}", start.elapsed());
    assert!(link.lift(fault) >= 300);
}

#[tokio::test]
async fn reset_connections_are_reset_and_new_ones_too() {
    let (link, _sink, stream) = linked().await;
    let fault = link.inflict(Effect::Reset { after: ms(5)..=ms(10) }, 1);
    crate::proxy::is_reset(stream).await;
    crate::proxy::is_reset(TcpStream::connect(link.address()).await.unwrap()).await;
    assert_eq!(link.lift(fault), 2);
}

#[tokio::test]
async fn half_open_connection_swallows_until_the_fault_ends() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    let fault = link.inflict(Effect::HalfOpen { left: End::Dialler, after: ms(1)..=ms(1) }, 1);
    bites(&link, fault, 1).await;
    stream.write_all(b"nobody hears this\n").await.unwrap();
    until(&link, "swallowed", |link| link.traffic().bytes_dropped == 18).await;
    assert_eq!(link.lift(fault), 1);
    crate::proxy::is_reset(stream).await;
}

#[tokio::test]
async fn slowly_closed_connection_ends_for_the_dialler_first() {
    let (link, mut sink, mut stream) = linked().await;
    stream.write_all(b"hello\n").await.unwrap();
    sink.expect("hello\n").await;
    let hour = Duration::from_hours(1);
    let fault = link.inflict(Effect::SlowClose { after: ms(1)..=ms(1), by: hour..=hour }, 1);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "closed in the ordinary way");
    assert_eq!(sink.ended(), 0);
    assert_eq!(link.lift(fault), 1);
    until(&link, "its end", |_| sink.ended() == 1).await;
}
