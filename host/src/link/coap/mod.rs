//! CoAP over UDP, as NB-IoT meters speak it: a POST or PUT carries frames, its answer what the station has to say to them.
//!
//! `message` is the wire, `book` the rules, and here are the sockets. A session sees bytes. All that it says while it
//! deals with a request becomes that request's answer; what it says later is a POST of the station's own to the peer, or
//! waits for the peer's next request where peers take none.

mod book;
mod message;

use crate::limits;
use crate::link::Received;
use book::{Book, Event, Heard};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

/// How a listener speaks CoAP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where devices send to; `None`: anywhere.
    pub path: Option<String>,
    /// Where devices take what the station sends.
    pub downlink_path: String,
    pub downlink: Downlink,
}

/// What happens to bytes that answer nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Downlink {
    /// A confirmable POST to the device.
    #[default]
    Post,
    /// They wait for the device's next request, and go out with its answer.
    Reply,
}

/// All peers of one socket.
#[derive(Debug)]
pub struct Coap {
    shared: Arc<Shared>,
    sessions: FxHashMap<SocketAddr, mpsc::Sender<Event>>,
    scratch: Box<[u8]>,
}

/// One peer, as its session sees it.
#[derive(Debug)]
pub struct Requests {
    shared: Arc<Shared>,
    peer: SocketAddr,
    queue: mpsc::Receiver<Event>,
    /// The request that is being dealt with.
    open: Option<u16>,
    /// What it will be answered, or what waits for the next one.
    answer: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    book: Mutex<Book>,
    downlink: Downlink,
    /// What sessions had not dealt with when they ended: it begins the next one of its peer.
    left: Mutex<VecDeque<(SocketAddr, Event)>>,
    /// Something has to be repeated, or to be handed over, sooner than the listener expects.
    sooner: Notify,
    dropped: Arc<AtomicU64>,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // The book's steps do not panic half-way; if one does, a peer's exchange is lost and no more.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<(SocketAddr, Event)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not fit the kernel's buffer is lost on the way like any datagram, and is asked for again.
    fn say(&self, peer: SocketAddr, datagram: Option<Vec<u8>>) {
        if let Some(datagram) = datagram {
            let _ = self.socket.try_send_to(&datagram, peer);
        }
    }
}

impl Coap {
    pub async fn bind(address: SocketAddr, options: Options) -> io::Result<Self> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let downlink = options.downlink;
        let shared = Shared {
            socket: UdpSocket::bind(address).await?,
            book: Mutex::new(Book::new(options, secret)),
            downlink,
            left: Mutex::default(),
            sooner: Notify::new(),
            dropped: Arc::default(),
        };
        // One byte more than the largest message that can be of use: what fills it was cut off.
        let scratch = vec![0; limits::FRAME_BYTES_MAX + limits::COAP_OVERHEAD_BYTES + 1].into();
        Ok(Self { shared: Arc::new(shared), sessions: FxHashMap::default(), scratch })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Requests that no session has seen: too many peers, or too many requests of one. Their repetitions are heard anew.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.shared.dropped.clone()
    }

    /// How many messages were refused, and how many requests came again, so far.
    pub fn counts(&self) -> impl Fn() -> (u64, u64) + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || {
            let book = shared.book();
            (book.rejected, book.repeated)
        }
    }

    /// Deals with datagrams and with what is due, until one opens a new peer. Cancel-safe.
    pub async fn accept(&mut self) -> io::Result<(Requests, SocketAddr)> {
        loop {
            let left = self.shared.left().pop_front();
            if let Some((peer, event)) = left {
                // The session that left it is over.
                if self.sessions.get(&peer).is_some_and(mpsc::Sender::is_closed) {
                    self.sessions.remove(&peer);
                }
                if let Some(requests) = self.hand_over(peer, event) {
                    return Ok((requests, peer));
                }
                continue;
            }
            let due = self.shared.book().due();
            let at = due.unwrap_or_else(|| Instant::now() + limits::COAP_EXCHANGE_LIFETIME);
            let (bytes, peer) = tokio::select! {
                received = self.shared.socket.recv_from(&mut self.scratch) => match received {
                    Ok(received) => received,
                    // A peer's ICMP "port unreachable" is that peer's affair, not the socket's.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(e) => return Err(e),
                },
                () = tokio::time::sleep_until(at) => {
                    self.tick();
                    continue;
                }
                () = self.shared.sooner.notified() => continue,
            };
            let Heard { send, event } = self.shared.book().hear(peer, &self.scratch[..bytes], Instant::now());
            for datagram in send {
                self.shared.say(peer, Some(datagram));
            }
            if let Some(requests) = event.and_then(|event| self.hand_over(peer, event)) {
                return Ok((requests, peer));
            }
        }
    }

    fn tick(&mut self) {
        let due = self.shared.book().tick(Instant::now());
        for (peer, datagram) in due.send {
            self.shared.say(peer, Some(datagram));
        }
        for peer in due.gone {
            self.hand_over(peer, Event::Gone);
        }
    }

    /// Gives an event to its peer's session; a new one if there is none.
    fn hand_over(&mut self, peer: SocketAddr, event: Event) -> Option<Requests> {
        let Some(queue) = self.sessions.get(&peer) else { return self.begin(peer, event) };
        let event = match queue.try_send(event) {
            Ok(()) => return None,
            Err(TrySendError::Full(event)) => {
                self.pass_over(peer, &event);
                return None;
            }
            Err(TrySendError::Closed(event)) => event,
        };
        self.sessions.remove(&peer);
        // After what that session has left.
        self.shared.left().push_back((peer, event));
        None
    }

    fn begin(&mut self, peer: SocketAddr, event: Event) -> Option<Requests> {
        if event == Event::Gone {
            return None;
        }
        if self.sessions.len() >= limits::DATAGRAM_PEERS_MAX {
            self.sessions.retain(|_, queue| !queue.is_closed());
            if self.sessions.len() >= limits::DATAGRAM_PEERS_MAX {
                self.pass_over(peer, &event);
                return None;
            }
        }
        let (sender, queue) = mpsc::channel(limits::COAP_QUEUE_MAX);
        // The queue is empty and its receiver is in our hands.
        let _ = sender.try_send(event);
        self.sessions.insert(peer, sender);
        Some(Requests { shared: self.shared.clone(), peer, queue, open: None, answer: Vec::new() })
    }

    fn pass_over(&self, peer: SocketAddr, event: &Event) {
        self.shared.dropped.fetch_add(1, Relaxed);
        if let Event::Request { id, .. } = event {
            self.shared.book().forget(peer, *id);
        }
    }
}

impl Requests {
    /// Appends the next request's payload, whole. What was received before is answered by then. Cancel-safe.
    pub(in crate::link) async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        self.kept();
        let payload = match self.queue.recv().await {
            Some(Event::Request { id, payload }) => {
                self.open = Some(id);
                payload
            }
            Some(Event::Response { payload }) => payload,
            Some(Event::Gone) => return Ok(Received::Closed),
            // Nobody reads the socket any more: the station stops, and the session's bell says so.
            None => return pending().await,
        };
        buffer.extend_from_slice(&payload);
        Ok(Received::Bytes(payload.len()))
    }

    pub(in crate::link) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.open.is_some() || self.shared.downlink == Downlink::Reply {
            if self.answer.len() + bytes.len() > limits::FRAME_BYTES_MAX {
                return Err(io::Error::other("more than one answer can carry"));
            }
            self.answer.extend_from_slice(bytes);
            return Ok(());
        }
        let posted = self.shared.book().post(self.peer, bytes, Instant::now());
        let datagram = posted.map_err(|_| io::Error::other("too much waits for this peer's acknowledgement"))?;
        self.shared.say(self.peer, datagram);
        self.shared.sooner.notify_one();
        Ok(())
    }

    /// What was received is durable, so it may be answered.
    pub(in crate::link) fn kept(&mut self) {
        if let Some(id) = self.open.take() {
            let answer = std::mem::take(&mut self.answer);
            let datagram = self.shared.book().answer(self.peer, id, &answer, Instant::now());
            self.shared.say(self.peer, datagram);
            self.shared.sooner.notify_one();
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let mut left = self.shared.left();
        // The listener keeps the other end as long as it listens.
        let listens = !self.queue.is_closed();
        // From here on the next request opens a new session, after those that this one has not dealt with.
        self.queue.close();
        let mut refused: Vec<u16> = self.open.take().into_iter().collect();
        while let Ok(event) = self.queue.try_recv() {
            match event {
                event if listens => left.push_back((self.peer, event)),
                Event::Request { id, .. } => {
                    self.shared.dropped.fetch_add(1, Relaxed);
                    refused.push(id);
                }
                Event::Response { .. } | Event::Gone => {}
            }
        }
        drop(left);
        for id in refused {
            let datagram = self.shared.book().refuse(self.peer, id, Instant::now());
            self.shared.say(self.peer, datagram);
        }
        self.shared.sooner.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_a_session_has_not_dealt_with_begins_the_next_in_order() {
        let options = Options { path: None, downlink_path: String::new(), downlink: Downlink::Post };
        let mut station = Coap::bind(([127, 0, 0, 1], 0).into(), options).await.expect("a socket");
        let meter = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        meter.connect(station.local_addr().expect("bound")).await.expect("connected");
        for number in 1..=3 {
            // A confirmable POST without options.
            meter.send(&[0x40, 0x02, 0, number, 0xFF, number]).await.expect("sent");
        }
        let (mut session, _) = station.accept().await.expect("a session");
        while session.queue.len() < 3 {
            assert!(tokio::time::timeout(Duration::from_millis(10), station.accept()).await.is_err(), "one peer");
        }
        for number in 1..=3 {
            let mut payload = Vec::new();
            session.receive(&mut payload).await.expect("received");
            assert_eq!(payload, [number]);
            session.kept();
            if number < 3 {
                drop(session);
                session = station.accept().await.expect("the next session").0;
            }
            let mut answer = [0; 64];
            let length = meter.recv(&mut answer).await.expect("an answer");
            assert_eq!(answer[..length][1..4], [message::CHANGED, 0, number]);
        }
    }
}
