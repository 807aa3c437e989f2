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
    (0..count).map(|_| entry(&mut r, more).map(Message::from)).collect()
}

fn entry(r: &mut Reader<'_>, more: bool) -> Result<Report, FieldError> {
    let subject = address(r, "sub-meter address")?;
    let at = clock(r, "reading time")?;
    let total = present_u32(r.u32_le("total")?);
    let status = r.u16_le("sub-meter status")?;
    let quality_at = r.offset();
    let (quality, alarm) = match r.u8("quality")? {
        // It was reached, and has nothing to tell. What nobody answered, or nobody could read, does not say that of it.
        0 | 1 if total.is_none() => (Quality::Good, Some("reading-absent")),
        0 => (Quality::Good, None),
        1 => (Quality::Stale, None),
        2 => (Quality::Stale, Some("no-answer-behind")),
        3 => (Quality::Invalid, None),
        other => return Err(FieldError::invalid("quality", quality_at, i64::from(other))),
    };
    // What the sub-meter measures is not said, so it is plain volume.
    let register = |total| Register::cumulative(Quantity::Volume, Unit::CubicMetre, i64::from(total), -2);
    Ok(Report {
        subject: Some(subject),
        at,
        registers: total.map(|total| register(total).with_quality(quality)).into_iter().collect(),
        alarms: alarm.map(String::from).into_iter().collect(),
        raw_status: u64::from(status),
        more_follows: more,
        ..Report::new(ReportCause::Other)
    })
}
