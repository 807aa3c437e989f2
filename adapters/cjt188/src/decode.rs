//! From an answer to messages: whose it is, which request it answers, what it says, and what to ask next.

use crate::frame::{ALL, Frame, HEADER_BYTES, control};
use crate::memory::{Memory, Request, correlation};
use crate::options::{Echo, Edition, ErrorStatus, Options};
use crate::parts::{self, Parts};
use crate::reading::{self, Asked, Family, Read};
use crate::status::Status;
use crate::{di, encode, history};
use polymeter_sdk::{
    Admission, Answer, AnswerBody, Context, Decoded, DeviceKind, Direction, Fault, Message, Outcome, Parameter,
    ParameterValue, Registration, ValveState,
};

pub fn decode(options: &Options, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    let frame = Frame::parse(bytes, &options.prefix)?;
    let answers = frame.control & control::ANSWER != 0;
    match (context.direction, answers) {
        (Direction::Uplink, true) => {}
        (Direction::Downlink, false) => return Ok(request(&frame)),
        // A line that echoes gives our request back. It names the meter that is asked, not one that speaks.
        (Direction::Uplink, false) => return Ok(Decoded { sender: None, ..request(&frame) }),
        (Direction::Downlink, true) => return Err(Fault::corrupt("control: an answer on its way to the meter")),
    }
    let address = frame.printed().ok_or_else(|| Fault::corrupt("address at byte 2: not BCD"))?;
    if frame.address == [ALL; 7] {
        return Err(Fault::corrupt("address at byte 2: 99…99 are all meters of a line, and no meter has it"));
    }
    let mut memory = Memory::of(context, &address);
    let is_new = memory.meter_type != frame.meter_type;
    memory.meter_type = frame.meter_type;
    let mut decoded = Decoded::new(String::new(), DeviceKind::Meter, Vec::with_capacity(2));
    if is_new {
        decoded.messages.push(registration(options, &frame, &address).into());
    }
    let mut next = None;
    answer(options, context, &frame, &memory, &mut decoded, &mut next)?;
    if let Some(request) = next.filter(|_| context.admission == Admission::Welcome) {
        memory.ser = if options.ser.is_none() { request.ser } else { memory.ser };
        memory.request = Some(request);
        decoded.reply = Some(encode::write(options, memory.meter_type, frame.address, &request, &[]));
        decoded.memory = Some(memory.write());
    } else if is_new {
        decoded.memory = Some(memory.write());
    }
    if let Some(sender) = &mut decoded.sender {
        sender.address = address;
    }
    Ok(decoded)
}

/// What a master said, for people who look at it.
fn request(frame: &Frame<'_>) -> Decoded {
    let message = Message::unknown(format!("request {:02X}", frame.control), frame.data);
    match frame.printed() {
        Some(address) => Decoded::new(address, DeviceKind::Meter, vec![message]),
        None => Decoded { messages: vec![message], ..Decoded::empty() },
    }
}

/// The meter type is all that a meter says of itself.
fn registration(options: &Options, frame: &Frame<'_>, address: &str) -> Registration {
    let mut registration = Registration::new(DeviceKind::Meter);
    registration.model = match frame.meter_type {
        0x10 => "cold water".into(),
        0x11 => "hot water".into(),
        0x12 => "drinking water".into(),
        0x13 => "reclaimed water".into(),
        0x20 => "heat".into(),
        0x21 => "cooling".into(),
        0x22 => "heat and cooling".into(),
        0x30..=0x39 => "gas".into(),
        0x40 => "electricity".into(),
        other => format!("type {other:02X}"),
    };
    if options.vendor_in_address {
        registration.manufacturer = address.get(..4).unwrap_or_default().into();
    }
    registration
}

fn answer(
    options: &Options,
    context: &Context,
    frame: &Frame<'_>,
    memory: &Memory,
    decoded: &mut Decoded,
    next: &mut Option<Request>,
) -> Result<(), Fault> {
    let follows = options.edition == Edition::Y2018 && frame.control & control::FOLLOWED != 0;
    let function = frame.control & if follows { 0x1F } else { 0x3F };
    if !control::is_standard(function) {
        decoded.messages.push(Message::unknown(format!("control {:02X}", frame.control), frame.data));
        return Ok(());
    }
    if frame.control & control::ERROR != 0 {
        decoded.messages.push(refusal(options, memory, function, frame.data).into());
        return Ok(());
    }
    let &[first, second, ser, ref part @ ..] = frame.data else {
        return Err(Fault::corrupt(format!("length at byte 10: {}, but an answer has 3 or more", frame.data.len())));
    };
    let di = options.order(function).read([first, second]);
    let request = answered(options, memory, function, di, ser);
    let repeated = memory.request.filter(|r| request.is_none() && is_behind(options, r, function, di, ser));
    let correlation = request.or(repeated).map_or_else(|| correlation(function, di, ser), |r| r.correlation());
    let mut answer = Answer::new(correlation.to_vec(), Outcome::Done);
    // The command goes on with the request that waits.
    answer.more_follows = repeated.is_some();
    let before = Parts::of(&context.state);
    let mine = before.as_ref().filter(|p| p.belong_to(function, di, ser)).map_or(&[][..], |p| p.operands);
    if let Some(parts) = before.as_ref().filter(|p| !p.belong_to(function, di, ser)) {
        decoded.messages.push(parts.unfinished());
    }
    if follows {
        decoded.state = Some(parts::join(function, di, ser, mine, part)?);
        answer.more_follows = true;
        decoded.messages.push(answer.into());
        return Ok(());
    }
    if before.is_some() {
        decoded.state = Some(Vec::new());
    }
    let joined;
    let operands = if mine.is_empty() {
        part
    } else {
        joined = [mine, part].concat();
        &joined
    };
    let family = Family::of(frame.meter_type);
    let asked = Asked { options, family, di, now: context.now, offset: HEADER_BYTES + 3 };
    let kept = fill(&mut answer, asked, function, frame, operands)?;
    if let Some(request) = request.filter(|r| r.di < r.last) {
        answer.more_follows = true;
        let ser = options.ser.unwrap_or(memory.ser.wrapping_add(1));
        *next = Some(Request { di: history::next(request.di), ser, ..request });
    }
    decoded.messages.push(answer.into());
    decoded.messages.extend(kept);
    Ok(())
}

/// The waiting request that this answers.
fn answered(options: &Options, memory: &Memory, function: u8, di: u16, ser: u8) -> Option<Request> {
    let echoed = |r: &Request| r.ser == ser || options.ser_echo == Echo::Any;
    memory.request.filter(|r| r.function == function && r.di == di && echoed(r))
}

/// Whether this answers an earlier request of the chain that is under way, once more: a request that was sent again has two
/// answers.
fn is_behind(options: &Options, waiting: &Request, function: u8, di: u16, ser: u8) -> bool {
    let Some(steps) = history::steps(waiting.first.0, di) else { return false };
    let sent = options.ser.unwrap_or_else(|| waiting.first.1.wrapping_add(steps as u8));
    waiting.function == function && di < waiting.di && (ser == sent || options.ser_echo == Echo::Any)
}

/// Outcome and body of a good answer.
fn fill(
    answer: &mut Answer,
    asked: Asked<'_>,
    function: u8,
    frame: &Frame<'_>,
    operands: &[u8],
) -> Result<Vec<Message>, Fault> {
    let parameter = |name: &str, value| AnswerBody::Parameters(vec![Parameter { name: name.into(), value }]);
    match (function, operands) {
        (control::READ, _) => {
            if operands.is_empty() {
                answer.reason = "no-data".into();
            }
            let Read { body, kept } = reading::read(asked, operands)?;
            answer.body = body;
            return Ok(kept);
        }
        (control::READ_ADDRESS, [] | [_, _, _, _, _, _, _]) => {
            let address = <[u8; 7]>::try_from(operands).unwrap_or(frame.address);
            let printed = Frame { address, ..*frame }.printed();
            let printed = printed.ok_or_else(|| Fault::corrupt("address at byte 14: not BCD"))?;
            answer.body = parameter("address", ParameterValue::Text(printed));
        }
        (control::READ_KEY, [version]) => {
            answer.body = parameter("key-version", ParameterValue::Integer(i64::from(*version)));
        }
        (_, _) if asked.di == di::VALVE => valve(answer, asked.options, operands),
        (_, []) => {}
        // What a new key answers is its number, no status.
        (control::WRITE, [version]) if asked.di == di::SET_KEY => {
            answer.body = parameter("key-version", ParameterValue::Integer(i64::from(*version)));
        }
        // The order's own words. Whatever they are, the purchase is done.
        (control::WRITE, [_, _, _, _, _]) if asked.di == di::SET_PURCHASE => {
            let Ok(Read { body, kept }) = reading::read(asked, operands) else {
                answer.body = AnswerBody::Raw(operands.to_vec());
                return Ok(Vec::new());
            };
            answer.body = body;
            return Ok(kept);
        }
        (control::WRITE | control::WRITE_ADDRESS | control::WRITE_BASE, [s0]) => {
            answer.body = AnswerBody::Report(reading::status_only(asked.options, [*s0, 0]));
        }
        (control::WRITE | control::WRITE_ADDRESS | control::WRITE_BASE, [s0, s1]) => {
            answer.body = AnswerBody::Report(reading::status_only(asked.options, [*s0, *s1]));
        }
        _ => answer.body = AnswerBody::Raw(operands.to_vec()),
    }
    Ok(Vec::new())
}

/// The motor may still run when the meter answers: the order is accepted, and a later reading shows what became of it.
fn valve(answer: &mut Answer, options: &Options, operands: &[u8]) {
    answer.outcome = Outcome::Accepted;
    let status = match *operands {
        [] => return,
        [s0] => Status::read(options.status_layout, [s0, 0]),
        [s0, s1] => Status::read(options.status_layout, [s0, s1]),
        _ => {
            answer.body = AnswerBody::Raw(operands.to_vec());
            return;
        }
    };
    answer.raw_code = u32::from(status.word());
    answer.body = AnswerBody::Valve(status.valve_status());
    if status.valve == ValveState::Absent {
        (answer.outcome, answer.reason) = (Outcome::Failed, "valve-failure".into());
    }
}

/// An error answer names its request by function, and by SER where it has one; some meters repeat the identifier before it. A
/// form that nobody knows is a refusal all the same.
fn refusal(options: &Options, memory: &Memory, function: u8, data: &[u8]) -> Answer {
    let named = |wire: [u8; 2]| Some(options.order(function).read(wire)).filter(|di| di::is_known(*di));
    let (di, ser, status) = match *data {
        [s0] => (None, None, Some([s0, 0])),
        [ser, s0] => (None, Some(ser), Some([s0, 0])),
        [ser, s0, s1] => (None, Some(ser), Some([s0, s1])),
        [a, b, ser, s0] if named([a, b]).is_some() => (named([a, b]), Some(ser), Some([s0, 0])),
        [a, b, ser, s0, s1] if named([a, b]).is_some() => (named([a, b]), Some(ser), Some([s0, s1])),
        _ => (None, None, None),
    };
    let echoed = |r: &Request| options.ser_echo == Echo::Any || ser.is_none_or(|ser| ser == r.ser);
    let request = memory.request.filter(|r| r.function == function && di.is_none_or(|di| di == r.di) && echoed(r));
    let correlation =
        request.map_or_else(|| correlation(function, di.unwrap_or(0), ser.unwrap_or(0)), |r| r.correlation());
    let mut answer = Answer::new(correlation.to_vec(), Outcome::Refused);
    answer.reason = "vendor-error".into();
    answer.raw_code = u32::from(u16::from_le_bytes(status.unwrap_or_default()));
    answer.body = match (options.error_status, status) {
        (ErrorStatus::Status, Some(status)) => AnswerBody::Report(reading::status_only(options, status)),
        _ => AnswerBody::Raw(data.to_vec()),
    };
    answer
}
