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
        let Some(before) = self.before(seq, of, before)? else { return Ok(()) };
        let Some(key) = device.or(before.sender.as_ref()) else { return Ok(()) };
        let at_ms = before.at_ms;
        let civil = self.clock.civil(at_ms);
        let arrival = Arrival { seq, at_ms, civil, adapter: &before.adapter, is_late: true };
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

    /// All that was said of it before `seq`, from the entry `at` back to the one with its bytes.
    fn before(&self, seq: Seq, (entry, part): (Seq, u32), mut at: Seq) -> Result<Option<Before>> {
        if entry >= seq {
            return Ok(None);
        }
        let Some((frame, at_ms, _)) = self.journal.first_told(entry)? else { return Ok(None) };
        let Some(Ok(first)) = self.journal.get(entry)?.map(|stored| stored.entry) else { return Ok(None) };
        let Some(piece) = first.fact.piece(part) else { return Ok(None) };
        // Readings of a frame name the frame, whichever entry could read it first.
        let (mut entries, mut last) = (vec![frame.0], None);
        for _ in 0..CORRECTIONS_OF_FRAME_MAX {
            if at >= seq {
                break;
            }
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
                // Behind whom somebody stands is nothing that a correction tells.
                Some(address) => self.devices.subject(sender, address.parse().ok(), address)?,
                None => Some(sender),
            };
            let Some(slot) = subject else { continue };
            let mut all: Vec<(Civil, Value)> = Vec::new();
            let calendar = limits::CIVIL_MIN..=limits::CIVIL_MAX;
            told(arrival, report, |at, value| all.extend(calendar.contains(&at.0).then_some((at, value))));
            for (at, value) in all {
                // The device's row knows from then on that this day has readings.
                self.devices.reading(slot, at.day(), arrival.civil);
                let value = Value { second: at.second_of_day(), ..value };
                values.insert((self.devices.id(slot), at.day(), value.place()), value);
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{NOON_MS, Station, decoded, device, frame, register, report};
    use super::super::super::{ReadingFilter, Views};
    use super::*;
    use crate::journal::{AdapterRef, Entry, Fact, FaultKind, Part};
    use crate::model::{Digest, HexBytes, Relayed};

    fn volume(mantissa: i64) -> FrameOutcome {
        decoded(vec![Message::Report(report(Some(Civil(1_000)), vec![register(mantissa)]))])
    }

    fn adapter() -> AdapterRef {
        AdapterRef { name: "usp".into(), digest: Digest([8; 32]), profile: String::new() }
    }

    /// `frame`, told by `before` until now, is of that device and says so.
    fn corrected((frame, before): (Seq, Seq), address: &str, outcome: FrameOutcome) -> Fact {
        let (frame, before, device) = (frame.0, before.0, Some(device(address)));
        let (by, why) = ("anna".into(), "address".into());
        Fact::Corrected { frame, before, adapter: adapter(), device, outcome, by, why }
    }

    fn reread((frame, part): (Seq, u32), address: &str, outcome: FrameOutcome) -> Fact {
        let (frame, before, device) = (frame.0, frame.0, Some(device(address)));
        let (by, why) = ("anna".into(), "scale".into());
        Fact::Reread { frame, part, before, adapter: adapter(), device, outcome, by, why }
    }

    /// Values and the entries that told them.
    type Told = Vec<(i64, u64)>;

    /// What is current, and what was superseded.
    fn told(views: &Views, address: &str) -> (Told, Told) {
        let filter = ReadingFilter { from: Civil(0), to: Civil(86_399), quantity: None, with_superseded: true };
        let page = views.readings(&device(address), &filter, None, 100).expect("reads");
        let of = |superseded: bool| {
            let rows = page.rows.iter().filter(|row| row.superseded == superseded);
            let mut all: Vec<_> = rows.map(|row| (row.register.mantissa, row.source.0)).collect();
            all.sort_unstable();
            all
        };
        (of(false), of(true))
    }

    #[test]
    fn a_frame_is_billed_at_one_meter() {
        let station = Station::new("moved");
        // The meter's own value; then another one's, read as its own and so pushing it aside.
        let own = station.tell(frame("1", volume(100)));
        let later = Entry { at_ms: NOON_MS + 60_000, fact: frame("1", volume(200)) };
        let wrong = station.journal.append_blocking(later).expect("appends");
        assert_eq!(told(&station.views(), "1"), (vec![(200, wrong.0)], vec![(100, own.0)]));
        let first = station.tell(corrected((wrong, wrong), "2", volume(200)));
        let views = station.views();
        assert_eq!(told(&views, "1"), (vec![(100, own.0)], vec![(200, wrong.0)]));
        assert_eq!(told(&views, "2"), (vec![(200, first.0)], vec![]));
        drop(views);
        // And once more, to a third one with another value.
        let second = station.tell(corrected((wrong, first), "3", volume(300)));
        let views = station.views();
        assert_eq!(told(&views, "1"), (vec![(100, own.0)], vec![(200, wrong.0)]));
        assert_eq!(told(&views, "2"), (vec![], vec![(200, first.0)]));
        assert_eq!(told(&views, "3"), (vec![(300, second.0)], vec![]));
    }

    #[test]
    fn a_held_device_gets_its_corrected_readings_once_adopted() {
        let station = Station::new("moved-held");
        let mut held = volume(1);
        if let FrameOutcome::Decoded { held, messages, .. } = &mut held {
            (*held, *messages) = (true, vec![Message::EndOfSession]);
        }
        station.tell(frame("2", held));
        let wrong = station.tell(frame("1", volume(200)));
        let moved = station.tell(corrected((wrong, wrong), "2", volume(200)));
        // What was taken back before anybody let it in is never told.
        let other = station.tell(frame("1", volume(300)));
        let back = station.tell(corrected((other, other), "2", volume(300)));
        let again = station.tell(corrected((other, back), "1", volume(300)));
        let views = station.views();
        assert_eq!(told(&views, "2"), (vec![], vec![]));
        assert_eq!(told(&views, "1").0, [(300, again.0)]);
        drop(views);
        station.tell(Fact::DeviceAdopted { device: device("2"), by: "anna".into() });
        let views = station.views();
        assert_eq!(told(&views, "2"), (vec![(200, moved.0)], vec![]));
        assert_eq!(told(&views, "1").0, [(300, again.0)]);
    }

    #[test]
    fn a_part_is_corrected_alone_and_what_nobody_could_read_is_told() {
        let station = Station::new("part-corrected");
        let payload = HexBytes(vec![1, 2, 3]);
        let relayed = Relayed { target: String::new(), protocol: "raw".into(), channel: 1, payload, correlation: None };
        let part = |from, address, outcome| {
            let adapter = Some(adapter());
            Part { message: 0, from, bytes: 1, device: Some(device(address)), adapter, outcome }
        };
        let fault = FrameOutcome::Fault { kind: FaultKind::Corrupt, detail: "a sum".into() };
        let parts = vec![part(0, "1", volume(100)), part(1, "2", volume(100)), part(2, "3", fault)];
        let carrier = match decoded(vec![Message::Relayed(relayed)]) {
            FrameOutcome::Decoded { messages, memory, duplicate, held, .. } => {
                FrameOutcome::Decoded { messages, memory, duplicate, held, behind: parts }
            }
            fault @ FrameOutcome::Fault { .. } => fault,
        };
        let carrying = station.tell(frame("9", carrier));
        let corrected = station.tell(reread((carrying, 2), "2", volume(200)));
        station.tell(reread((carrying, 3), "3", volume(300)));
        let views = station.views();
        assert_eq!(told(&views, "1"), (vec![(100, carrying.0)], vec![]));
        assert_eq!(told(&views, "2"), (vec![(200, corrected.0)], vec![(100, carrying.0)]));
        assert_eq!(told(&views, "3"), (vec![(300, carrying.0)], vec![]));
        assert_eq!(views.quarantine_counts().expect("reads"), []);
    }

    #[test]
    fn a_correction_moves_no_meter_to_another_carrier() {
        let station = Station::new("carrier-corrected");
        let said = |mantissa| {
            let mut report = report(Some(Civil(1_000)), vec![register(mantissa)]);
            report.subject = Some(device("7").to_string());
            decoded(vec![Message::Report(report)])
        };
        let before = station.tell(frame("1", said(100)));
        station.tell(frame("2", said(200)));
        station.tell(corrected((before, before), "1", said(101)));
        let row = station.views().device(&device("7")).expect("reads").expect("a device");
        assert_eq!(row.carrier, Some(device("2")));
    }
}
