//! Whether a value can be what it says: the unit fits the quantity, and the number is one that such a meter can show.

use crate::model::{Quantity, Register, Unit, decimal};

/// Whether this quantity is ever counted in that unit. `other` on either side says nothing and passes.
pub fn fits(quantity: Quantity, unit: Unit) -> bool {
    unit == Unit::Other || units_of(quantity).is_none_or(|units| units.contains(&unit))
}

const VOLUMES: &[Unit] = &[Unit::CubicMetre, Unit::Litre, Unit::CubicFoot, Unit::UsGallon];
const FLOWS: &[Unit] = &[
    Unit::CubicMetrePerHour,
    Unit::CubicMetrePerMinute,
    Unit::CubicMetrePerSecond,
    Unit::LitrePerHour,
    Unit::CubicFootPerHour,
    Unit::UsGallonPerMinute,
    Unit::UsGallonPerHour,
];
const TEMPERATURES: &[Unit] = &[Unit::DegreeCelsius, Unit::DegreeFahrenheit, Unit::Kelvin];
const MONEY: &[Unit] = &[Unit::Yuan, Unit::CurrencyUnit];
const DURATIONS: &[Unit] = &[Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Month, Unit::Year];

/// `None`: this quantity comes in units that no table can foresee.
fn units_of(quantity: Quantity) -> Option<&'static [Unit]> {
    use Quantity as Q;
    Some(match quantity {
        Q::WorkingVolume | Q::StandardVolume | Q::Volume | Q::RemainingVolume | Q::PurchasedVolume => VOLUMES,
        Q::WorkingFlow | Q::StandardFlow | Q::VolumeFlow => FLOWS,
        Q::Mass => &[Unit::Kilogram, Unit::Tonne],
        Q::MassFlow => &[Unit::KilogramPerHour],
        Q::Energy => &[Unit::WattHour, Unit::Joule, Unit::Calorie],
        Q::ReactiveEnergy => &[Unit::VarHour],
        Q::ApparentEnergy => &[Unit::VoltAmpereHour],
        Q::Power => &[Unit::Watt, Unit::JoulePerHour],
        Q::ReactivePower => &[Unit::Var],
        Q::ApparentPower => &[Unit::VoltAmpere],
        Q::Temperature | Q::FlowTemperature | Q::ReturnTemperature | Q::ExternalTemperature => TEMPERATURES,
        Q::TemperatureDifference => &[Unit::Kelvin, Unit::DegreeCelsius, Unit::DegreeFahrenheit],
        Q::Pressure => &[Unit::Pascal, Unit::Bar],
        Q::Humidity => &[Unit::Percent],
        Q::Voltage | Q::BatteryVoltage | Q::BackupBatteryVoltage | Q::ExternalSupplyVoltage => &[Unit::Volt],
        Q::Current => &[Unit::Ampere],
        Q::Frequency => &[Unit::Hertz],
        Q::PhaseAngle => &[Unit::Degree],
        Q::PowerFactor | Q::CompressibilityFactor | Q::CorrectionFactor | Q::Dimensionless => &[Unit::None],
        Q::Balance | Q::PurchasedMoney | Q::Credit | Q::Debit => MONEY,
        Q::Price => &[Unit::YuanPerCubicMetre, Unit::CurrencyUnit],
        Q::DateTime => &[Unit::CivilSecond],
        Q::Date => &[Unit::CivilSecond],
        Q::OnTime | Q::OperatingTime | Q::BatteryOperatingTime | Q::AveragingDuration | Q::ActualityDuration => {
            DURATIONS
        }
        Q::TimeOfDay | Q::Duration | Q::BatteryRemainingTime | Q::ReadoutAge => DURATIONS,
        Q::BatteryLevel => &[Unit::Percent, Unit::None],
        Q::SignalRsrp | Q::SignalRssi => &[Unit::DecibelMilliwatt],
        Q::SignalSnr => &[Unit::Decibel],
        Q::SignalCsq | Q::SignalEcl | Q::ChannelNumber | Q::PhysicalCell | Q::Identity => &[Unit::None],
        Q::PurchaseCount | Q::EventCount | Q::ResetCount | Q::ReportCount | Q::CumulationCount => &[Unit::None],
        Q::PulseCount => &[Unit::Pulse, Unit::None],
        Q::AccessNumber | Q::Retries | Q::BusAddress | Q::HeatCostUnits => &[Unit::None],
        _ => return None,
    })
}

/// What is odd about a good value, if anything: most often a slipped decimal point.
pub fn odd(register: &Register) -> Option<String> {
    let (low, high) = plausible(register.quantity, register.unit)?;
    let value = register.mantissa as f64 * 10_f64.powi(i32::from(register.exponent));
    (!(low..=high).contains(&value)).then(|| {
        let shown = decimal(register.mantissa, register.exponent);
        format!("{} of {shown} {}; between {low} and {high} was to be expected", register.quantity, register.unit)
    })
}

/// Wide bounds, for a check of scales only: no such value is billed or refused by them.
fn plausible(quantity: Quantity, unit: Unit) -> Option<(f64, f64)> {
    use Quantity as Q;
    Some(match (quantity, unit) {
        (Q::Temperature | Q::FlowTemperature | Q::ReturnTemperature, Unit::DegreeCelsius) => (-60.0, 250.0),
        (Q::ExternalTemperature, Unit::DegreeCelsius) => (-60.0, 90.0),
        (Q::Pressure, Unit::Pascal) => (-200_000.0, 100_000_000.0),
        (Q::Pressure, Unit::Bar) => (-2.0, 1_000.0),
        (Q::BatteryVoltage | Q::BackupBatteryVoltage, Unit::Volt) => (0.0, 60.0),
        (Q::BatteryLevel | Q::Humidity, Unit::Percent) => (0.0, 100.0),
        (Q::SignalRsrp | Q::SignalRssi, Unit::DecibelMilliwatt) => (-160.0, 30.0),
        (Q::SignalSnr, Unit::Decibel) => (-60.0, 80.0),
        (Q::SignalCsq, Unit::None) => (0.0, 99.0),
        (Q::WorkingVolume | Q::StandardVolume | Q::Volume, Unit::CubicMetre) => (-1e9, 1e12),
        (Q::WorkingFlow | Q::StandardFlow | Q::VolumeFlow, Unit::CubicMetrePerHour) => (-1e6, 1e6),
        (Q::CompressibilityFactor, Unit::None) => (0.0, 10.0),
        (Q::Price, Unit::YuanPerCubicMetre) => (0.0, 1_000.0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Quality, Role};

    #[test]
    fn units_fit_their_quantities() {
        for (quantity, unit, expected) in [
            (Quantity::WorkingVolume, Unit::CubicMetre, true),
            (Quantity::WorkingVolume, Unit::WattHour, false),
            (Quantity::WorkingVolume, Unit::Other, true),
            (Quantity::Temperature, Unit::Pascal, false),
            (Quantity::ErrorFlags, Unit::BitField, true),
            (Quantity::Other, Unit::None, true),
            (Quantity::Price, Unit::Yuan, false),
        ] {
            assert_eq!(fits(quantity, unit), expected, "{quantity} in {unit}");
        }
    }

    #[test]
    fn slipped_points_are_odd() {
        let register = |quantity, unit, mantissa, exponent| Register {
            quantity,
            unit,
            role: Role::Instantaneous,
            quality: Quality::Good,
            exponent,
            mantissa,
            at: None,
            storage: 0,
            tariff: 0,
            channel: 0,
            code: 0,
        };
        for (register, expected) in [
            (register(Quantity::BatteryVoltage, Unit::Volt, 36, -1), false),
            (register(Quantity::BatteryVoltage, Unit::Volt, 3600, 0), true),
            (register(Quantity::Temperature, Unit::DegreeCelsius, -185, -1), false),
            (register(Quantity::Temperature, Unit::DegreeCelsius, 2_150, 0), true),
            (register(Quantity::BatteryLevel, Unit::Percent, 101, 0), true),
        ] {
            assert_eq!(odd(&register).is_some(), expected, "{register:?}");
        }
    }
}
