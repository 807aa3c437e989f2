//! What a device can say. Wording of every field: `wit/types.wit`.

use super::{Civil, HexBytes, Register, Role, Series};
use serde::{Deserialize, Serialize};

names! {
    /// Where the valve stands.
    ValveState { Absent = "absent", Open = "open", ClosedTemporary = "closed-temporary", ClosedForced = "closed-forced", Closed = "closed", OpenPermitted = "open-permitted", Moving = "moving", Fault = "fault", Unknown = "unknown" }
}

names! {
    /// Who moved the valve.
    Initiator { Station = "station", Meter = "meter", User = "user", Unknown = "unknown" }
}

names! {
    /// Why a report came.
    ReportCause { Daily = "daily", Dekad = "dekad", Monthly = "monthly", Hourly = "hourly", Interval = "interval", OnDemand = "on-demand", Manual = "manual", Alarm = "alarm", Other = "other" }
}

names! {
    /// What kind of device.
    DeviceKind { Meter = "meter", Concentrator = "concentrator", Dtu = "dtu", Other = "other" }
}

names! {
    /// How often a device reports.
    ReportPeriod { Daily = "daily", Dekad = "dekad", Monthly = "monthly", Hourly = "hourly", Other = "other" }
}

names! {
    /// How a command ended at the device.
    Outcome { Done = "done", Accepted = "accepted", AlreadyDone = "already-done", Refused = "refused", Busy = "busy", Unsupported = "unsupported", Expired = "expired", Failed = "failed", NoAnswerBehind = "no-answer-behind", Other = "other" }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ValveStatus {
    pub state: ValveState,
    pub by: Initiator,
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    pub subject: Option<String>,
    pub cause: ReportCause,
    pub at: Option<Civil>,
    pub registers: Vec<Register>,
    pub series: Vec<Series>,
    pub valve: Option<ValveStatus>,
    pub alarms: Vec<String>,
    pub raw_status: u64,
    pub more_follows: bool,
}

impl Report {
    /// Whether it counts as one where people ask who has reported: it has a cause of the contract, or tells a total or a series. What
    /// comes beside a heartbeat, such as the signal, is neither.
    pub fn is_reading(&self) -> bool {
        let tells_total = || self.registers.iter().any(|register| register.role == Role::Cumulative);
        self.cause != ReportCause::Other || tells_total() || !self.series.is_empty()
    }
}

/// What the device says it can do; bits in the order of `capabilities` in `wit/types.wit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Capabilities(pub u16);

impl Capabilities {
    pub const NAMES: [&str; 10] = [
        "valve",
        "prepaid",
        "corrector",
        "remote-upgrade",
        "aes128",
        "sm4",
        "always-online",
        "concentrator",
        "dtu",
        "hourly-log",
    ];
    pub fn has(self, name: &str) -> bool {
        Self::NAMES.iter().position(|n| *n == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// When a device reports; minutes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub period: ReportPeriod,
    pub minute_of_day: u16,
    pub stagger_minutes: u16,
    pub awake_minutes: u16,
    pub heartbeat_minutes: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registration {
    pub kind: DeviceKind,
    pub manufacturer: String,
    pub model: String,
    pub hardware: String,
    pub firmware: String,
    pub iccid: String,
    pub imei: String,
    pub capabilities: Capabilities,
    pub schedule: Option<Schedule>,
    pub key_version: Option<u8>,
    pub clock: Option<Civil>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub clock: Option<Civil>,
    pub valve: Option<ValveStatus>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    pub subject: Option<String>,
    pub code: String,
    pub cleared: bool,
    pub at: Option<Civil>,
    pub value: Option<i64>,
    pub raw_code: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    pub value: ParameterValue,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterValue {
    Integer(i64),
    Text(String),
    Bytes(HexBytes),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchiveEntry {
    pub index: u16,
    pub address: String,
    pub protocol: String,
    pub channel: u8,
    pub baud: u32,
    pub format: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AnswerBody {
    None,
    Report(Report),
    Valve(ValveStatus),
    Clock(Civil),
    Schedule(Schedule),
    Parameters(Vec<Parameter>),
    Archive { total: u32, entries: Vec<ArchiveEntry> },
    FirmwareNext(u32),
    Balance(i64),
    Raw(HexBytes),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    pub correlation: HexBytes,
    pub outcome: Outcome,
    pub reason: String,
    pub raw_code: u32,
    pub body: AnswerBody,
    pub more_follows: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Relayed {
    pub target: String,
    pub protocol: String,
    pub channel: u8,
    pub payload: HexBytes,
    pub correlation: Option<HexBytes>,
}

/// One item of the unified model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    Registration(Registration),
    Heartbeat(Heartbeat),
    Report(Report),
    Event(Event),
    Answer(Answer),
    Relayed(Relayed),
    EndOfSession,
    Unknown { what: String, bytes: HexBytes },
}

impl Message {
    /// All kinds by their contract names, in the contract's order.
    pub const KINDS: [&str; 8] =
        ["registration", "heartbeat", "report", "event", "answer", "relayed", "end-of-session", "unknown"];

    /// Its kind by its contract name.
    pub fn kind(&self) -> &'static str {
        let at = match self {
            Self::Registration(_) => 0,
            Self::Heartbeat(_) => 1,
            Self::Report(_) => 2,
            Self::Event(_) => 3,
            Self::Answer(_) => 4,
            Self::Relayed(_) => 5,
            Self::EndOfSession => 6,
            Self::Unknown { .. } => 7,
        };
        Self::KINDS[at]
    }

    /// The values that it carries, on its own account or in answer to a command.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Report(report) => Some(report),
            Self::Answer(Answer { body: AnswerBody::Report(report), .. }) => Some(report),
            _ => None,
        }
    }

    /// As `report`, to change it.
    pub fn report_mut(&mut self) -> Option<&mut Report> {
        match self {
            Self::Report(report) => Some(report),
            Self::Answer(Answer { body: AnswerBody::Report(report), .. }) => Some(report),
            _ => None,
        }
    }

    /// Of whom a carrier speaks, if not of itself: what it calls him, or `realm/address` once the registry has been asked.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Event(event) => event.subject.as_deref(),
            other => other.report()?.subject.as_deref(),
        }
    }

    /// As `subject`, to name him.
    pub fn subject_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Event(event) => event.subject.as_mut(),
            other => other.report_mut()?.subject.as_mut(),
        }
    }
}
