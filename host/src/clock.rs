//! The one place that asks what time it is. Everything else is handed the answer.

use crate::model::Civil;
use jiff::tz::TimeZone;
use std::ops::Range;
use std::time::Instant;

const DAY_MS: i64 = 86_400_000;

/// The station's clock and the zone its fleet lives in.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    /// A moment, and what the machine's clock showed then.
    origin: (Instant, i64),
}

/// A moment by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// What the machine's clock shows, which somebody may set: UTC, milliseconds since 1970.
    pub wall_ms: i64,
    /// As `Clock::steady_ms`: how much time has passed.
    pub steady_ms: i64,
}

impl Clock {
    /// `zone` is an IANA name such as `Asia/Shanghai`.
    pub fn new(zone: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone)
            .map_err(|_| format!("`{zone}` is no time zone; write an IANA name such as Asia/Shanghai"))?;
        Ok(Self::in_zone(zone))
    }

    /// In this machine's zone, for tools that run without a station.
    pub fn system() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, origin: (Instant::now(), jiff::Timestamp::now().as_millisecond()) }
    }

    /// UTC, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }

    /// Now, by both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall_ms: self.now_ms(), steady_ms: self.steady_ms() }
    }

    /// Milliseconds that neither jump nor go back when somebody sets the machine's clock; for waiting, not for writing down.
    pub fn steady_ms(&self) -> i64 {
        let (began, at_ms) = self.origin;
        at_ms + began.elapsed().as_millis() as i64
    }

    /// What the wall clock of the fleet's zone shows at that moment.
    pub fn civil(&self, at_ms: i64) -> Civil {
        match jiff::Timestamp::from_millisecond(at_ms) {
            Ok(at) => Civil(at_ms.div_euclid(1000) + i64::from(self.zone.to_offset(at).seconds())),
            Err(_) => Civil(at_ms.div_euclid(1000)),
        }
    }

    /// Where clocks go back after `from_ms`, the wall clock shows some times twice. The moments, UTC milliseconds, at which it shows
    /// one of those, if `end_ms` is one of them.
    pub fn shown_twice(&self, from_ms: i64, end_ms: i64) -> Option<Range<i64>> {
        let from = jiff::Timestamp::from_millisecond(from_ms).ok()?;
        let changes = self.zone.following(from);
        changes.take_while(|change| change.timestamp().as_millisecond() <= end_ms.saturating_add(DAY_MS)).find_map(
            |change| {
                let at_ms = change.timestamp().as_millisecond();
                let before = jiff::Timestamp::from_millisecond(at_ms - 1).ok()?;
                let back_s = self.zone.to_offset(before).seconds() - change.offset().seconds();
                let back_ms = 1_000 * i64::from(back_s);
                Some(at_ms - back_ms..at_ms + back_ms).filter(|twice| twice.contains(&end_ms))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(utc: &str) -> i64 {
        utc.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
    }

    #[test]
    fn times_are_shown_twice_where_clocks_go_back() {
        let berlin = Clock::new("Europe/Berlin").expect("zone");
        let twice = ms("2026-10-25T00:00:00Z")..ms("2026-10-25T02:00:00Z");
        let from = ms("2026-10-24T20:00:00Z");
        for (end, expected) in [
            ("2026-10-24T23:59:59Z", None),
            ("2026-10-25T00:00:00Z", Some(&twice)),
            ("2026-10-25T00:59:59Z", Some(&twice)),
            ("2026-10-25T01:00:00Z", Some(&twice)),
            ("2026-10-25T01:59:59Z", Some(&twice)),
            ("2026-10-25T02:00:00Z", None),
        ] {
            assert_eq!(berlin.shown_twice(from, ms(end)).as_ref(), expected, "{end}");
        }
        let after = ms("2026-10-25T01:00:00Z");
        assert_eq!(berlin.shown_twice(after, after + 600_000), None, "they have gone back");
        let spring = ms("2026-03-29T01:00:00Z");
        assert_eq!(berlin.shown_twice(spring - 600_000, spring + 600_000), None, "they go forward");
        let shanghai = Clock::new("Asia/Shanghai").expect("zone");
        assert_eq!(shanghai.shown_twice(from, after), None);
    }
}
