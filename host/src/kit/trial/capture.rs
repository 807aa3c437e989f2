//! An adapter against recorded frames: how many it reads, and what it makes of the rest.

use super::keep;
use crate::adapter::{Adapter, Direction, Transport};
use crate::journal::FaultKind;
use crate::kit::capture::Recorded;
use crate::kit::decode::Decoder;
use crate::model::Civil;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a capture showed.
#[derive(Debug, Default, Serialize)]
pub struct Against {
    pub frames: usize,
    pub decoded: usize,
    /// Messages by kind.
    pub messages: BTreeMap<String, usize>,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// One line a frame that was not read.
    pub examples: Vec<String>,
    /// The adapter trapped, ran past its deadline, or broke the contract.
    pub broken: Vec<String>,
}

/// Plays uplink frames session after session, each in its order. `now` stands where the capture names no time.
pub fn against(
    adapter: Adapter,
    (profile, transport): (String, Transport),
    mut recorded: Vec<Recorded>,
    now: Civil,
) -> Against {
    let mut found = Against::default();
    recorded.retain(|frame| frame.direction == Direction::Uplink);
    // Sessions of a station are interleaved; an adapter's state is of one.
    recorded.sort_by_key(|frame| frame.session);
    let mut decoder = Decoder::new(adapter, profile, transport);
    let mut session = None;
    for frame in &recorded {
        if session.replace(frame.session) != Some(frame.session) {
            decoder.begin();
        }
        found.frames += 1;
        let digits = hex::encode(&frame.bytes);
        let outcome = decoder.line(&digits, frame.at.unwrap_or(now)).unwrap_or_default();
        found.note(frame, &digits, &outcome);
    }
    found
}

impl Against {
    fn note(&mut self, frame: &Recorded, digits: &str, outcome: &Value) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(fault) = outcome.get("fault") {
            let kind = word(&fault["kind"]);
            let text = format!("line {}: {kind}: {} in {digits:.80}", frame.line, word(&fault["detail"]));
            let sandbox = [FaultKind::Trap, FaultKind::Deadline, FaultKind::Resources, FaultKind::Contract];
            let list = if sandbox.iter().any(|s| s.name() == kind) { &mut self.broken } else { &mut self.examples };
            keep(list, text);
            *self.faults.entry(kind).or_default() += 1;
            return;
        }
        self.decoded += 1;
        for message in outcome["messages"].as_array().into_iter().flatten() {
            *self.messages.entry(word(&message["type"])).or_default() += 1;
        }
    }
}
