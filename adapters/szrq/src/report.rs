//! What a meter reports: 07 a single reading, 09 a packed log, 0D an alarm.
//!
//! ```text
//! 07:  47 period | 48 value | 49 now BCD2 | 51 read time BCD6 | 57 record 16 | 73 tail 38
//! 09:  47 period | 48 interval | 49 value | 50 now BCD2 | 52 time of newest BCD6 | 58 N records 16, newest first | tail 38
//! record: standard total i32 | working total i32 | flow f32 BE | temperature i16 | pressure i16
//! tail: signal i8 | type | class | valve | power | battery 0, 1 i8 | SIM digits u8 | SIM 8 | balance i32 | settled i32 | settle time 6 | reserved 8
//! 0D:  47 time | 53 flag | 54 type | 55 pressure | 57 temperature | 59 sound i32 | 63 concentration i32 | 67 flow f32 BE
//!      | 71 battery 0, 1 | 73 balance i32 | 77 valve | 78 reason | 79 standard total | 83 working total | 87 class
//! ```
//! A register's `code` is its offset in the frame; in 09 that of the newest record or of the same field in 07's tail.

use crate::alarms;
use crate::frame::BODY_AT;
use crate::log::Columns;
use crate::options::{Options, SettledScale};
use crate::wire::{self, Found, Values, found, template, total};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{
    Civil, Event, Message, Quality, Quantity, Register, Report, ReportCause, Role, Unit, ValveStatus, civil,
};

const TAIL_BYTES: usize = 38;
pub const RECORD_BYTES: usize = 16;
/// Head of 07 and of 09.
const SINGLE_HEAD: usize = 10;
pub const PACKED_HEAD: usize = 11;
/// The diaphragm meter, which has no corrector unless it also knows a temperature.
const DIAPHRAGM: u8 = 1;
/// Flags of an alarm.
const RECOVERED: u8 = 0;
const BEGUN: u8 = 1;

/// A report and what else its frame says.
pub struct Reading {
    pub report: Report,
    /// Events, and bytes that nothing explains.
    pub others: Vec<Message>,
    /// As sent.
    pub read_time: [u8; 6],
    /// Check sum of what makes two reports different.
    pub content: u16,
    pub class: u8,
    /// Only in the tail.
    pub device_type: Option<u8>,
    /// IMSI as digits, empty where it is not told.
    pub sim: u64,
    /// Alarm type and whether it begins.
    pub alarm: Option<(u8, bool)>,
}

pub struct Record {
    pub standard: Found<i64>,
    pub working: Found<i64>,
    pub flow: [u8; 4],
    pub temperature: Found<i64>,
    pub pressure: Found<i64>,
}

impl Record {
    pub fn read(r: &mut Reader) -> Result<Self, FieldError> {
        Ok(Self {
            standard: found(r.i32_le("standard total")?),
            working: found(r.i32_le("working total")?),
            flow: r.array("flow")?,
            temperature: found(r.i16_le("temperature")?.into()),
            pressure: found(r.i16_le("pressure")?.into()),
        })
    }

    /// As what the field of the standard total counts. Firmware without a corrector repeats the working total there: such a
    /// value is no corrected one, and a mere repetition is left out.
    pub fn standard_quantity(&self, device_type: Option<u8>) -> Option<Quantity> {
        let corrected = !self.temperature.is_absent() || device_type.is_some_and(|kind| kind != DIAPHRAGM);
        match (corrected, self.standard == self.working) {
            (true, _) => Some(Quantity::StandardVolume),
            (false, true) => None,
            (false, false) => Some(Quantity::Volume),
        }
    }

    fn put(&self, out: &mut Values, scale: Option<i8>, device_type: Option<u8>, at: [u32; 5], options: &Options) {
        if let Some(quantity) = self.standard_quantity(device_type) {
            out.put_volume(self.standard, scale, total(quantity, at[0]));
        }
        out.put_volume(self.working, scale, total(Quantity::WorkingVolume, at[1]));
        out.put_float(self.flow, template(Quantity::VolumeFlow, Unit::CubicMetrePerHour, at[2]));
        let s = &options.scales;
        out.put(self.temperature, s.temperature, template(Quantity::Temperature, Unit::DegreeCelsius, at[3]));
        out.put(self.pressure, s.pressure, template(Quantity::Pressure, Unit::Pascal, at[4]));
    }
}

struct Tail<'a> {
    signal: i8,
    device_type: u8,
    class: u8,
    valve: u8,
    power: u8,
    batteries: [i8; 2],
    sim_digits: u8,
    sim: &'a [u8],
    balance: i32,
    settled: Found<i64>,
    settled_at: Option<Civil>,
    reserved: &'a [u8],
}

impl<'a> Tail<'a> {
    /// What tells reports of the same readings apart: signal, battery and balance may differ when one is sent again.
    fn content(&self, period: u8) -> u16 {
        crc16_modbus(&[period, self.device_type, self.class, self.valve])
    }

    fn read(bytes: &'a [u8], base: usize, out: &mut Values) -> Result<Self, FieldError> {
        let mut r = Reader::at(bytes, base);
        Ok(Self {
            signal: r.i8("signal")?,
            device_type: r.u8("device type")?,
            class: r.u8("device class")?,
            valve: r.u8("valve")?,
            power: r.u8("power type")?,
            batteries: [r.i8("battery 0")?, r.i8("battery 1")?],
            sim_digits: r.u8("SIM digits")?,
            sim: r.take("SIM", 8)?,
            balance: r.i32_le("balance")?,
            settled: found(r.i32_le("settled volume")?),
            settled_at: out.take_time(&mut r, "settlement time")?,
            reserved: r.take("reserved", 8)?,
        })
    }

    /// Digits of the SIM's number; `None`: not readable.
    fn imsi(&self) -> Option<u64> {
        if self.sim_digits > 16 {
            return None;
        }
        let mut digits = self.sim.iter().flat_map(|b| [b >> 4, b & 15]);
        let number = digits
            .by_ref()
            .take(self.sim_digits.into())
            .try_fold(0, |n, digit| if digit > 9 { None } else { Some(n * 10 + u64::from(digit)) })?;
        digits.all(|rest| rest == 0).then_some(number)
    }

    fn put(&self, out: &mut Values, others: &mut Vec<Message>, scale: Option<i8>, options: &Options) -> u64 {
        out.put_signal(self.signal, 73);
        out.put_battery(self.batteries[0], 0, 78);
        out.put_battery(self.batteries[1], 1, 79);
        let imsi = self.imsi();
        match imsi {
            Some(0) => {}
            Some(number) => {
                out.put(Found::Value(number as i64), 0, template(Quantity::Identity, Unit::None, 81));
            }
            None => {
                others.push(Message::unknown("SIM number", &[&[self.sim_digits], self.sim].concat()));
            }
        }
        out.put_balance(self.balance, 89, options);
        // Never settled: no time and nothing.
        if self.settled_at.is_some() || self.settled != Found::Value(0) {
            let scale = if options.settled_scale == SettledScale::Hundredths { Some(-2) } else { scale };
            let mut register = template(Quantity::Volume, Unit::CubicMetre, 93).with_role(Role::Frozen);
            (register.at, register.storage) = (self.settled_at, 1);
            out.put_volume(self.settled, scale, register);
        }
        if self.reserved.iter().any(|b| *b != 0) {
            others.push(Message::unknown("reserved", self.reserved));
        }
        imsi.unwrap_or(0)
    }
}

/// 07.
pub fn single(body: &[u8], options: &Options) -> Result<Reading, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let (mut out, mut others) = (Values::with_capacity(12), Vec::new());
    let (period, value) = (r.u8("period")?, r.u8("period value")?);
    let now = out.take_minute(&mut r, "current time")?;
    let read_time = *body.get(4..).and_then(|b| b.first_chunk()).unwrap_or(&[0; 6]);
    let at = out.take_clock(&mut r, "read time")?;
    let record = Record::read(&mut r)?;
    let tail = Tail::read(r.take("tail", TAIL_BYTES)?, BODY_AT + SINGLE_HEAD + RECORD_BYTES, &mut out)?;
    let scale = wire::volume_exponent(tail.class);
    record.put(&mut out, scale, Some(tail.device_type), [57, 61, 65, 69, 71], options);
    put_current_time(&mut out, now, at, 49);
    let sim = tail.put(&mut out, &mut others, scale, options);
    if !r.is_empty() {
        others.push(Message::unknown("07 surplus", r.rest()));
    }
    let content = crc16_modbus(body.get(4..26).unwrap_or_default()) ^ tail.content(period);
    let valve = ValveStatus::new(alarms::valve_state(tail.valve));
    let report = finish(out, &mut others, cause(period), at, valve, tail.batteries);
    let status = [0, 0, period, value, tail.device_type, tail.class, tail.valve, tail.power];
    Ok(Reading {
        report: Report { raw_status: u64::from_be_bytes(status), ..report },
        others,
        read_time,
        content,
        class: tail.class,
        device_type: Some(tail.device_type),
        sim,
        alarm: None,
    })
}

/// 09.
pub fn packed(body: &[u8], options: &Options) -> Result<Reading, FieldError> {
    let records = body.len().saturating_sub(PACKED_HEAD + TAIL_BYTES);
    if records == 0 || !records.is_multiple_of(RECORD_BYTES) {
        return Err(FieldError::invalid("bytes of records", BODY_AT + PACKED_HEAD, records as i64));
    }
    let mut r = Reader::at(body, BODY_AT);
    let (mut out, mut others) = (Values::with_capacity(12), Vec::new());
    let (period, interval, value) = (r.u8("period")?, r.u8("interval")?, r.u8("period value")?);
    let now = out.take_minute(&mut r, "current time")?;
    let read_time = *body.get(5..).and_then(|b| b.first_chunk()).unwrap_or(&[0; 6]);
    let at = out.take_clock(&mut r, "time of the newest record")?;
    let newest = Record::read(&mut r)?;
    let log = r.take("records", records - RECORD_BYTES)?;
    let tail = Tail::read(r.take("tail", TAIL_BYTES)?, BODY_AT + PACKED_HEAD + records, &mut out)?;
    let scale = wire::volume_exponent(tail.class);
    newest.put(&mut out, scale, Some(tail.device_type), [58, 62, 66, 70, 72], options);
    put_current_time(&mut out, now, at, 50);
    let sim = tail.put(&mut out, &mut others, scale, options);
    let step = match (period, interval) {
        (5, minutes) => i64::from(minutes) * 60,
        (6, hours) => i64::from(hours) * 3600,
        (7, _) => 3600,
        (8, _) => civil::DAY,
        _ => 0,
    };
    let mut series = Vec::new();
    match (at, scale) {
        (Some(at), Some(scale)) if step > 0 => {
            let mut columns = Columns::new(at, step, scale, tail.device_type);
            columns.read(log, &mut out)?;
            series = columns.series(&mut out, options);
        }
        // Without a time or a step they cannot be dated, without a class not be scaled.
        _ if !log.is_empty() => {
            let what = if scale.is_some() { "undated records" } else { "records of no class" };
            others.push(Message::unknown(what, log));
        }
        _ => {}
    }
    let content = crc16_modbus(body.get(5..PACKED_HEAD + records).unwrap_or_default()) ^ tail.content(period);
    let valve = ValveStatus::new(alarms::valve_state(tail.valve));
    let report = finish(out, &mut others, cause(period), at, valve, tail.batteries);
    let status = [0, period, interval, value, tail.device_type, tail.class, tail.valve, tail.power];
    Ok(Reading {
        report: Report { raw_status: u64::from_be_bytes(status), series, ..report },
        others,
        read_time,
        content,
        class: tail.class,
        device_type: Some(tail.device_type),
        sim,
        alarm: None,
    })
}

/// 0D. `device_type` as an earlier report told it.
pub fn alarm(body: &[u8], device_type: Option<u8>, options: &Options) -> Result<Reading, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let (mut out, mut others) = (Values::with_capacity(10), Vec::new());
    let at = out.take_clock(&mut r, "alarm time")?;
    let flag = r.u8("alarm flag")?;
    let kind = r.u8("alarm type")?;
    let pressure = found(r.i16_le("pressure")?.into());
    let temperature = found(r.i16_le("temperature")?.into());
    let (sound, concentration) = (found(r.i32_le("speed of sound")?), found(r.i32_le("concentration")?));
    let flow = r.array("flow")?;
    let batteries = [r.i8("battery 0")?, r.i8("battery 1")?];
    let balance = r.i32_le("balance")?;
    let (valve, reason) = (r.u8("valve")?, r.u8("close reason")?);
    let (standard, working) = (found(r.i32_le("standard total")?), found(r.i32_le("working total")?));
    let class = r.u8("device class")?;
    let scale = wire::volume_exponent(class);
    let record = Record { standard, working, flow, temperature, pressure };
    record.put(&mut out, scale, device_type, [79, 83, 67, 57, 55], options);
    // Their units are not public.
    out.put(sound, 0, template(Quantity::Other, Unit::Other, 59));
    out.put(concentration, 0, template(Quantity::Other, Unit::Other, 63));
    out.put_battery(batteries[0], 0, 71);
    out.put_battery(batteries[1], 1, 72);
    out.put_balance(balance, 73, options);
    if let Some(code) = alarms::condition(kind) {
        let mut event = Event::new(&code, at, kind.into());
        event.cleared = flag == RECOVERED;
        others.push(event.into());
    }
    // It is told as what happened; that it lasts is not believed.
    if flag > BEGUN {
        others.push(Message::unknown("alarm flag", &[flag]));
    }
    if !r.is_empty() {
        others.push(Message::unknown("0D surplus", r.rest()));
    }
    let read_time = *body.first_chunk().unwrap_or(&[0; 6]);
    let report = finish(out, &mut others, ReportCause::Alarm, at, alarms::valve(valve, reason), batteries);
    let status = [0, 0, 0, flag, kind, valve, reason, class];
    Ok(Reading {
        report: Report { raw_status: u64::from_be_bytes(status), ..report },
        others,
        read_time,
        content: crc16_modbus(body),
        class,
        device_type: None,
        sim: 0,
        alarm: (flag <= BEGUN).then_some((kind, flag == BEGUN)),
    })
}

/// 0C after its result: the frozen reading of a month.
pub fn frozen(
    r: &mut Reader,
    device_type: Option<u8>,
    options: &Options,
    others: &mut Vec<Message>,
) -> Result<Report, FieldError> {
    let mut out = Values::with_capacity(4);
    let at = out.take_time(r, "frozen time")?;
    let record = Record {
        standard: found(r.i32_le("standard total")?),
        working: found(r.i32_le("working total")?),
        flow: (wire::ABSENT as f32).to_be_bytes(),
        temperature: found(r.i16_le("temperature")?.into()),
        pressure: found(r.i16_le("pressure")?.into()),
    };
    let scale = wire::volume_exponent(r.u8("device class")?);
    record.put(&mut out, scale, device_type, [54, 58, 0, 62, 64], options);
    for register in &mut out.registers {
        (register.role, register.at) = (Role::Frozen, at);
    }
    out.take_odd(others);
    let mut report = Report::new(ReportCause::OnDemand).with_registers(out.registers);
    report.at = at;
    Ok(report)
}

fn finish(
    mut out: Values,
    others: &mut Vec<Message>,
    cause: ReportCause,
    at: Option<Civil>,
    valve: ValveStatus,
    batteries: [i8; 2],
) -> Report {
    out.take_odd(others);
    let is_total =
        |r: &Register| r.role == Role::Cumulative && r.unit == Unit::CubicMetre && r.quality == Quality::Good;
    let is_absent = !out.registers.iter().any(is_total);
    let mut report = Report::new(cause).with_registers(out.registers);
    report.at = at;
    if out.failed {
        report.alarms.push("sampling-failed".into());
    }
    alarms::of_batteries(batteries, &mut report.alarms);
    if is_absent {
        report.alarms.push("reading-absent".into());
    }
    if out.clock_failed {
        report.alarms.push("clock-fault".into());
    }
    if valve.state == polymeter_sdk::ValveState::Fault {
        report.alarms.push("valve-fault".into());
    }
    report.valve = Some(valve);
    report
}

/// Weekly has no cause of its own in the contract.
const fn cause(period: u8) -> ReportCause {
    match period {
        1 | 6 => ReportCause::Interval,
        2 | 7 => ReportCause::Daily,
        4 | 9 => ReportCause::Dekad,
        5 => ReportCause::Hourly,
        _ => ReportCause::Other,
    }
}

/// The time of sending, where it is not the time of the reading anyway.
fn put_current_time(out: &mut Values, minute: Option<i64>, at: Option<Civil>, code: u32) {
    let Some(minute) = minute else { return };
    if at.is_none_or(|at| at.rem_euclid(civil::DAY) / 60 != minute) {
        let register = template(Quantity::TimeOfDay, Unit::Minute, code).with_role(Role::Other);
        out.put(Found::Value(minute), 0, register);
    }
}
