//! A frame's way: decode, learn who speaks, make it durable, and only then answer.

use super::conversation::{Conversation, Present};
use super::cutting::Chosen;
use super::machine::{Closing, FrameFacts, Goodbye, Input, Registered};
use super::speaking::Speaking;
use super::{REFUSED, reference};
use crate::adapter::{Adapter, Admission, Context, Decoded, Direction, Fault, RegistrationRule, Transport};
use crate::journal::{CommandFact, Fact, FaultKind, FrameFact, FrameOutcome};
use crate::lifecycle::Struck;
use crate::limits::{self, SANDBOX_FAULTS_EVERY};
use crate::model::{Civil, DeviceKey, DeviceKind, Digest, HexBytes, Message, Seq};
use crate::review::{Reading, Sample};
use crate::views::ViewError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TOO_LATE: &str = "a newer session of this device had begun before this was read; kept to be read again";

/// The device that speaks, its state and its profile, while a frame of somebody else is looked at.
struct Aside(Present, Vec<u8>, Speaking);

/// Whose a frame is that cannot be read as the present device's.
enum Whose {
    Its,
    Anothers(Box<Decoded>),
    Nobodys,
}

impl Conversation {
    /// The numbered story of a frame.
    pub(super) async fn on_frame(&mut self, with: &Chosen, frame: Vec<u8>) -> Result<(), Closing> {
        if self.bell.is_passed_over() && self.machine.is_one_way() {
            // Another gateway has heard the device, too; this frame may be somebody else's.
            self.keep_carried_before(&frame).await?;
            self.let_go().await?;
        }
        if self.bell.is_passed_over() {
            self.set_aside.insert(with.adapter.name().to_owned());
            self.keep_fault(frame, FaultKind::NotMine, TOO_LATE, Some(with)).await?;
            return if self.parting { Ok(()) } else { Err(Closing::TakenOver) };
        }
        // 1. What does it say, and who says it?
        self.adopt_version(&with.adapter);
        self.attune(&with.adapter)?;
        let shadow = self.services.review.hears(with.adapter.name()).map(|shadow| (shadow, self.context(0).now));
        let (decoded, is_its) = self.decode_known(with, &frame).await?;
        self.account(&with.adapter);
        if let Some((shadow, now)) = shadow {
            shadow.offer(self.sample(with, &frame, &decoded, now));
        }
        let mut decoded = match decoded {
            Ok(decoded) => decoded,
            Err(fault) if is_its => return Box::pin(self.on_fault(with, frame, fault)).await,
            Err(fault) => return Box::pin(self.on_fault_of_nobody(with, frame, fault)).await,
        };
        with.adapter.answered.fetch_add(1, Ordering::Relaxed);
        self.noise_total = self.noise_total.saturating_sub(frame.len());
        if self.concerns_others(&decoded) {
            return Box::pin(self.on_carrying(with, frame, decoded)).await;
        }
        self.keep_carried_before(&frame).await?;
        if let Some(order) = self.missing_days(&decoded)? {
            decoded = match Box::pin(self.ask_first(with, &frame, order)).await {
                Ok(decoded) => decoded,
                Err(fault) => return Box::pin(self.on_fault(with, frame, fault)).await,
            };
        }
        self.name_subjects(&mut decoded.messages)?;
        // 2. Which of our commands does it answer?
        let steps = self.answered(&decoded);
        let mut facts = self.frame_facts(with, &decoded);
        let valves = self.services.valves_told(&decoded, &steps);
        self.hear_model(&decoded.messages);
        // 3. Durable, together with what it means for those commands.
        let Decoded { messages, reply, state, memory, duplicate, .. } = decoded;
        let memory = self.memory_to_keep(memory);
        let outcome = self.outcome(messages, memory.as_deref(), duplicate);
        let mut entries = vec![Fact::Frame(self.entry(frame, Some(with), outcome))];
        entries.extend(steps.iter().cloned().map(Fact::Command));
        let seq = self.commit(entries).await?;
        self.services.settle(&steps);
        if self.is_refused() {
            self.services.metrics.fault(with.adapter.name(), FaultKind::Refused);
        } else {
            self.services.metrics.frame(with.adapter.shared_name(), duplicate);
        }
        // 4. Only now does the session move on.
        if let Some(state) = state {
            self.state = state;
        }
        if let (Some(memory), Some(present)) = (memory, &mut self.present) {
            self.services.registry.remember(&present.device, seq, &memory, Some(with.adapter.digest));
            present.memory = memory;
        }
        if let Some(present) = &self.present {
            self.services.weigh(&present.device, &valves, seq).await.map_err(|_| Closing::StoreFailing)?;
        }
        // 5. The reply goes out, together with a goodbye if the machine ends it here.
        facts.waits = self.waits(&facts, reply.as_deref());
        facts.more_at_hand = !self.buffer.is_empty();
        self.out.extend(reply.unwrap_or_default());
        let answered = self.in_hand.is_some_and(|id| steps.iter().any(|s| s.id == id));
        self.feed(Input::Frame(facts)).await?;
        if answered {
            self.in_hand = None;
            self.feed(Input::CommandAnswered).await?;
        }
        self.flush().await
    }

    /// Goes on with what was carried before this frame. If the session ends over that, the frame is what the peer has sent before
    /// the end, and is read as the first of it.
    async fn keep_carried_before(&mut self, frame: &[u8]) -> Result<(), Closing> {
        let carried = self.keep_carried().await;
        if carried.is_err() {
            self.buffer.splice(..0, frame.iter().copied());
        }
        carried
    }

    /// Decodes; a frame of a device that is new to this session is decoded again with what the station knows of it. Gives besides
    /// whether it is the present device's, as far as anybody can tell.
    async fn decode_known(&mut self, with: &Chosen, frame: &[u8]) -> Result<(Result<Decoded, Fault>, bool), Closing> {
        self.look_at_admission()?;
        // Whoever speaks, these bytes come from where a suspect has spoken, or have just done harm.
        let is_suspect = self.is_suspect(&with.adapter);
        let decoded = match self.decode(with, frame).await {
            Ok(decoded) => decoded,
            Err(fault) => match self.decode_as_anothers(with, frame, is_suspect || fault.kind.is_sandbox()).await? {
                Whose::Anothers(decoded) => *decoded,
                Whose::Its => return Ok((Err(fault), true)),
                Whose::Nobodys => return Ok((Err(fault), false)),
            },
        };
        // A frame that does not say who sends it is that of the device which the transport names, if it names one.
        let named = || self.link.address().filter(|_| self.present.is_none());
        let Some(address) = decoded.sender.as_ref().map(|sender| sender.address.as_str()).or_else(named) else {
            return Ok((Ok(decoded), true));
        };
        let same = |p: &Present| p.device.address() == address && p.device.realm() == with.adapter.realm();
        if self.present.as_ref().is_some_and(same) {
            return Ok((Ok(decoded), true));
        }
        let kind = decoded.sender.as_ref().map_or(DeviceKind::Meter, |sender| sender.kind);
        match DeviceKey::new(with.adapter.realm(), address) {
            // Whoever has begun anew elsewhere by now keeps his place.
            Ok(device) if self.parting && self.services.registry.is_online(&device) => {
                self.set_aside.insert(with.adapter.name().to_owned());
                return Ok((Err(Fault::new(FaultKind::NotMine, TOO_LATE)), false));
            }
            Ok(device) => {
                self.keep_carried_before(frame).await?;
                let left_by = Box::pin(self.greet(device, kind)).await?;
                self.attune(&with.adapter)?;
                self.take_over_memory(&with.adapter, left_by);
            }
            Err(e) => {
                // No adapter is to blame for what a topic is called.
                let kind = if decoded.sender.is_some() { FaultKind::Contract } else { FaultKind::OutOfRange };
                return Ok((Err(Fault::new(kind, e.to_string())), true));
            }
        }
        Ok((self.decode(with, frame).await, true))
    }

    /// A frame that cannot be read as the present device's may be another one's, which has another memory, another key, or is
    /// spoken to under another profile.
    async fn decode_as_anothers(&mut self, with: &Chosen, frame: &[u8], is_suspect: bool) -> Result<Whose, Closing> {
        let Some(before) = self.step_aside() else { return Ok(Whose::Its) };
        let own = before.0.device.address().to_owned();
        let attuned = self.attune(&with.adapter);
        let is_suspect = is_suspect || self.is_suspect(&with.adapter);
        let decoded = self.ask_to_decode(with, frame, 0, is_suspect).await;
        self.step_back(before);
        attuned?;
        // Where nobody waits for us, many may speak.
        let unknown = if self.is_unanswered() { Whose::Nobodys } else { Whose::Its };
        Ok(match decoded {
            Ok(decoded) => match &decoded.sender {
                Some(sender) if sender.address == own => Whose::Its,
                Some(_) => Whose::Anothers(Box::new(decoded)),
                None => unknown,
            },
            Err(_) => unknown,
        })
    }

    /// Reports come, and nothing was ever said to them, as on a gateway's connection or port.
    pub(super) fn is_unanswered(&self) -> bool {
        self.machine.is_one_way() || (self.link.is_datagram() && !self.has_spoken)
    }

    /// Until `step_back`, whoever speaks is nobody whom the station knows. `None`: nobody was here.
    fn step_aside(&mut self) -> Option<Aside> {
        let present = self.present.take()?;
        Some(Aside(present, std::mem::take(&mut self.state), std::mem::take(&mut self.speaking)))
    }

    fn step_back(&mut self, Aside(present, state, speaking): Aside) {
        (self.present, self.state, self.speaking) = (Some(present), state, speaking);
    }

    pub(super) async fn decode(&mut self, with: &Chosen, frame: &[u8]) -> Result<Decoded, Fault> {
        let pending = self.present.as_ref().map_or(0, |p| self.pending(&p.device));
        self.ask_to_decode(with, frame, pending, self.is_suspect(&with.adapter)).await
    }

    /// The frame and what was known when it was read, for a shadow.
    fn sample(&self, with: &Chosen, frame: &[u8], decoded: &Result<Decoded, Fault>, now: Civil) -> Sample {
        let pending = self.present.as_ref().map_or(0, |p| self.pending(&p.device));
        let context = self.context(pending);
        Sample {
            options: self.options(with.index).to_owned(),
            now,
            transport: context.transport,
            admission: context.admission,
            pending,
            device: self.present.as_ref().map(|p| p.device.clone()),
            memory: self.present.as_ref().map(|p| p.memory.clone()).unwrap_or_default(),
            state: self.state.clone(),
            left_by: with.adapter.digest,
            state_version: with.adapter.manifest.state_version,
            frame: frame.to_vec(),
            reading: Reading::of(with.adapter.realm(), decoded),
        }
    }

    pub(super) fn context(&self, pending: u32) -> Context<'_> {
        Context {
            now: self.services.clock.civil(self.services.clock.now_ms()),
            direction: Direction::Uplink,
            transport: if self.link.is_datagram() { Transport::Datagram } else { Transport::Stream },
            admission: self.present.as_ref().map_or(Admission::Undecided, |p| p.admission),
            pending,
            device: self.present.as_ref().map(|p| (p.device.address(), p.memory.as_slice())),
            state: &self.state,
        }
    }

    fn pending(&self, device: &DeviceKey) -> u32 {
        let now = self.services.clock.moment();
        let own = self.services.desk.pending(device, now);
        if self.behind.is_some() { own + self.services.desk.pending_behind(device, now) } else { own }
    }

    /// Decides about a device that has just said who it is, and takes its place. Gives the version that read it last.
    async fn greet(&mut self, device: DeviceKey, kind: DeviceKind) -> Result<Option<Digest>, Closing> {
        self.let_go().await?;
        self.behind = (kind != DeviceKind::Meter).then(Box::default);
        let place = self.services.registry.claim(&device, self.id, &self.bell, limits::TAKEOVER_TIMEOUT).await;
        let failing = |error: ViewError| self.unknowable(&device, &error);
        let row = self.services.views.standing(&device).map_err(failing)?;
        let admission = self.services.admission(self.door.unknown, &device, row.as_ref()).map_err(failing)?;
        let (shown_by, told) = row.as_ref().map_or((None, None), |row| (row.adapter, row.told));
        let (memory, left_by) = match self.services.registry.remembered(&device) {
            Some((newer, by)) => (newer.to_vec(), by.or(shown_by)),
            None => (row.map(|r| r.memory.0).unwrap_or_default(), shown_by),
        };
        self.present =
            Some(Present { device, memory, taken_over: false, admission, told, reported: None, _place: place });
        Ok(left_by)
    }

    /// People may have let the device in that is here, and from then on what it says counts and what waits for it may go.
    pub(super) fn look_at_admission(&mut self) -> Result<(), Closing> {
        let (Some(present), Some(index)) = (&mut self.present, self.sticky) else { return Ok(()) };
        let reader = &self.door.adapters[index].adapter;
        let looked = self.services.admit_at_last(&mut present.admission, &present.device, reader);
        match (looked, &self.present) {
            (Err(error), Some(present)) => Err(self.unknowable(&present.device, &error)),
            _ => Ok(()),
        }
    }

    /// Gives the device's place up, if one was here: nobody is left to answer for it, and for those behind it.
    pub(super) async fn let_go(&mut self) -> Result<(), Closing> {
        self.keep_carried().await?;
        // It was to be let go once all that had come was read, and waits for that word. Whether the peer is still there to hear it,
        // whoever speaks next finds out.
        if self.present.is_some() && self.machine.is_done() && !self.parting && !self.bell.is_passed_over() {
            self.say_end(Goodbye::Done).await?;
            let _ = self.flush().await;
        }
        let mut steps = self.give_up_behind(true);
        steps.extend(self.give_up_own());
        self.services.commit_steps(steps).await.map_err(|_| Closing::StoreFailing)?;
        self.behind = None;
        self.state.clear();
        self.speaking.another_device();
        if self.present.take().is_some() {
            self.machine.another_device(self.services.clock.steady_ms());
            self.bell.has_let_go();
        }
        Ok(())
    }

    /// Names whom the device speaks of.
    pub(super) fn name_subjects(&self, messages: &mut [Message]) -> Result<(), Closing> {
        let Some(present) = &self.present else { return Ok(()) };
        self.services
            .views
            .name_subjects(&present.device, messages)
            .map_err(|error| self.unknowable(&present.device, &error))
    }

    /// Without the views a device would be a stranger whose memory is empty, and whom it speaks of somebody else, for good: better
    /// it comes again.
    pub(super) fn unknowable(&self, device: &DeviceKey, error: &ViewError) -> Closing {
        self.services.views.note(error);
        tracing::warn!(%device, %error, "not served: the views cannot be read");
        Closing::StoreFailing
    }

    pub(super) fn answered(&self, decoded: &Decoded) -> Vec<CommandFact> {
        let Some(present) = &self.present else { return Vec::new() };
        let answers = decoded.messages.iter().filter_map(|m| match m {
            Message::Answer(answer) if !decoded.duplicate => Some(answer),
            _ => None,
        });
        let desk = &self.services.desk;
        desk.taken_together(answers.filter_map(|answer| desk.answered(&present.device, answer, self.id.0)).collect())
    }

    pub(super) fn frame_facts(&self, with: &Chosen, decoded: &Decoded) -> FrameFacts {
        let welcome = self.present.as_ref().filter(|p| p.admission == Admission::Welcome);
        let mut facts = FrameFacts {
            refused: self.is_refused(),
            pending: welcome.is_some_and(|p| self.pending(&p.device) > 0),
            ..FrameFacts::default()
        };
        // Values that come along with a heartbeat, or with a registration that has to go before the reports, are no report of
        // this communication: that is still to come.
        let registers_first = with.adapter.manifest.session.registration == RegistrationRule::Required;
        facts.registers_first = registers_first;
        let beside = decoded.messages.iter().any(|m| match m {
            Message::Heartbeat(_) => true,
            Message::Registration(_) => registers_first,
            _ => false,
        });
        for message in &decoded.messages {
            match message {
                Message::Registration(r) => {
                    let minutes = |m: u16| Duration::from_secs(60 * u64::from(m));
                    facts.registered = Some(Registered {
                        always_online: r.capabilities.has("always-online"),
                        awake: r.schedule.as_ref().map_or(Duration::ZERO, |s| minutes(s.awake_minutes)),
                        heartbeat: r.schedule.as_ref().map_or(Duration::ZERO, |s| minutes(s.heartbeat_minutes)),
                    });
                }
                Message::Report(r) if r.subject.is_none() => facts.report_complete |= !r.more_follows && !beside,
                Message::EndOfSession => facts.end_of_session = true,
                _ => {}
            }
        }
        facts
    }

    /// Whether the sender of a frame waits for words of ours: a reply, or that a session ends after its report. A datagram has no
    /// connection that could stay.
    pub(super) fn waits(&self, facts: &FrameFacts, reply: Option<&[u8]>) -> bool {
        let waits_for_the_end = || self.link.is_datagram() || self.machine.is_waited_for() || self.ends_sessions();
        reply.is_some_and(|reply| !reply.is_empty()) || (facts.report_complete && waits_for_the_end())
    }

    pub(super) fn is_refused(&self) -> bool {
        self.present.as_ref().is_some_and(|p| p.admission == Admission::Refused)
    }

    pub(super) fn outcome(&self, messages: Vec<Message>, memory: Option<&[u8]>, duplicate: bool) -> FrameOutcome {
        if self.is_refused() {
            return FrameOutcome::Fault { kind: FaultKind::Refused, detail: REFUSED.into() };
        }
        let held = self.present.as_ref().is_some_and(|p| p.admission == Admission::Held);
        FrameOutcome::Decoded {
            messages,
            memory: memory.map(|m| HexBytes(m.to_vec())),
            duplicate,
            held,
            behind: Vec::new(),
        }
    }

    pub(super) fn entry(&self, raw: Vec<u8>, with: Option<&Chosen>, outcome: FrameOutcome) -> FrameFact {
        FrameFact {
            listener: self.door.name.clone(),
            peer: self.peer.clone(),
            session: self.id.0,
            device: self.present.as_ref().map(|p| p.device.clone()),
            adapter: with.map(|w| reference(&w.adapter, self.profile(w.index))),
            raw: HexBytes(raw),
            outcome,
        }
    }

    async fn on_fault(&mut self, with: &Chosen, frame: Vec<u8>, fault: Fault) -> Result<(), Closing> {
        self.keep_fault(frame, fault.kind, &fault.detail, Some(with)).await?;
        self.out.extend(fault.reply.unwrap_or_default());
        let is_well_spoken =
            matches!(fault.kind, FaultKind::NotMine | FaultKind::NotAuthentic | FaultKind::Unsupported);
        self.feed(if is_well_spoken { Input::Unread } else { Input::Fault }).await
    }

    async fn on_fault_of_nobody(&mut self, with: &Chosen, frame: Vec<u8>, fault: Fault) -> Result<(), Closing> {
        self.keep_carried_before(&frame).await?;
        let Some(before) = self.step_aside() else { return self.on_fault(with, frame, fault).await };
        let kept = match self.attune(&with.adapter) {
            Ok(()) => self.on_fault(with, frame, fault).await,
            unknown => unknown,
        };
        self.step_back(before);
        kept
    }

    /// Bytes that nobody could read, kept until somebody can.
    pub(super) async fn keep_fault(
        &mut self,
        raw: Vec<u8>,
        kind: FaultKind,
        detail: &str,
        with: Option<&Chosen>,
    ) -> Result<(), Closing> {
        // The session may end over what was carried before; these bytes are kept all the same.
        let carried = self.keep_carried().await;
        if carried == Err(Closing::StoreFailing) {
            return carried;
        }
        let name = with.map_or("", |w| w.adapter.name());
        tracing::debug!(peer = %self.peer, adapter = name, ?kind, detail, bytes = raw.len(), "kept in quarantine");
        if let Some(with) = with.filter(|_| kind.is_sandbox()) {
            self.account(&with.adapter);
            self.struck(&with.adapter, kind, detail, &raw);
            // Nobody waits for an answer to it, and a commit for each such frame would be felt by everybody else.
            let late_ms = self.services.clock.steady_ms() as u64 % SANDBOX_FAULTS_EVERY.as_millis() as u64;
            tokio::time::sleep(SANDBOX_FAULTS_EVERY.saturating_sub(Duration::from_millis(late_ms))).await;
        }
        let outcome = FrameOutcome::Fault { kind, detail: detail.into() };
        let mut entry = self.entry(raw, with, outcome);
        // What lies between the frames of many is nobody's, and so is a datagram that is for none of the adapters, or for another.
        entry.device = entry.device.filter(|_| match with {
            Some(with) => self.sticky == Some(with.index),
            None => !self.is_unanswered() && (kind != FaultKind::Foreign || !self.link.is_datagram()),
        });
        self.commit(vec![Fact::Frame(entry)]).await?;
        // Counted once it is kept: counter and quarantine tell the same.
        self.services.metrics.fault(name, kind);
        // Another version may serve by now, and have read all that was in quarantine before this came there.
        let serves = |active: &Arc<Adapter>| with.is_some_and(|with| active.digest == with.adapter.digest);
        if kind.is_sandbox() && self.services.catalog.active(name).is_some_and(|active| !serves(&active)) {
            self.services.lifecycle.read_again([name.to_owned()].into());
        }
        carried
    }

    /// The sandbox has stopped this version over what this peer sent.
    pub(super) fn struck(&self, adapter: &Adapter, kind: FaultKind, detail: &str, over: &[u8]) {
        let source = self.source();
        let fault = Fault::new(kind, detail);
        if self.services.lifecycle.struck_over(adapter, &source, self.stranger(over), &fault) == Struck::Device {
            tracing::debug!(%source, adapter = adapter.name(), %fault, "counts against this device");
        }
    }

    /// The position of the first fact.
    pub(super) async fn commit(&self, facts: Vec<Fact>) -> Result<Seq, Closing> {
        self.services.commit(facts).await.map_err(|error| {
            tracing::warn!(peer = %self.peer, %error, "not acknowledged: the journal cannot be written");
            Closing::StoreFailing
        })
    }
}
