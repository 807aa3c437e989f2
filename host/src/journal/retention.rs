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

    /// The first of the newest so many days that have entries, if there are as many.
    pub fn newest_days(&self, days: usize) -> Option<Day> {
        let mut all: Vec<Day> = self.0.shared.segments.all().iter().map(|segment| segment.name.day).collect();
        all.dedup();
        days.checked_sub(1).and_then(|back| all.iter().rev().nth(back).copied())
    }

    /// The UTC day of a moment, as `drop_before` counts.
    pub fn day_of(at_ms: i64) -> Day {
        format::day_of(at_ms)
    }
}

/// The first segments whose day is over. A segment that a wild clock put into the future does not stop the others.
fn droppable(all: &[Arc<Segment>], day: Day) -> Vec<Arc<Segment>> {
    let Some((active, sealed)) = all.split_last() else { return Vec::new() };
    let over = |s: &&Arc<Segment>| s.name.day < day || s.name.day.0 > active.name.day.0.saturating_add(1);
    sealed.iter().take_while(over).cloned().collect()
}

/// Nobody finds the segment any more; those who read it now are waited for.
fn remove(segments: &Segments, segment: &Segment) -> Result<(), StoreError> {
    segment.close()?;
    segments.storage.remove(&segment.name.file()).map_err(|e| StoreError::Io(e.to_string()))
}
