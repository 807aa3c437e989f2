//! From a command to a frame. What the protocol cannot say is refused with the reason.

use crate::answer::{CLOSE, LOCK, OPEN};
use crate::decode::correlation;
use crate::frame::{self, Header, Source};
use crate::memory::Memory;
use crate::options::Options;
use crate::session::{Sent, Session};
use crate::{code, items, settings, tariff};
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{Command, Context, Encoded, Fault, History, Interval, Valve, ValveOrder, bcd, civil};

/// Months that a meter keeps.
const MONTHS_KEPT: i64 = 20;

pub fn encode(options: &Options, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    if matches!(command, Command::EndSession(_)) {
        // hasMore = 0 has said so, and silence ends the session.
        return Ok(Encoded::nothing());
    }
    let device = context.device.as_ref().ok_or_else(|| Fault::unsupported("no device to send to"))?;
    let comm_sn: [u8; 16] = device
        .address
        .as_bytes()
        .try_into()
        .ok()
        .filter(|sn: &[u8; 16]| sn.iter().all(u8::is_ascii_alphanumeric))
        .ok_or_else(|| Fault::out_of_range("address", &device.address, "16 letters and digits"))?;
    let mut memory = Memory::of(context, &device.address);
    let order = order(options, context, &memory, command)?;
    let mut session = Session::of(context);
    let mid = memory.take_mid();
    let frame = request(&memory, comm_sn, mid, order.command, &order.body);
    let digest = if order.command == code::VALVE {
        order.body.first_chunk().map_or(0, |word| u16::from_be_bytes(*word))
    } else {
        crc16_modbus(&order.body)
    };
    let (month, last_month) = order.months;
    session.send(Sent { command: order.command, mid, order: digest, month, last_month, any: false });
    let within = if order.command == code::VALVE { options.valve_within_s } else { options.answer_within_s };
    let mut encoded = Encoded::frame(frame, correlation(order.command, mid), within);
    encoded.repeatable = matches!(order.command, code::READ_FROZEN | code::READ_ALL | code::READ_TARIFF);
    encoded.state = session.into_state();
    encoded.memory = Some(memory.write());
    Ok(encoded)
}

/// A platform's request.
pub fn request(memory: &Memory, comm_sn: [u8; 16], mid: u16, command: u8, body: &[u8]) -> Vec<u8> {
    let header = Header {
        source: Source::PlatformRequest,
        has_more: false,
        mid,
        vendor: memory.vendor,
        command,
        iccid: memory.iccid,
        comm_sn,
    };
    frame::build(&header, body)
}

/// Body of 0B for a month since year 0.
pub fn month_body(month: u16) -> [u8; 2] {
    [month / 12 % 100, month % 12 + 1].map(|part| bcd::pack(part as u8).unwrap_or_default())
}

struct Order {
    command: u8,
    body: Vec<u8>,
    /// Of 0B: asked for, and last wanted.
    months: (u16, u16),
}

fn order(options: &Options, context: &Context, memory: &Memory, command: &Command) -> Result<Order, Fault> {
    let plain = |(command, body)| Order { command, body, months: (0, 0) };
    Ok(match command {
        Command::Read(_) => {
            return Err(Fault::unsupported(
                "no message asks for the reading or the valve: the next report carries both",
            ));
        }
        Command::ReadHistory(history) => {
            let months = months(history)?;
            Order { command: code::READ_FROZEN, body: month_body(months.0).to_vec(), months }
        }
        Command::Valve(valve) => plain((code::VALVE, word(context, valve)?.to_vec())),
        Command::SetSchedule(change) => plain(settings::schedule(change, options)?),
        Command::SetEndpoint(endpoint) => plain(settings::endpoint(endpoint, options)?),
        Command::SetParameters(list) if list.first().is_some_and(|p| tariff::is_known(&p.name)) => {
            plain(tariff::set(list, options)?)
        }
        Command::SetParameters(list) => plain(items::set(list, options)?),
        Command::ReadParameters(names) => plain((parameters_read(names)?, Vec::new())),
        Command::SyncBalance(sync) => plain(settings::balance(sync, memory, options)?),
        Command::SetClock(_) => {
            return Err(Fault::unsupported("no message sets the clock: every acknowledged report does"));
        }
        Command::Recharge(_) => {
            return Err(Fault::unsupported(
                "1F writes the new balance and a settlement, which the command does not give, under a type that is not public",
            ));
        }
        Command::SetTariff(_) => {
            return Err(Fault::unsupported(
                "1B numbers billing modes and periods in a way that is not public; set its numbers as parameters",
            ));
        }
        Command::SetKey(_) => return Err(Fault::unsupported("the cipher of this protocol is not public")),
        Command::FirmwareBegin(_) | Command::FirmwareBlock(_) | Command::FirmwareActivate(_) => {
            return Err(Fault::unsupported("the protocol has no public firmware message"));
        }
        Command::ArchiveAdd(_) | Command::ArchiveRemove(_) | Command::ArchiveList(_) | Command::Relay(_) => {
            return Err(Fault::unsupported("such a meter has no meters behind it"));
        }
        Command::EndSession(_) => return Err(Fault::unsupported("there is no message for it")),
    })
}

/// 0F carries neither id nor time limit: the limit is checked here, and the order never repeated. 33CC only clears the lock; the
/// user has to press the key, which is what the contract's permit-open means.
fn word(context: &Context, valve: &Valve) -> Result<[u8; 2], Fault> {
    if context.now > valve.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(valve.valid_until), "a time still to come"));
    }
    Ok(match valve.order {
        ValveOrder::PermitOpen => OPEN,
        ValveOrder::CloseTemporary => CLOSE,
        ValveOrder::CloseForced => LOCK,
    })
}

/// First and last month since year 0.
fn months(history: &History) -> Result<(u16, u16), Fault> {
    if history.interval != Interval::Month {
        return Err(Fault::unsupported("only months are frozen; hours and days come in packed reports"));
    }
    let month = |name: &str, at| {
        let t = civil::fields(at).filter(|t| (2000..=2099).contains(&t.year));
        let t = t.ok_or_else(|| Fault::out_of_range(name, civil::text(at), "the years 2000..=2099"))?;
        Ok::<_, Fault>(t.year * 12 + u16::from(t.month) - 1)
    };
    let (first, last) = (month("first", history.first)?, month("last", history.last)?);
    let count = i64::from(last) - i64::from(first) + 1;
    if !(1..=MONTHS_KEPT).contains(&count) {
        return Err(Fault::out_of_range(
            "first, last",
            format!("{count} months"),
            "1..=20 months, which a meter keeps",
        ));
    }
    Ok((first, last))
}

fn parameters_read(names: &[String]) -> Result<u8, Fault> {
    let is_tariff = |name: &String| name == "vendor-tariff" || tariff::is_known(name);
    if !names.is_empty() && names.iter().all(is_tariff) {
        return Ok(code::READ_TARIFF);
    }
    match names.iter().find(|name| !items::is_known(name)) {
        Some(name) => {
            Err(Fault::unsupported(format!("parameter `{name}` is not read by 19; tier prices are read alone")))
        }
        None => Ok(code::READ_ALL),
    }
}
