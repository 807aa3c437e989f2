//! When a device is due: report time plus its stagger, on the days of its period.
//!
//! The public text says "last two digits plus stagger minutes", its worked example multiplies (number ending 10,
//! 00:00, stagger 2 -> 00:20); the example is taken as the rule. A delay beyond midnight falls into the next day.

use crate::model::{Civil, Day, ReportPeriod, Schedule};

const MINUTES_PER_DAY: i64 = 24 * 60;

/// Minutes after the report time at which this address reports: last two decimal digits × stagger, modulo one day.
pub fn delay_minutes(address: &str, stagger_minutes: u16) -> u16 {
    let mut digits = address.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let last_two = digits.next().unwrap_or(0) + 10 * digits.next().unwrap_or(0);
    (last_two * u32::from(stagger_minutes) % MINUTES_PER_DAY as u32) as u16
}

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
    fn the_worked_example_multiplies() {
        for (address, stagger, minutes) in [
            ("50001234567810", 2, 20),
            ("50001234567810", 0, 0),
            // 99 x 30 = 2970 = two days and 90 minutes.
            ("50001234567899", 30, 90),
            ("50001234567899", 15, 45),
            ("QW07", 3, 21),
            ("none", 9, 0),
        ] {
            assert_eq!(delay_minutes(address, stagger), minutes, "{address} x {stagger}");
        }
    }

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
