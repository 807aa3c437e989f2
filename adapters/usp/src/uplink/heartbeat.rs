//! 3003: an always-online terminal is still there.

use super::{BODY_AT, put_report};
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
    let told = clock(&mut r, "clock")?;
    let csq = r.u8("csq")?;
    let valve = names::valve(r.u8("valve")?, 0);
    r.finish("valve")?;
    let clock = told.unwrap_or_default();
    let signal = (csq != 99).then(|| {
        let signal = Register::new(Quantity::SignalCsq, Unit::None, i64::from(csq), 0);
        Report { at: clock, ..Report::new(ReportCause::Other).with_registers(vec![signal]) }
    });
    let mut messages = Vec::with_capacity(2);
    messages.push(Heartbeat { clock, valve: Some(valve) }.into());
    put_report(signal, told, &mut messages);
    Ok(messages)
}
