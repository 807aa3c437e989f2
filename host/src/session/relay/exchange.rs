//! A frame that concerns somebody behind its sender: its parts, which questions it answers, what follows them, and what is asked
//! next, all durable together before anything leaves.

use super::inward::{Ear, Heard, Told};
use super::outward::{Leaving, sent_unanswered};
use super::route::Lost;
use super::{Behind, Remembered, Unkept, UnkeptFrame};
use crate::adapter::{Admission, Decoded};
use crate::journal::{CommandFact, CommandStep, Fact, FaultKind, FrameOutcome, Part};
use crate::limits;
use crate::model::{Message, Outcome, Seq};
use crate::session::conversation::Conversation;
use crate::session::cutting::Chosen;
use crate::session::machine::{Closing, FrameFacts, Input};
use std::mem::take;
use std::time::Duration;

impl Conversation {
    /// Whether a frame concerns anybody but its sender.
    pub(in crate::session) fn concerns_others(&self, decoded: &Decoded) -> bool {
        self.present.is_some()
            && (self.behind.as_ref().is_some_and(|behind| !behind.errands.is_empty())
                || decoded.messages.iter().any(|message| matches!(message, Message::Relayed(_))))
    }

    /// The story of `on_frame`, from the second chapter up to where it has to be durable. A carrier brings the answers of many at
    /// once: `keep_carried` goes on with all of them.
    pub(in crate::session) async fn on_carrying(
        &mut self,
        with: &Chosen,
        frame: Vec<u8>,
        decoded: Decoded,
    ) -> Result<(), Closing> {
        let facts = self.frame_facts(with, &decoded);
        let mut behind = self.behind.take().unwrap_or_default();
        let heard = self.hear_carried(&mut behind, with, frame, facts, decoded).await;
        let full = behind.unkept.frames.len() >= limits::CARRIED_FRAMES_MAX;
        self.behind = Some(behind);
        heard?;
        if full { self.keep_carried().await } else { Ok(()) }
    }

    async fn hear_carried(
        &mut self,
        behind: &mut Behind,
        with: &Chosen,
        frame: Vec<u8>,
        mut facts: FrameFacts,
        mut decoded: Decoded,
    ) -> Result<(), Closing> {
        self.name_subjects(&mut decoded.messages)?;
        // 1. Which of the carrier's own commands does it answer?
        let mut steps = self.answered(&decoded);
        let valves = self.services.valves_told(&decoded, &steps);
        behind.unkept.asking |= !behind.errands.is_empty();
        self.hear_model(&decoded.messages);
        let Decoded { messages, reply, state, memory, duplicate, .. } = decoded;
        let memory = self.memory_to_keep(memory);
        if let Some(state) = state {
            self.state = state;
        }
        if let (Some(memory), Some(present)) = (&memory, &mut self.present) {
            present.memory.clone_from(memory);
        }
        facts.waits = self.waits(&facts, reply.as_deref());
        facts.more_at_hand = !self.buffer.is_empty();
        // 2. Who behind it says what?
        let (parts, mut heard) = if duplicate || self.is_refused() {
            (Vec::new(), Heard::default())
        } else {
            self.hear(behind, &messages).await?
        };
        // 3. What follows.
        steps.append(&mut heard.steps);
        let mut leaving = std::mem::take(&mut behind.unkept.leaving);
        leaving.bytes.extend(reply.unwrap_or_default());
        for (id, told) in std::mem::take(&mut heard.told) {
            steps.extend(self.proceed(behind, id, told, &mut leaving));
        }
        for (route, words) in std::mem::take(&mut heard.unasked) {
            self.answer_unasked(behind, route, words, &mut leaving);
        }
        // What a frame before it has decided is decided, though the desk does not know yet.
        let earlier: Vec<_> = behind.unkept.frames.iter().flat_map(|frame| &frame.steps).collect();
        let steps = self.services.desk.taken_after(&earlier, steps);
        let Unkept { frames, facts: entries, leaving: left, .. } = &mut behind.unkept;
        *left = leaving;
        let mut outcome = self.outcome(messages, memory.as_deref(), duplicate);
        if let FrameOutcome::Decoded { behind, .. } = &mut outcome {
            *behind = parts;
        }
        let place = entries.len() as u64;
        entries.push(Fact::Frame(self.entry(frame, Some(with), outcome)));
        entries.extend(steps.iter().cloned().map(Fact::Command));
        frames.push(UnkeptFrame { with: with.clone(), place, steps, facts, memory, valves, duplicate, heard });
        Ok(())
    }

    /// Goes on with what `on_carrying` has heard, if there is any. Every frame of every session asks; few have it grow their task.
    pub(in crate::session) async fn keep_carried(&mut self) -> Result<(), Closing> {
        match self.behind.take_if(|behind| !behind.unkept.frames.is_empty()) {
            Some(behind) => Box::pin(self.keep_unkept(behind)).await,
            None => Ok(()),
        }
    }

    /// What is asked next, and all of it durable together before anything leaves.
    async fn keep_unkept(&mut self, mut behind: Box<Behind>) -> Result<(), Closing> {
        let mut unkept = std::mem::take(&mut behind.unkept);
        let asking = unkept.asking;
        if asking && !self.parting && !self.bell.is_passed_over() {
            self.ask(&mut behind, &mut unkept.leaving);
        }
        let frames = &unkept.frames;
        let facts: Vec<FrameFacts> = frames.iter().map(|frame| frame.facts.clone()).collect();
        let answers = |id| frames.iter().any(|frame| frame.steps.iter().any(|step| step.id == id));
        let answered = self.in_hand.is_some_and(answers);
        let kept = self.keep_all(&mut behind, unkept).await;
        let (asks, waits) = (!behind.errands.is_empty(), behind.next_moment_ms());
        self.behind = Some(behind);
        kept?;
        for facts in facts {
            self.feed(Input::Frame(facts)).await?;
        }
        if answered {
            self.in_hand = None;
            self.feed(Input::CommandAnswered).await?;
        } else if let Some(at_ms) = waits.filter(|_| asks) {
            let within = Duration::from_millis((at_ms - self.services.clock.steady_ms()).max(1) as u64);
            self.feed(Input::CommandSent { answer_within: Some(within) }).await?;
        } else if asking {
            self.feed(Input::CommandAnswered).await?;
        }
        self.flush().await
    }

    async fn keep_all(&mut self, behind: &mut Behind, unkept: Unkept) -> Result<(), Closing> {
        // 4. Durable, all of it.
        let Unkept { frames, facts: mut entries, mut leaving, .. } = unkept;
        entries.append(&mut leaving.facts);
        entries.extend(leaving.steps.iter().cloned().map(Fact::Command));
        let (first, last) = match self.services.commit_span(entries).await {
            Ok(span) => span,
            Err(error) => {
                tracing::warn!(peer = %self.peer, %error, "not acknowledged: the journal cannot be written");
                leaving.steps.iter().for_each(|step| self.services.desk.put_back(step.id));
                return Err(Closing::StoreFailing);
            }
        };
        // 5. Only now does it count for anybody else.
        frames.iter().for_each(|frame| self.services.settle(&frame.steps));
        let mut valves = Vec::new();
        for frame in frames {
            let (seq, heard) = (Seq(first.0 + frame.place), frame.heard);
            self.count(&frame.with, frame.duplicate, &heard.frames, &heard.faults);
            if let (Some(memory), Some(present)) = (frame.memory, &self.present) {
                self.services.registry.remember(&present.device, seq, &memory, Some(frame.with.adapter.digest));
            }
            for Remembered { device, memory, by } in heard.memories {
                self.services.registry.remember(&device, seq, &memory, by);
                if let Some(sub) = behind.subs.get(&device) {
                    sub.ahead = false;
                }
            }
            valves.push((seq, frame.valves, heard.valves));
        }
        self.has_left(behind, leaving, last);
        for (seq, own, others) in valves {
            let own = self.present.as_ref().map(|present| (present.device.clone(), own));
            for (device, told) in own.into_iter().chain(others) {
                self.services.weigh(&device, &told, seq).await.map_err(|_| Closing::StoreFailing)?;
            }
        }
        Ok(())
    }

    /// Takes apart what the carrier brings. A suspect's frames are read where they keep nobody else waiting.
    async fn hear(&self, behind: &mut Behind, messages: &[Message]) -> Result<(Vec<Part>, Heard), Closing> {
        let Some(present) = &self.present else { return Ok(Default::default()) };
        let (services, carrier, id) = (&self.services, &present.device, self.id.0);
        let now = services.clock.civil(services.clock.now_ms());
        // What a carrier brings that nobody has let in is kept aside with its own words, and decides nothing.
        let past = present.admission != Admission::Welcome;
        let Behind { subs, errands, .. } = behind;
        let mut ear = Ear::new(services, &self.door, subs, errands, now, id);
        ear.past = past;
        let heard = if ear.brings_a_suspects(carrier, messages) {
            let (services, door) = (services.clone(), self.door.clone());
            let (carrier, messages) = (carrier.clone(), messages.to_vec());
            let mut away =
                Behind { subs: take(&mut behind.subs), errands: take(&mut behind.errands), ..Behind::default() };
            let work = move || {
                let mut ear = Ear::new(&services, &door, &mut away.subs, &away.errands, now, id);
                ear.past = past;
                let parts = ear.hear(&carrier, &messages, 0);
                let heard = parts.map(|parts| (parts, ear.heard));
                (heard, away)
            };
            // Nobody is left to ask: it comes again, and so do the questions.
            let (heard, away) = self.services.penalty.run(work).await.ok_or(Closing::StoreFailing)?;
            (behind.subs, behind.errands) = (away.subs, away.errands);
            heard
        } else {
            ear.hear(carrier, messages, 0).map(|parts| (parts, ear.heard))
        };
        let (parts, heard) = heard.map_err(|error| self.unknowable(carrier, &error))?;
        for (digest, device) in &heard.harmed {
            services.lifecycle.suspect(*digest, device.as_ref().unwrap_or(carrier).as_str());
        }
        Ok((parts, heard))
    }

    fn count(
        &self,
        with: &Chosen,
        duplicate: bool,
        frames: &[(std::sync::Arc<str>, bool)],
        faults: &[(String, FaultKind)],
    ) {
        let metrics = &self.services.metrics;
        if self.is_refused() {
            metrics.fault(with.adapter.name(), FaultKind::Refused);
        } else {
            metrics.frame(with.adapter.shared_name(), duplicate);
        }
        frames.iter().for_each(|(name, duplicate)| metrics.frame(name, *duplicate));
        faults.iter().for_each(|(name, kind)| metrics.fault(name, *kind));
    }

    /// What becomes of a question after what a frame told of it.
    fn proceed(&mut self, behind: &mut Behind, id: u64, told: Told, leaving: &mut Leaving) -> Vec<CommandFact> {
        let now_ms = self.services.clock.steady_ms();
        let Some(errand) = behind.errands.iter_mut().find(|errand| errand.id == id) else { return Vec::new() };
        let (device, session, channel) = (errand.device.clone(), self.id.0, errand.channel);
        let waits = !errand.correlation.is_empty();
        // Only of the first frame does "not carried" mean that the device has heard nothing.
        let unheard = errand.legs == 1;
        if told.answered {
            behind.end(id, now_ms);
            return Vec::new();
        }
        let carried = matches!(&told.carrier, Some((Outcome::Done | Outcome::AlreadyDone, ..)));
        let is_busy = matches!(&told.carrier, Some((Outcome::Busy, ..)));
        let other = told.other;
        let instead = |mut fact: CommandFact| {
            if let (Some(other), CommandStep::Failed { why } | CommandStep::Unconfirmed { why }) =
                (&other, &mut fact.step)
            {
                *why = format!("{why}; {other} spoke up instead");
            }
            fact
        };
        let next =
            told.reply.or_else(|| if told.spoke || (carried && !waits) { errand.rest.pop_front() } else { None });
        let step = |step| vec![CommandFact { id, device: device.clone(), step }];
        let ended = match (next, told.carrier) {
            (Some(frame), _) => match self.next_leg(behind, id, frame, leaving) {
                Ok(()) => return Vec::new(),
                // Asked once more it would end as it does now.
                Err(Lost::Why(why)) => vec![self.services.desk.cannot_leave(id, device.clone(), why)],
                Err(lost) => {
                    tracing::debug!(%device, why = lost.in_words(), "a question to a device behind cannot go on");
                    self.services.desk.given_up(&device, session)
                }
            },
            // More of the answer comes by itself.
            (None, _) if told.more => return Vec::new(),
            (None, None | Some((Outcome::Accepted, ..))) => return Vec::new(),
            (None, Some((Outcome::Done | Outcome::AlreadyDone, ..))) if !waits => {
                step(sent_unanswered("sent; this protocol does not answer it"))
            }
            // The carrier did not even try: nothing came of this sending.
            (
                None,
                Some((
                    outcome @ (Outcome::Busy | Outcome::Refused | Outcome::Unsupported | Outcome::Expired),
                    reason,
                    raw_code,
                )),
            ) if unheard => self.services.desk.turned_away(id, outcome, reason, raw_code).into_iter().collect(),
            // It tried, or the device has heard an earlier frame, and nothing came back that answers.
            (None, Some(_)) => self.services.desk.given_up(&device, session).into_iter().map(instead).collect(),
        };
        if is_busy {
            behind.resting.push((channel, now_ms + limits::CARRIER_BUSY_PAUSE.as_millis() as i64));
        }
        behind.end(id, now_ms);
        ended
    }
}
