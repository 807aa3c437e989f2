//! MQTT: the station as a subscriber of a broker to which gateways and LoRaWAN network servers publish.
//!
//! `pattern` reads topics, `payload` what is in a message, `ledger` knows what the broker may forget, `engine` keeps the
//! connection. A device is a topic: its messages go to one session as those of a UDP peer do, and a message is
//! acknowledged only once it is durable. Whether a message was made durable by an earlier run of the station is not known
//! here: whoever takes messages off the broker can look it up before handing them over.

mod engine;
mod ledger;
mod pattern;
mod payload;

pub use pattern::{Names, Pattern};
pub use payload::{Encoding, Form, Letter};

use super::Received;
use super::files::FilesError;
use crate::limits;
use engine::Shared;
use rustc_hash::FxHashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinSet;

/// Which broker, and how devices are found on it.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    pub host: String,
    pub port: u16,
    /// Under this name the broker keeps what comes while the station is away.
    pub client_id: String,
    pub login: Option<Login>,
    pub up: Pattern,
    pub form: Form,
    /// Where answers and orders go; `None`: nothing is sent.
    pub down: Option<Pattern>,
    pub letter: Letter,
    pub retained: Retained,
    pub address: AddressFrom,
}

impl Options {
    /// The topics, where they say whose a frame is that does not.
    pub fn naming(&self) -> Option<&Pattern> {
        Some(&self.up).filter(|_| self.address == AddressFrom::Topic)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub user: String,
    /// Read at every connection.
    pub password: Option<PathBuf>,
}

/// What the broker has kept for newcomers: somebody's last word, from whenever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retained {
    #[default]
    Ignored,
    Heard,
}

/// Who says what a device's address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFrom {
    /// The frame, as everywhere.
    #[default]
    Frame,
    /// Where the frame says nothing, the level `{device}` of the topic.
    Topic,
}

/// How it stands with a broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerState {
    pub subscribed: bool,
    /// Why not; empty while it is, and before the first attempt has ended.
    pub why: String,
    /// How long it has not been subscribed; nothing while it is.
    pub away: Duration,
    pub connections: u64,
    pub heard: u64,
    pub unreadable: u64,
    /// Sent again by the broker, and known here.
    pub repeated: u64,
    /// Ignored: retained, of a topic that says nothing, or with no acknowledgement owed and no room.
    pub ignored: u64,
}

impl BrokerState {
    /// So long that somebody has to look at it.
    pub fn is_lost(&self) -> bool {
        self.away > limits::MQTT_AWAY_MAX
    }
}

/// The station's side of a broker: where messages come out, and to whom they go.
pub struct Broker {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Message>,
    sessions: FxHashMap<String, mpsc::Sender<Message>>,
}

/// Lets others see a broker's state, and ends its connection.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

/// One message. Dropped without being settled, it is asked for again.
pub struct Message {
    shared: Arc<Shared>,
    /// `None`: the broker wants no acknowledgement.
    id: Option<u64>,
    topic: String,
    names: Names,
    bytes: Vec<u8>,
    /// Why `bytes` is not frames but the payload as it came.
    unreadable: Option<&'static str>,
    repeated: bool,
    connection: u64,
    _room: OwnedSemaphorePermit,
}

/// One device's topic, as its session sees it.
pub struct Topic {
    shared: Arc<Shared>,
    names: Names,
    queue: mpsc::Receiver<Message>,
    in_hand: Option<Message>,
    heard: bool,
}

impl Broker {
    /// Starts calling the broker, and goes on until the task is ended.
    pub fn call(options: Options, tasks: &mut JoinSet<()>) -> Result<Self, FilesError> {
        let (outbox, inbox) = mpsc::channel(2 * limits::MQTT_IN_HAND_MAX);
        let shared = Shared::new(options, outbox)?;
        tasks.spawn(engine::run(shared.clone()));
        Ok(Self { shared, inbox, sessions: FxHashMap::default() })
    }

    pub fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }

    /// Cancel-safe. `None`: never.
    pub async fn next(&mut self) -> Option<Message> {
        self.inbox.recv().await
    }

    /// Gives a message to its device's session; a new one, and the peer's name, if there is none.
    pub fn hand_over(&mut self, message: Message) -> Option<(Topic, String)> {
        let message = match self.sessions.get(&message.topic) {
            Some(queue) => match queue.try_send(message) {
                Ok(()) => return None,
                // There is room for all that may be in hand; still, nothing is lost by asking again.
                Err(TrySendError::Full(_)) => return None,
                Err(TrySendError::Closed(message)) => message,
            },
            None => message,
        };
        if self.sessions.len() >= limits::DATAGRAM_PEERS_MAX {
            self.sessions.retain(|_, queue| !queue.is_closed());
        }
        let (sender, queue) = mpsc::channel(limits::MQTT_IN_HAND_MAX);
        let (shared, names, peer) = (self.shared.clone(), message.names.clone(), message.topic.clone());
        // The queue is empty and its receiver is in our hands.
        let _ = sender.try_send(message);
        self.sessions.insert(peer.clone(), sender);
        Some((Topic { shared, names, queue, in_hand: None, heard: false }, peer))
    }
}

impl Watch {
    pub fn state(&self) -> BrokerState {
        self.0.state()
    }

    /// No message is taken any more; what is in hand may still be settled and answered.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Says goodbye to the broker once everything before is written.
    pub fn hang_up(&self) {
        self.0.hang_up();
    }
}

impl Message {
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// As they go into the journal.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The broker has sent it before, though perhaps not to this run of the station.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Which of the connections to the broker brought it.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// These bytes at its beginning are durable already. `false`: nothing is left, and the broker is told.
    pub fn skip(&mut self, bytes: usize) -> bool {
        self.bytes.drain(..bytes.min(self.bytes.len()));
        if self.bytes.is_empty() {
            self.shared.count_repeated();
            self.settle();
        }
        !self.bytes.is_empty()
    }

    fn settle(&mut self) {
        if let Some(id) = self.id.take() {
            self.shared.settle(id);
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.shared.lose(id);
        }
    }
}

impl Topic {
    /// Appends the next message's frames, whole. What was received before is settled by then. Cancel-safe.
    pub(super) async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        self.kept();
        self.heard = true;
        let Some(message) = self.queue.recv().await else { return Ok(Received::Closed) };
        buffer.extend_from_slice(&message.bytes);
        let received = match message.unreadable {
            Some(why) => Received::Unreadable(why),
            None => Received::Bytes(message.bytes.len()),
        };
        self.in_hand = Some(message);
        Ok(received)
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.publish(&self.names, bytes)
    }

    /// What was received is durable, so the broker may forget it.
    pub(super) fn kept(&mut self) {
        if let Some(mut message) = self.in_hand.take() {
            message.settle();
        }
    }

    /// The address that the topic gives, where it counts.
    pub(super) fn address(&self) -> Option<&str> {
        self.shared.address(&self.names)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // From here on the next message opens a new session. What came too late for this one goes to that; where there
        // was no room for a session at all, the broker sends it again after a while.
        self.queue.close();
        while let Ok(message) = self.queue.try_recv() {
            if self.heard {
                self.shared.give_back(message);
            }
        }
    }
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_lost_when_it_has_been_away_for_long() {
        let away = |away| BrokerState { away, ..BrokerState::default() };
        assert!(!away(Duration::ZERO).is_lost() && !away(limits::MQTT_AWAY_MAX).is_lost());
        assert!(away(limits::MQTT_AWAY_MAX + Duration::from_secs(1)).is_lost());
    }
}
