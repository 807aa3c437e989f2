//! Harm done by adapters: traps, deadlines, broken answers. Who is to blame, and when it is enough.
//!
//! Pure but for its caller's clock. A strike counts against the device that provoked it as long as it is alone; when several
//! devices see the same version fail, it is the version.

use super::Lifecycle;
use crate::adapter::{Adapter, Fault};
use crate::limits::{
    STRIKE_ONE_IN, STRIKE_RECORDS_MAX, STRIKE_SOURCES_MIN, STRIKE_WINDOW, STRIKES_KEPT_MAX, STRIKES_MAX,
    STRIKES_OF_ONE_MAX,
};
use crate::model::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Whose fault it looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Struck {
    /// A single one so far, or a few among very many frames.
    Device,
    /// The version is over its budget.
    Adapter,
}

#[derive(Default)]
pub(super) struct Strikes(BTreeMap<Digest, Record>);

#[derive(Default)]
struct Record {
    /// When, by whom, and how many frames the version had answered by then; the oldest first.
    strikes: VecDeque<(i64, String, u64)>,
}

impl Lifecycle {
    /// A call of this version has failed in the sandbox over what `source` (a device, or else a peer) has sent.
    pub fn struck(&self, adapter: &Adapter, source: &str, fault: &Fault) -> Struck {
        self.suspect(adapter.digest, source);
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = adapter.answered.load(Ordering::Relaxed);
        let verdict = strikes.note(adapter.digest, source, self.clock.now_ms(), answered);
        drop(strikes);
        if verdict == Struck::Adapter {
            let minutes = STRIKE_WINDOW.as_secs() / 60;
            self.condemn(
                &adapter.digest,
                &format!("{STRIKES_MAX} failures over several devices within {minutes} minutes, the last: {fault}"),
            );
        }
        verdict
    }
}

impl Strikes {
    fn note(&mut self, digest: Digest, source: &str, now_ms: i64, answered: u64) -> Struck {
        if self.0.len() >= STRIKE_RECORDS_MAX && !self.0.contains_key(&digest) {
            self.0.retain(|_, record| record.strikes.back().is_some_and(|(at, ..)| now_ms - at < window_ms()));
        }
        if self.0.len() >= STRIKE_RECORDS_MAX && !self.0.contains_key(&digest) {
            return Struck::Device;
        }
        let record = self.0.entry(digest).or_default();
        record.add(source, now_ms, answered);
        if record.is_over_budget(answered) {
            self.0.remove(&digest);
            return Struck::Adapter;
        }
        Struck::Device
    }
}

impl Record {
    fn add(&mut self, source: &str, now_ms: i64, answered: u64) {
        while self.strikes.front().is_some_and(|(at, ..)| now_ms - at >= window_ms()) {
            self.strikes.pop_front();
        }
        // A single one that goes on and on must not push the others out of sight.
        if self.strikes.iter().filter(|(_, by, _)| by == source).count() >= STRIKES_OF_ONE_MAX {
            return;
        }
        if self.strikes.len() >= STRIKES_KEPT_MAX {
            self.strikes.pop_front();
        }
        self.strikes.push_back((now_ms, source.to_owned(), answered));
    }

    fn is_over_budget(&self, answered: u64) -> bool {
        let sources: BTreeSet<&str> = self.strikes.iter().map(|(_, by, _)| by.as_str()).collect();
        let answered = answered.saturating_sub(self.strikes.front().map_or(0, |(.., before)| *before));
        self.strikes.len() >= STRIKES_MAX
            && sources.len() >= STRIKE_SOURCES_MIN
            && self.strikes.len() as u64 * STRIKE_ONE_IN >= answered
    }
}

fn window_ms() -> i64 {
    STRIKE_WINDOW.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes strikes of `(source, how many, a minute apart)` among so many answered frames a strike; gives the last verdict.
    fn verdict(strikes: &[(&str, usize)], minutes_apart: i64, answered_between: u64) -> Struck {
        let mut record = Strikes::default();
        let (mut now_ms, mut answered, mut last) = (0, 0, Struck::Device);
        for (source, count) in strikes {
            for _ in 0..*count {
                last = record.note(Digest([1; 32]), source, now_ms, answered);
                now_ms += minutes_apart * 60_000;
                answered += answered_between;
            }
        }
        last
    }

    #[test]
    fn several_devices_condemn_an_adapter_and_one_does_not() {
        for (strikes, minutes_apart, answered_between, expected) in [
            (&[("a", 500)][..], 0, 0, Struck::Device),
            (&[("a", 50), ("b", 50)], 0, 0, Struck::Device),
            (&[("a", 50), ("b", 1), ("c", 1)], 0, 0, Struck::Adapter),
            (&[("a", 3), ("b", 3), ("c", 3)], 0, 0, Struck::Device),
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 0, Struck::Adapter),
            // Too far apart.
            (&[("a", 4), ("b", 3), ("c", 30)], 2, 0, Struck::Device),
            // A few among very many are no reason to send a whole fleet back.
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 2_000, Struck::Device),
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 500, Struck::Adapter),
        ] {
            assert_eq!(verdict(strikes, minutes_apart, answered_between), expected, "{strikes:?} {answered_between}");
        }
    }
}
