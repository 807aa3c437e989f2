//! The words of a register map as a profile writes them. Unknown names are errors; what the words mean together is checked in `map`.

use crate::field::{Order, Type};
use crate::options::holding;
use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapWords {
    /// Of every value that does not say its own.
    pub order: Order,
    pub registers: Vec<RegisterWords>,
    pub status: Vec<StatusWords>,
    pub valve: Option<ValveWords>,
    pub clock: Option<ClockWords>,
    pub parameters: Vec<ParameterWords>,
    pub archive: Option<ArchiveWords>,
}

/// Which read brings it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    #[default]
    Current,
    Account,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterWords {
    pub register: u16,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    #[serde(rename = "type")]
    pub kind: Type,
    pub order: Option<Order>,
    #[serde(default)]
    pub exponent: i8,
    /// Of floats: digits after the point that are kept.
    pub decimals: Option<u8>,
    pub fraction: Option<FractionWords>,
    pub quantity: String,
    pub unit: String,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub storage: u32,
    #[serde(default)]
    pub tariff: u16,
    #[serde(default)]
    pub channel: u16,
    /// Raw values that mean "none", in hexadecimal digits, high byte first.
    #[serde(default)]
    pub absent: Vec<String>,
    #[serde(default)]
    pub scope: Scope,
}

/// What stands behind the point of a total that is kept in two numbers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FractionWords {
    pub register: u16,
    #[serde(rename = "type")]
    pub kind: Type,
    pub order: Option<Order>,
    /// Digits after the point: of a float those kept, of an integer those it counts.
    pub decimals: u8,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusWords {
    pub register: u16,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    #[serde(rename = "type")]
    pub kind: Type,
    pub order: Option<Order>,
    #[serde(default)]
    pub bits: Vec<BitWords>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitWords {
    pub bit: u8,
    pub code: String,
    /// The alarm is active while the bit is 0.
    #[serde(default)]
    pub inverted: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValveWords {
    pub register: Option<u16>,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    pub mask: Option<u16>,
    #[serde(default)]
    pub states: Vec<StateWords>,
    #[serde(default)]
    pub orders: Vec<OrderWords>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateWords {
    pub value: u16,
    pub state: String,
}

/// `permit-open` must only permit; a write that opens the valve is `open`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderName {
    PermitOpen,
    Open,
    CloseTemporary,
    CloseForced,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderWords {
    pub order: OrderName,
    /// 5 a coil, 6 or 16 a register.
    pub function: u8,
    pub register: u16,
    pub value: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockForm {
    /// Three registers `YYMM DDhh mmss` in BCD.
    Bcd,
    /// The same in plain bytes.
    Bytes,
    /// Six registers: year (read of the century or whole, written whole), month, day, hour, minute, second.
    Fields,
    /// The same, with the year of the century written.
    FieldsOfCentury,
    /// 32 bits: seconds of the device's wall clock since 1970.
    Seconds1970,
    /// The same since 2000.
    Seconds2000,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockWords {
    pub register: u16,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    pub form: ClockForm,
    pub order: Option<Order>,
    #[serde(default)]
    pub writable: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterWords {
    pub name: String,
    pub register: u16,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    #[serde(rename = "type")]
    pub kind: Type,
    pub order: Option<Order>,
    /// The parameter's value is the raw number times 10^exponent.
    #[serde(default)]
    pub exponent: i8,
    /// Function that writes it: 6 or 16; none: read only.
    pub write: Option<u8>,
    pub minimum: Option<i64>,
    pub maximum: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalName {
    Hour,
    Day,
    Month,
}

/// Records by index, the newest first, each with its time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveWords {
    pub interval: IntervalName,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
    /// Of the newest record.
    pub register: u16,
    pub record_registers: u16,
    pub records: u16,
    /// Places are counted from a record's first register.
    pub clock: ClockWords,
    pub items: Vec<RegisterWords>,
}
