//! The (flag, value) pairs of the setting messages 11, 13, 15, 17, and of 1A, which strings all of them together.
//!
//! In a request flag 1 sets and 0 leaves; in an answer it is the item's result, 1 or -12; in 1A 1 is valid and -1 not supported.

use crate::code;
use crate::options::{Commissioning, LongPeriods, Options};
use crate::wire;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Fault, Parameter, ParameterValue, bcd, civil};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    U8,
    /// Little-endian, as it is.
    I32,
    /// The same as money.
    Money,
    /// Big-endian float, m³.
    Volume,
    /// BCD hh mm; a text.
    Time,
    /// IPv4; a text.
    Host,
    Port,
    /// 16 letters and digits.
    CommSn,
    /// Four bytes of a type that is not public, which meters refuse to take.
    Refused,
}

impl Kind {
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::Time | Self::Port => 2,
            Self::I32 | Self::Money | Self::Volume | Self::Host | Self::Refused => 4,
            Self::CommSn => 16,
        }
    }
}

pub struct Item {
    pub name: &'static str,
    pub kind: Kind,
    least: i64,
    most: i64,
}

const fn item(name: &'static str, kind: Kind, least: i64, most: i64) -> Item {
    Item { name, kind, least, most }
}

const I32: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

static BASE: [Item; 3] = [
    item("vendor-pulse-constant", Kind::I32, 1, I32.1),
    item("base-reading", Kind::Volume, 0, 99_999_999_999),
    item("vendor-comm-sn", Kind::CommSn, 0, 0),
];
static REPORT: [Item; 6] = [
    item("vendor-report-period", Kind::U8, 0, 9),
    item("vendor-data-interval", Kind::U8, 0, 255),
    item("vendor-period-value", Kind::U8, 0, 255),
    item("vendor-report-time", Kind::Time, 0, 0),
    item("frozen-day", Kind::U8, 1, 28),
    item("frozen-hour", Kind::U8, 0, 23),
];
static SERVERS: [Item; 4] = [
    item("vendor-host-1", Kind::Host, 0, 0),
    item("vendor-port-1", Kind::Port, 1, 65_535),
    item("vendor-host-2", Kind::Host, 0, 0),
    item("vendor-port-2", Kind::Port, 1, 65_535),
];
static ALARMS: [Item; 8] = [
    item("vendor-pressure-high", Kind::Refused, 0, 0),
    item("vendor-pressure-low", Kind::Refused, 0, 0),
    item("vendor-temperature-high", Kind::Refused, 0, 0),
    item("vendor-temperature-low", Kind::Refused, 0, 0),
    item("balance-level-1", Kind::Money, I32.0, I32.1),
    item("balance-close", Kind::Money, I32.0, I32.1),
    item("overdraft-close", Kind::Money, I32.0, I32.1),
    item("auto-close-mask", Kind::U8, 0, 127),
];

pub const PERIOD: &str = "vendor-report-period";
pub const INTERVAL: &str = "vendor-data-interval";
pub const PERIOD_VALUE: &str = "vendor-period-value";
pub const TIME: &str = "vendor-report-time";

/// The items of a setting message.
pub fn of(command: u8) -> &'static [Item] {
    match command {
        code::SET_BASE => &BASE,
        code::SET_REPORT => &REPORT,
        code::SET_SERVERS => &SERVERS,
        code::SET_ALARMS => &ALARMS,
        _ => &[],
    }
}

/// The setting message that has an item of this name.
fn message_of(name: &str) -> Option<u8> {
    [code::SET_BASE, code::SET_REPORT, code::SET_SERVERS, code::SET_ALARMS]
        .into_iter()
        .find(|command| of(*command).iter().any(|item| item.name == name))
}

pub fn is_known(name: &str) -> bool {
    message_of(name).is_some()
}

/// The message that sets these parameters, and its body.
pub fn set(list: &[Parameter], options: &Options) -> Result<(u8, Vec<u8>), Fault> {
    let first = list.first().ok_or_else(|| Fault::unsupported("a command sets one group: name a parameter"))?;
    let command = message_of(&first.name)
        .ok_or_else(|| Fault::unsupported(format!("parameter `{}` is not known here", first.name)))?;
    let items = of(command);
    for parameter in list {
        if !items.iter().any(|item| item.name == parameter.name) {
            let with = format!("what {command:02X} carries together with {}", first.name);
            return Err(Fault::out_of_range("names", &parameter.name, &with));
        }
    }
    let mut body = Vec::with_capacity(37);
    for item in items {
        let mut given = list.iter().filter(|parameter| parameter.name == item.name);
        match (given.next(), given.next()) {
            (None, _) => body.resize(body.len() + 1 + item.kind.bytes(), 0),
            (Some(parameter), None) => {
                body.push(1);
                write(item, &parameter.value, options, &mut body)?;
            }
            (Some(_), Some(_)) => return Err(Fault::out_of_range(item.name, "twice", "once")),
        }
    }
    Ok((command, body))
}

/// What an echo says: whether an item was refused, whether one was set, and those that were set.
pub struct Echo {
    pub refused: bool,
    pub parameters: Vec<Parameter>,
}

/// 12, 14, 16 or 18.
pub fn echo(command: u8, r: &mut Reader, options: &Options) -> Result<Echo, FieldError> {
    let mut echo = Echo { refused: false, parameters: Vec::new() };
    for item in of(command) {
        let flag = r.i8(item.name)?;
        let value = read(item, r, options)?;
        echo.refused |= flag < 0;
        // The firmware tells the refusal of any of its four limits in the first flag and leaves their own at 1.
        if flag == 1 && item.kind != Kind::Refused {
            echo.parameters.push(value);
        }
    }
    Ok(echo)
}

/// 1A: everything that the meter has. It forgets to flag its second address, which counts when it is one.
pub fn all(r: &mut Reader, options: &Options) -> Result<Vec<Parameter>, FieldError> {
    let mut list = Vec::with_capacity(20);
    for item in BASE[..2].iter().chain(&REPORT).chain(&SERVERS).chain(&ALARMS) {
        let flag = r.i8(item.name)?;
        let forgotten = item.name == "vendor-host-2" && flag == 0;
        let value = read(item, r, options)?;
        if flag == 1 || forgotten && value.value != ParameterValue::Text("0.0.0.0".into()) {
            list.push(value);
        }
    }
    Ok(list)
}

fn read(item: &Item, r: &mut Reader, options: &Options) -> Result<Parameter, FieldError> {
    let mut name = item.name;
    let value = match item.kind {
        Kind::U8 => ParameterValue::Integer(r.u8(name)?.into()),
        Kind::I32 => ParameterValue::Integer(r.i32_le(name)?.into()),
        Kind::Port => ParameterValue::Integer(r.u16_le(name)?.into()),
        Kind::Host => ParameterValue::Text(Ipv4Addr::from(r.array::<4>(name)?).to_string()),
        Kind::Refused => ParameterValue::Bytes(r.take(name, 4)?.to_vec()),
        Kind::Money => {
            let bytes: [u8; 4] = r.array(name)?;
            let value = wire::exactly(i32::from_le_bytes(bytes).into(), options.scales.balance, -2);
            value.map_or_else(|| ParameterValue::Bytes(bytes.to_vec()), ParameterValue::Integer)
        }
        Kind::Volume => {
            let bytes: [u8; 4] = r.array(name)?;
            let hundredths = wire::decimal(f32::from_be_bytes(bytes)).and_then(|(m, e)| wire::exactly(m, e, -2));
            if let Some(value) = hundredths {
                ParameterValue::Integer(value)
            } else {
                name = "vendor-base-reading";
                ParameterValue::Bytes(bytes.to_vec())
            }
        }
        Kind::Time => {
            let bytes: [u8; 2] = r.array(name)?;
            match wire::minute_of_day(bytes) {
                Some(minute) => ParameterValue::Text(format!("{:02}:{:02}", minute / 60, minute % 60)),
                None => ParameterValue::Bytes(bytes.to_vec()),
            }
        }
        Kind::CommSn => {
            let bytes = r.take(name, 16)?;
            match std::str::from_utf8(bytes) {
                Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => ParameterValue::Text(text.into()),
                _ => ParameterValue::Bytes(bytes.to_vec()),
            }
        }
    };
    Ok(Parameter { name: name.into(), value })
}

fn write(item: &Item, value: &ParameterValue, options: &Options, body: &mut Vec<u8>) -> Result<(), Fault> {
    let name = item.name;
    match (item.kind, value) {
        (Kind::Refused, _) => {
            Err(Fault::unsupported(format!("{name}: the meter refuses all four pressure and temperature limits")))
        }
        (Kind::I32 | Kind::Volume | Kind::CommSn, _) if options.commissioning == Commissioning::Refuse => {
            Err(Fault::unsupported(format!("{name} changes what is billed or by whom; option commissioning = allow")))
        }
        (Kind::CommSn, ParameterValue::Text(text)) => {
            if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(Fault::out_of_range(name, text, "exactly 16 letters and digits"));
            }
            body.extend_from_slice(text.as_bytes());
            Ok(())
        }
        (Kind::Host, ParameterValue::Text(text)) => {
            let host: Ipv4Addr = text.parse().map_err(|_| Fault::out_of_range(name, text, "an IPv4 address"))?;
            body.extend_from_slice(&host.octets());
            Ok(())
        }
        (Kind::Time, ParameterValue::Text(text)) => {
            let time = civil::parse(&format!("2000-01-01T{text}:00"))
                .ok_or_else(|| Fault::out_of_range(name, text, "a time as 00:20"))?;
            body.extend_from_slice(&time_bytes(time.rem_euclid(civil::DAY) / 60));
            Ok(())
        }
        (Kind::CommSn | Kind::Host | Kind::Time, _) => {
            Err(Fault::out_of_range(name, "another kind of value", "a text"))
        }
        (_, ParameterValue::Integer(value)) => write_integer(item, *value, options, body),
        _ => Err(Fault::out_of_range(name, "another kind of value", "an integer")),
    }
}

fn write_integer(item: &Item, value: i64, options: &Options, body: &mut Vec<u8>) -> Result<(), Fault> {
    let Item { name, kind, least, most } = *item;
    let wire = if kind == Kind::Money { wire::exactly(value, -2, options.scales.balance) } else { Some(value) };
    let wire = wire
        .filter(|v| (least..=most).contains(v))
        .ok_or_else(|| Fault::out_of_range(name, value, &format!("{least}..={most}, without rounding")))?;
    if name == PERIOD && matches!(wire, 3 | 4 | 8 | 9) && options.long_periods == LongPeriods::Refuse {
        return Err(Fault::unsupported(
            "weekly and ten-day reports: known firmware reports every hour instead; option long_periods = allow",
        ));
    }
    match kind {
        Kind::U8 => body.push(wire as u8),
        Kind::Port => body.extend_from_slice(&(wire as u16).to_le_bytes()),
        Kind::Volume => {
            // The float nearest to it has to mean this very decimal.
            let float: Option<f32> = format!("{wire}e-2").parse().ok();
            let float = float.filter(|f| wire::decimal(*f).and_then(|(m, e)| wire::exactly(m, e, -2)) == Some(wire));
            let float = float.ok_or_else(|| Fault::out_of_range(name, value, "what a 32-bit float holds exactly"))?;
            body.extend_from_slice(&float.to_be_bytes());
        }
        _ => body.extend_from_slice(&(wire as i32).to_le_bytes()),
    }
    Ok(())
}

/// Minutes of a day as BCD hh mm.
pub fn time_bytes(minute: i64) -> [u8; 2] {
    [minute / 60, minute % 60].map(|part| bcd::pack(part as u8).unwrap_or_default())
}
