//! Listeners: accept peers, start their sessions, and end them when the station stops.

use super::files::Share;
use crate::config::{Carrier, Listener};
use crate::limits;
use crate::link::mqtt::{Broker, Options, Watch};
use crate::link::{self, Coap, Datagrams, Identity, Link, NotAccepted, SecureListener, canonical};
use crate::session::registry::Doorbell;
use crate::session::{self, Door, Services};
use anyhow::Context as _;
use rustc_hash::FxHashMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// All listeners of a station.
pub(super) struct Doors {
    tasks: JoinSet<()>,
    share: Share,
    /// Open files for connections of devices.
    files: Arc<Semaphore>,
    guests: Arc<Guests>,
    /// Connections to brokers: sessions speak through them to their end.
    calls: JoinSet<()>,
    brokers: Vec<Watch>,
}

/// Sessions that run, and the bell of each.
#[derive(Default)]
struct Guests {
    bells: Mutex<(u64, FxHashMap<u64, Arc<Doorbell>>)>,
    left: tokio::sync::Notify,
}

impl Doors {
    pub fn new(share: Share) -> Self {
        Self {
            tasks: JoinSet::new(),
            share,
            files: Arc::new(Semaphore::new(share.devices)),
            guests: Arc::default(),
            calls: JoinSet::new(),
            brokers: Vec::new(),
        }
    }

    /// Opens one listener and starts accepting. `None`: it calls somebody, and has no address.
    pub async fn open(
        &mut self,
        services: &Arc<Services>,
        listener: &Listener,
        door: &Arc<Door>,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let entrance = Entrance {
            services: services.clone(),
            door: door.clone(),
            guests: self.guests.clone(),
            room: Arc::new(Semaphore::new(listener.connections_max)),
            files: self.files.clone(),
        };
        let cannot_listen = |at: SocketAddr| {
            let name = &listener.name;
            move || format!("listener `{name}` cannot listen on {at}: choose a free address in the configuration")
        };
        let address = match &listener.carrier {
            Carrier::Tcp(bind) => {
                let socket = link::bind_stream(*bind).with_context(cannot_listen(*bind))?;
                let address = socket.local_addr()?;
                self.tasks.spawn(entrance.streams(socket, stopped));
                address
            }
            Carrier::Tls(bind, files) => {
                let identity =
                    Identity::open(files.clone()).with_context(|| format!("listener `{}`", listener.name))?;
                let socket = link::bind_stream(*bind).with_context(cannot_listen(*bind))?;
                let address = socket.local_addr()?;
                let socket = SecureListener::new(&listener.name, socket, identity, self.share.handshakes);
                self.tasks.spawn(entrance.secured(socket, stopped));
                address
            }
            Carrier::Mqtt(options) => {
                let broker = Broker::call(Options::clone(options), &mut self.calls)
                    .with_context(|| format!("listener `{}`", listener.name))?;
                services.metrics.follow_broker(&door.name, broker.watch());
                self.brokers.push(broker.watch());
                self.tasks.spawn(entrance.messages(broker, stopped));
                return Ok(None);
            }
            Carrier::Udp(bind) => {
                let socket = Datagrams::bind(*bind).await.with_context(cannot_listen(*bind))?;
                let address = socket.local_addr()?;
                services.metrics.follow_dropped(&door.name, socket.dropped());
                self.tasks.spawn(entrance.datagrams(socket, stopped));
                address
            }
            Carrier::Coap(bind, options) => {
                let socket = Coap::bind(*bind, options.clone()).await.with_context(cannot_listen(*bind))?;
                let address = socket.local_addr()?;
                services.metrics.follow_dropped(&door.name, socket.dropped());
                services.metrics.follow_coap(&door.name, socket.counts());
                self.tasks.spawn(entrance.requests(socket, stopped));
                address
            }
        };
        Ok(Some(address))
    }

    /// Asks every session to finish and waits for them, at most `DRAIN_TIMEOUT`.
    pub async fn drain(&mut self) {
        // A message that comes now is for the next run.
        self.brokers.iter().for_each(Watch::stop);
        self.tasks.shutdown().await;
        let all_left = async {
            loop {
                let left = self.guests.left.notified();
                if self.guests.ring_all() == 0 {
                    return;
                }
                left.await;
            }
        };
        let _ = tokio::time::timeout(limits::DRAIN_TIMEOUT, all_left).await;
        self.brokers.iter().for_each(Watch::hang_up);
        let hung_up = async { while self.calls.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limits::LINGER, hung_up).await;
        self.calls.shutdown().await;
    }
}

impl Guests {
    fn enter(&self, bell: Arc<Doorbell>) -> u64 {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.0 += 1;
        let number = bells.0;
        bells.1.insert(number, bell);
        number
    }

    fn leave(&self, number: u64) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number);
        self.left.notify_one();
    }

    /// How many there are to hear it.
    fn ring_all(&self) -> usize {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.1.values().for_each(|bell| bell.drain());
        bells.1.len()
    }
}

/// One listener's way from a new peer to a session.
pub(super) struct Entrance {
    pub services: Arc<Services>,
    pub door: Arc<Door>,
    guests: Arc<Guests>,
    room: Arc<Semaphore>,
    files: Arc<Semaphore>,
}

impl Entrance {
    async fn streams(self, socket: tokio::net::TcpListener, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Replies are whole frames; waiting to fill a packet only delays a device that sleeps soon.
                    let _ = stream.set_nodelay(true);
                    self.start(Link::Stream(stream), canonical(peer));
                }
                Err(error) => pause_after(&self.door.name, &error).await,
            }
        }
    }

    async fn secured(self, mut socket: SecureListener, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((secured, peer)) => self.start(Link::Tls(secured), canonical(peer)),
                Err(NotAccepted::Socket(error)) => pause_after(&self.door.name, &error).await,
                Err(NotAccepted::Handshake(peer, error)) => {
                    let peer = canonical(peer);
                    tracing::debug!(listener = %self.door.name, %peer, %error, "TLS handshake failed");
                    self.services.metrics.handshake_failed(&self.door.name);
                }
            }
        }
    }

    async fn datagrams(self, mut socket: Datagrams, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((inbound, peer)) => self.start(Link::Datagram(inbound), canonical(peer)),
                Err(error) => pause_after(&self.door.name, &error).await,
            }
        }
    }

    async fn requests(self, mut socket: Coap, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((requests, peer)) => self.start(Link::Coap(Box::new(requests)), canonical(peer)),
                Err(error) => pause_after(&self.door.name, &error).await,
            }
        }
    }

    /// A place among the listener's sessions, and an open file where the peer takes one.
    fn room_for(&self, link: &Link) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let place = self.room.clone().try_acquire_owned().ok()?;
        if link.is_datagram() {
            return Some((place, None));
        }
        Some((place, Some(self.files.clone().try_acquire_owned().ok()?)))
    }

    /// No room: the connection is closed at once, and the device comes back later by its own rules.
    pub fn start(&self, link: Link, peer: impl Display + Send + 'static) {
        let Some(room) = self.room_for(&link) else {
            self.services.metrics.connection_refused(&self.door.name);
            return;
        };
        let bell = Arc::new(Doorbell::default());
        let guest = Guest { number: self.guests.enter(bell.clone()), guests: self.guests.clone() };
        let (services, door) = (self.services.clone(), self.door.clone());
        // Boxed: the runtime moves a task's future about, and this one is some kilobytes.
        tokio::spawn(Box::pin(async move {
            let _room = room;
            let _guest = guest;
            let closing = session::serve(services, door, link, peer.to_string(), bell).await;
            tracing::trace!(%peer, reason = closing.name(), "session ended");
        }));
    }
}

/// Leaves even when its session panics.
struct Guest {
    number: u64,
    guests: Arc<Guests>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.leave(self.number);
    }
}

/// Out of files or memory: accepting on would only spin.
async fn pause_after(listener: &str, error: &io::Error) {
    tracing::warn!(listener, %error, "accepting failed; if this goes on, raise the limit of open files");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
