//! The bytes of one row of readings: all values that one device told for one day.
//!
//! ```text
//! row     = format (1 byte = 1) | number of sources | source* | number of values | value*
//! source  = frame's seq | received, UTC ms                              both as difference to the source before
//! value   = flags (1 byte) | quantity (1) | unit (1) | exponent (1, signed) | second of day - that of the value before
//!           | mantissa (zigzag) | source index
//!           | if flagged: role and quality (1 byte: role << 2 | quality) | storage | tariff | channel | code
//! flags   = 1 superseded, 2 role is not cumulative or quality is not good, 4 storage, 8 tariff, 16 channel, 32 code,
//!           64 withdrawn
//! ```
//! Numbers without a size are LEB128 varints. Enums are stored as their position in the contract, which never
//! changes. A usual register takes 9 to 12 bytes.

use super::readings::Reading;
use crate::model::{Civil, Day, Quality, Quantity, Register, Role, Seq, Unit};
use std::cmp::{Ordering, Reverse};

const FORMAT: u8 = 1;
const SUPERSEDED: u8 = 1;
const ROLE_QUALITY: u8 = 2;
const STORAGE: u8 = 4;
const TARIFF: u8 = 8;
const CHANNEL: u8 = 16;
const CODE: u8 = 32;
const WITHDRAWN: u8 = 64;

/// One value inside a day's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub mantissa: i64,
    pub source: u64,
    pub received_ms: i64,
    pub second: u32,
    pub storage: u32,
    pub code: u32,
    pub tariff: u16,
    pub channel: u16,
    pub quantity: Quantity,
    pub unit: Unit,
    pub role: Role,
    pub quality: Quality,
    pub exponent: i8,
    pub superseded: bool,
    /// Its frame turned out not to say so: it is superseded for good.
    pub withdrawn: bool,
}

/// Where a value belongs: two values of one place contradict each other.
pub(super) type Place = (u32, Quantity, Role, u32, u16, u16, u32);

/// When a value was told, by which entry, and, to tell apart what one entry says of a place twice, what it says.
pub(super) type Age = (i64, u64, i64, i8, u8, u8);

impl Value {
    pub fn place(&self) -> Place {
        (self.second, self.quantity, self.role, self.storage, self.tariff, self.channel, self.code)
    }

    /// What it states.
    pub fn says(&self) -> (i64, i8, Unit, Quality) {
        (self.mantissa, self.exponent, self.unit, self.quality)
    }

    /// The order inside a row: by place, the current one first, then what it superseded, newest first. Only values that are
    /// the same are equal here, so a row's bytes do not depend on how it came about.
    pub fn order(&self, other: &Self) -> Ordering {
        let rest = |value: &Self| (value.superseded, Reverse(value.age()), value.withdrawn);
        // Nearly all values of a row stand at places of their own.
        self.place().cmp(&other.place()).then_with(|| rest(self).cmp(&rest(other)))
    }

    /// Of two values of one place the one whose frame came later is greater.
    pub fn age(&self) -> Age {
        (self.received_ms, self.source, self.mantissa, self.exponent, self.unit as u8, self.quality as u8)
    }

    pub fn reading(&self, day: Day) -> Reading {
        let at = Civil(day.start().0 + i64::from(self.second));
        Reading {
            at,
            register: Register {
                quantity: self.quantity,
                unit: self.unit,
                role: self.role,
                quality: self.quality,
                exponent: self.exponent,
                mantissa: self.mantissa,
                at: Some(at),
                storage: self.storage,
                tariff: self.tariff,
                channel: self.channel,
                code: self.code,
            },
            source: Seq(self.source),
            received_ms: self.received_ms,
            superseded: self.superseded,
        }
    }
}

/// Appends a row's bytes.
pub(super) fn pack(values: &[Value], out: &mut Vec<u8>) {
    let mut sources: Vec<(u64, i64)> = Vec::with_capacity(4);
    for value in values {
        if !sources.contains(&(value.source, value.received_ms)) {
            sources.push((value.source, value.received_ms));
        }
    }
    sources.sort_unstable();
    out.push(FORMAT);
    put(out, sources.len() as u64);
    let mut before = (0, 0);
    for source in &sources {
        put(out, source.0 - before.0);
        put(out, zigzag(source.1.wrapping_sub(before.1)));
        before = *source;
    }
    put(out, values.len() as u64);
    let mut second = 0;
    for value in values {
        let index = sources.iter().position(|s| *s == (value.source, value.received_ms)).unwrap_or(0);
        put_value(out, value, second, index);
        second = value.second;
    }
}

fn put_value(out: &mut Vec<u8>, v: &Value, second: u32, source: usize) {
    let plain = v.role == Role::Cumulative && v.quality == Quality::Good;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(v.superseded, SUPERSEDED)
        | flag(v.withdrawn, WITHDRAWN)
        | flag(!plain, ROLE_QUALITY)
        | flag(v.storage != 0, STORAGE)
        | flag(v.tariff != 0, TARIFF)
        | flag(v.channel != 0, CHANNEL)
        | flag(v.code != 0, CODE);
    out.extend_from_slice(&[flags, v.quantity as u8, v.unit as u8, v.exponent as u8]);
    put(out, zigzag(i64::from(v.second) - i64::from(second)));
    put(out, zigzag(v.mantissa));
    put(out, source as u64);
    if !plain {
        out.push((v.role as u8) << 2 | v.quality as u8);
    }
    for number in [u64::from(v.storage), u64::from(v.tariff), u64::from(v.channel), u64::from(v.code)] {
        if number != 0 {
            put(out, number);
        }
    }
}

/// A row's values; `None`: these bytes are no row.
pub(super) fn unpack(bytes: &[u8]) -> Option<Vec<Value>> {
    let mut input = Input(bytes);
    if input.byte()? != FORMAT {
        return None;
    }
    let count = input.number()?;
    let mut sources = Vec::with_capacity(count.min(bytes.len() as u64) as usize);
    let mut before = (0_u64, 0_i64);
    for _ in 0..count {
        before = (before.0.checked_add(input.number()?)?, before.1.wrapping_add(unzigzag(input.number()?)));
        sources.push(before);
    }
    let count = input.number()?;
    let mut values = Vec::with_capacity(count.min(bytes.len() as u64) as usize);
    let mut second = 0;
    for _ in 0..count {
        let value = take_value(&mut input, second, &sources)?;
        second = value.second;
        values.push(value);
    }
    input.0.is_empty().then_some(values)
}

fn take_value(input: &mut Input, second: u32, sources: &[(u64, i64)]) -> Option<Value> {
    let flags = input.byte()?;
    let quantity = *Quantity::ALL.get(usize::from(input.byte()?))?;
    let unit = *Unit::ALL.get(usize::from(input.byte()?))?;
    let exponent = input.byte()? as i8;
    let second = u32::try_from(i64::from(second).checked_add(unzigzag(input.number()?))?).ok()?;
    let mantissa = unzigzag(input.number()?);
    let (source, received_ms) = *sources.get(usize::try_from(input.number()?).ok()?)?;
    let (mut role, mut quality) = (Role::Cumulative, Quality::Good);
    if flags & ROLE_QUALITY != 0 {
        let both = input.byte()?;
        role = *Role::ALL.get(usize::from(both >> 2))?;
        quality = *Quality::ALL.get(usize::from(both & 3))?;
    }
    let mut flagged = |bit: u8| if flags & bit == 0 { Some(0) } else { input.number() };
    Some(Value {
        storage: u32::try_from(flagged(STORAGE)?).ok()?,
        tariff: u16::try_from(flagged(TARIFF)?).ok()?,
        channel: u16::try_from(flagged(CHANNEL)?).ok()?,
        code: u32::try_from(flagged(CODE)?).ok()?,
        mantissa,
        source,
        received_ms,
        second,
        quantity,
        unit,
        role,
        quality,
        exponent,
        superseded: flags & SUPERSEDED != 0,
        withdrawn: flags & WITHDRAWN != 0,
    })
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

const _: () = {
    assert!(Quantity::ALL.len() <= 256 && Unit::ALL.len() <= 256);
    assert!(Role::ALL.len() <= 64 && Quality::ALL.len() <= 4);
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let place = (0..90_000_u32, any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>(), 0..Quantity::ALL.len());
        let says = (any::<i64>(), any::<i8>(), 0..Unit::ALL.len(), 0..Role::ALL.len(), 0..Quality::ALL.len());
        (place, says, 0..5_u64, any::<(bool, bool)>()).prop_map(|(place, says, source, (superseded, withdrawn))| {
            Value {
                second: place.0,
                storage: place.1,
                code: place.2,
                tariff: place.3,
                channel: place.4,
                quantity: Quantity::ALL[place.5],
                mantissa: says.0,
                exponent: says.1,
                unit: Unit::ALL[says.2],
                role: Role::ALL[says.3],
                quality: Quality::ALL[says.4],
                source,
                received_ms: source as i64 * 1_000 - 2_000,
                superseded,
                withdrawn,
            }
        })
    }

    proptest! {
        #[test]
        fn a_row_comes_back_as_it_was(values in prop::collection::vec(any_value(), 0..40)) {
            let mut bytes = Vec::new();
            pack(&values, &mut bytes);
            prop_assert_eq!(unpack(&bytes), Some(values));
        }

        #[test]
        fn any_bytes_are_a_row_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
