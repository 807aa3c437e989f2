//! Whether words of a device are its newest. Words may be old: repeated by a buffer, held back by a carrier. What they say of
//! valve and alarms, and whether they decide an order that nobody has confirmed, follows from what is said here, and only here.
//!
//! A device dates its words by its own clock. That may be ahead until somebody sets it right, and civil time itself goes back at
//! the end of summer time: then the newest words bear an earlier time than those before them.

use crate::limits::CLOCK_DIFFERENCE_MAX;
use crate::model::{Civil, Day};
use serde::{Deserialize, Serialize};

/// How far a device's clock may be ahead, and how far back it is only if it was lost; seconds.
const CLOCK_AHEAD_S: i64 = 86_400;
const CLOCK_LOST_S: i64 = 40 * 86_400;

/// What words are, beside those that the device told before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// Newer than everything before them.
    News,
    /// How the device stands, as far as anybody can tell, but no proof: they bear no time, or one of a lost clock.
    Undated,
    /// Of a time before: what stands since is not changed by them.
    Late,
}

/// When a device told its newest words, by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct ToldAt {
    pub newest: Option<Civil>,
    /// The last words of a clock that was ahead and is right again: such as bear no later time, and one of the future, are
    /// repeated, or were held back.
    ahead: Option<Civil>,
}

/// Nobody tells of tomorrow: such a time says nothing, and must not keep every later word away.
pub(super) fn is_credible(at: Civil, received: Civil) -> bool {
    at.0 <= received.0.saturating_add(CLOCK_AHEAD_S)
}

/// The same of readings, which are told by the day.
pub fn is_credible_day(day: Day, received: Civil) -> bool {
    day <= Civil(received.0.saturating_add(CLOCK_AHEAD_S)).day()
}

impl ToldAt {
    /// What words are that bear the time `at` and came at `received`, on the fleet's wall clock.
    pub fn hear(&mut self, at: Option<Civil>, received: Civil) -> Words {
        let Some(at) = at.filter(|at| is_credible(*at, received)) else { return Words::Undated };
        let tolerance_s = CLOCK_DIFFERENCE_MAX.as_secs() as i64;
        let is_of_the_future = |at: Civil| at.0 > received.0.saturating_add(tolerance_s);
        let is_of_now = at.0.abs_diff(received.0) <= tolerance_s.unsigned_abs();
        let words = match self.newest {
            Some(newest) if at < newest && is_of_now && is_of_the_future(newest) => {
                // What no clock of a device is believed need not be remembered.
                self.ahead = Some(newest).filter(|newest| is_credible(*newest, received));
                Words::News
            }
            Some(newest) if at.0 < newest.0.saturating_sub(CLOCK_LOST_S) => Words::Undated,
            Some(newest) if at < newest => Words::Late,
            _ if is_of_the_future(at) && self.ahead.is_some_and(|ahead| at <= ahead) => Words::Late,
            _ => Words::News,
        };
        if words != Words::Late {
            self.newest = Some(at);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_S: i64 = 60;
    const HOUR_S: i64 = 3_600;

    /// Hears words of these times, each with when it was received, and compares what they are.
    fn heard(all: &[(i64, i64, Words)]) {
        let mut told = ToldAt::default();
        for (n, (at, received, words)) in all.iter().enumerate() {
            // Somewhere in a year, far from the beginning of time.
            let civil = |s: &i64| Civil(1_700_000_000 + s);
            assert_eq!(told.hear(Some(civil(at)), civil(received)), *words, "{n}: {at} at {received}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_is_set_right() {
        let ahead = 3 * HOUR_S;
        heard(&[
            (ahead, 0, Words::News),
            (ahead + MINUTE_S, MINUTE_S, Words::News),
            // Set right: of now, although three hours earlier. What was held back since before stays late.
            (-HOUR_S, 2 * MINUTE_S, Words::Late),
            (3 * MINUTE_S, 3 * MINUTE_S, Words::News),
            (-HOUR_S, 4 * MINUTE_S, Words::Late),
            (2 * MINUTE_S, 4 * MINUTE_S, Words::Late),
            // Repeated words of when it was ahead, until they lie in the past like all others.
            (ahead + MINUTE_S, 4 * MINUTE_S, Words::Late),
            (ahead, 2 * HOUR_S, Words::Late),
            (2 * HOUR_S, 2 * HOUR_S, Words::News),
            // Ahead once more: its words are news as soon as they go beyond those.
            (2 * ahead, 2 * HOUR_S + MINUTE_S, Words::News),
        ]);
    }

    #[test]
    fn a_difference_within_the_tolerance_is_none() {
        let tolerance_s = CLOCK_DIFFERENCE_MAX.as_secs() as i64;
        heard(&[(tolerance_s, 0, Words::News), (1, 1, Words::Late), (tolerance_s + 1, 2, Words::News)]);
    }

    #[test]
    fn civil_time_goes_back_once_a_year() {
        // 02:50 of summer, then 02:05 of winter, a quarter of an hour later.
        let (summer, winter) = (50 * MINUTE_S, 5 * MINUTE_S);
        heard(&[
            (summer, summer, Words::News),
            (-10 * MINUTE_S, winter, Words::Late),
            (winter, winter, Words::News),
            (summer, winter + MINUTE_S, Words::Late),
            (winter + 2 * MINUTE_S, winter + 2 * MINUTE_S, Words::News),
        ]);
    }

    #[test]
    fn a_clock_that_the_station_had_set_wrongly_blocks_nothing() {
        // The station lived four years ahead, and then not any more.
        let years = 4 * 365 * 86_400;
        heard(&[
            (years, years, Words::News),
            (MINUTE_S, MINUTE_S, Words::News),
            // A little ahead, as some clocks always are: no reason to wait for years.
            (HOUR_S, 2 * MINUTE_S, Words::News),
            (years, 3 * MINUTE_S, Words::Undated),
            (-50 * 86_400, 4 * MINUTE_S, Words::Undated),
        ]);
        assert_eq!(ToldAt::default().hear(None, Civil(0)), Words::Undated);
    }
}
