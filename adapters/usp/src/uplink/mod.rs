//! What a terminal says of its own accord (USP/1 §E): one file a message. Whether it may say it now is decided elsewhere.

mod abnormal;
mod daily;
mod heartbeat;
pub mod history;
pub mod registration;
mod sub_meters;
mod transparent;

use crate::fields::date;
use crate::frame::{Header, flags, message};
use crate::status;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, civil};

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

/// Day (since 1970) of the newest reading of a 3043 or 3046.
pub fn newest_day(header: &Header, body: &[u8]) -> Option<i32> {
    let mut r = Reader::new(body);
    let (date, more_days) = if header.message == message::DAILY {
        (date(&mut r, "reading date").ok()?, 0)
    } else {
        r.take("period, format", 2).ok()?;
        (date(&mut r, "oldest date").ok()?, i32::from(r.u8("reading count").ok()?) - 1)
    };
    i32::try_from(date.div_euclid(civil::DAY)).ok()?.checked_add(more_days)
}
