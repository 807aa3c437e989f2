//! From a command to the request that asks it. What the meters cannot do is refused with the reason.

use crate::frame::{ANY, Frame, address_bytes, control};
use crate::memory::{Memory, Request};
use crate::options::{CloseTemporary, Options, RemoteOpen, ValveOrders};
use crate::{di, history, settings, status};
use polymeter_sdk::{Command, Context, Encoded, Fault, ReadScope, Transport, Valve, ValveOrder, civil};

/// Of a meter whose type nobody has said.
const GAS: u8 = 0x30;
/// Sends and waits of a line at the other end of a network.
const STREAM_ANSWER_S: u16 = 10;
/// Meters behind radio, and those whose carrier asks them in its own time.
const OTHER_ANSWER_S: u16 = 60;
const ANSWER_S_MAX: u16 = 3600;

struct Order {
    function: u8,
    di: u16,
    operands: Vec<u8>,
    /// Identifier of the last request; the same for a single one.
    last: u16,
    /// Reading twice changes nothing. Whether a meter knows a repeated order again by its SER is not said anywhere.
    repeatable: bool,
}

pub fn encode(options: &Options, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    if matches!(command, Command::EndSession(_)) {
        // A master that asks no more is all there is to it.
        return Ok(Encoded::nothing());
    }
    let order = order(options, context, command)?;
    let Some(device) = &context.device else {
        return whose_address(options, context, &order);
    };
    // All nines is the broadcast that every meter of a line carries out.
    let address = address_bytes(&device.address).filter(|a| *a != [0x99; 7]);
    let address = address.ok_or_else(|| Fault::out_of_range("address", &device.address, "14 digits, not all 9"))?;
    let mut memory = Memory::of(context, &device.address);
    let ser = memory.take_ser(options.ser);
    let request = Request { last: order.last, ..Request::single(order.function, order.di, ser) };
    memory.request = Some(request);
    let frame = write(options, memory.meter_type, address, &request, &order.operands);
    let requests = history::length(order.di, order.last);
    let mut encoded =
        Encoded::frame(frame, request.correlation().to_vec(), answer_within_s(options, context, requests));
    encoded.repeatable = order.repeatable;
    encoded.memory = Some(memory.write());
    Ok(encoded)
}

/// A request as it goes out. Type 0 is one that was not heard yet.
pub fn write(options: &Options, meter_type: u8, address: [u8; 7], request: &Request, operands: &[u8]) -> Vec<u8> {
    let heard = if meter_type == 0 { GAS } else { meter_type };
    let order = options.order(request.function);
    let mut data = Vec::with_capacity(3 + operands.len());
    data.extend_from_slice(&order.write(request.di));
    data.push(request.ser);
    data.extend_from_slice(operands);
    let meter_type = options.meter_type.unwrap_or(heard);
    let keeps = di::is_module_history(request.di) || matches!(request.di, di::MODULE_STATE | di::MODULE_STATE_FF);
    Frame { meter_type, address, control: request.function, data: &data }.wrap(options, keeps)
}

fn answer_within_s(options: &Options, context: &Context, requests: u16) -> u16 {
    let one = options.answer_within_s.unwrap_or(match context.transport {
        Transport::Stream => STREAM_ANSWER_S,
        Transport::Datagram | Transport::Relay => OTHER_ANSWER_S,
    });
    one.saturating_mul(requests).min(ANSWER_S_MAX)
}

/// 810A to whoever is alone on the line: the one request without a device.
fn whose_address(options: &Options, context: &Context, order: &Order) -> Result<Encoded, Fault> {
    if order.function != control::READ_ADDRESS {
        return Err(Fault::unsupported("no device to send to; only its address can be asked of an unknown meter"));
    }
    let request = Request::single(order.function, order.di, options.ser.unwrap_or(1));
    let any = Options { meter_type: Some(options.meter_type.unwrap_or(ANY)), ..options.clone() };
    let frame = write(&any, ANY, [ANY; 7], &request, &[]);
    let mut encoded = Encoded::frame(frame, request.correlation().to_vec(), answer_within_s(options, context, 1));
    encoded.repeatable = true;
    Ok(encoded)
}

fn order(options: &Options, context: &Context, command: &Command) -> Result<Order, Fault> {
    let read = |di| Order { function: control::READ, di, operands: Vec::new(), last: di, repeatable: true };
    let once = |(function, di, operands)| Order { function, di, operands, last: di, repeatable: false };
    Ok(match command {
        Command::Read(ReadScope::Current | ReadScope::Valve) => read(options.reading),
        Command::Read(ReadScope::Account) => read(di::PURCHASE),
        Command::ReadHistory(wanted) => {
            let (first, last) = history::chain(options, context.now, wanted)?;
            Order { last, ..read(first) }
        }
        Command::ReadParameters(names) => {
            let (function, di, operands) = settings::read(options, names)?;
            Order { function, di, operands, last: di, repeatable: true }
        }
        Command::Valve(valve) => once((control::WRITE, di::VALVE, valve_data(options, context, valve)?)),
        Command::SetClock(to) => once(settings::clock(options, *to)?),
        Command::SetParameters(list) => once(settings::set(options, list)?),
        Command::Recharge(order) => once(settings::recharge(order)?),
        Command::SetTariff(tariff) => once(settings::tariff(options, context.now, tariff)?),
        Command::SyncBalance(_) => return Err(Fault::unsupported("a balance cannot be set, only a purchase added")),
        Command::SetKey(_) => return Err(Fault::unsupported("no public cipher: keys are not written")),
        Command::SetSchedule(_) => return Err(Fault::unsupported("a meter that is asked has no schedule")),
        Command::SetEndpoint(_) => return Err(Fault::unsupported("a meter that is asked has no station's address")),
        Command::FirmwareBegin(_) | Command::FirmwareBlock(_) | Command::FirmwareActivate(_) => {
            return Err(Fault::unsupported("no public firmware frames"));
        }
        Command::ArchiveAdd(_) | Command::ArchiveRemove(_) | Command::ArchiveList(_) | Command::Relay(_) => {
            return Err(Fault::unsupported("a meter has no meters behind it"));
        }
        Command::EndSession(_) => return Err(Fault::unsupported("there is no frame for it")),
    })
}

/// A017: 55 opens, 99 closes, at once and with nobody at the meter.
///
/// The contract's permit-open promises not to move the valve, and close-temporary that the user may open again: the meter knows
/// neither, so both wait for the profile to accept what it does instead. The frame has no room for a time limit, which is
/// therefore checked here, nor for an order id.
fn valve_data(options: &Options, context: &Context, valve: &Valve) -> Result<Vec<u8>, Fault> {
    if context.now > valve.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(valve.valid_until), "a time still to come"));
    }
    let open = match (valve.order, options.remote_open, options.close_temporary) {
        (ValveOrder::PermitOpen, RemoteOpen::Open, _) => true,
        (ValveOrder::CloseForced, _, _) | (ValveOrder::CloseTemporary, _, CloseTemporary::Close) => false,
        (ValveOrder::PermitOpen, RemoteOpen::Refuse, _) => {
            return Err(Fault::unsupported(
                "permit-open must not move the valve, but A017 opens it with nobody at the meter; option remote_open = open accepts that",
            ));
        }
        (ValveOrder::CloseTemporary, _, CloseTemporary::Refuse) => {
            return Err(Fault::unsupported(
                "A017 closes until it opens again, the user cannot; option close_temporary = close accepts that",
            ));
        }
    };
    match options.valve {
        ValveOrders::Byte => Ok(vec![if open { 0x55 } else { 0x99 }]),
        ValveOrders::Status => Ok(status::order(options.status_layout, open).to_vec()),
        ValveOrders::None => Err(Fault::unsupported("the profile says that the meter has no valve")),
    }
}
