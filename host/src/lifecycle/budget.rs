//! Adapters that are correct and take too long: what their long calls cost the others, and when it is enough.
//!
//! Pure but for its caller's clock. Only processor time counts, and only that of calls which an epoch has interrupted, so neither
//! a busy machine nor a large fleet is mistaken for a slow adapter. One device counts for no more than its share: a device
//! that alone makes an adapter slow is that device's trouble.

use super::Lifecycle;
use crate::adapter::Adapter;
use crate::limits::{
    BUDGET_CPU_TIME, BUDGET_CPU_TIME_A_FRAME, BUDGET_SOURCES_KEPT_MAX, BUDGET_SOURCES_MIN, BUDGET_WINDOW,
    STRIKE_RECORDS_MAX, SUSPECT_CPU_TIME,
};
use crate::model::Digest;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Budget(BTreeMap<Digest, Spent>);

/// Of one version in one window.
#[derive(Default)]
struct Spent {
    since_ms: i64,
    /// Frames that it had answered when the window began.
    answered: u64,
    /// Processor time by source.
    by: BTreeMap<String, Duration>,
    /// Of those for whom there was no room any more.
    by_others: Duration,
}

impl Lifecycle {
    /// Takes note of what calls of this version have cost over what `source` (a device, or else a peer) has sent.
    pub fn account(&self, adapter: &Adapter, source: &str) {
        let spent = adapter.take_long_calls();
        if spent >= SUSPECT_CPU_TIME {
            self.suspect(adapter.digest, source);
        }
        let answered = adapter.answered.load(Ordering::Relaxed);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = budget.note(adapter.digest, (source, spent), self.clock.steady_ms(), answered);
        drop(budget);
        // With nobody else to wait and nobody to take over, slow is better than not at all.
        if let Some(why) = verdict.filter(|_| self.others_wait(adapter)) {
            self.condemn(&adapter.digest, &why);
        }
    }

    fn others_wait(&self, adapter: &Adapter) -> bool {
        let others = self.catalog.all_active().iter().any(|other| other.digest != adapter.digest);
        others || self.stands_by(adapter.name())
    }
}

impl Budget {
    /// What the journal is to say, once it is enough.
    fn note(
        &mut self,
        digest: Digest,
        (source, spent): (&str, Duration),
        now_ms: i64,
        answered: u64,
    ) -> Option<String> {
        let over = |spent: &Spent| now_ms - spent.since_ms >= BUDGET_WINDOW.as_millis() as i64;
        if self.0.len() >= STRIKE_RECORDS_MAX && !self.0.contains_key(&digest) {
            self.0.retain(|_, spent| !over(spent));
            if self.0.len() >= STRIKE_RECORDS_MAX {
                return None;
            }
        }
        let record = self.0.entry(digest).or_insert_with(|| Spent::from(now_ms, answered));
        if over(record) {
            *record = Spent::from(now_ms, answered);
        }
        record.add(source, spent);
        let verdict = record.verdict(answered);
        if verdict.is_some() {
            self.0.remove(&digest);
        }
        verdict
    }
}

impl Spent {
    fn from(since_ms: i64, answered: u64) -> Self {
        Self { since_ms, answered, ..Self::default() }
    }

    fn add(&mut self, source: &str, spent: Duration) {
        let room = self.by.len() < BUDGET_SOURCES_KEPT_MAX;
        match self.by.get_mut(source) {
            Some(sum) => *sum += spent,
            None if room => drop(self.by.insert(source.to_owned(), spent)),
            None => self.by_others += spent,
        }
    }

    fn verdict(&self, answered: u64) -> Option<String> {
        let share = BUDGET_CPU_TIME / BUDGET_SOURCES_MIN;
        let counted: Duration = self.by.values().map(|spent| (*spent).min(share)).sum::<Duration>() + self.by_others;
        // The share is rounded down.
        if counted + Duration::from_micros(1) < BUDGET_CPU_TIME {
            return None;
        }
        let all: Duration = self.by.values().sum::<Duration>() + self.by_others;
        let frames = u32::try_from(answered.saturating_sub(self.answered)).unwrap_or(u32::MAX).max(1);
        let each = all / frames;
        (each >= BUDGET_CPU_TIME_A_FRAME).then(|| {
            format!(
                "over its budget: {:.1} s of processor time for {frames} frames of {} or more devices within {} s, {:.1} ms each",
                all.as_secs_f64(),
                self.by.len(),
                BUDGET_WINDOW.as_secs(),
                each.as_secs_f64() * 1e3
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long calls of `(devices, calls of each, milliseconds a call)`, so much time apart, with so many other frames answered
    /// between any two.
    fn condemned((devices, calls, ms): (u32, u32, u64), apart_ms: i64, others: u64) -> bool {
        let (mut budget, mut now_ms, mut answered, mut verdict) = (Budget::default(), 0, 0, None);
        for call in 0..devices * calls {
            answered += 1 + others;
            now_ms += apart_ms;
            let source = format!("test/{}", call % devices);
            let spent = (&source[..], Duration::from_millis(ms));
            verdict = verdict.or(budget.note(Digest([1; 32]), spent, now_ms, answered));
        }
        verdict.is_some_and(|why| why.contains("over its budget"))
    }

    #[test]
    fn many_slow_frames_condemn_a_version_and_one_device_or_a_few_do_not() {
        for (calls, apart_ms, others, expected) in [
            ((1, 1_000, 19), 20, 0, false),
            ((2, 1_000, 19), 20, 0, false),
            ((3, 100, 19), 20, 0, true),
            ((2_000, 1, 19), 20, 0, true),
            // Not enough of it within a window.
            ((3, 100, 19), 400, 0, false),
            // A few slow ones among very many that are quick.
            ((5, 100, 19), 20, 40, false),
            ((3, 1_000, 2), 2, 0, true),
        ] {
            assert_eq!(condemned(calls, apart_ms, others), expected, "{calls:?} {apart_ms} {others}");
        }
    }
}
