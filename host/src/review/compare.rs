//! Two readings of one frame, compared in meaning: not how it is written down, but what would be billed, shown or answered.
//!
//! Pure. A value is the same value in another scale; a register and a sample of a series are the same thing at the same time.

use crate::adapter::{Decoded, Fault};
use crate::journal::FaultKind;
use crate::limits::DIFFERENCES_OF_FRAME_MAX;
use crate::model::{Civil, Message, Quality, Quantity, Report, Role, Unit, json};
use serde_json::Value;
use std::collections::BTreeMap;

/// What one version makes of a frame.
#[derive(Clone, PartialEq, Debug)]
pub enum Reading {
    Read { sender: Option<String>, messages: Vec<Message>, reply: Option<Vec<u8>> },
    Failed { kind: FaultKind, detail: String, reply: Option<Vec<u8>> },
}

/// How two readings differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Another value, or another trust in it, for the same register and time.
    RegisterChanged,
    UnitChanged,
    RegisterMissing,
    RegisterAdded,
    MessageChanged,
    MessageMissing,
    MessageAdded,
    SenderDiffers,
    /// Was read, is not any more.
    NewFault,
    /// Was not read, is now.
    FaultGone,
    FaultDiffers,
    ReplyDiffers,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub kind: Kind,
    /// What it is about, such as a quantity: differences of one kind and subject belong together.
    pub subject: String,
    pub old: String,
    pub new: String,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::RegisterChanged => "register-changed",
            Self::UnitChanged => "unit-changed",
            Self::RegisterMissing => "register-missing",
            Self::RegisterAdded => "register-added",
            Self::MessageChanged => "message-changed",
            Self::MessageMissing => "message-missing",
            Self::MessageAdded => "message-added",
            Self::SenderDiffers => "sender-differs",
            Self::NewFault => "new-fault",
            Self::FaultGone => "fault-gone",
            Self::FaultDiffers => "fault-differs",
            Self::ReplyDiffers => "reply-differs",
        }
    }
}

/// All differences, at most so many.
pub fn compare(old: &Reading, new: &Reading) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    match (old, new) {
        (Reading::Read { sender: a, messages: old, .. }, Reading::Read { sender: b, messages: new, .. }) => {
            if a != b {
                let text = |sender: &Option<String>| sender.clone().unwrap_or_else(|| "nobody".into());
                found.add(Kind::SenderDiffers, "sender", text(a), text(b));
            }
            found.messages(old, new);
        }
        (Reading::Failed { kind: a, .. }, Reading::Failed { kind: b, .. }) if a == b => {}
        (Reading::Failed { kind: a, detail: why, .. }, Reading::Failed { kind: b, detail, .. }) => {
            found.add(Kind::FaultDiffers, b.name(), format!("{}: {why}", a.name()), format!("{}: {detail}", b.name()));
        }
        (Reading::Read { messages, .. }, Reading::Failed { kind, detail, .. }) => {
            found.add(Kind::NewFault, kind.name(), in_short(messages), format!("{}: {detail}", kind.name()));
        }
        (Reading::Failed { kind, detail, .. }, Reading::Read { messages, .. }) => {
            found.add(Kind::FaultGone, kind.name(), format!("{}: {detail}", kind.name()), in_short(messages));
        }
    }
    if old.reply() != new.reply() {
        let text = |reply: Option<&[u8]>| reply.map_or_else(|| "none".to_owned(), hex::encode);
        found.add(Kind::ReplyDiffers, "reply", text(old.reply()), text(new.reply()));
    }
    found.0
}

/// Whether other readings follow from it, or readings of another device.
pub fn values_differ(old: &Reading, new: &Reading) -> bool {
    let (Reading::Read { sender: a, messages: old, .. }, Reading::Read { sender: b, messages: new, .. }) = (old, new)
    else {
        return true;
    };
    let all = |messages: &[Message]| {
        let mut all = BTreeMap::new();
        for report in messages.iter().filter_map(Message::report) {
            all.extend(registers(report).into_iter().map(|(place, told)| ((report.subject.clone(), place), told)));
        }
        all
    };
    let (old, new) = (all(old), all(new));
    old != new || a != b && !(old.is_empty() && new.is_empty())
}

impl Reading {
    /// What an adapter that speaks for this realm has made of a frame: an address in another realm is another device.
    pub fn of(realm: &str, result: &Result<Decoded, Fault>) -> Self {
        match result {
            Ok(decoded) => Self::Read {
                sender: decoded.sender.as_ref().map(|sender| format!("{realm}/{}", sender.address)),
                messages: decoded.messages.clone(),
                reply: decoded.reply.clone(),
            },
            Err(fault) => Self::Failed { kind: fault.kind, detail: fault.detail.clone(), reply: fault.reply.clone() },
        }
    }

    /// What no correction of readings changes: events, states, who spoke.
    pub fn besides_values(mut self) -> Self {
        for report in self.messages_mut().iter_mut().filter_map(Message::report_mut) {
            report.registers.clear();
            report.series.clear();
        }
        self
    }

    /// None, where it has failed.
    pub fn messages_mut(&mut self) -> &mut [Message] {
        match self {
            Self::Read { messages, .. } => messages,
            Self::Failed { .. } => &mut [],
        }
    }

    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    fn reply(&self) -> Option<&[u8]> {
        match self {
            Self::Read { reply, .. } | Self::Failed { reply, .. } => reply.as_deref(),
        }
    }
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, kind: Kind, subject: impl Into<String>, old: impl Into<String>, new: impl Into<String>) {
        if self.0.len() < DIFFERENCES_OF_FRAME_MAX {
            self.0.push(Difference { kind, subject: subject.into(), old: old.into(), new: new.into() });
        }
    }

    /// Messages of one kind about one thing belong together, in their order.
    fn messages(&mut self, old: &[Message], new: &[Message]) {
        let mut left: Vec<&Message> = new.iter().collect();
        for message in old {
            let name = in_word(message);
            match left.iter().position(|other| same_thing(message, other)) {
                Some(at) => self.message(name, message, left.remove(at)),
                None => self.add(Kind::MessageMissing, name, content(message), ""),
            }
        }
        for message in left {
            self.add(Kind::MessageAdded, in_word(message), "", content(message));
        }
    }

    fn message(&mut self, name: &str, old: &Message, new: &Message) {
        let (mut old_rest, mut new_rest) = (old.clone(), new.clone());
        if let (Some(a), Some(b)) = (old_rest.report_mut(), new_rest.report_mut()) {
            self.registers(&registers(a), &registers(b));
            for report in [a, b] {
                report.registers.clear();
                report.series.clear();
                report.alarms.sort();
            }
        }
        self.json(name, &json::message(&old_rest), &json::message(&new_rest));
    }

    fn registers(&mut self, old: &BTreeMap<Place, Told>, new: &BTreeMap<Place, Told>) {
        for (place, a) in old {
            let subject = place.quantity();
            match new.get(place) {
                None => self.add(Kind::RegisterMissing, subject, a.text(place), ""),
                Some(b) if a.unit != b.unit => self.add(Kind::UnitChanged, subject, a.text(place), b.text(place)),
                Some(b) if a != b => self.add(Kind::RegisterChanged, subject, a.text(place), b.text(place)),
                Some(_) => {}
            }
        }
        for (place, b) in new.iter().filter(|(place, _)| !old.contains_key(place)) {
            self.add(Kind::RegisterAdded, place.quantity(), "", b.text(place));
        }
    }

    /// What is left of two messages, by path.
    fn json(&mut self, path: &str, old: &Value, new: &Value) {
        match (old, new) {
            (Value::Object(a), Value::Object(b)) => {
                let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
                keys.sort();
                keys.dedup();
                for key in keys {
                    let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                    self.json(&format!("{path}.{key}"), &of(a), &of(b));
                }
            }
            _ if old == new => {}
            _ => self.add(Kind::MessageChanged, path, bounded(&old.to_string()), bounded(&new.to_string())),
        }
    }
}

/// Where a value belongs.
type Key = (Option<Civil>, &'static str, &'static str, u32, u16, u16, u32);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(Key);

impl Place {
    fn new(
        at: Option<Civil>,
        quantity: Quantity,
        role: Role,
        (storage, tariff, channel, code): (u32, u16, u16, u32),
    ) -> Self {
        Self((at, quantity.name(), role.name(), storage, tariff, channel, code))
    }

    fn quantity(&self) -> &'static str {
        self.0.1
    }
}

/// What is said there, in lowest terms.
#[derive(PartialEq, Eq)]
struct Told {
    mantissa: i64,
    exponent: i8,
    unit: Unit,
    quality: Quality,
}

impl Told {
    fn new(mut mantissa: i64, mut exponent: i8, unit: Unit, quality: Quality) -> Self {
        while mantissa != 0 && mantissa % 10 == 0 && exponent < i8::MAX {
            (mantissa, exponent) = (mantissa / 10, exponent + 1);
        }
        let exponent = if mantissa == 0 { 0 } else { exponent };
        Self { mantissa, exponent, unit, quality }
    }

    fn text(&self, place: &Place) -> String {
        let value = json::value(self.mantissa, self.exponent, self.unit);
        let trust = if self.quality == Quality::Good { String::new() } else { format!(" ({})", self.quality.name()) };
        let at = place.0.0.map(|at| format!(" at {at}")).unwrap_or_default();
        format!("{value} {}{trust}{at}", self.unit.name())
    }
}

fn registers(report: &Report) -> BTreeMap<Place, Told> {
    let mut all = BTreeMap::new();
    for r in &report.registers {
        let place = Place::new(r.at.or(report.at), r.quantity, r.role, (r.storage, r.tariff, r.channel, r.code));
        all.insert(place, Told::new(r.mantissa, r.exponent, r.unit, r.quality));
    }
    for s in &report.series {
        for sample in &s.samples {
            let place = Place::new(Some(sample.at), s.quantity, s.role, (s.storage, s.tariff, s.channel, s.code));
            all.insert(place, Told::new(sample.mantissa, s.exponent, s.unit, Quality::Good));
        }
    }
    all
}

fn same_thing(a: &Message, b: &Message) -> bool {
    match (a, b) {
        (Message::Report(a), Message::Report(b)) => a.subject == b.subject,
        (Message::Event(a), Message::Event(b)) => a.subject == b.subject && a.raw_code == b.raw_code && a.at == b.at,
        (Message::Answer(a), Message::Answer(b)) => a.correlation == b.correlation,
        (Message::Relayed(a), Message::Relayed(b)) => a.target == b.target,
        _ => in_word(a) == in_word(b),
    }
}

fn in_word(message: &Message) -> &'static str {
    match message {
        Message::Registration(_) => "registration",
        Message::Heartbeat(_) => "heartbeat",
        Message::Report(_) => "report",
        Message::Event(_) => "event",
        Message::Answer(_) => "answer",
        Message::Relayed(_) => "relayed",
        Message::EndOfSession => "end-of-session",
        Message::Unknown { .. } => "unknown",
    }
}

fn in_short(messages: &[Message]) -> String {
    messages.iter().map(in_word).collect::<Vec<_>>().join(", ")
}

fn content(message: &Message) -> String {
    bounded(&json::message(message).to_string())
}

fn bounded(text: &str) -> String {
    const TEXT_BYTES_MAX: usize = 300;
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Register, ReportCause, Sample, Series};

    fn register(mantissa: i64, exponent: i8, unit: Unit) -> Register {
        Register {
            quantity: Quantity::WorkingVolume,
            unit,
            role: Role::Cumulative,
            quality: Quality::Good,
            exponent,
            mantissa,
            at: None,
            storage: 0,
            tariff: 0,
            channel: 0,
            code: 0,
        }
    }

    fn report(registers: Vec<Register>, alarms: &[&str]) -> Message {
        Message::Report(Report {
            subject: None,
            cause: ReportCause::Daily,
            at: Some(Civil(1_000)),
            registers,
            series: vec![],
            valve: None,
            alarms: alarms.iter().map(|alarm| (*alarm).to_owned()).collect(),
            raw_status: 0,
            more_follows: false,
        })
    }

    fn event(code: &str) -> Message {
        Message::Event(Event { subject: None, code: code.into(), cleared: false, at: None, value: None, raw_code: 7 })
    }

    fn read(messages: Vec<Message>) -> Reading {
        Reading::Read { sender: Some("1".into()), messages, reply: Some(vec![1]) }
    }

    fn failed(kind: FaultKind) -> Reading {
        Reading::Failed { kind, detail: "a sum".into(), reply: Some(vec![1]) }
    }

    #[test]
    fn differences_are_told_in_meaning() {
        let volume = |mantissa, exponent, unit| read(vec![report(vec![register(mantissa, exponent, unit)], &[])]);
        let as_series = Message::Report(Report {
            series: vec![Series {
                quantity: Quantity::WorkingVolume,
                unit: Unit::CubicMetre,
                role: Role::Cumulative,
                exponent: -2,
                storage: 0,
                tariff: 0,
                channel: 0,
                code: 0,
                samples: vec![Sample { at: Civil(1_000), mantissa: 1_230 }],
            }],
            registers: vec![],
            ..match report(vec![], &[]) {
                Message::Report(report) => report,
                _ => unreachable!("a report"),
            }
        });
        let cubic = |mantissa, exponent| volume(mantissa, exponent, Unit::CubicMetre);
        let rows: Vec<(Reading, Reading, &[&str])> = vec![
            (cubic(1_230, -2), cubic(1_230, -2), &[]),
            // Other scale, other form, other order: the same meaning.
            (cubic(1_230, -2), cubic(123, -1), &[]),
            (cubic(1_230, -2), read(vec![as_series]), &[]),
            (read(vec![report(vec![], &["a", "b"])]), read(vec![report(vec![], &["b", "a"])]), &[]),
            (read(vec![event("x"), report(vec![], &[])]), read(vec![report(vec![], &[]), event("x")]), &[]),
            (cubic(1_230, -2), cubic(1_230, -3), &["register-changed working-volume: 12.3 cubic-metre"]),
            (cubic(1_230, -2), volume(1_230, -2, Unit::Litre), &["unit-changed working-volume: 12.3 cubic-metre"]),
            (cubic(1_230, -2), read(vec![report(vec![], &[])]), &["register-missing working-volume"]),
            (read(vec![report(vec![], &[])]), cubic(1, 0), &["register-added working-volume"]),
            (read(vec![report(vec![], &["a"])]), read(vec![report(vec![], &[])]), &["message-changed report.alarms"]),
            (read(vec![event("x")]), read(vec![event("y")]), &["message-changed event.code"]),
            (read(vec![event("x")]), read(vec![]), &["message-missing event"]),
            (read(vec![]), read(vec![event("x")]), &["message-added event"]),
            (cubic(1, 0), failed(FaultKind::Corrupt), &["new-fault corrupt: report -> corrupt: a sum"]),
            (failed(FaultKind::Corrupt), cubic(1, 0), &["fault-gone corrupt"]),
            (failed(FaultKind::Corrupt), failed(FaultKind::Trap), &["fault-differs trap"]),
            (failed(FaultKind::Corrupt), failed(FaultKind::Corrupt), &[]),
            (
                read(vec![]),
                Reading::Read { sender: None, messages: vec![], reply: None },
                &["sender-differs sender: 1 -> nobody", "reply-differs reply: 01 -> none"],
            ),
        ];
        for (old, new, expected) in rows {
            let found = compare(&old, &new);
            let told: Vec<String> =
                found.iter().map(|d| format!("{} {}: {} -> {}", d.kind.name(), d.subject, d.old, d.new)).collect();
            assert_eq!(told.len(), expected.len(), "{told:?}, wanted {expected:?}");
            assert!(told.iter().zip(expected).all(|(a, b)| a.starts_with(b)), "{told:?}, wanted {expected:?}");
        }
    }

    #[test]
    fn what_makes_no_other_reading_is_told_apart() {
        let volume = |mantissa| report(vec![register(mantissa, -2, Unit::CubicMetre)], &[]);
        let of = |sender: &str, messages| Reading::Read { sender: Some(sender.into()), messages, reply: None };
        let besides =
            |a: &Reading, b: &Reading| !compare(&a.clone().besides_values(), &b.clone().besides_values()).is_empty();
        let old = of("1", vec![volume(1)]);
        for (new, values, others) in [
            (of("1", vec![volume(1)]), false, false),
            (of("1", vec![volume(2)]), true, false),
            (of("1", vec![volume(1), event("x")]), false, true),
            (of("1", vec![]), true, true),
            (of("2", vec![volume(1)]), true, true),
        ] {
            assert_eq!((values_differ(&old, &new), besides(&old, &new)), (values, others), "{new:?}");
        }
        assert!(!values_differ(&of("1", vec![event("x")]), &of("2", vec![event("x")])), "nothing to move");
        assert!(values_differ(&failed(FaultKind::Corrupt), &old));
    }
}
