//! The tables of value information: primary, FB and FD. Each entry as the contract says it: quantity, unit, power of ten. What
//! the contract has no quantity for is `other`, with its value kept. VIFEs and gas conditions are not known here.

use crate::record::{Record, Table};
use polymeter_sdk::{Quantity, Unit};

/// What kind of value an entry has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// A total that runs up.
    Counter,
    Gauge,
    /// A count, a name or a version: never below zero.
    Number,
    /// Bits.
    Flags,
    /// A date or time, by its length.
    Moment,
}

/// One entry: `data × 10^exponent` of `unit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    pub quantity: Quantity,
    pub unit: Unit,
    pub exponent: i8,
    pub nature: Nature,
}

const fn counter(quantity: Quantity, unit: Unit, exponent: i8) -> Meaning {
    Meaning { quantity, unit, exponent, nature: Nature::Counter }
}
const fn gauge(quantity: Quantity, unit: Unit, exponent: i8) -> Meaning {
    Meaning { quantity, unit, exponent, nature: Nature::Gauge }
}
const fn flags(quantity: Quantity) -> Meaning {
    Meaning { quantity, unit: Unit::BitField, exponent: 0, nature: Nature::Flags }
}
const fn moment(quantity: Quantity) -> Meaning {
    Meaning { quantity, unit: Unit::CivilSecond, exponent: 0, nature: Nature::Moment }
}
/// A number whose meaning or unit the contract has no word for.
pub const fn other() -> Meaning {
    gauge(Quantity::Other, Unit::Other, 0)
}
/// A plain number that names or counts something.
const fn plain(quantity: Quantity) -> Meaning {
    number(quantity, Unit::None)
}
const fn number(quantity: Quantity, unit: Unit) -> Meaning {
    Meaning { quantity, unit, exponent: 0, nature: Nature::Number }
}

/// Seconds, minutes, hours, days.
const fn short_time(n: u8) -> Unit {
    match n & 3 {
        0 => Unit::Second,
        1 => Unit::Minute,
        2 => Unit::Hour,
        _ => Unit::Day,
    }
}
/// Hours, days, months, years.
const fn long_time(n: u8) -> Unit {
    match n & 3 {
        0 => Unit::Hour,
        1 => Unit::Day,
        2 => Unit::Month,
        _ => Unit::Year,
    }
}

/// The entry of a record's VIF.
#[inline]
pub fn meaning(record: &Record<'_>) -> Meaning {
    match record.table {
        Table::Primary => primary(record.vif),
        Table::Second => second(record.vif),
        Table::First => first(record.vif),
        Table::Text => text(record.text),
    }
}

/// Whether a volume or a flow is meant: what has working and standard conditions.
pub const fn is_gas_quantity(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Volume | Quantity::VolumeFlow)
}

#[inline]
pub fn primary(vif: u8) -> Meaning {
    use Quantity as Q;
    let n = (vif & 7) as i8;
    let nn = (vif & 3) as i8;
    match vif {
        0x00..=0x07 => counter(Q::Energy, Unit::WattHour, n - 3),
        0x08..=0x0F => counter(Q::Energy, Unit::Joule, n),
        0x10..=0x17 => counter(Q::Volume, Unit::CubicMetre, n - 6),
        0x18..=0x1F => counter(Q::Mass, Unit::Kilogram, n - 3),
        0x20..=0x23 => gauge(Q::OnTime, short_time(vif), 0),
        0x24..=0x27 => gauge(Q::OperatingTime, short_time(vif), 0),
        0x28..=0x2F => gauge(Q::Power, Unit::Watt, n - 3),
        0x30..=0x37 => gauge(Q::Power, Unit::JoulePerHour, n),
        0x38..=0x3F => gauge(Q::VolumeFlow, Unit::CubicMetrePerHour, n - 6),
        0x40..=0x47 => gauge(Q::VolumeFlow, Unit::CubicMetrePerMinute, n - 7),
        0x48..=0x4F => gauge(Q::VolumeFlow, Unit::CubicMetrePerSecond, n - 9),
        0x50..=0x57 => gauge(Q::MassFlow, Unit::KilogramPerHour, n - 3),
        0x58..=0x5B => gauge(Q::FlowTemperature, Unit::DegreeCelsius, nn - 3),
        0x5C..=0x5F => gauge(Q::ReturnTemperature, Unit::DegreeCelsius, nn - 3),
        0x60..=0x63 => gauge(Q::TemperatureDifference, Unit::Kelvin, nn - 3),
        0x64..=0x67 => gauge(Q::ExternalTemperature, Unit::DegreeCelsius, nn - 3),
        0x68..=0x6B => gauge(Q::Pressure, Unit::Bar, nn - 3),
        0x6C | 0x6D => moment(if vif == 0x6C { Q::Date } else { Q::DateTime }),
        0x6E => counter(Q::HeatCostUnits, Unit::None, 0),
        0x70..=0x73 => gauge(Q::AveragingDuration, short_time(vif), 0),
        0x74..=0x77 => gauge(Q::ActualityDuration, short_time(vif), 0),
        0x78 | 0x79 => plain(Q::Identity),
        0x7A => plain(Q::BusAddress),
        // Reserved, any VIF, the manufacturer's own, and table marks without a table.
        _ => other(),
    }
}

/// Behind FB.
pub fn second(vif: u8) -> Meaning {
    use Quantity as Q;
    let n = (vif & 1) as i8;
    let nn = (vif & 3) as i8;
    match vif {
        0x00 | 0x01 => counter(Q::Energy, Unit::WattHour, 5 + n),
        0x02 | 0x03 => counter(Q::ReactiveEnergy, Unit::VarHour, 3 + n),
        0x04 | 0x05 => counter(Q::ApparentEnergy, Unit::VoltAmpereHour, 3 + n),
        0x08 | 0x09 => counter(Q::Energy, Unit::Joule, 8 + n),
        0x0C..=0x0F => counter(Q::Energy, Unit::Calorie, 5 + nn),
        0x10 | 0x11 => counter(Q::Volume, Unit::CubicMetre, 2 + n),
        0x14..=0x17 => gauge(Q::ReactivePower, Unit::Var, nn),
        0x18 | 0x19 => counter(Q::Mass, Unit::Tonne, 2 + n),
        0x1A | 0x1B => gauge(Q::Humidity, Unit::Percent, n - 1),
        0x20 => counter(Q::Volume, Unit::CubicFoot, 0),
        0x21 => counter(Q::Volume, Unit::CubicFoot, -1),
        0x22 => counter(Q::Volume, Unit::UsGallon, -1),
        0x23 => counter(Q::Volume, Unit::UsGallon, 0),
        0x24 => gauge(Q::VolumeFlow, Unit::UsGallonPerMinute, -3),
        0x25 => gauge(Q::VolumeFlow, Unit::UsGallonPerMinute, 0),
        0x26 => gauge(Q::VolumeFlow, Unit::UsGallonPerHour, 0),
        0x28 | 0x29 => gauge(Q::Power, Unit::Watt, 5 + n),
        0x2A | 0x2B => gauge(Q::PhaseAngle, Unit::Degree, -1),
        0x2C..=0x2F => gauge(Q::Frequency, Unit::Hertz, nn - 3),
        0x30 | 0x31 => gauge(Q::Power, Unit::JoulePerHour, 8 + n),
        0x34..=0x37 => gauge(Q::ApparentPower, Unit::VoltAmpere, nn),
        0x58..=0x5B => gauge(Q::FlowTemperature, Unit::DegreeFahrenheit, nn - 3),
        0x5C..=0x5F => gauge(Q::ReturnTemperature, Unit::DegreeFahrenheit, nn - 3),
        0x60..=0x63 => gauge(Q::TemperatureDifference, Unit::DegreeFahrenheit, nn - 3),
        0x64..=0x67 => gauge(Q::ExternalTemperature, Unit::DegreeFahrenheit, nn - 3),
        // Limits between cold and warm, which are no temperatures of anything.
        0x70..=0x73 => gauge(Q::Other, Unit::DegreeFahrenheit, nn - 3),
        0x74..=0x77 => gauge(Q::Other, Unit::DegreeCelsius, nn - 3),
        // Cumulated maxima of power: a sum of maxima is no power.
        0x78..=0x7F => gauge(Q::Other, Unit::Watt, (vif & 7) as i8 - 3),
        _ => other(),
    }
}

/// Behind FD.
pub fn first(vif: u8) -> Meaning {
    use Quantity as Q;
    let nn = (vif & 3) as i8;
    let nnnn = (vif & 15) as i8;
    match vif {
        0x00..=0x03 => gauge(Q::Credit, Unit::CurrencyUnit, nn - 3),
        0x04..=0x07 => gauge(Q::Debit, Unit::CurrencyUnit, nn - 3),
        0x08 => plain(Q::AccessNumber),
        0x09 => plain(Q::Medium),
        // Manufacturer, parameter set; customer location and customer.
        0x0A | 0x0B | 0x10 | 0x11 => plain(Q::Identity),
        0x0C => plain(Q::ModelVersion),
        0x0D => plain(Q::HardwareVersion),
        0x0E => plain(Q::FirmwareVersion),
        0x0F => plain(Q::SoftwareVersion),
        0x17 => flags(Q::ErrorFlags),
        // The mask of the error flags is none of them.
        0x18 => flags(Q::StatusFlags),
        0x1A => flags(Q::DigitalOutput),
        0x1B => flags(Q::DigitalInput),
        0x1C => number(Q::BaudRate, Unit::Baud),
        // In bit times.
        0x1D => number(Q::ResponseDelay, Unit::Other),
        0x1E => plain(Q::Retries),
        0x20 => plain(Q::StorageFirst),
        0x21 => plain(Q::StorageLast),
        0x22 => plain(Q::StorageSize),
        0x24..=0x27 => gauge(Q::StorageInterval, short_time(vif), 0),
        0x28 | 0x29 => gauge(Q::StorageInterval, long_time(vif + 2), 0),
        0x2B => gauge(Q::Other, Unit::Second, 0),
        0x2C..=0x2F => gauge(Q::ReadoutAge, short_time(vif), 0),
        0x30 => moment(Q::TariffStart),
        0x31..=0x33 => gauge(Q::TariffDuration, short_time(vif), 0),
        0x34..=0x37 => gauge(Q::TariffPeriod, short_time(vif), 0),
        0x38 | 0x39 => gauge(Q::TariffPeriod, long_time(vif + 2), 0),
        // Whatever it is, it may be below zero.
        0x3A => gauge(Q::Dimensionless, Unit::None, 0),
        // Between transmissions.
        0x3C..=0x3F => gauge(Q::Duration, short_time(vif), 0),
        0x40..=0x4F => gauge(Q::Voltage, Unit::Volt, nnnn - 9),
        0x50..=0x5F => gauge(Q::Current, Unit::Ampere, nnnn - 12),
        0x60 => plain(Q::ResetCount),
        0x61 => plain(Q::CumulationCount),
        0x62 => plain(Q::ControlSignal),
        0x68..=0x6B => gauge(Q::Duration, long_time(vif), 0),
        0x6C..=0x6F => gauge(Q::BatteryOperatingTime, long_time(vif), 0),
        0x70 => moment(Q::Other),
        0x71 => gauge(Q::SignalRssi, Unit::DecibelMilliwatt, 0),
        0x74 => gauge(Q::BatteryRemainingTime, Unit::Day, 0),
        0x75 => plain(Q::EventCount),
        // Access codes and keys, remote control, day of week, week number, switch of day, containers: numbers as they are.
        0x12..=0x16 | 0x19 | 0x1F | 0x23 | 0x2A | 0x3B | 0x63..=0x67 | 0x72 | 0x73 | 0x76 => plain(Q::Other),
        _ => other(),
    }
}

/// A unit in the meter's own words, last character first.
fn text(reversed: &[u8]) -> Meaning {
    if reversed == b"HR%" { gauge(Quantity::Humidity, Unit::Percent, 0) } else { other() }
}

/// What the text of a record is, for people.
pub const fn text_name(table: Table, vif: u8) -> &'static str {
    match (table, vif) {
        (Table::Primary, 0x78) => "fabrication-number",
        (Table::Primary, 0x79) => "identification",
        (Table::Primary, 0x7A) => "bus-address",
        (Table::First, 0x0A) => "manufacturer",
        (Table::First, 0x0B) => "parameter-set",
        (Table::First, 0x0C) => "model-version",
        (Table::First, 0x0D) => "hardware-version",
        (Table::First, 0x0E) => "firmware-version",
        (Table::First, 0x0F) => "software-version",
        (Table::First, 0x10) => "customer-location",
        (Table::First, 0x11) => "customer",
        _ => "value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_the_tables() {
        for (found, quantity, unit, exponent) in [
            (primary(0x00), Quantity::Energy, Unit::WattHour, -3),
            (primary(0x0F), Quantity::Energy, Unit::Joule, 7),
            (primary(0x13), Quantity::Volume, Unit::CubicMetre, -3),
            (primary(0x23), Quantity::OnTime, Unit::Day, 0),
            (primary(0x37), Quantity::Power, Unit::JoulePerHour, 7),
            (primary(0x47), Quantity::VolumeFlow, Unit::CubicMetrePerMinute, 0),
            (primary(0x48), Quantity::VolumeFlow, Unit::CubicMetrePerSecond, -9),
            (primary(0x6B), Quantity::Pressure, Unit::Bar, 0),
            (primary(0x7B), Quantity::Other, Unit::Other, 0),
            (second(0x00), Quantity::Energy, Unit::WattHour, 5),
            (second(0x11), Quantity::Volume, Unit::CubicMetre, 3),
            (second(0x1A), Quantity::Humidity, Unit::Percent, -1),
            (second(0x21), Quantity::Volume, Unit::CubicFoot, -1),
            (second(0x77), Quantity::Other, Unit::DegreeCelsius, 0),
            (first(0x28), Quantity::StorageInterval, Unit::Month, 0),
            (first(0x29), Quantity::StorageInterval, Unit::Year, 0),
            (first(0x31), Quantity::TariffDuration, Unit::Minute, 0),
            (first(0x39), Quantity::TariffPeriod, Unit::Year, 0),
            (first(0x49), Quantity::Voltage, Unit::Volt, 0),
            (first(0x5C), Quantity::Current, Unit::Ampere, 0),
            (first(0x6F), Quantity::BatteryOperatingTime, Unit::Year, 0),
        ] {
            assert_eq!((found.quantity, found.unit, found.exponent), (quantity, unit, exponent));
        }
    }

    #[test]
    fn every_entry_has_an_exponent_that_the_contract_carries() {
        for vif in 0..128 {
            for found in [primary(vif), second(vif), first(vif)] {
                assert!((-18..=18).contains(&found.exponent));
            }
        }
    }
}
