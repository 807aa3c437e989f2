//! Tier prices: 1B sets them, 1C and 1E tell them. Their structure is known and no meter is known that fills it, so they are read and
//! written as the meter's own numbers; nothing says how billing modes and periods are numbered.

use crate::code;
use crate::options::{Commissioning, Options};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Fault, Parameter, ParameterValue};

/// Names of the fields in their order, with their bytes. The flag before a group says whether it counts.
const GROUPS: [&[(&str, usize)]; 5] = [
    &[("vendor-billing-mode", 1)],
    &PLAN,
    &PREVIOUS,
    &[("vendor-rent", 4), ("vendor-rent-mode", 1), ("vendor-rent-stop-value", 4), ("vendor-rent-stop-time", 6)],
    &[("vendor-show-balance", 1)],
];
const PLAN: [(&str, usize); 12] = [
    ("vendor-tiers", 1),
    ("vendor-tier-volume-1", 4),
    ("vendor-tier-volume-2", 4),
    ("vendor-tier-volume-3", 4),
    ("vendor-tier-volume-4", 4),
    ("vendor-tier-price-1", 4),
    ("vendor-tier-price-2", 4),
    ("vendor-tier-price-3", 4),
    ("vendor-tier-price-4", 4),
    ("vendor-tier-price-5", 4),
    ("vendor-tier-start", 6),
    ("vendor-billing-period", 1),
];
const PREVIOUS: [(&str, usize); 12] = [
    ("vendor-previous-tiers", 1),
    ("vendor-previous-tier-volume-1", 4),
    ("vendor-previous-tier-volume-2", 4),
    ("vendor-previous-tier-volume-3", 4),
    ("vendor-previous-tier-volume-4", 4),
    ("vendor-previous-tier-price-1", 4),
    ("vendor-previous-tier-price-2", 4),
    ("vendor-previous-tier-price-3", 4),
    ("vendor-previous-tier-price-4", 4),
    ("vendor-previous-tier-price-5", 4),
    ("vendor-previous-tier-start", 6),
    ("vendor-previous-billing-period", 1),
];

pub fn is_known(name: &str) -> bool {
    GROUPS.iter().any(|group| group.iter().any(|(known, _)| *known == name))
}

/// Body of 1B. A group has one flag, so its fields are given together; a group that is not named stays as it is.
pub fn set(list: &[Parameter], options: &Options) -> Result<(u8, Vec<u8>), Fault> {
    if options.commissioning == Commissioning::Refuse {
        return Err(Fault::unsupported("1B changes what is billed; option commissioning = allow"));
    }
    if let Some(other) = list.iter().find(|p| !is_known(&p.name)) {
        return Err(Fault::out_of_range("names", &other.name, "what 1B carries"));
    }
    let mut body = Vec::with_capacity(110);
    for group in GROUPS {
        let is_named = list.iter().any(|p| group.iter().any(|(name, _)| *name == p.name));
        body.push(u8::from(is_named));
        for (name, bytes) in group {
            let mut given = list.iter().filter(|p| p.name == *name);
            match (given.next(), given.next()) {
                (None, _) if is_named => {
                    return Err(Fault::out_of_range(name, "its absence", "a value: its group is set together"));
                }
                (None, _) => body.resize(body.len() + bytes, 0),
                (Some(parameter), None) => write(name, *bytes, &parameter.value, &mut body)?,
                (Some(_), Some(_)) => return Err(Fault::out_of_range(name, "twice", "once")),
            }
        }
    }
    Ok((code::SET_TARIFF, body))
}

/// The same kinds of values that `read` gives.
fn write(name: &str, bytes: usize, value: &ParameterValue, body: &mut Vec<u8>) -> Result<(), Fault> {
    match (bytes, value) {
        (1 | 4, ParameterValue::Integer(value)) => {
            let most = if bytes == 1 { u32::from(u8::MAX) } else { u32::MAX };
            let number = u32::try_from(*value).ok().filter(|number| *number <= most);
            let number = number.ok_or_else(|| Fault::out_of_range(name, value, &format!("0..={most}")))?;
            body.extend_from_slice(&number.to_le_bytes()[..bytes]);
        }
        (6, ParameterValue::Bytes(clock)) if clock.len() == 6 => body.extend_from_slice(clock),
        (6, _) => return Err(Fault::out_of_range(name, "another kind of value", "six bytes, YY MM DD hh mm ss")),
        _ => return Err(Fault::out_of_range(name, "another kind of value", "an integer")),
    }
    Ok(())
}

/// Whether a group was refused, and the fields of those that count.
pub fn read(r: &mut Reader) -> Result<(bool, Vec<Parameter>), FieldError> {
    let (mut refused, mut list) = (false, Vec::new());
    for group in GROUPS {
        let flag = r.i8("flag")?;
        refused |= flag < 0;
        for (name, bytes) in group {
            let field = r.take(name, *bytes)?;
            let value = match field {
                [one] => ParameterValue::Integer((*one).into()),
                _ => match field.try_into() {
                    Ok(word) => ParameterValue::Integer(u32::from_le_bytes(word).into()),
                    // A clock.
                    Err(_) => ParameterValue::Bytes(field.to_vec()),
                },
            };
            if flag == 1 {
                list.push(Parameter { name: (*name).into(), value });
            }
        }
    }
    Ok((refused, list))
}
