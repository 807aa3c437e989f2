//! UDP: one socket, many peers, each with a short queue of its own.
//!
//! A datagram of an unknown peer opens an inbound queue; the caller starts a session on it. When the session drops its
//! end, the next datagram of that peer opens a new one.

use super::Received;
use crate::limits;
use rustc_hash::FxHashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, error::TrySendError};

/// One peer's datagrams.
#[derive(Debug)]
pub struct Inbound {
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    queue: mpsc::Receiver<Box<[u8]>>,
    dropped: Arc<AtomicU64>,
}

/// All peers of one socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: Arc<UdpSocket>,
    peers: FxHashMap<SocketAddr, mpsc::Sender<Box<[u8]>>>,
    scratch: Box<[u8]>,
    dropped: Arc<AtomicU64>,
}

impl Inbound {
    /// Appends the next datagram, whole.
    pub(super) async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        match self.queue.recv().await {
            Some(datagram) => {
                buffer.extend_from_slice(&datagram);
                Ok(Received::Bytes(datagram.len()))
            }
            None => Ok(Received::Closed),
        }
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, self.peer).await.map(drop)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        // From here on the next datagram opens a new session.
        self.queue.close();
        while self.queue.try_recv().is_ok() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Datagrams {
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(address).await?);
        // What a datagram has beyond the largest frame is cut off; what remains cannot be a frame either.
        let scratch = vec![0; limits::FRAME_BYTES_MAX].into();
        Ok(Self { socket, peers: FxHashMap::default(), scratch, dropped: Arc::default() })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Counts datagrams that were taken off the socket and seen by no session: their queue was full, there were too many
    /// peers, or the session before had just ended. A device repeats what was not answered.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// Takes datagrams off the socket until one opens a new peer. Cancel-safe.
    pub async fn accept(&mut self) -> io::Result<(Inbound, SocketAddr)> {
        loop {
            let (n, peer) = match self.socket.recv_from(&mut self.scratch).await {
                Ok(received) => received,
                // A peer's ICMP "port unreachable" is that peer's affair, not the socket's.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(e) => return Err(e),
            };
            let datagram: Box<[u8]> = self.scratch[..n].into();
            let unsent = match self.peers.get(&peer) {
                Some(queue) => match queue.try_send(datagram) {
                    Ok(()) => continue,
                    Err(TrySendError::Full(_)) => {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    Err(TrySendError::Closed(datagram)) => datagram,
                },
                None => datagram,
            };
            if self.peers.len() >= limits::DATAGRAM_PEERS_MAX {
                self.peers.retain(|_, queue| !queue.is_closed());
                if self.peers.len() >= limits::DATAGRAM_PEERS_MAX {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            let (sender, queue) = mpsc::channel(limits::DATAGRAM_QUEUE_MAX);
            // The queue is empty and its receiver is in our hands.
            let _ = sender.try_send(unsent);
            self.peers.insert(peer, sender);
            let inbound = Inbound { socket: self.socket.clone(), peer, queue, dropped: self.dropped.clone() };
            return Ok((inbound, peer));
        }
    }
}
