//! The profile: which dialect a fleet of meters speaks. Everything here has a default that can do no harm; the README explains each.

use crate::di::Order;
use crate::frame::control;
use crate::value;
use polymeter_sdk::profile;
use serde::Deserialize;

/// Opaque bytes before a frame are at most so many.
pub const PREFIX_BYTES_MAX: usize = 16;
/// Preamble bytes are at most so many.
pub const PREAMBLE_MAX: usize = 16;

/// Year of the issue that the meters follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Edition {
    #[default]
    #[serde(rename = "2004")]
    Y2004,
    /// Bit 5 of an answer's control code announces another frame of it.
    #[serde(rename = "2018")]
    Y2018,
}

/// How the status word is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatusLayout {
    #[default]
    Low,
    Split,
    High,
    LowMoving,
    Inverted,
    ReadingFault,
}

/// What a 901F answer of a water or gas meter must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadingLayout {
    /// As its length says.
    #[default]
    Auto,
    Full22,
    Full20,
    Short9,
    Short10,
}

/// Where the unit byte of a value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitPlace {
    #[default]
    After,
    Before,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datetime {
    /// Read either, told apart by the century; write BCD.
    #[default]
    Auto,
    Bcd,
    Bin,
}

/// Whether an answer must repeat the request's serial number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Echo {
    #[default]
    Any,
    Required,
}

/// What an error answer's two status bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorStatus {
    #[default]
    Raw,
    /// The status word: valve and battery are taken over.
    Status,
}

/// What stands before the preamble on the way to the meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrapper {
    #[default]
    None,
    Aimeitong,
    Jiexun,
    DtuCloud,
    DtuLan,
}

/// Which identifiers keep the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum History {
    #[default]
    D120,
    D200,
    Module,
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValveOrders {
    /// 55 opens, 99 closes.
    #[default]
    Byte,
    /// The status word that the valve shall have.
    Status,
    /// No valve.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteOpen {
    #[default]
    Refuse,
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseTemporary {
    #[default]
    Refuse,
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commissioning {
    #[default]
    Refuse,
    Allow,
}

/// What a gas meter's total counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GasVolume {
    #[default]
    Unsaid,
    Working,
    Standard,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PressureUnit {
    #[default]
    Unsaid,
    Kilopascal,
    Megapascal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockBy {
    #[default]
    #[serde(rename = "907f")]
    D907F,
    #[serde(rename = "8515")]
    D8515,
    #[serde(rename = "8115")]
    D8115,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TariffCycle {
    Day,
    #[default]
    Month,
    TwoMonths,
    Quarter,
    Year,
}

/// As written in the profile.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    edition: Edition,
    meter_type: Option<String>,
    di_order: Order,
    di_order_write: Option<Order>,
    reading: Option<String>,
    reading_layout: ReadingLayout,
    unit_place: UnitPlace,
    default_unit: Option<String>,
    status_layout: StatusLayout,
    error_status: ErrorStatus,
    ser: Option<u8>,
    ser_echo: Echo,
    datetime: Datetime,
    preamble: Option<u8>,
    wrapper: Wrapper,
    prefix: Option<String>,
    vendor_in_address: bool,
    history: History,
    settlement_day: Option<u8>,
    clock: ClockBy,
    valve: ValveOrders,
    remote_open: RemoteOpen,
    close_temporary: CloseTemporary,
    commissioning: Commissioning,
    gas_volume: GasVolume,
    pressure: PressureUnit,
    tariff_cycle: TariffCycle,
    answer_within_s: Option<u16>,
}

/// As used.
#[derive(Clone, Debug)]
pub struct Options {
    pub edition: Edition,
    /// None: the type that the meter answered with, gas before it did.
    pub meter_type: Option<u8>,
    pub order_read: Order,
    pub order_write: Order,
    /// Identifier of the present reading.
    pub reading: u16,
    pub reading_layout: ReadingLayout,
    pub unit_place: UnitPlace,
    /// Of volumes whose unit byte is 00, FF or missing.
    pub default_unit: u8,
    pub status_layout: StatusLayout,
    pub error_status: ErrorStatus,
    /// None: counted.
    pub ser: Option<u8>,
    pub ser_echo: Echo,
    pub datetime: Datetime,
    pub preamble: usize,
    pub wrapper: Wrapper,
    /// Of the profile's own; empty: as the wrapper has it.
    pub prefix: Vec<u8>,
    pub vendor_in_address: bool,
    pub history: History,
    pub settlement_day: Option<u8>,
    pub clock: ClockBy,
    pub valve: ValveOrders,
    pub remote_open: RemoteOpen,
    pub close_temporary: CloseTemporary,
    pub commissioning: Commissioning,
    pub gas_volume: GasVolume,
    pub pressure: PressureUnit,
    pub tariff_cycle: TariffCycle,
    pub answer_within_s: Option<u16>,
}

impl Options {
    pub fn parse(profile: &str) -> Result<Self, String> {
        let raw: Raw = profile::parse(profile)?;
        let default_unit = raw.default_unit.as_deref().map_or(Ok(value::CUBIC_METRE), |t| byte("default_unit", t))?;
        if !value::is_volume_unit(default_unit) {
            return Err("default_unit: one of 29, 2A, 2B (litres) and 2C, 2D, 2E (m³)".into());
        }
        let reading = match raw.reading.as_deref() {
            None => crate::di::READING,
            Some(text) if text.eq_ignore_ascii_case("901f") => crate::di::READING,
            Some(text) if text.eq_ignore_ascii_case("911f") => crate::di::READING_2,
            Some(other) => return Err(format!("reading: `{other}`, but it is 901f or 911f")),
        };
        let prefix = raw.prefix.as_deref().map_or(Ok(Vec::new()), |t| hex("prefix", t))?;
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(format!("prefix: {} bytes, at most {PREFIX_BYTES_MAX}", prefix.len()));
        }
        let preamble = usize::from(raw.preamble.unwrap_or(4));
        if preamble > PREAMBLE_MAX {
            return Err(format!("preamble: {preamble}, at most {PREAMBLE_MAX}"));
        }
        if raw.settlement_day.is_some_and(|day| !(1..=28).contains(&day)) {
            return Err("settlement_day: 1 to 28".into());
        }
        if raw.answer_within_s.is_some_and(|s| !(1..=600).contains(&s)) {
            return Err("answer_within_s: 1 to 600".into());
        }
        Ok(Self {
            edition: raw.edition,
            meter_type: raw.meter_type.as_deref().map(|t| byte("meter_type", t)).transpose()?,
            order_read: raw.di_order,
            order_write: raw.di_order_write.unwrap_or(raw.di_order),
            reading,
            reading_layout: raw.reading_layout,
            unit_place: raw.unit_place,
            default_unit,
            status_layout: raw.status_layout,
            error_status: raw.error_status,
            ser: raw.ser,
            ser_echo: raw.ser_echo,
            datetime: raw.datetime,
            preamble,
            wrapper: raw.wrapper,
            prefix,
            vendor_in_address: raw.vendor_in_address,
            history: raw.history,
            settlement_day: raw.settlement_day,
            clock: raw.clock,
            valve: raw.valve,
            remote_open: raw.remote_open,
            close_temporary: raw.close_temporary,
            commissioning: raw.commissioning,
            gas_volume: raw.gas_volume,
            pressure: raw.pressure,
            tariff_cycle: raw.tariff_cycle,
            answer_within_s: raw.answer_within_s,
        })
    }

    /// Of identifiers beside this function.
    pub const fn order(&self, function: u8) -> Order {
        match function {
            control::READ | control::READ_ADDRESS | control::READ_KEY => self.order_read,
            _ => self.order_write,
        }
    }
}

fn byte(option: &str, text: &str) -> Result<u8, String> {
    match hex(option, text)?[..] {
        [byte] => Ok(byte),
        _ => Err(format!("{option}: `{text}`, but it is one byte, two hexadecimal digits")),
    }
}

fn hex(option: &str, text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Ok(digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect())
        }
        _ => Err(format!("{option}: `{text}`, but it is pairs of hexadecimal digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_errors() {
        let options = Options::parse("").expect("no profile is a profile");
        assert_eq!((options.preamble, options.default_unit, options.order_write), (4, 0x2C, Order::Le));
        let options = Options::parse(r#"{"di_order": "be", "prefix": "0005", "meter_type": "10"}"#).expect("valid");
        assert_eq!((options.order_write, options.meter_type), (Order::Be, Some(0x10)));
        assert_eq!(options.prefix, [0, 5]);
        for bad in [
            r#"{"prefix": "0"}"#,
            r#"{"prefix": "zz"}"#,
            r#"{"prefix": "0102030405060708090a0b0c0d0e0f1011"}"#,
            r#"{"preamble": 17}"#,
            r#"{"meter_type": "1020"}"#,
            r#"{"default_unit": "05"}"#,
            r#"{"settlement_day": 29}"#,
            r#"{"answer_within_s": 0}"#,
            r#"{"reading": "907f"}"#,
            r#"{"ser": 256}"#,
            r#"{"colour": 1}"#,
        ] {
            assert!(Options::parse(bad).is_err(), "{bad}");
        }
    }
}
