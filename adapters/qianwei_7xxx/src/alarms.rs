//! The alarm word of a report, bit by bit, and what it tells of a closed valve.
//!
//! Internal is the lithium cell, external the dry cells. A meter that has both lives on the dry cells and keeps the lithium
//! cell in reserve, so there the internal one is the contract's backup battery.

use crate::options::Batteries;
use polymeter_sdk::{Civil, Event, Initiator, Message, Report, ValveState, ValveStatus};

/// No bit says so: the total is all ones.
pub const READING_ABSENT: &str = "reading-absent";
/// Bit 15 says so, and so does a read time that does not exist.
const CLOCK_FAULT: &str = "clock-fault";
/// Remote open carried out 远程开阀.
pub const REMOTE_OPEN: u32 = 1 << 12;
/// Remote normal close carried out 远程普通关阀.
pub const REMOTE_CLOSE: u32 = 1 << 13;
const OCCURRENCES: u32 = REMOTE_OPEN | REMOTE_CLOSE;

/// Codes of the bits with meters that have both batteries; empty: an occurrence, not a condition. The public decoder tests
/// bit 27 for the last two; the second is evidently 28.
const CONDITIONS: [&str; 32] = [
    "gas-leak",
    "pressure-low",
    "pressure-high",
    "temperature-abnormal",
    "overflow",
    "small-flow",
    "continuous-flow",
    "reverse-connection",
    "strong-magnet",
    "hall-sensor-magnet",
    "valve-passing",
    "valve-fault",
    "",
    "",
    "sensor-fault",
    CLOCK_FAULT,
    "storage-fault",
    "cover-open",
    "communication-lost",
    "overdraft-limit",
    "balance-low",
    "backup-battery-low",
    "backup-battery-exhausted",
    "battery-low",
    "battery-exhausted",
    "mains-lost",
    "external-clock-fault",
    "earthquake",
    "long-unused",
    "vendor-alarm-29",
    "vendor-alarm-30",
    "vendor-alarm-31",
];

/// Bits that make a meter close its valve, and the reason to give.
const CLOSING: [(u32, &str); 17] = [
    (27, "earthquake"),
    (0, "gas-leak"),
    (4, "overflow"),
    (8, "strong-magnet"),
    (9, "strong-magnet"),
    (17, "cover-open"),
    (7, "reverse-installation"),
    (6, "continuous-flow"),
    (5, "small-flow"),
    (1, "pressure-low"),
    (2, "pressure-abnormal"),
    (25, "power-lost"),
    (24, "battery-exhausted"),
    (22, "battery-exhausted"),
    (19, "overdraft-limit"),
    (18, "communication-lost"),
    (28, "long-unused"),
];

/// Codes of the conditions that are active.
pub fn codes(bits: u32, batteries: Batteries) -> Vec<String> {
    let mut left = bits & !OCCURRENCES;
    let mut codes = Vec::with_capacity(left.count_ones() as usize);
    while left != 0 {
        let bit = left.trailing_zeros();
        left &= left - 1;
        codes.push(code(bit, batteries).to_owned());
    }
    codes
}

/// Adds the clock's fault, unless the meter has told it.
pub fn put_clock_fault(report: &mut Report) {
    if !report.alarms.iter().any(|alarm| alarm == CLOCK_FAULT) {
        report.alarms.push(CLOCK_FAULT.into());
    }
}

/// The occurrences among bits that were not set before.
pub fn occurrences(bits: u32, before: u32, at: Option<Civil>) -> impl Iterator<Item = Message> {
    let new = bits & !before;
    [(12, "remote-open-done"), (13, "remote-close-done")]
        .into_iter()
        .filter(move |(bit, _)| new >> bit & 1 == 1)
        .map(move |(bit, code)| Event::new(code, at, bit).into())
}

/// Which occurrence bits are set, to be remembered.
pub const fn occurrence_bits(bits: u32) -> u32 {
    bits & OCCURRENCES
}

/// State of the valve by its number (0..=5), and why it is closed as far as the alarm bits tell: no field says, so where more
/// than one could be it, none is named.
pub fn valve(state: u8, bits: u32) -> ValveStatus {
    let state = match state {
        0 => ValveState::Absent,
        1 => ValveState::Open,
        2 => ValveState::ClosedTemporary,
        3 => ValveState::ClosedForced,
        5 => ValveState::Fault,
        _ => ValveState::Unknown,
    };
    let mut status = ValveStatus::new(state);
    match state {
        ValveState::Open if bits & REMOTE_OPEN != 0 => status.by = Initiator::Station,
        ValveState::ClosedTemporary if bits & REMOTE_CLOSE != 0 => {
            status.by = Initiator::Station;
            status.reason = Some("remote-temporary".into());
        }
        ValveState::ClosedTemporary | ValveState::ClosedForced => {
            let mut set = CLOSING.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, reason)| *reason);
            let first = set.next();
            let is_alone = bits & REMOTE_CLOSE == 0 && set.all(|other| Some(other) == first);
            status.reason = first.filter(|_| is_alone).map(str::to_owned);
        }
        _ => {}
    }
    status
}

fn code(bit: u32, batteries: Batteries) -> &'static str {
    match (batteries, bit) {
        (Batteries::InternalOnly, 21) => "battery-low",
        (Batteries::InternalOnly, 22) => "battery-exhausted",
        _ => CONDITIONS[bit as usize & 31],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_a_code_and_occurrences_are_events() {
        assert_eq!(codes(0x0020_0100, Batteries::Both), ["strong-magnet", "backup-battery-low"]);
        assert_eq!(codes(0x0020_0100, Batteries::InternalOnly), ["strong-magnet", "battery-low"]);
        assert_eq!(codes(0x1800_0000, Batteries::Both), ["earthquake", "long-unused"]);
        assert_eq!(codes(u32::MAX, Batteries::Both).len(), 30);
        assert!(codes(u32::MAX, Batteries::Both).iter().all(|code| !code.is_empty()));
        assert_eq!(occurrences(u32::MAX, 0, None).count(), 2);
        assert_eq!(occurrences(u32::MAX, REMOTE_OPEN, None).count(), 1);
    }

    #[test]
    fn a_closed_valve_gets_a_reason_that_is_alone() {
        let reason = |state, bits| valve(state, bits).reason;
        assert_eq!(reason(3, 1), Some("gas-leak".into()));
        assert_eq!(reason(3, 1 << 10 | 1), Some("gas-leak".into()), "an alarm that closes nothing");
        assert_eq!(reason(3, 1 << 8 | 1 << 9), Some("strong-magnet".into()), "two bits of one reason");
        assert_eq!(reason(3, 1 << 8 | 1), None);
        assert_eq!(reason(3, REMOTE_CLOSE | 1), None);
        assert_eq!(reason(2, REMOTE_CLOSE | 1 << 8), Some("remote-temporary".into()));
        assert_eq!(reason(3, REMOTE_CLOSE), None);
        assert_eq!(reason(1, u32::MAX), None, "an open valve has no reason to be closed");
        assert_eq!(valve(9, 0).state, ValveState::Unknown);
    }
}
