//! The connection to a broker: made, kept, and made again; a client of its own for each, so that nothing of a broken one
//! is ever said on the next.
//!
//! A message longer than a packet may be would come first on every connection, and end it. So the next connection takes packets
//! of its length; the beginning is kept as unreadable, and the one after takes no more than usual, since a buffer stays as
//! large as it was once needed.

use super::ledger::{Arrival, Content, Ledger, Receipt};
use super::{BrokerState, Message, Names, Options, Retained};
use crate::limits;
use crate::link::files::{self, FilesError};
use rumqttc::{
    AsyncClient, ConnectionError, Event, MqttOptions, Outgoing, Packet, Publish, QoS, StateError, SubscribeReasonCode,
};
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What the connection, the sessions and those who look share.
pub(super) struct Shared {
    options: Options,
    inner: Mutex<Inner>,
    inbox: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    state: BrokerState,
    /// Counts connections, and says which receipts are good.
    connection: u64,
    client: Option<AsyncClient>,
    /// Since when it is not subscribed.
    lost: Option<Instant>,
    /// A packet so long is waiting at the broker.
    long: Option<usize>,
}

/// Why a connection ended.
enum End {
    /// We wanted it.
    HungUp,
    /// The broker wants to give a packet of so many bytes.
    TooLong(usize),
    /// What was too long has been taken.
    Relieved,
    Lost(String),
}

/// Calls the broker again and again.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut pause = limits::MQTT_RETRY_MIN;
    loop {
        // In a task of its own: whatever happens to a client, it is a connection that was lost.
        let mut connection = JoinSet::new();
        connection.spawn(connect(shared.clone()));
        let end = match connection.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(error)) => End::Lost(error.to_string()),
            None => End::HungUp,
        };
        let lasted = shared.disconnected() || matches!(end, End::TooLong(_));
        let why = match end {
            End::HungUp | End::Relieved if shared.stopping.load(Ordering::Acquire) => return,
            End::HungUp => "a message could not be kept; it is asked for again".into(),
            End::TooLong(bytes) => {
                shared.inner().long = Some(bytes);
                format!("a message of {bytes} bytes waits; the next connection takes it")
            }
            End::Relieved => {
                shared.inner().long = None;
                "long messages have been taken; the next connection takes none".into()
            }
            End::Lost(why) => shared.remedied(why),
        };
        tracing::warn!(broker = %shared.name(), %why, "no connection to the broker");
        shared.inner().state.why = why;
        pause = if lasted { limits::MQTT_RETRY_MIN } else { (pause * 2).min(limits::MQTT_RETRY_MAX) };
        tokio::time::sleep(spread(pause)).await;
    }
}

/// Half of it to all of it, so that stations do not come back to a broker in step.
fn spread(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without random numbers they come in step.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause / 2 * u32::from(random[0]) / 255
}

/// One connection, from its beginning to its end.
async fn connect(shared: Arc<Shared>) -> End {
    let options = match shared.clone().client_options().await {
        Ok(options) => options,
        Err(why) => return End::Lost(why),
    };
    let (client, mut events) = AsyncClient::new(options, limits::MQTT_REQUESTS_MAX);
    events.network_options.set_connection_timeout(limits::MQTT_CONNECT_TIMEOUT.as_secs());
    // When the last message came for which this connection takes more than usual, and whether its end was asked for.
    let (mut relieved, mut ending) = (None::<Instant>, false);
    loop {
        if !ending && relieved.is_some_and(|at| at.elapsed() >= limits::MQTT_LONG_FOR) {
            // Acknowledgements that wait go first. Without room for it there is another event soon.
            ending = client.try_disconnect().is_ok();
        }
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                shared.connected(client.clone());
                // The queue is empty.
                let _ = client.try_subscribe(shared.options.up.filter(), QoS::AtLeastOnce);
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    let filter = shared.options.up.filter();
                    return End::Lost(format!(
                        "the broker refuses the subscription to {filter}; allow it for this user"
                    ));
                }
                shared.subscribed();
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if is_long(&publish) {
                    tracing::warn!(topic = %publish.topic, bytes = publish.payload.len(), "a message is too long to be read");
                    relieved = Some(Instant::now());
                }
                shared.take(publish).await;
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) if ending => return End::Relieved,
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return End::HungUp,
            Ok(_) => {}
            Err(ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::PayloadSizeLimitExceeded(
                bytes,
            )))) => return End::TooLong(bytes),
            Err(error) => return End::Lost(error.to_string()),
        }
    }
}

impl Shared {
    pub fn new(options: Options, inbox: mpsc::Sender<Message>) -> Result<Arc<Self>, FilesError> {
        let inner = Inner { lost: Some(Instant::now()), ..Inner::default() };
        let shared = Self {
            options,
            inner: Mutex::new(inner),
            inbox,
            room: Arc::new(Semaphore::new(limits::MQTT_IN_HAND_MAX)),
            stopping: AtomicBool::new(false),
        };
        // A password that cannot be read is told at the start, not only in the log.
        shared.password()?;
        Ok(Arc::new(shared))
    }

    pub fn state(&self) -> BrokerState {
        let inner = self.inner();
        let away = inner.lost.map(|lost| lost.elapsed()).unwrap_or_default();
        BrokerState { away, ..inner.state.clone() }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn hang_up(&self) {
        self.stop();
        if let Some(client) = &self.inner().client {
            let _ = client.try_disconnect();
        }
    }

    pub fn address<'a>(&self, names: &'a Names) -> Option<&'a str> {
        self.options.naming().and_then(|_| names.device())
    }

    /// To the device of that topic. An order that cannot leave now never leaves: it may be too late for it later.
    pub fn publish(&self, names: &Names, bytes: &[u8]) -> io::Result<()> {
        let Some(down) = &self.options.down else { return Ok(()) };
        let inner = self.inner();
        let client = inner.client.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let payload = self.options.letter.write(bytes, names);
        let sent = client.try_publish(down.topic(names), QoS::AtLeastOnce, false, payload);
        sent.map_err(|_| io::Error::other("too much waits for the broker"))
    }

    pub fn settle(&self, id: u64) {
        let mut inner = self.inner();
        for receipt in inner.ledger.settle(id) {
            inner.acknowledge(receipt);
        }
    }

    /// Not durable. The broker sends again what was not acknowledged when it is called again, and only then.
    pub fn lose(&self, id: u64) {
        let mut inner = self.inner();
        inner.ledger.lose(id);
        if !self.stopping.load(Ordering::Acquire)
            && let Some(client) = &inner.client
        {
            let _ = client.try_disconnect();
        }
    }

    /// To another session than that which it came too late for.
    pub fn give_back(&self, message: Message) {
        // There is room for all that may be in hand; if not, the message is lost, and asked for again.
        let _ = self.inbox.try_send(message);
    }

    pub fn count_repeated(&self) {
        self.inner().state.repeated += 1;
    }

    /// Takes up what the broker sends.
    async fn take(self: &Arc<Self>, publish: Publish) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let acknowledged = publish.qos != QoS::AtMostOnce;
        let names = self.options.up.names(&publish.topic);
        let names = names.filter(|_| publish.topic.len() <= limits::MQTT_TOPIC_BYTES_MAX);
        let ignored = publish.retain && self.options.retained == Retained::Ignored;
        let Some(names) = names.filter(|_| !ignored) else { return self.ignore(&publish) };
        let (id, connection) = match self.note(&publish, acknowledged) {
            (Some(Arrival::New(id)), connection) => (Some(id), connection),
            (None, connection) => (None, connection),
            _ => return,
        };
        let Ok(room) = self.room.clone().acquire_owned().await else { return };
        let read = if is_long(&publish) { Err(TOO_LONG) } else { self.options.form.read(&publish.payload) };
        let (bytes, unreadable) = match read {
            Ok(frames) => (frames, None),
            Err(why) => {
                self.inner().state.unreadable += 1;
                let kept = publish.payload.len().min(limits::MQTT_PAYLOAD_BYTES_MAX);
                (publish.payload[..kept].to_vec(), Some(why))
            }
        };
        let (shared, topic) = (self.clone(), publish.topic);
        let repeated = publish.dup;
        let message = Message { shared, id, topic, names, bytes, unreadable, repeated, connection, _room: room };
        // The inbox holds all that there is room for, and its other end lives as long as the doors.
        let _ = self.inbox.send(message).await;
    }

    /// Enters it in the ledger, and acknowledges what is known.
    fn note(&self, publish: &Publish, acknowledged: bool) -> (Option<Arrival>, u64) {
        let mut inner = self.inner();
        inner.state.heard += 1;
        let connection = inner.connection;
        if !acknowledged {
            return (None, connection);
        }
        let receipt = Receipt { connection, number: publish.pkid };
        let arrival = inner.ledger.arrive(content(publish), publish.dup, receipt);
        if arrival == Arrival::Settled {
            inner.acknowledge(receipt);
        }
        inner.state.repeated += u64::from(!matches!(arrival, Arrival::New(_)));
        (Some(arrival), connection)
    }

    fn ignore(&self, publish: &Publish) {
        let mut inner = self.inner();
        inner.state.ignored += 1;
        let receipt = Receipt { connection: inner.connection, number: publish.pkid };
        if publish.qos != QoS::AtMostOnce {
            inner.acknowledge(receipt);
        }
    }

    fn connected(&self, client: AsyncClient) {
        let mut inner = self.inner();
        inner.connection += 1;
        inner.state.connections += 1;
        inner.client = Some(client);
    }

    fn subscribed(&self) {
        let mut inner = self.inner();
        (inner.state.subscribed, inner.state.why) = (true, String::new());
        inner.lost = None;
        tracing::info!(broker = %self.name(), topics = %self.options.up.filter(), "subscribed");
    }

    /// Whether it had come so far as to be of use.
    fn disconnected(&self) -> bool {
        let mut inner = self.inner();
        // A receipt of this connection is good for nothing from here on.
        inner.connection += 1;
        inner.client = None;
        inner.lost = inner.lost.or_else(|| Some(Instant::now()));
        std::mem::take(&mut inner.state.subscribed)
    }

    /// What people can do where a message that is too long stands in the way of all others.
    fn remedied(&self, why: String) -> String {
        let Some(bytes) = self.inner().long else { return why };
        format!(
            "{why}, before a message of {bytes} bytes was taken. If this goes on: keep such messages off the broker \
             (message_size_limit of mosquitto), and have it forget what waits for {}, by a new client_id or one connection \
             with a clean session",
            self.options.client_id
        )
    }

    fn name(&self) -> String {
        format!("{}:{}", self.options.host, self.options.port)
    }

    async fn client_options(self: Arc<Self>) -> Result<MqttOptions, String> {
        let shared = self.clone();
        let password = tokio::task::spawn_blocking(move || shared.password()).await.map_err(|e| e.to_string())?;
        let password = password.map_err(|e| e.to_string())?;
        let chosen = &self.options;
        let mut options = MqttOptions::new(&chosen.client_id, &chosen.host, chosen.port);
        options
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_keep_alive(limits::MQTT_KEEP_ALIVE)
            .set_max_packet_size(self.packet_bytes_max(), limits::MQTT_PACKET_BYTES_MAX);
        if let Some(login) = &chosen.login {
            options.set_credentials(&login.user, password.unwrap_or_default());
        }
        Ok(options)
    }

    /// MQTT itself bounds it: the length has four digits.
    fn packet_bytes_max(&self) -> usize {
        self.inner().long.unwrap_or_default().max(limits::MQTT_PACKET_BYTES_MAX)
    }

    /// Blocks.
    fn password(&self) -> Result<Option<String>, FilesError> {
        let Some(file) = self.options.login.as_ref().and_then(|login| login.password.as_ref()) else { return Ok(None) };
        let bytes = files::read(file, limits::PASSWORD_FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| FilesError::new(file, "not text; write the password, and nothing else".into()))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Of another connection than this, it would name another message.
    fn acknowledge(&self, receipt: Receipt) {
        let Some(client) = self.client.as_ref().filter(|_| receipt.connection == self.connection) else { return };
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = receipt.number;
        // Without room for it the message comes again after the next connection, and is then known.
        let _ = client.try_ack(&publish);
    }
}

const TOO_LONG: &str = "the message is too long to be read; this is its beginning";

/// Whether only a connection that takes more than usual could bring it. Its length on the wire counts topic and number.
fn is_long(publish: &Publish) -> bool {
    publish.topic.len() + publish.payload.len() + 4 > limits::MQTT_PACKET_BYTES_MAX
}

/// Of what is too long to be read, only the beginning is looked at.
fn content(publish: &Publish) -> Content {
    let lengths = [publish.topic.len() as u64, publish.payload.len() as u64].map(u64::to_be_bytes).concat();
    let beginning = &publish.payload[..publish.payload.len().min(limits::MQTT_PACKET_BYTES_MAX)];
    Sha256::new().chain_update(lengths).chain_update(&publish.topic).chain_update(beginning).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Publish {
        let mut message = Publish::new("a/b", QoS::AtLeastOnce, vec![7; bytes]);
        message.pkid = 1;
        message
    }

    #[test]
    fn a_message_is_long_where_a_usual_connection_could_not_bring_it() {
        let most = limits::MQTT_PACKET_BYTES_MAX - "a/b".len() - 4;
        for (bytes, long) in [(0, false), (most, false), (most + 1, true)] {
            assert_eq!(is_long(&message(bytes)), long, "{bytes}");
        }
    }

    #[test]
    fn what_is_too_long_is_still_told_apart() {
        let most = limits::MQTT_PACKET_BYTES_MAX;
        assert_eq!(content(&message(most + 1)), content(&message(most + 1)));
        assert_ne!(content(&message(most + 1)), content(&message(most + 2)));
        assert_ne!(content(&message(1)), content(&message(2)));
    }
}
