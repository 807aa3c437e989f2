//! Combinable VIFEs: what stands behind a VIF and changes its meaning. A change that the contract cannot say turns the value
//! into one of `other` meaning, never into one that could be taken for the plain quantity.

use crate::record::{Function, Record, Table};
use crate::vif::{self, Meaning, Nature};
use polymeter_sdk::{Quantity, Role, Unit};

/// At which conditions a volume was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conditions {
    Unsaid,
    Working,
    Standard,
}

/// A record's meaning with all its VIFEs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Combined {
    pub meaning: Meaning,
    /// In place of that of the function field; none: as the function field says.
    pub role: Option<Role>,
    pub conditions: Conditions,
    /// The meter says that there is no proper value.
    pub in_error: bool,
    /// `10^n` of the unit is to be added.
    pub offset: Option<i8>,
    /// The data are no single value: kept as bytes.
    pub opaque: bool,
    /// Nothing but scale and conditions was changed.
    pub is_plain: bool,
}

/// The meaning of a record.
#[inline]
pub fn combine(record: &Record<'_>) -> Combined {
    let mut combined = Combined {
        meaning: vif::meaning(record),
        role: None,
        conditions: Conditions::Unsaid,
        in_error: false,
        offset: None,
        opaque: false,
        is_plain: true,
    };
    let mut vifes = record.vifes().iter().copied();
    // The manufacturer's own VIF has VIFEs of the manufacturer's own, and behind a reserved one nobody knows what they are.
    if matches!((record.table, record.vif), (Table::Primary, 0x6F | 0x7E | 0x7F) | (Table::First, 0x7D)) {
        return combined;
    }
    while let Some(vife) = vifes.next() {
        match vife {
            // The second table is opened: one more byte belongs to it.
            0x7C => {
                combined.distinguish();
                vifes.next();
            }
            // What follows is the manufacturer's: one of several, such as a phase, whose maximum is a maximum all the same.
            0x7F => {
                combined.is_plain = false;
                if record.function == Function::Instantaneous {
                    combined.distinguish();
                }
                break;
            }
            _ => combined.apply(vife),
        }
    }
    combined
}

impl Combined {
    /// Not the plain quantity: a part of it, or one of several.
    fn distinguish(&mut self) {
        self.is_plain = false;
        self.role = self.role.or(Some(Role::Other));
    }

    /// Another quantity altogether.
    fn become_other(&mut self, quantity: Quantity, unit: Unit, exponent: i8) {
        self.meaning = Meaning { quantity, unit, exponent, nature: Nature::Gauge };
        self.distinguish();
    }

    /// A date of something, not the plain date.
    fn become_moment(&mut self) {
        self.meaning =
            Meaning { quantity: Quantity::DateTime, unit: Unit::CivilSecond, exponent: 0, nature: Nature::Moment };
        self.distinguish();
    }

    fn apply(&mut self, vife: u8) {
        let is_moment = self.meaning.nature == Nature::Moment;
        // A point in time is never a number of something.
        let unit = if is_moment { Unit::Other } else { self.meaning.unit };
        match vife {
            0x00 => {}
            0x12 => {
                self.role = Some(Role::Mean);
                self.is_plain = false;
            }
            // Lists of values under one record.
            0x13 | 0x1E | 0x1F => self.opaque = true,
            0x14 => self.become_other(Quantity::Other, Unit::Other, 0),
            0x1D => {}
            // What the meter could not do, no data, overflow, underflow, error.
            0x01..=0x1C => self.in_error = true,
            0x20..=0x27 => self.per_time(vife),
            0x28..=0x2B => self.become_other(Quantity::PulseValue, unit, self.meaning.exponent),
            0x2C..=0x38 | 0x3D | 0x3F => self.become_other(Quantity::Other, Unit::Other, self.meaning.exponent),
            0x39 => self.become_moment(),
            0x3A => self.conditions = Conditions::Working,
            0x3B => {}
            0x3C => self.distinguish(),
            0x3E => self.conditions = Conditions::Standard,
            0x40 | 0x48 => {
                self.role = Some(Role::SetPoint);
                self.is_plain = false;
                if self.meaning.nature == Nature::Counter {
                    self.meaning.nature = Nature::Gauge;
                }
            }
            0x41 | 0x49 => {
                self.become_other(Quantity::EventCount, Unit::None, 0);
                self.meaning.nature = Nature::Number;
            }
            0x42..=0x47 | 0x4A..=0x4F | 0x6A | 0x6B | 0x6E | 0x6F => self.become_moment(),
            0x50..=0x67 => self.become_other(Quantity::Duration, duration_unit(vife), 0),
            // Values during an excess, leaked, overflown.
            0x68 | 0x69 | 0x6C | 0x6D => self.distinguish(),
            0x70..=0x77 => self.meaning.exponent += (vife & 7) as i8 - 6,
            0x78..=0x7B => self.offset = Some((vife & 3) as i8 - 3),
            0x7D => self.meaning.exponent += 3,
            // A value or date to come.
            0x7E => {
                self.role = Some(Role::SetPoint);
                self.is_plain = false;
            }
            _ => self.become_other(Quantity::Other, Unit::Other, self.meaning.exponent),
        }
    }

    /// A quantity a second, minute, hour is a flow where the contract has that unit.
    fn per_time(&mut self, vife: u8) {
        let exponent = self.meaning.exponent;
        let (quantity, unit) = match (self.meaning.unit, vife) {
            (Unit::CubicMetre, 0x20) => (Quantity::VolumeFlow, Unit::CubicMetrePerSecond),
            (Unit::CubicMetre, 0x21) => (Quantity::VolumeFlow, Unit::CubicMetrePerMinute),
            (Unit::CubicMetre, 0x22) => (Quantity::VolumeFlow, Unit::CubicMetrePerHour),
            (Unit::CubicFoot, 0x22) => (Quantity::VolumeFlow, Unit::CubicFootPerHour),
            (Unit::UsGallon, 0x21) => (Quantity::VolumeFlow, Unit::UsGallonPerMinute),
            (Unit::UsGallon, 0x22) => (Quantity::VolumeFlow, Unit::UsGallonPerHour),
            (Unit::Kilogram, 0x22) => (Quantity::MassFlow, Unit::KilogramPerHour),
            (Unit::Joule, 0x22) => (Quantity::Power, Unit::JoulePerHour),
            (Unit::WattHour, 0x22) => (Quantity::Power, Unit::Watt),
            _ => return self.become_other(Quantity::Other, Unit::Other, exponent),
        };
        self.meaning = Meaning { quantity, unit, exponent, nature: Nature::Gauge };
        self.is_plain = false;
    }
}

/// Seconds, minutes, hours, days.
const fn duration_unit(vife: u8) -> Unit {
    match vife & 3 {
        0 => Unit::Second,
        1 => Unit::Minute,
        2 => Unit::Hour,
        _ => Unit::Day,
    }
}
