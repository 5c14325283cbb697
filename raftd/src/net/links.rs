//! What this node says to other members: one connection to each, dialled again whenever it ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raft_core::types::NodeId;
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Context, Event};
use crate::api;
use crate::codec::{self, PeerHello};

/// How long to wait between attempts, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// How long an attempt may take.
const DIAL_PATIENCE: Duration = Duration::from_millis(500);

/// A connection that lasted this long was a good one: the next attempts start quickly again.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Bytes that stay unacknowledged for this long end the connection. The kernel's own patience with a dead path grows to
/// minutes, and then it would be minutes until members talk again.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);

/// Most of what the other side says before it hangs up on us, bytes: the reason, if it has one.
const LAST_WORDS_BYTES_MAX: usize = 4096;

/// Whom to dial.
#[derive(Clone, Debug)]
pub(crate) struct LinkTo {
    /// The member.
    pub(crate) node: NodeId,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Rung when the member has dialled us: it is up, so dial now.
    pub(crate) bell: Arc<Notify>,
    /// The number of the member's data directory, once it is noted; told in each hello.
    pub(crate) known: Arc<OnceLock<u64>>,
}

/// Keeps a connection to a member, for ever.
pub(crate) async fn keep_link(to: LinkTo, context: Context) -> Infallible {
    let mut retry = RETRY_MIN;
    // The reason that was logged last: each once, not once for each attempt.
    let mut told = None;
    loop {
        let end = match timeout(DIAL_PATIENCE, dial(&to, &context)).await {
            Ok(Ok((reader, writer))) => {
                // Sending fails only when the event loop has ended, and the process with it.
                context.events.send(Event::LinkUp { to: to.node, writer }).await.ok();
                let (was_good, last_words) = hang_on(reader).await;
                if was_good {
                    (retry, told) = (RETRY_MIN, None);
                }
                context.events.send(Event::LinkDown { to: to.node }).await.ok();
                last_words
            }
            Ok(Err(error)) => format!("cannot connect: {error}"),
            Err(_) => format!("cannot connect within {} ms", DIAL_PATIENCE.as_millis()),
        };
        if told.as_ref() != Some(&end) {
            let (node, to, address) = (context.node, to.node, to.address);
            tracing::info!(event = "link_down", node, to, %address, reason = end);
            told = Some(end);
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => retry = (retry * 2).min(RETRY_MAX),
            () = to.bell.notified() => retry = RETRY_MIN,
        }
    }
}

/// Where nobody listens on one of this host's own ephemeral ports, the system may take that very port for our end, and
/// connect it to itself (simultaneous open): it would even keep the member from coming back.
fn check_other_end(stream: &TcpStream) -> io::Result<()> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself"));
    }
    Ok(())
}

async fn dial(to: &LinkTo, context: &Context) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let stream = TcpStream::connect(to.address).await?;
    check_other_end(&stream)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    let (reader, mut writer) = super::split(stream)?;
    let mut line = Vec::new();
    let hello = PeerHello {
        protocol: api::PROTOCOL,
        cluster: context.cluster.to_string(),
        from: context.node,
        to: to.node,
        incarnation: context.incarnation,
        knows: to.known.get().copied(),
        founders: (*context.founders).clone(),
        address: Some(context.address.to_string()),
    };
    codec::encode_hello(&hello, &mut line);
    writer.write_all(&line).await?;
    Ok((reader, writer))
}

/// Waits until the connection ends; whether it was a good one, and why it ended. The other side has nothing to say on it
/// but why it hangs up.
async fn hang_on(mut reader: OwnedReadHalf) -> (bool, String) {
    let mut words = Vec::new();
    let until_end = async {
        while words.len() < LAST_WORDS_BYTES_MAX {
            match reader.read_buf(&mut words).await {
                Ok(1..) => {}
                Ok(0) => break,
                Err(error) => return format!("connection lost: {error}"),
            }
        }
        match serde_json::from_slice::<api::Response>(&words) {
            Ok(api::Response { error: Some(error), .. }) => format!("refused: {}", error.message),
            Ok(_) | Err(_) => "connection closed".to_owned(),
        }
    };
    let mut until_end = std::pin::pin!(until_end);
    match timeout(GOOD_AFTER, &mut until_end).await {
        Ok(end) => (false, end),
        Err(_) => (true, until_end.await),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn connection_to_itself_is_refused_and_any_other_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        check_other_end(&stream).unwrap();
        // What the system does by chance is done on purpose here.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        let error = check_other_end(&stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
