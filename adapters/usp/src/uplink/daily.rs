//! 3043: the reading of one day's 00:00, the state now, and the events of the previous day.

use super::{BODY_AT, keep_undated};
use crate::fields::{date, present_u32};
use crate::status::{self, Status, read_events};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, Quantity, Register, ReportCause, Unit};

/// Date and both totals.
const READING_BYTES: usize = 11;

// | Off | Size | Field                      |
// |   0 |    3 | D3 of the reading          |
// |   3 |    4 | uncorrected total at 00:00 |
// |   7 |    4 | standard total at 00:00    |
// |  11 |   38 | SB                         |
// |  49 |      | EV list                    |
pub fn read(body: &[u8], more: bool) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let day = date(&mut r, "reading date")?;
    let working = present_u32(r.u32_le("uncorrected total")?);
    let standard = present_u32(r.u32_le("standard total")?);
    let status = Status::read(&mut r)?;
    let mut registers = Vec::with_capacity(2 + status::REGISTERS_MAX);
    if let Some(day) = day {
        for (quantity, total) in [(Quantity::WorkingVolume, working), (Quantity::StandardVolume, standard)] {
            if let Some(total) = total {
                registers.push(Register::frozen(quantity, Unit::CubicMetre, i64::from(total), -2, day));
            }
        }
    }
    status.registers(&mut registers);
    let mut messages = status.tell(status.report(ReportCause::Daily, registers, more));
    read_events(&mut r, 0, &mut messages)?;
    if day.is_none() {
        keep_undated(body, READING_BYTES, &mut messages);
    }
    Ok(messages)
}
