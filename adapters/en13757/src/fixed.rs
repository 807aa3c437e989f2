//! The fixed data structure (CI 73), which old meters send: two counters. The header is the identification alone.
//!
//! ```text
//! | id 4 | access | status | unit 1 | unit 2 | counter 1, 4 | counter 2, 4 |
//! ```
//! Status bit 7: counters binary, otherwise BCD; bit 6: stored values. Medium: two bits from each unit byte.

use crate::identity::{medium, push_id};
use crate::options::{Options, PlainVolume};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, Quality, Quantity, Register, Role, Unit};

/// What fixed data say.
#[derive(Debug)]
pub struct Fixed {
    /// The identification: nothing else is told.
    pub address: String,
    pub medium: u8,
    pub access: u8,
    pub status: u8,
    pub registers: Vec<Register>,
    pub unknown: Vec<Message>,
    /// A present total is there, but without a value.
    pub is_total_absent: bool,
}

/// The same unit as counter 1, of an earlier date.
const HISTORIC: u8 = 0x3E;
const NONE: u8 = 0x3F;

/// `msb_first`: mode 2, where values have their high byte first.
pub fn read(data: &[u8], msb_first: bool, options: &Options) -> Result<Fixed, FieldError> {
    let mut r = Reader::new(data);
    let ordered = |mut bytes: [u8; 4]| {
        if msb_first {
            bytes.reverse();
        }
        bytes
    };
    let id = ordered(r.array("identification")?);
    let (access, status) = (r.u8("access number")?, r.u8("status")?);
    let units: [u8; 2] = r.array("units")?;
    let counters = [ordered(r.array("counter 1")?), ordered(r.array("counter 2")?)];
    r.finish("counter 2")?;
    let medium = medium_of(units);
    let mut fixed = Fixed {
        address: String::with_capacity(8),
        medium,
        access,
        status: status & 0x3F,
        registers: Vec::with_capacity(4),
        unknown: Vec::new(),
        is_total_absent: false,
    };
    push_id(&mut fixed.address, id);
    for (n, counter) in counters.into_iter().enumerate() {
        fixed.add(n, units, counter, status, options);
    }
    Ok(fixed)
}

impl Fixed {
    fn add(&mut self, n: usize, units: [u8; 2], counter: [u8; 4], status: u8, options: &Options) {
        let own = units[n] & 0x3F;
        let is_historic = own == HISTORIC;
        let unit = if is_historic { units[0] & 0x3F } else { own };
        if own == NONE && counter == [0; 4] {
            return;
        }
        let is_binary = status & 0x80 != 0;
        let mantissa = if is_binary {
            Some(i64::from(i32::from_le_bytes(counter)))
        } else {
            polymeter_sdk::bcd::number_le(&counter).and_then(|n| i64::try_from(n).ok())
        };
        // The most negative integer is none, as in records.
        let has_none = is_binary && mantissa == Some(i64::from(i32::MIN));
        let entry = meaning(unit).filter(|_| unit != HISTORIC);
        let is_stored = is_historic || status & 0x40 != 0;
        let is_total = entry.is_some_and(|(quantity, ..)| is_counter(quantity));
        self.is_total_absent |= is_total && !is_stored && (mantissa.is_none() || has_none);
        let (Some(mantissa), Some((quantity, scale_unit, exponent))) = (mantissa, entry) else {
            let raw = [&[units[n]][..], &counter].concat();
            self.unknown.push(Message::unknown(format!("counter-{}", n + 1), &raw));
            return;
        };
        self.registers.push(Register {
            quantity: conditioned(quantity, self.medium, options),
            unit: scale_unit,
            role: match (is_total, is_stored) {
                (true, false) => Role::Cumulative,
                (true, true) => Role::Frozen,
                (false, _) => Role::Instantaneous,
            },
            quality: if has_none { Quality::Invalid } else { Quality::Good },
            exponent,
            mantissa,
            at: None,
            storage: u32::from(is_stored),
            tariff: 0,
            channel: 0,
            code: u32::from(own) | (n as u32 + 1) << 8 | 0x7300_0000,
        });
    }
}

const fn is_counter(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Volume | Quantity::Energy | Quantity::HeatCostUnits)
}

/// Media of the fixed structure are numbered a little differently above 8.
const fn medium_of(units: [u8; 2]) -> u8 {
    match (units[1] >> 6) << 2 | units[0] >> 6 {
        0x0A => medium::GAS,
        0x0B => 0x04,
        0x0C => 0x06,
        0x0D => 0x07,
        0x0E => 0x08,
        0x09 | 0x0F => 0x0F,
        same => same,
    }
}

fn conditioned(quantity: Quantity, medium: u8, options: &Options) -> Quantity {
    let is_gas = medium == medium::GAS;
    match (quantity, options.plain_volume) {
        (Quantity::Volume, PlainVolume::Standard) => Quantity::StandardVolume,
        (Quantity::VolumeFlow, PlainVolume::Standard) => Quantity::StandardFlow,
        (Quantity::Volume, plain) if is_gas || plain == PlainVolume::Working => Quantity::WorkingVolume,
        (Quantity::VolumeFlow, plain) if is_gas || plain == PlainVolume::Working => Quantity::WorkingFlow,
        _ => quantity,
    }
}

/// Quantity, unit and power of ten of a unit code; `None` for dates, reserved codes and none at all.
fn meaning(code: u8) -> Option<(Quantity, Unit, i8)> {
    let steps = |first: u8| (code - first) as i8;
    Some(match code {
        0x02..=0x0A => (Quantity::Energy, Unit::WattHour, steps(0x02)),
        0x0B..=0x13 => (Quantity::Energy, Unit::Joule, 3 + steps(0x0B)),
        0x14..=0x1C => (Quantity::Power, Unit::Watt, steps(0x14)),
        0x1D..=0x25 => (Quantity::Power, Unit::JoulePerHour, 3 + steps(0x1D)),
        0x26..=0x2E => (Quantity::Volume, Unit::CubicMetre, steps(0x26) - 6),
        0x2F..=0x37 => (Quantity::VolumeFlow, Unit::CubicMetrePerHour, steps(0x2F) - 6),
        0x38 => (Quantity::Temperature, Unit::DegreeCelsius, -3),
        0x39 => (Quantity::HeatCostUnits, Unit::None, 0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_codes() {
        assert_eq!(meaning(0x29), Some((Quantity::Volume, Unit::CubicMetre, -3)));
        assert_eq!(meaning(0x2C), Some((Quantity::Volume, Unit::CubicMetre, 0)));
        assert_eq!(meaning(0x0B), Some((Quantity::Energy, Unit::Joule, 3)));
        assert_eq!(meaning(0x37), Some((Quantity::VolumeFlow, Unit::CubicMetrePerHour, 2)));
        assert_eq!(meaning(0x3F), None);
        assert_eq!(medium_of([0xE9, 0x7E]), 7);
    }
}
