//! When a terminal speaks (§A 5, §G 6): the days of its period, its staggered slot, and when it tries again on a congested network.

use crate::Civil;
use crate::time::{DAY, bcd, date_of, day_of, days_in_month, midnight_of};
use polymeter_stagger::{MINUTES_PER_DAY, of_last_two};

/// Tries of one report before it waits for its next slot.
pub const RETRIES_MAX: u8 = 8;
const RETRY_BASE_S: u32 = 120;
const RETRY_DOUBLINGS: u8 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    Daily = 1,
    /// The 1st, 11th and 21st.
    Dekad = 2,
    Monthly = 3,
}

impl Period {
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Daily),
            2 => Some(Self::Dekad),
            3 => Some(Self::Monthly),
            _ => None,
        }
    }
}

/// What 4011 sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    pub period: Period,
    pub minute_of_day: u16,
    pub stagger_minutes: u8,
    pub awake_minutes: u8,
    /// 0 none.
    pub heartbeat_minutes: u16,
}

impl Plan {
    /// Seven bytes: period, report time, stagger, awake, heartbeat.
    pub fn bytes(&self) -> [u8; 7] {
        let [low, high] = self.heartbeat_minutes.to_le_bytes();
        let (hour, minute) = (bcd((self.minute_of_day / 60) as u8), bcd((self.minute_of_day % 60) as u8));
        [self.period as u8, hour, minute, self.stagger_minutes, self.awake_minutes, low, high]
    }

    pub const fn is_report_day(&self, day: u16) -> bool {
        let (_, _, date) = date_of(day);
        match self.period {
            Period::Daily => true,
            Period::Dekad => matches!(date, 1 | 11 | 21),
            Period::Monthly => date == 1,
        }
    }

    /// The first day whose reading the report of this day brings; the last is the day itself.
    pub fn covers_from(&self, day: u16) -> u16 {
        let (year, month, date) = date_of(day);
        // Days of the month before; December has 31.
        let before = if month == 1 { 31 } else { u16::from(days_in_month(year, month - 1)) };
        let days_back = match (self.period, date) {
            (Period::Daily, _) => 0,
            (Period::Dekad, 1) => before - 21,
            (Period::Dekad, _) => 9,
            (Period::Monthly, _) => before - 1,
        };
        day.saturating_sub(days_back)
    }

    /// Minutes from the report time to this terminal's slot: where it got through the last time, or its stagger.
    const fn delay_minutes(self, address: [u8; 7], kept: Option<u16>) -> u16 {
        match kept {
            Some(kept) => kept,
            None => of_last_two(last_two(address), self.stagger_minutes as u16),
        }
    }

    /// The first slot after `after`, and the day whose report is due then.
    pub fn next_due(&self, address: &[u8; 7], kept: Option<u16>, after: Civil) -> Option<(Civil, u16)> {
        let today = day_of(after)?;
        // A slot may lie in the day after its report day; a month has at most 31 days.
        (today.saturating_sub(2)..=today.saturating_add(32))
            .find_map(|day| self.slot_of(address, kept, day).filter(|slot| *slot > after).map(|slot| (slot, day)))
    }

    /// When the report of this day is due; `None`: none is.
    pub fn slot_of(&self, address: &[u8; 7], kept: Option<u16>, day: u16) -> Option<Civil> {
        let minutes = i64::from(self.minute_of_day) + i64::from(self.delay_minutes(*address, kept));
        self.is_report_day(day).then(|| midnight_of(day) + 60 * minutes)
    }

    /// What to keep of a moment that worked for this day's report: minutes after the report time.
    pub fn kept(&self, day: u16, at: Civil) -> Option<u16> {
        let minutes = (at - midnight_of(day)).div_euclid(60) - i64::from(self.minute_of_day);
        u16::try_from(minutes).ok().filter(|m| *m < MINUTES_PER_DAY)
    }

    pub const fn awake_s(&self) -> Civil {
        if self.awake_minutes == 0 { DAY } else { self.awake_minutes as i64 * 60 }
    }
}

/// Of a packed address.
pub const fn last_two(address: [u8; 7]) -> u16 {
    (address[6] >> 4) as u16 * 10 + (address[6] & 15) as u16
}

/// How long to wait before try number `attempt` (1..): two minutes, doubled each time up to 64, each between a half and one and a half of
/// that, so that those who failed together do not come again together.
pub fn retry_after_s(attempt: u8, random: u32) -> Civil {
    let base = RETRY_BASE_S << attempt.saturating_sub(1).min(RETRY_DOUBLINGS);
    i64::from(base / 2 + random % base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::day_from;

    const ADDRESS: [u8; 7] = [0x50, 0, 0x12, 0x34, 0x56, 0x78, 0x10];

    fn plan(period: Period) -> Plan {
        Plan { period, minute_of_day: 0, stagger_minutes: 2, awake_minutes: 10, heartbeat_minutes: 0 }
    }

    fn day(year: u16, month: u8, date: u8) -> u16 {
        day_from(year, month, date).expect("exists")
    }

    #[test]
    fn slots_are_staggered_and_a_kept_one_takes_their_place() {
        let today = day(24, 3, 15);
        let at = |minutes: i64| midnight_of(today) + minutes * 60;
        let due = |plan: Plan, kept, after| plan.next_due(&ADDRESS, kept, after);
        assert_eq!(due(plan(Period::Daily), None, at(19)), Some((at(20), today)));
        assert_eq!(due(plan(Period::Daily), None, at(20)), Some((at(1460), today + 1)));
        assert_eq!(due(plan(Period::Daily), Some(95), at(20)), Some((at(95), today)));
        assert_eq!(due(plan(Period::Monthly), None, at(0)).map(|d| d.1), Some(day(24, 4, 1)));
        assert_eq!(due(plan(Period::Dekad), None, at(0)).map(|d| d.1), Some(day(24, 3, 21)));
        let late = Plan { minute_of_day: 23 * 60 + 50, ..plan(Period::Daily) };
        assert_eq!(due(late, None, at(5)), Some((at(10), today - 1)), "a slot after midnight is the day before's");
        assert_eq!(late.kept(today - 1, at(30)), Some(40));
        assert_eq!(late.kept(today - 1, at(3000)), None);
    }

    #[test]
    fn reports_cover_their_days() {
        for (period, date, first) in [
            (Period::Daily, day(24, 3, 15), day(24, 3, 15)),
            (Period::Dekad, day(24, 3, 1), day(24, 2, 22)),
            (Period::Dekad, day(24, 3, 11), day(24, 3, 2)),
            (Period::Dekad, day(24, 3, 21), day(24, 3, 12)),
            (Period::Dekad, day(24, 1, 1), day(23, 12, 22)),
            (Period::Monthly, day(24, 3, 1), day(24, 2, 2)),
            (Period::Monthly, day(24, 1, 1), day(23, 12, 2)),
        ] {
            assert_eq!(plan(period).covers_from(date), first, "{period:?} {date}");
        }
    }

    #[test]
    fn retries_spread_and_are_bounded() {
        for attempt in 1..=20 {
            let longest = 64 * 90;
            for random in [0, 1, 0xFFFF, u32::MAX] {
                let wait = retry_after_s(attempt, random);
                assert!((60..=longest).contains(&wait), "{attempt}: {wait}");
            }
        }
        assert_ne!(retry_after_s(3, 1), retry_after_s(3, 200));
    }
}
