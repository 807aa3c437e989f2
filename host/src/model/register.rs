//! Registers: what is measured, in which unit, with which trust. Wording of every name: `wit/types.wit`.

use super::Civil;
use serde::{Deserialize, Serialize};

names! {
    /// What is measured.
    Quantity { WorkingVolume = "working-volume", StandardVolume = "standard-volume", Volume = "volume", Mass = "mass", Energy = "energy", ReactiveEnergy = "reactive-energy", ApparentEnergy = "apparent-energy", WorkingFlow = "working-flow", StandardFlow = "standard-flow", VolumeFlow = "volume-flow", MassFlow = "mass-flow", Power = "power", ReactivePower = "reactive-power", ApparentPower = "apparent-power", Temperature = "temperature", FlowTemperature = "flow-temperature", ReturnTemperature = "return-temperature", TemperatureDifference = "temperature-difference", ExternalTemperature = "external-temperature", Pressure = "pressure", Humidity = "humidity", Voltage = "voltage", Current = "current", Frequency = "frequency", PowerFactor = "power-factor", PhaseAngle = "phase-angle", CompressibilityFactor = "compressibility-factor", CorrectionFactor = "correction-factor", Balance = "balance", RemainingVolume = "remaining-volume", PurchasedMoney = "purchased-money", PurchasedVolume = "purchased-volume", PurchaseCount = "purchase-count", Price = "price", Credit = "credit", Debit = "debit", OnTime = "on-time", OperatingTime = "operating-time", BatteryOperatingTime = "battery-operating-time", AveragingDuration = "averaging-duration", ActualityDuration = "actuality-duration", DateTime = "date-time", Date = "date", TimeOfDay = "time-of-day", Duration = "duration", BatteryVoltage = "battery-voltage", BackupBatteryVoltage = "backup-battery-voltage", ExternalSupplyVoltage = "external-supply-voltage", BatteryLevel = "battery-level", BatteryRemainingTime = "battery-remaining-time", SignalRsrp = "signal-rsrp", SignalSnr = "signal-snr", SignalCsq = "signal-csq", SignalEcl = "signal-ecl", SignalRssi = "signal-rssi", ChannelNumber = "channel-number", PhysicalCell = "physical-cell", HeatCostUnits = "heat-cost-units", PulseCount = "pulse-count", PulseValue = "pulse-value", AccessNumber = "access-number", EventCount = "event-count", ResetCount = "reset-count", ReportCount = "report-count", CumulationCount = "cumulation-count", Identity = "identity", FirmwareVersion = "firmware-version", HardwareVersion = "hardware-version", SoftwareVersion = "software-version", ModelVersion = "model-version", BusAddress = "bus-address", Medium = "medium", BaudRate = "baud-rate", ResponseDelay = "response-delay", Retries = "retries", ErrorFlags = "error-flags", StatusFlags = "status-flags", DigitalInput = "digital-input", DigitalOutput = "digital-output", ControlSignal = "control-signal", TariffStart = "tariff-start", TariffDuration = "tariff-duration", TariffPeriod = "tariff-period", StorageInterval = "storage-interval", StorageFirst = "storage-first", StorageLast = "storage-last", StorageSize = "storage-size", ReadoutAge = "readout-age", Dimensionless = "dimensionless", Other = "other" }
}

names! {
    /// What `mantissa × 10^exponent` counts.
    Unit { None = "none", CubicMetre = "cubic-metre", Litre = "litre", CubicFoot = "cubic-foot", UsGallon = "us-gallon", Kilogram = "kilogram", Tonne = "tonne", WattHour = "watt-hour", Joule = "joule", Calorie = "calorie", VarHour = "var-hour", VoltAmpereHour = "volt-ampere-hour", CubicMetrePerHour = "cubic-metre-per-hour", CubicMetrePerMinute = "cubic-metre-per-minute", CubicMetrePerSecond = "cubic-metre-per-second", LitrePerHour = "litre-per-hour", CubicFootPerHour = "cubic-foot-per-hour", UsGallonPerMinute = "us-gallon-per-minute", UsGallonPerHour = "us-gallon-per-hour", KilogramPerHour = "kilogram-per-hour", Watt = "watt", JoulePerHour = "joule-per-hour", Var = "var", VoltAmpere = "volt-ampere", DegreeCelsius = "degree-celsius", DegreeFahrenheit = "degree-fahrenheit", Kelvin = "kelvin", Pascal = "pascal", Bar = "bar", Volt = "volt", Ampere = "ampere", Hertz = "hertz", Degree = "degree", Percent = "percent", Yuan = "yuan", YuanPerCubicMetre = "yuan-per-cubic-metre", CurrencyUnit = "currency-unit", Second = "second", Minute = "minute", Hour = "hour", Day = "day", Month = "month", Year = "year", CivilSecond = "civil-second", Decibel = "decibel", DecibelMilliwatt = "decibel-milliwatt", Pulse = "pulse", BitField = "bit-field", Baud = "baud", Other = "other" }
}

names! {
    /// Which aspect of the quantity.
    Role { Instantaneous = "instantaneous", Cumulative = "cumulative", Minimum = "minimum", Maximum = "maximum", Mean = "mean", AtError = "at-error", Frozen = "frozen", Consumed = "consumed", SetPoint = "set-point", Other = "other" }
}

names! {
    /// How far the device itself trusts the value.
    Quality { Good = "good", Stale = "stale", Estimated = "estimated", Invalid = "invalid" }
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Register {
    pub quantity: Quantity,
    pub unit: Unit,
    pub role: Role,
    pub quality: Quality,
    pub exponent: i8,
    pub mantissa: i64,
    /// None: the report's own time.
    pub at: Option<Civil>,
    pub storage: u32,
    pub tariff: u16,
    pub channel: u16,
    pub code: u32,
}

/// One quantity over time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Series {
    pub quantity: Quantity,
    pub unit: Unit,
    pub role: Role,
    pub exponent: i8,
    pub storage: u32,
    pub tariff: u16,
    pub channel: u16,
    pub code: u32,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub at: Civil,
    pub mantissa: i64,
}
