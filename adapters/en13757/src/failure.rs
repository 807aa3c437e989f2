//! What a meter says of itself beside its values: the status byte, application errors and alarms.

use polymeter_sdk::{Event, Heartbeat, Message, Outcome};

/// Alarms of a status byte. Its upper three bits are the manufacturer's and stay in the raw status.
pub fn alarms(status: u8) -> Vec<String> {
    let mut alarms = Vec::new();
    match status & 3 {
        1 => alarms.push("application-busy".into()),
        2 => alarms.push("application-error".into()),
        3 => alarms.push("abnormal-condition".into()),
        _ => {}
    }
    for (bit, code) in [(4, "battery-low"), (8, "permanent-error"), (16, "temporary-error")] {
        if status & bit != 0 {
            alarms.push(code.into());
        }
    }
    alarms
}

/// How an application error ends a command, and why.
pub const fn outcome(code: u8) -> (Outcome, &'static str) {
    match code {
        1 => (Outcome::Unsupported, "unknown-message"),
        2 | 4..=6 => (Outcome::Refused, "malformed"),
        8 => (Outcome::Busy, "busy"),
        _ => (Outcome::Failed, "vendor-error"),
    }
}

/// An application error that answers no command; without a byte it is unspecified.
pub fn error(data: &[u8]) -> Vec<Message> {
    let code = data.first().copied().unwrap_or(0);
    let mut messages = vec![Event::new("application-error", None, u32::from(code)).into()];
    if let Some(surplus) = data.get(1..).filter(|s| !s.is_empty()) {
        messages.push(Message::unknown("application-error-data", surplus));
    }
    messages
}

/// An alarm report: bits of the manufacturer's own. Without any bit the meter says that nothing is wrong.
pub fn alarm(data: &[u8]) -> Vec<Message> {
    if !data.is_empty() && data.iter().all(|b| *b == 0) {
        return vec![Heartbeat { clock: None, valve: None }.into()];
    }
    let bits = data.iter().take(4).rev().fold(0, |sum, b| sum << 8 | u32::from(*b));
    let mut messages = vec![Event::new("abnormal-condition", None, bits).into()];
    if let Some(surplus) = data.get(4..).filter(|s| !s.is_empty()) {
        messages.push(Message::unknown("alarm-data", surplus));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_bits() {
        for (status, wanted) in [
            (0x00, &[][..]),
            (0xE0, &[]),
            (0x04, &["battery-low"]),
            (0x01, &["application-busy"]),
            (0x1F, &["abnormal-condition", "battery-low", "permanent-error", "temporary-error"]),
        ] {
            assert_eq!(alarms(status), wanted, "{status:02x}");
        }
    }
}
