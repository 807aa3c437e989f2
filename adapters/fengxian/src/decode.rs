//! From a frame to messages. Nothing is acknowledged: the meter hears the next request, or the end.

use crate::encode;
use crate::frame::Frame;
use crate::memory::Memory;
use crate::options::Options;
use crate::report::{self, Reading};
use crate::session::{SEEN_BYTES, Sent, Session};
use crate::settings::{self, COMMUNICATION, FUNCTIONS};
use crate::words;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{
    Admission, Answer, AnswerBody, Capabilities, Context, Decoded, DeviceKind, Direction, Fault, Heartbeat, Message,
    Outcome, Parameter, ParameterValue, Registration, ReportPeriod, Schedule, bcd, civil,
};

pub const REPORT: u8 = 0x38;
const HEARTBEAT: u8 = 0x40;
pub const BUSINESS: u8 = 0x34;
pub const TOTAL: u8 = 0x35;
pub const CONSTRUCTION: u8 = 0x36;
/// Its only value that is known.
pub const CONSTRUCTION_OPEN: u8 = 0;
pub const END: u8 = 0x37;
const KEY: u8 = 0x39;
pub const VALVE: u8 = 0x3C;

pub fn decode(options: &Options, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    let frame = Frame::parse(bytes)?;
    match (context.direction, frame.is_uplink()) {
        (Direction::Uplink, false) => return Err(Fault::corrupt("control at byte 13: a frame of a platform")),
        (Direction::Downlink, true) => return Err(Fault::corrupt("control at byte 13: a frame of a meter")),
        _ => {}
    }
    let address = bcd::digits(&frame.address).ok_or_else(|| Fault::corrupt("address at byte 6: not BCD"))?;
    let mut decoded = Decoded::new(address.as_str(), DeviceKind::Meter, Vec::with_capacity(4));
    if !frame.is_uplink() {
        decoded.messages.push(Message::unknown(format!("downlink {:02X}", frame.id), &frame.body));
        return Ok(decoded);
    }
    let mut memory = Memory::of(context, &address);
    memory.style = frame.style;
    let mut session = Session::of(context);
    match frame.id {
        REPORT => {
            let reading = report::parse(&frame.body, options)?;
            let mut key = [0; SEEN_BYTES];
            key[..6].copy_from_slice(&reading.clock);
            key[6..8].copy_from_slice(&reading.reasons.to_be_bytes());
            key[8..].copy_from_slice(&crc16_modbus(&frame.body[..report::BYTES]).to_be_bytes());
            decoded.duplicate = session.repeats(&key);
            tell(reading, &mut memory, &mut session, &mut decoded.messages);
            // More than a padding block behind the report is something else.
            if let Some(surplus) = frame.body.get(report::BYTES + 8..).filter(|s| !s.is_empty()) {
                decoded.messages.push(Message::unknown("38 surplus", surplus));
            }
            let turned_away = matches!(context.admission, Admission::Refused | Admission::Busy);
            if turned_away || decoded.duplicate && session.ended {
                // It did not hear the end, or nothing else will be said to it.
                decoded.reply = encode::end(options, context, &memory, &session, frame.address);
            }
        }
        HEARTBEAT => heartbeat(&frame.body, &mut decoded.messages)?,
        // One is tolerated; nothing waits for it.
        END => decoded.messages.push(Message::unknown("answer 37", &frame.body)),
        COMMUNICATION..=CONSTRUCTION | KEY | VALVE | 0x3D => {
            let sent = session.take(frame.id);
            let number = sent.map_or(0, |sent| sent.number);
            let mut answer = answer(options, frame.id, &frame.body, sent)?;
            answer.correlation = correlation(frame.id, number);
            if let (COMMUNICATION, Some([bits, known @ ..]), Outcome::Done) =
                (frame.id, frame.body.first_chunk::<10>(), answer.outcome)
                && bits & 15 == settings::QUERY
                && sent.is_some()
            {
                memory.communication = Some(*known);
            }
            decoded.messages.push(answer.into());
        }
        id => decoded.messages.push(Message::unknown(format!("{id:02X}"), &frame.body)),
    }
    decoded.state = session.into_change(context);
    decoded.memory = memory.into_change(context, &address);
    Ok(decoded)
}

/// What names a command: its id, and a number that the station counts; frames carry none.
pub fn correlation(id: u8, number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![id, high, low]
}

/// A report as messages. Settings are told when they have changed.
fn tell(reading: Reading, memory: &mut Memory, session: &mut Session, messages: &mut Vec<Message>) {
    let Reading { mut report, others, firmware, total, gas_year, communication, settings, fingerprint, .. } = reading;
    session.total = total;
    memory.gas_year = gas_year.or(memory.gas_year);
    memory.communication = Some(communication);
    if memory.settings != fingerprint {
        memory.settings = fingerprint;
        messages.push(registration(firmware, &communication).into());
        report.registers.extend(settings);
    }
    messages.push(report.into());
    messages.extend(others);
}

fn registration(firmware: u8, communication: &[u8; 9]) -> Registration {
    let mut registration = Registration::new(DeviceKind::Meter);
    registration.manufacturer = "fengxian".into();
    registration.firmware = format!("{firmware:02x}");
    registration.capabilities = Capabilities::VALVE;
    let [start_h, start_m, _, _, interval @ .., timeout, _, _] = *communication;
    if let Some(minute) = settings::minute_of_day([start_h, start_m]) {
        registration.schedule = Some(Schedule {
            period: match u16::from_be_bytes(interval) {
                1440 => ReportPeriod::Daily,
                60 => ReportPeriod::Hourly,
                14_400 => ReportPeriod::Dekad,
                _ => ReportPeriod::Other,
            },
            minute_of_day: minute as u16,
            stagger_minutes: 0,
            awake_minutes: timeout.into(),
            heartbeat_minutes: 0,
        });
    }
    registration
}

fn heartbeat(body: &[u8], messages: &mut Vec<Message>) -> Result<(), FieldError> {
    let clock = Reader::at(body, 16).array("clock")?;
    messages.push(Heartbeat { clock: civil::from_bcd6(clock), valve: None }.into());
    words::odd_clock(clock, messages);
    Ok(())
}

/// An answer repeats the body of its request; what it does not repeat was not taken.
fn answer(options: &Options, id: u8, body: &[u8], sent: Option<Sent>) -> Result<Answer, FieldError> {
    let first = Reader::at(body, 16).u8("function bits or value")?;
    let mut answer = Answer::new(Vec::new(), Outcome::Done);
    if sent.is_some_and(|sent| sent.first != first) {
        (answer.outcome, answer.reason, answer.raw_code) = (Outcome::Failed, "vendor-error".into(), first.into());
    }
    match id {
        COMMUNICATION | FUNCTIONS => answer.body = AnswerBody::Parameters(settings::parse(id, body)?),
        // That the order was heard; the motor's result comes with the next report.
        VALVE | CONSTRUCTION => {
            let values = if id == VALVE { [options.open_value, options.close_value] } else { [CONSTRUCTION_OPEN; 2] };
            let known = values.contains(&first);
            if answer.outcome == Outcome::Done {
                answer.outcome = if known { Outcome::Accepted } else { Outcome::Other };
            }
        }
        BUSINESS => {
            let body = Reader::at(body, 16).take("balance, state and clock", 12)?;
            if first & 1 != 0 {
                let cents = i32::from_be_bytes([body[1], body[2], body[3], body[4]]);
                answer.body = AnswerBody::Balance(cents.into());
            } else if let (true, Some(packed)) = (first & 4 != 0, body[6..].first_chunk()) {
                answer.body = civil::from_bcd6(*packed).map_or(AnswerBody::None, AnswerBody::Clock);
            }
        }
        // The key itself is nobody's business.
        KEY => {
            let version = Reader::at(body, 16).take("key length and version", 2)?[1];
            let parameter =
                Parameter { name: "vendor-key-version".into(), value: ParameterValue::Integer(version.into()) };
            answer.body = AnswerBody::Parameters(vec![parameter]);
        }
        TOTAL => {
            // Only the next report confirms it.
            answer.body = AnswerBody::Raw(Reader::at(body, 16).take("total", 5)?.to_vec());
            if answer.outcome == Outcome::Done {
                answer.outcome = Outcome::Accepted;
            }
        }
        _ => {
            answer.outcome = Outcome::Other;
            answer.body = AnswerBody::Raw(body.to_vec());
        }
    }
    Ok(answer)
}
