//! 3003: an always-online terminal is still there.

use super::BODY_AT;
use crate::fields::clock;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Heartbeat, Message, Quantity, Register, Report, ReportCause, Unit};

// | Off | Size | Field                |
// |   0 |    6 | T6                   |
// |   6 |    1 | csq, 99 absent       |
// |   7 |    1 | valve                |
pub fn read(body: &[u8]) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let clock = clock(&mut r, "clock")?;
    let csq = r.u8("csq")?;
    let valve_at = r.offset();
    let valve = r.u8("valve")?;
    r.finish("valve")?;
    let status = names::valve(valve, 0).ok_or(FieldError::invalid("valve", valve_at, i64::from(valve)))?;
    let mut messages = Vec::with_capacity(2);
    messages.push(Heartbeat { clock, valve: Some(status) }.into());
    if csq != 99 {
        let signal = Register::new(Quantity::SignalCsq, Unit::None, i64::from(csq), 0);
        let mut report = Report::new(ReportCause::Other).with_registers(vec![signal]);
        report.at = clock;
        messages.push(report.into());
    }
    Ok(messages)
}
