//! A frame's way in: open it, read it, decide whether it may be said now, answer it (USP/1 §B, §D, §G).

use crate::frame::{Frame, Header, flags, message};
use crate::memory::Memory;
use crate::names::result;
use crate::profile::{Preferred, Profile};
use crate::security::{Keys, Suite};
use crate::session::Session;
use crate::uplink::registration::{self, Facts};
use crate::{downlink, uplink};
use polymeter_sdk::bytes::FieldError;
use polymeter_sdk::keys::KeyError;
use polymeter_sdk::{Admission, AnswerBody, Context, Decoded, Direction, Fault, Message, Outcome, Sender, civil};
use std::borrow::Cow;

/// The numbered story of a frame.
pub fn decode(profile: Profile, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    // 1. The envelope, and who speaks.
    let frame = Frame::parse(bytes)?;
    let header = &frame.header;
    let sender = Sender { address: header.address_text()?, kind: header.terminal.kind() };
    let is_answer = match (context.direction, header.flags) {
        (Direction::Uplink, flags::REPORT | flags::REPORT_PART) => false,
        (Direction::Uplink, flags::ANSWER | flags::ANSWER_PART) => true,
        (Direction::Downlink, flags::COMMAND | flags::REPLY | flags::FAREWELL) => {
            return Ok(from_station(&frame, sender));
        }
        _ => {
            return Err(Fault::corrupt(format!(
                "flags {:02x} are not those of a frame in this direction",
                header.flags
            )));
        }
    };
    // 2. What is known of it.
    let (memory_bytes, state_bytes) = (context.device.as_ref().map_or(&[][..], |d| &d.memory), &context.state);
    let mut memory = Memory::read(memory_bytes)?;
    let mut session = Session::read(state_bytes)?;
    // 3. A repetition is answered as before, and says nothing new.
    if let Some(reply) = session.repeated(header, frame.crc) {
        let reply = (!reply.is_empty()).then(|| reply.to_vec());
        return Ok(Decoded { sender: Some(sender), reply, duplicate: true, ..Decoded::empty() });
    }
    // 4. Open it: the tag, the counter, and whether plain is good enough.
    let opened = open(profile, context, &mut memory, &frame, &sender.address, is_answer)?;
    memory.terminal = header.terminal as u8;
    // 5. What it means, and what to say to it.
    let mut decoded = Decoded { sender: Some(sender), ..Decoded::empty() };
    if is_answer {
        decoded.messages = answer(&frame, &opened.body, &mut memory)?;
    } else {
        let (messages, result) = report(profile, context, &frame, &opened, &mut memory, &mut session)?;
        decoded.messages = messages;
        decoded.reply = Some(reply(context, header, opened.keys.as_ref(), &mut memory, result)?);
    }
    // 6. Remember: nothing is remembered of a first look.
    if context.admission != Admission::Undecided {
        session.remember(header, frame.crc, decoded.reply.as_deref().unwrap_or_default());
        decoded.state = Some(session.bytes());
        let memory = memory.bytes();
        decoded.memory = (memory != memory_bytes).then_some(memory);
    }
    Ok(decoded)
}

/// A plain body, and the keys that opened it.
struct Opened<'a> {
    body: Cow<'a, [u8]>,
    keys: Option<Keys>,
}

fn open<'a>(
    profile: Profile,
    context: &Context,
    memory: &mut Memory,
    frame: &Frame<'a>,
    address: &str,
    is_answer: bool,
) -> Result<Opened<'a>, Fault> {
    let refuse = |detail: &str| {
        let fault = Fault::not_authentic(detail);
        if is_answer { fault } else { fault.with_reply(plain_reply(context, &frame.header, result::SECURITY)) }
    };
    let Some(suite) = Suite::from_byte(frame.header.security)? else {
        // A plain answer to a secured command is believed only when it says that security failed.
        if is_answer && memory.suite().is_some() && frame.body.first() != Some(&result::SECURITY) {
            return Err(refuse("a plain answer of a terminal that has a key"));
        }
        if !is_answer && memory.secures && !profile.plain_reports {
            return Err(refuse("a plain report of a terminal that secured its reports before"));
        }
        return Ok(Opened { body: Cow::Borrowed(frame.body), keys: None });
    };
    let unsealed = Keys::open(address, suite).and_then(|keys| keys.unseal(frame).map(|unsealed| (keys, unsealed)));
    let (keys, (nonce, body)) = unsealed.map_err(|error| {
        refuse(match error {
            KeyError::NotAuthentic | KeyError::BadLength => "the tag does not match",
            KeyError::Absent => "no key of this version for this terminal",
            KeyError::Denied => "the terminal is not assigned to this adapter",
        })
    })?;
    if !memory.accept(suite, nonce) {
        return Err(refuse("the nonce was used before"));
    }
    memory.secures |= !is_answer;
    memory.used_key(suite);
    Ok(Opened { body: Cow::Owned(body), keys: Some(keys) })
}

/// A report's messages and the result code it deserves. Whatever the code, what it says is kept.
fn report(
    profile: Profile,
    context: &Context,
    frame: &Frame<'_>,
    opened: &Opened<'_>,
    memory: &mut Memory,
    session: &mut Session<'_>,
) -> Result<(Vec<Message>, u8), Fault> {
    let header = &frame.header;
    // A malformed body is refused in plain words; a sealed refusal would cost a nonce that nobody could remember.
    let malformed = |error: FieldError| match opened.keys {
        Some(_) => Fault::from(error),
        None => Fault::from(error).with_reply(plain_reply(context, header, result::MALFORMED)),
    };
    let messages = if header.message == message::REGISTRATION {
        let (messages, facts) = registration::read(header, &opened.body).map_err(malformed)?;
        register(profile, memory, session, facts);
        messages
    } else {
        let Some(messages) = uplink::read(header, &opened.body).map_err(malformed)? else {
            let unknown = Message::unknown(format!("message {:04x}", header.message), &opened.body);
            return Ok((vec![unknown], result::UNKNOWN_MESSAGE));
        };
        messages
    };
    let more = header.flags & flags::MORE != 0;
    let in_order = match header.message {
        message::REGISTRATION => true,
        _ if !session.registered => false,
        message::HEARTBEAT => session.always_online,
        message::DAILY | message::HISTORY => session.admit_report(header.message, more),
        _ => true,
    };
    let code = match context.admission {
        Admission::Refused => result::NOT_ALLOWED,
        Admission::Busy => result::BUSY,
        _ if !in_order => result::NOT_ALLOWED,
        Admission::Undecided | Admission::Welcome | Admission::Held => result::OK,
    };
    Ok((messages, code))
}

/// The session starts anew, and the key version is the one the terminal names.
fn register(profile: Profile, memory: &mut Memory, session: &mut Session<'_>, facts: Facts) {
    session.restart(facts.always_online);
    if facts.key_version != memory.key_version {
        let algorithm = if facts.key_version == memory.pending_key.0 { memory.pending_key.1 } else { 0 };
        memory.adopt_key(facts.key_version, algorithm);
    }
    if memory.algorithm == 0 {
        memory.algorithm = match (facts.aes128, facts.sm4, profile.cipher) {
            (true, false, _) | (true, true, Preferred::Aes128) => 1,
            (false, true, _) | (true, true, Preferred::Sm4) => 2,
            (false, false, _) => 0,
        };
    }
}

fn answer(frame: &Frame<'_>, body: &[u8], memory: &mut Memory) -> Result<Vec<Message>, Fault> {
    let mut messages = downlink::answer(&frame.header, body)?;
    if frame.header.message == message::SET_KEY
        && let Some(Message::Answer(answer)) = messages.first_mut()
        && answer.outcome == Outcome::Done
    {
        let (version, algorithm, check) = std::mem::take(&mut memory.pending_key);
        let proven = matches!(&answer.body, AnswerBody::Raw(found) if *found == check) && version > 0;
        if proven {
            memory.adopt_key(version, algorithm);
            answer.body = AnswerBody::None;
        } else {
            answer.outcome = Outcome::Failed;
            answer.reason = "security-failure".into();
        }
    }
    Ok(messages)
}

/// Result u8, T6 station clock, pending u8; secured as the report was.
fn reply(
    context: &Context,
    to: &Header,
    keys: Option<&Keys>,
    memory: &mut Memory,
    result: u8,
) -> Result<Vec<u8>, Fault> {
    match keys {
        None => Ok(plain_reply(context, to, result)),
        Some(keys) => {
            let header = Header { flags: flags::REPLY, security: keys.suite.byte(), ..*to };
            Ok(header.frame(&keys.seal(&header, memory.next_nonce()?, &reply_body(context, result))?))
        }
    }
}

fn plain_reply(context: &Context, to: &Header, result: u8) -> Vec<u8> {
    Header { flags: flags::REPLY, security: 0, ..*to }.frame(&reply_body(context, result))
}

fn reply_body(context: &Context, result: u8) -> [u8; 8] {
    let [year, month, day, hour, minute, second] = civil::to_bcd6(context.now).unwrap_or_default();
    let pending = u8::try_from(context.pending).unwrap_or(u8::MAX);
    [result, year, month, day, hour, minute, second, pending]
}

/// The station's own frame, seen on its way down: named and kept.
fn from_station(frame: &Frame<'_>, sender: Sender) -> Decoded {
    let what = format!("station frame {:04x}", frame.header.message);
    Decoded { sender: Some(sender), messages: vec![Message::unknown(what, frame.body)], ..Decoded::empty() }
}
