//! The API's door: a bounded number of connections, and none that may sit idle for ever.

use crate::limits;
use crate::link::tls::Secured;
use crate::link::{NotAccepted, SecureListener};
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves until `stopped` says so; requests that are under way then are answered first, within a bound.
pub async fn serve(front: Front, router: Router, stopped: watch::Receiver<bool>) {
    let door = Door { front, room: Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS_MAX)) };
    let service = router.into_make_service_with_connect_info::<Peer>();
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
}

impl Listener for Door {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            // The semaphore is never closed; without room, later clients wait in the kernel's queue.
            let Ok(permit) = self.room.clone().acquire_owned().await else { continue };
            let (wire, peer) = self.front.accept().await;
            return (Guarded::new(wire, permit), peer);
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

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that holds its place, and fails when no byte moves for too long: a client that sends its request
/// letter by letter, or never reads the answer, must not keep others out.
struct Guarded {
    wire: Wire,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(wire: Wire, place: OwnedSemaphorePermit) -> Self {
        Self { wire, idle: Box::pin(tokio::time::sleep(limits::HTTP_IDLE_TIMEOUT)), _place: place }
    }

    /// Passes progress on and restarts the clock; turns waiting beyond the limit into an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.idle.as_mut().reset(Instant::now() + limits::HTTP_IDLE_TIMEOUT);
            return poll;
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_read(cx, buf));
        self.watch(cx, poll)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = on_wire!(self, stream => stream.poll_write(cx, bytes));
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_flush(cx));
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = on_wire!(self, stream => stream.poll_shutdown(cx));
        self.watch(cx, poll)
    }
}
