//! Journal entries as JSON: raw frames of a device, and any entry for those who follow the journal.

use super::auth::Viewer;
use super::commands::in_words;
use super::devices::{AdapterName, find};
use super::errors::{ApiResult, ErrorBody};
use super::moments::instant;
use super::paging::{Page, Paged};
use super::readings::of_known;
use super::requests::{Device, Query};
use crate::journal::{Fact, Found, FrameFact, FrameOutcome, PollStep, ProfileScope, ProfileStep, Stored};
use crate::model::{Message, json};
use crate::session::Services;
use crate::views;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Bytes from a peer and what they meant.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrameRow {
    /// Journal entry.
    pub seq: u64,
    pub received: String,
    /// The listener's name in the configuration.
    pub listener: String,
    pub peer: String,
    pub session: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterName>,
    /// Hexadecimal.
    pub raw: String,
    /// As in `polymeter adapter decode`.
    #[schema(value_type = Vec<Object>)]
    pub messages: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// A repetition inside one session: counted, not applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Kept aside, since the device was held.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// What it brought of devices behind its sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<PartRow>,
    /// On one line.
    pub summary: String,
}

/// A piece of a relayed payload, read by the adapter of the device behind.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartRow {
    /// Its number within the frame.
    pub part: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterName>,
    /// Hexadecimal.
    pub raw: String,
    /// As in `polymeter adapter decode`.
    #[schema(value_type = Vec<Object>)]
    pub messages: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// Why a frame could not be read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    pub kind: &'static str,
    pub detail: String,
}

/// One journal entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryRow {
    pub seq: u64,
    pub at: String,
    /// frame, command, adapter, redecoded, corrected, reread, device-adopted, key-set, token-set, token-revoked, remembered,
    /// forgotten, registry, profile, poll or unreadable.
    pub fact: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// On one line.
    pub summary: String,
    /// The frame, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameRow>,
}

/// Raw frames of a device and what they meant, newest first
///
/// Frames that bring nothing but heartbeats are not listed.
#[utoipa::path(get, path = "/devices/{realm}/{address}/frames", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path), Page),
    responses((status = 200, body = Paged<FrameRow>), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn of_device(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<FrameRow>>> {
    let limit = page.limit()?;
    let found = find(&services, &key, move |s, device| {
        let reader = s.journal.reader();
        let views::Page { rows, next } = s.views.frames(device, page.after(), reader.first_seq(), limit)?;
        let mut items = Vec::with_capacity(rows.len());
        for seq in rows {
            if let Some(Stored { entry: Ok(entry), .. }) = reader.get(seq)?
                && let Fact::Frame(frame) = &entry.fact
            {
                items.push(FrameRow::of(seq.0, entry.at_ms, frame));
            }
        }
        of_known(s, device, Paged { items, next })
    });
    found.await.map(Json)
}

impl FrameRow {
    pub fn of(seq: u64, at_ms: i64, frame: &FrameFact) -> Self {
        let (messages, fault, duplicate, held) = told(&frame.outcome);
        Self {
            seq,
            received: instant(at_ms),
            listener: frame.listener.clone(),
            peer: frame.peer.clone(),
            session: frame.session,
            device: frame.device.as_ref().map(ToString::to_string),
            adapter: frame.adapter.clone().map(AdapterName::from),
            raw: hex::encode(&frame.raw.0),
            messages,
            fault,
            duplicate,
            held,
            behind: frame.outcome.parts().iter().map(PartRow::of).collect(),
            summary: outcome_in_words(&frame.outcome),
        }
    }
}

impl PartRow {
    fn of(found: &Found<'_>) -> Self {
        let part = found.part;
        let (messages, fault, duplicate, held) = told(&part.outcome);
        Self {
            part: found.number,
            device: part.device.as_ref().map(ToString::to_string),
            adapter: part.adapter.clone().map(AdapterName::from),
            raw: hex::encode(found.raw),
            messages,
            fault,
            duplicate,
            held,
        }
    }
}

/// Messages or the fault, and whether it is a repetition or kept aside.
fn told(outcome: &FrameOutcome) -> (Vec<Value>, Option<Fault>, bool, bool) {
    match outcome {
        FrameOutcome::Decoded { messages, duplicate, held, .. } => {
            (messages.iter().map(json::message).collect(), None, *duplicate, *held)
        }
        FrameOutcome::Fault { kind, detail } => {
            (Vec::new(), Some(Fault { kind: kind.name(), detail: detail.clone() }), false, false)
        }
    }
}

impl EntryRow {
    pub fn of(stored: &Stored) -> Self {
        let seq = stored.seq.0;
        let (at_ms, fact) = match &stored.entry {
            Ok(entry) => (entry.at_ms, &entry.fact),
            Err(error) => {
                let (fact, summary) = ("unreadable", error.to_string());
                return Self { seq, at: String::new(), fact, device: None, summary, frame: None };
            }
        };
        let (fact, device, summary) = describe(fact);
        let frame = match &stored.entry {
            Ok(crate::journal::Entry { fact: Fact::Frame(frame), .. }) => Some(FrameRow::of(seq, at_ms, frame)),
            _ => None,
        };
        Self { seq, at: instant(at_ms), fact, device, summary, frame }
    }
}

/// Kind, device, and a line for people. No key and no hash is in it.
fn describe(fact: &Fact) -> (&'static str, Option<String>, String) {
    match fact {
        Fact::Frame(f) => ("frame", f.device.as_ref().map(ToString::to_string), outcome_in_words(&f.outcome)),
        Fact::Command(c) => {
            let detail = in_words(&c.step);
            let summary = format!("command {} {} {detail}", c.id, c.step.name());
            ("command", Some(c.device.to_string()), summary.trim_end().to_owned())
        }
        Fact::Adapter(a) => {
            let (state, why) = (a.step.state().name(), a.step.why());
            let why = if why.is_empty() { why } else { format!(" ({why})") };
            ("adapter", None, format!("{} {} {state}{why} by {}", a.name, a.version, a.by))
        }
        Fact::Redecoded { frame, device, outcome, part, .. } => {
            let summary = format!("{}: {}", piece_in_words(*frame, *part), outcome_in_words(outcome));
            ("redecoded", device.as_ref().map(ToString::to_string), summary)
        }
        Fact::Corrected { frame, device, outcome, by, why, .. } => {
            let summary = format!("frame {frame} by {by}, {why}: {}", outcome_in_words(outcome));
            ("corrected", device.as_ref().map(ToString::to_string), summary)
        }
        Fact::Reread { frame, part, device, outcome, by, why, .. } => {
            let (piece, meaning) = (piece_in_words(*frame, *part), outcome_in_words(outcome));
            ("reread", device.as_ref().map(ToString::to_string), format!("{piece} by {by}, {why}: {meaning}"))
        }
        Fact::DeviceAdopted { device, by } => ("device-adopted", Some(device.to_string()), format!("by {by}")),
        Fact::KeySet { device, slot, sealed, by } => {
            let what = if sealed.is_some() { "set" } else { "removed" };
            ("key-set", Some(device.clone()), format!("{slot} {what} by {by}"))
        }
        Fact::TokenSet { name, role, by, .. } => ("token-set", None, format!("{name}, {}, by {by}", role.name())),
        Fact::TokenRevoked { name, by } => ("token-revoked", None, format!("{name}, by {by}")),
        Fact::Registry(r) => {
            let device = match (&r.set[..], &r.withdrawn[..]) {
                ([one], []) => Some(one.device.to_string()),
                ([], [one]) => Some(one.to_string()),
                _ => None,
            };
            let again = if r.retold.is_some() { " (told again)" } else { "" };
            let summary = format!("{} set, {} withdrawn, by {}{again}", r.set.len(), r.withdrawn.len(), r.by);
            ("registry", device, summary)
        }
        Fact::Forgotten { device, by, why } => ("forgotten", Some(device.to_string()), format!("by {by}: {why}")),
        Fact::Profile(p) => {
            let (device, what) = match &p.step {
                ProfileStep::Set { version, .. } => (None, format!("version {version}")),
                ProfileStep::Removed { version } => (None, format!("after version {version}")),
                ProfileStep::Bound { to: scope } | ProfileStep::Unbound { from: scope } => {
                    let device = matches!(scope, ProfileScope::Device(_)).then(|| scope.name().to_owned());
                    (device, scope.to_string())
                }
            };
            let why = if p.why.is_empty() { String::new() } else { format!(" ({})", p.why) };
            ("profile", device, format!("{} {} {what}{why} by {}", p.profile, p.step.name(), p.by))
        }
        Fact::Poll(fact) => {
            let what = match &fact.step {
                PollStep::Begun { by } if by.is_empty() => "begins".to_owned(),
                PollStep::Begun { by } => format!("begins, by {by}"),
                PollStep::Asked => "has asked everybody".to_owned(),
                PollStep::Skipped { why } => format!("is not held: {why}"),
            };
            ("poll", None, format!("{} {}: {what}", fact.round.poll, fact.round.due))
        }
        Fact::Remembered { device, memory } => {
            ("remembered", Some(device.to_string()), format!("{} bytes", memory.0.len()))
        }
    }
}

fn piece_in_words(frame: u64, part: u32) -> String {
    if part == 0 { format!("frame {frame}") } else { format!("frame {frame}, part {part}") }
}

fn outcome_in_words(outcome: &FrameOutcome) -> String {
    match outcome {
        FrameOutcome::Fault { kind, detail } => format!("{}: {detail}", kind.name()),
        FrameOutcome::Decoded { messages, duplicate, held, .. } => {
            let mut words: Vec<String> = messages.iter().map(message_in_words).collect();
            words.extend(duplicate.then(|| "(repeated)".to_owned()));
            words.extend(held.then(|| "(held)".to_owned()));
            let behind = outcome.parts();
            let said =
                behind.iter().filter_map(|found| found.part.device.as_ref()).map(|device| format!("of {device}"));
            words.extend(said);
            words.join(", ")
        }
    }
}

fn message_in_words(message: &Message) -> String {
    match message {
        Message::Registration(r) => format!("registration {}", r.model).trim_end().to_owned(),
        Message::Heartbeat(_) => "heartbeat".into(),
        Message::Report(r) => {
            let values = r.registers.len() + r.series.iter().map(|s| s.samples.len()).sum::<usize>();
            format!("{} report of {values} values", r.cause)
        }
        Message::Event(e) => format!("event {}{}", e.code, if e.cleared { " cleared" } else { "" }),
        Message::Answer(a) => format!("answer {}", a.outcome),
        Message::Relayed(r) => format!("relayed from {}", r.target),
        Message::EndOfSession => "end of session".into(),
        Message::Unknown { what, .. } => format!("unknown: {what}"),
    }
}
