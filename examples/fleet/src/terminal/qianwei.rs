//! 前卫 and 新圣: one report a communication, no registration; the acknowledgement says whether commands follow.

use super::{Heard, Said, Verdict, reading};
use crate::plan::{Noted, Occasion, Plan, Trouble};
use crate::population::{Member, Secrecy};
use crate::truth::{Event, Meaning, Met, Reading};
use polymeter::model::{Civil, Schedule};
use qianwei_7xxx::device::{self, Meter, ReportKind, Valve};

const REPORT: u16 = 0x7021;
const VALVE: u16 = 0x7024;
const READ_ACCOUNT: u16 = 0x7043;
const REMOTE_OPEN: u32 = 1 << 12;
const REMOTE_CLOSE: u32 = 1 << 13;

pub struct QianweiMeter {
    pub schedule: Schedule,
    meter: Meter,
    /// Occurrence bits of the last report that the station has: it tells the rise of a bit as an event.
    occurrences: u32,
    /// Those of the report on its way.
    on_its_way: u32,
    last_command: Option<(u16, i32)>,
}

impl QianweiMeter {
    pub fn new(member: &Member) -> Self {
        let meter = match member.secrecy {
            Secrecy::Plain => Meter::plain(&member.address),
            Secrecy::MakersKey => Meter::encrypted(&member.address),
            Secrecy::Aes | Secrecy::Sm4 => Meter::encrypted(&member.address).with_key(member.key),
        };
        let mut meter = meter.with_iccid(&format!("898604190018{:08}", member.number));
        meter.state.valve = if member.has_valve { Valve::Open } else { Valve::Absent };
        meter.state.meter_type = 1 + (member.number % 4) as u16;
        meter.state.price = 312;
        meter.state.purchased_total = 10_000 + member.number as u32;
        Self { schedule: member.schedule.clone(), meter, occurrences: 0, on_its_way: 0, last_command: None }
    }

    pub fn report(&mut self, member: &Member, plan: &Plan, at: Civil) -> Said {
        self.look_around(member, plan, at);
        let kind = match plan.occasion {
            Occasion::Scheduled => ReportKind::Scheduled,
            Occasion::Manual => ReportKind::Manual,
            Occasion::Abnormal(_) => ReportKind::Alarm,
        };
        let frame = self.meter.report(at.0, kind);
        self.on_its_way = self.meter.state.alarms & (REMOTE_OPEN | REMOTE_CLOSE);
        let key = key(REPORT, frame_id(&frame));
        Said { frame, key: Some(key), meaning: self.meaning(at) }
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Heard, String> {
        Ok(match self.meter.receive(frame)? {
            device::Heard::Acknowledged { command, frame_id, code, clock, more } => {
                self.occurrences = self.on_its_way;
                let verdict = if code == 0 { Verdict::Accepted } else { Verdict::Refused(code.into()) };
                Heard::Acknowledged { key: key(command, frame_id), verdict, clock: clock.map(Civil), pending: more }
            }
            device::Heard::Commanded { command, frame_id, more, answer, .. } => {
                let again = self.last_command.replace((command, frame_id)) == Some((command, frame_id));
                let done = self.meter.refuse_with.is_none() && (command != VALVE || self.has_valve());
                let met =
                    Met { order_id: None, is_valve: command == VALVE, carried_out: done && !again, answered: false };
                Heard::Commanded { answer, meaning: self.told_by(command), met, more }
            }
        })
    }

    pub fn cut(received: &[u8]) -> Option<usize> {
        Meter::cut(received)
    }

    fn has_valve(&self) -> bool {
        !matches!(self.meter.state.valve, Valve::Absent | Valve::Fault)
    }

    /// Sets what the meter measures now.
    fn look_around(&mut self, member: &Member, plan: &Plan, at: Civil) {
        let total = member.gauge.at(at) / 10;
        let s = &plan.surroundings;
        let state = &mut self.meter.state;
        state.working_total = total;
        state.standard_total = total - total / 50;
        state.standard_flow = s.flow.map(|flow| flow / 100);
        state.temperature = s.temperature.filter(|t| *t != -1);
        state.pressure = s.pressure.map(|p| p as i16);
        (state.rsrp, state.snr, state.ecl) = (s.rsrp, s.snr.max(0), s.ecl);
        (state.dry_battery, state.lithium_battery) = ((s.battery / 6) as i16, (s.battery / 10) as i16);
        state.earfcn = 2_500 + (member.number % 60) as u16;
        state.physical_cell = (member.number % 500) as i16;
        if let Some(balance) = s.balance {
            state.balance = balance.max(1);
            state.settled_reading = member.gauge.frozen(at.day()) / 10;
            state.settled_at = Some(at.day().start().0);
        }
        state.alarms &= REMOTE_OPEN | REMOTE_CLOSE;
        state.alarms |= plan.noted.iter().filter(|n| !n.cleared).fold(0, |bits, n| bits | alarm_bit(n));
        if let Occasion::Abnormal(trouble) = plan.occasion {
            state.alarms = state.alarms & !(REMOTE_OPEN | REMOTE_CLOSE) | trouble_bit(trouble);
            if self.has_valve() {
                self.meter.state.valve = Valve::ClosedForced;
            }
        }
    }

    fn meaning(&self, at: Civil) -> Meaning {
        let s = &self.meter.state;
        let mut readings = vec![
            reading(at, "working-volume", "cumulative", "cubic-metre", s.working_total.into(), -1),
            reading(at, "standard-volume", "cumulative", "cubic-metre", s.standard_total.into(), -1),
        ];
        let mut now = |value: Option<i64>, quantity, unit, exponent| {
            readings.extend(value.map(|v| reading(at, quantity, "instantaneous", unit, v, exponent)));
        };
        now(s.standard_flow.map(i64::from), "standard-flow", "cubic-metre-per-hour", -1);
        now(s.temperature.map(i64::from), "temperature", "degree-celsius", -2);
        now(s.pressure.map(i64::from), "pressure", "pascal", 2);
        now(Some(s.dry_battery.into()), "battery-voltage", "volt", -2);
        now(Some(s.lithium_battery.into()), "backup-battery-voltage", "volt", -2);
        now(Some(s.rsrp.into()), "signal-rsrp", "decibel-milliwatt", -1);
        now(Some(s.snr.into()), "signal-snr", "decibel", -1);
        now(Some(s.earfcn.into()), "channel-number", "none", 0);
        now(Some(s.cell.iter().fold(0, |n, b| n << 8 | i64::from(*b))), "identity", "none", 0);
        now(Some(s.physical_cell.into()), "physical-cell", "none", 0);
        now(Some(s.ecl.into()), "signal-ecl", "none", 0);
        if let Some(settled_at) = s.settled_at {
            now(Some(s.balance.into()), "balance", "yuan", -2);
            let settled = i64::from(s.settled_reading);
            readings.push(reading(Civil(settled_at), "volume", "frozen", "cubic-metre", settled, -1));
        }
        let events = self.new_occurrences(at);
        Meaning { readings, events, valve: Some(valve_name(s.valve)), is_report: true, ..Meaning::default() }
    }

    fn new_occurrences(&self, at: Civil) -> Vec<Event> {
        let new = self.on_its_way & !self.occurrences;
        let occurrences = [(REMOTE_OPEN, "remote-open-done"), (REMOTE_CLOSE, "remote-close-done")];
        let risen = occurrences.into_iter().filter(|(bit, _)| new & bit != 0);
        risen.map(|(_, code)| Event { at, code: code.into(), cleared: false, value: None }).collect()
    }

    /// Readings that an answer carries; the meter does not date them.
    fn told_by(&self, command: u16) -> Meaning {
        let s = &self.meter.state;
        let now = |quantity, role, unit, value| reading(Reading::UNDATED, quantity, role, unit, value, -2);
        let readings = match command {
            READ_ACCOUNT => vec![
                now("purchased-money", "cumulative", "yuan", s.purchased_total.into()),
                now("balance", "instantaneous", "yuan", s.balance.into()),
                now("price", "instantaneous", "yuan-per-cubic-metre", s.price.into()),
            ],
            _ => Vec::new(),
        };
        Meaning { readings, ..Meaning::default() }
    }
}

fn key(command: u16, frame_id: i32) -> u64 {
    u64::from(command) << 32 | u64::from(frame_id.cast_unsigned())
}

fn frame_id(frame: &[u8]) -> i32 {
    frame.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, i32::from_le_bytes)
}

/// Bits of this family for what the fleet's plan numbers as the unified protocol does.
fn alarm_bit(noted: &Noted) -> u32 {
    1 << match noted.bit {
        1 => 23,
        5 => 8,
        6 => 17,
        10 => 5,
        11 => 6,
        13 => 2,
        _ => 1,
    }
}

fn trouble_bit(trouble: Trouble) -> u32 {
    1 << match trouble {
        Trouble::GasLeak => 0,
        Trouble::Overflow => 4,
        Trouble::StrongMagnet => 8,
        Trouble::Earthquake => 27,
    }
}

fn valve_name(valve: Valve) -> &'static str {
    match valve {
        Valve::Absent => "absent",
        Valve::Open => "open",
        Valve::ClosedTemporary => "closed-temporary",
        Valve::ClosedForced => "closed-forced",
        Valve::Fault => "fault",
        Valve::Unknown => "unknown",
    }
}
