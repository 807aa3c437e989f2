//! 4031: valve order. The terminal executes an order id once, so the frame may be sent again.

use super::{Order, Rest};
use crate::fields::clock_bytes;
use crate::frame::message;
use crate::memory;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{AnswerBody, Civil, Fault, Outcome, Valve, ValveOrder, ValveState, civil};

/// A motor takes its time (§G 3).
const ANSWER_WITHIN_S: u16 = 60;

const PERMIT_OPEN: u8 = 1;
const CLOSE_TEMPORARY: u8 = 2;
const CLOSE_FORCED: u8 = 3;

const fn code(order: ValveOrder) -> u8 {
    match order {
        ValveOrder::PermitOpen => PERMIT_OPEN,
        ValveOrder::CloseTemporary => CLOSE_TEMPORARY,
        ValveOrder::CloseForced => CLOSE_FORCED,
    }
}

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
    let order = code(valve.order);
    let default_reason = order - PERMIT_OPEN;
    let reason = names::reason_code(&valve.reason)
        .ok_or_else(|| Fault::out_of_range("reason", &valve.reason, "a close reason of this protocol"))?;
    let mut body = Vec::with_capacity(12);
    body.push(order);
    body.extend_from_slice(&valve.order_id.to_le_bytes());
    body.extend_from_slice(&clock_bytes("valid_until", valve.valid_until)?);
    body.push(if reason == 0 { default_reason } else { reason });
    Ok(Order { answer_within_s: ANSWER_WITHIN_S, ..Order::new(message::VALVE, body) })
}

/// What its answer will be judged by.
pub const fn sent(sequence: u16, valve: &Valve) -> memory::ValveOrder {
    memory::ValveOrder { sequence, order: code(valve.order), id: valve.order_id }
}

/// Order id u32, valve u8, close reason u8.
pub fn answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let order_id = Some(r.u32_le("order id")?);
    let status = names::valve(r.u8("valve")?, r.u8("close reason")?);
    Ok(Rest { order_id, ..AnswerBody::Valve(status).into() })
}

/// What an answer says of the order that was sent under its number; `None`: it names another order, whose answer it is.
///
/// An order is done when the valve is where it leads. Whoever says 00 or 0C and stands otherwise, is still moving or tells no
/// state has heard the order, no more: a later report decides.
pub fn judge(
    sent: Option<memory::ValveOrder>,
    said: (Outcome, &'static str),
    rest: &Rest,
) -> Option<(Outcome, &'static str)> {
    let tells = matches!(said.0, Outcome::Done | Outcome::AlreadyDone | Outcome::Failed);
    if tells && sent.zip(rest.order_id).is_some_and(|(sent, named)| sent.id != named) {
        return None;
    }
    let order = sent.map(|sent| sent.order);
    Some(match (said.0, &rest.body) {
        (Outcome::Done, None) => (Outcome::Accepted, said.1),
        (Outcome::Done | Outcome::AlreadyDone, Some(AnswerBody::Valve(status))) if !leads_to(order, status.state) => {
            (Outcome::Accepted, said.1)
        }
        _ => said,
    })
}

/// Whether a valve that has executed this order stands like that. `None`: an order that is not known any more.
fn leads_to(order: Option<u8>, state: ValveState) -> bool {
    use ValveState::{ClosedForced, ClosedTemporary, Open};
    match order {
        // It moves nothing, but a forced close that still stands has not been lifted.
        Some(PERMIT_OPEN) => matches!(state, Open | ClosedTemporary),
        Some(CLOSE_FORCED) => state == ClosedForced,
        _ => matches!(state, ClosedTemporary | ClosedForced),
    }
}
