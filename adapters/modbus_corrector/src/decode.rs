//! From a frame to messages: what the DTU says of itself, and answers with the request that follows each.

use crate::clock::{self, Told};
use crate::encode::scope_of;
use crate::frame::{Answer as Frame, Body};
use crate::map::Place;
use crate::options::{Identity, Profile};
use crate::packet::{Look, Packet};
use crate::session::{Session, Task};
use crate::{archive, report, settings};
use polymeter_sdk::{
    Admission, Answer, AnswerBody, Capabilities, Context, Decoded, DeviceKind, Direction, Fault, Heartbeat, Message,
    Outcome, Registration, Report, ReportCause, ReportPeriod, Schedule, Sender, Transport,
};

/// A clock runs on between writing and reading back.
const CLOCK_TOLERANCE_S: u64 = 60;

pub fn decode(profile: &Profile, context: &Context, bytes: &[u8]) -> Result<Decoded, Fault> {
    if context.direction == Direction::Downlink {
        return Ok(Decoded { messages: vec![Message::unknown("request", bytes)], ..Decoded::empty() });
    }
    if context.transport != Transport::Relay {
        let whole = |p: &Packet| p.look(bytes) == Look::Whole(bytes.len());
        if let Some(packet) = profile.registration.as_ref().filter(|p| whole(p)) {
            return registered(profile, context, packet, bytes);
        }
        if let Some(packet) = profile.heartbeat.as_ref().filter(|p| whole(p)) {
            return alive(profile, context, packet, bytes);
        }
    }
    let header = |at: usize| bytes.get(at).copied();
    let frame = Frame::parse(bytes).map_err(|fault| match header(0) {
        Some(bus) if !profile.asks(bus, header(1), header(2)) => Fault::not_mine(fault.detail),
        _ => fault,
    })?;
    let mut decoded = Decoded { sender: sender(profile, context, None), ..Decoded::empty() };
    let mut session = Session::of(context);
    announce(profile, context, &mut session, &mut decoded);
    if session.task == Task::None || session.queue.is_empty() {
        // Late, or not asked for by this session: kept, and taken for nothing.
        decoded.messages.push(Message::unknown("answer to no request", bytes));
        decoded.state = Some(session.to_state());
        return Ok(decoded);
    }
    let raw_code = exception(&frame);
    session.take(&frame)?;
    if let Some(code) = raw_code {
        decoded.messages.extend(refused(profile, &session, code));
        session.end();
    } else if session.task == Task::Archive {
        let told = profile.map.archive.as_ref().map(|a| archive::tell(a, &mut session));
        decoded.messages.extend(told.unwrap_or_default());
    } else if session.queue.is_empty() {
        decoded.messages.extend(finished(profile, &session));
    }
    let next = session.frame().filter(|_| context.admission == Admission::Welcome);
    if next.is_none() {
        session.end();
    }
    decoded.reply = next;
    decoded.state = Some(session.to_state());
    Ok(decoded)
}

fn exception(frame: &Frame<'_>) -> Option<u8> {
    if let Body::Exception(code) = frame.body { Some(code) } else { None }
}

/// Whose words these are: as they say, as the station knows, or as the profile fixes it.
fn sender(profile: &Profile, context: &Context, said: Option<String>) -> Option<Sender> {
    let known = || context.device.as_ref().map(|d| d.address.clone());
    let fixed = || Some(profile.address.clone()).filter(|a| !a.is_empty());
    let address = said.or_else(known).or_else(fixed)?;
    let kind = if context.transport == Transport::Relay { DeviceKind::Meter } else { DeviceKind::Dtu };
    Some(Sender { address, kind })
}

/// A device that does not register by itself is announced with the first thing it says: behind a carrier once for all, on a
/// connection of its own once a session, because that is what keeps the connection.
fn announce(profile: &Profile, context: &Context, session: &mut Session, decoded: &mut Decoded) {
    let known = match context.transport {
        Transport::Relay => context.device.as_ref().is_some_and(|d| !d.memory.is_empty()),
        _ => session.met || profile.registration.is_some(),
    };
    if known || decoded.sender.is_none() {
        return;
    }
    session.met = true;
    if context.transport == Transport::Relay {
        decoded.memory = Some(vec![1]);
    }
    decoded.messages.push(registration(profile, context, "").into());
}

fn registration(profile: &Profile, context: &Context, address: &str) -> Registration {
    let relayed = context.transport == Transport::Relay;
    let mut registration = Registration::new(if relayed { DeviceKind::Meter } else { DeviceKind::Dtu });
    registration.manufacturer.clone_from(&profile.manufacturer);
    registration.model.clone_from(&profile.model);
    let valve = if profile.map.valve.is_some() { Capabilities::VALVE } else { Capabilities::empty() };
    registration.capabilities = Capabilities::CORRECTOR | valve;
    if relayed {
        return registration;
    }
    // The line stays open and the station asks when it likes: that is what "always online" means to it.
    registration.capabilities = registration.capabilities | Capabilities::ALWAYS_ONLINE | Capabilities::DTU;
    registration.schedule = Some(Schedule {
        period: ReportPeriod::Other,
        minute_of_day: 0,
        stagger_minutes: 0,
        awake_minutes: 0,
        heartbeat_minutes: profile.heartbeat_minutes,
    });
    if profile.identity == Identity::Imei {
        address.clone_into(&mut registration.imei);
    }
    registration
}

fn registered(profile: &Profile, context: &Context, packet: &Packet, bytes: &[u8]) -> Result<Decoded, Fault> {
    let address = packet.address(bytes)?;
    let shown = address.clone().unwrap_or_default();
    let mut decoded = Decoded { sender: sender(profile, context, address), ..Decoded::empty() };
    if decoded.sender.is_none() {
        return Err(Fault::corrupt("the registration packet carries no address, and the profile has none either"));
    }
    // A new connection of the device: nothing asked before is answered any more.
    let mut session = Session::of(context);
    session.end();
    session.met = true;
    decoded.state = Some(session.to_state());
    decoded.messages.push(registration(profile, context, &shown).into());
    decoded.reply = reply(packet, context);
    Ok(decoded)
}

fn alive(profile: &Profile, context: &Context, packet: &Packet, bytes: &[u8]) -> Result<Decoded, Fault> {
    let address = packet.address(bytes)?;
    let mut decoded = Decoded { sender: sender(profile, context, address), ..Decoded::empty() };
    let mut session = Session::of(context);
    announce(profile, context, &mut session, &mut decoded);
    if session.met && !decoded.messages.is_empty() {
        decoded.state = Some(session.to_state());
    }
    decoded.messages.push(Heartbeat { clock: None, valve: None }.into());
    decoded.reply = reply(packet, context);
    Ok(decoded)
}

fn reply(packet: &Packet, context: &Context) -> Option<Vec<u8>> {
    packet.reply.clone().filter(|_| context.admission != Admission::Refused)
}

/// All requests of a command are answered.
fn finished(profile: &Profile, session: &Session) -> Vec<Message> {
    let mut answer = Answer::new(session.correlation(), Outcome::Done);
    let (map, image) = (&profile.map, &session.image);
    let mut kept = Vec::new();
    match session.task {
        Task::ReadCurrent | Task::ReadAccount => {
            let built = report::build(map, image, scope_of(session.task));
            answer.body = AnswerBody::Report(built.report);
            kept = built.kept;
        }
        Task::ReadValve => answer.body = AnswerBody::Report(report::status(map, image)),
        // The motor may still run; a later read decides.
        Task::Valve => {
            answer.outcome = Outcome::Accepted;
            if let Some(valve) = report::status(map, image).valve {
                answer.body = AnswerBody::Valve(valve);
            }
        }
        Task::ReadParameters => answer.body = AnswerBody::Parameters(settings::told(profile, image)),
        Task::SetParameters => {
            answer.body = AnswerBody::Parameters(settings::told(profile, image));
            if settings::differing(profile, image).is_some() {
                (answer.outcome, answer.reason) = (Outcome::Failed, "bad-parameter".into());
            }
        }
        Task::SetClock => clock_set(profile, session, &mut answer),
        Task::None | Task::Archive => {}
    }
    let mut messages = vec![answer.into()];
    messages.extend(kept);
    messages
}

fn clock_set(profile: &Profile, session: &Session, answer: &mut Answer) {
    let Some(mapped) = &profile.map.clock else { return };
    let read = |function| session.image.get(Place { function, ..mapped.place }).map(|wire| clock::read(mapped, wire));
    if let (Some(Told::Is(to)), Some(Told::Is(now))) = (read(crate::frame::WRITE_MANY), read(mapped.place.function)) {
        answer.body = AnswerBody::Clock(now);
        if now.abs_diff(to) <= CLOCK_TOLERANCE_S {
            return;
        }
    }
    (answer.outcome, answer.reason) = (Outcome::Failed, "bad-parameter".into());
}

/// The device refuses a request: the command ends, with what was read before.
fn refused(profile: &Profile, session: &Session, code: u8) -> Vec<Message> {
    let (outcome, reason) = match code {
        1 => (Outcome::Unsupported, "unsupported"),
        2 | 3 => (Outcome::Refused, "bad-parameter"),
        4 | 8 => (Outcome::Failed, "vendor-error"),
        // It has begun and takes its time; what became of it shows in a later read.
        5 => (Outcome::Accepted, ""),
        6 => (Outcome::Busy, "busy"),
        7 => (Outcome::Refused, "not-allowed"),
        10 | 11 => (Outcome::NoAnswerBehind, "no-answer-behind"),
        _ => (Outcome::Failed, "other"),
    };
    let mut answer = Answer::new(session.correlation(), outcome);
    (answer.reason, answer.raw_code) = (reason.into(), u32::from(code));
    let mut kept = Vec::new();
    match session.task {
        Task::ReadCurrent | Task::ReadAccount if !session.image.bytes.is_empty() => {
            let built = report::build(&profile.map, &session.image, scope_of(session.task));
            let empty = Report::new(ReportCause::OnDemand);
            if (&built.report.registers, &built.report.alarms) != (&empty.registers, &empty.alarms) {
                answer.body = AnswerBody::Report(built.report);
            }
            kept = built.kept;
        }
        Task::ReadParameters | Task::SetParameters => {
            let told = settings::told(profile, &session.image);
            if !told.is_empty() {
                answer.body = AnswerBody::Parameters(told);
            }
        }
        _ => {}
    }
    let mut messages = vec![answer.into()];
    messages.extend(kept);
    messages
}
