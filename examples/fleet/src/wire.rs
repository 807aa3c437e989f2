//! A meter's connection: bytes out, whole frames in.

use crate::population::Transport;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// Why a communication ended before its end.
#[derive(Debug)]
pub enum Lost {
    /// The station has closed.
    Closed,
    /// Nothing came in time.
    Silence,
    /// It was meant to happen.
    OnPurpose,
    Failed(io::Error),
}

/// Longest frame of any station.
const FRAME_BYTES_MAX: usize = 4 * 1024;
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

enum Link {
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

pub struct Wire {
    link: Link,
    /// Received, not yet cut.
    received: Vec<u8>,
}

impl Wire {
    pub async fn open(transport: Transport, station: SocketAddr, source: Ipv4Addr) -> Result<Self, Lost> {
        let link = match transport {
            Transport::Tcp => {
                let connecting = connect(station, source);
                let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting).await.map_err(|_| Lost::Silence)?;
                Link::Stream(stream.map_err(Lost::Failed)?)
            }
            Transport::Udp => {
                let socket = UdpSocket::bind((source, 0)).await.map_err(Lost::Failed)?;
                socket.connect(station).await.map_err(Lost::Failed)?;
                Link::Datagrams(socket)
            }
        };
        Ok(Self { link, received: Vec::new() })
    }

    pub fn is_datagram(&self) -> bool {
        matches!(self.link, Link::Datagrams(_))
    }

    /// One write, one datagram.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        match &mut self.link {
            Link::Stream(stream) => stream.write_all(bytes).await.map_err(Lost::Failed),
            Link::Datagrams(socket) => socket.send(bytes).await.map(drop).map_err(Lost::Failed),
        }
    }

    /// The next frame of the station, as `cut` finds it. Cancel-safe.
    pub async fn next(&mut self, cut: fn(&[u8]) -> Option<usize>, by: Instant) -> Result<Vec<u8>, Lost> {
        loop {
            if let Some(length) = cut(&self.received).filter(|n| *n > 0 && *n <= self.received.len()) {
                return Ok(self.received.drain(..length).collect());
            }
            if self.received.len() > FRAME_BYTES_MAX {
                return Err(Lost::Failed(io::Error::new(io::ErrorKind::InvalidData, "a frame that never ends")));
            }
            let mut chunk = [0; FRAME_BYTES_MAX];
            let read = match &mut self.link {
                Link::Stream(stream) => timeout_at(by, stream.read(&mut chunk)).await,
                Link::Datagrams(socket) => timeout_at(by, socket.recv(&mut chunk)).await,
            };
            match read {
                Err(_) => return Err(Lost::Silence),
                Ok(Ok(0)) if !self.is_datagram() => return Err(Lost::Closed),
                Ok(Ok(n)) => self.received.extend_from_slice(&chunk[..n]),
                Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => return Err(Lost::Closed),
                Ok(Err(e)) => return Err(Lost::Failed(e)),
            }
        }
    }

    /// Says that nothing more comes, so that what was sent is taken in.
    pub async fn hang_up(&mut self) {
        if let Link::Stream(stream) = &mut self.link {
            // A connection that is gone already is hung up too.
            let _ = stream.shutdown().await;
        }
    }
}

async fn connect(station: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if source != Ipv4Addr::LOCALHOST {
        // Ports of connections that ended a moment ago may be used again.
        socket.set_reuseaddr(true)?;
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(station).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
