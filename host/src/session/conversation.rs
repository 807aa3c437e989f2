//! The driver: waits for bytes, rings and deadlines, and does what the machine says.

use super::cutting::{Chosen, Cut, nobody_takes};
use super::machine::{Action, Closing, Goodbye, Input, Machine};
use super::registry::{Doorbell, Place, Ring};
use super::relay::Behind;
use super::speaking::Speaking;
use super::{Door, Services};
use crate::adapter::Admission;
use crate::journal::FaultKind;
use crate::limits;
use crate::link::{Link, Received};
use crate::model::{Command, Day, DeviceKey, Digest, EndReason, SessionId};
use crate::views::Told;
use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// One peer's conversation, from its first byte to its end.
pub(super) struct Conversation {
    pub services: Arc<Services>,
    pub door: Arc<Door>,
    pub id: SessionId,
    pub peer: String,
    pub link: Link,
    pub bell: Arc<Doorbell>,
    pub machine: Machine,
    alarm: Alarm,
    /// Received, not yet cut.
    pub buffer: Vec<u8>,
    /// What is buffered came while the session was about to end, and nobody has looked at it.
    pub unseen: bool,
    /// The session is over: what had come by then is still read and kept, and answered by nobody.
    pub parting: bool,
    /// The adapters whose frames were kept unread because a newer session had begun.
    pub set_aside: BTreeSet<String>,
    /// Skipped bytes that await their entry.
    pub noise: Vec<u8>,
    pub noise_total: usize,
    /// The adapter's place in the door's list, once it has cut a frame.
    pub sticky: Option<usize>,
    pub speaking: Speaking,
    pub present: Option<Present>,
    /// The adapter's session state, and whose it is.
    pub state: Vec<u8>,
    pub state_of: Option<(Digest, u32)>,
    /// Its state was dropped with the version that had made it: the device has to register anew.
    pub outdated: bool,
    /// The command whose answer is awaited.
    pub in_hand: Option<u64>,
    /// Those behind the device, where it is one that carries others.
    pub behind: Option<Box<Behind>>,
    /// Bytes to send before the next wait.
    pub out: Vec<u8>,
    /// Something was sent.
    pub has_spoken: bool,
}

/// Wakes the session at its deadline. Deadlines move with every frame, nearly always away, so one that has been set is
/// left alone: it may ring early, and is then set anew.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at_ms: i64,
}

impl Alarm {
    fn new(at_ms: i64, now_ms: i64) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(until(at_ms, now_ms))), at_ms }
    }

    fn set(&mut self, at_ms: i64, now_ms: i64) {
        if at_ms < self.at_ms || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(Instant::now() + until(at_ms, now_ms));
            self.at_ms = at_ms;
        }
    }
}

fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis((at_ms - now_ms).max(1) as u64)
}

/// The device at the other end.
pub(super) struct Present {
    pub device: DeviceKey,
    pub memory: Vec<u8>,
    /// It is another version's, put into this one's words, and not durable yet.
    pub taken_over: bool,
    pub admission: Admission,
    /// Where the readings are that it had told before it came.
    pub told: Option<Told>,
    /// The newest day that a daily report of this session brought.
    pub reported: Option<Day>,
    /// Held for as long as the device is here.
    pub _place: Place,
}

/// Serves one peer until its session ends, and says why it did.
pub async fn serve(services: Arc<Services>, door: Arc<Door>, link: Link, peer: String, bell: Arc<Doorbell>) -> Closing {
    let now_ms = services.clock.steady_ms();
    let machine = Machine::new(now_ms, door.command_wait);
    let alarm = Alarm::new(machine.deadline_ms(), now_ms);
    let id = SessionId(services.next_session());
    services.metrics.session_opened();
    services.alive().insert(id.0);
    let mut conversation = Box::new(Conversation {
        services,
        door,
        id,
        peer,
        link,
        bell,
        machine,
        alarm,
        buffer: Vec::new(),
        unseen: false,
        parting: false,
        set_aside: BTreeSet::new(),
        noise: Vec::new(),
        noise_total: 0,
        sticky: None,
        speaking: Speaking::default(),
        present: None,
        state: Vec::new(),
        state_of: None,
        outdated: false,
        in_hand: None,
        behind: None,
        out: Vec::new(),
        has_spoken: false,
    });
    let closing = conversation.run().await;
    conversation.end(closing).await;
    conversation.services.alive().remove(&id.0);
    conversation.services.lifecycle.read_again(std::mem::take(&mut conversation.set_aside));
    closing
}

enum Woken {
    Received(std::io::Result<Received>),
    Ring(Ring),
    Alarm,
}

impl Conversation {
    async fn run(&mut self) -> Closing {
        loop {
            let woken = self.wait().await;
            let done = match woken {
                Woken::Received(Ok(Received::Bytes(_))) => self.on_bytes().await,
                Woken::Received(Ok(Received::Unreadable(why))) => self.on_rest(FaultKind::Corrupt, why, None).await,
                Woken::Received(Ok(Received::Closed)) => Err(Closing::PeerClosed),
                Woken::Received(Err(_)) => Err(Closing::LinkError),
                Woken::Ring(Ring::Command) => self.on_command_waiting().await,
                // Another gateway has heard the device, too. This connection is not the device's, and stays.
                Woken::Ring(Ring::TakenOver) if self.machine.is_one_way() => self.let_go().await,
                Woken::Ring(Ring::TakenOver) => self.feed(Input::TakenOver).await,
                Woken::Ring(Ring::Drain) => self.feed(Input::Draining).await,
                Woken::Alarm if self.services.clock.steady_ms() < self.machine.deadline_ms() => continue,
                Woken::Alarm => self.feed(Input::Tick).await,
            };
            let done = match done {
                Ok(()) => self.flush().await,
                // What was to be said before closing is still said.
                Err(closing) => self.flush().await.and(Err(closing)),
            };
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        self.alarm.set(self.machine.deadline_ms(), self.services.clock.steady_ms());
        let unseen = self.unseen;
        let received =
            async { if unseen { Ok(Received::Bytes(0)) } else { self.link.receive(&mut self.buffer).await } };
        // Bell and alarm first: a peer that never stops talking must not keep them from being heard.
        tokio::select! {
            biased;
            ring = self.bell.wait() => Woken::Ring(ring),
            () = &mut self.alarm.sleep => Woken::Alarm,
            received = received => Woken::Received(received),
        }
    }

    async fn on_bytes(&mut self) -> Result<(), Closing> {
        self.unseen = false;
        let taken = self.take_frames().await;
        self.keep_carried().await.and(taken)?;
        self.feed(Input::Taken { rest: !self.buffer.is_empty() }).await
    }

    /// Whether more has come than was taken: what waits in the socket when the session is about to end has come, too.
    async fn has_come_meanwhile(&mut self) -> bool {
        if self.buffer.is_empty() {
            self.link.receive_at_hand(&mut self.buffer).await;
            self.unseen = !self.buffer.is_empty();
        }
        self.unseen
    }

    /// Takes as many frames off the buffer as there are.
    async fn take_frames(&mut self) -> Result<(), Closing> {
        while !self.buffer.is_empty() && !self.unseen {
            match self.cut_front().await {
                Cut::Frame { bytes, with } => {
                    self.keep_noise(FaultKind::Noise, "bytes between frames").await?;
                    self.turn_to(with.index).await?;
                    let frame: Vec<u8> = self.buffer.drain(..bytes).collect();
                    self.on_frame(&with, frame).await?;
                    if self.outdated {
                        self.keep_carried().await?;
                        self.feed(Input::Draining).await?;
                    }
                }
                Cut::More if !self.link.is_datagram() => return Ok(()),
                Cut::More => return self.on_rest(FaultKind::Corrupt, "the datagram ends inside a frame", None).await,
                Cut::Skip(n) => {
                    self.noise.extend(self.buffer.drain(..n));
                    if self.noise_total + self.noise.len() > limits::NOISE_BYTES_MAX {
                        self.keep_noise(FaultKind::Noise, "too many bytes between frames").await?;
                        return Err(Closing::TooManyFaults);
                    }
                }
                Cut::Foreign => {
                    let detail = nobody_takes(&self.services, &self.door);
                    self.on_rest(FaultKind::Foreign, &detail, None).await?;
                    // On a stream nothing says where the next frame would begin.
                    return if self.link.is_datagram() { Ok(()) } else { Err(Closing::TooManyFaults) };
                }
                Cut::Fault { with, fault } => return self.on_rest(fault.kind, &fault.detail, Some(&with)).await,
            }
        }
        self.keep_noise(FaultKind::Noise, "bytes between frames").await
    }

    /// An adapter has cut a frame. Where it is another one than before, so is the device, and nothing that is kept here is its own.
    async fn turn_to(&mut self, index: usize) -> Result<(), Closing> {
        if self.sticky.is_some_and(|before| before != index) {
            Box::pin(self.let_go()).await?;
            (self.state_of, self.outdated) = (None, false);
        }
        self.sticky = Some(index);
        Ok(())
    }

    /// Keeps all that is buffered as one faulty piece.
    async fn on_rest(&mut self, kind: FaultKind, detail: &str, with: Option<&Chosen>) -> Result<(), Closing> {
        let mut bytes = std::mem::take(&mut self.noise);
        bytes.append(&mut self.buffer);
        self.keep_fault(bytes, kind, detail, with).await?;
        self.feed(Input::Fault).await
    }

    async fn keep_noise(&mut self, kind: FaultKind, detail: &str) -> Result<(), Closing> {
        if self.noise.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.noise);
        self.noise_total += bytes.len();
        self.keep_fault(bytes, kind, detail, None).await?;
        self.feed(Input::Fault).await
    }

    /// Tells the machine what happened and does what it answers, until it has nothing more to say.
    pub(super) async fn feed(&mut self, input: Input) -> Result<(), Closing> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let actions = self.machine.step(&input, self.services.clock.steady_ms());
            if actions.contains(&Action::Close(Closing::Done)) && self.has_come_meanwhile().await {
                self.machine.not_yet();
                continue;
            }
            for action in actions {
                match action {
                    Action::SendNext => inputs.push_back(self.send_next().await?),
                    Action::GiveUpAnswer => self.give_up().await?,
                    Action::SayEnd(goodbye) => self.say_end(goodbye).await?,
                    Action::Close(closing) => return Err(closing),
                }
            }
        }
        Ok(())
    }

    pub(super) async fn say_end(&mut self, goodbye: Goodbye) -> Result<(), Closing> {
        let reason = match goodbye {
            Goodbye::Done => EndReason::Done,
            Goodbye::Busy => EndReason::Busy,
            Goodbye::NotAuthorised => EndReason::NotAuthorised,
        };
        // A protocol without such a frame simply ends.
        if !self.speaks("end-session") {
            return Ok(());
        }
        self.adopt_version_in_force()?;
        // Memory that was taken over becomes durable with a frame, which says whose words it is in; a goodbye does not.
        if self.present.as_ref().is_some_and(|present| present.taken_over) {
            return Ok(());
        }
        if let Ok(encoded) = self.encode(&Command::EndSession { reason }) {
            self.remember(&encoded).await?;
            self.out.extend(encoded.frames.concat());
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), Closing> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        if self.parting {
            return Ok(());
        }
        self.has_spoken = true;
        self.link.send(&out).await.map_err(|_| Closing::LinkError)
    }

    /// Reads on in what the socket holds; whether that was anything.
    async fn reads_on(&mut self) -> bool {
        let before = self.buffer.len();
        self.link.receive_at_hand(&mut self.buffer).await;
        self.buffer.len() > before
    }

    /// What the peer has sent before the end is read as far as it is whole, unanswered: whoever waits for an answer says it again.
    async fn keep_rest(&mut self, closing: Closing) -> Result<(), Closing> {
        // Datagrams that are left begin their peer's next session, and are answered there. Where the device has a newer session
        // already, that one would take its place away.
        let reads = if self.link.is_datagram() && closing != Closing::TakenOver { 0 } else { limits::REST_READS_MAX };
        self.parting = true;
        self.unseen = false;
        self.machine.close();
        let mut taken = self.take_frames().await;
        for _ in 0..reads {
            if taken.is_err() || !self.reads_on().await {
                break;
            }
            taken = self.take_frames().await;
        }
        if taken == Err(Closing::StoreFailing) {
            return Err(Closing::StoreFailing);
        }
        self.keep_carried().await?;
        let mut rest = std::mem::take(&mut self.noise);
        rest.append(&mut self.buffer);
        if rest.is_empty() {
            return Ok(());
        }
        let detail = match taken {
            Ok(()) => "the connection ended inside a frame",
            Err(_) => "the session ended over too many faults; what had come behind them was not looked at",
        };
        self.keep_fault(rest, FaultKind::Noise, detail, None).await
    }

    /// Leaves nothing half done: bytes kept, commands given back, the device's place free.
    async fn end(&mut self, closing: Closing) {
        // The session ends either way; a failing store is on the health page.
        if closing != Closing::StoreFailing && self.keep_rest(closing).await.is_ok() {
            self.link.kept();
        }
        let mut steps = self.give_up_behind(true);
        steps.extend(self.give_up_own());
        if let Err(error) = self.services.commit_steps(steps).await {
            tracing::warn!(peer = %self.peer, %error, "a command in flight could not be given back; the next start does it");
        }
        self.present = None;
        self.services.metrics.session_closed(closing);
        if matches!(
            closing,
            Closing::Done | Closing::Refused | Closing::CommandWait | Closing::AwakeOver | Closing::Draining
        ) {
            self.link.finish().await;
        }
    }
}

/// A waiting session keeps at most this much of its receive buffer.
const IDLE_BUFFER_BYTES: usize = 512;
