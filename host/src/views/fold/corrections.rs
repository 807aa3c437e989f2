//! Frames that turn out to mean something else: their readings are exchanged, and what was told before stays beside them,
//! marked as superseded, with the entry that told it.
//!
//! Only readings are corrected. Events, counts and what a device's row shows of its last words stay as they were told.

use super::super::packing::{Place, Value};
use super::super::readings::Correction;
use super::{Arrival, Fold, Slot, told};
use crate::journal::{Fact, FrameOutcome};
use crate::limits::{self, CORRECTIONS_OF_FRAME_MAX};
use crate::model::{Civil, Day, DeviceKey, Message, Seq};
use crate::views::store::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Values of one frame: by device, day and place.
type Values = BTreeMap<(u32, Day, Place), Value>;

impl Fold {
    /// The entry `seq` says what the frame means, instead of the entry `before`.
    pub(super) fn corrected(
        &mut self,
        seq: Seq,
        (frame, before): (Seq, u64),
        device: Option<&DeviceKey>,
        outcome: &FrameOutcome,
    ) -> Result<()> {
        let FrameOutcome::Decoded { messages, .. } = outcome else { return Ok(()) };
        // What the journal has dropped meanwhile cannot be corrected any more.
        let Some(Ok(first)) = self.journal.get(frame)?.map(|stored| stored.entry) else { return Ok(()) };
        let Fact::Frame(fact) = &first.fact else { return Ok(()) };
        let Some(key) = device.or(fact.device.as_ref()) else { return Ok(()) };
        let slot = self.devices.ensure(key)?;
        let row = self.devices.row(slot);
        if row.held && !row.adopted {
            return Ok(());
        }
        let arrival = Arrival { seq, at_ms: first.at_ms, civil: self.clock.civil(first.at_ms), adapter: "" };
        let (instead_of, told_before) = self.told_before(frame, before)?;
        let old = self.values_of(slot, arrival, &told_before)?;
        let new = self.values_of(slot, arrival, messages)?;
        let adapter = fact.adapter.as_ref().map_or("", |adapter| &adapter.name);
        self.days.day(arrival.civil.day(), adapter).redecoded += 1;
        for ((device, day, place), _) in old.iter().filter(|(at, _)| !new.contains_key(*at)) {
            let correction = Correction { place: *place, instead_of: instead_of.clone(), new: None };
            self.readings.correct(*device, *day, correction);
        }
        for ((device, day, place), value) in new {
            let correction = Correction { place, instead_of: instead_of.clone(), new: Some(value) };
            self.readings.correct(device, day, correction);
        }
        Ok(())
    }

    /// All entries that told what a frame means, and what the last of them said.
    fn told_before(&self, frame: Seq, before: u64) -> Result<(Arc<[u64]>, Vec<Message>)> {
        let (mut chain, mut last, mut at) = (vec![frame.0], None, before);
        for _ in 0..CORRECTIONS_OF_FRAME_MAX {
            let Some(Ok(entry)) = self.journal.get(Seq(at))?.map(|stored| stored.entry) else { break };
            let (outcome, next) = match entry.fact {
                Fact::Frame(fact) => (fact.outcome, None),
                Fact::Redecoded { outcome, .. } => (outcome, None),
                Fact::Corrected { outcome, before, .. } => (outcome, Some(before)),
                _ => break,
            };
            if let FrameOutcome::Decoded { messages, .. } = outcome {
                last.get_or_insert(messages);
            }
            chain.push(at);
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok((chain.into(), last.unwrap_or_default()))
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
