//! The bodies of 32 and 33, which set what their function bits name and come back as their own answers.
//!
//! ```text
//! 32: 0 bits | 1 window start BCD2 | 3 end BCD2 | 5 interval u16 | 7 timeout | 8 reconnects | 9 their delay
//! 33: 0 bits | 1 mode | 2 work mode | 3 days u16 | 5 hour BCD | 6 freeze time BCD2 | 8 safety word u16
//!     | 10 large-flow time | 11 limit u16 | 13 small-flow time | 14 limit
//! ```

use crate::memory::Memory;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Fault, Parameter, ParameterValue, ReportPeriod, ScheduleChange, bcd, civil};

pub const COMMUNICATION: u8 = 0x32;
pub const FUNCTIONS: u8 = 0x33;
/// Function bit of 32 that only asks.
pub const QUERY: u8 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    U8,
    U16,
    /// One BCD byte.
    Hour,
    /// BCD hh mm; a text.
    Time,
}

struct Field {
    name: &'static str,
    bit: u8,
    at: usize,
    kind: Kind,
    most: i64,
}

const fn field(bit: u8, at: usize, name: &'static str, kind: Kind, most: i64) -> Field {
    Field { name, bit, at, kind, most }
}

static COMMUNICATION_FIELDS: [Field; 6] = [
    field(0, 1, "vendor-window-start", Kind::Time, 0),
    field(0, 3, "vendor-window-end", Kind::Time, 0),
    field(0, 5, "vendor-report-minutes", Kind::U16, 65_535),
    field(1, 7, "vendor-timeout-minutes", Kind::U8, 255),
    field(2, 8, "vendor-reconnect-count", Kind::U8, 255),
    field(2, 9, "vendor-reconnect-minutes", Kind::U8, 255),
];
static FUNCTION_FIELDS: [Field; 10] = [
    field(0, 1, "vendor-security-mode", Kind::U8, 1),
    field(1, 2, "vendor-work-mode", Kind::U8, 1),
    field(2, 3, "communication-lost-days", Kind::U16, 65_535),
    field(2, 5, "vendor-communication-lost-hour", Kind::Hour, 23),
    field(3, 6, "vendor-freeze-time", Kind::Time, 0),
    field(4, 8, "vendor-safety-word", Kind::U16, 65_535),
    field(5, 10, "vendor-large-flow-seconds", Kind::U8, 255),
    field(5, 11, "vendor-large-flow-limit", Kind::U16, 65_535),
    field(5, 13, "vendor-small-flow-seconds", Kind::U8, 255),
    field(5, 14, "vendor-small-flow-limit", Kind::U8, 255),
];

fn fields(id: u8) -> (&'static [Field], usize) {
    match id {
        COMMUNICATION => (&COMMUNICATION_FIELDS, 10),
        _ => (&FUNCTION_FIELDS, 15),
    }
}

fn message_of(name: &str) -> Option<u8> {
    [COMMUNICATION, FUNCTIONS].into_iter().find(|id| fields(*id).0.iter().any(|f| f.name == name))
}

/// Whether a query of 32 tells it.
pub fn is_read(name: &str) -> bool {
    message_of(name) == Some(COMMUNICATION)
}

/// The message that sets these parameters, and its body. Fields under one bit are written together: those of 32 that are not named
/// keep what the meter told last, those of 33 have to be named.
pub fn set(list: &[Parameter], memory: &Memory) -> Result<(u8, Vec<u8>), Fault> {
    let first = list.first().ok_or_else(|| Fault::unsupported("a command sets one group: name a parameter"))?;
    let id = message_of(&first.name)
        .ok_or_else(|| Fault::unsupported(format!("parameter `{}` is not known here", first.name)))?;
    let (fields, bytes) = fields(id);
    if let Some(other) = list.iter().find(|p| !fields.iter().any(|f| f.name == p.name)) {
        let with = format!("what {id:02X} carries together with {}", first.name);
        return Err(Fault::out_of_range("names", &other.name, &with));
    }
    let mut body = vec![0; bytes];
    let known = memory.communication.filter(|_| id == COMMUNICATION);
    for field in fields {
        let mut given = list.iter().filter(|p| p.name == field.name);
        match (given.next(), given.next()) {
            (Some(_), Some(_)) => return Err(Fault::out_of_range(field.name, "twice", "once")),
            (Some(parameter), None) => {
                body[0] |= 1 << field.bit;
                write(field, &parameter.value, &mut body)?;
            }
            (None, _) => {
                let wanted = fields.iter().any(|f| f.bit == field.bit && list.iter().any(|p| p.name == f.name));
                match known {
                    Some(known) if wanted => {
                        let bytes = field.kind.bytes();
                        body[field.at..field.at + bytes].copy_from_slice(&known[field.at - 1..field.at - 1 + bytes]);
                    }
                    _ if wanted => {
                        let together = "a value: it is written together with the others of its group";
                        return Err(Fault::out_of_range(field.name, "its absence", together));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok((id, body))
}

/// Period and time of a schedule are interval and start of the window; its end stays.
pub fn schedule(change: &ScheduleChange, memory: &Memory) -> Result<(u8, Vec<u8>), Fault> {
    for (name, value) in [("stagger_minutes", change.stagger_minutes), ("heartbeat_minutes", change.heartbeat_minutes)]
    {
        if value.is_some_and(|v| v != 0) {
            return Err(Fault::unsupported(format!("{name}: 32 has no field for it")));
        }
    }
    let integer =
        |name: &str, value: u16| Parameter { name: name.into(), value: ParameterValue::Integer(value.into()) };
    let mut list = Vec::with_capacity(3);
    match change.period {
        None => {}
        Some(ReportPeriod::Daily) => list.push(integer("vendor-report-minutes", 1440)),
        Some(ReportPeriod::Hourly) => list.push(integer("vendor-report-minutes", 60)),
        Some(ReportPeriod::Dekad) => list.push(integer("vendor-report-minutes", 14_400)),
        Some(period) => {
            return Err(Fault::unsupported(format!("period {period:?}: 32 counts minutes between reports")));
        }
    }
    if let Some(minute) = change.minute_of_day {
        if minute >= 1440 {
            return Err(Fault::out_of_range("minute_of_day", minute, "0..=1439"));
        }
        list.push(Parameter {
            name: "vendor-window-start".into(),
            value: ParameterValue::Text(time_text(minute.into())),
        });
    }
    list.extend(change.awake_minutes.map(|minutes| integer("vendor-timeout-minutes", minutes)));
    if list.is_empty() {
        return Err(Fault::out_of_range("schedule", "no change", "a period, a time or the awake minutes"));
    }
    set(&list, memory)
}

/// What an answer names by its bits; all of it when it answers a query.
pub fn parse(id: u8, body: &[u8]) -> Result<Vec<Parameter>, FieldError> {
    let (fields, bytes) = fields(id);
    let body = Reader::at(body, 16).take("settings", bytes)?;
    let all = id == COMMUNICATION && body[0] & QUERY != 0;
    let named = fields.iter().filter(|f| all || body[0] & 1 << f.bit != 0);
    named.map(|f| Ok(Parameter { name: f.name.into(), value: read(f, body)? })).collect()
}

impl Kind {
    const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::Hour => 1,
            Self::U16 | Self::Time => 2,
        }
    }
}

fn read(field: &Field, body: &[u8]) -> Result<ParameterValue, FieldError> {
    let place = &body[field.at..field.at + field.kind.bytes()];
    let mut r = Reader::at(place, 16 + field.at);
    let raw = || ParameterValue::Bytes(place.to_vec());
    Ok(match field.kind {
        Kind::U8 => ParameterValue::Integer(r.u8(field.name)?.into()),
        Kind::U16 => ParameterValue::Integer(r.u16_be(field.name)?.into()),
        Kind::Hour => bcd::byte(r.u8(field.name)?).map_or_else(raw, |h| ParameterValue::Integer(h.into())),
        Kind::Time => minute_of_day(r.array(field.name)?).map_or_else(raw, |m| ParameterValue::Text(time_text(m))),
    })
}

fn write(field: &Field, value: &ParameterValue, body: &mut [u8]) -> Result<(), Fault> {
    let Field { name, at, kind, most, .. } = *field;
    match (kind, value) {
        (Kind::Time, ParameterValue::Text(text)) => {
            let time = civil::parse(&format!("2000-01-01T{text}:00"))
                .ok_or_else(|| Fault::out_of_range(name, text, "a time as 00:20"))?;
            let minute = time.rem_euclid(civil::DAY) / 60;
            body[at..at + 2]
                .copy_from_slice(&[minute / 60, minute % 60].map(|p| bcd::pack(p as u8).unwrap_or_default()));
        }
        (Kind::Time, _) => return Err(Fault::out_of_range(name, "another kind of value", "a text")),
        (_, ParameterValue::Integer(value)) if !(0..=most).contains(value) => {
            return Err(Fault::out_of_range(name, value, &format!("0..={most}")));
        }
        (Kind::U8, ParameterValue::Integer(value)) => body[at] = *value as u8,
        (Kind::Hour, ParameterValue::Integer(value)) => body[at] = bcd::pack(*value as u8).unwrap_or_default(),
        (Kind::U16, ParameterValue::Integer(value)) => {
            body[at..at + 2].copy_from_slice(&(*value as u16).to_be_bytes());
        }
        _ => return Err(Fault::out_of_range(name, "another kind of value", "an integer")),
    }
    Ok(())
}

/// `hh mm` in BCD as minutes of the day.
pub fn minute_of_day(packed: [u8; 2]) -> Option<i64> {
    let [hour, minute] = packed.map(bcd::byte);
    Some(i64::from(hour.filter(|h| *h < 24)?) * 60 + i64::from(minute.filter(|m| *m < 60)?))
}

fn time_text(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
