//! What may be ordered at all: checked before a command becomes an entry, so that a refusal reaches the person who asked.

use crate::clock::Clock;
use crate::limits;
use crate::model::{Capabilities, Command, Valve, ValveState};
use crate::records::weigh::OWN_CODE;
use std::time::Duration;

/// Why a valve is closed: the first table of section 3 of `wit/codes.md`.
const CLOSE_REASONS: [&str; 30] = [
    "remote-temporary",
    "overflow",
    "remote-forced",
    "small-or-continuous-flow",
    "remote",
    "small-flow",
    "balance-low",
    "continuous-flow",
    "balance-exhausted",
    "constant-flow",
    "overdraft-limit",
    "reverse-flow",
    "battery-low",
    "reverse-installation",
    "battery-exhausted",
    "communication-lost",
    "power-lost",
    "earthquake",
    "strong-magnet",
    "long-unused",
    "cover-open",
    "cable-cut",
    "tilt",
    "pressure-abnormal",
    "removal",
    "pressure-low",
    "gas-leak",
    "local",
    "other",
    "unknown",
];

/// What is known of the device when something is asked of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// `None`: the device never registered its abilities.
    pub capabilities: Option<Capabilities>,
    pub valve: Option<ValveState>,
    pub held: bool,
}

/// Why a command is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no device {0}; list them with `polymeter meter list`, or adopt it first")]
    UnknownDevice(String),
    #[error("{0} is held and gets no commands; let it in with `polymeter meter adopt {0}`")]
    Held(String),
    #[error("{0} has no valve")]
    NoValve(String),
    #[error(
        "command {other} for this device is a valve order too and is not finished; cancel it if it has not been sent, else wait until it is answered or unconfirmed, then order again"
    )]
    ValveBusy { other: u64 },
    #[error("{pending} commands wait for this device already; cancel some first")]
    QueueFull { pending: usize },
    #[error("{0}")]
    Invalid(String),
    #[error("command {0} does not wait any more: it is sent or over, and cannot be cancelled")]
    NotWaiting(u64),
    #[error(
        "command {0} is not unconfirmed: only one that was sent, got no answer and has not been settled can be settled, once"
    )]
    NotUnconfirmed(u64),
    #[error("the journal cannot be written ({0}); nothing was ordered")]
    Store(String),
    #[error("what is known of the device cannot be read ({0}); nothing was ordered")]
    Unknowable(String),
}

/// The time a command may wait, checked against its kind.
pub fn expiry(command: &Command, asked: Option<Duration>) -> Result<Duration, Refusal> {
    let (default, max) = match command {
        Command::Valve(_) => (limits::VALVE_EXPIRY_DEFAULT, limits::VALVE_EXPIRY_MAX),
        _ => (limits::COMMAND_EXPIRY_DEFAULT, limits::COMMAND_EXPIRY_MAX),
    };
    let wanted = asked.unwrap_or(default);
    if wanted.is_zero() || wanted > max {
        return Err(Refusal::Invalid(format!(
            "a {} command may wait between 1 s and {} h, not {} s",
            command.name(),
            max.as_secs() / 3600,
            wanted.as_secs()
        )));
    }
    Ok(wanted)
}

/// A valve order's end as the device's clock will show it must not come twice, or the order could live as much longer as the clocks
/// go back: it ends before that. Gives the reason where that changes anything.
pub fn end_before_repetition(now_ms: i64, expires_ms: &mut i64, clock: &Clock) -> Result<Option<String>, Refusal> {
    let Some(twice) = clock.shown_twice(now_ms, *expires_ms) else { return Ok(None) };
    let before_ms = twice.start - 1_000;
    if before_ms <= now_ms {
        let least_s = (twice.end - now_ms + 999) / 1_000;
        return Err(Refusal::Invalid(format!(
            "the order would end in an hour that the clocks show twice, and the device could not tell which one is meant: let it wait for at least {least_s} s (`expires_s`), or order once the clocks have gone back"
        )));
    }
    *expires_ms = before_ms;
    Ok(Some(format!("it ends at {}, before an hour that the clocks show twice", clock.civil(before_ms))))
}

/// Whether this device can be asked this.
pub fn admit(device: &str, command: &Command, known: Option<Known>) -> Result<(), Refusal> {
    let Some(known) = known else { return Err(Refusal::UnknownDevice(device.into())) };
    if known.held {
        return Err(Refusal::Held(device.into()));
    }
    if let Command::Valve(order) = command {
        let lacks = known.capabilities.is_some_and(|c| c.0 != 0 && !c.has("valve"));
        if lacks || known.valve == Some(ValveState::Absent) {
            return Err(Refusal::NoValve(device.into()));
        }
        check_valve(order)?;
    }
    if let Command::ReadHistory { first, last, .. } = command
        && first > last
    {
        return Err(Refusal::Invalid(format!("the history would end ({last}) before it begins ({first})")));
    }
    if matches!(command, Command::EndSession { .. }) {
        return Err(Refusal::Invalid("sessions are ended by the station itself".into()));
    }
    let bytes = postcard::to_stdvec(command).map_or(usize::MAX, |b| b.len());
    if bytes > limits::COMMAND_BYTES_MAX {
        return Err(Refusal::Invalid(format!("a command has at most {} bytes", limits::COMMAND_BYTES_MAX)));
    }
    Ok(())
}

fn check_valve(order: &Valve) -> Result<(), Refusal> {
    if order.order_id.is_some() || order.valid_until.is_some() {
        let why = "order_id and valid_until are the station's to set: leave them out, and say how long the order may wait with `expires_s`";
        return Err(Refusal::Invalid(why.into()));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if order.reason.len() > limits::REASON_BYTES_MAX || !order.reason.bytes().all(plain) {
        return Err(Refusal::Invalid(format!(
            "a reason is a code of wit/codes.md, such as balance-exhausted: at most {} of a-z, 0-9 and `-`; what else there is to say goes into the note",
            limits::REASON_BYTES_MAX
        )));
    }
    // A slip of the pen would be found out only once the device is there, and until then stand in the way of the right order.
    let reason = order.reason.as_str();
    if !reason.is_empty() && !reason.starts_with(OWN_CODE) && !CLOSE_REASONS.contains(&reason) {
        return Err(Refusal::Invalid(format!(
            "`{reason}` is no reason for a valve order; leave it out, or write one of {}, or a vendor's own with `{OWN_CODE}` in front",
            CLOSE_REASONS.join(", ")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReadScope, ValveOrder};

    fn valve() -> Command {
        Command::Valve(Valve {
            order: ValveOrder::CloseForced,
            order_id: None,
            valid_until: None,
            reason: String::new(),
        })
    }

    #[test]
    fn valves_are_ordered_only_where_there_is_one() {
        let known = |bits, valve| Some(Known { capabilities: Some(Capabilities(bits)), valve, held: false });
        assert_eq!(admit("d", &valve(), known(1, None)), Ok(()));
        assert_eq!(admit("d", &valve(), known(2, None)), Err(Refusal::NoValve("d".into())));
        assert_eq!(admit("d", &valve(), known(1, Some(ValveState::Absent))), Err(Refusal::NoValve("d".into())));
        assert_eq!(
            admit("d", &valve(), Some(Known::default())),
            Ok(()),
            "a device that never said is trusted to have one"
        );
        assert_eq!(admit("d", &valve(), None), Err(Refusal::UnknownDevice("d".into())));
        let held = Some(Known { held: true, ..Known::default() });
        assert_eq!(admit("d", &Command::Read { scope: ReadScope::Current }, held), Err(Refusal::Held("d".into())));
    }

    #[test]
    fn a_reason_is_a_code() {
        let known = Some(Known { capabilities: Some(Capabilities(1)), ..Known::default() });
        let long = format!("{OWN_CODE}{}", "a".repeat(limits::REASON_BYTES_MAX - OWN_CODE.len()));
        for (reason, is_good) in [
            ("", true),
            ("gas-leak", true),
            ("gas-leek", false),
            ("valve-fault", false),
            (long.as_str(), true),
            (&format!("{long}a"), false),
            ("Gas leak", false),
            ("gas\u{1b}[2J", false),
            ("漏气", false),
        ] {
            let Command::Valve(order) = valve() else { panic!("no valve order") };
            let order = Command::Valve(Valve { reason: reason.into(), ..order });
            assert_eq!(admit("d", &order, known).is_ok(), is_good, "{reason:?}");
        }
    }

    #[test]
    fn the_reasons_are_those_of_the_registry_of_codes() {
        let codes = include_str!("../../../wit/codes.md");
        let (_, table) = codes.split_once("\nWhy a valve is closed").expect("the table");
        let (table, _) = table.split_once("\nWhy a command was not done").expect("the next table");
        let cells = table.lines().flat_map(|line| line.split('|'));
        let listed: Vec<&str> = cells.filter_map(|cell| cell.trim().strip_prefix('`')?.split('`').next()).collect();
        assert_eq!(listed, CLOSE_REASONS);
    }

    #[test]
    fn a_valve_order_does_not_wait_for_ever() {
        assert_eq!(expiry(&valve(), None), Ok(limits::VALVE_EXPIRY_DEFAULT));
        assert!(expiry(&valve(), Some(limits::VALVE_EXPIRY_MAX + Duration::from_secs(1))).is_err());
        assert!(expiry(&valve(), Some(Duration::ZERO)).is_err());
    }
}
