//! 上海奉贤燃气: one report with thirty frozen days, then requests one by one, until the station ends the communication.
//!
//! Nothing is acknowledged by name: the next word of the station shows that it has the report. Settings are in every report, but the
//! station tells them only when they have changed.

use super::{Heard, Said, reading};
use crate::plan::{Occasion, Plan, Trouble};
use crate::population::Member;
use crate::truth::{Event, Meaning, Met, Reading};
use fengxian::device::{self, Meter};
use polymeter::model::{Civil, Day, Schedule};

/// What the demo's profile writes into meters at the end of a communication, 0.01 yuan.
pub const PRICE: u16 = 325;
const VALVE: u8 = 0x3C;
const COMMUNICATION: u8 = 0x32;
const KEY_PRESS: u16 = 1;
const SCHEDULED: u16 = 1 << 5;
const REMOTE_CLOSE: u16 = 1 << 6;

/// What a report says of how it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Settings {
    /// Minutes of the day.
    window: (i64, i64),
    interval: i64,
    timeout: i64,
    reconnects: i64,
    delay: i64,
}

pub struct FengxianMeter {
    pub schedule: Schedule,
    meter: Meter,
    corrects: bool,
    settings: Settings,
    /// Those of the last report that the station surely has.
    told: Option<Settings>,
    /// A report of these settings is on its way, or was lost on it.
    on_its_way: Option<Settings>,
}

impl FengxianMeter {
    pub fn new(member: &Member) -> Self {
        let mut meter = Meter::new(&member.address);
        meter.state.running = 0;
        meter.state.cell = 7_400_000 + member.number as u64;
        Self {
            schedule: member.schedule.clone(),
            meter,
            corrects: member.number.is_multiple_of(3),
            settings: Settings { window: (0, 360), interval: 1_440, timeout: 3, reconnects: 2, delay: 10 },
            told: None,
            on_its_way: None,
        }
    }

    /// 38.
    pub fn report(&mut self, member: &Member, plan: &Plan, at: Civil) -> Said {
        self.look_around(member, plan, at);
        let (reasons, code) = match plan.occasion {
            Occasion::Scheduled => (SCHEDULED, None),
            Occasion::Manual => (KEY_PRESS, Some("key-press")),
            Occasion::Abnormal(trouble) => self.trouble(trouble),
        };
        let frame = self.meter.report(at.0, reasons);
        let events =
            code.map(|code| Event { at, code: code.into(), cleared: false, value: None }).into_iter().collect();
        let mut meaning = Meaning {
            readings: self.measured(at),
            perhaps: Vec::new(),
            events,
            valve: Some(self.valve()),
            is_report: true,
        };
        match (self.told, self.on_its_way) {
            // The station may have taken in a report that was never answered.
            (_, Some(_)) => meaning.perhaps = self.set_points(at),
            (told, None) if told != Some(self.settings) => meaning.readings.extend(self.set_points(at)),
            _ => {}
        }
        self.on_its_way = Some(self.settings);
        Said { frame, key: None, meaning }
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Heard, String> {
        let heard = self.meter.receive(frame)?;
        self.told = self.on_its_way.take().or(self.told);
        Ok(match heard {
            device::Heard::Ended { clock, price, .. } => {
                if price != PRICE {
                    return Err(format!("a price of {price}, but {PRICE} was agreed"));
                }
                Heard::Farewell { all_done: true, clock: clock.map(Civil) }
            }
            device::Heard::Requested { id, body, answer } => {
                self.obeyed(id, &body);
                let met = Met { order_id: None, is_valve: id == VALVE, carried_out: true, answered: false };
                // Each may be the last: the end is said in words.
                Heard::Commanded { answer, meaning: Meaning::default(), met, more: true }
            }
        })
    }

    pub fn cut(received: &[u8]) -> Option<usize> {
        Meter::cut(received)
    }

    /// What of a request changes later reports.
    fn obeyed(&mut self, id: u8, body: &[u8]) {
        let clock = |at: usize| i64::from(from_bcd(body[at])) * 60 + i64::from(from_bcd(body[at + 1]));
        if id == COMMUNICATION && body.len() >= 10 {
            let bits = body[0];
            if bits & 1 != 0 {
                self.settings.window = (clock(1), clock(3));
                self.settings.interval = i64::from(body[5]) << 8 | i64::from(body[6]);
                self.schedule.minute_of_day = self.settings.window.0 as u16;
            }
            if bits & 2 != 0 {
                self.settings.timeout = body[7].into();
            }
            if bits & 4 != 0 {
                (self.settings.reconnects, self.settings.delay) = (body[8].into(), body[9].into());
            }
        }
        if id == VALVE && body.first() == Some(&0) {
            self.meter.state.valve = 0;
        }
    }

    /// Reason bit and code; the valve closes for it.
    fn trouble(&mut self, trouble: Trouble) -> (u16, Option<&'static str>) {
        let (reason, state, code) = match trouble {
            Trouble::GasLeak => (1, 1, "gas-leak"),
            Trouble::Overflow => (3, 3, "overflow"),
            Trouble::StrongMagnet => (2, 2, "strong-magnet"),
            Trouble::Earthquake => (6, 7, "tilt"),
        };
        self.meter.state.running = 1 << state;
        self.meter.state.valve |= 1 << state;
        (1 << reason, Some(code))
    }

    fn look_around(&mut self, member: &Member, plan: &Plan, at: Civil) {
        let s = &plan.surroundings;
        let state = &mut self.meter.state;
        let total = member.gauge.at(at);
        let corrected = |total| if self.corrects { standard(total) } else { total };
        state.working_total = total.into();
        state.total = corrected(total).into();
        let today = at.day();
        state.frozen = std::array::from_fn(|k| corrected(member.gauge.frozen(Day(today.0 - 1 - k as i32))));
        state.temperature = s.temperature.unwrap_or(-1);
        state.pressure = s.pressure.unwrap_or(u16::MAX);
        state.battery = (s.battery / 100) as u8;
        state.rssi = s.csq;
        state.snr = s.snr;
        state.running = 0;
        // Somebody has been there since the last trouble, but only the station takes back what it has closed.
        state.valve &= REMOTE_CLOSE;
    }

    /// What the report measures.
    fn measured(&self, at: Civil) -> Vec<Reading> {
        let s = &self.meter.state;
        let mut readings = Vec::with_capacity(45);
        let total = |quantity, total: u64| reading(at, quantity, "cumulative", "cubic-metre", total as i64, -2);
        readings.push(total("working-volume", s.working_total));
        if s.total != s.working_total {
            readings.push(total("standard-volume", s.total));
        }
        let kind = if s.total == s.working_total { "working-volume" } else { "volume" };
        for (k, frozen) in s.frozen.iter().enumerate() {
            let day = Day(at.day().0 - 1 - k as i32);
            readings.push(reading(day.start(), kind, "frozen", "cubic-metre", (*frozen).into(), -2));
        }
        let mut now = |quantity, unit, value: i64, exponent| {
            readings.push(reading(at, quantity, "instantaneous", unit, value, exponent));
        };
        if s.temperature != -1 {
            now("temperature", "degree-celsius", s.temperature.into(), -2);
        }
        if s.pressure != u16::MAX {
            now("pressure", "pascal", s.pressure.into(), 2);
        }
        now("battery-voltage", "volt", s.battery.into(), -1);
        now("signal-rssi", "other", s.rssi.into(), 0);
        now("signal-snr", "decibel", s.snr.into(), if (-30..=30).contains(&s.snr) { 0 } else { -1 });
        now("signal-ecl", "none", 0, 0);
        now("identity", "none", s.cell as i64, 0);
        readings
    }

    /// What the report says of its settings.
    fn set_points(&self, at: Civil) -> Vec<Reading> {
        let set = |quantity, unit, value: i64| reading(at, quantity, "set-point", unit, value, 0);
        let s = &self.settings;
        vec![
            set("duration", "day", 30),
            set("control-signal", "bit-field", self.meter.state.safety.into()),
            set("other", "none", 1),
            set("duration", "minute", s.interval),
            set("duration", "minute", s.timeout),
            set("retries", "none", s.reconnects),
            set("duration", "minute", s.delay),
            set("other", "none", 1),
            set("time-of-day", "minute", 0),
            set("time-of-day", "minute", s.window.0),
            set("time-of-day", "minute", s.window.1),
            set("time-of-day", "hour", 12),
        ]
    }

    fn valve(&self) -> &'static str {
        if self.meter.state.valve == 0 { "open" } else { "closed" }
    }
}

/// Some gas is warmer than the tariff's.
fn standard(total: u32) -> u32 {
    total - total / 37
}

fn from_bcd(byte: u8) -> u8 {
    (byte >> 4) * 10 + (byte & 15)
}
