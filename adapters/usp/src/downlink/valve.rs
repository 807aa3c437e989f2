//! 4031: valve order. The terminal executes an order id once, so the frame may be sent again.

use super::{Order, Rest};
use crate::fields::clock_bytes;
use crate::frame::message;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{AnswerBody, Civil, Fault, Outcome, Valve, ValveOrder, ValveState, civil};

/// A motor takes its time (§G 3).
const ANSWER_WITHIN_S: u16 = 60;

// | Off | Size | Field                                                   |
// |   0 |    1 | 1 open permit, 2 temporary close, 3 forced close        |
// |   1 |    4 | order id                                                |
// |   5 |    6 | T6, valid until                                         |
// |  11 |    1 | reason, from the close reasons                          |
pub fn order(valve: &Valve, now: Civil) -> Result<Order, Fault> {
    // The terminal would refuse it too (0D), but only if its clock is right.
    if now > valve.valid_until {
        return Err(Fault::out_of_range("valid_until", civil::text(valve.valid_until), "a time still to come"));
    }
    // Without a reason of its own, a remote close says that it was one.
    let (order, default_reason) = match valve.order {
        ValveOrder::PermitOpen => (1, 0),
        ValveOrder::CloseTemporary => (2, 1),
        ValveOrder::CloseForced => (3, 2),
    };
    let reason = names::reason_code(&valve.reason)
        .ok_or_else(|| Fault::out_of_range("reason", &valve.reason, "a close reason of this protocol"))?;
    let mut body = Vec::with_capacity(12);
    body.push(order);
    body.extend_from_slice(&valve.order_id.to_le_bytes());
    body.extend_from_slice(&clock_bytes("valid_until", valve.valid_until)?);
    body.push(if reason == 0 { default_reason } else { reason });
    Ok(Order { answer_within_s: ANSWER_WITHIN_S, ..Order::new(message::VALVE, body) })
}

/// Order id u32, valve u8, close reason u8.
pub fn answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let _order_id = r.u32_le("order id")?;
    let status = names::valve(r.u8("valve")?, r.u8("close reason")?);
    let outcome = (status.state == ValveState::Moving).then_some((Outcome::Accepted, ""));
    Ok(Rest { outcome, ..AnswerBody::Valve(status).into() })
}
