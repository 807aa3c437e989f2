//! 4021 read now, 4022 read frozen values. (4044, the account, is in `account`.)

use super::{Order, Rest};
use crate::fields::{clock_bytes, present_u32};
use crate::frame::{Header, message};
use crate::status::{self, Status};
use crate::uplink::history;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    AnswerBody, Civil, Fault, History, Interval, Quantity, ReadScope, Register, Report, ReportCause, Unit, civil,
};

/// Values of one 4022 whose answer still fits a body of 1024 bytes, sealed: (1024 - 12 - 1 - 6) / 8.
pub const FROZEN_MAX: i64 = 125;
const HOUR: Civil = 3600;

pub fn now(scope: ReadScope) -> Order {
    match scope {
        ReadScope::Current | ReadScope::Valve => Order::new(message::READ_NOW, Vec::new()),
        ReadScope::Account => Order::new(message::READ_ACCOUNT, Vec::new()),
    }
}

/// SB, standard total u32.
pub fn now_answer(header: &Header, r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let status = Status::read(r)?;
    let mut registers = Vec::with_capacity(status::REGISTERS_MAX + 1);
    status.registers(&mut registers);
    if let Some(total) = present_u32(r.u32_le("standard total")?) {
        registers.push(Register::cumulative(Quantity::StandardVolume, Unit::CubicMetre, i64::from(total), -2));
    }
    let mut report = status.report(ReportCause::OnDemand, registers, false);
    status::note_absence(header.terminal, &mut report);
    let beside = status.now.err().map(|packed| status::odd_clock(packed, &mut report));
    Ok(Rest { beside, ..AnswerBody::Report(report).into() })
}

// 4022:
// | Off | Size | Field                                               |
// |   0 |    1 | kind: 1 hour, 2 day, 3 month                        |
// |   1 |    4 | from, YY MM DD hh BCD; unused parts 01 and 00       |
// |   5 |    1 | N                                                   |
pub fn frozen(history: &History) -> Result<Order, Fault> {
    let (kind, count) = match history.interval {
        Interval::Hour => (1, (history.last.div_euclid(HOUR)) - history.first.div_euclid(HOUR) + 1),
        Interval::Day => (2, history.last.div_euclid(civil::DAY) - history.first.div_euclid(civil::DAY) + 1),
        Interval::Month => (3, month_number(history.last) - month_number(history.first) + 1),
        Interval::Minute => return Err(Fault::unsupported("this protocol stores no values by the minute")),
    };
    if !(1..=FROZEN_MAX).contains(&count) {
        return Err(Fault::out_of_range("last - first", format!("{count} values"), "1..=125 values in one command"));
    }
    let [year, month, day, hour, _, _] = clock_bytes("first", history.first)?;
    let (day, hour) = match kind {
        1 => (day, hour),
        2 => (day, 0),
        _ => (1, 0),
    };
    Ok(Order::new(message::READ_FROZEN, vec![kind, year, month, day, hour, count as u8]))
}

/// Kind, from, N, N x (uncorrected u32, standard u32).
pub fn frozen_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let kept = *r;
    let offset = r.offset();
    let kind = r.u8("kind")?;
    let [year, month, day, hour] = r.array("from")?;
    let day = if kind == 3 || day == 0 { 1 } else { day };
    let hour = if kind == 1 { hour } else { 0 };
    let Some(first) = civil::from_bcd6([year, month, day, hour, 0, 0]) else {
        // Values of no time are kept as bytes.
        r.rest();
        return Ok(AnswerBody::Raw({ kept }.rest().to_vec()).into());
    };
    let count = r.u8("count")?;
    let series = match kind {
        1 => history::frozen_series(r, count, true, |i| first + i64::from(i) * HOUR)?,
        2 => history::frozen_series(r, count, true, |i| first + i64::from(i) * civil::DAY)?,
        3 => history::frozen_series(r, count, true, |i| first_of_month(month_number(first) + i64::from(i)))?,
        other => return Err(FieldError::invalid("kind", offset, i64::from(other))),
    };
    Ok(AnswerBody::Report(Report { series, ..Report::new(ReportCause::OnDemand) }).into())
}

/// Months since the year 0; a time outside the calendar counts as month 0.
fn month_number(at: Civil) -> i64 {
    civil::fields(at).map_or(0, |f| i64::from(f.year) * 12 + i64::from(f.month) - 1)
}

fn first_of_month(number: i64) -> Civil {
    let (year, month) = (number.div_euclid(12), number.rem_euclid(12) + 1);
    u16::try_from(year).ok().and_then(|year| civil::date(year, month as u8, 1)).unwrap_or(0)
}
