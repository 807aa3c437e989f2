//! What a device says of its valve, and whether that decides an order that nobody has confirmed.
//!
//! Words may be old: repeated, held back by a carrier, or late answers to questions of before. An old "open" says nothing about an
//! order to close, and would call one failed that was carried out. So only two kinds of words decide: the newest ones, as
//! `views/words` has it, and the answer to a question that was asked once, and since.

use super::Services;
use crate::adapter::Decoded;
use crate::journal::{CommandFact, CommandStep};
use crate::model::{AnswerBody, Civil, DeviceKey, Message, Seq, ValveStatus};

/// A valve state as a frame tells it.
pub(super) struct ValveTold {
    valve: ValveStatus,
    /// By the device's clock.
    at: Option<Civil>,
    /// It answers a question.
    asked: bool,
}

impl Services {
    /// Valve states that this frame tells of its sender, which answers these commands. An order's own answer is no evidence of its
    /// own, nor is an answer that nobody waits for.
    pub(super) fn valves_told(&self, decoded: &Decoded, answers: &[CommandFact]) -> Vec<ValveTold> {
        if decoded.duplicate {
            return Vec::new();
        }
        let told = decoded.messages.iter().filter_map(|message| match message {
            Message::Report(r) if r.subject.is_none() => Some((r.valve.as_ref()?, r.at, false)),
            Message::Heartbeat(h) => Some((h.valve.as_ref()?, h.clock, false)),
            Message::Answer(a) => match &a.body {
                AnswerBody::Report(r) => Some((r.valve.as_ref()?, r.at, true)),
                _ => None,
            },
            _ => None,
        });
        let told = told.map(|(valve, at, asked)| ValveTold { valve: valve.clone(), at, asked });
        // Of a question that was sent twice, it may be the first answer that comes: of a time before.
        let is_late = |fact: &CommandFact| matches!(fact.step, CommandStep::Late { .. });
        let is_waited_for = || answers.iter().any(|step| !is_late(step) && self.desk.was_sent_once(step.id));
        told.filter(|told| !told.asked || is_waited_for()).collect()
    }

    /// Lets what the entry tells of a valve decide. `Err`: it could not be made durable.
    pub(super) async fn weigh(&self, device: &DeviceKey, told: &[ValveTold], seq: Seq) -> Result<(), String> {
        if told.is_empty() || !self.desk.awaits_evidence(device) {
            return Ok(());
        }
        // Every session asks, and few have it grow their task.
        Box::pin(self.decide(device, told, seq)).await
    }

    async fn decide(&self, device: &DeviceKey, told: &[ValveTold], seq: Seq) -> Result<(), String> {
        for ValveTold { valve, at, asked } in told {
            let is_of_now = if at.is_none() { *asked } else { self.is_news(device, seq).await };
            if is_of_now {
                self.commit_steps(self.desk.weighed(device, valve, seq.0)).await?;
            }
        }
        Ok(())
    }

    /// Whether the device's newest words are these. The views know, and are waited for; while they cannot be, nothing is decided.
    async fn is_news(&self, device: &DeviceKey, seq: Seq) -> bool {
        let shown = self.has_shown(seq).await;
        let newest = self.views.newest_valve(device).inspect_err(|error| self.views.note(error));
        shown && newest == Ok(Some(seq))
    }
}
