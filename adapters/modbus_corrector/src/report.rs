//! From an image to a report: registers with their quantity, the alarm words, the valve, the clock. A number that cannot be read, or that the device
//! marks as none, is told as invalid with its bytes beside it, never guessed.

use crate::clock::{self, Told};
use crate::image::Image;
use crate::map::{Item, Map, Number, Valve};
use crate::words::Scope;
use polymeter_sdk::{Message, Quality, Register, Report, ReportCause, Role, ValveState, ValveStatus};

/// A report, and the bytes of what it could not tell.
pub struct Built {
    pub report: Report,
    pub kept: Vec<Message>,
}

/// What of this scope was read.
pub fn build(map: &Map, image: &Image, scope: Scope) -> Built {
    let mut report = Report::new(ReportCause::OnDemand);
    let mut kept = Vec::new();
    report.registers.reserve(map.items.len());
    for item in map.items.iter().filter(|i| i.scope == scope) {
        let Some(value) = value(item, image) else { continue };
        if let Value::None = value {
            let wire = image.get(item.number.place).unwrap_or_default();
            kept.push(Message::unknown(format!("no value in register {}", item.number.place.register), wire));
            if item.role == Role::Cumulative
                && item.storage == 0
                && !report.alarms.iter().any(|a| a == "reading-absent")
            {
                report.alarms.push("reading-absent".into());
            }
        }
        report.registers.push(register(item, value));
    }
    if scope == Scope::Current {
        tell_clock(map, image, &mut report, &mut kept);
    }
    tell_status(map, image, &mut report);
    Built { report, kept }
}

/// Position and alarms alone.
pub fn status(map: &Map, image: &Image) -> Report {
    let mut report = Report::new(ReportCause::OnDemand);
    tell_status(map, image, &mut report);
    report
}

/// A number, or the device's word that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Is(i64, i8),
    None,
}

/// `None`: it was not read.
pub fn value(item: &Item, image: &Image) -> Option<Value> {
    value_of(&item.number, item.fraction.as_ref(), item, image)
}

/// The same where the numbers stand elsewhere, as in a record.
pub fn value_of(number: &Number, fraction: Option<&Number>, item: &Item, image: &Image) -> Option<Value> {
    let bits = image.bits(number)?;
    if item.absent.contains(&bits) {
        return Some(Value::None);
    }
    let Some(whole) = number.kind.value(bits, number.decimals) else { return Some(Value::None) };
    let Some(fraction) = fraction else {
        return Some(Value::Is(whole, item.exponent - number.decimals as i8));
    };
    let bits = image.bits(fraction)?;
    let part = fraction.kind.value(bits, fraction.decimals);
    let scale = 10_i64.pow(u32::from(fraction.decimals));
    // A fraction is less than one, and counts in the same direction. One that is only rounded up to a whole carries.
    let is_part = |p: i64| fraction.kind.is_below_one(bits) || p.unsigned_abs() < scale.unsigned_abs();
    let fits = |p: &i64| is_part(*p) && (*p == 0 || whole == 0 || (*p < 0) == (whole < 0));
    let together = part.filter(fits).and_then(|p| whole.checked_mul(scale)?.checked_add(p));
    Some(together.map_or(Value::None, |m| Value::Is(m, item.exponent - fraction.decimals as i8)))
}

pub fn register(item: &Item, value: Value) -> Register {
    let (mantissa, exponent, quality) = match value {
        Value::Is(mantissa, exponent) => (mantissa, exponent, Quality::Good),
        Value::None => (0, item.exponent, Quality::Invalid),
    };
    let place = item.number.place;
    Register::new(item.quantity, item.unit, mantissa, exponent)
        .with_role(item.role)
        .with_quality(quality)
        .with_storage(item.storage)
        .with_tariff(item.tariff)
        .with_channel(item.channel)
        .with_code(u32::from(place.function) << 16 | u32::from(place.register))
}

fn tell_clock(map: &Map, image: &Image, report: &mut Report, kept: &mut Vec<Message>) {
    let Some((clock, wire)) = map.clock.as_ref().and_then(|c| image.get(c.place).map(|wire| (c, wire))) else {
        return;
    };
    match clock::read(clock, wire) {
        Told::Is(at) => report.at = Some(at),
        Told::Unset => report.alarms.push("clock-fault".into()),
        Told::Nonsense => {
            report.alarms.push("clock-fault".into());
            kept.push(Message::unknown("clock", wire));
        }
    }
}

fn tell_status(map: &Map, image: &Image, report: &mut Report) {
    for status in &map.status {
        let Some(word) = image.bits(&status.number) else { continue };
        let width = u32::from(status.number.place.registers) * 16;
        report.raw_status = report.raw_status.checked_shl(width).unwrap_or(0) | word;
        for bit in 0..width as u8 {
            let is_set = word >> bit & 1 == 1;
            match status.bits.iter().find(|b| b.bit == bit) {
                Some(named) if is_set != named.inverted && !report.alarms.contains(&named.code) => {
                    report.alarms.push(named.code.clone());
                }
                None if is_set => report.alarms.push(format!("vendor-{}-bit-{bit}", status.number.place.register)),
                _ => {}
            }
        }
    }
    report.valve = map.valve.as_ref().and_then(|v| valve(v, image));
}

fn valve(valve: &Valve, image: &Image) -> Option<ValveStatus> {
    let wire: [u8; 2] = image.get(valve.place?)?.try_into().ok()?;
    let word = u16::from_be_bytes(wire) & valve.mask;
    let state = valve.states.iter().find(|(value, _)| *value == word).map_or(ValveState::Unknown, |(_, state)| *state);
    Some(ValveStatus::new(state))
}
