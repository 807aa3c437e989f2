//! What a terminal says of its own accord (USP/1 §E): one file a message. Whether it may say it now is decided elsewhere.

mod abnormal;
mod daily;
mod heartbeat;
pub mod history;
pub mod registration;
mod sub_meters;
mod transparent;

use crate::frame::{Header, flags, message};
use polymeter_sdk::Message;
use polymeter_sdk::bytes::FieldError;

/// Bodies start here; errors count from the frame's start.
pub const BODY_AT: usize = crate::frame::HEADER_BYTES;

/// A body's meaning. `None`: this protocol has no such message.
pub fn read(header: &Header, body: &[u8]) -> Result<Option<Vec<Message>>, FieldError> {
    let more = header.flags & flags::MORE != 0;
    Ok(Some(match header.message {
        message::REGISTRATION => registration::read(header, body)?.0,
        message::HEARTBEAT => heartbeat::read(body)?,
        message::DAILY => daily::read(body, more)?,
        message::HISTORY => history::read(body, more)?,
        message::ABNORMAL => abnormal::read(body, more)?,
        message::SUB_METERS => sub_meters::read(body, more)?,
        message::TRANSPARENT => transparent::read(body)?,
        _ => return Ok(None),
    }))
}
