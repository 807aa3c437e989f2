//! What each entry means to the views. The story of a frame is told here; the single views only keep rows.
//!
//! Folding is a function of the entries and their order alone: where batches end, and whether a view was just rebuilt,
//! changes nothing.

use super::device_fold::{self, Slot, Status};
use super::packing::Value;
use super::store::{Result, Snapshot, ViewError};
use super::{
    adapters, commands, credentials, days, devices, events, families, frames, latest, polls, profiles, quarantine,
    readings, registry,
};
use crate::clock::Clock;
use crate::journal::{
    AdapterRef, AdapterState, CommandStep, Entry, Fact, FrameFact, FrameOutcome, Reader, RegistryFact,
};
use crate::limits;
use crate::model::{Answer, AnswerBody, Civil, DeviceKey, Digest, HexBytes, Message, Quality, Report, Seq};
use redb::WriteTransaction;

mod behind;
mod corrections;
mod reported;

/// All views between two commits.
pub(super) struct Fold {
    devices: device_fold::Fold,
    readings: readings::Fold,
    events: events::Fold,
    commands: commands::Fold,
    quarantine: quarantine::Fold,
    days: days::Fold,
    adapters: adapters::Fold,
    credentials: credentials::Fold,
    latest: latest::Fold,
    frames: frames::Fold,
    registry: registry::Fold,
    polls: polls::Fold,
    profiles: profiles::Fold,
    clock: Clock,
    /// For frames that were kept aside.
    journal: Reader,
}

/// When and how a frame came.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    seq: Seq,
    at_ms: i64,
    /// The same moment on the fleet's wall clock.
    civil: Civil,
    /// Name of the adapter, for counting.
    adapter: &'a str,
    /// It came long before it is folded: read again, or of a device that was held.
    is_late: bool,
}

/// Calls a macro with every table of every view.
macro_rules! with_all_tables {
    ($call:ident) => {
        $call!(devices::IDS, devices::KEYS, devices::ADDRESSES, devices::ROWS, devices::FACTS);
        $call!(devices::MARKS, devices::MARK_COUNTS, devices::ADAPTER_REFS, devices::ADOPTED);
        $call!(
            readings::READINGS,
            events::EVENTS,
            events::LOG,
            frames::FRAMES,
            frames::HELD,
            frames::REDECODED,
            latest::LATEST
        );
        $call!(commands::COMMANDS, commands::OPEN, commands::BY_DEVICE, quarantine::QUARANTINE, quarantine::COUNTS);
        $call!(
            families::FAMILIES,
            families::FAMILY_DAYS,
            days::DAYS,
            days::ARRIVALS,
            adapters::ADAPTERS,
            adapters::HISTORY
        );
        $call!(credentials::KEYS, credentials::TOKENS, polls::ROUNDS);
        $call!(registry::RECORDS, registry::CHILDREN, registry::DISTRICTS);
        $call!(registry::LINES, registry::ENTRIES);
        $call!(profiles::PROFILES, profiles::BINDINGS, profiles::REMOVALS, profiles::HISTORY);
    };
}

pub(super) fn create_tables(txn: &WriteTransaction) -> Result<()> {
    macro_rules! create {
        ($($table:expr),+) => { $(txn.open_table($table).map_err(ViewError::store)?;)+ };
    }
    with_all_tables!(create);
    Ok(())
}

/// Every row of every table as text.
#[cfg(test)]
pub(super) fn for_each_row(snapshot: &Snapshot, take: &mut dyn FnMut(String)) -> Result<()> {
    use redb::{ReadableTable, TableHandle};
    macro_rules! each {
        ($($table:expr),+) => { $(
            for row in snapshot.table($table)?.iter().map_err(ViewError::store)? {
                let (key, value) = row.map_err(ViewError::store)?;
                take(format!("{} {:?} {:?}", $table.name(), key.value(), value.value()));
            }
        )+ };
    }
    with_all_tables!(each);
    Ok(())
}

impl Fold {
    pub fn load(snapshot: &Snapshot, clock: Clock, journal: Reader) -> Result<Self> {
        Ok(Self {
            devices: device_fold::Fold::load(snapshot)?,
            readings: readings::Fold::default(),
            events: events::Fold::default(),
            commands: commands::Fold::default(),
            quarantine: quarantine::Fold::load(snapshot)?,
            days: days::Fold::default(),
            adapters: adapters::Fold::default(),
            credentials: credentials::Fold::default(),
            latest: latest::Fold::default(),
            frames: frames::Fold::default(),
            registry: registry::Fold::default(),
            polls: polls::Fold::default(),
            profiles: profiles::Fold::default(),
            clock,
            journal,
        })
    }

    /// Before the first entry of a batch; `snapshot` shows what was written so far.
    pub fn begin(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.devices.begin(snapshot)
    }

    /// After the last entry of a batch.
    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        self.devices.write(txn)?;
        self.readings.write(txn)?;
        self.events.write(txn)?;
        self.commands.write(txn)?;
        self.quarantine.write(txn)?;
        self.days.write(txn)?;
        self.adapters.write(txn)?;
        self.credentials.write(txn)?;
        self.latest.write(txn)?;
        self.frames.write(txn)?;
        self.registry.write(txn)?;
        self.polls.write(txn)?;
        self.profiles.write(txn)
    }

    pub fn entry(&mut self, snapshot: &Snapshot, seq: Seq, entry: &Entry) -> Result<()> {
        let at_ms = entry.at_ms;
        match &entry.fact {
            Fact::Frame(frame) => self.frame(snapshot, seq, at_ms, frame),
            Fact::Command(fact) => {
                if let CommandStep::Sent { memory: Some(memory), through, .. } = &fact.step {
                    // A meter behind a carrier may be asked before it was ever heard.
                    let slot = match through {
                        Some(_) => Some(self.devices.ensure(&fact.device)?),
                        None => self.devices.find(&fact.device)?,
                    };
                    if let Some(slot) = slot {
                        self.devices.set_memory(slot, seq, memory);
                    }
                }
                let (row, before) = self.commands.apply(snapshot, fact, seq, at_ms)?;
                if matches!(fact.step, CommandStep::Retold { .. }) {
                    return Ok(());
                }
                self.polls.command(snapshot, row, before)
            }
            Fact::Adapter(fact) => {
                self.adapters.apply(fact, seq, at_ms);
                Ok(())
            }
            Fact::Redecoded { frame, adapter, outcome, device, part, .. } => {
                self.redecoded(snapshot, seq, (*frame, *part), *adapter, outcome, device.as_ref())
            }
            Fact::Corrected { frame, before, device, outcome, .. } => {
                self.corrected(seq, ((Seq(*frame), 0), Seq(*before)), device.as_ref(), outcome)
            }
            Fact::Reread { frame, part, before, adapter, device, outcome, .. } => {
                let device = device.as_ref();
                if self.quarantine.holds((*frame, *part)) {
                    return self.redecoded(snapshot, seq, (*frame, *part), adapter.digest, outcome, device);
                }
                self.corrected(seq, ((Seq(*frame), *part), Seq(*before)), device, outcome)
            }
            Fact::DeviceAdopted { device, by } => {
                let slot = self.devices.ensure(device)?;
                self.devices.adopt(slot, seq, by);
                self.release(snapshot, slot)
            }
            Fact::Remembered { device, memory } => {
                if let Some(slot) = self.devices.find(device)? {
                    self.devices.set_memory(slot, seq, memory);
                }
                Ok(())
            }
            Fact::Forgotten { device, .. } => {
                if let Some(slot) = self.devices.find(device)? {
                    self.devices.set_memory(slot, seq, &HexBytes::default());
                }
                Ok(())
            }
            Fact::KeySet { .. } | Fact::TokenSet { .. } | Fact::TokenRevoked { .. } => {
                self.credentials.apply(entry, seq);
                Ok(())
            }
            Fact::Registry(fact) => {
                self.registry.apply(fact, seq, at_ms)?;
                self.announced(snapshot, fact)
            }
            Fact::Poll(fact) => self.polls.apply(snapshot, fact, seq, at_ms),
            Fact::Profile(fact) => {
                self.profiles.apply(fact, seq, at_ms);
                Ok(())
            }
        }
    }

    fn frame(&mut self, snapshot: &Snapshot, seq: Seq, at_ms: i64, frame: &FrameFact) -> Result<()> {
        let adapter = frame.adapter.as_ref().map_or("", |a| &a.name);
        let arrival = Arrival { seq, at_ms, civil: self.clock.civil(at_ms), adapter, is_late: false };
        let counts = self.days.day(arrival.civil.day(), adapter);
        counts.frames += 1;
        counts.bytes += frame.raw.len() as u64;
        self.days.minute(at_ms).frames += 1;
        match &frame.outcome {
            FrameOutcome::Fault { kind, detail } => {
                self.days.day(arrival.civil.day(), adapter).faults += 1;
                self.days.minute(at_ms).faults += 1;
                // A stranger's fault makes no device: anybody could fill the list of devices with them.
                if let Some(key) = &frame.device
                    && let Some(slot) = self.devices.find(key)?
                {
                    self.devices.seen(slot, seq, at_ms, None);
                    let row = self.devices.change(slot);
                    row.counts.frames += 1;
                    row.counts.faults += 1;
                    self.frames.add(self.devices.id(slot), arrival.civil.day(), seq);
                }
                let row = quarantine::QuarantineRow {
                    seq,
                    part: 0,
                    frame: seq,
                    at_ms,
                    listener: frame.listener.clone(),
                    peer: frame.peer.clone(),
                    device: frame.device.clone(),
                    adapter: frame.adapter.clone(),
                    kind: *kind,
                    detail: detail.clone(),
                    bytes: frame.raw.len(),
                };
                self.quarantine.add(snapshot, row)
            }
            FrameOutcome::Decoded { messages, memory, duplicate, held, behind } => {
                let Some(key) = &frame.device else {
                    self.count(arrival, messages);
                    return self.behind(snapshot, seq, arrival, frame, &frame.outcome);
                };
                let slot = self.devices.ensure(key)?;
                self.devices.seen(slot, seq, at_ms, frame.adapter.as_ref());
                self.devices.change(slot).counts.frames += 1;
                if let Some(memory) = memory {
                    self.devices.set_memory(slot, seq, memory);
                }
                let only_heartbeats = messages.iter().all(|m| matches!(m, Message::Heartbeat(_)));
                if !only_heartbeats {
                    self.frames.add(self.devices.id(slot), arrival.civil.day(), seq);
                }
                if *duplicate {
                    self.devices.change(slot).counts.duplicates += 1;
                    self.days.day(arrival.civil.day(), adapter).duplicates += 1;
                    return Ok(());
                }
                if *held && !self.devices.row(slot).adopted {
                    if !only_heartbeats {
                        self.hold(slot, arrival, seq);
                    }
                    return Ok(());
                }
                if self.devices.row(slot).held {
                    // The policy lets it in now, without anybody having adopted it.
                    self.release(snapshot, slot)?;
                }
                self.messages(slot, arrival, messages)?;
                if behind.is_empty() {
                    return Ok(());
                }
                self.behind(snapshot, seq, arrival, frame, &frame.outcome)
            }
        }
    }

    /// Keeps aside what the entry `seq` says, until the device is adopted.
    fn hold(&mut self, slot: Slot, arrival: Arrival, seq: Seq) {
        self.days.day(arrival.civil.day(), arrival.adapter).held += 1;
        self.devices.hold(slot);
        let counts = &mut self.devices.change(slot).counts;
        if counts.held_frames < limits::HELD_FRAMES_MAX {
            counts.held_frames += 1;
            self.frames.hold(self.devices.id(slot), seq);
        }
    }

    /// Folds what was kept aside of a device.
    fn release(&mut self, snapshot: &Snapshot, slot: Slot) -> Result<()> {
        self.devices.unhold(slot);
        self.devices.change(slot).counts.held_frames = 0;
        for seq in self.frames.release(snapshot, self.devices.id(slot))? {
            // An entry that the journal has dropped meanwhile cannot be folded any more.
            self.release_entry(snapshot, slot, seq)?;
        }
        Ok(())
    }

    /// Who is in the registry is known: what was kept aside of such devices counts now.
    fn announced(&mut self, snapshot: &Snapshot, fact: &RegistryFact) -> Result<()> {
        for record in &fact.set {
            if self.devices.any_held()
                && let Some(slot) = self.devices.find(&record.device)?
                && self.devices.row(slot).held
            {
                self.release(snapshot, slot)?;
            }
        }
        Ok(())
    }

    /// A frame from quarantine was decoded by another adapter, or failed once more.
    fn redecoded(
        &mut self,
        snapshot: &Snapshot,
        seq: Seq,
        place: (u64, u32),
        adapter: Digest,
        outcome: &FrameOutcome,
        device: Option<&DeviceKey>,
    ) -> Result<()> {
        let (messages, memory, held) = match outcome {
            FrameOutcome::Fault { kind, detail } => {
                let name = self.devices.adapter_name(adapter).map(str::to_owned);
                let by = name.map(|name| AdapterRef { name, digest: adapter, profile: String::new() });
                return self.quarantine.failed_again(snapshot, place, (by, device), (*kind, detail));
            }
            FrameOutcome::Decoded { messages, memory, held, .. } => (messages, memory, *held),
        };
        // Decoded once is decoded: a second attempt at the same frame changes nothing.
        let Some(row) = self.quarantine.take(snapshot, place)? else { return Ok(()) };
        let frame = row.frame;
        let name = self.devices.adapter_name(adapter).or(row.adapter.as_ref().map(|a| &a.name[..])).unwrap_or("");
        let name = name.to_owned();
        let (at_ms, civil) = (row.at_ms, self.clock.civil(row.at_ms));
        let arrival = Arrival { seq: frame, at_ms, civil, adapter: &name, is_late: true };
        self.days.day(arrival.civil.day(), &name).redecoded += 1;
        self.frames.redecode(Seq(place.0), place.1, seq);
        let Some(key) = device.or(row.device.as_ref()) else {
            self.count(arrival, messages);
            return Ok(());
        };
        let slot = self.devices.ensure(key)?;
        self.devices.seen(slot, frame, row.at_ms, None);
        self.remember(slot, frame, memory.as_ref());
        self.frames.add(self.devices.id(slot), arrival.civil.day(), frame);
        if held && !self.devices.row(slot).adopted {
            self.hold(slot, arrival, seq);
            return Ok(());
        }
        self.messages_from(slot, arrival, behind::first_position(place.1), messages)?;
        let carrier = behind::Carrier { entry: seq, listener: &row.listener, peer: &row.peer, device: Some(key) };
        self.parts(snapshot, arrival, &carrier, outcome)
    }

    fn remember(&mut self, slot: Slot, seq: Seq, memory: Option<&HexBytes>) {
        if let Some(memory) = memory {
            self.devices.set_memory(slot, seq, memory);
        }
    }

    fn count(&mut self, arrival: Arrival, messages: &[Message]) {
        let counts = self.days.day(arrival.civil.day(), arrival.adapter);
        for message in messages {
            counts.message(message);
        }
    }

    /// What a welcome device says.
    fn messages(&mut self, slot: Slot, arrival: Arrival, messages: &[Message]) -> Result<()> {
        self.messages_from(slot, arrival, 0, messages)
    }

    /// The same, with the position of the first among all messages of the entry.
    fn messages_from(&mut self, slot: Slot, arrival: Arrival, first: u32, messages: &[Message]) -> Result<()> {
        let Arrival { seq, at_ms, civil, .. } = arrival;
        self.count(arrival, messages);
        for (position, message) in (first..).zip(messages) {
            match message {
                Message::Registration(registration) => {
                    self.devices.set_registration(slot, seq, at_ms, registration)?;
                    self.clock(slot, arrival, registration.clock);
                }
                Message::Heartbeat(heartbeat) => {
                    self.clock(slot, arrival, heartbeat.clock);
                    let status = Status { at: heartbeat.clock, valve: heartbeat.valve.as_ref(), alarms: None };
                    self.devices.set_status(slot, seq, (at_ms, civil), &status);
                }
                Message::Report(report) => {
                    let subject = self.report(slot, arrival, position, report)?;
                    if let Some(subject) = subject.filter(|_| report.is_reading()) {
                        self.reported(subject, arrival);
                    }
                }
                Message::Event(event) => {
                    let subject = match &event.subject {
                        Some(address) => self.subject(slot, address)?,
                        None => Some(slot),
                    };
                    match subject {
                        Some(subject) => self.events.add(self.devices.id(subject), civil, event, seq, at_ms),
                        None => self.days.day(civil.day(), arrival.adapter).unplaced += 1,
                    }
                }
                Message::Answer(answer) => self.answer(slot, arrival, position, answer)?,
                Message::Relayed(_) | Message::EndOfSession | Message::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, slot: Slot, arrival: Arrival, position: u32, answer: &Answer) -> Result<()> {
        match &answer.body {
            AnswerBody::Report(report) => {
                self.report(slot, arrival, position, report)?;
            }
            AnswerBody::Valve(valve) => {
                let status = Status { at: None, valve: Some(valve), alarms: None };
                self.devices.set_status(slot, arrival.seq, (arrival.at_ms, arrival.civil), &status);
            }
            AnswerBody::Schedule(schedule) => self.devices.set_schedule(slot, arrival.seq, schedule)?,
            AnswerBody::Clock(clock) => self.clock(slot, arrival, Some(*clock)),
            // They are kept with the command that asked.
            AnswerBody::None
            | AnswerBody::Parameters(_)
            | AnswerBody::Archive { .. }
            | AnswerBody::FirmwareNext(_)
            | AnswerBody::Balance(_)
            | AnswerBody::Raw(_) => {}
        }
        Ok(())
    }

    /// Of whom a carrier speaks: `realm/address` where the registry had somebody there when the frame came, or an address.
    fn subject(&mut self, carrier: Slot, subject: &str) -> Result<Option<Slot>> {
        self.devices.subject(carrier, subject.parse().ok(), subject)
    }

    fn clock(&mut self, slot: Slot, arrival: Arrival, clock: Option<Civil>) {
        if let Some(clock) = clock
            && arrival.seq.0 >= self.devices.row(slot).last_seq
        {
            self.devices.set_clock(slot, clock, arrival.civil);
        }
    }

    /// Gives of whom it is; `None`: nobody can be called so.
    fn report(&mut self, sender: Slot, arrival: Arrival, position: u32, report: &Report) -> Result<Option<Slot>> {
        let Arrival { seq, at_ms, civil, adapter, .. } = arrival;
        let subject = match &report.subject {
            Some(address) => self.subject(sender, address)?,
            None => Some(sender),
        };
        let Some(slot) = subject else {
            self.days.day(civil.day(), adapter).unplaced += 1;
            return Ok(None);
        };
        if slot != sender {
            self.devices.seen(slot, seq, at_ms, None);
            self.devices.told_by(slot, sender, seq, at_ms);
        }
        // A report without valve, alarms and status word (a read-out of history, say) does not say that all is well.
        let said = report.valve.is_some() || !report.alarms.is_empty() || report.raw_status != 0;
        let alarms = said.then_some((&report.alarms[..], report.raw_status));
        let status = Status { at: report.at, valve: report.valve.as_ref(), alarms };
        self.devices.set_status(slot, seq, (at_ms, civil), &status);
        let values = self.values(slot, arrival, report);
        self.days.day(civil.day(), adapter).values += values;
        self.latest.add((seq.0, position), self.devices.id(slot), at_ms, report);
        Ok(Some(slot))
    }

    /// A report's values on their way into the readings; gives their number.
    fn values(&mut self, slot: Slot, arrival: Arrival, report: &Report) -> u64 {
        let mut count = 0;
        told(arrival, report, |at, value| {
            self.value(slot, arrival, at, value);
            count += 1;
        });
        count
    }

    fn value(&mut self, slot: Slot, arrival: Arrival, at: Civil, value: Value) {
        // A time that no calendar has (the gate to the adapters lets none in) would wrap; take the reception's.
        let at = if (limits::CIVIL_MIN..=limits::CIVIL_MAX).contains(&at.0) { at } else { arrival.civil };
        let fresh = self.devices.reading(slot, at.day(), arrival.civil);
        let value = Value { second: at.second_of_day(), ..value };
        self.readings.add(self.devices.id(slot), at.day(), value, fresh);
    }
}

/// A report's values and their times.
fn told(arrival: Arrival, report: &Report, mut take: impl FnMut(Civil, Value)) {
    let default = report.at.unwrap_or(arrival.civil);
    for r in &report.registers {
        let value = Value {
            mantissa: r.mantissa,
            source: arrival.seq.0,
            received_ms: arrival.at_ms,
            second: 0,
            storage: r.storage,
            code: r.code,
            tariff: r.tariff,
            channel: r.channel,
            quantity: r.quantity,
            unit: r.unit,
            role: r.role,
            quality: r.quality,
            exponent: r.exponent,
            superseded: false,
            withdrawn: false,
        };
        take(r.at.unwrap_or(default), value);
    }
    for s in &report.series {
        let value = Value {
            mantissa: 0,
            source: arrival.seq.0,
            received_ms: arrival.at_ms,
            second: 0,
            storage: s.storage,
            code: s.code,
            tariff: s.tariff,
            channel: s.channel,
            quantity: s.quantity,
            unit: s.unit,
            role: s.role,
            quality: Quality::Good,
            exponent: s.exponent,
            superseded: false,
            withdrawn: false,
        };
        for sample in &s.samples {
            take(sample.at, Value { mantissa: sample.mantissa, ..value });
        }
    }
}

/// Facts told before `seq` that a rebuild must not lose, to be told again: credentials, adopted devices, commands that are not
/// finished, profiles, and where each adapter stands. Records of the registry are told again entry by entry, by who writes them.
pub(super) fn standing_before<E: From<ViewError>>(
    snapshot: &Snapshot,
    seq: Seq,
    mut tell: impl FnMut(Fact) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    for row in credentials::keys(snapshot)? {
        let credentials::KeyRow { device, slot, sealed, by, seq: told, .. } = row?;
        if told < seq {
            tell(Fact::KeySet { device, slot, sealed: Some(sealed), by })?;
        }
    }
    for row in credentials::tokens(snapshot)?.into_iter().filter(|row| row.seq < seq) {
        let credentials::TokenRow { name, role, hash, by, .. } = row;
        tell(Fact::TokenSet { name, role, hash, by })?;
    }
    for row in adapters::list(snapshot)? {
        if row.seq < seq && row.state != AdapterState::Rejected {
            tell(Fact::Adapter(row.standing()))?;
        }
    }
    for adopted in devices::adopted_before(snapshot, seq)? {
        let (device, by) = adopted?;
        tell(Fact::DeviceAdopted { device, by })?;
    }
    commands::standing_before(snapshot, seq)?.try_for_each(&mut tell)?;
    profiles::standing_before(snapshot, seq)?.into_iter().try_for_each(tell)
}
