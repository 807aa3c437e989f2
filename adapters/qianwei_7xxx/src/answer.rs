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
    /// Total of all purchases, when the account was read and has one.
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
        // What a meter that failed fills its answer up with is no reading, no account and no parameter.
        _ if said != 0 => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
        code::READ_ACCOUNT => match account(rest, options) {
            Ok((_, report)) if report.registers.is_empty() => {
                answered.answer.body = AnswerBody::Raw(rest.to_vec());
            }
            Ok((purchased, report)) => {
                answered.purchased = purchased;
                answered.answer.body = AnswerBody::Report(report);
                answered.surplus = rest.get(14..).unwrap_or_default();
            }
            Err(_) => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
        },
        code::CORRECTOR_RECHARGE => match corrector::recharged(body, options) {
            Ok(report) if !report.registers.is_empty() => {
                answered.answer.body = AnswerBody::Report(report);
                answered.surplus = body.get(20..).unwrap_or_default();
            }
            _ => answered.answer.body = AnswerBody::Raw(rest.to_vec()),
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

/// The account as 7025 writes it: total of purchases, balance, price. All ones are no number: nobody has bought for 42 million.
/// An overdraft of one hundredth looks the same, so the balance is absent only where both others are.
fn account(body: &[u8], options: &Options) -> Result<(Option<u32>, Report), FieldError> {
    let scales = &options.scales;
    let present = |value: u32| (value != u32::MAX).then_some(value);
    let mut r = Reader::at(body, 2);
    let purchased = present(r.u32_le("total purchased")?);
    let balance = r.i32_le("balance")?;
    let price = present(r.u32_le("unit price")?);
    r.u16_le("reserved")?;
    let mut registers = Vec::with_capacity(3);
    if let Some(total) = purchased {
        let total = Register::cumulative(Quantity::PurchasedMoney, Unit::Yuan, i64::from(total), scales.purchased);
        registers.push(total.with_code(2));
    }
    if balance != -1 || purchased.is_some() || price.is_some() {
        registers.push(Register::new(Quantity::Balance, Unit::Yuan, i64::from(balance), -2).with_code(6));
    }
    if let Some(price) = price {
        let price = Register::new(Quantity::Price, Unit::YuanPerCubicMetre, i64::from(price), scales.price);
        registers.push(price.with_code(10));
    }
    Ok((purchased, Report::new(ReportCause::OnDemand).with_registers(registers)))
}
