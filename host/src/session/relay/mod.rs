//! Devices behind carriers: their frames come within the carrier's, and what is asked of them goes out within its envelopes.
//!
//! `route` says who reads and writes for a device behind a carrier. `inward` takes payloads apart into parts of the carrier's
//! journal entry; it needs no session, so that kept frames are read again by it, too. `outward` wraps what is asked, and
//! `exchange` is the story of a frame that concerns somebody behind: which question it answers, what follows, and what goes
//! out once that is durable. What is said here happens on the carrier's session; whose turn it is says the desk.

mod exchange;
mod inward;
mod outward;
mod route;

pub use inward::read_again;
pub use route::{speakers, way_to};

use inward::Heard;
use outward::Leaving;
use route::Route;

use super::cutting::Chosen;
use super::machine::FrameFacts;
use crate::adapter::Admission;
use crate::journal::{CommandFact, Fact};
use crate::limits;
use crate::model::{DeviceKey, Digest};
use crate::session::evidence::ValveTold;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// What a carrier's session keeps for those behind it.
#[derive(Default)]
pub(super) struct Behind {
    pub subs: Subs,
    /// Questions under way, one a line.
    pub errands: Vec<Errand>,
    /// Lines that rest after a question, and until when.
    pub resting: Vec<(Option<u8>, i64)>,
    pub unkept: Unkept,
}

/// Frames of a carrier that have been understood and are not durable yet, and what follows from them.
#[derive(Default)]
pub(super) struct Unkept {
    frames: Vec<UnkeptFrame>,
    facts: Vec<Fact>,
    leaving: Leaving,
    /// Somebody was being asked when they came.
    asking: bool,
}

struct UnkeptFrame {
    with: Chosen,
    /// Where its entry stands among the facts.
    place: u64,
    steps: Vec<CommandFact>,
    facts: FrameFacts,
    memory: Option<Vec<u8>>,
    valves: Vec<ValveTold>,
    duplicate: bool,
    heard: Heard,
}

/// A question to a device behind, under way.
pub(super) struct Errand {
    /// The command.
    pub id: u64,
    pub device: DeviceKey,
    /// The channel of this session's device that leads there.
    pub channel: Option<u8>,
    /// How it gets there, from this session's device on; the last one is the device itself.
    pub hops: Vec<Envelope>,
    /// What the device's answer will carry; empty: it answers nothing.
    pub correlation: Vec<u8>,
    /// Frames for the device that follow once it has answered.
    pub rest: VecDeque<Vec<u8>>,
    /// By the steady clock, as all times of a session.
    pub answer_by_ms: i64,
    /// Frames that have left.
    pub legs: u32,
    pub gap_ms: i64,
}

/// One step on the way, and what the carrier before it calls this relay.
#[derive(Clone)]
pub(super) struct Envelope {
    pub route: Route,
    pub correlation: Vec<u8>,
}

/// What is known of devices behind, by their adapters' words.
#[derive(Default)]
pub(super) struct Subs {
    known: FxHashMap<DeviceKey, Sub>,
    uses: u64,
}

/// What an adapter wants remembered of a device, and which version of it.
pub(super) struct Remembered {
    pub device: DeviceKey,
    pub memory: Vec<u8>,
    pub by: Option<Digest>,
}

/// One device behind.
#[derive(Clone)]
pub(super) struct Sub {
    pub state: Vec<u8>,
    /// Whose state it is.
    pub state_of: Option<(Digest, u32)>,
    pub memory: Vec<u8>,
    pub admission: Admission,
    /// Its memory is newer than what is durable.
    pub ahead: bool,
    /// It is another version's, put into this one's words, and not durable yet.
    pub taken_over: bool,
    used: u64,
}

impl Behind {
    /// The next moment at which silence on a line means something.
    pub fn next_moment_ms(&self) -> Option<i64> {
        let answers = self.errands.iter().map(|errand| errand.answer_by_ms);
        answers.chain(self.resting.iter().map(|(_, until)| *until)).min()
    }

    pub fn is_free(&self, channel: Option<u8>) -> bool {
        !self.errands.iter().any(|errand| errand.channel == channel)
            && !self.resting.iter().any(|(resting, _)| *resting == channel)
    }

    /// Ends a question; its line rests if it has to.
    pub fn end(&mut self, id: u64, now_ms: i64) -> Option<Errand> {
        let at = self.errands.iter().position(|errand| errand.id == id)?;
        let errand = self.errands.swap_remove(at);
        if errand.gap_ms > 0 {
            self.resting.push((errand.channel, now_ms + errand.gap_ms));
        }
        Some(errand)
    }
}

impl Sub {
    pub fn new(memory: Vec<u8>, admission: Admission) -> Self {
        Self { state: Vec::new(), state_of: None, memory, admission, ahead: false, taken_over: false, used: 0 }
    }
}

impl Subs {
    pub fn get(&mut self, device: &DeviceKey) -> Option<&mut Sub> {
        self.uses += 1;
        let uses = self.uses;
        let sub = self.known.get_mut(device)?;
        sub.used = uses;
        Some(sub)
    }

    /// Keeps one more; the one that was idle longest may go.
    pub fn keep(&mut self, device: &DeviceKey, sub: Sub) {
        if self.known.len() >= limits::BEHIND_STATES_MAX && !self.known.contains_key(device) {
            let idle = self.known.iter().min_by_key(|(_, sub)| sub.used).map(|(device, _)| device.clone());
            if let Some(idle) = idle {
                self.known.remove(&idle);
            }
        }
        self.uses += 1;
        self.known.insert(device.clone(), Sub { used: self.uses, ..sub });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_bounded_and_the_idle_go_first() {
        let key = |n: usize| -> DeviceKey { format!("m/{n}").parse().expect("key") };
        let mut subs = Subs::default();
        for n in 0..limits::BEHIND_STATES_MAX {
            subs.keep(&key(n), Sub::new(vec![], Admission::Welcome));
        }
        assert!(subs.get(&key(0)).is_some());
        subs.keep(&key(100_000), Sub::new(vec![], Admission::Welcome));
        assert_eq!(subs.known.len(), limits::BEHIND_STATES_MAX);
        assert!(subs.get(&key(0)).is_some() && subs.get(&key(1)).is_none());
    }
}
