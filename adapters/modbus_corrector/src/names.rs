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
            }
        }
    };
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
