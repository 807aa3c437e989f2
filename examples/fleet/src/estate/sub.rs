//! A meter behind a concentrator: what it answers to a payload, and what that means in the contract's words.

use super::behind;
use crate::gauge::{Gauge, mix};
use crate::population::{Member, Secrecy, Transport, Vendor};
use crate::terminal::{Heard, reading, szrq::SzrqMeter};
use crate::truth::{Account, Meaning, Met, Reading};
use cjt188::device::{Dialect, Layout, Order};
use en13757::device::Record;
use polymeter::model::{Civil, Day, ReportPeriod, Schedule};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// How a meter speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// CJ/T 188 by the letter: identifiers low byte first, clock and settlement with every reading.
    LowFirst,
    /// The other dialect: high byte first, and the total alone.
    HighFirst,
    Mbus,
    Szrq,
}

enum Meter {
    Cjt188(Box<cjt188::device::Meter>),
    Mbus(Box<en13757::device::Meter>),
    Szrq(Box<SzrqMeter>),
}

pub struct Sub {
    make: Make,
    meter: Meter,
    gauge: Gauge,
    /// What the concentrator calls it.
    pub called: String,
    pub account: Account,
    pub silent: bool,
    /// Answered; whether the station has it shows when its questions are over.
    answered: Vec<Meaning>,
}

const GAS: u8 = 0x30;
const WAKE_UP: u8 = 0xFE;
/// In a request of CJ/T 188: control code and identifier.
const CONTROL_AT: usize = 9;
const READ: u8 = 0x01;
const WRITE: u8 = 0x04;
/// Of a gas meter: 0.01 m³.
const VOLUME: u8 = 0x14;
/// Place of the access number in a long M-Bus frame.
const ACCESS_AT: usize = 15;

impl Make {
    pub fn has_valve(self) -> bool {
        self != Self::Mbus
    }
}

impl Sub {
    pub fn new(make: Make, id: usize, seed: u64, from: Civil) -> Self {
        let gauge = Gauge::new(seed, from.day());
        let (meter, key, called) = match make {
            Make::LowFirst | Make::HighFirst => {
                let dialect = match make {
                    Make::HighFirst => Dialect {
                        order_read: Order::Be,
                        order_write: Order::Be,
                        layout: Layout::Short9,
                        ..Dialect::default()
                    },
                    _ => Dialect::default(),
                };
                let address = format!("{:014}", 2_311_000_000 + id);
                let mut meter = cjt188::device::Meter::new(&address, GAS, dialect);
                meter.readings = Box::new(move |at| gauge.at(Civil(at)));
                (Meter::Cjt188(Box::new(meter)), format!("cjt188/{address}"), address)
            }
            Make::Mbus => {
                let id = 12_000_000 + id;
                let address = format!("LGB{id:08}4003");
                let meter = en13757::device::Meter::gas(&address);
                (Meter::Mbus(Box::new(meter)), format!("mbus/{address}"), format!("{id:014}"))
            }
            Make::Szrq => {
                let member = member(id, seed, gauge);
                let (key, called) = (format!("szrq/{}", member.address), member.address[2..].to_owned());
                let mut meter = SzrqMeter::new(&member);
                // Polls ask by the station's calendar.
                meter.has_lived_until(Civil::from_jiff(jiff::Zoned::now().datetime()).day());
                (Meter::Szrq(Box::new(meter)), key, called)
            }
        };
        let family = format!("{} behind concentrators", key.split('/').next().unwrap_or_default());
        let account = Account::of_family(key, &family);
        Self { make, meter, gauge, called, account, silent: false, answered: Vec::new() }
    }

    /// What the registry is told of it.
    pub fn record(&self, parent: &str, place: usize) -> Value {
        let channel = 1 + place % 4;
        match self.make {
            Make::LowFirst => behind("cjt188", parent, "cjt188-le", channel),
            Make::HighFirst => behind("cjt188", parent, "cjt188-be", channel),
            Make::Mbus => self.called_otherwise(behind("en13757", parent, "mbus", channel)),
            Make::Szrq => self.called_otherwise(behind("szrq", parent, "szrq", channel)),
        }
    }

    fn called_otherwise(&self, mut record: Value) -> Value {
        record["line_address"] = json!(self.called);
        record
    }

    /// What it answers through its concentrator, if it does.
    pub fn ask(&mut self, now: Civil, payload: &[u8]) -> Option<Vec<u8>> {
        if self.silent {
            return None;
        }
        let (answer, meaning) = match &mut self.meter {
            Meter::Cjt188(meter) => {
                // The concentrator hands a request on without what woke the line.
                let request = &payload[payload.iter().position(|byte| *byte != WAKE_UP)?..];
                let answer = meter.hear(now.0, request).concat();
                let control = request.get(CONTROL_AT).copied().filter(|_| !answer.is_empty())?;
                if control == WRITE {
                    self.account.met.push(Met { order_id: None, is_valve: true, carried_out: true, answered: true });
                }
                let valve = Some(if meter.valve == cjt188::device::Valve::Open { "open" } else { "closed" });
                let readings = if control == READ { totals(self.make, &self.gauge, now) } else { Vec::new() };
                (answer, Meaning { readings, valve, is_report: control == READ, ..Meaning::default() })
            }
            Meter::Mbus(meter) => {
                // Its clock has no seconds, so neither has what it measures.
                let minute = Civil(now.0 - now.0.rem_euclid(60));
                let total = self.gauge.at(minute);
                meter.records = vec![Record::bcd(VOLUME, total.into()), Record::time(&[0x04], minute.0)];
                let answer = meter.receive(payload)?;
                let mut meaning = Meaning::default();
                if let Some(access) = answer.get(ACCESS_AT) {
                    meaning.is_report = true;
                    meaning.readings = vec![
                        reading(minute, "working-volume", "cumulative", "cubic-metre", total.into(), -2),
                        reading(minute, "date-time", "instantaneous", "civil-second", minute.0, 0),
                    ];
                    // Asked again within its minute, it says another one.
                    meaning.perhaps =
                        vec![reading(minute, "access-number", "instantaneous", "none", (*access).into(), 0)];
                }
                (answer, meaning)
            }
            Meter::Szrq(meter) => match meter.hear(payload, now).ok()? {
                Heard::Commanded { answer, mut meaning, met, .. } => {
                    meaning.is_report = !met.is_valve;
                    self.account.met.extend(met.is_valve.then_some(Met { answered: true, ..met }));
                    (answer, meaning)
                }
                _ => return None,
            },
        };
        self.account.sent(&meaning);
        self.answered.push(meaning);
        Some(answer)
    }

    /// The station has all that was answered.
    pub fn settle(&mut self) {
        for meaning in self.answered.drain(..) {
            self.account.acknowledged(&meaning);
        }
    }
}

/// What 901F tells.
fn totals(make: Make, gauge: &Gauge, now: Civil) -> Vec<Reading> {
    let total = |at, role, value: u32| reading(at, "working-volume", role, "cubic-metre", value.into(), -2);
    if make == Make::HighFirst {
        return vec![total(Reading::UNDATED, "cumulative", gauge.at(now))];
    }
    let settled = first_of_month(now.day());
    vec![total(now, "cumulative", gauge.at(now)), total(settled.start(), "frozen", gauge.frozen(settled))]
}

fn first_of_month(day: Day) -> Day {
    let date = day.start().to_jiff().map(jiff::civil::DateTime::date);
    date.map_or(day, |date| Civil::from_jiff(date.first_of_month().at(0, 0, 0, 0)).day())
}

/// A Shenzhen meter that does not speak for itself.
fn member(id: usize, seed: u64, gauge: Gauge) -> Member {
    Member {
        // Without a corrector: nothing but a report would tell the station of one.
        number: 3 * id + 1,
        vendor: Vendor::Szrq,
        address: format!("SZ2000{id:010}"),
        schedule: Schedule {
            period: ReportPeriod::Daily,
            minute_of_day: 0,
            stagger_minutes: 0,
            awake_minutes: 0,
            heartbeat_minutes: 0,
        },
        always_online: false,
        has_valve: true,
        secrecy: Secrecy::Plain,
        key: [0; 16],
        transport: Transport::Tcp,
        source: Ipv4Addr::LOCALHOST,
        gauge,
        drift_s: 0,
        seed: mix(seed, 1),
    }
}
