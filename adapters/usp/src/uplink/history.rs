//! 3046: the 00:00 readings of a dekad or a month in one frame.

use super::{BODY_AT, keep_undated};
use crate::fields::{date, present_u32};
use crate::status::{self, Status, read_events};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Message, Quantity, ReportCause, Role, Sample, Series, Unit, civil};

/// Any number up to this, never assumed to be 10 (§G 6).
const READINGS_MAX: u8 = 31;

// | Off | Size     | Field                                                      |
// |   0 |        1 | period: 2 dekad, 3 month                                   |
// |   1 |        1 | format: bit 0, each reading is uncorrected + standard      |
// |   2 |        3 | D3 of the oldest reading                                   |
// |   5 |        1 | N, 1..31                                                   |
// |   6 | N x 4, 8 | readings, oldest first, one a day                          |
// |     |       38 | SB                                                         |
// |     |          | EV list                                                    |
pub fn read(body: &[u8], more: bool) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let cause = match r.u8("period")? {
        2 => ReportCause::Dekad,
        3 => ReportCause::Monthly,
        other => return Err(FieldError::invalid("period", BODY_AT, i64::from(other))),
    };
    let format = r.u8("format")?;
    if format > 1 {
        return Err(FieldError::invalid("format", BODY_AT + 1, i64::from(format)));
    }
    let first = date(&mut r, "oldest date")?;
    let count = r.u8("reading count")?;
    if count == 0 || count > READINGS_MAX {
        return Err(FieldError::invalid("reading count", BODY_AT + 5, i64::from(count)));
    }
    let start = first.unwrap_or_default();
    let mut series = frozen_series(&mut r, count, format == 1, |i| start + i64::from(i) * civil::DAY)?;
    if first.is_none() {
        series.clear();
    }
    let readings_end = r.offset() - BODY_AT;
    let status = Status::read(&mut r)?;
    let mut registers = Vec::with_capacity(status::REGISTERS_MAX);
    status.registers(&mut registers);
    let mut report = status.report(cause, registers, more);
    report.series = series;
    let mut messages = status.tell(report);
    read_events(&mut r, 0, &mut messages)?;
    if first.is_none() {
        keep_undated(body, readings_end, &mut messages);
    }
    Ok(messages)
}

/// `count` readings of one or two totals each, as one or two series; absent readings are left out.
pub fn frozen_series(
    r: &mut Reader<'_>,
    count: u8,
    with_standard: bool,
    at: impl Fn(u8) -> Civil,
) -> Result<Vec<Series>, FieldError> {
    let capacity = usize::from(count);
    let mut working = Vec::with_capacity(capacity);
    let mut standard = Vec::with_capacity(if with_standard { capacity } else { 0 });
    for i in 0..count {
        let at = at(i);
        let keep = |value: u32, samples: &mut Vec<Sample>| {
            if let Some(value) = present_u32(value) {
                samples.push(Sample { at, mantissa: i64::from(value) });
            }
        };
        keep(r.u32_le("uncorrected reading")?, &mut working);
        if with_standard {
            keep(r.u32_le("standard reading")?, &mut standard);
        }
    }
    let both = [(Quantity::WorkingVolume, working), (Quantity::StandardVolume, standard)];
    let present = both.into_iter().filter(|(_, samples)| !samples.is_empty());
    Ok(present.map(|(quantity, samples)| Series::new(quantity, Unit::CubicMetre, Role::Frozen, -2, samples)).collect())
}
