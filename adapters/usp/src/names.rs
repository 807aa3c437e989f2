//! The protocol's numbers and the registry's words for them (USP/1 §C, `wit/codes.md`).

use polymeter_sdk::{Initiator, Outcome, ValveState, ValveStatus};

/// Alarm bits 0..=27.
const ALARMS: [&str; 28] = [
    "valve-fault",
    "battery-low",
    "battery-exhausted",
    "backup-battery-low",
    "mains-lost",
    "strong-magnet",
    "cover-open",
    "tilt-or-removal",
    "gas-leak",
    "overflow",
    "small-flow",
    "continuous-flow",
    "reverse-flow",
    "pressure-high",
    "pressure-low",
    "temperature-high",
    "temperature-low",
    "metering-fault",
    "storage-fault",
    "clock-fault",
    "communication-lost",
    "balance-low",
    "balance-exhausted",
    "earthquake",
    "long-unused",
    "valve-passing",
    "no-answer-behind",
    "cable-cut",
];

/// Close reasons 1..=18.
const REASONS: [&str; 18] = [
    "remote-temporary",
    "remote-forced",
    "balance-low",
    "balance-exhausted",
    "battery-low",
    "power-lost",
    "strong-magnet",
    "cover-open",
    "gas-leak",
    "overflow",
    "small-or-continuous-flow",
    "reverse-flow",
    "communication-lost",
    "earthquake",
    "long-unused",
    "cable-cut",
    "pressure-abnormal",
    "local",
];

/// Sub-protocol codes.
const PROTOCOLS: [(u8, &str); 9] = [
    (0x01, "cjt188-le"),
    (0x02, "cjt188-be"),
    (0x03, "mbus"),
    (0x04, "modbus-rtu"),
    (0x05, "dlt645"),
    (0x06, "szrq"),
    (0x07, "qianwei"),
    (0x08, "fengxian"),
    (0xFE, "raw"),
];

/// The code of an alarm bit; bits 28..=31 are reserved.
pub fn alarm(bit: u8) -> String {
    ALARMS.get(usize::from(bit)).map_or_else(|| format!("vendor-alarm-{bit}"), |name| (*name).into())
}

/// The codes of a whole alarm word.
pub fn alarms(word: u32) -> Vec<String> {
    let mut codes = Vec::with_capacity(word.count_ones() as usize);
    codes.extend((0..32).filter(|bit| word >> bit & 1 == 1).map(alarm));
    codes
}

/// The registry's word for a close reason; 0 is none.
pub fn reason(code: u8) -> Option<String> {
    match code {
        0 => None,
        255 => Some("unknown".into()),
        _ => Some(REASONS.get(usize::from(code) - 1).map_or_else(|| format!("vendor-reason-{code}"), |r| (*r).into())),
    }
}

/// The number of a close reason.
pub fn reason_code(name: &str) -> Option<u8> {
    match name {
        "" => Some(0),
        "unknown" => Some(255),
        _ => REASONS.iter().position(|r| *r == name).map(|at| at as u8 + 1),
    }
}

/// State and reason, with whoever follows from it. A state that nobody has defined is as good as 4, unknown.
pub fn valve(state: u8, close_reason: u8) -> ValveStatus {
    let state = match state {
        0 => ValveState::Absent,
        1 => ValveState::Open,
        2 => ValveState::ClosedTemporary,
        3 => ValveState::ClosedForced,
        5 => ValveState::Fault,
        6 => ValveState::Moving,
        _ => ValveState::Unknown,
    };
    let by = match close_reason {
        1 | 2 => Initiator::Station,
        18 => Initiator::User,
        3..=17 => Initiator::Meter,
        _ => Initiator::Unknown,
    };
    ValveStatus { state, by, reason: reason(close_reason) }
}

/// A sub-protocol's registry code; unknown numbers keep theirs.
pub fn protocol(code: u8) -> String {
    PROTOCOLS
        .iter()
        .find(|(number, _)| *number == code)
        .map_or_else(|| format!("vendor-{code:02x}"), |(_, name)| (*name).into())
}

/// A sub-protocol's number.
pub fn protocol_code(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Result codes that are named in the code.
pub mod result {
    pub const OK: u8 = 0x00;
    pub const MALFORMED: u8 = 0x01;
    pub const UNKNOWN_MESSAGE: u8 = 0x02;
    pub const BUSY: u8 = 0x04;
    pub const NOT_ALLOWED: u8 = 0x05;
    pub const SECURITY: u8 = 0x07;
}

/// What a result code means for a command.
pub fn outcome(code: u8) -> (Outcome, &'static str) {
    match code {
        0x00 => (Outcome::Done, ""),
        0x01 => (Outcome::Refused, "malformed"),
        0x02 => (Outcome::Unsupported, "unknown-message"),
        0x03 => (Outcome::Refused, "bad-parameter"),
        0x04 => (Outcome::Busy, "busy"),
        0x05 => (Outcome::Refused, "not-allowed"),
        0x06 => (Outcome::Refused, "no-data"),
        0x07 => (Outcome::Refused, "security-failure"),
        0x08 => (Outcome::Failed, "valve-failure"),
        0x09 => (Outcome::NoAnswerBehind, "no-answer-behind"),
        0x0A => (Outcome::Refused, "not-in-archive"),
        0x0B => (Outcome::Refused, "storage-full"),
        0x0C => (Outcome::AlreadyDone, "duplicate-order"),
        0x0D => (Outcome::Expired, "order-expired"),
        0x0E => (Outcome::Unsupported, "unsupported"),
        _ => (Outcome::Other, "other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_protocols_both_ways() {
        for code in (0..=18).chain([255]) {
            assert_eq!(reason_code(&reason(code).unwrap_or_default()), Some(code));
        }
        for (code, _) in PROTOCOLS {
            assert_eq!(protocol_code(&protocol(code)), Some(code));
        }
        assert_eq!(reason(77).as_deref(), Some("vendor-reason-77"));
        assert_eq!(alarms(0x8000_0101), ["valve-fault", "gas-leak", "vendor-alarm-31"]);
        assert_eq!(valve(7, 0), valve(4, 0));
    }
}
