//! Frames that turn out to mean something else: their readings are exchanged, and what was told before stays beside them,
//! marked as superseded, with the entry that told it. A frame that turns out to be somebody else's takes its readings along.
//!
//! Only readings are corrected. Events, counts and what a device's row shows of its last words stay as they were told.

use super::super::packing::{Place, Value};
use super::super::readings::Correction;
use super::{Arrival, Fold, Slot, told};
use crate::journal::FrameOutcome;
use crate::limits::{self, CORRECTIONS_OF_FRAME_MAX};
use crate::model::{Civil, Day, DeviceKey, Message, Seq};
use crate::views::store::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Values of one frame: by device, day and place.
type Values = BTreeMap<(u32, Day, Place), Value>;

/// What was said of a frame, or of a part of one, until now.
struct Before {
    /// When the frame came.
    at_ms: i64,
    /// Whose it was thought to be at first, and the name of who read it.
    sender: Option<DeviceKey>,
    adapter: String,
    /// All entries that told what it means.
    entries: Arc<[u64]>,
    last: Option<Said>,
}

/// What the last of them said.
struct Said {
    entry: Seq,
    device: Option<DeviceKey>,
    messages: Vec<Message>,
}

impl Fold {
    /// The entry `seq` says what a frame means, or a part of one, instead of the entry `before`.
    pub(super) fn corrected(
        &mut self,
        seq: Seq,
        (of, before): ((Seq, u32), Seq),
        device: Option<&DeviceKey>,
        outcome: &FrameOutcome,
    ) -> Result<()> {
        let FrameOutcome::Decoded { messages, .. } = outcome else { return Ok(()) };
        // What the journal has dropped meanwhile cannot be corrected any more.
        let Some(before) = self.before(of, before)? else { return Ok(()) };
        let Some(key) = device.or(before.sender.as_ref()) else { return Ok(()) };
        let at_ms = before.at_ms;
        let arrival = Arrival { seq, at_ms, civil: self.clock.civil(at_ms), adapter: &before.adapter };
        let slot = self.devices.ensure(key)?;
        let row = self.devices.row(slot);
        let held = row.held && !row.adopted;
        // Values leave the device that they were told of, which need not be the one that they are of now.
        let mut old = Values::new();
        if let Some(Said { entry, device, messages }) = &before.last
            && let Some(key) = device.as_ref().or(before.sender.as_ref())
            && let Some(slot) = self.devices.find(key)?
        {
            if *entry != of.0 {
                self.frames.drop_held(self.devices.id(slot), *entry);
            }
            old = self.values_of(slot, arrival, messages)?;
        }
        let new = if held { Values::new() } else { self.values_of(slot, arrival, messages)? };
        for ((device, day, place), _) in old.iter().filter(|(at, _)| !new.contains_key(*at)) {
            let correction = Correction { place: *place, instead_of: before.entries.clone(), new: None };
            self.readings.correct(*device, *day, correction);
        }
        for ((device, day, place), value) in new {
            let correction = Correction { place, instead_of: before.entries.clone(), new: Some(value) };
            self.readings.correct(device, day, correction);
        }
        if held {
            self.hold(slot, arrival, seq);
        } else {
            self.days.day(arrival.civil.day(), &before.adapter).redecoded += 1;
        }
        Ok(())
    }

    /// All that was said of it, from the entry `at` back to the one with its bytes.
    fn before(&self, (entry, part): (Seq, u32), mut at: Seq) -> Result<Option<Before>> {
        let Some((frame, at_ms, _)) = self.journal.first_told(entry)? else { return Ok(None) };
        let Some(Ok(first)) = self.journal.get(entry)?.map(|stored| stored.entry) else { return Ok(None) };
        let Some(piece) = first.fact.piece(part) else { return Ok(None) };
        // Readings of a frame name the frame, whichever entry could read it first.
        let (mut entries, mut last) = (vec![frame.0], None);
        for _ in 0..CORRECTIONS_OF_FRAME_MAX {
            entries.push(at.0);
            let mut note = |device: Option<&DeviceKey>, outcome: &FrameOutcome| {
                if let (None, FrameOutcome::Decoded { messages, .. }) = (&last, outcome) {
                    last = Some(Said { entry: at, device: device.cloned(), messages: messages.clone() });
                }
            };
            if at == entry {
                note(piece.device, piece.outcome);
                break;
            }
            let Some(Ok(later)) = self.journal.get(at)?.map(|stored| stored.entry) else { break };
            let Some(again) = later.fact.again().filter(|again| again.of == (entry, part)) else { break };
            note(again.device, again.outcome);
            match again.before {
                Some(before) => at = before,
                None => break,
            }
        }
        let adapter = piece.adapter.map_or_else(String::new, |adapter| adapter.name.clone());
        Ok(Some(Before { at_ms, sender: piece.device.cloned(), adapter, entries: entries.into(), last }))
    }

    fn values_of(&mut self, sender: Slot, arrival: Arrival, messages: &[Message]) -> Result<Values> {
        let mut values = Values::new();
        for report in messages.iter().filter_map(Message::report) {
            let subject = match &report.subject {
                Some(address) => self.devices.subject(sender, address)?,
                None => Some(sender),
            };
            let Some(slot) = subject else { continue };
            let mut all: Vec<(Civil, Value)> = Vec::new();
            let calendar = limits::CIVIL_MIN..=limits::CIVIL_MAX;
            told(arrival, report, |at, value| all.extend(calendar.contains(&at.0).then_some((at, value))));
            for (at, value) in all {
                // The device's row knows from then on that this day has readings.
                self.devices.reading(slot, at.day());
                let value = Value { second: at.second_of_day(), ..value };
                values.insert((self.devices.id(slot), at.day(), value.place()), value);
            }
        }
        Ok(values)
    }
}
