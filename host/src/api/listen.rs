//! The API's door: a bounded number of connections, of all and of each address, and none that may sit idle for ever.

use crate::limits;
use crate::link::tls::Secured;
use crate::link::{NotAccepted, SecureListener, canonical};
use crate::metrics::Metrics;
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_core::Stream;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who asks, and how far the requests of his connection are.
#[derive(Clone)]
struct Caller {
    peer: Peer,
    turns: Arc<Turns>,
}

#[derive(Default)]
struct Turns {
    /// Odd while a request is under way.
    count: AtomicU32,
    /// The turn whose request has come whole: the next word is the station's.
    whole: AtomicU32,
}

impl Turns {
    fn now(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether the client waits for the station.
    fn is_ours(&self) -> bool {
        let now = self.now();
        !now.is_multiple_of(2) && self.whole.load(Ordering::Relaxed) == now
    }
}

/// Serves so many connections at a time until `stopped` says so; requests that are under way then are answered first, within
/// a bound.
pub async fn serve(front: Front, connections_max: usize, router: Router, stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(connections_max));
    let of_peer_max = limits::HTTP_CONNECTIONS_OF_PEER_MAX.min(connections_max.div_ceil(2));
    let door = Door { front, room, peers: Arc::default(), of_peer_max };
    let router = router.layer(axum::middleware::from_fn(take_turn));
    let service = router.into_make_service_with_connect_info::<Caller>();
    let serving = axum::serve(door, service).with_graceful_shutdown(wait(stopped.clone()));
    let patience = async {
        wait(stopped).await;
        tokio::time::sleep(limits::HTTP_DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        result = serving.into_future() => {
            if let Err(error) = result {
                tracing::error!(%error, "the API stopped serving");
            }
        }
        () = patience => {}
    }
}

/// Tells the connection that a request's head has come whole, and that it has been answered.
async fn take_turn(ConnectInfo(caller): ConnectInfo<Caller>, mut request: Request, next: Next) -> Response {
    let turn = caller.turns.count.fetch_add(1, Ordering::Relaxed) + 1;
    request.extensions_mut().insert(ConnectInfo(caller.peer));
    let request = request.map(|body| {
        let at_end = body.is_end_stream();
        let heard = Heard { body: body.into_data_stream(), turns: caller.turns.clone(), turn };
        // Where nothing more comes it says so by being dropped here.
        if at_end { Body::empty() } else { Body::from_stream(heard) }
    });
    let response = next.run(request).await;
    caller.turns.count.fetch_add(1, Ordering::Relaxed);
    response
}

/// The body of a request; tells when it has come whole, or nobody wants the rest.
struct Heard {
    body: BodyDataStream,
    turns: Arc<Turns>,
    turn: u32,
}

impl Stream for Heard {
    type Item = Result<Bytes, axum::Error>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let part = ready!(Pin::new(&mut self.body).poll_next(cx));
        if part.is_none() {
            self.turns.whole.store(self.turn, Ordering::Relaxed);
        }
        Poll::Ready(part)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.turns.whole.store(self.turn, Ordering::Relaxed);
    }
}

/// A station that is gone without a word has stopped, too.
async fn wait(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Where clients come in.
pub enum Front {
    Plain(TcpListener),
    /// Handshakes that fail are counted.
    Secured(Box<SecureListener>, Metrics),
}

struct Door {
    front: Front,
    room: Arc<Semaphore>,
    peers: Peers,
    of_peer_max: usize,
}

/// Connections by address; as many at most as there are connections.
type Peers = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection's place, among all and among those of its address.
struct Place {
    peers: Peers,
    address: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Place {
    /// `None`: the address has as many as it may.
    fn take(peers: &Peers, address: IpAddr, of_peer_max: usize, room: OwnedSemaphorePermit) -> Option<Self> {
        let mut counts = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= of_peer_max {
            return None;
        }
        *count += 1;
        Some(Self { peers: peers.clone(), address, _room: room })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Listener for Door {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            // The semaphore is never closed; without room, later clients wait in the kernel's queue.
            let Ok(permit) = self.room.clone().acquire_owned().await else { continue };
            let (wire, peer) = self.front.accept().await;
            if let Some(place) = Place::take(&self.peers, canonical(peer).ip(), self.of_peer_max, permit) {
                return (Guarded::new(wire, place), peer);
            }
            tracing::debug!(%peer, "closed at once: its address has as many connections as it may");
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.front {
            Front::Plain(listener) => listener.local_addr(),
            Front::Secured(listener, _) => listener.local_addr(),
        }
    }
}

impl Front {
    async fn accept(&mut self) -> (Wire, SocketAddr) {
        match self {
            Self::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Wire::Plain(stream), peer)
            }
            Self::Secured(listener, metrics) => loop {
                match listener.accept().await {
                    Ok((secured, peer)) => return (Wire::Secured(secured), peer),
                    Err(NotAccepted::Handshake(..)) => metrics.handshake_failed("http"),
                    Err(NotAccepted::Socket(error)) => {
                        tracing::warn!(%error, "accepting clients failed; if this goes on, raise the limit of open files");
                        tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await;
                    }
                }
            },
        }
    }
}

/// A client's bytes.
enum Wire {
    Plain(TcpStream),
    Secured(Box<Secured>),
}

/// The same call on whatever it is.
macro_rules! on_wire {
    ($guarded:ident, $stream:ident => $call:expr) => {
        match &mut $guarded.wire {
            Wire::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Wire::Secured($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self { peer: Peer(canonical(*stream.remote_addr())), turns: stream.io().turns.clone() }
    }
}

/// A connection that holds its place, and fails when the head of a request takes too long or no byte moves for too long: a
/// client that says nothing, sends its request letter by letter or never reads the answer must not keep others out. While
/// the station works on a request it is the station's turn, however long that takes.
struct Guarded {
    wire: Wire,
    clock: Pin<Box<Sleep>>,
    turns: Arc<Turns>,
    /// While the head of a request is awaited: the turn in which that began.
    hearing: Option<u32>,
    _place: Place,
}

/// Where bytes moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
    /// Nowhere: bytes that had been written were pushed on.
    Through,
}

impl Guarded {
    fn new(wire: Wire, place: Place) -> Self {
        let clock = Box::pin(tokio::time::sleep(limits::HTTP_HEAD_TIMEOUT));
        Self { wire, clock, turns: Arc::default(), hearing: Some(0), _place: place }
    }

    /// Passes progress on and restarts the clock; turns waiting beyond the limit into an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, way: Way, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let turn = self.turns.now();
        if self.hearing.is_some_and(|began| began != turn) {
            self.pause();
        }
        if poll.is_ready() {
            match way {
                // More of a head buys no time.
                Way::In if self.hearing.is_some() => {}
                Way::In if turn.is_multiple_of(2) => {
                    self.hearing = Some(turn);
                    self.clock.as_mut().reset(Instant::now() + limits::HTTP_HEAD_TIMEOUT);
                }
                Way::In | Way::Out => self.pause(),
                Way::Through => {}
            }
            return poll;
        }
        while self.clock.as_mut().poll(cx).is_ready() {
            if !self.turns.is_ours() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.pause();
        }
        Poll::Pending
    }

    /// No head is awaited: whatever moves next may take its time.
    fn pause(&mut self) {
        self.hearing = None;
        self.clock.as_mut().reset(Instant::now() + limits::HTTP_IDLE_TIMEOUT);
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_read(cx, buf));
        self.watch(cx, Way::In, poll)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = on_wire!(self, stream => stream.poll_write(cx, bytes));
        self.watch(cx, Way::Out, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_flush(cx));
        self.watch(cx, Way::Through, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_shutdown(cx));
        self.watch(cx, Way::Through, poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as Client;
    use std::time::{Duration, Instant};

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A door on a free port, with one room behind it; it stops with the test.
    fn open() -> (SocketAddr, tokio::runtime::Runtime, watch::Sender<bool>) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let (stop, stopped) = watch::channel(false);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        // Answers after a while, longer than a head may take, where that is asked for.
        let slow = axum::routing::get(|| async {
            tokio::time::sleep(limits::HTTP_HEAD_TIMEOUT + Duration::from_secs(1)).await;
            "late"
        });
        let hello = axum::routing::get(|ConnectInfo(peer): ConnectInfo<Peer>| async move { peer.0.ip().to_string() });
        let router = Router::new().route("/", hello).route("/slow", slow);
        runtime.spawn(serve(Front::Plain(listener), limits::HTTP_CONNECTIONS_MAX, router, stopped));
        (address, runtime, stop)
    }

    /// A client on an address of this machine's own network, 127.0.0.`host`.
    fn client(from: u8, to: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into()).expect("bound");
        socket.connect(&to.into()).expect("connects");
        let client: Client = socket.into();
        client.set_read_timeout(Some(limits::HTTP_IDLE_TIMEOUT / 2)).expect("a timeout");
        client
    }

    /// What comes back, up to so many bytes; empty: the connection was closed.
    fn heard(client: &mut Client) -> String {
        let mut bytes = [0; 4096];
        let count = client.read(&mut bytes).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn one_address_does_not_take_all_the_room() {
        let (address, _runtime, _stop) = open();
        let crowd: Vec<_> = (0..limits::HTTP_CONNECTIONS_OF_PEER_MAX).map(|_| client(2, address)).collect();
        assert_eq!(heard(&mut client(2, address)), "", "one too many is closed at once");
        let begun = Instant::now();
        let mut other = client(3, address);
        other.write_all(ASK).expect("sent");
        let answer = heard(&mut other);
        assert!(answer.ends_with("127.0.0.3"), "{answer}");
        assert!(begun.elapsed() < limits::HTTP_HEAD_TIMEOUT, "served beside the crowd, and not after it");
        drop(crowd);
    }

    /// Lets the connection's time run out; what the next read makes of that, `None`: it gets more time.
    async fn out_of_time(guarded: &mut Guarded) -> Option<io::ErrorKind> {
        guarded.clock.as_mut().reset(tokio::time::Instant::now());
        std::future::poll_fn(|cx| {
            let mut bytes = [0; 16];
            match Pin::new(&mut *guarded).poll_read(cx, &mut ReadBuf::new(&mut bytes)) {
                Poll::Ready(read) => Poll::Ready(read.err().map(|error| error.kind())),
                Poll::Pending if guarded.clock.deadline() > tokio::time::Instant::now() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    #[test]
    fn time_runs_out_for_the_client_and_not_for_the_station() {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let _client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
            let (stream, peer) = listener.accept().await.expect("accepted");
            let room = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("room");
            let place = Place::take(&Peers::default(), peer.ip(), 1, room).expect("a place");
            let mut guarded = Guarded::new(Wire::Plain(stream), place);
            let turns = guarded.turns.clone();
            assert_eq!(out_of_time(&mut guarded).await, Some(io::ErrorKind::TimedOut), "no head");
            turns.count.store(1, Ordering::Relaxed);
            guarded.hearing = None;
            let mut heard = Heard { body: Body::from("half").into_data_stream(), turns: turns.clone(), turn: 1 };
            let mut part = async || std::future::poll_fn(|cx| Pin::new(&mut heard).poll_next(cx)).await;
            assert!(part().await.is_some_and(|part| part.is_ok()));
            assert_eq!(out_of_time(&mut guarded).await, Some(io::ErrorKind::TimedOut), "no more of the body");
            assert!(part().await.is_none());
            for _ in 0..3 {
                assert_eq!(out_of_time(&mut guarded).await, None, "the station works on it");
            }
            turns.count.store(2, Ordering::Relaxed);
            assert_eq!(out_of_time(&mut guarded).await, Some(io::ErrorKind::TimedOut), "the answer is not read");
        });
    }

    #[test]
    fn whoever_does_not_ask_has_to_leave_and_whoever_asked_may_pause() {
        let (address, _runtime, _stop) = open();
        let mut paused = client(5, address);
        paused.write_all(ASK).expect("sent");
        assert!(heard(&mut paused).ends_with("127.0.0.5"));
        let mut waiting = client(5, address);
        waiting.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        // All the room there is.
        let all = |from| (0..limits::HTTP_CONNECTIONS_OF_PEER_MAX).map(move |_| client(from, address));
        let mut silent: Vec<_> = all(2).chain(all(3)).collect();
        for half in silent.iter_mut().step_by(2) {
            half.write_all(b"GET / HTTP/1.1\r\nhost").expect("sent");
        }
        let begun = Instant::now();
        let mut other = client(6, address);
        other.write_all(ASK).expect("sent");
        assert!(heard(&mut other).ends_with("127.0.0.6"));
        assert!(begun.elapsed() < limits::HTTP_HEAD_TIMEOUT * 3, "{:?}", begun.elapsed());
        assert!(heard(&mut waiting).ends_with("late"), "an answer may take longer than a head");
        paused.write_all(ASK).expect("still open");
        assert!(heard(&mut paused).ends_with("127.0.0.5"), "a pause between two requests is longer than a head");
    }
}
