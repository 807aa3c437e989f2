//! 4014 set and 4015 read parameters. Names and units: `wit/codes.md`, "Parameters".

use super::{Order, Rest};
use crate::fields::fit;
use crate::frame::message;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{AnswerBody, Fault, Parameter, ParameterValue};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    U8,
    U16,
    I16,
    U32,
    I32,
    /// Read only.
    Text(usize),
}

/// Registry names of a parameter's parts, in wire order.
type Parts = &'static [(&'static str, Kind)];
/// A number of the protocol and its parts.
type Known = (u16, Parts);

const KNOWN: [Known; 18] = [
    (0x0001, &[("communication-lost-days", Kind::U16)]),
    (0x0002, &[("auto-close-mask", Kind::U32)]),
    (0x0003, &[("report-mask", Kind::U32)]),
    (0x0010, &[("overflow-flow", Kind::U32), ("overflow-seconds", Kind::U16)]),
    (0x0011, &[("small-flow", Kind::U32), ("small-flow-hours", Kind::U16)]),
    (0x0012, &[("continuous-flow-hours", Kind::U16)]),
    (0x0020, &[("pressure-low", Kind::U16)]),
    (0x0021, &[("pressure-high", Kind::U16)]),
    (0x0022, &[("temperature-low", Kind::I16)]),
    (0x0023, &[("temperature-high", Kind::I16)]),
    (0x0030, &[("balance-level-1", Kind::I32)]),
    (0x0031, &[("balance-level-2", Kind::I32)]),
    (0x0040, &[("battery-level-1", Kind::U16)]),
    (0x0041, &[("battery-level-2", Kind::U16)]),
    (0x0050, &[("pulse-constant", Kind::U32)]),
    (0x0051, &[("base-reading", Kind::U32)]),
    (0x0060, &[("frozen-day", Kind::U8), ("frozen-hour", Kind::U8)]),
    (0x0070, &[("hardware-firmware", Kind::Text(12))]),
];

/// Numbers from here on are the vendor's.
const VENDOR_FROM: u16 = 0x8000;
/// Set again, it would take back what has flowed meanwhile.
const BASE_READING: u16 = 0x0051;

/// 4014: count, then so many of: id u16, length u8, value.
pub fn set(list: &[Parameter]) -> Result<Order, Fault> {
    let mut body = vec![0];
    let mut done = Vec::new();
    for (position, parameter) in list.iter().enumerate() {
        if list[..position].iter().any(|earlier| earlier.name == parameter.name) {
            return Err(twice(&parameter.name));
        }
        let (id, parts) = find(&parameter.name)?;
        if done.contains(&id) {
            match parts {
                // The other part of one that is written already.
                Some(_) => continue,
                None => return Err(twice(&parameter.name)),
            }
        }
        done.push(id);
        body.extend_from_slice(&id.to_le_bytes());
        let length_at = body.len();
        body.push(0);
        match parts {
            Some(parts) => known_value(parts, list, &mut body)?,
            None => vendor_value(id, parameter, &mut body)?,
        }
        let length = body.len() - length_at - 1;
        if let Some(byte) = body.get_mut(length_at) {
            *byte = fit(&parameter.name, length as i64, "0..=255 bytes")?;
        }
    }
    match u8::try_from(done.len()) {
        Ok(count @ 1..) => body[0] = count,
        _ => return Err(Fault::out_of_range("parameters", done.len(), "1..=255")),
    }
    let repeatable = !done.contains(&BASE_READING);
    Ok(Order { repeatable, ..Order::new(message::SET_PARAMETERS, body) })
}

fn twice(name: &str) -> Fault {
    Fault::out_of_range(name, "two values", "one value for one parameter")
}

/// 4015: count, then so many ids; none is all.
pub fn read(names: &[String]) -> Result<Order, Fault> {
    let mut ids = Vec::new();
    for name in names {
        let (id, _) = find(name)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut body = vec![fit("names", ids.len() as i64, "0..=255 names")?];
    body.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    Ok(Order::new(message::READ_PARAMETERS, body))
}

/// Count, then so many of: id u16, result u8. The worst result is the command's.
pub fn set_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let count = r.u8("parameter count")?;
    let mut outcome = None;
    let mut results = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (id, result) = (r.u16_le("parameter id")?, r.u8("parameter result")?);
        if result != names::result::OK && outcome.is_none() {
            outcome = Some(names::outcome(result));
        }
        results.push(Parameter { name: name_of(id), value: ParameterValue::Integer(i64::from(result)) });
    }
    Ok(Rest { outcome, ..AnswerBody::Parameters(results).into() })
}

/// Count, then so many of: id u16, length u8, value.
pub fn read_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let count = r.u8("parameter count")?;
    let mut list = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let id = r.u16_le("parameter id")?;
        let length = usize::from(r.u8("parameter length")?);
        let value = r.take("parameter value", length)?;
        // A value of another width than the protocol's is kept as bytes, and so is one that the vendor has defined.
        match known_values(id, value) {
            Some(values) => list.extend(values),
            None => list.push(Parameter { name: format!("0x{id:04x}"), value: ParameterValue::Bytes(value.to_vec()) }),
        }
    }
    Ok(AnswerBody::Parameters(list).into())
}

/// The parts of one of the protocol's own numbers. `None`: it is none, or the value does not fit it.
fn known_values(id: u16, value: &[u8]) -> Option<Vec<Parameter>> {
    let (_, parts) = KNOWN.iter().find(|(known, _)| *known == id)?;
    let mut r = Reader::new(value);
    let one = |(name, kind): &(&str, Kind)| Ok(Parameter { name: (*name).into(), value: one_value(&mut r, *kind)? });
    let values = parts.iter().map(one).collect::<Result<_, FieldError>>().ok()?;
    r.is_empty().then_some(values)
}

/// The number, and the parts if it is one of the protocol's own.
fn find(name: &str) -> Result<(u16, Option<Parts>), Fault> {
    let known = KNOWN.iter().find(|(_, parts)| parts.iter().any(|(part, _)| *part == name));
    if let Some((id, parts)) = known {
        return Ok((*id, Some(parts)));
    }
    let vendor = name.strip_prefix("0x").and_then(|hex| u16::from_str_radix(hex, 16).ok());
    match vendor {
        Some(id) => Ok((id, None)),
        None => Err(Fault::unsupported(format!(
            "parameter `{name}`: this protocol has a name of `wit/codes.md` or 0x8000..0xffff"
        ))),
    }
}

fn name_of(id: u16) -> String {
    let known = KNOWN.iter().find(|(known, _)| *known == id).and_then(|(_, parts)| parts.first());
    known.map_or_else(|| format!("0x{id:04x}"), |(name, _)| (*name).into())
}

/// All parts of one number, wherever they stand in the command.
fn known_value(parts: Parts, list: &[Parameter], body: &mut Vec<u8>) -> Result<(), Fault> {
    for (name, kind) in parts {
        let given = list.iter().find(|p| p.name == *name).map(|p| &p.value);
        let value = match given {
            Some(ParameterValue::Integer(value)) => *value,
            Some(_) => return Err(Fault::out_of_range(name, "text or bytes", "an integer")),
            None => {
                let together: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
                return Err(Fault::out_of_range(name, "nothing", &format!("{} set together", together.join(" and "))));
            }
        };
        match kind {
            Kind::U8 => body.push(fit(name, value, "0..=255")?),
            Kind::U16 => body.extend_from_slice(&fit::<u16>(name, value, "0..=65535")?.to_le_bytes()),
            Kind::I16 => body.extend_from_slice(&fit::<i16>(name, value, "-32768..=32767")?.to_le_bytes()),
            Kind::U32 => body.extend_from_slice(&fit::<u32>(name, value, "0..=4294967295")?.to_le_bytes()),
            Kind::I32 => body.extend_from_slice(&fit::<i32>(name, value, "-2147483648..=2147483647")?.to_le_bytes()),
            Kind::Text(_) => return Err(Fault::unsupported(format!("{name} is read only"))),
        }
    }
    Ok(())
}

/// By number only what is the vendor's own: of the others the protocol knows width, unit, and whether they may be written.
fn vendor_value(id: u16, parameter: &Parameter, body: &mut Vec<u8>) -> Result<(), Fault> {
    if id < VENDOR_FROM {
        let known = KNOWN.iter().find(|(known, _)| *known == id);
        let names = known.map(|(_, parts)| parts.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and "));
        return Err(Fault::unsupported(match names {
            Some(names) => format!("parameter `{}` is set by name: {names}", parameter.name),
            None => format!("parameter `{}`: the vendor's own are 0x8000..0xffff", parameter.name),
        }));
    }
    match &parameter.value {
        ParameterValue::Bytes(bytes) => body.extend_from_slice(bytes),
        ParameterValue::Text(text) => body.extend_from_slice(text.as_bytes()),
        ParameterValue::Integer(_) => {
            return Err(Fault::out_of_range(&parameter.name, "an integer", "bytes: its width is the vendor's"));
        }
    }
    Ok(())
}

fn one_value(r: &mut Reader<'_>, kind: Kind) -> Result<ParameterValue, FieldError> {
    Ok(ParameterValue::Integer(match kind {
        Kind::U8 => r.u8("value")?.into(),
        Kind::U16 => r.u16_le("value")?.into(),
        Kind::I16 => r.i16_le("value")?.into(),
        Kind::U32 => r.u32_le("value")?.into(),
        Kind::I32 => r.i32_le("value")?.into(),
        Kind::Text(length) => return Ok(ParameterValue::Text(r.ascii("value", length)?.into())),
    }))
}
