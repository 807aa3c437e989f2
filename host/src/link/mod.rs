//! Sockets to bytes: one `Link` per peer, whatever carries it.
//!
//! A link reads into a bounded buffer and writes whole frames; it knows no frames and no devices. An idle link holds no
//! buffer of its own, so that ten thousand sleeping connections stay small.

pub mod coap;
mod datagram;
mod dial;
pub mod files;
pub mod mqtt;
pub mod tls;

pub use coap::Coap;
pub use datagram::{Datagrams, Inbound};
pub use dial::{Answer, Dialled};
pub use tls::{Identity, NotAccepted, SecureListener};

use crate::limits;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// A peer's bytes, both ways.
#[derive(Debug)]
pub enum Link {
    Stream(TcpStream),
    Tls(Box<tls::Secured>),
    Datagram(Inbound),
    Coap(Box<coap::Requests>),
    Mqtt(Box<mqtt::Topic>),
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// So many bytes more in the buffer.
    Bytes(usize),
    /// The peer has closed.
    Closed,
    /// What came is in the buffer as it came: the transport finds no frames in it, and says why.
    Unreadable(&'static str),
}

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::READ_BYTES_MAX].into());
}

impl Link {
    /// Waits for bytes and appends them to the buffer, at most `READ_BYTES_MAX` at a time. Cancel-safe.
    pub async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        match self {
            Self::Stream(stream) => match poll_fn(|cx| poll_read(stream, cx, buffer)).await? {
                0 => Ok(Received::Closed),
                n => Ok(Received::Bytes(n)),
            },
            Self::Tls(stream) => match poll_fn(|cx| poll_read(&mut **stream, cx, buffer)).await? {
                0 => Ok(Received::Closed),
                n => Ok(Received::Bytes(n)),
            },
            Self::Datagram(inbound) => inbound.receive(buffer).await,
            Self::Coap(requests) => requests.receive(buffer).await,
            Self::Mqtt(topic) => topic.receive(buffer).await,
        }
    }

    /// Appends what has come by now, as `receive` would, without waiting. A request or a message waits for its turn.
    pub async fn receive_at_hand(&mut self, buffer: &mut Vec<u8>) {
        // An end or an error is there to be found by whoever waits for more.
        let _ = match self {
            Self::Stream(stream) => poll_fn(|cx| Poll::Ready(poll_read(stream, cx, buffer))).await,
            Self::Tls(stream) => poll_fn(|cx| Poll::Ready(poll_read(&mut **stream, cx, buffer))).await,
            Self::Datagram(inbound) => inbound.receive_at_hand(buffer),
            Self::Coap(_) | Self::Mqtt(_) => Poll::Pending,
        };
    }

    /// Sends all of it, or fails after `WRITE_TIMEOUT`.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                // The common case is one write into an empty socket buffer: no timer for that.
                let sent = match stream.try_write(bytes) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(e) => return Err(e),
                };
                if sent == bytes.len() {
                    return Ok(());
                }
                tokio::time::timeout(limits::WRITE_TIMEOUT, stream.write_all(&bytes[sent..]))
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            Self::Tls(stream) => {
                let sending = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                };
                tokio::time::timeout(limits::WRITE_TIMEOUT, sending)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            Self::Datagram(inbound) => inbound.send(bytes).await,
            Self::Coap(requests) => requests.send(bytes),
            Self::Mqtt(topic) => topic.send(bytes),
        }
    }

    /// Says that nothing more comes, and gives the peer a moment to close first, so that what was sent is not lost to a
    /// reset.
    pub async fn finish(&mut self) {
        match self {
            Self::Stream(stream) => part(stream).await,
            Self::Tls(stream) => part(&mut **stream).await,
            Self::Datagram(_) | Self::Coap(_) | Self::Mqtt(_) => {}
        }
    }

    /// Everything that was received is durable. Asking for more says the same; this is for a session that asks for no more.
    /// A transport with acknowledgements of its own gives them now, and never for what was not kept.
    pub fn kept(&mut self) {
        match self {
            Self::Stream(_) | Self::Tls(_) | Self::Datagram(_) => {}
            Self::Coap(requests) => requests.kept(),
            Self::Mqtt(topic) => topic.kept(),
        }
    }

    /// The device's address as the transport tells it, where the configuration lets that count.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Mqtt(topic) => topic.address(),
            _ => None,
        }
    }

    /// Whether bytes come in pieces that are whole: a frame never goes on in the next one.
    pub fn is_datagram(&self) -> bool {
        !matches!(self, Self::Stream(_) | Self::Tls(_))
    }
}

/// Shuts our half of a stream and reads the other to its end, within a bound.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let parting = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut rest, mut ignored) = (0, Vec::new());
        while rest < limits::NOISE_BYTES_MAX {
            match poll_fn(|cx| poll_read(stream, cx, &mut ignored)).await {
                Ok(n) if n > 0 => rest += n,
                _ => return,
            }
            ignored.clear();
        }
    };
    let _ = tokio::time::timeout(limits::LINGER, parting).await;
}

/// Reads through the thread's scratch. A read that did not fill it has emptied the socket, and tokio then waits for the
/// next event instead of asking the kernel once more.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// A peer as everybody writes it: a listener on `[::]` sees `[::ffff:192.0.2.7]` for 192.0.2.7.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, peer.port()),
        IpAddr::V6(_) => peer,
    }
}

/// Binds a stream listener with the backlog that a fleet at midnight needs.
pub fn bind_stream(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::ACCEPT_BACKLOG)?;
    tokio::net::TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_name_on_whatever_listener() {
        for (seen, written) in [
            ("[::ffff:192.0.2.7]:5030", "192.0.2.7:5030"),
            ("192.0.2.7:5030", "192.0.2.7:5030"),
            ("[2001:db8::7]:5030", "[2001:db8::7]:5030"),
            ("[fe80::1%3]:5030", "[fe80::1%3]:5030"),
        ] {
            assert_eq!(canonical(seen.parse().expect("an address")).to_string(), written);
        }
    }
}
