//! From a command to a frame, and the end of a communication.

use crate::decode::{BUSINESS, CONSTRUCTION, CONSTRUCTION_OPEN, END, TOTAL, VALVE, correlation};
use crate::frame::{self, Style};
use crate::memory::Memory;
use crate::options::{Commissioning, Options, RemoteOpen, TotalWrite, UnknownAccount};
use crate::session::{Sent, Session};
use crate::settings::{self, COMMUNICATION, QUERY};
use polymeter_sdk::{
    BalanceLevel, BalanceSync, Civil, Command, Context, Encoded, Fault, Parameter, ParameterValue, Valve, ValveOrder,
    bcd, civil, log,
};

/// Control byte of everything that a platform sends and that changes the meter.
const DOWNLINK: u8 = 0x04;

pub fn encode(options: &Options, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    let device = context.device.as_ref().ok_or_else(|| Fault::unsupported("no device to send to"))?;
    let address = Some(device.address.as_str()).filter(|text| text.len() == 14).and_then(bcd::pack_digits::<7>);
    let address = address.ok_or_else(|| Fault::out_of_range("address", &device.address, "14 digits"))?;
    let mut memory = Memory::of(context, &device.address);
    let mut session = Session::of(context);
    if matches!(command, Command::EndSession(_)) {
        let Some(frame) = end(options, context, &memory, &session, address) else { return Ok(Encoded::nothing()) };
        session.ended = true;
        // No answer comes.
        let state = session.into_change(context);
        return Ok(Encoded { frames: vec![frame], state, ..Encoded::nothing() });
    }
    let (id, body) = order(options, context, &mut memory, command)?;
    let number = memory.take_number();
    let first = body.first().copied().unwrap_or_default();
    session.sent = Sent { id, first, number };
    let frame = frame::build(style(options, &memory), address, DOWNLINK, id, &body);
    let mut encoded = Encoded::frame(frame, correlation(id, number), options.answer_within_s);
    encoded.repeatable = id == COMMUNICATION && first == QUERY;
    encoded.state = session.into_change(context);
    encoded.memory = Some(memory.write());
    Ok(encoded)
}

/// 37 with the station's clock, the volume since 1 September and the price. Both are written into the meter, so they have to be known,
/// or the profile has to say that zeros do no harm.
///
/// ```text
/// 0 clock BCD6 | 6 yearly volume u32, whole m³ | 10 price u16, 0.01 yuan
/// ```
pub fn end(
    options: &Options,
    context: &Context,
    memory: &Memory,
    session: &Session,
    address: [u8; 7],
) -> Option<Vec<u8>> {
    let Some(clock) = civil::to_bcd6(context.now) else {
        log::warn("the station's clock is outside 2000..2099: no communication is ended, to keep the meters' clocks");
        return None;
    };
    let zero = (options.unknown_account == UnknownAccount::Zero).then_some(0);
    let (volume, price) = (yearly(context.now, memory, session), memory.price.or(options.price));
    let (Some(volume), Some(price)) = (volume.or(zero), price.or(zero.map(|_| 0))) else {
        log::warn(
            "37 writes price and yearly volume, and one of them is not known: see the options price and unknown_account",
        );
        return None;
    };
    let mut body = Vec::with_capacity(12);
    body.extend_from_slice(&clock);
    body.extend_from_slice(&volume.to_be_bytes());
    body.extend_from_slice(&price.to_be_bytes());
    Some(frame::build(style(options, memory), address, DOWNLINK, END, &body))
}

/// Whole m³ since 1 September; `None` without this session's total or that day's.
fn yearly(now: Civil, memory: &Memory, session: &Session) -> Option<u32> {
    let today = civil::fields(now)?;
    let began = if today.month >= 9 { today.year } else { today.year.checked_sub(1)? };
    let (_, start) = memory.gas_year.filter(|(year, _)| *year == began)?;
    u32::try_from(session.total?.checked_sub(start)? / 100).ok()
}

fn style(options: &Options, memory: &Memory) -> Style {
    Style { order: options.len_order.over(memory.style.order), ..memory.style }
}

fn order(options: &Options, context: &Context, memory: &mut Memory, command: &Command) -> Result<(u8, Vec<u8>), Fault> {
    Ok(match command {
        Command::Valve(valve) => valve_order(options, context, valve)?,
        Command::SetSchedule(change) => settings::schedule(change, memory)?,
        Command::SetParameters(list) => match &list[..] {
            [Parameter { name, value }] if name == "base-reading" => (TOTAL, total(options, value)?),
            list => settings::set(list, memory)?,
        },
        Command::ReadParameters(names) => {
            if let Some(name) = names.iter().find(|name| !settings::is_read(name)) {
                return Err(Fault::unsupported(format!(
                    "parameter `{name}` is not told by 32; reports tell most others"
                )));
            }
            (COMMUNICATION, [&[QUERY][..], &[0; 9]].concat())
        }
        Command::SetClock(at) => {
            let clock = clock("to", *at)?;
            (BUSINESS, [&[4, 0, 0, 0, 0, 0], &clock[..]].concat())
        }
        Command::SyncBalance(sync) => (BUSINESS, balance(sync, memory)?),
        Command::Read(_) | Command::ReadHistory(_) => {
            return Err(Fault::unsupported(
                "no message asks for readings: every report has them, and those of thirty days",
            ));
        }
        Command::Recharge(_) => {
            return Err(Fault::unsupported(
                "34 writes the new balance, which the command does not give: sync the balance",
            ));
        }
        Command::SetTariff(_) => {
            return Err(Fault::unsupported("the meter knows one price: a balance sync tells it, and 37 carries it"));
        }
        Command::SetEndpoint(_) => {
            return Err(Fault::unsupported("the protocol has no message for the station's address"));
        }
        Command::SetKey(_) => {
            return Err(Fault::unsupported(
                "39 carries bytes to XOR with, which no key handle gives away, and protects nothing",
            ));
        }
        Command::FirmwareBegin(_) | Command::FirmwareBlock(_) | Command::FirmwareActivate(_) => {
            return Err(Fault::unsupported("the protocol has no public firmware message"));
        }
        Command::ArchiveAdd(_) | Command::ArchiveRemove(_) | Command::ArchiveList(_) | Command::Relay(_) => {
            return Err(Fault::unsupported("such a meter has no meters behind it"));
        }
        Command::EndSession(_) => return Err(Fault::unsupported("it is 37")),
    })
}

/// 3C has one way to close, which stays until the station takes it back, and one to open, which needs nobody at the meter; 36 is the
/// other one to open. They carry neither id nor time limit: the limit is checked here, and the order never repeated.
fn valve_order(options: &Options, context: &Context, valve: &Valve) -> Result<(u8, Vec<u8>), Fault> {
    if context.now > valve.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(valve.valid_until), "a time still to come"));
    }
    match (valve.order, options.remote_open) {
        (ValveOrder::CloseForced, _) => Ok((VALVE, vec![options.close_value])),
        (ValveOrder::PermitOpen, RemoteOpen::Open) => Ok((VALVE, vec![options.open_value])),
        (ValveOrder::PermitOpen, RemoteOpen::Construction) => Ok((CONSTRUCTION, vec![CONSTRUCTION_OPEN])),
        (ValveOrder::CloseTemporary, _) => {
            Err(Fault::unsupported("3C closes until the station opens; order close-forced"))
        }
        (ValveOrder::PermitOpen, RemoteOpen::Refuse) => Err(Fault::unsupported(
            "permit-open must not move the valve, but 3C opens it with nobody at the meter; option remote_open = open accepts that",
        )),
    }
}

/// 34 with balance and its level. The price goes into the ends of communications from now on; the settlement has no field.
///
/// ```text
/// 0 bits: balance, level, clock | 1 balance i32, 0.01 yuan | 5 level | 6 clock BCD6
/// ```
fn balance(sync: &BalanceSync, memory: &mut Memory) -> Result<Vec<u8>, Fault> {
    let cents =
        i32::try_from(sync.balance).map_err(|_| Fault::out_of_range("balance", sync.balance, "what fits 32 bits"))?;
    let price = u16::try_from(sync.price / 100).ok().filter(|_| sync.price.is_multiple_of(100));
    let price = price.ok_or_else(|| Fault::out_of_range("price", sync.price, "0..=6553500 in steps of 0.01 yuan"))?;
    memory.price = Some(price);
    let level = match sync.level {
        BalanceLevel::Normal => 0,
        BalanceLevel::Low => 1,
        BalanceLevel::Exhausted => 2,
    };
    Ok([&[3], &cents.to_be_bytes()[..], &[level], &[0; 6]].concat())
}

/// 35: hundredths in five bytes, or whole m³ in four and hundredths in one.
fn total(options: &Options, value: &ParameterValue) -> Result<Vec<u8>, Fault> {
    if options.commissioning == Commissioning::Refuse {
        return Err(Fault::unsupported("base-reading changes what is billed; option commissioning = allow"));
    }
    let ParameterValue::Integer(value) = value else {
        return Err(Fault::out_of_range("base-reading", "another kind of value", "an integer"));
    };
    let range = || Fault::out_of_range("base-reading", value, "what fits the five bytes of 35");
    let hundredths = u64::try_from(*value).map_err(|_| range())?;
    match options.total_write {
        TotalWrite::U40 if hundredths < 0xFF_FFFF_FFFF => Ok(hundredths.to_be_bytes()[3..].to_vec()),
        TotalWrite::U40 => Err(range()),
        TotalWrite::U32Centi => {
            let whole = u32::try_from(hundredths / 100).map_err(|_| range())?;
            Ok([&whole.to_be_bytes()[..], &[(hundredths % 100) as u8]].concat())
        }
    }
}

fn clock(field: &str, at: Civil) -> Result<[u8; 6], Fault> {
    civil::to_bcd6(at).ok_or_else(|| Fault::out_of_range(field, civil::text(at), "the years 2000..=2099"))
}
