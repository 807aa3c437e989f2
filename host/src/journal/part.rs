//! What a carrier's frame brought of other devices: pieces of its relayed payloads, each read by an adapter of its own. A part
//! names its place in the carrying message, so that its bytes stand in the entry once.

use super::{AdapterRef, FrameOutcome};
use crate::model::{DeviceKey, Message, Relayed};
use serde::{Deserialize, Serialize};

/// A piece of a relayed payload, and what it meant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Which of the carrying frame's messages has it in its payload.
    pub message: u16,
    /// Where in that payload it begins, and its length.
    pub from: u32,
    pub bytes: u32,
    /// Who sent it, as far as known.
    pub device: Option<DeviceKey>,
    /// `None`: nobody knows which adapter reads it.
    pub adapter: Option<AdapterRef>,
    pub outcome: FrameOutcome,
}

/// A part found in an entry.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// 1 for the first; carried ones come after what carries them.
    pub number: u32,
    pub part: &'a Part,
    /// Its bytes.
    pub raw: &'a [u8],
    /// The message that has them in its payload.
    pub relayed: &'a Relayed,
    /// The part that carries it; `None`: the frame itself.
    pub carrier: Option<&'a Part>,
}

impl FrameOutcome {
    /// All parts, those within parts included, in the order of their numbers.
    pub fn parts(&self) -> Vec<Found<'_>> {
        let mut found = Vec::new();
        self.collect(None, &mut found);
        found
    }

    /// The part with this number.
    pub fn part(&self, number: u32) -> Option<Found<'_>> {
        self.parts().into_iter().find(|found| found.number == number)
    }

    fn collect<'a>(&'a self, carrier: Option<&'a Part>, found: &mut Vec<Found<'a>>) {
        let Self::Decoded { messages, behind, .. } = self else { return };
        for part in behind {
            let Some(Message::Relayed(relayed)) = messages.get(usize::from(part.message)) else { continue };
            let from = part.from as usize;
            let raw = relayed.payload.0.get(from..from + part.bytes as usize).unwrap_or_default();
            let number = found.len() as u32 + 1;
            found.push(Found { number, part, raw, relayed, carrier });
            part.outcome.collect(Some(part), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::FaultKind;
    use crate::model::HexBytes;

    fn relayed(payload: &[u8]) -> Message {
        let payload = HexBytes(payload.to_vec());
        Message::Relayed(Relayed { target: "1".into(), protocol: "raw".into(), channel: 2, payload, correlation: None })
    }

    fn part(message: u16, (from, bytes): (u32, u32), outcome: FrameOutcome) -> Part {
        Part { message, from, bytes, device: None, adapter: None, outcome }
    }

    fn decoded(messages: Vec<Message>, behind: Vec<Part>) -> FrameOutcome {
        FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind }
    }

    #[test]
    fn parts_are_numbered_through_all_depths() {
        let fault = || FrameOutcome::Fault { kind: FaultKind::Foreign, detail: String::new() };
        let inner = decoded(vec![relayed(&[7, 8])], vec![part(0, (1, 1), fault())]);
        let outer = decoded(
            vec![Message::EndOfSession, relayed(&[1, 2, 3])],
            vec![part(1, (0, 2), inner), part(1, (2, 9), fault())],
        );
        let found: Vec<_> = outer.parts().iter().map(|f| (f.number, f.raw.to_vec(), f.carrier.is_some())).collect();
        assert_eq!(found, [(1, vec![1, 2], false), (2, vec![8], true), (3, vec![], false)]);
        assert_eq!(outer.part(2).map(|f| f.relayed.channel), Some(2));
        assert!(outer.part(4).is_none());
    }
}
