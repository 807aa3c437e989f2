//! From a frame to messages, and the acknowledgement of a report.

use crate::frame::{self, Frame, Header, Source};
use crate::memory::Memory;
use crate::options::Options;
use crate::report::{self, Reading};
use crate::session::{Heard, ReportKey, Sent, Session};
use crate::{alarms, answer, code, encode, wire};
use polymeter_sdk::bytes::FieldError;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{
    Admission, Answer, AnswerBody, Capabilities, Civil, Context, Decoded, DeviceKind, Direction, Fault, Message,
    Outcome, Registration, ValveState, civil, log,
};

pub fn decode(options: &Options, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    let frame = Frame::parse(bytes)?;
    let header = &frame.header;
    check_direction(context, header)?;
    let address = header.address();
    let mut decoded = Decoded::new(address, DeviceKind::Meter, Vec::with_capacity(3));
    if !header.source.is_device() {
        decoded.messages.push(Message::unknown(format!("downlink {:02X}", header.command), frame.body));
        return Ok(decoded);
    }
    let mut memory = Memory::of(context, address);
    (memory.vendor, memory.iccid) = (header.vendor, header.iccid);
    let mut session = Session::of(context);
    match (header.source, header.command) {
        (Source::DeviceRequest, code::REPORT | code::PACKED | code::ALARM) => {
            let reading = match header.command {
                code::REPORT => report::single(frame.body, options)?,
                code::PACKED => report::packed(frame.body, options)?,
                _ => report::alarm(frame.body, memory.device_type, options)?,
            };
            let key = ReportKey { command: header.command, read_time: reading.read_time, content: reading.content };
            decoded.duplicate = session.repeats(&key);
            tell(reading, header, decoded.duplicate, &mut memory, &mut decoded.messages);
            decoded.reply = acknowledge(options, context, header);
        }
        (Source::DeviceResponse, command) => {
            answered(options, context, &frame, command, &mut session, &mut memory, &mut decoded)?;
        }
        (_, command) => decoded.messages.push(Message::unknown(format!("{command:02X}"), frame.body)),
    }
    decoded.state = session.into_state();
    decoded.memory = memory.into_change(context, address);
    Ok(decoded)
}

/// Whose answer carries this: the command, and the id it was sent with, which the meter itself does not repeat.
pub fn correlation(command: u8, mid: u16) -> Vec<u8> {
    let [low, high] = mid.to_le_bytes();
    vec![command, low, high]
}

fn check_direction(context: &Context, header: &Header) -> Result<(), Fault> {
    match (context.direction, header.source.is_device()) {
        (Direction::Uplink, false) => Err(Fault::corrupt("source at byte 1: a frame of a platform")),
        (Direction::Downlink, true) => Err(Fault::corrupt("source at byte 1: a frame of a meter")),
        _ => Ok(()),
    }
}

/// A report as messages, and what it changes of what is known.
fn tell(reading: Reading, header: &Header, again: bool, memory: &mut Memory, messages: &mut Vec<Message>) {
    let Reading { mut report, others, class, device_type, sim, alarm, .. } = reading;
    memory.class = Some(class).filter(|class| wire::volume_exponent(*class).is_some());
    if let Some(kind) = device_type {
        memory.device_type = Some(kind).filter(|kind| *kind != 0);
        let identity = fingerprint(header, kind, class, sim);
        if memory.identity != identity {
            memory.identity = identity;
            messages.push(registration(header, kind, report.valve.as_ref().map(|v| v.state)).into());
        }
    }
    // What ended meanwhile does not begin again with a repeated frame.
    if let Some((kind, begins)) = alarm.filter(|_| !again) {
        memory.alarms = alarms::after(memory.alarms, kind, begins);
    }
    alarms::codes(memory.alarms, &mut report.alarms);
    report.more_follows = header.has_more;
    messages.push(report.into());
    messages.extend(others);
}

fn answered(
    options: &Options,
    context: &Context,
    frame: &Frame,
    command: u8,
    session: &mut Session,
    memory: &mut Memory,
    decoded: &mut Decoded,
) -> Result<(), FieldError> {
    let body = frame.body;
    // 1D is answered with 1E, or with 1F as the header of the known firmware says.
    let request = match command {
        0x1F => code::READ_TARIFF,
        command => command.wrapping_sub(1),
    };
    if !(code::READ_FROZEN..=code::SYNC_BALANCE).contains(&request) || request % 2 == 0 {
        decoded.messages.push(Message::unknown(format!("answer {command:02X}"), body));
        return Ok(());
    }
    // Parsed before the session takes it: a damaged answer must not use up the command in hand.
    let known = Some(session.sent).filter(|sent| sent.command == request);
    let mut parsed = answer::parse(request, Vec::new(), body, known, memory, options)?;
    let heard = session.hear(request, crc16_modbus(body), context.now);
    let mid = match heard {
        Heard::Answer(sent) => sent.mid,
        Heard::Repetition(mid) => mid,
        Heard::Stray => frame.header.mid,
    };
    decoded.duplicate = matches!(heard, Heard::Repetition(_));
    parsed.answer.correlation = correlation(request, mid);
    memory.class = parsed.class.or(memory.class);
    if request == code::READ_FROZEN {
        place_undated(heard, context.now, &mut parsed.answer);
        decoded.reply = next_month(frame, session, memory, heard, &mut parsed.answer);
    }
    decoded.messages.push(parsed.answer.into());
    decoded.messages.extend(parsed.others);
    if !parsed.surplus.is_empty() {
        decoded.messages.push(Message::unknown(format!("{command:02X} surplus"), parsed.surplus));
    }
    if request == code::SYNC_BALANCE {
        // The meter closes the session after it.
        decoded.messages.push(Message::EndOfSession);
    }
    Ok(())
}

/// A frozen reading without a time is of the month that was asked for: how many months ago that was is all that is said of it.
fn place_undated(heard: Heard, now: Civil, answer: &mut Answer) {
    let (Heard::Answer(sent), AnswerBody::Report(report)) = (heard, &mut answer.body) else { return };
    if let (None, Some(today)) = (report.at, civil::fields(now)) {
        let month = today.year * 12 + u16::from(today.month) - 1;
        for register in &mut report.registers {
            register.storage = month.saturating_sub(sent.month).into();
        }
    }
}

/// A range is read month by month, each answer bringing the next request. A month without a record ends nothing; a range without
/// any does fail.
fn next_month(
    frame: &Frame,
    session: &mut Session,
    memory: &Memory,
    heard: Heard,
    answer: &mut Answer,
) -> Option<Vec<u8>> {
    let ask = |mid, month| {
        let body = encode::month_body(month);
        encode::request(memory, frame.header.comm_sn, mid, code::READ_FROZEN, &body)
    };
    match heard {
        Heard::Answer(sent) => {
            let any = sent.any || answer.outcome == Outcome::Done;
            if answer.reason == "no-data" && (any || sent.month < sent.last_month) {
                answer.outcome = Outcome::Done;
            }
            if sent.month >= sent.last_month || answer.outcome != Outcome::Done {
                return None;
            }
            answer.more_follows = true;
            let month = sent.month + 1;
            session.send(Sent { month, any, order: crc16_modbus(&encode::month_body(month)), ..sent });
            Some(ask(sent.mid, month))
        }
        // It did not hear the request for the next month.
        Heard::Repetition(mid) if session.sent.command == code::READ_FROZEN => {
            answer.more_follows = true;
            Some(ask(mid, session.sent.month))
        }
        _ => None,
    }
}

/// The answer to a report: result and the station's clock, which the meter takes over whatever the result. hasMore tells it to wait
/// for a command, and is not set while the meter itself has more to say, because commands only follow its last report.
///
/// ```text
/// 47 result i8 | 48 clock BCD6
/// ```
fn acknowledge(options: &Options, context: &Context, header: &Header) -> Option<Vec<u8>> {
    let Some(clock) = civil::to_bcd6(context.now) else {
        log::warn(
            "the station's clock is outside 2000..2099: reports are not acknowledged, to keep the meters' clocks",
        );
        return None;
    };
    let turned_away = matches!(context.admission, Admission::Refused | Admission::Busy);
    let mut body = [1; 7];
    if turned_away {
        body[0] = options.refusal_code.cast_unsigned();
    }
    body[1..].copy_from_slice(&clock);
    let header = Header {
        source: Source::PlatformResponse,
        has_more: context.pending > 0 && !turned_away && !header.has_more,
        command: header.command + 1,
        ..*header
    };
    Some(frame::build(&header, &body))
}

fn registration(header: &Header, device_type: u8, valve: Option<ValveState>) -> Registration {
    let mut registration = Registration::new(DeviceKind::Meter);
    registration.manufacturer = format!("szrq-{:02x}", header.vendor);
    registration.model = match device_type {
        1 => "diaphragm",
        2 => "roots",
        3 => "ultrasonic",
        4 => "turbine",
        _ => "other",
    }
    .into();
    if header.iccid.iter().all(u8::is_ascii_alphanumeric) {
        registration.iccid = std::str::from_utf8(&header.iccid).unwrap_or_default().into();
    }
    registration.capabilities = Capabilities::HOURLY_LOG;
    if valve.is_some_and(|state| state != ValveState::Absent) {
        registration.capabilities = registration.capabilities | Capabilities::VALVE;
    }
    registration
}

/// FNV-1a of what a registration tells and what changes with the SIM; never 0.
fn fingerprint(header: &Header, device_type: u8, class: u8, sim: u64) -> u32 {
    let parts = [&header.iccid[..], &[header.vendor, device_type, class], &sim.to_le_bytes()];
    let hash = parts.into_iter().flatten().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    hash.max(1)
}
