//! 3062: something happened, and the terminal called by itself.

use super::BODY_AT;
use crate::status::{self, Status, read_events};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, ReportCause};

// | Off | Size | Field                             |
// |   0 |   38 | SB                                |
// |  38 |      | EV list, at least 1, oldest first |
pub fn read(body: &[u8], more: bool) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let status = Status::read(&mut r)?;
    let mut registers = Vec::with_capacity(status::REGISTERS_MAX);
    status.registers(&mut registers);
    let mut messages = status.tell(status.report(ReportCause::Alarm, registers, more));
    read_events(&mut r, 1, &mut messages)?;
    Ok(messages)
}
