//! UDP: one socket, many peers, each with a queue of its own.
//!
//! A datagram of an unknown peer opens an inbound queue; the caller starts a session on it. A session that drops its end
//! hands back what it has not taken, and that opens the peer's next one.

use super::Received;
use crate::limits;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, error::TrySendError};

/// One peer's datagrams.
#[derive(Debug)]
pub struct Inbound {
    shared: Arc<Shared>,
    peer: SocketAddr,
    /// What the session before has not taken, oldest first.
    first: VecDeque<Datagram>,
    queue: mpsc::Receiver<Datagram>,
    back: mpsc::Sender<Rest>,
    /// Somebody has taken one. Who had no room for a session would have none for the next.
    heard: bool,
}

/// All peers of one socket.
#[derive(Debug)]
pub struct Datagrams {
    shared: Arc<Shared>,
    peers: FxHashMap<SocketAddr, Peer>,
    scratch: Box<[u8]>,
    /// Every session that ends says so here, once.
    returned: mpsc::Receiver<Rest>,
    back: mpsc::Sender<Rest>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    queued_bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

/// A peer with a session, until that has handed back the rest.
#[derive(Debug)]
struct Peer {
    queue: mpsc::Sender<Datagram>,
    /// Came after the session had ended, and go behind what it hands back.
    late: VecDeque<Datagram>,
}

/// What a session has not taken.
type Rest = (SocketAddr, VecDeque<Datagram>);

/// Counts among the bytes that wait for as long as it does.
#[derive(Debug)]
struct Datagram {
    bytes: Box<[u8]>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Datagram {
    fn counts_for(bytes: &[u8]) -> usize {
        bytes.len() + limits::DATAGRAM_OVERHEAD_BYTES
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.queued_bytes.fetch_sub(Self::counts_for(&self.bytes), Relaxed);
    }
}

impl Shared {
    /// `None`: too much waits already.
    fn take_in(&self, bytes: &[u8]) -> Option<Datagram> {
        let more = Datagram::counts_for(bytes);
        // Only the one who reads the socket adds, so nobody is between the look and the addition.
        if self.queued_bytes.load(Relaxed) + more > limits::DATAGRAM_QUEUED_BYTES_MAX {
            return None;
        }
        self.queued_bytes.fetch_add(more, Relaxed);
        Some(Datagram { bytes: bytes.into(), queued_bytes: self.queued_bytes.clone() })
    }

    fn count_dropped(&self, datagrams: usize) {
        self.dropped.fetch_add(datagrams as u64, Relaxed);
    }
}

impl Inbound {
    /// Appends the next datagram, whole. Cancel-safe.
    pub(super) async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        let next = match self.first.pop_front() {
            Some(datagram) => Some(datagram),
            None => self.queue.recv().await,
        };
        // Nobody reads the socket any more: the station stops, and the session's bell says so.
        let Some(datagram) = next else { return pending().await };
        Ok(Received::Bytes(self.take(&datagram, buffer)))
    }

    /// Appends the next datagram, whole, if one has come by now.
    pub(super) fn receive_at_hand(&mut self, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self.first.pop_front().or_else(|| self.queue.try_recv().ok()) {
            Some(datagram) => Poll::Ready(Ok(self.take(&datagram, buffer))),
            None => Poll::Pending,
        }
    }

    fn take(&mut self, datagram: &Datagram, buffer: &mut Vec<u8>) -> usize {
        self.heard = true;
        buffer.extend_from_slice(&datagram.bytes);
        datagram.bytes.len()
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.socket.send_to(bytes, self.peer).await.map(drop)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        // From here on datagrams are for the next session.
        self.queue.close();
        let mut rest = std::mem::take(&mut self.first);
        while let Ok(datagram) = self.queue.try_recv() {
            rest.push_back(datagram);
        }
        if !self.heard {
            self.shared.count_dropped(rest.len());
            rest.clear();
        }
        // There is room for a word of every peer; nobody hears it once the station stops.
        if let Err(unsent) = self.back.try_send((self.peer, rest)) {
            let (TrySendError::Full((_, rest)) | TrySendError::Closed((_, rest))) = unsent;
            self.shared.count_dropped(rest.len());
        }
    }
}

impl Datagrams {
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let shared = Arc::new(Shared { socket, queued_bytes: Arc::default(), dropped: Arc::default() });
        // What a datagram has beyond the largest frame is cut off; what remains cannot be a frame either.
        let scratch = vec![0; limits::FRAME_BYTES_MAX].into();
        let (back, returned) = mpsc::channel(limits::DATAGRAM_PEERS_MAX);
        Ok(Self { shared, peers: FxHashMap::default(), scratch, returned, back })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Counts datagrams that were taken off the socket and seen by no session: their queue was full, too much waited on the
    /// socket, there were too many peers, or no room for a session. A device repeats what was not answered.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.shared.dropped.clone()
    }

    /// Takes datagrams off the socket until there is a session to begin. Cancel-safe.
    pub async fn accept(&mut self) -> io::Result<(Inbound, SocketAddr)> {
        loop {
            let begun = tokio::select! {
                // First, so that a peer's next session begins before its queue of late ones grows.
                biased;
                Some((peer, rest)) = self.returned.recv() => self.take_back(peer, rest),
                received = self.shared.socket.recv_from(&mut self.scratch) => match received {
                    Ok((bytes, peer)) => self.hand_over(bytes, peer),
                    // A peer's ICMP "port unreachable" is that peer's affair, not the socket's.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => None,
                    Err(e) => return Err(e),
                },
            };
            if let Some(inbound) = begun {
                let peer = inbound.peer;
                return Ok((inbound, peer));
            }
        }
    }

    /// Gives a datagram to its peer's session; a new one if there is none.
    fn hand_over(&mut self, bytes: usize, peer: SocketAddr) -> Option<Inbound> {
        let datagram = self.shared.take_in(&self.scratch[..bytes]);
        let full = self.peers.len() >= limits::DATAGRAM_PEERS_MAX;
        match (self.peers.get_mut(&peer), datagram) {
            (Some(known), Some(datagram)) => match known.queue.try_send(datagram) {
                Ok(()) => return None,
                // Its session is about to hand back what it has.
                Err(TrySendError::Closed(datagram)) if known.late.len() < limits::DATAGRAM_QUEUE_MAX => {
                    known.late.push_back(datagram);
                    return None;
                }
                Err(_) => {}
            },
            (None, Some(datagram)) if !full => return Some(self.begin(peer, VecDeque::from([datagram]))),
            _ => {}
        }
        self.shared.count_dropped(1);
        None
    }

    /// A session has ended. What is left of its peer's datagrams, in their order, begins the next.
    fn take_back(&mut self, peer: SocketAddr, mut rest: VecDeque<Datagram>) -> Option<Inbound> {
        if let Some(Peer { mut late, .. }) = self.peers.remove(&peer) {
            rest.append(&mut late);
        }
        let too_many = rest.split_off(rest.len().min(limits::DATAGRAM_QUEUE_MAX));
        self.shared.count_dropped(too_many.len());
        (!rest.is_empty()).then(|| self.begin(peer, rest))
    }

    fn begin(&mut self, peer: SocketAddr, first: VecDeque<Datagram>) -> Inbound {
        // It stays as long as the session, and a burst may come after what was handed back is taken.
        let places = limits::DATAGRAM_QUEUE_MAX.saturating_sub(first.len()).max(limits::DATAGRAM_QUEUE_MAX / 2);
        let (sender, queue) = mpsc::channel(places);
        self.peers.insert(peer, Peer { queue: sender, late: VecDeque::new() });
        Inbound { shared: self.shared.clone(), peer, first, queue, back: self.back.clone(), heard: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A station's socket, and one that sends to it.
    async fn both() -> (Datagrams, UdpSocket) {
        let station = Datagrams::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a socket");
        let meter = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        meter.connect(station.local_addr().expect("an address")).await.expect("a peer");
        (station, meter)
    }

    async fn next(inbound: &mut Inbound) -> Vec<u8> {
        let mut buffer = Vec::new();
        inbound.receive(&mut buffer).await.expect("a datagram");
        buffer
    }

    /// Has the socket read until so many bytes wait, though no session begins.
    async fn read_until(station: &mut Datagrams, queued_bytes: usize) {
        while station.shared.queued_bytes.load(Relaxed) < queued_bytes {
            station.shared.socket.readable().await.expect("a socket");
            let one = station.shared.socket.try_recv_from(&mut station.scratch);
            if let Ok((bytes, peer)) = one {
                assert!(station.hand_over(bytes, peer).is_none(), "its session is there");
            }
        }
    }

    const EACH: usize = 1 + limits::DATAGRAM_OVERHEAD_BYTES;

    /// A session for which so many datagrams wait, numbered from 0.
    async fn waiting(station: &mut Datagrams, meter: &UdpSocket, datagrams: u8) -> Inbound {
        meter.send(&[0]).await.expect("sent");
        let (session, _) = station.accept().await.expect("a session");
        for number in 1..datagrams {
            meter.send(&[number]).await.expect("sent");
        }
        read_until(station, usize::from(datagrams) * EACH).await;
        session
    }

    #[tokio::test]
    async fn what_a_session_has_not_taken_begins_the_next_in_order() {
        let (mut station, meter) = both().await;
        let mut session = waiting(&mut station, &meter, 20).await;
        for number in 0..20 {
            assert_eq!(next(&mut session).await, [number]);
            drop(session);
            if number == 5 {
                // One that comes between a session's end and its last word goes to the end of the queue.
                meter.send(&[20]).await.expect("sent");
                read_until(&mut station, 15 * EACH).await;
            }
            (session, _) = station.accept().await.expect("the next session");
        }
        assert_eq!(next(&mut session).await, [20]);
        drop(session);
        assert_eq!(station.shared.queued_bytes.load(Relaxed), 0);
        assert_eq!(station.dropped().load(Relaxed), 0);
        meter.send(&[21]).await.expect("sent");
        let (mut session, _) = station.accept().await.expect("a session");
        assert_eq!(next(&mut session).await, [21]);
        assert_eq!(station.peers.len(), 1);
    }

    #[tokio::test]
    async fn what_is_at_hand_is_taken_one_by_one_in_order() {
        let (mut station, meter) = both().await;
        let mut session = waiting(&mut station, &meter, 4).await;
        // What was handed back comes before what is queued.
        assert_eq!(next(&mut session).await, [0]);
        drop(session);
        let (mut session, peer) = station.accept().await.expect("the next session");
        station.scratch[0] = 4;
        assert!(station.hand_over(1, peer).is_none(), "its session is there");
        let mut buffer = Vec::new();
        for number in 1..5 {
            assert!(session.receive_at_hand(&mut buffer).is_ready());
            assert_eq!(buffer.pop(), Some(number));
            assert!(buffer.is_empty());
        }
        assert!(session.receive_at_hand(&mut buffer).is_pending() && buffer.is_empty());
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_begins_nothing() {
        let (mut station, meter) = both().await;
        meter.send(&[0]).await.expect("sent");
        let (session, peer) = station.accept().await.expect("a session");
        // Nobody has heard it: no room for its session.
        drop(session);
        let (gone, rest) = station.returned.recv().await.expect("its end");
        assert!(gone == peer && rest.is_empty());
        assert!(station.take_back(gone, rest).is_none() && station.peers.is_empty());
        assert_eq!(station.dropped().load(Relaxed), 1);
        // A peer's queue is bounded, and so is what waits for all.
        let mut session = station.hand_over(0, peer).expect("a session");
        for _ in 1..limits::DATAGRAM_QUEUE_MAX {
            assert!(station.hand_over(1, peer).is_none());
        }
        assert_eq!(station.dropped().load(Relaxed), 1);
        assert!(station.hand_over(1, peer).is_none());
        assert_eq!(station.dropped().load(Relaxed), 2);
        assert!(next(&mut session).await.is_empty());
        station.shared.queued_bytes.fetch_add(limits::DATAGRAM_QUEUED_BYTES_MAX, Relaxed);
        let stranger = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(station.hand_over(1, stranger).is_none());
        assert_eq!((station.dropped().load(Relaxed), station.peers.len()), (3, 1));
        // Nobody listens any more.
        drop(station);
        let dropped = session.shared.dropped.clone();
        drop(session);
        assert_eq!(dropped.load(Relaxed), 2 + limits::DATAGRAM_QUEUE_MAX as u64);
    }
}
