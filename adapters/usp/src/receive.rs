//! A frame's way in: read it, decide whether it may be said now, answer it (USP/1 §B, §G). Whether it is believed at all is
//! decided in `opening`.

use crate::frame::{Frame, flags, message};
use crate::memory::Memory;
use crate::names::result;
use crate::opening::{Known, Opened, Opening};
use crate::profile::{Preferred, Profile};
use crate::reply::Station;
use crate::session::Session;
use crate::uplink::registration::{self, Facts};
use crate::{downlink, uplink};
use polymeter_sdk::bytes::FieldError;
use polymeter_sdk::{Admission, AnswerBody, Context, Decoded, Direction, Fault, Message, Outcome, Sender, log};

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
    let known = Known::of(context);
    let mut memory = known.memory;
    let mut session = Session::read(&context.state)?;
    // 3. A repetition is answered as before, and says nothing new.
    if let Some(reply) = session.repeated(header, frame.crc) {
        let reply = (!reply.is_empty()).then(|| reply.to_vec());
        return Ok(Decoded { sender: Some(sender), reply, duplicate: true, ..Decoded::empty() });
    }
    // 4. What every reply will say.
    let station = if is_answer { None } else { Some(Station::of(context)?) };
    // 5. Open it: the tag, the counter, and whether plain is good enough.
    let open = Opening { profile, frame: &frame, address: &sender.address, station: station.as_ref(), known: &known };
    let opened = open.open(&mut memory)?;
    memory.terminal = header.terminal as u8;
    // 6. What it means, and what to say to it.
    let mut decoded = Decoded { duplicate: opened.again, ..Decoded::empty() };
    match &station {
        None if opened.again => {}
        None => decoded.messages = answer(&frame, &opened.body, &mut memory)?,
        Some(station) => {
            let code = if opened.again {
                again(&frame, &opened, &mut session);
                turned_away(context).unwrap_or(result::OK)
            } else {
                let (messages, code) = report(&open, context, &opened, &mut memory, &mut session)?;
                decoded.messages = messages;
                code
            };
            decoded.reply = Some(station.reply(header, opened.keys.as_ref(), &mut memory, code)?);
        }
    }
    decoded.sender = Some(sender);
    // 7. Remember: nothing is remembered of a first look, and what the station turns away has not been accepted.
    if context.admission != Admission::Undecided {
        session.remember(header, frame.crc, decoded.reply.as_deref().unwrap_or_default());
        decoded.state = Some(session.bytes());
        if context.admission == Admission::Refused {
            let nonce = memory.nonce;
            memory = known.memory;
            memory.nonce = nonce;
        }
        let memory = memory.bytes();
        decoded.memory = (memory != known.bytes).then_some(memory);
    }
    Ok(decoded)
}

/// A report that an earlier session has accepted. It is not applied again, but a registration does begin this session.
fn again<'a>(frame: &Frame<'a>, opened: &Opened<'a>, session: &mut Session<'_>) {
    if frame.header.message == message::REGISTRATION
        && let Ok((_, facts)) = registration::read(&frame.header, &opened.body)
    {
        session.restart(facts.always_online);
    }
}

/// A report's messages and the result code it deserves. Whatever the code, what it says is kept.
fn report(
    open: &Opening<'_, '_>,
    context: &Context,
    opened: &Opened<'_>,
    memory: &mut Memory,
    session: &mut Session<'_>,
) -> Result<(Vec<Message>, u8), Fault> {
    let header = &open.frame.header;
    // A malformed body is refused in plain words; a sealed refusal would cost a nonce that nobody could remember.
    let malformed = |error: FieldError| match (&opened.keys, open.station) {
        (None, Some(station)) => Fault::from(error).with_reply(station.plain_reply(header, result::MALFORMED)),
        _ => Fault::from(error),
    };
    let sealed = opened.keys.is_some();
    let (messages, facts) = if header.message == message::REGISTRATION {
        let (messages, facts) = registration::read(header, &opened.body).map_err(malformed)?;
        (messages, Some(facts))
    } else {
        let Some(messages) = uplink::read(header, &opened.body).map_err(malformed)? else {
            let unknown = Message::unknown(format!("message {:04x}", header.message), &opened.body);
            return Ok((vec![unknown], result::UNKNOWN_MESSAGE));
        };
        (messages, None)
    };
    if open.known.lost && sealed {
        open.check_fresh(&messages, context.now)?;
    }
    if let Some(facts) = facts {
        session.restart(facts.always_online);
        learn_key(open.profile, memory, facts, sealed);
    }
    let more = header.flags & flags::MORE != 0;
    let in_order = match header.message {
        message::REGISTRATION => true,
        _ if !session.registered => false,
        message::HEARTBEAT => session.always_online,
        message::DAILY | message::HISTORY => {
            session.admit_report(header.message, more, || uplink::newest_day(header, &opened.body))
        }
        _ => true,
    };
    let ordinary = if in_order { result::OK } else { result::NOT_ALLOWED };
    Ok((messages, turned_away(context).unwrap_or(ordinary)))
}

/// What to say to a terminal that has no business here, or not now.
fn turned_away(context: &Context) -> Option<u8> {
    match context.admission {
        Admission::Refused => Some(result::NOT_ALLOWED),
        Admission::Busy => Some(result::BUSY),
        Admission::Undecided | Admission::Welcome | Admission::Held => None,
    }
}

/// What a registration tells of the key in force, and of the ciphers that the terminal has.
fn learn_key(profile: Profile, memory: &mut Memory, facts: Facts, sealed: bool) {
    let (version, algorithm, _) = memory.pending_key;
    if sealed {
        // Under seal even the former key may vouch for the next one; the tag has told all the rest.
        if version > 0 && facts.key_version == version {
            memory.adopt_key(version, algorithm);
        }
    } else if !memory.claim_key(facts.key_version) {
        log::warn(&format!(
            "a plain registration names key version {}; version {} stays in force",
            facts.key_version, memory.key_version
        ));
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
    let mut messages = downlink::answer(&frame.header, body, memory)?;
    memory.archive_order.take_if(|(sequence, _)| *sequence == frame.header.sequence);
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

/// The station's own frame, seen on its way down: named and kept.
fn from_station(frame: &Frame<'_>, sender: Sender) -> Decoded {
    let what = format!("station frame {:04x}", frame.header.message);
    Decoded { sender: Some(sender), messages: vec![Message::unknown(what, frame.body)], ..Decoded::empty() }
}
