//! One frame: who sent it, what it says, and what the master says next.

use crate::failure;
use crate::fixed::{self, Fixed};
use crate::identity::{Identity, letters, medium};
use crate::layers::{self, Telegram, ci};
use crate::link::{self, Wired, control};
use crate::options::{Link, Options, RadioCrc};
use crate::radio::{self, Radio};
use crate::report;
use crate::session::{Awaited, Memory, Session, Task};
use polymeter_sdk::{
    Admission, Answer, AnswerBody, Capabilities, Context, Decoded, DeviceKind, Fault, FaultKind, Heartbeat, Message,
    Outcome, Quantity, Register, Registration, Report, ReportCause, Sender, Unit,
};

pub fn decode(options: &Options, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
    let wired =
        if options.link == Link::Wireless { Err(Fault::not_mine("no radio frame")) } else { link::parse(frame) };
    match wired {
        Ok(Wired::Ack) => Ok(acknowledged(context, frame)),
        Ok(Wired::Short { .. }) => Ok(unknown("short-frame", frame)),
        Ok(Wired::Long { control, address, .. }) if control::is_response(control) => {
            let body = frame.get(6..frame.len() - 2).unwrap_or_default();
            Exchange::wired(options, context, address).hear(body)
        }
        Ok(Wired::Long { control, .. }) if control::is_request(control) => Ok(unknown("request-of-a-master", frame)),
        Ok(Wired::Long { control, .. }) => Err(Fault::corrupt(format!("control byte {control:02x} is no answer's"))),
        Err(fault) if options.link == Link::Wired => Err(fault),
        Err(fault) => {
            let radio = match options.radio_crc {
                RadioCrc::Present => radio::parse(frame),
                RadioCrc::Stripped => radio::parse_stripped(frame),
            };
            match radio {
                Ok(radio) => Exchange::radio(options, context, &radio).hear(&radio.body),
                // What looks like a wired frame is a damaged one.
                Err(other) => Err(if fault.kind == FaultKind::NotMine { other } else { fault }),
            }
        }
    }
}

fn unknown(what: &str, bytes: &[u8]) -> Decoded {
    Decoded { messages: vec![Message::unknown(what, bytes)], ..Decoded::empty() }
}

/// E5: the next step of a command, its end, or nothing that was asked for.
fn acknowledged(context: &Context, frame: &[u8]) -> Decoded {
    let mut session = Session::of(context);
    if session.awaited != Awaited::Acknowledgement {
        return unknown("acknowledgement", frame);
    }
    let mut decoded = Decoded::empty();
    decoded.reply = session.advance();
    if decoded.reply.is_none() {
        session.awaited = Awaited::Nothing;
        session.next_fcb = !session.next_fcb;
        decoded.messages.push(Answer::new(session.correlation(), Outcome::Done).into());
    }
    decoded.state = Some(session.to_state());
    decoded
}

/// A frame with what is known around it.
struct Exchange<'a> {
    options: &'a Options,
    context: &'a Context,
    /// Who the link layer says it is from, or whom the session is with.
    sender: Option<Identity>,
    /// The A field; none by radio.
    bus: Option<u8>,
    memory: Memory,
    /// None by radio: nobody asks there.
    session: Option<Session>,
    cause: ReportCause,
}

impl<'a> Exchange<'a> {
    fn wired(options: &'a Options, context: &'a Context, address: u8) -> Self {
        Self {
            options,
            context,
            sender: context.device.as_ref().and_then(|d| Identity::parse(&d.address)),
            bus: Some(address),
            memory: Memory::of(context),
            session: Some(Session::of(context)),
            cause: ReportCause::OnDemand,
        }
    }

    fn radio(options: &'a Options, context: &'a Context, radio: &Radio) -> Self {
        Self {
            options,
            context,
            sender: Some(radio.sender),
            bus: None,
            memory: Memory { by_radio: true, ..Memory::of(context) },
            session: None,
            cause: options.scheduled.cause(),
        }
    }

    fn hear(mut self, body: &[u8]) -> Result<Decoded, Fault> {
        let telegram = layers::open(body, self.sender, self.device(), self.session.is_some(), self.options)?;
        self.place(layers::names_meter(body, telegram.ci))?;
        let data = telegram.data.as_ref();
        match telegram.ci {
            ci::LONG | ci::SHORT | ci::BARE => self.records(&telegram, data),
            ci::LONG_MSB => self.records(&telegram, &report::low_byte_first(data)),
            ci::FIXED | ci::FIXED_MSB => {
                let fixed = fixed::read(data, telegram.ci == ci::FIXED_MSB, self.options)?;
                Ok(self.fixed(fixed))
            }
            ci::ERROR | ci::ERROR_SHORT | ci::ERROR_LONG => Ok(self.error(&telegram, data)),
            ci::ALARM | ci::ALARM_SHORT | ci::ALARM_LONG => Ok(self.say(&telegram, failure::alarm(data))),
            ci::TRANSPORT_SHORT | ci::TRANSPORT_LONG => {
                let mut messages = vec![Heartbeat { clock: None, valve: None }.into()];
                if !data.is_empty() {
                    messages.push(Message::unknown("transport-data", data));
                }
                Ok(self.say(&telegram, messages))
            }
            // Values whose records were sent before, which are not remembered here.
            ci::COMPACT => {
                let alarms = vec!["reading-absent".into()];
                let report = Report { alarms, ..Report::new(self.cause) };
                let messages = vec![report.into(), Message::unknown("compact-frame", data)];
                Ok(self.say(&telegram, messages))
            }
            other => {
                let what = format!("ci-{other:02x}");
                let message = Message::unknown(what, data);
                Ok(self.say(&telegram, vec![message]))
            }
        }
    }

    /// Learns where the meter answers. What does not name its meter is the session's only from where that one was asked.
    fn place(&mut self, names_meter: bool) -> Result<(), Fault> {
        let (Some(bus), Some(session)) = (self.bus, &self.session) else { return Ok(()) };
        if !names_meter && self.context.device.is_some() && !session.is_at(bus, &self.memory) {
            let detail = format!("bus address {bus} answers without an identity, and is not the meter that was asked");
            return Err(Fault::corrupt(detail));
        }
        self.memory.by_radio = false;
        if bus <= link::address::MAX && (names_meter || session.awaited != Awaited::Nothing) {
            let known = self.memory.primary.filter(|_| !names_meter);
            self.memory.primary = known.or(Some(bus));
        }
        Ok(())
    }

    fn records(mut self, telegram: &Telegram<'_>, data: &[u8]) -> Result<Decoded, Fault> {
        let medium = telegram.identity.map_or(0, |i| i.medium);
        let sender = telegram.identity.map(|identity| self.named(identity));
        // Of another device that speaks up in the session nothing is remembered.
        let marks = if self.is_other(sender.as_ref()) { report::Marks::default() } else { self.memory.marks };
        let mut collected = report::collect(data, 0, medium, marks, self.options)?;
        self.memory.marks = collected.marks;
        if let Some(access) = telegram.access {
            collected.registers.push(access_number(access));
        }
        if let Some(word) = telegram.configuration {
            collected.unknown.push(Message::unknown("configuration-word", &word));
        }
        let mut alarms = failure::alarms(telegram.status);
        if collected.is_total_absent {
            alarms.push("reading-absent".into());
        }
        let report = Report {
            at: collected.at,
            alarms,
            raw_status: u64::from(telegram.status),
            more_follows: collected.more_follows,
            ..Report::new(self.cause).with_registers(collected.registers)
        };
        let registration = telegram.identity.map(|identity| registration(identity, telegram.encrypted));
        Ok(self.finish(sender, registration, report, collected.unknown))
    }

    /// The device as the station knows it.
    fn device(&self) -> Option<&'a str> {
        self.context.device.as_ref().map(|d| d.address.as_str())
    }

    /// The memory is that of the device which the session is with, not of another that speaks up in it.
    fn is_other(&self, sender: Option<&Sender>) -> bool {
        self.device().is_some_and(|device| sender.is_some_and(|s| s.address != device))
    }

    fn named(&self, identity: Identity) -> Sender {
        Sender { address: identity.known_as(self.device()), kind: device_kind(identity.medium) }
    }

    fn fixed(self, fixed: Fixed) -> Decoded {
        let mut registers = fixed.registers;
        registers.push(access_number(fixed.access));
        let mut alarms = failure::alarms(fixed.status);
        if fixed.is_total_absent {
            alarms.push("reading-absent".into());
        }
        let report =
            Report { alarms, raw_status: u64::from(fixed.status), ..Report::new(self.cause).with_registers(registers) };
        let kind = device_kind(fixed.medium);
        let mut registration = Registration::new(kind);
        registration.model = medium::name(fixed.medium).unwrap_or_default().into();
        // The identification alone may be that of a meter which the station knows in full.
        let address = match Identity::parse(&fixed.address) {
            Some(any) if self.device().is_some_and(|d| any.known_as(Some(d)) == d) => any.known_as(self.device()),
            _ => fixed.address,
        };
        let sender = Sender { address, kind };
        self.finish(Some(sender), Some(registration), report, fixed.unknown)
    }

    /// Registration where it is news, the report or the answer, what was not understood; and the next request.
    fn finish(
        mut self,
        sender: Option<Sender>,
        registration: Option<Registration>,
        report: Report,
        mut unknown: Vec<Message>,
    ) -> Decoded {
        let mut decoded = Decoded::empty();
        decoded.messages.reserve(unknown.len() + 2);
        let is_other = self.is_other(sender.as_ref());
        if !self.memory.is_met || is_other {
            decoded.messages.extend(registration.map(Message::from));
        }
        let is_answer = self.is_answer(sender.as_ref());
        match self.session.as_mut().filter(|_| is_answer) {
            Some(session) => {
                session.next_fcb = !session.next_fcb;
                let more_follows = report.more_follows;
                let mut answer = Answer::new(session.correlation(), Outcome::Done);
                answer.more_follows = more_follows;
                if more_follows && self.context.admission != Admission::Refused {
                    decoded.reply = Some(session.request(control::REQ_UD2));
                } else {
                    session.awaited = Awaited::Nothing;
                }
                decoded.state = Some(session.to_state());
                decoded.messages.push(answer.with_body(AnswerBody::Report(report)).into());
            }
            None => decoded.messages.push(report.into()),
        }
        decoded.messages.append(&mut unknown);
        if sender.is_some() && !is_other {
            decoded.memory = self.remembered();
        }
        decoded.sender = sender;
        decoded
    }

    /// Whether data are what the command under way has asked for: from the meter that was asked.
    fn is_answer(&self, sender: Option<&Sender>) -> bool {
        let asked = self.session.as_ref().is_some_and(|s| s.awaited == Awaited::Data && s.task == Task::Read);
        asked && self.is_asked(sender)
    }

    /// Whether this is the meter that the session is with.
    fn is_asked(&self, sender: Option<&Sender>) -> bool {
        let wanted = self.device().and_then(Identity::parse);
        match (wanted, sender.and_then(|s| Identity::parse(&s.address))) {
            (Some(wanted), Some(found)) => wanted.means(&found),
            (None, Some(_)) => false,
            // Its bus address has told.
            (_, None) => true,
        }
    }

    /// The command under way has failed, or something else has.
    fn error(self, telegram: &Telegram<'_>, data: &[u8]) -> Decoded {
        let mut messages = failure::error(data);
        let sender = telegram.identity.map(|identity| self.named(identity));
        let mut session = match &self.session {
            Some(session) if session.awaited != Awaited::Nothing && self.is_asked(sender.as_ref()) => session.clone(),
            _ => return self.say(telegram, messages),
        };
        let code = data.first().copied().unwrap_or(0);
        let (outcome, reason) = failure::outcome(code);
        let mut answer = Answer::new(session.correlation(), outcome);
        answer.reason = reason.into();
        answer.raw_code = u32::from(code);
        messages[0] = answer.into();
        session.awaited = Awaited::Nothing;
        session.next_fcb = !session.next_fcb;
        session.queue.clear();
        let mut decoded = self.say(telegram, messages);
        decoded.state = Some(session.to_state());
        decoded
    }

    /// Messages that are no values, of a meter that may not be named.
    fn say(self, telegram: &Telegram<'_>, mut messages: Vec<Message>) -> Decoded {
        if telegram.status != 0 || telegram.access.is_some() {
            let report = Report {
                alarms: failure::alarms(telegram.status),
                raw_status: u64::from(telegram.status),
                ..Report::new(self.cause).with_registers(telegram.access.map(access_number).into_iter().collect())
            };
            messages.push(report.into());
        }
        if let Some(word) = telegram.configuration {
            messages.push(Message::unknown("configuration-word", &word));
        }
        let sender = telegram.identity.map(|identity| self.named(identity));
        Decoded { sender, messages, ..Decoded::empty() }
    }

    /// The device's memory, when it changes.
    fn remembered(&self) -> Option<Vec<u8>> {
        let bytes = self.memory.to_bytes();
        (self.context.device.as_ref().map(|d| d.memory.as_slice()) != Some(&bytes)).then_some(bytes)
    }
}

/// Of the header, at its place there: registers of records never have such a code.
fn access_number(access: u8) -> Register {
    Register::new(Quantity::AccessNumber, Unit::None, i64::from(access), 0).with_code(0x7200_0008)
}

const fn device_kind(medium: u8) -> DeviceKind {
    match medium {
        0x31 => DeviceKind::Concentrator,
        0x30 | 0x32 | 0x33 | 0x36..=0x38 => DeviceKind::Other,
        _ => DeviceKind::Meter,
    }
}

fn registration(identity: Identity, encrypted: bool) -> Registration {
    let mut registration = Registration::new(device_kind(identity.medium));
    if let Some(letters) = letters(identity.manufacturer & 0x7FFF) {
        registration.manufacturer = letters.iter().map(|l| char::from(*l)).collect();
    }
    registration.model =
        medium::name(identity.medium).map_or_else(|| format!("medium-{:02x}", identity.medium), str::to_owned);
    registration.hardware = format!("generation {}", identity.version);
    if encrypted {
        registration.capabilities = registration.capabilities | Capabilities::AES128;
    }
    if identity.medium == medium::GAS_CONVERTER {
        registration.capabilities = registration.capabilities | Capabilities::CORRECTOR;
    }
    registration
}
