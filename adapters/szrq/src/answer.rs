//! What a meter answers to a command.

use crate::memory::Memory;
use crate::options::Options;
use crate::session::Sent;
use crate::wire::{Found, Values, found, total};
use crate::{alarms, code, items, report, tariff, wire};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    Answer, AnswerBody, Initiator, Message, Outcome, Parameter, Quantity, Report, ReportCause, Role, ValveState,
    ValveStatus,
};

/// Result codes.
const DONE: i8 = 1;
const NO_RECORD: i8 = -3;
const LOCKED: i8 = -5;
const UNKNOWN_WORD: i8 = -8;
const BAD_PARAMETER: i8 = -12;

/// Behind the result of 0C and of 22.
const FROZEN_BYTES: usize = 19;
const ACCOUNT_BYTES: usize = 28;

/// The valve words.
pub const OPEN: [u8; 2] = [0x33, 0xCC];
pub const CLOSE: [u8; 2] = [0x34, 0xCB];
pub const LOCK: [u8; 2] = [0x35, 0xCA];

/// An answer, and bytes in it that nothing explains.
pub struct Answered<'a> {
    pub answer: Answer,
    pub surplus: &'a [u8],
    /// Times in it that are none.
    pub others: Vec<Message>,
    pub class: Option<u8>,
}

/// `command` is that of the request. `sent` is the request, where this session knows it.
pub fn parse<'a>(
    command: u8,
    correlation: Vec<u8>,
    body: &'a [u8],
    sent: Option<Sent>,
    memory: &Memory,
    options: &Options,
) -> Result<Answered<'a>, FieldError> {
    let mut r = Reader::at(body, crate::frame::BODY_AT);
    let mut answer = Answer::new(correlation, Outcome::Done);
    let (mut class, mut others) = (None, Vec::new());
    match command {
        code::VALVE => valve(&mut r, &mut answer, sent)?,
        code::READ_FROZEN => {
            if result(&mut r, &mut answer)? {
                let frozen = report::frozen(&mut r, memory.device_type, options, &mut others)?;
                class = body.get(19).copied().filter(|class| wire::volume_exponent(*class).is_some());
                answer.body = AnswerBody::Report(frozen);
            } else {
                without_result(&mut r, &mut answer, "frozen data", FROZEN_BYTES)?;
            }
        }
        code::SET_BASE | code::SET_REPORT | code::SET_SERVERS | code::SET_ALARMS => {
            let items::Echo { refused, parameters } = items::echo(command, &mut r, options)?;
            by_flags(&mut answer, refused, parameters);
        }
        code::READ_ALL => answer.body = AnswerBody::Parameters(items::all(&mut r, options)?),
        code::SET_TARIFF => {
            let (refused, parameters) = tariff::read(&mut r)?;
            by_flags(&mut answer, refused, parameters);
        }
        code::READ_TARIFF => answer.body = AnswerBody::Parameters(tariff::read(&mut r)?.1),
        code::SYNC_BALANCE => {
            if result(&mut r, &mut answer)? {
                answer.body = AnswerBody::Report(account(&mut r, memory, options, &mut others)?);
            } else {
                without_result(&mut r, &mut answer, "account", ACCOUNT_BYTES)?;
            }
        }
        _ => {
            // 20: how a meter fills it is not known.
            answer.outcome = Outcome::Other;
            answer.body = AnswerBody::Raw(r.rest().to_vec());
        }
    }
    Ok(Answered { answer, surplus: r.rest(), others, class })
}

/// The result at the start; true when done.
fn result(r: &mut Reader, answer: &mut Answer) -> Result<bool, FieldError> {
    let code = r.i8("result")?;
    (answer.outcome, answer.reason) = match code {
        DONE => return Ok(true),
        NO_RECORD => (Outcome::Failed, "no-data".into()),
        LOCKED => (Outcome::Refused, "not-allowed".into()),
        UNKNOWN_WORD => (Outcome::Unsupported, "unsupported".into()),
        BAD_PARAMETER => (Outcome::Refused, "bad-parameter".into()),
        _ => (Outcome::Failed, "vendor-error".into()),
    };
    answer.raw_code = u32::from(code.cast_unsigned());
    Ok(false)
}

/// What was not done has no values: the firmware fills their places with zeros, which are neither a total nor a balance.
fn without_result(r: &mut Reader, answer: &mut Answer, field: &'static str, bytes: usize) -> Result<(), FieldError> {
    let rest = r.take(field, bytes)?;
    if rest.iter().any(|b| *b != 0) {
        answer.body = AnswerBody::Raw(rest.to_vec());
    }
    Ok(())
}

/// The state comes after the motor has stopped, so it also tells whether the order was carried out.
fn valve(r: &mut Reader, answer: &mut Answer, sent: Option<Sent>) -> Result<(), FieldError> {
    let done = result(r, answer)?;
    let mut status = ValveStatus::new(alarms::valve_state(r.u8("valve")?));
    let order = sent.map(|sent| sent.order.to_be_bytes());
    if done {
        match (order, status.state) {
            (_, ValveState::Fault | ValveState::Absent) | (Some(CLOSE | LOCK), ValveState::Open) => {
                (answer.outcome, answer.reason) = (Outcome::Failed, "valve-failure".into());
            }
            // Closed, but anybody may open it at the meter.
            (Some(LOCK), ValveState::ClosedTemporary) => {
                (answer.outcome, answer.reason) = (Outcome::Failed, "not-allowed".into());
            }
            // The lock of the platform is off; the meter may have one of its own, or shows the key press later.
            (Some(OPEN), ValveState::ClosedForced) | (Some(_), ValveState::Unknown) => {
                answer.outcome = Outcome::Accepted;
            }
            (Some(LOCK), ValveState::ClosedForced) => {
                (status.by, status.reason) = (Initiator::Station, Some("remote-forced".into()));
            }
            (Some(CLOSE), ValveState::ClosedTemporary) => {
                (status.by, status.reason) = (Initiator::Station, Some("remote-temporary".into()));
            }
            _ => {}
        }
    }
    answer.body = AnswerBody::Valve(status);
    Ok(())
}

/// Every item has a result of its own; the order is done when at least one was set and none refused.
fn by_flags(answer: &mut Answer, refused: bool, parameters: Vec<Parameter>) {
    if refused {
        (answer.outcome, answer.reason) = (Outcome::Refused, "bad-parameter".into());
        answer.raw_code = u32::from(BAD_PARAMETER.cast_unsigned());
    } else if parameters.is_empty() {
        (answer.outcome, answer.reason) = (Outcome::Failed, "other".into());
    }
    if !parameters.is_empty() {
        answer.body = AnswerBody::Parameters(parameters);
    }
}

/// 22, read back: balance, remaining volume, settled volume and time, start of the tier.
fn account(
    r: &mut Reader,
    memory: &Memory,
    options: &Options,
    others: &mut Vec<Message>,
) -> Result<Report, FieldError> {
    let mut out = Values::with_capacity(4);
    let balance = r.i32_le("balance")?;
    let remaining = found(r.i32_le("remaining volume")?);
    let settled = found(r.i32_le("settled volume")?);
    let settled_at = out.take_time(r, "settlement time")?;
    let tier = found(r.i32_le("tier start volume")?);
    let tier_at = out.take_time(r, "tier start time")?;
    out.put_balance(balance, 48, options);
    // The scale is the class's; a meter whose class nobody has told gives numbers without a unit.
    let scale = memory.class.and_then(wire::volume_exponent);
    let mut volume = |found: Found<i64>, quantity, code, at| {
        let mut register = total(quantity, code).with_role(Role::Frozen);
        register.at = at;
        out.put_volume(found, scale, register);
    };
    volume(remaining, Quantity::RemainingVolume, 52, None);
    volume(settled, Quantity::Volume, 56, settled_at);
    volume(tier, Quantity::Volume, 66, tier_at);
    out.take_odd(others);
    Ok(Report::new(ReportCause::OnDemand).with_registers(out.registers))
}
