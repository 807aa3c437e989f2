//! When a device is due: report time plus its stagger, on the days of its period.
//!
//! The delay itself is arithmetic that firmware shares (`polymeter-stagger`).

use crate::model::{Civil, Day, ReportPeriod, Schedule};

pub use polymeter_stagger::delay_minutes;

/// The first moment after `after` at which the device is due. `None` for periods without fixed days.
pub fn next_due(address: &str, schedule: &Schedule, after: Civil) -> Option<Civil> {
    let offset_s =
        60 * (i64::from(schedule.minute_of_day) + i64::from(delay_minutes(address, schedule.stagger_minutes)));
    // The slot of a report day may lie in the next day, so the day before counts too; a month has at most 31 days.
    let first = after.day().0 - 2;
    (first..=first + 34)
        .map(Day)
        .filter(|day| is_report_day(*day, schedule.period))
        .map(|day| Civil(day.start().0 + offset_s))
        .find(|slot| *slot > after)
}

/// Daily: each day. Dekad: the 1st, 11th and 21st. Monthly: the 1st.
fn is_report_day(day: Day, period: ReportPeriod) -> bool {
    let Some(date) = day.start().to_jiff() else { return false };
    match period {
        ReportPeriod::Daily => true,
        ReportPeriod::Dekad => matches!(date.day(), 1 | 11 | 21),
        ReportPeriod::Monthly => date.day() == 1,
        ReportPeriod::Hourly | ReportPeriod::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_days_follow_the_period() {
        let due = |period, minute_of_day, stagger_minutes, after: &str| {
            let schedule = Schedule { period, minute_of_day, stagger_minutes, awake_minutes: 10, heartbeat_minutes: 0 };
            next_due("50001234567810", &schedule, after.parse().expect("time")).map(|t| t.to_string())
        };
        let some = |text: &str| Some(text.to_string());
        assert_eq!(due(ReportPeriod::Daily, 0, 2, "2024-03-15T00:19:59"), some("2024-03-15T00:20:00"));
        assert_eq!(due(ReportPeriod::Daily, 0, 2, "2024-03-15T00:20:00"), some("2024-03-16T00:20:00"));
        assert_eq!(due(ReportPeriod::Dekad, 0, 2, "2024-02-21T12:00:00"), some("2024-03-01T00:20:00"));
        assert_eq!(due(ReportPeriod::Monthly, 0, 2, "2024-01-01T00:20:00"), some("2024-02-01T00:20:00"));
        // 23:50 plus 20 minutes falls into the next day, and is still the 1st's report.
        assert_eq!(due(ReportPeriod::Monthly, 23 * 60 + 50, 2, "2024-03-02T00:00:00"), some("2024-03-02T00:10:00"));
        assert_eq!(due(ReportPeriod::Other, 0, 2, "2024-03-15T00:00:00"), None);
    }
}
