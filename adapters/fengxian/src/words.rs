//! The bit words of the report: running state, close reasons, report reasons.

use polymeter_sdk::{Civil, Event, Initiator, Message, ReportCause, ValveState, ValveStatus, civil};

const STATES: [&str; 13] = [
    "sampling-failed",
    "gas-leak",
    "strong-magnet",
    "overflow",
    "small-flow",
    "battery-exhausted",
    "battery-low",
    "tilt",
    "removal",
    "reverse-installation",
    "constant-flow",
    "long-unused",
    "pressure-low",
];

/// Close reasons by bit, the gravest first. The remote one comes last: it says least about the place.
const CLOSING: [(u16, &str); 13] = [
    (1, "gas-leak"),
    (8, "removal"),
    (2, "strong-magnet"),
    (7, "tilt"),
    (9, "reverse-installation"),
    (3, "overflow"),
    (4, "small-flow"),
    (10, "constant-flow"),
    (12, "pressure-low"),
    (5, "battery-exhausted"),
    (0, "communication-lost"),
    (11, "long-unused"),
    (6, "remote"),
];

/// Report reasons by bit; 5 is the schedule.
const REASONS: [&str; 13] = [
    "key-press",
    "gas-leak",
    "strong-magnet",
    "overflow",
    "small-flow",
    "",
    "tilt",
    "vendor-event",
    "removal",
    "reverse-installation",
    "constant-flow",
    "long-unused",
    "pressure-low",
];
const KEY: u16 = 1;
const SCHEDULED: u16 = 1 << 5;

/// Codes of the conditions that are active.
pub fn alarms(state: u16) -> Vec<String> {
    let mut codes = Vec::with_capacity(state.count_ones() as usize);
    each(state, |bit| codes.push(STATES.get(bit).map_or_else(|| format!("vendor-state-{bit}"), |c| (*c).to_owned())));
    codes
}

/// The valve's word lists why it is closed; none is open. Which way it can be opened again is not said.
pub fn valve(word: u16) -> ValveStatus {
    if word == 0 {
        return ValveStatus::new(ValveState::Open);
    }
    let mut status = ValveStatus::new(ValveState::Closed);
    let known = CLOSING.iter().find(|(bit, _)| word & 1 << bit != 0);
    status.by = match known {
        Some((6, _)) => Initiator::Station,
        Some(_) => Initiator::Meter,
        None => Initiator::Unknown,
    };
    status.reason = Some(known.map_or("unknown", |(_, code)| code).to_owned());
    status
}

/// Why a report came, given how often the schedule sends one.
pub const fn cause(reasons: u16, interval_minutes: u16) -> ReportCause {
    if reasons & !(KEY | SCHEDULED) != 0 {
        return ReportCause::Alarm;
    }
    match (reasons & KEY != 0, reasons & SCHEDULED != 0, interval_minutes) {
        (true, ..) => ReportCause::Manual,
        (_, true, 1440) => ReportCause::Daily,
        (_, true, 60) => ReportCause::Hourly,
        (_, true, _) => ReportCause::Interval,
        _ => ReportCause::Other,
    }
}

/// What happened, as far as it made the meter report.
pub fn events(reasons: u16, at: Option<Civil>, out: &mut Vec<Message>) {
    each(reasons & !SCHEDULED, |bit| {
        let event = match REASONS.get(bit) {
            Some(code) => Event::new(code, at, bit as u32),
            None => Event::new(&format!("vendor-reason-{bit}"), at, bit as u32),
        };
        out.push(event.into());
    });
}

/// Keeps a clock that is no time; all zero is one not set. A report or heartbeat that is a fault because of it would be sent again
/// for ever, and only the end of a communication sets the clock.
pub fn odd_clock(clock: [u8; 6], out: &mut Vec<Message>) -> bool {
    let is_odd = clock != [0; 6] && civil::from_bcd6(clock).is_none();
    if is_odd {
        out.push(Message::unknown("clock", &clock));
    }
    is_odd
}

fn each(mut word: u16, mut visit: impl FnMut(usize)) {
    while word != 0 {
        visit(word.trailing_zeros() as usize);
        word &= word - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_codes() {
        assert_eq!(alarms(1 << 6 | 1 << 15), ["battery-low", "vendor-state-15"]);
        assert_eq!(valve(1 << 6).by, Initiator::Station);
        assert_eq!(valve(1 << 6 | 1 << 1).reason.as_deref(), Some("gas-leak"));
        assert_eq!(valve(1 << 14).reason.as_deref(), Some("unknown"));
        assert_eq!(cause(1 << 5, 1440), ReportCause::Daily);
        assert_eq!(cause(1 << 5 | 1, 1440), ReportCause::Manual);
        assert_eq!(cause(1 << 5 | 1 << 8, 60), ReportCause::Alarm);
    }
}
