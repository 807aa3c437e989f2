//! What carriers' frames brought of devices behind them, folded as if those had sent it themselves, and what was kept aside of
//! held devices, whether they spoke directly or through a carrier.

use super::super::quarantine::QuarantineRow;
use super::{Arrival, Fold, Slot};
use crate::journal::{Fact, Found, FrameFact, FrameOutcome};
use crate::limits::MESSAGES_MAX;
use crate::model::{DeviceKey, Seq};
use crate::views::store::{Result, Snapshot};

/// Depth to which "read again" may point at "read again".
const AGAIN_MAX: usize = 8;

/// Whose frame it was, and where its parts are told.
pub(super) struct Carrier<'a> {
    /// The entry that has the parts.
    pub entry: Seq,
    pub listener: &'a str,
    pub peer: &'a str,
    pub device: Option<&'a DeviceKey>,
}

impl Fold {
    pub(super) fn behind(
        &mut self,
        snapshot: &Snapshot,
        entry: Seq,
        arrival: Arrival,
        frame: &FrameFact,
        outcome: &FrameOutcome,
    ) -> Result<()> {
        let (listener, peer, device) = (&frame.listener, &frame.peer, frame.device.as_ref());
        self.parts(snapshot, arrival, &Carrier { entry, listener, peer, device }, outcome)
    }

    pub(super) fn parts(
        &mut self,
        snapshot: &Snapshot,
        arrival: Arrival,
        carrier: &Carrier<'_>,
        outcome: &FrameOutcome,
    ) -> Result<()> {
        outcome.parts().iter().try_for_each(|found| self.part(snapshot, arrival, carrier, found))
    }

    /// The story of `Fold::frame`, for a part.
    fn part(&mut self, snapshot: &Snapshot, arrival: Arrival, carrier: &Carrier<'_>, found: &Found<'_>) -> Result<()> {
        let part = found.part;
        let arrival = Arrival { adapter: part.adapter.as_ref().map_or("", |a| &a.name), ..arrival };
        let Arrival { seq, at_ms, civil, adapter } = arrival;
        let (messages, memory, duplicate, held) = match &part.outcome {
            FrameOutcome::Fault { kind, detail } => {
                self.days.day(civil.day(), adapter).faults += 1;
                if let Some(key) = &part.device
                    && let Some(slot) = self.devices.find(key)?
                {
                    self.devices.seen(slot, seq, at_ms, None);
                    let row = self.devices.change(slot);
                    row.counts.frames += 1;
                    row.counts.faults += 1;
                    self.frames.add(self.devices.id(slot), civil.day(), seq);
                }
                let row = QuarantineRow {
                    seq: carrier.entry,
                    part: found.number,
                    frame: seq,
                    at_ms,
                    listener: carrier.listener.to_owned(),
                    peer: carrier.peer.to_owned(),
                    device: part.device.clone(),
                    adapter: part.adapter.clone(),
                    kind: *kind,
                    detail: detail.clone(),
                    bytes: found.raw.len(),
                };
                return self.quarantine.add(snapshot, row);
            }
            FrameOutcome::Decoded { messages, memory, duplicate, held, .. } => (messages, memory, *duplicate, *held),
        };
        let Some(key) = &part.device else {
            self.count(arrival, messages);
            return Ok(());
        };
        let slot = self.devices.ensure(key)?;
        self.devices.seen(slot, seq, at_ms, part.adapter.as_ref());
        self.devices.change(slot).counts.frames += 1;
        if let Some(through) = found.carrier.and_then(|c| c.device.as_ref()).or(carrier.device) {
            let through = self.devices.ensure(through)?;
            self.devices.change(slot).carrier = self.devices.id(through);
        }
        self.remember(slot, seq, memory.as_ref());
        self.frames.add(self.devices.id(slot), civil.day(), seq);
        if duplicate {
            self.devices.change(slot).counts.duplicates += 1;
            self.days.day(civil.day(), adapter).duplicates += 1;
            return Ok(());
        }
        if held && !self.devices.row(slot).adopted {
            self.hold(slot, arrival, carrier.entry);
            return Ok(());
        }
        if self.devices.row(slot).held {
            self.release(snapshot, slot)?;
        }
        self.messages_from(slot, arrival, first_position(found.number), messages)
    }

    /// Folds what an entry, kept aside until now, says of that device.
    pub(super) fn release_entry(&mut self, snapshot: &Snapshot, slot: Slot, seq: Seq) -> Result<()> {
        // An entry that the journal has dropped meanwhile cannot be folded any more.
        let Some(Ok(entry)) = self.journal.get(seq)?.map(|stored| stored.entry) else { return Ok(()) };
        let key = self.devices.key(slot).clone();
        let (frame_seq, at_ms, frame) = match &entry.fact {
            Fact::Frame(frame) => (seq, entry.at_ms, frame.clone()),
            Fact::Redecoded { frame, .. } => match self.first_told(Seq(*frame))? {
                Some(first) => first,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let (outcome, sender, adapter, number) = match &entry.fact {
            Fact::Redecoded { adapter, outcome, device, part, .. } => {
                let name = self.devices.adapter_name(*adapter).unwrap_or("").to_owned();
                (outcome, device.as_ref(), name, *part)
            }
            _ => (&frame.outcome, frame.device.as_ref(), frame.adapter.as_ref().map_or("", |a| &a.name).to_owned(), 0),
        };
        let arrival = Arrival { seq: frame_seq, at_ms, civil: self.clock.civil(at_ms), adapter: &adapter };
        if sender.is_none_or(|sender| *sender == key) {
            let FrameOutcome::Decoded { messages, .. } = outcome else { return Ok(()) };
            self.messages_from(slot, arrival, first_position(number), messages)?;
            let carrier = Carrier { entry: seq, listener: &frame.listener, peer: &frame.peer, device: Some(&key) };
            return self.parts(snapshot, arrival, &carrier, outcome);
        }
        for found in outcome.parts().iter().filter(|found| found.part.device.as_ref() == Some(&key)) {
            let FrameOutcome::Decoded { messages, .. } = &found.part.outcome else { continue };
            let arrival = Arrival { adapter: found.part.adapter.as_ref().map_or("", |a| &a.name), ..arrival };
            self.messages_from(slot, arrival, first_position(found.number), messages)?;
        }
        Ok(())
    }

    /// The frame that an entry speaks of, through those that only read something again.
    fn first_told(&self, entry: Seq) -> Result<Option<(Seq, i64, FrameFact)>> {
        let mut at = entry;
        for _ in 0..AGAIN_MAX {
            let Some(Ok(entry)) = self.journal.get(at)?.map(|stored| stored.entry) else { return Ok(None) };
            match entry.fact {
                Fact::Frame(frame) => return Ok(Some((at, entry.at_ms, frame))),
                Fact::Redecoded { frame, .. } => at = Seq(frame),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Messages of one entry are told apart by their position; each part has room of its own.
pub(super) fn first_position(part: u32) -> u32 {
    part.saturating_mul(MESSAGES_MAX as u32)
}
