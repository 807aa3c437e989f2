//! From a frame to messages, and the acknowledgement of a report.

use crate::cipher::{self, PlacedKey};
use crate::corrector::CorrectorReading;
use crate::frame::{self, Frame, Header, Way};
use crate::memory::Memory;
use crate::options::{AnswerMatch, DataLength, HasMore, Options};
use crate::reading::Reading;
use crate::session::{ReportKey, Session};
use crate::{alarms, answer, code, corrector, identity, reading};
use polymeter_sdk::bytes::FieldError;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{
    Admission, Capabilities, Context, Decoded, DeviceKind, Direction, Event, Fault, Message, Registration, ValveState,
    civil, log,
};
use std::borrow::Cow;

/// One frame: its header, its body in clear, and the key that opened it.
struct Opened<'a> {
    frame: Frame<'a>,
    body: Cow<'a, [u8]>,
    key: Option<PlacedKey>,
}

pub fn decode(options: &Options, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    let frame = Frame::parse(bytes, options.crc_order)?;
    let header = &frame.header;
    let said = frame::said_length(bytes);
    if said != bytes.len() {
        log::debug(&format!("frameLength is {said}, but the frame has {} bytes", bytes.len()));
    }
    check_direction(context, header)?;
    let address = header.address();
    let mut memory = Memory::of(context, address);
    let opened = open(options, &mut memory, frame)?;
    let mut decoded = Decoded::new(address, DeviceKind::Meter, Vec::with_capacity(2));
    if header.way == Way::Downlink {
        let what = format!("downlink {:04X}", header.command);
        decoded.messages.push(Message::unknown(what, &opened.body));
        return Ok(decoded);
    }
    let mut session = Session::of(context);
    session.hear_version(header.version);
    note_crc_order(&opened, &mut memory, &mut decoded.messages);
    match header.command {
        code::REPORT | code::PACKED => {
            let key = report(options, &opened, &mut memory, &mut decoded.messages)?;
            decoded.duplicate = session.repeats(&key);
            decoded.reply = acknowledge(options, context, &opened)?;
        }
        code::CORRECTOR_REPORT => {
            let key = corrector_report(options, &opened, &mut memory, &mut decoded.messages)?;
            decoded.duplicate = session.repeats(&key);
            decoded.reply = acknowledge(options, context, &opened)?;
        }
        command if code::is_answered(command) => {
            answered(options, &opened, &mut session, &mut memory, &mut decoded.messages)?;
        }
        // How 10E2 and codes that nobody has written down are acknowledged is not known; silence harms nothing.
        command => decoded.messages.push(Message::unknown(format!("{command:04X}"), &opened.body)),
    }
    decoded.state = session.into_state();
    decoded.memory = memory.into_change(context, address);
    Ok(decoded)
}

/// Byte 52 alone tells who speaks; respFlag does not.
fn check_direction(context: &Context, header: &Header) -> Result<(), Fault> {
    match (context.direction, header.way) {
        (Direction::Uplink, Way::Downlink) => Err(Fault::corrupt("direction at byte 52: 0, a frame of a platform")),
        (Direction::Downlink, Way::Uplink) => Err(Fault::corrupt("direction at byte 52: 1, a frame of a meter")),
        _ => Ok(()),
    }
}

fn open<'a>(options: &Options, memory: &mut Memory, frame: Frame<'a>) -> Result<Opened<'a>, Fault> {
    let header = &frame.header;
    if !options.is_encrypted(&header.meter_id) {
        return Ok(Opened { frame, body: Cow::Borrowed(frame.body), key: None });
    }
    let (body, key) = cipher::open(options, memory, &header.meter_id, header.command, frame.body)?;
    memory.speaks(&key.place);
    Ok(Opened { frame, body: Cow::Owned(body), key: Some(key) })
}

/// A device whose sums come in the other order is told of once; it is remembered.
fn note_crc_order(opened: &Opened, memory: &mut Memory, messages: &mut Vec<Message>) {
    let Frame { header, order, .. } = &opened.frame;
    let swapped = *order != header.way.crc_order();
    let known = memory.swapped(swapped);
    if swapped && !known {
        messages.push(Event::new("vendor-crc-order", None, u32::from(header.command)).into());
    }
}

/// 7021 and 7022.
fn report(
    options: &Options,
    opened: &Opened,
    memory: &mut Memory,
    messages: &mut Vec<Message>,
) -> Result<ReportKey, FieldError> {
    let (header, body) = (&opened.frame.header, &*opened.body);
    let (parsed, known) = if header.command == code::REPORT {
        (reading::single(body, options)?, reading::SINGLE_BYTES)
    } else {
        (reading::packed(body, options)?, reading::PACKED_BYTES)
    };
    let Reading { mut report, read_time, meter_type, firmware, alarm_bits, prepaid, odd } = parsed;
    if memory.identify(identity::of(header, meter_type, &firmware)) {
        let mut registration = registration(opened, prepaid, report.valve.as_ref().map(|v| v.state));
        registration.model = reading::type_name(meter_type).into();
        registration.firmware = reading::firmware_text(firmware);
        messages.push(registration.into());
    }
    let at = report.at;
    report.more_follows = header.has_more && options.has_more == HasMore::Trust;
    messages.push(report.into());
    let before = memory.occurred(alarms::occurrence_bits(alarm_bits));
    messages.extend(alarms::occurrences(alarm_bits, before, at));
    messages.extend(odd);
    keep_surplus(header.command, body.get(known..), messages);
    Ok(ReportKey { command: header.command, frame_id: header.frame_id, read_time, content: crc16_modbus(body) })
}

/// 10E1.
fn corrector_report(
    options: &Options,
    opened: &Opened,
    memory: &mut Memory,
    messages: &mut Vec<Message>,
) -> Result<ReportKey, FieldError> {
    let (header, body) = (&opened.frame.header, &*opened.body);
    let CorrectorReading { mut report, read_time, meter_type, hardware, firmware, prepaid, odd } =
        corrector::report(body, options)?;
    if memory.identify(identity::of(header, meter_type, &[hardware.as_bytes(), firmware.as_bytes()].concat())) {
        let mut registration = registration(opened, prepaid, report.valve.as_ref().map(|v| v.state));
        registration.capabilities = registration.capabilities | Capabilities::CORRECTOR;
        registration.model = corrector::type_name(meter_type).into();
        registration.hardware = hardware;
        registration.firmware = firmware;
        messages.push(registration.into());
    }
    report.more_follows = header.has_more && options.has_more == HasMore::Trust;
    messages.push(report.into());
    messages.extend(odd);
    keep_surplus(header.command, body.get(corrector::REPORT_BYTES..), messages);
    Ok(ReportKey { command: header.command, frame_id: header.frame_id, read_time, content: crc16_modbus(body) })
}

/// An answer to a command, and what follows from it for keys and account.
fn answered(
    options: &Options,
    opened: &Opened,
    session: &mut Session,
    memory: &mut Memory,
    messages: &mut Vec<Message>,
) -> Result<(), FieldError> {
    let header = &opened.frame.header;
    let (sent, sent_id) = session.sent();
    let frame_id = match options.answer_match {
        AnswerMatch::Command if sent == header.command => sent_id,
        _ => header.frame_id,
    };
    let answered = answer::parse(header.command, correlation(header.command, frame_id), &opened.body, options)?;
    // What is learned from an answer is learned from the first to the command in hand. A late repetition of an older one would
    // put back a total that a recharge has made stale, and the next 7025 would write it into the meter.
    if (sent, sent_id) == (header.command, frame_id) {
        session.close_command();
        if header.command == code::SET_KEY {
            // The answer still came under the old key; every later frame uses the new one.
            memory.settle_key(answered.answer.raw_code == 0);
        }
        if answered.purchased.is_some() {
            memory.note_purchased(answered.purchased);
        }
    }
    messages.push(answered.answer.into());
    keep_surplus(header.command, Some(answered.surplus), messages);
    Ok(())
}

/// What names a command in the meter's answer: its frameId and its code.
pub fn correlation(command: u16, frame_id: i32) -> Vec<u8> {
    [&frame_id.to_le_bytes()[..], &command.to_le_bytes()].concat()
}

/// The answer to a report: code and the station's clock, which the meter takes over. hasMore tells it that a command follows.
///
/// ```text
/// 0 code i16 | 2 clock BCD6 | 8 0000
/// ```
fn acknowledge(options: &Options, context: &Context, opened: &Opened) -> Result<Option<Vec<u8>>, Fault> {
    let Some(clock) = civil::to_bcd6(context.now) else {
        log::warn(
            "the station's clock is outside 2000..2099: reports are not acknowledged, to keep the meters' clocks",
        );
        return Ok(None);
    };
    let turned_away = matches!(context.admission, Admission::Refused | Admission::Busy);
    let mut body = [0; 10];
    body[..2].copy_from_slice(&if turned_away { options.refusal_code } else { 0 }.to_le_bytes());
    body[2..8].copy_from_slice(&clock);
    let header = Header {
        has_more: context.pending > 0 && !turned_away,
        iccid: frame::NO_ICCID,
        way: Way::Downlink,
        resp_flag: 1,
        ..opened.frame.header
    };
    seal(options, header, &body, opened.key.as_ref()).map(Some)
}

/// A frame with its body encrypted where there is a key.
pub fn seal(options: &Options, header: Header, body: &[u8], key: Option<&PlacedKey>) -> Result<Vec<u8>, Fault> {
    match key {
        None => Ok(frame::build(&Header { encryption: 0, data_length: body.len() as u16, ..header }, body)),
        Some(key) => {
            let sealed = key.seal(body, options.padding)?;
            Ok(frame::build(&sealed_header(options, header, body.len(), sealed.len()), &sealed))
        }
    }
}

/// The header of an encrypted body.
pub fn sealed_header(options: &Options, header: Header, plain: usize, sealed: usize) -> Header {
    let data_length = match options.data_length {
        DataLength::Ciphertext => sealed,
        DataLength::Plaintext => plain,
    };
    Header { encryption: options.encryption_field, data_length: data_length as u16, ..header }
}

fn registration(opened: &Opened, prepaid: bool, valve: Option<ValveState>) -> Registration {
    let header = &opened.frame.header;
    let mut registration = Registration::new(DeviceKind::Meter);
    registration.manufacturer = identity::manufacturer(&header.meter_id).into();
    registration.iccid = identity::iccid_text(&header.iccid).into();
    let has_valve = valve.is_some_and(|state| state != ValveState::Absent);
    for (has, capability) in [
        (has_valve, Capabilities::VALVE),
        (prepaid, Capabilities::PREPAID),
        (opened.key.is_some(), Capabilities::AES128),
    ] {
        if has {
            registration.capabilities = registration.capabilities | capability;
        }
    }
    registration
}

fn keep_surplus(command: u16, surplus: Option<&[u8]>, messages: &mut Vec<Message>) {
    if let Some(surplus) = surplus.filter(|bytes| !bytes.is_empty()) {
        messages.push(Message::unknown(format!("{command:04X} surplus"), surplus));
    }
}
