//! `set-parameters` and `read-parameters`: names to one command's body and back. The fields are in `groups`.

use crate::code;
use crate::groups::{Field, GROUPS, Group, Kind, Rule};
use crate::options::{Commissioning, Options, ReportTime};
use polymeter_sdk::bytes::{FieldError, Problem, Reader};
use polymeter_sdk::{Fault, Parameter, ParameterValue, bcd, civil};
use std::net::Ipv4Addr;

/// Code and body that set these parameters. One command carries one group.
pub fn set(list: &[Parameter], options: &Options) -> Result<(u16, Vec<u8>), Fault> {
    let group = common_group(list.iter().map(|p| p.name.as_str()))?;
    if let Rule::ReadOnly(instead) = group.rule {
        return Err(Fault::unsupported(format!("{} is set by {instead}", list[0].name)));
    }
    if matches!(group.write, code::WRITE_TOTALS | code::SET_BASICS) && options.commissioning == Commissioning::Refuse {
        return Err(Fault::unsupported(format!(
            "{:04X} rewrites totals or identity of the meter; the option commissioning = allow permits it",
            group.write
        )));
    }
    let mut body = vec![if group.rule == Rule::Sparse { 0xFF } else { 0 }; group.bytes];
    let mut mask = 0;
    for field in group.fields {
        let mut given = list.iter().filter(|p| p.name == field.name);
        match (given.next(), given.next()) {
            (None, _) if group.rule == Rule::All => {
                let names: Vec<_> = group.fields.iter().map(|f| f.name).collect();
                let all = names.join(", ");
                return Err(Fault::out_of_range(field.name, "its absence", &format!("all together: {all}")));
            }
            (None, _) => {}
            (Some(parameter), None) => {
                let place = body.get_mut(field.at..field.at + field.kind.bytes()).unwrap_or_default();
                write(field, &parameter.value, place, options)?;
                mask |= 1 << field.bit;
            }
            (Some(_), Some(_)) => return Err(Fault::out_of_range(field.name, "twice", "once")),
        }
    }
    if group.rule == Rule::Masked {
        body[..4].copy_from_slice(&u32::to_le_bytes(mask));
    }
    Ok((group.write, body))
}

/// Code of the read that gives these parameters: names of one group, or the code itself as `0x7051`.
pub fn request(names: &[String]) -> Result<u16, Fault> {
    if let [name] = names
        && let Some(digits) = name.strip_prefix("0x")
    {
        let code = u16::from_str_radix(digits, 16).ok().filter(|code| code::is_read(*code));
        return code
            .ok_or_else(|| Fault::out_of_range("name", name, "a read: 0x7041..0x704B, 0x7051..0x7053 and so on"));
    }
    let group = common_group(names.iter().map(String::as_str))?;
    match group.read {
        0 => Err(Fault::unsupported(format!("{} cannot be read; every report carries the totals", names[0]))),
        read => Ok(read),
    }
}

/// The parameters in the answer to a read, and the bytes after them; `None` when the group is not known or the body too short.
pub fn parse<'a>(read: u16, body: &'a [u8], options: &Options) -> Option<(Vec<Parameter>, &'a [u8])> {
    let group = GROUPS.iter().find(|g| g.read == read)?;
    let (known, rest) = body.split_at_checked(group.bytes)?;
    let value = |f: &Field| {
        let place = known.get(f.at..f.at + f.kind.bytes()).unwrap_or_default();
        let value = read_value(f, place, options).unwrap_or_else(|_| ParameterValue::Bytes(place.to_vec()));
        Parameter { name: f.name.into(), value }
    };
    Some((group.fields.iter().map(value).collect(), rest))
}

fn common_group<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<&'static Group, Fault> {
    let find = |name: &str| {
        let group = GROUPS.iter().find(|g| g.fields.iter().any(|f| f.name == name));
        group.ok_or_else(|| Fault::unsupported(format!("parameter `{name}` is not known here")))
    };
    let first =
        names.next().ok_or_else(|| Fault::unsupported("one command reads or sets one group: name a parameter"))?;
    let group = find(first)?;
    for name in names {
        if !std::ptr::eq(find(name)?, group) {
            return Err(Fault::out_of_range("names", name, &format!("what one command carries together with {first}")));
        }
    }
    Ok(group)
}

fn write(field: &Field, value: &ParameterValue, place: &mut [u8], options: &Options) -> Result<(), Fault> {
    let name = field.name;
    match (field.kind, value) {
        (Kind::Text(length), ParameterValue::Text(text)) => {
            if text.len() != length || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(Fault::out_of_range(name, text, &format!("exactly {length} letters and digits")));
            }
            place.copy_from_slice(text.as_bytes());
        }
        (Kind::Host, ParameterValue::Text(text)) => {
            let host: Ipv4Addr = text.parse().map_err(|_| Fault::out_of_range(name, text, "an IPv4 address"))?;
            place.copy_from_slice(&host.octets());
        }
        (Kind::Time, ParameterValue::Text(text)) => {
            let time = civil::parse(&format!("2000-01-01T{text}"))
                .ok_or_else(|| Fault::out_of_range(name, text, "a time as 00:20:00"))?;
            place.copy_from_slice(&time_bytes(time.rem_euclid(civil::DAY), options.report_time));
        }
        (Kind::Text(_) | Kind::Host | Kind::Time | Kind::Clock, _) => {
            return Err(Fault::out_of_range(name, "another kind of value", "a text"));
        }
        (_, ParameterValue::Integer(value)) => write_integer(field, *value, place)?,
        _ => return Err(Fault::out_of_range(name, "another kind of value", "an integer")),
    }
    Ok(())
}

fn write_integer(field: &Field, value: i64, place: &mut [u8]) -> Result<(), Fault> {
    let Field { name, factor, kind, .. } = field;
    if value % factor != 0 {
        return Err(Fault::out_of_range(name, value, &format!("a multiple of {factor}")));
    }
    let wire = value / factor;
    let (least, most) = match kind {
        Kind::U8 => (0, i64::from(u8::MAX)),
        Kind::U16 => (0, i64::from(u16::MAX)),
        Kind::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Kind::U32 => (0, i64::from(u32::MAX)),
        Kind::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    if !(least..=most).contains(&wire) {
        return Err(Fault::out_of_range(name, value, &format!("{}..={}", least * factor, most * factor)));
    }
    for (to, from) in place.iter_mut().zip(wire.to_le_bytes()) {
        *to = from;
    }
    Ok(())
}

fn read_value(field: &Field, place: &[u8], options: &Options) -> Result<ParameterValue, FieldError> {
    let mut r = Reader::new(place);
    let problem = FieldError { field: field.name, offset: field.at, problem: Problem::NotBcd };
    let wire = match field.kind {
        Kind::U8 => i64::from(r.u8(field.name)?),
        Kind::U16 => i64::from(r.u16_le(field.name)?),
        Kind::I16 => i64::from(r.i16_le(field.name)?),
        Kind::U32 => i64::from(r.u32_le(field.name)?),
        Kind::I32 => i64::from(r.i32_le(field.name)?),
        Kind::U64 => r.i64_le(field.name)?,
        Kind::Text(length) => return Ok(ParameterValue::Text(r.ascii(field.name, length)?.into())),
        Kind::Host => return Ok(ParameterValue::Text(Ipv4Addr::from(r.array(field.name)?).to_string())),
        Kind::Time => {
            let [h, m, s] = match options.report_time {
                ReportTime::Binary => r.array(field.name)?.map(Some),
                ReportTime::Bcd => r.array(field.name)?.map(bcd::byte),
            };
            let [h, m, s] = [h, m, s].map(|part| part.ok_or(problem));
            return Ok(ParameterValue::Text(format!("{:02}:{:02}:{:02}", h?, m?, s?)));
        }
        Kind::Clock => {
            let at = civil::from_bcd6(r.array(field.name)?).ok_or(problem)?;
            return Ok(ParameterValue::Text(civil::text(at)));
        }
    };
    Ok(ParameterValue::Integer(wire * field.factor))
}

/// Seconds of a day as hh mm ss.
pub fn time_bytes(second: i64, encoding: ReportTime) -> [u8; 3] {
    [second / 3600, second / 60 % 60, second % 60].map(|part| {
        let part = part as u8;
        match encoding {
            ReportTime::Binary => part,
            ReportTime::Bcd => bcd::pack(part).unwrap_or(part),
        }
    })
}
