//! A range of the past as a chain of requests: one identifier a month, or one for five days. Each answer is followed by the
//! next request, because a line carries one request at a time.

use crate::di;
use crate::options::{self, Options};
use polymeter_sdk::{Civil, Fault, History, Interval, civil};

/// More would keep a line busy for an hour.
const REQUESTS_MAX: i64 = 36;

/// First and last identifier of the chain.
pub fn chain(options: &Options, now: Civil, history: &History) -> Result<(u16, u16), Fault> {
    if history.first > history.last {
        return Err(Fault::out_of_range("last", civil::text(history.last), "a time not before `first`"));
    }
    let (base, kept, per_request) = match (options.history, history.interval) {
        (options::History::None, _) => {
            return Err(Fault::unsupported("the profile says that the meter keeps no history"));
        }
        (options::History::D120, Interval::Month) => (di::MONTHS, 12, 1),
        (options::History::D200, Interval::Month) => (di::MONTHS_2018, 256, 1),
        (options::History::Module, Interval::Month) => (di::MODULE_MONTHS, 12, 6),
        (options::History::Module, Interval::Day) => (di::MODULE_DAYS, 30, 5),
        _ => return Err(Fault::unsupported("the meter keeps months (option history)")),
    };
    let ago = |at| if history.interval == Interval::Day { days_ago(now, at) } else { months_ago(now, at) };
    // The present month or day has no stored value yet.
    let (oldest, newest) = (ago(history.first), ago(history.last).max(1));
    if !(newest..=kept).contains(&oldest) {
        let what = if history.interval == Interval::Day { "days" } else { "months" };
        return Err(Fault::out_of_range("first", civil::text(history.first), &format!("1 to {kept} {what} ago")));
    }
    let (from, to) = ((newest - 1) / per_request, (oldest - 1) / per_request);
    if to - from >= REQUESTS_MAX {
        return Err(Fault::out_of_range("first", civil::text(history.first), "at most 36 months at a time"));
    }
    let step = i64::from(step(base));
    Ok((base + (from * step) as u16, base + (to * step) as u16))
}

/// The identifier after this one, of the next older values.
pub const fn next(di: u16) -> u16 {
    di.wrapping_add(step(di))
}

/// How many requests after the first of a chain this one comes; none where it is not on its way.
pub const fn steps(first: u16, di: u16) -> Option<u16> {
    if di < first || !(di - first).is_multiple_of(step(first)) { None } else { Some((di - first) / step(first)) }
}

/// Frames of a chain.
pub const fn length(first: u16, last: u16) -> u16 {
    last.saturating_sub(first) / step(first) + 1
}

const fn step(di: u16) -> u16 {
    if di::is_module_history(di) { 0x10 } else { 1 }
}

/// Negative for the future; a time outside the years 0 to 9999 is in neither.
fn months_ago(now: Civil, at: Civil) -> i64 {
    let month = |at| civil::fields(at).map(|t| i64::from(t.year) * 12 + i64::from(t.month));
    match (month(now), month(at)) {
        (Some(now), Some(at)) => now - at,
        _ => i64::MIN,
    }
}

fn days_ago(now: Civil, at: Civil) -> i64 {
    now.div_euclid(civil::DAY).saturating_sub(at.div_euclid(civil::DAY))
}
