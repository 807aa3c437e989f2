//! The contract's words that a map may use, as it writes them: what a corrector can tell, not all that the contract knows.

use polymeter_sdk::{Quantity, Role, Unit, ValveState};

macro_rules! words {
    ($($(#[$note:meta])* $function:ident -> $type:ident { $($name:literal $variant:ident),+ $(,)? })+) => { $(
        $(#[$note])*
        pub fn $function(name: &str) -> Option<$type> {
            Some(match name { $($name => $type::$variant,)+ _ => return None })
        }
    )+
        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn every_word_is_the_contracts_own() {
                $( $( assert_eq!($name, polymeter_sdk::vectors::json::name(&$type::$variant)); )+ )+
                assert_eq!(quantity("working-volum"), None);
                assert!(fits(Quantity::Pressure, Unit::Bar) && !fits(Quantity::Volume, Unit::Bar));
                assert!(fits(Quantity::Volume, Unit::Other) && fits(Quantity::Other, Unit::Bar));
            }
        }
    };
}

/// Whether a quantity can be counted in a unit; a map that says otherwise has a word or a line wrong. `other` fits all.
pub const fn fits(quantity: Quantity, unit: Unit) -> bool {
    use {Quantity as Q, Unit as U};
    if matches!(unit, U::Other) {
        return true;
    }
    match quantity {
        Q::WorkingVolume | Q::StandardVolume | Q::Volume | Q::RemainingVolume | Q::PurchasedVolume => is_volume(unit),
        Q::Mass => matches!(unit, U::Kilogram | U::Tonne),
        Q::Energy => matches!(unit, U::WattHour | U::Joule),
        Q::WorkingFlow | Q::StandardFlow | Q::VolumeFlow => matches!(
            unit,
            U::CubicMetrePerHour
                | U::CubicMetrePerMinute
                | U::CubicMetrePerSecond
                | U::LitrePerHour
                | U::CubicFootPerHour
        ),
        Q::MassFlow => matches!(unit, U::KilogramPerHour),
        Q::Power => matches!(unit, U::Watt),
        Q::Temperature | Q::ExternalTemperature => {
            matches!(unit, U::DegreeCelsius | U::DegreeFahrenheit | U::Kelvin)
        }
        Q::Pressure => matches!(unit, U::Pascal | U::Bar),
        Q::Humidity => matches!(unit, U::Percent),
        Q::Voltage | Q::BatteryVoltage | Q::BackupBatteryVoltage | Q::ExternalSupplyVoltage => matches!(unit, U::Volt),
        Q::Current => matches!(unit, U::Ampere),
        Q::Frequency => matches!(unit, U::Hertz),
        Q::Balance | Q::PurchasedMoney | Q::Credit | Q::Debit => matches!(unit, U::Yuan | U::CurrencyUnit),
        Q::Price => matches!(unit, U::YuanPerCubicMetre | U::Yuan | U::CurrencyUnit),
        Q::OnTime | Q::OperatingTime | Q::BatteryOperatingTime | Q::BatteryRemainingTime => {
            matches!(unit, U::Second | U::Minute | U::Hour | U::Day | U::Month | U::Year)
        }
        Q::BatteryLevel | Q::SignalCsq | Q::Dimensionless => matches!(unit, U::None | U::Percent),
        Q::SignalRssi => matches!(unit, U::DecibelMilliwatt),
        Q::PulseCount => matches!(unit, U::None | U::Pulse),
        // What one pulse stands for.
        Q::PulseValue => is_volume(unit) || matches!(unit, U::None | U::Pulse | U::WattHour | U::Joule | U::Kilogram),
        Q::BaudRate => matches!(unit, U::None | U::Baud),
        Q::ErrorFlags | Q::StatusFlags | Q::DigitalInput => matches!(unit, U::None | U::BitField),
        Q::CompressibilityFactor
        | Q::CorrectionFactor
        | Q::PurchaseCount
        | Q::EventCount
        | Q::Identity
        | Q::FirmwareVersion
        | Q::HardwareVersion
        | Q::SoftwareVersion
        | Q::ModelVersion
        | Q::BusAddress => matches!(unit, U::None),
        _ => true,
    }
}

const fn is_volume(unit: Unit) -> bool {
    matches!(unit, Unit::CubicMetre | Unit::Litre | Unit::CubicFoot)
}

words! {
    quantity -> Quantity {
        "working-volume" WorkingVolume, "standard-volume" StandardVolume, "volume" Volume, "mass" Mass, "energy" Energy,
        "working-flow" WorkingFlow, "standard-flow" StandardFlow, "volume-flow" VolumeFlow, "mass-flow" MassFlow,
        "power" Power, "temperature" Temperature, "external-temperature" ExternalTemperature, "pressure" Pressure,
        "humidity" Humidity, "voltage" Voltage, "current" Current, "frequency" Frequency,
        "compressibility-factor" CompressibilityFactor, "correction-factor" CorrectionFactor, "balance" Balance,
        "remaining-volume" RemainingVolume, "purchased-money" PurchasedMoney, "purchased-volume" PurchasedVolume,
        "purchase-count" PurchaseCount, "price" Price, "credit" Credit, "debit" Debit, "on-time" OnTime,
        "operating-time" OperatingTime, "battery-operating-time" BatteryOperatingTime,
        "battery-voltage" BatteryVoltage, "backup-battery-voltage" BackupBatteryVoltage,
        "external-supply-voltage" ExternalSupplyVoltage, "battery-level" BatteryLevel,
        "battery-remaining-time" BatteryRemainingTime, "signal-rssi" SignalRssi, "signal-csq" SignalCsq,
        "pulse-count" PulseCount, "pulse-value" PulseValue, "event-count" EventCount, "identity" Identity,
        "firmware-version" FirmwareVersion, "hardware-version" HardwareVersion, "software-version" SoftwareVersion,
        "model-version" ModelVersion, "bus-address" BusAddress, "baud-rate" BaudRate, "error-flags" ErrorFlags,
        "status-flags" StatusFlags, "digital-input" DigitalInput, "dimensionless" Dimensionless, "other" Other,
    }
    unit -> Unit {
        "none" None, "cubic-metre" CubicMetre, "litre" Litre, "cubic-foot" CubicFoot, "kilogram" Kilogram, "tonne" Tonne,
        "watt-hour" WattHour, "joule" Joule, "cubic-metre-per-hour" CubicMetrePerHour,
        "cubic-metre-per-minute" CubicMetrePerMinute, "cubic-metre-per-second" CubicMetrePerSecond,
        "litre-per-hour" LitrePerHour, "cubic-foot-per-hour" CubicFootPerHour, "kilogram-per-hour" KilogramPerHour,
        "watt" Watt, "degree-celsius" DegreeCelsius, "degree-fahrenheit" DegreeFahrenheit, "kelvin" Kelvin,
        "pascal" Pascal, "bar" Bar, "volt" Volt, "ampere" Ampere, "hertz" Hertz, "percent" Percent, "yuan" Yuan,
        "yuan-per-cubic-metre" YuanPerCubicMetre, "currency-unit" CurrencyUnit, "second" Second, "minute" Minute,
        "hour" Hour, "day" Day, "month" Month, "year" Year, "decibel-milliwatt" DecibelMilliwatt, "pulse" Pulse,
        "bit-field" BitField, "baud" Baud, "other" Other,
    }
    role -> Role {
        "instantaneous" Instantaneous, "cumulative" Cumulative, "minimum" Minimum, "maximum" Maximum, "mean" Mean,
        "at-error" AtError, "frozen" Frozen, "consumed" Consumed, "set-point" SetPoint, "other" Other,
    }
    valve_state -> ValveState {
        "absent" Absent, "open" Open, "closed-temporary" ClosedTemporary, "closed-forced" ClosedForced, "closed" Closed,
        "open-permitted" OpenPermitted, "moving" Moving, "fault" Fault, "unknown" Unknown,
    }
}
