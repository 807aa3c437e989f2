//! The readings of 00:00, kept until the station has them and longer: what 4022 reads, and what a congested network has delayed.

use crate::board::Reading;

/// Days that are kept. So long the station may be away before anything is lost.
pub const DAYS_KEPT: usize = 62;
/// Readings of one report, at most.
pub const REPORT_DAYS_MAX: u16 = 31;

/// Readings by day since 2000-01-01, in a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days {
    pub(crate) numbers: [u16; DAYS_KEPT],
    pub(crate) working: [u32; DAYS_KEPT],
    pub(crate) standard: [u32; DAYS_KEPT],
    /// One bit a place: not acknowledged yet.
    pub(crate) unsent: u64,
    /// Readings that were overwritten before the station had them.
    pub lost: u16,
}

/// No day has this number.
const EMPTY: u16 = u16::MAX;
const ABSENT: u32 = u32::MAX;

impl Default for Days {
    fn default() -> Self {
        Self {
            numbers: [EMPTY; DAYS_KEPT],
            working: [ABSENT; DAYS_KEPT],
            standard: [ABSENT; DAYS_KEPT],
            unsent: 0,
            lost: 0,
        }
    }
}

impl Days {
    pub fn keep(&mut self, day: u16, reading: Reading) {
        let place = usize::from(day) % DAYS_KEPT;
        if self.numbers[place] == day {
            return;
        }
        self.lost = self.lost.saturating_add((self.unsent >> place & 1) as u16);
        self.numbers[place] = day;
        self.working[place] = reading.working.unwrap_or(ABSENT);
        self.standard[place] = reading.standard.unwrap_or(ABSENT);
        self.unsent |= 1 << place;
    }

    pub fn get(&self, day: u16) -> Option<Reading> {
        let place = usize::from(day) % DAYS_KEPT;
        let present = |value: u32| (value != ABSENT).then_some(value);
        (self.numbers[place] == day)
            .then(|| Reading { working: present(self.working[place]), standard: present(self.standard[place]) })
    }

    /// The station has these.
    pub fn sent(&mut self, first: u16, last: u16) {
        for place in 0..DAYS_KEPT {
            if (first..=last).contains(&self.numbers[place]) {
                self.unsent &= !(1 << place);
            }
        }
    }

    /// The oldest day that the station does not have.
    pub fn oldest_unsent(&self) -> Option<u16> {
        self.unsent_days().min()
    }

    pub(crate) fn newest_unsent(&self) -> Option<u16> {
        self.unsent_days().max()
    }

    fn unsent_days(&self) -> impl Iterator<Item = u16> {
        (0..DAYS_KEPT).filter(|place| self.unsent >> place & 1 == 1).map(|place| self.numbers[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forgotten_before_it_was_sent_and_the_bound_is_told() {
        let mut days = Days::default();
        let reading = |n: u16| Reading { working: Some(u32::from(n)), standard: None };
        for day in 8800..8800 + DAYS_KEPT as u16 {
            days.keep(day, reading(day));
        }
        assert_eq!((days.oldest_unsent(), days.lost), (Some(8800), 0));
        days.keep(8800 + DAYS_KEPT as u16, reading(1));
        assert_eq!((days.oldest_unsent(), days.lost), (Some(8801), 1));
        days.sent(8801, 8830);
        assert_eq!(days.oldest_unsent(), Some(8831));
        assert_eq!(days.get(8801), Some(reading(8801)), "sent, and still to be read");
        days.keep(8831, reading(7));
        assert_eq!(days.get(8831), Some(reading(8831)), "a day is frozen once");
    }
}
