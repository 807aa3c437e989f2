//! What is asked of those behind a carrier: encoded by their adapter, wrapped by their carriers', written to the journal, then
//! sent. Each question's further frames go the same way.

use super::inward::{judge, load};
use super::route::{Lost, Route, along};
use super::{Behind, Envelope, Errand, Remembered, Subs};
use crate::adapter::{Adapter, Admission, Context, Direction, Encoded, Fault, Transport};
use crate::command::Carried;
use crate::journal::{CommandFact, CommandStep, Fact, FaultKind};
use crate::limits;
use crate::model::{AnswerBody, Command, DeviceKey, HexBytes, Outcome, Seq};
use crate::session::conversation::Conversation;
use crate::session::machine::{Closing, Input};
use std::sync::Arc;
use std::time::Duration;

/// What is about to leave, and what has to be durable before.
#[derive(Default)]
pub(super) struct Leaving {
    pub facts: Vec<Fact>,
    pub steps: Vec<CommandFact>,
    /// Devices whose memory the facts change, besides the session's own.
    pub memories: Vec<Remembered>,
    pub bytes: Vec<u8>,
}

/// A frame in all its envelopes.
struct Wrapped {
    frames: Vec<Vec<u8>>,
    within: Duration,
    repeatable: bool,
}

impl Conversation {
    /// Whether somebody behind is being asked.
    pub(in crate::session) fn asks_behind(&self) -> bool {
        self.behind.as_ref().is_some_and(|behind| !behind.errands.is_empty())
    }

    /// Asks those behind, if there is anything to ask, and tells the machine until when to wait.
    pub(in crate::session) async fn ask_behind(&mut self) -> Result<Input, Closing> {
        let Some(mut behind) = self.behind.take() else { return Ok(Input::NothingSent) };
        let asked = self.ask_and_keep(&mut behind).await;
        let waits = behind.next_moment_ms();
        self.behind = Some(behind);
        asked?;
        self.flush().await?;
        let until = |at_ms: i64| Duration::from_millis((at_ms - self.services.clock.steady_ms()).max(1) as u64);
        Ok(waits.map_or(Input::NothingSent, |at_ms| Input::CommandSent { answer_within: Some(until(at_ms)) }))
    }

    async fn ask_and_keep(&mut self, behind: &mut Behind) -> Result<(), Closing> {
        let mut leaving = Leaving::default();
        self.ask(behind, &mut leaving);
        if leaving.facts.is_empty() && leaving.steps.is_empty() {
            return Ok(());
        }
        let mut facts = std::mem::take(&mut leaving.facts);
        facts.extend(leaving.steps.iter().cloned().map(Fact::Command));
        match self.services.commit_span(facts).await {
            Ok((_, last)) => self.has_left(behind, leaving, last),
            Err(error) => {
                tracing::warn!(peer = %self.peer, %error, "nothing is asked: the journal cannot be written");
                leaving.steps.iter().for_each(|step| self.services.desk.put_back(step.id));
                return Err(Closing::StoreFailing);
            }
        }
        Ok(())
    }

    /// What was about to leave is durable.
    pub(super) fn has_left(&mut self, behind: &mut Behind, leaving: Leaving, seq: Seq) {
        self.services.settle(&leaving.steps);
        for Remembered { device, memory, by } in leaving.memories {
            self.services.registry.remember(&device, seq, &memory, by);
            if let Some(sub) = behind.subs.get(&device) {
                sub.ahead = false;
            }
        }
        self.out.extend(leaving.bytes);
    }

    /// A question for each free line, as far as there are any.
    pub(super) fn ask(&mut self, behind: &mut Behind, leaving: &mut Leaving) {
        let services = self.services.clone();
        let Some(present) = self.present.as_ref().filter(|p| p.admission == Admission::Welcome) else { return };
        let carrier = present.device.clone();
        let now = services.clock.moment();
        behind.resting.retain(|(_, until)| *until > now.steady_ms);
        // The carrier's own commands go first, once the lines are quiet.
        if services.desk.pending(&carrier, now) > 0 {
            return;
        }
        while behind.errands.len() < self.door.lines_at_once {
            let next = services.desk.next_behind(&carrier, |channel| behind.is_free(channel), now, &services.clock);
            let Some(carried) = next else { return };
            let (id, device) = (carried.outgoing.id, carried.device.clone());
            match self.question(behind, &carrier, carried, leaving) {
                Ok(()) => {}
                Err(Lost::Moved(way)) => {
                    services.desk.put_back(id);
                    services.desk.reroute(&device, &way);
                    services.ring(&device, &way);
                }
                Err(Lost::Key(key)) => leaving.steps.extend(services.lacks_key(id, &key)),
                Err(Lost::Why(why)) => leaving.steps.push(services.desk.cannot_leave(id, device, why)),
            }
        }
    }

    /// The first frame of a command, in its envelopes.
    fn question(
        &mut self,
        behind: &mut Behind,
        carrier: &DeviceKey,
        carried: Carried,
        leaving: &mut Leaving,
    ) -> Result<(), Lost> {
        let Carried { device, outgoing, channel, way, gap } = carried;
        let moved = || Lost::Why("the carrier in front of it is not the one that was meant".into());
        let at = way.iter().position(|hop| hop.carrier == *carrier).ok_or_else(moved)?;
        let routes = along(&self.services, &self.door, &device, &way[..=at])?;
        let envelope = |route| Envelope { route, correlation: Vec::new() };
        let mut hops: Vec<Envelope> = routes.into_iter().map(envelope).collect();
        let Some(last) = hops.last_mut() else { return Err(moved()) };
        let encoded = self.encode_behind(&mut behind.subs, &last.route, &outgoing.command);
        let encoded = encoded.map_err(|fault| lost(fault, ""))?;
        let asked_s = encoded.answer_within_s.clamp(1, u16::from(last.route.timeout_s));
        last.route.timeout_s = asked_s as u8;
        let mut frames = encoded.frames.iter().cloned();
        let Some(first) = frames.next() else {
            let step = sent_unanswered("this protocol has no frame for it");
            leaving.steps.push(CommandFact { id: outgoing.id, device, step });
            return Ok(());
        };
        let wrapped = self.wrap(&mut behind.subs, &mut hops, first, leaving)?;
        let within_ms = wrapped.within.as_millis() as i64;
        let step = CommandStep::Sent {
            attempt: outgoing.attempt,
            session: self.id.0,
            correlation: HexBytes(encoded.correlation.clone()),
            repeatable: encoded.repeatable && wrapped.repeatable,
            frames: encoded.frames.iter().cloned().map(HexBytes).collect(),
            memory: encoded.memory.clone().map(HexBytes),
            answer_by_ms: self.services.clock.now_ms() + within_ms,
            through: Some(carrier.clone()),
        };
        leaving.steps.push(CommandFact { id: outgoing.id, device: device.clone(), step });
        leaving.bytes.extend(wrapped.frames.concat());
        changed(&mut behind.subs, &device, &encoded, leaving);
        let (correlation, rest, gap_ms) = (encoded.correlation, frames.collect(), gap.as_millis() as i64);
        behind.errands.push(Errand {
            id: outgoing.id,
            device,
            channel,
            hops,
            correlation,
            rest,
            answer_by_ms: self.services.clock.steady_ms() + within_ms,
            legs: 1,
            gap_ms,
        });
        Ok(())
    }

    /// Another frame for the device that is being asked.
    pub(super) fn next_leg(
        &mut self,
        behind: &mut Behind,
        id: u64,
        frame: Vec<u8>,
        leaving: &mut Leaving,
    ) -> Result<(), Lost> {
        let Behind { subs, errands, .. } = behind;
        let errand = errands.iter_mut().find(|errand| errand.id == id);
        let errand = errand.ok_or_else(|| Lost::Why("it is not under way".into()))?;
        if errand.legs >= limits::RELAY_LEGS_MAX {
            return Err(Lost::Why(format!("its answer takes more than {} questions", limits::RELAY_LEGS_MAX)));
        }
        let mut hops = std::mem::take(&mut errand.hops);
        let wrapped = self.wrap(subs, &mut hops, frame, leaving);
        errand.hops = hops;
        let wrapped = wrapped?;
        errand.legs += 1;
        errand.answer_by_ms = self.services.clock.steady_ms() + wrapped.within.as_millis() as i64;
        leaving.bytes.extend(wrapped.frames.concat());
        Ok(())
    }

    /// A reply to somebody behind who spoke up himself.
    pub(super) fn answer_unasked(&mut self, behind: &mut Behind, route: Route, reply: Vec<u8>, leaving: &mut Leaving) {
        let device = route.device.clone();
        let mut hops = [Envelope { route, correlation: Vec::new() }];
        match self.wrap(&mut behind.subs, &mut hops, reply, leaving) {
            Ok(wrapped) => leaving.bytes.extend(wrapped.frames.concat()),
            Err(lost) => {
                tracing::debug!(%device, why = lost.in_words(), "a reply to a device behind cannot be carried");
            }
        }
    }

    /// Puts a frame into the envelopes of all carriers on its way, and notes what each of them calls it.
    fn wrap(
        &mut self,
        subs: &mut Subs,
        hops: &mut [Envelope],
        frame: Vec<u8>,
        leaving: &mut Leaving,
    ) -> Result<Wrapped, Lost> {
        let mut payload = frame;
        let mut repeatable = true;
        for at in (0..hops.len()).rev() {
            let Route { target, protocol, channel, timeout_s, .. } = &hops[at].route;
            let command = Command::Relay {
                target: target.clone(),
                protocol: protocol.clone(),
                channel: *channel,
                timeout_s: *timeout_s,
                payload: HexBytes(payload),
            };
            let carrier = at.checked_sub(1).map(|before| hops[before].route.clone());
            let encoded = match &carrier {
                Some(route) => self.encode_behind(subs, route, &command),
                None => self.encode(&command),
            };
            let encoded = encoded.map_err(|fault| lost(fault, "its carrier cannot carry it: "))?;
            hops[at].correlation.clone_from(&encoded.correlation);
            repeatable &= encoded.repeatable;
            let Some(route) = carrier else {
                self.carrier_changed(&encoded, leaving);
                let within = Duration::from_secs(u64::from(encoded.answer_within_s)).min(limits::ANSWER_WITHIN_MAX);
                return Ok(Wrapped { frames: encoded.frames, within, repeatable });
            };
            changed(subs, &route.device, &encoded, leaving);
            if let Some(memory) = &encoded.memory {
                let (device, memory) = (route.device.clone(), HexBytes(memory.clone()));
                leaving.facts.push(Fact::Remembered { device, memory });
            }
            let mut frames = encoded.frames.into_iter();
            payload = match (frames.next(), frames.next()) {
                (Some(only), None) => only,
                _ => return Err(Lost::Why(format!("{} does not carry it in one frame", route.device))),
            };
        }
        Err(Lost::Why("it stands behind nobody".into()))
    }

    fn encode_behind(&self, subs: &mut Subs, route: &Route, command: &Command) -> Result<Encoded, Fault> {
        let none = |detail: String| Fault::new(FaultKind::Unsupported, detail);
        let adapter: Arc<Adapter> = self
            .services
            .catalog
            .active(&route.speaks.adapter)
            .ok_or_else(|| none(format!("adapter {} is not active", route.speaks.adapter)))?;
        let as_spoken = (&*adapter, &route.speaks.options[..]);
        let sub = load(&self.services, &self.door, subs, &route.device, as_spoken)
            .map_err(|error| none(error.to_string()))?;
        let now = self.services.clock.moment();
        let context = Context {
            now: self.services.clock.civil(now.wall_ms),
            direction: Direction::Uplink,
            transport: Transport::Relay,
            admission: sub.admission,
            pending: self.services.desk.pending(&route.device, now),
            device: Some((route.device.address(), sub.memory.as_slice())),
            state: &sub.state,
        };
        let encoded = adapter.encode(&route.speaks.options, &context, command);
        judge(&self.services, &adapter, Some(&route.device), None, encoded.as_ref().err());
        encoded
    }

    /// What encoding changed of the session's own device.
    fn carrier_changed(&mut self, encoded: &Encoded, leaving: &mut Leaving) {
        if let Some(state) = &encoded.state {
            self.state.clone_from(state);
        }
        if let (Some(memory), Some(present)) = (&encoded.memory, &mut self.present) {
            present.memory.clone_from(memory);
            let device = present.device.clone();
            leaving.facts.push(Fact::Remembered { device: device.clone(), memory: HexBytes(memory.clone()) });
            let by = self.state_of.map(|(digest, _)| digest);
            leaving.memories.push(Remembered { device, memory: memory.clone(), by });
        }
    }

    /// Questions whose time is over, or all of them: the desk knows whether to try again.
    pub(in crate::session) fn give_up_behind(&mut self, all: bool) -> Vec<CommandFact> {
        let Some(behind) = &mut self.behind else { return Vec::new() };
        let now_ms = self.services.clock.steady_ms();
        let over: Vec<u64> =
            behind.errands.iter().filter(|e| all || e.answer_by_ms <= now_ms).map(|errand| errand.id).collect();
        let ended = over.into_iter().filter_map(|id| behind.end(id, now_ms));
        ended.flat_map(|errand| self.services.desk.given_up(&errand.device, self.id.0)).collect()
    }
}

/// What encoding changed of a device behind.
fn changed(subs: &mut Subs, device: &DeviceKey, encoded: &Encoded, leaving: &mut Leaving) {
    let Some(sub) = subs.get(device) else { return };
    if let Some(state) = &encoded.state {
        sub.state.clone_from(state);
    }
    if let Some(memory) = &encoded.memory {
        sub.memory.clone_from(memory);
        sub.ahead = true;
        let (device, by) = (device.clone(), sub.state_of.map(|(digest, _)| digest));
        leaving.memories.push(Remembered { device, memory: memory.clone(), by });
    }
}

/// The step of a command to which no answer comes.
pub(super) fn sent_unanswered(why: &str) -> CommandStep {
    CommandStep::Answered { outcome: Outcome::Done, reason: why.into(), raw_code: 0, body: AnswerBody::None }
}

/// Where the way ends, since this could not be encoded.
fn lost(fault: Fault, who: &str) -> Lost {
    match fault.lacks {
        Some(key) => Lost::Key(key),
        None => Lost::Why(format!("{who}{}", fault.why_not_encoded())),
    }
}
