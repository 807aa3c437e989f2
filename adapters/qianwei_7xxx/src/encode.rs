//! From a command to a frame. What the family cannot say is refused with the reason.

use crate::cipher;
use crate::decode::{correlation, seal, sealed_header};
use crate::frame::{self, Header, Way};
use crate::memory::{KeyPlace, Memory};
use crate::options::{FrozenReads, Options, RechargeBy, RemoteOpen, SLOT_BYTES_MAX};
use crate::session::Session;
use crate::{code, corrector, parameters, settings};
use polymeter_sdk::{
    Command, Context, Encoded, Fault, Interval, KeyChange, KeyCipher, ReadScope, Valve, ValveOrder, civil,
};

/// What goes out for a command.
struct Order {
    command: u16,
    body: Body,
    /// Carrying it out twice changes nothing more.
    repeatable: bool,
}

enum Body {
    Plain(Vec<u8>),
    /// 7082 with the key of this slot.
    Key(String),
}

pub fn encode(options: &Options, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    if matches!(command, Command::EndSession(_)) {
        // hasMore = 0 of the last downlink has said so; there is no message for it.
        return Ok(Encoded::nothing());
    }
    let device = context.device.as_ref().ok_or_else(|| Fault::unsupported("no device to send to"))?;
    let meter_id: [u8; 20] = device
        .address
        .as_bytes()
        .try_into()
        .ok()
        .filter(is_meter_id)
        .ok_or_else(|| Fault::out_of_range("address", &device.address, "20 letters and digits"))?;
    let mut memory = Memory::of(context, &device.address);
    let order = order(options, context, &memory, command)?;
    let mut session = Session::of(context);
    let frame_id = memory.take_frame_id();
    let header = Header {
        has_more: context.pending > 0,
        frame_id,
        version: session.protocol_version(),
        command: order.command,
        meter_id,
        iccid: frame::NO_ICCID,
        way: Way::Downlink,
        // The platform's valve order carries 1 like a response; meters expect it so.
        resp_flag: u8::from(order.command == code::VALVE),
        encryption: 0,
        data_length: 0,
    };
    let frame = match (&order.body, options.is_encrypted(&meter_id)) {
        (Body::Plain(body), false) => seal(options, header, body, None)?,
        (Body::Plain(body), true) => {
            let key = cipher::in_force(options, &memory, &meter_id)?;
            seal(options, header, body, Some(&key))?
        }
        (Body::Key(slot), true) => {
            let body = new_key(options, &mut memory, &meter_id, slot)?;
            frame::build(&sealed_header(options, header, 20, body.len()), &body)
        }
        (Body::Key(_), false) => return Err(Fault::unsupported("this meter does not encrypt (option cipher)")),
    };
    if order.command == code::RECHARGE {
        // The meter's total changes, or not: what was read of it before holds no longer.
        memory.note_purchased(None);
    }
    session.send(order.command, frame_id);
    let mut encoded = Encoded::frame(frame, correlation(order.command, frame_id), options.answer_within_s);
    encoded.repeatable = order.repeatable;
    encoded.state = session.into_state();
    encoded.memory = Some(memory.write());
    Ok(encoded)
}

fn order(options: &Options, context: &Context, memory: &Memory, command: &Command) -> Result<Order, Fault> {
    let once = |command, body| Order { command, body: Body::Plain(body), repeatable: false };
    let again = |command, body| Order { command, body: Body::Plain(body), repeatable: true };
    Ok(match command {
        Command::Read(ReadScope::Account) => again(code::READ_ACCOUNT, Vec::new()),
        Command::Read(_) => {
            return Err(Fault::unsupported(
                "the family has no such read: the next report carries values and valve state",
            ));
        }
        Command::ReadHistory(history) => again(history_code(options, history.interval)?, Vec::new()),
        Command::Valve(valve) => once(code::VALVE, valve_body(options, context, valve)?),
        Command::SetSchedule(change) => again(code::SET_SCHEDULE, settings::schedule(change, options)?),
        Command::SetEndpoint(endpoint) => again(code::SET_COMMUNICATION, settings::endpoint(endpoint, options)?),
        Command::SetKey(change) => Order { command: code::SET_KEY, body: Body::Key(slot(change)?), repeatable: false },
        Command::SetParameters(list) => {
            let (command, body) = parameters::set(list, options)?;
            // A base reading set again would take back what has flowed since.
            let repeatable = !matches!(command, code::WRITE_TOTALS | code::SET_BASICS);
            Order { command, body: Body::Plain(body), repeatable }
        }
        Command::ReadParameters(names) => again(parameters::request(names)?, Vec::new()),
        Command::Recharge(order) => match options.recharge {
            RechargeBy::Meter => once(code::RECHARGE, settings::recharge(order, options)?),
            RechargeBy::Corrector => once(code::CORRECTOR_RECHARGE, corrector::recharge(order, options)?),
        },
        Command::SetTariff(tariff) => again(code::SET_TARIFF, settings::tariff(tariff, options)?),
        Command::SyncBalance(sync) => once(code::SET_ACCOUNT, settings::account(sync, memory.purchased(), options)?),
        Command::SetClock(_) => {
            return Err(Fault::unsupported("no message sets the clock: every acknowledged report does"));
        }
        Command::FirmwareBegin(_) | Command::FirmwareBlock(_) | Command::FirmwareActivate(_) => {
            return Err(Fault::unsupported("the family has no public firmware message"));
        }
        Command::ArchiveAdd(_) | Command::ArchiveRemove(_) | Command::ArchiveList(_) | Command::Relay(_) => {
            return Err(Fault::unsupported("a meter of this family has no meters behind it"));
        }
        Command::EndSession(_) => return Err(Fault::unsupported("there is no message for it")),
    })
}

/// 7024: 0 forced close, 1 open, 2 temporary close.
///
/// Value 1 opens the valve at once, with nobody at the meter to look for an open tap. The contract's permit-open promises
/// never to move the valve by itself, so it is refused unless the utility says in the profile that it takes care of that.
/// The order carries no id by which a meter could know it again, so it is never repeated; nor a time limit, so it is
/// checked here.
fn valve_body(options: &Options, context: &Context, valve: &Valve) -> Result<Vec<u8>, Fault> {
    if context.now > valve.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(valve.valid_until), "a time still to come"));
    }
    let value: u16 = match (valve.order, options.remote_open) {
        (ValveOrder::CloseForced, _) => 0,
        (ValveOrder::CloseTemporary, _) => 2,
        (ValveOrder::PermitOpen, RemoteOpen::Open) => 1,
        (ValveOrder::PermitOpen, RemoteOpen::Refuse) => {
            return Err(Fault::unsupported(
                "permit-open must not move the valve, but 7024 opens it with nobody at the meter; option remote_open = open accepts that",
            ));
        }
    };
    Ok(value.to_le_bytes().to_vec())
}

fn history_code(options: &Options, interval: Interval) -> Result<u16, Fault> {
    let code = match interval {
        Interval::Hour => code::READ_HOURS,
        Interval::Day => code::READ_HOURS + 1,
        Interval::Month => code::READ_MONTHS,
        Interval::Minute => {
            return Err(Fault::unsupported("frozen data of minutes: meters keep hours, days and months"));
        }
    };
    match options.frozen_reads {
        FrozenReads::EmptyRequest => Ok(code),
        FrozenReads::Unsupported => Err(Fault::unsupported(format!(
            "{code:04X} cannot ask for a range, its body is not public; option frozen_reads = empty-request asks without one"
        ))),
    }
}

fn slot(change: &KeyChange) -> Result<String, Fault> {
    if change.cipher != KeyCipher::Aes128 {
        return Err(Fault::unsupported("7082 carries AES-128 keys only"));
    }
    if change.slot.is_empty()
        || change.slot.len() > SLOT_BYTES_MAX
        || !change.slot.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(Fault::out_of_range("slot", &change.slot, "1 to 32 printable characters"));
    }
    Ok(change.slot.clone())
}

/// The sealed body of 7082, and the slot noted as on its way.
fn new_key(options: &Options, memory: &mut Memory, meter_id: &[u8; 20], slot: &str) -> Result<Vec<u8>, Fault> {
    let new = KeyPlace::Slot(slot.to_owned());
    if memory.current_key() == Some(&new) {
        return Err(Fault::out_of_range(
            "slot",
            slot,
            "another slot than that of the key in use, which is still needed",
        ));
    }
    let body = cipher::in_force(options, memory, meter_id)?.seal_key(meter_id, slot, options.padding)?;
    memory.expect_key(new);
    Ok(body)
}

fn is_meter_id(meter_id: &[u8; 20]) -> bool {
    meter_id.iter().all(u8::is_ascii_alphanumeric)
}
