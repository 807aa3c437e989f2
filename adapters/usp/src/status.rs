//! The status block SB that most reports carry, and the event list EV behind it (USP/1 §C).

use crate::fields::{Told, clock, present_i16, present_i32, present_u16, present_u32};
use crate::frame::Terminal;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Problem, Reader};
use polymeter_sdk::{Event, Message, Quantity, Register, Report, ReportCause, Unit};

/// What a status block says, with absent values as `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    pub now: Told,
    /// 0.01 m³, uncorrected.
    pub total: Option<u32>,
    pub valve: u8,
    pub reason: u8,
    pub battery_mv: Option<u16>,
    pub backup_mv: Option<u16>,
    /// 0.1 dBm
    pub rsrp: Option<i16>,
    /// 0.1 dB
    pub snr: Option<i16>,
    pub csq: Option<u8>,
    pub ecl: u8,
    /// 0.01 °C
    pub temperature: Option<i16>,
    /// 0.1 kPa absolute
    pub pressure: Option<u16>,
    /// 0.001 m³/h standard
    pub flow: Option<u32>,
    /// 0.01 yuan
    pub balance: Option<i32>,
    pub alarms: u32,
}

/// Registers that one status block can give.
pub const REGISTERS_MAX: usize = 11;
/// The word for alarm bit 19, too.
const CLOCK_FAULT: &str = "clock-fault";

impl Status {
    // | Off | Size | Field                    | Off | Size | Field                   |
    // |   0 |    6 | T6 now                   |  20 |    1 | csq, 99 absent          |
    // |   6 |    4 | total, uncorrected       |  21 |    1 | ecl                     |
    // |  10 |    1 | valve                    |  22 |    2 | temperature             |
    // |  11 |    1 | close reason             |  24 |    2 | pressure                |
    // |  12 |    2 | main battery, mV         |  26 |    4 | flow                    |
    // |  14 |    2 | backup battery, mV       |  30 |    4 | balance                 |
    // |  16 |    2 | rsrp                     |  34 |    4 | alarms                  |
    // |  18 |    2 | snr                      |     |      |                         |
    pub fn read(r: &mut Reader<'_>) -> Result<Self, FieldError> {
        let now = clock(r, "status time")?;
        let total = present_u32(r.u32_le("total")?);
        Ok(Self {
            now,
            total,
            valve: r.u8("valve")?,
            reason: r.u8("close reason")?,
            battery_mv: present_u16(r.u16_le("main battery")?),
            backup_mv: present_u16(r.u16_le("backup battery")?),
            rsrp: present_i16(r.i16_le("rsrp")?),
            snr: present_i16(r.i16_le("snr")?),
            csq: Some(r.u8("csq")?).filter(|csq| *csq != 99),
            ecl: r.u8("ecl")?,
            temperature: present_i16(r.i16_le("temperature")?),
            pressure: present_u16(r.u16_le("pressure")?),
            flow: present_u32(r.u32_le("flow")?),
            balance: present_i32(r.i32_le("balance")?),
            alarms: r.u32_le("alarms")?,
        })
    }

    /// A report at the block's time, with its valve and alarms.
    pub fn report(&self, cause: ReportCause, registers: Vec<Register>, more_follows: bool) -> Report {
        Report {
            subject: None,
            cause,
            at: self.now.unwrap_or_default(),
            registers,
            series: Vec::new(),
            valve: Some(names::valve(self.valve, self.reason)),
            alarms: names::alarms(self.alarms),
            raw_status: u64::from(self.alarms),
            more_follows,
        }
    }

    /// The report as its frame's first message, and behind it the bytes of a clock that is no time.
    pub fn tell(&self, report: Report) -> Vec<Message> {
        match self.now {
            Ok(_) => vec![report.into()],
            Err(packed) => timeless(packed, report),
        }
    }

    /// Adds what is present, in the block's order.
    pub fn registers(&self, out: &mut Vec<Register>) {
        if let Some(total) = self.total {
            out.push(Register::cumulative(Quantity::WorkingVolume, Unit::CubicMetre, i64::from(total), -2));
        }
        let mut put = |value: Option<i64>, quantity, unit, exponent| {
            if let Some(value) = value {
                out.push(Register::new(quantity, unit, value, exponent));
            }
        };
        put(self.battery_mv.map(i64::from), Quantity::BatteryVoltage, Unit::Volt, -3);
        put(self.backup_mv.map(i64::from), Quantity::BackupBatteryVoltage, Unit::Volt, -3);
        put(self.rsrp.map(i64::from), Quantity::SignalRsrp, Unit::DecibelMilliwatt, -1);
        put(self.snr.map(i64::from), Quantity::SignalSnr, Unit::Decibel, -1);
        put(self.csq.map(i64::from), Quantity::SignalCsq, Unit::None, 0);
        put(Some(i64::from(self.ecl)), Quantity::SignalEcl, Unit::None, 0);
        put(self.temperature.map(i64::from), Quantity::Temperature, Unit::DegreeCelsius, -2);
        put(self.pressure.map(i64::from), Quantity::Pressure, Unit::Pascal, 2);
        put(self.flow.map(i64::from), Quantity::StandardFlow, Unit::CubicMetrePerHour, -3);
        put(self.balance.map(i64::from), Quantity::Balance, Unit::Yuan, -2);
    }
}

#[cold]
#[inline(never)]
fn timeless(packed: [u8; 6], mut report: Report) -> Vec<Message> {
    let odd = odd_clock(packed, &mut report);
    vec![report.into(), odd]
}

/// A clock that is no time is the terminal's fault; its bytes are kept.
#[cold]
pub fn odd_clock(packed: [u8; 6], report: &mut Report) -> Message {
    if !report.alarms.iter().any(|alarm| alarm == CLOCK_FAULT) {
        report.alarms.push(CLOCK_FAULT.into());
    }
    Message::unknown("clock", &packed)
}

/// A meter whose report holds no total at all, of now or of 00:00, has none to tell. Concentrators and DTUs never have one.
pub fn note_absence(terminal: Terminal, report: &mut Report) {
    let total = |quantity| matches!(quantity, Quantity::WorkingVolume | Quantity::StandardVolume);
    let told = report.registers.iter().any(|r| total(r.quantity)) || report.series.iter().any(|s| total(s.quantity));
    if terminal == Terminal::Meter && !told {
        report.alarms.push("reading-absent".into());
    }
}

// EV: code 1, T6, value u32; a list is a count and so many of them.
const EVENT_BYTES: usize = 11;

/// Appends the list's events, which must end the body. Events whose time does not exist are told without one and are kept as
/// bytes too, in one piece: nobody's total is lost over when a cover was opened.
pub fn read_events(r: &mut Reader<'_>, least: usize, out: &mut Vec<Message>) -> Result<(), FieldError> {
    let offset = r.offset();
    let count = usize::from(r.u8("event count")?);
    let (bytes, left) = (count * EVENT_BYTES, r.remaining());
    if count >= least && bytes < left {
        let problem = Problem::Surplus(left - bytes);
        return Err(FieldError { field: "events", offset: offset + 1 + bytes, problem });
    }
    if count < least || bytes != left {
        return Err(FieldError::invalid("event count", offset, count as i64));
    }
    out.reserve(count);
    let mut timeless = Vec::new();
    for _ in 0..count {
        let raw: [u8; EVENT_BYTES] = r.array("event")?;
        let (event, is_timed) = event(raw)?;
        if !is_timed {
            timeless.extend_from_slice(&raw);
        }
        out.push(event.into());
    }
    if !timeless.is_empty() {
        out.push(Message::unknown("events at no time", &timeless));
    }
    Ok(())
}

/// An event, and whether its time can be told or is unset.
fn event(bytes: [u8; EVENT_BYTES]) -> Result<(Event, bool), FieldError> {
    let mut r = Reader::new(&bytes);
    let raw = r.u8("event code")?;
    let at = clock(&mut r, "event time")?;
    let is_timed = at.is_ok();
    let at = at.unwrap_or_default();
    let value = r.u32_le("event value")?;
    let cleared = (0x80..=0x9F).contains(&raw);
    let code = match raw {
        0x00..=0x1F => names::alarm(raw),
        0x80..=0x9F => names::alarm(raw - 0x80),
        0x40 => "valve-closed".into(),
        0x41 => "valve-opened".into(),
        0x42 => "clock-set".into(),
        0x43 => "parameter-changed".into(),
        0x44 => "key-changed".into(),
        0x45 => "firmware-changed".into(),
        0x46 => "restart".into(),
        _ => format!("vendor-event-{raw:02x}"),
    };
    let value = match raw {
        0x42 => Some(i64::from(value as i32)),
        0x40 | 0x43 | 0x44 => Some(i64::from(value)),
        _ => (value != 0).then_some(i64::from(value)),
    };
    Ok((Event { subject: None, code, cleared, at, value, raw_code: u32::from(raw) }, is_timed))
}
