//! Numbers, units and clock times as they stand in operands.

use crate::options::{Datetime, Options, UnitPlace};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Fault, Quantity, Unit, bcd, civil};

/// Unit byte of m³.
pub const CUBIC_METRE: u8 = 0x2C;

/// What a field must count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counts {
    Volume,
    Energy,
    Power,
    Flow,
    /// Volume or energy, as its unit says.
    Either,
}

/// A value that has one, the reason why it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Is {
        quantity: Quantity,
        unit: Unit,
        mantissa: i64,
        exponent: i8,
    },
    /// All F or all E: nothing to tell.
    Absent,
    /// A unit byte that says nothing, or something else than it should.
    UnitUnknown,
    /// Digits above 9, beginning here in the frame.
    NotBcd(usize),
}

/// Four BCD digits pairs, low first, with `decimals`, and their unit byte unless `unit` is false.
pub fn value(
    options: &Options,
    r: &mut Reader<'_>,
    field: &'static str,
    counts: Counts,
    decimals: i8,
    unit: bool,
) -> Result<Value, FieldError> {
    let before = unit && options.unit_place == UnitPlace::Before;
    let first = if before { Some(r.u8(field)?) } else { None };
    let offset = r.offset();
    let digits: [u8; 4] = r.array(field)?;
    let code = match first {
        Some(code) => code,
        None if unit => r.u8(field)?,
        None => 0,
    };
    if digits == [0xFF; 4] || digits == [0xEE; 4] {
        return Ok(Value::Absent);
    }
    let Some(mantissa) = bcd::number_le(&digits) else { return Ok(Value::NotBcd(offset)) };
    Ok(match scale(effective(options, counts, code)) {
        Some((quantity, unit, exponent)) if counts.admits(quantity) => {
            Value::Is { quantity, unit, mantissa: mantissa as i64, exponent: exponent - decimals }
        }
        _ => Value::UnitUnknown,
    })
}

/// 00 and FF stand for the model's own unit, which is known for volumes only.
fn effective(options: &Options, counts: Counts, code: u8) -> u8 {
    if counts == Counts::Volume && matches!(code, 0 | 0xFF) { options.default_unit } else { code }
}

impl Counts {
    fn admits(self, quantity: Quantity) -> bool {
        match self {
            Self::Volume => quantity == Quantity::Volume,
            Self::Energy => quantity == Quantity::Energy,
            Self::Power => quantity == Quantity::Power,
            Self::Flow => quantity == Quantity::VolumeFlow,
            Self::Either => matches!(quantity, Quantity::Volume | Quantity::Energy),
        }
    }
}

/// Quantity, unit and power of ten of a unit byte.
const fn scale(code: u8) -> Option<(Quantity, Unit, i8)> {
    // Units in groups of three: × 1, 10, 100.
    let (quantity, unit, first, exponent) = match code {
        0x01 => return Some((Quantity::Energy, Unit::Joule, 0)),
        0x02..=0x04 => (Quantity::Energy, Unit::WattHour, 0x02, 0),
        0x05..=0x07 => (Quantity::Energy, Unit::WattHour, 0x05, 3),
        0x08..=0x0A => (Quantity::Energy, Unit::WattHour, 0x08, 6),
        0x0B..=0x0D => (Quantity::Energy, Unit::Joule, 0x0B, 3),
        0x0E..=0x10 => (Quantity::Energy, Unit::Joule, 0x0E, 6),
        0x11..=0x13 => (Quantity::Energy, Unit::Joule, 0x11, 9),
        0x14..=0x16 => (Quantity::Power, Unit::Watt, 0x14, 0),
        0x17..=0x19 => (Quantity::Power, Unit::Watt, 0x17, 3),
        0x1A..=0x1C => (Quantity::Power, Unit::Watt, 0x1A, 6),
        0x29..=0x2B => (Quantity::Volume, Unit::Litre, 0x29, 0),
        0x2C..=0x2E => (Quantity::Volume, Unit::CubicMetre, 0x2C, 0),
        0x32..=0x34 => (Quantity::VolumeFlow, Unit::LitrePerHour, 0x32, 0),
        0x35..=0x37 => (Quantity::VolumeFlow, Unit::CubicMetrePerHour, 0x35, 0),
        0x40 => return Some((Quantity::Power, Unit::JoulePerHour, 0)),
        0x43..=0x45 => (Quantity::Power, Unit::JoulePerHour, 0x43, 3),
        0x46..=0x48 => (Quantity::Power, Unit::JoulePerHour, 0x46, 6),
        0x49..=0x4B => (Quantity::Power, Unit::JoulePerHour, 0x49, 9),
        _ => return None,
    };
    Some((quantity, unit, exponent + (code - first) as i8))
}

pub const fn is_volume_unit(code: u8) -> bool {
    matches!(code, 0x29..=0x2E)
}

/// A clock as the meter sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    Is(Civil),
    /// All zero or all F.
    Absent,
    Nonsense([u8; 7]),
}

/// `ss mm hh DD MM YY CC`. The century tells BCD (19, 20, 21 hexadecimal) from plain binary (14), so that no time can be taken
/// for another one. Some clocks send `CC YY` in BCD: of 2014 that could be 2032 in binary, and is neither.
pub fn clock(options: &Options, r: &mut Reader<'_>, field: &'static str) -> Result<Clock, FieldError> {
    let raw: [u8; 7] = r.array(field)?;
    let [second, minute, hour, day, month, year, century] = raw;
    if raw == [0; 7] || raw == [0xFF; 7] {
        return Ok(Clock::Absent);
    }
    let exchanged = year == 0x20 && raw.iter().all(|b| bcd::byte(*b).is_some());
    let is_binary = match options.datetime {
        Datetime::Bcd => false,
        Datetime::Bin => true,
        Datetime::Auto => century == 0x14 && !exchanged,
    };
    let number = |b: u8| if is_binary { Some(b).filter(|b| *b < 100) } else { bcd::byte(b) };
    let time = || {
        let century = number(century).filter(|c| (19..=21).contains(c))?;
        let year = u16::from(century) * 100 + u16::from(number(year)?);
        civil::time(year, number(month)?, number(day)?, number(hour)?, number(minute)?, number(second)?)
    };
    Ok(time().map_or(Clock::Nonsense(raw), Clock::Is))
}

/// The clock as this profile writes it.
pub fn write_clock(options: &Options, field: &str, at: Civil) -> Result<[u8; 7], Fault> {
    let fields = civil::fields(at).filter(|t| (2000..=2099).contains(&t.year));
    let t = fields.ok_or_else(|| Fault::out_of_range(field, civil::text(at), "the years 2000 to 2099"))?;
    let parts = [t.second, t.minute, t.hour, t.day, t.month, (t.year % 100) as u8, (t.year / 100) as u8];
    Ok(match options.datetime {
        Datetime::Bin => parts,
        // All parts are below 100.
        Datetime::Auto | Datetime::Bcd => parts.map(|n| ((n / 10) << 4) | (n % 10)),
    })
}

/// A number as `N` BCD bytes, low first; `None` when it does not fit.
pub fn bcd_le<const N: usize>(value: u64) -> Option<[u8; N]> {
    let mut packed = bcd::pack_number::<N>(value)?;
    packed.reverse();
    Some(packed)
}
