//! `polymeter meter`: devices and what they said.

use super::client::{Access, Client, Rows, device_path};
use super::output::{Columns, Limit, Output, line, note};
use crate::records::weigh::OWN_CODE;
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Instead of an alarm's code.
const ANY: &str = "any";
/// The registry of codes.
const CODES: &str = include_str!("../../../wit/codes.md");

#[derive(Subcommand, Debug)]
pub enum MeterCommand {
    /// Devices, by key
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limit: Limit,
    },
    /// Everything known of one device
    Show {
        /// realm/address, such as usp/50001234567810
        device: String,
    },
    /// Stored values of a device, oldest first
    Readings {
        device: String,
        #[command(flatten)]
        span: Span,
        /// Also what was told differently later, marked: by a later frame or by a correction
        #[arg(long)]
        superseded: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// One total a day, with what was used since the day before
    Series {
        device: String,
        #[command(flatten)]
        span: Span,
    },
    /// Raw frames of a device and what they meant, newest first
    Frames {
        device: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Events that a device reported, by its clock, oldest first
    Events {
        device: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Let a held or refused device in, or announce one before it first connects
    Adopt { device: String },
    /// Forget what the adapter remembers of a device that was reset or exchanged, so that it is met anew
    ///
    /// Its readings, events and commands stay. Counters and key versions go, and they are what keeps recorded frames of
    /// former days from being believed again: only for a device that has really lost its own.
    Forget {
        device: String,
        /// Why; it stays in the journal
        #[arg(long)]
        reason: String,
    },
}

#[derive(Args, Debug)]
pub struct Filter {
    /// Only devices on line
    #[arg(long)]
    online: bool,
    /// Only devices that wait to be adopted
    #[arg(long)]
    held: bool,
    /// Only devices with this alarm; without a code: with any
    #[arg(long, num_args = 0..=1, default_missing_value = ANY, value_name = "CODE")]
    alarm: Option<String>,
    /// Only devices whose address, or realm/address, begins so
    #[arg(long)]
    prefix: Option<String>,
}

#[derive(Args, Debug)]
pub struct Span {
    /// First day or local time, by the device's clock
    #[arg(long)]
    from: Option<String>,
    /// Last day or local time
    #[arg(long)]
    to: Option<String>,
    /// Such as working-volume
    #[arg(long)]
    quantity: Option<String>,
}

const DEVICES: Columns<'_> = &[
    ("DEVICE", "/device"),
    ("KIND", "/kind"),
    ("MODEL", "/model"),
    ("ONLINE", "/online"),
    ("HELD", "/held"),
    ("LAST SEEN", "/last_seen"),
    ("VALVE", "/valve/state"),
    ("ALARMS", "/alarms"),
];
const DEVICE: Columns<'_> = &[
    ("device", "/device"),
    ("kind", "/kind"),
    ("manufacturer", "/registration/manufacturer"),
    ("model", "/registration/model"),
    ("firmware", "/registration/firmware"),
    ("capabilities", "/registration/capabilities"),
    ("schedule", "/reports"),
    ("adapter", "/adapter/name"),
    ("online", "/online"),
    ("held", "/held"),
    ("adopted", "/adopted"),
    ("first seen", "/first_seen"),
    ("last seen", "/last_seen"),
    ("last report", "/last_report"),
    ("clock", "/clock"),
    ("commands waiting", "/commands_waiting"),
    ("valve", "/valve/state"),
    ("valve by", "/valve/by"),
    ("valve reason", "/valve/reason"),
    ("alarms", "/alarms"),
    ("default key in use", "/default_key_in_use"),
];
/// Readings, and what a command has read, of which no frame is told.
pub const READINGS: Columns<'_> = &[
    ("AT", "/at"),
    ("QUANTITY", "/quantity"),
    ("STORAGE", "/storage"),
    ("TARIFF", "/tariff"),
    ("CHANNEL", "/channel"),
    ("VALUE", "/value"),
    ("UNIT", "/unit"),
    ("ROLE", "/role"),
    ("QUALITY", "/quality"),
    ("FRAME", "/frame"),
    ("ADAPTER", "/read_by/name"),
    ("VERSION", "/read_by/version"),
    ("CORRECTED", "/corrected_in"),
];
const SERIES: Columns<'_> =
    &[("DAY", "/day"), ("AT", "/at"), ("TOTAL", "/value"), ("UNIT", "/unit"), ("USED", "/used")];
const FRAMES: Columns<'_> = &[
    ("SEQ", "/seq"),
    ("RECEIVED", "/received"),
    ("ADAPTER", "/adapter/name"),
    ("MEANING", "/summary"),
    ("RAW", "/raw"),
];
const EVENTS: Columns<'_> =
    &[("FRAME", "/frame"), ("RECEIVED", "/received"), ("AT", "/at"), ("CODE", "/code"), ("CLEARED", "/cleared")];

pub fn run(access: &Access, command: MeterCommand) -> Result<()> {
    let client = access.remote.connect()?;
    let output = access.output;
    match command {
        MeterCommand::List { filter, limit } => {
            list(output, &filter, client.rows("devices", &filter.query(), limit.rows_max()))
        }
        MeterCommand::Show { device } => show(&client, output, &device),
        MeterCommand::Readings { device, span, superseded, limit } => {
            let path = format!("{}/readings", device_path(&device)?);
            let (mut query, mut columns) = (span.query(), READINGS.to_vec());
            if superseded {
                query.push(("superseded", "true".into()));
                columns.push(("SUPERSEDED", "/superseded"));
            }
            output.listing(&columns, client.rows(&path, &query, limit.rows_max()))
        }
        MeterCommand::Series { device, span } => {
            let path = format!("{}/series", device_path(&device)?);
            output.listing(SERIES, client.rows(&path, &span.query(), usize::MAX))
        }
        MeterCommand::Frames { device, limit } => {
            let path = format!("{}/frames", device_path(&device)?);
            output.listing(FRAMES, client.rows(&path, &[], limit.rows_max()))
        }
        MeterCommand::Events { device, limit } => {
            let path = format!("{}/events", device_path(&device)?);
            output.listing(EVENTS, client.rows(&path, &[], limit.rows_max()))
        }
        MeterCommand::Adopt { device } => {
            let answer = client.post(&format!("{}/adopt", device_path(&device)?), &json!({}))?;
            output.done(&format!("{device} is adopted"), &answer)
        }
        MeterCommand::Forget { device, reason } => {
            let answer = client.post(&format!("{}/forget", device_path(&device)?), &json!({ "reason": reason }))?;
            output.done(&format!("{device} is met anew"), &answer)
        }
    }
}

fn show(client: &Client, output: Output, device: &str) -> Result<()> {
    let answer = client.get(&device_path(device)?)?;
    output.object(DEVICE, &if output.json { answer.clone() } else { in_words(answer.clone()) })?;
    let latest: Vec<Value> = answer.get("latest").and_then(Value::as_array).cloned().unwrap_or_default();
    if output.json || latest.is_empty() {
        return Ok(());
    }
    line("")?;
    output.rows(READINGS, latest.into_iter().map(Ok))
}

/// Adds to a device what its fields say to people, and says "no" where a listing leaves it blank.
fn in_words(mut device: Value) -> Value {
    let schedule = device.get("schedule").or_else(|| device.pointer("/registration/schedule"));
    let reports = schedule.map(schedule_in_words).unwrap_or_default();
    let clock = device["clock_drift_s"].as_i64().map(|drift| match drift {
        0 => "as the station's".to_owned(),
        1.. => format!("{drift} s ahead of the station's"),
        _ => format!("{} s behind the station's", drift.unsigned_abs()),
    });
    device["reports"] = reports.into();
    device["clock"] = clock.unwrap_or_default().into();
    for flag in ["online", "held", "adopted"] {
        if device[flag] == false {
            device[flag] = "no".into();
        }
    }
    device
}

fn schedule_in_words(schedule: &Value) -> String {
    let minutes = |key: &str| schedule[key].as_u64().filter(|minutes| *minutes > 0);
    let start = schedule["minute_of_day"].as_u64().map(|minute| format!("from {:02}:{:02}", minute / 60, minute % 60));
    let rest =
        [("stagger", "stagger_minutes"), ("awake for", "awake_minutes"), ("heartbeat every", "heartbeat_minutes")];
    let rest = rest.into_iter().filter_map(|(word, key)| Some(format!("{word} {} min", minutes(key)?)));
    let begin = [schedule["period"].as_str().map(str::to_owned), start];
    let begin = begin.into_iter().flatten().collect::<Vec<_>>().join(" ");
    std::iter::once(begin).chain(rest).collect::<Vec<_>>().join(", ")
}

/// Devices. Where none has the alarm, the code may be a slip of the pen: a station that is newer than this program knows more
/// codes, so it is only remarked.
fn list(output: Output, filter: &Filter, mut rows: Rows<'_>) -> Result<()> {
    let strange = filter.alarm.as_deref().filter(|code| !output.json && *code != ANY && !is_condition(code));
    let slip = match strange {
        Some(code) if rows.nothing()? => Some(code),
        _ => None,
    };
    output.listing(DEVICES, rows)?;
    if let Some(code) = slip {
        note(&format!(
            "`{code}` is no alarm that this program knows: section 1 of wit/codes.md has the codes, a vendor's own begin with \
             `{OWN_CODE}`."
        ));
    }
    Ok(())
}

/// Whether the registry of codes has this alarm, or it is a vendor's own.
fn is_condition(code: &str) -> bool {
    let quoted = format!("`{code}`");
    let section = CODES.split("\n## ").find(|section| section.starts_with("1. ")).unwrap_or_default();
    let mut cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    code.starts_with(OWN_CODE) || cells.any(|codes| codes.split(", ").any(|one| one == quoted))
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let flags = [("online", self.online), ("held", self.held)];
        let mut query: Vec<_> =
            flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "true".to_owned())).collect();
        query.extend(self.alarm.clone().map(|code| ("alarm", code)));
        query.extend(self.prefix.clone().map(|prefix| ("prefix", prefix)));
        query
    }
}

impl Span {
    fn query(&self) -> Vec<(&'static str, String)> {
        let all = [("from", &self.from), ("to", &self.to), ("quantity", &self.quantity)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_shown_in_words() {
        let schedule = json!({"period": "daily", "minute_of_day": 20, "stagger_minutes": 120, "awake_minutes": 2, "heartbeat_minutes": 0});
        let told = json!({"online": true, "held": false, "clock_drift_s": -7, "registration": {"schedule": schedule}});
        let shown = in_words(told);
        assert_eq!(shown["reports"], "daily from 00:20, stagger 120 min, awake for 2 min");
        assert_eq!(
            (&shown["held"], &shown["online"], &shown["clock"]),
            (&json!("no"), &json!(true), &json!("7 s behind the station's"))
        );
    }

    #[test]
    fn an_alarm_is_a_condition_of_the_registry_or_a_vendors_own() {
        for (code, is_one) in [
            ("gas-leak", true),
            ("temporary-error", true),
            ("abnormal-close", true),
            ("vendor-3", true),
            ("gas-leek", false),
            ("valve-closed", false),
            ("Code", false),
            ("---", false),
            ("", false),
        ] {
            assert_eq!(is_condition(code), is_one, "{code}");
        }
    }
}
