//! The customs house: everything a guest hands out is counted, measured and checked here before it becomes a model value.
//!
//! wasmtime has already checked pointers, UTF-8 and discriminants, and bounded what a lift may allocate. This file
//! checks what the contract says in words: lengths, ranges, codes, times, and the sum of it all.

use super::{codec, types};
use crate::adapter::{Decoded, Encoded, Fault, Framing, Sender};
use crate::journal::{FaultKind, messages_bytes};
use crate::limits::{
    CIVIL_MAX, CIVIL_MIN, CORRELATION_BYTES_MAX, DETAIL_BYTES_MAX, ENCODED_FRAMES_MAX, EXPONENT_MAX, FRAME_BYTES_MAX,
    MEMORY_BYTES_MAX, MESSAGE_HEAD_BYTES, MESSAGES_BYTES_MAX, MESSAGES_MAX, OUTPUT_BYTES_MAX, STATE_BYTES_MAX,
    TEXT_BYTES_MAX, VALUE_BYTES_MAX, VALUES_MAX,
};
use crate::model::{
    AnswerBody, ArchiveEntry, Capabilities, Civil, DeviceKey, DeviceKind, Event, Heartbeat, HexBytes, Initiator,
    Message, Outcome, Parameter, ParameterValue, Quality, Quantity, Register, Registration, Relayed, Report,
    ReportCause, ReportPeriod, Role, Sample, Schedule, Series, Unit, ValveState, ValveStatus,
};
use std::mem::take;

/// What in an answer broke the contract, in words for the adapter's author.
#[derive(Debug)]
pub(in crate::adapter) struct Violation(pub String);

type Checked<T> = Result<T, Violation>;

/// Wit enums and model enums list the same names in the same order; a test holds them to it.
macro_rules! by_position {
    ($value:expr, $model:ty) => {
        <$model>::ALL[$value as usize]
    };
}

pub(in crate::adapter) fn framing(raw: codec::Framing, received: usize) -> Checked<Framing> {
    let within = |n: u32, what: &str| {
        let n = n as usize;
        if (1..=received).contains(&n) {
            Ok(n)
        } else {
            Err(Violation(format!("{what}({n}) of {received} received bytes")))
        }
    };
    match raw {
        codec::Framing::Frame(n) => within(n, "frame").map(Framing::Frame),
        codec::Framing::Skip(n) => within(n, "skip").map(Framing::Skip),
        codec::Framing::Foreign => Ok(Framing::Foreign),
        codec::Framing::Incomplete(n) => {
            let wanted = n as usize;
            if wanted == 0 || received.saturating_add(wanted) > FRAME_BYTES_MAX {
                return Err(Violation(format!(
                    "incomplete({n}) after {received} bytes; a frame has at most {FRAME_BYTES_MAX}"
                )));
            }
            Ok(Framing::Incomplete(wanted))
        }
    }
}

pub(in crate::adapter) fn decoded(mut raw: codec::Decoded) -> Checked<Decoded> {
    let mut customs = Customs::default();
    if raw.messages.len() > MESSAGES_MAX {
        return Err(Violation(format!("{} messages, at most {MESSAGES_MAX}", raw.messages.len())));
    }
    let sender = match raw.sender {
        None => None,
        Some(sender) => Some(Sender {
            address: customs.address("sender", sender.address)?,
            kind: by_position!(sender.kind, DeviceKind),
        }),
    };
    let mut messages = Vec::with_capacity(raw.messages.len());
    for (index, message) in raw.messages.iter_mut().enumerate() {
        messages.push(customs.message(message).map_err(|v| v.inside("message", index))?);
    }
    customs.storable(&messages)?;
    Ok(Decoded {
        sender,
        messages,
        reply: customs.reply(raw.reply)?,
        state: customs.maybe_bytes("state", raw.state, STATE_BYTES_MAX)?,
        memory: customs.maybe_bytes("memory", raw.memory, MEMORY_BYTES_MAX)?,
        duplicate: raw.duplicate,
    })
}

pub(in crate::adapter) fn encoded(raw: codec::Encoded) -> Checked<Encoded> {
    let mut customs = Customs::default();
    if raw.frames.len() > ENCODED_FRAMES_MAX {
        return Err(Violation(format!("{} frames, at most {ENCODED_FRAMES_MAX}", raw.frames.len())));
    }
    let mut frames = Vec::with_capacity(raw.frames.len());
    for frame in raw.frames {
        if frame.is_empty() {
            return Err(Violation("an empty frame".into()));
        }
        frames.push(customs.bytes("frame", frame, FRAME_BYTES_MAX)?);
    }
    Ok(Encoded {
        frames,
        correlation: customs.bytes("correlation", raw.correlation, CORRELATION_BYTES_MAX)?,
        answer_within_s: raw.answer_within_s,
        repeatable: raw.repeatable,
        state: customs.maybe_bytes("state", raw.state, STATE_BYTES_MAX)?,
        memory: customs.maybe_bytes("memory", raw.memory, MEMORY_BYTES_MAX)?,
    })
}

/// The guest's own refusal. A long detail is cut, since the kind is what matters.
pub(in crate::adapter) fn fault(raw: codec::Fault) -> Checked<Fault> {
    let kind = match raw.kind {
        codec::FaultKind::NotMine => FaultKind::NotMine,
        codec::FaultKind::Corrupt => FaultKind::Corrupt,
        codec::FaultKind::NotAuthentic => FaultKind::NotAuthentic,
        codec::FaultKind::Unsupported => FaultKind::Unsupported,
        codec::FaultKind::OutOfRange => FaultKind::OutOfRange,
    };
    let mut detail = printable(raw.detail);
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    Ok(Fault { reply: Customs::default().reply(raw.reply)?, ..Fault::new(kind, detail) })
}

impl Violation {
    fn inside(self, what: &str, index: usize) -> Self {
        Self(format!("{what} {index}: {}", self.0))
    }
}

/// What is left of the allowances of one answer. Large values are checked where they lie and emptied, not moved about.
struct Customs {
    bytes_left: usize,
    values_left: usize,
}

impl Default for Customs {
    fn default() -> Self {
        Self { bytes_left: OUTPUT_BYTES_MAX, values_left: VALUES_MAX }
    }
}

impl Customs {
    fn message(&mut self, raw: &mut types::Message) -> Checked<Message> {
        Ok(match raw {
            types::Message::Report(report) => Message::Report(self.report(report)?),
            types::Message::Heartbeat(beat) => Message::Heartbeat(Heartbeat {
                clock: maybe_time("heartbeat.clock", beat.clock)?,
                valve: self.maybe_valve(beat.valve.take())?,
            }),
            types::Message::Registration(registration) => Message::Registration(self.registration(registration)?),
            types::Message::Event(event) => Message::Event(Event {
                subject: self.maybe_address("event.subject", event.subject.take())?,
                code: self.code("event.code", take(&mut event.code))?,
                cleared: event.cleared,
                at: maybe_time("event.at", event.at)?,
                value: event.value,
                raw_code: event.raw_code,
            }),
            types::Message::Answer(answer) => Message::Answer(crate::model::Answer {
                correlation: self
                    .bytes("answer.correlation", take(&mut answer.correlation), CORRELATION_BYTES_MAX)?
                    .into(),
                outcome: by_position!(answer.outcome, Outcome),
                reason: self.code_or_empty("answer.reason", take(&mut answer.reason))?,
                raw_code: answer.raw_code,
                body: self.answer_body(&mut answer.body)?,
                more_follows: answer.more_follows,
            }),
            types::Message::Relayed(relayed) => Message::Relayed(Relayed {
                target: self.address_or_empty("relayed.target", take(&mut relayed.target))?,
                protocol: self.code("relayed.protocol", take(&mut relayed.protocol))?,
                channel: relayed.channel,
                payload: self.bytes("relayed.payload", take(&mut relayed.payload), FRAME_BYTES_MAX)?.into(),
                correlation: self
                    .maybe_bytes("relayed.correlation", relayed.correlation.take(), CORRELATION_BYTES_MAX)?
                    .map(HexBytes),
            }),
            types::Message::EndOfSession => Message::EndOfSession,
            types::Message::Unknown(unknown) => Message::Unknown {
                what: self.text("unknown.what", take(&mut unknown.what))?,
                bytes: self.bytes("unknown.bytes", take(&mut unknown.bytes), FRAME_BYTES_MAX)?.into(),
            },
        })
    }

    fn report(&mut self, raw: &mut types::Report) -> Checked<Report> {
        self.count(raw.registers.len())?;
        // Collected in place: both kinds of register have the same size, so no list is allocated anew.
        let registers = take(&mut raw.registers).into_iter().enumerate();
        let registers = registers.map(|(index, raw)| register(&raw).map_err(|v| v.inside("register", index)));
        let registers = registers.collect::<Checked<_>>()?;
        let mut series = Vec::with_capacity(raw.series.len().min(VALUES_MAX));
        for (index, one) in raw.series.iter_mut().enumerate() {
            series.push(self.series(one).map_err(|v| v.inside("series", index))?);
        }
        let mut alarms = Vec::with_capacity(raw.alarms.len().min(VALUES_MAX));
        for alarm in take(&mut raw.alarms) {
            alarms.push(self.code("report.alarms", alarm)?);
        }
        Ok(Report {
            subject: self.maybe_address("report.subject", raw.subject.take())?,
            cause: by_position!(raw.cause, ReportCause),
            at: maybe_time("report.at", raw.at)?,
            registers,
            series,
            valve: self.maybe_valve(raw.valve.take())?,
            alarms,
            raw_status: raw.raw_status,
            more_follows: raw.more_follows,
        })
    }

    fn series(&mut self, raw: &mut types::Series) -> Checked<Series> {
        // The series itself counts, so that empty ones are not free.
        self.count(raw.samples.len() + 1)?;
        exponent(raw.exponent)?;
        let (unit, scale) = (raw.unit, raw.exponent);
        let samples = take(&mut raw.samples).into_iter().map(|sample| {
            scaled(unit, scale, sample.mantissa)?;
            Ok(Sample { at: time("sample.at", sample.at)?, mantissa: sample.mantissa })
        });
        let samples = samples.collect::<Checked<_>>()?;
        Ok(Series {
            quantity: by_position!(raw.quantity, Quantity),
            unit: by_position!(raw.unit, Unit),
            role: by_position!(raw.role, Role),
            exponent: raw.exponent,
            storage: raw.storage,
            tariff: raw.tariff,
            channel: raw.channel,
            code: raw.code,
            samples,
        })
    }

    fn registration(&mut self, raw: &mut types::Registration) -> Checked<Registration> {
        Ok(Registration {
            kind: by_position!(raw.kind, DeviceKind),
            manufacturer: self.text("registration.manufacturer", take(&mut raw.manufacturer))?,
            model: self.text("registration.model", take(&mut raw.model))?,
            hardware: self.text("registration.hardware", take(&mut raw.hardware))?,
            firmware: self.text("registration.firmware", take(&mut raw.firmware))?,
            iccid: self.text("registration.iccid", take(&mut raw.iccid))?,
            imei: self.text("registration.imei", take(&mut raw.imei))?,
            capabilities: capabilities(raw.capabilities),
            schedule: raw.schedule.as_ref().map(schedule).transpose()?,
            key_version: raw.key_version,
            clock: maybe_time("registration.clock", raw.clock)?,
        })
    }

    fn answer_body(&mut self, raw: &mut types::AnswerBody) -> Checked<AnswerBody> {
        Ok(match raw {
            types::AnswerBody::None => AnswerBody::None,
            types::AnswerBody::Report(report) => AnswerBody::Report(self.report(report)?),
            types::AnswerBody::Valve(status) => AnswerBody::Valve(self.valve(status.clone())?),
            types::AnswerBody::Clock(at) => AnswerBody::Clock(time("answer.clock", *at)?),
            types::AnswerBody::Schedule(raw) => AnswerBody::Schedule(schedule(raw)?),
            types::AnswerBody::Parameters(list) => {
                self.count(list.len())?;
                AnswerBody::Parameters(take(list).into_iter().map(|p| self.parameter(p)).collect::<Checked<_>>()?)
            }
            types::AnswerBody::Archive(page) => {
                self.count(page.entries.len())?;
                AnswerBody::Archive {
                    total: page.total,
                    entries: take(&mut page.entries)
                        .into_iter()
                        .map(|e| self.archive_entry(e))
                        .collect::<Checked<_>>()?,
                }
            }
            types::AnswerBody::FirmwareNext(block) => AnswerBody::FirmwareNext(*block),
            types::AnswerBody::Balance(cents) => AnswerBody::Balance(*cents),
            types::AnswerBody::Raw(bytes) => {
                AnswerBody::Raw(self.bytes("answer.raw", take(bytes), FRAME_BYTES_MAX)?.into())
            }
        })
    }

    fn parameter(&mut self, raw: types::ParameterResult) -> Checked<Parameter> {
        use types::ParameterValueResult as Raw;
        Ok(Parameter {
            name: self.parameter_name(raw.name)?,
            value: match raw.value {
                Raw::Integer(number) => ParameterValue::Integer(number),
                Raw::Text(text) => ParameterValue::Text(self.text("parameter.value", text)?),
                Raw::Bytes(bytes) => {
                    ParameterValue::Bytes(self.bytes("parameter.value", bytes, FRAME_BYTES_MAX)?.into())
                }
            },
        })
    }

    fn archive_entry(&mut self, raw: types::ArchiveEntryResult) -> Checked<ArchiveEntry> {
        Ok(ArchiveEntry {
            index: raw.index,
            address: self.address("archive.address", raw.address)?,
            protocol: self.code("archive.protocol", raw.protocol)?,
            channel: raw.channel,
            baud: raw.baud,
            format: self.text("archive.format", raw.format)?,
        })
    }

    fn maybe_valve(&mut self, raw: Option<types::ValveStatus>) -> Checked<Option<ValveStatus>> {
        raw.map(|status| self.valve(status)).transpose()
    }

    fn valve(&mut self, raw: types::ValveStatus) -> Checked<ValveStatus> {
        Ok(ValveStatus {
            state: by_position!(raw.state, ValveState),
            by: by_position!(raw.by, Initiator),
            reason: raw.reason.map(|reason| self.code("valve.reason", reason)).transpose()?,
        })
    }

    /// Free text of a device, for people. Control characters are replaced: the frame itself keeps them.
    fn text(&mut self, field: &str, text: String) -> Checked<String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Violation(format!("{field} has {} bytes, at most {TEXT_BYTES_MAX}", text.len())));
        }
        let text = printable(text);
        self.spend(text.len())?;
        Ok(text)
    }

    fn code(&mut self, field: &str, code: String) -> Checked<String> {
        if !is_kebab(&code) {
            return Err(no_code(field, &code));
        }
        self.text(field, code)
    }

    fn code_or_empty(&mut self, field: &str, code: String) -> Checked<String> {
        if code.is_empty() { Ok(code) } else { self.code(field, code) }
    }

    /// A registry name, or the vendor's own number as `0x` and hex digits.
    fn parameter_name(&mut self, name: String) -> Checked<String> {
        let number = name.strip_prefix("0x");
        let is_number = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_number && !is_kebab(&name) {
            return Err(no_code("parameter.name", &name));
        }
        self.text("parameter.name", name)
    }

    fn address(&mut self, field: &str, address: String) -> Checked<String> {
        if !DeviceKey::is_address(&address) {
            return Err(Violation(format!("{field}: an address has 1 to 32 printable characters, not {address:.40?}")));
        }
        self.spend(address.len())?;
        Ok(address)
    }

    fn address_or_empty(&mut self, field: &str, address: String) -> Checked<String> {
        if address.is_empty() { Ok(address) } else { self.address(field, address) }
    }

    fn maybe_address(&mut self, field: &str, address: Option<String>) -> Checked<Option<String>> {
        address.map(|address| self.address(field, address)).transpose()
    }

    fn bytes(&mut self, field: &str, bytes: Vec<u8>, max: usize) -> Checked<Vec<u8>> {
        if bytes.len() > max {
            return Err(Violation(format!("{field} has {} bytes, at most {max}", bytes.len())));
        }
        self.spend(bytes.len())?;
        Ok(bytes)
    }

    fn maybe_bytes(&mut self, field: &str, bytes: Option<Vec<u8>>, max: usize) -> Checked<Option<Vec<u8>>> {
        bytes.map(|bytes| self.bytes(field, bytes, max)).transpose()
    }

    /// An empty reply is none.
    fn reply(&mut self, reply: Option<Vec<u8>>) -> Checked<Option<Vec<u8>>> {
        Ok(self.maybe_bytes("reply", reply, FRAME_BYTES_MAX)?.filter(|reply| !reply.is_empty()))
    }

    fn spend(&mut self, bytes: usize) -> Checked<()> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or_else(|| Violation(format!("more than {OUTPUT_BYTES_MAX} bytes of texts and bytes in one answer")))?;
        Ok(())
    }

    /// Whether an entry takes it. What is far below that is not measured: a text of one letter takes two bytes, longer ones less
    /// than twice their length.
    fn storable(&self, messages: &[Message]) -> Checked<()> {
        let (texts, values) = (OUTPUT_BYTES_MAX - self.bytes_left, VALUES_MAX - self.values_left);
        if 2 * texts + values * VALUE_BYTES_MAX + messages.len() * MESSAGE_HEAD_BYTES <= MESSAGES_BYTES_MAX {
            return Ok(());
        }
        let bytes = messages_bytes(messages);
        if bytes > MESSAGES_BYTES_MAX {
            return Err(Violation(format!(
                "the messages take {bytes} bytes in the journal, at most {MESSAGES_BYTES_MAX}"
            )));
        }
        Ok(())
    }

    fn count(&mut self, values: usize) -> Checked<()> {
        self.values_left = self
            .values_left
            .checked_sub(values)
            .ok_or_else(|| Violation(format!("more than {VALUES_MAX} values in one answer")))?;
        Ok(())
    }
}

fn register(raw: &types::Register) -> Checked<Register> {
    exponent(raw.exponent)?;
    scaled(raw.unit, raw.exponent, raw.mantissa)?;
    Ok(Register {
        quantity: by_position!(raw.quantity, Quantity),
        unit: by_position!(raw.unit, Unit),
        role: by_position!(raw.role, Role),
        quality: by_position!(raw.quality, Quality),
        exponent: raw.exponent,
        mantissa: raw.mantissa,
        at: maybe_time("register.at", raw.at)?,
        storage: raw.storage,
        tariff: raw.tariff,
        channel: raw.channel,
        code: raw.code,
    })
}

fn schedule(raw: &types::Schedule) -> Checked<Schedule> {
    if raw.minute_of_day >= 24 * 60 {
        return Err(Violation(format!("schedule.minute-of-day is {}, a day has 1440", raw.minute_of_day)));
    }
    Ok(Schedule {
        period: by_position!(raw.period, ReportPeriod),
        minute_of_day: raw.minute_of_day,
        stagger_minutes: raw.stagger_minutes,
        awake_minutes: raw.awake_minutes,
        heartbeat_minutes: raw.heartbeat_minutes,
    })
}

fn capabilities(raw: types::Capabilities) -> Capabilities {
    use types::Capabilities as Flag;
    let order = [
        Flag::VALVE,
        Flag::PREPAID,
        Flag::CORRECTOR,
        Flag::REMOTE_UPGRADE,
        Flag::AES128,
        Flag::SM4,
        Flag::ALWAYS_ONLINE,
        Flag::CONCENTRATOR,
        Flag::DTU,
        Flag::HOURLY_LOG,
    ];
    Capabilities(order.iter().enumerate().map(|(bit, flag)| u16::from(raw.contains(*flag)) << bit).sum())
}

fn exponent(exponent: i8) -> Checked<()> {
    if exponent.unsigned_abs() > EXPONENT_MAX {
        return Err(Violation(format!("exponent is {exponent}, allowed are -{EXPONENT_MAX} to {EXPONENT_MAX}")));
    }
    Ok(())
}

/// A point in time as a value obeys the same bounds as any other time.
fn scaled(unit: types::Unit, exponent: i8, mantissa: i64) -> Checked<()> {
    if unit == types::Unit::CivilSecond {
        if exponent != 0 {
            return Err(Violation(format!("a civil-second has exponent 0, not {exponent}")));
        }
        time("mantissa", mantissa)?;
    }
    Ok(())
}

fn time(field: &str, at: i64) -> Checked<Civil> {
    if (CIVIL_MIN..=CIVIL_MAX).contains(&at) {
        Ok(Civil(at))
    } else {
        Err(Violation(format!("{field} is {at} s, outside the years 1900 to 2299")))
    }
}

fn maybe_time(field: &str, at: Option<i64>) -> Checked<Option<Civil>> {
    at.map(|at| time(field, at)).transpose()
}

fn no_code(field: &str, code: &str) -> Violation {
    Violation(format!("{field} is {code:.60?}, not a code such as `battery-low`"))
}

/// `battery-low`: lower-case letters and digits in words joined by single hyphens, starting with a letter.
pub fn is_kebab(code: &str) -> bool {
    let mut after_hyphen = true;
    for byte in code.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => after_hyphen = false,
            b'-' if !after_hyphen => after_hyphen = true,
            _ => return false,
        }
    }
    !after_hyphen && code.as_bytes()[0].is_ascii_lowercase()
}

fn printable(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text
    }
}
