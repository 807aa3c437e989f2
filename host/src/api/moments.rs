//! Times in the API: instants of the station are UTC (RFC 3339), times of devices are local and without zone.

use super::errors::{ApiError, ApiResult};
use crate::model::{Civil, Day};
use std::fmt::Display;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// `2024-03-15T00:20:05.123Z`.
pub fn instant(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => format!("@{at_ms}"),
    }
}

/// The first second meant: a local time, or the beginning of a day.
pub fn from(text: Option<&str>) -> ApiResult<Option<Civil>> {
    text.map(|text| parse(text, 0)).transpose()
}

/// The last second meant: a local time, or the end of a day.
pub fn to(text: Option<&str>) -> ApiResult<Option<Civil>> {
    text.map(|text| parse(text, DAY.as_secs() as i64 - 1)).transpose()
}

/// A span as it is, unless it ends before it begins: nothing would be found, which looks like a silent device.
pub fn in_order<T: PartialOrd + Display>(from: T, to: T) -> ApiResult<(T, T)> {
    if from > to {
        return Err(ApiError::bad_request(format!(
            "`from` ({from}) is after `to` ({to}); exchange them, or leave one of them out"
        )));
    }
    Ok((from, to))
}

fn parse(text: &str, into_day_s: i64) -> ApiResult<Civil> {
    if text.contains('T') {
        return text.parse().map_err(ApiError::bad_request);
    }
    let day: Day = text.parse().map_err(ApiError::bad_request)?;
    Ok(Civil(day.start().0 + into_day_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_both_understood() {
        let text = |at: ApiResult<Option<Civil>>| at.map(|at| at.map(|at| at.to_string()));
        assert_eq!(text(from(Some("2024-03-15"))), Ok(Some("2024-03-15T00:00:00".into())));
        assert_eq!(text(to(Some("2024-03-15"))), Ok(Some("2024-03-15T23:59:59".into())));
        assert_eq!(text(to(Some("2024-03-15T06:00:00"))), Ok(Some("2024-03-15T06:00:00".into())));
        assert_eq!(text(from(None)), Ok(None));
        assert!(from(Some("yesterday")).is_err());
        assert_eq!(instant(1_710_462_005_120), "2024-03-15T00:20:05.120Z");
    }

    #[test]
    fn a_span_does_not_end_before_it_begins() {
        let span = |first: &str, last: &str| in_order(parse(first, 0)?, parse(last, DAY.as_secs() as i64 - 1)?);
        assert!(span("2024-03-15", "2024-03-15").is_ok());
        assert!(span("2024-03-15T06:00:00", "2024-03-15").is_ok());
        for (first, last) in [("2024-03-16", "2024-03-15"), ("2024-03-15T06:00:01", "2024-03-15T06:00:00")] {
            let refused = span(first, last).expect_err(first).message;
            assert!(refused.contains(first) && refused.contains("exchange them"), "{refused}");
        }
    }
}
