//! Single values: the absence markers in every type, floats as exact decimals, clocks, and how they become registers.

use crate::options::{MarkerBalance, Options};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Message, Quality, Quantity, Register, Role, Unit, bcd, civil};
use std::fmt::Write;

/// No such item 无此项数据.
pub const ABSENT: i32 = -20_000;
/// Reading error 抄表错误.
pub const FAILED: i32 = -10_000;
/// Not read yet.
pub const UNREAD: i32 = -30_000;

/// A field: its value, or which marker stands in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<T> {
    Value(T),
    Absent,
    /// One of the two markers that say that there should be a value.
    Missing(i32),
}

impl<T> Found<T> {
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

pub fn found(value: i32) -> Found<i64> {
    match value {
        ABSENT => Found::Absent,
        FAILED | UNREAD => Found::Missing(value),
        value => Found::Value(i64::from(value)),
    }
}

/// A big-endian float as the shortest decimal that means this float and no other: mantissa and power of ten.
pub fn found_float(bytes: [u8; 4]) -> Found<Option<(i64, i8)>> {
    let value = f32::from_be_bytes(bytes);
    for marker in [ABSENT, FAILED, UNREAD] {
        if value.to_bits() == (marker as f32).to_bits() {
            return if marker == ABSENT { Found::Absent } else { Found::Missing(marker) };
        }
    }
    Found::Value(decimal(value))
}

/// `None`: no number, or one beyond what a register can say.
pub fn decimal(value: f32) -> Option<(i64, i8)> {
    if value == 0.0 {
        return Some((0, 0));
    }
    if !value.is_finite() {
        return None;
    }
    let mut text = Digits { bytes: [0; 32], len: 0 };
    write!(text, "{value:e}").ok()?;
    let text = text.bytes.get(..text.len)?;
    let e = text.iter().position(|b| *b == b'e')?;
    let (digits, exponent) = (text.get(..e)?, std::str::from_utf8(text.get(e + 1..)?).ok()?);
    let exponent: i32 = exponent.parse().ok()?;
    let (mut mantissa, mut places, mut behind_point) = (0_i64, 0, false);
    for digit in digits {
        match digit {
            b'.' => behind_point = true,
            b'0'..=b'9' => {
                mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
                places += i32::from(behind_point);
            }
            _ => {}
        }
    }
    let exponent = exponent - places;
    let signed = if digits.first() == Some(&b'-') { -mantissa } else { mantissa };
    // 1e3 is 1000 of the unit: powers above the unit are written out as far as they go.
    match u32::try_from(exponent) {
        Ok(above) => Some((signed.checked_mul(10_i64.checked_pow(above)?)?, 0)),
        Err(_) => i8::try_from(exponent).ok().filter(|e| *e >= -18).map(|e| (signed, e)),
    }
}

/// `value × 10^from` as a mantissa of `10^to`; `None` when that is no integer or does not fit.
pub fn exactly(value: i64, from: i8, to: i8) -> Option<i64> {
    let shift = i32::from(from) - i32::from(to);
    let power = 10_i64.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { value.checked_mul(power) } else { (value % power == 0).then(|| value / power) }
}

/// `hh mm` in BCD as minutes of the day.
pub fn minute_of_day(packed: [u8; 2]) -> Option<i64> {
    let [hour, minute] = packed.map(bcd::byte);
    let (hour, minute) = (hour.filter(|h| *h < 24)?, minute.filter(|m| *m < 60)?);
    Some(i64::from(hour) * 60 + i64::from(minute))
}

/// The volume scale of a device class; any other class leaves volumes without a scale.
pub const fn volume_exponent(class: u8) -> Option<i8> {
    match class {
        0 => Some(-1),
        1 => Some(0),
        _ => None,
    }
}

/// Registers under way, and whether a marker said that reading failed.
#[derive(Default)]
pub struct Values {
    pub registers: Vec<Register>,
    pub failed: bool,
    /// A float that is no number, with its offset.
    pub odd_floats: Vec<(u32, [u8; 4])>,
    /// A time that is none, as sent.
    pub odd_times: Vec<(&'static str, Vec<u8>)>,
    /// One of them is of the meter's own clock.
    pub clock_failed: bool,
}

impl Values {
    pub fn with_capacity(registers: usize) -> Self {
        Self { registers: Vec::with_capacity(registers), ..Self::default() }
    }

    /// A time by the meter's clock. One that is none is kept: what stands beside it counts all the same.
    pub fn take_clock(&mut self, r: &mut Reader, field: &'static str) -> Result<Option<Civil>, FieldError> {
        let before = self.odd_times.len();
        let time = self.take_time(r, field)?;
        self.clock_failed |= self.odd_times.len() > before;
        Ok(time)
    }

    /// A time that is not the meter's own clock. All zero is unset.
    pub fn take_time(&mut self, r: &mut Reader, field: &'static str) -> Result<Option<Civil>, FieldError> {
        let packed: [u8; 6] = r.array(field)?;
        let time = civil::from_bcd6(packed);
        if time.is_none() && packed != [0; 6] {
            self.odd_times.push((field, packed.to_vec()));
        }
        Ok(time)
    }

    /// Time of day by the meter's clock.
    pub fn take_minute(&mut self, r: &mut Reader, field: &'static str) -> Result<Option<i64>, FieldError> {
        let packed: [u8; 2] = r.array(field)?;
        let minute = minute_of_day(packed);
        if minute.is_none() {
            self.odd_times.push((field, packed.to_vec()));
            self.clock_failed = true;
        }
        Ok(minute)
    }

    /// The bytes that could not be told.
    pub fn take_odd(&mut self, out: &mut Vec<Message>) {
        for (code, bytes) in self.odd_floats.drain(..) {
            out.push(Message::unknown(format!("flow at {code}"), &bytes));
        }
        for (field, bytes) in self.odd_times.drain(..) {
            out.push(Message::unknown(field, &bytes));
        }
    }

    /// A volume in the scale of its class; without one it is a number without a unit.
    pub fn put_volume(&mut self, found: Found<i64>, scale: Option<i8>, register: Register) {
        match scale {
            Some(exponent) => self.put(found, exponent, register),
            None => self.put(found, 0, Register { quantity: Quantity::Other, unit: Unit::Other, ..register }),
        }
    }

    /// A value unless it is absent. A marker that should be a value is kept as an invalid register that shows the marker.
    pub fn put(&mut self, found: Found<i64>, exponent: i8, mut register: Register) {
        match found {
            Found::Value(mantissa) => {
                (register.mantissa, register.exponent) = (mantissa, exponent);
                // Volumes do not run below nothing.
                if mantissa < 0 && matches!(register.unit, Unit::CubicMetre) {
                    register.quality = Quality::Invalid;
                }
            }
            Found::Absent => return,
            Found::Missing(marker) => {
                (register.mantissa, register.exponent) = (i64::from(marker), 0);
                register.quality = Quality::Invalid;
                self.failed |= marker == FAILED;
            }
        }
        self.registers.push(register);
    }

    pub fn put_float(&mut self, bytes: [u8; 4], register: Register) {
        match found_float(bytes) {
            Found::Value(Some((mantissa, exponent))) => self.put(Found::Value(mantissa), exponent, register),
            Found::Value(None) => self.odd_floats.push((register.code, bytes)),
            Found::Absent => {}
            Found::Missing(marker) => self.put(Found::Missing(marker), 0, register),
        }
    }

    /// Money is 0.01 yuan in an i32, so a marker can also be a debt: the profile decides what it is.
    pub fn put_balance(&mut self, value: i32, code: u32, options: &Options) {
        let mut register = template(Quantity::Balance, Unit::Yuan, code);
        if !matches!(found(value), Found::Value(_)) {
            match options.marker_balance {
                MarkerBalance::Doubt => register.quality = Quality::Invalid,
                MarkerBalance::Value => {}
                MarkerBalance::Absent => return,
            }
        }
        self.put(Found::Value(i64::from(value)), options.scales.balance, register);
    }

    /// Percent; -1 is a battery that does not exist. The second one is channel 1.
    pub fn put_battery(&mut self, percent: i8, channel: u16, code: u32) {
        if percent != -1 {
            let register = template(Quantity::BatteryLevel, Unit::Percent, code).with_channel(channel);
            let quality = if (0..=100).contains(&percent) { Quality::Good } else { Quality::Invalid };
            self.put(Found::Value(i64::from(percent)), 0, register.with_quality(quality));
        }
    }

    /// The modem's own number: negative is dBm, 0..31 CSQ, 99 CSQ not known.
    pub fn put_signal(&mut self, signal: i8, code: u32) {
        let (quantity, unit) =
            if signal < 0 { (Quantity::SignalRssi, Unit::DecibelMilliwatt) } else { (Quantity::SignalCsq, Unit::None) };
        let quality = if signal <= 31 { Quality::Good } else { Quality::Invalid };
        let register = template(quantity, unit, code).with_quality(quality);
        self.put(Found::Value(i64::from(signal)), 0, register);
    }
}

/// A register whose value follows.
pub const fn template(quantity: Quantity, unit: Unit, code: u32) -> Register {
    Register::new(quantity, unit, 0, 0).with_code(code)
}

pub const fn total(quantity: Quantity, code: u32) -> Register {
    template(quantity, Unit::CubicMetre, code).with_role(Role::Cumulative)
}

struct Digits {
    bytes: [u8; 32],
    len: usize,
}

impl Write for Digits {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let place = self.bytes.get_mut(self.len..self.len + s.len()).ok_or(std::fmt::Error)?;
        place.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_exact_decimals() {
        for (value, expected) in [
            (0.0, Some((0, 0))),
            (-0.0, Some((0, 0))),
            (1.25, Some((125, -2))),
            (0.1, Some((1, -1))),
            (-2.5, Some((-25, -1))),
            (1000.0, Some((1000, 0))),
            (16_777_216.0, Some((16_777_216, 0))),
            (1.0e-10, Some((1, -10))),
            (f32::MIN_POSITIVE, None),
            (f32::MAX, None),
            (f32::NAN, None),
            (f32::NEG_INFINITY, None),
        ] {
            assert_eq!(decimal(value), expected, "{value}");
        }
        for bits in (0..u32::MAX).step_by(104_729) {
            let value = f32::from_bits(bits);
            if let Some((mantissa, exponent)) = decimal(value) {
                let back: f32 = format!("{mantissa}e{exponent}").parse().expect("a number");
                assert!(back.to_bits() == value.to_bits() || value == 0.0, "{bits:08x}");
            }
        }
    }

    #[test]
    fn markers_in_every_type() {
        assert_eq!(found_float([0xC6, 0x9C, 0x40, 0]), Found::Absent);
        assert_eq!(found_float([0xC6, 0x1C, 0x40, 0]), Found::Missing(FAILED));
        assert_eq!(found_float([0xC6, 0xEA, 0x60, 0]), Found::Missing(UNREAD));
        assert_eq!(found(i16::from_le_bytes([0xE0, 0xB1]).into()), Found::Absent);
        assert_eq!(found(i16::from_le_bytes([0xF0, 0xD8]).into()), Found::Missing(FAILED));
        assert_eq!(found(i16::from_le_bytes([0xD0, 0x8A]).into()), Found::Missing(UNREAD));
    }
}
