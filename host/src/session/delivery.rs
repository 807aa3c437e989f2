//! Commands on their way out: encoded by the adapter, written to the journal, then sent.

use super::conversation::Conversation;
use super::machine::{Closing, Input};
use crate::adapter::{Admission, Encoded, Fault};
use crate::command::Outgoing;
use crate::journal::{CommandFact, CommandStep, Fact, FaultKind};
use crate::limits;
use crate::model::{Command, EndReason, HexBytes, Outcome};
use std::time::Duration;

impl Conversation {
    /// Sends the oldest waiting command that can be sent, and tells the machine how that went.
    pub(super) async fn send_next(&mut self) -> Result<Input, Closing> {
        // The reply that announced the command goes first.
        self.flush().await?;
        if self.bell.is_passed_over() {
            return Err(Closing::TakenOver);
        }
        self.ready_to_ask()?;
        if self.asks_behind() {
            return self.ask_behind().await;
        }
        loop {
            let services = self.services.clone();
            let next = match &self.present {
                Some(present) if present.admission == Admission::Welcome => {
                    services.desk.next(&present.device, services.clock.moment(), &services.clock)
                }
                _ => None,
            };
            let Some(outgoing) = next else { return self.ask_behind().await };
            match self.encode(&outgoing.command) {
                Ok(encoded) => return self.send(outgoing, encoded).await,
                Err(fault) => self.cannot_send(&outgoing, &fault).await?,
            }
        }
    }

    /// Durable first: after a crash nobody can mistake a command that left for one that did not.
    async fn send(&mut self, outgoing: Outgoing, encoded: Encoded) -> Result<Input, Closing> {
        let Some(present) = &mut self.present else { return Ok(Input::NothingSent) };
        let now_ms = self.services.clock.now_ms();
        let within = Duration::from_secs(u64::from(encoded.answer_within_s)).min(limits::ANSWER_WITHIN_MAX);
        let awaits_answer = !encoded.correlation.is_empty();
        let step = CommandStep::Sent {
            attempt: outgoing.attempt,
            session: self.id.0,
            correlation: HexBytes(encoded.correlation),
            repeatable: encoded.repeatable,
            frames: encoded.frames.iter().cloned().map(HexBytes).collect(),
            memory: encoded.memory.clone().map(HexBytes),
            answer_by_ms: now_ms + within.as_millis() as i64,
            through: None,
        };
        let sent = CommandFact { id: outgoing.id, device: present.device.clone(), step };
        let mut steps = vec![sent];
        if !awaits_answer {
            // The protocol confirms nothing here: sent is all there is to know.
            let step = CommandStep::Answered {
                outcome: Outcome::Done,
                reason: "sent; this protocol does not answer it".into(),
                raw_code: 0,
                body: crate::model::AnswerBody::None,
            };
            let answered = CommandFact { id: outgoing.id, device: present.device.clone(), step };
            steps.extend(self.services.desk.taken_together(vec![answered]));
        }
        let facts = steps.iter().cloned().map(Fact::Command).collect();
        let Ok(seq) = self.services.commit(facts).await else {
            self.services.desk.put_back(outgoing.id);
            return Err(Closing::StoreFailing);
        };
        self.services.settle(&steps);
        if let Some(state) = encoded.state {
            self.state = state;
        }
        if let Some(memory) = encoded.memory {
            let by = self.state_of.map(|(digest, _)| digest);
            self.services.registry.remember(&present.device, seq, &memory, by);
            present.memory = memory;
        }
        self.in_hand = awaits_answer.then_some(outgoing.id);
        self.out.extend(encoded.frames.concat());
        self.flush().await?;
        Ok(Input::CommandSent { answer_within: awaits_answer.then_some(within) })
    }

    async fn cannot_send(&mut self, outgoing: &Outgoing, fault: &Fault) -> Result<(), Closing> {
        let Some(present) = &self.present else { return Ok(()) };
        if let Some(key) = &fault.lacks {
            let waits = self.services.lacks_key(outgoing.id, key).into_iter().collect();
            return self.services.commit_steps(waits).await.map_err(|_| Closing::StoreFailing);
        }
        let failed = self.services.desk.cannot_leave(outgoing.id, present.device.clone(), fault.why_not_encoded());
        self.services.commit_steps(vec![failed]).await.map_err(|_| Closing::StoreFailing)
    }

    /// A command waits for the device or for one behind it, which may have a free line.
    pub(super) async fn on_command_waiting(&mut self) -> Result<(), Closing> {
        if self.asks_behind() {
            self.ready_to_ask()?;
            let input = self.ask_behind().await?;
            return self.feed(input).await;
        }
        self.feed(Input::CommandWaiting).await
    }

    /// No answer in time: the desk knows whether to try again.
    pub(super) async fn give_up(&mut self) -> Result<(), Closing> {
        let mut steps = self.give_up_behind(false);
        steps.extend(self.give_up_own());
        self.services.commit_steps(steps).await.map_err(|_| Closing::StoreFailing)
    }

    /// What becomes of the command in hand, if there is one: its answer is not awaited any more.
    pub(super) fn give_up_own(&mut self) -> Vec<CommandFact> {
        match (self.in_hand.take(), &self.present) {
            (Some(_), Some(present)) => self.services.desk.given_up(&present.device, self.id.0),
            _ => Vec::new(),
        }
    }

    /// Whether the adapter in force claims to encode this command.
    pub(super) fn speaks(&self, command: &str) -> bool {
        let active = self.sticky.and_then(|index| self.services.catalog.active(&self.door.adapters[index].adapter));
        active.is_some_and(|adapter| adapter.manifest.commands.iter().any(|c| c == command))
    }

    /// Whether the adapter can end a session with this device, be it without a word.
    pub(super) fn ends_sessions(&self) -> bool {
        let goodbye = || self.encode(&Command::EndSession { reason: EndReason::Done });
        self.speaks("end-session") && !goodbye().is_err_and(|fault| fault.kind == FaultKind::Unsupported)
    }

    /// Encodes with the adapter in force. Another version that has begun to serve since the last frame has its turn after the
    /// next one: what this one keeps here is not the other's to read.
    pub(super) fn encode(&self, command: &Command) -> Result<Encoded, Fault> {
        let none = |detail: &str| Fault::new(FaultKind::Unsupported, detail);
        let index = self.sticky.ok_or_else(|| none("no frame has come yet"))?;
        let speaks = &self.door.adapters[index];
        let catalog = &self.services.catalog;
        let active = catalog
            .active(&speaks.adapter)
            .ok_or_else(|| none(&format!("adapter {} is not active", speaks.adapter)))?;
        let adapter = match self.state_of {
            Some((digest, _)) if digest != active.digest => catalog.at_hand(&digest).unwrap_or(active),
            _ => active,
        };
        let waiting =
            self.present.as_ref().map_or(0, |p| self.services.desk.pending(&p.device, self.services.clock.moment()));
        // "Besides this one": a waiting command is still counted as waiting while it is encoded.
        let besides = if matches!(command, Command::EndSession { .. }) { waiting } else { waiting.saturating_sub(1) };
        let encoded = adapter.encode(self.options(index), &self.context(besides), command);
        self.account(&adapter);
        if let Err(fault) = &encoded
            && fault.kind.is_sandbox()
        {
            self.struck(&adapter, fault.kind, &fault.detail, &[]);
        }
        encoded
    }

    /// Makes durable what encoding changed in the device's memory.
    pub(super) async fn remember(&mut self, encoded: &Encoded) -> Result<(), Closing> {
        if let Some(state) = &encoded.state {
            self.state.clone_from(state);
        }
        let (Some(memory), Some(present)) = (&encoded.memory, &mut self.present) else { return Ok(()) };
        let fact = Fact::Remembered { device: present.device.clone(), memory: HexBytes(memory.clone()) };
        let seq = self.services.commit(vec![fact]).await.map_err(|_| Closing::StoreFailing)?;
        let by = self.state_of.map(|(digest, _)| digest);
        self.services.registry.remember(&present.device, seq, memory, by);
        present.memory.clone_from(memory);
        Ok(())
    }
}
