//! 3004: the terminal introduces itself.

use super::{BODY_AT, put_report};
use crate::fields::{clock, present_u32};
use crate::frame::{Header, Terminal};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    Capabilities, Message, Quantity, Register, Registration, Report, ReportCause, ReportPeriod, Schedule, Unit, bcd,
};

/// What later frames of the session depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub always_online: bool,
    pub key_version: u8,
    pub aes128: bool,
    pub sm4: bool,
}

// | Off | Size | Field            | Off | Size | Field                 | Off | Size | Field              |
// |   0 |    2 | vendor, BCD      |  50 |   15 | IMEI                  |  71 |    1 | awake, minutes     |
// |   2 |   16 | model            |  65 |    2 | capabilities          |  72 |    2 | heartbeat, minutes |
// |  18 |    4 | hardware         |  67 |    1 | period 1, 2, 3        |  74 |    1 | key version        |
// |  22 |    8 | firmware         |  68 |    2 | report time, BCD      |  75 |    6 | T6                 |
// |  30 |   20 | ICCID            |  70 |    1 | stagger, minutes      |  81 |    4 | total              |
pub fn read(header: &Header, body: &[u8]) -> Result<(Vec<Message>, Facts), FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let mut odd = Vec::new();
    let mut registration = Registration::new(header.terminal.kind());
    registration.manufacturer = vendor(&mut r, &mut odd)?;
    registration.model = text(&mut r, "model", 16, &mut odd)?;
    registration.hardware = text(&mut r, "hardware", 4, &mut odd)?;
    registration.firmware = text(&mut r, "firmware", 8, &mut odd)?;
    registration.iccid = text(&mut r, "ICCID", 20, &mut odd)?;
    registration.imei = text(&mut r, "IMEI", 15, &mut odd)?;
    let bits = r.u16_le("capability")?;
    registration.capabilities = capabilities(bits, header.terminal);
    let schedule = schedule(&mut r)?;
    registration.schedule = schedule.ok();
    let key_at = r.offset();
    let key_version = r.u8("key version")?;
    if key_version > 15 {
        return Err(FieldError::invalid("key version", key_at, i64::from(key_version)));
    }
    registration.key_version = Some(key_version);
    let told = clock(&mut r, "clock")?;
    registration.clock = told.unwrap_or_default();
    let total = present_u32(r.u32_le("total")?);
    r.finish("total")?;
    let facts =
        Facts { always_online: bits >> 6 & 1 == 1, key_version, aes128: bits >> 4 & 1 == 1, sm4: bits >> 5 & 1 == 1 };
    let mut messages = Vec::with_capacity(3);
    let at = registration.clock;
    messages.push(registration.into());
    put_report(total.map(|total| reading(total, at)), told, &mut messages);
    messages.append(&mut odd);
    if let Err(packed) = schedule {
        messages.push(Message::unknown("schedule", &packed));
    }
    if bits >> 9 != 0 {
        messages.push(Message::unknown("capability bits 9..15", &(bits & 0xFE00).to_le_bytes()));
    }
    Ok((messages, facts))
}

/// Four digits. Who made it and which card is in it are no reason to turn a terminal away for ever: what cannot be read is kept.
fn vendor(r: &mut Reader<'_>, odd: &mut Vec<Message>) -> Result<String, FieldError> {
    let packed: [u8; 2] = r.array("vendor")?;
    Ok(bcd::digits(&packed).unwrap_or_else(|| unread("vendor", &packed, odd)))
}

/// The same of a text: a module without a card fills its number up with ones.
fn text(r: &mut Reader<'_>, field: &'static str, len: usize, odd: &mut Vec<Message>) -> Result<String, FieldError> {
    let raw = r.take(field, len)?;
    Ok(Reader::new(raw).ascii(field, len).map_or_else(|_| unread(field, raw, odd), String::from))
}

#[cold]
fn unread(field: &str, raw: &[u8], odd: &mut Vec<Message>) -> String {
    odd.push(Message::unknown(field, raw));
    String::new()
}

/// The total is a reading too.
fn reading(total: u32, at: Option<i64>) -> Report {
    let register = Register::cumulative(Quantity::WorkingVolume, Unit::CubicMetre, i64::from(total), -2);
    let mut report = Report::new(ReportCause::Other).with_registers(vec![register]);
    report.at = at;
    report
}

fn capabilities(bits: u16, terminal: Terminal) -> Capabilities {
    let known = [
        Capabilities::VALVE,
        Capabilities::PREPAID,
        Capabilities::CORRECTOR,
        Capabilities::REMOTE_UPGRADE,
        Capabilities::AES128,
        Capabilities::SM4,
        Capabilities::ALWAYS_ONLINE,
        Capabilities::CONCENTRATOR,
        Capabilities::HOURLY_LOG,
    ];
    let set = known.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    let start = if terminal == Terminal::Dtu { Capabilities::DTU } else { Capabilities::empty() };
    set.fold(start, |all, (_, one)| all | one)
}

/// Seven bytes, or those bytes where period or report time are none.
pub fn schedule(r: &mut Reader<'_>) -> Result<Result<Schedule, [u8; 7]>, FieldError> {
    let packed: [u8; 7] = r.array("schedule")?;
    let [period, hour, minute, stagger, awake, heartbeat @ ..] = packed;
    let (Some(period), Some(minute_of_day)) = (period_from(period), minute_of_day([hour, minute])) else {
        return Ok(Err(packed));
    };
    Ok(Ok(Schedule {
        period,
        minute_of_day,
        stagger_minutes: stagger.into(),
        awake_minutes: awake.into(),
        heartbeat_minutes: u16::from_le_bytes(heartbeat),
    }))
}

/// 1 day, 2 dekad, 3 month.
const fn period_from(code: u8) -> Option<ReportPeriod> {
    match code {
        1 => Some(ReportPeriod::Daily),
        2 => Some(ReportPeriod::Dekad),
        3 => Some(ReportPeriod::Monthly),
        _ => None,
    }
}

/// `hh mm` BCD.
const fn minute_of_day([hour, minute]: [u8; 2]) -> Option<u16> {
    match (bcd::byte(hour), bcd::byte(minute)) {
        (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Some(hour as u16 * 60 + minute as u16),
        _ => None,
    }
}
