//! Dropping old days: whole segment files, oldest first, never single entries.
//!
//! What remains verifies as before, because each segment's head repeats the hash that it continues from.

use super::segment::{Segment, StoreError};
use super::segments::Segments;
use super::{Journal, format};
use crate::model::{Day, Seq};
use std::sync::Arc;

/// What was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dropped {
    pub segments: usize,
    pub entries: u64,
    /// The oldest entry that is kept.
    pub first_kept: Seq,
}

impl Journal {
    /// Drops the days before this one. The segment being written always stays. Facts that must outlive their day (keys,
    /// tokens, adopted devices) have to be appended again before, see `Views::standing_before`.
    pub fn drop_before(&self, day: Day) -> Result<Dropped, StoreError> {
        let segments = &self.0.shared.segments;
        let mut dropped = Dropped { segments: 0, entries: 0, first_kept: segments.first_seq() };
        for segment in droppable(&segments.all(), day) {
            if !segments.detach_first(&segment) {
                break;
            }
            dropped.first_kept = segments.first_seq();
            dropped.entries += dropped.first_kept.0 - segment.name.first.0;
            dropped.segments += 1;
            remove(segments, &segment)?;
        }
        Ok(dropped)
    }

    /// The oldest entry that `drop_before` would keep.
    pub fn first_kept(&self, day: Day) -> Seq {
        let all = self.0.shared.segments.all();
        let dropped = droppable(&all, day).len();
        all.get(dropped).map_or(Seq(1), |segment| segment.name.first)
    }

    /// The first day that a station keeps which keeps so many before this moment; `None`: all of them. So many days with entries
    /// stay whatever the machine's clock says: one that is years ahead must not cost the journal.
    pub fn first_kept_day(&self, now_ms: i64, retention_days: u32) -> Option<Day> {
        let all: Vec<Day> = self.0.shared.segments.all().iter().map(|segment| segment.name.day).collect();
        first_kept(&all, format::day_of(now_ms), retention_days)
    }

    /// The UTC day of a moment, as `drop_before` counts.
    pub fn day_of(at_ms: i64) -> Day {
        format::day_of(at_ms)
    }
}

/// Files whose day can be right, by their place: those that lie neither behind one before them nor ahead of the last one, and that.
/// A file whose day cannot be right goes with those around it: a clock that went astray neither costs a day its entries nor keeps
/// others from going.
fn plausible(all: &[Day]) -> Vec<(usize, Day)> {
    let Some((active, sealed)) = all.split_last() else { return Vec::new() };
    let mut plausible: Vec<(usize, Day)> = Vec::with_capacity(all.len());
    for (at, day) in sealed.iter().enumerate() {
        if day.0 <= active.0.saturating_add(1) && plausible.last().is_none_or(|(_, latest)| latest <= day) {
            plausible.push((at, *day));
        }
    }
    plausible.push((sealed.len(), *active));
    plausible
}

/// The first day to keep of so many before today; `None`: there are not more days than that. A newest day that lies more than a
/// day behind the one before it does not count: the machine's clock may just have leapt.
fn first_kept(all: &[Day], today: Day, retention_days: u32) -> Option<Day> {
    let mut days: Vec<Day> = plausible(all).into_iter().map(|(_, day)| day).collect();
    days.dedup();
    let leaps = matches!(days[..], [.., before, newest] if newest.0 > before.0.saturating_add(1));
    let newest = days.iter().rev().nth(retention_days as usize + usize::from(leaps))?;
    Some(Day(today.0.saturating_sub_unsigned(retention_days)).min(*newest))
}

/// The first segments whose day is over.
fn droppable(all: &[Arc<Segment>], day: Day) -> Vec<Arc<Segment>> {
    let days: Vec<Day> = all.iter().map(|segment| segment.name.day).collect();
    all[..over(&days, day)].to_vec()
}

/// How many of the first files lie before a day; never the last, which is being written.
fn over(all: &[Day], day: Day) -> usize {
    let plausible = plausible(all);
    let Some((last, _)) = plausible.iter().take_while(|(_, file)| *file < day).last() else { return 0 };
    // What then comes first must have a day of its own: else nobody would know any more that it is not as old as it says. Where what
    // follows the last of those days has none, that one stays before it, and both go with the next.
    let next = (last + 1).min(all.len() - 1);
    if plausible.iter().any(|(at, _)| *at == next) { next } else { *last }
}

/// Nobody finds the segment any more; those who read it now are waited for.
fn remove(segments: &Segments, segment: &Segment) -> Result<(), StoreError> {
    segment.close()?;
    segments.storage.remove(&segment.name.file()).map_err(|e| StoreError::Io(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that was lost: 2020.
    const LOST: i32 = 18_465;
    /// One that is years ahead: 2030.
    const AHEAD: i32 = 21_915;
    const TODAY: i32 = 20_780;

    /// The days that a station keeps that keeps two, at what its clock says is `now`.
    fn kept(all: &[i32], now: i32) -> Vec<i32> {
        let days: Vec<Day> = all.iter().copied().map(Day).collect();
        match first_kept(&days, Day(now), 2) {
            Some(first) => all[over(&days, first)..].to_vec(),
            None => all.to_vec(),
        }
    }

    #[test]
    fn days_go_by_the_clock_and_the_last_file_stays() {
        let [a, b, c, d] = [TODAY - 3, TODAY - 2, TODAY - 1, TODAY];
        assert_eq!(kept(&[a, b, c, d], d), [b, c, d]);
        assert_eq!(
            kept(&[a, b, b, c, d], d + 1),
            [b, b, c, d],
            "three days with entries stay, whatever the clock says"
        );
        assert_eq!(kept(&[a - 9, a], d), [a - 9, a]);
        assert_eq!(over(&[Day(a), Day(b)], Day(AHEAD)), 1, "the last one is being written");
    }

    #[test]
    fn a_clock_that_was_lost_costs_no_entry() {
        let [a, b, c, d] = [TODAY - 3, TODAY - 2, TODAY - 1, TODAY];
        assert_eq!(kept(&[a, b, c, d, LOST], LOST), [a, b, c, d, LOST]);
        assert_eq!(kept(&[a, b, c, d, LOST, LOST + 1], LOST + 1), [a, b, c, d, LOST, LOST + 1]);
        // Right again: the days go when they would have gone, and what was written meanwhile with the day after it.
        assert_eq!(kept(&[b, c, LOST, d], d), [b, c, LOST, d]);
        assert_eq!(kept(&[b, c, LOST, d, d + 1], d + 1), [c, LOST, d, d + 1]);
        assert_eq!(kept(&[a, b, LOST, c, d, d + 1], d + 1), [b, LOST, c, d, d + 1], "it may be of either day");
        assert_eq!(kept(&[b, LOST, c, d, d + 1, d + 2], d + 2), [d, d + 1, d + 2]);
        // Lost each morning anew: one day more stays, for the sake of what follows it, and goes a day later.
        assert_eq!(kept(&[a, LOST, b, LOST, c, LOST, d, LOST, d + 1], d + 1), [b, LOST, c, LOST, d, LOST, d + 1]);
        assert_eq!(
            kept(&[b, LOST, c, LOST, d, LOST, d + 1, LOST, d + 2], d + 2),
            [c, LOST, d, LOST, d + 1, LOST, d + 2]
        );
        // For good: as many days pass as ever.
        assert_eq!(kept(&[c, d, LOST, LOST + 1, LOST + 2, LOST + 3], LOST + 3), [LOST + 1, LOST + 2, LOST + 3]);
    }

    #[test]
    fn a_clock_that_leapt_ahead_costs_no_entry_and_keeps_none_for_ever() {
        let [a, b, c, d] = [TODAY - 3, TODAY - 2, TODAY - 1, TODAY];
        assert_eq!(kept(&[b, c, d], AHEAD), [b, c, d], "before anything is written by it");
        assert_eq!(kept(&[b, c, d, AHEAD], AHEAD), [b, c, d, AHEAD]);
        assert_eq!(kept(&[a, b, AHEAD, c, d], d), [b, AHEAD, c, d]);
        assert_eq!(kept(&[a, b, AHEAD, c, d, d + 1], d + 1), [b, AHEAD, c, d, d + 1]);
        assert_eq!(kept(&[b, AHEAD, c, d, d + 1, d + 2], d + 2), [d, d + 1, d + 2]);
    }
}
