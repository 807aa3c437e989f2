//! 深圳燃气: one report a datagram, no registration; the acknowledgement sets the clock and says whether a command follows.
//!
//! Half of these meters count tenths of a cubic metre on the wire and half whole ones; every third has a corrector.

use super::{Heard, Said, Verdict, reading};
use crate::gauge::Gauge;
use crate::plan::{Occasion, Plan, Trouble};
use crate::population::Member;
use crate::truth::{Event, Meaning, Met, Reading};
use polymeter::model::{Civil, Day, Schedule};
use szrq::device::{self, Meter};

const VALVE: u8 = 0x0F;
const READ_FROZEN: u8 = 0x0B;
const SET_REPORT: u8 = 0x13;
/// Where a frame names its message, and where its body begins.
const MESSAGE_AT: usize = 7;
const BODY_AT: usize = 47;
const DONE: i8 = 1;
/// No such item.
const ABSENT: i16 = -20_000;
const DIAPHRAGM: u8 = 1;
const TURBINE: u8 = 4;
const LOCKED: u8 = 3;
const DAILY: u8 = 2;
const BY_HAND: u8 = 0;
/// Months that a meter keeps.
const MONTHS_KEPT: usize = 20;

pub struct SzrqMeter {
    pub schedule: Schedule,
    meter: Meter,
    class: u8,
    corrects: bool,
    gauge: Gauge,
    /// 0.001 m³/h
    flow: Option<u32>,
}

impl SzrqMeter {
    pub fn new(member: &Member) -> Self {
        let mut meter = Meter::new(&member.address);
        let state = &mut meter.state;
        state.class = class(member);
        state.device_type = if corrects(member) { TURBINE } else { DIAPHRAGM };
        state.valve = u8::from(member.has_valve);
        state.imsi = format!("46000{:010}", member.number);
        // The month of the first day is over when somebody asks in the next one.
        keep_months(&mut meter, &member.gauge, Day(member.gauge.first().0 + 31));
        Self {
            schedule: member.schedule.clone(),
            meter,
            class: class(member),
            corrects: corrects(member),
            gauge: member.gauge,
            flow: None,
        }
    }

    /// It has lived until then, so that it knows the months before.
    pub fn has_lived_until(&mut self, day: Day) {
        keep_months(&mut self.meter, &self.gauge, day);
    }

    /// 07.
    pub fn report(&mut self, member: &Member, plan: &Plan, at: Civil) -> Said {
        self.look_around(member, plan, at);
        // With the station's leave, the user has opened the valve again.
        if self.meter.state.valve == 2 && at.0 % 3 == 0 {
            self.meter.state.valve = 1;
        }
        let period = if plan.occasion == Occasion::Manual { BY_HAND } else { DAILY };
        let frame = self.meter.report(at.0, period, false);
        let s = &self.meter.state;
        let mut readings = self.totals(at);
        let mut now = |quantity, unit, value: i64| {
            readings.push(reading(at, quantity, "instantaneous", unit, value, 0));
        };
        now("signal-csq", "none", s.signal.into());
        now("identity", "none", s.imsi.parse().unwrap_or_default());
        if let Some(settled_at) = s.settled_at {
            let settled = reading(Civil(settled_at), "volume", "frozen", "cubic-metre", s.settled.into(), -2);
            readings.push(settled);
        }
        self.said(frame, readings, Vec::new())
    }

    /// 0D: the valve has closed by itself, or something else cannot wait.
    pub fn alarm(&mut self, member: &Member, plan: &Plan, trouble: Trouble, at: Civil) -> Said {
        self.look_around(member, plan, at);
        let (kind, code, reason) = match trouble {
            Trouble::GasLeak => (8, "gas-leak", 9),
            Trouble::Overflow => (9, "overflow", 9),
            Trouble::StrongMagnet => (7, "strong-magnet", 8),
            Trouble::Earthquake => (14, "abnormal-close", 9),
        };
        if self.meter.state.valve != 0 {
            self.meter.state.valve = LOCKED;
        }
        let frame = self.meter.alarm(at.0, kind, true, reason, false);
        let event = Event { at, code: code.into(), cleared: false, value: None };
        self.said(frame, self.totals(at), vec![event])
    }

    pub fn hear(&mut self, frame: &[u8], now: Civil) -> Result<Heard, String> {
        let before = self.meter.state.valve;
        Ok(match self.meter.receive(frame, now.0)? {
            device::Heard::Acknowledged { command, result, clock, more } => {
                let verdict = if result == DONE { Verdict::Accepted } else { Verdict::Refused(result.into()) };
                Heard::Acknowledged { key: command.into(), verdict, clock: clock.map(Civil), pending: more }
            }
            device::Heard::Commanded { command, answer, .. } => {
                let body = frame.get(BODY_AT..).unwrap_or_default();
                self.obeyed(command, body);
                let mut meaning = Meaning::default();
                match (command, body) {
                    (READ_FROZEN, [year, month, ..]) => {
                        let month = (2000 + u16::from(from_bcd(*year)), from_bcd(*month));
                        (meaning.readings, meaning.perhaps) = self.frozen(month);
                    }
                    (VALVE, _) => meaning.valve = Some(self.valve()),
                    _ => {}
                }
                let is_valve = command == VALVE;
                // A plain close leaves a locked valve as it is, and says so.
                let refused = before == 0 || is_valve && before == LOCKED && body.starts_with(&[0x34, 0xCB]);
                let met = Met { order_id: None, is_valve, carried_out: !refused, answered: false };
                Heard::Commanded { answer, meaning, met, more: true }
            }
        })
    }

    pub fn cut(received: &[u8]) -> Option<usize> {
        Meter::cut(received)
    }

    /// What of a command concerns the meter's plans.
    fn obeyed(&mut self, command: u8, body: &[u8]) {
        // (flag, period) (flag, interval) (flag, value) (flag, hh mm)
        if let (SET_REPORT, Some([1, hour, minute])) = (command, body.get(6..9)) {
            self.schedule.minute_of_day = u16::from(from_bcd(*hour)) * 60 + u16::from(from_bcd(*minute));
        }
    }

    fn look_around(&mut self, member: &Member, plan: &Plan, at: Civil) {
        let s = &plan.surroundings;
        let total = member.gauge.at(at) as i32;
        let state = &mut self.meter.state;
        state.working_total = total;
        state.standard_total = if self.corrects { standard(total) } else { total };
        // A corrector always knows them, and the known firmware without one never does.
        state.temperature = if self.corrects { s.temperature.unwrap_or(1_530) / 10 } else { ABSENT };
        state.pressure = if self.corrects { s.pressure.unwrap_or(1_013) as i16 } else { ABSENT };
        state.flow = s.flow.map_or(f32::from(ABSENT), |flow| flow as f32 / 1_000.0);
        self.flow = s.flow;
        state.signal = s.csq as i8;
        state.batteries = [(s.battery / 40) as i8, -1];
        state.balance = s.balance.unwrap_or_default();
        state.settled = member.gauge.frozen(plan.slot.day()) as i32;
        state.settled_at = Some(plan.slot.day().start().0);
    }

    /// What reports and alarms both tell.
    fn totals(&self, at: Civil) -> Vec<Reading> {
        let s = &self.meter.state;
        let mut readings = totals(self.class, self.corrects, s.working_total, at, "cumulative");
        let mut now = |quantity, unit, mantissa, exponent| {
            readings.push(reading(at, quantity, "instantaneous", unit, mantissa, exponent));
        };
        if let Some(flow) = self.flow {
            let (mantissa, exponent) = shortest(flow.into(), -3);
            now("volume-flow", "cubic-metre-per-hour", mantissa, exponent);
        }
        if self.corrects {
            now("temperature", "degree-celsius", s.temperature.into(), -1);
            now("pressure", "pascal", s.pressure.into(), 2);
        }
        now("battery-level", "percent", s.batteries[0].into(), 0);
        now("balance", "yuan", s.balance.into(), -2);
        readings
    }

    /// Totals of a month, and what stands beside them: the simulated meter gives what it measures now, so the next answer about the
    /// same month may say otherwise.
    fn frozen(&self, month: (u16, u8)) -> (Vec<Reading>, Vec<Reading>) {
        if !self.meter.frozen.contains_key(&month) {
            return Default::default();
        }
        let (at, s) = (day_of(month).start(), &self.meter.state);
        let beside = [
            reading(at, "temperature", "frozen", "degree-celsius", s.temperature.into(), -1),
            reading(at, "pressure", "frozen", "pascal", s.pressure.into(), 2),
        ];
        let beside = beside.into_iter().filter(|_| self.corrects).collect();
        (frozen(self.class, self.corrects, &self.gauge, month), beside)
    }

    fn said(&self, frame: Vec<u8>, readings: Vec<Reading>, events: Vec<Event>) -> Said {
        let key = frame.get(MESSAGE_AT).map(|message| u64::from(*message) + 1);
        let valve = Some(self.valve());
        Said { frame, key, meaning: Meaning { readings, events, valve, is_report: true, ..Meaning::default() } }
    }

    fn valve(&self) -> &'static str {
        match self.meter.state.valve {
            0 => "absent",
            1 => "open",
            2 => "closed-temporary",
            3 => "closed-forced",
            5 => "fault",
            _ => "unknown",
        }
    }
}

fn keep_months(meter: &mut Meter, gauge: &Gauge, before: Day) {
    for month in months_before(before, MONTHS_KEPT) {
        meter.frozen.insert(month, gauge.frozen(day_of(month)) as i32);
    }
}

/// The totals of these months, as the answer to a history tells them.
pub fn frozen_months(member: &Member, months: &[(u16, u8)]) -> Vec<Reading> {
    months.iter().flat_map(|month| frozen(class(member), corrects(member), &member.gauge, *month)).collect()
}

/// The months before that day's, newest first.
pub fn months_before(day: Day, count: usize) -> Vec<(u16, u8)> {
    let date = day.start().to_jiff().map(jiff::civil::DateTime::date);
    let first = date.map_or(24_288, |date| i32::from(date.year()) * 12 + i32::from(date.month()) - 1);
    (1..=count as i32).map(|back| (((first - back) / 12) as u16, ((first - back) % 12 + 1) as u8)).collect()
}

/// When a month is frozen.
pub fn day_of((year, month): (u16, u8)) -> Day {
    let date = jiff::civil::Date::new(year as i16, month as i8, 28).unwrap_or_default();
    Civil::from_jiff(date.at(0, 0, 0, 0)).day()
}

fn frozen(class: u8, corrects: bool, gauge: &Gauge, month: (u16, u8)) -> Vec<Reading> {
    let (day, unit) = (day_of(month), scale(class));
    // The simulated meter freezes one total and tells it in both fields.
    let total = rounded(gauge.frozen(day) as i32, unit);
    let frozen = |quantity| reading(day.start(), quantity, "frozen", "cubic-metre", total, unit.1);
    let mut readings = vec![frozen("working-volume")];
    readings.extend(corrects.then(|| frozen("standard-volume")));
    readings
}

fn totals(class: u8, corrects: bool, total: i32, at: Civil, role: &'static str) -> Vec<Reading> {
    let unit = scale(class);
    let value = |quantity, total| reading(at, quantity, role, "cubic-metre", rounded(total, unit), unit.1);
    let mut readings = vec![value("working-volume", total)];
    readings.extend(corrects.then(|| value("standard-volume", standard(total))));
    readings
}

fn class(member: &Member) -> u8 {
    (member.number % 2) as u8
}

fn corrects(member: &Member) -> bool {
    member.number.is_multiple_of(3)
}

/// Hundredths in one count of the wire, and its power of ten.
fn scale(class: u8) -> (i32, i8) {
    if class == 0 { (10, -1) } else { (100, 0) }
}

fn rounded(total: i32, (hundredths, _): (i32, i8)) -> i64 {
    i64::from((total + hundredths / 2) / hundredths)
}

/// Some gas is warmer than the tariff's.
fn standard(total: i32) -> i32 {
    total - total / 41
}

/// Without zeros behind the last digit, as a float's shortest decimal has it.
fn shortest(mut mantissa: i64, mut exponent: i8) -> (i64, i8) {
    while exponent < 0 && mantissa % 10 == 0 {
        (mantissa, exponent) = (mantissa / 10, exponent + 1);
    }
    (mantissa, exponent)
}

fn from_bcd(byte: u8) -> u8 {
    (byte >> 4) * 10 + (byte & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_decimals() {
        let day: Day = "2024-03-02".parse().expect("day");
        assert_eq!(months_before(day, 4), [(2024, 2), (2024, 1), (2023, 12), (2023, 11)]);
        assert_eq!(day_of((2024, 2)).to_string(), "2024-02-28");
        assert_eq!(shortest(1_200, -3), (12, -1));
        assert_eq!(shortest(0, -3), (0, 0));
        assert_eq!(rounded(1_234_567, scale(0)), 123_457);
        assert_eq!(rounded(1_234_549, scale(1)), 12_345);
    }
}
