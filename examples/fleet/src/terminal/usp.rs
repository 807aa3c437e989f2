//! The unified protocol: registration, then one report by the schedule; commands until the station says goodbye.

use super::{Heard, Said, Verdict, reading};
use crate::gauge::Gauge;
use crate::plan::{Plan, Trouble, days_of};
use crate::population::{Member, Secrecy};
use crate::truth::{Event, Meaning, Met, Reading};
use polymeter::model::{Civil, Day, ReportPeriod, Schedule};
use polymeter_sdk::Framing;
use usp::device::{self, Cipher, Device, EventEntry, Period, Suite, Terminal, Text, message};

const OK: u8 = 0;
const NOT_ALLOWED: u8 = 5;
const VALVE_CLOSED: u8 = 0x40;
const VALVE_OPENED: u8 = 0x41;
const CLEARED: u8 = 0x80;
const KEY_VERSION: u8 = 1;
/// The station misses no older days, and the fleet asks for none.
const DAYS_ASKED_FOR_MAX: i32 = 60;

pub struct UspMeter {
    device: Device,
    gauge: Gauge,
    /// It has a corrector, so it knows standard totals.
    corrects: bool,
    /// The last frame of the station and what it meant: a repetition means the same.
    last: Option<(Vec<u8>, Heard)>,
}

impl UspMeter {
    pub fn new(member: &Member) -> Self {
        let corrects = corrects(member);
        let capabilities =
            u16::from(member.has_valve) | u16::from(corrects) << 2 | u16::from(member.always_online) << 6;
        let mut device = Device::new(Terminal::Meter, &member.address, capabilities);
        device.identity.iccid = Text::new(&format!("898604190018{:08}", member.number));
        device.identity.imei = Text::new(&format!("8661230{:08}", member.number));
        device.status.valve = u8::from(member.has_valve);
        let s = &member.schedule;
        device.plan = device::Plan {
            period: match s.period {
                ReportPeriod::Dekad => Period::Dekad,
                ReportPeriod::Monthly => Period::Monthly,
                _ => Period::Daily,
            },
            minute_of_day: s.minute_of_day,
            stagger_minutes: s.stagger_minutes as u8,
            awake_minutes: s.awake_minutes as u8,
            heartbeat_minutes: s.heartbeat_minutes,
        };
        let gauge = member.gauge;
        device.readings = Box::new(move |at| {
            let total = gauge.at(Civil(at));
            (Some(total), corrects.then(|| standard(total)))
        });
        let cipher = match member.secrecy {
            Secrecy::Aes => Some(Cipher::Aes128),
            Secrecy::Sm4 => Some(Cipher::Sm4),
            Secrecy::Plain | Secrecy::MakersKey => None,
        };
        if let Some(cipher) = cipher {
            device.set_key(Suite { cipher, version: KEY_VERSION }, member.key);
        }
        device.account.price = 31_200;
        device.account.plan = 7;
        Self { device, gauge, corrects, last: None }
    }

    pub fn schedule(&self) -> Schedule {
        let plan = self.device.plan;
        Schedule {
            period: match plan.period {
                Period::Dekad => ReportPeriod::Dekad,
                Period::Monthly => ReportPeriod::Monthly,
                Period::Daily => ReportPeriod::Daily,
            },
            minute_of_day: plan.minute_of_day,
            stagger_minutes: plan.stagger_minutes.into(),
            awake_minutes: plan.awake_minutes.into(),
            heartbeat_minutes: plan.heartbeat_minutes,
        }
    }

    pub fn registration(&mut self, at: Civil) -> Said {
        let total = self.gauge.at(at);
        let readings = vec![reading(at, "working-volume", "cumulative", "cubic-metre", total.into(), -2)];
        said(self.device.registration(at.0), Meaning { readings, ..Meaning::default() })
    }

    /// 3043 or 3046, as the schedule has it.
    pub fn report(&mut self, plan: &Plan, at: Civil) -> Said {
        self.look_around(plan);
        let mut entries: Vec<EventEntry> = plan.noted.iter().map(|n| noted(n.bit, n.cleared, n.at)).collect();
        // With the station's leave, the user has opened the valve again.
        if self.device.status.valve == 2 && at.0 % 3 == 0 && self.device.open_locally() {
            entries.push(EventEntry { code: VALVE_OPENED, at: at.0 - 1_800, value: 0 });
        }
        let today = at.day();
        let days = days_of(self.schedule().period, today);
        let (oldest, count) = (Day(*days.start()), days.clone().count());
        let frame = match self.schedule().period {
            ReportPeriod::Daily => self.device.daily(at.0, &entries),
            _ => self.device.history(at.0, oldest.start().0, count as u8, &entries),
        };
        let days = if self.schedule().period == ReportPeriod::Daily { today.0..=today.0 } else { days };
        let mut readings = self.frozen(days);
        readings.extend(self.status(at));
        self.told(frame, readings, &entries)
    }

    /// 3062: the valve has closed by itself, or something else cannot wait.
    pub fn abnormal(&mut self, plan: &Plan, trouble: Trouble, at: Civil) -> Said {
        self.look_around(plan);
        let (bit, reason) = match trouble {
            Trouble::GasLeak => (8, 9),
            Trouble::Overflow => (9, 10),
            Trouble::StrongMagnet => (5, 7),
            Trouble::Earthquake => (23, 14),
        };
        self.device.status.alarms = 1 << bit;
        let mut entries = vec![noted(bit, false, Civil(at.0 - 5))];
        if self.device.status.valve != 0 {
            (self.device.status.valve, self.device.status.reason) = (3, reason);
            entries.push(EventEntry { code: VALVE_CLOSED, at: at.0 - 2, value: reason.into() });
        }
        let frame = self.device.abnormal(at.0, &entries);
        let readings = self.status(at);
        self.told(frame, readings, &entries)
    }

    pub fn heartbeat(&mut self, at: Civil, csq: u8) -> Said {
        self.device.status.csq = Some(csq);
        let readings = vec![reading(at, "signal-csq", "instantaneous", "none", csq.into(), 0)];
        let valve = Some(self.valve());
        said(self.device.heartbeat(at.0), Meaning { readings, valve, ..Meaning::default() })
    }

    pub fn hear(&mut self, frame: &[u8], now: Civil) -> Result<Heard, String> {
        if let Some((_, meant)) = self.last.as_ref().filter(|(last, _)| last == frame) {
            return Ok(again(meant.clone()));
        }
        let heard = self.device.hear(now.0, frame).map_err(|fault| fault.detail)?;
        // The fleet's calendar is not the station's: the fleet itself keeps the meters' clocks.
        self.device.drift_s = 0;
        let heard = match heard {
            device::Heard::Reply(reply) => Heard::Acknowledged {
                key: key(reply.message, reply.sequence),
                verdict: match reply.result {
                    OK => Verdict::Accepted,
                    NOT_ALLOWED => Verdict::OutOfOrder,
                    other => Verdict::Refused(other.into()),
                },
                clock: reply.clock.map(Civil),
                pending: reply.pending > 0,
            },
            device::Heard::Command { message, result, frames } => Heard::Commanded {
                answer: frames.concat(),
                meaning: self.answered(message, result, now),
                met: Met {
                    order_id: order_id(frame),
                    is_valve: message == message::VALVE,
                    carried_out: result == OK,
                    answered: false,
                },
                // Each may be the last: the station says goodbye in words.
                more: true,
            },
            device::Heard::Farewell(reason) => Heard::Farewell { all_done: reason == 0, clock: None },
        };
        self.last = Some((frame.to_vec(), heard.clone()));
        Ok(heard)
    }

    pub fn cut(received: &[u8]) -> Option<usize> {
        match device::framing(received) {
            Framing::Frame(length) | Framing::Skip(length) if length > 0 => Some(length as usize),
            Framing::Foreign => Some(received.len()),
            _ => None,
        }
    }

    fn look_around(&mut self, plan: &Plan) {
        let (s, status) = (&plan.surroundings, &mut self.device.status);
        status.battery_mv = Some(s.battery);
        (status.rsrp, status.snr, status.csq, status.ecl) = (Some(s.rsrp), Some(s.snr), Some(s.csq), s.ecl);
        (status.temperature, status.pressure) = (s.temperature, s.pressure);
        (status.flow, status.balance) = (s.flow, s.balance);
        status.alarms = 0;
        self.device.account.balance = s.balance.unwrap_or_default();
        let midnight = plan.slot.day().start();
        (self.device.account.settled_at, self.device.account.settled_total) =
            (Some(midnight.0), self.gauge.at(midnight));
    }

    /// 00:00 readings of these days.
    fn frozen(&self, days: std::ops::RangeInclusive<i32>) -> Vec<Reading> {
        days.flat_map(|day| frozen_readings(&self.gauge, self.corrects, Day(day))).collect()
    }

    /// What the status block says.
    fn status(&self, at: Civil) -> Vec<Reading> {
        let s = &self.device.status;
        let total = i64::from(self.gauge.at(at));
        let mut readings = vec![reading(at, "working-volume", "cumulative", "cubic-metre", total, -2)];
        let mut now = |value: Option<i64>, quantity, unit, exponent| {
            readings.extend(value.map(|v| reading(at, quantity, "instantaneous", unit, v, exponent)));
        };
        now(s.battery_mv.map(i64::from), "battery-voltage", "volt", -3);
        now(s.backup_mv.map(i64::from), "backup-battery-voltage", "volt", -3);
        now(s.rsrp.map(i64::from), "signal-rsrp", "decibel-milliwatt", -1);
        now(s.snr.map(i64::from), "signal-snr", "decibel", -1);
        now(s.csq.map(i64::from), "signal-csq", "none", 0);
        now(Some(s.ecl.into()), "signal-ecl", "none", 0);
        now(s.temperature.map(i64::from), "temperature", "degree-celsius", -2);
        now(s.pressure.map(i64::from), "pressure", "pascal", 2);
        now(s.flow.map(i64::from), "standard-flow", "cubic-metre-per-hour", -3);
        now(s.balance.map(i64::from), "balance", "yuan", -2);
        readings
    }

    fn told(&self, frame: Vec<u8>, readings: Vec<Reading>, entries: &[EventEntry]) -> Said {
        let events = entries.iter().map(event).collect();
        said(frame, Meaning { readings, events, valve: Some(self.valve()), is_report: true, ..Meaning::default() })
    }

    /// What an answer tells besides its result. Which days were asked for only the asker knows; the station asks by itself for
    /// those that it misses.
    fn answered(&self, number: u16, result: u8, now: Civil) -> Meaning {
        let account = &self.device.account;
        let undated =
            |quantity, role, unit, value, exponent| reading(Reading::UNDATED, quantity, role, unit, value, exponent);
        let mut meaning = Meaning::default();
        match number {
            message::READ_NOW if result == OK => {
                meaning.readings = self.status(now);
                if self.corrects {
                    let total = standard(self.gauge.at(now)).into();
                    meaning.readings.push(reading(now, "standard-volume", "cumulative", "cubic-metre", total, -2));
                }
                meaning.valve = Some(self.valve());
            }
            message::READ_ACCOUNT if result == OK => {
                let settled_at = account.settled_at.map_or(Reading::UNDATED, Civil);
                let settled = account.settled_total.into();
                meaning.readings = vec![
                    undated("balance", "instantaneous", "yuan", account.balance.into(), -2),
                    undated("price", "instantaneous", "yuan-per-cubic-metre", account.price.into(), -4),
                    reading(settled_at, "volume", "frozen", "cubic-metre", settled, -2),
                    undated("purchase-count", "cumulative", "none", account.purchase_count.into(), 0),
                    undated("identity", "set-point", "none", account.plan.into(), 0),
                ];
            }
            message::READ_FROZEN => {
                let today = now.day().0;
                meaning.perhaps = self.frozen(today - DAYS_ASKED_FOR_MAX..=today);
            }
            // A refused order says how the valve stands, too.
            message::VALVE => meaning.valve = Some(self.valve()),
            _ => {}
        }
        meaning
    }

    fn valve(&self) -> &'static str {
        match self.device.status.valve {
            0 => "absent",
            1 => "open",
            2 => "closed-temporary",
            3 => "closed-forced",
            5 => "fault",
            6 => "moving",
            _ => "unknown",
        }
    }
}

/// Whether this meter has a corrector.
pub fn corrects(member: &Member) -> bool {
    member.number.is_multiple_of(3)
}

/// The 00:00 readings of a day, as reports and history tell them.
pub fn frozen_readings(gauge: &Gauge, corrects: bool, day: Day) -> Vec<Reading> {
    let total = gauge.frozen(day);
    let frozen = |quantity, total: u32| reading(day.start(), quantity, "frozen", "cubic-metre", total.into(), -2);
    let mut readings = vec![frozen("working-volume", total)];
    readings.extend(corrects.then(|| frozen("standard-volume", standard(total))));
    readings
}

/// Some gas is warmer than the tariff's.
fn standard(total: u32) -> u32 {
    total - total / 37
}

/// A command that comes again is answered again, not carried out.
fn again(heard: Heard) -> Heard {
    match heard {
        Heard::Commanded { answer, meaning, met, more } => {
            Heard::Commanded { answer, meaning, met: Met { carried_out: false, ..met }, more }
        }
        other => other,
    }
}

fn said(frame: Vec<u8>, meaning: Meaning) -> Said {
    let number = |at: usize| u16::from(frame[at]) << 8 | u16::from(frame[at + 1]);
    let key = key(number(2), number(12).swap_bytes());
    Said { frame, key: Some(key), meaning }
}

fn key(message: u16, sequence: u16) -> u64 {
    u64::from(message) << 16 | u64::from(sequence)
}

/// The number in a valve order, unless it is sealed.
fn order_id(frame: &[u8]) -> Option<u32> {
    let is_plain_valve_order = frame.get(2..4) == Some(&[0x40, 0x31]) && frame.get(15) == Some(&0);
    let id = frame.get(19..23).filter(|_| is_plain_valve_order)?;
    id.try_into().ok().map(u32::from_le_bytes)
}

fn noted(bit: u8, cleared: bool, at: Civil) -> EventEntry {
    EventEntry { code: if cleared { CLEARED | bit } else { bit }, at: at.0, value: 0 }
}

/// The contract's words for the codes that this fleet uses.
fn event(entry: &EventEntry) -> Event {
    let cleared = (CLEARED..0xA0).contains(&entry.code);
    let code = match entry.code & !(if cleared { CLEARED } else { 0 }) {
        1 => "battery-low",
        5 => "strong-magnet",
        6 => "cover-open",
        8 => "gas-leak",
        9 => "overflow",
        10 => "small-flow",
        11 => "continuous-flow",
        13 => "pressure-high",
        14 => "pressure-low",
        23 => "earthquake",
        VALVE_CLOSED => "valve-closed",
        VALVE_OPENED => "valve-opened",
        _ => "unexpected",
    };
    let value = (entry.code == VALVE_CLOSED).then_some(entry.value.into());
    Event { at: Civil(entry.at), code: code.into(), cleared, value }
}
