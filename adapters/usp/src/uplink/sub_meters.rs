//! 4066: what a concentrator has collected from the meters behind it.

use super::BODY_AT;
use crate::fields::{address, clock, present_u32};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, Quality, Quantity, Register, Report, ReportCause, Unit};

const ENTRY_BYTES: usize = 20;

// A count, then so many of:
// | Off | Size | Field                                      |
// |   0 |    7 | A7 of the sub-meter                        |
// |   7 |    6 | T6 of the reading                          |
// |  13 |    4 | total                                      |
// |  17 |    2 | the sub-meter's own status word            |
// |  19 |    1 | 0 good, 1 stale, 2 no answer, 3 CRC wrong  |
pub fn read(body: &[u8], more: bool) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let count = usize::from(r.u8("entry count")?);
    if count * ENTRY_BYTES != r.remaining() {
        return Err(FieldError::invalid("entry count", BODY_AT, count as i64));
    }
    let mut messages = Vec::with_capacity(count);
    let mut odd = Vec::new();
    for _ in 0..count {
        let raw: [u8; ENTRY_BYTES] = r.array("sub-meter entry")?;
        let (report, is_sound) = entry(raw, more)?;
        messages.extend(report.map(Message::from));
        if !is_sound {
            odd.extend_from_slice(&raw);
        }
    }
    if !odd.is_empty() {
        messages.push(Message::unknown("odd sub-meter entries", &odd));
    }
    Ok(messages)
}

/// What an entry tells, if it tells of whom, and whether all of it can be told. One meter's odd bytes cost the others nothing.
fn entry(bytes: [u8; ENTRY_BYTES], more: bool) -> Result<(Option<Report>, bool), FieldError> {
    let mut r = Reader::new(&bytes);
    let Ok(subject) = address(&mut r, "sub-meter address") else { return Ok((None, false)) };
    let told = clock(&mut r, "reading time")?;
    let total = present_u32(r.u32_le("total")?);
    let status = r.u16_le("sub-meter status")?;
    let quality = r.u8("quality")?;
    let is_sound = told.is_ok() && quality <= 3;
    let (quality, alarm) = match quality {
        // It was reached, and has nothing to tell. What nobody answered, or nobody could read, does not say that of it.
        0 | 1 if total.is_none() => (Quality::Good, Some("reading-absent")),
        0 => (Quality::Good, None),
        1 => (Quality::Stale, None),
        2 => (Quality::Stale, Some("no-answer-behind")),
        _ => (Quality::Invalid, None),
    };
    // What the sub-meter measures is not said, so it is plain volume.
    let register = |total| Register::cumulative(Quantity::Volume, Unit::CubicMetre, i64::from(total), -2);
    let report = Report {
        subject: Some(subject),
        at: told.unwrap_or_default(),
        registers: total.map(|total| register(total).with_quality(quality)).into_iter().collect(),
        alarms: alarm.map(String::from).into_iter().collect(),
        raw_status: u64::from(status),
        more_follows: more,
        ..Report::new(ReportCause::Other)
    };
    Ok((Some(report), is_sound))
}
