//! Parameters by the map's names, and valve orders: what is written, and whether the device then says the same.

use crate::field;
use crate::image::Image;
use crate::map::{Parameter as Mapped, Place, Valve as MappedValve};
use crate::options::{Profile, RemoteOpen};
use crate::plan::Block;
use crate::session::{Session, Task, write_request};
use crate::words::{OrderName, OrderWords};
use polymeter_sdk::{Context, Fault, Parameter, ParameterValue, Valve, ValveOrder, civil};

/// Parameters of one command.
const PARAMETERS_MAX: usize = 30;

fn find<'a>(profile: &'a Profile, name: &str) -> Result<&'a Mapped, Fault> {
    let found = profile.map.parameters.iter().find(|p| p.words.name == name);
    found.ok_or_else(|| {
        Fault::unsupported(format!("the map has no parameter {}", name.chars().take(48).collect::<String>()))
    })
}

/// A write and a reading back of each.
pub fn set(profile: &Profile, session: &mut Session, bus: u8, list: &[Parameter]) -> Result<(), Fault> {
    if list.is_empty() || list.len() > PARAMETERS_MAX {
        return Err(Fault::out_of_range("parameters", list.len(), "1 to 30"));
    }
    session.begin(Task::SetParameters, bus);
    let mut before = None;
    for parameter in list {
        let mapped = find(profile, &parameter.name)?;
        let Some(function) = mapped.words.write else {
            return Err(Fault::unsupported(format!("{} is read only", mapped.words.name)));
        };
        let place = mapped.number.place;
        let data = raw(mapped, &parameter.value)?;
        session.queue.push(write_request(place.bus.unwrap_or(bus), function, place.register, &data));
        let back = profile.plans.back(place, before);
        session.ask(back);
        before = Some(back);
    }
    Ok(())
}

pub fn read(profile: &Profile, session: &mut Session, bus: u8, names: &[String]) -> Result<(), Fault> {
    let wanted: Vec<Place> = if names.is_empty() {
        profile.map.parameters.iter().map(|p| p.number.place).collect()
    } else {
        names.iter().map(|name| find(profile, name).map(|p| p.number.place)).collect::<Result<_, _>>()?
    };
    let (plan, alike) = profile.plans.of_parameters(wanted);
    if plan.is_empty() || plan.len() > crate::plan::REQUESTS_MAX {
        return Err(Fault::out_of_range("parameters", plan.len(), "1 to 64 requests for those that the map has"));
    }
    if let Some((one, other)) = alike {
        return Err(Fault::unsupported(format!(
            "answers for registers {} and {} could be taken for each other: read their parameters one at a time, or accept it with equal_counts",
            one.first, other.first
        )));
    }
    session.begin(Task::ReadParameters, bus);
    for block in plan {
        session.ask(block);
    }
    Ok(())
}

/// The bytes of a value as registers hold them.
fn raw(mapped: &Mapped, value: &ParameterValue) -> Result<Vec<u8>, Fault> {
    let (name, number) = (&mapped.words.name, &mapped.number);
    let registers = number.place.registers;
    match value {
        ParameterValue::Integer(value) if !name.starts_with("0x") => {
            let within =
                mapped.words.minimum.is_none_or(|m| m <= *value) && mapped.words.maximum.is_none_or(|m| *value <= m);
            let scale = 10_i64.pow(u32::from(mapped.words.exponent.unsigned_abs()));
            let raw = match mapped.words.exponent {
                0.. if value % scale == 0 => Some(value / scale),
                0.. => None,
                _ => value.checked_mul(scale),
            };
            let bits = raw.filter(|_| within).and_then(|raw| number.kind.bits(raw));
            let bits =
                bits.ok_or_else(|| Fault::out_of_range(name, value, "what the map's type, scale and limits hold"))?;
            Ok(field::wire(number.order, registers, bits))
        }
        ParameterValue::Bytes(bytes) if name.starts_with("0x") && bytes.len() == usize::from(registers) * 2 => {
            Ok(bytes.clone())
        }
        _ if name.starts_with("0x") => {
            Err(Fault::out_of_range(name, "another kind of value", &format!("{} bytes", registers * 2)))
        }
        _ => Err(Fault::out_of_range(name, "another kind of value", "an integer")),
    }
}

/// All parameters of the map that were read, in its order: what stands beside a wanted one in its request too.
pub fn told(profile: &Profile, image: &Image) -> Vec<Parameter> {
    let one = |mapped: &Mapped| {
        let wire = image.get(mapped.number.place)?;
        let number = || {
            let raw = mapped.number.kind.value(field::bits(mapped.number.order, wire), 0)?;
            let scale = 10_i64.pow(u32::from(mapped.words.exponent.unsigned_abs()));
            if mapped.words.exponent >= 0 { raw.checked_mul(scale) } else { (raw % scale == 0).then_some(raw / scale) }
        };
        let number = if mapped.words.name.starts_with("0x") { None } else { number() };
        let value = number.map_or_else(|| ParameterValue::Bytes(wire.to_vec()), ParameterValue::Integer);
        Some(Parameter { name: mapped.words.name.clone(), value })
    };
    profile.map.parameters.iter().filter_map(one).collect()
}

/// The first parameter that does not say what was written.
pub fn differing<'a>(profile: &'a Profile, image: &Image) -> Option<&'a str> {
    let differs = |mapped: &&Mapped| {
        let place = mapped.number.place;
        let written = mapped.words.write.and_then(|function| image.get(Place { function, ..place }));
        written.is_some_and(|written| image.get(place) != Some(written))
    };
    profile.map.parameters.iter().find(differs).map(|m| m.words.name.as_str())
}

/// One write. The device has no order id and no time limit: the limit is checked here, and nothing is repeated.
pub fn valve(profile: &Profile, context: &Context, session: &mut Session, bus: u8, order: &Valve) -> Result<(), Fault> {
    let Some(valve) = profile.map.valve.as_ref().filter(|v| !v.orders.is_empty()) else {
        return Err(Fault::unsupported("the map has no valve orders"));
    };
    if context.now > order.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(order.valid_until), "a time still to come"));
    }
    let write = write_of(profile, valve, order.order)?;
    session.begin(Task::Valve, bus);
    let bus = valve.bus.unwrap_or(bus);
    session.queue.push(write_request(bus, write.function, write.register, &write.value.to_be_bytes()));
    if let Some(place) = valve.place {
        session.ask(Block::of(place));
    }
    Ok(())
}

fn write_of<'a>(profile: &Profile, valve: &'a MappedValve, order: ValveOrder) -> Result<&'a OrderWords, Fault> {
    let find = |name| valve.orders.iter().find(|o| o.order == name);
    let (found, missing) = match order {
        ValveOrder::PermitOpen => {
            let opens = || find(OrderName::Open).filter(|_| profile.remote_open == RemoteOpen::Open);
            let reason = "permit-open must not move the valve, and the map has no write that only permits; with an `open` in the map, option remote_open = open accepts that it opens with nobody at the meter";
            (find(OrderName::PermitOpen).or_else(opens), reason)
        }
        ValveOrder::CloseTemporary => (find(OrderName::CloseTemporary), "the map has no close-temporary"),
        ValveOrder::CloseForced => (find(OrderName::CloseForced), "the map has no close-forced"),
    };
    found.ok_or_else(|| Fault::unsupported(missing))
}
