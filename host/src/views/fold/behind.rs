//! What carriers' frames brought of devices behind them, folded as if those had sent it themselves, and what was kept aside of
//! held devices, whether they spoke directly or through a carrier.

use super::super::quarantine::QuarantineRow;
use super::{Arrival, Fold, Slot};
use crate::journal::{Again, Found, FrameFact, FrameOutcome};
use crate::limits::MESSAGES_MAX;
use crate::model::{DeviceKey, Seq};
use crate::views::store::{Result, Snapshot};

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
        let Arrival { seq, at_ms, civil, adapter, .. } = arrival;
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
            self.devices.stands_behind(slot, through, seq);
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

    /// Of whom a carrier speaks: `realm/address` where the registry had somebody there when the frame came, or an address.
    pub(super) fn subject(&mut self, carrier: Slot, arrival: Arrival, subject: &str) -> Result<Option<Slot>> {
        let found = self.devices.subject(carrier, subject.parse().ok(), subject)?;
        if let Some(slot) = found {
            self.devices.stands_behind(slot, carrier, arrival.seq);
        }
        Ok(found)
    }

    /// Folds what an entry, kept aside until now, says of that device.
    pub(super) fn release_entry(&mut self, snapshot: &Snapshot, slot: Slot, seq: Seq) -> Result<()> {
        // An entry that the journal has dropped meanwhile cannot be folded any more.
        let Some(Ok(entry)) = self.journal.get(seq)?.map(|stored| stored.entry) else { return Ok(()) };
        let Some((frame_seq, at_ms, frame)) = self.journal.first_told(seq)? else { return Ok(()) };
        let key = self.devices.key(slot).clone();
        let again = entry.fact.again();
        if let Some(again) = &again
            && let Some(before) = again.before
            && !self.was_unread(again)?
        {
            return self.corrected(seq, (again.of, before), again.device, again.outcome);
        }
        let (outcome, sender, adapter, number) = if let Some(again) = again {
            let name = self.devices.adapter_name(again.digest).unwrap_or("").to_owned();
            (again.outcome, again.device, name, again.of.1)
        } else {
            let adapter = frame.adapter.as_ref().map_or("", |a| &a.name).to_owned();
            (&frame.outcome, frame.device.as_ref(), adapter, 0)
        };
        let civil = self.clock.civil(at_ms);
        let arrival = Arrival { seq: frame_seq, at_ms, civil, adapter: &adapter, is_late: true };
        let is_of_several = again.is_some_and(|again| again.is_of_several());
        if !is_of_several && sender.is_none_or(|sender| *sender == key) {
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

    /// Whether nobody could read the bytes before this entry did.
    fn was_unread(&self, again: &Again<'_>) -> Result<bool> {
        let (entry, part) = again.of;
        if again.before != Some(entry) {
            return Ok(false);
        }
        let Some(Ok(first)) = self.journal.get(entry)?.map(|stored| stored.entry) else { return Ok(false) };
        Ok(first.fact.piece(part).is_some_and(|piece| matches!(piece.outcome, FrameOutcome::Fault { .. })))
    }
}

/// Messages of one entry are told apart by their position; each part has room of its own.
pub(super) fn first_position(part: u32) -> u32 {
    part.saturating_mul(MESSAGES_MAX as u32)
}
