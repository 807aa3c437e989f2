//! What a meter answers to a command: a code, and for reads the data.
//!
//! ```text
//! 0 code i16 (0 done; 7024: taken) | 2 reserved 0000, or what was asked for
//! ```
//! The codes are not public; any but 0 counts as a failure and is passed on raw.

use crate::options::Options;
use crate::{code, corrector, parameters};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Answer, AnswerBody, Outcome, Quantity, Register, Report, ReportCause, Unit};

/// An answer, and bytes in it that nothing explains.
pub struct Answered<'a> {
    pub answer: Answer,
    pub surplus: &'a [u8],
    /// Total of all purchases, when the account was read.
    pub purchased: Option<u32>,
}

pub fn parse<'a>(
    command: u16,
    correlation: Vec<u8>,
    body: &'a [u8],
    options: &Options,
) -> Result<Answered<'a>, FieldError> {
    let mut r = Reader::at(body, 0);
    let said = r.u16_le("answer code")?;
    let rest = r.rest();
    let outcome = match said {
        // The order was taken. That the valve has moved shows in the state of a later report, and nowhere else.
        0 if command == code::VALVE => Outcome::Accepted,
        0 => Outcome::Done,
        _ => Outcome::Failed,
    };
    let mut answer = Answer::new(correlation, outcome);
    answer.raw_code = u32::from(said);
    if said != 0 {
        answer.reason = "vendor-error".into();
    }
    let mut answered = Answered { answer, surplus: &[], purchased: None };
    if is_nothing(rest) {
        return Ok(answered);
    }
    match command {
        code::READ_ACCOUNT => match account(rest, options) {
            Ok((purchased, report)) => {
                answered.purchased = Some(purchased);
                answered.answer.body = AnswerBody::Report(report);
                answered.surplus = rest.get(14..).unwrap_or_default();
            }
            Err(_) => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
        },
        code::CORRECTOR_RECHARGE => match corrector::recharged(body, options) {
            Ok(report) => {
                answered.answer.body = AnswerBody::Report(report);
                answered.surplus = body.get(20..).unwrap_or_default();
            }
            Err(_) => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
        },
        _ => match parameters::parse(command, rest, options) {
            Some((list, surplus)) => {
                answered.answer.body = AnswerBody::Parameters(list);
                answered.surplus = surplus;
            }
            None => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
        },
    }
    if is_nothing(answered.surplus) {
        answered.surplus = &[];
    }
    Ok(answered)
}

/// Whether a body can be an answer without data.
pub const fn is_short(body: &[u8]) -> bool {
    matches!(body.len(), 2 | 4)
}

/// Nothing, or the two reserved bytes.
fn is_nothing(rest: &[u8]) -> bool {
    matches!(rest, [] | [0, 0])
}

/// The account as 7025 writes it: total of purchases, balance, price.
fn account(body: &[u8], options: &Options) -> Result<(u32, Report), FieldError> {
    let scales = &options.scales;
    let mut r = Reader::at(body, 2);
    let purchased = r.u32_le("total purchased")?;
    let balance = r.i32_le("balance")?;
    let price = r.u32_le("unit price")?;
    r.u16_le("reserved")?;
    let registers = vec![
        Register::cumulative(Quantity::PurchasedMoney, Unit::Yuan, i64::from(purchased), scales.purchased).with_code(2),
        Register::new(Quantity::Balance, Unit::Yuan, i64::from(balance), -2).with_code(6),
        Register::new(Quantity::Price, Unit::YuanPerCubicMetre, i64::from(price), scales.price).with_code(10),
    ];
    Ok((purchased, Report::new(ReportCause::OnDemand).with_registers(registers)))
}
