//! What a terminal says of its own accord (USP/1 §E): one file a message. Whether it may say it now is decided elsewhere.

mod abnormal;
mod daily;
mod heartbeat;
pub mod history;
pub mod registration;
mod sub_meters;
mod transparent;

use crate::fields::{Told, date};
use crate::frame::{Header, flags, message};
use crate::status;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, Report, ReportCause, civil};

/// Bodies start here; errors count from the frame's start.
pub const BODY_AT: usize = crate::frame::HEADER_BYTES;

/// A body's meaning. `None`: this protocol has no such message.
pub fn read(header: &Header, body: &[u8]) -> Result<Option<Vec<Message>>, FieldError> {
    let more = header.flags & flags::MORE != 0;
    let mut messages = match header.message {
        message::REGISTRATION => registration::read(header, body)?.0,
        message::HEARTBEAT => heartbeat::read(body)?,
        message::DAILY => daily::read(body, more)?,
        message::HISTORY => history::read(body, more)?,
        message::ABNORMAL => abnormal::read(body, more)?,
        message::SUB_METERS => sub_meters::read(body, more)?,
        message::TRANSPARENT => transparent::read(body)?,
        _ => return Ok(None),
    };
    if matches!(header.message, message::DAILY | message::HISTORY | message::ABNORMAL)
        && let Some(Message::Report(report)) = messages.first_mut()
    {
        status::note_absence(header.terminal, report);
    }
    Ok(Some(messages))
}

/// The report beside a registration or heartbeat, if there is one or its clock is no time.
fn put_report(mut report: Option<Report>, told: Told, out: &mut Vec<Message>) {
    let odd = told.err().map(|packed| {
        let report = report.get_or_insert_with(|| Report::new(ReportCause::Other));
        status::odd_clock(packed, report)
    });
    out.extend(report.map(Message::from));
    out.extend(odd);
}

/// Readings of a day that does not exist belong to no day: the first bytes of a body are kept, and the total of now counts alone.
#[cold]
fn keep_undated(body: &[u8], bytes: usize, out: &mut Vec<Message>) {
    out.push(Message::unknown("readings of no day", body.get(..bytes).unwrap_or_default()));
}

/// Day (since 1970) of the newest reading of a 3043 or 3046.
pub fn newest_day(header: &Header, body: &[u8]) -> Option<i32> {
    let mut r = Reader::new(body);
    let (date, more_days) = if header.message == message::DAILY {
        (date(&mut r, "reading date").ok()??, 0)
    } else {
        r.take("period, format", 2).ok()?;
        (date(&mut r, "oldest date").ok()??, i32::from(r.u8("reading count").ok()?) - 1)
    };
    i32::try_from(date.div_euclid(civil::DAY)).ok()?.checked_add(more_days)
}
