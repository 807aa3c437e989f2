//! Alarm types, close reasons and valve states. Which conditions are active is known only from their events: of a report itself
//! only the levels of the batteries tell.

use polymeter_sdk::{Initiator, ValveState, ValveStatus};

const CONDITIONS: [&str; 18] = [
    "pressure-high",
    "pressure-low",
    "temperature-high",
    "temperature-low",
    "communication-cover-open",
    "base-cover-open",
    "strong-magnet",
    "gas-leak",
    "overflow",
    "mains-lost",
    "cable-cut",
    "battery-low",
    "backup-battery-low",
    "abnormal-close",
    "device-fault",
    "balance-low",
    "balance-low-2",
    "balance-exhausted",
];

/// Percent.
const BATTERY_LOW: i8 = 40;

/// Code of an alarm type; 0 is none.
pub fn condition(kind: u8) -> Option<String> {
    let known = usize::from(kind).checked_sub(1)?;
    Some(CONDITIONS.get(known).map_or_else(|| format!("vendor-alarm-{kind}"), |code| (*code).to_owned()))
}

/// The active conditions after an event: bit n is type n. Types without a bit are events only.
pub const fn after(active: u32, kind: u8, begins: bool) -> u32 {
    match kind {
        1..=31 if begins => active | 1 << kind,
        1..=31 => active & !(1 << kind),
        _ => active,
    }
}

/// Codes of the active conditions, beside what is said already.
pub fn codes(active: u32, out: &mut Vec<String>) {
    let mut left = active & !1;
    while left != 0 {
        let code = condition(left.trailing_zeros() as u8);
        out.extend(code.filter(|code| !out.contains(code)));
        left &= left - 1;
    }
}

/// What the levels of both batteries say, whose steps are 80, 40 for low and 0 for empty. Less than none is no level.
pub fn of_batteries(percents: [i8; 2], out: &mut Vec<String>) {
    const CODES: [[&str; 2]; 2] =
        [["battery-low", "battery-exhausted"], ["backup-battery-low", "backup-battery-exhausted"]];
    for (percent, [low, exhausted]) in percents.into_iter().zip(CODES) {
        if (0..=BATTERY_LOW).contains(&percent) {
            out.push(low.into());
        }
        if percent == 0 {
            out.push(exhausted.into());
        }
    }
}

/// 2 is closed and 3 locked; the firmware also locks by itself, for money or a magnet, so 3 alone does not say who closed.
pub const fn valve_state(valve: u8) -> ValveState {
    match valve {
        0 => ValveState::Absent,
        1 => ValveState::Open,
        2 => ValveState::ClosedTemporary,
        3 => ValveState::ClosedForced,
        5 => ValveState::Fault,
        _ => ValveState::Unknown,
    }
}

/// State with the close reason of an alarm report.
pub fn valve(valve: u8, reason: u8) -> ValveStatus {
    let mut status = ValveStatus::new(valve_state(valve));
    if !matches!(status.state, ValveState::ClosedTemporary | ValveState::ClosedForced) {
        return status;
    }
    let (by, code) = match reason {
        0 => return status,
        1 => (Initiator::Meter, "balance-low"),
        2 => (Initiator::Meter, "balance-exhausted"),
        3 => (Initiator::Meter, "overdraft-limit"),
        4 => (Initiator::Station, "remote"),
        5 => (Initiator::Meter, "battery-low"),
        6 => (Initiator::Meter, "cover-open"),
        7 => (Initiator::Meter, "cable-cut"),
        8 => (Initiator::Meter, "strong-magnet"),
        9 => (Initiator::Unknown, "other"),
        _ => (Initiator::Unknown, "unknown"),
    };
    (status.by, status.reason) = (by, Some(code.to_owned()));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_batteries() {
        for (percents, wanted) in [
            ([80, -1], &[][..]),
            ([41, 100], &[]),
            ([40, -1], &["battery-low"]),
            ([80, 40], &["backup-battery-low"]),
            ([0, 1], &["battery-low", "battery-exhausted", "backup-battery-low"]),
            ([-1, 0], &["backup-battery-low", "backup-battery-exhausted"]),
            ([-128, 127], &[]),
        ] {
            let mut list = Vec::new();
            of_batteries(percents, &mut list);
            assert_eq!(list, wanted, "{percents:?}");
        }
        let mut list = vec!["battery-low".to_owned()];
        codes(1 << 12 | 1 << 7, &mut list);
        assert_eq!(list, ["battery-low", "strong-magnet"]);
    }

    #[test]
    fn conditions_begin_and_end() {
        let active = after(after(after(0, 7, true), 12, true), 7, false);
        let mut list = Vec::new();
        codes(active, &mut list);
        assert_eq!(list, ["battery-low"]);
        assert_eq!(after(0, 200, true), 0);
        assert_eq!(condition(200).as_deref(), Some("vendor-alarm-200"));
        assert_eq!(condition(18).as_deref(), Some("balance-exhausted"));
        assert_eq!(condition(0), None);
    }
}
