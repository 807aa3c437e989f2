//! Sendings that nobody waits for any more and whose outcome is unknown: their answers may still come in their session.

use crate::journal::{CommandFact, CommandStep};
use crate::limits;
use crate::model::{Answer, DeviceKey, Outcome};
use std::collections::VecDeque;

/// Oldest first.
#[derive(Debug, Default)]
pub struct GivenUp(VecDeque<Sending>);

/// A sending, by what its answer says.
#[derive(Debug)]
pub struct Sending {
    pub id: u64,
    pub device: DeviceKey,
    pub session: u64,
    pub correlation: Vec<u8>,
    /// It was accepted, and another answer is its end.
    pub ends_by_answer: bool,
}

impl GivenUp {
    pub fn add(&mut self, sending: Sending) {
        if self.0.len() == limits::GIVEN_UP_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sending);
    }

    /// A durable step, of a command that is on the desk or not.
    pub fn apply(&mut self, fact: &CommandFact, is_on_desk: bool) {
        match &fact.step {
            CommandStep::Late { .. } => self.0.retain(|sending| sending.id != fact.id),
            CommandStep::Answered { .. } if !is_on_desk => self.0.retain(|sending| sending.id != fact.id),
            // An answer of that name is to this one from now on, also if it is repeated.
            CommandStep::Sent { session, correlation, .. } => self.0.retain(|sending| {
                !sending.ends_by_answer
                    || sending.session != *session
                    || sending.correlation != correlation.0
                    || sending.device != fact.device
            }),
            _ => {}
        }
    }

    /// Whom this answers, and the step that it is.
    pub fn answered(&self, device: &DeviceKey, answer: &Answer, session: u64) -> Option<(u64, CommandStep)> {
        let of = |sending: &&Sending| {
            sending.session == session && sending.correlation == answer.correlation.0 && sending.device == *device
        };
        let sending = self.0.iter().rev().find(of)?;
        let Answer { outcome, reason, raw_code, body, .. } = answer.clone();
        let step = match (sending.ends_by_answer, outcome) {
            // Said once more, it is as open as before.
            (true, Outcome::Accepted) => return None,
            (true, _) => CommandStep::Answered { outcome, reason, raw_code, body },
            (false, _) => CommandStep::Late { outcome, reason, raw_code, body },
        };
        Some((sending.id, step))
    }
}
